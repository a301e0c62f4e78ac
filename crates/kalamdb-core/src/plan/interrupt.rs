//! Where a running plan hears that it was cancelled.
//!
//! The engine gives way between batches. A join may work for minutes on one batch and make no row: so each join gives
//! way above, for whoever counts its rows, and its condition looks for the cancel whenever it is evaluated.

use super::error::{engine_error, external};
use super::running::cancelled;
use arrow_array::RecordBatch;
use arrow_schema::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use kalamdb_commons::{Result, SqlError};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The plan with places to end its joins.
///
/// # Errors
/// The engine's.
pub(super) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    cancel: &CancellationToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        let makes_many = matches!(
            node.name(),
            "CrossJoinExec" | "NestedLoopJoinExec" | "HashJoinExec" | "SortMergeJoinExec" | "PiecewiseMergeJoinExec"
        );
        if !makes_many {
            return Ok(Transformed::no(node));
        }
        let node = listening(&node, cancel)?.unwrap_or(node);
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
    });
    Ok(wrapped.map_err(engine_error)?.data)
}

/// The join with a condition that listens, if it has a condition.
fn listening(
    node: &Arc<dyn ExecutionPlan>,
    cancel: &CancellationToken,
) -> EngineResult<Option<Arc<dyn ExecutionPlan>>> {
    let wrap = |filter: &JoinFilter| {
        let condition = Listening { inner: Arc::clone(filter.expression()), cancel: cancel.clone() };
        JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let built = NestedLoopJoinExecBuilder::from(join).with_filter(Some(wrap(filter))).build()?;
        return Ok(Some(Arc::new(built)));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return Ok(Some(join.builder().with_filter(Some(wrap(filter))).build_exec()?));
    }
    Ok(None)
}

/// A condition that fails once its statement is cancelled.
#[derive(Debug)]
pub(super) struct Listening {
    inner: Arc<dyn PhysicalExpr>,
    cancel: CancellationToken,
}

impl Listening {
    /// The condition itself.
    pub(super) fn inner(&self) -> &Arc<dyn PhysicalExpr> {
        &self.inner
    }
}

impl PartialEq for Listening {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Listening {}

impl Hash for Listening {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Listening {
    fn data_type(&self, schema: &Schema) -> EngineResult<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> EngineResult<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> EngineResult<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> EngineResult<ColumnarValue> {
        if self.cancel.is_cancelled() {
            return Err(external(cancelled()));
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> EngineResult<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().ok_or_else(|| external(SqlError::internal("a condition without an operand")))?;
        Ok(Arc::new(Listening { inner, cancel: self.cancel.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
