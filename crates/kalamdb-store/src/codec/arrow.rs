//! Stored rows into Arrow columns.
//!
//! One builder per projected column, chosen once; a row's bytes go straight into it, without a value in between. The
//! same builders make the system columns, of which only `ROW_KEY` comes from the key.

use super::CodecError;
use super::row::{self, Items, Raw, RowView, fixed_bytes, interval_of, text_of};
use crate::definition::{ColumnDef, TableDef};
use arrow_array::builder::{BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{ArrayRef, BooleanArray, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use kalamdb_commons::array::{assemble, item_field};
use kalamdb_commons::{ColumnId, SqlType};
use std::sync::Arc;

/// A batch is handed on when its rows hold this many bytes, so that wide rows do not make batches of gigabytes.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The Arrow type of a system column.
pub fn system_type(id: ColumnId) -> Option<DataType> {
    match id {
        ColumnId::SEQ => Some(DataType::Int64),
        ColumnId::UPDATED => Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ColumnId::DELETED => Some(DataType::Boolean),
        ColumnId::TABLEOID => Some(DataType::UInt32),
        ColumnId::ROW_KEY => Some(DataType::Binary),
        _ => None,
    }
}

/// The name of a system column.
pub fn system_name(id: ColumnId) -> Option<&'static str> {
    match id {
        ColumnId::SEQ => Some("_seq"),
        ColumnId::UPDATED => Some("_updated"),
        ColumnId::DELETED => Some("_deleted"),
        ColumnId::TABLEOID => Some("tableoid"),
        ColumnId::ROW_KEY => Some("_key"),
        _ => None,
    }
}

/// The schema of batches with these columns, in this order; system columns may be among them.
///
/// # Errors
/// [`CodecError::NoColumn`] for one that the table does not have.
pub fn schema(def: &TableDef, columns: &[ColumnId]) -> Result<SchemaRef, CodecError> {
    let field = |id: &ColumnId| {
        if let (Some(name), Some(ty)) = (system_name(*id), system_type(*id)) {
            return Ok(Field::new(name, ty, matches!(*id, ColumnId::SEQ | ColumnId::UPDATED)));
        }
        let column = def.column(*id).ok_or(CodecError::NoColumn(*id))?;
        Ok(Field::new(column.name.as_str(), column.ty.ty.arrow(), true))
    };
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>, _>>()?)))
}

/// Gathers stored rows into a batch.
pub struct BatchBuilder {
    schema: SchemaRef,
    table: u32,
    deleted: bool,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

struct Column {
    id: ColumnId,
    /// What rows have that are older than the column, in stored form.
    missing: Option<Vec<u8>>,
    cells: Cells,
}

enum Cells {
    Bool(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Interval(PrimitiveBuilder<IntervalMonthDayNanoType>),
    Uuid(FixedSizeBinaryBuilder),
    Oid(PrimitiveBuilder<UInt32Type>),
    List(Box<Lists>),
    Seq(PrimitiveBuilder<Int64Type>),
    Updated(PrimitiveBuilder<TimestampMicrosecondType>),
    RowKey(BinaryBuilder),
    /// The same for all rows of a batch: made at the end.
    Deleted,
    TableOid,
}

struct Lists {
    field: FieldRef,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    /// Begun with the first array that has a shape.
    shapes: Option<BinaryBuilder>,
    items: Cells,
}

impl BatchBuilder {
    /// For live rows of `def`, with these columns in this order; system columns may be among them.
    ///
    /// # Errors
    /// [`CodecError::NoColumn`], [`CodecError::ColumnType`].
    pub fn new(def: &TableDef, columns: &[ColumnId]) -> Result<Self, CodecError> {
        let schema = schema(def, columns)?;
        let columns = columns.iter().map(|id| Column::new(def, *id)).collect::<Result<_, _>>()?;
        Ok(Self { schema, table: def.id.0, deleted: false, columns, rows: 0, bytes: 0 })
    }

    /// For tombstones: `_deleted` is true.
    ///
    /// # Errors
    /// As [`BatchBuilder::new`].
    pub fn for_tombstones(def: &TableDef, columns: &[ColumnId]) -> Result<Self, CodecError> {
        Ok(Self { deleted: true, ..Self::new(def, columns)? })
    }

    /// The batches' schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows it holds.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether it is time to finish: `batch_rows` rows, or rows of many bytes.
    pub fn is_full(&self, batch_rows: usize) -> bool {
        self.rows >= batch_rows || self.bytes >= BATCH_BYTES_MAX
    }

    /// Adds a row; `key` is the part behind the partition's prefix.
    ///
    /// # Errors
    /// [`CodecError::Damaged`]: nothing more may be done with the builder then.
    pub fn push(&mut self, key: &[u8], row: &[u8]) -> Result<(), CodecError> {
        let view = RowView::new(row)?;
        for column in &mut self.columns {
            column.push(key, &view)?;
        }
        self.rows += 1;
        self.bytes += row.len() + key.len();
        Ok(())
    }

