//! README's tour, word for word, through the real psql on pseudo-terminals.
//!
//! Blocks of README.md that open with ```` ```console 1 ```` are what is seen in terminal 1 (2, 3 … for others). In
//! them `$ …` is typed into the shell and `…=# …`, `…=> …` (and `…-# …` for lines that follow) into psql; every other line
//! is what must be shown next, in order, with `…` for anything. Two things differ from a reader's machine: the server
//! was started by this test instead of `make run` (in the folder that the commands are typed in, with `./data`), and
//! its port is a free one.

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

#[derive(Debug, PartialEq)]
enum Step {
    Type { terminal: u32, line: String },
    See { terminal: u32, line: String },
}

/// The console blocks' lines, in order.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut inside = None;
    for line in readme.lines() {
        if let Some(info) = line.strip_prefix("```") {
            inside = info.strip_prefix("console ").and_then(|number| number.trim().parse::<u32>().ok());
            continue;
        }
        let Some(terminal) = inside else { continue };
        match typed(line) {
            Some(text) => steps.push(Step::Type { terminal, line: text.to_owned() }),
            None if line.trim().is_empty() => {}
            None => steps.push(Step::See { terminal, line: line.trim_end().to_owned() }),
        }
    }
    steps
}

/// What stands behind a prompt.
fn typed(line: &str) -> Option<&str> {
    if let Some(command) = line.strip_prefix("$ ") {
        return Some(command);
    }
    let (prompt, rest) = line.split_once(' ')?;
    let name = prompt.trim_end_matches(['#', '>', '*', '!']);
    let is_prompt = name.len() < prompt.len() && name.ends_with(['=', '-', '(', '\'']);
    (is_prompt && name[..name.len() - 1].chars().all(|ch| ch.is_alphanumeric() || ch == '_')).then_some(rest)
}

struct Terminal {
    shell: Child,
    input: ChildStdin,
    screen: Arc<(Mutex<String>, Condvar)>,
    /// How much of the screen was compared already.
    seen: usize,
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
        let mut terminal = Self { shell, input, screen, seen: 0 };
        terminal.until_prompt();
        terminal
    }

    fn wait(&self, mut found: impl FnMut(&str) -> Option<usize>) -> Option<usize> {
        let deadline = Instant::now() + SHOWN_MAX;
        let mut screen = self.screen.0.lock().expect("a lock");
        loop {
            if let Some(end) = found(&screen[self.seen..]) {
                return Some(self.seen + end);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            screen = self.screen.1.wait_timeout(screen, left.min(Duration::from_millis(200))).expect("a lock").0;
        }
    }

    fn until_prompt(&mut self) {
        self.wait(|text| (text.ends_with("$ ") || text.ends_with("# ") || text.ends_with("> ")).then_some(text.len()));
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the shell reads");
    }

    /// The line must be shown behind what was seen so far.
    fn see(&mut self, pattern: &str) {
        let found = self.wait(|text| {
            let mut at = 0;
            for line in text.split_inclusive('\n') {
                at += line.len();
                if line.ends_with('\n') && is_like(pattern, line.trim_end()) {
                    return Some(at);
                }
            }
            None
        });
        match found {
            Some(end) => self.seen = end,
            None => panic!(
                "not shown: {pattern}\n--- the terminal since ---\n{}",
                &self.screen.0.lock().expect("a lock")[self.seen..]
            ),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.shell.kill().ok();
        self.shell.wait().ok();
    }
}

/// A prompt may stand before the line; `…` is anything, and spaces count as one.
fn is_like(pattern: &str, line: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, line) = (squeeze(pattern), squeeze(line));
    let mut candidates = vec![line.as_str()];
    candidates.extend(line.match_indices("# ").chain(line.match_indices("> ")).map(|(at, _)| &line[at + 2..]));
    candidates.iter().any(|candidate| wildcard(&pattern, candidate))
}

fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('…') {
        None => pattern == text,
        Some((before, after)) => text
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && wildcard(after, &rest[at..]))),
    }
}

#[test]
fn readme() {
    let readme = std::fs::read_to_string(place::repository().join("README.md")).expect("README.md");
    let steps = steps(&readme);
    assert!(steps.len() >= 10, "README.md has a tour in `console 1` blocks");
    let server = Server::start_with(ServerOptions { root_password: None, ..ServerOptions::default() });
    let mut terminals: BTreeMap<u32, Terminal> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Type { terminal, line } => {
                let terminal = terminals.entry(terminal).or_insert_with(|| Terminal::open(&server));
                // Nothing of what was shown before answers what is typed now.
                terminal.until_prompt();
                terminal.seen = terminal.screen.0.lock().expect("a lock").len();
                terminal.type_line(&line.replace(README_PORT, &server.port().to_string()));
            }
            Step::See { terminal, line } => {
                terminals.get_mut(&terminal).unwrap_or_else(|| panic!("nobody sits at terminal {terminal}")).see(&line);
            }
        }
    }
}

#[test]
fn blocks_are_read() {
    let text = "x\n```console 1\n$ psql -p 5454\nkalamdb=# SELECT 1\nkalamdb-#   AS a;\n a \n(1 row)\n```\n```sh\n$ make run\n```\n";
    let kind = |line: &str| Step::Type { terminal: 1, line: line.to_owned() };
    let see = |line: &str| Step::See { terminal: 1, line: line.to_owned() };
    assert_eq!(steps(text), [kind("psql -p 5454"), kind("SELECT 1"), kind("  AS a;"), see(" a"), see("(1 row)")]);
    assert!(is_like("INSERT 0 1", "kalamdb=> INSERT 0 1"));
    assert!(is_like(" 1 | … | x", " 1 | 2024-01-01 | x"));
}
