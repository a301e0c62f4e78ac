//! SHOW NAMESPACES, TABLES … and DESCRIBE: queries over the system tables, so that both always agree.

use super::{Guard, Outcome, prepared};
use crate::reply::OutputColumn;
use crate::resolve::{self, permit};
use crate::standing::{Prepared, Standing};
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{Datum, Result, SqlError, SqlType};
use kalamdb_sql::Statement;
use kalamdb_sql::bind::bound::{Action, Need};
use kalamdb_sql::parse;
use kalamdb_sql::statement::{Name, ShowObjects};
use std::sync::Arc;

/// A listing: its query, and the texts that are its parameters.
fn listing(standing: &Standing, statement: &Statement) -> Result<(&'static str, Vec<String>)> {
    Ok(match statement {
        Statement::ShowObjects(ShowObjects::Namespaces) => (
            "SELECT name, description, owner, table_count, created_at FROM system.namespaces ORDER BY name",
            Vec::new(),
        ),
        Statement::ShowObjects(ShowObjects::Tables(None)) => (
            "SELECT namespace, table_name, table_type, access_level, storage_id, owner FROM system.tables \
             ORDER BY namespace, table_name",
            Vec::new(),
        ),
        Statement::ShowObjects(ShowObjects::Tables(Some(namespace))) => (
            "SELECT namespace, table_name, table_type, access_level, storage_id, owner FROM system.tables \
             WHERE namespace = $1 ORDER BY table_name",
            vec![namespace.clone()],
        ),
        Statement::ShowObjects(ShowObjects::Storages) => (
            "SELECT storage_id, name, description, storage_type, location FROM system.storages \
             ORDER BY storage_id <> 'local', storage_id",
            Vec::new(),
        ),
        Statement::ShowObjects(ShowObjects::Jobs) => (
            "SELECT job_id, job_type, namespace, table_name, status, result, error, created_at, finished_at \
             FROM system.jobs ORDER BY created_at, job_id",
            Vec::new(),
        ),
        Statement::ShowObjects(ShowObjects::LiveQueries) => (
            "SELECT live_id, session_id, user_id, channel, relation, query, state, delivered, last_seq, created_at \
             FROM system.live_queries ORDER BY created_at, live_id",
            Vec::new(),
        ),
        Statement::ShowObjects(ShowObjects::Manifest(name)) => (
            "SELECT segment_id, path, rows, bytes, min_key, max_key, min_seq, max_seq, deleted_rows, created_at \
             FROM system.segments WHERE namespace = $1 AND table_name = $2 ORDER BY segment_id",
            full_name(standing, name)?,
        ),
        Statement::ShowObjects(ShowObjects::Stats(_)) => return Err(SqlError::unsupported("SHOW STATS FOR TABLE")),
        Statement::Describe { history: true, name } => (
            "SELECT schema_version, definition, created_at FROM system.table_schemas \
             WHERE table_id = $1::text::oid ORDER BY schema_version",
            vec![super::table::find(standing, name)?.id.to_string()],
        ),
        Statement::Describe { name, .. } => (
            "SELECT a.attname::text AS column_name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS data_type, \
                    NOT a.attnotnull AS is_nullable, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS column_default, \
                    a.attnum = ANY (k.conkey) IS TRUE AS is_primary_key \
             FROM pg_catalog.pg_attribute a \
             LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p' \
             WHERE a.attrelid = $1::text::oid AND NOT a.attisdropped AND (a.attnum > 0 OR a.attnum < -100) \
             ORDER BY a.attnum < 0, abs(a.attnum)",
            vec![super::table::find(standing, name)?.id.to_string()],
        ),
        _ => return Err(SqlError::internal("not a listing")),
    })
}

fn full_name(standing: &Standing, name: &Name) -> Result<Vec<String>> {
    let table = super::table::find(standing, name)?;
    let namespace = super::table::namespace_name(&standing.catalog(), table.namespace);
    Ok(vec![namespace, table.name.to_string()])
}

fn prepare(standing: &mut Standing, sql: &str, texts: usize) -> Result<Prepared> {
    let mut parsed = parse::parse(sql)?;
    let parsed = parsed.pop().ok_or_else(|| SqlError::internal("a listing without a statement"))?;
    prepared::prepare(standing, parsed, vec![Some(SqlType::Text); texts], false)
}

/// The columns that a listing will have.
///
/// # Errors
/// 42P01 for a relation that is not there.
pub(super) fn columns(standing: &mut Standing, statement: &Statement) -> Result<Option<Arc<[OutputColumn]>>> {
    let (sql, texts) = listing(standing, statement)?;
    Ok(prepare(standing, sql, texts.len())?.columns)
}

async fn run(standing: &mut Standing, statement: &Statement, guard: &Guard) -> Result<Outcome> {
    let (sql, texts) = listing(standing, statement)?;
    let prepared = Arc::new(prepare(standing, sql, texts.len())?);
    let values = texts.into_iter().map(Datum::text).collect();
    super::bound(standing, &prepared, Arc::new(values), guard).await
}

/// SHOW of our objects.
///
/// # Errors
/// 42P01, and those of the query.
pub(super) async fn show(standing: &mut Standing, what: &ShowObjects, guard: &Guard) -> Result<Outcome> {
    run(standing, &Statement::ShowObjects(what.clone()), guard).await
}

/// DESCRIBE: for whoever may read the table, or alter it.
///
/// # Errors
/// 42P01, 42501, and those of the query.
pub(super) async fn describe(standing: &mut Standing, name: &Name, history: bool, guard: &Guard) -> Result<Outcome> {
    let table = super::table::find(standing, name)?;
    let need = Need {
        table: table.id,
        schema_version: table.schema_version,
        action: Action::Select,
        columns: Default::default(),
        with_deleted: false,
        judged_as: None,
    };
    let is_owner = table.owner == standing.identity.user;
    if permit(&standing.identity, AdminAction::AlterTable { is_owner }, "DESCRIBE").is_err() {
        resolve::relation(&standing.catalog(), &standing.identity, &need)?;
    }
    run(standing, &Statement::Describe { name: name.clone(), history }, guard).await
}
