//! PostgreSQL's numeric: exact, with a display scale, NaN and infinities.
//!
//! Two forms: a value to calculate with, and bytes. The bytes are memcomparable: the *key* (sign, exponent, digits
//! without trailing zeros, terminator) orders as PostgreSQL orders (NaN above all), and two display scale bytes
//! behind it keep `1.00` apart from `1.0` when printed. Equality, groups and joins compare keys. Columns hold bytes,
//! so kernels calculate on bytes ([`arithmetic::calculate`]) and touch a big integer only when 38 digits are not enough.

pub mod arithmetic;
pub mod key;

use crate::error::{Result, SqlError};
use crate::sqlstate::SqlState;
use bigdecimal::BigDecimal;
use key::{Class, View};
use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};
use std::cmp::Ordering;
use std::fmt;

/// PostgreSQL's NUMERIC_DSCALE_MAX: the most digits behind the point.
pub const SCALE_MAX: u16 = 16_383;
/// The most digits before the point: 32768 base-10000 digits.
pub const INTEGER_DIGITS_MAX: u64 = 131_072;

/// A numeric value.
#[derive(Clone, Debug)]
pub enum Numeric {
    /// NaN: equal to itself, above all others.
    NaN,
    /// -Infinity
    NegInfinity,
    /// Infinity
    Infinity,
    /// An exact number; the scale is the display scale (never negative).
    Finite(BigDecimal),
}

/// Why a text is not a numeric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseNumericError {
    /// 22P02
    Syntax,
    /// 22003: too many digits before or behind the point.
    Overflow,
}

/// The same value, printed the same: `1.0` is another numeric than `1.00`. SQL's equality compares keys.
impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Numeric::Finite(a), Numeric::Finite(b)) => {
                a.fractional_digit_count() == b.fractional_digit_count() && a == b
            }
            (Numeric::NaN, Numeric::NaN)
            | (Numeric::Infinity, Numeric::Infinity)
            | (Numeric::NegInfinity, Numeric::NegInfinity) => true,
            _ => false,
        }
    }
}

impl serde::Serialize for Numeric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> serde::Deserialize<'de> for Numeric {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> serde::de::Visitor<'de> for Bytes {
            type Value = Numeric;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a numeric's bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Numeric, E> {
                Numeric::from_bytes(bytes).ok_or_else(|| E::custom("malformed numeric"))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Numeric, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element::<u8>()? {
                    bytes.push(byte);
                }
                self.visit_bytes(&bytes)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl Numeric {
    /// The number `mantissa / 10^scale`, printed with `scale` digits behind the point.
    pub fn finite(mantissa: BigInt, scale: u16) -> Self {
        Numeric::Finite(BigDecimal::new(mantissa, i64::from(scale)))
    }

    /// The byte form: key, then the display scale (two bytes, big endian).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        self.write_bytes(&mut out);
        out
    }

