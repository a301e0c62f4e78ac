//! The same statements to KalamDB and to PostgreSQL 15, and whether they answer the same.
//!
//! Equal means: the same columns with the same types, the same rows (in any order when the statement asks for none),
//! or the same SQLSTATE. Numbers that a server gives to its own objects differ and mean the same: an OID from 16384 on
//! equals any other such, and one written in a statement is replaced by that of the object with the same name.

use crate::peer::{self, Message, Peer, message};
use crate::script::Piece;
use crate::{Postgres, ROOT_PASSWORD, Server};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a statement may take.
const STATEMENT_MAX: Duration = Duration::from_secs(20);
/// The first OID of what users make.
const FIRST_USER_OID: u32 = 16_384;
/// Types whose values are OIDs or name objects by their OID.
const OID: u32 = 26;

/// What a server said to a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Rows, each cell as text.
    Rows {
        /// Name and type OID of each column.
        columns: Vec<(String, u32)>,
        /// `None` is NULL.
        rows: Vec<Vec<Option<String>>>,
    },
    /// A command tag, or what COPY sent.
    Done(String),
    /// SQLSTATE and message.
    Error(String, String),
    /// The connection ended, or nothing came in time.
    Gone(String),
}

impl Answer {
    /// One line for a report.
    pub fn shown(&self) -> String {
        match self {
            Self::Rows { columns, rows } => {
                let names: Vec<String> = columns.iter().map(|(name, oid)| format!("{name}:{oid}")).collect();
                let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
                let row = |row: &Vec<Option<String>>| row.iter().map(cell).collect::<Vec<_>>().join("|");
                let shown: Vec<String> = rows.iter().take(20).map(row).collect();
                format!("({}) {} rows: {}", names.join(", "), rows.len(), shown.join(" // "))
            }
            Self::Done(tag) => tag.chars().take(400).collect(),
            Self::Error(state, text) => format!("ERROR {state} {text}"),
            Self::Gone(why) => format!("GONE {why}"),
        }
    }
}

/// How two answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Equal.
    Same,
    /// KalamDB says that it does not have this yet (0A000).
    Unsupported,
    /// Both are errors, of another SQLSTATE.
    OtherError,
    /// KalamDB fails where PostgreSQL answers.
    Fails,
    /// KalamDB answers where PostgreSQL fails.
    Accepts,
    /// Both answer, and not the same.
    Differs,
    /// KalamDB's own fault: XX000, no answer in time, or the connection lost.
    Broken,
}

/// Whether KalamDB's answer is PostgreSQL's.
pub fn verdict(sql: &str, ours: &Answer, theirs: &Answer) -> Verdict {
    match (ours, theirs) {
        (Answer::Gone(_), _) => Verdict::Broken,
        (Answer::Error(state, _), _) if state.starts_with("XX") => Verdict::Broken,
        (Answer::Error(own, _), Answer::Error(other, _)) if own == other => Verdict::Same,
        (Answer::Error(own, _), _) if own == "0A000" => Verdict::Unsupported,
        (Answer::Error(..), Answer::Error(..)) => Verdict::OtherError,
        (Answer::Error(..), _) => Verdict::Fails,
        (_, Answer::Error(..) | Answer::Gone(_)) => Verdict::Accepts,
        (Answer::Rows { columns, rows }, Answer::Rows { columns: other_columns, rows: other_rows }) => {
            let ordered = sql.to_ascii_lowercase().contains("order by");
            let is_same = same_columns(columns, other_columns) && same_rows(columns, rows, other_rows, ordered);
            if is_same { Verdict::Same } else { Verdict::Differs }
        }
        (Answer::Done(own), Answer::Done(other)) if own == other => Verdict::Same,
        _ => Verdict::Differs,
    }
}

fn same_columns(ours: &[(String, u32)], theirs: &[(String, u32)]) -> bool {
    let same_type = |own: u32, other: u32| own == other || (own >= FIRST_USER_OID && other >= FIRST_USER_OID);
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(own, other)| own.0 == other.0 && same_type(own.1, other.1))
}

