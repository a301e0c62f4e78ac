//! Foreign keys, enforced beside every write: what rows that are written refer to, and which keys go.
//!
//! A written row's reference is looked up at once, on the newest published state and under a lock that keeps the
//! referenced row; what is not found is looked at again at the end of the statement, when the statement's own rows are
//! all there. What a referenced row leaves behind is worked off there too, one event after the other, each of which may
//! add some (`actions`): a cascade is a part of its statement. Deferred constraints wait for COMMIT or SET CONSTRAINTS.
//!
//! All of it is done by the right of the constraint: the writer need not be allowed to read the other table, and sees
//! nothing of it but that a key is there or not.

use super::key_match::equal_in;
use super::query::lock_wait;
use super::table::namespace_name;
use super::write;
use crate::referential::{Event, Happened};
use crate::relation::Relation;
use crate::resolve;
use crate::standing::Standing;
use arrow_array::{ArrayRef, RecordBatch};
use futures::StreamExt;
use kalamdb_auth::authorize::RowAction;
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, Result, Scope, SqlError, SqlState, SqlType, TableId};
use kalamdb_sql::types::datum_at;
use kalamdb_store::codec::key;
use kalamdb_store::codec::row::RowView;
use kalamdb_store::{Catalog, ForeignKeyDef, ReferentialAction, RowVersion, TableDef, TableLockMode};
use std::collections::HashMap;
use std::sync::Arc;

/// How many rows are read at once where all are looked at.
pub(super) const SCAN_ROWS: usize = 4096;

/// A foreign key with both of its tables as they are now.
pub(super) struct Constraint {
    pub def: ForeignKeyDef,
    pub child: Arc<TableDef>,
    pub parent: Arc<TableDef>,
}

/// What a row's columns refer to.
pub(super) enum Reference {
    /// Nothing: NULL is in them.
    Nothing,
    /// MATCH FULL: some are NULL and some are not.
    Mixed,
    /// A row with these values.
    To(Vec<Datum>),
    /// A row that cannot be: the referenced type has no such value.
    Nobody,
}

impl Constraint {
    /// A foreign key of a catalog; `None` when it is gone.
    pub fn of(catalog: &Catalog, table: TableId, id: Oid) -> Option<Self> {
        let child = catalog.table(table)?.clone();
        let def = child.foreign_keys.iter().find(|key| key.id == id)?.clone();
        let parent = catalog.table(def.parent)?.clone();
        Some(Self { def, child, parent })
    }

    pub fn types(table: &TableDef, columns: &[ColumnId]) -> Vec<PgType> {
        let ty = |id: &ColumnId| table.column(*id).map_or(PgType::new(SqlType::Unknown), |column| column.ty);
        columns.iter().map(ty).collect()
    }

    pub fn child_types(&self) -> Vec<PgType> {
        Self::types(&self.child, &self.def.columns)
    }

    pub fn parent_types(&self) -> Vec<PgType> {
        Self::types(&self.parent, &self.def.parent_columns)
    }

    /// What values of the referencing columns refer to.
    pub fn reference(&self, values: &[Datum]) -> Result<Reference> {
        let nulls = values.iter().filter(|value| value.is_null()).count();
        if nulls == values.len() || (nulls > 0 && !self.def.match_full) {
            return Ok(Reference::Nothing);
        }
        if nulls > 0 {
            return Ok(Reference::Mixed);
        }
        let mut referenced = Vec::with_capacity(values.len());
        for ((value, from), to) in values.iter().zip(self.child_types()).zip(self.parent_types()) {
            match equal_in(value, from.ty, to.ty)? {
                Some(value) => referenced.push(value),
                None => return Ok(Reference::Nobody),
            }
        }
        Ok(Reference::To(referenced))
    }

    /// A form of referenced values that is the same for equal ones.
    pub fn form(&self, values: &[Datum]) -> Result<Vec<u8>> {
        Ok(key::encode(self.parent_types().iter().map(|ty| ty.ty).zip(values))?)
    }

