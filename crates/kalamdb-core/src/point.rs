//! The fast path: a source of one stored row found by its whole primary key or a unique index, or of rows made by expressions alone
//! (`INSERT … VALUES`), is read without the query engine's planner.
//!
//! A [`Point`] is recognised once for each binding and holds nothing of an execution: values, snapshot and permission
//! come with each run. It answers what the planner would: its expressions are compiled by the same lowering, and
//! whatever it does not know for certain to be of its kind is left to the planner.

use crate::plan::BatchStream;
use crate::relation::Relation;
use crate::reply::batch_of;
use crate::system;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, Result, SqlError, SqlState, SqlType};
use kalamdb_sql::bind::bound::{Bound, BoundKind, Col, ColId, CompareOp, NeedId, Rel, Scalar};
use kalamdb_sql::bind::walk;
use kalamdb_sql::function::{NEXTVAL, SessionValue, Volatility};
use kalamdb_sql::predicate::{RowProgram, Sessionless, Values};
use kalamdb_sql::types::{array_of, datum_at};
use kalamdb_store::{Catalog, IndexDef, IndexState, ReadView, TableDef};
use std::sync::Arc;
use tokio::runtime::{Handle, RuntimeFlavor};

/// The most rows of VALUES that are made here; the planner streams longer lists.
const VALUES_ROWS_MAX: usize = 1_000;
/// Parameters and session values stand in compiled programs as columns with numbers that no binding reaches.
const INPUTS_FROM: u32 = u32::MAX - (1 << 18);

/// A source that needs no planner.
#[derive(Debug)]
pub(crate) struct Point {
    start: Start,
    steps: Vec<Step>,
}

/// Where the rows come from.
#[derive(Debug)]
enum Start {
    /// One row of a stored relation, by the values of its whole key or of a unique index's.
    Row { need: NeedId, columns: Vec<(ColumnId, Col)>, index: Option<Oid>, key: Vec<KeyPart> },
    /// Rows of expressions; `cells` row by row.
    Values { columns: Vec<Col>, rows: usize, cells: Program },
}

/// A key column's type and the value that it must have.
#[derive(Debug)]
struct KeyPart {
    ty: SqlType,
    value: Program,
}

/// What happens to the rows, in order.
#[derive(Debug)]
enum Step {
    Filter(Program),
    Extend(Vec<Col>, Program),
    Limit(Program),
}

/// The rows on their way: columns of one length.
struct Rows {
    columns: Vec<Col>,
    arrays: Vec<ArrayRef>,
    count: usize,
}

impl Point {
    /// The fast source of a statement, if it has one.
    pub fn of(bound: &Bound, catalog: &Catalog, published: &Catalog) -> Option<Point> {
        let is_current = match &bound.kind {
            BoundKind::Update(update) => update.current_of.is_some(),
            BoundKind::Delete(delete) => delete.current_of.is_some(),
            _ => false,
        };
        if !bound.steps.is_empty() || is_current {
            return None;
        }
        let source = match &bound.kind {
            BoundKind::Query(rel) => rel,
            BoundKind::Insert(insert) => &insert.source,
            BoundKind::Update(update) => &update.source,
            BoundKind::Delete(delete) => &delete.source,
        };
        let mut recognition = Recognition { bound, catalog, published, taken: Vec::new(), steps: Vec::new() };
        let (start, mut columns) = recognition.start(source)?;
        recognition.steps(source, 0, &mut columns)?;
        Some(Point { start, steps: recognition.steps })
    }

