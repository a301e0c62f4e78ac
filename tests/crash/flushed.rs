//! A flush moves rows while a transaction that has changed them goes on.

use kalamdb_tests::{Server, Session};
use std::time::Duration;

/// Flushes a table, and waits until that is done.
async fn flush(session: &Session, table: &str) {
    let job = session.value(&format!("STORAGE FLUSH TABLE {table}")).await;
    while session.value(&format!("SELECT status FROM system.jobs WHERE job_id = '{job}'")).await != "completed" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What each way to the rows finds: by a look at all, by the key, by an index, by another, under locks.
async fn agree(session: &Session, when: &str, expected: &[(i64, i64)]) {
    let shown: Vec<String> = expected.iter().map(|(id, a)| format!("{id}|{a}")).collect();
    let all = [
        "SELECT id, a FROM t ORDER BY id",
        "SELECT id, a FROM t WHERE id >= 0 ORDER BY id",
        "SELECT id, a FROM t WHERE a >= 0 ORDER BY a, id",
        "SELECT id, a FROM t ORDER BY id FOR UPDATE",
        "SELECT min(id), min(a) FROM t GROUP BY u ORDER BY 1",
    ];
    for sql in all {
        let mut rows = session.rows(sql).await;
        rows.sort_by_key(|row| row.split('|').next().and_then(|id| id.parse::<i64>().ok()));
        assert_eq!(rows, shown, "{when}: {sql}");
    }
    assert_eq!(session.value("SELECT count(*) FROM t").await, expected.len().to_string(), "{when}");
    for count in [1, 3, 9] {
        let few = |ids: Vec<i64>| ids.iter().map(i64::to_string).collect::<Vec<_>>();
        let first = few(expected.iter().take(count).map(|(id, _)| *id).collect());
        let last = few(expected.iter().rev().take(count).map(|(id, _)| *id).collect());
        assert_eq!(session.rows(&format!("SELECT id FROM t ORDER BY id LIMIT {count}")).await, first, "{when}");
        assert_eq!(session.rows(&format!("SELECT id FROM t ORDER BY id DESC LIMIT {count}")).await, last, "{when}");
    }
    let edges = expected.first().zip(expected.last()).map(|((first, _), (last, _))| format!("{first}|{last}"));
    assert_eq!(session.rows("SELECT min(id), max(id) FROM t").await, Vec::from_iter(edges), "{when}");
    for id in 0..12 {
        let here = expected.iter().filter(|(known, _)| *known == id);
        let here: Vec<String> = here.map(|(id, a)| format!("{id}|{a}")).collect();
        for sql in [
            format!("SELECT id, a FROM t WHERE id = {id}"),
            format!("SELECT id, a FROM t WHERE id + 0 = {id}"),
            format!("SELECT id, a FROM t WHERE id IN ({id}, -1)"),
            format!("SELECT id, a FROM t WHERE u = {id} + 100"),
            format!("SELECT x.id, x.a FROM t x JOIN t y ON x.id = y.id AND y.u = {id} + 100"),
        ] {
            assert_eq!(session.rows(&sql).await, here, "{when}: {sql}");
        }
    }
}

/// A transaction changes rows, a flush moves what they were: it sees its own versions alone, by every way to them, and
/// so does everybody when it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_rows_are_there_once() {
    let server = Server::start();
    let (session, flusher) = (server.root().await, server.root().await);
    for level in ["READ COMMITTED", "REPEATABLE READ"] {
        for (kind, commits) in [("", true), ("SHARED", false), ("USER", true)] {
            let when = format!("{level}, {kind}");
            session.run("DROP TABLE IF EXISTS t").await;
            session.run(&format!("CREATE {kind} TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, a bigint)")).await;
            session.run("CREATE INDEX t_a ON t (a)").await;
            session.run("INSERT INTO t SELECT i, i + 100, i FROM generate_series(0, 3) i").await;
            flush(&session, "t").await;
            session.run("INSERT INTO t SELECT i, i + 100, i FROM generate_series(4, 7) i").await;
            let first: Vec<(i64, i64)> = (0..8).map(|id| (id, id)).collect();

            session.run(&format!("BEGIN ISOLATION LEVEL {level}")).await;
            session.run("UPDATE t SET a = 50 WHERE id IN (1, 5); DELETE FROM t WHERE id IN (2, 6)").await;
            session.run("UPDATE t SET id = 8, u = 108 WHERE id = 7; INSERT INTO t VALUES (9, 109, 9)").await;
            let changed = [(0, 0), (1, 50), (3, 3), (4, 4), (5, 50), (8, 7), (9, 9)];
            flush(&flusher, "t").await;
            agree(&session, &when, &changed).await;
            session.run("SAVEPOINT s; UPDATE t SET a = a + 1; DELETE FROM t WHERE id IN (0, 4, 9)").await;
            session.run("INSERT INTO t VALUES (6, 106, 6)").await;
            agree(&session, &when, &[(1, 51), (3, 4), (5, 51), (6, 6), (8, 8)]).await;
            flusher.run("INSERT INTO t VALUES (11, 111, 11)").await;
            flush(&flusher, "t").await;
            session.run("ROLLBACK TO s").await;
            let seen = |rows: &[(i64, i64)]| -> Vec<(i64, i64)> {
                rows.iter().copied().chain((level == "READ COMMITTED").then_some((11, 11))).collect()
            };
            agree(&session, &when, &seen(&changed)).await;
            session.run(if commits { "COMMIT" } else { "ROLLBACK" }).await;
            let mut left: Vec<(i64, i64)> = if commits { changed.to_vec() } else { first };
            left.push((11, 11));
            agree(&session, &format!("{when}, ended"), &left).await;
        }
    }
}
