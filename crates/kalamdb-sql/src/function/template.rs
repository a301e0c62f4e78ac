//! Templates of dates and times: to_char, to_date, to_timestamp (PostgreSQL manual 9.8). Those of numbers are in
//! [`super::picture`].

use super::datetime::{
    Civil, DAY_US, HOUR_US, MINUTE_US, SECOND_US, date_to_timestamp, day_number, days_in_month, is_finite, offset_at,
    to_local, to_utc,
};
use super::field::{century, iso_week, iso_year_start};
use super::rows::{f, fail};
use super::{Call, Function};
use crate::types::TimeZone;
use kalamdb_commons::{Interval, Result, SqlError, SqlState};
use std::fmt::Write as _;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(2049 stable "to_char" (a: Timestamp, template: Text) -> Text { Ok(is_finite(a).then(|| print(template, &Moment::of(a, None)))) }),
    f!(call; 1770 stable "to_char" (a: Timestamptz, template: Text) -> Text {
        Ok(is_finite(a).then(|| print(template, &Moment::of(a, Some(&call.around.style().time_zone)))))
    }),
    f!(1768 stable "to_char" (a: Interval, template: Text) -> Text { Ok(print(template, &Moment::of_interval(a))) }),
    f!(1780 stable "to_date" (text: Text, template: Text) -> Date { Ok(read(text, template)?.date()) }),
    f!(call; 1778 stable "to_timestamp" (text: Text, template: Text) -> Timestamptz {
        let read = read(text, template)?;
        let local = date_to_timestamp(read.date())? + read.us;
        match read.offset_s {
            Some(offset) => Ok(local - offset * SECOND_US),
            None => to_utc(local, call),
        }
    }),
];

