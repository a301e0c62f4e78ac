//! Arrays of one dimension (PostgreSQL manual 9.19). Subscripts count from 1, those of the two vector types from 0.

use super::compare::key_of;
use super::rows::{by_datum, fail, k, text_of, x};
use super::{Call, Function, Kind, SetRows};
use kalamdb_commons::{ArrayDatum, Datum, PgType, Result, SqlError, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(378 lax "array_append" (Anycompatiblearray, Anycompatible) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        let mut items = items(&row[0]).to_vec();
        items.push(row[1].clone());
        Ok(array(items, call.returns))
    })),
    x!(379 lax "array_prepend" (Anycompatible, Anycompatiblearray) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        let items = std::iter::once(row[0].clone()).chain(items(&row[1]).iter().cloned()).collect();
        Ok(array(items, call.returns))
    })),
    x!(383 lax "array_cat" (Anycompatiblearray, Anycompatiblearray) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        match (row[0].is_null(), row[1].is_null()) {
            (true, _) => Ok(row[1].clone()),
            (_, true) => Ok(row[0].clone()),
            _ => Ok(array([items(&row[0]), items(&row[1])].concat(), call.returns)),
        }
    })),
    x!(2176 "array_length" (Anyarray, Int4) -> Int4 = |args, call| by_datum(args, call, |row| Ok(sized(row).map_or(Datum::Null, Datum::Int4)))),
    x!(2092 "array_upper" (Anyarray, Int4) -> Int4 = |args, call| by_datum(args, call, |row| Ok(sized(row).map_or(Datum::Null, |length| Datum::Int4(length - 1 + first(call)))))),
    x!(2091 "array_lower" (Anyarray, Int4) -> Int4 = |args, call| by_datum(args, call, |row| Ok(sized(row).map_or(Datum::Null, |_| Datum::Int4(first(call)))))),
    x!(3179 "cardinality" (Anyarray) -> Int4 = |args, call| by_datum(args, call, |row| Ok(Datum::Int4(items(&row[0]).len() as i32)))),
    x!(748 "array_ndims" (Anyarray) -> Int4 = |args, call| by_datum(args, call, |row| Ok(if items(&row[0]).is_empty() { Datum::Null } else { Datum::Int4(1) }))),
    x!(747 "array_dims" (Anyarray) -> Text = |args, call| by_datum(args, call, |row| Ok(match items(&row[0]).len() as i32 {
        0 => Datum::Null,
        length => Datum::text(format!("[{}:{}]", first(call), length - 1 + first(call))),
    }))),
    x!(3277 lax "array_position" (Anycompatiblearray, Anycompatible) -> Int4 = |args, call| by_datum(args, call, |row| position(row, call))),
    x!(3278 lax "array_position" (Anycompatiblearray, Anycompatible, Int4) -> Int4 = |args, call| by_datum(args, call, |row| position(row, call))),
    x!(3279 lax "array_positions" (Anycompatiblearray, Anycompatible) -> Int4Array = |args, call| by_datum(args, call, |row| {
        if row[0].is_null() {
            return Ok(Datum::Null);
        }
        let found = places(&row[0], &row[1], 0)?.into_iter().map(|place| Datum::Int4(place as i32 + first(call)));
        Ok(array(found.collect(), SqlType::Int4Array.into()))
    })),
    x!(3167 lax "array_remove" (Anycompatiblearray, Anycompatible) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        replaced(row, call, |_| None)
    })),
    x!(3168 lax "array_replace" (Anycompatiblearray, Anycompatible, Anycompatible) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        replaced(row, call, |row| Some(row[2].clone()))
    })),
    x!(6172 "trim_array" (Anyarray, Int4) -> Anyarray = |args, call| by_datum(args, call, |row| {
        let items = items(&row[0]);
        let cut = row[1].as_i64().and_then(|cut| items.len().checked_sub(usize::try_from(cut).ok()?));
        match cut {
            Some(kept) => Ok(array(items[..kept].to_vec(), call.returns)),
            None => fail(SqlState::ARRAY_ELEMENT_ERROR, format!("number of elements to trim must be between 0 and {}", items.len())),
        }
    })),
    x!(1193 lax "array_fill" (Anyelement, Int4Array) -> Anyarray = |args, call| by_datum(args, call, |row| {
        if row[1].is_null() {
            return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension array or low bound array cannot be null");
        }
        match items(&row[1]) {
            [] => Ok(array(Vec::new(), call.returns)),
            [count] => filled(&row[0], count, call),
            _ => Err(SqlError::unsupported("an array of several dimensions")),
        }
    })),
    x!(395 stable "array_to_string" (Anyarray, Text) -> Text = |args, call| by_datum(args, call, |row| joined(row, call))),
    x!(384 stable lax "array_to_string" (Anyarray, Text, Text) -> Text = |args, call| by_datum(args, call, |row| joined(row, call))),
    x!(2747 "arrayoverlap" (Anyarray, Anyarray) -> Bool = |args, call| by_datum(args, call, |row| {
        let keys = keys(&row[1])?;
        Ok(Datum::Bool(self::keys(&row[0])?.iter().any(|key| keys.contains(key))))
    })),
    x!(2748 "arraycontains" (Anyarray, Anyarray) -> Bool = |args, call| by_datum(args, call, |row| contains(&row[0], &row[1]))),
    x!(2749 "arraycontained" (Anyarray, Anyarray) -> Bool = |args, call| by_datum(args, call, |row| contains(&row[1], &row[0]))),

    k!(2331 "unnest" (Anyarray) -> Anyelement = Kind::Set(|args, _| Ok(unnest(args)))),
    k!(1192 "generate_subscripts" (Anyarray, Int4) -> Int4 = Kind::Set(|args, call| subscripts(&args, call))),
    k!(1191 "generate_subscripts" (Anyarray, Int4, Bool) -> Int4 = Kind::Set(|args, call| subscripts(&args, call))),
    k!(13208 columns(&[("x", SqlType::Anyelement), ("n", SqlType::Int4)]) "_pg_expandarray" (Anyarray) -> Record = Kind::Set(|args, _| {
        Ok(Box::new(items(&args[0]).to_vec().into_iter().enumerate().map(|(place, item)| Ok(vec![item, Datum::Int4(place as i32 + 1)]))))
    })),
];

