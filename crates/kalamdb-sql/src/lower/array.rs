//! Arrays as the engine works on them: constructors, subscripts, slices, and expressions over their items.

use super::{Body, arrow, function};
use crate::bind::bound::Gather;
use crate::types;
use crate::types::string::{NAME_BYTES_MAX, char_of_byte, text_at};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Int32Array, ListArray, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Schema};
use kalamdb_commons::array::{
    Arrays, DIMENSIONS_MAX, Dimension, Shape, assemble, dimensions_of, item_field, shape_column,
};
use kalamdb_commons::{PgType, Result, SqlError, SqlState, SqlType};
use std::sync::Arc;

fn arrays(array: &ArrayRef) -> Result<Arrays<'_>> {
    Arrays::new(array.as_ref()).ok_or_else(|| SqlError::internal("an array expression is no array"))
}

fn lists_of(
    values: ArrayRef,
    lengths: impl IntoIterator<Item = usize>,
    nulls: Option<NullBuffer>,
) -> Result<ListArray> {
    let field = item_field(values.data_type().clone());
    ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, nulls).map_err(arrow)
}

/// ARRAY[…]: row by row one item of each argument.
pub(super) fn build(args: &[ArrayRef], rows: usize, ty: PgType) -> Result<ArrayRef> {
    let element = ty.ty.element().map_or(DataType::Utf8, SqlType::arrow);
    let lists = if args.is_empty() {
        lists_of(new_null_array(&element, 0), std::iter::repeat_n(0, rows), None)?
    } else {
        let sources: Vec<&dyn Array> = args.iter().map(AsRef::as_ref).collect();
        let places: Vec<(usize, usize)> =
            (0..rows).flat_map(|row| (0..args.len()).map(move |source| (source, row))).collect();
        let values = arrow_select::interleave::interleave(&sources, &places).map_err(arrow)?;
        lists_of(values, std::iter::repeat_n(args.len(), rows), None)?
    };
    Ok(assemble(lists, None))
}

/// ARRAY[…] of arrays: one dimension more than theirs.
pub(super) fn nest(args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let parts = args.iter().map(arrays).collect::<Result<Vec<_>>>()?;
    let values: Vec<&dyn Array> = parts.iter().map(|part| part.lists().values().as_ref()).collect();
    let mut places: Vec<(usize, usize)> = Vec::new();
    let (mut lengths, mut shapes) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in 0..rows {
        let before = places.len();
        let mut inner: Option<Vec<Dimension>> = None;
        let mut empty = false;
        for (source, part) in parts.iter().enumerate() {
            let range = part.range(row);
            let dimensions = match part.is_null(row) {
                true => Vec::new(),
                false => dimensions_of(part.shape(row).as_ref(), range.len(), 1),
            };
            if dimensions.is_empty() {
                empty = true;
                continue;
            }
            if *inner.get_or_insert_with(|| dimensions.clone()) != dimensions {
                return Err(unlike());
            }
            places.extend(range.map(|item| (source, item)));
        }
        let shape = match inner {
            None => None,
            Some(_) if empty => return Err(unlike()),
            Some(inner) if inner.len() == DIMENSIONS_MAX => return Err(types::too_many_dimensions(inner.len() + 1)),
            Some(inner) => {
                let outer = Dimension::new(1, parts.len() as i32);
                Shape::of(&[&[outer], inner.as_slice()].concat(), 1)
            }
        };
        shapes.push(shape);
        lengths.push(places.len() - before);
    }
    let values = arrow_select::interleave::interleave(&values, &places).map_err(arrow)?;
    Ok(assemble(lists_of(values, lengths, None)?, shape_column(shapes.iter().map(Option::as_ref))))
}

fn unlike() -> SqlError {
    let message = "multidimensional arrays must have array expressions with matching dimensions";
    SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
}

/// All values of a column as one array: `array_agg`, `ARRAY(SELECT …)`. Arrays become one dimension more.
///
/// # Errors
/// 22004 and 2202E for arrays that do not go together.
pub fn gathered(column: &ArrayRef, ty: PgType) -> Result<ArrayRef> {
    if !ty.ty.facts().name.starts_with('_') {
        return Ok(assemble(lists_of(column.clone(), [column.len()], None)?, None));
    }
    let parts = arrays(column)?;
    let mut inner: Option<Vec<Dimension>> = None;
    for row in 0..parts.len() {
        let refused = |state, message: &str| Err(SqlError::new(state, message));
        if parts.is_null(row) {
            return refused(SqlState::NULL_VALUE_NOT_ALLOWED, "cannot accumulate null arrays");
        }
        let dimensions = dimensions_of(parts.shape(row).as_ref(), parts.range(row).len(), 1);
        if dimensions.is_empty() {
            return refused(SqlState::ARRAY_SUBSCRIPT_ERROR, "cannot accumulate empty arrays");
        }
        if *inner.get_or_insert_with(|| dimensions.clone()) != dimensions {
            let message = "cannot accumulate arrays of different dimensionality";
            return refused(SqlState::ARRAY_SUBSCRIPT_ERROR, message);
        }
    }
    let inner = inner.unwrap_or_default();
    if inner.len() == DIMENSIONS_MAX {
        return Err(types::too_many_dimensions(inner.len() + 1));
    }
    let all = match parts.len() {
        0 => 0..0,
        rows => parts.range(0).start..parts.range(rows - 1).end,
    };
    let dimensions = [&[Dimension::new(1, parts.len() as i32)], inner.as_slice()].concat();
    types::check_dimensions(&dimensions)?;
    let values = parts.lists().values().slice(all.start, all.len());
    let shape = Shape::of(&dimensions, 1);
    Ok(assemble(lists_of(values, [all.len()], None)?, shape_column(std::iter::once(shape.as_ref()))))
}

