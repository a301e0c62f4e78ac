//! `ProjectSet`: set-returning functions beside each input row, in lockstep.
//!
//! For each input row all functions run side by side until the last has ended; shorter ones are padded with NULL
//! (PostgreSQL manual 38.5.9). Rows are made one at a time and handed on by the batch, so that a series of a billion
//! numbers costs no memory and ends when nobody wants more.

use super::engine::BATCH_ROWS;
use super::error::{arrow_error, external};
use super::provider::batch;
use super::unary::{Extended, Operator, Unary, Work, evaluated, extended_properties};
use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{Col, Scalar, SetCall};
use kalamdb_sql::function::{Call, Function, Kind, SetRows, Surroundings};
use kalamdb_sql::types;
use std::sync::Arc;

/// The functions of a node.
#[derive(Debug)]
pub(super) struct Calls {
    calls: Vec<OneCall>,
    /// The columns made, call by call, then the ordinality.
    columns: Vec<Col>,
    has_ordinality: bool,
    around: Arc<dyn Surroundings>,
}

#[derive(Debug)]
struct OneCall {
    /// `None`: the argument is the one row.
    function: Option<&'static Function>,
    arg_types: Vec<PgType>,
    returns: PgType,
    /// How many of the node's columns it makes.
    width: usize,
}

/// The logical node: the input's columns, then the functions'.
pub(super) type ProjectSet = Extended<Calls>;
/// The physical node.
pub(super) type ProjectSetExec = Unary<Making>;

/// The logical node over a plan; `args` are the calls' arguments as expressions.
///
/// # Errors
/// XX000 when a column has a number that the input's columns have.
pub(super) fn plan(
    input: LogicalPlan,
    calls: &[(Vec<Col>, SetCall)],
    args: Vec<Vec<Expr>>,
    ordinality: Option<Col>,
    around: Arc<dyn Surroundings>,
) -> Result<LogicalPlan> {
    let one = |(columns, call): &(Vec<Col>, SetCall)| {
        let returns = columns.first().map_or(PgType::from(SqlType::Void), |col| col.ty);
        let is_set = matches!(call.function.kind, Kind::Set(_));
        OneCall {
            function: is_set.then_some(call.function),
            arg_types: if is_set { call.args.iter().map(Scalar::ty).collect() } else { vec![returns] },
            returns,
            width: columns.len(),
        }
    };
    let columns = calls.iter().flat_map(|(columns, _)| columns.iter().copied()).chain(ordinality).collect();
    let calls = Calls { calls: calls.iter().map(one).collect(), columns, has_ordinality: ordinality.is_some(), around };
    ProjectSet::plan(input, calls, args.into_iter().flatten().collect())
}

impl Work for Calls {
    const NAME: &'static str = "ProjectSet";

    fn columns(&self) -> &[Col] {
        &self.columns
    }
}

/// The operator: the functions' rows beside each input row.
#[derive(Debug, Clone)]
pub(super) struct Making {
    pub(super) calls: Arc<Calls>,
    pub(super) args: Vec<Arc<dyn PhysicalExpr>>,
}

impl Making {
    /// The functions' names, for EXPLAIN.
    pub(super) fn functions(&self) -> Vec<&'static str> {
        self.calls.calls.iter().filter_map(|call| call.function.map(|function| function.name)).collect()
    }
}

impl Operator for Making {
    const NAME: &'static str = "ProjectSetExec";

    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        extended_properties(input, &self.calls.columns)
    }

    fn exprs(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.args.iter().collect()
    }

    fn run(
        &self,
        input: SendableRecordBatchStream,
        schema: SchemaRef,
        _: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>> {
        let state = Run { calls: self.calls.clone(), args: self.args.clone(), schema, current: None };
        let batches = stream::unfold((input, state), |(mut input, mut state)| async move {
            loop {
                // Gives way between batches: a filter above may drop them all and never let a cancelled plan end.
                tokio::task::consume_budget().await;
                match state.next_batch() {
                    Ok(Some(batch)) => return Some((Ok(batch), (input, state))),
                    Ok(None) => {}
                    Err(error) => return Some((Err(external(error)), (input, state))),
                }
                match input.next().await? {
                    Ok(batch) => {
                        if let Err(error) = state.begin(batch) {
                            return Some((Err(external(error)), (input, state)));
                        }
                    }
                    Err(error) => return Some((Err(error), (input, state))),
                }
            }
        });
        batches.boxed()
    }
}

