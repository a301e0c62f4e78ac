//! record: the form of row values in Arrow columns, and PostgreSQL's forms of them (`record_out`, `record_send`).
//!
//! The type does not say what the fields are, so the value does. In Arrow it is binary: the number of fields, then for
//! each its name, its type's OID and modifier, and its length and bytes (length -1 for NULL).

use super::bytea::bytes_at;
use super::{Encoder, Format, Style, encoder};
use crate::function::CatalogNames;
use arrow_array::Array;
use bytes::{BufMut, BytesMut};
use kalamdb_commons::array::Shape;
use kalamdb_commons::{ArrayDatum, Datum, Interval, Numeric, PgType, RecordDatum, RecordField, SqlError, SqlType};
use std::sync::Arc;

/// 0A000: PostgreSQL reads no value whose fields are not known.
pub(super) fn no_input() -> SqlError {
    SqlError::new(
        kalamdb_commons::SqlState::FEATURE_NOT_SUPPORTED,
        "input of anonymous composite types is not implemented",
    )
}

/// Appends the Arrow form of a row value.
pub(super) fn write(record: &RecordDatum, out: &mut Vec<u8>) {
    out.put_u32(record.fields.len() as u32);
    for field in &record.fields {
        out.put_u32(field.name.len() as u32);
        out.put_slice(field.name.as_bytes());
        out.put_u32(field.ty.ty.oid());
        out.put_i32(field.ty.typmod);
        write_item(&field.value, out);
    }
}

/// A length and a value's bytes.
fn write_item(datum: &Datum, out: &mut Vec<u8>) {
    if datum.is_null() {
        return out.put_i32(-1);
    }
    let start = out.len();
    out.put_i32(0);
    write_value(datum, out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn write_value(datum: &Datum, out: &mut Vec<u8>) {
    match datum {
        Datum::Null => {}
        Datum::Bool(value) => out.put_u8(u8::from(*value)),
        Datum::Int2(value) => out.put_i16(*value),
        Datum::Int4(value) | Datum::Date(value) => out.put_i32(*value),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::Timestamptz(value) => {
            out.put_i64(*value);
        }
        Datum::Float4(value) => out.put_f32(*value),
        Datum::Float8(value) => out.put_f64(*value),
        Datum::Numeric(value) => value.write_bytes(out),
        Datum::Text(text) => out.put_slice(text.as_bytes()),
        Datum::Bytes(bytes) => out.put_slice(bytes),
        Datum::Interval(value) => {
            out.put_i32(value.months);
            out.put_i32(value.days);
            out.put_i64(value.us);
        }
        Datum::Uuid(bytes) => out.put_slice(bytes),
        Datum::Oid(value) => out.put_u32(*value),
        Datum::Array(array) => {
            let flag = if array.shape.is_some() { SHAPED } else { 0 };
            out.put_u32(array.items.len() as u32 | flag);
            if let Some(shape) = &array.shape {
                shape.write(out);
            }
            array.items.iter().for_each(|item| write_item(item, out));
        }
        Datum::Record(record) => write(record, out),
    }
}

/// The top bit of an array's number of items: its shape follows.
const SHAPED: u32 = 1 << 31;

/// What is left of a value's bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// What [`write_item`] wrote.
    fn item(&mut self, ty: SqlType) -> Option<Datum> {
        match usize::try_from(self.i32()?) {
            Err(_) => Some(Datum::Null),
            Ok(length) => Reader(self.take(length)?).value(ty),
        }
    }

    fn value(mut self, ty: SqlType) -> Option<Datum> {
        use SqlType::*;
        if let Some(element) = ty.element() {
            let count = self.u32()?;
            let shape = match count & SHAPED {
                0 => None,
                _ => {
                    let (shape, rest) = Shape::read(self.0)?;
                    self.0 = rest;
                    Some(shape)
                }
            };
            let items = (0..count & !SHAPED).map(|_| self.item(element)).collect::<Option<_>>()?;
            return Some(ArrayDatum { element, items, shape }.into());
        }
        Some(match ty {
            Bool => Datum::Bool(self.fixed::<1>()? != [0]),
            Int2 => Datum::Int2(i16::from_be_bytes(self.fixed()?)),
            Int4 => Datum::Int4(self.i32()?),
            Int8 | Enum(_) => Datum::Int8(self.i64()?),
            Float4 => Datum::Float4(f32::from_be_bytes(self.fixed()?)),
            Float8 => Datum::Float8(f64::from_be_bytes(self.fixed()?)),
            SqlType::Numeric => Datum::Numeric(self::Numeric::from_bytes(self.0)?),
            Date => Datum::Date(self.i32()?),
            Time => Datum::Time(self.i64()?),
            Timestamp => Datum::Timestamp(self.i64()?),
            Timestamptz => Datum::Timestamptz(self.i64()?),
            SqlType::Interval => {
                Datum::Interval(self::Interval { months: self.i32()?, days: self.i32()?, us: self.i64()? })
            }
            Uuid => Datum::Uuid(self.fixed()?),
            Record => Datum::Record(Box::new(read(self.0)?)),
            bytes if bytes.is_bytes() => Datum::Bytes(self.0.into()),
            oid if oid.is_oid_like() => Datum::Oid(self.u32()?),
            _ => Datum::text(self.text(self.0.len())?),
        })
    }
}

/// Reads what [`write`] wrote; `None` for anything else.
pub(super) fn read(bytes: &[u8]) -> Option<RecordDatum> {
    let mut reader = Reader(bytes);
    let count = reader.count()?;
    let mut fields = Vec::with_capacity(count.min(bytes.len()));
    for _ in 0..count {
        let length = reader.count()?;
        let name = Arc::from(reader.text(length)?);
        let ty = PgType { ty: SqlType::from_stored(reader.u32()?)?, typmod: reader.i32()? };
        fields.push(RecordField { name, ty, value: reader.item(ty.ty)? });
    }
    Some(RecordDatum { fields })
}

/// The row value at a place of a column of records.
pub(super) fn record_at(array: &dyn Array, row: usize) -> RecordDatum {
    // Only our own code writes these bytes.
    let record = read(bytes_at(array, row));
    debug_assert!(record.is_some(), "a record column holds records");
    record.unwrap_or_default()
}

/// `(1,"a b",)`
pub(super) fn text(record: &RecordDatum, style: &Style, names: &dyn CatalogNames) -> kalamdb_commons::Result<String> {
    let mut out = String::from("(");
    for (place, field) in record.fields.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if !field.value.is_null() {
            put_quoted(&super::to_text(&field.value, field.ty, style, names)?, &mut out);
        }
    }
    out.push(')');
    Ok(out)
}

