//! One session's state: who it is, its settings, its transaction, its prepared statements and portals.
//!
//! The transaction state machine is PostgreSQL's (manual 55.2.2.1, 55.2.3): outside a block every statement, or every
//! pipeline up to Sync, runs in an implicit transaction; inside a block an error makes it failed, and only its end or
//! ROLLBACK TO leads on. Everything that a rollback takes back besides rows (settings, pending LISTENs and NOTIFYs)
//! is marked and cut here, so that no statement can forget it.

use crate::error;
use crate::hall::Hall;
use crate::referential::{Referential, ReferentialMark};
use crate::registry::{Activity, Registered};
use crate::reply::{OutputColumn, Rows, TransactionStatus};
use crate::resolve;
use crate::sequence::SessionSequences;
use crate::settings::{Basis, Derived, Settings, SettingsMark};
use crate::system::{self, SystemFacts, names::CatalogView};
use arrow_array::RecordBatch;
use kalamdb_auth::Identity;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType, TableId, clock};
use kalamdb_live::{LiveId, Outbox};
use kalamdb_sql::bind::bound::{Bound, Need};
use kalamdb_sql::parse::Parsed;
use kalamdb_sql::statement::{IsolationLevel, TransactionModes};
use kalamdb_store::{Catalog, Durability, Isolation, Mark, ReadView, Transaction, TxnId, UserDef};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The most prepared statements a session keeps (53400 beyond it): a client that leaks them must not eat the server.
const PREPARED_MAX: usize = 10_000;
/// The most portals and cursors open at once, for the same reason.
const PORTALS_MAX: usize = 1_000;

/// One session's state.
pub(crate) struct Standing {
    /// The house's rooms that statements use.
    pub hall: Arc<Hall>,
    /// Who the session acts as, by the user's record as it was when the running statement arrived.
    pub identity: Arc<Identity>,
    /// The record that `identity` was read from.
    user: Arc<UserDef>,
    /// Its place in the registry.
    pub registered: Registered,
    /// Our own address on the connection, for `inet_server_addr()`.
    pub local_address: Option<std::net::SocketAddr>,
    /// Its settings; functions (`set_config`) change them too.
    pub settings: Arc<Mutex<Settings>>,
    /// What reaches the client unasked.
    pub outbox: Outbox,
    /// NOTICEs and WARNINGs that wait to be sent.
    pub notices: Arc<Mutex<Vec<SqlError>>>,
    /// Its prepared statements, by name; the unnamed one is "".
    pub prepared: Arc<HashMap<String, Arc<Prepared>>>,
    /// Its portals and cursors.
    pub portals: HashMap<String, Portal>,
    /// What it remembers of sequences; functions (`nextval`) change it.
    pub sequences: Arc<Mutex<SessionSequences>>,
    /// NOTIFYs of the running transaction, in order.
    pub notifies: Arc<Mutex<Vec<(String, String)>>>,
    /// Whether the running transaction may have taken advisory locks of its own.
    pub takes_advisory: Arc<AtomicBool>,
    /// LISTEN and UNLISTEN of the running transaction: they take effect at COMMIT. Live queries that it began stand
    /// among them: a rollback ends them.
    pub listens: Vec<ListenChange>,
    /// What the running transaction owes to foreign keys.
    pub referential: Referential,
    /// The running transaction drops a user: its sessions end at COMMIT.
    pub drops_users: bool,
    /// How often a channel or live query was begun: a door holds notifications back after it changed.
    pub listen_count: u64,
    block: Block,
    transaction: Option<Transaction>,
    savepoints: Vec<Savepoint>,
    at_begin: Option<SettingsMark>,
    modes: Modes,
    transaction_started_at: i64,
    statement_started_at: i64,
}

/// Where the session stands between statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Block {
    /// No transaction.
    None,
    /// A transaction that ends with the script or at Sync.
    Implicit,
    /// BEGIN was said.
    Explicit,
    /// An error happened in a block.
    Failed,
}

/// The modes of the running transaction.
#[derive(Clone, Copy, Debug)]
struct Modes {
    isolation: Isolation,
    read_only: bool,
}

