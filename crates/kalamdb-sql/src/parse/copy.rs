//! COPY, with today's options in brackets and those of PostgreSQL 8 and before.

use super::cursor::Cursor;
use super::query::{change, query, select, switch};
use super::{Read, unsupported};
use crate::statement::{Copy, CopyDirection, CopyFormat, CopyHeader, CopyOptions, CopySubject, Statement};
use kalamdb_commons::{SqlError, SqlState};
use sqlparser::tokenizer::Token;

/// COPY.
pub(super) fn copy(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("COPY")?;
    let mut options = CopyOptions::default();
    if cursor.accept("BINARY") {
        options.format = CopyFormat::Binary;
    }
    let subject = subject(cursor)?;
    let is_query = !matches!(subject, CopySubject::Table { .. });
    let direction = direction(cursor, is_query)?;
    // The old form says USING DELIMITERS before WITH.
    if cursor.accept("USING DELIMITERS") || cursor.accept("DELIMITERS") {
        options.delimiter = Some(one_byte("delimiter", &cursor.string()?)?);
    }
    cursor.accept("WITH");
    if cursor.peek() == Some(&Token::LParen) {
        let mut given = Vec::new();
        cursor.parenthesised(|cursor| option(cursor, &mut options, &mut given))?;
    } else {
        while !cursor.is_done() && !cursor.is("WHERE") {
            old_option(cursor, &mut options)?;
        }
    }
    let mut condition = None;
    if cursor.is("WHERE") {
        let position = cursor.position();
        cursor.at += 1;
        if direction == CopyDirection::Out {
            let message = "WHERE clause not allowed with COPY TO";
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position).into());
        }
        condition = Some(Box::new(cursor.expression()?));
    }
    check(&options, direction)?;
    cursor.end(Statement::Copy(Box::new(Copy { subject, direction, options, condition })))
}

fn subject(cursor: &mut Cursor<'_>) -> Read<CopySubject> {
    if cursor.peek() != Some(&Token::LParen) {
        let name = cursor.name()?;
        let columns =
            if cursor.peek() == Some(&Token::LParen) { cursor.parenthesised(Cursor::ident)? } else { Vec::new() };
        return Ok(CopySubject::Table { name, columns });
    }
    let close = cursor.closing()?;
    let live = cursor.is_at(1, "LIVE");
    let mut inner = cursor.part(cursor.at + 1 + usize::from(live), close);
    let text = inner.text(0, inner.lexemes.len()).to_owned();
    if ["INSERT", "UPDATE", "DELETE"].iter().any(|word| inner.is(word)) {
        let change = change(&mut inner)?;
        cursor.at = close + 1;
        return Ok(CopySubject::Change(Box::new(change), text));
    }
    if cursor.is_at(1, "SUBSCRIBE") {
        return unsupported("COPY (SUBSCRIBE …)");
    }
    if live {
        let query = select(&mut inner)?;
        cursor.at = close + 1;
        return Ok(CopySubject::Live(query, text));
    }
    let subject = match query(&mut inner)? {
        Statement::Query(query) => CopySubject::Query(query, text),
        change => CopySubject::Change(Box::new(change), text),
    };
    cursor.at = close + 1;
    Ok(subject)
}

fn direction(cursor: &mut Cursor<'_>, is_query: bool) -> Read<CopyDirection> {
    let direction = match () {
        () if !is_query && cursor.accept("FROM") => CopyDirection::In,
        () if cursor.accept("TO") => CopyDirection::Out,
        () => return Err(cursor.unexpected()),
    };
    if cursor.accept("STDIN") || cursor.accept("STDOUT") {
        return Ok(direction);
    }
    if cursor.accept("PROGRAM") || cursor.string().is_ok() {
        return unsupported("COPY from or to a file or program of the server");
    }
    Err(cursor.unexpected())
}

/// One option of `WITH ( … )`.
fn option(cursor: &mut Cursor<'_>, options: &mut CopyOptions, given: &mut Vec<String>) -> Read<()> {
    let before = cursor.clone();
    let name = cursor.label()?;
    if given.contains(&name) {
        return Err(before.error(SqlState::SYNTAX_ERROR, "conflicting or redundant options"));
    }
    given.push(name.clone());
    match name.as_str() {
        "format" => {
            let format = cursor.string().or_else(|_| cursor.label())?;
            options.format = match format.as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                _ => {
                    let message = format!("COPY format \"{format}\" not recognized");
                    return Err(before.error(SqlState::INVALID_PARAMETER_VALUE, message));
                }
            };
        }
        // Rows are frozen or not: nobody can see it.
        "freeze" => {
            switch(cursor)?;
        }
        "delimiter" => options.delimiter = Some(one_byte("delimiter", &value(cursor)?)?),
        "null" => options.null = Some(value(cursor)?),
        "header" => {
            options.header = match () {
                () if cursor.accept("MATCH") => CopyHeader::Match,
                () if switch(cursor)? => CopyHeader::Line,
                () => CopyHeader::None,
            };
        }
        "quote" => options.quote = Some(one_byte("quote", &value(cursor)?)?),
        "escape" => options.escape = Some(one_byte("escape", &value(cursor)?)?),
        "force_quote" if cursor.accept_token(&Token::Mul) => options.force_quote = Some(Vec::new()),
        "force_quote" => options.force_quote = Some(cursor.parenthesised(Cursor::ident)?),
        "force_not_null" => options.force_not_null = cursor.parenthesised(Cursor::ident)?,
        "force_null" => options.force_null = cursor.parenthesised(Cursor::ident)?,
        "encoding" => encoding(&value(cursor)?)?,
        _ => return Err(before.error(SqlState::SYNTAX_ERROR, format!("option \"{name}\" not recognized"))),
    }
    Ok(())
}

