//! Transactions, and the one thread that puts them in order.
//!
//! The [`Engine`] is what all of them share: the newest published state, the locks, the feed, the way to the
//! committer. It is complete when it is made, and ends its committer when the last one lets go of it.

pub mod committer;
mod deadlock;
pub mod feed;
pub mod index;
pub mod lock;
pub mod note;
pub mod read_view;
mod reference;
pub mod sequence;
pub mod snapshot;
pub mod transaction;
mod validate;
pub(crate) mod write_set;

use crate::catalog::stored::{self, Given};
use crate::error::StoreError;
use crate::kv::{Durability, Family, Key, KvError, Op, StorageBackend};
use crate::segment::{Deletes, Segments};
use arc_swap::ArcSwap;
use committer::{Committer, Request, Start};
use crossbeam_channel::Sender;
use feed::{Feed, Ring};
use kalamdb_commons::{Oid, SegmentId, Seq, TableId};
use lock::LockTable;
use lru::LruCache;
use note::{ChangeNote, FlushCommit};
use parking_lot::Mutex;
use read_view::ReadView;
use rustc_hash::FxHashSet;
use sequence::Sequences;
use snapshot::{Published, Watchers};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

/// Sets of positional deletes that are kept decoded.
const DELETES_KEPT: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Transactions' numbers of one opening of the store are below those of the next.
const EPOCH_SHIFT: u32 = 40;

/// A transaction's number: a later one's is larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TxnId(pub u64);

/// What an engine is made of.
pub(crate) struct Parts {
    pub backend: Arc<dyn StorageBackend>,
    pub segments: Segments,
    pub start: Start,
    pub given: Given,
    pub write_set_bytes_max: u64,
    pub feed_bytes_max: usize,
    /// Held as long as anybody uses the engine: nobody else opens the folder.
    pub lock: Option<std::fs::File>,
}

/// What all transactions of a store share.
pub struct Engine {
    published: Arc<ArcSwap<Published>>,
    locks: Arc<LockTable>,
    ring: Arc<Ring>,
    requests: Sender<Request>,
    next_txn: AtomicU64,
    numbers: Arc<Numbers>,
    segments: Segments,
    watchers: Arc<Watchers>,
    notes: Notes,
    writes: Arc<Writes>,
    deletes: Mutex<LruCache<SegmentId, (u64, Arc<Deletes>)>>,
    counters: Arc<Counters>,
    sequences: Arc<Sequences>,
    /// Indexes that are being filled.
    building: Mutex<FxHashSet<Oid>>,
    failed: watch::Receiver<Option<KvError>>,
    backend: Arc<dyn StorageBackend>,
    thread: Mutex<Option<JoinHandle<()>>>,
    // The last field: it is let go when the storage engine is closed.
    _lock: Option<std::fs::File>,
}

/// The notes of running flushes. One that was given up is gone by itself.
pub(crate) type Notes = Arc<Mutex<Vec<Weak<ChangeNote>>>>;

/// Counters of numbers that are given once. What a definition or an intent uses is made durable with it, in the same
/// batch; what was given and never committed may be given again after a restart, since nobody kept it.
pub(crate) struct Numbers {
    oid: AtomicU32,
    segment: AtomicU64,
}

impl Numbers {
    pub(crate) fn given(&self) -> Given {
        Given { oid: self.oid.load(Ordering::SeqCst), segment: self.segment.load(Ordering::SeqCst) }
    }
}

/// How much uncommitted work there is.
pub(crate) struct Writes {
    bytes: AtomicU64,
    bytes_max: u64,
}

/// A share of the room for uncommitted work, given back when dropped.
pub(crate) struct Charge {
    writes: Arc<Writes>,
    bytes: u64,
}

