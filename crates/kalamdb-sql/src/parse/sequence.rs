//! CREATE, ALTER and DROP SEQUENCE, and the options that IDENTITY columns share with them.

use super::cursor::Cursor;
use super::{Fault, Read, unsupported};
use crate::statement::{AlterSequenceAction, Name, SequenceOption, Statement};
use kalamdb_commons::{SqlError, SqlState};
use sqlparser::tokenizer::Token;
use std::mem::discriminant;

/// Whether CREATE is followed by SEQUENCE in one of its kinds.
pub(super) fn begins(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    while ahead.accept_one(&["TEMPORARY", "TEMP", "UNLOGGED"]).is_some() {}
    ahead.is("SEQUENCE")
}

/// CREATE SEQUENCE, after CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    match cursor.accept_one(&["TEMPORARY", "TEMP", "UNLOGGED"]) {
        Some("UNLOGGED") => return unsupported("an unlogged sequence"),
        Some(_) => return unsupported("a temporary sequence"),
        None => {}
    }
    cursor.expect("SEQUENCE")?;
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name()?;
    let options = options(cursor)?;
    cursor.end(Statement::CreateSequence { name, if_not_exists, options })
}

/// ALTER SEQUENCE, after ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("SEQUENCE")?;
    let if_exists = cursor.if_exists();
    let name = cursor.name()?;
    let action = if cursor.accept("RENAME TO") {
        AlterSequenceAction::Rename(cursor.ident()?)
    } else if cursor.accept("SET SCHEMA") {
        AlterSequenceAction::SetNamespace(cursor.ident()?)
    } else if cursor.accept("OWNER TO") {
        return unsupported("ALTER SEQUENCE … OWNER");
    } else if cursor.is("SET") {
        return unsupported("ALTER SEQUENCE … SET LOGGED or UNLOGGED");
    } else {
        if cursor.is_done() {
            return Err(cursor.unexpected());
        }
        AlterSequenceAction::Options(options(cursor)?)
    };
    cursor.end(Statement::AlterSequence { name, if_exists, action })
}

/// DROP SEQUENCE, after DROP.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("SEQUENCE")?;
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::name)?;
    let cascade = cursor.cascade();
    cursor.end(Statement::DropSequence { names, if_exists, cascade })
}

/// Options as long as there are any; each may be said once.
pub(super) fn options(cursor: &mut Cursor<'_>) -> Read<Vec<SequenceOption>> {
    let mut options: Vec<SequenceOption> = Vec::new();
    loop {
        let position = cursor.position();
        let Some(option) = option(cursor)? else { return Ok(options) };
        if options.iter().any(|other| discriminant(other) == discriminant(&option)) {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options").at(position).into());
        }
        options.push(option);
    }
}

/// One option; `None` where none begins.
pub(super) fn option(cursor: &mut Cursor<'_>) -> Read<Option<SequenceOption>> {
    const WORDS: &[&str] = &[
        "AS",
        "CACHE",
        "CYCLE",
        "NO CYCLE",
        "INCREMENT",
        "MAXVALUE",
        "NO MAXVALUE",
        "MINVALUE",
        "NO MINVALUE",
        "OWNED BY",
        "SEQUENCE NAME",
        "START",
        "RESTART",
    ];
    let Some(word) = cursor.accept_one(WORDS) else { return Ok(None) };
    Ok(Some(match word {
        "AS" => SequenceOption::As(cursor.data_type()?),
        "CACHE" => SequenceOption::Cache(number(cursor)?),
        "CYCLE" => SequenceOption::Cycle(true),
        "NO CYCLE" => SequenceOption::Cycle(false),
        "INCREMENT" => {
            cursor.accept("BY");
            SequenceOption::Increment(number(cursor)?)
        }
        "MAXVALUE" => SequenceOption::MaxValue(Some(number(cursor)?)),
        "NO MAXVALUE" => SequenceOption::MaxValue(None),
        "MINVALUE" => SequenceOption::MinValue(Some(number(cursor)?)),
        "NO MINVALUE" => SequenceOption::MinValue(None),
        "OWNED BY" => SequenceOption::OwnedBy(owner(cursor)?),
        "SEQUENCE NAME" => SequenceOption::Name(cursor.name()?),
        "START" => {
            cursor.accept("WITH");
            SequenceOption::Start(number(cursor)?)
        }
        _ => {
            let said = cursor.accept("WITH");
            let given = matches!(cursor.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus));
            SequenceOption::Restart(if said || given { Some(number(cursor)?) } else { None })
        }
    }))
}

/// A whole number of 64 bits.
fn number(cursor: &mut Cursor<'_>) -> Read<i64> {
    let before = cursor.clone();
    let text = cursor.number()?;
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) if text.trim_start_matches(['-', '+']).bytes().all(|byte| byte.is_ascii_digit()) => {
            let message = format!("value \"{text}\" is out of range for type bigint");
            Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message).into())
        }
        Err(_) => {
            let message = format!("invalid input syntax for type bigint: \"{text}\"");
            Err(before.error(SqlState::INVALID_TEXT_REPRESENTATION, message))
        }
    }
}

/// `table.column`, `schema.table.column` or NONE.
fn owner(cursor: &mut Cursor<'_>) -> Read<Option<(Name, String)>> {
    if cursor.accept("NONE") {
        return Ok(None);
    }
    let position = cursor.own_position();
    let mut parts = vec![cursor.ident()?];
    while cursor.accept_token(&Token::Period) {
        parts.push(cursor.label()?);
    }
    let column = parts.pop().unwrap_or_default();
    let Some(name) = parts.pop() else {
        let error = SqlError::new(SqlState::SYNTAX_ERROR, "invalid OWNED BY option");
        return Err(Fault::Error(error.with_hint("Specify OWNED BY table.column or OWNED BY NONE.")));
    };
    Ok(Some((Name { namespace: parts.pop(), name, position }, column)))
}
