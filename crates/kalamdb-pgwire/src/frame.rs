//! What a client may say after login: frames on the wire, and their bodies as messages.
//!
//! A frame is a type byte, a length and a body. The gate looks at the five header bytes before anything is buffered
//! for it: an unknown type or a length beyond the type's limit ends the connection, since the place of the next frame
//! is lost. A body is read by a checked cursor over exactly its own bytes: a body that is too short or too long is an
//! ordinary error (08P01) and text that is not UTF-8 another (22021), as in PostgreSQL. (The protocol crate's decoders
//! read past their frame, replace bad text silently and panic on truncated bodies, so they are not used here.)

use bytes::{Buf, Bytes, BytesMut};
use kalamdb_commons::{Result, SqlError, SqlState};

/// The longest Query, Parse, Bind or CopyData: PostgreSQL's limit, one allocation of its own.
pub(crate) const LARGE_FRAME_BYTES_MAX: usize = 0x3fff_ffff - 1;
/// The longest of all other messages; PostgreSQL's limit too.
pub(crate) const SMALL_FRAME_BYTES_MAX: usize = 10_000;
/// The longest password or SASL message: before login nobody gets more memory than this.
pub(crate) const LOGIN_FRAME_BYTES_MAX: usize = 16 * 1024;

/// One frame: its type byte and its body, without the length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// The type byte.
    pub(crate) kind: u8,
    /// The body.
    pub(crate) body: Bytes,
}

/// Says for a type byte how long its frame may be (the length field's value); `None` when it must not come now.
pub(crate) type Gate = fn(u8) -> Option<usize>;

/// The gate after login.
pub(crate) fn session_gate(kind: u8) -> Option<usize> {
    match kind {
        b'Q' | b'P' | b'B' | b'd' | b'F' => Some(LARGE_FRAME_BYTES_MAX),
        b'D' | b'E' | b'C' | b'S' | b'H' | b'X' | b'c' | b'f' => Some(SMALL_FRAME_BYTES_MAX),
        _ => None,
    }
}

/// The gate while a login waits for a password or SASL message.
pub(crate) fn login_gate(kind: u8) -> Option<usize> {
    (kind == b'p').then_some(LOGIN_FRAME_BYTES_MAX)
}

/// Takes the first frame out of a buffer; `None` while it is incomplete.
///
/// # Errors
/// 08P01 for a type that the gate refuses, or a length out of bounds: nothing after it can be understood.
pub(crate) fn take(input: &mut BytesMut, gate: Gate) -> Result<Option<Frame>> {
    let Some(need) = bytes_needed(input, gate)? else { return Ok(None) };
    if input.len() < need {
        return Ok(None);
    }
    let mut frame = input.split_to(need);
    let kind = frame[0];
    frame.advance(5);
    Ok(Some(Frame { kind, body: frame.freeze() }))
}

/// How many bytes the first frame takes, header included; `None` while its header is incomplete.
pub(crate) fn bytes_needed(input: &[u8], gate: Gate) -> Result<Option<usize>> {
    let Some(kind) = input.first() else { return Ok(None) };
    let Some(bytes_max) = gate(*kind) else {
        return Err(violation(format!("invalid frontend message type {kind}")));
    };
    let Some(length) = input.get(1..5) else { return Ok(None) };
    let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    match usize::try_from(length) {
        Ok(length) if (4..=bytes_max).contains(&length) => Ok(Some(1 + length)),
        _ => Err(violation("invalid message length")),
    }
}

/// 08P01
pub(crate) fn violation(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `S`
    Statement,
    /// `P`
    Portal,
}

/// A message of the session phase.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// A string of statements.
    Query(String),
    /// Prepare a statement.
    Parse {
        /// Its name; empty for the unnamed one.
        name: String,
        /// The text.
        sql: String,
        /// Declared parameter types; 0 for "infer".
        types: Vec<u32>,
    },
    /// Make a portal of a statement.
    Bind(Bind),
    /// Describe a statement or portal.
    Describe(Target, String),
    /// Run a portal.
    Execute {
        /// Its name.
        portal: String,
        /// The most rows wanted now; 0 for all.
        rows_max: u64,
    },
    /// Close a statement or portal.
    Close(Target, String),
    /// Send what is buffered.
    Flush,
    /// End of a pipeline.
    Sync,
    /// Good-bye.
    Terminate,
    /// COPY … FROM STDIN: data.
    CopyData(Bytes),
    /// COPY … FROM STDIN: the end.
    CopyDone,
    /// COPY … FROM STDIN: given up, and why.
    CopyFail(String),
    /// The old fast-path function call.
    FunctionCall,
}

/// The body of Bind.
#[derive(Debug, PartialEq)]
pub(crate) struct Bind {
    /// The portal's name.
    pub(crate) portal: String,
    /// The statement's name.
    pub(crate) statement: String,
    /// The parameters' formats.
    pub(crate) formats: Vec<i16>,
    /// The parameters; `None` for NULL.
    pub(crate) values: Vec<Option<Bytes>>,
    /// The result's formats.
    pub(crate) result_formats: Vec<i16>,
}

