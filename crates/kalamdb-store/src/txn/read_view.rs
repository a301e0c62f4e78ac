//! Reading: one published state, with a transaction's own earlier writes on top.
//!
//! A view never changes. It is cheap to clone and can outlive its transaction; a portal keeps one. Hot rows come from
//! the engine's snapshot, except leftovers of a flush (at or below the table's mark), which the segments have; rows of
//! the write set cover committed ones of the same key.

use super::Engine;
use super::snapshot::Published;
use super::write_set::{Base, EXPIRY_LEN, Seen, WriteSet, family_of, full_key};
use crate::catalog::{Catalog, stored};
use crate::codec::CodecError;
use crate::codec::arrow::BatchBuilder;
use crate::codec::key::{self, Edge, KeyRange};
use crate::codec::row::{RowView, seq_of};
use crate::definition::{Partition, TableDef};
use crate::error::StoreError;
use crate::kv::{Cursor, Family, Key, ScanSize};
use crate::segment::read::overlaps;
use crate::segment::{ColdSegment, Deletes};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use kalamdb_commons::{ColumnId, Scope, SegmentId, Seq, TableId, TableType, clock};
use parking_lot::RwLock;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// Rows of the write set that are copied at once: the lock on it is held that long.
const OWN_CHUNK_ROWS: usize = 256;

/// Where a version of a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Among the hot rows.
    Hot,
    /// In a segment.
    Cold {
        /// Which.
        segment: SegmentId,
        /// Its number there.
        row: u32,
    },
    /// In the transaction's write set.
    Own {
        /// The statement that wrote it.
        statement: u32,
    },
}

/// One version of a row.
#[derive(Clone, Debug)]
pub struct RowVersion {
    /// The stored row.
    pub row: Bytes,
    /// Where it is.
    pub place: Place,
    /// Its position; `None` for one's own.
    pub seq: Option<Seq>,
    /// Its stamp, microseconds since 1970 UTC; `None` for one's own.
    pub updated_us: Option<i64>,
    /// The table's place number that `place` is of.
    pub(super) place_number: u64,
}

impl RowVersion {
    fn committed(row: Bytes, place: Place, place_number: u64) -> Result<Self, StoreError> {
        let (seq, updated_us) = {
            let view = RowView::new(&row)?;
            (view.seq(), view.updated_us())
        };
        Ok(Self { seq, updated_us, row, place, place_number })
    }

    pub(super) fn own(row: &[u8], statement: u32) -> Self {
        let row = Bytes::copy_from_slice(row);
        Self { row, place: Place::Own { statement }, seq: None, updated_us: None, place_number: 0 }
    }
}

/// A tombstone of a key.
#[derive(Clone, Debug)]
pub struct Tombstone {
    /// The row as it was, stamped with its deletion.
    pub row: Bytes,
    /// The position of the deletion; `None` for one's own.
    pub seq: Option<Seq>,
}

/// A transaction's write set as one of its statements sees it.
#[derive(Clone)]
pub(super) struct Own {
    pub set: Arc<RwLock<WriteSet>>,
    /// Versions of statements below this number.
    pub below: u32,
}

/// Cold rows that a transaction replaced or removed.
#[derive(Default)]
struct OwnCold {
    /// Those whose place it knows.
    rows: Vec<(SegmentId, u32)>,
    /// The `_key`s of the others, ascending.
    keys: Arc<[Vec<u8>]>,
}

/// One state to read from.
#[derive(Clone)]
pub struct ReadView {
    engine: Arc<Engine>,
    published: Arc<Published>,
    catalog: Arc<Catalog>,
    own: Option<Own>,
    /// Whether its state is newer than everything that its transaction's earlier statements filled in.
    is_newest_of_own: bool,
    /// STREAM rows that expire at or before it are absent.
    now_us: i64,
}

impl std::fmt::Debug for ReadView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadView").field("seq", &self.published.seq).field("own", &self.own.is_some()).finish()
    }
}

impl ReadView {
    pub(super) fn of(engine: Arc<Engine>, published: Arc<Published>) -> Self {
        let catalog = published.catalog.clone();
        let now_us = clock::now_us().max(published.stamp_us);
        Self { engine, published, catalog, own: None, is_newest_of_own: false, now_us }
    }

