//! The same work by KalamDB and by PostgreSQL 15 from Debian, both durable, in one run: ratios.
//!
//! The machine's own speed cancels out: rounds alternate between the two, and what is told is the ratio of the
//! medians. Three kinds of work at 1 and 8 clients: a prepared point read, a durable insert of one row, TPC-B. All are
//! pgbench's, so that the client is the same and costs the same.
//!
//! `KALAMDB_BENCH_SECONDS` (5) is the length of one measurement, `KALAMDB_BENCH_ROUNDS` (5) how often both are
//! measured, `KALAMDB_BENCH_SCALE` (10) pgbench's scale.

use kalamdb_tests::psql::{done, program};
use kalamdb_tests::{Postgres, ROOT_PASSWORD, Server, budget};
use std::path::Path;
use std::process::Command;

const CLIENTS: &[u32] = &[1, 8];

/// One kind of work: pgbench's arguments.
struct Work {
    name: &'static str,
    arguments: Vec<String>,
}

fn works(scripts: &Path) -> Vec<Work> {
    let insert = scripts.join("insert.sql");
    std::fs::write(&insert, "INSERT INTO bench_insert (n, v) VALUES (1, 'a row of some forty characters of text');\n")
        .unwrap_or_else(|error| panic!("{}: {error}", insert.display()));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        Work { name: "point read, prepared", arguments: words(&["-b", "select-only"]) },
        Work { name: "single-row insert", arguments: words(&["-f", &insert.to_string_lossy()]) },
        Work { name: "TPC-B", arguments: words(&["-b", "tpcb-like"]) },
    ]
}

/// Something that pgbench can be pointed at.
trait Target {
    fn client(&self, program: &str) -> Command;
}

impl Target for Server {
    fn client(&self, name: &str) -> Command {
        let mut command = program(name, self, "root", ROOT_PASSWORD);
        command.env("PGSSLMODE", "disable");
        command
    }
}

impl Target for Postgres {
    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        let address = self.address();
        command.env("PGHOST", address.ip().to_string()).env("PGPORT", address.port().to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        command
    }
}

/// Tables for all kinds of work. `id` makes a key without a sequence on both.
fn prepare(target: &dyn Target, scale: u64) {
    done(target.client("pgbench").args(["-i", "-q", "-s", &scale.to_string()]));
    let sql = "CREATE TABLE bench_insert (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n integer, v text)";
    done(target.client("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]));
}

/// Transactions a second.
fn measure(target: &dyn Target, work: &Work, clients: u32, seconds: u64) -> f64 {
    let mut command = target.client("pgbench");
    command.args(["-n", "-M", "prepared", "-T", &seconds.to_string(), "-c", &clients.to_string()]);
    command.args(["-j", &clients.min(2).to_string()]).args(&work.arguments);
    let said = done(&mut command);
    assert!(said.contains("number of failed transactions: 0"), "{said}");
    let line = said.lines().find(|line| line.starts_with("tps = ")).unwrap_or_else(|| panic!("no figure in\n{said}"));
    let figure = line.trim_start_matches("tps = ").split_whitespace().next().and_then(|text| text.parse().ok());
    figure.unwrap_or_else(|| panic!("no figure in {line}"))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let (seconds, rounds) = (budget("KALAMDB_BENCH_SECONDS", 5), budget("KALAMDB_BENCH_ROUNDS", 5));
    let scale = budget("KALAMDB_BENCH_SCALE", 10);
    let Some(postgres) = Postgres::start() else {
        eprintln!("PostgreSQL 15 is not installed: there is nothing to compare with");
        std::process::exit(1);
    };
    let kalamdb = Server::start();
    let scripts = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => panic!("a temporary folder: {error}"),
    };
    prepare(&kalamdb, scale);
    prepare(&postgres, scale);
    println!("profile dev (dependencies at opt-level 3, ours at 2 with assertions); fsync on for both");
    println!("scale {scale}, {rounds} alternating rounds of {seconds} s each");
    println!("{:22} {:>7} {:>12} {:>12} {:>7}", "work", "clients", "KalamDB/s", "PostgreSQL/s", "ratio");
    for work in works(scripts.path()) {
        for clients in CLIENTS {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for round in 0..rounds {
                // Who begins changes, so that a warm disk or a busy moment favours neither.
                let mut us = || ours.push(measure(&kalamdb, &work, *clients, seconds));
                let mut them = || theirs.push(measure(&postgres, &work, *clients, seconds));
                if round % 2 == 0 {
                    us();
                    them();
                } else {
                    them();
                    us();
                }
            }
            let (ours, theirs) = (median(ours), median(theirs));
            println!("{:22} {clients:>7} {ours:>12.0} {theirs:>12.0} {:>7.2}", work.name, ours / theirs);
        }
    }
}
