//! Memcomparable keys.
//!
//! A full key is `table id | user number (USER and STREAM) | primary key`. What the other rooms call a row's *key* is
//! the last part alone; [`prefix`] makes the first two, which is one contiguous range of rows. Each key column has a
//! form that no other value's form is a prefix of, so forms can stand one behind the other and a range over the first
//! columns of a composite key is a range of bytes. Variable parts escape `00` as `00 FF` and end with `00 01`.

use super::CodecError;
use crate::definition::TableDef;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray,
};
use kalamdb_commons::{ColumnId, Datum, Numeric, Scope, Seq, SqlType, TableId, vector};

/// Behind the escaped bytes of a variable part; below every escaped `00`, so that a shorter text is the lesser.
const TERMINATOR: [u8; 2] = [0x00, 0x01];
/// `00` inside a variable part.
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xFF];

/// A range of keys: from `start` (inclusive) to `end` (exclusive; `None`: to the last).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The first key that is in it.
    pub start: Vec<u8>,
    /// The first key that is not; `None` for a range that is open above.
    pub end: Option<Vec<u8>>,
}

/// So many rows at one end of a range of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The rows with the lowest keys.
    First(usize),
    /// Those with the highest.
    Last(usize),
}

impl Edge {
    /// How many rows at most.
    pub fn rows(self) -> usize {
        let (Edge::First(rows) | Edge::Last(rows)) = self;
        rows
    }
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self::default()
    }

    /// The one key.
    pub fn point(key: &[u8]) -> Self {
        let mut end = key.to_vec();
        end.push(0);
        Self { start: key.to_vec(), end: Some(end) }
    }

    /// The keys that begin with `prefix`.
    pub fn of_prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: after_prefix(prefix) }
    }

    /// Whether the key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_deref().is_some_and(|end| end <= self.start.as_slice())
    }

    /// The keys that are in both.
    pub fn intersect(&self, other: &KeyRange) -> KeyRange {
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.min(b).clone()),
            (Some(end), None) | (None, Some(end)) => Some(end.clone()),
            (None, None) => None,
        };
        KeyRange { start: (&self.start).max(&other.start).clone(), end }
    }

    /// The same range behind a prefix: of full keys instead of keys inside a partition.
    pub fn behind(&self, prefix: &[u8]) -> KeyRange {
        let end = match &self.end {
            Some(end) => Some([prefix, end].concat()),
            None => after_prefix(prefix),
        };
        KeyRange { start: [prefix, &self.start].concat(), end }
    }
}

/// The least key above all that begin with `prefix`; `None` when there is none (a prefix of `FF`s, or an empty one).
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

/// The prefix of a partition's rows: `table id | user number` (the latter for USER and STREAM).
pub fn prefix(table: TableId, scope: Scope) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    out.extend_from_slice(&table.0.to_be_bytes());
    if let Scope::User(user) = scope {
        out.extend_from_slice(&user.0.to_be_bytes());
    }
    out
}

/// The key of a table without a primary key.
pub fn hidden(row_id: u64) -> Vec<u8> {
    row_id.to_be_bytes().to_vec()
}

/// The key of a tombstone: one key may have several, the newest last.
pub fn tombstone(key: &[u8], seq: Seq) -> Vec<u8> {
    [key, &seq.0.to_be_bytes()].concat()
}

/// Key and `_seq` of a tombstone's key.
pub fn split_tombstone(key: &[u8]) -> Option<(&[u8], Seq)> {
    let (key, seq) = key.split_last_chunk::<8>()?;
    Some((key, Seq(u64::from_be_bytes(*seq))))
}

/// Whether a column of this type can be in a key.
///
/// # Errors
/// [`CodecError::KeyType`] if not.
pub fn check_type(ty: SqlType) -> Result<(), CodecError> {
    use SqlType::*;
    match ty {
        Bool | Int2 | Int4 | Int8 | Enum(_) | Float4 | Float8 | Numeric | Text | Varchar | Bpchar | Name | Char
        | Date | Time | Timestamp | Timestamptz | Uuid => Ok(()),
        ty if ty.is_bytes() => Ok(()),
        ty if ty.is_oid_like() => Ok(()),
        other => Err(CodecError::KeyType(other)),
    }
}

/// The key of some values, in key order: the whole key, or its first columns for the bounds of a range.
///
/// # Errors
/// [`CodecError::KeyType`], [`CodecError::NullInKey`], [`CodecError::WrongDatum`].
pub fn encode<'a>(columns: impl IntoIterator<Item = (SqlType, &'a Datum)>) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(16);
    for (ty, datum) in columns {
        put_datum(&mut out, ty, datum)?;
    }
    Ok(out)
}