fn value(cursor: &mut Cursor<'_>) -> Read<String> {
    cursor.string().or_else(|_| cursor.label())
}

/// One option of the old form.
fn old_option(cursor: &mut Cursor<'_>, options: &mut CopyOptions) -> Read<()> {
    const WORDS: &[&str] = &[
        "BINARY",
        "FREEZE",
        "CSV",
        "HEADER",
        "DELIMITER",
        "NULL",
        "QUOTE",
        "ESCAPE",
        "FORCE QUOTE",
        "FORCE NOT NULL",
        "FORCE NULL",
        "ENCODING",
    ];
    let word = cursor.accept_one(WORDS).ok_or_else(|| cursor.unexpected())?;
    let text = |cursor: &mut Cursor<'_>| {
        cursor.accept("AS");
        cursor.string()
    };
    match word {
        "BINARY" => options.format = CopyFormat::Binary,
        "CSV" => options.format = CopyFormat::Csv,
        "HEADER" => options.header = CopyHeader::Line,
        "DELIMITER" => options.delimiter = Some(one_byte("delimiter", &text(cursor)?)?),
        "NULL" => options.null = Some(text(cursor)?),
        "QUOTE" => options.quote = Some(one_byte("quote", &text(cursor)?)?),
        "ESCAPE" => options.escape = Some(one_byte("escape", &text(cursor)?)?),
        "FORCE QUOTE" if cursor.accept_token(&Token::Mul) => options.force_quote = Some(Vec::new()),
        "FORCE QUOTE" => options.force_quote = Some(cursor.list(Cursor::ident)?),
        "FORCE NOT NULL" => options.force_not_null = cursor.list(Cursor::ident)?,
        "FORCE NULL" => options.force_null = cursor.list(Cursor::ident)?,
        "ENCODING" => encoding(&cursor.string()?)?,
        _ => {}
    }
    Ok(())
}

fn encoding(name: &str) -> Read<()> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => unsupported(format!("the encoding \"{name}\"")),
    }
}

fn one_byte(what: &str, text: &str) -> Read<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("COPY {what} must be a single one-byte character"),
        )
        .into()),
    }
}

/// PostgreSQL's rules for options that do not go together (manual, COPY).
fn check(options: &CopyOptions, direction: CopyDirection) -> Read<()> {
    let csv = options.format == CopyFormat::Csv;
    let refuse = |message: &str| Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).into());
    if options.format == CopyFormat::Binary {
        if options.delimiter.is_some() {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "cannot specify DELIMITER in BINARY mode").into());
        }
        if options.null.is_some() {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "cannot specify NULL in BINARY mode").into());
        }
        if options.header != CopyHeader::None {
            return refuse("cannot specify HEADER in BINARY mode");
        }
    }
    let rules = [
        (options.quote.is_some(), "COPY quote available only in CSV mode"),
        (options.escape.is_some(), "COPY escape available only in CSV mode"),
        (options.force_quote.is_some(), "COPY force quote available only in CSV mode"),
        (!options.force_not_null.is_empty(), "COPY force not null available only in CSV mode"),
        (!options.force_null.is_empty(), "COPY force null available only in CSV mode"),
    ];
    if let Some((_, message)) = rules.iter().find(|(given, _)| *given && !csv) {
        return refuse(message);
    }
    if options.force_quote.is_some() && direction == CopyDirection::In {
        return refuse("COPY force quote only available using COPY TO");
    }
    if !(options.force_not_null.is_empty() && options.force_null.is_empty()) && direction == CopyDirection::Out {
        return refuse("COPY force null only available using COPY FROM");
    }
    let delimiter = options.delimiter.unwrap_or(if csv { b',' } else { b'\t' });
    let invalid = |message: &str| Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).into());
    if matches!(delimiter, b'\r' | b'\n') {
        return invalid("COPY delimiter cannot be newline or carriage return");
    }
    if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter) {
        return invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
    }
    if csv && delimiter == options.quote.unwrap_or(b'"') {
        return invalid("COPY delimiter and quote must be different");
    }
    match &options.null {
        Some(null) if null.contains(['\r', '\n']) => {
            invalid("COPY null representation cannot use newline or carriage return")
        }
        Some(null) if null.as_bytes().contains(&delimiter) => {
            refuse("COPY delimiter must not appear in the NULL specification")
        }
        Some(null) if csv && null.as_bytes().contains(&options.quote.unwrap_or(b'"')) => {
            refuse("CSV quote character must not appear in the NULL specification")
        }
        _ => Ok(()),
    }
}
