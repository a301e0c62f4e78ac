//! CREATE, ALTER and DROP VIEW.
//!
//! Nobody's rights to what the query reads are asked here: they are at each execution, by the view's owner's rights or
//! (`security_invoker`) by those of who asks.

use super::Outcome;
use super::drop::{self, done};
use super::name;
use super::prepared::BindingNames;
use super::query::lock_wait;
use super::table::{
    check_column_count, creation_namespace, may_create_in, missing_to_drop, new_owner, not_read, shown,
};
use crate::depend::Object;
use crate::error;
use crate::resolve::permit;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{
    AccessLevel, ColumnId, ColumnName, NamespaceId, PgType, Result, SqlError, SqlState, SqlType, TableId, TableName,
    clock,
};
use kalamdb_sql::bind::{QueryToStore, bind_view};
use kalamdb_sql::statement::{AlterViewAction, CreateView, Name};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Change, SeenName, StoreError, TableLockMode, Use, ViewColumn, ViewDef};
use std::sync::Arc;

/// How often the query is read again because what it names has changed meanwhile.
const REBINDS_MAX: usize = 16;

/// CREATE VIEW
///
/// # Errors
/// 42501, 42P07, 3F000, 42601, 42701, 42P16, 42809, 22023, and the binder's.
pub(super) async fn create(standing: &mut Standing, create: &CreateView, text: &str) -> Result<Outcome> {
    standing.writable("CREATE VIEW")?;
    let query = read(standing, create, text).await?;
    let columns = columns_of(create, &query)?;
    let namespace = creation_namespace(standing, &create.name)?;
    may_create_in(standing, &namespace)?;
    let is_free = name::claim(standing, namespace.id, &create.name.name).await?;
    let replaced = match standing.catalog().relation_by_name(namespace.id, &create.name.name) {
        Some(named) if create.or_replace => Some(replaceable(standing, named, &create.name, &columns).await?),
        None if is_free => None,
        _ => return Err(name::taken(&create.name.name)),
    };
    let setting = |name: &str| standing.settings.lock().get(name).unwrap_or_default();
    let settings = [setting("TimeZone"), setting("DateStyle"), setting("IntervalStyle")];
    let mut view = ViewDef {
        id: replaced.as_ref().map_or_else(|| TableId(standing.hall.store.allocate_oid()), |old| old.id),
        namespace: namespace.id,
        name: TableName::new(create.name.name.as_str()),
        owner: replaced.as_ref().map_or(standing.identity.user, |old| old.owner),
        access: AccessLevel::Private,
        schema_version: replaced.as_ref().map_or(1, |old| old.schema_version + 1),
        columns,
        query: create.text.clone(),
        names: seen_names(&query),
        settings,
        uses: uses_of(&query),
        options: Vec::new(),
        row_type: replaced.as_ref().map_or_else(|| standing.hall.store.allocate_oid(), |old| old.row_type),
        rule: replaced.as_ref().map_or_else(|| standing.hall.store.allocate_oid(), |old| old.rule),
        created_at: replaced.as_ref().map_or_else(clock::now_us, |old| old.created_at),
    };
    for (name, value) in &create.options {
        set_option(&mut view, name, value)?;
    }
    standing.transaction().define(Change::PutView(view))?;
    done("CREATE VIEW")
}

/// Reads the query under locks that keep what it names as it is.
async fn read(standing: &mut Standing, create: &CreateView, text: &str) -> Result<QueryToStore> {
    standing.begin_statement()?;
    let mut query = bind_view(&create.query, text, &BindingNames::new(standing))?;
    for _ in 0..REBINDS_MAX {
        let wait = lock_wait(standing);
        for need in &query.needs {
            if crate::system::relations().by_oid(need.table).is_none() {
                standing.transaction().table_lock(need.table, TableLockMode::AccessShare, wait).await?;
            }
        }
        standing.begin_statement()?;
        let again = bind_view(&create.query, text, &BindingNames::new(standing))?;
        let same = again.needs == query.needs;
        query = again;
        if same {
            return Ok(query);
        }
    }
    Err(SqlError::new(SqlState::T_R_SERIALIZATION_FAILURE, "could not bind to relations that keep changing"))
}

/// The view's columns: the query's, the first of them named by the statement.
fn columns_of(create: &CreateView, query: &QueryToStore) -> Result<Vec<ViewColumn>> {
    if create.columns.len() > query.columns.len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    }
    check_column_count(query.columns.len())?;
    let mut columns: Vec<ViewColumn> = Vec::with_capacity(query.columns.len());
    for (at, (name, ty)) in query.columns.iter().enumerate() {
        let name = create.columns.get(at).unwrap_or(name);
        if columns.iter().any(|column| column.name.as_str() == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        check_type(name, *ty)?;
        columns.push(ViewColumn { name: ColumnName::new(name.as_str()), ty: *ty });
    }
    Ok(columns)
}

