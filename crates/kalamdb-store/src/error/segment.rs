//! What can go wrong with a segment's file.

use super::CodecError;
use kalamdb_commons::{SqlError, SqlState};

/// What can go wrong with a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The storage refused or failed.
    #[error("storage: {0}")]
    Storage(#[from] object_store::Error),
    /// The file is not what was written.
    #[error("segment file: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Arrow refused to put the columns together.
    #[error("segment columns: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A row or column does not fit.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The disk failed.
    #[error("storage: {0}")]
    Io(#[from] std::io::Error),
    /// The file lacks what every segment has.
    #[error("segment \"{path}\" is damaged: {what}")]
    Damaged {
        /// Its path.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A numeric value that the column's Decimal128 cannot hold (NaN): the column is written as text instead.
    #[error("column {0} holds a value that is no decimal")]
    NoDecimal(kalamdb_commons::ColumnId),
}

impl From<SegmentError> for SqlError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Codec(error) => error.into(),
            SegmentError::Parquet(_) | SegmentError::Damaged { .. } => {
                SqlError::new(SqlState::DATA_CORRUPTED, error.to_string())
            }
            SegmentError::Storage(_) | SegmentError::Io(_) => SqlError::new(SqlState::IO_ERROR, error.to_string()),
            SegmentError::Arrow(_) | SegmentError::NoDecimal(_) => SqlError::internal(error),
        }
    }
}
