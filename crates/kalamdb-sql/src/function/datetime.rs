//! Dates and times (PostgreSQL manual 9.9): the calendar, time zones, arithmetic. Fields and truncation are in
//! [`super::field`], patterns in [`super::template`].
//!
//! Times of day, dates and timestamps are counted from 1970; PostgreSQL rounds and bins relative to 2000.

use super::rows::{f, fail, interval_native, text_of};
use super::{Call, Function};
use crate::types::TimeZone;
use crate::types::datetime::zone;
use kalamdb_commons::{Datum, Interval, Numeric, Result, SqlError, SqlState, SqlType};

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const MINUTE_US: i64 = 60 * SECOND_US;
pub(super) const HOUR_US: i64 = 60 * MINUTE_US;
pub(super) const DAY_US: i64 = 24 * HOUR_US;
/// 2000-01-01 in days since 1970.
pub(super) const Y2K_DAYS: i64 = 10_957;
const Y2K_US: i64 = Y2K_DAYS * DAY_US;
/// The days of a date: 4714-11-24 BC to 5874897-12-31.
const DATE_MIN: i64 = -2_440_588;
const DATE_MAX: i64 = 2_145_042_905;
/// 4714-11-24 BC; the largest is what 64 bits hold (294247-01-10).
const TIMESTAMP_MIN: i64 = DATE_MIN * DAY_US;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(1141 "date_pli" (a: Date, days: Int4) -> Date { move_date(a, i64::from(days)) }),
    f!(1142 "date_mii" (a: Date, days: Int4) -> Date { move_date(a, -i64::from(days)) }),
    f!(2550 "integer_pl_date" (days: Int4, a: Date) -> Date { move_date(a, i64::from(days)) }),
    f!(1140 "date_mi" (a: Date, b: Date) -> Int4 { days_between(a, b) }),
    f!(2071 "date_pl_interval" (a: Date, b: Interval) -> Timestamp { plus(date_to_timestamp(a)?, b) }),
    f!(2072 "date_mi_interval" (a: Date, b: Interval) -> Timestamp { minus(date_to_timestamp(a)?, b) }),
    f!(2546 "interval_pl_date" (b: Interval, a: Date) -> Timestamp { plus(date_to_timestamp(a)?, b) }),
    f!(1272 "datetime_pl" (a: Date, b: Time) -> Timestamp { date_at(a, b) }),
    f!(1296 "timedate_pl" (b: Time, a: Date) -> Timestamp { date_at(a, b) }),
    f!(2032 "timestamp_pl_interval" (a: Timestamp, b: Interval) -> Timestamp { plus(a, b) }),
    f!(2033 "timestamp_mi_interval" (a: Timestamp, b: Interval) -> Timestamp { minus(a, b) }),
    f!(2548 "interval_pl_timestamp" (b: Interval, a: Timestamp) -> Timestamp { plus(a, b) }),
    f!(call; 1189 stable "timestamptz_pl_interval" (a: Timestamptz, b: Interval) -> Timestamptz { plus_zoned(a, b, &call.around.style().time_zone) }),
    f!(call; 1190 stable "timestamptz_mi_interval" (a: Timestamptz, b: Interval) -> Timestamptz { if is_finite(a) { plus_zoned(a, turned(b)?, &call.around.style().time_zone) } else { Ok(a) } }),
    f!(call; 2549 stable "interval_pl_timestamptz" (b: Interval, a: Timestamptz) -> Timestamptz { plus_zoned(a, b, &call.around.style().time_zone) }),
    f!(2031 "timestamp_mi" (a: Timestamp, b: Timestamp) -> Interval { interval_native(difference(a, b)?) }),
    f!(1188 "timestamptz_mi" (a: Timestamptz, b: Timestamptz) -> Interval { interval_native(difference(a, b)?) }),
    f!(1747 "time_pl_interval" (a: Time, b: Interval) -> Time { Ok(a.wrapping_add(b.us.rem_euclid(DAY_US)).rem_euclid(DAY_US)) }),
    f!(1748 "time_mi_interval" (a: Time, b: Interval) -> Time { Ok(a.wrapping_sub(b.us.rem_euclid(DAY_US)).rem_euclid(DAY_US)) }),
    f!(1848 "interval_pl_time" (b: Interval, a: Time) -> Time { Ok(a.wrapping_add(b.us.rem_euclid(DAY_US)).rem_euclid(DAY_US)) }),
    f!(1690 "time_mi_time" (a: Time, b: Time) -> Interval { interval_native(Interval { us: a - b, ..Interval::default() }) }),
    f!(1168 "interval_um" (a: Interval) -> Interval { interval_native(negative(a)?) }),
    f!(1169 "interval_pl" (a: Interval, b: Interval) -> Interval { interval_native(sum(a, b)?) }),
    f!(1170 "interval_mi" (a: Interval, b: Interval) -> Interval { interval_native(sum(a, negative(b)?)?) }),
    f!(1618 "interval_mul" (a: Interval, b: Float8) -> Interval { interval_native(scaled(a, |part| part * b)?) }),
    f!(1624 "mul_d_interval" (b: Float8, a: Interval) -> Interval { interval_native(scaled(a, |part| part * b)?) }),
    f!(1326 "interval_div" (a: Interval, b: Float8) -> Interval { interval_native(divided(a, b)?) }),

    f!(1175 "justify_hours" (a: Interval) -> Interval { interval_native(justify_hours(a)?) }),
    f!(1295 "justify_days" (a: Interval) -> Interval { interval_native(justify_days(a)?) }),
    f!(2711 "justify_interval" (a: Interval) -> Interval { interval_native(justify_interval(a)?) }),
    f!(2058 "age" (a: Timestamp, b: Timestamp) -> Interval { interval_native(age(a, b)?) }),
    f!(call; 1199 "age" (a: Timestamptz, b: Timestamptz) -> Interval { interval_native(age(to_local(a, call)?, to_local(b, call)?)?) }),
    f!(call; 2059 stable "age" (a: Timestamp) -> Interval { interval_native(age(midnight(call)?, a)?) }),
    f!(call; 1386 stable "age" (a: Timestamptz) -> Interval { interval_native(age(midnight(call)?, to_local(a, call)?)?) }),

    f!(1373 "isfinite" (a: Date) -> Bool { Ok(a != i32::MAX && a != i32::MIN) }),
    f!(2048 "isfinite" (a: Timestamp) -> Bool { Ok(is_finite(a)) }),
    f!(1389 "isfinite" (a: Timestamptz) -> Bool { Ok(is_finite(a)) }),
    f!(1390 "isfinite" (_a: Interval) -> Bool { Ok(true) }),

    f!(3846 "make_date" (y: Int4, m: Int4, d: Int4) -> Date { make_date(y, m, d) }),
    f!(3847 "make_time" (h: Int4, m: Int4, s: Float8) -> Time { make_time(h, m, s) }),
    f!(3461 "make_timestamp" (y: Int4, m: Int4, d: Int4, h: Int4, min: Int4, s: Float8) -> Timestamp { make_timestamp(y, m, d, h, min, s) }),
    f!(call; 3462 stable "make_timestamptz" (y: Int4, m: Int4, d: Int4, h: Int4, min: Int4, s: Float8) -> Timestamptz { to_utc(make_timestamp(y, m, d, h, min, s)?, call) }),
    f!(3463 stable "make_timestamptz" (y: Int4, m: Int4, d: Int4, h: Int4, min: Int4, s: Float8, zone: Text) -> Timestamptz { utc_of(make_timestamp(y, m, d, h, min, s)?, &zone_named(zone)?) }),
    f!(3464 defaults(7) "make_interval" (y: Int4, m: Int4, w: Int4, d: Int4, h: Int4, min: Int4, s: Float8) -> Interval { interval_native(make_interval([y, m, w, d, h, min], s)?) }),
    f!(1158 "to_timestamp" (a: Float8) -> Timestamptz { from_epoch(a) }),
    f!(6177 "date_bin" (stride: Interval, a: Timestamp, origin: Timestamp) -> Timestamp { bin(stride, a, origin) }),
    f!(6178 "date_bin" (stride: Interval, a: Timestamptz, origin: Timestamptz) -> Timestamptz { bin(stride, a, origin) }),

    f!(1159 "timezone" (zone: Text, a: Timestamptz) -> Timestamp { if is_finite(a) { timestamp_of(a, &zone_named(zone)?) } else { Ok(a) } }),
    f!(2069 "timezone" (zone: Text, a: Timestamp) -> Timestamptz { if is_finite(a) { utc_of(a, &zone_named(zone)?) } else { Ok(a) } }),
    f!(call; 1026 "timezone" (zone: Interval, a: Timestamptz) -> Timestamp { if is_finite(a) { timestamp_of(a, &zone_of(zone, call)?) } else { Ok(a) } }),
    f!(call; 2070 "timezone" (zone: Interval, a: Timestamp) -> Timestamptz { if is_finite(a) { utc_of(a, &zone_of(zone, call)?) } else { Ok(a) } }),


    f!(2649 volatile "clock_timestamp" () -> Timestamptz { Ok(kalamdb_commons::clock::now_us()) }),
    f!(call; 274 volatile "timeofday" () -> Text { super::template::time_of_day_text(call) }),
];

