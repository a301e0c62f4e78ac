//! What concerns the session: transactions, settings, prepared statements, cursors, channels and live queries.

use super::cursor::Cursor;
use super::query::select;
use super::{Fault, Read, unsupported};
use crate::statement::{Declare, Discard, FetchDirection, IsolationLevel, ShowObjects, Statement, TransactionModes};
use kalamdb_commons::{Datum, SqlError, SqlState, SqlType};
use sqlparser::tokenizer::Token;

/// BEGIN, START TRANSACTION, COMMIT, END, ROLLBACK, ABORT, SAVEPOINT, RELEASE.
pub(super) fn transaction(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let word = cursor.label()?;
    let statement = match word.as_str() {
        "begin" | "start" => {
            if word == "start" {
                cursor.expect("TRANSACTION")?;
            } else {
                cursor.accept_one(&["TRANSACTION", "WORK"]);
            }
            Statement::Begin(modes(cursor)?)
        }
        "commit" | "end" => {
            if word == "commit" && cursor.accept("PREPARED") {
                return unsupported("COMMIT PREPARED");
            }
            cursor.accept_one(&["TRANSACTION", "WORK"]);
            Statement::Commit { chain: chain(cursor)? }
        }
        "savepoint" => Statement::Savepoint(cursor.ident()?),
        "release" => {
            cursor.accept("SAVEPOINT");
            Statement::Release(cursor.ident()?)
        }
        _ => {
            if word == "rollback" && cursor.accept("PREPARED") {
                return unsupported("ROLLBACK PREPARED");
            }
            cursor.accept_one(&["TRANSACTION", "WORK"]);
            if word == "rollback" && cursor.accept("TO") {
                cursor.accept("SAVEPOINT");
                Statement::RollbackTo(cursor.ident()?)
            } else {
                Statement::Rollback { chain: chain(cursor)? }
            }
        }
    };
    cursor.end(statement)
}

fn chain(cursor: &mut Cursor<'_>) -> Read<bool> {
    if !cursor.accept("AND") {
        return Ok(false);
    }
    let chain = !cursor.accept("NO");
    cursor.expect("CHAIN")?;
    Ok(chain)
}

/// Transaction modes, with or without commas, to the end.
fn modes(cursor: &mut Cursor<'_>) -> Read<TransactionModes> {
    let mut modes = TransactionModes::default();
    while !cursor.is_done() {
        match () {
            () if cursor.accept("ISOLATION LEVEL") => modes.isolation = Some(isolation(cursor)?),
            () if cursor.accept("READ ONLY") => modes.read_only = Some(true),
            () if cursor.accept("READ WRITE") => modes.read_only = Some(false),
            () if cursor.accept("NOT DEFERRABLE") => modes.deferrable = Some(false),
            () if cursor.accept("DEFERRABLE") => modes.deferrable = Some(true),
            () => return Err(cursor.unexpected()),
        }
        if cursor.accept_token(&Token::Comma) && cursor.is_done() {
            return Err(cursor.unexpected());
        }
    }
    Ok(modes)
}

fn isolation(cursor: &mut Cursor<'_>) -> Read<IsolationLevel> {
    match () {
        () if cursor.accept("READ UNCOMMITTED") => Ok(IsolationLevel::ReadUncommitted),
        () if cursor.accept("READ COMMITTED") => Ok(IsolationLevel::ReadCommitted),
        () if cursor.accept("REPEATABLE READ") => Ok(IsolationLevel::RepeatableRead),
        () if cursor.accept("SERIALIZABLE") => Ok(IsolationLevel::Serializable),
        () => Err(cursor.unexpected()),
    }
}

/// SET, RESET, SHOW, USE.
pub(super) fn setting(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.accept("SHOW") {
        return show(cursor);
    }
    if cursor.accept("RESET") {
        let name = match () {
            () if cursor.accept("ALL") => None,
            () => Some(setting_name(cursor)?),
        };
        return cursor.end(Statement::Reset(name));
    }
    if cursor.accept("USE") {
        cursor.accept("NAMESPACE");
        let namespace = cursor.string().or_else(|_| cursor.ident())?;
        return cursor.end(Statement::Set { name: "search_path".to_owned(), values: vec![namespace], local: false });
    }
    cursor.expect("SET")?;
    set(cursor)
}

