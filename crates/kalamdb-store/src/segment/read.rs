//! Reading segments: ranges of rows as batches, and one row by its key.
//!
//! A scan reads exactly the rows of one partition's key range that are not deleted: the range becomes row numbers,
//! the positional deletes become a row selection, and nothing is filtered afterwards. Columns are found by field id,
//! so a renamed column is still itself, and one that came after the segment reads as its missing value.

use super::location::Segments;
use super::prune::{group_starts, row_of, rows_in};
use super::write::{KEY, SEQ, UPDATED, shape_name};
use super::{ColdSegment, Deletes, SegmentError, SegmentRecord};
use crate::codec::CodecError;
use crate::codec::arrow::{missing_array, schema};
use crate::codec::key::{Edge, KeyRange};
use crate::codec::row::{RowEncoder, interval_of, stamp};
use crate::definition::{ColumnDef, Partition, TableDef};
use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, ListArray, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow_schema::SchemaRef;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use kalamdb_commons::array::{assemble, item_field};
use kalamdb_commons::{ColumnId, Numeric, Scope, SegmentId, Seq, SqlType};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelector};
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ParquetRecordBatchStreamBuilder, ProjectionMask};
use std::sync::Arc;

/// Batches of a segment's rows, ascending by key.
pub type SegmentScan = BoxStream<'static, Result<RecordBatch, SegmentError>>;

/// A row that was found by its key, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdRow {
    /// Its segment.
    pub segment: SegmentId,
    /// Its number there.
    pub row_number: u32,
    /// The stored row, header included.
    pub row: Vec<u8>,
}

/// What stands in front of the key in `_key`: nothing, or the user number.
pub fn key_prefix(scope: Scope) -> Vec<u8> {
    match scope {
        Scope::Shared => Vec::new(),
        Scope::User(user) => user.0.to_be_bytes().to_vec(),
    }
}

/// Whether the segment may hold keys of this range of a partition: by its key range alone, without a look into it.
pub fn overlaps(record: &SegmentRecord, scope: Scope, range: &KeyRange) -> bool {
    let range = range.behind(&key_prefix(scope));
    let above = range.start.as_slice() > record.max_key.as_slice();
    let below = range.end.as_deref().is_some_and(|end| end <= record.min_key.as_slice());
    !above && !below && !range.is_empty()
}

impl Segments {
    /// The rows of a partition whose keys are in the range, with these columns in this order (system columns may be
    /// among them), `batch_rows` at a time; with an edge only those there.
    ///
    /// # Errors
    /// The storage's; a damaged file.
    pub async fn scan(
        &self,
        partition: &Partition,
        range: &KeyRange,
        segment: &ColdSegment,
        columns: &[ColumnId],
        batch_rows: usize,
        edge: Option<Edge>,
    ) -> Result<SegmentScan, SegmentError> {
        let Partition { table, scope } = partition;
        if !overlaps(&segment.record, *scope, range) {
            return Ok(stream::empty().boxed());
        }
        let range = range.behind(&key_prefix(*scope));
        let rows = rows_in(self, &segment.record, &range).await?;
        let deletes = self.deletes_within(segment, &range).await?;
        let mut kept = deletes.kept(rows.start, rows.end);
        if let Some(edge) = edge {
            keep_edge(&mut kept, edge);
        }
        self.rows(table, *scope, &segment.record, &kept, columns, batch_rows).await
    }

    /// The segment's deletes, with those of the range that are known by their keys alone.
    async fn deletes_within(&self, segment: &ColdSegment, range: &KeyRange) -> Result<Arc<Deletes>, SegmentError> {
        let replaced: Vec<Vec<u8>> = segment.replaced.iter().filter(|key| range.contains(key)).cloned().collect();
        if replaced.is_empty() {
            return Ok(segment.deletes.clone());
        }
        let mut deletes = Deletes::clone(&segment.deletes);
        deletes.extend(self.locate(&segment.record, &replaced).await?.into_iter().flatten());
        Ok(Arc::new(deletes))
    }

