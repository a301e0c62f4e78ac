//! time with time zone: a time of day and the offset that was in force.
//!
//! Its bytes are ordered as PostgreSQL orders the values: by the time in UTC, and equal ones by the offset, the eastern
//! ones first.

use super::parse::{self, Fault};
use super::{DAY_US, print, round_time, to_local, zone};
use crate::types::bytea::bytes_at;
use crate::types::{Encoder, Style, TimeZone, insufficient, surplus};
use arrow_array::Array;
use bytes::{Buf, BufMut, BytesMut};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType, clock};

/// How far places are apart of which one is a microsecond later: more than twice the longest offset.
pub const PLACE_STEP: i64 = 1 << 17;

/// Offsets are shorter than this many seconds.
const OFFSET_END: i32 = 16 * 3600;

/// A time of day with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timetz {
    /// Microseconds since midnight, by the clock of the place.
    pub us: i64,
    /// Seconds west of Greenwich: PostgreSQL counts so.
    pub west: i32,
}

impl Timetz {
    /// Microseconds since midnight in UTC; below 0 and above a day too.
    pub fn utc(self) -> i64 {
        self.us + i64::from(self.west) * 1_000_000
    }

    /// A number that is ordered as the values are: microseconds in UTC times [`PLACE_STEP`], and the offset.
    pub fn place(self) -> i64 {
        self.utc() * PLACE_STEP + i64::from(self.west)
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        // The sign's bit is turned so that negative numbers come first.
        bytes[..8].copy_from_slice(&(self.utc() ^ i64::MIN).to_be_bytes());
        bytes[8..].copy_from_slice(&(self.west ^ i32::MIN).to_be_bytes());
        bytes
    }

    /// What [`Timetz::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = bytes;
        let utc = bytes.try_get_i64().unwrap_or(i64::MIN) ^ i64::MIN;
        let west = bytes.try_get_i32().unwrap_or(i32::MIN) ^ i32::MIN;
        Timetz { us: utc - i64::from(west) * 1_000_000, west }
    }

    /// What the clock of a zone shows at an instant.
    pub fn at(instant: i64, zone: &TimeZone) -> Self {
        let east = zone::offset_at(zone, instant);
        let local = instant.saturating_add(i64::from(east) * 1_000_000);
        Timetz { us: local.rem_euclid(DAY_US), west: -east }
    }

    /// A time of day with the offset that the session's zone has then on the day of an instant.
    pub fn of_time(us: i64, instant: i64, style: &Style) -> Self {
        let midnight = to_local(instant, style).div_euclid(DAY_US) * DAY_US;
        Timetz { us, west: -zone::offset_of_local(&style.time_zone, midnight + us) }
    }

    /// The same moment by the clock of another offset.
    pub fn moved(self, west: i32) -> Self {
        Timetz { us: (self.us + i64::from(self.west - west) * 1_000_000).rem_euclid(DAY_US), west }
    }
}

/// Reads a text.
pub(super) fn read(text: &str, ty: PgType, style: &Style) -> Result<Datum> {
    let value = written(text, style).map_err(|fault| super::report(fault, text, SqlType::Timetz))?;
    let value = Timetz { us: round_time(value.us, ty.typmod), ..value };
    Ok(Datum::Bytes(value.to_bytes().into()))
}

fn written(text: &str, style: &Style) -> Result<Timetz, Fault> {
    let written = parse::read(text, style.date_style.order, true)?;
    let now = clock::now_us();
    match written.special {
        Some(parse::Special::Now) => return Ok(Timetz::at(now, &style.time_zone)),
        Some(_) => return Err(Fault::Format),
        None => {}
    }
    let us = written.time.ok_or(Fault::Format)?;
    let day = written.days().ok();
    let on = |day: i64, zone: &TimeZone| Timetz { us, west: -zone::offset_of_local(zone, day * DAY_US + us) };
    match (&written.zone, day) {
        (Some(TimeZone::Fixed(east, _)), _) => Ok(Timetz { us, west: -east }),
        (Some(zone), Some(day)) => Ok(on(day, zone)),
        (Some(TimeZone::Named(zone)), None) => {
            let east = zone::constant_offset(*zone).ok_or(Fault::Format)?;
            Ok(Timetz { us, west: -east })
        }
        (None, Some(day)) => Ok(on(day, &style.time_zone)),
        (None, None) => Ok(Timetz::of_time(us, now, style)),
    }
}

/// Reads the binary form: the time of day, and seconds west.
pub(in crate::types) fn read_binary(mut bytes: &[u8], typmod: i32) -> Result<Datum> {
    let us = bytes.try_get_i64().map_err(|_| insufficient())?;
    let out = |state, message: &str| SqlError::new(state, message);
    if !(0..=DAY_US).contains(&us) {
        return Err(out(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "time out of range"));
    }
    let west = bytes.try_get_i32().map_err(|_| insufficient())?;
    if west <= -OFFSET_END || west >= OFFSET_END {
        let state = SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE;
        return Err(out(state, "time zone displacement out of range"));
    }
    if !bytes.is_empty() {
        return Err(surplus());
    }
    Ok(Datum::Bytes(Timetz { us: round_time(us, typmod), west }.to_bytes().into()))
}

/// timetz as text.
pub(in crate::types) struct TimetzText;
/// timetz in binary.
pub(in crate::types) struct TimetzBinary;

impl Encoder for TimetzText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let value = Timetz::from_bytes(bytes_at(array, row));
        print::put_clock(value.us, out);
        print::put_offset(-value.west, out);
    }
}

impl Encoder for TimetzBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let value = Timetz::from_bytes(bytes_at(array, row));
        out.put_i64(value.us);
        out.put_i32(value.west);
    }
}
