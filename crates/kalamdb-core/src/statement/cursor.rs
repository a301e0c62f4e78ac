//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor's result is made when it is declared and kept: every direction, holding over COMMIT, and PostgreSQL's rule
//! that a cursor sees the state of its declaration follow from that. Its bound is the query memory of one statement.

use super::{Guard, Outcome, batch_of, carry_out, prepared, query, rows_of};
use crate::reply::{OutputColumn, Rows, RowsTag};
use crate::standing::{CursorFacts, Portal, PortalState, Standing};
use arrow_array::RecordBatch;
use futures::StreamExt;
use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_sql::Statement;
use kalamdb_sql::bind::bound::BoundKind;
use kalamdb_sql::parse::Parsed;
use kalamdb_sql::statement::{Declare, FetchDirection};
use std::sync::Arc;

/// The most bytes that a cursor keeps: beyond it 53200 (spilling comes with the language's cursors).
const CURSOR_BYTES_MAX: usize = 256 << 20;

/// DECLARE
///
/// # Errors
/// 25P01 outside a block without HOLD, 42P03, 53200, and the query's.
pub(super) async fn declare(standing: &mut Standing, declare: &Declare, guard: &Guard) -> Result<Outcome> {
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
    let Outcome::Rows(mut rows) = carry_out::run(standing, &prepared, &relations, Arc::default(), guard).await? else {
        return Err(SqlError::internal("a cursor without rows"));
    };
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > CURSOR_BYTES_MAX {
            return Err(SqlError::new(SqlState::OUT_OF_MEMORY, "the cursor's result is too large"));
        }
        batches.push(batch);
    }
    let count = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as i64;
    let cursor = CursorFacts {
        rows: Arc::new(batches),
        count,
        position: 0,
        hold: declare.hold,
        scroll: declare.scroll != Some(false),
    };
    let formats = if declare.binary { vec![1] } else { Vec::new() };
    let portal = Portal { prepared, values: Arc::default(), formats, state: PortalState::Done, cursor: Some(cursor) };
    standing.keep_portal(&declare.name, portal)?;
    Ok(Outcome::Command("DECLARE CURSOR".to_string()))
}

/// FETCH and MOVE.
///
/// # Errors
/// 34000; 55000 for backward movement of a NO SCROLL cursor.
pub(super) fn fetch(standing: &mut Standing, name: &str, direction: FetchDirection, moving: bool) -> Result<Outcome> {
    let portal = standing.portal(name)?;
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
    let portal = standing.portal(name)?;
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
        _ => vec![pick(&cursor.rows, places)?],
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

fn pick(batches: &[RecordBatch], places: &[i64]) -> Result<RecordBatch> {
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
    let columns = batches.first().map_or(0, RecordBatch::num_columns);
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
            standing.portal(name)?;
            standing.portals.remove(name);
        }
    }
    Ok(Outcome::Command(if name.is_none() { "CLOSE CURSOR ALL" } else { "CLOSE CURSOR" }.to_string()))
}
