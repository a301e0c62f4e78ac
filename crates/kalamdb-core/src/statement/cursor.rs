//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor's result is made when it is declared and kept: every direction, holding over COMMIT, and PostgreSQL's rule
//! that a cursor sees the state of its declaration follow from that. Its bound is the query memory of one statement.

use super::query::Relations;
use super::write::{Kept, key_column};
use super::{Guard, Outcome, batch_of, carry_out, prepared, query, rows_of};
use crate::reply::{OutputColumn, Rows, RowsTag};
use crate::standing::{CursorFacts, Portal, PortalState, Prepared, Standing};
use arrow_array::RecordBatch;
use futures::StreamExt;
use kalamdb_commons::{ColumnId, PgType, Result, SqlError, SqlState, SqlType, TableId};
use kalamdb_sql::Statement;
use kalamdb_sql::bind;
use kalamdb_sql::bind::bound::{Bound, BoundKind, Col, ColId, NeedId, Output, Rel};
use kalamdb_sql::parse::Parsed;
use kalamdb_sql::statement::ast::LockType;
use kalamdb_sql::statement::{Declare, FetchDirection};
use std::sync::Arc;

/// DECLARE
///
/// # Errors
/// 25P01 outside a block without HOLD, 42P03, 53200, and the query's.
pub(super) async fn declare(standing: &mut Standing, declare: &Declare, whole: &str, guard: &Guard) -> Result<Outcome> {
    if !declare.hold {
        standing.inside_block("DECLARE CURSOR")?;
    }
    let parsed = Parsed { statement: Statement::Query(declare.query.clone()), text: declare.text.clone(), offset: 0 };
    let prepared = Arc::new(prepared::prepare(standing, parsed, Vec::new(), true)?);
    if !prepared.parameters.is_empty() {
        return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1"));
    }
    let (prepared, relations) = query::relations(standing, &prepared).await?;
    let bound = prepared.bound.clone().ok_or_else(|| SqlError::internal("a cursor without a bound tree"))?;
    if !matches!(bound.kind, BoundKind::Query(_)) {
        return Err(SqlError::unsupported("a cursor over a statement that writes"));
    }
    if bound.steps.iter().any(|step| carry_out::writes(&step.kind)) {
        let message = "DECLARE CURSOR must not contain data-modifying statements in WITH";
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    refuse_locks(declare)?;
    let (prepared, keys) = with_keys(prepared, &bound);
    let Outcome::Rows(mut rows) = carry_out::run(standing, &prepared, &relations, Arc::default(), guard).await? else {
        return Err(SqlError::internal("a cursor without rows"));
    };
    let mut kept = Kept::default();
    while let Some(batch) = rows.batches.next().await {
        kept.push(batch?)?;
    }
    let batches = kept.batches;
    let count = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as i64;
    let cursor = CursorFacts {
        rows: Arc::new(batches),
        count,
        position: 0,
        hold: declare.hold,
        scroll: declare.scroll != Some(false),
        binary: declare.binary,
        statement: whole.to_string(),
        created_at: standing.started_at().1,
        keys,
        depth: Some(standing.savepoint_count()),
    };
    let formats = if declare.binary { vec![1] } else { Vec::new() };
    let portal = Portal { prepared, values: Arc::default(), formats, state: PortalState::Done, cursor: Some(cursor) };
    standing.keep_portal(&declare.name, portal)?;
    Ok(Outcome::Command("DECLARE CURSOR".to_string()))
}

/// What PostgreSQL allows of FOR UPDATE in a cursor.
fn refuse_locks(declare: &Declare) -> Result<()> {
    let Some(lock) = declare.query.locks.first() else { return Ok(()) };
    let clause = match lock.lock_type {
        LockType::Share => "FOR SHARE",
        LockType::Update => "FOR UPDATE",
    };
    let (state, what, detail) = match () {
        () if declare.hold => (SqlState::FEATURE_NOT_SUPPORTED, "DECLARE CURSOR WITH HOLD", "Holdable"),
        () if declare.scroll == Some(true) => (SqlState::FEATURE_NOT_SUPPORTED, "DECLARE SCROLL CURSOR", "Scrollable"),
        () if declare.insensitive => {
            let message = format!("DECLARE INSENSITIVE CURSOR ... {clause} is not valid");
            return Err(SqlError::new(SqlState::INVALID_CURSOR_DEFINITION, message)
                .with_detail("Insensitive cursors must be READ ONLY."));
        }
        () => return Ok(()),
    };
    let message = format!("{what} ... {clause} is not supported");
    Err(SqlError::new(state, message).with_detail(format!("{detail} cursors must be READ ONLY.")))
}

/// The statement with the keys of its rows behind its columns, where each of them is one row of a table; whose they
/// are, and where they stand.
fn with_keys(prepared: Arc<Prepared>, bound: &Bound) -> (Arc<Prepared>, Vec<(TableId, usize)>) {
    let BoundKind::Query(rel) = &bound.kind else { return (prepared, Vec::new()) };
    let mut rel = rel.clone();
    let mut found = Vec::new();
    key_columns(&mut rel, &mut found);
    if found.is_empty() {
        return (prepared, Vec::new());
    }
    let ids: Vec<Col> = found.iter().map(|(_, col)| *col).collect();
    let mut outputs = bound.outputs.clone();
    let mut keys = Vec::with_capacity(found.len());
    for (need, col) in found {
        keys.push((bound.needs[need.0].table, outputs.len()));
        outputs.push(Output { col: col.id, name: String::new(), ty: col.ty, origin: None });
    }
    keep_columns(&mut rel, &ids);
    let bound = Bound { kind: BoundKind::Query(rel), outputs, ..bound.clone() };
    let with_keys = Prepared {
        parsed: prepared.parsed.clone(),
        bound: Some(Arc::new(bound)),
        parameters: prepared.parameters.clone(),
        declared: prepared.declared.clone(),
        columns: prepared.columns.clone(),
        point: None,
        basis: prepared.basis.clone(),
        types_version: prepared.types_version,
        by_sql: true,
        source: prepared.source.clone(),
        prepared_at: prepared.prepared_at,
        executed: std::sync::atomic::AtomicI64::new(0),
    };
    (Arc::new(with_keys), keys)
}

/// The key columns of a query whose rows are rows of its tables: those that it locks, or those of its one scan.
fn key_columns(rel: &mut Rel, found: &mut Vec<(NeedId, Col)>) {
    match rel {
        Rel::LockRows { targets, .. } => {
            let key = |id| Col { id, ty: SqlType::Bytea.into(), nullable: true };
            found.extend(targets.iter().map(|target| (target.need, key(target.key))));
        }
        Rel::Scan { need, columns } => {
            let known = columns.iter().find(|(id, _)| *id == ColumnId::ROW_KEY).map(|(_, col)| *col);
            // A number that binding does not reach, and planning begins above.
            let col = known.unwrap_or(Col { id: ColId(KEY_COLUMN), ty: SqlType::Bytea.into(), nullable: false });
            if known.is_none() {
                columns.push((ColumnId::ROW_KEY, col));
            }
            found.push((*need, col));
        }
        Rel::Extend { input, .. }
        | Rel::Narrow { input, .. }
        | Rel::Filter { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. } => key_columns(input, found),
        _ => {}
    }
}

/// The number of the column that carries a scan's keys.
const KEY_COLUMN: u32 = 1 << 30;

/// Lets columns through to the top.
fn keep_columns(rel: &mut Rel, kept: &[Col]) {
    match rel {
        Rel::Narrow { input, columns } => {
            let missing = kept.iter().filter(|col| !columns.iter().any(|other| other.id == col.id)).copied();
            let missing: Vec<Col> = missing.collect();
            columns.extend(missing);
            keep_columns(input, kept);
        }
        Rel::Extend { input, .. }
        | Rel::Filter { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. }
        | Rel::LockRows { input, .. } => keep_columns(input, kept),
        _ => {}
    }
}

/// WHERE CURRENT OF: the source with the cursor's row, as it is now, in the place of the table's.
///
/// # Errors
/// 34000 and 24000.
pub(super) async fn at_current(
    standing: &mut Standing,
    name: &str,
    need: NeedId,
    source: &Rel,
    relations: &Relations,
) -> Result<(Rel, Relations)> {
    let relation = relations[need.0].clone();
    let table = relation.table()?.clone();
    let state = |message: String| SqlError::new(SqlState::INVALID_CURSOR_STATE, message);
    let key: Vec<u8> = {
        let portal = standing.portals.get(name);
        let cursor = portal
            .and_then(|portal| portal.cursor.as_ref())
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_CURSOR, format!("cursor \"{name}\" does not exist")))?;
        let Some((_, at)) = cursor.keys.iter().find(|(id, _)| *id == table.id) else {
            let message = format!("cursor \"{name}\" is not a simply updatable scan of table \"{}\"", table.name);
            return Err(state(message));
        };
        if !(1..=cursor.count).contains(&cursor.position) {
            return Err(state(format!("cursor \"{name}\" is not positioned on a row")));
        }
        let row = pick(&cursor.rows, &[cursor.position], at + 1)?;
        key_column(&row, *at)?.value(0).to_vec()
    };
    let mut source = source.clone();
    let step = relations.made().len();
    let mut columns = Vec::new();
    place_row(&mut source, need, step, &mut columns);
    let ids: Vec<ColumnId> = columns.iter().map(|(id, _)| *id).collect();
    let types: Vec<PgType> = columns.iter().map(|(_, col)| col.ty).collect();
    let row = relation.row_of(&standing.view(), &key, &ids).await?;
    let mut made = relations.made().to_vec();
    made.push(crate::plan::made_rows(table.name.as_str(), &types, row.as_slice())?);
    Ok((source, relations.with_made(made)))
}