fn check_type(column: &str, ty: PgType) -> Result<()> {
    if ty.ty.facts().kind == 'p' {
        let message = format!("column \"{column}\" has pseudo-type {ty}");
        return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
    }
    debug_assert!(ty.ty != SqlType::Unknown, "a query's columns have types");
    Ok(())
}

fn seen_names(query: &QueryToStore) -> Vec<SeenName> {
    let seen = query.names.iter().map(|seen| SeenName {
        namespace: seen.namespace.clone(),
        name: seen.name.clone(),
        relation: seen.relation,
        columns: seen.columns.clone(),
    });
    seen.collect()
}

fn uses_of(query: &QueryToStore) -> Vec<Use> {
    let mut relations: Vec<TableId> = query.names.iter().map(|seen| seen.relation).collect();
    relations.sort_unstable();
    relations.dedup();
    let columns = query.used.iter().map(|(table, column)| Use::Column(*table, *column));
    let types = query.columns.iter().filter_map(|(_, ty)| ty.ty.user_type()).map(Use::Type);
    let mut uses: Vec<Use> = relations.into_iter().map(Use::Relation).chain(columns).collect();
    let named = query.types.iter().map(|(parts, ty)| Use::TypeNamed { parts: parts.clone(), ty: *ty });
    let constants = query.constants.iter().map(|seen| {
        let text = seen.text.clone();
        Use::Constant { text, ty: seen.ty.oid(), value: seen.value }
    });
    uses.extend(named.chain(constants));
    let domains = query.domains.iter().enumerate();
    uses.extend(domains.filter_map(|(at, domain)| Some(Use::Domain(ColumnId(at as i16 + 1), (*domain)?))));
    for used in types {
        if !uses.contains(&used) {
            uses.push(used);
        }
    }
    uses
}

/// OR REPLACE: the old view, whose columns the new ones must begin with.
async fn replaceable(
    standing: &mut Standing,
    named: Named,
    name: &Name,
    columns: &[ViewColumn],
) -> Result<Arc<ViewDef>> {
    let Named::View(id) = named else {
        let message = format!("\"{}\" is not a view", name.name);
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
    };
    let old = locked(standing, id).await?.ok_or_else(|| error::no_relation(shown(name)))?;
    owned(standing, &old)?;
    not_read(standing, old.id, &old.name, "CREATE OR REPLACE VIEW")?;
    let wrong = |message: String| SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message);
    if columns.len() < old.columns.len() {
        return Err(wrong("cannot drop columns from view".to_string()));
    }
    for (before, after) in old.columns.iter().zip(columns) {
        if before.name != after.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", before.name, after.name);
            return Err(
                wrong(message).with_hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.")
            );
        }
        if before.ty != after.ty {
            let name = &before.name;
            let message =
                format!("cannot change data type of view column \"{name}\" from {} to {}", before.ty, after.ty);
            return Err(wrong(message));
        }
    }
    Ok(old)
}

/// Sets one of a view's options.
fn set_option(view: &mut ViewDef, name: &str, value: &str) -> Result<()> {
    let invalid = |message: String| SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    match name {
        "access_level" => {
            view.access = AccessLevel::parse(value).ok_or_else(|| {
                invalid(format!("invalid value for option \"ACCESS_LEVEL\": \"{value}\""))
                    .with_detail("It takes public, private or restricted.")
            })?;
            return Ok(());
        }
        "check_option" => return Err(SqlError::unsupported("WITH CHECK OPTION")),
        "security_invoker" | "security_barrier" => {
            let on = match value.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => true,
                "false" | "off" | "no" | "0" => false,
                _ => return Err(invalid(format!("invalid value for boolean option \"{name}\": {value}"))),
            };
            if on && name == "security_barrier" {
                return Err(SqlError::unsupported("a view with security_barrier"));
            }
        }
        _ => return Err(invalid(format!("unrecognized parameter \"{name}\""))),
    }
    reset_option(view, name);
    view.options.push(format!("{name}={}", value.to_ascii_lowercase()));
    Ok(())
}

fn reset_option(view: &mut ViewDef, name: &str) {
    if name == "access_level" {
        view.access = AccessLevel::Private;
    }
    view.options.retain(|option| !option.starts_with(&format!("{name}=")));
}

/// A view as it is under its exclusive lock.
async fn locked(standing: &mut Standing, id: TableId) -> Result<Option<Arc<ViewDef>>> {
    let wait = lock_wait(standing);
    standing.transaction().table_lock(id, TableLockMode::AccessExclusive, wait).await?;
    standing.begin_statement()?;
    if !standing.transaction().sees_newest(id) {
        return Err(StoreError::SchemaChanged(id).into());
    }
    Ok(standing.catalog().view(id).cloned())
}

