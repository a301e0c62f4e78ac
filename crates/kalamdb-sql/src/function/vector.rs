//! vector: distances, arithmetic, casts, sums and averages, as the extension pgvector has them.
//!
//! Distances go over whole columns. Each is gathered in several sums of single precision, so that the processor adds
//! many elements at once; a constant vector is read where it stands and never repeated for the rows.

use super::aggregate::folded;
use super::aggregate::vectors::{Mean, Total};
use super::rows::{self, f, fail, k, x};
use super::{Call, Cast, CastContext, CastMethod, Function, Kind, Operator, Work};
use crate::bind::bound::CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
use crate::types;
use crate::types::vector::{check_dimensions, check_element, fit};
use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, BinaryArray, Float64Array};
use kalamdb_commons::vector::{dimensions, elements, of};
use kalamdb_commons::{Datum, Result, SqlError, SqlState, SqlType};
use std::sync::Arc;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(9610 constants_once "l2_distance" (Vector, Vector) -> Float8 = |args, call| distances(args, call, |a, b| f64::from(squares(a, b)).sqrt())),
    x!(9611 constants_once "inner_product" (Vector, Vector) -> Float8 = |args, call| distances(args, call, |a, b| f64::from(product(a, b)))),
    x!(9612 constants_once "cosine_distance" (Vector, Vector) -> Float8 = |args, call| distances(args, call, cosine)),
    x!(9613 constants_once "l1_distance" (Vector, Vector) -> Float8 = |args, call| distances(args, call, |a, b| f64::from(absolutes(a, b)))),
    x!(9614 constants_once "vector_negative_inner_product" (Vector, Vector) -> Float8 = |args, call| distances(args, call, |a, b| -f64::from(product(a, b)))),
    x!(9615 constants_once "vector_l2_squared_distance" (Vector, Vector) -> Float8 = |args, call| distances(args, call, |a, b| f64::from(squares(a, b)))),
    x!(9616 constants_once "vector_spherical_distance" (Vector, Vector) -> Float8 = |args, call| distances(args, call, |a, b| f64::from(product(a, b)).clamp(-1.0, 1.0).acos() / std::f64::consts::PI)),
    f!(9617 "vector_dims" (a: Vector) -> Int4 { Ok(dimensions(a) as i32) }),
    f!(9618 "vector_norm" (a: Vector) -> Float8 { Ok(norm(a)) }),
    f!(9619 "l2_normalize" (a: Vector) -> Vector { normalized(a) }),
    f!(9620 "subvector" (a: Vector, from: Int4, count: Int4) -> Vector { part(a, from, count) }),
    f!(9621 "vector_add" (a: Vector, b: Vector) -> Vector { elementwise(a, b, |a, b| bounded(a + b)) }),
    f!(9622 "vector_sub" (a: Vector, b: Vector) -> Vector { elementwise(a, b, |a, b| bounded(a - b)) }),
    f!(9623 "vector_mul" (a: Vector, b: Vector) -> Vector { elementwise(a, b, |a, b| bounded(a * b).and_then(|product| super::arithmetic::not_vanished(product, a == 0.0 || b == 0.0))) }),
    f!(9624 "vector_concat" (a: Vector, b: Vector) -> Vector { check_dimensions(dimensions(a) + dimensions(b))?; Ok([a, b].concat()) }),
    f!(9625 "vector_lt" (a: Vector, b: Vector) -> Bool { Ok(order(a, b).is_lt()) }),
    f!(9626 "vector_le" (a: Vector, b: Vector) -> Bool { Ok(order(a, b).is_le()) }),
    f!(9627 "vector_eq" (a: Vector, b: Vector) -> Bool { Ok(order(a, b).is_eq()) }),
    f!(9628 "vector_ne" (a: Vector, b: Vector) -> Bool { Ok(order(a, b).is_ne()) }),
    f!(9629 "vector_ge" (a: Vector, b: Vector) -> Bool { Ok(order(a, b).is_ge()) }),
    f!(9630 "vector_gt" (a: Vector, b: Vector) -> Bool { Ok(order(a, b).is_gt()) }),
    f!(9631 "vector_cmp" (a: Vector, b: Vector) -> Int4 { Ok(order(a, b) as i32) }),
    k!(9632 lax "sum" (Vector) -> Vector = Kind::Aggregate(|types| folded::<Total>("sum", types))),
    k!(9633 lax "avg" (Vector) -> Vector = Kind::Aggregate(|types| folded::<Mean>("avg", types))),

    f!(9640 "vector" (a: Vector, n: Int4, _explicit: Bool) -> Vector { fit(a, n).map(|()| a) }),
    f!(call; 9641 "kalam_fit" (a: Vector) -> Vector { fit(a, call.returns.typmod).map(|()| a) }),
    x!(9642 "array_to_vector" (Int4Array, Int4, Bool) -> Vector = of_arrays),
    x!(9643 "array_to_vector" (Float4Array, Int4, Bool) -> Vector = of_arrays),
    x!(9644 "array_to_vector" (Float8Array, Int4, Bool) -> Vector = of_arrays),
    x!(9645 "array_to_vector" (NumericArray, Int4, Bool) -> Vector = of_arrays),
    x!(9646 "vector_to_float4" (Vector, Int4, Bool) -> Float4Array = to_arrays),
];

