//! Fields of dates and times: `extract`, `date_part`, `date_trunc` (PostgreSQL manual 9.9.1, 9.9.2).

use super::Function;
use super::datetime::{
    Civil, DAY_US, HOUR_US, MINUTE_US, SECOND_US, civil_date, date_to_timestamp, day_number, is_finite, local_of,
    offset_at, to_local, to_utc, utc_of, zone_named,
};
use super::rows::{f, interval_native};
use crate::types::datetime::Timetz;
use kalamdb_commons::numeric::arithmetic::Op;
use kalamdb_commons::{Interval, Numeric, Result, SqlError, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(6199 "extract" (field: Text, a: Date) -> Numeric { date_field(field, a)?.map(Field::numeric).transpose() }),
    f!(6200 "extract" (field: Text, a: Time) -> Numeric { Some(Field::numeric(time_field(field, a)?)).transpose() }),
    f!(6202 "extract" (field: Text, a: Timestamp) -> Numeric { timestamp_field(field, a, None)?.map(Field::numeric).transpose() }),
    f!(call; 6203 stable "extract" (field: Text, a: Timestamptz) -> Numeric { timestamp_field(field, a, Some(&call.around.style().time_zone))?.map(Field::numeric).transpose() }),
    f!(6204 "extract" (field: Text, a: Interval) -> Numeric { Some(Field::numeric(interval_field(field, a)?)).transpose() }),
    f!(6201 "extract" (field: Text, a: Timetz) -> Numeric { Some(Field::numeric(timetz_field(field, a)?)).transpose() }),
    f!(1273 "date_part" (field: Text, a: Timetz) -> Float8 { timetz_field(field, a)?.float() }),
    f!(1384 "date_part" (field: Text, a: Date) -> Float8 { timestamp_field(field, date_to_timestamp(a)?, None)?.map(Field::float).transpose() }),
    f!(1385 "date_part" (field: Text, a: Time) -> Float8 { time_field(field, a)?.float() }),
    f!(2021 "date_part" (field: Text, a: Timestamp) -> Float8 { timestamp_field(field, a, None)?.map(Field::float).transpose() }),
    f!(call; 1171 stable "date_part" (field: Text, a: Timestamptz) -> Float8 { timestamp_field(field, a, Some(&call.around.style().time_zone))?.map(Field::float).transpose() }),
    f!(1172 "date_part" (field: Text, a: Interval) -> Float8 { interval_field(field, a)?.float() }),
    f!(2020 "date_trunc" (field: Text, a: Timestamp) -> Timestamp { truncate(field, a, SqlType::Timestamp) }),
    f!(call; 1217 stable "date_trunc" (field: Text, a: Timestamptz) -> Timestamptz {
        to_utc(truncate(field, to_local(a, call)?, SqlType::Timestamptz)?, call)
    }),
    f!(1284 stable "date_trunc" (field: Text, a: Timestamptz, zone: Text) -> Timestamptz {
        let zone = zone_named(zone)?;
        utc_of(truncate(field, local_of(a, &zone)?, SqlType::Timestamptz)?, &zone)
    }),
    f!(1218 "date_trunc" (field: Text, a: Interval) -> Interval { interval_native(truncate_interval(field, a)?) }),
];

/// The fields that a name can mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Epoch,
    Julian,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