    pub(super) fn with_own(mut self, catalog: Arc<Catalog>, own: Option<Own>, is_newest_of_own: bool) -> Self {
        self.catalog = catalog;
        self.is_newest_of_own = is_newest_of_own;
        self.own = own;
        self
    }

    /// The position of the last commit in it.
    pub fn seq(&self) -> Seq {
        self.published.seq
    }

    /// The definitions, the transaction's own uncommitted ones included.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    pub(super) fn published_state(&self) -> &Published {
        &self.published
    }

    pub(super) fn is_newest_of_own(&self) -> bool {
        self.is_newest_of_own
    }

    /// The engine's snapshot, for upkeep's look at what readers do not see.
    pub(crate) fn snapshot(&self) -> &Arc<dyn crate::kv::Snapshot> {
        &self.published.snapshot
    }

    /// The segments' storage, to read what [`ReadView::cold`] names.
    pub fn segments(&self) -> &crate::segment::Segments {
        self.engine.segments()
    }

    /// The engine, to keep beside a stream of cold rows.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The row with this key (the part behind the partition's prefix): own, hot or cold.
    ///
    /// # Errors
    /// The storage's; a damaged row.
    pub async fn row_get(&self, partition: &Partition, key: &[u8]) -> Result<Option<RowVersion>, StoreError> {
        let full = full_key(partition, key);
        if let Some(own) = &self.own {
            match own.set.read().seen(partition.table.id, &full, own.below) {
                Seen::Row(row, statement) => {
                    return Ok(Some(RowVersion::own(stored_part(&partition.table, row), statement)));
                }
                Seen::Gone => return Ok(None),
                Seen::Nothing => {}
            }
        }
        self.committed(partition, &full, key).await
    }

    /// The committed row with this key.
    pub(super) async fn committed(
        &self,
        partition: &Partition,
        full: &[u8],
        key: &[u8],
    ) -> Result<Option<RowVersion>, StoreError> {
        let table = &partition.table;
        let files = self.published.manifest.files(table.id);
        let number = files.map_or(0, |files| files.place_number);
        if let Some(value) = self.published.snapshot.get(family_of(table), full)? {
            let mark = files.map_or(Seq(0), |files| files.mark);
            if is_live(table, &value, mark, self.now_us) {
                let length = stored_part(table, &value).len();
                return RowVersion::committed(value.slice(..length), Place::Hot, number).map(Some);
            }
        }
        match files {
            Some(files) if !files.segments.is_empty() => self.cold_row(partition, key).await,
            _ => Ok(None),
        }
    }

    async fn cold_row(&self, partition: &Partition, key: &[u8]) -> Result<Option<RowVersion>, StoreError> {
        let (def, scope) = (&partition.table, partition.scope);
        let Some(files) = self.published.manifest.files(def.id).cloned() else { return Ok(None) };
        let range = KeyRange::point(key);
        // The newest last: what was written late is asked for most.
        for entry in files.segments.iter().rev().filter(|entry| overlaps(&entry.record, scope, &range)) {
            let segment =
                ColdSegment { record: entry.record.clone(), deletes: Arc::default(), replaced: Arc::default() };
            let Some(found) = self.segments().get(def, scope, key, &segment).await? else { continue };
            let deleted = entry.deletes_version != 0
                && self
                    .published
                    .snapshot
                    .get(Family::Meta, &stored::delete_key(found.segment, found.row_number))?
                    .is_some();
            if !deleted {
                let place = Place::Cold { segment: found.segment, row: found.row_number };
                return RowVersion::committed(Bytes::from(found.row), place, files.place_number).map(Some);
            }
        }
        Ok(None)
    }

    /// Hot rows and own writes of a key range, ascending, as batches with these columns in this order; system columns
    /// may be among them. With an edge only the rows there, those of the end descending. Blocks on the disk.
    ///
    /// # Errors
    /// A column that the table does not have; the engine's.
    pub fn row_scan(
        &self,
        partition: &Partition,
        range: &KeyRange,
        columns: &[ColumnId],
        batch_rows: usize,
        edge: Option<Edge>,
    ) -> Result<HotScan, StoreError> {
        let builder = BatchBuilder::new(&partition.table, columns)?;
        let prefix = key::prefix(partition.table.id, partition.scope);
        let backwards = matches!(edge, Some(Edge::Last(_)));
        let rows = Rows::Live(self.hot_rows(&partition.table, &range.behind(&prefix), prefix.len(), backwards)?);
        let left = edge.map_or(usize::MAX, |edge| edge.rows());
        Ok(HotScan { rows, builder, batch_rows, left })
    }

    /// The rows of [`ReadView::row_scan`] as they are stored, one by one.
    ///
    /// # Errors
    /// The engine's.
    pub fn row_iter(&self, partition: &Partition, range: &KeyRange) -> Result<HotRows, StoreError> {
        let prefix = key::prefix(partition.table.id, partition.scope);
        self.hot_rows(&partition.table, &range.behind(&prefix), prefix.len(), false)
    }

    /// All hot rows of a table, of every user, ascending. A row's key here is what a segment's `_key` is: user number
    /// (USER tables) and key.
    ///
    /// # Errors
    /// The engine's.
    pub fn row_iter_all(&self, table: &TableDef) -> Result<HotRows, StoreError> {
        let prefix = table.id.0.to_be_bytes();
        self.hot_rows(table, &KeyRange::of_prefix(&prefix), prefix.len(), false)
    }

    /// The full keys of hot rows that a flush left behind: at or below the mark.
    ///
    /// # Errors
    /// The engine's.
    pub fn leftovers(&self, table: &TableDef, from: Option<&[u8]>, limit: usize) -> Result<Vec<Key>, StoreError> {
        let Some(files) = self.published.manifest.files(table.id) else { return Ok(Vec::new()) };
        let range = KeyRange::of_prefix(&table.id.0.to_be_bytes());
        let start = from.unwrap_or(&range.start);
        let mut found = Vec::new();
        let mut cursor = self.published.snapshot.scan(family_of(table), start, range.end.as_deref(), ScanSize::Long)?;
        while let Some((key, row)) = cursor.current().filter(|_| found.len() < limit) {
            if seq_of(row).is_some_and(|seq| seq <= files.mark) {
                found.push(Key::from(key));
            }
            cursor.advance()?;
        }
        Ok(found)
    }

    fn hot_rows(
        &self,
        table: &TableDef,
        range: &KeyRange,
        prefix: usize,
        backwards: bool,
    ) -> Result<HotRows, StoreError> {
        let mark = self.published.manifest.files(table.id).map_or(Seq(0), |files| files.mark);
        let own = self.own.as_ref().map(|own| OwnRows::new(own, table.id, range, backwards));
        let emptied = own.as_ref().is_some_and(|own| own.emptied > 0);
        let cursor = if emptied || range.is_empty() {
            None
        } else if backwards {
            Some(self.published.snapshot.scan_back(family_of(table), &range.start, range.end.as_deref())?)
        } else {
            let size = if range.start.len() > prefix { ScanSize::Short } else { ScanSize::Long };
            Some(self.published.snapshot.scan(family_of(table), &range.start, range.end.as_deref(), size)?)
        };
        let stream = table.kind == TableType::Stream;
        Ok(HotRows { cursor, own, backwards, mark, stream, now_us: self.now_us, prefix, given: Given::Nothing })
    }

    /// Tombstones of a key range, own ones first; `_deleted` is true, `_seq` and `_updated` are of the deletion.
    ///
    /// # Errors
    /// As [`ReadView::row_scan`].
    pub fn tombstone_scan(
        &self,
        partition: &Partition,
        range: &KeyRange,
        columns: &[ColumnId],
        batch_rows: usize,
    ) -> Result<HotScan, StoreError> {
        let builder = BatchBuilder::for_tombstones(&partition.table, columns)?;
        let rows = Rows::Tombstones(self.tombstones(partition, range)?);
        Ok(HotScan { rows, builder, batch_rows, left: usize::MAX })
    }

    fn tombstones(&self, partition: &Partition, range: &KeyRange) -> Result<TombstoneRows, StoreError> {
        let table = partition.table.id;
        let prefix = key::prefix(table, partition.scope);
        let mut rows = TombstoneRows {
            own: VecDeque::new(),
            taken: FxHashSet::default(),
            cursor: None,
            end: range.end.clone(),
            prefix: prefix.len(),
            given: Given::Nothing,
        };
        let full = range.behind(&prefix);
        let mut emptied = 0;
        if let Some(own) = &self.own {
            let set = own.set.read();
            emptied = set.emptied(table, own.below);
            for (key, entry) in set.rows.range::<[u8], _>(bounds(&full)) {
                if let Some(row) = entry.buried(own.below, emptied) {
                    rows.own.push_back((key.clone(), unstamped(row)));
                }
            }
            for (key, statements) in &set.tombstones {
                if key.starts_with(&prefix) && statements.first().is_some_and(|statement| *statement < own.below) {
                    rows.taken.insert(key.clone());
                }
            }
        }
        if emptied == 0 && !full.is_empty() {
            // A tombstone's key goes on behind the row's, so the range's own end would cut it: `end` is looked at.
            let end = key::after_prefix(&prefix);
            let scan =
                self.published.snapshot.scan(Family::Tombstones, &full.start, end.as_deref(), ScanSize::Short)?;
            rows.cursor = Some(scan);
        }
        Ok(rows)
    }

    /// The newest tombstone of a key.
    ///
    /// # Errors
    /// The engine's.
    pub fn tombstone_newest(&self, partition: &Partition, key: &[u8]) -> Result<Option<Tombstone>, StoreError> {
        let mut rows = self.tombstones(partition, &KeyRange::point(key))?;
        let mut newest = None;
        if let Some((_, row)) = rows.own.front() {
            return Ok(Some(Tombstone { row: Bytes::copy_from_slice(row), seq: None }));
        }
        while let Some((_, row)) = rows.next()? {
            newest = Some(Tombstone { row: Bytes::copy_from_slice(row), seq: seq_of(row) });
        }
        Ok(newest)
    }

    /// The table's segments, each with its positional deletes: also of the transaction's own writes.
    ///
    /// # Errors
    /// The engine's.
    pub fn cold(&self, table: TableId) -> Result<Vec<ColdSegment>, StoreError> {
        let Some(files) = self.published.manifest.files(table) else { return Ok(Vec::new()) };
        if files.segments.is_empty() {
            return Ok(Vec::new());
        }
        let Some(OwnCold { rows, keys }) = self.own_cold(table, files.mark) else { return Ok(Vec::new()) };
        let mut found = Vec::with_capacity(files.segments.len());
        for entry in &files.segments {
            let mut deletes = self.engine.deletes(&self.published, entry)?;
            let mut mine =
                rows.iter().filter(|(segment, _)| *segment == entry.record.id).map(|(_, row)| *row).peekable();
            if mine.peek().is_some() {
                let mut all = Deletes::clone(&deletes);
                all.extend(mine);
                deletes = Arc::new(all);
            }
            found.push(ColdSegment { record: entry.record.clone(), deletes, replaced: keys.clone() });
        }
        Ok(found)
    }

    /// The cold rows that the transaction replaced or removed; `None` when it emptied the table. `mark`: up to where
    /// this view's segments have the rows.
    fn own_cold(&self, table: TableId, mark: Seq) -> Option<OwnCold> {
        let Some(own) = &self.own else { return Some(OwnCold::default()) };
        let set = own.set.read();
        if set.emptied(table, own.below) > 0 {
            return None;
        }
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        let range = KeyRange::of_prefix(&table.0.to_be_bytes());
        for (key, entry) in set.rows.range::<[u8], _>(bounds(&range)) {
            if entry.versions.first().is_none_or(|version| version.statement >= own.below) {
                continue;
            }
            match &entry.base {
                Some(Base { place: Place::Cold { segment, row }, .. }) => rows.push((*segment, *row)),
                // It was hot when it was replaced, and a flush came since.
                Some(Base { place: Place::Hot, seq, .. }) if *seq <= mark => keys.push(key[4..].to_vec()),
                _ => {}
            }
        }
        Some(OwnCold { rows, keys: keys.into() })
    }

    /// Whether some of the table's rows may be in segments.
    pub fn has_cold(&self, table: TableId) -> bool {
        self.published.manifest.files(table).is_some_and(|files| !files.segments.is_empty())
    }

    /// How many rows the table has, of all users, hot and cold; expired STREAM rows still count.
    pub fn row_count(&self, table: TableId) -> u64 {
        u64::try_from(self.published.manifest.count(table)).unwrap_or(0)
    }

    /// How many rows the partition has; `None` when that is not known (one user's).
    pub fn estimated_rows(&self, partition: &Partition) -> Option<u64> {
        (partition.scope == Scope::Shared).then(|| self.row_count(partition.table.id))
    }
}

