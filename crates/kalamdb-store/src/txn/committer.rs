//! The one thread that decides order.
//!
//! It takes what waits as a group, gives every changed row its `_seq` and the group's time stamp, writes once with one
//! fsync, publishes the next state, lets the locks go, answers, and hands the commits to the feed. It decodes no row
//! and waits for nobody but the disk. From the hand-over a transaction's locks belong to its request here, so nothing
//! a session does or drops lets another in before the commit can be seen.
//!
//! When a write fails nobody knows what is on the disk: the commits caught in it are told so, and nothing is taken
//! any more until the store was opened again.

use super::feed::{CommitRecord, Notification, Ring, RowChange};
use super::index::{self, entry_owner};
use super::lock::Held;
use super::note::{ChangeNote, FlushCommit};
use super::read_view::Place;
use super::sequence::Sequences;
use super::snapshot::{Manifest, Published, SegmentEntry, Watchers};
use super::validate::{self, Refusal};
use super::write_set::{EXPIRY_LEN, Entry, EntryVersion, TableWrites, WriteSet, split_key};
use super::{Charge, Counters, Notes, Numbers};
use crate::catalog::Catalog;
use crate::catalog::stored::{self, Last, Retired};
use crate::codec::key::tombstone;
use crate::codec::row::stamp;
use crate::definition::{Change, TableDef};
use crate::error::StoreError;
use crate::kv::{Batch, Durability, Family, Key, KvError, Op, StorageBackend};
use arc_swap::ArcSwap;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use kalamdb_commons::{Oid, Seq, TableId, clock};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// A group ends when its write sets hold this much: the answer to the first must not wait for everybody.
const GROUP_BYTES_MAX: u64 = 16 << 20;
/// How many positions are reserved at once. A restart skips the rest.
const SEQS_RESERVED: u64 = 1 << 20;
/// How long a commit that did not wait for the disk may stay without an fsync.
const UNSYNCED_MAX: Duration = Duration::from_millis(10);

/// What became of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The position of its last change; `None` when it changed nothing.
    pub seq: Option<Seq>,
}

/// What a transaction hands over.
pub(super) struct Payload {
    pub set: WriteSet,
    pub changes: Vec<Change>,
    pub notifications: Vec<Notification>,
    // The order of these two does not matter; both are let go after publication.
    pub locks: Held,
    pub charge: Charge,
}

/// A commit that was not taken, given back where that makes sense.
pub(super) enum Refused {
    PlacesMoved(Box<Payload>),
    Error(StoreError),
}

pub(super) struct CommitRequest {
    pub payload: Box<Payload>,
    pub durability: Durability,
    pub answer: oneshot::Sender<Result<Committed, Refused>>,
}

pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What the committer is asked for.
pub(super) enum Request {
    Commit(CommitRequest),
    FixedPoint(Box<dyn FnOnce(Result<&Arc<Published>, StoreError>) + Send>),
    Flush(Box<FlushCommit>, Answer),
    Sweep {
        note: Arc<ChangeNote>,
        keys: Vec<Key>,
        answer: Answer,
    },
    Apply {
        ops: Vec<Op>,
        durability: Durability,
        answer: Answer,
    },
    /// A build of an index has ended, one way or the other: its entries stay if the index came to be.
    EndBuild {
        table: TableId,
        index: Oid,
    },
    Stop(Option<Answer>),
}

/// Where the history stands when the store is opened.
pub(crate) struct Start {
    pub epoch: u64,
    pub last: Last,
    pub catalog: Catalog,
    pub manifest: Manifest,
    /// What opening itself has to write, first of all.
    pub first: Batch,
}

/// What the committer shares with the engine.
pub(super) struct Shared {
    pub backend: Arc<dyn StorageBackend>,
    pub ring: Arc<Ring>,
    pub numbers: Arc<Numbers>,
    pub watchers: Arc<Watchers>,
    pub notes: Notes,
    pub counters: Arc<Counters>,
    pub failing: watch::Sender<Option<KvError>>,
    pub sequences: Arc<Sequences>,
}

/// What the next published state will be.
#[derive(Clone)]
struct Next {
    seq: u64,
    stamp_us: i64,
    catalog: Arc<Catalog>,
    manifest: Manifest,
}

