//! Users: our CREATE USER, and PostgreSQL's CREATE USER and CREATE ROLE as far as they mean the same.

use super::cursor::Cursor;
use super::{Read, unsupported};
use crate::statement::{AlterUser, CreateUser, Statement, UserLogin};
use kalamdb_commons::{Role, SqlState};

/// CREATE USER | ROLE, after CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    // A role of PostgreSQL's cannot log in unless it says so, a user can.
    let mut may_log_in = !cursor.is("ROLE");
    cursor.at += 1;
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.user()?;
    cursor.accept("WITH");
    let mut user = CreateUser { name, if_not_exists, login: None, role: Role::User, email: None, metadata: None };
    while !cursor.is_done() {
        option(cursor, &mut user, &mut may_log_in)?;
    }
    // One who logs in by a token said so in our own words.
    if !may_log_in && matches!(user.login, Some(UserLogin::Password(_))) {
        user.login = None;
    }
    Ok(Statement::CreateUser(Box::new(user)))
}

fn option(cursor: &mut Cursor<'_>, user: &mut CreateUser, may_log_in: &mut bool) -> Read<()> {
    cursor.accept("WITH");
    if let Some(login) = login(cursor)? {
        user.login = login;
        return Ok(());
    }
    // Rights that nobody has who is not given them; so refusing them changes nothing.
    const REFUSED: &[&str] = &["NOSUPERUSER", "NOCREATEDB", "NOCREATEROLE", "NOREPLICATION", "NOBYPASSRLS", "INHERIT"];
    const RIGHTS: &[&str] = &["SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS", "NOINHERIT"];
    match () {
        () if cursor.accept("INTERNAL") => user.login = None,
        () if cursor.accept("LOGIN") => *may_log_in = true,
        () if cursor.accept("NOLOGIN") => *may_log_in = false,
        () if cursor.accept("ROLE") => user.role = role(cursor)?,
        () if cursor.accept("EMAIL") => user.email = Some(cursor.string()?),
        () if cursor.accept("METADATA") => user.metadata = Some(cursor.string()?),
        () if cursor.accept_one(REFUSED).is_some() => {}
        () => {
            let others = ["CONNECTION LIMIT", "VALID UNTIL", "IN ROLE", "IN GROUP", "ADMIN", "SYSID", "USER"];
            return match cursor.accept_one(RIGHTS).or_else(|| cursor.accept_one(&others)) {
                Some(what) => unsupported(format!("CREATE USER … {what}")),
                None => Err(cursor.unexpected()),
            };
        }
    }
    Ok(())
}

/// PASSWORD or OAUTH; `Some(None)` is PASSWORD NULL.
#[allow(clippy::option_option)]
fn login(cursor: &mut Cursor<'_>) -> Read<Option<Option<UserLogin>>> {
    if cursor.accept("OAUTH") {
        return Ok(Some(Some(UserLogin::Oauth(cursor.string()?))));
    }
    if cursor.is("ENCRYPTED") && cursor.is_at(1, "PASSWORD") {
        cursor.accept("ENCRYPTED");
    }
    if !cursor.accept("PASSWORD") {
        return Ok(None);
    }
    if cursor.accept("NULL") {
        return Ok(Some(None));
    }
    Ok(Some(Some(UserLogin::Password(cursor.string()?))))
}

fn role(cursor: &mut Cursor<'_>) -> Read<Role> {
    let before = cursor.clone();
    let word = cursor.string().or_else(|_| cursor.label())?;
    Role::parse(&word)
        .ok_or_else(|| before.error(SqlState::UNDEFINED_OBJECT, format!("role \"{word}\" does not exist")))
}

/// ALTER USER | ROLE, after ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.at += 1;
    let name = match cursor.accept_one(&["CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"]) {
        Some(_) => None,
        None if cursor.is("ALL") => return unsupported("ALTER ROLE ALL"),
        None => Some(cursor.user()?),
    };
    cursor.accept("WITH");
    let set = cursor.accept("SET");
    let change = match login(cursor)? {
        Some(Some(login)) => AlterUser::Login(login),
        Some(None) => return unsupported("ALTER USER … PASSWORD NULL"),
        None if cursor.accept("ROLE") => AlterUser::Role(role(cursor)?),
        None if cursor.accept("EMAIL") => AlterUser::Email(cursor.string()?),
        None if cursor.accept("METADATA") => AlterUser::Metadata(cursor.string()?),
        None if cursor.accept("UNLOCK") => AlterUser::Unlock,
        None if set => return unsupported("ALTER USER … SET"),
        None if cursor.is_done() => return Err(cursor.unexpected()),
        None => {
            let what = cursor.label()?.to_ascii_uppercase();
            return unsupported(format!("ALTER USER … {what}"));
        }
    };
    cursor.end(Statement::AlterUser { name, change })
}

/// DROP USER | ROLE, after DROP.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.at += 1;
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::user)?;
    cursor.end(Statement::DropUser { names, if_exists })
}