struct Savepoint {
    name: String,
    mark: Mark,
    settings: SettingsMark,
    notifies: usize,
    listens: usize,
    referential: ReferentialMark,
    advisory: usize,
}

/// What COMMIT does to the session's channels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ListenChange {
    /// LISTEN
    Listen(String),
    /// UNLISTEN
    Unlisten(String),
    /// UNLISTEN *
    UnlistenAll,
    /// A live query, which runs already.
    Follow(LiveId),
}

/// A prepared statement.
pub(crate) struct Prepared {
    /// The statement and its text.
    pub parsed: Parsed,
    /// The bound tree, for queries and DML.
    pub bound: Option<Arc<Bound>>,
    /// The parameter types.
    pub parameters: Vec<PgType>,
    /// What the client declared.
    pub declared: Vec<Option<SqlType>>,
    /// The result's columns; `None` for no result set.
    pub columns: Option<Arc<[OutputColumn]>>,
    /// The fast way to its source, if it has one.
    pub point: Option<crate::point::Point>,
    /// What binding read: a change means binding again.
    pub basis: Basis,
    /// The same of users' types.
    pub types_version: u64,
    /// PREPARE (true) or Parse.
    pub by_sql: bool,
    /// The statement that prepared it.
    pub source: String,
    /// When, microseconds since 1970 UTC.
    pub prepared_at: i64,
    /// How often it was executed.
    pub executed: AtomicI64,
}

impl Prepared {
    /// The bound tree of a query or DML.
    ///
    /// # Errors
    /// XX000 for another statement.
    pub fn query(&self) -> Result<&Arc<Bound>> {
        self.bound.as_ref().ok_or_else(|| SqlError::internal("a query without a bound tree"))
    }
}

/// A portal or cursor.
pub(crate) struct Portal {
    /// Its statement.
    pub prepared: Arc<Prepared>,
    /// The parameter values.
    pub values: Arc<Vec<Datum>>,
    /// The result formats as Bind gave them.
    pub formats: Vec<i16>,
    /// How far it is.
    pub state: PortalState,
    /// A SQL cursor's text, and whether it outlives the transaction.
    pub cursor: Option<CursorFacts>,
}

impl Portal {
    /// Whether it still reads, or will.
    pub fn is_open(&self) -> bool {
        match &self.cursor {
            Some(cursor) => !cursor.hold,
            None => matches!(self.state, PortalState::Suspended(..) | PortalState::Running),
        }
    }

    /// What its statement touches.
    pub fn needs(&self) -> &[Need] {
        self.prepared.bound.as_ref().map_or(&[][..], |bound| &bound.needs)
    }
}

/// What is known of a cursor.
#[derive(Clone, Debug)]
pub(crate) struct CursorFacts {
    /// The whole result, kept: rows before and after the position.
    pub rows: Arc<Vec<RecordBatch>>,
    /// The number of rows.
    pub count: i64,
    /// The position: 0 is before the first row.
    pub position: i64,
    /// WITH HOLD
    pub hold: bool,
    /// Whether backward movement is allowed.
    pub scroll: bool,
    /// BINARY
    pub binary: bool,
    /// The DECLARE as it was written.
    pub statement: String,
    /// When it was declared, microseconds since 1970 UTC.
    pub created_at: i64,
    /// Whose rows the result holds one by one, and the place of their keys in it: for WHERE CURRENT OF.
    pub keys: Vec<(TableId, usize)>,
    /// For one of the running transaction: how many savepoints it was declared behind.
    pub depth: Option<usize>,
}

/// How far a portal is.
pub(crate) enum PortalState {
    /// Not run yet.
    Ready,
    /// Stopped at a row limit, with the rest of the batch.
    Suspended(Rows, Option<RecordBatch>),
    /// Being read by the door.
    Running,
    /// Ran to its end.
    Done,
}