pub(super) struct Committer {
    shared: Shared,
    epoch: u64,
    published: Arc<ArcSwap<Published>>,
    now: Next,
    /// Positions up to here are reserved by a write that may not be durable yet, and by one that is.
    reserved: u64,
    reserved_durably: u64,
    /// Commits that are published but not durable, for the feed.
    waiting: Vec<Arc<CommitRecord>>,
    unsynced_since: Option<Instant>,
    failed: Option<KvError>,
}

/// A group while it is put together.
struct Group<'a> {
    epoch: u64,
    next: Next,
    batch: Batch,
    notes: Vec<Arc<ChangeNote>>,
    numbers: &'a Numbers,
    /// Whether anybody reads the feed.
    followed: bool,
    counts: FxHashMap<TableId, i64>,
    defined: bool,
}

/// What is left of a commit that was taken: its answer, and what must be let go before.
struct Taken {
    answer: oneshot::Sender<Result<Committed, Refused>>,
    committed: Committed,
    locks: Held,
    charge: Charge,
}

impl Committer {
    pub fn new(shared: Shared, start: Start) -> Result<(Self, Arc<ArcSwap<Published>>), StoreError> {
        shared.backend.apply(&start.first, Durability::Synced)?;
        let now = Next {
            seq: start.last.seq.0,
            stamp_us: start.last.stamp_us,
            catalog: Arc::new(start.catalog),
            manifest: start.manifest,
        };
        let state = state_of(&shared, &now)?;
        let published = Arc::new(ArcSwap::from_pointee(state));
        let committer = Self {
            shared,
            epoch: start.epoch,
            published: published.clone(),
            reserved: now.seq,
            reserved_durably: now.seq,
            now,
            waiting: Vec::new(),
            unsynced_since: None,
            failed: None,
        };
        Ok((committer, published))
    }

    pub fn run(mut self, inbox: &Receiver<Request>) {
        // What ended a group and is not a commit.
        let mut next: Option<Request> = None;
        loop {
            let request = match next.take() {
                Some(request) => request,
                None => match self.receive(inbox) {
                    Ok(Some(request)) => request,
                    Ok(None) => continue,
                    Err(()) => break,
                },
            };
            match request {
                Request::Commit(first) => next = self.group(first, inbox),
                Request::FixedPoint(run) => self.fixed_point(run),
                Request::Flush(flush, answer) => {
                    let outcome = self.flush(*flush);
                    answer(outcome);
                }
                Request::Sweep { note, keys, answer } => {
                    let leftovers = keys.into_iter().filter(|key| !note.holds(&key[4..]));
                    // A table that was dropped meanwhile has no rows in any family.
                    let def = self.now.catalog.table(note.table);
                    let family = def.map_or(Family::Rows, |def| super::write_set::family_of(def));
                    let ops = leftovers.map(|key| Op::Delete(family, key)).collect();
                    let outcome = self.apply_marks(ops, Durability::Unsynced);
                    answer(outcome);
                }
                Request::Apply { ops, durability, answer } => {
                    let outcome = self.apply_marks(ops, durability);
                    answer(outcome);
                }
                Request::EndBuild { table, index } => self.end_build(table, index),
                Request::Stop(answer) => {
                    let outcome = self.stop();
                    if let Some(answer) = answer {
                        answer(outcome);
                    }
                    break;
                }
            }
        }
    }

    /// The next request; `None` when it was time for an fsync instead.
    fn receive(&mut self, inbox: &Receiver<Request>) -> Result<Option<Request>, ()> {
        let Some(since) = self.unsynced_since else { return inbox.recv().map(Some).map_err(|_| ()) };
        match inbox.recv_deadline(since + UNSYNCED_MAX) {
            Ok(request) => {
                if since.elapsed() >= UNSYNCED_MAX {
                    self.sync();
                }
                Ok(Some(request))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.sync();
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.sync();
                Err(())
            }
        }
    }

    /// Takes what waits behind the first commit; gives back what ended the group.
    fn group(&mut self, first: CommitRequest, inbox: &Receiver<Request>) -> Option<Request> {
        let mut bytes = first.payload.charge.bytes;
        let mut members = vec![first];
        let mut other = None;
        while bytes < GROUP_BYTES_MAX {
            match inbox.try_recv() {
                Ok(Request::Commit(request)) => {
                    bytes += request.payload.charge.bytes;
                    members.push(request);
                }
                Ok(request) => {
                    other = Some(request);
                    break;
                }
                Err(_) => break,
            }
        }
        match self.takes_writes() {
            Ok(()) => self.commit(members),
            Err(error) => {
                for member in members {
                    let _ = member.answer.send(Err(Refused::Error(error.clone())));
                }
            }
        }
        other
    }

