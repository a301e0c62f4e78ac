//! Dates and times in paths: what `.datetime()` reads, how they are compared and printed.

use super::super::Nowhere;
use super::super::datetime::{SECOND_US, date_to_timestamp, offset_at, utc_of};
use super::super::template::{self, Reading};
use super::evaluate::Zones;
use crate::types::{Style, to_text};
use kalamdb_commons::{Datum, Result, SqlError, SqlState, SqlType};
use std::cmp::Ordering;

/// A date, a time or both. Offsets are seconds east of UTC.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Moment {
    /// Days since 1970.
    Date(i32),
    /// Microseconds of the day.
    Time(i64),
    /// A local time of the day.
    Timetz { us: i64, offset_s: i64 },
    /// Microseconds since 1970.
    Timestamp(i64),
    /// Microseconds since 1970 UTC.
    Timestamptz { us: i64, offset_s: i64 },
}

/// What `.datetime()` without a template reads, tried in turn.
const TEMPLATES: [&str; 13] = [
    "yyyy-mm-dd",
    "HH24:MI:SS.USTZH:TZM",
    "HH24:MI:SS.USTZH",
    "HH24:MI:SSTZH:TZM",
    "HH24:MI:SSTZH",
    "HH24:MI:SS.US",
    "HH24:MI:SS",
    "yyyy-mm-dd HH24:MI:SS.USTZH:TZM",
    "yyyy-mm-dd HH24:MI:SS.USTZH",
    "yyyy-mm-dd HH24:MI:SSTZH:TZM",
    "yyyy-mm-dd HH24:MI:SSTZH",
    "yyyy-mm-dd HH24:MI:SS.US",
    "yyyy-mm-dd HH24:MI:SS",
];

/// Where a template has a blank between date and time, a `T` may stand.
const BETWEEN: &str = "\"T\"";

impl Moment {
    /// Reads a text by a template.
    pub(super) fn by_template(text: &str, template: &str) -> Result<Moment> {
        let Reading { date, time, offset_s } = template::read_exactly(text, template)?;
        Ok(match (date, time, offset_s) {
            (Some(date), Some(us), None) => Moment::Timestamp(date_to_timestamp(date)? + us),
            (Some(date), Some(us), Some(offset_s)) => {
                Moment::Timestamptz { us: date_to_timestamp(date)? + us - offset_s * SECOND_US, offset_s }
            }
            (Some(date), None, None) => Moment::Date(date),
            (None, Some(us), None) => Moment::Time(us),
            (None, Some(us), Some(offset_s)) => Moment::Timetz { us, offset_s },
            (Some(_), None, Some(_)) => return Err(incomplete("datetime format is zoned but not timed")),
            (None, None, _) => return Err(incomplete("datetime format is not dated and not timed")),
        })
    }

    /// Reads a text in one of the ISO forms.
    pub(super) fn iso(text: &str) -> Option<Moment> {
        TEMPLATES.iter().find_map(|template| {
            let by_blank = Moment::by_template(text, template).ok();
            by_blank.or_else(|| {
                let (date, time) = template.split_once(' ')?;
                Moment::by_template(text, &format!("{date}{BETWEEN}{time}")).ok()
            })
        })
    }