impl Unit {
    fn named(name: &str) -> Option<Unit> {
        use Unit::*;
        Some(match name.to_ascii_lowercase().as_str() {
            "microseconds" | "microsecond" | "microsecon" | "us" | "usec" | "usecs" | "usecond" | "useconds" => {
                Microseconds
            }
            "milliseconds" | "millisecond" | "millisecon" | "ms" | "msec" | "msecs" | "mseconds" => Milliseconds,
            "second" | "seconds" | "sec" | "secs" | "s" => Second,
            "minute" | "minutes" | "min" | "mins" | "m" => Minute,
            "hour" | "hours" | "hr" | "hrs" | "h" => Hour,
            "day" | "days" | "d" => Day,
            "week" | "weeks" | "w" => Week,
            "month" | "months" | "mon" | "mons" => Month,
            "quarter" | "qtr" => Quarter,
            "year" | "years" | "yr" | "yrs" | "y" => Year,
            "decade" | "decades" | "dec" | "decs" => Decade,
            "century" | "centuries" | "cent" | "c" => Century,
            "millennium" | "millennia" | "mil" | "mils" => Millennium,
            "epoch" => Epoch,
            "julian" | "jd" => Julian,
            "dow" => DayOfWeek,
            "isodow" => IsoDayOfWeek,
            "doy" => DayOfYear,
            "isoyear" => IsoYear,
            "timezone" => Timezone,
            "timezone_h" | "timezone_hour" => TimezoneHour,
            "timezone_m" | "timezone_minute" => TimezoneMinute,
            _ => return None,
        })
    }

    fn of(name: &str, ty: SqlType) -> Result<Unit> {
        Unit::named(name).ok_or_else(|| {
            // Words for moments are known, and have no field.
            let words = ["now", "today", "tomorrow", "yesterday", "infinity", "-infinity", "allballs"];
            if !matches!(ty, SqlType::Time | SqlType::Timetz) && words.contains(&name.to_ascii_lowercase().as_str()) {
                return not_supported(name, ty);
            }
            let message = format!("unit \"{}\" not recognized for type {ty}", name.to_ascii_lowercase());
            SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
        })
    }
}

fn not_supported(name: &str, ty: SqlType) -> SqlError {
    let message = format!("unit \"{}\" not supported for type {ty}", name.to_ascii_lowercase());
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

/// A field's value.
enum Field {
    Whole(i64),
    /// An integer with so many digits behind the point.
    Decimal(i64, u16),
    /// Days and microseconds of a day.
    Julian(i64, i64),
    Infinite {
        negative: bool,
    },
}

impl Field {
    fn numeric(self) -> Result<Numeric> {
        match self {
            Field::Whole(value) => Ok(Numeric::from(value)),
            Field::Decimal(value, scale) => Ok(Numeric::finite(value.into(), scale)),
            Field::Julian(days, us) => {
                let fraction = Numeric::from(us).apply(Op::Div, &Numeric::from(DAY_US))?;
                Numeric::from(days).apply(Op::Add, &fraction)
            }
            Field::Infinite { negative } => Ok(if negative { Numeric::NegInfinity } else { Numeric::Infinity }),
        }
    }

    fn float(self) -> Result<f64> {
        Ok(match self {
            Field::Whole(value) => value as f64,
            Field::Decimal(value, scale) => value as f64 / 10_f64.powi(i32::from(scale)),
            Field::Julian(days, us) => days as f64 + us as f64 / DAY_US as f64,
            Field::Infinite { negative } => {
                if negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
        })
    }
}

/// Days from 4714-11-24 BC (Julian day 0) to 1970.
const JULIAN_1970: i64 = 2_440_588;

/// Monday is 0.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// The first Monday's day of an ISO year.
pub(super) fn iso_year_start(year: i64) -> i64 {
    let january_4 = day_number(year, 1, 4);
    january_4 - weekday(january_4)
}

/// ISO year and week of a day.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    let (year, ..) = civil_date(days);
    let year = if days >= iso_year_start(year + 1) {
        year + 1
    } else if days < iso_year_start(year) {
        year - 1
    } else {
        year
    };
    (year, (days - iso_year_start(year)) / 7 + 1)
}

/// There is no year 0: 1 BC is -1.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

pub(super) fn century(year: i64) -> i64 {
    if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) }
}

fn millennium(year: i64) -> i64 {
    if year > 0 { (year + 999) / 1000 } else { -((999 - (year - 1)) / 1000) }
}

