//! sqllogictest files over a socket. `postgres/` runs on KalamDB and on PostgreSQL 15 with the same expectations;
//! the other folders are KalamDB's own.
//!
//! `UPDATE_EXPECT=1` writes the expectations of `postgres/` from what PostgreSQL answers, and those of the others from
//! what KalamDB answers. Each file has a namespace of its own. Every value is text, as PostgreSQL prints it; NULL is
//! `NULL`, an empty text `(empty)`. A record that is skipped counts as missing.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::{Postgres, Server, Session, connect, updates_expectations};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Record, Runner};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio_postgres::SimpleQueryMessage;

/// The least numbers.
const RECORDS_MIN: usize = 300;
const RECORDS_ON_BOTH_MIN: usize = 200;

/// Where a file runs.
#[derive(Clone)]
struct Target {
    name: &'static str,
    address: SocketAddr,
    user: &'static str,
    password: &'static str,
    database: &'static str,
    /// What each session sets first.
    setting: &'static str,
}

struct Connection {
    session: Session,
    name: &'static str,
}

#[derive(Debug)]
struct Failure(tokio_postgres::Error);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&connect::described(&self.0))
    }
}

impl std::error::Error for Failure {}

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let messages = self.session.client.simple_query(sql).await.map_err(Failure)?;
        let columns = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::RowDescription(columns) => Some(columns.len()),
            _ => None,
        });
        let Some(columns) = columns else {
            let count = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::CommandComplete(count) => Some(*count),
                _ => None,
            });
            return Ok(DBOutput::StatementComplete(count.unwrap_or(0)));
        };
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| cell(row.get(at))).collect()),
            _ => None,
        });
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text; columns], rows: rows.collect() })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        self.name
    }

    fn error_sql_state(error: &Failure) -> Option<String> {
        error.0.code().map(|state| state.code().to_owned())
    }
}

fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.to_owned(),
    }
}

/// The `.slt` files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "slt") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Statements and queries of a file; each condition takes one away.
fn count(path: &Path) -> usize {
    let records = sqllogictest::parse_file::<DefaultColumnType>(path).expect("a sqllogictest file");
    let is_counted = |record: &Record<DefaultColumnType>| match record {
        Record::Statement { conditions, .. } | Record::Query { conditions, .. } => conditions.is_empty(),
        _ => false,
    };
    records.iter().filter(|record| is_counted(record)).count()
}

async fn run(path: &Path, target: &Target) -> Result<(), String> {
    let namespace = format!("slt_{}", path.file_stem().expect("a file's name").to_string_lossy().replace('-', "_"));
    let setup = Session::connect(target.address, target.user, target.password, target.database).await;
    let setup = setup.map_err(|error| connect::described(&error))?;
    setup.run(&format!("DROP SCHEMA IF EXISTS {namespace} CASCADE; CREATE SCHEMA {namespace}")).await;
    let mut runner = Runner::new(|| {
        let (target, namespace) = (target.clone(), namespace.clone());
        async move {
            let session = Session::connect(target.address, target.user, target.password, target.database).await;
            let session = session.map_err(Failure)?;
            session
                .client
                .batch_execute(&format!("SET search_path TO {namespace}; {}", target.setting))
                .await
                .map_err(Failure)?;
            Ok(Connection { session, name: target.name })
        }
    });
    runner.add_label(target.name);
    let is_postgres_file = path.components().any(|part| part.as_os_str() == "postgres");
    if updates_expectations() && is_postgres_file == (target.name == "postgres") {
        let same = sqllogictest::default_column_validator::<DefaultColumnType>;
        let (validator, normalizer) = (sqllogictest::default_validator, sqllogictest::default_normalizer);
        let updated = runner.update_test_file(path, " ", validator, normalizer, same).await;
        return updated.map_err(|error| error.to_string());
    }
    runner.run_file_async(path).await.map_err(|error| error.to_string())
}

async fn run_all(files: &[PathBuf], target: &Target) -> Vec<String> {
    let mut failures = Vec::new();
    for path in files {
        if let Err(failure) = run(path, target).await {
            failures.push(format!("{} on {}:\n{failure}", path.display(), target.name));
        }
    }
    failures
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kalamdb() {
    let server = Server::start();
    let target = Target {
        name: "kalamdb",
        address: server.address(),
        user: "root",
        password: kalamdb_tests::ROOT_PASSWORD,
        database: "kalamdb",
        setting: "",
    };
    let all = files(&folder());
    let failures = run_all(&all, &target).await;
    let records: usize = all.iter().map(|path| count(path)).sum();
    println!("sqllogictest on KalamDB: {records} records in {} files, {} files fail", all.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(records >= RECORDS_MIN, "{records} records, and {RECORDS_MIN} are wanted");
    if updates_expectations() {
        return;
    }
    // The planner alone answers as it does together with the fast path.
    let server = Server::start();
    let planned = Target { address: server.address(), setting: "SET kalam.fast_path = off", ..target };
    let failures = run_all(&all, &planned).await;
    assert!(failures.is_empty(), "without the fast path: {}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let both = files(&folder().join("postgres"));
    let records: usize = both.iter().map(|path| count(path)).sum();
    let Some(postgres) = Postgres::start() else {
        println!("SKIPPED: sqllogictest on PostgreSQL 15, which is not installed");
        return;
    };
    let target = Target {
        name: "postgres",
        address: postgres.address(),
        user: "postgres",
        password: "",
        database: "postgres",
        setting: "",
    };
    let failures = run_all(&both, &target).await;
    println!("sqllogictest on PostgreSQL 15: {records} records in {} files", both.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(records >= RECORDS_ON_BOTH_MIN, "{records} records, and {RECORDS_ON_BOTH_MIN} are wanted");
}