    fn commit(&mut self, members: Vec<CommitRequest>) {
        let durability = members.iter().map(|member| member.durability).max().unwrap_or(Durability::Synced);
        let numbers = self.shared.numbers.clone();
        let mut group = Group {
            epoch: self.epoch,
            next: self.now.clone(),
            batch: Batch { epoch: self.epoch, ops: Vec::new() },
            notes: self.notes(),
            numbers: &numbers,
            followed: self.shared.ring.is_followed(),
            counts: FxHashMap::default(),
            defined: false,
        };
        // One reading for the group, of a clock that never goes back.
        group.next.stamp_us = clock::now_us().max(self.now.stamp_us + 1);
        let mut taken = Vec::with_capacity(members.len());
        let mut records = Vec::with_capacity(members.len());
        for CommitRequest { payload, answer, .. } in members {
            match validate::check(&payload.set, &group.next.catalog, &group.next.manifest) {
                Ok(()) => {
                    let (record, one) = group.take(*payload, answer);
                    records.push(Arc::new(record));
                    taken.push(one);
                }
                // A session that is gone needs no answer; what it handed over is let go with it.
                Err(Refusal::PlacesMoved) => {
                    let _ = answer.send(Err(Refused::PlacesMoved(payload)));
                }
                Err(Refusal::Error(error)) => {
                    drop(payload);
                    let _ = answer.send(Err(Refused::Error(error)));
                }
            }
        }
        if taken.is_empty() {
            return;
        }
        group.finish();
        let Group { next, batch, followed, .. } = group;
        let rows = next.seq - self.now.seq;
        if self.write_and_publish(batch, next, durability).is_err() {
            for Taken { answer, .. } in taken {
                let _ = answer.send(Err(Refused::Error(StoreError::OutcomeUnknown)));
            }
            return;
        }
        let counters = &self.shared.counters;
        counters.groups.fetch_add(1, Ordering::Relaxed);
        counters.commits.fetch_add(taken.len() as i64, Ordering::Relaxed);
        counters.rows.fetch_add(rows as i64, Ordering::Relaxed);
        for Taken { answer, committed, locks, charge } in taken {
            // Locks before the answer: who is told of the commit finds them free.
            drop((locks, charge));
            let _ = answer.send(Ok(committed));
        }
        self.hand_on(records, followed);
    }

    /// Durable first, visible second: a reader must never see a row that a crash could take back (unless its writer
    /// asked for that). A batch without writes changes nothing that is published.
    fn write_and_publish(&mut self, mut batch: Batch, next: Next, durability: Durability) -> Result<(), StoreError> {
        if batch.ops.is_empty() {
            self.now.stamp_us = next.stamp_us;
            return Ok(());
        }
        let mut durability = durability;
        if next.seq > self.now.seq {
            if next.seq + SEQS_RESERVED / 2 > self.reserved {
                self.reserved = next.seq + SEQS_RESERVED;
                batch.put(Family::Meta, stored::RESERVED_KEY, stored::encode(&Seq(self.reserved)));
            }
            if next.seq > self.reserved_durably {
                durability = Durability::Synced;
            }
            let last = Last { seq: Seq(next.seq), stamp_us: next.stamp_us };
            batch.put(Family::Meta, stored::LAST_KEY, stored::encode(&last));
        }
        let written = self.shared.backend.apply(&batch, durability).map_err(StoreError::from);
        let state = written.and_then(|()| state_of(&self.shared, &next));
        match state {
            Ok(state) => {
                self.published.store(Arc::new(state));
                self.now = next;
                if durability == Durability::Synced {
                    self.synced();
                } else {
                    self.unsynced_since.get_or_insert_with(Instant::now);
                }
                Ok(())
            }
            Err(error) => {
                self.fail(&error);
                Err(error)
            }
        }
    }

    fn fail(&mut self, error: &StoreError) {
        tracing::error!(%error, "a write failed: no more are taken until the server was started again");
        let cause = match error {
            StoreError::Kv(cause) => cause.clone(),
            other => KvError::Io(other.to_string()),
        };
        self.failed = Some(cause.clone());
        self.unsynced_since = None;
        self.waiting.clear();
        self.shared.failing.send_replace(Some(cause));
    }