/// The fields that a date has.
fn day_field(unit: Unit, days: i64) -> Option<Field> {
    let (year, month, day) = civil_date(days);
    Some(Field::Whole(match unit {
        Unit::Day => day,
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Week => iso_week(days).1,
        Unit::Year => shown_year(year),
        Unit::Decade => year.div_euclid(10),
        Unit::Century => century(year),
        Unit::Millennium => millennium(year),
        Unit::IsoYear => shown_year(iso_week(days).0),
        Unit::DayOfWeek => (weekday(days) + 1) % 7,
        Unit::IsoDayOfWeek => weekday(days) + 1,
        Unit::DayOfYear => days - day_number(year, 1, 1) + 1,
        _ => return None,
    }))
}

/// The fields that a time of day has.
fn clock_field(unit: Unit, us: i64) -> Option<Field> {
    Some(match unit {
        Unit::Hour => Field::Whole(us / HOUR_US),
        Unit::Minute => Field::Whole(us / MINUTE_US % 60),
        Unit::Second => Field::Decimal(us % MINUTE_US, 6),
        Unit::Milliseconds => Field::Decimal(us % MINUTE_US, 3),
        Unit::Microseconds => Field::Whole(us % MINUTE_US),
        _ => return None,
    })
}

/// What infinite dates and timestamps answer: an infinity for the fields that grow, NULL for those that turn.
fn infinite_field(unit: Unit, negative: bool) -> Option<Field> {
    use Unit::*;
    let grows = matches!(unit, Year | Decade | Century | Millennium | Julian | IsoYear | Epoch);
    grows.then_some(Field::Infinite { negative })
}

fn date_field(name: &str, date: i32) -> Result<Option<Field>> {
    let unit = Unit::of(name, SqlType::Date)?;
    let days = i64::from(date);
    let field = match unit {
        Unit::Epoch => Some(Field::Whole(days * 86_400)),
        Unit::Julian => Some(Field::Whole(days + JULIAN_1970)),
        _ => day_field(unit, days),
    };
    let field = field.ok_or_else(|| not_supported(name, SqlType::Date))?;
    if date == i32::MAX || date == i32::MIN {
        return Ok(infinite_field(unit, date < 0));
    }
    Ok(Some(field))
}

fn time_field(name: &str, us: i64) -> Result<Field> {
    match Unit::of(name, SqlType::Time)? {
        Unit::Epoch => Ok(Field::Decimal(us, 6)),
        unit => clock_field(unit, us).ok_or_else(|| not_supported(name, SqlType::Time)),
    }
}

fn timetz_field(name: &str, value: Timetz) -> Result<Field> {
    let east = -i64::from(value.west);
    Ok(match Unit::of(name, SqlType::Timetz)? {
        Unit::Timezone => Field::Whole(east),
        Unit::TimezoneHour => Field::Whole(east / 3600),
        Unit::TimezoneMinute => Field::Whole(east / 60 % 60),
        Unit::Epoch => Field::Decimal(value.utc(), 6),
        unit => clock_field(unit, value.us).ok_or_else(|| not_supported(name, SqlType::Timetz))?,
    })
}

fn timestamp_field(name: &str, timestamp: i64, zone: Option<&crate::types::TimeZone>) -> Result<Option<Field>> {
    let ty = if zone.is_some() { SqlType::Timestamptz } else { SqlType::Timestamp };
    let unit = Unit::of(name, ty)?;
    let zoned = matches!(unit, Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute);
    if zoned && zone.is_none() {
        return Err(not_supported(name, ty));
    }
    if !is_finite(timestamp) {
        return Ok(infinite_field(unit, timestamp < 0));
    }
    let offset = zone.map_or(0, |zone| i64::from(offset_at(timestamp, zone)));
    let local = timestamp + offset * SECOND_US;
    let (days, us) = (local.div_euclid(DAY_US), local.rem_euclid(DAY_US));
    Ok(Some(match unit {
        Unit::Timezone => Field::Whole(offset),
        Unit::TimezoneHour => Field::Whole(offset / 3600),
        Unit::TimezoneMinute => Field::Whole(offset / 60 % 60),
        Unit::Epoch => Field::Decimal(timestamp, 6),
        Unit::Julian => Field::Julian(days + JULIAN_1970, us),
        _ => match day_field(unit, days).or_else(|| clock_field(unit, us)) {
            Some(field) => field,
            None => return Err(not_supported(name, ty)),
        },
    }))
}

