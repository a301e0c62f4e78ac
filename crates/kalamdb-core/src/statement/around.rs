//! What functions and hidden parameters may ask of the session: one value, made once for each statement.

use super::deadlock;
use crate::advisory::{Hold, Requested};
use crate::error;
use crate::hall::Hall;
use crate::resolve;
use crate::sequence::SessionSequences;
use crate::settings::{self, Derived, Settings};
use crate::standing::Standing;
use crate::system::names::CatalogView;
use kalamdb_auth::Identity;
use kalamdb_auth::authorize::SequenceAction;
use kalamdb_commons::{Datum, Oid, Result, Role, SqlError, SqlState, UserId};
use kalamdb_sql::function::{AdvisoryAct, AdvisoryLock, CatalogNames, SessionValue, Surroundings};
use kalamdb_sql::types::{self, Style};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest payload of NOTIFY, in bytes: PostgreSQL's (manual, NOTIFY: shorter than 8000).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 7_999;

/// One statement's surroundings.
pub(crate) struct Around {
    hall: Arc<Hall>,
    identity: Arc<Identity>,
    settings: Arc<Mutex<Settings>>,
    notifies: Arc<Mutex<Vec<(String, String)>>>,
    takes_advisory: Arc<AtomicBool>,
    notices: Arc<Mutex<Vec<SqlError>>>,
    sequences: Arc<Mutex<SessionSequences>>,
    channels: Vec<String>,
    cancel: CancellationToken,
    deadline: Option<Instant>,
    query: String,
    transaction_settings: Vec<(&'static str, String)>,
    derived: Arc<Derived>,
    names: CatalogView,
    pid: i32,
    address: Option<std::net::SocketAddr>,
    local_address: Option<std::net::SocketAddr>,
    transaction_start: i64,
    statement_start: i64,
    transaction: Option<u64>,
}

impl Around {
    /// Waits in the middle of a function: other work of this thread goes on elsewhere, and the wait ends with the
    /// statement.
    ///
    /// # Errors
    /// 57014
    fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let cancelled = || Err(error::cancelled());
        if self.cancel.is_cancelled() {
            return cancelled();
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(SqlError::internal)?;
        // The runtime gives this thread's other work to a fresh one. A session runs one statement, so there are no more
        // such threads than sessions.
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = self.cancel.cancelled() => cancelled(),
                    () = reached(self.deadline) => Err(error::timed_out()),
                    done = work => Ok(done),
                }
            })
        })
    }
}

impl Around {
    /// As the session stands now.
    pub fn new(standing: &mut Standing) -> Arc<Self> {
        // A function may call pg_notify: its message needs a transaction that ends.
        standing.touch();
        let (transaction_start, statement_start) = standing.started_at();
        let transaction_settings = ["transaction_isolation", "transaction_read_only"]
            .into_iter()
            .filter_map(|name| standing.transaction_setting(name).map(|value| (name, value)))
            .collect();
        Arc::new(Self {
            hall: standing.hall.clone(),
            identity: standing.identity.clone(),
            settings: standing.settings.clone(),
            notifies: standing.notifies.clone(),
            takes_advisory: standing.takes_advisory.clone(),
            notices: standing.notices.clone(),
            sequences: standing.sequences.clone(),
            channels: standing.outbox.channels(),
            cancel: standing.registered.running(),
            deadline: standing.registered.deadline(),
            query: standing.registered.query(),
            transaction_settings,
            derived: standing.derived(),
            names: standing.names(),
            pid: standing.registered.pid(),
            address: standing.registered.address(),
            local_address: standing.local_address,
            transaction_start,
            statement_start,
            transaction: standing.transaction_id().map(|id| id.0),
        })
    }
}

impl Around {
    fn sequence(&self, oid: Oid, action: SequenceAction) -> Result<crate::sequence::Sequence> {
        resolve::sequence(self.names.catalog(), &self.identity, oid, action)
    }

    /// 25006 in a read-only transaction.
    fn writable(&self, what: &str) -> Result<()> {
        if self.transaction_settings.iter().any(|(name, value)| *name == "transaction_read_only" && value == "on") {
            let message = format!("cannot execute {what} in a read-only transaction");
            return Err(SqlError::new(SqlState::READ_ONLY_SQL_TRANSACTION, message));
        }
        Ok(self.hall.store.takes_writes()?)
    }
}

