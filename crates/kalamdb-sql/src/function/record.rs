//! Row values: made of fields, taken apart, compared (PostgreSQL manual 9.24.6), and asked whether they are NULL.

use super::compare::{key_of, write_key};
use super::rows::{self, Builder as _, Bytea, Push as _, Write as _, by_datum, fail, x};
use super::{Call, Function, Kind, json};
use crate::types;
use arrow_array::{Array, ArrayRef};
use kalamdb_commons::{Datum, PgType, RecordDatum, RecordField, Result, SqlError, SqlState, SqlType};
use std::cmp::Ordering;
use std::sync::Arc;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(2981 "record_eq" (Record, Record) -> Bool = |args, call| compared(args, call, Ordering::is_eq)),
    x!(2982 "record_ne" (Record, Record) -> Bool = |args, call| compared(args, call, Ordering::is_ne)),
    x!(2983 "record_lt" (Record, Record) -> Bool = |args, call| compared(args, call, Ordering::is_lt)),
    x!(2984 "record_gt" (Record, Record) -> Bool = |args, call| compared(args, call, Ordering::is_gt)),
    x!(2985 "record_le" (Record, Record) -> Bool = |args, call| compared(args, call, Ordering::is_le)),
    x!(2986 "record_ge" (Record, Record) -> Bool = |args, call| compared(args, call, Ordering::is_ge)),
];

/// A row value: the fields' names, a value that is NULL when there is no row, and the fields.
pub(crate) static ROW: Function =
    Function::new(9020, "row", &[SqlType::TextArray, SqlType::Any, SqlType::Any], SqlType::Record, Kind::Scalar(row))
        .lax()
        .variadic();

/// A field of a row value, by its place from 0.
pub(crate) static FIELD: Function =
    Function::new(9021, "field", &[SqlType::Record, SqlType::Int4], SqlType::Any, Kind::Scalar(field));

/// `record IS NULL`: there is no value, or every field is NULL.
pub(crate) static IS_NULL: Function = Function::new(
    9022,
    "row_is_null",
    &[SqlType::Record],
    SqlType::Bool,
    Kind::Scalar(|args, call| by_datum(args, call, |row| Ok(Datum::Bool(all(&row[0], true, Datum::is_null))))),
)
.lax();

/// `record IS NOT NULL`: there is a value, and no field is NULL.
pub(crate) static IS_NOT_NULL: Function = Function::new(
    9023,
    "row_is_not_null",
    &[SqlType::Record],
    SqlType::Bool,
    Kind::Scalar(|args, call| by_datum(args, call, |row| Ok(Datum::Bool(all(&row[0], false, |v| !v.is_null()))))),
)
.lax();

/// A row value with its fields as JSON: an aggregate makes JSON where the session's settings are not known.
pub(crate) static JSON_FIELDS: Function = Function::new(
    9024,
    "row_json_fields",
    &[SqlType::Record],
    SqlType::Record,
    Kind::Scalar(|args, call| by_datum(args, call, |row| json_fields(&row[0], call))),
)
.stable();

fn row(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let [names, there, fields @ ..] = args else { return Err(SqlError::internal("a row value without names")) };
    let returns = call.returns;
    if call.rows == 0 {
        return types::array_of(returns, &[]);
    }
    let Datum::Array(names) = types::datum_at(names.as_ref(), 0, SqlType::TextArray.into()) else {
        return Err(SqlError::internal("a row value's names are no array"));
    };
    let names: Vec<Arc<str>> = names.items.iter().map(|name| name.as_str().unwrap_or_default().into()).collect();
    let types = call.arg_types.get(2..).unwrap_or_default();
    let value = |row: usize| {
        if there.is_null(row) {
            return Datum::Null;
        }
        let fields = names.iter().zip(types).zip(fields).map(|((name, ty), values)| RecordField {
            name: name.clone(),
            ty: *ty,
            value: types::datum_at(values.as_ref(), row, *ty),
        });
        Datum::Record(Box::new(RecordDatum { fields: fields.collect() }))
    };
    types::array_of(returns, &(0..call.rows).map(value).collect::<Vec<_>>())
}

