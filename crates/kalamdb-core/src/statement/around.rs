//! What functions and hidden parameters may ask of the session: one value, made once for each statement.

use crate::hall::Hall;
use crate::settings::{self, Derived, Settings};
use crate::standing::Standing;
use crate::system::names::CatalogView;
use kalamdb_auth::Identity;
use kalamdb_commons::{Datum, Result, Role, SqlError, SqlState, UserId};
use kalamdb_sql::function::{AdvisoryAct, AdvisoryLock, CatalogNames, SessionValue, Surroundings};
use kalamdb_sql::types::{self, Style};
use parking_lot::Mutex;
use std::sync::Arc;

/// The longest payload of NOTIFY, in bytes: PostgreSQL's (manual, NOTIFY: shorter than 8000).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 7_999;

/// One statement's surroundings.
pub(crate) struct Around {
    hall: Arc<Hall>,
    identity: Arc<Identity>,
    settings: Arc<Mutex<Settings>>,
    notifies: Arc<Mutex<Vec<(String, String)>>>,
    channels: Vec<String>,
    transaction_settings: Vec<(&'static str, String)>,
    derived: Arc<Derived>,
    names: CatalogView,
    pid: i32,
    address: Option<std::net::SocketAddr>,
    local_address: Option<std::net::SocketAddr>,
    transaction_start: i64,
    statement_start: i64,
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
            channels: standing.outbox.channels(),
            transaction_settings,
            derived: standing.derived(),
            names: standing.names(),
            pid: standing.registered.pid(),
            address: standing.registered.address(),
            local_address: standing.local_address,
            transaction_start,
            statement_start,
        })
    }
}

impl crate::plan::SessionValues for Around {
    fn value(&self, value: SessionValue) -> Datum {
        let local = |at: i64| types::datetime::to_local(at, &self.derived.style);
        match value {
            SessionValue::Now => Datum::Timestamptz(self.transaction_start),
            SessionValue::StatementTimestamp => Datum::Timestamptz(self.statement_start),
            SessionValue::CurrentDate => Datum::Date(local(self.transaction_start).div_euclid(DAY_US) as i32),
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
    address.map_or(Datum::Null, |address| Datum::text(address.ip().to_canonical().to_string()))
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
            Some(value) => settings.set(name, value, local)?,
            None => {
                settings.reset(name)?;
                settings.get(name).unwrap_or_default()
            }
        };
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

    fn advisory_lock(&self, request: AdvisoryLock) -> Result<bool> {
        if request.transaction {
            return Err(SqlError::unsupported("a transaction-level advisory lock"));
        }
        let registry = &self.hall.registry;
        Ok(match request.act {
            AdvisoryAct::TryLock => registry.advisory_try(self.pid, request.key, request.shared),
            AdvisoryAct::Unlock => registry.advisory_unlock(self.pid, request.key, request.shared),
            AdvisoryAct::UnlockAll => {
                registry.advisory_unlock_all(self.pid);
                true
            }
        })
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
