//! Columns whose values come by themselves: SERIAL, IDENTITY and generated ones.

use super::cursor::Cursor;
use super::sequence::{option, options};
use super::table::Constraint;
use super::{Fault, Read};
use crate::statement::{AlterAction, ColumnSpec, IdentitySpec, SequenceOption};
use kalamdb_commons::{SqlError, SqlState, SqlType};
use sqlparser::tokenizer::Token;

/// SERIAL and its kin, which are no types but stand where one does.
pub(super) fn serial(cursor: &mut Cursor<'_>) -> Read<Option<SqlType>> {
    const WORDS: &[(&str, SqlType)] = &[
        ("SMALLSERIAL", SqlType::Int2),
        ("SERIAL2", SqlType::Int2),
        ("SERIAL", SqlType::Int4),
        ("SERIAL4", SqlType::Int4),
        ("BIGSERIAL", SqlType::Int8),
        ("SERIAL8", SqlType::Int8),
    ];
    let Some((_, ty)) = WORDS.iter().find(|(word, _)| cursor.is(word)) else { return Ok(None) };
    let position = cursor.position();
    cursor.at += 1;
    if matches!(cursor.peek(), Some(Token::LBracket)) || cursor.is("ARRAY") {
        let message = "array of serial is not implemented";
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position).into());
    }
    Ok(Some(*ty))
}

/// What follows GENERATED.
pub(super) fn constraint(cursor: &mut Cursor<'_>) -> Read<Constraint> {
    let position = cursor.position();
    let always = always(cursor)?;
    cursor.expect("AS")?;
    if cursor.accept("IDENTITY") {
        return Ok(Constraint::Identity(IdentitySpec { always, options: bracketed(cursor)? }));
    }
    cursor.expect_token(&Token::LParen)?;
    let (from, place) = (cursor.at, cursor.own_position());
    cursor.expression()?;
    let text = cursor.text(from, cursor.at).to_owned();
    cursor.expect_token(&Token::RParen)?;
    cursor.expect("STORED")?;
    if !always {
        let message = "for a generated column, GENERATED ALWAYS must be specified";
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position).into());
    }
    Ok(Constraint::Generated(text, place))
}

/// ALWAYS or BY DEFAULT.
fn always(cursor: &mut Cursor<'_>) -> Read<bool> {
    match cursor.accept_one(&["ALWAYS", "BY DEFAULT"]) {
        Some(word) => Ok(word == "ALWAYS"),
        None => Err(cursor.unexpected()),
    }
}

/// `( options )`, if it is there.
fn bracketed(cursor: &mut Cursor<'_>) -> Read<Vec<SequenceOption>> {
    if !cursor.accept_token(&Token::LParen) {
        return Ok(Vec::new());
    }
    let options = options(cursor)?;
    cursor.expect_token(&Token::RParen)?;
    Ok(options)
}

/// 42601 for two ways to get a value.
pub(super) fn check(before: &Cursor<'_>, column: &ColumnSpec, next: &Constraint, table: &str) -> Read<()> {
    let has_default = column.default.is_some() || column.serial;
    let clash = match next {
        Constraint::Default(..) if column.serial => "multiple default values",
        Constraint::Default(..) if column.identity.is_some() => "both default and identity",
        Constraint::Default(..) if column.generated.is_some() => "both default and generation expression",
        Constraint::Identity(_) if column.identity.is_some() => "multiple identity specifications",
        Constraint::Identity(_) if has_default => "both default and identity",
        Constraint::Identity(_) if column.generated.is_some() => "both identity and generation expression",
        Constraint::Generated(..) if column.generated.is_some() => "multiple generation clauses",
        Constraint::Generated(..) if has_default => "both default and generation expression",
        Constraint::Generated(..) if column.identity.is_some() => "both identity and generation expression",
        _ => return Ok(()),
    };
    let specified = if clash == "multiple identity specifications" { "" } else { " specified" };
    let message = format!("{clash}{specified} for column \"{}\" of table \"{table}\"", column.name);
    Err(match column.serial {
        true => SqlError::new(SqlState::SYNTAX_ERROR, message).into(),
        false => before.error(SqlState::SYNTAX_ERROR, message),
    })
}

/// 42601 for a column that may and may not be NULL.
pub(super) fn conflicting_null(before: &Cursor<'_>, column: &ColumnSpec, table: &str) -> Fault {
    let message = format!("conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{table}\"", column.name);
    match column.serial {
        true => SqlError::new(SqlState::SYNTAX_ERROR, message).into(),
        false => before.error(SqlState::SYNTAX_ERROR, message),
    }
}

/// What ALTER COLUMN does to a column that has values by itself, or shall have; `None` for other actions.
pub(super) fn alter(cursor: &mut Cursor<'_>, name: &str) -> Read<Option<AlterAction>> {
    let name = name.to_owned();
    if cursor.accept("ADD GENERATED") {
        let always = always(cursor)?;
        cursor.expect("AS IDENTITY")?;
        let identity = IdentitySpec { always, options: bracketed(cursor)? };
        return Ok(Some(AlterAction::AddIdentity { name, identity }));
    }
    if cursor.accept("DROP IDENTITY") {
        return Ok(Some(AlterAction::DropIdentity { name, if_exists: cursor.if_exists() }));
    }
    if cursor.accept("DROP EXPRESSION") {
        return Ok(Some(AlterAction::DropExpression { name, if_exists: cursor.if_exists() }));
    }
    let (mut said, mut options) = (None, Vec::new());
    loop {
        let before = cursor.clone();
        let redundant = || before.error(SqlState::SYNTAX_ERROR, "conflicting or redundant options");
        if cursor.accept("SET GENERATED") {
            if said.replace(always(cursor)?).is_some() {
                return Err(redundant());
            }
            continue;
        }
        let restart = cursor.is("RESTART");
        if !(restart || cursor.is("SET") && follows(cursor)) {
            break;
        }
        if !restart {
            cursor.accept("SET");
        }
        let Some(option) = option(cursor)? else { return Err(cursor.unexpected()) };
        match option {
            SequenceOption::Restart(_) if !restart => return Err(before.unexpected()),
            SequenceOption::As(_) | SequenceOption::OwnedBy(_) | SequenceOption::Name(_) => {
                let error = SqlError::new(SqlState::SYNTAX_ERROR, "sequence option not supported here");
                return Err(Fault::Error(error.at(before.position())));
            }
            option if options.iter().any(|other| std::mem::discriminant(other) == std::mem::discriminant(&option)) => {
                return Err(redundant());
            }
            option => options.push(option),
        }
    }
    if said.is_none() && options.is_empty() {
        return Ok(None);
    }
    Ok(Some(AlterAction::SetIdentity { name, always: said, options }))
}

/// Whether SET is followed by a sequence's option.
fn follows(cursor: &Cursor<'_>) -> bool {
    const WORDS: &[&str] =
        &["AS", "CACHE", "CYCLE", "NO", "INCREMENT", "MAXVALUE", "MINVALUE", "OWNED", "SEQUENCE", "START"];
    WORDS.iter().any(|word| cursor.is_at(1, word))
}
