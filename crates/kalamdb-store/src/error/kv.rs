//! What can go wrong in a storage engine.

use std::path::PathBuf;

/// What an engine reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// What is stored does not agree with its checksums or its own index.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The log cannot be replayed as a whole, and not for the reason that its last write was cut short.
    #[error(
        "the log \"{}\" is damaged at offset {offset}, with {behind} intact records behind that would be lost",
        .file.display()
    )]
    LogDamaged {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// How many records behind it can be read.
        behind: u64,
    },
    /// There is no room on the disk.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The disk, the file system or the network.
    #[error("storage failed: {0}")]
    Io(String),
    /// The engine was taken away (a crash in a test, a newer writer).
    #[error("storage is gone")]
    Gone,
}
