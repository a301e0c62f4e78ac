//! Bound trees to the engine's logical plans.
//!
//! Every column is called `c<number>` and has no qualifier, so nothing can be ambiguous. A node may make more columns
//! than the tree says (keys and subquery values that were added on the way); whoever needs exactly some projects to
//! them. No arithmetic of the engine's is used: what a scalar becomes is decided in `kalamdb_sql::lower`.

use super::apply::{Answer, Apply, Inner};
use super::distinct_on::DistinctOn;
use super::error::engine_error;
use super::flatten::{self, Use};
use super::lock_rows::LockRows;
use super::project_set::ProjectSet;
use super::provider::{Known, Leaf, Source, batch};
use super::running::{self, Statement};
use arrow_schema::{DataType, Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{
    AggregateFunction, Cast, GroupingSet, Sort, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::{
    Aggregate, EmptyRelation, Expr, ExprSchemable, Extension, Filter, Join, JoinConstraint, Limit, LogicalPlan,
    LogicalPlanBuilder, Projection, RecursiveQuery, Sort as SortNode, Union, Window, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition,
};
use kalamdb_commons::{ColumnId, PgType, Result, SqlError, SqlState, SqlType};
use kalamdb_sql::bind::bound::{
    AggregateCall, Col, ColId, Each, FrameBound, FrameUnits, JoinKind, LockTarget, Rel, Scalar, SetCall, SetOp,
    SortKey, Subquery, SubqueryKind, WindowCall,
};
use kalamdb_sql::bind::walk;
use kalamdb_sql::function::{Kind, sort_key};
use kalamdb_sql::lower::column_name;
use kalamdb_sql::types;
use std::sync::Arc;

/// Lowers the trees of one statement.
pub(super) struct Lowering<'a> {
    pub(super) statement: &'a Arc<Statement>,
}

impl Lowering<'_> {
    /// The plan of a query whose columns are exactly `outputs`, in order.
    ///
    /// # Errors
    /// 0A000 for what cannot be planned yet; XX000 for a tree that binding cannot have made.
    pub(super) fn query(&mut self, rel: &Rel, outputs: &[ColId]) -> Result<LogicalPlan> {
        let plan = self.rel(rel)?;
        let exprs = outputs.iter().enumerate().map(|(at, id)| column(*id).alias(format!("o{at}")));
        project(plan, exprs.collect())
    }

    /// The plan of a tree.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(super) fn rel(&mut self, rel: &Rel) -> Result<LogicalPlan> {
        // Trees nest as deep as the text does.
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || self.node(rel))
    }

    fn node(&mut self, rel: &Rel) -> Result<LogicalPlan> {
        match rel {
            Rel::OneRow => Ok(one_row()),
            Rel::Scan { need, columns } => {
                let leaf = self.statement.execution.leaves.get(need.0);
                let source = leaf.ok_or_else(|| SqlError::internal("a scan without a relation"))?;
                self.scan(source.clone(), columns.clone())
            }
            Rel::Values { columns, rows } => self.values(columns, rows),
            Rel::Extend { input, columns } => {
                let mut plan = self.rel(input)?;
                let mut made = Vec::with_capacity(columns.len());
                for (col, scalar) in columns {
                    made.push((*col, self.lift(scalar, &mut plan)?));
                }
                self.extend(plan, &made)
            }
            Rel::Narrow { input, columns } => {
                let plan = self.rel(input)?;
                project(plan, columns.iter().map(|col| column(col.id)).collect())
            }
            Rel::Filter { input, predicate } => self.filter(input, predicate),
            Rel::Join { kind, left, right, on, lateral } => self.join(*kind, left, right, on, *lateral),
            Rel::Aggregate { input, keys, sets, aggregates } => {
                self.aggregate(input, keys, sets.as_deref(), aggregates)
            }
            Rel::Window { input, calls } => self.window(input, calls),
            Rel::ProjectSet { input, calls, ordinality } => self.project_set(input, calls, *ordinality),
            Rel::Distinct { input, on: None } => {
                let plan = self.rel(input)?;
                self.distinct(plan, &input.columns())
            }
            Rel::Distinct { input, on: Some(on) } => self.distinct_on(input, on),
            Rel::Sort { input, keys } => {
                let mut plan = self.rel(input)?;
                let expr = self.sort_keys(keys, &mut plan)?;
                Ok(LogicalPlan::Sort(SortNode { expr, input: Arc::new(plan), fetch: None }))
            }
            Rel::Limit { input, offset, count } => self.limit(input, offset.as_ref(), count.as_ref()),
            Rel::SetOperation { op, all, left, right, columns } => self.set_operation(*op, *all, left, right, columns),
            Rel::Recursive { work, seed, step, all, columns } => self.recursive(*work, seed, step, *all, columns),
            Rel::WorkTable { work, columns } => {
                let schema = Arc::new(Schema::new(fields(columns)));
                let table = CteWorkTable::new(&work_name(*work), schema);
                let source = provider_as_source(Arc::new(table));
                let plan = LogicalPlanBuilder::scan(work_name(*work), source, None).and_then(LogicalPlanBuilder::build);
                unqualified(plan.map_err(engine_error)?)
            }
            Rel::LockRows { input, targets } => self.lock_rows(input, targets, None),
        }
    }

    fn scan(&mut self, source: Arc<dyn Source>, columns: Vec<(ColumnId, Col)>) -> Result<LogicalPlan> {
        let name = format!("s{}", self.statement.fresh().0);
        let source = provider_as_source(Arc::new(Leaf::new(source, columns)));
        let plan = LogicalPlanBuilder::scan(name, source, None).and_then(LogicalPlanBuilder::build);
        unqualified(plan.map_err(engine_error)?)
    }

    fn values(&mut self, columns: &[Col], rows: &[Vec<Scalar>]) -> Result<LogicalPlan> {
        // A long list of constants is a batch, not a hundred thousand expressions.
        let is_known = |scalar: &Scalar| {
            matches!(scalar, Scalar::Const(..) | Scalar::Param(..) | Scalar::Session(..)) && !running::is_outer(scalar)
        };
        if rows.iter().flatten().all(is_known) && !columns.is_empty() {
            let mut arrays = Vec::with_capacity(columns.len());
            for (at, col) in columns.iter().enumerate() {
                let items = rows.iter().map(|row| self.known(row.get(at))).collect::<Result<Vec<_>>>()?;
                arrays.push(types::array_of(col.ty, &items)?);
            }
            let places: Vec<ColumnId> = (1..).map(ColumnId).take(columns.len()).collect();
            let rows = batch(Arc::new(Schema::new(fields(columns))), arrays, rows.len())?;
            let source = Arc::new(Known { name: "*VALUES*", columns: places.clone(), rows });
            return self.scan(source, places.into_iter().zip(columns.iter().copied()).collect());
        }
        let mut plan = one_row();
        let mut exprs = Vec::with_capacity(rows.len());
        for row in rows {
            let lifted = row.iter().map(|scalar| self.lift(scalar, &mut plan)).collect::<Result<Vec<_>>>()?;
            exprs.push(lifted);
        }
        // A row each of one row: whatever stands in it, subqueries and volatile functions too.
        let mut inputs = Vec::with_capacity(exprs.len());
        for row in &exprs {
            let made: Vec<(Col, Scalar)> = columns.iter().copied().zip(row.iter().cloned()).collect();
            let row = self.extend(plan.clone(), &made)?;
            inputs.push(project(row, columns.iter().map(|col| column(col.id)).collect())?);
        }
        union(inputs, columns)
    }

    fn known(&self, scalar: Option<&Scalar>) -> Result<kalamdb_commons::Datum> {
        let execution = &self.statement.execution;
        match scalar {
            Some(Scalar::Const(datum, _)) => Ok(datum.clone()),
            Some(Scalar::Session(value, _)) => Ok(execution.session.value(*value)),
            Some(Scalar::Param(number, _)) => number
                .checked_sub(1)
                .and_then(|at| execution.parameters.get(at))
                .map(|(datum, _)| datum.clone())
                .ok_or_else(|| {
                    SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}"))
                }),
            _ => Err(SqlError::internal("a row of VALUES is too short")),
        }
    }

    /// The plan with these columns added.
    pub(super) fn extend(&mut self, plan: LogicalPlan, columns: &[(Col, Scalar)]) -> Result<LogicalPlan> {
        if columns.is_empty() {
            return Ok(plan);
        }
        let mut exprs = all_columns(&plan);
        for (col, scalar) in columns {
            exprs.push(self.statement.expr(scalar)?.alias(column_name(col.id)));
        }
        project(plan, exprs)
    }

    fn filter(&mut self, input: &Rel, predicate: &Scalar) -> Result<LogicalPlan> {
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

    fn join(&mut self, kind: JoinKind, left: &Rel, right: &Rel, on: &Scalar, lateral: bool) -> Result<LogicalPlan> {
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
            return self.filter(&cross, on);
        }
        // A subquery of an outer join's condition is computed on the side whose columns it reads.
        let (left_ids, right_ids) = (flatten::ids(left), flatten::ids(right));
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
                return self.filter(&chain, on);
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

    fn aggregate(
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
        let order_by = self.sort_keys(&call.order_by, plan)?;
        let udaf = make(&arg_types);
        Ok(Expr::AggregateFunction(AggregateFunction::new_udf(udaf, args, call.distinct, filter, order_by, None)))
    }

    fn window(&mut self, input: &Rel, calls: &[(Col, WindowCall)]) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        let mut groups: Vec<(Vec<Expr>, Vec<Sort>, Vec<Expr>)> = Vec::new();
        for (col, call) in calls {
            let function = self.window_call(call, &mut plan)?;
            let (partition_by, order_by) = (function.params.partition_by.clone(), function.params.order_by.clone());
            let expr = Expr::WindowFunction(Box::new(function)).alias(column_name(col.id));
            match groups.iter_mut().find(|(partition, order, _)| *partition == partition_by && *order == order_by) {
                Some((_, _, exprs)) => exprs.push(expr),
                None => groups.push((partition_by, order_by, vec![expr])),
            }
        }
        // The longest order first: the shorter ones may be its beginning and need no sort of their own.
        groups.sort_by_key(|(partition, order, _)| std::cmp::Reverse(partition.len() + order.len()));
        for (_, _, exprs) in groups {
            plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(plan)).map_err(engine_error)?);
        }
        conformed(plan, calls.iter().map(|(col, call)| (col.id, call.ty)))
    }

    fn window_call(&mut self, call: &WindowCall, plan: &mut LogicalPlan) -> Result<WindowFunction> {
        let arg_types: Vec<PgType> = call.args.iter().map(Scalar::ty).collect();
        let fun = match call.function.kind {
            Kind::Window(make) => WindowFunctionDefinition::WindowUDF(make(&arg_types)),
            Kind::Aggregate(make) => WindowFunctionDefinition::AggregateUDF(make(&arg_types)),
            _ => return Err(SqlError::internal(format!("{:?} is not a window function", call.function))),
        };
        let mut args = self.exprs(&call.args, plan)?;
        if args.is_empty() && matches!(fun, WindowFunctionDefinition::AggregateUDF(_)) {
            args.push(Expr::Literal(ScalarValue::Int64(Some(1)), None));
        }
        let partition_by: Vec<Scalar> =
            call.partition_by.iter().map(|key| normal(key).unwrap_or_else(|| key.clone())).collect();
        let partition_by = self.exprs(&partition_by, plan)?;
        let filter = self.exprs(call.filter.as_slice(), plan)?.pop().map(Box::new);
        let order_by = self.sort_keys(&call.order_by, plan)?;
        let window_frame = self.frame(call)?;
        let params = WindowFunctionParams {
            args,
            partition_by,
            order_by,
            window_frame,
            filter,
            null_treatment: None,
            distinct: false,
        };
        Ok(WindowFunction { fun, params })
    }

    fn frame(&mut self, call: &WindowCall) -> Result<WindowFrame> {
        let frame = &call.frame;
        let units = match frame.units {
            FrameUnits::Rows => WindowFrameUnits::Rows,
            FrameUnits::Range => WindowFrameUnits::Range,
            FrameUnits::Groups => WindowFrameUnits::Groups,
        };
        // Without an order all rows are peers: CURRENT ROW reaches to both ends.
        if call.order_by.is_empty() && units != WindowFrameUnits::Rows {
            let unbounded = ScalarValue::UInt64(None);
            return Ok(WindowFrame::new_bounds(
                WindowFrameUnits::Rows,
                WindowFrameBound::Preceding(unbounded.clone()),
                WindowFrameBound::Following(unbounded),
            ));
        }
        let by = call.order_by.first().map(|key| key.expr.ty().ty.arrow());
        let start = self.frame_bound(&frame.start, units, by.as_ref(), "starting")?;
        let end = self.frame_bound(&frame.end, units, by.as_ref(), "ending")?;
        Ok(WindowFrame::new_bounds(units, start, end))
    }

    fn frame_bound(
        &mut self,
        bound: &FrameBound,
        units: WindowFrameUnits,
        by: Option<&DataType>,
        which: &str,
    ) -> Result<WindowFrameBound> {
        let unbounded = match units {
            WindowFrameUnits::Range => ScalarValue::Null,
            WindowFrameUnits::Rows | WindowFrameUnits::Groups => ScalarValue::UInt64(None),
        };
        Ok(match bound {
            FrameBound::UnboundedPreceding => WindowFrameBound::Preceding(unbounded),
            FrameBound::UnboundedFollowing => WindowFrameBound::Following(unbounded),
            FrameBound::CurrentRow => WindowFrameBound::CurrentRow,
            FrameBound::Preceding(offset) => WindowFrameBound::Preceding(self.frame_offset(offset, units, by, which)?),
            FrameBound::Following(offset) => WindowFrameBound::Following(self.frame_offset(offset, units, by, which)?),
        })
    }

    fn frame_offset(
        &mut self,
        offset: &Scalar,
        units: WindowFrameUnits,
        by: Option<&DataType>,
        which: &str,
    ) -> Result<ScalarValue> {
        let value = self.statement.constant(offset)?;
        if value.is_null() {
            let message = format!("frame {which} offset must not be null");
            return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
        }
        let target = match units {
            WindowFrameUnits::Rows | WindowFrameUnits::Groups => DataType::UInt64,
            WindowFrameUnits::Range => match by {
                Some(by) if by.is_integer() || by.is_floating() => by.clone(),
                Some(DataType::Date32 | DataType::Timestamp(..)) => value.data_type(),
                _ => return Err(SqlError::unsupported("RANGE with an offset over this type")),
            },
        };
        let negative = || {
            let message = format!("frame {which} offset must not be negative");
            SqlError::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, message)
        };
        if value.data_type().is_numeric() && value < ScalarValue::new_zero(&value.data_type()).map_err(engine_error)? {
            return Err(negative());
        }
        value.cast_to(&target).map_err(|_| negative())
    }

    fn project_set(
        &mut self,
        input: &Rel,
        calls: &[(Vec<Col>, SetCall)],
        ordinality: Option<Col>,
    ) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        let mut args = Vec::with_capacity(calls.len());
        for (columns, call) in calls {
            args.push(match call.function.kind {
                Kind::Set(_) => self.exprs(&call.args, &mut plan)?,
                // Any other function in FROM is a set of one row.
                _ => {
                    let ty = columns.first().map_or(PgType::from(SqlType::Void), |col| col.ty);
                    let value = match call.function.kind {
                        Kind::Session(value) => Scalar::Session(value, ty),
                        _ => Scalar::Call { function: call.function, args: call.args.clone(), ty },
                    };
                    self.exprs(&[value], &mut plan)?
                }
            });
        }
        let around = self.statement.execution.around.clone();
        ProjectSet::plan(plan, calls, args, ordinality, around)
    }

    /// The plan's different rows in these columns.
    fn distinct(&mut self, plan: LogicalPlan, columns: &[Col]) -> Result<LogicalPlan> {
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

    fn distinct_on(&mut self, input: &Rel, on: &[Scalar]) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        let order = match &plan {
            LogicalPlan::Sort(sort) => sort.expr.clone(),
            _ => Vec::new(),
        };
        let on: Vec<Scalar> = on.iter().map(|key| normal(key).unwrap_or_else(|| key.clone())).collect();
        let keys = self.exprs(&on, &mut plan)?;
        Ok(extension(DistinctOn { input: Arc::new(plan), keys, order }))
    }

    fn limit(&mut self, input: &Rel, offset: Option<&Scalar>, count: Option<&Scalar>) -> Result<LogicalPlan> {
        let (skip, fetch) = (self.count(offset, running::offset_value)?, self.count(count, running::limit_value)?);
        let known = |expr: &Option<Box<Expr>>| match expr.as_deref() {
            None => Some(0),
            Some(Expr::Literal(ScalarValue::Int64(Some(count)), _)) => usize::try_from(*count).ok(),
            _ => None,
        };
        let plan = match input {
            // FOR UPDATE locks the rows that come out, no more.
            Rel::LockRows { input, targets } if fetch.is_some() => {
                let rows = known(&skip).zip(known(&fetch)).and_then(|(skip, fetch)| skip.checked_add(fetch));
                self.lock_rows(input, targets, rows)?
            }
            input => self.rel(input)?,
        };
        if skip.is_none() && fetch.is_none() {
            return Ok(plan);
        }
        Ok(LogicalPlan::Limit(Limit { skip, fetch, input: Arc::new(plan) }))
    }

    fn count(&mut self, scalar: Option<&Scalar>, value: fn(&Expr) -> Result<Option<i64>>) -> Result<Option<Box<Expr>>> {
        let Some(scalar) = scalar else { return Ok(None) };
        let mut reads_outer = false;
        walk::deep(scalar, &mut |inner| reads_outer |= running::is_outer(inner));
        let expr = self.statement.expr(scalar)?;
        if reads_outer {
            return Ok(Some(Box::new(expr)));
        }
        Ok(value(&expr)?.map(|count| Box::new(Expr::Literal(ScalarValue::Int64(Some(count)), None))))
    }

    fn set_operation(
        &mut self,
        op: SetOp,
        all: bool,
        left: &(Box<Rel>, Vec<ColId>),
        right: &(Box<Rel>, Vec<ColId>),
        columns: &[Col],
    ) -> Result<LogicalPlan> {
        let left = self.side(left, columns)?;
        if op == SetOp::Union {
            let right = self.side(right, columns)?;
            let plan = union(vec![left, right], columns)?;
            return if all { Ok(plan) } else { self.distinct(plan, columns) };
        }
        if columns.is_empty() {
            return Err(SqlError::unsupported("INTERSECT and EXCEPT without columns"));
        }
        let fresh: Vec<Col> = columns.iter().map(|col| self.statement.column(col.ty)).collect();
        let right = self.side(right, &fresh)?;
        let mut on = Vec::new();
        for (col, other) in columns.iter().zip(&fresh) {
            let (a, b) = (Scalar::Column(*col), Scalar::Column(*other));
            let (a, b) = (normal(&a).unwrap_or(a), normal(&b).unwrap_or(b));
            on.push((self.statement.expr(&a)?, self.statement.expr(&b)?));
        }
        let (left, right) = if all {
            // The n-th of equal rows on one side answers to the n-th on the other.
            let (nth, other) =
                (self.statement.column(SqlType::Int8.into()), self.statement.column(SqlType::Int8.into()));
            let left = numbered(left, on.iter().map(|(a, _)| a.clone()).collect(), nth)?;
            let right = numbered(right, on.iter().map(|(_, b)| b.clone()).collect(), other)?;
            on.push((column(nth.id), column(other.id)));
            (left, right)
        } else {
            (self.distinct(left, columns)?, right)
        };
        let kind = if op == SetOp::Intersect { JoinType::LeftSemi } else { JoinType::LeftAnti };
        let join = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            None,
            kind,
            JoinConstraint::On,
            NullEquality::NullEqualsNull,
            false,
        );
        let plan = LogicalPlan::Join(join.map_err(engine_error)?);
        project(plan, columns.iter().map(|col| column(col.id)).collect())
    }

    /// One side of a set operation under the names of the result.
    fn side(&mut self, side: &(Box<Rel>, Vec<ColId>), columns: &[Col]) -> Result<LogicalPlan> {
        let plan = self.rel(&side.0)?;
        let exprs = side.1.iter().zip(columns).map(|(id, col)| column(*id).alias(column_name(col.id)));
        project(plan, exprs.collect())
    }

    fn recursive(
        &mut self,
        work: u32,
        seed: &(Box<Rel>, Vec<ColId>),
        step: &(Box<Rel>, Vec<ColId>),
        all: bool,
        columns: &[Col],
    ) -> Result<LogicalPlan> {
        let seed = self.side(seed, columns)?;
        let step = self.side(step, columns)?;
        let query = RecursiveQuery::try_new(work_name(work), Arc::new(seed), Arc::new(step), !all);
        Ok(LogicalPlan::RecursiveQuery(query.map_err(engine_error)?))
    }

    fn lock_rows(&mut self, input: &Rel, targets: &[LockTarget], rows: Option<usize>) -> Result<LogicalPlan> {
        let locker = self.statement.execution.locker.clone();
        let locker = locker.ok_or_else(|| SqlError::unsupported("a row lock in this place"))?;
        let plan = self.rel(input)?;
        // The locker sees the columns by their numbers.
        let columns = input.columns();
        let plan = project(plan, columns.iter().map(|col| column(col.id)).collect())?;
        let columns = columns.iter().map(|col| col.id).collect();
        Ok(extension(LockRows::new(plan, columns, targets.to_vec(), rows, locker)))
    }

    fn sort_keys(&mut self, keys: &[SortKey], plan: &mut LogicalPlan) -> Result<Vec<Sort>> {
        let mut sorts = Vec::with_capacity(keys.len());
        for key in keys {
            let scalar = self.lift(&key.expr, plan)?;
            let scalar = normal(&scalar).unwrap_or(scalar);
            sorts.push(Sort::new(self.statement.expr(&scalar)?, !key.descending, key.nulls_first));
        }
        Ok(sorts)
    }

    fn exprs(&mut self, scalars: &[Scalar], plan: &mut LogicalPlan) -> Result<Vec<Expr>> {
        scalars
            .iter()
            .map(|scalar| {
                let scalar = self.lift(scalar, plan)?;
                self.statement.expr(&scalar)
            })
            .collect()
    }

    /// The scalar without subqueries: their values become columns of the plan.
    fn lift(&mut self, scalar: &Scalar, plan: &mut LogicalPlan) -> Result<Scalar> {
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
    fn lift_where(
        &mut self,
        scalar: &Scalar,
        side: &mut dyn FnMut(&Subquery) -> Option<bool>,
        left: &mut LogicalPlan,
        right: &mut LogicalPlan,
    ) -> Result<Scalar> {
        let mut scalar = scalar.clone();
        let mut result = Ok(());
        walk::rewrite(&mut scalar, &mut |inner| {
            let Scalar::Subquery(subquery) = inner else { return None };
            let lifted = match side(subquery) {
                Some(true) => self.subquery(subquery, left),
                Some(false) => self.subquery(subquery, right),
                None => Err(SqlError::unsupported("a subquery over both sides in the condition of an outer join")),
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

    /// The body of an [`Each`] is compiled by itself: what it reads of an outer query must be a column around it.
    fn lift_each(&mut self, each: &mut Each, plan: &mut LogicalPlan) -> Result<()> {
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
    fn apply(
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
        Apply::plan(plan, Arc::new(inner), args, results)
    }
}

/// The columns around a subquery that it reads, its test's included.
fn subquery_reads(subquery: &Subquery) -> Vec<Col> {
    walk::columns_used(&Scalar::Subquery(Box::new(subquery.clone())))
}

/// Whether there is something in a scalar that a plan must have computed before.
fn needs_lift(scalar: &Scalar) -> bool {
    let mut found = false;
    walk::deep(scalar, &mut |inner| match inner {
        Scalar::Subquery(_) => found = true,
        Scalar::Each(each) => walk::deep(&each.expr, &mut |inner| found |= running::is_outer(inner)),
        _ => {}
    });
    found
}

/// The sort key of a scalar whose Arrow order or equality is not PostgreSQL's.
fn normal(scalar: &Scalar) -> Option<Scalar> {
    let function = sort_key(scalar.ty().ty)?;
    if matches!(scalar, Scalar::Call { function: called, .. } if called.oid == function.oid) {
        return None;
    }
    Some(Scalar::Call { function, args: vec![scalar.clone()], ty: function.returns.into() })
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

pub(super) fn column(id: ColId) -> Expr {
    Expr::Column(Column::new_unqualified(column_name(id)))
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

/// The fields of columns in a plan: any may be NULL.
pub(super) fn fields(columns: &[Col]) -> Vec<Field> {
    columns.iter().map(|col| Field::new(column_name(col.id), col.ty.ty.arrow(), true)).collect()
}

fn work_name(work: u32) -> String {
    format!("w{work}")
}

fn one_row() -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) })
}

pub(super) fn extension(node: impl datafusion::logical_expr::UserDefinedLogicalNodeCore) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

fn all_columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().fields().iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))).collect()
}

