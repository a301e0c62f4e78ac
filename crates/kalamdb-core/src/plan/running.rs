//! One statement being planned and run: its values, its numbers for new columns, and its way into the engine.
//!
//! Columns of an outer query that an inner plan reads stand in it as parameters with numbers above all others, and so
//! as the engine's placeholders: the inner plan is optimised once and filled in for each tuple of the outer query.

use super::engine::LARGE_PLAN_ROWS;
use super::error::{engine_error, external};
use super::interrupt::interruptible;
use super::provider::ScanExec;
use super::{BatchStream, Execution, SessionValues, pushdown};
use arrow_schema::Field;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::TaskContext;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{StreamExt, stream};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{Col, ColId, Rel, Scalar, Subquery};
use kalamdb_sql::bind::walk;
use kalamdb_sql::function::{SessionValue, Surroundings};
use kalamdb_sql::lower::{Filled, Filling, lower};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::task::AbortOnDropHandle;

/// Parameters from this number on are columns of an outer query; no statement has so many of its own.
const OUTER: usize = 1 << 40;
/// Columns that planning adds are numbered from here; binding counts from 0.
const FIRST_FRESH: u32 = 1 << 31;
/// Batches between the threads for plans and the session: one being made, one being sent.
const BATCHES_AHEAD: usize = 2;

/// A statement being planned and run.
pub(super) struct Statement {
    pub(super) execution: Execution,
    next: AtomicU32,
}

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statement").finish_non_exhaustive()
    }
}

impl Statement {
    pub(super) fn new(execution: Execution) -> Arc<Statement> {
        Arc::new(Statement { execution, next: AtomicU32::new(FIRST_FRESH) })
    }

    /// A number that no column has.
    pub(super) fn fresh(&self) -> ColId {
        ColId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A new column of a type.
    pub(super) fn column(&self, ty: PgType) -> Col {
        Col { id: self.fresh(), ty, nullable: true }
    }

    /// The engine's expression for a scalar without subqueries.
    ///
    /// # Errors
    /// XX000 for a tree that binding cannot have made.
    pub(super) fn expr(&self, scalar: &Scalar) -> Result<Expr> {
        let Execution { parameters, session, around, .. } = &self.execution;
        lower(scalar, &mut Values { parameters, session: session.as_ref(), around: around.clone() })
    }

    /// The value of a scalar without columns and subqueries.
    ///
    /// # Errors
    /// The expression's.
    pub(super) fn constant(&self, scalar: &Scalar) -> Result<ScalarValue> {
        pushdown::constant(&self.expr(scalar)?)
    }

    fn state(&self, large: bool) -> &SessionState {
        self.execution.engine.state(large)
    }

    /// The plan after the logical rules.
    ///
    /// # Errors
    /// The engine's.
    pub(super) fn optimized(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let state = self.state(false);
        state.optimizer().optimize(plan, state, |_, _| {}).map_err(engine_error)
    }

    /// The physical plan of an optimised one, and whether it is large.
    ///
    /// # Errors
    /// The engine's.
    pub(super) async fn physical(&self, plan: &LogicalPlan) -> Result<Physical> {
        // Only the physical plan knows which ranges of keys are read, so size is judged there. Making a second plan
        // is nothing beside the work of a large one.
        let small = super::rules::Planner.create_physical_plan(plan, self.state(false)).await.map_err(engine_error)?;
        if rows_read(&small) <= LARGE_PLAN_ROWS {
            return Ok(Physical { plan: interruptible(small, &self.execution.cancel)?, large: false });
        }
        let large = super::rules::Planner.create_physical_plan(plan, self.state(true)).await.map_err(engine_error)?;
        Ok(Physical { plan: interruptible(large, &self.execution.cancel)?, large: true })
    }

    pub(super) fn task(&self, large: bool) -> Arc<TaskContext> {
        self.state(large).task_ctx()
    }

    /// Starts a plan where it is pulled: for plans inside of plans. It does nothing until then.
    pub(super) fn stream(self: &Arc<Self>, physical: Physical) -> BatchStream {
        self.started(physical, None)
    }

    /// Starts a plan on the threads for plans, when it is pulled: whoever pulls it is never held up by its work.
    pub(super) fn stream_elsewhere(self: &Arc<Self>, physical: Physical) -> BatchStream {
        self.started(physical, self.execution.engine.threads())
    }

    fn started(self: &Arc<Self>, physical: Physical, threads: Option<tokio::runtime::Handle>) -> BatchStream {
        let statement = self.clone();
        let cancel = self.execution.cancel.clone();
        let rows = stream::once(async move {
            let task = statement.task(physical.large);
            match threads {
                Some(threads) => elsewhere(threads, physical.plan, task),
                None => here(physical.plan, task),
            }
        })
        .flatten();
        stream::unfold((Some(rows.boxed()), cancel), |(rows, cancel)| async move {
            let mut rows = rows?;
            tokio::select! {
                biased;
                () = cancel.cancelled() => Some((Err(cancelled()), (None, cancel))),
                batch = rows.next() => match batch? {
                    Ok(batch) => Some((Ok(batch), (Some(rows), cancel))),
                    Err(error) => Some((Err(error), (None, cancel))),
                },
            }
        })
        .boxed()
    }
}

/// A physical plan.
pub(super) struct Physical {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) large: bool,
}

