//! to_char of dates, times and intervals.

use super::super::datetime::{Civil, DAY_US, HOUR_US, MINUTE_US, SECOND_US, day_number, offset_at, to_local};
use super::super::field::{century, iso_week, iso_year_start};
use super::{Call, DAYS, Field, Key, MONTHS, Part, ROMAN, parts};
use crate::types::TimeZone;
use kalamdb_commons::{Interval, Result, SqlError, SqlState};
use std::fmt::Write as _;

/// What is printed.
pub(super) struct Moment {
    year: i64,
    month: i64,
    day: i64,
    /// Days since 1970. An interval has none, but patterns that ask for it are answered.
    days: i64,
    day_of_year: i64,
    is_interval: bool,
    hour: i64,
    us: i64,
    offset_s: i64,
    zone: String,
}

impl Moment {
    pub(super) fn of(timestamp: i64, zone: Option<&TimeZone>) -> Moment {
        let offset_s = zone.map_or(0, |zone| i64::from(offset_at(timestamp, zone)));
        let local = timestamp + offset_s * SECOND_US;
        let Civil { year, month, day, us } = Civil::of(local);
        Moment {
            year,
            month,
            day,
            days: local.div_euclid(DAY_US),
            day_of_year: local.div_euclid(DAY_US) - day_number(year, 1, 1) + 1,
            is_interval: false,
            hour: us / HOUR_US,
            us,
            offset_s,
            zone: zone.map(|zone| zone_name(timestamp, zone)).unwrap_or_default(),
        }
    }

    pub(super) fn of_interval(value: Interval) -> Moment {
        let (months, day) = (i64::from(value.months), i64::from(value.days));
        Moment {
            year: months / 12,
            month: months % 12,
            day,
            days: interval_days(months / 12, months % 12, day),
            day_of_year: months * 30 + day,
            is_interval: true,
            hour: value.us / HOUR_US,
            us: value.us,
            offset_s: 0,
            zone: String::new(),
        }
    }
}

fn zone_name(timestamp: i64, zone: &TimeZone) -> String {
    crate::types::datetime::zone::abbreviation_at(zone, timestamp)
        .unwrap_or_else(|| offset_text(i64::from(offset_at(timestamp, zone))))
}

fn offset_text(offset_s: i64) -> String {
    let (sign, minutes) = (if offset_s < 0 { '-' } else { '+' }, offset_s.abs() / 60);
    match minutes % 60 {
        0 => format!("{sign}{:02}", minutes / 60),
        rest => format!("{sign}{:02}:{rest:02}", minutes / 60),
    }
}

/// A word in the case in which the pattern was written: ABC, Abc or abc.
fn cased(word: &str, written: &str) -> String {
    let mut letters = written.chars().filter(|c| c.is_ascii_alphabetic());
    match (
        letters.next().is_some_and(|c| c.is_ascii_uppercase()),
        letters.next().is_some_and(|c| c.is_ascii_uppercase()),
    ) {
        (true, true) => word.to_uppercase(),
        (true, false) => word.to_owned(),
        _ => word.to_lowercase(),
    }
}

/// The ending of an ordinal number.
pub(in super::super) fn ordinal_ending(number: i64, upper: bool) -> &'static str {
    let (last, tens) = (number.abs() % 10, number.abs() / 10 % 10);
    let endings = if upper { ["TH", "ST", "ND", "RD"] } else { ["th", "st", "nd", "rd"] };
    match (tens, last) {
        (1, _) => endings[0],
        (_, 1..=3) => endings[last as usize],
        _ => endings[0],
    }
}

/// Where an interval's years, months and days would be in the calendar, as PostgreSQL counts them.
fn interval_days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year + 4800, month + 1) } else { (year + 4799, month + 13) };
    let century = year / 100;
    year * 365 - 32167 + year / 4 - century + century / 4 + 7834 * month / 256 + day - JULIAN_1970
}

const JULIAN_1970: i64 = 2_440_588;

/// Prints by a template; an empty one gives NULL.
pub(super) fn print(template: &str, moment: &Moment) -> Result<Option<String>> {
    if template.is_empty() {
        return Ok(None);
    }
    let mut out = String::with_capacity(template.len() + 16);
    for part in parts(template, false)? {
        match part {
            Part::Char(c) | Part::Blank(c) | Part::Mark(c) => out.push(c),
            Part::Field(field) => {
                let number = print_field(&field, moment, &mut out)?;
                if let (Some(upper), Some(number)) = (field.ordinal, number) {
                    out.push_str(ordinal_ending(number, upper));
                }
            }
        }
    }
    Ok(Some(out))
}

