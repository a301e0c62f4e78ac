//! json and jsonb: json keeps its text, jsonb keeps its meaning.
//!
//! A jsonb value is stored as its normal text: keys sorted by length and then bytes, of equal keys the last one,
//! numbers exact as numerics print, one blank behind colons and commas. Equal values have equal text, so text
//! equality is jsonb equality except for a number's trailing zeros (`1.0` and `1.00` print apart, as in PostgreSQL).

use kalamdb_commons::{Datum, Numeric, Result, SqlError, SqlState};
use std::fmt::Write;

/// How deep values may nest: far below what the stack holds, far above what people write.
const DEPTH_MAX: usize = 3000;
/// PostgreSQL shows so many bytes before the fault.
const CONTEXT_BYTES: usize = 50;

/// A JSON value. Numbers are numerics in text form.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// null
    Null,
    /// true, false
    Bool(bool),
    /// A number, as a numeric prints it.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object: keys sorted as jsonb sorts them, each once.
    Object(Vec<(String, Json)>),
}

/// Checks a json text; the value is the text itself.
pub(super) fn read_json(text: &str) -> Result<Datum> {
    let mut parser = Parser::new(text, false);
    parser.document()?;
    Ok(Datum::text(text))
}

/// Reads a jsonb text and makes it normal.
pub(super) fn read_jsonb(text: &str) -> Result<Datum> {
    Ok(Datum::text(Json::parse(text)?.to_string()))
}

impl Json {
    /// Reads a json or jsonb text.
    ///
    /// # Errors
    /// 22P02 with PostgreSQL's detail and context; 22P05 for `\u0000`; 54001 when it nests too deep.
    pub fn parse(text: &str) -> Result<Json> {
        Parser::new(text, true).document()
    }

    /// An object from its members: sorts the keys, keeps the last of equal ones.
    pub fn object(mut members: Vec<(String, Json)>) -> Json {
        // A stable sort leaves equal keys in their order, so that the last of a run is the last written.
        members.sort_by(|(a, _), (b, _)| key_order(a, b));
        let mut kept: Vec<(String, Json)> = Vec::with_capacity(members.len());
        for member in members {
            match kept.last_mut() {
                Some(last) if last.0 == member.0 => *last = member,
                _ => kept.push(member),
            }
        }
        Json::Object(kept)
    }

    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => {
                let place = members.binary_search_by(|(name, _)| key_order(name, key)).ok()?;
                Some(&members[place].1)
            }
            _ => None,
        }
    }
}

/// jsonb's order of keys.
fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

impl std::fmt::Display for Json {
    /// jsonb's text form.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(text) => f.write_str(text),
            Json::String(text) => write_string(text, f),
            Json::Array(items) => {
                f.write_char('[')?;
                for (place, item) in items.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { ", " })?;
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (place, (key, value)) in members.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { ", " })?;
                    write_string(key, f)?;
                    f.write_str(": ")?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Writes a JSON string with PostgreSQL's escapes.
///
/// # Errors
/// Those of `out`.
pub fn write_string(text: &str, out: &mut impl Write) -> std::fmt::Result {
    out.write_char('"')?;
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.write_str(&text[clean..at])?;
        clean = at + 1;
        match byte {
            b'"' => out.write_str("\\\"")?,
            b'\\' => out.write_str("\\\\")?,
            0x08 => out.write_str("\\b")?,
            0x0c => out.write_str("\\f")?,
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\t' => out.write_str("\\t")?,
            _ => write!(out, "\\u{byte:04x}")?,
        }
    }
    out.write_str(&text[clean..])?;
    out.write_char('"')
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Token {
    Open(u8),
    Close(u8),
    Comma,
    Colon,
    String,
    Number,
    Word,
    End,
}