/// A moment on the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    /// Astronomical: 0 is 1 BC.
    pub year: i64,
    pub month: i64,
    pub day: i64,
    /// Microseconds since midnight.
    pub us: i64,
}

/// The date of a day since 1970, in the proleptic Gregorian calendar.
pub(super) fn civil_date(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last of its year; 400 years have 146,097 days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970 of a date. The month may be any of 1 to 12, the day any number.
pub(super) fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

pub(super) fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Civil {
    /// Of a finite timestamp.
    pub fn of(timestamp: i64) -> Civil {
        let (year, month, day) = civil_date(timestamp.div_euclid(DAY_US));
        Civil { year, month, day, us: timestamp.rem_euclid(DAY_US) }
    }

    /// Its timestamp.
    pub fn timestamp(self) -> Result<i64> {
        let days = day_number(self.year, self.month, self.day);
        in_range(days.checked_mul(DAY_US).and_then(|us| us.checked_add(self.us)))
    }
}

pub(super) fn is_finite(timestamp: i64) -> bool {
    timestamp != i64::MAX && timestamp != i64::MIN
}

pub(super) fn out_of_range(what: &str) -> SqlError {
    SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, format!("{what} out of range"))
}

pub(super) fn in_range(timestamp: Option<i64>) -> Result<i64> {
    timestamp.filter(|us| *us >= TIMESTAMP_MIN && *us != i64::MAX).ok_or_else(|| out_of_range("timestamp"))
}

