//! CREATE, ALTER and DROP SEQUENCE, and what sequences have to do with the columns that they belong to.
//!
//! A definition is transactional as any other. Where a sequence stands is not: only RESTART is, since it gives the
//! sequence another place (a generation), which nobody else uses before COMMIT.

use super::query::lock_wait;
use super::table::{creation_namespace, find as find_table, may_create_in, shown};
use super::{Outcome, index, name};
use crate::depend::Object;
use crate::error;
use crate::resolve::permit;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{ColumnId, NamespaceId, Oid, Result, SqlError, SqlState, SqlType, TableId, TableName, UserId};
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::statement::{AlterSequenceAction, Name, SequenceOption};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Catalog, Change, SequenceDef, StoreError, TableDef, TableLockMode};
use std::sync::Arc;

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// CREATE SEQUENCE
///
/// # Errors
/// 42501, 42P07, 3F000, 22023, and those of OWNED BY.
pub(super) async fn create(
    standing: &mut Standing,
    name: &Name,
    if_not_exists: bool,
    options: &[SequenceOption],
) -> Result<Outcome> {
    standing.writable("CREATE SEQUENCE")?;
    let namespace = creation_namespace(standing, &Name { position: None, ..name.clone() })?;
    may_create_in(standing, &namespace)?;
    if !name::claim(standing, namespace.id, &name.name).await? {
        let taken = name::taken(&name.name);
        if if_not_exists {
            standing.notice(format!("{}, skipping", taken.message()));
            return done("CREATE SEQUENCE");
        }
        return Err(taken);
    }
    if options.iter().any(|option| matches!(option, SequenceOption::Name(_))) {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid sequence option SEQUENCE NAME"));
    }
    let mut def = new(standing, namespace.id, &name.name, options, false)?;
    if let Some(owner) = owner_of(options) {
        own(standing, &mut def, owner).await?;
    }
    standing.transaction().define(Change::PutSequence(def))?;
    done("CREATE SEQUENCE")
}

/// A new sequence with these options, but for OWNED BY.
///
/// # Errors
/// 22023
pub(super) fn new(
    standing: &Standing,
    namespace: NamespaceId,
    name: &str,
    options: &[SequenceOption],
    identity: bool,
) -> Result<SequenceDef> {
    let mut def = SequenceDef {
        id: TableId(standing.hall.store.allocate_oid()),
        namespace,
        name: TableName::new(name),
        owner: standing.identity.user,
        ty: SqlType::Int8,
        start: 1,
        increment: 1,
        min: 1,
        max: i64::MAX,
        cache: 1,
        cycle: false,
        owned_by: None,
        identity,
        generation: fresh_generation(standing),
        begins: (1, false),
    };
    let restart = declare(&mut def, options, true)?;
    def.begins = (restart.unwrap_or(def.start), false);
    check_place(&def, def.begins.0)?;
    Ok(def)
}

/// Generations are numbers of the server's one source of ids, so that none is ever met twice.
fn fresh_generation(standing: &Standing) -> u64 {
    standing.hall.snowflake.next() as u64
}

