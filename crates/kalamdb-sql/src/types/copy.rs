//! COPY's text and csv formats, as streams: bytes in, rows out, and the other way round.
//!
//! The reader takes chunks as the protocol brings them (a line may be cut anywhere) and looks at each byte once. A
//! field's NULL is decided on what was written, before escapes and quotes are taken away.

use super::{Encoder, string};
use crate::statement::{CopyFormat, CopyHeader, CopyOptions};
use arrow_array::{Array, ArrayRef};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Result, SqlError, SqlState};
use memchr::{memchr2, memchr3};

/// The longest line: PostgreSQL's limit of a text buffer.
const LINE_BYTES_MAX: usize = 1 << 30;
/// PostgreSQL shows so many bytes of a line in CONTEXT.
const CONTEXT_BYTES_MAX: usize = 100;

/// The options with their defaults filled in.
#[derive(Debug, Clone)]
struct Shape {
    csv: bool,
    delimiter: u8,
    null: String,
    quote: u8,
    escape: u8,
    header: CopyHeader,
}

impl Shape {
    fn of(options: &CopyOptions) -> Result<Self> {
        let csv = match options.format {
            CopyFormat::Text => false,
            CopyFormat::Csv => true,
            CopyFormat::Binary => return Err(SqlError::unsupported("COPY in binary format")),
        };
        let quote = options.quote.unwrap_or(b'"');
        Ok(Shape {
            csv,
            delimiter: options.delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
            null: options.null.clone().unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
            quote,
            escape: options.escape.unwrap_or(quote),
            header: options.header,
        })
    }
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

/// A row's fields.
#[derive(Debug, Default)]
pub struct CopyRow {
    bytes: Vec<u8>,
    fields: Vec<Option<(usize, usize)>>,
}

impl CopyRow {
    /// How many fields the line has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }
    /// Whether the line has no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
    /// A field's text; `None` for NULL.
    pub fn field(&self, place: usize) -> Option<&str> {
        let (start, end) = (*self.fields.get(place)?)?;
        // Checked when the row was made.
        std::str::from_utf8(&self.bytes[start..end]).ok()
    }
}

/// How lines end: the first line end decides, and the others must be alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    Newline,
    Return,
    Both,
}

/// Reads rows out of chunks.
#[derive(Debug)]
pub struct CopyReader {
    shape: Shape,
    columns: Vec<String>,
    not_null: Vec<bool>,
    force_null: Vec<bool>,
    buffer: Vec<u8>,
    /// Where the current line begins.
    start: usize,
    /// How far it has been looked at.
    scanned: usize,
    in_quotes: bool,
    line_end: LineEnd,
    line: u64,
    /// The newest line, for CONTEXT: its place in the buffer.
    shown: (usize, usize),
    header_due: bool,
    /// All chunks were given.
    ended: bool,
    /// `\.` was read.
    finished: bool,
}

impl CopyReader {
    /// A reader of rows with these columns.
    ///
    /// # Errors
    /// 0A000 for the binary format; 42703 when an option names a column that is not copied.
    pub fn new(options: &CopyOptions, columns: Vec<String>) -> Result<Self> {
        let shape = Shape::of(options)?;
        Ok(CopyReader {
            not_null: marked(&options.force_not_null, &columns, "FORCE_NOT_NULL")?,
            force_null: marked(&options.force_null, &columns, "FORCE_NULL")?,
            header_due: shape.header != CopyHeader::None,
            shape,
            columns,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            in_quotes: false,
            line_end: LineEnd::Unknown,
            line: 0,
            shown: (0, 0),
            ended: false,
            finished: false,
        })
    }

