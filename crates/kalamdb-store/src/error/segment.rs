//! What can go wrong with a segment's file.

use super::CodecError;
use kalamdb_commons::{SqlError, SqlState};
use parquet::errors::ParquetError;

/// What can go wrong with a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The storage refused or failed.
    #[error("storage: {0}")]
    Storage(#[from] object_store::Error),
    /// The file is not what was written.
    #[error("segment file: {0}")]
    Parquet(#[from] ParquetError),
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

impl SegmentError {
    /// What a client is told. Where the server keeps its files is for the log alone.
    pub(crate) fn told(&self) -> SqlError {
        let (state, source) = match self {
            SegmentError::Codec(error) => return error.clone().into(),
            SegmentError::Arrow(_) | SegmentError::NoDecimal(_) => return SqlError::internal(self),
            SegmentError::Damaged { .. } => return SqlError::new(SqlState::DATA_CORRUPTED, self.to_string()),
            SegmentError::Parquet(ParquetError::External(source)) => {
                (SqlState::DATA_CORRUPTED, source.downcast_ref::<object_store::Error>())
            }
            SegmentError::Parquet(_) => return SqlError::new(SqlState::DATA_CORRUPTED, self.to_string()),
            SegmentError::Storage(source) => (SqlState::IO_ERROR, Some(source)),
            SegmentError::Io(_) => (SqlState::IO_ERROR, None),
        };
        tracing::error!(error = %self, "a segment's file could not be used");
        let message = match source {
            Some(object_store::Error::NotFound { .. }) => "a segment's file is missing",
            _ => "a segment's file cannot be read or written",
        };
        SqlError::new(state, message).with_hint("The server's log has the details.")
    }
}

impl From<SegmentError> for SqlError {
    fn from(error: SegmentError) -> Self {
        error.told()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_for_the_log() {
        let missing = || object_store::Error::NotFound {
            path: "/var/lib/kalamdb/segments/x.parquet".to_string(),
            source: "No such file or directory".into(),
        };
        for (error, state) in [
            (SegmentError::Storage(missing()), SqlState::IO_ERROR),
            (SegmentError::Parquet(ParquetError::External(Box::new(missing()))), SqlState::DATA_CORRUPTED),
        ] {
            assert!(error.to_string().contains("/var/lib"), "the log has it");
            let told = error.told();
            assert_eq!((told.state(), told.message()), (state, "a segment's file is missing"));
        }
    }
}
