//! Which values of a referencing and a referenced column are equal: a foreign key may be between types that have a
//! comparison in common.

use kalamdb_commons::{Datum, Numeric, Result, SqlType};
use kalamdb_sql::function::{self, CastContext};

const DAY_US: i64 = 86_400_000_000;

/// What two types have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// They can be compared.
    Comparable,
    /// PostgreSQL compares them, KalamDB does not (yet).
    Unsupported,
    /// Nothing.
    Incompatible,
}

fn is_integer(ty: SqlType) -> bool {
    matches!(ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
}

fn is_float(ty: SqlType) -> bool {
    matches!(ty, SqlType::Float4 | SqlType::Float8)
}

fn is_text(ty: SqlType) -> bool {
    matches!(ty, SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Name)
}

/// Whether a column of type `from` may refer to one of type `to`.
pub(super) fn fit(from: SqlType, to: SqlType) -> Fit {
    let known = from == to
        || (is_integer(from) && (is_integer(to) || is_float(to) || to == SqlType::Numeric))
        || (is_float(from) && is_float(to))
        || (from == SqlType::Numeric && is_float(to))
        || (is_text(from) && is_text(to) && !(from == SqlType::Name && to == SqlType::Bpchar))
        || matches!((from, to), (SqlType::Date, SqlType::Timestamp) | (SqlType::Timestamp, SqlType::Date));
    if known {
        return Fit::Comparable;
    }
    let is_moment = |ty| matches!(ty, SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz);
    let is_cast = function::cast(from, to).is_some_and(|cast| cast.context <= CastContext::Implicit);
    match is_cast || (is_moment(from) && is_moment(to)) {
        true => Fit::Unsupported,
        false => Fit::Incompatible,
    }
}

/// Whether each value of one type equals at most one of the other, so that it can be looked up there.
pub(super) fn is_one_to_one(from: SqlType, to: SqlType) -> bool {
    from == to
        || (is_integer(from) && is_integer(to))
        || (matches!(from, SqlType::Text | SqlType::Varchar) && matches!(to, SqlType::Text | SqlType::Varchar))
}

/// The value of type `to` that equals one of type `from`, if there is one.
///
/// # Errors
/// 22003 for a numeric that no float can be near to.
pub(super) fn equal_in(value: &Datum, from: SqlType, to: SqlType) -> Result<Option<Datum>> {
    if from == to {
        return Ok(Some(value.clone()));
    }
    Ok(match (value, to) {
        (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_), _) => value.as_i64().and_then(|number| match to {
            SqlType::Int2 => i16::try_from(number).ok().map(Datum::Int2),
            SqlType::Int4 => i32::try_from(number).ok().map(Datum::Int4),
            SqlType::Int8 => Some(Datum::Int8(number)),
            SqlType::Float4 => Some(Datum::Float4(number as f32)),
            SqlType::Float8 => Some(Datum::Float8(number as f64)),
            SqlType::Numeric => Numeric::parse(&number.to_string()).map(Datum::Numeric),
            _ => None,
        }),
        (Datum::Float4(number), SqlType::Float8) => Some(Datum::Float8(f64::from(*number))),
        (Datum::Float8(number), SqlType::Float4) => {
            let near = *number as f32;
            (number.is_nan() || f64::from(near) == *number).then_some(Datum::Float4(near))
        }
        (Datum::Numeric(number), SqlType::Float8) => Some(Datum::Float8(number.to_f64()?)),
        (Datum::Numeric(number), SqlType::Float4) => Some(Datum::Float4(number.to_f32()?)),
        (Datum::Text(text), SqlType::Text | SqlType::Varchar | SqlType::Name) if from == SqlType::Bpchar => {
            Some(Datum::text(text.trim_end_matches(' ')))
        }
        (Datum::Text(_), _) => Some(value.clone()),
        (Datum::Date(day), SqlType::Timestamp) => match *day {
            i32::MAX => Some(Datum::Timestamp(i64::MAX)),
            i32::MIN => Some(Datum::Timestamp(i64::MIN)),
            day => i64::from(day).checked_mul(DAY_US).map(Datum::Timestamp),
        },
        (Datum::Timestamp(at), SqlType::Date) => match *at {
            i64::MAX => Some(Datum::Date(i32::MAX)),
            i64::MIN => Some(Datum::Date(i32::MIN)),
            at if at.rem_euclid(DAY_US) == 0 => i32::try_from(at.div_euclid(DAY_US)).ok().map(Datum::Date),
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use SqlType::*;

    #[test]
    fn values_of_other_types() {
        let cases = [
            (Datum::Int8(5), Int8, Int4, Some(Datum::Int4(5))),
            (Datum::Int8(5_000_000_000), Int8, Int4, None),
            (Datum::Int4(-3), Int4, Int8, Some(Datum::Int8(-3))),
            (Datum::Float8(0.1), Float8, Float4, None),
            (Datum::Float8(0.5), Float8, Float4, Some(Datum::Float4(0.5))),
            (Datum::text("a  "), Bpchar, Text, Some(Datum::text("a"))),
            (Datum::Date(1), Date, Timestamp, Some(Datum::Timestamp(DAY_US))),
            (Datum::Timestamp(DAY_US + 1), Timestamp, Date, None),
        ];
        for (value, from, to, equal) in cases {
            assert_eq!(equal_in(&value, from, to), Ok(equal), "{value:?} of {from} in {to}");
        }
    }

    #[test]
    fn what_fits() {
        let cases = [
            (Int4, Int8, Fit::Comparable),
            (Int8, Int2, Fit::Comparable),
            (Int4, Numeric, Fit::Comparable),
            (Numeric, Int4, Fit::Incompatible),
            (Text, Int4, Fit::Incompatible),
            (Text, Varchar, Fit::Comparable),
            (Date, Timestamptz, Fit::Unsupported),
            (Uuid, Text, Fit::Incompatible),
        ];
        for (from, to, expected) in cases {
            assert_eq!(fit(from, to), expected, "{from} to {to}");
        }
    }
}