/// A vector as an array: its subscripts go on counting from 0.
pub(super) fn from_vector(array: &ArrayRef) -> Result<ArrayRef> {
    let vectors = arrays(array)?;
    let shapes: Vec<Option<Shape>> = (0..vectors.len())
        .map(|row| match vectors.range(row).len() {
            0 => None,
            length => Shape::of(&[Dimension::new(0, length as i32)], 1),
        })
        .collect();
    Ok(assemble(vectors.lists().clone(), shape_column(shapes.iter().map(Option::as_ref))))
}

fn integer(array: &ArrayRef, row: usize) -> Option<i64> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int16 => array.as_any().downcast_ref::<arrow_array::Int16Array>().map(|a| i64::from(a.value(row))),
        DataType::Int32 => array.as_any().downcast_ref::<Int32Array>().map(|a| i64::from(a.value(row))),
        _ => array.as_any().downcast_ref::<arrow_array::Int64Array>().map(|a| a.value(row)),
    }
}

/// `a[i][j]`; NULL outside the array, and for more or fewer subscripts than it has dimensions.
pub(super) fn subscript(args: &[ArrayRef], first: i32) -> Result<ArrayRef> {
    let (array, places) = args.split_first().ok_or_else(|| SqlError::internal("a subscript of nothing"))?;
    if matches!(array.data_type(), DataType::Utf8 | DataType::Utf8View) {
        return Ok(name_bytes(array, places));
    }
    let arrays = arrays(array)?;
    let usual = !arrays.has_shapes();
    let found: UInt32Array = (0..arrays.len())
        .map(|row| {
            if arrays.is_null(row) {
                return None;
            }
            let range = arrays.range(row);
            if usual {
                let [place] = places else { return None };
                let place = integer(place, row)?.checked_sub(i64::from(first))?;
                let place = usize::try_from(place).ok().filter(|place| *place < range.len())?;
                return u32::try_from(range.start + place).ok();
            }
            let dimensions = dimensions_of(arrays.shape(row).as_ref(), range.len(), first);
            if dimensions.len() != places.len() {
                return None;
            }
            let mut at = 0;
            for (dimension, place) in dimensions.iter().zip(places) {
                let place = integer(place, row)?.checked_sub(i64::from(dimension.lower))?;
                let place = usize::try_from(place).ok().filter(|place| *place < dimension.count())?;
                at = at * dimension.count() + place;
            }
            u32::try_from(range.start + at).ok()
        })
        .collect();
    arrow_select::take::take(arrays.lists().values(), &found, None).map_err(arrow)
}

/// Bytes of names as "char": those behind a name's end are zero, up to the type's length.
fn name_bytes(names: &ArrayRef, places: &[ArrayRef]) -> ArrayRef {
    let byte = |row: usize| {
        let [place] = places else { return None };
        let place = usize::try_from(integer(place, row)?).ok().filter(|place| *place <= NAME_BYTES_MAX)?;
        Some(char_of_byte(text_at(names, row).as_bytes().get(place).copied().unwrap_or_default()))
    };
    let bytes = (0..names.len()).map(|row| names.is_valid(row).then(|| byte(row)).flatten());
    Arc::new(bytes.collect::<StringArray>())
}

