//! Work that keeps the store small and fast: flush, and the removal of what no reader can see any more.
//!
//! Upkeep takes no `_seq` and emits no change events. All it does goes through the committer as small batches, each of
//! which is right by itself, so a crash between two of them leaves work, never damage.

pub mod expire;
pub mod flush;
pub mod sweep;
#[cfg(test)]
mod tests;

use crate::error::StoreError;

pub use flush::{FlushOutcome, flush};

/// Runs a blocking look at the engine's data away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    // The task is cancelled only when the runtime ends.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}
