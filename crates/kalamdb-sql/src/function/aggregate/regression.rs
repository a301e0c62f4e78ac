//! Aggregates over pairs of numbers: correlation, covariance and the line of least squares (PostgreSQL manual 9.21).
//!
//! The sums follow Youngs and Cramer, as PostgreSQL's do, so that the last digits agree too.

use super::super::arithmetic::finite;
use super::super::rows::typed;
use super::fold::Step;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_schema::DataType;
use datafusion_common::ScalarValue;
use kalamdb_commons::{PgType, Result, SqlError, SqlType};
use std::fmt::Debug;
use std::marker::PhantomData;

/// What is known of the pairs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    n: f64,
    x: f64,
    xx: f64,
    y: f64,
    yy: f64,
    xy: f64,
}

/// What an aggregate makes of the sums.
pub(super) trait PairStatistic: Debug + Send + Sync + Default + Clone + 'static {
    fn of(sums: Sums) -> Option<f64>;
}

macro_rules! pair_statistic {
    ($($name:ident |$sums:ident| $body:expr;)*) => { $(
        #[derive(Debug, Default, Clone)]
        pub(super) struct $name;
        impl PairStatistic for $name {
            fn of($sums: Sums) -> Option<f64> {
                $body
            }
        }
    )* };
}

pair_statistic! {
    SquaresX |s| (s.n > 0.0).then_some(s.xx);
    SquaresY |s| (s.n > 0.0).then_some(s.yy);
    Products |s| (s.n > 0.0).then_some(s.xy);
    MeanX |s| (s.n > 0.0).then(|| s.x / s.n);
    MeanY |s| (s.n > 0.0).then(|| s.y / s.n);
    CovariancePopulation |s| (s.n > 0.0).then(|| s.xy / s.n);
    CovarianceSample |s| (s.n > 1.0).then(|| s.xy / (s.n - 1.0));
    Correlation |s| (s.n > 0.0 && s.xx != 0.0 && s.yy != 0.0).then(|| s.xy / (s.xx * s.yy).sqrt());
    // A flat line is fitted without any rest.
    Determination |s| (s.n > 0.0 && s.xx != 0.0).then(|| if s.yy == 0.0 { 1.0 } else { s.xy * s.xy / (s.xx * s.yy) });
    Slope |s| (s.n > 0.0 && s.xx != 0.0).then(|| s.xy / s.xx);
    Intercept |s| (s.n > 0.0 && s.xx != 0.0).then(|| (s.y - s.x * s.xy / s.xx) / s.n);
}

impl Sums {
    fn add(&mut self, y: f64, x: f64) -> Result<()> {
        let before = *self;
        self.n += 1.0;
        self.x += x;
        self.y += y;
        if before.n == 0.0 {
            // What is not finite has no distance from a mean.
            let unknown = |value: f64| if value.is_finite() { 0.0 } else { f64::NAN };
            (self.xx, self.yy, self.xy) = (unknown(x), unknown(y), unknown(x) + unknown(y));
            return Ok(());
        }
        let (dx, dy) = (x * self.n - self.x, y * self.n - self.y);
        let scale = 1.0 / (self.n * before.n);
        self.xx += dx * dx * scale;
        self.yy += dy * dy * scale;
        self.xy += dx * dy * scale;
        let (has_x, has_y) = (before.x.is_infinite() || x.is_infinite(), before.y.is_infinite() || y.is_infinite());
        self.settle(has_x, has_y)
    }

    /// Infinities that did not come in are overflows; with those that did, distances are unknown.
    fn settle(&mut self, has_x: bool, has_y: bool) -> Result<()> {
        finite(self.x, has_x)?;
        finite(self.y, has_y)?;
        for (sum, explained) in [(&mut self.xx, has_x), (&mut self.yy, has_y), (&mut self.xy, has_x || has_y)] {
            if finite(*sum, explained)?.is_infinite() {
                *sum = f64::NAN;
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Sums) -> Result<()> {
        if other.n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            *self = other;
            return Ok(());
        }
        let n = self.n + other.n;
        let (dx, dy) = (self.x / self.n - other.x / other.n, self.y / self.n - other.y / other.n);
        let weight = self.n * other.n;
        let (has_x, has_y) =
            (self.x.is_infinite() || other.x.is_infinite(), self.y.is_infinite() || other.y.is_infinite());
        *self = Sums {
            n,
            x: self.x + other.x,
            xx: self.xx + other.xx + weight * dx * dx / n,
            y: self.y + other.y,
            yy: self.yy + other.yy + weight * dy * dy / n,
            xy: self.xy + other.xy + weight * dx * dy / n,
        };
        self.settle(has_x, has_y)
    }
}

/// One of the aggregates: arguments are `(Y, X)`.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs<S> {
    sums: Sums,
    kind: PhantomData<S>,
}

fn malformed() -> SqlError {
    SqlError::internal("malformed aggregate state")
}

impl<S: PairStatistic> Step for Pairs<S> {
    type Columns<'a> = (&'a PrimitiveArray<Float64Type>, &'a PrimitiveArray<Float64Type>);
    const RETRACTS: bool = false;
    const STATE: &'static [DataType] = &[const { DataType::Float64 }; 6];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Float8
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        Ok((typed(&args[0])?, typed(&args[1])?))
    }

    fn add(&mut self, (y, x): &Self::Columns<'_>, row: usize) -> Result<()> {
        self.sums.add(y.value(row), x.value(row))
    }

    fn remove(&mut self, _: &Self::Columns<'_>, _: usize) -> Result<()> {
        Err(malformed())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        let Sums { n, x, xx, y, yy, xy } = self.sums;
        Ok([n, x, xx, y, yy, xy].map(|value| ScalarValue::Float64(Some(value))).to_vec())
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        let values = state.iter().map(|value| match value {
            ScalarValue::Float64(Some(value)) => Ok(*value),
            _ => Err(malformed()),
        });
        match values.collect::<Result<Vec<f64>>>()?.as_slice() {
            [n, x, xx, y, yy, xy] => self.sums.merge(Sums { n: *n, x: *x, xx: *xx, y: *y, yy: *yy, xy: *xy }),
            _ => Err(malformed()),
        }
    }

    fn finish(&self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(S::of(self.sums)))
    }
}

/// `regr_count`: how many pairs are whole.
#[derive(Debug, Clone, Default)]
pub(super) struct PairCount(i64);

impl Step for PairCount {
    type Columns<'a> = ();
    const RETRACTS: bool = true;
    const STATE: &'static [DataType] = &[DataType::Int64];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Int8
    }

    fn columns(_: &[ArrayRef]) -> Result<()> {
        Ok(())
    }

    fn add(&mut self, (): &(), _: usize) -> Result<()> {
        self.0 += 1;
        Ok(())
    }

    fn remove(&mut self, (): &(), _: usize) -> Result<()> {
        self.0 -= 1;
        Ok(())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.0))])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        match state {
            [ScalarValue::Int64(Some(count))] => {
                self.0 += count;
                Ok(())
            }
            _ => Err(malformed()),
        }
    }

    fn finish(&self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0)))
    }
}
