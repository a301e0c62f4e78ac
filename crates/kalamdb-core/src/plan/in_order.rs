//! ORDER BY … LIMIT by an index or the primary key: the first rows are read instead of sorting all. An index gives them
//! in its order. Of a primary key, hot rows and each segment give their own first rows, and the sort stays to choose
//! among these. `min` and `max` of a key's first column are the same with one row.
//!
//! Only where the limit stands on the rows of the scan itself: with a filter between nobody knows how much of the index
//! would have to be read.

use super::provider::{InOrder as ScanInOrder, ScanExec};
use arrow_schema::SortOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as EngineResult;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(super) struct InOrder;

impl PhysicalOptimizerRule for InOrder {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> EngineResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            if let Some(sort) = plan.downcast_ref::<SortExec>()
                && let Some(fetch) = sort.fetch()
            {
                let order: Vec<PhysicalSortExpr> = sort.expr().iter().cloned().collect();
                return Ok(match ordered(sort.input(), &order, fetch)? {
                    Some((input, true)) => {
                        Transformed::yes(Arc::new(GlobalLimitExec::new(input, 0, Some(fetch))) as Arc<dyn ExecutionPlan>)
                    }
                    Some((input, false)) => Transformed::yes(over(plan, input)?),
                    None => Transformed::no(plan),
                });
            }
            if let Some(aggregate) = plan.downcast_ref::<AggregateExec>()
                && let Some(order) = extreme(aggregate)
                // An index begins or ends with NULLs, a primary key has none.
                && let Some((input, false)) = ordered(aggregate.input(), &[order], 1)?
            {
                return Ok(Transformed::yes(over(plan, input)?));
            }
            Ok(Transformed::no(plan))
        })
        .data()
    }

    fn name(&self) -> &str {
        "in_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The order whose first row is all that an aggregate of all rows needs: `min(x)` or `max(x)`, however often.
fn extreme(aggregate: &AggregateExec) -> Option<PhysicalSortExpr> {
    let is_first = matches!(aggregate.mode(), AggregateMode::Single | AggregateMode::Partial);
    let all_rows = aggregate.group_expr().is_true_no_grouping() && aggregate.filter_expr().iter().all(Option::is_none);
    if !is_first || !all_rows {
        return None;
    }
    let mut found: Option<PhysicalSortExpr> = None;
    for call in aggregate.aggr_expr() {
        let descending = match call.fun().name() {
            "min" => false,
            "max" => true,
            _ => return None,
        };
        let [expr] = <[_; 1]>::try_from(call.expressions()).ok()?;
        let order = PhysicalSortExpr::new(expr, SortOptions { descending, nulls_first: descending });
        if found.as_ref().is_some_and(|found| *found != order) {
            return None;
        }
        found = Some(order);
    }
    found
}

/// The node over another input.
fn over(plan: Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> EngineResult<Arc<dyn ExecutionPlan>> {
    plan.replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// So many of a plan's first rows in this order, if its scan has a way to them; whether they come first and in order.
fn ordered(
    plan: &Arc<dyn ExecutionPlan>,
    order: &[PhysicalSortExpr],
    rows: usize,
) -> EngineResult<Option<(Arc<dyn ExecutionPlan>, bool)>> {
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        let wanted: Option<Vec<_>> = order
            .iter()
            .map(|sort| Some((place(&sort.expr)?, sort.options.descending, sort.options.nulls_first)))
            .collect();
        return Ok(wanted.and_then(|wanted| scan.in_order(&wanted, rows)).map(|found| match found {
            ScanInOrder::Sorted(scan) => (Arc::new(scan) as Arc<dyn ExecutionPlan>, true),
            ScanInOrder::Among(scan) => (Arc::new(scan) as Arc<dyn ExecutionPlan>, false),
        }));
    }
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let below: Option<Vec<PhysicalSortExpr>> = order
        .iter()
        .map(|sort| Some(PhysicalSortExpr { expr: through(&sort.expr, projection)?, options: sort.options }))
        .collect();
    let Some(below) = below else { return Ok(None) };
    match ordered(projection.input(), &below, rows)? {
        Some((input, sorted)) => Ok(Some((over(plan.clone(), input)?, sorted))),
        None => Ok(None),
    }
}

/// What an expression over a projection's columns is below it.
fn through(expr: &Arc<dyn PhysicalExpr>, projection: &ProjectionExec) -> Option<Arc<dyn PhysicalExpr>> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return projection.expr().get(column.index()).map(|made| made.expr.clone());
    }
    let children: Vec<Arc<dyn PhysicalExpr>> =
        expr.children().into_iter().map(|child| through(child, projection)).collect::<Option<_>>()?;
    expr.clone().with_new_children(children).ok()
}

/// The column of the scan that an expression is, perhaps as its sort key.
fn place(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(column.index());
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    match call.args() {
        [arg] if call.name().contains("kalam_key") => arg.downcast_ref::<Column>().map(Column::index),
        _ => None,
    }
}
