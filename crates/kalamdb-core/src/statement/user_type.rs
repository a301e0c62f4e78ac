//! CREATE, ALTER and DROP TYPE: enums.
//!
//! Rows hold the ranks of labels, which nothing changes: a new label finds room between its neighbours, a rename
//! changes the label alone. Stored expressions name types by OID and labels by their text, which a rename follows.

use super::Outcome;
use super::query::lock_wait;
use super::table::{creation_namespace, shown};
use crate::depend::Object;
use crate::resolve::permit;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{NamespaceId, Oid, PgType, Result, SqlError, SqlState, SqlType, TableId, clock};
use kalamdb_sql::bind;
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::statement::{AlterTypeAction, Name, TypeName};
use kalamdb_store::{Catalog, Change, EnumLabel, IndexKeyPart, StoreError, TableDef, TypeDef, TypeKind};
use std::sync::Arc;

/// PostgreSQL's NAMEDATALEN - 1.
const LABEL_BYTES_MAX: usize = 63;

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}

/// What a written type is: its values' type, and the domain that they have to satisfy.
///
/// # Errors
/// 42704 for a type that is not there, 0A000 for an array of a domain.
pub(super) fn meaning(standing: &Standing, written: &TypeName) -> Result<(PgType, Option<Oid>)> {
    let (parts, is_array, position) = match written {
        TypeName::BuiltIn(ty) => return Ok((*ty, None)),
        TypeName::Named { parts, is_array, position } => (parts, *is_array, *position),
    };
    let Some(found) = standing.names().user_type(parts) else {
        let brackets = if is_array { "[]" } else { "" };
        let message = format!("type \"{}{brackets}\" does not exist", parts.join("."));
        return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message).at(position));
    };
    match (is_array, found.is_domain) {
        (false, is_domain) => Ok((found.ty, is_domain.then_some(found.oid))),
        (true, true) => Err(SqlError::unsupported("an array of a domain")),
        (true, false) => {
            let array = found.ty.ty.array().ok_or_else(|| SqlError::internal("a type without an array"))?;
            Ok((array.into(), None))
        }
    }
}

/// Locks a type's name; whether it is free.
async fn claim(standing: &mut Standing, namespace: NamespaceId, name: &str) -> Result<()> {
    let wait = lock_wait(standing);
    // Types and relations share no names here, but for the row types that PostgreSQL gives relations.
    standing.transaction().name_lock(namespace, name, wait).await?;
    standing.begin_statement()?;
    let taken = |catalog: &Catalog| {
        catalog.data_type_by_name(namespace, name).is_some() || catalog.table_by_name(namespace, name).is_some()
    };
    if taken(&standing.catalog()) {
        let message = format!("type \"{name}\" already exists");
        return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
    }
    Ok(())
}

fn check_label(label: &str) -> Result<()> {
    if label.len() > LABEL_BYTES_MAX {
        let error = SqlError::new(SqlState::INVALID_NAME, format!("invalid enum label \"{label}\""));
        return Err(error.with_detail("Labels must be 63 bytes or less."));
    }
    Ok(())
}

/// CREATE TYPE … AS ENUM
///
/// # Errors
/// 42501, 42710, 3F000, 42602, 23505
pub(super) async fn create_enum(standing: &mut Standing, name: &Name, labels: &[String]) -> Result<Outcome> {
    standing.writable("CREATE TYPE")?;
    let (namespace, id, array) = begin(standing, name).await?;
    let mut made: Vec<EnumLabel> = Vec::with_capacity(labels.len());
    for (at, label) in labels.iter().enumerate() {
        check_label(label)?;
        if made.iter().any(|other| other.label == *label) {
            let message = "duplicate key value violates unique constraint \"pg_enum_typid_label_index\"";
            return Err(SqlError::new(SqlState::UNIQUE_VIOLATION, message)
                .with_detail(format!("Key (enumtypid, enumlabel)=({id}, {label}) already exists.")));
        }
        let id = standing.hall.store.allocate_oid();
        made.push(EnumLabel { id, label: label.clone(), rank: EnumLabel::first_rank(at), is_added: false });
    }
    let owner = standing.identity.user;
    let def = TypeDef { id, array, namespace, name: name.name.clone(), owner, kind: TypeKind::Enum(made) };
    standing.transaction().define(Change::PutType(def))?;
    done("CREATE TYPE")
}

