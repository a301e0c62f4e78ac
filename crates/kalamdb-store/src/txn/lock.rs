//! Locks on rows, relations and names, held until the transaction ends; those on rows until a rollback to a savepoint
//! before them.
//!
//! A lock is a place in a queue per thing. Waiting is an `await`, never a blocked thread (see [`super::deadlock`]).
//! A row's key is locked whether it exists or not: the claim of a key is a lock on its absence. Weak table locks,
//! which every statement takes and which do not conflict with one another, are entries in a slot of the transaction
//! alone; who wants a strong one first looks through the slots and moves what it finds to the common table.

use super::TxnId;
use crate::kv::Key;
use kalamdb_commons::{NamespaceId, TableId};
use parking_lot::{Mutex, MutexGuard};
use rustc_hash::{FxHashMap, FxHasher};
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Shards of the lock table, so that sessions seldom meet.
const SHARDS: usize = 64;
/// Counters of strong table locks, by a table's hash. Two tables in one counter cost a weak lock its short cut only.
const STRONG_COUNTERS: usize = 256;

/// How strongly a row is locked (PostgreSQL manual 13.3.2), weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LockStrength {
    /// FOR KEY SHARE: the key stays.
    KeyShare,
    /// FOR SHARE: the row stays as it is.
    Share,
    /// FOR NO KEY UPDATE, and UPDATE that leaves the key.
    NoKeyUpdate,
    /// FOR UPDATE, DELETE, UPDATE of a key, and the claim of a key.
    Update,
}

/// How strongly a table is locked (PostgreSQL manual 13.3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TableLockMode {
    /// SELECT
    AccessShare,
    /// SELECT … FOR …
    RowShare,
    /// INSERT, UPDATE, DELETE
    RowExclusive,
    /// VACUUM, ANALYZE, flush
    ShareUpdateExclusive,
    /// CREATE INDEX
    Share,
    /// CREATE TRIGGER
    ShareRowExclusive,
    /// REFRESH … CONCURRENTLY
    Exclusive,
    /// ALTER, DROP, TRUNCATE
    AccessExclusive,
}

/// What to do when a lock is not free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockWait {
    /// Wait, `lock_timeout` at most.
    Block(Option<Duration>),
    /// NOWAIT: an error.
    NoWait,
    /// SKIP LOCKED.
    Skip,
}

/// A set of modes of one thing, a bit each.
type Modes = u16;

impl LockStrength {
    const fn bit(self) -> Modes {
        1 << self as u16
    }
    /// The strengths it does not go together with.
    const fn conflicts(self) -> Modes {
        match self {
            LockStrength::KeyShare => LockStrength::Update.bit(),
            LockStrength::Share => LockStrength::NoKeyUpdate.bit() | LockStrength::Update.bit(),
            LockStrength::NoKeyUpdate => {
                LockStrength::Share.bit() | LockStrength::NoKeyUpdate.bit() | LockStrength::Update.bit()
            }
            LockStrength::Update => 0b1111,
        }
    }
}

impl TableLockMode {
    const fn bit(self) -> Modes {
        1 << self as u16
    }
    /// The modes it does not go together with: PostgreSQL manual, table 13.2, bit 0 is ACCESS SHARE.
    const fn conflicts(self) -> Modes {
        match self {
            TableLockMode::AccessShare => 0b1000_0000,
            TableLockMode::RowShare => 0b1100_0000,
            TableLockMode::RowExclusive => 0b1111_0000,
            TableLockMode::ShareUpdateExclusive => 0b1111_1000,
            TableLockMode::Share => 0b1110_1100,
            TableLockMode::ShareRowExclusive => 0b1111_1100,
            TableLockMode::Exclusive => 0b1111_1110,
            TableLockMode::AccessExclusive => 0b1111_1111,
        }
    }
    /// Whether it conflicts with none of its kind: SELECT's, SELECT FOR's and DML's.
    const fn is_weak(self) -> bool {
        matches!(self, TableLockMode::AccessShare | TableLockMode::RowShare | TableLockMode::RowExclusive)
    }
    /// Whether nobody else can lock or change a row of the table.
    const fn covers_rows(self) -> bool {
        matches!(self, TableLockMode::Exclusive | TableLockMode::AccessExclusive)
    }
}

