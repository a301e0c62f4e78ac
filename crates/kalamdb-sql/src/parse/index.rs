//! Indexes: CREATE, ALTER and DROP INDEX, REINDEX, and UNIQUE constraints.

use super::cursor::Cursor;
use super::table::{fixed_timing, options};
use super::token::Lexeme;
use super::{Fault, Read, unsupported};
use crate::statement::{AlterIndexAction, CreateIndex, IndexElement, IndexedValue, Reindexed, Statement, UniqueSpec};
use kalamdb_commons::{SqlError, SqlState};
use sqlparser::tokenizer::Token;

/// CREATE [UNIQUE] INDEX …, after CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let unique = cursor.accept("UNIQUE");
    cursor.expect("INDEX")?;
    let concurrently = cursor.accept("CONCURRENTLY");
    let if_not_exists = cursor.if_not_exists();
    // PostgreSQL's grammar wants the name with IF NOT EXISTS.
    let name = if !if_not_exists && cursor.is("ON") { None } else { Some(cursor.ident()?) };
    cursor.expect("ON")?;
    let table = cursor.relation()?;
    let method = if cursor.accept("USING") { cursor.ident()? } else { "btree".to_owned() };
    let elements = cursor.parenthesised(element)?;
    let include = include(cursor)?;
    let nulls_not_distinct = nulls_not_distinct(cursor)?;
    let options = if cursor.accept("WITH") { options(cursor)? } else { Vec::new() };
    if cursor.accept("TABLESPACE") {
        return unsupported("TABLESPACE");
    }
    let predicate = if cursor.accept("WHERE") { Some(text_of_expression(cursor)?) } else { None };
    cursor.end(Statement::CreateIndex(Box::new(CreateIndex {
        name,
        table,
        unique,
        concurrently,
        if_not_exists,
        method,
        elements,
        include,
        nulls_not_distinct,
        options,
        predicate,
    })))
}

/// DROP INDEX, after DROP.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("INDEX")?;
    let concurrently = cursor.accept("CONCURRENTLY");
    let if_exists = cursor.if_exists();
    let names = cursor.list(Cursor::name)?;
    let cascade = cursor.cascade();
    cursor.end(Statement::DropIndex { names, if_exists, concurrently, cascade })
}

/// ALTER INDEX, after ALTER.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("INDEX")?;
    if cursor.are("ALL IN TABLESPACE") {
        return unsupported("ALTER INDEX ALL IN TABLESPACE");
    }
    let if_exists = cursor.if_exists();
    let name = cursor.name()?;
    let action = if cursor.accept("RENAME TO") {
        AlterIndexAction::Rename(cursor.ident()?)
    } else if cursor.is("SET") && cursor.peek_at(1) == Some(&Token::LParen) {
        cursor.accept("SET");
        AlterIndexAction::Set(options(cursor)?)
    } else if cursor.accept("RESET") {
        AlterIndexAction::Reset(cursor.parenthesised(Cursor::label)?)
    } else {
        const OTHERS: &[&str] =
            &["SET TABLESPACE", "ATTACH PARTITION", "DEPENDS ON", "NO DEPENDS ON", "ALTER", "RENAME", "SET"];
        return match cursor.accept_one(OTHERS) {
            Some("RENAME" | "SET") | None => Err(cursor.unexpected()),
            Some(what) => unsupported(format!("ALTER INDEX … {what}")),
        };
    };
    cursor.end(Statement::AlterIndex { name, if_exists, action })
}

