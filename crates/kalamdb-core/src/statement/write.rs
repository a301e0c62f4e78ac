//! What INSERT, UPDATE, DELETE and COPY share: keys, constraints, RETURNING; and FOR UPDATE's row locks.

use super::around::Around;
use super::query::{self, Relations};
use super::{Guard, Outcome, batch_of, rows_of};
use crate::plan::{Locker, SessionValues};
use crate::reply::{OutputColumn, Rows, RowsTag};
use crate::standing::{Prepared, Standing};
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, UInt32Array};
use async_trait::async_trait;
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, PgType, Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{Bound, Col, ColId, LockTarget, LockWait as BoundWait, Rel, Returning, Scalar};
use kalamdb_sql::bind::walk;
use kalamdb_sql::predicate::{RowProgram, Values};
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::codec::key::{self, KeyEncoder};
use kalamdb_store::codec::row::{RowEncoder, RowView};
use kalamdb_store::{LockStrength, LockWait, TableDef, Transaction};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How often a statement starts again because rows changed under it, before it gives up with 40001.
pub(super) const RESTARTS_MAX: usize = 64;
/// The most bytes of rows that RETURNING or FOR UPDATE keep: 53200 beyond it.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// What a write has done.
pub(super) struct Written {
    /// How many rows.
    pub count: u64,
    /// RETURNING's rows.
    pub returned: Kept,
}

/// Batches kept in memory, within a bound.
#[derive(Default)]
pub(super) struct Kept {
    pub batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Kept {
    /// Keeps a batch.
    ///
    /// # Errors
    /// 53200
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.bytes += batch.get_array_memory_size();
        if self.bytes > KEPT_BYTES_MAX {
            return Err(SqlError::new(SqlState::OUT_OF_MEMORY, "the rows to return exceed the memory of a statement")
                .with_hint("Return fewer rows or columns."));
        }
        self.batches.push(batch);
        Ok(())
    }
}

impl Written {
    /// The statement's answer.
    pub fn outcome(self, verb: &str, columns: Option<Arc<[OutputColumn]>>) -> Outcome {
        let tag = format!("{verb} {}", self.count);
        match columns {
            Some(columns) => Outcome::Rows(rows_of(columns, self.returned.batches, RowsTag::Fixed(tag))),
            None => Outcome::Command(tag),
        }
    }
}

/// The values that expressions over rows are evaluated with.
pub(super) fn values_of(standing: &mut Standing, bound: &Bound, values: &[Datum]) -> Values {
    let around = Around::new(standing);
    let session = around.clone();
    Values {
        parameters: values.iter().cloned().zip(bound.parameters.iter().copied()).collect(),
        session: Arc::new(move |value| session.value(value)),
        around,
    }
}

/// A program over columns in this order.
///
/// # Errors
/// The compiler's.
pub(super) fn program(scalars: &[Scalar], columns: &[Col], values: &Values) -> Result<RowProgram> {
    RowProgram::compile(scalars, columns, &mut values.clone())
}

/// The encoded keys of a batch's rows: by the primary key's columns, or hidden row ids.
///
/// # Errors
/// The codec's.
pub(super) fn keys_of(
    standing: &Standing,
    table: &TableDef,
    batch: &RecordBatch,
    columns: &[ColumnId],
) -> Result<Vec<Vec<u8>>> {
    if table.primary_key.is_none() {
        let hidden = |_| key::hidden(standing.hall.snowflake.next() as u64);
        return Ok((0..batch.num_rows()).map(hidden).collect());
    }
    let encoder = KeyEncoder::new(table, batch, columns)?;
    (0..batch.num_rows()).map(|row| Ok(encoder.encode(row)?)).collect()
}

/// The encoded rows of a batch.
///
/// # Errors
/// The codec's.
pub(super) fn rows_in(table: &TableDef, batch: &RecordBatch, columns: &[ColumnId]) -> Result<Vec<Vec<u8>>> {
    let mut encoder = RowEncoder::new(table, batch, columns)?;
    (0..batch.num_rows()).map(|row| Ok(encoder.encode(row)?)).collect()
}

