//! Reading dates and times: PostgreSQL manual B.1. A text is cut into fields, each field is judged by its form and by
//! what is known already.

use super::{days_from_civil, days_in_month, zone};
use crate::types::{DateOrder, TimeZone};

/// The longest text that can be a date and time (PostgreSQL's MAXDATELEN); more is no date.
const LENGTH_MAX: usize = 128;
/// The most fields (PostgreSQL's MAXDATEFIELDS).
const FIELDS_MAX: usize = 25;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// 22007
    Format,
    /// 22008: a field's value.
    Field,
    /// 22008 with a hint at DateStyle: month or day.
    MonthDay,
    /// 22008: the whole value.
    Range,
    /// 22023: an unknown zone.
    Zone(String),
    /// 22009: an offset beyond 16 hours.
    Displacement,
}

/// Words that stand for a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Special {
    Epoch,
    Infinity,
    NegInfinity,
    Now,
    Today,
    Tomorrow,
    Yesterday,
}

impl Special {
    /// Days from today.
    pub(super) fn days(self) -> i64 {
        match self {
            Special::Tomorrow => 1,
            Special::Yesterday => -1,
            _ => 0,
        }
    }
}

/// What a text says.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub special: Option<Special>,
    date: Option<i64>,
    /// Microseconds since midnight.
    pub time: Option<i64>,
    pub zone: Option<TimeZone>,
}

impl Written {
    /// Days since 1970.
    pub(super) fn days(&self) -> Result<i64, Fault> {
        self.date.ok_or(Fault::Format)
    }
}

/// The form of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Digits, maybe with a point.
    Number,
    /// Letters.
    Word,
    /// Digits or letters with `-`, `/` or `.` between.
    Date,
    /// Digits with colons.
    Time,
    /// A sign and digits.
    Signed,
    /// A sign and letters.
    SignedWord,
}

/// Cuts a text (in lower case) into fields.
pub(super) fn fields(text: &str) -> Result<Vec<(Kind, String)>, Fault> {
    let text = text.to_ascii_lowercase();
    let mut rest = text.as_bytes();
    let mut found = Vec::new();
    if text.len() > LENGTH_MAX || !text.is_ascii() {
        return Err(Fault::Format);
    }
    let run = |from: &[u8], accept: &dyn Fn(u8) -> bool| from.iter().take_while(|byte| accept(**byte)).count();
    while let Some(&first) = rest.first() {
        let digits = |from: usize| run(&rest[from..], &|byte| byte.is_ascii_digit());
        let (kind, length) = match first {
            b'0'..=b'9' | b'.' => {
                let whole = digits(0);
                match rest.get(whole) {
                    Some(b':') => (Kind::Time, run(rest, &|byte| matches!(byte, b'0'..=b'9' | b':' | b'.'))),
                    Some(&mark @ (b'-' | b'/' | b'.')) => dated(rest, whole, mark),
                    _ => (Kind::Number, whole),
                }
            }
            b'a'..=b'z' => worded(rest),
            b'+' | b'-' => {
                let blank = 1 + run(&rest[1..], &|byte| byte.is_ascii_whitespace());
                let body = match rest.get(blank) {
                    Some(b'0'..=b'9') => {
                        (Kind::Signed, run(&rest[blank..], &|byte| matches!(byte, b'0'..=b'9' | b':' | b'.' | b'-')))
                    }
                    Some(b'a'..=b'z') => (Kind::SignedWord, run(&rest[blank..], &|byte| byte.is_ascii_alphabetic())),
                    _ => return Err(Fault::Format),
                };
                let body_text = String::from_utf8_lossy(&rest[blank..blank + body.1]);
                push(&mut found, body.0, format!("{}{body_text}", char::from(first)))?;
                rest = &rest[blank + body.1..];
                continue;
            }
            byte if byte.is_ascii_whitespace() || byte.is_ascii_punctuation() => {
                rest = &rest[1..];
                continue;
            }
            _ => return Err(Fault::Format),
        };
        push(&mut found, kind, String::from_utf8_lossy(&rest[..length]).into_owned())?;
        rest = &rest[length..];
    }
    Ok(found)
}

fn push(found: &mut Vec<(Kind, String)>, kind: Kind, text: String) -> Result<(), Fault> {
    if found.len() == FIELDS_MAX {
        return Err(Fault::Format);
    }
    found.push((kind, text));
    Ok(())
}

