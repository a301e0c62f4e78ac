//! Strings and byte strings (PostgreSQL manual 9.4, 9.5). Lengths and places count characters from 1.

use super::rows::{self, TextArray, by_datum, f, fail, k, text_of, x};
use super::{Call, Function, Kind, SetRows};
use crate::types::oid::quoted_ident;
use arrow_array::ArrayRef;
use base64::Engine as _;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use ring::digest;
use std::borrow::Cow;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(1258 "textcat" (a: Text, b: Text) -> Text { bounded(a.len() + b.len())?; Ok([a, b].concat()) }),
    x!(2004 stable "anytextcat" (Anynonarray, Text) -> Text = cat_any),
    x!(2003 stable "textanycat" (Text, Anynonarray) -> Text = cat_any),
    f!(2011 "byteacat" (a: Bytea, b: Bytea) -> Bytea { bounded(a.len() + b.len())?; Ok([a, b].concat()) }),
    f!(1317 "length" (a: Text) -> Int4 { Ok(length(a)) }),
    f!(1318 "length" (a: Bpchar) -> Int4 { Ok(length(a.trim_end_matches(' '))) }),
    f!(2010 "length" (a: Bytea) -> Int4 { Ok(a.len() as i32) }),
    f!(1381 "char_length" (a: Text) -> Int4 { Ok(length(a)) }),
    f!(1372 "char_length" (a: Bpchar) -> Int4 { Ok(length(a.trim_end_matches(' '))) }),
    f!(1369 "character_length" (a: Text) -> Int4 { Ok(length(a)) }),
    f!(1367 "character_length" (a: Bpchar) -> Int4 { Ok(length(a.trim_end_matches(' '))) }),
    f!(1374 "octet_length" (a: Text) -> Int4 { Ok(a.len() as i32) }),
    f!(1375 "octet_length" (a: Bpchar) -> Int4 { Ok(a.len() as i32) }),
    f!(720 "octet_length" (a: Bytea) -> Int4 { Ok(a.len() as i32) }),
    f!(1811 "bit_length" (a: Text) -> Int4 { Ok(a.len() as i32 * 8) }),
    f!(1810 "bit_length" (a: Bytea) -> Int4 { Ok(a.len() as i32 * 8) }),
    f!(870 "lower" (a: Text) -> Text { Ok(lower(a)) }),
    f!(871 "upper" (a: Text) -> Text { Ok(upper(a)) }),
    f!(872 "initcap" (a: Text) -> Text { Ok(initcap(a)) }),
    f!(883 "substr" (a: Text, from: Int4) -> Text { substring(a, from, None) }),
    f!(877 "substr" (a: Text, from: Int4, n: Int4) -> Text { substring(a, from, Some(n)) }),
    f!(937 "substring" (a: Text, from: Int4) -> Text { substring(a, from, None) }),
    f!(936 "substring" (a: Text, from: Int4, n: Int4) -> Text { substring(a, from, Some(n)) }),
    f!(2086 "substr" (a: Bytea, from: Int4) -> Bytea { subbytes(a, from, None) }),
    f!(2085 "substr" (a: Bytea, from: Int4, n: Int4) -> Bytea { subbytes(a, from, Some(n)) }),
    f!(2013 "substring" (a: Bytea, from: Int4) -> Bytea { subbytes(a, from, None) }),
    f!(2012 "substring" (a: Bytea, from: Int4, n: Int4) -> Bytea { subbytes(a, from, Some(n)) }),
    f!(3060 "left" (a: Text, n: Int4) -> Text { Ok(split_at(a, n).0) }),
    f!(3061 "right" (a: Text, n: Int4) -> Text { Ok(right(a, n)) }),
    f!(873 "lpad" (a: Text, n: Int4, with: Text) -> Text { pad(a, n, with, true) }),
    f!(879 "lpad" (a: Text, n: Int4) -> Text { pad(a, n, " ", true) }),
    f!(874 "rpad" (a: Text, n: Int4, with: Text) -> Text { pad(a, n, with, false) }),
    f!(880 "rpad" (a: Text, n: Int4) -> Text { pad(a, n, " ", false) }),
    f!(881 "ltrim" (a: Text) -> Text { Ok(a.trim_start_matches(' ')) }),
    f!(882 "rtrim" (a: Text) -> Text { Ok(a.trim_end_matches(' ')) }),
    f!(885 "btrim" (a: Text) -> Text { Ok(a.trim_matches(' ')) }),
    f!(875 "ltrim" (a: Text, set: Text) -> Text { Ok(a.trim_start_matches(|c| set.contains(c))) }),
    f!(876 "rtrim" (a: Text, set: Text) -> Text { Ok(a.trim_end_matches(|c| set.contains(c))) }),
    f!(884 "btrim" (a: Text, set: Text) -> Text { Ok(a.trim_matches(|c| set.contains(c))) }),
    f!(2015 "btrim" (a: Bytea, set: Bytea) -> Bytea { Ok(trim_start(trim_end(a, set), set)) }),
    f!(6195 "ltrim" (a: Bytea, set: Bytea) -> Bytea { Ok(trim_start(a, set)) }),
    f!(6196 "rtrim" (a: Bytea, set: Bytea) -> Bytea { Ok(trim_end(a, set)) }),
    f!(2087 "replace" (a: Text, from: Text, to: Text) -> Text { replace(a, from, to) }),
    f!(878 "translate" (a: Text, from: Text, to: Text) -> Text { Ok(translate(a, from, to)) }),
    f!(849 "position" (a: Text, part: Text) -> Int4 { Ok(position(a, part)) }),
    f!(868 "strpos" (a: Text, part: Text) -> Int4 { Ok(position(a, part)) }),
    f!(2014 "position" (a: Bytea, part: Bytea) -> Int4 { Ok(memchr::memmem::find(a, part).map_or(0, |at| at as i32 + 1)) }),
    f!(2088 "split_part" (a: Text, by: Text, n: Int4) -> Text { split_part(a, by, n) }),
    f!(1622 "repeat" (a: Text, n: Int4) -> Text { repeat(a, n) }),
    f!(3062 "reverse" (a: Text) -> Text { Ok(a.chars().rev().collect::<String>()) }),
    f!(3696 "starts_with" (a: Text, with: Text) -> Bool { Ok(a.starts_with(with)) }),
    f!(1405 "overlay" (a: Text, new: Text, from: Int4) -> Text { overlay(a, new, from, length(new)) }),
    f!(1404 "overlay" (a: Text, new: Text, from: Int4, n: Int4) -> Text { overlay(a, new, from, n) }),
    f!(1620 "ascii" (a: Text) -> Int4 { Ok(a.chars().next().map_or(0, |c| c as i32)) }),
    f!(1621 "chr" (code: Int4) -> Text { chr(code) }),
    f!(2089 "to_hex" (a: Int4) -> Text { Ok(format!("{a:x}")) }),
    f!(2090 "to_hex" (a: Int8) -> Text { Ok(format!("{a:x}")) }),
    f!(2311 "md5" (a: Text) -> Text { Ok(hex(&super::digest::md5(a.as_bytes()))) }),
    f!(2321 "md5" (a: Bytea) -> Text { Ok(hex(&super::digest::md5(a))) }),
    f!(3419 "sha224" (a: Bytea) -> Bytea { Ok(<sha2::Sha224 as sha2::Digest>::digest(a).to_vec()) }),
    f!(3420 "sha256" (a: Bytea) -> Bytea { Ok(digest::digest(&digest::SHA256, a).as_ref().to_vec()) }),
    f!(3421 "sha384" (a: Bytea) -> Bytea { Ok(digest::digest(&digest::SHA384, a).as_ref().to_vec()) }),
    f!(3422 "sha512" (a: Bytea) -> Bytea { Ok(digest::digest(&digest::SHA512, a).as_ref().to_vec()) }),
    f!(1946 "encode" (a: Bytea, format: Text) -> Text { encode(a, format) }),
    f!(1947 "decode" (a: Text, format: Text) -> Bytea { decode(a, format) }),
    f!(1714 stable "convert_from" (a: Bytea, encoding: Name) -> Text { convert_from(a, encoding) }),
    f!(1717 stable "convert_to" (a: Text, encoding: Name) -> Bytea { convert_to(a, encoding) }),
    f!(1813 stable "convert" (a: Bytea, from: Name, to: Name) -> Bytea { convert_to(&convert_from(a, from)?, to) }),
    f!(1282 "quote_ident" (a: Text) -> Text { Ok(quoted_ident(a)) }),
    f!(1283 "quote_literal" (a: Text) -> Text { Ok(quote_literal(a)) }),
    x!(1285 stable "quote_literal" (Anyelement) -> Text = |args, call| of_text(args, call, quote_literal)),
    x!(1289 lax "quote_nullable" (Text) -> Text = quote_nullable),
    x!(1290 stable lax "quote_nullable" (Anyelement) -> Text = quote_nullable),
    x!(3058 stable lax variadic "concat" (Any) -> Text = concat),
    x!(3059 stable lax variadic "concat_ws" (Text, Any) -> Text = concat_ws),
    x!(3539 stable lax variadic "format" (Text, Any) -> Text = format_rows),
    x!(3540 stable lax "format" (Text) -> Text = format_rows),
    x!(394 lax "string_to_array" (Text, Text) -> TextArray = string_to_array),
    x!(376 lax "string_to_array" (Text, Text, Text) -> TextArray = string_to_array),
    k!(6160 lax "string_to_table" (Text, Text) -> Text = Kind::Set(|args, _| Ok(table_of(pieces(&args))))),
    k!(6161 lax "string_to_table" (Text, Text, Text) -> Text = Kind::Set(|args, _| Ok(table_of(pieces(&args))))),
    f!(6198 "unistr" (a: Text) -> Text { unistr(a) }),
    f!(1268 defaults(1) "parse_ident" (a: Text, strict: Bool) -> TextArray { Ok(super::names::identifiers(a, strict)?.into_iter().map(Some).collect::<Vec<_>>()) }),
    f!(458 "text_larger" (a: Text, b: Text) -> Text { Ok(a.max(b)) }),
    f!(459 "text_smaller" (a: Text, b: Text) -> Text { Ok(a.min(b)) }),
    f!(810 stable "pg_client_encoding" () -> Name { Ok("UTF8") }),
];

