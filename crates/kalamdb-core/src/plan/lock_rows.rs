//! `LockRows`: where FOR UPDATE meets the statement room's locker.
//!
//! Rows go to the locker as they come and go on as it gives them back. Under a LIMIT no more rows are locked than come
//! out: the node hands over only so many at a time as are still wanted, so that `FOR UPDATE SKIP LOCKED LIMIT 1` takes
//! one job from a queue and not eight thousand.

use super::Locker;
use super::error::external;
use super::unary::{Operator, Unary};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::DFSchemaRef;
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kalamdb_commons::SqlError;
use kalamdb_sql::bind::bound::{ColId, LockTarget};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What is locked and by whom.
#[derive(Debug)]
struct Locking {
    columns: Vec<ColId>,
    targets: Vec<LockTarget>,
    /// No more rows than these are wanted.
    rows: Option<usize>,
    locker: Arc<dyn Locker>,
}

/// The logical node.
#[derive(Debug, Clone)]
pub(super) struct LockRows {
    input: Arc<LogicalPlan>,
    locking: Arc<Locking>,
}

impl LockRows {
    /// The node over a plan that has exactly `columns`.
    pub(super) fn new(
        input: LogicalPlan,
        columns: Vec<ColId>,
        targets: Vec<LockTarget>,
        rows: Option<usize>,
        locker: Arc<dyn Locker>,
    ) -> LockRows {
        LockRows { input: Arc::new(input), locking: Arc::new(Locking { columns, targets, rows, locker }) }
    }
}

impl PartialEq for LockRows {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.locking, &other.locking) && self.input == other.input
    }
}

impl Eq for LockRows {}

impl Hash for LockRows {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.locking) as usize, &self.input).hash(state);
    }
}

impl PartialOrd for LockRows {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for LockRows {
    fn name(&self) -> &str {
        "LockRows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockRows")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> EngineResult<Self> {
        let input = inputs.pop().ok_or_else(|| external(SqlError::internal("LockRows without an input")))?;
        Ok(LockRows { input: Arc::new(input), locking: self.locking.clone() })
    }
}

/// The physical node. All columns go through: the locker is told which is which.
pub(super) type LockRowsExec = Unary<LockingRows>;

/// The operator.
#[derive(Debug, Clone)]
pub(super) struct LockingRows(Arc<Locking>);

impl LockingRows {
    /// The operator over an input.
    ///
    /// # Errors
    /// XX000 when the input lost a column on the way.
    pub(super) fn new(node: &LockRows, input: &Arc<dyn ExecutionPlan>) -> EngineResult<LockingRows> {
        if input.schema().fields().len() != node.locking.columns.len() {
            return Err(external(SqlError::internal("LockRows with other columns than its locker was told")));
        }
        Ok(LockingRows(node.locking.clone()))
    }
}

impl Operator for LockingRows {
    const NAME: &'static str = "LockRowsExec";
    const NEEDS_ALL: bool = true;

    fn run(
        &self,
        input: SendableRecordBatchStream,
        _: SchemaRef,
        _: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>> {
        let state = Run { input, rest: None, wanted: self.0.rows, locking: self.0.clone() };
        let batches = stream::unfold(state, |mut state| async move {
            let batch = state.next().await?;
            Some((batch, state))
        });
        batches.boxed()
    }
}

struct Run {
    input: SendableRecordBatchStream,
    /// Rows that were read and not yet locked.
    rest: Option<RecordBatch>,
    wanted: Option<usize>,
    locking: Arc<Locking>,
}

impl Run {
    async fn next(&mut self) -> Option<EngineResult<RecordBatch>> {
        loop {
            if self.wanted == Some(0) {
                return None;
            }
            let rows = match self.rest.take() {
                Some(rows) => rows,
                None => match self.input.next().await? {
                    Ok(rows) => rows,
                    Err(error) => return Some(Err(error)),
                },
            };
            if rows.num_rows() == 0 {
                continue;
            }
            let step = self.wanted.unwrap_or(usize::MAX).min(rows.num_rows());
            if step < rows.num_rows() {
                self.rest = Some(rows.slice(step, rows.num_rows() - step));
            }
            let locking = self.locking.clone();
            match locking.locker.lock(&locking.targets, &locking.columns, rows.slice(0, step)).await {
                Ok(rows) if rows.num_rows() == 0 => {}
                Ok(rows) => {
                    self.wanted = self.wanted.map(|wanted| wanted.saturating_sub(rows.num_rows()));
                    return Some(Ok(rows));
                }
                Err(error) => {
                    self.wanted = Some(0);
                    return Some(Err(external(error)));
                }
            }
        }
    }
}
