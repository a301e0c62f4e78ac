//! Errors of other crates on their way to the client: each becomes a `SqlError` once, by variant.

use kalamdb_commons::{SqlError, SqlState};

/// 57014, when a cancel request arrived.
pub(crate) fn cancelled() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

/// 57P01
pub(crate) fn terminated() -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// 57014, when statement_timeout passed.
pub(crate) fn timed_out() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}

/// 42P01
pub(crate) fn no_relation(name: impl std::fmt::Display) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}

/// 42501
pub(crate) fn denied(what: impl std::fmt::Display) -> SqlError {
    SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for {what}"))
}

/// 25P02
pub(crate) fn in_failed_transaction() -> SqlError {
    SqlError::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
