//! CREATE, ALTER and DROP INDEX, REINDEX, and the indexes behind UNIQUE constraints.
//!
//! An index is made under a lock that keeps writers out, and is complete when its definition is committed: rows that
//! are committed get their entries in batches outside the write set (see the store's `txn::index`), those of this
//! transaction in it.

use super::entries;
use super::prepared::{BindingNames, shape_of};
use super::query::lock_wait;
use super::table::{lock_with, not_in_use, owned, shown};
use super::write::key_column;
use super::{Outcome, alter, constraint, foreign_key, name};
use crate::error;
use crate::index::sorted_as;
use crate::resolve;
use crate::standing::Standing;
use crate::system::index::{collation_by_name, collation_of, column_names, cut};
use crate::system::operator_class::{self, OperatorClass, default_for, method_name, method_oid};
use arrow_array::Array;
use futures::StreamExt;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{ColumnId, Oid, PgType, Result, SqlError, SqlState, SqlType, TableType, clock};
use kalamdb_sql::bind::{self, Purpose, walk};
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::statement::{
    AlterAction, AlterIndexAction, AlterTable, AlterViewAction, CreateIndex, IndexElement, IndexedValue, Name,
    Reindexed, UniqueSpec,
};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Change, IndexDef, IndexKey, IndexKeyPart, IndexMethod, IndexState, TableDef, TableLockMode};
use std::sync::Arc;

/// PostgreSQL's limit on an index's columns.
const COLUMNS_MAX: usize = 32;
/// PostgreSQL's NAMEDATALEN - 1.
const NAME_BYTES_MAX: usize = 63;
/// How many rows are read at once while an index is filled.
const BATCH_ROWS: usize = 4096;

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}

/// What an index is declared to be, by CREATE INDEX or by a constraint.
struct Declared<'a> {
    elements: Vec<IndexElement>,
    include: &'a [String],
    method: IndexMethod,
    unique: bool,
    nulls_not_distinct: bool,
    predicate: Option<&'a str>,
    options: &'a [(String, String)],
    /// Of a UNIQUE constraint.
    is_constraint: bool,
}

/// CREATE INDEX
///
/// # Errors
/// 42501, 42P01, 42P07, 42703, 42704, 42809, 42P17, 42804, 54011, 23505, 0A000, 25001, 22023.
pub(super) async fn create(standing: &mut Standing, create: &CreateIndex, single: bool) -> Result<Outcome> {
    standing.writable("CREATE INDEX")?;
    if create.concurrently {
        standing.outside_block("CREATE INDEX CONCURRENTLY", single)?;
    }
    // Readers go on; writers and other changes of the definition wait.
    let Some(table) = lock_with(standing, &create.table, TableLockMode::ShareRowExclusive).await? else {
        let what = match find(standing, &create.table) {
            Some(Named::Index(..)) => "indexes",
            Some(Named::View(_)) => "views",
            Some(Named::Sequence(_)) => "sequences",
            _ => return Err(error::no_relation(shown(&create.table)).at(create.table.position)),
        };
        let detail = format!("This operation is not supported for {what}.");
        return Err(not_indexable(&create.table.name, &detail));
    };
    owned(standing, &table, |is_owner| AdminAction::AlterTable { is_owner })?;
    if let Some(name) = &create.name
        && !name::claim(standing, table.namespace, name).await?
    {
        let message = name::taken(name).message().to_string();
        if create.if_not_exists {
            standing.notice(format!("{message}, skipping"));
            return done("CREATE INDEX");
        }
        return Err(SqlError::new(SqlState::DUPLICATE_TABLE, message));
    }
    let declared = Declared {
        elements: create.elements.clone(),
        include: &create.include,
        method: method(&create.method)?,
        unique: create.unique,
        nulls_not_distinct: create.nulls_not_distinct,
        predicate: create.predicate.as_deref(),
        options: &create.options,
        is_constraint: false,
    };
    let mut table = (*table).clone();
    let index = define(standing, &table, &declared, create.name.as_deref()).await?;
    add(standing, &mut table, index).await?;
    table.schema_version += 1;
    table.updated_at = clock::now_us();
    standing.transaction().define(Change::PutTable(table))?;
    done("CREATE INDEX")
}

fn not_indexable(name: &str, detail: &str) -> SqlError {
    SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot create index on relation \"{name}\""))
        .with_detail(detail)
}

