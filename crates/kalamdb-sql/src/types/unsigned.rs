//! xid8 and pg_lsn: numbers of 64 bits without a sign. Their bytes are the numbers', the highest first.

use super::bytea::bytes_at;
use super::number::{read_unsigned, syntax};
use super::{Encoder, digits};
use arrow_array::Array;
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, Result};

/// A number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsigned(pub u64);

impl Unsigned {
    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// What [`Unsigned::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Unsigned(bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    fn datum(self) -> Datum {
        Datum::Bytes(self.to_bytes().into())
    }
}

/// Reads xid8, as C reads numbers: what is none is 0.
pub(super) fn read_xid8(text: &str) -> Datum {
    Unsigned(read_unsigned(text)).datum()
}

/// Reads pg_lsn: `16/B374D848`, the two halves in hexadecimal digits.
pub(super) fn read_lsn(text: &str) -> Result<Datum> {
    let half = |digits: &str| {
        let is_hex = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let halves = text.split_once('/').and_then(|(high, low)| Some(half(high)? << 32 | half(low)?));
    halves.map(|number| Unsigned(number).datum()).ok_or_else(|| syntax(text, "pg_lsn"))
}

/// xid8 as text.
pub(super) struct Xid8Text;
/// pg_lsn as text.
pub(super) struct LsnText;

impl Encoder for Xid8Text {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        digits::put_u64(Unsigned::from_bytes(bytes_at(array, row)).0, out);
    }
}

impl Encoder for LsnText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let number = Unsigned::from_bytes(bytes_at(array, row)).0;
        out.put_slice(format!("{:X}/{:X}", number >> 32, number & u64::from(u32::MAX)).as_bytes());
    }
}
