//! What a row must be like by itself: NOT NULL and CHECK, judged for rows that statements are about to write.

use super::around::Around;
use super::prepared::{BindingNames, shape_of};
use super::write::shown_row;
use crate::check::{Refusal, TableChecks};
use crate::plan::SessionValues;
use crate::standing::Standing;
use arrow_array::{Array, RecordBatch};
use kalamdb_commons::{ColumnId, Result, SqlError, SqlState};
use kalamdb_sql::predicate::Values;
use kalamdb_store::{CheckDef, TableDef};
use std::sync::Arc;

/// A table's CHECK constraints, compiled; the same ones as long as its definition stays.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
fn checks_of(standing: &Standing, table: &Arc<TableDef>) -> Result<Option<Arc<TableChecks>>> {
    if table.checks.is_empty() {
        return Ok(None);
    }
    if let Some((def, checks)) = standing.hall.checks.lock().get(&table.id)
        && (Arc::ptr_eq(def, table) || def == table)
    {
        return Ok(Some(checks.clone()));
    }
    let checks = Arc::new(compiled(standing, table, &table.checks)?);
    standing.hall.checks.lock().put(table.id, (table.clone(), checks.clone()));
    Ok(Some(checks))
}

/// Some CHECK constraints of a table, compiled.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn compiled(standing: &Standing, table: &TableDef, checks: &[CheckDef]) -> Result<TableChecks> {
    TableChecks::new(checks, &shape_of(table, ""), &BindingNames::new(standing))
}

/// What conditions may ask of the session.
pub(super) fn values(standing: &mut Standing) -> Values {
    let around = Around::new(standing);
    let session = around.clone();
    Values { parameters: Vec::new(), session: Arc::new(move |value| session.value(value)), around }
}

/// The rows of a batch that may be written: those before the first that is refused, and what that one's error is.
pub(super) struct Valid {
    /// The rows before it.
    pub batch: RecordBatch,
    refused: Option<SqlError>,
}

impl Valid {
    /// The refused row's error, when the ones before it are written.
    ///
    /// # Errors
    /// 23502, 23514, and those of conditions.
    pub fn done(self) -> Result<()> {
        self.refused.map_or(Ok(()), Err)
    }
}

/// Judges a batch of rows, as PostgreSQL one after the other.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn judge(
    standing: &mut Standing,
    table: &Arc<TableDef>,
    batch: &RecordBatch,
    columns: &[ColumnId],
) -> Result<Valid> {
    let null = first_null(table, batch, columns);
    let before = null.map_or(batch.num_rows(), |(row, _)| row);
    let rows = batch.slice(0, before);
    let refused = match checks_of(standing, table)? {
        Some(checks) => checks.first_refused(&rows, columns, &mut || values(standing))?,
        None => None,
    };
    Ok(match refused {
        Some((row, refusal)) => {
            let error = match refusal {
                Refusal::Violated(name) => violated(standing, table, &name, batch, columns, row),
                Refusal::Error(error) => error,
            };
            Valid { batch: rows.slice(0, row), refused: Some(error) }
        }
        None => {
            let refused = null.map(|(row, at)| is_null(standing, table, at, batch, columns, row));
            Valid { batch: rows, refused }
        }
    })
}

/// As [`judge`], for rows of which all are to be written or none.
///
/// # Errors
/// 23502, 23514, and those of conditions.
pub(super) fn require(
    standing: &mut Standing,
    table: &Arc<TableDef>,
    batch: &RecordBatch,
    columns: &[ColumnId],
) -> Result<()> {
    judge(standing, table, batch, columns)?.done()
}

/// Judges NOT NULL alone.
///
/// # Errors
/// 23502
pub(super) fn require_not_null(
    standing: &Standing,
    table: &TableDef,
    batch: &RecordBatch,
    columns: &[ColumnId],
) -> Result<()> {
    first_null(table, batch, columns).map_or(Ok(()), |(row, at)| Err(is_null(standing, table, at, batch, columns, row)))
}

/// The first row that has NULL where the table allows none, and in which of the columns.
fn first_null(table: &TableDef, batch: &RecordBatch, columns: &[ColumnId]) -> Option<(usize, usize)> {
    let strict = columns.iter().enumerate().filter(|(at, id)| {
        table.column(**id).is_some_and(|column| column.not_null) && batch.column(*at).null_count() > 0
    });
    let first = |at: usize| {
        let array = batch.column(at);
        (0..array.len()).find(|row| array.is_null(*row))
    };
    // Of a row's columns the first in the table's order.
    strict.filter_map(|(at, id)| Some((first(at)?, *id, at))).min().map(|(row, _, at)| (row, at))
}

/// 23502
fn is_null(
    standing: &Standing,
    table: &TableDef,
    at: usize,
    batch: &RecordBatch,
    columns: &[ColumnId],
    row: usize,
) -> SqlError {
    let column = table.column(columns[at]).map_or("", |column| column.name.as_str());
    let message =
        format!("null value in column \"{column}\" of relation \"{}\" violates not-null constraint", table.name);
    SqlError::new(SqlState::NOT_NULL_VIOLATION, message)
        .with_detail(format!("Failing row contains ({}).", shown_row(standing, table, batch, columns, row)))
        .with_schema(super::table::namespace_name(&standing.catalog(), table.namespace))
        .with_table(table.name.as_str())
        .with_column(column)
}

/// 23514
fn violated(
    standing: &Standing,
    table: &TableDef,
    name: &str,
    batch: &RecordBatch,
    columns: &[ColumnId],
    row: usize,
) -> SqlError {
    let message = format!("new row for relation \"{}\" violates check constraint \"{name}\"", table.name);
    SqlError::new(SqlState::CHECK_VIOLATION, message)
        .with_detail(format!("Failing row contains ({}).", shown_row(standing, table, batch, columns, row)))
        .with_schema(super::table::namespace_name(&standing.catalog(), table.namespace))
        .with_table(table.name.as_str())
        .with_constraint(name)
}
