//! One statement is carried out: the match over its kind, and what all kinds share.
//!
//! The order that every kind with relations keeps: bind (what the names mean) → table locks → a snapshot → needs
//! become relations (permission) → work. A relation that changed between binding and its lock sends the statement
//! back to binding; the client sees nothing of it.

mod actions;
mod alter;
pub(crate) mod around;
mod carry_out;
mod channel;
mod comment;
mod constraint;
pub(crate) mod copy;
mod create_as;
mod cursor;
mod deadlock;
mod delete;
mod domain;
mod drop;
mod entries;
mod explain;
mod extension;
mod foreign_key;
mod generated;
mod index;
mod insert;
mod key_match;
mod like;
mod listing;
mod name;
mod namespace;
mod prepared;
mod query;
mod references;
mod rewrite;
mod sequence;
mod setting;
mod storage;
mod table;
mod transaction;
mod update;
mod user;
mod user_type;
mod valid;
mod view;
mod write;

pub(crate) use cursor::execute as run_cursor;
pub(crate) use prepared::{prepare, refresh};

use crate::error;
pub(crate) use crate::reply::batch_of;
use crate::reply::{CopyOut, OutputColumn, Rows, RowsTag};
use crate::standing::{Prepared, Standing};
use arrow_array::{ArrayRef, RecordBatch};
use futures::StreamExt;
use futures::stream::BoxStream;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use kalamdb_sql::Statement;
use kalamdb_sql::parse::Parsed;
use std::future::Future;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// What carrying a statement out gives.
pub(crate) enum Outcome {
    /// A result set.
    Rows(Rows),
    /// A command tag.
    Command(String),
    /// COPY FROM STDIN waits for data.
    CopyIn(Box<copy::CopyIn>),
    /// COPY TO STDOUT
    CopyOut(CopyOut),
    /// Nothing was said.
    Empty,
}

/// What ends a statement early: a cancel request, or statement_timeout.
#[derive(Clone)]
pub(crate) struct Guard {
    token: CancellationToken,
    deadline: Option<Instant>,
}

impl Guard {
    /// A statement begins.
    pub fn new(standing: &Standing, text: &str) -> Self {
        let deadline = standing.derived().statement_timeout.map(|limit| Instant::now() + limit);
        Self { token: standing.registered.begin(text, deadline), deadline }
    }

    /// The end of a transaction belongs to the statement that came last.
    fn of_last(standing: &Standing) -> Self {
        let limit = standing.derived().statement_timeout;
        Self { token: standing.registered.running(), deadline: limit.map(|limit| Instant::now() + limit) }
    }

