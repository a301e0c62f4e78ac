//! Writers in a loop, a flush running, kill -9 at random moments, ten rounds.

use kalamdb_tests::{Server, budget};
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

const WRITERS: u64 = 4;
/// Rows of one transaction: a commit is there whole when all of them are.
const ROWS: u64 = 7;

/// What the writers know: per batch, whether its COMMIT was answered.
#[derive(Default)]
struct Told {
    acknowledged: BTreeSet<u64>,
    /// COMMIT was sent and not answered: may be there whole or not at all.
    unknown: BTreeSet<u64>,
    /// Batches whose rows an acknowledged transaction changed, and deleted.
    changed: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    /// The same, sent and not answered.
    maybe: BTreeSet<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_and_look() {
    let seed = budget("KALAMDB_SEED", std::process::id().into());
    let rounds = budget("KALAMDB_CRASH_ROUNDS", 10);
    println!("seed {seed}, {rounds} rounds");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut server = Server::start();
    server.root().await.run("CREATE TABLE t (batch bigint, part bigint, v text, PRIMARY KEY (batch, part))").await;
    let told = Arc::new(Mutex::new(Told::default()));
    let next = Arc::new(AtomicU64::new(0));
    for round in 0..rounds {
        let mut tasks = Vec::new();
        for _ in 0..WRITERS {
            let session = server.root().await;
            tasks.push(tokio::spawn(write(session, told.clone(), next.clone())));
        }
        let flusher = server.root().await;
        tasks.push(tokio::spawn(async move {
            while flusher.client.batch_execute("STORAGE FLUSH TABLE t").await.is_ok() {}
        }));
        tokio::time::sleep(Duration::from_millis(random.random_range(100..1500))).await;
        server.kill();
        for task in tasks {
            task.await.expect("a writer ends when the connection does");
        }
        server.run();
        check(&server, &mut *told.lock().await, &format!("seed {seed}, round {round}")).await;
    }
    let told = told.lock().await;
    println!(
        "{} commits acknowledged, {} changed, {} deleted",
        told.acknowledged.len(),
        told.changed.len(),
        told.deleted.len()
    );
    assert!(told.acknowledged.len() > 100, "the writers wrote");
}

async fn write(session: kalamdb_tests::Session, told: Arc<Mutex<Told>>, next: Arc<AtomicU64>) {
    loop {
        let batch = next.fetch_add(1, Ordering::Relaxed);
        let values: Vec<String> = (0..ROWS).map(|part| format!("({batch}, {part}, 'new')")).collect();
        let insert = format!("BEGIN; INSERT INTO t VALUES {}", values.join(", "));
        if session.client.batch_execute(&insert).await.is_err() {
            return;
        }
        if !finish(&session, &told, |told| &mut told.unknown, |told| &mut told.acknowledged, batch).await {
            return;
        }
        // Every third batch is changed, every fifth deleted, in a transaction of its own.
        let (sql, delete) = match batch {
            n if n % 5 == 0 => (format!("BEGIN; DELETE FROM t WHERE batch = {batch}"), true),
            n if n % 3 == 0 => (format!("BEGIN; UPDATE t SET v = 'changed' WHERE batch = {batch}"), false),
            _ => continue,
        };
        if session.client.batch_execute(&sql).await.is_err() {
            return;
        }
        let into: fn(&mut Told) -> &mut BTreeSet<u64> = if delete { deleted } else { changed };
        if !finish(&session, &told, |told| &mut told.maybe, into, batch).await {
            return;
        }
    }
}

fn deleted(told: &mut Told) -> &mut BTreeSet<u64> {
    &mut told.deleted
}

fn changed(told: &mut Told) -> &mut BTreeSet<u64> {
    &mut told.changed
}

/// COMMIT: unknown while it is not answered, known after.
async fn finish(
    session: &kalamdb_tests::Session,
    told: &Mutex<Told>,
    unknown: fn(&mut Told) -> &mut BTreeSet<u64>,
    known: fn(&mut Told) -> &mut BTreeSet<u64>,
    batch: u64,
) -> bool {
    unknown(&mut *told.lock().await).insert(batch);
    if session.client.batch_execute("COMMIT").await.is_err() {
        return false;
    }
    let mut told = told.lock().await;
    unknown(&mut told).remove(&batch);
    known(&mut told).insert(batch);
    true
}

/// Every acknowledged commit is there whole, nothing else is, no row twice.
async fn check(server: &Server, told: &mut Told, when: &str) {
    let session = server.root().await;
    let rows = session.rows("SELECT batch, part, v FROM t").await;
    let mut found: BTreeMap<u64, Vec<(u64, String)>> = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        let number = |text: &str| text.parse::<u64>().expect("a number");
        found.entry(number(cells[0])).or_default().push((number(cells[1]), cells[2].to_owned()));
    }
    let counted: u64 = session.value("SELECT count(*) FROM t").await.parse().expect("a number");
    assert_eq!(counted, found.values().map(|rows| rows.len() as u64).sum::<u64>(), "{when}: count and rows agree");
    for (batch, rows) in &mut found {
        rows.sort();
        let parts: Vec<u64> = rows.iter().map(|(part, _)| *part).collect();
        assert_eq!(parts, (0..ROWS).collect::<Vec<_>>(), "{when}: batch {batch} is whole, and no row is twice");
        assert!(rows.iter().all(|(_, v)| *v == rows[0].1), "{when}: the change of batch {batch} is whole");
        assert!(
            told.acknowledged.contains(batch) || told.unknown.contains(batch),
            "{when}: batch {batch} was never committed"
        );
        assert!(!told.deleted.contains(batch), "{when}: batch {batch} came back");
        let changed = rows[0].1 == "changed";
        assert!(changed || !told.changed.contains(batch), "{when}: the change of batch {batch} is lost");
        assert!(
            !changed || told.changed.contains(batch) || told.maybe.contains(batch),
            "{when}: batch {batch} was never changed"
        );
    }
    for batch in &told.acknowledged {
        let gone = told.deleted.contains(batch) || told.maybe.contains(batch);
        assert!(found.contains_key(batch) || gone, "{when}: batch {batch} is lost");
    }
    // What was in doubt is decided now, and may not change its mind later.
    for batch in std::mem::take(&mut told.unknown) {
        if found.contains_key(&batch) {
            told.acknowledged.insert(batch);
        }
    }
    for batch in std::mem::take(&mut told.maybe) {
        match found.get(&batch) {
            None => told.deleted.insert(batch),
            Some(rows) if rows[0].1 == "changed" => told.changed.insert(batch),
            Some(_) => false,
        };
    }
    // Point reads, scans and the catalogue agree.
    if let Some(batch) = found.keys().next_back() {
        let one = session.value(&format!("SELECT count(*) FROM t WHERE batch = {batch} AND part = 3")).await;
        assert_eq!(one, "1", "{when}: a point read finds batch {batch}");
    }
    let running = session.value("SELECT count(*) FROM system.jobs WHERE status NOT IN ('completed', 'failed', 'cancelled', 'queued', 'running', 'retrying')").await;
    assert_eq!(running, "0", "{when}");
}
