//! Correlated trees made uncorrelated: an inner tree whose outer columns stand in filters only becomes one that knows
//! no outer columns, and the predicates that its join with the outer tree has to test.
//!
//! `EXISTS` and `IN` become semi joins so, lateral subqueries become joins, and aggregates over matching rows become
//! groups by what they match. Column numbers are unique in a statement, so predicates move without being renamed.
//! What does not fit is left to `Apply`, which is slower and always right.

use super::running::Statement;
use kalamdb_commons::{Datum, SqlType};
use kalamdb_sql::bind::bound::{Col, ColId, CompareOp, JoinKind, Rel, Scalar, Subquery, SubqueryKind};
use kalamdb_sql::bind::walk;
use std::collections::HashSet;

/// A tree without outer columns, and what is left to do where they are known.
pub(super) struct Pulled {
    /// The tree; it makes all columns that are needed, and maybe more.
    pub(super) rel: Rel,
    /// True for the rows that match an outer row.
    pub(super) predicates: Vec<Scalar>,
    /// Columns whose expressions read outer columns, to be computed after the join, in this order.
    pub(super) late: Vec<(Col, Scalar)>,
}

/// What the rows of the pulled tree are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Only whether there is a matching one.
    Match,
    /// Each of them.
    Rows,
}

/// Pulls the outer columns of a tree up into predicates; `None` where that would change the answer.
pub(super) fn pull(rel: &Rel, what: Use) -> Option<Pulled> {
    if walk::free_columns(rel).is_empty() {
        return Some(Pulled { rel: rel.clone(), predicates: Vec::new(), late: Vec::new() });
    }
    match rel {
        Rel::Filter { input, predicate } => {
            let mut pulled = pull(input, what)?;
            let (inner, outer) = split(predicate, &pulled)?;
            pulled.predicates.extend(outer);
            if !inner.is_empty() {
                pulled.rel = Rel::Filter { input: Box::new(pulled.rel), predicate: Scalar::And(inner) };
            }
            Some(pulled)
        }
        // The predicates may read more than what is kept.
        Rel::Narrow { input, .. } => pull(input, what),
        Rel::Sort { input, .. } if what == Use::Match => pull(input, what),
        Rel::Distinct { input, on: None } if what == Use::Match => pull(input, what),
        Rel::Extend { input, columns } => {
            let mut pulled = pull(input, what)?;
            let mut here = Vec::new();
            for (col, scalar) in columns {
                let scalar = with_late(scalar, &pulled.late);
                if is_made(&scalar, &pulled.rel) {
                    here.push((*col, scalar));
                } else {
                    pulled.late.push((*col, scalar));
                }
            }
            if !here.is_empty() {
                pulled.rel = Rel::Extend { input: Box::new(pulled.rel), columns: here };
            }
            Some(pulled)
        }
        Rel::Join { kind: JoinKind::Inner, left, right, on, lateral: false } => {
            let (left, right) = (pull(left, what)?, pull(right, what)?);
            let rel = Rel::Join {
                kind: JoinKind::Inner,
                left: Box::new(left.rel),
                right: Box::new(right.rel),
                on: Scalar::truth(),
                lateral: false,
            };
            let predicates = left.predicates.into_iter().chain(right.predicates).collect();
            let late = left.late.into_iter().chain(right.late).collect();
            let mut pulled = Pulled { rel, predicates, late };
            let (inner, outer) = split(on, &pulled)?;
            pulled.predicates.extend(outer);
            if let Rel::Join { on, .. } = &mut pulled.rel {
                *on = Scalar::And(inner);
            }
            Some(pulled)
        }
        Rel::Join { kind: JoinKind::Left, left, right, on, lateral: false } => {
            // Only the side that is kept may be thinned later.
            let pulled = pull(left, what)?;
            let joined = Rel::Join {
                kind: JoinKind::Left,
                left: Box::new(pulled.rel),
                right: right.clone(),
                on: with_late(on, &pulled.late),
                lateral: false,
            };
            walk::free_columns(&joined).is_empty().then_some(Pulled { rel: joined, ..pulled })
        }
        _ => None,
    }
}

