//! Groups: aggregates, grouping sets, DISTINCT.

use super::super::distinct_on::DistinctOn;
use super::super::error::engine_error;
use super::{Lowering, column, conformed, extension, normal, one_row, project, union};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet, Sort};
use datafusion::logical_expr::{Aggregate, Expr, Limit, LogicalPlan};
use kalamdb_commons::{PgType, Result, SqlError};
use kalamdb_sql::bind::bound::{AggregateCall, Col, ColId, Rel, Scalar};
use kalamdb_sql::function::Kind;
use kalamdb_sql::lower::column_name;
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn aggregate(
        &mut self,
        input: &Rel,
        keys: &[(Col, Scalar)],
        sets: Option<&[Vec<usize>]>,
        aggregates: &[(Col, AggregateCall)],
    ) -> Result<LogicalPlan> {
        if keys.is_empty() && aggregates.is_empty() && sets.is_none_or(|sets| sets.len() == 1) {
            return Ok(one_row());
        }
        // An engine's grouping set gives no row for an empty input, PostgreSQL's empty set gives one.
        if let Some(sets) = sets
            && sets.iter().any(Vec::is_empty)
        {
            return self.with_empty_sets(input, keys, sets, aggregates);
        }
        let mut plan = self.rel(input)?;
        let mut lifted = Vec::with_capacity(keys.len());
        for (col, scalar) in keys {
            lifted.push((*col, self.lift(scalar, &mut plan)?));
        }
        let mut calls = Vec::with_capacity(aggregates.len());
        for (col, call) in aggregates {
            calls.push((Col { ty: call.ty, ..*col }, self.aggregate_call(call, &mut plan)?));
        }
        self.groups(plan, &lifted, sets, calls)
    }

    /// Groups: the keys' columns, then the calls'.
    ///
    /// What is grouped by is a column first. Values whose Arrow equality is not PostgreSQL's are grouped by their sort
    /// keys, and the first of them stands for the group.
    fn groups(
        &mut self,
        plan: LogicalPlan,
        keys: &[(Col, Scalar)],
        sets: Option<&[Vec<usize>]>,
        mut calls: Vec<(Col, Expr)>,
    ) -> Result<LogicalPlan> {
        let (mut made, mut group, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        let called: Vec<Expr> = calls.iter().map(|(col, _)| column(col.id)).collect();
        for (col, scalar) in keys {
            let Some(key) = normal(scalar) else {
                made.push((*col, scalar.clone()));
                group.push(column(col.id));
                outputs.push(column(col.id));
                continue;
            };
            let (key_col, shown) = (self.statement.column(key.ty()), self.statement.column(col.ty));
            let first = self.statement.column(col.ty);
            made.push((key_col, key));
            made.push((shown, scalar.clone()));
            group.push(column(key_col.id));
            calls.push((first, first_value(shown)));
            // In a set without this key it is NULL, whatever the group's first row has.
            outputs.push(when_not_null(key_col.id, first.id).alias(column_name(col.id)));
        }
        outputs.extend(called);
        let plan = self.extend(plan, &made)?;
        let group = match sets {
            None => group,
            Some(sets) => {
                let set = |set: &Vec<usize>| set.iter().filter_map(|at| group.get(*at).cloned()).collect();
                vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets.iter().map(set).collect()))]
            }
        };
        let exprs = calls.iter().map(|(col, call)| call.clone().alias(column_name(col.id))).collect();
        let node = Aggregate::try_new(Arc::new(plan), group, exprs).map_err(engine_error)?;
        let plan = conformed(LogicalPlan::Aggregate(node), calls.iter().map(|(col, _)| (col.id, col.ty)))?;
        project(plan, outputs)
    }

    /// GROUPING SETS with `()` in them: these are aggregates without keys beside the others.
    fn with_empty_sets(
        &mut self,
        input: &Rel,
        keys: &[(Col, Scalar)],
        sets: &[Vec<usize>],
        aggregates: &[(Col, AggregateCall)],
    ) -> Result<LogicalPlan> {
        let columns: Vec<Col> =
            keys.iter().map(|(col, _)| *col).chain(aggregates.iter().map(|(col, _)| *col)).collect();
        let others: Vec<Vec<usize>> = sets.iter().filter(|set| !set.is_empty()).cloned().collect();
        let mut inputs = Vec::new();
        if !others.is_empty() {
            inputs.push(self.aggregate(input, keys, Some(&others), aggregates)?);
        }
        for _ in others.len()..sets.len() {
            let whole = self.aggregate(input, &[], None, aggregates)?;
            let nulls: Vec<(Col, Scalar)> =
                keys.iter().map(|(col, _)| (*col, Scalar::Const(kalamdb_commons::Datum::Null, col.ty))).collect();
            let whole = self.extend(whole, &nulls)?;
            inputs.push(project(whole, columns.iter().map(|col| column(col.id)).collect())?);
        }
        union(inputs, &columns)
    }

    fn aggregate_call(&mut self, call: &AggregateCall, plan: &mut LogicalPlan) -> Result<Expr> {
        let Kind::Aggregate(make) = call.function.kind else {
            return Err(SqlError::internal(format!("{:?} is not an aggregate", call.function)));
        };
        let arg_types: Vec<PgType> = call.args.iter().map(Scalar::ty).collect();
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            let arg = self.lift(arg, plan)?;
            // Different values are those whose sort keys differ; only count does not show them.
            let arg = match normal(&arg) {
                Some(key) if call.distinct && call.function.name == "count" => key,
                _ => arg,
            };
            args.push(self.statement.expr(&arg)?);
        }
        if args.is_empty() {
            args.push(Expr::Literal(ScalarValue::Int64(Some(1)), None));
        }
        let filter = match &call.filter {
            Some(filter) => {
                let filter = self.lift(filter, plan)?;
                Some(Box::new(self.statement.expr(&filter)?))
            }
            None => None,
        };
        let mut order_by = self.sort_keys(&call.order_by, plan)?;
        if call.distinct && order_by.is_empty() && call.function.name != "count" {
            // Values that are equal with other bytes (1.5 and 1.50): an order keeps the engine from grouping by bytes
            // before the aggregate sees them. DISTINCT sorts anyway.
            for key in call.args.iter().filter_map(normal) {
                let key = self.lift(&key, plan)?;
                order_by.push(Sort::new(self.statement.expr(&key)?, true, false));
            }
        }
        let udaf = make(&arg_types);
        Ok(Expr::AggregateFunction(AggregateFunction::new_udf(udaf, args, call.distinct, filter, order_by, None)))
    }

    /// The plan's different rows in these columns.
    pub(super) fn distinct(&mut self, plan: LogicalPlan, columns: &[Col]) -> Result<LogicalPlan> {
        if columns.is_empty() {
            // All rows without columns are the same one.
            let one = Some(Box::new(Expr::Literal(ScalarValue::Int64(Some(1)), None)));
            return Ok(LogicalPlan::Limit(Limit { skip: None, fetch: one, input: Arc::new(plan) }));
        }
        let fresh: Vec<Col> = columns.iter().map(|col| self.statement.column(col.ty)).collect();
        let renamed = columns.iter().zip(&fresh).map(|(col, fresh)| column(col.id).alias(column_name(fresh.id)));
        let plan = project(plan, renamed.collect())?;
        let keys: Vec<(Col, Scalar)> =
            columns.iter().copied().zip(fresh.iter().map(|fresh| Scalar::Column(*fresh))).collect();
        self.groups(plan, &keys, None, Vec::new())
    }

    pub(super) fn distinct_on(&mut self, input: &Rel, on: &[Scalar]) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        let order = match &plan {
            LogicalPlan::Sort(sort) => sort.expr.clone(),
            _ => Vec::new(),
        };
        let on: Vec<Scalar> = on.iter().map(|key| normal(key).unwrap_or_else(|| key.clone())).collect();
        let keys = self.exprs(&on, &mut plan)?;
        Ok(extension(DistinctOn { input: Arc::new(plan), keys, order }))
    }
}

fn first_value(col: Col) -> Expr {
    let call = AggregateFunction::new_udf(first_value_udaf(), vec![column(col.id)], false, None, Vec::new(), None);
    Expr::AggregateFunction(call)
}

fn when_not_null(key: ColId, value: ColId) -> Expr {
    Expr::Case(datafusion::logical_expr::Case {
        expr: None,
        when_then_expr: vec![(Box::new(Expr::IsNotNull(Box::new(column(key)))), Box::new(column(value)))],
        else_expr: None,
    })
}