    /// Reads the source over the statement's snapshot.
    ///
    /// # Errors
    /// The store's and the expressions'.
    pub async fn run(
        &self,
        outputs: &[ColId],
        relations: &[Arc<Relation>],
        mut inputs: Inputs<'_>,
    ) -> Result<BatchStream> {
        let rows = match &self.start {
            Start::Values { columns, rows, cells } => made(columns, *rows, cells, &mut inputs)?,
            Start::Row { need, columns, index, key } => {
                let nothing = Rows::without_columns();
                let mut parts = Vec::with_capacity(key.len());
                for part in key {
                    let value = part.value.datums(&nothing, &mut inputs)?.pop().unwrap_or_default();
                    match fitted(value, part.ty) {
                        Some(value) => parts.push((part.ty, value)),
                        None => return Ok(futures::stream::empty().boxed()),
                    }
                }
                let view = inputs.given.view();
                let ids: Vec<ColumnId> = columns.iter().map(|(id, _)| *id).collect();
                let relation = &relations[need.0];
                let row = match index {
                    None => relation.row(&view, &parts, &ids).await?,
                    Some(index) => relation.row_by(&view, *index, &parts, &ids).await?,
                };
                let Some(batch) = row else {
                    return Ok(futures::stream::empty().boxed());
                };
                let columns = columns.iter().map(|(_, col)| *col).collect();
                Rows { columns, arrays: batch.columns().to_vec(), count: batch.num_rows() }
            }
        };
        let batch = self.finish(rows, outputs, &mut inputs)?;
        Ok(match batch {
            Some(batch) => futures::stream::iter([Ok(batch)]).boxed(),
            None => futures::stream::empty().boxed(),
        })
    }

    fn finish(&self, mut rows: Rows, outputs: &[ColId], inputs: &mut Inputs<'_>) -> Result<Option<RecordBatch>> {
        for step in &self.steps {
            if rows.count == 0 {
                return Ok(None);
            }
            match step {
                Step::Filter(program) => {
                    let verdict = program.arrays(&rows, inputs)?;
                    rows = rows.filtered(&verdict)?;
                }
                Step::Extend(columns, program) => {
                    let made = program.arrays(&rows, inputs)?;
                    rows.arrays.extend(made);
                    rows.columns.extend(columns.iter().copied());
                }
                Step::Limit(program) => {
                    let nothing = Rows::without_columns();
                    match program.datums(&nothing, inputs)?.first().and_then(Datum::as_i64) {
                        Some(count) if count < 0 => {
                            let state = SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE;
                            return Err(SqlError::new(state, "LIMIT must not be negative"));
                        }
                        Some(count) => rows = rows.cut(usize::try_from(count).unwrap_or(usize::MAX)),
                        None => {}
                    }
                }
            }
        }
        if rows.count == 0 {
            return Ok(None);
        }
        let arrays = outputs.iter().map(|id| rows.array(*id)).collect::<Result<Vec<_>>>()?;
        batch_of(arrays, rows.count).map(Some)
    }
}

/// The rows of VALUES: its cells are expressions without columns.
fn made(columns: &[Col], count: usize, cells: &Program, inputs: &mut Inputs<'_>) -> Result<Rows> {
    let nothing = Rows::without_columns();
    if count == 1 {
        return Ok(Rows { columns: columns.to_vec(), arrays: cells.arrays(&nothing, inputs)?, count });
    }
    let datums = cells.datums(&nothing, inputs)?;
    let arrays = columns.iter().enumerate().map(|(at, col)| {
        let column: Vec<Datum> = datums.iter().skip(at).step_by(columns.len()).cloned().collect();
        array_of(col.ty, &column)
    });
    Ok(Rows { columns: columns.to_vec(), arrays: arrays.collect::<Result<_>>()?, count })
}

/// A key's value in the key column's own type. `None`: NULL, or a number that the column cannot hold, so that no row
/// has it.
fn fitted(value: Datum, ty: SqlType) -> Option<Datum> {
    match (ty, value) {
        (_, Datum::Null) => None,
        (SqlType::Int2, value) => i16::try_from(value.as_i64()?).ok().map(Datum::Int2),
        (SqlType::Int4, value) => i32::try_from(value.as_i64()?).ok().map(Datum::Int4),
        (_, value) => Some(value),
    }
}

