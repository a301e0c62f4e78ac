//! CHECK constraints as definitions: declared, named, validated; what all constraints' names have in common; and SET
//! CONSTRAINTS.

use super::index::made_name;
use super::prepared::{BindingNames, shape_of};
use super::{Outcome, actions, rewrite, valid};
use crate::check::Refusal;
use crate::standing::Standing;
use arrow_array::RecordBatch;
use futures::StreamExt;
use kalamdb_commons::{ColumnId, NamespaceId, Oid, Result, SqlError, SqlState};
use kalamdb_sql::bind::{self, Purpose};
use kalamdb_sql::statement::{CheckSpec, Name};
use kalamdb_store::{Catalog, CheckDef, ConstraintTiming, TableDef};
use std::sync::Arc;

/// The names of all constraints of a table.
pub(super) fn names(table: &TableDef) -> impl Iterator<Item = &str> {
    let key = table.primary_key.iter().map(|key| key.name.as_str());
    key.chain(table.indexes.iter().filter(|index| index.constraint.is_some()).map(|index| index.name.as_str()))
        .chain(table.checks.iter().map(|check| check.name.as_str()))
        .chain(table.foreign_keys.iter().map(|key| key.name.as_str()))
}

/// 42710 for a constraint's name that is taken in its table.
///
/// # Errors
/// 42710
pub(super) fn check_name(table: &TableDef, name: &str) -> Result<()> {
    if names(table).any(|known| known == name) {
        return Err(SqlError::new(
            SqlState::DUPLICATE_OBJECT,
            format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
        ));
    }
    Ok(())
}

/// Whether a constraint in this namespace has a name.
fn is_taken(catalog: &Catalog, namespace: NamespaceId, name: &str) -> bool {
    catalog.tables_of(namespace).any(|table| names(table).any(|known| known == name))
}

/// A name as PostgreSQL makes it for a constraint behind which no index stands: `table_columns_label`, with a number if
/// a constraint of the namespace has it.
pub(super) fn choose_name(standing: &Standing, table: &TableDef, columns: &str, label: &str) -> String {
    let catalog = standing.catalog();
    let mut number = 0;
    loop {
        let label = if number == 0 { label.to_string() } else { format!("{label}{number}") };
        let name = made_name(table.name.as_str(), columns, &label);
        number += 1;
        if !names(table).any(|known| known == name) && !is_taken(&catalog, table.namespace, &name) {
            return name;
        }
    }
}

/// Gives a table a CHECK constraint: its OID. `is_new`: the table is being made, so that there is nothing to look at.
///
/// # Errors
/// 42703, 42710, 42803, 42804, 42P10, 42P20, 0A000: what PostgreSQL refuses in a CHECK.
pub(super) fn add_check(standing: &Standing, table: &mut TableDef, spec: &CheckSpec, is_new: bool) -> Result<Oid> {
    let (shape, binding) = (shape_of(table, ""), BindingNames::new(standing));
    let bound = bind::bind_row(&spec.text, &shape, Purpose::Check, &binding)?;
    let name_of = |id: ColumnId| table.column(id).map(|column| column.name.to_string());
    let expression = bind::canonical_row(&spec.text, &shape, Purpose::Check, &name_of, &binding)?;
    let columns = bound.used();
    let name = match &spec.name {
        Some(name) => {
            if is_new && table.checks.iter().any(|check| check.name == *name) {
                let message = format!("check constraint \"{name}\" already exists");
                return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
            }
            check_name(table, name)?;
            name.clone()
        }
        None => {
            let only = match columns.as_slice() {
                [one] => name_of(*one).unwrap_or_default(),
                _ => String::new(),
            };
            choose_name(standing, table, &only, "check")
        }
    };
    let id = standing.hall.store.allocate_oid();
    let validated = is_new || !spec.not_valid;
    table.checks.push(CheckDef { id, name, expression, columns, no_inherit: spec.no_inherit, validated });
    Ok(id)
}

