//! Mathematical functions (PostgreSQL manual 9.3). Those of numerics that need series are in
//! [`super::transcendental`].

use super::Function;
use super::arithmetic::{finite, not_vanished};
use super::rows::{f, fail, range};
use super::transcendental as series;
use kalamdb_commons::numeric::arithmetic::Op;
use kalamdb_commons::{Numeric, Result, SqlError, SqlState};
use rand::RngExt as _;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(1342 "round" (a: Float8) -> Float8 { Ok(a.round_ties_even()) }),
    f!(228 "dround" (a: Float8) -> Float8 { Ok(a.round_ties_even()) }),
    f!(1708 "round" (a: Numeric) -> Numeric { Ok(a.round(0)) }),
    f!(1707 "round" (a: Numeric, places: Int4) -> Numeric { Ok(a.round(places)) }),
    f!(2308 "ceil" (a: Float8) -> Float8 { Ok(a.ceil()) }),
    f!(2320 "ceiling" (a: Float8) -> Float8 { Ok(a.ceil()) }),
    f!(1711 "ceil" (a: Numeric) -> Numeric { Ok(a.ceil()) }),
    f!(2167 "ceiling" (a: Numeric) -> Numeric { Ok(a.ceil()) }),
    f!(2309 "floor" (a: Float8) -> Float8 { Ok(a.floor()) }),
    f!(1712 "floor" (a: Numeric) -> Numeric { Ok(a.floor()) }),
    f!(1343 "trunc" (a: Float8) -> Float8 { Ok(a.trunc()) }),
    f!(1710 "trunc" (a: Numeric) -> Numeric { Ok(a.trunc(0)) }),
    f!(1709 "trunc" (a: Numeric, places: Int4) -> Numeric { Ok(a.trunc(places)) }),
    f!(2310 "sign" (a: Float8) -> Float8 { Ok(if a > 0.0 { 1.0 } else if a < 0.0 { -1.0 } else { 0.0 }) }),
    f!(1706 "sign" (a: Numeric) -> Numeric { Ok(if a == Numeric::NaN { a } else { Numeric::from(i64::from(a.sign())) }) }),
    f!(1344 "sqrt" (a: Float8) -> Float8 { square_root(a) }),
    f!(230 "dsqrt" (a: Float8) -> Float8 { square_root(a) }),
    f!(1730 "sqrt" (a: Numeric) -> Numeric { series::sqrt(&a) }),
    f!(1345 "cbrt" (a: Float8) -> Float8 { Ok(a.cbrt()) }),
    f!(231 "dcbrt" (a: Float8) -> Float8 { Ok(a.cbrt()) }),
    f!(1347 "exp" (a: Float8) -> Float8 { exponential(a) }),
    f!(1732 "exp" (a: Numeric) -> Numeric { series::exp(&a) }),
    f!(1341 "ln" (a: Float8) -> Float8 { logarithm(a, f64::ln) }),
    f!(1734 "ln" (a: Numeric) -> Numeric { series::ln(&a) }),
    f!(1340 "log" (a: Float8) -> Float8 { logarithm(a, f64::log10) }),
    f!(1194 "log10" (a: Float8) -> Float8 { logarithm(a, f64::log10) }),
    f!(1741 "log" (a: Numeric) -> Numeric { series::log(&Numeric::from(10_i64), &a) }),
    f!(1481 "log10" (a: Numeric) -> Numeric { series::log(&Numeric::from(10_i64), &a) }),
    f!(1736 "log" (base: Numeric, a: Numeric) -> Numeric { series::log(&base, &a) }),
    f!(1368 "power" (a: Float8, b: Float8) -> Float8 { power(a, b) }),
    f!(1346 "pow" (a: Float8, b: Float8) -> Float8 { power(a, b) }),
    f!(232 "dpow" (a: Float8, b: Float8) -> Float8 { power(a, b) }),
    f!(2169 "power" (a: Numeric, b: Numeric) -> Numeric { series::power(&a, &b) }),
    f!(1738 "pow" (a: Numeric, b: Numeric) -> Numeric { series::power(&a, &b) }),
    f!(1739 "numeric_power" (a: Numeric, b: Numeric) -> Numeric { series::power(&a, &b) }),
    f!(5044 "gcd" (a: Int4, b: Int4) -> Int4 { gcd::<i32>(i64::from(a), i64::from(b), "integer") }),
    f!(5045 "gcd" (a: Int8, b: Int8) -> Int8 { gcd::<i64>(a, b, "bigint") }),
    f!(5046 "lcm" (a: Int4, b: Int4) -> Int4 { lcm::<i32>(i64::from(a), i64::from(b), "integer") }),
    f!(5047 "lcm" (a: Int8, b: Int8) -> Int8 { lcm::<i64>(a, b, "bigint") }),
    f!(1376 "factorial" (n: Int8) -> Numeric { series::factorial(n) }),
    f!(3281 "scale" (a: Numeric) -> Int4 { Ok(a.is_finite().then(|| i32::from(a.scale()))) }),
    f!(5042 "min_scale" (a: Numeric) -> Int4 { Ok(a.is_finite().then(|| i32::from(shortest(&a)))) }),
    f!(5043 "trim_scale" (a: Numeric) -> Numeric { Ok(a.round(i32::from(shortest(&a)))) }),
    f!(320 "width_bucket" (a: Float8, low: Float8, high: Float8, count: Int4) -> Int4 { bucket(a, low, high, count) }),
    f!(2170 "width_bucket" (a: Numeric, low: Numeric, high: Numeric, count: Int4) -> Int4 { numeric_bucket(&a, &low, &high, count) }),
    f!(1610 "pi" () -> Float8 { Ok(std::f64::consts::PI) }),
    f!(1608 "degrees" (a: Float8) -> Float8 { finite(a / 1.0_f64.to_radians(), a.is_infinite()) }),
    f!(1609 "radians" (a: Float8) -> Float8 { not_vanished(a.to_radians(), a == 0.0) }),
    f!(1604 "sin" (a: Float8) -> Float8 { angle(a, f64::sin) }),
    f!(1605 "cos" (a: Float8) -> Float8 { angle(a, f64::cos) }),
    f!(1606 "tan" (a: Float8) -> Float8 { angle(a, f64::tan) }),
    f!(1607 "cot" (a: Float8) -> Float8 { angle(a, |a| 1.0 / a.tan()) }),
    f!(1600 "asin" (a: Float8) -> Float8 { within(a, f64::asin) }),
    f!(1601 "acos" (a: Float8) -> Float8 { within(a, f64::acos) }),
    f!(1602 "atan" (a: Float8) -> Float8 { Ok(a.atan()) }),
    f!(1603 "atan2" (a: Float8, b: Float8) -> Float8 { Ok(a.atan2(b)) }),
    f!(2462 "sinh" (a: Float8) -> Float8 { Ok(a.sinh()) }),
    f!(2463 "cosh" (a: Float8) -> Float8 { Ok(a.cosh()) }),
    f!(2464 "tanh" (a: Float8) -> Float8 { Ok(a.tanh()) }),
    f!(2465 "asinh" (a: Float8) -> Float8 { Ok(a.asinh()) }),
    f!(2466 "acosh" (a: Float8) -> Float8 { if a < 1.0 { out_of_domain() } else { Ok(a.acosh()) } }),
    f!(2467 "atanh" (a: Float8) -> Float8 { if a.abs() > 1.0 { out_of_domain() } else { Ok(a.atanh()) } }),
    f!(1598 volatile "random" () -> Float8 { Ok(rand::rng().random::<f64>()) }),
    f!(1599 volatile "setseed" (_seed: Float8) -> Void { Err(SqlError::unsupported("setseed")) }),
];