impl Rows {
    /// One row for expressions that read no columns.
    fn without_columns() -> Rows {
        Rows { columns: Vec::new(), arrays: Vec::new(), count: 1 }
    }

    fn place(&self, id: ColId) -> Option<usize> {
        self.columns.iter().position(|col| col.id == id)
    }

    fn array(&self, id: ColId) -> Result<ArrayRef> {
        let place = self.place(id).ok_or_else(|| SqlError::internal("a column is not in the row"))?;
        Ok(self.arrays[place].clone())
    }

    fn filtered(self, verdict: &[ArrayRef]) -> Result<Rows> {
        let verdict = verdict.first().and_then(|array| array.as_any().downcast_ref::<BooleanArray>());
        let verdict = verdict.ok_or_else(|| SqlError::internal("a condition is no boolean"))?;
        // NULL is not true.
        let kept = verdict.iter().filter(|value| *value == Some(true)).count();
        if kept == self.count {
            return Ok(self);
        }
        let arrays = self.arrays.iter().map(|array| arrow_select::filter::filter(array, verdict));
        let arrays = arrays.collect::<Result<_, _>>().map_err(SqlError::internal)?;
        Ok(Rows { columns: self.columns, arrays, count: kept })
    }

    fn cut(self, count: usize) -> Rows {
        let count = count.min(self.count);
        let arrays = self.arrays.iter().map(|array| array.slice(0, count)).collect();
        Rows { columns: self.columns, arrays, count }
    }
}

/// A condition on the way up from a scan: how deep its node is, its place there, and what it says.
type Condition<'r> = (usize, usize, &'r Scalar);

/// A look at a tree that may be a point.
struct Recognition<'a> {
    bound: &'a Bound,
    catalog: &'a Catalog,
    /// The same without what this transaction has changed.
    published: &'a Catalog,
    /// Conditions that the key has taken, by their nodes' depths and their places there.
    taken: Vec<(usize, usize)>,
    steps: Vec<Step>,
}

