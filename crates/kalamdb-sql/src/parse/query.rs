//! Queries, INSERT, UPDATE, DELETE and EXPLAIN: the parser's trees, and what PostgreSQL has around them.

use super::cursor::Cursor;
use super::token::Lexeme;
use super::{Fault, Read, unsupported};
use crate::statement::{Explain, Statement};
use kalamdb_commons::{SqlError, SqlState};
use sqlparser::ast::{self, SetExpr};
use sqlparser::tokenizer::Token;

/// SELECT, VALUES, TABLE, WITH, or a query in brackets; with a leading WITH also INSERT, UPDATE and DELETE.
pub(super) fn query(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if !begins_query(cursor) {
        return Err(cursor.unexpected());
    }
    let query = tree(cursor)?;
    from_query(query)
}

/// A query for another statement (LISTEN … FOR, DECLARE, COPY): nothing that writes. Reads to the cursor's end.
pub(super) fn select(cursor: &mut Cursor<'_>) -> Read<Box<ast::Query>> {
    match query(cursor)? {
        Statement::Query(query) => Ok(query),
        _ => unsupported("a statement that writes, in the place of a query,"),
    }
}

fn begins_query(cursor: &Cursor<'_>) -> bool {
    cursor.peek() == Some(&Token::LParen) || ["SELECT", "VALUES", "TABLE", "WITH"].iter().any(|word| cursor.is(word))
}

/// The whole rest as a query. Row locks are first brought into the form that the library reads.
fn tree(cursor: &mut Cursor<'_>) -> Read<ast::Query> {
    let rewritten = row_locks(&cursor.lexemes[cursor.at..]);
    let Some(lexemes) = rewritten else { return read_query(cursor) };
    let base = cursor.base;
    let mut locks = Cursor { base, ..Cursor::new(cursor.sql, &lexemes, cursor.after) };
    let query = read_query(&mut locks);
    cursor.at = cursor.lexemes.len();
    query
}

fn read_query(cursor: &mut Cursor<'_>) -> Read<ast::Query> {
    let query = cursor.library(usize::MAX, |parser| parser.parse_query())?;
    finish(cursor)?;
    Ok(*query)
}

/// Nothing may follow. `ORDER x` is wrong at `x`, not at ORDER, which could have gone on.
fn finish(cursor: &mut Cursor<'_>) -> Read<()> {
    if (cursor.is("ORDER") || cursor.is("GROUP")) && !cursor.is_at(1, "BY") {
        cursor.at += 1;
        return Err(cursor.unexpected());
    }
    cursor.end(())
}

/// The name that FOR NO KEY UPDATE has after OF in the library's tree, where it is a kind of FOR UPDATE.
pub(crate) const NO_KEY_UPDATE: &str = "NO KEY UPDATE";
/// The same for FOR KEY SHARE, where it is a kind of FOR SHARE.
pub(crate) const KEY_SHARE: &str = "KEY SHARE";
/// What these names are quoted with: nothing that a client can write.
pub(crate) const LOCK_MARK_QUOTE: char = '`';

