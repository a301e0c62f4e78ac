//! A relation that a statement may use: the proof of its permission, and the only way to its rows.
//!
//! Made by `resolve` alone. Its fields are private: a row cannot be reached without the grant that was checked.

mod referenced;

use crate::index::TableIndexes;
use crate::plan::{
    Access, Blocking, IndexShape, KeyShape, KeySpan, Keys, LOOK_UP_COST, Part, ScanRequest, Source, batches,
};
use crate::system;
use crate::system::SystemFacts;
use arrow_array::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kalamdb_auth::authorize::Granted;
use kalamdb_commons::{ColumnId, Datum, Oid, Result, Scope, SqlError, SqlType, TableId, UserId};
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::codec::index::{IndexOrder, range as index_range};
use kalamdb_store::codec::key;
use kalamdb_store::{
    Change, ColdSegment, Edge, Entries, IndexEntry, Isolation, KeyRange, LockStrength, LockWait, Locked, Partition,
    ReadView, RowVersion, StoreError, TableDef, Transaction, ViewDef,
};
use std::ops::Bound;
use std::sync::Arc;

/// A relation with its grant.
#[derive(Debug)]
pub(crate) struct Relation {
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Rows in the store.
    Stored { partition: Partition, with_deleted: bool, _granted: Granted },
    /// Computed rows; who may see which is decided where they are computed.
    Computed(TableId),
    /// A view, which has no rows of its own: its query's relations have.
    View { view: Arc<ViewDef>, _granted: Granted },
}

impl Relation {
    /// A partition of a table, for whoever was granted what it asked.
    pub fn stored(partition: Partition, granted: Granted, with_deleted: bool) -> Self {
        Self { place: Place::Stored { partition, with_deleted, _granted: granted } }
    }

    /// A computed relation.
    pub fn computed(table: TableId) -> Self {
        Self { place: Place::Computed(table) }
    }

    /// A view, for whoever may read it.
    pub fn view(view: Arc<ViewDef>, granted: Granted) -> Self {
        Self { place: Place::View { view, _granted: granted } }
    }