    /// The rows so far, as a batch; begins anew.
    ///
    /// # Errors
    /// [`CodecError::Batch`].
    pub fn finish(&mut self) -> Result<RecordBatch, CodecError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let arrays = self
            .columns
            .iter_mut()
            .map(|column| match &mut column.cells {
                Cells::Deleted => same_bool(self.deleted, rows),
                Cells::TableOid => Arc::new(UInt32Array::from_value(self.table, rows)),
                cells => cells.finish(),
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| CodecError::Batch(error.to_string()))
    }
}

fn same_bool(value: bool, rows: usize) -> ArrayRef {
    let buffer = if value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
    Arc::new(BooleanArray::new(buffer, None))
}

/// An array of a column's missing value, for rows that are older than the column.
///
/// # Errors
/// [`CodecError::ColumnType`], [`CodecError::WrongDatum`].
pub fn missing_array(column: &ColumnDef, rows: usize) -> Result<ArrayRef, CodecError> {
    let mut cells = Cells::new(column.ty.ty)?;
    let stored = stored_missing(column)?;
    for _ in 0..rows {
        match &stored {
            Some(bytes) => cells.append(bytes)?,
            None => cells.append_null(),
        }
    }
    Ok(cells.finish())
}

fn stored_missing(column: &ColumnDef) -> Result<Option<Vec<u8>>, CodecError> {
    if column.missing.is_null() {
        return Ok(None);
    }
    row::stored_form(column.ty.ty, &column.missing).map(Some)
}

impl Column {
    fn new(def: &TableDef, id: ColumnId) -> Result<Self, CodecError> {
        let utc = || PrimitiveBuilder::new().with_timezone("UTC");
        let cells = match id {
            ColumnId::SEQ => Cells::Seq(PrimitiveBuilder::new()),
            ColumnId::UPDATED => Cells::Updated(utc()),
            ColumnId::DELETED => Cells::Deleted,
            ColumnId::TABLEOID => Cells::TableOid,
            ColumnId::ROW_KEY => Cells::RowKey(BinaryBuilder::new()),
            _ => {
                let column = def.column(id).ok_or(CodecError::NoColumn(id))?;
                return Ok(Self { id, missing: stored_missing(column)?, cells: Cells::new(column.ty.ty)? });
            }
        };
        Ok(Self { id, missing: None, cells })
    }

