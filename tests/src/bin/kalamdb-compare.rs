//! Runs psql scripts on KalamDB and on PostgreSQL 15, statement by statement, and tells how many answers are equal.
//!
//!   kalamdb-compare [--set name=value]… [--report FILE] SCRIPT…
//!
//! The scripts run one after the other on the same two servers, each in sessions of its own. The report holds every
//! difference; standard output has one line for each script and the sums.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a tool of the tests: it stops at what it did not expect")]

use kalamdb_tests::compare::{Pair, Verdict};
use kalamdb_tests::script::{Piece, pieces};
use kalamdb_tests::{Postgres, Server};
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

fn main() {
    let mut variables = HashMap::new();
    let mut report: Box<dyn std::io::Write> = Box::new(std::io::sink());
    let mut scripts = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--set" => {
                let pair = arguments.next().expect("--set name=value");
                let (name, value) = pair.split_once('=').expect("--set name=value");
                variables.insert(name.to_owned(), value.to_owned());
            }
            "--report" => {
                let path = arguments.next().expect("--report FILE");
                report = Box::new(std::io::BufWriter::new(std::fs::File::create(path).expect("a report")));
            }
            _ => scripts.push(argument),
        }
    }
    let server = Server::start();
    let postgres = Postgres::start().expect("PostgreSQL 15 is installed");
    let mut sums: BTreeMap<Verdict, usize> = BTreeMap::new();
    for path in &scripts {
        let counts = script(Path::new(path), &variables, &server, &postgres, &mut report);
        println!("{}", line(Path::new(path).file_name().unwrap_or_default().to_string_lossy().as_ref(), &counts));
        for (verdict, count) in counts {
            *sums.entry(verdict).or_default() += count;
        }
    }
    println!("{}", line("all", &sums));
    report.flush().expect("the report is written");
}

fn line(name: &str, counts: &BTreeMap<Verdict, usize>) -> String {
    let all: usize = counts.values().sum();
    let same = counts.get(&Verdict::Same).copied().unwrap_or(0);
    let others: Vec<String> = counts
        .iter()
        .filter(|(verdict, _)| **verdict != Verdict::Same)
        .map(|(verdict, count)| format!("{verdict:?} {count}"))
        .collect();
    let percent = same * 1000 / all.max(1);
    format!("{name:<28} {same:>6} of {all:>6} equal ({}.{} %)  {}", percent / 10, percent % 10, others.join(", "))
}

/// Plans are each server's own.
fn applies(piece: &Piece) -> bool {
    !piece.sql.trim_start().to_ascii_lowercase().starts_with("explain")
}

fn script(
    path: &Path,
    variables: &HashMap<String, String>,
    server: &Server,
    postgres: &Postgres,
    report: &mut dyn std::io::Write,
) -> BTreeMap<Verdict, usize> {
    let text = String::from_utf8_lossy(&std::fs::read(path).expect("a script")).into_owned();
    let mut pair = Pair::connect(server, postgres);
    let mut counts = BTreeMap::new();
    for mut piece in pieces(&text, &mut variables.clone()).into_iter().filter(applies) {
        from_file(&mut piece);
        if piece.sql.contains("16") || piece.heading.contains("16") {
            pair.renumber();
        }
        let outcome = pair.ask(&piece);
        *counts.entry(outcome.verdict).or_default() += 1;
        if outcome.verdict != Verdict::Same {
            writeln!(
                report,
                "## {}:{} {:?}\n{}\n  KalamDB:    {}\n  PostgreSQL: {}\n",
                path.file_name().unwrap_or_default().to_string_lossy(),
                piece.line,
                outcome.verdict,
                piece.sql,
                outcome.ours.shown(),
                outcome.theirs.shown()
            )
            .expect("the report is written");
        }
    }
    counts
}

/// COPY from a file of the server becomes COPY from the client: the file may be where only one of them can read it.
fn from_file(piece: &mut Piece) {
    let lower = piece.sql.to_ascii_lowercase();
    if !lower.starts_with("copy") {
        return;
    }
    let Some(at) = lower.find("from '") else { return };
    let name = &piece.sql[at + 6..];
    let Some((name, options)) = name.split_once('\'') else { return };
    if let Ok(data) = std::fs::read(name) {
        piece.data = Some(String::from_utf8_lossy(&data).into_owned());
        piece.sql = format!("{}from stdin{options}", &piece.sql[..at]);
    }
}
