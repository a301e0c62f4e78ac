//! The index entries that rows have: computed when rows are written, whichever statement writes them.

use crate::plan::{IndexShape, IndexedKey};
use crate::system::index::shown_key;
use arrow_array::{ArrayRef, RecordBatch};
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{Col, ColId, Scalar};
use kalamdb_sql::bind::{self, Names, Purpose, RelationShape, RowExpression, walk};
use kalamdb_sql::function;
use kalamdb_sql::predicate::{RowProgram, Sessionless};
use kalamdb_sql::types::datum_at;
use kalamdb_store::codec::arrow::BatchBuilder;
use kalamdb_store::codec::index::{IndexEncoder, IndexOrder};
use kalamdb_store::{IndexDef, IndexEntry, IndexKeyPart, TableDef};
use std::sync::Arc;

/// A table's indexes, compiled.
#[derive(Debug)]
pub(crate) struct TableIndexes {
    table: Arc<TableDef>,
    indexes: Vec<Compiled>,
}

/// One index, compiled: everything is read from the columns in `inputs`, whose numbers are their places there.
#[derive(Debug)]
struct Compiled {
    def: IndexDef,
    order: Vec<IndexOrder>,
    inputs: Vec<ColumnId>,
    columns: Vec<Col>,
    /// What is sorted, as people know it.
    sorted: Vec<Scalar>,
    keys: Vec<Key>,
    predicate: Option<RowProgram>,
    conditions: Vec<Scalar>,
    /// The keys that are no plain columns.
    made: Option<RowProgram>,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    /// The column at this place of `inputs`.
    Input(usize),
    /// The value at this place of what `made` makes.
    Made(usize),
}

/// The entries of one row.
pub(crate) type RowEntries = Vec<IndexEntry>;

/// What a value of this type is sorted by in an index, if it can be: the type of its key.
pub(crate) fn sorted_as(ty: SqlType) -> Option<SqlType> {
    if kalamdb_store::codec::key::check_type(ty).is_ok() {
        return Some(ty);
    }
    function::sort_key(ty).map(|key| key.returns)
}

/// The order of an index's keys.
///
/// # Errors
/// XX000 for a type that no index has.
pub(crate) fn order_of(table: &TableDef, index: &IndexDef) -> Result<Vec<IndexOrder>> {
    let order = index.keys.iter().map(|key| {
        let ty = crate::system::index::key_type(table, key).ty;
        let ty = sorted_as(ty).ok_or_else(|| SqlError::internal(format!("an index over {ty}")))?;
        Ok(IndexOrder { ty, descending: key.descending, nulls_first: key.nulls_first })
    });
    order.collect()
}

impl TableIndexes {
    /// Compiles some indexes of a table, whose shape is in the binder's words too.
    ///
    /// # Errors
    /// XX000 when a stored expression cannot be read.
    pub fn new(table: &Arc<TableDef>, indexes: &[IndexDef], shape: &RelationShape, names: &dyn Names) -> Result<Self> {
        let indexes = indexes.iter().map(|index| Compiled::new(table, index, shape, names));
        Ok(Self { table: table.clone(), indexes: indexes.collect::<Result<_>>()? })
    }

