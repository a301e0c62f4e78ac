//! Text to statements: the only place where the SQL parser is made and where keywords are looked for.
//!
//! A string is tokenised once, with places; it is cut at its top-level semicolons; each piece is tried as a statement
//! of ours (`parse/`) and given to the library when it is a query, INSERT, UPDATE, DELETE, an expression or a type.
//! The surprising thing: the library's messages are never seen. Where its parser stood is all we take from it, and
//! the sentence is PostgreSQL's.

mod alter;
mod comment;
mod constraint;
mod copy;
mod cursor;
mod extension;
mod forms;
mod generated;
mod index;
mod query;
mod sequence;
mod session;
mod table;
mod token;
mod types;
mod user;
mod user_type;
mod view;

pub use cursor::is_reserved;
pub(crate) use forms::{GROUP_DISTINCT, GROUPING_SETS, ROWS_FROM, VARIADIC, is_mark};
pub(crate) use index::{ELEMENT_QUOTE, conflict_element};
pub(crate) use query::{CURSOR_QUOTE, KEY_SHARE, LOCK_MARK_QUOTE, NO_KEY_UPDATE};

use crate::bind::bound::Exclusion;
use crate::dialect::KalamDialect;
use crate::statement::{Statement, TypeName};
use cursor::Cursor;
use kalamdb_commons::{Result, SqlError, SqlState};
use sqlparser::ast;
use sqlparser::dialect::{Dialect as _, Precedence};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use token::Lexeme;

pub use types::{interval_literal, type_of, user_type_name};

/// Whether a field's name is the star of `(row).*`.
pub(crate) fn is_expansion(ident: &ast::Ident) -> bool {
    ident.quote_style == Some(token::EXPANSION)
}

/// How deep expressions and queries may nest. Deeper is 54001: the tree's owner frees it by recursion, and the
/// smallest stack it is freed on has 2 MiB.
const DEPTH_MAX: usize = 600;

/// How many operators may follow each other without a comma, a clause or a bracket between: such a chain is as deep a
/// tree as it is long.
const CHAIN_MAX: usize = 3_000;

/// How many operators of a chain a set operation or a join stands for: each is a query's node, and planning costs more
/// than in proportion to their number.
const RELATIONAL_WEIGHT: usize = 6;

/// PostgreSQL's NAMEDATALEN - 1: bytes of a name; more are cut.
const NAME_BYTES_MAX: usize = 63;

/// One statement with the text it came from.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement.
    pub statement: Statement,
    /// Its own text, without the separator. Places in the statement's trees count from its start.
    pub text: String,
    /// How many characters of the whole string stand before `text`: positions in errors are shifted by it.
    pub offset: usize,
}

/// Why a statement could not be read.
enum Fault {
    /// For the client, now.
    Error(SqlError),
    /// Known and not supported: the statement becomes [`Statement::Unsupported`], so that those before it still run.
    Unsupported(String),
}

type Read<T> = std::result::Result<T, Fault>;

impl From<SqlError> for Fault {
    fn from(error: SqlError) -> Self {
        Fault::Error(error)
    }
}

fn unsupported<T>(subject: impl Into<String>) -> Read<T> {
    Err(Fault::Unsupported(subject.into()))
}

/// Parses a string of statements separated by semicolons. An empty string gives no statement.
///
/// # Errors
/// 42601 with PostgreSQL's sentence and the position in `sql` (characters from 1); 54001 for too deep nesting.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    let lexemes = token::lex(sql)?;
    let mut parsed = Vec::new();
    for (piece, end) in statements(&lexemes) {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
        check_chains(piece)?;
        let rewritten = forms::rewritten(piece);
        let read = rewritten.as_deref().unwrap_or(piece);
        let statement = match statement(Cursor::new(sql, read, lexemes.get(end))) {
            Ok(statement) => statement,
            Err(error) => match forms::unsupported(piece) {
                Some(subject) => Statement::Unsupported(subject.to_owned()),
                None => return Err(error),
            },
        };
        parsed.push(Parsed { statement, text: sql[first.start..last.end].to_owned(), offset: first.char_start });
    }
    Ok(parsed)
}

