//! What ALTER TABLE does with rows: looks for NULLs, gives each row a value of its own, lays rows under another key.
//!
//! All of it is for the whole table, every user's rows included, by the right to alter the table; nothing of a row
//! reaches the client. A row's key here is what lies behind the table's number: user number (USER tables) and key.

use super::around::Around;
use super::entries::NewRows;
use super::insert::merged;
use super::write::{self, duplicate, key_column, keys_of, rows_in};
use super::{batch_of, entries, generated, valid};
use crate::plan::SessionValues;
use crate::relation::Relation;
use crate::resolve;
use crate::standing::Standing;
use arrow_array::{Array, RecordBatch};
use futures::StreamExt;
use futures::stream::BoxStream;
use kalamdb_commons::{ColumnId, Result, SqlError, SqlState};
use kalamdb_sql::bind::RowExpression;
use kalamdb_sql::bind::bound::{Col, Scalar};
use kalamdb_sql::predicate::Values;
use kalamdb_store::{Change, LockWait, RowVersion, TableDef};
use std::sync::Arc;

/// How many rows are read at once.
const BATCH_ROWS: usize = 4096;

/// The rows of a table as they are now under its lock, whatever the transaction's snapshot shows: all that has to be
/// written anew, or that a constraint which is declared has to hold for. What is written while they are read is not
/// among them.
///
/// # Errors
/// 42501, the store's.
pub(super) fn newest_rows(
    standing: &mut Standing,
    table: &Arc<TableDef>,
    columns: &[ColumnId],
) -> Result<(Relation, BoxStream<'static, Result<RecordBatch>>)> {
    // Rows that an earlier action of the statement has written are rows now.
    standing.begin_statement()?;
    let view = standing.transaction().newest_view_of_statement();
    let relation = resolve::rewritten(table, &standing.identity)?;
    let rows = relation.all_rows(&view, columns, BATCH_ROWS)?;
    Ok((relation, rows))
}

/// Whether the table has rows.
///
/// # Errors
/// The store's.
pub(super) async fn has_rows(standing: &mut Standing, table: &Arc<TableDef>) -> Result<bool> {
    let (_, mut rows) = newest_rows(standing, table, &[ColumnId::ROW_KEY])?;
    while let Some(batch) = rows.next().await {
        if batch?.num_rows() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// 23502 when a row has NULL in one of these columns.
///
/// # Errors
/// 23502, and the store's.
pub(super) async fn check_filled(standing: &mut Standing, table: &Arc<TableDef>, columns: &[ColumnId]) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let (_, mut rows) = newest_rows(standing, table, columns)?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        for (id, array) in columns.iter().zip(batch.columns()) {
            if array.null_count() > 0
                && let Some(column) = table.column(*id)
            {
                let namespace = super::table::namespace_name(&standing.catalog(), table.namespace);
                return Err(holds_null(table, column.name.as_str()).with_schema(namespace));
            }
        }
    }
    Ok(())
}

fn holds_null(table: &TableDef, column: &str) -> SqlError {
    let message = format!("column \"{column}\" of relation \"{}\" contains null values", table.name);
    SqlError::new(SqlState::NOT_NULL_VIOLATION, message).with_table(table.name.as_str()).with_column(column)
}

/// Gives every row its own value of a default that differs from row to row.
///
/// # Errors
/// The default's, 53200, and the store's.
pub(super) async fn fill(
    standing: &mut Standing,
    table: &Arc<TableDef>,
    column: ColumnId,
    default: Scalar,
) -> Result<()> {
    let around = Around::new(standing);
    let session = around.clone();
    let values = Values { parameters: Vec::new(), session: Arc::new(move |value| session.value(value)), around };
    let program = write::program(&[default], &[], &values)?;
    let (relation, mut rows) = newest_rows(standing, table, &[ColumnId::ROW_KEY])?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let found = locked(standing, &relation, &batch).await?;
        let values = program.evaluate(&program.rows(Vec::new(), found.len())?)?;
        let old: Vec<(&[u8], &[u8])> = found.iter().map(|(key, row)| (key.as_slice(), row.row.as_ref())).collect();
        let (columns, new) = merged(table, &old, &[column], &values)?;
        let new = generated::computed(standing, table, new, &columns)?;
        let new = rows_in(table, &new, &columns)?;
        for ((key, old), row) in found.into_iter().zip(new) {
            relation.replace(standing.transaction(), &key, row, old)?;
        }
    }
    Ok(())
}

