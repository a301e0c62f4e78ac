//! COPY: rows in and out as text or csv.

use super::carry_out;
use super::channel::followed;
use super::insert::{Arbiter, is_true, write_batch};
use super::query;
use super::write::{program, take, values_of};
use super::{Guard, Outcome, batch_of, prepared};
use crate::relation::Relation;
use crate::reply::{CopyChunk, CopyOut};
use crate::resolve::{self, Resolved};
use crate::standing::Standing;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, PgType, Result, SqlError, SqlState, SqlType};
use kalamdb_sql::Statement;
use kalamdb_sql::bind;
use kalamdb_sql::bind::bound::{Bound, BoundKind};
use kalamdb_sql::parse::{self, Parsed};
use kalamdb_sql::predicate::RowProgram;
use kalamdb_sql::statement::{Copy, CopyDirection, CopyFormat, CopyOptions, CopySubject, Name};
use kalamdb_sql::types::copy::{CopyReader, CopyRow, CopyWriter};
use kalamdb_sql::types::copy_binary::{BinaryReader, BinaryWriter};
use kalamdb_sql::types::{self, Format, Style};
use kalamdb_store::catalog::Named;
use std::sync::Arc;

/// The rows gathered before they are written together.
const BATCH_ROWS: usize = 1024;
/// A row may be wide: the bytes after which a batch is written however few its rows.
const BATCH_BYTES: usize = 1 << 20;

/// COPY
///
/// # Errors
/// 42501, 42P01, 42703, 0A000 for the binary format.
pub(super) async fn run(standing: &mut Standing, copy: &Copy, text: &str, guard: &Guard) -> Result<Outcome> {
    match (&copy.subject, copy.direction) {
        (CopySubject::Table { name, columns }, CopyDirection::In) => {
            let reader = CopyIn::begin(standing, name, columns, copy, text).await?;
            Ok(Outcome::CopyIn(Box::new(reader)))
        }
        (_, CopyDirection::In) => Err(SqlError::new(SqlState::SYNTAX_ERROR, "COPY FROM takes a table")),
        (CopySubject::Table { name, columns }, CopyDirection::Out) => {
            if let Some(Named::View(_)) = super::index::find(standing, name) {
                let message = format!("cannot copy from view \"{}\"", name.name);
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
                    .with_hint("Try the COPY (SELECT ...) TO variant."));
            }
            let sql = select(name, columns);
            let parsed = parse::parse(&sql)?.pop().ok_or_else(|| SqlError::internal("no SELECT for COPY"))?;
            out(standing, parsed, &copy.options, guard).await
        }
        (CopySubject::Query(query, text), CopyDirection::Out) => {
            let parsed = Parsed { statement: Statement::Query(query.clone()), text: text.clone(), offset: 0 };
            out(standing, parsed, &copy.options, guard).await
        }
        (CopySubject::Change(change, text), CopyDirection::Out) => {
            let parsed = Parsed { statement: change.as_ref().clone(), text: text.clone(), offset: 0 };
            out(standing, parsed, &copy.options, guard).await
        }
        (CopySubject::Live(query, text), CopyDirection::Out) => {
            if copy.options.format == CopyFormat::Binary {
                return Err(SqlError::unsupported("COPY of a live query in binary format"));
            }
            let parsed = Parsed { statement: Statement::Query(query.clone()), text: text.clone(), offset: 0 };
            live(standing, parsed, &copy.options, guard).await
        }
    }
}

/// `COPY t (a, b) TO` is `SELECT a, b FROM t`.
fn select(name: &Name, columns: &[String]) -> String {
    let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let list = match columns.is_empty() {
        true => "*".to_string(),
        false => columns.iter().map(quote).collect::<Vec<_>>().join(", "),
    };
    let namespace = name.namespace.as_ref().map(|namespace| format!("{}.", quote(namespace))).unwrap_or_default();
    format!("SELECT {list} FROM {namespace}{}", quote(&name.name))
}

