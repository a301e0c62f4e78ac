//! Arithmetic with PostgreSQL's result scales, on values and on byte forms.
//!
//! Up to 38 digits go through `i128`; whatever overflows there is done again with big integers, so both ways give
//! the same answer. The rules of scale are PostgreSQL's: the larger one for sums, the sum for products, at least 16
//! significant digits for quotients.

use super::key::{Small, View};
use super::{Numeric, SCALE_MAX, overflow};
use crate::error::{Result, SqlError};
use crate::sqlstate::SqlState;
use num_bigint::{BigInt, BigUint};
use num_traits::{Signed, Zero};

/// NUMERIC_MIN_SIG_DIGITS: what a quotient has at least.
const SIGNIFICANT_DIGITS_MIN: i32 = 16;
/// NUMERIC_MAX_DISPLAY_SCALE: what a quotient's scale is cut to.
const QUOTIENT_SCALE_MAX: i32 = 1000;

/// The operations of two numerics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`: the sign of the left side.
    Rem,
}

/// Calculates on byte forms and appends the result's.
///
/// # Errors
/// 22012, 22003; XX000 for malformed bytes.
pub fn calculate(op: Op, left: &[u8], right: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let malformed = || SqlError::internal("malformed numeric");
    let (a, b) = (View::new(left).ok_or_else(malformed)?, View::new(right).ok_or_else(malformed)?);
    if let (Some(a), Some(b)) = (a.small(), b.small())
        && let Some(result) = small(op, a, b)?
    {
        result.write(out);
        return Ok(());
    }
    let (a, b) = (Numeric::from_bytes(left).ok_or_else(malformed)?, Numeric::from_bytes(right).ok_or_else(malformed)?);
    a.apply(op, &b)?.write_bytes(out);
    Ok(())
}

/// `Ok(None)`: 38 digits do not hold it.
fn small(op: Op, a: Small, b: Small) -> Result<Option<Small>> {
    if matches!(op, Op::Div | Op::Rem) && b.mantissa == 0 {
        return Err(division_by_zero());
    }
    Ok(match op {
        Op::Add | Op::Sub | Op::Rem => aligned(a, b).and_then(|(x, y, scale)| {
            let mantissa = match op {
                Op::Add => x.checked_add(y),
                Op::Sub => x.checked_sub(y),
                _ => x.checked_rem(y),
            };
            mantissa.map(|mantissa| Small { mantissa, scale })
        }),
        Op::Mul => {
            let scale = a.scale.checked_add(b.scale).filter(|scale| *scale <= SCALE_MAX);
            let mantissa = a.mantissa.checked_mul(b.mantissa);
            mantissa.zip(scale).map(|(mantissa, scale)| Small { mantissa, scale })
        }
        Op::Div => {
            let scale = quotient_scale(leading_small(a), leading_small(b), a.scale, b.scale);
            // a/10^sa / (b/10^sb) × 10^scale  =  a × 10^(scale + sb - sa) / b
            let power = u32::try_from(i32::from(scale) + i32::from(b.scale) - i32::from(a.scale)).ok();
            let ten = power.and_then(|power| 10_i128.checked_pow(power));
            let numerator = ten.and_then(|ten| a.mantissa.checked_mul(ten));
            numerator.and_then(|numerator| {
                let (quotient, rest) = (numerator / b.mantissa, numerator % b.mantissa);
                // Half away from zero: |rest| >= |b| - |rest|.
                let up = rest.unsigned_abs() >= b.mantissa.unsigned_abs() - rest.unsigned_abs();
                let step = if (numerator < 0) == (b.mantissa < 0) { 1 } else { -1 };
                quotient.checked_add(if up { step } else { 0 }).map(|mantissa| Small { mantissa, scale })
            })
        }
    })
}

fn aligned(a: Small, b: Small) -> Option<(i128, i128, u16)> {
    let raise = |mantissa: i128, by: u16| match by {
        0 => Some(mantissa),
        _ => 10_i128.checked_pow(u32::from(by)).and_then(|ten| mantissa.checked_mul(ten)),
    };
    let scale = a.scale.max(b.scale);
    Some((raise(a.mantissa, scale - a.scale)?, raise(b.mantissa, scale - b.scale)?, scale))
}

/// The place (power of 10000) and the value of a number's first base-10000 digit; zeros for zero.
fn leading(digits: &str, scale: u16) -> (i32, i32) {
    if digits == "0" {
        return (0, 0);
    }
    let top = digits.len() as i32 - 1 - i32::from(scale);
    let count = top.rem_euclid(4) as usize + 1;
    let padded = format!("{digits:0<count$}");
    (top.div_euclid(4), padded[..count].parse().unwrap_or(0))
}