/// A thing that can be locked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Target {
    Row(Key),
    Table(TableId),
    Name(NamespaceId, Arc<str>),
}

/// One mode, with what it conflicts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    bit: Modes,
    conflicts: Modes,
    /// The modes that make this one needless.
    covered_by: Modes,
}

impl Wanted {
    fn of_row(strength: LockStrength) -> Self {
        // Each strength conflicts with all that the weaker ones conflict with.
        Self { bit: strength.bit(), conflicts: strength.conflicts(), covered_by: 0b1111 << strength as u16 & 0b1111 }
    }
    fn of_table(mode: TableLockMode) -> Self {
        Self { bit: mode.bit(), conflicts: mode.conflicts(), covered_by: mode.bit() }
    }
    fn of_name() -> Self {
        Self { bit: 1, conflicts: 1, covered_by: 1 }
    }
}

/// One locked thing.
#[derive(Default)]
struct Lock {
    /// Who has it. Nearly always one: kept without an allocation.
    first: Option<(TxnId, Modes)>,
    more: Vec<(TxnId, Modes)>,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    txn: TxnId,
    wanted: Wanted,
    wake: oneshot::Sender<Woken>,
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Woken {
    Granted,
    /// Chosen as the victim of a cycle.
    Victim,
}

impl Lock {
    fn holders(&self) -> impl Iterator<Item = (TxnId, Modes)> + '_ {
        self.first.iter().chain(&self.more).copied()
    }
    fn modes_of(&self, txn: TxnId) -> Modes {
        self.holders().find(|(holder, _)| *holder == txn).map_or(0, |(_, modes)| modes)
    }
    fn add(&mut self, txn: TxnId, modes: Modes) {
        let mut holders = self.first.iter_mut().chain(&mut self.more);
        if let Some((_, held)) = holders.find(|(holder, _)| *holder == txn) {
            *held |= modes;
        } else if self.first.is_none() {
            self.first = Some((txn, modes));
        } else {
            self.more.push((txn, modes));
        }
    }
    fn remove(&mut self, txn: TxnId) {
        if self.first.is_some_and(|(holder, _)| holder == txn) {
            self.first = self.more.pop();
        } else {
            self.more.retain(|(holder, _)| *holder != txn);
        }
    }
    /// Takes modes away from a holder; one that has none left is none.
    fn give_up(&mut self, txn: TxnId, modes: Modes) {
        let mut holders = self.first.iter_mut().chain(&mut self.more);
        let left = holders.find(|(holder, _)| *holder == txn).map(|(_, held)| {
            *held &= !modes;
            *held
        });
        if left == Some(0) {
            self.remove(txn);
        }
    }
    fn is_unused(&self) -> bool {
        self.first.is_none() && self.queue.is_empty()
    }
    /// Whether a holder other than `txn` is in the way.
    fn held_against(&self, txn: TxnId, wanted: Wanted) -> bool {
        self.holders().any(|(holder, modes)| holder != txn && modes & wanted.conflicts != 0)
    }

    /// Gives the lock to those in front of the queue that can have it now. Who cannot holds back those behind it
    /// that conflict with it, so nobody starves.
    fn pump(&mut self) {
        let mut kept: VecDeque<Waiter> = VecDeque::with_capacity(self.queue.len());
        for waiter in std::mem::take(&mut self.queue) {
            let passed = kept.iter().any(|ahead| ahead.wanted.bit & waiter.wanted.conflicts != 0);
            if passed || self.held_against(waiter.txn, waiter.wanted) {
                kept.push_back(waiter);
            } else if waiter.wake.send(Woken::Granted).is_ok() {
                self.add(waiter.txn, waiter.wanted.bit);
            }
        }
        self.queue = kept;
    }
}

/// A transaction's weak table locks, until someone needs to see them.
#[derive(Default)]
pub(super) struct Slot {
    entries: Mutex<SlotEntries>,
}

#[derive(Default)]
struct SlotEntries {
    weak: Vec<(TableId, Modes)>,
    /// Those that were moved to the common table.
    moved: Vec<TableId>,
}

