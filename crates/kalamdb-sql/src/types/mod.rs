//! PostgreSQL's text and binary forms, in and out of datums and Arrow arrays. One file per family.

mod array;
mod binary;
mod bytea;
pub mod copy;
pub mod copy_binary;
pub mod datetime;
mod decimal;
mod digits;
pub mod json;
pub mod jsonpath;
pub mod labels;
pub(crate) mod network;
mod number;
pub mod oid;
mod record;
pub mod string;
#[cfg(test)]
mod tests;
pub(crate) mod unsigned;
mod uuid;
mod value;
pub(crate) mod vector;

pub use array::{checked as check_dimensions, too_many_dimensions};
pub use binary::from_binary;
pub use network::inet_of;
pub use value::{array_of, datum_at, month_day_nano, scalar_value};

use crate::function::CatalogNames;
use arrow_array::Array;
use arrow_array::types::{
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, UInt32Type,
};
use bytes::BytesMut;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use std::marker::PhantomData;
use std::sync::Arc;

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
pub fn from_text(text: &str, ty: PgType, style: &Style, names: &dyn CatalogNames) -> Result<Datum> {
    use SqlType::*;
    match ty.ty {
        Bool => number::read_bool(text),
        Int2 | Int4 | Int8 => number::read_integer(text, ty.ty),
        Float4 | Float8 => number::read_float(text, ty.ty),
        Numeric => decimal::read(text, ty),
        Bytea => bytea::read(text),
        Date | Time | Timetz | Timestamp | Timestamptz | Interval => datetime::read(text, ty, style),
        Xid8 => Ok(unsigned::read_xid8(text)),
        PgLsn => unsigned::read_lsn(text),
        Inet | Cidr => network::read(text, ty.ty),
        Macaddr => network::read_mac(text),
        Macaddr8 => network::read_mac8(text),
        Uuid => uuid::read(text),
        Vector => vector::read(text, ty.typmod),
        Json => json::read_json(text),
        Jsonb => json::read_jsonb(text),
        Jsonpath => jsonpath::read(text),
        Tid => match string::tid_parts(text) {
            Some((block, offset)) => Ok(Datum::text(format!("({block},{offset})"))),
            None => Err(number::syntax(text, "tid")),
        },
        Void => Ok(Datum::Null),
        Record => Err(record::no_input()),
        Aclitem | PgNodeTree | Any | Anyelement | Anynonarray | Anyenum | Anycompatible | Anyarray
        | Anycompatiblearray | Internal => {
            Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot accept a value of type {ty}")))
        }
        Enum(oid) => labels::read(text, oid, names),
        list if list.is_array() => array::read(text, ty, style, names),
        oid if oid.is_oid_like() => oid::read(text, oid, names),
        _ => string::read(text, ty),
    }
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
pub fn encoder(ty: PgType, format: Format, style: &Style, names: Arc<dyn CatalogNames>) -> Result<Box<dyn Encoder>> {
    match format {
        Format::Text => Ok(text_encoder(ty.ty, style, names)),
        Format::Binary => binary_encoder(ty.ty, names),
    }
}

/// Writes one value in text form (the type's output function); NULL is the empty text.
///
/// # Errors
/// XX000 when the datum is not of the type's family.
pub fn to_text(datum: &Datum, ty: PgType, style: &Style, names: &dyn CatalogNames) -> Result<String> {
    match datum {
        Datum::Null => return Ok(String::new()),
        Datum::Text(text) if ty.ty == SqlType::Char => return Ok(string::shown_char(text)),
        Datum::Text(text) => return Ok(text.to_string()),
        Datum::Record(record) => return record::text(record, style, names),
        _ if ty.ty.user_type().is_some() => {
            let (datum, ty) = labels::as_text(datum, ty.ty, names);
            return to_text(&datum, ty, style, names);
        }
        Datum::Oid(oid) => {
            if let Some(name) = oid::shown(ty.ty, *oid, names) {
                return Ok(name);
            }
        }
        _ => {}
    }
    // Names inside arrays are printed as digits.
    let encoder = text_encoder(ty.ty, style, Arc::new(crate::function::Nowhere));
    let mut out = BytesMut::new();
    encoder.encode(array_of(ty, std::slice::from_ref(datum))?.as_ref(), 0, &mut out);
    String::from_utf8(out.to_vec()).map_err(SqlError::internal)
}

fn text_encoder(ty: SqlType, style: &Style, names: Arc<dyn CatalogNames>) -> Box<dyn Encoder> {
    use SqlType::*;
    if let Some(element) = ty.element() {
        let inner = text_encoder(element, style, names);
        if matches!(ty, Int2vector | Oidvector) {
            return Box::new(array::VectorText(inner));
        }
        let plain = element.is_integer() || matches!(element, Bool | Float4 | Float8 | Numeric | Oid | Uuid);
        return Box::new(array::ArrayText { element: inner, may_need_quotes: !plain });
    }
    match ty {
        Bool => Box::new(number::BoolText),
        Int2 => Box::new(number::IntegerText::<Int16Type>(PhantomData)),
        Int4 => Box::new(number::IntegerText::<Int32Type>(PhantomData)),
        Int8 => Box::new(number::IntegerText::<Int64Type>(PhantomData)),
        Float4 => Box::new(number::Float4Text(style.extra_float_digits)),
        Float8 => Box::new(number::Float8Text(style.extra_float_digits)),
        Numeric => Box::new(decimal::NumericText),
        Bytea if style.bytea_escape => Box::new(bytea::EscapeText),
        Bytea => Box::new(bytea::HexText),
        Char => Box::new(string::CharText),
        Date => Box::new(datetime::DateText(style.date_style)),
        Time => Box::new(datetime::TimeText),
        Timetz => Box::new(datetime::TimetzText),
        Timestamp => Box::new(datetime::TimestampText { style: style.date_style, zone: None }),
        Timestamptz => {
            Box::new(datetime::TimestampText { style: style.date_style, zone: Some(style.time_zone.clone()) })
        }
        Interval => Box::new(datetime::IntervalText(style.interval_style)),
        Uuid => Box::new(uuid::UuidText),
        Vector => Box::new(vector::VectorText),
        Enum(oid) => Box::new(labels::LabelText { oid, names }),
        Xid8 => Box::new(unsigned::Xid8Text),
        PgLsn => Box::new(unsigned::LsnText),
        Inet | Cidr => Box::new(network::NetworkText { is_cidr: ty == Cidr }),
        Macaddr | Macaddr8 => Box::new(network::MacText),
        Void => Box::new(Nothing),
        Record => Box::new(record::RecordText { style: style.clone(), names }),
        Oid | Xid | Cid => Box::new(number::IntegerText::<UInt32Type>(PhantomData)),
        named if named.is_oid_like() => Box::new(oid::NameText { ty: named, names }),
        _ => Box::new(string::Text),
    }
}

fn binary_encoder(ty: SqlType, names: Arc<dyn CatalogNames>) -> Result<Box<dyn Encoder>> {
    use SqlType::*;
    if let Some(element) = ty.element() {
        let lower = i32::from(ty.facts().name.starts_with('_'));
        return Ok(Box::new(array::ArrayBinary {
            element: binary_encoder(element, names)?,
            oid: element.oid(),
            lower,
        }));
    }
    Ok(match ty {
        Bool => Box::new(number::BoolBinary),
        Int2 => Box::new(number::NumberBinary::<Int16Type>(PhantomData)),
        Int4 => Box::new(number::NumberBinary::<Int32Type>(PhantomData)),
        Int8 => Box::new(number::NumberBinary::<Int64Type>(PhantomData)),
        Float4 => Box::new(number::NumberBinary::<Float32Type>(PhantomData)),
        Float8 => Box::new(number::NumberBinary::<Float64Type>(PhantomData)),
        Numeric => Box::new(decimal::NumericBinary),
        Bytea => Box::new(bytea::Raw),
        Char => Box::new(string::CharBinary),
        Date => Box::new(datetime::Since2000::Days),
        Time => Box::new(number::NumberBinary::<Time64MicrosecondType>(PhantomData)),
        Timestamp | Timestamptz => Box::new(datetime::Since2000::Us),
        Interval => Box::new(datetime::IntervalBinary),
        Uuid => Box::new(uuid::UuidBinary),
        Vector => Box::new(vector::VectorBinary),
        Timetz => Box::new(datetime::TimetzBinary),
        Inet | Cidr => Box::new(network::NetworkBinary { is_cidr: ty == Cidr }),
        Macaddr | Macaddr8 | Xid8 | PgLsn => Box::new(bytea::Raw),
        Jsonb | Jsonpath => Box::new(string::VersionedBinary),
        Tid => Box::new(string::TidBinary),
        Enum(oid) => Box::new(labels::LabelText { oid, names }),
        Void => Box::new(Nothing),
        Record => Box::new(record::RecordBinary),
        Aclitem | Any | Anyarray | Anyelement | Anynonarray | Anyenum | Anycompatible | Anycompatiblearray
        | Internal => {
            return Err(SqlError::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("no binary output function available for type {ty}"),
            ));
        }
        oid if oid.is_oid_like() => Box::new(number::NumberBinary::<UInt32Type>(PhantomData)),
        _ => Box::new(string::Text),
    })
}

/// void: an empty value in both formats.
struct Nothing;

impl Encoder for Nothing {
    fn encode(&self, _: &dyn Array, _: usize, _: &mut BytesMut) {}
}

/// The array as what its column's type says it is.
fn cell<A: Array + 'static>(array: &dyn Array) -> &A {
    match array.as_any().downcast_ref() {
        Some(array) => array,
        None => panic!("a column of Arrow type {} is encoded as another", array.data_type()),
    }
}

/// What C's isspace says.
fn is_blank(ch: char) -> bool {
    matches!(ch, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

fn insufficient() -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

fn surplus() -> SqlError {
    SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format in bind parameter")
}