    /// Its name.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Stored { partition, .. } => partition.table.name.to_string(),
            Place::View { view, .. } => view.name.to_string(),
            Place::Computed(table) => {
                system::relations().by_oid(*table).map_or_else(|| table.to_string(), |shape| shape.name.clone())
            }
        }
    }

    fn partition(&self) -> Result<&Partition> {
        match &self.place {
            Place::Stored { partition, .. } => Ok(partition),
            Place::Computed(_) => Err(SqlError::internal("a computed relation has no rows in the store")),
            Place::View { .. } => Err(SqlError::internal("a view has no rows in the store")),
        }
    }

    /// The table behind it.
    ///
    /// # Errors
    /// XX000 for a computed relation.
    pub fn table(&self) -> Result<&Arc<TableDef>> {
        Ok(&self.partition()?.table)
    }

    /// What a live query follows.
    ///
    /// # Errors
    /// 0A000 for a computed relation.
    pub fn followed_place(&self) -> Result<(Arc<TableDef>, Scope)> {
        match &self.place {
            Place::Stored { partition, .. } => Ok((partition.table.clone(), partition.scope)),
            Place::Computed(_) => Err(SqlError::unsupported("a live query over a system relation")),
            Place::View { .. } => Err(SqlError::unsupported("a live query over a view")),
        }
    }

    /// Its rows as one view shows them. `facts` are for computed ones, `indexes` are the table's.
    pub fn source(
        &self,
        view: &ReadView,
        facts: impl FnOnce() -> SystemFacts,
        indexes: Option<Arc<TableIndexes>>,
    ) -> Arc<dyn Source> {
        match &self.place {
            Place::Stored { partition, with_deleted, .. } => Arc::new(StoredRows {
                view: view.clone(),
                partition: partition.clone(),
                with_deleted: *with_deleted,
                indexes,
            }),
            Place::Computed(table) => Arc::new(ComputedRows { table: *table, facts: facts() }),
            // No scan leads here.
            Place::View { view, .. } => Arc::new(ComputedRows { table: view.id, facts: facts() }),
        }
    }

    /// The row with this key, as one view shows it: a batch of one row.
    ///
    /// # Errors
    /// The store's; XX000 for a computed relation.
    pub async fn row(
        &self,
        view: &ReadView,
        key: &[(SqlType, Datum)],
        columns: &[ColumnId],
    ) -> Result<Option<arrow_array::RecordBatch>> {
        let key = key::encode(key.iter().map(|(ty, value)| (*ty, value)))?;
        self.row_of(view, &key, columns).await
    }

    /// The row with this encoded key, as one view shows it: a batch of one row.
    ///
    /// # Errors
    /// As [`Self::row`].
    pub async fn row_of(
        &self,
        view: &ReadView,
        key: &[u8],
        columns: &[ColumnId],
    ) -> Result<Option<arrow_array::RecordBatch>> {
        let partition = self.partition()?;
        let Some(version) = view.row_get(partition, key).await? else { return Ok(None) };
        let mut builder = BatchBuilder::new(&partition.table, columns)?;
        builder.push(key, &version.row)?;
        Ok(Some(builder.finish()?))
    }

    /// The row that has these values in a unique index, as one view shows it: a batch of one row.
    ///
    /// # Errors
    /// The store's; XX000 for a computed relation.
    pub async fn row_by(
        &self,
        view: &ReadView,
        index: Oid,
        values: &[(SqlType, Datum)],
        columns: &[ColumnId],
    ) -> Result<Option<arrow_array::RecordBatch>> {
        let partition = self.partition()?;
        let def = partition.table.index(index).ok_or_else(|| SqlError::internal("an index that is not there"))?;
        let mut key = Vec::with_capacity(16);
        for ((ty, value), part) in values.iter().zip(&def.keys) {
            let order = IndexOrder { ty: *ty, descending: part.descending, nulls_first: part.nulls_first };
            key.extend(order.form(value)?);
        }
        let Some(row_key) = view.entries(partition, index, &KeyRange::point(&key), false)?.next()? else {
            return Ok(None);
        };
        let Some(version) = view.row_get(partition, &row_key).await? else { return Ok(None) };
        let mut builder = BatchBuilder::new(&partition.table, columns)?;
        builder.push(&row_key, &version.row)?;
        Ok(Some(builder.finish()?))
    }

    /// Every row, hot and cold, in batches.
    ///
    /// # Errors
    /// The store's.
    pub fn all_rows(
        &self,
        view: &ReadView,
        columns: &[ColumnId],
        batch_rows: usize,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let request =
            ScanRequest { columns: columns.to_vec(), access: Access::Key, keys: Keys::All, limit: None, batch_rows };
        let parts = stored_parts(view, self.partition()?, false, &request)?;
        Ok(futures::stream::iter(parts).flat_map(|part| batches(part, false)).boxed())
    }

    /// Locks a row, present or absent, and says what it is now.
    ///
    /// # Errors
    /// 40001, 40P01, 55P03
    pub async fn lock(
        &self,
        transaction: &mut Transaction,
        key: &[u8],
        strength: LockStrength,
        wait: LockWait,
    ) -> Result<Locked> {
        Ok(transaction.row_lock(self.partition()?, key, strength, wait).await?)
    }

    /// Locks a key that is to be inserted; the row that is there already, judged on the newest published state at
    /// every isolation level.
    ///
    /// # Errors
    /// 40P01, 55P03
    pub async fn claim(&self, transaction: &mut Transaction, key: &[u8], wait: LockWait) -> Result<Option<RowVersion>> {
        Ok(transaction.row_claim(self.partition()?, key, wait).await?.newest)
    }

    /// The same for ON CONFLICT, which goes by the row that is there: REPEATABLE READ must see it.
    ///
    /// # Errors
    /// 40001, 40P01, 55P03
    pub async fn claim_or_find(
        &self,
        transaction: &mut Transaction,
        key: &[u8],
        wait: LockWait,
    ) -> Result<Option<RowVersion>> {
        let claimed = transaction.row_claim(self.partition()?, key, wait).await?;
        let unseen = claimed.changed && claimed.newest.is_some();
        if unseen && transaction.isolation() == Isolation::RepeatableRead {
            return Err(StoreError::ConcurrentUpdate.into());
        }
        Ok(claimed.newest)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// 53200
    pub fn insert(&self, transaction: &mut Transaction, key: &[u8], row: Vec<u8>) -> Result<()> {
        Ok(transaction.row_put(self.partition()?, key, row, None)?)
    }

    /// Puts a row in the place of its locked version.
    ///
    /// # Errors
    /// 53200
    pub fn replace(&self, transaction: &mut Transaction, key: &[u8], row: Vec<u8>, old: RowVersion) -> Result<()> {
        Ok(transaction.row_put(self.partition()?, key, row, Some(old))?)
    }

    /// Removes a locked row; a tombstone stays unless `purge`.
    ///
    /// # Errors
    /// 53200
    pub fn remove(&self, transaction: &mut Transaction, key: &[u8], old: RowVersion, purge: bool) -> Result<()> {
        Ok(transaction.row_remove(self.partition()?, key, old, purge)?)
    }

    /// Which row has a unique entry now, unlocked: the answer may be old when it comes.
    ///
    /// # Errors
    /// The store's.
    pub fn entry_newest(&self, transaction: &Transaction, entry: &IndexEntry, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(transaction.entry_newest(self.partition()?, entry, key)?)
    }

    /// Locks a unique entry for the row with this key, and says which row has it, judged on the newest published state
    /// at every isolation level.
    ///
    /// # Errors
    /// 40P01, 55P03
    pub async fn entry_claim(
        &self,
        transaction: &mut Transaction,
        entry: &IndexEntry,
        key: &[u8],
        wait: LockWait,
    ) -> Result<Option<Vec<u8>>> {
        Ok(transaction.entry_claim(self.partition()?, entry, key, wait).await?)
    }

    /// Adds an entry for the row with this key. A unique one was claimed.
    ///
    /// # Errors
    /// 53200
    pub fn entry_put(&self, transaction: &mut Transaction, entry: &IndexEntry, key: &[u8]) -> Result<()> {
        Ok(transaction.entry_put(self.partition()?, entry, key)?)
    }

    /// Removes an entry of the row with this key.
    ///
    /// # Errors
    /// 40P01, 55P03, 53200
    pub async fn entry_remove(
        &self,
        transaction: &mut Transaction,
        entry: &IndexEntry,
        key: &[u8],
        wait: LockWait,
    ) -> Result<()> {
        Ok(transaction.entry_remove(self.partition()?, entry, key, wait).await?)
    }

    /// Entries of committed rows for an index that is being filled; the place of the first key that is there twice.
    ///
    /// # Errors
    /// The store's.
    pub async fn build_put(
        &self,
        transaction: &mut Transaction,
        entries: &[(IndexEntry, Vec<u8>)],
    ) -> Result<Option<usize>> {
        Ok(transaction.build_put(self.partition()?, entries).await?)
    }

    /// Whose a row is, and its key among that user's; for all users' rows of a USER table the user stands in the key.
    pub fn scope_of<'a>(&self, key: &'a [u8]) -> (Scope, &'a [u8]) {
        match &self.place {
            Place::Stored { partition, .. } => match (partition.scope, key.split_first_chunk::<4>()) {
                (Scope::Shared, Some((user, key))) if partition.table.is_per_user() => {
                    (Scope::User(UserId(u32::from_be_bytes(*user))), key)
                }
                (scope, _) => (scope, key),
            },
            Place::Computed(_) | Place::View { .. } => (Scope::Shared, key),
        }
    }

    /// The key of a row that takes the place of another, of the same user.
    pub fn key_beside(&self, old: &[u8], key: Vec<u8>) -> Vec<u8> {
        let user = old.len() - self.scope_of(old).1.len();
        if user == 0 { key } else { [&old[..user], &key].concat() }
    }

    /// Whether its rows are of this scope.
    pub fn is_of(&self, scope: Scope) -> bool {
        matches!(&self.place, Place::Stored { partition, .. } if partition.scope == scope)
    }

    /// A row as a view shows it.
    ///
    /// # Errors
    /// The store's.
    pub async fn newest(&self, view: &ReadView, key: &[u8]) -> Result<Option<bytes::Bytes>> {
        Ok(view.row_get(self.partition()?, key).await?.map(|version| version.row))
    }

    /// Removes all rows of a table that is one partition.
    ///
    /// # Errors
    /// 0A000 for a table with a partition for each user: the others' rows are not the statement's.
    pub fn truncate(&self, transaction: &mut Transaction) -> Result<()> {
        let partition = self.partition()?;
        if partition.scope != Scope::Shared {
            return Err(
                SqlError::unsupported("TRUNCATE of a USER or STREAM table").with_hint("DELETE removes your own rows.")
            );
        }
        Ok(transaction.define(Change::TruncateTable(partition.table.id))?)
    }

    /// The rows are about to be written anew under other keys: no subscriber is told of each.
    ///
    /// # Errors
    /// XX000 for a computed relation.
    pub fn silence(&self, transaction: &mut Transaction) -> Result<()> {
        transaction.silence(self.partition()?);
        Ok(())
    }
}

