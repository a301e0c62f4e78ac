//! interval: PostgreSQL's units, SQL's and ISO 8601's forms, and the four IntervalStyles.

use super::parse::{self, Clock, Fault, Kind};
use crate::types::IntervalStyle;
use crate::types::digits::{put_2, put_fraction, put_i64, put_u64};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::sql_type::IntervalFields;
use kalamdb_commons::{Interval, Result, SqlError, SqlState};

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    /// Microseconds of one.
    Us(i64),
    Days(i64),
    Months(i64),
    Ago,
}

/// What has been added up. The mask of what was given finds a unit that is given twice.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    us: i128,
}

/// Reads an interval.
pub(in crate::types) fn read(text: &str, style: IntervalStyle, typmod: i32) -> Result<Interval> {
    let sum = plain(text, style, IntervalFields::of(typmod).0).or_else(|fault| match fault {
        Fault::Format if text.trim_start().starts_with(['P', 'p']) => iso(text.trim()),
        fault => Err(fault),
    });
    let sum = sum.map_err(|fault| match fault {
        Fault::Format => SqlError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type interval: \"{text}\""),
        ),
        Fault::Range => out_of_range(),
        _ => SqlError::new(SqlState::INTERVAL_FIELD_OVERFLOW, format!("interval field value out of range: \"{text}\"")),
    })?;
    sum.finish().map(|interval| fit(interval, typmod))
}

/// Makes an interval fit a type's modifier: what is below its last field is cut off, the second is rounded.
pub fn fit(value: Interval, typmod: i32) -> Interval {
    let (fields, digits) = IntervalFields::of(typmod);
    let mut fitted = value;
    match fields.map(IntervalFields::last) {
        Some(IntervalFields::YEAR) => fitted = Interval { months: value.months / 12 * 12, days: 0, us: 0 },
        Some(IntervalFields::MONTH) => (fitted.days, fitted.us) = (0, 0),
        Some(IntervalFields::DAY) => fitted.us = 0,
        Some(IntervalFields::HOUR) => fitted.us -= fitted.us % HOUR_US,
        Some(IntervalFields::MINUTE) => fitted.us -= fitted.us % MINUTE_US,
        _ => {}
    }
    if let Some(digits) = digits.filter(|digits| *digits < 6) {
        let step = 10_i64.pow(6 - u32::from(digits));
        let rounded = (fitted.us.saturating_abs().saturating_add(step / 2)) / step * step;
        fitted.us = if fitted.us < 0 { -rounded } else { rounded };
    }
    fitted
}

/// What a number without a unit counts.
fn unit_of(fields: Option<IntervalFields>) -> Unit {
    match fields.map(IntervalFields::last) {
        Some(IntervalFields::YEAR) => Unit::Months(12),
        Some(IntervalFields::MONTH) => Unit::Months(1),
        Some(IntervalFields::DAY) => Unit::Days(1),
        Some(IntervalFields::HOUR) => Unit::Us(HOUR_US),
        Some(IntervalFields::MINUTE) => Unit::Us(MINUTE_US),
        _ => Unit::Us(SECOND_US),
    }
}

fn out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "interval out of range")
}

impl Sum {
    fn finish(&self) -> Result<Interval> {
        // Arrow keeps nanoseconds in 64 bits.
        let us = i64::try_from(self.us).ok().filter(|us| us.checked_mul(1000).is_some());
        let (months, days) = (i32::try_from(self.months).ok(), i32::try_from(self.days).ok());
        match (months, days, us) {
            (Some(months), Some(days), Some(us)) => Ok(Interval { months, days, us }),
            _ => Err(out_of_range()),
        }
    }

