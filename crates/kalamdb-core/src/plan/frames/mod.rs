//! `Frames`: window functions over frames that the engine's own operator does not have.
//!
//! The engine's operator serves windows that only grow, and moving ones for functions that can take a row back. This
//! one serves the rest: EXCLUDE, GROUPS, RANGE with offsets of every type that PostgreSQL has, arguments that differ
//! from row to row, empty frames, and aggregates that can only begin anew. It wants its input sorted, holds a partition
//! (charged to the memory pool; 53200 beyond it) and answers all calls over one order at once.

mod functions;
mod shape;

use super::engine::BATCH_ROWS;
use super::error::{arrow_error, engine_error, external};
use super::provider::batch;
use super::running::cancelled;
use super::unary::{Extended, Operator, Unary, Work as Adds, encoded, evaluated, extended_properties};
use arrow_array::{Array, RecordBatch};
use arrow_row::{OwnedRow, RowConverter, Rows};
use arrow_schema::{SchemaRef, SortOptions};
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan};
use datafusion::physical_expr::{LexRequirement, PhysicalExpr, PhysicalSortExpr, PhysicalSortRequirement};
use datafusion::physical_plan::{ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kalamdb_commons::{Datum, Result, SqlError, SqlState, SqlType};
use kalamdb_sql::bind::bound::{Col, Exclusion, FrameBound, FrameUnits, Scalar, WindowCall};
use kalamdb_sql::function::{Kind, Surroundings};
use kalamdb_sql::lower::column_name;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(super) use shape::{Bound, Frame, RangeBy};

/// What a call does.
#[derive(Debug)]
pub(super) enum Work {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile,
    Lag,
    Lead,
    FirstValue,
    LastValue,
    NthValue,
    Aggregate(Arc<AggregateUDF>),
}

impl Work {
    /// What a bound call does.
    ///
    /// # Errors
    /// XX000 for a function that is no window function.
    pub(super) fn of(call: &WindowCall) -> Result<Work> {
        let types: Vec<_> = call.args.iter().map(Scalar::ty).collect();
        Ok(match (&call.function.kind, call.function.name) {
            (Kind::Aggregate(make), _) => Work::Aggregate(make(&types)),
            (_, "row_number") => Work::RowNumber,
            (_, "rank") => Work::Rank,
            (_, "dense_rank") => Work::DenseRank,
            (_, "percent_rank") => Work::PercentRank,
            (_, "cume_dist") => Work::CumeDist,
            (_, "ntile") => Work::Ntile,
            (_, "lag") => Work::Lag,
            (_, "lead") => Work::Lead,
            (_, "first_value") => Work::FirstValue,
            (_, "last_value") => Work::LastValue,
            (_, "nth_value") => Work::NthValue,
            _ => return Err(SqlError::internal(format!("{:?} is not a window function", call.function))),
        })
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct OneCall {
    pub(super) name: &'static str,
    pub(super) work: Work,
    pub(super) frame: Frame,
    /// How many of the node's expressions are its arguments.
    pub(super) args: usize,
    pub(super) has_filter: bool,
}

/// What a node does beside its expressions.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) calls: Vec<OneCall>,
    /// The columns made, one for each call.
    pub(super) columns: Vec<Col>,
    pub(super) partition_keys: usize,
    /// Ascending and NULLs first, for each ORDER BY key.
    pub(super) order: Vec<(bool, bool)>,
    pub(super) around: Arc<dyn Surroundings>,
    pub(super) cancel: CancellationToken,
}

/// Whether the engine's operator gives PostgreSQL's answer.
pub(super) fn engine_can(call: &WindowCall) -> bool {
    let is_constant = |scalar: &Scalar| matches!(scalar, Scalar::Const(value, _) if !value.is_null());
    if call.frame.exclude != Exclusion::NoOthers {
        return false;
    }
    match (&call.function.kind, call.function.name) {
        (Kind::Window(_), "lag" | "lead" | "ntile") if !call.args.iter().skip(1).all(is_constant) => return false,
        (Kind::Window(_), "ntile") if !call.args.iter().all(is_constant) => return false,
        (Kind::Window(_), "nth_value") if !call.args.iter().skip(1).all(is_constant) => return false,
        // They look at the partition alone.
        (Kind::Window(_), name) if !matches!(name, "first_value" | "last_value" | "nth_value") => return true,
        _ => {}
    }
    match (call.frame.units, &call.frame.start, &call.frame.end) {
        (FrameUnits::Groups, ..) => false,
        (_, FrameBound::UnboundedPreceding, FrameBound::CurrentRow | FrameBound::UnboundedFollowing) => true,
        // The engine takes rows back here.
        (FrameUnits::Rows, FrameBound::Preceding(offset), FrameBound::CurrentRow) if is_constant(offset) => {
            let is_integer = |scalar: &Scalar| matches!(scalar.ty().ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8);
            matches!(call.function.name, "count" | "sum" | "avg") && call.args.iter().all(is_integer)
        }
        _ => false,
    }
}

/// The logical node: the input's columns, then the calls'. Its expressions are partition keys, ORDER BY keys, and for
/// each call its arguments, filter and RANGE value.
pub(super) type Frames = Extended<Calls>;
/// The physical node.
pub(super) type FramesExec = Unary<Framing>;

/// The logical node over a plan.
///
/// # Errors
/// XX000 when a column has a number that the input's columns have.
pub(super) fn plan(
    input: LogicalPlan,
    calls: Calls,
    partition_by: Vec<Expr>,
    order_by: Vec<Sort>,
    rest: Vec<Expr>,
) -> Result<LogicalPlan> {
    let exprs = partition_by.into_iter().chain(order_by.into_iter().map(|sort| sort.expr)).chain(rest).collect();
    Frames::plan(input, calls, exprs)
}

impl Adds for Calls {
    const NAME: &'static str = "Frames";
    // It would take rows out of the others' frames.
    const FILTERS_PASS: bool = false;

    fn columns(&self) -> &[Col] {
        &self.columns
    }
}

/// The operator.
#[derive(Debug, Clone)]
pub(super) struct Framing {
    pub(super) calls: Arc<Calls>,
    pub(super) exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Framing {
    /// The columns made, each with its function's name and arguments, for EXPLAIN.
    pub(super) fn shown(&self) -> Vec<(String, &'static str, &[Arc<dyn PhysicalExpr>])> {
        let mut at = self.calls.partition_keys + self.calls.order.len();
        let columns = self.calls.columns.iter().zip(&self.calls.calls);
        columns
            .map(|(col, call)| {
                let args = &self.exprs[at..at + call.args];
                at += call.args + usize::from(call.has_filter) + usize::from(call.frame.range_by.is_some());
                (column_name(col.id), call.name, args)
            })
            .collect()
    }
}

impl Operator for Framing {
    const NAME: &'static str = "FramesExec";
    const NEEDS_ALL: bool = true;

    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        extended_properties(input, &self.calls.columns)
    }

    fn exprs(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.exprs.iter().collect()
    }

    fn order(&self) -> Option<LexRequirement> {
        let calls = &self.calls;
        let (partition, rest) = self.exprs.split_at(calls.partition_keys);
        let partition = partition.iter().map(|expr| PhysicalSortExpr::new(expr.clone(), SortOptions::default()));
        let order = rest.iter().zip(&calls.order).map(|(expr, (ascending, nulls_first))| {
            let options = SortOptions { descending: !ascending, nulls_first: *nulls_first };
            PhysicalSortExpr::new(expr.clone(), options)
        });
        LexRequirement::new(partition.chain(order).map(PhysicalSortRequirement::from))
    }

    fn run(
        &self,
        input: SendableRecordBatchStream,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>> {
        let run = Run {
            calls: self.calls.clone(),
            exprs: self.exprs.clone(),
            input_schema: input.schema(),
            schema,
            pending: Vec::new(),
            key: None,
            converter: None,
            reservation: MemoryConsumer::new("Frames").register(context.memory_pool()),
            ready: VecDeque::new(),
            ended: false,
        };
        let batches = stream::try_unfold((input, run), |(mut input, mut run)| async move {
            loop {
                if let Some(batch) = run.ready.pop_front() {
                    return Ok(Some((batch, (input, run))));
                }
                if run.ended {
                    return Ok(None);
                }
                match input.next().await.transpose()? {
                    Some(batch) => run.take(batch).map_err(external)?,
                    None => run.end().map_err(external)?,
                }
            }
        });
        batches.boxed()
    }
}

/// The node at work.
struct Run {
    calls: Arc<Calls>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    input_schema: SchemaRef,
    schema: SchemaRef,
    /// Rows of partitions that are not answered yet; the last of them may go on.
    pending: Vec<RecordBatch>,
    /// The last pending row's partition.
    key: Option<OwnedRow>,
    converter: Option<RowConverter>,
    reservation: MemoryReservation,
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl Run {
    /// Takes a batch: what ends in it is answered.
    fn take(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let last_begin = self.last_begin(&rows)?;
        if let Some(at) = last_begin {
            if at > 0 {
                self.hold(rows.slice(0, at))?;
            }
            self.answer()?;
            return self.hold(rows.slice(at, rows.num_rows() - at));
        }
        self.hold(rows)
    }

    /// The input has ended.
    fn end(&mut self) -> Result<()> {
        self.ended = true;
        self.answer()
    }

    fn hold(&mut self, rows: RecordBatch) -> Result<()> {
        let bytes: usize =
            rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        // As much again for the arguments and the answers.
        self.reservation.try_grow(bytes * 2).map_err(engine_error)?;
        self.pending.push(rows);
        Ok(())
    }

    /// Where the last partition of the batch begins, if it is not the pending one.
    fn last_begin(&mut self, rows: &RecordBatch) -> Result<Option<usize>> {
        if self.calls.partition_keys == 0 {
            return Ok(None);
        }
        let keys = evaluated(&self.exprs[..self.calls.partition_keys], rows)?;
        let keys = encoded(&mut self.converter, &keys)?;
        let count = keys.num_rows();
        let last = keys.row(count - 1);
        let same = (0..count).rev().take_while(|row| keys.row(*row) == last).count();
        let begin = count - same;
        let goes_on = begin == 0 && self.key.as_ref().is_none_or(|key| key.row() == last);
        self.key = Some(last.owned());
        Ok((!goes_on).then_some(begin))
    }

    /// Answers all pending rows.
    fn answer(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let rows = arrow_select::concat::concat_batches(&self.input_schema, &pending).map_err(arrow_error)?;
        drop(pending);
        let partitions = match self.calls.partition_keys {
            0 => std::iter::once(0..rows.num_rows()).collect(),
            count => {
                let keys = evaluated(&self.exprs[..count], &rows)?;
                runs(&encoded(&mut self.converter, &keys)?, 0..rows.num_rows())
            }
        };
        let order = &self.exprs[self.calls.partition_keys..][..self.calls.order.len()];
        let peers = match order {
            [] => partitions.clone(),
            order => {
                let keys = encoded(&mut None, &evaluated(order, &rows)?)?;
                partitions.iter().flat_map(|partition| runs(&keys, partition.clone())).collect()
            }
        };
        let mut columns = rows.columns().to_vec();
        let mut at = self.calls.partition_keys + self.calls.order.len();
        for (call, col) in self.calls.calls.iter().zip(&self.calls.columns) {
            let mut take = |count: usize| {
                at += count;
                evaluated(&self.exprs[at - count..at], &rows)
            };
            let args = take(call.args)?;
            let filter = take(usize::from(call.has_filter))?.pop();
            let range_by = take(usize::from(call.frame.range_by.is_some()))?.pop();
            let part = functions::Part {
                call,
                args: &args,
                filter: filter.as_deref(),
                rows: rows.num_rows(),
                partitions: &partitions,
                peers: &peers,
                range_by: range_by.as_ref(),
                around: self.calls.around.as_ref(),
                cancel: &self.calls.cancel,
            };
            let made = part.answer()?;
            let target = col.ty.ty.arrow();
            columns.push(match *made.data_type() == target {
                true => made,
                false => arrow_cast::cast(&made, &target).map_err(arrow_error)?,
            });
        }
        let answered = batch(self.schema.clone(), columns, rows.num_rows())?;
        self.reservation.free();
        for start in (0..answered.num_rows()).step_by(BATCH_ROWS) {
            self.ready.push_back(answered.slice(start, BATCH_ROWS.min(answered.num_rows() - start)));
        }
        Ok(())
    }
}

/// Runs of equal rows.
fn runs(keys: &Rows, within: Range<usize>) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = within.start;
    for row in within.clone().skip(1) {
        if keys.row(row) != keys.row(row - 1) {
            runs.push(start..row);
            start = row;
        }
    }
    if start < within.end {
        runs.push(start..within.end);
    }
    runs
}

/// Ends the work of a statement that was cancelled: a partition may keep a thread for long.
fn listen(cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
}

/// The offset of a frame's border, as it is for the whole statement.
///
/// # Errors
/// 22004 for NULL, 22013 for a negative one.
pub(super) fn offset(value: Datum, units: FrameUnits, ordered: SqlType, which: &str) -> Result<Datum> {
    if value.is_null() {
        let message = format!("frame {which} offset must not be null");
        return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
    }
    if units == FrameUnits::Range {
        kalamdb_sql::function::in_range::check_offset(ordered, &value)?;
    } else if matches!(value, Datum::Int8(count) if count < 0) {
        let message = format!("frame {which} offset must not be negative");
        return Err(SqlError::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, message));
    }
    Ok(value)
}
