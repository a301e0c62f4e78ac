//! What statements do with columns that have values by themselves: SERIAL and IDENTITY columns with their sequences,
//! and generated columns.

use super::prepared::{BindingNames, shape_of};
use super::{index, sequence};
use crate::generated::Generated;
use crate::standing::Standing;
use arrow_array::RecordBatch;
use kalamdb_commons::{ColumnId, Result, SqlError, SqlState, SqlType};
use kalamdb_sql::bind::{self, Purpose};
use kalamdb_sql::statement::{ColumnSpec, IdentitySpec, SequenceOption};
use kalamdb_store::{Change, ColumnDef, Identity, SequenceDef, TableDef};
use std::sync::Arc;

/// A table's generated columns; the same ones as long as its definition stays. `None` when it has none.
fn of(standing: &Standing, table: &Arc<TableDef>) -> Result<Option<Arc<Generated>>> {
    if table.live_columns().all(|column| column.generated.is_none()) {
        return Ok(None);
    }
    if let Some((def, generated)) = standing.hall.generated.lock().get(&table.id)
        && (Arc::ptr_eq(def, table) || def == table)
    {
        return Ok(Some(generated.clone()));
    }
    let generated = Arc::new(Generated::new(table, &shape_of(table, ""), &BindingNames::new(standing))?);
    standing.hall.generated.lock().put(table.id, (table.clone(), generated.clone()));
    Ok(Some(generated))
}

/// The same rows with the values of the generated columns. `columns` says which columns the batch has.
///
/// # Errors
/// The expressions'.
pub(super) fn computed(
    standing: &Standing,
    table: &Arc<TableDef>,
    batch: RecordBatch,
    columns: &[ColumnId],
) -> Result<RecordBatch> {
    match of(standing, table)? {
        Some(generated) => generated.computed(&batch, columns),
        None => Ok(batch),
    }
}

/// The columns that a change of some columns changes: those, and the generated ones.
pub(super) fn touched(table: &TableDef, set: &[ColumnId]) -> Vec<ColumnId> {
    let generated = table.live_columns().filter(|column| column.generated.is_some() && !set.contains(&column.id));
    set.iter().copied().chain(generated.map(|column| column.id)).collect()
}

/// The text that the catalog keeps for a generated column of this table, which has the column already.
///
/// # Errors
/// PostgreSQL's: 42P17, 42804, 42703 …
pub(super) fn expression(
    standing: &Standing,
    table: &TableDef,
    column: &ColumnDef,
    text: &str,
    place: Option<usize>,
) -> Result<String> {
    let (shape, names) = (shape_of(table, ""), BindingNames::new(standing));
    // Errors count from the expression's beginning.
    let placed = |error: SqlError| match (error.position(), place) {
        (Some(position), Some(place)) => error.moved_to(place + position - 1),
        _ => error,
    };
    bind::bind_generated(text, column.name.as_str(), column.ty, &shape, &names).map_err(placed)?;
    let name_of = |id: ColumnId| table.column(id).map(|column| column.name.to_string());
    bind::canonical_row(text, &shape, Purpose::Generated, &name_of, &names)
}

/// Reads the generated columns' expressions of a table that has all its columns.
///
/// # Errors
/// As [`expression`].
pub(super) fn settle(standing: &Standing, table: &mut TableDef, specs: &[ColumnSpec]) -> Result<()> {
    let declared: Vec<ColumnDef> = table.live_columns().filter(|column| column.generated.is_some()).cloned().collect();
    for column in declared {
        let spec = specs.iter().find(|spec| spec.name == column.name.as_str());
        let place = spec.and_then(|spec| spec.generated.as_ref()).and_then(|(_, place)| *place);
        let text = expression(standing, table, &column, column.generated.as_deref().unwrap_or_default(), place)?;
        if let Some(column) = table.columns.iter_mut().find(|other| other.id == column.id) {
            column.generated = Some(text);
        }
    }
    Ok(())
}

/// The generated columns that read a column.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn readers(standing: &Standing, table: &TableDef, column: ColumnId) -> Result<Vec<ColumnId>> {
    let (shape, names) = (shape_of(table, ""), BindingNames::new(standing));
    let mut readers = Vec::new();
    for other in table.live_columns() {
        if let Some(text) = &other.generated
            && bind::bind_row(text, &shape, Purpose::Generated, &names)?.used().contains(&column)
        {
            readers.push(other.id);
        }
    }
    Ok(readers)
}

/// The expressions of a table one of whose columns is about to get another name: with that name.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn renamed_column(standing: &Standing, table: &mut TableDef, column: ColumnId, to: &str) -> Result<()> {
    let (shape, names) = (shape_of(table, ""), BindingNames::new(standing));
    let before = table.clone();
    let called = |id: ColumnId| match id == column {
        true => Some(to.to_string()),
        false => before.column(id).map(|column| column.name.to_string()),
    };
    for other in table.columns.iter_mut().filter(|other| !other.dropped) {
        if let Some(text) = &mut other.generated {
            *text = bind::canonical_row(text, &shape, Purpose::Generated, &called, &names)?;
        }
    }
    Ok(())
}