fn place_row(rel: &mut Rel, need: NeedId, step: usize, found: &mut Vec<(ColumnId, Col)>) {
    if let Rel::Scan { need: scanned, columns } = rel
        && *scanned == need
    {
        found.clone_from(columns);
        let columns = columns.iter().map(|(_, col)| *col).enumerate().collect();
        *rel = Rel::Made { step, columns };
        return;
    }
    bind::walk::inputs_mut(rel, &mut |input| place_row(input, need, step, found));
}

/// FETCH and MOVE.
///
/// # Errors
/// 34000; 55000 for backward movement of a NO SCROLL cursor.
pub(super) fn fetch(standing: &mut Standing, name: &str, direction: FetchDirection, moving: bool) -> Result<Outcome> {
    let portal = standing.cursor(name)?;
    let columns = portal.prepared.columns.clone();
    let Some(cursor) = &mut portal.cursor else {
        return Err(SqlError::new(SqlState::UNDEFINED_CURSOR, format!("cursor \"{name}\" does not exist")));
    };
    let places = step(cursor, direction)?;
    let count = places.len();
    if moving {
        return Ok(Outcome::Command(format!("MOVE {count}")));
    }
    passed(cursor, columns, &places, "FETCH").map(Outcome::Rows)
}

/// Execute of a cursor: FETCH FORWARD of so many rows (0: all), with SELECT's tag.
///
/// # Errors
/// 34000
pub(crate) fn execute(standing: &mut Standing, name: &str, rows_max: u64) -> Result<Rows> {
    let portal = standing.cursor(name)?;
    let columns = portal.prepared.columns.clone();
    let cursor = portal.cursor.as_mut().ok_or_else(|| SqlError::internal("a portal that is no cursor"))?;
    let wanted = match rows_max {
        0 => i64::MAX,
        limit => i64::try_from(limit).unwrap_or(i64::MAX),
    };
    let places = step(cursor, FetchDirection::Forward(wanted))?;
    passed(cursor, columns, &places, "SELECT")
}

