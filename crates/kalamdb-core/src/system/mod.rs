//! Relations that are computed: pg_catalog, information_schema, system.
//!
//! Each is a list of columns (`shape`) and a function that makes its rows from [`Facts`]: one catalog (the statement's
//! own), the registry, the store's records. Who may see which row is decided here, beside the rows. A relation that has
//! no function is one whose things KalamDB does not have: it is empty, with PostgreSQL's columns.

pub mod binding;
mod constraint;
mod depend;
mod describe;
pub mod index;
mod information_schema;
pub mod names;
pub(crate) mod objects;
pub mod operator_class;
mod own;
mod relational;
pub mod sequence;
mod server;
mod shape;
mod user_type;
mod view;

use crate::plan::Keys;
use crate::registry::SessionFacts;
use crate::settings::Settings;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema};
use kalamdb_auth::Identity;
use kalamdb_auth::authorize::{RowAction, SequenceAction};
use kalamdb_commons::{ColumnId, Datum, PgType, Result, Role, SqlError, SqlType, TableId};
use kalamdb_live::LiveQueryFacts;
use kalamdb_sql::bind::{ColumnShape, RelationKind, RelationShape};
use kalamdb_sql::types;
use kalamdb_store::{Catalog, JobRecord, SequenceDef, Store, TableDef, TypeKind};
pub use shape::{SHAPES, Shape};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

/// What computed rows are made from.
pub struct Facts {
    /// Definitions, as the statement sees them.
    pub catalog: Arc<Catalog>,
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The running sessions.
    pub sessions: Vec<SessionFacts>,
    /// The advisory locks that are held or waited for.
    pub(crate) advisory_locks: Vec<crate::advisory::Shown>,
    /// The live queries.
    pub live: Vec<LiveQueryFacts>,
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// For segments, sizes and counters.
    pub store: Store,
    /// The session's settings.
    pub settings: Settings,
    /// The session's search path.
    pub search_path: Vec<String>,
    /// What `resolve` would decide.
    pub judge: names::Judge,
    /// The session's prepared statements.
    pub prepared: Vec<PreparedRow>,
    /// The session's cursors.
    pub cursors: Vec<CursorRow>,
    /// When the server started, microseconds since 1970 UTC.
    pub started_at: i64,
}

/// A row of pg_prepared_statements.
#[derive(Clone, Debug)]
pub struct PreparedRow {
    /// Its name; empty for the protocol's unnamed one.
    pub name: String,
    /// The text that prepared it.
    pub statement: String,
    /// When, microseconds since 1970 UTC.
    pub prepared_at: i64,
    /// The types of its parameters.
    pub parameters: Vec<SqlType>,
    /// PREPARE, or the protocol's Parse.
    pub by_sql: bool,
    /// How often EXECUTE ran it.
    pub executed: i64,
}

/// A row of pg_cursors.
#[derive(Clone, Debug)]
pub struct CursorRow {
    /// Its name.
    pub name: String,
    /// The text that declared it.
    pub statement: String,
    /// WITH HOLD
    pub is_holdable: bool,
    /// BINARY
    pub is_binary: bool,
    /// Whether it moves backward.
    pub is_scrollable: bool,
    /// When it was declared, microseconds since 1970 UTC.
    pub created_at: i64,
}

impl Facts {
    fn may(&self, table: &TableDef, actions: &[RowAction]) -> bool {
        let facts = names::facts_of(table, &self.identity);
        actions.iter().any(|action| (self.judge.rows)(&self.identity, *action, &facts))
    }

    fn may_use(&self, sequence: &SequenceDef, action: SequenceAction) -> bool {
        (self.judge.sequence)(&self.catalog, &self.identity, sequence.id.0, action)
    }

    /// The number that a sequence gave last, if it gave one and the asker may know.
    fn given_number(&self, sequence: &SequenceDef) -> Option<i64> {
        if !self.may_use(sequence, SequenceAction::Read) {
            return None;
        }
        let place = self.store.engine().sequence_place(sequence).ok()?;
        place.is_called.then_some(place.last)
    }

