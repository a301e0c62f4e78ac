//! One client's session, as a door drives it.
//!
//! A door calls, in the order of the messages it reads: `script` and `run` for the simple protocol, `prepare`, `bind`,
//! `execute` for the extended one, `settle` at the end of a Query and at Sync, `fail` whenever it has sent an error.
//! Results come as [`Rows`]: a stream that the door pulls, so that a slow client slows its own query and nobody else.
//! Dropping the session at any point rolls back and gives every lock back.

use crate::error;
use crate::reply::RowsTag;
pub use crate::reply::{CopyChunk, CopyOut, OutputColumn, Rows, TransactionStatus};
use crate::settings::Derived;
use crate::standing::{Portal, PortalState, Prepared, Standing};
use crate::statement::{self, Guard, copy::CopyIn};
use arrow_array::RecordBatch;
use bytes::Bytes;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType, clock};
use kalamdb_sql::Statement;
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::parse::{self, Parsed};
use kalamdb_sql::types::{self, Format, Style};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a client said at start.
#[derive(Debug, Clone, Default)]
pub struct Startup {
    /// The database asked for; empty means the user's name, as in PostgreSQL.
    pub database: String,
    /// Settings from the startup message, `options` (`-c name=value`) included.
    pub settings: Vec<(String, String)>,
}

/// One statement of a script (a Query message).
pub struct ScriptStatement {
    pub(crate) parsed: kalamdb_sql::parse::Parsed,
}

/// What a statement answers.
pub enum Reply {
    /// Rows to be pulled; the command tag comes after them.
    Rows(Rows),
    /// A command tag.
    Command(String),
    /// COPY … FROM STDIN: feed `Session::copy_data`, then `copy_done` or `copy_fail`.
    CopyIn {
        /// Text (false) or binary.
        binary: bool,
        /// The number of columns.
        columns: usize,
    },
    /// COPY … TO STDOUT
    CopyOut(CopyOut),
    /// An empty statement.
    Empty,
}

/// Something that reaches a session from outside.
#[derive(Debug, Clone)]
pub enum Event {
    /// A notification. The door decides when it may be sent.
    Notification {
        /// The sender's process id.
        pid: i32,
        /// The channel.
        channel: Arc<str>,
        /// The payload.
        payload: Bytes,
    },
    /// The session must end: send FATAL with this error and close (57P01).
    Terminate(SqlError),
}

/// The most bytes of one parameter's text that an error quotes would be its own; lengths are the door's to bound.
const PARAMETERS_MAX: usize = u16::MAX as usize;

/// One client's session.
pub struct Session {
    standing: Standing,
    copy_in: Option<CopyIn>,
    reported: Vec<(&'static str, String)>,
    /// What `reported` was read from.
    reported_from: (Arc<Derived>, Arc<kalamdb_auth::Identity>),
}

impl Session {
    pub(crate) fn new(standing: Standing) -> Self {
        let reported = Self::reported_now(&standing);
        let reported_from = (standing.derived(), standing.identity.clone());
        Self { standing, copy_in: None, reported, reported_from }
    }

    /// The process id and the cancel key (32 bytes; protocol 3.0 takes the first four).
    pub fn backend_key(&self) -> (i32, Bytes) {
        (self.standing.registered.pid(), Bytes::copy_from_slice(&self.standing.registered.key()))
    }

    /// All reported settings, for the start.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        self.reported.clone()
    }

    fn reported_now(standing: &Standing) -> Vec<(&'static str, String)> {
        let mut reported = standing.derived().reported.clone();
        let superuser = standing.identity.role == kalamdb_commons::Role::System;
        reported.push(("is_superuser", if superuser { "on" } else { "off" }.to_string()));
        reported.push(("session_authorization", standing.identity.name.to_string()));
        reported
    }

