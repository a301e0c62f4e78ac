//! date, time, timestamp, timestamptz, interval.
//!
//! All count from 1970-01-01 in days or microseconds; the calendar is the proleptic Gregorian one, years before 1 are
//! counted astronomically inside (1 BC is 0). Ranges are PostgreSQL's, except that a timestamp ends where 64 bits of
//! microseconds since 1970 end (in the year 294247).

pub mod interval;
mod parse;
mod print;
mod timetz;
pub mod zone;

pub(super) use print::{DateText, IntervalBinary, IntervalText, Since2000, TimeText, TimestampText, interval_at};

pub use timetz::{PLACE_STEP, Timetz};
pub(super) use timetz::{TimetzBinary, TimetzText, read_binary as read_timetz};

use super::{DateOrder, Style};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType, clock};
use parse::{Fault, Special, Written};

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL's binary forms count.
pub const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970 to 2000.
pub const EPOCH_US: i64 = EPOCH_DAYS as i64 * DAY_US;
/// Julian day number of 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;
/// 4714-11-24 BC, the first day of both types.
const FIRST_DAY: i64 = -JULIAN_1970;
/// 5874897-12-31, the last date.
const LAST_DAY: i64 = 2_145_042_905;

/// Days since 1970-01-01 of a day of the calendar.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    // Years that begin in March put the leap day at the end; 400 of them are 146097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year (astronomical), month, day of a number of days since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The number of days of a month.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Reads a value of one of the date and time types, applying the modifier.
pub(super) fn read(text: &str, ty: PgType, style: &Style) -> Result<Datum> {
    if ty.ty == SqlType::Interval {
        return interval::read(text, style.interval_style, ty.typmod).map(Datum::Interval);
    }
    if ty.ty == SqlType::Timetz {
        return timetz::read(text, ty, style);
    }
    let report = |fault| report(fault, text, ty.ty);
    let written = parse::read(text, style.date_style.order, ty.ty == SqlType::Time).map_err(report)?;
    match ty.ty {
        SqlType::Date => {
            date(&written, style).and_then(|days| days.ok_or(Fault::Format)).map(Datum::Date).map_err(report)
        }
        SqlType::Time => time(&written, style).map(|us| Datum::Time(round_time(us, ty.typmod))).map_err(report),
        SqlType::Timestamp => {
            local(&written, style).and_then(|us| rounded(us, ty.typmod)).map(Datum::Timestamp).map_err(report)
        }
        _ => instant(&written, style).and_then(|us| rounded(us, ty.typmod)).map(Datum::Timestamptz).map_err(report),
    }
}

fn date(written: &Written, style: &Style) -> Result<Option<i32>, Fault> {
    let days = match written.special {
        Some(Special::Infinity) => return Ok(Some(i32::MAX)),
        Some(Special::NegInfinity) => return Ok(Some(i32::MIN)),
        Some(Special::Epoch) => 0,
        Some(special) => today(style) + special.days(),
        None => written.days()?,
    };
    match i32::try_from(days) {
        Ok(days) if (FIRST_DAY..=LAST_DAY).contains(&i64::from(days)) => Ok(Some(days)),
        _ => Err(Fault::Range),
    }
}

fn time(written: &Written, style: &Style) -> Result<i64, Fault> {
    match written.special {
        Some(Special::Now) => Ok(to_local(clock::now_us(), style).rem_euclid(DAY_US)),
        Some(_) => Err(Fault::Format),
        None => written.time.ok_or(Fault::Format),
    }
}

fn local(written: &Written, style: &Style) -> Result<i64, Fault> {
    match written.special {
        Some(Special::Infinity) => Ok(i64::MAX),
        Some(Special::NegInfinity) => Ok(i64::MIN),
        Some(Special::Epoch) => Ok(0),
        Some(Special::Now) => Ok(to_local(clock::now_us(), style)),
        Some(special) => Ok((today(style) + special.days()) * DAY_US + written.time.unwrap_or(0)),
        None => in_range(i128::from(written.days()?) * i128::from(DAY_US) + i128::from(written.time.unwrap_or(0))),
    }
}

