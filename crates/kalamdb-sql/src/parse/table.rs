//! Namespaces and tables: CREATE, DROP, TRUNCATE, and what is done to them. ALTER TABLE is next door.

use super::constraint::{Of, TableConstraint, check, references, table_constraint, timing};
use super::cursor::Cursor;
use super::{Fault, Read, unsupported};
use super::{generated, index, query};
use crate::statement::{
    ColumnSpec, ConstraintSpec, CreateTable, CreateTableAs, IdentitySpec, Included, Name, SourceQuery, Statement,
    TableLike, TypeName, UniqueSpec,
};
use kalamdb_commons::{SqlError, SqlState, TableType};
use sqlparser::ast;
use sqlparser::tokenizer::Token;

/// CREATE NAMESPACE | SCHEMA, after CREATE.
pub(super) fn create_namespace(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.at += 1;
    let if_not_exists = cursor.if_not_exists();
    let authorization = |cursor: &mut Cursor<'_>| -> Read<Option<String>> {
        if cursor.accept("AUTHORIZATION") { cursor.user().map(Some) } else { Ok(None) }
    };
    let mut owner = authorization(cursor)?;
    let name = match &owner {
        Some(owner) => owner.clone(),
        None => cursor.string().or_else(|_| cursor.ident())?,
    };
    if owner.is_none() {
        owner = authorization(cursor)?;
    }
    if cursor.is("CREATE") || cursor.is("GRANT") {
        return unsupported("CREATE SCHEMA with its objects");
    }
    cursor.end(Statement::CreateNamespace { name, if_not_exists, owner })
}

/// ALTER NAMESPACE n SET DESCRIPTION 'text', after ALTER.
pub(super) fn alter_namespace(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.at += 1;
    let name = cursor.ident()?;
    if !cursor.accept("SET DESCRIPTION") {
        return match cursor.accept_one(&["RENAME", "OWNER"]) {
            Some(what) => unsupported(format!("ALTER SCHEMA … {what}")),
            None => Err(cursor.unexpected()),
        };
    }
    let description = cursor.string()?;
    cursor.end(Statement::DescribeNamespace { name, description })
}

/// DROP NAMESPACE | SCHEMA, after DROP.
pub(super) fn drop_namespace(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.at += 1;
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::ident)?;
    let cascade = cursor.cascade();
    cursor.end(Statement::DropNamespace { names, if_exists, cascade })
}

/// DROP TABLE, after DROP.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("TABLE")?;
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::name)?;
    let cascade = cursor.cascade();
    cursor.end(Statement::DropTable { names, if_exists, cascade })
}

/// TRUNCATE [TABLE] a, b
pub(super) fn truncate(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("TRUNCATE")?;
    cursor.accept("TABLE");
    let names = cursor.list(Cursor::relation)?;
    let restart = cursor.accept("RESTART IDENTITY");
    if !restart {
        cursor.accept("CONTINUE IDENTITY");
    }
    let cascade = cursor.cascade();
    cursor.end(Statement::Truncate { names, restart, cascade })
}

/// VACUUM and ANALYZE. Their options change nothing that is seen: upkeep decides.
pub(super) fn maintain(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let vacuum = cursor.accept("VACUUM");
    if !vacuum {
        cursor.at += 1;
    }
    let mut analyze = false;
    if cursor.peek() == Some(&Token::LParen) {
        cursor.parenthesised(|cursor| {
            let name = cursor.label()?;
            let on = match cursor.peek() {
                Some(Token::Comma | Token::RParen) => true,
                _ => cursor.label().or_else(|_| cursor.number())? != "false",
            };
            analyze |= on && matches!(name.as_str(), "analyze" | "analyse");
            Ok(())
        })?;
    } else {
        while cursor.accept_one(&["FULL", "FREEZE", "VERBOSE"]).is_some() {}
        if vacuum {
            analyze = cursor.accept_one(&["ANALYZE", "ANALYSE"]).is_some();
        }
    }
    let table = |cursor: &mut Cursor<'_>| {
        let name = cursor.name()?;
        if cursor.peek() == Some(&Token::LParen) {
            cursor.parenthesised(Cursor::ident)?;
        }
        Ok(name)
    };
    let names = if cursor.is_done() { Vec::new() } else { cursor.list(table)? };
    cursor.end(if vacuum { Statement::Vacuum { names, analyze } } else { Statement::Analyze { names } })
}