    /// Appends the byte form.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        match self {
            Numeric::NaN => key::write_special(Class::NaN, out),
            Numeric::NegInfinity => key::write_special(Class::NegInfinity, out),
            Numeric::Infinity => key::write_special(Class::Infinity, out),
            Numeric::Finite(_) => {
                let (mantissa, scale) = self.parts();
                key::write_big(&mantissa, scale, out);
            }
        }
    }

    /// Reads the byte form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let view = View::new(bytes)?;
        match view.class {
            Class::NaN => Some(Numeric::NaN),
            Class::NegInfinity => Some(Numeric::NegInfinity),
            Class::Infinity => Some(Numeric::Infinity),
            _ => Some(Numeric::finite(view.big_mantissa()?, view.scale)),
        }
    }

    /// The key inside the byte form: what orders and compares.
    pub fn key(bytes: &[u8]) -> &[u8] {
        bytes.len().checked_sub(2).map_or(bytes, |end| &bytes[..end])
    }

    /// Reads PostgreSQL's text form (surrounding blanks allowed). `None` for a syntax error or too many digits.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_text(text).ok()
    }

    /// Reads PostgreSQL's text form (surrounding blanks allowed).
    ///
    /// # Errors
    /// A syntax error, or more digits than a numeric holds.
    pub fn from_text(text: &str) -> Result<Self, ParseNumericError> {
        match Written::read(text)? {
            Written::Special(special) => Ok(special),
            Written::Small(mantissa, scale) => Ok(Numeric::finite(mantissa.into(), scale)),
            Written::Big(mantissa, scale) => Ok(Numeric::finite(mantissa, scale)),
        }
    }

    /// The unscaled integer and the display scale of a finite number; zero for NaN and the infinities.
    pub fn parts(&self) -> (BigInt, u16) {
        match self {
            Numeric::Finite(value) => {
                let (mantissa, scale) = value.as_bigint_and_scale();
                match u16::try_from(scale) {
                    Ok(scale) => (mantissa.into_owned(), scale),
                    // A value made elsewhere with a negative scale: the zeros become digits.
                    Err(_) if scale < 0 => {
                        let zeros = u32::try_from(scale.unsigned_abs()).unwrap_or(u32::MAX);
                        (mantissa.as_ref() * BigInt::from(10).pow(zeros.min(2 * INTEGER_DIGITS_MAX as u32)), 0)
                    }
                    Err(_) => arithmetic::rescale(mantissa.into_owned(), scale, i64::from(SCALE_MAX)),
                }
            }
            _ => (BigInt::zero(), 0),
        }
    }

    /// The display scale.
    pub fn scale(&self) -> u16 {
        match self {
            Numeric::Finite(value) => u16::try_from(value.fractional_digit_count().max(0)).unwrap_or(SCALE_MAX),
            _ => 0,
        }
    }

    /// Whether it is neither NaN nor an infinity.
    pub fn is_finite(&self) -> bool {
        matches!(self, Numeric::Finite(_))
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Numeric::Finite(value) if value.is_zero())
    }

    /// -1, 0 or 1; NaN counts as positive.
    pub fn sign(&self) -> i8 {
        match self {
            Numeric::NaN | Numeric::Infinity => 1,
            Numeric::NegInfinity => -1,
            Numeric::Finite(value) => match value.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            },
        }
    }

    /// PostgreSQL's order: -Infinity, numbers, Infinity, NaN.
    pub fn compare(&self, other: &Self) -> Ordering {
        let rank = |value: &Self| match value {
            Numeric::NegInfinity => 0,
            Numeric::Finite(_) => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        };
        match (self, other) {
            (Numeric::Finite(a), Numeric::Finite(b)) => a.cmp(b),
            _ => rank(self).cmp(&rank(other)),
        }
    }

    /// Makes the value fit numeric(precision, scale): rounds half away from zero, then counts digits.
    ///
    /// # Errors
    /// 22003 when too many digits stand before the point.
    pub fn with_precision(&self, precision: u16, scale: i16) -> Result<Self> {
        let overflow = |detail: String| {
            let error = SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow");
            Err(error.with_detail(format!("A field with precision {precision}, scale {scale} {detail}")))
        };
        if *self == Numeric::NaN {
            return Ok(Numeric::NaN);
        }
        if !self.is_finite() {
            return overflow("cannot hold an infinite value.".into());
        }
        let rounded = self.round(i32::from(scale));
        let digits_max = i32::from(precision) - i32::from(scale);
        if rounded.integer_digits_exceed(digits_max) {
            let (base, power) = if digits_max == 0 { ("", 1) } else { ("10^", digits_max) };
            return overflow(format!("must round to an absolute value less than {base}{power}."));
        }
        Ok(rounded)
    }

    /// Whether |self| >= 10^digits (digits may be negative).
    fn integer_digits_exceed(&self, digits: i32) -> bool {
        let (mantissa, scale) = self.parts();
        // |m| / 10^s >= 10^d  when  |m| >= 10^(s + d)
        match u32::try_from(i32::from(scale) + digits) {
            Ok(power) => mantissa.magnitude() >= &num_bigint::BigUint::from(10_u8).pow(power),
            Err(_) => !mantissa.is_zero(),
        }
    }

    /// 22003 when the value has more digits before the point than a numeric can hold.
    pub(crate) fn checked(self) -> Result<Self> {
        // 3.32 bits a digit: small numbers need no look at their digits.
        let small = matches!(&self, Numeric::Finite(value) if value.as_bigint_and_scale().0.bits() < 400_000);
        if !small && self.integer_digits_exceed(INTEGER_DIGITS_MAX as i32) {
            return Err(overflow());
        }
        Ok(self)
    }

    /// The nearest integer, halves away from zero.
    fn to_integer(&self, type_name: &str) -> Result<BigInt> {
        let what = match self {
            Numeric::NaN => "NaN",
            Numeric::Infinity | Numeric::NegInfinity => "infinity",
            Numeric::Finite(_) => return Ok(self.round(0).parts().0),
        };
        Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to {type_name}")))
    }

    /// The nearest bigint.
    ///
    /// # Errors
    /// 22003 "bigint out of range"; 0A000 for NaN and infinities.
    pub fn to_i64(&self) -> Result<i64> {
        self.to_integer("bigint")?.to_i64().ok_or_else(|| out_of_range("bigint"))
    }

    /// The nearest integer.
    ///
    /// # Errors
    /// As [`Numeric::to_i64`].
    pub fn to_i32(&self) -> Result<i32> {
        self.to_integer("integer")?.to_i32().ok_or_else(|| out_of_range("integer"))
    }

    /// The nearest smallint.
    ///
    /// # Errors
    /// As [`Numeric::to_i64`].
    pub fn to_i16(&self) -> Result<i16> {
        self.to_integer("smallint")?.to_i16().ok_or_else(|| out_of_range("smallint"))
    }

    /// The nearest double precision value.
    ///
    /// # Errors
    /// 22003 when it is too large, or so small that it would become zero.
    pub fn to_f64(&self) -> Result<f64> {
        match self {
            Numeric::NaN => Ok(f64::NAN),
            Numeric::Infinity => Ok(f64::INFINITY),
            Numeric::NegInfinity => Ok(f64::NEG_INFINITY),
            Numeric::Finite(_) => {
                let text = self.to_string();
                let value: f64 = text.parse().unwrap_or(f64::NAN);
                if value.is_infinite() || (value == 0.0 && !self.is_zero()) {
                    return Err(float_range(&text, "double precision"));
                }
                Ok(value)
            }
        }
    }

    /// The nearest real value.
    ///
    /// # Errors
    /// As [`Numeric::to_f64`].
    pub fn to_f32(&self) -> Result<f32> {
        match self {
            Numeric::Finite(_) => {
                let text = self.to_string();
                let value: f32 = text.parse().unwrap_or(f32::NAN);
                if value.is_infinite() || (value == 0.0 && !self.is_zero()) {
                    return Err(float_range(&text, "real"));
                }
                Ok(value)
            }
            _ => self.to_f64().map(|value| value as f32),
        }
    }

    /// PostgreSQL's float8 → numeric: what 15 significant digits say.
    pub fn from_f64(value: f64) -> Self {
        if value.is_nan() {
            return Numeric::NaN;
        }
        if value.is_infinite() {
            return if value > 0.0 { Numeric::Infinity } else { Numeric::NegInfinity };
        }
        Self::from_scientific(&format!("{value:.14e}"))
    }

    /// PostgreSQL's float4 → numeric: what 6 significant digits say.
    pub fn from_f32(value: f32) -> Self {
        if !value.is_finite() {
            return Self::from_f64(f64::from(value));
        }
        Self::from_scientific(&format!("{value:.5e}"))
    }

    /// `1.5000e3`: the mantissa's trailing zeros are no digits to keep (C's %g drops them).
    fn from_scientific(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        Self::parse(&format!("{mantissa}e{exponent}")).unwrap_or(Numeric::NaN)
    }

    /// Reads PostgreSQL's binary wire form (base-10000 digits); [`key::View::write_wire`] writes it.
    ///
    /// # Errors
    /// 22P03 with PostgreSQL's words.
    pub fn from_wire(bytes: &[u8]) -> Result<Self> {
        key::from_wire(bytes)
    }
}

