//! vector, as the extension pgvector has it: `[1,2,3]`, and in binary two numbers of two bytes before the elements.

use super::bytea::bytes_at;
use super::{Encoder, insufficient, is_blank, number, surplus};
use arrow_array::Array;
use bytes::{Buf, BufMut, BytesMut};
use kalamdb_commons::vector::{self, DIMENSIONS_MAX};
use kalamdb_commons::{Datum, Result, SqlError, SqlState};

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::DATA_EXCEPTION, message)
}

/// Checks that a vector can have so many elements.
///
/// # Errors
/// 22000, 54000
pub(crate) fn check_dimensions(dimensions: usize) -> Result<()> {
    match dimensions {
        0 => Err(wrong("vector must have at least 1 dimension")),
        1..=DIMENSIONS_MAX => Ok(()),
        _ => {
            let message = format!("vector cannot have more than {DIMENSIONS_MAX} dimensions");
            Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message))
        }
    }
}

/// Checks an element.
///
/// # Errors
/// 22000
pub(crate) fn check_element(element: f32) -> Result<f32> {
    match element {
        element if element.is_nan() => Err(wrong("NaN not allowed in vector")),
        element if element.is_infinite() => Err(wrong("infinite value not allowed in vector")),
        element => Ok(element),
    }
}

/// Checks the number of elements against a type's modifier.
///
/// # Errors
/// 22000
pub(crate) fn fit(bytes: &[u8], typmod: i32) -> Result<()> {
    let dimensions = vector::dimensions(bytes);
    match usize::try_from(typmod) {
        Ok(expected) if expected != dimensions => {
            Err(wrong(format!("expected {expected} dimensions, not {dimensions}")))
        }
        _ => Ok(()),
    }
}

/// Reads `[1,2,3]`.
pub(super) fn read(text: &str, typmod: i32) -> Result<Datum> {
    let syntax = || number::syntax(text, "vector");
    let Some(mut rest) = text.trim_start_matches(is_blank).strip_prefix('[') else {
        return Err(syntax().with_detail("Vector contents must start with \"[\"."));
    };
    rest = rest.trim_start_matches(is_blank);
    if rest.starts_with(']') {
        check_dimensions(0)?;
    }
    let mut elements = Vec::new();
    let behind = loop {
        if elements.len() == DIMENSIONS_MAX {
            check_dimensions(DIMENSIONS_MAX + 1)?;
        }
        rest = rest.trim_start_matches(is_blank);
        let written = &rest[..number_length(rest)];
        let element: f32 = written.parse().map_err(|_| syntax())?;
        if element.is_infinite() && !written.contains(['n', 'N']) {
            let message = format!("\"{written}\" is out of range for type vector");
            return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
        }
        elements.push(check_element(element)?);
        rest = rest[written.len()..].trim_start_matches(is_blank);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break rest.strip_prefix(']').ok_or_else(syntax)?,
        }
    };
    if !behind.trim_start_matches(is_blank).is_empty() {
        return Err(syntax().with_detail("Junk after closing right brace."));
    }
    let bytes = vector::of(elements);
    fit(&bytes, typmod)?;
    Ok(Datum::Bytes(bytes.into()))
}

/// How many bytes at the beginning of a text are a number, as C's strtof sees it.
fn number_length(text: &str) -> usize {
    let sign = usize::from(text.starts_with(['+', '-']));
    let bare = &text[sign..];
    for word in ["infinity", "inf", "nan"] {
        if bare.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word)) {
            return sign + word.len();
        }
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(bare);
    let mut length = whole;
    if let Some(fraction) = bare[length..].strip_prefix('.') {
        let behind = digits(fraction);
        if whole + behind > 0 {
            length += 1 + behind;
        }
    }
    if length == 0 {
        return 0;
    }
    if let Some(exponent) = bare[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let behind = digits(&exponent[sign..]);
        if behind > 0 {
            length += 1 + sign + behind;
        }
    }
    sign + length
}

/// Reads the binary form.
pub(super) fn read_binary(mut bytes: &[u8], typmod: i32) -> Result<Datum> {
    let dimensions = bytes.try_get_i16().map_err(|_| insufficient())?;
    let unused = bytes.try_get_i16().map_err(|_| insufficient())?;
    check_dimensions(usize::try_from(dimensions).unwrap_or(0))?;
    if unused != 0 {
        return Err(wrong(format!("expected unused to be 0, not {unused}")));
    }
    let mut elements = Vec::with_capacity(bytes.len() / 4);
    for _ in 0..dimensions {
        elements.push(check_element(bytes.try_get_f32().map_err(|_| insufficient())?)?);
    }
    if !bytes.is_empty() {
        return Err(surplus());
    }
    let bytes = vector::of(elements);
    fit(&bytes, typmod)?;
    Ok(Datum::Bytes(bytes.into()))
}

/// vector as text.
pub(super) struct VectorText;
/// vector in binary.
pub(super) struct VectorBinary;

impl Encoder for VectorText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_u8(b'[');
        for (place, element) in vector::elements(bytes_at(array, row)).enumerate() {
            if place > 0 {
                out.put_u8(b',');
            }
            number::put_f32(element, 1, out);
        }
        out.put_u8(b']');
    }
}

impl Encoder for VectorBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let bytes = bytes_at(array, row);
        // At most 16000.
        out.put_i16(vector::dimensions(bytes) as i16);
        out.put_i16(0);
        vector::elements(bytes).for_each(|element| out.put_f32(element));
    }
}
