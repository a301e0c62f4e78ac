//! Secondary indexes.

use kalamdb_commons::{ColumnId, Oid, PgType};
use serde::{Deserialize, Serialize};

/// An index besides the primary key's: a range of keys of its own, written in the same batch as the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexDef {
    /// Its OID.
    pub id: Oid,
    /// Its name, unique among the relations of the table's namespace.
    pub name: String,
    /// The UNIQUE constraint that it stands behind, which has the same name.
    pub constraint: Option<Oid>,
    /// The method that it was declared with.
    pub method: IndexMethod,
    /// Whether two rows may not have equal keys.
    pub unique: bool,
    /// NULLS NOT DISTINCT: NULLs are equal.
    pub nulls_not_distinct: bool,
    /// What it is sorted by.
    pub keys: Vec<IndexKey>,
    /// INCLUDE: columns that are kept with it and not sorted by.
    pub include: Vec<ColumnId>,
    /// WHERE, as SQL text: only rows for which this is true are in it.
    pub predicate: Option<String>,
    /// Storage parameters, kept to be shown (`fillfactor=70`).
    pub reloptions: Vec<String>,
    /// Whether readers may use it.
    pub state: IndexState,
}

/// The access methods' names that CREATE INDEX takes. Entries are ordered either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexMethod {
    /// USING btree
    Btree,
    /// USING hash
    Hash,
}

/// How far an index is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    /// Writers keep it, nobody reads it: rows from before may be missing.
    Building,
    /// Complete.
    Ready,
}

/// One of the things that an index is sorted by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexKey {
    /// What is sorted.
    pub what: IndexKeyPart,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST
    pub nulls_first: bool,
    /// COLLATE, where it is not the column's own: the collation's OID.
    pub collation: Option<Oid>,
    /// The operator class, where it is not the type's default one.
    pub class: Option<Oid>,
}

/// What an index sorts by at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum IndexKeyPart {
    /// A column.
    Column(ColumnId),
    /// An expression over the row's columns.
    Expression {
        /// As SQL text.
        text: String,
        /// Its type.
        ty: PgType,
    },
}

impl IndexDef {
    /// Whether the column itself is among its keys or kept with them.
    pub fn is_over(&self, column: ColumnId) -> bool {
        self.include.contains(&column) || self.keys.iter().any(|key| key.what == IndexKeyPart::Column(column))
    }
    /// The columns, when it is over columns alone; `None` when an expression is among them.
    pub fn columns(&self) -> Option<Vec<ColumnId>> {
        self.keys
            .iter()
            .map(|key| match key.what {
                IndexKeyPart::Column(id) => Some(id),
                IndexKeyPart::Expression { .. } => None,
            })
            .collect()
    }
}