/// Fills an index and gives it to its table.
async fn add(standing: &mut Standing, table: &mut TableDef, index: IndexDef) -> Result<()> {
    fill(standing, &Arc::new(table.clone()), &index).await?;
    table.indexes.push(index);
    Ok(())
}

/// The access method that CREATE INDEX names.
fn method(name: &str) -> Result<IndexMethod> {
    match name {
        "btree" => Ok(IndexMethod::Btree),
        "hash" => Ok(IndexMethod::Hash),
        "hnsw" | "ivfflat" => Err(SqlError::unsupported(format!("access method \"{name}\""))
            .with_hint("ORDER BY distance LIMIT n needs no index: all rows are searched, and the answer is exact.")),
        "gin" | "gist" | "brin" | "spgist" => Err(SqlError::unsupported(format!("access method \"{name}\""))
            .with_hint("Use an index of the default method, btree.")),
        _ => Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("access method \"{name}\" does not exist"))),
    }
}

/// The definition of a declared index, with a name of its own when none is given.
async fn define(
    standing: &mut Standing,
    table: &TableDef,
    declared: &Declared<'_>,
    name: Option<&str>,
) -> Result<IndexDef> {
    if table.kind == TableType::Stream {
        return Err(SqlError::unsupported("an index on a STREAM table"));
    }
    if declared.elements.len() + declared.include.len() > COLUMNS_MAX {
        let message = format!("cannot use more than {COLUMNS_MAX} columns in an index");
        return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, message));
    }
    check_method(declared)?;
    let keys = declared.elements.iter().map(|element| key(standing, table, declared, element));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let include = declared.include.iter().map(|name| column_id(table, declared, name)).collect::<Result<Vec<_>>>()?;
    let predicate = declared.predicate.map(|text| predicate(standing, table, text)).transpose()?;
    let mut reloptions = Vec::new();
    for (name, value) in declared.options {
        set_option(&mut reloptions, name, value)?;
    }
    let name = match name {
        Some(name) => name.to_string(),
        None => {
            let parts: Vec<IndexKeyPart> = keys.iter().map(|key| key.what.clone()).collect();
            let columns = column_names(table, &parts, &include);
            let label = if declared.is_constraint { "key" } else { "idx" };
            choose_name(standing, table, &columns, label).await?
        }
    };
    Ok(IndexDef {
        id: standing.hall.store.allocate_oid(),
        name,
        constraint: declared.is_constraint.then(|| standing.hall.store.allocate_oid()),
        method: declared.method,
        unique: declared.unique,
        nulls_not_distinct: declared.nulls_not_distinct,
        keys,
        include,
        predicate,
        reloptions,
        state: IndexState::Ready,
    })
}

/// What USING hash does not have.
fn check_method(declared: &Declared<'_>) -> Result<()> {
    if declared.method == IndexMethod::Btree {
        return Ok(());
    }
    let sorted = |test: fn(&IndexElement) -> bool| declared.elements.iter().any(test);
    let missing = if declared.unique {
        "unique indexes"
    } else if !declared.include.is_empty() {
        "included columns"
    } else if declared.elements.len() > 1 {
        "multicolumn indexes"
    } else if sorted(|element| element.descending) {
        "ASC/DESC options"
    } else if sorted(|element| element.nulls_first.is_some()) {
        "NULLS FIRST/LAST options"
    } else {
        return Ok(());
    };
    let message = format!("access method \"{}\" does not support {missing}", method_name(declared.method));
    Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message))
}

fn missing_column(declared: &Declared<'_>, name: &str) -> SqlError {
    let named = if declared.is_constraint { " named in key" } else { "" };
    SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\"{named} does not exist"))
}

fn column_id(table: &TableDef, declared: &Declared<'_>, name: &str) -> Result<ColumnId> {
    match table.column_by_name(name) {
        Some(column) => Ok(column.id),
        None if super::table::is_system_column(name) => {
            let message = "index creation on system columns is not supported";
            Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message))
        }
        None => Err(missing_column(declared, name)),
    }
}

/// The order that an index of a type has if none is named.
fn default_class(method: IndexMethod, ty: SqlType) -> Option<&'static OperatorClass> {
    default_for(method_oid(method), ty).filter(|_| sorted_as(ty).is_some())
}