fn interval_field(name: &str, value: Interval) -> Result<Field> {
    let (years, months) = (i64::from(value.months / 12), i64::from(value.months % 12));
    Ok(match Unit::of(name, SqlType::Interval)? {
        Unit::Year => Field::Whole(years),
        Unit::Decade => Field::Whole(years / 10),
        Unit::Century => Field::Whole(years / 100),
        Unit::Millennium => Field::Whole(years / 1000),
        Unit::Month => Field::Whole(months),
        Unit::Quarter => Field::Whole(months / 3 + 1),
        Unit::Day => Field::Whole(i64::from(value.days)),
        // A year counts 365.25 days here, a month 30.
        Unit::Epoch => {
            let days = (i128::from(years) * 1461 + i128::from(months * 30 + i64::from(value.days)) * 4) * 21_600;
            let us = days * i128::from(SECOND_US) + i128::from(value.us);
            match i64::try_from(us) {
                Ok(us) => Field::Decimal(us, 6),
                Err(_) => return Err(super::datetime::interval_range()),
            }
        }
        unit => match clock_field(unit, value.us) {
            Some(field) => field,
            None => return Err(not_supported(name, SqlType::Interval)),
        },
    })
}

fn truncate(name: &str, timestamp: i64, ty: SqlType) -> Result<i64> {
    let unit = Unit::of(name, ty)?;
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    let multiple = |us: i64| Ok(timestamp - timestamp.rem_euclid(us));
    let Civil { year, month, .. } = Civil::of(timestamp);
    let begins = |year, month| Civil { year, month, day: 1, us: 0 }.timestamp();
    match unit {
        Unit::Microseconds => Ok(timestamp),
        Unit::Milliseconds => multiple(1000),
        Unit::Second => multiple(SECOND_US),
        Unit::Minute => multiple(MINUTE_US),
        Unit::Hour => multiple(HOUR_US),
        Unit::Day => multiple(DAY_US),
        Unit::Week => {
            let days = timestamp.div_euclid(DAY_US);
            Ok((days - weekday(days)) * DAY_US)
        }
        Unit::Month => begins(year, month),
        Unit::Quarter => begins(year, (month - 1) / 3 * 3 + 1),
        Unit::Year => begins(year, 1),
        Unit::Decade => begins(year.div_euclid(10) * 10, 1),
        Unit::Century => begins((year - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Millennium => begins((year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => Err(not_supported(name, ty)),
    }
}

fn truncate_interval(name: &str, value: Interval) -> Result<Interval> {
    let months = |unit: i32| Ok(Interval { months: value.months / unit * unit, days: 0, us: 0 });
    let time = |us: i64| Ok(Interval { us: value.us / us * us, ..value });
    match Unit::of(name, SqlType::Interval)? {
        Unit::Millennium => months(12_000),
        Unit::Century => months(1200),
        Unit::Decade => months(120),
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Day => Ok(Interval { us: 0, ..value }),
        Unit::Hour => time(HOUR_US),
        Unit::Minute => time(MINUTE_US),
        Unit::Second => time(SECOND_US),
        Unit::Milliseconds => time(1000),
        Unit::Microseconds => Ok(value),
        Unit::Week => Err(not_supported(name, SqlType::Interval).with_detail("Months usually have fractional weeks.")),
        _ => Err(not_supported(name, SqlType::Interval)),
    }
}
