//! Ways through a bound tree: children, free columns, replacement, renumbering, equality.
//!
//! Column numbers are unique in a statement, so none of these has to know about scopes.

use super::bound::{
    AggregateCall, Bounds, Col, ColId, FrameBound, Rel, Scalar, SetCall, SortKey, Subquery, SubqueryKind, WindowCall,
};
use crate::function::Volatility;
use kalamdb_commons::{PgType, SqlType};
use std::collections::{HashMap, HashSet};

/// Calls `f` with each direct operand of a scalar (a subquery's test is one; its tree is not entered).
pub fn operands<'a>(scalar: &'a Scalar, f: &mut dyn FnMut(&'a Scalar)) {
    match scalar {
        Scalar::Column(_) | Scalar::Const(..) | Scalar::Param(..) | Scalar::Session(..) => {}
        Scalar::Call { args, .. } => args.iter().for_each(f),
        Scalar::Compare(_, left, right) => {
            f(left);
            f(right);
        }
        Scalar::Subscript(array, places, _) => {
            f(array);
            places.iter().for_each(f);
        }
        Scalar::And(items) | Scalar::Or(items) | Scalar::Coalesce(items, _) | Scalar::Array(items, _) => {
            items.iter().for_each(f)
        }
        Scalar::Not(operand)
        | Scalar::IsNull(operand)
        | Scalar::Relabel(operand, _)
        | Scalar::ThroughText(operand, _) => f(operand),
        Scalar::InList(operand, items) => {
            f(operand);
            items.iter().for_each(f);
        }
        Scalar::Case { branches, otherwise, .. } => {
            for (when, then) in branches {
                f(when);
                f(then);
            }
            otherwise.iter().for_each(|otherwise| f(otherwise));
        }
        Scalar::Slice(array, subscripts) => {
            f(array);
            subscripts.iter().flat_map(|bounds| bounds.low.iter().chain(&bounds.high)).for_each(f);
        }
        Scalar::Each(each) => {
            f(&each.array);
            f(&each.expr);
        }
        Scalar::Subquery(subquery) => {
            if let SubqueryKind::Quantified { test, .. } = &subquery.kind {
                f(test);
            }
        }
    }
}

/// As [`operands`], to change them.
pub fn operands_mut(scalar: &mut Scalar, f: &mut dyn FnMut(&mut Scalar)) {
    match scalar {
        Scalar::Column(_) | Scalar::Const(..) | Scalar::Param(..) | Scalar::Session(..) => {}
        Scalar::Call { args, .. } => args.iter_mut().for_each(f),
        Scalar::Compare(_, left, right) => {
            f(left);
            f(right);
        }
        Scalar::Subscript(array, places, _) => {
            f(array);
            places.iter_mut().for_each(f);
        }
        Scalar::And(items) | Scalar::Or(items) | Scalar::Coalesce(items, _) | Scalar::Array(items, _) => {
            items.iter_mut().for_each(f)
        }
        Scalar::Not(operand)
        | Scalar::IsNull(operand)
        | Scalar::Relabel(operand, _)
        | Scalar::ThroughText(operand, _) => f(operand),
        Scalar::InList(operand, items) => {
            f(operand);
            items.iter_mut().for_each(f);
        }
        Scalar::Case { branches, otherwise, .. } => {
            for (when, then) in branches {
                f(when);
                f(then);
            }
            otherwise.iter_mut().for_each(|otherwise| f(otherwise));
        }
        Scalar::Slice(array, subscripts) => {
            f(array);
            subscripts.iter_mut().flat_map(|bounds| bounds.low.iter_mut().chain(&mut bounds.high)).for_each(f);
        }
        Scalar::Each(each) => {
            f(&mut each.array);
            f(&mut each.expr);
        }
        Scalar::Subquery(subquery) => {
            if let SubqueryKind::Quantified { test, .. } = &mut subquery.kind {
                f(test);
            }
        }
    }
}

