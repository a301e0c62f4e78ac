//! Filters that are ranges of a primary key.
//!
//! Comparisons of a key column with a value, and lists of values, become spans of keys. What is taken is taken whole:
//! the plan does not test it again. The value may be anything without columns; inside the inner plan of an `Apply` it
//! is known only when the plan runs, so what can be taken is decided without looking at values.
//!
//! Only the engine's own comparisons are understood. That is right by construction: the binder compares types whose
//! Arrow order is not PostgreSQL's through their sort keys, which are calls and no columns.

use super::error::engine_error;
use super::provider::{KeySpan, Keys};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{BinaryExpr, ColumnarValue, Expr, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr as PhysicalBinary, Column, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use kalamdb_sql::types;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

/// The most spans a filter becomes. Lists whose product is larger are applied in part, and the rest row by row.
const SPANS_MAX: usize = 1 << 16;

/// What a filter says about one column.
#[derive(Debug, Clone)]
pub(super) struct Constraint {
    column: usize,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// One of these.
    In(Vec<Value>),
    /// Above, or at, a value.
    Low(Value, bool),
    /// Below, or at, a value.
    High(Value, bool),
    /// Both.
    Between(Value, Value),
}

impl Constraint {
    /// Whether it is about the value at this place.
    pub(super) fn is_about(&self, place: usize) -> bool {
        self.column == place
    }
}

/// A value that a column is compared with.
#[derive(Debug, Clone)]
enum Value {
    Known(ScalarValue),
    /// An expression without columns, evaluated when the keys are needed.
    Computed(Expr),
}

/// What a filter of the logical plan says about one column; `None` if it is not of that kind.
pub(super) fn logical(filter: &Expr, place: &dyn Fn(&Expr) -> Option<usize>) -> Option<Constraint> {
    let column = place;
    match filter {
        Expr::Alias(alias) => logical(&alias.expr, place),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            either(logical(left, place)?, logical(right, place)?)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (column(left), column(right)) {
            (Some(column), None) => Some(Constraint { column, test: comparison(*op, value(right)?)? }),
            (None, Some(column)) => Some(Constraint { column, test: comparison(op.swap()?, value(left)?)? }),
            _ => None,
        },
        Expr::InList(InList { expr, list, negated: false }) => {
            Some(Constraint { column: column(expr)?, test: Test::In(list.iter().map(value).collect::<Option<_>>()?) })
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            Some(Constraint { column: column(expr)?, test: Test::Between(value(low)?, value(high)?) })
        }
        _ => None,
    }
}

/// `x = 1 OR x = 2`: the engine writes short lists so.
fn either(left: Constraint, right: Constraint) -> Option<Constraint> {
    match (left.test, right.test) {
        (Test::In(mut values), Test::In(more)) if left.column == right.column => {
            values.extend(more);
            Some(Constraint { column: left.column, test: Test::In(values) })
        }
        _ => None,
    }
}

fn comparison(op: Operator, value: Value) -> Option<Test> {
    Some(match op {
        Operator::Eq => Test::In(vec![value]),
        Operator::Lt => Test::High(value, false),
        Operator::LtEq => Test::High(value, true),
        Operator::Gt => Test::Low(value, false),
        Operator::GtEq => Test::Low(value, true),
        _ => return None,
    })
}

fn value(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Literal(value, _) => Some(Value::Known(value.clone())),
        _ if expr.column_refs().is_empty() && !expr.is_volatile() && is_plain(expr) => {
            Some(Value::Computed(expr.clone()))
        }
        _ => None,
    }
}

/// No subquery and nothing else that has rows behind it.
fn is_plain(expr: &Expr) -> bool {
    !matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..))
}

/// What a physical filter says about columns, added to `found`: what is not understood is left out, so the filter must
/// be tested again.
pub(super) fn physical(
    filter: &Arc<dyn PhysicalExpr>,
    place: &dyn Fn(usize) -> Option<usize>,
    found: &mut Vec<Constraint>,
) {
    let column = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().and_then(|column| place(column.index()));
    let known = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Literal>().map(|literal| Value::Known(literal.value().clone()))
    };
    if let Some(binary) = filter.downcast_ref::<PhysicalBinary>() {
        if *binary.op() == Operator::And {
            physical(binary.left(), place, found);
            physical(binary.right(), place, found);
        } else if let (Some(column), Some(value)) = (column(binary.left()), known(binary.right()))
            && let Some(test) = comparison(*binary.op(), value)
        {
            found.push(Constraint { column, test });
        }
    } else if let Some(list) = filter.downcast_ref::<InListExpr>()
        && !list.negated()
        && let Some(column) = column(list.expr())
        && let Some(values) = list.list().iter().map(known).collect::<Option<Vec<_>>>()
    {
        found.push(Constraint { column, test: Test::In(values) });
    }
}