impl crate::plan::SessionValues for Around {
    fn value(&self, value: SessionValue) -> Datum {
        let local = |at: i64| types::datetime::to_local(at, &self.derived.style);
        match value {
            SessionValue::Now => Datum::Timestamptz(self.transaction_start),
            SessionValue::StatementTimestamp => Datum::Timestamptz(self.statement_start),
            SessionValue::CurrentDate => Datum::Date(local(self.transaction_start).div_euclid(DAY_US) as i32),
            SessionValue::CurrentTime => {
                let now = types::datetime::Timetz::at(self.transaction_start, &self.derived.style.time_zone);
                Datum::Bytes(now.to_bytes().into())
            }
            SessionValue::LocalTime => Datum::Time(local(self.transaction_start).rem_euclid(DAY_US)),
            SessionValue::LocalTimestamp => Datum::Timestamp(local(self.transaction_start)),
            SessionValue::CurrentUser | SessionValue::SessionUser => Datum::text(self.identity.name.as_str()),
            SessionValue::CurrentUserId => Datum::Oid(self.identity.user.0),
            SessionValue::CurrentDatabase => Datum::text(crate::settings::DATABASE_NAME),
            SessionValue::CurrentSchema => {
                self.names.search_path(false).first().map_or(Datum::Null, |name| Datum::text(name.as_str()))
            }
            SessionValue::BackendPid => Datum::Int4(self.pid),
            SessionValue::Version => Datum::text(crate::settings::version_text()),
            SessionValue::ClientAddress => ip(self.address),
            SessionValue::ClientPort => port(self.address),
            SessionValue::ServerAddress => ip(self.local_address),
            SessionValue::ServerPort => port(self.local_address),
        }
    }
}

fn ip(address: Option<std::net::SocketAddr>) -> Datum {
    address.map_or(Datum::Null, |address| types::inet_of(address.ip()))
}

fn port(address: Option<std::net::SocketAddr>) -> Datum {
    address.map_or(Datum::Null, |address| Datum::Int4(i32::from(address.port())))
}

const DAY_US: i64 = 86_400_000_000;

impl std::fmt::Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Surroundings for Around {
    fn style(&self) -> &Style {
        &self.derived.style
    }