impl Message {
    /// Reads a frame's body.
    ///
    /// # Errors
    /// 08P01 for a malformed body, 22021 for text that is not UTF-8. The connection stays usable.
    pub(crate) fn read(frame: Frame) -> Result<Message> {
        let mut body = Body(frame.body);
        let message = match frame.kind {
            b'Q' => Message::Query(body.text()?),
            b'P' => body.parse()?,
            b'B' => Message::Bind(body.bind()?),
            b'D' => body.target("DESCRIBE").map(|(target, name)| Message::Describe(target, name))?,
            b'E' => Message::Execute { portal: body.text()?, rows_max: u64::try_from(body.i32()?).unwrap_or(0) },
            b'C' => body.target("CLOSE").map(|(target, name)| Message::Close(target, name))?,
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => return Ok(Message::Terminate),
            b'd' => return Ok(Message::CopyData(body.0)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(body.text()?),
            b'F' => return Ok(Message::FunctionCall),
            kind => return Err(violation(format!("invalid frontend message type {kind}"))),
        };
        body.end()?;
        Ok(message)
    }
}

/// A cursor over a body; every read is checked.
pub(crate) struct Body(pub(crate) Bytes);

impl Body {
    /// `n` bytes.
    pub(crate) fn bytes(&mut self, n: usize) -> Result<Bytes> {
        if n > self.0.len() {
            return Err(violation("insufficient data left in message"));
        }
        Ok(self.0.split_to(n))
    }

    fn u16(&mut self) -> Result<u16> {
        self.bytes(2).map(|mut bytes| bytes.get_u16())
    }

    /// Four bytes.
    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.bytes(4).map(|mut bytes| bytes.get_i32())
    }

    /// A zero-terminated string.
    pub(crate) fn text(&mut self) -> Result<String> {
        let Some(end) = memchr::memchr(0, &self.0) else {
            return Err(violation("invalid string in message"));
        };
        let text = self.0.split_to(end);
        self.0.advance(1);
        utf8(&text).map(str::to_string)
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = usize::from(self.u16()?);
        let mut formats = Vec::with_capacity(count.min(self.0.len() / 2));
        for _ in 0..count {
            formats.push(self.u16()? as i16);
        }
        Ok(formats)
    }

    fn parse(&mut self) -> Result<Message> {
        let (name, sql) = (self.text()?, self.text()?);
        let count = usize::from(self.u16()?);
        let mut types = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            types.push(self.i32()? as u32);
        }
        Ok(Message::Parse { name, sql, types })
    }

    fn bind(&mut self) -> Result<Bind> {
        let (portal, statement) = (self.text()?, self.text()?);
        let formats = self.formats()?;
        let count = usize::from(self.u16()?);
        if formats.len() > 1 && formats.len() != count {
            let found = formats.len();
            return Err(violation(format!("bind message has {found} parameter formats but {count} parameters")));
        }
        let mut values = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            values.push(match self.i32()? {
                -1 => None,
                length => Some(self.bytes(usize::try_from(length).unwrap_or(usize::MAX))?),
            });
        }
        let result_formats = self.formats()?;
        // The result's are looked at when there is a result.
        for code in &formats {
            if !matches!(code, 0 | 1) {
                let message = format!("unsupported format code: {code}");
                return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        }
        Ok(Bind { portal, statement, formats, values, result_formats })
    }

    fn target(&mut self, message: &str) -> Result<(Target, String)> {
        let Some(kind) = self.0.first().copied() else { return Err(violation("no data left in message")) };
        self.0.advance(1);
        let name = self.text()?;
        match kind {
            b'S' => Ok((Target::Statement, name)),
            b'P' => Ok((Target::Portal, name)),
            _ => {
                self.end()?;
                Err(violation(format!("invalid {message} message subtype {kind}")))
            }
        }
    }
}

