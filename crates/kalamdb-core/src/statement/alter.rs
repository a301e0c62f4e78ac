//! ALTER TABLE.
//!
//! Under the table's exclusive lock the definition is changed step by step, in PostgreSQL's order of actions; the
//! statement as a whole makes one new schema version. No row is rewritten for a column that comes or goes: rows hold
//! their columns by number, numbers are never given twice, and a row or segment that is older than a column reads its
//! `missing` value. Only two things touch rows: a default that differs from row to row, and a change of the key by
//! which rows lie.

use super::prepared::{BindingNames, shape_of};
use super::table::{
    apply_option, check_column_count, check_column_name, column_of, default_of, default_text, is_system_column,
    lock_with, not_in_use, owned, set_key, shown,
};
use super::{Outcome, constraint, foreign_key, generated, index, query, references, rewrite, sequence};
use crate::depend::{Object, dependents};
use crate::error;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{
    ColumnId, ColumnName, Datum, Oid, PgType, Result, SqlError, SqlState, TableId, TableName, TableType, clock,
};
use kalamdb_sql::bind::bound::Scalar;
use kalamdb_sql::bind::{self, Purpose, RowExpression, walk};
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::statement::{
    AlterAction, AlterIndexAction, AlterTable, AlterViewAction, ColumnSpec, ConstraintSpec, SequenceOption,
};
use kalamdb_store::catalog::Named;
use kalamdb_store::{
    Change, ColumnDef, ConstraintTiming, ForeignKeyDef, IndexKeyPart, IndexMethod, KeyDef, StoreError, TableDef,
    TableLockMode,
};
use std::sync::Arc;

/// ALTER TABLE
///
/// # Errors
/// 42501, 42P01, 42P07, 42701, 42703, 42704, 42P16, 23502, 23505, 55006, 40001, and 0A000 for what is not supported.
pub(super) async fn run(standing: &mut Standing, alter: &AlterTable) -> Result<Outcome> {
    standing.writable("ALTER TABLE")?;
    let Some(table) = lock_with(standing, &alter.name, lock_mode(&alter.actions)).await? else {
        if let ([AlterAction::Rename { to }], Some(Named::Index(..))) =
            (alter.actions.as_slice(), index::find(standing, &alter.name))
        {
            let rename = AlterIndexAction::Rename(to.clone());
            index::alter(standing, &alter.name, alter.if_exists, &rename).await?;
            return done();
        }
        if let Some(Named::View(_)) = index::find(standing, &alter.name) {
            return of_view(standing, alter).await;
        }
        if let ([AlterAction::Rename { to }], Some(Named::Sequence(_))) =
            (alter.actions.as_slice(), index::find(standing, &alter.name))
        {
            sequence::rename(standing, &alter.name, to).await?;
            return done();
        }
        if alter.if_exists {
            standing.notice(format!("relation \"{}\" does not exist, skipping", alter.name.name));
            return done();
        }
        return Err(error::no_relation(shown(&alter.name)));
    };
    owned(standing, &table, |is_owner| AdminAction::AlterTable { is_owner })?;
    not_in_use(standing, &table, "ALTER TABLE")?;
    for action in &alter.actions {
        check_supported(&table, action)?;
    }
    let mut table = (*table).clone();
    table.schema_version += 1;
    table.updated_at = clock::now_us();
    // From here on the table is one that this transaction changes: rows are written for the published version.
    standing.transaction().define(Change::PutTable(table.clone()))?;
    let mut work = Work { table, must_hold: Vec::new(), with_columns: Vec::new(), to_validate: Vec::new() };
    let ordered = in_order(&alter.actions);
    // All columns that get another type get it at once, from the rows as they are.
    let is_retype = |action: &&AlterAction| matches!(action, AlterAction::SetType { .. });
    let retypes: Vec<&AlterAction> = ordered.iter().copied().filter(is_retype).collect();
    let mut is_retyped = retypes.is_empty();
    for action in ordered {
        if !is_retyped && place(action) >= 1 {
            is_retyped = true;
            work.set_types(standing, &retypes).await?;
        }
        if place(action) >= CONSTRAINTS {
            work.constrain_columns(standing).await?;
        }
        work.act(standing, action).await?;
        standing.transaction().define(Change::PutTable(work.table.clone()))?;
    }
    work.constrain_columns(standing).await?;
    standing.transaction().define(Change::PutTable(work.table.clone()))?;
    let may_hold_null = |column: &ColumnDef| !column.not_null && column.domain.is_none();
    work.must_hold.retain(|id| work.table.column(*id).is_some_and(|column| !column.dropped && !may_hold_null(column)));
    let table = Arc::new(work.table);
    rewrite::check_filled(standing, &table, &work.must_hold).await?;
    constraint::validate_checks(standing, &table, &work.to_validate).await?;
    references::validate(standing, &table, &work.to_validate).await?;
    done()
}

