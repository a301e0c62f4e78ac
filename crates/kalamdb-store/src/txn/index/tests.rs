//! Entries beside their rows, and indexes that are being filled when the power goes.

use super::*;
use crate::codec::index::IndexOrder;
use crate::codec::tests::table;
use crate::definition::{Change, IndexDef, IndexKey, IndexKeyPart, IndexMethod, TableDef};
use crate::kv::faulty::FaultyDisk;
use crate::store::{KvKind, Options, Store};
use crate::txn::lock::TableLockMode;
use crate::txn::transaction::Isolation;
use futures::executor::block_on;
use kalamdb_commons::{ColumnId, Datum, SqlType, TableType};

struct Scene {
    disk: Arc<FaultyDisk>,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { disk: Arc::default(), folder: tempfile::tempdir().expect("a folder") }
    }
    fn open(&self) -> Store {
        let kv = KvKind::Faulty(self.disk.clone());
        Store::open(Options { kv, ..Options::new(self.folder.path()) }).expect("a store")
    }
}

fn index(id: Oid) -> IndexDef {
    let what = IndexKeyPart::Column(ColumnId(2));
    IndexDef {
        id,
        name: format!("i{id}"),
        constraint: None,
        method: IndexMethod::Btree,
        unique: true,
        nulls_not_distinct: false,
        keys: vec![IndexKey { what, descending: false, nulls_first: false, collation: None, class: None }],
        include: Vec::new(),
        predicate: None,
        reloptions: Vec::new(),
        state: IndexState::Ready,
    }
}

fn entry(index: Oid, value: i32) -> IndexEntry {
    let order = IndexOrder { ty: SqlType::Int4, descending: false, nulls_first: false };
    IndexEntry { index, key: order.form(&Datum::Int4(value)).expect("a key"), unique: true }
}

fn create(store: &Store, indexes: Vec<IndexDef>) -> Partition {
    let mut def = table(&[SqlType::Int8.into(), SqlType::Int4.into()], &[1], TableType::Shared);
    def.indexes = indexes;
    define(store, def.clone());
    Partition { table: store.published().catalog.table(def.id).expect("the table").clone(), scope: Scope::Shared }
}

fn define(store: &Store, def: TableDef) {
    let mut txn = store.begin(Isolation::ReadCommitted);
    txn.define(Change::PutTable(def)).expect("room");
    block_on(txn.commit(Durability::Synced)).expect("a commit");
}

fn found(view: &ReadView, partition: &Partition, index: Oid, backwards: bool) -> Vec<Vec<u8>> {
    let mut entries = view.entries(partition, index, &KeyRange::all(), backwards).expect("a scan");
    std::iter::from_fn(|| entries.next().expect("an entry")).collect()
}

fn stored(store: &Store, index: Oid) -> usize {
    let all = pairs(&*store.published().snapshot, Family::Indexes, &[]).expect("a scan");
    all.iter().filter(|(key, _)| entry_owner(key).is_some_and(|(_, id)| id == index)).count()
}

