//! boolean, smallint, integer, bigint, real, double precision, oid as a plain number.

use super::digits::{put_i64, put_u64};
use super::{Encoder, cell, trim};
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, UInt32Type,
};
use arrow_array::{Array, BooleanArray, PrimitiveArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, Result, SqlError, SqlState, SqlType};
use std::fmt::Write;

/// The error of an input function that cannot read its text.
pub(super) fn syntax(text: &str, type_name: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

/// Reads a boolean: any unambiguous beginning of true, yes, on, false, no, off; or 1, 0.
pub(super) fn read_bool(text: &str) -> Result<Datum> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if word == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2) {
        Ok(Datum::Bool(true))
    } else if word == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        Ok(Datum::Bool(false))
    } else {
        Err(syntax(text, "boolean"))
    }
}

/// Reads an integer of one of the three sizes.
pub(super) fn read_integer(text: &str, ty: SqlType) -> Result<Datum> {
    let name = ty.facts().sql_name;
    let trimmed = trim(text);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(syntax(text, name));
    }
    let value: Option<i64> = trimmed.parse().ok();
    let datum = value.and_then(|value| match ty {
        SqlType::Int2 => i16::try_from(value).ok().map(Datum::Int2),
        SqlType::Int4 => i32::try_from(value).ok().map(Datum::Int4),
        _ => Some(Datum::Int8(value)),
    });
    datum.ok_or_else(|| {
        SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type {name}"))
    })
}

/// Reads an OID; PostgreSQL takes negative ones as the number modulo 2^32.
pub(super) fn read_oid(text: &str, type_name: &str) -> Result<u32> {
    let trimmed = trim(text);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(syntax(text, type_name));
    }
    match trimmed.parse::<i64>() {
        Ok(value) if (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&value) => Ok(value as u32),
        _ => Err(SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("value \"{text}\" is out of range for type {type_name}"),
        )),
    }
}

/// Reads a number as C's `strtoul` does: blanks, a sign, a base by its prefix, and as many digits as there are. xid and
/// cid are read so; what follows the digits does not count.
pub(super) fn read_unsigned(text: &str) -> u64 {
    let text = text.trim_start_matches(super::is_blank);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with(|ch: char| ch.is_ascii_hexdigit()) => (digits, 16),
        _ if text.starts_with('0') => (text, 8),
        _ => (text, 10),
    };
    let mut value: u64 = 0;
    for digit in digits.chars().map_while(|ch| ch.to_digit(base)) {
        let Some(next) = value.checked_mul(u64::from(base)).and_then(|value| value.checked_add(u64::from(digit)))
        else {
            return u64::MAX;
        };
        value = next;
    }
    if negative { value.wrapping_neg() } else { value }
}

/// Reads a floating-point number of either size.
pub(super) fn read_float(text: &str, ty: SqlType) -> Result<Datum> {
    let name = ty.facts().sql_name;
    let trimmed = trim(text);
    // Rust's parser takes the same words and forms, except for a sign before "nan", which PostgreSQL refuses too.
    let value: f64 = trimmed.parse().map_err(|_| syntax(text, name))?;
    let is_word = trimmed.bytes().any(|byte| matches!(byte, b'n' | b'N'));
    let is_zero = || trimmed.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).all(|b| !matches!(b, b'1'..=b'9'));
    let out_of_range = || {
        SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{trimmed}\" is out of range for type {name}"))
    };
    if ty == SqlType::Float4 {
        let value: f32 = trimmed.parse().map_err(|_| syntax(text, name))?;
        if (value.is_infinite() && !is_word) || (value == 0.0 && !is_zero()) {
            return Err(out_of_range());
        }
        return Ok(Datum::Float4(value));
    }
    if (value.is_infinite() && !is_word) || (value == 0.0 && !is_zero()) {
        return Err(out_of_range());
    }
    Ok(Datum::Float8(value))
}

/// A number on the stack while it is formatted.
struct Scratch {
    bytes: [u8; 64],
    len: usize,
}

