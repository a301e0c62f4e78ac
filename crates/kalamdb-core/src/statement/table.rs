//! CREATE, DROP, TRUNCATE and LOCK TABLE; what ALTER TABLE shares with them.

use super::prepared::BindingNames;
use super::{Guard, Outcome, actions, constraint, foreign_key, generated, query::lock_wait, sequence, user_type};
use crate::depend::Object;
use crate::error;
use crate::resolve::{self, Resolved, permit};
use crate::standing::{Portal, Standing};
use crate::system;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{
    AccessLevel, ColumnId, ColumnName, Datum, NamespaceId, PgType, Result, SqlError, SqlState, StorageId, TableId,
    TableName, TableType, UserId, clock,
};
use kalamdb_sql::bind;
use kalamdb_sql::bind::bound::{Action, Need, Scalar};
use kalamdb_sql::statement::{ColumnSpec, ConstraintSpec, CreateTable, Name};
use kalamdb_store::{
    Catalog, Change, ColumnDef, FlushPolicy, KeyDef, LockWait, NamespaceDef, StoreError, TableDef, TableLockMode,
    TableOptions,
};
use std::sync::Arc;

/// PostgreSQL's limit on a table's columns; dropped ones count.
const COLUMNS_MAX: usize = 1600;
/// PostgreSQL's limit on an index's columns.
const KEY_COLUMNS_MAX: usize = 32;
/// PostgreSQL's storage parameters that clients send; they are kept and shown in pg_class.reloptions.
const RELOPTIONS: &[&str] = &["fillfactor", "toast_tuple_target", "parallel_workers", "user_catalog_table"];

/// CREATE TABLE
///
/// # Errors
/// 42501, 42P07, 3F000, 42701, 42P16, 42703, 22023 for an option that does not fit.
pub(super) async fn create(standing: &mut Standing, create: &CreateTable) -> Result<Outcome> {
    standing.writable("CREATE TABLE")?;
    let namespace = creation_namespace(standing, &create.name)?;
    may_create_in(standing, &namespace)?;
    if !super::name::claim(standing, namespace.id, &create.name.name).await? {
        let taken = super::name::taken(&create.name.name);
        if create.if_not_exists {
            standing.notice(format!("{}, skipping", taken.message()));
            return done("CREATE TABLE");
        }
        return Err(taken);
    }
    let mut table = definition(standing, create, &namespace)?;
    let likes = super::like::sources(standing, create).await?;
    super::like::columns(&mut table, create, &likes)?;
    generated::settle(standing, &mut table, &create.columns)?;
    generated::give_sequences(standing, &mut table, &create.columns).await?;
    super::like::identities(standing, &mut table, create, &likes).await?;
    for constraint in &create.constraints {
        match constraint {
            ConstraintSpec::Check(check) => {
                constraint::add_check(standing, &mut table, check, true)?;
            }
            // Those come when the table is there: it may refer to itself.
            ConstraintSpec::ForeignKey(_) => {}
        }
    }
    if let Some((name, columns)) = &create.primary_key {
        let name = match name {
            Some(name) => {
                claim_index_name(standing, &table, name).await?;
                name.clone()
            }
            None => super::index::choose_name(standing, &table, &[], "pkey").await?,
        };
        set_key(standing, &mut table, name, columns)?;
    }
    for unique in &create.uniques {
        super::index::add_unique(standing, &mut table, unique, true).await?;
    }
    super::like::parts(standing, &mut table, create, &likes).await?;
    standing.transaction().define(Change::PutTable(table.clone()))?;
    for constraint in &create.constraints {
        if let ConstraintSpec::ForeignKey(key) = constraint {
            foreign_key::add(standing, &mut table, key, true).await?;
            standing.transaction().define(Change::PutTable(table.clone()))?;
        }
    }
    super::like::comments(standing, &table, create, &likes)?;
    done("CREATE TABLE")
}