fn put_datum(out: &mut Vec<u8>, ty: SqlType, datum: &Datum) -> Result<(), CodecError> {
    check_type(ty)?;
    match (ty, datum) {
        (_, Datum::Null) => return Err(CodecError::NullInKey),
        (SqlType::Bool, Datum::Bool(value)) => out.push(u8::from(*value)),
        (SqlType::Int2, Datum::Int2(value)) => put_i16(out, *value),
        (SqlType::Int4, Datum::Int4(value)) => put_i32(out, *value),
        (SqlType::Int8 | SqlType::Enum(_), Datum::Int8(value)) => put_i64(out, *value),
        (SqlType::Float4, Datum::Float4(value)) => put_f32(out, *value),
        (SqlType::Float8, Datum::Float8(value)) => put_f64(out, *value),
        (SqlType::Numeric, Datum::Numeric(value)) => put_bytes(out, Numeric::key(&value.to_bytes())),
        (SqlType::Bpchar, Datum::Text(text)) => put_bytes(out, text.trim_end_matches(' ').as_bytes()),
        (SqlType::Text | SqlType::Varchar | SqlType::Name | SqlType::Char, Datum::Text(text)) => {
            put_bytes(out, text.as_bytes());
        }
        (SqlType::Vector, Datum::Bytes(bytes)) => put_bytes(out, &vector::key(bytes)),
        (ty, Datum::Bytes(bytes)) if ty.is_bytes() => put_bytes(out, bytes),
        (SqlType::Date, Datum::Date(days)) => put_i32(out, *days),
        (SqlType::Time, Datum::Time(us)) => put_i64(out, *us),
        (SqlType::Timestamp, Datum::Timestamp(us)) => put_i64(out, *us),
        (SqlType::Timestamptz, Datum::Timestamptz(us)) => put_i64(out, *us),
        (SqlType::Uuid, Datum::Uuid(bytes)) => out.extend_from_slice(bytes),
        (ty, Datum::Oid(oid)) if ty.is_oid_like() => out.extend_from_slice(&oid.to_be_bytes()),
        _ => return Err(CodecError::WrongDatum(ty)),
    }
    Ok(())
}

// Flipping the sign bit puts negative numbers below positive ones in byte order.
fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&(value ^ i16::MIN).to_be_bytes());
}
fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&(value ^ i32::MIN).to_be_bytes());
}
fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&(value ^ i64::MIN).to_be_bytes());
}

// PostgreSQL: -0 equals 0, and NaN equals itself and is above all others.
fn put_f32(out: &mut Vec<u8>, value: f32) {
    let bits = match value {
        value if value.is_nan() => f32::NAN.to_bits() & !(1 << 31),
        0.0 => 0,
        value => value.to_bits(),
    };
    let ordered = if bits >> 31 == 1 { !bits } else { bits ^ (1 << 31) };
    out.extend_from_slice(&ordered.to_be_bytes());
}
fn put_f64(out: &mut Vec<u8>, value: f64) {
    let bits = match value {
        value if value.is_nan() => f64::NAN.to_bits() & !(1 << 63),
        0.0 => 0,
        value => value.to_bits(),
    };
    let ordered = if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) };
    out.extend_from_slice(&ordered.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..zero]);
        out.extend_from_slice(&ESCAPED_ZERO);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&TERMINATOR);
}

/// Makes keys straight from the columns of a batch; what each column is was decided once.
pub struct KeyEncoder<'a> {
    columns: Vec<KeyColumn<'a>>,
}

