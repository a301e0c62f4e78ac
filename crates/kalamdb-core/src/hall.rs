//! What all sessions share: the rooms that statements use, and the state that outlives a session.

use crate::check::TableChecks;
use crate::generated::Generated;
use crate::index::TableIndexes;
use crate::plan::Engine;
use crate::registry::Registry;
use crate::snowflake::Snowflakes;
use ipnet::IpNet;
use kalamdb_auth::password;
use kalamdb_auth::throttle::Throttle;
use kalamdb_auth::token::Issuer;
use kalamdb_commons::TableId;
use kalamdb_live::Live;
use kalamdb_store::{Store, TableDef};
use lru::LruCache;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What statements use of the database: rooms, not a way around them.
pub(crate) struct Hall {
    pub store: Store,
    pub engine: Engine,
    pub registry: Arc<Registry>,
    pub live: Live,
    pub login: LoginRules,
    pub running: Running,
    pub snowflake: Snowflakes,
    /// Tables' indexes, compiled; with the definition that they were compiled for.
    pub indexes: Mutex<LruCache<TableId, (Arc<TableDef>, Arc<TableIndexes>)>>,
    /// The same of tables' CHECK constraints.
    pub checks: Mutex<LruCache<TableId, (Arc<TableDef>, Arc<TableChecks>)>>,
    /// Tables' generated columns, compiled; with the definition that they were compiled for.
    pub generated: Mutex<LruCache<TableId, (Arc<TableDef>, Arc<Generated>)>>,
    pub started_at: i64,
}

/// What logins are judged by.
pub(crate) struct LoginRules {
    pub issuers: Vec<Issuer>,
    pub system_login_from: Vec<IpNet>,
    pub throttle: Throttle,
    pub false_secret: [u8; 32],
}

impl LoginRules {
    pub fn new(issuers: Vec<Issuer>, system_login_from: Vec<IpNet>) -> Self {
        Self { issuers, system_login_from, throttle: Throttle::default(), false_secret: rand::random() }
    }

    /// The cost of a password's hashes.
    pub fn hash_cost(&self) -> password::Cost {
        password::Cost::default()
    }

    /// ALTER USER … UNLOCK
    pub fn unlock(&self, user: &str) {
        self.throttle.unlock(user);
    }
}

/// How many tables' indexes and CHECK constraints are kept compiled.
pub(crate) const INDEXES_KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The jobs that run now, by table.
#[derive(Default)]
pub(crate) struct Running {
    pub flushes: Mutex<HashMap<TableId, String>>,
}