fn set(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.accept("SESSION CHARACTERISTICS AS TRANSACTION") {
        return Ok(Statement::SetCharacteristics(modes(cursor)?));
    }
    if cursor.accept("TRANSACTION") {
        if cursor.accept("SNAPSHOT") {
            return unsupported("SET TRANSACTION SNAPSHOT");
        }
        return Ok(Statement::SetTransaction(modes(cursor)?));
    }
    if cursor.accept("CONSTRAINTS") {
        return super::constraint::set(cursor);
    }
    let local = cursor.accept("LOCAL");
    if !local && !cursor.are("SESSION AUTHORIZATION") {
        cursor.accept("SESSION");
    }
    let (name, values) = assignment(cursor)?;
    cursor.end(Statement::Set { name, values, local })
}

/// What is set, and to what; no values for DEFAULT.
fn assignment(cursor: &mut Cursor<'_>) -> Read<(String, Vec<String>)> {
    let default = |cursor: &mut Cursor<'_>| cursor.accept("DEFAULT");
    if cursor.accept("TIME ZONE") {
        let values = if default(cursor) || cursor.accept("LOCAL") { Vec::new() } else { vec![time_zone(cursor)?] };
        return Ok(("timezone".to_owned(), values));
    }
    if cursor.accept("NAMES") {
        let values = if cursor.is_done() || default(cursor) { Vec::new() } else { vec![cursor.string()?] };
        return Ok(("client_encoding".to_owned(), values));
    }
    if cursor.accept("SCHEMA") {
        return Ok(("search_path".to_owned(), vec![cursor.string()?]));
    }
    if cursor.accept("ROLE") {
        let role = cursor.string().or_else(|_| cursor.label())?;
        return Ok(("role".to_owned(), vec![role]));
    }
    if cursor.accept("SESSION AUTHORIZATION") {
        let values = if default(cursor) { Vec::new() } else { vec![cursor.user()?] };
        return Ok(("session_authorization".to_owned(), values));
    }
    let name = setting_name(cursor)?;
    if !cursor.accept_token(&Token::Eq) {
        cursor.expect("TO")?;
    }
    let values = if default(cursor) { Vec::new() } else { cursor.list(setting_value)? };
    Ok((name, values))
}

fn time_zone(cursor: &mut Cursor<'_>) -> Read<String> {
    if !cursor.accept("INTERVAL") {
        return setting_value(cursor);
    }
    let text = cursor.string()?;
    if cursor.accept("HOUR") && cursor.accept("TO") {
        cursor.expect("MINUTE")?;
    }
    // Hours east of Greenwich, where a zone's text of that form would count them west.
    let style = crate::types::Style::default();
    let interval = crate::types::from_text(&text, SqlType::Interval.into(), &style, &crate::function::Nowhere)?;
    match interval {
        Datum::Interval(interval) if interval.months == 0 && interval.days == 0 => {
            Ok((interval.us as f64 / 3_600_000_000.0).to_string())
        }
        Datum::Interval(interval) => {
            let what = if interval.months != 0 { "months" } else { "days" };
            let message = format!("invalid value for parameter \"TimeZone\": \"{text}\"");
            let detail = format!("Cannot specify {what} in time zone interval.");
            let error = SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_detail(detail);
            Err(Fault::Error(error))
        }
        _ => Err(cursor.unexpected()),
    }
}

/// A setting's name, which may have dots, in lower case; the names of several words are PostgreSQL's (SHOW, RESET).
fn setting_name(cursor: &mut Cursor<'_>) -> Read<String> {
    const WORDS: &[(&str, &str)] = &[
        ("TIME ZONE", "timezone"),
        ("TRANSACTION ISOLATION LEVEL", "transaction_isolation"),
        ("SESSION AUTHORIZATION", "session_authorization"),
    ];
    if let Some((_, name)) = WORDS.iter().find(|(words, _)| cursor.accept(words)) {
        return Ok((*name).to_owned());
    }
    let mut name = cursor.ident()?;
    while cursor.accept_token(&Token::Period) {
        name = format!("{name}.{}", cursor.label()?);
    }
    Ok(name.to_ascii_lowercase())
}

