//! Arrays of one dimension, and the two vector types, in text and binary.

use super::{Encoder, Style, cell, trim};
use crate::function::CatalogNames;
use arrow_array::{Array, ListArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{ArrayDatum, Datum, PgType, Result, SqlError, SqlState, SqlType};

/// PostgreSQL's MaxArraySize for pointers: what a count in a binary array must stay below.
const ITEMS_MAX: usize = 134_217_727;

/// Reads an array's or a vector's text.
pub(super) fn read(text: &str, ty: PgType, style: &Style, names: &dyn CatalogNames) -> Result<Datum> {
    let element = element_of(ty)?;
    let is_vector = matches!(ty.ty, SqlType::Int2vector | SqlType::Oidvector);
    let items = if is_vector {
        text.split_ascii_whitespace()
            .map(|part| super::from_text(part, element, style, names))
            .collect::<Result<_>>()?
    } else {
        let parts = Literal::new(text).items()?;
        let read = |part: Option<String>| match part {
            Some(part) => super::from_text(&part, element, style, names),
            None => Ok(Datum::Null),
        };
        parts.into_iter().map(read).collect::<Result<_>>()?
    };
    Ok(Datum::Array(Box::new(ArrayDatum { element: element.ty, items })))
}

/// The element's type; the array's modifier is the element's.
pub(super) fn element_of(ty: PgType) -> Result<PgType> {
    let element = ty.ty.element().ok_or_else(|| SqlError::internal(format!("{ty} is no array")))?;
    Ok(PgType { ty: element, typmod: ty.typmod })
}

fn several_dimensions() -> SqlError {
    SqlError::unsupported("an array of several dimensions")
}

/// A reader of `{a,"b",NULL}`.
struct Literal<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn new(whole: &'a str) -> Self {
        Literal { whole, rest: trim(whole) }
    }

    fn malformed(&self, detail: &str) -> SqlError {
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{}\"", self.whole))
            .with_detail(detail)
    }

    fn unexpected(&self, what: char) -> SqlError {
        self.malformed(&format!("Unexpected \"{what}\" character."))
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(super::is_blank);
    }

    fn items(mut self) -> Result<Vec<Option<String>>> {
        self.dimension()?;
        self.rest = self
            .rest
            .strip_prefix('{')
            .ok_or_else(|| self.malformed("Array value must start with \"{\" or dimension information."))?;
        let mut items = Vec::new();
        self.skip_blanks();
        if let Some(after) = self.rest.strip_prefix('}') {
            return self.end(after).map(|()| items);
        }
        loop {
            items.push(self.item()?);
            let mark = self.rest.chars().next().ok_or_else(|| self.malformed("Unexpected end of input."))?;
            let after = &self.rest[mark.len_utf8()..];
            match mark {
                ',' => self.rest = after,
                '}' => return self.end(after).map(|()| items),
                _ => return Err(self.unexpected(mark)),
            }
        }
    }

    /// `[1:3]=` says nothing new when the lower bound is 1.
    fn dimension(&mut self) -> Result<()> {
        let Some(after) = self.rest.strip_prefix('[') else { return Ok(()) };
        let Some((bounds, rest)) = after.split_once("]=") else {
            return Err(self.malformed("Missing \"]\" in array dimensions."));
        };
        if bounds.contains('[') {
            return Err(several_dimensions());
        }
        match bounds.split_once(':') {
            Some(("1", _)) => {}
            None => {}
            Some(_) => return Err(SqlError::unsupported("an array whose lower bound is not 1")),
        }
        self.rest = trim(rest);
        Ok(())
    }

    fn end(&self, after: &str) -> Result<()> {
        match after.trim_start_matches(super::is_blank) {
            "" => Ok(()),
            _ => Err(self.malformed("Junk after closing right brace.")),
        }
    }

    fn item(&mut self) -> Result<Option<String>> {
        self.skip_blanks();
        match self.rest.chars().next() {
            Some('{') => Err(several_dimensions()),
            Some('"') => self.quoted().map(Some),
            Some(mark @ (',' | '}')) => Err(self.unexpected(mark)),
            _ => self.bare(),
        }
    }

    fn quoted(&mut self) -> Result<String> {
        let mut item = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, ch)) = chars.next() {
            match ch {
                '"' => {
                    self.rest = self.rest[at + 1..].trim_start_matches(super::is_blank);
                    return match self.rest.chars().next() {
                        Some(',' | '}') | None => Ok(item),
                        Some(_) => Err(self.malformed("Unexpected array element.")),
                    };
                }
                '\\' => match chars.next() {
                    Some((_, escaped)) => item.push(escaped),
                    None => break,
                },
                _ => item.push(ch),
            }
        }
        Err(self.malformed("Unexpected end of input."))
    }

    fn bare(&mut self) -> Result<Option<String>> {
        let mut item = String::new();
        // Blanks at the end do not count, unless they were escaped.
        let mut kept = 0;
        let mut escaped = false;
        let mut chars = self.rest.char_indices();
        loop {
            let Some((at, ch)) = chars.next() else { return Err(self.malformed("Unexpected end of input.")) };
            match ch {
                ',' | '}' => {
                    self.rest = &self.rest[at..];
                    break;
                }
                '{' => return Err(self.unexpected('{')),
                '"' => return Err(self.malformed("Unexpected array element.")),
                '\\' => match chars.next() {
                    Some((_, next)) => {
                        item.push(next);
                        kept = item.len();
                        escaped = true;
                    }
                    None => return Err(self.malformed("Unexpected end of input.")),
                },
                _ => {
                    item.push(ch);
                    if !super::is_blank(ch) {
                        kept = item.len();
                    }
                }
            }
        }
        item.truncate(kept);
        let is_null = !escaped && item.eq_ignore_ascii_case("null");
        Ok((!is_null).then_some(item))
    }
}