/// The range as bounds of a map's keys.
fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    // A range that ends before it starts holds nothing; maps refuse such bounds.
    let end = range.end.as_deref().map(|end| end.max(&range.start));
    (Bound::Included(&range.start), end.map_or(Bound::Unbounded, Bound::Excluded))
}

/// The stored row without what stands behind it in its family.
pub(super) fn stored_part<'a>(table: &TableDef, value: &'a [u8]) -> &'a [u8] {
    if table.kind == TableType::Stream { &value[..value.len().saturating_sub(EXPIRY_LEN)] } else { value }
}

/// Whether a hot value is a row for readers: no leftover, not expired.
fn is_live(table: &TableDef, value: &[u8], mark: Seq, now_us: i64) -> bool {
    seq_of(value).is_none_or(|seq| seq > mark) && !(table.kind == TableType::Stream && is_expired(value, now_us))
}

fn is_expired(value: &[u8], now_us: i64) -> bool {
    value.last_chunk().is_some_and(|expiry| i64::from_le_bytes(*expiry) <= now_us)
}

/// A copy of a row whose `_seq` and `_updated` are NULL: they come with the commit.
fn unstamped(row: &[u8]) -> Vec<u8> {
    let mut row = row.to_vec();
    crate::codec::row::stamp(&mut row, Seq(0), 0);
    row
}

