//! Window functions and their frames.

use super::super::error::engine_error;
use super::{Lowering, conformed, normal};
use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use kalamdb_commons::{PgType, Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{Col, FrameBound, FrameUnits, Rel, Scalar, WindowCall};
use kalamdb_sql::function::Kind;
use kalamdb_sql::lower::column_name;
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn window(&mut self, input: &Rel, calls: &[(Col, WindowCall)]) -> Result<LogicalPlan> {
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
}
