//! Surroundings for values that are printed where no session is: inside aggregates.

use super::{CatalogNames, PrivilegeObject};
use crate::types::{self, Style};
use kalamdb_commons::{Datum, Oid, PgType, Result, TableId};

/// A catalog that knows no names: OIDs are printed as digits.
pub struct Nowhere;

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
    fn index_definition(&self, _: Oid, _: i32) -> Option<String> {
        None
    }
    fn constraint_definition(&self, _: Oid) -> Option<String> {
        None
    }
    fn view_definition(&self, _: Oid) -> Option<String> {
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
