//! Index entries: how they are found, claimed, written and filled in.
//!
//! ```text
//! table id | index id | user number (USER) | key in the index                 → 00 row key       unique
//! table id | index id | user number (USER) | key in the index | row key       → 01 its length    any other
//! ```
//!
//! A unique entry stands under its key alone, so a duplicate is found by one look-up under that key's lock; where NULLs
//! make it none (they are distinct) it stands like the entry of an index that is not unique. A row's key is what it is
//! inside its partition. Entries are written in the batch of their rows, versions for each statement, and stay in the
//! engine when rows go to segments.
//!
//! A new index is filled outside the write set, in batches, before its definition is committed: nobody knows of it, and
//! its number is never given again. A mark names it meanwhile, so that what a crash leaves is removed.

use super::Engine;
use super::committer::Request;
use super::deadlock::settle;
use super::lock::{LockStrength, LockWait};
use super::read_view::ReadView;
use super::transaction::Transaction;
use super::write_set::{ENTRY_BYTES, entry_seen};
use crate::catalog::stored;
use crate::codec::CodecError;
use crate::codec::key::KeyRange;
use crate::definition::{IndexState, Partition};
use crate::error::{LockedThing, StoreError};
use crate::kv::{Cursor, Durability, Family, Key, Op, ScanSize, pairs};
use bytes::Bytes;
use kalamdb_commons::{Oid, Scope, TableId};
use std::ops::Bound;
use std::sync::Arc;

/// What a row's lock costs besides its key.
const LOCK_BYTES: usize = 160;
const UNIQUE: u8 = 0;
const SHARED: u8 = 1;

/// One entry of an index, as a row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The index.
    pub index: Oid,
    /// The key in the index.
    pub key: Vec<u8>,
    /// Whether no other row may have this key.
    pub unique: bool,
}

/// What all entries of an index begin with.
pub(crate) fn prefix(table: TableId, index: Oid) -> Vec<u8> {
    [table.0.to_be_bytes(), index.to_be_bytes()].concat()
}

/// The table and the index that an entry's full key belongs to.
pub(crate) fn entry_owner(full: &[u8]) -> Option<(TableId, Oid)> {
    let (table, rest) = full.split_first_chunk::<4>()?;
    let index = rest.first_chunk::<4>()?;
    Some((TableId(u32::from_be_bytes(*table)), u32::from_be_bytes(*index)))
}

/// What a partition's entries of an index begin with.
fn scope_prefix(partition: &Partition, index: Oid) -> Vec<u8> {
    let mut out = prefix(partition.table.id, index);
    if let Scope::User(user) = partition.scope {
        out.extend_from_slice(&user.0.to_be_bytes());
    }
    out
}

/// The user number in front of a row's key, when all users' rows of a table are looked at, and the key behind it.
fn split_user<'a>(partition: &Partition, row_key: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    match partition.scope {
        Scope::Shared if partition.table.is_per_user() => row_key.split_at(row_key.len().min(4)),
        _ => (&[], row_key),
    }
}

/// An entry's full key and value.
fn placed(partition: &Partition, entry: &IndexEntry, row_key: &[u8]) -> (Key, Bytes) {
    let (user, row_key) = split_user(partition, row_key);
    let mut full = scope_prefix(partition, entry.index);
    full.extend_from_slice(user);
    full.extend_from_slice(&entry.key);
    let value = if entry.unique {
        [&[UNIQUE], row_key].concat()
    } else {
        full.extend_from_slice(row_key);
        [&[SHARED][..], &(row_key.len() as u32).to_le_bytes()].concat()
    };
    (full.into(), value.into())
}

/// The key of the row that an entry leads to.
fn row_key_of(full: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::Codec(CodecError::Damaged("an index entry"));
    match value.split_first() {
        Some((&UNIQUE, row_key)) => Ok(row_key.to_vec()),
        Some((&SHARED, length)) => {
            let length = u32::from_le_bytes(*length.first_chunk().ok_or_else(damaged)?) as usize;
            let from = full.len().checked_sub(length).ok_or_else(damaged)?;
            Ok(full[from..].to_vec())
        }
        _ => Err(damaged()),
    }
}

impl Transaction {
    /// Which row has this unique entry, by the transaction's own writes and the newest published state. Nothing is
    /// locked: the answer may be old when it comes.
    ///
    /// # Errors
    /// The engine's.
    pub fn entry_newest(
        &self,
        partition: &Partition,
        entry: &IndexEntry,
        row_key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (full, _) = placed(partition, entry, row_key);
        let user = split_user(partition, row_key).0;
        let with_user = |found: Vec<u8>| if user.is_empty() { found } else { [user, &found[..]].concat() };
        {
            let set = self.own().read();
            let emptied = set.emptied(partition.table.id, u32::MAX);
            match set.entries.get(&full).and_then(|versions| entry_seen(versions, u32::MAX, emptied)) {
                Some(Some(value)) => return row_key_of(&full, value).map(with_user).map(Some),
                Some(None) => return Ok(None),
                None if emptied > 0 => return Ok(None),
                None => {}
            }
        }
        let found = self.engine().published().snapshot.get(Family::Indexes, &full)?;
        found.map(|value| row_key_of(&full, &value).map(with_user)).transpose()
    }