/// 42704 for a type that an index cannot sort by.
///
/// # Errors
/// 42704
pub(super) fn require_default_class(method: IndexMethod, ty: SqlType) -> Result<()> {
    if default_class(method, ty).is_some() {
        return Ok(());
    }
    let message = format!("data type {ty} has no default operator class for access method \"{}\"", method_name(method));
    Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message).with_hint(
        "You must specify an operator class for the index or define a default operator class for the data type.",
    ))
}

/// One thing that an index sorts by.
fn key(standing: &Standing, table: &TableDef, declared: &Declared<'_>, element: &IndexElement) -> Result<IndexKey> {
    let (what, ty) = match &element.value {
        IndexedValue::Column(name) => {
            let id = column_id(table, declared, name)?;
            (
                IndexKeyPart::Column(id),
                table.column(id).map_or(PgType::new(kalamdb_commons::SqlType::Unknown), |c| c.ty),
            )
        }
        IndexedValue::Expression(text) => expression(standing, table, text)?,
    };
    let own_collation = collation_of(ty.ty);
    let collation = match &element.collation {
        None => None,
        Some(name) => {
            let collation = collation_by_name(name).ok_or_else(|| {
                let message = format!("collation \"{name}\" for encoding \"UTF8\" does not exist");
                SqlError::new(SqlState::UNDEFINED_OBJECT, message)
            })?;
            if own_collation == 0 {
                let message = format!("collations are not supported by type {}", ty.ty);
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
            }
            Some(collation).filter(|collation| *collation != own_collation)
        }
    };
    let method = method_oid(declared.method);
    let class = match &element.class {
        None => {
            require_default_class(declared.method, ty.ty)?;
            None
        }
        Some(name) => match operator_class::by_name(method, name, ty.ty) {
            None => {
                let message = format!(
                    "operator class \"{name}\" does not exist for access method \"{}\"",
                    method_name(declared.method)
                );
                return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
            }
            Some((_, false)) => {
                let message = format!("operator class \"{name}\" does not accept data type {}", ty.ty);
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
            }
            Some((class, true)) => {
                let default = default_class(declared.method, ty.ty);
                Some(class.oid).filter(|oid| default.is_none_or(|default| default.oid != *oid))
            }
        },
    };
    // PostgreSQL: NULLs are above all values.
    let nulls_first = element.nulls_first.unwrap_or(element.descending);
    Ok(IndexKey { what, descending: element.descending, nulls_first, collation, class })
}

/// An expression as an index keeps it, and its type. A column in brackets is that column.
fn expression(standing: &Standing, table: &TableDef, text: &str) -> Result<(IndexKeyPart, PgType)> {
    let (shape, names) = (shape_of(table, ""), BindingNames::new(standing));
    let bound = bind::bind_row(text, &shape, Purpose::IndexKey, &names)?;
    let ty = bound.scalar.ty();
    if let bind::bound::Scalar::Column(col) = &bound.scalar
        && let Some((id, _)) = bound.columns.iter().find(|(_, known)| known.id == col.id)
    {
        return Ok((IndexKeyPart::Column(*id), ty));
    }
    immutable(&bound.scalar, "expression")?;
    let text = bind::canonical_row(text, &shape, Purpose::IndexKey, &|id| name_of(table, id), &names)?;
    Ok((IndexKeyPart::Expression { text, ty }, ty))
}

fn predicate(standing: &Standing, table: &TableDef, text: &str) -> Result<String> {
    let (shape, names) = (shape_of(table, ""), BindingNames::new(standing));
    let bound = bind::bind_row(text, &shape, Purpose::IndexPredicate, &names)?;
    immutable(&bound.scalar, "predicate")?;
    bind::canonical_row(text, &shape, Purpose::IndexPredicate, &|id| name_of(table, id), &names)
}

fn immutable(scalar: &bind::bound::Scalar, what: &str) -> Result<()> {
    if walk::is_immutable(scalar) {
        return Ok(());
    }
    let message = format!("functions in index {what} must be marked IMMUTABLE");
    Err(SqlError::new(SqlState::INVALID_OBJECT_DEFINITION, message))
}

fn name_of(table: &TableDef, id: ColumnId) -> Option<String> {
    table.column(id).map(|column| column.name.to_string())
}