    /// Whether a referencing row refers to these values.
    pub fn refers_to(&self, row: &[u8], form: &[u8]) -> Result<bool> {
        Ok(match self.reference(&columns_of(&self.child, row, &self.def.columns)?)? {
            Reference::To(values) => self.form(&values)? == form,
            Reference::Nothing | Reference::Mixed | Reference::Nobody => false,
        })
    }

    /// Where the rows are that a row of this scope refers to.
    pub fn parent_scope(&self, child: Scope) -> Scope {
        if self.parent.is_per_user() { child } else { Scope::Shared }
    }

    /// 23503 for a row whose reference leads nowhere.
    pub fn not_present(&self, standing: &Standing, values: &[Datum], is_mixed: bool) -> SqlError {
        let message = format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            self.child.name, self.def.name
        );
        let detail = if is_mixed {
            "MATCH FULL does not allow mixing of null and nonnull key values.".to_string()
        } else {
            let shown = shown(standing, &self.child, &self.def.columns, values);
            format!("{shown} is not present in table \"{}\".", self.parent.name)
        };
        self.violation(standing, message, detail)
    }

    /// 23503 for a row that another still refers to.
    pub fn still_referenced(&self, standing: &Standing, old: &[Datum]) -> SqlError {
        let message = format!(
            "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
            self.parent.name, self.def.name, self.child.name
        );
        let shown = shown(standing, &self.parent, &self.def.parent_columns, old);
        self.violation(standing, message, format!("{shown} is still referenced from table \"{}\".", self.child.name))
    }

    fn violation(&self, standing: &Standing, message: String, detail: String) -> SqlError {
        SqlError::new(SqlState::FOREIGN_KEY_VIOLATION, message)
            .with_detail(detail)
            .with_schema(namespace_name(&standing.catalog(), self.child.namespace))
            .with_table(self.child.name.as_str())
            .with_constraint(self.def.name.as_str())
    }
}

/// `Key (a, b)=(1, 2)`; without names and values for who may not read the table.
fn shown(standing: &Standing, table: &TableDef, columns: &[ColumnId], values: &[Datum]) -> String {
    let facts = crate::system::names::facts_of(table, &standing.identity);
    if !resolve::would_allow(&standing.identity, RowAction::Select, &facts) {
        return "Key".to_string();
    }
    let text = super::entries::text(standing);
    let columns = columns.iter().filter_map(|id| table.column(*id));
    let (names, values): (Vec<&str>, Vec<String>) =
        columns.zip(values).map(|(column, value)| (column.name.as_str(), text(value, column.ty))).unzip();
    format!("Key ({})=({})", names.join(", "), values.join(", "))
}

/// Some columns of a stored row.
pub(super) fn columns_of(table: &TableDef, row: &[u8], columns: &[ColumnId]) -> Result<Vec<Datum>> {
    let row = RowView::new(row)?;
    let value = |id: &ColumnId| match table.column(*id) {
        Some(column) => Ok(row.datum(column)?),
        None => Ok(Datum::Null),
    };
    columns.iter().map(value).collect()
}

/// Some columns of a batch.
struct Columns<'a> {
    arrays: Vec<(&'a ArrayRef, PgType)>,
}

impl<'a> Columns<'a> {
    fn new(table: &TableDef, batch: &'a RecordBatch, columns: &[ColumnId], wanted: &[ColumnId]) -> Result<Self> {
        let array = |id: &ColumnId| {
            let at = columns.iter().position(|column| column == id);
            let at = at.ok_or_else(|| SqlError::internal("a key's column is not in the row"))?;
            let ty = table.column(*id).map_or(PgType::new(SqlType::Unknown), |column| column.ty);
            Ok((batch.column(at), ty))
        };
        Ok(Self { arrays: wanted.iter().map(array).collect::<Result<_>>()? })
    }

