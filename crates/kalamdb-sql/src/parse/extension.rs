//! CREATE and DROP EXTENSION, which clients send before they use vectors.

use super::Read;
use super::cursor::Cursor;
use crate::statement::Statement;

/// CREATE EXTENSION, after CREATE: where it goes and of which version changes nothing.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("EXTENSION")?;
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.ident()?;
    cursor.accept("WITH");
    while !cursor.is_done() {
        if cursor.accept("SCHEMA") {
            cursor.ident()?;
        } else if cursor.accept("VERSION") {
            match cursor.string() {
                Ok(_) => {}
                Err(_) => drop(cursor.ident()?),
            }
        } else if !cursor.accept("CASCADE") {
            return Err(cursor.unexpected());
        }
    }
    cursor.end(Statement::CreateExtension { name, if_not_exists })
}

/// DROP EXTENSION, after DROP.
pub(super) fn remove(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("EXTENSION")?;
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::ident)?;
    cursor.cascade();
    cursor.end(Statement::DropExtension { names, if_exists })
}
