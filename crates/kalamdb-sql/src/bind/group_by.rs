//! GROUP BY: keys, grouping sets, and what stands above them put in their terms.

use super::aggregate::{Grouped, first, unequal};
use super::bound::{AggregateCall, Col, ColId, Rel, Scalar, SetOp};
use super::expr::row_items;
use super::operator::{is_keyed, key};
use super::target::Target;
use super::{Binder, walk};
use crate::parse;
use kalamdb_commons::{Datum, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, Expr};

/// GROUP BY as read.
#[derive(Debug, Default)]
pub(super) struct Groups {
    keys: Vec<Scalar>,
    /// Places in `keys`; `None` for one set of all.
    sets: Option<Vec<Vec<usize>>>,
    /// Columns of set-returning functions that are grouped by: these are run below the grouping.
    pub(super) made_by_sets: Vec<ColId>,
}

impl Binder<'_> {
    /// GROUP BY: the keys, and the sets of them when there is more than one.
    pub(super) fn group_by(
        &mut self,
        group_by: &ast::GroupByExpr,
        targets: &mut Vec<Target>,
    ) -> Result<Option<Groups>> {
        let ast::GroupByExpr::Expressions(items, modifiers) = group_by else {
            return Err(SqlError::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::unsupported("GROUP BY … WITH"));
        }
        // GROUP BY DISTINCT: each set once.
        let distinct =
            matches!(items.first(), Some(Expr::Identifier(ident)) if parse::is_mark(ident, parse::GROUP_DISTINCT));
        let items = if distinct { &items[1..] } else { items.as_slice() };
        if items.is_empty() {
            return Ok(None);
        }
        let mut groups = Groups::default();
        let plain = |expr: &Expr| {
            !matches!(expr, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_))
                && row_items(expr).is_none_or(|items| !items.is_empty())
        };
        let simple = items.iter().all(plain);
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        for item in items {
            let choices = self.grouping_sets(item, &mut groups, targets)?;
            sets = sets
                .iter()
                .flat_map(|set| choices.iter().map(move |choice| [set.as_slice(), choice.as_slice()].concat()))
                .collect();
        }
        for set in &mut sets {
            set.sort_unstable();
            set.dedup();
        }
        if distinct {
            let mut seen = std::collections::HashSet::new();
            sets.retain(|set| seen.insert(set.clone()));
        }
        groups.sets = (!simple).then_some(sets);
        Ok(Some(groups))
    }

    /// What one item of GROUP BY contributes: the alternative lists of keys.
    fn grouping_sets(
        &mut self,
        item: &Expr,
        groups: &mut Groups,
        targets: &mut Vec<Target>,
    ) -> Result<Vec<Vec<usize>>> {
        let mut list = |binder: &mut Self, exprs: &[Expr]| -> Result<Vec<usize>> {
            exprs.iter().map(|expr| binder.group_key(expr, groups, targets)).collect()
        };
        match item {
            Expr::Rollup(parts) => {
                let parts = parts.iter().map(|part| list(self, part)).collect::<Result<Vec<_>>>()?;
                Ok((0..=parts.len()).rev().map(|count| parts[..count].concat()).collect())
            }
            Expr::Cube(parts) => {
                if parts.len() > 12 {
                    return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, "CUBE is limited to 12 elements"));
                }
                let parts = parts.iter().map(|part| list(self, part)).collect::<Result<Vec<_>>>()?;
                let all = (1_usize << parts.len()) - 1;
                Ok((0..=all)
                    .rev()
                    .map(|mask| {
                        let chosen =
                            parts.iter().enumerate().filter(|(index, _)| mask & (1 << (parts.len() - 1 - index)) != 0);
                        chosen.flat_map(|(_, part)| part.iter().copied()).collect()
                    })
                    .collect())
            }
            Expr::GroupingSets(parts) => {
                let mut sets = Vec::new();
                for part in parts {
                    match part.as_slice() {
                        [inner] if is_nested_set(inner) => {
                            sets.extend(self.grouping_sets(&as_set(inner), groups, targets)?);
                        }
                        exprs => {
                            let keys = exprs
                                .iter()
                                .map(|expr| self.group_key(expr, groups, targets))
                                .collect::<Result<_>>()?;
                            sets.push(keys);
                        }
                    }
                }
                Ok(sets)
            }
            other => match row_items(other) {
                Some(items) => {
                    let keys =
                        items.into_iter().map(|expr| self.group_key(expr, groups, targets)).collect::<Result<_>>()?;
                    Ok(vec![keys])
                }
                None => Ok(vec![vec![self.group_key(other, groups, targets)?]]),
            },
        }
    }

    fn group_key(&mut self, expr: &Expr, groups: &mut Groups, targets: &mut Vec<Target>) -> Result<usize> {
        let position = self.position(expr);
        let before = targets.len();
        let index = self.named_target(expr, "GROUP BY", false, targets)?;
        let scalar = self.known(targets[index].scalar.clone(), position)?;
        targets[index].scalar = scalar.clone();
        if targets.len() > before {
            targets.pop();
        }
        unequal(scalar.ty()).map_err(|error| error.at(position))?;
        let mut made = self.level().aggregates.iter().map(|(col, _)| col.id).collect::<Vec<_>>();
        made.extend(self.level().windows.iter().map(|(col, _)| col.id));
        let sets: Vec<ColId> = self.level().sets.iter().flat_map(|(cols, _)| cols.iter().map(|col| col.id)).collect();
        for col in walk::columns_used(&scalar) {
            if made.contains(&col.id) {
                let message = "aggregate functions are not allowed in GROUP BY";
                return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
            }
            if sets.contains(&col.id) {
                groups.made_by_sets.push(col.id);
            }
        }
        if let Some(index) = groups.keys.iter().position(|key| walk::equal(key, &scalar)) {
            return Ok(index);
        }
        groups.keys.push(scalar);
        Ok(groups.keys.len() - 1)
    }

    /// The grouping itself, and everything above it put in its terms.
    pub(super) fn aggregate_node(
        &mut self,
        input: Rel,
        groups: Groups,
        targets: &mut [Target],
        having: Option<&mut Scalar>,
    ) -> Result<Rel> {
        let mut keys: Vec<(Col, Scalar)> = Vec::new();
        let mut shown: Vec<(Col, AggregateCall)> = Vec::new();
        let mut grouped = Grouped::default();
        for scalar in &groups.keys {
            if !is_keyed(scalar.ty()) {
                let col = self.col(scalar.ty(), true);
                keys.push((col, scalar.clone()));
                grouped.keys.push((scalar.clone(), Scalar::Column(col)));
                continue;
            }
            // Grouped by the key; a value of the group is shown.
            let by = key(scalar.clone());
            let key_col = self.col(by.ty(), true);
            keys.push((key_col, by));
            let display = self.col(scalar.ty(), true);
            self.note_record(scalar, display);
            shown.push((display, first(scalar.clone())));
            let above = match groups.sets {
                None => Scalar::Column(display),
                // Outside its grouping set the key is NULL, and so must be what is shown.
                Some(_) => Scalar::Case {
                    branches: vec![(
                        Scalar::IsNull(Box::new(Scalar::Column(key_col))),
                        Scalar::Const(Datum::Null, scalar.ty()),
                    )],
                    otherwise: Some(Box::new(Scalar::Column(display))),
                    ty: scalar.ty(),
                },
            };
            grouped.keys.push((scalar.clone(), above));
        }
        grouped.determined = self.determined(&groups);
        for target in targets.iter_mut() {
            let mut scalar = target.scalar.clone();
            self.regroup(&mut scalar, &mut grouped)?;
            if !walk::equal(&scalar, &target.scalar) {
                target.scalar = scalar;
            }
        }
        if let Some(having) = having {
            self.regroup(having, &mut grouped)?;
        }
        self.regroup_calls(&mut grouped)?;
        let groupings = self.settle_groupings(&groups)?;
        let mut aggregates = std::mem::take(&mut self.level().aggregates);
        aggregates.extend(shown);
        if groupings.is_empty() {
            return Ok(Rel::Aggregate { input: Box::new(input), keys, sets: groups.sets, aggregates });
        }
        let Some(sets) = groups.sets else {
            // One set of all keys leaves none out.
            let columns = groupings.into_iter().map(|(col, _)| (col, integer(0))).collect();
            let rel = Rel::Aggregate { input: Box::new(input), keys, sets: None, aggregates };
            return Ok(Rel::Extend { input: Box::new(rel), columns });
        };
        Ok(self.set_by_set(&input, &keys, &sets, &aggregates, &groupings))
    }

    /// With GROUPING each set is an aggregation of its own over a copy of the input, and says which keys it lacks.
    fn set_by_set(
        &mut self,
        input: &Rel,
        keys: &[(Col, Scalar)],
        sets: &[Vec<usize>],
        aggregates: &[(Col, AggregateCall)],
        groupings: &[(Col, Vec<usize>)],
    ) -> Rel {
        let columns: Vec<Col> = keys
            .iter()
            .map(|(col, _)| *col)
            .chain(aggregates.iter().map(|(col, _)| *col))
            .chain(groupings.iter().map(|(col, _)| *col))
            .collect();
        let ids = |cols: &[Col]| cols.iter().map(|col| col.id).collect::<Vec<ColId>>();
        let mut united: Option<(Rel, Vec<Col>)> = None;
        for set in sets {
            let (there, lacking): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(|index| set.contains(index));
            let node = Rel::Aggregate {
                input: Box::new(input.clone()),
                keys: there.iter().map(|index| keys[*index].clone()).collect(),
                sets: None,
                aggregates: aggregates.to_vec(),
            };
            let mut made: Vec<(Col, Scalar)> = lacking
                .iter()
                .map(|index| keys[*index].0)
                .map(|col| (col, Scalar::Const(Datum::Null, col.ty)))
                .collect();
            made.extend(groupings.iter().map(|(col, asked)| (*col, integer(lacking_bits(asked, set)))));
            let mut rel = Rel::Extend { input: Box::new(node), columns: made };
            let mut cols = columns.clone();
            walk::renumber(&mut rel, &mut [&mut cols], &mut self.next_col, &mut self.next_work);
            united = Some(match united {
                None => (rel, cols),
                Some((left, left_cols)) => {
                    let fresh: Vec<Col> = columns.iter().map(|col| self.col(col.ty, true)).collect();
                    let union = Rel::SetOperation {
                        op: SetOp::Union,
                        all: true,
                        left: (Box::new(left), ids(&left_cols)),
                        right: (Box::new(rel), ids(&cols)),
                        columns: fresh.clone(),
                    };
                    (union, fresh)
                }
            });
        }
        let (rel, cols) = united.unwrap_or((Rel::OneRow, Vec::new()));
        let columns = columns.into_iter().zip(cols).map(|(col, from)| (col, Scalar::Column(from))).collect();
        Rel::Extend { input: Box::new(rel), columns }
    }

    fn regroup_calls(&mut self, grouped: &mut Grouped) -> Result<()> {
        let mut windows = std::mem::take(&mut self.level().windows);
        let mut sets = std::mem::take(&mut self.level().sets);
        let mut fault = Ok(());
        for (_, call) in &mut windows {
            walk::window_scalars_mut(call, &mut |scalar| {
                if fault.is_ok() {
                    fault = self.regroup(scalar, grouped);
                }
            });
        }
        for scalar in sets.iter_mut().flat_map(|(_, call)| &mut call.args) {
            if fault.is_ok() {
                fault = self.regroup(scalar, grouped);
            }
        }
        self.level().windows = windows;
        self.level().sets = sets;
        fault
    }

    /// GROUPING(a, b) asks about keys: now they are known.
    fn settle_groupings(&mut self, groups: &Groups) -> Result<Vec<(Col, Vec<usize>)>> {
        let mut settled = Vec::new();
        for (col, args) in std::mem::take(&mut self.level().groupings) {
            let mut asked = Vec::with_capacity(args.len());
            for (arg, position) in args {
                match groups.keys.iter().position(|key| walk::equal(key, &arg)) {
                    Some(index) => asked.push(index),
                    None => {
                        let message =
                            "arguments to GROUPING must be grouping expressions of the associated query level";
                        return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
                    }
                }
            }
            settled.push((col, asked));
        }
        Ok(settled)
    }

    /// Columns of tables whose whole primary key is grouped by (in every set): the key determines them.
    fn determined(&mut self, groups: &Groups) -> std::collections::HashSet<ColId> {
        let everywhere = |index: usize| groups.sets.as_ref().is_none_or(|sets| sets.iter().all(|s| s.contains(&index)));
        let by: Vec<ColId> = groups
            .keys
            .iter()
            .enumerate()
            .filter(|(index, _)| everywhere(*index))
            .filter_map(|(_, key)| match key {
                Scalar::Column(col) => Some(col.id),
                _ => None,
            })
            .collect();
        let items = self.level().visible.iter().map(|v| v.item.clone()).collect::<Vec<_>>();
        items
            .iter()
            .filter(|item| !item.primary_key.is_empty() && item.primary_key.iter().all(|id| by.contains(id)))
            .flat_map(|item| super::from::item_ids(item))
            .collect()
    }
}