/// The parts of a partition's rows: hot ones, each cold segment's, and tombstones where they were asked for.
fn stored_parts(
    view: &ReadView,
    partition: &Partition,
    with_deleted: bool,
    request: &ScanRequest,
) -> Result<Vec<Part>> {
    let edge = match request.access {
        Access::Edge { rows, backwards: false } => Some(Edge::First(rows)),
        Access::Edge { rows, backwards: true } => Some(Edge::Last(rows)),
        Access::Key | Access::Index { .. } => None,
    };
    let wanted = Wanted { columns: request.columns.as_slice().into(), batch_rows: request.batch_rows, edge };
    let cold = view.cold(partition.table.id)?;
    let mut parts = Vec::new();
    // Hot rows of ranges that no segment comes between are one part: a list of keys is thousands of ranges.
    let mut hot = Vec::new();
    for range in ranges(partition, &request.keys)? {
        for segment in &cold {
            if kalamdb_store::segment::read::overlaps(&segment.record, partition.scope, &range) {
                if !hot.is_empty() {
                    parts.push(hot_part(view, partition, std::mem::take(&mut hot), &wanted));
                }
                parts.push(cold_part(view, partition, &range, segment.clone(), &wanted));
            }
        }
        hot.push((range, with_deleted));
    }
    if !hot.is_empty() {
        parts.push(hot_part(view, partition, hot, &wanted));
    }
    Ok(parts)
}