/// Parses one expression: a stored default.
///
/// # Errors
/// As [`parse`].
pub fn expression(sql: &str) -> Result<ast::Expr> {
    let lexemes = token::lex(sql)?;
    check_chains(&lexemes)?;
    let mut cursor = Cursor::new(sql, &lexemes, None);
    cursor.expression().and_then(|expr| cursor.end(expr)).map_err(|fault| match fault {
        Fault::Error(error) => error,
        Fault::Unsupported(subject) => SqlError::unsupported(subject),
    })
}

/// Parses a query that was stored.
///
/// # Errors
/// As [`parse`].
pub fn stored_query(sql: &str) -> Result<Box<ast::Query>> {
    let lexemes = token::lex(sql)?;
    check_chains(&lexemes)?;
    query::select(&mut Cursor::new(sql, &lexemes, None)).map_err(|fault| match fault {
        Fault::Error(error) => error,
        Fault::Unsupported(subject) => SqlError::unsupported(subject),
    })
}

/// An identifier as the catalog holds it: lower case unless quoted, and cut to 63 bytes at a character's border.
pub fn fold(ident: &ast::Ident) -> String {
    let mut name = fold_long(ident);
    if name.len() > NAME_BYTES_MAX {
        let end = (0..=NAME_BYTES_MAX).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name.truncate(end);
    }
    name
}

/// What a window's frame leaves out, and the window that it is based on: both are in the name that the library read.
pub fn exclusion(name: Option<&ast::Ident>) -> (Exclusion, Option<ast::Ident>) {
    let Some(ident) = name.filter(|ident| ident.quote_style == Some(token::EXCLUSION)) else {
        return (Exclusion::NoOthers, name.cloned());
    };
    let (word, base) = match ident.value.split_once(' ') {
        Some((word, base)) => (word, Some(base)),
        None => (ident.value.as_str(), None),
    };
    let exclusion = match word {
        "row" => Exclusion::CurrentRow,
        "group" => Exclusion::Group,
        "ties" => Exclusion::Ties,
        _ => Exclusion::NoOthers,
    };
    let base = base.map(|base| ast::Ident { value: base.to_owned(), quote_style: Some('"'), span: ident.span });
    (exclusion, base)
}

/// As [`fold`], in full length. PostgreSQL folds ASCII only when the encoding has more than one byte.
fn fold_long(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// The place of a span's line and column (both from 1), in characters from 1 of the text they count in.
pub fn position(text: &str, line: u64, column: u64) -> Option<usize> {
    token::position(text, line, column)
}

fn nowhere() -> Span {
    Span::empty()
}

/// Cuts at the semicolons outside brackets and SQL-standard function bodies (`BEGIN ATOMIC … END`). With each piece: where it
/// ends.
fn statements(lexemes: &[Lexeme]) -> Vec<(&[Lexeme], usize)> {
    let mut pieces = Vec::new();
    let (mut start, mut depth, mut bodies) = (0, 0_usize, 0_usize);
    for (index, lexeme) in lexemes.iter().enumerate() {
        match &lexeme.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if word.quote_style.is_none() => {
                bodies = match word.value.to_ascii_uppercase().as_str() {
                    "ATOMIC" if index > start && is_word(&lexemes[index - 1], "BEGIN") => bodies + 1,
                    "CASE" if bodies > 0 => bodies + 1,
                    "END" if bodies > 0 => bodies - 1,
                    _ => bodies,
                };
            }
            Token::SemiColon if depth == 0 && bodies == 0 => {
                pieces.push((&lexemes[start..index], index));
                start = index + 1;
            }
            _ => {}
        }
    }
    pieces.push((&lexemes[start..], lexemes.len()));
    pieces
}

