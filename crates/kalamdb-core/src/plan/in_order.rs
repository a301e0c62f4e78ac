//! ORDER BY … LIMIT by an index: the first rows are read in its order instead of sorting all.
//!
//! Only where the limit stands on the rows of the scan itself: with a filter between nobody knows how much of the index
//! would have to be read.

use super::provider::ScanExec;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as EngineResult;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
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
            let Some(sort) = plan.downcast_ref::<SortExec>() else { return Ok(Transformed::no(plan)) };
            let Some(fetch) = sort.fetch() else { return Ok(Transformed::no(plan)) };
            let order: Vec<PhysicalSortExpr> = sort.expr().iter().cloned().collect();
            Ok(match ordered(sort.input(), &order, fetch)? {
                Some(input) => {
                    Transformed::yes(Arc::new(GlobalLimitExec::new(input, 0, Some(fetch))) as Arc<dyn ExecutionPlan>)
                }
                None => Transformed::no(plan),
            })
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

/// So many of a plan's first rows in this order, if its scan has an index that says so.
fn ordered(
    plan: &Arc<dyn ExecutionPlan>,
    order: &[PhysicalSortExpr],
    rows: usize,
) -> EngineResult<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        let wanted: Option<Vec<_>> = order
            .iter()
            .map(|sort| Some((place(&sort.expr)?, sort.options.descending, sort.options.nulls_first)))
            .collect();
        return Ok(wanted
            .and_then(|wanted| scan.in_order(&wanted, rows))
            .map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>));
    }
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let below: Option<Vec<PhysicalSortExpr>> = order
        .iter()
        .map(|sort| Some(PhysicalSortExpr { expr: through(&sort.expr, projection)?, options: sort.options }))
        .collect();
    let Some(below) = below else { return Ok(None) };
    match ordered(projection.input(), &below, rows)? {
        Some(input) => {
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            plan.clone().replace_children(vec![input], options).map(Some)
        }
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