    /// Locks a unique entry's key, and says which row has it now. `row_key` is that of the row which wants it.
    ///
    /// # Errors
    /// [`StoreError::Deadlock`], [`StoreError::LockTimeout`], [`StoreError::NotAvailable`]; the engine's.
    pub async fn entry_claim(
        &mut self,
        partition: &Partition,
        entry: &IndexEntry,
        row_key: &[u8],
        wait: LockWait,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.lock_entry(partition, entry, row_key, wait).await?;
        self.entry_newest(partition, entry, row_key)
    }

    async fn lock_entry(
        &mut self,
        partition: &Partition,
        entry: &IndexEntry,
        row_key: &[u8],
        wait: LockWait,
    ) -> Result<(), StoreError> {
        if self.is_ours_alone(partition.table.id) {
            return Ok(());
        }
        let (full, _) = placed(partition, entry, row_key);
        // Without the table: what begins with an index's number is no row's key.
        let key = Key::from(&full[4..]);
        self.charge_mut().grow(LOCK_BYTES + key.len())?;
        let wait = if wait == LockWait::Skip { LockWait::NoWait } else { wait };
        let requested = self.locks_mut().row(key, LockStrength::Update, wait);
        let thing = || LockedThing::Row(partition.table.name.to_string());
        settle(&self.engine().clone().locks, requested, wait, thing).await.map(|_| ())
    }

    /// Writes a row's entry. A unique one was claimed.
    ///
    /// # Errors
    /// [`StoreError::TooManyWrites`].
    pub fn entry_put(&mut self, partition: &Partition, entry: &IndexEntry, row_key: &[u8]) -> Result<(), StoreError> {
        let (full, value) = placed(partition, entry, row_key);
        self.write_entry(full, Some(value))
    }

    /// Removes a row's entry. A unique one's key is locked: who wants it must wait for what becomes of this.
    ///
    /// # Errors
    /// As [`Transaction::entry_claim`]; [`StoreError::TooManyWrites`].
    pub async fn entry_remove(
        &mut self,
        partition: &Partition,
        entry: &IndexEntry,
        row_key: &[u8],
        wait: LockWait,
    ) -> Result<(), StoreError> {
        if entry.unique {
            self.lock_entry(partition, entry, row_key, wait).await?;
        }
        let (full, _) = placed(partition, entry, row_key);
        self.write_entry(full, None)
    }

    fn write_entry(&mut self, full: Key, value: Option<Bytes>) -> Result<(), StoreError> {
        self.charge_mut().grow(ENTRY_BYTES + full.len() + value.as_ref().map_or(0, Bytes::len))?;
        let statement = self.statement_number();
        self.own().write().write_entry(full, statement, value);
        Ok(())
    }

    /// Begins to fill a new index whose table this transaction has locked against writers.
    ///
    /// # Errors
    /// The committer's.
    pub async fn build_begin(&mut self, table: TableId, index: Oid) -> Result<(), StoreError> {
        let engine = self.engine().clone();
        let guard = Build::new(engine.clone(), table, index);
        // With the numbers that were given: this one is never given again, whatever happens now.
        let given = Op::Put(Family::Meta, stored::GIVEN_KEY.into(), stored::encode(&engine.numbers.given()));
        let mark = Op::Put(Family::Meta, stored::build_key(table, index), Bytes::new());
        engine.apply(vec![given, mark], Durability::Synced).await?;
        self.builds_mut().push(guard);
        Ok(())
    }

    /// Entries of committed rows for an index that is being filled. The first unique key that is there twice comes
    /// back, as the place in `entries`, and nothing was written then.
    ///
    /// # Errors
    /// The committer's.
    pub async fn build_put(
        &mut self,
        partition: &Partition,
        entries: &[(IndexEntry, Vec<u8>)],
    ) -> Result<Option<usize>, StoreError> {
        let engine = self.engine().clone();
        let placed: Vec<(Key, Bytes)> =
            entries.iter().map(|(entry, row_key)| placed(partition, entry, row_key)).collect();
        let unique: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].0.unique).collect();
        if !unique.is_empty() {
            let keys: Vec<Key> = unique.iter().map(|at| placed[*at].0.clone()).collect();
            let stored = engine.published().snapshot.multi_get(Family::Indexes, &keys)?;
            let mut seen = rustc_hash::FxHashSet::default();
            for ((at, key), stored) in unique.iter().zip(&keys).zip(stored) {
                if stored.is_some() || !seen.insert(key.clone()) {
                    return Ok(Some(*at));
                }
            }
        }
        let ops = placed.into_iter().map(|(key, value)| Op::Put(Family::Indexes, key, value)).collect();
        engine.apply(ops, Durability::Unsynced).await?;
        Ok(None)
    }
}