/// The parts of a predicate that the tree can test itself, and those that read outer columns.
fn split(predicate: &Scalar, pulled: &Pulled) -> Option<(Vec<Scalar>, Vec<Scalar>)> {
    let (mut inner, mut outer) = (Vec::new(), Vec::new());
    for part in conjuncts(predicate) {
        let part = with_late(part, &pulled.late);
        if is_made(&part, &pulled.rel) {
            inner.push(part);
        } else if walk::has_subquery(&part) {
            return None;
        } else {
            outer.push(part);
        }
    }
    Some((inner, outer))
}

/// The scalar with the expressions of late columns in their places.
pub(super) fn with_late(scalar: &Scalar, late: &[(Col, Scalar)]) -> Scalar {
    late.iter().rev().fold(scalar.clone(), |scalar, (col, expr)| {
        if walk::columns_used(&scalar).iter().any(|used| used.id == col.id) {
            walk::replace(&scalar, col.id, expr)
        } else {
            scalar
        }
    })
}

/// Whether the tree makes every column that the scalar reads.
pub(super) fn is_made(scalar: &Scalar, rel: &Rel) -> bool {
    let made = ids(rel);
    walk::columns_used(scalar).iter().all(|col| made.contains(&col.id))
}

/// The columns that a tree makes.
pub(super) fn ids(rel: &Rel) -> HashSet<ColId> {
    rel.columns().iter().map(|col| col.id).collect()
}

/// The parts of a predicate that must all be true.
pub(super) fn conjuncts(predicate: &Scalar) -> Vec<&Scalar> {
    match predicate {
        Scalar::And(items) => items.iter().flat_map(conjuncts).collect(),
        Scalar::Const(Datum::Bool(true), _) => Vec::new(),
        other => vec![other],
    }
}

/// A part of a WHERE clause that is a semi or an anti join.
pub(super) struct SemiJoin {
    /// The inner tree.
    pub(super) rel: Rel,
    /// What matches.
    pub(super) condition: Vec<Scalar>,
    /// NOT EXISTS.
    pub(super) anti: bool,
}

/// The join that a part of a WHERE clause is, if it is one.
pub(super) fn semi_join(part: &Scalar) -> Option<SemiJoin> {
    match part {
        Scalar::Subquery(subquery) => exists(subquery, false).or_else(|| any(subquery)),
        Scalar::Not(inner) => match inner.as_ref() {
            Scalar::Subquery(subquery) => exists(subquery, true),
            _ => None,
        },
        _ => None,
    }
}

fn exists(subquery: &Subquery, anti: bool) -> Option<SemiJoin> {
    if !matches!(subquery.kind, SubqueryKind::Exists) {
        return None;
    }
    let pulled = pull(unlimited(&subquery.rel), Use::Match)?;
    // Without a condition it is the same for all rows: a constant, found before.
    (!pulled.predicates.is_empty()).then_some(SemiJoin { rel: pulled.rel, condition: pulled.predicates, anti })
}

/// A tree without the LIMIT that does not change whether it has rows.
fn unlimited(rel: &Rel) -> &Rel {
    match rel {
        Rel::Limit { input, offset: None, count: Some(Scalar::Const(count, _)) }
            if count.as_i64().is_some_and(|count| count > 0) =>
        {
            input
        }
        Rel::Narrow { input, .. } => unlimited(input),
        other => other,
    }
}

fn any(subquery: &Subquery) -> Option<SemiJoin> {
    let SubqueryKind::Quantified { test, all: false } = &subquery.kind else { return None };
    let pulled = pull(&subquery.rel, Use::Match)?;
    let mut condition = pulled.predicates;
    condition.extend(conjuncts(&with_late(test, &pulled.late)).into_iter().cloned());
    // A join's condition has no place for another subquery, be it the test's or one of the inner select list.
    if condition.iter().any(walk::has_subquery) {
        return None;
    }
    Some(SemiJoin { rel: pulled.rel, condition, anti: false })
}

