//! A connection that asks many times before it reads: Bind, Execute and Sync for each row of arguments.
//!
//! Each row is a transaction of its own, so that an error ends nothing but its row, and many rows are one round trip.

use kalamdb_tests::peer::{Message, Peer, cstring, describe, execute, message, parse, query, startup, sync};
use kalamdb_tests::{Postgres, ROOT_PASSWORD, Server};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// PostgreSQL's database for this: letters beyond ASCII have cases and classes, and the order is that of the code points,
/// as in KalamDB.
pub const DATABASE: &str = "differential";
/// What makes it.
pub const DATABASE_MADE: &str =
    "CREATE DATABASE differential TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' ENCODING 'UTF8'";
/// How many rows a set-returning function is asked for.
const ROWS_MAX: u32 = 20;
/// How long one answer may take; the servers give up much earlier ([`SETTINGS`]).
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// A zone whose clocks change, and a bound for what takes long.
const SETTINGS: &str = "SET TimeZone = 'America/New_York'; SET statement_timeout = '5s'";

/// What a row of arguments gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// DataRows: each column as text, and each again in binary.
    Rows(Vec<Vec<u8>>),
    /// SQLSTATE and message.
    Failed(String, String),
    /// The connection ended.
    Lost,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type's OID.
    pub oid: u32,
    /// Its type's modifier.
    pub modifier: i32,
}

/// An argument.
pub type Value = Option<Arc<[u8]>>;

/// Who is asked.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'a> {
    /// KalamDB, as `root`.
    KalamDb(&'a Server),
    /// PostgreSQL, as `postgres`.
    PostgreSql(&'a Postgres),
}

/// A connection; it begins again by itself after it was lost.
pub struct Pipe<'a> {
    whom: Whom<'a>,
    reader: BufReader<TcpStream>,
}

impl<'a> Pipe<'a> {
    /// Logs in.
    pub fn open(whom: Whom<'a>) -> Self {
        let peer = match whom {
            Whom::KalamDb(server) => Peer::login(server, "root", ROOT_PASSWORD),
            Whom::PostgreSql(postgres) => {
                let stream = TcpStream::connect(postgres.address()).expect("the port is open");
                stream.set_nodelay(true).expect("no delay");
                let mut peer = Peer { stream, key: Vec::new() };
                peer.send(&startup("postgres", DATABASE));
                peer.until('Z');
                peer
            }
        };
        peer.stream.set_read_timeout(Some(ANSWER_MAX)).expect("a timeout");
        let mut pipe = Self { whom, reader: BufReader::with_capacity(1 << 16, peer.stream) };
        pipe.send(&query(SETTINGS));
        pipe.answer().expect("settings that both servers know");
        pipe
    }

    /// Asks with several rows of arguments of the prepared statement, which gives so many columns: the first half of
    /// them as text, the second half in binary. Does not wait, so that two servers can work at once.
    pub fn send_rows(&mut self, rows: &[Vec<Value>], columns: usize) {
        let batch: Vec<u8> =
            rows.iter().flat_map(|row| [bind(row, columns), execute("", ROWS_MAX), sync()].concat()).collect();
        self.send(&batch);
    }

