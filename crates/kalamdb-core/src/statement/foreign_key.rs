//! FOREIGN KEY constraints as definitions: declared, and what depends on the tables, columns and indexes they name.

use super::constraint::{check_name, choose_name};
use super::key_match::{Fit, fit};
use super::query::lock_wait;
use super::table::{lock_with, owned, shown};
use crate::error;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{ColumnId, Oid, Result, SqlError, SqlState, TableId, TableType, clock};
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::statement::{ForeignKeySpec, Name, ReferentialAct};
use kalamdb_store::{Change, ConstraintTiming, ForeignKeyDef, ReferentialAction, StoreError, TableDef, TableLockMode};
use std::sync::Arc;

/// PostgreSQL's limit on a key's columns.
const COLUMNS_MAX: usize = 32;

/// Gives a table a foreign key: its OID. `is_new`: the table is being made, so that there is nothing to look at.
///
/// # Errors
/// 42501, 42P01, 42703, 42704, 42710, 42804, 42809, 42830, 42P10, 54011, and 0A000 between kinds of tables that cannot
/// refer to each other.
pub(super) async fn add(
    standing: &mut Standing,
    table: &mut TableDef,
    spec: &ForeignKeySpec,
    is_new: bool,
) -> Result<Oid> {
    let parent = referenced_table(standing, table, &spec.parent).await?;
    check_kinds(table, &parent)?;
    let columns = named(table, &spec.columns)?;
    let on_delete = action(table, &columns, &spec.on_delete)?;
    let on_update = action(table, &columns, &spec.on_update)?;
    let (parent_columns, parent_index) = referenced_key(&parent, &spec.parent_columns)?;
    if columns.len() != parent_columns.len() {
        let message = "number of referencing and referenced columns for foreign key disagree";
        return Err(SqlError::new(SqlState::INVALID_FOREIGN_KEY, message));
    }
    let name = match &spec.name {
        Some(name) => {
            check_name(table, name)?;
            name.clone()
        }
        None => choose_name(standing, table, &spec.columns.join("_"), "fkey"),
    };
    check_types(table, &parent, &columns, &parent_columns, &name)?;
    let id = standing.hall.store.allocate_oid();
    let timing = match (spec.deferrable, spec.deferred) {
        (false, _) => ConstraintTiming::Immediate,
        (true, false) => ConstraintTiming::Deferrable,
        (true, true) => ConstraintTiming::Deferred,
    };
    table.foreign_keys.push(ForeignKeyDef {
        id,
        name,
        columns,
        parent: parent.id,
        parent_columns,
        parent_index,
        on_update,
        on_delete,
        match_full: spec.match_full,
        timing,
        validated: is_new || !spec.not_valid,
    });
    Ok(id)
}

/// The table that REFERENCES names, locked against writers: the one that is being changed, or another.
async fn referenced_table(standing: &mut Standing, table: &TableDef, name: &Name) -> Result<Arc<TableDef>> {
    let found = super::table::find(standing, name).map(|found| found.id);
    if found.as_ref().is_ok_and(|found| *found == table.id) {
        return Ok(Arc::new(table.clone()));
    }
    if let Err(error) = found
        && error.state() != SqlState::UNDEFINED_TABLE
    {
        return Err(error);
    }
    let Some(parent) = lock_with(standing, name, TableLockMode::ShareRowExclusive).await? else {
        if super::index::find(standing, name).is_some() {
            let message = format!("referenced relation \"{}\" is not a table", name.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        return Err(error::no_relation(shown(name)));
    };
    // What a foreign key forbids its owner must want.
    owned(standing, &parent, |is_owner| AdminAction::AlterTable { is_owner })?;
    Ok(parent)
}

/// Which kinds of tables may refer to which: a row's reference must be one that its readers and writers share.
fn check_kinds(table: &TableDef, parent: &TableDef) -> Result<()> {
    match (table.kind, parent.kind) {
        (TableType::Stream, _) => Err(SqlError::unsupported("a foreign key of a STREAM table")),
        (_, TableType::Stream) => Err(SqlError::unsupported("a foreign key to a STREAM table")
            .with_detail("Rows of STREAM tables go by themselves.")),
        (TableType::Shared, TableType::User) => {
            Err(SqlError::unsupported("a foreign key from a SHARED table to a USER table")
                .with_detail("A row that everybody sees would refer to a row that one user sees."))
        }
        _ => Ok(()),
    }
}

/// Columns by their names.
fn named(table: &TableDef, names: &[String]) -> Result<Vec<ColumnId>> {
    if names.len() > COLUMNS_MAX {
        let message = format!("cannot have more than {COLUMNS_MAX} keys in a foreign key");
        return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, message));
    }
    let column = |name: &String| match table.column_by_name(name) {
        Some(column) => Ok(column.id),
        None if super::table::is_system_column(name) => {
            let message = "system columns cannot be used in foreign keys";
            Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message))
        }
        None => Err(SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" referenced in foreign key constraint does not exist"),
        )),
    };
    names.iter().map(column).collect()
}

