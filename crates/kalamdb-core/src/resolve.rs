//! Needs become relations here, at each execution, and this is where permission is checked.
//!
//! Two doors: [`relation`] for what statements touch, [`permit`] for everything else that needs a right. Whoever holds
//! a `Relation` or a `Granted` holds the proof; nothing that is cached holds one.

use crate::error;
use crate::relation::Relation;
use crate::system;
use crate::system::names::{facts_of, facts_of_view};
use kalamdb_auth::Identity;
use kalamdb_auth::authorize::{
    AdminAction, Granted, ObjectFacts, RowAction, authorize, authorize_admin, authorize_constraint,
};
use kalamdb_commons::{Result, Role, Scope, SqlError, SqlState, TableType, UserId, UserName};
use kalamdb_live::MayRead;
use kalamdb_sql::bind::bound::{Action, Need};
use kalamdb_store::{Catalog, Partition, TableDef};
use std::sync::Arc;

/// What became of a need.
pub(crate) enum Resolved {
    /// The relation, with its proof inside.
    Relation(Relation),
    /// The relation is gone or another version than binding saw: bind again.
    Stale,
}

/// Turns a need into a relation for this identity, by this catalog.
///
/// # Errors
/// 42501; 42809 for a write to a computed relation; 0A000 for UPDATE of a STREAM table.
pub(crate) fn relation(catalog: &Arc<Catalog>, identity: &Arc<Identity>, need: &Need) -> Result<Resolved> {
    if let Some(shape) = system::relations().by_oid(need.table) {
        if need.action != Action::Select {
            return Err(error::denied(format!("table {}", shape.name)));
        }
        return Ok(Resolved::Relation(Relation::computed(need.table)));
    }
    let judged;
    let judge = match need.judged_as {
        None => identity,
        Some(user) => {
            judged = identity_of(catalog, user);
            &judged
        }
    };
    if let Some(view) = catalog.view(need.table) {
        if view.schema_version != need.schema_version {
            return Ok(Resolved::Stale);
        }
        let granted = authorize(judge, RowAction::Select, &facts_of_view(view, judge))
            .map_err(|_| error::denied(format!("view {}", view.name)))?;
        return Ok(Resolved::Relation(Relation::view(view.clone(), granted)));
    }
    let Some(table) = catalog.table(need.table) else { return Ok(Resolved::Stale) };
    if table.schema_version != need.schema_version {
        return Ok(Resolved::Stale);
    }
    let action = match need.action {
        Action::Select => RowAction::Select,
        Action::Lock | Action::Update => RowAction::Update,
        Action::Insert => RowAction::Insert,
        Action::Delete => RowAction::Delete,
        Action::Truncate => RowAction::Truncate,
    };
    let facts = facts_of(table, judge);
    let granted = authorize(judge, action, &facts).map_err(|_| error::denied(format!("table {}", table.name)))?;
    if table.kind == TableType::Stream && matches!(need.action, Action::Update | Action::Lock) {
        return Err(SqlError::unsupported("UPDATE of a STREAM table"));
    }
    let scope = if table.is_per_user() { Scope::User(identity.user) } else { Scope::Shared };
    let partition = Partition { table: table.clone(), scope };
    Ok(Resolved::Relation(Relation::stored(partition, granted, need.with_deleted)))
}

/// The owner of a view, by whose rights it reads. One who was dropped has none.
fn identity_of(catalog: &Catalog, user: UserId) -> Arc<Identity> {
    let nobody = || Identity { user: UserId(0), name: UserName::from(""), role: Role::User };
    let owner = catalog.user(user).filter(|def| def.deleted_at.is_none());
    Arc::new(owner.map_or_else(nobody, |def| Identity { user, name: def.name.clone(), role: def.role }))
}

/// Asks for a right that is not one on rows.
///
/// # Errors
/// 42501, naming `object`.
pub(crate) fn permit(identity: &Identity, action: AdminAction, object: &str) -> Result<Granted> {
    authorize_admin(identity, action)
        .map_err(|_| SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for {object}")))
}

/// A table whose rows ALTER TABLE writes anew: for whoever may alter it.
///
/// # Errors
/// 42501
pub(crate) fn rewritten(table: &Arc<TableDef>, identity: &Arc<Identity>) -> Result<Relation> {
    let is_owner = table.owner == identity.user;
    let granted = permit(identity, AdminAction::AlterTable { is_owner }, &format!("table {}", table.name))?;
    Ok(Relation::stored(Partition { table: table.clone(), scope: Scope::Shared }, granted, false))
}

/// A partition of a table as a foreign key sees it, of all users where the scope of a USER table is `Shared`.
pub(crate) fn enforced(table: &Arc<TableDef>, scope: Scope) -> Relation {
    Relation::stored(Partition { table: table.clone(), scope }, authorize_constraint(), false)
}

/// Whether this identity may read a table, however it is defined by then: for live queries, which judge it again when
/// the definition changes.
pub(crate) fn reader(identity: &Arc<Identity>) -> MayRead {
    let identity = identity.clone();
    Arc::new(move |table| would_allow(&identity, RowAction::Select, &facts_of(table, &identity)))
}

/// What would be decided: for `has_table_privilege`, which opens nothing.
pub(crate) fn would_allow(identity: &Identity, action: RowAction, facts: &ObjectFacts) -> bool {
    authorize(identity, action, facts).is_ok()
}