/// The sequence of a SERIAL or IDENTITY column of a table, made, and the column changed to use it.
///
/// # Errors
/// 22023, 42601, 42P07, and those of locks.
pub(super) async fn give_sequence(
    standing: &mut Standing,
    table: &mut TableDef,
    column: ColumnId,
    identity: Option<&IdentitySpec>,
) -> Result<()> {
    let Some(def) = table.column(column).cloned() else { return Ok(()) };
    let given = identity.map_or(&[][..], |identity| identity.options.as_slice());
    let (mut options, mut name) = (vec![SequenceOption::As(def.ty)], None);
    for option in given {
        match option {
            SequenceOption::Name(said) => name = Some(said.name.clone()),
            SequenceOption::As(_) | SequenceOption::OwnedBy(_) => {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options"));
            }
            option => options.push(option.clone()),
        }
    }
    let name = match name {
        Some(name) => {
            super::name::require(standing, table.namespace, &name).await?;
            name
        }
        None => index::choose_name(standing, table, &[def.name.to_string()], "seq").await?,
    };
    let mut made: SequenceDef = sequence::new(standing, table.namespace, &name, &options, identity.is_some())?;
    made.owner = table.owner;
    made.owned_by = Some((table.id, column));
    let Some(changed) = table.columns.iter_mut().find(|other| other.id == column) else { return Ok(()) };
    changed.not_null = true;
    match identity {
        Some(identity) => changed.identity = Some(Identity { always: identity.always, sequence: made.id }),
        None => changed.default = Some(format!("nextval('{}'::regclass)", made.id)),
    }
    standing.transaction().define(Change::PutSequence(made))?;
    Ok(())
}

/// The sequences of a new table's columns.
///
/// # Errors
/// As [`give_sequence`].
pub(super) async fn give_sequences(
    standing: &mut Standing,
    table: &mut TableDef,
    columns: &[ColumnSpec],
) -> Result<()> {
    for spec in columns {
        if spec.serial || spec.identity.is_some() {
            let id = table.column_by_name(&spec.name).map(|column| column.id).unwrap_or(ColumnId(0));
            give_sequence(standing, table, id, spec.identity.as_ref()).await?;
        }
    }
    Ok(())
}

fn prerequisite(table: &TableDef, column: &str, what: &str) -> SqlError {
    let message = format!("column \"{column}\" of relation \"{}\" {what}", table.name);
    SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

/// ALTER COLUMN … ADD GENERATED … AS IDENTITY
///
/// # Errors
/// 55000, and as [`give_sequence`].
pub(super) async fn add_identity(
    standing: &mut Standing,
    table: &mut TableDef,
    column: &ColumnDef,
    identity: &IdentitySpec,
) -> Result<()> {
    let name = column.name.as_str();
    if !column.not_null {
        return Err(prerequisite(table, name, "must be declared NOT NULL before identity can be added"));
    }
    if column.identity.is_some() {
        return Err(prerequisite(table, name, "is already an identity column"));
    }
    if column.default.is_some() || column.generated.is_some() {
        return Err(prerequisite(table, name, "already has a default value"));
    }
    if !matches!(column.ty.ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8) {
        let message = "identity column type must be smallint, integer, or bigint";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    give_sequence(standing, table, column.id, Some(identity)).await
}

/// ALTER COLUMN … SET GENERATED …, SET option, RESTART
///
/// # Errors
/// 55000, 22023
pub(super) async fn set_identity(
    standing: &mut Standing,
    table: &mut TableDef,
    column: &ColumnDef,
    always: Option<bool>,
    options: &[SequenceOption],
) -> Result<()> {
    let Some(mut identity) = column.identity else {
        return Err(prerequisite(table, column.name.as_str(), "is not an identity column"));
    };
    if !options.is_empty()
        && let Some(def) = standing.catalog().sequence(identity.sequence).cloned()
    {
        let changed = sequence::changed(standing, &def, options)?;
        standing.transaction().define(Change::PutSequence(changed))?;
    }
    identity.always = always.unwrap_or(identity.always);
    if let Some(column) = table.columns.iter_mut().find(|other| other.id == column.id) {
        column.identity = Some(identity);
    }
    Ok(())
}

/// ALTER COLUMN … DROP IDENTITY
///
/// # Errors
/// 55000, and those of locks.
pub(super) async fn drop_identity(
    standing: &mut Standing,
    table: &mut TableDef,
    column: &ColumnDef,
    if_exists: bool,
) -> Result<()> {
    if column.identity.is_none() {
        let error = prerequisite(table, column.name.as_str(), "is not an identity column");
        if if_exists {
            standing.notice(format!("{}, skipping", error.message()));
            return Ok(());
        }
        return Err(error);
    }
    sequence::drop_belonging(standing, table, column.id).await?;
    if let Some(column) = table.columns.iter_mut().find(|other| other.id == column.id) {
        column.identity = None;
    }
    Ok(())
}

/// ALTER COLUMN … DROP EXPRESSION
///
/// # Errors
/// 55000
pub(super) fn drop_expression(
    standing: &mut Standing,
    table: &mut TableDef,
    column: &ColumnDef,
    if_exists: bool,
) -> Result<()> {
    if column.generated.is_none() {
        let error = prerequisite(table, column.name.as_str(), "is not a stored generated column");
        if if_exists {
            standing.notice(format!("{}, skipping", error.message()));
            return Ok(());
        }
        return Err(error);
    }
    if let Some(column) = table.columns.iter_mut().find(|other| other.id == column.id) {
        column.generated = None;
    }
    Ok(())
}

/// 42601 for another default of a column that has values by itself.
///
/// # Errors
/// 42601
pub(super) fn refuse_default(table: &TableDef, column: &ColumnDef, drops: bool) -> Result<()> {
    let (what, action) = match column {
        ColumnDef { identity: Some(_), .. } => ("an identity column", "IDENTITY"),
        ColumnDef { generated: Some(_), .. } => ("a generated column", "EXPRESSION"),
        _ => return Ok(()),
    };
    let message = format!("column \"{}\" of relation \"{}\" is {what}", column.name, table.name);
    let error = SqlError::new(SqlState::SYNTAX_ERROR, message);
    Err(match drops {
        true => error.with_hint(format!("Use ALTER TABLE ... ALTER COLUMN ... DROP {action} instead.")),
        false => error,
    })
}
