//! The index entries of rows that statements write: claimed, put and removed beside the rows.

use super::prepared::{BindingNames, shape_of};
use crate::index::{RowEntries, TableIndexes};
use crate::relation::Relation;
use crate::standing::Standing;
use arrow_array::RecordBatch;
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, Result, SqlError, SqlState};
use kalamdb_store::{IndexDef, LockWait, RowVersion, TableDef};
use std::sync::Arc;

/// A table's indexes, compiled; the same ones as long as its definition stays.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn of(standing: &Standing, table: &Arc<TableDef>) -> Result<Arc<TableIndexes>> {
    if table.indexes.is_empty() {
        return Ok(Arc::new(TableIndexes::none(table)));
    }
    if let Some((def, indexes)) = standing.hall.indexes.lock().get(&table.id)
        && (Arc::ptr_eq(def, table) || def == table)
    {
        return Ok(indexes.clone());
    }
    let indexes = Arc::new(compiled(standing, table, &table.indexes)?);
    standing.hall.indexes.lock().put(table.id, (table.clone(), indexes.clone()));
    Ok(indexes)
}

/// Some indexes of a table, that need not be in its definition yet.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn compiled(standing: &Standing, table: &Arc<TableDef>, indexes: &[IndexDef]) -> Result<TableIndexes> {
    TableIndexes::new(table, indexes, &shape_of(table, ""), &BindingNames::new(standing))
}

/// A value as errors show it.
pub(super) fn text(standing: &Standing) -> impl Fn(&Datum, PgType) -> String + use<> {
    let (derived, names) = (standing.derived(), standing.names());
    move |datum, ty| kalamdb_sql::types::to_text(datum, ty, &derived.style, &names).unwrap_or_default()
}

/// Rows as they are written: their columns, for what errors say of them.
pub(super) struct NewRows<'a> {
    pub indexes: &'a TableIndexes,
    pub table: &'a Arc<TableDef>,
    pub batch: &'a RecordBatch,
    pub columns: &'a [ColumnId],
}

impl NewRows<'_> {
    /// 23505 for a unique entry of one of the rows.
    pub fn duplicate(&self, standing: &Standing, index: Oid, row: usize) -> SqlError {
        let name = self.indexes.definition(index).map_or("", |index| index.name.as_str());
        let message = format!("duplicate key value violates unique constraint \"{name}\"");
        let error = SqlError::new(SqlState::UNIQUE_VIOLATION, message)
            .with_schema(super::table::namespace_name(&standing.catalog(), self.table.namespace))
            .with_table(self.table.name.as_str())
            .with_constraint(name);
        match self.indexes.shown(index, self.batch, self.columns, row, &text(standing)) {
            Ok(shown) => error.with_detail(format!("{shown} already exists.")),
            Err(_) => error,
        }
    }

    /// Claims a row's unique entries, but for some of them, and puts all.
    ///
    /// # Errors
    /// 23505, and those of locks.
    pub async fn put(
        &self,
        standing: &mut Standing,
        relation: &Relation,
        (row, key): (usize, &[u8]),
        entries: &RowEntries,
        claimed: impl Fn(Oid) -> bool,
        wait: LockWait,
    ) -> Result<()> {
        for entry in entries {
            if entry.unique && !claimed(entry.index) {
                let other = relation.entry_claim(standing.transaction(), entry, key, wait).await?;
                if other.is_some_and(|other| other != key) {
                    return Err(self.duplicate(standing, entry.index, row));
                }
            }
            relation.entry_put(standing.transaction(), entry, key)?;
        }
        Ok(())
    }

    /// Writes one of the rows in the place of a locked one, its entries too.
    ///
    /// # Errors
    /// 23505, and those of locks.
    pub async fn replace(
        &self,
        standing: &mut Standing,
        relation: &Relation,
        (old_key, old): (&[u8], RowVersion),
        (row, key, stored): (usize, &[u8], Vec<u8>),
        (mut gone, mut come): (RowEntries, RowEntries),
        wait: LockWait,
    ) -> Result<()> {
        if key == old_key {
            let kept: RowEntries = gone.iter().filter(|entry| come.contains(entry)).cloned().collect();
            gone.retain(|entry| !kept.contains(entry));
            come.retain(|entry| !kept.contains(entry));
            relation.replace(standing.transaction(), key, stored, old)?;
        } else {
            relation.remove(standing.transaction(), old_key, old, true)?;
            if relation.claim(standing.transaction(), key, wait).await?.is_some() {
                return Err(super::write::duplicate(standing, self.table, &stored));
            }
            relation.insert(standing.transaction(), key, stored)?;
        }
        for entry in &gone {
            relation.entry_remove(standing.transaction(), entry, old_key, wait).await?;
        }
        self.put(standing, relation, (row, key), &come, |_| false, wait).await
    }
}