fn date_in_range(days: i64) -> Result<i32> {
    match i32::try_from(days) {
        Ok(date) if (DATE_MIN..=DATE_MAX).contains(&days) => Ok(date),
        _ => Err(out_of_range("date")),
    }
}

pub(super) fn date_to_timestamp(date: i32) -> Result<i64> {
    match date {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        _ => i64::from(date)
            .checked_mul(DAY_US)
            .ok_or_else(|| SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range for timestamp")),
    }
}

pub(super) fn timestamp_to_date(timestamp: i64) -> Result<i32> {
    match timestamp {
        i64::MAX => Ok(i32::MAX),
        i64::MIN => Ok(i32::MIN),
        _ => date_in_range(timestamp.div_euclid(DAY_US)),
    }
}

/// The time of a timestamp; for the infinities there is none to tell, as PostgreSQL answers NULL by an error's way.
pub(super) fn time_of_day(timestamp: i64) -> Option<i64> {
    is_finite(timestamp).then(|| timestamp.rem_euclid(DAY_US))
}

fn move_date(date: i32, days: i64) -> Result<i32> {
    if date == i32::MAX || date == i32::MIN {
        return Ok(date);
    }
    date_in_range(i64::from(date) + days)
}

fn days_between(a: i32, b: i32) -> Result<i32> {
    if [a, b].iter().any(|date| *date == i32::MAX || *date == i32::MIN) {
        return fail(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "cannot subtract infinite dates");
    }
    Ok(a.wrapping_sub(b))
}

/// Rounds microseconds to so many digits of a second.
pub(super) fn round_us(us: i64, digits: i32) -> i64 {
    if !(0..6).contains(&digits) {
        return us;
    }
    let unit = 10_i64.pow(6 - digits.unsigned_abs());
    let half = unit / 2;
    // Halves go away from zero.
    if us >= 0 { us.saturating_add(half) / unit * unit } else { -((half.saturating_sub(us)) / unit * unit) }
}

/// [`round_timestamp`] where the digits are an argument.
pub(super) fn round_checked(timestamp: i64, digits: i32) -> Result<i64> {
    if !(-1..=6).contains(&digits) && is_finite(timestamp) {
        let message = format!("timestamp({digits}) precision must be between 0 and 6");
        return fail(SqlState::INVALID_PARAMETER_VALUE, message);
    }
    Ok(round_timestamp(timestamp, digits))
}

pub(super) fn round_timestamp(timestamp: i64, digits: i32) -> i64 {
    if !is_finite(timestamp) {
        return timestamp;
    }
    match timestamp.checked_sub(Y2K_US) {
        Some(us) => round_us(us, digits).saturating_add(Y2K_US),
        None => timestamp,
    }
}

/// A timestamp plus an interval: months first (the day is cut to the month's end), then days, then time.
pub(super) fn plus(timestamp: i64, interval: Interval) -> Result<i64> {
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    let moved = plus_days(plus_months(timestamp, interval.months)?, interval.days)?;
    in_range(moved.checked_add(interval.us))
}

/// A timestamp minus an interval.
fn minus(timestamp: i64, interval: Interval) -> Result<i64> {
    if is_finite(timestamp) { plus(timestamp, turned(interval)?) } else { Ok(timestamp) }
}

/// The other way; what cannot be turned leads out of every range.
fn turned(interval: Interval) -> Result<Interval> {
    negative(interval).map_err(|_| out_of_range("timestamp"))
}

/// A date with a time of day.
fn date_at(date: i32, time: i64) -> Result<i64> {
    let midnight = date_to_timestamp(date)?;
    if is_finite(midnight) { in_range(midnight.checked_add(time)) } else { Ok(midnight) }
}

fn plus_months(timestamp: i64, months: i32) -> Result<i64> {
    if months == 0 {
        return Ok(timestamp);
    }
    let civil = Civil::of(timestamp);
    let month = civil.year * 12 + civil.month - 1 + i64::from(months);
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
    Civil { year, month, day: civil.day.min(days_in_month(year, month)), us: civil.us }.timestamp()
}

fn plus_days(timestamp: i64, days: i32) -> Result<i64> {
    in_range(i64::from(days).checked_mul(DAY_US).and_then(|us| timestamp.checked_add(us)))
}

/// As [`plus`]; months and days are the zone's calendar's, so that a day may have 23 or 25 hours.
pub(super) fn plus_zoned(timestamp: i64, interval: Interval, zone: &TimeZone) -> Result<i64> {
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    let mut moved = timestamp;
    if interval.months != 0 {
        moved = utc_of(plus_months(local_of(moved, zone)?, interval.months)?, zone)?;
    }
    if interval.days != 0 {
        moved = utc_of(plus_days(local_of(moved, zone)?, interval.days)?, zone)?;
    }
    in_range(moved.checked_add(interval.us))
}

pub(super) fn difference(a: i64, b: i64) -> Result<Interval> {
    if !is_finite(a) || !is_finite(b) {
        return fail(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "cannot subtract infinite timestamps");
    }
    let us = a.checked_sub(b).ok_or_else(|| out_of_range("interval"))?;
    justify_hours(Interval { us, ..Interval::default() })
}

pub(super) fn interval_range() -> SqlError {
    out_of_range("interval")
}

pub(super) fn negative(a: Interval) -> Result<Interval> {
    let part = |value: i32| value.checked_neg().ok_or_else(interval_range);
    Ok(Interval { months: part(a.months)?, days: part(a.days)?, us: a.us.checked_neg().ok_or_else(interval_range)? })
}

pub(super) fn sum(a: Interval, b: Interval) -> Result<Interval> {
    let part = |a: i32, b: i32| a.checked_add(b).ok_or_else(interval_range);
    Ok(Interval {
        months: part(a.months, b.months)?,
        days: part(a.days, b.days)?,
        us: a.us.checked_add(b.us).ok_or_else(interval_range)?,
    })
}

pub(super) fn divided(a: Interval, divisor: f64) -> Result<Interval> {
    if divisor == 0.0 {
        return Err(super::rows::division_by_zero());
    }
    scaled(a, |part| part / divisor)
}

/// Every part by a factor; fractions of months become days of a month of 30, fractions of days become time.
pub(super) fn scaled(a: Interval, by: impl Fn(f64) -> f64) -> Result<Interval> {
    let to_microseconds = |value: f64| (value * 1e6).round_ties_even() / 1e6;
    let whole = |value: f64| {
        let in_range = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value);
        if in_range { Ok(value as i32) } else { Err(interval_range()) }
    };
    let months = whole(by(f64::from(a.months)))?;
    let mut days = whole(by(f64::from(a.days)))?;
    let month_days = to_microseconds((by(f64::from(a.months)) - f64::from(months)) * 30.0);
    let mut seconds = by(f64::from(a.days)) - f64::from(days) + month_days - month_days.trunc();
    seconds = to_microseconds(seconds * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        days = days.checked_add((seconds / 86_400.0) as i32).ok_or_else(interval_range)?;
        seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
    }
    days = days.checked_add(month_days as i32).ok_or_else(interval_range)?;
    let us = (by(a.us as f64) + seconds * 1e6).round_ties_even();
    if us.is_nan() || us.abs() >= 9.223_372_036_854_775e18 {
        return Err(interval_range());
    }
    Ok(Interval { months, days, us: us as i64 })
}