impl Charge {
    fn new(writes: Arc<Writes>) -> Self {
        Self { writes, bytes: 0 }
    }
    fn grow(&mut self, bytes: usize) -> Result<(), StoreError> {
        let bytes = bytes as u64;
        let limit = self.writes.bytes_max;
        if self.writes.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > limit {
            self.writes.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(StoreError::TooManyWrites { limit });
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.writes.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What `system.stats` shows of the committer.
#[derive(Default)]
pub(crate) struct Counters {
    pub commits: AtomicI64,
    pub groups: AtomicI64,
    pub rows: AtomicI64,
    pub syncs: AtomicI64,
}

impl Engine {
    /// Starts the committer.
    pub(crate) fn start(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let watchers = Arc::new(Watchers::default());
        let ring = Ring::new(parts.feed_bytes_max);
        let numbers =
            Arc::new(Numbers { oid: AtomicU32::new(parts.given.oid), segment: AtomicU64::new(parts.given.segment) });
        let (notes, counters) = (Notes::default(), Arc::new(Counters::default()));
        let (failing, failed) = watch::channel(None);
        let sequences = Arc::new(Sequences::default());
        let (requests, inbox) = crossbeam_channel::unbounded();
        let shared = committer::Shared {
            backend: parts.backend.clone(),
            ring: ring.clone(),
            numbers: numbers.clone(),
            watchers: watchers.clone(),
            notes: notes.clone(),
            counters: counters.clone(),
            failing,
            sequences: sequences.clone(),
        };
        let start_epoch = parts.start.epoch;
        let (committer, published) = Committer::new(shared, parts.start)?;
        let thread = std::thread::Builder::new().name("committer".into()).spawn(move || committer.run(&inbox));
        let thread = thread.map_err(|error| StoreError::io(std::path::Path::new("committer"), error))?;
        Ok(Arc::new(Self {
            published,
            locks: LockTable::new(),
            ring,
            requests,
            next_txn: AtomicU64::new((start_epoch << EPOCH_SHIFT) + 1),
            numbers,
            segments: parts.segments,
            watchers,
            notes,
            writes: Arc::new(Writes { bytes: AtomicU64::new(0), bytes_max: parts.write_set_bytes_max }),
            deletes: Mutex::new(LruCache::new(DELETES_KEPT)),
            counters,
            sequences,
            building: Mutex::default(),
            failed,
            backend: parts.backend,
            thread: Mutex::new(Some(thread)),
            _lock: parts.lock,
        }))
    }

    /// The newest published state: one load.
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// The transactions that a transaction waits for now.
    pub fn lock_blockers(&self, transaction: TxnId) -> Vec<TxnId> {
        self.locks.blockers(transaction)
    }

    /// A view of the newest published state.
    pub fn read_view(self: &Arc<Self>) -> ReadView {
        ReadView::of(self.clone(), self.published())
    }

    /// The feed, from about now: a commit that is being answered may come or be told as missed. Exactly from a state on
    /// it begins inside [`Engine::fixed_point`].
    pub fn feed(&self) -> Feed {
        self.ring.subscribe()
    }

    /// The segments' storage.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The next OID.
    pub fn allocate_oid(&self) -> Oid {
        self.numbers.oid.fetch_add(1, Ordering::SeqCst)
    }

    /// The next OIDs of a type and of the array over it: the type's is even, its array's the one behind it.
    pub fn allocate_type_oids(&self) -> (Oid, Oid) {
        let first = self.numbers.oid.fetch_add(3, Ordering::SeqCst);
        let id = first + first % 2;
        (id, id + 1)
    }

    /// The next segment's id. It is used by way of [`Engine::intend`].
    pub fn allocate_segment(&self) -> SegmentId {
        SegmentId(self.numbers.segment.fetch_add(1, Ordering::SeqCst))
    }

    /// The oldest position that somebody still looks at: a file retired at or below it can go.
    pub fn oldest_seen(&self) -> Seq {
        self.watchers.oldest().unwrap_or_else(|| self.published().seq)
    }

    /// Why a write failed, once one did: the store must be opened again before it takes another.
    pub fn failed(&self) -> watch::Receiver<Option<KvError>> {
        self.failed.clone()
    }

    /// Whether a commit can succeed: none does after a failed write.
    ///
    /// # Errors
    /// [`StoreError::Failed`]
    pub fn takes_writes(&self) -> Result<(), StoreError> {
        self.failed.borrow().clone().map_or(Ok(()), |cause| Err(StoreError::Failed(cause)))
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        self.requests.send(request).map_err(|_| StoreError::Closed)
    }

    /// Runs on the committer's thread between two groups, when everything published is durable and in the feed: what
    /// is registered here misses nothing and sees nothing twice. It must be short.
    ///
    /// # Errors
    /// [`StoreError::Closed`], [`StoreError::Failed`].
    pub async fn fixed_point<R: Send + 'static>(
        &self,
        run: impl FnOnce(&Arc<Published>) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::FixedPoint(Box::new(move |published| {
            // Who asked may have gone.
            let _ = answer.send(published.map(run));
        })))?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Engine::fixed_point`], with a view of exactly that point.
    ///
    /// # Errors
    /// As [`Engine::fixed_point`].
    pub async fn fixed_view<R: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Arc<Published>) -> R + Send + 'static,
    ) -> Result<(ReadView, R), StoreError> {
        let (published, ran) = self.fixed_point(move |published| (published.clone(), run(published))).await?;
        Ok((ReadView::of(self.clone(), published), ran))
    }

    /// Begins to note the changed keys of a table, at a fixed point: the view is of exactly that point.
    ///
    /// # Errors
    /// As [`Engine::fixed_point`].
    pub async fn begin_note(self: &Arc<Self>, table: TableId) -> Result<(ReadView, Arc<ChangeNote>), StoreError> {
        let note = Arc::new(ChangeNote::new(table));
        let (notes, ours) = (self.notes.clone(), Arc::downgrade(&note));
        let published = self
            .fixed_point(move |published| {
                notes.lock().push(ours);
                published.clone()
            })
            .await?;
        Ok((ReadView::of(self.clone(), published), note))
    }

    /// Hands a flush in: see [`FlushCommit`].
    ///
    /// # Errors
    /// The committer's; [`StoreError::SchemaChanged`] when the table is gone.
    pub async fn commit_flush(&self, flush: FlushCommit) -> Result<(), StoreError> {
        self.ask(|answer| Request::Flush(Box::new(flush), answer)).await
    }

    /// Removes hot rows that a flush left behind. `keys` are full keys of rows that were at or below the mark when the
    /// note began; those that changed since stay.
    ///
    /// # Errors
    /// The committer's.
    pub async fn sweep(&self, note: Arc<ChangeNote>, keys: Vec<Key>) -> Result<(), StoreError> {
        self.ask(|answer| Request::Sweep { note, keys, answer }).await
    }

    /// Records the path of a segment before it is written.
    ///
    /// # Errors
    /// The committer's.
    pub async fn intend(&self, segment: SegmentId, path: &str) -> Result<(), StoreError> {
        let given = Op::Put(Family::Meta, stored::GIVEN_KEY.into(), stored::encode(&self.numbers.given()));
        let intent = Op::Put(Family::Meta, stored::intent_key(segment), stored::encode(&path.to_string()));
        self.apply(vec![given, intent], Durability::Synced).await
    }

    /// Writes marks that take no position and are in no feed: upkeep's. Rows are never written this way.
    ///
    /// # Errors
    /// The committer's.
    pub async fn apply(&self, ops: Vec<Op>, durability: Durability) -> Result<(), StoreError> {
        self.ask(|answer| Request::Apply { ops, durability, answer }).await
    }

    /// As [`Engine::apply`], for callers that are not asynchronous: blocks for one fsync.
    pub(crate) fn apply_blocking(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let (send, receive) = crossbeam_channel::bounded(1);
        let answer = Box::new(move |outcome| {
            let _ = send.send(outcome);
        });
        self.send(Request::Apply { ops, durability: Durability::Synced, answer })?;
        receive.recv().map_err(|_| StoreError::Closed)?
    }

    async fn ask(&self, request: impl FnOnce(committer::Answer) -> Request) -> Result<(), StoreError> {
        let (send, receive) = oneshot::channel();
        let answer = Box::new(move |outcome| {
            let _ = send.send(outcome);
        });
        self.send(request(answer))?;
        receive.await.map_err(|_| StoreError::Closed)?
    }

    /// A segment's positional deletes as a state has them.
    fn deletes(&self, published: &Published, entry: &snapshot::SegmentEntry) -> Result<Arc<Deletes>, StoreError> {
        if entry.deletes_version == 0 {
            return Ok(Arc::default());
        }
        let id = entry.record.id;
        if let Some((version, deletes)) = self.deletes.lock().get(&id) {
            if *version == entry.deletes_version {
                return Ok(deletes.clone());
            }
        }
        let deletes = Arc::new(snapshot::read_deletes(&*published.snapshot, id)?);
        self.deletes.lock().put(id, (entry.deletes_version, deletes.clone()));
        Ok(deletes)
    }

    /// Waits for what was handed in, then ends the committer. Later commits answer [`StoreError::Closed`].
    pub async fn shutdown(&self) {
        let (send, receive) = oneshot::channel();
        let answer: committer::Answer = Box::new(move |outcome| {
            let _ = send.send(outcome);
        });
        if self.send(Request::Stop(Some(answer))).is_ok() {
            let _ = receive.await;
        }
        self.ring.close();
    }

    /// About how many bytes an index takes on disk.
    pub(crate) fn index_bytes(&self, table: TableId, index: Oid) -> u64 {
        let start = index::prefix(table, index);
        crate::codec::key::after_prefix(&start).map_or(0, |end| self.backend.size(Family::Indexes, &start, &end))
    }

    /// Counters: name, value, unit.
    pub fn stats(&self) -> Vec<(&'static str, i64, &'static str)> {
        let count = |counter: &AtomicI64| counter.load(Ordering::Relaxed);
        let mut stats = vec![
            ("commit.count", count(&self.counters.commits), "commits"),
            ("commit.groups", count(&self.counters.groups), "groups"),
            ("commit.rows", count(&self.counters.rows), "rows"),
            ("commit.syncs", count(&self.counters.syncs), "fsyncs"),
            ("lock.waits", self.locks.waits.load(Ordering::Relaxed) as i64, "waits"),
            ("lock.deadlocks", self.locks.deadlocks.load(Ordering::Relaxed) as i64, "deadlocks"),
            ("write_set.bytes", self.writes.bytes.load(Ordering::Relaxed) as i64, "bytes"),
            ("commit.seq", self.published().seq.0 as i64, "position"),
        ];
        stats.extend(self.backend.stats());
        stats
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some(thread) = self.thread.get_mut().take() else { return };
        // Nobody is left to hear of an error.
        let _ = self.requests.send(Request::Stop(None));
        if std::thread::current().id() != thread.thread().id() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
