//! Flush and sweep against the memory engine: hot and cold together always are what was committed.

use super::{expire, flush, sweep};
use crate::catalog::stored;
use crate::codec::key::{self, KeyRange};
use crate::codec::row::{self, RowView};
use crate::codec::tests::table;
use crate::definition::{Change, Partition, TableDef};
use crate::kv::{Durability, Family, pairs};
use crate::store::{KvKind, Options, Store};
use crate::txn::lock::{LockStrength, LockWait, TableLockMode};
use crate::txn::read_view::{Place, ReadView};
use crate::txn::transaction::{Isolation, Transaction};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::TryStreamExt;
use kalamdb_commons::{ColumnId, Datum, Scope, SegmentId, SqlType, TableType, UserId};
use std::collections::BTreeMap;
use std::sync::Arc;

const ANN: Scope = Scope::User(UserId(7));
const BOB: Scope = Scope::User(UserId(8));

struct Scene {
    _dir: tempfile::TempDir,
    store: Store,
    def: Arc<TableDef>,
}

impl Scene {
    async fn new(kind: TableType) -> Scene {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = Options { kv: KvKind::Memory, ..Options::new(dir.path()) };
        let store = Store::open(options).expect("a new store");
        let mut def = table(&[SqlType::Int8.into(), SqlType::Text.into()], &[1], kind);
        def.options.ttl_seconds = (kind == TableType::Stream).then_some(60);
        let mut transaction = store.begin(Isolation::ReadCommitted);
        transaction.define(Change::PutTable(def.clone())).expect("a definition");
        transaction.commit(Durability::Synced).await.expect("committed");
        Scene { _dir: dir, store, def: Arc::new(def) }
    }

    fn partition(&self, scope: Scope) -> Partition {
        Partition { table: self.def.clone(), scope }
    }

    /// One commit that sets and removes (`None`) rows, as the statements of a session do it.
    async fn write(&self, scope: Scope, rows: impl IntoIterator<Item = (i64, Option<String>)>) {
        let partition = self.partition(scope);
        let mut transaction = self.store.begin(Isolation::ReadCommitted);
        transaction.begin_statement().expect("a statement");
        transaction
            .table_lock(self.def.id, TableLockMode::RowExclusive, LockWait::Block(None))
            .await
            .expect("a table lock");
        set(&mut transaction, &partition, rows).await;
        transaction.commit(Durability::Unsynced).await.expect("committed");
    }

    /// All rows of a partition, hot and cold: each id once.
    async fn rows(&self, scope: Scope) -> BTreeMap<i64, String> {
        rows_of(&self.store.read_view(), &self.partition(scope)).await
    }

    fn hot(&self) -> usize {
        let snapshot = self.store.published().snapshot.clone();
        pairs(&*snapshot, Family::Rows, &self.def.id.0.to_be_bytes()).expect("a scan").len()
    }

    async fn flush(&self) -> super::FlushOutcome {
        flush(self.store.engine(), self.def.id).await.expect("flushed")
    }
}

/// Sets and removes (`None`) rows.
async fn set(
    transaction: &mut Transaction,
    partition: &Partition,
    rows: impl IntoIterator<Item = (i64, Option<String>)>,
) {
    for (id, text) in rows {
        let key = key_of(id);
        let locked = transaction.row_lock(partition, &key, LockStrength::Update, LockWait::Block(None)).await;
        match (text, locked.expect("a row lock").newest) {
            (Some(text), newest) => {
                let values = [(ColumnId(1), Datum::Int8(id)), (ColumnId(2), Datum::text(text))];
                let row = row::encode(&partition.table, &values).expect("a row");
                transaction.row_put(partition, &key, row, newest).expect("put");
            }
            (None, Some(old)) => transaction.row_remove(partition, &key, old, false).expect("removed"),
            (None, None) => {}
        }
    }
}

fn key_of(id: i64) -> Vec<u8> {
    key::encode([(SqlType::Int8, &Datum::Int8(id))]).expect("a key")
}

async fn rows_of(view: &ReadView, partition: &Partition) -> BTreeMap<i64, String> {
    let mut found = BTreeMap::new();
    let columns = [ColumnId(1), ColumnId(2)];
    let hot = view.row_scan(partition, &KeyRange::all(), &columns, 100, None).expect("a scan");
    let mut batches: Vec<_> = hot.collect::<Result<_, _>>().expect("batches");
    for segment in view.cold(partition.table.id).expect("a manifest") {
        let scan = view.segments().scan(partition, &KeyRange::all(), &segment, &columns, 100, None).await;
        batches.extend(scan.expect("a scan").try_collect::<Vec<_>>().await.expect("batches"));
    }
    for batch in batches {
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        for (id, text) in ids.iter().zip(batch.column(1).as_string::<i32>()) {
            let before = found.insert(*id, text.unwrap_or_default().to_owned());
            assert_eq!(before, None, "row {id} is there twice");
        }
    }
    found
}