pub(super) enum KeyColumn<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a PrimitiveArray<Int16Type>),
    Int4(&'a PrimitiveArray<Int32Type>),
    Int8(&'a PrimitiveArray<Int64Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
    Numeric(&'a BinaryArray),
    Text(&'a StringArray),
    Bpchar(&'a StringArray),
    Bytes(&'a BinaryArray),
    Vector(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Uuid(&'a FixedSizeBinaryArray),
    Oid(&'a PrimitiveArray<UInt32Type>),
}

impl<'a> KeyEncoder<'a> {
    /// For keys of `def` from a batch whose columns are `columns`.
    ///
    /// # Errors
    /// [`CodecError::NoColumn`] when a key column is not there (or the table has no primary key: the hidden row id is
    /// made by [`hidden`]), [`CodecError::KeyType`], [`CodecError::WrongDatum`].
    pub fn new(def: &TableDef, batch: &'a RecordBatch, columns: &[ColumnId]) -> Result<Self, CodecError> {
        let key = def.primary_key.as_ref().map_or(&[][..], |key| key.columns.as_slice());
        if key.is_empty() {
            return Err(CodecError::NoColumn(ColumnId::ROW_KEY));
        }
        let column = |id: &ColumnId| {
            let place = columns.iter().position(|column| column == id).ok_or(CodecError::NoColumn(*id))?;
            let ty = def.column(*id).ok_or(CodecError::NoColumn(*id))?.ty.ty;
            KeyColumn::new(ty, batch.column(place))
        };
        Ok(Self { columns: key.iter().map(column).collect::<Result<_, _>>()? })
    }

    /// The key of a row.
    ///
    /// # Errors
    /// [`CodecError::NullInKey`].
    pub fn encode(&self, row: usize) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::with_capacity(8 * self.columns.len());
        for column in &self.columns {
            column.put(&mut out, row)?;
        }
        Ok(out)
    }
}

impl<'a> KeyColumn<'a> {
    pub(super) fn new(ty: SqlType, array: &'a ArrayRef) -> Result<Self, CodecError> {
        check_type(ty)?;
        let column = match ty {
            SqlType::Bool => array.as_boolean_opt().map(KeyColumn::Bool),
            SqlType::Int2 => array.as_primitive_opt().map(KeyColumn::Int2),
            SqlType::Int4 => array.as_primitive_opt().map(KeyColumn::Int4),
            SqlType::Int8 | SqlType::Enum(_) => array.as_primitive_opt().map(KeyColumn::Int8),
            SqlType::Float4 => array.as_primitive_opt().map(KeyColumn::Float4),
            SqlType::Float8 => array.as_primitive_opt().map(KeyColumn::Float8),
            SqlType::Numeric => array.as_binary_opt().map(KeyColumn::Numeric),
            SqlType::Bpchar => array.as_string_opt().map(KeyColumn::Bpchar),
            SqlType::Vector => array.as_binary_opt().map(KeyColumn::Vector),
            ty if ty.is_bytes() => array.as_binary_opt().map(KeyColumn::Bytes),
            SqlType::Date => array.as_primitive_opt().map(KeyColumn::Date),
            SqlType::Time => array.as_primitive_opt().map(KeyColumn::Time),
            SqlType::Timestamp | SqlType::Timestamptz => array.as_primitive_opt().map(KeyColumn::Timestamp),
            SqlType::Uuid => array.as_fixed_size_binary_opt().map(KeyColumn::Uuid),
            ty if ty.is_oid_like() => array.as_primitive_opt().map(KeyColumn::Oid),
            _ => array.as_string_opt().map(KeyColumn::Text),
        };
        column.ok_or(CodecError::WrongDatum(ty))
    }

    pub(super) fn array(&self) -> &dyn Array {
        match self {
            KeyColumn::Bool(array) => array,
            KeyColumn::Int2(array) => array,
            KeyColumn::Int4(array) => array,
            KeyColumn::Int8(array) => array,
            KeyColumn::Float4(array) => array,
            KeyColumn::Float8(array) => array,
            KeyColumn::Numeric(array) | KeyColumn::Bytes(array) | KeyColumn::Vector(array) => array,
            KeyColumn::Text(array) | KeyColumn::Bpchar(array) => array,
            KeyColumn::Date(array) => array,
            KeyColumn::Time(array) => array,
            KeyColumn::Timestamp(array) => array,
            KeyColumn::Uuid(array) => array,
            KeyColumn::Oid(array) => array,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>, row: usize) -> Result<(), CodecError> {
        if self.array().is_null(row) {
            return Err(CodecError::NullInKey);
        }
        match self {
            KeyColumn::Bool(array) => out.push(u8::from(array.value(row))),
            KeyColumn::Int2(array) => put_i16(out, array.value(row)),
            KeyColumn::Int4(array) => put_i32(out, array.value(row)),
            KeyColumn::Int8(array) => put_i64(out, array.value(row)),
            KeyColumn::Float4(array) => put_f32(out, array.value(row)),
            KeyColumn::Float8(array) => put_f64(out, array.value(row)),
            KeyColumn::Numeric(array) => put_bytes(out, Numeric::key(array.value(row))),
            KeyColumn::Text(array) => put_bytes(out, array.value(row).as_bytes()),
            KeyColumn::Bpchar(array) => put_bytes(out, array.value(row).trim_end_matches(' ').as_bytes()),
            KeyColumn::Bytes(array) => put_bytes(out, array.value(row)),
            KeyColumn::Vector(array) => put_bytes(out, &vector::key(array.value(row))),
            KeyColumn::Date(array) => put_i32(out, array.value(row)),
            KeyColumn::Time(array) => put_i64(out, array.value(row)),
            KeyColumn::Timestamp(array) => put_i64(out, array.value(row)),
            KeyColumn::Uuid(array) => out.extend_from_slice(array.value(row)),
            KeyColumn::Oid(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
        }
        Ok(())
    }
}
