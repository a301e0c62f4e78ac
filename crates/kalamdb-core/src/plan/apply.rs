//! `Apply`: an inner plan run for each different tuple of the outer columns that it reads.
//!
//! The general way to evaluate a correlated subquery, wherever it stands. The inner plan is lowered once, with the
//! outer columns as placeholders, optimised once, and for each tuple that was not seen before it is filled in, planned
//! and run. Answers are remembered, charged to the memory pool, and forgotten when they become too many. An inner plan
//! without outer columns runs once; `NOT IN` lives on that.

use super::engine::BATCH_ROWS;
use super::error::{arrow_error, engine_error, external};
use super::lower::fields;
use super::provider::batch;
use super::running::{Statement, filled_in};
use super::unary::{Extended, Operator, Unary, Work, encoded, evaluated, extended_properties};
use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow_row::{OwnedRow, RowConverter, SortField};
use arrow_schema::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::execution::context::ExecutionProps;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator as Op};
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::{ExecutionPlan, PlanProperties, SendableRecordBatchStream};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use kalamdb_commons::{Result, SqlError, SqlState, SqlType};
use kalamdb_sql::bind::bound::{Col, ColId, Scalar};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Bytes of answers that one `Apply` remembers: what repeats in one query's tuples, not a cache of a table.
const MEMO_BYTES_MAX: usize = 32 << 20;

/// What becomes of the inner rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// Whether there are some.
    Exists,
    /// The one row's one column.
    Scalar,
    /// All rows' one column as an array.
    Array,
    /// Whether the test is true for some, or for all; three-valued.
    Quantified {
        /// ALL instead of ANY.
        all: bool,
    },
    /// The rows themselves, beside the outer row.
    Rows {
        /// An outer row without inner ones stays, with NULLs.
        outer_join: bool,
    },
}

/// The inner side of an `Apply`.
#[derive(Debug)]
pub(super) struct Inner {
    statement: Arc<Statement>,
    template: LogicalPlan,
    optimized: OnceCell<LogicalPlan>,
    /// The placeholders of the template; the first of the node's arguments are their values.
    outer: Vec<ColId>,
    columns: Vec<Col>,
    schema: SchemaRef,
    /// The test over the inner columns and, behind them, the other arguments.
    test: Option<Test>,
    answer: Answer,
    is_volatile: bool,
}

#[derive(Debug)]
struct Test {
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// For `operand = column`: the operand, over the same columns.
    operand: Option<Arc<dyn PhysicalExpr>>,
}

impl Inner {
    /// An inner side. `around` are the columns that the test reads beside the inner ones.
    ///
    /// # Errors
    /// XX000 for a tree that binding cannot have made.
    pub(super) fn new(
        statement: Arc<Statement>,
        template: LogicalPlan,
        outer: Vec<ColId>,
        columns: Vec<Col>,
        test: Option<Scalar>,
        around: Vec<Col>,
        answer: Answer,
    ) -> Result<Inner> {
        let schema = Arc::new(Schema::new(fields(&columns)));
        let test = test.map(|test| Test::new(&statement, &test, &columns, &around)).transpose()?;
        let is_volatile = is_volatile(&template).map_err(engine_error)?;
        let optimized = OnceCell::new();
        Ok(Inner { statement, template, optimized, outer, columns, schema, test, answer, is_volatile })
    }

    /// The inner plan after the logical rules.
    pub(super) async fn optimized(&self) -> Result<&LogicalPlan> {
        self.optimized.get_or_try_init(|| async { self.statement.optimized(self.template.clone()) }).await
    }

    pub(super) fn statement(&self) -> &Arc<Statement> {
        &self.statement
    }

    pub(super) fn answer(&self) -> Answer {
        self.answer
    }

    pub(super) fn is_correlated(&self) -> bool {
        !self.outer.is_empty()
    }