    /// The indexes of a table that has none.
    pub fn none(table: &Arc<TableDef>) -> Self {
        Self { table: table.clone(), indexes: Vec::new() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Whether an UPDATE that sets these columns leaves all entries as they are.
    pub fn ignore(&self, set: &[ColumnId]) -> bool {
        self.indexes.iter().all(|index| !index.inputs.iter().any(|id| set.contains(id)))
    }

    /// The entries of a batch's rows, in the order of the indexes. A partial index that a row is not in gives it none.
    ///
    /// # Errors
    /// The expressions'.
    pub fn of_batch(&self, batch: &RecordBatch, columns: &[ColumnId]) -> Result<Vec<RowEntries>> {
        let mut entries: Vec<RowEntries> = vec![Vec::new(); batch.num_rows()];
        for index in &self.indexes {
            index.add(batch, columns, &mut entries)?;
        }
        Ok(entries)
    }

    /// The entries of stored rows.
    ///
    /// # Errors
    /// The expressions', the codec's.
    pub fn of_rows(&self, rows: &[(&[u8], &[u8])]) -> Result<Vec<RowEntries>> {
        if self.indexes.is_empty() {
            return Ok(vec![Vec::new(); rows.len()]);
        }
        let columns = self.inputs();
        let mut builder = BatchBuilder::new(&self.table, &columns)?;
        for (key, row) in rows {
            builder.push(key, row)?;
        }
        self.of_batch(&builder.finish()?, &columns)
    }

    /// The columns that entries are made from.
    pub fn inputs(&self) -> Vec<ColumnId> {
        let mut columns: Vec<ColumnId> = self.indexes.iter().flat_map(|index| index.inputs.iter().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// `Key (a, b)=(1, 2)` for a row: `text` gives a value's text.
    ///
    /// # Errors
    /// The expressions'.
    pub fn shown(
        &self,
        index: Oid,
        batch: &RecordBatch,
        columns: &[ColumnId],
        row: usize,
        text: &dyn Fn(&Datum, PgType) -> String,
    ) -> Result<String> {
        let index = self.indexes.iter().find(|known| known.def.id == index);
        let index = index.ok_or_else(|| SqlError::internal("an entry without its index"))?;
        let values = index.values(&batch.slice(row, 1), columns)?;
        let shown =
            index.sorted.iter().zip(&values).map(|(scalar, array)| match datum_at(array.as_ref(), 0, scalar.ty()) {
                Datum::Null => "null".to_string(),
                datum => text(&datum, scalar.ty()),
            });
        let keys: Vec<String> = index.def.keys.iter().map(|key| shown_key(&self.table, &key.what, true)).collect();
        Ok(format!("Key ({})=({})", keys.join(", "), shown.collect::<Vec<_>>().join(", ")))
    }

    /// The indexes as queries choose among them.
    pub fn shapes(&self) -> impl Iterator<Item = IndexShape> {
        self.indexes.iter().map(|index| IndexShape {
            id: index.def.id,
            name: index.def.name.clone(),
            unique: index.def.unique,
            keys: index
                .def
                .keys
                .iter()
                .zip(&index.sorted)
                .map(|(key, value)| IndexedKey {
                    value: value.clone(),
                    shown: shown_key(&self.table, &key.what, true),
                    descending: key.descending,
                    nulls_first: key.nulls_first,
                })
                .collect(),
            predicate: index.conditions.clone(),
            columns: index.inputs.iter().copied().zip(index.columns.iter().copied()).collect(),
        })
    }

    /// An index's definition.
    pub fn definition(&self, index: Oid) -> Option<&IndexDef> {
        self.indexes.iter().map(|index| &index.def).find(|def| def.id == index)
    }
}

impl Compiled {
    fn new(table: &TableDef, def: &IndexDef, shape: &RelationShape, names: &dyn Names) -> Result<Self> {
        let mut inputs = Inputs { table, columns: Vec::new() };
        let mut sorted = Vec::with_capacity(def.keys.len());
        for key in &def.keys {
            sorted.push(match &key.what {
                IndexKeyPart::Column(id) => Scalar::Column(inputs.column(*id)),
                IndexKeyPart::Expression { text, .. } => {
                    inputs.numbered(bind::bind_row(text, shape, Purpose::IndexKey, names)?)
                }
            });
        }
        let predicate = match &def.predicate {
            Some(text) => Some(inputs.numbered(bind::bind_row(text, shape, Purpose::IndexPredicate, names)?)),
            None => None,
        };
        let (inputs, columns): (Vec<ColumnId>, Vec<Col>) = inputs.columns.into_iter().unzip();
        let (mut keys, mut made) = (Vec::with_capacity(sorted.len()), Vec::new());
        for scalar in &sorted {
            keys.push(match scalar {
                Scalar::Column(col) if kalamdb_store::codec::key::check_type(col.ty.ty).is_ok() => {
                    Key::Input(col.id.0 as usize)
                }
                scalar => {
                    made.push(with_sort_key(scalar.clone()));
                    Key::Made(made.len() - 1)
                }
            });
        }
        let compile = |scalars: &[Scalar]| RowProgram::compile(scalars, &columns, &mut Sessionless);
        Ok(Self {
            order: order_of(table, def)?,
            predicate: predicate.clone().map(|predicate| compile(&[predicate])).transpose()?,
            conditions: match predicate {
                Some(Scalar::And(conditions)) => conditions,
                predicate => predicate.into_iter().collect(),
            },
            made: if made.is_empty() { None } else { Some(compile(&made)?) },
            def: def.clone(),
            inputs,
            columns,
            sorted,
            keys,
        })
    }

    /// The index's inputs from a batch.
    fn arrays(&self, batch: &RecordBatch, columns: &[ColumnId]) -> Result<Vec<ArrayRef>> {
        let array = |id: &ColumnId| {
            let at = columns.iter().position(|column| column == id);
            at.map(|at| batch.column(at).clone())
                .ok_or_else(|| SqlError::internal("an indexed column is not in the row"))
        };
        self.inputs.iter().map(array).collect()
    }

    fn add(&self, batch: &RecordBatch, columns: &[ColumnId], entries: &mut [RowEntries]) -> Result<()> {
        let mut inputs = self.arrays(batch, columns)?;
        let mut places: Vec<usize> = (0..batch.num_rows()).collect();
        if let Some(predicate) = &self.predicate {
            let holds = predicate.holds(&predicate.rows(inputs.clone(), places.len())?)?;
            if holds.true_count() < places.len() {
                places.retain(|at| holds.value(*at));
                let filter = |array: &ArrayRef| arrow_select::filter::filter(array, &holds).map_err(SqlError::internal);
                inputs = inputs.iter().map(filter).collect::<Result<_>>()?;
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let made = match &self.made {
            Some(made) => made.evaluate(&made.rows(inputs.clone(), places.len())?)?,
            None => Vec::new(),
        };
        let arrays: Vec<&ArrayRef> = self
            .keys
            .iter()
            .map(|key| match key {
                Key::Input(at) => &inputs[*at],
                Key::Made(at) => &made[*at],
            })
            .collect();
        let encoder = IndexEncoder::new(&self.order, &arrays)?;
        for (row, place) in places.into_iter().enumerate() {
            let (key, has_null) = encoder.encode(row)?;
            let unique = self.def.unique && (self.def.nulls_not_distinct || !has_null);
            entries[place].push(IndexEntry { index: self.def.id, key, unique });
        }
        Ok(())
    }

    /// The values that are sorted, as people know them.
    fn values(&self, batch: &RecordBatch, columns: &[ColumnId]) -> Result<Vec<ArrayRef>> {
        let program = RowProgram::compile(&self.sorted, &self.columns, &mut Sessionless)?;
        program.evaluate(&program.rows(self.arrays(batch, columns)?, batch.num_rows())?)
    }
}

/// The columns that an index is made from, as they are found: a column's number is its place.
struct Inputs<'a> {
    table: &'a TableDef,
    columns: Vec<(ColumnId, Col)>,
}

impl Inputs<'_> {
    fn column(&mut self, id: ColumnId) -> Col {
        if let Some((_, col)) = self.columns.iter().find(|(known, _)| *known == id) {
            return *col;
        }
        let ty = self.table.column(id).map_or(PgType::new(SqlType::Unknown), |column| column.ty);
        let col = Col { id: ColId(self.columns.len() as u32), ty, nullable: true };
        self.columns.push((id, col));
        col
    }

    fn numbered(&mut self, bound: RowExpression) -> Scalar {
        let RowExpression { mut scalar, columns } = bound;
        walk::rewrite(&mut scalar, &mut |inner| match inner {
            Scalar::Column(col) => {
                let (id, _) = columns.iter().find(|(_, known)| known.id == col.id)?;
                Some(Scalar::Column(self.column(*id)))
            }
            _ => None,
        });
        scalar
    }
}

/// A value of a type whose own form has no order becomes its sort key.
fn with_sort_key(scalar: Scalar) -> Scalar {
    let ty = scalar.ty().ty;
    if kalamdb_store::codec::key::check_type(ty).is_ok() {
        return scalar;
    }
    match function::sort_key(ty) {
        Some(key) => Scalar::Call { function: key, args: vec![scalar], ty: PgType::new(key.returns) },
        None => scalar,
    }
}
