//! Plays: several sessions in one script, with the expected answers. `postgres/` is played on PostgreSQL 15 too.
//!
//! ```text
//! # A sentence why.
//! login alice secret               a session of its own user; others are root's (PostgreSQL: postgres')
//! c1:> UPDATE t SET n = 1          one string, sent by session c1, which is opened when it first speaks
//! c2:> UPDATE t SET n = 2 (waits)  no answer comes while the others are silent
//! c2: UPDATE 1                     the answer that was waited for; `c2:` alone for any success
//! c2! inbox {"op":"ready"}         a notification; JSON is compared as JSON, "*" stands for any value
//! ```
//! Lines below a command are its answer: rows with ` | ` between columns and NULL as `NULL`, `(no rows)`, `UPDATE 1`,
//! or `ERROR <SQLSTATE>`, with a wildcard `*`. A command without lines must succeed, whatever it says. Each play has a
//! namespace of its own, which is every session's search path.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::{Postgres, ROOT_PASSWORD, Server, Session};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Error, SimpleQueryMessage};

/// How long silence must last to count as waiting. It can only make a wrong play pass, never a right one fail.
const SILENCE: Duration = Duration::from_millis(300);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum Line {
    Login { user: String, password: String },
    Say { who: String, sql: String, waits: bool, expected: Vec<String> },
    Answer { who: String, expected: Vec<String> },
    Notified { who: String, channel: String, payload: String },
}

struct Stage {
    address: SocketAddr,
    user: String,
    password: String,
    database: String,
    namespace: String,
    passwords: HashMap<String, String>,
    actors: HashMap<String, Actor>,
}

struct Actor {
    session: Session,
    waiting: Option<JoinHandle<Result<Vec<SimpleQueryMessage>, Error>>>,
}

fn parse(text: &str) -> Result<Vec<(usize, Line)>, String> {
    let mut lines: Vec<(usize, Line)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("login ") {
            let (user, password) = rest.split_once(' ').ok_or(format!("line {number}: login USER PASSWORD"))?;
            lines.push((number, Line::Login { user: user.into(), password: password.into() }));
        } else if let Some((who, sql)) = line.split_once(":> ").filter(|(who, _)| is_name(who)) {
            let trimmed = sql.trim_end();
            let (sql, waits) = trimmed.strip_suffix("(waits)").map_or((trimmed, false), |sql| (sql.trim_end(), true));
            lines.push((number, Line::Say { who: who.into(), sql: sql.into(), waits, expected: Vec::new() }));
        } else if let Some((who, answer)) = line.split_once(": ").filter(|(who, _)| is_name(who)) {
            lines.push((number, Line::Answer { who: who.into(), expected: vec![answer.into()] }));
        } else if let Some(who) = line.strip_suffix(':').filter(|who| is_name(who)) {
            lines.push((number, Line::Answer { who: who.into(), expected: Vec::new() }));
        } else if let Some((who, rest)) = line.split_once("! ").filter(|(who, _)| is_name(who)) {
            let (channel, payload) = rest.split_once(' ').unwrap_or((rest, ""));
            let (channel, payload) = (channel.into(), payload.into());
            lines.push((number, Line::Notified { who: who.into(), channel, payload }));
        } else {
            match lines.last_mut() {
                Some((_, Line::Say { expected, .. } | Line::Answer { expected, .. })) => expected.push(line.into()),
                _ => return Err(format!("line {number}: no command stands before it")),
            }
        }
    }
    Ok(lines)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_')
}

impl Stage {
    async fn actor(&mut self, who: &str) -> Result<&mut Actor, String> {
        if !self.actors.contains_key(who) {
            let own = self.passwords.get(who).map(|password| (who.to_owned(), password.clone()));
            let (user, password) = own.unwrap_or_else(|| (self.user.clone(), self.password.clone()));
            let session = Session::connect(self.address, &user, &password, &self.database).await;
            let session = session.map_err(|error| shown_error(&error))?;
            session.run(&format!("SET search_path TO {}", self.namespace)).await;
            self.actors.insert(who.to_owned(), Actor { session, waiting: None });
        }
        self.actors.get_mut(who).ok_or_else(|| format!("{who} is not on stage"))
    }

    async fn play(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Login { user, password } => {
                self.passwords.insert(user, password);
                Ok(())
            }
            Line::Say { who, sql, waits, expected } => {
                let actor = self.actor(&who).await?;
                if actor.waiting.is_some() {
                    return Err(format!("{who} is still waiting"));
                }
                let client = actor.session.client.clone();
                actor.waiting = Some(tokio::spawn(async move { client.simple_query(&sql).await }));
                if waits { actor.must_wait().await } else { actor.must_answer(&expected).await }
            }
            Line::Answer { who, expected } => self.actor(&who).await?.must_answer(&expected).await,
            Line::Notified { who, channel, payload } => {
                let next = self.actor(&who).await?.session.try_notification(ANSWER_MAX).await;
                let Some((found_channel, found)) = next else { return Err(format!("{who} was not notified")) };
                if found_channel == channel && is_payload(&payload, &found) {
                    return Ok(());
                }
                Err(format!("expected {who}! {channel} {payload}\n   found {who}! {found_channel} {found}"))
            }
        }
    }
}

