//! Transactions end to end, on a disk that can lose power: what is seen, what is locked, what survives.

use super::TxnId;
use super::lock::{LockStrength, LockWait};
use super::note::FlushCommit;
use super::read_view::{Place, ReadView};
use super::transaction::{Isolation, Transaction};
use crate::codec::arrow::BatchBuilder;
use crate::codec::key::{self, Edge, KeyRange};
use crate::codec::row::{self, RowView};
use crate::codec::tests::table;
use crate::definition::{Change, JobRecord, Partition, TableDef};
use crate::error::StoreError;
use crate::kv::faulty::FaultyDisk;
use crate::kv::{Durability, KvError};
use crate::segment::write::{SegmentWriter, columns};
use crate::store::{KvKind, Options, Store};
use crate::txn::lock::TableLockMode;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::FutureExt;
use futures::executor::block_on;
use kalamdb_commons::{ColumnId, Datum, PgType, Scope, Seq, SqlType, TableId, TableType, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

fn def(kind: TableType) -> TableDef {
    table(&[PgType::new(SqlType::Int8), PgType::new(SqlType::Text)], &[1], kind)
}

async fn create(store: &Store, def: &TableDef) -> Partition {
    let mut txn = store.begin(Isolation::ReadCommitted);
    txn.define(Change::PutTable(def.clone())).expect("room");
    txn.commit(Durability::Synced).await.expect("a table");
    let scope = if def.is_per_user() { Scope::User(UserId(16_400)) } else { Scope::Shared };
    Partition { table: store.published().catalog.table(def.id).expect("the table").clone(), scope }
}

fn key_of(id: i64) -> Vec<u8> {
    key::encode([(SqlType::Int8, &Datum::Int8(id))]).expect("a key")
}

fn row_of(def: &TableDef, id: i64, text: &str) -> Vec<u8> {
    row::encode(def, &[(ColumnId(1), Datum::Int8(id)), (ColumnId(2), Datum::text(text))]).expect("a row")
}

fn text_in(partition: &Partition, row: &[u8]) -> String {
    let column = partition.table.column(ColumnId(2)).expect("a column");
    let datum = RowView::new(row).expect("a row").datum(column).expect("a value");
    datum.as_str().expect("a text").to_string()
}

async fn insert(txn: &mut Transaction, partition: &Partition, id: i64, text: &str) -> Result<(), StoreError> {
    txn.begin_statement()?;
    let locked = txn.row_claim(partition, &key_of(id), LockWait::Block(None)).await?;
    assert!(locked.newest.is_none(), "the key is free");
    txn.row_put(partition, &key_of(id), row_of(&partition.table, id, text), None)
}

/// UPDATE, or DELETE without a text; whether the row was changed by others since the statement began.
async fn change(
    txn: &mut Transaction,
    partition: &Partition,
    id: i64,
    text: Option<&str>,
    wait: LockWait,
) -> Result<bool, StoreError> {
    txn.begin_statement()?;
    let locked = txn.row_lock(partition, &key_of(id), LockStrength::Update, wait).await?;
    let old = locked.newest.expect("a row");
    match text {
        Some(text) => txn.row_put(partition, &key_of(id), row_of(&partition.table, id, text), Some(old))?,
        None => txn.row_remove(partition, &key_of(id), old, false)?,
    }
    Ok(locked.changed)
}

async fn one(store: &Store, partition: &Partition, id: i64, text: &str) -> Seq {
    let mut txn = store.begin(Isolation::ReadCommitted);
    insert(&mut txn, partition, id, text).await.expect("an insert");
    txn.commit(Durability::Synced).await.expect("a commit").seq.expect("a position")
}

async fn get(view: &ReadView, partition: &Partition, id: i64) -> Option<String> {
    view.row_get(partition, &key_of(id)).await.expect("a read").map(|version| text_in(partition, &version.row))
}

fn all(view: &ReadView, partition: &Partition) -> Vec<String> {
    let mut rows = view.row_iter(partition, &KeyRange::all()).expect("a scan");
    let mut found = Vec::new();
    while let Some((_, row)) = rows.next().expect("a row") {
        found.push(text_in(partition, row));
    }
    found
}

/// The rows at one end are those of the whole scan, own writes among them: more of these than are copied at once.
#[tokio::test]
async fn the_rows_at_an_end() {
    let store = Scene::new().open();
    let t = create(&store, &def(TableType::Shared)).await;
    let mut txn = store.begin(Isolation::ReadCommitted);
    for id in (0..3000).step_by(3) {
        insert(&mut txn, &t, id, "old").await.expect("an insert");
    }
    txn.commit(Durability::Synced).await.expect("a commit");
    let mut txn = store.begin(Isolation::ReadCommitted);
    for id in (0..3000).step_by(2) {
        match id % 3 {
            0 => drop(change(&mut txn, &t, id, (id % 4 == 0).then_some("own"), LockWait::Block(None)).await),
            _ => insert(&mut txn, &t, id, "new").await.expect("an insert"),
        }
    }
    txn.begin_statement().expect("a statement");
    let view = txn.view();
    let ids = |range: &KeyRange, edge| -> Vec<i64> {
        let scan = view.row_scan(&t, range, &[ColumnId(1)], 7, edge).expect("a scan");
        let batches = scan.map(|batch| batch.expect("a batch"));
        batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    };
    for range in [KeyRange::all(), KeyRange { start: key_of(500), end: Some(key_of(2501)) }] {
        let whole = ids(&range, None);
        assert!(whole.len() > 1000 && whole.is_sorted(), "{}", whole.len());
        for count in [0, 1, 6, 7, 8, 1500, 5000] {
            let first: Vec<i64> = whole.iter().take(count).copied().collect();
            let last: Vec<i64> = whole.iter().rev().take(count).copied().collect();
            assert_eq!(ids(&range, Some(Edge::First(count))), first);
            assert_eq!(ids(&range, Some(Edge::Last(count))), last);
        }
    }
}

/// A statement sees what came before it; others see nothing until COMMIT; a portal keeps what it saw.
#[tokio::test]
async fn who_sees_what() {
    let store = Scene::new().open();
    let t = create(&store, &def(TableType::Shared)).await;
    for id in [1, 3, 5] {
        one(&store, &t, id, "old").await;
    }
    let mut txn = store.begin(Isolation::ReadCommitted);
    insert(&mut txn, &t, 2, "two").await.expect("an insert");
    assert_eq!(get(&txn.view(), &t, 2).await, None, "the statement does not see its own row");
    assert!(!change(&mut txn, &t, 3, Some("three"), LockWait::NoWait).await.expect("an update"));
    let portal = txn.view();
    change(&mut txn, &t, 1, None, LockWait::NoWait).await.expect("a delete");
    txn.begin_statement().expect("a statement");
    assert_eq!(all(&txn.view(), &t), ["two", "three", "old"]);
    assert_eq!(all(&portal, &t), ["old", "two", "old", "old"]);
    assert_eq!(all(&store.read_view(), &t), ["old", "old", "old"]);
    let own = txn.view().row_get(&t, &key_of(2)).await.expect("a read").expect("a row");
    assert_eq!((own.seq, own.updated_us), (None, None));
    txn.commit(Durability::Synced).await.expect("a commit");
    let view = store.read_view();
    assert_eq!(all(&view, &t), ["two", "three", "old"]);
    assert_eq!(view.row_count(t.table.id), 3);
    let deleted: Vec<_> =
        view.tombstone_scan(&t, &KeyRange::all(), &[ColumnId(2), ColumnId::SEQ], 10).expect("a scan").collect();
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].as_ref().expect("a batch").num_rows(), 1);
}

