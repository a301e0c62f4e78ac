//! What foreign keys ask of a relation: whether a row has a key, that it stays, and which rows have some values.

use super::{Relation, stored_parts};
use crate::index::order_of;
use crate::plan::{Access, KeySpan, Keys, ScanRequest, batches};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, Oid, Result, Scope, SqlError, SqlType};
use kalamdb_store::codec::key;
use kalamdb_store::{
    Entries, IndexDef, IndexEntry, IndexKey, IndexKeyPart, Isolation, KeyRange, LockWait, Locked, Partition, ReadView,
    StoreError, TableDef, Transaction,
};
use std::ops::Bound;

/// Where a unique key's row is found.
enum UniquePlace {
    /// Under this key.
    Row(Vec<u8>),
    /// Where this entry leads.
    Entry(IndexEntry),
}

/// How often a row is looked up again that moves while it is about to be locked.
const KEPT_LOOKS_MAX: usize = 64;
/// How many entries are read where they are asked for: a page of them is in memory once the first is found.
const FOUND_AT_ONCE: usize = 64;
/// How many rows are read at once where only their keys are wanted.
const FOUND_ROWS: usize = 1024;

/// The columns that an index begins with.
fn index_columns(index: &IndexDef) -> Option<Vec<ColumnId>> {
    let column = |key: &IndexKey| match key.what {
        IndexKeyPart::Column(id) => Some(id),
        IndexKeyPart::Expression { .. } => None,
    };
    let columns: Vec<ColumnId> = index.keys.iter().map_while(column).collect();
    (!columns.is_empty()).then_some(columns)
}

/// Where the row with these values is, by the primary key or a unique index over just these columns.
fn unique_place(table: &TableDef, index: Oid, columns: &[ColumnId], values: &[Datum]) -> Result<UniquePlace> {
    let value = |id: ColumnId| {
        let at = columns.iter().position(|column| *column == id);
        at.map(|at| &values[at]).ok_or_else(|| SqlError::internal("a referenced key has another column"))
    };
    let type_of = |id: ColumnId| table.column(id).map_or(SqlType::Unknown, |column| column.ty.ty);
    if let Some(primary) = table.primary_key.as_ref().filter(|key| key.index == index) {
        let parts = primary.columns.iter().map(|id| Ok((type_of(*id), value(*id)?))).collect::<Result<Vec<_>>>()?;
        return Ok(UniquePlace::Row(key::encode(parts)?));
    }
    let def = table.index(index).ok_or_else(|| SqlError::internal("a foreign key without its unique index"))?;
    let mut form = Vec::with_capacity(16);
    for (order, id) in order_of(table, def)?.iter().zip(def.columns().unwrap_or_default()) {
        form.extend(order.form(value(id)?)?);
    }
    Ok(UniquePlace::Entry(IndexEntry { index, key: form, unique: true }))
}

/// The keys of the rows that entries lead to; but for the first few they are read away from the async threads.
async fn row_keys(mut entries: Entries) -> Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    while let Some(key) = entries.next()? {
        keys.push(key);
        if keys.len() == FOUND_AT_ONCE {
            let rest = tokio::task::spawn_blocking(move || -> Result<_> {
                while let Some(key) = entries.next()? {
                    keys.push(key);
                }
                Ok(keys)
            });
            return rest.await.map_err(SqlError::internal)?;
        }
    }
    Ok(keys)
}

impl Relation {
    /// Looks for a row that must stay: see [`Transaction::row_probe`].
    ///
    /// # Errors
    /// 40P01, 55P03
    pub async fn probe(&self, transaction: &mut Transaction, key: &[u8], wait: LockWait) -> Result<Locked> {
        Ok(transaction.row_probe(self.partition()?, key, wait).await?)
    }

