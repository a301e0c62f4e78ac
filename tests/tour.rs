//! README's tour, word for word, through the real psql on pseudo-terminals.
//!
//! The fenced blocks of README.md say what they are:
//!
//! ````text
//! ```psql alice          typed into alice's psql, which is opened by the command that README tells for her
//! ```text                what that psql must have shown since: every line, in order
//! ```sh alice live       typed into the shell of a terminal called "live"
//! ```text live           what terminal "live" must show in the end; a row's position may stand before a line
//! ````
//!
//! Two things differ from a reader's machine: the server was started by this test instead of `make run` (in the
//! folder that the commands are typed in, with `./data`), and its port is a free one.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::{Server, ServerOptions, place};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const SHOWN_MAX: Duration = Duration::from_secs(30);
/// The port that README says.
const README_PORT: &str = "5454";

/// A fenced block: its words, and its lines.
#[derive(Debug, PartialEq)]
struct Block {
    words: Vec<String>,
    lines: Vec<String>,
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in readme.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(info), None) => {
                open = Some(Block { words: info.split_whitespace().map(str::to_owned).collect(), lines: Vec::new() });
            }
            (None, Some(mut block)) => {
                block.lines.push(line.to_owned());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The psql command that README tells for a user, between single backticks.
fn command_of<'a>(readme: &'a str, user: &str) -> Option<&'a str> {
    readme
        .split('`')
        .find(|code| code.contains("psql ") && code.contains(&format!("-U {user} ")) && !code.contains('\n'))
}

/// A shell on a pseudo-terminal.
struct Terminal {
    shell: Child,
    input: ChildStdin,
    screen: Arc<(Mutex<String>, Condvar)>,
    /// Marks typed so far: each ends what was typed before it.
    marks: usize,
    /// What was shown between the last two marks.
    shown: String,
}

impl Terminal {
    fn open(server: &Server) -> Self {
        // `script` gives the shell a pseudo-terminal; what is written to its input is typed.
        let mut shell = Command::new("script")
            .args(["-q", "-f", "-e", "-c", "stty -echo cols 200; exec sh", "/dev/null"])
            .current_dir(server.folder())
            .env("PS1", "$ ")
            .env("TERM", "dumb")
            .env("PAGER", "cat")
            .env("PSQLRC", "/dev/null")
            .env("PSQL_HISTORY", "/dev/null")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let mut output = shell.stdout.take().expect("a pipe");
        let screen = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let shared = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
                shared.0.lock().expect("a lock").push_str(&text);
                shared.1.notify_all();
            }
        });
        let input = shell.stdin.take().expect("a pipe");
        Self { shell, input, screen, marks: 0, shown: String::new() }
    }

    fn screen(&self) -> String {
        self.screen.0.lock().expect("a lock").clone()
    }

    /// Waits until this is seen on the screen, and gives it.
    fn wait<T>(&self, what: &str, mut seen: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + SHOWN_MAX;
        let mut screen = self.screen.0.lock().expect("a lock");
        loop {
            if let Some(found) = seen(&screen) {
                return found;
            }
            let now = Instant::now();
            assert!(now < deadline, "not shown: {what}\n--- the terminal ---\n{screen}");
            screen =
                self.screen.1.wait_timeout(screen, (deadline - now).min(Duration::from_millis(200))).expect("a lock").0;
        }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the terminal reads");
    }

    /// Types lines into psql and waits for their end, which an `\echo` of its own marks.
    fn tell_psql(&mut self, lines: &[String]) {
        let before = self.screen().len();
        for line in lines {
            self.type_line(line);
        }
        self.marks += 1;
        let mark = format!("end of step {}", self.marks);
        self.type_line(&format!("\\echo {mark}"));
        let end = self.wait(&mark, |screen| {
            let mut at = before;
            screen[before..].split_inclusive('\n').find_map(|line| {
                at += line.len();
                (without_prompts(line).contains(&mark.as_str()) && line.ends_with('\n')).then_some(at)
            })
        });
        self.shown = self.screen()[before..end].to_owned();
        assert!(!self.shown.contains("ERROR:"), "{}", self.shown);
    }

    /// Lines that must have been shown since the step began, in order.
    fn has_shown(&self, expected: &[String]) {
        let mut shown = self.shown.lines();
        for line in expected.iter().filter(|line| !line.trim().is_empty()) {
            let found = shown.any(|candidate| without_prompts(candidate).contains(&line.trim()));
            assert!(found, "not shown: {line}\n--- in ---\n{}", self.shown);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.shell.kill().ok();
        self.shell.wait().ok();
    }
}

