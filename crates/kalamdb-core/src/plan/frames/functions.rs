//! The functions over the frames: ranks, values at other places, aggregates.

use super::shape::{Partition, Shapes};
use super::{OneCall, Work, listen};
use crate::plan::error::{arrow_error, engine_error};
use arrow_array::builder::{Float64Builder, Int32Builder, Int64Builder, UInt32Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow_schema::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;
use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_sql::function::Surroundings;
use std::ops::Range;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Rows between two looks at whether the statement was cancelled.
const LISTEN_ROWS: usize = 256;

/// One call over whole partitions.
pub(super) struct Part<'a> {
    pub call: &'a OneCall,
    pub args: &'a [ArrayRef],
    pub filter: Option<&'a dyn Array>,
    pub rows: usize,
    pub partitions: &'a [Range<usize>],
    /// The groups of peers of all partitions.
    pub peers: &'a [Range<usize>],
    pub range_by: Option<&'a ArrayRef>,
    pub around: &'a dyn Surroundings,
    pub cancel: &'a CancellationToken,
}

impl Part<'_> {
    /// The call's column.
    ///
    /// # Errors
    /// The function's.
    pub fn answer(&self) -> Result<ArrayRef> {
        match &self.call.work {
            Work::RowNumber | Work::Rank | Work::DenseRank => self.numbers(),
            Work::PercentRank | Work::CumeDist => self.shares(),
            Work::Ntile => self.ntile(),
            Work::Lag => self.shifted(true),
            Work::Lead => self.shifted(false),
            Work::FirstValue | Work::LastValue | Work::NthValue => self.picked(),
            Work::Aggregate(udaf) => self.aggregated(udaf),
        }
    }

    /// The partitions, each with its groups of peers.
    fn parts(&self) -> impl Iterator<Item = Partition<'_>> {
        let mut rest = self.peers;
        self.partitions.iter().map(move |rows| {
            let count = rest.partition_point(|group| group.end <= rows.end);
            let (peers, others) = rest.split_at(count);
            rest = others;
            Partition { rows: rows.clone(), peers, values: self.range_by }
        })
    }

    fn numbers(&self) -> Result<ArrayRef> {
        let mut out = Int64Builder::with_capacity(self.rows);
        for part in self.parts() {
            for (group, peers) in part.peers.iter().enumerate() {
                for row in peers.clone() {
                    let number = match self.call.work {
                        Work::RowNumber => row - part.rows.start,
                        Work::Rank => peers.start - part.rows.start,
                        _ => group,
                    };
                    out.append_value(number as i64 + 1);
                }
            }
        }
        Ok(Arc::new(out.finish()))
    }

    fn shares(&self) -> Result<ArrayRef> {
        let mut out = Float64Builder::with_capacity(self.rows);
        for part in self.parts() {
            let count = part.rows.len() as f64;
            for peers in part.peers {
                let share = match self.call.work {
                    Work::CumeDist => (peers.end - part.rows.start) as f64 / count,
                    _ if part.rows.len() == 1 => 0.0,
                    _ => (peers.start - part.rows.start) as f64 / (count - 1.0),
                };
                peers.clone().for_each(|_| out.append_value(share));
            }
        }
        Ok(Arc::new(out.finish()))
    }

    fn integers(&self, place: usize) -> Result<&arrow_array::Int32Array> {
        let arg = self.args.get(place).and_then(|arg| arg.as_primitive_opt::<Int32Type>());
        arg.ok_or_else(|| SqlError::internal(format!("argument {place} of {} is no integer", self.call.name)))
    }

    /// The number of buckets is that of the partition's first row that has one; rows before it have no bucket.
    fn ntile(&self) -> Result<ArrayRef> {
        let counts = self.integers(0)?;
        let mut out = Int32Builder::with_capacity(self.rows);
        for part in self.parts() {
            let first = part.rows.clone().find(|row| counts.is_valid(*row)).unwrap_or(part.rows.end);
            (part.rows.start..first).for_each(|_| out.append_null());
            if first == part.rows.end {
                continue;
            }
            let Ok(buckets @ 1..) = usize::try_from(counts.value(first)) else {
                let message = "argument of ntile must be greater than zero";
                return Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_NTILE, message));
            };
            // The first buckets have one row more until the rest is used up.
            let (size, larger) = (part.rows.len() / buckets, part.rows.len() % buckets);
            let in_larger = larger * (size + 1);
            for place in 0..part.rows.end - first {
                let bucket = if place < in_larger {
                    place / (size + 1)
                } else {
                    larger + (place - in_larger).checked_div(size).unwrap_or(0)
                };
                out.append_value(bucket as i32 + 1);
            }
        }
        Ok(Arc::new(out.finish()))
    }

    fn shifted(&self, back: bool) -> Result<ArrayRef> {
        let values = self.value_arg()?;
        let offsets = if self.args.len() > 1 { Some(self.integers(1)?) } else { None };
        let null = arrow_array::new_null_array(values.data_type(), 1);
        let sources: Vec<&dyn Array> = match self.args.get(2) {
            Some(default) => vec![values.as_ref(), null.as_ref(), default.as_ref()],
            None => vec![values.as_ref(), null.as_ref()],
        };
        let has_default = sources.len() == 3;
        let mut places = Vec::with_capacity(self.rows);
        for part in self.partitions {
            for row in part.clone() {
                if offsets.is_some_and(|offsets| offsets.is_null(row)) {
                    places.push((1, 0));
                    continue;
                }
                let offset = offsets.map_or(1, |offsets| i64::from(offsets.value(row)));
                let place = row as i64 + if back { -offset } else { offset };
                places.push(match usize::try_from(place) {
                    Ok(place) if part.contains(&place) => (0, place),
                    _ if has_default => (2, row),
                    _ => (1, 0),
                });
            }
        }
        arrow_select::interleave::interleave(&sources, &places).map_err(arrow_error)
    }

    fn value_arg(&self) -> Result<&ArrayRef> {
        self.args.first().ok_or_else(|| SqlError::internal(format!("{} without an argument", self.call.name)))
    }

    /// `first_value`, `last_value`, `nth_value`.
    fn picked(&self) -> Result<ArrayRef> {
        let values = self.value_arg()?;
        let counts = if matches!(self.call.work, Work::NthValue) { Some(self.integers(1)?) } else { None };
        let mut places = UInt32Builder::with_capacity(self.rows);
        for part in self.parts() {
            let mut shapes = Shapes::new(&self.call.frame, &part, self.around.style());
            for row in part.rows.clone() {
                if row % LISTEN_ROWS == 0 {
                    listen(self.cancel)?;
                }
                let nth = match counts {
                    Some(counts) if counts.is_null(row) => {
                        places.append_null();
                        continue;
                    }
                    Some(counts) => match usize::try_from(counts.value(row)) {
                        Ok(nth @ 1..) => nth,
                        _ => {
                            let message = "argument of nth_value must be greater than zero";
                            return Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE, message));
                        }
                    },
                    None => 1,
                };
                let runs = shapes.of(row)?;
                let place = if matches!(self.call.work, Work::LastValue) {
                    runs.iter().rev().find_map(|run| run.clone().next_back())
                } else {
                    nth_of(&runs, nth - 1)
                };
                places.append_option(place.map(|place| place as u32));
            }
        }
        let places: UInt32Array = places.finish();
        arrow_select::take::take(values, &places, None).map_err(arrow_error)
    }

    fn aggregated(&self, udaf: &Arc<AggregateUDF>) -> Result<ArrayRef> {
        let expr = aggregate_expr(udaf, self.call.name, self.args)?;
        // What the filter lets through, and how much of it stands before each row.
        let kept = self.filter.map(|filter| filter.as_boolean().clone());
        let args = match &kept {
            None => self.args.to_vec(),
            Some(kept) => {
                let filtered = |arg: &ArrayRef| arrow_select::filter::filter(arg, kept).map_err(arrow_error);
                self.args.iter().map(filtered).collect::<Result<_>>()?
            }
        };
        let before = kept.map(|kept| counted(&kept));
        let mut moving = Moving { expr: &expr, args: &args, before: before.as_deref(), current: None };
        let mut out = Vec::with_capacity(self.rows);
        for part in self.parts() {
            moving.current = None;
            let mut shapes = Shapes::new(&self.call.frame, &part, self.around.style());
            for row in part.rows.clone() {
                if row % LISTEN_ROWS == 0 {
                    listen(self.cancel)?;
                }
                out.push(moving.over(shapes.of(row)?)?);
            }
        }
        ScalarValue::iter_to_array(out).map_err(engine_error)
    }
}