/// The longest value in a detail, in characters, as in PostgreSQL.
const SHOWN_CHARS_MAX: usize = 64;

/// A row as details show it.
pub(super) fn shown_row(
    standing: &Standing,
    table: &TableDef,
    batch: &RecordBatch,
    columns: &[ColumnId],
    row: usize,
) -> String {
    let shown = table.live_columns().map(|column| {
        let at = columns.iter().position(|id| *id == column.id);
        at.and_then(|at| shown_value(standing, batch.column(at), row, column.ty)).unwrap_or_else(|| "null".to_string())
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn shown_value(standing: &Standing, array: &ArrayRef, row: usize, ty: PgType) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let style = &standing.derived().style;
    let datum = kalamdb_sql::types::datum_at(array.as_ref(), row, ty);
    let text = kalamdb_sql::types::to_text(&datum, ty, style, &standing.names()).ok()?;
    Some(match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    })
}

/// 23505 for a key that is there already.
pub(super) fn duplicate(standing: &Standing, table: &TableDef, row: &[u8]) -> SqlError {
    let Some(primary) = &table.primary_key else { return SqlError::internal("a hidden row id came twice") };
    let style = &standing.derived().style;
    let names = standing.names();
    let columns: Vec<_> = primary.columns.iter().filter_map(|id| table.column(*id)).collect();
    let value = |column: &&kalamdb_store::ColumnDef| {
        let datum = RowView::new(row).and_then(|row| row.datum(column)).unwrap_or_default();
        kalamdb_sql::types::to_text(&datum, column.ty, style, &names).unwrap_or_default()
    };
    let column_names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let values = columns.iter().map(value).collect::<Vec<_>>().join(", ");
    SqlError::new(
        SqlState::UNIQUE_VIOLATION,
        format!("duplicate key value violates unique constraint \"{}\"", primary.name),
    )
    .with_detail(format!("Key ({column_names})=({values}) already exists."))
    .with_schema(super::table::namespace_name(&standing.catalog(), table.namespace))
    .with_table(table.name.as_str())
    .with_constraint(primary.name.as_str())
}

/// RETURNING, compiled: over the written row's columns, then the source's.
pub(super) struct ReturningProgram {
    work: ReturningWork,
    row: Vec<ColumnId>,
    sources: Vec<usize>,
}

enum ReturningWork {
    /// Each batch's rows are computed as they are written.
    Rows(RowProgram),
    /// Expressions with subqueries: the rows are kept in these columns, and a plan over them ends the statement.
    Plan { columns: Vec<Col>, exprs: Vec<(Col, Scalar)> },
}

impl ReturningProgram {
    /// Compiles it; `source` are the columns of the source's batches.
    ///
    /// # Errors
    /// The compiler's.
    pub fn new(returning: &Returning, source: &[Col], values: &Values) -> Result<Self> {
        let row: Vec<ColumnId> = returning.row.iter().map(|(id, _)| *id).collect();
        let own: Vec<ColId> = returning.row.iter().map(|(_, col)| col.id).collect();
        let sources: Vec<usize> =
            source.iter().enumerate().filter(|(_, col)| !own.contains(&col.id)).map(|(at, _)| at).collect();
        let columns: Vec<Col> =
            returning.row.iter().map(|(_, col)| *col).chain(sources.iter().map(|at| source[*at])).collect();
        let work = match returning.exprs.iter().any(|(_, scalar)| walk::has_subquery(scalar)) {
            true => ReturningWork::Plan { columns, exprs: returning.exprs.clone() },
            false => {
                let scalars: Vec<Scalar> = returning.exprs.iter().map(|(_, scalar)| scalar.clone()).collect();
                ReturningWork::Rows(program(&scalars, &columns, values)?)
            }
        };
        Ok(Self { work, row, sources })
    }

    /// The returned rows: `rows` are the written ones as (key, row), `source` the source's rows beside them.
    ///
    /// # Errors
    /// The expressions'.
    pub fn rows(&self, table: &TableDef, rows: &[(&[u8], &[u8])], source: Option<&RecordBatch>) -> Result<RecordBatch> {
        let mut builder = BatchBuilder::new(table, &self.row)?;
        for (key, row) in rows {
            builder.push(key, row)?;
        }
        let mut arrays: Vec<ArrayRef> = builder.finish()?.columns().to_vec();
        if let Some(source) = source {
            arrays.extend(self.sources.iter().map(|at| source.column(*at).clone()));
        }
        let batch = batch_of(arrays, rows.len())?;
        match &self.work {
            ReturningWork::Rows(program) => batch_of(program.evaluate(&batch)?, rows.len()),
            ReturningWork::Plan { .. } => Ok(batch),
        }
    }

    /// The statement's answer from what [`Self::rows`] gave: subqueries see the statement's snapshot.
    ///
    /// # Errors
    /// The expressions'.
    pub async fn finished(
        &self,
        standing: &mut Standing,
        prepared: &Prepared,
        relations: &Relations,
        values: Arc<Vec<Datum>>,
        guard: &Guard,
        kept: Kept,
    ) -> Result<Kept> {
        let ReturningWork::Plan { columns, exprs } = &self.work else { return Ok(kept) };
        let types: Vec<PgType> = columns.iter().map(|col| col.ty).collect();
        let mut made = relations.made().to_vec();
        made.push(crate::plan::made_rows("*RETURNING*", &types, &kept.batches)?);
        let rows = Rel::Made { step: made.len() - 1, columns: columns.iter().copied().enumerate().collect() };
        let rel = Rel::Extend { input: Box::new(rows), columns: exprs.clone() };
        let outputs: Vec<ColId> = exprs.iter().map(|(col, _)| col.id).collect();
        let relations = relations.with_made(made);
        collect(&rel, &outputs, query::execution(standing, prepared.query()?, &relations, values, guard)?).await
    }
}

/// The chosen rows of a batch, in this order.
///
/// # Errors
/// XX000 for a row that is not there.
pub(super) fn take(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    if rows.len() == batch.num_rows() && rows.iter().enumerate().all(|(at, row)| at == *row) {
        return Ok(batch.clone());
    }
    let indices: UInt32Array = rows.iter().map(|row| *row as u32).collect::<Vec<_>>().into();
    let arrays = batch
        .columns()
        .iter()
        .map(|array| arrow_select::take::take(array, &indices, None).map_err(SqlError::internal))
        .collect::<Result<Vec<_>>>()?;
    batch_of(arrays, rows.len())
}

/// The row keys of a batch.
///
/// # Errors
/// XX000 when the column is not one of keys.
pub(super) fn key_column(batch: &RecordBatch, at: usize) -> Result<&BinaryArray> {
    batch
        .column(at)
        .as_any()
        .downcast_ref::<BinaryArray>()
        .ok_or_else(|| SqlError::internal("the row keys are not in the source"))
}

/// The place of a column in a list.
///
/// # Errors
/// XX000 when it is not there.
pub(super) fn place(columns: &[Col], id: ColId) -> Result<usize> {
    columns.iter().position(|col| col.id == id).ok_or_else(|| SqlError::internal("a column is not in the source"))
}

/// Locks rows for a query; a row that changed since the snapshot sends the statement back to its start.
struct StatementLocker {
    transaction: Arc<tokio::sync::Mutex<Option<Transaction>>>,
    relations: Relations,
    wait: LockWait,
    restart: AtomicBool,
}

impl std::fmt::Debug for StatementLocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatementLocker")
    }
}