/// The line as it is, and what follows each prompt in it.
fn without_prompts(line: &str) -> Vec<&str> {
    let line = line.trim();
    let behind = |prompt: &'static str| line.match_indices(prompt).map(move |(at, _)| line[at + prompt.len()..].trim());
    std::iter::once(line).chain(behind("# ")).chain(behind("> ")).collect()
}

/// The stage: a terminal for each psql user and each name.
struct Stage<'a> {
    server: &'a Server,
    readme: &'a str,
    terminals: BTreeMap<String, Terminal>,
    /// Whose psql was spoken to last.
    last: String,
}

impl Stage<'_> {
    fn with_port(&self, text: &str) -> String {
        text.replace(README_PORT, &self.server.port().to_string())
    }

    fn psql(&mut self, user: &str) -> &mut Terminal {
        if !self.terminals.contains_key(user) {
            let mut terminal = Terminal::open(self.server);
            // root's command is printed by the server itself.
            let command = match user {
                "root" => {
                    // It is printed right behind the opening of the port.
                    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
                    loop {
                        let log = self.server.log();
                        if let Some(at) = log.find("PGPASSFILE=") {
                            let line = log[at..].lines().next().unwrap_or_default();
                            break line.trim().to_owned();
                        }
                        assert!(std::time::Instant::now() < deadline, "the server prints a command: {log}");
                        std::thread::yield_now();
                    }
                }
                _ => self.with_port(command_of(self.readme, user).expect("README tells how to log in")),
            };
            terminal.type_line(&command);
            terminal.wait("psql's prompt", |screen| screen.trim_end().ends_with(['#', '>']).then_some(()));
            self.terminals.insert(user.to_owned(), terminal);
        }
        self.terminals.get_mut(user).expect("it was opened")
    }

    fn play(&mut self, block: &Block) {
        let words: Vec<&str> = block.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["psql", user] => {
                self.psql(user).tell_psql(&block.lines);
                self.last = (*user).to_owned();
            }
            ["text"] => {
                if let Some(terminal) = self.terminals.get(&self.last) {
                    terminal.has_shown(&block.lines);
                }
            }
            ["sh", _, name] => {
                let lines: Vec<String> = block.lines.iter().map(|line| self.with_port(line)).collect();
                let mut terminal = Terminal::open(self.server);
                lines.iter().for_each(|line| terminal.type_line(line));
                self.terminals.insert((*name).to_owned(), terminal);
            }
            ["text", name] => {
                let terminal = &self.terminals[*name];
                for line in block.lines.iter().filter(|line| !line.trim().is_empty()) {
                    terminal.wait(line, |screen| {
                        screen.lines().any(|shown| shown.trim_end().ends_with(line.trim_end())).then_some(())
                    });
                }
            }
            _ => {}
        }
    }
}

/// The live command must be there before the change that it is to show: what it prints first is waited for.
fn follows_before(stage: &Stage<'_>, name: &str, first_row: &str) {
    if let Some(terminal) = stage.terminals.get(name) {
        terminal.wait(first_row, |screen| screen.contains(first_row).then_some(()));
    }
}

#[test]
fn readme() {
    let readme = std::fs::read_to_string(place::repository().join("README.md")).expect("README.md");
    let blocks = blocks(&readme);
    let tour: Vec<&Block> = blocks.iter().filter(|block| block.words.len() >= 2 || block.words == ["text"]).collect();
    assert!(tour.iter().filter(|block| block.words[0] == "psql").count() >= 5, "README.md has a tour");
    let server = Server::start_with(ServerOptions { root_password: None, ..ServerOptions::default() });
    let mut stage = Stage { server: &server, readme: &readme, terminals: BTreeMap::new(), last: String::new() };
    for block in tour {
        stage.play(block);
        if block.words[0] == "sh" {
            follows_before(&stage, &block.words[2], "hello from alice");
        }
    }
}

#[test]
fn blocks_are_read() {
    let text = "x `PGPASSWORD=a psql -h h -p 5454 -U ann -d k`\n```psql ann\nSELECT 1;\n```\n\n```text\n(1 row)\n```\n```sh\nmake run\n```\n";
    let block = |words: &[&str], lines: &[&str]| Block {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    };
    let expected =
        [block(&["psql", "ann"], &["SELECT 1;"]), block(&["text"], &["(1 row)"]), block(&["sh"], &["make run"])];
    assert_eq!(blocks(text), expected);
    assert_eq!(command_of(text, "ann"), Some("PGPASSWORD=a psql -h h -p 5454 -U ann -d k"));
    assert!(without_prompts("kalamdb=> INSERT 0 1").contains(&"INSERT 0 1"));
}
