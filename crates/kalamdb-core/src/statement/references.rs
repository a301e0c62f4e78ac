//! Foreign keys, enforced: what rows that are written refer to, and what becomes of the rows that refer to one that
//! goes or changes its key.
//!
//! A written row's reference is looked up at once, on the newest published state and under a lock that keeps the
//! referenced row; what is not found is looked at again at the end of the statement, when the statement's own rows are
//! all there. What a referenced row leaves behind is worked off there too, one event after the other, each of which may
//! add some: a cascade is a part of its statement. Deferred constraints wait for COMMIT or SET CONSTRAINTS.
//!
//! All of it is done by the right of the constraint: the writer need not be allowed to read the other table, and sees
//! nothing of it but that a key is there or not.

use super::key_match::{equal_in, is_one_to_one};
use super::prepared::BindingNames;
use super::query::lock_wait;
use super::table::{default_of, namespace_name};
use super::{Outcome, constraint, delete, update, valid, write};
use crate::referential::{Event, Happened};
use crate::relation::Relation;
use crate::resolve;
use crate::standing::Standing;
use arrow_array::{Array, ArrayRef, RecordBatch};
use futures::StreamExt;
use kalamdb_auth::authorize::RowAction;
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, Result, Scope, SqlError, SqlState, SqlType, TableId};
use kalamdb_sql::statement::Name;
use kalamdb_sql::types::{array_of, datum_at};
use kalamdb_store::codec::key;
use kalamdb_store::codec::row::RowView;
use kalamdb_store::{
    Catalog, ConstraintTiming, ForeignKeyDef, LockStrength, ReferentialAction, RowVersion, TableDef, TableLockMode,
};
use std::collections::HashMap;
use std::sync::Arc;

/// How many rows an action changes at once.
const ACTION_ROWS: usize = 1024;
/// How many rows are read at once where all are looked at.
const SCAN_ROWS: usize = 4096;

/// A foreign key with both of its tables as they are now.
pub(super) struct Constraint {
    pub def: ForeignKeyDef,
    pub child: Arc<TableDef>,
    pub parent: Arc<TableDef>,
}

/// What a row's columns refer to.
enum Reference {
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

    fn types(table: &TableDef, columns: &[ColumnId]) -> Vec<PgType> {
        let ty = |id: &ColumnId| table.column(*id).map_or(PgType::new(SqlType::Unknown), |column| column.ty);
        columns.iter().map(ty).collect()
    }

    fn child_types(&self) -> Vec<PgType> {
        Self::types(&self.child, &self.def.columns)
    }

    fn parent_types(&self) -> Vec<PgType> {
        Self::types(&self.parent, &self.def.parent_columns)
    }