async fn out(standing: &mut Standing, parsed: Parsed, options: &CopyOptions, guard: &Guard) -> Result<Outcome> {
    let prepared = Arc::new(prepared::prepare(standing, parsed, Vec::new(), false)?);
    let (prepared, relations) = query::relations(standing, &prepared).await?;
    let bound = prepared.bound.clone().ok_or_else(|| SqlError::internal("COPY without a bound tree"))?;
    no_parameters(&bound)?;
    if prepared.columns.is_none() {
        let message = "COPY query must have a RETURNING clause";
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let Outcome::Rows(mut rows) = carry_out::run(standing, &prepared, &relations, Arc::default(), guard).await? else {
        return Err(SqlError::internal("COPY of a statement without rows"));
    };
    let names: Vec<String> = bound.outputs.iter().map(|output| output.name.clone()).collect();
    let kinds: Vec<PgType> = bound.outputs.iter().map(|output| output.ty).collect();
    let style = standing.derived().style.clone();
    let columns = names.len();
    let batches = std::mem::replace(&mut rows.batches, futures::stream::empty().boxed());
    if options.format == CopyFormat::Binary {
        let catalog: Arc<dyn kalamdb_sql::function::CatalogNames> = Arc::new(standing.names());
        let encoder = |ty: &PgType| types::encoder(*ty, Format::Binary, &style, catalog.clone());
        let writer = BinaryWriter::new(kinds.iter().map(encoder).collect::<Result<_>>()?);
        let chunks = binary_chunks(writer, batches);
        return Ok(Outcome::CopyOut(CopyOut { binary: true, columns, chunks, rows: 0 }));
    }
    let mut writer = writer(options, names, &kinds, &style, Arc::new(standing.names()))?;
    let mut head = BytesMut::new();
    writer.header(&mut head);
    let first = (!head.is_empty()).then(|| Ok(CopyChunk { bytes: head.freeze(), rows: 0, flush: false }));
    let body = batches.map(move |batch| {
        let batch = batch?;
        let mut bytes = BytesMut::new();
        lines(&mut writer, batch.columns(), batch.num_rows(), &mut bytes);
        Ok(CopyChunk { bytes: bytes.freeze(), rows: batch.num_rows() as u64, flush: false })
    });
    let chunks = futures::stream::iter(first).chain(body).boxed();
    Ok(Outcome::CopyOut(CopyOut { binary: false, columns, chunks, rows: 0 }))
}

/// Tuples in binary form: the header stands before the first, the trailer after the last.
fn binary_chunks(
    writer: BinaryWriter,
    batches: futures::stream::BoxStream<'static, Result<RecordBatch>>,
) -> futures::stream::BoxStream<'static, Result<CopyChunk>> {
    enum Part {
        Rows(RecordBatch),
        End,
    }
    let parts = batches.map(|batch| batch.map(Part::Rows)).chain(futures::stream::iter([Ok(Part::End)]));
    let mut begun = false;
    let chunks = parts.map(move |part| {
        let mut bytes = BytesMut::new();
        if !std::mem::replace(&mut begun, true) {
            writer.header(&mut bytes);
        }
        let rows = match part? {
            Part::Rows(batch) => {
                (0..batch.num_rows()).for_each(|row| writer.row(batch.columns(), row, &mut bytes));
                batch.num_rows()
            }
            Part::End => {
                writer.trailer(&mut bytes);
                0
            }
        };
        Ok(CopyChunk { bytes: bytes.freeze(), rows: rows as u64, flush: false })
    });
    chunks.boxed()
}

/// A writer of rows in text form.
fn writer(
    options: &CopyOptions,
    names: Vec<String>,
    kinds: &[PgType],
    style: &Style,
    catalog: Arc<dyn kalamdb_sql::function::CatalogNames>,
) -> Result<CopyWriter> {
    let encoder = |ty: &PgType| types::encoder(*ty, Format::Text, style, catalog.clone());
    CopyWriter::new(options, names, kinds.iter().map(encoder).collect::<Result<_>>()?)
}

fn lines(writer: &mut CopyWriter, columns: &[ArrayRef], rows: usize, out: &mut BytesMut) {
    (0..rows).for_each(|row| writer.row(columns, row, out));
}

fn no_parameters(bound: &Bound) -> Result<()> {
    match bound.parameters.is_empty() {
        true => Ok(()),
        false => Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1")),
    }
}