/// A field of digits and a mark: a date, or a number with a point.
fn dated(rest: &[u8], whole: usize, mark: u8) -> (Kind, usize) {
    let run = |from: usize, accept: &dyn Fn(u8) -> bool| {
        rest.get(from..).unwrap_or_default().iter().take_while(|byte| accept(**byte)).count()
    };
    let second = whole + 1 + run(whole + 1, &|byte| byte.is_ascii_digit());
    if second == whole + 1 && rest.get(second).is_some_and(u8::is_ascii_alphabetic) {
        // 6-may-2024
        return (Kind::Date, second + run(second, &|byte| byte.is_ascii_alphanumeric() || byte == mark));
    }
    if second > whole + 1 && rest.get(second) == Some(&mark) {
        return (Kind::Date, second + run(second, &|byte| byte.is_ascii_digit() || byte == mark));
    }
    if mark == b'.' { (Kind::Number, second) } else { (Kind::Date, second) }
}

/// A field that begins with letters: a word, a date with a month's name, or a zone.
fn worded(rest: &[u8]) -> (Kind, usize) {
    let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let longer = match rest.get(letters) {
        Some(b'-' | b'/' | b'.') => true,
        Some(b'+' | b'0'..=b'9') => {
            let word = std::str::from_utf8(&rest[..letters]).unwrap_or_default();
            !matches!(
                word,
                "am" | "pm"
                    | "ad"
                    | "bc"
                    | "allballs"
                    | "now"
                    | "today"
                    | "t"
                    | "j"
                    | "jd"
                    | "julian"
                    | "h"
                    | "d"
                    | "m"
                    | "s"
                    | "y"
                    | "p"
            ) && month(word).is_none()
        }
        _ => false,
    };
    if !longer {
        return (Kind::Word, letters);
    }
    let zone = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':');
    (Kind::Date, letters + rest[letters..].iter().take_while(|byte| zone(**byte)).count())
}

fn month(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let place = MONTHS.iter().position(|name| *name == word || &name[..3] == word);
    place.or((word == "sept").then_some(8)).map(|place| place as u32 + 1)
}

fn is_weekday(word: &str) -> bool {
    const NAMES: [&str; 18] = [
        "sunday",
        "sun",
        "monday",
        "mon",
        "tuesday",
        "tue",
        "tues",
        "wednesday",
        "wed",
        "weds",
        "thursday",
        "thu",
        "thur",
        "thurs",
        "friday",
        "fri",
        "saturday",
        "sat",
    ];
    NAMES.contains(&word)
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    order: Option<DateOrder>,
    time_only: bool,
    /// Whether a field with marks is a date, of a text that is a time.
    takes_date: bool,
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    julian: Option<i64>,
    two_digits: bool,
    text_month: bool,
    bc: Option<bool>,
    pm: Option<bool>,
    weekday: bool,
    expects_julian: bool,
    written: Written,
    clock: Option<Clock>,
}

/// Hour, minute, second, microsecond.
#[derive(Clone, Copy)]
pub(super) struct Clock(pub i64, pub i64, pub i64, pub i64);

/// Reads a text.
///
/// With `time_only` a bare number is a time (`101112`), otherwise it is a date first.
pub(super) fn read(text: &str, order: DateOrder, time_only: bool) -> Result<Written, Fault> {
    let mut reader = Reader { order: Some(order), time_only, ..Reader::default() };
    let found = fields(text)?;
    if found.is_empty() {
        return Err(Fault::Format);
    }
    // A time may stand behind a date only in these forms (PostgreSQL's DecodeTimeOnly).
    let dates = [found.last(), found.get(1)];
    reader.takes_date =
        found.len() >= 2 && (matches!(dates[0], Some((Kind::Date, _))) || matches!(dates[1], Some((Kind::Time, _))));
    for (place, (kind, field)) in found.iter().enumerate() {
        reader.takes_date &= place == 0;
        reader.field(*kind, field)?;
    }
    reader.finish()
}

impl Reader {
    fn field(&mut self, kind: Kind, field: &str) -> Result<(), Fault> {
        if std::mem::take(&mut self.expects_julian) {
            return self.julian(field);
        }
        match kind {
            Kind::Date if self.time_only && !self.takes_date => self.after_date(field),
            Kind::Date if self.has_date() || (self.month.is_some() && self.day.is_some()) => self.after_date(field),
            // PostgreSQL takes a time before a date only when the date is not one field.
            Kind::Date if self.clock.is_some() => Err(Fault::Format),
            Kind::Date => self.date(field),
            Kind::Time => {
                once(&self.clock)?;
                self.clock = Some(clock(field)?);
                Ok(())
            }
            Kind::Signed => {
                once(&self.written.zone)?;
                self.written.zone = Some(displacement(field)?);
                Ok(())
            }
            Kind::Number => self.number(field),
            Kind::Word => self.word(field),
            Kind::SignedWord => match field {
                "-infinity" => self.special(Special::NegInfinity),
                "+infinity" => self.special(Special::Infinity),
                _ => Err(Fault::Format),
            },
        }
    }