pub(super) fn length(text: &str) -> i32 {
    if text.is_ascii() { text.len() as i32 } else { text.chars().count() as i32 }
}

/// Character by character, as C.UTF-8 does: a character whose other case is several characters stays.
pub(super) fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(lower_char).collect() }
}

fn lower_char(c: char) -> char {
    let mut lowered = c.to_lowercase();
    match (lowered.next(), lowered.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

pub(super) fn upper(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.chars().map(upper_char).collect() }
}

fn upper_char(c: char) -> char {
    let mut raised = c.to_uppercase();
    match (raised.next(), raised.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

pub(super) fn initcap(text: &str) -> String {
    let mut inside = false;
    let case = |c: char| {
        let cased = if inside { lower_char(c) } else { upper_char(c) };
        inside = c.is_alphanumeric();
        cased
    };
    text.chars().map(case).collect()
}

/// The byte at which a character begins; the end for places behind it.
fn byte_of(text: &str, place: usize) -> usize {
    if text.is_ascii() {
        return place.min(text.len());
    }
    text.char_indices().nth(place).map_or(text.len(), |(at, _)| at)
}

fn negative_length<T>() -> Result<T> {
    fail(SqlState::SUBSTRING_ERROR, "negative substring length not allowed")
}

/// From which place (0-based) to which (exclusive) a substring goes: the length counts from the given start, even
/// where that lies before the text.
fn window(from: i32, n: Option<i32>) -> Result<(usize, Option<usize>)> {
    let start = i64::from(from) - 1;
    let end = match n {
        Some(n) if n < 0 => return negative_length(),
        Some(n) => Some((start + i64::from(n)).max(0) as usize),
        None => None,
    };
    Ok((start.max(0) as usize, end))
}

fn substring(text: &str, from: i32, n: Option<i32>) -> Result<&str> {
    let (start, end) = window(from, n)?;
    let rest = &text[byte_of(text, start)..];
    Ok(match end {
        Some(end) if end <= start => "",
        Some(end) => &rest[..byte_of(rest, end - start)],
        None => rest,
    })
}

fn subbytes(bytes: &[u8], from: i32, n: Option<i32>) -> Result<&[u8]> {
    let (start, end) = window(from, n)?;
    let start = start.min(bytes.len());
    let end = end.map_or(bytes.len(), |end| end.clamp(start, bytes.len()));
    Ok(&bytes[start..end])
}

/// The text before and behind the n-th character; a negative n counts from the end.
fn split_at(text: &str, n: i32) -> (&str, &str) {
    let n = i64::from(n);
    let place = if n >= 0 { n } else { (i64::from(length(text)) + n).max(0) };
    text.split_at(byte_of(text, place as usize))
}

fn right(text: &str, n: i32) -> &str {
    let n = i64::from(n);
    // A negative n drops so many from the start.
    let place = if n >= 0 { (i64::from(length(text)) - n).max(0) } else { -n };
    &text[byte_of(text, place as usize)..]
}

/// The longest text that PostgreSQL makes.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// Refuses a value of so many bytes if PostgreSQL cannot make it either.
pub(super) fn bounded(bytes: usize) -> Result<()> {
    if bytes >= TEXT_BYTES_MAX {
        return fail(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("invalid memory alloc request size {bytes}"));
    }
    Ok(())
}

fn replace<'a>(text: &'a str, from: &str, to: &str) -> Result<Cow<'a, str>> {
    if from.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    if let Some(more) = to.len().checked_sub(from.len()) {
        // Not more matches than fit, so that a short text is not searched twice.
        let most = text.len() / from.len();
        if text.len().saturating_add(most.saturating_mul(more)) >= TEXT_BYTES_MAX
            && text.matches(from).count().saturating_mul(more).saturating_add(text.len()) >= TEXT_BYTES_MAX
        {
            return fail(SqlState::PROGRAM_LIMIT_EXCEEDED, "out of memory");
        }
    }
    Ok(Cow::Owned(text.replace(from, to)))
}

fn too_large<T>() -> Result<T> {
    fail(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

fn pad(text: &str, n: i32, with: &str, left: bool) -> Result<String> {
    let wanted = usize::try_from(n).unwrap_or(0);
    let have = length(text) as usize;
    if have >= wanted || with.is_empty() {
        return Ok(text[..byte_of(text, wanted)].to_owned());
    }
    if wanted.saturating_mul(4) >= TEXT_BYTES_MAX {
        return too_large();
    }
    let padding = with.chars().cycle().take(wanted - have);
    Ok(if left { padding.chain(text.chars()).collect() } else { text.chars().chain(padding).collect() })
}

fn trim_start<'a>(bytes: &'a [u8], set: &[u8]) -> &'a [u8] {
    let skip = bytes.iter().take_while(|byte| set.contains(byte)).count();
    &bytes[skip..]
}

fn trim_end<'a>(bytes: &'a [u8], set: &[u8]) -> &'a [u8] {
    let skip = bytes.iter().rev().take_while(|byte| set.contains(byte)).count();
    &bytes[..bytes.len() - skip]
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let by = |c: char| match from.chars().position(|other| other == c) {
        Some(place) => to.chars().nth(place),
        None => Some(c),
    };
    text.chars().filter_map(by).collect()
}

