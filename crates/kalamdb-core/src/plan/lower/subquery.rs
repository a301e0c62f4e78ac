//! Subqueries inside expressions: their values become columns of the plan.

use super::super::apply::{Answer, Applied, Apply, Inner};
use super::super::flatten;
use super::super::running;
use super::join::joined;
use super::{Lowering, column, project};
use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr, LogicalPlan};
use kalamdb_commons::{Result, SqlError};
use kalamdb_sql::bind::bound::{Col, ColId, Each, Rel, Scalar, Subquery, SubqueryKind};
use kalamdb_sql::bind::walk;
use std::sync::Arc;

/// The items of an [`Each`] and of those inside it.
fn items_of(each: &Each) -> Vec<ColId> {
    let mut items = vec![each.item.id];
    walk::deep(&each.expr, &mut |inner| {
        if let Scalar::Each(inner) = inner {
            items.push(inner.item.id);
        }
    });
    items
}

impl Lowering<'_> {
    /// The scalar without subqueries: their values become columns of the plan.
    pub(super) fn lift(&mut self, scalar: &Scalar, plan: &mut LogicalPlan) -> Result<Scalar> {
        if !needs_lift(scalar) {
            return Ok(scalar.clone());
        }
        let mut scalar = scalar.clone();
        self.lift_in(&mut scalar, plan)?;
        Ok(scalar)
    }

    fn lift_in(&mut self, scalar: &mut Scalar, plan: &mut LogicalPlan) -> Result<()> {
        match scalar {
            Scalar::Subquery(subquery) => {
                *scalar = self.subquery(subquery, plan)?;
                return Ok(());
            }
            Scalar::Each(each) => {
                self.lift_each(each, plan)?;
                return self.lift_in(&mut each.array, plan);
            }
            _ => {}
        }
        let mut result = Ok(());
        walk::operands_mut(scalar, &mut |operand| {
            if result.is_ok() {
                result = self.lift_in(operand, plan);
            }
        });
        result
    }

    /// As [`Self::lift`] over a join's two sides: `side` says on which one a subquery is computed (true: the left).
    pub(super) fn lift_where(
        &mut self,
        scalar: &Scalar,
        side: &mut dyn FnMut(&Subquery) -> Option<bool>,
        left: &mut LogicalPlan,
        right: &mut LogicalPlan,
    ) -> Result<Scalar> {
        let mut scalar = scalar.clone();
        let mut result = Ok(());
        walk::rewrite(&mut scalar, &mut |inner| {
            let lifted = match inner {
                Scalar::Subquery(subquery) => match side(subquery) {
                    Some(true) => self.subquery(subquery, left),
                    Some(false) => self.subquery(subquery, right),
                    None => Err(SqlError::unsupported("a subquery over both sides in the condition of a full join")),
                },
                Scalar::Each(each) => self.lift_each_where(each, side, left, right),
                _ => return None,
            };
            match lifted {
                Ok(lifted) => Some(lifted),
                Err(error) => {
                    result = Err(error);
                    Some(Scalar::truth())
                }
            }
        });
        result.map(|()| scalar)
    }

    fn lift_each_where(
        &mut self,
        each: &Each,
        side: &mut dyn FnMut(&Subquery) -> Option<bool>,
        left: &mut LogicalPlan,
        right: &mut LogicalPlan,
    ) -> Result<Scalar> {
        let items = items_of(each);
        let mut each = each.clone();
        let mut reads_item = false;
        walk::deep(&each.expr, &mut |inner| {
            if matches!(inner, Scalar::Subquery(_)) {
                reads_item |= walk::columns_used(inner).iter().any(|col| items.contains(&col.id));
            }
        });
        if reads_item {
            return Err(SqlError::unsupported("a subquery for each item of an array"));
        }
        each.array = self.lift_where(&each.array, side, left, right)?;
        each.expr = self.lift_where(&each.expr, side, left, right)?;
        // What is left to lift is the outer queries', and the same on both sides.
        self.lift_each(&mut each, left)?;
        Ok(Scalar::Each(Box::new(each)))
    }

    /// The body of an [`Each`] is compiled by itself: what it reads of an outer query must be a column around it.
    fn lift_each(&mut self, each: &mut Each, plan: &mut LogicalPlan) -> Result<()> {
        // A subquery that does not read the item is the same for all of them.
        let items = items_of(each);
        let mut lifted = Ok(());
        walk::rewrite(&mut each.expr, &mut |inner| {
            let Scalar::Subquery(subquery) = inner else { return None };
            if lifted.is_err() || walk::columns_used(inner).iter().any(|col| items.contains(&col.id)) {
                return None;
            }
            match self.subquery(subquery, plan) {
                Ok(column) => Some(column),
                Err(error) => {
                    lifted = Err(error);
                    None
                }
            }
        });
        lifted?;
        if walk::has_subquery(&each.expr) {
            return Err(SqlError::unsupported("a subquery for each item of an array"));
        }
        let mut made: Vec<(Col, Scalar)> = Vec::new();
        let statement = self.statement;
        walk::rewrite(&mut each.expr, &mut |inner| {
            if !running::is_outer(inner) {
                return None;
            }
            let known = made.iter().find(|(_, scalar)| walk::equal(scalar, inner)).map(|(col, _)| *col);
            let col = known.unwrap_or_else(|| {
                let col = statement.column(inner.ty());
                made.push((col, inner.clone()));
                col
            });
            Some(Scalar::Column(col))
        });
        if !made.is_empty() {
            *plan = self.extend(plan.clone(), &made)?;
        }
        Ok(())
    }

    /// Adds the value of a subquery to the plan; the scalar that stands for it.
    fn subquery(&mut self, subquery: &Subquery, plan: &mut LogicalPlan) -> Result<Scalar> {
        if let Some(grouped) = flatten::grouped(subquery, self.statement) {
            let groups = self.rel(&grouped.rel)?;
            let on = self.statement.expr(&Scalar::And(grouped.on))?;
            let joined = joined(plan.clone(), groups, JoinType::Left, Some(on))?;
            *plan = grouped.columns.chunks(1).try_fold(joined, |plan, column| self.extend(plan, column))?;
            return Ok(grouped.value);
        }
        let result = self.statement.column(subquery.ty);
        let (test, answer) = match &subquery.kind {
            SubqueryKind::Exists => (None, Answer::Exists),
            SubqueryKind::Scalar => (None, Answer::Scalar),
            SubqueryKind::Array => (None, Answer::Array),
            SubqueryKind::Quantified { test, all } => (Some(test.as_ref()), Answer::Quantified { all: *all }),
        };
        *plan = self.apply(plan.clone(), &subquery.rel, &subquery.columns, vec![result], test, answer)?;
        Ok(Scalar::Column(result))
    }

    /// The plan with an inner tree run for each of its different outer tuples.
    pub(super) fn apply(
        &mut self,
        plan: LogicalPlan,
        rel: &Rel,
        columns: &[Col],
        results: Vec<Col>,
        test: Option<&Scalar>,
        answer: Answer,
    ) -> Result<LogicalPlan> {
        if running::reads_outer_work(rel) {
            return Err(SqlError::unsupported("a recursive reference inside a subquery"));
        }
        let mut plan = plan;
        // The inner tree's own parameters: columns of this plan, and those of queries further out.
        let free = walk::free_columns(rel);
        let mut rel = rel.clone();
        running::bind_outer(&mut rel, &free);
        let outer = running::outer_parameters(&rel);
        let mut args: Vec<Expr> = Vec::with_capacity(outer.len());
        for (id, ty) in &outer {
            let col = Col { id: *id, ty: *ty, nullable: true };
            let here = free.iter().any(|col| col.id == *id);
            args.push(if here { column(*id) } else { self.statement.expr(&running::outer_parameter(col))? });
        }
        // The test reads the inner columns and some around it, which become arguments too.
        let made: Vec<ColId> = columns.iter().map(|col| col.id).collect();
        let mut around: Vec<Col> = Vec::new();
        let test = match test {
            None => None,
            Some(test) => {
                let mut test = self.lift(test, &mut plan)?;
                let mut lifted: Vec<(Col, Scalar)> = Vec::new();
                let statement = self.statement;
                walk::rewrite(&mut test, &mut |inner| {
                    running::is_outer(inner).then(|| {
                        let col = statement.column(inner.ty());
                        lifted.push((col, inner.clone()));
                        Scalar::Column(col)
                    })
                });
                around.extend(walk::columns_used(&test).into_iter().filter(|col| !made.contains(&col.id)));
                for col in &around {
                    let outer = lifted.iter().find(|(fresh, _)| fresh.id == col.id).map(|(_, scalar)| scalar);
                    args.push(match outer {
                        Some(scalar) => self.statement.expr(scalar)?,
                        None => column(col.id),
                    });
                }
                Some(test)
            }
        };
        let template = self.rel(&rel)?;
        let template = project(template, columns.iter().map(|col| column(col.id)).collect())?;
        let outer = outer.into_iter().map(|(id, _)| id).collect();
        let inner = Inner::new(self.statement.clone(), template, outer, columns.to_vec(), test, around, answer)?;
        Apply::plan(plan, Applied { inner: Arc::new(inner), results }, args)
    }
}

/// The columns around a subquery that it reads, its test's included.
pub(super) fn subquery_reads(subquery: &Subquery) -> Vec<Col> {
    walk::columns_used(&Scalar::Subquery(Box::new(subquery.clone())))
}

/// Whether there is something in a scalar that a plan must have computed before.
pub(super) fn needs_lift(scalar: &Scalar) -> bool {
    let mut found = false;
    walk::deep(scalar, &mut |inner| match inner {
        Scalar::Subquery(_) => found = true,
        Scalar::Each(each) => walk::deep(&each.expr, &mut |inner| found |= running::is_outer(inner)),
        _ => {}
    });
    found
}
