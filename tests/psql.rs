//! psql's inspecting commands on KalamDB and on PostgreSQL 15: `psql/objects.sql` makes the same objects on both,
//! `psql/commands.txt` says which commands must show the same, and which must only answer.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::psql::{done, program, said};
use kalamdb_tests::{Postgres, ROOT_PASSWORD, Server};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Stands before what each command shows.
const MARK: &str = "======== ";
/// The administrator's name on both servers is shown as this.
const ADMINISTRATOR: &str = "admin";

#[derive(Default)]
struct Commands {
    same: Vec<String>,
    answers: Vec<String>,
    differ: Vec<String>,
    /// Whether a known difference is an error.
    refused: Vec<bool>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("psql")
}

fn commands() -> Commands {
    let text = std::fs::read_to_string(folder().join("commands.txt")).expect("commands.txt");
    let mut commands = Commands::default();
    let mut section = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match section.as_str() {
            _ if !line.starts_with('\\') => line.clone_into(&mut section),
            "same" => commands.same.push(line.to_owned()),
            "answers" => commands.answers.push(line.to_owned()),
            _ => {
                let (command, reason) = line.split_once("    # ").expect("a difference has a reason");
                commands.differ.push(command.to_owned());
                commands.refused.push(reason.starts_with("refused"));
            }
        }
    }
    commands
}

/// What psql shows for each command.
fn shown(psql: &mut Command, commands: &[String]) -> BTreeMap<String, String> {
    let script: String = commands.iter().map(|command| format!("\\echo '{MARK}'\n{command}\n")).collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), script).expect("a script");
    // Errors stand where they occur: both outputs are one.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    psql.args(["-X", "-q", "-P", "pager=off", "-v", "VERBOSITY=terse", "-f"]).arg(file.path());
    psql.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
    let mut child = psql.spawn().expect("psql runs");
    // The command holds the pipe's writing end, which must close for the reader to see an end.
    psql.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let text = std::io::read_to_string(reader).expect("psql writes UTF-8");
    child.wait().expect("psql ends");
    let mark = format!("{MARK}\n");
    let parts = text.split(&mark).skip(1).map(str::to_owned);
    commands.iter().cloned().zip(parts).collect()
}

fn on_kalamdb(server: &Server) -> Command {
    program("psql", server, "root", ROOT_PASSWORD)
}

fn on_postgres(postgres: &Postgres) -> Command {
    let mut command = Command::new("psql");
    command.args(postgres.psql_args()).env("LC_ALL", "C.UTF-8");
    command
}