fn position(text: &str, part: &str) -> i32 {
    text.find(part).map_or(0, |at| length(&text[..at]) + 1)
}

fn split_part(text: &str, by: &str, n: i32) -> Result<String> {
    if n == 0 {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero");
    }
    if text.is_empty() {
        return Ok(String::new());
    }
    if by.is_empty() {
        return Ok(if n == 1 || n == -1 { text.to_owned() } else { String::new() });
    }
    let place = n.unsigned_abs() as usize - 1;
    let part = if n > 0 {
        text.split(by).nth(place)
    } else {
        // Parts are found from the left, also when they are counted from the right.
        let count = text.split(by).count();
        count.checked_sub(place + 1).and_then(|place| text.split(by).nth(place))
    };
    Ok(part.unwrap_or_default().to_owned())
}

fn repeat(text: &str, n: i32) -> Result<String> {
    let n = usize::try_from(n).unwrap_or(0);
    if text.len().saturating_mul(n) >= TEXT_BYTES_MAX {
        return too_large();
    }
    Ok(text.repeat(n))
}

fn overlay(text: &str, new: &str, from: i32, n: i32) -> Result<String> {
    if from <= 0 {
        return negative_length();
    }
    let behind = from.checked_add(n).ok_or_else(|| super::rows::range("integer"))?;
    Ok([substring(text, 1, Some(from - 1))?, new, substring(text, behind, None)?].concat())
}