impl Scratch {
    fn of(arguments: std::fmt::Arguments<'_>) -> Self {
        let mut scratch = Scratch { bytes: [0; 64], len: 0 };
        // 17 significant digits, a sign and an exponent are fewer than 64 bytes.
        let _ = scratch.write_fmt(arguments);
        scratch
    }
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
    fn as_text(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
    /// How many significant digits there are.
    fn digits(&self) -> usize {
        self.as_bytes().iter().take_while(|byte| **byte != b'e').filter(|byte| byte.is_ascii_digit()).count()
    }
    /// Whether it reads back as this number.
    fn is<T: std::str::FromStr + PartialEq>(&self, value: T) -> bool {
        self.as_text().parse().is_ok_and(|read: T| read == value)
    }
    /// Whether it lies just between a number and a neighbour. Only large whole numbers have so short midpoints.
    fn is_midpoint(&self, value: f64, below: f64, above: f64) -> bool {
        const WHOLE: std::ops::Range<f64> = 4_194_304.0..1e37;
        let text = self.as_text().trim_start_matches('-');
        let Some((digits, exponent)) = text.split_once('e').filter(|_| WHOLE.contains(&value.abs())) else {
            return false;
        };
        let behind = digits.split_once('.').map_or(0, |(_, behind)| behind.len() as u32);
        let exponent: u32 = exponent.parse().unwrap_or(0);
        let digits: u128 = digits.replace('.', "").parse().unwrap_or(0);
        let Some(shown) =
            exponent.checked_sub(behind).and_then(|power| digits.checked_mul(10_u128.checked_pow(power)?))
        else {
            return false;
        };
        // Twice the middle, in halves of units, so that neighbours half a unit apart have one too.
        let twice = |neighbour: f64| (value.abs() * 2.0) as u128 + (neighbour.abs() * 2.0) as u128;
        [below, above].iter().any(|neighbour| twice(*neighbour) == shown * 4)
    }
}

/// The shortest digits that read back as a number. The library's are nearly always PostgreSQL's, which differ twice:
/// halfway between two shortest ones it takes the even one, and it never takes what is just between two numbers.
fn shortest(
    library: Scratch,
    long: usize,
    exact: &dyn Fn(usize) -> Scratch,
    is_midpoint: &dyn Fn(&Scratch) -> bool,
    reads_back: &dyn Fn(&Scratch) -> bool,
) -> Scratch {
    let digits = library.digits();
    let inside = |text: &Scratch| !is_midpoint(text) && reads_back(text);
    if is_midpoint(&library) {
        return (digits..=long + 2).map(exact).find(inside).unwrap_or(library);
    }
    let nearest = if digits < long { return library } else { exact(digits) };
    if inside(&nearest) { nearest } else { library }
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Appends a double as PostgreSQL prints it.
pub(super) fn put_f64(value: f64, extra_digits: i32, out: &mut BytesMut) {
    if extra_digits > 0 {
        let midpoint = |text: &Scratch| text.is_midpoint(value, value.next_down(), value.next_up());
        let exact = |digits| Scratch::of(format_args!("{value:.*e}", digits - 1));
        let shortest = shortest(Scratch::of(format_args!("{value:e}")), 16, &exact, &midpoint, &|text| text.is(value));
        return put_float(value, shortest.as_bytes(), 15, out);
    }
    let digits = (15 + extra_digits).max(1) as usize;
    put_float(value, Scratch::of(format_args!("{value:.*e}", digits - 1)).as_bytes(), digits as i32, out);
}

/// Appends a real as PostgreSQL prints it.
pub(super) fn put_f32(value: f32, extra_digits: i32, out: &mut BytesMut) {
    if extra_digits > 0 {
        let [below, at, above] = [value.next_down(), value, value.next_up()].map(f64::from);
        let midpoint = |text: &Scratch| text.is_midpoint(at, below, above);
        let exact = |digits| Scratch::of(format_args!("{value:.*e}", digits - 1));
        let shortest = shortest(Scratch::of(format_args!("{value:e}")), 7, &exact, &midpoint, &|text| text.is(value));
        return put_float(f64::from(value), shortest.as_bytes(), 6, out);
    }
    let digits = (6 + extra_digits).max(1) as usize;
    put_float(f64::from(value), Scratch::of(format_args!("{value:.*e}", digits - 1)).as_bytes(), digits as i32, out);
}

/// Turns `-1.25e-7` into C's %g form: an exponent below -4 or from `plain_max` on, else plain digits.
fn put_float(value: f64, scientific: &[u8], plain_max: i32, out: &mut BytesMut) {
    if value.is_nan() {
        return out.put_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.put_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let (sign, scientific) = match scientific.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, scientific),
    };
    if sign {
        out.put_u8(b'-');
    }
    let split = scientific.iter().position(|byte| *byte == b'e').unwrap_or(scientific.len());
    let exponent = std::str::from_utf8(scientific.get(split + 1..).unwrap_or_default()).unwrap_or_default();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut digits = [b'0'; 64];
    let mut count = 0;
    for byte in scientific[..split].iter().filter(|byte| **byte != b'.') {
        digits[count] = *byte;
        count += 1;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    let digits = &digits[..count];
    if !(-4..plain_max).contains(&exponent) {
        out.put_u8(digits[0]);
        if count > 1 {
            out.put_u8(b'.');
            out.put_slice(&digits[1..]);
        }
        out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        return super::digits::put_2(exponent.unsigned_abs(), out);
    }
    if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (-exponent - 1) as usize);
        return out.put_slice(digits);
    }
    let whole = exponent as usize + 1;
    if count <= whole {
        out.put_slice(digits);
        return out.put_bytes(b'0', whole - count);
    }
    out.put_slice(&digits[..whole]);
    out.put_u8(b'.');
    out.put_slice(&digits[whole..]);
}