fn setting_value(cursor: &mut Cursor<'_>) -> Read<String> {
    // `on`, `true` and `false` are reserved, and values all the same.
    let word = ["TRUE", "FALSE", "ON"].iter().find(|word| cursor.accept(word));
    match word {
        Some(word) => Ok(word.to_ascii_lowercase()),
        None => cursor.string().or_else(|_| cursor.ident()).or_else(|_| cursor.number()),
    }
}

fn show(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let objects = match () {
        () if cursor.accept("NAMESPACES") => ShowObjects::Namespaces,
        () if cursor.accept("TABLES") => {
            let namespace = if cursor.accept("IN") { Some(cursor.ident()?) } else { None };
            ShowObjects::Tables(namespace)
        }
        () if cursor.accept("STORAGES") => ShowObjects::Storages,
        () if cursor.accept("JOBS") => ShowObjects::Jobs,
        () if cursor.accept("LIVE QUERIES") => ShowObjects::LiveQueries,
        () if cursor.accept("MANIFEST FOR TABLE") => ShowObjects::Manifest(cursor.name()?),
        () if cursor.accept("STATS FOR TABLE") => ShowObjects::Stats(cursor.name()?),
        () if cursor.accept("BACKUPS") => return unsupported("SHOW BACKUPS"),
        () => {
            let name = if cursor.accept("ALL") { None } else { Some(setting_name(cursor)?) };
            return cursor.end(Statement::ShowSetting(name));
        }
    };
    cursor.end(Statement::ShowObjects(objects))
}

/// PREPARE, EXECUTE (also EXECUTE AS USER), DEALLOCATE.
pub(super) fn prepared(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.are("EXECUTE AS USER") {
        return execute_as(cursor);
    }
    if cursor.accept("EXECUTE") {
        let name = cursor.ident()?;
        let arguments = if cursor.is_done() { Vec::new() } else { cursor.parenthesised(Cursor::expression)? };
        return cursor.end(Statement::Execute { name, arguments });
    }
    if cursor.accept("DEALLOCATE") {
        cursor.accept("PREPARE");
        let name = if cursor.accept("ALL") { None } else { Some(cursor.ident()?) };
        return cursor.end(Statement::Deallocate(name));
    }
    cursor.expect("PREPARE")?;
    if cursor.accept("TRANSACTION") {
        return unsupported("PREPARE TRANSACTION");
    }
    let name = cursor.ident()?;
    let types = if cursor.peek() == Some(&Token::LParen) { cursor.parenthesised(parameter_type)? } else { Vec::new() };
    cursor.expect("AS")?;
    let inner = cursor.part(cursor.at, cursor.lexemes.len());
    if !["SELECT", "INSERT", "UPDATE", "DELETE", "VALUES", "TABLE", "WITH", "MERGE"].iter().any(|word| inner.is(word))
        && inner.peek() != Some(&Token::LParen)
    {
        return Err(inner.unexpected());
    }
    let text = inner.text(0, inner.lexemes.len()).to_owned();
    let statement = Box::new(super::read(inner)?);
    Ok(Statement::Prepare { name, types, statement, text })
}

fn parameter_type(cursor: &mut Cursor<'_>) -> Read<Option<kalamdb_commons::PgType>> {
    if cursor.accept("UNKNOWN") {
        return Ok(None);
    }
    cursor.data_type().map(Some)
}

fn execute_as(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("EXECUTE AS USER")?;
    let user = cursor.user()?;
    let close = cursor.closing()?;
    let from = cursor.at + 1;
    // One statement; a semicolon behind it is no second one.
    let to = if cursor.lexemes.get(close - 1).is_some_and(|last| last.token == Token::SemiColon) {
        close - 1
    } else {
        close
    };
    let inner = cursor.part(from, to);
    if let Some(index) = inner.lexemes.iter().position(|lexeme| lexeme.token == Token::SemiColon) {
        return Err(Cursor { at: index, ..inner }.unexpected());
    }
    let text = inner.text(0, inner.lexemes.len()).to_owned();
    if inner.is_done() {
        return Err(Cursor { at: close, ..cursor.clone() }.unexpected());
    }
    let statement = Box::new(super::read(inner)?);
    cursor.at = close + 1;
    cursor.end(Statement::ExecuteAs { user, statement, text })
}

