//! Sort keys: values whose Arrow order is PostgreSQL's, for types whose own Arrow order is not.
//!
//! Keys serve ORDER BY, GROUP BY, DISTINCT, joins and comparisons. Those of one type are equal exactly when the values
//! are, and ordered as the values are.

use super::rows::{self, Builder as _, Bytea, Push as _, Write as _, f, x};
use super::{Call, Function, json};
use crate::types;
use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, BinaryArray};
use kalamdb_commons::array::{Dimension, Shape};
use kalamdb_commons::{Datum, Interval, Numeric, Result, SqlError, SqlState, SqlType, vector};
use std::sync::Arc;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(9001 "kalam_key" (Numeric) -> Bytea = numeric_keys),
    f!(9002 "kalam_key" (a: Float4) -> Float4 { Ok(if a.is_nan() { f32::NAN } else { a + 0.0 }) }),
    f!(9003 "kalam_key" (a: Float8) -> Float8 { Ok(if a.is_nan() { f64::NAN } else { a + 0.0 }) }),
    f!(9004 "kalam_key" (a: Bpchar) -> Text { Ok(a.trim_end_matches(' ')) }),
    f!(9005 "kalam_key" (a: Interval) -> Bytea { Ok(interval_key(a).to_vec()) }),
    f!(9006 "kalam_key" (a: Jsonb) -> Bytea { json::sort_key(a) }),
    x!(9007 "kalam_key" (Anyarray) -> Bytea = array_keys),
    x!(9008 "kalam_key" (Record) -> Bytea = super::record::keys),
    f!(9009 "kalam_key" (a: Vector) -> Bytea { Ok(vector::key(a)) }),
];

/// The OID of the type's key function in [`FUNCTIONS`].
pub(super) fn key_function(ty: SqlType) -> Option<u32> {
    Some(match ty {
        SqlType::Numeric => 9001,
        SqlType::Float4 => 9002,
        SqlType::Float8 => 9003,
        SqlType::Bpchar => 9004,
        SqlType::Interval => 9005,
        SqlType::Jsonb => 9006,
        SqlType::Record => 9008,
        SqlType::Vector => 9009,
        array if array.is_array() => 9007,
        _ => return None,
    })
}

fn numeric_keys(args: &[ArrayRef], _: &Call<'_>) -> Result<ArrayRef> {
    let [values] = rows::arity(args)?;
    let values: &BinaryArray = rows::typed(values)?;
    let mut out = BinaryBuilder::with_capacity(values.len(), values.values().len());
    for row in 0..values.len() {
        out.append_value(Numeric::key(values.value(row)));
    }
    Ok(Arc::new(out.finish()))
}

/// A month counts 30 days, a day 24 hours: the microseconds, most significant byte first, the sign turned.
fn interval_key(value: Interval) -> [u8; 16] {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    let us = days * i128::from(super::datetime::DAY_US) + i128::from(value.us);
    (us ^ i128::MIN).to_be_bytes()
}

fn array_keys(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let [arrays] = rows::arity(args)?;
    let mut out = Bytea::builder(call.rows);
    for row in 0..call.rows {
        let mut key = Vec::new();
        write_key(&types::datum_at(arrays.as_ref(), row, call.arg_types[0]), call.arg_types[0].ty, &mut key)?;
        out.push(key);
    }
    Ok(out.done(call))
}

/// Appends bytes so that no key is the beginning of another: a zero byte is followed by 255, the end is two zeros.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
    out.extend([0, 0]);
}

/// Appends a value's key: in byte order as PostgreSQL orders the type, NULL above all, and none the beginning of
/// another.
pub(super) fn write_key(datum: &Datum, ty: SqlType, out: &mut Vec<u8>) -> Result<()> {
    let float = |value: f64| {
        let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
        let bits = value.to_bits();
        // Negative numbers count backwards.
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    };
    match datum {
        Datum::Null => {
            out.push(2);
            return Ok(());
        }
        _ => out.push(1),
    }
    match datum {
        Datum::Null => {}
        Datum::Bool(value) => out.push(u8::from(*value)),
        Datum::Int2(value) => out.extend((value ^ i16::MIN).to_be_bytes()),
        Datum::Int4(value) | Datum::Date(value) => out.extend((value ^ i32::MIN).to_be_bytes()),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::Timestamptz(value) => {
            out.extend((value ^ i64::MIN).to_be_bytes());
        }
        Datum::Float4(value) => out.extend(float(f64::from(*value)).to_be_bytes()),
        Datum::Float8(value) => out.extend(float(*value).to_be_bytes()),
        Datum::Numeric(value) => out.extend(Numeric::key(&value.to_bytes())),
        Datum::Text(text) => match ty {
            SqlType::Bpchar => write_bytes(text.trim_end_matches(' ').as_bytes(), out),
            SqlType::Jsonb => out.extend(json::sort_key(text)?),
            SqlType::Json | SqlType::Jsonpath | SqlType::Unknown => return Err(no_equality(ty)),
            _ => write_bytes(text.as_bytes(), out),
        },
        Datum::Bytes(bytes) if ty == SqlType::Vector => write_bytes(&vector::key(bytes), out),
        Datum::Bytes(bytes) => write_bytes(bytes, out),
        Datum::Interval(value) => out.extend(interval_key(*value)),
        Datum::Uuid(bytes) => out.extend(bytes),
        Datum::Oid(value) => out.extend(value.to_be_bytes()),
        Datum::Array(array) => {
            for item in &array.items {
                write_key(item, array.element, out)?;
            }
            out.push(0);
            write_shape(array.shape.as_ref(), out);
        }
        Datum::Record(record) => {
            for field in &record.fields {
                // Values of several types are never equal.
                out.extend(field.ty.ty.oid().to_be_bytes());
                write_key(&field.value, field.ty.ty, out)?;
            }
            out.extend([0; 4]);
        }
    }
    Ok(())
}

/// Arrays of the same items are ordered by their dimensions: how many, their lengths, where they begin.
fn write_shape(shape: Option<&Shape>, out: &mut Vec<u8>) {
    let Some(shape) = shape else { return out.push(1) };
    let lower = |dimension: &Dimension| (dimension.lower ^ i32::MIN).to_be_bytes();
    match shape.dimensions() {
        [only] => {
            out.push(if only.lower < 1 { 0 } else { 2 });
            out.extend(lower(only));
        }
        several => {
            out.extend([3, several.len() as u8]);
            several.iter().for_each(|dimension| out.extend(dimension.length.to_be_bytes()));
            several.iter().for_each(|dimension| out.extend(lower(dimension)));
        }
    }
}

/// 42883: values that cannot be compared.
fn no_equality(ty: SqlType) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("could not identify an equality operator for type {ty}"))
}

/// A value's key by itself.
pub(super) fn key_of(datum: &Datum, ty: SqlType) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    write_key(datum, ty, &mut out)?;
    Ok(out)
}