/// Calls `f` with each node below this one.
pub fn inputs<'a>(rel: &'a Rel, f: &mut dyn FnMut(&'a Rel)) {
    match rel {
        Rel::OneRow | Rel::Scan { .. } | Rel::Values { .. } | Rel::WorkTable { .. } | Rel::Made { .. } => {}
        Rel::Extend { input, .. }
        | Rel::Narrow { input, .. }
        | Rel::Filter { input, .. }
        | Rel::Aggregate { input, .. }
        | Rel::Window { input, .. }
        | Rel::ProjectSet { input, .. }
        | Rel::Distinct { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. }
        | Rel::LockRows { input, .. } => f(input),
        Rel::Join { left, right, .. } => {
            f(left);
            f(right);
        }
        Rel::SetOperation { left: (left, _), right: (right, _), .. }
        | Rel::Recursive { seed: (left, _), step: (right, _), .. } => {
            f(left);
            f(right);
        }
    }
}

/// As [`inputs`], to change them.
pub fn inputs_mut(rel: &mut Rel, f: &mut dyn FnMut(&mut Rel)) {
    match rel {
        Rel::OneRow | Rel::Scan { .. } | Rel::Values { .. } | Rel::WorkTable { .. } | Rel::Made { .. } => {}
        Rel::Extend { input, .. }
        | Rel::Narrow { input, .. }
        | Rel::Filter { input, .. }
        | Rel::Aggregate { input, .. }
        | Rel::Window { input, .. }
        | Rel::ProjectSet { input, .. }
        | Rel::Distinct { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. }
        | Rel::LockRows { input, .. } => f(input),
        Rel::Join { left, right, .. } => {
            f(left);
            f(right);
        }
        Rel::SetOperation { left: (left, _), right: (right, _), .. }
        | Rel::Recursive { seed: (left, _), step: (right, _), .. } => {
            f(left);
            f(right);
        }
    }
}

/// Calls `f` with each scalar of this node, not of those below.
pub fn scalars<'a>(rel: &'a Rel, f: &mut dyn FnMut(&'a Scalar)) {
    match rel {
        Rel::Values { rows, .. } => rows.iter().flatten().for_each(f),
        Rel::Extend { columns, .. } => columns.iter().for_each(|(_, scalar)| f(scalar)),
        Rel::Filter { predicate, .. } => f(predicate),
        Rel::Join { on, .. } => f(on),
        Rel::Aggregate { keys, aggregates, .. } => {
            keys.iter().for_each(|(_, scalar)| f(scalar));
            aggregates.iter().for_each(|(_, call)| aggregate_scalars(call, f));
        }
        Rel::Window { calls, .. } => calls.iter().for_each(|(_, call)| window_scalars(call, f)),
        Rel::ProjectSet { calls, .. } => calls.iter().flat_map(|(_, call)| &call.args).for_each(f),
        Rel::Distinct { on, .. } => on.iter().flatten().for_each(f),
        Rel::Sort { keys, .. } => keys.iter().for_each(|key| f(&key.expr)),
        Rel::Limit { offset, count, .. } => offset.iter().chain(count).for_each(f),
        _ => {}
    }
}

/// As [`scalars`], to change them.
pub fn scalars_mut(rel: &mut Rel, f: &mut dyn FnMut(&mut Scalar)) {
    match rel {
        Rel::Values { rows, .. } => rows.iter_mut().flatten().for_each(f),
        Rel::Extend { columns, .. } => columns.iter_mut().for_each(|(_, scalar)| f(scalar)),
        Rel::Filter { predicate, .. } => f(predicate),
        Rel::Join { on, .. } => f(on),
        Rel::Aggregate { keys, aggregates, .. } => {
            keys.iter_mut().for_each(|(_, scalar)| f(scalar));
            aggregates.iter_mut().for_each(|(_, call)| aggregate_scalars_mut(call, f));
        }
        Rel::Window { calls, .. } => calls.iter_mut().for_each(|(_, call)| window_scalars_mut(call, f)),
        Rel::ProjectSet { calls, .. } => calls.iter_mut().flat_map(|(_, call)| &mut call.args).for_each(f),
        Rel::Distinct { on, .. } => on.iter_mut().flatten().for_each(f),
        Rel::Sort { keys, .. } => keys.iter_mut().for_each(|key| f(&mut key.expr)),
        Rel::Limit { offset, count, .. } => offset.iter_mut().chain(count).for_each(f),
        _ => {}
    }
}

fn aggregate_scalars<'a>(call: &'a AggregateCall, f: &mut dyn FnMut(&'a Scalar)) {
    call.args.iter().for_each(&mut *f);
    call.order_by.iter().for_each(|key| f(&key.expr));
    call.filter.iter().for_each(f);
}

