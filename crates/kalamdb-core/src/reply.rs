//! What a statement answers: columns, rows being read, COPY being read.
//!
//! Streams that nobody works on until somebody pulls: a slow client slows its own query alone.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use futures::stream::BoxStream;
use kalamdb_commons::{ColumnId, PgType, Result, SqlError, TableId};
use std::sync::Arc;

/// PostgreSQL's transaction indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    InBlock,
    /// `E`
    Failed,
}

/// One column of a result, as RowDescription tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    /// The name.
    pub name: String,
    /// The type.
    pub ty: PgType,
    /// The table column behind it.
    pub origin: Option<(TableId, ColumnId)>,
}

/// A result being read.
pub struct Rows {
    pub(crate) columns: Arc<[OutputColumn]>,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch>>,
    pub(crate) tag: RowsTag,
}

/// The command tag of rows.
#[derive(Debug, Clone)]
pub(crate) enum RowsTag {
    /// `SELECT n`, `FETCH n`: the word and how many rows were sent.
    Counted(&'static str),
    /// A tag known already (`INSERT 0 3`, `EXPLAIN`, `SHOW`).
    Fixed(String),
}

impl Rows {
    /// The columns.
    pub fn columns(&self) -> &Arc<[OutputColumn]> {
        &self.columns
    }
    /// The next batch; `None` at the end. After an error there is nothing more. Safe to drop while pending.
    pub async fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        futures::StreamExt::next(&mut self.batches).await
    }
    /// The command tag when `sent` rows were sent by this Execute (or Query).
    pub fn tag(&self, sent: u64) -> String {
        match &self.tag {
            RowsTag::Counted(word) => format!("{word} {sent}"),
            RowsTag::Fixed(tag) => tag.clone(),
        }
    }
}

/// A COPY … TO STDOUT being read: whole lines (or binary tuples), each chunk one CopyData or more rows.
pub struct CopyOut {
    /// Text (false) or binary.
    pub binary: bool,
    /// The number of columns.
    pub columns: usize,
    pub(crate) chunks: BoxStream<'static, Result<CopyChunk>>,
    pub(crate) rows: u64,
}

/// Some rows of a COPY as bytes.
pub struct CopyChunk {
    /// Whole rows, ready for CopyData.
    pub bytes: Bytes,
    /// How many rows.
    pub rows: u64,
    /// Whether to flush to the socket now (a commit's end in a live COPY).
    pub flush: bool,
}

impl CopyOut {
    /// The next chunk; `None` at the end. Safe to drop while pending.
    pub async fn next_chunk(&mut self) -> Option<Result<CopyChunk>> {
        let chunk = futures::StreamExt::next(&mut self.chunks).await;
        if let Some(Ok(chunk)) = &chunk {
            self.rows += chunk.rows;
        }
        chunk
    }
    /// The command tag.
    pub fn tag(&self) -> String {
        format!("COPY {}", self.rows)
    }
}

/// A batch of unnamed nullable columns.
///
/// # Errors
/// XX000 when the columns' lengths differ.
pub(crate) fn batch_of(arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields: Vec<_> = arrays
        .iter()
        .enumerate()
        .map(|(at, array)| Field::new(format!("c{at}"), array.data_type().clone(), true))
        .collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(SqlError::internal)
}
