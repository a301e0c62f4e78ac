//! UPDATE: find rows on the snapshot, lock each, look again where it changed, write.

use super::carry_out::Touched;
use super::cursor;
use super::entries::{self, NewRows};
use super::insert::{is_true, merged};
use super::query::{self, Relations, lock_wait};
use super::references::{self, Old};
use super::write::{self, Kept, ReturningProgram, Written, key_column, keys_of, place, rows_in, take, values_of};
use super::{Guard, batch_of, generated, valid};
use crate::relation::Relation;
use crate::standing::{Prepared, Standing};
use arrow_array::{Array, ArrayRef, RecordBatch};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, Result, SqlError};
use kalamdb_sql::bind::bound::{BoundUpdate, Col, ColId, Rel, Scalar};
use kalamdb_sql::predicate::{RowProgram, Values};
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::{IndexDef, LockStrength, RowVersion, TableDef};
use std::collections::HashSet;
use std::sync::Arc;

/// Runs an UPDATE. `None`: it has to start again, see [`Found::Restart`].
///
/// # Errors
/// 23502, 23505, 40001, 40P01, 55P03, and those of the expressions.
pub(super) async fn run(
    standing: &mut Standing,
    prepared: &Prepared,
    update: &BoundUpdate,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
    touched: &mut Touched,
) -> Result<Option<Written>> {
    let relation = relations[update.need.0].clone();
    if update.set.iter().any(|(id, _)| id.is_system()) {
        return Err(SqlError::unsupported("UPDATE of a system column"));
    }
    let set: Vec<ColumnId> = update.set.iter().map(|(id, _)| *id).collect();
    let with = values_of(standing, prepared.query()?, &values);
    let finder =
        Finder::new(&relation, &update.source, &update.target, update.recheck.as_ref(), update.restarts, &with)?;
    let scalars: Vec<Scalar> = update.set.iter().map(|(_, scalar)| scalar.clone()).collect();
    let work = Assignments {
        strength: strength(relation.table()?, &generated::touched(relation.table()?, &set)),
        set,
        program: write::program(&scalars, &finder.columns, &with)?,
        returning: match &update.returning {
            Some(returning) => Some(ReturningProgram::new(returning, &finder.columns, &with)?),
            None => None,
        },
    };
    let outputs = finder.outputs();
    let mut source = match &update.current_of {
        None => query::stream(standing, &update.source, &outputs, prepared, relations, values.clone(), guard).await?,
        Some(cursor) => {
            let (rel, relations) = cursor::at_current(standing, cursor, update.need, &update.source, relations).await?;
            query::stream(standing, &rel, &outputs, prepared, &relations, values.clone(), guard).await?
        }
    };
    let mut written = Written { count: 0, returned: Kept::default() };
    let seen = touched.rows(relation.table()?.id);
    while let Some(batch) = source.next().await {
        match finder.lock(standing, &batch?, work.strength, seen).await? {
            Found::Rows(found) => work.write(standing, &relation, found, &mut written).await?,
            Found::Restart => return Ok(None),
        }
    }
    drop(source);
    if let Some(returning) = &work.returning {
        written.returned = returning.finished(standing, prepared, relations, values, guard, written.returned).await?;
    }
    Ok(Some(written))
}

/// Whether columns of the primary key are set.
fn changes_key(table: &TableDef, set: &[ColumnId]) -> bool {
    table.primary_key.as_ref().is_some_and(|key| key.columns.iter().any(|id| set.contains(id)))
}

/// How rows are locked whose columns are set.
pub(super) fn strength(table: &TableDef, set: &[ColumnId]) -> LockStrength {
    match changes_key(table, set) || changes_unique(table, set.iter().copied()) {
        true => LockStrength::Update,
        false => LockStrength::NoKeyUpdate,
    }
}

/// Whether a column is set that a foreign key could refer to: PostgreSQL locks such rows as for DELETE.
fn changes_unique(table: &TableDef, mut set: impl Iterator<Item = ColumnId>) -> bool {
    let plain = |index: &&IndexDef| index.unique && index.predicate.is_none() && index.columns().is_some();
    let unique: Vec<&IndexDef> = table.indexes.iter().filter(plain).collect();
    set.any(|id| unique.iter().any(|index| index.is_over(id)))
}

/// What an UPDATE writes.
struct Assignments {
    set: Vec<ColumnId>,
    program: RowProgram,
    returning: Option<ReturningProgram>,
    strength: LockStrength,
}