/// Where a new relation goes: the named namespace, or the first of the search path that exists.
pub(super) fn creation_namespace(standing: &Standing, name: &Name) -> Result<Arc<NamespaceDef>> {
    let catalog = standing.catalog();
    let missing =
        |name: &str| SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"));
    let namespace = match &name.namespace {
        Some(namespace) => catalog.namespace_by_name(namespace).ok_or_else(|| missing(namespace))?,
        None => {
            let path = standing.derived().basis.search_path.clone();
            path.iter().find_map(|name| catalog.namespace_by_name(name)).ok_or_else(|| {
                SqlError::new(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in")
                    .at(name.position)
            })?
        }
    };
    if namespace.id != kalamdb_commons::ids::PUBLIC && namespace.id.0 < kalamdb_commons::ids::FIRST_USER_OID {
        return Err(error::denied(format!("schema {}", namespace.name)));
    }
    Ok(namespace.clone())
}

/// What an own namespace's maker and dbas may.
///
/// # Errors
/// 42501
pub(super) fn may_create_in(standing: &Standing, namespace: &NamespaceDef) -> Result<()> {
    let is_granted = namespace.owner == standing.identity.user && namespace.id != kalamdb_commons::ids::PUBLIC;
    let action = AdminAction::CreateTable { is_granted };
    permit(&standing.identity, action, &format!("schema {}", namespace.name)).map(|_| ())
}

fn definition(standing: &mut Standing, create: &CreateTable, namespace: &NamespaceDef) -> Result<TableDef> {
    check_column_count(create.columns.len())?;
    let (kind, access, storage, options) = options_of(create.kind, &create.options)?;
    let mut columns: Vec<ColumnDef> = Vec::with_capacity(create.columns.len());
    for (at, spec) in create.columns.iter().enumerate() {
        if columns.iter().any(|column| column.name.as_str() == spec.name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{}\" specified more than once", spec.name),
            ));
        }
        columns.push(column_of(standing, spec, ColumnId(at as i16 + 1))?);
    }
    let now = clock::now_us();
    Ok(TableDef {
        id: TableId(standing.hall.store.allocate_oid()),
        namespace: namespace.id,
        name: TableName::new(create.name.name.as_str()),
        kind,
        access,
        storage,
        owner: standing.identity.user,
        options,
        schema_version: 1,
        columns,
        primary_key: None,
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        row_type: standing.hall.store.allocate_oid(),
        created_at: now,
        updated_at: now,
    })
}

/// Locks the name of a key, which must be free.
///
/// # Errors
/// 42P07
async fn claim_index_name(standing: &mut Standing, table: &TableDef, name: &str) -> Result<()> {
    if name == table.name.as_str() {
        return Err(super::name::taken(name));
    }
    super::name::require(standing, table.namespace, name).await
}

/// 54011 for more columns than a table may have.
///
/// # Errors
/// 54011
pub(super) fn check_column_count(count: usize) -> Result<()> {
    if count > COLUMNS_MAX {
        return Err(SqlError::new(
            SqlState::TOO_MANY_COLUMNS,
            format!("tables can have at most {COLUMNS_MAX} columns"),
        ));
    }
    Ok(())
}

/// Whether a column of this name is there without being declared: ours, and PostgreSQL's, which no table may declare.
pub(super) fn is_system_column(name: &str) -> bool {
    name.starts_with('_') || matches!(name, "tableoid" | "xmin" | "xmax" | "cmin" | "cmax" | "ctid")
}

/// The name of a new column.
///
/// # Errors
/// 42701 for a system column's, 42939 for a name of the kind that is ours.
pub(super) fn check_column_name(name: &str) -> Result<()> {
    if name.starts_with('_') {
        return Err(SqlError::new(SqlState::RESERVED_NAME, format!("column name \"{name}\" is reserved"))
            .with_detail("Names that begin with an underscore are KalamDB's own."));
    }
    if is_system_column(name) {
        return Err(SqlError::new(
            SqlState::DUPLICATE_COLUMN,
            format!("column name \"{name}\" conflicts with a system column name"),
        ));
    }
    Ok(())
}