fn field(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let (Datum::Record(record), Some(place)) = (&row[0], row[1].as_i64()) else { return Ok(Datum::Null) };
        match usize::try_from(place).ok().and_then(|place| record.fields.get(place)) {
            Some(field) if field.ty.ty == call.returns.ty => Ok(field.value.clone()),
            // Rows of several shapes came together in one column.
            _ => fail(SqlState::DATATYPE_MISMATCH, "a record has other fields than the query expects"),
        }
    })
}

fn all(datum: &Datum, none: bool, test: impl Fn(&Datum) -> bool) -> bool {
    match datum {
        Datum::Record(record) => record.fields.iter().all(|field| test(&field.value)),
        _ => none,
    }
}

fn json_fields(datum: &Datum, call: &Call<'_>) -> Result<Datum> {
    let Datum::Record(record) = datum else { return Ok(Datum::Null) };
    let json = |field: &RecordField| {
        let value = match &field.value {
            Datum::Null => Datum::Null,
            value => Datum::text(json::json_text(value, field.ty, Some(call))?),
        };
        Ok(RecordField { name: field.name.clone(), ty: SqlType::Json.into(), value })
    };
    let fields = record.fields.iter().map(json).collect::<Result<_>>()?;
    Ok(Datum::Record(Box::new(RecordDatum { fields })))
}

fn compared(args: &[ArrayRef], call: &Call<'_>, test: fn(Ordering) -> bool) -> Result<ArrayRef> {
    by_datum(args, call, |row| match (&row[0], &row[1]) {
        (Datum::Record(left), Datum::Record(right)) => compare(left, right).map(|order| Datum::Bool(test(order))),
        _ => Ok(Datum::Null),
    })
}

/// `record_cmp`: by the first fields that differ; NULLs are equal, and above every value.
fn compare(left: &RecordDatum, right: &RecordDatum) -> Result<Ordering> {
    for (place, (a, b)) in left.fields.iter().zip(&right.fields).enumerate() {
        same_type(place, a.ty, b.ty)?;
        let order = key_of(&a.value, a.ty.ty)?.cmp(&key_of(&b.value, b.ty.ty)?);
        if order.is_ne() {
            return Ok(order);
        }
    }
    same_count(left, right).map(|()| Ordering::Equal)
}

fn same_type(place: usize, left: PgType, right: PgType) -> Result<()> {
    if left.ty == right.ty {
        return Ok(());
    }
    let (left, right) = (left.ty, right.ty);
    let message = format!("cannot compare dissimilar column types {left} and {right} at record column {}", place + 1);
    fail(SqlState::DATATYPE_MISMATCH, message)
}

fn same_count(left: &RecordDatum, right: &RecordDatum) -> Result<()> {
    if left.fields.len() == right.fields.len() {
        return Ok(());
    }
    fail(SqlState::DATATYPE_MISMATCH, "cannot compare record types with different numbers of columns")
}

/// The keys of a column of records, which must be of one shape: others have no order among each other.
pub(super) fn keys(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    let [values] = rows::arity(args)?;
    let mut out = Bytea::builder(call.rows);
    let mut shape: Option<Box<RecordDatum>> = None;
    for row in 0..call.rows {
        let datum = types::datum_at(values.as_ref(), row, SqlType::Record.into());
        let mut key = Vec::new();
        write_key(&datum, SqlType::Record, &mut key)?;
        out.push(key);
        let Datum::Record(record) = datum else { continue };
        match &shape {
            None => shape = Some(record),
            Some(shape) => {
                for (place, (a, b)) in shape.fields.iter().zip(&record.fields).enumerate() {
                    same_type(place, a.ty, b.ty)?;
                }
                same_count(shape, &record)?;
            }
        }
    }
    Ok(out.done(call))
}
