//! The byte form of a numeric, read and written without a big integer where possible.
//!
//! ```text
//! -Infinity 08 | zero 80 | Infinity F0 | NaN F8
//! positive  head, digits, 00
//! negative  the same with every byte of it complemented
//! head      C0 + e for -31 <= e <= 31;  E0 and e in three bytes above;  A0 and e + 2^23 in three bytes below
//! digits    base 100, each plus one (so that none is the terminator), the last one not zero
//! all       followed by the display scale, two bytes big endian: not part of the key
//! ```
//! The number is 0.d1d2d3… × 100^e. A longer number with the same beginning is above a shorter one because the
//! terminator is below every digit; complementing turns both around for negative numbers.

use super::{INTEGER_DIGITS_MAX, Numeric, SCALE_MAX};
use crate::error::{Result, SqlError};
use crate::sqlstate::SqlState;
use num_bigint::{BigInt, BigUint, Sign};
use num_traits::Zero;

/// What kind of value the head byte says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Class {
    NegInfinity,
    Negative,
    Zero,
    Positive,
    Infinity,
    NaN,
}

/// The parts of a byte form, in place.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What kind of value.
    pub class: Class,
    /// The display scale.
    pub scale: u16,
    /// The exponent, base 100.
    exponent: i32,
    /// The digits as stored.
    digits: &'a [u8],
    /// What undoes the complement of a negative number.
    mask: u8,
}

/// A number of at most 38 digits: `mantissa / 10^scale`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Small {
    /// The unscaled number.
    pub mantissa: i128,
    /// The display scale.
    pub scale: u16,
}

const EXPONENT_BIAS: i32 = 1 << 23;

