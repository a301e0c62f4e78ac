//! Cold rows: immutable Parquet files that any tool can read, and what is known about them.
//!
//! A segment holds rows of one table sorted by (user, key), each with the `_seq` and `_updated` of its last change.
//! It never changes: a cold row that was replaced or deleted is named by a *positional delete* (segment, row number),
//! which readers turn into a row selection. The one surprising column is `_key`: user number and encoded key in one,
//! so that a range of keys is a range of rows, found by two look-ups and read without any filter.

pub mod delete;
pub mod location;
pub mod prune;
pub mod read;
#[cfg(test)]
mod tests;
pub mod write;

use kalamdb_commons::{SegmentId, Seq, TableId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use crate::error::SegmentError;
pub use delete::Deletes;
pub use location::Segments;

/// What is known about a live segment: one entry of its table's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Its id.
    pub id: SegmentId,
    /// Whose rows.
    pub table: TableId,
    /// Where it is, relative to its storage.
    pub path: String,
    /// How many rows, deleted ones too.
    pub rows: u64,
    /// The file's length.
    pub bytes: u64,
    /// The first row's `_key`: user number (USER tables) and key.
    pub min_key: Vec<u8>,
    /// The last row's `_key`.
    pub max_key: Vec<u8>,
    /// The least `_seq` in it.
    pub min_seq: Seq,
    /// The greatest `_seq` in it.
    pub max_seq: Seq,
    /// The schema version it was written with.
    pub schema_version: u32,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
}

/// A segment as one snapshot sees it: the file and which of its rows are gone.
#[derive(Debug, Clone)]
pub struct ColdSegment {
    /// The file.
    pub record: Arc<SegmentRecord>,
    /// Its positional deletes, the transaction's own included.
    pub deletes: Arc<Deletes>,
    /// `_key`s, ascending, of hot rows that the transaction replaced or removed before a flush moved them: those that
    /// are here are gone for it, too.
    pub replaced: Arc<[Vec<u8>]>,
}
