//! Bound scalars to the engine's expressions.
//!
//! Columns are called `c<number>` ([`column_name`]). Comparison, AND, OR, NOT, IS NULL, IN and CASE become the engine's
//! own; everything else is a call of a function of ours. Parameters and session values are filled in by the caller
//! ([`Filling`]), who also lowers subqueries: this room knows no plans.

mod array;
mod deep;

pub use array::gathered;

use crate::bind::bound::{Bounds, ColId, CompareOp, Each, Gather, Scalar, Subquery};
use crate::bind::walk;
use crate::function::{self, SessionValue, Surroundings};
use crate::types;
use arrow_array::{Array, ArrayRef};
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
            literal(&kalamdb_commons::ArrayDatum::usual(element, Vec::new()).into(), *ty)?
        }
        Scalar::Array(items, ty) => {
            let work = if items[0].ty().ty == ty.ty { Work::Nest } else { Work::Build };
            let items = items.iter().map(|item| inside(item, filling)).collect::<Result<_>>()?;
            udf(ArrayWork { work, ty: *ty, around: filling.around() }).call(items)
        }
        Scalar::Relabel(operand, ty) if is_vector(operand.ty()) && !is_vector(*ty) && ty.ty.is_array() => {
            let operand = inside(operand, filling)?;
            udf(ArrayWork { work: Work::FromVector, ty: *ty, around: filling.around() }).call(vec![operand])
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
        Scalar::Subscript(array, places, ty) => {
            let work = Work::Subscript { first: first_subscript(array.ty()) };
            let args = std::iter::once(array.as_ref()).chain(places).map(|arg| inside(arg, filling));
            let args = args.collect::<Result<_>>()?;
            udf(ArrayWork { work, ty: *ty, around: filling.around() }).call(args)
        }
        Scalar::Slice(array, subscripts) => slice(array, subscripts, filling)?,
        Scalar::Each(each) => lower_each(each, filling)?,
        Scalar::Subquery(subquery) => filling.subquery(subquery)?,
    })
}

fn is_vector(ty: PgType) -> bool {
    matches!(ty.ty, SqlType::Int2vector | SqlType::Oidvector)
}

/// Where subscripts of a type's values begin, if the value says nothing else.
fn first_subscript(ty: PgType) -> i32 {
    i32::from(!is_vector(ty))
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

fn slice(array: &Scalar, subscripts: &[Bounds], filling: &mut dyn Filling) -> Result<Expr> {
    let ty = array.ty();
    let mut args = vec![inside(array, filling)?];
    for bound in subscripts.iter().flat_map(|bounds| bounds.low.iter().chain(&bounds.high)) {
        args.push(inside(bound, filling)?);
    }
    let given = subscripts.iter().map(|bounds| (bounds.low.is_some(), bounds.high.is_some())).collect();
    let work = Work::Slice { first: first_subscript(ty), given };
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
    /// ARRAY[…] of arrays.
    Nest,
    /// A vector as an array.
    FromVector,
    Subscript {
        first: i32,
    },
    /// Which bounds of each subscript are given.
    Slice {
        first: i32,
        given: Vec<(bool, bool)>,
    },
    ThroughText(PgType),
    Each {
        body: Body,
        gather: Gather,
    },
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
            Work::Build | Work::Nest => "kalam_array",
            Work::FromVector => "kalam_from_vector",
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
            Work::Build => array::build(args, rows, self.ty),
            Work::Nest => array::nest(args, rows),
            Work::FromVector => array::from_vector(&args[0]),
            Work::Subscript { first } => array::subscript(args, *first),
            Work::Slice { first, given } => array::slice(args, *first, given),
            Work::ThroughText(source) => match around {
                Some(around) => through_text(&args[0], *source, self.ty, around),
                None => Err(SqlError::internal("a cast without surroundings")),
            },
            Work::Each { body, gather } => array::each_item(args, body, *gather),
        }
    }
}

fn arrow(error: arrow_schema::ArrowError) -> SqlError {
    SqlError::internal(error)
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