/// Reads PostgreSQL's text form straight into the byte form, without a big integer for up to 38 digits.
///
/// # Errors
/// As [`Numeric::from_text`]; nothing is appended then.
pub fn text_to_bytes(text: &str, out: &mut Vec<u8>) -> Result<(), ParseNumericError> {
    match Written::read(text)? {
        Written::Special(special) => special.write_bytes(out),
        Written::Small(mantissa, scale) => key::Small { mantissa, scale }.write(out),
        Written::Big(mantissa, scale) => key::write_big(&mantissa, scale, out),
    }
    Ok(())
}

/// What a text says.
enum Written {
    Special(Numeric),
    Small(i128, u16),
    Big(BigInt, u16),
}

impl Written {
    fn read(text: &str) -> Result<Self, ParseNumericError> {
        use ParseNumericError::{Overflow, Syntax};
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let bytes = rest.as_bytes();
        if !bytes.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') {
            return special(text, rest, negative).map(Written::Special).ok_or(Syntax);
        }
        let whole = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let point = bytes.get(whole) == Some(&b'.');
        let behind = whole + usize::from(point);
        let fraction = if point { bytes[behind..].iter().take_while(|byte| byte.is_ascii_digit()).count() } else { 0 };
        if whole + fraction == 0 {
            return Err(Syntax);
        }
        let exponent = exponent(&bytes[behind + fraction..])?;
        let scale = fraction as i64 - exponent;
        if scale > i64::from(SCALE_MAX) {
            return Err(Overflow);
        }
        let digits = bytes[..whole].iter().chain(&bytes[behind..behind + fraction]);
        let significant = digits.clone().skip_while(|byte| **byte == b'0').count() as i64;
        if significant == 0 {
            return Ok(Written::Small(0, scale.max(0) as u16));
        }
        // The digits before the point, once the exponent has moved it.
        if significant - scale > INTEGER_DIGITS_MAX as i64 {
            return Err(Overflow);
        }
        let zeros = (-scale).max(0);
        let scale = scale.max(0) as u16;
        if significant + zeros <= 38 {
            let mut mantissa: i128 = 0;
            for byte in digits.copied().chain(std::iter::repeat_n(b'0', zeros as usize)) {
                mantissa = mantissa * 10 + i128::from(byte - b'0');
            }
            return Ok(Written::Small(if negative { -mantissa } else { mantissa }, scale));
        }
        let digits: Vec<u8> = digits.copied().chain(std::iter::repeat_n(b'0', zeros as usize)).collect();
        let mantissa = BigInt::parse_bytes(&digits, 10).ok_or(Syntax)?;
        Ok(Written::Big(if negative { -mantissa } else { mantissa }, scale))
    }
}