/// The library knows `FOR UPDATE | SHARE [OF one]`. PostgreSQL's other strengths become the next stronger one with a
/// mark after OF; several relations after OF become several clauses. `None`: nothing to do.
fn row_locks(lexemes: &[Lexeme]) -> Option<Vec<Lexeme>> {
    let words = |at: usize, words: &str| {
        words
            .split(' ')
            .enumerate()
            .all(|(ahead, word)| lexemes.get(at + ahead).is_some_and(|l| super::is_word(l, word)))
    };
    let mut out: Vec<Lexeme> = Vec::new();
    let mut at = 0;
    let mut changed = false;
    // How the last lock clause begins, while its list of relations goes on.
    let mut clause: Option<Vec<Lexeme>> = None;
    while let Some(lexeme) = lexemes.get(at) {
        let (length, mark) = match () {
            () if words(at, "FOR NO KEY UPDATE") => (4, Some(NO_KEY_UPDATE)),
            () if words(at, "FOR KEY SHARE") => (3, Some(KEY_SHARE)),
            () if words(at, "FOR UPDATE") || words(at, "FOR SHARE") => (2, None),
            () => (0, None),
        };
        if length > 0 {
            let strength = &lexemes[at + length - 1];
            let made = |token: Token| Lexeme { token, ..strength.clone() };
            let mut begin = vec![lexeme.clone(), strength.clone()];
            at += length;
            let names = words(at, "OF");
            if names {
                begin.push(lexemes[at].clone());
                at += 1;
            }
            if let Some(mark) = mark {
                changed = true;
                if !names {
                    begin.push(made(Token::make_keyword("OF")));
                }
                begin.push(made(Token::make_word(mark, Some(LOCK_MARK_QUOTE))));
                if names {
                    begin.push(made(Token::Period));
                }
            }
            out.extend(begin.iter().cloned());
            clause = names.then_some(begin);
            continue;
        }
        match (&clause, &lexeme.token) {
            (Some(begin), Token::Comma) => {
                changed = true;
                out.extend(begin.iter().cloned());
            }
            (Some(_), Token::Word(_) | Token::Period) => out.push(lexeme.clone()),
            _ => {
                clause = None;
                out.push(lexeme.clone());
            }
        }
        at += 1;
    }
    changed.then_some(out)
}

fn from_query(mut query: ast::Query) -> Read<Statement> {
    let with = query.with.take();
    match *query.body {
        SetExpr::Insert(ast::Statement::Insert(insert)) => Ok(behind(with, checked_insert(insert)?)),
        SetExpr::Update(ast::Statement::Update(update)) => Ok(behind(with, Statement::Update(Box::new(update)))),
        SetExpr::Delete(ast::Statement::Delete(delete)) => {
            Ok(behind(with, Statement::Delete { delete: Box::new(delete), purge: false }))
        }
        SetExpr::Update(_) => unsupported("WITH before such an UPDATE"),
        SetExpr::Delete(_) => unsupported("WITH before such a DELETE"),
        SetExpr::Merge(_) => unsupported("MERGE"),
        mut body => match into_of(&mut body) {
            Some(into) => super::table::select_into(into, ast::Query { with, body: Box::new(body), ..query }),
            None => Ok(Statement::Query(Box::new(ast::Query { with, body: Box::new(body), ..query }))),
        },
    }
}

/// INTO of the first SELECT.
fn into_of(body: &mut SetExpr) -> Option<ast::SelectInto> {
    match body {
        SetExpr::Select(select) => select.into.take(),
        SetExpr::SetOperation { left, .. } => into_of(left),
        _ => None,
    }
}

/// A change with the WITH before it.
fn behind(with: Option<ast::With>, change: Statement) -> Statement {
    match with {
        Some(with) => Statement::With { with: Box::new(with), change: Box::new(change) },
        None => change,
    }
}