/// A column as it is declared.
///
/// # Errors
/// 42701, 42P16, and those of the default.
pub(super) fn column_of(standing: &Standing, spec: &ColumnSpec, id: ColumnId) -> Result<ColumnDef> {
    check_column_name(&spec.name)?;
    let (ty, domain) = user_type::meaning(standing, &spec.ty)?;
    if ty.ty.facts().kind == 'p' {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("column \"{}\" has pseudo-type {}", spec.name, ty),
        ));
    }
    let default = match &spec.default {
        None => None,
        Some((_, text)) => default_of(standing, text, &spec.name, ty)?
            .map(|_| default_text(standing, text, &spec.name, ty))
            .transpose()?,
    };
    Ok(ColumnDef {
        id,
        name: ColumnName::new(spec.name.as_str()),
        ty,
        not_null: spec.not_null,
        default,
        identity: None,
        generated: spec.generated.as_ref().map(|(text, _)| text.clone()),
        domain,
        missing: Datum::Null,
        dropped: false,
    })
}

/// A DEFAULT's expression, checked; `None` for NULL alone, which PostgreSQL does not keep either.
///
/// # Errors
/// PostgreSQL's: 42804, 0A000 for column references and subqueries.
pub(super) fn default_of(standing: &Standing, text: &str, column: &str, ty: PgType) -> Result<Option<Scalar>> {
    let default = bind::bind_default(text, column, ty, &BindingNames::new(standing))?;
    Ok((!matches!(default, Scalar::Const(Datum::Null, _))).then_some(default))
}

/// A DEFAULT's text as the catalog keeps it: what its names mean stays whatever they are called later.
///
/// # Errors
/// As [`default_of`].
pub(super) fn default_text(standing: &Standing, text: &str, column: &str, ty: PgType) -> Result<String> {
    match bind::canonical_default(text, column, ty, &BindingNames::new(standing)) {
        // What cannot be written down in PostgreSQL's form is kept as it was said.
        Err(error) if error.state() == SqlState::FEATURE_NOT_SUPPORTED => Ok(text.to_string()),
        other => other,
    }
}

/// Gives a table its primary key: its columns become NOT NULL.
///
/// # Errors
/// 54011, 42703, 42701, 0A000 for a type that no key has.
pub(super) fn set_key(standing: &Standing, table: &mut TableDef, name: String, columns: &[String]) -> Result<()> {
    if columns.len() > KEY_COLUMNS_MAX {
        return Err(SqlError::new(
            SqlState::TOO_MANY_COLUMNS,
            format!("cannot use more than {KEY_COLUMNS_MAX} columns in an index"),
        ));
    }
    let mut ids = Vec::with_capacity(columns.len());
    for name in columns {
        let column = table.columns.iter_mut().find(|column| !column.dropped && column.name.as_str() == name);
        let Some(column) = column else {
            return Err(SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" named in key does not exist"),
            ));
        };
        if ids.contains(&column.id) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" appears twice in primary key constraint"),
            ));
        }
        if kalamdb_store::codec::key::check_type(column.ty.ty).is_err() {
            return Err(SqlError::unsupported(format!("a primary key column of type {}", column.ty)));
        }
        column.not_null = true;
        ids.push(column.id);
    }
    table.primary_key = Some(KeyDef {
        constraint: standing.hall.store.allocate_oid(),
        index: standing.hall.store.allocate_oid(),
        name,
        columns: ids,
    });
    Ok(())
}

/// Reads `WITH (…)`: what kind of table, who may, where segments go, and the rest.
pub(super) fn options_of(
    kind: Option<TableType>,
    given: &[(String, String)],
) -> Result<(TableType, AccessLevel, StorageId, TableOptions)> {
    let named = given
        .iter()
        .find(|(name, _)| name == "type")
        .map(|(_, value)| TableType::parse(value).ok_or_else(|| bad_option("type", value, "USER, SHARED or STREAM")));
    let kind = match (kind, named.transpose()?) {
        (Some(said), Some(named)) if said != named => {
            return Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("the table is said to be {said} and {named}"),
            ));
        }
        (said, named) => said.or(named).unwrap_or(TableType::Shared),
    };
    let mut access = AccessLevel::Private;
    let mut storage = StorageId::new("local");
    let mut options = TableOptions::default();
    for (name, value) in given.iter().filter(|(name, _)| name != "type") {
        apply_option(kind, name, value, &mut access, &mut storage, &mut options)?;
    }
    if kind == TableType::Stream && options.ttl_seconds.is_none() {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "a STREAM table needs the option TTL_SECONDS"));
    }
    Ok((kind, access, storage, options))
}

