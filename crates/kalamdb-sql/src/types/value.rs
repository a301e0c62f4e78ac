//! Datums to arrays and back: parameters, keys, constants, the rows of computed relations.

use super::array::arrays;
use super::{bytea, cell, datetime, record, string};
use arrow_array::builder::{BinaryBuilder, FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, ListArray, NullArray, PrimitiveArray, new_empty_array,
};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use datafusion_common::ScalarValue;
use kalamdb_commons::array::{assemble, item_field, shape_column};
use kalamdb_commons::{ArrayDatum, Datum, Interval, Numeric, PgType, Result, SqlError, SqlType};
use std::sync::Arc;

/// The datum at a place of an array of the type's Arrow type.
pub fn datum_at(array: &dyn Array, row: usize, ty: PgType) -> Datum {
    use SqlType::*;
    if array.is_null(row) || matches!(array.data_type(), DataType::Null) {
        return Datum::Null;
    }
    if let Some(element) = ty.ty.element() {
        let arrays = arrays(array);
        let items = arrays.lists().values().as_ref();
        let inner = PgType { ty: element, typmod: ty.typmod };
        let items = arrays.range(row).map(|place| datum_at(items, place, inner)).collect();
        return ArrayDatum { element, items, shape: arrays.shape(row) }.into();
    }
    match ty.ty {
        Bool => Datum::Bool(cell::<BooleanArray>(array).value(row)),
        Int2 => Datum::Int2(native::<Int16Type>(array, row)),
        Int4 => Datum::Int4(native::<Int32Type>(array, row)),
        Int8 | Enum(_) => Datum::Int8(native::<Int64Type>(array, row)),
        Float4 => Datum::Float4(native::<Float32Type>(array, row)),
        Float8 => Datum::Float8(native::<Float64Type>(array, row)),
        SqlType::Numeric => {
            // Only our own code writes these bytes.
            let value = kalamdb_commons::Numeric::from_bytes(bytea::bytes_at(array, row));
            debug_assert!(value.is_some(), "a numeric column holds numerics");
            Datum::Numeric(value.unwrap_or(kalamdb_commons::Numeric::NaN))
        }
        Date => Datum::Date(native::<Date32Type>(array, row)),
        Time => Datum::Time(native::<Time64MicrosecondType>(array, row)),
        Timestamp => Datum::Timestamp(native::<TimestampMicrosecondType>(array, row)),
        Timestamptz => Datum::Timestamptz(native::<TimestampMicrosecondType>(array, row)),
        SqlType::Interval => Datum::Interval(datetime::interval_at(array, row)),
        Uuid => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(cell::<FixedSizeBinaryArray>(array).value(row));
            Datum::Uuid(bytes)
        }
        Record => Datum::Record(Box::new(record::record_at(array, row))),
        bytes if bytes.is_bytes() => Datum::Bytes(bytea::bytes_at(array, row).into()),
        oid if oid.is_oid_like() => Datum::Oid(native::<UInt32Type>(array, row)),
        _ => Datum::text(string::text_at(array, row)),
    }
}

fn native<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    cell::<PrimitiveArray<T>>(array).value(row)
}

fn wrong(datum: &Datum, ty: PgType) -> SqlError {
    let mut shown = format!("{datum:?}");
    shown.truncate(shown.floor_char_boundary(40.min(shown.len())));
    SqlError::internal(format!("{shown} is no {ty}"))
}

/// An array of a primitive Arrow type; `$read` takes the native value out of a datum.
macro_rules! primitive {
    ($arrow:ident, $items:expr, $ty:expr, $($pattern:pat => $value:expr),+ $(,)?) => {{
        let mut values = Vec::with_capacity($items.len());
        for datum in $items {
            values.push(match datum {
                Datum::Null => None,
                $($pattern => Some($value),)+
                other => return Err(wrong(other, $ty)),
            });
        }
        PrimitiveArray::<$arrow>::from_iter(values)
    }};
}

