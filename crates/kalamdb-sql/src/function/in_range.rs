//! Where a window's RANGE frame with an offset begins and ends: a row's value plus or minus the offset, and the order
//! that the other rows' values are held against (PostgreSQL's `in_range` functions, manual 38.16.3).

use super::datetime;
use crate::types::Style;
use crate::types::datetime::{PLACE_STEP, Timetz};
use kalamdb_commons::numeric::arithmetic::Op;
use kalamdb_commons::{Datum, Interval, Numeric, Result, SqlError, SqlState, SqlType};
use std::cmp::Ordering;

/// The type that an offset is cast to, for ORDER BY values of a type; `None` where PostgreSQL has no such frames.
pub fn offset_type(ordered: SqlType) -> Option<SqlType> {
    Some(match ordered {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => SqlType::Int8,
        SqlType::Float4 | SqlType::Float8 => SqlType::Float8,
        SqlType::Numeric => SqlType::Numeric,
        SqlType::Date
        | SqlType::Time
        | SqlType::Timetz
        | SqlType::Timestamp
        | SqlType::Timestamptz
        | SqlType::Interval => SqlType::Interval,
        _ => return None,
    })
}

/// A value as it is compared, or a bound between values. Those of one type are ordered as the type is.
#[derive(Clone, Debug)]
pub enum Place {
    /// Integers, days, microseconds: sums never leave the type.
    Whole(i128),
    /// NaN is above all.
    Real(f64),
    /// NaN is above all.
    Exact(Numeric),
}

impl Place {
    /// The order.
    pub fn compare(&self, other: &Place) -> Ordering {
        match (self, other) {
            (Place::Whole(a), Place::Whole(b)) => a.cmp(b),
            (Place::Real(a), Place::Real(b)) => a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
            (Place::Exact(a), Place::Exact(b)) => a.compare(b),
            // Values of one column are of one type.
            _ => Ordering::Equal,
        }
    }

    /// Where a value stands; `None` for NULL.
    pub fn of(value: &Datum) -> Option<Place> {
        Some(match value {
            Datum::Int2(value) => Place::Whole((*value).into()),
            Datum::Int4(value) => Place::Whole((*value).into()),
            Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::Timestamptz(value) => {
                Place::Whole((*value).into())
            }
            // Times with zones are the only bytes that frames can have an offset from.
            Datum::Bytes(bytes) => Place::Whole(Timetz::from_bytes(bytes).place().into()),
            Datum::Date(days) => Place::Whole(midnight(*days).into()),
            Datum::Interval(value) => Place::Whole(span(*value)),
            Datum::Float4(value) => Place::Real((*value).into()),
            Datum::Float8(value) => Place::Real(*value),
            Datum::Numeric(value) => Place::Exact(value.clone()),
            _ => return None,
        })
    }
}

/// A day's beginning as a timestamp; the infinities are the timestamps' own.
fn midnight(days: i32) -> i64 {
    match days {
        i32::MAX => i64::MAX,
        i32::MIN => i64::MIN,
        days => i64::from(days) * datetime::DAY_US,
    }
}

/// An interval as it is compared: a month has 30 days, a day 24 hours.
fn span(value: Interval) -> i128 {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    days * i128::from(datetime::DAY_US) + i128::from(value.us)
}

/// An offset that a frame can have.
///
/// # Errors
/// 22013 for a negative one and for NaN.
pub fn check_offset(ordered: SqlType, offset: &Datum) -> Result<()> {
    let is_bad = match offset {
        Datum::Int8(offset) => *offset < 0,
        Datum::Float8(offset) => offset.is_nan() || *offset < 0.0,
        Datum::Numeric(offset) => offset.sign() < 0 || matches!(offset, Numeric::NaN),
        // A time of day moves by the offset's time alone.
        Datum::Interval(offset) if matches!(ordered, SqlType::Time | SqlType::Timetz) => offset.us < 0,
        Datum::Interval(offset) => span(*offset) < 0,
        _ => false,
    };
    if is_bad {
        let message = "invalid preceding or following size in window function";
        return Err(SqlError::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, message));
    }
    Ok(())
}

/// The bound at an offset from a row's value, downwards or upwards; `None` for a row whose value is NULL. It is the
/// lowest value of a frame, or its highest: where an infinite offset leads back from an infinity, all but NaN is inside.
///
/// # Errors
/// 22008 when a timestamp leaves its range.
pub fn bound(value: &Datum, offset: &Datum, down: bool, is_lowest: bool, style: &Style) -> Result<Option<Place>> {
    let Some(place) = Place::of(value) else { return Ok(None) };
    Ok(Some(match (place, offset) {
        (Place::Whole(place), Datum::Int8(offset)) => {
            let offset = i128::from(*offset);
            Place::Whole(if down { place - offset } else { place + offset })
        }
        (Place::Real(place), Datum::Float8(offset)) => {
            let bound = if down { place - offset } else { place + offset };
            let meets = bound.is_nan() && !place.is_nan();
            Place::Real(if meets { if is_lowest { f64::NEG_INFINITY } else { f64::INFINITY } } else { bound })
        }
        (Place::Exact(place), Datum::Numeric(offset)) => {
            let bound = place.apply(if down { Op::Sub } else { Op::Add }, offset)?;
            let meets = matches!(bound, Numeric::NaN) && !matches!(place, Numeric::NaN);
            Place::Exact(if meets { if is_lowest { Numeric::NegInfinity } else { Numeric::Infinity } } else { bound })
        }
        (Place::Whole(place), Datum::Interval(offset)) => Place::Whole(moved(value, place, *offset, down, style)?),
        (place, _) => place,
    }))
}

fn moved(value: &Datum, place: i128, offset: Interval, down: bool, style: &Style) -> Result<i128> {
    let way = |offset: Interval| if down { datetime::negative(offset) } else { Ok(offset) };
    Ok(match value {
        Datum::Time(_) => place + if down { -i128::from(offset.us) } else { i128::from(offset.us) },
        Datum::Bytes(_) => {
            let offset = i128::from(offset.us) * i128::from(PLACE_STEP);
            place + if down { -offset } else { offset }
        }
        Datum::Interval(_) => place + if down { -span(offset) } else { span(offset) },
        Datum::Timestamptz(value) => datetime::plus_zoned(*value, way(offset)?, &style.time_zone)?.into(),
        Datum::Timestamp(value) => datetime::plus(*value, way(offset)?)?.into(),
        Datum::Date(days) => datetime::plus(midnight(*days), way(offset)?)?.into(),
        _ => place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: Datum, offset: Datum, down: bool) -> Place {
        bound(&value, &offset, down, down, &Style::default()).expect("a bound").expect("no NULL")
    }

    /// Integers' bounds never wrap around, and an infinite offset from an infinity reaches everything.
    #[test]
    fn bounds_saturate() {
        let high = at(Datum::Int8(i64::MAX), Datum::Int8(i64::MAX), false);
        assert_eq!(high.compare(&Place::Whole(i64::MAX.into())), Ordering::Greater);
        let low = at(Datum::Float8(f64::INFINITY), Datum::Float8(f64::INFINITY), true);
        assert_eq!(low.compare(&Place::Real(f64::MIN)), Ordering::Less);
        let nan = at(Datum::Float8(f64::NAN), Datum::Float8(1.0), true);
        assert_eq!(nan.compare(&Place::Real(f64::INFINITY)), Ordering::Greater);
        assert!(check_offset(SqlType::Float8, &Datum::Float8(f64::NAN)).is_err());
        assert!(check_offset(SqlType::Int4, &Datum::Int8(-1)).is_err());
    }
}