    /// Reported settings that changed since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        let source = (self.standing.derived(), self.standing.identity.clone());
        if Arc::ptr_eq(&source.0, &self.reported_from.0) && Arc::ptr_eq(&source.1, &self.reported_from.1) {
            return Vec::new();
        }
        self.reported_from = source;
        let now = Self::reported_now(&self.standing);
        let changes: Vec<_> = now.iter().filter(|pair| !self.reported.contains(pair)).cloned().collect();
        for (name, value) in &changes {
            if *name == "application_name" {
                self.standing.registered.set_application(value);
            }
        }
        self.reported = now;
        changes
    }

    /// NOTICEs (00000) and WARNINGs (the others) that wait to be sent.
    pub fn take_notices(&mut self) -> Vec<SqlError> {
        std::mem::take(&mut *self.standing.notices.lock())
    }

    /// PostgreSQL's transaction indicator.
    pub fn status(&self) -> TransactionStatus {
        self.standing.status()
    }

    /// How values are printed now.
    pub fn style(&self) -> Style {
        self.standing.derived().style.clone()
    }

    /// Names for printing `regclass` and its kin.
    pub fn names(&self) -> Arc<dyn CatalogNames> {
        Arc::new(self.standing.names())
    }

    /// `idle_in_transaction_session_timeout` inside a block, `idle_session_timeout` outside, with the error that ends
    /// the session when it passes.
    pub fn idle_timeout(&self) -> Option<(std::time::Duration, SqlError)> {
        let settings = self.standing.derived();
        match self.standing.status() {
            TransactionStatus::Idle => settings.idle_session_timeout.map(|limit| {
                let message = "terminating connection due to idle-session timeout";
                (limit, SqlError::new(SqlState::IDLE_SESSION_TIMEOUT, message))
            }),
            _ => settings.idle_in_transaction_timeout.map(|limit| {
                let message = "terminating connection due to idle-in-transaction timeout";
                (limit, SqlError::new(SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, message))
            }),
        }
    }

    /// Parses a Query message. No statements: EmptyQueryResponse.
    ///
    /// # Errors
    /// 42601, 54001
    pub fn script(&mut self, sql: &str) -> Result<Vec<ScriptStatement>> {
        self.standing.arrive()?;
        // PostgreSQL drops the unnamed statement and portal at a simple Query.
        self.standing.forget_prepared("");
        self.standing.portals.remove("");
        let parsed = parse::parse(sql)?;
        Ok(parsed.into_iter().map(|parsed| ScriptStatement { parsed }).collect())
    }

    /// Runs a statement of a script. `single`: it is the only one.
    ///
    /// # Errors
    /// PostgreSQL's; positions count from the script's start.
    pub async fn run(&mut self, statement: &ScriptStatement, single: bool) -> Result<Reply> {
        let parsed = &statement.parsed;
        self.standing.arrive()?;
        let guard = Guard::new(&self.standing, &parsed.text);
        let shift = |error: SqlError| shifted(error, parsed.offset);
        if !statement::may_run_in_failed(&parsed.statement) {
            self.standing.not_failed()?;
        }
        let outcome = statement::run_text(&mut self.standing, parsed, single, &guard).await.map_err(shift)?;
        Ok(self.reply(outcome))
    }

    fn reply(&mut self, outcome: statement::Outcome) -> Reply {
        match outcome {
            statement::Outcome::Rows(rows) => Reply::Rows(rows),
            statement::Outcome::Command(tag) => Reply::Command(tag),
            statement::Outcome::CopyOut(copy) => Reply::CopyOut(copy),
            statement::Outcome::Empty => Reply::Empty,
            statement::Outcome::CopyIn(copy) => {
                let reply = Reply::CopyIn { binary: copy.is_binary(), columns: copy.column_count() };
                self.copy_in = Some(*copy);
                reply
            }
        }
    }

    /// Ends the implicit transaction: before the last CommandComplete of a script, and at Sync.
    ///
    /// # Errors
    /// The commit's; everything is rolled back then.
    pub async fn settle(&mut self) -> Result<()> {
        let settled = statement::settle(&mut self.standing).await;
        self.standing.show_idle();
        settled
    }

    /// The door has sent an error: an implicit transaction is rolled back, a block is failed.
    pub fn fail(&mut self) {
        self.copy_in = None;
        self.standing.fail();
        self.standing.show_idle();
    }

    /// Parse. `types`: OIDs, 0 for unknown.
    ///
    /// # Errors
    /// 42P05, and those of parsing and binding; 42601 for several statements.
    pub async fn prepare(&mut self, name: &str, sql: &str, types: &[u32]) -> Result<()> {
        self.standing.arrive()?;
        if name.is_empty() {
            self.standing.forget_prepared("");
        }
        let mut statements = parse::parse(sql)?;
        if statements.len() > 1 {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let parsed =
            statements.pop().unwrap_or_else(|| Parsed { statement: Statement::Empty, text: String::new(), offset: 0 });
        if !statement::may_run_in_failed(&parsed.statement) {
            self.standing.not_failed()?;
        }
        let declared = types.iter().map(|oid| declared_type(*oid)).collect::<Result<Vec<_>>>()?;
        let offset = parsed.offset;
        let prepared =
            statement::prepare(&mut self.standing, parsed, declared, false).map_err(|error| shifted(error, offset))?;
        self.standing.keep_prepared(name, prepared)
    }

    /// Describe of a statement: parameter types and result columns.
    ///
    /// # Errors
    /// 26000, 25P02 in a failed block for a statement with a result.
    pub async fn describe_statement(&mut self, name: &str) -> Result<(Vec<PgType>, Option<Arc<[OutputColumn]>>)> {
        self.standing.renew_identity()?;
        let prepared = self.fresh(name)?;
        if prepared.columns.is_some() {
            self.standing.not_failed()?;
        }
        Ok((prepared.parameters.clone(), prepared.columns.clone()))
    }

    /// The statement, bound again if what it was bound to has changed.
    fn fresh(&mut self, name: &str) -> Result<Arc<Prepared>> {
        let prepared = self.standing.prepared(name)?;
        let fresh = statement::refresh(&mut self.standing, &prepared)?;
        if !Arc::ptr_eq(&fresh, &prepared) {
            Arc::make_mut(&mut self.standing.prepared).insert(name.to_string(), fresh.clone());
        }
        Ok(fresh)
    }

    /// Bind.
    ///
    /// # Errors
    /// 26000, 42P03, 08P01 for wrong counts, and those of the parameters' input functions.
    pub async fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        formats: &[i16],
        values: Vec<Option<Bytes>>,
        result_formats: Vec<i16>,
    ) -> Result<()> {
        self.standing.renew_identity()?;
        let prepared = self.fresh(statement)?;
        if !statement::may_run_in_failed(&prepared.parsed.statement) {
            self.standing.not_failed()?;
        }
        let values = self.values(&prepared, statement, formats, &values)?;
        let columns = prepared.columns.as_ref().map_or(0, |columns| columns.len());
        if result_formats.len() > 1 && result_formats.len() != columns {
            return Err(SqlError::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("bind message has {} result formats but query has {columns} columns", result_formats.len()),
            ));
        }
        if portal.is_empty() {
            self.standing.portals.remove("");
        }
        let state = PortalState::Ready;
        let portal_value = Portal { prepared, values: Arc::new(values), formats: result_formats, state, cursor: None };
        self.standing.keep_portal(portal, portal_value)
    }

    fn values(&self, prepared: &Prepared, name: &str, formats: &[i16], values: &[Option<Bytes>]) -> Result<Vec<Datum>> {
        let violation = |message: String| SqlError::new(SqlState::PROTOCOL_VIOLATION, message);
        let expected = prepared.parameters.len();
        if values.len() != expected || values.len() > PARAMETERS_MAX {
            return Err(violation(format!(
                "bind message supplies {} parameters, but prepared statement \"{name}\" requires {expected}",
                values.len()
            )));
        }
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(violation(format!(
                "bind message has {} parameter formats but {} parameters",
                formats.len(),
                values.len()
            )));
        }
        let style = self.style();
        let names = self.standing.names();
        let mut datums = Vec::with_capacity(expected);
        for (at, value) in values.iter().enumerate() {
            let ty = prepared.parameters[at];
            let code = formats.get(at).or_else(|| formats.first()).copied().unwrap_or(0);
            datums.push(match (value, format(code)?) {
                (None, _) => Datum::Null,
                (Some(bytes), Format::Binary) => types::labels::from_binary(bytes, ty, &names)
                    .map_err(|error| error.with_context(format!("portal parameter ${}", at + 1)))?,
                (Some(bytes), Format::Text) => {
                    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
                    let text = text.ok_or_else(|| SqlError::not_utf8(bytes))?;
                    types::from_text(text, ty, &style, &names)?
                }
            });
        }
        Ok(datums)
    }

    /// Describe of a portal: its result columns, and the formats as Bind gave them.
    ///
    /// # Errors
    /// 34000
    pub fn describe_portal(&mut self, portal: &str) -> Result<(Option<Arc<[OutputColumn]>>, Vec<i16>)> {
        let portal = self.standing.portal(portal)?;
        Ok((portal.prepared.columns.clone(), portal.formats.clone()))
    }

    /// The result formats as Bind gave them.
    pub fn portal_formats(&self, portal: &str) -> Vec<i16> {
        self.standing.portals.get(portal).map(|portal| portal.formats.clone()).unwrap_or_default()
    }

    /// Execute, for at most so many rows (0: all). Rows of a suspended portal go on where they stopped; the first
    /// batch is the rest. A cursor's are those that FETCH FORWARD would give, and move it as FETCH does.
    ///
    /// # Errors
    /// 34000, 25P02, and the statement's.
    pub async fn execute(&mut self, name: &str, rows_max: u64) -> Result<Reply> {
        self.standing.arrive()?;
        let portal = self.standing.portal(name)?;
        let prepared = portal.prepared.clone();
        let values = portal.values.clone();
        let is_cursor = portal.cursor.is_some();
        if !statement::may_run_in_failed(&prepared.parsed.statement) {
            self.standing.not_failed()?;
        }
        if is_cursor {
            let _ = Guard::new(&self.standing, &prepared.parsed.text);
            return statement::run_cursor(&mut self.standing, name, rows_max).map(Reply::Rows);
        }
        let portal = self.standing.portal(name)?;
        let state = std::mem::replace(&mut portal.state, PortalState::Running);
        match state {
            PortalState::Suspended(mut rows, rest) => {
                if let Some(rest) = rest {
                    let first = futures::stream::iter([Ok(rest)]);
                    let after = std::mem::replace(&mut rows.batches, Box::pin(futures::stream::empty()));
                    rows.batches = Box::pin(futures::StreamExt::chain(first, after));
                }
                let _ = Guard::new(&self.standing, &prepared.parsed.text);
                return Ok(Reply::Rows(rows));
            }
            PortalState::Running | PortalState::Done => {
                self.standing.portal(name)?.state = PortalState::Done;
                return match (&prepared.columns, &prepared.parsed.statement) {
                    (Some(columns), Statement::Query(_)) => Ok(Reply::Rows(Rows {
                        columns: columns.clone(),
                        batches: Box::pin(futures::stream::empty()),
                        tag: RowsTag::Counted("SELECT"),
                    })),
                    _ => Err(SqlError::new(
                        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                        format!("portal \"{name}\" cannot be run"),
                    )),
                };
            }
            PortalState::Ready => {}
        }
        let guard = Guard::new(&self.standing, &prepared.parsed.text);
        let outcome = statement::run_prepared(&mut self.standing, &prepared, values, &guard).await;
        if let Some(portal) = self.standing.portals.get_mut(name) {
            portal.state = PortalState::Done;
        }
        let outcome = outcome.map_err(|error| shifted(error, prepared.parsed.offset))?;
        Ok(self.reply(outcome))
    }

    /// The row limit was reached: the portal keeps the rows, and the rest of the batch that was not sent. A cursor has
    /// its rows and its position already.
    pub fn suspend(&mut self, name: &str, rows: Rows, rest: Option<RecordBatch>) {
        if let Some(portal) = self.standing.portals.get_mut(name).filter(|portal| portal.cursor.is_none()) {
            portal.state = PortalState::Suspended(rows, rest);
        }
    }

    /// Close of a statement; none is no error. Portals made from it live on.
    pub fn close_statement(&mut self, name: &str) {
        self.standing.forget_prepared(name);
    }

    /// Close of a portal; none is no error.
    pub fn close_portal(&mut self, name: &str) {
        self.standing.portals.remove(name);
    }

    /// CopyData.
    ///
    /// # Errors
    /// The input's and the write's, with the line in the context.
    pub async fn copy_data(&mut self, chunk: Bytes) -> Result<()> {
        match &mut self.copy_in {
            Some(copy) => copy.data(&mut self.standing, &chunk).await,
            None => Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, "unexpected CopyData message")),
        }
    }

    /// CopyDone: the command tag.
    ///
    /// # Errors
    /// As [`Session::copy_data`].
    pub async fn copy_done(&mut self) -> Result<String> {
        match self.copy_in.take() {
            Some(copy) => copy.done(&mut self.standing).await,
            None => Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, "unexpected CopyDone message")),
        }
    }

    /// CopyFail: the error to send.
    pub fn copy_fail(&mut self, message: &str) -> SqlError {
        self.copy_in = None;
        SqlError::new(SqlState::QUERY_CANCELED, format!("COPY from stdin failed: {message}"))
    }

    /// Waits for what comes from outside. Safe to drop while pending.
    pub async fn next_event(&mut self) -> Event {
        let terminated = self.standing.registered.terminated().clone();
        if self.standing.outbox.is_lost() {
            return Event::Terminate(SqlError::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "too many notifications were left unread",
            ));
        }
        if self.standing.holds_events() {
            // A rollback must be able to take them back, and inside a block nothing is delivered anyway.
            terminated.cancelled().await;
            return Event::Terminate(error::terminated());
        }
        tokio::select! {
            () = terminated.cancelled() => Event::Terminate(error::terminated()),
            message = self.standing.outbox.next() => Event::Notification {
                pid: message.pid,
                channel: message.channel,
                payload: message.payload,
            },
        }
    }

    /// Fires when a cancel request arrives for the statement that runs now. A door that waits for its client with the
    /// statement's rows in hand watches it; all other waiting is watched here.
    pub fn interrupt(&self) -> CancellationToken {
        self.standing.registered.running()
    }

    /// How often the session has begun to listen: it changes when a LISTEN or live query takes effect.
    pub fn listen_count(&self) -> u64 {
        self.standing.listen_count
    }

    /// When the session's newest statement began, microseconds since 1970 UTC.
    pub fn statement_started_at(&self) -> i64 {
        self.standing.started_at().1.min(clock::now_us())
    }
}

fn declared_type(oid: u32) -> Result<Option<SqlType>> {
    match oid {
        0 | 705 => Ok(None),
        oid => SqlType::from_oid(oid)
            .map(Some)
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} does not exist"))),
    }
}

fn format(code: i16) -> Result<Format> {
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        _ => Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}"))),
    }
}

/// Positions inside a script count from its start.
fn shifted(error: SqlError, offset: usize) -> SqlError {
    match (error.position(), offset) {
        (Some(position), 1..) => error.moved_to(position + offset),
        _ => error,
    }
}
