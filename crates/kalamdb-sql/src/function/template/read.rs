//! to_date, to_timestamp and what paths' `.datetime()` reads.
//!
//! The latter is exact: text and marks of the template must be in the input, and nothing else.

use super::super::datetime::{
    DAY_US, HOUR_US, MINUTE_US, SECOND_US, civil_date, date_to_timestamp, day_number, days_in_month, in_range, round_us,
};
use super::super::field::iso_year_start;
use super::{DAYS, Field, Key, MONTHS, Part, ROMAN, is_blank, is_mark, parts};
use kalamdb_commons::{Result, SqlError, SqlState};

const JULIAN_1970: i64 = 2_440_588;
/// The hours that a zone may be away from UTC.
const ZONE_HOURS_MAX: i64 = 15;

/// What was read.
pub(in super::super) struct Reading {
    /// Days since 1970, where the template has a date.
    pub(in super::super) date: Option<i32>,
    /// Microseconds of the day, where it has a time.
    pub(in super::super) time: Option<i64>,
    /// Seconds east of UTC.
    pub(in super::super) offset_s: Option<i64>,
}

/// to_date
pub(super) fn date(text: &str, template: &str) -> Result<i32> {
    let mut fields = Fields::default();
    fields.read(text, &parts(template, false)?, false)?;
    let (_, days) = fields.settle(text)?;
    day_in_range(days, text)
}

/// to_timestamp: the local time, the offset from UTC, and the digits to which it is rounded.
pub(super) fn timestamp(text: &str, template: &str) -> Result<(i64, Option<i64>, Option<i32>)> {
    let mut fields = Fields::default();
    fields.read(text, &parts(template, false)?, false)?;
    let (us, days) = fields.settle(text)?;
    let local = in_range(days.checked_mul(DAY_US).and_then(|day| day.checked_add(us)))?;
    Ok((local, fields.offset(), fields.digits()))
}

/// Reads exactly by a template.
pub(in super::super) fn read_exactly(text: &str, template: &str) -> Result<Reading> {
    let mut fields = Fields::default();
    let parts = parts(template, true)?;
    if !template.is_empty() {
        fields.read(text, &parts, true)?;
    }
    let (us, days) = fields.settle(text)?;
    let has = |group: fn(Key) -> bool| parts.iter().any(|part| matches!(part, Part::Field(field) if group(field.key)));
    let time = has(is_time).then(|| fields.digits().map_or(us, |digits| round_us(us, digits)));
    let date = if has(is_date) { Some(day_in_range(days, text)?) } else { None };
    if let (Some(date), Some(_)) = (date, time) {
        date_to_timestamp(date)?;
    }
    let offset_s = has(is_zone).then(|| fields.offset().unwrap_or(0));
    Ok(Reading { date, time, offset_s })
}

fn is_time(key: Key) -> bool {
    use Key::*;
    matches!(
        key,
        Half { .. } | Hour24 | Hour12 | Minute | Second | Millisecond | Microsecond | Fraction(_) | SecondOfDay
    )
}

fn is_zone(key: Key) -> bool {
    matches!(key, Key::ZoneHour | Key::ZoneMinute | Key::ZoneName | Key::Offset)
}

fn is_date(key: Key) -> bool {
    !is_time(key) && !is_zone(key) && key != Key::Exact
}

fn day_in_range(days: i64, text: &str) -> Result<i32> {
    let day = i32::try_from(days).ok().filter(|day| crate::types::datetime::is_date(*day));
    day.ok_or_else(|| SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, format!("date out of range: \"{text}\"")))
}