    #[inline]
    fn push(&mut self, key: &[u8], view: &RowView<'_>) -> Result<(), CodecError> {
        match &mut self.cells {
            Cells::Seq(builder) => builder.append_option(view.seq().map(|seq| seq.0 as i64)),
            Cells::Updated(builder) => builder.append_option(view.updated_us()),
            Cells::RowKey(builder) => builder.append_value(key),
            Cells::Deleted | Cells::TableOid => {}
            cells => match (view.raw(self.id)?, &self.missing) {
                (Raw::Value(bytes), _) => cells.append(bytes)?,
                (Raw::Absent, Some(missing)) => cells.append(missing)?,
                (Raw::Null | Raw::Absent, _) => cells.append_null(),
            },
        }
        Ok(())
    }
}

impl Cells {
    fn new(ty: SqlType) -> Result<Self, CodecError> {
        if !row::is_storable(ty) {
            return Err(CodecError::ColumnType(ty));
        }
        if let Some(element) = ty.element() {
            return Ok(Cells::List(Box::new(Lists {
                field: item_field(element.arrow()),
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
                shapes: None,
                items: Cells::new(element)?,
            })));
        }
        Ok(match ty {
            SqlType::Bool => Cells::Bool(BooleanBuilder::new()),
            SqlType::Int2 => Cells::Int2(PrimitiveBuilder::new()),
            SqlType::Int4 => Cells::Int4(PrimitiveBuilder::new()),
            SqlType::Int8 | SqlType::Enum(_) => Cells::Int8(PrimitiveBuilder::new()),
            SqlType::Float4 => Cells::Float4(PrimitiveBuilder::new()),
            SqlType::Float8 => Cells::Float8(PrimitiveBuilder::new()),
            SqlType::Numeric => Cells::Bytes(BinaryBuilder::new()),
            ty if ty.is_bytes() => Cells::Bytes(BinaryBuilder::new()),
            SqlType::Date => Cells::Date(PrimitiveBuilder::new()),
            SqlType::Time => Cells::Time(PrimitiveBuilder::new()),
            SqlType::Timestamp => Cells::Timestamp(PrimitiveBuilder::new()),
            SqlType::Timestamptz => Cells::Timestamp(PrimitiveBuilder::new().with_timezone("UTC")),
            SqlType::Interval => Cells::Interval(PrimitiveBuilder::new()),
            SqlType::Uuid => Cells::Uuid(FixedSizeBinaryBuilder::new(16)),
            ty if ty.is_oid_like() => Cells::Oid(PrimitiveBuilder::new()),
            _ => Cells::Text(StringBuilder::new()),
        })
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        match self {
            Cells::Bool(builder) => builder.append_value(fixed_bytes::<1>(bytes)? != [0]),
            Cells::Int2(builder) => builder.append_value(i16::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Int4(builder) => builder.append_value(i32::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Int8(builder) => builder.append_value(i64::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Float4(builder) => builder.append_value(f32::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Float8(builder) => builder.append_value(f64::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Text(builder) => builder.append_value(text_of(bytes)?),
            Cells::Bytes(builder) => builder.append_value(bytes),
            Cells::Date(builder) => builder.append_value(i32::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Time(builder) => builder.append_value(i64::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Timestamp(builder) => builder.append_value(i64::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::Interval(builder) => {
                let interval = interval_of(&fixed_bytes(bytes)?);
                let nanoseconds = interval.us.saturating_mul(1000);
                builder.append_value(IntervalMonthDayNano::new(interval.months, interval.days, nanoseconds));
            }
            Cells::Uuid(builder) => {
                let uuid: [u8; 16] = fixed_bytes(bytes)?;
                builder.append_value(uuid).map_err(|_| CodecError::Damaged("a uuid has a wrong length"))?;
            }
            Cells::Oid(builder) => builder.append_value(u32::from_le_bytes(fixed_bytes(bytes)?)),
            Cells::List(lists) => lists.append(bytes)?,
            Cells::Seq(_) | Cells::Updated(_) | Cells::RowKey(_) | Cells::Deleted | Cells::TableOid => {
                unreachable!("system columns have no stored form")
            }
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Cells::Bool(builder) => builder.append_null(),
            Cells::Int2(builder) => builder.append_null(),
            Cells::Int4(builder) => builder.append_null(),
            Cells::Int8(builder) => builder.append_null(),
            Cells::Float4(builder) => builder.append_null(),
            Cells::Float8(builder) => builder.append_null(),
            Cells::Text(builder) => builder.append_null(),
            Cells::Bytes(builder) => builder.append_null(),
            Cells::Date(builder) => builder.append_null(),
            Cells::Time(builder) => builder.append_null(),
            Cells::Timestamp(builder) => builder.append_null(),
            Cells::Interval(builder) => builder.append_null(),
            Cells::Uuid(builder) => builder.append_null(),
            Cells::Oid(builder) => builder.append_null(),
            Cells::List(lists) => lists.append_null(),
            Cells::Seq(_) | Cells::Updated(_) | Cells::RowKey(_) | Cells::Deleted | Cells::TableOid => {
                unreachable!("system columns have no stored form")
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Cells::Bool(builder) => Arc::new(builder.finish()),
            Cells::Int2(builder) => Arc::new(builder.finish()),
            Cells::Int4(builder) => Arc::new(builder.finish()),
            Cells::Int8(builder) | Cells::Seq(builder) => Arc::new(builder.finish()),
            Cells::Float4(builder) => Arc::new(builder.finish()),
            Cells::Float8(builder) => Arc::new(builder.finish()),
            Cells::Text(builder) => Arc::new(builder.finish()),
            Cells::Bytes(builder) | Cells::RowKey(builder) => Arc::new(builder.finish()),
            Cells::Date(builder) => Arc::new(builder.finish()),
            Cells::Time(builder) => Arc::new(builder.finish()),
            Cells::Timestamp(builder) | Cells::Updated(builder) => Arc::new(builder.finish()),
            Cells::Interval(builder) => Arc::new(builder.finish()),
            Cells::Uuid(builder) => Arc::new(builder.finish()),
            Cells::Oid(builder) => Arc::new(builder.finish()),
            Cells::List(lists) => lists.finish(),
            Cells::Deleted | Cells::TableOid => unreachable!("made by the batch, which knows their value"),
        }
    }
}

impl Lists {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let mut end = self.end();
        let items = Items::new(bytes)?;
        self.put_shape(items.shape());
        for item in items {
            match item? {
                Some(bytes) => self.items.append(bytes)?,
                None => self.items.append_null(),
            }
            end = end.checked_add(1).ok_or(CodecError::Damaged("too many array items in a batch"))?;
        }
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.put_shape(None);
        self.offsets.push(self.end());
        self.nulls.append_null();
    }

    fn put_shape(&mut self, shape: Option<&[u8]>) {
        let before = self.offsets.len() - 1;
        match (&mut self.shapes, shape) {
            (Some(shapes), shape) => shapes.append_option(shape),
            (None, Some(shape)) => {
                let shapes = self.shapes.insert(BinaryBuilder::new());
                shapes.append_nulls(before);
                shapes.append_value(shape);
            }
            (None, None) => {}
        }
    }

    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn finish(&mut self) -> ArrayRef {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let lists = ListArray::new(self.field.clone(), offsets, self.items.finish(), self.nulls.finish());
        assemble(lists, self.shapes.take().map(|mut shapes| shapes.finish()))
    }
}