/// The text of bytes that must be UTF-8.
///
/// # Errors
/// 22021 with the offending bytes, as PostgreSQL prints them.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| SqlError::not_utf8(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;

    fn frame(kind: u8, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.put_u8(kind);
        bytes.put_i32(body.len() as i32 + 4);
        bytes.put_slice(body);
        bytes
    }

    fn read(kind: u8, body: &[u8]) -> Result<Message> {
        let mut bytes = frame(kind, body);
        Message::read(take(&mut bytes, session_gate)?.ok_or_else(|| violation("incomplete"))?)
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let whole = frame(b'Q', b"SELECT 1\0");
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            assert_eq!(take(&mut part, session_gate), Ok(None), "after {cut} bytes");
            assert_eq!(part.len(), cut, "nothing is consumed");
        }
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        assert_eq!(take(&mut two, session_gate).map(|f| f.map(|f| f.kind)), Ok(Some(b'Q')));
        assert_eq!(two.len(), whole.len(), "the second frame is untouched");
    }

    #[test]
    fn the_gate_refuses_before_the_body_arrives() {
        // The type alone is enough.
        assert!(take(&mut BytesMut::from(&b"\x16"[..]), session_gate).is_err());
        assert!(take(&mut BytesMut::from(&b"Q"[..]), login_gate).is_err());
        // So is the length: longer than allowed, shorter than itself, negative.
        for header in [&b"S\0\0\x30\0"[..], b"S\0\0\0\x03", b"Q\xff\xff\xff\xff", b"Q\x40\0\0\0"] {
            assert!(take(&mut BytesMut::from(header), session_gate).is_err(), "{header:?}");
        }
        assert!(take(&mut BytesMut::from(&b"p\0\0\x40\x01"[..]), login_gate).is_err());
        assert_eq!(take(&mut BytesMut::from(&b"p\0\0\x40\0"[..]), login_gate), Ok(None));
    }

    #[test]
    fn bodies_are_read_to_their_last_byte_and_no_further() {
        assert_eq!(read(b'Q', b"SELECT 1\0"), Ok(Message::Query("SELECT 1".into())));
        assert_eq!(read(b'Q', b"\0"), Ok(Message::Query(String::new())));
        let state = |result: Result<Message>| result.map_err(|error| error.state().code().to_string());
        assert_eq!(state(read(b'Q', b"SELECT 1")), Err("08P01".into()), "no terminator");
        assert_eq!(state(read(b'Q', b"SELECT 1\0x")), Err("08P01".into()), "something behind it");
        assert_eq!(state(read(b'Q', b"\xff\0")), Err("22021".into()));
        assert_eq!(state(read(b'P', b"\0SELECT 1\0\0\x02\0\0\0\x17")), Err("08P01".into()), "one of two types");
        assert_eq!(state(read(b'D', b"Zname\0")), Err("08P01".into()));
        assert_eq!(
            read(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            Ok(Message::Parse { name: "s".into(), sql: "SELECT $1".into(), types: vec![23] })
        );
        assert_eq!(read(b'E', b"\0\0\0\0\x05"), Ok(Message::Execute { portal: String::new(), rows_max: 5 }));
        assert_eq!(read(b'E', b"\0\xff\xff\xff\xff"), Ok(Message::Execute { portal: String::new(), rows_max: 0 }));
    }

    #[test]
    fn bind_counts_must_agree() {
        let bind = read(b'B', b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\x01\0\0");
        assert_eq!(
            bind,
            Ok(Message::Bind(Bind {
                portal: "p".into(),
                statement: "s".into(),
                formats: vec![1],
                values: vec![Some(Bytes::from_static(b"\0\0\0\x07")), None],
                result_formats: vec![0],
            }))
        );
        let state = |body: &[u8]| read(b'B', body).map(|_| ()).map_err(|error| error.state().code().to_string());
        assert_eq!(state(b"\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0"), Err("08P01".into()), "2 formats, 1 value");
        assert_eq!(state(b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"), Err("08P01".into()), "a value longer than the frame");
        assert_eq!(state(b"\0\0\0\0\xff\xff"), Err("08P01".into()), "65535 values, none there");
        assert_eq!(state(b"\0\0\0\x01\0\x02\0\x01\xff\xff\xff\xff\0\0"), Err("22023".into()), "format 2");
    }

    /// Random bytes never panic and never read beyond their frame.
    #[test]
    fn noise_is_an_error() {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        for _ in 0..20_000 {
            let mut noise = Vec::new();
            for _ in 0..(state % 40) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                noise.push((state >> 32) as u8 & if state & 1 == 0 { 0x03 } else { 0xff });
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            for kind in *b"QPBDECHSXdcfF" {
                let _ = read(kind, &noise);
            }
        }
    }

    /// Whatever comes is taken frame by frame and read or refused, and no more of it is taken than was said.
    #[test]
    fn fuzz_frames() {
        let inputs = crate::fuzz::corpus(include_str!("../../../tests/fuzz/frames.txt"));
        crate::fuzz::run("frames", inputs, |input| {
            let mut answers = String::new();
            for gate in [session_gate as Gate, login_gate] {
                let mut bytes = BytesMut::from(input);
                loop {
                    let before = bytes.len();
                    match take(&mut bytes, gate) {
                        Ok(Some(frame)) => {
                            assert_eq!(before - bytes.len(), frame.body.len() + 5);
                            answers.push(frame.kind.into());
                            if let Err(error) = Message::read(frame) {
                                answers += &crate::fuzz::unquoted(error.message());
                            }
                        }
                        Ok(None) => break,
                        Err(error) => {
                            answers += &crate::fuzz::unquoted(error.message());
                            break;
                        }
                    }
                }
            }
            answers
        });
    }
}
