//! Templates of dates and times: to_char, to_date, to_timestamp (PostgreSQL manual 9.8). Those of numbers are in
//! [`super::picture`].
//!
//! This module takes a template apart, `print` writes by one and `read` reads by one.

mod print;
mod read;

pub(super) use print::{ordinal_ending, time_of_day_text};
pub(super) use read::{Reading, read_exactly};

use super::datetime::{SECOND_US, is_finite, round_timestamp, to_utc};
use super::rows::{f, fail};
use super::{Call, Function};
use kalamdb_commons::{Result, SqlState};
use print::{Moment, print};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(2049 stable "to_char" (a: Timestamp, template: Text) -> Text { if is_finite(a) { print(template, &Moment::of(a, None)) } else { Ok(None) } }),
    f!(call; 1770 stable "to_char" (a: Timestamptz, template: Text) -> Text {
        if is_finite(a) { print(template, &Moment::of(a, Some(&call.around.style().time_zone))) } else { Ok(None) }
    }),
    f!(1768 stable "to_char" (a: Interval, template: Text) -> Text { print(template, &Moment::of_interval(a)) }),
    f!(1780 stable "to_date" (text: Text, template: Text) -> Date { read::date(text, template) }),
    f!(call; 1778 stable "to_timestamp" (text: Text, template: Text) -> Timestamptz {
        let (local, offset_s, digits) = read::timestamp(text, template)?;
        let utc = match offset_s {
            Some(offset_s) => local - offset_s * SECOND_US,
            None => to_utc(local, call)?,
        };
        Ok(digits.map_or(utc, |digits| round_timestamp(utc, digits)))
    }),
];

/// The patterns, longer ones before their beginnings; with whether they begin with digits when read.
#[rustfmt::skip]
const KEYWORDS: &[(&str, Key, bool)] = &[
    ("SSSSS", Key::SecondOfDay, true), ("SSSS", Key::SecondOfDay, true),
    ("A.D.", Key::Era { dots: true }, false), ("B.C.", Key::Era { dots: true }, false),
    ("A.M.", Key::Half { dots: true }, false), ("P.M.", Key::Half { dots: true }, false),
    ("AD", Key::Era { dots: false }, false), ("BC", Key::Era { dots: false }, false),
    ("AM", Key::Half { dots: false }, false), ("PM", Key::Half { dots: false }, false),
    ("MONTH", Key::MonthName, false), ("MON", Key::MonthShort, false),
    ("MS", Key::Millisecond, true), ("MI", Key::Minute, true), ("MM", Key::Month, true),
    ("DAY", Key::DayName, false), ("DDD", Key::DayOfYear, true), ("DD", Key::Day, true),
    ("DY", Key::DayShort, false), ("D", Key::DayOfWeek, true),
    ("FF1", Key::Fraction(1), false), ("FF2", Key::Fraction(2), false), ("FF3", Key::Fraction(3), false),
    ("FF4", Key::Fraction(4), false), ("FF5", Key::Fraction(5), false), ("FF6", Key::Fraction(6), false),
    ("FX", Key::Exact, false), ("US", Key::Microsecond, true),
    ("HH24", Key::Hour24, true), ("HH12", Key::Hour12, true), ("HH", Key::Hour12, true),
    ("IDDD", Key::IsoDayOfYear, true), ("ID", Key::IsoDayOfWeek, true), ("IW", Key::IsoWeek, true),
    ("IYYY", Key::IsoYear(4), true), ("IYY", Key::IsoYear(3), true), ("IY", Key::IsoYear(2), true),
    ("I", Key::IsoYear(1), true),
    ("Y,YYY", Key::YearWithComma, true), ("YYYY", Key::Year(4), true), ("YYY", Key::Year(3), true),
    ("YY", Key::Year(2), true), ("Y", Key::Year(1), true), ("CC", Key::Century, true),
    ("SS", Key::Second, true), ("WW", Key::Week, true), ("W", Key::WeekOfMonth, true),
    ("J", Key::Julian, true), ("Q", Key::Quarter, true), ("RM", Key::Roman, false),
    ("TZH", Key::ZoneHour, false), ("TZM", Key::ZoneMinute, true), ("TZ", Key::ZoneName, false),
    ("OF", Key::Offset, false),
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Key {
    SecondOfDay,
    Era {
        dots: bool,
    },
    Half {
        dots: bool,
    },
    MonthName,
    MonthShort,
    Millisecond,
    Microsecond,
    Fraction(u32),
    /// FX: reading is exact from here on.
    Exact,
    Minute,
    Month,
    DayName,
    DayOfYear,
    Day,
    DayShort,
    DayOfWeek,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoDayOfWeek,
    IsoWeek,
    IsoYear(u32),
    YearWithComma,
    Year(u32),
    Century,
    Second,
    Week,
    WeekOfMonth,
    Julian,
    Quarter,
    Roman,
    ZoneHour,
    ZoneMinute,
    ZoneName,
    Offset,
}

/// One part of a template.
#[derive(Clone, Copy)]
enum Part<'a> {
    Field(Field<'a>),
    /// A character to copy.
    Char(char),
    /// A blank.
    Blank(char),
    /// A punctuation mark.
    Mark(char),
}

/// A pattern.
#[derive(Clone, Copy)]
struct Field<'a> {
    key: Key,
    /// As it was written.
    written: &'a str,
    /// Whether it begins with digits.
    digits: bool,
    /// Without `FM` before it.
    fill: bool,
    /// `TM` before it.
    local: bool,
    /// `TH` or `th` behind it; whether that is in capitals.
    ordinal: Option<bool>,
}

