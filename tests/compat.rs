//! A small real application for each client: `compat/<client>/run` connects by the PG* environment, and fails loudly.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::psql::{program, said};
use kalamdb_tests::{ROOT_PASSWORD, Server, place};

/// What a client's `run` ends with when the machine has no such client.
const NOT_INSTALLED: i32 = 77;

fn application(client: &str) {
    let server = Server::start();
    let run = place::repository().join("compat").join(client).join("run");
    let mut command = program(&run.to_string_lossy(), &server, "root", ROOT_PASSWORD);
    command.env("PGSSLMODE", "disable");
    // The two Rust clients are built with the workspace, and stand beside the server.
    command.env("KALAMDB_BINARIES", place::server_binary().parent().expect("a folder"));
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", run.display()));
    if output.status.code() == Some(NOT_INSTALLED) {
        let required = std::env::var("KALAMDB_TEST_COMPAT").is_ok_and(|value| value == "required");
        assert!(!required, "{client} is not installed: {}", said(&output));
        println!("SKIPPED: {client} is not installed");
        return;
    }
    assert!(output.status.success(), "{client}:\n{}", said(&output));
}

#[test]
fn psycopg3() {
    application("psycopg3");
}

#[test]
fn asyncpg() {
    application("asyncpg");
}

#[test]
fn node_postgres() {
    application("node-postgres");
}

#[test]
fn jdbc() {
    application("jdbc");
}

#[test]
fn tokio_postgres() {
    application("tokio-postgres");
}

#[test]
fn sqlx() {
    application("sqlx");
}
