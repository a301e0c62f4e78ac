//! CHECK and FOREIGN KEY constraints. Primary keys are the table's own, UNIQUE stands with the indexes.

use kalamdb_commons::{ColumnId, Oid, TableId};
use serde::{Deserialize, Serialize};

/// CHECK
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDef {
    /// Its OID.
    pub id: Oid,
    /// Its name, unique in its table.
    pub name: String,
    /// The condition, as SQL text over the table's columns: a row is refused when it is false.
    pub expression: String,
    /// The columns that it names.
    pub columns: Vec<ColumnId>,
    /// NO INHERIT, which is shown only.
    pub no_inherit: bool,
    /// Whether rows from before were looked at (NOT VALID: not yet).
    pub validated: bool,
}

/// FOREIGN KEY
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignKeyDef {
    /// Its OID.
    pub id: Oid,
    /// Its name, unique in its table.
    pub name: String,
    /// The referencing columns.
    pub columns: Vec<ColumnId>,
    /// The referenced table.
    pub parent: TableId,
    /// The referenced columns, in the same order.
    pub parent_columns: Vec<ColumnId>,
    /// The OID of the unique index (or the primary key's) behind the referenced columns.
    pub parent_index: Oid,
    /// ON UPDATE
    pub on_update: ReferentialAction,
    /// ON DELETE
    pub on_delete: ReferentialAction,
    /// MATCH FULL; MATCH SIMPLE otherwise.
    pub match_full: bool,
    /// When it is checked.
    pub timing: ConstraintTiming,
    /// Whether rows from before were looked at (NOT VALID: not yet).
    pub validated: bool,
}

/// What a foreign key does when the referenced row goes or changes its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferentialAction {
    /// 23503, at the end of the statement or, where deferred, of the transaction.
    NoAction,
    /// 23503 at once.
    Restrict,
    /// The referencing rows go or change with it.
    Cascade,
    /// These columns (all of the key where the list is empty) become NULL.
    SetNull(Vec<ColumnId>),
    /// These columns (all of the key where the list is empty) get their defaults.
    SetDefault(Vec<ColumnId>),
}

/// When a constraint is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstraintTiming {
    /// NOT DEFERRABLE: at the end of each statement.
    Immediate,
    /// DEFERRABLE INITIALLY IMMEDIATE
    Deferrable,
    /// DEFERRABLE INITIALLY DEFERRED: at COMMIT.
    Deferred,
}
