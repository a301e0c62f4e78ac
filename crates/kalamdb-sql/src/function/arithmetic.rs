//! Operators of numbers (PostgreSQL manual 9.3): they fail on overflow where the processor would wrap around.

use super::Function;
use super::rows::{self, division_by_zero, f, fail, range, x};
use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, BinaryArray};
use kalamdb_commons::numeric::arithmetic::{Op, calculate};
use kalamdb_commons::{Result, SqlState};
use num_traits::{CheckedDiv, Float, PrimInt};
use std::sync::Arc;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(176 "int2pl" (a: Int2, b: Int2) -> Int2 { a.checked_add(b).ok_or_else(|| range("smallint")) }),
    f!(180 "int2mi" (a: Int2, b: Int2) -> Int2 { a.checked_sub(b).ok_or_else(|| range("smallint")) }),
    f!(152 "int2mul" (a: Int2, b: Int2) -> Int2 { a.checked_mul(b).ok_or_else(|| range("smallint")) }),
    f!(153 "int2div" (a: Int2, b: Int2) -> Int2 { quotient(a, b, "smallint") }),
    f!(178 "int24pl" (a: Int2, b: Int4) -> Int4 { i32::from(a).checked_add(b).ok_or_else(|| range("integer")) }),
    f!(182 "int24mi" (a: Int2, b: Int4) -> Int4 { i32::from(a).checked_sub(b).ok_or_else(|| range("integer")) }),
    f!(170 "int24mul" (a: Int2, b: Int4) -> Int4 { i32::from(a).checked_mul(b).ok_or_else(|| range("integer")) }),
    f!(172 "int24div" (a: Int2, b: Int4) -> Int4 { quotient(i32::from(a), b, "integer") }),
    f!(841 "int28pl" (a: Int2, b: Int8) -> Int8 { i64::from(a).checked_add(b).ok_or_else(|| range("bigint")) }),
    f!(942 "int28mi" (a: Int2, b: Int8) -> Int8 { i64::from(a).checked_sub(b).ok_or_else(|| range("bigint")) }),
    f!(943 "int28mul" (a: Int2, b: Int8) -> Int8 { i64::from(a).checked_mul(b).ok_or_else(|| range("bigint")) }),
    f!(948 "int28div" (a: Int2, b: Int8) -> Int8 { quotient(i64::from(a), b, "bigint") }),
    f!(179 "int42pl" (a: Int4, b: Int2) -> Int4 { a.checked_add(i32::from(b)).ok_or_else(|| range("integer")) }),
    f!(183 "int42mi" (a: Int4, b: Int2) -> Int4 { a.checked_sub(i32::from(b)).ok_or_else(|| range("integer")) }),
    f!(171 "int42mul" (a: Int4, b: Int2) -> Int4 { a.checked_mul(i32::from(b)).ok_or_else(|| range("integer")) }),
    f!(173 "int42div" (a: Int4, b: Int2) -> Int4 { quotient(a, i32::from(b), "integer") }),
    f!(177 "int4pl" (a: Int4, b: Int4) -> Int4 { a.checked_add(b).ok_or_else(|| range("integer")) }),
    f!(181 "int4mi" (a: Int4, b: Int4) -> Int4 { a.checked_sub(b).ok_or_else(|| range("integer")) }),
    f!(141 "int4mul" (a: Int4, b: Int4) -> Int4 { a.checked_mul(b).ok_or_else(|| range("integer")) }),
    f!(154 "int4div" (a: Int4, b: Int4) -> Int4 { quotient(a, b, "integer") }),
    f!(1278 "int48pl" (a: Int4, b: Int8) -> Int8 { i64::from(a).checked_add(b).ok_or_else(|| range("bigint")) }),
    f!(1279 "int48mi" (a: Int4, b: Int8) -> Int8 { i64::from(a).checked_sub(b).ok_or_else(|| range("bigint")) }),
    f!(1280 "int48mul" (a: Int4, b: Int8) -> Int8 { i64::from(a).checked_mul(b).ok_or_else(|| range("bigint")) }),
    f!(1281 "int48div" (a: Int4, b: Int8) -> Int8 { quotient(i64::from(a), b, "bigint") }),
    f!(837 "int82pl" (a: Int8, b: Int2) -> Int8 { a.checked_add(i64::from(b)).ok_or_else(|| range("bigint")) }),
    f!(838 "int82mi" (a: Int8, b: Int2) -> Int8 { a.checked_sub(i64::from(b)).ok_or_else(|| range("bigint")) }),
    f!(839 "int82mul" (a: Int8, b: Int2) -> Int8 { a.checked_mul(i64::from(b)).ok_or_else(|| range("bigint")) }),
    f!(840 "int82div" (a: Int8, b: Int2) -> Int8 { quotient(a, i64::from(b), "bigint") }),
    f!(1274 "int84pl" (a: Int8, b: Int4) -> Int8 { a.checked_add(i64::from(b)).ok_or_else(|| range("bigint")) }),
    f!(1275 "int84mi" (a: Int8, b: Int4) -> Int8 { a.checked_sub(i64::from(b)).ok_or_else(|| range("bigint")) }),
    f!(1276 "int84mul" (a: Int8, b: Int4) -> Int8 { a.checked_mul(i64::from(b)).ok_or_else(|| range("bigint")) }),
    f!(1277 "int84div" (a: Int8, b: Int4) -> Int8 { quotient(a, i64::from(b), "bigint") }),
    f!(463 "int8pl" (a: Int8, b: Int8) -> Int8 { a.checked_add(b).ok_or_else(|| range("bigint")) }),
    f!(464 "int8mi" (a: Int8, b: Int8) -> Int8 { a.checked_sub(b).ok_or_else(|| range("bigint")) }),
    f!(465 "int8mul" (a: Int8, b: Int8) -> Int8 { a.checked_mul(b).ok_or_else(|| range("bigint")) }),
    f!(466 "int8div" (a: Int8, b: Int8) -> Int8 { quotient(a, b, "bigint") }),
    f!(155 "int2mod" (a: Int2, b: Int2) -> Int2 { remainder(a, b) }),
    f!(940 "mod" (a: Int2, b: Int2) -> Int2 { remainder(a, b) }),
    f!(213 "int2um" (a: Int2) -> Int2 { a.checked_neg().ok_or_else(|| range("smallint")) }),
    f!(1911 "int2up" (a: Int2) -> Int2 { Ok(a) }),
    f!(1253 "int2abs" (a: Int2) -> Int2 { a.checked_abs().ok_or_else(|| range("smallint")) }),
    f!(1398 "abs" (a: Int2) -> Int2 { a.checked_abs().ok_or_else(|| range("smallint")) }),
    f!(1892 "int2and" (a: Int2, b: Int2) -> Int2 { Ok(a & b) }),
    f!(1893 "int2or" (a: Int2, b: Int2) -> Int2 { Ok(a | b) }),
    f!(1894 "int2xor" (a: Int2, b: Int2) -> Int2 { Ok(a ^ b) }),
    f!(1895 "int2not" (a: Int2) -> Int2 { Ok(!a) }),
    f!(1896 "int2shl" (a: Int2, b: Int4) -> Int2 { Ok(i32::from(a).wrapping_shl(b as u32) as i16) }),
    f!(1897 "int2shr" (a: Int2, b: Int4) -> Int2 { Ok(i32::from(a).wrapping_shr(b as u32) as i16) }),
    f!(770 "int2larger" (a: Int2, b: Int2) -> Int2 { Ok(a.max(b)) }),
    f!(771 "int2smaller" (a: Int2, b: Int2) -> Int2 { Ok(a.min(b)) }),
    f!(156 "int4mod" (a: Int4, b: Int4) -> Int4 { remainder(a, b) }),
    f!(941 "mod" (a: Int4, b: Int4) -> Int4 { remainder(a, b) }),
    f!(212 "int4um" (a: Int4) -> Int4 { a.checked_neg().ok_or_else(|| range("integer")) }),
    f!(1912 "int4up" (a: Int4) -> Int4 { Ok(a) }),
    f!(1251 "int4abs" (a: Int4) -> Int4 { a.checked_abs().ok_or_else(|| range("integer")) }),
    f!(1397 "abs" (a: Int4) -> Int4 { a.checked_abs().ok_or_else(|| range("integer")) }),
    f!(1898 "int4and" (a: Int4, b: Int4) -> Int4 { Ok(a & b) }),
    f!(1899 "int4or" (a: Int4, b: Int4) -> Int4 { Ok(a | b) }),
    f!(1900 "int4xor" (a: Int4, b: Int4) -> Int4 { Ok(a ^ b) }),
    f!(1901 "int4not" (a: Int4) -> Int4 { Ok(!a) }),
    f!(1902 "int4shl" (a: Int4, b: Int4) -> Int4 { Ok(a.wrapping_shl(b as u32)) }),
    f!(1903 "int4shr" (a: Int4, b: Int4) -> Int4 { Ok(a.wrapping_shr(b as u32)) }),
    f!(768 "int4larger" (a: Int4, b: Int4) -> Int4 { Ok(a.max(b)) }),
    f!(769 "int4smaller" (a: Int4, b: Int4) -> Int4 { Ok(a.min(b)) }),
    f!(945 "int8mod" (a: Int8, b: Int8) -> Int8 { remainder(a, b) }),
    f!(947 "mod" (a: Int8, b: Int8) -> Int8 { remainder(a, b) }),
    f!(462 "int8um" (a: Int8) -> Int8 { a.checked_neg().ok_or_else(|| range("bigint")) }),
    f!(1910 "int8up" (a: Int8) -> Int8 { Ok(a) }),
    f!(1230 "int8abs" (a: Int8) -> Int8 { a.checked_abs().ok_or_else(|| range("bigint")) }),
    f!(1396 "abs" (a: Int8) -> Int8 { a.checked_abs().ok_or_else(|| range("bigint")) }),
    f!(1904 "int8and" (a: Int8, b: Int8) -> Int8 { Ok(a & b) }),
    f!(1905 "int8or" (a: Int8, b: Int8) -> Int8 { Ok(a | b) }),
    f!(1906 "int8xor" (a: Int8, b: Int8) -> Int8 { Ok(a ^ b) }),
    f!(1907 "int8not" (a: Int8) -> Int8 { Ok(!a) }),
    f!(1908 "int8shl" (a: Int8, b: Int4) -> Int8 { Ok(a.wrapping_shl(b as u32)) }),
    f!(1909 "int8shr" (a: Int8, b: Int4) -> Int8 { Ok(a.wrapping_shr(b as u32)) }),
    f!(1236 "int8larger" (a: Int8, b: Int8) -> Int8 { Ok(a.max(b)) }),
    f!(1237 "int8smaller" (a: Int8, b: Int8) -> Int8 { Ok(a.min(b)) }),
    f!(204 "float4pl" (a: Float4, b: Float4) -> Float4 { finite(a + b, a.is_infinite() || b.is_infinite()) }),
    f!(205 "float4mi" (a: Float4, b: Float4) -> Float4 { finite(a - b, a.is_infinite() || b.is_infinite()) }),
    f!(202 "float4mul" (a: Float4, b: Float4) -> Float4 { product(a, b) }),
    f!(203 "float4div" (a: Float4, b: Float4) -> Float4 { ratio(a, b) }),
    f!(281 "float48pl" (a: Float4, b: Float8) -> Float8 { finite(f64::from(a) + b, a.is_infinite() || b.is_infinite()) }),
    f!(282 "float48mi" (a: Float4, b: Float8) -> Float8 { finite(f64::from(a) - b, a.is_infinite() || b.is_infinite()) }),
    f!(279 "float48mul" (a: Float4, b: Float8) -> Float8 { product(f64::from(a), b) }),
    f!(280 "float48div" (a: Float4, b: Float8) -> Float8 { ratio(f64::from(a), b) }),
    f!(285 "float84pl" (a: Float8, b: Float4) -> Float8 { finite(a + f64::from(b), a.is_infinite() || b.is_infinite()) }),
    f!(286 "float84mi" (a: Float8, b: Float4) -> Float8 { finite(a - f64::from(b), a.is_infinite() || b.is_infinite()) }),
    f!(283 "float84mul" (a: Float8, b: Float4) -> Float8 { product(a, f64::from(b)) }),
    f!(284 "float84div" (a: Float8, b: Float4) -> Float8 { ratio(a, f64::from(b)) }),
    f!(218 "float8pl" (a: Float8, b: Float8) -> Float8 { finite(a + b, a.is_infinite() || b.is_infinite()) }),
    f!(219 "float8mi" (a: Float8, b: Float8) -> Float8 { finite(a - b, a.is_infinite() || b.is_infinite()) }),
    f!(216 "float8mul" (a: Float8, b: Float8) -> Float8 { product(a, b) }),
    f!(217 "float8div" (a: Float8, b: Float8) -> Float8 { ratio(a, b) }),
    f!(206 "float4um" (a: Float4) -> Float4 { Ok(-a) }),
    f!(1913 "float4up" (a: Float4) -> Float4 { Ok(a) }),
    f!(207 "float4abs" (a: Float4) -> Float4 { Ok(a.abs()) }),
    f!(1394 "abs" (a: Float4) -> Float4 { Ok(a.abs()) }),
    f!(220 "float8um" (a: Float8) -> Float8 { Ok(-a) }),
    f!(1914 "float8up" (a: Float8) -> Float8 { Ok(a) }),
    f!(221 "float8abs" (a: Float8) -> Float8 { Ok(a.abs()) }),
    f!(1395 "abs" (a: Float8) -> Float8 { Ok(a.abs()) }),
    x!(1724 "numeric_add" (Numeric, Numeric) -> Numeric = |args, _| numeric(Op::Add, args)),
    x!(1725 "numeric_sub" (Numeric, Numeric) -> Numeric = |args, _| numeric(Op::Sub, args)),
    x!(1726 "numeric_mul" (Numeric, Numeric) -> Numeric = |args, _| numeric(Op::Mul, args)),
    x!(1727 "numeric_div" (Numeric, Numeric) -> Numeric = |args, _| numeric(Op::Div, args)),
    x!(1729 "numeric_mod" (Numeric, Numeric) -> Numeric = |args, _| numeric(Op::Rem, args)),
    x!(1728 "mod" (Numeric, Numeric) -> Numeric = |args, _| numeric(Op::Rem, args)),
    f!(1771 "numeric_uminus" (a: Numeric) -> Numeric { Ok(a.negate()) }),
    f!(1915 "numeric_uplus" (a: Numeric) -> Numeric { Ok(a) }),
    f!(1704 "numeric_abs" (a: Numeric) -> Numeric { Ok(a.abs()) }),
    f!(1705 "abs" (a: Numeric) -> Numeric { Ok(a.abs()) }),
    f!(1980 "numeric_div_trunc" (a: Numeric, b: Numeric) -> Numeric { a.div_trunc(&b) }),
    f!(1973 "div" (a: Numeric, b: Numeric) -> Numeric { a.div_trunc(&b) }),
];