impl<'a> View<'a> {
    /// Looks at a byte form; `None` when it is malformed.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (key, scale) = bytes.split_last_chunk::<2>()?;
        let scale = u16::from_be_bytes(*scale);
        let (&head, rest) = key.split_first()?;
        let class = match head {
            0x08 => Class::NegInfinity,
            0x1f..=0x5f => Class::Negative,
            0x80 => Class::Zero,
            0xa0..=0xe0 => Class::Positive,
            0xf0 => Class::Infinity,
            0xf8 => Class::NaN,
            _ => return None,
        };
        let mask = if class == Class::Negative { 0xff } else { 0 };
        let mut view = View { class, scale, exponent: 0, digits: &[], mask };
        if !matches!(class, Class::Negative | Class::Positive) {
            return rest.is_empty().then_some(view);
        }
        let (exponent, digits) = match head ^ mask {
            long @ (0xe0 | 0xa0) => {
                let (bytes, digits) = rest.split_first_chunk::<3>()?;
                let [a, b, c] = bytes.map(|byte| i32::from(byte ^ mask));
                let exponent = (a << 16) | (b << 8) | c;
                (if long == 0xa0 { exponent - EXPONENT_BIAS } else { exponent }, digits)
            }
            short => (i32::from(short) - 0xc0, rest),
        };
        let (&terminator, digits) = digits.split_last()?;
        if terminator != mask || digits.is_empty() {
            return None;
        }
        view.exponent = exponent;
        view.digits = digits;
        Some(view)
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        matches!(self.class, Class::Negative | Class::NegInfinity)
    }

    /// Whether it is neither NaN nor an infinity.
    pub fn is_finite(&self) -> bool {
        matches!(self.class, Class::Negative | Class::Zero | Class::Positive)
    }

    /// The base-100 digit at a place, 0 beyond the stored ones.
    fn digit(&self, place: i64) -> u8 {
        let stored = usize::try_from(place).ok().and_then(|place| self.digits.get(place));
        stored.map_or(0, |byte| (byte ^ self.mask).wrapping_sub(1))
    }

    /// The decimal zeros between the last stored digit and the last digit of the display scale; -1 when the last
    /// stored base-100 digit reaches one decimal digit further.
    fn trailing(&self) -> i64 {
        2 * (i64::from(self.exponent) - self.digits.len() as i64) + i64::from(self.scale)
    }

    /// The number as a small one, when 38 digits hold it.
    pub fn small(&self) -> Option<Small> {
        if self.class == Class::Zero {
            return Some(Small { mantissa: 0, scale: self.scale });
        }
        if !self.is_finite() || self.digits.len() > 19 {
            return None;
        }
        let mut magnitude: u64 = 0;
        let (first, rest) = self.digits.split_at(self.digits.len().min(9));
        for byte in first {
            magnitude = magnitude * 100 + u64::from((byte ^ self.mask).wrapping_sub(1));
        }
        let mut mantissa = i128::from(magnitude);
        for byte in rest {
            mantissa = mantissa * 100 + i128::from((byte ^ self.mask).wrapping_sub(1));
        }
        mantissa = match self.trailing() {
            0 => mantissa,
            -1 => mantissa / 10,
            zeros @ 1..=38 => mantissa.checked_mul(10_i128.pow(zeros as u32))?,
            _ => return None,
        };
        Some(Small { mantissa: if self.mask == 0 { mantissa } else { -mantissa }, scale: self.scale })
    }

    /// The unscaled integer; `None` when digits reach beyond the scale (malformed).
    pub(super) fn big_mantissa(&self) -> Option<BigInt> {
        if let Some(small) = self.small() {
            return Some(small.mantissa.into());
        }
        let digits: Vec<u8> = self.digits.iter().map(|byte| (byte ^ self.mask).wrapping_sub(1)).collect();
        let magnitude = BigUint::from_radix_be(&digits, 100)?;
        let magnitude = match self.trailing() {
            -1 => magnitude / 10_u8,
            zeros if zeros >= 0 && zeros <= 2 * INTEGER_DIGITS_MAX as i64 => {
                magnitude * BigUint::from(10_u8).pow(zeros as u32)
            }
            _ => return None,
        };
        Some(BigInt::from_biguint(if self.mask == 0 { Sign::Plus } else { Sign::Minus }, magnitude))
    }

    /// Gives PostgreSQL's text form, in pieces.
    pub fn write_text(&self, mut put: impl FnMut(&[u8])) {
        match self.class {
            Class::NaN => return put(b"NaN"),
            Class::Infinity => return put(b"Infinity"),
            Class::NegInfinity => return put(b"-Infinity"),
            Class::Negative => put(b"-"),
            Class::Zero | Class::Positive => {}
        }
        let exponent = i64::from(self.exponent);
        if exponent <= 0 {
            put(b"0");
        }
        for place in 0..exponent {
            let [tens, ones] = pair(self.digit(place));
            if place == 0 && tens == b'0' { put(&[ones]) } else { put(&[tens, ones]) }
        }
        if self.scale > 0 {
            put(b".");
        }
        for behind in 0..i64::from(self.scale) / 2 {
            put(&pair(self.digit(exponent + behind)));
        }
        if self.scale % 2 == 1 {
            put(&pair(self.digit(exponent + i64::from(self.scale / 2)))[..1]);
        }
    }

    /// Gives PostgreSQL's binary form, in pieces: four 16-bit words and base-10000 digits.
    pub fn write_wire(&self, mut put: impl FnMut(&[u8])) {
        let (sign, weight, lowest) = match self.class {
            Class::NaN => (0xc000, 0, 1),
            Class::Infinity => (0xd000, 0, 1),
            Class::NegInfinity => (0xf000, 0, 1),
            Class::Zero => (0, 0, 1),
            Class::Negative | Class::Positive => {
                let lowest = (self.exponent - self.digits.len() as i32).div_euclid(2);
                let sign = if self.mask == 0 { 0 } else { 0x4000 };
                (sign, (self.exponent - 1).div_euclid(2), lowest)
            }
        };
        let count = weight - lowest + 1;
        put(&(count as i16).to_be_bytes());
        put(&(weight as i16).to_be_bytes());
        put(&(sign as u16).to_be_bytes());
        // PostgreSQL's infinities carry the flag bits of their header here.
        let scale = if matches!(self.class, Class::Infinity | Class::NegInfinity) { 0x20 } else { self.scale };
        put(&scale.to_be_bytes());
        for group in (lowest..=weight).rev() {
            let at = |power: i32| u16::from(self.digit(i64::from(self.exponent - 1 - power)));
            put(&(at(2 * group + 1) * 100 + at(2 * group)).to_be_bytes());
        }
    }
}

fn pair(digit: u8) -> [u8; 2] {
    [b'0' + digit / 10, b'0' + digit % 10]
}

impl Small {
    /// Reads a byte form when 38 digits hold it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        View::new(bytes)?.small()
    }

    /// Appends the byte form.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.mantissa == 0 {
            out.push(0x80);
            return out.extend_from_slice(&self.scale.to_be_bytes());
        }
        let odd = self.scale % 2;
        let magnitude = self.mantissa.unsigned_abs();
        let Some(mut magnitude) = magnitude.checked_mul(if odd == 1 { 10 } else { 1 }) else {
            return write_big(&self.mantissa.into(), self.scale, out);
        };
        // 2^128 has 20 base-100 digits.
        let mut digits = [0_u8; 20];
        let mut start = digits.len();
        while magnitude > u128::from(u64::MAX) {
            start -= 1;
            digits[start] = (magnitude % 100) as u8;
            magnitude /= 100;
        }
        let mut low = magnitude as u64;
        while low > 0 {
            start -= 1;
            digits[start] = (low % 100) as u8;
            low /= 100;
        }
        let exponent = (digits.len() - start) as i32 - i32::from(self.scale.div_ceil(2));
        write_digits(self.mantissa < 0, exponent, &mut digits[start..], self.scale, out);
    }
}

