//! Rows from Arrow arrays straight into the output.
//!
//! One encoder for each column is chosen when a result begins; then a row is a header, and for each column a length
//! that is patched once the encoder has written behind it. No row object, no copy of a value, no allocation per row.

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_core::OutputColumn;
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::types::{self, Encoder, Format, Style};
use std::sync::Arc;

/// The encoders of a result's columns.
pub(crate) struct RowEncoder {
    columns: Vec<Box<dyn Encoder>>,
}

impl RowEncoder {
    /// Chooses the encoders; one format for each column.
    ///
    /// # Errors
    /// 42883 when a type has no such form, 22023 for a format that there is not.
    pub(crate) fn new(
        columns: &[OutputColumn],
        formats: &[i16],
        style: &Style,
        names: &Arc<dyn CatalogNames>,
    ) -> Result<Self> {
        let encoder = |(column, format): (&OutputColumn, &i16)| {
            let format = match format {
                0 => Format::Text,
                1 => Format::Binary,
                code => {
                    let message = format!("unsupported format code: {code}");
                    return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
                }
            };
            types::encoder(column.ty, format, style, names.clone())
        };
        Ok(RowEncoder { columns: columns.iter().zip(formats).map(encoder).collect::<Result<_>>()? })
    }

    /// Appends DataRows for the rows from `from` up to `to`, until the output holds `full` bytes. Says which row is
    /// next.
    ///
    /// # Errors
    /// 54000 for a row longer than a message can be; nothing of it is left in the output.
    pub(crate) fn encode(
        &self,
        batch: &RecordBatch,
        from: usize,
        to: usize,
        out: &mut BytesMut,
        full: usize,
    ) -> Result<usize> {
        let columns: Vec<Column<'_>> =
            self.columns.iter().map(AsRef::as_ref).zip(batch.columns()).map(Column::new).collect();
        let mut row = from;
        while row < to && out.len() < full {
            encode_row(&columns, row, out)?;
            row += 1;
        }
        Ok(row)
    }
}

/// One column of one batch.
struct Column<'a> {
    encoder: &'a dyn Encoder,
    array: &'a dyn Array,
    nulls: Option<NullBuffer>,
}

impl<'a> Column<'a> {
    fn new((encoder, array): (&'a dyn Encoder, &'a ArrayRef)) -> Self {
        // An array of type Null is of type void, whose one value is the empty text.
        Column { encoder, array: array.as_ref(), nulls: array.nulls().cloned() }
    }
}

fn encode_row(columns: &[Column<'_>], row: usize, out: &mut BytesMut) -> Result<()> {
    let start = out.len();
    out.put_u8(b'D');
    out.put_u32(0);
    out.put_u16(columns.len() as u16);
    for column in columns {
        if column.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.put_i32(-1);
            continue;
        }
        let place = out.len();
        out.put_u32(0);
        column.encoder.encode(column.array, row, out);
        patch(out, place, 4);
    }
    if out.len() - start > i32::MAX as usize {
        out.truncate(start);
        return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "row is too large to be sent"));
    }
    patch(out, start + 1, 0);
    Ok(())
}

/// Writes the distance from `place` (less `header`) to the end into the four bytes at `place`.
fn patch(out: &mut BytesMut, place: usize, header: usize) {
    let length = (out.len() - place - header) as u32;
    out[place..place + 4].copy_from_slice(&length.to_be_bytes());
}

/// One format for each of `columns` columns from the codes of a Bind message: none means text, one is for all.
///
/// # Errors
/// 08P01 when the counts differ.
pub(crate) fn expand_formats(codes: &[i16], columns: usize) -> Result<Vec<i16>> {
    match codes {
        [] => Ok(vec![0; columns]),
        [one] => Ok(vec![*one; columns]),
        many if many.len() == columns => Ok(many.to_vec()),
        many => Err(crate::frame::violation(format!(
            "bind message has {} result formats but query has {columns} columns",
            many.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int32Array, NullArray};
    use arrow_schema::{DataType, Field, Schema};

    /// Writes an int4's decimal digits.
    struct Digits;
    impl Encoder for Digits {
        fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
            if let Some(array) = array.as_any().downcast_ref::<Int32Array>() {
                out.put_slice(array.value(row).to_string().as_bytes());
            }
        }
    }

    fn batch() -> Option<RecordBatch> {
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Null, true)]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(-20)]));
        RecordBatch::try_new(Arc::new(schema), vec![numbers, Arc::new(NullArray::new(3))]).ok()
    }

    #[test]
    fn rows_have_lengths_and_nulls() {
        let encoder = RowEncoder { columns: vec![Box::new(Digits), Box::new(Digits)] };
        let (mut out, Some(batch)) = (BytesMut::new(), batch()) else { return };
        assert_eq!(encoder.encode(&batch, 0, 3, &mut out, usize::MAX), Ok(3));
        let expected = [
            // void is an empty text, as PostgreSQL's void_out writes it.
            &b"D\0\0\0\x0f\0\x02\0\0\0\x011\0\0\0\0"[..],
            b"D\0\0\0\x0e\0\x02\xff\xff\xff\xff\0\0\0\0",
            b"D\0\0\0\x11\0\x02\0\0\0\x03-20\0\0\0\0",
        ];
        assert_eq!(out[..], expected.concat());
    }

    #[test]
    fn encoding_stops_when_enough_is_unsent() {
        let encoder = RowEncoder { columns: vec![Box::new(Digits), Box::new(Digits)] };
        let (mut out, Some(batch)) = (BytesMut::new(), batch()) else { return };
        assert_eq!(encoder.encode(&batch, 0, 3, &mut out, 1), Ok(1));
        assert_eq!(encoder.encode(&batch, 1, 2, &mut out, usize::MAX), Ok(2), "a row limit");
    }

    #[test]
    fn format_codes_fit_the_columns() {
        assert_eq!(expand_formats(&[], 2), Ok(vec![0, 0]));
        assert_eq!(expand_formats(&[1], 3), Ok(vec![1, 1, 1]));
        assert_eq!(expand_formats(&[1, 0], 2), Ok(vec![1, 0]));
        assert!(expand_formats(&[1, 0], 3).is_err());
        assert!(expand_formats(&[1, 0], 1).is_err());
    }
}