/// LOCK [TABLE] a, b [IN … MODE] [NOWAIT]
pub(super) fn lock(cursor: &mut Cursor<'_>) -> Read<Statement> {
    const MODES: &[&str] = &[
        "ACCESS SHARE",
        "ROW SHARE",
        "ROW EXCLUSIVE",
        "SHARE UPDATE EXCLUSIVE",
        "SHARE ROW EXCLUSIVE",
        "SHARE",
        "EXCLUSIVE",
        "ACCESS EXCLUSIVE",
    ];
    cursor.expect("LOCK")?;
    cursor.accept("TABLE");
    let names = cursor.list(Cursor::relation)?;
    let mode = if cursor.accept("IN") {
        let mode = cursor.accept_one(MODES).ok_or_else(|| cursor.unexpected())?;
        cursor.expect("MODE")?;
        mode
    } else {
        "ACCESS EXCLUSIVE"
    };
    let nowait = cursor.accept("NOWAIT");
    cursor.end(Statement::Lock { names, mode: mode.to_ascii_lowercase(), nowait })
}

/// DESCRIBE | DESC [TABLE] t [HISTORY]
pub(super) fn describe(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.at += 1;
    cursor.accept("TABLE");
    let name = cursor.name()?;
    let history = cursor.accept("HISTORY");
    cursor.end(Statement::Describe { name, history })
}

/// STORAGE FLUSH …, FLUSH TABLE, FLUSH ALL TABLES; the other STORAGE statements are not there yet.
pub(super) fn flush(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.accept("STORAGE") {
        if let Some(what) = cursor.accept_one(&["COMPACT", "CHECK"]) {
            return unsupported(format!("STORAGE {what}"));
        }
    }
    cursor.expect("FLUSH")?;
    if cursor.accept("TABLE") {
        let name = cursor.name()?;
        return cursor.end(Statement::FlushTable(name));
    }
    cursor.expect("ALL")?;
    cursor.accept("TABLES");
    let namespace = if cursor.accept("IN") { Some(cursor.ident()?) } else { None };
    cursor.end(Statement::FlushAll(namespace))
}

const KINDS: &[&str] = &["USER", "SHARED", "STREAM", "GLOBAL", "LOCAL", "TEMPORARY", "TEMP", "UNLOGGED"];

/// Whether CREATE is followed by TABLE in one of its kinds.
pub(super) fn begins_table(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    while ahead.accept_one(KINDS).is_some() {}
    ahead.is("TABLE")
}

/// CREATE TABLE, after CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let kind = table_kind(cursor)?;
    cursor.expect("TABLE")?;
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name()?;
    if let Some(what) = cursor.accept_one(&["OF", "PARTITION OF"]) {
        return unsupported(format!("CREATE TABLE {what}"));
    }
    let mut table = CreateTable {
        name,
        kind,
        if_not_exists,
        columns: Vec::new(),
        primary_key: None,
        uniques: Vec::new(),
        constraints: Vec::new(),
        options: Vec::new(),
        likes: Vec::new(),
    };
    if let Some(columns) = column_names(cursor) {
        table_tail(cursor, &mut table)?;
        return table_as(cursor, table, columns);
    }
    cursor.expect_token(&Token::LParen)?;
    if !cursor.accept_token(&Token::RParen) {
        cursor.list(|cursor| element(cursor, &mut table))?;
        cursor.expect_token(&Token::RParen)?;
    }
    table_tail(cursor, &mut table)?;
    cursor.end(Statement::CreateTable(Box::new(table)))
}

/// The names before AS; `None` for the columns of a plain table.
fn column_names(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    if cursor.peek() != Some(&Token::LParen) {
        return Some(Vec::new());
    }
    let mut ahead = cursor.clone();
    let names = ahead.parenthesised(Cursor::ident).ok()?;
    *cursor = ahead;
    Some(names)
}

