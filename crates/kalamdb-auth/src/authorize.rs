//! The one rule table: who may do what. Everything is refused that is not granted here.
//!
//! It is asked with an identity and plain facts, and gives a [`Granted`] that nobody else can make: whoever holds one
//! has asked. `permissions.txt` beside this file is the table as a test. Rights come from the role of the *effective*
//! user; whether a session may become another user is asked here too.

use crate::identity::Identity;
use kalamdb_commons::{AccessLevel, Role, TableType};

/// The proof that something was asked and granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    // Private: only this module makes one.
    proof: (),
}

/// Refused. What was asked is known to the caller; what would have been needed is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("permission denied")]
pub struct Denied;

/// What a statement does to a table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowAction {
    /// Reads, and live queries.
    Select,
    /// Adds.
    Insert,
    /// Changes, or locks.
    Update,
    /// Removes.
    Delete,
    /// Removes all.
    Truncate,
}

/// What the rules want to know of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its kind.
    pub kind: TableType,
    /// Its access level (SHARED tables).
    pub access: AccessLevel,
    /// Whether the identity made it.
    pub is_owner: bool,
    /// Whether this action was granted to the identity (`GRANT`).
    pub is_granted: bool,
}

/// May the identity do this to the rows that its scope shows it? In USER and STREAM tables these are its own rows, so
/// that everyone may; there is no answer that shows the rows of another.
///
/// # Errors
/// [`Denied`]
pub fn authorize(identity: &Identity, action: RowAction, facts: &ObjectFacts) -> Result<Granted, Denied> {
    decide(match facts.kind {
        TableType::User | TableType::Stream => true,
        TableType::Shared => {
            facts.is_granted
                || identity.role >= Role::Service
                || match facts.access {
                    AccessLevel::Public => action == RowAction::Select || facts.is_owner,
                    AccessLevel::Private => facts.is_owner,
                    AccessLevel::Restricted => false,
                }
        }
    })
}

/// A foreign key looks at the rows that its tables have, and changes those that its actions are about, whoever writes:
/// that is the right of the definition, which their owners made. Nothing of these rows is shown to the writer.
pub fn authorize_constraint() -> Granted {
    Granted { proof: () }
}

/// What is done to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SequenceAction {
    /// nextval
    Next,
    /// currval, lastval, and reading where it stands.
    Read,
    /// setval
    Set,
}

/// What the rules want to know of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceFacts {
    /// Whether the identity made it.
    pub is_owner: bool,
    /// The table that it belongs to.
    pub table: Option<ObjectFacts>,
}

/// May the identity do this to a sequence? Whoever may add rows to the table that it belongs to may take numbers from
/// it; to set it is its owner's, since all share it.
///
/// # Errors
/// [`Denied`]
pub fn authorize_sequence(
    identity: &Identity,
    action: SequenceAction,
    facts: &SequenceFacts,
) -> Result<Granted, Denied> {
    if facts.is_owner || identity.role >= Role::Service {
        return decide(true);
    }
    match (action, &facts.table) {
        (SequenceAction::Next | SequenceAction::Read, Some(table)) => authorize(identity, RowAction::Insert, table),
        _ => decide(false),
    }
}

/// What is not about rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminAction {
    /// CREATE TABLE, VIEW, INDEX … in a namespace: `is_granted` is CREATE on it (or having made it).
    CreateTable {
        /// CREATE on the namespace.
        is_granted: bool,
    },
    /// ALTER TABLE, ADD PRIMARY KEY …
    AlterTable {
        /// Whether the identity made the table.
        is_owner: bool,
    },
    /// DROP TABLE
    DropTable {
        /// Whether the identity made the table.
        is_owner: bool,
    },
    /// VACUUM, ANALYZE: PostgreSQL lets the owner.
    MaintainTable {
        /// Whether the identity made the table.
        is_owner: bool,
    },
    /// Flush, compact, consume topics.
    Flush,
    /// CREATE, ALTER, DROP USER of a user with this role, before and after.
    ManageUsers {
        /// The higher of the role that the user has and the one it gets.
        target: Role,
    },
    /// ALTER USER of oneself, PASSWORD only.
    OwnPassword,
    /// CREATE, ALTER, DROP NAMESPACE.
    ManageNamespaces,
    /// CREATE, ALTER, DROP STORAGE.
    ManageStorages,
    /// BACKUP, RESTORE.
    Backup,
    /// KILL JOB
    KillJob,
    /// KILL LIVE QUERY
    KillLiveQuery {
        /// Whether it is one's own.
        is_own: bool,
    },
    /// pg_cancel_backend, pg_terminate_backend.
    SignalSession {
        /// Whether the session is one's own user's.
        is_own: bool,
        /// The role of the session's user.
        target: Role,
    },
    /// Server-wide settings.
    Settings,
    /// EXECUTE AS USER, SET ROLE, SET SESSION AUTHORIZATION.
    ExecuteAs {
        /// Whether the user is oneself.
        is_self: bool,
        /// The user's role.
        target: Role,
    },
}

/// May the identity do this?
///
/// # Errors
/// [`Denied`]
pub fn authorize_admin(identity: &Identity, action: AdminAction) -> Result<Granted, Denied> {
    use AdminAction::*;
    let role = identity.role;
    let is_dba = role >= Role::Dba;
    decide(match action {
        CreateTable { is_granted } => is_dba || is_granted,
        AlterTable { is_owner } | DropTable { is_owner } => is_dba || is_owner,
        MaintainTable { is_owner } => role >= Role::Service || is_owner,
        Flush => role >= Role::Service,
        ManageUsers { target } => is_dba && (role == Role::System || target <= Role::Dba),
        OwnPassword => true,
        ManageNamespaces | ManageStorages | Backup | KillJob | Settings => is_dba,
        KillLiveQuery { is_own } => is_own || is_dba,
        SignalSession { is_own, target } => is_own || (is_dba && role >= target),
        ExecuteAs { is_self, target } => {
            is_self
                || match role {
                    Role::User => false,
                    Role::Service => target <= Role::Service,
                    Role::Dba => target <= Role::Dba,
                    Role::System => true,
                }
        }
    })
}

/// The tables of the namespace `system` whose rows not everybody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // they are DIALECT's system tables
pub enum SystemTable {
    Users,
    Namespaces,
    Tables,
    TableSchemas,
    Storages,
    Jobs,
    LiveQueries,
    AuditLog,
    Sessions,
    Segments,
    Stats,
    Settings,
}

/// Which rows of a system table somebody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visible {
    /// None.
    Nothing,
    /// Those that are about oneself.
    Own,
    /// All.
    All,
}

/// Which rows of a system table the identity sees.
pub fn visible(identity: &Identity, table: SystemTable) -> Visible {
    use SystemTable::*;
    match (identity.role, table) {
        (Role::Dba | Role::System, _) => Visible::All,
        (Role::Service, Tables | Jobs | LiveQueries) => Visible::All,
        (_, Sessions | LiveQueries | Jobs | Users) => Visible::Own,
        _ => Visible::Nothing,
    }
}

fn decide(allowed: bool) -> Result<Granted, Denied> {
    if allowed { Ok(Granted { proof: () }) } else { Err(Denied) }
}

#[cfg(test)]
mod tests;