fn bad_option(name: &str, value: &str, expected: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("invalid value for option \"{}\": \"{value}\"", name.to_uppercase()),
    )
    .with_detail(format!("It takes {expected}."))
}

/// Sets one option.
///
/// # Errors
/// 22023, 42704, 0A000
pub(super) fn apply_option(
    kind: TableType,
    name: &str,
    value: &str,
    access: &mut AccessLevel,
    storage: &mut StorageId,
    options: &mut TableOptions,
) -> Result<()> {
    let fits = |kinds: &[TableType]| {
        if kinds.contains(&kind) {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("option \"{}\" does not fit a {} table", name.to_uppercase(), kind.as_str().to_uppercase()),
        ))
    };
    let number = |what: &str| value.parse::<u32>().map_err(|_| bad_option(name, value, what));
    match name {
        "access_level" => {
            fits(&[TableType::Shared])?;
            *access =
                AccessLevel::parse(value).ok_or_else(|| bad_option(name, value, "public, private or restricted"))?;
        }
        "storage_id" => {
            fits(&[TableType::User, TableType::Shared])?;
            if value != "local" {
                return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("storage \"{value}\" does not exist")));
            }
            *storage = StorageId::new(value);
        }
        "use_user_storage" => {
            fits(&[TableType::User])?;
            match value.to_ascii_lowercase().as_str() {
                "false" | "off" | "no" | "0" => options.use_user_storage = false,
                "true" | "on" | "yes" | "1" => return Err(SqlError::unsupported("USE_USER_STORAGE")),
                _ => return Err(bad_option(name, value, "true or false")),
            }
        }
        "flush_policy" => {
            fits(&[TableType::User, TableType::Shared])?;
            options.flush_policy = Some(flush_policy(value)?);
        }
        "deleted_retention_hours" => {
            fits(&[TableType::User, TableType::Shared])?;
            options.deleted_retention_hours = number("a number of hours")?;
        }
        "ttl_seconds" => {
            fits(&[TableType::Stream])?;
            let ttl = number("a number of seconds, from 1")?;
            if ttl == 0 {
                return Err(bad_option(name, value, "a number of seconds, from 1"));
            }
            options.ttl_seconds = Some(ttl);
        }
        name if RELOPTIONS.contains(&name) || name.starts_with("autovacuum_") || name.starts_with("toast.") => {
            options.reloptions.retain(|option| !option.starts_with(&format!("{name}=")));
            options.reloptions.push(format!("{name}={value}"));
        }
        _ => {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\"")));
        }
    }
    Ok(())
}

/// `rows:N`, `interval:SECONDS`, or both with a comma.
fn flush_policy(text: &str) -> Result<FlushPolicy> {
    let bad = || bad_option("flush_policy", text, "'rows:N', 'interval:SECONDS', or both with a comma");
    let mut policy = FlushPolicy { rows: None, interval_seconds: None };
    for part in text.split(',') {
        let (word, number) = part.trim().split_once(':').ok_or_else(bad)?;
        let number = number.trim().parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(bad)?;
        let slot = match word.trim().to_ascii_lowercase().as_str() {
            "rows" => &mut policy.rows,
            "interval" => &mut policy.interval_seconds,
            _ => return Err(bad()),
        };
        if slot.replace(number).is_some() {
            return Err(bad());
        }
    }
    Ok(policy)
}

/// A table by name, on the search path.
///
/// # Errors
/// 42P01; 42809 for a computed relation.
pub(super) fn find(standing: &Standing, name: &Name) -> Result<Arc<TableDef>> {
    let catalog = standing.catalog();
    lookup(standing, &catalog, name)?.ok_or_else(|| no_table(standing, name))
}

/// 42809 for what is no table, 42P01 for what is not there.
pub(super) fn no_table(standing: &Standing, name: &Name) -> SqlError {
    match super::index::find(standing, name) {
        Some(_) => SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", name.name)),
        None => error::no_relation(shown(name)).at(name.position),
    }
}

/// A name as errors show it.
pub(super) fn shown(name: &Name) -> String {
    match &name.namespace {
        Some(namespace) => format!("{namespace}.{}", name.name),
        None => name.name.clone(),
    }
}

