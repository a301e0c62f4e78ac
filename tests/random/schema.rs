//! A random schema with random rows, partly in segments.

use kalamdb_tests::compare::{Answer, Side};
use rand::RngExt;
use rand::rngs::StdRng;
use std::fmt::Write as _;

/// The types that are generated. Their values print the same on both servers, and none depends on an order of addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Int,
    Bigint,
    Numeric,
    Text,
    Bool,
    Date,
    Timestamp,
    IntArray,
    Jsonb,
}

/// All of them.
pub(crate) const KINDS: [Kind; 9] = [
    Kind::Int,
    Kind::Bigint,
    Kind::Numeric,
    Kind::Text,
    Kind::Bool,
    Kind::Date,
    Kind::Timestamp,
    Kind::IntArray,
    Kind::Jsonb,
];

impl Kind {
    /// Its name in SQL.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::Bigint => "bigint",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bool => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::IntArray => "integer[]",
            Self::Jsonb => "jsonb",
        }
    }

    /// A literal of it: small values, so that they meet each other.
    pub(crate) fn literal(self, random: &mut StdRng) -> String {
        match self {
            Self::Int => format!("({})", random.random_range(-5..20)),
            Self::Bigint => {
                let values = ["0", "1", "7", "(-3)", "5000000000", "9"];
                format!("{}::bigint", pick(random, &values))
            }
            Self::Numeric => {
                pick(random, &["0", "1.5", "(-2.25)", "10", "0.001", "100.01", "3"]).to_owned() + "::numeric"
            }
            Self::Text => {
                format!("'{}'::text", pick(random, &["", "a", "ab", "Abc", "b%", "x_y", "日", "zz", "12", "a b"]))
            }
            Self::Bool => pick(random, &["true", "false"]).to_owned(),
            Self::Date => format!("'2024-{:02}-{:02}'::date", random.random_range(1..13), random.random_range(1..28)),
            Self::Timestamp => format!(
                "'2024-{:02}-{:02} {:02}:30:00{}'::timestamp",
                random.random_range(1..13),
                random.random_range(1..28),
                random.random_range(0..24),
                pick(random, &["", ".5", ".123456"])
            ),
            Self::IntArray => pick(random, &["'{}'", "'{1}'", "'{1,2,NULL}'", "'{3,2,1}'"]).to_owned() + "::integer[]",
            Self::Jsonb => {
                pick(random, &["'{\"a\": 1}'", "'[1, 2, \"x\"]'", "'null'", "'{\"a\": {\"b\": [true]}}'", "'3.1'"])
                    .to_owned()
                    + "::jsonb"
            }
        }
    }
}

/// One of several.
pub(crate) fn pick<'a, T: ?Sized>(random: &mut StdRng, choices: &[&'a T]) -> &'a T {
    choices[random.random_range(0..choices.len())]
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<(String, Kind)>,
}

/// All tables.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<Table>,
}

impl Schema {
    /// Three to five tables of three to seven columns; the first column is the key.
    pub(crate) fn random(random: &mut StdRng) -> Self {
        let tables = (0..random.random_range(3..6)).map(|number| {
            let mut columns = vec![("id".to_owned(), if random.random_bool(0.7) { Kind::Int } else { Kind::Bigint })];
            for at in 0..random.random_range(2..7) {
                columns.push((format!("c{at}"), KINDS[random.random_range(0..KINDS.len())]));
            }
            Table { name: format!("t{number}"), columns }
        });
        Self { tables: tables.collect() }
    }

    /// Its tables, for whoever wants to see a query fail.
    pub(crate) fn shown(&self) -> String {
        let tables: Vec<String> = self.tables.iter().map(|table| table.definition() + ";\n").collect();
        tables.concat()
    }

    /// Makes it on both servers, with the same rows.
    pub(crate) fn create(&self, random: &mut StdRng, ours: &mut Side, theirs: &mut Side) {
        for table in &self.tables {
            for step in table.steps(random) {
                run(ours, &step);
                if !step.starts_with("STORAGE") {
                    run(theirs, &step);
                }
            }
        }
    }

    /// Makes it on KalamDB.
    pub(crate) fn create_alone(&self, random: &mut StdRng, side: &mut Side) {
        for table in &self.tables {
            for step in table.steps(random) {
                run(side, &step);
            }
        }
    }
}

fn run(side: &mut Side, sql: &str) {
    match side.ask(sql, None, None) {
        Answer::Error(..) | Answer::Gone(_) => panic!("{sql}: it is not there"),
        Answer::Rows { rows, .. } if sql.starts_with("STORAGE") => wait_for_job(side, &rows),
        _ => {}
    }
}

/// A flush is a job: it is done when `system.jobs` says so.
fn wait_for_job(side: &mut Side, rows: &[Vec<Option<String>>]) {
    let job = rows.first().and_then(|row| row.first().cloned().flatten()).expect("a flush answers with its job");
    for _ in 0..600 {
        let sql = format!("SELECT status FROM system.jobs WHERE job_id = '{job}'");
        if let Answer::Rows { rows, .. } = side.ask(&sql, None, None)
            && rows.iter().flatten().flatten().any(|status| status == "completed")
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the flush {job} did not end");
}

impl Table {
    fn definition(&self) -> String {
        let mut columns: Vec<String> =
            self.columns.iter().map(|(name, kind)| format!("{name} {}", kind.sql())).collect();
        columns[0].push_str(" PRIMARY KEY");
        format!("CREATE TABLE {} ({})", self.name, columns.join(", "))
    }

    fn steps(&self, random: &mut StdRng) -> Vec<String> {
        let mut steps = vec![self.definition()];
        let indexable: Vec<&(String, Kind)> =
            self.columns[1..].iter().filter(|(_, kind)| !matches!(kind, Kind::IntArray | Kind::Jsonb)).collect();
        if !indexable.is_empty() && random.random_bool(0.6) {
            let (name, _) = indexable[random.random_range(0..indexable.len())];
            let order = pick(random, &["", " DESC", " NULLS FIRST"]);
            steps.push(format!("CREATE INDEX ON {} ({name}{order})", self.name));
        }
        let rows = random.random_range(0..60);
        let half = rows / 2;
        steps.extend(self.insert(random, 0, half));
        if random.random_bool(0.7) {
            steps.push(format!("STORAGE FLUSH TABLE {}", self.name));
            let (name, kind) = &self.columns[1 + random.random_range(0..self.columns.len() - 1)];
            steps.push(format!("UPDATE {} SET {name} = {} WHERE id % 5 = 1", self.name, kind.literal(random)));
            steps.push(format!("DELETE FROM {} WHERE id % 7 = 3", self.name));
        }
        steps.extend(self.insert(random, half, rows));
        steps
    }

    fn insert(&self, random: &mut StdRng, from: i32, to: i32) -> Option<String> {
        if from == to {
            return None;
        }
        let mut sql = format!("INSERT INTO {} VALUES ", self.name);
        for id in from..to {
            let separator = if id == from { "" } else { ", " };
            write!(sql, "{separator}({id}").ok();
            for (_, kind) in &self.columns[1..] {
                let value = if random.random_bool(0.2) { "NULL".to_owned() } else { kind.literal(random) };
                write!(sql, ", {value}").ok();
            }
            sql.push(')');
        }
        Some(sql)
    }
}