fn same_rows(
    columns: &[(String, u32)],
    ours: &[Vec<Option<String>>],
    theirs: &[Vec<Option<String>>],
    ordered: bool,
) -> bool {
    let masked = |rows: &[Vec<Option<String>>]| -> Vec<Vec<Option<String>>> {
        let cell = |at: usize, cell: &Option<String>| match cell {
            Some(text) if columns[at].1 == OID && text.parse().is_ok_and(|oid: u32| oid >= FIRST_USER_OID) => {
                Some("<oid>".to_owned())
            }
            other => other.clone(),
        };
        let mut rows: Vec<Vec<Option<String>>> =
            rows.iter().map(|row| row.iter().enumerate().map(|(at, value)| cell(at, value)).collect()).collect();
        if !ordered {
            rows.sort();
        }
        rows
    };
    masked(ours) == masked(theirs)
}

/// A session on one of the servers, which connects again after it was lost.
pub struct Side {
    address: SocketAddr,
    user: &'static str,
    password: &'static str,
    database: &'static str,
    peer: Peer,
}

impl Side {
    fn connect(address: SocketAddr, user: &'static str, password: &'static str, database: &'static str) -> Self {
        let peer = Self::login(address, user, password, database);
        Self { address, user, password, database, peer }
    }

    fn login(address: SocketAddr, user: &str, password: &str, database: &str) -> Peer {
        let peer = Peer::login_to(address, user, password, database);
        peer.stream.set_read_timeout(Some(STATEMENT_MAX)).expect("a timeout");
        peer
    }

    /// KalamDB, as root.
    pub fn kalamdb(server: &Server) -> Self {
        Self::connect(server.address(), "root", ROOT_PASSWORD, "kalamdb")
    }

    /// PostgreSQL, as its superuser.
    pub fn postgres(postgres: &Postgres) -> Self {
        Self::connect(postgres.address(), "postgres", "", "postgres")
    }

    /// Sends one statement, by the simple protocol or, with parameters, by the extended one.
    pub fn ask(&mut self, sql: &str, parameters: Option<&[String]>, data: Option<&str>) -> Answer {
        match parameters {
            None => self.peer.send(&peer::query(sql)),
            Some(values) => {
                let values: Vec<Option<&str>> = values.iter().map(|value| Some(value.as_str())).collect();
                let messages = [
                    peer::parse("", sql, &[]),
                    peer::bind("", "", &values),
                    peer::describe('P', ""),
                    peer::execute("", 0),
                    peer::sync(),
                ];
                self.peer.send(&messages.concat());
            }
        }
        match self.read(data) {
            Ok(answer) => answer,
            Err(error) => {
                self.peer = Self::login(self.address, self.user, self.password, self.database);
                Answer::Gone(error.to_string())
            }
        }
    }

    fn read(&mut self, data: Option<&str>) -> std::io::Result<Answer> {
        let mut columns = None;
        let mut rows = Vec::new();
        let mut copied = String::new();
        let mut answer = None;
        loop {
            let next = self.peer.try_next()?;
            match next.tag {
                'T' => {
                    columns = Some(described(&next));
                    rows.clear();
                }
                'D' => rows.push(cells(&next.body)),
                'C' => {
                    let tag = next.text();
                    answer.get_or_insert(Answer::Done(String::new()));
                    if !matches!(answer, Some(Answer::Error(..))) {
                        answer = Some(match columns.take() {
                            Some(columns) => Answer::Rows { columns, rows: std::mem::take(&mut rows) },
                            None => Answer::Done(format!("{tag}\n{copied}")),
                        });
                    }
                }
                'E' => {
                    let field = |name| next.field(name).unwrap_or_default();
                    answer = Some(Answer::Error(field('C'), field('M')));
                    if next.field('S').is_some_and(|severity| severity == "FATAL") {
                        self.peer = Self::login(self.address, self.user, self.password, self.database);
                        return Ok(answer.unwrap_or(Answer::Done(String::new())));
                    }
                }
                'G' => {
                    // An end without a line feed leaves the last line whole all the same.
                    self.peer.send(&message('d', data.unwrap_or_default().as_bytes()));
                    self.peer.send(&message('c', &[]));
                }
                'd' => copied.push_str(&String::from_utf8_lossy(&next.body)),
                'I' => answer = Some(Answer::Done("(empty)".to_owned())),
                'Z' => return Ok(answer.unwrap_or(Answer::Done(String::new()))),
                _ => {}
            }
        }
    }

