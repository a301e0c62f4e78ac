//! Rows, definitions and segments, made durable in one order.
//!
//! A [`Transaction`] locks rows and gathers changes in a write set; one committer thread gives them their place in
//! the history, makes them durable and publishes the next state; a [`ReadView`] is one published state, perhaps with
//! a transaction's own changes on top. The surprising thing: nobody but the committer writes, not even upkeep.

pub mod catalog;
pub mod codec;
pub mod definition;
pub mod error;
pub mod kv;
pub mod segment;
pub mod store;
pub mod txn;
pub mod upkeep;

pub use catalog::Catalog;
pub use codec::key::{Edge, KeyRange};
pub use definition::{
    Change, CheckDef, ColumnDef, ConstraintTiming, Described, DomainCheck, EnumLabel, FlushPolicy, ForeignKeyDef,
    Identity, IndexDef, IndexKey, IndexKeyPart, IndexMethod, IndexState, JobRecord, KeyDef, Login, NamespaceDef,
    Partition, ReferentialAction, SeenName, SequenceDef, TableDef, TableOptions, TypeDef, TypeKind, Use, UserDef,
    ViewColumn, ViewDef,
};
pub use error::StoreError;
pub use kv::Durability;
pub use segment::{ColdSegment, SegmentRecord};
pub use store::{KvKind, Options, Store};
pub use txn::committer::Committed;
pub use txn::feed::{CommitRecord, Feed, Lagged, Notification, RowChange};
pub use txn::index::{Entries, IndexEntry};
pub use txn::lock::{LockStrength, LockWait, TableLockMode};
pub use txn::note::{ChangeNote, FlushCommit};
pub use txn::read_view::{HotRows, HotScan, Place, ReadView, RowVersion, Tombstone};
pub use txn::sequence::{SequencePlace, SequenceRun};
pub use txn::snapshot::Published;
pub use txn::transaction::{Isolation, Locked, Mark, Transaction};
pub use txn::{Engine, TxnId};