fn type_bounds(ty: SqlType) -> (i64, i64) {
    match ty {
        SqlType::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        SqlType::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

/// Reads options into a definition; RESTART's value.
fn declare(def: &mut SequenceDef, options: &[SequenceOption], is_new: bool) -> Result<Option<i64>> {
    let (mut reset_min, mut reset_max) = (false, false);
    for option in options {
        if let SequenceOption::As(ty) = option {
            if !matches!(ty.ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8) {
                let what = if def.identity { "identity column" } else { "sequence" };
                return Err(invalid(format!("{what} type must be smallint, integer, or bigint")));
            }
            // Bounds that were the old type's become the new one's.
            let (low, high) = type_bounds(def.ty);
            reset_min = !is_new && def.min == low;
            reset_max = !is_new && def.max == high;
            def.ty = ty.ty;
        }
    }
    let (mut min, mut max, mut start, mut restart) = (None, None, None, None);
    for option in options {
        match option {
            SequenceOption::Increment(0) => return Err(invalid("INCREMENT must not be zero".to_string())),
            SequenceOption::Increment(by) => def.increment = *by,
            SequenceOption::Cycle(cycle) => def.cycle = *cycle,
            SequenceOption::MinValue(value) => min = Some(*value),
            SequenceOption::MaxValue(value) => max = Some(*value),
            SequenceOption::Start(value) => start = Some(*value),
            SequenceOption::Restart(value) => restart = Some(*value),
            SequenceOption::Cache(value) if *value <= 0 => {}
            SequenceOption::Cache(value) => def.cache = *value,
            SequenceOption::As(_) | SequenceOption::OwnedBy(_) | SequenceOption::Name(_) => {}
        }
    }
    let (low, high) = type_bounds(def.ty);
    let out_of_range = |word: &str, value: i64| {
        invalid(format!("{word} ({value}) is out of range for sequence data type {}", def.ty.facts().sql_name))
    };
    let ascending = def.increment > 0;
    match max {
        Some(Some(value)) => def.max = value,
        None if !is_new && !reset_max => {}
        _ => def.max = if ascending || reset_max { high } else { -1 },
    }
    if !(low..=high).contains(&def.max) {
        return Err(out_of_range("MAXVALUE", def.max));
    }
    match min {
        Some(Some(value)) => def.min = value,
        None if !is_new && !reset_min => {}
        _ => def.min = if !ascending || reset_min { low } else { 1 },
    }
    if !(low..=high).contains(&def.min) {
        return Err(out_of_range("MINVALUE", def.min));
    }
    if def.min >= def.max {
        return Err(invalid(format!("MINVALUE ({}) must be less than MAXVALUE ({})", def.min, def.max)));
    }
    match start {
        Some(value) => def.start = value,
        None if is_new => def.start = if ascending { def.min } else { def.max },
        None => {}
    }
    if def.start < def.min {
        return Err(invalid(format!("START value ({}) cannot be less than MINVALUE ({})", def.start, def.min)));
    }
    if def.start > def.max {
        return Err(invalid(format!("START value ({}) cannot be greater than MAXVALUE ({})", def.start, def.max)));
    }
    let cache = options.iter().find_map(|option| match option {
        SequenceOption::Cache(value) if *value <= 0 => Some(*value),
        _ => None,
    });
    if let Some(value) = cache {
        return Err(invalid(format!("CACHE ({value}) must be greater than zero")));
    }
    Ok(restart.map(|value| value.unwrap_or(def.start)))
}

/// Where a sequence stands must be within its bounds.
fn check_place(def: &SequenceDef, last: i64) -> Result<()> {
    if last < def.min {
        return Err(invalid(format!("RESTART value ({last}) cannot be less than MINVALUE ({})", def.min)));
    }
    if last > def.max {
        return Err(invalid(format!("RESTART value ({last}) cannot be greater than MAXVALUE ({})", def.max)));
    }
    Ok(())
}

/// New options for a sequence that is locked; what it is then.
///
/// # Errors
/// 22023, and the store's.
pub(super) fn changed(standing: &Standing, def: &SequenceDef, options: &[SequenceOption]) -> Result<SequenceDef> {
    let mut changed = def.clone();
    let place = standing.hall.store.engine().sequence_place(def)?;
    match declare(&mut changed, options, false)? {
        Some(value) => {
            check_place(&changed, value)?;
            changed.generation = fresh_generation(standing);
            changed.begins = (value, false);
        }
        None => check_place(&changed, place.last)?,
    }
    Ok(changed)
}

/// TRUNCATE … RESTART IDENTITY: the sequences that belong to a table begin anew, at COMMIT.
///
/// # Errors
/// 42501, and those of locks.
pub(super) async fn restart_belonging(standing: &mut Standing, table: TableId) -> Result<()> {
    for def in belonging(&standing.catalog(), table, None) {
        owned(standing, def.owner, &def.name)?;
        let Some(def) = lock_by_id(standing, def.id, TableLockMode::ShareRowExclusive).await? else { continue };
        let generation = fresh_generation(standing);
        let restarted = SequenceDef { generation, begins: (def.start, false), ..(*def).clone() };
        standing.transaction().define(Change::PutSequence(restarted))?;
    }
    Ok(())
}

fn owner_of(options: &[SequenceOption]) -> Option<&Option<(Name, String)>> {
    options.iter().find_map(|option| match option {
        SequenceOption::OwnedBy(owner) => Some(owner),
        _ => None,
    })
}

/// OWNED BY
async fn own(standing: &mut Standing, def: &mut SequenceDef, owner: &Option<(Name, String)>) -> Result<()> {
    if def.identity {
        let table = def.owned_by.and_then(|(table, _)| standing.catalog().table(table).cloned());
        let message = "cannot change ownership of identity sequence";
        let linked = table.map(|table| table.name.to_string()).unwrap_or_default();
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
            .with_detail(format!("Sequence \"{}\" is linked to table \"{linked}\".", def.name)));
    }
    let Some((name, column)) = owner else {
        def.owned_by = None;
        return Ok(());
    };
    if let Some(other @ (Named::Index(..) | Named::Sequence(_))) = index::find(standing, name) {
        let message = format!("sequence cannot be owned by relation \"{}\"", name.name);
        let what = if matches!(other, Named::Sequence(_)) { "sequences" } else { "indexes" };
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
            .with_detail(format!("This operation is not supported for {what}.")));
    }
    let table = find_table(standing, &Name { position: None, ..name.clone() })?;
    let wait = lock_wait(standing);
    standing.transaction().table_lock(table.id, TableLockMode::AccessShare, wait).await?;
    let unfit = |what: &str| {
        let message = format!("sequence must {what} as table it is linked to");
        SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    };
    if table.owner != def.owner {
        return Err(unfit("have same owner"));
    }
    if table.namespace != def.namespace {
        return Err(unfit("be in same schema"));
    }
    let Some(column) = table.column_by_name(column) else {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
        return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
    };
    def.owned_by = Some((table.id, column.id));
    Ok(())
}