/// A cursor in pg_cursors.
fn cursor_row((name, portal): (&String, &Portal)) -> Option<system::CursorRow> {
    let cursor = portal.cursor.as_ref()?;
    Some(system::CursorRow {
        name: name.clone(),
        statement: cursor.statement.clone(),
        is_holdable: cursor.hold,
        is_binary: cursor.binary,
        is_scrollable: cursor.scroll,
        created_at: cursor.created_at,
    })
}

/// A statement in pg_prepared_statements.
fn prepared_row((name, prepared): (&String, &Arc<Prepared>)) -> system::PreparedRow {
    system::PreparedRow {
        name: name.clone(),
        statement: prepared.source.clone(),
        prepared_at: prepared.prepared_at,
        parameters: prepared.parameters.iter().map(|ty| ty.ty).collect(),
        by_sql: prepared.by_sql,
        executed: prepared.executed.load(Ordering::Relaxed),
    }
}

impl Standing {
    /// A session's state at its start.
    pub fn new(
        hall: Arc<Hall>,
        user: Arc<UserDef>,
        registered: Registered,
        settings: Settings,
        outbox: Outbox,
    ) -> Self {
        let now = clock::now_us();
        Self {
            hall,
            identity: Arc::new(identity_of(&user)),
            user,
            registered,
            local_address: None,
            settings: Arc::new(Mutex::new(settings)),
            outbox,
            notices: Arc::default(),
            prepared: Arc::default(),
            portals: HashMap::new(),
            sequences: Arc::default(),
            notifies: Arc::default(),
            takes_advisory: Arc::default(),
            listens: Vec::new(),
            referential: Referential::default(),
            drops_users: false,
            listen_count: 0,
            block: Block::None,
            transaction: None,
            savepoints: Vec::new(),
            at_begin: None,
            modes: Modes { isolation: Isolation::ReadCommitted, read_only: false },
            transaction_started_at: now,
            statement_started_at: now,
        }
    }

    /// PostgreSQL's transaction indicator.
    pub fn status(&self) -> TransactionStatus {
        match self.block {
            Block::None | Block::Implicit => TransactionStatus::Idle,
            Block::Explicit => TransactionStatus::InBlock,
            Block::Failed => TransactionStatus::Failed,
        }
    }

    /// Whether a block was begun (and not failed).
    pub fn in_block(&self) -> bool {
        self.block == Block::Explicit
    }

    /// Whether a transaction runs that ends with the script or at Sync.
    pub fn is_implicit(&self) -> bool {
        self.block == Block::Implicit
    }

    /// Whether an error waits for the block's end.
    pub fn is_failed(&self) -> bool {
        self.block == Block::Failed
    }

    /// The start of the transaction, and of the statement (microseconds since 1970 UTC).
    pub fn started_at(&self) -> (i64, i64) {
        (self.transaction_started_at, self.statement_started_at)
    }

    /// A statement arrives: its clock reading, and who asks.
    ///
    /// # Errors
    /// As [`Standing::renew_identity`].
    pub fn arrive(&mut self) -> Result<()> {
        self.statement_started_at = clock::now_us();
        if self.block == Block::None {
            self.transaction_started_at = self.statement_started_at;
        }
        self.renew_identity()
    }

    /// The user as the published catalog has it now: a change of role is in force from the next statement on, and a
    /// dropped user's session ends.
    ///
    /// # Errors
    /// 57P01 for a dropped user.
    pub fn renew_identity(&mut self) -> Result<()> {
        let published = self.hall.store.published();
        let Some(now) = published.catalog.user(self.user.id).filter(|user| user.deleted_at.is_none()) else {
            self.registered.terminated().cancel();
            return Err(error::terminated());
        };
        if Arc::ptr_eq(now, &self.user) {
            return Ok(());
        }
        self.user = now.clone();
        let identity = identity_of(now);
        if identity != *self.identity {
            self.registered.set_role(identity.role);
            self.identity = Arc::new(identity);
        }
        Ok(())
    }

    /// Whether the user's record is still the one that the running statement was judged by.
    pub fn is_user_current(&self) -> bool {
        let published = self.hall.store.published();
        published.catalog.user(self.user.id).is_some_and(|now| Arc::ptr_eq(now, &self.user))
    }

