//! What can go wrong in a storage engine.

/// What an engine reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// What is stored does not agree with its checksums or its own index.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The disk, the file system or the network.
    #[error("storage failed: {0}")]
    Io(String),
    /// The engine was taken away (a crash in a test, a newer writer).
    #[error("storage is gone")]
    Gone,
}
