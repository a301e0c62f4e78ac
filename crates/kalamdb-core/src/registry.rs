//! The running sessions: who is here, what they do, and how to reach them.
//!
//! An entry lives exactly as long as its session (`Registered` removes it when dropped). Cancel requests, the
//! administration functions and `pg_stat_activity` read it; nothing here decides what a session may do.

use crate::advisory::Advisory;
use kalamdb_commons::{Result, Role, SqlError, SqlState, UserId, clock};
use kalamdb_store::TxnId;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest statement text kept for `pg_stat_activity`, in bytes (PostgreSQL's track_activity_query_size).
const QUERY_BYTES_MAX: usize = 1024;
/// A cancel key's length: what protocol 3.2 allows; 3.0 sends the first four bytes.
const KEY_BYTES: usize = 32;

/// What a session does, as `pg_stat_activity.state` says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// `active`
    Active,
    /// `idle`
    Idle,
    /// `idle in transaction`
    IdleInTransaction,
    /// `idle in transaction (aborted)`
    IdleInFailed,
}

impl Activity {
    /// PostgreSQL's words.
    pub fn as_str(self) -> &'static str {
        match self {
            Activity::Active => "active",
            Activity::Idle => "idle",
            Activity::IdleInTransaction => "idle in transaction",
            Activity::IdleInFailed => "idle in transaction (aborted)",
        }
    }
}

/// What is known of a session from outside. Times are microseconds since 1970 UTC.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Its process id: unique while it lives.
    pub pid: i32,
    /// Who logged in.
    pub user: UserId,
    /// The name.
    pub user_name: String,
    /// The role, by which the newest statement was judged.
    pub role: Role,
    /// Where from; `None` for a local socket.
    pub address: Option<std::net::SocketAddr>,
    /// application_name
    pub application: String,
    /// What it does.
    pub activity: Activity,
    /// The newest statement's text, cut.
    pub query: String,
    /// When that began.
    pub query_started_at: Option<i64>,
    /// When the running transaction began.
    pub transaction_started_at: Option<i64>,
    /// When the state changed.
    pub state_changed_at: i64,
    /// When the session began.
    pub started_at: i64,
}

struct Entry {
    key: [u8; KEY_BYTES],
    facts: Mutex<SessionFacts>,
    running: Mutex<CancellationToken>,
    /// When the running statement's time is over.
    deadline: Mutex<Option<Instant>>,
    terminate: CancellationToken,
    /// The newest transaction's number, to find who waits for whom; 0 before the first.
    transaction: AtomicU64,
}

/// All sessions.
pub struct Registry {
    entries: RwLock<BTreeMap<i32, Arc<Entry>>>,
    next_pid: AtomicI32,
    sessions_max: usize,
    pub(crate) advisory: Advisory,
}

/// A session's place in the registry.
pub struct Registered {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
    pid: i32,
}

impl Registry {
    /// An empty registry for at most so many sessions.
    pub fn new(sessions_max: usize) -> Arc<Self> {
        Arc::new(Self {
            entries: RwLock::default(),
            next_pid: AtomicI32::new(1),
            sessions_max,
            advisory: Advisory::default(),
        })
    }