pub(super) fn aggregate_scalars_mut(call: &mut AggregateCall, f: &mut dyn FnMut(&mut Scalar)) {
    call.args.iter_mut().for_each(&mut *f);
    call.order_by.iter_mut().for_each(|key| f(&mut key.expr));
    call.filter.iter_mut().for_each(f);
}

fn window_scalars<'a>(call: &'a WindowCall, f: &mut dyn FnMut(&'a Scalar)) {
    call.args.iter().chain(&call.filter).chain(&call.partition_by).for_each(&mut *f);
    call.order_by.iter().for_each(|key| f(&key.expr));
    call.frame.range_by.iter().for_each(&mut *f);
    for bound in [&call.frame.start, &call.frame.end] {
        if let FrameBound::Preceding(offset) | FrameBound::Following(offset) = bound {
            f(offset);
        }
    }
}

pub(super) fn window_scalars_mut(call: &mut WindowCall, f: &mut dyn FnMut(&mut Scalar)) {
    call.args.iter_mut().chain(&mut call.filter).chain(&mut call.partition_by).for_each(&mut *f);
    call.order_by.iter_mut().for_each(|key| f(&mut key.expr));
    call.frame.range_by.iter_mut().for_each(&mut *f);
    for bound in [&mut call.frame.start, &mut call.frame.end] {
        if let FrameBound::Preceding(offset) | FrameBound::Following(offset) = bound {
            f(offset);
        }
    }
}

/// Calls `f` with a scalar and everything inside it, subqueries' trees too, from outside inwards.
pub fn deep<'a>(scalar: &'a Scalar, f: &mut dyn FnMut(&'a Scalar)) {
    f(scalar);
    if let Scalar::Subquery(subquery) = scalar {
        deep_rel(&subquery.rel, f);
    }
    operands(scalar, &mut |operand| deep(operand, f));
}

/// Calls `f` with every scalar of a tree, as [`deep`] does.
pub fn deep_rel<'a>(rel: &'a Rel, f: &mut dyn FnMut(&'a Scalar)) {
    scalars(rel, &mut |scalar| deep(scalar, f));
    inputs(rel, &mut |input| deep_rel(input, f));
}

/// Rewrites from outside inwards, subqueries' trees too: where `f` answers, its answer stands and is not entered.
pub fn rewrite(scalar: &mut Scalar, f: &mut dyn FnMut(&Scalar) -> Option<Scalar>) {
    if let Some(other) = f(scalar) {
        *scalar = other;
        return;
    }
    if let Scalar::Subquery(subquery) = scalar {
        rewrite_rel(&mut subquery.rel, f);
    }
    operands_mut(scalar, &mut |operand| rewrite(operand, f));
}

/// Rewrites every scalar of a tree.
pub fn rewrite_rel(rel: &mut Rel, f: &mut dyn FnMut(&Scalar) -> Option<Scalar>) {
    scalars_mut(rel, &mut |scalar| rewrite(scalar, f));
    inputs_mut(rel, &mut |input| rewrite_rel(input, f));
}

/// The scalar with `with` in the place of a column.
pub fn replace(scalar: &Scalar, column: ColId, with: &Scalar) -> Scalar {
    let mut scalar = scalar.clone();
    rewrite(&mut scalar, &mut |inner| match inner {
        Scalar::Column(col) if col.id == column => Some(with.clone()),
        _ => None,
    });
    scalar
}

/// The columns that a scalar reads from around it, in order of first use.
pub fn columns_used(scalar: &Scalar) -> Vec<Col> {
    let mut used = Vec::new();
    let mut seen = HashSet::new();
    let mut made = HashSet::new();
    deep(scalar, &mut |inner| match inner {
        Scalar::Column(col) if seen.insert(col.id) => used.push(*col),
        Scalar::Each(each) => {
            made.insert(each.item.id);
        }
        Scalar::Subquery(subquery) => made_by(&subquery.rel, &mut made),
        _ => {}
    });
    used.retain(|col| !made.contains(&col.id));
    used
}

