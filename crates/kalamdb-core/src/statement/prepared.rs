//! Prepared statements: by Parse and by PREPARE, one name space; and their binding, renewed when its ground moved.

use super::{Outcome, listing, text_columns};
use crate::point::Point;
use crate::reply::OutputColumn;
use crate::settings::Derived;
use crate::standing::{Prepared, Standing};
use crate::system;
pub(super) use crate::system::binding::shape_of;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType, TableId};
use kalamdb_sql::Statement;
use kalamdb_sql::bind::bound::{Bound, BoundKind, Output};
use kalamdb_sql::bind::{self, Names, RelationShape};
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::parse::Parsed;
use kalamdb_sql::types::Style;
use sqlparser_ast::Expr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kalamdb_sql::statement::ast as sqlparser_ast;

/// Binds a parsed statement.
///
/// # Errors
/// The binder's.
pub(crate) fn prepare(
    standing: &mut Standing,
    parsed: Parsed,
    declared: Vec<Option<SqlType>>,
    by_sql: bool,
) -> Result<Prepared> {
    let basis = standing.derived().basis.clone();
    let types_version = standing.catalog().types_version();
    let bound = match inner(&parsed) {
        Some((statement, text)) => {
            Some(Arc::new(bind::bind(&statement, text, &declared, &BindingNames::new(standing))?))
        }
        None => None,
    };
    let columns = columns_of(standing, &parsed.statement, bound.as_deref())?;
    let parameters = bound.as_ref().map(|bound| bound.parameters.clone()).unwrap_or_default();
    let point = match &parsed.statement {
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::With { .. }
        | Statement::Delete { .. } => bound
            .as_ref()
            .and_then(|bound| Point::of(bound, &standing.catalog(), &standing.hall.store.published().catalog)),
        _ => None,
    };
    let source = parsed.text.clone();
    let prepared_at = kalamdb_commons::clock::now_us();
    let executed = AtomicI64::new(0);
    Ok(Prepared {
        parsed,
        bound,
        parameters,
        declared,
        columns,
        point,
        basis,
        types_version,
        by_sql,
        source,
        prepared_at,
        executed,
    })
}

/// The query or DML inside a statement, with its text.
fn inner(parsed: &Parsed) -> Option<(Statement, &str)> {
    match &parsed.statement {
        statement @ (Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Update(_)
        | Statement::With { .. }
        | Statement::Delete { .. }) => Some((statement.clone(), &parsed.text)),
        Statement::Explain(explain) => match &explain.statement {
            statement @ (Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::With { .. }
            | Statement::Delete { .. }) => Some((statement.clone(), &explain.text)),
            _ => None,
        },
        Statement::ListenFor { query, text, .. }
        | Statement::Live { query, text }
        | Statement::Subscribe { query, text, .. } => Some((Statement::Query(query.clone()), text)),
        _ => None,
    }
}

/// The statement as it is now: bound again when a relation, the search path or a style that binding read has changed.
///
/// # Errors
/// The binder's; 0A000 when the result's columns are no longer those that the client was told.
pub(crate) fn refresh(standing: &mut Standing, prepared: &Arc<Prepared>) -> Result<Arc<Prepared>> {
    let Some(bound) = &prepared.bound else { return Ok(prepared.clone()) };
    let catalog = standing.catalog();
    let current = |need: &bind::bound::Need| {
        system::is_computed(&catalog, need.table) || catalog.schema_version(need.table) == Some(need.schema_version)
    };
    let same_types = prepared.types_version == catalog.types_version();
    if same_types && bound.needs.iter().all(current) && prepared.basis == standing.derived().basis {
        return Ok(prepared.clone());
    }
    let mut renewed = prepare(standing, prepared.parsed.clone(), prepared.declared.clone(), prepared.by_sql)?;
    renewed.source.clone_from(&prepared.source);
    renewed.prepared_at = prepared.prepared_at;
    renewed.executed = AtomicI64::new(prepared.executed.load(Ordering::Relaxed));
    let same = match (&renewed.columns, &prepared.columns) {
        (Some(new), Some(old)) => {
            new.len() == old.len() && new.iter().zip(old.iter()).all(|(a, b)| a.ty == b.ty && a.name == b.name)
        }
        (None, None) => true,
        _ => false,
    };
    if !same || renewed.parameters != prepared.parameters {
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
    }
    Ok(Arc::new(renewed))
}

