//! Each node kind over relations in memory, by trees built by hand: what comes out, and what was asked of the leaves.

use super::*;
use arrow_array::{ArrayRef, Int64Array};
use futures::TryStreamExt;
use kalamdb_commons::{ColumnId, Oid, SqlError, SqlState, SqlType};
use kalamdb_sql::bind::bound::*;
use kalamdb_sql::function::*;
use kalamdb_sql::types;
use parking_lot::Mutex;
use std::cmp::Ordering;
use std::ops::Bound;

// ---- the scene ----

#[derive(Debug)]
struct Table {
    name: &'static str,
    types: Vec<SqlType>,
    rows: Vec<Vec<Datum>>,
    key: Vec<ColumnId>,
    pretended_rows: Option<u64>,
    asked: Mutex<Vec<ScanRequest>>,
}

fn order(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Text(a), Datum::Text(b)) => a.cmp(b),
        _ => a.as_i64().cmp(&b.as_i64()),
    }
}

impl Table {
    fn admits(&self, row: &[Datum], span: &KeySpan) -> bool {
        let value = |at: usize| &row[(self.key[at].0 - 1) as usize];
        if !span.prefix.iter().enumerate().all(|(at, want)| order(value(at), want) == Ordering::Equal) {
            return false;
        }
        if span.prefix.len() == self.key.len() {
            return true;
        }
        let next = value(span.prefix.len());
        let low = match &span.low {
            Bound::Unbounded => true,
            Bound::Included(low) => order(next, low) != Ordering::Less,
            Bound::Excluded(low) => order(next, low) == Ordering::Greater,
        };
        let high = match &span.high {
            Bound::Unbounded => true,
            Bound::Included(high) => order(next, high) != Ordering::Greater,
            Bound::Excluded(high) => order(next, high) == Ordering::Less,
        };
        low && high
    }
}

impl Source for Table {
    fn name(&self) -> String {
        self.name.to_owned()
    }
    fn key(&self) -> Option<KeyShape> {
        (!self.key.is_empty()).then(|| KeyShape { name: format!("{}_pkey", self.name), columns: self.key.clone() })
    }
    fn estimated_rows(&self) -> Option<u64> {
        self.pretended_rows.or(Some(self.rows.len() as u64))
    }
    fn scan(&self, request: ScanRequest) -> Result<Vec<Part>> {
        self.asked.lock().push(request.clone());
        let rows: Vec<&Vec<Datum>> = self
            .rows
            .iter()
            .filter(|row| match &request.keys {
                Keys::All => true,
                Keys::Spans(spans) => spans.iter().any(|span| self.admits(row, span)),
            })
            .collect();
        let mut arrays = Vec::new();
        let mut fields = Vec::new();
        for id in &request.columns {
            let at = (id.0 - 1) as usize;
            let ty = self.types[at];
            let items: Vec<Datum> = rows.iter().map(|row| row[at].clone()).collect();
            arrays.push(types::array_of(ty.into(), &items)?);
            fields.push(arrow_schema::Field::new("", ty.arrow(), true));
        }
        let batch = provider::batch(Arc::new(arrow_schema::Schema::new(fields)), arrays, rows.len())?;
        // Half as blocking reads, half as a stream: both ways are the plan's.
        let half = batch.num_rows() / 2;
        let (first, second) = (batch.slice(0, half), batch.slice(half, batch.num_rows() - half));
        let open = move || Ok(Box::new(std::iter::once(Ok(first))) as provider::Blocking);
        Ok(vec![Part::Blocking(Box::new(open)), Part::Stream(Box::pin(futures::stream::iter([Ok(second)])))])
    }
}

fn table(name: &'static str, types: &[SqlType], key: &[i16], rows: Vec<Vec<Datum>>) -> Arc<Table> {
    let key = key.iter().map(|id| ColumnId(*id)).collect();
    Arc::new(Table { name, types: types.to_vec(), rows, key, pretended_rows: None, asked: Mutex::new(Vec::new()) })
}

#[derive(Debug)]
struct Scene;

impl SessionValues for Scene {
    fn value(&self, value: SessionValue) -> Datum {
        match value {
            SessionValue::CurrentUser => Datum::text("anna"),
            _ => Datum::Null,
        }
    }
}

// ---- functions of the scene's own: the plan's tests must not lean on the function table ----

const INT: SqlType = SqlType::Int8;
const TEXT: SqlType = SqlType::Text;

const fn function(oid: Oid, name: &'static str, args: &'static [SqlType], returns: SqlType, kind: Kind) -> Function {
    Function {
        oid,
        name,
        args,
        defaults: 0,
        variadic: false,
        returns,
        columns: &[],
        strict: true,
        constants_once: false,
        volatility: Volatility::Immutable,
        kind,
    }
}

fn ints(array: &ArrayRef) -> &Int64Array {
    array.as_any().downcast_ref::<Int64Array>().expect("bigints")
}

fn add(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (ints(&args[0]), ints(&args[1]));
    Ok(Arc::new((0..call.rows).map(|row| Some(a.value(row) + b.value(row))).collect::<Int64Array>()))
}

fn divide(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (ints(&args[0]), ints(&args[1]));
    let one = |row: usize| match b.value(row) {
        0 => Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
        by => Ok(Some(a.value(row) / by)),
    };
    Ok(Arc::new((0..call.rows).map(one).collect::<Result<Int64Array>>()?))
}

fn series(args: Vec<Datum>, _: &Call<'_>) -> Result<SetRows> {
    let bound = |at: usize| args[at].as_i64().unwrap_or(0);
    Ok(Box::new((bound(0)..=bound(1)).map(|value| Ok(vec![Datum::Int8(value)]))))
}

static ADD: Function = function(90_001, "int8pl", &[INT, INT], INT, Kind::Scalar(add));
static DIVIDE: Function = function(90_002, "int8div", &[INT, INT], INT, Kind::Scalar(divide));
static SERIES: Function = function(90_003, "generate_series", &[INT, INT], INT, Kind::Set(series));
static COUNT: Function =
    function(90_004, "count", &[], INT, Kind::Aggregate(|_| datafusion::functions_aggregate::count::count_udaf()));
