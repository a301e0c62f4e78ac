//! `DISTINCT ON`: the first row of each group, in the input's order.
//!
//! The input is sorted with the keys in front (PostgreSQL demands it when there is an ORDER BY), so a group's rows
//! stand together and one remembered key is enough. Without a sort below, the node asks for one by the keys.

use super::error::{arrow_error, external};
use super::unary::{Operator, Unary, encoded, evaluated};
use arrow_array::{BooleanArray, RecordBatch};
use arrow_row::{OwnedRow, RowConverter};
use arrow_schema::{SchemaRef, SortOptions};
use datafusion::common::DFSchemaRef;
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{LexRequirement, PhysicalExpr, PhysicalSortExpr, PhysicalSortRequirement};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::BoxStream;
use kalamdb_commons::{Result, SqlError};
use std::fmt;
use std::sync::Arc;

/// The logical node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(super) struct DistinctOn {
    pub(super) input: Arc<LogicalPlan>,
    pub(super) keys: Vec<Expr>,
    /// The order of the input.
    pub(super) order: Vec<Sort>,
}

impl UserDefinedLogicalNodeCore for DistinctOn {
    fn name(&self) -> &str {
        "DistinctOn"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.iter().cloned().chain(self.order.iter().map(|sort| sort.expr.clone())).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistinctOn")
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> EngineResult<Self> {
        let input = inputs.pop().ok_or_else(|| external(SqlError::internal("DistinctOn without an input")))?;
        let order = exprs.split_off(self.keys.len());
        let order = self.order.iter().zip(order).map(|(sort, expr)| Sort::new(expr, sort.asc, sort.nulls_first));
        let order = order.collect();
        Ok(DistinctOn { input: Arc::new(input), keys: exprs, order })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// The physical node.
pub(super) type DistinctOnExec = Unary<FirstRows>;

/// The operator.
#[derive(Debug, Clone)]
pub(super) struct FirstRows {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<PhysicalSortExpr>,
}

impl FirstRows {
    /// The operator; `exprs` are those of the logical node.
    pub(super) fn new(node: &DistinctOn, mut exprs: Vec<Arc<dyn PhysicalExpr>>) -> FirstRows {
        let sorted = exprs.split_off(node.keys.len());
        let mut order: Vec<PhysicalSortExpr> = node
            .order
            .iter()
            .zip(sorted)
            .map(|(sort, expr)| {
                PhysicalSortExpr::new(expr, SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first })
            })
            .collect();
        if order.is_empty() {
            order = exprs.iter().map(|key| PhysicalSortExpr::new(key.clone(), SortOptions::default())).collect();
        }
        FirstRows { keys: exprs, order }
    }
}

impl Operator for FirstRows {
    const NAME: &'static str = "DistinctOnExec";
    const NEEDS_ALL: bool = true;

    fn exprs(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.keys.iter().chain(self.order.iter().map(|sort| &sort.expr)).collect()
    }

    fn order(&self) -> Option<LexRequirement> {
        LexRequirement::new(self.order.iter().cloned().map(PhysicalSortRequirement::from))
    }

    fn run(
        &self,
        input: SendableRecordBatchStream,
        _: SchemaRef,
        _: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>> {
        let mut groups = Groups { keys: self.keys.clone(), converter: None, last: None };
        input.map(move |batch| groups.first_rows(batch?).map_err(external)).boxed()
    }
}

struct Groups {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    converter: Option<RowConverter>,
    last: Option<OwnedRow>,
}

impl Groups {
    /// The rows that begin a group.
    fn first_rows(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let keys = evaluated(&self.keys, &batch)?;
        let encoded = encoded(&mut self.converter, &keys)?;
        let begins: BooleanArray = (0..rows)
            .map(|row| {
                Some(match row.checked_sub(1) {
                    Some(before) => encoded.row(before) != encoded.row(row),
                    None => self.last.as_ref().is_none_or(|last| last.row() != encoded.row(row)),
                })
            })
            .collect();
        if let Some(last) = rows.checked_sub(1) {
            self.last = Some(encoded.row(last).owned());
        }
        arrow_select::filter::filter_record_batch(&batch, &begins).map_err(arrow_error)
    }
}
