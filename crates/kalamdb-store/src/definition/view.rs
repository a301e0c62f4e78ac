//! Views.

use kalamdb_commons::{AccessLevel, ColumnId, ColumnName, NamespaceId, Oid, PgType, TableId, TableName, UserId};
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
    /// Who may read it, as of a SHARED table.
    pub access: AccessLevel,
    /// Raised by each change.
    pub schema_version: u32,
    /// Its columns, in order.
    pub columns: Vec<ViewColumn>,
    /// The query as it was written.
    pub query: String,
    /// What the names in it meant when it was written: they mean the same for ever, whatever is renamed or made later.
    pub names: Vec<SeenName>,
    /// TimeZone, DateStyle and IntervalStyle, by which its constants were read.
    pub settings: [String; 3],
    /// What the query names: it cannot go without the view.
    pub uses: Vec<Use>,
    /// `security_invoker`, `security_barrier`, `check_option`, as they are shown in pg_class.reloptions.
    pub options: Vec<String>,
    /// The OID of its row type.
    pub row_type: Oid,
    /// The OID of the rule that PostgreSQL clients expect behind it (`pg_rewrite`).
    pub rule: Oid,
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

/// A relation's name in a stored query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenName {
    /// The namespace, where it was written.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What it meant.
    pub relation: TableId,
    /// The columns that were there, with the names that they had.
    pub columns: Vec<(ColumnId, String)>,
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