/// 24 hours become a day.
pub(super) fn justify_hours(a: Interval) -> Result<Interval> {
    let whole = i32::try_from(a.us / DAY_US).map_err(|_| interval_range())?;
    let mut days = a.days.checked_add(whole).ok_or_else(interval_range)?;
    let mut us = a.us % DAY_US;
    if days > 0 && us < 0 {
        us += DAY_US;
        days -= 1;
    } else if days < 0 && us > 0 {
        us -= DAY_US;
        days += 1;
    }
    Ok(Interval { months: a.months, days, us })
}

/// 30 days become a month.
fn justify_days(a: Interval) -> Result<Interval> {
    let mut months = a.months.checked_add(a.days / 30).ok_or_else(interval_range)?;
    let mut days = a.days % 30;
    if months > 0 && days < 0 {
        days += 30;
        months -= 1;
    } else if months < 0 && days > 0 {
        days -= 30;
        months += 1;
    }
    Ok(Interval { months, days, us: a.us })
}

/// Both, and all parts with one sign.
fn justify_interval(a: Interval) -> Result<Interval> {
    let mut value = a;
    // Days that would overflow give their months first.
    if (value.days > 0 && value.us > 0) || (value.days < 0 && value.us < 0) {
        value.months = value.months.checked_add(value.days / 30).ok_or_else(interval_range)?;
        value.days %= 30;
    }
    let whole = i32::try_from(value.us / DAY_US).map_err(|_| interval_range())?;
    value.us %= DAY_US;
    value.days = value.days.checked_add(whole).ok_or_else(interval_range)?;
    value.months = value.months.checked_add(value.days / 30).ok_or_else(interval_range)?;
    value.days %= 30;
    if value.months > 0 && (value.days < 0 || (value.days == 0 && value.us < 0)) {
        value.days += 30;
        value.months -= 1;
    } else if value.months < 0 && (value.days > 0 || (value.days == 0 && value.us > 0)) {
        value.days -= 30;
        value.months += 1;
    }
    if value.days > 0 && value.us < 0 {
        value.us += DAY_US;
        value.days -= 1;
    } else if value.days < 0 && value.us > 0 {
        value.us -= DAY_US;
        value.days += 1;
    }
    Ok(value)
}

