//! Trigonometry in degrees (PostgreSQL manual 9.3, table 9.7): exact where the angle is a multiple of 30 or 45 degrees.
//!
//! A library's sine of 30 degrees is not quite a half. Each value is divided by what the library says for the angle
//! whose exact value is known, so that those angles come out exact and the others stay continuous.

use super::Function;
use super::rows::{f, fail};
use kalamdb_commons::{Result, SqlState};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(2731 "asind" (a: Float8) -> Float8 { within(a, |a| if a < 0.0 { -arcsine(-a) } else { arcsine(a) }) }),
    f!(2732 "acosd" (a: Float8) -> Float8 { within(a, |a| if a < 0.0 { 90.0 + arcsine(-a) } else { arccosine(a) }) }),
    f!(2733 "atand" (a: Float8) -> Float8 { Ok(a.atan() / 1.0_f64.atan() * 45.0) }),
    f!(2734 "atan2d" (y: Float8, x: Float8) -> Float8 { Ok(y.atan2(x) / 1.0_f64.atan() * 45.0) }),
    f!(2735 "sind" (a: Float8) -> Float8 { angle(a, |a| { let (a, sign, _) = first_quadrant(a); sign * sine(a) }) }),
    f!(2736 "cosd" (a: Float8) -> Float8 { angle(a, |a| { let (a, _, mirror) = first_quadrant(a); mirror * cosine(a) }) }),
    f!(2737 "tand" (a: Float8) -> Float8 { angle(a, |a| { let (a, sign, mirror) = first_quadrant(a); unsigned_zero(sign * mirror * (tangent(a) / tangent(45.0))) }) }),
    f!(2738 "cotd" (a: Float8) -> Float8 { angle(a, |a| { let (a, sign, mirror) = first_quadrant(a); unsigned_zero(sign * mirror * (cotangent(a) / cotangent(45.0))) }) }),
];

fn out_of_range<T>() -> Result<T> {
    fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

fn angle(a: f64, function: impl Fn(f64) -> f64) -> Result<f64> {
    match a {
        a if a.is_nan() => Ok(a),
        a if a.is_infinite() => out_of_range(),
        a => Ok(function(a)),
    }
}

fn within(a: f64, function: impl Fn(f64) -> f64) -> Result<f64> {
    match a {
        a if a.is_nan() => Ok(a),
        a if a.abs() > 1.0 => out_of_range(),
        a => Ok(function(a)),
    }
}

/// The angle between 0 and 90 degrees that has the same values but for the signs of sine and cosine.
fn first_quadrant(a: f64) -> (f64, f64, f64) {
    let (mut a, mut sine, mut cosine) = (a % 360.0, 1.0, 1.0);
    if a < 0.0 {
        (a, sine) = (-a, -sine);
    }
    if a > 180.0 {
        (a, sine) = (360.0 - a, -sine);
    }
    if a > 90.0 {
        (a, cosine) = (180.0 - a, -cosine);
    }
    (a, sine, cosine)
}

/// Up to 30 degrees, where the sine is a half.
fn low_sine(a: f64) -> f64 {
    a.to_radians().sin() / 30.0_f64.to_radians().sin() / 2.0
}

/// Up to 60 degrees, where the cosine is a half.
fn low_cosine(a: f64) -> f64 {
    1.0 - (1.0 - a.to_radians().cos()) / (1.0 - 60.0_f64.to_radians().cos()) / 2.0
}

fn sine(a: f64) -> f64 {
    if a <= 30.0 { low_sine(a) } else { low_cosine(90.0 - a) }
}

fn cosine(a: f64) -> f64 {
    if a <= 60.0 { low_cosine(a) } else { low_sine(90.0 - a) }
}

fn tangent(a: f64) -> f64 {
    sine(a) / cosine(a)
}

fn cotangent(a: f64) -> f64 {
    cosine(a) / sine(a)
}

fn unsigned_zero(a: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a }
}

fn arcsine(a: f64) -> f64 {
    if a <= 0.5 { a.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - a.acos() / 0.5_f64.acos() * 60.0 }
}

fn arccosine(a: f64) -> f64 {
    if a <= 0.5 { 90.0 - a.asin() / 0.5_f64.asin() * 30.0 } else { a.acos() / 0.5_f64.acos() * 60.0 }
}
