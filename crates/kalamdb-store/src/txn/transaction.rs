//! A transaction: what it sees, what it has locked, what it wants to change.
//!
//! Nothing of it is anywhere else until [`Transaction::commit`] hands all of it to the committer at once; dropping it
//! is a rollback. After every lock the newest published version of the row is read, whatever the snapshot says.

use super::committer::{CommitRequest, Committed, Payload, Refused, Request};
use super::deadlock::settle;
use super::feed::Notification;
use super::index::Build;
use super::lock::{Held, LockStrength, LockWait, TableLockMode};
use super::read_view::{Own, Place, ReadView, RowVersion, Tombstone, stored_part};
use super::snapshot::Published;
use super::write_set::{Base, ENTRY_BYTES, EXPIRY_LEN, Seen, TableWrites, Version, WriteSet, full_key, split_key};
use super::{Charge, Engine, TxnId};
use crate::catalog::Catalog;
use crate::codec::key::tombstone;
use crate::definition::{Change, Partition};
use crate::error::{LockedThing, StoreError};
use crate::kv::{Durability, Key};
use kalamdb_commons::{NamespaceId, Scope, TableId, TableType};
use parking_lot::RwLock;
use rustc_hash::FxHashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// What a lock costs besides its key.
const LOCK_BYTES: usize = 160;

/// Which state the statements of a transaction see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Each statement the newest one.
    ReadCommitted,
    /// All of them that of the first.
    RepeatableRead,
}

/// A place that a transaction can go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    writes: usize,
    changes: usize,
    notifications: usize,
    locks: usize,
}

/// What stands at a key that was locked.
#[derive(Debug)]
pub struct Locked {
    /// The transaction's own version, or the newest published one; `None`: there is no row.
    pub newest: Option<RowVersion>,
    /// The newest published version is newer than the statement's snapshot (or the row went since): READ COMMITTED
    /// evaluates again.
    pub changed: bool,
    /// SKIP LOCKED: somebody has it. Nothing else here means anything then.
    pub skipped: bool,
    /// The statement itself has written this key already.
    pub by_this_statement: bool,
}

