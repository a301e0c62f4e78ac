//! What can be wrong with what is stored: keys, rows, columns.

use kalamdb_commons::{SqlError, SqlState, SqlType};

/// What can be wrong with a key, a row or a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A type that has no memcomparable form here. 0A000
    #[error("type {0} is not supported as a key column")]
    KeyType(SqlType),
    /// A type that no table column can have. 0A000
    #[error("type {0} is not supported as a table column")]
    ColumnType(SqlType),
    /// A primary key column without a value: constraints are checked before keys are made. XX000
    #[error("null value in a key column")]
    NullInKey,
    /// A value that is not of its column's type. XX000
    #[error("a value of another type stands in a column of type {0}")]
    WrongDatum(SqlType),
    /// A row or batch that does not fit the definition it is read with. XX000
    #[error("column {0} is not in the batch")]
    NoColumn(kalamdb_commons::ColumnId),
    /// Bytes that no version of this code wrote. XX001
    #[error("a stored row is damaged: {0}")]
    Damaged(&'static str),
    /// Longer than a row can be. 54000
    #[error("row is too big: {0} bytes")]
    TooBig(usize),
    /// Arrow refused to put the columns together. XX000
    #[error("columns do not make a batch: {0}")]
    Batch(String),
}

impl From<CodecError> for SqlError {
    fn from(error: CodecError) -> Self {
        match &error {
            CodecError::KeyType(ty) => SqlError::unsupported(format_args!("type {ty} as a key column")),
            CodecError::ColumnType(ty) => SqlError::unsupported(format_args!("type {ty} as a table column")),
            CodecError::TooBig(_) => SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, error.to_string()),
            CodecError::Damaged(_) => SqlError::new(SqlState::DATA_CORRUPTED, error.to_string()),
            CodecError::NullInKey | CodecError::WrongDatum(_) | CodecError::NoColumn(_) | CodecError::Batch(_) => {
                SqlError::internal(&error)
            }
        }
    }
}
