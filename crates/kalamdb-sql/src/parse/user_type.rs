//! CREATE, ALTER and DROP TYPE and DOMAIN.

use super::cursor::Cursor;
use super::{Fault, Read, unsupported};
use crate::statement::{AlterDomainAction, AlterTypeAction, CreateDomain, Statement};
use kalamdb_commons::{SqlError, SqlState};
use sqlparser::tokenizer::Token;

/// CREATE TYPE … AS ENUM, CREATE DOMAIN, after CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.accept("DOMAIN") {
        return create_domain(cursor);
    }
    cursor.expect("TYPE")?;
    let name = cursor.name()?;
    if !cursor.accept("AS") {
        return unsupported("CREATE TYPE of a base type");
    }
    if cursor.accept("RANGE") {
        return unsupported("CREATE TYPE … AS RANGE");
    }
    if matches!(cursor.peek(), Some(Token::LParen)) {
        return unsupported("CREATE TYPE of a composite type");
    }
    cursor.expect("ENUM")?;
    cursor.expect_token(&Token::LParen)?;
    let labels = match cursor.peek() {
        Some(Token::RParen) => Vec::new(),
        _ => cursor.list(Cursor::string)?,
    };
    cursor.expect_token(&Token::RParen)?;
    cursor.end(Statement::CreateEnum { name, labels })
}

fn create_domain(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let name = cursor.name()?;
    cursor.accept("AS");
    let base = cursor.type_name()?;
    let mut domain = CreateDomain { name, base, default: None, not_null: false, checks: Vec::new() };
    let mut nullable = false;
    while !cursor.is_done() {
        let constraint = if cursor.accept("CONSTRAINT") { Some(cursor.ident()?) } else { None };
        if cursor.accept("DEFAULT") {
            let from = cursor.at;
            cursor.value_expression()?;
            let text = cursor.text(from, cursor.at).to_owned();
            if domain.default.replace(text).is_some() {
                return Err(refused("multiple default expressions"));
            }
        } else if cursor.accept("NOT NULL") {
            domain.not_null = true;
        } else if cursor.accept("NULL") {
            nullable = true;
        } else if cursor.accept("CHECK") {
            domain.checks.push((constraint, check(cursor)?));
        } else if cursor.accept("COLLATE") {
            cursor.label()?;
        } else if let Some(what) = cursor.accept_one(&["UNIQUE", "PRIMARY KEY", "REFERENCES", "EXCLUDE", "GENERATED"]) {
            let message = match what {
                "UNIQUE" => "unique constraints not possible for domains",
                "PRIMARY KEY" => "primary key constraints not possible for domains",
                "REFERENCES" => "foreign key constraints not possible for domains",
                "EXCLUDE" => "exclusion constraints not possible for domains",
                _ => "specifying GENERATED not supported for domains",
            };
            return Err(refused(message));
        } else {
            return Err(cursor.unexpected());
        }
        if nullable && domain.not_null {
            return Err(refused("conflicting NULL/NOT NULL constraints"));
        }
    }
    cursor.end(Statement::CreateDomain(Box::new(domain)))
}

/// 42601 without a place, as PostgreSQL says it.
fn refused(message: &str) -> Fault {
    SqlError::new(SqlState::SYNTAX_ERROR, message).into()
}

/// An expression's text.
fn expression(cursor: &mut Cursor<'_>) -> Read<String> {
    let from = cursor.at;
    cursor.expression()?;
    Ok(cursor.text(from, cursor.at).to_owned())
}

/// `( condition )`, after CHECK.
fn check(cursor: &mut Cursor<'_>) -> Read<String> {
    cursor.expect_token(&Token::LParen)?;
    let text = expression(cursor)?;
    cursor.expect_token(&Token::RParen)?;
    cursor.accept("NO INHERIT");
    Ok(text)
}

/// ALTER TYPE, ALTER DOMAIN, after ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.accept("DOMAIN") {
        return alter_domain(cursor);
    }
    cursor.expect("TYPE")?;
    let name = cursor.name()?;
    let action = if cursor.accept("ADD VALUE") {
        let if_not_exists = cursor.if_not_exists();
        let label = cursor.string()?;
        let beside = match cursor.accept_one(&["BEFORE", "AFTER"]) {
            Some(word) => Some((word == "BEFORE", cursor.string()?)),
            None => None,
        };
        AlterTypeAction::AddValue { label, if_not_exists, beside }
    } else if cursor.accept("RENAME VALUE") {
        let from = cursor.string()?;
        cursor.expect("TO")?;
        AlterTypeAction::RenameValue { from, to: cursor.string()? }
    } else if cursor.accept("RENAME TO") {
        AlterTypeAction::Rename(cursor.ident()?)
    } else if cursor.accept("SET SCHEMA") {
        AlterTypeAction::SetNamespace(cursor.ident()?)
    } else if let Some(what) = cursor.accept_one(&["OWNER", "RENAME ATTRIBUTE", "ADD", "DROP", "ALTER", "SET"]) {
        return unsupported(format!("ALTER TYPE … {what}"));
    } else {
        return Err(cursor.unexpected());
    };
    cursor.end(Statement::AlterType { name, action })
}

fn alter_domain(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let name = cursor.name()?;
    let action = if cursor.accept("SET DEFAULT") {
        AlterDomainAction::SetDefault(Some(expression(cursor)?))
    } else if cursor.accept("DROP DEFAULT") {
        AlterDomainAction::SetDefault(None)
    } else if cursor.accept("SET NOT NULL") {
        AlterDomainAction::SetNotNull(true)
    } else if cursor.accept("DROP NOT NULL") {
        AlterDomainAction::SetNotNull(false)
    } else if cursor.accept("ADD") {
        let name = if cursor.accept("CONSTRAINT") { Some(cursor.ident()?) } else { None };
        cursor.expect("CHECK")?;
        let text = check(cursor)?;
        AlterDomainAction::AddCheck { name, text, not_valid: cursor.accept("NOT VALID") }
    } else if cursor.accept("DROP CONSTRAINT") {
        let if_exists = cursor.if_exists();
        let name = cursor.ident()?;
        cursor.cascade();
        AlterDomainAction::DropConstraint { name, if_exists }
    } else if cursor.accept("RENAME CONSTRAINT") {
        let name = cursor.ident()?;
        cursor.expect("TO")?;
        AlterDomainAction::RenameConstraint { name, to: cursor.ident()? }
    } else if cursor.accept("VALIDATE CONSTRAINT") {
        AlterDomainAction::Validate(cursor.ident()?)
    } else if cursor.accept("RENAME TO") {
        AlterDomainAction::Rename(cursor.ident()?)
    } else if cursor.accept("SET SCHEMA") {
        AlterDomainAction::SetNamespace(cursor.ident()?)
    } else if cursor.accept("OWNER") {
        return unsupported("ALTER DOMAIN … OWNER");
    } else {
        return Err(cursor.unexpected());
    };
    cursor.end(Statement::AlterDomain { name, action })
}

/// DROP TYPE, DROP DOMAIN, after DROP.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let domain = cursor.accept("DOMAIN");
    if !domain {
        cursor.expect("TYPE")?;
    }
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::name)?;
    let cascade = cursor.cascade();
    cursor.end(Statement::DropType { names, domain, if_exists, cascade })
}
