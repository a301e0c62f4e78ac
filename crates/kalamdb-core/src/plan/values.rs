//! VALUES whose rows are not all constants: one row behind the other, each evaluated when its turn comes.
//!
//! Below it stands one row, which has what the expressions' subqueries give. Their own order is the rows': what
//! `nextval` gives the second row is more than what it gave the first.

use super::engine::BATCH_ROWS;
use super::error::{arrow_error, engine_error, external};
use super::provider::batch;
use super::unary::{Extended, Operator, Unary, Work, extended_properties};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kalamdb_commons::Result;
use kalamdb_sql::bind::bound::Col;
use std::ops::Range;
use std::sync::Arc;

/// What a node makes.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<Col>,
}

/// The logical node: the input's columns, then those of VALUES.
pub(super) type ValuesRows = Extended<Rows>;
/// The physical node.
pub(super) type ValuesExec = Unary<Listing>;

/// The logical node over a plan of one row; `exprs` are the rows', one behind the other.
///
/// # Errors
/// XX000 when a column has a number that the input's columns have.
pub(super) fn plan(input: LogicalPlan, columns: &[Col], exprs: Vec<Expr>) -> Result<LogicalPlan> {
    ValuesRows::plan(input, Rows { columns: columns.to_vec() }, exprs)
}

impl Work for Rows {
    const NAME: &'static str = "Values";
    const FILTERS_PASS: bool = false;

    fn columns(&self) -> &[Col] {
        &self.columns
    }
}

/// The operator.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub(super) rows: Arc<Rows>,
    pub(super) exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Listing {
    fn count(&self) -> usize {
        self.exprs.len().checked_div(self.rows.columns.len()).unwrap_or(0)
    }

    /// Some of the rows, beside one of the input.
    fn made(&self, input: &RecordBatch, rows: Range<usize>, schema: &SchemaRef) -> Result<RecordBatch> {
        let width = self.rows.columns.len();
        let mut cells: Vec<Vec<ArrayRef>> = vec![Vec::with_capacity(rows.len()); width];
        for expr in self.exprs.get(rows.start * width..rows.end * width).unwrap_or_default().chunks(width) {
            for (column, expr) in cells.iter_mut().zip(expr) {
                column.push(expr.evaluate(input).and_then(|value| value.into_array(1)).map_err(engine_error)?);
            }
        }
        let copies = UInt32Array::from_value(0, rows.len());
        let mut arrays = Vec::with_capacity(schema.fields().len());
        for column in input.columns() {
            arrays.push(arrow_select::take::take(column, &copies, None).map_err(arrow_error)?);
        }
        for column in &cells {
            let parts: Vec<&dyn Array> = column.iter().map(AsRef::as_ref).collect();
            arrays.push(arrow_select::concat::concat(&parts).map_err(arrow_error)?);
        }
        batch(schema.clone(), arrays, rows.len())
    }
}

impl Operator for Listing {
    const NAME: &'static str = "ValuesExec";

    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        extended_properties(input, &self.rows.columns)
    }

    fn exprs(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.exprs.iter().collect()
    }

    fn count(&self, input: Precision<usize>) -> Precision<usize> {
        input.multiply(&Precision::Inexact(Listing::count(self)))
    }

    fn run(
        &self,
        input: SendableRecordBatchStream,
        schema: SchemaRef,
        _: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>> {
        let listing = self.clone();
        let count = Listing::count(self);
        let made = input.flat_map(move |below| {
            let below = match below {
                Ok(below) => below,
                Err(error) => return stream::once(std::future::ready(Err(error))).boxed(),
            };
            let pieces = (0..below.num_rows()).flat_map(move |row| {
                (0..count).step_by(BATCH_ROWS).map(move |from| (row, from..(from + BATCH_ROWS).min(count)))
            });
            let (listing, schema) = (listing.clone(), schema.clone());
            let made = pieces.map(move |(row, rows)| listing.made(&below.slice(row, 1), rows, &schema));
            stream::iter(made.map(|batch| batch.map_err(external))).boxed()
        });
        made.boxed()
    }
}
