//! Queries that sqlsmith makes up of everything that the catalog lists: any answer is right but an internal error, a
//! panic, a lost connection, or none in time.
//!
//! sqlsmith reads the catalog as any client does and writes queries; they are asked here, by the simple protocol and
//! by the extended one with binary results in turn, over tables of every kind that are partly in segments and partly
//! not. TABLESAMPLE, which KalamDB does not have, is cut out; what changes rows is rolled back. The seed is printed;
//! `KALAMDB_SQLSMITH_SEED` gives another (0: any), `KALAMDB_SQLSMITH_QUERIES` makes a run longer, and
//! `KALAMDB_SQLSMITH_FIRST` skips those before the one to be looked at, and shows it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::peer::{Message, Peer, describe, execute, message, parse, query, sync};
use kalamdb_tests::{ROOT_PASSWORD, Server, budget, place};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Queries of one run, when nothing else is said.
const QUERIES: u64 = 400;
/// Queries multiply tables: so long they may run.
const STATEMENT_TIMEOUT: &str = "1s";
/// A cancelled statement may finish the batch that it is at; what takes longer hangs.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What fails is shown, up to so much.
const BROKEN_MAX: usize = 20;
/// So many kinds of errors are listed.
const SHOWN_MAX: usize = 30;
/// Of a hundred queries so many must be answered by rows or changes: fewer, and nothing is tried.
const ANSWERED_PERCENT_MIN: u64 = 10;
/// sqlsmith takes columns from an unqualified `pg_attribute`: this one leaves out the system columns, which no INSERT
/// may name.
const SEARCH_PATH: &str = "smith,pg_catalog,public";

/// Tables of every kind, rows in segments, rows changed and deleted behind a flush, and hot rows.
const SCHEMA: &[&str] = &[
    "CREATE SCHEMA smith",
    "CREATE VIEW smith.pg_attribute AS SELECT attrelid, attname, atttypid, attisdropped FROM pg_catalog.pg_attribute \
     WHERE attnum > 0",
    "CREATE USER TABLE notes (id bigint PRIMARY KEY, body text, n integer, at timestamptz, flag boolean, tags text[], \
     doc jsonb)",
    "CREATE SHARED TABLE account (id integer PRIMARY KEY, name varchar(40), amount numeric(12,2), born date, t time, \
     f8 double precision, f4 real, u uuid, b bytea, CHECK (amount > -1000))",
    "CREATE STREAM TABLE events (id bigint PRIMARY KEY, kind text, payload json, v smallint) WITH (TTL_SECONDS = 86400)",
    "CREATE TABLE kinds (id integer PRIMARY KEY, label text UNIQUE, i interval, c char(5), a integer[])",
    "CREATE TABLE refs (id integer, part text DEFAULT 'x', kind integer REFERENCES kinds ON DELETE CASCADE, \
     ts timestamp, PRIMARY KEY (id, part))",
    "CREATE INDEX ON account (name DESC NULLS LAST, amount)",
    "CREATE INDEX ON notes (lower(body)) WHERE n > 2",
    "CREATE VIEW report AS SELECT k.label, count(*) AS n, max(r.ts) AS last FROM kinds k LEFT JOIN refs r \
     ON r.kind = k.id GROUP BY k.label",
    "INSERT INTO notes SELECT g, 'body ' || g, g % 7, '2024-01-01 UTC'::timestamptz + g * interval '5 hours', \
     g % 2 = 0, ARRAY['a', NULL, g::text], jsonb_build_object('a', g, 'b', ARRAY[g]) FROM generate_series(1, 60) g",
    "INSERT INTO account SELECT g, CASE WHEN g % 5 > 0 THEN 'name ' || g END, g * 1.25, date '2000-01-01' + g, \
     time '00:00' + g * interval '7 minutes', g / 3.0, -g, gen_random_uuid(), decode(lpad(to_hex(g), 8, '0'), 'hex') \
     FROM generate_series(1, 60) g",
    "INSERT INTO events SELECT g, 'kind ' || g % 3, json_build_object('n', g), g FROM generate_series(1, 30) g",
    "INSERT INTO kinds SELECT g, 'label ' || g, g * interval '1 day 2 hours', 'c' || g, ARRAY[g, NULL, -g] \
     FROM generate_series(1, 12) g",
    "INSERT INTO refs SELECT g, 'p' || g % 2, 1 + g % 12, timestamp '2024-02-29' + g * interval '1 hour' \
     FROM generate_series(1, 40) g",
];
const FLUSHED: &[&str] = &["notes", "account", "kinds", "refs"];
const AFTER_FLUSH: &[&str] = &[
    "UPDATE account SET name = 'changed', f8 = 'NaN' WHERE id % 9 = 2",
    "UPDATE notes SET body = NULL, doc = 'null' WHERE id % 8 = 1",
    "DELETE FROM account WHERE id % 10 = 7",
    "DELETE FROM refs WHERE id % 6 = 5",
    "INSERT INTO account (id, amount, f4, born) VALUES (101, 0, 'Infinity', 'infinity'), (102, 999, '-Infinity', NULL)",
    "INSERT INTO notes (id, tags) VALUES (101, '{}'), (102, NULL)",
];

