//! Writing a segment: sorted batches in, one durable file out.
//!
//! The file is made for others as much as for us: columns by name with their stable number as field id, numeric(p,s)
//! as a decimal, timestamps as timestamps. What Parquet cannot say exactly is written so that nothing is lost: free
//! numeric as its text, interval as 16 bytes, the items of an array as a list with the array's dimensions in a column
//! beside it. A numeric(p,s) column with NaN in it is text in that file, too; the
//! flush learns of it by [`SegmentError::NoDecimal`] and begins the file again.

use super::location::{Segments, object_path};
use super::{SegmentError, SegmentRecord};
use crate::codec::arrow::system_type;
use crate::codec::row::interval_bytes;
use crate::definition::{ColumnDef, TableDef};
use arrow_array::builder::{Decimal128Builder, FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, IntervalMonthDayNanoType};
use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use kalamdb_commons::array::{Arrays, item_field};
use kalamdb_commons::{ColumnId, Interval, Numeric, PgType, SegmentId, Seq, SqlType, clock};
use num_traits::ToPrimitive;
use object_store::buffered::BufWriter;
use parquet::arrow::{AsyncArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Rows of a row group: the unit of pruning by statistics, and what a writer holds in memory.
pub const ROW_GROUP_ROWS: usize = 128 * 1024;
/// And its bytes, for wide rows.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Rows of a page: a point look-up decodes one.
const PAGE_ROWS: usize = 8192;
/// The false positive rate that 16 bits for each key give: `(1 - e^(-8/16))^8`.
const FILTER_FALSE_POSITIVES: f64 = 0.000_58;

/// The columns of ours in the file.
pub(super) const USER: &str = "_user";
pub(super) const SEQ: &str = "_seq";
pub(super) const UPDATED: &str = "_updated";
pub(super) const KEY: &str = "_key";

/// How a numeric stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumericForm {
    Decimal { precision: u8, scale: i8 },
    Text,
}

fn numeric_form(column: &ColumnDef, as_text: &BTreeSet<ColumnId>) -> NumericForm {
    match column.ty.precision_scale() {
        Some((precision, scale))
            if precision <= 38 && (0..=precision as i16).contains(&scale) && !as_text.contains(&column.id) =>
        {
            NumericForm::Decimal { precision: precision as u8, scale: scale as i8 }
        }
        _ => NumericForm::Text,
    }
}

/// The type that a column has in the file.
fn file_type(column: &ColumnDef, as_text: &BTreeSet<ColumnId>) -> DataType {
    match column.ty.ty {
        SqlType::Numeric => match numeric_form(column, as_text) {
            NumericForm::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            NumericForm::Text => DataType::Utf8,
        },
        SqlType::Interval => DataType::FixedSizeBinary(16),
        SqlType::NumericArray => list_of(DataType::Utf8),
        SqlType::IntervalArray => list_of(DataType::FixedSizeBinary(16)),
        ty => ty.element().map_or_else(|| ty.arrow(), |element| list_of(element.arrow())),
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(item_field(item))
}

/// The column with the shapes of an array column's arrays, NULL for usual ones.
pub(super) fn shape_name(id: ColumnId) -> String {
    format!("_shape_{id}")
}

/// The columns that [`SegmentWriter::write`] takes, in this order: the live ones, `_seq`, `_updated` and, as `ROW_KEY`,
/// the key with the user number in front (USER tables).
pub fn columns(def: &TableDef) -> Vec<ColumnId> {
    let live = def.live_columns().map(|column| column.id);
    live.chain([ColumnId::SEQ, ColumnId::UPDATED, ColumnId::ROW_KEY]).collect()
}

fn file_schema(def: &TableDef, as_text: &BTreeSet<ColumnId>) -> SchemaRef {
    let live = def.live_columns().map(|column| {
        let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), column.id.to_string())]);
        Field::new(column.name.as_str(), file_type(column, as_text), true).with_metadata(id)
    });
    let shapes = def.live_columns().filter(|column| column.ty.ty.is_array());
    let shapes = shapes.map(|column| Field::new(shape_name(column.id), DataType::Binary, true));
    let user = def.is_per_user().then(|| Field::new(USER, DataType::UInt32, false));
    let system = [(SEQ, ColumnId::SEQ), (UPDATED, ColumnId::UPDATED), (KEY, ColumnId::ROW_KEY)]
        .into_iter()
        .filter_map(|(name, id)| Some(Field::new(name, system_type(id)?, false)));
    Arc::new(Schema::new(live.chain(shapes).chain(user).chain(system).collect::<Vec<_>>()))
}