/// What differs between two servers and means the same: who made the objects, how large they are, where a script's
/// error stands.
fn masked(text: &str, administrator: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = match line.strip_prefix("psql:") {
            Some(error) => error.splitn(3, ':').nth(2).unwrap_or(error).trim_start().to_owned(),
            None => line.to_owned(),
        };
        // Columns are as wide as their longest value.
        let cells = line.split('|').map(|cell| {
            let cell = cell.trim();
            let is_size =
                cell.strip_suffix(" bytes").or(cell.strip_suffix(" kB")).is_some_and(|n| n.parse::<u64>().is_ok());
            match cell {
                _ if cell == administrator => ADMINISTRATOR,
                _ if is_size => "<size>",
                _ => cell,
            }
        });
        let line = cells.collect::<Vec<_>>().join(" | ");
        let is_rule = !line.is_empty() && line.chars().all(|letter| matches!(letter, '-' | '+'));
        if !is_rule {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// Headings and titles: the lines before the rule.
fn heading(text: &str) -> Vec<String> {
    let is_rule = |line: &&str| !line.is_empty() && line.chars().all(|letter| matches!(letter, '-' | '+'));
    let before = text.lines().take_while(|line| !is_rule(line));
    before.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join(" | ")).collect()
}

#[test]
fn inspecting_commands_show_what_they_show_on_postgresql() {
    let Some(postgres) = Postgres::start() else {
        println!("SKIPPED: psql's commands on PostgreSQL 15, which is not installed");
        return;
    };
    let server = Server::start();
    let objects = folder().join("objects.sql");
    for psql in [&mut on_postgres(&postgres), &mut on_kalamdb(&server)] {
        done(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&objects));
    }
    let commands = commands();
    let mut differences = Vec::new();
    let both = |commands: &[String]| {
        let ours = shown(&mut on_kalamdb(&server), commands);
        let theirs = shown(&mut on_postgres(&postgres), commands);
        assert_eq!((ours.len(), theirs.len()), (commands.len(), commands.len()), "each command is answered");
        (ours, theirs)
    };
    let is_same = |own: &str, other: &str| masked(own, "root") == masked(other, "postgres");
    let (ours, theirs) = both(&commands.same);
    for command in &commands.same {
        let (own, other) = (&ours[command], &theirs[command]);
        if !is_same(own, other) {
            let (own, other) = (masked(own, "root"), masked(other, "postgres"));
            differences.push(format!("{command}\n--- KalamDB\n{own}\n--- PostgreSQL\n{other}\n"));
        }
    }
    let (ours, theirs) = both(&commands.answers);
    for command in &commands.answers {
        let (own, other) = (&ours[command], &theirs[command]);
        if own.contains("ERROR") || heading(own) != heading(other) {
            let start: Vec<&str> = own.lines().take(12).collect();
            let other: Vec<&str> = other.lines().take(12).collect();
            differences.push(format!(
                "{command}\n--- KalamDB\n{}\n--- PostgreSQL\n{}\n",
                start.join("\n"),
                other.join("\n")
            ));
        }
    }
    let (ours, theirs) = both(&commands.differ);
    for (command, refused) in commands.differ.iter().zip(&commands.refused) {
        let (own, other) = (&ours[command], &theirs[command]);
        if own.contains("ERROR") != *refused {
            differences.push(format!("{command}\n--- KalamDB\n{own}\n"));
        }
        if is_same(own, other) {
            differences.push(format!("{command}: a difference that is gone leaves the list\n"));
        }
    }
    let count = commands.same.len() + commands.answers.len();
    println!(
        "psql: {} of {count} commands show the same, {} are known to differ",
        count.saturating_sub(differences.len()),
        commands.differ.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// PostgreSQL's dump of a database of KalamDB restored into PostgreSQL, and back, holds the same.
#[test]
fn a_dump_restores_into_postgresql_and_back() {
    let Some(postgres) = Postgres::start() else {
        println!("SKIPPED: pg_dump between KalamDB and PostgreSQL 15, which is not installed");
        return;
    };
    let (first, second) = (Server::start(), Server::start());
    done(on_kalamdb(&first).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(folder().join("objects.sql")));
    let restore = |psql: &mut Command, text: &str| {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("a dump");
        let output =
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file.path()).output().expect("psql runs");
        assert!(output.status.success(), "{}\n{text}", said(&output));
    };
    let options = ["--no-owner", "--no-privileges", "--no-tablespaces", "--inserts"];
    let own = done(program("pg_dump", &first, "root", ROOT_PASSWORD).args(options));
    restore(&mut on_postgres(&postgres), &own);
    let other = done(Command::new("pg_dump").args(postgres.psql_args()).args(options));
    restore(&mut on_kalamdb(&second), &other);
    let back = done(program("pg_dump", &second, "root", ROOT_PASSWORD).args(options));
    let without_comments = |dump: &str| -> Vec<String> {
        let is_statement = |line: &&str| !line.is_empty() && !line.starts_with("--") && !line.starts_with('\\');
        dump.lines().filter(is_statement).map(str::to_owned).collect()
    };
    assert_eq!(without_comments(&own), without_comments(&other), "KalamDB's dump, and PostgreSQL's of the same");
    assert_eq!(without_comments(&own), without_comments(&back), "and once more from KalamDB");
}

/// What psql asks while it completes words is answered.
#[test]
fn completion_asks_nothing_that_is_refused() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("SKIPPED: psql's completion, which needs a terminal that script makes");
        return;
    }
    let server = Server::start();
    done(on_kalamdb(&server).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(folder().join("objects.sql")));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let upstream = server.port();
    let watched = std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("psql connects");
        let server = TcpStream::connect(("127.0.0.1", upstream)).expect("the server answers");
        watch(&client, &server)
    });
    let keys = tempfile::NamedTempFile::new().expect("a temporary file");
    let settings = "set completion-query-items 0\nset page-completions off\nset show-all-if-ambiguous on\n";
    std::fs::write(keys.path(), settings).expect("settings of the keyboard");
    let mut command = program("script", &server, "root", ROOT_PASSWORD);
    command.args(["-qfec", "psql -X -q", "/dev/null"]).env("PGPORT", port.to_string()).env("PGSSLMODE", "disable");
    command.env("INPUTRC", keys.path()).env("TERM", "dumb").env("PSQL_HISTORY", "/dev/null").env("SHELL", "/bin/sh");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script runs");
    let (mut input, mut output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut seen = Vec::new();
    while !seen.ends_with(b"=# ") {
        let mut byte = [0];
        output.read_exact(&mut byte).expect("psql shows a prompt");
        seen.push(byte[0]);
    }
    let reader = std::thread::spawn(move || std::io::read_to_string(output));
    let text = std::fs::read_to_string(folder().join("completion.txt")).expect("completion.txt");
    for line in text.lines().filter(|line| !line.starts_with(['#', '!'])) {
        // TAB, then what empties the line.
        input.write_all(format!("{line}\t\x15").as_bytes()).expect("psql reads");
    }
    input.write_all(b"\\q\n").expect("psql reads");
    drop(input);
    child.wait().expect("psql ends");
    let screen = reader.join().expect("a thread").unwrap_or_default();
    let (asked, refused) = watched.join().expect("a thread");
    println!("psql: completion asked {asked} times");
    let known: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("! ")?.split("    # ").next()).collect();
    for words in &known {
        assert!(
            refused.iter().any(|query| query.contains(words)),
            "{words}: what is no longer refused leaves the list"
        );
    }
    let unknown: Vec<&str> =
        refused.iter().map(String::as_str).filter(|query| !known.iter().any(|words| query.contains(words))).collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    assert!(asked > 100, "completion asks the server\n{screen}");
    for name in ["customer_pkey", "part_number_in_range", "customer_id_seq", "feeling", "busy"] {
        assert!(screen.contains(name), "{name} is offered\n{screen}");
    }
}