/// The same queries each time, unless another seed is asked for: 0 takes one at random.
fn seed() -> u64 {
    match budget("KALAMDB_SQLSMITH_SEED", 4) {
        0 => u64::from(rand::random::<u16>()),
        seed => seed,
    }
}

fn prepare(server: &Server) {
    let mut peer = Peer::root(server);
    let mut run = |sql: &str| {
        let answer = peer.ask(&query(sql));
        assert!(!answer.starts_with("E "), "{sql}: {answer}");
        answer
    };
    SCHEMA.iter().for_each(|sql| drop(run(sql)));
    for table in FLUSHED {
        run(&format!("STORAGE FLUSH TABLE {table}"));
    }
    let pending = "SELECT count(*) FROM system.jobs WHERE status NOT IN ('completed', 'failed', 'cancelled')";
    let deadline = Instant::now() + ANSWER_MAX;
    while run(pending) != "T, D 0, C SELECT 1, Z I" {
        assert!(Instant::now() < deadline, "the flushes did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    AFTER_FLUSH.iter().for_each(|sql| drop(run(sql)));
}

/// sqlsmith at work: it writes queries and asks none.
fn smith(server: &Server, seed: u64, queries: u64) -> Child {
    assert!(place::has_program("sqlsmith"), "sqlsmith is not installed: apt-get install sqlsmith");
    let target = format!(
        "host=127.0.0.1 port={} user=root password='{ROOT_PASSWORD}' dbname=kalamdb options='-c search_path={SEARCH_PATH}'",
        server.port()
    );
    Command::new("sqlsmith")
        .args([format!("--target={target}"), format!("--seed={seed}"), format!("--max-queries={queries}")])
        .arg("--dry-run")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sqlsmith runs")
}

/// Queries as they are printed: each ends with a semicolon at the end of a line, which no literal of sqlsmith's has.
fn queries(output: impl std::io::Read) -> impl Iterator<Item = String> {
    let mut lines = BufReader::new(output).lines();
    std::iter::from_fn(move || {
        let mut sql = String::new();
        loop {
            let line = lines.next()?.expect("a line");
            let line = without_sample(&line);
            sql.push_str(line.trim_end());
            if sql.ends_with(';') {
                return Some(sql);
            }
            sql.push('\n');
        }
    })
}

/// A line without `tablesample bernoulli (1.5)` and its kind.
fn without_sample(line: &str) -> String {
    let mut rest = line;
    let mut kept = String::new();
    while let Some((before, sample)) = rest.split_once(" tablesample ") {
        kept.push_str(before);
        rest = sample.split_once(')').map_or("", |(_, after)| after);
    }
    kept + rest
}

/// What is wrong with an answer, if anything is, or the SQLSTATE and message of an error that may be.
enum Answer {
    Done,
    Error(String, String),
    Broken(String),
}

/// Words of the query engine, which an error of ours has not.
fn is_the_engines(text: &str) -> bool {
    ["Unsupported CAST", "not implemented", "Struct(", "List(", "DataFusion", "Arrow"]
        .iter()
        .any(|it| text.contains(it))
}

/// Parse, Bind with binary results, Describe, Execute, Sync.
fn in_binary(sql: &str) -> Vec<u8> {
    let bind = message('B', &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
    [parse("", sql, &[]), bind, describe('P', ""), execute("", 0), sync()].concat()
}

fn ask(peer: &mut Peer, bytes: &[u8]) -> Answer {
    peer.send(bytes);
    let mut answer = Answer::Done;
    loop {
        match peer.try_next() {
            Ok(Message { tag: 'Z', .. }) => return answer,
            Ok(told) if told.tag == 'E' => {
                let field = |name| told.field(name).unwrap_or_default();
                let (state, text) = (field('C'), field('M'));
                answer = if state.starts_with("XX") || field('S') == "FATAL" || is_the_engines(&text) {
                    Answer::Broken(format!("{state} {text}"))
                } else {
                    Answer::Error(state, text)
                };
            }
            Ok(_) => {}
            Err(error) => return Answer::Broken(format!("no answer: {error}")),
        }
    }
}

fn session(server: &Server) -> Peer {
    let mut peer = Peer::root(server);
    peer.stream.set_read_timeout(Some(ANSWER_MAX)).expect("a timeout");
    let limits = format!("SET statement_timeout = '{STATEMENT_TIMEOUT}'");
    assert_eq!(peer.ask(&query(&limits)), "C SET, Z I");
    peer
}

#[test]
fn nothing_breaks() {
    let server = Server::start();
    prepare(&server);
    let (seed, count, first) =
        (seed(), budget("KALAMDB_SQLSMITH_QUERIES", QUERIES), budget("KALAMDB_SQLSMITH_FIRST", 0));
    println!("seed {seed}");
    let mut smith = smith(&server, seed, count);
    let (mut peer, mut bystander) = (session(&server), session(&server));
    // How often each came, and the query that it came from first.
    let mut errors: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut asked, mut answered, mut broken) = (0, 0, Vec::new());
    for sql in queries(smith.stdout.take().expect("its output")) {
        let number = asked;
        asked += 1;
        if number < first {
            continue;
        }
        if number == first && first > 0 {
            println!("{sql}");
        }
        let changes = !sql.trim_start().starts_with("select");
        if changes {
            ask(&mut peer, &query("BEGIN"));
        }
        let bytes = if number % 2 == 0 { query(&sql) } else { in_binary(&sql) };
        match ask(&mut peer, &bytes) {
            Answer::Done => answered += 1,
            Answer::Error(state, text) => errors.entry(format!("{state} {text}")).or_insert((0, number)).0 += 1,
            Answer::Broken(why) => {
                broken.push(format!("query {number} of seed {seed}: {why}\n{sql}"));
                if broken.len() >= BROKEN_MAX {
                    smith.kill().ok();
                    break;
                }
                peer = session(&server);
            }
        }
        if changes {
            ask(&mut peer, &query("ROLLBACK"));
        }
    }
    let told = smith.wait_with_output().expect("it ends");
    let mut most: Vec<_> = errors.iter().map(|(error, count)| (count, error)).collect();
    most.sort_by(|one, other| other.cmp(one));
    println!("{asked} queries of sqlsmith, {answered} of them answered without an error");
    for ((count, number), error) in most.iter().take(SHOWN_MAX) {
        println!("  {count:5} {error} (query {number})");
    }
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n\n"));
    assert_eq!(asked, count, "sqlsmith ended early:\n{}", String::from_utf8_lossy(&told.stderr));
    assert!(answered * 100 >= (asked - first) * ANSWERED_PERCENT_MIN, "too few are answered: {most:#?}");
    assert_eq!(bystander.ask(&query("SELECT 1")), "T, D 1, C SELECT 1, Z I", "another session goes on");
    let log = server.log();
    assert!(!log.contains("panicked at"), "the server's log tells of a panic");
}