fn strength(strength: kalamdb_sql::bind::bound::LockStrength) -> LockStrength {
    use kalamdb_sql::bind::bound::LockStrength as Asked;
    match strength {
        Asked::KeyShare => LockStrength::KeyShare,
        Asked::Share => LockStrength::Share,
        Asked::NoKeyUpdate => LockStrength::NoKeyUpdate,
        Asked::Update => LockStrength::Update,
    }
}

#[async_trait]
impl Locker for StatementLocker {
    async fn lock(&self, targets: &[LockTarget], columns: &[ColId], rows: RecordBatch) -> Result<RecordBatch> {
        let mut guard = self.transaction.lock().await;
        let transaction = guard.as_mut().ok_or_else(|| SqlError::internal("the transaction is elsewhere"))?;
        let mut kept = Vec::with_capacity(rows.num_rows());
        'row: for row in 0..rows.num_rows() {
            for target in targets {
                let at = columns.iter().position(|col| *col == target.key);
                let keys = key_column(&rows, at.ok_or_else(|| SqlError::internal("a lock without a key"))?)?;
                if keys.is_null(row) {
                    // The nullable side of an outer join: there is no row to lock.
                    continue;
                }
                let wait = match target.wait {
                    BoundWait::Wait => self.wait,
                    BoundWait::NoWait => LockWait::NoWait,
                    BoundWait::SkipLocked => LockWait::Skip,
                };
                let relation = &self.relations[target.need.0];
                let locked = relation.lock(transaction, keys.value(row), strength(target.strength), wait).await?;
                if locked.skipped {
                    continue 'row;
                }
                if locked.changed {
                    self.restart.store(true, Ordering::Release);
                    return Err(SqlError::new(
                        SqlState::T_R_SERIALIZATION_FAILURE,
                        "a row changed while it was locked",
                    ));
                }
            }
            kept.push(row);
        }
        take(&rows, &kept)
    }
}

