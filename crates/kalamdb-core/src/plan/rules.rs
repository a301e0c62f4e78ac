//! The rules that plans are improved by, and the planner of our own nodes.
//!
//! The engine's default list is longer. Left out: rules over its subquery expressions (ours become joins, constants or
//! `Apply` before), rules for nested fields, and rules that lean on exact statistics of files. Each pass that is not
//! run is time that a small query does not spend. Type coercion is no optimizer rule and not here either: every cast
//! is explicit in the bound tree.

use super::apply::{Apply, Applying};
use super::distinct_on::{DistinctOn, FirstRows};
use super::frames::{Frames, Framing};
use super::in_order::InOrder;
use super::lock_rows::{LockRows, LockingRows};
use super::padded::KeepPadded;
use super::project_set::{Making, ProjectSet};
use super::unary::Unary;
use super::values::{Listing, ValuesRows};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::{
    common_subexpr_eliminate::CommonSubexprEliminate, eliminate_cross_join::EliminateCrossJoin,
    eliminate_filter::EliminateFilter, eliminate_group_by_constant::EliminateGroupByConstant,
    eliminate_join::EliminateJoin, eliminate_limit::EliminateLimit, eliminate_outer_join::EliminateOuterJoin,
    extract_equijoin_predicate::ExtractEquijoinPredicate, optimize_projections::OptimizeProjections,
    optimize_unions::OptimizeUnions, propagate_empty_relation::PropagateEmptyRelation,
    push_down_filter::PushDownFilter, push_down_limit::PushDownLimit, simplify_expressions::SimplifyExpressions,
    single_distinct_to_groupby::SingleDistinctToGroupBy,
};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::{
    combine_partial_final_agg::CombinePartialFinalAggregate, ensure_coop::EnsureCooperative,
    ensure_requirements::EnsureRequirements, filter_pushdown::FilterPushdown, join_selection::JoinSelection,
    limit_pushdown::LimitPushdown, limited_distinct_aggregation::LimitedDistinctAggregation,
    output_requirements::OutputRequirements, projection_pushdown::ProjectionPushdown,
    update_aggr_exprs::OptimizeAggregateOrder,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use std::sync::Arc;

/// The logical rules, in the engine's own order.
pub(super) fn logical() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateLimit::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownLimit::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(SingleDistinctToGroupBy::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// The physical rules, in the engine's own order. `TopKAggregation` is left out: it hands the LIMIT of `SELECT DISTINCT m
/// … ORDER BY m LIMIT n` to the groups whose `min` is m, of which n may all have the same.
pub(super) fn physical() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    vec![
        Arc::new(OutputRequirements::new_add_mode()),
        Arc::new(JoinSelection::new()),
        // The sides are settled, and nobody has asked yet what order the rows have.
        Arc::new(KeepPadded),
        Arc::new(LimitedDistinctAggregation::new()),
        Arc::new(EnsureRequirements::new()),
        Arc::new(CombinePartialFinalAggregate::new()),
        Arc::new(OptimizeAggregateOrder::new()),
        Arc::new(OutputRequirements::new_remove_mode()),
        // The sorts are settled.
        Arc::new(InOrder),
        Arc::new(LimitPushdown::new()),
        Arc::new(ProjectionPushdown::new()),
        // Between long stretches of work a plan gives way: that is where a cancelled one ends.
        Arc::new(EnsureCooperative::new()),
        // Lets a join tell the scan of its other side which keys it looks for.
        Arc::new(FilterPushdown::new_post_optimization()),
    ]
}

/// Makes physical plans, our own nodes' too.
#[derive(Debug)]
pub(super) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let own: Arc<dyn ExtensionPlanner + Send + Sync> = Arc::new(OwnNodes);
        DefaultPhysicalPlanner::with_extension_planners(vec![own]).create_physical_plan(plan, session).await
    }
}

struct OwnNodes;

#[async_trait]
impl ExtensionPlanner for OwnNodes {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(logical), Some(input)) = (logical_inputs.first(), physical_inputs.first()) else {
            return Ok(None);
        };
        let mut exprs = Vec::new();
        for expr in node.expressions() {
            exprs.push(planner.create_physical_expr(&expr, logical.schema(), session, planning)?);
        }
        let input = Arc::clone(input);
        let any = node.as_any();
        if let Some(apply) = any.downcast_ref::<Apply>() {
            return Ok(Some(Arc::new(Unary::new(Applying { work: apply.work.clone(), args: exprs }, input))));
        }
        if let Some(values) = any.downcast_ref::<ValuesRows>() {
            return Ok(Some(Arc::new(Unary::new(Listing { rows: values.work.clone(), exprs }, input))));
        }
        if let Some(set) = any.downcast_ref::<ProjectSet>() {
            return Ok(Some(Arc::new(Unary::new(Making { calls: set.work.clone(), args: exprs }, input))));
        }
        if let Some(frames) = any.downcast_ref::<Frames>() {
            return Ok(Some(Arc::new(Unary::new(Framing { calls: frames.work.clone(), exprs }, input))));
        }
        if let Some(distinct) = any.downcast_ref::<DistinctOn>() {
            return Ok(Some(Arc::new(Unary::new(FirstRows::new(distinct, exprs), input))));
        }
        if let Some(lock) = any.downcast_ref::<LockRows>() {
            return Ok(Some(Arc::new(Unary::new(LockingRows::new(lock, &input)?, input))));
        }
        Ok(None)
    }
}