/// The patterns, longer ones before their beginnings.
const KEYWORDS: &[(&str, Key)] = &[
    ("SSSSS", Key::SecondOfDay),
    ("SSSS", Key::SecondOfDay),
    ("A.D.", Key::Era { dots: true }),
    ("B.C.", Key::Era { dots: true }),
    ("A.M.", Key::Half { dots: true }),
    ("P.M.", Key::Half { dots: true }),
    ("AD", Key::Era { dots: false }),
    ("BC", Key::Era { dots: false }),
    ("AM", Key::Half { dots: false }),
    ("PM", Key::Half { dots: false }),
    ("MONTH", Key::MonthName),
    ("MON", Key::MonthShort),
    ("MS", Key::Fraction(3)),
    ("MI", Key::Minute),
    ("MM", Key::Month),
    ("DAY", Key::DayName),
    ("DDD", Key::DayOfYear),
    ("DD", Key::Day),
    ("DY", Key::DayShort),
    ("D", Key::DayOfWeek),
    ("FF1", Key::Fraction(1)),
    ("FF2", Key::Fraction(2)),
    ("FF3", Key::Fraction(3)),
    ("FF4", Key::Fraction(4)),
    ("FF5", Key::Fraction(5)),
    ("FF6", Key::Fraction(6)),
    ("US", Key::Fraction(6)),
    ("HH24", Key::Hour24),
    ("HH12", Key::Hour12),
    ("HH", Key::Hour12),
    ("IDDD", Key::IsoDayOfYear),
    ("ID", Key::IsoDayOfWeek),
    ("IW", Key::IsoWeek),
    ("IYYY", Key::IsoYear(4)),
    ("IYY", Key::IsoYear(3)),
    ("IY", Key::IsoYear(2)),
    ("I", Key::IsoYear(1)),
    ("Y,YYY", Key::YearWithComma),
    ("YYYY", Key::Year(4)),
    ("YYY", Key::Year(3)),
    ("YY", Key::Year(2)),
    ("Y", Key::Year(1)),
    ("CC", Key::Century),
    ("SS", Key::Second),
    ("WW", Key::Week),
    ("W", Key::WeekOfMonth),
    ("J", Key::Julian),
    ("Q", Key::Quarter),
    ("RM", Key::Roman),
    ("TZH", Key::ZoneHour),
    ("TZM", Key::ZoneMinute),
    ("TZ", Key::ZoneName),
    ("OF", Key::Offset),
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Key {
    SecondOfDay,
    Era { dots: bool },
    Half { dots: bool },
    MonthName,
    MonthShort,
    Fraction(u32),
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
enum Part<'a> {
    /// A pattern as it was written, with `FM` before and `TH` or `th` behind it.
    Key { key: Key, written: &'a str, fill: bool, ordinal: Option<bool> },
    /// Text to copy.
    Text(&'a str),
    /// One character to copy; when reading, blanks and punctuation part fields.
    Char(char),
}

fn parts(template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |at| at + 1);
            parts.push(Part::Text(&rest[1..end]));
            rest = rest.get(end + 1..).unwrap_or("");
            continue;
        }
        if first == '\\' {
            // A backslash before a quote prints it.
            if let Some(quoted) = rest[1..].chars().next().filter(|c| *c == '"') {
                parts.push(Part::Char(quoted));
                rest = &rest[2..];
                continue;
            }
        }
        let (fill, bare) = match prefix(rest, "FM") {
            Some(bare) => (false, bare),
            None => (true, rest),
        };
        let bare = prefix(bare, "TM").or_else(|| prefix(bare, "FX")).unwrap_or(bare);
        match KEYWORDS.iter().find(|(word, _)| prefix(bare, word).is_some()) {
            Some((word, key)) => {
                let (written, behind) = bare.split_at(word.len());
                let ordinal = match behind.get(..2) {
                    Some("TH") => Some(true),
                    Some("th") => Some(false),
                    _ => None,
                };
                parts.push(Part::Key { key: *key, written, fill, ordinal });
                rest = if ordinal.is_some() { &behind[2..] } else { behind };
            }
            None => {
                // A prefix without a pattern is dropped; what remains is copied.
                if bare.len() < rest.len() {
                    rest = bare;
                    continue;
                }
                parts.push(Part::Char(first));
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    parts
}

fn prefix<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let start = text.get(..word.len())?;
    start.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
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

/// What is printed.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    /// Days since 1970; `None` for intervals, which have no place in the calendar.
    days: Option<i64>,
    hour: i64,
    us: i64,
    offset_s: i64,
    zone: String,
}

impl Moment {
    fn of(timestamp: i64, zone: Option<&TimeZone>) -> Moment {
        let offset_s = zone.map_or(0, |zone| i64::from(offset_at(timestamp, zone)));
        let local = timestamp + offset_s * SECOND_US;
        let Civil { year, month, day, us } = Civil::of(local);
        Moment {
            year,
            month,
            day,
            days: Some(local.div_euclid(DAY_US)),
            hour: us / HOUR_US,
            us,
            offset_s,
            zone: zone.map(|zone| zone_name(timestamp, zone)).unwrap_or_default(),
        }
    }

    fn of_interval(value: Interval) -> Moment {
        let months = i64::from(value.months);
        Moment {
            year: months / 12,
            month: months % 12,
            day: i64::from(value.days),
            days: None,
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
pub(super) fn ordinal_ending(number: i64, upper: bool) -> &'static str {
    let (last, tens) = (number.abs() % 10, number.abs() / 10 % 10);
    let endings = if upper { ["TH", "ST", "ND", "RD"] } else { ["th", "st", "nd", "rd"] };
    match (tens, last) {
        (1, _) => endings[0],
        (_, 1..=3) => endings[last as usize],
        _ => endings[0],
    }
}

fn print(template: &str, moment: &Moment) -> String {
    let mut out = String::with_capacity(template.len() + 16);
    for part in parts(template) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Char(c) => out.push(c),
            Part::Key { key, written, fill, ordinal } => {
                let number = print_key(key, written, fill, moment, &mut out);
                if let (Some(upper), Some(number)) = (ordinal, number) {
                    out.push_str(ordinal_ending(number, upper));
                }
            }
        }
    }
    out
}

/// Appends a field; gives the number when it is one.
fn print_key(key: Key, written: &str, fill: bool, moment: &Moment, out: &mut String) -> Option<i64> {
    let hour12 = match moment.hour.abs() % 12 {
        0 => 12,
        hour => hour * moment.hour.signum().abs().max(1),
    };
    let days = moment.days;
    let shown_year = if days.is_some() && moment.year <= 0 { 1 - moment.year } else { moment.year };
    let us = moment.us;
    let iso = days.map(iso_week);
    let day_of_year = days.map_or(0, |days| days - day_number(moment.year, 1, 1) + 1);
    // Sunday is 0.
    let weekday = days.map_or(0, |days| (days + 4).rem_euclid(7));
    let (number, width) = match key {
        Key::Hour24 => (moment.hour, 2),
        Key::Hour12 => (hour12, 2),
        Key::Minute => (us / MINUTE_US % 60, 2),
        Key::Second => (us / SECOND_US % 60, 2),
        Key::SecondOfDay => (us / SECOND_US, 1),
        Key::Year(4) => (shown_year, 4),
        Key::Year(digits) => (shown_year % 10_i64.pow(digits), digits as usize),
        Key::IsoYear(4) => (iso.map_or(0, |(year, _)| year), 4),
        Key::IsoYear(digits) => (iso.map_or(0, |(year, _)| year) % 10_i64.pow(digits), digits as usize),
        Key::Month => (moment.month, 2),
        Key::Day => (moment.day, 2),
        Key::DayOfYear => (day_of_year, 3),
        Key::IsoDayOfYear => (days.zip(iso).map_or(0, |(days, (year, _))| days - iso_year_start(year) + 1), 3),
        Key::DayOfWeek => (weekday + 1, 1),
        Key::IsoDayOfWeek => (if weekday == 0 { 7 } else { weekday }, 1),
        Key::Week => ((day_of_year - 1) / 7 + 1, 2),
        Key::WeekOfMonth => ((moment.day - 1) / 7 + 1, 1),
        Key::IsoWeek => (iso.map_or(0, |(_, week)| week), 2),
        Key::Century => (if days.is_some() { century(moment.year) } else { moment.year / 100 }, 2),
        Key::Julian => (days.map_or(0, |days| days + 2_440_588), 1),
        Key::Quarter => ((moment.month - 1) / 3 + 1, 1),
        _ => {
            print_word(key, written, fill, moment, weekday, out);
            return None;
        }
    };
    // Writing into a String cannot fail.
    let _ = match (fill, number < 0) {
        (true, true) => write!(out, "-{:0width$}", -number),
        (true, false) => write!(out, "{number:0width$}"),
        (false, _) => write!(out, "{number}"),
    };
    Some(number)
}

fn print_word(key: Key, written: &str, fill: bool, moment: &Moment, weekday: i64, out: &mut String) {
    let padded = |word: String, width: usize| if fill { format!("{word:<width$}") } else { word };
    let month = usize::try_from(moment.month - 1).ok();
    let text = match key {
        Key::MonthName => month.map_or(String::new(), |month| padded(cased(MONTHS[month % 12], written), 9)),
        Key::MonthShort => month.map_or(String::new(), |month| cased(&MONTHS[month % 12][..3], written)),
        Key::DayName => padded(cased(DAYS[weekday as usize], written), 9),
        Key::DayShort => cased(&DAYS[weekday as usize][..3], written),
        Key::Roman => month.map_or(String::new(), |month| {
            let upper = written.starts_with('R');
            let numeral = ROMAN[month % 12].to_owned();
            padded(if upper { numeral } else { numeral.to_lowercase() }, 4)
        }),
        Key::Half { dots } => {
            let word = if moment.hour.rem_euclid(24) < 12 { "am" } else { "pm" };
            let word = if dots { format!("{}.{}.", &word[..1], &word[1..]) } else { word.to_owned() };
            if written.starts_with(|c: char| c.is_ascii_uppercase()) { word.to_uppercase() } else { word }
        }
        Key::Era { dots } => {
            let word = if moment.year <= 0 { "bc" } else { "ad" };
            let word = if dots { format!("{}.{}.", &word[..1], &word[1..]) } else { word.to_owned() };
            if written.starts_with(|c: char| c.is_ascii_uppercase()) { word.to_uppercase() } else { word }
        }
        Key::Fraction(digits) => {
            let fraction = (moment.us % SECOND_US).abs();
            format!("{:0width$}", fraction / 10_i64.pow(6 - digits), width = digits as usize)
        }
        Key::YearWithComma => {
            let year = if moment.year <= 0 { 1 - moment.year } else { moment.year };
            format!("{},{:03}", year / 1000, year % 1000)
        }
        Key::ZoneName if written.starts_with('t') => moment.zone.to_lowercase(),
        Key::ZoneName => moment.zone.clone(),
        Key::ZoneHour => format!("{}{:02}", if moment.offset_s < 0 { '-' } else { '+' }, moment.offset_s.abs() / 3600),
        Key::ZoneMinute => format!("{:02}", moment.offset_s.abs() / 60 % 60),
        Key::Offset => offset_text(moment.offset_s),
        _ => String::new(),
    };
    out.push_str(&text);
}

/// `timeofday()`: the wall clock, as C's programs print it.
pub(super) fn time_of_day_text(call: &Call<'_>) -> Result<String> {
    let now = kalamdb_commons::clock::now_us();
    to_local(now, call)?;
    Ok(print("Dy Mon DD HH24:MI:SS.US YYYY TZ", &Moment::of(now, Some(&call.around.style().time_zone))))
}

/// What was read.
#[derive(Default)]
struct Fields {
    year: Option<i64>,
    /// How many digits the year had, for YY and the like.
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    week: Option<i64>,
    century: Option<i64>,
    hour: Option<i64>,
    hour12: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    second_of_day: Option<i64>,
    fraction_us: i64,
    offset_h: Option<i64>,
    offset_m: i64,
    offset_s: Option<i64>,
}

/// A date and a time.
struct ReadMoment {
    days: i64,
    us: i64,
    offset_s: Option<i64>,
}

impl ReadMoment {
    fn date(&self) -> i32 {
        // Fields were checked: the day is one of the calendar's.
        self.days as i32
    }
}

fn out_of_range(text: &str) -> SqlError {
    let message = format!("date/time field value out of range: \"{text}\"");
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
}

fn bad_value(found: &str, written: &str) -> SqlError {
    let shown: String = found.chars().take(written.len()).collect();
    let message = format!("invalid value \"{shown}\" for \"{written}\"");
    SqlError::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

fn read(text: &str, template: &str) -> Result<ReadMoment> {
    let mut fields = Fields::default();
    let parts = parts(template);
    let mut rest = text;
    for (place, part) in parts.iter().enumerate() {
        match part {
            Part::Text(quoted) => {
                // So many characters are skipped, whatever they are.
                rest = quoted.chars().fold(rest, |rest, _| skip_one(rest));
            }
            Part::Char(c) if c.is_whitespace() || c.is_ascii_punctuation() => {
                rest = rest.trim_start_matches(|c: char| c.is_whitespace());
                let sign_ahead = matches!(parts.get(place + 1), Some(Part::Key { key: Key::ZoneHour, .. }));
                if !sign_ahead && rest.starts_with(|c: char| c.is_ascii_punctuation() && c != '+')
                    || rest.starts_with(*c)
                {
                    rest = skip_one(rest);
                }
            }
            Part::Char(_) => rest = skip_one(rest),
            Part::Key { key, written, fill, ordinal } => {
                rest = rest.trim_start();
                // Digits that follow at once belong to the next field.
                let bounded = *fill && matches!(parts.get(place + 1), Some(Part::Key { key, .. }) if is_number(*key));
                rest = read_key(*key, written, bounded, rest, &mut fields)?;
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or("");
                }
            }
        }
    }
    fields.moment(text)
}

fn skip_one(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

fn is_number(key: Key) -> bool {
    use Key::*;
    !matches!(
        key,
        Era { .. } | Half { .. } | MonthName | MonthShort | DayName | DayShort | Roman | ZoneName | ZoneHour | Offset
    )
}

/// An integer of at most `width` digits when bounded, else of any length.
fn number<'a>(text: &'a str, written: &str, width: Option<usize>) -> Result<(i64, usize, &'a str)> {
    let signed = usize::from(text.starts_with(['-', '+']));
    let mut digits = text[signed..].bytes().take_while(u8::is_ascii_digit).count();
    if let Some(width) = width {
        digits = digits.min(width);
    }
    let (found, rest) = text.split_at(signed + digits);
    match found.parse::<i64>() {
        Ok(value) if digits > 0 => Ok((value, digits, rest)),
        Err(_) if digits > 0 => Err(SqlError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            format!("value for \"{written}\" in source string is out of range"),
        )),
        _ => Err(bad_value(text, written).with_detail("Value must be an integer.")),
    }
}

fn read_key<'a>(key: Key, written: &str, bounded: bool, text: &'a str, fields: &mut Fields) -> Result<&'a str> {
    let width = |natural: usize| bounded.then_some(natural);
    match key {
        Key::MonthName | Key::MonthShort => {
            let (month, rest) = name(text, written, &MONTHS, key == Key::MonthName)?;
            fields.month = Some(month as i64 + 1);
            return Ok(rest);
        }
        Key::DayName | Key::DayShort => return name(text, written, &DAYS, key == Key::DayName).map(|(_, rest)| rest),
        Key::Roman => {
            let numeral = text.chars().take_while(|c| c.is_ascii_alphabetic()).collect::<String>().to_uppercase();
            let month = ROMAN.iter().position(|roman| *roman == numeral);
            fields.month = Some(month.ok_or_else(|| bad_value(text, written))? as i64 + 1);
            return Ok(&text[numeral.len()..]);
        }
        Key::Half { dots } => {
            let words: [&str; 2] = if dots { ["A.M.", "P.M."] } else { ["AM", "PM"] };
            let found = words.iter().position(|word| prefix(text, word).is_some());
            let Some(found) = found else { return Err(bad_value(text, written)) };
            fields.afternoon = Some(found == 1);
            return Ok(&text[words[found].len()..]);
        }
        Key::Era { dots } => {
            let words: [&str; 2] = if dots { ["A.D.", "B.C."] } else { ["AD", "BC"] };
            let found = words.iter().position(|word| prefix(text, word).is_some());
            let Some(found) = found else { return Err(bad_value(text, written)) };
            fields.before_christ = found == 1;
            return Ok(&text[words[found].len()..]);
        }
        Key::YearWithComma => {
            let (thousands, _, rest) = number(text, written, None)?;
            let (units, _, rest) = number(rest.strip_prefix(',').unwrap_or(rest), written, Some(3))?;
            fields.year = Some(thousands * 1000 + units);
            return Ok(rest);
        }
        Key::ZoneName | Key::Offset => {
            let message = format!("formatting field \"{written}\" is only supported in to_char");
            return fail(SqlState::FEATURE_NOT_SUPPORTED, message);
        }
        Key::Fraction(digits) => {
            let (value, read, rest) = number(text, written, Some(digits as usize))?;
            // `.5` in MS are 500 milliseconds.
            fields.fraction_us = value * 10_i64.pow(6 - read.min(6) as u32);
            return Ok(rest);
        }
        _ => {}
    }
    let natural = match key {
        Key::Year(digits) | Key::IsoYear(digits) => digits as usize,
        Key::DayOfYear | Key::IsoDayOfYear => 3,
        Key::SecondOfDay => 5,
        Key::DayOfWeek | Key::IsoDayOfWeek | Key::WeekOfMonth | Key::Quarter => 1,
        Key::Julian => 7,
        _ => 2,
    };
    let (value, digits, rest) = number(text, written, width(natural))?;
    match key {
        Key::Year(4) => fields.year = Some(value),
        Key::Year(_) => fields.year = Some(full_year(value, digits)),
        Key::IsoYear(4) => fields.iso_year = Some(value),
        Key::IsoYear(_) => fields.iso_year = Some(full_year(value, digits)),
        Key::Month => fields.month = Some(value),
        Key::Day => fields.day = Some(value),
        Key::DayOfYear => fields.day_of_year = Some(value),
        Key::Julian => fields.julian = Some(value),
        Key::IsoWeek => fields.iso_week = Some(value),
        Key::IsoDayOfWeek => fields.iso_day = Some(value),
        Key::Week => fields.week = Some(value),
        Key::Century => fields.century = Some(value),
        Key::Hour24 => fields.hour = Some(value),
        Key::Hour12 => {
            fields.hour = Some(value);
            fields.hour12 = true;
        }
        Key::Minute => fields.minute = value,
        Key::Second => fields.second = value,
        Key::SecondOfDay => fields.second_of_day = Some(value),
        Key::ZoneHour => {
            fields.offset_h = Some(value);
            let negative = text.starts_with('-');
            fields.offset_s = Some(if negative { -1 } else { 1 });
        }
        Key::ZoneMinute => fields.offset_m = value,
        _ => {}
    }
    Ok(rest)
}

