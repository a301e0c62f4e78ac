//! Indexes agree with their rows: under random work with flushes and restarts, and after kill -9 at any moment, while an
//! index is being filled too.

use kalamdb_tests::{Server, Session, budget};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A row of the model: the unique value, the other one.
type Model = BTreeMap<i64, (Option<i64>, i64)>;

/// Values that are looked up; few of them, so that they meet.
const VALUES: i64 = 40;
const IDS: i64 = 120;

/// Random statements against a map that says what must come of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_work() {
    let seed = budget("KALAMDB_SEED", std::process::id().into());
    let steps = budget("KALAMDB_INDEX_STEPS", 1500);
    println!("seed {seed}, {steps} steps");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start();
    let mut session = server.root().await;
    session.run("CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, a bigint)").await;
    session.run("CREATE INDEX t_a ON t (a DESC, u); CREATE UNIQUE INDEX t_part ON t ((u + a)) WHERE a < 0").await;
    let mut model = Model::new();
    // Where the transaction began, and its savepoint.
    let mut begun: Option<Model> = None;
    let mut saved: Option<Model> = None;
    for step in 0..steps {
        let when = format!("seed {seed}, step {step}");
        match random.random_range(0..100) {
            0..3 => session.run("STORAGE FLUSH TABLE t").await,
            3..5 => {
                if let Some(before) = begun.take() {
                    (model, saved) = (before, None);
                }
                server.kill();
                server.run();
                session = server.root().await;
            }
            5 => {
                session.run("TRUNCATE t").await;
                model.clear();
            }
            6..8 if begun.is_none() => {
                session.run("DROP INDEX t_a; CREATE INDEX t_a ON t (a DESC, u)").await;
            }
            8..16 => match begun.take() {
                None => {
                    session.run("BEGIN").await;
                    begun = Some(model.clone());
                }
                Some(before) => {
                    let commits = random.random_bool(0.6);
                    session.run(if commits { "COMMIT" } else { "ROLLBACK" }).await;
                    if !commits {
                        model = before;
                    }
                    saved = None;
                }
            },
            16..20 if begun.is_some() => match saved.take() {
                None => {
                    session.run("SAVEPOINT s").await;
                    saved = Some(model.clone());
                }
                Some(before) => {
                    session.run("ROLLBACK TO s").await;
                    model = before;
                }
            },
            _ => write(&session, &mut random, &mut model, begun.is_some(), &when).await,
        }
        if step % 10 == 0 {
            compare(&session, &mut random, &model, &when).await;
        }
    }
}

fn clashes(model: &Model, id: i64, row: (Option<i64>, i64)) -> bool {
    let (u, a) = row;
    model.iter().any(|(other, (v, b))| {
        *other != id
            && u.is_some()
            && (*v == u || (a < 0 && *b < 0 && v.is_some_and(|v| Some(v + b) == u.map(|u| u + a))))
    })
}

async fn write(session: &Session, random: &mut StdRng, model: &mut Model, in_block: bool, when: &str) {
    let id = random.random_range(0..IDS);
    let u = random.random_bool(0.8).then(|| random.random_range(0..VALUES * 3));
    let a = random.random_range(-5..VALUES);
    let shown = u.map_or("NULL".to_string(), |u| u.to_string());
    // An error ends a block: a savepoint of its own keeps it.
    let guarded = |sql: &str| if in_block { format!("SAVEPOINT w; {sql}; RELEASE w") } else { sql.to_string() };
    let (sql, next) = match random.random_range(0..10) {
        0..4 => (format!("INSERT INTO t VALUES ({id}, {shown}, {a})"), (!model.contains_key(&id)).then_some((u, a))),
        4..6 => {
            let sql = format!(
                "INSERT INTO t VALUES ({id}, {shown}, {a}) ON CONFLICT (id) DO UPDATE SET u = excluded.u, a = excluded.a"
            );
            (sql, Some((u, a)))
        }
        6..8 => {
            if !model.contains_key(&id) {
                return;
            }
            let by = model[&id].0.map_or(format!("id = {id}"), |u| format!("u = {u}"));
            (format!("UPDATE t SET u = {shown}, a = {a} WHERE {by}"), Some((u, a)))
        }
        8 => {
            session.run(&format!("DELETE FROM t WHERE a = {a}")).await;
            model.retain(|_, (_, b)| *b != a);
            return;
        }
        _ => {
            session.run(&format!("DELETE FROM t WHERE id = {id}")).await;
            model.remove(&id);
            return;
        }
    };
    match next.filter(|row| !clashes(model, id, *row)) {
        Some(row) => {
            session.run(&guarded(&sql)).await;
            model.insert(id, row);
        }
        None => {
            let state = session.fails(&guarded(&sql)).await;
            assert_eq!(state.code(), "23505", "{when}: {sql}");
            if in_block {
                session.run("ROLLBACK TO w; RELEASE w").await;
            }
        }
    }
}

