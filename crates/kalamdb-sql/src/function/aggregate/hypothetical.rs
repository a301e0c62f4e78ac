//! Hypothetical-set aggregates (PostgreSQL manual 9.21): where a row would stand among the others,
//! `rank(5) WITHIN GROUP (ORDER BY x)`.
//!
//! The binder gives a word that says how each column is ordered, then the row's values, then the ordered columns.

use super::super::compare::key_of;
use super::super::rows::k;
use super::super::{Function, Kind};
use super::gather::ordered_set;
use crate::types;
use arrow_array::ArrayRef;
use datafusion_common::ScalarValue;
use kalamdb_commons::{PgType, Result, SqlType};
use std::cmp::Ordering;

#[rustfmt::skip]
pub(in super::super) static FUNCTIONS: &[Function] = &[
    k!(3986 lax variadic "rank" (Any) -> Int8 = Kind::Aggregate(|types| ordered_set("rank", types, SqlType::Int8, |columns, types| {
        Ok(ScalarValue::Int64(Some(place(columns, types)?.before + 1)))
    }))),
    k!(3992 lax variadic "dense_rank" (Any) -> Int8 = Kind::Aggregate(|types| ordered_set("dense_rank", types, SqlType::Int8, |columns, types| {
        Ok(ScalarValue::Int64(Some(place(columns, types)?.different_before + 1)))
    }))),
    k!(3988 lax variadic "percent_rank" (Any) -> Float8 = Kind::Aggregate(|types| ordered_set("percent_rank", types, SqlType::Float8, |columns, types| {
        let place = place(columns, types)?;
        Ok(ScalarValue::Float64(Some(if place.rows == 0 { 0.0 } else { place.before as f64 / place.rows as f64 })))
    }))),
    k!(3990 lax variadic "cume_dist" (Any) -> Float8 = Kind::Aggregate(|types| ordered_set("cume_dist", types, SqlType::Float8, |columns, types| {
        let place = place(columns, types)?;
        Ok(ScalarValue::Float64(Some((place.not_behind + 1) as f64 / (place.rows + 1) as f64)))
    }))),
];

/// How a column is ordered, as the binder writes it: a letter for each fact.
pub(crate) fn order_word(descending: bool, nulls_first: bool) -> String {
    let direction = if descending { 'd' } else { 'a' };
    let nulls = if nulls_first { 'f' } else { 'l' };
    format!("{direction}{nulls}")
}

/// Whether a function is one of these.
pub(crate) fn is_hypothetical(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

/// Where the row would stand.
#[derive(Default)]
struct Place {
    rows: i64,
    before: i64,
    different_before: i64,
    /// Before it, or its peers.
    not_behind: i64,
}

/// A row's values: the key of each, `None` for NULL.
type Keys = Vec<Option<Vec<u8>>>;

fn keys(columns: &[ArrayRef], types: &[PgType], row: usize) -> Result<Keys> {
    let key = |(column, ty): (&ArrayRef, &PgType)| {
        let datum = types::datum_at(column.as_ref(), row, *ty);
        if datum.is_null() { Ok(None) } else { key_of(&datum, ty.ty).map(Some) }
    };
    columns.iter().zip(types).map(key).collect()
}

/// The rows come in order.
fn place(columns: &[ArrayRef], types: &[PgType]) -> Result<Place> {
    let rows = columns[0].len();
    let width = (columns.len() - 1) / 2;
    let mut place = Place { rows: rows as i64, ..Place::default() };
    if rows == 0 {
        return Ok(place);
    }
    let word = types::datum_at(columns[0].as_ref(), 0, types[0]);
    let orders: Vec<char> = word.as_str().unwrap_or_default().chars().collect();
    let wanted = keys(&columns[1..=width], &types[1..=width], 0)?;
    let mut last: Option<Keys> = None;
    for row in 0..rows {
        let found = keys(&columns[1 + width..], &types[1 + width..], row)?;
        match compare(&found, &wanted, &orders) {
            Ordering::Less => {
                place.before += 1;
                place.not_behind += 1;
                if last.as_ref() != Some(&found) {
                    place.different_before += 1;
                    last = Some(found);
                }
            }
            Ordering::Equal => place.not_behind += 1,
            Ordering::Greater => break,
        }
    }
    Ok(place)
}

fn compare(a: &Keys, b: &Keys, orders: &[char]) -> Ordering {
    let columns = a.iter().zip(b).zip(orders.chunks_exact(2));
    columns.fold(Ordering::Equal, |so_far, ((a, b), order)| {
        so_far.then_with(|| {
            let nulls = if order[1] == 'f' { Ordering::Less } else { Ordering::Greater };
            match (a, b) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => nulls,
                (Some(_), None) => nulls.reverse(),
                (Some(a), Some(b)) if order[0] == 'd' => b.cmp(a),
                (Some(a), Some(b)) => a.cmp(b),
            }
        })
    })
}
