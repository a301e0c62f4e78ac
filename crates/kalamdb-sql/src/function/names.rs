//! Names inside function arguments: `'schema.table'` of `regclass`, `to_regclass`, `has_table_privilege`.

use super::Call;
use crate::types::oid::split_name;
use kalamdb_commons::{Oid, Result, SqlError, SqlState};
use std::borrow::Cow;

/// The relation of a name.
///
/// # Errors
/// 42P01, 42602
pub(super) fn relation(text: &str, call: &Call<'_>) -> Result<Oid> {
    let parts = split_name(text)?;
    match call.around.catalog().relation_by_name(&parts) {
        Some(table) => Ok(table.0),
        None => {
            let message = format!("relation \"{}\" does not exist", parts.join("."));
            Err(SqlError::new(SqlState::UNDEFINED_TABLE, message))
        }
    }
}

/// The parts of a qualified name as `parse_ident` tells them. `strict`: nothing may follow the last one.
///
/// # Errors
/// 22023
pub(super) fn identifiers(text: &str, strict: bool) -> Result<Vec<String>> {
    let invalid = |detail: Option<Cow<'static, str>>| {
        let error =
            SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("string is not a valid identifier: \"{text}\""));
        match detail {
            Some(detail) => error.with_detail(detail),
            None => error,
        }
    };
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (part, behind) =
                quoted_part(quoted).ok_or_else(|| invalid(Some("String has unclosed double quotes.".into())))?;
            if part.is_empty() {
                return Err(invalid(Some("Quoted identifier must not be empty.".into())));
            }
            parts.push(part);
            rest = behind;
        } else if rest.starts_with(starts) {
            let end = rest.find(|c: char| !starts(c) && !c.is_ascii_digit() && c != '$').unwrap_or(rest.len());
            parts.push(rest[..end].to_ascii_lowercase());
            rest = &rest[end..];
        } else {
            return Err(invalid(match (rest.starts_with('.'), parts.is_empty()) {
                (true, _) => Some("No valid identifier before \".\".".into()),
                (false, false) => Some("No valid identifier after \".\".".into()),
                (false, true) => None,
            }));
        }
        rest = rest.trim_start_matches(is_blank);
        match rest.strip_prefix('.') {
            Some(behind) => rest = behind.trim_start_matches(is_blank),
            None if rest.is_empty() || !strict => return Ok(parts),
            None => return Err(invalid(None)),
        }
    }
}

/// What stands before the closing quote, doubled quotes as one, and what stands behind it.
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let at = rest.find('"')?;
        part.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                part.push('"');
                rest = behind;
            }
            None => return Some((part, rest)),
        }
    }
}
