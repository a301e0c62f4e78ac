//! INSERT

use super::carry_out::Touched;
use super::entries::{self, NewRows};
use super::query::{self, Relations, lock_wait};
use super::references::Old;
use super::write::{self, Kept, RESTARTS_MAX, ReturningProgram, Written, duplicate, keys_of, rows_in, take, values_of};
use super::{Guard, batch_of, generated, references, valid};
use crate::index::{RowEntries, TableIndexes};
use crate::relation::Relation;
use crate::standing::{Prepared, Standing};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, PgType, Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{Arbiter as By, Bound, BoundInsert, Col, ColId, OnConflict, Rel, Scalar};
use kalamdb_sql::bind::walk;
use kalamdb_sql::predicate::{RowProgram, Values};
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::{LockWait, RowVersion, TableDef};
use std::collections::HashSet;
use std::sync::Arc;

/// Runs an INSERT.
///
/// # Errors
/// 23502, 23505, 21000, those of the source and of locks.
pub(super) async fn run(
    standing: &mut Standing,
    prepared: &Prepared,
    insert: &BoundInsert,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
    touched: &mut Touched,
) -> Result<Written> {
    let relation = relations[insert.need.0].clone();
    let outputs: Vec<ColId> = insert.columns.iter().map(|(_, col)| col.id).collect();
    let columns: Vec<ColumnId> = insert.columns.iter().map(|(id, _)| *id).collect();
    let with = values_of(standing, prepared.query()?, &values);
    let returning =
        insert.returning.as_ref().map(|returning| ReturningProgram::new(returning, &[], &with)).transpose()?;
    let mut arbiter = match &insert.on_conflict {
        None => Arbiter::Error,
        Some(OnConflict::DoNothing { arbiters }) => Arbiter::Nothing(arbiters.clone()),
        Some(OnConflict::DoUpdate { arbiters, .. }) => {
            let bound = prepared.query()?.clone();
            let ground = Ground { bound, relations: relations.clone(), values: values.clone(), guard: guard.clone() };
            let is_referential = references::concern(standing, relation.table()?);
            let update = insert.on_conflict.as_ref();
            let update = update.map(|update| ConflictUpdate::new(update, &columns, &with, ground, is_referential));
            let update = update.ok_or_else(|| SqlError::internal("no ON CONFLICT"))??;
            Arbiter::Update(arbiters.clone(), Box::new(update))
        }
    };
    let table = relation.table()?.id;
    if let Arbiter::Update(_, update) = &mut arbiter {
        update.seen = std::mem::take(touched.rows(table));
    }
    let source = query::stream(standing, &insert.source, &outputs, prepared, relations, values.clone(), guard);
    let mut source = source.await?;
    let mut written = Written { count: 0, returned: Kept::default() };
    while let Some(batch) = source.next().await {
        let rows = write_batch(standing, &relation, &batch?, &columns, &mut arbiter).await?;
        written.count += rows.len() as u64;
        rows.iter().for_each(|(key, _)| touched.inserted(table, key));
        if let Some(returning) = &returning {
            let pairs: Vec<(&[u8], &[u8])> = rows.iter().map(|(key, row)| (key.as_slice(), row.as_slice())).collect();
            written.returned.push(returning.rows(relation.table()?, &pairs, None)?)?;
        }
    }
    drop(source);
    if let Arbiter::Update(_, update) = &mut arbiter {
        touched.rows(table).extend(std::mem::take(&mut update.seen));
    }
    if let Some(returning) = &returning {
        written.returned = returning.finished(standing, prepared, relations, values, guard, written.returned).await?;
    }
    Ok(written)
}

/// What happens when a row is there already, and what says so.
pub(super) enum Arbiter {
    /// 23505
    Error,
    /// DO NOTHING, by these keys; `None`: by all.
    Nothing(Option<Vec<By>>),
    /// DO UPDATE, by these keys.
    Update(Vec<By>, Box<ConflictUpdate>),
}

impl Arbiter {
    fn goes_by(&self, by: By) -> bool {
        match self {
            Arbiter::Error => false,
            Arbiter::Nothing(None) => true,
            Arbiter::Nothing(Some(arbiters)) | Arbiter::Update(arbiters, _) => arbiters.contains(&by),
        }
    }
}