static SUM: Function =
    function(90_005, "sum", &[INT], INT, Kind::Aggregate(|_| datafusion::functions_aggregate::sum::sum_udaf()));
static MAX: Function =
    function(90_006, "max", &[INT], INT, Kind::Aggregate(|_| datafusion::functions_aggregate::min_max::max_udaf()));
static ROW_NUMBER: Function = function(
    90_007,
    "row_number",
    &[],
    INT,
    Kind::Window(|_| datafusion::functions_window::row_number::row_number_udwf()),
);

// ---- trees ----

fn col(id: u32, ty: SqlType) -> Col {
    Col { id: ColId(id), ty: ty.into(), nullable: true }
}
fn int(id: u32) -> Scalar {
    Scalar::Column(col(id, INT))
}
fn lit(value: i64) -> Scalar {
    Scalar::Const(Datum::Int8(value), INT.into())
}
fn null() -> Scalar {
    Scalar::Const(Datum::Null, INT.into())
}
fn compare(op: CompareOp, a: Scalar, b: Scalar) -> Scalar {
    Scalar::Compare(op, Box::new(a), Box::new(b))
}
fn eq(a: Scalar, b: Scalar) -> Scalar {
    compare(CompareOp::Eq, a, b)
}
fn gt(a: Scalar, b: Scalar) -> Scalar {
    compare(CompareOp::Gt, a, b)
}
fn call(function: &'static Function, args: Vec<Scalar>) -> Scalar {
    Scalar::Call { function, args, ty: INT.into() }
}
/// Columns 1, 2 … of a relation as the plan's columns `first`, `first + 1` …
fn scan(need: usize, first: u32, types: &[SqlType]) -> Rel {
    let columns = types.iter().enumerate().map(|(at, ty)| (ColumnId(at as i16 + 1), col(first + at as u32, *ty)));
    Rel::Scan { need: NeedId(need), columns: columns.collect() }
}
fn filter(input: Rel, predicate: Scalar) -> Rel {
    Rel::Filter { input: Box::new(input), predicate }
}
fn join(kind: JoinKind, left: Rel, right: Rel, on: Scalar, lateral: bool) -> Rel {
    Rel::Join { kind, left: Box::new(left), right: Box::new(right), on, lateral }
}
fn extend(input: Rel, id: u32, ty: SqlType, scalar: Scalar) -> Rel {
    Rel::Extend { input: Box::new(input), columns: vec![(col(id, ty), scalar)] }
}
fn sort(input: Rel, key: Scalar, descending: bool) -> Rel {
    let nulls_first = descending;
    Rel::Sort { input: Box::new(input), keys: vec![SortKey { expr: key, descending, nulls_first }] }
}
fn limit(input: Rel, offset: Option<Scalar>, count: Option<Scalar>) -> Rel {
    Rel::Limit { input: Box::new(input), offset, count }
}
fn aggregate(function: &'static Function, args: Vec<Scalar>) -> AggregateCall {
    AggregateCall { function, args, distinct: false, order_by: Vec::new(), filter: None, ty: INT.into() }
}
fn grouped(input: Rel, keys: Vec<(Col, Scalar)>, aggregates: Vec<(Col, AggregateCall)>) -> Rel {
    Rel::Aggregate { input: Box::new(input), keys, sets: None, aggregates }
}
fn subquery(kind: SubqueryKind, rel: Rel, columns: Vec<Col>, ty: SqlType) -> Scalar {
    Scalar::Subquery(Box::new(Subquery { kind, rel, columns, ty: ty.into() }))
}
fn exists(rel: Rel) -> Scalar {
    subquery(SubqueryKind::Exists, rel, Vec::new(), SqlType::Bool)
}
/// `operand IN (SELECT column …)`
fn within(operand: Scalar, rel: Rel, column: Col) -> Scalar {
    let test = Box::new(eq(operand, Scalar::Column(column)));
    subquery(SubqueryKind::Quantified { test, all: false }, rel, vec![column], SqlType::Bool)
}
fn not(operand: Scalar) -> Scalar {
    Scalar::Not(Box::new(operand))
}
fn set(input: Rel, calls: Vec<(u32, Vec<Scalar>)>, ordinality: Option<u32>) -> Rel {
    let one = |(id, args)| (vec![col(id, INT)], SetCall { function: &SERIES, args });
    let ordinality = ordinality.map(|id| col(id, INT));
    Rel::ProjectSet { input: Box::new(input), calls: calls.into_iter().map(one).collect(), ordinality }
}
fn values(first: u32, rows: Vec<Vec<Scalar>>) -> Rel {
    let width = rows.first().map_or(0, Vec::len) as u32;
    Rel::Values { columns: (first..first + width).map(|id| col(id, INT)).collect(), rows }
}

// ---- the runner ----

fn execution(leaves: &[Arc<Table>]) -> Execution {
    static ENGINE: std::sync::LazyLock<Engine> = std::sync::LazyLock::new(Engine::for_tests);
    Execution {
        engine: ENGINE.clone(),
        leaves: leaves.iter().map(|table| table.clone() as Arc<dyn Source>).collect(),
        parameters: vec![(Datum::Int8(2), INT.into())],
        session: Arc::new(Scene),
        around: Arc::new(Nowhere),
        cancel: CancellationToken::new(),
        made: Vec::new(),
        locker: None,
    }
}

fn shown(datum: &Datum) -> String {
    match datum {
        Datum::Null => "-".to_owned(),
        Datum::Text(text) => text.to_string(),
        Datum::Bool(value) => value.to_string(),
        Datum::Array(array) => format!("{{{}}}", array.items.iter().map(shown).collect::<Vec<_>>().join(",")),
        other => other.as_i64().map_or_else(|| format!("{other:?}"), |value| value.to_string()),
    }
}

