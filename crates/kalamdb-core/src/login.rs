//! Who may come in: the user's record, the throttle, the challenge, the session.
//!
//! A failed login looks the same whatever failed: the user's name, the password, the token, a lock, the place it came
//! from. An unknown user is asked for SCRAM with a stable false verifier, so that nobody can tell by asking.

use crate::hall::Hall;
use crate::session::{Session, Startup};
use crate::settings::Settings;
use crate::settings::{DATABASE_ALIAS, DATABASE_NAME};
use crate::standing::Standing;
use kalamdb_auth::scram::Verifier;
use kalamdb_auth::token::{self};
use kalamdb_auth::{LoginFailed, scram};
use kalamdb_commons::{Result, Role, SqlError, SqlState, clock};
use kalamdb_store::{Login, UserDef};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Our own address on the connection.
    pub local: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

impl Peer {
    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.ip().is_loopback()
    }

    /// Its address; a local socket counts as loopback.
    fn ip(&self) -> IpAddr {
        self.address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip().to_canonical())
    }
}

/// What a client must show.
pub enum Challenge {
    /// SCRAM-SHA-256 with the verifier.
    Scram(Pending),
    /// A token as a cleartext password.
    Token(Pending),
}

/// A login that waits for its proof.
pub struct Pending {
    hall: Arc<Hall>,
    user_name: String,
    user: Option<Arc<UserDef>>,
    verifier: Verifier,
    peer: Peer,
    admissible: bool,
}

/// What this user must show from this place.
///
/// # Errors
/// 28000 when no user name was given.
pub(crate) fn challenge(hall: &Arc<Hall>, user_name: &str, peer: &Peer) -> Result<Challenge> {
    if user_name.is_empty() {
        return Err(SqlError::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    let user = hall.store.published().catalog.user_by_name(user_name).cloned();
    let rules = &hall.login;
    let mut admissible = user.is_some() && rules.throttle.admit(user_name, peer.ip(), clock::now_us()).is_ok();
    if user.as_ref().is_some_and(|user| user.role == Role::System) {
        admissible &= rules.system_login_from.iter().any(|network| network.contains(&peer.ip()));
    }
    let false_verifier = || Verifier::of_nobody(&rules.false_secret, user_name, scram::ITERATIONS_MIN);
    let (verifier, by_token) = match user.as_ref().map(|user| &user.login) {
        Some(Login::Password { scram, .. }) => match Verifier::parse(scram) {
            Some(verifier) => (verifier, false),
            None => {
                admissible = false;
                (false_verifier(), false)
            }
        },
        Some(Login::Oauth { .. }) => (false_verifier(), peer.encrypted || peer.is_loopback()),
        Some(Login::Internal) | None => {
            admissible = false;
            (false_verifier(), false)
        }
    };
    let is_token_user = matches!(user.as_ref().map(|user| &user.login), Some(Login::Oauth { .. }));
    let pending = Pending {
        hall: hall.clone(),
        user_name: user_name.to_string(),
        user,
        verifier,
        peer: *peer,
        // A token must not cross the network in the clear: such a login can only fail.
        admissible: admissible && (!is_token_user || by_token),
    };
    Ok(if by_token { Challenge::Token(pending) } else { Challenge::Scram(pending) })
}

impl Pending {
    /// What the SCRAM exchange is checked against.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The generic failure.
    fn refuse(&self) -> SqlError {
        self.hall.login.throttle.failed(&self.user_name, self.peer.ip(), clock::now_us());
        tracing::info!(user = self.user_name, address = ?self.peer.address, "a login failed");
        LoginFailed.for_user(&self.user_name)
    }

    /// The SCRAM exchange has ended.
    ///
    /// # Errors
    /// 28P01, whatever failed; then those of [`Pending::token`].
    pub async fn scram(self, passed: bool, startup: Startup) -> Result<Session> {
        match (&self.user, passed && self.admissible) {
            (Some(user), true) if matches!(user.login, Login::Password { .. }) => {
                let user = user.clone();
                self.admit(&user, startup)
            }
            _ => Err(self.refuse()),
        }
    }

    /// A token was sent.
    ///
    /// # Errors
    /// 28P01, whatever failed; 3D000 for another database's name; 53300; bad settings.
    pub async fn token(self, token: &str, startup: Startup) -> Result<Session> {
        let user = self.user.clone();
        let holds = match user.as_ref().map(|user| &user.login) {
            Some(Login::Oauth { provider, subject }) => {
                let issuers = &self.hall.login.issuers;
                self.admissible && token::check(token, issuers, provider, subject, clock::now_us()).is_ok()
            }
            _ => false,
        };
        match (user, holds) {
            (Some(user), true) => self.admit(&user, startup),
            _ => Err(self.refuse()),
        }
    }

    fn admit(self, user: &Arc<UserDef>, startup: Startup) -> Result<Session> {
        // The record may have changed since the challenge: a dropped user or a new password must not slip through.
        let now = self.hall.store.published().catalog.user(user.id).cloned();
        let Some(user) = now.filter(|now| now.deleted_at.is_none() && now.login == user.login) else {
            return Err(self.refuse());
        };
        self.hall.login.throttle.succeeded(&self.user_name);
        let database = if startup.database.is_empty() { &self.user_name } else { &startup.database };
        if database != DATABASE_NAME && database != DATABASE_ALIAS {
            return Err(SqlError::new(
                SqlState::INVALID_CATALOG_NAME,
                format!("database \"{database}\" does not exist"),
            ));
        }
        let mut settings = Settings::default();
        for (name, value) in &startup.settings {
            settings.set_at_start(name, value)?;
        }
        let application = settings.get("application_name").unwrap_or_default();
        let registered =
            self.hall.registry.register(user.id, &self.user_name, user.role, self.peer.address, application)?;
        let outbox = self.hall.live.outbox(registered.pid(), user.id);
        let mut standing = Standing::new(self.hall.clone(), user, registered, settings, outbox);
        standing.local_address = self.peer.local;
        Ok(Session::new(standing))
    }
}
