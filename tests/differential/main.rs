//! Every function, operator and cast that KalamDB's catalog claims, called with the same values on KalamDB and on
//! PostgreSQL 15: values as text and in binary, types, SQLSTATEs and messages are the same, but for the differences
//! that are known.
//!
//! A claim is prepared once on both servers and gets rows of arguments, all in one round trip; each row is a transaction
//! of its own. Which differences are known: [`known`]. `UPDATE_EXPECT=1` writes the list of those to mend anew;
//! `KALAMDB_DIFFERENTIAL=substr` tries the claims whose name begins so, and tells the known differences too;
//! `KALAMDB_SEED` draws other values.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod claims;
mod compare;
mod draw;
mod forms;
mod known;
mod pipe;
mod values;

use claims::Claim;
use compare::Kind;
use kalamdb_tests::{Postgres, Server, budget, updates_expectations};
use known::Known;
use pipe::{Pipe, Whom};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many claims must be there to be tried.
const CLAIMS_MIN: usize = 1200;
/// How many connections to each server are at work.
const WORKERS: usize = 2;

/// What takes longer is told.
const SLOW: Duration = Duration::from_secs(2);

/// A difference that was found.
struct Difference {
    example: String,
    ours: String,
    theirs: String,
    /// How many rows show it.
    rows: usize,
}

type Differences = BTreeMap<(String, Kind), Difference>;

/// One pair of connections.
struct Pair<'a> {
    ours: Pipe<'a>,
    theirs: Pipe<'a>,
}

impl<'a> Pair<'a> {
    fn open(server: &'a Server, postgres: &'a Postgres) -> Self {
        Self { ours: Pipe::open(Whom::KalamDb(server)), theirs: Pipe::open(Whom::PostgreSql(postgres)) }
    }

    /// Tries rows of arguments: the number of answers that were compared.
    fn compare(&mut self, claim: &Claim, rows: &[draw::Row], found: &mut Differences) -> usize {
        let mut tell = |kind: Kind, row: &draw::Row, ours: String, theirs: String| {
            let example = || draw::written(claim, row);
            let difference = found.entry((claim.name.clone(), kind));
            difference.or_insert_with(|| Difference { example: example(), ours, theirs, rows: 0 }).rows += 1;
        };
        let types: Vec<u32> = claim.parameters.iter().map(|parameter| parameter.oid).collect();
        let statement = claim.statement();
        let (ours, theirs) = (self.ours.prepare(&statement, &types), self.theirs.prepare(&statement, &types));
        let differs = compare::prepared(&ours, &theirs);
        if let (Some(kind), Some(row)) = (differs, rows.last()) {
            tell(kind, row, format!("{ours:?}"), format!("{theirs:?}"));
        }
        let count = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours.len() == theirs.len() => self.compare_rows(rows, ours.len(), &mut tell),
            _ => 1,
        };
        self.ours.forget();
        self.theirs.forget();
        count
    }

    fn compare_rows(
        &mut self,
        rows: &[draw::Row],
        columns: usize,
        tell: &mut impl FnMut(Kind, &draw::Row, String, String),
    ) -> usize {
        let bound: Vec<Vec<pipe::Value>> = rows.iter().map(draw::bound).collect();
        self.ours.send_rows(&bound, columns);
        self.theirs.send_rows(&bound, columns);
        let (ours, theirs) = (self.ours.answers(rows.len()), self.theirs.answers(rows.len()));
        for ((row, ours), theirs) in rows.iter().zip(&ours).zip(&theirs) {
            if let Some(kind) = compare::answered(ours, theirs) {
                let binary = kind == Kind::Binary;
                tell(kind, row, ours.shown(binary), theirs.shown(binary));
            }
        }
        rows.len()
    }

    /// Whether a statement without parameters still differs in this way.
    fn still(&mut self, known: &Known) -> bool {
        let tail = format!(" FROM ({}) q", known.example);
        let claim = Claim { name: String::new(), list: "q.*".to_owned(), tail, parameters: Vec::new(), brief: false };
        let mut found = Differences::new();
        self.compare(&claim, &[Vec::new()], &mut found);
        found.keys().any(|(_, kind)| *kind == known.kind)
    }
}

#[test]
fn answers_are_postgresqls() {
    let Some(postgres) = Postgres::start() else {
        println!("SKIPPED: comparison with PostgreSQL 15, which is not installed");
        return;
    };
    let made = Command::new("psql").args(postgres.psql_args()).args(["-X", "-c", pipe::DATABASE_MADE]).output();
    assert!(made.is_ok_and(|made| made.status.success()), "PostgreSQL makes a database");
    let server = Server::start();
    let seed = budget("KALAMDB_SEED", 1);
    let chosen = std::env::var("KALAMDB_DIFFERENTIAL").ok();
    let mut pair = Pair::open(&server, &postgres);
    let mut claims = claims::all(&mut pair.ours, &mut pair.theirs);
    assert!(claims.len() >= CLAIMS_MIN, "{} claims, and {CLAIMS_MIN} are wanted", claims.len());
    claims.retain(|claim| chosen.as_ref().is_none_or(|chosen| claim.name.starts_with(chosen.as_str())));

    let (next, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let found = Mutex::new(Differences::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut pair = Pair::open(&server, &postgres);
                let mut own = Differences::new();
                while let Some(claim) = claims.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let count = pair.compare(claim, &draw::rows(claim, seed), &mut own);
                    asked.fetch_add(count, Ordering::Relaxed);
                    if start.elapsed() > SLOW {
                        println!("{} took {} ms", claim.name, start.elapsed().as_millis());
                    }
                }
                found.lock().expect("no thread panicked").extend(own);
            });
        }
    });
    let found = found.into_inner().expect("no thread panicked");
    println!(
        "seed {seed}: {} claims, {} answers compared, {} differences",
        claims.len(),
        asked.into_inner(),
        found.len()
    );

    let (reasoned, open) = (known::reasoned(), known::open());
    if updates_expectations() {
        assert!(chosen.is_none(), "the list is written from all claims");
        let is_reasoned = |claim: &str, kind| reasoned.iter().any(|known| known.covers(claim, kind));
        let news = found.iter().filter(|((claim, kind), _)| *kind != Kind::Lost && !is_reasoned(claim, *kind));
        known::write_open(
            news.map(|((claim, kind), difference)| Known {
                claim: claim.clone(),
                kind: *kind,
                example: difference.example.clone(),
            })
            .collect(),
        );
        return;
    }
    let mut told = String::new();
    for ((claim, kind), difference) in &found {
        let is_known = reasoned.iter().chain(&open).any(|known| known.covers(claim, *kind));
        if !is_known || chosen.is_some() {
            told.push_str(&format!(
                "{claim}, {} ({} rows){}\n  {}\n  KalamDB     {}\n  PostgreSQL  {}\n",
                kind.name(),
                difference.rows,
                if is_known { ", known" } else { "" },
                difference.example,
                difference.ours,
                difference.theirs,
            ));
        }
    }
    if chosen.is_none() {
        for known in reasoned.iter().chain(&open) {
            let met = found.keys().any(|(claim, kind)| known.covers(claim, *kind));
            if !met && !pair.still(known) {
                told.push_str(&format!(
                    "{}, {}: no difference any more\n  {}\n",
                    known.claim,
                    known.kind.name(),
                    known.example
                ));
            }
        }
    }
    assert!(told.is_empty(), "differences from PostgreSQL:\n{told}");
}
