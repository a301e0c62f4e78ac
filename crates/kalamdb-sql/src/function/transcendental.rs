//! sqrt, ln, log, exp and power of numerics, with PostgreSQL's result scales.
//!
//! Calculated in fixed point on big integers, with some digits more than the result shows.

use super::rows::{division_by_zero, fail};
use kalamdb_commons::{Numeric, Result, SqlError, SqlState};
use num_bigint::BigInt;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// What a result has at least (NUMERIC_MIN_SIG_DIGITS).
const SIGNIFICANT: i32 = 16;
/// The largest scale that is chosen (NUMERIC_MAX_DISPLAY_SCALE).
const SCALE_MAX: i32 = 1000;
/// Digits calculated beyond those shown.
const GUARD: u32 = 12;

fn ten(power: u32) -> BigInt {
    BigInt::from(10).pow(power)
}

fn clamp_scale(scale: i32, shown: &[&Numeric]) -> u16 {
    let shown = shown.iter().map(|value| i32::from(value.scale())).max().unwrap_or(0);
    scale.max(shown).clamp(0, SCALE_MAX) as u16
}

/// The value in fixed point.
fn fixed(value: &Numeric, digits: u32) -> BigInt {
    let (mantissa, scale) = value.parts();
    match digits.checked_sub(u32::from(scale)) {
        Some(more) => mantissa * ten(more),
        None => mantissa / ten(u32::from(scale) - digits),
    }
}

fn numeric(value: BigInt, digits: u32, scale: u16) -> Numeric {
    // Digits are at most a few thousand, as SCALE_MAX and the operands' scales are.
    Numeric::finite(value, digits.min(16_383) as u16).round(i32::from(scale))
}

fn log10(value: &Numeric) -> f64 {
    let (mantissa, scale) = value.parts();
    let digits = mantissa.magnitude().to_string();
    let lead: f64 = digits[..digits.len().min(17)].parse().unwrap_or(1.0);
    lead.log10() + (digits.len() - digits.len().min(17)) as f64 - f64::from(scale)
}

/// The decimal weight of ln(value), roughly.
fn ln_weight(value: &Numeric) -> i32 {
    let ln = log10(value) * std::f64::consts::LN_10;
    if (0.9..=1.1).contains(&ln.exp()) {
        // Near 1 the logarithm is as small as the distance from 1.
        let distance = value.apply(kalamdb_commons::numeric::arithmetic::Op::Sub, &Numeric::from(1_i64));
        return match distance {
            Ok(distance) if !distance.is_zero() => log10(&distance).floor() as i32,
            _ => 0,
        };
    }
    ln.abs().log10() as i32
}

pub(super) fn sqrt(value: &Numeric) -> Result<Numeric> {
    match value {
        Numeric::NaN | Numeric::Infinity => return Ok(value.clone()),
        _ if value.sign() < 0 => {
            let message = "cannot take square root of a negative number";
            return fail(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message);
        }
        _ => {}
    }
    // PostgreSQL counts the weight in groups of four digits.
    let groups = if value.is_zero() { 0 } else { (log10(value) / 4.0).floor() as i32 };
    let scale = clamp_scale(SIGNIFICANT - ((groups + 1) * 4 / 2 - 1), &[value]);
    Ok(sqrt_to(value, scale))
}

/// The root of a number that is not negative, with so many digits behind the point.
pub(super) fn sqrt_to(value: &Numeric, scale: u16) -> Numeric {
    let digits = u32::from(scale) + 1;
    let root = fixed(value, 2 * digits).sqrt();
    numeric(root, digits, scale)
}

/// ln 2 in fixed point: 2 artanh(1/3).
fn ln_2(digits: u32) -> BigInt {
    artanh(&(ten(digits) / 3), digits) * 2
}

/// The series z + z³/3 + z⁵/5 …, for |z| ≤ 1/3.
fn artanh(z: &BigInt, digits: u32) -> BigInt {
    let one = ten(digits);
    let square = z * z / &one;
    let (mut power, mut sum, mut divisor) = (z.clone(), BigInt::zero(), 1_u32);
    while !power.is_zero() {
        sum += &power / divisor;
        power = power * &square / &one;
        divisor += 2;
    }
    sum
}

/// ln of a positive number in fixed point.
fn ln_fixed(value: &BigInt, digits: u32) -> BigInt {
    let one = ten(digits);
    // value = mantissa · 2^shift with a mantissa near 1.
    let shift = value.bits() as i64 - one.bits() as i64;
    let mantissa = if shift >= 0 { value >> shift as u64 } else { value << shift.unsigned_abs() };
    let z = (&mantissa - &one) * &one / (&mantissa + &one);
    artanh(&z, digits) * 2 + ln_2(digits) * shift
}