/// COPY (LIVE SELECT …): the initial rows, then changes as they commit, until the client goes.
async fn live(standing: &mut Standing, parsed: Parsed, options: &CopyOptions, guard: &Guard) -> Result<Outcome> {
    if standing.in_block() {
        return Err(SqlError::new(
            SqlState::ACTIVE_SQL_TRANSACTION,
            "COPY (LIVE SELECT ...) cannot run inside a transaction block",
        ));
    }
    let text = parsed.text.clone();
    let prepared = Arc::new(prepared::prepare(standing, parsed, Vec::new(), false)?);
    let (prepared, relations) = query::relations(standing, &prepared).await?;
    let bound = prepared.bound.clone().ok_or_else(|| SqlError::internal("COPY without a bound tree"))?;
    no_parameters(&bound)?;
    let followed = followed(&bound, &relations)?;
    let with = values_of(standing, &bound, &[]);
    let follow = followed.follow(&standing.identity, "", &text, with)?;
    let (view, changes) = standing.outbox.stream(follow).await?;
    super::channel::same_user(standing)?;
    let mut execution = query::execution(standing, &bound, &relations, Arc::default(), guard)?;
    execution.leaves = super::query::sources(standing, &relations, &view)?;
    let BoundKind::Query(rel) = &bound.kind else { return Err(SqlError::internal("not a query")) };
    let outputs: Vec<_> = bound.outputs.iter().map(|output| output.col).collect();
    let initial = crate::plan::run(rel, &outputs, execution).await?;
    // The stream lives as long as its client: it must not hold the transaction's locks or snapshot.
    super::settle(standing).await?;

    let mut names = vec!["_seq".to_string(), "_op".to_string()];
    let mut kinds = vec![PgType::new(SqlType::Int8), PgType::new(SqlType::Text)];
    names.extend(bound.outputs.iter().map(|output| output.name.clone()));
    kinds.extend(bound.outputs.iter().map(|output| output.ty));
    let style = standing.derived().style.clone();
    let columns = names.len();
    let catalog: Arc<dyn kalamdb_sql::function::CatalogNames> = Arc::new(standing.names());
    let mut head_writer = writer(options, names.clone(), &kinds, &style, catalog.clone())?;
    let mut row_writer = writer(options, names.clone(), &kinds, &style, catalog.clone())?;
    let change_writer = writer(options, names, &kinds, &style, catalog)?;
    let mut head = BytesMut::new();
    head_writer.header(&mut head);
    let first = (!head.is_empty()).then(|| Ok(CopyChunk { bytes: head.freeze(), rows: 0, flush: false }));
    let seq = view.seq().0 as i64;
    let rows = initial.map(move |batch| {
        let batch = batch?;
        live_chunk(&mut row_writer, seq, "row", batch.columns(), batch.num_rows(), false)
    });
    let empty: Vec<ArrayRef> = kinds[2..].iter().map(|ty| arrow_array::new_null_array(&ty.ty.arrow(), 1)).collect();
    let mut ready_writer = head_writer;
    let ready_columns = empty.clone();
    let ready =
        futures::stream::once(async move { live_chunk(&mut ready_writer, seq, "ready", &ready_columns, 1, true) });
    let later = futures::stream::unfold(Some((changes, change_writer, empty)), |state| async move {
        let (mut changes, mut writer, empty) = state?;
        let change = changes.next().await;
        let columns = change.columns.as_ref().unwrap_or(&empty);
        let chunk = live_chunk(&mut writer, change.seq.0 as i64, change.op, columns, 1, change.commit_ends);
        let goes_on = !change.is_last && chunk.is_ok();
        Some((chunk, goes_on.then_some((changes, writer, empty))))
    });
    let chunks = futures::stream::iter(first).chain(rows).chain(ready).chain(later).boxed();
    let chunks = guard.clone().watch_stream(chunks);
    Ok(Outcome::CopyOut(CopyOut { binary: false, columns, chunks, rows: 0 }))
}

/// One op's rows as COPY lines.
fn live_chunk(
    writer: &mut CopyWriter,
    seq: i64,
    op: &str,
    columns: &[ArrayRef],
    rows: usize,
    flush: bool,
) -> Result<CopyChunk> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len() + 2);
    arrays.push(Arc::new(arrow_array::Int64Array::from(vec![seq; rows])));
    arrays.push(Arc::new(arrow_array::StringArray::from(vec![op; rows])));
    arrays.extend(columns.iter().cloned());
    let mut bytes = BytesMut::new();
    lines(writer, &arrays, rows, &mut bytes);
    Ok(CopyChunk { bytes: bytes.freeze(), rows: rows as u64, flush })
}

/// The data's form.
enum Reader {
    Text(CopyReader),
    Binary(BinaryReader),
}

/// COPY … FROM … WHERE.
struct Condition {
    program: RowProgram,
    /// The columns that it reads, in its order.
    columns: Vec<ColumnId>,
}

