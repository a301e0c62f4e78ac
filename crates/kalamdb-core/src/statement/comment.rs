//! COMMENT ON: a text about something, for people, in pg_description.

use super::Outcome;
use super::drop::done;
use super::query::lock_wait;
use super::table::shown;
use crate::error;
use crate::resolve::permit;
use crate::settings::{DATABASE_NAME, DATABASE_OID};
use crate::standing::Standing;
use crate::system::relations;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{ColumnId, Oid, Result, SqlError, SqlState, TableId, UserId};
use kalamdb_sql::statement::{Commented, Name, RelationWord};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Change, Described, NamespaceDef, TableLockMode, TypeKind};

/// The OID of the system relation that lists such things.
pub(super) fn class(name: &str) -> Oid {
    relations().by_name("pg_catalog", name).map_or(0, |shape| shape.table.0)
}

/// COMMENT ON
///
/// # Errors
/// 42501, 42P01, 42703, 42704, 42809, 3F000
pub(super) async fn comment(standing: &mut Standing, about: &Commented, text: Option<&str>) -> Result<Outcome> {
    standing.writable("COMMENT")?;
    standing.begin_statement()?;
    let described = match about {
        Commented::Relation(word, name) => {
            let named = relation(standing, name).await?;
            right_kind(*word, named, name)?;
            Described { object: named.oid(), class: class("pg_class"), column: 0 }
        }
        Commented::Column { relation: name, column } => {
            let named = relation(standing, name).await?;
            Described {
                object: named.oid(),
                class: class("pg_class"),
                column: column_of(standing, named, name, column)?,
            }
        }
        Commented::Constraint { name, table } => constraint(standing, name, table).await?,
        Commented::Namespace(name) => return namespace(standing, name, text),
        Commented::WholeDatabase(name) => {
            if name != DATABASE_NAME && name != "postgres" {
                // As in PostgreSQL, so that a dump can be read into a database of another name.
                standing.warn(SqlState::UNDEFINED_DATABASE, &format!("database \"{name}\" does not exist"));
                return done("COMMENT");
            }
            permit(&standing.identity, AdminAction::Settings, &format!("database {name}"))?;
            Described { object: DATABASE_OID, class: class("pg_database"), column: 0 }
        }
        Commented::Role(name) => {
            let user = super::user::find(&standing.catalog(), name)?;
            permit(&standing.identity, AdminAction::ManageUsers { target: user.role }, &format!("role {name}"))?;
            Described { object: user.id.0, class: class("pg_authid"), column: 0 }
        }
        Commented::Type(name) => data_type(standing, name, false)?,
        Commented::Domain(name) => data_type(standing, name, true)?,
    };
    standing.transaction().define(Change::Comment(described, text.map(str::to_string)))?;
    done("COMMENT")
}

/// A column that goes takes its comment along.
///
/// # Errors
/// The store's.
pub(super) fn forget_column(standing: &mut Standing, table: TableId, column: ColumnId) -> Result<()> {
    let about = Described { object: table.0, class: class("pg_class"), column: column.0 };
    if standing.catalog().comment(about).is_some() {
        standing.transaction().define(Change::Comment(about, None))?;
    }
    Ok(())
}

/// The relation that a name means, locked, for its owner.
async fn relation(standing: &mut Standing, name: &Name) -> Result<Named> {
    loop {
        let named = super::index::find(standing, name);
        let named = named.ok_or_else(|| error::no_relation(shown(name)))?;
        let id = match named {
            Named::Table(id) | Named::View(id) | Named::Sequence(id) | Named::Index(id, _) => id,
        };
        let wait = lock_wait(standing);
        standing.transaction().table_lock(id, TableLockMode::ShareUpdateExclusive, wait).await?;
        standing.begin_statement()?;
        if super::index::find(standing, name) == Some(named) {
            owned(standing, named, id)?;
            return Ok(named);
        }
    }
}

fn owned(standing: &Standing, named: Named, id: TableId) -> Result<()> {
    let catalog = standing.catalog();
    let (owner, what): (Option<UserId>, _) = match named {
        Named::Table(_) | Named::Index(..) => (catalog.table(id).map(|def| def.owner), "table"),
        Named::View(_) => (catalog.view(id).map(|def| def.owner), "view"),
        Named::Sequence(_) => (catalog.sequence(id).map(|def| def.owner), "sequence"),
    };
    let name = standing.names();
    let name = kalamdb_sql::function::CatalogNames::relation_name(&name, id.0).unwrap_or_default();
    let is_owner = owner == Some(standing.identity.user);
    permit(&standing.identity, AdminAction::AlterTable { is_owner }, &format!("{what} {name}")).map(|_| ())
}