fn action(table: &TableDef, key: &[ColumnId], act: &ReferentialAct) -> Result<ReferentialAction> {
    let set = |names: &[String]| -> Result<Vec<ColumnId>> {
        let columns = named(table, names)?;
        match columns.iter().zip(names).find(|(id, _)| !key.contains(id)) {
            None => Ok(columns),
            Some((_, name)) => Err(SqlError::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                format!("column \"{name}\" referenced in ON DELETE SET action must be part of foreign key"),
            )),
        }
    };
    Ok(match act {
        ReferentialAct::NoAction => ReferentialAction::NoAction,
        ReferentialAct::Restrict => ReferentialAction::Restrict,
        ReferentialAct::Cascade => ReferentialAction::Cascade,
        ReferentialAct::SetNull(names) => ReferentialAction::SetNull(set(names)?),
        ReferentialAct::SetDefault(names) => ReferentialAction::SetDefault(set(names)?),
    })
}

/// The referenced columns, and the unique index behind them.
fn referenced_key(parent: &TableDef, names: &[String]) -> Result<(Vec<ColumnId>, Oid)> {
    if names.is_empty() {
        let Some(key) = &parent.primary_key else {
            let message = format!("there is no primary key for referenced table \"{}\"", parent.name);
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        };
        return Ok((key.columns.clone(), key.index));
    }
    let columns = named(parent, names)?;
    if columns.iter().enumerate().any(|(at, id)| columns[..at].contains(id)) {
        let message = "foreign key referenced-columns list must not contain duplicates";
        return Err(SqlError::new(SqlState::INVALID_FOREIGN_KEY, message));
    }
    let is_same = |key: &[ColumnId]| key.len() == columns.len() && key.iter().all(|id| columns.contains(id));
    let primary = parent.primary_key.iter().map(|key| (key.columns.clone(), key.index));
    let unique = parent.indexes.iter().filter(|index| index.unique && index.predicate.is_none());
    let mut keys = primary.chain(unique.filter_map(|index| Some((index.columns()?, index.id))));
    match keys.find(|(key, _)| is_same(key)) {
        Some((_, index)) => Ok((columns, index)),
        None => Err(SqlError::new(
            SqlState::INVALID_FOREIGN_KEY,
            format!("there is no unique constraint matching given keys for referenced table \"{}\"", parent.name),
        )),
    }
}

fn check_types(
    table: &TableDef,
    parent: &TableDef,
    columns: &[ColumnId],
    parent_columns: &[ColumnId],
    name: &str,
) -> Result<()> {
    for (from, to) in columns.iter().zip(parent_columns) {
        let (Some(from), Some(to)) = (table.column(*from), parent.column(*to)) else { continue };
        let key_type =
            kalamdb_store::codec::key::check_type(to.ty.ty).and(kalamdb_store::codec::key::check_type(from.ty.ty));
        match fit(from.ty.ty, to.ty.ty) {
            Fit::Comparable if key_type.is_ok() => {}
            Fit::Comparable => return Err(SqlError::unsupported(format!("a foreign key over type {}", from.ty.ty))),
            Fit::Unsupported => {
                return Err(SqlError::unsupported(format!("a foreign key from type {} to {}", from.ty.ty, to.ty.ty)));
            }
            Fit::Incompatible => {
                let message = format!("foreign key constraint \"{name}\" cannot be implemented");
                let detail = format!(
                    "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                    from.name, to.name, from.ty.ty, to.ty.ty
                );
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).with_detail(detail));
            }
        }
    }
    Ok(())
}

