//! OVERLAPS (PostgreSQL manual 9.9): whether two periods have a moment in common.
//!
//! A period is two ends in any order, or a start and a length. Ends may be NULL: the answer is NULL only when it hangs
//! on what is not known.

use super::datetime::{DAY_US, plus, plus_zoned};
use super::rows::{by_datum, x};
use super::{Call, Function};
use kalamdb_commons::{Datum, Result};
use std::cmp::Ordering;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(1304 lax "overlaps" (Timestamptz, Timestamptz, Timestamptz, Timestamptz) -> Bool = overlaps),
    x!(1305 stable lax "overlaps" (Timestamptz, Interval, Timestamptz, Interval) -> Bool = overlaps),
    x!(1306 stable lax "overlaps" (Timestamptz, Timestamptz, Timestamptz, Interval) -> Bool = overlaps),
    x!(1307 stable lax "overlaps" (Timestamptz, Interval, Timestamptz, Timestamptz) -> Bool = overlaps),
    x!(1308 lax "overlaps" (Time, Time, Time, Time) -> Bool = overlaps),
    x!(1309 lax "overlaps" (Time, Interval, Time, Interval) -> Bool = overlaps),
    x!(1310 lax "overlaps" (Time, Time, Time, Interval) -> Bool = overlaps),
    x!(1311 lax "overlaps" (Time, Interval, Time, Time) -> Bool = overlaps),
    x!(2041 lax "overlaps" (Timestamp, Timestamp, Timestamp, Timestamp) -> Bool = overlaps),
    x!(2042 lax "overlaps" (Timestamp, Interval, Timestamp, Interval) -> Bool = overlaps),
    x!(2043 lax "overlaps" (Timestamp, Timestamp, Timestamp, Interval) -> Bool = overlaps),
    x!(2044 lax "overlaps" (Timestamp, Interval, Timestamp, Timestamp) -> Bool = overlaps),
];

pub(super) fn overlaps(args: &[arrow_array::ArrayRef], call: &Call<'_>) -> Result<arrow_array::ArrayRef> {
    by_datum(args, call, |row| {
        let first = (moment(&row[0]), end(&row[0], &row[1], call)?);
        let second = (moment(&row[2]), end(&row[2], &row[3], call)?);
        Ok(common(first, second).map_or(Datum::Null, Datum::Bool))
    })
}

fn moment(datum: &Datum) -> Option<i64> {
    match datum {
        Datum::Timestamp(us) | Datum::Timestamptz(us) | Datum::Time(us) => Some(*us),
        // The only bytes that come here are those of times with zones.
        Datum::Bytes(bytes) => Some(crate::types::datetime::Timetz::from_bytes(bytes).place()),
        _ => None,
    }
}

/// The second end, which may be told as a length.
fn end(start: &Datum, end: &Datum, call: &Call<'_>) -> Result<Option<i64>> {
    Ok(match (start, end) {
        (Datum::Timestamp(start), Datum::Interval(length)) => Some(plus(*start, *length)?),
        (Datum::Timestamptz(start), Datum::Interval(length)) => {
            Some(plus_zoned(*start, *length, &call.around.style().time_zone)?)
        }
        (Datum::Time(start), Datum::Interval(length)) => {
            Some((start + length.us.rem_euclid(DAY_US)).rem_euclid(DAY_US))
        }
        (_, end) => moment(end),
    })
}

/// The SQL standard's rule: a period without length is a moment, and a period's last moment is not part of it.
fn common(first: (Option<i64>, Option<i64>), second: (Option<i64>, Option<i64>)) -> Option<bool> {
    let (start, end) = ordered(first)?;
    let (other_start, other_end) = ordered(second)?;
    match start.cmp(&other_start) {
        Ordering::Equal => (end.is_some() && other_end.is_some()).then_some(true),
        Ordering::Greater => begins_within(start, end, other_end),
        Ordering::Less => begins_within(other_start, other_end, end),
    }
}

/// Whether the period that begins later begins before the other one's end.
fn begins_within(later_start: i64, later_end: Option<i64>, earlier_end: Option<i64>) -> Option<bool> {
    if later_start < earlier_end? {
        return Some(true);
    }
    later_end.map(|_| false)
}

/// A start and maybe an end; nothing when neither is known.
fn ordered((start, end): (Option<i64>, Option<i64>)) -> Option<(i64, Option<i64>)> {
    match (start, end) {
        (Some(start), Some(end)) if start > end => Some((end, Some(start))),
        (Some(start), end) => Some((start, end)),
        (None, Some(end)) => Some((end, None)),
        (None, None) => None,
    }
}