fn lookup(standing: &Standing, catalog: &Catalog, name: &Name) -> Result<Option<Arc<TableDef>>> {
    let path = match &name.namespace {
        Some(namespace) => vec![namespace.clone()],
        None => {
            let mut path = standing.derived().basis.search_path.clone();
            // PostgreSQL manual 5.9.5: pg_catalog is searched first unless the path names it.
            if !path.iter().any(|namespace| namespace == "pg_catalog") {
                path.insert(0, "pg_catalog".to_string());
            }
            path
        }
    };
    for namespace in &path {
        if system::relations().by_name(namespace, &name.name).is_some() {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", name.name),
            ));
        }
        let found = catalog.namespace_by_name(namespace).and_then(|space| catalog.table_by_name(space.id, &name.name));
        if found.is_some() {
            return Ok(found.cloned());
        }
    }
    Ok(None)
}

/// Locks a table for a change of its definition and returns it as it is under the lock.
///
/// # Errors
/// 42501 for a system catalog, 40001 at REPEATABLE READ for a definition that is older than another's commit, those of
/// locks.
pub(super) async fn lock_for_change(standing: &mut Standing, name: &Name) -> Result<Option<Arc<TableDef>>> {
    lock_with(standing, name, TableLockMode::AccessExclusive).await
}

/// The same with another lock, which must keep others from changing the definition.
///
/// # Errors
/// As [`lock_for_change`].
pub(super) async fn lock_with(
    standing: &mut Standing,
    name: &Name,
    mode: TableLockMode,
) -> Result<Option<Arc<TableDef>>> {
    let wait = lock_wait(standing);
    loop {
        standing.begin_statement()?;
        let catalog = standing.catalog();
        let Some(table) = lookup(standing, &catalog, name)? else { return Ok(None) };
        standing.transaction().table_lock(table.id, mode, wait).await?;
        standing.begin_statement()?;
        let catalog = standing.catalog();
        match lookup(standing, &catalog, name)? {
            Some(now) if now.id == table.id => {
                if !standing.transaction().sees_newest(now.id) {
                    return Err(StoreError::SchemaChanged(now.id).into());
                }
                return Ok(Some(now));
            }
            None => return Ok(None),
            // Dropped and made anew while we waited: lock that one.
            Some(_) => {}
        }
    }
}

/// 42501 for who may not do this to the table.
///
/// # Errors
/// 42501
pub(super) fn owned(standing: &Standing, table: &TableDef, action: fn(bool) -> AdminAction) -> Result<()> {
    let is_owner = table.owner == standing.identity.user;
    permit(&standing.identity, action(is_owner), &format!("table {}", table.name)).map(|_| ())
}

/// A table that a cursor or a suspended portal of this very session still reads must stay as it is, and one whose rows
/// a deferred constraint will look at.
///
/// # Errors
/// 55006
pub(super) fn not_in_use(standing: &Standing, table: &TableDef, command: &str) -> Result<()> {
    if standing.referential.waits_on(table.id) {
        return Err(SqlError::new(
            SqlState::OBJECT_IN_USE,
            format!("cannot {command} \"{}\" because it has pending trigger events", table.name),
        ));
    }
    not_read(standing, table.id, &table.name, command)
}

/// The same for any relation that is read.
///
/// # Errors
/// 55006
pub(super) fn not_read(standing: &Standing, relation: TableId, name: &TableName, command: &str) -> Result<()> {
    let reads = |portal: &Portal| portal.is_open() && portal.needs().iter().any(|need| need.table == relation);
    if standing.portals.values().any(reads) {
        return Err(SqlError::new(
            SqlState::OBJECT_IN_USE,
            format!("cannot {command} \"{name}\" because it is being used by active queries in this session"),
        ));
    }
    Ok(())
}

/// OWNER TO: who is to own a relation. To oneself, or by who manages tables: a view reads by its owner's rights.
///
/// # Errors
/// 42501, 42704
pub(super) fn new_owner(standing: &Standing, to: Option<&str>, owner: UserId, what: &str) -> Result<UserId> {
    let to = match to {
        Some(to) => super::user::find(&standing.catalog(), to)?.id,
        None => standing.identity.user,
    };
    if to != owner {
        let action = AdminAction::AlterTable { is_owner: to == standing.identity.user };
        permit(&standing.identity, action, what)?;
    }
    Ok(to)
}