    /// Whether a column's domain takes no NULL.
    fn domain_refuses_null(&self, domain: Option<u32>) -> bool {
        let def = domain.and_then(|oid| self.catalog.data_type(oid));
        def.is_some_and(|def| matches!(def.kind, TypeKind::Domain { not_null: true, .. }))
    }

    /// Names as the asker's session sees them.
    fn names(&self) -> names::CatalogView {
        let path = self.search_path.clone();
        names::CatalogView::new(self.catalog.clone(), path, self.identity.clone(), self.store.clone(), self.judge)
    }

    /// A stored expression as it is shown: with the names that its relations and types have now.
    fn shown_stored(&self, text: &str) -> String {
        kalamdb_sql::bind::shown_stored(text, &self.names())
    }

    /// Whether the asker may read or write the table: information_schema shows these alone.
    fn is_accessible(&self, table: &TableDef) -> bool {
        self.may(table, &[RowAction::Select, RowAction::Insert, RowAction::Update, RowAction::Delete])
    }

    /// How many rows the table has, if the asker may know: a table that he may not read tells nothing, and one that is
    /// partitioned by user has no count of one user's rows, nor may he learn how many the others have.
    fn row_count(&self, table: &TableDef) -> Option<u64> {
        let may_know = self.identity.role >= Role::Dba || !table.is_per_user() && self.may(table, &[RowAction::Select]);
        self.store.estimated_rows(table.id).filter(|_| may_know)
    }
}

/// What computed relations show: gathered once for each statement that reads one.
#[derive(Clone)]
pub(crate) struct SystemFacts {
    pub(crate) facts: Arc<dyn Fn() -> Facts + Send + Sync>,
}

impl std::fmt::Debug for SystemFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemFacts")
    }
}

impl SystemFacts {
    /// The facts, read now.
    pub fn gather(&self) -> Facts {
        (self.facts)()
    }
}

/// The computed relations by name and OID.
pub struct SystemRelations {
    by_name: HashMap<&'static str, HashMap<&'static str, RelationShape>>,
    names: HashMap<TableId, (&'static str, &'static str)>,
}

static RELATIONS: LazyLock<SystemRelations> = LazyLock::new(|| {
    let mut relations = SystemRelations { by_name: HashMap::new(), names: HashMap::new() };
    for shape in SHAPES {
        relations.names.insert(TableId(shape.oid), (shape.namespace, shape.name));
        relations.by_name.entry(shape.namespace).or_default().insert(shape.name, binding_shape(shape));
    }
    relations
});

/// The computed relations.
pub fn relations() -> &'static SystemRelations {
    &RELATIONS
}

impl SystemRelations {
    /// A relation by its names.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<&RelationShape> {
        self.by_name.get(namespace)?.get(name)
    }

    /// A relation by its OID.
    pub fn by_oid(&self, table: TableId) -> Option<&RelationShape> {
        let (namespace, name) = self.names.get(&table)?;
        self.by_name(namespace, name)
    }
}

fn binding_shape(shape: &Shape) -> RelationShape {
    let column = |(at, (name, ty, not_null)): (usize, &(&'static str, SqlType, bool))| ColumnShape {
        id: ColumnId(at as i16 + 1),
        name: (*name).to_string(),
        ty: PgType::new(*ty),
        not_null: *not_null,
        default: None,
        source: Default::default(),
        domain: None,
    };
    RelationShape {
        table: TableId(shape.oid),
        namespace: shape.namespace.to_string(),
        name: shape.name.to_string(),
        schema_version: 0,
        kind: RelationKind::System,
        columns: shape.columns.iter().enumerate().map(column).collect(),
        primary_key: None,
        uniques: Vec::new(),
        view: None,
    }
}

fn shape_of(table: TableId) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.oid == table.0)
}

/// The column by which a relation's rows are found without making them all.
fn key_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "pg_class" | "pg_type" | "pg_namespace" | "pg_proc" => "oid",
        "pg_attribute" => "attrelid",
        "pg_index" => "indrelid",
        "pg_constraint" => "conrelid",
        "pg_attrdef" => "adrelid",
        "pg_sequence" => "seqrelid",
        _ => return None,
    })
}

