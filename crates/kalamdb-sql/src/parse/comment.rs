//! COMMENT ON.

use super::cursor::Cursor;
use super::{Fault, Read, unsupported};
use crate::statement::{Commented, Name, RelationWord, Statement};
use kalamdb_commons::{SqlError, SqlState};

/// COMMENT ON what IS 'text' | NULL
pub(super) fn comment(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("COMMENT ON")?;
    let about = about(cursor)?;
    cursor.expect("IS")?;
    let text = if cursor.accept("NULL") { None } else { Some(cursor.string()?) };
    // As in PostgreSQL, an empty text is none.
    cursor.end(Statement::Comment { about, text: text.filter(|text| !text.is_empty()) })
}

fn about(cursor: &mut Cursor<'_>) -> Read<Commented> {
    const RELATIONS: &[(&str, RelationWord)] = &[
        ("TABLE", RelationWord::Table),
        ("VIEW", RelationWord::View),
        ("INDEX", RelationWord::Index),
        ("SEQUENCE", RelationWord::Sequence),
    ];
    for (word, kind) in RELATIONS {
        if cursor.accept(word) {
            return Ok(Commented::Relation(*kind, cursor.name()?));
        }
    }
    if cursor.accept("COLUMN") {
        return column(cursor);
    }
    if cursor.accept_one(&["SCHEMA", "NAMESPACE"]).is_some() {
        return cursor.ident().map(Commented::Namespace);
    }
    if cursor.accept("DATABASE") {
        return cursor.ident().map(Commented::WholeDatabase);
    }
    if cursor.accept_one(&["ROLE", "USER"]).is_some() {
        return cursor.user().map(Commented::Role);
    }
    if cursor.accept("TYPE") {
        return cursor.name().map(Commented::Type);
    }
    if cursor.accept("DOMAIN") {
        return cursor.name().map(Commented::Domain);
    }
    if cursor.accept("CONSTRAINT") {
        let name = cursor.ident()?;
        cursor.expect("ON")?;
        if cursor.accept("DOMAIN") {
            return unsupported("COMMENT ON CONSTRAINT … ON DOMAIN");
        }
        return Ok(Commented::Constraint { name, table: cursor.name()? });
    }
    super::other_kind(cursor, "COMMENT ON")
}

/// `[ns.]t.column`
fn column(cursor: &mut Cursor<'_>) -> Read<Commented> {
    let position = cursor.own_position();
    let mut parts = vec![cursor.ident()?];
    while cursor.accept_token(&sqlparser::tokenizer::Token::Period) {
        parts.push(cursor.label()?);
    }
    let (Some(column), Some(relation)) = (parts.pop(), parts.pop()) else {
        let message = "column name must be qualified";
        return Err(Fault::Error(SqlError::new(SqlState::SYNTAX_ERROR, message)));
    };
    Ok(Commented::Column { relation: Name { namespace: parts.pop(), name: relation, position }, column })
}
