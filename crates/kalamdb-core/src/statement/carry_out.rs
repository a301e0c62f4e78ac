//! A query, INSERT, UPDATE or DELETE with the queries of its WITH that are carried out by themselves.
//!
//! All of them see one snapshot, so none sees what another has written; they speak to each other by what they return.
//! What the statement reads of them comes first. The others follow a statement that writes itself, so that it finds
//! rows and keys as PostgreSQL's would. A row is written once: who comes later leaves it alone.

use super::query::{self, Relations};
use super::write::{self, Kept, RESTARTS_MAX, Written};
use super::{Guard, Outcome, actions, delete, insert, update};
use crate::plan::{self, Source};
use crate::standing::{Prepared, Standing};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, TableId};
use kalamdb_sql::bind::bound::{Bound, BoundKind, ColId, Step};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The rows that the parts of one statement have written.
pub(super) struct Touched {
    /// Whether there are several parts: then each must know the others' rows.
    several: bool,
    rows: HashMap<TableId, HashSet<Vec<u8>>>,
}

impl Touched {
    fn by(bound: &Bound) -> Self {
        Self { several: !bound.steps.is_empty(), rows: HashMap::new() }
    }

    /// The keys of a table's rows.
    pub fn rows(&mut self, table: TableId) -> &mut HashSet<Vec<u8>> {
        self.rows.entry(table).or_default()
    }

    /// A row that was inserted: only another part could meet it.
    pub fn inserted(&mut self, table: TableId, key: &[u8]) {
        if self.several {
            self.rows(table).insert(key.to_vec());
        }
    }
}

/// Carries a bound statement out, with what its writes owe to foreign keys.
///
/// # Errors
/// The statement's; 23503 and kin; 40001 when rows keep changing under it.
pub(super) async fn run(
    standing: &mut Standing,
    prepared: &Prepared,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
) -> Result<Outcome> {
    run_as(standing, prepared, relations, values, guard, None).await
}

/// The same; what is written is told of by another verb.
///
/// # Errors
/// As [`run`].
pub(super) async fn run_as(
    standing: &mut Standing,
    prepared: &Prepared,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
    verb: Option<&str>,
) -> Result<Outcome> {
    standing.referential.begin_statement();
    let outcome = within(standing, prepared, relations, values, guard, verb).await?;
    actions::settle(standing).await?;
    Ok(outcome)
}

/// The same inside another statement, which enforces the foreign keys at its own end.
///
/// # Errors
/// The statement's; 40001 when rows keep changing under it.
pub(super) async fn within(
    standing: &mut Standing,
    prepared: &Prepared,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
    verb: Option<&str>,
) -> Result<Outcome> {
    for _ in 0..RESTARTS_MAX {
        if let Some(outcome) = attempt(standing, prepared, relations, &values, guard, verb).await? {
            return Ok(outcome);
        }
        standing.restart_statement()?;
    }
    Err(SqlError::new(SqlState::T_R_SERIALIZATION_FAILURE, "could not serialize access due to concurrent update"))
}

/// `None`: a row changed meanwhile, and what that means can only be told by running the statement again.
async fn attempt(
    standing: &mut Standing,
    prepared: &Prepared,
    relations: &Relations,
    values: &Arc<Vec<Datum>>,
    guard: &Guard,
    told: Option<&str>,
) -> Result<Option<Outcome>> {
    let bound = prepared.query()?.clone();
    let columns = prepared.columns.clone();
    let mut touched = Touched::by(&bound);
    let mut relations = relations.with_made(unmade(&bound)?);
    let is_query = matches!(bound.kind, BoundKind::Query(_));
    let (first, last): (Vec<usize>, Vec<usize>) = (0..bound.steps.len())
        .filter(|at| bound.steps[*at].is_read || writes(&bound.steps[*at].kind))
        .partition(|at| is_query || bound.steps[*at].is_read);
    for at in first {
        let step = &bound.steps[at];
        let returned = match &step.kind {
            BoundKind::Query(rel) => {
                let outputs: Vec<ColId> = step.outputs.iter().map(|output| output.col).collect();
                let execution = query::execution(standing, &bound, &relations, values.clone(), guard)?;
                write::collect(rel, &outputs, execution).await?
            }
            kind => match write(standing, prepared, kind, &relations, values.clone(), guard, &mut touched).await? {
                Some(written) => written.returned,
                None => return Ok(None),
            },
        };
        relations = with_returned(&relations, at, step, &returned)?;
    }
    let verb = match &bound.kind {
        BoundKind::Query(_) => {
            let rows = query::run(standing, prepared, &relations, values.clone(), columns, guard).await?;
            return Ok(Some(Outcome::Rows(rows)));
        }
        BoundKind::Insert(_) => "INSERT 0",
        BoundKind::Update(_) => "UPDATE",
        BoundKind::Delete(_) => "DELETE",
    };
    let main = write(standing, prepared, &bound.kind, &relations, values.clone(), guard, &mut touched).await?;
    let Some(main) = main else { return Ok(None) };
    for at in last {
        let step = &bound.steps[at];
        let Some(written) =
            write(standing, prepared, &step.kind, &relations, values.clone(), guard, &mut touched).await?
        else {
            return Ok(None);
        };
        relations = with_returned(&relations, at, step, &written.returned)?;
    }
    Ok(Some(main.outcome(told.unwrap_or(verb), columns)))
}

/// Whether a step has effects: it is carried out though nobody reads what it returns.
pub(super) fn writes(kind: &BoundKind) -> bool {
    !matches!(kind, BoundKind::Query(_))
}

/// What stands for the steps' rows before there are any.
///
/// # Errors
/// XX000 never happens: there are no rows that could have other columns.
pub(super) fn unmade(bound: &Bound) -> Result<Vec<Arc<dyn Source>>> {
    bound.steps.iter().map(|step| plan::made_rows(&step.name, &types(step), &[])).collect()
}

fn types(step: &Step) -> Vec<PgType> {
    step.outputs.iter().map(|output| output.ty).collect()
}

fn with_returned(relations: &Relations, at: usize, step: &Step, returned: &Kept) -> Result<Relations> {
    let mut made = relations.made().to_vec();
    made[at] = plan::made_rows(&step.name, &types(step), &returned.batches)?;
    Ok(relations.with_made(made))
}

async fn write(
    standing: &mut Standing,
    prepared: &Prepared,
    kind: &BoundKind,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
    touched: &mut Touched,
) -> Result<Option<Written>> {
    match kind {
        BoundKind::Query(_) => Err(SqlError::internal("a query writes nothing")),
        BoundKind::Insert(insert) => {
            insert::run(standing, prepared, insert, relations, values, guard, touched).await.map(Some)
        }
        BoundKind::Update(update) => update::run(standing, prepared, update, relations, values, guard, touched).await,
        BoundKind::Delete(delete) => delete::run(standing, prepared, delete, relations, values, guard, touched).await,
    }
}
