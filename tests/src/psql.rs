//! The real psql and pgbench, run to their end.

use crate::server::Server;
use std::process::{Command, Output};

/// A client program with everything it needs to log in to a server.
pub fn program(name: &str, server: &Server, user: &str, password: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.port().to_string())
        .env("PGUSER", user)
        .env("PGPASSWORD", password)
        .env("PGDATABASE", "kalamdb")
        .env("PGSSLMODE", "prefer")
        .env("PGCONNECT_TIMEOUT", "20")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Runs SQL through psql, unaligned and without headers: its output.
///
/// # Panics
/// When psql reports an error.
pub fn psql(server: &Server, user: &str, password: &str, sql: &str) -> String {
    let mut command = program("psql", server, user, password);
    done(command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]))
}

/// Runs a program that must succeed: its output.
///
/// # Panics
/// When it fails, with what it said.
pub fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything a program said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