/// Sets a storage parameter.
fn set_option(options: &mut Vec<String>, name: &str, value: &str) -> Result<()> {
    match name {
        "fillfactor" => {
            let number = value.parse::<i64>().map_err(|_| {
                let message = format!("invalid value for integer option \"fillfactor\": {value}");
                SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            })?;
            if !(10..=100).contains(&number) {
                let message = format!("value {value} out of bounds for option \"fillfactor\"");
                return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
                    .with_detail("Valid values are between \"10\" and \"100\"."));
            }
        }
        "deduplicate_items" => {
            let known = ["true", "false", "on", "off", "yes", "no", "1", "0"];
            if !known.contains(&value.to_ascii_lowercase().as_str()) {
                let message = format!("invalid value for boolean option \"deduplicate_items\": {value}");
                return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        }
        _ => {
            let message = format!("unrecognized parameter \"{name}\"");
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
    }
    options.retain(|option| option.split_once('=').is_none_or(|(known, _)| known != name));
    options.push(format!("{name}={value}"));
    Ok(())
}

/// A name as PostgreSQL makes it: `table_columns_label`, the longer part cut first, with a number if it is taken.
pub(super) async fn choose_name(
    standing: &mut Standing,
    table: &TableDef,
    columns: &[String],
    label: &str,
) -> Result<String> {
    let mut number = 0;
    loop {
        let label = if number == 0 { label.to_string() } else { format!("{label}{number}") };
        let name = made_name(table.name.as_str(), &columns.join("_"), &label);
        number += 1;
        let is_ours = name == table.name.as_str() || table.index_names().any(|(known, _)| known == name);
        if !is_ours
            && name::claim(standing, table.namespace, &name).await?
            && !constraint::names(table).any(|known| known == name)
        {
            return Ok(name);
        }
    }
}

/// A name of at most 63 bytes: the longer part is cut first.
pub(super) fn made_name(table: &str, columns: &str, label: &str) -> String {
    let joined = cut(columns, NAME_BYTES_MAX);
    let overhead = label.len() + 1 + usize::from(!joined.is_empty());
    let room = NAME_BYTES_MAX.saturating_sub(overhead);
    let (mut first, mut second) = (table.len(), joined.len());
    while first + second > room {
        if first > second {
            first -= 1;
        } else {
            second -= 1;
        }
    }
    match cut(joined, second) {
        "" => format!("{}_{label}", cut(table, first)),
        columns => format!("{}_{columns}_{label}", cut(table, first)),
    }
}

/// Puts the entries of all rows into a new index.
///
/// # Errors
/// 23505, the expressions', the store's.
pub(super) async fn fill(standing: &mut Standing, table: &Arc<TableDef>, index: &IndexDef) -> Result<()> {
    let compiled = entries::compiled(standing, table, std::slice::from_ref(index))?;
    let relation = resolve::rewritten(table, &standing.identity)?;
    let view = standing.transaction().newest_view();
    let inputs = compiled.inputs();
    let columns: Vec<ColumnId> = inputs.iter().copied().chain([ColumnId::SEQ, ColumnId::ROW_KEY]).collect();
    let mut rows = relation.all_rows(&view, &columns, BATCH_ROWS)?;
    let mut begun = false;
    // Of rows that this transaction has written: they come behind the committed ones. Where a key may be there twice
    // their batches are kept, to say which.
    let (mut own, mut own_batches) = (Vec::new(), Vec::new());
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let made = compiled.of_batch(&batch, &columns)?;
        let keys = key_column(&batch, columns.len() - 1)?;
        let seqs = batch.column(columns.len() - 2);
        let mut committed = Vec::with_capacity(made.len());
        let mut places = Vec::with_capacity(made.len());
        let owns = own.len();
        for (row, entry) in made.into_iter().enumerate().filter_map(|(row, mut made)| Some((row, made.pop()?))) {
            let key = keys.value(row).to_vec();
            if seqs.is_null(row) {
                own.push((entry, key, own_batches.len(), row));
            } else {
                committed.push((entry, key));
                places.push(row);
            }
        }
        if own.len() > owns && index.unique {
            own_batches.push(batch.clone());
        }
        if committed.is_empty() {
            continue;
        }
        if !begun {
            standing.transaction().build_begin(table.id, index.id).await?;
            begun = true;
        }
        if let Some(at) = relation.build_put(standing.transaction(), &committed).await? {
            return Err(duplicated(standing, table, &compiled, index, &batch, &columns, places[at]));
        }
    }
    for (entry, key, batch, row) in own {
        if entry.unique && relation.entry_newest(standing.transaction(), &entry, &key)?.is_some() {
            return Err(duplicated(standing, table, &compiled, index, &own_batches[batch], &columns, row));
        }
        relation.entry_put(standing.transaction(), &entry, &key)?;
    }
    Ok(())
}