/// DROP TABLE
///
/// # Errors
/// 42501, 42P01, 55006, 2BP01
pub(super) async fn drop(standing: &mut Standing, names: &[Name], if_exists: bool, cascade: bool) -> Result<Outcome> {
    standing.writable("DROP TABLE")?;
    let mut tables: Vec<Arc<TableDef>> = Vec::with_capacity(names.len());
    for name in names {
        match lock_for_change(standing, name).await? {
            Some(table) => {
                owned(standing, &table, |is_owner| AdminAction::DropTable { is_owner })?;
                not_in_use(standing, &table, "DROP TABLE")?;
                if tables.iter().all(|other| other.id != table.id) {
                    tables.push(table);
                }
            }
            None => missing_to_drop(standing, name, "table", if_exists)?,
        }
    }
    let roots: Vec<Object> = tables.iter().map(|table| Object::Table(table.id)).collect();
    super::drop::dependents(standing, &roots, cascade).await?;
    for table in tables {
        standing.transaction().define(Change::DropTable(table.id))?;
    }
    done("DROP TABLE")
}

/// What DROP says of a name that is none of its kind.
///
/// # Errors
/// 42P01, 3F000, 42809
pub(super) fn missing_to_drop(standing: &mut Standing, name: &Name, kind: &str, if_exists: bool) -> Result<()> {
    if let Some(named) = super::index::find(standing, name) {
        return Err(super::drop::wrong_kind(named, &name.name, &format!("a {kind}")));
    }
    let space = name.namespace.as_ref().filter(|space| standing.catalog().namespace_by_name(space).is_none());
    if if_exists {
        let what = match space {
            Some(space) => format!("schema \"{space}\""),
            None => format!("{kind} \"{}\"", name.name),
        };
        standing.notice(format!("{what} does not exist, skipping"));
        return Ok(());
    }
    Err(match space {
        Some(space) => SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{space}\" does not exist")),
        None => SqlError::new(SqlState::UNDEFINED_TABLE, format!("{kind} \"{}\" does not exist", shown(name))),
    })
}

/// TRUNCATE
///
/// # Errors
/// 42501, 42P01, 0A000 for a table that others refer to, unless they are emptied too.
pub(super) async fn truncate(
    standing: &mut Standing,
    names: &[Name],
    restart: bool,
    cascade: bool,
    guard: &Guard,
) -> Result<Outcome> {
    standing.writable("TRUNCATE TABLE")?;
    standing.referential.begin_statement();
    let mut tables: Vec<Arc<TableDef>> = Vec::with_capacity(names.len());
    for name in names {
        let Some(table) = lock_for_change(standing, name).await? else {
            return Err(no_table(standing, name));
        };
        if restart {
            sequence::restart_belonging(standing, table.id).await?;
        }
        if tables.iter().all(|known| known.id != table.id) {
            not_in_use(standing, &table, "TRUNCATE")?;
            tables.push(table);
        }
    }
    let mut at = 0;
    while at < tables.len() {
        let parent = tables[at].clone();
        at += 1;
        let listed: Vec<TableId> = tables.iter().map(|table| table.id).collect();
        for dependent in foreign_key::dependents(standing, parent.id, &listed, |_| true) {
            if tables.iter().any(|known| known.id == dependent.table) {
                continue;
            }
            let catalog = standing.transaction().newest_catalog();
            let Some(child) = catalog.table(dependent.table) else { continue };
            if !cascade {
                let detail = format!("Table \"{}\" references \"{}\".", child.name, parent.name);
                return Err(is_referenced(detail).with_hint(format!(
                    "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                    child.name
                )));
            }
            let wait = lock_wait(standing);
            standing.transaction().table_lock(dependent.table, TableLockMode::AccessExclusive, wait).await?;
            standing.begin_statement()?;
            if !standing.transaction().sees_newest(dependent.table) {
                return Err(StoreError::SchemaChanged(dependent.table).into());
            }
            let Some(child) = standing.catalog().table(dependent.table).cloned() else { continue };
            standing.notice(format!("truncate cascades to table \"{}\"", child.name));
            tables.push(child);
        }
        // Of a USER table the user's own rows go alone: the others' would be left behind.
        let catalog = standing.transaction().newest_catalog();
        let of_users = catalog.referencing(parent.id).find(|child| child.is_per_user() && !parent.is_per_user());
        if let Some(child) = of_users {
            let detail = format!("USER table \"{}\" references \"{}\".", child.name, parent.name);
            return Err(is_referenced(detail).with_hint("DELETE removes rows with their references."));
        }
    }
    // What refers goes before what is referred to, as far as rows go one by one.
    for table in tables.iter().rev() {
        empty(standing, table, guard).await?;
    }
    actions::settle(standing).await?;
    done("TRUNCATE TABLE")
}