fn instant(written: &Written, style: &Style) -> Result<i64, Fault> {
    match written.special {
        Some(Special::Now) => return Ok(clock::now_us()),
        Some(Special::Infinity | Special::NegInfinity | Special::Epoch) => return local(written, style),
        _ => {}
    }
    let local = local(written, style)?;
    let zone = written.zone.as_ref().unwrap_or(&style.time_zone);
    in_range(i128::from(local) - i128::from(zone::offset_of_local(zone, local)) * 1_000_000)
}

fn in_range(us: i128) -> Result<i64, Fault> {
    let first = i128::from(FIRST_DAY) * i128::from(DAY_US);
    match i64::try_from(us) {
        Ok(value) if us >= first && value < i64::MAX => Ok(value),
        _ => Err(Fault::Range),
    }
}

/// Whether days since 1970 are a date.
pub fn is_date(days: i32) -> bool {
    (FIRST_DAY..=LAST_DAY).contains(&i64::from(days))
}

/// Whether microseconds since 1970 are a timestamp.
pub fn is_timestamp(us: i64) -> bool {
    in_range(i128::from(us)).is_ok()
}

/// The wall clock of the session's zone at an instant.
pub fn to_local(us: i64, style: &Style) -> i64 {
    us + i64::from(zone::offset_at(&style.time_zone, us)) * 1_000_000
}

fn today(style: &Style) -> i64 {
    to_local(clock::now_us(), style).div_euclid(DAY_US)
}

/// Rounds to a number of digits behind the second, halves away from 2000-01-01 as PostgreSQL does.
pub fn round_timestamp(us: i64, digits: i32) -> i64 {
    if !(0..6).contains(&digits) || us == i64::MAX || us == i64::MIN {
        return us;
    }
    let step = 10_i64.pow(6 - digits as u32);
    let since = us.saturating_sub(EPOCH_US);
    let rounded = (since.unsigned_abs() as i64 + step / 2) / step * step;
    EPOCH_US + if since < 0 { -rounded } else { rounded }
}

fn rounded(us: i64, digits: i32) -> Result<i64, Fault> {
    Ok(round_timestamp(us, digits))
}

/// Rounds a time of day.
pub fn round_time(us: i64, digits: i32) -> i64 {
    if !(0..6).contains(&digits) {
        return us;
    }
    let step = 10_i64.pow(6 - digits as u32);
    (us + step / 2) / step * step
}

fn report(fault: Fault, text: &str, ty: SqlType) -> SqlError {
    let name = ty.facts().sql_name;
    match fault {
        Fault::Format => SqlError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type {} \"{text}\"", short_name(ty, name)),
        ),
        Fault::Field => {
            SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
        }
        Fault::MonthDay => {
            report(Fault::Field, text, ty).with_hint("Perhaps you need a different \"datestyle\" setting.")
        }
        Fault::Range => SqlError::new(
            SqlState::DATETIME_VALUE_OUT_OF_RANGE,
            format!("{} out of range: \"{text}\"", if ty == SqlType::Date { "date" } else { "timestamp" }),
        ),
        Fault::Zone(zone) => {
            SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{zone}\" not recognized"))
        }
        Fault::Displacement => SqlError::new(
            SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
            format!("time zone displacement out of range: \"{text}\""),
        ),
    }
}

/// What the input functions call their types.
fn short_name(ty: SqlType, name: &str) -> String {
    match ty {
        SqlType::Timestamp => "timestamp:".to_owned(),
        SqlType::Time => "time:".to_owned(),
        _ => format!("{name}:"),
    }
}

/// The order of day and month that a style's text wants.
pub(super) fn day_first(order: DateOrder) -> bool {
    order == DateOrder::Dmy
}