/// The difference in years, months and days, as people count.
fn age(a: i64, b: i64) -> Result<Interval> {
    if !is_finite(a) || !is_finite(b) {
        return Err(out_of_range("timestamp"));
    }
    let (later, earlier, sign) = if a >= b { (a, b, 1) } else { (b, a, -1) };
    let (x, y) = (Civil::of(later), Civil::of(earlier));
    let (mut months, mut days, mut us) = ((x.year - y.year) * 12 + x.month - y.month, x.day - y.day, x.us - y.us);
    if us < 0 {
        us += DAY_US;
        days -= 1;
    }
    if days < 0 {
        // A borrowed month is as long as the one in which the earlier moment stands.
        days += days_in_month(y.year, y.month);
        months -= 1;
    }
    let part = |value: i64| i32::try_from(value * sign).map_err(|_| interval_range());
    Ok(Interval { months: part(months)?, days: part(days)?, us: us * sign })
}

/// The beginning of today where the session is.
fn midnight(call: &Call<'_>) -> Result<i64> {
    let now = to_local(call.around.transaction_start(), call)?;
    Ok(now - now.rem_euclid(DAY_US))
}

fn field_overflow<T>(what: &str, shown: String) -> Result<T> {
    fail(SqlState::DATETIME_FIELD_OVERFLOW, format!("{what} field value out of range: {shown}"))
}