fn chr(code: i32) -> Result<String> {
    if code == 0 {
        return fail(SqlState::PROGRAM_LIMIT_EXCEEDED, "null character not permitted");
    }
    if code < 0 {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "character number must be positive");
    }
    match char::from_u32(code as u32) {
        Some(c) => Ok(c.to_string()),
        None if code > 0x10_ffff => {
            let message = format!("requested character too large for encoding: {code}");
            fail(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        }
        None => fail(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("requested character not valid for encoding: {code}")),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn unrecognized<T>(format: &str) -> Result<T> {
    fail(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{format}\""))
}

fn encode(bytes: &[u8], format: &str) -> Result<String> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => Ok(hex(bytes)),
        "base64" => {
            // Lines of 76 characters.
            let whole = base64::engine::general_purpose::STANDARD.encode(bytes);
            let lines: Vec<&str> =
                whole.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
            Ok(lines.join("\n"))
        }
        "escape" => {
            let mut out = String::with_capacity(bytes.len());
            for byte in bytes {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
                    _ => out.push(char::from(*byte)),
                }
            }
            Ok(out)
        }
        _ => unrecognized(format),
    }
}

fn decode(text: &str, format: &str) -> Result<Vec<u8>> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => decode_hex(text),
        "base64" => {
            let clean: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            if let Some(c) = clean.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/' | '=')) {
                let message = format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                return fail(SqlState::INVALID_PARAMETER_VALUE, message);
            }
            base64::engine::general_purpose::STANDARD.decode(clean).map_err(|_| {
                SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "invalid base64 end sequence")
                    .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted.")
            })
        }
        "escape" => decode_escape(text),
        _ => unrecognized(format),
    }
}