/// AS query [WITH [NO] DATA]
fn table_as(cursor: &mut Cursor<'_>, table: CreateTable, columns: Vec<String>) -> Read<Statement> {
    cursor.expect("AS")?;
    let all = cursor.lexemes.len();
    let ends = |words: &str| {
        let length = words.split(' ').count();
        all >= cursor.at + length && Cursor { at: all - length, ..cursor.clone() }.are(words)
    };
    let (length, with_data) = match () {
        () if ends("WITH NO DATA") => (3, false),
        () if ends("WITH DATA") => (2, true),
        () => (0, true),
    };
    let base = cursor.base;
    let part = Cursor { at: cursor.at, base, ..cursor.part(0, all - length) };
    let mut part = part;
    let query = if part.accept("EXECUTE") {
        let name = part.ident()?;
        let arguments = match part.peek() {
            Some(Token::LParen) => part.parenthesised(Cursor::expression)?,
            _ => Vec::new(),
        };
        part.end(SourceQuery::Execute { name, arguments })?
    } else {
        SourceQuery::Query(query::select(&mut part)?)
    };
    Ok(Statement::CreateTableAs(Box::new(CreateTableAs { table, columns, query, with_data })))
}

/// SELECT … INTO: the same as CREATE TABLE … AS.
pub(super) fn select_into(into: ast::SelectInto, query: ast::Query) -> Read<Statement> {
    if into.temporary {
        return unsupported("a temporary table");
    }
    if into.unlogged {
        return unsupported("an unlogged table");
    }
    let parts: Vec<String> = match into.targets.as_slice() {
        [ast::Expr::Identifier(ident)] => vec![super::fold(ident)],
        [ast::Expr::CompoundIdentifier(parts)] if parts.len() == 2 => parts.iter().map(super::fold).collect(),
        _ => return unsupported("SELECT … INTO several targets"),
    };
    let mut parts = parts.into_iter().rev();
    let name = Name { name: parts.next().unwrap_or_default(), namespace: parts.next(), position: None };
    let table = CreateTable {
        name,
        kind: None,
        if_not_exists: false,
        columns: Vec::new(),
        primary_key: None,
        uniques: Vec::new(),
        constraints: Vec::new(),
        options: Vec::new(),
        likes: Vec::new(),
    };
    let query = SourceQuery::Query(Box::new(query));
    Ok(Statement::CreateTableAs(Box::new(CreateTableAs { table, columns: Vec::new(), query, with_data: true })))
}

fn table_kind(cursor: &mut Cursor<'_>) -> Read<Option<TableType>> {
    match cursor.accept_one(KINDS) {
        None => Ok(None),
        Some("USER") => Ok(Some(TableType::User)),
        Some("SHARED") => Ok(Some(TableType::Shared)),
        Some("STREAM") => Ok(Some(TableType::Stream)),
        Some("UNLOGGED") => unsupported("an unlogged table"),
        Some(_) => unsupported("a temporary table"),
    }
}

/// What follows the columns.
fn table_tail(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Read<()> {
    if let Some(what) = cursor.accept_one(&["INHERITS", "PARTITION BY", "ON COMMIT", "TABLESPACE"]) {
        return unsupported(format!("CREATE TABLE … {what}"));
    }
    if cursor.accept("USING") {
        let method = cursor.ident()?;
        if method != "heap" {
            return Err(missing("access method", &method));
        }
    }
    if cursor.accept("WITHOUT OIDS") {
        // PostgreSQL accepts the words, too.
    } else if cursor.accept("WITH") {
        table.options = options(cursor)?;
    }
    match cursor.accept_one(&["INHERITS", "PARTITION BY", "ON COMMIT", "TABLESPACE"]) {
        Some(what) => unsupported(format!("CREATE TABLE … {what}")),
        None => Ok(()),
    }
}

fn missing(what: &str, name: &str) -> Fault {
    Fault::Error(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("{what} \"{name}\" does not exist")))
}

/// `( name = value, … )`: a value alone is "true".
pub(super) fn options(cursor: &mut Cursor<'_>) -> Read<Vec<(String, String)>> {
    cursor.parenthesised(|cursor| {
        let mut name = cursor.label()?;
        while cursor.accept_token(&Token::Period) {
            name = format!("{name}.{}", cursor.label()?);
        }
        let name = name.to_ascii_lowercase();
        if !cursor.accept_token(&Token::Eq) {
            return Ok((name, "true".to_owned()));
        }
        let value = cursor.string().or_else(|_| cursor.label()).or_else(|_| cursor.number())?;
        Ok((name, value))
    })
}

