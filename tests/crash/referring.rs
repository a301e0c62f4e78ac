//! Foreign keys hold after kill -9: a cascade is in its transaction, whole or not at all, and no row refers to nothing.

use kalamdb_tests::{Server, Session, budget};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

const KEYS: u64 = 40;
/// Rows that refer to one key: a cascade takes or changes all of them.
const EACH: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cascades_are_whole() {
    let seed = budget("KALAMDB_SEED", std::process::id().into());
    let rounds = budget("KALAMDB_CRASH_ROUNDS", 6).min(6);
    println!("seed {seed}, {rounds} rounds");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start();
    let root = server.root().await;
    root.run("CREATE TABLE p (id bigint PRIMARY KEY)").await;
    root.run("CREATE TABLE c (id bigint PRIMARY KEY, p bigint REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)").await;
    root.run("CREATE TABLE g (id bigint PRIMARY KEY, c bigint REFERENCES c ON DELETE SET NULL, was bigint)").await;
    root.run("CREATE INDEX c_p ON c (p); CREATE INDEX g_c ON g (c)").await;
    for round in 0..rounds {
        let mut tasks = Vec::new();
        for worker in 0..3 {
            tasks.push(tokio::spawn(work(server.root().await, random.random(), worker)));
        }
        let flusher = server.root().await;
        tasks.push(tokio::spawn(async move {
            while flusher.client.batch_execute("STORAGE FLUSH TABLE p; STORAGE FLUSH TABLE c").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        }));
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1500))).await;
        server.kill();
        for task in tasks {
            task.await.expect("a worker ends when the connection does");
        }
        server.run();
        check(&server.root().await, &format!("seed {seed}, round {round}")).await;
    }
}

/// Keys come with their rows, change and go. What stands in the way of others may be refused.
async fn work(session: Session, seed: u64, worker: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let key = random.random_range(0..KEYS) + 1000 * worker;
        let sql = match random.random_range(0..4) {
            0 => format!("DELETE FROM p WHERE id IN ({key}, {})", key + 500),
            1 => format!("UPDATE p SET id = CASE WHEN id = {key} THEN {key} + 500 ELSE {key} END WHERE id = {key}"),
            _ => format!(
                "BEGIN; INSERT INTO p VALUES ({key}); \
                 INSERT INTO c SELECT {key} * 100 + n, {key} FROM generate_series(1, {EACH}) n; \
                 INSERT INTO g SELECT c.id, c.id, c.id FROM c WHERE p = {key} \
                 ON CONFLICT (id) DO UPDATE SET c = excluded.c; COMMIT"
            ),
        };
        if let Err(error) = session.client.batch_execute(&sql).await {
            if error.code().is_none() || session.client.batch_execute("ROLLBACK").await.is_err() {
                return;
            }
        }
    }
}

async fn check(session: &Session, when: &str) {
    let lost = "SELECT count(*) FROM c LEFT JOIN p ON p.id = c.p WHERE p.id IS NULL";
    assert_eq!(session.value(lost).await, "0", "{when}: every row refers to one that is there");
    let halves = format!("SELECT count(*) FROM (SELECT p FROM c GROUP BY p HAVING count(*) <> {EACH}) s");
    assert_eq!(session.value(&halves).await, "0", "{when}: cascades are whole");
    let pending = "SELECT count(*) FROM g LEFT JOIN c ON c.id = g.c WHERE g.c IS NOT NULL AND c.id IS NULL";
    assert_eq!(session.value(pending).await, "0", "{when}: what referred to a row that went is NULL");
    let forgotten = "SELECT count(*) FROM g JOIN c ON c.id = g.was WHERE g.c IS NULL";
    assert_eq!(session.value(forgotten).await, "0", "{when}: and nothing else is");
    // The indexes that references are found by agree with the rows.
    let by_index =
        "SELECT count(*) FROM p JOIN LATERAL (SELECT count(*) AS n FROM c WHERE c.p = p.id) s ON s.n NOT IN (0, 25)";
    assert_eq!(session.value(by_index).await, "0", "{when}");
}