/// Writes every row anew with other values, of other types, in some columns: the old rows, deleted ones too, go as by
/// TRUNCATE.
///
/// # Errors
/// The expressions', 23502, 23505, 53200, and the store's.
pub(super) async fn retype(
    standing: &mut Standing,
    before: &Arc<TableDef>,
    after: &Arc<TableDef>,
    values: Vec<(ColumnId, RowExpression)>,
) -> Result<()> {
    let around = Around::new(standing);
    let session = around.clone();
    let with = Values { parameters: Vec::new(), session: Arc::new(move |value| session.value(value)), around };
    let live: Vec<ColumnId> = before.live_columns().map(|column| column.id).collect();
    let mut programs = Vec::with_capacity(values.len());
    for (id, value) in &values {
        let inputs: Vec<Col> = value.columns.iter().filter(|(id, _)| live.contains(id)).map(|(_, col)| *col).collect();
        let places: Vec<usize> = value.columns.iter().filter_map(|(id, _)| live.iter().position(|l| l == id)).collect();
        programs.push((*id, places, write::program(std::slice::from_ref(&value.scalar), &inputs, &with)?));
    }
    let columns: Vec<ColumnId> = live.iter().copied().chain([ColumnId::ROW_KEY]).collect();
    // The rows as they are: what follows is not among them.
    let (relation, mut rows) = newest_rows(standing, before, &columns)?;
    standing.transaction().define(Change::TruncateTable(before.id))?;
    standing.begin_statement()?;
    relation.silence(standing.transaction())?;
    let rewritten = resolve::rewritten(after, &standing.identity)?;
    let indexes = entries::of(standing, after)?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let old_keys = key_column(&batch, live.len())?.clone();
        let mut arrays = batch.columns()[..live.len()].to_vec();
        for (id, places, program) in &programs {
            let inputs = places.iter().map(|at| batch.column(*at).clone()).collect();
            let made = program.evaluate(&program.rows(inputs, batch.num_rows())?)?;
            if let (Some(at), Some(array)) = (live.iter().position(|column| column == id), made.into_iter().next()) {
                arrays[at] = array;
            }
        }
        let values = batch_of(arrays, batch.num_rows())?;
        valid::require_not_null(standing, after, &values, &live).map_err(|error| contains_nulls(error, after))?;
        let row_entries = indexes.of_batch(&values, &live)?;
        let keys = keys_of(standing, after, &values, &live)?;
        let new = rows_in(after, &values, &live)?;
        let new_rows = NewRows { indexes: &indexes, table: after, batch: &values, columns: &live };
        for (at, ((key, row), row_entries)) in keys.into_iter().zip(new).zip(row_entries).enumerate() {
            let old_key = old_keys.value(at);
            let key = if after.primary_key.is_none() {
                old_key.to_vec()
            } else if after.is_per_user() {
                behind_user(old_key, &key)?
            } else {
                key
            };
            let wait = LockWait::Block(None);
            if rewritten.claim(standing.transaction(), &key, wait).await?.is_some() {
                return Err(could_not_create(standing, after, &row));
            }
            rewritten.insert(standing.transaction(), &key, row)?;
            let put = new_rows.put(standing, &rewritten, (at, &key), &row_entries, |_| false, wait).await;
            put.map_err(|error| could_not_index(error, after))?;
        }
    }
    Ok(())
}

