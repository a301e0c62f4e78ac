//! `ProjectSet`: set-returning functions beside each input row, in lockstep.
//!
//! For each input row all functions run side by side until the last has ended; shorter ones are padded with NULL
//! (PostgreSQL manual 38.5.9). Rows are made one at a time and handed on by the batch, so that a series of a billion
//! numbers costs no memory and ends when nobody wants more.

use super::apply::{extended_properties, with_columns};
use super::engine::BATCH_ROWS;
use super::error::{arrow_error, engine_error, external};
use super::lower::extension;
use super::provider::batch;
use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{Col, Scalar, SetCall};
use kalamdb_sql::function::{Call, Function, Kind, SetRows, Surroundings};
use kalamdb_sql::lower::column_name;
use kalamdb_sql::types;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The functions of a node.
#[derive(Debug)]
struct Calls {
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
#[derive(Debug, Clone)]
pub(super) struct ProjectSet {
    input: Arc<LogicalPlan>,
    calls: Arc<Calls>,
    args: Vec<Expr>,
    schema: DFSchemaRef,
}

impl ProjectSet {
    /// The node over a plan; `args` are the calls' arguments as expressions.
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
        let calls =
            Calls { calls: calls.iter().map(one).collect(), columns, has_ordinality: ordinality.is_some(), around };
        let args = args.into_iter().flatten().collect();
        Ok(extension(ProjectSet::new(Arc::new(input), Arc::new(calls), args).map_err(engine_error)?))
    }

    fn new(input: Arc<LogicalPlan>, calls: Arc<Calls>, args: Vec<Expr>) -> EngineResult<ProjectSet> {
        let schema = with_columns(input.schema(), &calls.columns)?;
        Ok(ProjectSet { input, calls, args, schema })
    }
}

impl PartialEq for ProjectSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.calls, &other.calls) && self.args == other.args && self.input == other.input
    }
}

impl Eq for ProjectSet {}

impl Hash for ProjectSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.calls) as usize, &self.args, &self.input).hash(state);
    }
}

impl PartialOrd for ProjectSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for ProjectSet {
    fn name(&self) -> &str {
        "ProjectSet"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.args.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.calls.columns.iter().map(|col| column_name(col.id)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProjectSet")
    }

    fn with_exprs_and_inputs(&self, args: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> EngineResult<Self> {
        let input = inputs.pop().ok_or_else(|| external(SqlError::internal("ProjectSet without an input")))?;
        ProjectSet::new(Arc::new(input), self.calls.clone(), args)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let input = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|at| *at < input).collect()])
    }
}

/// The physical node.
#[derive(Debug, Clone)]
pub(super) struct ProjectSetExec {
    input: Arc<dyn ExecutionPlan>,
    calls: Arc<Calls>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ProjectSetExec {
    pub(super) fn new(
        node: &ProjectSet,
        input: Arc<dyn ExecutionPlan>,
        args: Vec<Arc<dyn PhysicalExpr>>,
    ) -> ProjectSetExec {
        ProjectSetExec::over(node.calls.clone(), input, args)
    }

    fn over(calls: Arc<Calls>, input: Arc<dyn ExecutionPlan>, args: Vec<Arc<dyn PhysicalExpr>>) -> ProjectSetExec {
        let properties = Arc::new(extended_properties(&input, &calls.columns));
        ProjectSetExec { input, calls, args, properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// The functions' names, for EXPLAIN.
    pub(super) fn functions(&self) -> Vec<&'static str> {
        self.calls.calls.iter().filter_map(|call| call.function.map(|function| function.name)).collect()
    }
}

impl DisplayAs for ProjectSetExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProjectSetExec: {:?}", self.functions())
    }
}

impl ExecutionPlan for ProjectSetExec {
    fn name(&self) -> &str {
        "ProjectSetExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        for arg in &self.args {
            if f(arg)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| external(SqlError::internal("ProjectSet without an input")))?;
        Ok(Arc::new(ProjectSetExec::over(self.calls.clone(), input, self.args.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let mode = datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(mode))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let state = Run { calls: self.calls.clone(), args: self.args.clone(), schema: self.schema(), current: None };
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
        let batches = batches.map_ok(move |batch: RecordBatch| batch.record_output(&metrics));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
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
        let rows = input.num_rows();
        let mut args = Vec::with_capacity(self.args.len());
        for arg in &self.args {
            args.push(arg.evaluate(&input).and_then(|value| value.into_array(rows)).map_err(engine_error)?);
        }
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
