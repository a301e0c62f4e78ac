//! Joins, lateral and semi joins, and conditions in the order in which PostgreSQL tests them.

use super::super::apply::Answer;
use super::super::error::engine_error;
use super::super::flatten::{self, Use};
use super::subquery::{needs_lift, subquery_reads};
use super::{Lowering, filter};
use datafusion::common::{JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::{Expr, Join, JoinConstraint, LogicalPlan};
use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{JoinKind, Rel, Scalar};
use kalamdb_sql::bind::walk;
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn filtered(&mut self, input: &Rel, predicate: &Scalar) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        let mut rest = Vec::new();
        for part in flatten::conjuncts(predicate) {
            match flatten::semi_join(part) {
                Some(semi) => plan = self.semi_join(plan, semi)?,
                None => rest.push(self.lift(part, &mut plan)?),
            }
        }
        match self.guarded(&rest)? {
            Some(predicate) => filter(plan, predicate),
            None => Ok(plan),
        }
    }

    fn semi_join(&mut self, plan: LogicalPlan, semi: flatten::SemiJoin) -> Result<LogicalPlan> {
        let inner = self.rel(&semi.rel)?;
        let kind = if semi.anti { JoinType::LeftAnti } else { JoinType::LeftSemi };
        let on = self.statement.expr(&Scalar::And(semi.condition))?;
        joined(plan, inner, kind, Some(on))
    }

    /// The conjunction of these, so that what may fail is evaluated only where the others before it hold: PostgreSQL
    /// tests conditions one after the other (`x <> 0 AND 10 / x > 1`), the engine tests whole batches.
    fn guarded(&mut self, parts: &[Scalar]) -> Result<Option<Expr>> {
        let mut exprs: Vec<Expr> = Vec::with_capacity(parts.len());
        for part in parts {
            let expr = self.statement.expr(part)?;
            let read = walk::columns_used(part);
            // The guards as they stand in the plan: a guard that may fail is guarded itself.
            let guards: Vec<Expr> = parts
                .iter()
                .zip(&exprs)
                .filter(|(guard, _)| {
                    walk::columns_used(guard).iter().any(|col| read.iter().any(|used| used.id == col.id))
                })
                .map(|(_, expr)| expr.clone())
                .collect();
            let guard = datafusion::logical_expr::utils::conjunction(guards).filter(|_| may_fail(part));
            let Some(guard) = guard else {
                exprs.push(expr);
                continue;
            };
            // The engine turns a boolean CASE of one or two branches into AND and OR, and then evaluates all of it.
            // It leaves three alone; the last two are never true where the first is not.
            let falsehood = || Box::new(Expr::Literal(ScalarValue::Boolean(Some(false)), None));
            let never = (Box::new(guard.clone()), falsehood());
            exprs.push(Expr::Case(datafusion::logical_expr::Case {
                expr: None,
                when_then_expr: vec![(Box::new(guard), Box::new(expr)), never.clone(), never],
                else_expr: Some(falsehood()),
            }));
        }
        Ok(datafusion::logical_expr::utils::conjunction(exprs))
    }

    pub(super) fn join(
        &mut self,
        kind: JoinKind,
        left: &Rel,
        right: &Rel,
        on: &Scalar,
        lateral: bool,
    ) -> Result<LogicalPlan> {
        if lateral {
            let made = flatten::ids(left);
            if walk::free_columns(right).iter().any(|col| made.contains(&col.id)) {
                return self.lateral(kind, left, right, on);
            }
        }
        let join_type = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
        };
        let (mut left_plan, mut right_plan) = (self.rel(left)?, self.rel(right)?);
        if !needs_lift(on) {
            let on = self.condition(on)?;
            return joined(left_plan, right_plan, join_type, on);
        }
        if kind == JoinKind::Inner {
            let cross = Rel::Join {
                kind,
                left: Box::new(left.clone()),
                right: Box::new(right.clone()),
                on: Scalar::truth(),
                lateral,
            };
            return self.filtered(&cross, on);
        }
        // A subquery of an outer join's condition is computed on the side whose columns it reads.
        let (left_ids, right_ids) = (flatten::ids(left), flatten::ids(right));
        let mut reads_both = false;
        walk::deep(on, &mut |inner| {
            if let Scalar::Subquery(subquery) = inner {
                let read = subquery_reads(subquery);
                reads_both |= read.iter().any(|col| left_ids.contains(&col.id))
                    && read.iter().any(|col| right_ids.contains(&col.id));
            }
        });
        match kind {
            JoinKind::Left if reads_both => return self.row_by_row(left_plan, right, on),
            JoinKind::Right if reads_both => return self.row_by_row(right_plan, left, on),
            _ => {}
        }
        let mut parts = Vec::new();
        for part in flatten::conjuncts(on) {
            let part = self.lift_where(
                part,
                &mut |subquery| {
                    let read = subquery_reads(subquery);
                    let reads_left = read.iter().any(|col| left_ids.contains(&col.id));
                    let reads_right = read.iter().any(|col| right_ids.contains(&col.id));
                    match (reads_left, reads_right) {
                        (true, true) => None,
                        (true, false) => Some(true),
                        _ => Some(false),
                    }
                },
                &mut left_plan,
                &mut right_plan,
            )?;
            parts.push(part);
        }
        let on = self.condition(&Scalar::And(parts))?;
        joined(left_plan, right_plan, join_type, on)
    }

    /// A left join whose condition is tested inside the right side, once for each different row of the left one.
    fn row_by_row(&mut self, left: LogicalPlan, right: &Rel, on: &Scalar) -> Result<LogicalPlan> {
        let columns = right.columns();
        let matching = Rel::Filter { input: Box::new(right.clone()), predicate: on.clone() };
        self.apply(left, &matching, &columns, columns.clone(), None, Answer::Rows { outer_join: true })
    }

    fn condition(&mut self, on: &Scalar) -> Result<Option<Expr>> {
        let parts = flatten::conjuncts(on);
        if parts.is_empty() {
            return Ok(None);
        }
        let parts: Vec<Scalar> = parts.into_iter().cloned().collect();
        self.guarded(&parts)
    }

    fn lateral(&mut self, kind: JoinKind, left: &Rel, right: &Rel, on: &Scalar) -> Result<LogicalPlan> {
        if kind == JoinKind::Inner {
            if let Some(chain) = flatten::chained(left, right) {
                return self.filtered(&chain, on);
            }
        }
        if let Some(pulled) = flatten::pull(right, Use::Rows)
            && (kind == JoinKind::Inner || (kind == JoinKind::Left && pulled.late.is_empty()))
        {
            let mut conditions = pulled.predicates;
            conditions.extend(flatten::conjuncts(&flatten::with_late(on, &pulled.late)).into_iter().cloned());
            let join = Rel::Join {
                kind,
                left: Box::new(left.clone()),
                right: Box::new(pulled.rel),
                on: Scalar::And(conditions),
                lateral: false,
            };
            return match pulled.late.is_empty() {
                true => self.rel(&join),
                false => self.rel(&Rel::Extend { input: Box::new(join), columns: pulled.late }),
            };
        }
        let outer_join = match kind {
            JoinKind::Inner => false,
            JoinKind::Left => true,
            JoinKind::Right | JoinKind::Full => {
                let error = SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, "invalid reference to FROM-clause entry");
                return Err(error.with_detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
            }
        };
        let plan = self.rel(left)?;
        let columns = right.columns();
        let test = (!flatten::conjuncts(on).is_empty()).then_some(on);
        self.apply(plan, right, &columns, columns.clone(), test, Answer::Rows { outer_join })
    }
}

pub(super) fn joined(left: LogicalPlan, right: LogicalPlan, kind: JoinType, on: Option<Expr>) -> Result<LogicalPlan> {
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        Vec::new(),
        on,
        kind,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    );
    join.map(LogicalPlan::Join).map_err(engine_error)
}

/// Whether evaluating a scalar may fail for some rows: casts from text, division and what has a domain.
fn may_fail(scalar: &Scalar) -> bool {
    let mut found = false;
    walk::deep(scalar, &mut |inner| match inner {
        Scalar::ThroughText(operand, ty) => found |= operand.ty().ty.is_string() && !ty.ty.is_string(),
        Scalar::Call { function, args, ty } => {
            let name = function.name;
            let from_text = args.first().is_some_and(|arg| arg.ty().ty.is_string()) && !ty.ty.is_string();
            let has_domain = ["div", "mod", "sqrt", "ln", "log", "pow", "chr", "factorial", "to_date", "to_timestamp"];
            let is_cast = from_text && kalamdb_commons::SqlType::from_name(name).is_some();
            found |= is_cast || has_domain.iter().any(|part| name.contains(part));
        }
        _ => {}
    });
    found
}
