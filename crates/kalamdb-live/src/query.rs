//! A live query over one relation: what it follows, and how a changed row is judged.
//!
//! Predicate and select list are compiled once. Old and new row are both judged: a row that enters the predicate is an
//! insert, one that leaves it a delete.

use crate::event::{Change, Op, datums_at};
use crate::outbox::Sink;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use kalamdb_commons::{ColumnId, Datum, PgType, Result, Scope, Seq, SqlError, TableId, UserId};
use kalamdb_sql::bind::bound::{Col, Scalar};
use kalamdb_sql::function::{SessionValue, Surroundings};
use kalamdb_sql::predicate::{Program, Values};
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::{RowChange, TableDef};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a session asks to follow. Who made it has judged the permission.
pub struct Follow {
    /// The channel that events go to.
    pub channel: String,
    /// The relation.
    pub table: Arc<TableDef>,
    /// Whose rows.
    pub scope: Scope,
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
    /// Settings of the session, for expressions.
    pub around: Arc<dyn Surroundings>,
}

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
    /// Messages that wait.
    pub queued: u64,
    /// Events sent.
    pub delivered: u64,
    /// How often it overflowed.
    pub overflowed: u64,
    /// The newest position sent.
    pub last_seq: Seq,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
}

/// A registered query.
pub(crate) struct Query {
    pub id: String,
    pub pid: i32,
    pub user: UserId,
    pub channel: Arc<str>,
    pub scope: Scope,
    pub text: String,
    pub sink: Sink,
    pub created_at: i64,
    /// Events come after this position: it is the initial rows' state.
    pub from: Seq,
    pub delivered: AtomicU64,
    pub last_seq: AtomicU64,
    pub names: Arc<[String]>,
    pub types: Arc<[PgType]>,
    columns: Vec<ColumnId>,
    table: Mutex<Arc<TableDef>>,
    predicate: Option<Program>,
    outputs: Program,
}

impl Query {
    /// Compiles what is to be followed.
    ///
    /// # Errors
    /// The compiler's.
    pub fn new(id: String, pid: i32, user: UserId, sink: Sink, from: Seq, follow: Follow, now_us: i64) -> Result<Self> {
        let columns: Vec<Col> = follow.columns.iter().map(|(_, col)| *col).collect();
        let values = Values {
            parameters: follow.parameters,
            // What depends on the session was refused at LISTEN.
            session: Arc::new(|_: SessionValue| Datum::Null),
            around: follow.around,
        };
        let scalars: Vec<Scalar> = follow.outputs.iter().map(|(_, scalar)| scalar.clone()).collect();
        let predicate = match &follow.predicate {
            Some(predicate) => Some(Program::compile(std::slice::from_ref(predicate), &columns, &values)?),
            None => None,
        };
        Ok(Self {
            id,
            pid,
            user,
            channel: Arc::from(follow.channel.as_str()),
            scope: follow.scope,
            text: follow.text,
            sink,
            created_at: now_us,
            from,
            delivered: AtomicU64::new(0),
            last_seq: AtomicU64::new(from.0),
            names: follow.outputs.iter().map(|(name, _)| name.clone()).collect(),
            types: scalars.iter().map(Scalar::ty).collect(),
            columns: follow.columns.iter().map(|(id, _)| *id).collect(),
            table: Mutex::new(follow.table),
            predicate,
            outputs: Program::compile(&scalars, &columns, &values)?,
        })
    }

    /// The relation it follows.
    pub fn table(&self) -> Arc<TableDef> {
        self.table.lock().clone()
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

    /// Judges the changes of one commit to its relation and partition, in order.
    ///
    /// # Errors
    /// Those of the expressions.
    pub fn judge(&self, changes: &[&RowChange]) -> Result<Vec<Change>> {
        let table = self.table();
        let mut builder = BatchBuilder::new(&table, &self.columns)?;
        for change in changes {
            for row in [&change.old, &change.new].into_iter().flatten() {
                builder.push(&change.key, row)?;
            }
        }
        let batch: RecordBatch = builder.finish()?;
        let matches = match &self.predicate {
            Some(predicate) => predicate.evaluate(&batch)?.into_iter().next(),
            None => None,
        };
        let outputs = self.outputs.evaluate(&batch)?;
        let mut at = 0;
        let mut place = |present: bool| {
            let place = present.then_some(at);
            at += usize::from(present);
            place.filter(|place| is_in(matches.as_ref(), *place))
        };
        let mut events = Vec::with_capacity(changes.len());
        for change in changes {
            let old = place(change.old.is_some());
            let new = place(change.new.is_some());
            if let Some(event) = self.event(change.seq, old, new, &outputs)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn event(&self, seq: Seq, old: Option<usize>, new: Option<usize>, outputs: &[ArrayRef]) -> Result<Option<Change>> {
        let (op, row) = match (old, new) {
            (None, None) => return Ok(None),
            (None, Some(new)) => (Op::Insert, new),
            (Some(old), None) => (Op::Delete, old),
            (Some(_), Some(new)) => (Op::Update, new),
        };
        let values = datums_at(outputs, row, &self.types);
        let changed = match (op, old) {
            (Op::Update, Some(old)) => {
                let before = datums_at(outputs, old, &self.types);
                let differs = |at: &usize| before[*at] != values[*at];
                let changed: Vec<usize> = (0..values.len()).filter(differs).collect();
                if changed.is_empty() {
                    // Nothing that the query shows has changed.
                    return Ok(None);
                }
                changed
            }
            _ => Vec::new(),
        };
        let columns = outputs.iter().map(|array| array.slice(row, 1)).collect();
        Ok(Some(Change::row(op, seq, columns, values, changed)))
    }

    /// Notes what was sent.
    pub fn sent(&self, seq: Seq) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.last_seq.store(seq.0, Ordering::Relaxed);
    }
}

fn is_in(matches: Option<&ArrayRef>, row: usize) -> bool {
    match matches {
        None => true,
        Some(array) => array
            .as_any()
            .downcast_ref::<BooleanArray>()
            .is_some_and(|array| array.is_valid(row) && array.value(row)),
    }
}

/// The error for a follow that cannot be.
pub(crate) fn channel_taken(channel: &str) -> SqlError {
    SqlError::new(
        kalamdb_commons::SqlState::DUPLICATE_OBJECT,
        format!("channel \"{channel}\" follows another query already"),
    )
    .with_hint("UNLISTEN it first.")
}
