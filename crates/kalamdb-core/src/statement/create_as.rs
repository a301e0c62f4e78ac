//! CREATE TABLE … AS, SELECT … INTO: a table of a query's columns, with its rows.

use super::query::{self, Relations};
use super::table::{creation_namespace, options_of};
use super::{Guard, Outcome, carry_out, prepared};
use crate::resolve::{self, Resolved};
use crate::standing::{Prepared, Standing};
use kalamdb_commons::{ColumnId, Oid, Result, SqlError, SqlState};
use kalamdb_sql::Statement;
use kalamdb_sql::bind::bound::{Action, Bound, BoundInsert, BoundKind, Need, NeedId, Output};
use kalamdb_sql::parse::Parsed;
use kalamdb_sql::statement::{ColumnSpec, CreateTable, CreateTableAs, SourceQuery, TypeName};
use std::sync::Arc;

/// CREATE TABLE … AS
///
/// # Errors
/// 42601 for too many names, 42701, 42P07, 42P16, those of CREATE TABLE, of the query, and of INSERT.
pub(super) async fn create(
    standing: &mut Standing,
    create: &CreateTableAs,
    text: &str,
    guard: &Guard,
) -> Result<Outcome> {
    standing.writable("CREATE TABLE AS")?;
    let (source, values) = match &create.query {
        SourceQuery::Query(query) => {
            let parsed = Parsed { statement: Statement::Query(query.clone()), text: text.to_string(), offset: 0 };
            (Arc::new(prepared::prepare(standing, parsed, Vec::new(), false)?), Arc::default())
        }
        SourceQuery::Execute { name, arguments } => {
            let (source, values) = prepared::execute(standing, name, arguments)?;
            if !source.bound.as_ref().is_some_and(|bound| matches!(bound.kind, BoundKind::Query(_))) {
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, "prepared statement is not a SELECT"));
            }
            (source, Arc::new(values))
        }
    };
    if !source.parameters.is_empty() && matches!(create.query, SourceQuery::Query(_)) {
        return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1"));
    }
    let table = of_columns(standing, create, source.query()?)?;
    if create.table.if_not_exists && exists(standing, &create.table)? {
        standing.notice(format!("relation \"{}\" already exists, skipping", table.name.name));
        return Ok(Outcome::Command("CREATE TABLE AS".to_string()));
    }
    // Locks and rights, before anything is made.
    let (source, mut relations) = query::relations(standing, &source).await?;
    super::table::create(standing, &table).await?;
    if !create.with_data {
        // PostgreSQL's own words for both.
        let is_query = matches!(create.query, SourceQuery::Query(_));
        return Ok(Outcome::Command(if is_query { "CREATE TABLE AS" } else { "SELECT 0" }.to_string()));
    }
    let filling = filling(standing, &source, &table, &mut relations)?;
    carry_out::run_as(standing, &filling, &relations, values, guard, Some("SELECT")).await
}

/// The table as CREATE TABLE would say it.
fn of_columns(standing: &Standing, create: &CreateTableAs, bound: &Bound) -> Result<CreateTable> {
    if create.columns.len() > bound.outputs.len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    let mut table = create.table.clone();
    table.if_not_exists = false;
    // What options do not fit is told before the query runs.
    options_of(table.kind, &table.options)?;
    for (at, output) in bound.outputs.iter().enumerate() {
        let name = create.columns.get(at).unwrap_or(&output.name).clone();
        let ty = match domain_of(standing, output) {
            Some(domain) => {
                let parts = vec!["pg_catalog".to_owned(), domain.to_string()];
                TypeName::Named { parts, is_array: false, position: None }
            }
            None => TypeName::BuiltIn(output.ty),
        };
        table.columns.push(ColumnSpec::plain(name, ty));
    }
    Ok(table)
}

/// The domain that a column of a query is of: that of the column that it is.
fn domain_of(standing: &Standing, output: &Output) -> Option<Oid> {
    let (relation, column) = output.origin?;
    let catalog = standing.catalog();
    match catalog.table(relation) {
        Some(table) => table.column(column)?.domain,
        None => catalog.view(relation)?.domain_of(column),
    }
}

fn exists(standing: &Standing, table: &CreateTable) -> Result<bool> {
    let namespace = creation_namespace(standing, &table.name)?;
    Ok(standing.catalog().relation_by_name(namespace.id, &table.name.name).is_some())
}

/// The query as the source of an INSERT into the new table.
fn filling(standing: &Standing, source: &Prepared, table: &CreateTable, relations: &mut Relations) -> Result<Prepared> {
    let mut bound = Bound::clone(source.query()?);
    let BoundKind::Query(rel) = bound.kind else { return Err(SqlError::internal("a table made of no query")) };
    let namespace = creation_namespace(standing, &table.name)?;
    let catalog = standing.catalog();
    let made = catalog.table_by_name(namespace.id, &table.name.name);
    let made = made.ok_or_else(|| SqlError::internal("a table that was not made"))?;
    let need = Need {
        table: made.id,
        schema_version: made.schema_version,
        action: Action::Insert,
        columns: made.live_columns().map(|column| column.id).collect(),
        with_deleted: false,
        judged_as: None,
    };
    match resolve::relation(&catalog, &standing.identity, &need)? {
        Resolved::Relation(relation) => relations.add(Arc::new(relation)),
        Resolved::Stale => return Err(SqlError::internal("a table that changed while it was made")),
    }
    let all: std::collections::HashMap<_, _> = rel.columns().into_iter().map(|col| (col.id, col)).collect();
    let column = |(at, output): (usize, &Output)| {
        let col = all.get(&output.col).copied().ok_or_else(|| SqlError::internal("an output without a column"))?;
        Ok((ColumnId(at as i16 + 1), col))
    };
    let insert = BoundInsert {
        need: NeedId(bound.needs.len()),
        source: rel,
        columns: bound.outputs.iter().enumerate().map(column).collect::<Result<_>>()?,
        on_conflict: None,
        returning: None,
    };
    bound.needs.push(need);
    bound.outputs.clear();
    bound.kind = BoundKind::Insert(insert);
    Ok(Prepared {
        parsed: source.parsed.clone(),
        bound: Some(Arc::new(bound)),
        parameters: source.parameters.clone(),
        declared: Vec::new(),
        columns: None,
        point: None,
        basis: source.basis.clone(),
        by_sql: false,
        source: source.source.clone(),
        types_version: source.types_version,
        prepared_at: source.prepared_at,
        executed: std::sync::atomic::AtomicI64::new(0),
    })
}