/// What the last call of `next` gave: the next call moves behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Nothing,
    Committed,
    Own,
    Both,
}

/// Hot rows and own writes, merged. A key here is the part behind the prefix.
pub struct HotRows {
    cursor: Option<Box<dyn Cursor>>,
    own: Option<OwnRows>,
    backwards: bool,
    mark: Seq,
    stream: bool,
    now_us: i64,
    prefix: usize,
    given: Given,
}

impl HotRows {
    /// The next row: its key and the stored row.
    ///
    /// # Errors
    /// The engine's.
    #[allow(clippy::should_implement_trait)] // it lends, which an Iterator cannot
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>, StoreError> {
        if matches!(self.given, Given::Committed | Given::Both) {
            self.advance()?;
        }
        if let (Given::Own | Given::Both, Some(own)) = (self.given, &mut self.own) {
            own.chunk.pop_front();
        }
        self.given = self.choose()?;
        let trim = if self.stream { EXPIRY_LEN } else { 0 };
        let found = match self.given {
            Given::Nothing => None,
            Given::Committed => self.cursor.as_ref().and_then(|cursor| cursor.current()),
            Given::Own | Given::Both => self.own.as_ref().and_then(OwnRows::row),
        };
        Ok(found.map(|(key, row)| (&key[self.prefix..], &row[..row.len().saturating_sub(trim)])))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        match &mut self.cursor {
            Some(cursor) => Ok(cursor.advance()?),
            None => Ok(()),
        }
    }