/// DECLARE, FETCH, MOVE, CLOSE.
pub(super) fn cursor(cursor: &mut Cursor<'_>) -> Read<Statement> {
    if cursor.accept("CLOSE") {
        let name = if cursor.accept("ALL") { None } else { Some(cursor.ident()?) };
        return cursor.end(Statement::Close(name));
    }
    if cursor.accept("DECLARE") {
        return declare(cursor);
    }
    let moving = cursor.is("MOVE");
    cursor.at += 1;
    let direction = direction(cursor)?;
    cursor.accept_one(&["FROM", "IN"]);
    let name = cursor.ident()?;
    cursor.end(Statement::Fetch { cursor: name, direction, moving })
}

fn declare(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let name = cursor.ident()?;
    let (mut scroll, mut binary) = (None, false);
    let (mut no_scroll, mut insensitive, mut asensitive) = (false, false, false);
    loop {
        match () {
            () if cursor.accept("BINARY") => binary = true,
            () if cursor.accept("NO SCROLL") => no_scroll = true,
            () if cursor.accept("SCROLL") => scroll = Some(true),
            () if cursor.accept("ASENSITIVE") => asensitive = true,
            () if cursor.accept("INSENSITIVE") => insensitive = true,
            () => break,
        }
    }
    for (both, message) in [
        (no_scroll && scroll.is_some(), "cannot specify both SCROLL and NO SCROLL"),
        (insensitive && asensitive, "cannot specify both INSENSITIVE and ASENSITIVE"),
    ] {
        if both {
            return Err(Fault::Error(SqlError::new(SqlState::INVALID_CURSOR_DEFINITION, message)));
        }
    }
    if no_scroll {
        scroll = Some(false);
    }
    cursor.expect("CURSOR")?;
    let hold = cursor.accept("WITH HOLD");
    if !hold {
        cursor.accept("WITHOUT HOLD");
    }
    cursor.expect("FOR")?;
    if cursor.is("SUBSCRIBE") || cursor.is("LIVE") {
        return unsupported("a cursor for a live query");
    }
    let mut inner = cursor.part(cursor.at, cursor.lexemes.len());
    let text = inner.text(0, inner.lexemes.len()).to_owned();
    let query = select(&mut inner)?;
    Ok(Statement::Declare(Box::new(Declare { name, scroll, hold, binary, insensitive, query, text })))
}

/// FETCH's direction; none is NEXT.
fn direction(cursor: &mut Cursor<'_>) -> Read<FetchDirection> {
    use FetchDirection::{Absolute, Backward, Forward, Relative};
    let count = |cursor: &mut Cursor<'_>| -> Read<i64> {
        if cursor.accept("ALL") {
            return Ok(i64::MAX);
        }
        if matches!(cursor.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus)) {
            cursor.integer()
        } else {
            Ok(1)
        }
    };
    let signed = |n: i64, forward: bool| match (n < 0, forward) {
        (false, true) => Forward(n),
        (true, true) => Backward(n.saturating_neg()),
        (false, false) => Backward(n),
        (true, false) => Forward(n.saturating_neg()),
    };
    match () {
        // A cursor may be named as a direction is: `FETCH next` alone.
        () if cursor.lexemes.len() == cursor.at + 1 => Ok(Forward(1)),
        () if cursor.accept("NEXT") => Ok(Forward(1)),
        () if cursor.accept("PRIOR") => Ok(Backward(1)),
        () if cursor.accept("FIRST") => Ok(Absolute(1)),
        () if cursor.accept("LAST") => Ok(Absolute(-1)),
        () if cursor.accept("ABSOLUTE") => cursor.integer().map(Absolute),
        () if cursor.accept("RELATIVE") => cursor.integer().map(Relative),
        () if cursor.accept("FORWARD") => count(cursor).map(|n| signed(n, true)),
        () if cursor.accept("BACKWARD") => count(cursor).map(|n| signed(n, false)),
        () => count(cursor).map(|n| signed(n, true)),
    }
}

/// DISCARD
pub(super) fn discard(cursor: &mut Cursor<'_>) -> Read<Statement> {
    cursor.expect("DISCARD")?;
    let what = match cursor.accept_one(&["ALL", "PLANS", "SEQUENCES", "TEMPORARY", "TEMP"]) {
        Some("ALL") => Discard::All,
        Some("PLANS") => Discard::Plans,
        Some("SEQUENCES") => Discard::Sequences,
        Some(_) => Discard::Temp,
        None => return Err(cursor.unexpected()),
    };
    cursor.end(Statement::Discard(what))
}

