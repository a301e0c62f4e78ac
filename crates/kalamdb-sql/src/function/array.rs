//! Arrays (PostgreSQL manual 9.19). Subscripts of the two vector types count from 0, others from 1 unless the array says
//! something else.

use super::compare::key_of;
use super::rows::{by_datum, fail, k, text_of, x};
use super::{Call, Function, Kind, SetRows};
use crate::types::{check_dimensions, too_many_dimensions};
use kalamdb_commons::array::{DIMENSIONS_MAX, Dimension, Shape, dimensions_of};
use kalamdb_commons::{ArrayDatum, Datum, PgType, Result, SqlError, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(378 lax "array_append" (Anycompatiblearray, Anycompatible) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        extended(&row[0], &row[1], End::Last, call)
    })),
    x!(379 lax "array_prepend" (Anycompatible, Anycompatiblearray) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        extended(&row[1], &row[0], End::First, call)
    })),
    x!(383 lax "array_cat" (Anycompatiblearray, Anycompatiblearray) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| {
        match (row[0].is_null(), row[1].is_null()) {
            (true, _) => Ok(row[1].clone()),
            (_, true) => Ok(row[0].clone()),
            _ => joined_arrays(&row[0], &row[1], call),
        }
    })),
    x!(2176 "array_length" (Anyarray, Int4) -> Int4 = |args, call| by_datum(args, call, |row| Ok(of_dimension(row, call, |dimension| dimension.length)))),
    x!(2092 "array_upper" (Anyarray, Int4) -> Int4 = |args, call| by_datum(args, call, |row| Ok(of_dimension(row, call, Dimension::upper)))),
    x!(2091 "array_lower" (Anyarray, Int4) -> Int4 = |args, call| by_datum(args, call, |row| Ok(of_dimension(row, call, |dimension| dimension.lower)))),
    x!(3179 "cardinality" (Anyarray) -> Int4 = |args, call| by_datum(args, call, |row| Ok(Datum::Int4(items(&row[0]).len() as i32)))),
    x!(748 "array_ndims" (Anyarray) -> Int4 = |args, call| by_datum(args, call, |row| Ok(match dimensions(&row[0], call).len() {
        0 => Datum::Null,
        count => Datum::Int4(count as i32),
    }))),
    x!(747 "array_dims" (Anyarray) -> Text = |args, call| by_datum(args, call, |row| Ok(match dimensions(&row[0], call).as_slice() {
        [] => Datum::Null,
        all => Datum::text(all.iter().map(|one| format!("[{}:{}]", one.lower, one.upper())).collect::<String>()),
    }))),
    x!(3277 lax "array_position" (Anycompatiblearray, Anycompatible) -> Int4 = |args, call| by_datum(args, call, |row| position(row, call))),
    x!(3278 lax "array_position" (Anycompatiblearray, Anycompatible, Int4) -> Int4 = |args, call| by_datum(args, call, |row| position(row, call))),
    x!(3279 lax "array_positions" (Anycompatiblearray, Anycompatible) -> Int4Array = |args, call| by_datum(args, call, |row| {
        if row[0].is_null() {
            return Ok(Datum::Null);
        }
        let first = searched(&row[0], call)?;
        let found = places(&row[0], &row[1], 0)?.into_iter().map(|place| Datum::Int4(place as i32 + first));
        Ok(array(found.collect(), SqlType::Int4Array.into()))
    })),
    x!(3167 lax "array_remove" (Anycompatiblearray, Anycompatible) -> Anycompatiblearray = |args, call| by_datum(args, call, |row| removed(row, call))),
    x!(3168 lax "array_replace" (Anycompatiblearray, Anycompatible, Anycompatible) -> Anycompatiblearray = |args, call| by_datum(args, call, replaced)),
    x!(6172 "trim_array" (Anyarray, Int4) -> Anyarray = |args, call| by_datum(args, call, |row| trimmed(row, call))),
    x!(1193 lax "array_fill" (Anyelement, Int4Array) -> Anyarray = |args, call| by_datum(args, call, |row| filled(row, call))),
    x!(1286 lax "array_fill" (Anyelement, Int4Array, Int4Array) -> Anyarray = |args, call| by_datum(args, call, |row| filled(row, call))),
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

/// The most bytes of a value on its way: PostgreSQL's MaxAllocSize.
const VALUE_BYTES_MAX: usize = 1 << 30;

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
    ArrayDatum::usual(ty.ty.element().unwrap_or(SqlType::Text), items).into()
}