    /// Each of PostgreSQL's fields is of 32 bits, the time of 64; years and months are one only in the end.
    fn add(&mut self, unit: Unit, whole: i64, part: f64) -> Result<(), Fault> {
        let narrow = |count: i128| i32::try_from(count).map(i128::from).map_err(|_| Fault::Field);
        match unit {
            Unit::Us(size) => {
                self.us += i128::from(whole) * i128::from(size) + (part * size as f64).round_ties_even() as i128;
                i64::try_from(self.us).map_err(|_| Fault::Field)?;
            }
            Unit::Days(size) => {
                self.days = narrow(self.days + i128::from(whole) * i128::from(size))?;
                self.add_days(part * size as f64);
                narrow(self.days)?;
            }
            Unit::Months(1) => {
                self.months += narrow(i128::from(whole))?;
                self.add_days(part * 30.0);
            }
            Unit::Months(size) => {
                let years = narrow(i128::from(whole) * i128::from(size / 12))?;
                self.months += years * 12 + (part * size as f64).round_ties_even() as i128;
            }
            Unit::Ago => {}
        }
        Ok(())
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc() as i128;
        self.us += ((days - days.trunc()) * super::DAY_US as f64).round_ties_even() as i128;
    }

    fn negate(&mut self) {
        (self.months, self.days, self.us) = (-self.months, -self.days, -self.us);
    }
}

/// `1 year 2 mons`, `1-2`, `1 2:03:04`, `90 minutes ago`: read from the end, so that a number's unit is known.
fn plain(text: &str, style: IntervalStyle, fields: Option<IntervalFields>) -> Result<Sum, Fault> {
    let found = parse::fields(text)?;
    let signs = found.iter().filter(|(kind, _)| *kind == Kind::Signed).count();
    // The SQL standard's leading sign counts for every field when none other has one.
    let leading = style == IntervalStyle::SqlStandard
        && signs == 1
        && found.first().is_some_and(|(kind, field)| *kind == Kind::Signed && field.starts_with('-'));
    let mut sum = Sum::default();
    let mut seen: Vec<Unit> = Vec::new();
    let mut unit: Option<Unit> = None;
    let mut ago = false;
    for (place, (kind, field)) in found.iter().enumerate().rev() {
        let flip = leading && place > 0;
        match kind {
            Kind::Time => {
                once(&mut seen, Unit::Us(0))?;
                let us = clock_us(field, fields)?;
                sum.us += i128::from(if flip { -us } else { us });
                unit = Some(Unit::Days(1));
            }
            Kind::Signed if field.contains(':') => {
                once(&mut seen, Unit::Us(0))?;
                let us = clock_us(&field[1..], fields)?;
                sum.us += i128::from(if field.starts_with('-') { -us } else { us });
                unit = Some(Unit::Days(1));
            }
            Kind::Signed | Kind::Number | Kind::Date => {
                let given = number(field, unit.take().unwrap_or_else(|| unit_of(fields)))?;
                once(&mut seen, given.0)?;
                let (whole, part) =
                    if flip { (given.1.checked_neg().ok_or(Fault::Field)?, -given.2) } else { (given.1, given.2) };
                sum.add(given.0, whole, part)?;
                // Days stand before hours.
                unit = Some(if given.0 == Unit::Us(HOUR_US) { Unit::Days(1) } else { given.0 });
            }
            Kind::Word => match units(field).ok_or(Fault::Format)? {
                Unit::Ago => ago = true,
                known => unit = Some(known),
            },
            Kind::SignedWord => return Err(Fault::Format),
        }
    }
    if seen.is_empty() {
        return Err(Fault::Format);
    }
    if ago {
        sum.negate();
    }
    Ok(sum)
}

/// Hours may be any number here.
fn clock_us(field: &str, fields: Option<IntervalFields>) -> Result<i64, Fault> {
    let Clock(mut hour, mut minute, mut second, us) = parse::clock(field)?;
    if fields == Some(IntervalFields::MINUTE | IntervalFields::SECOND)
        && field.matches(':').count() == 1
        && !field.contains('.')
    {
        (hour, minute, second) = (0, hour, minute);
    }
    if minute > 59 || second > 60 {
        return Err(Fault::Field);
    }
    let hours = hour.checked_mul(HOUR_US).ok_or(Fault::Field)?;
    hours.checked_add(minute * MINUTE_US + second * SECOND_US + us).ok_or(Fault::Field)
}