fn overflow(text: &str) -> SqlError {
    let message = format!("date/time field value out of range: \"{text}\"");
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

fn skip_one(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

/// Years by the Gregorian calendar or by ISO weeks.
#[derive(Clone, Copy, PartialEq)]
enum Convention {
    Gregorian,
    Iso,
}

/// The fields as they were read; zero stands for none, as in PostgreSQL.
#[derive(Default)]
struct Fields {
    convention: Option<Convention>,
    hour: i64,
    is_12_hours: bool,
    afternoon: i64,
    minute: i64,
    second: i64,
    second_of_day: i64,
    milliseconds: i64,
    microseconds: i64,
    fraction_digits: u32,
    /// 1 is Sunday.
    weekday: i64,
    day: i64,
    day_of_year: i64,
    month: i64,
    year: i64,
    year_digits: u32,
    before_christ: i64,
    week: i64,
    week_of_month: i64,
    century: i64,
    julian: i64,
    zone_sign: i64,
    zone_hour: i64,
    zone_minute: i64,
}

impl Fields {
    fn read(&mut self, text: &str, parts: &[Part<'_>], standard: bool) -> Result<()> {
        let mut exact = standard;
        // Blanks that were skipped, and the template has none for.
        let mut skipped = 0_i64;
        let mut rest = text;
        let mut place = 0;
        while let Some(part) = parts.get(place) {
            if rest.is_empty() {
                break;
            }
            let is_field = matches!(part, Part::Field(field) if field.key != Key::Exact);
            if !exact && (is_field || place == 0) {
                let bare = rest.trim_start_matches(is_blank);
                skipped += (rest.len() - bare.len()) as i64;
                rest = bare;
            }
            let before = &text[..text.len() - rest.len()];
            place += 1;
            rest = match part {
                Part::Blank(c) | Part::Mark(c) => {
                    if standard {
                        match rest.strip_prefix(*c) {
                            Some(rest) => rest,
                            None => return Err(invalid(format!("unmatched format separator \"{c}\""))),
                        }
                    } else if exact {
                        skip_one(rest)
                    } else {
                        let is_there = rest.starts_with(|c: char| is_blank(c) || is_mark(c));
                        skipped -= i64::from(!is_there);
                        if is_there { skip_one(rest) } else { rest }
                    }
                }
                Part::Char(c) => {
                    if standard && !rest.starts_with(*c) {
                        return Err(invalid(format!("unmatched format character \"{c}\"")));
                    }
                    if !exact && skipped > 0 {
                        skipped -= 1;
                        rest
                    } else {
                        skip_one(rest)
                    }
                }
                Part::Field(Field { key: Key::Exact, .. }) => {
                    exact = true;
                    rest
                }
                Part::Field(field) => {
                    let minus_before = skipped > 0 && before.ends_with('-');
                    let rest = self.field(field, rest, digits_follow(field, parts.get(place)), minus_before)?;
                    let ending = if field.ordinal.is_some() { 2 } else { 0 };
                    (0..ending).fold(rest, |rest, _| skip_one(rest))
                }
            };
        }
        if standard {
            if place < parts.len() {
                return Err(invalid("input string is too short for datetime format".into()));
            }
            if !rest.trim_start_matches(is_blank).is_empty() {
                return Err(invalid("trailing characters remain in input string after datetime format".into()));
            }
        }
        Ok(())
    }

    /// Reads a field; gives the rest.
    fn field<'a>(&mut self, field: &Field<'_>, text: &'a str, bounded: bool, minus_before: bool) -> Result<&'a str> {
        let key = field.key;
        self.follow(key)?;
        let mut rest = text;
        let int = |rest: &mut &'a str, width: usize| integer(rest, field, width, bounded);
        let natural = field.written.len();
        match key {
            Key::Half { dots } => {
                self.is_12_hours = true;
                let words: &[&str] = if dots { &["a.m.", "p.m."] } else { &["am", "pm"] };
                let found = word(&mut rest, field, words, usize::MAX)?;
                set(&mut self.afternoon, found as i64, field)?;
            }
            Key::Era { dots } => {
                let words: &[&str] = if dots { &["a.d.", "b.c."] } else { &["ad", "bc"] };
                let found = word(&mut rest, field, words, usize::MAX)?;
                set(&mut self.before_christ, found as i64, field)?;
            }
            Key::MonthName | Key::MonthShort => {
                let length = if key == Key::MonthShort { 3 } else { usize::MAX };
                let found = word(&mut rest, field, &MONTHS, length)?;
                set(&mut self.month, found as i64 + 1, field)?;
            }
            Key::DayName | Key::DayShort => {
                let length = if key == Key::DayShort { 3 } else { usize::MAX };
                let found = word(&mut rest, field, &DAYS, length)?;
                set(&mut self.weekday, found as i64 + 1, field)?;
            }
            Key::Roman => {
                // Longer ones are looked for first.
                let mut numerals: Vec<&str> = ROMAN.to_vec();
                numerals.reverse();
                let found = word(&mut rest, field, &numerals, usize::MAX)?;
                set(&mut self.month, 12 - found as i64, field)?;
            }
            Key::Hour24 => set(&mut self.hour, int(&mut rest, 2)?.0, field)?,
            Key::Hour12 => {
                self.is_12_hours = true;
                set(&mut self.hour, int(&mut rest, 2)?.0, field)?;
            }
            Key::Minute => set(&mut self.minute, int(&mut rest, natural)?.0, field)?,
            Key::Second => set(&mut self.second, int(&mut rest, natural)?.0, field)?,
            Key::SecondOfDay => set(&mut self.second_of_day, int(&mut rest, natural)?.0, field)?,
            Key::Millisecond => {
                let (value, length) = int(&mut rest, 3)?;
                set(&mut self.milliseconds, value, field)?;
                self.milliseconds *= [100, 10].get(length.wrapping_sub(1)).unwrap_or(&1);
            }
            Key::Microsecond | Key::Fraction(_) => {
                let digits = if let Key::Fraction(digits) = key { digits } else { 6 };
                if key != Key::Microsecond {
                    self.fraction_digits = digits;
                }
                let (value, length) = int(&mut rest, digits as usize)?;
                set(&mut self.microseconds, value, field)?;
                self.microseconds *= 10_i64.pow(6_u32.saturating_sub(length as u32));
            }
            Key::ZoneName | Key::Offset => {
                let message = format!("formatting field \"{}\" is only supported in to_char", field.written);
                return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            Key::ZoneHour => {
                // A minus may have been taken for a mark of the template.
                self.zone_sign = match rest.bytes().next() {
                    Some(b'-') => -1,
                    Some(b'+' | b' ') => 1,
                    _ if minus_before => -1,
                    _ => 1,
                };
                rest = rest.strip_prefix(['+', '-', ' ']).unwrap_or(rest);
                set(&mut self.zone_hour, int(&mut rest, 2)?.0, field)?;
            }
            Key::ZoneMinute => {
                if self.zone_sign == 0 {
                    self.zone_sign = 1;
                }
                set(&mut self.zone_minute, int(&mut rest, 2)?.0, field)?;
            }
            Key::Month => set(&mut self.month, int(&mut rest, 2)?.0, field)?,
            Key::Day => set(&mut self.day, int(&mut rest, natural)?.0, field)?,
            Key::DayOfYear => set(&mut self.day_of_year, int(&mut rest, natural)?.0, field)?,
            Key::IsoDayOfYear => set(&mut self.day_of_year, int(&mut rest, 3)?.0, field)?,
            Key::DayOfWeek => set(&mut self.weekday, int(&mut rest, natural)?.0, field)?,
            Key::IsoDayOfWeek => {
                set(&mut self.weekday, int(&mut rest, 1)?.0, field)?;
                // Its Monday is 1.
                self.weekday = if self.weekday >= 7 { 1 } else { self.weekday + 1 };
            }
            Key::Week | Key::IsoWeek => set(&mut self.week, int(&mut rest, natural)?.0, field)?,
            Key::WeekOfMonth => set(&mut self.week_of_month, int(&mut rest, natural)?.0, field)?,
            // A quarter alone says no day.
            Key::Quarter => drop(int(&mut rest, natural)?),
            Key::Century => set(&mut self.century, int(&mut rest, natural)?.0, field)?,
            Key::Julian => set(&mut self.julian, int(&mut rest, natural)?.0, field)?,
            Key::YearWithComma => {
                let year = year_with_comma(&mut rest)?;
                set(&mut self.year, year, field)?;
                self.year_digits = 4;
            }
            Key::Year(digits) | Key::IsoYear(digits) => {
                let (value, length) = int(&mut rest, natural)?;
                set(&mut self.year, value, field)?;
                if digits < 4 && length < 4 {
                    self.year = full_year(value);
                }
                self.year_digits = digits;
            }
            Key::Exact => {}
        }
        Ok(rest)
    }

    /// Gregorian dates and ISO weeks do not go together.
    fn follow(&mut self, key: Key) -> Result<()> {
        let convention = match key {
            Key::IsoDayOfYear | Key::IsoDayOfWeek | Key::IsoWeek | Key::IsoYear(_) => Convention::Iso,
            Key::MonthName
            | Key::MonthShort
            | Key::Month
            | Key::Roman
            | Key::Day
            | Key::DayOfYear
            | Key::DayOfWeek
            | Key::Week
            | Key::WeekOfMonth
            | Key::Century
            | Key::Year(_)
            | Key::YearWithComma => Convention::Gregorian,
            _ => return Ok(()),
        };
        if *self.convention.get_or_insert(convention) == convention {
            return Ok(());
        }
        let hint = "Do not mix Gregorian and ISO week date conventions in a formatting template.";
        Err(invalid("invalid combination of date conventions".into()).with_hint(hint))
    }

    fn offset(&self) -> Option<i64> {
        (self.zone_sign != 0).then(|| self.zone_sign * (self.zone_hour * 3600 + self.zone_minute * 60))
    }

    fn digits(&self) -> Option<i32> {
        (self.fraction_digits > 0).then_some(self.fraction_digits as i32)
    }

    /// What the fields say together: microseconds of the day, and days since 1970.
    fn settle(&self, text: &str) -> Result<(i64, i64)> {
        let (hour, minute, second) = self.clock()?;
        let days = self.days(text)?;
        let fraction = self.milliseconds * 1000 + self.microseconds;
        let fine = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..SECOND_US).contains(&fraction);
        if !fine {
            return Err(overflow(text));
        }
        let zone_fits = (0..=ZONE_HOURS_MAX).contains(&self.zone_hour) && (0..60).contains(&self.zone_minute);
        if self.zone_sign != 0 && !zone_fits {
            let message = format!("time zone displacement out of range: \"{text}\"");
            return Err(SqlError::new(SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE, message));
        }
        Ok((hour * HOUR_US + minute * MINUTE_US + second * SECOND_US + fraction, days))
    }

    fn clock(&self) -> Result<(i64, i64, i64)> {
        let or = |value: i64, other: i64| if value != 0 { value } else { other };
        let seconds = self.second_of_day;
        let mut hour = or(self.hour, seconds / 3600);
        let (minute, second) = (or(self.minute, seconds / 60 % 60), or(self.second, seconds % 60));
        if self.is_12_hours {
            if !(1..=12).contains(&hour) {
                let error = invalid(format!("hour \"{hour}\" is invalid for the 12-hour clock"));
                return Err(error.with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + 12 * self.afternoon;
        }
        Ok((hour, minute, second))
    }

    /// The year, and whether one was given.
    fn settled_year(&self) -> (i64, bool) {
        let century = if self.before_christ != 0 { -self.century } else { self.century };
        if self.year != 0 && self.century != 0 && self.year_digits <= 2 {
            // The last digits in the century, which ends with its hundredth year.
            let last = self.year % 100;
            let year = match (last, century >= 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (last, true) => last + (century - 1) * 100,
                (last, false) => (century + 1) * 100 - last + 1,
            };
            return (year, true);
        }
        if self.year != 0 {
            let year = if self.before_christ != 0 { -self.year } else { self.year };
            return (if year < 0 { year + 1 } else { year }, true);
        }
        match century {
            0 => (0, false),
            1.. => ((century - 1) * 100 + 1, true),
            _ => (century * 100 + 1, true),
        }
    }

    fn days(&self, text: &str) -> Result<i64> {
        let (mut year, mut has_year) = self.settled_year();
        let (mut month, mut day) = (1, 1);
        let (mut has_month, mut has_day) = (false, false);
        let mut place = |days: i64, year: &mut i64, month: &mut i64, day: &mut i64| {
            (*year, *month, *day) = civil_date(days);
            (has_year, has_month, has_day) = (true, true, true);
        };
        if self.julian != 0 {
            place(self.julian - JULIAN_1970, &mut year, &mut month, &mut day);
        }
        let mut day_of_year = self.day_of_year;
        let mut day_of_month = self.day;
        if self.week != 0 {
            if self.convention == Some(Convention::Iso) {
                let monday = iso_year_start(year) + (self.week - 1) * 7;
                let further = match self.weekday {
                    0 => 0,
                    // Sunday ends the week.
                    1 => 6,
                    weekday => weekday - 2,
                };
                place(monday + further, &mut year, &mut month, &mut day);
            } else {
                day_of_year = (self.week - 1) * 7 + 1;
            }
        }
        if self.week_of_month != 0 {
            day_of_month = (self.week_of_month - 1) * 7 + 1;
        }
        if day_of_month != 0 {
            (day, has_day) = (day_of_month, true);
        }
        if self.month != 0 {
            (month, has_month) = (self.month, true);
        }
        if day_of_year != 0 && (month <= 1 || day <= 1) {
            if year == 0 && self.before_christ == 0 {
                return Err(invalid("cannot calculate day of year without year information".into()));
            }
            if self.convention == Some(Convention::Iso) {
                (year, month, day) = civil_date(iso_year_start(year) + day_of_year - 1);
                (has_year, has_month, has_day) = (true, true, true);
            } else {
                let (of_month, of_day) = month_and_day(year, day_of_year);
                if month <= 1 {
                    month = of_month;
                }
                if day <= 1 {
                    day = of_day;
                }
                (has_month, has_day) = (true, true);
            }
        }
        let bad_month = has_month && !(1..=12).contains(&month);
        let bad_day = has_day && !(1..=31).contains(&day);
        let no_such_day = has_year && has_month && has_day && !bad_month && day > days_in_month(year, month);
        if bad_month || bad_day || no_such_day {
            return Err(overflow(text));
        }
        Ok(day_number(year, month, 1) + day - 1)
    }
}

/// The month and the day of a day of a year; beyond its end in the month 13.
fn month_and_day(year: i64, day_of_year: i64) -> (i64, i64) {
    let mut left = day_of_year;
    for month in 1..=12 {
        let length = days_in_month(year, month);
        if left <= length {
            return (month, left);
        }
        left -= length;
    }
    (13, left)
}

/// Whether the digits of a field end at its width, for digits of the next follow.
fn digits_follow(field: &Field<'_>, next: Option<&Part<'_>>) -> bool {
    if !field.fill || field.ordinal.is_some() {
        return false;
    }
    match next {
        Some(Part::Field(next)) => next.digits,
        Some(Part::Char(c) | Part::Mark(c) | Part::Blank(c)) => c.is_ascii_digit(),
        None => false,
    }
}

fn set(place: &mut i64, value: i64, field: &Field<'_>) -> Result<()> {
    if *place != 0 && *place != value {
        let message = format!("conflicting values for \"{}\" field in formatting string", field.written);
        return Err(invalid(message).with_detail("This value contradicts a previous setting for the same field type."));
    }
    *place = value;
    Ok(())
}

/// An integer, and how many bytes were read for it. With digits behind it, it has its width.
fn integer(rest: &mut &str, field: &Field<'_>, width: usize, bounded: bool) -> Result<(i64, usize)> {
    let start = *rest;
    let bare = start.trim_start_matches(is_blank);
    let cut = |text: &str| text.chars().take(width).collect::<String>();
    let refused = |text: &str| invalid(format!("invalid value \"{}\" for \"{}\"", cut(text), field.written));
    let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
    if bounded && bare.len() < width {
        let message = format!("source string too short for \"{}\" formatting field", field.written);
        let detail = format!("Field requires {width} characters, but only {} remain.", bare.len());
        return Err(invalid(message).with_detail(detail).with_hint(hint));
    }
    let text = if bounded { &bare[..bare.floor_char_boundary(width)] } else { bare };
    let inner = text.trim_start_matches(is_blank);
    let signed = usize::from(inner.starts_with(['+', '-']));
    let digits = inner[signed..].bytes().take_while(u8::is_ascii_digit).count();
    let used = if digits == 0 { 0 } else { text.len() - inner.len() + signed + digits };
    if bounded && used > 0 && used < width {
        let detail = format!("Field requires {width} characters, but only {used} could be parsed.");
        return Err(refused(bare).with_detail(detail).with_hint(hint));
    }
    if used == 0 {
        return Err(refused(bare).with_detail("Value must be an integer."));
    }
    *rest = &bare[used..];
    let value = text[..used].trim_start_matches(is_blank).parse::<i32>().map_err(|_| {
        let message = format!("value for \"{}\" in source string is out of range", field.written);
        let detail = format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX);
        SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message).with_detail(detail)
    })?;
    Ok((i64::from(value), start.len() - rest.len()))
}

/// `2,024`
fn year_with_comma(rest: &mut &str) -> Result<i64> {
    let missing = || invalid("invalid input string for \"Y,YYY\"".into());
    let bare = rest.trim_start_matches(is_blank);
    let (thousands, units) = bare.split_once(',').ok_or_else(missing)?;
    let thousands: i64 = thousands.parse::<i32>().map_err(|_| missing())?.into();
    let length = units.bytes().take(3).take_while(u8::is_ascii_digit).count();
    let years: i64 = units[..length].parse().map_err(|_| missing())?;
    *rest = &units[length..];
    Ok(thousands * 1000 + years)
}

/// Years of fewer than four digits are those nearest to 2020.
fn full_year(year: i64) -> i64 {
    match year {
        ..=69 => year + 2000,
        70..=99 => year + 1900,
        100..=519 => year + 2000,
        520..=999 => year + 1000,
        _ => year,
    }
}

/// The word among those that the text begins with, each cut to a length.
fn word(rest: &mut &str, field: &Field<'_>, words: &[&str], length: usize) -> Result<usize> {
    let found = words.iter().enumerate().find_map(|(place, word)| {
        let word = &word[..word.len().min(length)];
        let start = rest.get(..word.len())?;
        start.eq_ignore_ascii_case(word).then_some((place, word.len()))
    });
    match found {
        Some((place, length)) => {
            *rest = &rest[length..];
            Ok(place)
        }
        None => {
            let shown: String = rest.chars().take_while(|c| !is_blank(*c)).collect();
            Err(invalid(format!("invalid value \"{shown}\" for \"{}\"", field.written))
                .with_detail("The given value did not match any of the allowed values for this field."))
        }
    }
}
