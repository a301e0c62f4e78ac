//! The store as others see it: open it, begin transactions, look at what is published.

mod open;

use crate::catalog::stored;
use crate::definition::{JobRecord, TableDef};
use crate::error::StoreError;
use crate::kv::faulty::FaultyDisk;
use crate::kv::{Family, KvError, Op, pairs};
use crate::segment::SegmentRecord;
use crate::txn::feed::Feed;
use crate::txn::read_view::ReadView;
use crate::txn::snapshot::Published;
use crate::txn::transaction::{Isolation, Transaction};
use crate::txn::{Engine, TxnId};
use kalamdb_commons::{Oid, TableId};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Which engine keeps the rows.
#[derive(Clone)]
pub enum KvKind {
    /// RocksDB, in the data directory.
    RocksDb,
    /// Memory: for tests.
    Memory,
    /// A disk that can fail: for tests.
    Faulty(Arc<FaultyDisk>),
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Where everything is.
    pub data_dir: PathBuf,
    /// The engine.
    pub kv: KvKind,
    /// The engine's cache of blocks, index and filters. The system's page cache stands behind it.
    pub cache_bytes: usize,
    /// The bound of all uncommitted changes together (53200 beyond it).
    pub write_set_bytes_max: u64,
    /// The bound of the feed in memory.
    pub feed_bytes_max: usize,
    /// Opens although the log is damaged in its middle, and gives up the commits behind that.
    pub accept_log_damage: bool,
}

impl Options {
    /// RocksDB in this folder, with the default bounds.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            kv: KvKind::RocksDb,
            // PostgreSQL's default for shared_buffers.
            cache_bytes: 128 << 20,
            // A load of some millions of small rows in one transaction fits.
            write_set_bytes_max: 2 << 30,
            feed_bytes_max: 16 << 20,
            accept_log_damage: false,
        }
    }
}

/// An open store. Cloning it is cheap; the last one to go closes it.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("published", &self.engine.published()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, or makes it in an empty folder.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::NewerFormat`], [`StoreError::Damaged`], [`StoreError::Io`] and the
    /// engine's: each is one readable line.
    pub fn open(options: Options) -> Result<Store, StoreError> {
        Ok(Store { engine: open::open(options)? })
    }

    /// What transactions and upkeep work with.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The newest published state: one load.
    pub fn published(&self) -> Arc<Published> {
        self.engine.published()
    }

    /// Begins a transaction.
    pub fn begin(&self, isolation: Isolation) -> Transaction {
        Transaction::begin(self.engine.clone(), isolation)
    }

    /// The transactions that a transaction waits for now, for a lock of a row, a table or a name.
    pub fn lock_blockers(&self, transaction: TxnId) -> Vec<TxnId> {
        self.engine.lock_blockers(transaction)
    }

    /// A view of the newest published state, without a transaction.
    pub fn read_view(&self) -> ReadView {
        self.engine.read_view()
    }

    /// The feed of commits, from now on.
    pub fn feed(&self) -> Feed {
        self.engine.feed()
    }

    /// Runs between two groups, on the committer's thread: see [`Engine::fixed_point`].
    ///
    /// # Errors
    /// [`StoreError::Closed`], [`StoreError::Failed`].
    pub async fn fixed_point<R: Send + 'static>(
        &self,
        run: impl FnOnce(&Arc<Published>) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        self.engine.fixed_point(run).await
    }

    /// As [`Store::fixed_point`], with a view of exactly that point.
    ///
    /// # Errors
    /// As [`Store::fixed_point`].
    pub async fn fixed_view<R: Send + 'static>(
        &self,
        run: impl FnOnce(&Arc<Published>) -> R + Send + 'static,
    ) -> Result<(ReadView, R), StoreError> {
        self.engine.fixed_view(run).await
    }

    /// Why a write failed, once one did: the server should end, and be started again.
    pub fn failed(&self) -> watch::Receiver<Option<KvError>> {
        self.engine.failed()
    }

    /// Whether a commit can succeed: none does after a failed write.
    ///
    /// # Errors
    /// [`StoreError::Failed`]
    pub fn takes_writes(&self) -> Result<(), StoreError> {
        self.engine.takes_writes()
    }

    /// Waits for what was handed in, makes it durable, ends the committer.
    pub async fn shutdown(&self) {
        self.engine.shutdown().await;
    }

    /// Counters: name, value, unit.
    pub fn stats(&self) -> Vec<(&'static str, i64, &'static str)> {
        self.engine.stats()
    }

    /// The next OID. It becomes durable with the definition that uses it.
    pub fn allocate_oid(&self) -> Oid {
        self.engine.allocate_oid()
    }

    /// Records a job, durably. Blocks for one fsync.
    ///
    /// # Errors
    /// The committer's.
    pub fn job_put(&self, job: &JobRecord) -> Result<(), StoreError> {
        self.engine.apply_blocking(vec![Op::Put(Family::Meta, stored::job_key(&job.job_id), stored::encode(job))])
    }

    /// As [`Store::job_put`], without blocking.
    ///
    /// # Errors
    /// The committer's.
    pub async fn job_record(&self, job: &JobRecord) -> Result<(), StoreError> {
        let op = Op::Put(Family::Meta, stored::job_key(&job.job_id), stored::encode(job));
        self.engine.apply(vec![op], crate::kv::Durability::Synced).await
    }

    /// All jobs, by id. A record that cannot be read is left out, and told to the log.
    pub fn jobs(&self) -> Vec<JobRecord> {
        self.readable(Family::Meta, b"j", "a job")
    }

    /// What tables were before their last change: every older version, by table and version. One that cannot be read
    /// is left out, and told to the log.
    pub fn table_history(&self) -> Vec<TableDef> {
        self.readable(Family::Catalog, b"h", "an older version of a table")
    }

    /// The records under a prefix that can be read; the log is told of others. `what` is one of them, in words.
    fn readable<T: DeserializeOwned>(&self, family: Family, prefix: &[u8], what: &str) -> Vec<T> {
        let rows = pairs(&*self.published().snapshot, family, prefix).unwrap_or_else(|error| {
            tracing::error!(%error, "{what} and all of its kind cannot be read");
            Vec::new()
        });
        let record = |(_, value): (Vec<u8>, bytes::Bytes)| {
            stored::decode(what, &value).inspect_err(|error| tracing::error!(%error, "{what} cannot be read")).ok()
        };
        rows.into_iter().filter_map(record).collect()
    }

    /// The live segments of a table.
    pub fn segments(&self, table: TableId) -> Vec<SegmentRecord> {
        let published = self.published();
        let entries = published.manifest.files(table).map(|files| files.segments.clone()).unwrap_or_default();
        entries.iter().map(|entry| (*entry.record).clone()).collect()
    }
}

impl Store {
    /// How many rows a table has, of all users.
    pub fn estimated_rows(&self, table: TableId) -> Option<u64> {
        u64::try_from(self.published().manifest.count(table)).ok()
    }

    /// About how many bytes an index takes.
    pub fn index_bytes(&self, table: TableId, index: Oid) -> u64 {
        self.engine.index_bytes(table, index)
    }

    /// The bytes of a table's segments.
    pub fn segment_bytes(&self, table: TableId) -> u64 {
        self.segments(table).iter().map(|segment| segment.bytes).sum()
    }
}