fn square_root(a: f64) -> Result<f64> {
    if a < 0.0 {
        let message = "cannot take square root of a negative number";
        return fail(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message);
    }
    Ok(a.sqrt())
}

fn exponential(a: f64) -> Result<f64> {
    let value = finite(a.exp(), a.is_infinite())?;
    not_vanished(value, a == f64::NEG_INFINITY)
}

fn logarithm(a: f64, function: fn(f64) -> f64) -> Result<f64> {
    if a == 0.0 {
        return fail(SqlState::INVALID_ARGUMENT_FOR_LOG, "cannot take logarithm of zero");
    }
    if a < 0.0 {
        return fail(SqlState::INVALID_ARGUMENT_FOR_LOG, "cannot take logarithm of a negative number");
    }
    Ok(function(a))
}

fn power(a: f64, b: f64) -> Result<f64> {
    if a == 0.0 && b < 0.0 {
        let message = "zero raised to a negative power is undefined";
        return fail(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message);
    }
    if a < 0.0 && b.is_finite() && b.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return fail(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message);
    }
    let value = finite(a.powf(b), a.is_infinite() || b.is_infinite())?;
    not_vanished(value, a == 0.0 || a.is_infinite() || b.is_infinite())
}

fn magnitude(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn gcd<T: TryFrom<i64>>(a: i64, b: i64, type_name: &str) -> Result<T> {
    let gcd = magnitude(a.unsigned_abs(), b.unsigned_abs());
    i64::try_from(gcd).ok().and_then(|gcd| T::try_from(gcd).ok()).ok_or_else(|| range(type_name))
}

fn lcm<T: TryFrom<i64>>(a: i64, b: i64, type_name: &str) -> Result<T> {
    let gcd = magnitude(a.unsigned_abs(), b.unsigned_abs());
    if gcd == 0 {
        return T::try_from(0).map_err(|_| range(type_name));
    }
    let lcm = (i128::from(a) / i128::from(gcd) * i128::from(b)).abs();
    i64::try_from(lcm).ok().and_then(|lcm| T::try_from(lcm).ok()).ok_or_else(|| range(type_name))
}

/// The smallest scale that loses nothing.
fn shortest(a: &Numeric) -> u16 {
    let (mantissa, scale) = a.parts();
    let digits = mantissa.magnitude().to_string();
    let zeros = if a.is_zero() { usize::from(scale) } else { digits.bytes().rev().take_while(|d| *d == b'0').count() };
    scale.saturating_sub(zeros as u16)
}

fn bad_bucket<T>(why: &str) -> Result<T> {
    fail(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, why)
}

fn bucket(a: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    if count <= 0 {
        return bad_bucket("count must be greater than zero");
    }
    if a.is_nan() || low.is_nan() || high.is_nan() {
        return bad_bucket("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return bad_bucket("lower and upper bounds must be finite");
    }
    if low == high {
        return bad_bucket("lower bound cannot equal upper bound");
    }
    // Bounds may be given the other way round.
    let (position, width) = if low < high { (a - low, high - low) } else { (low - a, low - high) };
    if position < 0.0 {
        return Ok(0);
    }
    if position >= width {
        return count.checked_add(1).ok_or_else(|| range("integer"));
    }
    Ok((f64::from(count) * (position / width)) as i32 + 1)
}

fn numeric_bucket(a: &Numeric, low: &Numeric, high: &Numeric, count: i32) -> Result<i32> {
    if count <= 0 {
        return bad_bucket("count must be greater than zero");
    }
    if [a, low, high].contains(&&Numeric::NaN) {
        return bad_bucket("operand, lower bound, and upper bound cannot be NaN");
    }
    if !low.is_finite() || !high.is_finite() {
        return bad_bucket("lower and upper bounds must be finite");
    }
    let (from, to, upward) = match low.compare(high) {
        std::cmp::Ordering::Equal => return bad_bucket("lower bound cannot equal upper bound"),
        std::cmp::Ordering::Less => (low, high, true),
        std::cmp::Ordering::Greater => (high, low, false),
    };
    let last = || count.checked_add(1).ok_or_else(|| range("integer"));
    if upward && a.compare(from).is_lt() || !upward && a.compare(from).is_le() {
        return if upward { Ok(0) } else { last() };
    }
    if upward && a.compare(to).is_ge() || !upward && a.compare(to).is_gt() {
        return if upward { last() } else { Ok(0) };
    }
    let position = if upward { a.apply(Op::Sub, low)? } else { low.apply(Op::Sub, a)? };
    let scaled = position.apply(Op::Mul, &Numeric::from(i64::from(count)))?;
    scaled.div_trunc(&to.apply(Op::Sub, from)?)?.to_i32().map(|place| place + 1)
}

fn out_of_domain<T>() -> Result<T> {
    fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

fn angle(a: f64, function: fn(f64) -> f64) -> Result<f64> {
    if a.is_infinite() { out_of_domain() } else { Ok(function(a)) }
}

fn within(a: f64, function: fn(f64) -> f64) -> Result<f64> {
    if a.abs() > 1.0 { out_of_domain() } else { Ok(function(a)) }
}
