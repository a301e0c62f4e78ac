//! Time zones: offsets at an instant and at a wall clock's time, names and abbreviations.

use crate::types::TimeZone;
use chrono::{DateTime, Datelike as _, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

/// Beyond these years zones repeat every 400 years (the calendar does), and the zone library knows no dates.
const YEARS_US: i64 = 250_000 * 31_556_952 * 1_000_000;
/// Years of which one is like any other.
const LIKE_YEARS: std::ops::Range<i32> = 2072..2100;
/// 400 years of microseconds.
const CYCLE_US: i64 = 146_097 * super::DAY_US;

/// Seconds east of UTC at an instant.
pub fn offset_at(zone: &TimeZone, us: i64) -> i32 {
    match zone {
        TimeZone::Fixed(seconds, _) => *seconds,
        TimeZone::Named(zone) if *zone == Tz::UTC => 0,
        TimeZone::Named(zone) => zone.offset_from_utc_datetime(&naive(us)).fix().local_minus_utc(),
    }
}

/// The abbreviation in force at an instant (`CEST`); `None` where a zone has numbers only.
pub fn abbreviation_at(zone: &TimeZone, us: i64) -> Option<String> {
    let TimeZone::Named(zone) = zone else { return None };
    let offset = zone.offset_from_utc_datetime(&naive(us));
    offset.abbreviation().map(str::to_owned)
}

/// The offset of a zone that has always had the same one, seconds east.
pub fn constant_offset(zone: Tz) -> Option<i32> {
    // Every change of an offset is older than this year or in force for some weeks of it.
    const WEEK_US: i64 = 7 * super::DAY_US;
    const WEEKS: std::ops::Range<i64> = -6_300..4_000;
    let zone = TimeZone::Named(zone);
    let first = offset_at(&zone, 0);
    WEEKS.into_iter().all(|week| offset_at(&zone, week * WEEK_US) == first).then_some(first)
}

/// What a zone says at an instant.
#[derive(Debug)]
pub struct Moment {
    /// `CEST`; the offset in digits where a zone has numbers only.
    pub abbreviation: String,
    /// Seconds east of UTC.
    pub offset: i32,
    /// Whether it is summer time.
    pub is_dst: bool,
}

/// The names of all zones.
pub fn names() -> impl Iterator<Item = &'static str> {
    chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())
}

/// What a zone says at an instant.
pub fn at(name: &str, us: i64) -> Moment {
    let offset = by_name(name).unwrap_or(Tz::UTC).offset_from_utc_datetime(&naive(us));
    Moment {
        abbreviation: offset.abbreviation().unwrap_or_default().to_owned(),
        offset: offset.fix().local_minus_utc(),
        is_dst: !offset.dst_offset().is_zero(),
    }
}

/// Seconds east of UTC for a wall clock's time. In a gap it is the offset before the gap, and of two possible ones
/// the later (standard) one, as in PostgreSQL.
pub fn offset_of_local(zone: &TimeZone, local: i64) -> i32 {
    let zone = match zone {
        TimeZone::Fixed(seconds, _) => return *seconds,
        TimeZone::Named(zone) => zone,
    };
    match zone.offset_from_local_datetime(&naive(local)) {
        LocalResult::Single(offset) => offset.fix().local_minus_utc(),
        LocalResult::Ambiguous(_, later) => later.fix().local_minus_utc(),
        // No gap is longer than a day.
        LocalResult::None => offset_at(&TimeZone::Named(*zone), local - super::DAY_US - 14 * 3_600_000_000),
    }
}

/// For look-ups of offsets. The library's rules end with the 21st century; what they say then is repeated for a year
/// that has the same days of the week.
fn naive(us: i64) -> NaiveDateTime {
    let us = if us.abs() > YEARS_US { us % CYCLE_US } else { us };
    let moment = DateTime::from_timestamp_micros(us).unwrap_or_default().naive_utc();
    if moment.year() < 2100 {
        return moment;
    }
    // Within a century without exceptional leap years the days of the week repeat after 28 years.
    let year = LIKE_YEARS.into_iter().find(|year| {
        let first = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1).map(|day| (day.weekday(), day.leap_year()));
        first(*year) == first(moment.year())
    });
    year.and_then(|year| moment.with_year(year)).unwrap_or(moment)
}