/// An array of these dimensions.
fn shaped(items: Vec<Datum>, dimensions: &[Dimension], ty: PgType) -> Datum {
    let shape = Shape::of(dimensions, first_of(ty));
    ArrayDatum { element: ty.ty.element().unwrap_or(SqlType::Text), items, shape }.into()
}

/// The first subscript of a type's arrays that say nothing else.
fn first_of(ty: PgType) -> i32 {
    i32::from(!matches!(ty.ty, SqlType::Int2vector | SqlType::Oidvector))
}

fn of_array(datum: &Datum, first: i32) -> Vec<Dimension> {
    match datum {
        Datum::Array(array) => dimensions_of(array.shape.as_ref(), array.items.len(), first),
        _ => Vec::new(),
    }
}

/// The dimensions of the call's first argument.
fn dimensions(datum: &Datum, call: &Call<'_>) -> Vec<Dimension> {
    of_array(datum, call.arg_types.first().map_or(1, |ty| first_of(*ty)))
}

/// A fact of the dimension that is asked for.
fn of_dimension(row: &[Datum], call: &Call<'_>, fact: impl Fn(Dimension) -> i32) -> Datum {
    asked(row, call).map_or(Datum::Null, |dimension| Datum::Int4(fact(dimension)))
}

fn asked(row: &[Datum], call: &Call<'_>) -> Option<Dimension> {
    let at = usize::try_from(row[1].as_i64()?.checked_sub(1)?).ok()?;
    dimensions(&row[0], call).get(at).copied()
}

enum End {
    First,
    Last,
}

/// One item more, at an end.
fn extended(whole: &Datum, item: &Datum, end: End, call: &Call<'_>) -> Result<Datum> {
    let (mut dimension, mut items) = match of_array(whole, 1).as_slice() {
        [] => (Dimension::new(1, 0), Vec::new()),
        [only] => (*only, items(whole).to_vec()),
        _ => return fail(SqlState::DATA_EXCEPTION, "argument must be empty or one-dimensional array"),
    };
    let last = dimension.lower.checked_add(dimension.length);
    match end {
        End::Last if last.is_some_and(|last| last < i32::MAX) => items.push(item.clone()),
        End::First => items.insert(0, item.clone()),
        End::Last => return fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"),
    }
    dimension.length += 1;
    check_dimensions(&[dimension])?;
    Ok(shaped(items, &[dimension], call.returns))
}

/// Two arrays one after the other: of as many dimensions, or the one an item of the other.
fn joined_arrays(left: &Datum, right: &Datum, call: &Call<'_>) -> Result<Datum> {
    let (a, b) = (of_array(left, 1), of_array(right, 1));
    if a.is_empty() || b.is_empty() {
        return Ok(if b.is_empty() { left.clone() } else { right.clone() });
    }
    let incompatible = |detail: String| {
        Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "cannot concatenate incompatible arrays")
            .with_detail(detail))
    };
    let differing =
        || incompatible("Arrays with differing dimensions are not compatible for concatenation.".to_owned());
    let same = |a: &[Dimension], b: &[Dimension]| a.iter().zip(b).all(|(a, b)| a == b);
    let mut dimensions = match a.len() as i64 - b.len() as i64 {
        0 if same(&a[1..], &b[1..]) => {
            let mut all = a.clone();
            all[0].length = all[0].length.saturating_add(b[0].length);
            all
        }
        0 => {
            return incompatible(
                "Arrays with differing element dimensions are not compatible for concatenation.".to_owned(),
            );
        }
        -1 if same(&a, &b[1..]) => {
            let mut all = b.clone();
            all[0].length = all[0].length.saturating_add(1);
            all
        }
        1 if same(&a[1..], &b) => {
            let mut all = a.clone();
            all[0].length = all[0].length.saturating_add(1);
            all
        }
        -1 | 1 => return differing(),
        _ => {
            let detail =
                format!("Arrays of {} and {} dimensions are not compatible for concatenation.", a.len(), b.len());
            return incompatible(detail);
        }
    };
    check_dimensions(&dimensions)?;
    if dimensions.len() == 1 && first_of(call.returns) == 0 {
        dimensions[0].lower = 0;
    }
    Ok(shaped([items(left), items(right)].concat(), &dimensions, call.returns))
}

/// The first subscript of an array whose items are looked for.
fn searched(datum: &Datum, call: &Call<'_>) -> Result<i32> {
    match dimensions(datum, call).as_slice() {
        [] => Ok(1),
        [only] => Ok(only.lower),
        _ => Err(SqlError::unsupported("searching for elements in multidimensional arrays")),
    }
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
    let first = searched(&row[0], call)?;
    let from = match row.get(2) {
        None => 0,
        Some(Datum::Null) => return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"),
        Some(start) => (start.as_i64().unwrap_or(1) - i64::from(first)).max(0) as usize,
    };
    let found = places(&row[0], &row[1], from)?;
    Ok(found.first().map_or(Datum::Null, |place| Datum::Int4(*place as i32 + first)))
}