    /// The running transaction; an implicit one begins if there is none.
    pub fn transaction(&mut self) -> &mut Transaction {
        self.touch();
        let (hall, isolation) = (&self.hall, self.modes.isolation);
        let registered = &self.registered;
        self.transaction.get_or_insert_with(|| {
            let transaction = hall.store.begin(isolation);
            registered.set_transaction(transaction.id());
            transaction
        })
    }

    /// The running transaction's number.
    pub fn transaction_id(&self) -> Option<TxnId> {
        self.transaction.as_ref().map(Transaction::id)
    }

    /// Makes sure that a transaction is running in which effects can wait for COMMIT.
    pub fn touch(&mut self) {
        if self.block == Block::None {
            self.open(Block::Implicit);
        }
    }

    /// LISTEN or UNLISTEN, which wait for COMMIT, or a live query that was begun.
    pub fn pend_listen(&mut self, change: ListenChange) {
        self.touch();
        self.listens.push(change);
    }

    /// `pg_notify` and NOTIFY: it waits for COMMIT. The same message twice in a transaction is one (PostgreSQL
    /// manual, NOTIFY).
    pub fn pend_notify(&mut self, channel: &str, payload: &str) {
        self.touch();
        let message = (channel.to_string(), payload.to_string());
        let mut notifies = self.notifies.lock();
        if !notifies.contains(&message) {
            notifies.push(message);
        }
    }

    /// The running transaction's modes, for AND CHAIN.
    pub fn modes(&self) -> TransactionModes {
        let isolation = match self.modes.isolation {
            Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
            Isolation::RepeatableRead => IsolationLevel::RepeatableRead,
        };
        TransactionModes { isolation: Some(isolation), read_only: Some(self.modes.read_only), deferrable: None }
    }

    fn open(&mut self, block: Block) {
        self.at_begin = Some(self.settings.lock().mark());
        let derived = self.derived();
        let isolation = match derived.default_isolation.as_str() {
            "repeatable read" | "serializable" => Isolation::RepeatableRead,
            _ => Isolation::ReadCommitted,
        };
        self.modes = Modes { isolation, read_only: derived.default_read_only };
        self.block = block;
    }

    /// Starts the next statement of the transaction: READ COMMITTED takes the newest published state.
    ///
    /// # Errors
    /// What the store says.
    pub fn begin_statement(&mut self) -> Result<()> {
        Ok(self.transaction().begin_statement()?)
    }

    /// Back to the statement's start, its locks kept, with a new snapshot.
    ///
    /// # Errors
    /// What the store says.
    pub fn restart_statement(&mut self) -> Result<()> {
        self.referential.restart_statement();
        Ok(self.transaction().restart_statement()?)
    }

    /// Lends the transaction to a plan that locks rows; [`Standing::give_back`] returns it.
    pub fn lend_transaction(&mut self) -> Option<Transaction> {
        self.transaction.take()
    }

    /// See [`Standing::lend_transaction`].
    pub fn give_back(&mut self, transaction: Option<Transaction>) {
        self.transaction = transaction;
    }

    /// The read view of the running statement.
    pub fn view(&mut self) -> ReadView {
        self.transaction().view()
    }

