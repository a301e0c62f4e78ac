//! Bound scalars to the engine's expressions.
//!
//! Columns are called `c<number>` ([`column_name`]). Comparison, AND, OR, NOT, IS NULL, IN and CASE become the engine's
//! own; everything else is a call of a function of ours. Parameters and session values are filled in by the caller
//! ([`Filling`]), who also lowers subqueries: this room knows no plans.

mod deep;

use crate::bind::bound::{ColId, CompareOp, Each, Gather, Scalar, Subquery};
use crate::bind::walk;
use crate::function::{self, SessionValue, Surroundings};
use crate::types;
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, ListArray, RecordBatch, UInt32Array, new_null_array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Schema};
use datafusion_common::{Column, DFSchema, DataFusionError, ScalarValue};
use datafusion_expr::expr::{BinaryExpr, Case, InList};
use datafusion_expr::{ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion_physical_expr::PhysicalExpr;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a parameter or a session value is at lowering.
#[derive(Debug, Clone)]
pub enum Filled {
    /// Its value.
    Value(Datum),
    /// An expression that stands for it (a placeholder).
    Expr(Expr),
}

/// What lowering asks of its caller.
pub trait Filling {
    /// `$number`, from 1.
    ///
    /// # Errors
    /// The caller's.
    fn parameter(&mut self, number: usize, ty: PgType) -> Result<Filled>;
    /// A value of the session or the moment.
    ///
    /// # Errors
    /// The caller's.
    fn session(&mut self, value: SessionValue, ty: PgType) -> Result<Filled>;
    /// What functions may ask at execution; `None`: the engine's configuration will hold it
    /// ([`function::AroundExtension`]).
    fn around(&self) -> Option<Arc<dyn Surroundings>>;
    /// A subquery as an expression over the columns around it.
    ///
    /// # Errors
    /// 0A000 where subqueries cannot be.
    fn subquery(&mut self, subquery: &Subquery) -> Result<Expr> {
        let _ = subquery;
        Err(SqlError::unsupported("a subquery in this place"))
    }
}

/// The name of a column in the engine's plans.
pub fn column_name(col: ColId) -> String {
    format!("c{}", col.0)
}

/// The engine's expression for a bound scalar.
///
/// # Errors
/// The filling's; XX000 for a tree that binding cannot have made.
pub fn lower(scalar: &Scalar, filling: &mut dyn Filling) -> Result<Expr> {
    let expr = inside(scalar, filling)?;
    match filling.around() {
        Some(_) => deep::cut(expr, scalar),
        None => Ok(expr),
    }
}

fn inside(scalar: &Scalar, filling: &mut dyn Filling) -> Result<Expr> {
    // Expressions nest as deep as the text does.
    stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || lower_one(scalar, filling))
}

