//! A relation that a statement may use: the proof of its permission, and the only way to its rows.
//!
//! Made by `resolve` alone. Its fields are private: a row cannot be reached without the grant that was checked.

use crate::database::SystemFacts;
use crate::plan::{self, KeyShape, Part, ScanRequest, Source};
use crate::system;
use futures::StreamExt;
use futures::stream::BoxStream;
use kalamdb_auth::authorize::Granted;
use kalamdb_commons::{ColumnId, Result, Scope, SqlError, TableId};
use kalamdb_store::{
    LockStrength, LockWait, Locked, Partition, ReadView, RowVersion, TableDef, Transaction,
};
use std::sync::Arc;

/// A relation with its grant.
#[derive(Debug)]
pub(crate) struct Relation {
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Rows in the store.
    Stored { partition: Partition, with_deleted: bool, _granted: Granted },
    /// Computed rows; who may see which is decided where they are computed.
    Computed(TableId),
}

impl Relation {
    /// A partition of a table, for whoever was granted what it asked.
    pub fn stored(partition: Partition, granted: Granted, with_deleted: bool) -> Self {
        Self { place: Place::Stored { partition, with_deleted, _granted: granted } }
    }

    /// A computed relation.
    pub fn computed(table: TableId) -> Self {
        Self { place: Place::Computed(table) }
    }

    /// Its name.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Stored { partition, .. } => partition.table.name.to_string(),
            Place::Computed(table) => {
                system::relations().by_oid(*table).map_or_else(|| table.to_string(), |shape| shape.name.clone())
            }
        }
    }

    fn partition(&self) -> Result<&Partition> {
        match &self.place {
            Place::Stored { partition, .. } => Ok(partition),
            Place::Computed(_) => Err(SqlError::internal("a computed relation has no rows in the store")),
        }
    }

    /// The table behind it.
    ///
    /// # Errors
    /// XX000 for a computed relation.
    pub fn table(&self) -> Result<&Arc<TableDef>> {
        Ok(&self.partition()?.table)
    }

    /// What a live query follows.
    ///
    /// # Errors
    /// 0A000 for a computed relation.
    pub fn followed_place(&self) -> Result<(Arc<TableDef>, Scope)> {
        match &self.place {
            Place::Stored { partition, .. } => Ok((partition.table.clone(), partition.scope)),
            Place::Computed(_) => Err(SqlError::unsupported("a live query over a system relation")),
        }
    }

    /// Its rows as one view shows them.
    pub fn source(&self, view: &ReadView, facts: &SystemFacts) -> Arc<dyn Source> {
        match &self.place {
            Place::Stored { partition, with_deleted, .. } => Arc::new(StoredRows {
                view: view.clone(),
                partition: partition.clone(),
                with_deleted: *with_deleted,
            }),
            Place::Computed(table) => Arc::new(ComputedRows { table: *table, facts: facts.clone() }),
        }
    }

    /// Every row, hot and cold, in batches.
    ///
    /// # Errors
    /// The store's.
    pub fn all_rows(
        &self,
        view: &ReadView,
        columns: &[ColumnId],
        batch_rows: usize,
    ) -> Result<BoxStream<'static, Result<arrow_array::RecordBatch>>> {
        let request =
            ScanRequest { columns: columns.to_vec(), keys: plan::Keys::All, limit: None, batch_rows };
        let parts = plan::stored_parts(view, self.partition()?, false, &request)?;
        Ok(futures::stream::iter(parts).flat_map(plan::part_stream).boxed())
    }

    /// Locks a row, present or absent, and says what it is now.
    ///
    /// # Errors
    /// 40001, 40P01, 55P03
    pub async fn lock(
        &self,
        transaction: &mut Transaction,
        key: &[u8],
        strength: LockStrength,
        wait: LockWait,
    ) -> Result<Locked> {
        Ok(transaction.row_lock(self.partition()?, key, strength, wait).await?)
    }

    /// Locks a key that is to be inserted; the row that is there already, judged on the newest published state at
    /// every isolation level.
    ///
    /// # Errors
    /// 40P01, 55P03
    pub async fn claim(
        &self,
        transaction: &mut Transaction,
        key: &[u8],
        wait: LockWait,
    ) -> Result<Option<RowVersion>> {
        Ok(transaction.row_claim(self.partition()?, key, wait).await?)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// 53200
    pub fn insert(&self, transaction: &mut Transaction, key: &[u8], row: Vec<u8>) -> Result<()> {
        Ok(transaction.row_put(self.partition()?, key, row, None)?)
    }

    /// Puts a row in the place of its locked version.
    ///
    /// # Errors
    /// 53200
    pub fn replace(
        &self,
        transaction: &mut Transaction,
        key: &[u8],
        row: Vec<u8>,
        old: RowVersion,
    ) -> Result<()> {
        Ok(transaction.row_put(self.partition()?, key, row, Some(old))?)
    }

    /// Removes a locked row; a tombstone stays unless `purge`.
    ///
    /// # Errors
    /// 53200
    pub fn remove(&self, transaction: &mut Transaction, key: &[u8], old: RowVersion, purge: bool) -> Result<()> {
        Ok(transaction.row_remove(self.partition()?, key, old, purge)?)
    }

    /// Removes all rows of the partition that the statement sees.
    ///
    /// # Errors
    /// The store's.
    pub fn truncate(&self, transaction: &mut Transaction) -> Result<()> {
        Ok(transaction.truncate(self.partition()?)?)
    }
}

/// A partition's rows, hot and cold.
#[derive(Debug)]
struct StoredRows {
    view: ReadView,
    partition: Partition,
    with_deleted: bool,
}

impl Source for StoredRows {
    fn name(&self) -> String {
        self.partition.table.name.to_string()
    }

    fn key(&self) -> Option<KeyShape> {
        let key = self.partition.table.primary_key.as_ref()?;
        Some(KeyShape { name: key.name.clone(), columns: key.columns.clone() })
    }

    fn estimated_rows(&self) -> Option<u64> {
        self.view.estimated_rows(&self.partition)
    }

    fn scan(&self, request: ScanRequest) -> Result<Vec<Part>> {
        plan::stored_parts(&self.view, &self.partition, self.with_deleted, &request)
    }
}

/// A computed relation's rows.
#[derive(Debug)]
struct ComputedRows {
    table: TableId,
    facts: SystemFacts,
}

impl Source for ComputedRows {
    fn name(&self) -> String {
        system::relations().by_oid(self.table).map_or_else(|| self.table.to_string(), |shape| shape.name.clone())
    }

    fn estimated_rows(&self) -> Option<u64> {
        None
    }

    fn key(&self) -> Option<KeyShape> {
        system::key_of(self.table).map(|columns| KeyShape { name: format!("{}_key", self.name()), columns })
    }

    fn scan(&self, request: ScanRequest) -> Result<Vec<Part>> {
        let batch = system::scan(self.table, &request.columns, &request.keys, &self.facts.gather())?;
        Ok(vec![Part::Ready(vec![batch])])
    }
}