/// GROUPING's bits, the last argument the lowest: set for a key that the grouping set lacks.
fn lacking_bits(asked: &[usize], set: &[usize]) -> i32 {
    asked.iter().fold(0, |bits, index| (bits << 1) | i32::from(!set.contains(index)))
}

fn integer(value: i32) -> Scalar {
    Scalar::Const(Datum::Int4(value), SqlType::Int4.into())
}

fn is_nested_set(expr: &Expr) -> bool {
    match expr {
        Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_) => true,
        Expr::Function(call) => {
            super::syntax::is_plain(call, "rollup") || super::syntax::is_plain(call, "cube") || is_sets(call)
        }
        _ => false,
    }
}

/// GROUPING SETS inside of GROUPING SETS.
fn is_sets(call: &ast::Function) -> bool {
    matches!(call.name.0.as_slice(), [part] if part.as_ident().is_some_and(|name| parse::is_mark(name, parse::GROUPING_SETS)))
}

/// ROLLUP and CUBE inside GROUPING SETS come from the parser as calls.
fn as_set(expr: &Expr) -> Expr {
    let Expr::Function(call) = expr else { return expr.clone() };
    let parts: Vec<Vec<Expr>> = super::syntax::arguments(call)
        .unwrap_or_default()
        .into_iter()
        .map(|arg| match row_items(arg) {
            Some(items) => items.into_iter().cloned().collect(),
            None => vec![arg.clone()],
        })
        .collect();
    match () {
        () if is_sets(call) => Expr::GroupingSets(parts),
        () if super::syntax::is_plain(call, "rollup") => Expr::Rollup(parts),
        () => Expr::Cube(parts),
    }
}
