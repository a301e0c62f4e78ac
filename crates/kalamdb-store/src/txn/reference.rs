//! What foreign keys ask of a transaction: whether a referenced row is there now, and that it stays.

use super::lock::{LockStrength, LockWait};
use super::read_view::ReadView;
use super::transaction::{Locked, Transaction};
use crate::catalog::Catalog;
use crate::codec::key::after_prefix;
use crate::definition::Partition;
use crate::error::StoreError;
use crate::kv::{Family, ScanSize};
use kalamdb_commons::{Oid, TableId, UserId};
use std::ops::Bound;
use std::sync::Arc;

impl Transaction {
    /// Looks for a row that must stay: by the transaction's own writes and the newest published state, at every level.
    /// One that is there is locked against removal and changes of its key. For a row that somebody else has written and
    /// not committed nobody waits: it is not there yet.
    ///
    /// # Errors
    /// [`StoreError::Deadlock`], [`StoreError::LockTimeout`]; the storage's.
    pub async fn row_probe(&mut self, partition: &Partition, key: &[u8], wait: LockWait) -> Result<Locked, StoreError> {
        let at_once = self.lock_key(partition, key, LockStrength::KeyShare, LockWait::Skip).await?;
        if !at_once.skipped {
            return Ok(at_once);
        }
        if self.newest_view().row_get(partition, key).await?.is_none() {
            return Ok(Locked { newest: None, changed: false, skipped: false, by_this_statement: false });
        }
        self.lock_key(partition, key, LockStrength::KeyShare, wait).await
    }

    /// The newest published definitions with the transaction's own changes, whatever its isolation: a foreign key that
    /// came since the snapshot holds for what the transaction writes now.
    pub fn newest_catalog(&self) -> Arc<Catalog> {
        let newest = self.newest();
        if Arc::ptr_eq(&newest.catalog, self.snapshot_catalog()) {
            return self.catalog();
        }
        match self.changes() {
            [] => newest.catalog.clone(),
            changes => Arc::new(newest.catalog.with(changes)),
        }
    }
}

impl ReadView {
    /// The users who have entries in an index of a USER table, ascending.
    ///
    /// # Errors
    /// The engine's.
    pub fn entry_users(&self, table: TableId, index: Oid) -> Result<Vec<UserId>, StoreError> {
        let prefix = super::index::prefix(table, index);
        let end = after_prefix(&prefix);
        let user_of = |full: &[u8]| {
            let user = full.get(prefix.len()..)?.first_chunk::<4>()?;
            Some(UserId(u32::from_be_bytes(*user)))
        };
        let mut users = Vec::new();
        if let Some(own) = self.own() {
            let set = own.set.read();
            let above = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for (key, _) in set.entries.range::<[u8], _>((Bound::Included(&prefix[..]), above)) {
                users.extend(user_of(key));
            }
        }
        let mut start = prefix.clone();
        loop {
            let cursor = self.snapshot().scan(Family::Indexes, &start, end.as_deref(), ScanSize::Short)?;
            let Some(user) = cursor.current().and_then(|(key, _)| user_of(key)) else { break };
            users.push(user);
            match user.0.checked_add(1) {
                Some(next) => start = [&prefix[..], &next.to_be_bytes()].concat(),
                None => break,
            }
        }
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }
}
