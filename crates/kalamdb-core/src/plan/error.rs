//! Errors through the engine and back: ours travel inside the engine's, and come out as they went in.

use datafusion::error::DataFusionError;
use kalamdb_commons::SqlError;

/// The client's error for one of the engine's.
pub(super) fn engine_error(error: DataFusionError) -> SqlError {
    kalamdb_sql::function::sql_error(error)
}

/// A client's error on its way through the engine.
pub(super) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An Arrow error: a broken invariant, or a batch beyond Arrow's limits.
pub(super) fn arrow_error(error: arrow_schema::ArrowError) -> SqlError {
    engine_error(DataFusionError::ArrowError(Box::new(error), None))
}