/// A foreign key that depends on something.
pub(super) struct Dependent {
    pub table: TableId,
    pub key: ForeignKeyDef,
}

/// The foreign keys to a table of which `test` is true, but for those of some tables, in the order they were made.
pub(super) fn dependents(
    standing: &mut Standing,
    parent: TableId,
    except: &[TableId],
    test: impl Fn(&ForeignKeyDef) -> bool,
) -> Vec<Dependent> {
    let catalog = standing.transaction().newest_catalog();
    let mut found = Vec::new();
    for child in catalog.referencing(parent).filter(|child| !except.contains(&child.id)) {
        let keys = child.foreign_keys.iter().filter(|key| key.parent == parent && test(key));
        found.extend(keys.map(|key| Dependent { table: child.id, key: key.clone() }));
    }
    found.sort_by_key(|dependent| dependent.key.id);
    found
}

fn described(standing: &Standing, dependent: &Dependent) -> String {
    let table = standing.names().relation_name(dependent.table.0).unwrap_or_default();
    format!("constraint {} on table {table}", dependent.key.name)
}

/// What is dropped, and the foreign keys that depend on it, each with what exactly it depends on.
pub(super) type Dependents = Vec<(Dependent, String)>;

/// 2BP01 when something depends on what is to be dropped; with CASCADE it goes too. `table` is being changed: its own
/// foreign keys go from the definition in hand.
///
/// # Errors
/// 2BP01, those of locks.
pub(super) async fn drop_dependents(
    standing: &mut Standing,
    what: Option<&str>,
    found: Dependents,
    cascade: bool,
    mut table: Option<&mut TableDef>,
) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<(String, &String)> = found.iter().map(|(it, on)| (described(standing, it), on)).collect();
    if !cascade {
        let detail: Vec<String> = lines.iter().map(|(it, on)| format!("{it} depends on {on}")).collect();
        let message = match what {
            Some(what) => format!("cannot drop {what} because other objects depend on it"),
            None => "cannot drop desired object(s) because other objects depend on them".to_string(),
        };
        return Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .with_detail(detail.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let notice = match lines.as_slice() {
        [(one, _)] => SqlError::new(SqlState::SUCCESSFUL_COMPLETION, format!("drop cascades to {one}")),
        several => {
            let detail: Vec<String> = several.iter().map(|(it, _)| format!("drop cascades to {it}")).collect();
            let message = format!("drop cascades to {} other objects", several.len());
            SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message).with_detail(detail.join("\n"))
        }
    };
    standing.notices.lock().push(notice);
    for (dependent, _) in &found {
        match &mut table {
            Some(table) if table.id == dependent.table => table.foreign_keys.retain(|key| key.id != dependent.key.id),
            _ => remove(standing, dependent).await?,
        }
    }
    Ok(())
}

/// Takes a foreign key from its table.
///
/// # Errors
/// Those of locks.
pub(super) async fn remove(standing: &mut Standing, dependent: &Dependent) -> Result<()> {
    let wait = lock_wait(standing);
    standing.transaction().table_lock(dependent.table, TableLockMode::AccessExclusive, wait).await?;
    standing.begin_statement()?;
    if !standing.transaction().sees_newest(dependent.table) {
        return Err(StoreError::SchemaChanged(dependent.table).into());
    }
    let Some(table) = standing.catalog().table(dependent.table).cloned() else { return Ok(()) };
    let mut table = (*table).clone();
    table.foreign_keys.retain(|key| key.id != dependent.key.id);
    table.schema_version += 1;
    table.updated_at = clock::now_us();
    Ok(standing.transaction().define(Change::PutTable(table))?)
}