/// After a lock the newest row is read: READ COMMITTED is told, REPEATABLE READ is refused; a claim is never refused.
#[tokio::test]
async fn after_a_lock_the_newest_row_counts() {
    let store = Scene::new().open();
    let t = create(&store, &def(TableType::Shared)).await;
    one(&store, &t, 1, "a").await;
    one(&store, &t, 2, "a").await;
    let mut other = store.begin(Isolation::ReadCommitted);
    change(&mut other, &t, 1, Some("b"), LockWait::NoWait).await.expect("an update");
    change(&mut other, &t, 2, None, LockWait::NoWait).await.expect("a delete");

    let (mut committed, mut repeatable) =
        (store.begin(Isolation::ReadCommitted), store.begin(Isolation::RepeatableRead));
    committed.begin_statement().expect("a statement");
    repeatable.begin_statement().expect("a statement");
    let busy = committed.row_lock(&t, &key_of(1), LockStrength::KeyShare, LockWait::NoWait).await;
    assert!(matches!(busy, Err(StoreError::NotAvailable(_))));
    let skipped = committed.row_lock(&t, &key_of(1), LockStrength::KeyShare, LockWait::Skip).await.expect("no error");
    assert!(skipped.skipped);
    let key = key_of(1);
    let waiting = committed.row_lock(&t, &key, LockStrength::Update, LockWait::Block(None));
    let (locked, done) = tokio::join!(waiting, other.commit(Durability::Synced));
    done.expect("a commit");
    let locked = locked.expect("a lock");
    assert!(locked.changed);
    assert_eq!(text_in(&t, &locked.newest.expect("a row").row), "b");
    assert_eq!(get(&committed.view(), &t, 1).await.as_deref(), Some("a"), "the snapshot stays");
    committed.rollback();

    let update = repeatable.row_lock(&t, &key_of(1), LockStrength::Update, LockWait::NoWait).await;
    assert!(matches!(update, Err(StoreError::ConcurrentUpdate)));
    let delete = repeatable.row_lock(&t, &key_of(2), LockStrength::Update, LockWait::NoWait).await;
    assert!(matches!(delete, Err(StoreError::ConcurrentDelete)));
    let claim = repeatable.row_claim(&t, &key_of(2), LockWait::NoWait).await.expect("no error");
    assert!(claim.newest.is_none() && claim.changed);
    assert!(repeatable.id() > TxnId(0));
}