    /// The inner rows for an outer tuple, as far as the answer needs them.
    async fn rows(&self, tuple: &[ScalarValue], reservation: &MemoryReservation) -> Result<RecordBatch> {
        let plan = self.optimized().await?;
        let plan = if tuple.is_empty() { plan.clone() } else { filled_in(plan, &self.outer, tuple)? };
        let physical = self.statement.physical(&plan).await?;
        let mut stream = self.statement.stream(physical);
        let enough = match self.answer {
            Answer::Exists => 1,
            Answer::Scalar => 2,
            _ => usize::MAX,
        };
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while rows < enough
            && let Some(batch) = stream.try_next().await?
        {
            rows += batch.num_rows();
            let size = batch.get_array_memory_size();
            reservation.try_grow(size).map_err(engine_error)?;
            bytes += size;
            batches.push(batch);
        }
        // The memo charges what it keeps.
        reservation.shrink(bytes);
        let batches: Vec<RecordBatch> = batches
            .into_iter()
            .map(|rows| batch(self.schema.clone(), rows.columns().to_vec(), rows.num_rows()))
            .collect::<Result<_>>()?;
        arrow_select::concat::concat_batches(&self.schema, &batches).map_err(arrow_error)
    }

    async fn found(&self, tuple: &[ScalarValue], reservation: &MemoryReservation) -> Result<Found> {
        let rows = self.rows(tuple, reservation).await?;
        Ok(match self.answer {
            Answer::Exists => Found::Truth(rows.num_rows() > 0),
            Answer::Scalar => {
                if rows.num_rows() > 1 {
                    let message = "more than one row returned by a subquery used as an expression";
                    return Err(SqlError::new(SqlState::CARDINALITY_VIOLATION, message));
                }
                let value = rows.columns().first().ok_or_else(|| SqlError::internal("a subquery without a column"))?;
                Found::Value(match rows.num_rows() {
                    0 => new_null_array(value.data_type(), 1),
                    _ => value.clone(),
                })
            }
            Answer::Array => {
                let value = rows.columns().first().ok_or_else(|| SqlError::internal("a subquery without a column"))?;
                let element = self.columns.first().map_or(SqlType::Text.into(), |col| col.ty);
                Found::Value(kalamdb_sql::lower::gathered(value, element)?)
            }
            Answer::Quantified { .. } => Found::Rows { set: self.set(&rows)?, rows },
            Answer::Rows { .. } => Found::Rows { rows, set: None },
        })
    }

    /// The first column's values as a set, where the test looks for one of them.
    fn set(&self, rows: &RecordBatch) -> Result<Option<Set>> {
        let Some(Test { operand: Some(_), .. }) = &self.test else { return Ok(None) };
        let column = rows.column(0);
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).map_err(arrow_error)?;
        let encoded = converter.convert_columns(std::slice::from_ref(column)).map_err(arrow_error)?;
        let values = (0..column.len())
            .filter(|row| !column.is_null(*row))
            .map(|row| encoded.row(row).owned())
            .collect::<FxHashSet<OwnedRow>>();
        Ok(Some(Set { converter, values, has_null: column.null_count() > 0, is_empty: column.is_empty() }))
    }
}

impl Test {
    fn new(statement: &Statement, test: &Scalar, columns: &[Col], around: &[Col]) -> Result<Test> {
        let all: Vec<Col> = columns.iter().chain(around).copied().collect();
        let schema = Arc::new(Schema::new(fields(&all)));
        let of = DFSchema::try_from(schema.as_ref().clone()).map_err(engine_error)?;
        let expr = statement.expr(test)?;
        let planning = PhysicalPlanningContext::default();
        let expr = create_physical_expr(&expr, &of, &ExecutionProps::new(), &planning).map_err(engine_error)?;
        let operand = match columns {
            [_] => operand_of(&expr, columns.len()),
            _ => None,
        };
        Ok(Test { expr, schema, operand })
    }