    /// Moves both sides to the next row that is to be given.
    fn choose(&mut self) -> Result<Given, StoreError> {
        loop {
            while self.cursor.as_ref().and_then(|cursor| cursor.current()).is_some_and(|(_, row)| self.is_hidden(row)) {
                self.advance()?;
            }
            let committed = self.cursor.as_ref().and_then(|cursor| cursor.current()).map(|(key, _)| key);
            let Some((own, has_row)) = self.own.as_mut().and_then(OwnRows::peek) else {
                return Ok(if committed.is_some() { Given::Committed } else { Given::Nothing });
            };
            let order = match committed {
                None => std::cmp::Ordering::Less,
                Some(committed) if self.backwards => committed.cmp(own),
                Some(committed) => own.cmp(committed),
            };
            match (order, has_row) {
                (std::cmp::Ordering::Greater, _) => return Ok(Given::Committed),
                (std::cmp::Ordering::Less, true) => return Ok(Given::Own),
                (std::cmp::Ordering::Equal, true) => return Ok(Given::Both),
                (_, false) => {
                    if order == std::cmp::Ordering::Equal {
                        self.advance()?;
                    }
                    if let Some(own) = &mut self.own {
                        own.chunk.pop_front();
                    }
                }
            }
        }
    }

    fn is_hidden(&self, row: &[u8]) -> bool {
        seq_of(row).is_some_and(|seq| seq <= self.mark) || (self.stream && is_expired(row, self.now_us))
    }
}

/// A write set's rows of a range, copied a chunk at a time.
struct OwnRows {
    own: Own,
    table: TableId,
    emptied: u32,
    range: KeyRange,
    backwards: bool,
    /// Keys and rows; `None`: removed.
    chunk: VecDeque<(Key, Option<Vec<u8>>)>,
    ended: bool,
}

