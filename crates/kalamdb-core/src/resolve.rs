//! Needs become relations here, at each execution, and this is where permission is checked.
//!
//! Two doors: [`relation`] for what statements touch, [`permit`] for everything else that needs a right. Whoever holds
//! a `Relation` or a `Granted` holds the proof; nothing that is cached holds one.

use crate::error;
use crate::relation::Relation;
use crate::sequence::Sequence;
use crate::system;
use crate::system::names::{Judge, facts_of, facts_of_view};
use kalamdb_auth::Identity;
use kalamdb_auth::authorize::{
    AdminAction, Granted, ObjectFacts, RowAction, SequenceAction, SequenceFacts, authorize, authorize_admin,
    authorize_constraint, authorize_sequence,
};
use kalamdb_commons::{Oid, Result, Role, Scope, SqlError, SqlState, TableId, TableType, UserId, UserName};
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
    if catalog.sequence(need.table).is_some() {
        sequence(catalog, judge, need.table.0, SequenceAction::Read)?;
        return Ok(Resolved::Relation(Relation::computed(need.table)));
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

/// Turns a sequence's OID into a sequence that may be used this way.
///
/// # Errors
/// 42501; 42809 for another relation, XX000 for none.
pub(crate) fn sequence(
    catalog: &Arc<Catalog>,
    identity: &Identity,
    oid: Oid,
    action: SequenceAction,
) -> Result<Sequence> {
    let Some(def) = catalog.sequence(TableId(oid)) else {
        return Err(match system::relation_name(catalog, oid) {
            Some(name) => SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence")),
            None => SqlError::internal(format!("could not open relation with OID {oid}")),
        });
    };
    let table = def.owned_by.and_then(|(table, _)| catalog.table(table));
    let table = table.map(|table| facts_of(table, identity));
    let facts = SequenceFacts { is_owner: def.owner == identity.user, table };
    let granted =
        authorize_sequence(identity, action, &facts).map_err(|_| error::denied(format!("sequence {}", def.name)))?;
    Ok(Sequence::new(def.clone(), granted))
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

/// A table whose rows are looked at for a type that is changed: for whoever owns the type, who learns no more of them
/// than whether they fit.
///
/// # Errors
/// 42501
pub(crate) fn judged(table: &Arc<TableDef>, identity: &Arc<Identity>) -> Result<Relation> {
    let granted = permit(identity, AdminAction::AlterTable { is_owner: true }, &format!("table {}", table.name))?;
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

/// What would be decided, for questions that open nothing.
pub(crate) const JUDGE: Judge = Judge { rows: would_allow, sequence: would_allow_sequence };

fn would_allow_sequence(catalog: &Arc<Catalog>, identity: &Identity, oid: Oid, action: SequenceAction) -> bool {
    sequence(catalog, identity, oid, action).is_ok()
}

/// What would be decided: for `has_table_privilege`, which opens nothing.
pub(crate) fn would_allow(identity: &Identity, action: RowAction, facts: &ObjectFacts) -> bool {
    authorize(identity, action, facts).is_ok()
}
