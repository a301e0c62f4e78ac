//! Constraints of columns and tables, and what is said of them afterwards.

use super::cursor::Cursor;
use super::table::{Key, fixed_timing, key_tail};
use super::{Read, index, unsupported};
use crate::statement::{AlterAction, CheckSpec, ConstraintSpec, ForeignKeySpec, ReferentialAct, Statement, UniqueSpec};
use kalamdb_commons::SqlState;
use sqlparser::tokenizer::Token;

/// Whether a constraint stands with a column or by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// `a int CHECK …`
    Column,
    /// `CHECK …`
    Table,
}

/// A constraint of a table.
pub(super) enum TableConstraint {
    /// PRIMARY KEY ( … )
    Key(Key),
    /// PRIMARY KEY USING INDEX: its name, the index.
    KeyUsing(Option<String>, String),
    /// UNIQUE …
    Unique(UniqueSpec),
    /// CHECK and FOREIGN KEY
    Other(ConstraintSpec),
}

/// `[CONSTRAINT name] PRIMARY KEY ( … )` and the other constraints of a table; `None` for a column.
pub(super) fn table_constraint(cursor: &mut Cursor<'_>) -> Read<Option<TableConstraint>> {
    let name = if cursor.accept("CONSTRAINT") { Some(cursor.ident()?) } else { None };
    if cursor.accept("PRIMARY KEY") {
        if cursor.accept("USING INDEX") {
            let index = cursor.ident()?;
            fixed_timing(cursor)?;
            return Ok(Some(TableConstraint::KeyUsing(name, index)));
        }
        let columns = cursor.parenthesised(Cursor::ident)?;
        key_tail(cursor)?;
        return Ok(Some(TableConstraint::Key((name, columns))));
    }
    if cursor.accept("UNIQUE") {
        return index::unique(cursor, name).map(|unique| Some(TableConstraint::Unique(unique)));
    }
    if cursor.accept("CHECK") {
        return Ok(Some(TableConstraint::Other(check(cursor, name, Of::Table)?)));
    }
    if cursor.accept("FOREIGN KEY") {
        let columns = cursor.parenthesised(Cursor::ident)?;
        cursor.expect("REFERENCES")?;
        let key = references(cursor, name, columns, Of::Table)?;
        return Ok(Some(TableConstraint::Other(ConstraintSpec::ForeignKey(Box::new(key)))));
    }
    match cursor.accept_one(&["EXCLUDE"]) {
        Some(what) => unsupported(format!("an {what} constraint")),
        None if name.is_some() => Err(cursor.unexpected()),
        None => Ok(None),
    }
}