/// What each part of a scan makes.
#[derive(Clone)]
struct Wanted {
    columns: Arc<[ColumnId]>,
    batch_rows: usize,
    edge: Option<Edge>,
}

/// The hot rows of some ranges, one range after the other; with the deleted ones behind them where that is asked.
fn hot_part(view: &ReadView, partition: &Partition, ranges: Vec<(KeyRange, bool)>, wanted: &Wanted) -> Part {
    let (view, partition, wanted) = (view.clone(), partition.clone(), wanted.clone());
    Part::Blocking(Box::new(move || {
        let rows = wanted.batch_rows;
        let scans = ranges.into_iter().flat_map(|(range, with_deleted)| {
            let buried = with_deleted.then(|| (range.clone(), true));
            std::iter::once((range, false)).chain(buried)
        });
        let batches = scans.flat_map(move |(range, buried)| -> Blocking {
            let scan = match buried {
                false => view.row_scan(&partition, &range, &wanted.columns, rows, wanted.edge),
                true => view.tombstone_scan(&partition, &range, &wanted.columns, rows),
            };
            match scan {
                Ok(scan) => Box::new(scan.map(|batch| Ok(batch?))),
                Err(error) => Box::new(std::iter::once(Err(error.into()))),
            }
        });
        let batches: Blocking = Box::new(Gathered { batches: Box::new(batches), rows, waiting: None });
        Ok(batches)
    }))
}

/// Small batches put together: ranges of one key each give one row each.
struct Gathered {
    batches: Blocking,
    rows: usize,
    /// What has come and must wait: the batch that did not fit, or an error behind rows.
    waiting: Option<Result<RecordBatch>>,
}

impl Iterator for Gathered {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = match self.waiting.take().or_else(|| self.batches.next())? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let mut count = first.num_rows();
        let mut gathered = vec![first];
        while count < self.rows {
            match self.batches.next() {
                None => break,
                Some(Ok(batch)) if count + batch.num_rows() <= self.rows => {
                    count += batch.num_rows();
                    gathered.push(batch);
                }
                other => {
                    self.waiting = other;
                    break;
                }
            }
        }
        match gathered.as_slice() {
            [one] => Some(Ok(one.clone())),
            several => {
                Some(arrow_select::concat::concat_batches(&several[0].schema(), several).map_err(SqlError::internal))
            }
        }
    }
}