/// e to a number in fixed point.
fn exp_fixed(value: &BigInt, digits: u32) -> BigInt {
    let one = ten(digits);
    let ln_2 = ln_2(digits);
    let halvings = 8_u32;
    let twos = value / &ln_2;
    let rest: BigInt = (value - &twos * &ln_2) >> halvings;
    let (mut term, mut sum, mut step) = (one.clone(), BigInt::zero(), 1_u32);
    while !term.is_zero() {
        sum += &term;
        term = term * &rest / (&one * step);
        step += 1;
    }
    for _ in 0..halvings {
        sum = &sum * &sum / &one;
    }
    match twos.to_i64() {
        Some(twos) if twos >= 0 => sum << twos as u64,
        Some(twos) => sum >> twos.unsigned_abs(),
        None => BigInt::zero(),
    }
}

fn no_logarithm(value: &Numeric) -> Option<SqlError> {
    let why = match value.sign() {
        0 => "cannot take logarithm of zero",
        -1 => "cannot take logarithm of a negative number",
        _ => return None,
    };
    Some(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOG, why))
}

fn ln_with(value: &Numeric, scale: u16, guard: u32) -> Numeric {
    let digits = u32::from(scale) + guard;
    // A number far below 1 needs its own digits before the logarithm's.
    let digits_in = digits + (-log10(value)).max(0.0) as u32;
    let ln = ln_fixed(&fixed(value, digits_in), digits_in);
    numeric(ln, digits_in, scale)
}

pub(super) fn ln(value: &Numeric) -> Result<Numeric> {
    if let Some(error) = no_logarithm(value) {
        return Err(error);
    }
    if !value.is_finite() {
        return Ok(value.clone());
    }
    let scale = clamp_scale(SIGNIFICANT - ln_weight(value), &[value]);
    Ok(ln_with(value, scale, GUARD))
}

