//! Bound expressions over one relation's row plus carried columns: for re-checks after a lock, SET expressions,
//! ON CONFLICT, RETURNING, live queries.
//!
//! A [`RowProgram`] is made once, with parameters and session values filled in, and run over batches. Its inputs are
//! named by column numbers, so that a batch may bring them in any order. Subqueries are refused: a statement that has
//! them starts again instead (`BoundUpdate::restarts`), or is run by a plan.

use crate::bind::bound::{Col, ColId, Scalar};
use crate::bind::walk;
use crate::function::{self, SessionValue, Volatility};
use crate::lower::{self, Filling};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use kalamdb_commons::{Datum, PgType, Result, SqlError};
use std::sync::Arc;

/// Expressions compiled for rows of fixed columns.
#[derive(Debug, Clone)]
pub struct RowProgram {
    schema: SchemaRef,
    exprs: Vec<(Arc<dyn PhysicalExpr>, PgType)>,
}

impl RowProgram {
    /// Compiles expressions over rows of `columns`, in their order.
    ///
    /// # Errors
    /// 0A000 for subqueries; XX000 for a column that is not among `columns`.
    pub fn compile(scalars: &[Scalar], columns: &[Col], filling: &mut dyn Filling) -> Result<RowProgram> {
        for scalar in scalars {
            let strange = walk::columns_used(scalar).into_iter().find(|col| !columns.iter().any(|c| c.id == col.id));
            if let Some(col) = strange {
                return Err(SqlError::internal(format!("column c{} is not in the row", col.id.0)));
            }
        }
        let exprs = scalars
            .iter()
            .map(|scalar| Ok((lower::compile(&lower::lower(scalar, filling)?, columns)?, scalar.ty())))
            .collect::<Result<_>>()?;
        let fields = columns.iter().map(|col| Field::new(lower::column_name(col.id), col.ty.ty.arrow(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(RowProgram { schema, exprs })
    }

    /// The schema of the rows it takes: `c<number>` for each column.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A batch of rows from the columns' arrays, in the order given to [`RowProgram::compile`].
    ///
    /// # Errors
    /// XX000 when the arrays do not fit the columns.
    pub fn rows(&self, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(SqlError::internal)
    }

    /// The expressions' values for each row.
    ///
    /// # Errors
    /// The functions'.
    pub fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.exprs
            .iter()
            .map(|(expr, _)| {
                let value = expr.evaluate(rows).map_err(function::sql_error)?;
                value.into_array(rows.num_rows()).map_err(function::sql_error)
            })
            .collect()
    }

    /// The values for one row of a batch.
    ///
    /// # Errors
    /// The functions'.
    pub fn evaluate_row(&self, rows: &RecordBatch, row: usize) -> Result<Vec<Datum>> {
        let arrays = self.evaluate(&rows.slice(row, 1))?;
        Ok(arrays.iter().zip(&self.exprs).map(|(array, (_, ty))| crate::types::datum_at(array, 0, *ty)).collect())
    }

    /// For a program of one boolean: the rows for which it is true.
    ///
    /// # Errors
    /// The functions'; XX000 for a program that is no condition.
    pub fn holds(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let arrays = self.evaluate(rows)?;
        let verdict = arrays.first().and_then(|array| array.as_any().downcast_ref::<BooleanArray>());
        let verdict = verdict.ok_or_else(|| SqlError::internal("a condition is no boolean"))?;
        // NULL is not true.
        Ok(verdict.iter().map(|value| Some(value == Some(true))).collect())
    }
}

/// Whether a live query may be judged by an expression: the same row gives the same answer at any time.
///
/// # Errors
/// 0A000 with what stands in the way.
pub fn check_live_safe(scalar: &Scalar) -> Result<()> {
    let mut fault: Option<String> = None;
    walk::deep(scalar, &mut |inner| {
        let found = match inner {
            Scalar::Session(value, _) if is_moment(*value) => Some("the current time".to_owned()),
            Scalar::Call { function, args, .. } if changes(function, args.len()) => {
                Some(format!("{}()", function.name))
            }
            Scalar::Subquery(_) => Some("a subquery".to_owned()),
            _ => None,
        };
        if fault.is_none() {
            fault = found;
        }
    });
    match fault {
        Some(what) => Err(SqlError::unsupported(format!("{what} in the condition of a live query"))),
        None => Ok(()),
    }
}

/// As [`check_live_safe`], as a question.
pub fn is_live_safe(scalar: &Scalar) -> bool {
    check_live_safe(scalar).is_ok()
}

fn is_moment(value: SessionValue) -> bool {
    matches!(
        value,
        SessionValue::Now
            | SessionValue::StatementTimestamp
            | SessionValue::CurrentDate
            | SessionValue::CurrentTime
            | SessionValue::LocalTime
            | SessionValue::LocalTimestamp
    )
}

/// Stable functions depend on settings, which a live query keeps, or on what changes by itself.
fn changes(function: &function::Function, args: usize) -> bool {
    match function.volatility {
        Volatility::Volatile => true,
        Volatility::Immutable => false,
        Volatility::Stable => {
            function.name.starts_with("pg_")
                || function.name.starts_with("has_")
                || function.name.starts_with("current_setting")
                || (function.name == "age" && args == 1)
        }
    }
}

/// The columns that expressions read, each once: what a row must bring.
pub fn columns_read(scalars: &[Scalar]) -> Vec<Col> {
    let mut read: Vec<Col> = Vec::new();
    let mut seen: std::collections::HashSet<ColId> = std::collections::HashSet::new();
    for col in scalars.iter().flat_map(walk::columns_used) {
        if seen.insert(col.id) {
            read.push(col);
        }
    }
    read
}

/// Parameters and session values that are known: what most programs are compiled with.
#[derive(Clone)]
pub struct Values {
    /// The values of `$1`, `$2` …
    pub parameters: Vec<(Datum, PgType)>,
    /// The values of the session and the moment.
    pub session: Arc<dyn Fn(SessionValue) -> Datum + Send + Sync>,
    /// What functions may ask.
    pub around: Arc<dyn function::Surroundings>,
}

impl Filling for Values {
    fn parameter(&mut self, number: usize, _ty: PgType) -> Result<lower::Filled> {
        let value = number.checked_sub(1).and_then(|at| self.parameters.get(at));
        let (value, _) = value.ok_or_else(|| SqlError::internal(format!("parameter ${number} has no value")))?;
        Ok(lower::Filled::Value(value.clone()))
    }

    fn session(&mut self, value: SessionValue, _ty: PgType) -> Result<lower::Filled> {
        Ok(lower::Filled::Value((self.session)(value)))
    }

    fn around(&self) -> Option<Arc<dyn function::Surroundings>> {
        Some(self.around.clone())
    }
}

/// A filling for expressions that depend on no session and have no parameters, such as an index's.
#[derive(Debug, Clone, Copy)]
pub struct Sessionless;

impl Filling for Sessionless {
    fn parameter(&mut self, number: usize, _: PgType) -> Result<lower::Filled> {
        Err(SqlError::internal(format!("parameter ${number} has no value here")))
    }

    fn session(&mut self, _: SessionValue, _: PgType) -> Result<lower::Filled> {
        Err(SqlError::internal("a session value has no value here"))
    }

    fn around(&self) -> Option<Arc<dyn function::Surroundings>> {
        Some(Arc::new(function::Nowhere))
    }
}