/// The namespace and the OIDs of a type that is about to be made.
///
/// # Errors
/// 42501, 42710, 3F000
pub(super) async fn begin(standing: &mut Standing, name: &Name) -> Result<(NamespaceId, Oid, Oid)> {
    let namespace = creation_namespace(standing, &Name { position: None, ..name.clone() })?;
    let is_granted = namespace.owner == standing.identity.user && namespace.id != kalamdb_commons::ids::PUBLIC;
    let action = AdminAction::CreateTable { is_granted };
    permit(&standing.identity, action, &format!("schema {}", namespace.name))?;
    claim(standing, namespace.id, &name.name).await?;
    let (id, array) = standing.hall.store.engine().allocate_type_oids();
    Ok((namespace.id, id, array))
}

/// A type by its name, its lock taken; `None` when there is none.
///
/// # Errors
/// 40001 at REPEATABLE READ for a definition that is older than another's commit, and those of locks.
pub(super) async fn lock(standing: &mut Standing, name: &Name) -> Result<Option<Arc<TypeDef>>> {
    let parts: Vec<String> = name.namespace.iter().chain([&name.name]).cloned().collect();
    loop {
        standing.begin_statement()?;
        let Some(found) = standing.names().user_type(&parts) else { return Ok(None) };
        let Some(def) = standing.catalog().data_type(found.oid).cloned() else { return Ok(None) };
        let wait = lock_wait(standing);
        standing.transaction().name_lock(def.namespace, &def.name, wait).await?;
        standing.begin_statement()?;
        if standing.names().user_type(&parts).map(|found| found.oid) == Some(def.id)
            && let Some(now) = standing.catalog().data_type(def.id).cloned()
        {
            if !standing.transaction().sees_newest_type(def.id) {
                return Err(StoreError::SchemaChanged(TableId(def.id)).into());
            }
            return Ok(Some(now));
        }
    }
}

/// 42501 for who may not change a type.
///
/// # Errors
/// 42501
pub(super) fn owned(standing: &Standing, def: &TypeDef) -> Result<()> {
    let is_owner = def.owner == standing.identity.user;
    permit(&standing.identity, AdminAction::AlterTable { is_owner }, &format!("type {}", def.name)).map(|_| ())
}

fn missing(name: &Name) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", shown(name)))
}

/// What is said of a name that no user's type has: of one of PostgreSQL's, that it is no such type.
pub(super) fn absent(name: &Name, kind: &str) -> SqlError {
    let in_catalog = name.namespace.as_deref().is_none_or(|namespace| namespace == "pg_catalog");
    match SqlType::from_name(&name.name).filter(|_| in_catalog) {
        Some(ty) => SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("{ty} is not {kind}")),
        None => missing(name),
    }
}

/// ALTER TYPE
///
/// # Errors
/// 42501, 42704, 42710, 42809, 22023, 42602, 54000
pub(super) async fn alter(standing: &mut Standing, name: &Name, action: &AlterTypeAction) -> Result<Outcome> {
    standing.writable("ALTER TYPE")?;
    let Some(def) = lock(standing, name).await? else { return Err(absent(name, "an enum")) };
    owned(standing, &def)?;
    let mut changed = (*def).clone();
    match action {
        AlterTypeAction::Rename(to) => rename(standing, &mut changed, to).await?,
        AlterTypeAction::SetNamespace(to) => set_namespace(standing, &mut changed, to).await?,
        AlterTypeAction::AddValue { label, if_not_exists, beside } => {
            check_label(label)?;
            let labels = labels_mut(&mut changed)?;
            if labels.iter().any(|known| known.label == *label) {
                let message = format!("enum label \"{label}\" already exists");
                if *if_not_exists {
                    standing.notice(format!("{message}, skipping"));
                    return done("ALTER TYPE");
                }
                return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
            }
            let at = match beside {
                None => labels.len(),
                Some((before, other)) => place_of(labels, other)? + usize::from(!before),
            };
            let below = at.checked_sub(1).and_then(|at| labels.get(at)).map(|label| label.rank);
            let above = labels.get(at).map(|label| label.rank);
            let rank = EnumLabel::rank_between(below, above).ok_or_else(|| {
                let message = "there is no room for another label between these two";
                SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                    .with_hint("Make a new type with the labels in their order, and convert the columns to it.")
            })?;
            let id = standing.hall.store.allocate_oid();
            labels.insert(at, EnumLabel { id, label: label.clone(), rank, is_added: true });
        }
        AlterTypeAction::RenameValue { from, to } => {
            check_label(to)?;
            let labels = labels_mut(&mut changed)?;
            let at = place_of(labels, from)?;
            if labels.iter().any(|known| known.label == *to) {
                let message = format!("enum label \"{to}\" already exists");
                return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
            }
            labels[at].label.clone_from(to);
            relabel(standing, def.id, from, to)?;
        }
    }
    standing.transaction().define(Change::PutType(changed))?;
    done("ALTER TYPE")
}