    /// Takes a session in.
    ///
    /// # Errors
    /// 53300 when all places are taken.
    pub fn register(
        self: &Arc<Self>,
        user: UserId,
        user_name: &str,
        role: Role,
        address: Option<std::net::SocketAddr>,
        application: String,
    ) -> Result<Registered> {
        let mut entries = self.entries.write();
        if entries.len() >= self.sessions_max {
            return Err(SqlError::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already"));
        }
        let pid = loop {
            let pid = self.next_pid.fetch_add(1, Ordering::Relaxed) & i32::MAX;
            if pid != 0 && !entries.contains_key(&pid) {
                break pid;
            }
        };
        let now = clock::now_us();
        let entry = Arc::new(Entry {
            transaction: AtomicU64::new(0),
            deadline: Mutex::new(None),
            key: rand::random(),
            facts: Mutex::new(SessionFacts {
                pid,
                user,
                user_name: user_name.to_string(),
                role,
                address,
                application,
                activity: Activity::Idle,
                query: String::new(),
                query_started_at: None,
                transaction_started_at: None,
                state_changed_at: now,
                started_at: now,
            }),
            running: Mutex::default(),
            terminate: CancellationToken::new(),
        });
        entries.insert(pid, entry.clone());
        Ok(Registered { registry: self.clone(), entry, pid })
    }

    /// A cancel request: stops what the session runs, if the key is its key (or the key's first bytes, at least four).
    pub fn cancel(&self, pid: i32, key: &[u8]) {
        let Some(entry) = self.entries.read().get(&pid).cloned() else { return };
        if key.len() >= 4 && key.len() <= KEY_BYTES && same(&entry.key[..key.len()], key) {
            entry.running.lock().cancel();
        }
    }

    /// `pg_cancel_backend` and `pg_terminate_backend`; whether there is such a session.
    pub fn signal(&self, pid: i32, terminate: bool) -> bool {
        let Some(entry) = self.entries.read().get(&pid).cloned() else { return false };
        if terminate {
            entry.terminate.cancel();
        }
        entry.running.lock().cancel();
        true
    }

    /// Asks every session to end once it is idle (its transaction finished).
    pub fn terminate_all(&self) {
        for entry in self.entries.read().values() {
            entry.terminate.cancel();
        }
    }

    /// Stops what every session runs.
    pub fn cancel_all(&self) {
        for entry in self.entries.read().values() {
            entry.running.lock().cancel();
        }
    }

    /// Ends the sessions of every user that `gone` names, as `pg_terminate_backend` does.
    pub fn terminate_users(&self, gone: impl Fn(UserId) -> bool) {
        for entry in self.entries.read().values() {
            if gone(entry.facts.lock().user) {
                entry.terminate.cancel();
                entry.running.lock().cancel();
            }
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.entries.read().len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a session's newest transaction.
    pub fn transaction_of(&self, pid: i32) -> Option<TxnId> {
        let entries = self.entries.read();
        entries.get(&pid).map(|entry| TxnId(entry.transaction.load(Ordering::Relaxed)))
    }

    /// The session whose transaction this is.
    pub fn pid_of(&self, transaction: TxnId) -> Option<i32> {
        let entries = self.entries.read();
        let is_it = |entry: &Entry| entry.transaction.load(Ordering::Relaxed) == transaction.0;
        entries.iter().find(|(_, entry)| is_it(entry)).map(|(pid, _)| *pid)
    }

    /// Every session's facts, by process id.
    pub fn facts(&self) -> Vec<SessionFacts> {
        self.entries.read().values().map(|entry| entry.facts.lock().clone()).collect()
    }
}

/// Compares without telling by its time how much was right.
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    ours.iter().zip(theirs).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

impl Registered {
    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }
    /// The cancel key.
    pub fn key(&self) -> [u8; KEY_BYTES] {
        self.entry.key
    }
    /// Where the client connects from.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.entry.facts.lock().address
    }
    /// Resolves when the session must end.
    pub fn terminated(&self) -> &CancellationToken {
        &self.entry.terminate
    }

    /// A statement begins: its token, which a cancel request fires. An older request does not reach it.
    pub fn begin(&self, query: &str, deadline: Option<Instant>) -> CancellationToken {
        let token = CancellationToken::new();
        *self.entry.running.lock() = token.clone();
        *self.entry.deadline.lock() = deadline;
        let now = clock::now_us();
        let mut facts = self.entry.facts.lock();
        facts.activity = Activity::Active;
        facts.state_changed_at = now;
        facts.query_started_at = Some(now);
        facts.query.clear();
        let cut = query.floor_char_boundary(QUERY_BYTES_MAX.min(query.len()));
        facts.query.push_str(&query[..cut]);
        token
    }

    /// The text of the statement that runs now, cut as `pg_stat_activity` shows it.
    pub fn query(&self) -> String {
        self.entry.facts.lock().query.clone()
    }

    /// A transaction begins.
    pub fn set_transaction(&self, transaction: TxnId) {
        self.entry.transaction.store(transaction.0, Ordering::Relaxed);
    }

    /// When the time of the statement that runs now is over.
    pub fn deadline(&self) -> Option<Instant> {
        *self.entry.deadline.lock()
    }

    /// The token of the statement that runs now (or ran last).
    pub fn running(&self) -> CancellationToken {
        self.entry.running.lock().clone()
    }

    /// What the session does now.
    pub fn set_activity(&self, activity: Activity, transaction_started_at: Option<i64>) {
        let mut facts = self.entry.facts.lock();
        facts.activity = activity;
        facts.transaction_started_at = transaction_started_at;
        facts.state_changed_at = clock::now_us();
    }

    /// The user's role was changed.
    pub fn set_role(&self, role: Role) {
        self.entry.facts.lock().role = role;
    }

    /// application_name was set.
    pub fn set_application(&self, name: &str) {
        self.entry.facts.lock().application = name.to_string();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // A function that waits on a thread for plans must hear that nobody reads its answer.
        self.entry.running.lock().cancel();
        self.registry.advisory.forget(self.pid);
        self.registry.entries.write().remove(&self.pid);
    }
}