/// All locks of a store.
pub struct LockTable {
    shards: Vec<Mutex<FxHashMap<Target, Lock>>>,
    slots: Vec<Mutex<FxHashMap<TxnId, Arc<Slot>>>>,
    strong: Vec<AtomicU64>,
    /// Who waits for what.
    waiting: Mutex<FxHashMap<TxnId, Target>>,
    pub(super) waits: AtomicU64,
    pub(super) deadlocks: AtomicU64,
}

/// What became of a request.
pub(super) enum Requested {
    Granted,
    /// The transaction has it, as strongly or more.
    Already,
    /// SKIP LOCKED and NOWAIT: it is not free.
    Refused,
    Queued(Ticket),
}

/// A place in a queue. Dropped before it was served, it leaves the queue.
pub(super) struct Ticket {
    table: Arc<LockTable>,
    pub(super) txn: TxnId,
    target: Target,
    pub(super) woken: oneshot::Receiver<Woken>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.table.waiting.lock().remove(&self.txn);
        self.table.withdraw(self.txn, &self.target);
    }
}

fn hash_of(value: &impl Hash) -> usize {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    hasher.finish() as usize
}

impl LockTable {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            slots: (0..SHARDS).map(|_| Mutex::default()).collect(),
            strong: (0..STRONG_COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            waiting: Mutex::default(),
            waits: AtomicU64::new(0),
            deadlocks: AtomicU64::new(0),
        })
    }

    fn shard(&self, target: &Target) -> MutexGuard<'_, FxHashMap<Target, Lock>> {
        // The map inside uses the hash's upper bits, so the shard is taken from the middle.
        self.shards[(hash_of(target) >> 24) % SHARDS].lock()
    }
    fn strong(&self, table: TableId) -> &AtomicU64 {
        &self.strong[table.0 as usize % STRONG_COUNTERS]
    }
    fn slots_of(&self, txn: TxnId) -> MutexGuard<'_, FxHashMap<TxnId, Arc<Slot>>> {
        self.slots[txn.0 as usize % SHARDS].lock()
    }

    fn request(self: &Arc<Self>, txn: TxnId, target: &Target, wanted: Wanted, wait: LockWait) -> Requested {
        let mut shard = self.shard(target);
        let lock = shard.entry(target.clone()).or_default();
        let own = lock.modes_of(txn);
        if own & wanted.covered_by != 0 {
            return Requested::Already;
        }
        // One who has the lock already and wants it stronger goes in front: those in the queue wait for it anyway.
        let upgrade = own != 0;
        let passed = !upgrade && lock.queue.iter().any(|ahead| ahead.wanted.bit & wanted.conflicts != 0);
        if !passed && !lock.held_against(txn, wanted) {
            lock.add(txn, wanted.bit);
            return Requested::Granted;
        }
        if !matches!(wait, LockWait::Block(_)) {
            return Requested::Refused;
        }
        let (wake, woken) = oneshot::channel();
        let waiter = Waiter { txn, wanted, wake };
        if upgrade {
            lock.queue.push_front(waiter);
        } else {
            lock.queue.push_back(waiter);
        }
        drop(shard);
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(txn, target.clone());
        Requested::Queued(Ticket { table: self.clone(), txn, target: target.clone(), woken })
    }

    fn release(&self, txn: TxnId, target: &Target, modes: Modes) {
        let mut shard = self.shard(target);
        if let Some(lock) = shard.get_mut(target) {
            lock.give_up(txn, modes);
            lock.pump();
            if lock.is_unused() {
                shard.remove(target);
            }
        }
    }

    /// Leaves the queue; one that was served in the meantime keeps the lock to the transaction's end.
    fn withdraw(&self, txn: TxnId, target: &Target) {
        let mut shard = self.shard(target);
        if let Some(lock) = shard.get_mut(target) {
            let before = lock.queue.len();
            lock.queue.retain(|waiter| waiter.txn != txn);
            if lock.queue.len() != before {
                lock.pump();
            }
            if lock.is_unused() {
                shard.remove(target);
            }
        }
    }

    /// Whom a waiting transaction waits for; empty when it does not wait.
    pub(super) fn blockers(&self, txn: TxnId) -> Vec<TxnId> {
        let Some(target) = self.waiting.lock().get(&txn).cloned() else { return Vec::new() };
        let shard = self.shard(&target);
        let Some(lock) = shard.get(&target) else { return Vec::new() };
        let Some(place) = lock.queue.iter().position(|waiter| waiter.txn == txn) else { return Vec::new() };
        let wanted = lock.queue[place].wanted;
        let holders = lock.holders().filter(|(holder, modes)| *holder != txn && modes & wanted.conflicts != 0);
        let ahead = lock.queue.iter().take(place).filter(|ahead| ahead.wanted.bit & wanted.conflicts != 0);
        holders.map(|(holder, _)| holder).chain(ahead.map(|waiter| waiter.txn)).collect()
    }

    /// Ends a transaction's wait as the victim of a cycle.
    pub(super) fn sacrifice(&self, txn: TxnId) {
        let Some(target) = self.waiting.lock().remove(&txn) else { return };
        let mut shard = self.shard(&target);
        let Some(lock) = shard.get_mut(&target) else { return };
        if let Some(place) = lock.queue.iter().position(|waiter| waiter.txn == txn) {
            if let Some(waiter) = lock.queue.remove(place) {
                // Whoever stopped waiting by itself needs no telling.
                let _ = waiter.wake.send(Woken::Victim);
            }
            lock.pump();
        }
    }
}