/// A running transaction.
pub struct Transaction {
    engine: Arc<Engine>,
    id: TxnId,
    isolation: Isolation,
    published: Arc<Published>,
    /// REPEATABLE READ: whether the first statement has fixed the state.
    fixed: bool,
    /// `published`'s with `changes`.
    catalog: Arc<Catalog>,
    own: Arc<RwLock<WriteSet>>,
    /// The number of the current statement.
    statement: u32,
    start: Mark,
    changes: Vec<Change>,
    notifications: Vec<Notification>,
    /// The same, to find one that is there already.
    notified: FxHashSet<Notification>,
    locks: Held,
    charge: Charge,
    /// Indexes that it fills.
    builds: Vec<Build>,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id)
            .field("isolation", &self.isolation)
            .field("seq", &self.published.seq)
            .field("statement", &self.statement)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn begin(engine: Arc<Engine>, isolation: Isolation) -> Self {
        let id = TxnId(engine.next_txn.fetch_add(1, Ordering::Relaxed));
        let published = engine.published();
        Self {
            id,
            isolation,
            catalog: published.catalog.clone(),
            published,
            fixed: false,
            own: Arc::default(),
            statement: 1,
            start: Mark { writes: 0, changes: 0, notifications: 0, locks: 0 },
            changes: Vec::new(),
            notifications: Vec::new(),
            notified: FxHashSet::default(),
            locks: Held::new(engine.locks.clone(), id),
            charge: Charge::new(engine.writes.clone()),
            builds: Vec::new(),
            engine,
        }
    }

    /// Its number.
    pub fn id(&self) -> TxnId {
        self.id
    }
    /// Its isolation.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Begins a statement: it sees the newest published state (REPEATABLE READ: that of the first statement) and what
    /// the statements before it wrote.
    ///
    /// # Errors
    /// None today; a snapshot may be taken from a transaction one day (72000).
    pub fn begin_statement(&mut self) -> Result<(), StoreError> {
        self.statement += 1;
        self.start = self.mark();
        self.refresh();
        self.fixed = true;
        Ok(())
    }

    /// Takes the newest published state for the current statement, which has read nothing yet: after its table locks,
    /// so that it sees what the one before it in their queues did.
    pub fn refresh(&mut self) {
        if self.isolation == Isolation::RepeatableRead && self.fixed {
            return;
        }
        self.published = self.engine.published();
        self.rebuild_catalog();
    }

    /// READ COMMITTED: a row that the statement found is newer now, and its expressions need more than that row. What
    /// it wrote is undone, its locks stay, and it runs again on the newest state.
    ///
    /// # Errors
    /// As [`Transaction::begin_statement`].
    pub fn restart_statement(&mut self) -> Result<(), StoreError> {
        self.undo_to(self.start);
        self.begin_statement()
    }

    fn rebuild_catalog(&mut self) {
        self.catalog = if self.changes.is_empty() {
            self.published.catalog.clone()
        } else {
            Arc::new(self.published.catalog.with(&self.changes))
        };
    }

    /// What the current statement sees.
    pub fn view(&self) -> ReadView {
        // Without writes so far there will never be any that this view may see.
        let own = (!self.own.read().is_empty()).then(|| Own { set: self.own.clone(), below: self.statement });
        let is_newest = self.isolation == Isolation::ReadCommitted;
        ReadView::of(self.engine.clone(), self.published.clone()).with_own(self.catalog.clone(), own, is_newest)
    }

    /// The newest published state with what this transaction wrote so far, whatever its isolation: what an index that is
    /// made now has to hold.
    pub fn newest_view(&self) -> ReadView {
        let own = Own { set: self.own.clone(), below: u32::MAX };
        ReadView::of(self.engine.clone(), self.engine.published()).with_own(self.catalog.clone(), Some(own), true)
    }

    /// The same without what the current statement writes: its rows can be written anew while they are read.
    pub fn newest_view_of_statement(&self) -> ReadView {
        let own = Own { set: self.own.clone(), below: self.statement };
        ReadView::of(self.engine.clone(), self.engine.published()).with_own(self.catalog.clone(), Some(own), true)
    }

    /// The definitions, with the transaction's own.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    /// The newest published state, whatever the snapshot: for names that were just locked.
    pub fn newest(&self) -> Arc<Published> {
        self.engine.published()
    }

    /// Whether the statement sees a relation's definition as it is now: under its lock only REPEATABLE READ may not.
    /// What stands on an older one must not be written back.
    pub fn sees_newest(&self, relation: TableId) -> bool {
        let (seen, newest) = (&self.published.catalog, &self.engine.published().catalog);
        seen.table(relation) == newest.table(relation)
            && seen.view(relation) == newest.view(relation)
            && seen.sequence(relation) == newest.sequence(relation)
    }

    /// As [`Transaction::sees_newest`], of a type.
    pub fn sees_newest_type(&self, id: kalamdb_commons::Oid) -> bool {
        self.published.catalog.data_type(id) == self.engine.published().catalog.data_type(id)
    }

    /// Whether a relation's name that was locked is taken: in the transaction's own definitions, or by somebody whose commit its
    /// snapshot does not see.
    pub fn is_name_taken(&self, namespace: NamespaceId, name: &str) -> bool {
        if self.catalog.relation_by_name(namespace, name).is_some() {
            return true;
        }
        let newest = self.engine.published();
        let Some(taken) = newest.catalog.relation_by_name(namespace, name) else { return false };
        // What the snapshot has under this name, and the own definitions have not, went by this transaction.
        self.published.catalog.relation_by_name(namespace, name).is_none_or(|known| known != taken)
    }

    /// Locks a table until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError::Deadlock`], [`StoreError::LockTimeout`], [`StoreError::NotAvailable`].
    pub async fn table_lock(&mut self, table: TableId, mode: TableLockMode, wait: LockWait) -> Result<(), StoreError> {
        let requested = self.locks.table(table, mode, wait);
        let wait = if wait == LockWait::Skip { LockWait::NoWait } else { wait };
        let name = || self.catalog.table(table).map_or_else(|| table.to_string(), |def| def.name.to_string());
        settle(&self.engine.locks, requested, wait, || LockedThing::Relation(name())).await?;
        self.locks.note_table(table, mode);
        Ok(())
    }

    /// Locks a name that is being created, renamed or dropped. Afterwards [`Transaction::newest`] says whether it is
    /// free.
    ///
    /// # Errors
    /// As [`Transaction::table_lock`].
    pub async fn name_lock(&mut self, namespace: NamespaceId, name: &str, wait: LockWait) -> Result<(), StoreError> {
        let requested = self.locks.name(namespace, name, wait);
        let wait = if wait == LockWait::Skip { LockWait::NoWait } else { wait };
        settle(&self.engine.locks, requested, wait, || LockedThing::Name(name.to_string())).await.map(|_| ())
    }

    /// Locks a row that a scan found, and reads what it is now.
    ///
    /// # Errors
    /// [`StoreError::ConcurrentUpdate`] and [`StoreError::ConcurrentDelete`] at REPEATABLE READ; as
    /// [`Transaction::table_lock`]; the storage's.
    pub async fn row_lock(
        &mut self,
        partition: &Partition,
        key: &[u8],
        strength: LockStrength,
        wait: LockWait,
    ) -> Result<Locked, StoreError> {
        let locked = self.lock_key(partition, key, strength, wait).await?;
        if locked.changed && self.isolation == Isolation::RepeatableRead {
            return Err(match locked.newest {
                Some(_) => StoreError::ConcurrentUpdate,
                None => StoreError::ConcurrentDelete,
            });
        }
        Ok(locked)
    }

    /// Locks a key that is to be inserted, present or absent, and reads what is there now: at every level the newest
    /// published row decides whether the key is free.
    ///
    /// # Errors
    /// As [`Transaction::table_lock`]; the storage's.
    pub async fn row_claim(&mut self, partition: &Partition, key: &[u8], wait: LockWait) -> Result<Locked, StoreError> {
        self.lock_key(partition, key, LockStrength::Update, wait).await
    }

    pub(super) async fn lock_key(
        &mut self,
        partition: &Partition,
        key: &[u8],
        strength: LockStrength,
        wait: LockWait,
    ) -> Result<Locked, StoreError> {
        let full = full_key(partition, key);
        // Nobody else can come near the rows of a table that is ours alone.
        if !self.is_ours_alone(partition.table.id) {
            self.charge.grow(LOCK_BYTES + full.len())?;
            let requested = self.locks.row(full.clone(), strength, wait);
            let thing = || LockedThing::Row(partition.table.name.to_string());
            if !settle(&self.engine.locks, requested, wait, thing).await? {
                return Ok(Locked { newest: None, changed: false, skipped: true, by_this_statement: false });
            }
        }
        if let Some(locked) = self.own_version(partition, &full) {
            return Ok(locked);
        }
        let newest = ReadView::of(self.engine.clone(), self.engine.published());
        let row = newest.committed(partition, &full, key).await?;
        let changed = newest.seq() > self.published.seq
            && match &row {
                Some(version) => version.seq.is_some_and(|seq| seq > self.published.seq),
                None => self.committed_view().committed(partition, &full, key).await?.is_some(),
            };
        Ok(Locked { newest: row, changed, skipped: false, by_this_statement: false })
    }

    fn own_version(&self, partition: &Partition, full: &[u8]) -> Option<Locked> {
        let set = self.own.read();
        let newest = match set.seen(partition.table.id, full, u32::MAX) {
            Seen::Nothing => return None,
            Seen::Gone => None,
            Seen::Row(row, statement) => Some(RowVersion::own(stored_part(&partition.table, row), statement)),
        };
        let last = set.rows.get(full).and_then(|entry| entry.versions.last());
        let by_this_statement = last.is_some_and(|version| version.statement == self.statement);
        Some(Locked { newest, changed: false, skipped: false, by_this_statement })
    }

    fn committed_view(&self) -> ReadView {
        ReadView::of(self.engine.clone(), self.published.clone())
    }

    /// Made by this transaction, or locked so that nobody else can lock a row.
    pub(super) fn is_ours_alone(&self, table: TableId) -> bool {
        self.locks.covers_rows(table) || (self.published.catalog.table(table).is_none() && self.is_own_table(table))
    }

    fn is_own_table(&self, table: TableId) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::PutTable(def) if def.id == table))
    }

    /// Writes a row. `replaces` is what [`Transaction::row_lock`] or [`Transaction::row_claim`] found; `None`: an
    /// INSERT of a key that was claimed (or a hidden row id, which nobody else has).
    ///
    /// # Errors
    /// [`StoreError::TooManyWrites`].
    pub fn row_put(
        &mut self,
        partition: &Partition,
        key: &[u8],
        row: Vec<u8>,
        replaces: Option<RowVersion>,
    ) -> Result<(), StoreError> {
        self.write(partition, key, Some(row), replaces, false, false)
    }

    /// Removes a row. It leaves a tombstone, unless it is purged or its table keeps none.
    ///
    /// # Errors
    /// [`StoreError::TooManyWrites`].
    pub fn row_remove(
        &mut self,
        partition: &Partition,
        key: &[u8],
        old: RowVersion,
        purge: bool,
    ) -> Result<(), StoreError> {
        self.write(partition, key, None, Some(old), purge, false)
    }

    fn write(
        &mut self,
        partition: &Partition,
        key: &[u8],
        row: Option<Vec<u8>>,
        replaces: Option<RowVersion>,
        purged: bool,
        restores_own: bool,
    ) -> Result<(), StoreError> {
        let full = full_key(partition, key);
        let old_bytes = replaces.as_ref().map_or(0, |version| version.row.len());
        self.charge.grow(ENTRY_BYTES + full.len() + row.as_ref().map_or(0, Vec::len) + old_bytes)?;
        let table = &partition.table;
        let row = row.map(|mut row| {
            if table.kind == TableType::Stream {
                row.resize(row.len() + EXPIRY_LEN, 0);
            }
            row
        });
        let version = Version { statement: self.statement, row, purged, restores_own };
        let schema_version = self.base_version(partition);
        let mut set = self.own.write();
        let writes = set.tables.entry(table.id).or_insert_with(|| TableWrites::of(table, schema_version));
        let mut base = None;
        if let Some(RowVersion {
            row,
            place: place @ (Place::Hot | Place::Cold { .. }),
            seq: Some(seq),
            place_number,
            ..
        }) = replaces
        {
            writes.place_number = Some(writes.place_number.map_or(place_number, |least| least.min(place_number)));
            base = Some(Base { row, seq, place });
        }
        set.write(full, table.id, base, version);
        Ok(())
    }

    /// The schema version that the committer has to find; `None` for a table of this transaction's own.
    fn base_version(&self, partition: &Partition) -> Option<u32> {
        let table = partition.table.id;
        if !self.is_own_table(table) {
            return Some(partition.table.schema_version);
        }
        self.published.catalog.table(table).map(|def| def.schema_version)
    }

    /// The newest tombstone of a key that was claimed.
    ///
    /// # Errors
    /// The engine's.
    pub fn tombstone_newest(&self, partition: &Partition, key: &[u8]) -> Result<Option<Tombstone>, StoreError> {
        let own = Own { set: self.own.clone(), below: u32::MAX };
        let newest = ReadView::of(self.engine.clone(), self.engine.published());
        newest.with_own(self.catalog.clone(), Some(own), true).tombstone_newest(partition, key)
    }

    /// Restores a row: an INSERT of `row` under a key that was claimed and is free, which takes the tombstone away.
    ///
    /// # Errors
    /// [`StoreError::TooManyWrites`].
    pub fn row_restore(
        &mut self,
        partition: &Partition,
        key: &[u8],
        from: &Tombstone,
        row: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.write(partition, key, Some(row), None, false, from.seq.is_none())?;
        self.tombstone_purge(partition, key, from)
    }

    /// Removes a tombstone for good (an own one goes by [`Transaction::row_restore`] only).
    ///
    /// # Errors
    /// [`StoreError::TooManyWrites`].
    pub fn tombstone_purge(&mut self, partition: &Partition, key: &[u8], gone: &Tombstone) -> Result<(), StoreError> {
        let Some(seq) = gone.seq else { return Ok(()) };
        let full = tombstone(&full_key(partition, key), seq);
        self.charge.grow(ENTRY_BYTES + full.len())?;
        self.own.write().unbury(full.into(), self.statement);
        Ok(())
    }

    /// Changes the definitions, for this transaction at once and for all at COMMIT.
    ///
    /// # Errors
    /// [`StoreError::TooManyWrites`].
    pub fn define(&mut self, change: Change) -> Result<(), StoreError> {
        self.charge.grow(ENTRY_BYTES)?;
        if let Change::TruncateTable(table) | Change::DropTable(table) = &change {
            self.own.write().truncate(*table, self.statement);
        }
        let mut catalog = Catalog::clone(&self.catalog);
        catalog.apply(&change);
        self.catalog = Arc::new(catalog);
        self.changes.push(change);
        Ok(())
    }

    /// What this transaction does to the table's rows changes nobody's data (it gives rows another key): it is in no
    /// feed. The definition's change tells subscribers.
    pub fn silence(&mut self, partition: &Partition) {
        let schema_version = self.base_version(partition);
        let mut set = self.own.write();
        let table = &partition.table;
        set.tables.entry(table.id).or_insert_with(|| TableWrites::of(table, schema_version)).silent = true;
    }

    /// NOTIFY: sent at COMMIT, in commit order; the same channel and payload once.
    pub fn notify(&mut self, channel: &str, payload: &str, sender_pid: i32) {
        let note = Notification { channel: channel.to_string(), payload: payload.to_string(), sender_pid };
        if self.notified.insert(note.clone()) {
            self.notifications.push(note);
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            writes: self.own.read().mark(),
            changes: self.changes.len(),
            notifications: self.notifications.len(),
            locks: self.locks.count(),
        }
    }

    /// A place to go back to.
    pub fn savepoint(&mut self) -> Mark {
        // What comes behind it has a higher number, even without another statement.
        self.statement += 1;
        self.mark()
    }

    /// Undoes what came after the mark, and releases the rows that were locked since. Other locks stay.
    pub fn rollback_to(&mut self, mark: Mark) {
        self.undo_to(mark);
        self.locks.release_rows(mark.locks);
    }

    fn undo_to(&mut self, mark: Mark) {
        self.own.write().undo(mark.writes);
        let kept = mark.notifications.min(self.notifications.len());
        for undone in self.notifications.drain(kept..) {
            self.notified.remove(&undone);
        }
        if self.changes.len() > mark.changes {
            self.changes.truncate(mark.changes);
            self.rebuild_catalog();
        }
    }

    /// How many locks it has: what comes later can be given up.
    pub fn lock_count(&self) -> usize {
        self.locks.count()
    }

    /// Releases the rows and entries that were locked since there were so many locks, and that nothing was written for.
    pub fn unlock_since(&mut self, count: usize) {
        self.locks.release_rows(count);
    }

    pub(super) fn snapshot_catalog(&self) -> &Arc<Catalog> {
        &self.published.catalog
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(super) fn own(&self) -> &Arc<RwLock<WriteSet>> {
        &self.own
    }

    pub(super) fn charge_mut(&mut self) -> &mut Charge {
        &mut self.charge
    }

    pub(super) fn locks_mut(&mut self) -> &mut Held {
        &mut self.locks
    }

    pub(super) fn builds_mut(&mut self) -> &mut Vec<Build> {
        &mut self.builds
    }

    pub(super) fn statement_number(&self) -> u32 {
        self.statement
    }

    /// Whether there is anything to commit.
    pub fn has_writes(&self) -> bool {
        !(self.own.read().is_empty() && self.changes.is_empty() && self.notifications.is_empty())
    }

    /// Commits. When this returns the changes can be seen, and with [`Durability::Synced`] a crash cannot take them.
    /// Definitions are always synced.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] when a write failed under it; [`StoreError::SchemaChanged`];
    /// [`StoreError::Failed`], [`StoreError::Closed`].
    pub async fn commit(self, durability: Durability) -> Result<Committed, StoreError> {
        if !self.has_writes() {
            return Ok(Committed { seq: None });
        }
        let durability = if self.changes.is_empty() { durability } else { Durability::Synced };
        // The builds go last: the committer looks at them behind the commit.
        let Self { engine, own, changes, notifications, locks, charge, builds: _builds, .. } = self;
        let set = std::mem::take(&mut *own.write());
        let mut payload = Box::new(Payload { set, changes, notifications, locks, charge });
        loop {
            let (answer, answered) = oneshot::channel();
            engine.send(Request::Commit(CommitRequest { payload, durability, answer }))?;
            // An answer that never comes: the committer ended with the request in its hands.
            match answered.await.map_err(|_| StoreError::OutcomeUnknown)? {
                Ok(committed) => return Ok(committed),
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::PlacesMoved(back)) => payload = look_up_places(&engine, back).await?,
            }
        }
    }

    /// Gives everything up. So does dropping it.
    pub fn rollback(self) {}
}