fn quotient<T: PrimInt + CheckedDiv>(a: T, b: T, type_name: &str) -> Result<T> {
    if b.is_zero() {
        return Err(division_by_zero());
    }
    // The smallest number divided by -1.
    a.checked_div(&b).ok_or_else(|| range(type_name))
}

fn remainder<T: PrimInt>(a: T, b: T) -> Result<T> {
    if b.is_zero() {
        return Err(division_by_zero());
    }
    // By -1 everything can be divided; the processor's instruction would trap for the smallest number.
    Ok(if b == T::zero() - T::one() { T::zero() } else { a % b })
}

/// A result that may be infinite only if an operand was.
pub(super) fn finite<T: Float>(value: T, was_infinite: bool) -> Result<T> {
    if value.is_infinite() && !was_infinite {
        return fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow");
    }
    Ok(value)
}

/// A result that may be zero only if that is exact.
pub(super) fn not_vanished<T: Float>(value: T, may_be_zero: bool) -> Result<T> {
    if value.is_zero() && !may_be_zero {
        return fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow");
    }
    Ok(value)
}

fn product<T: Float>(a: T, b: T) -> Result<T> {
    let value = finite(a * b, a.is_infinite() || b.is_infinite())?;
    not_vanished(value, a.is_zero() || b.is_zero())
}

fn ratio<T: Float>(a: T, b: T) -> Result<T> {
    if b.is_zero() && !a.is_nan() {
        return Err(division_by_zero());
    }
    let value = finite(a / b, a.is_infinite())?;
    not_vanished(value, a.is_zero() || b.is_infinite())
}

/// Calculates on the byte forms.
fn numeric(op: Op, args: &[ArrayRef]) -> Result<ArrayRef> {
    let [left, right] = rows::arity(args)?;
    let (left, right): (&BinaryArray, &BinaryArray) = (rows::typed(left)?, rows::typed(right)?);
    let mut out = BinaryBuilder::with_capacity(left.len(), left.len() * 8);
    let mut bytes = Vec::new();
    for row in 0..left.len() {
        bytes.clear();
        calculate(op, left.value(row), right.value(row), &mut bytes)?;
        out.append_value(&bytes);
    }
    Ok(Arc::new(out.finish()))
}
