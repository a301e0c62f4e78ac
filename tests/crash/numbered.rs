//! Sequences: no number twice, whoever asks and whatever is killed, and no fsync for each.

use kalamdb_tests::{Server, Session, budget};
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_number_comes_twice() {
    let seed = budget("KALAMDB_SEED", std::process::id().into());
    let rounds = budget("KALAMDB_CRASH_ROUNDS", 6);
    println!("seed {seed}, {rounds} rounds");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut server = Server::start();
    let setup = server.root().await;
    setup.run("CREATE SEQUENCE plain").await;
    setup.run("CREATE SEQUENCE cached CACHE 7 INCREMENT 3").await;
    setup.run("CREATE TABLE t (id bigserial PRIMARY KEY, k bigint GENERATED ALWAYS AS IDENTITY)").await;
    drop(setup);
    let given: Arc<Mutex<[BTreeSet<i64>; 4]>> = Arc::default();
    for round in 0..rounds {
        let mut tasks = Vec::new();
        for _ in 0..WRITERS {
            tasks.push(tokio::spawn(take(server.root().await, given.clone())));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(100..900))).await;
        server.kill();
        for task in tasks {
            task.await.expect("a writer ends when the connection does");
        }
        server.run();
        let session = server.root().await;
        let given = given.lock().await;
        for (at, name) in ["plain", "cached", "t_id_seq", "t_k_seq"].iter().enumerate() {
            let next = number(&session.value(&format!("SELECT nextval('{name}')")).await);
            let last = given[at].last().copied().unwrap_or(0);
            assert!(next > last, "seed {seed}, round {round}: {name} gives {next} after {last}");
            let skipped = next - last;
            assert!(skipped < 40_000, "seed {seed}, round {round}: {name} skips {skipped} numbers");
        }
        let rows = session.value("SELECT count(*) = count(DISTINCT k) FROM t").await;
        assert_eq!(rows, "t", "seed {seed}, round {round}");
    }
    let count: usize = given.lock().await.iter().map(BTreeSet::len).sum();
    println!("{count} numbers");
    assert!(count > 100, "numbers were given");
}

fn number(text: &str) -> i64 {
    text.parse().expect("a number")
}

/// Takes numbers until the server goes; each one must be new.
async fn take(session: Session, given: Arc<Mutex<[BTreeSet<i64>; 4]>>) {
    loop {
        for (at, sql) in
            ["SELECT nextval('plain')", "SELECT nextval('cached')", "INSERT INTO t DEFAULT VALUES RETURNING id, k"]
                .iter()
                .enumerate()
        {
            let Ok(messages) = session.client.simple_query(sql).await else { return };
            let mut given = given.lock().await;
            for message in messages {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    for column in 0..row.len() {
                        let value = number(row.get(column).expect("a number"));
                        assert!(given[at + column].insert(value), "{sql} gave {value} twice");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_share_their_fsyncs() {
    let server = Server::start();
    let session = server.root().await;
    session.run("CREATE SEQUENCE s").await;
    let syncs = "SELECT value FROM system.stats WHERE name = 'commit.syncs'";
    let before = number(&session.value(syncs).await);
    for _ in 0..2_000 {
        session.value("SELECT nextval('s')").await;
    }
    let after = number(&session.value(syncs).await);
    assert!(after - before < 100, "{} fsyncs for 2000 numbers", after - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clean_end_skips_none() {
    let mut server = Server::start();
    let session = server.root().await;
    session.run("CREATE SEQUENCE s").await;
    for expected in 1..=5 {
        assert_eq!(number(&session.value("SELECT nextval('s')").await), expected);
    }
    session.run("CREATE SEQUENCE r; SELECT setval('r', 41)").await;
    session.run("BEGIN; ALTER SEQUENCE s RESTART WITH 1000").await;
    session.value("SELECT nextval('s')").await;
    drop(session);
    server.stop();
    server.run();
    let session = server.root().await;
    assert_eq!(session.value("SELECT nextval('s')").await, "6");
    assert_eq!(session.value("SELECT nextval('r')").await, "42");
    session.run("ALTER SEQUENCE s RESTART WITH 1000").await;
    assert_eq!(session.value("SELECT nextval('s')").await, "1000");
    drop(session);
    server.kill();
    server.run();
    let session = server.root().await;
    assert!(number(&session.value("SELECT nextval('s')").await) > 1000);
}

/// A transaction's number is never another's, whether the server stops or is killed in between.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_numbered_for_ever() {
    let mut server = Server::start();
    let mut last = 0;
    let ways: [fn(&mut Server); 2] = [Server::kill, |server| {
        server.stop();
    }];
    for end in ways {
        let session = server.root().await;
        for _ in 0..3 {
            let next = number(&session.value("SELECT txid_current()").await);
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        drop(session);
        end(&mut server);
        server.run();
    }
    let session = server.root().await;
    assert!(number(&session.value("SELECT pg_current_xact_id()").await) > last);
}
