//! Sequences, and what columns have to do with them.

use kalamdb_commons::{ColumnId, NamespaceId, SqlType, TableId, TableName, UserId};
use serde::{Deserialize, Serialize};

/// A sequence's definition. Where it stands is a value of its own: it changes often and rolls back never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceDef {
    /// Its id.
    pub id: TableId,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: TableName,
    /// Who made it.
    pub owner: UserId,
    /// smallint, integer or bigint.
    pub ty: SqlType,
    /// START
    pub start: i64,
    /// INCREMENT; never 0.
    pub increment: i64,
    /// MINVALUE
    pub min: i64,
    /// MAXVALUE
    pub max: i64,
    /// CACHE
    pub cache: i64,
    /// CYCLE
    pub cycle: bool,
    /// OWNED BY: it goes with this column.
    pub owned_by: Option<(TableId, ColumnId)>,
    /// Whether it is an IDENTITY column's own.
    pub identity: bool,
    /// Another number, never given before, when RESTART gives it another place to stand.
    pub generation: u64,
    /// Where this generation begins: a number, and whether it was given already.
    pub begins: (i64, bool),
}

/// GENERATED … AS IDENTITY
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// ALWAYS (values are refused without OVERRIDING) or BY DEFAULT.
    pub always: bool,
    /// The sequence behind it.
    pub sequence: TableId,
}