/// The column that can be looked up: rows of given keys are made alone.
pub fn key_of(table: TableId) -> Option<Vec<ColumnId>> {
    let shape = shape_of(table).filter(|shape| shape.namespace == "pg_catalog")?;
    let name = key_name(shape.name)?;
    let at = shape.columns.iter().position(|(column, ..)| *column == name)?;
    Some(vec![ColumnId(at as i16 + 1)])
}

/// The OIDs that are asked for; `None` for all.
pub(crate) type Wanted = Option<HashSet<u32>>;

/// The rows of a computed relation.
///
/// # Errors
/// XX000 for a relation that is none.
pub fn scan(table: TableId, columns: &[ColumnId], keys: &Keys, facts: &Facts) -> Result<RecordBatch> {
    if let Some(def) = facts.catalog.sequence(table) {
        let mut made = Rows::new(&sequence::SHAPE);
        sequence::row(facts.store.engine().sequence_place(def)?, &mut made);
        return batch(&sequence::SHAPE, table, columns, &made.rows);
    }
    let shape = shape_of(table).ok_or_else(|| SqlError::internal(format!("relation {table} is not computed")))?;
    let key = key_of(table).and_then(|columns| columns.first().copied());
    let wanted = wanted(keys);
    let mut made = Rows::new(shape);
    make(shape, facts, &wanted, &mut made);
    if let Some(key) = key
        && *keys != Keys::All
    {
        let at = key.0 as usize - 1;
        made.rows.retain(|row| matches(keys, &row[at]));
    }
    batch(shape, table, columns, &made.rows)
}

fn wants(wanted: &Wanted, oid: u32) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted.contains(&oid))
}

/// The name of any relation that there is.
pub(crate) fn relation_name(catalog: &Catalog, oid: u32) -> Option<String> {
    if let Some(shape) = shape_of(TableId(oid)) {
        return Some(shape.name.to_string());
    }
    names::place_of(catalog, oid).map(|(_, name)| name)
}

/// Whether a relation's rows are computed, those of sequences among them.
pub(crate) fn is_computed(catalog: &Catalog, table: TableId) -> bool {
    relations().by_oid(table).is_some() || catalog.sequence(table).is_some()
}

fn wanted(keys: &Keys) -> Wanted {
    let Keys::Spans(spans) = keys else { return None };
    spans
        .iter()
        .map(|span| span.prefix.first().and_then(Datum::as_i64).and_then(|oid| u32::try_from(oid).ok()))
        .collect()
}

fn matches(keys: &Keys, value: &Datum) -> bool {
    use std::ops::Bound;
    let Keys::Spans(spans) = keys else { return true };
    let Some(value) = value.as_i64() else { return false };
    spans.iter().any(|span| match span.prefix.first() {
        Some(prefix) => prefix.as_i64() == Some(value),
        None => {
            let above = match &span.low {
                Bound::Included(low) => low.as_i64().is_some_and(|low| value >= low),
                Bound::Excluded(low) => low.as_i64().is_some_and(|low| value > low),
                Bound::Unbounded => true,
            };
            let below = match &span.high {
                Bound::Included(high) => high.as_i64().is_some_and(|high| value <= high),
                Bound::Excluded(high) => high.as_i64().is_some_and(|high| value < high),
                Bound::Unbounded => true,
            };
            above && below
        }
    })
}

fn make(shape: &Shape, facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    match shape.namespace {
        "pg_catalog" => {
            relational::make(shape.name, facts, wanted, rows)
                || view::make(shape.name, facts, rows)
                || depend::make(shape.name, facts, rows)
                || objects::make(shape.name, facts, wanted, rows)
                || sequence::make(shape.name, facts, wanted, rows)
                || server::make(shape.name, facts, rows)
        }
        "information_schema" => {
            information_schema::make(shape.name, facts, rows) || view::make_standard(shape.name, facts, rows)
        }
        _ => own::make(shape.name, facts, rows),
    };
}

