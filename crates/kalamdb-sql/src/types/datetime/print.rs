//! Printing dates and times in the four DateStyles, and their binary forms.

use super::{DAY_US, EPOCH_DAYS, EPOCH_US, civil_from_days, interval, zone};
use crate::types::digits::{put_2, put_fraction, put_padded};
use crate::types::{DateFormat, DateStyle, Encoder, IntervalStyle, TimeZone, cell};
use arrow_array::types::{Date32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_array::{Array, PrimitiveArray};
use bytes::{BufMut, BytesMut};

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// date
pub(in crate::types) struct DateText(pub DateStyle);
/// time
pub(in crate::types) struct TimeText;
/// timestamp (`None`) and timestamptz (the zone).
pub(in crate::types) struct TimestampText {
    pub style: DateStyle,
    pub zone: Option<TimeZone>,
}
/// interval
pub(in crate::types) struct IntervalText(pub IntervalStyle);
/// Dates and timestamps in binary: from 2000-01-01.
pub(in crate::types) enum Since2000 {
    /// date
    Days,
    /// timestamp, timestamptz
    Us,
}
/// interval in binary.
pub(in crate::types) struct IntervalBinary;

/// The printed year, and whether it is BC.
fn shown_year(year: i64) -> (u64, bool) {
    if year > 0 { (year as u64, false) } else { ((1 - year) as u64, true) }
}

fn put_date(style: DateStyle, days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil_from_days(days);
    let (year, bc) = shown_year(year);
    let two = |a: u32, mark: u8, b: u32, out: &mut BytesMut| {
        put_2(a, out);
        out.put_u8(mark);
        put_2(b, out);
        out.put_u8(mark);
    };
    let day_first = super::day_first(style.order);
    match style.format {
        DateFormat::Iso => {
            put_padded(year, 4, out);
            out.put_u8(b'-');
            put_2(month, out);
            out.put_u8(b'-');
            put_2(day, out);
            return bc;
        }
        DateFormat::German => two(day, b'.', month, out),
        DateFormat::Sql if day_first => two(day, b'/', month, out),
        DateFormat::Sql => two(month, b'/', day, out),
        DateFormat::Postgres if day_first => two(day, b'-', month, out),
        DateFormat::Postgres => two(month, b'-', day, out),
    }
    put_padded(year, 4, out);
    bc
}

pub(super) fn put_clock(us: i64, out: &mut BytesMut) {
    let seconds = us / 1_000_000;
    put_2((seconds / 3600) as u32, out);
    out.put_u8(b':');
    put_2((seconds / 60 % 60) as u32, out);
    out.put_u8(b':');
    put_2((seconds % 60) as u32, out);
    put_fraction((us % 1_000_000) as u32, out);
}

/// `+02`, `-03:30`, `+00:19:32`.
pub(super) fn put_offset(seconds: i32, out: &mut BytesMut) {
    out.put_u8(if seconds < 0 { b'-' } else { b'+' });
    let seconds = seconds.unsigned_abs();
    put_2(seconds / 3600, out);
    if seconds % 3600 != 0 {
        out.put_u8(b':');
        put_2(seconds / 60 % 60, out);
    }
    if seconds % 60 != 0 {
        out.put_u8(b':');
        put_2(seconds % 60, out);
    }
}

/// Appends a timestamp.
fn put_timestamp(text: &TimestampText, us: i64, out: &mut BytesMut) {
    if us == i64::MAX || us == i64::MIN {
        return out.put_slice(if us > 0 { b"infinity" } else { b"-infinity" });
    }
    let offset = text.zone.as_ref().map(|zone| zone::offset_at(zone, us));
    let local = us.saturating_add(i64::from(offset.unwrap_or(0)) * 1_000_000);
    let (days, clock) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
    let iso = text.style.format == DateFormat::Iso;
    let bc = if text.style.format == DateFormat::Postgres {
        let (year, month, day) = civil_from_days(days);
        let (year, bc) = shown_year(year);
        out.put_slice(DAYS[(days + 4).rem_euclid(7) as usize].as_bytes());
        out.put_u8(b' ');
        if super::day_first(text.style.order) {
            put_2(day, out);
            out.put_u8(b' ');
            out.put_slice(MONTHS[month as usize - 1].as_bytes());
        } else {
            out.put_slice(MONTHS[month as usize - 1].as_bytes());
            out.put_u8(b' ');
            put_2(day, out);
        }
        out.put_u8(b' ');
        put_clock(clock, out);
        out.put_u8(b' ');
        put_padded(year, 4, out);
        bc
    } else {
        let bc = put_date(text.style, days, out);
        out.put_u8(b' ');
        put_clock(clock, out);
        bc
    };
    if let (Some(zone), Some(offset)) = (&text.zone, offset) {
        match zone::abbreviation_at(zone, us).filter(|_| !iso) {
            Some(name) => {
                out.put_u8(b' ');
                out.put_slice(name.as_bytes());
            }
            None => {
                if !iso {
                    out.put_u8(b' ');
                }
                put_offset(offset, out);
            }
        }
    }
    if bc {
        out.put_slice(b" BC");
    }
}

impl Encoder for DateText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        match cell::<PrimitiveArray<Date32Type>>(array).value(row) {
            i32::MAX => out.put_slice(b"infinity"),
            i32::MIN => out.put_slice(b"-infinity"),
            days => {
                if put_date(self.0, i64::from(days), out) {
                    out.put_slice(b" BC");
                }
            }
        }
    }
}
impl Encoder for TimeText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        put_clock(cell::<PrimitiveArray<Time64MicrosecondType>>(array).value(row), out);
    }
}
impl Encoder for TimestampText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        put_timestamp(self, cell::<PrimitiveArray<TimestampMicrosecondType>>(array).value(row), out);
    }
}
impl Encoder for IntervalText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        interval::put(interval_at(array, row), self.0, out);
    }
}
impl Encoder for Since2000 {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        match self {
            Since2000::Days => match cell::<PrimitiveArray<Date32Type>>(array).value(row) {
                infinite @ (i32::MAX | i32::MIN) => out.put_i32(infinite),
                days => out.put_i32(days - EPOCH_DAYS),
            },
            Since2000::Us => match cell::<PrimitiveArray<TimestampMicrosecondType>>(array).value(row) {
                infinite @ (i64::MAX | i64::MIN) => out.put_i64(infinite),
                us => out.put_i64(us - EPOCH_US),
            },
        }
    }
}
impl Encoder for IntervalBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let interval = interval_at(array, row);
        out.put_i64(interval.us);
        out.put_i32(interval.days);
        out.put_i32(interval.months);
    }
}

/// The interval at a place. Arrow counts nanoseconds; the part below a microsecond is never there.
pub(in crate::types) fn interval_at(array: &dyn Array, row: usize) -> kalamdb_commons::Interval {
    let value = cell::<PrimitiveArray<IntervalMonthDayNanoType>>(array).value(row);
    kalamdb_commons::Interval { months: value.months, days: value.days, us: value.nanoseconds / 1000 }
}