/// Commits of many sessions come in one order: positions rise without a gap in the feed, and rows carry them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_come_in_one_order() {
    let scene = Scene::new();
    let store = scene.open();
    let t = create(&store, &def(TableType::User)).await;
    let engine = store.engine().clone();
    let (mut feed, first) =
        store.fixed_point(move |published| (engine.feed(), published.seq)).await.expect("a fixed point");
    let mut tasks = Vec::new();
    for session in 0..8i64 {
        let (store, t) = (store.clone(), t.clone());
        tasks.push(tokio::spawn(async move {
            for turn in 0..50 {
                let mut txn = store.begin(Isolation::ReadCommitted);
                insert(&mut txn, &t, session * 1000 + turn, "x").await.expect("an insert");
                insert(&mut txn, &t, session * 1000 + 500 + turn, "y").await.expect("an insert");
                txn.commit(Durability::Synced).await.expect("a commit");
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let (mut next, mut stamp) = (first.0 + 1, 0);
    let view = store.read_view();
    for _ in 0..400 {
        let record = feed.next().await.expect("no lag").expect("open");
        assert_eq!((record.seq_first.0, record.seq_last.0), (next, next + 1));
        assert!(record.stamp_us >= stamp);
        stamp = record.stamp_us;
        for (change, seq) in record.changes.iter().zip(next..) {
            assert_eq!(change.seq, Seq(seq));
            let row = view.row_get(&t, &change.key).await.expect("a read").expect("a row");
            assert_eq!((row.seq, row.updated_us), (Some(Seq(seq)), Some(record.stamp_us)));
            assert_eq!(Some(&row.row), change.new.as_ref());
        }
        next += 2;
    }
    assert_eq!(store.read_view().row_count(t.table.id), 800);
}

/// Power loss at a random moment: what was acknowledged is there, whole; nothing is there by half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_takes_nothing_acknowledged() {
    let scene = Scene::new();
    let mut store = scene.open();
    let t = create(&store, &def(TableType::Shared)).await;
    let mut acknowledged = BTreeSet::new();
    let mut highest = Seq(0);
    for round in 0..10i64 {
        let mut tasks = Vec::new();
        for session in 0..4i64 {
            let (store, t) = (store.clone(), t.clone());
            tasks.push(tokio::spawn(async move {
                let (mut done, mut highest) = (Vec::new(), Seq(0));
                for turn in 0..1000 {
                    let id = (round * 4 + session) * 1000 + turn;
                    let mut txn = store.begin(Isolation::ReadCommitted);
                    let both = async {
                        insert(&mut txn, &t, 2 * id, "x").await?;
                        insert(&mut txn, &t, 2 * id + 1, "x").await?;
                        // Every third does not wait for the disk: its loss is allowed, its number is not given again.
                        let durability = if id % 3 == 0 { Durability::Unsynced } else { Durability::Synced };
                        Ok::<_, StoreError>((txn.commit(durability).await?, durability))
                    };
                    match both.await {
                        Ok((committed, durability)) => {
                            highest = highest.max(committed.seq.expect("a position"));
                            if durability == Durability::Synced {
                                done.push(id);
                            }
                        }
                        Err(_) => break,
                    }
                }
                (done, highest)
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(5 + round as u64 * 2)).await;
        scene.disk.crash();
        for task in tasks {
            let (done, seq) = task.await.expect("no panic");
            acknowledged.extend(done);
            highest = highest.max(seq);
        }
        drop(store);
        store = scene.open();
        assert!(store.published().seq >= highest, "no position is given twice");
        let view = store.read_view();
        let mut halves: BTreeMap<i64, usize> = BTreeMap::new();
        let mut rows = view.row_iter(&t, &KeyRange::all()).expect("a scan");
        let (mut seen, mut count) = (BTreeSet::new(), 0);
        while let Some((key, row)) = rows.next().expect("a row") {
            let id = RowView::new(row).expect("a row").datum(&t.table.columns[0]).expect("a value");
            let id = id.as_i64().expect("a number");
            assert_eq!(key, key_of(id));
            assert!(seen.insert(RowView::new(row).expect("a row").seq()), "positions are unique");
            *halves.entry(id / 2).or_default() += 1;
            count += 1;
        }
        assert!(halves.values().all(|count| *count == 2), "a commit is there whole or not at all");
        assert!(acknowledged.iter().all(|id| halves.contains_key(id)), "nothing acknowledged is lost");
        assert_eq!(view.row_count(t.table.id), count);
    }
}

/// A failed fsync: unknown outcome for who was caught in it, no further commits, and a restart puts it right.
#[tokio::test]
async fn a_failed_fsync_ends_writing() {
    let scene = Scene::new();
    let store = scene.open();
    let t = create(&store, &def(TableType::Shared)).await;
    one(&store, &t, 1, "kept").await;
    scene.disk.fail_syncs(true);
    let mut txn = store.begin(Isolation::ReadCommitted);
    insert(&mut txn, &t, 2, "caught").await.expect("an insert");
    assert!(store.takes_writes().is_ok());
    assert!(matches!(txn.commit(Durability::Synced).await, Err(StoreError::OutcomeUnknown)));
    scene.disk.fail_syncs(false);
    let mut txn = store.begin(Isolation::ReadCommitted);
    insert(&mut txn, &t, 2, "later").await.expect("its locks are free");
    assert!(matches!(txn.commit(Durability::Synced).await, Err(StoreError::Failed(KvError::Io(_)))));
    assert!(store.failed().borrow().is_some());
    assert!(matches!(store.takes_writes(), Err(StoreError::Failed(_))));
    assert!(matches!(store.fixed_point(|_| ()).await, Err(StoreError::Failed(_))));
    assert_eq!(get(&store.read_view(), &t, 1).await.as_deref(), Some("kept"), "reading goes on");
    scene.disk.crash();
    drop(store);
    let store = scene.open();
    assert_eq!(all(&store.read_view(), &t), ["kept"]);
    one(&store, &t, 2, "again").await;
}

/// From the hand-over the locks belong to the request: a session that goes away releases nothing early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_session_releases_nothing_early() {
    let store = Scene::new().open();
    let t = create(&store, &def(TableType::Shared)).await;
    let (hold, held) = crossbeam_channel::bounded::<()>(0);
    let (inside, begun) = crossbeam_channel::bounded::<()>(0);
    let engine = store.engine().clone();
    let stop = tokio::spawn(async move {
        engine
            .fixed_point(move |_| {
                let _ = inside.send(());
                let _ = held.recv();
            })
            .await
    });
    begun.recv().expect("the committer stands still");
    let mut txn = store.begin(Isolation::ReadCommitted);
    insert(&mut txn, &t, 1, "x").await.expect("an insert");
    let mut commit = Box::pin(txn.commit(Durability::Synced));
    assert!((&mut commit).now_or_never().is_none());
    drop(commit);
    let mut other = store.begin(Isolation::ReadCommitted);
    other.begin_statement().expect("a statement");
    assert!(matches!(other.row_claim(&t, &key_of(1), LockWait::NoWait).await, Err(StoreError::NotAvailable(_))));
    drop(hold);
    stop.await.expect("no panic").expect("open");
    let locked = other.row_claim(&t, &key_of(1), LockWait::Block(None)).await.expect("a lock");
    assert!(locked.newest.is_some() && locked.changed, "the commit went on without its session");
}

/// Definitions roll back, commit, survive; what DROP and TRUNCATE take stays for older states.
#[tokio::test]
async fn definitions_are_part_of_the_transaction() {
    let scene = Scene::new();
    let store = scene.open();
    let mut txn = store.begin(Isolation::ReadCommitted);
    txn.begin_statement().expect("a statement");
    let made = TableDef { id: TableId(store.allocate_oid()), ..def(TableType::Shared) };
    txn.define(Change::PutTable(made.clone())).expect("room");
    assert!(txn.catalog().table_by_name(made.namespace, "t").is_some());
    assert!(store.published().catalog.table(made.id).is_none());
    txn.rollback();
    let t = create(&store, &made).await;
    assert!(store.allocate_oid() > made.id.0);
    for id in 0..3 {
        one(&store, &t, id, "old").await;
    }
    let before = store.read_view();

    let mut txn = store.begin(Isolation::ReadCommitted);
    txn.begin_statement().expect("a statement");
    txn.table_lock(made.id, TableLockMode::AccessExclusive, LockWait::NoWait).await.expect("a lock");
    txn.define(Change::TruncateTable(made.id)).expect("room");
    insert(&mut txn, &t, 1, "new").await.expect("the key is free now");
    let mut other = store.begin(Isolation::ReadCommitted);
    let busy = other.table_lock(made.id, TableLockMode::RowExclusive, LockWait::NoWait).await;
    assert!(matches!(busy, Err(StoreError::NotAvailable(_))));
    txn.begin_statement().expect("a statement");
    assert_eq!(all(&txn.view(), &t), ["new"]);
    txn.commit(Durability::Synced).await.expect("a commit");
    assert_eq!(all(&store.read_view(), &t), ["new"]);
    assert_eq!(store.read_view().row_count(made.id), 1);
    assert_eq!(all(&before, &t), ["old", "old", "old"]);
    other.table_lock(made.id, TableLockMode::RowExclusive, LockWait::NoWait).await.expect("free again");

    let stale = Partition { table: Arc::new(TableDef { schema_version: 0, ..made.clone() }), scope: Scope::Shared };
    insert(&mut other, &stale, 9, "x").await.expect("an insert");
    assert!(matches!(other.commit(Durability::Synced).await, Err(StoreError::SchemaChanged(_))));

    scene.disk.crash();
    let store = scene.open();
    assert_eq!(all(&store.read_view(), &t), ["new"]);
    assert_eq!(**store.published().catalog.table(made.id).expect("it survived"), made);
    assert!(store.allocate_oid() > made.id.0, "ids are not given again");
    let mut txn = store.begin(Isolation::ReadCommitted);
    txn.define(Change::DropTable(made.id)).expect("room");
    txn.commit(Durability::Synced).await.expect("a commit");
    assert!(store.published().catalog.table(made.id).is_none());
    assert_eq!(all(&store.read_view(), &t), [""; 0]);
}

/// A deleted row can be restored, also inside the transaction that deleted it.
#[tokio::test]
async fn deleted_rows_come_back() {
    let store = Scene::new().open();
    let t = create(&store, &def(TableType::Shared)).await;
    one(&store, &t, 1, "x").await;
    for round in 0..2 {
        let mut txn = store.begin(Isolation::ReadCommitted);
        change(&mut txn, &t, 1, None, LockWait::NoWait).await.expect("a delete");
        if round == 0 {
            txn.commit(Durability::Synced).await.expect("a commit");
            assert_eq!(all(&store.read_view(), &t), [""; 0]);
            txn = store.begin(Isolation::ReadCommitted);
        }
        txn.begin_statement().expect("a statement");
        assert!(txn.row_claim(&t, &key_of(1), LockWait::NoWait).await.expect("a lock").newest.is_none());
        let from = txn.tombstone_newest(&t, &key_of(1)).expect("a read").expect("a tombstone");
        assert_eq!(from.seq.is_none(), round == 1);
        txn.row_restore(&t, &key_of(1), &from, from.row.to_vec()).expect("room");
        txn.begin_statement().expect("a statement");
        assert_eq!(all(&txn.view(), &t), ["x"]);
        assert!(txn.tombstone_newest(&t, &key_of(1)).expect("a read").is_none());
        txn.commit(Durability::Synced).await.expect("a commit");
        assert_eq!(all(&store.read_view(), &t), ["x"]);
        assert!(store.read_view().tombstone_newest(&t, &key_of(1)).expect("a read").is_none());
        assert_eq!(store.read_view().row_count(t.table.id), 1);
    }
}

/// An expired STREAM row is absent for readers, and its key is free.
#[tokio::test]
async fn expired_rows_are_absent() {
    let store = Scene::new().open();
    let mut stream = def(TableType::Stream);
    stream.options.ttl_seconds = Some(3600);
    let kept = create(&store, &stream).await;
    stream.id = TableId(70_010);
    stream.name = "gone".into();
    stream.options.ttl_seconds = Some(0);
    let gone = create(&store, &stream).await;
    for partition in [&kept, &gone] {
        one(&store, partition, 1, "x").await;
    }
    let view = store.read_view();
    assert_eq!((all(&view, &kept), get(&view, &kept, 1).await.as_deref()), (vec!["x".to_string()], Some("x")));
    assert_eq!((all(&view, &gone), get(&view, &gone, 1).await), (vec![], None));
    one(&store, &gone, 1, "again").await;
}

/// Flushes the table the way upkeep does; what it left behind is swept when `sweep`.
async fn flush(store: &Store, t: &Partition, during: impl AsyncFnOnce()) {
    let (view, note) = store.engine().begin_note(t.table.id).await.expect("a fixed point");
    let engine = store.engine().clone();
    let id = engine.allocate_segment();
    let path = engine.segments().path("public", "t", t.table.id, id);
    engine.intend(id, &path).await.expect("an intent");
    let mut writer =
        SegmentWriter::create(engine.segments(), t.table.clone(), id, path, BTreeSet::new()).expect("a file");
    let mut batch = BatchBuilder::new(&t.table, &columns(&t.table)).expect("a builder");
    let mut rows = view.row_iter_all(&t.table).expect("a scan");
    while let Some((key, row)) = rows.next().expect("a row") {
        batch.push(key, row).expect("a row");
    }
    writer.write(&batch.finish().expect("a batch")).await.expect("a write");
    let record = writer.finish(engine.segments()).await.expect("a file").expect("rows");
    during().await;
    let (ours, segments) = (record.clone(), engine.clone());
    let resolve = Box::new(move |keys: &[Vec<u8>]| {
        let places = block_on(segments.segments().locate(&ours, keys))?;
        Ok(places.into_iter().flatten().map(|row| (ours.id, row)).collect())
    });
    let upto = view.seq();
    let table = t.table.id;
    let handed = FlushCommit { table, upto, segments: vec![record], deletes: vec![], note, resolve };
    engine.commit_flush(handed).await.expect("a flush");
}

/// Rows move to a segment under running transactions: nothing is lost, nothing comes back, nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_moves_rows_unnoticed() {
    let scene = Scene::new();
    let store = scene.open();
    let t = create(&store, &def(TableType::Shared)).await;
    for id in 1..=6 {
        one(&store, &t, id, "hot").await;
    }
    // It locked its row hot; when it commits the row is cold.
    let mut early = store.begin(Isolation::ReadCommitted);
    change(&mut early, &t, 1, Some("early"), LockWait::NoWait).await.expect("an update");
    change(&mut early, &t, 2, None, LockWait::NoWait).await.expect("a delete");
    let before = store.read_view();
    flush(&store, &t, async || {
        let mut during = store.begin(Isolation::ReadCommitted);
        change(&mut during, &t, 3, Some("during"), LockWait::NoWait).await.expect("an update");
        change(&mut during, &t, 4, None, LockWait::NoWait).await.expect("a delete");
        during.commit(Durability::Synced).await.expect("a commit");
    })
    .await;
    assert_eq!(all(&before, &t).len(), 6, "an older state has them hot");
    assert!(before.cold(t.table.id).expect("segments").is_empty());

    let place = |view: ReadView, id| {
        let t = t.clone();
        async move { view.row_get(&t, &key_of(id)).await.expect("a read").map(|row| (text_in(&t, &row.row), row.place)) }
    };
    assert!(matches!(place(store.read_view(), 5).await, Some((text, Place::Cold { .. })) if text == "hot"));
    early.commit(Durability::Synced).await.expect("places are looked up again by themselves");
    let mut late = store.begin(Isolation::ReadCommitted);
    change(&mut late, &t, 5, Some("late"), LockWait::NoWait).await.expect("an update of a cold row");
    late.begin_statement().expect("a statement");
    assert_eq!(late.view().cold(t.table.id).expect("segments")[0].deletes.len(), 5, "own positional deletes count");
    late.commit(Durability::Synced).await.expect("a commit");

    let check = async |store: &Store| {
        let expected = [Some("early"), None, Some("during"), None, Some("late"), Some("hot")];
        for (id, text) in (1..).zip(expected) {
            assert_eq!(get(&store.read_view(), &t, id).await.as_deref(), text, "row {id}");
        }
        assert_eq!(all(&store.read_view(), &t), ["early", "during", "late"]);
        assert_eq!(store.read_view().row_count(t.table.id), 4);
        let cold = store.read_view().cold(t.table.id).expect("segments");
        assert_eq!(cold[0].deletes.within(0, 99), [0, 1, 2, 3, 4]);
    };
    check(&store).await;
    let (view, note) = store.engine().begin_note(t.table.id).await.expect("a fixed point");
    let leftovers = view.leftovers(&t.table, None, 100).expect("a scan");
    assert_eq!(leftovers.len(), 1, "the others were overwritten or removed");
    store.engine().sweep(note, leftovers).await.expect("a sweep");
    assert!(store.read_view().leftovers(&t.table, None, 100).expect("a scan").is_empty());
    check(&store).await;
    scene.disk.crash();
    drop(store);
    check(&scene.open()).await;
}

/// RocksDB in a folder: it comes back, one at a time, and a newer or damaged one is refused by name.
#[tokio::test]
async fn a_folder_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Store::open(Options::new(folder.path()));
    let store = open().expect("a new store");
    let t = create(&store, &def(TableType::Shared)).await;
    let seq = one(&store, &t, 1, "x").await;
    let job = JobRecord {
        job_id: "FL1".into(),
        job_type: "flush".into(),
        namespace: None,
        table_name: Some("t".into()),
        table: None,
        status: "queued".into(),
        progress: None,
        parameters: None,
        result: None,
        error: None,
        attempts: 0,
        created_at: 1,
        started_at: None,
        finished_at: None,
    };
    store.job_put(&job).expect("a job");
    assert!(matches!(open(), Err(StoreError::Locked(_))));
    let before = store.read_view();
    let mut txn = store.begin(Isolation::ReadCommitted);
    change(&mut txn, &t, 1, Some("y"), LockWait::NoWait).await.expect("an update");
    txn.commit(Durability::Unsynced).await.expect("a commit");
    assert_eq!(all(&before, &t), ["x"]);
    assert_eq!(all(&store.read_view(), &t), ["y"]);
    store.shutdown().await;
    let mut txn = store.begin(Isolation::ReadCommitted);
    insert(&mut txn, &t, 7, "x").await.expect("an insert");
    assert!(txn.commit(Durability::Synced).await.is_err());
    drop((store, before));
    let store = open().expect("it is there");
    assert_eq!(all(&store.read_view(), &t), ["y"]);
    assert_eq!(store.jobs(), [job]);
    assert_eq!(store.published().seq, Seq(seq.0 + 1), "a clean end reserves nothing in vain");
    drop(store);
    let root = folder.path().join("rows/CURRENT");
    let content = std::fs::read(&root).expect("a file");
    std::fs::remove_file(&root).expect("a file");
    assert!(matches!(open(), Err(StoreError::Damaged(_))), "an emptied engine is not a new one");
    std::fs::write(&root, content).expect("a file");
    drop(open().expect("it is whole again"));
    let version = folder.path().join("VERSION");
    std::fs::write(&version, "kalamdb data directory, format 99\n").expect("a file");
    assert!(matches!(open(), Err(StoreError::NewerFormat { found: 99, .. })));
    std::fs::write(&version, "?").expect("a file");
    assert!(matches!(open(), Err(StoreError::Damaged(_))));
}