fn project(plan: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    Projection::try_new(exprs, Arc::new(plan)).map(LogicalPlan::Projection).map_err(engine_error)
}

/// A scan's columns without the scan's name.
fn unqualified(plan: LogicalPlan) -> Result<LogicalPlan> {
    let exprs = plan
        .schema()
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())).alias(field.name()));
    project(plan.clone(), exprs.collect())
}

fn filter(plan: LogicalPlan, predicate: Expr) -> Result<LogicalPlan> {
    Filter::try_new(predicate, Arc::new(plan)).map(LogicalPlan::Filter).map_err(engine_error)
}

fn joined(left: LogicalPlan, right: LogicalPlan, kind: JoinType, on: Option<Expr>) -> Result<LogicalPlan> {
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

fn union(mut inputs: Vec<LogicalPlan>, columns: &[Col]) -> Result<LogicalPlan> {
    if inputs.len() < 2 {
        return match inputs.pop() {
            Some(only) => Ok(only),
            None => {
                let schema = DFSchema::try_from(Schema::new(fields(columns))).map_err(engine_error)?;
                let schema = Arc::new(schema);
                Ok(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }))
            }
        };
    }
    let inputs = inputs.into_iter().map(Arc::new).collect();
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union).map_err(engine_error)
}

/// The plan with the number of each row among those with the same keys.
fn numbered(plan: LogicalPlan, keys: Vec<Expr>, nth: Col) -> Result<LogicalPlan> {
    let unbounded = ScalarValue::UInt64(None);
    let params = WindowFunctionParams {
        args: Vec::new(),
        partition_by: keys,
        order_by: Vec::new(),
        window_frame: WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(unbounded.clone()),
            WindowFrameBound::Following(unbounded),
        ),
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let fun = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    let expr = Expr::WindowFunction(Box::new(WindowFunction { fun, params })).alias(column_name(nth.id));
    Window::try_new(vec![expr], Arc::new(plan)).map(LogicalPlan::Window).map_err(engine_error)
}

/// The plan with these columns in their types' Arrow types: some of the engine's functions answer in others.
fn conformed(plan: LogicalPlan, columns: impl Iterator<Item = (ColId, PgType)>) -> Result<LogicalPlan> {
    let schema = plan.schema().clone();
    let mut exprs = all_columns(&plan);
    let mut differs = false;
    for (id, ty) in columns {
        let name = column_name(id);
        let Some(at) = schema.fields().iter().position(|field| *field.name() == name) else { continue };
        let target = ty.ty.arrow();
        let is = column(id).get_type(schema.as_ref()).map_err(engine_error)?;
        if is != target {
            differs = true;
            exprs[at] = Expr::Cast(Cast::new(Box::new(column(id)), target)).alias(name);
        }
    }
    if differs { project(plan, exprs) } else { Ok(plan) }
}