fn duplicated(
    standing: &Standing,
    table: &TableDef,
    compiled: &crate::index::TableIndexes,
    index: &IndexDef,
    batch: &arrow_array::RecordBatch,
    columns: &[ColumnId],
    row: usize,
) -> SqlError {
    let error = SqlError::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{}\"", index.name))
        .with_schema(super::table::namespace_name(&standing.catalog(), table.namespace))
        .with_table(table.name.as_str())
        .with_constraint(index.name.as_str());
    if table.is_per_user() {
        // The row may be another user's.
        return error;
    }
    match compiled.shown(index.id, batch, columns, row, &entries::text(standing)) {
        Ok(shown) => error.with_detail(format!("{shown} is duplicated.")),
        Err(_) => error,
    }
}

/// The elements of a constraint's columns.
fn elements_of(columns: &[String]) -> Vec<IndexElement> {
    let element = |name: &String| IndexElement {
        value: IndexedValue::Column(name.clone()),
        position: None,
        collation: None,
        class: None,
        descending: false,
        nulls_first: None,
    };
    columns.iter().map(element).collect()
}

/// Adds a UNIQUE constraint to a table that is being made or changed. One that is declared twice in a CREATE TABLE is
/// one.
///
/// # Errors
/// 42701, 42703, 42704, 42P07, 42809, 23505, 55000
pub(super) async fn add_unique(
    standing: &mut Standing,
    table: &mut TableDef,
    unique: &UniqueSpec,
    merges: bool,
) -> Result<()> {
    if let Some(index) = &unique.using_index {
        return use_index(standing, table, unique.name.as_deref(), index).await;
    }
    for (at, name) in unique.columns.iter().enumerate() {
        if table.column_by_name(name).is_some() && unique.columns[..at].contains(name) {
            let message = format!("column \"{name}\" appears twice in unique constraint");
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
    }
    let declared = Declared {
        elements: elements_of(&unique.columns),
        include: &unique.include,
        method: IndexMethod::Btree,
        unique: true,
        nulls_not_distinct: unique.nulls_not_distinct,
        predicate: None,
        options: &unique.options,
        is_constraint: true,
    };
    if merges && is_there(table, unique) {
        return Ok(());
    }
    if let Some(name) = &unique.name {
        let is_ours = name == table.name.as_str() || table.index_names().any(|(known, _)| known == name);
        if is_ours {
            return Err(name::taken(name));
        }
        name::require(standing, table.namespace, name).await?;
        constraint::check_name(table, name)?;
    }
    let index = define(standing, table, &declared, unique.name.as_deref()).await?;
    add(standing, table, index).await
}

/// Whether a table has this constraint already, under whatever name.
fn is_there(table: &TableDef, unique: &UniqueSpec) -> bool {
    let ids: Option<Vec<ColumnId>> =
        unique.columns.iter().map(|name| table.column_by_name(name).map(|column| column.id)).collect();
    let Some(ids) = ids else { return false };
    let is_key = unique.name.is_none()
        && !unique.nulls_not_distinct
        && unique.include.is_empty()
        && table.primary_key.as_ref().is_some_and(|key| key.columns == ids);
    is_key
        || table.indexes.iter().any(|index| {
            index.constraint.is_some()
                && index.columns().as_ref() == Some(&ids)
                && index.nulls_not_distinct == unique.nulls_not_distinct
                && index.include.is_empty() == unique.include.is_empty()
                && unique.name.as_ref().is_none_or(|name| *name == index.name)
        })
}

/// An index of the table by its name that can become a constraint.
fn usable(standing: &Standing, table: &TableDef, name: &str) -> Result<usize> {
    let Some(at) = table.indexes.iter().position(|index| index.name == name) else {
        let found = standing.catalog().relation_by_name(table.namespace, name);
        return Err(match found {
            Some(Named::Index(other, _)) if other != table.id => SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("index \"{name}\" does not belong to table \"{}\"", table.name),
            ),
            Some(Named::Index(..)) => SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("index \"{name}\" is already associated with a constraint"),
            ),
            _ => SqlError::new(SqlState::UNDEFINED_OBJECT, format!("index \"{name}\" does not exist")),
        });
    };
    let index = &table.indexes[at];
    if index.constraint.is_some() {
        let message = format!("index \"{name}\" is already associated with a constraint");
        return Err(SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    }
    let plain = |key: &IndexKey| !key.descending && !key.nulls_first && key.class.is_none() && key.collation.is_none();
    let fault = if !index.unique {
        format!("\"{name}\" is not a unique index")
    } else if index.columns().is_none() {
        format!("index \"{name}\" contains expressions")
    } else if index.predicate.is_some() {
        format!("\"{name}\" is a partial index")
    } else if let Some(column) = index.keys.iter().position(|key| !plain(key)) {
        format!("index \"{name}\" column number {} does not have default sorting behavior", column + 1)
    } else {
        return Ok(at);
    };
    Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, fault)
        .with_detail("Cannot create a primary key or unique constraint using such an index."))
}