    fn takes_writes(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), |cause| Err(StoreError::Failed(cause)))
    }

    /// Everything applied so far is durable: what waited for that goes to the feed.
    fn synced(&mut self) {
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.unsynced_since = None;
        self.reserved_durably = self.reserved;
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.shared.ring.push(waiting, true);
        }
    }

    fn sync(&mut self) {
        if self.failed.is_some() || self.unsynced_since.is_none() {
            return;
        }
        match self.shared.backend.sync() {
            Ok(()) => self.synced(),
            Err(error) => self.fail(&error.into()),
        }
    }

    fn hand_on(&mut self, records: Vec<Arc<CommitRecord>>, followed: bool) {
        if self.unsynced_since.is_none() || !followed {
            self.shared.ring.push(records, followed);
        } else {
            self.waiting.extend(records);
        }
    }

    fn notes(&self) -> Vec<Arc<ChangeNote>> {
        let mut notes = self.shared.notes.lock();
        notes.retain(|note| note.strong_count() > 0);
        notes.iter().filter_map(std::sync::Weak::upgrade).collect()
    }

    fn fixed_point(&mut self, run: Box<dyn FnOnce(Result<&Arc<Published>, StoreError>) + Send>) {
        self.sync();
        if let Err(error) = self.takes_writes() {
            return run(Err(error));
        }
        run(Ok(&self.published.load_full()));
    }

    fn flush(&mut self, mut flush: FlushCommit) -> Result<(), StoreError> {
        self.takes_writes()?;
        let table = flush.table;
        if self.now.catalog.table(table).is_none() {
            return Err(StoreError::SchemaChanged(table));
        }
        let keys = flush.note.take();
        if !keys.is_empty() {
            flush.deletes.extend((flush.resolve)(&keys)?);
        }
        let mut next = self.now.clone();
        let mut batch = Batch { epoch: self.epoch, ops: Vec::new() };
        let files = next.manifest.files_mut(table);
        files.place_number += 1;
        files.mark = files.mark.max(flush.upto);
        for record in flush.segments {
            batch.put(Family::Meta, stored::segment_key(table, record.id), stored::encode(&record));
            batch.delete(Family::Meta, stored::intent_key(record.id));
            let any = flush.deletes.iter().any(|(segment, _)| *segment == record.id);
            files.segments.push(SegmentEntry { record: Arc::new(record), deletes_version: u64::from(any) });
        }
        for (segment, row) in flush.deletes {
            batch.put(Family::Meta, stored::delete_key(segment, row), Bytes::new());
        }
        batch.put(Family::Meta, stored::mark_key(table), stored::encode(&files.mark));
        self.shared.notes.lock().retain(|note| note.upgrade().is_some_and(|note| !Arc::ptr_eq(&note, &flush.note)));
        self.write_and_publish(batch, next, Durability::Synced)
    }

    fn apply_marks(&mut self, ops: Vec<Op>, durability: Durability) -> Result<(), StoreError> {
        self.takes_writes()?;
        let next = self.now.clone();
        self.write_and_publish(Batch { epoch: self.epoch, ops }, next, durability)
    }

    /// Behind the commit of its transaction, if there was one: the newest definitions say what became of it. What
    /// fails here is done at the next start.
    fn end_build(&mut self, table: TableId, index: Oid) {
        let mut ops = vec![Op::Delete(Family::Meta, stored::build_key(table, index))];
        if self.now.catalog.table(table).is_none_or(|def| def.index(index).is_none()) {
            let mut batch = Batch::default();
            batch.delete_prefix(Family::Indexes, &index::prefix(table, index));
            ops.extend(batch.ops);
        }
        if let Err(error) = self.apply_marks(ops, Durability::Unsynced) {
            tracing::warn!(%error, "the rest of an index is removed at the next start");
        }
    }

    /// A clean end: nothing was reserved in vain.
    fn stop(&mut self) -> Result<(), StoreError> {
        self.takes_writes()?;
        self.sync();
        let exact = stored::encode(&Seq(self.now.seq));
        let mut ops = vec![Op::Put(Family::Meta, stored::RESERVED_KEY.into(), exact)];
        ops.extend(self.shared.sequences.settle());
        self.apply_marks(ops, Durability::Synced)
    }
}