/// What is said of a field that its type cannot read: it is no parameter of Bind.
fn of_field(error: SqlError) -> SqlError {
    match error.state() {
        SqlState::INVALID_BINARY_REPRESENTATION => SqlError::new(error.state(), "incorrect binary data format"),
        _ => error,
    }
}

/// COPY … FROM STDIN while its data comes.
pub(crate) struct CopyIn {
    relation: Arc<Relation>,
    reader: Reader,
    condition: Option<Condition>,
    columns: Vec<(ColumnId, PgType)>,
    defaults: Option<RowProgram>,
    default_ids: Vec<ColumnId>,
    /// What domains ask of the columns at these places.
    judged: Vec<(usize, RowProgram)>,
    rows: Vec<Vec<Datum>>,
    bytes: usize,
    count: u64,
    style: Style,
    table_name: String,
}

impl CopyIn {
    async fn begin(standing: &mut Standing, name: &Name, columns: &[String], copy: &Copy, text: &str) -> Result<Self> {
        let options = &copy.options;
        standing.writable("COPY FROM")?;
        standing.begin_statement()?;
        standing.referential.begin_statement();
        let wait = query::lock_wait(standing);
        if let Some(Named::View(_)) = super::index::find(standing, name) {
            let message = format!("cannot copy to view \"{}\"", name.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
                .with_hint("To enable copying to a view, provide an INSTEAD OF INSERT trigger."));
        }
        let found = super::table::find(standing, name)?;
        standing.transaction().table_lock(found.id, kalamdb_store::TableLockMode::RowExclusive, wait).await?;
        standing.begin_statement()?;
        let condition = copy.condition.as_deref();
        let target = bind::bind_copy(name, columns, condition, text, &prepared::BindingNames::new(standing))?;
        let relation = match resolve::relation(&standing.catalog(), &standing.identity, &target.need)? {
            Resolved::Relation(relation) => Arc::new(relation),
            Resolved::Stale => return Err(crate::error::no_relation(&name.name)),
        };
        let table = relation.table()?.clone();
        let empty = Bound {
            kind: BoundKind::Query(kalamdb_sql::bind::bound::Rel::OneRow),
            parameters: Vec::new(),
            outputs: Vec::new(),
            needs: Vec::new(),
            steps: Vec::new(),
        };
        let values = values_of(standing, &empty, &[]);
        let scalars: Vec<_> = target.defaults.iter().map(|(_, scalar)| scalar.clone()).collect();
        let defaults = match scalars.is_empty() {
            true => None,
            false => Some(program(&scalars, &[], &values)?),
        };
        let condition = match &target.condition {
            None => None,
            Some((row, condition)) => {
                let cols: Vec<_> = row.iter().map(|(_, col)| *col).collect();
                let program = program(std::slice::from_ref(condition), &cols, &values)?;
                Some(Condition { program, columns: row.iter().map(|(id, _)| *id).collect() })
            }
        };
        let default_ids = target.defaults.iter().map(|(id, _)| *id).collect();
        let mut judged = Vec::with_capacity(target.judged.len());
        for (id, col, scalar) in &target.judged {
            let at = target.columns.iter().position(|(column, _)| column == id).unwrap_or_default();
            judged.push((at, program(std::slice::from_ref(scalar), std::slice::from_ref(col), &values)?));
        }
        let chosen = target.columns;
        let column_names: Vec<String> =
            chosen.iter().filter_map(|(id, _)| table.column(*id).map(|column| column.name.to_string())).collect();
        Ok(Self {
            relation,
            reader: match options.format {
                CopyFormat::Binary => Reader::Binary(BinaryReader::new(column_names)),
                CopyFormat::Text | CopyFormat::Csv => Reader::Text(CopyReader::new(options, column_names)?),
            },
            condition,
            columns: chosen,
            defaults,
            default_ids,
            judged,
            rows: Vec::new(),
            bytes: 0,
            count: 0,
            style: standing.derived().style.clone(),
            table_name: table.name.to_string(),
        })
    }

    /// Whether the data come in binary form.
    pub fn is_binary(&self) -> bool {
        matches!(self.reader, Reader::Binary(_))
    }

    /// How many columns come.
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// Some of the data.
    ///
    /// # Errors
    /// 22P04, 22P02 and the write's, with the line in the context.
    pub async fn data(&mut self, standing: &mut Standing, chunk: &Bytes) -> Result<()> {
        match &mut self.reader {
            Reader::Text(reader) => reader.feed(chunk),
            Reader::Binary(reader) => reader.feed(chunk),
        }
        self.read(standing).await
    }

