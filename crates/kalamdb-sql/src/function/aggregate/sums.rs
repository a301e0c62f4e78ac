//! Sums, averages, variances and extremes.
//!
//! Integers are summed exactly in 128 bits, numerics exactly; averages and variances of both are numerics with
//! PostgreSQL's scales. Floats follow Youngs and Cramer, as PostgreSQL does.

use super::super::arithmetic::finite;
use super::super::rows::{range, typed};
use super::fold::Step;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
};
use arrow_array::{ArrayRef, BinaryArray, PrimitiveArray};
use arrow_schema::DataType;
use datafusion_common::ScalarValue;
use kalamdb_commons::numeric::arithmetic::{Op, Sum};
use kalamdb_commons::{Interval, Numeric, PgType, Result, SqlError, SqlType};
use std::fmt::Debug;
use std::marker::PhantomData;

pub(super) fn malformed() -> SqlError {
    SqlError::internal("malformed aggregate state")
}

pub(super) fn int64(value: &ScalarValue) -> Result<i64> {
    match value {
        ScalarValue::Int64(Some(value)) => Ok(*value),
        _ => Err(malformed()),
    }
}

fn float64(value: &ScalarValue) -> Result<f64> {
    match value {
        ScalarValue::Float64(Some(value)) => Ok(*value),
        _ => Err(malformed()),
    }
}

pub(super) fn bytes(value: &ScalarValue) -> Result<&[u8]> {
    match value {
        ScalarValue::Binary(Some(value)) => Ok(value),
        _ => Err(malformed()),
    }
}

fn int128(value: &ScalarValue) -> Result<i128> {
    Ok(i128::from_le_bytes(bytes(value)?.try_into().map_err(|_| malformed())?))
}

fn int128_state(value: i128) -> ScalarValue {
    ScalarValue::Binary(Some(value.to_le_bytes().to_vec()))
}

fn numeric_value(value: Option<Numeric>) -> ScalarValue {
    ScalarValue::Binary(value.map(|value| value.to_bytes()))
}

/// What an aggregate makes of a sum, a sum of squares and a count.
pub(super) trait Statistic: Debug + Send + Sync + Default + Clone + 'static {
    const SQUARES: bool;
    fn of_numbers(n: i64, sum: &Numeric, squares: &Numeric) -> Result<Option<Numeric>>;
}

macro_rules! statistic {
    ($($name:ident $squares:literal |$n:ident, $sum:ident, $sq:ident| $body:expr;)*) => { $(
        #[derive(Debug, Default, Clone)]
        pub(super) struct $name;
        impl Statistic for $name {
            const SQUARES: bool = $squares;
            fn of_numbers($n: i64, $sum: &Numeric, $sq: &Numeric) -> Result<Option<Numeric>> {
                $body
            }
        }
    )* };
}

statistic! {
    Total false |n, sum, _squares| Ok((n > 0).then(|| sum.clone()));
    Mean false |n, sum, _squares| if n > 0 { sum.apply(Op::Div, &Numeric::from(n)).map(Some) } else { Ok(None) };
    VarianceSample true |n, sum, squares| variance(n, sum, squares, true, false);
    VariancePopulation true |n, sum, squares| variance(n, sum, squares, false, false);
    DeviationSample true |n, sum, squares| variance(n, sum, squares, true, true);
    DeviationPopulation true |n, sum, squares| variance(n, sum, squares, false, true);
}

fn variance(n: i64, sum: &Numeric, squares: &Numeric, sample: bool, root: bool) -> Result<Option<Numeric>> {
    if n < if sample { 2 } else { 1 } {
        return Ok(None);
    }
    if !sum.is_finite() {
        return Ok(Some(Numeric::NaN));
    }
    let count = Numeric::from(n);
    let spread = count.apply(Op::Mul, squares)?.apply(Op::Sub, &sum.apply(Op::Mul, sum)?)?;
    if spread.sign() <= 0 {
        return Ok(Some(Numeric::from(0_i64)));
    }
    let divisor = if sample { Numeric::from(n - 1) } else { count.clone() };
    let variance = spread.apply(Op::Div, &count.apply(Op::Mul, &divisor)?)?;
    if root {
        return Ok(Some(super::super::transcendental::sqrt_to(&variance, variance.scale())));
    }
    Ok(Some(variance))
}

/// An integer argument.
pub(super) trait Integer: Debug + Clone + Default + Send + Sync + 'static {
    type Arrow: ArrowPrimitiveType;
    fn widen(value: <Self::Arrow as ArrowPrimitiveType>::Native) -> i128;
}

