//! The last look at a bound tree: scans keep the columns that somebody uses, and needs learn them.

use super::bound::{BoundKind, ColId, Need, OnConflict, Output, Rel, Returning, Scalar};
use super::walk;
use kalamdb_commons::ColumnId;
use std::collections::HashSet;

/// Leaves out what no expression and no output reads, and fills [`Need::columns`].
pub(super) fn prune(kind: &mut BoundKind, outputs: &[Output], needs: &mut [Need]) {
    let mut wanted: HashSet<ColId> = HashSet::new();
    match kind {
        BoundKind::Query(rel) => {
            wanted.extend(outputs.iter().map(|output| output.col));
            visit(rel, &mut wanted, needs);
        }
        BoundKind::Insert(insert) => {
            wanted.extend(insert.columns.iter().map(|(_, col)| col.id));
            returned(&mut insert.returning, &mut wanted, needs);
            if let Some(OnConflict::DoUpdate { existing, excluded, set, condition, need, .. }) = &mut insert.on_conflict
            {
                set.iter_mut().map(|(_, scalar)| scalar).chain(condition).for_each(|s| scalar(s, &mut wanted, needs));
                existing.retain(|(_, col)| wanted.contains(&col.id));
                excluded.retain(|(_, col)| wanted.contains(&col.id));
                needs[need.0].columns.extend(existing.iter().map(|(id, _)| *id));
            }
            visit(&mut insert.source, &mut wanted, needs);
        }
        BoundKind::Update(update) => {
            let keys = update.target.iter().filter(|(id, _)| *id == ColumnId::ROW_KEY);
            wanted.extend(keys.map(|(_, col)| col.id));
            returned(&mut update.returning, &mut wanted, needs);
            update.set.iter_mut().for_each(|(_, value)| scalar(value, &mut wanted, needs));
            update.recheck.iter_mut().for_each(|value| scalar(value, &mut wanted, needs));
            update.target.retain(|(_, col)| wanted.contains(&col.id));
            visit(&mut update.source, &mut wanted, needs);
        }
        BoundKind::Delete(delete) => {
            let keys = delete.target.iter().filter(|(id, _)| *id == ColumnId::ROW_KEY);
            wanted.extend(keys.map(|(_, col)| col.id));
            returned(&mut delete.returning, &mut wanted, needs);
            delete.recheck.iter_mut().for_each(|value| scalar(value, &mut wanted, needs));
            delete.target.retain(|(_, col)| wanted.contains(&col.id));
            visit(&mut delete.source, &mut wanted, needs);
        }
    }
}

fn returned(returning: &mut Option<Returning>, wanted: &mut HashSet<ColId>, needs: &mut [Need]) {
    let Some(returning) = returning else { return };
    returning.exprs.iter_mut().for_each(|(_, value)| scalar(value, wanted, needs));
    returning.row.retain(|(_, col)| wanted.contains(&col.id));
}

/// Adds what a scalar reads, and prunes the trees of its subqueries.
fn scalar(value: &mut Scalar, wanted: &mut HashSet<ColId>, needs: &mut [Need]) {
    match value {
        Scalar::Column(col) => {
            wanted.insert(col.id);
        }
        Scalar::Subquery(subquery) => {
            wanted.extend(subquery.columns.iter().map(|col| col.id));
            walk::operands_mut(value, &mut |operand| scalar(operand, wanted, needs));
            if let Scalar::Subquery(subquery) = value {
                visit(&mut subquery.rel, wanted, needs);
            }
            return;
        }
        _ => {}
    }
    walk::operands_mut(value, &mut |operand| scalar(operand, wanted, needs));
}

/// From the top down: when a node is met, all that stands above it is known.
fn visit(rel: &mut Rel, wanted: &mut HashSet<ColId>, needs: &mut [Need]) {
    match rel {
        Rel::Scan { need, columns } => {
            columns.retain(|(_, col)| wanted.contains(&col.id));
            let own = columns.iter().map(|(id, _)| *id).filter(|id| *id != ColumnId::ROW_KEY);
            needs[need.0].columns.extend(own);
            return;
        }
        Rel::Made { columns, .. } => {
            columns.retain(|(_, col)| wanted.contains(&col.id));
            return;
        }
        Rel::Narrow { columns, .. } => columns.retain(|col| wanted.contains(&col.id)),
        // What has effects is done though nobody looks at the result.
        Rel::Extend { input, columns } => {
            columns.retain(|(col, value)| wanted.contains(&col.id) || walk::is_volatile(value));
            if columns.is_empty() {
                let input = std::mem::replace(input.as_mut(), Rel::OneRow);
                *rel = input;
                return visit(rel, wanted, needs);
            }
        }
        Rel::Window { calls, .. } => calls.retain(|(col, _)| wanted.contains(&col.id)),
        Rel::Aggregate { aggregates, .. } => aggregates.retain(|(col, _)| wanted.contains(&col.id)),
        // Every column of the input counts for DISTINCT.
        Rel::Distinct { input, on: None } => wanted.extend(input.columns().iter().map(|col| col.id)),
        Rel::SetOperation { left: (_, left), right: (_, right), .. }
        | Rel::Recursive { seed: (_, left), step: (_, right), .. } => {
            wanted.extend(left.iter().chain(&*right).copied())
        }
        Rel::WorkTable { columns, .. } => wanted.extend(columns.iter().map(|col| col.id)),
        Rel::LockRows { targets, .. } => wanted.extend(targets.iter().map(|target| target.key)),
        _ => {}
    }
    walk::scalars_mut(rel, &mut |value| scalar(value, wanted, needs));
    match rel {
        // The right side may read the left's columns.
        Rel::Join { left, right, .. } => {
            visit(right, wanted, needs);
            visit(left, wanted, needs);
        }
        _ => walk::inputs_mut(rel, &mut |input| visit(input, wanted, needs)),
    }
}