/// The columns that a tree reads and none of its nodes makes: the outer query's.
pub fn free_columns(rel: &Rel) -> Vec<Col> {
    let mut used = Vec::new();
    let mut seen = HashSet::new();
    let mut made = HashSet::new();
    made_by(rel, &mut made);
    deep_rel(rel, &mut |inner| match inner {
        Scalar::Column(col) if seen.insert(col.id) => used.push(*col),
        Scalar::Each(each) => {
            made.insert(each.item.id);
        }
        Scalar::Subquery(subquery) => made_by(&subquery.rel, &mut made),
        _ => {}
    });
    used.retain(|col| !made.contains(&col.id));
    used
}

/// Adds all columns that the nodes of a tree make (those of subqueries inside its scalars are not).
fn made_by(rel: &Rel, made: &mut HashSet<ColId>) {
    made.extend(rel.columns().iter().map(|col| col.id));
    inputs(rel, &mut |input| made_by(input, made));
}

/// Whether a scalar holds a subquery.
pub fn has_subquery(scalar: &Scalar) -> bool {
    let mut found = false;
    deep(scalar, &mut |inner| found |= matches!(inner, Scalar::Subquery(_)));
    found
}

/// Whether a scalar gives another value, or has another effect, each time.
pub fn is_volatile(scalar: &Scalar) -> bool {
    let mut found = false;
    deep(scalar, &mut |inner| found |= is_volatile_call(inner));
    found
}

/// Whether a scalar itself, its operands aside, is the call of a volatile function.
pub fn is_volatile_call(scalar: &Scalar) -> bool {
    matches!(scalar, Scalar::Call { function, .. } if function.volatility == Volatility::Volatile)
}

/// Whether a scalar gives the same value for the same row whatever the session and the moment.
pub fn is_immutable(scalar: &Scalar) -> bool {
    // The text forms of these depend on settings or on the catalog.
    let unsteady = |ty: PgType| {
        use SqlType::{Date, Interval, Time, Timestamp, Timestamptz, Timetz};
        matches!(ty.ty, Date | Time | Timetz | Timestamp | Timestamptz | Interval)
            || (ty.ty.is_oid_like() && ty.ty != SqlType::Oid)
            || ty.ty.user_type().is_some()
    };
    let mut steady = true;
    deep(scalar, &mut |inner| {
        steady &= match inner {
            Scalar::Session(..) | Scalar::Subquery(_) => false,
            // `text || any` prints the other side: as steady as that is.
            Scalar::Call { function, args, .. } if matches!(function.name, "textanycat" | "anytextcat") => {
                args.iter().all(|arg| !unsteady(arg.ty()))
            }
            Scalar::Call { function, .. } => function.volatility == Volatility::Immutable,
            Scalar::ThroughText(from, to) => !unsteady(from.ty()) && !unsteady(*to),
            _ => true,
        };
    });
    steady
}

/// Whether two scalars are the same expression. Subqueries are never the same.
pub fn equal(left: &Scalar, right: &Scalar) -> bool {
    match (left, right) {
        (Scalar::Column(a), Scalar::Column(b)) => a.id == b.id,
        (Scalar::Const(a, s), Scalar::Const(b, t)) => a == b && s == t,
        (Scalar::Param(a, s), Scalar::Param(b, t)) => a == b && s == t,
        (Scalar::Session(a, s), Scalar::Session(b, t)) => a == b && s == t,
        (Scalar::Call { function: f, args: a, ty: s }, Scalar::Call { function: g, args: b, ty: t }) => {
            std::ptr::eq(*f, *g) && s == t && all_equal(a, b)
        }
        (Scalar::Compare(o, a, b), Scalar::Compare(p, c, d)) => o == p && equal(a, c) && equal(b, d),
        (Scalar::Subscript(a, b, s), Scalar::Subscript(c, d, t)) => s == t && equal(a, c) && all_equal(b, d),
        (Scalar::And(a), Scalar::And(b)) | (Scalar::Or(a), Scalar::Or(b)) => all_equal(a, b),
        (Scalar::Coalesce(a, s), Scalar::Coalesce(b, t)) | (Scalar::Array(a, s), Scalar::Array(b, t)) => {
            s == t && all_equal(a, b)
        }
        (Scalar::Not(a), Scalar::Not(b)) | (Scalar::IsNull(a), Scalar::IsNull(b)) => equal(a, b),
        (Scalar::Relabel(a, s), Scalar::Relabel(b, t)) | (Scalar::ThroughText(a, s), Scalar::ThroughText(b, t)) => {
            s == t && equal(a, b)
        }
        (Scalar::InList(a, items), Scalar::InList(b, others)) => equal(a, b) && all_equal(items, others),
        (
            Scalar::Case { branches, otherwise, ty },
            Scalar::Case { branches: others, otherwise: other, ty: other_ty },
        ) => {
            ty == other_ty
                && branches.len() == others.len()
                && branches.iter().zip(others).all(|((a, b), (c, d))| equal(a, c) && equal(b, d))
                && both_equal(otherwise.as_deref(), other.as_deref())
        }
        (Scalar::Slice(a, bounds), Scalar::Slice(b, others)) => {
            let same = |bound: &Bounds, other: &Bounds| {
                both_equal(bound.low.as_ref(), other.low.as_ref())
                    && both_equal(bound.high.as_ref(), other.high.as_ref())
            };
            equal(a, b) && bounds.len() == others.len() && bounds.iter().zip(others).all(|(b, o)| same(b, o))
        }
        (Scalar::Each(a), Scalar::Each(b)) => {
            a.gather == b.gather
                && equal(&a.array, &b.array)
                && equal(&a.expr, &replace(&b.expr, b.item.id, &Scalar::Column(a.item)))
        }
        _ => false,
    }
}