/// One partition of a `ProjectSet` at work.
struct Run {
    calls: Arc<Calls>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    current: Option<Current>,
}

/// The input batch whose rows are being made.
struct Current {
    input: RecordBatch,
    args: Vec<ArrayRef>,
    row: usize,
    /// The functions of this row; `None`: not begun.
    sets: Option<Vec<Option<SetRows>>>,
    ordinal: i64,
}

impl Run {
    fn begin(&mut self, input: RecordBatch) -> Result<()> {
        let args = evaluated(&self.args, &input)?;
        self.current = Some(Current { input, args, row: 0, sets: None, ordinal: 0 });
        Ok(())
    }

    /// The next rows of the current input batch; `None` when there are no more.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let mut owners: Vec<u32> = Vec::new();
        let mut made: Vec<Vec<Datum>> = self.calls.columns.iter().map(|_| Vec::new()).collect();
        while current.row < current.input.num_rows() && owners.len() < BATCH_ROWS {
            let mut sets = match current.sets.take() {
                Some(sets) => sets,
                None => self.calls.start(&current.args, current.row)?,
            };
            let ended = loop {
                if owners.len() == BATCH_ROWS {
                    break false;
                }
                if !self.calls.step(&mut sets, &mut current.ordinal, &mut made)? {
                    break true;
                }
                owners.push(current.row as u32);
            };
            if ended {
                current.row += 1;
                current.ordinal = 0;
            } else {
                current.sets = Some(sets);
            }
        }
        if owners.is_empty() {
            self.current = None;
            return Ok(None);
        }
        let owners = UInt32Array::from(owners);
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in current.input.columns() {
            columns.push(arrow_select::take::take(column, &owners, None).map_err(arrow_error)?);
        }
        for (col, items) in self.calls.columns.iter().zip(&made) {
            columns.push(types::array_of(col.ty, items)?);
        }
        batch(self.schema.clone(), columns, owners.len()).map(Some)
    }
}

impl Calls {
    /// Calls the functions for one input row.
    fn start(&self, args: &[ArrayRef], row: usize) -> Result<Vec<Option<SetRows>>> {
        let mut at = 0;
        let mut sets = Vec::with_capacity(self.calls.len());
        for one in &self.calls {
            let values: Vec<Datum> = one
                .arg_types
                .iter()
                .enumerate()
                .map(|(place, ty)| types::datum_at(args[at + place].as_ref(), row, *ty))
                .collect();
            at += one.arg_types.len();
            sets.push(match one.function {
                None => Some(Box::new(std::iter::once(Ok(values))) as SetRows),
                // Strict, and a NULL among the arguments: no rows.
                Some(function) if function.strict && values.iter().any(Datum::is_null) => None,
                Some(function) => {
                    let Kind::Set(make) = function.kind else {
                        return Err(SqlError::internal(format!("{function:?} is not set-returning")));
                    };
                    let call =
                        Call { rows: 1, arg_types: &one.arg_types, returns: one.returns, around: self.around.as_ref() };
                    Some(make(values, &call)?)
                }
            });
        }
        Ok(sets)
    }

    /// One more row of the functions; whether there was one.
    fn step(&self, sets: &mut [Option<SetRows>], ordinal: &mut i64, made: &mut [Vec<Datum>]) -> Result<bool> {
        let mut rows = Vec::with_capacity(sets.len());
        for set in sets.iter_mut() {
            let row = set.as_mut().and_then(Iterator::next).transpose()?;
            if row.is_none() {
                *set = None;
            }
            rows.push(row);
        }
        if rows.iter().all(Option::is_none) {
            return Ok(false);
        }
        let mut column = 0;
        for (one, row) in self.calls.iter().zip(rows) {
            let mut items = row.unwrap_or_default().into_iter();
            for _ in 0..one.width {
                made[column].push(items.next().unwrap_or_default());
                column += 1;
            }
        }
        if self.has_ordinality {
            *ordinal += 1;
            made[column].push(Datum::Int8(*ordinal));
        }
        Ok(true)
    }
}