/// Drops a column that goes with something else, and all that depends on it.
///
/// # Errors
/// 55006, and those of locks and the store.
pub(super) async fn drop_fallen(standing: &mut Standing, table: TableId, column: ColumnId) -> Result<()> {
    let Some(table) = standing.catalog().table(table).cloned() else { return Ok(()) };
    // It may have gone with another.
    let Some(name) = table.live_columns().find(|other| other.id == column).map(|column| column.name.to_string()) else {
        return Ok(());
    };
    not_in_use(standing, &table, "ALTER TABLE")?;
    let table = (*table).clone();
    let mut work = Work { table, must_hold: Vec::new(), with_columns: Vec::new(), to_validate: Vec::new() };
    work.drop_column(standing, &name, true, true).await?;
    // Rows under another key are written against the version that others know.
    work.table.schema_version += 1;
    work.table.updated_at = clock::now_us();
    standing.transaction().define(Change::PutTable(work.table))?;
    Ok(())
}

/// ALTER TABLE of a view: what ALTER VIEW does, too.
async fn of_view(standing: &mut Standing, alter: &AlterTable) -> Result<Outcome> {
    let action = match alter.actions.as_slice() {
        [AlterAction::Rename { to }] => AlterViewAction::Rename(to.clone()),
        [AlterAction::RenameColumn { name, to }] => {
            AlterViewAction::RenameColumn { column: name.clone(), to: to.clone() }
        }
        [AlterAction::SetOptions(options)] => AlterViewAction::Set(options.clone()),
        [AlterAction::Owner { to }] => AlterViewAction::Owner(to.clone()),
        [AlterAction::SetSchema { to }] => AlterViewAction::SetSchema(to.clone()),
        [AlterAction::Unsupported(subject), ..] => return Err(SqlError::unsupported(subject)),
        actions => {
            let action = actions.first().map_or("", AlterAction::words);
            let message = format!("ALTER action {action} cannot be performed on relation \"{}\"", alter.name.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
                .with_detail("This operation is not supported for views."));
        }
    };
    super::view::alter(standing, &alter.name, alter.if_exists, &action).await?;
    done()
}

/// Readers go on while rows are looked at for a foreign key that comes or a constraint that is validated, as they do while
/// an index is made; writers wait.
fn lock_mode(actions: &[AlterAction]) -> TableLockMode {
    let lets_read = |action: &AlterAction| {
        matches!(
            action,
            AlterAction::AddConstraint(ConstraintSpec::ForeignKey(_)) | AlterAction::ValidateConstraint { .. }
        )
    };
    match actions.iter().all(lets_read) {
        true => TableLockMode::ShareRowExclusive,
        false => TableLockMode::AccessExclusive,
    }
}

fn done() -> Result<Outcome> {
    Ok(Outcome::Command("ALTER TABLE".to_string()))
}

/// What is refused before anything is done.
fn check_supported(table: &TableDef, action: &AlterAction) -> Result<()> {
    match action {
        AlterAction::Unsupported(subject) => Err(SqlError::unsupported(subject)),
        AlterAction::Rename { .. }
        | AlterAction::SetOptions(_)
        | AlterAction::Owner { .. }
        | AlterAction::SetSchema { .. } => Ok(()),
        _ if table.kind == TableType::Stream => Err(SqlError::unsupported("ALTER of the columns of a STREAM table")),
        _ => Ok(()),
    }
}

/// Where the constraints stand that no index is behind.
const CONSTRAINTS: u8 = 4;

/// When PostgreSQL takes an action: what goes, columns that come, their attributes, keys, other constraints and
/// defaults. A key that is declared with its column comes with it.
fn place(action: &AlterAction) -> u8 {
    match action {
        AlterAction::DropColumn { .. }
        | AlterAction::DropConstraint { .. }
        | AlterAction::SetDefault { default: None, .. }
        | AlterAction::DropNotNull { .. }
        | AlterAction::DropIdentity { .. }
        | AlterAction::DropExpression { .. } => 0,
        AlterAction::SetType { .. } | AlterAction::AddColumn { .. } => 1,
        AlterAction::SetNotNull { .. } => 2,
        AlterAction::AddPrimaryKey { .. } | AlterAction::AddPrimaryKeyUsing { .. } | AlterAction::AddUnique(_) => 3,
        AlterAction::SetDefault { .. }
        | AlterAction::AddConstraint(_)
        | AlterAction::AddIdentity { .. }
        | AlterAction::SetIdentity { .. } => CONSTRAINTS,
        AlterAction::ValidateConstraint { .. }
        | AlterAction::AlterConstraint { .. }
        | AlterAction::RenameColumn { .. }
        | AlterAction::RenameConstraint { .. }
        | AlterAction::Rename { .. }
        | AlterAction::Owner { .. }
        | AlterAction::SetSchema { .. }
        | AlterAction::SetOptions(_)
        | AlterAction::Unsupported(_) => 5,
    }
}

fn in_order(actions: &[AlterAction]) -> Vec<&AlterAction> {
    let mut ordered: Vec<&AlterAction> = actions.iter().collect();
    ordered.sort_by_key(|action| place(action));
    ordered
}