/// A recursive descent over tokens; `start..end` is the newest token, for reports.
struct Parser<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    token: Token,
    /// The newest string token, unescaped (only when values are kept).
    string: String,
    keep: bool,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, keep: bool) -> Self {
        Parser { text, start: 0, end: 0, token: Token::End, string: String::new(), keep, depth: 0 }
    }

    fn document(&mut self) -> Result<Json> {
        self.advance()?;
        let value = self.value()?;
        match self.token {
            Token::End => Ok(value),
            _ => Err(self.unexpected("end of input")),
        }
    }

    fn value(&mut self) -> Result<Json> {
        let value = match self.token {
            Token::Open(b'{') => return self.nested(Self::members),
            Token::Open(_) => return self.nested(Self::items),
            Token::String => Json::String(std::mem::take(&mut self.string)),
            Token::Number => self.number()?,
            Token::Word => match &self.text[self.start..self.end] {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => Json::Null,
            },
            _ => return Err(self.unexpected("JSON value")),
        };
        self.advance()?;
        Ok(value)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json>) -> Result<Json> {
        if self.depth == DEPTH_MAX {
            return Err(SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        self.depth += 1;
        let value = stacker::maybe_grow(64 * 1024, 1024 * 1024, || read(self))?;
        self.depth -= 1;
        Ok(value)
    }

    fn items(&mut self) -> Result<Json> {
        let mut items = Vec::new();
        self.advance()?;
        if self.token == Token::Close(b']') {
            self.advance()?;
            return Ok(Json::Array(items));
        }
        loop {
            let item = self.value()?;
            if self.keep {
                items.push(item);
            }
            match self.token {
                Token::Comma => self.advance()?,
                Token::Close(b']') => break,
                _ => return Err(self.unexpected("\",\" or \"]\"")),
            }
        }
        self.advance()?;
        Ok(Json::Array(items))
    }

    fn members(&mut self) -> Result<Json> {
        let mut members = Vec::new();
        self.advance()?;
        if self.token == Token::Close(b'}') {
            self.advance()?;
            return Ok(Json::Object(members));
        }
        let mut expected = "string or \"}\"";
        loop {
            if self.token != Token::String {
                return Err(self.unexpected(expected));
            }
            let key = std::mem::take(&mut self.string);
            self.advance()?;
            if self.token != Token::Colon {
                return Err(self.unexpected("\":\""));
            }
            self.advance()?;
            let value = self.value()?;
            if self.keep {
                members.push((key, value));
            }
            match self.token {
                Token::Comma => self.advance()?,
                Token::Close(b'}') => break,
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
            expected = "string";
        }
        self.advance()?;
        Ok(Json::object(members))
    }

    fn number(&self) -> Result<Json> {
        if !self.keep {
            return Ok(Json::Null);
        }
        let text = &self.text[self.start..self.end];
        // Most numbers are short integers, which are normal as they are.
        if text.len() < 18 && text != "-0" && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Ok(Json::Number(text.to_string()));
        }
        let value = Numeric::from_text(text).map_err(|error| error.report(text))?;
        Ok(Json::Number(value.to_string()))
    }

    fn advance(&mut self) -> Result<()> {
        let bytes = self.text.as_bytes();
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.start = self.end + bytes[self.end..].iter().take_while(|byte| blank(byte)).count();
        self.end = self.start + 1;
        self.token = match bytes.get(self.start) {
            None => {
                self.end = self.start;
                Token::End
            }
            Some(open @ (b'{' | b'[')) => Token::Open(*open),
            Some(close @ (b'}' | b']')) => Token::Close(*close),
            Some(b',') => Token::Comma,
            Some(b':') => Token::Colon,
            Some(b'"') => {
                self.scan_string()?;
                Token::String
            }
            Some(b'-' | b'0'..=b'9') => {
                self.scan_number()?;
                Token::Number
            }
            Some(_) => {
                self.end = self.start + word_len(&bytes[self.start..]);
                if !matches!(&self.text[self.start..self.end], "true" | "false" | "null") {
                    if self.end == self.start {
                        self.end += self.text[self.start..].chars().next().map_or(0, char::len_utf8);
                    }
                    return Err(self.invalid_token());
                }
                Token::Word
            }
        };
        Ok(())
    }

    fn scan_number(&mut self) -> Result<()> {
        let bytes = &self.text.as_bytes()[self.start..];
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = usize::from(bytes[0] == b'-');
        let whole = digits(at);
        let mut good = whole == 1 || (whole > 1 && bytes[at] != b'0');
        at += whole;
        if good && bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            good = fraction > 0;
            at += 1 + fraction;
        }
        if good && matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits(at);
            good = exponent > 0;
            at += exponent;
        }
        // Letters that follow belong to the token, and make it none.
        let more = word_len(&bytes[at..]);
        self.end = self.start + at + more;
        if good && more == 0 { Ok(()) } else { Err(self.invalid_token()) }
    }

    fn scan_string(&mut self) -> Result<()> {
        let bytes = self.text.as_bytes();
        self.string.clear();
        let mut clean = self.start + 1;
        let mut at = clean;
        let mut high: Option<u32> = None;
        loop {
            let Some(&byte) = bytes.get(at) else {
                self.end = at;
                return Err(self.invalid_token());
            };
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                if high.is_some() {
                    return Err(self.surrogate("low surrogate must follow a high", at + 1));
                }
                at += 1;
                continue;
            }
            if self.keep {
                self.string.push_str(&self.text[clean..at]);
            }
            match byte {
                b'"' => break,
                b'\\' => at = self.escape(at, &mut high)?,
                _ => {
                    self.end = at;
                    return Err(self.fault(format!("Character with value 0x{byte:02x} must be escaped.")));
                }
            }
            clean = at;
        }
        self.end = at + 1;
        match high {
            Some(_) => Err(self.surrogate("low surrogate must follow a high", at + 1)),
            None => Ok(()),
        }
    }

    /// Reads one escape at `at`; gives the place behind it.
    fn escape(&mut self, at: usize, high: &mut Option<u32>) -> Result<usize> {
        let bytes = self.text.as_bytes();
        let plain = match bytes.get(at + 1) {
            Some(same @ (b'"' | b'\\' | b'/')) => char::from(*same),
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(at, high),
            None => {
                self.end = bytes.len();
                return Err(self.invalid_token());
            }
            Some(_) => {
                let end = at + 1 + self.text[at + 1..].chars().next().map_or(0, char::len_utf8);
                self.end = end;
                return Err(self.fault(format!("Escape sequence \"{}\" is invalid.", &self.text[at..end])));
            }
        };
        if high.is_some() {
            return Err(self.surrogate("low surrogate must follow a high", at + 2));
        }
        if self.keep {
            self.string.push(plain);
        }
        Ok(at + 2)
    }

    fn unicode(&mut self, at: usize, high: &mut Option<u32>) -> Result<usize> {
        let end = at + 6;
        let hex = self.text.as_bytes().get(at + 2..end).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let Some(hex) = hex.and_then(|hex| std::str::from_utf8(hex).ok()) else {
            let digits = self.text.as_bytes()[at + 2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let fault = at + 2 + digits;
            self.end = fault + self.text[fault..].chars().next().map_or(0, char::len_utf8);
            return Err(self.fault("\"\\u\" must be followed by four hexadecimal digits.".into()));
        };
        if !self.keep {
            return Ok(end);
        }
        let code = u32::from_str_radix(hex, 16).unwrap_or(0);
        match (code, *high) {
            (0xd800..=0xdbff, Some(_)) => return Err(self.surrogate("high surrogate must not follow a high", end)),
            (0xd800..=0xdbff, None) => *high = Some(code),
            (0xdc00..=0xdfff, Some(first)) => {
                let code = 0x10000 + ((first & 0x3ff) << 10) + (code & 0x3ff);
                self.string.extend(char::from_u32(code));
                *high = None;
            }
            (0xdc00..=0xdfff, None) | (_, Some(_)) => {
                return Err(self.surrogate("low surrogate must follow a high", end));
            }
            (0, None) => {
                self.end = end;
                let error = SqlError::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence");
                return Err(error.with_detail("\\u0000 cannot be converted to text.").with_context(self.context()));
            }
            (_, None) => self.string.extend(char::from_u32(code)),
        }
        Ok(end)
    }

    fn surrogate(&mut self, rule: &str, end: usize) -> SqlError {
        self.end = end.min(self.text.len());
        while !self.text.is_char_boundary(self.end) {
            self.end += 1;
        }
        self.fault(format!("Unicode {rule} surrogate."))
    }

    fn invalid_token(&self) -> SqlError {
        self.fault(format!("Token \"{}\" is invalid.", &self.text[self.start..self.end]))
    }

    fn unexpected(&self, expected: &str) -> SqlError {
        match self.token {
            Token::End => self.fault("The input string ended unexpectedly.".into()),
            _ => self.fault(format!("Expected {expected}, but found \"{}\".", &self.text[self.start..self.end])),
        }
    }

    fn fault(&self, detail: String) -> SqlError {
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
            .with_detail(detail)
            .with_context(self.context())
    }

    /// The line with the fault, cut at the fault.
    fn context(&self) -> String {
        let before = &self.text[..self.start.min(self.text.len())];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let mut from = line_start;
        while self.end.saturating_sub(from) >= CONTEXT_BYTES {
            from += self.text[from..].chars().next().map_or(1, char::len_utf8);
        }
        let prefix = if from > line_start { "..." } else { "" };
        let rest = &self.text[self.end..];
        let suffix = if rest.is_empty() || rest.starts_with(['\n', '\r']) { "" } else { "..." };
        format!("JSON data, line {line}: {prefix}{}{suffix}", &self.text[from..self.end])
    }
}

fn word_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte >= 0x80).count()
}