/// The rows that a cursor passed.
fn passed(
    cursor: &CursorFacts,
    columns: Option<Arc<[OutputColumn]>>,
    places: &[i64],
    tag: &'static str,
) -> Result<Rows> {
    let batches = match places.len() {
        0 => Vec::new(),
        _ => {
            // The keys at the end are nobody's but WHERE CURRENT OF's.
            let columns = columns.as_ref().map_or(0, |columns| columns.len());
            vec![pick(&cursor.rows, places, columns)?]
        }
    };
    Ok(rows_of(columns.unwrap_or_else(|| Arc::from([])), batches, RowsTag::Counted(tag)))
}

/// Moves the cursor; the places (from 1) of the rows that were passed, in order (PostgreSQL manual, FETCH).
fn step(cursor: &mut CursorFacts, direction: FetchDirection) -> Result<Vec<i64>> {
    let (count, at) = (cursor.count, cursor.position);
    let backward = match direction {
        FetchDirection::Forward(n) => n < 0,
        FetchDirection::Backward(n) => n > 0,
        FetchDirection::Absolute(n) => n < 0 || n < at,
        FetchDirection::Relative(n) => n < 0,
    };
    if backward && !cursor.scroll {
        return Err(SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
            .with_hint("Declare it with SCROLL option to enable backward scan."));
    }
    let one = |cursor: &mut CursorFacts, place: i64| {
        cursor.position = place.clamp(0, count + 1);
        if (1..=count).contains(&place) { vec![place] } else { Vec::new() }
    };
    Ok(match direction {
        FetchDirection::Forward(0) | FetchDirection::Backward(0) | FetchDirection::Relative(0) => one(cursor, at),
        FetchDirection::Forward(n) if n > 0 => {
            let end = at.saturating_add(n).min(count);
            cursor.position = if at.saturating_add(n) > count { count + 1 } else { end };
            (at + 1..=end).collect()
        }
        FetchDirection::Forward(n) => back(cursor, n.saturating_neg()),
        FetchDirection::Backward(n) if n > 0 => back(cursor, n),
        FetchDirection::Backward(n) => return step(cursor, FetchDirection::Forward(n.saturating_neg())),
        FetchDirection::Absolute(n) if n < 0 => one(cursor, count.saturating_add(n).saturating_add(1)),
        FetchDirection::Absolute(n) => one(cursor, n),
        FetchDirection::Relative(n) => one(cursor, at.saturating_add(n)),
    })
}