fn some(texts: impl IntoIterator<Item = i64>) -> Vec<(i64, Option<String>)> {
    texts.into_iter().map(|id| (id, Some(format!("first {id}")))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_and_cold_are_one_table() {
    let scene = Scene::new(TableType::User).await;
    scene.write(ANN, some(0..3000)).await;
    scene.write(BOB, some(0..10)).await;
    let before = scene.store.read_view();
    let outcome = scene.flush().await;
    assert_eq!((outcome.rows, outcome.segments), (3010, 1));
    assert_eq!(scene.hot(), 0, "leftovers are removed");
    assert_eq!(scene.rows(ANN).await.len(), 3000);
    assert_eq!(scene.rows(BOB).await.len(), 10);
    assert_eq!(rows_of(&before, &scene.partition(ANN)).await.len(), 3000, "an older view sees what it saw");

    let partition = scene.partition(ANN);
    let cold = scene.store.read_view().row_get(&partition, &key_of(5)).await.expect("read").expect("there");
    assert!(matches!(cold.place, Place::Cold { row: 5, .. }), "{:?}", cold.place);
    let text = RowView::new(&cold.row).and_then(|row| row.datum(&scene.def.columns[1])).expect("a value");
    assert_eq!(text, Datum::text("first 5"));

    // Update, delete and insert again a cold row.
    scene.write(ANN, [(5, Some("second".to_owned())), (6, None), (7, None)]).await;
    scene.write(ANN, [(7, Some("again".to_owned()))]).await;
    let mut expected: BTreeMap<i64, String> =
        some(0..3000).into_iter().filter_map(|(id, text)| Some((id, text?))).collect();
    expected.insert(5, "second".to_owned());
    expected.remove(&6);
    expected.insert(7, "again".to_owned());
    assert_eq!(scene.rows(ANN).await, expected);
    assert_eq!(scene.rows(BOB).await.len(), 10, "one user's deletes are not another's");
    let outcome = scene.flush().await;
    assert_eq!((outcome.rows, scene.hot()), (2, 0));
    assert_eq!(scene.rows(ANN).await, expected);
    assert_eq!(scene.store.segments(scene.def.id).len(), 2);
    assert_eq!(scene.flush().await, super::FlushOutcome::default(), "nothing is left to flush");
    assert_eq!(scene.store.read_view().row_get(&partition, &key_of(6)).await.expect("read").map(|row| row.place), None);
}

/// Rows that a transaction has replaced or removed while they were hot are not there again when a flush has moved them.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_inside_a_transaction() {
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead] {
        let scene = Scene::new(TableType::User).await;
        scene.write(ANN, some(0..10)).await;
        scene.flush().await;
        scene.write(ANN, some(10..20)).await;
        scene.write(BOB, some(0..20)).await;
        let partition = scene.partition(ANN);
        let mut open = scene.store.begin(isolation);
        open.begin_statement().expect("a statement");
        set(&mut open, &partition, [(3, Some("cold".to_owned())), (4, None)]).await;
        set(&mut open, &partition, [(13, Some("hot".to_owned())), (14, None), (99, Some("new".to_owned()))]).await;
        let mut expected: BTreeMap<i64, String> =
            some(0..20).into_iter().filter_map(|(id, text)| Some((id, text?))).collect();
        for (id, text) in [(3, "cold"), (13, "hot"), (99, "new")] {
            expected.insert(id, text.to_owned());
        }
        expected.retain(|id, _| *id != 4 && *id != 14);
        let before = open.view();
        scene.flush().await;
        open.begin_statement().expect("a statement");
        assert_eq!(rows_of(&open.view(), &partition).await, expected, "{isolation:?}");
        assert_eq!(rows_of(&open.newest_view(), &partition).await, expected, "{isolation:?}, newest");
        assert_eq!(rows_of(&before, &partition).await.len(), 20, "what a statement sees stays");
        assert_eq!(rows_of(&open.view(), &scene.partition(BOB)).await.len(), 20);
        let point = open.view().row_get(&partition, &key_of(14)).await.expect("a read");
        assert!(point.is_none());
        // Other rows that are cold now, and its own.
        set(&mut open, &partition, [(15, None), (13, None), (99, None), (14, Some("back".to_owned()))]).await;
        scene.write(ANN, some(20..22)).await;
        scene.flush().await;
        open.begin_statement().expect("a statement");
        expected.retain(|id, _| ![13, 15, 99].contains(id));
        expected.insert(14, "back".to_owned());
        let mut seen = expected.clone();
        let others = some(20..22).into_iter().filter_map(|(id, text)| Some((id, text?)));
        expected.extend(others);
        if isolation == Isolation::ReadCommitted {
            seen = expected.clone();
        }
        assert_eq!(rows_of(&open.view(), &partition).await, seen, "{isolation:?}");
        open.commit(Durability::Unsynced).await.expect("committed");
        assert_eq!(scene.rows(ANN).await, expected, "{isolation:?}, committed");
    }
}