fn is_word(lexeme: &Lexeme, word: &str) -> bool {
    matches!(&lexeme.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Refuses chains of operators that would make too deep a tree.
fn check_chains(lexemes: &[Lexeme]) -> Result<()> {
    let mut lengths = vec![0_usize];
    // The library takes a CASE that nests too deep for a column's name, and does not say why.
    let mut cases = 0_usize;
    for lexeme in lexemes {
        match &lexeme.token {
            Token::Word(_) if is_word(lexeme, "CASE") => {
                cases += 1;
                if cases > DEPTH_MAX {
                    return Err(too_complex().at(Some(lexeme.char_start + 1)));
                }
            }
            Token::Word(_) if is_word(lexeme, "END") => cases = cases.saturating_sub(1),
            Token::LParen | Token::LBracket => lengths.push(0),
            Token::RParen | Token::RBracket if lengths.len() > 1 => {
                lengths.pop();
            }
            Token::Comma => *lengths.last_mut().unwrap_or(&mut 0) = 0,
            Token::Word(word) if !joins(word) => {}
            Token::SingleQuotedString(_) | Token::Number(..) | Token::Period | Token::Placeholder(_) => {}
            _ => {
                if let Some(length) = lengths.last_mut() {
                    *length += weight(&lexeme.token);
                    if *length > CHAIN_MAX {
                        return Err(too_complex().at(Some(lexeme.char_start + 1)));
                    }
                }
            }
        }
    }
    Ok(())
}

fn weight(token: &Token) -> usize {
    const WORDS: &[&str] = &["UNION", "EXCEPT", "INTERSECT", "JOIN"];
    match token {
        Token::Word(word) if WORDS.iter().any(|heavy| word.value.eq_ignore_ascii_case(heavy)) => RELATIONAL_WEIGHT,
        _ => 1,
    }
}

fn joins(word: &sqlparser::tokenizer::Word) -> bool {
    #[rustfmt::skip]
    const WORDS: &[&str] = &[
        "AND", "OR", "NOT", "IS", "ISNULL", "NOTNULL", "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "AT", "COLLATE",
        "UNION", "EXCEPT", "INTERSECT", "JOIN",
    ];
    word.quote_style.is_none() && WORDS.iter().any(|joining| word.value.eq_ignore_ascii_case(joining))
}

fn too_complex() -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_hint("Split the statement, or write it with fewer nested expressions.")
}

/// One statement from its tokens.
fn statement(cursor: Cursor<'_>) -> Result<Statement> {
    match read(cursor) {
        Ok(statement) => Ok(statement),
        Err(Fault::Unsupported(subject)) => Ok(Statement::Unsupported(subject)),
        Err(Fault::Error(error)) => Err(error),
    }
}

/// The statement by its first word. Sorted as the manual's list of commands.
fn read(mut cursor: Cursor<'_>) -> Read<Statement> {
    let cursor = &mut cursor;
    let Some(Token::Word(word)) = cursor.peek() else { return query::query(cursor) };
    if word.quote_style.is_some() {
        return Err(cursor.unexpected());
    }
    match word.value.to_ascii_uppercase().as_str() {
        "ABORT" | "BEGIN" | "COMMIT" | "END" | "RELEASE" | "ROLLBACK" | "SAVEPOINT" | "START" => {
            session::transaction(cursor)
        }
        "ALTER" => alter(cursor),
        "ANALYZE" | "ANALYSE" | "VACUUM" => table::maintain(cursor),
        "CLOSE" | "DECLARE" | "FETCH" | "MOVE" => session::cursor(cursor),
        "COMMENT" => comment::comment(cursor),
        "COPY" => copy::copy(cursor),
        "CREATE" => create(cursor),
        "DEALLOCATE" | "PREPARE" | "EXECUTE" => session::prepared(cursor),
        "DELETE" | "INSERT" | "UPDATE" => query::change(cursor),
        "DESC" | "DESCRIBE" => table::describe(cursor),
        "DISCARD" => session::discard(cursor),
        "DROP" => drop(cursor),
        "EXPLAIN" => query::explain(cursor),
        "FLUSH" | "STORAGE" => table::flush(cursor),
        "KILL" | "LISTEN" | "LIVE" | "NOTIFY" | "SUBSCRIBE" | "UNLISTEN" => session::live(cursor),
        "LOCK" => table::lock(cursor),
        "REINDEX" => index::reindex(cursor),
        "RESET" | "SET" | "SHOW" | "USE" => session::setting(cursor),
        "SELECT" | "TABLE" | "VALUES" | "WITH" => query::query(cursor),
        "TRUNCATE" => table::truncate(cursor),
        "RESTORE" if cursor.is_at(1, "USER") => unsupported("RESTORE USER"),
        other => match UNSUPPORTED.iter().find(|(first, _)| *first == other) {
            Some((_, subject)) => unsupported(*subject),
            None => Err(cursor.unexpected()),
        },
    }
}

/// First words of statements that are known and not supported yet, with the subject of 0A000.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("ACK", "ACK"),
    ("BACKUP", "BACKUP DATABASE"),
    ("CALL", "CALL"),
    ("CHECKPOINT", "CHECKPOINT"),
    ("CLEAR", "CLEAR TOPIC"),
    ("CLUSTER", "CLUSTER"),
    ("CONSUME", "CONSUME"),
    ("DO", "DO"),
    ("EXPORT", "EXPORT USER DATA"),
    ("GRANT", "GRANT"),
    ("IMPORT", "IMPORT FOREIGN SCHEMA"),
    ("LOAD", "LOAD"),
    ("MERGE", "MERGE"),
    ("OPTIMIZE", "OPTIMIZE TABLE"),
    ("REASSIGN", "REASSIGN OWNED"),
    ("REFRESH", "REFRESH MATERIALIZED VIEW"),
    ("REGISTER", "REGISTER TABLE"),
    ("RESTORE", "RESTORE DATABASE"),
    ("REVOKE", "REVOKE"),
    ("SECURITY", "SECURITY LABEL"),
    ("UNREGISTER", "UNREGISTER TABLE"),
];