/// Reads an array's binary form.
pub(super) fn read_binary(bytes: &[u8], ty: PgType) -> Result<Datum> {
    let element = element_of(ty)?;
    let mut reader = Reader(bytes);
    let (dimensions, flags, oid) = (reader.i32()?, reader.i32()?, reader.i32()? as u32);
    let malformed = |message: String| SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, message);
    if flags != 0 && flags != 1 {
        return Err(malformed("invalid array flags".into()));
    }
    // Drivers send text for varchar and the like: what is one in Arrow is taken.
    let sent = SqlType::from_oid(oid);
    if oid != element.ty.oid() && sent.is_none_or(|sent| sent.arrow() != element.ty.arrow()) {
        let name = sent.map_or_else(|| "???".to_owned(), |sent| PgType::new(sent).to_string());
        let message = format!(
            "binary data has array element type {oid} ({name}) instead of expected {} ({})",
            element.ty.oid(),
            PgType::new(element.ty)
        );
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
    }
    let mut items = Vec::new();
    match dimensions {
        0 => {}
        1 => {
            let (count, lower) = (reader.i32()?, reader.i32()?);
            let expected = if ty.ty.facts().name.starts_with('_') { 1 } else { 0 };
            if lower != expected {
                return Err(SqlError::unsupported(format!("an array whose lower bound is not {expected}")));
            }
            let count = usize::try_from(count).ok().filter(|count| *count <= ITEMS_MAX);
            for _ in 0..count.ok_or_else(|| malformed("array size exceeds the maximum allowed".into()))? {
                items.push(match reader.i32()? {
                    -1 => Datum::Null,
                    length => super::from_binary(reader.take(usize::try_from(length).unwrap_or(usize::MAX))?, element)?,
                });
            }
        }
        2..=6 => return Err(several_dimensions()),
        _ => return Err(malformed(format!("invalid number of dimensions: {dimensions}"))),
    }
    if !reader.0.is_empty() {
        return Err(super::surplus());
    }
    Ok(Datum::Array(Box::new(ArrayDatum { element: element.ty, items })))
}

/// The rest of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(super::insufficient)?;
        self.0 = rest;
        Ok(taken)
    }
    fn i32(&mut self) -> Result<i32> {
        let (word, rest) = self.0.split_first_chunk::<4>().ok_or_else(super::insufficient)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*word))
    }
}

/// `{a,b}`; items that hold only digits and the like are never quoted.
pub(super) struct ArrayText {
    pub element: Box<dyn Encoder>,
    pub may_need_quotes: bool,
}
/// `1 2 3`
pub(super) struct VectorText(pub Box<dyn Encoder>);
/// An array in binary.
pub(super) struct ArrayBinary {
    pub element: Box<dyn Encoder>,
    pub oid: u32,
    pub lower: i32,
}

impl Encoder for ArrayText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let items = cell::<ListArray>(array).value(row);
        out.put_u8(b'{');
        for place in 0..items.len() {
            if place > 0 {
                out.put_u8(b',');
            }
            if items.is_null(place) {
                out.put_slice(b"NULL");
                continue;
            }
            let start = out.len();
            self.element.encode(items.as_ref(), place, out);
            if self.may_need_quotes {
                quote(start, out);
            }
        }
        out.put_u8(b'}');
    }
}

/// Puts quotes around what was written since `start`, if it would be read as something else without.
fn quote(start: usize, out: &mut BytesMut) {
    let written = &out[start..];
    let special =
        |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    if !written.is_empty() && !written.iter().any(special) && !written.eq_ignore_ascii_case(b"null") {
        return;
    }
    let written = out.split_off(start);
    out.put_u8(b'"');
    for byte in written {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}

impl Encoder for VectorText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let items = cell::<ListArray>(array).value(row);
        for place in 0..items.len() {
            if place > 0 {
                out.put_u8(b' ');
            }
            self.0.encode(items.as_ref(), place, out);
        }
    }
}

impl Encoder for ArrayBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let items = cell::<ListArray>(array).value(row);
        out.put_i32(i32::from(!items.is_empty()));
        out.put_i32(i32::from(items.null_count() > 0));
        out.put_u32(self.oid);
        if items.is_empty() {
            return;
        }
        out.put_i32(items.len() as i32);
        out.put_i32(self.lower);
        for place in 0..items.len() {
            if items.is_null(place) {
                out.put_i32(-1);
                continue;
            }
            let start = out.len();
            out.put_i32(0);
            self.element.encode(items.as_ref(), place, out);
            let length = (out.len() - start - 4) as i32;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
}
