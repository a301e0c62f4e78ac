//! Ordered keys in a fixed set of families: what the store asks of a storage engine.
//!
//! Nothing here assumes a local disk or says RocksDB: a networked engine fits behind the same three traits. Only the
//! committer applies batches, so an engine has one writer; readers go through snapshots, which anybody may hold.

pub mod faulty;
pub mod memory;
pub mod rocksdb;

pub use crate::error::KvError;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// A full key, shared between the write set, the lock table, the batch and the feed.
pub type Key = Arc<[u8]>;

/// A family of keys. Their number is fixed: ten thousand tables cost nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// Marks, manifests, positional deletes, jobs: what changes often and has no SQL definition.
    Meta,
    /// Live rows of USER and SHARED tables.
    Rows,
    /// Rows of STREAM tables; each value ends with its expiry.
    Streams,
    /// Index entries.
    Indexes,
    /// Soft-deleted rows.
    Tombstones,
    /// Changes of watched tables, for resume.
    Changes,
    /// Definitions.
    Catalog,
}

impl Family {
    /// All of them, in the order of their numbers.
    pub const ALL: [Family; 7] = [
        Family::Meta,
        Family::Rows,
        Family::Streams,
        Family::Indexes,
        Family::Tombstones,
        Family::Changes,
        Family::Catalog,
    ];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Family::Meta => "default",
            Family::Rows => "rows",
            Family::Streams => "streams",
            Family::Indexes => "indexes",
            Family::Tombstones => "tombstones",
            Family::Changes => "changes",
            Family::Catalog => "catalog",
        }
    }
}

/// Whether a write is on stable storage before the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Durability {
    /// Soon: `synchronous_commit = off`.
    Unsynced,
    /// Before the answer.
    Synced,
}

/// One write.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sets a key.
    Put(Family, Key, Bytes),
    /// Removes a key; one that is not there is removed already.
    Delete(Family, Key),
    /// Removes the keys from the first to before the second.
    DeleteRange(Family, Vec<u8>, Vec<u8>),
}

/// Writes that happen all or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The writer's epoch: an engine with several possible writers refuses a batch of an older one. The embedded
    /// engines have one writer by their lock on the data directory.
    pub epoch: u64,
    /// The writes, in order: a later one wins.
    pub ops: Vec<Op>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, family: Family, key: impl Into<Key>, value: impl Into<Bytes>) {
        self.ops.push(Op::Put(family, key.into(), value.into()));
    }
    /// Removes a key.
    pub fn delete(&mut self, family: Family, key: impl Into<Key>) {
        self.ops.push(Op::Delete(family, key.into()));
    }
    /// Removes every key that begins with `prefix`, which is not all `FF`.
    pub fn delete_prefix(&mut self, family: Family, prefix: &[u8]) {
        if let Some(last) = prefix.iter().rposition(|byte| *byte != 0xFF) {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            self.ops.push(Op::DeleteRange(family, prefix.to_vec(), end));
        }
    }
}

/// A storage engine.
pub trait StorageBackend: Send + Sync + 'static {
    /// Applies a batch; with [`Durability::Synced`] it and everything before it is durable on return.
    ///
    /// # Errors
    /// After one, nobody knows which of the writes will be there when the engine is opened again.
    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), KvError>;
    /// Makes everything applied so far durable.
    ///
    /// # Errors
    /// As [`StorageBackend::apply`].
    fn sync(&self) -> Result<(), KvError>;
    /// The state as it is now.
    ///
    /// # Errors
    /// The engine's.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, KvError>;
    /// A copy that can be opened by itself, in a new folder.
    ///
    /// # Errors
    /// The engine's.
    fn checkpoint(&self, folder: &Path) -> Result<(), KvError>;
    /// About how many bytes the keys from `start` to before `end` take on disk: what is in memory alone may not count.
    fn size(&self, family: Family, start: &[u8], end: &[u8]) -> u64;

    /// Counters: name, value, unit.
    fn stats(&self) -> Vec<(&'static str, i64, &'static str)>;
}

/// How much a scan will read, as far as the caller knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanSize {
    /// Some rows: what was read may stay in the cache.
    Short,
    /// Perhaps everything: it must not push out what others need.
    Long,
}

/// One unchanging state.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The engine's.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError>;
    /// The values of several keys.
    ///
    /// # Errors
    /// The engine's.
    fn multi_get(&self, family: Family, keys: &[Key]) -> Result<Vec<Option<Bytes>>, KvError> {
        keys.iter().map(|key| self.get(family, key)).collect()
    }
    /// The keys from `start` (inclusive) to `end` (exclusive), ascending.
    ///
    /// # Errors
    /// The engine's.
    fn scan(
        &self,
        family: Family,
        start: &[u8],
        end: Option<&[u8]>,
        size: ScanSize,
    ) -> Result<Box<dyn Cursor>, KvError>;

    /// The same keys, descending.
    ///
    /// # Errors
    /// The engine's.
    fn scan_back(&self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor>, KvError>;
}

/// A place in a scan.
pub trait Cursor: Send {
    /// Key and value here; `None` behind the last.
    fn current(&self) -> Option<(&[u8], &[u8])>;
    /// Moves on.
    ///
    /// # Errors
    /// The engine's; the cursor is at its end then.
    fn advance(&mut self) -> Result<(), KvError>;
}

/// All pairs of a prefix, gathered: for small ranges.
///
/// # Errors
/// The engine's.
pub fn pairs(snapshot: &dyn Snapshot, family: Family, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
    let mut found = Vec::new();
    let mut cursor = snapshot.scan(family, prefix, None, ScanSize::Short)?;
    while let Some((key, value)) = cursor.current() {
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key.to_vec(), Bytes::copy_from_slice(value)));
        cursor.advance()?;
    }
    Ok(found)
}
