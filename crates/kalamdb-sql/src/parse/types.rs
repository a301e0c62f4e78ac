//! Type names, as people and drivers write them, to types with modifiers.

use super::fold;
use kalamdb_commons::sql_type::IntervalFields as Fields;
use kalamdb_commons::vector::DIMENSIONS_MAX;
use kalamdb_commons::{PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, DateTimeField, ExactNumberInfo, IntervalFields, ObjectName,
    TimezoneInfo,
};

/// PostgreSQL's limit of n in varchar(n) and char(n).
const LENGTH_MAX: u64 = 10_485_760;
/// Digits after the second that a timestamp keeps; more are cut, as in PostgreSQL.
const FRACTION_MAX: u64 = 6;

/// The type that a parsed type name means.
///
/// # Errors
/// 42704 for an unknown type, 0A000 for one of PostgreSQL's that is not there, 22023 for a wrong modifier.
pub fn type_of(ty: &DataType) -> Result<PgType> {
    use DataType as D;
    Ok(match ty {
        D::Bool | D::Boolean => SqlType::Bool.into(),
        D::Int2(_) | D::SmallInt(_) => SqlType::Int2.into(),
        D::Int(_) | D::Int4(_) | D::Integer(_) => SqlType::Int4.into(),
        D::Int8(_) | D::BigInt(_) => SqlType::Int8.into(),
        D::Float4 | D::Real => SqlType::Float4.into(),
        D::Float8 | D::DoublePrecision => SqlType::Float8.into(),
        D::Float(info) => float(info)?,
        D::Numeric(info) | D::Decimal(info) | D::Dec(info) => numeric(info)?,
        D::Text => SqlType::Text.into(),
        D::Varchar(length) | D::CharacterVarying(length) | D::CharVarying(length) => {
            character(SqlType::Varchar, "varchar", length.as_ref())?
        }
        D::Char(None) | D::Character(None) => PgType { ty: SqlType::Bpchar, typmod: 1 + 4 },
        D::Char(length) | D::Character(length) => character(SqlType::Bpchar, "char", length.as_ref())?,
        D::Bytea => SqlType::Bytea.into(),
        D::Uuid => SqlType::Uuid.into(),
        D::JSON => SqlType::Json.into(),
        D::JSONB => SqlType::Jsonb.into(),
        D::Regclass => SqlType::Regclass.into(),
        D::Date => SqlType::Date.into(),
        D::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => fraction(SqlType::Time, *precision),
        D::Time(precision, _) => fraction(SqlType::Timetz, *precision),
        D::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            fraction(SqlType::Timestamp, *precision)
        }
        D::Timestamp(precision, _) => fraction(SqlType::Timestamptz, *precision),
        D::Interval { fields, precision } => interval(fields.as_ref(), *precision),
        D::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Qualified(element, _)) => {
            array(type_of(element)?)?
        }
        D::Custom(name, modifiers) => {
            let modifiers: Vec<String> = modifiers.iter().map(|modifier| modifier.to_string()).collect();
            custom(name, &modifiers)?
        }
        other => return Err(SqlError::unsupported(subject(other))),
    })
}

/// The parts of a name that may be a user's type's, and whether the array over it is meant.
pub fn user_type_name(ty: &DataType) -> Option<(Vec<String>, bool)> {
    match ty {
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            Some((name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect(), false))
        }
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Qualified(element, _)) => {
            user_type_name(element).map(|(parts, _)| (parts, true))
        }
        _ => None,
    }
}

