//! Receive functions: PostgreSQL's binary forms to datums.

use super::datetime::{EPOCH_DAYS, EPOCH_US, round_time, round_timestamp};
use super::{array, decimal, insufficient, json, jsonpath, string, surplus};
use kalamdb_commons::{Datum, Interval, PgType, Result, SqlError, SqlState, SqlType};

/// Exactly so many bytes.
fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    match bytes.len().cmp(&N) {
        std::cmp::Ordering::Less => Err(insufficient()),
        std::cmp::Ordering::Greater => Err(surplus()),
        std::cmp::Ordering::Equal => bytes.try_into().map_err(|_| insufficient()),
    }
}

/// Reads a value in binary form (the type's receive function).
///
/// # Errors
/// 22P03 and 08P01 for a wrong length, 22021 for bytes that are not UTF-8.
pub fn from_binary(bytes: &[u8], ty: PgType) -> Result<Datum> {
    use SqlType::*;
    Ok(match ty.ty {
        Bool => Datum::Bool(exact::<1>(bytes)?[0] != 0),
        Int2 => Datum::Int2(i16::from_be_bytes(exact(bytes)?)),
        Int4 => Datum::Int4(i32::from_be_bytes(exact(bytes)?)),
        Int8 => Datum::Int8(i64::from_be_bytes(exact(bytes)?)),
        Float4 => Datum::Float4(f32::from_be_bytes(exact(bytes)?)),
        Float8 => Datum::Float8(f64::from_be_bytes(exact(bytes)?)),
        SqlType::Numeric => decimal::fit(kalamdb_commons::Numeric::from_wire(bytes)?, ty)?,
        Bytea => Datum::Bytes(bytes.into()),
        Char => Datum::text(string::char_of_byte(exact::<1>(bytes)?[0])),
        Date => Datum::Date(date(i32::from_be_bytes(exact(bytes)?))?),
        Time => {
            let us = i64::from_be_bytes(exact(bytes)?);
            if !(0..=super::datetime::DAY_US).contains(&us) {
                return Err(out_of_range("time"));
            }
            Datum::Time(round_time(us, ty.typmod))
        }
        Timestamp => Datum::Timestamp(timestamp(bytes, ty)?),
        Timestamptz => Datum::Timestamptz(timestamp(bytes, ty)?),
        SqlType::Interval => interval(exact(bytes)?)?,
        Uuid => Datum::Uuid(exact(bytes)?),
        Vector => super::vector::read_binary(bytes, ty.typmod)?,
        Timetz => super::datetime::read_timetz(bytes, ty.typmod)?,
        Inet | Cidr => super::network::read_binary(bytes, ty.ty)?,
        Macaddr => Datum::Bytes(exact::<6>(bytes)?.into()),
        Macaddr8 if bytes.len() == 6 => {
            let [a, b, c, d, e, f] = exact(bytes)?;
            Datum::Bytes([a, b, c, 0xff, 0xfe, d, e, f].into())
        }
        Macaddr8 | Xid8 | PgLsn => Datum::Bytes(exact::<8>(bytes)?.into()),
        Jsonb => match bytes.split_first() {
            None => return Err(insufficient()),
            Some((1, text)) => json::read_jsonb(string::utf8(text)?)?,
            Some((version, _)) => {
                return Err(SqlError::internal(format!("unsupported jsonb version number {version}")));
            }
        },
        Jsonpath => match bytes.split_first() {
            None => return Err(insufficient()),
            Some((1, text)) => jsonpath::read(string::utf8(text)?)?,
            Some((version, _)) => {
                return Err(SqlError::internal(format!("unsupported jsonpath version number: {version}")));
            }
        },
        Json => json::read_json(string::utf8(bytes)?)?,
        Tid => {
            let bytes: [u8; 6] = exact(bytes)?;
            let [a, b, c, d, e, f] = bytes;
            Datum::text(format!("({},{})", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])))
        }
        Void => return Ok(Datum::Null),
        Name if bytes.len() > 63 => {
            return Err(SqlError::new(SqlState::NAME_TOO_LONG, "identifier too long")
                .with_detail("Identifier must be less than 64 characters."));
        }
        Record => return Err(super::record::no_input()),
        PgNodeTree | Aclitem | Any | Anyelement | Anynonarray | Anycompatible => {
            return Err(SqlError::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("no binary input function available for type {ty}"),
            ));
        }
        list if list.is_array() => return array::read_binary(bytes, ty),
        oid if oid.is_oid_like() => Datum::Oid(u32::from_be_bytes(exact(bytes)?)),
        _ => string::read(string::utf8(bytes)?, ty)?,
    })
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, format!("{what} out of range"))
}

fn date(days: i32) -> Result<i32> {
    if days == i32::MAX || days == i32::MIN {
        return Ok(days);
    }
    let since_1970 = days.checked_add(EPOCH_DAYS).ok_or_else(|| out_of_range("date"))?;
    if super::datetime::is_date(since_1970) { Ok(since_1970) } else { Err(out_of_range("date")) }
}

fn timestamp(bytes: &[u8], ty: PgType) -> Result<i64> {
    let us = i64::from_be_bytes(exact(bytes)?);
    if us == i64::MAX || us == i64::MIN {
        return Ok(us);
    }
    let since_1970 = us.checked_add(EPOCH_US).filter(|us| super::datetime::is_timestamp(*us));
    since_1970.map(|us| round_timestamp(us, ty.typmod)).ok_or_else(|| out_of_range("timestamp"))
}

fn interval(bytes: [u8; 16]) -> Result<Datum> {
    let [us @ .., _, _, _, _, _, _, _, _] = bytes;
    let [_, _, _, _, _, _, _, _, d0, d1, d2, d3, m0, m1, m2, m3] = bytes;
    let us = i64::from_be_bytes(us);
    if us.checked_mul(1000).is_none() {
        return Err(out_of_range("interval"));
    }
    let interval =
        Interval { months: i32::from_be_bytes([m0, m1, m2, m3]), days: i32::from_be_bytes([d0, d1, d2, d3]), us };
    Ok(Datum::Interval(interval))
}
