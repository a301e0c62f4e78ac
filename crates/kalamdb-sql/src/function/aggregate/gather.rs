//! Aggregates that need all rows at once, in order: arrays, joined strings, JSON, and any aggregate with DISTINCT.
//!
//! ORDER BY inside the aggregate comes as further columns behind the arguments; the rows are sorted here, so that
//! states of several partitions can be merged in any order.

use super::super::compare::key_of;
use super::super::invoke::external;
use super::fold::ANY;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_ord::sort::{SortColumn, SortOptions, lexsort_to_indices};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature};
use kalamdb_commons::{PgType, Result, SqlError, SqlState, SqlType};
use rustc_hash::FxHashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

type Engine<T> = datafusion_common::Result<T>;

/// Makes the result of the arguments' columns, in order and without duplicates as asked for.
pub(super) type Finish = fn(&[ArrayRef], &[PgType]) -> Result<ScalarValue>;

/// The engine's aggregate over gathered rows.
pub(super) fn gathered(name: &'static str, types: &[PgType], returns: SqlType, finish: Finish) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Gathered { name, types: types.into(), returns, finish, within_group: false }))
}

/// As [`gathered`], for aggregates that mean nothing without WITHIN GROUP.
pub(super) fn ordered_set(name: &'static str, types: &[PgType], returns: SqlType, finish: Finish) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Gathered { name, types: types.into(), returns, finish, within_group: true }))
}

#[derive(Debug)]
struct Gathered {
    name: &'static str,
    types: Box<[PgType]>,
    returns: SqlType,
    finish: Finish,
    within_group: bool,
}

impl PartialEq for Gathered {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.types == other.types && self.returns == other.returns
    }
}

impl Eq for Gathered {}

impl Hash for Gathered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name, &self.types, self.returns).hash(state);
    }
}

impl AggregateUDFImpl for Gathered {
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
        Ok(self.returns.arrow())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Engine<Box<dyn Accumulator>> {
        if self.within_group && args.order_bys.is_empty() {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {}", self.name);
            return Err(external(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)));
        }
        Ok(Box::new(Gathering::new(&self.types, &args, self.finish)?))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Engine<Vec<FieldRef>> {
        Ok(state_fields(args.name, &self.types, args.ordering_fields))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::SoftRequirement
    }

    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> Engine<Option<Arc<dyn AggregateUDFImpl>>> {
        // The rows are sorted at the end whatever order they came in.
        Ok(Some(self))
    }
}

/// A list for each argument and each ORDER BY column.
pub(super) fn state_fields(name: &str, types: &[PgType], ordering: &[FieldRef]) -> Vec<FieldRef> {
    let types = types.iter().map(|ty| ty.ty.arrow()).chain(ordering.iter().map(|field| field.data_type().clone()));
    types
        .enumerate()
        .map(|(place, ty)| {
            let item = Arc::new(Field::new("item", ty, true));
            Arc::new(Field::new(format_state_name(name, &format!("rows{place}")), DataType::List(item), true))
        })
        .collect()
}

/// The rows of one group.
pub(super) struct Gathering {
    types: Box<[PgType]>,
    order: Vec<SortOptions>,
    /// The types of the ORDER BY columns.
    order_types: Vec<DataType>,
    /// The keys of the rows that are kept already, for DISTINCT.
    seen: Option<FxHashSet<Vec<u8>>>,
    batches: Vec<Vec<ArrayRef>>,
    finish: Finish,
    bytes: usize,
}

impl std::fmt::Debug for Gathering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gathering").field("types", &self.types).field("batches", &self.batches.len()).finish()
    }
}

impl Gathering {
    pub fn new(types: &[PgType], args: &AccumulatorArgs<'_>, finish: Finish) -> Engine<Self> {
        let order_types = args.order_bys.iter().map(|order| order.expr.data_type(args.schema));
        Ok(Gathering {
            order: args.order_bys.iter().map(|order| order.options).collect(),
            order_types: order_types.collect::<Engine<_>>()?,
            ..Self::unordered(types, args.is_distinct, finish)
        })
    }

    /// Rows without an ORDER BY.
    pub fn unordered(types: &[PgType], distinct: bool, finish: Finish) -> Self {
        Gathering {
            types: types.into(),
            order: Vec::new(),
            order_types: Vec::new(),
            seen: distinct.then(FxHashSet::default),
            batches: Vec::new(),
            finish,
            bytes: 0,
        }
    }

    fn width(&self) -> usize {
        self.types.len() + self.order.len()
    }

    fn take(&mut self, columns: &[ArrayRef]) -> Engine<()> {
        let mut columns: Vec<ArrayRef> = columns.iter().take(self.width()).cloned().collect();
        if columns.first().is_none_or(|column| column.is_empty()) {
            return Ok(());
        }
        if let Some(seen) = &mut self.seen {
            let new = unseen(&columns, &self.types, seen).map_err(external)?;
            for column in &mut columns {
                *column = arrow_select::take::take(column, &new, None)?;
            }
        }
        self.bytes += columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        self.batches.push(columns);
        Ok(())
    }

