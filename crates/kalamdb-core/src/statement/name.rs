//! Relations' names, which tables, views and indexes share: locked until the transaction ends, and free.

use super::query::lock_wait;
use crate::standing::Standing;
use kalamdb_commons::{NamespaceId, Result, SqlError, SqlState};

/// Locks a name; whether it is free.
///
/// # Errors
/// Those of locks.
pub(super) async fn claim(standing: &mut Standing, namespace: NamespaceId, name: &str) -> Result<bool> {
    let wait = lock_wait(standing);
    standing.transaction().name_lock(namespace, name, wait).await?;
    standing.begin_statement()?;
    Ok(!standing.transaction().is_name_taken(namespace, name))
}

/// Locks a name, which must be free.
///
/// # Errors
/// 42P07, those of locks.
pub(super) async fn require(standing: &mut Standing, namespace: NamespaceId, name: &str) -> Result<()> {
    match claim(standing, namespace, name).await? {
        true => Ok(()),
        false => Err(taken(name)),
    }
}

/// 42P07 for a name that is taken.
pub(super) fn taken(name: &str) -> SqlError {
    SqlError::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
}