/// Carries a connection over, and tells how many queries went and which were refused, with the answers.
fn watch(client: &TcpStream, server: &TcpStream) -> (usize, Vec<String>) {
    let (mut from_server, mut to_client) = (server, client);
    let query = Arc::new(Mutex::new(String::new()));
    let (mut asked, mut refused) = (0, Vec::new());
    std::thread::scope(|scope| {
        let last = Arc::clone(&query);
        scope.spawn(move || {
            let (mut from_client, mut to_server) = (client, server);
            let mut bytes = vec![0; 1 << 16];
            while let Ok(count) = from_client.read(&mut bytes)
                && count > 0
                && to_server.write_all(&bytes[..count]).is_ok()
            {
                *last.lock().expect("nobody panics") = String::from_utf8_lossy(&bytes[..count]).into_owned();
            }
            server.shutdown(Shutdown::Both).ok();
        });
        let mut head = [0; 5];
        while from_server.read_exact(&mut head).is_ok() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; usize::try_from(length).expect("a length").saturating_sub(4)];
            let came = from_server.read_exact(&mut body).is_ok();
            asked += usize::from(head[0] == b'Z');
            if head[0] == b'E' {
                let answer = String::from_utf8_lossy(&body).replace('\0', " ");
                refused.push(format!("{}\n  {answer}", query.lock().expect("nobody panics")));
            }
            if !came || to_client.write_all(&head).is_err() || to_client.write_all(&body).is_err() {
                break;
            }
        }
        client.shutdown(Shutdown::Both).ok();
    });
    (asked, refused)
}