    async fn read(&mut self, standing: &mut Standing) -> Result<()> {
        let names = standing.names();
        let mut line = CopyRow::default();
        while let Some(row) = self.next_row(&mut line, &names)? {
            self.rows.push(row);
            if self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.write(standing).await?;
            }
        }
        Ok(())
    }

    fn next_row(
        &mut self,
        line: &mut CopyRow,
        names: &dyn kalamdb_sql::function::CatalogNames,
    ) -> Result<Option<Vec<Datum>>> {
        let mut row = Vec::with_capacity(self.columns.len());
        match &mut self.reader {
            Reader::Text(reader) => {
                let more = reader.next_row(line);
                if !more.map_err(|error| self.at_line(error, None))? {
                    return Ok(None);
                }
                for (at, (_, ty)) in self.columns.iter().enumerate().take(line.len()) {
                    row.push(match line.field(at) {
                        None => Datum::Null,
                        Some(text) => {
                            self.bytes += text.len();
                            types::from_text(text, *ty, &self.style, names)
                                .map_err(|error| self.at_line(error, Some((at, Some(text)))))?
                        }
                    });
                }
                if let Reader::Text(reader) = &self.reader {
                    reader.check_complete(line).map_err(|error| self.at_line(error, None))?;
                }
            }
            Reader::Binary(reader) => {
                let fields = reader.next_row();
                let Some(fields) = fields.map_err(|error| self.at_line(error, None))? else { return Ok(None) };
                for (at, ((_, ty), field)) in self.columns.iter().zip(fields).enumerate() {
                    row.push(match field {
                        None => Datum::Null,
                        Some(bytes) => {
                            self.bytes += bytes.len();
                            types::from_binary(&bytes, *ty)
                                .map_err(|error| self.at_line(of_field(error), Some((at, None))))?
                        }
                    });
                }
            }
        }
        Ok(Some(row))
    }

    fn at_line(&self, error: SqlError, field: Option<(usize, Option<&str>)>) -> SqlError {
        let context = match &self.reader {
            Reader::Text(reader) => Some(reader.context(&self.table_name, field)),
            Reader::Binary(reader) => reader.context(&self.table_name, field.map(|(at, _)| at)),
        };
        match context {
            Some(context) => error.with_context(context),
            None => error,
        }
    }

    async fn write(&mut self, standing: &mut Standing) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut ids = Vec::new();
        for (at, (id, ty)) in self.columns.iter().enumerate() {
            let values: Vec<Datum> = rows.iter().map(|row| row[at].clone()).collect();
            arrays.push(types::array_of(*ty, &values)?);
            ids.push(*id);
        }
        for (at, program) in &self.judged {
            let given = program.rows(vec![arrays[*at].clone()], rows.len())?;
            let mut values = program.evaluate(&given).map_err(|error| self.at_line(error, None))?;
            arrays[*at] = values.pop().unwrap_or_else(|| arrays[*at].clone());
        }
        if let Some(defaults) = &self.defaults {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
                .map_err(SqlError::internal)?;
            arrays.extend(defaults.evaluate(&none)?);
            ids.extend(&self.default_ids);
        }
        let mut batch = batch_of(arrays, rows.len())?;
        if let Some(condition) = &self.condition {
            let read = condition.columns.iter().filter_map(|id| ids.iter().position(|given| given == id));
            let read = read.map(|at| batch.column(at).clone()).collect();
            let verdict = condition.program.evaluate(&batch_of(read, rows.len())?)?;
            let kept: Vec<usize> = (0..rows.len()).filter(|at| is_true(&verdict, *at)).collect();
            batch = take(&batch, &kept)?;
        }
        let relation = self.relation.clone();
        let written = write_batch(standing, &relation, &batch, &ids, &mut Arbiter::Error).await;
        self.count += written.map_err(|error| self.at_line(error, None))?.len() as u64;
        Ok(())
    }

    /// The data has ended.
    ///
    /// # Errors
    /// As [`CopyIn::data`].
    pub async fn done(mut self, standing: &mut Standing) -> Result<String> {
        match &mut self.reader {
            Reader::Text(reader) => reader.end(),
            Reader::Binary(reader) => reader.end(),
        }
        self.read(standing).await?;
        self.write(standing).await?;
        super::actions::settle(standing).await?;
        Ok(format!("COPY {}", self.count))
    }
}