async fn try_rows(rel: &Rel, outputs: &[(u32, SqlType)], execution: Execution) -> Result<Vec<String>> {
    let ids: Vec<ColId> = outputs.iter().map(|(id, _)| ColId(*id)).collect();
    let batches: Vec<RecordBatch> = run(rel, &ids, execution).await?.try_collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        assert_eq!(batch.num_columns(), outputs.len(), "exactly the outputs");
        for row in 0..batch.num_rows() {
            let cells = outputs.iter().zip(batch.columns());
            let cells = cells.map(|((_, ty), array)| shown(&types::datum_at(array.as_ref(), row, (*ty).into())));
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(rows)
}

/// The rows in the order they come.
async fn rows(rel: &Rel, outputs: &[u32], leaves: &[Arc<Table>]) -> Vec<String> {
    let outputs: Vec<(u32, SqlType)> = outputs.iter().map(|id| (*id, INT)).collect();
    try_rows(rel, &outputs, execution(leaves)).await.expect("rows")
}

/// The rows, sorted: no order was asked for.
async fn any_order(rel: &Rel, outputs: &[u32], leaves: &[Arc<Table>]) -> Vec<String> {
    let mut rows = rows(rel, outputs, leaves).await;
    rows.sort();
    rows
}

async fn failure(rel: &Rel, outputs: &[u32], leaves: &[Arc<Table>]) -> SqlState {
    let outputs: Vec<(u32, SqlType)> = outputs.iter().map(|id| (*id, INT)).collect();
    try_rows(rel, &outputs, execution(leaves)).await.expect_err("an error").state()
}

fn d(value: i64) -> Datum {
    Datum::Int8(value)
}

/// (id, owner, amount): 1..=5; owner NULL for 5.
fn orders() -> Arc<Table> {
    let row = |id, owner, amount| vec![d(id), owner, d(amount)];
    table(
        "orders",
        &[INT, INT, INT],
        &[1],
        vec![row(1, d(1), 10), row(2, d(1), 20), row(3, d(2), 30), row(4, d(9), 40), row(5, Datum::Null, 50)],
    )
}

/// (id): 1, 2, 3
fn people() -> Arc<Table> {
    table("people", &[INT], &[1], vec![vec![d(1)], vec![d(2)], vec![d(3)]])
}

const ORDERS: &[SqlType] = &[INT, INT, INT];

// ---- leaves and push-down ----

#[tokio::test]
async fn a_key_is_asked_of_the_leaf() {
    let t = orders();
    let found = rows(&filter(scan(0, 1, ORDERS), eq(int(1), lit(3))), &[1, 3], std::slice::from_ref(&t)).await;
    assert_eq!(found, ["3 30"]);
    let asked = t.asked.lock();
    let span = KeySpan { prefix: vec![d(3)], low: Bound::Unbounded, high: Bound::Unbounded };
    assert_eq!(asked[0].keys, Keys::Spans(vec![span]));
    assert_eq!(asked[0].columns, [ColumnId(1), ColumnId(3)], "the owner is not read");
}

#[tokio::test]
async fn ranges_lists_and_what_is_no_key() {
    let t = orders();
    let range = Scalar::And(vec![gt(int(1), lit(1)), compare(CompareOp::Le, int(1), lit(3))]);
    assert_eq!(any_order(&filter(scan(0, 1, ORDERS), range), &[1], std::slice::from_ref(&t)).await, ["2", "3"]);
    let span = KeySpan { prefix: vec![], low: Bound::Excluded(d(1)), high: Bound::Included(d(3)) };
    assert_eq!(t.asked.lock().pop().map(|asked| asked.keys), Some(Keys::Spans(vec![span])));

    let list = Scalar::InList(Box::new(int(1)), vec![lit(5), null(), lit(1), lit(5)]);
    assert_eq!(any_order(&filter(scan(0, 1, ORDERS), list), &[1], std::slice::from_ref(&t)).await, ["1", "5"]);
    let Some(Keys::Spans(spans)) = t.asked.lock().pop().map(|asked| asked.keys) else { panic!("spans") };
    assert_eq!(spans.iter().map(|span| span.prefix[0].clone()).collect::<Vec<_>>(), [d(1), d(5)]);

    // Not a key: tested row by row.
    assert_eq!(
        any_order(&filter(scan(0, 1, ORDERS), eq(int(3), lit(40))), &[1], std::slice::from_ref(&t)).await,
        ["4"]
    );
    assert_eq!(t.asked.lock().pop().map(|asked| asked.keys), Some(Keys::All));
    // NULL equals nothing, and nothing is read for it.
    assert!(rows(&filter(scan(0, 1, ORDERS), eq(int(1), null())), &[1], std::slice::from_ref(&t)).await.is_empty());
}

#[tokio::test]
async fn a_composite_key_is_used_from_its_front() {
    let all = (1..=3).flat_map(|a| (1..=3).map(move |b| vec![d(a), d(b)])).collect();
    let t = table("pairs", &[INT, INT], &[1, 2], all);
    let both = Scalar::And(vec![eq(int(1), lit(2)), gt(int(2), lit(1))]);
    let found = any_order(&filter(scan(0, 1, &[INT, INT]), both), &[1, 2], std::slice::from_ref(&t)).await;
    assert_eq!(found, ["2 2", "2 3"]);
    let span = KeySpan { prefix: vec![d(2)], low: Bound::Excluded(d(1)), high: Bound::Unbounded };
    assert_eq!(t.asked.lock().pop().map(|asked| asked.keys), Some(Keys::Spans(vec![span])));
    let second = filter(scan(0, 1, &[INT, INT]), eq(int(2), lit(3)));
    assert_eq!(any_order(&second, &[1], std::slice::from_ref(&t)).await, ["1", "2", "3"]);
    assert_eq!(t.asked.lock().pop().map(|asked| asked.keys), Some(Keys::All));
}

#[tokio::test]
async fn a_limit_reaches_the_leaf() {
    let t = orders();
    assert_eq!(rows(&limit(scan(0, 1, ORDERS), None, Some(lit(2))), &[1], std::slice::from_ref(&t)).await.len(), 2);
    assert_eq!(t.asked.lock()[0].limit, Some(2));
}

#[tokio::test]
async fn a_join_looks_its_keys_up() {
    // The small side tells the large one's scan which keys it wants.
    let big = (1..=2000).map(|id| vec![d(id)]).collect();
    let big = table("big", &[INT], &[1], big);
    let on = eq(int(2), int(10));
    let tree = join(JoinKind::Inner, scan(0, 1, ORDERS), scan(1, 10, &[INT]), on, false);
    assert_eq!(any_order(&tree, &[1, 10], &[orders(), big.clone()]).await, ["1 1", "2 1", "3 2", "4 9"]);
    let asked = big.asked.lock().pop().map(|asked| asked.keys);
    let Some(Keys::Spans(spans)) = asked else { panic!("all rows were read: {asked:?}") };
    assert_eq!(spans.len(), 3);
}

// ---- values, projection, parameters ----

#[tokio::test]
async fn values_known_and_computed() {
    assert_eq!(rows(&values(1, vec![vec![lit(1), null()], vec![lit(2), lit(3)]]), &[1, 2], &[]).await, ["1 -", "2 3"]);
    let computed = values(1, vec![vec![call(&ADD, vec![lit(1), lit(1)])], vec![Scalar::Param(1, INT.into())]]);
    assert_eq!(any_order(&computed, &[1], &[]).await, ["2", "2"]);
}

#[tokio::test]
async fn outputs_may_repeat_and_one_row_has_none() {
    let tree = extend(Rel::OneRow, 1, INT, lit(7));
    assert_eq!(rows(&tree, &[1, 1], &[]).await, ["7 7"]);
    assert_eq!(rows(&Rel::OneRow, &[], &[]).await, [""]);
    let who = extend(Rel::OneRow, 1, TEXT, Scalar::Session(SessionValue::CurrentUser, TEXT.into()));
    assert_eq!(try_rows(&who, &[(1, TEXT)], execution(&[])).await.expect("rows"), ["anna"]);
}

#[tokio::test]
async fn no_arithmetic_of_the_engine() {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let statement = Statement::new(execution(&[orders()]));
    let tree = filter(
        extend(scan(0, 1, ORDERS), 9, INT, call(&ADD, vec![int(1), int(3)])),
        gt(call(&DIVIDE, vec![int(3), int(1)]), lit(5)),
    );
    let plan = Lowering { statement: &statement }.query(&tree, &[ColId(9)]).expect("a plan");
    let plan = statement.optimized(plan).expect("an optimised plan");
    plan.apply(|node| {
        for expr in node.expressions() {
            expr.apply(|inner| {
                if let datafusion::logical_expr::Expr::BinaryExpr(binary) = inner {
                    assert!(!binary.op.is_numerical_operators(), "{binary}");
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("a walk");
}

#[tokio::test]
async fn a_condition_guards_those_behind_it() {
    // x <> 0 AND 10 / x > 1
    let t = table("t", &[INT], &[], vec![vec![d(0)], vec![d(2)], vec![d(10)]]);
    let guarded =
        Scalar::And(vec![compare(CompareOp::Ne, int(1), lit(0)), gt(call(&DIVIDE, vec![lit(10), int(1)]), lit(1))]);
    assert_eq!(rows(&filter(scan(0, 1, &[INT]), guarded), &[1], std::slice::from_ref(&t)).await, ["2"]);
    let bare = gt(call(&DIVIDE, vec![lit(10), int(1)]), lit(1));
    assert_eq!(failure(&filter(scan(0, 1, &[INT]), bare), &[1], &[t]).await, SqlState::DIVISION_BY_ZERO);
}

// ---- joins ----

#[tokio::test]
async fn joins_of_all_kinds() {
    let leaves = [people(), orders()];
    let tree = |kind| join(kind, scan(0, 1, &[INT]), scan(1, 10, ORDERS), eq(int(1), int(11)), false);
    let of = async |kind| any_order(&tree(kind), &[1, 10], &leaves).await;
    assert_eq!(of(JoinKind::Inner).await, ["1 1", "1 2", "2 3"]);
    assert_eq!(of(JoinKind::Left).await, ["1 1", "1 2", "2 3", "3 -"]);
    assert_eq!(of(JoinKind::Right).await, ["- 4", "- 5", "1 1", "1 2", "2 3"]);
    assert_eq!(of(JoinKind::Full).await, ["- 4", "- 5", "1 1", "1 2", "2 3", "3 -"]);
    let cross = join(JoinKind::Inner, scan(0, 1, &[INT]), scan(0, 2, &[INT]), Scalar::truth(), false);
    assert_eq!(rows(&cross, &[1, 2], &leaves).await.len(), 9);
}

#[tokio::test]
async fn lateral_joins() {
    let leaves = [people(), orders()];
    // A function of the left side's column.
    let series = set(Rel::OneRow, vec![(5, vec![lit(1), int(1)])], None);
    let tree = join(JoinKind::Inner, scan(0, 1, &[INT]), series, Scalar::truth(), true);
    assert_eq!(any_order(&tree, &[1, 5], &leaves).await, ["1 1", "2 1", "2 2", "3 1", "3 2", "3 3"]);
    // The largest order of each: a LIMIT, so it must be run for each person.
    let newest = || limit(sort(filter(scan(1, 10, ORDERS), eq(int(11), int(1))), int(12), true), None, Some(lit(1)));
    let tree = join(JoinKind::Inner, scan(0, 1, &[INT]), newest(), Scalar::truth(), true);
    assert_eq!(any_order(&tree, &[1, 10], &leaves).await, ["1 2", "2 3"]);
    let tree = join(JoinKind::Left, scan(0, 1, &[INT]), newest(), Scalar::truth(), true);
    assert_eq!(any_order(&tree, &[1, 10], &leaves).await, ["1 2", "2 3", "3 -"]);
    // The condition belongs to the join: a row that fails it is padded, not lost.
    let tree = join(JoinKind::Left, scan(0, 1, &[INT]), newest(), gt(int(12), lit(25)), true);
    assert_eq!(any_order(&tree, &[1, 10], &leaves).await, ["1 -", "2 3", "3 -"]);
}

// ---- aggregates and windows ----

#[tokio::test]
async fn groups() {
    let leaves = [orders()];
    let calls = vec![
        (col(21, INT), aggregate(&COUNT, vec![])),
        (col(22, INT), aggregate(&SUM, vec![int(3)])),
        (col(23, INT), AggregateCall { filter: Some(gt(int(3), lit(15))), ..aggregate(&COUNT, vec![]) }),
    ];
    let tree = grouped(scan(0, 1, ORDERS), vec![(col(20, INT), int(2))], calls);
    assert_eq!(any_order(&tree, &[20, 21, 22, 23], &leaves).await, ["- 1 50 1", "1 2 30 1", "2 1 30 1", "9 1 40 1"]);
    let nothing = filter(scan(0, 1, ORDERS), gt(int(1), lit(99)));
    let calls = vec![(col(21, INT), aggregate(&COUNT, vec![])), (col(22, INT), aggregate(&SUM, vec![int(3)]))];
    assert_eq!(rows(&grouped(nothing, vec![], calls), &[21, 22], &leaves).await, ["0 -"]);
    let distinct = AggregateCall { distinct: true, ..aggregate(&COUNT, vec![int(2)]) };
    assert_eq!(rows(&grouped(scan(0, 1, ORDERS), vec![], vec![(col(21, INT), distinct)]), &[21], &leaves).await, ["3"]);
}

#[tokio::test]
async fn windows() {
    let key = |id, descending| SortKey { expr: int(id), descending, nulls_first: descending };
    let frame = |units, start, end| Frame { units, start, end, exclude: Exclusion::NoOthers, range_by: None };
    let window = |function, args, partition_by, order_by, frame| WindowCall {
        function,
        args,
        filter: None,
        partition_by,
        order_by,
        frame,
        ty: INT.into(),
    };
    let usual = || frame(FrameUnits::Range, FrameBound::UnboundedPreceding, FrameBound::CurrentRow);
    let two = frame(FrameUnits::Rows, FrameBound::Preceding(Box::new(lit(1))), FrameBound::CurrentRow);
    let calls = vec![
        (col(20, INT), window(&ROW_NUMBER, vec![], vec![int(2)], vec![key(1, false)], usual())),
        (col(21, INT), window(&SUM, vec![int(3)], vec![], vec![key(1, false)], two)),
        // Without an order all rows are peers.
        (col(22, INT), window(&SUM, vec![int(3)], vec![], vec![], usual())),
    ];
    let tree = sort(Rel::Window { input: Box::new(scan(0, 1, ORDERS)), calls }, int(1), false);
    let found = rows(&tree, &[1, 20, 21, 22], &[orders()]).await;
    assert_eq!(found, ["1 1 10 150", "2 2 30 150", "3 1 50 150", "4 1 70 150", "5 1 90 150"]);
}

// ---- sets, order, limits ----

#[tokio::test]
async fn set_returning_functions_run_in_lockstep() {
    let tree = set(scan(0, 1, &[INT]), vec![(5, vec![lit(1), int(1)]), (6, vec![lit(1), lit(2)])], Some(7));
    let found = rows(&sort(tree, int(1), false), &[1, 5, 6, 7], &[people()]).await;
    assert_eq!(found, ["1 1 1 1", "1 - 2 2", "2 1 1 1", "2 2 2 2", "3 1 1 1", "3 2 2 2", "3 3 - 3"]);
    // No rows, and a NULL for a strict function: the input row disappears.
    let empty = set(values(1, vec![vec![lit(0)], vec![null()]]), vec![(5, vec![lit(1), int(1)])], None);
    assert!(rows(&empty, &[1, 5], &[]).await.is_empty());
}

#[tokio::test]
async fn a_huge_series_ends_when_nobody_wants_more() {
    let endless = set(Rel::OneRow, vec![(1, vec![lit(1), lit(i64::MAX - 1)])], None);
    assert_eq!(rows(&limit(endless, Some(lit(9000)), Some(lit(2))), &[1], &[]).await, ["9001", "9002"]);
    let many = set(Rel::OneRow, vec![(1, vec![lit(1), lit(20_000)])], None);
    let counted = grouped(many, vec![], vec![(col(2, INT), aggregate(&COUNT, vec![]))]);
    assert_eq!(rows(&counted, &[2], &[]).await, ["20000"]);
}

#[tokio::test]
async fn distinct_and_distinct_on() {
    let leaves = [orders()];
    let owners = Rel::Narrow { input: Box::new(scan(0, 1, ORDERS)), columns: vec![col(2, INT)] };
    let distinct = Rel::Distinct { input: Box::new(owners), on: None };
    assert_eq!(any_order(&distinct, &[2], &leaves).await, ["-", "1", "2", "9"]);
    let sorted = Rel::Sort {
        input: Box::new(scan(0, 1, ORDERS)),
        keys: vec![
            SortKey { expr: int(2), descending: false, nulls_first: false },
            SortKey { expr: int(3), descending: true, nulls_first: true },
        ],
    };
    let on = Rel::Distinct { input: Box::new(sorted), on: Some(vec![int(2)]) };
    assert_eq!(rows(&on, &[2, 1], &leaves).await, ["1 2", "2 3", "9 4", "- 5"]);
}

#[tokio::test]
async fn order_and_limit() {
    let leaves = [orders()];
    let by_owner = |descending| sort(scan(0, 1, ORDERS), int(2), descending);
    assert_eq!(rows(&by_owner(true), &[2], &leaves).await, ["-", "9", "2", "1", "1"]);
    assert_eq!(rows(&by_owner(false), &[2], &leaves).await, ["1", "1", "2", "9", "-"]);
    let by_id = || sort(scan(0, 1, ORDERS), int(1), false);
    let two = limit(by_id(), Some(Scalar::Param(1, INT.into())), Some(call(&ADD, vec![lit(1), lit(1)])));
    assert_eq!(rows(&two, &[1], &leaves).await, ["3", "4"]);
    assert_eq!(rows(&limit(by_id(), Some(lit(4)), Some(null())), &[1], &leaves).await, ["5"]);
    assert!(rows(&limit(by_id(), None, Some(lit(0))), &[1], &leaves).await.is_empty());
    let negative = limit(by_id(), None, Some(lit(-1)));
    assert_eq!(failure(&negative, &[1], &leaves).await, SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE);
}

#[tokio::test]
async fn set_operations() {
    let list = |first, items: &[Option<i64>]| {
        let rows = items.iter().map(|item| vec![item.map_or_else(null, lit)]).collect();
        (Box::new(values(first, rows)), vec![ColId(first)])
    };
    let left = [Some(1), Some(1), Some(1), Some(2), None, None];
    let right = [Some(1), Some(1), Some(3), None];
    let of = async |op, all| {
        let (left, right) = (list(1, &left), list(2, &right));
        any_order(&Rel::SetOperation { op, all, left, right, columns: vec![col(9, INT)] }, &[9], &[]).await
    };
    assert_eq!(of(SetOp::Union, true).await.len(), 10);
    assert_eq!(of(SetOp::Union, false).await, ["-", "1", "2", "3"]);
    assert_eq!(of(SetOp::Intersect, false).await, ["-", "1"]);
    assert_eq!(of(SetOp::Intersect, true).await, ["-", "1", "1"]);
    assert_eq!(of(SetOp::Except, false).await, ["2"]);
    assert_eq!(of(SetOp::Except, true).await, ["-", "1", "2"]);
}

#[tokio::test]
async fn recursion() {
    let step = |to| {
        let work = Rel::WorkTable { work: 1, columns: vec![col(2, INT)] };
        extend(filter(work, compare(CompareOp::Lt, int(2), lit(to))), 3, INT, call(&ADD, vec![int(2), lit(1)]))
    };
    let tree = |all, step| Rel::Recursive {
        work: 1,
        seed: (Box::new(values(1, vec![vec![lit(1)]])), vec![ColId(1)]),
        step: (Box::new(step), vec![ColId(3)]),
        all,
        columns: vec![col(9, INT)],
    };
    assert_eq!(rows(&tree(true, step(4)), &[9], &[]).await, ["1", "2", "3", "4"]);
    // A circle: UNION makes each row once and ends.
    let circle = || {
        let work = Rel::WorkTable { work: 1, columns: vec![col(2, INT)] };
        let back = Scalar::Case {
            branches: vec![(eq(int(2), lit(3)), lit(1))],
            otherwise: Some(Box::new(call(&ADD, vec![int(2), lit(1)]))),
            ty: INT.into(),
        };
        extend(work, 3, INT, back)
    };
    assert_eq!(any_order(&tree(false, circle()), &[9], &[]).await, ["1", "2", "3"]);
    // UNION ALL goes round for ever, but only as far as somebody reads.
    assert_eq!(rows(&limit(tree(true, circle()), None, Some(lit(5))), &[9], &[]).await, ["1", "2", "3", "1", "2"]);
    // The step joins: the relation is read anew in each round.
    let work = Rel::WorkTable { work: 1, columns: vec![col(2, INT)] };
    let joined = join(JoinKind::Inner, work, scan(0, 10, &[INT]), gt(int(10), int(2)), false);
    let tree = tree(false, extend(joined, 3, INT, int(10)));
    assert_eq!(any_order(&tree, &[9], &[people()]).await, ["1", "2", "3"]);
}

// ---- subqueries ----

#[tokio::test]
async fn exists_and_in_as_joins() {
    let leaves = [people(), orders()];
    let matching = || filter(scan(1, 10, ORDERS), eq(int(11), int(1)));
    let tree = |predicate| filter(scan(0, 1, &[INT]), predicate);
    assert_eq!(any_order(&tree(exists(matching())), &[1], &leaves).await, ["1", "2"]);
    assert_eq!(any_order(&tree(not(exists(matching()))), &[1], &leaves).await, ["3"]);
    let owners = || scan(1, 10, ORDERS);
    assert_eq!(any_order(&tree(within(int(1), owners(), col(11, INT))), &[1], &leaves).await, ["1", "2"]);
    // Correlated, with more than an equality.
    let richer = || filter(scan(1, 10, ORDERS), Scalar::And(vec![eq(int(11), int(1)), gt(int(12), lit(25))]));
    assert_eq!(any_order(&tree(exists(richer())), &[1], &leaves).await, ["2"]);
}

#[tokio::test]
async fn not_in_knows_null() {
    let leaves = [people(), orders()];
    let tree = |rel, column| filter(scan(0, 1, &[INT]), not(within(int(1), rel, col(column, INT))));
    // One owner is NULL: nobody is certainly not among the owners.
    assert!(rows(&tree(scan(1, 10, ORDERS), 11), &[1], &leaves).await.is_empty());
    let known = filter(scan(1, 10, ORDERS), not(Scalar::IsNull(Box::new(int(11)))));
    assert_eq!(any_order(&tree(known, 11), &[1], &leaves).await, ["3"]);
    // Not in nothing is true, for NULL too.
    let nothing = || filter(scan(1, 10, ORDERS), gt(int(10), lit(99)));
    let tree = filter(values(1, vec![vec![lit(1)], vec![null()]]), not(within(int(1), nothing(), col(11, INT))));
    assert_eq!(any_order(&tree, &[1], &leaves).await, ["-", "1"]);
}

#[tokio::test]
async fn quantified_in_a_select_list_is_three_valued() {
    let leaves = [people(), orders()];
    let one = |op, all, operand: Scalar| {
        let test = Box::new(compare(op, operand, int(11)));
        let kind = SubqueryKind::Quantified { test, all };
        subquery(kind, scan(1, 10, ORDERS), vec![col(11, INT)], SqlType::Bool)
    };
    let of = async |op, all| {
        let tree = extend(scan(0, 1, &[INT]), 5, SqlType::Bool, one(op, all, int(1)));
        let mut rows = try_rows(&tree, &[(1, INT), (5, SqlType::Bool)], execution(&leaves)).await.expect("rows");
        rows.sort();
        rows
    };
    // Owners: 1, 1, 2, 9, NULL.
    assert_eq!(of(CompareOp::Eq, false).await, ["1 true", "2 true", "3 -"]);
    assert_eq!(of(CompareOp::Gt, false).await, ["1 -", "2 true", "3 true"]);
    assert_eq!(of(CompareOp::Lt, true).await, ["1 false", "2 false", "3 false"]);
    assert_eq!(of(CompareOp::Ne, true).await, ["1 false", "2 false", "3 -"]);
}

#[tokio::test]
async fn scalar_subqueries() {
    let leaves = [people(), orders()];
    let mine = || filter(scan(1, 10, ORDERS), eq(int(11), int(1)));
    let scalar = |rel, id| subquery(SubqueryKind::Scalar, rel, vec![col(id, INT)], INT);
    // Aggregates of matching rows: groups joined; a count of none is 0, a sum is NULL.
    let total = |function, args| grouped(mine(), vec![], vec![(col(20, INT), aggregate(function, args))]);
    let counted = extend(scan(0, 1, &[INT]), 5, INT, scalar(total(&COUNT, vec![]), 20));
    assert_eq!(any_order(&counted, &[1, 5], &leaves).await, ["1 2", "2 1", "3 0"]);
    let summed = extend(scan(0, 1, &[INT]), 5, INT, scalar(total(&SUM, vec![int(12)]), 20));
    assert_eq!(any_order(&summed, &[1, 5], &leaves).await, ["1 30", "2 30", "3 -"]);
    // Matched by more than equality: run for each.
    let later = filter(scan(1, 10, ORDERS), gt(int(11), int(1)));
    let later = grouped(later, vec![], vec![(col(20, INT), aggregate(&MAX, vec![int(12)]))]);
    let tree = extend(scan(0, 1, &[INT]), 5, INT, scalar(later, 20));
    assert_eq!(any_order(&tree, &[1, 5], &leaves).await, ["1 40", "2 40", "3 40"]);
    // Not aggregated: none is NULL, two are an error.
    let tree = filter(extend(scan(0, 1, &[INT]), 5, INT, scalar(mine(), 12)), gt(int(1), lit(1)));
    assert_eq!(any_order(&tree, &[1, 5], &leaves).await, ["2 30", "3 -"]);
    let tree = extend(scan(0, 1, &[INT]), 5, INT, scalar(mine(), 12));
    assert_eq!(failure(&tree, &[1, 5], &leaves).await, SqlState::CARDINALITY_VIOLATION);
}

#[tokio::test]
async fn an_uncorrelated_subquery_is_a_constant_for_the_leaf() {
    let leaves = [people(), orders()];
    let top = grouped(scan(0, 20, &[INT]), vec![], vec![(col(21, INT), aggregate(&MAX, vec![int(20)]))]);
    let top = subquery(SubqueryKind::Scalar, top, vec![col(21, INT)], INT);
    let tree = filter(scan(1, 1, ORDERS), eq(int(1), top));
    assert_eq!(rows(&tree, &[1, 3], &leaves).await, ["3 30"]);
    let span = KeySpan { prefix: vec![d(3)], low: Bound::Unbounded, high: Bound::Unbounded };
    assert_eq!(leaves[1].asked.lock()[0].keys, Keys::Spans(vec![span]));
    let two = subquery(SubqueryKind::Scalar, scan(0, 30, &[INT]), vec![col(30, INT)], INT);
    let tree = extend(Rel::OneRow, 1, INT, two);
    assert_eq!(failure(&tree, &[1], &leaves).await, SqlState::CARDINALITY_VIOLATION);
    let none = exists(filter(scan(0, 30, &[INT]), gt(int(30), lit(99))));
    assert!(rows(&filter(scan(0, 1, &[INT]), none), &[1], &leaves).await.is_empty());
}

#[tokio::test]
async fn a_correlated_look_up_asks_for_the_key() {
    let leaves = [people(), orders()];
    let mine = filter(scan(1, 10, ORDERS), eq(int(10), int(1)));
    let mine = subquery(SubqueryKind::Scalar, mine, vec![col(12, INT)], INT);
    let tree = extend(scan(0, 1, &[INT]), 5, INT, mine);
    assert_eq!(any_order(&tree, &[1, 5], &leaves).await, ["1 10", "2 20", "3 30"]);
    assert!(leaves[1].asked.lock().iter().all(|asked| matches!(&asked.keys, Keys::Spans(spans) if spans.len() == 1)));
}

#[tokio::test]
async fn a_subquery_two_levels_deep_sees_the_outermost() {
    // For each person: the orders of hers for which a person with a smaller id than *hers* exists.
    let leaves = [people(), orders()];
    let smaller = limit(filter(scan(0, 30, &[INT]), compare(CompareOp::Lt, int(30), int(1))), None, Some(lit(7)));
    let mine = filter(scan(1, 10, ORDERS), Scalar::And(vec![eq(int(11), int(1)), exists(smaller)]));
    let found = subquery(SubqueryKind::Exists, limit(mine, None, Some(lit(3))), vec![], SqlType::Bool);
    let tree = extend(scan(0, 1, &[INT]), 5, SqlType::Bool, found);
    let mut found = try_rows(&tree, &[(1, INT), (5, SqlType::Bool)], execution(&leaves)).await.expect("rows");
    found.sort();
    assert_eq!(found, ["1 false", "2 true", "3 false"]);
}

#[tokio::test]
async fn subqueries_inside_case_and_arrays() {
    let leaves = [people(), orders()];
    let mine = || filter(scan(1, 10, ORDERS), eq(int(11), int(1)));
    let case =
        Scalar::Case { branches: vec![(exists(mine()), lit(1))], otherwise: Some(Box::new(lit(0))), ty: INT.into() };
    let tree = extend(scan(0, 1, &[INT]), 5, INT, case);
    assert_eq!(any_order(&tree, &[1, 5], &leaves).await, ["1 1", "2 1", "3 0"]);
    let array = subquery(SubqueryKind::Array, sort(mine(), int(10), true), vec![col(10, INT)], SqlType::Int8Array);
    let tree = extend(scan(0, 1, &[INT]), 5, SqlType::Int8Array, array);
    let tree = sort(tree, int(1), false);
    let found = try_rows(&tree, &[(1, INT), (5, SqlType::Int8Array)], execution(&leaves)).await.expect("rows");
    assert_eq!(found, ["1 {2,1}", "2 {3}", "3 {}"]);
}

#[tokio::test]
async fn a_correlated_limit() {
    let leaves = [people(), orders()];
    let some = limit(sort(scan(1, 10, ORDERS), int(10), false), None, Some(int(1)));
    let tree = join(JoinKind::Inner, scan(0, 1, &[INT]), some, Scalar::truth(), true);
    assert_eq!(any_order(&tree, &[1, 10], &leaves).await, ["1 1", "2 1", "2 2", "3 1", "3 2", "3 3"]);
}

// ---- locks, cancelling, large plans, constants ----

#[derive(Debug, Default)]
struct Recorder {
    locked: Mutex<Vec<i64>>,
}

#[async_trait]
impl Locker for Recorder {
    async fn lock(&self, _: &[LockTarget], columns: &[ColId], rows: RecordBatch) -> Result<RecordBatch> {
        let at = columns.iter().position(|id| *id == ColId(1)).expect("the key");
        let keys = ints(rows.column(at)).clone();
        self.locked.lock().extend(keys.values());
        // SKIP LOCKED: somebody has the first row.
        let keep: arrow_array::BooleanArray = keys.iter().map(|key| Some(key != Some(1))).collect();
        Ok(arrow_select::filter::filter_record_batch(&rows, &keep).expect("a filter"))
    }
}

#[tokio::test]
async fn no_more_rows_are_locked_than_come_out() {
    let target =
        LockTarget { need: NeedId(0), key: ColId(1), strength: LockStrength::Update, wait: LockWait::SkipLocked };
    let sorted = Box::new(sort(scan(0, 1, ORDERS), int(1), false));
    let tree = limit(Rel::LockRows { input: sorted, targets: vec![target] }, None, Some(lit(1)));
    let recorder = Arc::new(Recorder::default());
    let execution = Execution { locker: Some(recorder.clone()), ..execution(&[orders()]) };
    assert_eq!(try_rows(&tree, &[(1, INT)], execution).await.expect("rows"), ["2"]);
    assert_eq!(*recorder.locked.lock(), [1, 2]);
}

#[tokio::test]
async fn a_cancelled_plan_ends() {
    let endless = set(Rel::OneRow, vec![(1, vec![lit(1), lit(i64::MAX - 1)])], None);
    // It gives no rows, so only cancelling ends it.
    let tree = filter(endless, compare(CompareOp::Lt, int(1), lit(0)));
    let execution = execution(&[]);
    let cancel = execution.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        cancel.cancel();
    });
    let error = try_rows(&tree, &[(1, INT)], execution).await.expect_err("cancelled");
    assert_eq!(error.state(), SqlState::QUERY_CANCELED);
}

#[tokio::test]
async fn a_large_plan_gives_the_same_rows() {
    let many = (1..=20_000).map(|id| vec![d(id), d(id % 7)]).collect();
    let mut large = table("large", &[INT, INT], &[1], many);
    Arc::get_mut(&mut large).expect("mine").pretended_rows = Some(10_000_000);
    let calls = vec![(col(21, INT), aggregate(&COUNT, vec![])), (col(22, INT), aggregate(&SUM, vec![int(1)]))];
    let tree = sort(grouped(scan(0, 1, &[INT, INT]), vec![(col(20, INT), int(2))], calls), int(20), false);
    let found = rows(&tree, &[20, 21], &[large]).await;
    assert_eq!(found, ["0 2857", "1 2858", "2 2857", "3 2857", "4 2857", "5 2857", "6 2857"]);
}

#[test]
fn constants() {
    let scalars = [call(&ADD, vec![lit(1), Scalar::Param(1, INT.into())]), null()];
    let found = evaluate(&scalars, &[(d(2), INT.into())], &Scene, Arc::new(Nowhere)).expect("values");
    assert_eq!(found, [d(3), Datum::Null]);
    let error = evaluate(&[call(&DIVIDE, vec![lit(1), lit(0)])], &[], &Scene, Arc::new(Nowhere)).expect_err("an error");
    assert_eq!(error.state(), SqlState::DIVISION_BY_ZERO);
}

/// A thread that dies while it reads is an error, not the end of the rows: nobody takes half of them for all.
#[tokio::test]
async fn a_dead_reader_is_an_error() {
    let dies = || -> Result<Blocking> {
        let rows = std::iter::once_with(|| Ok(RecordBatch::new_empty(Arc::new(arrow_schema::Schema::empty()))));
        Ok(Box::new(rows.chain(std::iter::once_with(|| -> Result<RecordBatch> { panic!("the disk is gone") }))))
    };
    let read: Vec<_> = futures::StreamExt::collect(batches(Part::Blocking(Box::new(dies)), false)).await;
    assert!(matches!(read.as_slice(), [Ok(_), Err(error)] if error.state() == SqlState::INTERNAL_ERROR), "{read:?}");
}