/// Kinds of objects that CREATE, ALTER and DROP know and KalamDB has not yet. Longer ones come first.
#[rustfmt::skip]
const KINDS: &[&str] = &[
    "ACCESS METHOD", "AGGREGATE", "CAST", "COLLATION", "CONVERSION", "DATABASE", "DEFAULT PRIVILEGES",
    "EVENT TRIGGER", "EXTENSION", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "FUNCTION", "GROUP",
    "LANGUAGE", "LARGE OBJECT", "LIVE QUERY", "MATERIALIZED VIEW", "OPERATOR CLASS", "OPERATOR FAMILY", "OPERATOR",
    "OWNED", "POLICY", "PROCEDURE", "PUBLICATION", "RECURSIVE VIEW", "ROUTINE", "RULE", "SERVER", "STATISTICS",
    "STORAGE", "SUBSCRIPTION", "SYSTEM", "TABLESPACE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TOPIC", "TRANSFORM", "TRIGGER", "USER MAPPING", "VIEW",
];

fn other_kind<T>(cursor: &Cursor<'_>, verb: &str) -> Read<T> {
    match KINDS.iter().find(|kind| cursor.are(kind)) {
        Some(kind) => unsupported(format!("{verb} {kind}")),
        None => Err(cursor.unexpected()),
    }
}

fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("CREATE")?;
    if cursor.are("USER MAPPING") {
        return unsupported("CREATE USER MAPPING");
    }
    if cursor.is("NAMESPACE") || cursor.is("SCHEMA") {
        return table::create_namespace(cursor);
    }
    if cursor.is("EXTENSION") {
        return extension::create(cursor);
    }
    if cursor.is("ROLE") || (cursor.is("USER") && !cursor.is_at(1, "TABLE")) {
        return user::create(cursor);
    }
    if table::begins_table(cursor) {
        return table::create(cursor);
    }
    if cursor.is("INDEX") || cursor.are("UNIQUE INDEX") {
        return index::create(cursor);
    }
    if view::begins(cursor) {
        return view::create(cursor);
    }
    if sequence::begins(cursor) {
        return sequence::create(cursor);
    }
    if cursor.is("TYPE") || cursor.is("DOMAIN") {
        return user_type::create(cursor);
    }
    cursor.accept("OR REPLACE");
    for words in ["TRUSTED", "PROCEDURAL", "CONSTRAINT", "DEFAULT", "TEMP", "TEMPORARY"] {
        if !cursor.are("DEFAULT PRIVILEGES") {
            cursor.accept(words);
        }
    }
    other_kind(cursor, "CREATE")
}

fn alter(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("ALTER")?;
    if cursor.is("TABLE") {
        return alter::table(cursor);
    }
    if cursor.is("INDEX") {
        return index::alter(cursor);
    }
    if cursor.is("VIEW") {
        return view::alter(cursor);
    }
    if cursor.is("SEQUENCE") {
        return sequence::alter(cursor);
    }
    if cursor.is("TYPE") || cursor.is("DOMAIN") {
        return user_type::alter(cursor);
    }
    if cursor.is("NAMESPACE") || cursor.is("SCHEMA") {
        return table::alter_namespace(cursor);
    }
    if cursor.is("ROLE") || (cursor.is("USER") && !cursor.is_at(1, "MAPPING")) {
        return user::alter(cursor);
    }
    other_kind(cursor, "ALTER")
}

fn drop(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("DROP")?;
    if cursor.is("TABLE") {
        return table::drop(cursor);
    }
    if cursor.is("INDEX") {
        return index::drop(cursor);
    }
    if cursor.is("VIEW") {
        return view::drop(cursor);
    }
    if cursor.is("EXTENSION") {
        return extension::remove(cursor);
    }
    if cursor.is("SEQUENCE") {
        return sequence::drop(cursor);
    }
    if cursor.is("TYPE") || cursor.is("DOMAIN") {
        return user_type::drop(cursor);
    }
    if cursor.is("NAMESPACE") || cursor.is("SCHEMA") {
        return table::drop_namespace(cursor);
    }
    if cursor.is("ROLE") || (cursor.is("USER") && !cursor.is_at(1, "MAPPING")) {
        return user::drop(cursor);
    }
    other_kind(cursor, "DROP")
}

/// `syntax error at or near "x"`, or at the end of the input.
fn syntax_error(sql: &str, lexeme: Option<&Lexeme>) -> SqlError {
    match lexeme {
        Some(lexeme) => {
            let near = &sql[lexeme.start..lexeme.end];
            SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{near}\""))
                .at(Some(lexeme.char_start + 1))
        }
        None => SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at end of input").at(Some(sql.chars().count() + 1)),
    }
}