fn cold_part(view: &ReadView, partition: &Partition, range: &KeyRange, segment: ColdSegment, wanted: &Wanted) -> Part {
    let (view, partition, range, wanted) = (view.clone(), partition.clone(), range.clone(), wanted.clone());
    let opened = async move {
        let columns = &wanted.columns;
        let scan = view.segments().scan(&partition, &range, &segment, columns, wanted.batch_rows, wanted.edge).await?;
        // The view is kept as long as it is read: its files stay.
        Ok::<_, SqlError>(scan.map(move |batch| {
            let _seen = &view;
            Ok(batch?)
        }))
    };
    Part::Stream(futures::stream::once(opened).try_flatten().boxed())
}

/// The encoded key ranges that a scan asks for.
fn ranges(partition: &Partition, keys: &Keys) -> Result<Vec<KeyRange>> {
    let Keys::Spans(spans) = keys else { return Ok(vec![KeyRange::all()]) };
    let columns: Vec<SqlType> = match &partition.table.primary_key {
        Some(key) => {
            key.columns.iter().filter_map(|id| partition.table.column(*id)).map(|column| column.ty.ty).collect()
        }
        None => Vec::new(),
    };
    spans.iter().map(|span| range(&columns, span)).collect()
}

fn range(columns: &[SqlType], span: &KeySpan) -> Result<KeyRange> {
    let prefix = key::encode(columns.iter().copied().zip(&span.prefix))?;
    let mut range = KeyRange::of_prefix(&prefix);
    let Some(next) = columns.get(span.prefix.len()) else { return Ok(range) };
    let bound =
        |value: &Datum| -> Result<Vec<u8>> { Ok([prefix.as_slice(), &key::encode([(*next, value)])?].concat()) };
    match &span.low {
        Bound::Included(low) => range.start = bound(low)?,
        // Behind every key that begins with the bound.
        Bound::Excluded(low) => range.start = key::after_prefix(&bound(low)?).unwrap_or(range.start),
        Bound::Unbounded => {}
    }
    match &span.high {
        Bound::Included(high) => range.end = key::after_prefix(&bound(high)?),
        Bound::Excluded(high) => range.end = Some(bound(high)?),
        Bound::Unbounded => {}
    }
    Ok(range)
}

/// A partition's rows, hot and cold.
#[derive(Debug)]
struct StoredRows {
    view: ReadView,
    partition: Partition,
    with_deleted: bool,
    indexes: Option<Arc<TableIndexes>>,
}

impl StoredRows {
    /// The ranges of an index's keys.
    fn index_ranges(&self, index: Oid, types: &[SqlType], keys: &Keys) -> Result<Vec<KeyRange>> {
        let Keys::Spans(spans) = keys else { return Ok(vec![KeyRange::all()]) };
        let def = self.partition.table.index(index);
        let def = def.ok_or_else(|| SqlError::internal("an index that is not there"))?;
        let order = types.iter().zip(&def.keys).map(|(ty, key)| IndexOrder {
            ty: *ty,
            descending: key.descending,
            nulls_first: key.nulls_first,
        });
        let order: Vec<IndexOrder> = order.collect();
        let range = |span: &KeySpan| Ok(index_range(&order, &span.prefix, &span.low, &span.high)?);
        spans.iter().map(range).collect()
    }
}

/// How many rows of a scan a look-up costs that may have to decode a segment's page.
const COLD_LOOK_UP_COST: usize = 10_000;
/// How many rows are looked up at once, first: a limit above may be near.
const LOOKED_UP_FIRST: usize = 32;

/// The rows that an index leads to, in its order: entries are read a chunk at a time, then their rows.
struct IndexRows {
    view: ReadView,
    partition: Partition,
    index: Oid,
    ranges: std::vec::IntoIter<KeyRange>,
    backwards: bool,
    entries: Option<Entries>,
    builder: BatchBuilder,
    chunk: usize,
    batch_rows: usize,
}

impl IndexRows {
    fn row_keys(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::with_capacity(self.chunk);
        while keys.len() < self.chunk {
            let entries = match &mut self.entries {
                Some(entries) => entries,
                None => {
                    let Some(range) = self.ranges.next() else { break };
                    let opened = self.view.entries(&self.partition, self.index, &range, self.backwards)?;
                    self.entries.insert(opened)
                }
            };
            match entries.next()? {
                Some(key) => keys.push(key),
                None => self.entries = None,
            }
        }
        Ok(keys)
    }

