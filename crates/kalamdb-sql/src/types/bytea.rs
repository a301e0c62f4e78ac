//! bytea: hex and escape format.

use super::{Encoder, cell};
use arrow_array::{Array, BinaryArray, BinaryViewArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, Result, SqlError, SqlState};

/// Reads `\x0aff` or the escape format.
pub(super) fn read(text: &str) -> Result<Datum> {
    let bytes = match text.strip_prefix("\\x") {
        Some(hex) => from_hex(hex)?,
        None => from_escape(text)?,
    };
    Ok(Datum::Bytes(bytes.into()))
}

fn from_hex(hex: &str) -> Result<Vec<u8>> {
    let invalid = |message: String| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut chars = hex.chars();
    let digit = |ch: char| {
        let value = ch.to_digit(16).map(|value| value as u8);
        value.ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{ch}\"")))
    };
    while let Some(high) = chars.next() {
        // Blanks may stand between pairs, not inside one.
        if matches!(high, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(high)?;
        let low = chars.next().ok_or_else(|| invalid("invalid hexadecimal data: odd number of digits".into()))?;
        bytes.push(high << 4 | digit(low)?);
    }
    Ok(bytes)
}

fn from_escape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => {
                return Err(SqlError::new(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    "invalid input syntax for type bytea",
                ));
            }
            _ => {
                bytes.push(first);
                after
            }
        };
    }
    Ok(bytes)
}

/// The bytes at a place, whichever of the engine's binary arrays it is.
pub(super) fn bytes_at(array: &dyn Array, row: usize) -> &[u8] {
    match array.as_any().downcast_ref::<BinaryArray>() {
        Some(array) => array.value(row),
        None => cell::<BinaryViewArray>(array).value(row),
    }
}

/// Appends `\x…`.
pub(super) fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.put_u8(HEX[usize::from(byte >> 4)]);
        out.put_u8(HEX[usize::from(byte & 15)]);
    }
}

/// bytea in hex.
pub(super) struct HexText;
/// bytea with bytea_output = escape.
pub(super) struct EscapeText;
/// The bytes themselves.
pub(super) struct Raw;

impl Encoder for HexText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_slice(b"\\x");
        put_hex(bytes_at(array, row), out);
    }
}
impl Encoder for EscapeText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        for byte in bytes_at(array, row) {
            match byte {
                b'\\' => out.put_slice(b"\\\\"),
                0x20..=0x7e => out.put_u8(*byte),
                _ => out.put_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
            }
        }
    }
}
impl Encoder for Raw {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_slice(bytes_at(array, row));
    }
}
