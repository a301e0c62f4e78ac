//! Bound trees to running plans: the only room that knows the query engine.
//!
//! A bound tree's scans are leaves without rows; whoever runs it brings a [`Source`] for each need, which only
//! `core::relation` makes, after it judged the permission. The tree is lowered to the engine's logical plan, optimised
//! and executed; what comes out is a stream that does nothing until it is pulled. The surprising thing: uncorrelated
//! subqueries run *before* the plan is made and stand in it as constants, so that they prune scans like literals do.

mod access;
mod apply;
mod distinct_on;
mod engine;
mod error;
mod explain;
mod flatten;
mod frames;
mod in_order;
mod interrupt;
mod lock_rows;
mod lower;
mod padded;
mod plan_once;
mod project_set;
mod provider;
mod pushdown;
mod rules;
mod running;
#[cfg(test)]
mod tests;
mod unary;
mod values;

pub use access::{IndexShape, IndexedKey};
pub use engine::{Engine, EngineOptions, STACK_BYTES};
pub use explain::{ExplainFormat, ExplainOptions, explain};
pub use provider::{Access, Blocking, KeyShape, KeySpan, Keys, LOOK_UP_COST, Part, ScanRequest, Source, batches};

use lower::Lowering;
use plan_once::Once;
use running::{Statement, Values};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;
use kalamdb_commons::{Datum, PgType, Result};
use kalamdb_sql::bind::bound::{ColId, LockTarget, Rel, Scalar};
use kalamdb_sql::function::{SessionValue, Surroundings};
use std::fmt::Debug;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The rows of a running plan. Nothing happens until it is pulled; dropping it ends the plan.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// What a plan needs to run, beside the tree.
#[derive(Clone)]
pub struct Execution {
    /// The server's one engine.
    pub engine: Engine,
    /// What stands behind each scan, by `NeedId`.
    pub leaves: Vec<Arc<dyn Source>>,
    /// What stands behind each `Rel::Made`, by its step.
    pub made: Vec<Arc<dyn Source>>,
    /// The values of `$1`, `$2` …, already of their bound types.
    pub parameters: Vec<(Datum, PgType)>,
    /// The values of the session and the moment.
    pub session: Arc<dyn SessionValues>,
    /// What functions may ask.
    pub around: Arc<dyn Surroundings>,
    /// Ends the plan between two batches.
    pub cancel: CancellationToken,
    /// Locks rows for `Rel::LockRows`; a tree that holds one cannot run without.
    pub locker: Option<Arc<dyn Locker>>,
}

/// Rows that a statement has made before its plan is, for `Rel::Made`.
///
/// # Errors
/// XX000 for batches that have other columns.
pub fn made_rows(name: &str, types: &[PgType], batches: &[RecordBatch]) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(provider::Known::of(name, types, batches)?))
}

/// The values that depend on the session or the moment.
pub trait SessionValues: Send + Sync {
    /// The value, of the type that the function table says.
    fn value(&self, value: SessionValue) -> Datum;
}

/// Locks the rows that `FOR UPDATE` and its kin found, before they go on.
#[async_trait]
pub trait Locker: Send + Sync + Debug {
    /// Locks the rows of a batch, re-checks them and gives back those that stay, in their order and with the same
    /// columns. `columns` says which column stands where in the batch.
    ///
    /// # Errors
    /// 55P03, 40P01, 40001; an error of the statement room's own when the statement has to start again.
    async fn lock(&self, targets: &[LockTarget], columns: &[ColId], rows: RecordBatch) -> Result<RecordBatch>;
}

/// Runs a tree: a stream of batches whose columns are exactly `outputs`, in order.
///
/// # Errors
/// Those of planning and of subqueries that run first; others come with the rows.
pub async fn run(rel: &Rel, outputs: &[ColId], execution: Execution) -> Result<BatchStream> {
    let (rel, outputs) = (rel.clone(), outputs.to_vec());
    let engine = execution.engine.clone();
    let planned = engine.on_threads(async move {
        let statement = Statement::new(execution);
        let (rel, _) = plan_once::with_values(&rel, &statement, Once::Run).await?;
        let plan = Lowering { statement: &statement }.query(&rel, &outputs)?;
        let plan = statement.optimized(plan)?;
        let physical = statement.physical(&plan).await?;
        Ok((statement, physical))
    });
    let (statement, physical) = planned.await?;
    Ok(statement.stream_elsewhere(physical))
}

/// The values of expressions without columns and subqueries: arguments of EXECUTE, defaults.
///
/// # Errors
/// Those of the expressions; 0A000 for a subquery.
pub fn evaluate(
    scalars: &[Scalar],
    parameters: &[(Datum, PgType)],
    session: &dyn SessionValues,
    around: Arc<dyn Surroundings>,
) -> Result<Vec<Datum>> {
    let mut values = Values { parameters, session, around };
    scalars
        .iter()
        .map(|scalar| {
            let value = pushdown::constant(&kalamdb_sql::lower::lower(scalar, &mut values)?)?;
            pushdown::datum(&value, scalar.ty())
        })
        .collect()
}
