//! What operators of our own with one input have in common.
//!
//! An [`Operator`] says what it does with its input's rows; [`Unary`] is the engine's node around it. Those that add
//! columns to their input's (`Apply`, `ProjectSet`, `Frames`) also share their logical node, [`Extended`].

use super::error::{arrow_error, engine_error, external};
use super::lower::{extension, fields};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{Field, Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Statistics};
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, Partitioning, PhysicalExpr,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
    apply_expression_roots,
};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use kalamdb_commons::{Result, SqlError};
use kalamdb_sql::bind::bound::Col;
use kalamdb_sql::lower::column_name;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What an operator does with its one input.
pub(super) trait Operator: fmt::Debug + Clone + Send + Sync + 'static {
    /// Its name in the engine.
    const NAME: &'static str;
    /// Whether all rows must come in one partition.
    const NEEDS_ALL: bool = false;
    /// Whether the rows go out in the order in which they came.
    const KEEPS_ORDER: bool = true;
    /// Whether about as many rows go out as come in.
    const KEEPS_COUNT: bool = false;

    /// What the engine may know of the output.
    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        input.properties().clone()
    }

    /// The expressions over the input.
    fn exprs(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }

    /// About how many rows go out of so many.
    fn count(&self, input: Precision<usize>) -> Precision<usize> {
        if Self::KEEPS_COUNT { input.to_inexact() } else { Precision::Absent }
    }

    /// The order in which the rows must come.
    fn order(&self) -> Option<LexRequirement> {
        None
    }

    /// Its rows, of the output's schema.
    fn run(
        &self,
        input: SendableRecordBatchStream,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>>;
}

/// The engine's node around an operator.
#[derive(Debug, Clone)]
pub(super) struct Unary<O> {
    pub(super) operator: O,
    pub(super) input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl<O: Operator> Unary<O> {
    /// The node over an input.
    pub(super) fn new(operator: O, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = operator.properties(&input);
        Unary { operator, input, properties, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl<O: Operator> DisplayAs for Unary<O> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(O::NAME)
    }
}

impl<O: Operator> ExecutionPlan for Unary<O> {
    fn name(&self) -> &str {
        O::NAME
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
        apply_expression_roots(self.operator.exprs(), f)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let distribution =
            if O::NEEDS_ALL { Distribution::SinglePartition } else { Distribution::UnspecifiedDistribution };
        InputDistributionRequirements::new(vec![distribution])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.operator.order().map(OrderingRequirements::new)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        // One that wants an order must not say that it keeps one: the engine would move the sort that a node above
        // wants to below this one, in the place of this one's own. What order the rows have the properties tell.
        vec![O::KEEPS_ORDER && self.operator.order().is_none()]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| without_input(O::NAME))?;
        Ok(Arc::new(Unary::new(self.operator.clone(), input)))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context.clone())?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = self.operator.run(input, self.schema(), &context);
        let batches = batches.map_ok(move |batch| batch.record_output(&metrics));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        let counts = self.operator.count(Precision::Exact(1)) != Precision::Absent;
        vec![if counts { ChildStats::At(partition) } else { ChildStats::Skip }]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> EngineResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = inputs.first().map_or(Precision::Absent, |input| self.operator.count(input.num_rows));
        Ok(Arc::new(statistics))
    }
}

fn without_input(name: &str) -> datafusion::error::DataFusionError {
    external(SqlError::internal(format!("{name} without an input")))
}

/// What a node that adds columns does, beside its expressions.
pub(super) trait Work: fmt::Debug + Send + Sync + 'static {
    /// Its name in the engine.
    const NAME: &'static str;
    /// Whether a filter on a column of the input may be applied before.
    const FILTERS_PASS: bool = true;

    /// The columns made.
    fn columns(&self) -> &[Col];
}

/// The logical node: the input's columns, then those made.
#[derive(Debug, Clone)]
pub(super) struct Extended<W> {
    pub(super) work: Arc<W>,
    input: Arc<LogicalPlan>,
    exprs: Vec<Expr>,
    schema: DFSchemaRef,
}

impl<W: Work> Extended<W> {
    /// The node over a plan.
    ///
    /// # Errors
    /// XX000 when a column has a number that the input's columns have.
    pub(super) fn plan(input: LogicalPlan, work: W, exprs: Vec<Expr>) -> Result<LogicalPlan> {
        Ok(extension(Self::new(Arc::new(input), Arc::new(work), exprs).map_err(engine_error)?))
    }

    fn new(input: Arc<LogicalPlan>, work: Arc<W>, exprs: Vec<Expr>) -> EngineResult<Self> {
        let schema = with_columns(input.schema(), work.columns())?;
        Ok(Extended { work, input, exprs, schema })
    }
}

fn with_columns(schema: &DFSchema, columns: &[Col]) -> EngineResult<DFSchemaRef> {
    let added = fields(columns).into_iter().map(|field| (None, Arc::new(field)));
    let all = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).chain(added).collect();
    Ok(Arc::new(DFSchema::new_with_metadata(all, schema.metadata().clone())?))
}

impl<W> PartialEq for Extended<W> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.work, &other.work) && self.exprs == other.exprs && self.input == other.input
    }
}

impl<W> Eq for Extended<W> {}

impl<W> Hash for Extended<W> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.work) as usize, &self.exprs, &self.input).hash(state);
    }
}

impl<W> PartialOrd for Extended<W> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl<W: Work> UserDefinedLogicalNodeCore for Extended<W> {
    fn name(&self) -> &str {
        W::NAME
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.exprs.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        if W::FILTERS_PASS {
            self.work.columns().iter().map(|col| column_name(col.id)).collect()
        } else {
            self.schema.fields().iter().map(|field| field.name().clone()).collect()
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(W::NAME)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> EngineResult<Self> {
        let input = inputs.pop().ok_or_else(|| without_input(W::NAME))?;
        Self::new(Arc::new(input), self.work.clone(), exprs)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let input = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|at| *at < input).collect()])
    }
}

/// Properties of a node that adds columns to its input and keeps the rows' order.
pub(super) fn extended_properties(input: &Arc<dyn ExecutionPlan>, added: &[Col]) -> Arc<PlanProperties> {
    let mut all: Vec<Arc<Field>> = input.schema().fields().iter().cloned().collect();
    all.extend(fields(added).into_iter().map(Arc::new));
    let schema = Arc::new(Schema::new_with_metadata(all, input.schema().metadata().clone()));
    let mut equivalences = EquivalenceProperties::new(schema);
    // The input's columns keep their places, so its orders are the node's.
    equivalences.add_orderings(input.equivalence_properties().oeq_class().iter().cloned());
    Arc::new(PlanProperties::new(
        equivalences,
        Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
        input.pipeline_behavior(),
        input.boundedness(),
    ))
}

/// The values of expressions over rows.
///
/// # Errors
/// The expressions'.
pub(super) fn evaluated(exprs: &[Arc<dyn PhysicalExpr>], rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let array = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
    exprs.iter().map(|expr| array(expr).map_err(engine_error)).collect()
}

/// Keys in a form that is compared byte by byte. The converter is made for the first keys that come.
///
/// # Errors
/// XX000 for types without such a form.
pub(super) fn encoded(converter: &mut Option<RowConverter>, keys: &[ArrayRef]) -> Result<Rows> {
    let converter = match converter {
        Some(converter) => converter,
        unset => {
            let types = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
            unset.insert(RowConverter::new(types).map_err(arrow_error)?)
        }
    };
    converter.convert_columns(keys).map_err(arrow_error)
}
