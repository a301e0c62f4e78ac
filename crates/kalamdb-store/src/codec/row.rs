//! Stored rows.
//!
//! ```text
//! 0   u64 LE  _seq          patched by the committer
//! 8   i64 LE  _updated      patched by the committer
//! 16  u32 LE  schema version
//! 20  u16 LE  n, the number of column slots (ids 1 to n); the top bit says that ends are u32 instead of u16
//! 22  ⌈n/8⌉   bit i: column i + 1 has a value
//!     n × end where the value of column i + 1 ends, counted from the end of this table (it begins where the one
//!             before it ends)
//!     bytes   the values
//! ```
//! So one column is found by two loads, whatever stands before it. A column whose number is above n came after the
//! row was written: it reads as [`ColumnDef::missing`]. Numbers are little endian; texts are UTF-8; numeric has its
//! byte form; an array is a count (its top bit says that a shape follows: the number of dimensions, and for each its
//! lower bound and length) and, for each item, a length (`u32::MAX` for NULL) and its bytes.

use super::CodecError;
use crate::definition::{ColumnDef, TableDef};
use arrow_array::cast::AsArray;
use arrow_array::types::IntervalMonthDayNanoType;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray};
use arrow_array::{RecordBatch, StringArray};
use arrow_buffer::NullBuffer;
use kalamdb_commons::array::{Arrays, Shape};
use kalamdb_commons::{ArrayDatum, ColumnId, Datum, Interval, Numeric, Seq, SqlType};

/// Where `_seq` is.
pub const SEQ_OFFSET: usize = 0;
/// Where `_updated` is.
pub const UPDATED_OFFSET: usize = 8;
const VERSION_OFFSET: usize = 16;
/// The fixed part in front of the columns.
pub const HEADER_LEN: usize = 20;

/// The top bit of the slot count: ends are four bytes wide.
const WIDE: u16 = 0x8000;
/// The top bit of an array's count: a shape follows.
const SHAPED: u32 = 1 << 31;
/// The length of an array's item that is NULL.
const NULL_ITEM: u32 = u32::MAX;
/// PostgreSQL's bound on a field (and so ours on a row): lengths stay well inside 32 bits.
const ROW_BYTES_MAX: usize = 1 << 30;

// Arrow's buffers are copied as they are, so their order of bytes must be the format's.
const _: () = assert!(cfg!(target_endian = "little"), "stored rows are little endian, as Arrow's buffers are here");

/// Writes `_seq` and `_updated` into a stored row.
pub fn stamp(row: &mut [u8], seq: Seq, updated_us: i64) {
    assert!(row.len() >= HEADER_LEN, "a stored row has a header");
    row[SEQ_OFFSET..SEQ_OFFSET + 8].copy_from_slice(&seq.0.to_le_bytes());
    row[UPDATED_OFFSET..UPDATED_OFFSET + 8].copy_from_slice(&updated_us.to_le_bytes());
}

/// The `_seq` of a stored row; `None` for one of the transaction's own (not committed yet) and for a damaged one.
pub fn seq_of(row: &[u8]) -> Option<Seq> {
    let seq = u64::from_le_bytes(*row.get(SEQ_OFFSET..)?.first_chunk()?);
    (seq != 0).then_some(Seq(seq))
}

/// The bytes of one row while they are made; reused from row to row.
#[derive(Default)]
struct Slots {
    present: Vec<u8>,
    ends: Vec<u32>,
    body: Vec<u8>,
}

impl Slots {
    fn begin(&mut self, slots: usize) {
        self.present.clear();
        self.present.resize(slots.div_ceil(8), 0);
        self.ends.clear();
        self.body.clear();
    }

    /// Ends the slot; what was put into the body since the last is its value.
    fn end(&mut self, has_value: bool) {
        let slot = self.ends.len();
        self.present[slot / 8] |= u8::from(has_value) << (slot % 8);
        self.ends.push(self.body.len() as u32); // the body's bound is checked in `finish`, before anyone reads this
    }

