//! CREATE, ALTER and DROP VIEW.

use super::cursor::Cursor;
use super::{Read, query, table, unsupported};
use crate::statement::{AlterViewAction, CreateView, Statement};
use sqlparser::tokenizer::Token;

/// Whether CREATE is followed by a view.
pub(super) fn begins(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.accept("OR REPLACE");
    while ahead.accept_one(&["GLOBAL", "LOCAL", "TEMPORARY", "TEMP"]).is_some() {}
    ahead.is("VIEW")
}

/// CREATE VIEW, after CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let or_replace = cursor.accept("OR REPLACE");
    if cursor.accept_one(&["GLOBAL", "LOCAL", "TEMPORARY", "TEMP"]).is_some() {
        return unsupported("a temporary view");
    }
    cursor.expect("VIEW")?;
    let name = cursor.name()?;
    let columns = if cursor.peek() == Some(&Token::LParen) { cursor.parenthesised(Cursor::ident)? } else { Vec::new() };
    let options = if cursor.accept("WITH") { table::options(cursor)? } else { Vec::new() };
    cursor.expect("AS")?;
    let end = cursor.lexemes.len();
    let checked = ["WITH CHECK OPTION", "WITH CASCADED CHECK OPTION", "WITH LOCAL CHECK OPTION"];
    let has_check = checked.iter().any(|words| {
        let length = words.split(' ').count();
        end >= cursor.at + length && Cursor { at: end - length, ..cursor.clone() }.are(words)
    });
    if has_check {
        return unsupported("WITH CHECK OPTION");
    }
    let text = cursor.text(cursor.at, end).to_owned();
    let query = query::select(cursor)?;
    Ok(Statement::CreateView(Box::new(CreateView { name, or_replace, columns, options, query, text })))
}

/// ALTER VIEW, after ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("VIEW")?;
    let if_exists = cursor.if_exists();
    let name = cursor.name()?;
    let action = action(cursor)?;
    cursor.end(Statement::AlterView { name, if_exists, action })
}

fn action(cursor: &mut Cursor<'_>) -> Read<AlterViewAction> {
    if cursor.accept("RENAME TO") {
        return cursor.ident().map(AlterViewAction::Rename);
    }
    if cursor.accept("RENAME") {
        cursor.accept("COLUMN");
        let column = cursor.ident()?;
        cursor.expect("TO")?;
        return Ok(AlterViewAction::RenameColumn { column, to: cursor.ident()? });
    }
    if cursor.accept("OWNER TO") {
        return super::alter::owner(cursor).map(AlterViewAction::Owner);
    }
    if cursor.accept("SET SCHEMA") {
        return cursor.ident().map(AlterViewAction::SetSchema);
    }
    if cursor.accept("SET") {
        return table::options(cursor).map(AlterViewAction::Set);
    }
    if cursor.accept("RESET") {
        return cursor.parenthesised(Cursor::label).map(AlterViewAction::Reset);
    }
    if cursor.is("ALTER") {
        return unsupported("ALTER VIEW … ALTER COLUMN");
    }
    Err(cursor.unexpected())
}

/// DROP VIEW, after DROP.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("VIEW")?;
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::name)?;
    let cascade = cursor.cascade();
    cursor.end(Statement::DropView { names, if_exists, cascade })
}