/// REINDEX
pub(super) fn reindex(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("REINDEX")?;
    if cursor.peek() == Some(&Token::LParen) {
        cursor.parenthesised(|cursor| {
            let option = cursor.label()?;
            if !matches!(option.as_str(), "verbose" | "concurrently" | "tablespace") {
                return Err(cursor.error(SqlState::SYNTAX_ERROR, format!("unrecognized REINDEX option \"{option}\"")));
            }
            if !matches!(cursor.peek(), Some(Token::Comma | Token::RParen)) {
                cursor.label().or_else(|_| cursor.number())?;
            }
            Ok(())
        })?;
    }
    let kind =
        cursor.accept_one(&["INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM"]).ok_or_else(|| cursor.unexpected())?;
    cursor.accept("CONCURRENTLY");
    let what = match kind {
        "INDEX" => Reindexed::Index(cursor.name()?),
        "TABLE" => Reindexed::Table(cursor.name()?),
        "SCHEMA" => Reindexed::Namespace(cursor.ident()?),
        _ => Reindexed::Everything(cursor.ident()?),
    };
    cursor.end(Statement::Reindex(what))
}

/// One element of an index: `column`, `function(…)` or `(expression)`, with how it is sorted.
pub(super) fn element(cursor: &mut Cursor<'_>) -> Read<IndexElement> {
    let position = cursor.own_position();
    let value = if cursor.peek() == Some(&Token::LParen) {
        let end = cursor.closing()?;
        let mut inside = cursor.part(cursor.at + 1, end);
        let text = text_of_expression(&mut inside)?;
        inside.end(())?;
        cursor.at = end + 1;
        IndexedValue::Expression(text)
    } else if is_call(cursor) {
        let from = cursor.at;
        cursor.label()?;
        while cursor.accept_token(&Token::Period) {
            cursor.label()?;
        }
        cursor.at = cursor.closing()? + 1;
        let mut call = cursor.part(from, cursor.at);
        let text = text_of_expression(&mut call)?;
        call.end(())?;
        IndexedValue::Expression(text)
    } else {
        IndexedValue::Column(cursor.ident()?)
    };
    let collation = if cursor.accept("COLLATE") { Some(qualified(cursor)?) } else { None };
    let sorted = |cursor: &Cursor<'_>| {
        matches!(cursor.peek(), None | Some(Token::Comma | Token::RParen))
            || ["ASC", "DESC", "NULLS"].iter().any(|word| cursor.is(word))
    };
    let class = if sorted(cursor) { None } else { Some(qualified(cursor)?) };
    if class.is_some() && cursor.peek() == Some(&Token::LParen) {
        return unsupported("parameters of an operator class");
    }
    let descending = cursor.accept_one(&["ASC", "DESC"]) == Some("DESC");
    let nulls_first = cursor.accept_one(&["NULLS FIRST", "NULLS LAST"]).map(|words| words == "NULLS FIRST");
    Ok(IndexElement { value, position, collation, class, descending, nulls_first })
}

/// Whether a (qualified) name with a bracket behind it is next.
fn is_call(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    if ahead.label().is_err() {
        return false;
    }
    while ahead.accept_token(&Token::Period) {
        if ahead.label().is_err() {
            return false;
        }
    }
    ahead.peek() == Some(&Token::LParen)
}

/// A name without its namespace, which is `pg_catalog` or wrong.
fn qualified(cursor: &mut Cursor<'_>) -> Read<String> {
    let mut name = cursor.label()?;
    while cursor.accept_token(&Token::Period) {
        name = cursor.label()?;
    }
    Ok(name)
}

fn text_of_expression(cursor: &mut Cursor<'_>) -> Read<String> {
    let from = cursor.at;
    cursor.expression()?;
    Ok(cursor.text(from, cursor.at).to_owned())
}

fn include(cursor: &mut Cursor<'_>) -> Read<Vec<String>> {
    if !cursor.accept("INCLUDE") {
        return Ok(Vec::new());
    }
    cursor.parenthesised(|cursor| {
        if cursor.peek() == Some(&Token::LParen) || is_call(cursor) {
            let message = "expressions are not supported in included columns";
            return Err(Fault::Error(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)));
        }
        cursor.ident()
    })
}

fn nulls_not_distinct(cursor: &mut Cursor<'_>) -> Read<bool> {
    if cursor.accept("NULLS NOT DISTINCT") {
        return Ok(true);
    }
    cursor.accept("NULLS DISTINCT");
    Ok(false)
}

