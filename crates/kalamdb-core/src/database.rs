//! The database: everything that is one for all sessions, complete when it is constructed.

use crate::hall::{Hall, INDEXES_KEPT, LoginRules, Running};
use crate::jobs;
use crate::login::{self, Challenge, Peer};
use crate::plan::{Engine, EngineOptions};
use crate::registry::Registry;
use crate::snowflake::Snowflakes;
use ipnet::IpNet;
use kalamdb_auth::token::Issuer;
use kalamdb_commons::ids::ROOT;
use kalamdb_commons::{Result, Role, UserName, clock};
use kalamdb_live::Live;
use kalamdb_store::{Change, Durability, Isolation, Login, Store, UserDef};
use lru::LruCache;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the data is.
    pub data_dir: PathBuf,
    /// The most sessions at once.
    pub sessions_max: usize,
    /// Memory for running queries, in bytes.
    pub memory_limit_bytes: usize,
    /// The token issuers that are trusted.
    pub issuers: Vec<Issuer>,
    /// Networks from which `system` users may log in.
    pub system_login_from: Vec<IpNet>,
    /// The node's number in snowflake ids (0 to 1023).
    pub node: u16,
    /// Opens although the log is damaged in its middle, and gives up the commits behind that.
    pub accept_log_damage: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            sessions_max: 1000,
            memory_limit_bytes: 4 << 30,
            issuers: Vec::new(),
            system_login_from: loopback(),
            node: 0,
            accept_log_damage: false,
        }
    }
}

/// The loopback networks of both families.
pub fn loopback() -> Vec<IpNet> {
    let v4 = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::LOCALHOST, 8).trunc();
    let v6 = ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);
    vec![IpNet::V4(v4), IpNet::V6(v6)]
}

/// An open database.
#[derive(Clone)]
pub struct Database {
    hall: Arc<Hall>,
}

impl Database {
    /// Opens the data directory, recovers, and takes up interrupted jobs. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The store's: locked, damaged or newer data; I/O.
    pub fn open(options: Options) -> Result<Database> {
        let store = Store::open(kalamdb_store::Options {
            accept_log_damage: options.accept_log_damage,
            ..kalamdb_store::Options::new(&options.data_dir)
        })?;
        let engine = Engine::new(EngineOptions {
            memory_bytes: options.memory_limit_bytes,
            spill_dir: Some(options.data_dir.join("spill")),
            ..EngineOptions::default()
        })?;
        let live = Live::new(&store);
        // A snowflake is above every commit's stamp, whatever the wall clock says after a restart.
        let floor_us = store.published().stamp_us;
        let login = LoginRules::new(options.issuers, options.system_login_from);
        let hall = Arc::new(Hall {
            store,
            engine,
            registry: Registry::new(options.sessions_max),
            live,
            login,
            running: Running::default(),
            snowflake: Snowflakes::new(options.node, floor_us),
            indexes: Mutex::new(LruCache::new(INDEXES_KEPT)),
            checks: Mutex::new(LruCache::new(INDEXES_KEPT)),
            generated: Mutex::new(LruCache::new(INDEXES_KEPT)),
            started_at: clock::now_us(),
        });
        jobs::keep_tidy(&hall)?;
        jobs::resume(&hall);
        Ok(Database { hall })
    }

    /// Whether there is no root user yet: the first start.
    pub fn needs_bootstrap(&self) -> bool {
        self.hall.store.published().catalog.user(ROOT).is_none()
    }

    /// Creates root with this password, unless it exists (then `false`).
    ///
    /// # Errors
    /// The store's.
    pub async fn bootstrap(&self, root_password: &str) -> Result<bool> {
        if !self.needs_bootstrap() {
            return Ok(false);
        }
        let hashes = kalamdb_auth::password::hash(root_password, self.hall.login.hash_cost())?;
        let now = clock::now_us();
        let root = UserDef {
            id: ROOT,
            name: UserName::new("root"),
            role: Role::System,
            login: Login::Password { bcrypt: hashes.bcrypt, scram: hashes.scram },
            email: None,
            metadata: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        let mut transaction = self.hall.store.begin(Isolation::ReadCommitted);
        transaction.begin_statement()?;
        transaction.define(Change::PutUser(root))?;
        transaction.commit(Durability::Synced).await?;
        Ok(true)
    }

    /// A cancel request: stops what that session runs, if the key is right. Never answers.
    pub fn cancel(&self, pid: i32, key: &[u8]) {
        self.hall.registry.cancel(pid, key);
    }

    /// Ends every session when its transaction is finished, stops what still runs after `grace`, closes the store.
    pub async fn shutdown(&self, grace: Duration) {
        self.hall.registry.terminate_all();
        let deadline = tokio::time::Instant::now() + grace;
        while !self.hall.registry.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.hall.registry.cancel_all();
        self.hall.store.shutdown().await;
    }

    /// What this user must show from this place.
    ///
    /// # Errors
    /// 28000 when no user name was given.
    pub fn challenge(&self, user_name: &str, peer: &Peer) -> Result<Challenge> {
        login::challenge(&self.hall, user_name, peer)
    }
}