fn right_kind(word: RelationWord, named: Named, name: &Name) -> Result<()> {
    let (fits, wanted) = match word {
        RelationWord::Table => (matches!(named, Named::Table(_)), "a table"),
        RelationWord::View => (matches!(named, Named::View(_)), "a view"),
        RelationWord::Index => (matches!(named, Named::Index(..)), "an index"),
        RelationWord::Sequence => (matches!(named, Named::Sequence(_)), "a sequence"),
    };
    if fits {
        return Ok(());
    }
    Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not {wanted}", name.name)))
}

fn column_of(standing: &Standing, named: Named, name: &Name, column: &str) -> Result<i16> {
    let catalog = standing.catalog();
    let missing = || {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", name.name);
        SqlError::new(SqlState::UNDEFINED_COLUMN, message)
    };
    let what = match named {
        Named::Table(id) => {
            let found = catalog.table(id).and_then(|table| table.column_by_name(column)).map(|column| column.id.0);
            return found.ok_or_else(missing);
        }
        Named::View(id) => {
            let view = catalog.view(id);
            let at = view.and_then(|view| view.columns.iter().position(|other| other.name.as_str() == column));
            return at.map(|at| at as i16 + 1).ok_or_else(missing);
        }
        Named::Index(..) => "indexes",
        Named::Sequence(_) => "sequences",
    };
    let message = format!("cannot set comment on relation \"{}\"", name.name);
    Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
        .with_detail(format!("This operation is not supported for {what}.")))
}

async fn constraint(standing: &mut Standing, name: &str, table: &Name) -> Result<Described> {
    let named = relation(standing, table).await?;
    let catalog = standing.catalog();
    let missing = || {
        let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
    };
    let Named::Table(id) = named else { return Err(missing()) };
    let def = catalog.table(id).ok_or_else(missing)?;
    let key = def.primary_key.iter().filter(|key| key.name == name).map(|key| key.constraint);
    let unique = def.indexes.iter().filter(|index| index.name == name).filter_map(|index| index.constraint);
    let checks = def.checks.iter().filter(|check| check.name == name).map(|check| check.id);
    let foreign = def.foreign_keys.iter().filter(|key| key.name == name).map(|key| key.id);
    let object = key.chain(unique).chain(checks).chain(foreign).next().ok_or_else(missing)?;
    Ok(Described { object, class: class("pg_constraint"), column: 0 })
}

/// A namespace's comment is its description.
fn namespace(standing: &mut Standing, name: &str, text: Option<&str>) -> Result<Outcome> {
    let catalog = standing.catalog();
    let missing = || SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"));
    let def = catalog.namespace_by_name(name).ok_or_else(missing)?;
    if def.owner != standing.identity.user || def.id.0 < kalamdb_commons::ids::FIRST_USER_OID {
        permit(&standing.identity, AdminAction::ManageNamespaces, &format!("schema {name}"))?;
    }
    if def.id.0 < kalamdb_commons::ids::FIRST_USER_OID && def.id != kalamdb_commons::ids::PUBLIC {
        return Err(error::denied(format!("schema {name}")));
    }
    let changed = NamespaceDef { description: text.map(str::to_string), ..NamespaceDef::clone(def) };
    standing.transaction().define(Change::PutNamespace(changed))?;
    done("COMMENT")
}

fn data_type(standing: &Standing, name: &Name, domain: bool) -> Result<Described> {
    let catalog = standing.catalog();
    let path = match &name.namespace {
        Some(namespace) => vec![namespace.clone()],
        None => standing.derived().basis.search_path.clone(),
    };
    let found = path.iter().find_map(|namespace| {
        let namespace = catalog.namespace_by_name(namespace)?;
        catalog.data_type_by_name(namespace.id, &name.name)
    });
    let Some(def) = found else {
        if name.namespace.is_none() && kalamdb_commons::SqlType::from_name(&name.name).is_some() {
            let message = format!("must be owner of type {}", name.name);
            return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
        }
        let message = format!("type \"{}\" does not exist", shown(name));
        return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
    };
    if domain && !matches!(def.kind, TypeKind::Domain { .. }) {
        let message = format!("\"{}\" is not a domain", name.name);
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
    }
    let is_owner = def.owner == standing.identity.user;
    permit(&standing.identity, AdminAction::AlterTable { is_owner }, &format!("type {}", name.name))?;
    Ok(Described { object: def.id, class: class("pg_type"), column: 0 })
}
