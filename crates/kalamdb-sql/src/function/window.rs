//! Window functions (PostgreSQL manual 9.22): the engine's, with PostgreSQL's result types.

use super::aggregate::ANY;
use super::invoke::external;
use super::rows::k;
use super::{Function, Kind};
use arrow_array::ArrayRef;
use arrow_cast::cast;
use arrow_schema::{DataType, FieldRef, SortOptions};
use datafusion_common::ScalarValue;
use datafusion_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl};
use datafusion_functions_window::{cume_dist, lead_lag, nth_value, ntile, rank, row_number};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use kalamdb_commons::{PgType, SqlError, SqlState, SqlType};
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

type Engine<T> = datafusion_common::Result<T>;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    k!(3100 lax "row_number" () -> Int8 = Kind::Window(|_| returning(row_number::row_number_udwf(), SqlType::Int8))),
    k!(3101 lax "rank" () -> Int8 = Kind::Window(|_| returning(rank::rank_udwf(), SqlType::Int8))),
    k!(3102 lax "dense_rank" () -> Int8 = Kind::Window(|_| returning(rank::dense_rank_udwf(), SqlType::Int8))),
    k!(3103 lax "percent_rank" () -> Float8 = Kind::Window(|_| returning(rank::percent_rank_udwf(), SqlType::Float8))),
    k!(3104 lax "cume_dist" () -> Float8 = Kind::Window(|_| returning(cume_dist::cume_dist_udwf(), SqlType::Float8))),
    k!(3105 lax "ntile" (Int4) -> Int4 = Kind::Window(|_| returning(ntile::ntile_udwf(), SqlType::Int4))),
    k!(3106 lax "lag" (Anyelement) -> Anyelement = Kind::Window(|types| same(lead_lag::lag_udwf(), types))),
    k!(3107 lax "lag" (Anyelement, Int4) -> Anyelement = Kind::Window(|types| same(lead_lag::lag_udwf(), types))),
    k!(3108 lax "lag" (Anycompatible, Int4, Anycompatible) -> Anycompatible = Kind::Window(|types| same(lead_lag::lag_udwf(), types))),
    k!(3109 lax "lead" (Anyelement) -> Anyelement = Kind::Window(|types| same(lead_lag::lead_udwf(), types))),
    k!(3110 lax "lead" (Anyelement, Int4) -> Anyelement = Kind::Window(|types| same(lead_lag::lead_udwf(), types))),
    k!(3111 lax "lead" (Anycompatible, Int4, Anycompatible) -> Anycompatible = Kind::Window(|types| same(lead_lag::lead_udwf(), types))),
    k!(3112 lax "first_value" (Anyelement) -> Anyelement = Kind::Window(|types| same(nth_value::first_value_udwf(), types))),
    k!(3113 lax "last_value" (Anyelement) -> Anyelement = Kind::Window(|types| same(nth_value::last_value_udwf(), types))),
    k!(3114 lax "nth_value" (Anyelement, Int4) -> Anyelement = Kind::Window(|types| same(nth_value::nth_value_udwf(), types))),
];

/// A function whose result is of its first argument's type.
fn same(inner: Arc<WindowUDF>, types: &[PgType]) -> Arc<WindowUDF> {
    returning(inner, types.first().map_or(SqlType::Text, |ty| ty.ty))
}

fn returning(inner: Arc<WindowUDF>, returns: SqlType) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::new_from_impl(Typed { inner, returns: returns.arrow() }))
}

/// One of the engine's window functions with a result type of ours. The engine counts in unsigned numbers.
#[derive(Debug)]
struct Typed {
    inner: Arc<WindowUDF>,
    returns: DataType,
}

impl Typed {
    /// The counts of ntile and `nth_value` begin at one.
    fn check(&self, args: &[Arc<dyn PhysicalExpr>]) -> Engine<()> {
        let (place, state) = match self.inner.name() {
            "ntile" => (0, SqlState::INVALID_ARGUMENT_FOR_NTILE),
            "nth_value" => (1, SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE),
            _ => return Ok(()),
        };
        let literal = args.get(place).and_then(|arg| arg.downcast_ref::<Literal>());
        let count = literal.and_then(|literal| literal.value().cast_to(&DataType::Int64).ok());
        if matches!(count, Some(ScalarValue::Int64(Some(count))) if count <= 0) {
            let message = format!("argument of {} must be greater than zero", self.inner.name());
            return Err(external(SqlError::new(state, message)));
        }
        Ok(())
    }
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.returns == other.returns
    }
}

impl Eq for Typed {}

impl Hash for Typed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.returns.hash(state);
    }
}

impl WindowUDFImpl for Typed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn coerce_types(&self, types: &[DataType]) -> Engine<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn expressions(&self, args: ExpressionArgs<'_>) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> Engine<Box<dyn PartitionEvaluator>> {
        self.check(args.input_exprs())?;
        let inner = self.inner.partition_evaluator_factory(args)?;
        Ok(Box::new(TypedEvaluator { inner, returns: self.returns.clone() }))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Engine<FieldRef> {
        let field = self.inner.field(args)?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(self.returns.clone())))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Identical => ReversedUDWF::Identical,
            ReversedUDWF::NotSupported => ReversedUDWF::NotSupported,
            ReversedUDWF::Reversed(inner) => {
                let typed = Typed { inner, returns: self.returns.clone() };
                ReversedUDWF::Reversed(Arc::new(WindowUDF::new_from_impl(typed)))
            }
        }
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

#[derive(Debug)]
struct TypedEvaluator {
    inner: Box<dyn PartitionEvaluator>,
    returns: DataType,
}

impl PartitionEvaluator for TypedEvaluator {
    fn memoize(&mut self, state: &mut datafusion_expr::window_state::WindowAggState) -> Engine<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, idx: usize, n_rows: usize) -> Engine<Range<usize>> {
        self.inner.get_range(idx, n_rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Engine<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all(values, num_rows)?, &self.returns)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Engine<ScalarValue> {
        self.inner.evaluate(values, range)?.cast_to(&self.returns)
    }

    fn evaluate_all_with_rank(&self, num_rows: usize, ranks: &[Range<usize>]) -> Engine<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all_with_rank(num_rows, ranks)?, &self.returns)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
