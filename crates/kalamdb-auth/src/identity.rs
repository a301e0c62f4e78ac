//! The outcome of every login.

use kalamdb_commons::{Role, SqlError, SqlState, UserId, UserName};

/// Who a session is: the number that stands in keys, the name, and the stored role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub user: UserId,
    /// The login name.
    pub name: UserName,
    /// What the user may do. It comes from the catalog; no token raises it.
    pub role: Role,
}

/// The one way in which logins fail. It holds no reason, so that none can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the login failed")]
pub struct LoginFailed;

impl LoginFailed {
    /// 28P01, in PostgreSQL's words.
    pub fn for_user(self, name: &str) -> SqlError {
        SqlError::new(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{name}\""))
    }
}