fn properties(def: &TableDef, schema: &Schema) -> Result<WriterProperties, SegmentError> {
    let path = |name: &str| ColumnPath::from(vec![name.to_owned()]);
    let key_columns = def.primary_key.iter().flat_map(|key| &key.columns);
    let key_names = key_columns.filter_map(|id| def.column(*id)).map(|column| column.name.as_str());
    // No column of ours is nested deeper than a list, so a root has one leaf and both have one number.
    let sorted_by = schema.index_of(KEY)? as i32;
    let fact = |name: &str, value: String| KeyValue::new(format!("kalamdb.{name}"), value);
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("kalamdb ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(1024)
        .set_sorting_columns(Some(vec![SortingColumn { column_idx: sorted_by, descending: false, nulls_first: false }]))
        .set_column_dictionary_enabled(path(KEY), false)
        .set_column_dictionary_enabled(path(SEQ), false)
        .set_column_encoding(path(SEQ), Encoding::DELTA_BINARY_PACKED)
        .set_key_value_metadata(Some(vec![
            fact("table_id", def.id.to_string()),
            fact("schema_version", def.schema_version.to_string()),
        ]));
    for name in key_names.chain([KEY]) {
        properties = properties
            .set_column_bloom_filter_enabled(path(name), true)
            .set_column_bloom_filter_fpp(path(name), FILTER_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(path(name), ROW_GROUP_ROWS as u64);
    }
    Ok(properties.build())
}

/// A segment being written.
pub struct SegmentWriter {
    def: Arc<TableDef>,
    id: SegmentId,
    path: String,
    schema: SchemaRef,
    as_text: BTreeSet<ColumnId>,
    writer: AsyncArrowWriter<BufWriter>,
    rows: u64,
    keys: Option<(Vec<u8>, Vec<u8>)>,
    seqs: (u64, u64),
}

impl SegmentWriter {
    /// Begins a file. `as_text`: numeric columns to be written as text.
    ///
    /// # Errors
    /// The storage's, Parquet's.
    pub fn create(
        segments: &Segments,
        def: Arc<TableDef>,
        id: SegmentId,
        path: String,
        as_text: BTreeSet<ColumnId>,
    ) -> Result<Self, SegmentError> {
        let schema = file_schema(&def, &as_text);
        let file = BufWriter::new(segments.files.clone(), object_path(&path)?);
        let writer = AsyncArrowWriter::try_new(file, schema.clone(), Some(properties(&def, &schema)?))?;
        Ok(Self { def, id, path, schema, as_text, writer, rows: 0, keys: None, seqs: (u64::MAX, 0) })
    }

    /// How many rows were written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How long the file would be about now.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Writes rows with the columns of [`columns`], whose keys are above all before.
    ///
    /// # Errors
    /// [`SegmentError::NoDecimal`], the storage's.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), SegmentError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let live = self.def.live_columns().count();
        let keys = batch.column(live + 2).as_binary::<i32>();
        self.note(batch.column(live).as_primitive::<Int64Type>().values(), keys);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(live + 4);
        for (column, array) in self.def.live_columns().zip(batch.columns()) {
            arrays.push(to_file(column, array, &self.as_text)?);
        }
        for (column, array) in self.def.live_columns().zip(batch.columns()) {
            if column.ty.ty.is_array() {
                arrays.push(Arc::new(arrays_of(column, array)?.shapes().clone()));
            }
        }
        if self.def.is_per_user() {
            arrays.push(Arc::new(users_of(keys)));
        }
        arrays.extend(batch.columns()[live..].iter().cloned());
        let batch = RecordBatch::try_new(self.schema.clone(), arrays)?;
        self.writer.write(&batch).await?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn note(&mut self, seqs: &[i64], keys: &BinaryArray) {
        for seq in seqs {
            let seq = *seq as u64; // written from a Seq
            self.seqs = (self.seqs.0.min(seq), self.seqs.1.max(seq));
        }
        let last = keys.value(keys.len() - 1).to_vec();
        match &mut self.keys {
            Some((_, max)) => {
                assert!(keys.value(0) > max.as_slice(), "rows of a segment ascend by key");
                *max = last;
            }
            None => self.keys = Some((keys.value(0).to_vec(), last)),
        }
    }

    /// Ends the file and makes it durable; `None` for one without rows, which is removed.
    ///
    /// # Errors
    /// The storage's.
    pub async fn finish(mut self, segments: &Segments) -> Result<Option<SegmentRecord>, SegmentError> {
        let Some((min_key, max_key)) = self.keys.take() else {
            self.abandon(segments).await;
            return Ok(None);
        };
        for (name, value) in [("min_key", &min_key), ("max_key", &max_key)] {
            self.writer.append_key_value_metadata(KeyValue::new(format!("kalamdb.{name}"), hex(value)));
        }
        self.writer.finish().await?;
        let bytes = self.writer.bytes_written() as u64;
        segments.sync(&self.path).await?;
        Ok(Some(SegmentRecord {
            id: self.id,
            table: self.def.id,
            path: self.path,
            rows: self.rows,
            bytes,
            min_key,
            max_key,
            min_seq: Seq(self.seqs.0),
            max_seq: Seq(self.seqs.1),
            schema_version: self.def.schema_version,
            created_at: clock::now_us(),
        }))
    }

    /// Gives the file up. What is left of it is on the list of intents, so a failure here loses nothing.
    pub async fn abandon(self, segments: &Segments) {
        let mut file = self.writer.into_inner();
        let _ = file.abort().await;
        let _ = segments.remove(&self.path).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The user numbers in front of the keys.
fn users_of(keys: &BinaryArray) -> UInt32Array {
    let user = |key: &[u8]| key.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    keys.iter().map(|key| Some(user(key.unwrap_or_default()))).collect()
}

fn to_file(column: &ColumnDef, array: &ArrayRef, as_text: &BTreeSet<ColumnId>) -> Result<ArrayRef, SegmentError> {
    let wrong = || SegmentError::Codec(crate::codec::CodecError::WrongDatum(column.ty.ty));
    match column.ty.ty {
        SqlType::Numeric => {
            let numerics = array.as_binary_opt().ok_or_else(wrong)?;
            match numeric_form(column, as_text) {
                NumericForm::Decimal { precision, scale } => decimals(column.id, numerics, precision, scale),
                NumericForm::Text => numeric_texts(numerics, column.ty),
            }
        }
        SqlType::Interval => intervals(array, column.ty),
        ty if ty.is_array() => {
            let arrays = arrays_of(column, array)?;
            let lists = arrays.lists();
            let items = match ty {
                SqlType::NumericArray => {
                    numeric_texts(lists.values().as_binary_opt().ok_or_else(wrong)?, SqlType::Numeric.into())?
                }
                SqlType::IntervalArray => intervals(lists.values(), column.ty)?,
                _ => lists.values().clone(),
            };
            let field = item_field(items.data_type().clone());
            Ok(Arc::new(ListArray::try_new(field, lists.offsets().clone(), items, arrays.nulls().cloned())?))
        }
        _ => Ok(array.clone()),
    }
}

fn arrays_of<'a>(column: &ColumnDef, array: &'a ArrayRef) -> Result<Arrays<'a>, SegmentError> {
    Arrays::new(array.as_ref()).ok_or(SegmentError::Codec(crate::codec::CodecError::WrongDatum(column.ty.ty)))
}

fn numeric_at(array: &BinaryArray, row: usize, ty: PgType) -> Result<Numeric, SegmentError> {
    Numeric::from_bytes(array.value(row)).ok_or(SegmentError::Codec(crate::codec::CodecError::WrongDatum(ty.ty)))
}

fn decimals(id: ColumnId, array: &BinaryArray, precision: u8, scale: i8) -> Result<ArrayRef, SegmentError> {
    let mut builder = Decimal128Builder::with_capacity(array.len()).with_precision_and_scale(precision, scale)?;
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        builder.append_value(
            decimal(&numeric_at(array, row, SqlType::Numeric.into())?, precision, scale)
                .ok_or(SegmentError::NoDecimal(id))?,
        );
    }
    Ok(Arc::new(builder.finish()))
}

/// The unscaled value, if the numeric has exactly this display scale and fits.
fn decimal(numeric: &Numeric, precision: u8, scale: i8) -> Option<i128> {
    if !numeric.is_finite() {
        return None;
    }
    let (digits, display_scale) = numeric.parts();
    let unscaled = digits.to_i128()?;
    let fits = unscaled.unsigned_abs() < 10u128.pow(u32::from(precision));
    (i32::from(display_scale) == i32::from(scale) && fits).then_some(unscaled)
}

fn numeric_texts(array: &BinaryArray, ty: PgType) -> Result<ArrayRef, SegmentError> {
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
        } else {
            // PostgreSQL's text, which `Numeric::parse` reads back exactly.
            builder.append_value(numeric_at(array, row, ty)?.to_string());
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn intervals(array: &ArrayRef, ty: PgType) -> Result<ArrayRef, SegmentError> {
    let array = array
        .as_primitive_opt::<IntervalMonthDayNanoType>()
        .ok_or(SegmentError::Codec(crate::codec::CodecError::WrongDatum(ty.ty)))?;
    let mut builder = FixedSizeBinaryBuilder::with_capacity(array.len(), 16);
    for value in array {
        match value {
            Some(value) => {
                let us = value.nanoseconds / 1000;
                builder.append_value(interval_bytes(Interval { months: value.months, days: value.days, us }))?;
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}