/// Appends the byte form of `mantissa / 10^scale`.
pub(super) fn write_big(mantissa: &BigInt, scale: u16, out: &mut Vec<u8>) {
    if mantissa.is_zero() {
        return Small { mantissa: 0, scale }.write(out);
    }
    let magnitude = mantissa.magnitude();
    let mut digits = if scale % 2 == 1 { (magnitude * 10_u8).to_radix_be(100) } else { magnitude.to_radix_be(100) };
    let exponent = digits.len() as i32 - i32::from(scale.div_ceil(2));
    write_digits(mantissa.sign() == Sign::Minus, exponent, &mut digits, scale, out);
}

fn write_digits(negative: bool, exponent: i32, digits: &mut [u8], scale: u16, out: &mut Vec<u8>) {
    let start = out.len();
    match exponent {
        -31..=31 => out.push((0xc0 + exponent) as u8),
        32.. => {
            out.push(0xe0);
            out.extend_from_slice(&exponent.to_be_bytes()[1..]);
        }
        _ => {
            out.push(0xa0);
            out.extend_from_slice(&(exponent + EXPONENT_BIAS).to_be_bytes()[1..]);
        }
    }
    let last = digits.iter().rposition(|digit| *digit != 0).map_or(0, |place| place + 1);
    out.extend(digits[..last].iter().map(|digit| digit + 1));
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    out.extend_from_slice(&scale.to_be_bytes());
}

pub(super) fn write_special(class: Class, out: &mut Vec<u8>) {
    let head = match class {
        Class::NegInfinity => 0x08,
        Class::Infinity => 0xf0,
        _ => 0xf8,
    };
    out.extend_from_slice(&[head, 0, 0]);
}

/// The length of the key (without the scale) that `bytes` begin with: how a composite key is taken apart.
pub fn key_len(bytes: &[u8]) -> Option<usize> {
    let head = *bytes.first()?;
    let (long, terminator) = match head {
        0x08 | 0x80 | 0xf0 | 0xf8 => return Some(1),
        0x1f..=0x5f => (matches!(!head, 0xe0 | 0xa0), 0xff),
        0xa0..=0xe0 => (matches!(head, 0xe0 | 0xa0), 0),
        _ => return None,
    };
    let digits = if long { 4 } else { 1 };
    let end = bytes.get(digits..)?.iter().position(|byte| *byte == terminator)?;
    Some(digits + end + 1)
}

/// Reads the binary wire form.
pub(super) fn from_wire(bytes: &[u8]) -> Result<Numeric> {
    let malformed = |what: &str| {
        SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, format!("invalid {what} in external \"numeric\" value"))
    };
    let short = || SqlError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message");
    let (words, rest) = bytes.as_chunks::<2>();
    let [count, weight, sign, scale, digits @ ..] = words else { return Err(short()) };
    let word = |bytes: &[u8; 2]| u16::from_be_bytes(*bytes);
    let (count, weight, sign, scale) = (word(count), i16::from_be_bytes(*weight), word(sign), word(scale));
    if digits.len() < usize::from(count) {
        return Err(short());
    }
    let negative = match sign {
        0 => false,
        0x4000 => true,
        0xc000 => return Ok(Numeric::NaN),
        0xd000 => return Ok(Numeric::Infinity),
        0xf000 => return Ok(Numeric::NegInfinity),
        _ => return Err(malformed("sign")),
    };
    if scale > SCALE_MAX {
        return Err(malformed("scale"));
    }
    if digits.len() > usize::from(count) || !rest.is_empty() {
        return Err(SqlError::new(
            SqlState::INVALID_BINARY_REPRESENTATION,
            "incorrect binary data format in bind parameter",
        ));
    }
    let mut hundreds = Vec::with_capacity(2 * digits.len());
    for digit in digits.iter().map(word) {
        if digit >= 10_000 {
            return Err(malformed("digit"));
        }
        hundreds.extend([(digit / 100) as u8, (digit % 100) as u8]);
    }
    let magnitude = BigUint::from_radix_be(&hundreds, 100).unwrap_or_default();
    // The digits end at 10000^(weight - count + 1); the display scale cuts what is behind it.
    let zeros = 4 * (i64::from(weight) - i64::from(count) + 1) + i64::from(scale);
    let ten = BigUint::from(10_u8);
    let magnitude = match u32::try_from(zeros) {
        Ok(_) if magnitude.is_zero() => magnitude,
        Ok(zeros) => magnitude * ten.pow(zeros),
        Err(_) => magnitude / ten.pow(zeros.unsigned_abs() as u32),
    };
    Ok(Numeric::finite(BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, magnitude), scale))
}
