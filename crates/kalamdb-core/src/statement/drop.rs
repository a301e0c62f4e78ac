//! What DROP does of whatever kind: what depends on the dropped goes along with CASCADE, and is an error without.

use super::Outcome;
use super::query::lock_wait;
use crate::depend::{Bond, Fallen, Object, falling};
use crate::standing::Standing;
use kalamdb_commons::{Result, SqlError, SqlState, TableId, clock};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Change, StoreError, TableLockMode};

/// How many dependent objects a message tells of.
const TOLD_MAX: usize = 100;

/// Takes away what depends on `roots`, which the caller has locked and drops afterwards.
///
/// # Errors
/// 2BP01 without `cascade`, 40001 at REPEATABLE READ for what somebody has changed or made since, those of locks.
pub(super) async fn dependents(standing: &mut Standing, roots: &[Object], cascade: bool) -> Result<()> {
    let fallen = loop {
        let before = falling(&standing.transaction().newest_catalog(), roots);
        for found in &before {
            let id = match found.object {
                Object::Table(id) | Object::View(id) | Object::Sequence(id) => id,
                Object::Constraint(id, _) | Object::Column(id, _) | Object::Default(id, _) => id,
                Object::Namespace(_) | Object::Type(_) => continue,
            };
            let wait = lock_wait(standing);
            standing.transaction().table_lock(id, TableLockMode::AccessExclusive, wait).await?;
        }
        standing.begin_statement()?;
        let after = falling(&standing.transaction().newest_catalog(), roots);
        if after.iter().map(|found| found.object).eq(before.iter().map(|found| found.object)) {
            break after;
        }
    };
    for found in &fallen {
        let transaction = standing.transaction();
        let (id, is_known) = match found.object {
            Object::Table(id) | Object::View(id) | Object::Sequence(id) => (id, transaction.sees_newest(id)),
            Object::Constraint(id, _) | Object::Column(id, _) | Object::Default(id, _) => {
                (id, transaction.sees_newest(id))
            }
            Object::Type(oid) => (TableId(oid), transaction.sees_newest_type(oid)),
            Object::Namespace(_) => continue,
        };
        if !is_known {
            return Err(StoreError::SchemaChanged(id).into());
        }
    }
    tell(standing, roots, &fallen, cascade)?;
    for found in fallen.iter().rev() {
        remove(standing, found.object).await?;
    }
    Ok(())
}

/// The error, or the notice.
fn tell(standing: &mut Standing, roots: &[Object], fallen: &[Fallen], cascade: bool) -> Result<()> {
    let told: Vec<&Fallen> = fallen.iter().filter(|found| found.bond == Bond::Normal).collect();
    if told.is_empty() {
        return Ok(());
    }
    let (catalog, names) = (standing.catalog(), standing.names());
    let called = |object: Object| object.description(&catalog, &names);
    let line = |found: &&Fallen| match cascade {
        true => format!("drop cascades to {}", called(found.object)),
        false => format!("{} depends on {}", called(found.object), called(found.because)),
    };
    let mut lines: Vec<String> = told.iter().take(TOLD_MAX).map(line).collect();
    if told.len() > TOLD_MAX {
        let more = told.len() - TOLD_MAX;
        lines.push(format!("and {more} other object{} (see server log for list)", if more == 1 { "" } else { "s" }));
    }
    let lines = lines.join("\n");
    if cascade {
        match told.len() {
            1 => standing.notice(lines),
            count => standing.notice_of(
                SqlError::new(SqlState::SUCCESSFUL_COMPLETION, format!("drop cascades to {count} other objects"))
                    .with_detail(lines),
            ),
        }
        return Ok(());
    }
    let message = match roots {
        [root] => format!("cannot drop {} because other objects depend on it", called(*root)),
        _ => "cannot drop desired object(s) because other objects depend on them".to_string(),
    };
    Err(SqlError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .with_detail(lines)
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
}

/// Drops one thing on which nothing depends any more.
async fn remove(standing: &mut Standing, object: Object) -> Result<()> {
    let change = match object {
        Object::Table(id) => Change::DropTable(id),
        Object::View(id) => Change::DropView(id),
        Object::Sequence(id) => Change::DropSequence(id),
        Object::Type(oid) => Change::DropType(oid),
        Object::Namespace(id) => Change::DropNamespace(id),
        Object::Constraint(table, oid) => {
            let Some(table) = standing.catalog().table(table).cloned() else { return Ok(()) };
            let mut table = (*table).clone();
            table.foreign_keys.retain(|key| key.id != oid);
            table.schema_version += 1;
            table.updated_at = clock::now_us();
            Change::PutTable(table)
        }
        Object::Default(table, column) => {
            let Some(table) = standing.catalog().table(table).cloned() else { return Ok(()) };
            let mut table = (*table).clone();
            if let Some(column) = table.columns.iter_mut().find(|other| other.id == column) {
                column.default = None;
            }
            table.schema_version += 1;
            table.updated_at = clock::now_us();
            Change::PutTable(table)
        }
        Object::Column(table, column) => return Box::pin(super::alter::drop_fallen(standing, table, column)).await,
    };
    Ok(standing.transaction().define(change)?)
}

/// 42809: the name means something of another kind than `wanted` ("a table").
pub(super) fn wrong_kind(named: Named, name: &str, wanted: &str) -> SqlError {
    let error = SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not {wanted}"));
    let (word, kind) = match named {
        Named::Table(_) => ("TABLE", "a table"),
        Named::View(_) => ("VIEW", "a view"),
        Named::Sequence(_) => ("SEQUENCE", "a sequence"),
        Named::Index(..) => ("INDEX", "an index"),
    };
    error.with_hint(format!("Use DROP {word} to remove {kind}."))
}

/// A command tag alone.
pub(super) fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}