fn lower_one(scalar: &Scalar, filling: &mut dyn Filling) -> Result<Expr> {
    Ok(match scalar {
        Scalar::Column(col) => Expr::Column(Column::new_unqualified(column_name(col.id))),
        Scalar::Const(datum, ty) => literal(datum, *ty)?,
        Scalar::Param(number, ty) => filled(filling.parameter(*number, *ty)?, *ty)?,
        Scalar::Session(value, ty) => filled(filling.session(*value, *ty)?, *ty)?,
        Scalar::Call { function, args, ty } => {
            let types: Vec<PgType> = args.iter().map(Scalar::ty).collect();
            let args = args.iter().map(|arg| inside(arg, filling)).collect::<Result<_>>()?;
            match filling.around() {
                Some(around) => function::to_udf_around(function, &types, *ty, around),
                None => function::to_udf(function, &types, *ty),
            }
            .call(args)
        }
        Scalar::Compare(op, left, right) => binary(inside(left, filling)?, operator(*op), inside(right, filling)?),
        Scalar::And(items) => fold(items, Operator::And, true, filling)?,
        Scalar::Or(items) => fold(items, Operator::Or, false, filling)?,
        Scalar::Not(operand) => Expr::Not(Box::new(inside(operand, filling)?)),
        Scalar::IsNull(operand) => Expr::IsNull(Box::new(inside(operand, filling)?)),
        Scalar::InList(operand, items) => Expr::InList(InList {
            expr: Box::new(inside(operand, filling)?),
            list: items.iter().map(|item| inside(item, filling)).collect::<Result<_>>()?,
            negated: false,
        }),
        Scalar::Case { branches, otherwise, ty } => Expr::Case(Case {
            expr: None,
            when_then_expr: branches
                .iter()
                .map(|(when, then)| Ok((Box::new(inside(when, filling)?), Box::new(inside(then, filling)?))))
                .collect::<Result<_>>()?,
            else_expr: Some(Box::new(match otherwise {
                Some(otherwise) => inside(otherwise, filling)?,
                None => literal(&Datum::Null, *ty)?,
            })),
        }),
        Scalar::Coalesce(items, ty) => coalesce(items, *ty, filling)?,
        Scalar::Array(items, ty) if items.is_empty() => {
            let element = ty.ty.element().unwrap_or(kalamdb_commons::SqlType::Text);
            literal(&Datum::Array(Box::new(kalamdb_commons::ArrayDatum { element, items: Vec::new() })), *ty)?
        }
        Scalar::Array(items, ty) => {
            let items = items.iter().map(|item| inside(item, filling)).collect::<Result<_>>()?;
            udf(ArrayWork { work: Work::Build, ty: *ty, around: filling.around() }).call(items)
        }
        // oid and int4 are the same bits and other Arrow types.
        Scalar::Relabel(operand, ty) if operand.ty().ty.arrow() != ty.ty.arrow() => {
            let from = operand.ty();
            let operand = inside(operand, filling)?;
            match function::bits_function(from.ty, ty.ty) {
                Some(function) => match filling.around() {
                    Some(around) => function::to_udf_around(function, &[from], *ty, around),
                    None => function::to_udf(function, &[from], *ty),
                }
                .call(vec![operand]),
                None => datafusion_expr::cast(operand, ty.ty.arrow()),
            }
        }
        Scalar::Relabel(operand, _) => inside(operand, filling)?,

        Scalar::ThroughText(operand, ty) => {
            let source = operand.ty();
            let operand = inside(operand, filling)?;
            udf(ArrayWork { work: Work::ThroughText(source), ty: *ty, around: filling.around() }).call(vec![operand])
        }
        Scalar::Subscript(array, index, ty) => {
            let base = i64::from(!is_vector(array.ty()));
            let args = vec![inside(array, filling)?, inside(index, filling)?];
            udf(ArrayWork { work: Work::Subscript { base }, ty: *ty, around: filling.around() }).call(args)
        }
        Scalar::Slice(array, low, high) => slice(array, low.as_deref(), high.as_deref(), filling)?,
        Scalar::Each(each) => lower_each(each, filling)?,
        Scalar::Subquery(subquery) => filling.subquery(subquery)?,
    })
}

fn is_vector(ty: PgType) -> bool {
    matches!(ty.ty, SqlType::Int2vector | SqlType::Oidvector)
}

fn literal(datum: &Datum, ty: PgType) -> Result<Expr> {
    Ok(Expr::Literal(types::scalar_value(datum, ty)?, None))
}