fn removed(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    let Datum::Array(whole) = &row[0] else { return Ok(Datum::Null) };
    let dimension = match of_array(&row[0], 1).as_slice() {
        [] => return Ok(row[0].clone()),
        [only] => *only,
        _ => return Err(SqlError::unsupported("removing elements from multidimensional arrays")),
    };
    let found = places(&row[0], &row[1], 0)?;
    let kept = whole.items.iter().enumerate().filter(|(place, _)| found.binary_search(place).is_err());
    let kept: Vec<Datum> = kept.map(|(_, item)| item.clone()).collect();
    let dimension = Dimension::new(dimension.lower, kept.len() as i32);
    Ok(if kept.is_empty() { array(kept, call.returns) } else { shaped(kept, &[dimension], call.returns) })
}

fn replaced(row: &[Datum]) -> Result<Datum> {
    let Datum::Array(whole) = &row[0] else { return Ok(Datum::Null) };
    let mut whole = whole.clone();
    for place in places(&row[0], &row[1], 0)? {
        whole.items[place] = row[2].clone();
    }
    Ok(Datum::Array(whole))
}

/// Without the last items of the first dimension. As a slice, the result counts from 1.
fn trimmed(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    let all = dimensions(&row[0], call);
    let length = all.first().map_or(0, |dimension| dimension.count());
    let kept = row[1].as_i64().and_then(|cut| length.checked_sub(usize::try_from(cut).ok()?));
    let Some(kept) = kept else {
        let message = format!("number of elements to trim must be between 0 and {length}");
        return fail(SqlState::ARRAY_ELEMENT_ERROR, message);
    };
    let inner: usize = all.iter().skip(1).map(|dimension| dimension.count()).product();
    let mut dimensions: Vec<Dimension> = all.iter().map(|dimension| Dimension::new(1, dimension.length)).collect();
    if kept == 0 {
        return Ok(array(Vec::new(), call.returns));
    }
    dimensions[0].length = kept as i32;
    Ok(shaped(items(&row[0])[..kept * inner].to_vec(), &dimensions, call.returns))
}

/// `array_fill`, within the items and the bytes that a value may have.
fn filled(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    let null = |what: &str| fail(SqlState::NULL_VALUE_NOT_ALLOWED, what);
    if row[1..].iter().any(Datum::is_null) {
        return null("dimension array or low bound array cannot be null");
    }
    let wrong = |detail: &str| {
        Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "wrong number of array subscripts").with_detail(detail))
    };
    if of_array(&row[1], 1).len() > 1 {
        return wrong("Dimension array must be one dimensional.");
    }
    let lengths = items(&row[1]);
    if lengths.iter().any(Datum::is_null) {
        return null("dimension values cannot be null");
    }
    if lengths.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(lengths.len()));
    }
    let lowers = match row.get(2) {
        None => vec![1; lengths.len()],
        Some(lowers) => {
            if of_array(lowers, 1).len() > 1 {
                return wrong("Dimension array must be one dimensional.");
            }
            if items(lowers).len() != lengths.len() {
                return wrong("Low bound array has different size than dimensions array.");
            }
            if items(lowers).iter().any(Datum::is_null) {
                return null("dimension values cannot be null");
            }
            items(lowers).iter().map(|lower| lower.as_i64().unwrap_or(1) as i32).collect()
        }
    };
    let pairs = lengths.iter().zip(lowers);
    let dimensions: Vec<Dimension> =
        pairs.map(|(length, lower)| Dimension::new(lower, length.as_i64().unwrap_or(0) as i32)).collect();
    let count = check_dimensions(&dimensions)?;
    let bytes = size_of::<Datum>() + row[0].as_str().map_or(0, str::len);
    if count.saturating_mul(bytes) >= VALUE_BYTES_MAX {
        let message = format!("array size exceeds the maximum allowed ({})", kalamdb_commons::array::ITEMS_MAX);
        return fail(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
    }
    Ok(shaped(vec![row[0].clone(); count], &dimensions, call.returns))
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
    let Some(dimension) = asked(args, call) else { return Ok(Box::new(std::iter::empty())) };
    let (low, high, reverse) = (dimension.lower, dimension.upper(), args.get(2) == Some(&Datum::Bool(true)));
    let at = move |place: i32| if reverse { high - place } else { low + place };
    Ok(Box::new((0..dimension.length).map(move |place| Ok(vec![Datum::Int4(at(place))]))))
}