/// An array of the type's Arrow type.
///
/// # Errors
/// XX000 when a datum is not of the type's family; 22008 for an interval beyond what Arrow holds.
pub fn array_of(ty: PgType, items: &[Datum]) -> Result<ArrayRef> {
    use SqlType::*;
    if let Some(element) = ty.ty.element() {
        return lists_of(PgType { ty: element, typmod: ty.typmod }, ty, items);
    }
    Ok(match ty.ty {
        Bool => {
            let read = |datum: &Datum| match datum {
                Datum::Null => Ok(None),
                Datum::Bool(value) => Ok(Some(*value)),
                other => Err(wrong(other, ty)),
            };
            Arc::new(items.iter().map(read).collect::<Result<BooleanArray>>()?)
        }
        Int2 => Arc::new(primitive!(Int16Type, items, ty, Datum::Int2(v) => *v)),
        Int4 => Arc::new(primitive!(Int32Type, items, ty, Datum::Int4(v) => *v, Datum::Int2(v) => i32::from(*v))),
        Int8 | Enum(_) => Arc::new(
            primitive!(Int64Type, items, ty, Datum::Int8(v) => *v, Datum::Int4(v) => i64::from(*v), Datum::Int2(v) => i64::from(*v)),
        ),
        Float4 => Arc::new(primitive!(Float32Type, items, ty, Datum::Float4(v) => *v)),
        Float8 => Arc::new(primitive!(Float64Type, items, ty, Datum::Float8(v) => *v)),
        Date => Arc::new(primitive!(Date32Type, items, ty, Datum::Date(v) => *v)),
        Time => Arc::new(primitive!(Time64MicrosecondType, items, ty, Datum::Time(v) => *v)),
        Timestamp => Arc::new(primitive!(TimestampMicrosecondType, items, ty, Datum::Timestamp(v) => *v)),
        Timestamptz => {
            let array = primitive!(TimestampMicrosecondType, items, ty, Datum::Timestamptz(v) => *v);
            Arc::new(array.with_timezone("UTC"))
        }
        SqlType::Interval => {
            Arc::new(primitive!(IntervalMonthDayNanoType, items, ty, Datum::Interval(v) => month_day_nano(*v)?))
        }
        Void => Arc::new(NullArray::new(items.len())),
        known if known.is_bytes() || matches!(known, SqlType::Numeric | Record) => {
            let mut builder = BinaryBuilder::with_capacity(items.len(), items.len() * 8);
            let mut scratch = Vec::new();
            for datum in items {
                match (datum, ty.ty) {
                    (Datum::Null, _) => builder.append_null(),
                    (Datum::Numeric(value), SqlType::Numeric) => {
                        scratch.clear();
                        value.write_bytes(&mut scratch);
                        builder.append_value(&scratch);
                    }
                    (Datum::Bytes(bytes), known) if known.is_bytes() => builder.append_value(bytes),
                    (Datum::Record(value), Record) => {
                        scratch.clear();
                        record::write(value, &mut scratch);
                        builder.append_value(&scratch);
                    }
                    (other, _) => return Err(wrong(other, ty)),
                }
            }
            Arc::new(builder.finish())
        }
        Uuid => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(items.len(), 16);
            for datum in items {
                match datum {
                    Datum::Null => builder.append_null(),
                    Datum::Uuid(bytes) => builder.append_value(bytes).map_err(SqlError::internal)?,
                    other => return Err(wrong(other, ty)),
                }
            }
            Arc::new(builder.finish())
        }
        oid if oid.is_oid_like() => Arc::new(primitive!(UInt32Type, items, ty, Datum::Oid(v) => *v)),
        _ => {
            let mut builder = StringBuilder::with_capacity(items.len(), items.len() * 16);
            for datum in items {
                match datum {
                    Datum::Null => builder.append_null(),
                    Datum::Text(text) => builder.append_value(text),
                    other => return Err(wrong(other, ty)),
                }
            }
            Arc::new(builder.finish())
        }
    })
}

/// An interval in Arrow's form.
///
/// # Errors
/// 22008 beyond 292 years of microseconds.
pub fn month_day_nano(value: Interval) -> Result<IntervalMonthDayNano> {
    let nanoseconds = value.us.checked_mul(1000).ok_or_else(|| {
        SqlError::new(kalamdb_commons::SqlState::DATETIME_VALUE_OUT_OF_RANGE, "interval out of range")
    })?;
    Ok(IntervalMonthDayNano { months: value.months, days: value.days, nanoseconds })
}

fn lists_of(element: PgType, ty: PgType, items: &[Datum]) -> Result<ArrayRef> {
    let mut all: Vec<Datum> = Vec::new();
    let mut lengths = Vec::with_capacity(items.len());
    let mut valid = Vec::with_capacity(items.len());
    for datum in items {
        let inner: &[Datum] = match datum {
            Datum::Null => &[],
            Datum::Array(array) => &array.items,
            other => return Err(wrong(other, ty)),
        };
        all.extend_from_slice(inner);
        lengths.push(inner.len());
        valid.push(!datum.is_null());
    }
    let field = item_field(element.ty.arrow());
    let values = if all.is_empty() { new_empty_array(field.data_type()) } else { array_of(element, &all)? };
    let nulls = NullBuffer::from(valid);
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    let list = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, nulls);
    let shapes = shape_column(items.iter().map(|datum| match datum {
        Datum::Array(array) => array.shape.as_ref(),
        _ => None,
    }));
    Ok(assemble(list.map_err(SqlError::internal)?, shapes))
}

/// The engine's scalar for a datum of a type.
///
/// # Errors
/// As [`array_of`].
pub fn scalar_value(datum: &Datum, ty: PgType) -> Result<ScalarValue> {
    // The usual types of parameters need no array in between.
    Ok(match (datum, ty.ty) {
        (Datum::Bool(v), SqlType::Bool) => ScalarValue::Boolean(Some(*v)),
        (Datum::Int2(v), SqlType::Int2) => ScalarValue::Int16(Some(*v)),
        (Datum::Int4(v), SqlType::Int4) => ScalarValue::Int32(Some(*v)),
        (Datum::Int8(v), SqlType::Int8) => ScalarValue::Int64(Some(*v)),
        (Datum::Float8(v), SqlType::Float8) => ScalarValue::Float64(Some(*v)),
        (Datum::Numeric(v), SqlType::Numeric) => ScalarValue::Binary(Some(Numeric::to_bytes(v))),
        (Datum::Text(v), ty) if ty.arrow() == DataType::Utf8 => ScalarValue::Utf8(Some(v.to_string())),
        _ => {
            let array = array_of(ty, std::slice::from_ref(datum))?;
            ScalarValue::try_from_array(&array, 0).map_err(SqlError::internal)?
        }
    })
}