/// The view that a name means, locked for a change.
async fn lock_for_change(standing: &mut Standing, name: &Name) -> Result<Option<Arc<ViewDef>>> {
    loop {
        standing.begin_statement()?;
        let Some(Named::View(id)) = super::index::find(standing, name) else { return Ok(None) };
        let view = locked(standing, id).await?;
        // Dropped and made anew while we waited: lock that one.
        if super::index::find(standing, name) == Some(Named::View(id)) {
            return Ok(view);
        }
    }
}

/// 42501
fn owned(standing: &Standing, view: &ViewDef) -> Result<()> {
    let is_owner = view.owner == standing.identity.user;
    let action = AdminAction::AlterTable { is_owner };
    permit(&standing.identity, action, &format!("view {}", view.name)).map(|_| ())
}

/// DROP VIEW
///
/// # Errors
/// 42501, 42P01, 42809, 2BP01, 55006
pub(super) async fn drop(standing: &mut Standing, names: &[Name], if_exists: bool, cascade: bool) -> Result<Outcome> {
    standing.writable("DROP VIEW")?;
    let mut roots: Vec<Object> = Vec::with_capacity(names.len());
    for name in names {
        match lock_for_change(standing, name).await? {
            Some(view) => {
                owned(standing, &view)?;
                not_read(standing, view.id, &view.name, "DROP VIEW")?;
                if !roots.contains(&Object::View(view.id)) {
                    roots.push(Object::View(view.id));
                }
            }
            None => missing_to_drop(standing, name, "view", if_exists)?,
        }
    }
    drop::dependents(standing, &roots, cascade).await?;
    for root in roots {
        standing.transaction().define(Change::DropView(TableId(root.oid())))?;
    }
    done("DROP VIEW")
}

/// ALTER VIEW
///
/// # Errors
/// 42501, 42P01, 42P07, 42701, 42703, 42704, 42809, 22023, 3F000
pub(super) async fn alter(
    standing: &mut Standing,
    name: &Name,
    if_exists: bool,
    action: &AlterViewAction,
) -> Result<Outcome> {
    standing.writable("ALTER VIEW")?;
    let Some(view) = lock_for_change(standing, name).await? else {
        if super::index::find(standing, name).is_some() {
            let message = format!("\"{}\" is not a view", name.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        if if_exists {
            standing.notice(format!("relation \"{}\" does not exist, skipping", name.name));
            return done("ALTER VIEW");
        }
        return Err(error::no_relation(shown(name)));
    };
    owned(standing, &view)?;
    not_read(standing, view.id, &view.name, "ALTER VIEW")?;
    let mut changed = ViewDef { schema_version: view.schema_version + 1, ..(*view).clone() };
    match action {
        AlterViewAction::Rename(to) => {
            name::require(standing, view.namespace, to).await?;
            changed.name = TableName::new(to.as_str());
        }
        AlterViewAction::RenameColumn { column, to } => rename_column(&mut changed, column, to)?,
        AlterViewAction::Set(options) => {
            for (name, value) in options {
                set_option(&mut changed, name, value)?;
            }
        }
        AlterViewAction::Reset(names) => names.iter().for_each(|name| reset_option(&mut changed, name)),
        AlterViewAction::Owner(to) => {
            changed.owner = new_owner(standing, to.as_deref(), view.owner, &format!("view {}", view.name))?;
        }
        AlterViewAction::SetSchema(to) => {
            changed.namespace = move_to(standing, view.namespace, to, view.name.as_str()).await?;
        }
    }
    standing.transaction().define(Change::PutView(changed))?;
    done("ALTER VIEW")
}

fn rename_column(view: &mut ViewDef, column: &str, to: &str) -> Result<()> {
    let Some(at) = view.columns.iter().position(|other| other.name.as_str() == column) else {
        let message = format!("column \"{column}\" does not exist");
        return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
    };
    if view.columns.iter().any(|other| other.name.as_str() == to) {
        let message = format!("column \"{to}\" of relation \"{}\" already exists", view.name);
        return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
    }
    view.columns[at].name = ColumnName::new(to);
    Ok(())
}

/// SET SCHEMA: the namespace that a relation of this name goes to, where the name is locked and free.
///
/// # Errors
/// 3F000, 42501, 42P07
pub(super) async fn move_to(
    standing: &mut Standing,
    from: NamespaceId,
    to: &str,
    relation: &str,
) -> Result<NamespaceId> {
    let namespace = creation_namespace(
        standing,
        &Name { namespace: Some(to.to_string()), name: relation.to_string(), position: None },
    )?;
    may_create_in(standing, &namespace)?;
    if namespace.id == from {
        return Ok(from);
    }
    if !name::claim(standing, namespace.id, relation).await? {
        let message = format!("relation \"{relation}\" already exists in schema \"{to}\"");
        return Err(SqlError::new(SqlState::DUPLICATE_TABLE, message));
    }
    Ok(namespace.id)
}