pub(super) fn log(base: &Numeric, value: &Numeric) -> Result<Numeric> {
    if let Some(error) = no_logarithm(base).or_else(|| no_logarithm(value)) {
        return Err(error);
    }
    if *base == Numeric::NaN || *value == Numeric::NaN {
        return Ok(Numeric::NaN);
    }
    match (base.is_finite(), value.is_finite()) {
        (true, true) => {}
        (true, false) => return Ok(Numeric::Infinity),
        (false, true) => return Ok(Numeric::from(0_i64)),
        (false, false) => return Ok(Numeric::NaN),
    }
    let scale = clamp_scale(SIGNIFICANT - (ln_weight(value) - ln_weight(base)), &[base, value]);
    let more = scale + GUARD as u16;
    let (value, base) = (ln_with(value, more, GUARD), ln_with(base, more, GUARD));
    if base.is_zero() {
        return Err(division_by_zero());
    }
    let (a, b) = (fixed(&value, 2 * u32::from(more)), fixed(&base, u32::from(more)));
    Ok(numeric(a / b, u32::from(more), scale))
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

pub(super) fn exp(value: &Numeric) -> Result<Numeric> {
    match value {
        Numeric::NaN | Numeric::Infinity => return Ok(value.clone()),
        Numeric::NegInfinity => return Ok(Numeric::from(0_i64)),
        Numeric::Finite(_) => {}
    }
    let approximate = value.to_f64().unwrap_or(if value.sign() < 0 { -1e9 } else { 1e9 });
    if approximate.abs() > 6000.0 {
        return if approximate > 0.0 { Err(overflow()) } else { Ok(Numeric::finite(BigInt::zero(), 1000)) };
    }
    let weight = (approximate * std::f64::consts::LOG10_E).clamp(-2000.0, 2000.0);
    let scale = clamp_scale(SIGNIFICANT - weight as i32, &[value]);
    let digits = u32::from(scale) + GUARD + weight.max(0.0) as u32;
    Ok(numeric(exp_fixed(&fixed(value, digits), digits), digits, scale))
}

pub(super) fn power(base: &Numeric, exponent: &Numeric) -> Result<Numeric> {
    let whole = exponent.is_finite() && exponent.trunc(0).compare(exponent).is_eq();
    if base.is_finite() && exponent.is_finite() {
        if base.is_zero() && exponent.sign() < 0 {
            let message = "zero raised to a negative power is undefined";
            return fail(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message);
        }
        if base.sign() < 0 && !whole {
            let message = "a negative number raised to a non-integer power yields a complex result";
            return fail(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message);
        }
    } else {
        return special_power(base, exponent);
    }
    if let Some(exponent) = whole.then(|| exponent.to_i32().ok()).flatten() {
        return integer_power(base, exponent);
    }
    if base.is_zero() {
        return Ok(Numeric::finite(BigInt::zero(), clamp_scale(SIGNIFICANT, &[])));
    }
    let weight = log10(base) * exponent.to_f64()?;
    // PostgreSQL's bound for e to a number: NUMERIC_MAX_RESULT_SCALE, with some room.
    let natural = weight * std::f64::consts::LN_10;
    if natural > 6_020.0 {
        return Err(overflow());
    }
    if natural < -6_020.0 {
        return Ok(Numeric::finite(BigInt::zero(), SCALE_MAX as u16));
    }
    let scale = clamp_scale(SIGNIFICANT - weight.clamp(-2000.0, 2000.0) as i32, &[base, exponent]);
    if weight < -2000.0 {
        return Ok(Numeric::finite(BigInt::zero(), scale));
    }
    let digits = u32::from(scale) + GUARD + weight.max(0.0) as u32;
    let inner = digits + exponent.to_f64()?.abs().log10().max(0.0) as u32 + (-log10(base)).max(0.0) as u32;
    let ln = ln_fixed(&fixed(&base.abs(), inner), inner);
    let product = ln * fixed(exponent, inner) / ten(inner);
    let value = exp_fixed(&product, inner);
    Ok(numeric(value, inner, scale))
}

fn integer_power(base: &Numeric, exponent: i32) -> Result<Numeric> {
    let scale = clamp_scale(SIGNIFICANT, &[base]);
    if exponent == 0 {
        return Ok(Numeric::from(1_i64).round(i32::from(scale)));
    }
    if base.is_zero() {
        return Ok(Numeric::finite(BigInt::zero(), scale));
    }
    let weight = log10(base) * f64::from(exponent);
    if weight >= 131_072.0 {
        return Err(overflow());
    }
    if weight + f64::from(scale) < -1.0 {
        return Ok(Numeric::finite(BigInt::zero(), scale));
    }
    // Bits for the digits that are shown, and for what each of the multiplications loses.
    let digits = f64::from(scale) + f64::from(GUARD) + weight.max(0.0);
    let keep = (digits * std::f64::consts::LOG2_10) as u64 + 128;
    let (mantissa, base_scale) = base.parts();
    let mut square = Binary::new(mantissa, keep).divided_by(&ten(u32::from(base_scale)), keep);
    let mut power = Binary::new(BigInt::one(), keep);
    let mut count = exponent.unsigned_abs();
    while count > 0 {
        if count & 1 == 1 {
            power = power.times(&square, keep);
        }
        count >>= 1;
        if count > 0 {
            square = square.times(&square, keep);
        }
    }
    if exponent < 0 {
        power = Binary::new(BigInt::one(), keep).divided_by(&power.mantissa, keep).shifted(-power.exponent);
    }
    let shown = u32::from(scale) + GUARD;
    Ok(numeric(power.fixed(shown), shown, scale))
}

/// `mantissa · 2^exponent` with a bounded mantissa: exact as long as that holds it.
struct Binary {
    mantissa: BigInt,
    exponent: i64,
}

impl Binary {
    /// With at most so many bits; what is cut is cut towards zero.
    fn new(mantissa: BigInt, keep: u64) -> Binary {
        Binary { mantissa, exponent: 0 }.cut(keep)
    }

    fn cut(mut self, keep: u64) -> Binary {
        if let Some(more) = self.mantissa.bits().checked_sub(keep).filter(|more| *more > 0) {
            let negative = self.mantissa.is_negative();
            let magnitude = self.mantissa.abs() >> more;
            self.mantissa = if negative { -magnitude } else { magnitude };
            self.exponent += more as i64;
        }
        self
    }

    fn times(&self, other: &Binary, keep: u64) -> Binary {
        Binary { mantissa: &self.mantissa * &other.mantissa, exponent: self.exponent + other.exponent }.cut(keep)
    }

    fn divided_by(self, divisor: &BigInt, keep: u64) -> Binary {
        if divisor.is_one() {
            return self;
        }
        let raised = (keep + divisor.bits()).saturating_sub(self.mantissa.bits());
        Binary { mantissa: (self.mantissa << raised) / divisor, exponent: self.exponent - raised as i64 }.cut(keep)
    }

    fn shifted(mut self, by: i64) -> Binary {
        self.exponent += by;
        self
    }

    /// The value times a power of ten, without its fraction.
    fn fixed(self, digits: u32) -> BigInt {
        let value = self.mantissa * ten(digits);
        match self.exponent {
            up if up >= 0 => value << up as u64,
            down => value / (BigInt::one() << down.unsigned_abs()),
        }
    }
}

/// Powers with NaN or an infinity, as POSIX defines them for floats.
fn special_power(base: &Numeric, exponent: &Numeric) -> Result<Numeric> {
    let one = Numeric::from(1_i64);
    if exponent.is_zero() || (base.is_finite() && base.compare(&one).is_eq()) {
        return Ok(one);
    }
    if *base == Numeric::NaN || *exponent == Numeric::NaN {
        return Ok(Numeric::NaN);
    }
    let value = |value: &Numeric| value.to_f64();
    let result = value(base)?.powf(value(exponent)?);
    Ok(match result {
        nan if nan.is_nan() => Numeric::NaN,
        infinite if infinite.is_infinite() && infinite > 0.0 => Numeric::Infinity,
        infinite if infinite.is_infinite() => Numeric::NegInfinity,
        finite => Numeric::from_f64(finite),
    })
}

/// n!
pub(super) fn factorial(n: i64) -> Result<Numeric> {
    if n < 0 {
        return fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "factorial of a negative number is undefined");
    }
    if n > 32_177 {
        return Err(overflow());
    }
    let product = (2..=n).fold(BigInt::one(), |product, factor| product * factor);
    Ok(Numeric::finite(product, 0))
}
