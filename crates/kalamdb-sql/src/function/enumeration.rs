//! Enums (PostgreSQL manual 9.10). A value is the rank of its label; the labels are the catalog's.

use super::rows::{by_datum, x};
use super::{Call, Function};
use arrow_array::ArrayRef;
use kalamdb_commons::{ArrayDatum, Datum, Oid, Result, SqlError, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(3528 stable lax "enum_first" (Anyenum) -> Anyenum = |args, call| by_datum(args, call, |_| end(call, ranks(call)?.first()))),
    x!(3529 stable lax "enum_last" (Anyenum) -> Anyenum = |args, call| by_datum(args, call, |_| end(call, ranks(call)?.last()))),
    x!(3530 stable lax "enum_range" (Anyenum, Anyenum) -> Anyarray = range),
    x!(3531 stable lax "enum_range" (Anyenum) -> Anyarray = |args, call| by_datum(args, call, |_| list(call, ranks(call)?))),
];

/// The enum that a call is about.
fn subject(call: &Call<'_>) -> Result<Oid> {
    call.arg_types
        .iter()
        .find_map(|ty| ty.ty.user_type())
        .ok_or_else(|| SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, "could not determine actual enum type"))
}

/// Its ranks.
fn ranks(call: &Call<'_>) -> Result<Vec<i64>> {
    Ok(call.around.catalog().enum_labels(subject(call)?).into_iter().map(|(rank, _)| rank).collect())
}

/// Its first or last value.
fn end(call: &Call<'_>, rank: Option<&i64>) -> Result<Datum> {
    if let Some(rank) = rank {
        return Ok(Datum::Int8(*rank));
    }
    let name = call.around.catalog().type_name(subject(call)?).unwrap_or_default();
    Err(SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("enum {name} contains no values")))
}

fn list(call: &Call<'_>, ranks: Vec<i64>) -> Result<Datum> {
    let element = call.arg_types.first().map_or(SqlType::Unknown, |ty| ty.ty);
    let items = ranks.into_iter().map(Datum::Int8).collect();
    Ok(ArrayDatum::usual(element, items).into())
}

fn range(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let (low, high) = (row[0].as_i64(), row[1].as_i64());
        let within = |rank: &i64| low.is_none_or(|low| *rank >= low) && high.is_none_or(|high| *rank <= high);
        list(call, ranks(call)?.into_iter().filter(within).collect())
    })
}