/// The place of a frame's row, counted from 0.
fn nth_of(runs: &[Range<usize>], mut nth: usize) -> Option<usize> {
    for run in runs {
        if nth < run.len() {
            return Some(run.start + nth);
        }
        nth -= run.len();
    }
    None
}

/// How many rows stand before each row that the filter keeps.
fn counted(kept: &BooleanArray) -> Vec<usize> {
    let mut count = 0;
    let mut before = Vec::with_capacity(kept.len() + 1);
    before.push(0);
    for kept in kept {
        count += usize::from(kept == Some(true));
        before.push(count);
    }
    before
}

fn aggregate_expr(udaf: &Arc<AggregateUDF>, name: &str, args: &[ArrayRef]) -> Result<AggregateFunctionExpr> {
    let fields: Vec<Field> = args
        .iter()
        .enumerate()
        .map(|(place, arg)| Field::new(format!("arg{place}"), arg.data_type().clone(), true))
        .collect();
    let columns = fields
        .iter()
        .enumerate()
        .map(|(place, field)| Arc::new(Column::new(field.name(), place)) as Arc<dyn PhysicalExpr>)
        .collect();
    AggregateExprBuilder::new(udaf.clone(), columns)
        .schema(Arc::new(Schema::new(fields)))
        .alias(name)
        .build()
        .map_err(engine_error)
}