/// The locks of one transaction. They are released when this is dropped, and not before (but for
/// [`Held::release_rows`]): at COMMIT it goes with the request to the committer.
pub struct Held {
    table: Arc<LockTable>,
    txn: TxnId,
    /// In the order in which they were taken, with the modes that each request brought.
    targets: Vec<(Target, Modes)>,
    tables: FxHashMap<TableId, Modes>,
    slot: Option<Arc<Slot>>,
    /// Tables whose counter of strong locks this transaction raised.
    strong: Vec<TableId>,
}

impl Held {
    pub(super) fn new(table: Arc<LockTable>, txn: TxnId) -> Self {
        Self { table, txn, targets: Vec::new(), tables: FxHashMap::default(), slot: None, strong: Vec::new() }
    }

    /// Whether nobody else can touch the table's rows.
    pub(super) fn covers_rows(&self, table: TableId) -> bool {
        let modes = self.tables.get(&table).copied().unwrap_or(0);
        [TableLockMode::Exclusive, TableLockMode::AccessExclusive]
            .iter()
            .any(|mode| mode.covers_rows() && modes & mode.bit() != 0)
    }

    pub(super) fn row(&mut self, key: Key, strength: LockStrength, wait: LockWait) -> Requested {
        self.common(Target::Row(key), Wanted::of_row(strength), wait)
    }

    pub(super) fn name(&mut self, namespace: NamespaceId, name: &str, wait: LockWait) -> Requested {
        self.common(Target::Name(namespace, name.into()), Wanted::of_name(), wait)
    }

    pub(super) fn table(&mut self, id: TableId, mode: TableLockMode, wait: LockWait) -> Requested {
        let held = self.tables.get(&id).copied().unwrap_or(0);
        if held & mode.bit() != 0 {
            return Requested::Granted;
        }
        if mode.is_weak() {
            if self.take_slot(id, mode) {
                return Requested::Granted;
            }
        } else {
            self.strong.push(id);
            self.table.strong(id).fetch_add(1, Ordering::SeqCst);
            self.gather_weak(id);
        }
        self.common(Target::Table(id), Wanted::of_table(mode), wait)
    }

    /// To be told when a table lock was granted, at once or after a wait.
    pub(super) fn note_table(&mut self, id: TableId, mode: TableLockMode) {
        *self.tables.entry(id).or_default() |= mode.bit();
    }

    fn common(&mut self, target: Target, wanted: Wanted, wait: LockWait) -> Requested {
        match self.table.request(self.txn, &target, wanted, wait) {
            Requested::Already => Requested::Granted,
            Requested::Refused => Requested::Refused,
            // Kept before the wait: one that is cut short may have been served. Releasing what one has not is nothing.
            requested => {
                self.targets.push((target, wanted.bit));
                requested
            }
        }
    }

    /// How many locks were taken so far.
    pub(super) fn count(&self) -> usize {
        self.targets.len()
    }

