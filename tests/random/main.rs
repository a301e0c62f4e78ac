//! Random queries over a random schema: KalamDB answers them as PostgreSQL 15 does, and as it answers other queries
//! that must give the same rows.
//!
//! - **Differential**: the same query on both servers gives the same rows, in the same order where it asks for one.
//! - **TLP** (Rigger and Su, "Finding Bugs in Database Systems via Query Partitioning", 2020): a query's rows are those
//!   for which a predicate is true, those for which it is false and those for which it is null, together.
//! - **NoREC** (Rigger and Su, "Detecting Optimization Bugs in Database Engines via Non-optimizing Reference Engine
//!   Construction", 2020): a WHERE keeps as many rows as its condition is true for when it is a mere output column.
//!
//! Tables are partly in segments, partly hot, with rows that were changed and deleted after the flush. The seed is
//! printed; `KALAMDB_RANDOM_SEED` gives another (0: any), `KALAMDB_RANDOM_QUERIES` makes a run longer,
//! `KALAMDB_RANDOM_FIRST` skips those before the one to be looked at.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod generate;
mod schema;

use generate::Generator;
use kalamdb_tests::compare::{Answer, Side};
use kalamdb_tests::{Postgres, Server, budget};
use rand::SeedableRng;
use rand::rngs::StdRng;
use schema::Schema;
use std::collections::BTreeMap;

/// Queries of one run, when nothing else is said.
const QUERIES: u64 = 500;
/// Of a thousand queries so many may fail on both servers: more, and the generator makes nonsense.
const FAILING_PER_MILLE_MAX: u64 = 250;

/// The same queries each time, unless another seed is asked for: 0 takes one at random.
fn seed() -> u64 {
    match budget("KALAMDB_RANDOM_SEED", 8) {
        0 => rand::random::<u32>().into(),
        seed => seed,
    }
}

/// Errors of values: whether they occur depends on which rows an expression is evaluated for, which SQL leaves open.
/// And a query that takes too long on one of the servers tells nothing.
fn is_of_a_value(state: &str) -> bool {
    state.starts_with("22") || state == "57014"
}

/// Some queries multiply tables.
const LIMIT: &str = "SET statement_timeout = '5s'";

/// Rows without their order.
fn sorted(rows: &[Vec<Option<String>>]) -> Vec<Vec<Option<String>>> {
    let mut rows = rows.to_vec();
    rows.sort();
    rows
}

/// What is wrong with an answer, if anything is.
fn difference(ordered: bool, ours: &Answer, theirs: &Answer) -> Option<String> {
    let same = match (ours, theirs) {
        (Answer::Rows { columns, rows }, Answer::Rows { columns: other_columns, rows: other_rows }) => {
            let same_rows = if ordered { rows == other_rows } else { sorted(rows) == sorted(other_rows) };
            columns == other_columns && same_rows
        }
        (Answer::Error(own, _), Answer::Error(other, _)) => own == other || is_of_a_value(own) && is_of_a_value(other),
        (Answer::Error(state, _), Answer::Rows { .. }) | (Answer::Rows { .. }, Answer::Error(state, _)) => {
            is_of_a_value(state)
        }
        _ => false,
    };
    (!same).then(|| format!("KalamDB:    {}\nPostgreSQL: {}", ours.shown(), theirs.shown()))
}

#[test]
fn answers_are_those_of_postgresql() {
    let Some(postgres) = Postgres::start() else {
        println!("SKIPPED: random queries on PostgreSQL 15, which is not installed");
        return;
    };
    let server = Server::start();
    let seed = seed();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let schema = Schema::random(&mut random);
    let (mut ours, mut theirs) = (Side::kalamdb(&server), Side::postgres(&postgres));
    schema.create(&mut random, &mut ours, &mut theirs);
    ours.ask(LIMIT, None, None);
    theirs.ask(LIMIT, None, None);
    let queries = budget("KALAMDB_RANDOM_QUERIES", QUERIES);
    let first = budget("KALAMDB_RANDOM_FIRST", 0);
    let mut failing: BTreeMap<String, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for number in 0..queries {
        let query = Generator::new(&mut random, &schema).query();
        if number < first {
            continue;
        }
        let (own, other) = (ours.ask(&query.sql, None, None), theirs.ask(&query.sql, None, None));
        if let Some(difference) = difference(query.ordered, &own, &other) {
            wrong.push(format!("query {number} of seed {seed}:\n{}\n{difference}", query.sql));
            if wrong.len() >= 20 {
                break;
            }
        }
        if let Answer::Error(state, text) = other {
            *failing.entry(format!("{state} {text}")).or_default() += 1;
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}\n{}", wrong.len(), wrong.join("\n\n"), schema.shown());
    let failed: u64 = failing.values().sum();
    println!("{queries} queries answered equally, {failed} of them by an error");
    assert!(failed * 1000 <= queries * FAILING_PER_MILLE_MAX, "too much fails: {failing:#?}");
}

#[test]
fn partitions_of_a_query_are_the_query() {
    let server = Server::start();
    let seed = seed();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let schema = Schema::random(&mut random);
    let mut side = Side::kalamdb(&server);
    schema.create_alone(&mut random, &mut side);
    side.ask(LIMIT, None, None);
    let mut compared = 0;
    for number in 0..budget("KALAMDB_RANDOM_QUERIES", QUERIES) / 4 {
        let parts = Generator::new(&mut random, &schema).partitioned();
        let mut rows = |sql: &str| match side.ask(sql, None, None) {
            Answer::Rows { rows, .. } => Some(rows),
            Answer::Error(state, _) if is_of_a_value(&state) => None,
            other => panic!("query {number} of seed {seed}:\n{sql}\n{}", other.shown()),
        };
        let (Some(whole), Some(counted)) = (rows(&parts.whole), rows(&parts.counted)) else { continue };
        let found: Option<Vec<_>> = parts.thirds.iter().map(|third| rows(third)).collect();
        let Some(thirds) = found else { continue };
        let together: Vec<_> = thirds.concat();
        let report = || format!("query {number} of seed {seed}:\n{}\n{}", parts.whole, parts.thirds.join("\n"));
        assert_eq!(sorted(&whole), sorted(&together), "TLP: {}", report());
        let kept = thirds[0].len().to_string();
        assert_eq!(counted, [[Some(kept)]], "NoREC: {}\n{}", report(), parts.counted);
        compared += 1;
    }
    println!("{compared} queries are their partitions");
    assert!(compared > 0, "something was compared");
}