    /// OIDs of what users made, by kind and name.
    fn objects(&mut self) -> HashMap<(String, String), String> {
        let sql = "SELECT 'relation', relname, oid FROM pg_catalog.pg_class WHERE oid >= 16384 \
                   UNION ALL SELECT 'type', typname, oid FROM pg_catalog.pg_type WHERE oid >= 16384 \
                   UNION ALL SELECT 'schema', nspname, oid FROM pg_catalog.pg_namespace WHERE oid >= 16384 \
                   UNION ALL SELECT 'constraint', conname, oid FROM pg_catalog.pg_constraint WHERE oid >= 16384";
        let Answer::Rows { rows, .. } = self.ask(sql, None, None) else { return HashMap::new() };
        let cell = |cell: &Option<String>| cell.clone().unwrap_or_default();
        rows.iter().map(|row| ((cell(&row[0]), cell(&row[1])), cell(&row[2]))).collect()
    }
}

/// Name and type of each column.
fn described(message: &Message) -> Vec<(String, u32)> {
    let mut rest = &message.body[2..];
    let mut columns = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let fields = &rest[end + 1..];
        let Some((oid, after)) = fields.get(6..10).zip(fields.get(18..)) else { break };
        columns.push((name, u32::from_be_bytes(oid.try_into().expect("four bytes"))));
        rest = after;
    }
    columns
}

fn cells(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = &body[2..];
    let mut cells = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        rest = after;
        cells.push(usize::try_from(i32::from_be_bytes(*length)).ok().map(|length| {
            let text = String::from_utf8_lossy(&rest[..length]).into_owned();
            rest = &rest[length..];
            text
        }));
    }
    cells
}

/// Both servers, side by side.
pub struct Pair {
    ours: Side,
    theirs: Side,
    renumbered: HashMap<String, String>,
}

/// What came of one statement.
pub struct Outcome {
    /// Whether it is the same.
    pub verdict: Verdict,
    /// KalamDB's answer.
    pub ours: Answer,
    /// PostgreSQL's.
    pub theirs: Answer,
}

impl Pair {
    /// Sessions on both.
    pub fn connect(server: &Server, postgres: &Postgres) -> Self {
        Self { ours: Side::kalamdb(server), theirs: Side::postgres(postgres), renumbered: HashMap::new() }
    }

    /// From now on a statement that names an object of PostgreSQL's by its OID names KalamDB's of the same name.
    pub fn renumber(&mut self) {
        let ours = self.ours.objects();
        let theirs = self.theirs.objects();
        self.renumbered = theirs.into_iter().filter_map(|(name, oid)| Some((oid, ours.get(&name)?.clone()))).collect();
    }

    fn with_own_numbers(&self, text: &str) -> String {
        let mut written = String::with_capacity(text.len());
        let mut digits = String::new();
        let mut last = ' ';
        for letter in text.chars().chain([' ']) {
            if letter.is_ascii_digit() && (!digits.is_empty() || !(last.is_alphanumeric() || last == '_')) {
                digits.push(letter);
            } else {
                let own = self.renumbered.get(&digits).unwrap_or(&digits);
                written.push_str(own);
                digits.clear();
                written.push(letter);
            }
            last = letter;
        }
        written.pop();
        written
    }

    /// Asks both.
    pub fn ask(&mut self, piece: &Piece) -> Outcome {
        let parameters = parameters(&piece.heading);
        let own_sql = self.with_own_numbers(&piece.sql);
        let own_parameters: Option<Vec<String>> =
            parameters.as_ref().map(|values| values.iter().map(|value| self.with_own_numbers(value)).collect());
        let theirs = self.theirs.ask(&piece.sql, parameters.as_deref(), piece.data.as_deref());
        let ours = self.ours.ask(&own_sql, own_parameters.as_deref(), piece.data.as_deref());
        Outcome { verdict: verdict(&piece.sql, &ours, &theirs), ours, theirs }
    }
}

/// The values that a heading as recorded from a client names: `-- [client] execute  (parameters: $1 = 'a', $2 = 'b')`.
fn parameters(heading: &str) -> Option<Vec<String>> {
    if !heading.contains("] execute") {
        return None;
    }
    let Some((_, list)) = heading.split_once("(parameters: ") else { return Some(Vec::new()) };
    let mut values = Vec::new();
    let mut rest = list;
    while let Some((_, after)) = rest.split_once(" = '") {
        let mut value = String::new();
        let mut letters = after.char_indices().peekable();
        let mut end = after.len();
        while let Some((at, letter)) = letters.next() {
            if letter == '\'' && letters.next_if(|(_, next)| *next == '\'').is_none() {
                end = at + 1;
                break;
            }
            value.push(letter);
        }
        values.push(value);
        rest = &after[end.min(after.len())..];
    }
    Some(values)
}