/// A flush moved rows: the versions that the write set replaces, which its locks keep as they are, are looked up where
/// they are now.
async fn look_up_places(engine: &Arc<Engine>, mut payload: Box<Payload>) -> Result<Box<Payload>, StoreError> {
    let view = ReadView::of(engine.clone(), engine.published());
    let moved: Vec<TableId> = {
        let number = |table: &TableId| engine.published().manifest.place_number(*table);
        let stale =
            payload.set.tables.iter().filter(|(id, writes)| writes.place_number.is_some_and(|n| n != number(id)));
        stale.map(|(id, _)| *id).collect()
    };
    for table in moved {
        let Some(def) = view.catalog().table(table).cloned() else { return Err(StoreError::SchemaChanged(table)) };
        let per_user = def.is_per_user();
        let mut partition = Partition { table: def, scope: Scope::Shared };
        let mut number = None;
        let based = payload.set.rows.iter_mut().filter(|(_, entry)| entry.table == table);
        for (full, entry) in based {
            let Some(base) = &mut entry.base else { continue };
            let (scope, key) = split_key(full, per_user);
            partition.scope = scope;
            let full: &Key = full;
            let found = view.committed(&partition, full, key).await?;
            let found = found.filter(|version| version.seq == Some(base.seq)).ok_or_else(|| {
                StoreError::Damaged(format!("a locked row of table {table} is not where its segments say"))
            })?;
            base.place = found.place;
            number = Some(found.place_number);
        }
        if let Some(writes) = payload.set.tables.get_mut(&table) {
            writes.place_number = number;
        }
    }
    Ok(payload)
}
