//! Generated columns: computed from the row that is about to be written, whichever statement writes it.

use crate::reply::batch_of;
use arrow_array::{ArrayRef, RecordBatch};
use kalamdb_commons::{ColumnId, Result, SqlError};
use kalamdb_sql::bind::bound::{Col, Scalar};
use kalamdb_sql::bind::{self, Names, RelationShape};
use kalamdb_sql::predicate::{RowProgram, Sessionless};
use kalamdb_store::TableDef;

/// A table's generated columns, compiled.
#[derive(Debug)]
pub(crate) struct Generated {
    columns: Vec<ColumnId>,
    inputs: Vec<ColumnId>,
    program: RowProgram,
}

impl Generated {
    /// Compiles the generated columns of a table, whose shape is in the binder's words too.
    ///
    /// # Errors
    /// XX000 when a stored expression cannot be read.
    pub fn new(table: &TableDef, shape: &RelationShape, names: &dyn Names) -> Result<Self> {
        let (mut columns, mut inputs, mut scalars) = (Vec::new(), Vec::new(), Vec::new());
        let mut places: Vec<Col> = Vec::new();
        for column in table.live_columns() {
            let Some(text) = &column.generated else { continue };
            let bound = bind::bind_generated(text, column.name.as_str(), column.ty, shape, names)?;
            let mut scalar = bound.scalar.clone();
            for id in bound.used() {
                let Some((_, col)) = bound.columns.iter().find(|(known, _)| *known == id) else { continue };
                let at = inputs.iter().position(|known| *known == id).unwrap_or_else(|| {
                    inputs.push(id);
                    places.push(*col);
                    inputs.len() - 1
                });
                // Each expression has numbers of its own for the same columns.
                scalar = bind::walk::replace(&scalar, col.id, &Scalar::Column(places[at]));
            }
            columns.push(column.id);
            scalars.push(scalar);
        }
        Ok(Self { columns, inputs, program: RowProgram::compile(&scalars, &places, &mut Sessionless)? })
    }

    /// The same rows with the values of the generated columns. `columns` says which columns the batch has.
    ///
    /// # Errors
    /// The expressions'.
    pub fn computed(&self, batch: &RecordBatch, columns: &[ColumnId]) -> Result<RecordBatch> {
        let place = |id: &ColumnId| {
            let missing = || SqlError::internal(format!("column {id} is not in the row"));
            columns.iter().position(|column| column == id).ok_or_else(missing)
        };
        let inputs =
            self.inputs.iter().map(|id| Ok(batch.column(place(id)?).clone())).collect::<Result<Vec<ArrayRef>>>()?;
        let values = self.program.evaluate(&self.program.rows(inputs, batch.num_rows())?)?;
        let mut arrays = batch.columns().to_vec();
        for (id, value) in self.columns.iter().zip(values) {
            arrays[place(id)?] = value;
        }
        batch_of(arrays, batch.num_rows())
    }
}
