//! Names inside function arguments: `'schema.table'` of `regclass`, `to_regclass`, `has_table_privilege`.

use super::Call;
use crate::types::oid::split_name;
use kalamdb_commons::{Oid, Result, SqlError, SqlState};

/// The relation of a name.
///
/// # Errors
/// 42P01, 42602
pub(super) fn relation(text: &str, call: &Call<'_>) -> Result<Oid> {
    let parts = split_name(text)?;
    match call.around.catalog().relation_by_name(&parts) {
        Some(table) => Ok(table.0),
        None => {
            let message = format!("relation \"{}\" does not exist", parts.join("."));
            Err(SqlError::new(SqlState::UNDEFINED_TABLE, message))
        }
    }
}
