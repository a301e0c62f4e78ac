//! COPY's binary format, as streams: a header, tuples of counted fields, a trailer.
//!
//! The reader takes chunks as the protocol brings them; a tuple may be cut anywhere, and is looked at again when more
//! has come.

use super::Encoder;
use arrow_array::{Array, ArrayRef};
use bytes::{Buf, BufMut, BytesMut};
use kalamdb_commons::{Result, SqlError, SqlState};

/// What every binary COPY begins with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// The bit of the flags that says that tuples have OIDs: a form of old that nobody writes.
const WITH_OIDS: u32 = 1 << 16;
/// The longest tuple: PostgreSQL's limit of a value, once more for its neighbours.
const TUPLE_BYTES_MAX: usize = 1 << 30;
/// A field is shorter: PostgreSQL's limit of an allocation.
const FIELD_BYTES_MAX: usize = (1 << 30) - 1;

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

fn cut_off() -> SqlError {
    bad("unexpected EOF in COPY data")
}

/// A tuple's fields; `None` for NULL.
pub type BinaryRow = Vec<Option<Vec<u8>>>;

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// Of the header's extension so many bytes are to come, which mean nothing to us.
    Extension(usize),
    Tuples,
    /// The trailer was read.
    Finished,
}

/// Reads tuples out of chunks.
#[derive(Debug)]
pub struct BinaryReader {
    columns: Vec<String>,
    buffer: BytesMut,
    state: State,
    ended: bool,
    line: u64,
    /// The column whose field is being read.
    column: Option<usize>,
}

impl BinaryReader {
    /// A reader of tuples with these columns.
    pub fn new(columns: Vec<String>) -> Self {
        Self { columns, buffer: BytesMut::new(), state: State::Header, ended: false, line: 0, column: None }
    }

    /// Takes a chunk.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// All chunks were given.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next tuple; `None` when another chunk is needed (or nothing is left).
    ///
    /// # Errors
    /// 22P04 for what is no tuple; without CONTEXT (see [`BinaryReader::context`]).
    pub fn next_row(&mut self) -> Result<Option<BinaryRow>> {
        if self.state == State::Header && !self.header()? {
            return Ok(None);
        }
        if let State::Extension(left) = self.state {
            let here = left.min(self.buffer.len());
            self.buffer.advance(here);
            if here < left {
                self.state = State::Extension(left - here);
                return if self.ended { Err(bad("invalid COPY file header (wrong length)")) } else { Ok(None) };
            }
            self.state = State::Tuples;
        }
        if self.state == State::Finished {
            return match self.buffer.is_empty() {
                true => Ok(None),
                false => Err(bad("received copy data after EOF marker")),
            };
        }
        self.column = None;
        // The end of the data is as good as a trailer, as in PostgreSQL.
        let Some(count) = self.buffer.get(..2) else { return Ok(None) };
        let count = i16::from_be_bytes([count[0], count[1]]);
        if count == -1 {
            self.buffer.advance(2);
            self.line += 1;
            self.state = State::Finished;
            return self.next_row();
        }
        self.line += 1;
        let row = self.tuple(count);
        if matches!(row, Ok(None)) {
            self.line -= 1;
        }
        row
    }

    fn tuple(&mut self, count: i16) -> Result<Option<BinaryRow>> {
        if usize::try_from(count).ok() != Some(self.columns.len()) {
            return Err(bad(format!("row field count is {count}, expected {}", self.columns.len())));
        }
        let mut row = Vec::with_capacity(self.columns.len());
        let mut at = 2;
        for place in 0..self.columns.len() {
            self.column = Some(place);
            let Some(size) = self.buffer.get(at..at + 4) else { return self.incomplete() };
            let size = i32::from_be_bytes([size[0], size[1], size[2], size[3]]);
            at += 4;
            if size == -1 {
                row.push(None);
                continue;
            }
            let size = usize::try_from(size).map_err(|_| bad("invalid field size"))?;
            if size >= FIELD_BYTES_MAX {
                let detail = format!("Cannot enlarge string buffer containing 0 bytes by {size} more bytes.");
                return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "out of memory").with_detail(detail));
            }
            let Some(field) = self.buffer.get(at..at + size) else { return self.incomplete() };
            row.push(Some(field.to_vec()));
            at += size;
        }
        self.buffer.advance(at);
        self.column = None;
        Ok(Some(row))
    }

    fn incomplete<T>(&self) -> Result<Option<T>> {
        if self.buffer.len() > TUPLE_BYTES_MAX {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row of COPY data is too long"));
        }
        if self.ended { Err(cut_off()) } else { Ok(None) }
    }

    /// Reads the header; `false` when more must come first.
    fn header(&mut self) -> Result<bool> {
        let known = self.buffer.len().min(SIGNATURE.len());
        if self.buffer[..known] != SIGNATURE[..known] || (self.ended && known < SIGNATURE.len()) {
            return Err(bad("COPY file signature not recognized"));
        }
        let word = |at: usize| {
            let bytes = self.buffer.get(at..at + 4)?;
            Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let missing = |what: &str| match self.ended {
            true => Err(bad(format!("invalid COPY file header ({what})"))),
            false => Ok(false),
        };
        let Some(flags) = word(SIGNATURE.len()) else { return missing("missing flags") };
        if flags & WITH_OIDS != 0 {
            return Err(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, "invalid COPY file header (WITH OIDS)"));
        }
        if flags >> 16 != 0 {
            return Err(bad("unrecognized critical flags in COPY file header"));
        }
        let Some(length) = word(SIGNATURE.len() + 4) else { return missing("missing length") };
        let Some(length) = i32::try_from(length).ok().and_then(|length| usize::try_from(length).ok()) else {
            return Err(bad("invalid COPY file header (missing length)"));
        };
        self.buffer.advance(SIGNATURE.len() + 8);
        self.state = State::Extension(length);
        Ok(true)
    }

    /// CONTEXT of an error in the newest tuple; `column` when one field's value is at fault. What is wrong with the
    /// header has none.
    pub fn context(&self, table: &str, column: Option<usize>) -> Option<String> {
        let line = self.line;
        if matches!(self.state, State::Header | State::Extension(_)) {
            return None;
        }
        Some(match column.or(self.column).and_then(|place| self.columns.get(place)) {
            Some(column) => format!("COPY {table}, line {line}, column {column}"),
            None => format!("COPY {table}, line {line}"),
        })
    }
}

