//! Names, types, operators and parameters: a parsed statement becomes a [`bound::Bound`] tree.
//!
//! Looks names up and grants nothing. What it cannot do is 0A000, never a guess.

pub mod bound;

use crate::statement::Statement;
use bound::Bound;
use kalamdb_commons::{ColumnId, NamespaceId, PgType, Result, SqlType, TableId, TableType};

/// What the binder may ask about names. Core implements it over one catalog and one search path.
pub trait Names {
    /// The relation that a name means: `None` as the namespace means the search path (pg_catalog first unless the
    /// path says otherwise). `Ok(None)`: there is none (42P01 is the binder's); 3F000 for a missing namespace.
    fn relation(&self, namespace: Option<&str>, name: &str) -> Result<Option<RelationShape>>;
    /// Whether a namespace exists (for better errors).
    fn namespace(&self, name: &str) -> Option<NamespaceId>;
    /// `kalam.*` and other settings that change binding, e.g. `TimeZone`, `DateStyle` for literals.
    fn style(&self) -> &crate::types::Style;
    /// The objects that a `'name'::regclass` and kin constant means: answered at execution, but a constant may be
    /// folded by asking here.
    fn catalog(&self) -> &dyn crate::function::CatalogNames;
}

/// A relation as the binder sees it: made of plain words.
#[derive(Debug, Clone)]
pub struct RelationShape {
    /// Its id.
    pub table: TableId,
    /// Its namespace's name.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its schema version.
    pub schema_version: u32,
    /// A table, or a relation that is computed (pg_catalog, system).
    pub kind: RelationKind,
    /// Its live columns, in order (system columns are added by the binder by name).
    pub columns: Vec<ColumnShape>,
    /// The primary key's columns and its constraint's name.
    pub primary_key: Option<(String, Vec<ColumnId>)>,
}

/// What kind of relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// Rows in the store.
    Table(TableType),
    /// Computed from the catalog and the running server; read-only.
    System,
}

/// A column as the binder sees it.
#[derive(Debug, Clone)]
pub struct ColumnShape {
    /// Its stable number.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: PgType,
    /// NOT NULL.
    pub not_null: bool,
    /// Its default, as SQL text.
    pub default: Option<String>,
}

/// Binds a query, INSERT, UPDATE or DELETE. `declared` are the parameter types that the client gave (`None`: infer).
///
/// # Errors
/// PostgreSQL's, with positions in characters of the statement's own text.
pub fn bind(statement: &Statement, text: &str, declared: &[Option<SqlType>], names: &dyn Names) -> Result<Bound> {
    let _ = (statement, text, declared, names);
    Err(kalamdb_commons::SqlError::unsupported("binding"))
}