fn decode_hex(text: &str) -> Result<Vec<u8>> {
    let mut digits = Vec::with_capacity(text.len());
    for c in text.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')) {
        match c.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None => {
                let message = format!("invalid hexadecimal digit: \"{c}\"");
                return fail(SqlState::INVALID_PARAMETER_VALUE, message);
            }
        }
    }
    if digits.len() % 2 == 1 {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "invalid hexadecimal data: odd number of digits");
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn decode_escape(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes {
            [b'\\', rest @ ..] => {
                out.push(b'\\');
                bytes = rest;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                bytes = rest;
            }
            _ => {
                return fail(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea");
            }
        }
    }
    Ok(out)
}

fn encoding(name: &str, side: &str) -> Result<&'static str> {
    match name.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" => Ok("utf8"),
        "latin1" | "iso88591" => Ok("latin1"),
        "sqlascii" => Ok("sqlascii"),
        _ => fail(SqlState::INVALID_PARAMETER_VALUE, format!("invalid {side} encoding name \"{name}\"")),
    }
}

fn convert_from(bytes: &[u8], name: &str) -> Result<String> {
    if encoding(name, "source")? == "latin1" {
        return Ok(bytes.iter().copied().map(char::from).collect());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(SqlError::not_utf8(bytes)),
    }
}

fn convert_to(text: &str, name: &str) -> Result<Vec<u8>> {
    if encoding(name, "destination")? != "latin1" {
        return Ok(text.as_bytes().to_vec());
    }
    let byte = |c: char| {
        u8::try_from(c as u32).map_err(|_| {
            let mut bytes = [0; 4];
            let shown: Vec<String> = c.encode_utf8(&mut bytes).bytes().map(|byte| format!("0x{byte:02x}")).collect();
            SqlError::new(
                SqlState::UNTRANSLATABLE_CHARACTER,
                format!(
                    "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                    shown.join(" ")
                ),
            )
        })
    };
    text.chars().map(byte).collect()
}

pub(super) fn quote_literal(text: &str) -> String {
    let escapes = text.contains('\\');
    let body = text.replace('\\', "\\\\").replace('\'', "''");
    format!("{}'{body}'", if escapes { "E" } else { "" })
}

