//! PostgreSQL's text and binary forms, in and out of datums and Arrow arrays. One file per family.

use arrow_array::{Array, ArrayRef};
use bytes::BytesMut;
use kalamdb_commons::{Datum, PgType, Result};

/// The settings that decide how values are printed and read.
#[derive(Debug, Clone)]
pub struct Style {
    /// TimeZone
    pub time_zone: TimeZone,
    /// DateStyle
    pub date_style: DateStyle,
    /// IntervalStyle
    pub interval_style: IntervalStyle,
    /// bytea_output
    pub bytea_escape: bool,
    /// extra_float_digits; 1 and above: shortest exact
    pub extra_float_digits: i32,
}

/// A session's time zone: a named zone or a fixed offset.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeZone {
    /// IANA.
    Named(chrono_tz::Tz),
    /// Seconds east of UTC, and the name it was given.
    Fixed(i32, String),
}

/// DateStyle: the output format and the order of day and month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateStyle {
    /// ISO, SQL, Postgres, German
    pub format: DateFormat,
    /// MDY, DMY, YMD
    pub order: DateOrder,
}

/// DateStyle's formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DateFormat {
    Iso,
    Sql,
    Postgres,
    German,
}

/// DateStyle's orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DateOrder {
    Mdy,
    Dmy,
    Ymd,
}

/// IntervalStyle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IntervalStyle {
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            time_zone: TimeZone::Named(chrono_tz::UTC),
            date_style: DateStyle { format: DateFormat::Iso, order: DateOrder::Mdy },
            interval_style: IntervalStyle::Postgres,
            bytea_escape: false,
            extra_float_digits: 1,
        }
    }
}

/// The wire formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 0
    Text,
    /// 1
    Binary,
}

/// Reads a value in text form (the type's input function), applying the modifier.
///
/// # Errors
/// PostgreSQL's: 22P02, 22003, 22007, 22008, 22001 …
pub fn from_text(text: &str, ty: PgType, style: &Style, names: &dyn crate::function::CatalogNames) -> Result<Datum> {
    let _ = (text, ty, style, names);
    Err(kalamdb_commons::SqlError::unsupported("from_text"))
}

/// Reads a value in binary form (the type's receive function).
///
/// # Errors
/// 22P03 for a wrong length, 22021 for bytes that are not UTF-8.
pub fn from_binary(bytes: &[u8], ty: PgType) -> Result<Datum> {
    let _ = (bytes, ty);
    Err(kalamdb_commons::SqlError::unsupported("from_binary"))
}

/// Writes values of one column: chosen once for each column of a portal. Neither length nor NULL is written: the
/// caller has looked at `is_null` and reserves the length.
pub trait Encoder: Send {
    /// Appends the item's form.
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut);
}

/// The encoder of a type in a format. OID-like types (`regclass`) print names through `names` in text form.
///
/// # Errors
/// 42883 when the type has no such form.
pub fn encoder(
    ty: PgType,
    format: Format,
    style: &Style,
    names: std::sync::Arc<dyn crate::function::CatalogNames>,
) -> Result<Box<dyn Encoder>> {
    let _ = (ty, format, style, names);
    Err(kalamdb_commons::SqlError::unsupported("encoder"))
}

/// The datum at a place of an array of the type's Arrow type.
pub fn datum_at(array: &dyn Array, row: usize, ty: PgType) -> Datum {
    let _ = (array, row, ty);
    Datum::Null
}

/// An array of the type's Arrow type.
///
/// # Errors
/// XX000 when a datum is not of the type's family.
pub fn array_of(ty: PgType, items: &[Datum]) -> Result<ArrayRef> {
    let _ = (ty, items);
    Err(kalamdb_commons::SqlError::unsupported("array_of"))
}

/// The engine's scalar for a datum of a type.
///
/// # Errors
/// As [`array_of`].
pub fn scalar_value(datum: &Datum, ty: PgType) -> Result<datafusion_common::ScalarValue> {
    let _ = (datum, ty);
    Err(kalamdb_commons::SqlError::unsupported("scalar_value"))
}
