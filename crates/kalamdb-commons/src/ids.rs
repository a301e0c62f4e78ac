//! Identifiers. Numbers are given once by the catalog and never used again; names are what people type.
//!
//! Keys on disk hold numbers only, so that a rename costs nothing and a name can be given again.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A PostgreSQL object identifier: every object of the catalog has one, from one allocator.
pub type Oid = u32;

/// The first OID given to an object that a user makes. Lower ones belong to the built-in catalog.
/// PostgreSQL's `FirstNormalObjectId`.
pub const FIRST_USER_OID: Oid = 16_384;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub struct $name(Arc<str>);
        impl $name {
            /// Takes a name as it is: already folded and unquoted.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

number! {
    /// A namespace (PostgreSQL: schema), by its OID.
    NamespaceId(Oid)
}
number! {
    /// A relation, by its OID.
    TableId(Oid)
}
number! {
    /// A user, by the OID of its role. It stands in the keys of USER and STREAM rows.
    UserId(Oid)
}
number! {
    /// A column's stable number inside its table (PostgreSQL's `attnum`): from 1, never used again.
    ColumnId(i16)
}
number! {
    /// A Parquet segment.
    SegmentId(u64)
}
number! {
    /// The position of a change in the server's one history. 0 is before every change.
    Seq(u64)
}
name! {
    /// A namespace's name.
    NamespaceName
}
name! {
    /// A relation's name inside its namespace.
    TableName
}
name! {
    /// A column's name inside its relation.
    ColumnName
}
name! {
    /// The name that a user logs in with.
    UserName
}
name! {
    /// The name of a place where segments are kept; `local` always exists.
    StorageId
}

/// System columns: they can be named, and are in no `SELECT *`.
impl ColumnId {
    /// `_seq` bigint: the position of the row's last change; NULL for one's own uncommitted rows.
    pub const SEQ: ColumnId = ColumnId(-101);
    /// `_updated` timestamptz: the time stamp of the commit that last changed the row.
    pub const UPDATED: ColumnId = ColumnId(-102);
    /// `_deleted` boolean: whether the row is a tombstone.
    pub const DELETED: ColumnId = ColumnId(-103);
    /// `tableoid` oid.
    pub const TABLEOID: ColumnId = ColumnId(-6);
    /// The row's encoded key, for the write operators only: no statement can name it.
    pub const ROW_KEY: ColumnId = ColumnId(-201);

    /// Whether this is a system column and not one of the table's own.
    pub fn is_system(self) -> bool {
        self.0 < 0
    }
}

/// The namespace `pg_catalog`.
pub const PG_CATALOG: NamespaceId = NamespaceId(11);
/// The namespace `public`, there from the start.
pub const PUBLIC: NamespaceId = NamespaceId(2200);
/// The namespace `information_schema`.
pub const INFORMATION_SCHEMA: NamespaceId = NamespaceId(13_000);
/// The namespace `system`.
pub const SYSTEM: NamespaceId = NamespaceId(13_001);
/// The user `root` (PostgreSQL's bootstrap superuser has OID 10).
pub const ROOT: UserId = UserId(10);