    fn row(&self, row: usize) -> Vec<Datum> {
        self.arrays.iter().map(|(array, ty)| datum_at(array.as_ref(), row, *ty)).collect()
    }
}

/// The foreign keys that refer to a table, in the order they were made.
fn referring(catalog: &Catalog, table: TableId) -> Vec<(Arc<TableDef>, ForeignKeyDef)> {
    let mut found = Vec::new();
    for child in catalog.referencing(table) {
        found.extend(
            child.foreign_keys.iter().filter(|key| key.parent == table).map(|key| (child.clone(), key.clone())),
        );
    }
    found.sort_by_key(|(_, key)| key.id);
    found
}

/// Whether a foreign key of a table, or to it, has to look at what is written.
pub(super) fn concern(standing: &mut Standing, table: &TableDef) -> bool {
    !table.foreign_keys.is_empty() || standing.transaction().newest_catalog().referencing(table.id).next().is_some()
}

/// Rows were added: `written` are their places in the batch and their keys.
///
/// # Errors
/// Those of locks; a reference that leads nowhere is an error at the end of the statement.
pub(super) async fn inserted(
    standing: &mut Standing,
    relation: &Relation,
    batch: &RecordBatch,
    columns: &[ColumnId],
    written: &[(usize, Vec<u8>)],
) -> Result<()> {
    let table = relation.table()?.clone();
    if table.foreign_keys.is_empty() || written.is_empty() {
        return Ok(());
    }
    let mut open = Vec::new();
    for def in &table.foreign_keys {
        let wanted = Columns::new(&table, batch, columns, &def.columns)?;
        let rows = written.iter().map(|(at, key)| (*at, key.as_slice(), wanted.row(*at)));
        look_up(standing, relation, &table, def, rows.collect(), &mut open).await?;
    }
    push_open(standing, open);
    Ok(())
}

/// A reference that was not found (or is not to be looked for yet): the row's place, and the event.
type Open = (usize, Event, bool);

fn push_open(standing: &mut Standing, mut open: Vec<Open>) {
    // Row by row, and of a row's constraints the older first.
    open.sort_by_key(|(at, event, _)| (*at, event.key));
    for (_, event, deferred) in open {
        standing.referential.push(event, deferred);
    }
}

/// Looks up what rows of a batch refer to; those that lead nowhere yet come to `open`.
async fn look_up(
    standing: &mut Standing,
    relation: &Relation,
    table: &Arc<TableDef>,
    def: &ForeignKeyDef,
    rows: Vec<(usize, &[u8], Vec<Datum>)>,
    open: &mut Vec<Open>,
) -> Result<()> {
    let deferred = standing.referential.is_deferred(def);
    let event = |scope: Scope, row: &[u8]| {
        let happened = Happened::Refers { scope, row: row.to_vec() };
        Event { key: def.id, table: table.id, on: table.id, happened }
    };
    let mut constraint: Option<Constraint> = None;
    let mut parent: Option<Arc<Relation>> = None;
    let mut known: HashMap<(Scope, Vec<u8>), bool> = HashMap::new();
    for (at, row_key, values) in rows {
        if values.iter().any(Datum::is_null) && (!def.match_full || values.iter().all(Datum::is_null)) {
            continue;
        }
        let (scope, row) = relation.scope_of(row_key);
        if deferred {
            open.push((at, event(scope, row), true));
            continue;
        }
        if constraint.is_none() {
            constraint = Some(referenced(standing, table, def).await?);
        }
        let Some(constraint) = &constraint else { continue };
        let found = match constraint.reference(&values)? {
            Reference::Nothing => true,
            Reference::Mixed | Reference::Nobody => false,
            Reference::To(values) => {
                let scope = constraint.parent_scope(scope);
                let place = (scope, constraint.form(&values)?);
                match known.get(&place) {
                    Some(found) => *found,
                    None => {
                        let relation = match parent.take().filter(|relation| relation.is_of(scope)) {
                            Some(relation) => relation,
                            None => Arc::new(resolve::enforced(&constraint.parent, scope)),
                        };
                        let found = keep(standing, &relation, constraint, &values).await?;
                        parent = Some(relation);
                        known.insert(place, found);
                        found
                    }
                }
            }
        };
        if !found {
            open.push((at, event(scope, row), false));
        }
    }
    Ok(())
}