macro_rules! integers {
    ($($name:ident: $arrow:ty),*) => { $(
        #[derive(Debug, Default, Clone)]
        pub(super) struct $name;
        impl Integer for $name {
            type Arrow = $arrow;
            fn widen(value: <$arrow as ArrowPrimitiveType>::Native) -> i128 {
                value.into()
            }
        }
    )* };
}

integers!(OfInt2: Int16Type, OfInt4: Int32Type, OfInt8: Int64Type);

/// Sum, average and variances of integers.
#[derive(Debug, Clone, Default)]
pub(super) struct Integers<T, S> {
    n: i64,
    sum: i128,
    /// Squares of bigints can be too large for 128 bits only after 2^64 rows.
    squares: u128,
    kind: PhantomData<(T, S)>,
}

impl<T: Integer, S: Statistic> Step for Integers<T, S> {
    type Columns<'a> = &'a PrimitiveArray<T::Arrow>;
    const RETRACTS: bool = true;
    const STATE: &'static [DataType] = &[DataType::Int64, DataType::Binary, DataType::Binary];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Numeric
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    #[inline]
    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        let value = T::widen(columns.value(row));
        self.n += 1;
        self.sum += value;
        if S::SQUARES {
            self.squares = self.squares.wrapping_add((value * value) as u128);
        }
        Ok(())
    }

    fn remove(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        let value = T::widen(columns.value(row));
        self.n -= 1;
        self.sum -= value;
        if S::SQUARES {
            self.squares = self.squares.wrapping_sub((value * value) as u128);
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        let squares = ScalarValue::Binary(Some(self.squares.to_le_bytes().to_vec()));
        Ok(vec![ScalarValue::Int64(Some(self.n)), int128_state(self.sum), squares])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        self.n += int64(&state[0])?;
        self.sum += int128(&state[1])?;
        self.squares = self.squares.wrapping_add(int128(&state[2])? as u128);
        Ok(())
    }

    fn finish(&self) -> Result<ScalarValue> {
        let squares = match i128::try_from(self.squares) {
            Ok(squares) => Numeric::from(squares),
            Err(_) => Numeric::finite(self.squares.into(), 0),
        };
        Ok(numeric_value(S::of_numbers(self.n, &Numeric::from(self.sum), &squares)?))
    }
}

/// `sum` of smallint and integer: a bigint.
#[derive(Debug, Clone, Default)]
pub(super) struct ShortSum<T> {
    n: i64,
    sum: i64,
    kind: PhantomData<T>,
}

impl<T: Integer> Step for ShortSum<T> {
    type Columns<'a> = &'a PrimitiveArray<T::Arrow>;
    const RETRACTS: bool = true;
    const STATE: &'static [DataType] = &[DataType::Int64, DataType::Int64];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Int8
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    #[inline]
    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        self.n += 1;
        // An integer has 32 bits, so the cast loses nothing.
        self.sum = self.sum.checked_add(T::widen(columns.value(row)) as i64).ok_or_else(|| range("bigint"))?;
        Ok(())
    }

    fn remove(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        self.n -= 1;
        self.sum = self.sum.checked_sub(T::widen(columns.value(row)) as i64).ok_or_else(|| range("bigint"))?;
        Ok(())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.n)), ScalarValue::Int64(Some(self.sum))])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        self.n += int64(&state[0])?;
        self.sum = self.sum.checked_add(int64(&state[1])?).ok_or_else(|| range("bigint"))?;
        Ok(())
    }

    fn finish(&self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64((self.n > 0).then_some(self.sum)))
    }
}

/// Sum, average and variances of numerics. What is not finite is only counted, so that it can be taken back.
#[derive(Debug, Clone, Default)]
pub(super) struct Numerics<S> {
    n: i64,
    nan: i64,
    infinite: i64,
    negative_infinite: i64,
    sum: Sum,
    squares: Sum,
    kind: PhantomData<S>,
}

impl<S: Statistic> Numerics<S> {
    fn apply(&mut self, op: Op, value: &[u8]) -> Result<()> {
        use kalamdb_commons::numeric::key::{Class, View};
        let step = if op == Op::Add { 1 } else { -1 };
        self.n += step;
        match View::new(value).map(|view| view.class) {
            Some(Class::NaN) => self.nan += step,
            Some(Class::Infinity) => self.infinite += step,
            Some(Class::NegInfinity) => self.negative_infinite += step,
            _ => {
                self.sum.apply(op, value)?;
                if S::SQUARES {
                    let mut square = Vec::new();
                    kalamdb_commons::numeric::arithmetic::calculate(Op::Mul, value, value, &mut square)?;
                    self.squares.apply(op, &square)?;
                }
            }
        }
        Ok(())
    }
}