/// A query with FOR UPDATE and its kin: run to its end here, since its locks belong to this moment.
///
/// # Errors
/// 55P03, 40P01, 40001, 53200, and the query's.
#[allow(clippy::too_many_arguments)]
pub(super) async fn lock_rows(
    standing: &mut Standing,
    rel: &Rel,
    outputs: &[ColId],
    bound: &Arc<Bound>,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    columns: Arc<[OutputColumn]>,
    guard: &Guard,
) -> Result<Rows> {
    standing.not_read_only("SELECT FOR UPDATE")?;
    for _ in 0..RESTARTS_MAX {
        let mut execution = query::execution(standing, bound, relations, values.clone(), guard)?;
        let wait = query::lock_wait(standing);
        let transaction = Arc::new(tokio::sync::Mutex::new(standing.lend_transaction()));
        let locker = Arc::new(StatementLocker {
            transaction: transaction.clone(),
            relations: relations.clone(),
            wait,
            restart: AtomicBool::new(false),
        });
        execution.locker = Some(locker.clone());
        let outcome = collect(rel, outputs, execution).await;
        standing.give_back(transaction.lock().await.take());
        match outcome {
            // Going back to the statement's start would take along what its WITH has written.
            Err(_) if locker.restart.load(Ordering::Acquire) && has_written(bound) => break,
            Err(_) if locker.restart.load(Ordering::Acquire) => standing.restart_statement()?,
            outcome => return Ok(rows_of(columns, outcome?.batches, RowsTag::Counted("SELECT"))),
        }
    }
    Err(SqlError::new(SqlState::T_R_SERIALIZATION_FAILURE, "could not serialize access due to concurrent update"))
}

/// Whether a statement's WITH writes.
fn has_written(bound: &Bound) -> bool {
    bound.steps.iter().any(|step| super::carry_out::writes(&step.kind))
}

/// All rows of a tree.
///
/// # Errors
/// 53200, and the query's.
pub(super) async fn collect(rel: &Rel, outputs: &[ColId], execution: crate::plan::Execution) -> Result<Kept> {
    let mut stream = crate::plan::run(rel, outputs, execution).await?;
    let mut kept = Kept::default();
    while let Some(batch) = stream.next().await {
        kept.push(batch?)?;
    }
    Ok(kept)
}