/// A foreign key of a table that is written, its referenced table locked against being dropped.
async fn referenced(standing: &mut Standing, table: &Arc<TableDef>, def: &ForeignKeyDef) -> Result<Constraint> {
    let wait = lock_wait(standing);
    if def.parent != table.id {
        standing.transaction().table_lock(def.parent, TableLockMode::RowShare, wait).await?;
    }
    let catalog = standing.transaction().newest_catalog();
    let parent = catalog.table(def.parent).ok_or_else(|| SqlError::internal("a foreign key to no table"))?.clone();
    Ok(Constraint { def: def.clone(), child: table.clone(), parent })
}

/// Whether a row with these values is there, which stays from now on.
pub(super) async fn keep(
    standing: &mut Standing,
    parent: &Relation,
    constraint: &Constraint,
    values: &[Datum],
) -> Result<bool> {
    let wait = lock_wait(standing);
    let (columns, index) = (&constraint.def.parent_columns, constraint.def.parent_index);
    parent.keep(standing.transaction(), index, columns, values, wait).await
}

/// A row before an UPDATE or DELETE.
pub(super) struct Old<'a> {
    pub key: &'a [u8],
    pub row: &'a [u8],
    /// Whether the transaction has written it itself.
    pub is_own: bool,
}

impl<'a> Old<'a> {
    /// A locked row.
    pub fn new((key, version): &'a (Vec<u8>, RowVersion)) -> Self {
        Self { key, row: &version.row, is_own: version.seq.is_none() }
    }
}