/// A table's `UNIQUE [NULLS [NOT] DISTINCT] ( … )` or `UNIQUE USING INDEX i`, after UNIQUE.
pub(super) fn unique(cursor: &mut Cursor<'_>, name: Option<String>) -> Read<UniqueSpec> {
    if cursor.accept("USING INDEX") {
        let index = cursor.ident()?;
        fixed_timing(cursor)?;
        return Ok(UniqueSpec { name, using_index: Some(index), ..UniqueSpec::default() });
    }
    let nulls_not_distinct = nulls_not_distinct(cursor)?;
    let columns = cursor.parenthesised(Cursor::ident)?;
    unique_tail(cursor, UniqueSpec { name, columns, nulls_not_distinct, ..UniqueSpec::default() })
}

/// A column's `UNIQUE [NULLS [NOT] DISTINCT]`, after UNIQUE.
pub(super) fn unique_column(cursor: &mut Cursor<'_>, name: Option<String>, column: &str) -> Read<UniqueSpec> {
    let nulls_not_distinct = nulls_not_distinct(cursor)?;
    let columns = vec![column.to_owned()];
    unique_tail(cursor, UniqueSpec { name, columns, nulls_not_distinct, ..UniqueSpec::default() })
}

fn unique_tail(cursor: &mut Cursor<'_>, mut spec: UniqueSpec) -> Read<UniqueSpec> {
    spec.include = include(cursor)?;
    if cursor.is("WITH") && cursor.peek_at(1) == Some(&Token::LParen) {
        cursor.accept("WITH");
        spec.options = options(cursor)?;
    }
    if cursor.accept("USING INDEX TABLESPACE") {
        return unsupported("TABLESPACE");
    }
    fixed_timing(cursor)?;
    Ok(spec)
}

/// What marks an element of ON CONFLICT's target that is more than a column: its text stands as a name in quotes that
/// nobody can write.
pub(crate) const ELEMENT_QUOTE: char = '`';

/// The library reads columns alone in ON CONFLICT's target. Other elements become names that carry their text. `None`:
/// nothing to do.
pub(super) fn conflict_elements(cursor: &Cursor<'_>) -> Read<Option<Vec<Lexeme>>> {
    let lexemes = cursor.lexemes;
    let begins = |at: usize| {
        super::is_word(&lexemes[at], "CONFLICT")
            && at > 0
            && super::is_word(&lexemes[at - 1], "ON")
            && lexemes.get(at + 1).is_some_and(|next| next.token == Token::LParen)
    };
    let Some(from) = (cursor.at..lexemes.len()).find(|at| begins(*at)).map(|at| at + 1) else { return Ok(None) };
    let mut inside = cursor.clone();
    inside.at = from;
    let close = inside.closing()?;
    let mut out = lexemes[..=from].to_vec();
    let mut changed = false;
    inside.at = from + 1;
    loop {
        let (first, end) = (inside.at, inside.item_end());
        if end == first + 1 || end == first {
            out.extend_from_slice(&lexemes[first..end]);
        } else {
            // What is wrong is said here, where the places are the statement's.
            let mut read = inside.clone();
            element(&mut read)?;
            if read.at < end {
                return Err(read.unexpected());
            }
            let token = Token::make_word(inside.text(first, end), Some(ELEMENT_QUOTE));
            out.push(Lexeme { token, ..lexemes[first].clone() });
            changed = true;
        }
        if end >= close {
            break;
        }
        out.push(lexemes[end].clone());
        inside.at = end + 1;
    }
    out.extend_from_slice(&lexemes[close..]);
    Ok(changed.then_some(out))
}

/// An element of ON CONFLICT's target from its text.
pub(crate) fn conflict_element(text: &str) -> kalamdb_commons::Result<IndexElement> {
    let lexemes = super::token::lex(text)?;
    let mut cursor = Cursor::new(text, &lexemes, None);
    element(&mut cursor).and_then(|element| cursor.end(element)).map_err(|fault| match fault {
        Fault::Error(error) => error,
        Fault::Unsupported(subject) => SqlError::unsupported(subject),
    })
}