/// The name that an index gets as a constraint's.
async fn constraint_name(standing: &mut Standing, table: &TableDef, name: Option<&str>, index: &str) -> Result<String> {
    let Some(name) = name.filter(|name| *name != index) else { return Ok(index.to_string()) };
    name::require(standing, table.namespace, name).await?;
    standing.notice(format!("ALTER TABLE / ADD CONSTRAINT USING INDEX will rename index \"{index}\" to \"{name}\""));
    Ok(name.to_string())
}

/// UNIQUE USING INDEX
async fn use_index(standing: &mut Standing, table: &mut TableDef, name: Option<&str>, index: &str) -> Result<()> {
    let at = usable(standing, table, index)?;
    let name = constraint_name(standing, table, name, index).await?;
    let index = &mut table.indexes[at];
    index.name = name;
    index.constraint = Some(standing.hall.store.allocate_oid());
    Ok(())
}

/// PRIMARY KEY USING INDEX: the name, the columns and the index's OID of the key that takes its place; it is gone from
/// the table. Rows lie by their primary key, so that the index has nothing left to do.
///
/// # Errors
/// 42704, 42809, 42P07, 55000
pub(super) async fn key_from_index(
    standing: &mut Standing,
    table: &mut TableDef,
    name: Option<&str>,
    index: &str,
) -> Result<(String, Vec<String>, Oid)> {
    let at = usable(standing, table, index)?;
    let name = constraint_name(standing, table, name, index).await?;
    let columns = table.indexes[at].columns().unwrap_or_default();
    let columns = columns.iter().filter_map(|id| name_of(table, *id)).collect();
    let index = table.indexes.remove(at).id;
    Ok((name, columns, index))
}

/// The indexes that a column's fall takes along: those that sort by it, keep it or read it.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn drop_with_column(standing: &Standing, table: &mut TableDef, column: ColumnId) -> Result<()> {
    let mut gone = Vec::new();
    for index in &table.indexes {
        if index.is_over(column) || reads(standing, table, index, column)? {
            gone.push(index.id);
        }
    }
    table.indexes.retain(|index| !gone.contains(&index.id));
    Ok(())
}