/// 23514 when a row breaks one of these CHECK constraints.
///
/// # Errors
/// 23514, the conditions' own, and the store's.
pub(super) async fn validate_checks(standing: &mut Standing, table: &Arc<TableDef>, which: &[Oid]) -> Result<()> {
    let checks: Vec<CheckDef> = table.checks.iter().filter(|check| which.contains(&check.id)).cloned().collect();
    if checks.is_empty() {
        return Ok(());
    }
    let compiled = valid::compiled(standing, table, &checks)?;
    let columns = compiled.inputs();
    let (_, mut rows) = rewrite::newest_rows(standing, table, &columns)?;
    while let Some(batch) = rows.next().await {
        let batch: RecordBatch = batch?;
        match compiled.first_refused(&batch, &columns, &mut || valid::values(standing))? {
            None => {}
            Some((_, Refusal::Error(error))) if table.is_per_user() => {
                // Its words may be another user's.
                return Err(SqlError::new(error.state(), "a check constraint cannot be evaluated for some row"));
            }
            Some((_, Refusal::Error(error))) => return Err(error),
            Some((_, Refusal::Violated(name))) => {
                let message =
                    format!("check constraint \"{name}\" of relation \"{}\" is violated by some row", table.name);
                return Err(SqlError::new(SqlState::CHECK_VIOLATION, message)
                    .with_schema(super::table::namespace_name(&standing.catalog(), table.namespace))
                    .with_table(table.name.as_str())
                    .with_constraint(name));
            }
        }
    }
    Ok(())
}

/// The CHECK constraints of a table one of whose columns is about to get another name: their texts with that name.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn renamed_column(
    standing: &Standing,
    table: &TableDef,
    column: ColumnId,
    to: &str,
) -> Result<Vec<CheckDef>> {
    let (shape, binding) = (shape_of(table, ""), BindingNames::new(standing));
    let called = |id: ColumnId| match id == column {
        true => Some(to.to_string()),
        false => table.column(id).map(|column| column.name.to_string()),
    };
    let mut checks = table.checks.clone();
    for check in checks.iter_mut().filter(|check| check.columns.contains(&column)) {
        check.expression = bind::canonical_row(&check.expression, &shape, Purpose::Check, &called, &binding)?;
    }
    Ok(checks)
}

/// SET CONSTRAINTS. What becomes immediate is checked at once.
///
/// # Errors
/// 3F000, 42704, 42809 for a constraint that cannot be deferred; 23503 and what actions run into.
pub(super) async fn set_constraints(
    standing: &mut Standing,
    names: Option<&[Name]>,
    deferred: bool,
) -> Result<Outcome> {
    if !standing.in_block() {
        let message = "SET CONSTRAINTS can only be used in transaction blocks";
        standing.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, message);
    }
    standing.begin_statement()?;
    match names {
        None => standing.referential.set_all(deferred),
        Some(names) => {
            let mut keys = Vec::new();
            for name in names {
                keys.extend(deferrable(standing, name, deferred)?);
            }
            keys.into_iter().for_each(|key| standing.referential.set(key, deferred));
        }
    }
    if !deferred {
        let catalog = standing.transaction().newest_catalog();
        let mut due = std::mem::take(&mut standing.referential);
        let now: Vec<Oid> = catalog
            .tables()
            .flat_map(|table| &table.foreign_keys)
            .filter(|key| key.timing != ConstraintTiming::Immediate && !due.is_deferred(key))
            .map(|key| key.id)
            .collect();
        due.begin_statement();
        due.take_up(|event| now.contains(&event.key));
        standing.referential = due;
        actions::settle(standing).await?;
    }
    Ok(Outcome::Command("SET CONSTRAINTS".to_string()))
}

/// The foreign keys of a name that can be deferred: of the first namespace that has a constraint of this name.
fn deferrable(standing: &Standing, name: &Name, deferred: bool) -> Result<Vec<Oid>> {
    let catalog = standing.catalog();
    let path = match &name.namespace {
        Some(namespace) if catalog.namespace_by_name(namespace).is_none() => {
            let message = format!("schema \"{namespace}\" does not exist");
            return Err(SqlError::new(SqlState::INVALID_SCHEMA_NAME, message));
        }
        Some(namespace) => vec![namespace.clone()],
        None => standing.derived().basis.search_path.clone(),
    };
    for namespace in path.iter().filter_map(|namespace| catalog.namespace_by_name(namespace)) {
        let with_name = |table: &&Arc<TableDef>| names(table).any(|known| known == name.name);
        let tables: Vec<_> = catalog.tables_of(namespace.id).filter(with_name).collect();
        let mut found = Vec::new();
        for table in &tables {
            let key = table.foreign_keys.iter().find(|key| key.name == name.name);
            match key.filter(|key| key.timing != ConstraintTiming::Immediate) {
                Some(key) => found.push(key.id),
                None if deferred => {
                    let message = format!("constraint \"{}\" is not deferrable", name.name);
                    return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
                }
                None => {}
            }
        }
        if !tables.is_empty() {
            return Ok(found);
        }
    }
    Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("constraint \"{}\" does not exist", name.name)))
}