fn once(seen: &mut Vec<Unit>, unit: Unit) -> Result<(), Fault> {
    // A time of day is hours, minutes and seconds at once.
    let clash = |old: &Unit| match (*old, unit) {
        (Unit::Us(0), Unit::Us(size)) | (Unit::Us(size), Unit::Us(0)) => size == 0 || size >= SECOND_US,
        (old, new) => old == new,
    };
    if seen.iter().any(clash) {
        return Err(Fault::Format);
    }
    seen.push(unit);
    Ok(())
}

/// A number with its fraction, or `years-months`.
fn number(field: &str, unit: Unit) -> Result<(Unit, i64, f64), Fault> {
    let (negative, digits) = match field.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, field.strip_prefix('+').unwrap_or(field)),
    };
    let sign = if negative { -1 } else { 1 };
    if let Some((years, months)) = digits.split_once('-') {
        let years = i64::from(i32::try_from(int(years)?).map_err(|_| Fault::Field)?);
        let months: i64 = int(months)?;
        if months >= 12 {
            return Err(Fault::Field);
        }
        let total = years.checked_mul(12).and_then(|total| total.checked_add(months)).ok_or(Fault::Field)?;
        return Ok((Unit::Months(1), sign * total, 0.0));
    }
    let point = digits.find('.').unwrap_or(digits.len());
    let whole = match (point, negative) {
        (0, _) => 0,
        // The smallest number is one farther from zero than the largest.
        (_, true) => signed(&digits[..point], "-")?,
        (_, false) => int(&digits[..point])?,
    };
    let part = match &digits[point..] {
        "" | "." => 0.0,
        fraction if fraction[1..].bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("0{fraction}").parse::<f64>().map_err(|_| Fault::Format)?
        }
        _ => return Err(Fault::Format),
    };
    Ok((unit, whole, sign as f64 * part))
}

fn int(digits: &str) -> Result<i64, Fault> {
    signed(digits, "")
}

fn signed(digits: &str, sign: &str) -> Result<i64, Fault> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    format!("{sign}{digits}").parse().map_err(|_| Fault::Field)
}