fn is_referenced(detail: String) -> SqlError {
    let message = "cannot truncate a table referenced in a foreign key constraint";
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).with_detail(detail)
}

/// Removes the rows of a table: all of a SHARED one, the user's own of another.
async fn empty(standing: &mut Standing, table: &Arc<TableDef>, guard: &Guard) -> Result<()> {
    if table.is_per_user() {
        // The table is everybody's, the rows are the user's own: those go, one by one, without tombstones.
        let namespace = namespace_name(&standing.catalog(), table.namespace);
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let sql = format!("DELETE FROM {}.{} WITH (PURGE)", quote(&namespace), quote(table.name.as_str()));
        let parsed = kalamdb_sql::parse::parse(&sql)?.pop();
        let parsed = parsed.ok_or_else(|| SqlError::internal("no DELETE for TRUNCATE"))?;
        let prepared = Arc::new(super::prepare(standing, parsed, Vec::new(), false)?);
        let (prepared, relations) = super::query::relations(standing, &prepared).await?;
        let emptied = super::carry_out::within(standing, &prepared, &relations, Arc::default(), guard, None);
        return emptied.await.map(|_| ());
    }
    let need = Need {
        table: table.id,
        schema_version: table.schema_version,
        action: Action::Truncate,
        columns: Default::default(),
        with_deleted: false,
        judged_as: None,
    };
    match resolve::relation(&standing.catalog(), &standing.identity, &need)? {
        Resolved::Relation(relation) => relation.truncate(standing.transaction()),
        Resolved::Stale => Err(error::no_relation(table.name.as_str())),
    }
}

/// The table lock that these words name (PostgreSQL manual, LOCK).
fn lock_mode(words: &str) -> Option<TableLockMode> {
    Some(match words.to_ascii_lowercase().as_str() {
        "access share" => TableLockMode::AccessShare,
        "row share" => TableLockMode::RowShare,
        "row exclusive" => TableLockMode::RowExclusive,
        "share update exclusive" => TableLockMode::ShareUpdateExclusive,
        "share" => TableLockMode::Share,
        "share row exclusive" => TableLockMode::ShareRowExclusive,
        "exclusive" => TableLockMode::Exclusive,
        "access exclusive" => TableLockMode::AccessExclusive,
        _ => return None,
    })
}

/// LOCK TABLE
///
/// # Errors
/// 25P01, 42501, 42P01, 55P03
pub(super) async fn lock(standing: &mut Standing, names: &[Name], mode: &str, nowait: bool) -> Result<Outcome> {
    standing.inside_block("LOCK TABLE")?;
    let mode = lock_mode(mode)
        .ok_or_else(|| SqlError::new(SqlState::SYNTAX_ERROR, format!("unknown lock mode \"{mode}\"")))?;
    let wait = if nowait { LockWait::NoWait } else { lock_wait(standing) };
    for name in names {
        standing.begin_statement()?;
        let table = find(standing, name)?;
        let action = if mode == TableLockMode::AccessShare { Action::Select } else { Action::Delete };
        let need = Need {
            table: table.id,
            schema_version: table.schema_version,
            action,
            columns: Default::default(),
            with_deleted: false,
            judged_as: None,
        };
        resolve::relation(&standing.catalog(), &standing.identity, &need)?;
        standing.transaction().table_lock(table.id, mode, wait).await?;
    }
    done("LOCK TABLE")
}

/// The namespace of system objects' names.
pub(super) fn namespace_name(catalog: &Catalog, id: NamespaceId) -> String {
    catalog.namespace(id).map(|namespace| namespace.name.to_string()).unwrap_or_default()
}

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}