/// Rows being made: each cell has its place by the column's name.
pub(crate) struct Rows {
    shape: &'static Shape,
    places: HashMap<&'static str, usize>,
    rows: Vec<Vec<Datum>>,
}

impl Rows {
    fn new(shape: &'static Shape) -> Self {
        let places = shape.columns.iter().enumerate().map(|(at, (name, ..))| (*name, at)).collect();
        Self { shape, places, rows: Vec::new() }
    }

    /// Adds a row; columns that are not given are NULL.
    pub fn push(&mut self, cells: impl IntoIterator<Item = (&'static str, Datum)>) {
        let mut row = vec![Datum::Null; self.shape.columns.len()];
        for (name, value) in cells {
            let place = self.places.get(name);
            debug_assert!(place.is_some(), "{} has no column {name}", self.shape.name);
            if let Some(at) = place {
                row[*at] = value;
            }
        }
        self.rows.push(row);
    }
}

/// A row's cells: `cells![oid: Oid(3), relname: text("t")]`.
macro_rules! cells {
    ($($name:ident : $value:expr),* $(,)?) => { [$((stringify!($name), $crate::system::Cell::cell($value))),*] };
}
pub(crate) use cells;

/// What can stand in a cell.
pub(crate) trait Cell {
    fn cell(self) -> Datum;
}

impl Cell for Datum {
    fn cell(self) -> Datum {
        self
    }
}
impl Cell for &str {
    fn cell(self) -> Datum {
        Datum::text(self)
    }
}
impl Cell for String {
    fn cell(self) -> Datum {
        Datum::text(self)
    }
}
impl Cell for char {
    fn cell(self) -> Datum {
        Datum::text(self.to_string())
    }
}
impl Cell for bool {
    fn cell(self) -> Datum {
        Datum::Bool(self)
    }
}
impl Cell for i16 {
    fn cell(self) -> Datum {
        Datum::Int2(self)
    }
}
impl Cell for i32 {
    fn cell(self) -> Datum {
        Datum::Int4(self)
    }
}
impl Cell for i64 {
    fn cell(self) -> Datum {
        Datum::Int8(self)
    }
}
impl Cell for f32 {
    fn cell(self) -> Datum {
        Datum::Float4(self)
    }
}
impl Cell for u32 {
    fn cell(self) -> Datum {
        Datum::Oid(self)
    }
}
impl<T: Cell> Cell for Option<T> {
    fn cell(self) -> Datum {
        self.map_or(Datum::Null, Cell::cell)
    }
}

/// A timestamptz cell.
pub(crate) fn at(us: i64) -> Datum {
    Datum::Timestamptz(us)
}

/// A timestamptz cell that may be NULL.
pub(crate) fn at_maybe(us: Option<i64>) -> Datum {
    us.map_or(Datum::Null, Datum::Timestamptz)
}

/// An array cell.
pub(crate) fn list(element: SqlType, items: impl IntoIterator<Item = Datum>) -> Datum {
    kalamdb_commons::ArrayDatum::usual(element, items.into_iter().collect()).into()
}

fn batch(shape: &Shape, table: TableId, columns: &[ColumnId], rows: &[Vec<Datum>]) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for id in columns {
        let (name, ty, values): (&str, SqlType, Vec<Datum>) = match *id {
            ColumnId::TABLEOID => ("tableoid", SqlType::Oid, vec![Datum::Oid(table.0); rows.len()]),
            id => {
                let at = usize::try_from(id.0 - 1).ok().filter(|at| *at < shape.columns.len());
                let at = at.ok_or_else(|| SqlError::unsupported("a system column of a computed relation"))?;
                (shape.columns[at].0, shape.columns[at].1, rows.iter().map(|row| row[at].clone()).collect())
            }
        };
        let array = types::array_of(PgType::new(ty), &values)?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(SqlError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_oids_are_unique() {
        let names: HashSet<_> = SHAPES.iter().map(|shape| (shape.namespace, shape.name)).collect();
        let oids: HashSet<_> = SHAPES.iter().map(|shape| shape.oid).collect();
        assert_eq!((names.len(), oids.len()), (SHAPES.len(), SHAPES.len()));
    }
}
