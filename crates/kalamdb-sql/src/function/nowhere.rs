//! Surroundings where no session is: for values printed inside aggregates, and for functions that ask for nothing.

use super::{AdvisoryLock, CatalogNames, PrivilegeObject, Surroundings};
use crate::types::{self, Style};
use kalamdb_commons::{Datum, Oid, PgType, Result, SqlError, SqlState, TableId, UserId};
use std::sync::LazyLock;

/// A catalog that knows no names: OIDs are printed as digits. As surroundings it serves immutable functions alone: the
/// settings are the defaults, and whatever only a session can do is an error.
#[derive(Debug)]
pub struct Nowhere;

static DEFAULT_STYLE: LazyLock<Style> = LazyLock::new(Style::default);

pub(super) fn no_session<T>() -> Result<T> {
    Err(SqlError::internal("a function asks for a session where there is none"))
}

impl Surroundings for Nowhere {
    fn style(&self) -> &Style {
        &DEFAULT_STYLE
    }
    fn setting(&self, _: &str) -> Option<String> {
        None
    }
    fn set_setting(&self, _: &str, _: Option<&str>, _: bool) -> Result<String> {
        no_session()
    }
    fn current_user(&self) -> UserId {
        UserId(0)
    }
    fn transaction_start(&self) -> i64 {
        0
    }
    fn statement_start(&self) -> i64 {
        0
    }
    fn snowflake_id(&self) -> i64 {
        0
    }
    fn catalog(&self) -> &dyn CatalogNames {
        self
    }
    fn notify(&self, _: &str, _: &str) -> Result<()> {
        no_session()
    }
    fn listening_channels(&self) -> Vec<String> {
        Vec::new()
    }
    fn signal_backend(&self, _: i32, _: bool) -> Result<bool> {
        no_session()
    }
    fn advisory_lock(&self, _: AdvisoryLock) -> Result<bool> {
        no_session()
    }
    fn sleep(&self, _: std::time::Duration) -> Result<()> {
        no_session()
    }
    fn warn(&self, _: SqlState, _: &str) {}
    fn blocking_backends(&self, _: i32) -> Vec<i32> {
        Vec::new()
    }
    fn transaction_number(&self) -> Result<u64> {
        no_session()
    }
    fn query_text(&self) -> &str {
        ""
    }
}

/// What a value's output function writes under the default settings.
pub(super) fn text_of(datum: &Datum, ty: PgType) -> Result<String> {
    match datum {
        Datum::Text(text) => Ok(text.to_string()),
        Datum::Null => Ok(String::new()),
        _ => types::to_text(datum, ty, &Style::default(), &Nowhere),
    }
}

impl CatalogNames for Nowhere {
    fn relation_by_name(&self, _: &[String]) -> Option<TableId> {
        None
    }
    fn relation_name(&self, _: Oid) -> Option<String> {
        None
    }
    fn namespace_by_name(&self, _: &str) -> Option<Oid> {
        None
    }
    fn namespace_name(&self, _: Oid) -> Option<String> {
        None
    }
    fn role_by_name(&self, _: &str) -> Option<Oid> {
        None
    }
    fn role_name(&self, _: Oid) -> Option<String> {
        None
    }
    fn relation_is_visible(&self, _: Oid) -> Option<bool> {
        None
    }
    fn index_definition(&self, _: Oid, _: i32, _: bool) -> Option<String> {
        None
    }
    fn constraint_definition(&self, _: Oid, _: bool) -> Option<String> {
        None
    }
    fn view_definition(&self, _: Oid, _: bool) -> Option<String> {
        None
    }
    fn description(&self, _: Oid, _: &str, _: i32) -> Option<String> {
        None
    }
    fn relation_size(&self, _: Oid) -> Option<i64> {
        None
    }
    fn has_privilege(&self, _: Oid, _: PrivilegeObject, _: &str) -> Result<Option<bool>> {
        Ok(None)
    }
    fn search_path(&self, _: bool) -> Vec<String> {
        Vec::new()
    }
}
