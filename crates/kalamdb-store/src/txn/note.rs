//! What a flush agrees on with the committer: the keys that change while it runs, and what it hands in at its end.
//!
//! The committer registers a note at a fixed point (nothing is committed between the published state that the flush
//! reads and the note) and adds the key of every row of the table that is put or removed, in commit order. The flush
//! takes them and finds their rows in its new segments.

use crate::segment::{SegmentError, SegmentRecord};
use kalamdb_commons::{SegmentId, Seq, TableId};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What changed since a fixed point.
#[derive(Debug)]
pub struct ChangeNote {
    /// Whose changes.
    pub table: TableId,
    /// User number (USER tables) and key, as in a segment's `_key`: what follows the table id in the hot key.
    keys: Mutex<BTreeSet<Vec<u8>>>,
}

impl ChangeNote {
    /// An empty note.
    pub fn new(table: TableId) -> Self {
        Self { table, keys: Mutex::default() }
    }

    /// Adds a changed row. `key` is what follows the table id in the row's hot key.
    pub fn add(&self, key: &[u8]) {
        self.keys.lock().insert(key.to_vec());
    }

    /// Takes what was added since the last time, ascending.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.keys.lock()).into_iter().collect()
    }

    /// Whether it holds this key.
    pub fn holds(&self, key: &[u8]) -> bool {
        self.keys.lock().contains(key)
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.keys.lock().len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a flush hands to the committer when its files are durable. The committer, between two groups:
///
/// 1. takes what `note` holds now and asks `resolve` for the places of these keys (few: the flush resolved all but the
///    last moment's before), so that no change is missed and none is counted twice;
/// 2. writes one batch: the segment records into the manifest, the mark "flushed up to `upto`", `deletes` and the
///    resolved ones as positional deletes, and takes the intents of the segments' names away;
/// 3. moves the table's place number on, ends the note, publishes.
pub struct FlushCommit {
    /// The table.
    pub table: TableId,
    /// The snapshot's `_seq`: hot rows at or below it are leftovers from now on.
    pub upto: Seq,
    /// The new segments.
    pub segments: Vec<SegmentRecord>,
    /// Rows of the new segments that changed since the snapshot, as far as resolved.
    pub deletes: Vec<(SegmentId, u32)>,
    /// The keys that changed since the snapshot and are not resolved yet.
    pub note: Arc<ChangeNote>,
    /// Finds the places of keys in the new segments; keys that are in none are left out. It reads files, and blocks.
    pub resolve: Resolve,
}

/// See [`FlushCommit::resolve`].
pub type Resolve = Box<dyn FnMut(&[Vec<u8>]) -> Result<Vec<(SegmentId, u32)>, SegmentError> + Send>;