/// Writes a batch whose columns are the table's live ones in the order of `columns`; the written rows as (key, row).
///
/// # Errors
/// 23502, 23505, 21000, 40001, and those of locks.
pub(super) async fn write_batch(
    standing: &mut Standing,
    relation: &Arc<Relation>,
    batch: &RecordBatch,
    columns: &[ColumnId],
    arbiter: &mut Arbiter,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let table = relation.table()?.clone();
    let batch = &generated::computed(standing, &table, batch.clone(), columns)?;
    let valid = valid::judge(standing, &table, batch, columns)?;
    let batch = &valid.batch;
    let keys = keys_of(standing, &table, batch, columns)?;
    let rows = rows_in(&table, batch, columns)?;
    let indexes = entries::of(standing, &table)?;
    let entries = indexes.of_batch(batch, columns)?;
    let new_rows = NewRows { indexes: &indexes, table: &table, batch, columns };
    let has_key = table.primary_key.is_some();
    let wait = lock_wait(standing);
    let mut written = Vec::with_capacity(rows.len());
    let mut referring = Vec::new();
    for (at, ((key, row), entries)) in keys.into_iter().zip(rows).zip(entries).enumerate() {
        if let Some((key, existing)) = conflicting(standing, relation, &key, has_key, &entries, arbiter, wait).await? {
            if let Arbiter::Update(_, update) = arbiter {
                let proposed = take(batch, &[at])?;
                let row = update.apply(standing, relation, &table, (&key, existing), &proposed, &indexes).await?;
                written.extend(row);
            }
            continue;
        }
        // The claim of a key is a lock on it, present or absent: two sessions cannot both find it free.
        if has_key && !arbiter.goes_by(By::Key) && relation.claim(standing.transaction(), &key, wait).await?.is_some() {
            return Err(duplicate(standing, &table, &row));
        }
        relation.insert(standing.transaction(), &key, row.clone())?;
        let claimed = |index| arbiter.goes_by(By::Index(index));
        new_rows.put(standing, relation, (at, &key), &entries, claimed, wait).await?;
        if let Arbiter::Update(_, update) = arbiter {
            update.seen.insert(key.clone());
        }
        if !table.foreign_keys.is_empty() {
            referring.push((at, key.clone()));
        }
        written.push((key, row));
    }
    references::inserted(standing, relation, batch, columns, &referring).await?;
    valid.done()?;
    Ok(written)
}

/// The row that is in the way by an arbiter, locked; without one, all arbiters' keys are claimed.
///
/// Nobody waits for a row while it holds a key that the row's owner may want: the keys are let go first, and looked at
/// again when the row is ours.
async fn conflicting(
    standing: &mut Standing,
    relation: &Relation,
    key: &[u8],
    has_key: bool,
    entries: &RowEntries,
    arbiter: &Arbiter,
    wait: LockWait,
) -> Result<Option<(Vec<u8>, RowVersion)>> {
    for _ in 0..RESTARTS_MAX {
        let before = standing.transaction().lock_count();
        let mut found = None;
        if has_key && arbiter.goes_by(By::Key) {
            found = relation.claim_or_find(standing.transaction(), key, wait).await?.map(|row| (key.to_vec(), row));
        }
        let mut moved = false;
        for entry in entries.iter().filter(|entry| entry.unique && arbiter.goes_by(By::Index(entry.index))) {
            if found.is_some() {
                break;
            }
            let mut other = relation.entry_newest(standing.transaction(), entry, key)?;
            if other.is_none() {
                other = relation.entry_claim(standing.transaction(), entry, key, wait).await?;
            }
            let Some(other) = other else { continue };
            standing.transaction().unlock_since(before);
            let row = relation.claim_or_find(standing.transaction(), &other, wait).await?;
            let still = relation.entry_newest(standing.transaction(), entry, key)?.as_ref() == Some(&other);
            match row.filter(|_| still) {
                Some(row) => found = Some((other, row)),
                None => {
                    moved = true;
                    break;
                }
            }
        }
        if moved {
            standing.transaction().unlock_since(before);
            continue;
        }
        if found.is_some() && matches!(arbiter, Arbiter::Nothing(_)) {
            standing.transaction().unlock_since(before);
        }
        return Ok(found);
    }
    Err(SqlError::new(SqlState::T_R_SERIALIZATION_FAILURE, "could not serialize access due to concurrent update"))
}