/// A scalar subquery over an aggregate of matching rows, as groups to be joined.
pub(super) struct Grouped {
    /// Groups of all rows by what they match.
    pub(super) rel: Rel,
    /// Which group belongs to an outer row.
    pub(super) on: Vec<Scalar>,
    /// What is computed where the outer row and its group (NULLs without one) stand together.
    pub(super) columns: Vec<(Col, Scalar)>,
    /// The subquery's value.
    pub(super) value: Scalar,
}

/// The groups that stand for a scalar subquery, if it is an aggregate of the rows that are equal in something.
pub(super) fn grouped(subquery: &Subquery, statement: &Statement) -> Option<Grouped> {
    let SubqueryKind::Scalar = subquery.kind else { return None };
    let mut above = Vec::new();
    let mut rel = &subquery.rel;
    let (input, aggregates) = loop {
        match rel {
            Rel::Narrow { input, .. } => rel = input,
            Rel::Extend { input, columns } if columns.iter().all(|(_, scalar)| !walk::has_subquery(scalar)) => {
                above.push(columns);
                rel = input;
            }
            Rel::Aggregate { input, keys, sets: None, aggregates } if keys.is_empty() => break (input, aggregates),
            _ => return None,
        }
    };
    let pulled = pull(input, Use::Rows)?;
    if !pulled.late.is_empty() || pulled.predicates.is_empty() {
        return None;
    }
    let (mut keys, mut on) = (Vec::new(), Vec::new());
    for predicate in pulled.predicates {
        let Scalar::Compare(CompareOp::Eq, left, right) = predicate else { return None };
        let (outer, inner) = match (is_made(&left, &pulled.rel), is_made(&right, &pulled.rel)) {
            (false, true) => (left, right),
            (true, false) => (right, left),
            _ => return None,
        };
        let made = ids(&pulled.rel);
        if walk::columns_used(&outer).iter().any(|col| made.contains(&col.id)) {
            return None;
        }
        let key = statement.column(inner.ty());
        on.push(Scalar::Compare(CompareOp::Eq, outer, Box::new(Scalar::Column(key))));
        keys.push((key, *inner));
    }
    let mut columns = Vec::new();
    let mut groups = Vec::new();
    for (col, call) in aggregates {
        let reads_outer = call.args.iter().chain(&call.filter).chain(call.order_by.iter().map(|key| &key.expr));
        if !reads_outer.clone().all(|scalar| is_made(scalar, &pulled.rel)) {
            return None;
        }
        match call.function.name {
            // Of no rows: 0. An outer row without a group has none.
            "count" | "regr_count" => {
                let group = Col { nullable: true, ..statement.column(col.ty) };
                groups.push((group, call.clone()));
                let zero = Scalar::Const(Datum::Int8(0), SqlType::Int8.into());
                columns.push((*col, Scalar::Coalesce(vec![Scalar::Column(group), zero], col.ty)));
            }
            "rank" | "dense_rank" | "percent_rank" | "cume_dist" => return None,
            // Of no rows: NULL.
            _ => groups.push((*col, call.clone())),
        }
    }
    columns.extend(above.into_iter().rev().flatten().cloned());
    let rel = Rel::Aggregate { input: Box::new(pulled.rel), keys, sets: None, aggregates: groups };
    Some(Grouped { rel, on, columns, value: Scalar::Column(*subquery.columns.first()?) })
}

/// A lateral right side that is a chain over one row (a function call, a computed value) is the same chain over the
/// left side.
pub(super) fn chained(left: &Rel, right: &Rel) -> Option<Rel> {
    Some(match right {
        Rel::OneRow => left.clone(),
        Rel::Extend { input, columns } => {
            Rel::Extend { input: Box::new(chained(left, input)?), columns: columns.clone() }
        }
        Rel::Filter { input, predicate } => {
            Rel::Filter { input: Box::new(chained(left, input)?), predicate: predicate.clone() }
        }
        Rel::Narrow { input, columns } => {
            let input = Box::new(chained(left, input)?);
            let columns = left.columns().into_iter().chain(columns.iter().copied()).collect();
            Rel::Narrow { input, columns }
        }
        Rel::ProjectSet { input, calls, ordinality } => {
            Rel::ProjectSet { input: Box::new(chained(left, input)?), calls: calls.clone(), ordinality: *ordinality }
        }
        _ => return None,
    })
}