impl<S: Statistic> Step for Numerics<S> {
    type Columns<'a> = &'a BinaryArray;
    const RETRACTS: bool = true;
    const STATE: &'static [DataType] =
        &[DataType::Int64, DataType::Int64, DataType::Int64, DataType::Int64, DataType::Binary, DataType::Binary];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Numeric
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        self.apply(Op::Add, columns.value(row))
    }

    fn remove(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        self.apply(Op::Sub, columns.value(row))
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        let count = |count: i64| ScalarValue::Int64(Some(count));
        let sum = |sum: &Sum| ScalarValue::Binary(Some(sum.value().to_bytes()));
        Ok(vec![
            count(self.n),
            count(self.nan),
            count(self.infinite),
            count(self.negative_infinite),
            sum(&self.sum),
            sum(&self.squares),
        ])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        self.n += int64(&state[0])?;
        self.nan += int64(&state[1])?;
        self.infinite += int64(&state[2])?;
        self.negative_infinite += int64(&state[3])?;
        self.sum.apply(Op::Add, bytes(&state[4])?)?;
        self.squares.apply(Op::Add, bytes(&state[5])?)
    }

    fn finish(&self) -> Result<ScalarValue> {
        let sum = match (self.nan, self.infinite, self.negative_infinite) {
            (0, 0, 0) => self.sum.value(),
            (0, _, 0) => Numeric::Infinity,
            (0, 0, _) => Numeric::NegInfinity,
            _ => Numeric::NaN,
        };
        Ok(numeric_value(S::of_numbers(self.n, &sum, &self.squares.value())?))
    }
}

/// What an aggregate makes of floats: count, sum, and sum of squared distances from the mean.
pub(super) trait FloatStatistic: Debug + Send + Sync + Default + Clone + 'static {
    /// Whether distances that leave the range are an error, as they are where PostgreSQL gathers them.
    const GATHERS: bool;
    fn of_floats(n: f64, sum: f64, distances: f64) -> Option<f64>;
}

macro_rules! float_statistic {
    ($($name:ident $gathers:literal |$n:ident, $sum:ident, $distances:ident| $body:expr;)*) => { $(
        impl FloatStatistic for $name {
            const GATHERS: bool = $gathers;
            fn of_floats($n: f64, $sum: f64, $distances: f64) -> Option<f64> {
                $body
            }
        }
    )* };
}

float_statistic! {
    Total false |n, sum, _distances| (n > 0.0).then_some(sum);
    Mean true |n, sum, _distances| (n > 0.0).then(|| sum / n);
    VarianceSample true |n, _sum, distances| (n > 1.0).then(|| distances / (n - 1.0));
    VariancePopulation true |n, _sum, distances| (n > 0.0).then(|| distances / n);
    DeviationSample true |n, _sum, distances| (n > 1.0).then(|| (distances / (n - 1.0)).sqrt());
    DeviationPopulation true |n, _sum, distances| (n > 0.0).then(|| (distances / n).sqrt());
}

/// A float argument.
pub(super) trait Real: Debug + Clone + Default + Send + Sync + 'static {
    type Arrow: ArrowPrimitiveType;
    fn widen(value: <Self::Arrow as ArrowPrimitiveType>::Native) -> f64;
}

macro_rules! reals {
    ($($name:ident: $arrow:ty),*) => { $(
        #[derive(Debug, Default, Clone)]
        pub(super) struct $name;
        impl Real for $name {
            type Arrow = $arrow;
            fn widen(value: <$arrow as ArrowPrimitiveType>::Native) -> f64 {
                value.into()
            }
        }
    )* };
}

reals!(OfFloat4: Float32Type, OfFloat8: Float64Type);

/// Average, variances and the double precision sum of floats.
#[derive(Debug, Clone, Default)]
pub(super) struct Floats<T, S> {
    n: f64,
    sum: f64,
    distances: f64,
    /// What is not finite is only counted: NaN, infinity, -infinity.
    special: [i64; 3],
    kind: PhantomData<(T, S)>,
}

impl<T, S> Floats<T, S> {
    fn count_special(&mut self, value: f64) -> bool {
        let place = match value {
            nan if nan.is_nan() => 0,
            f64::INFINITY => 1,
            f64::NEG_INFINITY => 2,
            _ => return false,
        };
        self.special[place] += 1;
        true
    }
}

