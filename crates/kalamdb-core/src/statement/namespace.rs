//! CREATE, ALTER and DROP NAMESPACE (= SCHEMA).

use super::{Outcome, query::lock_wait};
use crate::depend::Object;
use crate::resolve::permit;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{NamespaceId, NamespaceName, Result, SqlError, SqlState, clock};
use kalamdb_store::{Change, NamespaceDef};

/// CREATE NAMESPACE
///
/// # Errors
/// 42501, 42P06, 42939 for a reserved name, 42602 for characters that a namespace may not have.
pub(super) async fn create(
    standing: &mut Standing,
    name: &str,
    if_not_exists: bool,
    owner: Option<&str>,
) -> Result<Outcome> {
    standing.writable("CREATE SCHEMA")?;
    permit(&standing.identity, AdminAction::ManageNamespaces, &format!("namespace {name}"))?;
    check_name(name)?;
    let wait = lock_wait(standing);
    standing.transaction().name_lock(NamespaceId(0), name, wait).await?;
    standing.begin_statement()?;
    let catalog = standing.catalog();
    if catalog.namespace_by_name(name).is_some() {
        let message = format!("schema \"{name}\" already exists");
        if if_not_exists {
            standing.notice(format!("{message}, skipping"));
            return done("CREATE SCHEMA");
        }
        return Err(SqlError::new(SqlState::DUPLICATE_SCHEMA, message));
    }
    let owner = match owner {
        None => standing.identity.user,
        Some(owner) => super::user::find(&catalog, owner)?.id,
    };
    let namespace = NamespaceDef {
        id: NamespaceId(standing.hall.store.allocate_oid()),
        name: NamespaceName::new(name),
        owner,
        description: None,
        created_at: clock::now_us(),
    };
    standing.transaction().define(Change::PutNamespace(namespace))?;
    done("CREATE SCHEMA")
}

/// DIALECT: letters, digits and `_`; `system`, `information_schema` and `pg_…` are reserved.
fn check_name(name: &str) -> Result<()> {
    if name.starts_with("pg_") {
        return Err(SqlError::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    if matches!(name, "system" | "information_schema") {
        return Err(SqlError::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
            .with_detail("The name is reserved."));
    }
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(SqlError::new(SqlState::INVALID_NAME, format!("invalid namespace name \"{name}\""))
            .with_detail("A namespace's name consists of letters, digits and underscores."));
    }
    Ok(())
}

/// ALTER NAMESPACE … SET DESCRIPTION
///
/// # Errors
/// 42501, 3F000
pub(super) async fn describe(standing: &mut Standing, name: &str, description: &str) -> Result<Outcome> {
    standing.writable("ALTER SCHEMA")?;
    permit(&standing.identity, AdminAction::ManageNamespaces, &format!("namespace {name}"))?;
    standing.begin_statement()?;
    let catalog = standing.catalog();
    let namespace = catalog.namespace_by_name(name).ok_or_else(|| missing(name))?;
    let changed = NamespaceDef { description: Some(description.to_string()), ..NamespaceDef::clone(namespace) };
    standing.transaction().define(Change::PutNamespace(changed))?;
    done("ALTER NAMESPACE")
}

/// DROP NAMESPACE
///
/// # Errors
/// 42501, 3F000, 2BP01 while it holds tables, unless CASCADE.
pub(super) async fn drop(standing: &mut Standing, names: &[String], if_exists: bool, cascade: bool) -> Result<Outcome> {
    standing.writable("DROP SCHEMA")?;
    for name in names {
        permit(&standing.identity, AdminAction::ManageNamespaces, &format!("namespace {name}"))?;
        let wait = lock_wait(standing);
        standing.transaction().name_lock(NamespaceId(0), name, wait).await?;
        standing.begin_statement()?;
        let catalog = standing.catalog();
        let Some(namespace) = catalog.namespace_by_name(name) else {
            if if_exists {
                standing.notice(format!("schema \"{name}\" does not exist, skipping"));
                continue;
            }
            return Err(missing(name));
        };
        if namespace.id.0 < kalamdb_commons::ids::FIRST_USER_OID && namespace.id != kalamdb_commons::ids::PUBLIC {
            return Err(SqlError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop schema {name} because it is required by the database system"),
            ));
        }
        let namespace = namespace.id;
        super::drop::dependents(standing, &[Object::Namespace(namespace)], cascade).await?;
        standing.transaction().define(Change::DropNamespace(namespace))?;
    }
    done("DROP SCHEMA")
}

fn missing(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
}

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}