/// Reads a zone: an IANA name in any case, an abbreviation, hours east, or a POSIX offset (`UTC+3`, `+02:00`: these
/// count west of Greenwich, PostgreSQL manual B.5).
pub fn parse(text: &str) -> Option<TimeZone> {
    let text = text.trim();
    if let Some(zone) = named(text) {
        return Some(zone);
    }
    if let Ok(hours) = text.parse::<f64>() {
        let seconds = (hours * 3600.0).round();
        return (seconds.abs() <= 604_800.0).then(|| TimeZone::Fixed(seconds as i32, text.to_owned()));
    }
    posix(text)
}

/// A zone of the IANA database or an abbreviation.
fn named(text: &str) -> Option<TimeZone> {
    if let Some(zone) = by_name(text) {
        return Some(TimeZone::Named(zone));
    }
    let seconds = abbreviation(&text.to_ascii_lowercase())?;
    Some(TimeZone::Fixed(seconds, text.to_ascii_uppercase()))
}

/// A zone as AT TIME ZONE takes it: a name, an abbreviation or a POSIX offset.
pub fn of_function(text: &str) -> Option<TimeZone> {
    named(text).or_else(|| posix(text))
}

/// `NAME±h[:m[:s]]`, where `NAME` says nothing and the sign counts west.
pub(super) fn posix(text: &str) -> Option<TimeZone> {
    let rest = match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>')?.1,
        None => text.trim_start_matches(|ch: char| ch.is_ascii_alphabetic()),
    };
    let (east, digits) = match rest.as_bytes().first()? {
        b'+' => (-1, &rest[1..]),
        b'-' => (1, &rest[1..]),
        b'0'..=b'9' => (-1, rest),
        _ => return None,
    };
    let mut parts = digits.split(':');
    let hours: i32 = parts.next()?.parse().ok()?;
    let minutes: i32 = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    let seconds: i32 = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    let valid = (0..=167).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    (valid && parts.next().is_none())
        .then(|| TimeZone::Fixed(east * (hours * 3600 + minutes * 60 + seconds), text.to_owned()))
}

/// A zone of the IANA database, its name in any case.
pub fn by_name(text: &str) -> Option<Tz> {
    // The spelling of the database is the usual one and found at once.
    text.parse()
        .ok()
        .or_else(|| chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text)).copied())
}

/// Seconds east of UTC of an abbreviation (lower case).
pub fn abbreviation(text: &str) -> Option<i32> {
    ABBREVIATIONS.binary_search_by_key(&text, |(name, _)| name).ok().map(|place| ABBREVIATIONS[place].1)
}