/// A field's text, in quotes where it would be read as something else without.
fn put_quoted(text: &str, out: &mut String) {
    let special = |ch: char| matches!(ch, '"' | '\\' | '(' | ')' | ',') || super::is_blank(ch);
    if !text.is_empty() && !text.contains(special) {
        return out.push_str(text);
    }
    out.push('"');
    for ch in text.chars() {
        if matches!(ch, '"' | '\\') {
            out.push(ch);
        }
        out.push(ch);
    }
    out.push('"');
}

/// Row values as `record_out` prints them.
pub(super) struct RecordText {
    pub style: Style,
    pub names: Arc<dyn CatalogNames>,
}

impl Encoder for RecordText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        // Each field is of the type that stands beside it, so it has a text.
        let text = text(&record_at(array, row), &self.style, self.names.as_ref());
        debug_assert!(text.is_ok(), "a record's field is of its type");
        out.put_slice(text.unwrap_or_default().as_bytes());
    }
}

/// Row values as `record_send` writes them. A field of a type that has no binary form is sent as its text.
pub(super) struct RecordBinary;

impl Encoder for RecordBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let record = record_at(array, row);
        out.put_u32(record.fields.len() as u32);
        for field in &record.fields {
            out.put_u32(field.ty.ty.oid());
            if field.value.is_null() {
                out.put_i32(-1);
                continue;
            }
            let start = out.len();
            out.put_i32(0);
            put_field(field, out);
            let length = (out.len() - start - 4) as i32;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn put_field(field: &RecordField, out: &mut BytesMut) {
    let nowhere: Arc<dyn CatalogNames> = Arc::new(crate::function::Nowhere);
    let style = Style::default();
    let chosen = encoder(field.ty, Format::Binary, &style, nowhere.clone())
        .or_else(|_| encoder(field.ty, Format::Text, &style, nowhere));
    let values = super::array_of(field.ty, std::slice::from_ref(&field.value));
    debug_assert!(values.is_ok(), "a record's field is of its type");
    if let (Ok(encoder), Ok(values)) = (chosen, values) {
        encoder.encode(values.as_ref(), 0, out);
    }
}