    /// The token that a cancel request fires.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Runs work until it ends or is ended.
    ///
    /// # Errors
    /// The work's, or 57014.
    pub async fn watch<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(error::cancelled()),
            () = self.timeout() => {
                // What waits on a thread for plans hears of it.
                self.token.cancel();
                Err(error::timed_out())
            }
            result = work => result,
        }
    }

    async fn timeout(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// The same for a stream, item by item.
    pub fn watch_stream<T: Send + 'static>(
        self,
        stream: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        futures::stream::unfold(Some((self, stream)), |state| async move {
            let (guard, mut stream) = state?;
            match guard.watch(async { stream.next().await.transpose() }).await {
                Ok(Some(item)) => Some((Ok(item), Some((guard, stream)))),
                Ok(None) => None,
                // The stream is dropped with the error: what it ran is stopped.
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

/// Whether a statement may run in a failed block (25P02 otherwise).
pub(crate) fn may_run_in_failed(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Commit { .. } | Statement::Rollback { .. } | Statement::RollbackTo(_) | Statement::Empty
    )
}

/// Runs a statement of a script.
///
/// # Errors
/// The statement's.
pub(crate) async fn run_text(standing: &mut Standing, parsed: &Parsed, single: bool, guard: &Guard) -> Result<Outcome> {
    if let Statement::Begin(_)
    | Statement::Commit { .. }
    | Statement::Rollback { .. }
    | Statement::Savepoint(_)
    | Statement::Release(_)
    | Statement::RollbackTo(_) = parsed.statement
    {
        return transaction::run(standing, &parsed.statement, guard).await;
    }
    let prepared = prepare(standing, parsed.clone(), Vec::new(), false)?;
    if !prepared.parameters.is_empty() {
        return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1"));
    }
    carry_out(standing, &Arc::new(prepared), Arc::default(), single, guard).await
}

/// Runs a prepared statement with its values.
///
/// # Errors
/// The statement's.
pub(crate) async fn run_prepared(
    standing: &mut Standing,
    prepared: &Arc<Prepared>,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
) -> Result<Outcome> {
    carry_out(standing, prepared, values, true, guard).await
}

async fn carry_out(
    standing: &mut Standing,
    prepared: &Arc<Prepared>,
    values: Arc<Vec<Datum>>,
    single: bool,
    guard: &Guard,
) -> Result<Outcome> {
    let statement = &prepared.parsed.statement;
    match statement {
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::With { .. }
        | Statement::Delete { .. } => guard.watch(bound(standing, prepared, values, guard)).await,
        Statement::Copy(copy) => guard.watch(copy::run(standing, copy, &prepared.parsed.text, guard)).await,
        Statement::Explain(explain) => guard.watch(explain::run(standing, explain, prepared, values, guard)).await,

        Statement::CreateNamespace { name, if_not_exists, owner } => {
            guard.watch(namespace::create(standing, name, *if_not_exists, owner.as_deref())).await
        }
        Statement::DescribeNamespace { name, description } => {
            guard.watch(namespace::describe(standing, name, description)).await
        }
        Statement::DropNamespace { names, if_exists, cascade } => {
            guard.watch(namespace::drop(standing, names, *if_exists, *cascade)).await
        }
        Statement::CreateExtension { name, if_not_exists } => extension::create(standing, name, *if_not_exists),
        Statement::DropExtension { names, if_exists } => extension::drop(standing, names, *if_exists),
        Statement::CreateTable(create) => guard.watch(table::create(standing, create)).await,
        Statement::DropTable { names, if_exists, cascade } => {
            guard.watch(table::drop(standing, names, *if_exists, *cascade)).await
        }
        Statement::CreateTableAs(create) => {
            guard.watch(create_as::create(standing, create, &prepared.parsed.text, guard)).await
        }
        Statement::CreateView(create) => guard.watch(view::create(standing, create, &prepared.parsed.text)).await,
        Statement::DropView { names, if_exists, cascade } => {
            guard.watch(view::drop(standing, names, *if_exists, *cascade)).await
        }
        Statement::AlterView { name, if_exists, action } => {
            guard.watch(view::alter(standing, name, *if_exists, action)).await
        }
        Statement::AlterTable(alter) => guard.watch(alter::run(standing, alter)).await,
        Statement::CreateIndex(create) => guard.watch(index::create(standing, create, single)).await,
        Statement::DropIndex { names, if_exists, concurrently, cascade } => {
            guard.watch(index::drop(standing, names, *if_exists, *concurrently, *cascade, single)).await
        }
        Statement::AlterIndex { name, if_exists, action } => {
            guard.watch(index::alter(standing, name, *if_exists, action)).await
        }
        Statement::CreateEnum { name, labels } => guard.watch(user_type::create_enum(standing, name, labels)).await,
        Statement::AlterType { name, action } => guard.watch(user_type::alter(standing, name, action)).await,
        Statement::CreateDomain(create) => guard.watch(domain::create(standing, create)).await,
        Statement::AlterDomain { name, action } => guard.watch(domain::alter(standing, name, action)).await,
        Statement::DropType { names, domain, if_exists, cascade } => {
            guard.watch(user_type::drop(standing, names, *domain, *if_exists, *cascade)).await
        }
        Statement::CreateSequence { name, if_not_exists, options } => {
            guard.watch(sequence::create(standing, name, *if_not_exists, options)).await
        }
        Statement::AlterSequence { name, if_exists, action } => {
            guard.watch(sequence::alter(standing, name, *if_exists, action)).await
        }
        Statement::DropSequence { names, if_exists, cascade } => {
            guard.watch(sequence::drop(standing, names, *if_exists, *cascade)).await
        }
        Statement::Reindex(what) => index::reindex(standing, what),
        Statement::Comment { about, text } => guard.watch(comment::comment(standing, about, text.as_deref())).await,
        Statement::Truncate { names, restart, cascade } => {
            guard.watch(table::truncate(standing, names, *restart, *cascade, guard)).await
        }
        Statement::Lock { names, mode, nowait } => guard.watch(table::lock(standing, names, mode, *nowait)).await,
        Statement::Vacuum { names, .. } => {
            standing.outside_block("VACUUM", single)?;
            storage::upkeep(standing, names, "VACUUM").await
        }
        Statement::Analyze { names } => storage::upkeep(standing, names, "ANALYZE").await,

        Statement::Begin(_)
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint(_)
        | Statement::Release(_)
        | Statement::RollbackTo(_)
        | Statement::SetTransaction(_)
        | Statement::SetCharacteristics(_) => transaction::run(standing, statement, guard).await,
        Statement::SetConstraints { names, deferred } => {
            guard.watch(constraint::set_constraints(standing, names.as_deref(), *deferred)).await
        }

        Statement::Set { name, values, local } => setting::set(standing, name, values, *local),
        Statement::Reset(name) => setting::reset(standing, name.as_deref()),
        Statement::ShowSetting(name) => setting::show(standing, name.as_deref()),
        Statement::Discard(what) => setting::discard(standing, *what, single),

        Statement::Prepare { name, types, statement, text } => {
            prepared::prepare_by_sql(standing, name, types, statement, text, &prepared.parsed.text)
        }
        Statement::Execute { name, arguments } => {
            // The prepared statement is another statement: the recursion is one level deep.
            let (inner, values) = prepared::execute(standing, name, arguments)?;
            Box::pin(carry_out(standing, &inner, Arc::new(values), single, guard)).await
        }
        Statement::Deallocate(name) => prepared::deallocate(standing, name.as_deref()),
        Statement::Declare(declare) => {
            guard.watch(cursor::declare(standing, declare, &prepared.parsed.text, guard)).await
        }
        Statement::Fetch { cursor, direction, moving } => cursor::fetch(standing, cursor, *direction, *moving),
        Statement::Close(name) => cursor::close(standing, name.as_deref()),

        Statement::Listen(channel) => channel::listen(standing, channel),
        Statement::Unlisten(channel) => channel::unlisten(standing, channel.as_deref()),
        Statement::Notify { channel, payload } => channel::notify(standing, channel, payload),
        Statement::ListenFor { channel, .. } => {
            guard.watch(channel::follow(standing, Some(channel), prepared, values, guard)).await
        }
        Statement::Live { .. } => guard.watch(channel::follow(standing, None, prepared, values, guard)).await,
        Statement::Subscribe { options, .. } => {
            channel::subscribe_options(options)?;
            guard.watch(channel::follow(standing, None, prepared, values, guard)).await
        }
        Statement::KillLiveQuery(id) => channel::kill(standing, id),

        Statement::CreateUser(create) => guard.watch(user::create(standing, create)).await,
        Statement::AlterUser { name, change } => guard.watch(user::alter(standing, name.as_deref(), change)).await,
        Statement::DropUser { names, if_exists } => guard.watch(user::drop(standing, names, *if_exists)).await,
        Statement::ExecuteAs { .. } => Err(SqlError::unsupported("EXECUTE AS USER")),

        Statement::FlushTable(name) => storage::flush_table(standing, name).await,
        Statement::FlushAll(namespace) => storage::flush_all(standing, namespace.as_deref()).await,
        Statement::KillJob(_) => Err(SqlError::unsupported("KILL JOB")),
        Statement::ShowObjects(what) => guard.watch(listing::show(standing, what, guard)).await,
        Statement::Describe { name, history } => guard.watch(listing::describe(standing, name, *history, guard)).await,
        Statement::Unsupported(subject) => Err(SqlError::unsupported(subject)),
        Statement::Empty => Ok(Outcome::Empty),
    }
}

/// The implicit transaction ends, with what it still owes to deferred constraints.
///
/// # Errors
/// 23503 and kin, and those of the commit; everything is rolled back then.
pub(crate) async fn settle(standing: &mut Standing) -> Result<()> {
    if standing.is_implicit() && standing.referential.has_deferred() {
        let guard = Guard::of_last(standing);
        if let Err(error) = guard.watch(actions::settle_deferred(standing)).await {
            standing.rollback();
            return Err(error);
        }
    }
    standing.settle().await
}

/// A query or DML: locks, snapshot, relations, work.
async fn bound(
    standing: &mut Standing,
    prepared: &Arc<Prepared>,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
) -> Result<Outcome> {
    let (prepared, relations) = query::relations(standing, prepared).await?;
    carry_out::run(standing, &prepared, &relations, values, guard).await
}

/// Rows that are here already.
pub(crate) fn rows_of(columns: Arc<[OutputColumn]>, batches: Vec<RecordBatch>, tag: RowsTag) -> Rows {
    Rows { columns, batches: futures::stream::iter(batches.into_iter().map(Ok)).boxed(), tag }
}

/// A small result of text columns (SHOW, EXPLAIN, job ids).
///
/// # Errors
/// XX000 never happens: the columns are of one length.
pub(crate) fn text_rows(names: &[&str], rows: &[Vec<Option<String>>], tag: &str) -> Result<Outcome> {
    let columns = text_columns(names);
    let arrays = (0..names.len())
        .map(|at| {
            let items = rows.iter().map(|row| row.get(at).and_then(Clone::clone));
            Arc::new(items.collect::<arrow_array::StringArray>()) as ArrayRef
        })
        .collect();
    let batch = batch_of(arrays, rows.len())?;
    Ok(Outcome::Rows(rows_of(columns, vec![batch], RowsTag::Fixed(tag.to_string()))))
}

/// Text columns of these names.
pub(crate) fn text_columns(names: &[&str]) -> Arc<[OutputColumn]> {
    let column = |name: &&str| OutputColumn { name: (*name).to_string(), ty: PgType::new(SqlType::Text), origin: None };
    names.iter().map(column).collect()
}
