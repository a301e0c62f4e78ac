//! Constants: numbers by their size, strings as "unknown" until something gives them a type.

use super::bound::Scalar;
use super::{Binder, Position};
use crate::function::{CastContext, SessionValue};
use kalamdb_commons::{Datum, Numeric, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{Value, ValueWithSpan};

/// A constant of no known type yet.
pub(super) fn unknown(datum: Datum) -> Scalar {
    Scalar::Const(datum, SqlType::Unknown.into())
}

/// A bigint constant.
pub(super) fn bigint(value: i64) -> Scalar {
    Scalar::Const(Datum::Int8(value), SqlType::Int8.into())
}

/// A number as PostgreSQL's lexer types it: integer, bigint or numeric, whichever holds it.
pub(super) fn number(text: &str) -> Result<Scalar> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(value) = text.parse::<i32>() {
            return Ok(Scalar::Const(Datum::Int4(value), SqlType::Int4.into()));
        }
        if let Ok(value) = text.parse::<i64>() {
            return Ok(bigint(value));
        }
    }
    match Numeric::parse(text) {
        Some(value) => Ok(Scalar::Const(Datum::Numeric(value), SqlType::Numeric.into())),
        // What the lexer takes for a number is one: it has too many digits.
        None => Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")),
    }
}

/// A constant of one number type as another, when nothing is lost.
pub(super) fn converted(datum: &Datum, target: SqlType) -> Option<Datum> {
    if datum.is_null() {
        return Some(Datum::Null);
    }
    if let Some(value) = datum.as_i64() {
        return match target {
            SqlType::Int2 => i16::try_from(value).ok().map(Datum::Int2),
            SqlType::Int4 => i32::try_from(value).ok().map(Datum::Int4),
            SqlType::Int8 => Some(Datum::Int8(value)),
            SqlType::Numeric => Numeric::parse(&value.to_string()).map(Datum::Numeric),
            // Up to 2^53 every integer is a double.
            SqlType::Float8 if value.unsigned_abs() <= 1 << 53 => Some(Datum::Float8(value as f64)),
            SqlType::Oid | SqlType::Regclass => u32::try_from(value).ok().map(Datum::Oid),
            _ => None,
        };
    }
    match (datum, target) {
        (Datum::Text(_), SqlType::Text | SqlType::Varchar) => Some(datum.clone()),
        // Longer names are cut by the cast.
        (Datum::Text(text), SqlType::Name) if text.len() < 64 => Some(datum.clone()),
        (Datum::Numeric(value), SqlType::Float8) => value.to_f64().ok().map(Datum::Float8),
        (Datum::Oid(_), ty) if ty.is_oid_like() => Some(datum.clone()),
        _ => None,
    }
}

/// Text cut or padded to varchar(n) and char(n). Without `explicit`, only blanks may be cut.
pub(super) fn fitted_text(text: &str, ty: PgType, explicit: bool) -> Result<Option<Datum>> {
    let Some(length) = ty.char_length() else { return Ok(None) };
    let count = text.chars().count();
    if count > length {
        let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        let (kept, cut) = text.split_at(end);
        if !explicit && cut.chars().any(|ch| ch != ' ') {
            let message = format!("value too long for type {ty}");
            return Err(SqlError::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, message));
        }
        return Ok(Some(Datum::text(kept)));
    }
    if ty.ty == SqlType::Bpchar && count < length {
        let padded: String = text.chars().chain(std::iter::repeat_n(' ', length - count)).collect();
        return Ok(Some(Datum::text(padded)));
    }
    Ok(Some(Datum::text(text)))
}

impl Binder<'_> {
    /// A literal of the parser's.
    pub(super) fn value(&mut self, value: &ValueWithSpan) -> Result<Scalar> {
        Ok(match &value.value {
            Value::Number(text, _) => number(&text.to_string())?,
            Value::Boolean(value) => Scalar::Const(Datum::Bool(*value), SqlType::Bool.into()),
            Value::Null => unknown(Datum::Null),
            Value::Placeholder(text) => {
                let position = self.position(value);
                return self.parameter(text, position);
            }
            Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_) => {
                return Err(SqlError::unsupported("type bit").at(self.position(value)));
            }
            other => match other.clone().into_string() {
                Some(text) => unknown(Datum::text(text)),
                None => return Err(SqlError::unsupported("such a literal").at(self.position(value))),
            },
        })
    }

    /// A string constant read as a value of `ty`. Modifiers but an interval's are the caller's to apply.
    pub(super) fn typed_literal(&mut self, text: &str, ty: PgType, position: Position) -> Result<Scalar> {
        if let Some(scalar) = self.moment(text, ty.ty)? {
            return Ok(scalar);
        }
        let datum = self.names.constant(text, ty).map_err(|e| e.at(position))?;
        Ok(Scalar::Const(datum, ty))
    }

    /// 'now', 'today' and their kin mean the moment of execution, not of binding.
    fn moment(&mut self, text: &str, ty: SqlType) -> Result<Option<Scalar>> {
        if !matches!(ty, SqlType::Date | SqlType::Time | SqlType::Timetz | SqlType::Timestamp | SqlType::Timestamptz) {
            return Ok(None);
        }
        let word = text.trim().to_ascii_lowercase();
        let today = Scalar::Session(SessionValue::CurrentDate, SqlType::Date.into());
        let scalar = match (word.as_str(), ty) {
            ("now", SqlType::Timestamptz) => Scalar::Session(SessionValue::Now, ty.into()),
            ("now", SqlType::Timestamp) => Scalar::Session(SessionValue::LocalTimestamp, ty.into()),
            ("now", SqlType::Timetz) => Scalar::Session(SessionValue::CurrentTime, ty.into()),
            ("now", SqlType::Time) => Scalar::Session(SessionValue::LocalTime, ty.into()),
            ("now" | "today", _) => today,
            ("tomorrow" | "yesterday", SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz) => {
                let one = Scalar::Const(Datum::Int4(1), SqlType::Int4.into());
                let name = if word == "tomorrow" { "+" } else { "-" };
                self.binary(name, today, one, None)?
            }
            _ => return Ok(None),
        };
        self.coerce(scalar, ty.into(), CastContext::Explicit, None)
    }
}
