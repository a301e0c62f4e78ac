//! Window functions: calls with OVER, named windows, frames.

use super::bound::{Exclusion, Frame, FrameBound, FrameUnits, Scalar, SortKey, WindowCall};
use super::operator::key;
use super::scope::Clause;
use super::{Binder, Position, syntax, walk};
use crate::function::{self, CastContext, Function, Kind};
use crate::parse;
use kalamdb_commons::{Result, SqlError, SqlState};
use sqlparser::ast;

/// A window as WINDOW names it, or as OVER describes it.
#[derive(Debug, Clone, Default)]
pub(super) struct NamedWindow {
    partition_by: Vec<Scalar>,
    order_by: Vec<SortKey>,
    /// The ORDER BY expressions themselves, for RANGE offsets.
    ordered: Vec<Scalar>,
    frame: Option<Frame>,
}

fn windowing(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::WINDOWING_ERROR, message)
}

impl Binder<'_> {
    /// Binds the WINDOW clause.
    pub(super) fn named_windows(&mut self, windows: &[ast::NamedWindowDefinition]) -> Result<()> {
        for ast::NamedWindowDefinition(ident, definition) in windows {
            let name = parse::fold(ident);
            let position = self.ident_position(ident);
            if self.level().named_windows.iter().any(|(other, _)| *other == name) {
                return Err(windowing(format!("window \"{name}\" is already defined")).at(position));
            }
            let window = match definition {
                ast::NamedWindowExpr::NamedWindow(other) => self.named_window(other)?,
                ast::NamedWindowExpr::WindowSpec(spec) => self.window(spec)?,
            };
            self.level().named_windows.push((name, window));
        }
        Ok(())
    }

    fn named_window(&mut self, ident: &ast::Ident) -> Result<NamedWindow> {
        let name = parse::fold(ident);
        let position = self.ident_position(ident);
        let level = self.level();
        match level.named_windows.iter().find(|(other, _)| *other == name) {
            Some((_, window)) => Ok(window.clone()),
            None => {
                let message = format!("window \"{name}\" does not exist");
                Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message).at(position))
            }
        }
    }

    fn window(&mut self, spec: &ast::WindowSpec) -> Result<NamedWindow> {
        let mut window = NamedWindow::default();
        let (exclude, base) = parse::exclusion(spec.window_name.as_ref());
        if let Some(base) = &base {
            let name = parse::fold(base);
            let position = self.ident_position(base);
            window = self.named_window(base)?;
            if !spec.partition_by.is_empty() {
                let message = format!("cannot override PARTITION BY clause of window \"{name}\"");
                return Err(windowing(message).at(position));
            }
            if !spec.order_by.is_empty() && !window.order_by.is_empty() {
                let message = format!("cannot override ORDER BY clause of window \"{name}\"");
                return Err(windowing(message).at(position));
            }
            if window.frame.is_some() {
                let message = format!("cannot copy window \"{name}\" because it has a frame clause");
                return Err(windowing(message).at(position));
            }
        }
        self.within(Clause::Window, |binder| {
            for expr in &spec.partition_by {
                let (scalar, position) = binder.placed(expr)?;
                let scalar = binder.known(scalar, position)?;
                super::aggregate::unequal(scalar.ty()).map_err(|error| error.at(position))?;
                window.partition_by.push(key(scalar));
            }
            for item in &spec.order_by {
                let (scalar, position) = binder.placed(&item.expr)?;
                let scalar = binder.known(scalar, position)?;
                let sort =
                    super::aggregate::sort_key(scalar.clone(), &item.options).map_err(|error| error.at(position))?;
                // The same value again orders nothing.
                if !window.order_by.iter().any(|known| walk::equal(&known.expr, &sort.expr)) {
                    window.order_by.push(sort);
                    window.ordered.push(scalar);
                }
            }
            if let Some(frame) = &spec.window_frame {
                window.frame = Some(Frame { exclude, ..binder.frame(frame, &window)? });
            }
            Ok(())
        })?;
        Ok(window)
    }

    fn frame(&mut self, frame: &ast::WindowFrame, window: &NamedWindow) -> Result<Frame> {
        let units = match frame.units {
            ast::WindowFrameUnits::Rows => FrameUnits::Rows,
            ast::WindowFrameUnits::Range => FrameUnits::Range,
            ast::WindowFrameUnits::Groups => FrameUnits::Groups,
        };
        if units == FrameUnits::Groups && window.order_by.is_empty() {
            return Err(windowing("GROUPS mode requires an ORDER BY clause"));
        }
        let start = self.frame_bound(&frame.start_bound, units, window)?;
        let end = match &frame.end_bound {
            None => FrameBound::CurrentRow,
            Some(bound) => self.frame_bound(bound, units, window)?,
        };
        match (&start, &end) {
            (FrameBound::UnboundedFollowing, _) => Err(windowing("frame start cannot be UNBOUNDED FOLLOWING")),
            (_, FrameBound::UnboundedPreceding) => Err(windowing("frame end cannot be UNBOUNDED PRECEDING")),
            (FrameBound::CurrentRow, FrameBound::Preceding(_)) => {
                Err(windowing("frame starting from current row cannot have preceding rows"))
            }
            (FrameBound::Following(_), FrameBound::Preceding(_)) => {
                Err(windowing("frame starting from following row cannot have preceding rows"))
            }
            (FrameBound::Following(_), FrameBound::CurrentRow) => {
                Err(windowing("frame starting from following row cannot end with current row"))
            }
            _ => {
                let has_offset =
                    |bound: &FrameBound| matches!(bound, FrameBound::Preceding(_) | FrameBound::Following(_));
                let is_ranged = units == FrameUnits::Range && (has_offset(&start) || has_offset(&end));
                let range_by = if is_ranged { window.ordered.first().cloned() } else { None };
                Ok(Frame { units, start, end, exclude: Exclusion::NoOthers, range_by })
            }
        }
    }

    fn frame_bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        units: FrameUnits,
        window: &NamedWindow,
    ) -> Result<FrameBound> {
        Ok(match bound {
            ast::WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
            ast::WindowFrameBound::Preceding(None) => FrameBound::UnboundedPreceding,
            ast::WindowFrameBound::Following(None) => FrameBound::UnboundedFollowing,
            ast::WindowFrameBound::Preceding(Some(offset)) => {
                FrameBound::Preceding(Box::new(self.frame_offset(offset, units, window)?))
            }
            ast::WindowFrameBound::Following(Some(offset)) => {
                FrameBound::Following(Box::new(self.frame_offset(offset, units, window)?))
            }
        })
    }

    fn frame_offset(&mut self, offset: &ast::Expr, units: FrameUnits, window: &NamedWindow) -> Result<Scalar> {
        let (scalar, position) = self.placed(offset)?;
        let word = match units {
            FrameUnits::Rows => "ROWS",
            FrameUnits::Range => "RANGE",
            FrameUnits::Groups => "GROUPS",
        };
        if !walk::columns_used(&scalar).is_empty() {
            let message = format!("argument of {word} must not contain variables");
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message).at(position));
        }
        if units != FrameUnits::Range {
            return self.to_bigint(scalar, word, position);
        }
        let [ordered] = window.ordered.as_slice() else {
            let message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
            return Err(windowing(message).at(position));
        };
        let (ordered, given) = (ordered.ty().ty, scalar.ty().ty);
        let refused = |message: String| SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position);
        let what = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {ordered}");
        let Some(target) = function::in_range::offset_type(ordered) else { return Err(refused(what)) };
        match self.coerce(scalar, target.into(), CastContext::Implicit, position)? {
            Some(scalar) => Ok(scalar),
            None => Err(refused(format!("{what} and offset type {given}"))
                .with_hint("Cast the offset value to an appropriate type.")),
        }
    }

    /// `f(…) OVER …`: a column of the query.
    pub(super) fn window_call(&mut self, name: &str, call: &ast::Function, position: Position) -> Result<Scalar> {
        let clause = self.level().clause;
        if !clause.allows_windows() {
            let message = match clause {
                Clause::AggregateArgument => "aggregate function calls cannot contain window function calls".to_owned(),
                Clause::WindowArgument => "window function calls cannot be nested".to_owned(),
                clause => format!("window functions are not allowed in {}", clause.name()),
            };
            let state = match clause {
                Clause::AggregateArgument => SqlState::GROUPING_ERROR,
                _ => SqlState::WINDOWING_ERROR,
            };
            return Err(SqlError::new(state, message).at(position));
        }
        let functions = function::by_name(name);
        let fits = |function: &Function| matches!(function.kind, Kind::Aggregate(_) | Kind::Window(_));
        if !functions.is_empty() && !functions.iter().any(|function| fits(function)) {
            let message = format!("OVER specified, but {name} is not a window function nor an aggregate function");
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(position));
        }
        self.refuse_window_clauses(name, call, position)?;
        let (args, filter) = self.within(Clause::WindowArgument, |binder| {
            let args = if syntax::is_star(call) { Vec::new() } else { binder.bound_arguments(call)? };
            Ok((args, binder.filter(call)?))
        })?;
        let args = super::aggregate::labelled(name, args);
        let mut chosen = self.resolve_among(name, args, &fits, position)?;
        self.settle_json(chosen.function, &mut chosen.args)?;
        if filter.is_some() && matches!(chosen.function.kind, Kind::Window(_)) {
            let message = "FILTER is not implemented for non-aggregate window functions";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position));
        }
        let window = match &call.over {
            Some(ast::WindowType::NamedWindow(ident)) => self.named_window(ident)?,
            Some(ast::WindowType::WindowSpec(spec)) => self.window(spec)?,
            None => NamedWindow::default(),
        };
        let frame = window.frame.unwrap_or(Frame {
            units: FrameUnits::Range,
            start: FrameBound::UnboundedPreceding,
            end: FrameBound::CurrentRow,
            exclude: Exclusion::NoOthers,
            range_by: None,
        });
        let col = self.col(chosen.returns, true);
        let call = WindowCall {
            function: chosen.function,
            args: chosen.args,
            filter,
            partition_by: window.partition_by,
            order_by: window.order_by,
            frame,
            ty: chosen.returns,
        };
        self.level().windows.push((col, call));
        Ok(Scalar::Column(col))
    }

    fn refuse_window_clauses(&self, name: &str, call: &ast::Function, position: Position) -> Result<()> {
        let unsupported = |message: String| Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position));
        if call.null_treatment.is_some() {
            return Err(SqlError::unsupported("IGNORE NULLS").at(position));
        }
        if !call.within_group.is_empty() {
            return unsupported(format!("OVER is not supported for ordered-set aggregate {name}"));
        }
        let ast::FunctionArguments::List(list) = &call.args else { return Ok(()) };
        if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct) {
            return unsupported("DISTINCT is not implemented for window functions".to_owned());
        }
        if !list.clauses.is_empty() {
            return unsupported("aggregate ORDER BY is not implemented for window functions".to_owned());
        }
        Ok(())
    }
}