/// Whether an index's expressions or predicate read a column.
fn reads(standing: &Standing, table: &TableDef, index: &IndexDef, column: ColumnId) -> Result<bool> {
    let (shape, names) = (shape_of(table, ""), BindingNames::new(standing));
    let keys = index.keys.iter().filter_map(|key| match &key.what {
        IndexKeyPart::Expression { text, .. } => Some((text, Purpose::IndexKey)),
        IndexKeyPart::Column(_) => None,
    });
    let texts = keys.chain(index.predicate.iter().map(|text| (text, Purpose::IndexPredicate)));
    for (text, purpose) in texts {
        if bind::bind_row(text, &shape, purpose, &names)?.used().contains(&column) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The indexes of a table one of whose columns is about to get another name: their texts with that name.
///
/// # Errors
/// XX000 when a stored expression cannot be read.
pub(super) fn renamed_column(
    standing: &Standing,
    table: &TableDef,
    column: ColumnId,
    to: &str,
) -> Result<Vec<IndexDef>> {
    let (shape, names) = (shape_of(table, ""), BindingNames::new(standing));
    let called = |id: ColumnId| if id == column { Some(to.to_string()) } else { name_of(table, id) };
    let mut indexes = table.indexes.clone();
    for index in &mut indexes {
        for key in &mut index.keys {
            if let IndexKeyPart::Expression { text, .. } = &mut key.what {
                *text = bind::canonical_row(text, &shape, Purpose::IndexKey, &called, &names)?;
            }
        }
        if let Some(text) = &mut index.predicate {
            *text = bind::canonical_row(text, &shape, Purpose::IndexPredicate, &called, &names)?;
        }
    }
    Ok(indexes)
}

/// What a relation's name means, on the search path.
pub(super) fn find(standing: &Standing, name: &Name) -> Option<Named> {
    let catalog = standing.catalog();
    let path = match &name.namespace {
        Some(namespace) => vec![namespace.clone()],
        None => standing.derived().basis.search_path.clone(),
    };
    path.iter().find_map(|namespace| {
        let namespace = catalog.namespace_by_name(namespace)?;
        catalog.relation_by_name(namespace.id, &name.name)
    })
}

/// The table of an index that is to be changed, locked, and the index's OID.
async fn lock_index(standing: &mut Standing, name: &Name) -> Result<Option<(Arc<TableDef>, u32)>> {
    loop {
        standing.begin_statement()?;
        let Some(Named::Index(id, index)) = find(standing, name) else { return Ok(None) };
        let wait = lock_wait(standing);
        standing.transaction().table_lock(id, TableLockMode::AccessExclusive, wait).await?;
        standing.begin_statement()?;
        // Dropped and made anew while we waited: lock that one's table.
        if find(standing, name) != Some(Named::Index(id, index)) {
            continue;
        }
        if !standing.transaction().sees_newest(id) {
            return Err(kalamdb_store::StoreError::SchemaChanged(id).into());
        }
        let table = standing.catalog().table(id).cloned();
        return Ok(table.map(|table| (table, index)));
    }
}

/// DROP INDEX
///
/// # Errors
/// 42501, 42704, 42809, 2BP01, 55006, 25001
pub(super) async fn drop(
    standing: &mut Standing,
    names: &[Name],
    if_exists: bool,
    concurrently: bool,
    cascade: bool,
    single: bool,
) -> Result<Outcome> {
    standing.writable("DROP INDEX")?;
    if concurrently {
        if names.len() > 1 {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "DROP INDEX CONCURRENTLY does not support dropping multiple objects",
            ));
        }
        if cascade {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "DROP INDEX CONCURRENTLY does not support CASCADE",
            ));
        }
        standing.outside_block("DROP INDEX CONCURRENTLY", single)?;
    }
    for name in names {
        let Some((table, index)) = lock_index(standing, name).await? else {
            if let Some(other) = find(standing, name) {
                return Err(super::drop::wrong_kind(other, &name.name, "an index"));
            }
            if if_exists {
                standing.notice(format!("index \"{}\" does not exist, skipping", name.name));
                continue;
            }
            let message = format!("index \"{}\" does not exist", shown(name));
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        };
        owned(standing, &table, |is_owner| AdminAction::AlterTable { is_owner })?;
        not_in_use(standing, &table, "DROP INDEX")?;
        let constraint = match table.index(index) {
            Some(def) => def.constraint.map(|_| def.name.clone()),
            None => table.primary_key.as_ref().map(|key| key.name.clone()),
        };
        if let Some(constraint) = constraint {
            let message = format!(
                "cannot drop index {constraint} because constraint {constraint} on table {} requires it",
                table.name
            );
            return Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                .with_hint(format!("You can drop constraint {constraint} on table {} instead.", table.name)));
        }
        let mut table = (*table).clone();
        let what = format!("index {}", standing.names().relation_name(index).unwrap_or_default());
        let found = foreign_key::dependents(standing, table.id, &[], |key| key.parent_index == index);
        let found = found.into_iter().map(|dependent| (dependent, what.clone())).collect();
        foreign_key::drop_dependents(standing, Some(&what), found, cascade, Some(&mut table)).await?;
        table.indexes.retain(|def| def.id != index);
        changed(standing, table)?;
    }
    done("DROP INDEX")
}

fn changed(standing: &mut Standing, mut table: TableDef) -> Result<()> {
    table.schema_version += 1;
    table.updated_at = clock::now_us();
    Ok(standing.transaction().define(Change::PutTable(table))?)
}