    fn setting(&self, name: &str) -> Option<String> {
        if let Some((_, value)) = self.transaction_settings.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Some(value.clone());
        }
        let value = self.settings.lock().get(name)?;
        Some(settings::find(name).map_or(value.clone(), |setting| settings::shown(setting, &value)))
    }

    fn set_setting(&self, name: &str, value: Option<&str>, local: bool) -> Result<String> {
        let mut settings = self.settings.lock();
        let value = match value {
            Some(value) => value.to_owned(),
            None => settings.default_of(name)?,
        };
        let value = settings.set(name, &value, local)?;
        Ok(settings::find(name).map_or(value.clone(), |setting| settings::shown(setting, &value)))
    }

    fn current_user(&self) -> UserId {
        self.identity.user
    }

    fn transaction_start(&self) -> i64 {
        self.transaction_start
    }

    fn statement_start(&self) -> i64 {
        self.statement_start
    }

    fn snowflake_id(&self) -> i64 {
        self.hall.snowflake.next()
    }

    fn catalog(&self) -> &dyn CatalogNames {
        &self.names
    }

    fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        check_message(channel, payload)?;
        let message = (channel.to_string(), payload.to_string());
        let mut notifies = self.notifies.lock();
        if !notifies.contains(&message) {
            notifies.push(message);
        }
        Ok(())
    }

    fn listening_channels(&self) -> Vec<String> {
        self.channels.clone()
    }

    fn signal_backend(&self, pid: i32, terminate: bool) -> Result<bool> {
        let Some(target) = self.hall.registry.facts().into_iter().find(|facts| facts.pid == pid) else {
            self.warn(SqlState::WARNING, &format!("PID {pid} is not a PostgreSQL backend process"));
            return Ok(false);
        };
        let own = target.user == self.identity.user;
        let above = self.identity.role >= Role::Dba && target.role < Role::System;
        if !own && !above && self.identity.role != Role::System {
            let word = if terminate { "terminate" } else { "cancel query of" };
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("must be a member of the role whose process is to be {word}led or member of pg_signal_backend"),
            ));
        }
        Ok(self.hall.registry.signal(pid, terminate))
    }

    fn next_value(&self, sequence: Oid) -> Result<i64> {
        self.writable("nextval()")?;
        self.sequence(sequence, SequenceAction::Next)?.next(&self.hall.store, &self.sequences)
    }

    fn current_value(&self, sequence: Oid) -> Result<i64> {
        self.sequence(sequence, SequenceAction::Read)?.current(&self.sequences)
    }

    fn last_value(&self) -> Result<i64> {
        let last = self.sequences.lock().last()?;
        if self.names.catalog().sequence(last).is_none() {
            let message = "lastval is not yet defined in this session";
            return Err(SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
        }
        self.current_value(last.0)
    }

    fn set_value(&self, sequence: Oid, value: i64, is_called: bool) -> Result<i64> {
        self.writable("setval()")?;
        self.sequence(sequence, SequenceAction::Set)?.set(&self.hall.store, &self.sequences, value, is_called)?;
        Ok(value)
    }

    fn given_value(&self, sequence: Oid) -> Result<Option<i64>> {
        let place = self.sequence(sequence, SequenceAction::Read)?.place(&self.hall.store)?;
        Ok(place.is_called.then_some(place.last))
    }

    fn advisory_lock(&self, request: AdvisoryLock) -> Result<bool> {
        let locks = &self.hall.registry.advisory;
        let AdvisoryLock { key, act, shared, transaction } = request;
        let hold = Hold { shared, transaction };
        if transaction {
            self.takes_advisory.store(true, Ordering::Relaxed);
        }
        match act {
            AdvisoryAct::TryLock => Ok(matches!(locks.request(self.pid, key, hold, false), Requested::Granted)),
            AdvisoryAct::Lock => self.advisory_wait(key, hold).map(|()| true),
            AdvisoryAct::Unlock => {
                let held = locks.unlock(self.pid, key, shared);
                if !held {
                    let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
                    self.warn(SqlState::WARNING, &format!("you don't own a lock of type {mode}"));
                }
                Ok(held)
            }
            AdvisoryAct::UnlockAll => {
                locks.unlock_all(self.pid);
                Ok(true)
            }
        }
    }

    fn sleep(&self, time: Duration) -> Result<()> {
        self.wait(tokio::time::sleep(time))
    }

    fn warn(&self, state: SqlState, message: &str) {
        self.notices.lock().push(SqlError::new(state, message));
    }

    fn blocking_backends(&self, pid: i32) -> Vec<i32> {
        deadlock::blockers(&self.hall, pid)
    }

    fn transaction_number(&self) -> Result<u64> {
        self.transaction.ok_or_else(|| SqlError::internal("no transaction is running"))
    }

    fn query_text(&self) -> &str {
        &self.query
    }
}

impl Around {
    /// Waits for an advisory lock.
    ///
    /// # Errors
    /// 40P01, 55P03, 57014
    fn advisory_wait(&self, key: (i64, bool), hold: Hold) -> Result<()> {
        let locks = &self.hall.registry.advisory;
        let Requested::Queued(mut ticket) = locks.request(self.pid, key, hold, true) else { return Ok(()) };
        let limit = self.derived.lock_timeout;
        let waited = self.wait(async {
            tokio::select! {
                // An error means that the session ended, and nobody reads this.
                granted = &mut ticket.woken => granted.map_err(|_| error::cancelled()),
                deadlock = self.deadlock() => Err(deadlock),
                () = passed(limit) => {
                    Err(SqlError::new(SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout"))
                }
            }
        });
        waited.and_then(|waited| waited).inspect_err(|_| locks.leave(ticket))
    }

    /// Resolves when the session waits for itself.
    async fn deadlock(&self) -> SqlError {
        let mut pause = SEARCH_FIRST;
        loop {
            if let Some(deadlock) = deadlock::found(&self.hall, self.pid) {
                return deadlock;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SEARCH_MAX);
        }
    }
}

/// The pauses between two searches for a cycle double from the first to the last: most cycles are there at once, and
/// who waits for long costs little.
const SEARCH_FIRST: Duration = Duration::from_millis(20);
const SEARCH_MAX: Duration = Duration::from_secs(1);

/// Resolves at the moment; never without one.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the time has passed; never without one.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// The bounds of a NOTIFY's channel and payload.
///
/// # Errors
/// 22023
pub(crate) fn check_message(channel: &str, payload: &str) -> Result<()> {
    let bad = |message| Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    match () {
        () if channel.is_empty() => bad("channel name cannot be empty"),
        () if payload.len() > PAYLOAD_BYTES_MAX => bad("payload string too long"),
        () => Ok(()),
    }
}
