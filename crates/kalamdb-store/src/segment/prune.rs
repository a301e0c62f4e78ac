//! From keys to row numbers.
//!
//! Rows of a segment ascend by `_key`, so a range of keys is a range of rows: its two ends are found by the page
//! index and one page of keys each. The bounds that the index holds may be cut to fewer bytes; they are trusted to
//! exclude, never to include.

use super::location::Segments;
use super::write::KEY;
use super::{SegmentError, SegmentRecord};
use crate::codec::key::KeyRange;
use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray};
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelector};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use std::ops::Range;
use std::sync::Arc;

/// A page of the `_key` column.
struct Page {
    group: usize,
    /// Row numbers in the segment.
    rows: Range<u32>,
    /// The group's first row.
    group_start: u32,
}

/// The first row of each row group, and one past the last row of all.
pub(super) fn group_starts(metadata: &ParquetMetaData) -> Vec<u32> {
    let counts = metadata.row_groups().iter().map(|group| group.num_rows());
    let ends = counts.scan(0u32, |end, rows| {
        *end += rows as u32; // a segment has at most some millions of rows
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// The rows whose `_key` is in the range.
pub(super) async fn rows_in(
    segments: &Segments,
    record: &SegmentRecord,
    range: &KeyRange,
) -> Result<Range<u32>, SegmentError> {
    let start = first_at_or_above(segments, record, &range.start).await?;
    let end = match &range.end {
        Some(end) => first_at_or_above(segments, record, end).await?,
        None => record.rows as u32,
    };
    Ok(start..end.max(start))
}

/// The first row whose `_key` is at or above the key; the number of rows when there is none.
async fn first_at_or_above(segments: &Segments, record: &SegmentRecord, key: &[u8]) -> Result<u32, SegmentError> {
    if key <= record.min_key.as_slice() {
        return Ok(0);
    }
    if key > record.max_key.as_slice() {
        return Ok(record.rows as u32);
    }
    let footer = segments.footer(record).await?;
    for group in 0..footer.metadata().num_row_groups() {
        for page in pages_reaching(record, &footer, group, key)? {
            let keys = keys_of(segments, record, &footer, &page).await?;
            let below = below(&keys, key);
            if below < keys.len() {
                return Ok(page.rows.start + below as u32);
            }
        }
    }
    Ok(record.rows as u32)
}

/// How many of the ascending keys are below `key`.
fn below(keys: &BinaryArray, key: &[u8]) -> usize {
    let (mut from, mut to) = (0, keys.len());
    while from < to {
        let middle = from.midpoint(to);
        if keys.value(middle) < key {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

/// The row of exactly this `_key`, deleted or not: range, then filter, then the one page.
pub(super) async fn row_of(
    segments: &Segments,
    record: &SegmentRecord,
    key: &[u8],
) -> Result<Option<u32>, SegmentError> {
    if key < record.min_key.as_slice() || key > record.max_key.as_slice() {
        return Ok(None);
    }
    let footer = segments.footer(record).await?;
    for group in 0..footer.metadata().num_row_groups() {
        let pages = pages_reaching(record, &footer, group, key)?;
        if pages.is_empty() || !may_hold(segments, record, &footer, group, key).await? {
            continue;
        }
        for page in pages {
            let keys = keys_of(segments, record, &footer, &page).await?;
            let place = below(&keys, key);
            if place < keys.len() {
                return Ok((keys.value(place) == key).then_some(page.rows.start + place as u32));
            }
        }
    }
    Ok(None)
}

fn damaged(record: &SegmentRecord, what: &'static str) -> SegmentError {
    SegmentError::Damaged { path: record.path.clone(), what }
}

fn key_column(record: &SegmentRecord, footer: &ArrowReaderMetadata) -> Result<usize, SegmentError> {
    let columns = footer.parquet_schema().columns();
    columns.iter().position(|column| column.name() == KEY).ok_or_else(|| damaged(record, "it has no column _key"))
}

/// The pages of a group that can hold the key or a greater one, in order.
fn pages_reaching(
    record: &SegmentRecord,
    footer: &ArrowReaderMetadata,
    group: usize,
    key: &[u8],
) -> Result<Vec<Page>, SegmentError> {
    let column = key_column(record, footer)?;
    let metadata = footer.metadata();
    let index = metadata.column_index().and_then(|index| index.get(group)?.get(column));
    let offsets = metadata.offset_index().and_then(|index| index.get(group)?.get(column));
    let (Some(ColumnIndexMetaData::BYTE_ARRAY(index)), Some(offsets)) = (index, offsets) else {
        return Err(damaged(record, "it has no page index"));
    };
    let starts = group_starts(metadata);
    let (group_start, group_end) = (starts[group], starts[group + 1]);
    let first_rows: Vec<u32> =
        offsets.page_locations().iter().map(|page| group_start + page.first_row_index as u32).collect();
    let reaches = |page: &usize| index.max_value(*page).is_none_or(|max| max >= key);
    let page = |page: usize| Page {
        group,
        rows: first_rows[page]..first_rows.get(page + 1).copied().unwrap_or(group_end),
        group_start,
    };
    Ok((0..first_rows.len()).filter(reaches).map(page).collect())
}

async fn keys_of(
    segments: &Segments,
    record: &SegmentRecord,
    footer: &ArrowReaderMetadata,
    page: &Page,
) -> Result<Arc<BinaryArray>, SegmentError> {
    if let Some(keys) = segments.cached_keys(record.id, page.rows.start) {
        return Ok(keys);
    }
    let count = page.rows.len();
    let before = (page.rows.start - page.group_start) as usize;
    let selection = RowSelection::from(vec![RowSelector::skip(before), RowSelector::select(count)]);
    let column = key_column(record, footer)?;
    let batches: Vec<_> = ParquetRecordBatchStreamBuilder::new_with_metadata(segments.file(record)?, footer.clone())
        .with_row_groups(vec![page.group])
        .with_projection(ProjectionMask::leaves(footer.parquet_schema(), [column]))
        .with_row_selection(selection)
        .with_batch_size(count)
        .build()?
        .try_collect()
        .await?;
    let [batch] = batches.as_slice() else { return Err(damaged(record, "a page of keys is not whole")) };
    let keys = batch.column(0).as_binary_opt::<i32>().ok_or_else(|| damaged(record, "its keys are not binary"))?;
    if keys.len() != count || keys.null_count() > 0 {
        return Err(damaged(record, "a page of keys is not whole"));
    }
    let keys = Arc::new(keys.clone());
    segments.keep_keys(record.id, page.rows.start, keys.clone());
    Ok(keys)
}

async fn may_hold(
    segments: &Segments,
    record: &SegmentRecord,
    footer: &ArrowReaderMetadata,
    group: usize,
    key: &[u8],
) -> Result<bool, SegmentError> {
    let filter = match segments.cached_filter(record.id, group) {
        Some(filter) => filter,
        None => {
            let file = segments.file(record)?;
            let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file, footer.clone());
            let column = key_column(record, footer)?;
            let filter = builder.get_row_group_column_bloom_filter(group, column).await?.map(Arc::new);
            segments.keep_filter(record.id, group, filter.clone());
            filter
        }
    };
    Ok(filter.is_none_or(|filter| filter.check(key)))
}
