//! SET, RESET, SHOW, DISCARD.

use super::{Outcome, text_rows};
use crate::settings::{self, SETTINGS};
use crate::standing::{ListenChange, Standing};
use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_sql::statement::Discard;

/// SET
///
/// # Errors
/// 42704, 22023, 55P02; 0A000 for `role` and `session_authorization`.
pub(super) fn set(standing: &mut Standing, name: &str, values: &[String], local: bool) -> Result<Outcome> {
    if local && !standing.in_block() {
        standing.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
        return done("SET");
    }
    match name {
        "role" if values.first().is_none_or(|role| role == "none" || role == standing.identity.name.as_str()) => {
            return done("SET");
        }
        "role" | "session_authorization" => return Err(SqlError::unsupported(format!("SET {}", name.to_uppercase()))),
        "default_transaction_isolation" if values.iter().any(|value| value.eq_ignore_ascii_case("serializable")) => {
            return Err(SqlError::unsupported("isolation level SERIALIZABLE"));
        }
        "transaction_isolation" | "transaction_read_only" => return set_mode(standing, name, values),
        _ => {}
    }
    let mut settings = standing.settings.lock();
    if values.is_empty() {
        settings.reset(name)?;
        return done("SET");
    }
    let value = match name {
        "search_path" => values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", "),
        _ => values.join(", "),
    };
    settings.set(name, &value, local)?;
    done("SET")
}

fn set_mode(standing: &mut Standing, name: &str, values: &[String]) -> Result<Outcome> {
    use kalamdb_sql::statement::{IsolationLevel, TransactionModes};
    let value = values.first().map(|value| value.to_ascii_lowercase()).unwrap_or_default();
    let mut modes = TransactionModes::default();
    match (name, value.as_str()) {
        ("transaction_isolation", "serializable") => modes.isolation = Some(IsolationLevel::Serializable),
        ("transaction_isolation", "repeatable read") => modes.isolation = Some(IsolationLevel::RepeatableRead),
        ("transaction_isolation", _) => modes.isolation = Some(IsolationLevel::ReadCommitted),
        (_, value) => modes.read_only = Some(matches!(value, "on" | "true" | "yes" | "1")),
    }
    standing.set_modes(modes)?;
    done("SET")
}

fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain && !name.is_empty() { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// RESET
///
/// # Errors
/// 42704
pub(super) fn reset(standing: &mut Standing, name: Option<&str>) -> Result<Outcome> {
    match name {
        Some(name) => standing.settings.lock().reset(name)?,
        None => {
            standing.settings.lock().reset_all();
            // Pools reset with RESET ALL: live queries end with it.
            standing.outbox.end_live_queries();
        }
    }
    done("RESET")
}

/// SHOW
///
/// # Errors
/// 42704
pub(super) fn show(standing: &mut Standing, name: Option<&str>) -> Result<Outcome> {
    let Some(name) = name else { return show_all(standing) };
    let (shown, value) = value_of(standing, name).ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
    })?;
    text_rows(&[&shown], &[vec![Some(value)]], "SHOW")
}

/// The name of SHOW's column, and the value as it is shown.
pub(crate) fn value_of(standing: &Standing, name: &str) -> Option<(String, String)> {
    if let Some(value) = standing.transaction_setting(name) {
        return Some((name.to_ascii_lowercase(), value));
    }
    match name.to_ascii_lowercase().as_str() {
        "is_superuser" => {
            let on = standing.identity.role == kalamdb_commons::Role::System;
            return Some((name.to_string(), if on { "on" } else { "off" }.to_string()));
        }
        "session_authorization" => return Some((name.to_string(), standing.identity.name.to_string())),
        _ => {}
    }
    let value = standing.settings.lock().get(name)?;
    Some(match settings::find(name) {
        Some(setting) => (setting.name.to_string(), settings::shown(setting, &value)),
        None => (name.to_ascii_lowercase(), value),
    })
}

fn show_all(standing: &mut Standing) -> Result<Outcome> {
    let row = |setting: &settings::Setting| {
        let value = value_of(standing, setting.name).map(|(_, value)| value);
        vec![Some(setting.name.to_string()), value, Some(setting.description.to_string())]
    };
    let rows: Vec<_> = SETTINGS.iter().map(row).collect();
    text_rows(&["name", "setting", "description"], &rows, "SHOW")
}

/// DISCARD
///
/// # Errors
/// 25001 for DISCARD ALL inside a block.
pub(super) fn discard(standing: &mut Standing, what: Discard, single: bool) -> Result<Outcome> {
    match what {
        Discard::All => {
            standing.outside_block("DISCARD ALL", single)?;
            standing.portals.clear();
            standing.prepared = std::sync::Arc::default();
            standing.settings.lock().reset_all();
            standing.pend_listen(ListenChange::UnlistenAll);
            standing.outbox.end_live_queries();
            standing.hall.registry.advisory.unlock_all(standing.registered.pid());
            standing.sequences.lock().discard();
            done("DISCARD ALL")
        }
        Discard::Plans => done("DISCARD PLANS"),
        Discard::Sequences => {
            standing.sequences.lock().discard();
            done("DISCARD SEQUENCES")
        }
        Discard::Temp => done("DISCARD TEMP"),
    }
}

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}
