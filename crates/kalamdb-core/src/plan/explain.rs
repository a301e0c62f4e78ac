//! EXPLAIN: the plan that would run, or with ANALYZE has run, in the shape that PostgreSQL's readers know.
//!
//! The tree is planned exactly as it is for running. Without ANALYZE nothing is executed: subqueries that run first
//! stay parameters (`$0`), and so do outer columns in the inner plan of an `Apply`; some value that carries the
//! column's number stands for them where the physical plan needs one. Nodes that PostgreSQL does not have (filters,
//! projections) are told with the node below them.

mod expression;
mod print;
mod walk;

use super::Execution;
use super::apply::{ApplyExec, Inner};
use super::error::engine_error;
use super::lower::Lowering;
use super::plan_once::{self, Once, OnceSubquery};
use super::running::{Physical, Statement, filled_with, outer_column};
use datafusion::common::ScalarValue;
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use kalamdb_commons::Result;
use kalamdb_sql::bind::bound::{ColId, Rel, SubqueryKind};
use kalamdb_sql::lower::column_name;
use print::{document, text};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use walk::Walk;

/// The note on a value that stands for a column: the column's name in the plan.
const STANDS_FOR: &str = "column";

/// What EXPLAIN is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ExplainOptions {
    /// Runs the plan too.
    pub analyze: bool,
    /// Estimates.
    pub costs: bool,
    /// Times, with `analyze`.
    pub timing: bool,
    /// Planning and execution times at the end.
    pub summary: bool,
    /// The columns of each node.
    pub verbose: bool,
    /// The form.
    pub format: ExplainFormat,
}

/// The forms of EXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainFormat {
    /// Indented lines.
    Text,
    /// One JSON document.
    Json,
}

/// Explains a tree: the lines of the answer (one for JSON).
///
/// # Errors
/// Those of planning, and with ANALYZE of running.
pub async fn explain(
    rel: &Rel,
    outputs: &[ColId],
    execution: Execution,
    options: ExplainOptions,
) -> Result<Vec<String>> {
    let (rel, outputs, engine) = (rel.clone(), outputs.to_vec(), execution.engine.clone());
    engine.on_threads(async move { explained(&rel, &outputs, execution, options).await }).await
}

async fn explained(rel: &Rel, outputs: &[ColId], execution: Execution, options: ExplainOptions) -> Result<Vec<String>> {
    let begin = Instant::now();
    let statement = Statement::new(execution);
    let once = if options.analyze { Once::Run } else { Once::Pretend };
    let (rel, first) = plan_once::with_values(rel, &statement, once).await?;
    let physical = planned(&rel, outputs, &statement).await?;
    let mut inners = Inners::new();
    collect_inner(&physical.plan, &mut inners).await?;
    let mut inits = Vec::with_capacity(first.len());
    for once_subquery in first {
        let plan = init_plan(&once_subquery, &statement).await?;
        collect_inner(&plan, &mut inners).await?;
        inits.push((once_subquery, plan));
    }
    let planning = begin.elapsed();
    // With ANALYZE the subqueries that run first were run while planning, as for any statement.
    let begin = Instant::now();
    if options.analyze {
        let plan = Physical { plan: physical.plan.clone(), large: physical.large };
        let mut rows = statement.stream(plan);
        while rows.try_next().await?.is_some() {}
    }
    let times = options.summary.then(|| (planning, options.analyze.then(|| begin.elapsed())));
    let root = Walk::new(&options, &inners, &physical.plan).whole(&physical.plan, &inits);
    match options.format {
        ExplainFormat::Text => Ok(text(&root, times, &options)),
        ExplainFormat::Json => document(&root, times, &options).map(|document| vec![document]),
    }
}

async fn planned(rel: &Rel, outputs: &[ColId], statement: &Arc<Statement>) -> Result<Physical> {
    let plan = Lowering { statement }.query(rel, outputs)?;
    let plan = with_stand_ins(&statement.optimized(plan)?)?;
    statement.physical(&plan).await
}

async fn init_plan(once: &OnceSubquery, statement: &Arc<Statement>) -> Result<Arc<dyn ExecutionPlan>> {
    let outputs: Vec<ColId> = match once.subquery.kind {
        SubqueryKind::Exists => Vec::new(),
        _ => once.subquery.columns.iter().take(1).map(|col| col.id).collect(),
    };
    Ok(planned(&once.subquery.rel, &outputs, statement).await?.plan)
}

/// The plan with a value for each placeholder, that says which column it stands for.
fn with_stand_ins(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let mut values: Vec<(ColId, ScalarAndMetadata)> = Vec::new();
    let found = plan.apply(|node| {
        for expr in node.expressions() {
            expr.apply(|inner| {
                if let Expr::Placeholder(placeholder) = inner
                    && let Some(id) = outer_column(placeholder)
                    && let Some(field) = &placeholder.field
                {
                    // Not NULL where possible: NULL would be no key to look for.
                    let value = match ScalarValue::new_default(field.data_type()) {
                        Ok(value) => value,
                        Err(_) => ScalarValue::try_from(field.data_type())?,
                    };
                    let note = BTreeMap::from([(STANDS_FOR.to_owned(), column_name(id))]);
                    values.push((id, ScalarAndMetadata::new(value, Some(FieldMetadata::new(note)))));
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.map_err(engine_error)?;
    if values.is_empty() { Ok(plan.clone()) } else { filled_with(plan, values) }
}

/// The inner plans of each `Apply`, by the place of its inner side in memory.
type Inners = HashMap<usize, Arc<dyn ExecutionPlan>>;

fn place(inner: &Arc<Inner>) -> usize {
    Arc::as_ptr(inner) as usize
}

fn collect_inner<'a>(plan: &'a Arc<dyn ExecutionPlan>, inners: &'a mut Inners) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        if let Some(apply) = plan.downcast_ref::<ApplyExec>() {
            let inner = &apply.operator.work.inner;
            let template = with_stand_ins(inner.optimized().await?)?;
            let physical = inner.statement().physical(&template).await?;
            collect_inner(&physical.plan, inners).await?;
            inners.insert(place(inner), physical.plan);
        }
        for child in plan.children() {
            collect_inner(child, inners).await?;
        }
        Ok(())
    })
}