/// How many of the key's first columns are tested for equality.
pub(super) fn reach<'a>(key: &[usize], constraints: impl Iterator<Item = &'a Constraint> + Clone) -> usize {
    key.iter()
        .take_while(|place| {
            constraints.clone().any(|constraint| constraint.column == **place && matches!(constraint.test, Test::In(_)))
        })
        .count()
}

/// Whether spans can say what the constraint says, when so many of the key's first columns are tested for equality.
pub(super) fn is_within(key: &[usize], reach: usize, constraint: &Constraint) -> bool {
    key.iter().position(|place| *place == constraint.column).is_some_and(|at| at <= reach)
}

/// The spans of keys that satisfy the constraints, and which of these the spans say in full.
///
/// # Errors
/// Those of computed values.
pub(super) fn keys(key: &[(usize, PgType)], constraints: &[Option<Constraint>]) -> Result<(Keys, Vec<bool>)> {
    let mut used = vec![false; constraints.len()];
    let mut spans = vec![KeySpan { prefix: Vec::new(), low: Bound::Unbounded, high: Bound::Unbounded }];
    let mut bounded = false;
    for (place, ty) in key {
        let column = match KeyColumn::gather(*place, *ty, constraints)? {
            Some(column) => column,
            None => break,
        };
        match column.points {
            Some(points) => {
                if spans.len().saturating_mul(points.len().max(1)) > SPANS_MAX {
                    break;
                }
                let points = points.iter().map(|point| datum(point, *ty)).collect::<Result<Vec<_>>>()?;
                spans = product(&spans, &points);
            }
            None => {
                let low = bound(column.low, *ty)?;
                let high = bound(column.high, *ty)?;
                for span in &mut spans {
                    (span.low, span.high) = (low.clone(), high.clone());
                }
                if column.is_empty {
                    spans.clear();
                }
            }
        }
        bounded = true;
        column.from.iter().for_each(|at| used[*at] = true);
        if !column.is_points {
            break;
        }
    }
    Ok((if bounded { Keys::Spans(spans) } else { Keys::All }, used))
}

fn product(spans: &[KeySpan], points: &[Datum]) -> Vec<KeySpan> {
    let with = |span: &KeySpan, point: &Datum| {
        let mut span = span.clone();
        span.prefix.push(point.clone());
        span
    };
    spans.iter().flat_map(|span| points.iter().map(move |point| with(span, point))).collect()
}

/// What all constraints together say about one key column.
struct KeyColumn {
    /// The values it may have, in order, each once; `None` when only bounds are known.
    points: Option<Vec<ScalarValue>>,
    is_points: bool,
    low: Option<(ScalarValue, bool)>,
    high: Option<(ScalarValue, bool)>,
    is_empty: bool,
    from: Vec<usize>,
}

impl KeyColumn {
    fn gather(place: usize, ty: PgType, constraints: &[Option<Constraint>]) -> Result<Option<KeyColumn>> {
        let mut column =
            KeyColumn { points: None, is_points: false, low: None, high: None, is_empty: false, from: Vec::new() };
        let mut points: Option<HashSet<ScalarValue>> = None;
        let narrow = |value: &Value| value.now().map(|value| Narrowed::of(value, ty));
        for (at, constraint) in constraints.iter().enumerate() {
            let Some(Constraint { test, .. }) = constraint.as_ref().filter(|constraint| constraint.column == place)
            else {
                continue;
            };
            column.from.push(at);
            match test {
                Test::In(values) => {
                    let mut set = HashSet::with_capacity(values.len());
                    for value in values {
                        // NULL equals nothing.
                        if let Narrowed::Value(value) = narrow(value)?
                            && !value.is_null()
                        {
                            set.insert(value);
                        }
                    }
                    points = Some(match points {
                        Some(points) => points.intersection(&set).cloned().collect(),
                        None => set,
                    });
                }
                Test::Low(value, closed) => column.above(narrow(value)?, *closed),
                Test::High(value, closed) => column.below(narrow(value)?, *closed),
                Test::Between(low, high) => {
                    column.above(narrow(low)?, true);
                    column.below(narrow(high)?, true);
                }
            }
        }
        if column.from.is_empty() {
            return Ok(None);
        }
        if let Some(points) = points {
            let mut points: Vec<ScalarValue> =
                points.into_iter().filter(|point| !column.is_empty && column.admits(point)).collect();
            points.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
            column.points = Some(points);
            column.is_points = true;
        }
        Ok(Some(column))
    }

