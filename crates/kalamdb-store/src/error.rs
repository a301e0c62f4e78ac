//! What can go wrong in the store, as variants that a caller can act on.
//!
//! The sentence is written once, in the conversion to [`SqlError`]; nobody reads it back.

mod codec;
mod kv;
mod segment;

pub use codec::CodecError;
pub use kv::KvError;
pub use segment::SegmentError;

use kalamdb_commons::{SqlError, SqlState, TableId};
use std::path::PathBuf;
use std::sync::Arc;

/// What a lock was wanted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedThing {
    /// A row of the relation with this name.
    Row(String),
    /// The relation with this name.
    Relation(String),
    /// A name that is being created or dropped.
    Name(String),
}

/// An error of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Chosen as the victim of a cycle of waits. 40P01
    #[error("deadlock detected")]
    Deadlock,
    /// NOWAIT. 55P03
    #[error("a lock is not available")]
    NotAvailable(LockedThing),
    /// `lock_timeout`. 55P03
    #[error("canceling statement due to lock timeout")]
    LockTimeout,
    /// REPEATABLE READ and up: the row is newer than the snapshot. 40001
    #[error("could not serialize access due to concurrent update")]
    ConcurrentUpdate,
    /// REPEATABLE READ and up: the row is gone since the snapshot. 40001
    #[error("could not serialize access due to concurrent delete")]
    ConcurrentDelete,
    /// The table's definition changed between the statement's look at it and the commit; run again. 40001
    #[error("could not serialize access due to a concurrent change of the definition of table {0}")]
    SchemaChanged(TableId),
    /// A commit was caught in a failed write: nobody knows whether it will be there after a restart. 08007
    #[error("the outcome of the transaction is unknown")]
    OutcomeUnknown,
    /// An earlier write failed, for this reason; nothing is written until the store was opened again and checked.
    /// 53100 or 58030
    #[error("the store takes no writes since one failed: {0}")]
    Failed(KvError),
    /// The store was shut down. 57P01
    #[error("the store is closed")]
    Closed,
    /// The write sets of all transactions together are at their limit. 53200
    #[error("the uncommitted changes of all transactions exceed {limit} bytes")]
    TooManyWrites {
        /// The limit.
        limit: u64,
    },
    /// The storage engine.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A key or row.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A segment.
    #[error(transparent)]
    Segment(Arc<SegmentError>),
    /// The data directory was written by a newer version.
    #[error("data directory has format {found}; this version knows formats up to {supported}")]
    NewerFormat {
        /// Its version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The data directory is in use.
    #[error("data directory \"{}\" is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The data directory, or a row of the catalog in it, is not what any version wrote.
    #[error("data directory is damaged: {0}")]
    Damaged(String),
    /// The data directory cannot be read or written.
    #[error("data directory \"{}\": {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: Arc<std::io::Error>,
    },
}

impl StoreError {
    pub(crate) fn io(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), error: Arc::new(error) }
    }
}

impl From<SegmentError> for StoreError {
    fn from(error: SegmentError) -> Self {
        Self::Segment(Arc::new(error))
    }
}

impl From<StoreError> for SqlError {
    fn from(error: StoreError) -> Self {
        let state = match &error {
            StoreError::Deadlock => SqlState::T_R_DEADLOCK_DETECTED,
            StoreError::NotAvailable(_) | StoreError::LockTimeout => SqlState::LOCK_NOT_AVAILABLE,
            StoreError::ConcurrentUpdate | StoreError::ConcurrentDelete | StoreError::SchemaChanged(_) => {
                SqlState::T_R_SERIALIZATION_FAILURE
            }
            StoreError::OutcomeUnknown => SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
            StoreError::Closed => SqlState::ADMIN_SHUTDOWN,
            StoreError::TooManyWrites { .. } => SqlState::OUT_OF_MEMORY,
            StoreError::Damaged(_)
            | StoreError::NewerFormat { .. }
            | StoreError::Kv(KvError::Damaged(_) | KvError::LogDamaged { .. }) => SqlState::DATA_CORRUPTED,
            StoreError::Failed(KvError::Full(_)) | StoreError::Kv(KvError::Full(_)) => SqlState::DISK_FULL,
            StoreError::Failed(_) | StoreError::Kv(_) | StoreError::Locked(_) | StoreError::Io { .. } => {
                SqlState::IO_ERROR
            }
            StoreError::Codec(codec) => return codec.clone().into(),
            StoreError::Segment(segment) => return segment.told(),
        };
        match error {
            StoreError::NotAvailable(LockedThing::Row(relation)) => {
                SqlError::new(state, format!("could not obtain lock on row in relation \"{relation}\""))
            }
            StoreError::NotAvailable(LockedThing::Relation(name)) => {
                SqlError::new(state, format!("could not obtain lock on relation \"{name}\""))
            }
            StoreError::NotAvailable(LockedThing::Name(name)) => {
                SqlError::new(state, format!("could not obtain lock on name \"{name}\""))
            }
            StoreError::Deadlock => SqlError::new(state, error.to_string())
                .with_hint("Run the transaction again: the other one has what it waited for."),
            StoreError::Failed(KvError::Full(_)) => SqlError::new(state, error.to_string())
                .with_hint("Make room, then restart the server: it checks what is stored before it takes writes."),
            StoreError::Failed(_) => SqlError::new(state, error.to_string())
                .with_hint("Restart the server: it checks what is stored before it takes writes."),
            StoreError::Kv(KvError::LogDamaged { .. }) => SqlError::new(state, error.to_string()).with_hint(
                "Restore a copy of the data directory, or start once with --accept-log-damage to go on without them.",
            ),
            error => SqlError::new(state, error.to_string()),
        }
    }
}
