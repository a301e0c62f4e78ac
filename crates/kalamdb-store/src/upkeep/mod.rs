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
use crate::txn::Engine;
use kalamdb_commons::clock;
use std::sync::Arc;

pub use flush::{FlushOutcome, flush};
pub use sweep::Abandoned;

/// Removes what the last life of the server left: files that were begun and never committed, hot rows that segments
/// have, entries of indexes that never came to be. Once, in the background; flushes may run meanwhile. How many went.
///
/// # Errors
/// The engine's, the storage's.
pub async fn recover(engine: &Arc<Engine>, abandoned: Abandoned) -> Result<u64, StoreError> {
    let mut removed = sweep::abandoned_files(engine, abandoned).await? + crate::txn::index::abandoned(engine)?;
    for def in engine.published().catalog.tables() {
        removed += sweep::leftovers(engine, def).await?;
    }
    Ok(removed)
}

/// Removes what is past its time: STREAM rows, tombstones, retired files. For a timer of minutes; it reads all
/// tombstones and STREAM rows. How many went.
///
/// # Errors
/// The engine's, the storage's.
pub async fn tidy(engine: &Arc<Engine>) -> Result<u64, StoreError> {
    let published = engine.published();
    let now_us = clock::now_us().max(published.stamp_us);
    let mut removed = 0;
    for def in published.catalog.tables() {
        removed += expire::stream_rows(engine, def, now_us).await?;
        removed += expire::tombstones(engine, def, now_us).await?;
    }
    // Not before: the state that was looked at must not hold files back.
    drop(published);
    Ok(removed + sweep::retired_files(engine).await?)
}

/// Runs a blocking look at the engine's data away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    // The task is cancelled only when the runtime ends.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}