/// A column or a table constraint.
fn element(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Read<()> {
    if cursor.accept("LIKE") {
        let at = table.columns.len();
        table.likes.push(like(cursor, at)?);
        return Ok(());
    }
    match table_constraint(cursor)? {
        Some(TableConstraint::Key(key)) => return set_key(table, key),
        Some(TableConstraint::Unique(UniqueSpec { using_index: Some(_), .. }) | TableConstraint::KeyUsing(..)) => {
            return unsupported("a constraint USING INDEX in CREATE TABLE");
        }
        Some(TableConstraint::Unique(unique)) => {
            table.uniques.push(unique);
            return Ok(());
        }
        Some(TableConstraint::Other(constraint)) => {
            table.constraints.push(constraint);
            return Ok(());
        }
        None => {}
    }
    let shown = table.name.name.clone();
    let Column { column, key, uniques, constraints } = column(cursor, &shown)?;
    table.columns.push(column);
    table.uniques.extend(uniques);
    table.constraints.extend(constraints);
    key.map_or(Ok(()), |key| set_key(table, key))
}

/// `t INCLUDING … EXCLUDING …`, after LIKE.
fn like(cursor: &mut Cursor<'_>, at: usize) -> Read<TableLike> {
    const WORDS: &[(&str, Included)] = &[
        ("COMMENTS", Included::Comments),
        ("CONSTRAINTS", Included::Constraints),
        ("DEFAULTS", Included::Defaults),
        ("GENERATED", Included::Generated),
        ("IDENTITY", Included::Identity),
        ("INDEXES", Included::Indexes),
        ("STATISTICS", Included::Other),
        ("STORAGE", Included::Other),
        ("COMPRESSION", Included::Other),
    ];
    let source = cursor.name()?;
    let mut including: Vec<Included> = Vec::new();
    while let Some(word) = cursor.accept_one(&["INCLUDING", "EXCLUDING"]) {
        let what: Vec<Included> = match cursor.accept("ALL") {
            true => WORDS.iter().map(|(_, what)| *what).collect(),
            false => {
                let found = WORDS.iter().find(|(word, _)| cursor.accept(word));
                vec![found.ok_or_else(|| cursor.unexpected())?.1]
            }
        };
        including.retain(|other| !what.contains(other));
        if word == "INCLUDING" {
            including.extend(what);
        }
    }
    Ok(TableLike { at, source, including })
}

/// A primary key: its constraint's name, its columns.
pub(super) type Key = (Option<String>, Vec<String>);

fn set_key(table: &mut CreateTable, key: Key) -> Read<()> {
    if table.primary_key.is_some() {
        let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name.name);
        return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message).into());
    }
    table.primary_key = Some(key);
    Ok(())
}

/// What may follow a primary key: parameters of the index that it has in PostgreSQL.
pub(super) fn key_tail(cursor: &mut Cursor<'_>) -> Read<()> {
    if cursor.accept("INCLUDE") {
        return unsupported("PRIMARY KEY … INCLUDE");
    }
    if cursor.is("WITH") && cursor.peek_at(1) == Some(&Token::LParen) {
        cursor.accept("WITH");
        options(cursor)?;
    }
    if cursor.accept("USING INDEX TABLESPACE") {
        return unsupported("TABLESPACE");
    }
    fixed_timing(cursor)
}

/// NOT DEFERRABLE and INITIALLY IMMEDIATE are what keys are; the others are not there yet.
pub(super) fn fixed_timing(cursor: &mut Cursor<'_>) -> Read<()> {
    match timing(cursor, Of::Table)? {
        Some((true, _)) => unsupported("a deferrable key"),
        _ => Ok(()),
    }
}

/// A column's definition, and the constraints that are said with it.
pub(super) struct Column {
    /// The column.
    pub column: ColumnSpec,
    /// PRIMARY KEY
    pub key: Option<Key>,
    /// UNIQUE
    pub uniques: Vec<UniqueSpec>,
    /// CHECK and REFERENCES
    pub constraints: Vec<ConstraintSpec>,
}

