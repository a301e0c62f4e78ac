//! Aggregates whose state takes one row after another: the engine's faces around a [`Step`].

use super::super::invoke::external;
use super::gather::Gathering;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use kalamdb_commons::{PgType, Result, SqlType};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

type Engine<T> = datafusion_common::Result<T>;

/// One group's running state. Rows with a NULL argument never come here.
pub(in super::super) trait Step: Clone + Default + Debug + Send + Sync + 'static {
    /// The arguments' arrays, as what they are.
    type Columns<'a>;
    /// Whether [`Step::remove`] works: needed for windows whose start moves.
    const RETRACTS: bool;
    /// The types of the state's columns.
    const STATE: &'static [DataType];

    /// The result type.
    fn returns(types: &[PgType]) -> SqlType;
    /// The arguments' arrays, as what they are.
    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>>;
    /// Takes a row.
    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()>;
    /// Takes a row back.
    fn remove(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()>;
    /// The state, as [`Step::STATE`] says.
    fn state(&self) -> Result<Vec<ScalarValue>>;
    /// Takes another's state.
    fn merge(&mut self, state: &[ScalarValue]) -> Result<()>;
    /// The result, of the result type.
    fn finish(&self) -> Result<ScalarValue>;
}

/// The engine's aggregate for a step.
pub(in super::super) fn folded<S: Step>(name: &'static str, types: &[PgType]) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Folded::<S> { name, types: types.into(), step: PhantomData }))
}

#[derive(Debug)]
struct Folded<S> {
    name: &'static str,
    types: Box<[PgType]>,
    step: PhantomData<fn() -> S>,
}

impl<S: Step> PartialEq for Folded<S> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.types == other.types
    }
}

impl<S: Step> Eq for Folded<S> {}

impl<S: Step> Hash for Folded<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.types.hash(state);
    }
}

/// The binder has chosen the function and made every cast: any types are the right ones.
pub(in super::super) static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Immutable));

impl<S: Step> AggregateUDFImpl for Folded<S> {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn coerce_types(&self, types: &[DataType]) -> Engine<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Engine<DataType> {
        Ok(S::returns(&self.types).arrow())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Engine<Box<dyn Accumulator>> {
        if args.is_distinct {
            let finish = |columns: &[ArrayRef], _: &[PgType]| {
                let mut state = S::default();
                each(&mut state, columns, S::add)?;
                state.finish()
            };
            // The result is the same in any order: the engine gives no columns to order by.
            return Ok(Box::new(Gathering::unordered(&self.types, true, finish)));
        }
        Ok(Box::new(One(S::default())))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Engine<Vec<FieldRef>> {
        if args.is_distinct {
            return Ok(super::gather::state_fields(args.name, &self.types, &[]));
        }
        let field = |(place, ty): (usize, &DataType)| {
            Arc::new(Field::new(format_state_name(args.name, &format!("state{place}")), ty.clone(), true))
        };
        Ok(S::STATE.iter().enumerate().map(field).collect())
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Engine<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many::<S> { states: Vec::new(), returns: S::returns(&self.types).arrow() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn valid_rows(args: &[ArrayRef]) -> Option<NullBuffer> {
    args.iter().fold(None, |nulls, arg| NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref()))
}

/// Calls for each row without NULL.
fn each<S: Step>(
    state: &mut S,
    args: &[ArrayRef],
    act: fn(&mut S, &S::Columns<'_>, usize) -> Result<()>,
) -> Result<()> {
    let columns = S::columns(args)?;
    let rows = args.first().map_or(0, |arg| arg.len());
    match valid_rows(args).filter(|nulls| nulls.null_count() > 0) {
        None => (0..rows).try_for_each(|row| act(state, &columns, row)),
        Some(nulls) => nulls.valid_indices().try_for_each(|row| act(state, &columns, row)),
    }
}

/// The state of a row of state columns.
fn state_at(states: &[ArrayRef], row: usize) -> Engine<Vec<ScalarValue>> {
    states.iter().map(|column| ScalarValue::try_from_array(column, row)).collect()
}

/// One group: no GROUP BY, or a window.
#[derive(Debug)]
struct One<S>(S);

impl<S: Step> Accumulator for One<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Engine<()> {
        each(&mut self.0, values, S::add).map_err(external)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Engine<()> {
        each(&mut self.0, values, S::remove).map_err(external)
    }

    fn supports_retract_batch(&self) -> bool {
        S::RETRACTS
    }

    fn evaluate(&mut self) -> Engine<ScalarValue> {
        self.0.finish().map_err(external)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Engine<Vec<ScalarValue>> {
        self.0.state().map_err(external)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Engine<()> {
        for row in 0..states.first().map_or(0, |column| column.len()) {
            self.0.merge(&state_at(states, row)?).map_err(external)?;
        }
        Ok(())
    }
}

/// All groups of a GROUP BY.
#[derive(Debug)]
struct Many<S> {
    states: Vec<S>,
    returns: DataType,
}

impl<S: Step> Many<S> {
    fn states_to_arrays(states: &[S]) -> Engine<Vec<ArrayRef>> {
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(states.len()); S::STATE.len()];
        for state in states {
            for (column, value) in columns.iter_mut().zip(state.state().map_err(external)?) {
                column.push(value);
            }
        }
        columns.into_iter().zip(S::STATE).map(|(column, ty)| to_array(column, ty)).collect()
    }
}

fn to_array(values: Vec<ScalarValue>, ty: &DataType) -> Engine<ArrayRef> {
    if values.is_empty() {
        return Ok(arrow_array::new_empty_array(ty));
    }
    ScalarValue::iter_to_array(values)
}

impl<S: Step> GroupsAccumulator for Many<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Engine<()> {
        self.states.resize_with(total_num_groups, S::default);
        let columns = S::columns(values).map_err(external)?;
        let nulls = valid_rows(values).filter(|nulls| nulls.null_count() > 0);
        for (row, group) in group_indices.iter().enumerate() {
            let counts = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
                && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            if counts {
                self.states[*group].add(&columns, row).map_err(external)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Engine<ArrayRef> {
        let states = emit_to.take_needed(&mut self.states);
        let values = states.iter().map(S::finish).collect::<Result<Vec<_>>>().map_err(external)?;
        to_array(values, &self.returns)
    }

    fn state(&mut self, emit_to: EmitTo) -> Engine<Vec<ArrayRef>> {
        Self::states_to_arrays(&emit_to.take_needed(&mut self.states))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Engine<()> {
        self.states.resize_with(total_num_groups, S::default);
        for (row, group) in group_indices.iter().enumerate() {
            self.states[*group].merge(&state_at(values, row)?).map_err(external)?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Engine<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |column| column.len());
        let mut single = Many { states: Vec::new(), returns: self.returns.clone() };
        let groups: Vec<usize> = (0..rows).collect();
        single.update_batch(values, &groups, filter, rows)?;
        Self::states_to_arrays(&single.states)
    }

    fn size(&self) -> usize {
        self.states.capacity() * size_of::<S>()
    }
}