/// Writers go on while flushes run: whatever the interleaving, the table is what was committed last.
#[tokio::test(flavor = "multi_thread")]
async fn writers_go_on_during_a_flush() {
    let scene = Arc::new(Scene::new(TableType::Shared).await);
    scene.write(Scope::Shared, some(0..20_000)).await;
    let writer = {
        let scene = scene.clone();
        tokio::spawn(async move {
            let mut expected: BTreeMap<i64, String> =
                some(0..20_000).into_iter().filter_map(|(id, text)| Some((id, text?))).collect();
            for round in 0..300i64 {
                // Ids all over the table, with repeats.
                let id = (round * 7919) % 20_050;
                let text = (round % 3 != 0).then(|| format!("round {round}"));
                match &text {
                    Some(text) => expected.insert(id, text.clone()),
                    None => expected.remove(&id),
                };
                scene.write(Scope::Shared, [(id, text)]).await;
            }
            expected
        })
    };
    let mut flushes = 0;
    while !writer.is_finished() {
        scene.flush().await;
        flushes += 1;
        scene.rows(Scope::Shared).await;
    }
    let expected = writer.await.expect("the writer ends");
    assert!(flushes > 0);
    assert_eq!(scene.rows(Scope::Shared).await, expected);
    scene.flush().await;
    assert_eq!(scene.rows(Scope::Shared).await, expected);
    assert_eq!(scene.hot(), 0);
}

/// A row that could not come back: the table is emptied while its flush wants to run.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_table_stays_empty() {
    let scene = Scene::new(TableType::Shared).await;
    scene.write(Scope::Shared, some(0..100)).await;
    scene.flush().await;
    scene.write(Scope::Shared, some(100..200)).await;
    let path = scene.store.segments(scene.def.id)[0].path.clone();
    let mut truncate = scene.store.begin(Isolation::ReadCommitted);
    truncate
        .table_lock(scene.def.id, TableLockMode::AccessExclusive, LockWait::Block(None))
        .await
        .expect("a table lock");
    let (engine, id) = (scene.store.engine().clone(), scene.def.id);
    let flushing = tokio::spawn(async move { flush(&engine, id).await });
    truncate.define(Change::TruncateTable(scene.def.id)).expect("a definition");
    truncate.commit(Durability::Synced).await.expect("committed");
    assert_eq!(flushing.await.expect("it ends").expect("flushed"), super::FlushOutcome::default());
    assert!(scene.rows(Scope::Shared).await.is_empty());

    let file = scene._dir.path().join("segments").join(path);
    assert!(file.exists());
    assert_eq!(sweep::retired_files(scene.store.engine()).await.expect("swept"), 1);
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_never_committed_go() {
    let scene = Scene::new(TableType::Shared).await;
    let engine = scene.store.engine();
    let path = engine.segments().path("public", "t", scene.def.id, SegmentId(99));
    engine.intend(SegmentId(99), &path).await.expect("an intent");
    let file = scene._dir.path().join("segments").join(&path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(&file, "half").expect("a file");
    let abandoned = sweep::Abandoned::of(engine).expect("a look");
    // A flush that began since is none of the last life's.
    let running = engine.segments().path("public", "t", scene.def.id, SegmentId(100));
    engine.intend(SegmentId(100), &running).await.expect("an intent");
    let begun = scene._dir.path().join("segments").join(&running);
    std::fs::write(&begun, "half").expect("a file");
    assert_eq!(sweep::abandoned_files(engine, abandoned).await.expect("swept"), 1);
    assert!(!file.exists());
    assert!(begun.exists());
    let snapshot = scene.store.published().snapshot.clone();
    assert!(snapshot.get(Family::Meta, &stored::intent_key(SegmentId(99))).expect("read").is_none());
    assert!(snapshot.get(Family::Meta, &stored::intent_key(SegmentId(100))).expect("read").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_time_goes() {
    let scene = Scene::new(TableType::Stream).await;
    scene.write(ANN, some(0..10)).await;
    let now = kalamdb_commons::clock::now_us();
    assert_eq!(expire::stream_rows(scene.store.engine(), &scene.def, now).await.expect("expired"), 0);
    let later = now + 61_000_000;
    assert_eq!(expire::stream_rows(scene.store.engine(), &scene.def, later).await.expect("expired"), 10);
    assert!(scene.rows(ANN).await.is_empty());

    let scene = Scene::new(TableType::User).await;
    scene.write(ANN, some(0..10)).await;
    scene.write(ANN, (0..5).map(|id| (id, None))).await;
    let week_us = 168 * 3_600_000_000;
    assert_eq!(expire::tombstones(scene.store.engine(), &scene.def, now).await.expect("removed"), 0);
    assert_eq!(
        expire::tombstones(scene.store.engine(), &scene.def, now + week_us + 60_000_000).await.expect("removed"),
        5
    );
    assert_eq!(scene.rows(ANN).await.len(), 5);
}