/// Every abbreviation (lower case) with its seconds east of UTC: PostgreSQL's default set.
#[rustfmt::skip]
pub static ABBREVIATIONS: &[(&str, i32)] = &[
    ("acdt", 37800), ("acsst", 37800), ("acst", 34200), ("act", -18000), ("acwst", 31500), ("adt", -10800),
    ("aedt", 39600), ("aesst", 39600), ("aest", 36000), ("aft", 16200), ("akdt", -28800), ("akst", -32400),
    ("almst", 25200), ("almt", 21600), ("amst", 14400), ("amt", -14400), ("anast", 43200), ("anat", 43200),
    ("arst", -10800), ("art", -10800), ("ast", -14400), ("awsst", 32400), ("awst", 28800), ("azost", 0), ("azot",
    -3600), ("azst", 14400), ("azt", 14400), ("bdst", 7200), ("bdt", 21600), ("bnt", 28800), ("bort", 28800),
    ("bot", -14400), ("bra", -10800), ("brst", -7200), ("brt", -10800), ("bst", 3600), ("btt", 21600), ("cadt",
    37800), ("cast", 34200), ("cct", 28800), ("cdt", -18000), ("cest", 7200), ("cet", 3600), ("cetdst", 7200),
    ("chadt", 49500), ("chast", 45900), ("chut", 36000), ("ckt", -36000), ("clst", -10800), ("clt", -10800),
    ("cot", -18000), ("cst", -21600), ("cxt", 25200), ("davt", 25200), ("ddut", 36000), ("easst", -18000), ("east",
    -18000), ("eat", 10800), ("edt", -14400), ("eest", 10800), ("eet", 7200), ("eetdst", 10800), ("egst", 0),
    ("egt", -3600), ("est", -18000), ("fet", 10800), ("fjst", 46800), ("fjt", 43200), ("fkst", -10800), ("fkt",
    -10800), ("fnst", -3600), ("fnt", -7200), ("galt", -21600), ("gamt", -32400), ("gest", 14400), ("get", 14400),
    ("gft", -10800), ("gilt", 43200), ("gmt", 0), ("gyt", -14400), ("hkt", 28800), ("hst", -36000), ("ict", 25200),
    ("idt", 10800), ("iot", 21600), ("irkst", 28800), ("irkt", 28800), ("irt", 12600), ("ist", 7200), ("jayt",
    32400), ("jst", 32400), ("kdt", 36000), ("kgst", 21600), ("kgt", 21600), ("kost", 39600), ("krast", 25200),
    ("krat", 25200), ("kst", 32400), ("lhdt", 39600), ("lhst", 37800), ("ligt", 36000), ("lint", 50400), ("lkt",
    19800), ("magst", 39600), ("magt", 39600), ("mart", -34200), ("mawt", 18000), ("mdt", -21600), ("mest", 7200),
    ("mesz", 7200), ("met", 3600), ("metdst", 7200), ("mez", 3600), ("mht", 43200), ("mmt", 23400), ("mpt", 36000),
    ("msd", 14400), ("msk", 10800), ("mst", -25200), ("must", 18000), ("mut", 14400), ("mvt", 18000), ("myt",
    28800), ("ndt", -9000), ("nft", -12600), ("novst", 25200), ("novt", 25200), ("npt", 20700), ("nst", -12600),
    ("nut", -39600), ("nzdt", 46800), ("nzst", 43200), ("nzt", 43200), ("omsst", 21600), ("omst", 21600), ("pdt",
    -25200), ("pet", -18000), ("petst", 43200), ("pett", 43200), ("pgt", 36000), ("pht", 28800), ("pkst", 21600),
    ("pkt", 18000), ("pmdt", -7200), ("pmst", -10800), ("pont", 39600), ("pst", -28800), ("pwt", 32400), ("pyst",
    -10800), ("pyt", -10800), ("ret", 14400), ("sadt", 37800), ("sast", 7200), ("sct", 14400), ("sgt", 28800),
    ("taht", -36000), ("tft", 18000), ("tjt", 18000), ("tkt", 46800), ("tmt", 18000), ("tot", 46800), ("trut",
    36000), ("tvt", 43200), ("uct", 0), ("ulast", 32400), ("ulat", 28800), ("ut", 0), ("utc", 0), ("uyst", -7200),
    ("uyt", -10800), ("uzst", 21600), ("uzt", 18000), ("vet", -14400), ("vlast", 36000), ("vlat", 36000), ("volt",
    10800), ("vut", 39600), ("wadt", 28800), ("wakt", 43200), ("wast", 25200), ("wat", 3600), ("wdt", 32400),
    ("wet", 0), ("wetdst", 3600), ("wft", 43200), ("wgst", -7200), ("wgt", -10800), ("xjt", 21600), ("yakst",
    32400), ("yakt", 32400), ("yapt", 36000), ("yekst", 21600), ("yekt", 18000), ("z", 0), ("zulu", 0),
];