impl Actor {
    async fn must_wait(&mut self) -> Result<(), String> {
        tokio::time::sleep(SILENCE).await;
        match &self.waiting {
            Some(task) if !task.is_finished() => Ok(()),
            _ => Err("it was to wait, and did not".to_owned()),
        }
    }

    async fn must_answer(&mut self, expected: &[String]) -> Result<(), String> {
        let task = self.waiting.take().ok_or("nothing was asked")?;
        let answer = tokio::time::timeout(ANSWER_MAX, task).await.map_err(|_| "no answer came")?;
        let answer = answer.map_err(|error| error.to_string())?;
        let failed = answer.is_err();
        let found = answer.map_or_else(|error| vec![shown_error(&error)], |messages| shown(&messages));
        let agrees = found.len() == expected.len()
            && expected.iter().zip(&found).all(|(pattern, line)| is_like(pattern.trim_end(), line.trim_end()));
        match () {
            () if expected.is_empty() && !failed => Ok(()),
            () if agrees => Ok(()),
            () => Err(format!("expected\n{}\n   found\n{}", expected.join("\n"), found.join("\n"))),
        }
    }
}

fn shown_error(error: &Error) -> String {
    match error.as_db_error() {
        Some(it) => format!("ERROR {} {}", it.code().code(), it.message()),
        None => format!("ERROR {error}"),
    }
}

/// Rows; without any, how many the last statement touched.
fn shown(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let mut rows = Vec::new();
    let mut last = "(no rows)".to_owned();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
                rows.push(cells.join(" | "));
            }
            SimpleQueryMessage::CommandComplete(count) => last = format!("{count} rows"),
            _ => {}
        }
    }
    let is_query = messages.iter().any(|message| matches!(message, SimpleQueryMessage::RowDescription(_)));
    match (rows.is_empty(), is_query) {
        (false, _) => rows,
        (true, true) => vec!["(no rows)".to_owned()],
        (true, false) => vec![last],
    }
}

/// `*` stands for any characters. `ERROR 23505` is like every error of that state; `UPDATE 1` like `1 rows`, since the
/// client tells the count only.
fn is_like(pattern: &str, line: &str) -> bool {
    let words: Vec<&str> = pattern.split(' ').collect();
    match words.as_slice() {
        ["ERROR", state] => line.strip_prefix("ERROR ").is_some_and(|rest| rest.split(' ').next() == Some(state)),
        ["INSERT" | "UPDATE" | "DELETE" | "SELECT", count] => line == format!("{count} rows"),
        _ => wildcard(pattern, line),
    }
}

fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && wildcard(after, &rest[at..]))),
    }
}

fn is_payload(expected: &str, found: &str) -> bool {
    match (serde_json::from_str(expected), serde_json::from_str(found)) {
        (Ok(expected), Ok(found)) => is_json(&expected, &found),
        _ => wildcard(expected, found),
    }
}

fn is_json(expected: &serde_json::Value, found: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object, String};
    match (expected, found) {
        (String(any), _) if any == "*" => true,
        (Object(expected), Object(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| is_json(value, found)))
        }
        (Array(expected), Array(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| is_json(expected, found))
        }
        _ => expected == found,
    }
}

async fn perform(path: &Path, mut stage: Stage) -> Result<(), String> {
    let setup = Session::connect(stage.address, &stage.user, &stage.password, &stage.database).await;
    let setup = setup.map_err(|error| shown_error(&error))?;
    let namespace = &stage.namespace;
    setup.run(&format!("DROP SCHEMA IF EXISTS {namespace} CASCADE; CREATE SCHEMA {namespace}")).await;
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    for (number, line) in parse(&text)? {
        let said = format!("{line:?}");
        stage.play(line).await.map_err(|failure| format!("{}:{number}: {said}\n   {failure}", path.display()))?;
    }
    Ok(())
}

fn plays(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plays").join(folder);
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "play"));
    found.sort();
    found
}

async fn perform_all(paths: &[PathBuf], address: SocketAddr, user: &str, password: &str, database: &str) {
    let mut failures = Vec::new();
    for path in paths {
        let stage = Stage {
            address,
            user: user.to_owned(),
            password: password.to_owned(),
            database: database.to_owned(),
            namespace: format!("play_{}", path.file_stem().expect("a name").to_string_lossy()),
            passwords: HashMap::new(),
            actors: HashMap::new(),
        };
        if let Err(failure) = perform(path, stage).await {
            failures.push(failure);
        }
    }
    println!("{} plays, {} fail", paths.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kalamdb() {
    let server = Server::start();
    let paths = [plays("postgres"), plays("dialect")].concat();
    perform_all(&paths, server.address(), "root", ROOT_PASSWORD, "kalamdb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let Some(postgres) = Postgres::start() else {
        println!("SKIPPED: plays on PostgreSQL 15, which is not installed");
        return;
    };
    perform_all(&plays("postgres"), postgres.address(), "postgres", "", "postgres").await;
}