/// Whether every text of the one type is one of the other as it is.
fn is_wider_text(old: PgType, new: PgType) -> bool {
    use kalamdb_commons::SqlType::{Text, Varchar};
    match (old.ty, new.ty) {
        (Text | Varchar, Text) => true,
        (Text, Varchar) => new.typmod < 0,
        (Varchar, Varchar) => new.typmod < 0 || (old.typmod >= 0 && old.typmod <= new.typmod),
        _ => false,
    }
}

/// The table as far as the statement has changed it.
struct Work {
    table: TableDef,
    /// Columns that must turn out to hold no NULL when all is done.
    must_hold: Vec<ColumnId>,
    /// Constraints that were declared with columns which came: they may name columns that came later.
    with_columns: Vec<ConstraintSpec>,
    /// Constraints that every row must turn out to satisfy.
    to_validate: Vec<Oid>,
}

impl Work {
    async fn act(&mut self, standing: &mut Standing, action: &AlterAction) -> Result<()> {
        match action {
            AlterAction::AddColumn { column, if_not_exists, key, uniques, constraints } => {
                if !self.add_column(standing, column, *if_not_exists).await? {
                    return Ok(());
                }
                if let Some(AlterAction::AddPrimaryKey { name, columns }) = key.as_deref() {
                    self.add_primary_key(standing, name.as_deref(), columns).await?;
                }
                if !uniques.is_empty() {
                    standing.transaction().define(Change::PutTable(self.table.clone()))?;
                }
                for unique in uniques {
                    index::add_unique(standing, &mut self.table, unique, true).await?;
                }
                self.with_columns.extend(constraints.iter().cloned());
                Ok(())
            }
            AlterAction::DropColumn { name, if_exists, cascade } => {
                self.drop_column(standing, name, *if_exists, *cascade).await
            }
            AlterAction::AddPrimaryKey { name, columns } => {
                self.add_primary_key(standing, name.as_deref(), columns).await
            }
            AlterAction::AddUnique(unique) => index::add_unique(standing, &mut self.table, unique, false).await,
            AlterAction::AddPrimaryKeyUsing { name, index } => {
                self.refuse_second_key()?;
                let before = Arc::new(self.table.clone());
                let (name, columns, index) =
                    index::key_from_index(standing, &mut self.table, name.as_deref(), index).await?;
                set_key(standing, &mut self.table, name, &columns)?;
                if let Some(key) = &mut self.table.primary_key {
                    // Foreign keys may stand on it.
                    key.index = index;
                }
                rewrite::rekey(standing, &before, &Arc::new(self.table.clone())).await
            }
            AlterAction::DropConstraint { name, if_exists, cascade } => {
                self.drop_constraint(standing, name, *if_exists, *cascade).await
            }
            AlterAction::AddConstraint(spec) => self.add_constraint(standing, spec).await,
            AlterAction::ValidateConstraint { name } => self.validate_constraint(name),
            AlterAction::AlterConstraint { name, deferrable, deferred } => {
                self.alter_constraint(name, *deferrable, *deferred)
            }
            AlterAction::SetDefault { name, default } => {
                self.set_default(standing, name, default.as_ref().map(|(_, text)| text))
            }
            AlterAction::AddIdentity { name, identity } => {
                let column = self.column_mut(name)?.clone();
                generated::add_identity(standing, &mut self.table, &column, identity).await
            }
            AlterAction::SetIdentity { name, always, options } => {
                let column = self.column_mut(name)?.clone();
                generated::set_identity(standing, &mut self.table, &column, *always, options).await
            }
            AlterAction::DropIdentity { name, if_exists } => {
                let column = self.column_mut(name)?.clone();
                generated::drop_identity(standing, &mut self.table, &column, *if_exists).await
            }
            AlterAction::DropExpression { name, if_exists } => {
                let column = self.column_mut(name)?.clone();
                generated::drop_expression(standing, &mut self.table, &column, *if_exists)
            }
            AlterAction::SetNotNull { name } => {
                let column = self.column_mut(name)?;
                column.not_null = true;
                let id = column.id;
                self.must_hold.push(id);
                Ok(())
            }
            AlterAction::DropNotNull { name } => self.drop_not_null(name),
            AlterAction::RenameColumn { name, to } => self.rename_column(standing, name, to),
            AlterAction::RenameConstraint { name, to } => self.rename_constraint(standing, name, to).await,
            AlterAction::Rename { to } => self.rename(standing, to).await,
            AlterAction::SetOptions(options) => self.set_options(options),
            // Done before, all at once.
            AlterAction::SetType { .. } => Ok(()),
            AlterAction::Owner { to } => self.set_owner(standing, to.as_deref()),
            AlterAction::SetSchema { to } => self.set_schema(standing, to).await,
            AlterAction::Unsupported(subject) => Err(SqlError::unsupported(subject)),
        }
    }

