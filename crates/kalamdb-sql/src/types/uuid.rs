//! uuid.

use super::number::syntax;
use super::{Encoder, cell};
use arrow_array::{Array, FixedSizeBinaryArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, Result};

/// Reads a uuid: 32 hexadecimal digits, hyphens allowed after every fourth, braces around it allowed.
pub(super) fn read(text: &str) -> Result<Datum> {
    parse(text).map(Datum::Uuid).ok_or_else(|| syntax(text, "uuid"))
}

fn parse(text: &str) -> Option<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut bytes = [0_u8; 16];
    let mut rest = inner.as_bytes();
    for (place, byte) in bytes.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else { return None };
        let digit = |ch: u8| char::from(ch).to_digit(16).map(|value| value as u8);
        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = match after {
            [b'-', more @ ..] if place % 2 == 1 && place < 15 => more,
            _ => after,
        };
    }
    rest.is_empty().then_some(bytes)
}

/// uuid as text.
pub(super) struct UuidText;
/// uuid as 16 bytes.
pub(super) struct UuidBinary;

impl Encoder for UuidText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let bytes = cell::<FixedSizeBinaryArray>(array).value(row);
        for (place, part) in [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..16]].iter().enumerate()
        {
            if place > 0 {
                out.put_u8(b'-');
            }
            super::bytea::put_hex(part, out);
        }
    }
}
impl Encoder for UuidBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_slice(cell::<FixedSizeBinaryArray>(array).value(row));
    }
}