fn filled(filled: Filled, ty: PgType) -> Result<Expr> {
    match filled {
        Filled::Value(datum) => literal(&datum, ty),
        Filled::Expr(expr) => Ok(expr),
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

/// AND and OR, balanced so that long lists do not nest deep.
fn fold(items: &[Scalar], op: Operator, empty: bool, filling: &mut dyn Filling) -> Result<Expr> {
    match items {
        [] => literal(&Datum::Bool(empty), SqlType::Bool.into()),
        [one] => inside(one, filling),
        _ => {
            let (left, right) = items.split_at(items.len() / 2);
            Ok(binary(fold(left, op, empty, filling)?, op, fold(right, op, empty, filling)?))
        }
    }
}

fn operator(op: CompareOp) -> Operator {
    match op {
        CompareOp::Eq => Operator::Eq,
        CompareOp::Ne => Operator::NotEq,
        CompareOp::Lt => Operator::Lt,
        CompareOp::Le => Operator::LtEq,
        CompareOp::Gt => Operator::Gt,
        CompareOp::Ge => Operator::GtEq,
        CompareOp::Distinct => Operator::IsDistinctFrom,
        CompareOp::NotDistinct => Operator::IsNotDistinctFrom,
    }
}

/// COALESCE as CASE: later arguments are not evaluated for rows that an earlier one decides.
fn coalesce(items: &[Scalar], ty: PgType, filling: &mut dyn Filling) -> Result<Expr> {
    // One inside another as the first argument is the same list: each level would double the inner one.
    let mut flat: Vec<&Scalar> = items.iter().collect();
    while let Some(Scalar::Coalesce(inner, inner_ty)) = flat.first().copied()
        && *inner_ty == ty
    {
        flat.splice(..1, inner);
    }
    let mut exprs = flat.into_iter().map(|item| inside(item, filling)).collect::<Result<Vec<_>>>()?;
    let last = match exprs.pop() {
        Some(last) => last,
        None => return literal(&Datum::Null, ty),
    };
    if exprs.is_empty() {
        return Ok(last);
    }
    let branches = exprs.into_iter().map(|expr| (Box::new(Expr::IsNotNull(Box::new(expr.clone()))), Box::new(expr)));
    Ok(Expr::Case(Case { expr: None, when_then_expr: branches.collect(), else_expr: Some(Box::new(last)) }))
}

fn slice(array: &Scalar, low: Option<&Scalar>, high: Option<&Scalar>, filling: &mut dyn Filling) -> Result<Expr> {
    let base = i64::from(!is_vector(array.ty()));
    let ty = array.ty();
    let mut args = vec![inside(array, filling)?];
    for bound in [low, high].into_iter().flatten() {
        args.push(inside(bound, filling)?);
    }
    let work = Work::Slice { base, low: low.is_some(), high: high.is_some() };
    Ok(udf(ArrayWork { work, ty, around: filling.around() }).call(args))
}

fn lower_each(each: &Each, filling: &mut dyn Filling) -> Result<Expr> {
    if let Some(expr) = unrolled(each, filling)? {
        return inside(&expr, filling);
    }
    // The item's expression runs over a batch of all items; what it reads from around is repeated for each.
    let free: Vec<_> = walk::columns_used(&each.expr).into_iter().filter(|col| col.id != each.item.id).collect();
    let columns: Vec<_> = std::iter::once(each.item).chain(free.iter().copied()).collect();
    let body = compile(&lower(&each.expr, filling)?, &columns)?;
    let mut args = vec![inside(&each.array, filling)?];
    args.extend(free.iter().map(|col| Expr::Column(Column::new_unqualified(column_name(col.id)))));
    let names = columns.iter().map(|col| column_name(col.id)).collect();
    let ty = match each.gather {
        Gather::Array(ty) => ty,
        Gather::Any | Gather::All => SqlType::Bool.into(),
    };
    let work = Work::Each { body: Body { expr: body, names }, gather: each.gather };
    Ok(udf(ArrayWork { work, ty, around: filling.around() }).call(args))
}

/// `x = ANY (…)` over an array whose items are known now: an IN list or ORs, which the engine can push down.
fn unrolled(each: &Each, filling: &mut dyn Filling) -> Result<Option<Scalar>> {
    let element = each.item.ty;
    let items: Vec<Scalar> = match &each.array {
        Scalar::Array(items, _) if items.iter().all(|item| !item.ty().ty.is_array()) => items.clone(),
        Scalar::Const(datum, _) => match known_items(datum.clone(), element) {
            Some(items) => items,
            None => return Ok(Some(Scalar::Const(Datum::Null, SqlType::Bool.into()))),
        },
        Scalar::Param(number, ty) => match filling.parameter(*number, *ty)? {
            Filled::Expr(_) => return Ok(None),
            Filled::Value(datum) => match known_items(datum, element) {
                Some(items) => items,
                None => return Ok(Some(Scalar::Const(Datum::Null, SqlType::Bool.into()))),
            },
        },
        _ => return Ok(None),
    };
    let all = match each.gather {
        Gather::Any => false,
        Gather::All => true,
        Gather::Array(_) => return Ok(None),
    };
    if items.is_empty() {
        return Ok(Some(Scalar::Const(Datum::Bool(all), SqlType::Bool.into())));
    }
    let whole_item = |side: &Scalar| matches!(side, Scalar::Column(col) if col.id == each.item.id);
    match &each.expr {
        Scalar::Compare(CompareOp::Eq, left, right) if !all && whole_item(right) => {
            return Ok(Some(Scalar::InList(left.clone(), items)));
        }
        Scalar::Compare(CompareOp::Ne, left, right) if all && whole_item(right) => {
            return Ok(Some(Scalar::Not(Box::new(Scalar::InList(left.clone(), items)))));
        }
        _ => {}
    }
    let tests = items.iter().map(|item| walk::replace(&each.expr, each.item.id, item)).collect();
    Ok(Some(if all { Scalar::And(tests) } else { Scalar::Or(tests) }))
}

/// The items of an array value; `None` for NULL.
fn known_items(datum: Datum, element: PgType) -> Option<Vec<Scalar>> {
    match datum {
        Datum::Array(array) => Some(array.items.into_iter().map(|item| Scalar::Const(item, element)).collect()),
        _ => None,
    }
}

/// A physical expression over a batch of these columns.
pub(crate) fn compile(expr: &Expr, columns: &[crate::bind::bound::Col]) -> Result<Arc<dyn PhysicalExpr>> {
    let fields = columns.iter().map(|col| Field::new(column_name(col.id), col.ty.ty.arrow(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let schema = DFSchema::try_from(schema).map_err(function::sql_error)?;
    let properties = datafusion_expr::execution_props::ExecutionProps::new();
    let context = datafusion_expr::physical_planning_context::PhysicalPlanningContext::default();
    datafusion_physical_expr::create_physical_expr(expr, &schema, &properties, &context).map_err(function::sql_error)
}

fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn udf(work: ArrayWork) -> ScalarUDF {
    ScalarUDF::new_from_impl(work)
}

/// The constructs over arrays and text forms that no function of PostgreSQL's table stands for.
#[derive(Debug)]
struct ArrayWork {
    work: Work,
    ty: PgType,
    around: Option<Arc<dyn Surroundings>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    Build,
    Subscript { base: i64 },
    Slice { base: i64, low: bool, high: bool },
    ThroughText(PgType),
    Each { body: Body, gather: Gather },
}

/// The compiled expression of an [`Each`] with the names of the columns it reads, the item's first.
#[derive(Debug, Clone)]
struct Body {
    expr: Arc<dyn PhysicalExpr>,
    names: Vec<String>,
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names && self.expr.as_ref() == other.expr.as_ref()
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.names.hash(state);
    }
}

impl Eq for Gather {}

impl Hash for Gather {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
    }
}

impl PartialEq for ArrayWork {
    fn eq(&self, other: &Self) -> bool {
        self.work == other.work && self.ty == other.ty
    }
}

impl Eq for ArrayWork {}

impl Hash for ArrayWork {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.work.hash(state);
        self.ty.hash(state);
    }
}

impl ScalarUDFImpl for ArrayWork {
    fn name(&self) -> &str {
        match self.work {
            Work::Build => "kalam_array",
            Work::Subscript { .. } => "kalam_subscript",
            Work::Slice { .. } => "kalam_slice",
            Work::ThroughText(_) => "kalam_through_text",
            Work::Each { .. } => "kalam_each",
        }
    }

    fn signature(&self) -> &Signature {
        static ANY: std::sync::LazyLock<Signature> =
            std::sync::LazyLock::new(|| Signature::variadic_any(datafusion_expr::Volatility::Immutable));
        static STABLE: std::sync::LazyLock<Signature> =
            std::sync::LazyLock::new(|| Signature::variadic_any(datafusion_expr::Volatility::Stable));
        match self.work {
            Work::ThroughText(_) | Work::Each { .. } => &STABLE,
            _ => &ANY,
        }
    }

    fn return_type(&self, _: &[DataType]) -> datafusion_common::Result<DataType> {
        Ok(self.ty.ty.arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion_common::Result<ColumnarValue> {
        let rows = args.number_rows;
        let all_scalar = !args.args.is_empty() && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { rows };
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<datafusion_common::Result<Vec<ArrayRef>>>()?;
        let extension = args.config_options.extensions.get::<function::AroundExtension>();
        let around = self.around.as_deref().or(extension.map(|extension| extension.0.as_ref()));
        let result = self.evaluate(&arrays, rows, around).map_err(external)?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

impl ArrayWork {
    fn evaluate(&self, args: &[ArrayRef], rows: usize, around: Option<&dyn Surroundings>) -> Result<ArrayRef> {
        match &self.work {
            Work::Build => build(args, rows, self.ty),
            Work::Subscript { base } => subscript(&args[0], &args[1], *base),
            Work::Slice { base, low, high } => cut(args, *base, *low, *high),
            Work::ThroughText(source) => match around {
                Some(around) => through_text(&args[0], *source, self.ty, around),
                None => Err(SqlError::internal("a cast without surroundings")),
            },
            Work::Each { body, gather } => each_item(args, body, *gather),
        }
    }
}

fn arrow(error: arrow_schema::ArrowError) -> SqlError {
    SqlError::internal(error)
}

fn list(array: &ArrayRef) -> Result<&ListArray> {
    array.as_any().downcast_ref::<ListArray>().ok_or_else(|| SqlError::internal("an array expression is no list"))
}

fn list_of(values: ArrayRef, lengths: impl IntoIterator<Item = usize>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls).map_err(arrow)?))
}

/// ARRAY[…]: row by row one item of each argument. Items that are arrays themselves are one dimension too many.
fn build(args: &[ArrayRef], rows: usize, ty: PgType) -> Result<ArrayRef> {
    let element = ty.ty.element().map_or(DataType::Utf8, SqlType::arrow);
    if args.is_empty() {
        return list_of(new_null_array(&element, 0), std::iter::repeat_n(0, rows), None);
    }
    let sources: Vec<&dyn Array> = args.iter().map(AsRef::as_ref).collect();
    let places: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..args.len()).map(move |source| (source, row))).collect();
    let values = arrow_select::interleave::interleave(&sources, &places).map_err(arrow)?;
    list_of(values, std::iter::repeat_n(args.len(), rows), None)
}

fn integer(array: &ArrayRef, row: usize) -> Option<i64> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int16 => array.as_any().downcast_ref::<arrow_array::Int16Array>().map(|a| i64::from(a.value(row))),
        DataType::Int32 => array.as_any().downcast_ref::<Int32Array>().map(|a| i64::from(a.value(row))),
        _ => array.as_any().downcast_ref::<arrow_array::Int64Array>().map(|a| a.value(row)),
    }
}