fn units(word: &str) -> Option<Unit> {
    Some(match word {
        "ago" => Unit::Ago,
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => Unit::Us(1),
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
            Unit::Us(1000)
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Us(SECOND_US),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Us(MINUTE_US),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Us(HOUR_US),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1200),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

/// ISO 8601: `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06`.
fn iso(text: &str) -> Result<Sum, Fault> {
    let body = &text[1..];
    if body.is_empty() {
        return Err(Fault::Format);
    }
    let (date, time) = match body.find(['T', 't']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let mut sum = Sum::default();
    if date.get(1..).is_some_and(|rest| rest.contains('-')) && !date.contains(|ch: char| ch.is_ascii_alphabetic()) {
        let sizes = [Unit::Months(12), Unit::Months(1), Unit::Days(1)];
        alternative(date, '-', &sizes, &mut sum)?;
    } else {
        designated(date, false, &mut sum)?;
    }
    match time {
        Some(time) if time.contains(':') => {
            alternative(time, ':', &[Unit::Us(HOUR_US), Unit::Us(MINUTE_US), Unit::Us(SECOND_US)], &mut sum)?;
        }
        Some(time) => designated(time, true, &mut sum)?,
        None => {}
    }
    Ok(sum)
}

fn alternative(text: &str, mark: char, sizes: &[Unit], sum: &mut Sum) -> Result<(), Fault> {
    let parts: Vec<&str> = text.split(mark).collect();
    if parts.len() > sizes.len() {
        return Err(Fault::Format);
    }
    for (part, unit) in parts.iter().zip(sizes) {
        let (unit, whole, fraction) = number(part, *unit)?;
        sum.add(unit, whole, fraction)?;
    }
    Ok(())
}

fn designated(mut text: &str, is_time: bool, sum: &mut Sum) -> Result<(), Fault> {
    // The basic form has digits only: YYYYMMDD, HHMMSS; fewer of them are years or hours.
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let (width, units) = if is_time {
            (2, [Unit::Us(HOUR_US), Unit::Us(MINUTE_US), Unit::Us(SECOND_US)])
        } else {
            (4, [Unit::Months(12), Unit::Months(1), Unit::Days(1)])
        };
        if text.len() != width + 4 {
            sum.add(units[0], int(text)?, 0.0)?;
            return Ok(());
        }
        let parts = [&text[..width], &text[width..width + 2], &text[width + 2..]];
        for (part, unit) in parts.into_iter().zip(units) {
            sum.add(unit, int(part)?, 0.0)?;
        }
        return Ok(());
    }
    while !text.is_empty() {
        let end = text.find(|ch: char| ch.is_ascii_alphabetic()).ok_or(Fault::Format)?;
        let unit = match (text.as_bytes()[end].to_ascii_uppercase(), is_time) {
            (b'Y', false) => Unit::Months(12),
            (b'M', false) => Unit::Months(1),
            (b'W', false) => Unit::Days(7),
            (b'D', false) => Unit::Days(1),
            (b'H', true) => Unit::Us(HOUR_US),
            (b'M', true) => Unit::Us(MINUTE_US),
            (b'S', true) => Unit::Us(SECOND_US),
            _ => return Err(Fault::Format),
        };
        let digits = text[..end].strip_prefix(['-', '+']).unwrap_or(&text[..end]);
        if digits.is_empty() || digits.contains('-') {
            return Err(Fault::Format);
        }
        let (unit, whole, fraction) = number(&text[..end], unit)?;
        sum.add(unit, whole, fraction)?;
        text = &text[end + 1..];
    }
    Ok(())
}

/// An interval's fields as they are printed; all of one sign within months and within the time.
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    us: i64,
}

impl Parts {
    fn of(interval: Interval) -> Self {
        let us = interval.us;
        Parts {
            years: i64::from(interval.months / 12),
            months: i64::from(interval.months % 12),
            days: i64::from(interval.days),
            hours: us / HOUR_US,
            minutes: us / MINUTE_US % 60,
            seconds: us / SECOND_US % 60,
            us: us % SECOND_US,
        }
    }
    fn time_is_negative(&self) -> bool {
        self.hours < 0 || self.minutes < 0 || self.seconds < 0 || self.us < 0
    }
    fn has_time(&self) -> bool {
        self.hours != 0 || self.minutes != 0 || self.seconds != 0 || self.us != 0
    }
    fn put_seconds(&self, fill: bool, out: &mut BytesMut) {
        let seconds = self.seconds.unsigned_abs() as u32;
        if fill {
            put_2(seconds, out)
        } else {
            put_u64(u64::from(seconds), out)
        }
        put_fraction(self.us.unsigned_abs() as u32, out);
    }
}

/// Appends an interval in a style.
pub(in crate::types) fn put(interval: Interval, style: IntervalStyle, out: &mut BytesMut) {
    let parts = Parts::of(interval);
    match style {
        IntervalStyle::Postgres => put_postgres(&parts, out),
        IntervalStyle::PostgresVerbose => put_verbose(&parts, out),
        IntervalStyle::SqlStandard => put_sql(&parts, interval, out),
        IntervalStyle::Iso8601 => put_iso(&parts, out),
    }
}

fn put_postgres(parts: &Parts, out: &mut BytesMut) {
    let mut first = true;
    let mut before = false;
    for (value, name) in [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day")] {
        if value == 0 {
            continue;
        }
        if !first {
            out.put_u8(b' ');
        }
        if before && value > 0 {
            out.put_u8(b'+');
        }
        put_i64(value, out);
        out.put_u8(b' ');
        out.put_slice(name.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
        before = value < 0;
        first = false;
    }
    if first || parts.has_time() {
        if !first {
            out.put_u8(b' ');
        }
        if parts.time_is_negative() {
            out.put_u8(b'-');
        } else if before {
            out.put_u8(b'+');
        }
        put_time(parts, true, out);
    }
}

fn put_time(parts: &Parts, fill_hours: bool, out: &mut BytesMut) {
    let hours = parts.hours.unsigned_abs();
    if fill_hours && hours < 10 {
        out.put_u8(b'0');
    }
    put_u64(hours, out);
    out.put_u8(b':');
    put_2(parts.minutes.unsigned_abs() as u32, out);
    out.put_u8(b':');
    parts.put_seconds(true, out);
}

fn put_verbose(parts: &Parts, out: &mut BytesMut) {
    out.put_u8(b'@');
    // The sign of the first field is the whole's: "ago" says it, and fields of the other sign get a minus.
    let mut ago: Option<bool> = None;
    let fields = [
        (parts.years, "year"),
        (parts.months, "mon"),
        (parts.days, "day"),
        (parts.hours, "hour"),
        (parts.minutes, "min"),
    ];
    for (value, name) in fields {
        if value == 0 {
            continue;
        }
        let shown = if *ago.get_or_insert(value < 0) { -value } else { value };
        out.put_u8(b' ');
        put_i64(shown, out);
        out.put_u8(b' ');
        out.put_slice(name.as_bytes());
        if shown != 1 {
            out.put_u8(b's');
        }
    }
    if parts.seconds != 0 || parts.us != 0 {
        let negative = parts.seconds < 0 || parts.us < 0;
        out.put_u8(b' ');
        if *ago.get_or_insert(negative) != negative {
            out.put_u8(b'-');
        }
        parts.put_seconds(false, out);
        out.put_slice(if parts.seconds.abs() == 1 && parts.us == 0 { b" sec" } else { b" secs" });
    }
    match ago {
        None => out.put_slice(b" 0"),
        Some(true) => out.put_slice(b" ago"),
        Some(false) => {}
    }
}

fn put_sql(parts: &Parts, interval: Interval, out: &mut BytesMut) {
    let values = [i64::from(interval.months), i64::from(interval.days), interval.us];
    let negative = values.iter().any(|value| *value < 0);
    let positive = values.iter().any(|value| *value > 0);
    let has_months = interval.months != 0;
    let has_rest = interval.days != 0 || interval.us != 0;
    if !negative && !positive {
        return out.put_u8(b'0');
    }
    let years_months = |out: &mut BytesMut| {
        put_u64(parts.years.unsigned_abs(), out);
        out.put_u8(b'-');
        put_u64(parts.months.unsigned_abs(), out);
    };
    if (negative && positive) || (has_months && has_rest) {
        let sign = |negative: bool| if negative { b'-' } else { b'+' };
        out.put_u8(sign(interval.months < 0));
        years_months(out);
        out.put_slice(&[b' ', sign(parts.days < 0)]);
        put_u64(parts.days.unsigned_abs(), out);
        out.put_slice(&[b' ', sign(parts.time_is_negative())]);
        return put_time(parts, false, out);
    }
    if negative {
        out.put_u8(b'-');
    }
    if has_months {
        return years_months(out);
    }
    if interval.days != 0 {
        put_u64(parts.days.unsigned_abs(), out);
        out.put_u8(b' ');
    }
    put_time(parts, false, out);
}

fn put_iso(parts: &Parts, out: &mut BytesMut) {
    out.put_u8(b'P');
    let start = out.len();
    for (value, mark) in [(parts.years, b'Y'), (parts.months, b'M'), (parts.days, b'D')] {
        if value != 0 {
            put_i64(value, out);
            out.put_u8(mark);
        }
    }
    if !parts.has_time() {
        if out.len() == start {
            out.put_slice(b"T0S");
        }
        return;
    }
    out.put_u8(b'T');
    for (value, mark) in [(parts.hours, b'H'), (parts.minutes, b'M')] {
        if value != 0 {
            put_i64(value, out);
            out.put_u8(mark);
        }
    }
    if parts.seconds != 0 || parts.us != 0 {
        if parts.seconds < 0 || parts.us < 0 {
            out.put_u8(b'-');
        }
        parts.put_seconds(false, out);
        out.put_u8(b'S');
    }
}
