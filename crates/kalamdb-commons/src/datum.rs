//! A single value: a parameter, a key column, a default, a constant. Columns of values are Arrow arrays.

use crate::array::Shape;
use crate::numeric::Numeric;
use crate::sql_type::{PgType, SqlType};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// One value or NULL. The variant is the value's family; the SQL type stands beside it where it matters.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Datum {
    /// NULL of any type.
    #[default]
    Null,
    /// boolean
    Bool(bool),
    /// smallint
    Int2(i16),
    /// integer
    Int4(i32),
    /// bigint
    Int8(i64),
    /// real
    Float4(f32),
    /// double precision
    Float8(f64),
    /// numeric
    Numeric(Numeric),
    /// text, varchar, char(n) (padded), name, "char", json (as written), jsonb (normalised), unknown
    Text(Arc<str>),
    /// bytea, and the types whose values are bytes in a form of their own (`SqlType::is_bytes`)
    Bytes(Arc<[u8]>),
    /// date: days since 1970-01-01; `i32::MAX` and `i32::MIN` are infinity and -infinity
    Date(i32),
    /// time: microseconds since midnight
    Time(i64),
    /// timestamp: microseconds since 1970-01-01 00:00; `i64::MAX` and `i64::MIN` are infinity and -infinity
    Timestamp(i64),
    /// timestamptz: microseconds since 1970-01-01 00:00 UTC, infinities as above
    Timestamptz(i64),
    /// interval
    Interval(Interval),
    /// uuid
    Uuid([u8; 16]),
    /// oid, regclass and its kin, xid, cid
    Oid(u32),
    /// an array
    Array(Box<ArrayDatum>),
    /// record: a row value
    Record(Box<RecordDatum>),
}

/// An array value.
#[derive(Clone, PartialEq, Debug)]
pub struct ArrayDatum {
    /// The element type.
    pub element: SqlType,
    /// The items, in order: the last subscript runs fastest.
    pub items: Vec<Datum>,
    /// The dimensions, of an array that is not the usual one.
    pub shape: Option<Shape>,
}

impl ArrayDatum {
    /// An array of one dimension that counts from its type's first subscript; an empty one without items.
    pub fn usual(element: SqlType, items: Vec<Datum>) -> Self {
        Self { element, items, shape: None }
    }
}

impl From<ArrayDatum> for Datum {
    fn from(array: ArrayDatum) -> Self {
        Datum::Array(Box::new(array))
    }
}

/// Element type, items, and the shape's bytes where there is one: the stored form of an array without a shape is as it
/// was before there were shapes. The top bit of the type's number, which no type uses, says that a shape follows.
impl Serialize for ArrayDatum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_tuple(2 + usize::from(self.shape.is_some()))?;
        let flag = if self.shape.is_some() { SHAPED } else { 0 };
        parts.serialize_element(&(self.element.oid() | flag))?;
        parts.serialize_element(&self.items)?;
        if let Some(shape) = &self.shape {
            let mut bytes = Vec::new();
            shape.write(&mut bytes);
            parts.serialize_element(&bytes)?;
        }
        parts.end()
    }
}

const SHAPED: u32 = 1 << 31;

impl<'de> Deserialize<'de> for ArrayDatum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = ArrayDatum;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<ArrayDatum, A::Error> {
                let oid: u32 = parts.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let items = parts.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let element = SqlType::try_from(oid & !SHAPED).map_err(de::Error::custom)?;
                let shape = match oid & SHAPED {
                    0 => None,
                    _ => {
                        let bytes: Vec<u8> =
                            parts.next_element()?.ok_or_else(|| de::Error::invalid_length(2, &self))?;
                        let read = Shape::read(&bytes).map(|(shape, _)| shape);
                        Some(read.ok_or_else(|| de::Error::custom("an array's shape is cut"))?)
                    }
                };
                Ok(ArrayDatum { element, items, shape })
            }
        }
        deserializer.deserialize_tuple(3, Parts)
    }
}

/// A row value. It says itself what its fields are: the type `record` does not.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RecordDatum {
    /// The fields, in order.
    pub fields: Vec<RecordField>,
}

/// A field of a row value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordField {
    /// The column's name; `f1`, `f2` … for `ROW(…)`.
    pub name: Arc<str>,
    /// Its type.
    pub ty: PgType,
    /// Its value.
    pub value: Datum,
}

/// An interval in PostgreSQL's three parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub us: i64,
}

impl Datum {
    /// A text value.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Datum::Text(text.into())
    }
    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }
    /// The text of a text-like value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(text) => Some(text),
            _ => None,
        }
    }
    /// Any integer or OID, widened.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Datum::Int2(v) => Some(i64::from(*v)),
            Datum::Int4(v) => Some(i64::from(*v)),
            Datum::Int8(v) => Some(*v),
            Datum::Oid(v) => Some(i64::from(*v)),
            _ => None,
        }
    }
}