    /// Releases the row locks that were taken after the first `count` locks. A row that had been locked before is
    /// locked as strongly as it was then: no request brought what an earlier one had.
    pub(super) fn release_rows(&mut self, count: usize) {
        for (target, modes) in self.targets.split_off(count.min(self.targets.len())) {
            match target {
                Target::Row(_) => self.table.release(self.txn, &target, modes),
                Target::Table(_) | Target::Name(..) => self.targets.push((target, modes)),
            }
        }
    }

    /// Takes a weak lock in the transaction's own slot, unless someone has or wants a strong one.
    fn take_slot(&mut self, id: TableId, mode: TableLockMode) -> bool {
        let slot = self.slot.get_or_insert_with(|| {
            let slot = Arc::new(Slot::default());
            self.table.slots_of(self.txn).insert(self.txn, slot.clone());
            slot
        });
        let mut entries = slot.entries.lock();
        if self.table.strong(id).load(Ordering::SeqCst) != 0 {
            return false;
        }
        match entries.weak.iter_mut().find(|(table, _)| *table == id) {
            Some((_, modes)) => *modes |= mode.bit(),
            None => entries.weak.push((id, mode.bit())),
        }
        true
    }

    /// Moves everybody's weak locks of a table to the common one. No new ones come: the counter is up.
    fn gather_weak(&self, id: TableId) {
        let target = Target::Table(id);
        for shard in &self.table.slots {
            let slots: Vec<_> = shard.lock().iter().map(|(txn, slot)| (*txn, slot.clone())).collect();
            for (txn, slot) in slots {
                let mut entries = slot.entries.lock();
                let Some(place) = entries.weak.iter().position(|(table, _)| *table == id) else { continue };
                let (_, modes) = entries.weak.swap_remove(place);
                entries.moved.push(id);
                self.table.shard(&target).entry(target.clone()).or_default().add(txn, modes);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.table.slots_of(self.txn).remove(&self.txn);
            let moved = {
                let mut entries = slot.entries.lock();
                entries.weak.clear();
                std::mem::take(&mut entries.moved)
            };
            self.targets.extend(moved.into_iter().map(|table| (Target::Table(table), Modes::MAX)));
        }
        for (target, _) in self.targets.drain(..) {
            self.table.release(self.txn, &target, Modes::MAX);
        }
        for table in self.strong.drain(..) {
            self.table.strong(table).fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
impl LockTable {
    /// How many things are locked: nothing may stay behind.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [LockStrength; 4] =
        [LockStrength::KeyShare, LockStrength::Share, LockStrength::NoKeyUpdate, LockStrength::Update];
    const TABLE: [TableLockMode; 8] = [
        TableLockMode::AccessShare,
        TableLockMode::RowShare,
        TableLockMode::RowExclusive,
        TableLockMode::ShareUpdateExclusive,
        TableLockMode::Share,
        TableLockMode::ShareRowExclusive,
        TableLockMode::Exclusive,
        TableLockMode::AccessExclusive,
    ];

    fn granted(requested: &Requested) -> bool {
        matches!(requested, Requested::Granted)
    }

    /// PostgreSQL manual, table 13.3 (row-level) and 13.2 (table-level): x is a conflict.
    #[test]
    fn matrices_are_the_manuals() {
        let rows = ["   x", "  xx", " xxx", "xxxx"];
        for (held, line) in ROW.iter().zip(rows) {
            for (wanted, mark) in ROW.iter().zip(line.chars()) {
                let table = LockTable::new();
                let (mut a, mut b) = (Held::new(table.clone(), TxnId(1)), Held::new(table.clone(), TxnId(2)));
                assert!(granted(&a.row(Key::from(&b"k"[..]), *held, LockWait::NoWait)));
                let got = granted(&b.row(Key::from(&b"k"[..]), *wanted, LockWait::NoWait));
                assert_eq!(got, mark == ' ', "{held:?} {wanted:?}");
            }
        }
        let tables = ["       x", "      xx", "    xxxx", "   xxxxx", "  xx xxx", "  xxxxxx", " xxxxxxx", "xxxxxxxx"];
        for (held, line) in TABLE.iter().zip(tables) {
            for (wanted, mark) in TABLE.iter().zip(line.chars()) {
                let table = LockTable::new();
                let (mut a, mut b) = (Held::new(table.clone(), TxnId(1)), Held::new(table.clone(), TxnId(2)));
                assert!(granted(&a.table(TableId(7), *held, LockWait::NoWait)));
                a.note_table(TableId(7), *held);
                let got = granted(&b.table(TableId(7), *wanted, LockWait::NoWait));
                assert_eq!(got, mark == ' ', "{held:?} {wanted:?}");
                drop((a, b));
                assert_eq!(table.len(), 0);
                assert_eq!(table.strong(TableId(7)).load(Ordering::SeqCst), 0);
            }
        }
    }

    /// A stronger waiter is not passed by weaker ones for ever, and an upgrade does not wait behind its own waiters.
    #[test]
    fn queue_is_first_come_first_served() {
        let table = LockTable::new();
        let key = || Key::from(&b"k"[..]);
        let block = LockWait::Block(None);
        let [mut a, mut b, mut c] = [1, 2, 3].map(|txn| Held::new(table.clone(), TxnId(txn)));
        assert!(granted(&a.row(key(), LockStrength::Share, block)));
        let Requested::Queued(mut second) = b.row(key(), LockStrength::Update, block) else { panic!("it must wait") };
        let Requested::Queued(mut third) = c.row(key(), LockStrength::Share, block) else { panic!("it must wait") };
        assert!(granted(&a.row(key(), LockStrength::Update, block)), "who has it alone may have it stronger");
        assert!(second.woken.try_recv().is_err());
        drop(a);
        assert_eq!(second.woken.try_recv(), Ok(Woken::Granted));
        assert!(third.woken.try_recv().is_err());
        drop((second, b));
        assert_eq!(third.woken.try_recv(), Ok(Woken::Granted));
        drop((third, c));
        assert_eq!(table.len(), 0);
    }

    /// A rollback to a savepoint: rows locked since then are free, those locked before are held as they were.
    #[test]
    fn row_locks_are_given_back() {
        let table = LockTable::new();
        let key = |name: &'static [u8]| Key::from(name);
        let block = LockWait::Block(None);
        let [mut a, mut b, mut c] = [1, 2, 3].map(|txn| Held::new(table.clone(), TxnId(txn)));
        assert!(granted(&a.row(key(b"before"), LockStrength::Share, block)));
        let mark = a.count();
        assert!(granted(&a.table(TableId(7), TableLockMode::Share, block)));
        a.note_table(TableId(7), TableLockMode::Share);
        assert!(granted(&a.row(key(b"before"), LockStrength::Update, block)));
        assert!(granted(&a.row(key(b"after"), LockStrength::NoKeyUpdate, block)));
        assert!(granted(&a.row(key(b"after"), LockStrength::Update, block)));
        let Requested::Queued(mut first) = b.row(key(b"after"), LockStrength::Update, block) else { panic!("held") };
        let Requested::Queued(mut second) = c.row(key(b"before"), LockStrength::Share, block) else { panic!("held") };
        for _ in 0..2 {
            a.release_rows(mark);
            assert_eq!(a.count(), mark + 1, "the table is still locked");
        }
        assert_eq!(first.woken.try_recv(), Ok(Woken::Granted));
        assert_eq!(second.woken.try_recv(), Ok(Woken::Granted));
        assert!(!granted(&b.row(key(b"before"), LockStrength::NoKeyUpdate, LockWait::NoWait)));
        assert!(!granted(&b.table(TableId(7), TableLockMode::RowExclusive, LockWait::NoWait)));
        drop((first, second, a, b, c));
        assert_eq!(table.len(), 0);
    }

    /// A wait that is given up leaves no trace, and does not hold back those behind it.
    #[test]
    fn dropped_wait_leaves_the_queue() {
        let table = LockTable::new();
        let key = || Key::from(&b"k"[..]);
        let block = LockWait::Block(None);
        let [mut a, mut b, mut c] = [1, 2, 3].map(|txn| Held::new(table.clone(), TxnId(txn)));
        assert!(granted(&a.row(key(), LockStrength::Share, block)));
        let Requested::Queued(second) = b.row(key(), LockStrength::Update, block) else { panic!("it must wait") };
        let Requested::Queued(mut third) = c.row(key(), LockStrength::Share, block) else { panic!("it must wait") };
        drop(second);
        assert_eq!(third.woken.try_recv(), Ok(Woken::Granted));
        drop((third, a, b, c));
        assert_eq!(table.len(), 0);
    }
}