fn here(plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> BatchStream {
    match execute_stream(plan, task) {
        Ok(rows) => rows.map(|batch| batch.map_err(engine_error)).boxed(),
        Err(error) => stream::once(async move { Err(engine_error(error)) }).boxed(),
    }
}

/// Runs a plan on threads of its own; a bounded channel makes it wait for the reader.
fn elsewhere(threads: tokio::runtime::Handle, plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> BatchStream {
    let (sender, receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
    let worker = threads.spawn(async move {
        let mut rows = here(plan, task);
        while let Some(batch) = rows.next().await {
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    });
    let state = (receiver, Some(AbortOnDropHandle::new(worker)));
    stream::unfold(state, |(mut receiver, mut worker)| async move {
        if let Some(batch) = receiver.recv().await {
            return Some((batch, (receiver, worker)));
        }
        // The end of the channel is the end of the rows only if the worker did not die.
        match worker.take()?.await {
            Ok(()) => None,
            Err(error) => Some((Err(SqlError::internal(error)), (receiver, None))),
        }
    })
    .boxed()
}

/// The error of a cancelled statement.
pub(super) fn cancelled() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

/// About how many rows the scans of a plan read.
fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let here = match plan.downcast_ref::<ScanExec>() {
        Some(scan) => scan.estimated_rows().unwrap_or(0) as u64,
        None => 0,
    };
    plan.children().into_iter().map(rows_read).fold(here, u64::saturating_add)
}

/// Parameters and session values as constants; an outer query's columns as placeholders.
pub(super) struct Values<'a> {
    pub(super) parameters: &'a [(Datum, PgType)],
    pub(super) session: &'a dyn SessionValues,
    pub(super) around: Arc<dyn Surroundings>,
}

impl Filling for Values<'_> {
    fn parameter(&mut self, number: usize, ty: PgType) -> Result<Filled> {
        if let Some(id) = number.checked_sub(OUTER) {
            let field = Field::new("", ty.ty.arrow(), true);
            let placeholder = Placeholder::new_with_field(format!("$o{id}"), Some(Arc::new(field)));
            return Ok(Filled::Expr(Expr::Placeholder(placeholder)));
        }
        match number.checked_sub(1).and_then(|at| self.parameters.get(at)) {
            Some((datum, _)) => Ok(Filled::Value(datum.clone())),
            None => Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}"))),
        }
    }

    fn session(&mut self, value: SessionValue, _: PgType) -> Result<Filled> {
        Ok(Filled::Value(self.session.value(value)))
    }

    fn around(&self) -> Option<Arc<dyn Surroundings>> {
        Some(self.around.clone())
    }

    fn subquery(&mut self, _: &Subquery) -> Result<Expr> {
        Err(SqlError::unsupported("a subquery in this place"))
    }
}

/// An outer column as a parameter.
pub(super) fn outer_parameter(col: Col) -> Scalar {
    Scalar::Param(OUTER + col.id.0 as usize, col.ty)
}

/// The outer column that a placeholder stands for.
pub(super) fn outer_column(placeholder: &Placeholder) -> Option<ColId> {
    placeholder.id.strip_prefix("$o")?.parse().ok().map(ColId)
}

/// Whether a scalar is an outer column in the form of a parameter.
pub(super) fn is_outer(scalar: &Scalar) -> bool {
    matches!(scalar, Scalar::Param(number, _) if *number >= OUTER)
}