/// The columns of a statement's result set, if it has one.
fn columns_of(
    standing: &mut Standing,
    statement: &Statement,
    bound: Option<&Bound>,
) -> Result<Option<Arc<[OutputColumn]>>> {
    let text = |names: &[&str]| Some(text_columns(names));
    Ok(match statement {
        Statement::Explain(explain) if explain.json => {
            let ty = PgType::new(SqlType::Json);
            Some(Arc::from([OutputColumn { name: "QUERY PLAN".to_string(), ty, origin: None }]))
        }
        Statement::Explain(_) => text(&["QUERY PLAN"]),
        Statement::ShowSetting(Some(name)) => {
            let shown = super::setting::value_of(standing, name).map_or_else(|| name.clone(), |(shown, _)| shown);
            text(&[&shown])
        }
        Statement::ShowSetting(None) => text(&["name", "setting", "description"]),
        Statement::FlushTable(_) | Statement::FlushAll(_) => text(&["job_id"]),
        Statement::ShowObjects(_) | Statement::Describe { .. } => listing::columns(standing, statement)?,
        Statement::Execute { name, .. } => standing.prepared(name)?.columns.clone(),
        Statement::Fetch { cursor, moving: false, .. } => {
            standing.portals.get(cursor).and_then(|portal| portal.prepared.columns.clone())
        }
        _ => match bound {
            Some(bound) if has_result(bound) => Some(bound.outputs.iter().map(output_column).collect()),
            _ => None,
        },
    })
}

fn has_result(bound: &Bound) -> bool {
    match &bound.kind {
        BoundKind::Query(_) => true,
        BoundKind::Insert(insert) => insert.returning.is_some(),
        BoundKind::Update(update) => update.returning.is_some(),
        BoundKind::Delete(delete) => delete.returning.is_some(),
    }
}

/// An output as RowDescription tells it. System columns have no attribute that a client could look up.
pub(crate) fn output_column(output: &Output) -> OutputColumn {
    let origin = output.origin.filter(|(_, column)| !column.is_system());
    OutputColumn { name: output.name.clone(), ty: output.ty, origin }
}

/// PREPARE
///
/// # Errors
/// 42P05 and the binder's.
pub(super) fn prepare_by_sql(
    standing: &mut Standing,
    name: &str,
    types: &[Option<PgType>],
    statement: &Statement,
    text: &str,
    whole: &str,
) -> Result<Outcome> {
    let declared = types.iter().map(|ty| ty.map(|ty| ty.ty)).collect();
    let parsed = Parsed { statement: statement.clone(), text: text.to_string(), offset: 0 };
    let mut prepared = prepare(standing, parsed, declared, true)?;
    prepared.source = whole.to_string();
    standing.keep_prepared(name, prepared)?;
    Ok(Outcome::Command("PREPARE".to_string()))
}

/// EXECUTE: the statement and its values.
///
/// # Errors
/// 26000, 42601 for a wrong count, and those of the arguments.
pub(super) fn execute(standing: &mut Standing, name: &str, arguments: &[Expr]) -> Result<(Arc<Prepared>, Vec<Datum>)> {
    let prepared = standing.prepared(name)?;
    let prepared = refresh(standing, &prepared)?;
    let scalars = bind::bind_constants(arguments, &prepared.parameters, name, "", &BindingNames::new(standing))?;
    let values = super::query::constants(standing, &scalars)?;
    prepared.executed.fetch_add(1, Ordering::Relaxed);
    Ok((prepared, values))
}

/// DEALLOCATE
///
/// # Errors
/// 26000
pub(super) fn deallocate(standing: &mut Standing, name: Option<&str>) -> Result<Outcome> {
    let Some(name) = name else {
        standing.prepared = Arc::default();
        return Ok(Outcome::Command("DEALLOCATE ALL".to_string()));
    };
    standing.prepared(name)?;
    standing.forget_prepared(name);
    Ok(Outcome::Command("DEALLOCATE".to_string()))
}

/// The binder's questions, answered from one catalog and one search path.
pub(crate) struct BindingNames {
    settings: Arc<Derived>,
    names: system::names::CatalogView,
}

impl BindingNames {
    /// As the session sees names now.
    pub fn new(standing: &Standing) -> Self {
        Self { settings: standing.derived(), names: standing.names() }
    }
}

impl Names for BindingNames {
    fn relation(&self, namespace: Option<&str>, name: &str) -> Result<Option<RelationShape>> {
        self.names.relation(namespace, name)
    }

    fn relation_by_id(&self, id: TableId) -> Option<RelationShape> {
        self.names.relation_by_id(id)
    }

    fn namespace(&self, name: &str) -> Option<kalamdb_commons::NamespaceId> {
        self.names.namespace(name)
    }

    fn style(&self) -> &Style {
        &self.settings.style
    }

    fn catalog(&self) -> &dyn CatalogNames {
        &self.names
    }
}
