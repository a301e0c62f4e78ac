//! What foreign keys do at the end of a statement, or of the transaction: references are looked at again, and the rows
//! that refer to one that went are refused, removed or changed. All of it is done by the right of the constraint.

use super::key_match::{equal_in, is_one_to_one};
use super::prepared::{BindingNames, shape_of};
use super::query::lock_wait;
use super::references::{Constraint, Reference, SCAN_ROWS, columns_of, keep, without_detail};
use super::{delete, update, valid, write};
use crate::referential::{Event, Happened};
use crate::relation::Relation;
use crate::resolve;
use crate::standing::Standing;
use arrow_array::{Array, ArrayRef, RecordBatch};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Datum, PgType, Result, Scope};
use kalamdb_sql::types::{array_of, datum_at};
use kalamdb_store::{LockStrength, ReferentialAction, RowVersion, TableDef, TableLockMode};
use std::sync::Arc;

/// How many rows an action changes at once.
const ACTION_ROWS: usize = 1024;

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

async fn enforce(standing: &mut Standing, event: Event) -> Result<()> {
    let known = standing.transaction().newest_catalog();
    let Some(mut constraint) = Constraint::of(&known, event.table, event.key) else { return Ok(()) };
    lock_other(standing, &constraint, &event).await?;
    // Its table may have changed before it was locked, or be gone.
    let newest = standing.transaction().newest_catalog();
    if !Arc::ptr_eq(&known, &newest) {
        let Some(now) = Constraint::of(&newest, event.table, event.key) else { return Ok(()) };
        constraint = now;
    }
    let is_others = is_others(standing, &constraint, &event);
    let outcome = enforce_one(standing, &constraint, event).await;
    outcome.map_err(|error| if is_others { without_detail(&error) } else { error })
}

/// What a foreign key does to referring rows.
fn action<'c>(constraint: &'c Constraint, new: Option<&Vec<Datum>>) -> &'c ReferentialAction {
    if new.is_some() { &constraint.def.on_update } else { &constraint.def.on_delete }
}

/// Locks the table that is looked at, or written; the other one is locked since its row was written.
async fn lock_other(standing: &mut Standing, constraint: &Constraint, event: &Event) -> Result<()> {
    let (table, mode) = match &event.happened {
        Happened::Refers { .. } if constraint.def.parent == constraint.child.id => return Ok(()),
        Happened::Refers { .. } => (constraint.def.parent, TableLockMode::RowShare),
        Happened::Left { new, .. } => match action(constraint, new.as_ref()) {
            ReferentialAction::NoAction | ReferentialAction::Restrict => (constraint.child.id, TableLockMode::RowShare),
            ReferentialAction::Cascade | ReferentialAction::SetNull(_) | ReferentialAction::SetDefault(_) => {
                (constraint.child.id, TableLockMode::RowExclusive)
            }
        },
    };
    let wait = lock_wait(standing);
    Ok(standing.transaction().table_lock(table, mode, wait).await?)
}

/// Whether the rows that are looked at may be of other users than the session's: those that follow a SHARED row, and
/// those that follow them. What is told of a SHARED row that is still referred to is no secret.
fn is_others(standing: &Standing, constraint: &Constraint, event: &Event) -> bool {
    match &event.happened {
        Happened::Refers { scope: Scope::User(user), .. } | Happened::Left { scope: Scope::User(user), .. } => {
            *user != standing.identity.user
        }
        Happened::Refers { .. } => false,
        Happened::Left { new, .. } => {
            let is_refusal = |action: &ReferentialAction| {
                matches!(action, ReferentialAction::NoAction | ReferentialAction::Restrict)
            };
            constraint.child.is_per_user() && !is_refusal(action(constraint, new.as_ref()))
        }
    }
}

async fn enforce_one(standing: &mut Standing, constraint: &Constraint, event: Event) -> Result<()> {
    match event.happened {
        Happened::Refers { scope, row } => check_reference(standing, constraint, scope, &row).await,
        Happened::Left { scope, old, new } => {
            match (action(constraint, new.as_ref()), new) {
                (ReferentialAction::NoAction, _) => refuse(standing, constraint, scope, &old, true).await,
                (ReferentialAction::Restrict, _) => refuse(standing, constraint, scope, &old, false).await,
                (ReferentialAction::Cascade, None) => delete_children(standing, constraint, scope, &old).await,
                (ReferentialAction::Cascade, Some(new)) => {
                    let values = assigned(standing, constraint, &new)?;
                    let set = &constraint.def.columns;
                    update_children(standing, constraint, scope, &old, set, Set::Values(&values)).await
                }
                (ReferentialAction::SetNull(columns), _) => {
                    let set = if columns.is_empty() { &constraint.def.columns } else { columns };
                    let nulls = vec![Datum::Null; set.len()];
                    update_children(standing, constraint, scope, &old, set, Set::Values(&nulls)).await
                }
                (ReferentialAction::SetDefault(columns), _) => {
                    let set = if columns.is_empty() { &constraint.def.columns } else { columns };
                    update_children(standing, constraint, scope, &old, set, Set::Defaults).await?;
                    // A row whose default is the very key that went refers to it still.
                    refuse(standing, constraint, scope, &old, true).await
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
    let shape = shape_of(table, "");
    let names = BindingNames::new(standing);
    let mut scalars = Vec::with_capacity(set.len());
    for column in set.iter().filter_map(|id| shape.columns.iter().find(|column| column.id == *id)) {
        scalars.push(kalamdb_sql::bind::bind_column_default(column, &names)?);
    }
    let values = valid::values(standing);
    let program = write::program(&scalars, &[], &values)?;
    program.evaluate(&program.rows(Vec::new(), count)?)
}

/// New referenced values as the referencing columns take them.
fn assigned(standing: &mut Standing, constraint: &Constraint, new: &[Datum]) -> Result<Vec<Datum>> {
    if constraint.parent_types() == constraint.child_types() {
        return Ok(new.to_vec());
    }
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