    /// What values of the referencing columns refer to.
    fn reference(&self, values: &[Datum]) -> Result<Reference> {
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
    fn form(&self, values: &[Datum]) -> Result<Vec<u8>> {
        Ok(key::encode(self.parent_types().iter().map(|ty| ty.ty).zip(values))?)
    }

    /// Whether a referencing row refers to these values.
    fn refers_to(&self, row: &[u8], form: &[u8]) -> Result<bool> {
        Ok(match self.reference(&columns_of(&self.child, row, &self.def.columns)?)? {
            Reference::To(values) => self.form(&values)? == form,
            Reference::Nothing | Reference::Mixed | Reference::Nobody => false,
        })
    }

    /// Where the rows are that a row of this scope refers to.
    fn parent_scope(&self, child: Scope) -> Scope {
        if self.parent.is_per_user() { child } else { Scope::Shared }
    }

    /// 23503 for a row whose reference leads nowhere.
    fn not_present(&self, standing: &Standing, values: &[Datum], is_mixed: bool) -> SqlError {
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
    fn still_referenced(&self, standing: &Standing, old: &[Datum]) -> SqlError {
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
fn columns_of(table: &TableDef, row: &[u8], columns: &[ColumnId]) -> Result<Vec<Datum>> {
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
async fn keep(standing: &mut Standing, parent: &Relation, constraint: &Constraint, values: &[Datum]) -> Result<bool> {
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

/// The end of a statement: what its writes owe to foreign keys.
///
/// # Errors
/// 23503, and what actions run into.
pub(super) async fn settle(standing: &mut Standing) -> Result<()> {
    while let Some(event) = standing.referential.next() {
        enforce(standing, event).await?;
    }
    Ok(())
}

/// The end of the transaction: what was deferred.
///
/// # Errors
/// 23503, and what actions run into.
pub(super) async fn settle_deferred(standing: &mut Standing) -> Result<()> {
    while standing.referential.has_deferred() {
        standing.begin_statement()?;
        standing.referential.take_up(|_| true);
        settle(standing).await?;
    }
    Ok(())
}

/// SET CONSTRAINTS. What becomes immediate is checked at once.
///
/// # Errors
/// 3F000, 42704, 42809 for a constraint that cannot be deferred; 23503 and what actions run into.
pub(super) async fn set_constraints(
    standing: &mut Standing,
    names: Option<&[Name]>,
    deferred: bool,
) -> Result<Outcome> {
    if !standing.in_block() {
        let message = "SET CONSTRAINTS can only be used in transaction blocks";
        standing.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, message);
    }
    standing.begin_statement()?;
    match names {
        None => standing.referential.set_all(deferred),
        Some(names) => {
            let mut keys = Vec::new();
            for name in names {
                keys.extend(deferrable(standing, name, deferred)?);
            }
            keys.into_iter().for_each(|key| standing.referential.set(key, deferred));
        }
    }
    if !deferred {
        let catalog = standing.transaction().newest_catalog();
        let mut due = std::mem::take(&mut standing.referential);
        let now: Vec<Oid> = catalog
            .tables()
            .flat_map(|table| &table.foreign_keys)
            .filter(|key| key.timing != ConstraintTiming::Immediate && !due.is_deferred(key))
            .map(|key| key.id)
            .collect();
        due.begin_statement();
        due.take_up(|event| now.contains(&event.key));
        standing.referential = due;
        settle(standing).await?;
    }
    Ok(Outcome::Command("SET CONSTRAINTS".to_string()))
}

/// The foreign keys of a name that can be deferred: of the first namespace that has a constraint of this name.
fn deferrable(standing: &Standing, name: &Name, deferred: bool) -> Result<Vec<Oid>> {
    let catalog = standing.catalog();
    let path = match &name.namespace {
        Some(namespace) if catalog.namespace_by_name(namespace).is_none() => {
            let message = format!("schema \"{namespace}\" does not exist");
            return Err(SqlError::new(SqlState::INVALID_SCHEMA_NAME, message));
        }
        Some(namespace) => vec![namespace.clone()],
        None => standing.derived().basis.search_path.clone(),
    };
    for namespace in path.iter().filter_map(|namespace| catalog.namespace_by_name(namespace)) {
        let with_name = |table: &&Arc<TableDef>| constraint::names(table).any(|known| known == name.name);
        let tables: Vec<_> = catalog.tables_of(namespace.id).filter(with_name).collect();
        let mut found = Vec::new();
        for table in &tables {
            let key = table.foreign_keys.iter().find(|key| key.name == name.name);
            match key.filter(|key| key.timing != ConstraintTiming::Immediate) {
                Some(key) => found.push(key.id),
                None if deferred => {
                    let message = format!("constraint \"{}\" is not deferrable", name.name);
                    return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
                }
                None => {}
            }
        }
        if !tables.is_empty() {
            return Ok(found);
        }
    }
    Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("constraint \"{}\" does not exist", name.name)))
}

async fn enforce(standing: &mut Standing, event: Event) -> Result<()> {
    let catalog = standing.transaction().newest_catalog();
    let Some(constraint) = Constraint::of(&catalog, event.table, event.key) else { return Ok(()) };
    match event.happened {
        Happened::Refers { scope, row } => check_reference(standing, &constraint, scope, &row).await,
        Happened::Left { scope, old, new } => {
            let action = match &new {
                None => &constraint.def.on_delete,
                Some(_) => &constraint.def.on_update,
            };
            match (action, new) {
                (ReferentialAction::NoAction, _) => refuse(standing, &constraint, scope, &old, true).await,
                (ReferentialAction::Restrict, _) => refuse(standing, &constraint, scope, &old, false).await,
                (ReferentialAction::Cascade, None) => delete_children(standing, &constraint, scope, &old).await,
                (ReferentialAction::Cascade, Some(new)) => {
                    let values = assigned(standing, &constraint, &new)?;
                    let set = &constraint.def.columns;
                    update_children(standing, &constraint, scope, &old, set, Set::Values(&values)).await
                }
                (ReferentialAction::SetNull(columns), _) => {
                    let set = if columns.is_empty() { &constraint.def.columns } else { columns };
                    let nulls = vec![Datum::Null; set.len()];
                    update_children(standing, &constraint, scope, &old, set, Set::Values(&nulls)).await
                }
                (ReferentialAction::SetDefault(columns), _) => {
                    let set = if columns.is_empty() { &constraint.def.columns } else { columns };
                    update_children(standing, &constraint, scope, &old, set, Set::Defaults).await?;
                    // A row whose default is the very key that went refers to it still.
                    refuse(standing, &constraint, scope, &old, true).await
                }
            }
        }
    }
}

/// 23503 when a written row refers to nothing, as it is now.
async fn check_reference(standing: &mut Standing, constraint: &Constraint, scope: Scope, row: &[u8]) -> Result<()> {
    let child = resolve::enforced(&constraint.child, scope);
    let view = standing.transaction().newest_view();
    // A row that went, or went elsewhere, has its own event.
    let Some(version) = child.newest(&view, row).await? else { return Ok(()) };
    let values = columns_of(&constraint.child, &version, &constraint.def.columns)?;
    let referenced = match constraint.reference(&values)? {
        Reference::Nothing => return Ok(()),
        Reference::Mixed => return Err(constraint.not_present(standing, &values, true)),
        Reference::Nobody => return Err(constraint.not_present(standing, &values, false)),
        Reference::To(referenced) => referenced,
    };
    let wait = lock_wait(standing);
    if constraint.def.parent != constraint.child.id {
        standing.transaction().table_lock(constraint.def.parent, TableLockMode::RowShare, wait).await?;
    }
    let parent = resolve::enforced(&constraint.parent, constraint.parent_scope(scope));
    match keep(standing, &parent, constraint, &referenced).await? {
        true => Ok(()),
        false => Err(constraint.not_present(standing, &values, false)),
    }
}

/// Where the rows are that may refer to a row of this scope. A SHARED row may have referring rows of every user.
fn child_relation(constraint: &Constraint, parent: Scope) -> Relation {
    let scope = match constraint.parent.is_per_user() {
        true => parent,
        false => Scope::Shared,
    };
    resolve::enforced(&constraint.child, scope)
}

/// 23503 when a row still refers to a key that went. `may_return`: unless another row has that key now.
async fn refuse(
    standing: &mut Standing,
    constraint: &Constraint,
    scope: Scope,
    old: &[Datum],
    may_return: bool,
) -> Result<()> {
    lock_child(standing, constraint, TableLockMode::RowShare).await?;
    if may_return {
        let parent = resolve::enforced(&constraint.parent, scope);
        if keep(standing, &parent, constraint, old).await? {
            return Ok(());
        }
    }
    let form = constraint.form(old)?;
    let child = child_relation(constraint, scope);
    let mut rows = Children::find(standing, constraint, &child, old).await?;
    let wait = lock_wait(standing);
    while let Some(keys) = rows.next().await? {
        for key in keys {
            // Somebody may be about to remove it.
            let Some(version) = child.probe(standing.transaction(), &key, wait).await?.newest else { continue };
            if constraint.refers_to(&version.row, &form)? {
                return Err(constraint.still_referenced(standing, old));
            }
        }
    }
    Ok(())
}

async fn lock_child(standing: &mut Standing, constraint: &Constraint, mode: TableLockMode) -> Result<()> {
    let wait = lock_wait(standing);
    Ok(standing.transaction().table_lock(constraint.child.id, mode, wait).await?)
}

/// The rows that refer to a key, locked, a chunk at a time: `work` changes them.
async fn locked_chunk(
    standing: &mut Standing,
    constraint: &Constraint,
    child: &Relation,
    keys: Vec<Vec<u8>>,
    form: &[u8],
    strength: LockStrength,
) -> Result<Vec<(Vec<u8>, RowVersion)>> {
    let wait = lock_wait(standing);
    let mut rows = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(version) = child.lock(standing.transaction(), &key, strength, wait).await?.newest else { continue };
        if constraint.refers_to(&version.row, form)? {
            rows.push((key, version));
        }
    }
    Ok(rows)
}

async fn delete_children(standing: &mut Standing, constraint: &Constraint, scope: Scope, old: &[Datum]) -> Result<()> {
    lock_child(standing, constraint, TableLockMode::RowExclusive).await?;
    let form = constraint.form(old)?;
    let child = Arc::new(child_relation(constraint, scope));
    let mut found = Children::find(standing, constraint, &child, old).await?;
    while let Some(keys) = found.next().await? {
        let rows = locked_chunk(standing, constraint, &child, keys, &form, LockStrength::Update).await?;
        delete::remove_rows(standing, &child, rows, false).await?;
    }
    Ok(())
}

/// What the columns of referring rows become.
#[derive(Clone, Copy)]
enum Set<'a> {
    Values(&'a [Datum]),
    Defaults,
}

async fn update_children(
    standing: &mut Standing,
    constraint: &Constraint,
    scope: Scope,
    old: &[Datum],
    set: &[ColumnId],
    to: Set<'_>,
) -> Result<()> {
    lock_child(standing, constraint, TableLockMode::RowExclusive).await?;
    let form = constraint.form(old)?;
    let child = Arc::new(child_relation(constraint, scope));
    let strength = update::strength(&constraint.child, set);
    let mut found = Children::find(standing, constraint, &child, old).await?;
    while let Some(keys) = found.next().await? {
        let rows = locked_chunk(standing, constraint, &child, keys, &form, strength).await?;
        if rows.is_empty() {
            continue;
        }
        let values = match to {
            Set::Values(values) => repeated(&constraint.child, set, values, rows.len())?,
            Set::Defaults => defaults(standing, &constraint.child, set, rows.len())?,
        };
        update::write_rows(standing, &child, rows, set, &values).await?;
    }
    Ok(())
}

fn repeated(table: &TableDef, set: &[ColumnId], values: &[Datum], count: usize) -> Result<Vec<ArrayRef>> {
    let array = |(ty, value): (PgType, &Datum)| array_of(ty, &vec![value.clone(); count]);
    Constraint::types(table, set).into_iter().zip(values).map(array).collect()
}

/// The columns' defaults, evaluated for each row.
fn defaults(standing: &mut Standing, table: &TableDef, set: &[ColumnId], count: usize) -> Result<Vec<ArrayRef>> {
    let mut scalars = Vec::with_capacity(set.len());
    for column in set.iter().filter_map(|id| table.column(*id)) {
        let default = match &column.default {
            Some(text) => default_of(standing, text, column.name.as_str(), column.ty)?,
            None => None,
        };
        scalars.push(default.unwrap_or(kalamdb_sql::bind::bound::Scalar::Const(Datum::Null, column.ty)));
    }
    let values = valid::values(standing);
    let program = write::program(&scalars, &[], &values)?;
    program.evaluate(&program.rows(Vec::new(), count)?)
}

/// New referenced values as the referencing columns take them.
fn assigned(standing: &mut Standing, constraint: &Constraint, new: &[Datum]) -> Result<Vec<Datum>> {
    let names = BindingNames::new(standing);
    let columns = constraint.def.columns.iter().filter_map(|id| constraint.child.column(*id));
    let mut scalars = Vec::with_capacity(new.len());
    for ((value, from), column) in new.iter().zip(constraint.parent_types()).zip(columns) {
        scalars.push(kalamdb_sql::bind::assigned(value.clone(), from, column.name.as_str(), column.ty, &names)?);
    }
    let values = valid::values(standing);
    let program = write::program(&scalars, &[], &values)?;
    program.evaluate_row(&program.rows(Vec::new(), 1)?, 0)
}

/// The keys of the rows that refer to a key, as the newest state has them and this transaction.
enum Children {
    /// Those that an index leads to.
    Found(std::vec::IntoIter<Vec<u8>>),
    /// Those among all rows.
    Among { rows: futures::stream::BoxStream<'static, Result<RecordBatch>>, test: Test },
}

/// Whether a row of a batch refers to a key: its columns are the referencing ones, then the row's key.
struct Test {
    constraint: Constraint,
    form: Vec<u8>,
}

impl Children {
    async fn find(standing: &mut Standing, constraint: &Constraint, child: &Relation, old: &[Datum]) -> Result<Self> {
        let view = standing.transaction().newest_view();
        let (from, to) = (constraint.parent_types(), constraint.child_types());
        if from.iter().zip(&to).all(|(from, to)| is_one_to_one(from.ty, to.ty)) {
            let mut values = Vec::with_capacity(old.len());
            for ((value, from), to) in old.iter().zip(&from).zip(&to) {
                match equal_in(value, from.ty, to.ty)? {
                    Some(value) => values.push(value),
                    None => return Ok(Children::Found(Vec::new().into_iter())),
                }
            }
            if let Some(keys) = child.keys_by(&view, &constraint.def.columns, &values).await? {
                return Ok(Children::Found(keys.into_iter()));
            }
        }
        let columns: Vec<ColumnId> = constraint.def.columns.iter().copied().chain([ColumnId::ROW_KEY]).collect();
        let rows = child.all_rows(&view, &columns, SCAN_ROWS)?;
        let constraint = Constraint {
            def: constraint.def.clone(),
            child: constraint.child.clone(),
            parent: constraint.parent.clone(),
        };
        let form = constraint.form(old)?;
        Ok(Children::Among { rows, test: Test { constraint, form } })
    }

    /// The next keys; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        match self {
            Children::Found(keys) => {
                let chunk: Vec<Vec<u8>> = keys.take(ACTION_ROWS).collect();
                Ok((!chunk.is_empty()).then_some(chunk))
            }
            Children::Among { rows, test } => match rows.next().await {
                Some(batch) => test.keys(&batch?).map(Some),
                None => Ok(None),
            },
        }
    }
}

impl Test {
    fn keys(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let types = self.constraint.child_types();
        let keys = write::key_column(batch, types.len())?;
        let mut found = Vec::new();
        for row in 0..batch.num_rows() {
            if types.iter().enumerate().any(|(at, _)| batch.column(at).is_null(row)) {
                continue;
            }
            let values: Vec<Datum> =
                types.iter().enumerate().map(|(at, ty)| datum_at(batch.column(at).as_ref(), row, *ty)).collect();
            if let Reference::To(values) = self.constraint.reference(&values)?
                && self.constraint.form(&values)? == self.form
            {
                found.push(keys.value(row).to_vec());
            }
        }
        Ok(found)
    }
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
        let (all, mut rows) = super::rewrite::rows(standing, table, &columns)?;
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

fn without_detail(error: &SqlError) -> SqlError {
    SqlError::new(error.state(), error.message())
        .with_schema(error.schema().unwrap_or_default())
        .with_table(error.table().unwrap_or_default())
        .with_constraint(error.constraint().unwrap_or_default())
}