/// A sequence by its name, locked, as it is under the lock.
async fn lock(
    standing: &mut Standing,
    name: &Name,
    mode: TableLockMode,
    dropping: bool,
) -> Result<Option<Arc<SequenceDef>>> {
    loop {
        standing.begin_statement()?;
        let id = match index::find(standing, name) {
            Some(Named::Sequence(id)) => id,
            Some(other) => return Err(no_sequence(&name.name, other, dropping)),
            None => return Ok(None),
        };
        let def = lock_by_id(standing, id, mode).await?;
        if index::find(standing, name) == Some(Named::Sequence(id))
            && let Some(def) = def
        {
            return Ok(Some(def));
        }
    }
}

/// Locks a sequence; `None` when it is gone then.
pub(super) async fn lock_by_id(
    standing: &mut Standing,
    id: TableId,
    mode: TableLockMode,
) -> Result<Option<Arc<SequenceDef>>> {
    let wait = lock_wait(standing);
    standing.transaction().table_lock(id, mode, wait).await?;
    standing.begin_statement()?;
    let def = standing.catalog().sequence(id).cloned();
    if def.is_some() && !standing.transaction().sees_newest(id) {
        return Err(StoreError::SchemaChanged(id).into());
    }
    Ok(def)
}

fn no_sequence(name: &str, other: Named, dropping: bool) -> SqlError {
    match dropping {
        true => super::drop::wrong_kind(other, name, "a sequence"),
        false => SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence")),
    }
}

fn owned(standing: &Standing, owner: UserId, name: &TableName) -> Result<()> {
    let is_owner = owner == standing.identity.user;
    permit(&standing.identity, AdminAction::AlterTable { is_owner }, &format!("sequence {name}")).map(|_| ())
}

/// ALTER SEQUENCE
///
/// # Errors
/// 42501, 42P01, 42809, 42P07, 22023, 0A000, and those of OWNED BY.
pub(super) async fn alter(
    standing: &mut Standing,
    name: &Name,
    if_exists: bool,
    action: &AlterSequenceAction,
) -> Result<Outcome> {
    standing.writable("ALTER SEQUENCE")?;
    let mode = match action {
        AlterSequenceAction::Options(_) => TableLockMode::ShareRowExclusive,
        _ => TableLockMode::AccessExclusive,
    };
    let Some(def) = lock(standing, name, mode, false).await? else {
        if if_exists {
            standing.notice(format!("relation \"{}\" does not exist, skipping", name.name));
            return done("ALTER SEQUENCE");
        }
        return Err(error::no_relation(shown(name)));
    };
    owned(standing, def.owner, &def.name)?;
    let mut changed_def = (*def).clone();
    match action {
        AlterSequenceAction::Options(options) => {
            if options.iter().any(|option| matches!(option, SequenceOption::Name(_))) {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid sequence option SEQUENCE NAME"));
            }
            changed_def = changed(standing, &def, options)?;
            if let Some(owner) = owner_of(options) {
                own(standing, &mut changed_def, owner).await?;
            }
        }
        AlterSequenceAction::Rename(to) => {
            name::require(standing, def.namespace, to).await?;
            changed_def.name = TableName::new(to.as_str());
        }
        AlterSequenceAction::SetNamespace(to) => {
            if let Some(table) = def.owned_by.and_then(|(table, _)| standing.catalog().table(table).cloned()) {
                let message = "cannot move an owned sequence into another schema";
                return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                    .with_detail(format!("Sequence \"{}\" is linked to table \"{}\".", def.name, table.name)));
            }
            changed_def.namespace = super::view::move_to(standing, def.namespace, to, def.name.as_str()).await?;
        }
    }
    standing.transaction().define(Change::PutSequence(changed_def))?;
    done("ALTER SEQUENCE")
}

