//! Sweep: what a flush, a crash or a dropped table left behind.
//!
//! Files are deleted by name, from the store's own lists of intents and of retired segments, never because a listing
//! shows them. Hot leftovers go in bounded batches; one that was written again meanwhile stays.

use super::blocking;
use crate::catalog::stored::{self, Retired};
use crate::definition::TableDef;
use crate::error::StoreError;
use crate::kv::{Durability, Family, Op, pairs};
use crate::txn::Engine;
use kalamdb_commons::SegmentId;
use std::sync::Arc;

/// Leftovers that are removed at once: the committer is busy for a few milliseconds.
const LEFTOVERS_AT_ONCE: usize = 4096;

/// Removes the hot rows of a table that its segments have. How many went.
///
/// # Errors
/// The engine's.
pub async fn leftovers(engine: &Arc<Engine>, def: &Arc<TableDef>) -> Result<u64, StoreError> {
    let mut removed = 0;
    if engine.published().manifest.files(def.id).is_none() {
        return Ok(removed);
    }
    let mut from = None;
    loop {
        // A note for each batch: what is written between the look and the removal is not a leftover any more.
        let (view, note) = engine.begin_note(def.id).await?;
        let (def, start) = (def.clone(), from.take());
        let keys = blocking(move || view.leftovers(&def, start.as_deref(), LEFTOVERS_AT_ONCE)).await?;
        let Some(last) = keys.last() else { return Ok(removed) };
        let mut behind = last.to_vec();
        behind.push(0);
        from = Some(behind);
        removed += keys.len() as u64;
        engine.sweep(note, keys).await?;
    }
}

/// Files that the last life of the server began and did not commit. Afterwards an intent may be somebody's who is still
/// writing, so these are found before the first flush.
#[derive(Debug)]
pub struct Abandoned {
    /// The intents' keys, and the files' paths.
    intents: Vec<(Vec<u8>, String)>,
}

impl Abandoned {
    /// Those of a store that was just opened: nobody has asked it for a flush.
    ///
    /// # Errors
    /// The engine's.
    pub fn of(engine: &Engine) -> Result<Self, StoreError> {
        let intents = pairs(&*engine.published().snapshot, Family::Meta, b"i")?;
        let mut found = Vec::with_capacity(intents.len());
        for (key, path) in intents {
            found.push((key, stored::decode("an intent", &path)?));
        }
        Ok(Self { intents: found })
    }
}

/// Removes the files that were begun and never committed. How many went.
///
/// # Errors
/// The engine's, the storage's.
pub async fn abandoned_files(engine: &Arc<Engine>, abandoned: Abandoned) -> Result<u64, StoreError> {
    let mut removed = 0;
    for (key, path) in abandoned.intents {
        engine.segments().remove(&path).await?;
        engine.apply(vec![Op::Delete(Family::Meta, key.into())], Durability::Unsynced).await?;
        removed += 1;
    }
    Ok(removed)
}

/// Removes the files of retired segments that no snapshot sees any more.
///
/// # Errors
/// The engine's, the storage's.
pub async fn retired_files(engine: &Arc<Engine>) -> Result<u64, StoreError> {
    let (seen, published) = (engine.oldest_seen(), engine.published());
    let entries = blocking(move || Ok(pairs(&*published.snapshot, Family::Meta, b"x")?)).await?;
    let mut removed = 0;
    for (key, value) in entries {
        let retired: Retired = stored::decode("a retired segment", &value)?;
        if retired.at > seen {
            continue;
        }
        engine.segments().remove(&retired.path).await?;
        if let Some(id) = key.get(1..).and_then(|id| id.first_chunk()) {
            engine.segments().forget(SegmentId(u64::from_be_bytes(*id)));
        }
        engine.apply(vec![Op::Delete(Family::Meta, key.into())], Durability::Unsynced).await?;
        removed += 1;
    }
    Ok(removed)
}

/// Takes one intent off the list: its file is gone.
pub(super) async fn forget_intent(engine: &Arc<Engine>, id: SegmentId) -> Result<(), StoreError> {
    engine.apply(vec![Op::Delete(Family::Meta, stored::intent_key(id))], Durability::Unsynced).await
}
