//! CHECK constraints, compiled: they are judged when rows are written, whichever statement writes them.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use kalamdb_commons::{ColumnId, Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{Col, Scalar};
use kalamdb_sql::bind::{self, Names, Purpose, RelationShape, walk};
use kalamdb_sql::predicate::{RowProgram, Sessionless, Values};
use kalamdb_store::CheckDef;

/// A table's CHECK constraints, compiled, in the order of their names, in which they are judged.
#[derive(Debug)]
pub(crate) struct TableChecks {
    checks: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    name: String,
    condition: Scalar,
    /// What it reads.
    inputs: Vec<(ColumnId, Col)>,
    /// Where neither settings nor the moment can change what it says.
    lasting: Option<RowProgram>,
}

/// Why a row is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The constraint of this name is false.
    Violated(String),
    /// A condition could not be evaluated.
    Error(SqlError),
}

impl TableChecks {
    /// Compiles some constraints of a table, which is told in the binder's words.
    ///
    /// # Errors
    /// XX000 when a stored expression cannot be read.
    pub fn new(checks: &[CheckDef], shape: &RelationShape, names: &dyn Names) -> Result<Self> {
        let mut checks = checks.iter().map(|check| Compiled::new(check, shape, names)).collect::<Result<Vec<_>>>()?;
        checks.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Self { checks })
    }

    /// The first row of a batch that is refused, and why: of a row's constraints, the first by name. `values` gives
    /// what conditions may ask of the session.
    ///
    /// # Errors
    /// XX000 when the batch lacks a column.
    pub fn first_refused(
        &self,
        batch: &RecordBatch,
        columns: &[ColumnId],
        values: &mut dyn FnMut() -> Values,
    ) -> Result<Option<(usize, Refusal)>> {
        if self.checks.is_empty() || batch.num_rows() == 0 {
            return Ok(None);
        }
        let mut made: Vec<(&Compiled, RowProgram, Vec<ArrayRef>)> = Vec::with_capacity(self.checks.len());
        for check in &self.checks {
            let program = match &check.lasting {
                Some(program) => program.clone(),
                None => check.program(&mut values())?,
            };
            made.push((check, program, check.arrays(batch, columns)?));
        }
        // All rows at once, as long as nothing is wrong with any.
        let holds_for_all = |(_, program, arrays): &(&Compiled, RowProgram, Vec<ArrayRef>)| {
            let verdict = program.rows(arrays.clone(), batch.num_rows()).and_then(|rows| program.evaluate(&rows));
            verdict.is_ok_and(|verdict| boolean(&verdict).is_some_and(|verdict| verdict.false_count() == 0))
        };
        if made.iter().all(holds_for_all) {
            return Ok(None);
        }
        for row in 0..batch.num_rows() {
            for (check, program, arrays) in &made {
                let one = arrays.iter().map(|array| array.slice(row, 1)).collect();
                match program.evaluate(&program.rows(one, 1)?) {
                    Err(error) => return Ok(Some((row, Refusal::Error(error)))),
                    Ok(verdict) => {
                        let verdict = boolean(&verdict).ok_or_else(|| SqlError::internal("a CHECK is no boolean"))?;
                        if verdict.is_valid(0) && !verdict.value(0) {
                            return Ok(Some((row, Refusal::Violated(check.name.clone()))));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// The columns that they read.
    pub fn inputs(&self) -> Vec<ColumnId> {
        let mut inputs: Vec<ColumnId> =
            self.checks.iter().flat_map(|check| check.inputs.iter().map(|(id, _)| *id)).collect();
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }
}

fn boolean(arrays: &[ArrayRef]) -> Option<&BooleanArray> {
    arrays.first()?.as_boolean_opt()
}

impl Compiled {
    fn new(check: &CheckDef, shape: &RelationShape, names: &dyn Names) -> Result<Self> {
        let bound = bind::bind_row(&check.expression, shape, Purpose::Check, names)?;
        let used = bound.used();
        let inputs: Vec<(ColumnId, Col)> = bound.columns.into_iter().filter(|(id, _)| used.contains(id)).collect();
        let mut compiled = Self { name: check.name.clone(), condition: bound.scalar, inputs, lasting: None };
        if is_lasting(&compiled.condition) {
            compiled.lasting = Some(compiled.program(&mut Sessionless)?);
        }
        Ok(compiled)
    }

    fn program(&self, filling: &mut dyn kalamdb_sql::lower::Filling) -> Result<RowProgram> {
        let columns: Vec<Col> = self.inputs.iter().map(|(_, col)| *col).collect();
        RowProgram::compile(std::slice::from_ref(&self.condition), &columns, filling)
    }

    fn arrays(&self, batch: &RecordBatch, columns: &[ColumnId]) -> Result<Vec<ArrayRef>> {
        let array = |(id, _): &(ColumnId, Col)| {
            let at = columns.iter().position(|column| column == id);
            at.map(|at| batch.column(at).clone())
                .ok_or_else(|| SqlError::internal("a checked column is not in the row"))
        };
        self.inputs.iter().map(array).collect()
    }
}

/// Whether a condition says the same of a row whoever asks, and whenever.
fn is_lasting(condition: &Scalar) -> bool {
    let mut lasts = walk::is_immutable(condition);
    walk::deep(condition, &mut |inner| {
        // age(timestamptz, timestamptz) is immutable in pg_proc and reads the time zone all the same.
        if let Scalar::Call { args, .. } = inner {
            lasts &= args.iter().all(|arg| arg.ty().ty != SqlType::Timestamptz);
        }
    });
    lasts
}
