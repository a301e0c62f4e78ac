//! Expiry: STREAM rows past their time and tombstones past their retention.
//!
//! Readers never see an expired row, so its removal changes nothing but space. A tombstone's key ends with the
//! position of its deletion and is never written again, so removing one needs no look at what happened meanwhile.

use super::blocking;
use crate::codec::key::after_prefix;
use crate::codec::row::RowView;
use crate::definition::TableDef;
use crate::error::StoreError;
use crate::kv::{Durability, Family, Key, Op, ScanSize};
use crate::txn::Engine;
use crate::txn::read_view::ReadView;
use kalamdb_commons::TableType;
use std::sync::Arc;

/// Rows that are removed at once.
const AT_ONCE: usize = 4096;
/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;

/// Removes the tombstones of a table that are older than its retention. How many went.
///
/// # Errors
/// The engine's.
pub async fn tombstones(engine: &Arc<Engine>, def: &Arc<TableDef>, now_us: i64) -> Result<u64, StoreError> {
    let keep_us = i64::from(def.options.deleted_retention_hours).saturating_mul(HOUR_US);
    let horizon = now_us.saturating_sub(keep_us);
    let mut removed = 0;
    let mut from = def.id.0.to_be_bytes().to_vec();
    loop {
        let (view, def, start) = (engine.read_view(), def.clone(), from.clone());
        let is_old =
            move |row: &[u8]| RowView::new(row).ok().and_then(|row| row.updated_us()).is_some_and(|us| us <= horizon);
        let keys = blocking(move || find(&view, Family::Tombstones, &def, &start, is_old)).await?;
        let Some(last) = keys.last() else { return Ok(removed) };
        from = [last, &[0][..]].concat();
        removed += keys.len() as u64;
        let ops = keys.into_iter().map(|key| Op::Delete(Family::Tombstones, key)).collect();
        engine.apply(ops, Durability::Unsynced).await?;
    }
}

/// Removes the rows of a STREAM table that expired at or before `now_us`. How many went.
///
/// # Errors
/// The engine's.
pub async fn stream_rows(engine: &Arc<Engine>, def: &Arc<TableDef>, now_us: i64) -> Result<u64, StoreError> {
    if def.kind != TableType::Stream {
        return Ok(0);
    }
    let mut removed = 0;
    let mut from = def.id.0.to_be_bytes().to_vec();
    loop {
        // A key can be inserted again as soon as its row has expired: such a one is noted, and stays.
        let (view, note) = engine.begin_note(def.id).await?;
        let (def, start) = (def.clone(), from.clone());
        let is_old = move |row: &[u8]| row.last_chunk().is_some_and(|us| i64::from_le_bytes(*us) <= now_us);
        let keys = blocking(move || find(&view, Family::Streams, &def, &start, is_old)).await?;
        let Some(last) = keys.last() else { return Ok(removed) };
        from = [last, &[0][..]].concat();
        removed += keys.len() as u64;
        engine.sweep(note, keys).await?;
    }
}

/// Some keys of a table from `start` whose values are old.
fn find(
    view: &ReadView,
    family: Family,
    def: &TableDef,
    start: &[u8],
    is_old: impl Fn(&[u8]) -> bool,
) -> Result<Vec<Key>, StoreError> {
    let end = after_prefix(&def.id.0.to_be_bytes());
    let mut found = Vec::new();
    let mut cursor = view.snapshot().scan(family, start, end.as_deref(), ScanSize::Long)?;
    while let Some((key, value)) = cursor.current().filter(|_| found.len() < AT_ONCE) {
        if is_old(value) {
            found.push(Key::from(key));
        }
        cursor.advance()?;
    }
    Ok(found)
}