/// Whether two lists are the same expressions.
pub fn all_equal(left: &[Scalar], right: &[Scalar]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| equal(a, b))
}

fn both_equal(left: Option<&Scalar>, right: Option<&Scalar>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => equal(left, right),
        _ => false,
    }
}

/// Gives every column and work table that a tree makes a new number: a second copy may stand beside the first.
/// `others` are lists that speak of the tree's columns.
pub(super) fn renumber(rel: &mut Rel, others: &mut [&mut Vec<Col>], next_col: &mut u32, next_work: &mut u32) {
    let mut made = HashSet::new();
    let mut works: HashMap<u32, u32> = HashMap::new();
    made_deep(rel, &mut made, &mut |work| {
        *next_work += 1;
        works.insert(work, *next_work);
    });
    let mut cols: HashMap<ColId, ColId> = HashMap::new();
    for id in made {
        *next_col += 1;
        cols.insert(id, ColId(*next_col));
    }
    let map = |id: ColId| cols.get(&id).copied().unwrap_or(id);
    let mut names = Names {
        col: &mut |col| col.id = map(col.id),
        id: &mut |id| *id = map(*id),
        work: &mut |work| *work = works.get(work).copied().unwrap_or(*work),
    };
    names.rel(rel);
    for list in others {
        list.iter_mut().for_each(|col| col.id = map(col.id));
    }
}

/// Replaces the definition of a column, and its type wherever it is spoken of.
pub(super) fn retype(rel: &mut Rel, column: ColId, definition: &Scalar) {
    redefine(rel, column, definition);
    let ty = definition.ty();
    let mut names = Names {
        col: &mut |col| {
            if col.id == column {
                col.ty = ty;
            }
        },
        id: &mut |_| {},
        work: &mut |_| {},
    };
    names.rel(rel);
}

fn redefine(rel: &mut Rel, column: ColId, definition: &Scalar) {
    if let Rel::Extend { columns, .. } = rel {
        for (_, scalar) in columns.iter_mut().filter(|(col, _)| col.id == column) {
            *scalar = definition.clone();
        }
    }
    inputs_mut(rel, &mut |input| redefine(input, column, definition));
}

/// Calls `f` with each step whose rows a tree reads, in its subqueries too.
pub(super) fn steps_read(rel: &Rel, f: &mut dyn FnMut(usize)) {
    if let Rel::Made { step, .. } = rel {
        f(*step);
    }
    scalars(rel, &mut |scalar| steps_read_by(scalar, f));
    inputs(rel, &mut |input| steps_read(input, f));
}

/// As [`steps_read`], for an expression.
pub(super) fn steps_read_by(scalar: &Scalar, f: &mut dyn FnMut(usize)) {
    deep(scalar, &mut |inner| {
        if let Scalar::Subquery(subquery) = inner {
            made_inside(&subquery.rel, f);
        }
    });
}

/// The steps that the nodes of a tree read, its scalars not entered: [`deep`] does that.
fn made_inside(rel: &Rel, f: &mut dyn FnMut(usize)) {
    if let Rel::Made { step, .. } = rel {
        f(*step);
    }
    inputs(rel, &mut |input| made_inside(input, f));
}