fn make_date(year: i32, month: i32, day: i32) -> Result<i32> {
    let (y, m, d) = (i64::from(year), i64::from(month), i64::from(day));
    // Negative years are BC; there is no year 0.
    let astronomical = if y < 0 { y + 1 } else { y };
    if y == 0 || !(1..=12).contains(&m) || d < 1 || d > days_in_month(astronomical, m) {
        return field_overflow("date", format!("{year}-{month:02}-{day:02}"));
    }
    let days = day_number(astronomical, m, d);
    date_in_range(days).or_else(|_| {
        let message = format!("date out of range: {year}-{month:02}-{day:02}");
        fail(SqlState::DATETIME_VALUE_OUT_OF_RANGE, message)
    })
}

fn make_time(hour: i32, minute: i32, seconds: f64) -> Result<i64> {
    let seconds_us = (seconds * 1e6).round_ties_even();
    let in_range = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60_000_000.0).contains(&seconds_us);
    let us = || i64::from(hour) * HOUR_US + i64::from(minute) * MINUTE_US + seconds_us as i64;
    match in_range.then(us) {
        Some(us) if us <= DAY_US => Ok(us),
        _ => field_overflow("time", format!("{hour}:{minute:02}:{}", general(seconds))),
    }
}

/// A number of seconds as C's `%02g` prints it: six significant digits, at least two places.
fn general(seconds: f64) -> String {
    if !seconds.is_finite() {
        let name = if seconds.is_nan() { "NaN" } else { "Infinity" };
        return if seconds < 0.0 { format!("-{name}") } else { name.to_owned() };
    }
    let shown = format!("{seconds:.5e}");
    let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(digits), exponent.abs());
    }
    let plain = trimmed(&format!("{seconds:.*}", (5 - exponent) as usize));
    format!("{plain:0>2}")
}

fn make_timestamp(year: i32, month: i32, day: i32, hour: i32, minute: i32, seconds: f64) -> Result<i64> {
    let date = make_date(year, month, day)?;
    let time = make_time(hour, minute, seconds)?;
    in_range(date_to_timestamp(date)?.checked_add(time))
}

fn make_interval([years, months, weeks, days, hours, minutes]: [i32; 6], seconds: f64) -> Result<Interval> {
    let seconds_us = (seconds * 1e6).round_ties_even();
    if !seconds_us.is_finite() || seconds_us.abs() >= 9.2e18 {
        return Err(interval_range());
    }
    let narrow = |value: i64| i32::try_from(value).map_err(|_| interval_range());
    Ok(Interval {
        months: narrow(i64::from(years) * 12 + i64::from(months))?,
        days: narrow(i64::from(weeks) * 7 + i64::from(days))?,
        us: (i64::from(hours) * HOUR_US + i64::from(minutes) * MINUTE_US)
            .checked_add(seconds_us as i64)
            .ok_or_else(interval_range)?,
    })
}