/// A column's definition, with its constraints.
pub(super) fn column(cursor: &mut Cursor<'_>, table: &str) -> Read<Column> {
    let name = cursor.ident()?;
    let serial = generated::serial(cursor)?;
    let ty = match serial {
        Some(ty) => TypeName::BuiltIn(ty.into()),
        None => cursor.type_name()?,
    };
    let mut column = ColumnSpec { not_null: serial.is_some(), serial: serial.is_some(), ..ColumnSpec::plain(name, ty) };
    let mut key = None;
    let mut uniques = Vec::new();
    let mut constraints = Vec::new();
    let mut nullable = false;
    loop {
        let before = cursor.clone();
        let Some(constraint) = column_constraint(cursor, &column.name)? else { break };
        generated::check(&before, &column, &constraint, table)?;
        match constraint {
            Constraint::NotNull | Constraint::Identity(_) if nullable => {
                return Err(generated::conflicting_null(&before, &column, table));
            }
            Constraint::Null if column.not_null => {
                return Err(generated::conflicting_null(&before, &column, table));
            }
            Constraint::NotNull => column.not_null = true,
            Constraint::Null => nullable = true,
            Constraint::Default(expr, text) => {
                if column.default.replace((expr, text)).is_some() {
                    let message = format!(
                        "multiple default values specified for column \"{}\" of table \"{table}\"",
                        column.name
                    );
                    return Err(cursor.error(SqlState::SYNTAX_ERROR, message));
                }
            }
            Constraint::Key(constraint) => {
                if key.replace((constraint, vec![column.name.clone()])).is_some() {
                    let message = format!("multiple primary keys for table \"{table}\" are not allowed");
                    return Err(cursor.error(SqlState::INVALID_TABLE_DEFINITION, message));
                }
            }
            Constraint::Unique(unique) => uniques.push(unique),
            Constraint::Other(constraint) => constraints.push(constraint),
            Constraint::Identity(identity) => {
                column.identity = Some(identity);
                column.not_null = true;
            }
            Constraint::Generated(text, place) => column.generated = Some((text, place)),
            Constraint::Nothing => {}
        }
    }
    if nullable && (column.not_null || key.is_some()) {
        let message =
            format!("conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{table}\"", column.name);
        return Err(cursor.error(SqlState::SYNTAX_ERROR, message));
    }
    Ok(Column { column, key, uniques, constraints })
}

/// A column's constraint.
pub(super) enum Constraint {
    NotNull,
    Null,
    Default(ast::Expr, String),
    Key(Option<String>),
    Unique(UniqueSpec),
    Other(ConstraintSpec),
    Identity(IdentitySpec),
    Generated(String, Option<usize>),
    Nothing,
}

fn column_constraint(cursor: &mut Cursor<'_>, column: &str) -> Read<Option<Constraint>> {
    let name = if cursor.accept("CONSTRAINT") { Some(cursor.ident()?) } else { None };
    if cursor.accept("NOT NULL") {
        return Ok(Some(Constraint::NotNull));
    }
    if cursor.accept("NULL") {
        return Ok(Some(Constraint::Null));
    }
    if cursor.accept("DEFAULT") {
        let from = cursor.at;
        let expr = cursor.expression()?;
        let text = cursor.text(from, cursor.at).to_owned();
        return Ok(Some(Constraint::Default(expr, text)));
    }
    if cursor.accept("PRIMARY KEY") {
        key_tail(cursor)?;
        return Ok(Some(Constraint::Key(name)));
    }
    if cursor.accept("UNIQUE") {
        return index::unique_column(cursor, name, column).map(|unique| Some(Constraint::Unique(unique)));
    }
    if cursor.accept("GENERATED") {
        return generated::constraint(cursor).map(Some);
    }
    if cursor.accept("COLLATE") {
        return collation(cursor).map(Some);
    }
    if cursor.accept("CHECK") {
        return check(cursor, name, Of::Column).map(Constraint::Other).map(Some);
    }
    if cursor.accept("REFERENCES") {
        let key = references(cursor, name, vec![column.to_owned()], Of::Column)?;
        return Ok(Some(Constraint::Other(ConstraintSpec::ForeignKey(Box::new(key)))));
    }
    match cursor.accept_one(&["STORAGE", "COMPRESSION"]) {
        Some(what) => unsupported(format!("a column's {what}")),
        None if name.is_some() => Err(cursor.unexpected()),
        None => Ok(None),
    }
}

/// Text is ordered by its bytes: the collations that say so are accepted.
pub(super) fn collation(cursor: &mut Cursor<'_>) -> Read<Constraint> {
    let mut name = cursor.label()?;
    if name == "pg_catalog" && cursor.accept_token(&Token::Period) {
        name = cursor.label()?;
    }
    match name.as_str() {
        "C" | "POSIX" | "ucs_basic" | "default" => Ok(Constraint::Nothing),
        _ => unsupported(format!("the collation \"{name}\"")),
    }
}