/// Turns these columns into parameters, everywhere in a tree.
pub(super) fn bind_outer(rel: &mut Rel, outer: &[Col]) {
    let ids: HashSet<ColId> = outer.iter().map(|col| col.id).collect();
    walk::rewrite_rel(rel, &mut |scalar| match scalar {
        Scalar::Column(col) if ids.contains(&col.id) => Some(outer_parameter(*col)),
        _ => None,
    });
}

/// The outer columns that stand in a tree as parameters, each once.
pub(super) fn outer_parameters(rel: &Rel) -> Vec<(ColId, PgType)> {
    let mut found: Vec<(ColId, PgType)> = Vec::new();
    walk::deep_rel(rel, &mut |scalar| {
        if let Scalar::Param(number, ty) = scalar
            && let Some(id) = number.checked_sub(OUTER)
        {
            let id = ColId(id as u32);
            if found.iter().all(|(known, _)| *known != id) {
                found.push((id, *ty));
            }
        }
    });
    found
}

/// An inner plan with its outer columns filled in.
///
/// # Errors
/// 2201W and 2201X for a LIMIT that turns out to be negative.
pub(super) fn filled_in(plan: &LogicalPlan, outer: &[ColId], values: &[ScalarValue]) -> Result<LogicalPlan> {
    let values = outer.iter().zip(values);
    filled_with(plan, values.map(|(id, value)| (*id, ScalarAndMetadata::from(value.clone()))).collect())
}

/// As [`filled_in`], with values that may carry notes.
///
/// # Errors
/// As [`filled_in`].
pub(super) fn filled_with(plan: &LogicalPlan, values: Vec<(ColId, ScalarAndMetadata)>) -> Result<LogicalPlan> {
    let values: HashMap<String, ScalarAndMetadata> =
        values.into_iter().map(|(id, value)| (format!("o{}", id.0), value)).collect();
    let plan = plan.clone().replace_params_with_values(&ParamValues::Map(values)).map_err(engine_error)?;
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) => {
            let skip = limit.skip.as_deref().map(offset_value).transpose().map_err(external)?.flatten();
            let fetch = limit.fetch.as_deref().map(limit_value).transpose().map_err(external)?.flatten();
            Ok(Transformed::yes(LogicalPlan::Limit(Limit {
                skip: skip.map(|skip| Box::new(literal(skip))),
                fetch: fetch.map(|fetch| Box::new(literal(fetch))),
                input: limit.input,
            })))
        }
        node => Ok(Transformed::no(node)),
    });
    Ok(plan.map_err(engine_error)?.data)
}

fn literal(count: i64) -> Expr {
    Expr::Literal(ScalarValue::Int64(Some(count)), None)
}

/// The value of LIMIT; NULL is none.
pub(super) fn limit_value(expr: &Expr) -> Result<Option<i64>> {
    let state = SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE;
    count_value(expr, state, "LIMIT must not be negative")
}

/// The value of OFFSET; NULL is none.
pub(super) fn offset_value(expr: &Expr) -> Result<Option<i64>> {
    let state = SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE;
    count_value(expr, state, "OFFSET must not be negative")
}

fn count_value(expr: &Expr, state: SqlState, negative: &str) -> Result<Option<i64>> {
    match pushdown::constant(expr)? {
        ScalarValue::Int64(Some(count)) if count < 0 => Err(SqlError::new(state, negative)),
        ScalarValue::Int64(count) => Ok(count),
        value if value.is_null() => Ok(None),
        other => Err(SqlError::internal(format!("a row count of type {}", other.data_type()))),
    }
}

/// Whether a tree reads a work table whose recursion is outside of it.
pub(super) fn reads_outer_work(rel: &Rel) -> bool {
    fn visit(rel: &Rel, made: &mut Vec<u32>, found: &mut bool) {
        match rel {
            Rel::Recursive { work, .. } => made.push(*work),
            Rel::WorkTable { work, .. } => *found |= !made.contains(work),
            _ => {}
        }
        walk::inputs(rel, &mut |input| visit(input, made, found));
        walk::scalars(rel, &mut |scalar| {
            walk::deep(scalar, &mut |inner| {
                if let Scalar::Subquery(subquery) = inner {
                    visit(&subquery.rel, made, found);
                }
            });
        });
    }
    let mut found = false;
    visit(rel, &mut Vec::new(), &mut found);
    found
}