/// `a[l:u][m:v]`: bounds outside the array are cut to it, a bound that is not given is the array's, a NULL bound gives
/// NULL. `given` says of each subscript which of its bounds are among the arguments. The result counts from 1.
pub(super) fn slice(args: &[ArrayRef], first: i32, given: &[(bool, bool)]) -> Result<ArrayRef> {
    let (array, mut bounds) = args.split_first().ok_or_else(|| SqlError::internal("a slice of nothing"))?;
    let arrays = arrays(array)?;
    let mut columns: Vec<(Option<&ArrayRef>, Option<&ArrayRef>)> = Vec::with_capacity(given.len());
    for (low, high) in given {
        let mut next = |is_given: bool| -> Option<&ArrayRef> {
            let (bound, rest) = bounds.split_first().filter(|_| is_given)?;
            bounds = rest;
            Some(bound)
        };
        columns.push((next(*low), next(*high)));
    }
    let mut places: Vec<u32> = Vec::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(arrays.len()), Vec::with_capacity(arrays.len()));
    let mut shapes = Vec::with_capacity(arrays.len());
    for row in 0..arrays.len() {
        let before = places.len();
        let null_bound = columns.iter().flat_map(|(low, high)| [*low, *high]).flatten().any(|bound| bound.is_null(row));
        valid.push(!arrays.is_null(row) && !null_bound);
        let mut shape = None;
        if !arrays.is_null(row) && !null_bound {
            let range = arrays.range(row);
            let dimensions = dimensions_of(arrays.shape(row).as_ref(), range.len(), first);
            if let Some(cuts) = cuts(&dimensions, &columns, row) {
                put_places(&dimensions, &cuts, range.start, &mut places);
                let kept: Vec<Dimension> = cuts.iter().map(|cut| Dimension::new(1, cut.len() as i32)).collect();
                shape = if first == 0 { None } else { Shape::of(&kept, 1) };
            }
        }
        shapes.push(shape);
        lengths.push(places.len() - before);
    }
    let values = arrow_select::take::take(arrays.lists().values(), &UInt32Array::from(places), None).map_err(arrow)?;
    let lists = lists_of(values, lengths, Some(NullBuffer::from(valid)))?;
    Ok(assemble(lists, shape_column(shapes.iter().map(Option::as_ref))))
}

/// For each dimension the places that a slice keeps, from 0; `None` when that is nothing.
fn cuts(
    dimensions: &[Dimension],
    columns: &[(Option<&ArrayRef>, Option<&ArrayRef>)],
    row: usize,
) -> Option<Vec<std::ops::Range<usize>>> {
    if dimensions.is_empty() || columns.len() > dimensions.len() {
        return None;
    }
    let mut cuts = Vec::with_capacity(dimensions.len());
    for (at, dimension) in dimensions.iter().enumerate() {
        let (low, high) = columns.get(at).copied().unwrap_or_default();
        let (lower, upper) = (i64::from(dimension.lower), i64::from(dimension.upper()));
        let from = low.and_then(|low| integer(low, row)).unwrap_or(lower).max(lower);
        let to = high.and_then(|high| integer(high, row)).unwrap_or(upper).min(upper);
        if from > to {
            return None;
        }
        cuts.push((from - lower) as usize..(to - lower + 1) as usize);
    }
    Some(cuts)
}

/// The places among all items of those that a slice keeps, in order.
fn put_places(dimensions: &[Dimension], cuts: &[std::ops::Range<usize>], start: usize, out: &mut Vec<u32>) {
    let [cut, cuts @ ..] = cuts else {
        // Items of a batch are counted in 31 bits.
        return out.push(start as u32);
    };
    let inner: usize = dimensions[1..].iter().map(|dimension| dimension.count()).product();
    for place in cut.clone() {
        put_places(&dimensions[1..], cuts, start + place * inner, out);
    }
}

/// Evaluates the body over all items of all rows at once, then gathers row by row.
pub(super) fn each_item(args: &[ArrayRef], body: &Body, gather: Gather) -> Result<ArrayRef> {
    let arrays = arrays(&args[0])?;
    let lists = arrays.lists();
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
    let items = lists.values().slice(first, last - first);
    let owners: UInt32Array =
        (0..lists.len()).flat_map(|row| std::iter::repeat_n(row as u32, arrays.range(row).len())).collect();
    let mut columns = vec![items];
    for around in &args[1..] {
        columns.push(arrow_select::take::take(around, &owners, None).map_err(arrow)?);
    }
    let fields =
        body.names.iter().zip(&columns).map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns).map_err(arrow)?;
    let results =
        body.expr.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows())).map_err(function::sql_error)?;
    let lengths = (0..lists.len()).map(|row| arrays.range(row).len());
    match gather {
        Gather::Array(_) => {
            let lists = lists_of(results, lengths, arrays.nulls().cloned())?;
            Ok(assemble(lists, arrays.has_shapes().then(|| arrays.shapes().clone())))
        }
        Gather::Any | Gather::All => {
            let results = results
                .as_any()
                .downcast_ref::<BooleanArray>()
                .ok_or_else(|| SqlError::internal("a test is no boolean"))?;
            let mut at = 0;
            let verdicts: BooleanArray = lengths
                .enumerate()
                .map(|(row, count)| {
                    let range = at..at + count;
                    at += count;
                    if arrays.is_null(row) {
                        return None;
                    }
                    verdict(results, range, gather == Gather::All)
                })
                .collect();
            Ok(Arc::new(verdicts))
        }
    }
}

/// Three-valued AND (`all`) or OR.
fn verdict(results: &BooleanArray, range: std::ops::Range<usize>, all: bool) -> Option<bool> {
    let mut unknown = false;
    for place in range {
        if results.is_null(place) {
            unknown = true;
        } else if results.value(place) != all {
            return Some(!all);
        }
    }
    (!unknown).then_some(all)
}