/// DO UPDATE, compiled over the row as it is and the proposed one.
pub(super) struct ConflictUpdate {
    existing: Vec<ColumnId>,
    excluded: Vec<usize>,
    set: Vec<ColumnId>,
    work: ConflictWork,
    /// Whether foreign keys have to look at changed rows.
    is_referential: bool,
    seen: HashSet<Vec<u8>>,
}

enum ConflictWork {
    /// The assignments and the condition.
    Programs(RowProgram, Option<RowProgram>),
    /// Expressions with subqueries: a plan over the two rows, which asks what the statement sees.
    Plan { columns: Vec<Col>, exprs: Vec<(Col, Scalar)>, ground: Ground },
}

/// What the plans of a statement are made with.
#[derive(Clone)]
struct Ground {
    bound: Arc<Bound>,
    relations: Relations,
    values: Arc<Vec<Datum>>,
    guard: Guard,
}

impl ConflictWork {
    /// The assigned values, or `None` where the condition does not hold.
    async fn values(&self, standing: &mut Standing, input: RecordBatch) -> Result<Option<Vec<ArrayRef>>> {
        match self {
            ConflictWork::Programs(program, condition) => match condition {
                Some(condition) if !is_true(&condition.evaluate(&input)?, 0) => Ok(None),
                _ => program.evaluate(&input).map(Some),
            },
            ConflictWork::Plan { columns, exprs, ground } => {
                let Ground { bound, relations, values, guard } = ground;
                let types: Vec<PgType> = columns.iter().map(|col| col.ty).collect();
                let mut made = relations.made().to_vec();
                made.push(crate::plan::made_rows("excluded", &types, &[input])?);
                let step = made.len() - 1;
                let rows = Rel::Made { step, columns: columns.iter().copied().enumerate().collect() };
                let kept = self.kept(exprs, rows);
                let outputs: Vec<ColId> = exprs.iter().skip(1).map(|(col, _)| col.id).collect();
                let relations = relations.with_made(made);
                let execution = query::execution(standing, bound, &relations, values.clone(), guard)?;
                let kept = write::collect(&kept, &outputs, execution).await?;
                let row = kept.batches.into_iter().find(|batch| batch.num_rows() > 0);
                Ok(row.map(|batch| batch.columns().to_vec()))
            }
        }
    }

    /// The first expression is the condition: the others are computed where it holds.
    fn kept(&self, exprs: &[(Col, Scalar)], rows: Rel) -> Rel {
        let (condition, set) = exprs.split_at(exprs.len().min(1));
        let predicate = condition.first().map_or_else(Scalar::truth, |(_, condition)| condition.clone());
        let kept = Rel::Filter { input: Box::new(rows), predicate };
        Rel::Extend { input: Box::new(kept), columns: set.to_vec() }
    }
}

impl ConflictUpdate {
    fn new(
        update: &OnConflict,
        proposed: &[ColumnId],
        values: &Values,
        ground: Ground,
        is_referential: bool,
    ) -> Result<Self> {
        let OnConflict::DoUpdate { existing, excluded, set, condition, .. } = update else {
            return Err(SqlError::internal("DO NOTHING has no assignments"));
        };
        let columns: Vec<Col> = existing.iter().chain(excluded).map(|(_, col)| *col).collect();
        let place = |id: &ColumnId| {
            proposed
                .iter()
                .position(|column| column == id)
                .ok_or_else(|| SqlError::internal("excluded has no such column"))
        };
        let work = if set.iter().map(|(_, scalar)| scalar).chain(condition).any(walk::has_subquery) {
            // Numbers for the results that no column of the statement has.
            let result = |at: usize, scalar: Scalar| {
                (Col { id: ColId(u32::MAX - at as u32), ty: scalar.ty(), nullable: true }, scalar)
            };
            let condition = condition.clone().unwrap_or_else(Scalar::truth);
            let all = std::iter::once(condition).chain(set.iter().map(|(_, scalar)| scalar.clone()));
            let exprs = all.enumerate().map(|(at, scalar)| result(at, scalar)).collect();
            ConflictWork::Plan { columns, exprs, ground }
        } else {
            let scalars: Vec<Scalar> = set.iter().map(|(_, scalar)| scalar.clone()).collect();
            let condition =
                condition.as_ref().map(|condition| write::program(std::slice::from_ref(condition), &columns, values));
            ConflictWork::Programs(write::program(&scalars, &columns, values)?, condition.transpose()?)
        };
        Ok(Self {
            existing: existing.iter().map(|(id, _)| *id).collect(),
            excluded: excluded.iter().map(|(id, _)| place(id)).collect::<Result<_>>()?,
            set: set.iter().map(|(id, _)| *id).collect(),
            work,
            is_referential,
            seen: HashSet::new(),
        })
    }