/// Appends a field; gives the number when it is one.
fn print_field(field: &Field<'_>, moment: &Moment, out: &mut String) -> Result<Option<i64>> {
    let shown_year = if moment.is_interval || moment.year > 0 { moment.year } else { 1 - moment.year };
    let us = moment.us;
    let iso_year = || {
        let year = iso_week(moment.days).0;
        if moment.is_interval || year > 0 { year } else { 1 - year }
    };
    // Sunday is 0.
    let weekday = (moment.days + 4).rem_euclid(7);
    // The sign of what a field is taken from takes a place of its own.
    let (number, width, sign) = match field.key {
        Key::Hour24 => (moment.hour, 2, moment.hour),
        Key::Hour12 => (if moment.hour % 12 == 0 { 12 } else { moment.hour % 12 }, 2, moment.hour),
        Key::Minute => (us / MINUTE_US % 60, 2, us / MINUTE_US % 60),
        Key::Second => (us / SECOND_US % 60, 2, us / SECOND_US % 60),
        Key::SecondOfDay => (us / SECOND_US, 0, 0),
        Key::Year(4) => (shown_year, 4, shown_year),
        Key::Year(digits) => (shown_year % 10_i64.pow(digits), digits as usize, shown_year),
        Key::IsoYear(4) => (iso_year(), 4, shown_year),
        Key::IsoYear(digits) => (iso_year() % 10_i64.pow(digits), digits as usize, shown_year),
        Key::Month => (moment.month, 2, moment.month),
        Key::Day => (moment.day, 2, 0),
        Key::DayOfYear => (moment.day_of_year, 3, moment.day_of_year),
        Key::IsoDayOfYear => {
            let number = moment.days - iso_year_start(iso_week(moment.days).0) + 1;
            (number, 3, number)
        }
        Key::DayOfWeek if !moment.is_interval => (weekday + 1, 0, 0),
        Key::IsoDayOfWeek if !moment.is_interval => (if weekday == 0 { 7 } else { weekday }, 0, 0),
        Key::Week => {
            let number = (moment.day_of_year - 1) / 7 + 1;
            (number, 2, number)
        }
        Key::WeekOfMonth => ((moment.day - 1) / 7 + 1, 0, 0),
        Key::IsoWeek => (iso_week(moment.days).1, 2, 0),
        Key::Century => {
            let number = if moment.is_interval { moment.year / 100 } else { century(moment.year) };
            (number, 2, number)
        }
        Key::Julian => (moment.days + JULIAN_1970, 0, 0),
        Key::Quarter if moment.month == 0 => return Ok(None),
        Key::Quarter => ((moment.month - 1) / 3 + 1, 0, 0),
        Key::Millisecond => (us % SECOND_US / 1000, 3, 0),
        Key::Microsecond => (us % SECOND_US, 6, 0),
        Key::Fraction(digits) => (us % SECOND_US / 10_i64.pow(6 - digits), digits as usize, 0),
        Key::YearWithComma => {
            // Writing into a String cannot fail.
            let _ = write!(out, "{},{:03}", shown_year / 1000, shown_year % 1000);
            return Ok(Some(shown_year));
        }
        _ => return print_word(field, moment, weekday, out).map(|()| None),
    };
    let is_fraction = matches!(field.key, Key::Millisecond | Key::Microsecond | Key::Fraction(_));
    let width = if field.fill || is_fraction { width + usize::from(sign < 0) } else { 0 };
    let _ = write!(out, "{number:0width$}");
    Ok(Some(number))
}

fn print_word(field: &Field<'_>, moment: &Moment, weekday: i64, out: &mut String) -> Result<()> {
    let Field { key, written, fill, local, .. } = *field;
    if moment.is_interval && !matches!(key, Key::Half { .. } | Key::Roman | Key::Exact) {
        let error =
            SqlError::new(SqlState::INVALID_DATETIME_FORMAT, "invalid format specification for an interval value");
        return Err(error.with_hint("Intervals are not tied to specific calendar dates."));
    }
    let padded = |word: String, width: usize| if fill && !local { format!("{word:<width$}") } else { word };
    let month = usize::try_from(moment.month - 1).ok();
    let dotted = |word: &str, dots: bool| {
        let word = if dots { format!("{}.{}.", &word[..1], &word[1..]) } else { word.to_owned() };
        if written.starts_with(|c: char| c.is_ascii_uppercase()) { word.to_uppercase() } else { word }
    };
    let text = match key {
        Key::MonthName => month.map_or(String::new(), |month| padded(cased(MONTHS[month % 12], written), 9)),
        Key::MonthShort => month.map_or(String::new(), |month| cased(&MONTHS[month % 12][..3], written)),
        Key::DayName => padded(cased(DAYS[weekday as usize], written), 9),
        Key::DayShort => cased(&DAYS[weekday as usize][..3], written),
        Key::Roman => {
            let month = match (moment.month, moment.year) {
                (0, 0) => return Ok(()),
                // Years without months are of December, or of January when they are negative.
                (0, year) => {
                    if year > 0 {
                        11
                    } else {
                        0
                    }
                }
                (month, _) => (month - 1).rem_euclid(if month < 0 { 13 } else { 12 }),
            };
            let numeral = ROMAN[(month % 12) as usize].to_owned();
            padded(if written.starts_with('R') { numeral } else { numeral.to_lowercase() }, 4)
        }
        Key::Half { dots } => dotted(if moment.hour % 24 >= 12 { "pm" } else { "am" }, dots),
        Key::Era { dots } => dotted(if moment.year <= 0 { "bc" } else { "ad" }, dots),
        Key::ZoneName if written.starts_with('t') => moment.zone.to_lowercase(),
        Key::ZoneName => moment.zone.clone(),
        Key::ZoneHour => format!("{}{:02}", if moment.offset_s < 0 { '-' } else { '+' }, moment.offset_s.abs() / 3600),
        Key::ZoneMinute => format!("{:02}", moment.offset_s.abs() / 60 % 60),
        Key::Offset if fill => offset_text(moment.offset_s),
        Key::Offset => {
            let text = offset_text(moment.offset_s);
            if text.as_bytes().get(1) == Some(&b'0') { format!("{}{}", &text[..1], &text[2..]) } else { text }
        }
        _ => String::new(),
    };
    out.push_str(&text);
    Ok(())
}

/// `timeofday()`: the wall clock, as C's programs print it.
pub(in super::super) fn time_of_day_text(call: &Call<'_>) -> Result<String> {
    let now = kalamdb_commons::clock::now_us();
    to_local(now, call)?;
    let now = Moment::of(now, Some(&call.around.style().time_zone));
    Ok(print("Dy Mon DD HH24:MI:SS.US YYYY TZ", &now)?.unwrap_or_default())
}