impl OwnRows {
    fn new(own: &Own, table: TableId, range: &KeyRange, backwards: bool) -> Self {
        let emptied = own.set.read().emptied(table, own.below);
        Self { own: own.clone(), table, emptied, range: range.clone(), backwards, chunk: VecDeque::new(), ended: false }
    }

    /// The next key, and whether it has a row.
    fn peek(&mut self) -> Option<(&[u8], bool)> {
        if self.chunk.is_empty() && !self.ended {
            self.fill();
        }
        self.chunk.front().map(|(key, row)| (&key[..], row.is_some()))
    }

    fn row(&self) -> Option<(&[u8], &[u8])> {
        let (key, row) = self.chunk.front()?;
        Some((key, row.as_deref()?))
    }

    fn fill(&mut self) {
        let set = self.own.set.read();
        let mut last: Option<&Key> = None;
        self.ended = true;
        let mut entries = set.rows.range::<[u8], _>(bounds(&self.range));
        while let Some((key, entry)) = if self.backwards { entries.next_back() } else { entries.next() } {
            if self.chunk.len() == OWN_CHUNK_ROWS {
                self.ended = false;
                break;
            }
            last = Some(key);
            if entry.table != self.table {
                continue;
            }
            match entry.seen(self.own.below, self.emptied) {
                Seen::Row(row, _) => self.chunk.push_back((key.clone(), Some(row.to_vec()))),
                Seen::Gone => self.chunk.push_back((key.clone(), None)),
                Seen::Nothing => {}
            }
        }
        match last {
            Some(last) if self.backwards => self.range.end = Some(last.to_vec()),
            Some(last) => {
                self.range.start = last.to_vec();
                self.range.start.push(0);
            }
            None => {}
        }
    }
}

/// Tombstones, own ones first.
struct TombstoneRows {
    own: VecDeque<(Key, Vec<u8>)>,
    /// Committed ones that the transaction took away.
    taken: FxHashSet<Key>,
    cursor: Option<Box<dyn Cursor>>,
    end: Option<Vec<u8>>,
    prefix: usize,
    given: Given,
}

impl TombstoneRows {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>, StoreError> {
        match self.given {
            Given::Own => {
                self.own.pop_front();
            }
            Given::Committed => self.advance()?,
            Given::Nothing | Given::Both => {}
        }
        if !self.own.is_empty() {
            self.given = Given::Own;
            return Ok(self.own.front().map(|(key, row)| (&key[self.prefix..], &row[..])));
        }
        while self.cursor.as_ref().and_then(|cursor| cursor.current()).is_some_and(|(key, _)| self.taken.contains(key))
        {
            self.advance()?;
        }
        self.given = Given::Committed;
        let Some((full, row)) = self.cursor.as_ref().and_then(|cursor| cursor.current()) else { return Ok(None) };
        let damaged = StoreError::Codec(CodecError::Damaged("a tombstone's key"));
        let (key, _) = key::split_tombstone(&full[self.prefix..]).ok_or(damaged)?;
        Ok(self.end.as_deref().is_none_or(|end| key < end).then_some((key, row)))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        match &mut self.cursor {
            Some(cursor) => Ok(cursor.advance()?),
            None => Ok(()),
        }
    }
}

enum Rows {
    Live(HotRows),
    Tombstones(TombstoneRows),
}

/// Batches of hot rows. Blocks on the disk.
pub struct HotScan {
    rows: Rows,
    builder: BatchBuilder,
    batch_rows: usize,
    /// How many rows may still come; none when it has ended.
    left: usize,
}

impl HotScan {
    /// The batches' schema.
    pub fn schema(&self) -> &SchemaRef {
        self.builder.schema()
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        while self.left > 0 && !self.builder.is_full(self.batch_rows) {
            let row = match &mut self.rows {
                Rows::Live(rows) => rows.next()?,
                Rows::Tombstones(rows) => rows.next()?,
            };
            let Some((key, row)) = row else {
                self.left = 0;
                break;
            };
            self.builder.push(key, row)?;
            self.left -= 1;
        }
        Ok(())
    }
}

impl Iterator for HotScan {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        if let Err(error) = self.fill() {
            self.left = 0;
            return Some(Err(error));
        }
        if self.builder.is_empty() {
            return None;
        }
        Some(self.builder.finish().map_err(StoreError::from))
    }
}
