//! STORAGE FLUSH, VACUUM and ANALYZE.

use super::{Outcome, text_rows};
use crate::jobs;
use crate::resolve::permit;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{Result, SqlError, SqlState, TableType};
use kalamdb_sql::statement::Name;

/// STORAGE FLUSH TABLE: the id of the job, which may be one that runs already.
///
/// # Errors
/// 42501, 42P01, 0A000 for a STREAM table.
pub(super) async fn flush_table(standing: &mut Standing, name: &Name) -> Result<Outcome> {
    permit(&standing.identity, AdminAction::Flush, "flush")?;
    let table = super::table::find(standing, name)?;
    if table.kind == TableType::Stream {
        return Err(SqlError::unsupported("FLUSH of a STREAM table"));
    }
    let job = jobs::flush(&standing.hall, &standing.catalog(), &table)?;
    text_rows(&["job_id"], &[vec![Some(job)]], "STORAGE FLUSH")
}

/// STORAGE FLUSH ALL
///
/// # Errors
/// 42501, 3F000
pub(super) async fn flush_all(standing: &mut Standing, namespace: Option<&str>) -> Result<Outcome> {
    permit(&standing.identity, AdminAction::Flush, "flush")?;
    let catalog = standing.catalog();
    let namespaces = match namespace {
        Some(name) => vec![catalog.namespace_by_name(name).ok_or_else(|| {
            SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
        })?],
        None => catalog.namespaces().collect(),
    };
    let mut rows = Vec::new();
    for namespace in namespaces {
        for table in catalog.tables_of(namespace.id) {
            if table.kind != TableType::Stream {
                rows.push(vec![Some(jobs::flush(&standing.hall, &catalog, table)?)]);
            }
        }
    }
    text_rows(&["job_id"], &rows, "STORAGE FLUSH")
}

/// VACUUM and ANALYZE: the relations must exist; upkeep works in the background by itself. One that is another's is
/// skipped with a warning, as in PostgreSQL.
///
/// # Errors
/// 42P01
pub(super) async fn upkeep(standing: &mut Standing, names: &[Name], tag: &str) -> Result<Outcome> {
    for name in names {
        let table = super::table::find(standing, name)?;
        let is_owner = table.owner == standing.identity.user;
        if permit(&standing.identity, AdminAction::MaintainTable { is_owner }, "upkeep").is_err() {
            let verb = tag.to_ascii_lowercase();
            let message = format!("permission denied to {verb} \"{}\", skipping it", table.name);
            standing.warn(SqlState::WARNING, &message);
        }
    }
    Ok(Outcome::Command(tag.to_string()))
}
