//! A live query over one relation: what it follows, and how a changed row is judged.
//!
//! Predicate and select list are compiled once, when the query is registered. Old and new row are both judged: a row
//! that enters the predicate is an insert, one that leaves it a delete. A delete tells the key too, whatever the
//! select list has.

use crate::event::{Change, Op, Payload};
use crate::outbox::Sink;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use kalamdb_commons::{ColumnId, Datum, PgType, Result, Scope, Seq, SqlError, SqlState, TableId, UserId};
use kalamdb_sql::bind::bound::{Col, ColId, Scalar};
use kalamdb_sql::function::{SessionValue, Surroundings};
use kalamdb_sql::predicate::{RowProgram, Values, check_live_safe};
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::{RowChange, Store, TableDef};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Changes that are judged at once: a large commit is judged in parts, so that its rows are never decoded together.
pub(crate) const CHANGES_AT_ONCE: usize = 1024;

/// Whether a query's reader may read the relation as it is defined now.
pub type MayRead = Arc<dyn Fn(&TableDef) -> bool + Send + Sync>;

/// What a session asks to follow. Who made it has judged the permission.
pub struct Follow {
    /// The channel that events go to.
    pub channel: String,
    /// The relation.
    pub table: Arc<TableDef>,
    /// Whose rows.
    pub scope: Scope,
    /// The permission, judged again when the relation's definition changes.
    pub may_read: MayRead,
    /// The query's text, for people.
    pub text: String,
    /// The condition, over `columns`.
    pub predicate: Option<Scalar>,
    /// The select list: names and expressions over `columns`.
    pub outputs: Vec<(String, Scalar)>,
    /// The relation's columns that the expressions use.
    pub columns: Vec<(ColumnId, Col)>,
    /// The values of `$1`, `$2` …
    pub parameters: Vec<(Datum, PgType)>,
    /// Values of the session (`current_user` …), as they are now: they stay so for the query's life.
    pub session: Arc<dyn Fn(SessionValue) -> Datum + Send + Sync>,
    /// Settings of the session, for expressions.
    pub around: Arc<dyn Surroundings>,
}

/// A live query of this session, for its own hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveId(pub(crate) u64);

/// What `system.live_queries` shows.
#[derive(Debug, Clone)]
pub struct LiveQueryFacts {
    /// Its id, for KILL LIVE QUERY.
    pub live_id: String,
    /// The session.
    pub pid: i32,
    /// Whose query.
    pub user: UserId,
    /// Its channel; empty for a COPY.
    pub channel: String,
    /// The relation.
    pub table: TableId,
    /// The query.
    pub text: String,
    /// `active`
    pub state: &'static str,
    /// Events that wait for the session.
    pub queued: u64,
    /// Events that the session took.
    pub delivered: u64,
    /// How often it overflowed: an overflow ends a query, so a running one never did.
    pub overflowed: u64,
    /// The newest position that the session took; at first that of the initial rows.
    pub last_seq: Seq,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
}

/// How far a query's reader is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    delivered: AtomicU64,
    last_seq: AtomicU64,
}

impl Progress {
    /// The reader took an event.
    pub fn took(&self, seq: Seq) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.last_seq.fetch_max(seq.0, Ordering::Relaxed);
    }
    /// The initial rows' state.
    pub fn begin(&self, from: Seq) {
        self.last_seq.store(from.0, Ordering::Relaxed);
    }
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
    pub fn last_seq(&self) -> Seq {
        Seq(self.last_seq.load(Ordering::Relaxed))
    }
}

/// Who follows, and where the events go.
pub(crate) struct Reader {
    pub pid: i32,
    pub user: UserId,
    pub sink: Sink,
}

/// A registered query.
pub(crate) struct Query {
    pub number: u64,
    pub reader: Reader,
    pub channel: Arc<str>,
    pub scope: Scope,
    pub text: String,
    pub created_at: i64,
    pub progress: Arc<Progress>,
    /// Its encoders are not shared between threads at once; only the dispatcher uses them.
    pub payload: Mutex<Payload>,
    /// Events come after this position: it is the initial rows' state.
    from: AtomicU64,
    /// Every column that is decoded: those of the expressions, then those of the key.
    columns: Vec<ColumnId>,
    may_read: MayRead,
    table: Mutex<Arc<TableDef>>,
    predicate: Option<RowProgram>,
    outputs: RowProgram,
    /// Places in `columns` of the key columns that the select list has not.
    key: Vec<usize>,
}