/// `a[i]`; NULL outside the array.
fn subscript(array: &ArrayRef, index: &ArrayRef, base: i64) -> Result<ArrayRef> {
    let lists = list(array)?;
    let offsets = lists.value_offsets();
    let places: UInt32Array = (0..lists.len())
        .map(|row| {
            let place = integer(index, row)?.checked_sub(base)?;
            let length = i64::from(offsets[row + 1] - offsets[row]);
            (!lists.is_null(row) && (0..length).contains(&place))
                .then(|| u32::try_from(i64::from(offsets[row]) + place).ok())
                .flatten()
        })
        .collect();
    arrow_select::take::take(lists.values(), &places, None).map_err(arrow)
}

/// `a[l:u]`: bounds outside the array are cut to it; a NULL bound gives NULL.
fn cut(args: &[ArrayRef], base: i64, low: bool, high: bool) -> Result<ArrayRef> {
    let lists = list(&args[0])?;
    let offsets = lists.value_offsets();
    let high_bound = high.then(|| &args[1 + usize::from(low)]);
    let mut places: Vec<u32> = Vec::new();
    let mut lengths = Vec::with_capacity(lists.len());
    let mut valid = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let length = i64::from(offsets[row + 1] - offsets[row]);
        let from = if low { integer(&args[1], row) } else { Some(base) };
        let to = high_bound.map_or(Some(length - 1 + base), |bound| integer(bound, row));
        let before = places.len();
        if let (false, Some(from), Some(to)) = (lists.is_null(row), from, to) {
            let from = from.saturating_sub(base).max(0);
            let to = to.saturating_sub(base).min(length - 1);
            let start = i64::from(offsets[row]);
            places.extend((from..=to).filter_map(|place| u32::try_from(start + place).ok()));
            valid.push(true);
        } else {
            valid.push(false);
        }
        lengths.push(places.len() - before);
    }
    let values = arrow_select::take::take(lists.values(), &UInt32Array::from(places), None).map_err(arrow)?;
    list_of(values, lengths, Some(NullBuffer::from(valid)))
}

