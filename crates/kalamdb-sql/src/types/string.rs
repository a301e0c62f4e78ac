//! text, varchar(n), char(n), name, "char", and what else is text in Arrow.

use super::{Encoder, cell};
use arrow_array::{Array, StringArray, StringViewArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};

/// PostgreSQL's NAMEDATALEN - 1: the most bytes of a name.
const NAME_BYTES_MAX: usize = 63;

/// Reads a text-like value: lengths are checked, names cut, char(n) padded.
pub(super) fn read(text: &str, ty: PgType) -> Result<Datum> {
    if text.contains('\0') {
        return Err(SqlError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(match ty.ty {
        SqlType::Varchar | SqlType::Bpchar => Datum::text(fit(text, ty, false)?.as_ref()),
        SqlType::Name => Datum::text(cut_name(text)),
        SqlType::Char => Datum::text(&text[..text.chars().next().map_or(0, char::len_utf8)]),
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

/// Bytes to text.
///
/// # Errors
/// 22021
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let bad = &bytes[at..(at + error.error_len().unwrap_or(1)).min(bytes.len())];
        let shown: Vec<String> = bad.iter().map(|byte| format!("0x{byte:02x}")).collect();
        SqlError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    })?;
    if text.contains('\0') {
        return Err(SqlError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(text)
}

/// The text at a place, whichever of the engine's two text arrays it is.
pub(super) fn text_at(array: &dyn Array, row: usize) -> &str {
    match array.as_any().downcast_ref::<StringArray>() {
        Some(array) => array.value(row),
        None => cell::<StringViewArray>(array).value(row),
    }
}

/// Text as it is, in both formats.
pub(super) struct Text;
/// jsonb in binary: a version byte, then text.
pub(super) struct JsonbBinary;
/// "char" in binary: always one byte.
pub(super) struct CharBinary;
/// tid in binary: block and offset.
pub(super) struct TidBinary;

impl Encoder for Text {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_slice(text_at(array, row).as_bytes());
    }
}
impl Encoder for JsonbBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_u8(1);
        out.put_slice(text_at(array, row).as_bytes());
    }
}
impl Encoder for CharBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        out.put_u8(text_at(array, row).bytes().next().unwrap_or(0));
    }
}
impl Encoder for TidBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let (block, offset) = tid_parts(text_at(array, row)).unwrap_or_default();
        out.put_u32(block);
        out.put_u16(offset);
    }
}

/// Reads `(block,offset)`.
pub(super) fn tid_parts(text: &str) -> Option<(u32, u16)> {
    let inner = super::trim(text).strip_prefix('(')?.strip_suffix(')')?;
    let (block, offset) = inner.split_once(',')?;
    Some((block.trim().parse().ok()?, offset.trim().parse().ok()?))
}
