//! Views.

use kalamdb_commons::{ColumnId, ColumnName, NamespaceId, Oid, PgType, TableId, TableName, UserId};
use serde::{Deserialize, Serialize};

/// A view: a query with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewDef {
    /// Its id.
    pub id: TableId,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: TableName,
    /// Who made it: what the query needs is judged as for this user, unless `security_invoker`.
    pub owner: UserId,
    /// Raised by each change.
    pub schema_version: u32,
    /// Its columns, in order.
    pub columns: Vec<ViewColumn>,
    /// The query, as SQL text whose names are qualified.
    pub query: String,
    /// What the query names: it cannot go without the view.
    pub uses: Vec<Use>,
    /// `security_invoker`, `security_barrier`, `check_option`, as they are shown in pg_class.reloptions.
    pub options: Vec<String>,
    /// The OID of its row type.
    pub row_type: Oid,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewColumn {
    /// Its name.
    pub name: ColumnName,
    /// Its type.
    pub ty: PgType,
}

/// Something that a definition names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Use {
    /// A relation as a whole.
    Relation(TableId),
    /// A relation's column.
    Column(TableId, ColumnId),
    /// A type.
    Type(Oid),
}