impl Assignments {
    async fn write(
        &self,
        standing: &mut Standing,
        relation: &Arc<Relation>,
        found: LockedRows,
        written: &mut Written,
    ) -> Result<()> {
        if found.rows.is_empty() {
            return Ok(());
        }
        let values = self.program.evaluate(&found.batch)?;
        let pairs = write_rows(standing, relation, found.rows, &self.set, &values).await?;
        written.count += pairs.len() as u64;
        if let Some(returning) = &self.returning {
            let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(key, row)| (key.as_slice(), row.as_slice())).collect();
            written.returned.push(returning.rows(relation.table()?, &pairs, Some(&found.batch))?)?;
        }
        Ok(())
    }
}

/// Writes new values into some columns of locked rows; the rows as (key, row).
///
/// # Errors
/// 23502, 23505, 23514, and those of locks.
pub(super) async fn write_rows(
    standing: &mut Standing,
    relation: &Arc<Relation>,
    rows: Vec<(Vec<u8>, RowVersion)>,
    set: &[ColumnId],
    values: &[ArrayRef],
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let table = relation.table()?.clone();
    let before = if references::concern(standing, &table) { rows.clone() } else { Vec::new() };
    let old: Vec<(&[u8], &[u8])> = rows.iter().map(|(key, version)| (key.as_slice(), version.row.as_ref())).collect();
    let (columns, new) = merged(&table, &old, set, values)?;
    let new = generated::computed(standing, &table, new, &columns)?;
    let set = &generated::touched(&table, set);
    let valid = valid::judge(standing, &table, &new, &columns)?;
    let new = valid.batch.clone();
    let stored = rows_in(&table, &new, &columns)?;
    let changes_key = changes_key(&table, set);
    let keys = if changes_key { Some(keys_of(standing, &table, &new, &columns)?) } else { None };
    let indexes = entries::of(standing, &table)?;
    let (mut gone, mut come) = if indexes.is_empty() || (!changes_key && indexes.ignore(set)) {
        (vec![Vec::new(); rows.len()], vec![Vec::new(); rows.len()])
    } else {
        (indexes.of_rows(&old)?, indexes.of_batch(&new, &columns)?)
    };
    let new_rows = NewRows { indexes: &indexes, table: &table, batch: &new, columns: &columns };
    let wait = lock_wait(standing);
    let mut pairs = Vec::with_capacity(stored.len());
    for (at, ((old_key, version), row)) in rows.into_iter().zip(stored).enumerate() {
        let key = match &keys {
            Some(keys) => relation.key_beside(&old_key, keys[at].clone()),
            None => old_key.clone(),
        };
        let changed = (std::mem::take(&mut gone[at]), std::mem::take(&mut come[at]));
        let written = (at, key.as_slice(), row.clone());
        new_rows.replace(standing, relation, (&old_key, version), written, changed, wait).await?;
        pairs.push((key, row));
    }
    valid.done()?;
    if !before.is_empty() {
        let old: Vec<Old<'_>> = before.iter().map(Old::new).collect();
        let keys: Vec<Vec<u8>> = pairs.iter().map(|(key, _)| key.clone()).collect();
        references::updated(standing, relation, &old, (&new, &columns), &keys, set).await?;
    }
    Ok(pairs)
}

/// Locks the rows that a source has found, and looks again at those that changed since its snapshot.
pub(super) struct Finder {
    relation: Arc<Relation>,
    /// The columns of the source's batches.
    pub columns: Vec<Col>,
    key: usize,
    target: Vec<(ColumnId, usize)>,
    recheck: Option<RowProgram>,
    restarts: bool,
}

/// What locking a batch gives.
pub(super) enum Found {
    /// The rows to write.
    Rows(LockedRows),
    /// A row changed, and what it means can only be told by running the statement again.
    Restart,
}

/// Locked rows: the source's rows as they are now, and beside each its key and newest version.
pub(super) struct LockedRows {
    pub batch: RecordBatch,
    pub rows: Vec<(Vec<u8>, RowVersion)>,
}