    /// The row as it is then, with its key; `None` when the condition does not hold.
    async fn apply(
        &mut self,
        standing: &mut Standing,
        relation: &Relation,
        table: &Arc<TableDef>,
        (key, existing): (&[u8], RowVersion),
        proposed: &RecordBatch,
        indexes: &TableIndexes,
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        if self.seen.contains(key) {
            return Err(SqlError::new(
                SqlState::CARDINALITY_VIOLATION,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
            )
            .with_hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        let mut builder = BatchBuilder::new(table, &self.existing)?;
        builder.push(key, &existing.row)?;
        let mut arrays: Vec<ArrayRef> = builder.finish()?.columns().to_vec();
        arrays.extend(self.excluded.iter().map(|at| proposed.column(*at).clone()));
        let input = batch_of(arrays, 1)?;
        let Some(values) = self.work.values(standing, input).await? else { return Ok(None) };
        let old = [(key, existing.row.as_ref())];
        let gone = indexes.of_rows(&old)?.pop().unwrap_or_default();
        let (columns, new) = merged(table, &old, &self.set, &values)?;
        let new = generated::computed(standing, table, new, &columns)?;
        valid::require(standing, table, &new, &columns)?;
        let come = indexes.of_batch(&new, &columns)?.pop().unwrap_or_default();
        // A row without a primary key keeps the key that it has.
        let new_key = match table.primary_key {
            Some(_) => keys_of(standing, table, &new, &columns)?.pop(),
            None => None,
        };
        let new_key = new_key.unwrap_or_else(|| key.to_vec());
        let row = rows_in(table, &new, &columns)?.pop().ok_or_else(|| SqlError::internal("no row was encoded"))?;
        let wait = lock_wait(standing);
        let new_rows = NewRows { indexes, table, batch: &new, columns: &columns };
        let written = (0, new_key.as_slice(), row.clone());
        let before = (key.to_vec(), existing.clone());
        new_rows.replace(standing, relation, (key, existing), written, (gone, come), wait).await?;
        if self.is_referential {
            let (old, keys) = ([Old::new(&before)], [new_key.clone()]);
            references::updated(standing, relation, &old, (&new, &columns), &keys, &self.set).await?;
        }
        self.seen.insert(new_key.clone());
        Ok(Some((new_key, row)))
    }
}

/// Whether a boolean column says true in this row.
pub(super) fn is_true(arrays: &[ArrayRef], row: usize) -> bool {
    let array = arrays.first().and_then(|array| array.as_any().downcast_ref::<BooleanArray>());
    array.is_some_and(|array| array.is_valid(row) && array.value(row))
}

/// Rows with some columns set anew: all live columns, in order.
///
/// # Errors
/// The codec's.
pub(super) fn merged(
    table: &TableDef,
    rows: &[(&[u8], &[u8])],
    set: &[ColumnId],
    values: &[ArrayRef],
) -> Result<(Vec<ColumnId>, RecordBatch)> {
    let columns: Vec<ColumnId> = table.live_columns().map(|column| column.id).collect();
    let mut builder = BatchBuilder::new(table, &columns)?;
    for (key, row) in rows {
        builder.push(key, row)?;
    }
    let mut arrays: Vec<ArrayRef> = builder.finish()?.columns().to_vec();
    for (id, value) in set.iter().zip(values) {
        if let Some(at) = columns.iter().position(|column| column == id) {
            arrays[at] = value.clone();
        }
    }
    let batch = batch_of(arrays, rows.len())?;
    Ok((columns, batch))
}