/// A key that is there twice now, said of the index as a whole.
fn could_not_index(error: SqlError, table: &TableDef) -> SqlError {
    let Some(name) = error.constraint().filter(|_| error.state() == SqlState::UNIQUE_VIOLATION) else { return error };
    let message = format!("could not create unique index \"{name}\"");
    let said = SqlError::new(SqlState::UNIQUE_VIOLATION, message).with_constraint(name);
    match error.detail() {
        Some(detail) if !table.is_per_user() => said.with_detail(detail.replace("already exists", "is duplicated")),
        _ => said,
    }
}

/// The rows of a batch of keys, as they are under the table's lock.
async fn locked(
    standing: &mut Standing,
    relation: &Relation,
    batch: &RecordBatch,
) -> Result<Vec<(Vec<u8>, RowVersion)>> {
    let keys = key_column(batch, batch.num_columns() - 1)?.clone();
    let mut found = Vec::with_capacity(keys.len());
    for key in keys.iter().flatten() {
        let wait = LockWait::Block(None);
        let newest = relation.claim(standing.transaction(), key, wait).await?;
        let row = newest.ok_or_else(|| SqlError::internal("a row went under the table's own lock"))?;
        found.push((key.to_vec(), row));
    }
    Ok(found)
}

/// Writes every row of a table anew under the key of its new definition, in this transaction.
///
/// # Errors
/// 23502, 23505, and the store's.
pub(super) async fn rekey(standing: &mut Standing, before: &Arc<TableDef>, after: &Arc<TableDef>) -> Result<()> {
    let live: Vec<ColumnId> = before.live_columns().map(|column| column.id).collect();
    let columns: Vec<ColumnId> = live.iter().copied().chain([ColumnId::ROW_KEY]).collect();
    let (relation, mut rows) = newest_rows(standing, before, &columns)?;
    let rewritten = resolve::rewritten(after, &standing.identity)?;
    relation.silence(standing.transaction())?;
    // Both have the same indexes: the entries lead to the new keys from here on.
    let indexes = entries::of(standing, after)?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let values = batch_of(batch.columns()[..live.len()].to_vec(), batch.num_rows())?;
        let row_entries = indexes.of_batch(&values, &live)?;
        valid::require_not_null(standing, after, &values, &live).map_err(|error| contains_nulls(error, after))?;
        let keys = keys_of(standing, after, &values, &live)?;
        let new = rows_in(after, &values, &live)?;
        let old = locked(standing, &relation, &batch).await?;
        for ((((old_key, old), key), row), row_entries) in old.into_iter().zip(keys).zip(new).zip(row_entries) {
            let key = if after.is_per_user() { behind_user(&old_key, &key)? } else { key };
            relation.remove(standing.transaction(), &old_key, old, true)?;
            let wait = LockWait::Block(None);
            if rewritten.claim(standing.transaction(), &key, wait).await?.is_some() {
                return Err(could_not_create(standing, after, &row));
            }
            for entry in &row_entries {
                relation.entry_remove(standing.transaction(), entry, &old_key, wait).await?;
                rewritten.entry_put(standing.transaction(), entry, &key)?;
            }
            rewritten.insert(standing.transaction(), &key, row)?;
        }
    }
    Ok(())
}

/// The new key of a user's row: of the same user.
fn behind_user(old: &[u8], key: &[u8]) -> Result<Vec<u8>> {
    let user = old.get(..4).ok_or_else(|| SqlError::internal("a USER table's row without a user"))?;
    Ok([user, key].concat())
}

fn contains_nulls(error: SqlError, table: &TableDef) -> SqlError {
    error.column().map(|column| holds_null(table, column)).unwrap_or(error)
}

fn could_not_create(standing: &Standing, table: &TableDef, row: &[u8]) -> SqlError {
    let name = table.primary_key.as_ref().map_or("", |key| key.name.as_str());
    let error = SqlError::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{name}\""))
        .with_constraint(name);
    if table.is_per_user() {
        // The row may be another user's.
        return error;
    }
    let duplicate = duplicate(standing, table, row);
    error.with_detail(duplicate.detail().unwrap_or_default().replace("already exists", "is duplicated"))
}
