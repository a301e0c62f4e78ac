//! The words that every room of KalamDB shares: identifiers, roles, types, errors, the clock.
//!
//! A word-list, not a library: nothing here reads a file, opens a socket or knows how a row is stored.
//! The one surprising thing: numerics have a memcomparable form, because keys, Arrow columns and
//! comparisons all lean on the same bytes.

#![forbid(unsafe_code)]

pub mod array;
pub mod clock;
pub mod datum;
pub mod error;
pub mod ids;
pub mod numeric;
pub mod role;
pub mod scope;
pub mod sql_type;
pub mod sqlstate;
pub mod vector;

pub use datum::{ArrayDatum, Datum, Interval, RecordDatum, RecordField};
pub use error::{Result, SqlError};
pub use ids::{
    ColumnId, ColumnName, NamespaceId, NamespaceName, Oid, SegmentId, Seq, StorageId, TableId, TableName, UserId,
    UserName,
};
pub use numeric::Numeric;
pub use role::{AccessLevel, Role, TableType};
pub use scope::Scope;
pub use sql_type::{PgType, SqlType};
pub use sqlstate::SqlState;