/// Rows were changed: `old` as they were, `new` as they are, with their keys. Columns outside `set` are as before.
///
/// # Errors
/// Those of locks; what breaks a constraint is an error at the end of the statement.
pub(super) async fn updated(
    standing: &mut Standing,
    relation: &Relation,
    old: &[Old<'_>],
    (new, columns): (&RecordBatch, &[ColumnId]),
    keys: &[Vec<u8>],
    set: &[ColumnId],
) -> Result<()> {
    let table = relation.table()?.clone();
    let is_set = |columns: &[ColumnId]| columns.iter().any(|id| set.contains(id));
    let catalog = standing.transaction().newest_catalog();
    let referring: Vec<_> =
        referring(&catalog, table.id).into_iter().filter(|(_, key)| is_set(&key.parent_columns)).collect();
    let count = keys.len().min(old.len());
    for (child, def) in &referring {
        let after = Columns::new(&table, new, columns, &def.parent_columns)?;
        let deferred = standing.referential.is_deferred(def) && def.on_update == ReferentialAction::NoAction;
        for (at, old) in old.iter().enumerate().take(count) {
            let (before, after) = (columns_of(&table, old.row, &def.parent_columns)?, after.row(at));
            if before != after && !before.iter().any(Datum::is_null) {
                let scope = relation.scope_of(old.key).0;
                let happened = Happened::Left { scope, old: before, new: Some(after) };
                standing.referential.push(Event { key: def.id, table: child.id, on: table.id, happened }, deferred);
            }
        }
    }
    let mut open = Vec::new();
    for def in &table.foreign_keys {
        let after = Columns::new(&table, new, columns, &def.columns)?;
        let mut rows = Vec::new();
        for (at, old) in old.iter().enumerate().take(count) {
            let values = after.row(at);
            // Under another key an own row is not where its earlier event looks.
            let moved = old.is_own && old.key != keys[at];
            if moved || (is_set(&def.columns) && columns_of(&table, old.row, &def.columns)? != values) {
                rows.push((at, keys[at].as_slice(), values));
            }
        }
        if !rows.is_empty() {
            look_up(standing, relation, &table, def, rows, &mut open).await?;
        }
    }
    push_open(standing, open);
    Ok(())
}

/// Rows were removed.
///
/// # Errors
/// The codec's.
pub(super) fn deleted(standing: &mut Standing, relation: &Relation, old: &[Old<'_>]) -> Result<()> {
    let table = relation.table()?.clone();
    let catalog = standing.transaction().newest_catalog();
    let referring = referring(&catalog, table.id);
    for old in old {
        for (child, def) in &referring {
            let values = columns_of(&table, old.row, &def.parent_columns)?;
            if values.iter().any(Datum::is_null) {
                continue;
            }
            let deferred = standing.referential.is_deferred(def) && def.on_delete == ReferentialAction::NoAction;
            let happened = Happened::Left { scope: relation.scope_of(old.key).0, old: values, new: None };
            standing.referential.push(Event { key: def.id, table: child.id, on: table.id, happened }, deferred);
        }
    }
    Ok(())
}

/// 23503 when a row of a table refers to nothing, by some of its foreign keys: under locks that keep both tables'
/// writers out.
///
/// # Errors
/// 23503, the store's.
pub(super) async fn validate(standing: &mut Standing, table: &Arc<TableDef>, which: &[Oid]) -> Result<()> {
    for def in table.foreign_keys.iter().filter(|key| which.contains(&key.id)) {
        let catalog = standing.catalog();
        let parent = if def.parent == table.id { Some(table) } else { catalog.table(def.parent) };
        let parent = parent.ok_or_else(|| SqlError::internal("a foreign key to no table"))?.clone();
        let constraint = Constraint { def: def.clone(), child: table.clone(), parent };
        let columns: Vec<ColumnId> = def.columns.iter().copied().chain([ColumnId::ROW_KEY]).collect();
        let (all, mut rows) = super::rewrite::newest_rows(standing, table, &columns)?;
        let view = standing.transaction().newest_view();
        let types = constraint.child_types();
        let mut known: HashMap<(Scope, Vec<u8>), bool> = HashMap::new();
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let keys = write::key_column(&batch, types.len())?;
            for row in 0..batch.num_rows() {
                let values: Vec<Datum> =
                    types.iter().enumerate().map(|(at, ty)| datum_at(batch.column(at).as_ref(), row, *ty)).collect();
                let scope = constraint.parent_scope(all.scope_of(keys.value(row)).0);
                let (found, is_mixed) = match constraint.reference(&values)? {
                    Reference::Nothing => continue,
                    Reference::Mixed => (false, true),
                    Reference::Nobody => (false, false),
                    Reference::To(values) => {
                        let place = (scope, constraint.form(&values)?);
                        let found = match known.get(&place) {
                            Some(found) => *found,
                            None => {
                                let parent = resolve::enforced(&constraint.parent, scope);
                                let (index, columns) = (def.parent_index, &def.parent_columns);
                                let found = parent.has(&view, index, columns, &values).await?;
                                if known.len() < SCAN_ROWS * 16 {
                                    known.insert(place, found);
                                }
                                found
                            }
                        };
                        (found, false)
                    }
                };
                if !found {
                    let error = constraint.not_present(standing, &values, is_mixed);
                    // The row may be another user's.
                    return Err(if table.is_per_user() { without_detail(&error) } else { error });
                }
            }
        }
    }
    Ok(())
}

/// An error that tells nothing of a row: the row may be another user's.
pub(super) fn without_detail(error: &SqlError) -> SqlError {
    let mut bare = SqlError::new(error.state(), error.message());
    if let Some(schema) = error.schema() {
        bare = bare.with_schema(schema);
    }
    if let Some(table) = error.table() {
        bare = bare.with_table(table);
    }
    if let Some(column) = error.column() {
        bare = bare.with_column(column);
    }
    if let Some(constraint) = error.constraint() {
        bare = bare.with_constraint(constraint);
    }
    bare
}