impl Cursor<'_> {
    /// Reads with the library from here: the one place where its parser is made. `to` bounds what it may see.
    fn library<T>(
        &mut self,
        to: usize,
        parse: impl Fn(&mut Parser<'_>) -> std::result::Result<T, ParserError>,
    ) -> Read<T> {
        let to = to.min(self.lexemes.len());
        let tokens = self.tokens(self.at, to);
        let dialect = KalamDialect::default();
        let mut parser = parser_of(&dialect, tokens.clone());
        match parse(&mut parser) {
            Ok(value) => {
                let eof = parser.peek_token_ref().token == Token::EOF;
                self.at = if eof { to } else { (self.at + parser.get_current_index() + 1).min(to) };
                Ok(value)
            }
            Err(ParserError::RecursionLimitExceeded) => Err(Fault::Error(too_complex().at(self.position()))),
            Err(_) => {
                let stood = offender(&tokens, parser.get_current_index() + 1, &parse).max(dialect.furthest());
                self.at += stood;
                // What ends the part that was shown is no end of the input.
                Err(self.unexpected())
            }
        }
    }

    /// Tokens for the library, with places that count from the statement's own text.
    fn tokens(&self, from: usize, to: usize) -> Vec<TokenWithSpan> {
        let place = |location: Location| {
            let line = location.line - self.base.line + 1;
            let column = if line == 1 { location.column - self.base.column + 1 } else { location.column };
            Location { line, column }
        };
        self.lexemes[from..to]
            .iter()
            .map(|lexeme| TokenWithSpan {
                token: lexeme.token.clone(),
                span: Span { start: place(lexeme.span.start), end: place(lexeme.span.end) },
            })
            .collect()
    }

    /// An expression.
    fn expression(&mut self) -> Read<ast::Expr> {
        self.library(self.item_end(), |parser| parser.parse_expr())
    }

    /// An expression behind which NOT NULL may stand: it ends before IS, NOT, AND and OR.
    fn value_expression(&mut self) -> Read<ast::Expr> {
        let least = KalamDialect::default().prec_value(Precedence::Is);
        self.library(self.item_end(), |parser| parser.parse_subexpr(least))
    }

    /// A type's name that ends before one of these words.
    fn data_type_until(&mut self, words: &[&str]) -> Read<TypeName> {
        let end = self.item_end();
        let found = (self.at..end).find(|at| words.iter().any(|word| is_word(&self.lexemes[*at], word)));
        let mut part = Cursor { base: self.base, at: self.at, ..self.part(0, found.unwrap_or(end)) };
        let ty = part.type_name()?;
        let ty = part.end(ty)?;
        self.at = part.at;
        Ok(ty)
    }

    /// A type's name, which may be a user's type's.
    fn type_name(&mut self) -> Read<TypeName> {
        let (position, own) = (self.position(), self.own_position());
        let ty = self.library(self.item_end(), |parser| parser.parse_data_type())?;
        match type_of(&ty) {
            Ok(ty) => Ok(TypeName::BuiltIn(ty)),
            Err(error) if error.state() == SqlState::FEATURE_NOT_SUPPORTED => {
                Err(Fault::Unsupported(types::subject(&ty)))
            }
            Err(error) => match user_type_name(&ty) {
                Some((parts, is_array)) if error.state() == SqlState::UNDEFINED_OBJECT => {
                    Ok(TypeName::Named { parts, is_array, position: own })
                }
                _ => Err(Fault::Error(error.at(position))),
            },
        }
    }

    /// The name of a built-in type.
    fn data_type(&mut self) -> Read<kalamdb_commons::PgType> {
        let position = self.position();
        let ty = self.library(self.item_end(), |parser| parser.parse_data_type())?;
        type_of(&ty).map_err(|error| match error.state() {
            SqlState::FEATURE_NOT_SUPPORTED => Fault::Unsupported(types::subject(&ty)),
            _ => Fault::Error(error.at(position)),
        })
    }
}

fn parser_of<'a>(dialect: &'a KalamDialect, tokens: Vec<TokenWithSpan>) -> Parser<'a> {
    Parser::new(dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens)
}

/// Which token was in the way. The library looks at some tokens before it takes them and at others after: it stands at
/// `next`, and either that one or the one before is meant. With the doubtful one cut off, a parser that takes before it
/// looks runs past the end to the same place; another stops earlier or succeeds.
fn offender<T>(
    tokens: &[TokenWithSpan],
    next: usize,
    parse: &impl Fn(&mut Parser<'_>) -> std::result::Result<T, ParserError>,
) -> usize {
    let Some(before) = next.checked_sub(1) else { return next };
    if next > tokens.len() {
        return tokens.len();
    }
    let dialect = KalamDialect::default();
    let mut parser = parser_of(&dialect, tokens[..before].to_vec());
    let failed = parse(&mut parser).is_err();
    if failed && parser.get_current_index() + 1 == next { before } else { next }
}

#[cfg(test)]
mod tests;