    /// The catalog as the session sees it: its own uncommitted definitions included.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.transaction.as_ref().map_or_else(|| self.hall.store.published().catalog.clone(), Transaction::catalog)
    }

    /// Names as the session sees them.
    pub fn names(&self) -> CatalogView {
        let path = self.derived().basis.search_path.clone();
        CatalogView::new(self.catalog(), path, self.identity.clone(), self.hall.store.clone(), resolve::JUDGE)
    }

    /// The facts as a statement of this session sees them.
    pub fn system_facts(&self, view: &ReadView) -> SystemFacts {
        let hall = self.hall.clone();
        let identity = self.identity.clone();
        let catalog = view.catalog().clone();
        let settings = self.settings.clone();
        let path = self.derived().basis.search_path.clone();
        let prepared = self.prepared.clone();
        let cursors: Vec<system::CursorRow> = self.portals.iter().filter_map(cursor_row).collect();
        SystemFacts {
            facts: Arc::new(move || system::Facts {
                catalog: catalog.clone(),
                identity: identity.clone(),
                sessions: hall.registry.facts(),
                advisory_locks: hall.registry.advisory.shown(),
                live: hall.live.queries(),
                jobs: hall.store.jobs(),
                store: hall.store.clone(),
                settings: settings.lock().clone(),
                search_path: path.clone(),
                judge: resolve::JUDGE,
                prepared: prepared.iter().map(prepared_row).collect(),
                cursors: cursors.clone(),
                started_at: hall.started_at,
            }),
        }
    }

    /// What statements ask of the settings, as they are now.
    pub fn derived(&self) -> Arc<Derived> {
        self.settings.lock().derived(self.identity.name.as_str())
    }

    /// Whether a statement may write: no need to let it work when its commit must fail.
    ///
    /// # Errors
    /// 25006 in a read-only transaction; 53100 or 58030 when the store takes no more writes.
    pub fn writable(&self, command: &str) -> Result<()> {
        self.not_read_only(command)?;
        Ok(self.hall.store.takes_writes()?)
    }

    /// 25006 in a read-only transaction.
    ///
    /// # Errors
    /// 25006
    pub fn not_read_only(&self, command: &str) -> Result<()> {
        // What no block surrounds begins a transaction of its own.
        let read_only = if self.block == Block::None { self.derived().default_read_only } else { self.modes.read_only };
        if read_only {
            return Err(SqlError::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {command} in a read-only transaction"),
            ));
        }
        Ok(())
    }

    /// 25001 inside a block (or a script of several statements, when `single` is false).
    ///
    /// # Errors
    /// 25001
    pub fn outside_block(&self, command: &str, single: bool) -> Result<()> {
        if self.block == Block::Explicit || !single {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{command} cannot run inside a transaction block"),
            ));
        }
        Ok(())
    }

    /// 25P01 outside a block.
    ///
    /// # Errors
    /// 25P01
    pub fn inside_block(&self, command: &str) -> Result<()> {
        if matches!(self.block, Block::Explicit | Block::Failed) {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            format!("{command} can only be used in transaction blocks"),
        ))
    }

    /// BEGIN. Inside a block it only warns. What an implicit transaction did so far becomes part of the block.
    ///
    /// # Errors
    /// As [`Standing::set_modes`].
    pub fn begin_block(&mut self, modes: TransactionModes) -> Result<()> {
        match self.block {
            Block::Explicit | Block::Failed => {
                self.warn(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress");
            }
            Block::None => self.open(Block::Explicit),
            Block::Implicit => self.block = Block::Explicit,
        }
        self.set_modes(modes)
    }

    /// SET TRANSACTION.
    ///
    /// # Errors
    /// 25001 for an isolation level after the first query, 0A000 for SERIALIZABLE.
    pub fn set_modes(&mut self, modes: TransactionModes) -> Result<()> {
        if let Some(level) = modes.isolation {
            let isolation = isolation(level)?;
            if isolation != self.modes.isolation && self.transaction.is_some() {
                return Err(SqlError::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                ));
            }
            self.modes.isolation = isolation;
        }
        if let Some(read_only) = modes.read_only {
            if self.modes.read_only && !read_only && self.transaction.is_some() {
                return Err(SqlError::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "transaction read-write mode must be set before any query",
                ));
            }
            self.modes.read_only = read_only;
        }
        Ok(())
    }

    /// `SHOW transaction_isolation` and its kin, which no setting holds.
    pub fn transaction_setting(&self, name: &str) -> Option<String> {
        let settings = self.settings.lock();
        let running = self.block != Block::None;
        match name.to_ascii_lowercase().as_str() {
            "transaction_isolation" if running => Some(
                match self.modes.isolation {
                    Isolation::ReadCommitted => "read committed",
                    Isolation::RepeatableRead => "repeatable read",
                }
                .to_string(),
            ),
            "transaction_isolation" => settings.get("default_transaction_isolation"),
            "transaction_read_only" if running => Some(if self.modes.read_only { "on" } else { "off" }.to_string()),
            "transaction_read_only" => settings.get("default_transaction_read_only"),
            _ => None,
        }
    }

    /// COMMIT. `false`: the block had failed and was rolled back.
    ///
    /// # Errors
    /// The committer's: then everything is rolled back, or (08007) the outcome is unknown.
    pub async fn commit(&mut self) -> Result<bool> {
        if self.block == Block::Failed {
            self.rollback();
            return Ok(false);
        }
        let transaction = self.transaction.take();
        let notifies = std::mem::take(&mut *self.notifies.lock());
        let listens = std::mem::take(&mut self.listens);
        // Listening begins before the commit, so that its own notifications are heard; a failed commit ends it again.
        let heard_before = self.outbox.channels();
        for change in &listens {
            if let ListenChange::Listen(channel) = change {
                self.outbox.listen(channel);
            }
        }
        let durability = if self.derived().is_synchronous { Durability::Synced } else { Durability::Unsynced };
        let result = match (transaction, notifies.is_empty()) {
            (None, true) => Ok(()),
            (transaction, _) => {
                let mut transaction = match transaction {
                    Some(transaction) => transaction,
                    None => self.hall.store.begin(Isolation::ReadCommitted),
                };
                for (channel, payload) in &notifies {
                    transaction.notify(channel, payload, self.registered.pid());
                }
                transaction.commit(durability).await.map(drop)
            }
        };
        if let Err(error) = result {
            for change in &listens {
                if let ListenChange::Listen(channel) = change
                    && !heard_before.contains(channel)
                {
                    self.outbox.unlisten(channel, &followed(&listens));
                }
            }
            self.listens = listens;
            self.rollback();
            return Err(error.into());
        }
        self.apply_listens(listens);
        if self.drops_users {
            let catalog = self.hall.store.published().catalog.clone();
            let is_gone = |user| catalog.user(user).is_none_or(|user| user.deleted_at.is_some());
            self.hall.registry.terminate_users(is_gone);
        }
        self.settings.lock().end_local();
        self.close_transaction();
        Ok(true)
    }

    fn apply_listens(&mut self, listens: Vec<ListenChange>) {
        for (at, change) in listens.iter().enumerate() {
            match change {
                ListenChange::Listen(channel) => {
                    self.listen_count += 1;
                    self.outbox.listen(channel);
                }
                ListenChange::Unlisten(channel) => self.outbox.unlisten(channel, &followed(&listens[at..])),
                ListenChange::UnlistenAll => self.outbox.unlisten_all(&followed(&listens[at..])),
                ListenChange::Follow(_) => {}
            }
        }
    }

    /// Takes back what was said of channels behind this mark: live queries that were begun there end.
    fn cut_listens(&mut self, mark: usize) {
        let cut = self.listens.split_off(mark.min(self.listens.len()));
        for query in followed(&cut) {
            self.outbox.take_back(query);
        }
    }

    /// Whether the running transaction began a live query: its events wait until the transaction ends.
    pub fn holds_events(&self) -> bool {
        self.listens.iter().any(|change| matches!(change, ListenChange::Follow(_)))
    }

    /// ROLLBACK, and what an error does to an implicit transaction.
    pub fn rollback(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.rollback();
        }
        if let Some(mark) = self.at_begin.take() {
            self.settings.lock().back_to(&mark);
        }
        self.settings.lock().end_local();
        self.notifies.lock().clear();
        self.cut_listens(0);
        // What the transaction declared ends with it, held or not.
        self.portals.retain(|_, portal| portal.cursor.as_ref().is_some_and(|cursor| cursor.depth.is_none()));
        self.close_transaction();
    }

    fn close_transaction(&mut self) {
        self.block = Block::None;
        self.transaction = None;
        self.at_begin = None;
        self.drops_users = false;
        self.referential = Referential::default();
        self.savepoints.clear();
        self.give_advisory_back(0);
        self.takes_advisory.store(false, Ordering::Relaxed);
        // PostgreSQL manual 55.2.3: all portals end with the transaction, but for holdable cursors.
        self.portals.retain(|_, portal| portal.cursor.as_ref().is_some_and(|cursor| cursor.hold));
        self.portals.values_mut().filter_map(|portal| portal.cursor.as_mut()).for_each(|cursor| cursor.depth = None);
        self.registered.set_activity(Activity::Idle, None);
    }

    /// Gives back the advisory locks that the transaction took since a mark.
    fn give_advisory_back(&self, mark: usize) {
        // All sessions share them: who took none asks nobody.
        if self.takes_advisory.load(Ordering::Relaxed) {
            self.hall.registry.advisory.back_to(self.registered.pid(), mark);
        }
    }

    /// The implicit transaction ends (at Sync, or with the script's last statement).
    ///
    /// # Errors
    /// As [`Standing::commit`].
    pub async fn settle(&mut self) -> Result<()> {
        if self.block == Block::Implicit {
            self.commit().await?;
        }
        Ok(())
    }

    /// An error happened in the running statement.
    pub fn fail(&mut self) {
        match self.block {
            Block::None => self.portals.retain(|_, portal| portal.cursor.is_some()),
            Block::Implicit => self.rollback(),
            Block::Explicit | Block::Failed => {
                self.block = Block::Failed;
                // PostgreSQL gives a failed transaction's locks back at once; with a savepoint it may live again.
                if self.savepoints.is_empty()
                    && let Some(transaction) = self.transaction.take()
                {
                    transaction.rollback();
                    self.give_advisory_back(0);
                }
            }
        }
    }

    /// Between statements: what `pg_stat_activity` shows.
    pub fn show_idle(&self) {
        let (activity, since) = match self.block {
            Block::None | Block::Implicit => (Activity::Idle, None),
            Block::Explicit => (Activity::IdleInTransaction, Some(self.transaction_started_at)),
            Block::Failed => (Activity::IdleInFailed, Some(self.transaction_started_at)),
        };
        self.registered.set_activity(activity, since);
    }

    /// SAVEPOINT
    pub fn savepoint(&mut self, name: String) {
        let mark = self.transaction().savepoint();
        let savepoint = Savepoint {
            name,
            mark,
            settings: self.settings.lock().mark(),
            notifies: self.notifies.lock().len(),
            listens: self.listens.len(),
            referential: self.referential.mark(),
            advisory: match self.takes_advisory.load(Ordering::Relaxed) {
                true => self.hall.registry.advisory.mark(self.registered.pid()),
                false => 0,
            },
        };
        self.savepoints.push(savepoint);
    }

    /// RELEASE
    ///
    /// # Errors
    /// 3B001
    pub fn release(&mut self, name: &str) -> Result<()> {
        let at = self.savepoint_at(name)?;
        self.savepoints.truncate(at);
        // What was declared behind the savepoint now belongs to what is around it.
        for cursor in self.portals.values_mut().filter_map(|portal| portal.cursor.as_mut()) {
            cursor.depth = cursor.depth.map(|depth| depth.min(at));
        }
        Ok(())
    }

    /// ROLLBACK TO: the savepoint stays, and a failed block lives again.
    ///
    /// # Errors
    /// 3B001
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        let at = self.savepoint_at(name)?;
        self.savepoints.truncate(at + 1);
        let savepoint = &self.savepoints[at];
        if let Some(transaction) = &mut self.transaction {
            transaction.rollback_to(savepoint.mark);
        }
        self.settings.lock().back_to(&savepoint.settings);
        self.referential.back_to(&savepoint.referential);
        self.notifies.lock().truncate(savepoint.notifies);
        self.give_advisory_back(savepoint.advisory);
        let listens = savepoint.listens;
        self.cut_listens(listens);
        let stays = |cursor: &CursorFacts| cursor.depth.is_none_or(|depth| depth <= at);
        self.portals.retain(|_, portal| portal.cursor.as_ref().is_none_or(stays));
        self.block = Block::Explicit;
        Ok(())
    }

    /// How many savepoints there are.
    pub fn savepoint_count(&self) -> usize {
        self.savepoints.len()
    }

    fn savepoint_at(&self, name: &str) -> Result<usize> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            SqlError::new(SqlState::S_E_INVALID_SPECIFICATION, format!("savepoint \"{name}\" does not exist"))
        })
    }

    /// A WARNING for the client.
    pub fn warn(&mut self, state: SqlState, message: &str) {
        self.notices.lock().push(SqlError::new(state, message));
    }

    /// A NOTICE for the client.
    pub fn notice(&mut self, message: String) {
        self.notices.lock().push(SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message));
    }

    /// Closes a prepared statement; none is no error.
    pub fn forget_prepared(&mut self, name: &str) {
        if self.prepared.contains_key(name) {
            Arc::make_mut(&mut self.prepared).remove(name);
        }
    }

    /// A NOTICE with a detail or a hint.
    pub fn notice_of(&mut self, notice: SqlError) {
        self.notices.lock().push(notice);
    }

    /// Keeps a prepared statement.
    ///
    /// # Errors
    /// 42P05 for a name that is taken, 53400 beyond the bound.
    pub fn keep_prepared(&mut self, name: &str, prepared: Prepared) -> Result<()> {
        if !name.is_empty() && self.prepared.contains_key(name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_PSTATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        if self.prepared.len() >= PREPARED_MAX {
            return Err(SqlError::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many prepared statements"));
        }
        Arc::make_mut(&mut self.prepared).insert(name.to_string(), Arc::new(prepared));
        Ok(())
    }

    /// A prepared statement.
    ///
    /// # Errors
    /// 26000
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.prepared.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_string(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            SqlError::new(SqlState::UNDEFINED_PSTATEMENT, message)
        })
    }

    /// Opens a portal. The unnamed one replaces its predecessor.
    ///
    /// # Errors
    /// 42P03 for a name that is taken, 53400 beyond the bound.
    pub fn keep_portal(&mut self, name: &str, portal: Portal) -> Result<()> {
        if !name.is_empty() && self.portals.contains_key(name) {
            return Err(SqlError::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= PORTALS_MAX {
            return Err(SqlError::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many open portals"));
        }
        self.portals.insert(name.to_string(), portal);
        Ok(())
    }

    /// A portal, as the protocol calls it.
    ///
    /// # Errors
    /// 34000
    pub fn portal(&mut self, name: &str) -> Result<&mut Portal> {
        self.called(name, "portal")
    }

    /// The same, as SQL calls it.
    ///
    /// # Errors
    /// 34000
    pub fn cursor(&mut self, name: &str) -> Result<&mut Portal> {
        self.called(name, "cursor")
    }

    fn called(&mut self, name: &str, word: &str) -> Result<&mut Portal> {
        let missing = || SqlError::new(SqlState::UNDEFINED_CURSOR, format!("{word} \"{name}\" does not exist"));
        self.portals.get_mut(name).ok_or_else(missing)
    }

    /// 25P02 in a failed block.
    ///
    /// # Errors
    /// 25P02
    pub fn not_failed(&self) -> Result<()> {
        if self.is_failed() { Err(error::in_failed_transaction()) } else { Ok(()) }
    }
}

/// The live queries among these.
fn followed(listens: &[ListenChange]) -> Vec<LiveId> {
    let query = |change: &ListenChange| match change {
        ListenChange::Follow(query) => Some(*query),
        _ => None,
    };
    listens.iter().filter_map(query).collect()
}

fn identity_of(user: &UserDef) -> Identity {
    Identity { user: user.id, name: user.name.clone(), role: user.role }
}

fn isolation(level: IsolationLevel) -> Result<Isolation> {
    match level {
        IsolationLevel::ReadUncommitted | IsolationLevel::ReadCommitted => Ok(Isolation::ReadCommitted),
        IsolationLevel::RepeatableRead => Ok(Isolation::RepeatableRead),
        // Never silently weaker than asked.
        IsolationLevel::Serializable => Err(SqlError::unsupported("isolation level SERIALIZABLE")
            .with_hint("Use REPEATABLE READ, with explicit locks where transactions depend on each other's reads.")),
    }
}