    /// All rows, as they came.
    fn columns(&self) -> Engine<Vec<ArrayRef>> {
        (0..self.width())
            .map(|place| {
                let parts: Vec<&dyn Array> = self.batches.iter().map(|columns| columns[place].as_ref()).collect();
                match parts.as_slice() {
                    [] => {
                        let ordered = place.checked_sub(self.types.len()).and_then(|place| self.order_types.get(place));
                        let ty = self.types.get(place).map(|ty| ty.ty.arrow()).or_else(|| ordered.cloned());
                        Ok(arrow_array::new_empty_array(&ty.unwrap_or(DataType::Null)))
                    }
                    parts => Ok(arrow_select::concat::concat(parts)?),
                }
            })
            .collect()
    }

    /// The arguments' columns in order: that of ORDER BY, else for DISTINCT their own, else as they came.
    fn sorted(&self) -> Engine<Vec<ArrayRef>> {
        let mut columns = self.columns()?;
        let order = columns.split_off(self.types.len());
        let rows = columns.first().map_or(0, |column| column.len());
        let mut keys: Vec<SortColumn> = order
            .into_iter()
            .zip(&self.order)
            .map(|(values, options)| SortColumn { values, options: Some(*options) })
            .collect();
        if self.seen.is_some() && rows > 0 {
            for (column, ty) in columns.iter().zip(&self.types) {
                let values = keys_of(column, *ty).map_err(external)?;
                keys.push(SortColumn { values, options: None });
            }
        }
        if keys.is_empty() || rows == 0 {
            return Ok(columns);
        }
        // Equal rows stay as they came.
        keys.push(SortColumn { values: Arc::new(UInt32Array::from_iter_values(0..rows as u32)), options: None });
        let indices = lexsort_to_indices(&keys, None)?;
        Ok(columns.iter().map(|column| arrow_select::take::take(column, &indices, None)).collect::<Result<_, _>>()?)
    }
}

/// The values' sort keys; NULL's is above all.
fn keys_of(column: &ArrayRef, ty: PgType) -> Result<ArrayRef> {
    let keys = (0..column.len())
        .map(|row| key_of(&crate::types::datum_at(column.as_ref(), row, ty), ty.ty))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(arrow_array::BinaryArray::from_iter_values(keys)))
}

/// The places of rows whose arguments were not seen before.
fn unseen(columns: &[ArrayRef], types: &[PgType], seen: &mut FxHashSet<Vec<u8>>) -> Result<UInt32Array> {
    let mut places = Vec::new();
    for row in 0..columns[0].len() {
        let mut key = Vec::new();
        for (column, ty) in columns.iter().zip(types) {
            let datum = crate::types::datum_at(column.as_ref(), row, *ty);
            super::super::compare::write_key(&datum, ty.ty, &mut key)?;
        }
        if seen.insert(key) {
            places.push(row as u32);
        }
    }
    Ok(UInt32Array::from(places))
}

impl Accumulator for Gathering {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Engine<()> {
        self.take(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Engine<()> {
        if self.seen.is_some() {
            return Err(DataFusionError::NotImplemented("DISTINCT in a moving window".to_owned()));
        }
        // The window's start moves: the oldest rows go.
        let mut rows = values.first().map_or(0, |column| column.len());
        while rows > 0 {
            let Some(first) = self.batches.first_mut() else { break };
            let length = first.first().map_or(0, |column| column.len());
            if length <= rows {
                rows -= length;
                self.batches.remove(0);
            } else {
                for column in first.iter_mut() {
                    *column = column.slice(rows, length - rows);
                }
                rows = 0;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.seen.is_none()
    }

    fn evaluate(&mut self) -> Engine<ScalarValue> {
        (self.finish)(&self.sorted()?, &self.types).map_err(external)
    }

    fn size(&self) -> usize {
        let keys = self.seen.as_ref().map_or(0, |seen| seen.iter().map(|key| key.capacity() + 48).sum());
        size_of::<Self>() + self.bytes + keys
    }

    fn state(&mut self) -> Engine<Vec<ScalarValue>> {
        let columns = self.columns()?;
        Ok(columns.into_iter().map(|column| ScalarValue::List(Arc::new(single_list(column)))).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Engine<()> {
        for row in 0..states.first().map_or(0, |column| column.len()) {
            let columns: Vec<ArrayRef> = states.iter().map(|column| column.as_list::<i32>().value(row)).collect();
            self.take(&columns)?;
        }
        Ok(())
    }
}

/// A list array of one list.
pub(super) fn single_list(items: ArrayRef) -> arrow_array::ListArray {
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths([items.len()]);
    arrow_array::ListArray::new(field, offsets, items, None)
}