fn leading_small(value: Small) -> (i32, i32) {
    if value.mantissa == 0 {
        return (0, 0);
    }
    let magnitude = value.mantissa.unsigned_abs();
    let digits = magnitude.ilog10() as i32 + 1;
    let top = digits - 1 - i32::from(value.scale);
    let count = top.rem_euclid(4) + 1;
    let first = match u32::try_from(digits - count) {
        Ok(cut) => (magnitude / 10_u128.pow(cut)) as i32,
        Err(_) => magnitude as i32 * 10_i32.pow((count - digits) as u32),
    };
    (top.div_euclid(4), first)
}

/// PostgreSQL's `select_div_scale`.
fn quotient_scale(left: (i32, i32), right: (i32, i32), left_scale: u16, right_scale: u16) -> u16 {
    let weight = left.0 - right.0 - i32::from(left.1 <= right.1);
    let scale = SIGNIFICANT_DIGITS_MIN - weight * 4;
    let scale = scale.max(i32::from(left_scale)).max(i32::from(right_scale)).clamp(0, QUOTIENT_SCALE_MAX);
    scale as u16
}

fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

fn ten(power: u32) -> BigInt {
    BigInt::from(10).pow(power)
}

/// `numerator / denominator`, halves away from zero.
fn divide_rounding(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let double: BigUint = numerator.magnitude() * 2_u8 + denominator.magnitude();
    let quotient = BigInt::from(double / (denominator.magnitude() * 2_u8));
    if numerator.is_negative() == denominator.is_negative() { quotient } else { -quotient }
}

/// The number `mantissa / 10^scale` rounded to `places` digits behind the point (negative: before it), and the scale
/// that shows it.
pub(super) fn rescale(mantissa: BigInt, scale: i64, places: i64) -> (BigInt, u16) {
    let shown = places.clamp(0, i64::from(SCALE_MAX)) as u16;
    if places >= scale {
        return (mantissa * ten((places - scale) as u32), shown);
    }
    let cut = (scale - places) as u64;
    // More places cut than there are digits: nothing is left, and the power need not be built.
    let digits_max = mantissa.bits() / 3 + 2;
    if cut > digits_max {
        return (BigInt::zero(), shown);
    }
    let rounded = divide_rounding(&mantissa, &ten(cut as u32));
    let zeros = (-places).max(0) as u32;
    (rounded * ten(zeros), shown)
}

impl Numeric {
    /// One of the four operations or the remainder.
    ///
    /// # Errors
    /// 22012 for division by zero, 22003 when the result has too many digits.
    pub fn apply(&self, op: Op, other: &Self) -> Result<Self> {
        let (Numeric::Finite(_), Numeric::Finite(_)) = (self, other) else { return special(op, self, other) };
        let ((a, a_scale), (b, b_scale)) = (self.parts(), other.parts());
        let scale = a_scale.max(b_scale);
        let raise = |mantissa: &BigInt, from: u16| match scale - from {
            0 => mantissa.clone(),
            by => mantissa * ten(u32::from(by)),
        };
        match op {
            Op::Add => Numeric::finite(raise(&a, a_scale) + raise(&b, b_scale), scale).checked(),
            Op::Sub => Numeric::finite(raise(&a, a_scale) - raise(&b, b_scale), scale).checked(),
            Op::Mul => {
                let exact = i64::from(a_scale) + i64::from(b_scale);
                let (mantissa, scale) = rescale(a * b, exact, exact.min(i64::from(SCALE_MAX)));
                Numeric::finite(mantissa, scale).checked()
            }
            Op::Div | Op::Rem if b.is_zero() => Err(division_by_zero()),
            Op::Rem => Ok(Numeric::finite(raise(&a, a_scale) % raise(&b, b_scale), scale)),
            Op::Div => {
                let first = |mantissa: &BigInt, scale| leading(&mantissa.magnitude().to_string(), scale);
                let scale = quotient_scale(first(&a, a_scale), first(&b, b_scale), a_scale, b_scale);
                let power = i32::from(scale) + i32::from(b_scale) - i32::from(a_scale);
                let (numerator, denominator) = match u32::try_from(power) {
                    Ok(power) => (a * ten(power), b),
                    Err(_) => (a, b * ten(power.unsigned_abs())),
                };
                Numeric::finite(divide_rounding(&numerator, &denominator), scale).checked()
            }
        }
    }

    /// `div(a, b)`: the quotient without its fraction.
    ///
    /// # Errors
    /// 22012
    pub fn div_trunc(&self, other: &Self) -> Result<Self> {
        let (Numeric::Finite(_), Numeric::Finite(_)) = (self, other) else { return special(Op::Div, self, other) };
        let ((a, a_scale), (b, b_scale)) = (self.parts(), other.parts());
        if b.is_zero() {
            return Err(division_by_zero());
        }
        let scale = a_scale.max(b_scale);
        let a = a * ten(u32::from(scale - a_scale));
        let b = b * ten(u32::from(scale - b_scale));
        Numeric::finite(a / b, 0).checked()
    }

    /// `-self`
    pub fn negate(&self) -> Self {
        match self {
            Numeric::NaN => Numeric::NaN,
            Numeric::Infinity => Numeric::NegInfinity,
            Numeric::NegInfinity => Numeric::Infinity,
            Numeric::Finite(value) => Numeric::Finite(-value.clone()),
        }
    }

