//! CREATE and DROP EXTENSION: what PostgreSQL has as an extension and KalamDB has built in is always there.

use super::Outcome;
use crate::standing::Standing;
use crate::system::objects::EXTENSIONS;
use kalamdb_commons::{Result, SqlError, SqlState};

fn is_built_in(name: &str) -> bool {
    EXTENSIONS.iter().any(|extension| extension.name == name)
}

/// CREATE EXTENSION: there is nothing left to do for one that is built in.
///
/// # Errors
/// 0A000 for one that is not there.
pub(super) fn create(standing: &mut Standing, name: &str, if_not_exists: bool) -> Result<Outcome> {
    standing.not_read_only("CREATE EXTENSION")?;
    if !is_built_in(name) {
        let message = format!("extension \"{name}\" is not available");
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
            .with_hint("The extensions that are built in are listed in pg_available_extensions."));
    }
    standing.notice(match if_not_exists {
        true => format!("extension \"{name}\" already exists, skipping"),
        false => format!("extension \"{name}\" is built in"),
    });
    Ok(Outcome::Command("CREATE EXTENSION".to_string()))
}

/// DROP EXTENSION
///
/// # Errors
/// 42704 for one that is not there, 2BP01 for one that is built in.
pub(super) fn drop(standing: &mut Standing, names: &[String], if_exists: bool) -> Result<Outcome> {
    standing.not_read_only("DROP EXTENSION")?;
    for name in names {
        if is_built_in(name) {
            let message = format!("cannot drop extension {name} because it is required by the database system");
            return Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message));
        }
        let message = format!("extension \"{name}\" does not exist");
        if !if_exists {
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        }
        standing.notice(format!("{message}, skipping"));
    }
    Ok(Outcome::Command("DROP EXTENSION".to_string()))
}
