//! INSERT

use super::query::{self, Relations, lock_wait};
use super::write::{
    self, Kept, ReturningProgram, Written, check_not_null, duplicate, keys_of, rows_in, take, values_of,
};
use super::{Guard, batch_of};
use crate::relation::Relation;
use crate::standing::{Prepared, Standing};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{BoundInsert, Col, ColId, OnConflict, Scalar};
use kalamdb_sql::predicate::{RowProgram, Values};
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::{RowVersion, TableDef};
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
) -> Result<Written> {
    let relation = relations[insert.need.0].clone();
    let outputs: Vec<ColId> = insert.columns.iter().map(|(_, col)| col.id).collect();
    let columns: Vec<ColumnId> = insert.columns.iter().map(|(id, _)| *id).collect();
    let with = values_of(standing, prepared.query()?, &values);
    let returning =
        insert.returning.as_ref().map(|returning| ReturningProgram::new(returning, &[], &with)).transpose()?;
    let mut arbiter = match &insert.on_conflict {
        None => Arbiter::Error,
        Some(OnConflict::DoNothing) => Arbiter::Nothing,
        Some(update) => Arbiter::Update(Box::new(ConflictUpdate::new(update, &columns, &with)?)),
    };
    let mut source = query::stream(standing, &insert.source, &outputs, prepared, relations, values, guard).await?;
    let mut written = Written { count: 0, returned: Kept::default() };
    while let Some(batch) = source.next().await {
        let rows = write_batch(standing, &relation, &batch?, &columns, &mut arbiter).await?;
        written.count += rows.len() as u64;
        if let Some(returning) = &returning {
            let pairs: Vec<(&[u8], &[u8])> = rows.iter().map(|(key, row)| (key.as_slice(), row.as_slice())).collect();
            written.returned.push(returning.rows(relation.table()?, &pairs, None)?)?;
        }
    }
    Ok(written)
}

/// What happens when the key is there already.
pub(super) enum Arbiter {
    /// 23505
    Error,
    /// DO NOTHING
    Nothing,
    /// DO UPDATE
    Update(Box<ConflictUpdate>),
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
    check_not_null(standing, &table, batch, columns)?;
    let keys = keys_of(standing, &table, batch, columns)?;
    let rows = rows_in(&table, batch, columns)?;
    let has_key = table.primary_key.is_some();
    let wait = lock_wait(standing);
    let mut written = Vec::with_capacity(rows.len());
    for (at, (key, row)) in keys.into_iter().zip(rows).enumerate() {
        if has_key {
            // The claim of a key is a lock on it, present or absent: two sessions cannot both find it free.
            let newest = match arbiter {
                Arbiter::Error => relation.claim(standing.transaction(), &key, wait).await?,
                _ => relation.claim_or_find(standing.transaction(), &key, wait).await?,
            };
            if let Some(existing) = newest {
                match arbiter {
                    Arbiter::Error => return Err(duplicate(standing, &table, &row)),
                    Arbiter::Nothing => {}
                    Arbiter::Update(update) => {
                        let proposed = take(batch, &[at])?;
                        if let Some(row) = update.apply(standing, relation, &table, &key, existing, &proposed)? {
                            written.push((key, row));
                        }
                    }
                }
                continue;
            }
            if let Arbiter::Update(update) = arbiter {
                update.seen.insert(key.clone());
            }
        }
        relation.insert(standing.transaction(), &key, row.clone())?;
        written.push((key, row));
    }
    Ok(written)
}

/// DO UPDATE, compiled over the row as it is and the proposed one.
pub(super) struct ConflictUpdate {
    existing: Vec<ColumnId>,
    excluded: Vec<usize>,
    set: Vec<ColumnId>,
    program: RowProgram,
    condition: Option<RowProgram>,
    seen: HashSet<Vec<u8>>,
}

impl ConflictUpdate {
    fn new(update: &OnConflict, proposed: &[ColumnId], values: &Values) -> Result<Self> {
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
        let scalars: Vec<Scalar> = set.iter().map(|(_, scalar)| scalar.clone()).collect();
        let condition =
            condition.as_ref().map(|condition| write::program(std::slice::from_ref(condition), &columns, values));
        Ok(Self {
            existing: existing.iter().map(|(id, _)| *id).collect(),
            excluded: excluded.iter().map(|(id, _)| place(id)).collect::<Result<_>>()?,
            set: set.iter().map(|(id, _)| *id).collect(),
            program: write::program(&scalars, &columns, values)?,
            condition: condition.transpose()?,
            seen: HashSet::new(),
        })
    }

    fn apply(
        &mut self,
        standing: &mut Standing,
        relation: &Relation,
        table: &TableDef,
        key: &[u8],
        existing: RowVersion,
        proposed: &RecordBatch,
    ) -> Result<Option<Vec<u8>>> {
        if !self.seen.insert(key.to_vec()) {
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
        if let Some(condition) = &self.condition
            && !is_true(&condition.evaluate(&input)?, 0)
        {
            return Ok(None);
        }
        let (columns, new) =
            merged(table, &[(key, existing.row.as_ref())], &self.set, &self.program.evaluate(&input)?)?;
        check_not_null(standing, table, &new, &columns)?;
        if keys_of(standing, table, &new, &columns)?.first().is_none_or(|new| new != key) {
            return Err(SqlError::unsupported("ON CONFLICT DO UPDATE that changes the primary key"));
        }
        let row = rows_in(table, &new, &columns)?.pop().ok_or_else(|| SqlError::internal("no row was encoded"))?;
        relation.replace(standing.transaction(), key, row.clone(), existing)?;
        Ok(Some(row))
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