    /// `abs(self)`
    pub fn abs(&self) -> Self {
        if self.sign() < 0 { self.negate() } else { self.clone() }
    }

    /// Rounded half away from zero to so many digits behind the point; negative counts before it.
    pub fn round(&self, places: i32) -> Self {
        if !self.is_finite() {
            return self.clone();
        }
        let (mantissa, scale) = self.parts();
        let places = i64::from(places).min(i64::from(SCALE_MAX));
        let (mantissa, scale) = rescale(mantissa, i64::from(scale), places);
        Numeric::finite(mantissa, scale)
    }

    /// Cut towards zero to so many digits behind the point; negative counts before it.
    pub fn trunc(&self, places: i32) -> Self {
        if !self.is_finite() {
            return self.clone();
        }
        let (mantissa, scale) = self.parts();
        let places = i64::from(places).min(i64::from(SCALE_MAX));
        let cut = i64::from(scale) - places;
        if cut <= 0 {
            return self.round(places as i32);
        }
        if cut as u64 > mantissa.bits() / 3 + 2 {
            return Numeric::finite(BigInt::zero(), places.max(0) as u16);
        }
        let power = ten(cut as u32);
        let kept = (&mantissa / &power) * ten((-places).max(0) as u32);
        Numeric::finite(kept, places.max(0) as u16)
    }

    /// The largest integer not above.
    pub fn floor(&self) -> Self {
        let whole = self.trunc(0);
        if self.sign() < 0 && self.is_finite() && whole.compare(self).is_ne() { whole.plus(-1) } else { whole }
    }

    /// The smallest integer not below.
    pub fn ceil(&self) -> Self {
        let whole = self.trunc(0);
        if self.sign() > 0 && self.is_finite() && whole.compare(self).is_ne() { whole.plus(1) } else { whole }
    }

    fn plus(&self, step: i64) -> Self {
        let (mantissa, scale) = self.parts();
        Numeric::finite(mantissa + step, scale)
    }
}

/// Operations with NaN or an infinity on one side.
fn special(op: Op, left: &Numeric, right: &Numeric) -> Result<Numeric> {
    if *left == Numeric::NaN || *right == Numeric::NaN {
        return Ok(Numeric::NaN);
    }
    let infinite = |sign: i8| match sign {
        0 => Numeric::NaN,
        1.. => Numeric::Infinity,
        _ => Numeric::NegInfinity,
    };
    match op {
        Op::Sub => special(Op::Add, left, &right.negate()),
        Op::Add if left.is_finite() => Ok(right.clone()),
        Op::Add if right.is_finite() || left == right => Ok(left.clone()),
        Op::Add => Ok(Numeric::NaN),
        Op::Mul => Ok(infinite(left.sign() * right.sign())),
        Op::Div | Op::Rem if right.is_zero() => Err(division_by_zero()),
        Op::Div if left.is_finite() => Ok(Numeric::from(0_i64)),
        Op::Div if right.is_finite() => Ok(infinite(left.sign() * right.sign())),
        Op::Rem if left.is_finite() => Ok(left.clone()),
        Op::Div | Op::Rem => Ok(Numeric::NaN),
    }
}

/// The sum of many numerics, in `i128` as long as it fits: for aggregates.
#[derive(Clone, Debug)]
pub struct Sum {
    small: Small,
    big: Option<Numeric>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { small: Small { mantissa: 0, scale: 0 }, big: None }
    }
}

impl Sum {
    /// Adds (or takes away: [`Op::Sub`]) a byte form.
    ///
    /// # Errors
    /// 22003; XX000 for malformed bytes.
    pub fn apply(&mut self, op: Op, bytes: &[u8]) -> Result<()> {
        if self.big.is_none()
            && let Some(value) = Small::read(bytes)
            && let Some(sum) = small(op, self.small, value)?
        {
            self.small = sum;
            return Ok(());
        }
        let value = Numeric::from_bytes(bytes).ok_or_else(|| SqlError::internal("malformed numeric"))?;
        self.big = Some(self.value().apply(op, &value)?);
        Ok(())
    }

    /// The sum.
    pub fn value(&self) -> Numeric {
        match &self.big {
            Some(big) => big.clone(),
            None => Numeric::finite(self.small.mantissa.into(), self.small.scale),
        }
    }
}

/// The power of ten as a numeric, for scaling by whoever needs it.
///
/// # Errors
/// 22003 beyond the largest numeric.
pub fn power_of_ten(power: i32) -> Result<Numeric> {
    match u32::try_from(power) {
        Ok(power) if u64::from(power) < super::INTEGER_DIGITS_MAX => Ok(Numeric::finite(ten(power), 0)),
        Err(_) if power >= -i32::from(SCALE_MAX) => Ok(Numeric::finite(1.into(), power.unsigned_abs() as u16)),
        _ => Err(overflow()),
    }
}
