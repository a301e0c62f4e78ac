//! What is measured: pgbench's scripts over its own tables and over larger ones, and psql's look-ups.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How one kind of work is driven.
pub enum Tool {
    /// pgbench with these arguments, for a time: transactions a second.
    Timed(Vec<String>),
    /// pgbench with these arguments, so many transactions: transactions a second.
    Counted(Vec<String>, u32),
    /// psql with this file, which does the work so many times: times a second.
    Psql(PathBuf, u32),
}

/// One kind of work.
pub struct Work {
    pub name: String,
    pub clients: &'static [u32],
    pub tool: Tool,
}

/// Rows of the large tables where nothing else is said.
pub const LARGE_ROWS: u64 = 10_000_000;
/// Rows whose JSON is looked into.
pub const JSON_ROWS: u64 = 1_000_000;
/// Rows of one statement that fills a large table: a write set is bounded.
pub const CHUNK_ROWS: u64 = 200_000;
/// psql's look-ups of one file.
const LOOK_UPS: u32 = 200;
/// Tables of the join whose planning is measured.
const JOINED: u32 = 10;

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// Tables for the small kinds of work, beside pgbench's own.
pub fn small_schema() -> String {
    let mut sql = String::from(
        "CREATE TABLE bench_insert (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n integer, v text);\n\
         CREATE TABLE member (id integer PRIMARY KEY, name text NOT NULL);\n\
         CREATE TABLE message (id integer PRIMARY KEY, member_id integer NOT NULL, room integer NOT NULL, body text);\n\
         CREATE INDEX message_room ON message (room, id);\n\
         INSERT INTO member SELECT n, 'member ' || n FROM generate_series(1, 1000) AS n;\n\
         INSERT INTO message SELECT n, n % 1000 + 1, n % 500, 'the text of message ' || n\n  \
         FROM generate_series(1, 50000) AS n;\n",
    );
    for table in 0..JOINED {
        let _ = writeln!(sql, "CREATE TABLE link{table} (id integer PRIMARY KEY, next integer, v text);");
        let _ =
            writeln!(sql, "INSERT INTO link{table} SELECT n, n % 100 + 1, 'v' || n FROM generate_series(1, 100) n;");
    }
    sql.push_str("ANALYZE;\n");
    sql
}

/// The small kinds of work. `folder` takes their scripts.
pub fn small(folder: &Path, scale: u64) -> Vec<Work> {
    let accounts = scale * 100_000;
    let script = |name: &str, text: &str| {
        let path = file(folder, name, text);
        vec!["-f".to_owned(), path.to_string_lossy().into_owned()]
    };
    let timed = |name: &str, clients: &'static [u32], mode: &str, mut arguments: Vec<String>| {
        arguments.extend(["-M".to_owned(), mode.to_owned()]);
        Work { name: name.to_owned(), clients, tool: Tool::Timed(arguments) }
    };
    let built_in = |name: &str| vec!["-b".to_owned(), name.to_owned()];
    let insert =
        script("insert.sql", "INSERT INTO bench_insert (n, v) VALUES (1, 'a row of some forty characters of text');\n");
    let join = script(
        "join.sql",
        "\\set room random(0, 499)\n\
         SELECT m.id, m.body, p.name FROM message m JOIN member p ON p.id = m.member_id\n\
         WHERE m.room = :room ORDER BY m.id DESC LIMIT 20;\n",
    );
    let aggregate = script(
        "aggregate.sql",
        &format!(
            "\\set first random(1, {accounts} - 100)\n\
             SELECT count(*), sum(abalance), max(abalance) FROM pgbench_accounts\n\
             WHERE aid BETWEEN :first AND :first + 99;\n"
        ),
    );
    let latest = script("latest.sql", "SELECT id, body FROM message ORDER BY id DESC LIMIT 50;\n");
    let mut many = String::from("SELECT count(*), min(body) FROM message WHERE id IN (");
    for n in 0..1000 {
        let _ = write!(many, "{}{}", if n == 0 { "" } else { "," }, n * 47 + 1);
    }
    let many = script("in_list.sql", &format!("{many});\n"));
    let mut joined = String::from("SELECT count(*) FROM link0 t0");
    for table in 1..JOINED {
        let _ = write!(joined, " JOIN link{table} t{table} ON t{table}.id = t{}.next", table - 1);
    }
    let joined = script("ten_way.sql", &format!("EXPLAIN {joined} WHERE t0.id = 7;\n"));
    let look_ups = file(folder, "describe.sql", &"\\d pgbench_accounts\n".repeat(LOOK_UPS as usize));
    vec![
        timed("point read, prepared", &[1, 8], "prepared", built_in("select-only")),
        timed("single-row insert", &[1, 8], "prepared", insert),
        timed("TPC-B", &[1, 8], "prepared", built_in("tpcb-like")),
        timed("small join, prepared", &[1, 8], "prepared", join),
        timed("small aggregate, prepared", &[1, 8], "prepared", aggregate),
        timed("latest 50 by key, prepared", &[1], "prepared", latest),
        timed("IN list of 1,000", &[1], "simple", many),
        timed("ten-way join, planned", &[1], "simple", joined),
        Work { name: "\\d of a table".to_owned(), clients: &[1], tool: Tool::Psql(look_ups, LOOK_UPS) },
    ]
}