fn of_text(args: &[ArrayRef], call: &Call<'_>, body: fn(&str) -> String) -> Result<ArrayRef> {
    by_datum(args, call, |row| Ok(Datum::text(body(&text_of(&row[0], call.arg_types[0], call)?))))
}

fn quote_nullable(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        if row[0].is_null() {
            return Ok(Datum::text("NULL"));
        }
        Ok(Datum::text(quote_literal(&text_of(&row[0], call.arg_types[0], call)?)))
    })
}

fn cat_any(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let mut out = shown(&row[0], call.arg_types[0], call)?;
        out.push_str(&shown(&row[1], call.arg_types[1], call)?);
        Ok(Datum::text(out))
    })
}

/// As a cast to text prints it: booleans in full there, one letter on the wire.
fn shown(datum: &Datum, ty: PgType, call: &Call<'_>) -> Result<String> {
    match datum {
        Datum::Bool(value) if ty.ty == SqlType::Bool => Ok(if *value { "true" } else { "false" }.to_owned()),
        // Their casts show the mask in any case.
        Datum::Bytes(bytes) if matches!(ty.ty, SqlType::Inet | SqlType::Cidr) => {
            Ok(crate::types::network::Network::from_bytes(bytes).full_text())
        }
        _ => text_of(datum, ty, call),
    }
}

fn concat(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let mut out = String::new();
        for (datum, ty) in row.iter().zip(call.arg_types) {
            out.push_str(&text_of(datum, *ty, call)?);
        }
        Ok(Datum::text(out))
    })
}

fn concat_ws(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let Some(separator) = row[0].as_str() else { return Ok(Datum::Null) };
        let mut parts = Vec::new();
        for (datum, ty) in row.iter().zip(call.arg_types).skip(1) {
            if !datum.is_null() {
                parts.push(text_of(datum, *ty, call)?);
            }
        }
        Ok(Datum::text(parts.join(separator)))
    })
}

fn format_rows(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| match row[0].as_str() {
        Some(pattern) => format(pattern, &row[1..], call).map(Datum::text),
        None => Ok(Datum::Null),
    })
}

fn format_end() -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "unterminated format() type specifier")
        .with_hint("For a single \"%\" use \"%%\".")
}

/// A width that an argument gives: an integer of any type, or the text of one.
fn format_width(datum: &Datum, ty: PgType, call: &Call<'_>) -> Result<i64> {
    let text = match datum {
        Datum::Null => return Ok(0),
        Datum::Int2(width) => return Ok(i64::from(*width)),
        Datum::Int4(width) => return Ok(i64::from(*width)),
        _ => text_of(datum, ty, call)?,
    };
    let read = crate::types::from_text(&text, SqlType::Int4.into(), call.around.style(), call.around.catalog())?;
    Ok(read.as_i64().unwrap_or(0))
}