fn labels_mut(def: &mut TypeDef) -> Result<&mut Vec<EnumLabel>> {
    match &mut def.kind {
        TypeKind::Enum(labels) => Ok(labels),
        TypeKind::Domain { .. } => {
            Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("{} is not an enum", def.name)))
        }
    }
}

fn place_of(labels: &[EnumLabel], label: &str) -> Result<usize> {
    labels.iter().position(|known| known.label == *label).ok_or_else(|| {
        SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("\"{label}\" is not an existing enum label"))
    })
}

/// RENAME TO
///
/// # Errors
/// 42710, and those of locks.
pub(super) async fn rename(standing: &mut Standing, def: &mut TypeDef, to: &str) -> Result<()> {
    claim(standing, def.namespace, to).await?;
    def.name = to.to_string();
    Ok(())
}

/// SET SCHEMA
///
/// # Errors
/// 42710, 3F000, 42501
pub(super) async fn set_namespace(standing: &mut Standing, def: &mut TypeDef, to: &str) -> Result<()> {
    let at = Name { namespace: Some(to.to_string()), name: def.name.clone(), position: None };
    let namespace = creation_namespace(standing, &at)?;
    if namespace.id != def.namespace {
        claim(standing, namespace.id, &def.name).await?;
        def.namespace = namespace.id;
    }
    Ok(())
}

/// The stored expressions of a table.
fn expressions_mut(table: &mut TableDef) -> Vec<&mut String> {
    let mut texts: Vec<&mut String> = Vec::new();
    for column in table.columns.iter_mut().filter(|column| !column.dropped) {
        texts.extend(column.default.as_mut());
        texts.extend(column.generated.as_mut());
    }
    for index in &mut table.indexes {
        texts.extend(index.predicate.as_mut());
        for key in &mut index.keys {
            if let IndexKeyPart::Expression { text, .. } = &mut key.what {
                texts.push(text);
            }
        }
    }
    texts.extend(table.checks.iter_mut().map(|check| &mut check.expression));
    texts
}

/// Stored expressions say a label by its text.
fn relabel(standing: &mut Standing, oid: Oid, from: &str, to: &str) -> Result<()> {
    let tables: Vec<Arc<TableDef>> = standing.catalog().tables().cloned().collect();
    for table in tables {
        let mut changed = (*table).clone();
        let mut any = false;
        for text in expressions_mut(&mut changed) {
            let renamed = bind::relabelled(text, oid, from, to);
            any |= renamed != *text;
            *text = renamed;
        }
        if any {
            changed.schema_version += 1;
            changed.updated_at = clock::now_us();
            standing.transaction().define(Change::PutTable(changed))?;
        }
    }
    let domains: Vec<Arc<TypeDef>> = standing.catalog().data_types().cloned().collect();
    for domain in domains {
        let mut changed = (*domain).clone();
        if let TypeKind::Domain { default, checks, .. } = &mut changed.kind {
            for text in default.iter_mut().chain(checks.iter_mut().map(|check| &mut check.expression)) {
                *text = bind::relabelled(text, oid, from, to);
            }
        }
        if changed != *domain {
            standing.transaction().define(Change::PutType(changed))?;
        }
    }
    Ok(())
}

/// DROP TYPE, DROP DOMAIN
///
/// # Errors
/// 42501, 42704, 42809, 2BP01
pub(super) async fn drop(
    standing: &mut Standing,
    names: &[Name],
    domain: bool,
    if_exists: bool,
    cascade: bool,
) -> Result<Outcome> {
    let tag = if domain { "DROP DOMAIN" } else { "DROP TYPE" };
    standing.writable(tag)?;
    let mut going = Vec::with_capacity(names.len());
    for name in names {
        let Some(def) = lock(standing, name).await? else {
            if name.namespace.as_deref().is_none_or(|namespace| namespace == "pg_catalog")
                && let Some(ty) = SqlType::from_name(&name.name)
            {
                let message = format!("cannot drop type {ty} because it is required by the database system");
                return Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message));
            }
            if if_exists {
                standing.notice(format!("type \"{}\" does not exist, skipping", name.name));
                continue;
            }
            return Err(missing(name));
        };
        owned(standing, &def)?;
        if domain && !matches!(def.kind, TypeKind::Domain { .. }) {
            let message = format!("\"{}\" is not a domain", shown(name));
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        if going.iter().all(|other: &Arc<TypeDef>| other.id != def.id) {
            going.push(def);
        }
    }
    let roots: Vec<Object> = going.iter().map(|def| Object::Type(def.id)).collect();
    super::drop::dependents(standing, &roots, cascade).await?;
    for def in going {
        standing.transaction().define(Change::DropType(def.id))?;
    }
    done(tag)
}
