//! What the committer publishes: one value that pins rows, definitions and segments of one moment.
//!
//! A statement takes the newest in one load, and nobody else makes a snapshot of the engine. The manifest stands
//! here in memory beside the snapshot that holds it on disk, so that a point read of a table without segments asks
//! the engine once.

use crate::catalog::{Catalog, stored};
use crate::error::StoreError;
use crate::kv::{Family, ScanSize, Snapshot, pairs};
use crate::segment::{Deletes, SegmentRecord};
use imbl::HashMap;
use kalamdb_commons::{SegmentId, Seq, TableId};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One published state.
pub struct Published {
    /// The position of the last commit in it.
    pub seq: Seq,
    /// That commit's stamp, microseconds since 1970 UTC.
    pub stamp_us: i64,
    /// The definitions.
    pub catalog: Arc<Catalog>,
    pub(crate) manifest: Manifest,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(super) _seen: Seen,
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published").field("seq", &self.seq).field("stamp_us", &self.stamp_us).finish_non_exhaustive()
    }
}

/// The segments of all tables, and how many rows they have.
#[derive(Clone, Default)]
pub(crate) struct Manifest {
    tables: HashMap<TableId, Arc<TableFiles>>,
    counts: HashMap<TableId, i64>,
}

/// Where a table's rows can be besides the hot ones.
#[derive(Clone, Default)]
pub(crate) struct TableFiles {
    /// Moved on by each flush: a write set that names places by an older number looks them up again.
    pub place_number: u64,
    /// Hot rows at or below it are leftovers of a flush: the segments have them.
    pub mark: Seq,
    pub segments: Vec<SegmentEntry>,
}

#[derive(Clone)]
pub(crate) struct SegmentEntry {
    pub record: Arc<SegmentRecord>,
    /// Which set of positional deletes this is: 0 for none, otherwise another number after each change.
    pub deletes_version: u64,
}

impl Manifest {
    pub fn files(&self, table: TableId) -> Option<&Arc<TableFiles>> {
        self.tables.get(&table)
    }
    pub fn files_mut(&mut self, table: TableId) -> &mut TableFiles {
        Arc::make_mut(self.tables.entry(table).or_default())
    }
    pub fn place_number(&self, table: TableId) -> u64 {
        self.tables.get(&table).map_or(0, |files| files.place_number)
    }
    pub fn count(&self, table: TableId) -> i64 {
        self.counts.get(&table).copied().unwrap_or(0)
    }
    pub fn set_count(&mut self, table: TableId, count: i64) {
        self.counts.insert(table, count);
    }
    /// Forgets a table that was dropped.
    pub fn forget(&mut self, table: TableId) {
        self.tables.remove(&table);
        self.counts.remove(&table);
    }

    /// As it is stored.
    pub fn load(snapshot: &dyn Snapshot) -> Result<Self, StoreError> {
        let mut manifest = Self::default();
        for (_, value) in pairs(snapshot, Family::Meta, b"m")? {
            let record: SegmentRecord = stored::decode("a segment record", &value)?;
            let mut deletes = snapshot.scan(Family::Meta, &stored::deletes_prefix(record.id), None, ScanSize::Short)?;
            let any = deletes.current().is_some_and(|(key, _)| key.starts_with(&stored::deletes_prefix(record.id)));
            if any {
                deletes.advance()?;
            }
            let files = manifest.files_mut(record.table);
            files.segments.push(SegmentEntry { record: Arc::new(record), deletes_version: u64::from(any) });
        }
        for (key, value) in pairs(snapshot, Family::Meta, b"f")? {
            manifest.files_mut(table_in(&key)?).mark = stored::decode("a flush mark", &value)?;
        }
        for (key, value) in pairs(snapshot, Family::Meta, b"c")? {
            manifest.set_count(table_in(&key)?, stored::decode("a row count", &value)?);
        }
        Ok(manifest)
    }
}

fn table_in(key: &[u8]) -> Result<TableId, StoreError> {
    let number = key.get(1..).and_then(|rest| rest.first_chunk());
    let number = number.ok_or_else(|| StoreError::Damaged("a key without its table".to_string()))?;
    Ok(TableId(u32::from_be_bytes(*number)))
}

/// Reads a segment's positional deletes.
pub(super) fn read_deletes(snapshot: &dyn Snapshot, segment: SegmentId) -> Result<Deletes, StoreError> {
    let prefix = stored::deletes_prefix(segment);
    let mut rows = Vec::new();
    let mut cursor = snapshot.scan(Family::Meta, &prefix, None, ScanSize::Short)?;
    while let Some((key, _)) = cursor.current() {
        let Some(row) = key.strip_prefix(&prefix[..]) else { break };
        let row = row.first_chunk().ok_or_else(|| StoreError::Damaged("a positional delete".to_string()))?;
        rows.push(u32::from_be_bytes(*row));
        cursor.advance()?;
    }
    Ok(rows.into_iter().collect())
}

/// Which published states are still looked at: files that one of them sees must stay.
#[derive(Default)]
pub(super) struct Watchers {
    states: Mutex<BTreeMap<Seq, usize>>,
}

impl Watchers {
    pub fn oldest(&self) -> Option<Seq> {
        self.states.lock().keys().next().copied()
    }
    pub fn see(self: &Arc<Self>, seq: Seq) -> Seen {
        *self.states.lock().entry(seq).or_default() += 1;
        Seen { watchers: self.clone(), seq }
    }
}

/// Stands for one published state as long as somebody has it.
pub(super) struct Seen {
    watchers: Arc<Watchers>,
    seq: Seq,
}

impl Drop for Seen {
    fn drop(&mut self) {
        let mut states = self.watchers.states.lock();
        if let Some(count) = states.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                states.remove(&self.seq);
            }
        }
    }
}
