//! ALTER TABLE: its actions.
//!
//! RENAME stands alone, as in PostgreSQL; all others may follow each other with commas. An action that is known and not
//! supported is kept as such, so that the ones around it are still read.

use super::constraint::{self, TableConstraint, table_constraint};
use super::cursor::Cursor;
use super::generated;
use super::table::{Column, column, options};
use super::{Fault, Read, unsupported};
use crate::statement::{AlterAction, AlterTable, Statement};
use sqlparser::tokenizer::Token;

/// ALTER TABLE, after ALTER.
pub(super) fn table(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("TABLE")?;
    if cursor.are("ALL IN TABLESPACE") {
        return unsupported("ALTER TABLE ALL IN TABLESPACE");
    }
    let if_exists = cursor.if_exists();
    let name = cursor.relation()?;
    let mut actions = Vec::new();
    if cursor.accept("RENAME") {
        actions.push(rename(cursor)?);
    } else if cursor.accept("SET SCHEMA") {
        actions.push(AlterAction::SetSchema { to: cursor.ident()? });
    } else {
        loop {
            action(cursor, &name.name, &mut actions)?;
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
    }
    cursor.end(Statement::AlterTable(Box::new(AlterTable { name, if_exists, actions })))
}

/// `TO name`, `[COLUMN] a TO b`, `CONSTRAINT a TO b`, after RENAME.
fn rename(cursor: &mut Cursor<'_>) -> Read<AlterAction> {
    if cursor.accept("TO") {
        return Ok(AlterAction::Rename { to: cursor.ident()? });
    }
    let is_constraint = cursor.accept("CONSTRAINT");
    if !is_constraint {
        cursor.accept("COLUMN");
    }
    let name = cursor.ident()?;
    cursor.expect("TO")?;
    let to = cursor.ident()?;
    Ok(match is_constraint {
        true => AlterAction::RenameConstraint { name, to },
        false => AlterAction::RenameColumn { name, to },
    })
}

fn action(cursor: &mut Cursor<'_>, table: &str, actions: &mut Vec<AlterAction>) -> Read<()> {
    let from = cursor.at;
    match known_action(cursor, table, actions) {
        Err(Fault::Unsupported(subject)) => actions.push(AlterAction::Unsupported(subject)),
        other => return other,
    }
    // The rest of an action that is not supported has no say; the next one begins behind the comma.
    cursor.at = from.max(cursor.at);
    cursor.at = cursor.item_end();
    Ok(())
}

fn known_action(cursor: &mut Cursor<'_>, table: &str, actions: &mut Vec<AlterAction>) -> Read<()> {
    if cursor.accept("ADD") {
        return add(cursor, table, actions);
    }
    if cursor.accept("DROP") {
        actions.push(drop(cursor)?);
        return Ok(());
    }
    if cursor.accept("ALTER") {
        actions.push(alter_column(cursor)?);
        return Ok(());
    }
    if cursor.is("SET") && cursor.peek_at(1) == Some(&Token::LParen) {
        cursor.accept("SET");
        actions.push(AlterAction::SetOptions(options(cursor)?));
        return Ok(());
    }
    if cursor.accept("OWNER TO") {
        actions.push(AlterAction::Owner { to: owner(cursor)? });
        return Ok(());
    }
    if cursor.accept("VALIDATE CONSTRAINT") {
        actions.push(AlterAction::ValidateConstraint { name: cursor.ident()? });
        return Ok(());
    }
    const OTHERS: &[&str] = &[
        "SET", "RESET", "OWNER", "ENABLE", "DISABLE", "FORCE", "NO", "INHERIT", "ATTACH", "DETACH", "CLUSTER",
        "REPLICA", "VALIDATE", "OF", "NOT",
    ];
    match cursor.accept_one(OTHERS) {
        Some(what) => unsupported(format!("ALTER TABLE … {what}")),
        None => Err(cursor.unexpected()),
    }
}

/// A role after OWNER TO.
pub(super) fn owner(cursor: &mut Cursor<'_>) -> Read<Option<String>> {
    match cursor.accept_one(&["CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"]) {
        Some(_) => Ok(None),
        None => cursor.user().map(Some),
    }
}

fn add(cursor: &mut Cursor<'_>, table: &str, actions: &mut Vec<AlterAction>) -> Read<()> {
    if let Some(constraint) = table_constraint(cursor)? {
        actions.push(match constraint {
            TableConstraint::Key((name, columns)) => AlterAction::AddPrimaryKey { name, columns },
            TableConstraint::KeyUsing(name, index) => AlterAction::AddPrimaryKeyUsing { name, index },
            TableConstraint::Unique(unique) => AlterAction::AddUnique(unique),
            TableConstraint::Other(constraint) => AlterAction::AddConstraint(constraint),
        });
        return Ok(());
    }
    cursor.accept("COLUMN");
    let if_not_exists = cursor.if_not_exists();
    let Column { column, key, uniques, constraints } = column(cursor, table)?;
    let key = key.map(|(name, columns)| AlterAction::AddPrimaryKey { name, columns });
    actions.push(AlterAction::AddColumn { column, if_not_exists, key: key.map(Box::new), uniques, constraints });
    Ok(())
}

/// `[COLUMN] [IF EXISTS] name`, `CONSTRAINT [IF EXISTS] name`, after DROP.
fn drop(cursor: &mut Cursor<'_>) -> Read<AlterAction> {
    let is_constraint = cursor.accept("CONSTRAINT");
    if !is_constraint {
        cursor.accept("COLUMN");
    }
    let if_exists = cursor.if_exists();
    let name = cursor.ident()?;
    let cascade = cursor.cascade();
    Ok(match is_constraint {
        true => AlterAction::DropConstraint { name, if_exists, cascade },
        false => AlterAction::DropColumn { name, if_exists, cascade },
    })
}

/// `[COLUMN] name …`, after ALTER.
fn alter_column(cursor: &mut Cursor<'_>) -> Read<AlterAction> {
    if cursor.accept("CONSTRAINT") {
        return constraint::alter(cursor);
    }
    cursor.accept("COLUMN");
    let name = cursor.ident()?;
    if cursor.accept("SET DEFAULT") {
        let from = cursor.at;
        let expr = cursor.expression()?;
        let text = cursor.text(from, cursor.at).to_owned();
        return Ok(AlterAction::SetDefault { name, default: Some((expr, text)) });
    }
    if cursor.accept("DROP DEFAULT") {
        return Ok(AlterAction::SetDefault { name, default: None });
    }
    if cursor.accept("SET NOT NULL") {
        return Ok(AlterAction::SetNotNull { name });
    }
    if cursor.accept("DROP NOT NULL") {
        return Ok(AlterAction::DropNotNull { name });
    }
    if cursor.accept("SET DATA TYPE") || cursor.accept("TYPE") {
        let ty = cursor.data_type_until(&["USING", "COLLATE"])?;
        if cursor.accept("COLLATE") {
            super::table::collation(cursor)?;
        }
        let using = match cursor.accept("USING") {
            true => {
                let from = cursor.at;
                cursor.expression()?;
                Some(cursor.text(from, cursor.at).to_owned())
            }
            false => None,
        };
        return Ok(AlterAction::SetType { name, ty, using });
    }
    if let Some(action) = generated::alter(cursor, &name)? {
        return Ok(action);
    }
    const OTHERS: &[&str] = &["SET", "RESET", "ADD", "DROP", "RESTART"];
    match cursor.accept_one(OTHERS) {
        Some(what) => unsupported(format!("ALTER TABLE … ALTER COLUMN … {what}")),
        None => Err(cursor.unexpected()),
    }
}