impl Query {
    /// Compiles what is to be followed.
    ///
    /// # Errors
    /// 0A000 for expressions that change by themselves; the compiler's.
    pub fn new(number: u64, reader: Reader, follow: Follow, now_us: i64, store: &Store) -> Result<Self> {
        let (table, outputs) = (&follow.table, &follow.outputs);
        for scalar in follow.predicate.iter().chain(outputs.iter().map(|(_, scalar)| scalar)) {
            check_live_safe(scalar)?;
        }
        let mut columns = follow.columns;
        let mut names: Vec<(String, PgType)> =
            outputs.iter().map(|(name, scalar)| (name.clone(), scalar.ty())).collect();
        let mut key = Vec::new();
        for id in table.primary_key.iter().flat_map(|key| &key.columns) {
            let Some(def) = table.column(*id) else { continue };
            let shown = |scalar: &Scalar| matches!(scalar, Scalar::Column(col) if columns.iter().any(|(of, c)| of == id && c.id == col.id));
            if outputs.iter().any(|(_, scalar)| shown(scalar))
                || names.iter().any(|(name, _)| name == def.name.as_str())
            {
                continue;
            }
            key.push(columns.len());
            names.push((def.name.to_string(), def.ty));
            let free = columns.iter().map(|(_, col)| col.id.0 + 1).max().unwrap_or(0);
            columns.push((*id, Col { id: ColId(free), ty: def.ty, nullable: false }));
        }
        let mut constants = Values { parameters: follow.parameters, session: follow.session, around: follow.around };
        let cols: Vec<Col> = columns.iter().map(|(_, col)| *col).collect();
        let scalars: Vec<Scalar> = outputs.iter().map(|(_, scalar)| scalar.clone()).collect();
        let predicate =
            follow.predicate.map(|predicate| RowProgram::compile(&[predicate], &cols, &mut constants)).transpose()?;
        Ok(Self {
            number,
            reader,
            channel: follow.channel.into(),
            scope: follow.scope,
            text: follow.text,
            created_at: now_us,
            progress: Arc::default(),
            payload: Mutex::new(Payload::new(&names, store)?),
            from: AtomicU64::new(u64::MAX),
            columns: columns.iter().map(|(id, _)| *id).collect(),
            outputs: RowProgram::compile(&scalars, &cols, &mut constants)?,
            may_read: follow.may_read,
            table: Mutex::new(follow.table),
            predicate,
            key,
        })
    }

    /// Its id, for people.
    pub fn id(&self) -> String {
        format!("LQ{}", self.number)
    }

    /// The query begins behind this state.
    pub fn begin(&self, from: Seq) {
        self.from.store(from.0, Ordering::Relaxed);
        self.progress.begin(from);
    }

    /// Whether a commit that ended at this position is news to it.
    pub fn is_news(&self, seq_last: Seq) -> bool {
        seq_last.0 > self.from.load(Ordering::Relaxed)
    }

    /// The relation it follows.
    pub fn table(&self) -> Arc<TableDef> {
        self.table.lock().clone()
    }

    /// Whether its reader may read the relation when it is defined like this.
    pub fn is_allowed(&self, table: &TableDef) -> bool {
        (self.may_read)(table)
    }

    /// The relation was altered; whether the query can go on: its columns are there, of the same types.
    pub fn adopt(&self, table: &TableDef) -> bool {
        let mut ours = self.table.lock();
        let same = |id: &ColumnId| {
            id.is_system()
                || match (ours.column(*id), table.column(*id)) {
                    (Some(old), Some(new)) => old.ty == new.ty && !new.dropped,
                    _ => false,
                }
        };
        let goes_on = self.columns.iter().all(same);
        *ours = Arc::new(table.clone());
        goes_on
    }