    /// Whether a row has these values in the columns of the primary key or of a unique index (`index`), by the newest
    /// state; it stays from now on.
    ///
    /// # Errors
    /// 40001 at REPEATABLE READ for a row that the snapshot shows and that went since; 40P01, 55P03.
    pub async fn keep(
        &self,
        transaction: &mut Transaction,
        index: Oid,
        columns: &[ColumnId],
        values: &[Datum],
        wait: LockWait,
    ) -> Result<bool> {
        let partition = self.partition()?;
        let is_fixed = transaction.isolation() == Isolation::RepeatableRead;
        let entry = match unique_place(&partition.table, index, columns, values)? {
            UniquePlace::Row(key) => {
                let found = transaction.row_probe(partition, &key, wait).await?;
                if found.newest.is_none() && found.changed && is_fixed {
                    return Err(StoreError::ConcurrentDelete.into());
                }
                return Ok(found.newest.is_some());
            }
            UniquePlace::Entry(entry) => entry,
        };
        for _ in 0..KEPT_LOOKS_MAX {
            let Some(row) = transaction.entry_newest(partition, &entry, &[])? else {
                let range = KeyRange::point(&entry.key);
                if is_fixed && transaction.view().entries(partition, index, &range, false)?.next()?.is_some() {
                    return Err(StoreError::ConcurrentUpdate.into());
                }
                return Ok(false);
            };
            let found = transaction.row_probe(partition, &row, wait).await?;
            // Under the row's lock nobody else moves the entry.
            if found.newest.is_some() && transaction.entry_newest(partition, &entry, &[])?.as_ref() == Some(&row) {
                return Ok(true);
            }
        }
        Err(StoreError::ConcurrentUpdate.into())
    }

    /// As [`Relation::keep`], without a lock, as a view shows it.
    ///
    /// # Errors
    /// The store's.
    pub async fn has(&self, view: &ReadView, index: Oid, columns: &[ColumnId], values: &[Datum]) -> Result<bool> {
        let partition = self.partition()?;
        match unique_place(&partition.table, index, columns, values)? {
            UniquePlace::Row(key) => Ok(view.row_get(partition, &key).await?.is_some()),
            UniquePlace::Entry(entry) => {
                Ok(view.entries(partition, index, &KeyRange::point(&entry.key), false)?.next()?.is_some())
            }
        }
    }

    /// The keys of the rows that have these values in some columns, where the primary key or an index begins with
    /// these; `None` where all rows must be looked at.
    ///
    /// # Errors
    /// The store's.
    pub async fn keys_by(
        &self,
        view: &ReadView,
        columns: &[ColumnId],
        values: &[Datum],
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let partition = self.partition()?;
        let table = &partition.table;
        let all_users = table.is_per_user() && partition.scope == Scope::Shared;
        let in_order = |key: &[ColumnId]| -> Option<Vec<Datum>> {
            let begin = key.get(..columns.len())?;
            let value = |id: &ColumnId| columns.iter().position(|column| column == id).map(|at| values[at].clone());
            begin.iter().map(value).collect()
        };
        let primary = table.primary_key.as_ref().filter(|_| !all_users).and_then(|key| in_order(&key.columns));
        if let Some(prefix) = primary {
            let span = KeySpan { prefix, low: Bound::Unbounded, high: Bound::Unbounded };
            let keys = Keys::Spans(vec![span]);
            let columns = vec![ColumnId::ROW_KEY];
            let request = ScanRequest { columns, access: Access::Key, keys, limit: None, batch_rows: FOUND_ROWS };
            let parts = stored_parts(view, partition, false, &request)?;
            let mut rows = futures::stream::iter(parts).flat_map(|part| batches(part, false)).boxed();
            let mut found = Vec::new();
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let keys = batch.column(0).as_any().downcast_ref::<arrow_array::BinaryArray>();
                let keys = keys.ok_or_else(|| SqlError::internal("the row keys are not in the source"))?;
                found.extend(keys.iter().flatten().map(<[u8]>::to_vec));
            }
            return Ok(Some(found));
        }
        for index in table.indexes.iter().filter(|index| index.predicate.is_none()) {
            let Some(prefix) = index_columns(index).and_then(|key| in_order(&key)) else { continue };
            if !view.has_index(table.id, index.id) {
                continue;
            }
            let mut form = Vec::with_capacity(16);
            for (order, value) in order_of(table, index)?.iter().zip(&prefix) {
                form.extend(order.form(value)?);
            }
            let range = KeyRange::of_prefix(&form);
            let mut found = Vec::new();
            let users = if all_users { view.entry_users(table.id, index.id)? } else { Vec::new() };
            for user in &users {
                let mine = Partition { table: table.clone(), scope: Scope::User(*user) };
                let keys = row_keys(view.entries(&mine, index.id, &range, false)?).await?;
                found.extend(keys.into_iter().map(|key| [&user.0.to_be_bytes()[..], &key].concat()));
            }
            if !all_users {
                found = row_keys(view.entries(partition, index.id, &range, false)?).await?;
            }
            return Ok(Some(found));
        }
        Ok(None)
    }
}