    /// ALTER COLUMN … TYPE: the rows are written anew, all of them.
    async fn set_types(&mut self, standing: &mut Standing, actions: &[&AlterAction]) -> Result<()> {
        let before = Arc::new(self.table.clone());
        let mut values = Vec::with_capacity(actions.len());
        for action in actions {
            let AlterAction::SetType { name, ty, using } = action else { continue };
            let id = self.column_mut(name)?.id;
            if values.iter().any(|(known, _)| *known == id) {
                let message = format!("cannot alter type of column \"{name}\" twice");
                return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            let meant = super::user_type::meaning(standing, ty)?;
            values.push((id, self.set_type(standing, &before, name, meant, using.as_deref())?));
        }
        self.retype_parts(standing, &values.iter().map(|(id, _)| *id).collect::<Vec<_>>())?;
        // Only the name of the type changes: what rows hold stays.
        let is_same = |id: &ColumnId| match (before.column(*id), self.table.column(*id)) {
            (Some(old), Some(new)) => new.domain.is_none() && is_wider_text(old.ty, new.ty),
            _ => false,
        };
        let is_plain = actions.iter().all(|action| matches!(action, AlterAction::SetType { using: None, .. }));
        if is_plain && values.iter().all(|(id, _)| is_same(id)) {
            return Ok(());
        }
        for (id, _) in &values {
            if let Some(column) = self.table.columns.iter_mut().find(|column| column.id == *id) {
                column.missing = Datum::Null;
            }
        }
        standing.transaction().define(Change::PutTable(self.table.clone()))?;
        rewrite::retype(standing, &before, &Arc::new(self.table.clone()), values).await
    }

    /// Gives one column its new type in the definition; what its values become.
    fn set_type(
        &mut self,
        standing: &mut Standing,
        before: &Arc<TableDef>,
        name: &str,
        (ty, domain): (PgType, Option<Oid>),
        using: Option<&str>,
    ) -> Result<RowExpression> {
        if ty.ty.facts().kind == 'p' {
            let message = format!("column \"{name}\" has pseudo-type {ty}");
            return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        let id = self.column_mut(name)?.id;
        let catalog = standing.transaction().newest_catalog();
        let names = BindingNames::new(standing);
        let found = dependents(&catalog, Object::Column(self.table.id, id));
        let view = found.iter().find_map(|(object, _)| match object {
            Object::View(view) => Some((*object, *view)),
            _ => None,
        });
        if let Some((object, view)) = view {
            if !standing.transaction().sees_newest(view) {
                return Err(StoreError::SchemaChanged(view).into());
            }
            let view = object.description(&catalog, &standing.names());
            let message = "cannot alter type of a column used by a view or rule";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_detail(format!("rule _RETURN on {view} depends on column \"{name}\"")));
        }
        let refers = |key: &ForeignKeyDef| key.columns.contains(&id);
        let is_referred = |key: &ForeignKeyDef| key.parent == self.table.id && key.parent_columns.contains(&id);
        if self.table.foreign_keys.iter().any(refers)
            || catalog.referencing(self.table.id).any(|child| child.foreign_keys.iter().any(is_referred))
        {
            return Err(SqlError::unsupported("ALTER COLUMN … TYPE of a column of a foreign key")
                .with_hint("Drop the foreign key, alter the column, and add the foreign key again."));
        }
        let shape = shape_of(before, "");
        if let Some(reader) = generated::readers(standing, &self.table, id)?.first() {
            let reader = self.table.column(*reader).map(|column| column.name.to_string()).unwrap_or_default();
            let message = "cannot alter type of a column used by a generated column";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_detail(format!("Column \"{name}\" is used by generated column \"{reader}\".")));
        }
        let is_generated = self.column_mut(name)?.generated.is_some();
        if is_generated && using.is_some() {
            let message = "cannot specify USING when altering type of generated column";
            return Err(SqlError::new(SqlState::INVALID_COLUMN_DEFINITION, message)
                .with_detail(format!("Column \"{name}\" is a generated column.")));
        }
        let named = |error: SqlError| bind::named(error, &names);
        let value = bind::bind_transform(using, name, (ty, domain), &shape, &names).map_err(named)?;
        let is_key = self.table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&id));
        if is_key {
            index::require_default_class(IndexMethod::Btree, ty.ty)?;
        }
        if is_key && kalamdb_store::codec::key::check_type(ty.ty).is_err() {
            return Err(SqlError::unsupported(format!("a primary key column of type {ty}")));
        }
        let mut column = self.column_mut(name)?.clone();
        if let Some(text) = &column.default {
            // The default of the old type, assigned to the new one.
            let text = super::table::default_text(standing, text, name, column.ty)?;
            let error = |error: SqlError| match error.state() {
                SqlState::DATATYPE_MISMATCH => {
                    let message = format!(
                        "default for column \"{name}\" cannot be cast automatically to type {}",
                        PgType::new(ty.ty)
                    );
                    SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                }
                _ => error,
            };
            bind::bind_default(&text, name, ty, &names).map_err(error).map_err(named)?;
            column.default = Some(text);
        }
        if let Some(text) = &column.generated {
            let error = |error: SqlError| match error.state() {
                SqlState::DATATYPE_MISMATCH => {
                    let message = format!(
                        "generation expression for column \"{name}\" cannot be cast automatically to type {}",
                        PgType::new(ty.ty)
                    );
                    SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                }
                _ => error,
            };
            bind::bind_generated(text, name, ty, &shape, &names).map_err(error).map_err(named)?;
        }
        if let Some(identity) = &column.identity
            && let Some(def) = catalog.sequence(identity.sequence)
        {
            let changed = sequence::changed(standing, def, &[SequenceOption::As(ty)])?;
            standing.transaction().define(Change::PutSequence(changed))?;
        }
        column.ty = ty;
        column.domain = domain;
        *self.column_mut(name)? = column;
        if domain.and_then(|oid| standing.names().domain(oid)).is_some_and(|facts| facts.not_null) {
            self.must_hold.push(id);
        }
        Ok(value)
    }

    /// Expressions over the columns that got another type are read again.
    fn retype_parts(&mut self, standing: &Standing, columns: &[ColumnId]) -> Result<()> {
        let names = BindingNames::new(standing);
        let shape = shape_of(&self.table, "");
        let called = |id: ColumnId| shape.columns.iter().find(|column| column.id == id).map(|c| c.name.clone());
        for def in &mut self.table.indexes {
            for key in &mut def.keys {
                match &mut key.what {
                    IndexKeyPart::Expression { text, ty } => {
                        *text = bind::canonical_row(text, &shape, Purpose::IndexKey, &called, &names)?;
                        let now = bind::bind_row(text, &shape, Purpose::IndexKey, &names)?.scalar.ty();
                        if now.ty != ty.ty {
                            index::require_default_class(def.method, now.ty)?;
                        }
                        *ty = now;
                    }
                    IndexKeyPart::Column(id) if columns.contains(id) => {
                        let ty = shape.columns.iter().find(|column| column.id == *id).map(|column| column.ty.ty);
                        ty.map_or(Ok(()), |ty| index::require_default_class(def.method, ty))?;
                        key.class = None;
                    }
                    IndexKeyPart::Column(_) => {}
                }
            }
            if let Some(text) = &mut def.predicate {
                *text = bind::canonical_row(text, &shape, Purpose::IndexPredicate, &called, &names)?;
            }
        }
        for check in &mut self.table.checks {
            if check.columns.iter().any(|id| columns.contains(id)) {
                check.expression = bind::canonical_row(&check.expression, &shape, Purpose::Check, &called, &names)?;
                if check.validated {
                    self.to_validate.push(check.id);
                }
            }
        }
        Ok(())
    }

    /// OWNER TO
    fn set_owner(&mut self, standing: &Standing, to: Option<&str>) -> Result<()> {
        let what = format!("table {}", self.table.name);
        self.table.owner = super::table::new_owner(standing, to, self.table.owner, &what)?;
        Ok(())
    }

    /// SET SCHEMA: the table with its indexes.
    async fn set_schema(&mut self, standing: &mut Standing, to: &str) -> Result<()> {
        let from = self.table.namespace;
        let names: Vec<String> = std::iter::once(self.table.name.to_string())
            .chain(self.table.index_names().map(|(name, _)| name.to_string()))
            .collect();
        for name in names {
            let namespace = super::view::move_to(standing, from, to, &name).await?;
            if namespace == from {
                return Ok(());
            }
            self.table.namespace = namespace;
        }
        Ok(())
    }

    fn missing_column(&self, name: &str) -> SqlError {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.table.name);
        SqlError::new(SqlState::UNDEFINED_COLUMN, message)
    }

    fn existing_column(&self, name: &str) -> String {
        format!("column \"{name}\" of relation \"{}\" already exists", self.table.name)
    }

    /// The column that an ALTER COLUMN names.
    fn column_mut(&mut self, name: &str) -> Result<&mut ColumnDef> {
        if is_system_column(name) {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cannot alter system column \"{name}\""),
            ));
        }
        let missing = self.missing_column(name);
        let live = self.table.columns.iter_mut().filter(|column| !column.dropped);
        live.into_iter().find(|column| column.name.as_str() == name).ok_or(missing)
    }

    /// ADD COLUMN; whether it came.
    async fn add_column(&mut self, standing: &mut Standing, spec: &ColumnSpec, if_not_exists: bool) -> Result<bool> {
        if self.table.column_by_name(&spec.name).is_some() {
            let message = self.existing_column(&spec.name);
            if if_not_exists {
                standing.notice(format!("{message}, skipping"));
                return Ok(false);
            }
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        check_column_count(self.table.columns.len() + 1)?;
        let last = self.table.columns.iter().map(|column| column.id.0).max().unwrap_or(0);
        let mut column = column_of(standing, spec, ColumnId(last + 1))?;
        let id = column.id;
        let domain = column.domain.and_then(|oid| standing.names().domain(oid));
        let default = match column.default.as_ref().or(domain.as_ref().and_then(|domain| domain.default.as_ref())) {
            Some(text) => default_of(standing, text, &spec.name, column.ty)?,
            None => None,
        };
        let mut each = None;
        match default {
            Some(default) if walk::is_volatile(&default) => each = Some(default),
            // As PostgreSQL's attmissingval: evaluated now, once.
            Some(default) => {
                column.missing = query::constants(standing, &[default])?.pop().unwrap_or_default();
            }
            None => {}
        }
        let missing = Scalar::Const(column.missing.clone(), column.ty);
        let is_judged = domain.as_ref().is_some_and(|domain| domain.not_null || !domain.checks.is_empty());
        let judging = column.domain.filter(|_| is_judged && spec.generated.is_none());
        self.table.columns.push(column);
        if let Some(domain) = judging {
            match each.take() {
                Some(default) => each = Some(bind::judged(default, domain, &BindingNames::new(standing))?),
                None if rewrite::has_rows(standing, &Arc::new(self.table.clone())).await? => {
                    let judged = bind::judged(missing, domain, &BindingNames::new(standing))?;
                    query::constants(standing, &[judged])?;
                }
                None => {}
            }
        }
        if let Some((text, place)) = &spec.generated {
            let column = self.column_mut(&spec.name)?.clone();
            let text = generated::expression(standing, &self.table, &column, text, *place)?;
            self.column_mut(&spec.name)?.generated = Some(text);
            each = Some(Scalar::Const(Datum::Null, column.ty));
        }
        if spec.serial || spec.identity.is_some() {
            generated::give_sequence(standing, &mut self.table, id, spec.identity.as_ref()).await?;
            let text = self.column_mut(&spec.name)?.clone();
            let ty = text.ty;
            let text =
                text.identity.as_ref().map(crate::system::binding::default_of).or(text.default).unwrap_or_default();
            each = default_of(standing, &text, &spec.name, ty)?;
        }
        if let Some(default) = each {
            standing.transaction().define(Change::PutTable(self.table.clone()))?;
            rewrite::fill(standing, &Arc::new(self.table.clone()), id, default).await?;
        }
        if spec.not_null || domain.is_some_and(|domain| domain.not_null) {
            self.must_hold.push(id);
        }
        Ok(true)
    }

    async fn drop_column(&mut self, standing: &mut Standing, name: &str, if_exists: bool, cascade: bool) -> Result<()> {
        let Some(id) = self.table.column_by_name(name).map(|column| column.id) else {
            if is_system_column(name) {
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("cannot drop system column \"{name}\""),
                ));
            }
            let missing = self.missing_column(name);
            if if_exists {
                standing.notice(format!("{}, skipping", missing.message()));
                return Ok(());
            }
            return Err(missing);
        };
        super::drop::dependents(standing, &[Object::Column(self.table.id, id)], cascade).await?;
        // Defaults of other columns may have gone with a sequence of this one.
        if let Some(now) = standing.catalog().table(self.table.id).cloned() {
            for column in &mut self.table.columns {
                if now.column(column.id).is_some_and(|now| now.default.is_none()) {
                    column.default = None;
                }
            }
        }
        self.table.foreign_keys.retain(|key| !key.columns.contains(&id));
        let what = format!("column {name} of table {}", self.shown_name(standing));
        let test = |key: &ForeignKeyDef| {
            let index = self.table.index(key.parent_index);
            key.parent_columns.contains(&id) || index.is_some_and(|index| index.is_over(id))
        };
        let found = self.dependents(standing, &what, test);
        foreign_key::drop_dependents(standing, Some(&what), found, cascade, Some(&mut self.table)).await?;
        if self.table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&id)) {
            // PostgreSQL: a key goes with any of its columns.
            self.drop_primary_key(standing).await?;
        }
        self.drop_readers(standing, id, cascade)?;
        index::drop_with_column(standing, &mut self.table, id)?;
        self.table.checks.retain(|check| !check.columns.contains(&id));
        super::comment::forget_column(standing, self.table.id, id)?;
        if let Some(column) = self.table.columns.iter_mut().find(|column| column.id == id) {
            column.dropped = true;
            column.not_null = false;
            column.default = None;
            column.identity = None;
            column.generated = None;
            column.missing = Datum::Null;
        }
        Ok(())
    }

    /// The generated columns that read a column go with it.
    fn drop_readers(&mut self, standing: &mut Standing, id: ColumnId, cascade: bool) -> Result<()> {
        let readers = generated::readers(standing, &self.table, id)?;
        let before = self.table.clone();
        let name = |id: &ColumnId| before.column(*id).map(|column| column.name.to_string()).unwrap_or_default();
        if !readers.is_empty() && !cascade {
            let (table, column) = (&before.name, name(&id));
            let lines = readers.iter().map(|reader| {
                format!("column {} of table {table} depends on column {column} of table {table}", name(reader))
            });
            let message = format!("cannot drop column {column} of table {table} because other objects depend on it");
            return Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                .with_detail(lines.collect::<Vec<_>>().join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        for reader in readers {
            standing.notice(format!("drop cascades to column {} of table {}", name(&reader), self.table.name));
            index::drop_with_column(standing, &mut self.table, reader)?;
            if let Some(column) = self.table.columns.iter_mut().find(|column| column.id == reader) {
                column.dropped = true;
                column.not_null = false;
                column.generated = None;
                column.missing = Datum::Null;
            }
        }
        Ok(())
    }

    async fn add_primary_key(&mut self, standing: &mut Standing, name: Option<&str>, columns: &[String]) -> Result<()> {
        self.refuse_second_key()?;
        let name = match name {
            Some(name) => {
                self.claim_name(standing, name).await?;
                name.to_string()
            }
            None => index::choose_name(standing, &self.table, &[], "pkey").await?,
        };
        let before = Arc::new(self.table.clone());
        set_key(standing, &mut self.table, name, columns)?;
        rewrite::rekey(standing, &before, &Arc::new(self.table.clone())).await
    }

    fn refuse_second_key(&self) -> Result<()> {
        if self.table.primary_key.is_some() {
            return Err(SqlError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("multiple primary keys for table \"{}\" are not allowed", self.table.name),
            ));
        }
        Ok(())
    }

    /// Rows without a key lie by hidden row ids, so each gets one. The columns stay NOT NULL, as in PostgreSQL.
    async fn drop_primary_key(&mut self, standing: &mut Standing) -> Result<()> {
        let before = Arc::new(self.table.clone());
        self.table.primary_key = None;
        rewrite::rekey(standing, &before, &Arc::new(self.table.clone())).await
    }

    /// The place of the index behind a UNIQUE constraint.
    fn unique_named(&self, name: &str) -> Option<usize> {
        self.table.indexes.iter().position(|index| index.constraint.is_some() && index.name == name)
    }

    /// The key, if it has this name.
    fn key_named(&mut self, name: &str) -> Option<&mut KeyDef> {
        self.table.primary_key.as_mut().filter(|key| key.name == name)
    }

    async fn drop_constraint(
        &mut self,
        standing: &mut Standing,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<()> {
        if let Some(key) = self.key_named(name) {
            let index = key.index;
            self.drop_references(standing, name, index, cascade).await?;
            return self.drop_primary_key(standing).await;
        }
        if let Some(at) = self.unique_named(name) {
            let index = self.table.indexes[at].id;
            self.drop_references(standing, name, index, cascade).await?;
            self.table.indexes.retain(|known| known.id != index);
            return Ok(());
        }
        if let Some(at) = self.table.foreign_keys.iter().position(|key| key.name == name) {
            self.table.foreign_keys.remove(at);
            return Ok(());
        }
        if let Some(at) = self.table.checks.iter().position(|check| check.name == name) {
            self.table.checks.remove(at);
            return Ok(());
        }
        let missing = self.missing_constraint(name);
        if if_exists {
            standing.notice(format!("{}, skipping", missing.message()));
            return Ok(());
        }
        Err(missing)
    }

    fn shown_name(&self, standing: &Standing) -> String {
        standing.names().relation_name(self.table.id.0).unwrap_or_else(|| self.table.name.to_string())
    }

    /// The foreign keys that go with what is dropped, unless they stand or fall with it anyway.
    fn dependents(
        &self,
        standing: &mut Standing,
        on: &str,
        test: impl Fn(&ForeignKeyDef) -> bool,
    ) -> foreign_key::Dependents {
        let is_here = |dependent: &foreign_key::Dependent| {
            dependent.table != self.table.id || self.table.foreign_keys.iter().any(|key| key.id == dependent.key.id)
        };
        let found = foreign_key::dependents(standing, self.table.id, &[], test);
        found.into_iter().filter(is_here).map(|dependent| (dependent, on.to_string())).collect()
    }

    /// What refers to a key that is dropped goes with CASCADE alone.
    async fn drop_references(&mut self, standing: &mut Standing, name: &str, index: Oid, cascade: bool) -> Result<()> {
        let what = format!("constraint {name} on table {}", self.shown_name(standing));
        let found = self.dependents(standing, &format!("index {name}"), |key| key.parent_index == index);
        foreign_key::drop_dependents(standing, Some(&what), found, cascade, Some(&mut self.table)).await
    }

    fn missing_constraint(&self, name: &str) -> SqlError {
        let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", self.table.name);
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
    }

    /// CHECK and FOREIGN KEY, said with columns that came.
    async fn constrain_columns(&mut self, standing: &mut Standing) -> Result<()> {
        for spec in std::mem::take(&mut self.with_columns) {
            self.add_constraint(standing, &spec).await?;
        }
        Ok(())
    }

    async fn add_constraint(&mut self, standing: &mut Standing, spec: &ConstraintSpec) -> Result<()> {
        match spec {
            ConstraintSpec::Check(check) => {
                let id = constraint::add_check(standing, &mut self.table, check, false)?;
                if !check.not_valid {
                    self.to_validate.push(id);
                }
                Ok(())
            }
            ConstraintSpec::ForeignKey(key) => {
                let id = foreign_key::add(standing, &mut self.table, key, false).await?;
                if !key.not_valid {
                    self.to_validate.push(id);
                }
                standing.transaction().define(Change::PutTable(self.table.clone()))?;
                Ok(())
            }
        }
    }

    fn validate_constraint(&mut self, name: &str) -> Result<()> {
        if let Some(check) = self.table.checks.iter_mut().find(|check| check.name == name) {
            if !check.validated {
                check.validated = true;
                self.to_validate.push(check.id);
            }
            return Ok(());
        }
        if let Some(key) = self.table.foreign_keys.iter_mut().find(|key| key.name == name) {
            if !key.validated {
                key.validated = true;
                self.to_validate.push(key.id);
            }
            return Ok(());
        }
        if constraint::names(&self.table).any(|known| known == name) {
            let message = format!(
                "constraint \"{name}\" of relation \"{}\" is not a foreign key or check constraint",
                self.table.name
            );
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        Err(self.missing_constraint(name))
    }

    fn alter_constraint(&mut self, name: &str, deferrable: bool, deferred: bool) -> Result<()> {
        if let Some(key) = self.table.foreign_keys.iter_mut().find(|key| key.name == name) {
            key.timing = match (deferrable, deferred) {
                (false, _) => ConstraintTiming::Immediate,
                (true, false) => ConstraintTiming::Deferrable,
                (true, true) => ConstraintTiming::Deferred,
            };
            return Ok(());
        }
        if constraint::names(&self.table).any(|known| known == name) {
            let message =
                format!("constraint \"{name}\" of relation \"{}\" is not a foreign key constraint", self.table.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        Err(self.missing_constraint(name))
    }

    fn set_default(&mut self, standing: &Standing, name: &str, default: Option<&String>) -> Result<()> {
        let column = self.column_mut(name)?.clone();
        generated::refuse_default(&self.table, &column, default.is_none())?;
        let column = self.column_mut(name)?;
        column.default = match default {
            Some(text) => default_of(standing, text, name, column.ty)?
                .map(|_| default_text(standing, text, name, column.ty))
                .transpose()?,
            None => None,
        };
        Ok(())
    }

    fn drop_not_null(&mut self, name: &str) -> Result<()> {
        let id = self.column_mut(name)?.id;
        if self.table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&id)) {
            let message = format!("column \"{name}\" is in a primary key");
            return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        if self.column_mut(name)?.identity.is_some() {
            let message = format!("column \"{name}\" of relation \"{}\" is an identity column", self.table.name);
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
        }
        self.column_mut(name)?.not_null = false;
        Ok(())
    }

    fn rename_column(&mut self, standing: &Standing, name: &str, to: &str) -> Result<()> {
        if is_system_column(name) {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cannot rename system column \"{name}\""),
            ));
        }
        let Some(id) = self.table.column_by_name(name).map(|column| column.id) else {
            let message = format!("column \"{name}\" does not exist");
            return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
        };
        check_column_name(to)?;
        if self.table.column_by_name(to).is_some() {
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, self.existing_column(to)));
        }
        self.table.indexes = index::renamed_column(standing, &self.table, id, to)?;
        self.table.checks = constraint::renamed_column(standing, &self.table, id, to)?;
        generated::renamed_column(standing, &mut self.table, id, to)?;
        if let Some(column) = self.table.columns.iter_mut().find(|column| column.id == id) {
            column.name = ColumnName::new(to);
        }
        Ok(())
    }

    async fn rename_constraint(&mut self, standing: &mut Standing, name: &str, to: &str) -> Result<()> {
        if let Some(at) = self.table.checks.iter().position(|check| check.name == name) {
            constraint::check_name(&self.table, to)?;
            self.table.checks[at].name = to.to_string();
            return Ok(());
        }
        if let Some(at) = self.table.foreign_keys.iter().position(|key| key.name == name) {
            constraint::check_name(&self.table, to)?;
            self.table.foreign_keys[at].name = to.to_string();
            return Ok(());
        }
        if self.key_named(name).is_none() && self.unique_named(name).is_none() {
            let message = format!("constraint \"{name}\" for table \"{}\" does not exist", self.table.name);
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        }
        self.claim_name(standing, to).await?;
        if let Some(key) = self.key_named(name) {
            key.name = to.to_string();
        } else if let Some(at) = self.unique_named(name) {
            self.table.indexes[at].name = to.to_string();
        }
        Ok(())
    }

    async fn rename(&mut self, standing: &mut Standing, to: &str) -> Result<()> {
        self.claim_name(standing, to).await?;
        self.table.name = TableName::new(to);
        Ok(())
    }

    /// Locks a relation's new name, which must be free: of tables and of the keys' indexes.
    async fn claim_name(&self, standing: &mut Standing, name: &str) -> Result<()> {
        super::name::require(standing, self.table.namespace, name).await
    }

    fn set_options(&mut self, given: &[(String, String)]) -> Result<()> {
        let table = &mut self.table;
        for (name, value) in given {
            if name == "type" {
                return Err(SqlError::unsupported("changing the kind of a table"));
            }
            apply_option(table.kind, name, value, &mut table.access, &mut table.storage, &mut table.options)?;
        }
        Ok(())
    }
}
