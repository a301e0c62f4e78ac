//! The same work by KalamDB and by PostgreSQL 15 from Debian, both durable, in one run: ratios.
//!
//! The machine's own speed cancels out: rounds alternate between the two, and what is told is the ratio of the
//! medians. Everything is driven by pgbench and psql, so that the client is the same and costs the same. The large kinds
//! of work are measured twice: over hot rows, and over the same rows flushed to segments.
//!
//! `KALAMDB_BENCH_SECONDS` (5) is the length of one measurement, `KALAMDB_BENCH_ROUNDS` (5) how often both are
//! measured, `KALAMDB_BENCH_SCALE` (10) pgbench's scale, `KALAMDB_BENCH_ROWS` (10,000,000) the rows of the large table; 0
//! leaves the large kinds out. `KALAMDB_BENCH_ONLY` names the kinds to measure, by a part of their names.

mod work;

use kalamdb_tests::psql::{done, program};
use kalamdb_tests::{Postgres, ROOT_PASSWORD, Server, budget};
use std::process::Command;
use std::time::{Duration, Instant};
use work::{Tool, Work};

/// So long a flush of the large tables may take.
const FLUSH_MAX: Duration = Duration::from_secs(1800);
/// The large kinds of work take long: so many rounds.
const LARGE_ROUNDS: u64 = 3;

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

fn sql(target: &dyn Target, text: &str) -> String {
    done(target.client("psql").args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text]))
}

/// Tables for the small kinds of work.
fn prepare(target: &dyn Target, scale: u64) {
    done(target.client("pgbench").args(["-i", "-q", "-s", &scale.to_string()]));
    for statement in work::small_schema().split_inclusive(";\n") {
        sql(target, statement);
    }
}

/// Tables for the large kinds.
fn prepare_large(target: &dyn Target, rows: u64) {
    sql(target, work::LARGE_SCHEMA);
    work::large_rows(rows).iter().for_each(|statement| drop(sql(target, statement)));
}

/// Every row of the large tables goes to segments.
fn flush(kalamdb: &Server) {
    for table in ["event", "doc"] {
        sql(kalamdb, &format!("STORAGE FLUSH TABLE {table}"));
        let start = Instant::now();
        loop {
            let job =
                format!("SELECT status FROM system.jobs WHERE table_name = '{table}' ORDER BY created_at DESC LIMIT 1");
            match sql(kalamdb, &job).trim() {
                "completed" => break,
                status => assert!(status != "failed" && start.elapsed() < FLUSH_MAX, "the flush of {table}: {status}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// How often a second the work is done.
fn measure(target: &dyn Target, work: &Work, clients: u32, seconds: u64) -> f64 {
    let (arguments, length) = match &work.tool {
        Tool::Timed(arguments) => (arguments, ["-T".to_owned(), seconds.to_string()]),
        Tool::Counted(arguments, count) => (arguments, ["-t".to_owned(), count.to_string()]),
        Tool::Psql(file, count) => {
            let start = Instant::now();
            done(target.client("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"]).arg(file));
            return f64::from(*count) / start.elapsed().as_secs_f64();
        }
    };
    let mut command = target.client("pgbench");
    command.arg("-n").args(length).args(["-c", &clients.to_string()]);
    command.args(["-j", &clients.min(2).to_string()]).args(arguments);
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

/// Measures both in alternating rounds, and says how they compare.
fn compare(kalamdb: &Server, postgres: &Postgres, work: &Work, rounds: u64, seconds: u64) {
    for clients in work.clients {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // Who begins changes, so that a warm disk or a busy moment favours neither.
            let mut us = || ours.push(measure(kalamdb, work, *clients, seconds));
            let mut them = || theirs.push(measure(postgres, work, *clients, seconds));
            if round % 2 == 0 {
                us();
                them();
            } else {
                them();
                us();
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let name = &work.name;
        println!("{name:28} {clients:>7} {ours:>12.2} {theirs:>12.2} {:>7.2}", ours / theirs);
    }
}

fn main() {
    let (seconds, rounds) = (budget("KALAMDB_BENCH_SECONDS", 5), budget("KALAMDB_BENCH_ROUNDS", 5));
    let (scale, rows) = (budget("KALAMDB_BENCH_SCALE", 10), budget("KALAMDB_BENCH_ROWS", work::LARGE_ROWS));
    let only = std::env::var("KALAMDB_BENCH_ONLY").unwrap_or_default();
    let Some(postgres) = Postgres::start() else {
        eprintln!("PostgreSQL 15 is not installed: there is nothing to compare with");
        std::process::exit(1);
    };
    let kalamdb = Server::start();
    let scripts = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => panic!("a temporary folder: {error}"),
    };
    println!("profile dev (dependencies at opt-level 3, ours at 2 with assertions); fsync on for both");
    println!("scale {scale}, {rounds} alternating rounds of {seconds} s each; {rows} rows in the large table");
    println!("{:28} {:>7} {:>12} {:>12} {:>7}", "work", "clients", "KalamDB/s", "PostgreSQL/s", "ratio");
    let chosen = |works: Vec<Work>| works.into_iter().filter(|work| work.name.contains(&only)).collect::<Vec<_>>();
    let small = chosen(work::small(scripts.path(), scale));
    if !small.is_empty() {
        prepare(&kalamdb, scale);
        prepare(&postgres, scale);
    }
    small.iter().for_each(|work| compare(&kalamdb, &postgres, work, rounds, seconds));
    if rows == 0 {
        return;
    }
    let (hot, cold) = ("hot", "flushed");
    let large: Vec<(&str, Vec<Work>)> =
        [hot, cold].into_iter().map(|over| (over, chosen(work::large(scripts.path(), rows, over)))).collect();
    if large.iter().all(|(_, works)| works.is_empty()) {
        return;
    }
    prepare_large(&kalamdb, rows);
    prepare_large(&postgres, rows);
    sql(&postgres, "VACUUM ANALYZE");
    for (over, works) in large {
        if over == cold {
            flush(&kalamdb);
        }
        works.iter().for_each(|work| compare(&kalamdb, &postgres, work, rounds.min(LARGE_ROUNDS), seconds));
    }
}