fn is_change(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

fn checked_insert(insert: ast::Insert) -> Read<Statement> {
    if insert.source.as_ref().is_some_and(|source| is_change(&source.body)) {
        return unsupported("a data-modifying statement in INSERT");
    }
    Ok(Statement::Insert(Box::new(insert)))
}

/// INSERT, UPDATE, DELETE.
pub(super) fn change(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.is("INSERT") {
        return insert(cursor);
    }
    if cursor.is("DELETE") {
        return delete(cursor);
    }
    reject(cursor, &["LIMIT"])?;
    let mut lexemes = cursor.lexemes[cursor.at..].to_vec();
    mark_current_of(&mut lexemes);
    let mut inner = Cursor { base: cursor.base, ..Cursor::new(cursor.sql, &lexemes, cursor.after) };
    match inner.library(usize::MAX, |parser| parser.parse_statement())? {
        ast::Statement::Update(update) => {
            finish(&mut inner)?;
            Ok(Statement::Update(Box::new(update)))
        }
        _ => Err(inner.unexpected()),
    }
}

/// What the cursor's name of `WHERE CURRENT OF c` is quoted with in the library's tree: nothing that a client can
/// write.
pub(crate) const CURSOR_QUOTE: char = '`';

/// `WHERE CURRENT OF c` becomes `WHERE c` with a mark.
fn mark_current_of(lexemes: &mut Vec<Lexeme>) {
    let begins = |window: &[Lexeme]| {
        super::is_word(&window[0], "WHERE") && super::is_word(&window[1], "CURRENT") && super::is_word(&window[2], "OF")
    };
    let Some(at) = lexemes.windows(4).position(begins) else { return };
    let Token::Word(word) = &lexemes[at + 3].token else { return };
    let name = super::fold(&word.clone().into_ident(super::nowhere()));
    lexemes[at + 3].token = Token::make_word(&name, Some(CURSOR_QUOTE));
    lexemes.drain(at + 1..at + 3);
}

fn insert(cursor: &mut Cursor<'_>) -> Read<Statement> {
    // Other dialects' words, which the library reads here too.
    if !cursor.is_at(1, "INTO") || cursor.is_at(2, "TABLE") || cursor.is_at(2, "LOCAL") {
        cursor.at += if cursor.is_at(1, "INTO") { 2 } else { 1 };
        return Err(cursor.unexpected());
    }
    if let Some(lexemes) = super::index::conflict_elements(cursor)? {
        let base = cursor.base;
        let mut marked = Cursor { base, at: cursor.at, ..Cursor::new(cursor.sql, &lexemes, cursor.after) };
        let statement = read_insert(&mut marked);
        cursor.at = cursor.lexemes.len();
        return statement;
    }
    read_insert(cursor)
}

fn read_insert(cursor: &mut Cursor<'_>) -> Read<Statement> {
    match cursor.library(usize::MAX, |parser| parser.parse_statement())? {
        ast::Statement::Insert(insert) => {
            finish(cursor)?;
            checked_insert(insert)
        }
        _ => Err(cursor.unexpected()),
    }
}

fn delete(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if !cursor.is_at(1, "FROM") {
        cursor.at += 1;
        return Err(cursor.unexpected());
    }
    reject(cursor, &["LIMIT", "ORDER"])?;
    let mut lexemes = cursor.lexemes[cursor.at..].to_vec();
    let purge = take_purge(&mut lexemes);
    mark_current_of(&mut lexemes);
    let mut inner = Cursor { base: cursor.base, ..Cursor::new(cursor.sql, &lexemes, cursor.after) };
    match inner.library(usize::MAX, |parser| parser.parse_statement())? {
        ast::Statement::Delete(delete) => {
            finish(&mut inner)?;
            Ok(Statement::Delete { delete: Box::new(delete), purge })
        }
        _ => Err(inner.unexpected()),
    }
}

/// Takes a top-level `WITH (PURGE)` out.
fn take_purge(lexemes: &mut Vec<Lexeme>) -> bool {
    let at = lexemes.windows(4).rposition(|window| {
        super::is_word(&window[0], "WITH")
            && window[1].token == Token::LParen
            && super::is_word(&window[2], "PURGE")
            && window[3].token == Token::RParen
    });
    match at {
        Some(at) => {
            lexemes.drain(at..at + 4);
            true
        }
        None => false,
    }
}

/// Words that other dialects allow at the statement's top level, and PostgreSQL does not.
fn reject(cursor: &Cursor<'_>, words: &[&str]) -> Read<()> {
    let mut depth = 0_usize;
    for (index, lexeme) in cursor.lexemes.iter().enumerate() {
        match &lexeme.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 && words.iter().any(|word| super::is_word(lexeme, word)) => {
                return Err(Cursor { at: index, ..cursor.clone() }.unexpected());
            }
            _ => {}
        }
    }
    Ok(())
}