fn from_epoch(seconds: f64) -> Result<i64> {
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { i64::MAX } else { i64::MIN });
    }
    if seconds.is_nan() {
        return fail(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp cannot be NaN");
    }
    // Relative to 2000, as PostgreSQL rounds.
    let us = ((seconds - (Y2K_US / SECOND_US) as f64) * 1e6).round_ties_even();
    let in_us = (-9.0e18..9.0e18).contains(&us).then(|| (us as i64).checked_add(Y2K_US)).flatten();
    in_range(in_us).map_err(|_| {
        let shown = Numeric::from_f64(seconds);
        let shown = if seconds.abs() < 1e15 { shown.to_string() } else { exponent_form(seconds) };
        SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, format!("timestamp out of range: \"{shown}\""))
    })
}

fn exponent_form(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if exponent.starts_with('-') => format!("{mantissa}e{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}e+{exponent:0>2}"),
        None => text,
    }
}

fn bin(stride: Interval, timestamp: i64, origin: i64) -> Result<i64> {
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    if !is_finite(origin) {
        return fail(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "origin out of range");
    }
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return fail(SqlState::FEATURE_NOT_SUPPORTED, message);
    }
    let width = i64::from(stride.days).checked_mul(DAY_US).and_then(|us| us.checked_add(stride.us));
    let width = width.ok_or_else(interval_range)?;
    if width <= 0 {
        return fail(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "stride must be greater than zero");
    }
    let since = timestamp.checked_sub(origin).ok_or_else(interval_range)?;
    in_range(origin.checked_add(since - since.rem_euclid(width)))
}

/// The session's local time.
pub(super) fn to_local(timestamp: i64, call: &Call<'_>) -> Result<i64> {
    local_of(timestamp, &call.around.style().time_zone)
}

/// UTC, from the session's local time.
pub(super) fn to_utc(timestamp: i64, call: &Call<'_>) -> Result<i64> {
    utc_of(timestamp, &call.around.style().time_zone)
}

/// The local time of a zone, which may lie a few hours before the first timestamp.
pub(super) fn local_of(timestamp: i64, zone: &TimeZone) -> Result<i64> {
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    let local = timestamp.checked_add(i64::from(offset_at(timestamp, zone)) * SECOND_US);
    local.filter(|local| is_finite(*local)).ok_or_else(|| out_of_range("timestamp"))
}

/// [`local_of`] as a value.
pub(super) fn timestamp_of(timestamp: i64, zone: &TimeZone) -> Result<i64> {
    let local = local_of(timestamp, zone)?;
    if is_finite(local) { in_range(Some(local)) } else { Ok(local) }
}

/// UTC of a zone's local time. A time that a change of clocks skipped is read with the offset before it, one that
/// came twice with the offset after it.
pub(super) fn utc_of(timestamp: i64, zone: &TimeZone) -> Result<i64> {
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    let offset = zone::offset_of_local(zone, timestamp);
    in_range(timestamp.checked_sub(i64::from(offset) * SECOND_US))
}

/// Seconds east of UTC at a moment.
pub(super) fn offset_at(timestamp: i64, zone: &TimeZone) -> i32 {
    zone::offset_at(zone, timestamp)
}

/// A zone by its name (any case), an abbreviation or a POSIX-like offset.
pub(super) fn zone_named(name: &str) -> Result<TimeZone> {
    zone::of_function(name)
        .ok_or_else(|| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized")))
}

pub(super) fn zone_of(interval: Interval, call: &Call<'_>) -> Result<TimeZone> {
    if interval.months != 0 || interval.days != 0 {
        let shown = text_of(&Datum::Interval(interval), SqlType::Interval.into(), call)?;
        let message = format!("interval time zone \"{shown}\" must not include months or days");
        return fail(SqlState::INVALID_PARAMETER_VALUE, message);
    }
    let seconds = i32::try_from(interval.us / SECOND_US).map_err(|_| interval_range())?;
    Ok(TimeZone::Fixed(seconds, String::new()))
}