/// An aggregate over one frame after another.
struct Moving<'a> {
    expr: &'a AggregateFunctionExpr,
    args: &'a [ArrayRef],
    before: Option<&'a [usize]>,
    current: Option<Current>,
}

/// What the accumulator holds, and the last answer.
struct Current {
    runs: [Range<usize>; 3],
    accumulator: Box<dyn Accumulator>,
    value: ScalarValue,
}

impl Moving<'_> {
    /// The aggregate over a frame.
    fn over(&mut self, frame: [Range<usize>; 3]) -> Result<ScalarValue> {
        let runs = match self.before {
            None => frame,
            Some(before) => frame.map(|run| before[run.start]..before[run.end]),
        };
        if let Some(current) = &mut self.current {
            if current.runs == runs {
                return Ok(current.value.clone());
            }
            if moves(&current.runs, &runs, current.accumulator.supports_retract_batch()) {
                let (old, new) = (current.runs[0].clone(), runs[0].clone());
                if new.start > old.start {
                    let gone = sliced(self.args, &(old.start..new.start));
                    current.accumulator.retract_batch(&gone).map_err(engine_error)?;
                }
                if new.end > old.end {
                    let come = sliced(self.args, &(old.end..new.end));
                    current.accumulator.update_batch(&come).map_err(engine_error)?;
                }
                current.value = current.accumulator.evaluate().map_err(engine_error)?;
                current.runs = runs;
                return Ok(current.value.clone());
            }
        }
        let mut accumulator = self.expr.create_accumulator().map_err(engine_error)?;
        for run in runs.iter().filter(|run| !run.is_empty()) {
            accumulator.update_batch(&sliced(self.args, run)).map_err(engine_error)?;
        }
        let value = accumulator.evaluate().map_err(engine_error)?;
        self.current = Some(Current { runs, accumulator, value: value.clone() });
        Ok(value)
    }
}

/// Whether the accumulator of the one frame can go on to the other.
fn moves(old: &[Range<usize>; 3], new: &[Range<usize>; 3], retracts: bool) -> bool {
    let is_whole = |runs: &[Range<usize>; 3]| runs[1].is_empty() && runs[2].is_empty();
    let (from, to) = (&old[0], &new[0]);
    is_whole(old)
        && is_whole(new)
        && from.start <= to.start
        && from.end <= to.end
        && to.start < from.end
        && (from.start == to.start || retracts)
}

fn sliced(args: &[ArrayRef], rows: &Range<usize>) -> Vec<ArrayRef> {
    args.iter().map(|arg| arg.slice(rows.start, rows.len())).collect()
}
