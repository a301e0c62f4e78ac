//! SELECT, and what every statement with relations does first: locks, snapshot, relations.

use super::around::Around;
use super::{Guard, entries, prepared};
use crate::plan::{self, Execution, SessionValues, Source};
use crate::point::{Given, Inputs};
use crate::relation::Relation;
use crate::reply::{OutputColumn, Rows, RowsTag};
use crate::resolve::{self, Resolved};
use crate::standing::{Prepared, Standing};
use crate::system::SystemFacts;
use arrow_array::RecordBatch;
use futures::stream::BoxStream;
use kalamdb_auth::authorize::SequenceAction;
use kalamdb_commons::{Datum, Oid, Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{Action, Bound, BoundKind, ColId, Need, Rel, Scalar};
use kalamdb_sql::function::SessionValue;
use kalamdb_sql::predicate::Values;
use kalamdb_store::{LockWait, ReadView, TableLockMode};
use std::sync::Arc;

/// How often a statement is bound again because its relations changed under it, before it gives up: each time a
/// concurrent DDL has committed, so this many in a row is a storm.
const REBINDS_MAX: usize = 16;

/// What a statement stands on: its relations in the order of its needs, and what its WITH has made by now.
#[derive(Clone, Default)]
pub(super) struct Relations {
    list: Vec<Arc<Relation>>,
    made: Vec<Arc<dyn Source>>,
}

impl Relations {
    /// One more need's relation.
    pub fn add(&mut self, relation: Arc<Relation>) {
        self.list.push(relation);
    }

    /// With what stands behind each `Rel::Made`.
    pub fn with_made(&self, made: Vec<Arc<dyn Source>>) -> Self {
        Self { list: self.list.clone(), made }
    }

    /// What stands behind each `Rel::Made` by now.
    pub fn made(&self) -> &[Arc<dyn Source>] {
        &self.made
    }
}

impl std::ops::Deref for Relations {
    type Target = [Arc<Relation>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

/// Takes the table locks and the snapshot, and turns the needs into relations. The statement may come back bound anew.
///
/// # Errors
/// 42501, 42P01, 25006, and those of locks.
pub(super) async fn relations(standing: &mut Standing, prepared: &Arc<Prepared>) -> Result<(Arc<Prepared>, Relations)> {
    let mut prepared = prepared::refresh(standing, prepared)?;
    for _ in 0..REBINDS_MAX {
        let Some(bound) = prepared.bound.clone() else { return Ok((prepared, Relations::default())) };
        check_writable(standing, &bound)?;
        let wait = lock_wait(standing);
        for need in &bound.needs {
            if crate::system::relations().by_oid(need.table).is_none() {
                standing.transaction().table_lock(need.table, lock_mode(need.action), wait).await?;
            }
        }
        standing.begin_statement()?;
        let catalog = standing.catalog();
        let mut relations = Vec::with_capacity(bound.needs.len());
        for need in &bound.needs {
            match resolve::relation(&catalog, &standing.identity, need)? {
                Resolved::Relation(relation) => relations.push(Arc::new(relation)),
                Resolved::Stale => break,
            }
        }
        if relations.len() == bound.needs.len() {
            return Ok((prepared, Relations { list: relations, made: Vec::new() }));
        }
        prepared = prepared::refresh(standing, &prepared)?;
    }
    Err(SqlError::new(SqlState::T_R_SERIALIZATION_FAILURE, "could not bind to relations that keep changing"))
}

fn lock_mode(action: Action) -> TableLockMode {
    match action {
        Action::Select => TableLockMode::AccessShare,
        Action::Lock => TableLockMode::RowShare,
        Action::Insert | Action::Update | Action::Delete => TableLockMode::RowExclusive,
        Action::Truncate => TableLockMode::AccessExclusive,
    }
}

/// How the session waits for locks.
pub(super) fn lock_wait(standing: &Standing) -> LockWait {
    LockWait::Block(standing.derived().lock_timeout)
}

fn check_writable(standing: &Standing, bound: &Bound) -> Result<()> {
    let writes_gone = |need: &Need| need.with_deleted && matches!(need.action, Action::Update | Action::Delete);
    if bound.needs.iter().any(writes_gone) {
        // A deleted row and the living one of the same key must not be taken for each other.
        return Err(SqlError::unsupported("UPDATE or DELETE of rows by _deleted"));
    }
    match &bound.kind {
        BoundKind::Query(_) if !bound.steps.iter().any(|step| super::carry_out::writes(&step.kind)) => Ok(()),
        BoundKind::Query(_) => standing.writable("SELECT"),
        BoundKind::Insert(_) => standing.writable("INSERT"),
        BoundKind::Update(_) => standing.writable("UPDATE"),
        BoundKind::Delete(_) => standing.writable("DELETE"),
    }
}

/// Runs a query: rows to be pulled.
///
/// # Errors
/// Those of planning; what happens later comes with the rows.
pub(super) async fn run(
    standing: &mut Standing,
    prepared: &Prepared,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    columns: Option<Arc<[OutputColumn]>>,
    guard: &Guard,
) -> Result<Rows> {
    let bound = prepared.query()?;
    let BoundKind::Query(rel) = &bound.kind else { return Err(SqlError::internal("not a query")) };
    let outputs: Vec<ColId> = bound.outputs.iter().map(|output| output.col).collect();
    let columns = columns.unwrap_or_else(|| bound.outputs.iter().map(prepared::output_column).collect());
    if let Some(unlocked) = find_lock_rows(rel) {
        return super::write::lock_rows(standing, unlocked, &outputs, bound, relations, values, columns, guard).await;
    }
    let stream = stream(standing, rel, &outputs, prepared, relations, values, guard).await?;
    let batches = guard.clone().watch_stream(stream);
    Ok(Rows { columns, batches, tag: RowsTag::Counted("SELECT") })
}

/// The lock targets of a query's FOR UPDATE, if it has one at the top.
fn find_lock_rows(rel: &Rel) -> Option<&Rel> {
    match rel {
        Rel::LockRows { .. } => Some(rel),
        Rel::Narrow { input, .. } | Rel::Limit { input, .. } | Rel::Sort { input, .. } | Rel::Extend { input, .. } => {
            find_lock_rows(input).map(|_| rel)
        }
        _ => None,
    }
}

/// Runs a statement's source over its snapshot: by the fast path where it has one, else by a plan.
///
/// # Errors
/// Those of planning.
pub(super) async fn stream(
    standing: &mut Standing,
    rel: &Rel,
    outputs: &[ColId],
    prepared: &Prepared,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    if let Some(point) = &prepared.point
        && standing.derived().has_fast_path
    {
        let bound = prepared.query()?.clone();
        let mut given = GivenHere { standing, bound, values: values.clone(), around: None };
        return point.run(outputs, relations, Inputs::new(&mut given, &values)).await;
    }
    let execution = execution(standing, prepared.query()?, relations, values, guard)?;
    plan::run(rel, outputs, execution).await
}

/// What the fast path runs with.
struct GivenHere<'a> {
    standing: &'a mut Standing,
    bound: Arc<Bound>,
    values: Arc<Vec<Datum>>,
    around: Option<Arc<Around>>,
}

impl Given for GivenHere<'_> {
    fn view(&mut self) -> ReadView {
        self.standing.view()
    }

    fn session(&mut self, value: SessionValue) -> Datum {
        let around = self.around.get_or_insert_with(|| Around::new(self.standing));
        around.value(value)
    }

    fn next_value(&mut self, sequence: Oid) -> Result<i64> {
        self.standing.not_read_only("nextval()")?;
        let catalog = self.standing.catalog();
        let sequence = resolve::sequence(&catalog, &self.standing.identity, sequence, SequenceAction::Next)?;
        sequence.next(&self.standing.hall.store, &self.standing.sequences)
    }

    fn values(&mut self) -> Values {
        super::write::values_of(self.standing, &self.bound, &self.values)
    }
}

/// What a plan runs with.
///
/// # Errors
/// Those of system relations.
pub(super) fn execution(
    standing: &mut Standing,
    bound: &Bound,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
) -> Result<Execution> {
    let around = Around::new(standing);
    let view = standing.view();
    let leaves = sources(standing, relations, &view)?;
    Ok(Execution {
        engine: standing.hall.engine.clone(),
        leaves,
        made: relations.made.clone(),
        parameters: values.iter().cloned().zip(bound.parameters.iter().copied()).collect(),
        session: around.clone(),
        around,
        cancel: guard.token().clone(),
        locker: None,
    })
}

/// What stands behind the scans of a statement.
///
/// # Errors
/// XX000 when an index's expressions cannot be read.
pub(super) fn sources(
    standing: &Standing,
    relations: &[Arc<Relation>],
    view: &ReadView,
) -> Result<Vec<Arc<dyn Source>>> {
    let mut known: Option<SystemFacts> = None;
    let source = |relation: &Arc<Relation>| {
        let indexes = match relation.table() {
            Ok(table) if !table.indexes.is_empty() => Some(entries::of(standing, table)?),
            _ => None,
        };
        let facts = || known.get_or_insert_with(|| standing.system_facts(view)).clone();
        Ok(relation.source(view, facts, indexes))
    };
    relations.iter().map(source).collect()
}

/// The values of constant expressions (EXECUTE's arguments).
///
/// # Errors
/// The expressions'.
pub(super) fn constants(standing: &mut Standing, scalars: &[Scalar]) -> Result<Vec<Datum>> {
    let around = Around::new(standing);
    plan::evaluate(scalars, &[], &*around.clone(), around)
}