    /// Judges changes to its relation and partition, in order; at most [`CHANGES_AT_ONCE`].
    ///
    /// # Errors
    /// Those of the expressions; a damaged row.
    pub fn judge(&self, changes: &[&RowChange]) -> Result<Vec<Change>> {
        let mut builder = BatchBuilder::new(&self.table(), &self.columns)?;
        for change in changes {
            for row in [&change.old, &change.new].into_iter().flatten() {
                builder.push(&change.key, row)?;
            }
        }
        let decoded = builder.finish()?;
        let rows = self.outputs.rows(decoded.columns().to_vec(), decoded.num_rows())?;
        let matches = self.predicate.as_ref().map(|predicate| predicate.holds(&rows)).transpose()?;
        // Expressions may fail on rows that the predicate keeps out (1/x WHERE x <> 0): those are never evaluated.
        let (outputs, place_of) = match &matches {
            None => (self.outputs.evaluate(&rows)?, None),
            Some(matches) if matches.true_count() == 0 => return Ok(Vec::new()),
            Some(matches) => {
                let kept = arrow_select::filter::filter_record_batch(&rows, matches).map_err(SqlError::internal)?;
                (self.outputs.evaluate(&kept)?, Some(places(matches)))
            }
        };
        let mut at = 0;
        let mut judged = |is_there: bool| -> Option<Judged> {
            let row = is_there.then_some(at)?;
            at += 1;
            let output = match &place_of {
                Some(places) => places[row]?,
                None => row,
            };
            Some(Judged { row, output })
        };
        let mut events = Vec::with_capacity(changes.len());
        for change in changes {
            let (old, new) = (judged(change.old.is_some()), judged(change.new.is_some()));
            events.extend(self.event(change.seq, old, new, &outputs, decoded.columns()));
        }
        Ok(events)
    }

    fn event(
        &self,
        seq: Seq,
        old: Option<Judged>,
        new: Option<Judged>,
        outputs: &[ArrayRef],
        decoded: &[ArrayRef],
    ) -> Option<Change> {
        let one = |arrays: &[ArrayRef], row: usize| arrays.iter().map(|array| array.slice(row, 1)).collect::<Vec<_>>();
        let (op, shown, before) = match (old, new) {
            (None, None) => return None,
            (None, Some(new)) => (Op::Insert, new, None),
            (Some(old), None) => (Op::Delete, old, None),
            (Some(old), Some(new)) => (Op::Update, new, Some(old)),
        };
        let columns = one(outputs, shown.output);
        let mut changed = Vec::new();
        if let Some(before) = before {
            let before = one(outputs, before.output);
            changed = (0..columns.len()).filter(|at| *before[*at].as_ref() != *columns[*at].as_ref()).collect();
            if changed.is_empty() {
                // Nothing that the query shows has changed: its result is the same.
                return None;
            }
        }
        let key = match op {
            Op::Delete => self.key.iter().map(|place| decoded[*place].slice(shown.row, 1)).collect(),
            Op::Insert | Op::Update => Vec::new(),
        };
        Some(Change::row(op, seq, columns, key, changed))
    }
}

/// A row that the predicate holds for: its place among the decoded rows and among the evaluated ones.
#[derive(Clone, Copy)]
struct Judged {
    row: usize,
    output: usize,
}

/// For each row, its place among those that match.
fn places(matches: &BooleanArray) -> Vec<Option<usize>> {
    let mut next = 0;
    let place = |holds: bool| {
        let place = holds.then_some(next);
        next += usize::from(holds);
        place
    };
    matches.values().iter().map(place).collect()
}

/// The event with arrays of its own, so that it does not keep a whole batch alive while it waits.
pub(crate) fn detached(change: Change) -> Result<Change> {
    let first = UInt32Array::from(vec![0]);
    let copy = |array: ArrayRef| arrow_select::take::take(&array, &first, None).map_err(SqlError::internal);
    let columns = match change.columns {
        Some(columns) => Some(columns.into_iter().map(copy).collect::<Result<_>>()?),
        None => None,
    };
    Ok(Change { columns, key: Vec::new(), ..change })
}

/// The error for a follow that cannot be.
pub(crate) fn channel_taken(channel: &str) -> SqlError {
    SqlError::new(SqlState::DUPLICATE_OBJECT, format!("channel \"{channel}\" follows another query already"))
        .with_hint("UNLISTEN it first.")
}