impl Finder {
    /// For a source that makes `target`'s columns.
    ///
    /// # Errors
    /// The compiler's.
    pub fn new(
        relation: &Arc<Relation>,
        source: &Rel,
        target: &[(ColumnId, Col)],
        recheck: Option<&Scalar>,
        restarts: bool,
        values: &Values,
    ) -> Result<Self> {
        let columns = source.columns();
        let key = target.iter().find(|(id, _)| *id == ColumnId::ROW_KEY).map(|(_, col)| col.id);
        let key = place(&columns, key.ok_or_else(|| SqlError::internal("the source makes no row keys"))?)?;
        // A target column that nothing reads need not be in the source.
        let target = target.iter().filter_map(|(id, col)| place(&columns, col.id).ok().map(|at| (*id, at))).collect();
        let recheck = match recheck {
            Some(recheck) if !restarts => Some(write::program(std::slice::from_ref(recheck), &columns, values)?),
            _ => None,
        };
        Ok(Self { relation: relation.clone(), columns, key, target, recheck, restarts })
    }

    /// The columns to ask the source for.
    pub fn outputs(&self) -> Vec<ColId> {
        self.columns.iter().map(|col| col.id).collect()
    }

    /// Locks a batch's rows. A row that this statement has written already is left out (PostgreSQL: the first wins).
    ///
    /// # Errors
    /// 40001, 40P01, 55P03, and the predicate's.
    pub async fn lock(
        &self,
        standing: &mut Standing,
        batch: &RecordBatch,
        strength: LockStrength,
        seen: &mut HashSet<Vec<u8>>,
    ) -> Result<Found> {
        let wait = lock_wait(standing);
        let keys = key_column(batch, self.key)?.clone();
        let mut places = Vec::with_capacity(batch.num_rows());
        let mut rows = Vec::with_capacity(batch.num_rows());
        let mut changed = Vec::new();
        for at in 0..batch.num_rows() {
            let key = keys.value(at);
            if seen.contains(key) {
                continue;
            }
            let locked = self.relation.lock(standing.transaction(), key, strength, wait).await?;
            if locked.changed && self.restarts {
                return Ok(Found::Restart);
            }
            let Some(version) = locked.newest else { continue };
            if locked.changed {
                changed.push(rows.len());
            } else {
                seen.insert(key.to_vec());
            }
            places.push(at);
            rows.push((key.to_vec(), version));
        }
        let batch = take(batch, &places)?;
        if changed.is_empty() {
            return Ok(Found::Rows(LockedRows { batch, rows }));
        }
        self.look_again(batch, rows, &changed, seen)
    }

    /// READ COMMITTED: the changed rows as they are now, and only those that the predicate still wants.
    fn look_again(
        &self,
        batch: RecordBatch,
        rows: Vec<(Vec<u8>, RowVersion)>,
        changed: &[usize],
        seen: &mut HashSet<Vec<u8>>,
    ) -> Result<Found> {
        let table: &TableDef = self.relation.table()?;
        let ids: Vec<ColumnId> = self.target.iter().map(|(id, _)| *id).collect();
        let mut builder = BatchBuilder::new(table, &ids)?;
        for at in changed {
            builder.push(&rows[*at].0, &rows[*at].1.row)?;
        }
        let newest = builder.finish()?;
        let mut indices: Vec<(usize, usize)> = (0..rows.len()).map(|at| (0, at)).collect();
        for (place, at) in changed.iter().enumerate() {
            indices[*at] = (1, place);
        }
        let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
        for (place, (_, at)) in self.target.iter().enumerate() {
            let sources: [&dyn Array; 2] = [batch.column(*at).as_ref(), newest.column(place).as_ref()];
            arrays[*at] = arrow_select::interleave::interleave(&sources, &indices).map_err(SqlError::internal)?;
        }
        let batch = batch_of(arrays, rows.len())?;
        let kept: Vec<usize> = match &self.recheck {
            None => (0..rows.len()).collect(),
            Some(recheck) => {
                let again = recheck.evaluate(&take(&batch, changed)?)?;
                let gone: HashSet<usize> = changed
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| !is_true(&again, *place))
                    .map(|(_, at)| *at)
                    .collect();
                (0..rows.len()).filter(|at| !gone.contains(at)).collect()
            }
        };
        let batch = take(&batch, &kept)?;
        let mut rows: Vec<Option<_>> = rows.into_iter().map(Some).collect();
        let rows: Vec<(Vec<u8>, RowVersion)> = kept.iter().filter_map(|at| rows[*at].take()).collect();
        seen.extend(rows.iter().map(|(key, _)| key.clone()));
        Ok(Found::Rows(LockedRows { batch, rows }))
    }
}