    /// The live row with this key (the part behind the partition's prefix).
    ///
    /// # Errors
    /// The storage's; a damaged file.
    pub async fn get(
        &self,
        def: &TableDef,
        scope: Scope,
        key: &[u8],
        segment: &ColdSegment,
    ) -> Result<Option<ColdRow>, SegmentError> {
        let record = &segment.record;
        let full_key = [key_prefix(scope).as_slice(), key].concat();
        if segment.replaced.binary_search(&full_key).is_ok() {
            return Ok(None);
        }
        let Some(row_number) = row_of(self, record, &full_key).await? else { return Ok(None) };
        if segment.deletes.contains(row_number) {
            return Ok(None);
        }
        let row = self.stored_row(def, scope, record, row_number).await?;
        Ok(Some(ColdRow { segment: record.id, row_number, row }))
    }

    /// The numbers of the rows with these `_key`s (user number in front), deleted or not; `None` where there is none.
    /// Ascending keys share the pages they decode.
    ///
    /// # Errors
    /// The storage's; a damaged file.
    pub async fn locate(&self, record: &SegmentRecord, keys: &[Vec<u8>]) -> Result<Vec<Option<u32>>, SegmentError> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.push(row_of(self, record, key).await?);
        }
        Ok(rows)
    }

    async fn stored_row(
        &self,
        def: &TableDef,
        scope: Scope,
        record: &SegmentRecord,
        row_number: u32,
    ) -> Result<Vec<u8>, SegmentError> {
        let mut columns: Vec<ColumnId> = def.live_columns().map(|column| column.id).collect();
        columns.extend([ColumnId::SEQ, ColumnId::UPDATED]);
        let mut batches = self.rows(def, scope, record, &[(row_number, row_number + 1)], &columns, 1).await?;
        let damaged = |what| SegmentError::Damaged { path: record.path.clone(), what };
        let batch = batches.try_next().await?.ok_or_else(|| damaged("it has fewer rows than its footer says"))?;
        let mut row = RowEncoder::new(def, &batch, &columns)?.encode(0)?;
        let seq = batch.column(columns.len() - 2).as_primitive::<Int64Type>().value(0);
        let updated = batch.column(columns.len() - 1).as_primitive::<TimestampMicrosecondType>().value(0);
        stamp(&mut row, Seq(seq as u64), updated);
        Ok(row)
    }

    /// The rows of these runs of row numbers.
    async fn rows(
        &self,
        def: &TableDef,
        scope: Scope,
        record: &SegmentRecord,
        kept: &[(u32, u32)],
        columns: &[ColumnId],
        batch_rows: usize,
    ) -> Result<SegmentScan, SegmentError> {
        if kept.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let footer = self.footer(record).await?;
        let (groups, selection) = select(&group_starts(footer.metadata()), kept);
        let shape = Shape::new(def, scope, &footer, columns)?;
        let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(self.file(record)?, footer.clone())
            .with_row_groups(groups)
            .with_row_selection(selection)
            .with_projection(ProjectionMask::roots(footer.parquet_schema(), shape.roots.iter().copied()))
            .with_batch_size(batch_rows)
            .build()?;
        Ok(batches.map(move |batch| shape.apply(&batch?)).boxed())
    }
}

/// Leaves so many rows at one end of the runs.
fn keep_edge(runs: &mut Vec<(u32, u32)>, edge: Edge) {
    let mut left = u32::try_from(edge.rows()).unwrap_or(u32::MAX);
    if matches!(edge, Edge::Last(_)) {
        runs.reverse();
    }
    runs.retain_mut(|(from, to)| {
        let here = left.min(*to - *from);
        match edge {
            Edge::First(_) => *to = *from + here,
            Edge::Last(_) => *from = *to - here,
        }
        left -= here;
        here > 0
    });
    if matches!(edge, Edge::Last(_)) {
        runs.reverse();
    }
}

/// The row groups that hold some of the kept runs, and the selection inside these groups.
fn select(group_starts: &[u32], kept: &[(u32, u32)]) -> (Vec<usize>, RowSelection) {
    let mut groups = Vec::new();
    let mut selectors = Vec::new();
    let mut runs = kept.iter().copied().peekable();
    for (group, bounds) in group_starts.windows(2).enumerate() {
        let (mut at, end) = (bounds[0], bounds[1]);
        let mut here = Vec::new();
        while let Some((from, to)) = runs.peek().copied().filter(|(from, _)| *from < end) {
            let (from, until) = (from.max(bounds[0]), to.min(end));
            here.push(RowSelector::skip((from - at) as usize));
            here.push(RowSelector::select((until - from) as usize));
            at = until;
            if to > end {
                break;
            }
            runs.next();
        }
        if !here.is_empty() {
            here.push(RowSelector::skip((end - at) as usize));
            groups.push(group);
            selectors.extend(here);
        }
    }
    (groups, RowSelection::from(selectors))
}

