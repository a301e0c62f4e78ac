//! What the catalog holds: definitions as plain values. They change rarely; what changes often (segments, jobs,
//! login counters) has values of its own.

mod constraint;
mod data_type;
mod index;
mod sequence;
mod view;

pub use constraint::{CheckDef, ConstraintTiming, ForeignKeyDef, ReferentialAction};
pub use data_type::{DomainCheck, EnumLabel, TypeDef, TypeKind};
pub use index::{IndexDef, IndexKey, IndexKeyPart, IndexMethod, IndexState};
pub use sequence::{Identity, SequenceDef};
pub use view::{SeenName, Use, ViewColumn, ViewDef};

use kalamdb_commons::{
    AccessLevel, ColumnId, ColumnName, Datum, NamespaceId, NamespaceName, Oid, PgType, Role, Scope, StorageId, TableId,
    TableName, TableType, UserId, UserName,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamespaceDef {
    /// Its id.
    pub id: NamespaceId,
    /// Its name.
    pub name: NamespaceName,
    /// Who made it.
    pub owner: UserId,
    /// A text for people.
    pub description: Option<String>,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
}

/// A table of any kind: USER, SHARED and STREAM differ in values only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDef {
    /// Its id.
    pub id: TableId,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: TableName,
    /// How rows are partitioned and how long they live.
    pub kind: TableType,
    /// Who may use it (SHARED).
    pub access: AccessLevel,
    /// Where segments go.
    pub storage: StorageId,
    /// Who made it.
    pub owner: UserId,
    /// The other options.
    pub options: TableOptions,
    /// Raised by each change of the columns or the key.
    pub schema_version: u32,
    /// Every column that the table ever had, in order of `id`.
    pub columns: Vec<ColumnDef>,
    /// The primary key; without one rows have a hidden row id (a 64-bit number made from node, time and sequence).
    pub primary_key: Option<KeyDef>,
    /// Its other indexes, those behind UNIQUE constraints too, in the order they were made.
    pub indexes: Vec<IndexDef>,
    /// Its CHECK constraints, in the order they were made.
    pub checks: Vec<CheckDef>,
    /// Its foreign keys, in the order they were made.
    pub foreign_keys: Vec<ForeignKeyDef>,
    /// The OID of its row type.
    pub row_type: Oid,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
    /// Microseconds since 1970 UTC.
    pub updated_at: i64,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Its stable number.
    pub id: ColumnId,
    /// Its name.
    pub name: ColumnName,
    /// Its type.
    pub ty: PgType,
    /// NOT NULL
    pub not_null: bool,
    /// DEFAULT, as SQL text.
    pub default: Option<String>,
    /// GENERATED … AS IDENTITY
    pub identity: Option<Identity>,
    /// GENERATED ALWAYS AS (…) STORED, as SQL text over the other columns.
    pub generated: Option<String>,
    /// The domain that `ty` was declared by.
    pub domain: Option<Oid>,
    /// What rows have that were written before the column came (PostgreSQL's `attmissingval`).
    pub missing: Datum,
    /// Whether it was dropped.
    pub dropped: bool,
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyDef {
    /// The constraint's OID.
    pub constraint: Oid,
    /// The OID of the index that PostgreSQL clients expect behind it.
    pub index: Oid,
    /// The name of both.
    pub name: String,
    /// The columns.
    pub columns: Vec<ColumnId>,
}

/// A table's options (`WITH (…)`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableOptions {
    /// When to flush by itself.
    pub flush_policy: Option<FlushPolicy>,
    /// How long tombstones are kept.
    pub deleted_retention_hours: u32,
    /// STREAM: how long a row lives.
    pub ttl_seconds: Option<u32>,
    /// USER: the user's own storage wins.
    pub use_user_storage: bool,
    /// PostgreSQL's storage parameters, kept to be shown (`fillfactor=100`).
    pub reloptions: Vec<String>,
}

/// When a table is flushed by itself: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushPolicy {
    /// After so many hot rows.
    pub rows: Option<u64>,
    /// After so many seconds.
    pub interval_seconds: Option<u64>,
}

/// A user.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct UserDef {
    /// The number that stands in keys.
    pub id: UserId,
    /// The login name.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
    /// How the user logs in.
    pub login: Login,
    /// An address.
    pub email: Option<String>,
    /// JSON.
    pub metadata: Option<String>,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
    /// Microseconds since 1970 UTC.
    pub updated_at: i64,
    /// When the user was dropped: the name can be given again, the number never.
    pub deleted_at: Option<i64>,
}