impl Recognition<'_> {
    /// Where the rows come from, and the columns they have there.
    fn start(&mut self, source: &Rel) -> Option<(Start, Vec<Col>)> {
        let mut conditions: Vec<Condition<'_>> = Vec::new();
        let (mut rel, mut depth) = (source, 0);
        loop {
            match rel {
                Rel::Filter { input, predicate } => {
                    conditions.extend(conjuncts(predicate).iter().enumerate().map(|(at, item)| (depth, at, item)));
                    rel = input;
                }
                Rel::Limit { input, offset: None, .. } => {
                    // What is tested above a LIMIT does not choose the rows below it.
                    conditions.clear();
                    rel = input;
                }
                Rel::Extend { input, .. } | Rel::Narrow { input, .. } | Rel::Sort { input, .. } => rel = input,
                Rel::Scan { need, columns } => return self.row(*need, columns, &conditions),
                Rel::OneRow => {
                    let cells = Program::new(Vec::new(), &[])?;
                    return Some((Start::Values { columns: Vec::new(), rows: 1, cells }, Vec::new()));
                }
                Rel::Values { columns, rows } if rows.len() <= VALUES_ROWS_MAX => {
                    let cells = Program::new(rows.concat(), &[])?;
                    let start = Start::Values { columns: columns.clone(), rows: rows.len(), cells };
                    return Some((start, columns.clone()));
                }
                _ => return None,
            }
            depth += 1;
        }
    }

    fn row(
        &mut self,
        need: NeedId,
        columns: &[(ColumnId, Col)],
        conditions: &[Condition<'_>],
    ) -> Option<(Start, Vec<Col>)> {
        let needed = self.bound.needs.get(need.0)?;
        if needed.with_deleted || system::is_computed(self.catalog, needed.table) {
            return None;
        }
        let table = self.catalog.table(needed.table)?;
        let primary = table.primary_key.iter().map(|key| (None, key.columns.clone()));
        // One that this very transaction has made is the planner's: it knows from when on it can be read.
        let published = self.published.table(needed.table);
        let ready = |index: &&IndexDef| {
            index.unique
                && index.predicate.is_none()
                && index.state == IndexState::Ready
                && published.is_some_and(|table| table.index(index.id).is_some())
        };
        let unique = table.indexes.iter().filter(ready);
        let unique = unique.filter_map(|index| Some((Some(index.id), index.columns()?)));
        let (index, (taken, key)) = primary.chain(unique).find_map(|(index, key_columns)| {
            Some((index, self.whole_key(table, &key_columns, columns, conditions)?))
        })?;
        self.taken.extend(taken);
        let made = columns.iter().map(|(_, col)| *col).collect();
        Some((Start::Row { need, columns: columns.to_vec(), index, key }, made))
    }

    /// The values that conditions ask of all columns of a key, and which conditions do.
    fn whole_key(
        &self,
        table: &TableDef,
        key_columns: &[ColumnId],
        columns: &[(ColumnId, Col)],
        conditions: &[Condition<'_>],
    ) -> Option<(Vec<(usize, usize)>, Vec<KeyPart>)> {
        let (mut taken, mut key) = (Vec::new(), Vec::new());
        for id in key_columns {
            let ty = table.column(*id)?.ty.ty;
            kalamdb_store::codec::key::check_type(ty).ok()?;
            let (_, col) = columns.iter().find(|(column, _)| column == id)?;
            let found =
                conditions.iter().find_map(|(depth, at, test)| Some((*depth, *at, key_value(test, col.id, ty)?)));
            let (depth, at, value) = found?;
            taken.push((depth, at));
            key.push(KeyPart { ty, value: Program::new(vec![value.clone()], &[])? });
        }
        Some((taken, key))
    }

    /// What happens to the rows above their start. `columns` grows with what is made on the way.
    fn steps(&mut self, rel: &Rel, depth: usize, columns: &mut Vec<Col>) -> Option<()> {
        match rel {
            Rel::Scan { .. } | Rel::OneRow | Rel::Values { .. } => {}
            Rel::Narrow { input, .. } => self.steps(input, depth + 1, columns)?,
            Rel::Sort { input, keys } => {
                self.steps(input, depth + 1, columns)?;
                // One row is in order; several (of VALUES) are the planner's.
                let plain = keys.iter().all(|key| matches!(key.expr, Scalar::Column(_)));
                let one = !matches!(bottom(input), Rel::Values { rows, .. } if rows.len() > 1);
                (plain && one).then_some(())?;
            }
            Rel::Filter { input, predicate } => {
                self.steps(input, depth + 1, columns)?;
                let items = conjuncts(predicate).iter().enumerate();
                let rest: Vec<Scalar> =
                    items.filter(|(at, _)| !self.taken.contains(&(depth, *at))).map(|(_, item)| item.clone()).collect();
                if !rest.is_empty() {
                    self.steps.push(Step::Filter(Program::new(vec![Scalar::And(rest)], columns)?));
                }
            }
            Rel::Extend { input, columns: made } => {
                self.steps(input, depth + 1, columns)?;
                let program = Program::new(made.iter().map(|(_, scalar)| scalar.clone()).collect(), columns)?;
                let made: Vec<Col> = made.iter().map(|(col, _)| *col).collect();
                columns.extend(made.iter().copied());
                self.steps.push(Step::Extend(made, program));
            }
            Rel::Limit { input, offset: None, count } => {
                self.steps(input, depth + 1, columns)?;
                if let Some(count) = count {
                    self.steps.push(Step::Limit(Program::new(vec![count.clone()], &[])?));
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn bottom(rel: &Rel) -> &Rel {
    match rel {
        Rel::Filter { input, .. }
        | Rel::Limit { input, .. }
        | Rel::Extend { input, .. }
        | Rel::Narrow { input, .. }
        | Rel::Sort { input, .. } => bottom(input),
        other => other,
    }
}

fn conjuncts(predicate: &Scalar) -> &[Scalar] {
    match predicate {
        Scalar::And(items) => items,
        one => std::slice::from_ref(one),
    }
}

/// The value that a condition `column = value` asks of a key column.
fn key_value(test: &Scalar, key: ColId, ty: SqlType) -> Option<&Scalar> {
    let Scalar::Compare(CompareOp::Eq, left, right) = test else { return None };
    let value = match (is_key(left, key, ty), is_key(right, key, ty)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    };
    let known = walk::columns_used(value).is_empty() && !walk::has_subquery(value) && !walk::is_volatile(value);
    known.then_some(value.as_ref())
}

/// Whether an expression is a key column, as it is or widened to another integer type: then a wider value that the
/// column cannot hold is nobody's key, and any other is the column's own.
fn is_key(scalar: &Scalar, key: ColId, ty: SqlType) -> bool {
    match scalar {
        Scalar::Column(col) => col.id == key,
        Scalar::Relabel(inner, to) => inner.ty().ty.arrow() == to.ty.arrow() && is_key(inner, key, ty),
        Scalar::Call { args, ty: to, function } => {
            let [arg] = args.as_slice() else { return false };
            let widens =
                matches!((ty, to.ty), (SqlType::Int2, SqlType::Int4 | SqlType::Int8) | (SqlType::Int4, SqlType::Int8));
            let is_cast = matches!(function.name, "int4" | "int8");
            widens && is_cast && arg.ty().ty == ty && is_key(arg, key, ty)
        }
        _ => false,
    }
}

/// Expressions over some columns. What neither settings nor the session can change is compiled once.
#[derive(Debug)]
struct Program {
    columns: Vec<Col>,
    cells: Vec<(Cell, PgType)>,
    /// Those that have to be evaluated.
    computed: Vec<Scalar>,
    compiled: Option<Compiled>,
    /// Whether nothing in them can take long.
    is_quick: bool,
}

/// How one expression gets its value.
#[derive(Debug)]
enum Cell {
    /// A column's.
    Column(usize),
    /// Always the same.
    Const(Datum),
    /// A parameter's, by its number from 0.
    Param(usize),
    /// That of `computed`, at this place.
    Computed(usize),
}

#[derive(Debug)]
struct Compiled {
    program: RowProgram,
    inputs: Vec<(Input, PgType)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Input {
    Param(usize),
    Session(SessionValue),
    /// A number of a sequence, another for each row.
    Next(Oid),
}

/// What an execution brings.
pub(crate) trait Given: Send {
    /// The statement's snapshot.
    fn view(&mut self) -> ReadView;
    /// A value of the session or the moment.
    fn session(&mut self, value: SessionValue) -> Datum;
    /// `nextval`
    ///
    /// # Errors
    /// 42501, 2200H, 25006
    fn next_value(&mut self, sequence: Oid) -> Result<i64>;
    /// Everything that expressions may be compiled with.
    fn values(&mut self) -> Values;
}

/// What a source is read with.
pub(crate) struct Inputs<'a> {
    given: &'a mut dyn Given,
    parameters: &'a [Datum],
}

impl<'a> Inputs<'a> {
    /// The values of one execution.
    pub fn new(given: &'a mut dyn Given, parameters: &'a [Datum]) -> Self {
        Self { given, parameters }
    }

    fn param(&self, at: usize) -> Result<Datum> {
        let missing = || SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${}", at + 1));
        self.parameters.get(at).cloned().ok_or_else(missing)
    }

    fn array(&mut self, input: Input, ty: PgType, count: usize) -> Result<ArrayRef> {
        match input {
            Input::Param(at) => repeated(&self.param(at)?, ty, count),
            Input::Session(value) => repeated(&self.given.session(value), ty, count),
            Input::Next(sequence) => {
                let numbers = (0..count).map(|_| self.given.next_value(sequence).map(Datum::Int8));
                array_of(ty, &numbers.collect::<Result<Vec<_>>>()?)
            }
        }
    }
}

impl Program {
    /// Expressions over rows of these columns; `None` for subqueries, which only a plan can run.
    fn new(scalars: Vec<Scalar>, columns: &[Col]) -> Option<Program> {
        if scalars.iter().any(walk::has_subquery) {
            return None;
        }
        let (mut cells, mut computed) = (Vec::with_capacity(scalars.len()), Vec::new());
        for scalar in scalars {
            let ty = scalar.ty();
            let cell = match scalar {
                Scalar::Column(col) => Cell::Column(columns.iter().position(|column| column.id == col.id)?),
                Scalar::Const(datum, _) => Cell::Const(datum),
                Scalar::Param(number, _) => Cell::Param(number.checked_sub(1)?),
                other => {
                    computed.push(other);
                    Cell::Computed(computed.len() - 1)
                }
            };
            cells.push((cell, ty));
        }
        let compiled = if computed.is_empty() { None } else { compile(&computed, columns) };
        let is_quick = computed.iter().all(is_quick);
        Some(Program { columns: columns.to_vec(), cells, computed, compiled, is_quick })
    }

    /// The expressions' values for each row.
    fn arrays(&self, rows: &Rows, inputs: &mut Inputs<'_>) -> Result<Vec<ArrayRef>> {
        let computed = self.evaluated(rows, inputs)?;
        self.cells
            .iter()
            .map(|(cell, ty)| match cell {
                Cell::Column(place) => {
                    let missing = || SqlError::internal("a column is not in the row");
                    rows.arrays.get(*place).cloned().ok_or_else(missing)
                }
                Cell::Const(datum) => repeated(datum, *ty, rows.count),
                Cell::Param(at) => repeated(&inputs.param(*at)?, *ty, rows.count),
                Cell::Computed(place) => Ok(computed[*place].clone()),
            })
            .collect()
    }

    /// The expressions' values for one row.
    fn datums(&self, row: &Rows, inputs: &mut Inputs<'_>) -> Result<Vec<Datum>> {
        let computed = self.evaluated(row, inputs)?;
        self.cells
            .iter()
            .map(|(cell, ty)| match cell {
                Cell::Column(place) => Ok(datum_at(row.arrays[*place].as_ref(), 0, *ty)),
                Cell::Const(datum) => Ok(datum.clone()),
                Cell::Param(at) => inputs.param(*at),
                Cell::Computed(place) => Ok(datum_at(computed[*place].as_ref(), 0, *ty)),
            })
            .collect()
    }

    fn evaluated(&self, rows: &Rows, inputs: &mut Inputs<'_>) -> Result<Vec<ArrayRef>> {
        if !self.is_quick && Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread) {
            // Other sessions' work leaves this thread first: a call may take as long as it likes.
            return tokio::task::block_in_place(|| self.evaluated_here(rows, inputs));
        }
        self.evaluated_here(rows, inputs)
    }

    fn evaluated_here(&self, rows: &Rows, inputs: &mut Inputs<'_>) -> Result<Vec<ArrayRef>> {
        if let Some(compiled) = &self.compiled {
            let mut arrays = rows.arrays[..self.columns.len()].to_vec();
            for (input, ty) in &compiled.inputs {
                arrays.push(inputs.array(*input, *ty, rows.count)?);
            }
            return compiled.program.evaluate(&compiled.program.rows(arrays, rows.count)?);
        }
        if self.computed.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = inputs.given.values();
        let program = RowProgram::compile(&self.computed, &self.columns, &mut values)?;
        program.evaluate(&program.rows(rows.arrays[..self.columns.len()].to_vec(), rows.count)?)
    }
}

/// Whether an expression takes a few instructions only: its calls take and give values of a fixed size.
fn is_quick(scalar: &Scalar) -> bool {
    let mut quick = true;
    let fixed = |ty: PgType| ty.ty.facts().len > 0;
    walk::deep(scalar, &mut |inner| {
        quick &= match inner {
            Scalar::Call { args, ty, .. } => fixed(*ty) && args.iter().all(|arg| fixed(arg.ty())),
            Scalar::ThroughText(..) | Scalar::Each(_) => false,
            _ => true,
        };
    });
    quick
}

fn repeated(datum: &Datum, ty: PgType, count: usize) -> Result<ArrayRef> {
    match count {
        1 => array_of(ty, std::slice::from_ref(datum)),
        _ => array_of(ty, &vec![datum.clone(); count]),
    }
}

/// Compiles expressions, with parameters and session values as columns behind the others;
/// `None` when an expression depends on settings, or does not compile without its values.
fn compile(scalars: &[Scalar], columns: &[Col]) -> Option<Compiled> {
    let lasting = |scalar: &Scalar| {
        let mut lasts = true;
        walk::deep(scalar, &mut |inner| {
            lasts &= match inner {
                Scalar::Call { .. } if next_of(inner).is_some() => true,
                // age(timestamptz, timestamptz) is immutable in pg_proc and reads the time zone all the same.
                Scalar::Call { function, args, .. } => {
                    function.volatility == Volatility::Immutable
                        && args.iter().all(|arg| arg.ty().ty != SqlType::Timestamptz)
                }
                Scalar::ThroughText(..) | Scalar::Each(_) => false,
                _ => true,
            };
        });
        lasts
    };
    let mut inputs: Vec<(Input, PgType)> = Vec::new();
    let mut exprs: Vec<Scalar> = Vec::new();
    for scalar in scalars {
        if !lasting(scalar) || !takes_numbers_always(scalar) {
            return None;
        }
        let mut scalar = scalar.clone();
        walk::rewrite(&mut scalar, &mut |inner| {
            let input = match inner {
                Scalar::Param(number, ty) => (Input::Param(number.checked_sub(1)?), *ty),
                Scalar::Session(value, ty) => (Input::Session(*value), *ty),
                other => (Input::Next(next_of(other)?), other.ty()),
            };
            // Each call of nextval gives a number of its own.
            let known = |known: &(Input, PgType)| *known == input && !matches!(known.0, Input::Next(_));
            let at = inputs.iter().position(known).unwrap_or_else(|| {
                inputs.push(input);
                inputs.len() - 1
            });
            Some(Scalar::Column(Col { id: input_id(at), ty: input.1, nullable: true }))
        });
        exprs.push(scalar);
    }
    let mut all = columns.to_vec();
    all.extend(inputs.iter().enumerate().map(|(at, (_, ty))| Col { id: input_id(at), ty: *ty, nullable: true }));
    let program = RowProgram::compile(&exprs, &all, &mut Sessionless).ok()?;
    Some(Compiled { program, inputs })
}

/// The sequence of a call of `nextval` that says which.
fn next_of(scalar: &Scalar) -> Option<Oid> {
    match scalar {
        Scalar::Call { function, args, .. } if function.oid == NEXTVAL => match args.as_slice() {
            [Scalar::Const(Datum::Oid(oid), _)] => Some(*oid),
            _ => None,
        },
        _ => None,
    }
}

/// Whether every call of `nextval` in an expression is made each time: none stands in a branch.
fn takes_numbers_always(scalar: &Scalar) -> bool {
    let mut calls = 0;
    walk::deep(scalar, &mut |inner| calls += usize::from(next_of(inner).is_some()));
    fn straight(scalar: &Scalar) -> usize {
        match scalar {
            _ if next_of(scalar).is_some() => 1,
            Scalar::Call { args, .. } => args.iter().map(straight).sum(),
            Scalar::Relabel(inner, _) => straight(inner),
            _ => 0,
        }
    }
    calls == straight(scalar)
}

fn input_id(at: usize) -> ColId {
    ColId(INPUTS_FROM + at as u32)
}
