//! Window functions and their frames.

use super::super::error::engine_error;
use super::super::frames;
use super::super::pushdown;
use super::{Lowering, conformed, normal};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{Col, FrameBound, FrameUnits, Rel, Scalar, WindowCall};
use kalamdb_sql::function::Kind;
use kalamdb_sql::lower::column_name;
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn window(&mut self, input: &Rel, calls: &[(Col, WindowCall)]) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        let mut orders: Vec<WindowOrder<'_>> = Vec::new();
        for (col, call) in calls {
            let partition_by: Vec<Scalar> =
                call.partition_by.iter().map(|key| normal(key).unwrap_or_else(|| key.clone())).collect();
            let partition_by = self.exprs(&partition_by, &mut plan)?;
            let order_by = self.sort_keys(&call.order_by, &mut plan)?;
            let args = self.exprs(&call.args, &mut plan)?;
            let filter = self.exprs(call.filter.as_slice(), &mut plan)?.pop();
            let range_by = self.exprs(call.frame.range_by.as_slice(), &mut plan)?.pop();
            let lowered = LoweredCall { col: *col, call, args, filter, range_by };
            match orders.iter_mut().find(|order| order.partition_by == partition_by && order.order_by == order_by) {
                Some(order) => order.calls.push(lowered),
                None => orders.push(WindowOrder { partition_by, order_by, calls: vec![lowered] }),
            }
        }
        // The longest order first: the shorter ones may be its beginning and need no sort of their own.
        orders.sort_by_key(|order| std::cmp::Reverse(order.partition_by.len() + order.order_by.len()));
        // A call that is written twice is made once: the engine would take the two for an expression in common, and
        // compute it where no window is.
        let mut again: Vec<(Col, Scalar)> = Vec::new();
        for order in orders {
            plan = if order.calls.iter().all(|lowered| frames::engine_can(lowered.call)) {
                let mut made: Vec<(Col, WindowFunction)> = Vec::new();
                for lowered in order.calls {
                    let col = lowered.col;
                    let function = self.window_call(lowered, &order.partition_by, &order.order_by)?;
                    match made.iter().find(|(_, known)| *known == function) {
                        Some((known, _)) => again.push((col, Scalar::Column(*known))),
                        None => made.push((col, function)),
                    }
                }
                let exprs = made
                    .into_iter()
                    .map(|(col, function)| Expr::WindowFunction(Box::new(function)).alias(column_name(col.id)));
                LogicalPlan::Window(Window::try_new(exprs.collect(), Arc::new(plan)).map_err(engine_error)?)
            } else {
                self.frames(plan, order)?
            };
        }
        if !again.is_empty() {
            plan = self.extend(plan, &again)?;
        }
        conformed(plan, calls.iter().map(|(col, call)| (col.id, call.ty)))
    }

    /// Calls over one order that the engine's operator cannot answer.
    fn frames(&mut self, plan: LogicalPlan, order: WindowOrder<'_>) -> Result<LogicalPlan> {
        let (mut calls, mut columns, mut exprs) = (Vec::new(), Vec::new(), Vec::new());
        for LoweredCall { col, call, mut args, filter, range_by } in order.calls {
            let work = frames::Work::of(call)?;
            if args.is_empty() && matches!(work, frames::Work::Aggregate(_)) {
                args.push(Expr::Literal(ScalarValue::Int64(Some(1)), None));
            }
            calls.push(frames::OneCall {
                name: call.function.name,
                work,
                frame: self.own_frame(call)?,
                args: args.len(),
                has_filter: filter.is_some(),
            });
            columns.push(col);
            exprs.extend(args.into_iter().chain(filter).chain(range_by));
        }
        let calls = frames::Calls {
            calls,
            columns,
            partition_keys: order.partition_by.len(),
            order: order.order_by.iter().map(|sort| (sort.asc, sort.nulls_first)).collect(),
            around: self.statement.execution.around.clone(),
            cancel: self.statement.execution.cancel.clone(),
        };
        frames::plan(plan, calls, order.partition_by, order.order_by, exprs)
    }

    fn own_frame(&mut self, call: &WindowCall) -> Result<frames::Frame> {
        let frame = &call.frame;
        let range_by = match (&frame.range_by, call.order_by.first()) {
            (Some(value), Some(key)) => Some(frames::RangeBy { ty: value.ty(), descending: key.descending }),
            _ => None,
        };
        let ordered = range_by.map_or(SqlType::Int8, |by| by.ty.ty);
        let border = |bound: &FrameBound, which: &str| -> Result<frames::Bound> {
            let value = |offset: &Scalar| {
                let value = pushdown::datum(&self.statement.constant(offset)?, offset.ty())?;
                frames::offset(value, frame.units, ordered, which)
            };
            Ok(match bound {
                FrameBound::UnboundedPreceding => frames::Bound::Start,
                FrameBound::Preceding(offset) => frames::Bound::Before(value(offset)?),
                FrameBound::CurrentRow => frames::Bound::Current,
                FrameBound::Following(offset) => frames::Bound::After(value(offset)?),
                FrameBound::UnboundedFollowing => frames::Bound::End,
            })
        };
        let (start, end) = (border(&frame.start, "starting")?, border(&frame.end, "ending")?);
        Ok(frames::Frame { units: frame.units, start, end, exclude: frame.exclude, range_by })
    }

    fn window_call(
        &mut self,
        lowered: LoweredCall<'_>,
        partition_by: &[Expr],
        order_by: &[Sort],
    ) -> Result<WindowFunction> {
        let LoweredCall { call, mut args, filter, .. } = lowered;
        let arg_types: Vec<PgType> = call.args.iter().map(Scalar::ty).collect();
        let fun = match call.function.kind {
            Kind::Window(make) => WindowFunctionDefinition::WindowUDF(make(&arg_types)),
            Kind::Aggregate(make) => WindowFunctionDefinition::AggregateUDF(make(&arg_types)),
            _ => return Err(SqlError::internal(format!("{:?} is not a window function", call.function))),
        };
        if args.is_empty() && matches!(fun, WindowFunctionDefinition::AggregateUDF(_)) {
            args.push(Expr::Literal(ScalarValue::Int64(Some(1)), None));
        }
        let params = WindowFunctionParams {
            args,
            partition_by: partition_by.to_vec(),
            order_by: order_by.to_vec(),
            window_frame: self.engine_frame(call)?,
            filter: filter.map(Box::new),
            null_treatment: None,
            distinct: false,
        };
        Ok(WindowFunction { fun, params })
    }

    /// A frame that the engine has: see [`frames::engine_can`].
    fn engine_frame(&mut self, call: &WindowCall) -> Result<WindowFrame> {
        let frame = &call.frame;
        // Without an order all rows are peers: CURRENT ROW reaches to both ends.
        let all_are_peers = call.order_by.is_empty() && frame.units != FrameUnits::Rows;
        let is_ranged = frame.units == FrameUnits::Range && !all_are_peers;
        let (units, unbounded) = match is_ranged {
            true => (WindowFrameUnits::Range, ScalarValue::Null),
            false => (WindowFrameUnits::Rows, ScalarValue::UInt64(None)),
        };
        let border = |bound: &FrameBound, which: &str| -> Result<WindowFrameBound> {
            let rows = |offset: &Scalar| match frames::offset(
                pushdown::datum(&self.statement.constant(offset)?, offset.ty())?,
                frame.units,
                SqlType::Int8,
                which,
            )? {
                Datum::Int8(rows) => Ok(ScalarValue::UInt64(u64::try_from(rows).ok())),
                other => Err(SqlError::internal(format!("a frame's offset is {other:?}"))),
            };
            Ok(match bound {
                FrameBound::UnboundedPreceding => WindowFrameBound::Preceding(unbounded.clone()),
                FrameBound::UnboundedFollowing => WindowFrameBound::Following(unbounded.clone()),
                FrameBound::CurrentRow => WindowFrameBound::CurrentRow,
                FrameBound::Preceding(offset) => WindowFrameBound::Preceding(rows(offset)?),
                FrameBound::Following(offset) => WindowFrameBound::Following(rows(offset)?),
            })
        };
        let (start, end) = (border(&frame.start, "starting")?, border(&frame.end, "ending")?);
        if all_are_peers {
            let (first, last) = (unbounded.clone(), unbounded.clone());
            return Ok(WindowFrame::new_bounds(
                units,
                WindowFrameBound::Preceding(first),
                WindowFrameBound::Following(last),
            ));
        }
        Ok(WindowFrame::new_bounds(units, start, end))
    }
}

/// A window function's call with its expressions.
struct LoweredCall<'a> {
    col: Col,
    call: &'a WindowCall,
    args: Vec<Expr>,
    filter: Option<Expr>,
    range_by: Option<Expr>,
}

/// Calls over the same rows in the same order.
struct WindowOrder<'a> {
    partition_by: Vec<Expr>,
    order_by: Vec<Sort>,
    calls: Vec<LoweredCall<'a>>,
}