    pub(super) fn type_name(self) -> &'static str {
        match self {
            Moment::Date(_) => "date",
            Moment::Time(_) => "time without time zone",
            Moment::Timetz { .. } => "time with time zone",
            Moment::Timestamp(_) => "timestamp without time zone",
            Moment::Timestamptz { .. } => "timestamp with time zone",
        }
    }

    /// PostgreSQL's short name of the type.
    fn short_name(self) -> &'static str {
        match self {
            Moment::Date(_) => "date",
            Moment::Time(_) => "time",
            Moment::Timetz { .. } => "timetz",
            Moment::Timestamp(_) => "timestamp",
            Moment::Timestamptz { .. } => "timestamptz",
        }
    }

    /// The order of two; `None` when they cannot be compared.
    ///
    /// # Errors
    /// 0A000 where the session's time zone would be needed and must not be used; 22008 when a date is too far away.
    pub(super) fn compare(self, other: Moment, zones: Zones<'_>) -> Result<Option<Ordering>> {
        use Moment::{Date, Time, Timestamp, Timestamptz, Timetz};
        Ok(Some(match (self, other) {
            (Date(a), Date(b)) => a.cmp(&b),
            (Time(a), Time(b)) | (Timestamp(a), Timestamp(b)) => a.cmp(&b),
            (Timetz { us: a, offset_s: at_a }, Timetz { us: b, offset_s: at_b }) => {
                let utc = |us: i64, offset_s: i64| us - offset_s * SECOND_US;
                // Equal moments are ordered by their zones, the western one last.
                utc(a, at_a).cmp(&utc(b, at_b)).then_with(|| at_b.cmp(&at_a))
            }
            (Timestamptz { us: a, .. }, Timestamptz { us: b, .. }) => a.cmp(&b),
            (Date(a), Timestamp(b)) => date_to_timestamp(a)?.cmp(&b),
            (Date(a), Timestamptz { us: b, .. }) => zones.utc(date_to_timestamp(a)?, self, other)?.cmp(&b),
            (Timestamp(a), Timestamptz { us: b, .. }) => zones.utc(a, self, other)?.cmp(&b),
            (Time(us), Timetz { .. }) => {
                let offset_s = zones.offset_now(self, other)?;
                return Timetz { us, offset_s }.compare(other, zones);
            }
            (Timestamp(_) | Timestamptz { .. }, Date(_))
            | (Timestamptz { .. }, Timestamp(_))
            | (Timetz { .. }, Time(_)) => return Ok(other.compare(self, zones)?.map(Ordering::reverse)),
            (Date(_) | Timestamp(_) | Timestamptz { .. }, Time(_) | Timetz { .. })
            | (Time(_) | Timetz { .. }, Date(_) | Timestamp(_) | Timestamptz { .. }) => return Ok(None),
        }))
    }
}

impl Zones<'_> {
    fn check(&self, from: Moment, to: Moment) -> Result<()> {
        if self.usable {
            return Ok(());
        }
        let (from, to) = (from.short_name(), to.short_name());
        let message = format!("cannot convert value from {from} to {to} without time zone usage");
        let error = SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message);
        Err(error.with_hint("Use *_tz() function for time zone support."))
    }

    /// A local time of the session as UTC.
    fn utc(&self, local: i64, from: Moment, to: Moment) -> Result<i64> {
        self.check(from, to)?;
        utc_of(local, &self.style.time_zone)
    }

    /// The session's offset at the transaction's start.
    fn offset_now(&self, from: Moment, to: Moment) -> Result<i64> {
        self.check(from, to)?;
        Ok(i64::from(offset_at(self.around.transaction_start(), &self.style.time_zone)))
    }
}

impl std::fmt::Display for Moment {
    /// ISO 8601, with the offset that was read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text =
            |datum: Datum, ty: SqlType| to_text(&datum, ty.into(), &Style::default(), &Nowhere).unwrap_or_default();
        let dated = |local: i64, zone: &str| {
            let text = text(Datum::Timestamp(local), SqlType::Timestamp).replacen(' ', "T", 1);
            match text.strip_suffix(" BC") {
                Some(bare) => format!("{bare}{zone} BC"),
                None => format!("{text}{zone}"),
            }
        };
        f.write_str(&match *self {
            Moment::Date(days) => text(Datum::Date(days), SqlType::Date),
            Moment::Time(us) => text(Datum::Time(us), SqlType::Time),
            Moment::Timetz { us, offset_s } => text(Datum::Time(us), SqlType::Time) + &offset_text(offset_s),
            Moment::Timestamp(us) => dated(us, ""),
            Moment::Timestamptz { us, offset_s } => dated(us + offset_s * SECOND_US, &offset_text(offset_s)),
        })
    }
}

fn offset_text(offset_s: i64) -> String {
    let sign = if offset_s < 0 { '-' } else { '+' };
    let minutes = offset_s.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn incomplete(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_DATETIME_FORMAT, message)
}
