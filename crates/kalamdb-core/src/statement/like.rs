//! LIKE in CREATE TABLE: another relation's columns, and what comes along with them.

use super::query::lock_wait;
use super::table::shown;
use super::{comment, constraint, generated, index, table};
use crate::error;
use crate::resolve::{self, Resolved};
use crate::standing::Standing;
use crate::system::index::names_of;
use crate::system::relations;
use kalamdb_commons::{ColumnId, ColumnName, Datum, Result, SqlError, SqlState};
use kalamdb_sql::bind::Names;
use kalamdb_sql::bind::bound::{Action, Need};
use kalamdb_sql::statement::{CreateTable, IdentitySpec, Included, SequenceOption, TableLike};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Change, ColumnDef, Described, IndexDef, IndexKeyPart, TableDef, TableLockMode};
use std::sync::Arc;

/// A relation that LIKE names, in the words of a table.
pub(super) struct Source {
    /// What it is copied from: a table, or only the columns of a view or computed relation.
    table: Option<Arc<TableDef>>,
    /// Its columns.
    columns: Vec<ColumnDef>,
}

/// The relations that LIKE names, locked.
///
/// # Errors
/// 42P01, 42501, 42809
pub(super) async fn sources(standing: &mut Standing, create: &CreateTable) -> Result<Vec<Source>> {
    let mut sources = Vec::with_capacity(create.likes.len());
    for like in &create.likes {
        sources.push(source(standing, like).await?);
    }
    Ok(sources)
}

async fn source(standing: &mut Standing, like: &TableLike) -> Result<Source> {
    let name = &like.source;
    if let Some(named @ (Named::Sequence(_) | Named::Index(..))) = index::find(standing, name) {
        let kind = if matches!(named, Named::Index(..)) { "indexes" } else { "sequences" };
        let message = format!("relation \"{}\" is invalid in LIKE clause", name.name);
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
            .with_detail(format!("This operation is not supported for {kind}."))
            .at(name.position));
    }
    let found = |standing: &Standing| standing.names().relation(name.namespace.as_deref(), &name.name);
    let missing = || error::no_relation(shown(name)).at(name.position);
    let mut shape = found(standing)?.ok_or_else(missing)?;
    if relations().by_oid(shape.table).is_none() {
        let wait = lock_wait(standing);
        standing.transaction().table_lock(shape.table, TableLockMode::AccessShare, wait).await?;
        standing.begin_statement()?;
        shape = found(standing)?.ok_or_else(missing)?;
        // PostgreSQL: whoever may read it.
        let need = Need {
            table: shape.table,
            schema_version: shape.schema_version,
            action: Action::Select,
            columns: Default::default(),
            with_deleted: false,
            judged_as: None,
        };
        if let Resolved::Stale = resolve::relation(&standing.catalog(), &standing.identity, &need)? {
            return Err(missing());
        }
    }
    let table = standing.catalog().table(shape.table).cloned();
    let columns = match &table {
        Some(table) => table.live_columns().cloned().collect(),
        None => shape
            .columns
            .iter()
            .map(|column| ColumnDef {
                id: column.id,
                name: ColumnName::new(column.name.as_str()),
                ty: column.ty,
                not_null: false,
                default: None,
                identity: None,
                generated: None,
                domain: None,
                missing: Datum::Null,
                dropped: false,
            })
            .collect(),
    };
    Ok(Source { table, columns })
}