/// How a user logs in. Hashes only, and `Debug` shows none of them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Login {
    /// Not at all.
    Internal,
    /// By password.
    Password {
        /// For Basic logins.
        bcrypt: String,
        /// For SCRAM-SHA-256: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
        scram: String,
    },
    /// By a token of this provider for this subject.
    Oauth {
        /// The issuer's name in the configuration.
        provider: String,
        /// The token's `sub`.
        subject: String,
    },
}

impl std::fmt::Debug for UserDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserDef")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            flush_policy: None,
            // DIALECT: a week in which a deleted row can be restored.
            deleted_retention_hours: 168,
            ttl_seconds: None,
            use_user_storage: false,
            reloptions: Vec::new(),
        }
    }
}

impl TableDef {
    /// The columns that were not dropped, in order.
    pub fn live_columns(&self) -> impl Iterator<Item = &ColumnDef> {
        self.columns.iter().filter(|column| !column.dropped)
    }
    /// A column by its number, dropped ones too.
    pub fn column(&self, id: ColumnId) -> Option<&ColumnDef> {
        self.columns.iter().find(|column| column.id == id)
    }
    /// A live column by its name.
    pub fn column_by_name(&self, name: &str) -> Option<&ColumnDef> {
        self.live_columns().find(|column| column.name.as_str() == name)
    }
    /// An index by its OID; the primary key's is not among them.
    pub fn index(&self, id: Oid) -> Option<&IndexDef> {
        self.indexes.iter().find(|index| index.id == id)
    }
    /// The names of all its indexes, the primary key's first, with their OIDs.
    pub fn index_names(&self) -> impl Iterator<Item = (&str, Oid)> {
        let primary = self.primary_key.iter().map(|key| (key.name.as_str(), key.index));
        primary.chain(self.indexes.iter().map(|index| (index.name.as_str(), index.id)))
    }
    /// The OIDs of all its constraints.
    pub fn constraint_ids(&self) -> impl Iterator<Item = Oid> {
        let keys = self.primary_key.iter().map(|key| key.constraint);
        keys.chain(self.indexes.iter().filter_map(|index| index.constraint))
            .chain(self.checks.iter().map(|check| check.id))
            .chain(self.foreign_keys.iter().map(|key| key.id))
    }
    /// Whether its rows are partitioned by user.
    pub fn is_per_user(&self) -> bool {
        matches!(self.kind, TableType::User | TableType::Stream)
    }
}

/// Which rows of a table: one partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// The table, as the statement's catalog knows it.
    pub table: Arc<TableDef>,
    /// Whose rows.
    pub scope: Scope,
}

/// A change of the definitions. It is a part of its transaction's write set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// A namespace is made or changed.
    PutNamespace(NamespaceDef),
    /// A namespace goes; its tables went before.
    DropNamespace(NamespaceId),
    /// A table is made or changed.
    PutTable(TableDef),
    /// A table goes, with its rows, tombstones and segments.
    DropTable(TableId),
    /// A table's rows, tombstones and segments go.
    TruncateTable(TableId),
    /// A user is made or changed; a dropped one stays, with `deleted_at`.
    PutUser(UserDef),
    /// A view is made or changed.
    PutView(ViewDef),
    /// A view goes.
    DropView(TableId),
    /// A sequence is made or changed.
    PutSequence(SequenceDef),
    /// A sequence goes, with its place.
    DropSequence(TableId),
    /// A type is made or changed.
    PutType(TypeDef),
    /// A type goes.
    DropType(Oid),
    /// COMMENT ON; `None` takes it away.
    Comment(Described, Option<String>),
}

/// What a comment is about, as in `pg_description`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Described {
    /// Its OID.
    pub object: Oid,
    /// The OID of the system relation that lists it (`classoid`).
    pub class: Oid,
    /// The column's number, or 0.
    pub column: i16,
}

/// A job: what it is to do, and how far it came. The texts are DIALECT's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
pub struct JobRecord {
    /// Its id: two letters for its kind, then a number.
    pub job_id: String,
    /// `flush`, `compact`, …
    pub job_type: String,
    /// The namespace it works in.
    pub namespace: Option<String>,
    /// The table it works on.
    pub table_name: Option<String>,
    /// That table's id: it may be renamed meanwhile.
    pub table: Option<TableId>,
    /// `queued`, `running`, `retrying`, `completed`, `failed`, `cancelled`.
    pub status: String,
    /// How far, for people.
    pub progress: Option<String>,
    /// What it was told (JSON).
    pub parameters: Option<String>,
    /// What it did (JSON).
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// How often it was begun.
    pub attempts: i32,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
    /// Microseconds since 1970 UTC.
    pub started_at: Option<i64>,
    /// Microseconds since 1970 UTC.
    pub finished_at: Option<i64>,
}