/// How a file's columns become the asked-for ones.
struct Shape {
    schema: SchemaRef,
    /// The file's columns that are read, ascending.
    roots: Vec<usize>,
    columns: Vec<Made>,
}

/// Where an asked-for column comes from.
enum Made {
    /// From the read column at this place, as it is.
    AsRead(usize),
    /// From the read column at this place, from another form.
    Converted(usize, ColumnDef),
    /// Arrays: the items from one place, their shapes from another, if the segment has any.
    Arrays(usize, Option<usize>, ColumnDef),
    /// From `_key` at this place, without what stands in front.
    Key(usize, usize),
    /// The column came after the segment.
    Missing(ColumnDef),
    NotDeleted,
    TableOid(u32),
}

impl Shape {
    fn new(
        def: &TableDef,
        scope: Scope,
        footer: &ArrowReaderMetadata,
        columns: &[ColumnId],
    ) -> Result<Self, SegmentError> {
        let root = |id: ColumnId| root_of(footer, id);
        let shapes = |id: ColumnId| place_of(footer, &shape_name(id));
        let is_array = |id: ColumnId| def.column(id).is_some_and(|column| column.ty.ty.is_array());
        let mut roots: Vec<usize> = columns.iter().filter_map(|id| root(*id)).collect();
        roots.extend(columns.iter().filter(|id| is_array(**id)).filter_map(|id| shapes(*id)));
        roots.sort_unstable();
        roots.dedup();
        let read = |root: usize| roots.binary_search(&root).ok();
        let place = |id: ColumnId| root(id).and_then(read);
        let made = |id: &ColumnId| {
            Ok(match *id {
                ColumnId::DELETED => Made::NotDeleted,
                ColumnId::TABLEOID => Made::TableOid(def.id.0),
                ColumnId::SEQ | ColumnId::UPDATED => Made::AsRead(place(*id).ok_or(CodecError::NoColumn(*id))?),
                ColumnId::ROW_KEY => Made::Key(place(*id).ok_or(CodecError::NoColumn(*id))?, key_prefix(scope).len()),
                id => {
                    let column = def.column(id).ok_or(CodecError::NoColumn(id))?;
                    match place(id) {
                        None => Made::Missing(column.clone()),
                        Some(place) if column.ty.ty.is_array() => {
                            Made::Arrays(place, shapes(id).and_then(read), column.clone())
                        }
                        Some(place) if is_converted(column.ty.ty) => Made::Converted(place, column.clone()),
                        Some(place) => Made::AsRead(place),
                    }
                }
            })
        };
        let made = columns.iter().map(made).collect::<Result<_, CodecError>>()?;
        Ok(Self { schema: schema(def, columns)?, roots, columns: made })
    }