/// EXPLAIN in both forms, and EXPLAIN LIVE.
pub(super) fn explain(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("EXPLAIN")?;
    let mut options = Options { costs: true, ..Options::default() };
    if cursor.peek() == Some(&Token::LParen) && !is_query_ahead(cursor) {
        cursor.parenthesised(|cursor| options.read(cursor))?;
        for (asked, name) in [(options.wal, "WAL"), (options.timing == Some(true), "TIMING")] {
            if asked && !options.analyze {
                let message = format!("EXPLAIN option {name} requires ANALYZE");
                return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).into());
            }
        }
    } else {
        options.analyze = cursor.accept("ANALYZE") || cursor.accept("ANALYSE");
        options.verbose = cursor.accept("VERBOSE");
    }
    let live = cursor.are("LIVE SELECT") && cursor.accept("LIVE");
    let mut inner = cursor.part(cursor.at, cursor.lexemes.len());
    let text = inner.text(0, inner.lexemes.len()).to_owned();
    let explainable = ["INSERT", "UPDATE", "DELETE", "EXECUTE", "DECLARE"].iter().any(|word| inner.is(word));
    let statement = match () {
        () if inner.are("CREATE TABLE") => return unsupported("EXPLAIN CREATE TABLE AS"),
        () if begins_query(&inner) || live => query(&mut inner)?,
        () if explainable => super::read(inner)?,
        () => return Err(inner.unexpected()),
    };
    let Options { analyze, verbose, json, costs, .. } = options;
    let summary = options.summary.unwrap_or(analyze);
    Ok(Statement::Explain(Box::new(Explain { statement, text, analyze, verbose, json, costs, summary, live })))
}

fn is_query_ahead(cursor: &Cursor<'_>) -> bool {
    let mut inside = cursor.clone();
    while inside.accept_token(&Token::LParen) {}
    begins_query(&inside)
}

#[derive(Default)]
struct Options {
    analyze: bool,
    verbose: bool,
    json: bool,
    costs: bool,
    wal: bool,
    timing: Option<bool>,
    summary: Option<bool>,
}

impl Options {
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        let before = cursor.clone();
        let name = cursor.label()?;
        match name.as_str() {
            "analyze" | "analyse" => self.analyze = switch(cursor)?,
            "verbose" => self.verbose = switch(cursor)?,
            "costs" => self.costs = switch(cursor)?,
            "wal" => self.wal = switch(cursor)?,
            "timing" => self.timing = Some(switch(cursor)?),
            "summary" => self.summary = Some(switch(cursor)?),
            // There are no shared buffers to count, and no setting that changes a plan.
            "buffers" | "settings" => {
                switch(cursor)?;
            }
            "format" => {
                let format = cursor.string().or_else(|_| cursor.label())?;
                match format.to_ascii_lowercase().as_str() {
                    "text" => self.json = false,
                    "json" => self.json = true,
                    "xml" | "yaml" => return unsupported(format!("EXPLAIN (FORMAT {})", format.to_ascii_uppercase())),
                    _ => {
                        let message = format!("unrecognized value for EXPLAIN option \"format\": \"{format}\"");
                        return Err(before.error(kalamdb_commons::SqlState::INVALID_PARAMETER_VALUE, message));
                    }
                }
            }
            _ => {
                let message = format!("unrecognized EXPLAIN option \"{name}\"");
                return Err(before.error(kalamdb_commons::SqlState::SYNTAX_ERROR, message));
            }
        }
        Ok(())
    }
}

/// An option's boolean: nothing is true.
pub(super) fn switch(cursor: &mut Cursor<'_>) -> Read<bool> {
    let name = cursor.at.checked_sub(1).and_then(|at| cursor.lexemes.get(at));
    let name = name.map(|lexeme| cursor.sql[lexeme.start..lexeme.end].to_ascii_lowercase()).unwrap_or_default();
    if matches!(cursor.peek(), None | Some(Token::Comma | Token::RParen)) {
        return Ok(true);
    }
    let value = match cursor.string() {
        Ok(text) => text.to_ascii_lowercase(),
        Err(_) => cursor.label().or_else(|_| cursor.number())?,
    };
    match value.as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => {
            let message = format!("{name} requires a Boolean value");
            Err(Fault::Error(SqlError::new(SqlState::SYNTAX_ERROR, message)))
        }
    }
}
