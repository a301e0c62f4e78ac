//! Flush: the rows of one published state move to segments.
//!
//! The rows of state F are written, sorted as they lie, while writers go on. The committer notes the keys that change
//! meanwhile; at the end their rows in the new segments become positional deletes, in the one small batch that also
//! holds the segments and the mark "flushed up to F". Nothing is locked but the table against its own redefinition:
//! rows of a table that was emptied while its flush ran must not come back.

use super::sweep;
use crate::codec::arrow::BatchBuilder;
use crate::definition::TableDef;
use crate::error::StoreError;
use crate::segment::write::{SegmentWriter, columns};
use crate::segment::{SegmentError, SegmentRecord, Segments};
use crate::txn::Engine;
use crate::txn::lock::{LockWait, TableLockMode};
use crate::txn::note::{ChangeNote, FlushCommit};
use crate::txn::read_view::ReadView;
use crate::txn::transaction::{Isolation, Transaction};
use arrow_array::RecordBatch;
use kalamdb_commons::{ColumnId, SegmentId, TableId, TableType};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;
/// Batches that may wait for the writer: what a flush holds in memory besides one row group.
const BATCHES_WAITING: usize = 2;
/// A segment ends at about this many rows: its row numbers and page index stay small,
const SEGMENT_ROWS: u64 = 1 << 20;
/// or at about this many bytes: a compaction of a few of them stays short.
const SEGMENT_BYTES: usize = 256 << 20;
/// Changed keys are looked up away from the committer as long as so many come in during one look-up,
const FEW_KEYS: usize = 64;
/// but not for ever: under a storm of writes the committer does the last look-up for more.
const LOOK_UPS_MAX: usize = 8;

/// What a flush did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlushOutcome {
    /// Rows that are in segments now.
    pub rows: u64,
    /// The segments' bytes.
    pub bytes: u64,
    /// How many segments were written.
    pub segments: u64,
}

/// Moves the rows that a table has now to segments, and removes what this leaves among the hot rows. Waits for the
/// table's lock against DDL and other flushes. STREAM tables have nothing to flush.
///
/// # Errors
/// [`StoreError::SchemaChanged`] when there is no such table; the storage's. The table is as it was then, except that
/// leftovers may stay until the next flush.
pub async fn flush(engine: &Arc<Engine>, table: TableId) -> Result<FlushOutcome, StoreError> {
    let mut lock = Transaction::begin(engine.clone(), Isolation::ReadCommitted);
    lock.table_lock(table, TableLockMode::ShareUpdateExclusive, LockWait::Block(None)).await?;
    let (view, note) = engine.begin_note(table).await?;
    let def = view.catalog().table(table).cloned().ok_or(StoreError::SchemaChanged(table))?;
    if def.kind == TableType::Stream {
        return Ok(FlushOutcome::default());
    }
    let mut files = Files { engine, def: &def, view: &view, done: Vec::new(), as_text: BTreeSet::new() };
    let outcome = match files.write().await {
        Ok(()) if files.done.is_empty() => Ok(FlushOutcome::default()),
        Ok(()) => hand_in(engine, &view, &note, &files.done).await,
        Err(error) => Err(error),
    };
    // After an unknown outcome the files may be needed; their intents stay on the list until the store knows.
    if outcome.is_err() && engine.takes_writes().is_ok() {
        files.give_up().await;
    }
    let outcome = outcome?;
    drop(view);
    sweep::leftovers(engine, &def).await?;
    Ok(outcome)
}

/// The files of one flush.
struct Files<'a> {
    engine: &'a Arc<Engine>,
    def: &'a Arc<TableDef>,
    view: &'a ReadView,
    done: Vec<SegmentRecord>,
    /// Numeric columns that hold what a decimal cannot: written as text.
    as_text: BTreeSet<ColumnId>,
}