/// `%[position$][-][width]type` (PostgreSQL manual 9.4.1).
fn format(pattern: &str, args: &[Datum], call: &Call<'_>) -> Result<String> {
    let too_few = || SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "too few arguments for format()");
    let mut out = String::with_capacity(pattern.len());
    let mut next = 0_usize;
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        // A number is a position when `$` follows, else a width.
        let (number, after) = number(rest);
        let mut position = None;
        let mut width = None;
        let mut left = false;
        match (number, after.strip_prefix('$')) {
            (Some(0), Some(_)) => {
                let message = "format specifies argument 0, but arguments are numbered from 1";
                return fail(SqlState::INVALID_PARAMETER_VALUE, message);
            }
            (Some(n), Some(after)) => (position, rest) = (Some(n), after),
            (Some(n), None) if !rest.starts_with('0') || n == 0 => (width, rest) = (Some(n as i64), after),
            _ => {}
        }
        if width.is_none() {
            while let Some(after) = rest.strip_prefix('-') {
                left = true;
                rest = after;
            }
            if let Some(after) = rest.strip_prefix('*') {
                let (given, behind) = self::number(after);
                let at = match (given, behind.strip_prefix('$')) {
                    (Some(0), Some(_)) => {
                        let message = "format specifies argument 0, but arguments are numbered from 1";
                        return fail(SqlState::INVALID_PARAMETER_VALUE, message);
                    }
                    (Some(given), Some(behind)) => {
                        rest = behind;
                        given - 1
                    }
                    _ => {
                        rest = after;
                        next += 1;
                        next - 1
                    }
                };
                let ty = call.arg_types.get(at + 1).copied().unwrap_or(SqlType::Text.into());
                width = Some(format_width(args.get(at).ok_or_else(too_few)?, ty, call)?);
            } else if let (Some(n), after) = self::number(rest) {
                (width, rest) = (Some(n as i64), after);
            }
        }
        let mut width = width.unwrap_or(0);
        if width < 0 {
            (left, width) = (true, -width);
        }
        let kind = rest.chars().next().ok_or_else(format_end)?;
        rest = &rest[kind.len_utf8()..];
        if !matches!(kind, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{kind}\"");
            return Err(
                SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint("For a single \"%\" use \"%%\".")
            );
        }
        let at = position.map_or(next, |position| position - 1);
        next = at + 1;
        let datum = args.get(at).ok_or_else(too_few)?;
        let ty = call.arg_types.get(at + 1).copied().unwrap_or(SqlType::Text.into());
        let value = match (kind, datum.is_null()) {
            ('I', true) => {
                return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "null values cannot be formatted as an SQL identifier");
            }
            ('L', true) => "NULL".to_owned(),
            (_, true) => String::new(),
            ('I', false) => quoted_ident(&text_of(datum, ty, call)?).into_owned(),
            ('L', false) => quote_literal(&text_of(datum, ty, call)?),
            (_, false) => text_of(datum, ty, call)?,
        };
        let missing = (width as usize).saturating_sub(length(&value) as usize);
        if missing >= TEXT_BYTES_MAX {
            return too_large();
        }
        let blanks = " ".repeat(missing);
        let (before, behind) = if left { ("", blanks.as_str()) } else { (blanks.as_str(), "") };
        out.extend([before, &value, behind]);
    }
    out.push_str(rest);
    Ok(out)
}

/// The number at the start of a text, and what follows it.
fn number(text: &str) -> (Option<usize>, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..digits].parse().ok(), &text[digits..])
}

/// string_to_array's pieces; `None` for a NULL text.
fn pieces(args: &[Datum]) -> Option<Vec<Option<String>>> {
    let text = args[0].as_str()?;
    if text.is_empty() {
        return Some(Vec::new());
    }
    let null = args.get(2).and_then(Datum::as_str);
    let piece = |piece: &str| (Some(piece) != null).then(|| piece.to_owned());
    Some(match args[1].as_str() {
        // Without a separator: character by character.
        None => text.chars().map(|c| piece(c.encode_utf8(&mut [0; 4]))).collect(),
        Some("") => vec![piece(text)],
        Some(separator) => text.split(separator).map(piece).collect(),
    })
}

fn string_to_array(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    use rows::{Builder as _, Push as _, Write as _};
    let mut out = TextArray::builder(call.rows);
    for row in 0..call.rows {
        let datums: Vec<Datum> =
            args.iter().zip(call.arg_types).map(|(arg, ty)| crate::types::datum_at(arg.as_ref(), row, *ty)).collect();
        out.push(pieces(&datums));
    }
    Ok(out.done(call))
}

fn table_of(pieces: Option<Vec<Option<String>>>) -> SetRows {
    let pieces = pieces.unwrap_or_default();
    Box::new(pieces.into_iter().map(|piece| Ok(vec![piece.map_or(Datum::Null, Datum::text)])))
}

/// `\XXXX`, `\+XXXXXX`, `\uXXXX` and `\UXXXXXXXX`.
fn unistr(text: &str) -> Result<String> {
    let invalid = || {
        SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode escape")
            .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('\\') {
            out.push('\\');
            rest = after;
            continue;
        }
        let (skip, digits) = match rest.as_bytes().first() {
            Some(b'u') => (1, 4),
            Some(b'U') => (1, 8),
            Some(b'+') => (1, 6),
            _ => (0, 4),
        };
        let code = rest.get(skip..skip + digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or_else(invalid)?;
        out.push(
            char::from_u32(code).ok_or_else(|| SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode code point"))?,
        );
        rest = &rest[skip + digits..];
    }
    out.push_str(rest);
    Ok(out)
}