    fn has_date(&self) -> bool {
        (self.year.is_some() && self.month.is_some() && self.day.is_some())
            || self.julian.is_some()
            || self.day_of_year.is_some()
    }

    /// A field with marks behind a date: a time with an offset, or a zone's name.
    fn after_date(&mut self, field: &str) -> Result<(), Fault> {
        if !field.starts_with(|ch: char| ch.is_ascii_digit()) {
            once(&self.written.zone)?;
            let zone = zone::by_name(field).map(TimeZone::Named).or_else(|| zone::posix(field));
            self.written.zone = Some(zone.ok_or_else(|| Fault::Zone(field.to_owned()))?);
            return Ok(());
        }
        let at = field.find('-').ok_or(Fault::Format)?;
        once(&self.written.zone)?;
        self.written.zone = Some(displacement(&field[at..])?);
        self.run_together(&field[..at])
    }

    fn date(&mut self, field: &str) -> Result<(), Fault> {
        let parts: Vec<&str> =
            field.split(|ch: char| !ch.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
        let is_word = |part: &&&str| part.starts_with(|ch: char| ch.is_ascii_alphabetic());
        for part in parts.iter().filter(is_word) {
            once(&self.month)?;
            self.month = Some(month(part).ok_or(Fault::Format)?);
            self.text_month = true;
        }
        for part in parts.iter().filter(|part| !is_word(part)) {
            if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Fault::Format);
            }
            self.single(part)?;
        }
        Ok(())
    }

    fn number(&mut self, field: &str) -> Result<(), Fault> {
        let whole = field.find('.').unwrap_or(field.len());
        let has_point = whole < field.len();
        if self.time_only && self.year.is_none() && self.month.is_none() {
            return self.run_together(field);
        }
        let no_date = self.year.is_none() && self.month.is_none() && self.day.is_none() && !self.has_date();
        if has_point && no_date {
            return self.date(field);
        }
        if (has_point && whole > 2) || field.len() > 4 {
            return self.run_together(field);
        }
        self.single(field)
    }

    /// `20240506`, `240506`, `101112.5`, `1011`.
    fn run_together(&mut self, field: &str) -> Result<(), Fault> {
        let whole = field.find('.').unwrap_or(field.len());
        let digits = &field[..whole];
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Fault::Format);
        }
        let value = |from: usize, to: usize| digits[from..to].parse::<i64>().map_err(|_| Fault::Field);
        if whole == field.len() && !self.has_date() && !self.time_only && whole >= 6 {
            once(&self.year)?;
            self.day = Some(value(whole - 2, whole)? as u32);
            self.month = Some(value(whole - 4, whole - 2)? as u32);
            self.year = Some(value(0, whole - 4)?);
            self.two_digits = whole == 6;
            return Ok(());
        }
        once(&self.clock)?;
        let (second, us) = match whole {
            6 => carried(value(4, 6)?, &field[whole..])?,
            4 => (0, 0),
            _ => return Err(Fault::Format),
        };
        self.clock = Some(Clock(value(0, 2)?, value(2, 4)?, second, us));
        Ok(())
    }

    /// One number of a date, judged by what is known already.
    fn single(&mut self, field: &str) -> Result<(), Fault> {
        let digits = &field[..field.find('.').unwrap_or(field.len())];
        let value: i64 = digits.parse().map_err(|_| Fault::Field)?;
        let long = digits.len() >= 3;
        let order = self.order.unwrap_or(DateOrder::Mdy);
        if digits.len() == 3 && self.year.is_some() && self.month.is_none() && self.day.is_none() {
            if !(1..=366).contains(&value) {
                return Err(Fault::Format);
            }
            self.day_of_year = Some(value as u32);
            return Ok(());
        }
        let number = u32::try_from(value).map_err(|_| Fault::Field)?;
        match (self.year, self.month, self.day) {
            (None, None, None) if long || order == DateOrder::Ymd => self.set_year(value, digits),
            (None, None, None) if order == DateOrder::Dmy => self.day = Some(number),
            (None, None, None) | (Some(_), None, None) | (None, None, Some(_)) => self.month = Some(number),
            (None, Some(_), None) if self.text_month && (long || order == DateOrder::Ymd) => {
                self.set_year(value, digits);
            }
            (None, Some(_), None) => self.day = Some(number),
            (Some(year), Some(_), None) => {
                // A two-digit "year" before a month's name was the day when a long number follows.
                if self.text_month && long && self.two_digits {
                    self.day = Some(u32::try_from(year).map_err(|_| Fault::Field)?);
                    self.set_year(value, digits);
                } else {
                    self.day = Some(number);
                }
            }
            (None, Some(_), Some(_)) => self.set_year(value, digits),
            (Some(_), Some(_), Some(_)) => return self.run_together(field),
            (Some(_), None, Some(_)) => self.month = Some(number),
        }
        Ok(())
    }

    fn set_year(&mut self, value: i64, digits: &str) {
        self.year = Some(value);
        self.two_digits = digits.len() <= 2;
    }

    fn julian(&mut self, field: &str) -> Result<(), Fault> {
        let whole = field.find('.').unwrap_or(field.len());
        let day: i64 = field[..whole].parse().map_err(|_| Fault::Field)?;
        self.julian = Some(day - super::JULIAN_1970);
        if whole < field.len() {
            once(&self.clock)?;
            let part: f64 = format!("0{}", &field[whole..]).parse().map_err(|_| Fault::Format)?;
            self.clock = Some(Clock(0, 0, 0, (part * super::DAY_US as f64) as i64));
        }
        Ok(())
    }

    fn special(&mut self, special: Special) -> Result<(), Fault> {
        once(&self.written.special)?;
        self.written.special = Some(special);
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        match word {
            "now" => self.special(Special::Now),
            "today" => self.special(Special::Today),
            "tomorrow" => self.special(Special::Tomorrow),
            "yesterday" => self.special(Special::Yesterday),
            "epoch" => self.special(Special::Epoch),
            "infinity" => self.special(Special::Infinity),
            "am" | "pm" => {
                once(&self.pm)?;
                self.pm = Some(word == "pm");
                Ok(())
            }
            "bc" | "ad" => {
                once(&self.bc)?;
                self.bc = Some(word == "bc");
                Ok(())
            }
            "j" | "jd" | "julian" => {
                self.expects_julian = true;
                Ok(())
            }
            // ISO 8601's mark before a time, and words that say nothing.
            "t" | "at" | "on" => Ok(()),
            "allballs" => {
                once(&self.clock)?;
                self.clock = Some(Clock(0, 0, 0, 0));
                self.written.zone = Some(TimeZone::Fixed(0, "UTC".into()));
                Ok(())
            }
            _ if month(word).is_some() => self.month_name(word),
            _ if is_weekday(word) => {
                if std::mem::replace(&mut self.weekday, true) {
                    Err(Fault::Format)
                } else {
                    Ok(())
                }
            }
            _ => {
                let zone = zone::abbreviation(word).map(|seconds| TimeZone::Fixed(seconds, word.to_owned()));
                let zone = zone.or_else(|| zone::by_name(word).map(TimeZone::Named));
                once(&self.written.zone)?;
                self.written.zone = Some(zone.ok_or(Fault::Format)?);
                Ok(())
            }
        }
    }

    fn month_name(&mut self, word: &str) -> Result<(), Fault> {
        // `6 May`: what was taken for a month was the day.
        if let (Some(number), None, false) = (self.month, self.day, self.text_month)
            && (1..=31).contains(&number)
        {
            self.day = Some(number);
            self.month = None;
        }
        once(&self.month)?;
        self.month = month(word);
        self.text_month = true;
        Ok(())
    }

    fn finish(mut self) -> Result<Written, Fault> {
        if self.expects_julian {
            return Err(Fault::Format);
        }
        self.written.time = self.time_of_day()?;
        if self.written.special.is_some() {
            let alone = self.year.is_none() && self.month.is_none() && self.day.is_none();
            return if alone { Ok(self.written) } else { Err(Fault::Format) };
        }
        self.written.date = self.day_number()?;
        if let (true, None, Some(TimeZone::Named(zone))) = (self.time_only, self.written.date, &self.written.zone)
            && zone::constant_offset(*zone).is_none()
        {
            // Without a day, a zone with summer time does not say which offset is meant.
            return Err(Fault::Format);
        }
        if self.written.date.is_none() && self.written.time.is_none() {
            return Err(Fault::Format);
        }
        Ok(self.written)
    }

    fn time_of_day(&self) -> Result<Option<i64>, Fault> {
        let Some(Clock(hour, minute, second, us)) = self.clock else {
            return if self.pm.is_some() { Err(Fault::Format) } else { Ok(None) };
        };
        let hour = match self.pm {
            None => hour,
            Some(_) if hour > 12 => return Err(Fault::Field),
            Some(true) if hour < 12 => hour + 12,
            Some(false) if hour == 12 => 0,
            Some(_) => hour,
        };
        // An hour may have as many digits as an i64.
        if hour > 24 || minute >= 60 || second > 60 {
            return Err(Fault::Field);
        }
        let total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + us;
        if total <= super::DAY_US { Ok(Some(total)) } else { Err(Fault::Field) }
    }

    fn day_number(&self) -> Result<Option<i64>, Fault> {
        if let Some(julian) = self.julian {
            return Ok(Some(julian));
        }
        let Some(written) = self.year else {
            let some = self.month.is_some() || self.day.is_some() || self.bc.is_some();
            return if some { Err(Fault::Format) } else { Ok(None) };
        };
        let year = match self.bc {
            Some(true) if written <= 0 => return Err(Fault::Field),
            Some(true) => 1 - written,
            _ if self.two_digits && written < 70 => written + 2000,
            _ if self.two_digits && written < 100 => written + 1900,
            _ if written <= 0 => return Err(Fault::Field),
            _ => written,
        };
        // Far beyond every range, and small enough to calculate with.
        if year.abs() > 10_000_000 {
            return Err(Fault::Range);
        }
        if let Some(day) = self.day_of_year {
            return Ok(Some(days_from_civil(year, 1, 1) + i64::from(day) - 1));
        }
        let (Some(month), Some(day)) = (self.month, self.day) else { return Err(Fault::Format) };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(Fault::MonthDay);
        }
        if day > days_in_month(year, month) {
            return Err(Fault::Field);
        }
        Ok(Some(days_from_civil(year, month, day)))
    }
}

