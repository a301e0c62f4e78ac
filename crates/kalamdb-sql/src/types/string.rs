//! text, varchar(n), char(n), name, "char", and what else is text in Arrow.

use super::{Encoder, cell};
use arrow_array::{Array, StringArray, StringViewArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};

/// PostgreSQL's NAMEDATALEN - 1: the most bytes of a name.
pub const NAME_BYTES_MAX: usize = 63;

/// Reads a text-like value: lengths are checked, names cut, char(n) padded.
pub(super) fn read(text: &str, ty: PgType) -> Result<Datum> {
    if text.contains('\0') {
        return Err(SqlError::not_utf8(text.as_bytes()));
    }
    Ok(match ty.ty {
        SqlType::Varchar | SqlType::Bpchar => Datum::text(fit(text, ty, false)?.as_ref()),
        SqlType::Name => Datum::text(cut_name(text)),
        SqlType::Char => Datum::text(byte_char(text)),
        _ => Datum::text(text),
    })
}

/// Makes a text fit varchar(n) or char(n). `explicit` (a written cast) cuts; otherwise only blanks may be cut and
/// anything else is an error. char(n) is padded.
///
/// # Errors
/// 22001
pub fn fit(text: &str, ty: PgType, explicit: bool) -> Result<std::borrow::Cow<'_, str>> {
    let Some(length) = ty.char_length() else { return Ok(text.into()) };
    // No more bytes than characters allowed: it fits, whatever it is.
    let count = if text.is_ascii() { text.len() } else { text.chars().count() };
    if count > length {
        let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        let (kept, cut) = text.split_at(end);
        if !explicit && cut.bytes().any(|byte| byte != b' ') {
            return Err(SqlError::new(
                SqlState::STRING_DATA_RIGHT_TRUNCATION,
                format!("value too long for type {}", PgType { ty: scalar(ty.ty), typmod: ty.typmod }),
            ));
        }
        return Ok(kept.into());
    }
    if scalar(ty.ty) == SqlType::Bpchar && count < length {
        let mut padded = String::with_capacity(text.len() + length - count);
        padded.push_str(text);
        padded.push_str(&" ".repeat(length - count));
        return Ok(padded.into());
    }
    Ok(text.into())
}

fn scalar(ty: SqlType) -> SqlType {
    ty.element().unwrap_or(ty)
}

/// Cuts a name to 63 bytes at a character's border.
pub fn cut_name(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_BYTES_MAX.min(text.len()))]
}

/// What a text is as "char": its first byte, or the one that three octal digits behind a backslash say. A byte above
/// 127 is kept as the character of that number, so that order and equality are the bytes'.
pub fn byte_char(text: &str) -> String {
    let byte = match *text.as_bytes() {
        [b'\\', a @ b'0'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            (u32::from(a - b'0') << 6 | u32::from(b - b'0') << 3 | u32::from(c - b'0')) as u8
        }
        [first, ..] => first,
        [] => 0,
    };
    char_of_byte(byte)
}

/// A "char" of a byte; zero is the empty one.
pub fn char_of_byte(byte: u8) -> String {
    if byte == 0 { String::new() } else { char::from(byte).to_string() }
}

/// How a "char" is printed: bytes above 127 as a backslash and octal digits.
pub fn shown_char(value: &str) -> String {
    match value.chars().next() {
        Some(ch) if !ch.is_ascii() => format!("\\{:03o}", u32::from(ch)),
        Some(ch) => ch.to_string(),
        None => String::new(),
    }
}

/// Bytes to text.
///
/// # Errors
/// 22021
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(SqlError::not_utf8(bytes)),
    }
}

/// The text at a place, whichever of the engine's two text arrays it is.
pub(crate) fn text_at(array: &dyn Array, row: usize) -> &str {
    match array.as_any().downcast_ref::<StringArray>() {
        Some(array) => array.value(row),
        None => cell::<StringViewArray>(array).value(row),
    }
}

/// Text as it is, in both formats.
pub(super) struct Text;
/// jsonb and jsonpath in binary: a version byte, then text.
pub(super) struct VersionedBinary;
/// "char" in binary: always one byte.
pub(super) struct CharBinary;
/// "char" as text.
pub(super) struct CharText;
/// tid in binary: block and offset.
pub(super) struct TidBinary;

impl Encoder for Text {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_slice(text_at(array, row).as_bytes());
    }
}
impl Encoder for VersionedBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_u8(1);
        out.put_slice(text_at(array, row).as_bytes());
    }
}
impl Encoder for CharBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_u8(text_at(array, row).chars().next().map_or(0, |ch| u32::from(ch) as u8));
    }
}
impl Encoder for CharText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_slice(shown_char(text_at(array, row)).as_bytes());
    }
}
impl Encoder for TidBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let (block, offset) = tid_parts(text_at(array, row)).unwrap_or_default();
        out.put_u32(block);
        out.put_u16(offset);
    }
}

/// Reads `(block,offset)`. As with C's `strtoul`, blanks and a sign may stand before a number; what follows the closing
/// bracket, or stands before the opening one, does not count.
pub(super) fn tid_parts(text: &str) -> Option<(u32, u16)> {
    let (_, inner) = text.split_once('(')?;
    let (block, rest) = inner.split_once(',')?;
    let (offset, _) = rest.split_once(')')?;
    let number = |part: &str| part.trim_start_matches(super::is_blank).parse::<i64>().ok();
    let block = number(block).filter(|block| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(block))?;
    Some((block as u32, u16::try_from(number(offset)?).ok()?))
}