impl<T: Real, S: FloatStatistic> Step for Floats<T, S> {
    type Columns<'a> = &'a PrimitiveArray<T::Arrow>;
    const RETRACTS: bool = false;
    const STATE: &'static [DataType] =
        &[DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int64, DataType::Int64, DataType::Int64];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Float8
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    #[inline]
    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        let value = T::widen(columns.value(row));
        if self.count_special(value) {
            return Ok(());
        }
        self.n += 1.0;
        self.sum = finite(self.sum + value, false)?;
        if self.n > 1.0 {
            let distance = value * self.n - self.sum;
            self.distances += distance * distance / (self.n * (self.n - 1.0));
            finite(self.distances, !S::GATHERS)?;
        }
        Ok(())
    }

    fn remove(&mut self, _: &Self::Columns<'_>, _: usize) -> Result<()> {
        // A difference of floats is not what the sum of the others would be.
        Err(malformed())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        let float = |value: f64| ScalarValue::Float64(Some(value));
        let count = |count: i64| ScalarValue::Int64(Some(count));
        let [nan, up, down] = self.special;
        Ok(vec![float(self.n), float(self.sum), float(self.distances), count(nan), count(up), count(down)])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        let (n, sum, distances) = (float64(&state[0])?, float64(&state[1])?, float64(&state[2])?);
        for (mine, other) in self.special.iter_mut().zip(&state[3..]) {
            *mine += int64(other)?;
        }
        if n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            (self.n, self.sum, self.distances) = (n, sum, distances);
            return Ok(());
        }
        let apart = self.sum / self.n - sum / n;
        let total = self.n + n;
        self.distances += distances + self.n * n * apart * apart / total;
        self.sum = finite(self.sum + sum, false)?;
        self.n = total;
        Ok(())
    }

    fn finish(&self) -> Result<ScalarValue> {
        let [nan, up, down] = self.special;
        let n = self.n + (nan + up + down) as f64;
        let result = match (nan, up, down) {
            (0, 0, 0) => S::of_floats(n, self.sum, self.distances),
            // An infinite sum has no finite distances.
            (0, _, 0) => S::of_floats(n, f64::INFINITY, f64::NAN),
            (0, 0, _) => S::of_floats(n, f64::NEG_INFINITY, f64::NAN),
            _ => S::of_floats(n, f64::NAN, f64::NAN),
        };
        Ok(ScalarValue::Float64(result))
    }
}

/// `sum(real)`: a real.
#[derive(Debug, Clone, Default)]
pub(super) struct RealSum(Floats<OfFloat4, Total>);

impl Step for RealSum {
    type Columns<'a> = &'a PrimitiveArray<Float32Type>;
    const RETRACTS: bool = false;
    const STATE: &'static [DataType] = <Floats<OfFloat4, Total> as Step>::STATE;

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Float4
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        self.0.add(columns, row)
    }

    fn remove(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        self.0.remove(columns, row)
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        self.0.merge(state)
    }

    fn finish(&self) -> Result<ScalarValue> {
        let ScalarValue::Float64(sum) = self.0.finish()? else { return Err(malformed()) };
        let narrowed = sum.map(|sum| finite(sum as f32, sum.is_infinite())).transpose()?;
        Ok(ScalarValue::Float32(narrowed))
    }
}

/// Sum and average of intervals.
#[derive(Debug, Clone, Default)]
pub(super) struct Intervals<const MEAN: bool> {
    n: i64,
    months: i64,
    days: i64,
    us: i128,
}

impl<const MEAN: bool> Intervals<MEAN> {
    fn apply(&mut self, value: Interval, step: i64) {
        self.n += step;
        self.months += i64::from(value.months) * step;
        self.days += i64::from(value.days) * step;
        self.us += i128::from(value.us) * i128::from(step);
    }
}

impl<const MEAN: bool> Step for Intervals<MEAN> {
    type Columns<'a> = &'a PrimitiveArray<IntervalMonthDayNanoType>;
    const RETRACTS: bool = true;
    const STATE: &'static [DataType] = &[DataType::Int64, DataType::Int64, DataType::Int64, DataType::Binary];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Interval
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        use super::super::rows::Read as _;
        self.apply(super::super::rows::Interval::item(columns, row), 1);
        Ok(())
    }

    fn remove(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        use super::super::rows::Read as _;
        self.apply(super::super::rows::Interval::item(columns, row), -1);
        Ok(())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        let count = |count: i64| ScalarValue::Int64(Some(count));
        Ok(vec![count(self.n), count(self.months), count(self.days), int128_state(self.us)])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        self.n += int64(&state[0])?;
        self.months += int64(&state[1])?;
        self.days += int64(&state[2])?;
        self.us += int128(&state[3])?;
        Ok(())
    }

    fn finish(&self) -> Result<ScalarValue> {
        if self.n <= 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let out = |_| super::super::datetime::interval_range();
        let sum = Interval {
            months: i32::try_from(self.months).map_err(out)?,
            days: i32::try_from(self.days).map_err(out)?,
            us: i64::try_from(self.us).map_err(out)?,
        };
        let value = if MEAN { super::super::datetime::divided(sum, self.n as f64)? } else { sum };
        Ok(ScalarValue::IntervalMonthDayNano(Some(super::super::rows::interval_native(value)?)))
    }
}
