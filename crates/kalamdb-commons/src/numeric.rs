//! PostgreSQL's numeric: exact, with a display scale, NaN and infinities.
//!
//! Two forms: a value to calculate with, and bytes. The bytes are memcomparable: the *key* (sign, exponent, digits
//! without trailing zeros, terminator) orders as PostgreSQL orders (NaN above all), and two display scale bytes
//! behind it keep `1.00` apart from `1.0` when printed. Equality, groups and joins compare keys.

use bigdecimal::BigDecimal;

/// A numeric value.
#[derive(Clone, Debug, PartialEq)]
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

impl serde::Serialize for Numeric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> serde::Deserialize<'de> for Numeric {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde::Deserialize::deserialize(deserializer)?;
        Numeric::from_bytes(&bytes).ok_or_else(|| serde::de::Error::custom("malformed numeric"))
    }
}

impl Numeric {
    /// The byte form: key, then the display scale (two bytes, big endian).
    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Reads the byte form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let _ = bytes;
        None
    }
    /// The key inside the byte form: what orders and compares.
    pub fn key(bytes: &[u8]) -> &[u8] {
        bytes.len().checked_sub(2).map_or(bytes, |end| &bytes[..end])
    }
    /// Reads PostgreSQL's text form (surrounding blanks allowed). `None` for a syntax error.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        None
    }
}