    fn above(&mut self, value: Narrowed, closed: bool) {
        let value = match value {
            Narrowed::Value(value) => value,
            Narrowed::BelowAll => return,
            Narrowed::AboveAll => return self.is_empty = true,
        };
        self.is_empty |= value.is_null();
        let tighter = self.low.as_ref().is_none_or(|(low, low_closed)| match value.partial_cmp(low) {
            Some(Ordering::Equal) => *low_closed,
            order => order == Some(Ordering::Greater),
        });
        if tighter {
            self.low = Some((value, closed));
        }
    }

    fn below(&mut self, value: Narrowed, closed: bool) {
        let value = match value {
            Narrowed::Value(value) => value,
            Narrowed::BelowAll => return self.is_empty = true,
            Narrowed::AboveAll => return,
        };
        self.is_empty |= value.is_null();
        let tighter = self.high.as_ref().is_none_or(|(high, high_closed)| match value.partial_cmp(high) {
            Some(Ordering::Equal) => *high_closed,
            order => order == Some(Ordering::Less),
        });
        if tighter {
            self.high = Some((value, closed));
        }
    }

    fn admits(&self, point: &ScalarValue) -> bool {
        let above = self.low.as_ref().is_none_or(|(low, closed)| match point.partial_cmp(low) {
            Some(Ordering::Equal) => *closed,
            order => order == Some(Ordering::Greater),
        });
        let below = self.high.as_ref().is_none_or(|(high, closed)| match point.partial_cmp(high) {
            Some(Ordering::Equal) => *closed,
            order => order == Some(Ordering::Less),
        });
        above && below
    }
}

impl Value {
    fn now(&self) -> Result<ScalarValue> {
        match self {
            Value::Known(value) => Ok(value.clone()),
            Value::Computed(expr) => constant(expr),
        }
    }
}

/// What a value is for a column of perhaps a narrower integer type.
enum Narrowed {
    /// The same value, in the column's type.
    Value(ScalarValue),
    /// The column's values are all above it.
    BelowAll,
    /// They are all below it.
    AboveAll,
}

impl Narrowed {
    fn of(value: ScalarValue, ty: PgType) -> Narrowed {
        let wide = match value {
            ScalarValue::Int32(wide) => wide.map(i64::from),
            ScalarValue::Int64(wide) => wide,
            value => return Narrowed::Value(value),
        };
        let out = |wide: i64| if wide < 0 { Narrowed::BelowAll } else { Narrowed::AboveAll };
        match (ty.ty, wide) {
            (SqlType::Int2, None) => Narrowed::Value(ScalarValue::Int16(None)),
            (SqlType::Int2, Some(wide)) => {
                i16::try_from(wide).map_or_else(|_| out(wide), |value| Narrowed::Value(ScalarValue::from(value)))
            }
            (SqlType::Int4, None) => Narrowed::Value(ScalarValue::Int32(None)),
            (SqlType::Int4, Some(wide)) => {
                i32::try_from(wide).map_or_else(|_| out(wide), |value| Narrowed::Value(ScalarValue::from(value)))
            }
            _ => Narrowed::Value(value),
        }
    }
}

/// The value of an expression without columns.
///
/// # Errors
/// The expression's.
pub(super) fn constant(expr: &Expr) -> Result<ScalarValue> {
    if let Expr::Literal(value, _) = expr {
        return Ok(value.clone());
    }
    let schema = DFSchema::empty();
    let physical = create_physical_expr(expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
        .map_err(engine_error)?;
    let row = super::provider::batch(Arc::new(Schema::empty()), Vec::new(), 1)?;
    match physical.evaluate(&row).map_err(engine_error)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).map_err(engine_error),
    }
}

fn bound(bound: Option<(ScalarValue, bool)>, ty: PgType) -> Result<Bound<Datum>> {
    Ok(match bound {
        None => Bound::Unbounded,
        Some((value, true)) => Bound::Included(datum(&value, ty)?),
        Some((value, false)) => Bound::Excluded(datum(&value, ty)?),
    })
}

/// The datum of one of the engine's scalars.
///
/// # Errors
/// XX000 for a scalar that is not of the type.
pub(super) fn datum(value: &ScalarValue, ty: PgType) -> Result<Datum> {
    let array = value.to_array().map_err(engine_error)?;
    if array.data_type() != &ty.ty.arrow() && !value.is_null() {
        return Err(SqlError::internal(format!("a {} stands where {ty} is expected", array.data_type())));
    }
    Ok(types::datum_at(array.as_ref(), 0, ty))
}
