//! The embedded engine: RocksDB. The one file that says `rocksdb::`.
//!
//! The sizes below bound memory (a cache, memtables) and recovery (the write-ahead log over all families). Snapshots
//! and iterators borrow from the database in the library's types; here they own a share of it instead, so that a
//! reader can keep one for as long as it likes.

mod log;

use super::{Batch, Cursor, Durability, Family, Key, KvError, Op, ScanSize, Snapshot, StorageBackend};
use bytes::Bytes;
use kalamdb_commons::clock;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, DataBlockIndexType, ErrorKind, LogLevel, Options, ReadOptions, SnapshotWithThreadMode, WriteBatch,
    WriteOptions,
};
use std::path::Path;
use std::sync::Arc;

/// The log that is read at start, over all families: DESIGN's bound. About a second of recovery.
const WAL_BYTES_MAX: u64 = 128 << 20;
/// All memtables together.
const MEMTABLE_BYTES_MAX: usize = 128 << 20;
/// One memtable of the families that take most of the writes; the others' are smaller.
const BIG_MEMTABLE_BYTES: usize = 32 << 20;
const SMALL_MEMTABLE_BYTES: usize = 8 << 20;
/// Two of each hundred bytes of a memtable are its bloom filter: an INSERT asks for keys that are not there.
const MEMTABLE_BLOOM_RATIO: f64 = 0.02;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Larger blocks compress better, smaller ones cost a point read less.
const BLOCK_BYTES: usize = 8 << 10;
/// Read ahead of a long scan.
const READAHEAD_BYTES: usize = 1 << 20;
/// An expired STREAM row is absent for readers at once; it is dropped only after this, so that a small step of the
/// clock loses nothing.
const EXPIRY_SLACK_US: i64 = 60_000_000;

/// An open RocksDB.
pub struct RocksDbBackend {
    shared: Arc<Shared>,
}

struct Shared {
    // Before `db`: fields are dropped in order, and a handle must not outlive its database.
    families: Vec<Arc<BoundColumnFamily<'static>>>,
    cache: Cache,
    db: DB,
}

impl Shared {
    fn family(&self, family: Family) -> &Arc<BoundColumnFamily<'static>> {
        &self.families[family as usize]
    }
}

/// What a full disk is called: the library hands the subcode of a status over in its text alone.
const NO_SPACE: &str = "IO error: No space left on device";

impl From<rocksdb::Error> for KvError {
    fn from(error: rocksdb::Error) -> Self {
        let kind = error.kind();
        let text = error.into_string();
        match kind {
            ErrorKind::Corruption => KvError::Damaged(text),
            _ if text.starts_with(NO_SPACE) => KvError::Full(text),
            _ => KvError::Io(text),
        }
    }
}

impl RocksDbBackend {
    /// Opens the folder, or makes it. With `accept_log_damage` what stands in the log behind a damaged record is given
    /// up; a write at its end that was cut short always is.
    ///
    /// # Errors
    /// [`KvError::LogDamaged`] for a log with more damage than that, [`KvError::Damaged`] when something else there
    /// does not agree with itself, [`KvError::Io`] otherwise.
    pub fn open(folder: &Path, cache_bytes: usize, accept_log_damage: bool) -> Result<Self, KvError> {
        let lost = examine_log(folder, accept_log_damage)?;
        let cache = Cache::new_lru_cache(cache_bytes);
        let open = |mode| {
            let descriptors =
                Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), of_family(family, &cache)));
            DB::open_cf_descriptors(&of_database(mode), folder, descriptors)
        };
        let db = match open(DBRecoveryMode::PointInTime) {
            // A family is in its tables beyond the damage already, so there is no earlier state to go back to.
            Err(error) if lost && error.kind() == ErrorKind::Corruption => {
                tracing::warn!(%error, "the log cannot be cut at the damage: only what cannot be read is left out");
                open(DBRecoveryMode::SkipAnyCorruptedRecord)?
            }
            opened => opened?,
        };
        let mut families = Vec::with_capacity(Family::ALL.len());
        for family in Family::ALL {
            let Some(handle) = db.cf_handle(family.name()) else {
                return Err(KvError::Damaged(format!("family \"{}\" is missing", family.name())));
            };
            // SAFETY: only the lifetime changes. The handle lives in `Shared`, which drops it before the database.
            families.push(unsafe {
                std::mem::transmute::<Arc<BoundColumnFamily<'_>>, Arc<BoundColumnFamily<'static>>>(handle)
            });
        }
        Ok(Self { shared: Arc::new(Shared { families, cache, db }) })
    }
}