/// All columns that a tree makes, inside its subqueries too.
fn made_deep(rel: &Rel, made: &mut HashSet<ColId>, work: &mut dyn FnMut(u32)) {
    made.extend(rel.columns().iter().map(|col| col.id));
    if let Rel::Recursive { work: number, .. } = rel {
        work(*number);
    }
    scalars(rel, &mut |scalar| made_in(scalar, made, work));
    inputs(rel, &mut |input| made_deep(input, made, work));
}

fn made_in(scalar: &Scalar, made: &mut HashSet<ColId>, work: &mut dyn FnMut(u32)) {
    match scalar {
        Scalar::Each(each) => {
            made.insert(each.item.id);
        }
        Scalar::Subquery(subquery) => made_deep(&subquery.rel, made, work),
        _ => {}
    }
    operands(scalar, &mut |operand| made_in(operand, made, work));
}

/// A way to every place of a tree that holds a column's or a work table's number.
struct Names<'a> {
    col: &'a mut dyn FnMut(&mut Col),
    id: &'a mut dyn FnMut(&mut ColId),
    work: &'a mut dyn FnMut(&mut u32),
}

impl Names<'_> {
    fn rel(&mut self, rel: &mut Rel) {
        match rel {
            Rel::Scan { columns, .. } => columns.iter_mut().for_each(|(_, col)| (self.col)(col)),
            Rel::Made { columns, .. } => columns.iter_mut().for_each(|(_, col)| (self.col)(col)),
            Rel::Values { columns, .. } | Rel::Narrow { columns, .. } => columns.iter_mut().for_each(&mut *self.col),
            Rel::Extend { columns, .. } => columns.iter_mut().for_each(|(col, _)| (self.col)(col)),
            Rel::Aggregate { keys, aggregates, .. } => {
                keys.iter_mut().for_each(|(col, _)| (self.col)(col));
                aggregates.iter_mut().for_each(|(col, _)| (self.col)(col));
            }
            Rel::Window { calls, .. } => calls.iter_mut().for_each(|(col, _)| (self.col)(col)),
            Rel::ProjectSet { calls, ordinality, .. } => {
                calls.iter_mut().flat_map(|(cols, _)| cols).chain(ordinality).for_each(&mut *self.col);
            }
            Rel::SetOperation { left: (_, left), right: (_, right), columns, .. } => {
                left.iter_mut().chain(right).for_each(&mut *self.id);
                columns.iter_mut().for_each(&mut *self.col);
            }
            Rel::Recursive { work, seed: (_, left), step: (_, right), columns, .. } => {
                left.iter_mut().chain(right).for_each(&mut *self.id);
                columns.iter_mut().for_each(&mut *self.col);
                (self.work)(work);
            }
            Rel::WorkTable { work, columns } => {
                columns.iter_mut().for_each(&mut *self.col);
                (self.work)(work);
            }
            Rel::LockRows { targets, .. } => targets.iter_mut().for_each(|target| (self.id)(&mut target.key)),
            _ => {}
        }
        scalars_mut(rel, &mut |scalar| self.scalar(scalar));
        inputs_mut(rel, &mut |input| self.rel(input));
    }

    fn scalar(&mut self, scalar: &mut Scalar) {
        match scalar {
            Scalar::Column(col) => (self.col)(col),
            Scalar::Each(each) => (self.col)(&mut each.item),
            Scalar::Subquery(subquery) => {
                let Subquery { rel, columns, .. } = subquery.as_mut();
                self.rel(rel);
                columns.iter_mut().for_each(&mut *self.col);
            }
            _ => {}
        }
        operands_mut(scalar, &mut |operand| self.scalar(operand));
    }
}

/// Sort keys of two clauses are the same.
pub(super) fn keys_equal(left: &[SortKey], right: &[SortKey]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(a, b)| a.descending == b.descending && a.nulls_first == b.nulls_first && equal(&a.expr, &b.expr))
}

/// The arguments of a set call, for a stage's dependencies.
pub(super) fn reads_any(call: &SetCall, columns: &HashSet<ColId>) -> bool {
    call.args.iter().flat_map(columns_used).any(|col| columns.contains(&col.id))
}