fn state_of(shared: &Shared, next: &Next) -> Result<Published, StoreError> {
    Ok(Published {
        seq: Seq(next.seq),
        stamp_us: next.stamp_us,
        catalog: next.catalog.clone(),
        manifest: next.manifest.clone(),
        snapshot: shared.backend.snapshot()?,
        _seen: shared.watchers.see(Seq(next.seq)),
    })
}

impl Group<'_> {
    fn take(&mut self, payload: Payload, answer: oneshot::Sender<Result<Committed, Refused>>) -> (CommitRecord, Taken) {
        let Payload { set, changes, notifications, locks, charge } = payload;
        let before = self.next.seq;
        let mut rows = Vec::new();
        // Ranges that go come first, so that rows written after a TRUNCATE stay.
        self.define(&changes);
        for (key, entry) in set.rows {
            let Some(writes) = set.tables.get(&entry.table) else { continue };
            // The table may have been dropped by this transaction.
            if self.next.catalog.table(entry.table).is_some() {
                let emptied = set.truncated.iter().rev().find(|(table, _)| *table == entry.table);
                self.row(key, entry, writes, emptied.map_or(0, |(_, statement)| *statement), &mut rows);
            }
        }
        for (key, versions) in set.entries {
            self.entry(key, versions, &set.truncated);
        }
        for key in set.tombstones.into_keys() {
            self.batch.delete(Family::Tombstones, key);
        }
        if self.next.seq == before && !changes.is_empty() {
            // Definitions take a position too, so that "the state at n" says which they are.
            self.next.seq += 1;
        }
        let record = CommitRecord {
            epoch: self.epoch,
            seq_first: Seq(before + 1),
            seq_last: Seq(self.next.seq),
            stamp_us: self.next.stamp_us,
            changes: rows,
            definitions: changes,
            notifications,
        };
        let seq = (self.next.seq > before).then_some(Seq(self.next.seq));
        (record, Taken { answer, committed: Committed { seq }, locks, charge })
    }

    /// Writes an index entry as its last version has it, if its index is still there.
    fn entry(&mut self, key: Key, mut versions: Vec<EntryVersion>, truncated: &[(TableId, u32)]) {
        let Some((table, index)) = entry_owner(&key) else { return };
        if self.next.catalog.table(table).is_none_or(|def| def.index(index).is_none()) {
            return;
        }
        let emptied = truncated.iter().rev().find(|(id, _)| *id == table).map_or(0, |(_, statement)| *statement);
        match versions.pop() {
            Some(EntryVersion { statement, value: Some(value) }) if statement >= emptied => {
                self.batch.put(Family::Indexes, key, value);
            }
            // What was there before an emptying is gone with it.
            _ => self.batch.delete(Family::Indexes, key),
        }
    }

    fn position(&mut self) -> Seq {
        self.next.seq += 1;
        Seq(self.next.seq)
    }

    fn row(&mut self, key: Key, entry: Entry, writes: &TableWrites, emptied: u32, rows: &mut Vec<RowChange>) {
        let table = entry.table;
        let outcome = entry.outcome(emptied);
        if outcome.base.is_none() && outcome.row.is_none() {
            return;
        }
        for note in self.notes.iter().filter(|note| note.table == table) {
            note.add(&key[4..]);
        }
        let followed = self.followed && !writes.silent;
        let (scope, short) = split_key(&key, writes.per_user);
        let short = if followed { Bytes::copy_from_slice(short) } else { Bytes::new() };
        let change = |old, new, seq| RowChange { table, scope, key: short.clone(), old, new, seq };
        let mut old = outcome.base.map(|base| {
            if let Place::Cold { segment, row } = base.place {
                self.batch.put(Family::Meta, stored::delete_key(segment, row), Bytes::new());
                let version = self.next.seq + 1;
                let files = self.next.manifest.files_mut(table);
                if let Some(entry) = files.segments.iter_mut().find(|entry| entry.record.id == segment) {
                    entry.deletes_version = version.max(entry.deletes_version + 1);
                }
            }
            base.row
        });
        if outcome.removed {
            let seq = self.position();
            if let Some(mut buried) = outcome.buried.filter(|_| writes.buries) {
                stamp(&mut buried, seq, self.next.stamp_us);
                self.batch.put(Family::Tombstones, tombstone(&key, seq), buried);
            }
            if outcome.row.is_none() {
                // Of a cold row too: a leftover of it may be there, and goes for good.
                self.batch.delete(writes.family, key.clone());
            }
            *self.counts.entry(table).or_default() -= 1;
            let removed = old.take();
            if followed {
                rows.push(change(removed, None, seq));
            }
        }
        if let Some(mut row) = outcome.row {
            let seq = self.position();
            stamp(&mut row, seq, self.next.stamp_us);
            let mut stored_len = row.len();
            if let Some(ttl_us) = writes.ttl_us {
                stored_len -= EXPIRY_LEN;
                row[stored_len..].copy_from_slice(&self.next.stamp_us.saturating_add(ttl_us).to_le_bytes());
            }
            if old.is_none() {
                *self.counts.entry(table).or_default() += 1;
            }
            let row = Bytes::from(row);
            if followed {
                rows.push(change(old, Some(row.slice(..stored_len)), seq));
            }
            self.batch.put(writes.family, key, row);
        }
    }

    fn define(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.defined = true;
        let mut catalog = Catalog::clone(&self.next.catalog);
        for change in changes {
            if let Change::DropTable(id) | Change::TruncateTable(id) = change {
                // A table that is not in the newest catalog is one of this transaction's own: nothing is stored.
                if let Some(def) = self.next.catalog.table(*id).cloned() {
                    self.empty(&def);
                }
            }
            if let Change::DropTable(id) = change {
                self.next.manifest.forget(*id);
                self.counts.remove(id);
                self.batch.delete(Family::Meta, stored::mark_key(*id));
                self.batch.delete(Family::Meta, stored::count_key(*id));
                self.batch.delete_prefix(Family::Catalog, &stored::history_prefix(*id));
            }
            if let Change::PutTable(def) = change
                && let Some(old) = catalog.table(def.id).filter(|old| old.schema_version < def.schema_version)
            {
                let key = stored::history_key(old.id, old.schema_version);
                self.batch.put(Family::Catalog, key, stored::encode(&**old));
            }
            if let Change::PutTable(def) = change
                && let Some(old) = catalog.table(def.id)
            {
                for gone in old.indexes.iter().filter(|index| def.index(index.id).is_none()) {
                    self.batch.delete_prefix(Family::Indexes, &index::prefix(def.id, gone.id));
                }
            }
            match change {
                Change::DropSequence(id) => self.batch.delete_prefix(Family::Meta, &stored::places_prefix(*id)),
                Change::PutSequence(def) => {
                    let old = catalog.sequence(def.id).filter(|old| old.generation != def.generation);
                    if let Some(old) = old {
                        self.batch.delete(Family::Meta, stored::place_key(old.id, old.generation));
                    }
                }
                _ => {}
            }
            for about in catalog.comments_going_with(change) {
                self.batch.delete(Family::Catalog, stored::comment_key(about));
            }
            stored::write(&mut self.batch, change);
            catalog.apply(change);
        }
        self.next.catalog = Arc::new(catalog);
    }

    /// Removes a table's rows and tombstones and retires its segments. Older snapshots still see them all.
    fn empty(&mut self, def: &TableDef) {
        let prefix = def.id.0.to_be_bytes();
        for family in [super::write_set::family_of(def), Family::Tombstones, Family::Indexes] {
            self.batch.delete_prefix(family, &prefix);
        }
        let at = Seq(self.next.seq + 1);
        if self.next.manifest.files(def.id).is_some() {
            let files = self.next.manifest.files_mut(def.id);
            files.place_number += 1;
            for entry in std::mem::take(&mut files.segments) {
                let record = &entry.record;
                let retired = Retired { path: record.path.clone(), at };
                self.batch.put(Family::Meta, stored::retired_key(record.id), stored::encode(&retired));
                self.batch.delete(Family::Meta, stored::segment_key(def.id, record.id));
                self.batch.delete_prefix(Family::Meta, &stored::deletes_prefix(record.id));
            }
        }
        *self.counts.entry(def.id).or_default() = -self.next.manifest.count(def.id);
    }

    /// What is written once for the group.
    fn finish(&mut self) {
        for (table, delta) in std::mem::take(&mut self.counts) {
            if delta != 0 && self.next.catalog.table(table).is_some() {
                let count = self.next.manifest.count(table) + delta;
                self.next.manifest.set_count(table, count);
                self.batch.put(Family::Meta, stored::count_key(table), stored::encode(&count));
            }
        }
        if self.defined {
            self.batch.put(Family::Meta, stored::GIVEN_KEY, stored::encode(&self.numbers.given()));
        }
    }
}