fn special(signed: &str, rest: &str, negative: bool) -> Option<Numeric> {
    // NaN takes no sign.
    if signed.eq_ignore_ascii_case("nan") {
        return Some(Numeric::NaN);
    }
    let infinite = rest.eq_ignore_ascii_case("infinity") || rest.eq_ignore_ascii_case("inf");
    infinite.then_some(if negative { Numeric::NegInfinity } else { Numeric::Infinity })
}

/// `e±digits` or nothing.
fn exponent(bytes: &[u8]) -> Result<i64, ParseNumericError> {
    let Some((b'e' | b'E', rest)) = bytes.split_first().map(|(first, rest)| (*first, rest)) else {
        return if bytes.is_empty() { Ok(0) } else { Err(ParseNumericError::Syntax) };
    };
    let (negative, digits) = match rest.first() {
        Some(b'-') => (true, &rest[1..]),
        Some(b'+') => (false, &rest[1..]),
        _ => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseNumericError::Syntax);
    }
    let value = digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 40));
    // PostgreSQL refuses exponents beyond INT_MAX / 2 even for zero.
    if value >= i64::from(i32::MAX / 2) {
        return Err(ParseNumericError::Overflow);
    }
    Ok(if negative { -value } else { value })
}

impl ParseNumericError {
    /// PostgreSQL's report.
    pub fn report(self, text: &str) -> SqlError {
        match self {
            ParseNumericError::Overflow => overflow(),
            ParseNumericError::Syntax => SqlError::new(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax for type numeric: \"{text}\""),
            ),
        }
    }
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

fn out_of_range(type_name: &str) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{type_name} out of range"))
}

fn float_range(text: &str, type_name: &str) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{text}\" is out of range for type {type_name}"))
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Numeric::NaN => f.write_str("NaN"),
            Numeric::Infinity => f.write_str("Infinity"),
            Numeric::NegInfinity => f.write_str("-Infinity"),
            Numeric::Finite(_) => {
                let (mantissa, scale) = self.parts();
                let scale = usize::from(scale);
                let digits = mantissa.magnitude().to_string();
                let digits = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let sign = if mantissa.is_negative() { "-" } else { "" };
                let point = if scale == 0 { "" } else { "." };
                write!(f, "{sign}{whole}{point}{fraction}")
            }
        }
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        Numeric::finite(value.into(), 0)
    }
}

impl From<i128> for Numeric {
    fn from(value: i128) -> Self {
        Numeric::finite(value.into(), 0)
    }
}

#[cfg(test)]
mod tests;
