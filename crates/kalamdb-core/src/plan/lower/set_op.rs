//! Set operations and recursion.

use super::super::error::engine_error;
use super::{Lowering, column, fields, normal, project};
use arrow_schema::Schema;
use datafusion::common::{DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    EmptyRelation, Expr, Join, JoinConstraint, LogicalPlan, RecursiveQuery, Union, Window, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use kalamdb_commons::{Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{Col, ColId, Rel, Scalar, SetOp};
use kalamdb_sql::lower::column_name;
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn set_operation(
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

    pub(super) fn recursive(
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
}

pub(super) fn work_name(work: u32) -> String {
    format!("w{work}")
}

pub(super) fn union(mut inputs: Vec<LogicalPlan>, columns: &[Col]) -> Result<LogicalPlan> {
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