/// ALTER INDEX
///
/// # Errors
/// 42501, 42P01, 42P07, 42809, 22023
pub(super) async fn alter(
    standing: &mut Standing,
    name: &Name,
    if_exists: bool,
    action: &AlterIndexAction,
) -> Result<Outcome> {
    standing.writable("ALTER INDEX")?;
    let Some((table, index)) = lock_index(standing, name).await? else {
        return match (find(standing, name), action) {
            // PostgreSQL renames whatever has the name.
            (Some(Named::Table(_)), AlterIndexAction::Rename(to)) => {
                let actions = vec![AlterAction::Rename { to: to.clone() }];
                let alter = AlterTable { name: name.clone(), if_exists, actions };
                Box::pin(alter::run(standing, &alter)).await?;
                done("ALTER INDEX")
            }
            (Some(Named::View(_)), AlterIndexAction::Rename(to)) => {
                super::view::alter(standing, name, if_exists, &AlterViewAction::Rename(to.clone())).await?;
                done("ALTER INDEX")
            }
            (Some(_), _) => {
                let message = format!("\"{}\" is not an index", name.name);
                Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message))
            }
            (None, _) if if_exists => {
                standing.notice(format!("relation \"{}\" does not exist, skipping", name.name));
                done("ALTER INDEX")
            }
            (None, _) => Err(error::no_relation(shown(name))),
        };
    };
    owned(standing, &table, |is_owner| AdminAction::AlterTable { is_owner })?;
    let mut table = (*table).clone();
    match action {
        AlterIndexAction::Rename(to) => {
            name::require(standing, table.namespace, to).await?;
            rename(&mut table, index, to);
        }
        AlterIndexAction::Set(options) => {
            if let Some(def) = table.indexes.iter_mut().find(|def| def.id == index) {
                for (name, value) in options {
                    set_option(&mut def.reloptions, name, value)?;
                }
            }
        }
        AlterIndexAction::Reset(names) => {
            if let Some(def) = table.indexes.iter_mut().find(|def| def.id == index) {
                let is_reset = |option: &String| {
                    option.split_once('=').is_some_and(|(known, _)| names.iter().any(|name| name == known))
                };
                def.reloptions.retain(|option| !is_reset(option));
            }
        }
    }
    changed(standing, table)?;
    done("ALTER INDEX")
}

/// Gives an index, and the constraint that it stands behind, another name.
fn rename(table: &mut TableDef, index: u32, to: &str) {
    if let Some(key) = table.primary_key.as_mut().filter(|key| key.index == index) {
        key.name = to.to_string();
    }
    if let Some(def) = table.indexes.iter_mut().find(|def| def.id == index) {
        def.name = to.to_string();
    }
}

/// REINDEX. Entries are written with their rows and cannot drift from them, so that there is nothing to make anew: it
/// says whether what it names is there.
///
/// # Errors
/// 42501, 42704, 42P01, 42809, 3F000, 0A000
pub(super) fn reindex(standing: &mut Standing, what: &Reindexed) -> Result<Outcome> {
    standing.writable("REINDEX")?;
    standing.begin_statement()?;
    let catalog = standing.catalog();
    match what {
        Reindexed::Index(name) => match find(standing, name) {
            Some(Named::Index(table, _)) => may_maintain(standing, catalog.table(table))?,
            Some(_) => {
                let message = format!("\"{}\" is not an index", name.name);
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
            None => return Err(error::no_relation(shown(name))),
        },
        Reindexed::Table(name) => match find(standing, name) {
            Some(Named::Table(table)) => may_maintain(standing, catalog.table(table))?,
            Some(_) => {
                let message = format!("\"{}\" is not a table or materialized view", name.name);
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
            None => return Err(error::no_relation(shown(name))),
        },
        Reindexed::Namespace(name) => {
            if catalog.namespace_by_name(name).is_none() {
                let message = format!("schema \"{name}\" does not exist");
                return Err(SqlError::new(SqlState::INVALID_SCHEMA_NAME, message));
            }
        }
        Reindexed::Everything(name) => {
            if name != crate::settings::DATABASE_NAME && name != "postgres" {
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "can only reindex the currently open database",
                ));
            }
        }
    }
    done("REINDEX")
}

fn may_maintain(standing: &Standing, table: Option<&Arc<TableDef>>) -> Result<()> {
    match table {
        Some(table) => owned(standing, table, |is_owner| AdminAction::MaintainTable { is_owner }),
        None => Ok(()),
    }
}