    /// Takes a chunk.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.finished {
            return;
        }
        // What was read is dropped once it is most of the buffer: each byte moves once on average.
        if self.start > 64 * 1024 && self.start * 2 > self.buffer.len() {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
            self.shown = (0, 0);
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// All chunks were given: an unfinished last line is a line.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The number of the newest line, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next row; `false` when another chunk is needed (or nothing is left).
    ///
    /// # Errors
    /// 22P04 for what is no row, 22021 for bytes that are not UTF-8; without CONTEXT (see [`CopyReader::context`]).
    pub fn next_row(&mut self, row: &mut CopyRow) -> Result<bool> {
        loop {
            if self.finished {
                return Ok(false);
            }
            let Some((from, to)) = self.next_line()? else { return Ok(false) };
            self.line += 1;
            self.shown = (from, to);
            if self.buffer[from..to] == *b"\\." {
                self.finished = true;
                return Ok(false);
            }
            let header = std::mem::take(&mut self.header_due);
            if header && self.shape.header == CopyHeader::Line {
                continue;
            }
            self.split(from, to, row)?;
            if header {
                self.match_header(row)?;
                continue;
            }
            self.check_count(row)?;
            return Ok(true);
        }
    }

    /// CONTEXT of an error in the newest line: `column` and its text when one field is at fault.
    pub fn context(&self, table: &str, field: Option<(usize, Option<&str>)>) -> String {
        let line = self.line;
        if let Some((place, text)) = field
            && let Some(column) = self.columns.get(place)
        {
            return match text {
                Some(text) => format!("COPY {table}, line {line}, column {column}: \"{}\"", cut(text)),
                None => format!("COPY {table}, line {line}, column {column}: null input"),
            };
        }
        match self.buffer.get(self.shown.0..self.shown.1).and_then(|line| std::str::from_utf8(line).ok()) {
            Some(text) if !text.is_empty() => format!("COPY {table}, line {line}: \"{}\"", cut(text)),
            _ => format!("COPY {table}, line {line}"),
        }
    }

    fn check_count(&self, row: &CopyRow) -> Result<()> {
        if row.len() > self.columns.len() {
            return Err(bad("extra data after last expected column"));
        }
        Ok(())
    }

    /// Whether a row has a field for every column: asked when those that it has were read, as PostgreSQL goes on from
    /// column to column.
    ///
    /// # Errors
    /// 22P04
    pub fn check_complete(&self, row: &CopyRow) -> Result<()> {
        match self.columns.get(row.len()) {
            Some(column) => Err(bad(format!("missing data for column \"{column}\""))),
            None => Ok(()),
        }
    }

    fn match_header(&self, row: &CopyRow) -> Result<()> {
        if row.len() != self.columns.len() {
            return Err(bad(format!(
                "wrong number of fields in header line: got {}, expected {}",
                row.len(),
                self.columns.len()
            )));
        }
        for (place, expected) in self.columns.iter().enumerate() {
            let got = match row.field(place) {
                Some(name) if name == expected => continue,
                Some(name) => format!("\"{name}\""),
                None => format!("null value (\"{}\")", self.shape.null),
            };
            return Err(bad(format!(
                "column name mismatch in header line field {}: got {got}, expected \"{expected}\"",
                place + 1
            )));
        }
        Ok(())
    }

    /// The next whole line, without its end.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>> {
        loop {
            let rest = &self.buffer[self.scanned..];
            let found = match (self.shape.csv, self.in_quotes) {
                (false, _) => memchr3(b'\n', b'\r', b'\\', rest),
                (true, true) => memchr2(self.shape.quote, self.shape.escape, rest),
                (true, false) => memchr3(b'\n', b'\r', self.shape.quote, rest),
            };
            let Some(at) = found.map(|at| at + self.scanned) else {
                self.scanned = self.buffer.len();
                return self.last_line();
            };
            let byte = self.buffer[at];
            let next = self.buffer.get(at + 1).copied();
            self.scanned = at + 1;
            if self.shape.csv && self.in_quotes {
                // An escape takes the next quote or escape with it; a doubled quote closes and opens.
                let escapes = byte == self.shape.escape && self.shape.escape != self.shape.quote;
                if escapes && next.is_none() && !self.ended {
                    self.scanned = at;
                    return Ok(None);
                }
                if escapes && next.is_some_and(|next| next == self.shape.quote || next == self.shape.escape) {
                    self.scanned = at + 2;
                } else if byte == self.shape.quote {
                    self.in_quotes = false;
                }
            } else if self.shape.csv && byte == self.shape.quote {
                self.in_quotes = true;
            } else if byte == b'\\' {
                // In text format a backslash keeps the next byte from ending the line.
                if next.is_none() && !self.ended {
                    self.scanned = at;
                    return Ok(None);
                }
                let marker = at == self.start && next == Some(b'.');
                self.scanned = if marker { at + 2 } else { (at + 2).min(self.buffer.len()) };
            } else {
                match self.line_end_at(byte, next)? {
                    Some(width) => {
                        let line = (self.start, at);
                        self.start = at + width;
                        self.scanned = self.start;
                        return Ok(Some(line));
                    }
                    None => {
                        self.scanned = at;
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// How many bytes the line end has; `None` when the next chunk must tell.
    fn line_end_at(&mut self, byte: u8, next: Option<u8>) -> Result<Option<usize>> {
        let this = match (byte, next) {
            (b'\n', _) => LineEnd::Newline,
            (_, Some(b'\n')) => LineEnd::Both,
            (_, None) if !self.ended => return Ok(None),
            _ => LineEnd::Return,
        };
        if self.line_end == LineEnd::Unknown {
            self.line_end = this;
        }
        if self.line_end != this {
            let (found, escape) = if byte == b'\n' { ("newline", "n") } else { ("carriage return", "r") };
            return Err(if self.shape.csv {
                bad(format!("unquoted {found} found in data"))
                    .with_hint(format!("Use quoted CSV field to represent {found}."))
            } else {
                bad(format!("literal {found} found in data"))
                    .with_hint(format!("Use \"\\{escape}\" to represent {found}."))
            });
        }
        Ok(Some(if this == LineEnd::Both { 2 } else { 1 }))
    }

    fn last_line(&mut self) -> Result<Option<(usize, usize)>> {
        if self.buffer.len() - self.start > LINE_BYTES_MAX {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a line of COPY data is too long"));
        }
        if !self.ended || self.start == self.buffer.len() {
            return Ok(None);
        }
        if self.in_quotes {
            return Err(bad("unterminated CSV quoted field"));
        }
        let line = (self.start, self.buffer.len());
        self.start = self.buffer.len();
        Ok(Some(line))
    }

    fn split(&self, from: usize, to: usize, row: &mut CopyRow) -> Result<()> {
        let line = &self.buffer[from..to];
        string::utf8(line)?;
        row.bytes.clear();
        row.fields.clear();
        if self.shape.csv { self.split_csv(line, row) } else { self.split_text(line, row) }
    }

    fn split_text(&self, line: &[u8], row: &mut CopyRow) -> Result<()> {
        let delimiter = self.shape.delimiter;
        let mut rest = line;
        loop {
            let field_start = row.bytes.len();
            let mut at = 0;
            let mut has_bytes = false;
            // Copies what is plain, decodes what is escaped, stops at the delimiter.
            let mut copied = 0;
            let end = loop {
                match memchr2(delimiter, b'\\', &rest[at..]).map(|found| at + found) {
                    Some(found) if rest[found] == b'\\' && delimiter != b'\\' => {
                        row.bytes.extend_from_slice(&rest[copied..found]);
                        at = unescape(rest, found, &mut row.bytes, &mut has_bytes);
                        copied = at;
                    }
                    Some(found) => break found,
                    None => break rest.len(),
                }
            };
            row.bytes.extend_from_slice(&rest[copied..end]);
            if has_bytes {
                string::utf8(&row.bytes[field_start..])?;
            }
            let is_null = rest[..end] == *self.shape.null.as_bytes();
            row.fields.push((!is_null).then_some((field_start, row.bytes.len())));
            if end == rest.len() {
                return Ok(());
            }
            rest = &rest[end + 1..];
        }
    }

    fn split_csv(&self, line: &[u8], row: &mut CopyRow) -> Result<()> {
        let Shape { delimiter, quote, escape, .. } = self.shape;
        let mut at = 0;
        loop {
            let field_start = row.bytes.len();
            let mut quoted = false;
            let mut in_quotes = false;
            while let Some(&byte) = line.get(at) {
                if !in_quotes && byte == delimiter {
                    break;
                }
                at += 1;
                if in_quotes && byte == escape && line.get(at).is_some_and(|next| *next == quote || *next == escape) {
                    row.bytes.push(line[at]);
                    at += 1;
                } else if byte == quote {
                    in_quotes = !in_quotes;
                    quoted = true;
                } else {
                    row.bytes.push(byte);
                }
            }
            let place = row.fields.len();
            let matches_null = row.bytes[field_start..] == *self.shape.null.as_bytes();
            let is_null = matches_null
                && if quoted {
                    self.force_null.get(place) == Some(&true)
                } else {
                    self.not_null.get(place) != Some(&true)
                };
            row.fields.push((!is_null).then_some((field_start, row.bytes.len())));
            if at >= line.len() {
                return Ok(());
            }
            at += 1;
        }
    }
}

fn marked(names: &[String], columns: &[String], option: &str) -> Result<Vec<bool>> {
    if let Some(missing) = names.iter().find(|name| !columns.contains(name)) {
        return Err(SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!("{option} column \"{missing}\" not referenced by COPY"),
        ));
    }
    Ok(columns.iter().map(|column| names.contains(column)).collect())
}

fn cut(text: &str) -> String {
    if text.len() <= CONTEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(CONTEXT_BYTES_MAX)])
}

/// Decodes the escape at `at`; gives the place behind it. `has_bytes`: bytes were given by number.
fn unescape(rest: &[u8], at: usize, out: &mut Vec<u8>, has_bytes: &mut bool) -> usize {
    let Some(&byte) = rest.get(at + 1) else {
        out.push(b'\\');
        return at + 1;
    };
    let digits = |from: usize, most: usize, base: u32| {
        let run = rest[from..].iter().take(most).take_while(|byte| char::from(**byte).is_digit(base));
        run.fold((0_u32, 0_usize), |(value, count), byte| {
            (value * base + char::from(*byte).to_digit(base).unwrap_or(0), count + 1)
        })
    };
    let plain = match byte {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'0'..=b'7' => {
            let (value, count) = digits(at + 1, 3, 8);
            *has_bytes = true;
            out.push((value & 0xff) as u8);
            return at + 1 + count;
        }
        b'x' => {
            let (value, count) = digits(at + 2, 2, 16);
            if count == 0 {
                out.push(b'x');
                return at + 2;
            }
            *has_bytes = true;
            out.push(value as u8);
            return at + 2 + count;
        }
        other => other,
    };
    out.push(plain);
    at + 2
}

/// Writes rows.
pub struct CopyWriter {
    shape: Shape,
    columns: Vec<String>,
    force_quote: Vec<bool>,
    encoders: Vec<Box<dyn Encoder>>,
    scratch: BytesMut,
}

impl CopyWriter {
    /// A writer of rows with these columns; the encoders are the columns' in text format.
    ///
    /// # Errors
    /// As [`CopyReader::new`].
    pub fn new(options: &CopyOptions, columns: Vec<String>, encoders: Vec<Box<dyn Encoder>>) -> Result<Self> {
        let force_quote = match &options.force_quote {
            None => vec![false; columns.len()],
            Some(all) if all.is_empty() => vec![true; columns.len()],
            Some(names) => marked(names, &columns, "FORCE_QUOTE")?,
        };
        Ok(CopyWriter { shape: Shape::of(options)?, columns, force_quote, encoders, scratch: BytesMut::new() })
    }

    /// Appends the header line, if the options want one.
    pub fn header(&mut self, out: &mut BytesMut) {
        if self.shape.header == CopyHeader::None {
            return;
        }
        for (place, name) in self.columns.iter().enumerate() {
            if place > 0 {
                out.put_u8(self.shape.delimiter);
            }
            if self.shape.csv {
                put_csv(&self.shape, name.as_bytes(), false, self.columns.len() == 1, out);
            } else {
                put_text(&self.shape, name.as_bytes(), out);
            }
        }
        out.put_u8(b'\n');
    }

    /// Appends one row as a line.
    pub fn row(&mut self, arrays: &[ArrayRef], row: usize, out: &mut BytesMut) {
        let single = self.encoders.len() == 1;
        for (place, (encoder, array)) in self.encoders.iter().zip(arrays).enumerate() {
            if place > 0 {
                out.put_u8(self.shape.delimiter);
            }
            if array.is_null(row) {
                out.put_slice(self.shape.null.as_bytes());
                continue;
            }
            self.scratch.clear();
            encoder.encode(array.as_ref(), row, &mut self.scratch);
            if self.shape.csv {
                put_csv(&self.shape, &self.scratch, self.force_quote[place], single, out);
            } else {
                put_text(&self.shape, &self.scratch, out);
            }
        }
        out.put_u8(b'\n');
    }
}

fn put_text(shape: &Shape, value: &[u8], out: &mut BytesMut) {
    let mut clean = 0;
    for (at, &byte) in value.iter().enumerate() {
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            _ if byte == shape.delimiter => byte,
            _ => continue,
        };
        out.put_slice(&value[clean..at]);
        out.put_slice(&[b'\\', letter]);
        clean = at + 1;
    }
    out.put_slice(&value[clean..]);
}

fn put_csv(shape: &Shape, value: &[u8], force: bool, single: bool, out: &mut BytesMut) {
    let special = |byte: &u8| *byte == shape.delimiter || *byte == shape.quote || matches!(byte, b'\n' | b'\r');
    // A lone `\.` would end the data.
    let quotes = force || value == shape.null.as_bytes() || (single && value == b"\\.") || value.iter().any(special);
    if !quotes {
        return out.put_slice(value);
    }
    out.put_u8(shape.quote);
    for &byte in value {
        if byte == shape.quote || byte == shape.escape {
            out.put_u8(shape.escape);
        }
        out.put_u8(byte);
    }
    out.put_u8(shape.quote);
}