    fn finish(&self, schema_version: u32) -> Result<Vec<u8>, CodecError> {
        if self.body.len() > ROW_BYTES_MAX {
            return Err(CodecError::TooBig(self.body.len()));
        }
        let wide = self.body.len() > usize::from(u16::MAX);
        let table = self.ends.len() * if wide { 4 } else { 2 };
        let mut row = Vec::with_capacity(HEADER_LEN + 2 + self.present.len() + table + self.body.len());
        row.resize(VERSION_OFFSET, 0);
        row.extend_from_slice(&schema_version.to_le_bytes());
        row.extend_from_slice(&(self.ends.len() as u16 | if wide { WIDE } else { 0 }).to_le_bytes());
        row.extend_from_slice(&self.present);
        for end in &self.ends {
            if wide {
                row.extend_from_slice(&end.to_le_bytes());
            } else {
                row.extend_from_slice(&(*end as u16).to_le_bytes());
            }
        }
        row.extend_from_slice(&self.body);
        Ok(row)
    }
}

/// How many slots a row of this definition has: column ids are positive and below 2^15.
fn slot_count(def: &TableDef) -> usize {
    def.columns.iter().map(|column| usize::try_from(column.id.0).unwrap_or(0)).max().unwrap_or(0)
}

/// A stored row of some values. Live columns that are not among them are NULL.
///
/// # Errors
/// [`CodecError::WrongDatum`], [`CodecError::ColumnType`], [`CodecError::TooBig`].
pub fn encode(def: &TableDef, values: &[(ColumnId, Datum)]) -> Result<Vec<u8>, CodecError> {
    let mut by_slot: Vec<Option<(&ColumnDef, &Datum)>> = vec![None; slot_count(def)];
    for (id, datum) in values {
        let column = def.column(*id).ok_or(CodecError::NoColumn(*id))?;
        if !column.dropped && !datum.is_null() {
            by_slot[slot_of(*id)] = Some((column, datum));
        }
    }
    let mut slots = Slots::default();
    slots.begin(by_slot.len());
    for value in by_slot {
        if let Some((column, datum)) = value {
            put_datum(&mut slots.body, column.ty.ty, datum)?;
        }
        slots.end(value.is_some());
    }
    slots.finish(def.schema_version)
}

fn slot_of(id: ColumnId) -> usize {
    usize::try_from(id.0).unwrap_or(1).saturating_sub(1)
}

