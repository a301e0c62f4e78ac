//! Plays over the memory engine: what is committed, and what reaches the reader.

use crate::{Follow, Live, Message, Outbox};
use kalamdb_commons::{
    AccessLevel, ColumnId, Datum, NamespaceId, PgType, Result, Scope, SqlState, SqlType, TableId, TableType, UserId,
};
use kalamdb_sql::bind::bound::{Col, ColId, CompareOp, Scalar};
use kalamdb_sql::function::nowhere::Nowhere;
use kalamdb_sql::function::{AdvisoryLock, CatalogNames, Surroundings};
use kalamdb_sql::types::Style;
use kalamdb_store::codec::{key, row};
use kalamdb_store::definition::{ColumnDef, KeyDef, TableDef, TableOptions};
use kalamdb_store::{
    Change, Durability, Isolation, KvKind, LockStrength, LockWait, Options, Partition, ReadView, Store,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ANN: UserId = UserId(100);
const BOB: UserId = UserId(101);
const INT8: PgType = PgType::new(SqlType::Int8);
const TEXT: PgType = PgType::new(SqlType::Text);

#[derive(Debug)]
struct Session(Style);

impl Surroundings for Session {
    fn style(&self) -> &Style {
        &self.0
    }
    fn setting(&self, _: &str) -> Option<String> {
        None
    }
    fn set_setting(&self, _: &str, value: Option<&str>, _: bool) -> Result<String> {
        Ok(value.unwrap_or_default().to_owned())
    }
    fn current_user(&self) -> UserId {
        ANN
    }
    fn transaction_start(&self) -> i64 {
        0
    }
    fn statement_start(&self) -> i64 {
        0
    }
    fn snowflake_id(&self) -> i64 {
        0
    }
    fn catalog(&self) -> &dyn CatalogNames {
        &Nowhere
    }
    fn notify(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
    fn listening_channels(&self) -> Vec<String> {
        Vec::new()
    }
    fn signal_backend(&self, _: i32, _: bool) -> Result<bool> {
        Ok(false)
    }
    fn advisory_lock(&self, _: AdvisoryLock) -> Result<bool> {
        Ok(false)
    }
    fn sleep(&self, _: Duration) -> Result<()> {
        Ok(())
    }
    fn warn(&self, _: SqlState, _: &str) {}
    fn blocking_backends(&self, _: i32) -> Vec<i32> {
        Vec::new()
    }
    fn transaction_number(&self) -> Result<u64> {
        Ok(1)
    }
    fn query_text(&self) -> &str {
        ""
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    store: Store,
    live: Live,
    def: Arc<TableDef>,
}

/// message (id bigint primary key, n bigint, body text)
fn message_table() -> TableDef {
    let column = |id, name: &str, ty| ColumnDef {
        id: ColumnId(id),
        name: name.into(),
        ty,
        not_null: false,
        default: None,
        identity: None,
        generated: None,
        domain: None,
        missing: Datum::Null,
        dropped: false,
    };
    TableDef {
        id: TableId(50_000),
        namespace: NamespaceId(2200),
        name: "message".into(),
        kind: TableType::User,
        access: AccessLevel::Private,
        storage: "local".into(),
        owner: ANN,
        options: TableOptions::default(),
        schema_version: 1,
        columns: vec![column(1, "id", INT8), column(2, "n", INT8), column(3, "body", TEXT)],
        primary_key: Some(KeyDef {
            constraint: 50_001,
            index: 50_002,
            name: "message_pkey".to_owned(),
            columns: vec![ColumnId(1)],
        }),
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        row_type: 50_003,
        created_at: 0,
        updated_at: 0,
    }
}

fn col(id: u32, ty: PgType) -> Col {
    Col { id: ColId(id), ty, nullable: true }
}

impl Scene {
    async fn new() -> Scene {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(Options { kv: KvKind::Memory, ..Options::new(dir.path()) }).expect("a new store");
        let live = Live::new(&store);
        let scene = Scene { _dir: dir, store, live, def: Arc::new(message_table()) };
        scene.define(Change::PutTable(message_table())).await;
        scene
    }

    async fn define(&self, change: Change) {
        let mut transaction = self.store.begin(Isolation::ReadCommitted);
        transaction.define(change).expect("a definition");
        transaction.commit(Durability::Synced).await.expect("committed");
    }

    /// One commit of a user: rows to set (n, body) or to remove.
    async fn write(&self, user: UserId, rows: &[(i64, Option<(i64, &str)>)]) {
        let partition = Partition { table: self.def.clone(), scope: Scope::User(user) };
        let mut transaction = self.store.begin(Isolation::ReadCommitted);
        transaction.begin_statement().expect("a statement");
        for (id, values) in rows {
            let key = key::encode([(SqlType::Int8, &Datum::Int8(*id))]).expect("a key");
            let (strength, wait) = (LockStrength::Update, LockWait::Block(None));
            let newest = transaction.row_lock(&partition, &key, strength, wait).await.expect("a lock").newest;
            match (values, newest) {
                (Some((n, body)), newest) => {
                    let values = [
                        (ColumnId(1), Datum::Int8(*id)),
                        (ColumnId(2), Datum::Int8(*n)),
                        (ColumnId(3), Datum::text(*body)),
                    ];
                    let row = row::encode(&self.def, &values).expect("a row");
                    transaction.row_put(&partition, &key, row, newest).expect("put");
                }
                (None, Some(old)) => transaction.row_remove(&partition, &key, old, false).expect("removed"),
                (None, None) => {}
            }
        }
        transaction.commit(Durability::Synced).await.expect("committed");
    }

    async fn notify(&self, channel: &str, payload: &str) {
        let mut transaction = self.store.begin(Isolation::ReadCommitted);
        transaction.notify(channel, payload, 9);
        transaction.commit(Durability::Synced).await.expect("committed");
    }

    /// SELECT n, body FROM message WHERE n > 5, for ann.
    fn query(&self, channel: &str) -> Follow {
        let (n, body) = (col(1, INT8), col(2, TEXT));
        let five = Scalar::Const(Datum::Int8(5), INT8);
        Follow {
            may_read: Arc::new(|_| true),
            channel: channel.to_owned(),
            table: self.def.clone(),
            scope: Scope::User(ANN),
            text: "SELECT n, body FROM message WHERE n > 5".to_owned(),
            predicate: Some(Scalar::Compare(CompareOp::Gt, Box::new(Scalar::Column(n)), Box::new(five))),
            outputs: vec![("n".to_owned(), Scalar::Column(n)), ("body".to_owned(), Scalar::Column(body))],
            columns: vec![(ColumnId(2), n), (ColumnId(3), body)],
            parameters: Vec::new(),
            session: Arc::new(|_| Datum::Null),
            around: Arc::new(Session(Style::default())),
        }
    }

    async fn follow(&self, outbox: &mut Outbox) -> ReadView {
        outbox.follow(self.query("inbox")).await.expect("followed").0
    }
}

/// The next message's payload without its position, which depends on what was committed before.
async fn next(outbox: &Outbox) -> String {
    without_seq(&message(outbox).await)
}

async fn message(outbox: &Outbox) -> Message {
    tokio::time::timeout(Duration::from_secs(20), outbox.next()).await.expect("a message comes")
}

fn without_seq(message: &Message) -> String {
    let text = String::from_utf8(message.payload.to_vec()).expect("a text");
    match text.split_once(",\"seq\":") {
        Some((head, tail)) => {
            let rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{head}{rest}")
        }
        None => text,
    }
}

#[tokio::test]
async fn rows_enter_change_and_leave() {
    let scene = Scene::new().await;
    let mut ann = scene.live.outbox(1, ANN);
    scene.write(ANN, &[(1, Some((10, "before")))]).await;
    let view = scene.follow(&mut ann).await;
    assert_eq!(view.seq(), scene.store.published().seq);

    scene.write(BOB, &[(7, Some((99, "not hers")))]).await;
    scene.write(ANN, &[(2, Some((3, "too small")))]).await;
    scene.write(ANN, &[(2, Some((6, "it \"enters\"")))]).await;
    scene.write(ANN, &[(2, Some((7, "it \"enters\""))), (1, Some((10, "after")))]).await;
    scene.write(ANN, &[(1, Some((0, "after")))]).await;
    scene.write(ANN, &[(2, None)]).await;
    for expected in [
        r#"{"op":"insert","row":{"n":6,"body":"it \"enters\""}}"#,
        // In the order of their positions, which is that of their keys.
        r#"{"op":"update","row":{"n":10,"body":"after"},"changed":["body"]}"#,
        r#"{"op":"update","row":{"n":7,"body":"it \"enters\""},"changed":["n"]}"#,
        // Deletes tell the key, which the select list has not, and the row as it was in the result.
        r#"{"op":"delete","row":{"n":10,"body":"after","id":1}}"#,
        r#"{"op":"delete","row":{"n":7,"body":"it \"enters\"","id":2}}"#,
    ] {
        assert_eq!(next(&ann).await, expected);
    }
    let facts = &scene.live.queries()[0];
    assert_eq!((facts.queued, facts.delivered, facts.last_seq), (0, 5, scene.store.published().seq));
    assert_eq!((facts.channel.as_str(), facts.user, facts.state), ("inbox", ANN, "active"));
}

#[tokio::test]
async fn notifications_and_events_keep_the_order_of_commits() {
    let scene = Scene::new().await;
    let (mut ann, mut bob) = (scene.live.outbox(1, ANN), scene.live.outbox(2, BOB));
    scene.follow(&mut ann).await;
    ann.listen("news");
    ann.listen("news");
    bob.listen("news");
    assert_eq!(ann.channels(), ["inbox", "news"]);
    scene.notify("news", "one").await;
    scene.write(ANN, &[(1, Some((10, "x")))]).await;
    scene.notify("other", "nobody").await;
    scene.notify("news", "two").await;
    assert_eq!(next(&ann).await, "one");
    assert_eq!(next(&ann).await, r#"{"op":"insert","row":{"n":10,"body":"x"}}"#);
    let two = message(&ann).await;
    assert_eq!((&*two.channel, two.pid, &two.payload[..]), ("news", 9, &b"two"[..]));
    assert_eq!((next(&bob).await, next(&bob).await), ("one".to_owned(), "two".to_owned()));

    bob.unlisten("news", &[]);
    ann.unlisten_all(&[]);
    assert!(scene.live.queries().is_empty());
    scene.notify("news", "three").await;
    ann.listen("end");
    scene.notify("end", "").await;
    assert_eq!(next(&ann).await, "");
}

/// One reader is slow: it is told so and nothing of it stays; the others get everything.
#[tokio::test]
async fn a_slow_reader_overflows_alone() {
    let scene = Scene::new().await;
    let (mut slow, mut quick) = (scene.live.outbox(1, ANN), scene.live.outbox(2, ANN));
    scene.follow(&mut slow).await;
    scene.follow(&mut quick).await;
    let body = "x".repeat(100_000);
    scene.write(ANN, &[(1, Some((10, "first")))]).await;
    let first = message(&slow).await;
    assert!(first.payload.starts_with(br#"{"op":"insert","seq":"#));
    for id in 2..20 {
        scene.write(ANN, &[(id, Some((10, &body)))]).await;
        next(&quick).await;
    }
    assert!(next(&quick).await.contains(&body));
    let told = message(&slow).await;
    let seq = std::str::from_utf8(&first.payload).expect("a text");
    let seq = seq.split(&[':', ','][..]).nth(3).expect("a position");
    assert_eq!(std::str::from_utf8(&told.payload).expect("a text"), format!(r#"{{"op":"overflow","seq":{seq}}}"#));
    assert_eq!(scene.live.queries().len(), 1, "the quick one goes on");
    let lost = tokio::time::timeout(Duration::from_millis(1), slow.lost()).await;
    assert!(lost.is_err(), "no plain notification was lost");
    scene.follow(&mut slow).await;
}

#[tokio::test]
async fn definitions_are_told() {
    let scene = Scene::new().await;
    let mut ann = scene.live.outbox(1, ANN);
    scene.follow(&mut ann).await;
    let error = ann.follow(scene.query("inbox")).await.err().map(|error| error.state().to_string());
    assert_eq!(error.as_deref(), Some("42710"));

    let mut def = message_table();
    def.schema_version = 2;
    def.columns.push(ColumnDef { id: ColumnId(4), name: "more".into(), ..def.columns[2].clone() });
    scene.define(Change::PutTable(def.clone())).await;
    assert_eq!(next(&ann).await, r#"{"op":"schema"}"#);
    let scene = Scene { def: Arc::new(def.clone()), ..scene };
    scene.write(ANN, &[(1, Some((10, "x")))]).await;
    assert_eq!(next(&ann).await, r#"{"op":"insert","row":{"n":10,"body":"x"}}"#);

    def.schema_version = 3;
    def.columns[2].dropped = true;
    scene.define(Change::PutTable(def)).await;
    assert_eq!(next(&ann).await, r#"{"op":"ended","reason":"schema changed"}"#);

    let stale = ann.follow(scene.query("inbox")).await.err().map(|error| error.state().to_string());
    assert_eq!(stale.as_deref(), Some("40001"));
}

#[tokio::test]
async fn a_dropped_table_ends_its_queries_and_a_session_takes_its_own_along() {
    let scene = Scene::new().await;
    let mut ann = scene.live.outbox(1, ANN);
    let (_view, mut rows) = ann.stream(scene.query("")).await.expect("followed");
    scene.write(ANN, &[(1, Some((10, "x"))), (2, Some((11, "y")))]).await;
    let (one, two) = (rows.next().await, rows.next().await);
    assert_eq!((one.op, one.commit_ends, two.op, two.commit_ends), ("insert", false, "insert", true));
    assert_eq!(two.columns.map(|columns| columns.len()), Some(2));
    scene.follow(&mut ann).await;
    assert_eq!(scene.live.queries().len(), 2);
    let id = scene.live.queries()[1].live_id.clone();
    assert_eq!(scene.live.kill(&id, |_| false), Some(false));
    assert_eq!(scene.live.kill(&id, |user| user == ANN), Some(true));
    assert_eq!(scene.live.kill(&id, |_| true), None);
    assert_eq!(next(&ann).await, r#"{"op":"ended","reason":"killed"}"#);
    scene.define(Change::DropTable(scene.def.id)).await;
    let end = rows.next().await;
    assert_eq!((end.op, end.is_last), ("ended", true));
    assert!(rows.next().await.is_last, "the last event is the last for ever");

    scene.define(Change::PutTable(message_table())).await;
    scene.follow(&mut ann).await;
    drop(ann);
    assert!(scene.live.queries().is_empty());
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_the_query() {
    let scene = Scene::new().await;
    let mut ann = scene.live.outbox(1, ANN);
    let guarded = || Follow {
        may_read: Arc::new(|table: &TableDef| table.access == AccessLevel::Private),
        ..scene.query("inbox")
    };
    ann.follow(guarded()).await.expect("followed");
    let mut def = message_table();
    def.options.deleted_retention_hours = 1;
    scene.define(Change::PutTable(def.clone())).await;
    scene.write(ANN, &[(1, Some((10, "x")))]).await;
    assert_eq!(next(&ann).await, r#"{"op":"insert","row":{"n":10,"body":"x"}}"#);
    def.access = AccessLevel::Restricted;
    scene.define(Change::PutTable(def)).await;
    assert_eq!(next(&ann).await, r#"{"op":"ended","reason":"permission revoked"}"#);
    let refused = ann.follow(guarded()).await.err().map(|error| error.state().to_string());
    assert_eq!(refused.as_deref(), Some("40001"));
}

#[tokio::test]
async fn a_query_that_is_taken_back_leaves_nothing() {
    let scene = Scene::new().await;
    let mut ann = scene.live.outbox(1, ANN);
    let (_, first) = ann.follow(scene.query("inbox")).await.expect("followed");
    scene.write(ANN, &[(1, Some((10, "x")))]).await;
    ann.take_back(first);
    assert!(scene.live.queries().is_empty());
    let (_, second) = ann.follow(scene.query("inbox")).await.expect("followed");
    ann.unlisten("inbox", &[second]);
    assert_eq!(scene.live.queries().len(), 1);
    scene.write(ANN, &[(2, Some((11, "y")))]).await;
    assert_eq!(next(&ann).await, r#"{"op":"insert","row":{"n":11,"body":"y"}}"#);
    ann.unlisten("inbox", &[]);
    assert!(scene.live.queries().is_empty());
}

/// Whatever runs beside the start of a query: the initial rows and the events together are every row once.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_gap_and_no_overlap() {
    let scene = Arc::new(Scene::new().await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (scene, stop) = (scene.clone(), stop.clone());
        tokio::spawn(async move {
            let mut id = 0;
            while !stop.load(Ordering::Relaxed) {
                scene.write(ANN, &[(id, Some((10, "x")))]).await;
                id += 1;
            }
        })
    };
    for pid in 1..=10 {
        let mut ann = scene.live.outbox(pid, ANN);
        let view = scene.follow(&mut ann).await;
        let partition = Partition { table: scene.def.clone(), scope: Scope::User(ANN) };
        let scan =
            view.row_scan(&partition, &kalamdb_store::KeyRange::all(), &[ColumnId(1)], 1000, None).expect("a scan");
        let initial: usize = scan.map(|batch| batch.expect("a batch").num_rows()).sum();
        let told = message(&ann).await;
        let text = std::str::from_utf8(&told.payload).expect("a text");
        // Each commit has one row: the first event is the one right behind the view.
        assert!(text.contains(&format!("\"seq\":{},", view.seq().0 + 1)), "{text} after {} and {initial}", view.seq());
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("the writer ends");
}