/// The large tables, empty.
pub const LARGE_SCHEMA: &str = "CREATE TABLE event (id bigint PRIMARY KEY, kind integer NOT NULL, amount bigint NOT NULL, note text);\n\
     CREATE TABLE doc (id bigint PRIMARY KEY, body jsonb NOT NULL);\n";

/// The statements that fill the large tables.
pub fn large_rows(rows: u64) -> Vec<String> {
    let chunks =
        |rows: u64| (0..rows).step_by(CHUNK_ROWS as usize).map(move |from| (from, (from + CHUNK_ROWS).min(rows)));
    let events = chunks(rows).map(|(from, to)| {
        format!(
            "INSERT INTO event SELECT n, (n * 7919) % 100000, (n * 104729) % 1000003, 'note ' || n % 1000 \
             FROM generate_series({from}::bigint, {}) AS n",
            to - 1
        )
    });
    let docs = chunks(JSON_ROWS.min(rows)).map(|(from, to)| {
        format!(
            "INSERT INTO doc SELECT n, jsonb_build_object('kind', n % 100, 'user', jsonb_build_object('id', n, 'name', \
             'name ' || n), 'tags', jsonb_build_array('a', n)) FROM generate_series({from}::bigint, {}) AS n",
            to - 1
        )
    });
    events.chain(docs).collect()
}

/// The large kinds of work, once a round.
pub fn large(folder: &Path, rows: u64, over: &str) -> Vec<Work> {
    let counted = |name: &str, sql: &str| {
        let path = file(folder, &format!("{}.sql", name.replace(' ', "_")), sql);
        let arguments =
            vec!["-f".to_owned(), path.to_string_lossy().into_owned(), "-M".to_owned(), "simple".to_owned()];
        Work { name: format!("{name}, {over}"), clients: &[1], tool: Tool::Counted(arguments, 1) }
    };
    vec![
        counted(
            "hash aggregate",
            "SELECT count(*) FROM (SELECT kind, count(*), sum(amount), max(id) FROM event GROUP BY kind) q;\n",
        ),
        // All rows are sorted, and only the last is sent.
        counted("sort", &format!("SELECT id, amount FROM event ORDER BY amount, id OFFSET {} LIMIT 1;\n", rows - 1)),
        counted(
            "JSON extraction",
            "SELECT count(*), sum((body -> 'user' ->> 'id')::bigint) FROM doc WHERE body ->> 'kind' = '42';\n",
        ),
    ]
}