/// `( condition ) [NO INHERIT] [NOT VALID]`, after CHECK.
pub(super) fn check(cursor: &mut Cursor<'_>, name: Option<String>, of: Of) -> Read<ConstraintSpec> {
    cursor.expect_token(&Token::LParen)?;
    let from = cursor.at;
    cursor.expression()?;
    let text = cursor.text(from, cursor.at).to_owned();
    cursor.expect_token(&Token::RParen)?;
    let mut check = CheckSpec { name, text, no_inherit: false, not_valid: false };
    loop {
        match () {
            () if cursor.accept("NO INHERIT") => check.no_inherit = true,
            () if of == Of::Table && cursor.accept("NOT VALID") => check.not_valid = true,
            () if cursor.are("NOT VALID") => {
                cursor.at += 1;
                return Err(cursor.unexpected());
            }
            () if cursor.is("DEFERRABLE") && of == Of::Column => {
                return Err(cursor.error(SqlState::SYNTAX_ERROR, "misplaced DEFERRABLE clause"));
            }
            () if cursor.are("NOT DEFERRABLE") && of == Of::Column => {
                return Err(cursor.error(SqlState::SYNTAX_ERROR, "misplaced NOT DEFERRABLE clause"));
            }
            () if cursor.are("INITIALLY DEFERRED") && of == Of::Column => {
                return Err(cursor.error(SqlState::SYNTAX_ERROR, "misplaced INITIALLY DEFERRED clause"));
            }
            () if cursor.are("INITIALLY IMMEDIATE") && of == Of::Column => {
                return Err(cursor.error(SqlState::SYNTAX_ERROR, "misplaced INITIALLY IMMEDIATE clause"));
            }
            () if cursor.accept("NOT DEFERRABLE") || cursor.accept("INITIALLY IMMEDIATE") => {}
            () if cursor.is("DEFERRABLE") || cursor.are("INITIALLY DEFERRED") => {
                let message = "CHECK constraints cannot be marked DEFERRABLE";
                return Err(cursor.error(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            () => return Ok(ConstraintSpec::Check(check)),
        }
    }
}

/// `table [(columns)] …`, after REFERENCES.
pub(super) fn references(
    cursor: &mut Cursor<'_>,
    name: Option<String>,
    columns: Vec<String>,
    of: Of,
) -> Read<ForeignKeySpec> {
    let parent = cursor.name()?;
    let parent_columns =
        if cursor.peek() == Some(&Token::LParen) { cursor.parenthesised(Cursor::ident)? } else { Vec::new() };
    let mut key = ForeignKeySpec {
        name,
        columns,
        parent,
        parent_columns,
        match_full: false,
        on_update: ReferentialAct::NoAction,
        on_delete: ReferentialAct::NoAction,
        deferrable: false,
        deferred: false,
        not_valid: false,
    };
    if cursor.accept("MATCH") {
        match cursor.accept_one(&["FULL", "SIMPLE", "PARTIAL"]) {
            Some("FULL") => key.match_full = true,
            Some("SIMPLE") => {}
            Some(_) => {
                return Err(cursor.error(SqlState::FEATURE_NOT_SUPPORTED, "MATCH PARTIAL not yet implemented"));
            }
            None => return Err(cursor.unexpected()),
        }
    }
    let (mut updates, mut deletes) = (false, false);
    while cursor.is("ON") {
        cursor.at += 1;
        let twice = |seen: &mut bool| std::mem::replace(seen, true);
        if cursor.accept("UPDATE") {
            if twice(&mut updates) {
                cursor.at -= 1;
                return Err(cursor.unexpected());
            }
            key.on_update = act(cursor, false)?;
        } else if cursor.accept("DELETE") {
            if twice(&mut deletes) {
                cursor.at -= 1;
                return Err(cursor.unexpected());
            }
            key.on_delete = act(cursor, true)?;
        } else {
            return Err(cursor.unexpected());
        }
    }
    if let Some(timing) = timing(cursor, of)? {
        (key.deferrable, key.deferred) = timing;
    }
    if of == Of::Column && cursor.are("NOT VALID") {
        cursor.at += 1;
        return Err(cursor.unexpected());
    }
    key.not_valid = cursor.accept("NOT VALID");
    if key.not_valid
        && let Some(timing) = timing(cursor, of)?
    {
        (key.deferrable, key.deferred) = timing;
    }
    Ok(key)
}

/// What happens to the referencing rows, after ON DELETE or ON UPDATE.
fn act(cursor: &mut Cursor<'_>, deletes: bool) -> Read<ReferentialAct> {
    let columns = |cursor: &mut Cursor<'_>| -> Read<Vec<String>> {
        if cursor.peek() != Some(&Token::LParen) {
            return Ok(Vec::new());
        }
        if !deletes {
            let message = "a column list with SET NULL is only supported for ON DELETE actions";
            return Err(cursor.error(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        cursor.parenthesised(Cursor::ident)
    };
    match cursor.accept_one(&["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"]) {
        Some("NO ACTION") => Ok(ReferentialAct::NoAction),
        Some("RESTRICT") => Ok(ReferentialAct::Restrict),
        Some("CASCADE") => Ok(ReferentialAct::Cascade),
        Some("SET NULL") => Ok(ReferentialAct::SetNull(columns(cursor)?)),
        Some(_) => Ok(ReferentialAct::SetDefault(columns(cursor)?)),
        None => Err(cursor.unexpected()),
    }
}

/// `[NOT] DEFERRABLE`, `INITIALLY IMMEDIATE | DEFERRED`: whether it may be deferred, whether it is so at first.
/// `None`: nothing was said.
pub(super) fn timing(cursor: &mut Cursor<'_>, of: Of) -> Read<Option<(bool, bool)>> {
    let (mut deferrable, mut deferred) = (None, None);
    loop {
        let (twice, what) = match () {
            () if cursor.accept("NOT DEFERRABLE") => (deferrable.replace(false).is_some(), "DEFERRABLE/NOT DEFERRABLE"),
            () if cursor.accept("DEFERRABLE") => (deferrable.replace(true).is_some(), "DEFERRABLE/NOT DEFERRABLE"),
            () if cursor.accept("INITIALLY DEFERRED") => {
                (deferred.replace(true).is_some(), "INITIALLY IMMEDIATE/DEFERRED")
            }
            () if cursor.accept("INITIALLY IMMEDIATE") => {
                (deferred.replace(false).is_some(), "INITIALLY IMMEDIATE/DEFERRED")
            }
            () => break,
        };
        if twice {
            let message = match of {
                Of::Column => format!("multiple {what} clauses not allowed"),
                Of::Table => "conflicting constraint properties".to_owned(),
            };
            return Err(cursor.error(SqlState::SYNTAX_ERROR, message));
        }
    }
    match (deferrable, deferred) {
        (None, None) => Ok(None),
        (Some(false), Some(true)) => {
            Err(cursor.error(SqlState::SYNTAX_ERROR, "constraint declared INITIALLY DEFERRED must be DEFERRABLE"))
        }
        (deferrable, deferred) => {
            let deferred = deferred.unwrap_or(false);
            Ok(Some((deferrable.unwrap_or(deferred), deferred)))
        }
    }
}

/// `CONSTRAINT name …`, after ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Read<AlterAction> {
    let name = cursor.ident()?;
    let (deferrable, deferred) = timing(cursor, Of::Table)?.unwrap_or((false, false));
    Ok(AlterAction::AlterConstraint { name, deferrable, deferred })
}

/// `{ALL | names} {DEFERRED | IMMEDIATE}`, after SET CONSTRAINTS.
pub(super) fn set(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let names = if cursor.accept("ALL") { None } else { Some(cursor.list(Cursor::name)?) };
    let deferred = match cursor.accept_one(&["DEFERRED", "IMMEDIATE"]) {
        Some(word) => word == "DEFERRED",
        None => return Err(cursor.unexpected()),
    };
    cursor.end(Statement::SetConstraints { names, deferred })
}
