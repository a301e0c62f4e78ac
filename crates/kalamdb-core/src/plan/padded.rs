//! Outer joins whose nullable side has constant columns.
//!
//! The engine thinks that a column which is constant on one side of a join is constant behind it, and leaves it out of
//! sorts and groups. Behind an outer join it is not: a padded row has NULL there. Above such a join stands a node that
//! passes rows on and promises nothing about them.

use super::unary::{Operator, Unary};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties, SendableRecordBatchStream};
use futures::stream::BoxStream;
use std::sync::Arc;

/// Puts a [`PaddedExec`] above each join that needs one.
#[derive(Debug)]
pub(super) struct KeepPadded;

impl PhysicalOptimizerRule for KeepPadded {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> EngineResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match is_misread(&plan) {
                true => Transformed::yes(Arc::new(PaddedExec::new(Padded, plan)) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "keep_padded"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a join pads rows with NULL in columns that are constant below it.
fn is_misread(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let join_type = match (plan.downcast_ref::<HashJoinExec>(), plan.downcast_ref::<NestedLoopJoinExec>()) {
        (Some(join), _) => *join.join_type(),
        (_, Some(join)) => *join.join_type(),
        _ => return false,
    };
    let nullable: &[usize] = match join_type {
        JoinType::Left => &[1],
        JoinType::Right => &[0],
        JoinType::Full => &[0, 1],
        _ => &[],
    };
    let children = plan.children();
    nullable.iter().filter_map(|side| children.get(*side)).any(|side| {
        let properties = side.equivalence_properties();
        !properties.constants().is_empty()
    })
}

/// The node.
pub(super) type PaddedExec = Unary<Padded>;

/// Passes rows on.
#[derive(Debug, Clone)]
pub(super) struct Padded;

impl Operator for Padded {
    const NAME: &'static str = "PaddedExec";
    const KEEPS_ORDER: bool = false;

    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        let of = input.properties();
        Arc::new(PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            of.output_partitioning().clone(),
            of.emission_type,
            of.boundedness,
        ))
    }

    fn run(
        &self,
        input: SendableRecordBatchStream,
        _: SchemaRef,
        _: &TaskContext,
    ) -> BoxStream<'static, EngineResult<RecordBatch>> {
        input
    }
}