/// Takes a template apart. What `.datetime()` reads has no text but in quotes, and few marks.
fn parts(template: &str, standard: bool) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let mut fill = true;
        let mut local = false;
        match rest.get(..2) {
            Some("FM" | "fm") => fill = false,
            Some("TM" | "tm") => local = true,
            _ => {}
        }
        if !fill || local {
            rest = &rest[2..];
        }
        if let Some((length, key, digits)) = keyword(rest) {
            let (written, behind) = rest.split_at(length);
            let ordinal = match behind.get(..2) {
                Some("TH") => Some(true),
                Some("th") => Some(false),
                _ => None,
            };
            parts.push(Part::Field(Field { key, written, digits, fill, local, ordinal }));
            let is_suffix = ordinal.is_some() || behind.starts_with("SP");
            rest = if is_suffix { &behind[2..] } else { behind };
            continue;
        }
        let Some(first) = rest.chars().next() else { break };
        if standard && first != '"' {
            if !"-./,':; ".contains(first) {
                let message = format!("invalid datetime format separator: \"{first}\"");
                return fail(SqlState::INVALID_DATETIME_FORMAT, message);
            }
            parts.push(if first == ' ' { Part::Blank(first) } else { Part::Mark(first) });
            rest = &rest[1..];
        } else if first == '"' {
            rest = quoted(&rest[1..], &mut parts);
        } else {
            // A backslash before a quote copies that.
            let first = if rest.starts_with("\\\"") { '"' } else { first };
            rest = &rest[if rest.starts_with("\\\"") { 2 } else { first.len_utf8() }..];
            parts.push(match first {
                mark if is_mark(mark) => Part::Mark(mark),
                blank if is_blank(blank) => Part::Blank(blank),
                other => Part::Char(other),
            });
        }
    }
    Ok(parts)
}

/// A text in quotes, behind the opening one; gives what follows.
fn quoted<'a>(text: &'a str, parts: &mut Vec<Part<'_>>) -> &'a str {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => parts.push(Part::Char(chars.next().unwrap_or('\\'))),
            c => parts.push(Part::Char(c)),
        }
    }
    chars.as_str()
}

/// The pattern that a template begins with: all in capitals or none, names of months and days also with a capital.
fn keyword(text: &str) -> Option<(usize, Key, bool)> {
    KEYWORDS.iter().find_map(|(word, key, digits)| {
        let start = text.get(..word.len())?;
        let fits = start == *word
            || start.eq_ignore_ascii_case(word)
                && (!start.bytes().any(|byte| byte.is_ascii_uppercase())
                    || matches!(key, Key::MonthName | Key::MonthShort | Key::DayName | Key::DayShort)
                        && start.starts_with(|c: char| c.is_ascii_uppercase())
                        && !start[1..].bytes().any(|byte| byte.is_ascii_uppercase()));
        fits.then_some((word.len(), *key, *digits))
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn is_mark(c: char) -> bool {
    c.is_ascii_punctuation()
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