impl Files<'_> {
    /// Writes all rows. A file whose decimal column turns out to hold NaN is begun again, from its first row.
    async fn write(&mut self) -> Result<(), StoreError> {
        let mut rows = self.rows();
        while let Some(first) = next(&mut rows).await? {
            match self.write_one(first, &mut rows).await {
                Ok(record) => self.done.push(record),
                Err(StoreError::Segment(error)) => match &*error {
                    SegmentError::NoDecimal(column) if self.as_text.insert(*column) => rows = self.rows(),
                    _ => return Err(StoreError::Segment(error)),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The rows behind the last finished file, decoded on a thread of their own.
    fn rows(&self) -> mpsc::Receiver<Result<RecordBatch, StoreError>> {
        let (send, receive) = mpsc::channel(BATCHES_WAITING);
        let (view, def) = (self.view.clone(), self.def.clone());
        let after = self.done.last().map(|record| record.max_key.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read(&view, &def, after.as_deref(), &send) {
                // Nobody listens any more when the flush was given up.
                let _ = send.blocking_send(Err(error));
            }
        });
        receive
    }

    async fn write_one(
        &self,
        first: RecordBatch,
        rows: &mut mpsc::Receiver<Result<RecordBatch, StoreError>>,
    ) -> Result<SegmentRecord, StoreError> {
        let id = self.engine.allocate_segment();
        let catalog = self.view.catalog();
        let namespace = catalog.namespace(self.def.namespace).map_or("", |namespace| namespace.name.as_str());
        let path = self.segments().path(namespace, self.def.name.as_str(), self.def.id, id);
        self.engine.intend(id, &path).await?;
        let mut writer =
            SegmentWriter::create(self.segments(), self.def.clone(), id, path.clone(), self.as_text.clone())?;
        match fill(&mut writer, first, rows).await {
            Ok(()) => {
                let record = writer.finish(self.segments()).await?;
                record.ok_or_else(|| SegmentError::Damaged { path, what: "it was written without rows" }.into())
            }
            Err(error) => {
                writer.abandon(self.segments()).await;
                self.forget(id).await;
                Err(error)
            }
        }
    }

    fn segments(&self) -> &Segments {
        self.engine.segments()
    }

    /// Takes an intent off the list. If that fails the sweep at the next start does it.
    async fn forget(&self, id: SegmentId) {
        let _ = sweep::forget_intent(self.engine, id).await;
    }

    async fn give_up(&self) {
        for record in &self.done {
            if self.segments().remove(&record.path).await.is_ok() {
                self.forget(record.id).await;
            }
            self.segments().forget(record.id);
        }
    }
}

async fn next(rows: &mut mpsc::Receiver<Result<RecordBatch, StoreError>>) -> Result<Option<RecordBatch>, StoreError> {
    rows.recv().await.transpose()
}

async fn fill(
    writer: &mut SegmentWriter,
    first: RecordBatch,
    rows: &mut mpsc::Receiver<Result<RecordBatch, StoreError>>,
) -> Result<(), StoreError> {
    writer.write(&first).await?;
    while writer.rows() < SEGMENT_ROWS && writer.bytes() < SEGMENT_BYTES {
        let Some(batch) = next(rows).await? else { break };
        writer.write(&batch).await?;
    }
    Ok(())
}

/// Reads the hot rows of a table behind a key and sends them in batches.
fn read(
    view: &ReadView,
    def: &TableDef,
    after: Option<&[u8]>,
    send: &mpsc::Sender<Result<RecordBatch, StoreError>>,
) -> Result<(), StoreError> {
    let mut rows = view.row_iter_all(def)?;
    let mut builder = BatchBuilder::new(def, &columns(def))?;
    while let Some((key, row)) = rows.next()? {
        if after.is_some_and(|after| key <= after) {
            continue;
        }
        builder.push(key, row)?;
        if builder.is_full(BATCH_ROWS) && send.blocking_send(Ok(builder.finish()?)).is_err() {
            return Ok(());
        }
    }
    if !builder.is_empty() {
        let _ = send.blocking_send(Ok(builder.finish()?));
    }
    Ok(())
}

async fn hand_in(
    engine: &Arc<Engine>,
    view: &ReadView,
    note: &Arc<ChangeNote>,
    records: &[SegmentRecord],
) -> Result<FlushOutcome, StoreError> {
    let mut deletes = Vec::new();
    for _ in 0..LOOK_UPS_MAX {
        let keys = note.take();
        deletes.extend(places(engine.segments(), records, &keys).await?);
        if keys.len() <= FEW_KEYS {
            break;
        }
    }
    let runtime = tokio::runtime::Handle::current();
    // Weak: a request that is never answered must not keep the engine alive from within its own committer.
    let (weak, known) = (Arc::downgrade(engine), records.to_vec());
    let resolve = move |keys: &[Vec<u8>]| match weak.upgrade() {
        Some(engine) => runtime.block_on(places(engine.segments(), &known, keys)),
        None => Ok(Vec::new()),
    };
    engine
        .commit_flush(FlushCommit {
            table: note.table,
            upto: view.seq(),
            segments: records.to_vec(),
            deletes,
            note: note.clone(),
            resolve: Box::new(resolve),
        })
        .await?;
    Ok(FlushOutcome {
        rows: records.iter().map(|record| record.rows).sum(),
        bytes: records.iter().map(|record| record.bytes).sum(),
        segments: records.len() as u64,
    })
}

/// Where ascending keys are in the segments, which do not overlap; keys that are in none are left out.
async fn places(
    segments: &Segments,
    records: &[SegmentRecord],
    keys: &[Vec<u8>],
) -> Result<Vec<(SegmentId, u32)>, SegmentError> {
    let mut found = Vec::new();
    for record in records {
        let from = keys.partition_point(|key| *key < record.min_key);
        let to = keys.partition_point(|key| *key <= record.max_key);
        let rows = segments.locate(record, &keys[from..to]).await?;
        found.extend(rows.into_iter().flatten().map(|row| (record.id, row)));
    }
    Ok(found)
}