    /// The test's result for each row of the columns.
    fn truth(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<BooleanArray> {
        let input = batch(self.schema.clone(), columns, rows)?;
        let result = self.expr.evaluate(&input).and_then(|value| value.into_array(rows)).map_err(engine_error)?;
        let result = result.as_boolean_opt().ok_or_else(|| SqlError::internal("a test that is no boolean"))?;
        Ok(result.clone())
    }
}

/// The other side of `column 0 = …`, if the test is that and the other side reads no inner column.
fn operand_of(test: &Arc<dyn PhysicalExpr>, inner: usize) -> Option<Arc<dyn PhysicalExpr>> {
    let binary = test.downcast_ref::<BinaryExpr>()?;
    if *binary.op() != Op::Eq {
        return None;
    }
    let is_first =
        |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().is_some_and(|column| column.index() == 0);
    let is_around = |expr: &Arc<dyn PhysicalExpr>| {
        datafusion::physical_expr::utils::collect_columns(expr).iter().all(|column| column.index() >= inner)
    };
    match (binary.left(), binary.right()) {
        (first, other) if is_first(first) && is_around(other) => Some(other.clone()),
        (other, first) if is_first(first) && is_around(other) => Some(other.clone()),
        _ => None,
    }
}

fn is_volatile(plan: &LogicalPlan) -> EngineResult<bool> {
    let mut found = false;
    plan.apply(|node| {
        found |= node.expressions().iter().any(Expr::is_volatile);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// What the inner plan gave for a tuple.
enum Found {
    Truth(bool),
    /// An array of one.
    Value(ArrayRef),
    Rows {
        rows: RecordBatch,
        set: Option<Set>,
    },
}

/// Values to be looked for.
struct Set {
    converter: RowConverter,
    values: FxHashSet<OwnedRow>,
    has_null: bool,
    is_empty: bool,
}

impl Found {
    fn bytes(&self) -> usize {
        match self {
            Found::Truth(_) => 1,
            Found::Value(value) => value.get_array_memory_size(),
            Found::Rows { rows, set } => {
                let set = set.as_ref().map_or(0, |set| set.values.len() * 64);
                rows.get_array_memory_size() + set
            }
        }
    }
}

/// What an `Apply` does.
#[derive(Debug)]
pub(super) struct Applied {
    /// The inner side.
    pub(super) inner: Arc<Inner>,
    /// The columns made.
    pub(super) results: Vec<Col>,
}

/// The logical node: the input's columns, then the results.
pub(super) type Apply = Extended<Applied>;
/// The physical node.
pub(super) type ApplyExec = Unary<Applying>;

impl Work for Applied {
    const NAME: &'static str = "Apply";

    fn columns(&self) -> &[Col] {
        &self.results
    }
}

/// The operator: for each input row the inner answer for its tuple.
#[derive(Debug, Clone)]
pub(super) struct Applying {
    pub(super) work: Arc<Applied>,
    pub(super) args: Vec<Arc<dyn PhysicalExpr>>,
}

impl Operator for Applying {
    const NAME: &'static str = "ApplyExec";
    const KEEPS_COUNT: bool = true;

    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        extended_properties(input, &self.work.results)
    }

    fn exprs(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.args.iter().collect()
    }

    fn run(
        &self,
        input: SendableRecordBatchStream,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>> {
        let state = Run {
            inner: self.work.inner.clone(),
            args: self.args.clone(),
            schema,
            memo: FxHashMap::default(),
            once: None,
            converter: None,
            reservation: MemoryConsumer::new("Apply").register(context.memory_pool()),
        };
        let batches = stream::unfold((input, state), |(mut input, mut state)| async move {
            let batch = input.next().await?;
            let result = match batch {
                Ok(batch) => state.apply(batch).await.map_err(external),
                Err(error) => Err(error),
            };
            Some((result, (input, state)))
        });
        batches.map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten().boxed()
    }
}

/// One partition of an `Apply` at work.
struct Run {
    inner: Arc<Inner>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    memo: FxHashMap<OwnedRow, Arc<Found>>,
    /// The answer for the empty tuple.
    once: Option<Arc<Found>>,
    converter: Option<RowConverter>,
    reservation: MemoryReservation,
}

impl Run {
    async fn apply(&mut self, input: RecordBatch) -> Result<Vec<RecordBatch>> {
        let rows = input.num_rows();
        let mut args = evaluated(&self.args, &input)?;
        let around = args.split_off(self.inner.outer.len());
        let found = self.found(&args, rows).await?;
        match self.inner.answer {
            Answer::Exists => {
                let truth: BooleanArray =
                    found.iter().map(|found| matches!(found.as_ref(), Found::Truth(true))).map(Some).collect();
                self.beside(input, vec![Arc::new(truth)])
            }
            Answer::Scalar | Answer::Array => {
                let value = values(&found, self.schema.field(input.num_columns()).data_type())?;
                self.beside(input, vec![value])
            }
            Answer::Quantified { all } => {
                let truth = self.quantified(&found, &around, all)?;
                self.beside(input, vec![Arc::new(truth)])
            }
            Answer::Rows { outer_join } => self.joined(&input, &found, &around, outer_join),
        }
    }

    /// What the inner plan gives for each row's tuple.
    async fn found(&mut self, args: &[ArrayRef], rows: usize) -> Result<Vec<Arc<Found>>> {
        let inner = self.inner.clone();
        if args.is_empty() {
            // All rows have the same tuple: the empty one.
            let only = match (&self.once, rows) {
                (Some(only), _) => only.clone(),
                (None, 0) => return Ok(Vec::new()),
                (None, _) => Arc::new(inner.found(&[], &self.reservation).await?),
            };
            self.once = Some(only.clone());
            return Ok(vec![only; rows]);
        }
        let keys = encoded(&mut self.converter, args)?;
        let mut found = Vec::with_capacity(rows);
        for row in 0..rows {
            let key = keys.row(row).owned();
            if let Some(known) = self.memo.get(&key).filter(|_| !inner.is_volatile) {
                found.push(known.clone());
                continue;
            }
            let tuple = args
                .iter()
                .map(|arg| ScalarValue::try_from_array(arg, row))
                .collect::<EngineResult<Vec<_>>>()
                .map_err(engine_error)?;
            let fresh = Arc::new(inner.found(&tuple, &self.reservation).await?);
            self.remember(key, &fresh);
            found.push(fresh);
        }
        Ok(found)
    }

    fn remember(&mut self, key: OwnedRow, found: &Arc<Found>) {
        let bytes = found.bytes() + key.as_ref().len() + 64;
        if self.reservation.size() + bytes > MEMO_BYTES_MAX || self.reservation.try_grow(bytes).is_err() {
            self.memo.clear();
            self.reservation.free();
            if bytes > MEMO_BYTES_MAX || self.reservation.try_grow(bytes).is_err() {
                return;
            }
        }
        self.memo.insert(key, found.clone());
    }

    /// The input's columns and the results.
    fn beside(&self, input: RecordBatch, results: Vec<ArrayRef>) -> Result<Vec<RecordBatch>> {
        let rows = input.num_rows();
        let mut columns = input.columns().to_vec();
        columns.extend(results);
        Ok(vec![batch(self.schema.clone(), columns, rows)?])
    }

    fn quantified(&self, found: &[Arc<Found>], around: &[ArrayRef], all: bool) -> Result<BooleanArray> {
        let test = self.inner.test.as_ref().ok_or_else(|| SqlError::internal("ANY without a test"))?;
        let mut truth = BooleanBuilder::with_capacity(found.len());
        // `operand = ANY (…)` over one set: a look-up for each row.
        let sets = found.iter().map(|found| match found.as_ref() {
            Found::Rows { set: Some(set), .. } => Some(set),
            _ => None,
        });
        if let (false, Some(operand), Some(sets)) = (all, &test.operand, sets.collect::<Option<Vec<_>>>()) {
            let operand = self.operand(operand, test, around, found.len())?;
            let Some(first) = sets.first() else { return Ok(truth.finish()) };
            let keys = first.converter.convert_columns(std::slice::from_ref(&operand)).map_err(arrow_error)?;
            for (row, set) in sets.iter().enumerate() {
                truth.append_option(match operand.is_null(row) {
                    _ if set.is_empty => Some(false),
                    true => None,
                    false if set.values.contains(&keys.row(row).owned()) => Some(true),
                    false if set.has_null => None,
                    false => Some(false),
                });
            }
            return Ok(truth.finish());
        }
        for (row, found) in found.iter().enumerate() {
            let Found::Rows { rows, .. } = found.as_ref() else {
                return Err(SqlError::internal("ANY without rows"));
            };
            let results = test.truth(with_row(rows, around, row)?, rows.num_rows())?;
            truth.append_option(verdict(&results, all));
        }
        Ok(truth.finish())
    }

    /// The operand of a set's test for each row.
    fn operand(
        &self,
        operand: &Arc<dyn PhysicalExpr>,
        test: &Test,
        around: &[ArrayRef],
        rows: usize,
    ) -> Result<ArrayRef> {
        let inner = self.inner.columns.iter().map(|col| new_null_array(&col.ty.ty.arrow(), rows));
        let input = batch(test.schema.clone(), inner.chain(around.iter().cloned()).collect(), rows)?;
        operand.evaluate(&input).and_then(|value| value.into_array(rows)).map_err(engine_error)
    }

    /// Each outer row beside its inner ones.
    fn joined(
        &self,
        input: &RecordBatch,
        found: &[Arc<Found>],
        around: &[ArrayRef],
        outer_join: bool,
    ) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let (mut owners, mut parts, mut count): (Vec<u32>, Vec<RecordBatch>, usize) = (Vec::new(), Vec::new(), 0);
        let nulls: Vec<ArrayRef> =
            self.inner.schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let none = batch(self.inner.schema.clone(), nulls, 1)?;
        for (row, found) in found.iter().enumerate() {
            let Found::Rows { rows, .. } = found.as_ref() else {
                return Err(SqlError::internal("a lateral join without rows"));
            };
            let mut rows = rows.clone();
            if let Some(test) = &self.inner.test {
                let keep = test.truth(with_row(&rows, around, row)?, rows.num_rows())?;
                rows = arrow_select::filter::filter_record_batch(&rows, &keep).map_err(arrow_error)?;
            }
            if rows.num_rows() == 0 && outer_join {
                rows = none.clone();
            }
            let mut from = 0;
            while from < rows.num_rows() {
                let step = (BATCH_ROWS - count).min(rows.num_rows() - from);
                owners.extend(std::iter::repeat_n(row as u32, step));
                parts.push(rows.slice(from, step));
                (from, count) = (from + step, count + step);
                if count == BATCH_ROWS {
                    batches.push(self.side_by_side(input, &mut owners, &mut parts)?);
                    count = 0;
                }
            }
        }
        if count > 0 {
            batches.push(self.side_by_side(input, &mut owners, &mut parts)?);
        }
        Ok(batches)
    }

    fn side_by_side(
        &self,
        input: &RecordBatch,
        owners: &mut Vec<u32>,
        parts: &mut Vec<RecordBatch>,
    ) -> Result<RecordBatch> {
        let owners = UInt32Array::from(std::mem::take(owners));
        let inner = arrow_select::concat::concat_batches(&self.inner.schema, &std::mem::take(parts));
        let inner = inner.map_err(arrow_error)?;
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in input.columns() {
            columns.push(arrow_select::take::take(column, &owners, None).map_err(arrow_error)?);
        }
        columns.extend(inner.columns().iter().cloned());
        batch(self.schema.clone(), columns, owners.len())
    }
}

/// The inner rows' columns and, behind them, one row of the arguments for all of them.
fn with_row(rows: &RecordBatch, around: &[ArrayRef], row: usize) -> Result<Vec<ArrayRef>> {
    let mut columns = rows.columns().to_vec();
    let places = UInt32Array::from_value(row as u32, rows.num_rows());
    for arg in around {
        columns.push(arrow_select::take::take(arg, &places, None).map_err(arrow_error)?);
    }
    Ok(columns)
}

/// Three-valued AND (`all`) or OR.
fn verdict(results: &BooleanArray, all: bool) -> Option<bool> {
    let decided = if all { results.false_count() } else { results.true_count() };
    match (decided > 0, results.null_count() > 0) {
        (true, _) => Some(!all),
        (false, true) => None,
        (false, false) => Some(all),
    }
}

/// The values of one-item answers as a column.
fn values(found: &[Arc<Found>], ty: &DataType) -> Result<ArrayRef> {
    let mut arrays: Vec<&dyn Array> = Vec::with_capacity(found.len());
    for found in found {
        match found.as_ref() {
            Found::Value(value) => arrays.push(value.as_ref()),
            _ => return Err(SqlError::internal("a subquery without a value")),
        }
    }
    if arrays.is_empty() {
        return Ok(new_null_array(ty, 0));
    }
    arrow_select::concat::concat(&arrays).map_err(arrow_error)
}