/// YY and the like mean the year nearest to 2020.
fn full_year(value: i64, digits: usize) -> i64 {
    match (digits, value) {
        (..=2, 0..=69) => value + 2000,
        (..=2, 70..=99) => value + 1900,
        (3, 100..=519) => value + 2000,
        (3, 520..=999) => value + 1000,
        (3, _) => value + 2000,
        _ => value,
    }
}

fn name<'a>(text: &'a str, written: &str, names: &[&str], whole: bool) -> Result<(usize, &'a str)> {
    let full = names.iter().position(|name| prefix(text, name).is_some()).filter(|_| whole);
    if let Some(found) = full {
        return Ok((found, &text[names[found].len()..]));
    }
    match names.iter().position(|name| prefix(text, &name[..3]).is_some()) {
        Some(found) if !whole || names[found].len() == 3 => Ok((found, &text[3..])),
        _ => {
            let word: String = text.chars().take_while(|c| !c.is_whitespace()).collect();
            let message = format!("invalid value \"{word}\" for \"{written}\"");
            Err(SqlError::new(SqlState::INVALID_DATETIME_FORMAT, message)
                .with_detail("The given value did not match any of the allowed values for this field."))
        }
    }
}

impl Fields {
    fn moment(&self, text: &str) -> Result<ReadMoment> {
        let us = self.time(text)?;
        let days = self.days(text)?;
        let offset_s = self.offset_h.map(|hours| {
            let sign = self.offset_s.unwrap_or(1);
            sign * (hours.abs() * 3600 + self.offset_m * 60)
        });
        Ok(ReadMoment { days, us, offset_s })
    }

