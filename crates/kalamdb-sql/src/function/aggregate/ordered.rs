//! Ordered-set aggregates (PostgreSQL manual 9.21): `percentile_cont(0.5) WITHIN GROUP (ORDER BY x)`.
//!
//! The arguments are the direct ones and then the ordered one, which is also what the rows are ordered by.

use super::super::compare::key_of;
use super::super::rows::{fail, interval_native, k};
use super::super::{Function, Kind, datetime};
use super::gather::ordered_set;
use crate::types;
use arrow_array::ArrayRef;
use datafusion_common::ScalarValue;
use kalamdb_commons::{ArrayDatum, Datum, PgType, Result, SqlState, SqlType};

#[rustfmt::skip]
pub(in super::super) static FUNCTIONS: &[Function] = &[
    k!(3974 lax "percentile_cont" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| ordered_set("percentile_cont", types, SqlType::Float8, |columns, types| percentiles(columns, types, between)))),
    k!(3976 lax "percentile_cont" (Float8, Interval) -> Interval = Kind::Aggregate(|types| ordered_set("percentile_cont", types, SqlType::Interval, |columns, types| percentiles(columns, types, between)))),
    k!(3980 lax "percentile_cont" (Float8Array, Float8) -> Float8Array = Kind::Aggregate(|types| ordered_set("percentile_cont", types, SqlType::Float8Array, |columns, types| percentiles(columns, types, between)))),
    k!(3982 lax "percentile_cont" (Float8Array, Interval) -> IntervalArray = Kind::Aggregate(|types| ordered_set("percentile_cont", types, SqlType::IntervalArray, |columns, types| percentiles(columns, types, between)))),
    k!(3972 lax "percentile_disc" (Float8, Anyelement) -> Anyelement = Kind::Aggregate(|types| ordered_set("percentile_disc", types, types[1].ty, |columns, types| percentiles(columns, types, at)))),
    k!(3978 lax "percentile_disc" (Float8Array, Anyelement) -> Anyarray = Kind::Aggregate(|types| ordered_set("percentile_disc", types, types[1].ty.array().unwrap_or(SqlType::TextArray), |columns, types| percentiles(columns, types, at)))),
    k!(3984 lax "mode" (Anyelement) -> Anyelement = Kind::Aggregate(|types| ordered_set("mode", types, types[0].ty, mode))),
];

fn values(column: &ArrayRef, ty: PgType) -> Vec<Datum> {
    (0..column.len()).map(|row| types::datum_at(column.as_ref(), row, ty)).filter(|datum| !datum.is_null()).collect()
}

/// One percentile, or one for each item of an array.
fn percentiles(
    columns: &[ArrayRef],
    types: &[PgType],
    pick: fn(&[Datum], f64) -> Result<Datum>,
) -> Result<ScalarValue> {
    let (direct, ordered) = (types[0], types[1]);
    let list = direct.ty.is_array();
    let returns = if list { ordered.ty.array().unwrap_or(SqlType::TextArray) } else { ordered.ty };
    // The direct argument is the same in all rows.
    let wanted = match columns[0].len() {
        0 => Datum::Null,
        _ => types::datum_at(columns[0].as_ref(), 0, direct),
    };
    let values = values(&columns[1], ordered);
    let one = |wanted: &Datum| match wanted {
        Datum::Float8(percentile) if !(0.0..=1.0).contains(percentile) => {
            let message = format!("percentile value {percentile} is not between 0 and 1");
            fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
        }
        Datum::Float8(percentile) if !values.is_empty() => pick(&values, *percentile),
        _ => Ok(Datum::Null),
    };
    let result = match &wanted {
        Datum::Array(array) if !values.is_empty() => {
            let items = array.items.iter().map(one).collect::<Result<Vec<_>>>()?;
            ArrayDatum::usual(ordered.ty, items).into()
        }
        Datum::Array(_) => Datum::Null,
        wanted => one(wanted)?,
    };
    types::scalar_value(&result, returns.into())
}

/// The value below which so large a part of the rows lies.
fn at(values: &[Datum], percentile: f64) -> Result<Datum> {
    let row = (percentile * values.len() as f64).ceil() as usize;
    Ok(values[row.saturating_sub(1).min(values.len() - 1)].clone())
}

/// As [`at`], between two rows in proportion.
fn between(values: &[Datum], percentile: f64) -> Result<Datum> {
    let place = percentile * (values.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    let share = place - low as f64;
    match (&values[low], &values[high]) {
        (Datum::Float8(a), Datum::Float8(b)) if low != high => Ok(Datum::Float8(a + (b - a) * share)),
        (Datum::Interval(a), Datum::Interval(b)) if low != high => {
            let apart = datetime::sum(*b, datetime::negative(*a)?)?;
            let value = datetime::sum(*a, datetime::scaled(apart, |part| part * share)?)?;
            interval_native(value)?;
            Ok(Datum::Interval(value))
        }
        (value, _) => Ok(value.clone()),
    }
}

/// The most frequent value; of several the first.
fn mode(columns: &[ArrayRef], types: &[PgType]) -> Result<ScalarValue> {
    let values = values(&columns[0], types[0]);
    let (mut best, mut best_count): (Option<&Datum>, usize) = (None, 0);
    let (mut run, mut run_key) = (0, Vec::new());
    for value in &values {
        let key = key_of(value, types[0].ty)?;
        run = if key == run_key { run + 1 } else { 1 };
        run_key = key;
        if run > best_count {
            (best, best_count) = (Some(value), run);
        }
    }
    types::scalar_value(best.unwrap_or(&Datum::Null), types[0])
}