/// LISTEN, UNLISTEN, NOTIFY, LIVE SELECT, SUBSCRIBE, KILL.
pub(super) fn live(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let word = cursor.label()?;
    match word.as_str() {
        "listen" => listen(cursor),
        "unlisten" => {
            let channel = if cursor.accept_token(&Token::Mul) { None } else { Some(cursor.channel()?) };
            cursor.end(Statement::Unlisten(channel))
        }
        "notify" => {
            let channel = cursor.channel()?;
            let payload = if cursor.accept_token(&Token::Comma) { cursor.string()? } else { String::new() };
            cursor.end(Statement::Notify { channel, payload })
        }
        "live" => {
            let (query, text) = followed(cursor)?;
            Ok(Statement::Live { query, text })
        }
        "subscribe" => subscribe(cursor),
        _ if cursor.accept("LIVE QUERY") => {
            let id = cursor.string()?;
            cursor.end(Statement::KillLiveQuery(id))
        }
        _ if cursor.accept("JOB") => {
            let id = cursor.string()?;
            cursor.end(Statement::KillJob(id))
        }
        _ => Err(cursor.unexpected()),
    }
}

fn listen(cursor: &mut Cursor<'_>) -> Read<Statement> {
    let channel = cursor.channel()?;
    if !cursor.accept("FOR") {
        return cursor.end(Statement::Listen(channel));
    }
    let (query, text) = followed(cursor)?;
    Ok(Statement::ListenFor { channel, query, text })
}

/// The query that a live query follows, with its own text.
fn followed(cursor: &mut Cursor<'_>) -> Read<(Box<sqlparser::ast::Query>, String)> {
    let mut inner = cursor.part(cursor.at, cursor.lexemes.len());
    let text = inner.text(0, inner.lexemes.len()).to_owned();
    Ok((select(&mut inner)?, text))
}

/// `SUBSCRIBE TO t [WHERE …] [OPTIONS ( … )]` is the query `SELECT * FROM t WHERE …`.
fn subscribe(cursor: &mut Cursor<'_>) -> Read<Statement> {
    const PREFIX: &str = "SELECT * FROM ";
    cursor.expect("TO")?;
    let from = cursor.at;
    let rest = &cursor.lexemes[from..];
    let length = rest.iter().rposition(|lexeme| super::is_word(lexeme, "OPTIONS")).unwrap_or(rest.len());
    let relation = cursor.text(from, from + length);
    let mut ahead = cursor.clone();
    ahead.name()?;
    if ahead.at < from + length && !ahead.is("WHERE") {
        return Err(ahead.unexpected());
    }
    let text = format!("{PREFIX}{relation}");
    let shift = cursor.lexemes[from].char_start;
    let query =
        match super::parse(&text).map_err(|error| moved(error, shift, PREFIX.len()))?.pop().map(|one| one.statement) {
            Some(Statement::Query(query)) => query,
            _ => return Err(cursor.unexpected()),
        };
    cursor.at = from + length;
    let options = if cursor.accept("OPTIONS") { cursor.parenthesised(subscribe_option)? } else { Vec::new() };
    cursor.end(Statement::Subscribe { query, text, options })
}

/// An error of the query's text, at its place in the string that it was made from.
fn moved(error: SqlError, shift: usize, prefix: usize) -> Fault {
    let place = error.position().and_then(|position| (position + shift).checked_sub(prefix));
    Fault::Error(SqlError::new(error.state(), error.message()).at(place))
}

fn subscribe_option(cursor: &mut Cursor<'_>) -> Read<(String, String)> {
    let before = cursor.clone();
    let name = cursor.label()?;
    if !matches!(name.as_str(), "last_rows" | "from_seq" | "batch_size") {
        return Err(before.error(SqlState::SYNTAX_ERROR, format!("option \"{name}\" not recognized")));
    }
    cursor.expect_token(&Token::Eq)?;
    let value = cursor.string().or_else(|_| cursor.number())?;
    Ok((name, value))
}