    fn time(&self, text: &str) -> Result<i64> {
        let mut hour = self.hour.unwrap_or(0);
        if self.hour12 || self.afternoon.is_some() {
            if !(1..=12).contains(&hour) && self.hour.is_some() {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(SqlError::new(SqlState::INVALID_DATETIME_FORMAT, message)
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = match self.afternoon {
                Some(true) => hour % 12 + 12,
                _ => hour % 12,
            };
        }
        if let Some(seconds) = self.second_of_day {
            return Ok(seconds * SECOND_US + self.fraction_us);
        }
        let fine = (0..=24).contains(&hour) && (0..60).contains(&self.minute) && (0..=60).contains(&self.second);
        let us = hour * HOUR_US + self.minute * MINUTE_US + self.second * SECOND_US + self.fraction_us;
        if !fine || us > DAY_US {
            return Err(out_of_range(text));
        }
        Ok(us)
    }

    fn days(&self, text: &str) -> Result<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian - 2_440_588);
        }
        if let (Some(year), week) = (self.iso_year, self.iso_week.unwrap_or(1)) {
            return Ok(iso_year_start(year) + (week - 1) * 7 + self.iso_day.unwrap_or(1) - 1);
        }
        // Without a year it is 1 BC, as PostgreSQL has it.
        let mut year = match (self.year, self.century) {
            (Some(year), _) => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            (None, None) => 0,
        };
        if self.before_christ && self.year.is_some() {
            year = 1 - year;
        } else if year < 0 {
            year += 1;
        }
        if let Some(day) = self.day_of_year {
            return Ok(day_number(year, 1, 1) + day - 1);
        }
        if let Some(week) = self.week {
            return Ok(day_number(year, 1, 1) + (week - 1) * 7);
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || year > 5_874_897 {
            return Err(out_of_range(text));
        }
        Ok(day_number(year, month, day))
    }
}