    /// The answers to [`Self::send_rows`]. A lost connection is opened again; what it did not answer is lost.
    pub fn answers(&mut self, count: usize) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(count);
        while answers.len() < count {
            match self.answer() {
                Some(answer) => answers.push(answer),
                None => {
                    *self = Self::open(self.whom);
                    answers.resize(count, Answer::Lost);
                }
            }
        }
        answers
    }

    /// Prepares the statement: the columns of its result.
    ///
    /// # Errors
    /// The server's answer, when it refuses.
    pub fn prepare(&mut self, sql: &str, types: &[u32]) -> Result<Vec<Column>, Answer> {
        self.send(&[parse("s", sql, types), describe('S', "s"), sync()].concat());
        let mut columns = Vec::new();
        let mut failure = None;
        loop {
            match self.next() {
                Some(message) if message.tag == 'T' => columns = columns_of(&message.body),
                Some(message) if message.tag == 'E' => failure = Some(failed(&message)),
                Some(message) if message.tag == 'Z' => break,
                Some(_) => {}
                None => {
                    *self = Self::open(self.whom);
                    return Err(Answer::Lost);
                }
            }
        }
        failure.map_or(Ok(columns), Err)
    }

    /// Forgets the prepared statement.
    pub fn forget(&mut self) {
        self.send(&[kalamdb_tests::peer::close('S', "s"), sync()].concat());
        if self.answer().is_none() {
            *self = Self::open(self.whom);
        }
    }

    /// Runs a query of text values.
    pub fn table(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.send(&query(sql));
        match self.answer() {
            Some(Answer::Rows(rows)) => rows.iter().map(|row| cells(row)).collect(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        // A server that has closed already is found out when reading.
        self.reader.get_mut().write_all(bytes).ok();
    }

    /// Messages up to ReadyForQuery; `None` when the connection was closed.
    fn answer(&mut self) -> Option<Answer> {
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let message = self.next()?;
            match message.tag {
                'D' => rows.push(message.body),
                'E' => failure = Some(failed(&message)),
                'Z' => return Some(failure.unwrap_or(Answer::Rows(rows))),
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        self.reader.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
        let mut body = vec![0; length.checked_sub(4)?];
        self.reader.read_exact(&mut body).ok()?;
        Some(Message { tag: head[0] as char, body })
    }
}

fn failed(message: &Message) -> Answer {
    Answer::Failed(message.field('C').unwrap_or_default(), message.field('M').unwrap_or_default())
}

fn bind(row: &[Value], columns: usize) -> Vec<u8> {
    let mut body = [cstring(""), cstring("s"), vec![0, 0]].concat();
    body.extend(u16::try_from(row.len()).expect("few values").to_be_bytes());
    for value in row {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(bytes) => {
                body.extend(u32::try_from(bytes.len()).expect("a short value").to_be_bytes());
                body.extend(&bytes[..]);
            }
        }
    }
    body.extend(u16::try_from(columns).expect("few columns").to_be_bytes());
    for at in 0..columns {
        body.extend(u16::from(at >= columns / 2).to_be_bytes());
    }
    message('B', &body)
}

fn columns_of(body: &[u8]) -> Vec<Column> {
    let count = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let mut rest = &body[2..];
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0).expect("a name ends");
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let facts = &rest[end + 1..];
        let four = |at: usize| -> [u8; 4] { facts[at..at + 4].try_into().expect("four bytes") };
        columns.push(Column { name, oid: u32::from_be_bytes(four(6)), modifier: i32::from_be_bytes(four(12)) });
        rest = &facts[18..];
    }
    columns
}

/// The values of a DataRow.
pub fn values(row: &[u8]) -> Vec<Value> {
    let mut rest = row.get(2..).unwrap_or_default();
    let mut found = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        found.push(length.map(|length| behind[..length].into()));
        rest = &behind[length.unwrap_or(0)..];
    }
    found
}

fn cells(row: &[u8]) -> Vec<Option<String>> {
    values(row).into_iter().map(|value| value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())).collect()
}

impl Answer {
    /// For people: the half that is text.
    pub fn shown(&self, binary: bool) -> String {
        match self {
            Answer::Failed(state, message) => format!("ERROR {state}: {message}"),
            Answer::Lost => "the connection is lost".to_owned(),
            Answer::Rows(rows) if rows.is_empty() => "no rows".to_owned(),
            Answer::Rows(rows) => {
                let mut shown = rows.iter().map(|row| shown_row(row, binary)).collect::<Vec<_>>().join("; ");
                if shown.len() > 300 {
                    let cut = shown.floor_char_boundary(300);
                    shown.truncate(cut);
                    shown.push('…');
                }
                shown
            }
        }
    }
}

fn shown_row(row: &[u8], binary: bool) -> String {
    let values = values(row);
    let (text, bytes) = values.split_at(values.len() / 2);
    let shown = |value: &Value| match value {
        None => "NULL".to_owned(),
        Some(bytes) if binary => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    };
    let half = if binary { bytes } else { text };
    half.iter().map(shown).collect::<Vec<_>>().join(" | ")
}