/// Puts their columns where they were named.
///
/// # Errors
/// 42701, 54011
pub(super) fn columns(table: &mut TableDef, create: &CreateTable, sources: &[Source]) -> Result<()> {
    if sources.is_empty() {
        return Ok(());
    }
    let own = std::mem::take(&mut table.columns);
    let mut all: Vec<ColumnDef> = Vec::new();
    let mut own = own.into_iter();
    let mut taken = 0;
    for (like, source) in create.likes.iter().zip(sources) {
        all.extend(own.by_ref().take(like.at - taken));
        taken = like.at;
        for column in &source.columns {
            let keeps = |what: Included| like.including.contains(&what);
            let mut column = column.clone();
            column.missing = Datum::Null;
            // One that is kept gets a sequence of its own: see `identities`.
            column.identity = None;
            if !keeps(Included::Defaults) {
                column.default = None;
            }
            if !keeps(Included::Generated) {
                column.generated = None;
            }
            all.push(column);
        }
    }
    all.extend(own);
    table::check_column_count(all.len())?;
    for at in 0..all.len() {
        if all[..at].iter().any(|other| other.name == all[at].name) {
            let message = format!("column \"{}\" specified more than once", all[at].name);
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        all[at].id = ColumnId(at as i16 + 1);
    }
    table.columns = all;
    Ok(())
}

/// Where a source's columns are now: by name, which are the same in both.
fn moved(source: &TableDef, table: &TableDef, id: ColumnId) -> Option<ColumnId> {
    let name = &source.column(id)?.name;
    table.column_by_name(name.as_str()).map(|column| column.id)
}

/// INCLUDING IDENTITY: each column gets a sequence of its own, with the options of the old one.
///
/// # Errors
/// 42P07, and those of locks.
pub(super) async fn identities(
    standing: &mut Standing,
    table: &mut TableDef,
    create: &CreateTable,
    sources: &[Source],
) -> Result<()> {
    for (like, source) in create.likes.iter().zip(sources) {
        let Some(from) = source.table.as_ref().filter(|_| like.including.contains(&Included::Identity)) else {
            continue;
        };
        for column in from.live_columns() {
            let Some(identity) = column.identity else { continue };
            let (Some(old), Some(id)) =
                (standing.catalog().sequence(identity.sequence).cloned(), moved(from, table, column.id))
            else {
                continue;
            };
            let options = vec![
                SequenceOption::Start(old.start),
                SequenceOption::Increment(old.increment),
                SequenceOption::MinValue(Some(old.min)),
                SequenceOption::MaxValue(Some(old.max)),
                SequenceOption::Cache(old.cache),
                SequenceOption::Cycle(old.cycle),
            ];
            let spec = IdentitySpec { always: identity.always, options };
            generated::give_sequence(standing, table, id, Some(&spec)).await?;
        }
    }
    Ok(())
}

/// INCLUDING CONSTRAINTS and INDEXES.
///
/// # Errors
/// 42P16 for a second primary key, and those of names.
pub(super) async fn parts(
    standing: &mut Standing,
    table: &mut TableDef,
    create: &CreateTable,
    sources: &[Source],
) -> Result<()> {
    for (like, source) in create.likes.iter().zip(sources) {
        let Some(from) = &source.table else { continue };
        if like.including.contains(&Included::Constraints) {
            for check in &from.checks {
                constraint::check_name(table, &check.name)?;
                let mut check = check.clone();
                check.id = standing.hall.store.allocate_oid();
                check.columns = check.columns.iter().filter_map(|id| moved(from, table, *id)).collect();
                table.checks.push(check);
            }
        }
        if !like.including.contains(&Included::Indexes) {
            continue;
        }
        if let Some(key) = &from.primary_key {
            if table.primary_key.is_some() {
                let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name);
                return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
            }
            let columns: Vec<String> =
                key.columns.iter().filter_map(|id| from.column(*id)).map(|column| column.name.to_string()).collect();
            let name = index::choose_name(standing, table, &[], "pkey").await?;
            table::set_key(standing, table, name, &columns)?;
        }
        for old in &from.indexes {
            let mut new = IndexDef {
                id: standing.hall.store.allocate_oid(),
                constraint: old.constraint.map(|_| standing.hall.store.allocate_oid()),
                include: old.include.iter().filter_map(|id| moved(from, table, *id)).collect(),
                ..old.clone()
            };
            for key in &mut new.keys {
                if let IndexKeyPart::Column(id) = &mut key.what {
                    *id = moved(from, table, *id).unwrap_or(*id);
                }
            }
            let names = names_of(from, old);
            let label = if old.constraint.is_some() { "key" } else { "idx" };
            new.name = index::choose_name(standing, table, &names, label).await?;
            table.indexes.push(new);
        }
    }
    Ok(())
}

/// INCLUDING COMMENTS: the columns' own.
///
/// # Errors
/// The store's.
pub(super) fn comments(
    standing: &mut Standing,
    table: &TableDef,
    create: &CreateTable,
    sources: &[Source],
) -> Result<()> {
    let class = comment::class("pg_class");
    for (like, source) in create.likes.iter().zip(sources) {
        let Some(from) = source.table.as_ref().filter(|_| like.including.contains(&Included::Comments)) else {
            continue;
        };
        for column in from.live_columns() {
            let about = Described { object: from.id.0, class, column: column.id.0 };
            let text = standing.catalog().comment(about).map(|text| text.to_string());
            if let (Some(text), Some(id)) = (text, moved(from, table, column.id)) {
                let about = Described { object: table.id.0, class, column: id.0 };
                standing.transaction().define(Change::Comment(about, Some(text)))?;
            }
        }
    }
    Ok(())
}