/// The most items of an array: PostgreSQL's MaxArraySize is about as large.
const ITEMS_MAX: usize = 134_217_727;
/// The most bytes of a value on its way: PostgreSQL's MaxAllocSize.
const VALUE_BYTES_MAX: usize = 1 << 30;

/// `array_fill` with one dimension, within the items and the bytes that a value may have.
fn filled(item: &Datum, count: &Datum, call: &Call<'_>) -> Result<Datum> {
    let Some(count) = count.as_i64() else {
        return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension values cannot be null");
    };
    let bytes = size_of::<Datum>() + item.as_str().map_or(0, str::len);
    match usize::try_from(count) {
        Ok(count) if count <= ITEMS_MAX && count.saturating_mul(bytes) < VALUE_BYTES_MAX => {
            Ok(array(vec![item.clone(); count], call.returns))
        }
        _ => {
            let message = format!("array size exceeds the maximum allowed ({ITEMS_MAX})");
            fail(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        }
    }
}

pub(super) fn items(datum: &Datum) -> &[Datum] {
    match datum {
        Datum::Array(array) => &array.items,
        _ => &[],
    }
}

fn element_of(datum: &Datum) -> SqlType {
    match datum {
        Datum::Array(array) => array.element,
        _ => SqlType::Text,
    }
}

pub(super) fn array(items: Vec<Datum>, ty: PgType) -> Datum {
    Datum::Array(Box::new(ArrayDatum { element: ty.ty.element().unwrap_or(SqlType::Text), items }))
}

/// The subscript of the first item of the first argument.
fn first(call: &Call<'_>) -> i32 {
    let vector = call.arg_types.first().is_some_and(|ty| matches!(ty.ty, SqlType::Int2vector | SqlType::Oidvector));
    i32::from(!vector)
}

/// The length, when the dimension asked for is the one there is.
fn sized(row: &[Datum]) -> Option<i32> {
    let length = items(&row[0]).len() as i32;
    (length > 0 && row[1] == Datum::Int4(1)).then_some(length)
}

fn keys(datum: &Datum) -> Result<Vec<Vec<u8>>> {
    let element = element_of(datum);
    items(datum).iter().filter(|item| !item.is_null()).map(|item| key_of(item, element)).collect()
}

/// Whether every item of the second is in the first. NULL is in nothing.
fn contains(whole: &Datum, part: &Datum) -> Result<Datum> {
    if items(part).iter().any(Datum::is_null) {
        return Ok(Datum::Bool(false));
    }
    let whole: rustc_hash::FxHashSet<Vec<u8>> = keys(whole)?.into_iter().collect();
    Ok(Datum::Bool(keys(part)?.iter().all(|key| whole.contains(key))))
}

/// Where a value stands in an array, from a place on; NULL equals NULL here.
fn places(array: &Datum, wanted: &Datum, from: usize) -> Result<Vec<usize>> {
    let element = element_of(array);
    let wanted = key_of(wanted, element)?;
    let mut found = Vec::new();
    for (place, item) in items(array).iter().enumerate().skip(from) {
        if key_of(item, element)? == wanted {
            found.push(place);
        }
    }
    Ok(found)
}

fn position(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    if row[0].is_null() {
        return Ok(Datum::Null);
    }
    let from = match row.get(2) {
        None => 0,
        Some(Datum::Null) => return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"),
        Some(start) => (start.as_i64().unwrap_or(1) - i64::from(first(call))).max(0) as usize,
    };
    let found = places(&row[0], &row[1], from)?;
    Ok(found.first().map_or(Datum::Null, |place| Datum::Int4(*place as i32 + first(call))))
}

fn replaced(row: &[Datum], call: &Call<'_>, by: fn(&[Datum]) -> Option<Datum>) -> Result<Datum> {
    if row[0].is_null() {
        return Ok(Datum::Null);
    }
    let found = places(&row[0], &row[1], 0)?;
    let kept = items(&row[0])
        .iter()
        .enumerate()
        .filter_map(|(place, item)| if found.binary_search(&place).is_ok() { by(row) } else { Some(item.clone()) });
    Ok(array(kept.collect(), call.returns))
}

fn joined(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    let (Datum::Array(array), Some(separator)) = (&row[0], row[1].as_str()) else { return Ok(Datum::Null) };
    let null = row.get(2).and_then(Datum::as_str);
    let mut parts = Vec::with_capacity(array.items.len());
    for item in &array.items {
        match (item.is_null(), null) {
            (true, None) => {}
            (true, Some(null)) => parts.push(null.to_owned()),
            (false, _) => parts.push(text_of(item, array.element.into(), call)?),
        }
    }
    Ok(Datum::text(parts.join(separator)))
}

fn unnest(args: Vec<Datum>) -> SetRows {
    match args.into_iter().next() {
        Some(Datum::Array(array)) => Box::new(array.items.into_iter().map(|item| Ok(vec![item]))),
        _ => Box::new(std::iter::empty()),
    }
}

fn subscripts(args: &[Datum], call: &Call<'_>) -> Result<SetRows> {
    let Some(length) = sized(args) else { return Ok(Box::new(std::iter::empty())) };
    let (low, reverse) = (first(call), args.get(2) == Some(&Datum::Bool(true)));
    let high = low + length - 1;
    Ok(Box::new((low..=high).map(move |at| Ok(vec![Datum::Int4(if reverse { high - at + low } else { at })]))))
}