fn put_datum(out: &mut Vec<u8>, ty: SqlType, datum: &Datum) -> Result<(), CodecError> {
    if let Some(element) = ty.element() {
        let Datum::Array(array) = datum else { return Err(CodecError::WrongDatum(ty)) };
        return put_items(out, array.items.len(), array.shape.as_ref(), |out, item| match &array.items[item] {
            Datum::Null => Ok(false),
            datum => put_datum(out, element, datum).map(|()| true),
        });
    }
    match (ty, datum) {
        (SqlType::Bool, Datum::Bool(value)) => out.push(u8::from(*value)),
        (SqlType::Int2, Datum::Int2(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (SqlType::Int4, Datum::Int4(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (SqlType::Int8 | SqlType::Enum(_), Datum::Int8(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (SqlType::Float4, Datum::Float4(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (SqlType::Float8, Datum::Float8(value)) => out.extend_from_slice(&value.to_le_bytes()),
        (SqlType::Numeric, Datum::Numeric(value)) => out.extend_from_slice(&value.to_bytes()),
        (ty, Datum::Bytes(bytes)) if ty.is_bytes() => out.extend_from_slice(bytes),
        (SqlType::Date, Datum::Date(days)) => out.extend_from_slice(&days.to_le_bytes()),
        (SqlType::Time, Datum::Time(us)) => out.extend_from_slice(&us.to_le_bytes()),
        (SqlType::Timestamp, Datum::Timestamp(us)) => out.extend_from_slice(&us.to_le_bytes()),
        (SqlType::Timestamptz, Datum::Timestamptz(us)) => out.extend_from_slice(&us.to_le_bytes()),
        (SqlType::Interval, Datum::Interval(interval)) => out.extend_from_slice(&interval_bytes(*interval)),
        (SqlType::Uuid, Datum::Uuid(bytes)) => out.extend_from_slice(bytes),
        (ty, Datum::Oid(oid)) if ty.is_oid_like() => out.extend_from_slice(&oid.to_le_bytes()),
        (ty, Datum::Text(text)) if is_text(ty) => out.extend_from_slice(text.as_bytes()),
        (ty, _) => return Err(if is_storable(ty) { CodecError::WrongDatum(ty) } else { CodecError::ColumnType(ty) }),
    }
    Ok(())
}

/// The stored form of one value that is not NULL.
pub(crate) fn stored_form(ty: SqlType, datum: &Datum) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    put_datum(&mut out, ty, datum)?;
    Ok(out)
}

fn put_items(
    out: &mut Vec<u8>,
    count: usize,
    shape: Option<&Shape>,
    mut put: impl FnMut(&mut Vec<u8>, usize) -> Result<bool, CodecError>,
) -> Result<(), CodecError> {
    let items = u32::try_from(count).ok().filter(|items| items & SHAPED == 0).ok_or(CodecError::TooBig(count))?;
    out.extend_from_slice(&(items | if shape.is_some() { SHAPED } else { 0 }).to_le_bytes());
    if let Some(shape) = shape {
        shape.write(out);
    }
    for item in 0..count {
        let length_at = out.len();
        out.extend_from_slice(&NULL_ITEM.to_le_bytes());
        if put(out, item)? {
            let length = out.len() - length_at - 4;
            if length > ROW_BYTES_MAX {
                return Err(CodecError::TooBig(length));
            }
            out[length_at..length_at + 4].copy_from_slice(&(length as u32).to_le_bytes());
        }
    }
    Ok(())
}

/// Types whose stored form is their UTF-8 text.
pub(crate) fn is_text(ty: SqlType) -> bool {
    use SqlType::*;
    matches!(ty, Text | Varchar | Bpchar | Name | Char | Json | Jsonb | Jsonpath)
}

/// Whether a column can have this type.
pub fn is_storable(ty: SqlType) -> bool {
    use SqlType::*;
    let scalar = ty.element().unwrap_or(ty);
    is_text(scalar)
        || scalar.is_oid_like()
        || scalar.is_bytes()
        || matches!(
            scalar,
            Bool | Int2
                | Int4
                | Int8
                | Enum(_)
                | Float4
                | Float8
                | Numeric
                | Date
                | Time
                | Timestamp
                | Timestamptz
                | Interval
                | Uuid
        )
}

pub(crate) fn interval_bytes(interval: Interval) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&interval.months.to_le_bytes());
    bytes[4..8].copy_from_slice(&interval.days.to_le_bytes());
    bytes[8..].copy_from_slice(&interval.us.to_le_bytes());
    bytes
}

pub(crate) fn interval_of(bytes: &[u8; 16]) -> Interval {
    let [m0, m1, m2, m3, d0, d1, d2, d3, us @ ..] = *bytes;
    Interval {
        months: i32::from_le_bytes([m0, m1, m2, m3]),
        days: i32::from_le_bytes([d0, d1, d2, d3]),
        us: i64::from_le_bytes(us),
    }
}

/// Makes stored rows straight from the columns of a batch; what each column is was decided once.
pub struct RowEncoder<'a> {
    schema_version: u32,
    /// By slot; `None` for a dropped column and one that is not in the batch.
    sources: Vec<Option<Source<'a>>>,
    slots: Slots,
}

enum Source<'a> {
    /// Numbers: the array's buffer as bytes, and their width.
    Fixed {
        bytes: &'a [u8],
        width: usize,
        nulls: Option<&'a NullBuffer>,
    },
    Bool(&'a BooleanArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    Interval(&'a PrimitiveArray<IntervalMonthDayNanoType>),
    Arrays {
        arrays: Arrays<'a>,
        items: Box<Source<'a>>,
    },
}

impl<'a> RowEncoder<'a> {
    /// For rows of `def` from a batch whose columns are `columns`. Live columns that are not among them become NULL;
    /// system columns are left out.
    ///
    /// # Errors
    /// [`CodecError::WrongDatum`] when an array is not of its column's Arrow type.
    pub fn new(def: &TableDef, batch: &'a RecordBatch, columns: &[ColumnId]) -> Result<Self, CodecError> {
        let mut sources: Vec<Option<Source<'a>>> = Vec::new();
        sources.resize_with(slot_count(def), || None);
        for (id, array) in columns.iter().zip(batch.columns()) {
            if let Some(column) = def.column(*id).filter(|column| !column.dropped) {
                sources[slot_of(*id)] = Some(Source::new(column.ty.ty, array)?);
            }
        }
        Ok(Self { schema_version: def.schema_version, sources, slots: Slots::default() })
    }

    /// The stored row of a row of the batch.
    ///
    /// # Errors
    /// [`CodecError::TooBig`].
    pub fn encode(&mut self, row: usize) -> Result<Vec<u8>, CodecError> {
        self.slots.begin(self.sources.len());
        for source in &self.sources {
            let has_value = match source {
                Some(source) => source.put(&mut self.slots.body, row)?,
                None => false,
            };
            self.slots.end(has_value);
        }
        self.slots.finish(self.schema_version)
    }
}

/// The stored rows of a whole batch.
///
/// # Errors
/// As [`RowEncoder::new`] and [`RowEncoder::encode`].
pub fn encode_batch(def: &TableDef, batch: &RecordBatch, columns: &[ColumnId]) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut encoder = RowEncoder::new(def, batch, columns)?;
    (0..batch.num_rows()).map(|row| encoder.encode(row)).collect()
}

impl<'a> Source<'a> {
    fn new(ty: SqlType, array: &'a ArrayRef) -> Result<Self, CodecError> {
        if !is_storable(ty) {
            return Err(CodecError::ColumnType(ty));
        }
        if let Some(element) = ty.element() {
            let arrays = Arrays::new(array.as_ref()).ok_or(CodecError::WrongDatum(ty))?;
            return Ok(Source::Arrays { arrays, items: Box::new(Source::new(element, arrays.lists().values())?) });
        }
        if *array.data_type() != ty.arrow() {
            return Err(CodecError::WrongDatum(ty));
        }
        let source = match ty {
            SqlType::Bool => array.as_boolean_opt().map(Source::Bool),
            SqlType::Numeric => array.as_binary_opt().map(Source::Bytes),
            ty if ty.is_bytes() => array.as_binary_opt().map(Source::Bytes),
            SqlType::Uuid => array.as_fixed_size_binary_opt().map(Source::Uuid),
            SqlType::Interval => array.as_primitive_opt().map(Source::Interval),
            ty if is_text(ty) => array.as_string_opt().map(Source::Text),
            _ => fixed(array),
        };
        source.ok_or(CodecError::WrongDatum(ty))
    }

    /// Puts the value of a row; whether there is one.
    fn put(&self, out: &mut Vec<u8>, row: usize) -> Result<bool, CodecError> {
        match self {
            Source::Fixed { bytes, width, nulls } => {
                if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                    return Ok(false);
                }
                out.extend_from_slice(&bytes[row * width..(row + 1) * width]);
            }
            Source::Bool(array) if array.is_valid(row) => out.push(u8::from(array.value(row))),
            Source::Text(array) if array.is_valid(row) => out.extend_from_slice(array.value(row).as_bytes()),
            Source::Bytes(array) if array.is_valid(row) => out.extend_from_slice(array.value(row)),
            Source::Uuid(array) if array.is_valid(row) => out.extend_from_slice(array.value(row)),
            Source::Interval(array) if array.is_valid(row) => {
                let value = array.value(row);
                let (months, days, us) = (value.months, value.days, value.nanoseconds / 1000);
                out.extend_from_slice(&interval_bytes(Interval { months, days, us }));
            }
            Source::Arrays { arrays, items } if !arrays.is_null(row) => {
                let range = arrays.range(row);
                put_items(out, range.len(), arrays.shape(row).as_ref(), |out, item| {
                    items.put(out, range.start + item)
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A primitive array as bytes. An `ArrayData`'s buffer is cut to the array's offset by hand.
fn fixed(array: &ArrayRef) -> Option<Source<'_>> {
    use arrow_array::types::*;
    use arrow_schema::{DataType, TimeUnit};
    fn bytes<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<Source<'_>> {
        let array = array.as_primitive_opt::<T>()?;
        Some(Source::Fixed {
            bytes: arrow_buffer::ToByteSlice::to_byte_slice(&array.values()[..]),
            width: size_of::<T::Native>(),
            nulls: array.nulls(),
        })
    }
    match array.data_type() {
        DataType::Int16 => bytes::<Int16Type>(array),
        DataType::Int32 => bytes::<Int32Type>(array),
        DataType::Int64 => bytes::<Int64Type>(array),
        DataType::UInt32 => bytes::<UInt32Type>(array),
        DataType::Float32 => bytes::<Float32Type>(array),
        DataType::Float64 => bytes::<Float64Type>(array),
        DataType::Date32 => bytes::<Date32Type>(array),
        DataType::Time64(TimeUnit::Microsecond) => bytes::<Time64MicrosecondType>(array),
        DataType::Timestamp(TimeUnit::Microsecond, _) => bytes::<TimestampMicrosecondType>(array),
        _ => None,
    }
}

/// What a row holds for a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// The column came after the row was written.
    Absent,
    /// NULL
    Null,
    /// The value's bytes.
    Value(&'a [u8]),
}

/// A stored row, read in place.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    row: &'a [u8],
    slots: usize,
    wide: bool,
    /// Where the table of ends begins, and the values.
    ends: usize,
    body: usize,
}

impl<'a> RowView<'a> {
    /// Looks at a stored row's frame; values are checked when they are read.
    ///
    /// # Errors
    /// [`CodecError::Damaged`].
    pub fn new(row: &'a [u8]) -> Result<Self, CodecError> {
        let count = row.get(HEADER_LEN..HEADER_LEN + 2).ok_or(CodecError::Damaged("no header"))?;
        let count = u16::from_le_bytes([count[0], count[1]]);
        let (slots, wide) = (usize::from(count & !WIDE), count & WIDE != 0);
        let ends = HEADER_LEN + 2 + slots.div_ceil(8);
        let body = ends + slots * if wide { 4 } else { 2 };
        if row.len() < body {
            return Err(CodecError::Damaged("the table of ends is cut"));
        }
        Ok(Self { row, slots, wide, ends, body })
    }

    /// The position of its last change; `None` for a row of the transaction's own that is not committed yet.
    pub fn seq(&self) -> Option<Seq> {
        seq_of(self.row)
    }

    /// The stamp of its last change, microseconds since 1970 UTC; `None` as for [`RowView::seq`].
    pub fn updated_us(&self) -> Option<i64> {
        self.seq()?;
        Some(i64::from_le_bytes(*self.row.get(UPDATED_OFFSET..)?.first_chunk()?))
    }

    /// The schema version that it was written with.
    pub fn schema_version(&self) -> u32 {
        self.row[VERSION_OFFSET..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// What it holds for a column.
    ///
    /// # Errors
    /// [`CodecError::Damaged`].
    #[inline]
    pub fn raw(&self, id: ColumnId) -> Result<Raw<'a>, CodecError> {
        let slot = match usize::try_from(id.0) {
            Ok(number) if number >= 1 && number <= self.slots => number - 1,
            _ => return Ok(Raw::Absent),
        };
        if self.row[HEADER_LEN + 2 + slot / 8] >> (slot % 8) & 1 == 0 {
            return Ok(Raw::Null);
        }
        let start = if slot == 0 { 0 } else { self.end(slot - 1) };
        let value = self.row[self.body..].get(start..self.end(slot));
        value.map(Raw::Value).ok_or(CodecError::Damaged("a value lies outside the row"))
    }

    /// Where a slot's value ends. The table was checked to be whole.
    #[inline]
    fn end(&self, slot: usize) -> usize {
        if self.wide {
            let at = self.ends + slot * 4;
            self.row[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
        } else {
            let at = self.ends + slot * 2;
            self.row[at..].first_chunk().map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)))
        }
    }

    /// The value of a column; [`ColumnDef::missing`] when it came after the row was written.
    ///
    /// # Errors
    /// [`CodecError::Damaged`].
    pub fn datum(&self, column: &ColumnDef) -> Result<Datum, CodecError> {
        match self.raw(column.id)? {
            Raw::Absent => Ok(column.missing.clone()),
            Raw::Null => Ok(Datum::Null),
            Raw::Value(bytes) => datum_of(column.ty.ty, bytes),
        }
    }

    /// Whether the column is NULL (its missing value, when it came later).
    ///
    /// # Errors
    /// [`CodecError::Damaged`].
    pub fn is_null(&self, column: &ColumnDef) -> Result<bool, CodecError> {
        Ok(match self.raw(column.id)? {
            Raw::Absent => column.missing.is_null(),
            Raw::Null => true,
            Raw::Value(_) => false,
        })
    }
}

/// The bytes of a fixed-width value.
pub(crate) fn fixed_bytes<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecError> {
    bytes.try_into().map_err(|_| CodecError::Damaged("a value has a wrong length"))
}

/// The text of a text value.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(bytes).map_err(|_| CodecError::Damaged("a text is not UTF-8"))
}

/// The value whose stored form these bytes are.
///
/// # Errors
/// [`CodecError::Damaged`], [`CodecError::ColumnType`].
pub fn datum_of(ty: SqlType, bytes: &[u8]) -> Result<Datum, CodecError> {
    if let Some(element) = ty.element() {
        let items = Items::new(bytes)?;
        let shape = items.shape().and_then(|bytes| Shape::read(bytes)).map(|(shape, _)| shape);
        let items = items
            .map(|item| item?.map_or(Ok(Datum::Null), |bytes| datum_of(element, bytes)))
            .collect::<Result<_, _>>()?;
        return Ok(ArrayDatum { element, items, shape }.into());
    }
    Ok(match ty {
        SqlType::Bool => Datum::Bool(fixed_bytes::<1>(bytes)? != [0]),
        SqlType::Int2 => Datum::Int2(i16::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Int4 => Datum::Int4(i32::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Int8 | SqlType::Enum(_) => Datum::Int8(i64::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Float4 => Datum::Float4(f32::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Float8 => Datum::Float8(f64::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Numeric => {
            Datum::Numeric(Numeric::from_bytes(bytes).ok_or(CodecError::Damaged("a numeric is malformed"))?)
        }
        SqlType::Date => Datum::Date(i32::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Time => Datum::Time(i64::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Timestamp => Datum::Timestamp(i64::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Timestamptz => Datum::Timestamptz(i64::from_le_bytes(fixed_bytes(bytes)?)),
        SqlType::Interval => Datum::Interval(interval_of(&fixed_bytes(bytes)?)),
        SqlType::Uuid => Datum::Uuid(fixed_bytes(bytes)?),
        ty if ty.is_bytes() => Datum::Bytes(bytes.into()),
        ty if ty.is_oid_like() => Datum::Oid(u32::from_le_bytes(fixed_bytes(bytes)?)),
        ty if is_text(ty) => Datum::text(text_of(bytes)?),
        other => return Err(CodecError::ColumnType(other)),
    })
}

/// The items of a stored array; `None` for NULL.
pub(crate) struct Items<'a> {
    left: u32,
    shape: Option<&'a [u8]>,
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let cut = CodecError::Damaged("an array is cut");
        let Some((count, rest)) = bytes.split_first_chunk() else { return Err(cut) };
        let count = u32::from_le_bytes(*count);
        if count & SHAPED == 0 {
            return Ok(Self { left: count, shape: None, rest });
        }
        let Some((_, items)) = Shape::read(rest) else { return Err(cut) };
        let shape = &rest[..rest.len() - items.len()];
        Ok(Self { left: count & !SHAPED, shape: Some(shape), rest: items })
    }

    /// The bytes of the array's shape, if it has one.
    pub(crate) fn shape(&self) -> Option<&'a [u8]> {
        self.shape
    }

    fn item(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        if length == NULL_ITEM {
            self.rest = rest;
            return Some(None);
        }
        let (item, rest) = rest.split_at_checked(length as usize)?;
        self.rest = rest;
        Some(Some(item))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Option<&'a [u8]>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = self.item();
        if item.is_none() {
            self.left = 0;
        }
        Some(item.ok_or(CodecError::Damaged("an array is cut")))
    }
}
