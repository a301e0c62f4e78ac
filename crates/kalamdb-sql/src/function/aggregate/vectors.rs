//! Sum and average of vectors.

use super::super::rows::typed;
use super::super::vector::check_same;
use super::fold::Step;
use super::sums::{bytes, int64, malformed};
use crate::types::vector::{check_element, fit};
use arrow_array::{ArrayRef, BinaryArray};
use arrow_schema::DataType;
use datafusion_common::ScalarValue;
use kalamdb_commons::vector::{dimensions, elements, of};
use kalamdb_commons::{PgType, Result, SqlType};

/// The sum, in single precision.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Total(Option<Vec<u8>>);

impl Total {
    fn take(&mut self, vector: &[u8]) -> Result<()> {
        let sum = match &self.0 {
            None => vector.to_vec(),
            Some(sum) => {
                check_same(sum, vector)?;
                let added =
                    elements(sum).zip(elements(vector)).map(|(a, b)| super::super::arithmetic::finite(a + b, false));
                of(added.collect::<Result<Vec<_>>>()?)
            }
        };
        self.0 = Some(sum);
        Ok(())
    }
}

impl Step for Total {
    type Columns<'a> = &'a BinaryArray;
    const RETRACTS: bool = false;
    const STATE: &'static [DataType] = &[DataType::Binary];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Vector
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        self.take(columns.value(row))
    }

    fn remove(&mut self, _: &Self::Columns<'_>, _: usize) -> Result<()> {
        Err(malformed())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.0.clone())])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        match &state[0] {
            ScalarValue::Binary(None) => Ok(()),
            state => self.take(bytes(state)?),
        }
    }

    fn finish(&self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(self.0.clone()))
    }
}

/// The average: sums in double precision, and how many there are.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Mean {
    n: i64,
    sums: Vec<f64>,
}

impl Mean {
    fn take(&mut self, n: i64, terms: impl ExactSizeIterator<Item = f64>) -> Result<()> {
        if self.n == 0 {
            self.sums = vec![0.0; terms.len()];
        }
        for (sum, term) in self.sums.iter_mut().zip(terms) {
            *sum = super::super::arithmetic::finite(*sum + term, false)?;
        }
        self.n += n;
        Ok(())
    }
}

impl Step for Mean {
    type Columns<'a> = &'a BinaryArray;
    const RETRACTS: bool = false;
    const STATE: &'static [DataType] = &[DataType::Int64, DataType::Binary];

    fn returns(_: &[PgType]) -> SqlType {
        SqlType::Vector
    }

    fn columns(args: &[ArrayRef]) -> Result<Self::Columns<'_>> {
        typed(&args[0])
    }

    fn add(&mut self, columns: &Self::Columns<'_>, row: usize) -> Result<()> {
        let vector = columns.value(row);
        if self.n > 0 {
            fit(vector, self.sums.len() as i32)?;
        }
        self.take(1, elements(vector).map(f64::from))
    }

    fn remove(&mut self, _: &Self::Columns<'_>, _: usize) -> Result<()> {
        Err(malformed())
    }

    fn state(&self) -> Result<Vec<ScalarValue>> {
        let sums = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        Ok(vec![ScalarValue::Int64(Some(self.n)), ScalarValue::Binary(Some(sums))])
    }

    fn merge(&mut self, state: &[ScalarValue]) -> Result<()> {
        let (n, sums) = (int64(&state[0])?, bytes(&state[1])?);
        if n == 0 {
            return Ok(());
        }
        let sums: Vec<f64> = sums.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        if self.n > 0 {
            fit(&vec![0; 4 * sums.len()], self.sums.len() as i32)?;
        }
        self.take(n, sums.into_iter())
    }

    fn finish(&self) -> Result<ScalarValue> {
        if self.n == 0 {
            return Ok(ScalarValue::Binary(None));
        }
        let means = self.sums.iter().map(|sum| check_element((sum / self.n as f64) as f32));
        let mean = of(means.collect::<Result<Vec<_>>>()?);
        debug_assert_eq!(dimensions(&mean), self.sums.len());
        Ok(ScalarValue::Binary(Some(mean)))
    }
}