/// Writes tuples.
pub struct BinaryWriter {
    encoders: Vec<Box<dyn Encoder>>,
}

impl BinaryWriter {
    /// A writer of tuples; the encoders are the columns' in binary format.
    pub fn new(encoders: Vec<Box<dyn Encoder>>) -> Self {
        Self { encoders }
    }

    /// Appends the header.
    pub fn header(&self, out: &mut BytesMut) {
        out.put_slice(SIGNATURE);
        out.put_u32(0);
        out.put_u32(0);
    }

    /// Appends one tuple.
    pub fn row(&self, arrays: &[ArrayRef], row: usize, out: &mut BytesMut) {
        out.put_i16(i16::try_from(self.encoders.len()).unwrap_or(i16::MAX));
        for (encoder, array) in self.encoders.iter().zip(arrays) {
            if array.is_null(row) {
                out.put_i32(-1);
                continue;
            }
            let at = out.len();
            out.put_i32(0);
            encoder.encode(array.as_ref(), row, out);
            let length = i32::try_from(out.len() - at - 4).unwrap_or(i32::MAX);
            out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Appends the trailer.
    pub fn trailer(&self, out: &mut BytesMut) {
        out.put_i16(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        [&SIGNATURE[..], &[0; 8]].concat()
    }

    #[test]
    fn a_tuple_may_be_cut_anywhere() {
        let whole = [&header()[..], b"\0\x02\0\0\0\x01a\xff\xff\xff\xff", b"\xff\xff"].concat();
        for cut in 0..whole.len() {
            let mut reader = BinaryReader::new(vec!["a".into(), "b".into()]);
            reader.feed(&whole[..cut]);
            let mut rows: Vec<BinaryRow> = Vec::new();
            while let Some(row) = reader.next_row().unwrap() {
                rows.push(row);
            }
            reader.feed(&whole[cut..]);
            reader.end();
            while let Some(row) = reader.next_row().unwrap() {
                rows.push(row);
            }
            assert_eq!(rows, [vec![Some(b"a".to_vec()), None]], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |bytes: &[u8]| {
            let mut reader = BinaryReader::new(vec!["a".into()]);
            reader.feed(bytes);
            reader.end();
            loop {
                match reader.next_row() {
                    Ok(Some(_)) => {}
                    Ok(None) => return String::new(),
                    Err(error) => return error.message().to_owned(),
                }
            }
        };
        assert_eq!(error(b"1,2\n"), "COPY file signature not recognized");
        assert_eq!(error(SIGNATURE), "invalid COPY file header (missing flags)");
        assert_eq!(error(&[&SIGNATURE[..], &[0, 1, 0, 0]].concat()), "invalid COPY file header (WITH OIDS)");
        assert_eq!(error(&[&SIGNATURE[..], &[0; 4]].concat()), "invalid COPY file header (missing length)");
        assert_eq!(error(&[&header()[..], b"\0\x02"].concat()), "row field count is 2, expected 1");
        assert_eq!(error(&[&header()[..], b"\0\x01\0\0\0\x05a"].concat()), "unexpected EOF in COPY data");
        assert_eq!(error(&[&header()[..], b"\0\x01\xff\xff\xff\xfe"].concat()), "invalid field size");
        assert_eq!(error(&[&header()[..], b"\xff\xff\0"].concat()), "received copy data after EOF marker");
        assert_eq!(error(&header()), "", "the end of the data is as good as a trailer");
    }
}
