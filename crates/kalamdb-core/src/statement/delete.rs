//! DELETE: as UPDATE, with tombstones in the place of new rows.

use super::Guard;
use super::carry_out::Touched;
use super::cursor;
use super::entries;
use super::query::{self, Relations};
use super::references::{self, Old};
use super::update::{Finder, Found, LockedRows};
use super::write::{Kept, ReturningProgram, Written, values_of};
use crate::relation::Relation;
use crate::standing::{Prepared, Standing};
use futures::StreamExt;
use kalamdb_commons::{Datum, Result};
use kalamdb_sql::bind::bound::BoundDelete;
use kalamdb_store::{LockStrength, RowVersion};
use std::sync::Arc;

/// Runs a DELETE. `None`: it has to start again, see [`Found::Restart`].
///
/// # Errors
/// 40001, 40P01, 55P03, and those of the expressions.
pub(super) async fn run(
    standing: &mut Standing,
    prepared: &Prepared,
    delete: &BoundDelete,
    relations: &Relations,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
    touched: &mut Touched,
) -> Result<Option<Written>> {
    let relation = relations[delete.need.0].clone();
    let with = values_of(standing, prepared.query()?, &values);
    let finder =
        Finder::new(&relation, &delete.source, &delete.target, delete.recheck.as_ref(), delete.restarts, &with)?;
    let returning = match &delete.returning {
        Some(returning) => Some(ReturningProgram::new(returning, &finder.columns, &with)?),
        None => None,
    };
    let outputs = finder.outputs();
    let mut source = match &delete.current_of {
        None => query::stream(standing, &delete.source, &outputs, prepared, relations, values.clone(), guard).await?,
        Some(cursor) => {
            let (rel, relations) = cursor::at_current(standing, cursor, delete.need, &delete.source, relations).await?;
            query::stream(standing, &rel, &outputs, prepared, &relations, values.clone(), guard).await?
        }
    };
    let mut written = Written { count: 0, returned: Kept::default() };
    let seen = touched.rows(relation.table()?.id);
    while let Some(batch) = source.next().await {
        match finder.lock(standing, &batch?, LockStrength::Update, seen).await? {
            Found::Rows(found) => {
                remove(standing, &relation, found, delete.purge, returning.as_ref(), &mut written).await?;
            }
            Found::Restart => return Ok(None),
        }
    }
    drop(source);
    if let Some(returning) = &returning {
        written.returned = returning.finished(standing, prepared, relations, values, guard, written.returned).await?;
    }
    Ok(Some(written))
}

async fn remove(
    standing: &mut Standing,
    relation: &Arc<Relation>,
    found: LockedRows,
    purge: bool,
    returning: Option<&ReturningProgram>,
    written: &mut Written,
) -> Result<()> {
    if let Some(returning) = returning {
        let old: Vec<(&[u8], &[u8])> =
            found.rows.iter().map(|(key, version)| (key.as_slice(), version.row.as_ref())).collect();
        written.returned.push(returning.rows(relation.table()?, &old, Some(&found.batch))?)?;
    }
    written.count += found.rows.len() as u64;
    remove_rows(standing, relation, found.rows, purge).await
}

/// Removes locked rows.
///
/// # Errors
/// 40P01, 55P03, 53200
pub(super) async fn remove_rows(
    standing: &mut Standing,
    relation: &Arc<Relation>,
    rows: Vec<(Vec<u8>, RowVersion)>,
    purge: bool,
) -> Result<()> {
    let old: Vec<Old<'_>> = rows.iter().map(Old::new).collect();
    references::deleted(standing, relation, &old)?;
    let indexes = entries::of(standing, relation.table()?)?;
    let gone = {
        let old: Vec<(&[u8], &[u8])> =
            rows.iter().map(|(key, version)| (key.as_slice(), version.row.as_ref())).collect();
        indexes.of_rows(&old)?
    };
    let wait = query::lock_wait(standing);
    for ((key, version), gone) in rows.into_iter().zip(gone) {
        relation.remove(standing.transaction(), &key, version, purge)?;
        for entry in &gone {
            relation.entry_remove(standing.transaction(), entry, &key, wait).await?;
        }
    }
    Ok(())
}