/// The subject of "… is not supported".
pub(super) fn subject(ty: &DataType) -> String {
    match ty {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => subject(element),
        other => format!("type {}", other.to_string().to_lowercase()),
    }
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn float(info: &ExactNumberInfo) -> Result<PgType> {
    match info {
        ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53) => Ok(SqlType::Float8.into()),
        ExactNumberInfo::Precision(1..=24) => Ok(SqlType::Float4.into()),
        ExactNumberInfo::Precision(0) => Err(invalid("precision for type float must be at least 1 bit")),
        _ => Err(invalid("precision for type float must be less than 54 bits")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<PgType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(SqlType::Numeric.into()),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    numeric_of(i64::try_from(precision).unwrap_or(i64::MAX), scale)
}

fn numeric_of(precision: i64, scale: i64) -> Result<PgType> {
    if !(1..=1000).contains(&precision) {
        return Err(invalid(format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    }
    // Both were bounded to four digits just now.
    let typmod = (((precision << 16) | (scale & 0x7ff)) + 4) as i32;
    Ok(PgType { ty: SqlType::Numeric, typmod })
}

fn character(ty: SqlType, name: &str, length: Option<&CharacterLength>) -> Result<PgType> {
    match length {
        None => Ok(ty.into()),
        Some(CharacterLength::IntegerLength { length, .. }) => character_of(ty, name, *length),
        Some(CharacterLength::Max) => Err(invalid(format!("length for type {name} must be at least 1"))),
    }
}

fn character_of(ty: SqlType, name: &str, length: u64) -> Result<PgType> {
    match length {
        0 => Err(invalid(format!("length for type {name} must be at least 1"))),
        1..=LENGTH_MAX => Ok(PgType { ty, typmod: length as i32 + 4 }),
        _ => Err(invalid(format!("length for type {name} cannot exceed {LENGTH_MAX}"))),
    }
}

fn fraction(ty: SqlType, precision: Option<u64>) -> PgType {
    PgType { ty, typmod: precision.map_or(-1, |digits| digits.min(FRACTION_MAX) as i32) }
}

/// `interval day to second(3)`.
fn interval(fields: Option<&IntervalFields>, precision: Option<u64>) -> PgType {
    let fields = fields.map(|fields| match fields {
        IntervalFields::Year => Fields::YEAR,
        IntervalFields::Month => Fields::MONTH,
        IntervalFields::Day => Fields::DAY,
        IntervalFields::Hour => Fields::HOUR,
        IntervalFields::Minute => Fields::MINUTE,
        IntervalFields::Second => Fields::SECOND,
        IntervalFields::YearToMonth => Fields::YEAR | Fields::MONTH,
        IntervalFields::DayToHour => Fields::DAY | Fields::HOUR,
        IntervalFields::DayToMinute => Fields::DAY | Fields::HOUR | Fields::MINUTE,
        IntervalFields::DayToSecond => Fields::DAY | Fields::HOUR | Fields::MINUTE | Fields::SECOND,
        IntervalFields::HourToMinute => Fields::HOUR | Fields::MINUTE,
        IntervalFields::HourToSecond => Fields::HOUR | Fields::MINUTE | Fields::SECOND,
        IntervalFields::MinuteToSecond => Fields::MINUTE | Fields::SECOND,
    });
    interval_of(fields, precision)
}

fn interval_of(fields: Option<Fields>, precision: Option<u64>) -> PgType {
    let digits = precision.map(|digits| digits.min(FRACTION_MAX) as u8);
    PgType { ty: SqlType::Interval, typmod: Fields::typmod(fields, digits) }
}

/// The type that a literal's fields say: `INTERVAL '1 2:03' DAY TO SECOND(1)`.
///
/// # Errors
/// 42601 for fields that do not go together.
pub fn interval_literal(
    from: Option<&DateTimeField>,
    to: Option<&DateTimeField>,
    precision: Option<u64>,
) -> Result<PgType> {
    let place = |field: &DateTimeField| {
        let all = [
            (DateTimeField::Year, Fields::YEAR),
            (DateTimeField::Month, Fields::MONTH),
            (DateTimeField::Day, Fields::DAY),
            (DateTimeField::Hour, Fields::HOUR),
            (DateTimeField::Minute, Fields::MINUTE),
            (DateTimeField::Second, Fields::SECOND),
        ];
        let found = all.into_iter().find(|(known, _)| known == field);
        found.map(|(_, bit)| bit).ok_or_else(|| unit_syntax(field))
    };
    let Some(from) = from else { return Ok(interval_of(None, precision)) };
    let first = place(from)?;
    let fields = match to {
        None => first,
        Some(to) => Fields::between(first, place(to)?).ok_or_else(|| unit_syntax(to))?,
    };
    Ok(interval_of(Some(fields), precision))
}

fn unit_syntax(field: &DateTimeField) -> SqlError {
    let word = field.to_string().to_lowercase();
    SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{word}\""))
}

fn array(element: PgType) -> Result<PgType> {
    // `int[][]` is `int[]`: PostgreSQL's arrays do not carry their dimensions.
    if element.ty.facts().name.starts_with('_') {
        return Ok(element);
    }
    match element.ty.array() {
        Some(ty) => Ok(PgType { ty, typmod: element.typmod }),
        None => Err(SqlError::unsupported(format!("type {element}[]"))),
    }
}

/// A name of `pg_type`, alone or in pg_catalog.
fn custom(name: &ObjectName, modifiers: &[String]) -> Result<PgType> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let shown = parts.join(".");
    let missing = || SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{shown}\" does not exist"));
    let bare = match parts.as_slice() {
        [bare] => bare.as_str(),
        [namespace, bare] if namespace == "pg_catalog" => bare.as_str(),
        // Where the extension is, PostgreSQL has the type in a namespace of people's, and dumps say so.
        [namespace, bare] if namespace == "public" && bare == "vector" => bare.as_str(),
        _ => return Err(missing()),
    };
    let quoted = name.0.last().and_then(|part| part.as_ident()).is_some_and(|ident| ident.quote_style.is_some());
    let number = |at: usize| modifiers.get(at).and_then(|text| text.parse::<i64>().ok());
    match (SqlType::from_name(bare), number(0)) {
        (Some(SqlType::Numeric), Some(precision)) => numeric_of(precision, number(1).unwrap_or(0)),
        (Some(SqlType::Varchar), Some(n)) => character_of(SqlType::Varchar, "varchar", u64::try_from(n).unwrap_or(0)),
        (Some(SqlType::Bpchar), Some(n)) => character_of(SqlType::Bpchar, "char", u64::try_from(n).unwrap_or(0)),
        (Some(ty @ (SqlType::Timestamp | SqlType::Timestamptz | SqlType::Time | SqlType::Timetz)), digits) => {
            Ok(fraction(ty, digits.and_then(|digits| u64::try_from(digits).ok())))
        }
        (Some(SqlType::Vector), _) if !modifiers.is_empty() => vector(modifiers),
        (Some(ty), _) if modifiers.is_empty() => Ok(ty.into()),
        (Some(_), _) => {
            let message = format!("type modifier is not allowed for type \"{bare}\"");
            Err(SqlError::new(SqlState::SYNTAX_ERROR, message))
        }
        (None, _) if !quoted && ABSENT.contains(&bare) => Err(SqlError::unsupported(format!("type {bare}"))),
        (None, _) => Err(missing()),
    }
}