    fn apply(&self, read: &RecordBatch) -> Result<RecordBatch, SegmentError> {
        let rows = read.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for made in &self.columns {
            arrays.push(match made {
                Made::AsRead(place) => read.column(*place).clone(),
                Made::Arrays(place, shapes, column) => {
                    arrays_from_file(column, read.column(*place), shapes.map(|at| read.column(at)))?
                }
                Made::Converted(place, column) => from_file(column, read.column(*place))?,
                Made::Key(place, prefix) => without_prefix(read.column(*place), *prefix)?,
                Made::Missing(column) => missing_array(column, rows)?,
                Made::NotDeleted => Arc::new(BooleanArray::from(vec![false; rows])),
                Made::TableOid(oid) => Arc::new(UInt32Array::from_value(*oid, rows)),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }
}

/// The file's column for one of ours: by name for the system columns, by field id for the table's.
fn root_of(footer: &ArrowReaderMetadata, id: ColumnId) -> Option<usize> {
    let fields = footer.schema().fields();
    let name = match id {
        ColumnId::SEQ => SEQ,
        ColumnId::UPDATED => UPDATED,
        ColumnId::ROW_KEY => KEY,
        _ => {
            let id = id.to_string();
            return fields.iter().position(|field| field.metadata().get(PARQUET_FIELD_ID_META_KEY) == Some(&id));
        }
    };
    place_of(footer, name)
}

fn place_of(footer: &ArrowReaderMetadata, name: &str) -> Option<usize> {
    footer.schema().fields().iter().position(|field| field.name() == name)
}

fn is_converted(ty: SqlType) -> bool {
    matches!(ty, SqlType::Numeric | SqlType::Interval)
}

/// Arrays from the lists and shapes of a file. A list's item field may carry the file's metadata.
fn arrays_from_file(column: &ColumnDef, lists: &ArrayRef, shapes: Option<&ArrayRef>) -> Result<ArrayRef, SegmentError> {
    let lists = lists.as_list_opt::<i32>().ok_or(CodecError::Damaged("an array is no list"))?;
    let items = match column.ty.ty {
        SqlType::NumericArray => numerics(lists.values())?,
        SqlType::IntervalArray => intervals(lists.values())?,
        _ => lists.values().clone(),
    };
    let field = item_field(items.data_type().clone());
    let lists = ListArray::try_new(field, lists.offsets().clone(), items, lists.nulls().cloned())?;
    let shapes = shapes.map(|shapes| shapes.as_binary_opt::<i32>().ok_or(CodecError::Damaged("shapes are not binary")));
    Ok(assemble(lists, shapes.transpose()?.cloned()))
}

fn without_prefix(array: &ArrayRef, prefix: usize) -> Result<ArrayRef, SegmentError> {
    if prefix == 0 {
        return Ok(array.clone());
    }
    let keys = array.as_binary_opt::<i32>().ok_or(CodecError::Damaged("keys are not binary"))?;
    let mut builder = BinaryBuilder::with_capacity(keys.len(), keys.value_data().len());
    for key in keys {
        builder.append_value(key.and_then(|key| key.get(prefix..)).ok_or(CodecError::Damaged("a key is cut"))?);
    }
    Ok(Arc::new(builder.finish()))
}

fn from_file(column: &ColumnDef, array: &ArrayRef) -> Result<ArrayRef, SegmentError> {
    match column.ty.ty {
        SqlType::Numeric => numerics(array),
        SqlType::Interval => intervals(array),
        _ => Ok(array.clone()),
    }
}

fn numerics(array: &ArrayRef) -> Result<ArrayRef, SegmentError> {
    let mut builder = BinaryBuilder::with_capacity(array.len(), array.len() * 12);
    let mut form = Vec::with_capacity(32);
    let mut append = |value: Option<Numeric>| {
        form.clear();
        match value {
            Some(value) => {
                value.write_bytes(&mut form);
                builder.append_value(&form);
            }
            None => builder.append_null(),
        }
    };
    if let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() {
        let scale =
            u16::try_from(decimals.scale()).map_err(|_| CodecError::Damaged("a decimal's scale is negative"))?;
        decimals.iter().for_each(|value| append(value.map(|value| Numeric::finite(value.into(), scale))));
    } else {
        let texts = array.as_string_opt::<i32>().ok_or(CodecError::Damaged("a numeric column is no number"))?;
        for text in texts {
            let value = text.map(|text| Numeric::parse(text).ok_or(CodecError::Damaged("a numeric is malformed")));
            append(value.transpose()?);
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn intervals(array: &ArrayRef) -> Result<ArrayRef, SegmentError> {
    let damaged = || CodecError::Damaged("an interval is malformed");
    let stored = array.as_fixed_size_binary_opt().ok_or_else(damaged)?;
    let value = |row: usize| -> Result<Option<IntervalMonthDayNano>, CodecError> {
        if stored.is_null(row) {
            return Ok(None);
        }
        let interval = interval_of(stored.value(row).try_into().map_err(|_| damaged())?);
        Ok(Some(IntervalMonthDayNano::new(interval.months, interval.days, interval.us.saturating_mul(1000))))
    };
    let values = (0..stored.len()).map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(PrimitiveArray::<IntervalMonthDayNanoType>::from(values)))
}