/// boolean as `t` and `f`.
pub(super) struct BoolText;
/// boolean as one byte.
pub(super) struct BoolBinary;
/// Integers and OIDs as digits.
pub(super) struct IntegerText<T>(pub std::marker::PhantomData<T>);
/// Numbers in network order.
pub(super) struct NumberBinary<T>(pub std::marker::PhantomData<T>);
/// real; extra_float_digits.
pub(super) struct Float4Text(pub i32);
/// double precision; extra_float_digits.
pub(super) struct Float8Text(pub i32);

impl Encoder for BoolText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_u8(if cell::<BooleanArray>(array).value(row) { b't' } else { b'f' });
    }
}
impl Encoder for BoolBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_u8(u8::from(cell::<BooleanArray>(array).value(row)));
    }
}
impl Encoder for Float4Text {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        put_f32(cell::<PrimitiveArray<Float32Type>>(array).value(row), self.0, out);
    }
}
impl Encoder for Float8Text {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        put_f64(cell::<PrimitiveArray<Float64Type>>(array).value(row), self.0, out);
    }
}

/// How a native number is written.
pub(super) trait Native: ArrowPrimitiveType + Send {
    fn text(value: Self::Native, out: &mut BytesMut);
    fn binary(value: Self::Native, out: &mut BytesMut);
}

macro_rules! native {
    ($($ty:ident $text:expr),+ $(,)?) => {
        $(impl Native for $ty {
            fn text(value: Self::Native, out: &mut BytesMut) {
                $text(value, out)
            }
            fn binary(value: Self::Native, out: &mut BytesMut) {
                out.put_slice(&value.to_be_bytes());
            }
        })+
    };
}
native! {
    Int16Type |value, out| put_i64(i64::from(value), out),
    Int32Type |value, out| put_i64(i64::from(value), out),
    Int64Type put_i64,
    Time64MicrosecondType put_i64,
    UInt32Type |value, out| put_u64(u64::from(value), out),
    Float32Type |value, out| put_f32(value, 1, out),
    Float64Type |value, out| put_f64(value, 1, out),
}

impl<T: Native> Encoder for IntegerText<T> {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        T::text(cell::<PrimitiveArray<T>>(array).value(row), out);
    }
}
impl<T: Native> Encoder for NumberBinary<T> {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        T::binary(cell::<PrimitiveArray<T>>(array).value(row), out);
    }
}
