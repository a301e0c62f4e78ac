//! `pg_column_size`: what PostgreSQL's form of a value takes in memory.

use crate::types::json::Json;
use kalamdb_commons::{Datum, Numeric, PgType, SqlType};

/// A length word before values of varying length.
const HEADER: usize = 4;
/// What stands before an array's items, and before a row's fields.
const ARRAY_HEADER: usize = 24;
const ROW_HEADER: usize = 23;

/// The bytes of a value; `None` for NULL.
pub(super) fn of(datum: &Datum, ty: PgType) -> Option<i32> {
    if datum.is_null() {
        return None;
    }
    i32::try_from(size(datum, ty.ty)).ok()
}

fn size(datum: &Datum, ty: SqlType) -> usize {
    match datum {
        Datum::Null => 0,
        Datum::Bool(_) => 1,
        Datum::Int2(_) => 2,
        Datum::Int4(_) | Datum::Float4(_) | Datum::Date(_) | Datum::Oid(_) => 4,
        Datum::Int8(_) | Datum::Float8(_) | Datum::Time(_) | Datum::Timestamp(_) | Datum::Timestamptz(_) => 8,
        Datum::Interval(_) | Datum::Uuid(_) => 16,
        Datum::Numeric(value) => HEADER + numeric(value),
        Datum::Text(text) => match ty {
            SqlType::Name => 64,
            SqlType::Char => 1,
            SqlType::Unknown => text.len() + 1,
            SqlType::Jsonb => Json::parse(text).map_or(HEADER + text.len(), |value| HEADER + json(&value)),
            _ => HEADER + text.len(),
        },
        Datum::Bytes(bytes) => match ty {
            SqlType::Timetz => 12,
            // Family and mask before the octets.
            SqlType::Inet | SqlType::Cidr => HEADER + bytes.len() / 2 + 1,
            fixed if fixed.facts().len > 0 => bytes.len(),
            // The number of elements, and what is unused.
            SqlType::Vector => HEADER + 4 + bytes.len(),
            _ => HEADER + bytes.len(),
        },
        Datum::Array(array) if array.items.is_empty() => 16,
        Datum::Array(array) => {
            let has_nulls = array.items.iter().any(Datum::is_null);
            let bitmap = if has_nulls { array.items.len().div_ceil(8) } else { 0 };
            let mut total = (ARRAY_HEADER + bitmap).next_multiple_of(8);
            for item in array.items.iter().filter(|item| !item.is_null()) {
                let bytes = size(item, array.element);
                total += bytes.next_multiple_of(alignment(item, array.element));
            }
            total
        }
        Datum::Record(record) => {
            let has_nulls = record.fields.iter().any(|field| field.value.is_null());
            let bitmap = if has_nulls { record.fields.len().div_ceil(8) } else { 0 };
            let mut total = (ROW_HEADER + bitmap).next_multiple_of(8);
            for field in record.fields.iter().filter(|field| !field.value.is_null()) {
                let bytes = size(&field.value, field.ty.ty);
                // Short values have a short length and stand anywhere.
                let is_short = is_varying(&field.value, field.ty.ty) && bytes - HEADER < 126;
                total = match is_short {
                    true => total + bytes - HEADER + 1,
                    false => total.next_multiple_of(alignment(&field.value, field.ty.ty)) + bytes,
                };
            }
            total
        }
    }
}

fn is_varying(datum: &Datum, ty: SqlType) -> bool {
    match datum {
        Datum::Numeric(_) => true,
        Datum::Bytes(_) => ty.facts().len < 0,
        Datum::Text(_) => !matches!(ty, SqlType::Name | SqlType::Char | SqlType::Unknown),
        _ => false,
    }
}

fn alignment(datum: &Datum, ty: SqlType) -> usize {
    match datum {
        Datum::Bool(_) | Datum::Uuid(_) => 1,
        Datum::Text(_) if matches!(ty, SqlType::Name | SqlType::Char) => 1,
        Datum::Int2(_) => 2,
        Datum::Int8(_) | Datum::Float8(_) | Datum::Time(_) | Datum::Timestamp(_) | Datum::Timestamptz(_) => 8,
        Datum::Bytes(_) if ty.facts().align == 'd' => 8,
        Datum::Interval(_) | Datum::Array(_) | Datum::Record(_) => 8,
        _ => 4,
    }
}

/// A numeric without its length: a header of two bytes, or four for many digits, and two bytes for each four decimals.
fn numeric(value: &Numeric) -> usize {
    if !value.is_finite() {
        return 2;
    }
    let text = value.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.trim_start_matches('0');
    let (high, low) = (whole.len().div_ceil(4), fraction.len().div_ceil(4));
    let digits =
        format!("{}{whole}{fraction}{}", "0".repeat(high * 4 - whole.len()), "0".repeat(low * 4 - fraction.len()));
    let is_zero = |group: &&[u8]| group.iter().all(|digit| *digit == b'0');
    let groups: Vec<&[u8]> = digits.as_bytes().chunks(4).collect();
    let leading = groups.iter().take_while(|group| is_zero(group)).count();
    let trailing = groups[leading..].iter().rev().take_while(|group| is_zero(group)).count();
    let weight = high as i64 - 1 - leading as i64;
    let is_short = fraction.len() <= 63 && (-64..=63).contains(&weight);
    (if is_short { 2 } else { 4 }) + 2 * (groups.len() - leading - trailing)
}

/// A jsonb value without its length: a header, a word for each entry, then what the entries hold.
fn json(value: &Json) -> usize {
    json_end(value, 0, &mut |_, _| {})
}

/// Tells where each array and object inside a jsonb value begins, counted from `start`, where the value itself does.
/// Gives its end.
pub(super) fn json_end<'a>(value: &'a Json, start: usize, tell: &mut dyn FnMut(&'a Json, usize)) -> usize {
    tell(value, start);
    stacker::maybe_grow(64 * 1024, 1024 * 1024, || match value {
        Json::Array(items) => container(items.iter().map(Entry::Value), items.len(), start, tell),
        Json::Object(members) => {
            let keys = members.iter().map(|(key, _)| Entry::Key(key));
            let entries = keys.chain(members.iter().map(|(_, value)| Entry::Value(value)));
            container(entries, 2 * members.len(), start, tell)
        }
        scalar => container(std::iter::once(Entry::Value(scalar)), 1, start, tell),
    })
}

enum Entry<'a> {
    Key(&'a str),
    Value(&'a Json),
}

fn container<'a>(
    entries: impl Iterator<Item = Entry<'a>>,
    count: usize,
    start: usize,
    tell: &mut dyn FnMut(&'a Json, usize),
) -> usize {
    let mut end = start + 4 + 4 * count;
    for entry in entries {
        match entry {
            Entry::Key(text) => end += text.len(),
            Entry::Value(Json::String(text)) => end += text.len(),
            Entry::Value(Json::Number(text)) => {
                let bytes = Numeric::parse(text).map_or(0, |value| HEADER + numeric(&value));
                end = end.next_multiple_of(4) + bytes;
            }
            Entry::Value(nested @ (Json::Array(_) | Json::Object(_))) => {
                end = json_end(nested, end.next_multiple_of(4), tell);
            }
            Entry::Value(_) => {}
        }
    }
    end
}