fn through_text(array: &ArrayRef, source: PgType, target: PgType, around: &dyn Surroundings) -> Result<ArrayRef> {
    let mut items = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        if array.is_null(row) {
            items.push(Datum::Null);
            continue;
        }
        let datum = types::datum_at(array, row, source);
        let text = match &datum {
            Datum::Text(text) if source.ty != SqlType::Char => text.to_string(),
            _ => types::to_text(&datum, source, around.style(), around.catalog())?,
        };
        items.push(types::from_text(&text, target, around.style(), around.catalog())?);
    }
    types::array_of(target, &items)
}

/// Evaluates the body over all items of all rows at once, then gathers row by row.
fn each_item(args: &[ArrayRef], body: &Body, gather: Gather) -> Result<ArrayRef> {
    let lists = list(&args[0])?;
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
    let items = lists.values().slice(first, last - first);
    let owners: UInt32Array = (0..lists.len())
        .flat_map(|row| {
            let count = (offsets[row + 1] - offsets[row]) as usize;
            std::iter::repeat_n(row as u32, count)
        })
        .collect();
    let mut columns = vec![items];
    for around in &args[1..] {
        columns.push(arrow_select::take::take(around, &owners, None).map_err(arrow)?);
    }
    let fields =
        body.names.iter().zip(&columns).map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns).map_err(arrow)?;
    let results =
        body.expr.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows())).map_err(function::sql_error)?;
    let lengths = (0..lists.len()).map(|row| (offsets[row + 1] - offsets[row]) as usize);
    match gather {
        Gather::Array(_) => list_of(results, lengths, lists.nulls().cloned()),
        Gather::Any | Gather::All => {
            let results = results
                .as_any()
                .downcast_ref::<BooleanArray>()
                .ok_or_else(|| SqlError::internal("a test is no boolean"))?;
            let mut at = 0;
            let verdicts: BooleanArray = lengths
                .enumerate()
                .map(|(row, count)| {
                    let range = at..at + count;
                    at += count;
                    if lists.is_null(row) {
                        return None;
                    }
                    verdict(results, range, gather == Gather::All)
                })
                .collect();
            Ok(Arc::new(verdicts))
        }
    }
}

/// Three-valued AND (`all`) or OR.
fn verdict(results: &BooleanArray, range: std::ops::Range<usize>, all: bool) -> Option<bool> {
    let mut unknown = false;
    for place in range {
        if results.is_null(place) {
            unknown = true;
        } else if results.value(place) != all {
            return Some(!all);
        }
    }
    (!unknown).then_some(all)
}