/// An index that is being filled. When this goes the committer looks at what became of it.
pub(super) struct Build {
    engine: Arc<Engine>,
    table: TableId,
    index: Oid,
}

impl Build {
    fn new(engine: Arc<Engine>, table: TableId, index: Oid) -> Self {
        engine.building.lock().insert(index);
        Self { engine, table, index }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        // Behind the commit of its transaction. A store that is closed does this at its next start.
        let _ = self.engine.send(Request::EndBuild { table: self.table, index: self.index });
        self.engine.building.lock().remove(&self.index);
    }
}

/// Removes what was left of indexes that the last life of the server was filling. How many.
///
/// # Errors
/// The engine's.
pub(crate) fn abandoned(engine: &Arc<Engine>) -> Result<u64, StoreError> {
    let mut removed = 0;
    for (key, _) in pairs(&*engine.published().snapshot, Family::Meta, b"b")? {
        let Some((table, index)) = key.get(1..).and_then(entry_owner) else { continue };
        if !engine.building.lock().contains(&index) {
            engine.send(Request::EndBuild { table, index })?;
            removed += 1;
        }
    }
    Ok(removed)
}

impl ReadView {
    /// Whether an index has every row that this view shows. One that the view's transaction has made itself may have
    /// been filled behind the view's back.
    pub fn has_index(&self, table: TableId, index: Oid) -> bool {
        let ready =
            |def: &crate::definition::TableDef| def.index(index).is_some_and(|index| index.state == IndexState::Ready);
        match self.published_state().catalog.table(table) {
            Some(def) => {
                ready(def) || (self.is_newest_of_own() && self.catalog().table(table).is_some_and(|def| ready(def)))
            }
            None => self.catalog().table(table).is_some_and(|def| ready(def)),
        }
    }

    /// The keys of the rows whose entries lie in a range of an index, in the index's order or backwards.
    ///
    /// # Errors
    /// The engine's.
    pub fn entries(
        &self,
        partition: &Partition,
        index: Oid,
        range: &KeyRange,
        backwards: bool,
    ) -> Result<Entries, StoreError> {
        let full = range.behind(&scope_prefix(partition, index));
        let (mut own, mut emptied) = (Vec::new(), 0);
        if let Some(mine) = self.own() {
            let set = mine.set.read();
            emptied = set.emptied(partition.table.id, mine.below);
            if !full.is_empty() {
                let end = full.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                for (key, versions) in set.entries.range::<[u8], _>((Bound::Included(&full.start[..]), end)) {
                    if let Some(seen) = entry_seen(versions, mine.below, emptied) {
                        own.push((key.clone(), seen.cloned()));
                    }
                }
            }
        }
        // Taken from the end.
        if !backwards {
            own.reverse();
        }
        let cursor = if emptied > 0 || full.is_empty() {
            None
        } else if backwards {
            Some(self.snapshot().scan_back(Family::Indexes, &full.start, full.end.as_deref())?)
        } else {
            Some(self.snapshot().scan(Family::Indexes, &full.start, full.end.as_deref(), ScanSize::Short)?)
        };
        Ok(Entries { cursor, own, backwards })
    }

    /// How many entries lie in some ranges of an index, as far as `limit`. The transaction's own are not looked at.
    ///
    /// # Errors
    /// The engine's.
    pub fn entry_count(
        &self,
        partition: &Partition,
        index: Oid,
        ranges: &[KeyRange],
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        for range in ranges {
            let full = range.behind(&scope_prefix(partition, index));
            if full.is_empty() {
                continue;
            }
            let mut cursor =
                self.snapshot().scan(Family::Indexes, &full.start, full.end.as_deref(), ScanSize::Short)?;
            while cursor.current().is_some() {
                count += 1;
                if count >= limit {
                    return Ok(count);
                }
                cursor.advance()?;
            }
        }
        Ok(count)
    }
}

/// Entries of an index, committed and own ones merged.
pub struct Entries {
    cursor: Option<Box<dyn Cursor>>,
    /// Own entries, the next one last; `None`: removed.
    own: Vec<(Key, Option<Bytes>)>,
    backwards: bool,
}

impl Entries {
    /// The key of the next row.
    ///
    /// # Errors
    /// The engine's; a damaged entry.
    #[allow(clippy::should_implement_trait)] // it fails
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            let committed = self.cursor.as_ref().and_then(|cursor| cursor.current());
            let order = match (committed, self.own.last()) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((key, _)), Some((own, _))) => {
                    let order = key.cmp(&own[..]);
                    if self.backwards { order.reverse() } else { order }
                }
            };
            if order == std::cmp::Ordering::Less {
                let found = committed.map(|(key, value)| row_key_of(key, value)).transpose()?;
                self.advance()?;
                return Ok(found);
            }
            if order == std::cmp::Ordering::Equal {
                self.advance()?;
            }
            if let Some((key, Some(value))) = self.own.pop() {
                return row_key_of(&key, &value).map(Some);
            }
        }
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        match &mut self.cursor {
            Some(cursor) => Ok(cursor.advance()?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