const fn o(oid: u32, name: &'static str, returns: SqlType, work: Work) -> Operator {
    Operator { oid, name, left: Some(SqlType::Vector), right: SqlType::Vector, returns, work }
}

#[rustfmt::skip]
pub(super) static OPERATORS: &[Operator] = {
    use SqlType::{Bool, Float8, Vector};
    use Work::{CompareKeys, Function};
    &[
        o(9650, "<->", Float8, Function(9610)), o(9651, "<#>", Float8, Function(9614)),
        o(9652, "<=>", Float8, Function(9612)), o(9653, "<+>", Float8, Function(9613)),
        o(9654, "+", Vector, Function(9621)), o(9655, "-", Vector, Function(9622)), o(9656, "*", Vector, Function(9623)),
        o(9657, "||", Vector, Function(9624)),
        o(9658, "<", Bool, CompareKeys(Lt)), o(9659, "<=", Bool, CompareKeys(Le)), o(9660, "=", Bool, CompareKeys(Eq)),
        o(9661, "<>", Bool, CompareKeys(Ne)), o(9662, ">=", Bool, CompareKeys(Ge)), o(9663, ">", Bool, CompareKeys(Gt)),
    ]
};

const fn c(source: SqlType, target: SqlType, context: CastContext, function: u32) -> Cast {
    Cast { source, target, context, method: CastMethod::Function(function) }
}

pub(super) static CASTS: &[Cast] = {
    use CastContext::{Assignment, Implicit};
    use SqlType::{Float4Array, Float8Array, Int4Array, NumericArray, Vector};
    &[
        c(Vector, Vector, Implicit, 9640),
        c(Vector, Float4Array, Implicit, 9646),
        c(Int4Array, Vector, Assignment, 9642),
        c(Float4Array, Vector, Assignment, 9643),
        c(Float8Array, Vector, Assignment, 9644),
        c(NumericArray, Vector, Assignment, 9645),
    ]
};

fn order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    kalamdb_commons::vector::key(a).cmp(&kalamdb_commons::vector::key(b))
}

/// 22000: the operands have unlike dimensions.
pub(super) fn check_same(a: &[u8], b: &[u8]) -> Result<()> {
    if a.len() == b.len() {
        return Ok(());
    }
    let message = format!("different vector dimensions {} and {}", dimensions(a), dimensions(b));
    fail(SqlState::DATA_EXCEPTION, message)
}

/// How many sums are kept side by side.
const LANES: usize = 16;

/// The sum of a term for each pair of elements.
#[inline(always)]
fn sum(a: &[u8], b: &[u8], term: impl Fn(f32, f32) -> f32) -> f32 {
    let at = |bytes: &[u8], place: usize| {
        f32::from_le_bytes([bytes[4 * place], bytes[4 * place + 1], bytes[4 * place + 2], bytes[4 * place + 3]])
    };
    let (runs_a, runs_b) = (a.chunks_exact(4 * LANES), b.chunks_exact(4 * LANES));
    let rest: f32 = elements(runs_a.remainder()).zip(elements(runs_b.remainder())).map(|(a, b)| term(a, b)).sum();
    let mut lanes = [0_f32; LANES];
    for (a, b) in runs_a.zip(runs_b) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(at(a, lane), at(b, lane));
        }
    }
    lanes.iter().sum::<f32>() + rest
}