/// DROP SEQUENCE
///
/// # Errors
/// 42501, 42P01, 42809, 2BP01
pub(super) async fn drop(standing: &mut Standing, names: &[Name], if_exists: bool, cascade: bool) -> Result<Outcome> {
    standing.writable("DROP SEQUENCE")?;
    let mut going = Vec::new();
    for name in names {
        match lock(standing, name, TableLockMode::AccessExclusive, true).await? {
            Some(def) => {
                owned(standing, def.owner, &def.name)?;
                if let (true, Some((table, column))) = (def.identity, def.owned_by) {
                    return Err(required(standing, &def, table, column));
                }
                if going.iter().all(|other: &Arc<SequenceDef>| other.id != def.id) {
                    going.push(def);
                }
            }
            None if if_exists => standing.notice(format!("sequence \"{}\" does not exist, skipping", name.name)),
            None => {
                let message = format!("sequence \"{}\" does not exist", shown(name));
                return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message));
            }
        }
    }
    let roots: Vec<Object> = going.iter().map(|def| Object::Sequence(def.id)).collect();
    super::drop::dependents(standing, &roots, cascade).await?;
    for def in going {
        standing.transaction().define(Change::DropSequence(def.id))?;
    }
    done("DROP SEQUENCE")
}

fn required(standing: &Standing, def: &SequenceDef, table: TableId, column: ColumnId) -> SqlError {
    let catalog = standing.catalog();
    let column = catalog.table(table).and_then(|table| table.column(column)).map(|column| column.name.to_string());
    let what = format!("column {} of table {}", column.unwrap_or_default(), shown_name(standing, table.0));
    let message = format!("cannot drop sequence {} because {what} requires it", shown_name(standing, def.id.0));
    SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message).with_hint(format!("You can drop {what} instead."))
}

/// A relation as messages name it: qualified where the search path does not find it.
fn shown_name(standing: &Standing, oid: Oid) -> String {
    standing.names().relation_name(oid).unwrap_or_else(|| oid.to_string())
}

/// The sequences that belong to a table, or to one of its columns.
pub(super) fn belonging(catalog: &Catalog, table: TableId, column: Option<ColumnId>) -> Vec<Arc<SequenceDef>> {
    let belongs = |def: &&Arc<SequenceDef>| {
        def.owned_by.is_some_and(|(id, part)| id == table && column.is_none_or(|column| column == part))
    };
    let mut found: Vec<_> = catalog.sequences().filter(belongs).cloned().collect();
    found.sort_by_key(|def| def.id);
    found
}

/// Drops the sequences that belong to a column which is no IDENTITY column any more.
///
/// # Errors
/// 2BP01, and those of locks.
pub(super) async fn drop_belonging(standing: &mut Standing, table: &TableDef, column: ColumnId) -> Result<()> {
    for def in belonging(&standing.catalog(), table.id, Some(column)) {
        lock_by_id(standing, def.id, TableLockMode::AccessExclusive).await?;
        super::drop::dependents(standing, &[Object::Sequence(def.id)], false).await?;
        standing.transaction().define(Change::DropSequence(def.id))?;
    }
    Ok(())
}

/// ALTER TABLE … RENAME TO of a sequence, which PostgreSQL takes, too.
///
/// # Errors
/// As [`alter`].
pub(super) async fn rename(standing: &mut Standing, name: &Name, to: &str) -> Result<()> {
    alter(standing, name, false, &AlterSequenceAction::Rename(to.to_string())).await.map(|_| ())
}
