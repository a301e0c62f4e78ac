//! What all sessions share: the rooms that statements use, and the state that outlives a session.

use crate::plan::Engine;
use crate::registry::Registry;
use crate::snowflake::Snowflakes;
use ipnet::IpNet;
use kalamdb_auth::password;
use kalamdb_auth::throttle::Throttle;
use kalamdb_auth::token::Issuer;
use kalamdb_commons::TableId;
use kalamdb_live::Live;
use kalamdb_store::Store;
use parking_lot::Mutex;
use std::collections::HashMap;
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

/// The jobs that run now, by table.
#[derive(Default)]
pub(crate) struct Running {
    pub flushes: Mutex<HashMap<TableId, String>>,
}
