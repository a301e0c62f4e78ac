//! Bound trees to the engine's logical plans.
//!
//! Every column is called `c<number>` and has no qualifier, so nothing can be ambiguous. A node may make more columns
//! than the tree says (keys and subquery values that were added on the way); whoever needs exactly some projects to
//! them. No arithmetic of the engine's is used: what a scalar becomes is decided in `kalamdb_sql::lower`.

mod group;
mod join;
mod set_op;
mod subquery;
mod window;

use super::error::engine_error;
use super::lock_rows::LockRows;
use super::project_set;
use super::provider::{Known, Leaf, Source, batch, known_places};
use super::running::{self, Statement};
use arrow_schema::{Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::{Cast, Sort};
use datafusion::logical_expr::{
    EmptyRelation, Expr, ExprSchemable, Extension, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Projection,
    Sort as SortNode,
};
use kalamdb_commons::{ColumnId, PgType, Result, SqlError, SqlState, SqlType};
use kalamdb_sql::bind::bound::{Col, ColId, LockTarget, Rel, Scalar, SetCall, SortKey};
use kalamdb_sql::bind::walk;
use kalamdb_sql::function::{Kind, sort_key};
use kalamdb_sql::lower::column_name;
use kalamdb_sql::types;
use set_op::{union, work_name};
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
            Rel::Made { step, columns } => {
                let made = self.statement.execution.made.get(*step);
                let source = made.ok_or_else(|| SqlError::internal("a step that was not carried out"))?.clone();
                let places = known_places(columns.iter().map(|(place, _)| place + 1).max().unwrap_or(0));
                self.scan(source, columns.iter().map(|(place, col)| (places[*place], *col)).collect())
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
            Rel::Filter { input, predicate } => self.filtered(input, predicate),
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
            let places = known_places(columns.len());
            let rows = batch(Arc::new(Schema::new(fields(columns))), arrays, rows.len())?;
            let name = "*VALUES*".to_owned();
            let source = Arc::new(Known { name, scan_kind: "Values Scan", columns: places.clone(), rows });
            return self.scan(source, places.into_iter().zip(columns.iter().copied()).collect());
        }
        let mut plan = one_row();
        let mut exprs = Vec::with_capacity(rows.len());
        for row in rows {
            let lifted = row.iter().map(|scalar| self.lift(scalar, &mut plan)).collect::<Result<Vec<_>>>()?;
            exprs.push(lifted);
        }
        let made = match exprs.as_slice() {
            [row] => {
                let made: Vec<(Col, Scalar)> = columns.iter().copied().zip(row.iter().cloned()).collect();
                self.extend(plan, &made)?
            }
            rows => {
                let exprs = rows.iter().flatten().map(|scalar| self.statement.expr(scalar)).collect::<Result<_>>()?;
                super::values::plan(plan, columns, exprs)?
            }
        };
        project(made, columns.iter().map(|col| column(col.id)).collect())
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
        project_set::plan(plan, calls, args, ordinality, around)
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
}

/// The sort key of a scalar whose Arrow order or equality is not PostgreSQL's.
fn normal(scalar: &Scalar) -> Option<Scalar> {
    let function = sort_key(scalar.ty().ty)?;
    if matches!(scalar, Scalar::Call { function: called, .. } if called.oid == function.oid) {
        return None;
    }
    Some(Scalar::Call { function, args: vec![scalar.clone()], ty: function.returns.into() })
}

pub(super) fn column(id: ColId) -> Expr {
    Expr::Column(Column::new_unqualified(column_name(id)))
}

/// The fields of columns in a plan: any may be NULL.
pub(super) fn fields(columns: &[Col]) -> Vec<Field> {
    columns.iter().map(|col| Field::new(column_name(col.id), col.ty.ty.arrow(), true)).collect()
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