/// Whether records of the log are going to be lost; an error, unless that is accepted.
fn examine_log(folder: &Path, accept_damage: bool) -> Result<bool, KvError> {
    let finding = log::examine(folder).map_err(|(path, error)| KvError::Io(format!("{}: {error}", path.display())))?;
    match finding {
        log::Finding::Sound => Ok(false),
        log::Finding::TornEnd(log::Damage { file, offset, .. }) => {
            tracing::info!(file = %file.display(), offset, "the log ends in a write that was cut short: it is left out");
            Ok(false)
        }
        log::Finding::Lost(log::Damage { file, offset, behind }) if accept_damage => {
            tracing::warn!(
                file = %file.display(),
                offset,
                records = behind,
                "the log is damaged: it is cut there, and the commits behind are lost"
            );
            Ok(true)
        }
        log::Finding::Lost(log::Damage { file, offset, behind }) => Err(KvError::LogDamaged { file, offset, behind }),
    }
}

fn of_database(recovery: DBRecoveryMode) -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(recovery);
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_db_write_buffer_size(MEMTABLE_BYTES_MAX);
    options.set_max_background_jobs(4);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_open_files(1024);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(4 << 20);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options
}

fn of_family(family: Family, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_format_version(6);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    table.set_optimize_filters_for_memory(true);
    table.set_whole_key_filtering(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    let big = matches!(family, Family::Rows | Family::Streams | Family::Indexes);
    options.set_write_buffer_size(if big { BIG_MEMTABLE_BYTES } else { SMALL_MEMTABLE_BYTES });
    options.set_max_write_buffer_number(4);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    if family == Family::Streams {
        options.set_compaction_filter(c"expired stream rows", |_level: u32, _key: &[u8], value: &[u8]| {
            match value.last_chunk() {
                Some(expiry) if i64::from_le_bytes(*expiry).saturating_add(EXPIRY_SLACK_US) < clock::now_us() => {
                    rocksdb::CompactionDecision::Remove
                }
                _ => rocksdb::CompactionDecision::Keep,
            }
        });
    }
    options
}

impl StorageBackend for RocksDbBackend {
    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        let mut writes = WriteBatch::default();
        for op in &batch.ops {
            match op {
                Op::Put(family, key, value) => writes.put_cf(self.shared.family(*family), key, value),
                Op::Delete(family, key) => writes.delete_cf(self.shared.family(*family), key),
                Op::DeleteRange(family, start, end) => {
                    writes.delete_range_cf(self.shared.family(*family), start, end);
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        Ok(self.shared.db.write_opt(writes, &options)?)
    }

    fn sync(&self) -> Result<(), KvError> {
        Ok(self.shared.db.flush_wal(true)?)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, KvError> {
        let snapshot = SnapshotWithThreadMode::new(&self.shared.db);
        // SAFETY: only the lifetime changes. The snapshot is dropped before the share of the database beside it.
        let snapshot = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, DB>, SnapshotWithThreadMode<'static, DB>>(snapshot)
        };
        Ok(Arc::new(RocksDbSnapshot { held: Arc::new(Held { snapshot, shared: self.shared.clone() }) }))
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), KvError> {
        Ok(Checkpoint::new(&self.shared.db)?.create_checkpoint(folder)?)
    }

    fn size(&self, family: Family, start: &[u8], end: &[u8]) -> u64 {
        let range = rocksdb::Range::new(start, end);
        self.shared.db.get_approximate_sizes_cf(self.shared.family(family), &[range]).into_iter().sum()
    }

    fn stats(&self) -> Vec<(&'static str, i64, &'static str)> {
        let sum = |property: &str| -> i64 {
            let of = |family| self.shared.db.property_int_value_cf(self.shared.family(family), property);
            Family::ALL.iter().filter_map(|family| of(*family).ok().flatten()).map(|value| value as i64).sum()
        };
        vec![
            ("kv.cache_bytes", self.shared.cache.get_usage() as i64, "bytes"),
            ("kv.memtable_bytes", sum("rocksdb.cur-size-all-mem-tables"), "bytes"),
            ("kv.file_bytes", sum("rocksdb.total-sst-files-size"), "bytes"),
            ("kv.pending_compaction_bytes", sum("rocksdb.estimate-pending-compaction-bytes"), "bytes"),
        ]
    }
}

struct Held {
    // Before `shared`: fields are dropped in order, and a snapshot must be released before its database closes.
    snapshot: SnapshotWithThreadMode<'static, DB>,
    shared: Arc<Shared>,
}

struct RocksDbSnapshot {
    held: Arc<Held>,
}

impl RocksDbSnapshot {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.held.snapshot);
        options
    }
}

impl Snapshot for RocksDbSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let shared = &self.held.shared;
        let value = shared.db.get_pinned_cf_opt(shared.family(family), key, &self.options())?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn multi_get(&self, family: Family, keys: &[Key]) -> Result<Vec<Option<Bytes>>, KvError> {
        let shared = &self.held.shared;
        let found = shared.db.batched_multi_get_cf_opt(shared.family(family), keys, false, &self.options());
        found.into_iter().map(|value| Ok(value?.map(|value| Bytes::copy_from_slice(&value)))).collect()
    }

    fn scan(
        &self,
        family: Family,
        start: &[u8],
        end: Option<&[u8]>,
        size: ScanSize,
    ) -> Result<Box<dyn Cursor>, KvError> {
        let shared = &self.held.shared;
        let mut options = self.options();
        options.set_iterate_lower_bound(start);
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        if size == ScanSize::Long {
            options.fill_cache(false);
            options.set_readahead_size(READAHEAD_BYTES);
        }
        let mut rows = shared.db.raw_iterator_cf_opt(shared.family(family), options);
        rows.seek(start);
        rows.status()?;
        // SAFETY: only the lifetime changes. The iterator is dropped before the snapshot (and database) beside it.
        let rows = unsafe { std::mem::transmute::<DBRawIterator<'_>, DBRawIterator<'static>>(rows) };
        Ok(Box::new(RocksDbCursor { rows, back: false, _held: self.held.clone() }))
    }

    fn scan_back(&self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor>, KvError> {
        let shared = &self.held.shared;
        let mut options = self.options();
        options.set_iterate_lower_bound(start);
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mut rows = shared.db.raw_iterator_cf_opt(shared.family(family), options);
        rows.seek_to_last();
        rows.status()?;
        // SAFETY: as in `scan`.
        let rows = unsafe { std::mem::transmute::<DBRawIterator<'_>, DBRawIterator<'static>>(rows) };
        Ok(Box::new(RocksDbCursor { rows, back: true, _held: self.held.clone() }))
    }
}

struct RocksDbCursor {
    // Before `_held`: fields are dropped in order.
    rows: DBRawIterator<'static>,
    /// Whether it moves to lesser keys.
    back: bool,
    _held: Arc<Held>,
}

impl Cursor for RocksDbCursor {
    fn current(&self) -> Option<(&[u8], &[u8])> {
        self.rows.item()
    }

    fn advance(&mut self) -> Result<(), KvError> {
        if self.back {
            self.rows.prev();
        } else {
            self.rows.next();
        }
        if self.rows.valid() { Ok(()) } else { Ok(self.rows.status()?) }
    }
}