fn squares(a: &[u8], b: &[u8]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

fn product(a: &[u8], b: &[u8]) -> f32 {
    sum(a, b, |a, b| a * b)
}

fn absolutes(a: &[u8], b: &[u8]) -> f32 {
    sum(a, b, |a, b| (a - b).abs())
}

fn cosine(a: &[u8], b: &[u8]) -> f64 {
    let similarity = f64::from(product(a, b)) / (f64::from(product(a, a)) * f64::from(product(b, b))).sqrt();
    // Not a number for a vector of zeros.
    1.0 - similarity.clamp(-1.0, 1.0)
}

/// A distance for each row; an argument of one row is the same for all.
fn distances(args: &[ArrayRef], call: &Call<'_>, distance: impl Fn(&[u8], &[u8]) -> f64) -> Result<ArrayRef> {
    let [a, b] = rows::arity(args)?;
    let (a, b): (&BinaryArray, &BinaryArray) = (rows::typed(a)?, rows::typed(b)?);
    let at = |array: &BinaryArray, row: usize| if array.len() == 1 { 0 } else { row };
    let mut found = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (a, b) = (a.value(at(a, row)), b.value(at(b, row)));
        check_same(a, b)?;
        found.push(distance(a, b));
    }
    Ok(Arc::new(Float64Array::from(found)))
}

fn norm(a: &[u8]) -> f64 {
    elements(a).map(|element| f64::from(element) * f64::from(element)).sum::<f64>().sqrt()
}

/// 22003 for what became infinite.
fn bounded(value: f32) -> Result<f32> {
    super::arithmetic::finite(value, false)
}

fn normalized(a: &[u8]) -> Result<Vec<u8>> {
    let norm = norm(a);
    if norm == 0.0 {
        return Ok(a.to_vec());
    }
    let divided = elements(a).map(|element| bounded((f64::from(element) / norm) as f32));
    Ok(of(divided.collect::<Result<Vec<_>>>()?))
}

fn part(a: &[u8], from: i32, count: i32) -> Result<Vec<u8>> {
    let (all, from) = (dimensions(a) as i64, i64::from(from));
    check_dimensions(usize::try_from(count).unwrap_or(0))?;
    // Places count from 1.
    let end = (from + i64::from(count)).min(all + 1);
    let from = from.max(1);
    let (first, behind) = (usize::try_from(from - 1).unwrap_or(0), usize::try_from(end - 1).unwrap_or(0));
    check_dimensions(behind.saturating_sub(first))?;
    Ok(a[4 * first..4 * behind].to_vec())
}

fn elementwise(a: &[u8], b: &[u8], act: impl Fn(f32, f32) -> Result<f32>) -> Result<Vec<u8>> {
    check_same(a, b)?;
    let made = elements(a).zip(elements(b)).map(|(a, b)| act(a, b));
    Ok(of(made.collect::<Result<Vec<_>>>()?))
}

/// Arrays of numbers as vectors.
fn of_arrays(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let [arrays, typmods, _] = rows::arity(args)?;
    let typmods: &arrow_array::Int32Array = rows::typed(typmods)?;
    let mut out = BinaryBuilder::with_capacity(call.rows, call.rows * 64);
    for row in 0..call.rows {
        let Datum::Array(array) = types::datum_at(arrays.as_ref(), row, call.arg_types[0]) else {
            return Err(SqlError::internal("an array is expected"));
        };
        if array.shape.as_ref().is_some_and(|shape| shape.dimensions().len() > 1) {
            return fail(SqlState::DATA_EXCEPTION, "array must be 1-D");
        }
        if array.items.iter().any(Datum::is_null) {
            return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "array must not contain nulls");
        }
        check_dimensions(array.items.len())?;
        let made = of(array.items.iter().map(element).collect::<Result<Vec<_>>>()?);
        fit(&made, typmods.value(row))?;
        out.append_value(made);
    }
    Ok(Arc::new(out.finish()))
}

fn element(item: &Datum) -> Result<f32> {
    check_element(match item {
        Datum::Int4(value) => *value as f32,
        Datum::Float4(value) => *value,
        Datum::Float8(value) => *value as f32,
        Datum::Numeric(value) => value.to_f32()?,
        _ => return Err(SqlError::internal("a number is expected")),
    })
}

fn to_arrays(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    rows::by_datum(args, call, |args| match args.first() {
        Some(Datum::Bytes(bytes)) => {
            let items = elements(bytes).map(Datum::Float4).collect();
            Ok(kalamdb_commons::ArrayDatum::usual(SqlType::Float4, items).into())
        }
        _ => Err(SqlError::internal("a vector is expected")),
    })
}