/// Own entries are seen by later statements, merged with committed ones in either direction, and undone with them.
#[test]
fn entries_are_versions() {
    let store = Scene::new().open();
    let id = store.allocate_oid();
    let partition = create(&store, vec![index(id)]);
    let wait = LockWait::Block(None);
    let mut txn = store.begin(Isolation::ReadCommitted);
    for (value, key) in [(1, b"a"), (3, b"c"), (5, b"e")] {
        txn.begin_statement().expect("a statement");
        assert_eq!(block_on(txn.entry_claim(&partition, &entry(id, value), key, wait)).expect("a claim"), None);
        txn.entry_put(&partition, &entry(id, value), key).expect("room");
        assert!(!found(&txn.view(), &partition, id, false).contains(&key.to_vec()), "not by the statement itself");
    }
    block_on(txn.commit(Durability::Synced)).expect("a commit");
    let mut txn = store.begin(Isolation::ReadCommitted);
    txn.begin_statement().expect("a statement");
    let other = block_on(txn.entry_claim(&partition, &entry(id, 3), b"x", wait)).expect("a claim");
    assert_eq!(other.as_deref(), Some(&b"c"[..]), "the key is taken");
    let mark = txn.savepoint();
    txn.begin_statement().expect("a statement");
    block_on(txn.entry_remove(&partition, &entry(id, 3), b"c", wait)).expect("room");
    txn.entry_put(&partition, &entry(id, 2), b"b").expect("room");
    txn.begin_statement().expect("a statement");
    assert_eq!(found(&txn.view(), &partition, id, false), [b"a", b"b", b"e"]);
    assert_eq!(found(&txn.view(), &partition, id, true), [b"e", b"b", b"a"]);
    assert_eq!(found(&store.read_view(), &partition, id, false), [b"a", b"c", b"e"], "nobody else sees it");
    let freed = block_on(txn.entry_claim(&partition, &entry(id, 3), b"x", wait)).expect("a claim");
    assert_eq!(freed, None, "its own removal frees the key");
    txn.rollback_to(mark);
    txn.begin_statement().expect("a statement");
    assert_eq!(found(&txn.view(), &partition, id, false), [b"a", b"c", b"e"]);
    txn.define(Change::TruncateTable(partition.table.id)).expect("room");
    txn.begin_statement().expect("a statement");
    txn.entry_put(&partition, &entry(id, 9), b"z").expect("room");
    txn.begin_statement().expect("a statement");
    assert_eq!(found(&txn.view(), &partition, id, false), [b"z"]);
    block_on(txn.commit(Durability::Synced)).expect("a commit");
    assert_eq!(found(&store.read_view(), &partition, id, false), [b"z"]);
    let mut without = (*partition.table).clone();
    without.indexes.clear();
    without.schema_version += 1;
    define(&store, without);
    assert_eq!(stored(&store, id), 0, "an index that is dropped takes its entries along");
}

/// An index that came to be keeps what it was filled with; one that did not leaves nothing.
#[test]
fn a_build_ends_either_way() {
    let store = Scene::new().open();
    let partition = create(&store, Vec::new());
    for commits in [false, true] {
        let id = store.allocate_oid();
        let mut txn = store.begin(Isolation::ReadCommitted);
        block_on(txn.table_lock(partition.table.id, TableLockMode::ShareRowExclusive, LockWait::Block(None)))
            .expect("a lock");
        block_on(txn.build_begin(partition.table.id, id)).expect("a mark");
        let entries = [(entry(id, 1), b"a".to_vec()), (entry(id, 2), b"b".to_vec())];
        assert_eq!(block_on(txn.build_put(&partition, &entries)).expect("a write"), None);
        let twice = [(entry(id, 3), b"c".to_vec()), (entry(id, 2), b"d".to_vec())];
        assert_eq!(block_on(txn.build_put(&partition, &twice)).expect("a look"), Some(1), "the second is there");
        let mut def = (*partition.table).clone();
        def.indexes.push(index(id));
        def.schema_version += 1;
        txn.define(Change::PutTable(def)).expect("room");
        if commits {
            block_on(txn.commit(Durability::Synced)).expect("a commit");
        } else {
            txn.rollback();
        }
        // What the committer was told last is done before it answers this.
        block_on(store.fixed_point(|_| ())).expect("a point");
        assert_eq!(stored(&store, id), if commits { 2 } else { 0 });
        let marks = pairs(&*store.published().snapshot, Family::Meta, b"b").expect("a scan");
        assert!(marks.is_empty(), "no mark stays");
    }
}

/// The power goes while an index is filled: its number is never given again, and what it had is removed.
#[test]
fn a_build_that_a_crash_ends() {
    let scene = Scene::new();
    let store = scene.open();
    let partition = create(&store, Vec::new());
    let id = store.allocate_oid();
    let mut txn = store.begin(Isolation::ReadCommitted);
    block_on(txn.build_begin(partition.table.id, id)).expect("a mark");
    block_on(txn.build_put(&partition, &[(entry(id, 1), b"a".to_vec())])).expect("a write");
    block_on(store.fixed_point(|_| ())).expect("what was written is durable");
    scene.disk.crash();
    drop((txn, store));
    let store = scene.open();
    assert_eq!(stored(&store, id), 1, "a leftover");
    assert!(store.allocate_oid() > id);
    assert_eq!(abandoned(store.engine()).expect("a look"), 1);
    block_on(store.fixed_point(|_| ())).expect("a point");
    assert_eq!(stored(&store, id), 0);
}