    /// The next batch. The first few rows are read where they are asked for, all others away from the async threads.
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        if self.chunk <= LOOKED_UP_FIRST {
            return Ok(self.batch().await?.map(|batch| (batch, self)));
        }
        let runtime = tokio::runtime::Handle::current();
        let read = tokio::task::spawn_blocking(move || runtime.block_on(async { (self.batch().await, self) }));
        let (batch, rows) = read.await.map_err(SqlError::internal)?;
        Ok(batch?.map(|batch| (batch, rows)))
    }

    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let keys = self.row_keys()?;
        if keys.is_empty() {
            return Ok(None);
        }
        self.chunk = (self.chunk * 4).min(self.batch_rows);
        for key in keys {
            let row = self.view.row_get(&self.partition, &key).await?;
            let row = row.ok_or_else(|| SqlError::internal("an index entry leads to no row"))?;
            self.builder.push(&key, &row.row)?;
        }
        Ok(Some(self.builder.finish()?))
    }
}

impl Source for StoredRows {
    fn name(&self) -> String {
        self.partition.table.name.to_string()
    }

    fn key(&self) -> Option<KeyShape> {
        let key = self.partition.table.primary_key.as_ref()?;
        Some(KeyShape { name: key.name.clone(), columns: key.columns.clone() })
    }

    fn estimated_rows(&self) -> Option<u64> {
        self.view.estimated_rows(&self.partition)
    }

    fn column_name(&self, id: ColumnId) -> String {
        let own = self.partition.table.column(id).map(|column| column.name.to_string());
        own.or_else(|| kalamdb_store::codec::arrow::system_name(id).map(str::to_string))
            .unwrap_or_else(|| format!("column{id}"))
    }

    fn indexes(&self) -> Vec<IndexShape> {
        let Some(indexes) = self.indexes.as_ref().filter(|_| !self.with_deleted) else { return Vec::new() };
        let table = self.partition.table.id;
        indexes.shapes().filter(|index| self.view.has_index(table, index.id)).collect()
    }

    fn has_edges(&self) -> bool {
        !self.with_deleted && self.partition.table.primary_key.is_some()
    }

    fn look_up_cost(&self) -> usize {
        if self.view.has_cold(self.partition.table.id) { COLD_LOOK_UP_COST } else { LOOK_UP_COST }
    }

    fn count(&self, access: &Access, keys: &Keys, limit: usize) -> Result<Option<usize>> {
        let Access::Index { index, types, .. } = access else { return Ok(None) };
        let ranges = self.index_ranges(*index, types, keys)?;
        Ok(Some(self.view.entry_count(&self.partition, *index, &ranges, limit)?))
    }

    fn scan(&self, request: ScanRequest) -> Result<Vec<Part>> {
        if let Access::Index { index, types, backwards } = &request.access {
            let mut ranges = self.index_ranges(*index, types, &request.keys)?;
            if *backwards {
                ranges.reverse();
            }
            let rows = IndexRows {
                view: self.view.clone(),
                partition: self.partition.clone(),
                index: *index,
                ranges: ranges.into_iter(),
                backwards: *backwards,
                entries: None,
                builder: BatchBuilder::new(&self.partition.table, &request.columns)?,
                chunk: LOOKED_UP_FIRST.min(request.batch_rows).max(1),
                batch_rows: request.batch_rows.max(1),
            };
            return Ok(vec![Part::Stream(futures::stream::try_unfold(rows, IndexRows::next).boxed())]);
        }
        stored_parts(&self.view, &self.partition, self.with_deleted, &request)
    }
}

/// A computed relation's rows.
#[derive(Debug)]
struct ComputedRows {
    table: TableId,
    facts: SystemFacts,
}

impl Source for ComputedRows {
    fn name(&self) -> String {
        system::relations().by_oid(self.table).map_or_else(|| self.table.to_string(), |shape| shape.name.clone())
    }

    fn estimated_rows(&self) -> Option<u64> {
        None
    }

    fn column_name(&self, id: ColumnId) -> String {
        let shape = system::relations().by_oid(self.table);
        let column = shape.and_then(|shape| shape.columns.iter().find(|column| column.id == id));
        column.map_or_else(|| format!("column{id}"), |column| column.name.clone())
    }

    fn key(&self) -> Option<KeyShape> {
        system::key_of(self.table).map(|columns| KeyShape { name: format!("{}_key", self.name()), columns })
    }

    fn scan(&self, request: ScanRequest) -> Result<Vec<Part>> {
        let batch = system::scan(self.table, &request.columns, &request.keys, &self.facts.gather())?;
        Ok(vec![Part::Ready(vec![batch])])
    }
}