fn back(cursor: &mut CursorFacts, n: i64) -> Vec<i64> {
    let from = cursor.position - 1;
    let to = cursor.position.saturating_sub(n).max(1);
    cursor.position = cursor.position.saturating_sub(n).max(0);
    (to..=from).rev().collect()
}

fn pick(batches: &[RecordBatch], places: &[i64], columns: usize) -> Result<RecordBatch> {
    let mut starts = Vec::with_capacity(batches.len());
    let mut total = 0;
    for batch in batches {
        starts.push(total);
        total += batch.num_rows();
    }
    let indices: Vec<(usize, usize)> = places
        .iter()
        .map(|place| {
            let row = (*place - 1) as usize;
            let batch = starts.partition_point(|start| *start <= row) - 1;
            (batch, row - starts[batch])
        })
        .collect();
    let arrays = (0..columns)
        .map(|column| {
            let sources: Vec<&dyn arrow_array::Array> =
                batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            arrow_select::interleave::interleave(&sources, &indices).map_err(SqlError::internal)
        })
        .collect::<Result<Vec<_>>>()?;
    batch_of(arrays, places.len())
}

/// CLOSE
///
/// # Errors
/// 34000
pub(super) fn close(standing: &mut Standing, name: Option<&str>) -> Result<Outcome> {
    match name {
        None => standing.portals.retain(|_, portal| portal.cursor.is_none()),
        Some(name) => {
            standing.cursor(name)?;
            standing.portals.remove(name);
        }
    }
    Ok(Outcome::Command(if name.is_none() { "CLOSE CURSOR ALL" } else { "CLOSE CURSOR" }.to_string()))
}