/// vector(n)
fn vector(modifiers: &[String]) -> Result<PgType> {
    let [dimensions] = modifiers else { return Err(invalid("invalid type modifier")) };
    match dimensions.parse::<i64>().map(usize::try_from) {
        Ok(Err(_) | Ok(0)) => Err(invalid("dimensions for type vector must be at least 1")),
        Ok(Ok(n)) if n > DIMENSIONS_MAX => {
            Err(invalid(format!("dimensions for type vector cannot exceed {DIMENSIONS_MAX}")))
        }
        Ok(Ok(n)) => Ok(PgType { ty: SqlType::Vector, typmod: n as i32 }),
        Err(_) => {
            let message = format!("invalid input syntax for type integer: \"{dimensions}\"");
            Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message))
        }
    }
}

/// PostgreSQL's types that are not there yet.
#[rustfmt::skip]
const ABSENT: &[&str] = &[
    "bit", "box", "circle", "datemultirange", "daterange", "gtsvector", "int4multirange",
    "int4range", "int8multirange", "int8range", "line", "lseg", "money",
    "nummultirange", "numrange", "path", "pg_snapshot", "point", "polygon", "refcursor", "regconfig",
    "regdictionary", "tsmultirange", "tsquery",
    "tsrange", "tstzmultirange", "tstzrange", "tsvector", "txid_snapshot", "varbit", "xml",
];