/// Every index says what the rows say.
async fn compare(session: &Session, random: &mut StdRng, model: &Model, when: &str) {
    let ids = |rows: Vec<String>| rows.iter().map(|row| row.parse::<i64>().expect("an id")).collect::<Vec<_>>();
    let value = random.random_range(-5..VALUES);
    let sorted = |test: &dyn Fn(&(Option<i64>, i64)) -> bool| -> Vec<i64> {
        model.iter().filter(|(_, row)| test(row)).map(|(id, _)| *id).collect()
    };
    let cases: Vec<(String, Vec<i64>)> = vec![
        ("SELECT id FROM t ORDER BY id".to_string(), sorted(&|_| true)),
        (format!("SELECT id FROM t WHERE a = {value} ORDER BY id"), sorted(&|row| row.1 == value)),
        (
            format!("SELECT id FROM t WHERE a BETWEEN {value} AND {} ORDER BY id", value + 2),
            sorted(&|row| (value..=value + 2).contains(&row.1)),
        ),
        (format!("SELECT id FROM t WHERE u = {value} ORDER BY id"), sorted(&|row| row.0 == Some(value))),
        (
            format!("SELECT id FROM t WHERE u IN ({value}, {}, 7) ORDER BY id", value + 1),
            sorted(&|row| row.0.is_some_and(|u| [value, value + 1, 7].contains(&u))),
        ),
        (
            format!("SELECT id FROM t WHERE a < 0 AND u + a = {value} ORDER BY id"),
            sorted(&|row| row.1 < 0 && row.0.is_some_and(|u| u + row.1 == value)),
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(ids(session.rows(&sql).await), expected, "{when}: {sql}");
    }
    let mut first: Vec<(i64, i64)> = model.iter().filter_map(|(id, (u, _))| u.map(|u| (u, *id))).collect();
    first.sort_unstable();
    let expected: Vec<i64> = first.iter().take(5).map(|(_, id)| *id).collect();
    assert_eq!(ids(session.rows("SELECT id FROM t WHERE u IS NOT NULL ORDER BY u LIMIT 5").await), expected, "{when}");
    let shown = session.rows("SELECT u FROM t ORDER BY u LIMIT 5").await;
    let firsts = first.iter().take(5).map(|(u, _)| u.to_string()).chain(std::iter::repeat("NULL".to_string()));
    assert_eq!(shown, firsts.take(model.len().min(5)).collect::<Vec<_>>(), "{when}: in the order of u");
}

const WRITERS: u64 = 3;

/// Writers, and one who makes and drops indexes; kill -9 at random moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_while_indexing() {
    let seed = budget("KALAMDB_SEED", std::process::id().into());
    let rounds = budget("KALAMDB_CRASH_ROUNDS", 6);
    println!("seed {seed}, {rounds} rounds");
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::start();
    let session = server.root().await;
    session.run("CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, a bigint)").await;
    session.run("INSERT INTO t SELECT -i, -i, i % 100 FROM generate_series(1, 20000) i").await;
    let next = Arc::new(AtomicU64::new(0));
    for round in 0..rounds {
        let mut tasks = Vec::new();
        for _ in 0..WRITERS {
            let (session, next) = (server.root().await, next.clone());
            tasks.push(tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let sql = match n % 4 {
                        0..2 => format!("INSERT INTO t VALUES ({n}, {n}, {})", n % 100),
                        2 => format!("UPDATE t SET a = a + 1, u = u + 1000000 WHERE id = {}", n / 2),
                        _ => format!("DELETE FROM t WHERE u = {}", n / 3),
                    };
                    match session.client.batch_execute(&sql).await {
                        Err(error) if error.code().is_none() => return,
                        _ => {}
                    }
                }
            }));
        }
        let definer = server.root().await;
        tasks.push(tokio::spawn(async move {
            let sql =
                "CREATE INDEX t_a ON t (a); CREATE UNIQUE INDEX t_u ON t ((u * 2)); DROP INDEX t_a; DROP INDEX t_u";
            let _ = definer.client.batch_execute("DROP INDEX IF EXISTS t_a; DROP INDEX IF EXISTS t_u").await;
            let statements: Vec<&str> = sql.split("; ").collect();
            loop {
                for statement in &statements {
                    if definer.client.batch_execute(statement).await.is_err() {
                        return;
                    }
                }
            }
        }));
        if round % 2 == 1 {
            let flusher = server.root().await;
            tasks.push(tokio::spawn(async move {
                let _ = flusher.client.batch_execute("STORAGE FLUSH TABLE t").await;
            }));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(100..1500))).await;
        server.kill();
        for task in tasks {
            task.await.expect("a client ends when the connection does");
        }
        server.run();
        let when = format!("seed {seed}, round {round}");
        agree(&server.root().await, &mut random, &when).await;
    }
}

/// What each index finds is what a look at all rows finds: `+ 0` hides a column from the indexes.
async fn agree(session: &Session, random: &mut StdRng, when: &str) {
    let total = session.value("SELECT count(*) FROM t").await;
    let by_key = session.value("SELECT count(*) FROM t x JOIN t y ON x.id = y.id").await;
    assert_eq!(total, by_key, "{when}: rows and their keys");
    for _ in 0..10 {
        let a = random.random_range(0..102);
        let found =
            session.value(&format!("SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM t WHERE a = {a}")).await;
        let all =
            session.value(&format!("SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM t WHERE a + 0 = {a}")).await;
        assert_eq!(found, all, "{when}: a = {a}");
    }
    let sample = session.rows("SELECT id, u FROM t ORDER BY id * 7919 % 1009, id LIMIT 20").await;
    for row in sample {
        let (id, u) = row.split_once('|').expect("two columns");
        let found = session.rows(&format!("SELECT id FROM t WHERE u = {u}")).await;
        assert_eq!(found, [id], "{when}: u = {u}");
        assert_eq!(session.rows(&format!("SELECT id FROM t WHERE u * 2 = {u} * 2")).await, [id], "{when}: u * 2");
        let state = session.fails(&format!("INSERT INTO t VALUES (123456789, {u}, 0)")).await;
        assert_eq!(state.code(), "23505", "{when}: u = {u} is taken");
    }
    // Keys of rows that are gone are free.
    let free = session
        .rows("SELECT i FROM generate_series(0, 3000) i WHERE i NOT IN (SELECT u FROM t WHERE u IS NOT NULL) LIMIT 20")
        .await;
    for u in free {
        session.run(&format!("BEGIN; INSERT INTO t VALUES (123456789, {u}, 0); ROLLBACK")).await;
    }
}