fn once<T>(place: &Option<T>) -> Result<(), Fault> {
    if place.is_some() { Err(Fault::Format) } else { Ok(()) }
}

/// `h:m`, `h:m:s`, `m:s.f`.
pub(super) fn clock(field: &str) -> Result<Clock, Fault> {
    let point = field.find('.').unwrap_or(field.len());
    let numbers: Vec<i64> = field[..point]
        .split(':')
        .map(|part| if part.is_empty() { Ok(0) } else { part.parse::<i64>() })
        .collect::<Result<_, _>>()
        .map_err(|_| Fault::Field)?;
    let fraction = &field[point..];
    let (hour, minute, second) = match numbers.as_slice() {
        [hour, minute] if fraction.is_empty() => (*hour, *minute, 0),
        [minute, second] => (0, *minute, *second),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return Err(Fault::Format),
    };
    let (second, us) = carried(second, fraction)?;
    if minute > 59 || second > 60 {
        return Err(Fault::Field);
    }
    Ok(Clock(hour, minute, second, us))
}

/// A second and its fraction, rounded to microseconds.
fn carried(second: i64, fraction: &str) -> Result<(i64, i64), Fault> {
    if fraction.len() <= 1 {
        return Ok((second, 0));
    }
    if !fraction[1..].bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    let part: f64 = format!("0{fraction}").parse().map_err(|_| Fault::Format)?;
    let us = (part * 1_000_000.0).round_ties_even() as i64;
    Ok((second, us))
}

/// `+h`, `+hmm`, `+h:mm[:ss]`.
fn displacement(field: &str) -> Result<TimeZone, Fault> {
    let (sign, digits) = if let Some(digits) = field.strip_prefix('-') {
        (-1, digits)
    } else {
        (1, field.strip_prefix('+').unwrap_or(field))
    };
    let parts: Vec<i32> =
        digits.split(':').map(|part| part.parse().map_err(|_| Fault::Format)).collect::<Result<_, _>>()?;
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours] if digits.len() > 2 => (hours / 100, hours % 100, 0),
        [hours] => (*hours, 0, 0),
        [hours, minutes] => (*hours, *minutes, 0),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return Err(Fault::Format),
    };
    if !(0..=15).contains(&hours) || !(0..60).contains(&minutes) || !(0..60).contains(&seconds) {
        return Err(Fault::Displacement);
    }
    Ok(TimeZone::Fixed(sign * (hours * 3600 + minutes * 60 + seconds), field.to_owned()))
}
