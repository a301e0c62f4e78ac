//! CREATE and ALTER DOMAIN. What a domain asks is judged where values become its own: the binder writes it into casts
//! and assignments. DROP is with the other types.

use super::around::Around;
use super::prepared::BindingNames;
use super::user_type::{absent, begin, lock, meaning, owned, rename, set_namespace};
use super::{Outcome, table, write};
use crate::plan::SessionValues;
use crate::resolve;
use crate::standing::Standing;
use arrow_array::{Array, BooleanArray};
use futures::StreamExt;
use kalamdb_commons::{ColumnId, Oid, PgType, Result, SqlError, SqlState};
use kalamdb_sql::bind;
use kalamdb_sql::predicate::Values;
use kalamdb_sql::statement::{AlterDomainAction, CreateDomain, Name};
use kalamdb_store::{Change, DomainCheck, LockWait, TableDef, TableLockMode, TypeDef, TypeKind};
use std::sync::Arc;

/// How many rows are read at once.
const BATCH_ROWS: usize = 4096;

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}

/// CREATE DOMAIN
///
/// # Errors
/// 42501, 42704, 42710, 3F000, 42804, 0A000
pub(super) async fn create(standing: &mut Standing, create: &CreateDomain) -> Result<Outcome> {
    standing.writable("CREATE DOMAIN")?;
    standing.begin_statement()?;
    let (base, below) = meaning(standing, &create.base)?;
    if below.is_some() {
        return Err(SqlError::unsupported("a domain over a domain"));
    }
    if base.ty.facts().kind == 'p' {
        let message = format!("\"{}\" is not a valid base type for a domain", base.ty);
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
    }
    let (namespace, id, array) = begin(standing, &create.name).await?;
    let name = create.name.name.as_str();
    let default = match &create.default {
        Some(text) => default_of(standing, text, name, base)?,
        None => None,
    };
    let mut checks: Vec<DomainCheck> = Vec::with_capacity(create.checks.len());
    for (said, text) in &create.checks {
        let check = check_of(standing, name, base, &checks, said.as_deref(), text, true)?;
        checks.push(check);
    }
    let kind = TypeKind::Domain { base, not_null: create.not_null, default, checks };
    let owner = standing.identity.user;
    let def = TypeDef { id, array, namespace, name: name.to_string(), owner, kind };
    standing.transaction().define(Change::PutType(def))?;
    done("CREATE DOMAIN")
}

/// A default as the catalog keeps it.
fn default_of(standing: &Standing, text: &str, domain: &str, base: PgType) -> Result<Option<String>> {
    match table::default_of(standing, text, domain, base)? {
        Some(_) => table::default_text(standing, text, domain, base).map(Some),
        None => Ok(None),
    }
}

/// A condition as the catalog keeps it, with a name of its own where none is said.
fn check_of(
    standing: &Standing,
    domain: &str,
    base: PgType,
    others: &[DomainCheck],
    said: Option<&str>,
    text: &str,
    validated: bool,
) -> Result<DomainCheck> {
    let names = BindingNames::new(standing);
    bind::bind_domain_check(text, base, &names)?;
    let expression = match bind::canonical_domain_check(text, base, &names) {
        Err(error) if error.state() == SqlState::FEATURE_NOT_SUPPORTED => text.to_string(),
        other => other?,
    };
    let is_taken = |name: &str| others.iter().any(|other| other.name == name);
    let name = match said {
        Some(name) if is_taken(name) => {
            let message = format!("constraint \"{name}\" for domain \"{domain}\" already exists");
            return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
        }
        Some(name) => name.to_string(),
        None => {
            let first = format!("{domain}_check");
            let numbered = (1..).map(|number| format!("{first}{number}"));
            std::iter::once(first.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(first)
        }
    };
    Ok(DomainCheck { id: standing.hall.store.allocate_oid(), name, expression, validated })
}

/// ALTER DOMAIN
///
/// # Errors
/// 42501, 42704, 42710, 42809, 23502, 23514, and those of expressions.
pub(super) async fn alter(standing: &mut Standing, name: &Name, action: &AlterDomainAction) -> Result<Outcome> {
    standing.writable("ALTER DOMAIN")?;
    let Some(def) = lock(standing, name).await? else { return Err(absent(name, "a domain")) };
    let mut changed = (*def).clone();
    let TypeKind::Domain { base, not_null, default, checks } = &mut changed.kind else {
        let message = format!("{} is not a domain", table::shown(name));
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
    };
    owned(standing, &def)?;
    let missing = |constraint: &str| {
        let message = format!("constraint \"{constraint}\" of domain \"{}\" does not exist", def.name);
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
    };
    match action {
        AlterDomainAction::Rename(to) => rename(standing, &mut changed, to).await?,
        AlterDomainAction::SetNamespace(to) => set_namespace(standing, &mut changed, to).await?,
        AlterDomainAction::SetDefault(None) => *default = None,
        AlterDomainAction::SetDefault(Some(text)) => *default = default_of(standing, text, &def.name, *base)?,
        AlterDomainAction::SetNotNull(false) => *not_null = false,
        AlterDomainAction::SetNotNull(true) => {
            if !*not_null {
                check_rows(standing, def.id, *base, None).await?;
            }
            *not_null = true;
        }
        AlterDomainAction::AddCheck { name, text, not_valid } => {
            let check = check_of(standing, &def.name, *base, checks, name.as_deref(), text, !not_valid)?;
            if !not_valid {
                check_rows(standing, def.id, *base, Some(&check.expression)).await?;
            }
            checks.push(check);
        }
        AlterDomainAction::DropConstraint { name, if_exists } => {
            match checks.iter().position(|check| check.name == *name) {
                Some(at) => {
                    checks.remove(at);
                }
                None if *if_exists => {
                    let notice = missing(name);
                    standing.notice(format!("{}, skipping", notice.message()));
                }
                None => return Err(missing(name)),
            }
        }
        AlterDomainAction::RenameConstraint { name, to } => {
            if checks.iter().any(|check| check.name == *to) {
                let message = format!("constraint \"{to}\" for domain {} already exists", def.name);
                return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
            }
            let missing = || {
                let message = format!("constraint \"{name}\" for domain {} does not exist", def.name);
                SqlError::new(SqlState::UNDEFINED_OBJECT, message)
            };
            let check = checks.iter_mut().find(|check| check.name == *name).ok_or_else(missing)?;
            check.name.clone_from(to);
        }
        AlterDomainAction::Validate(name) => {
            let at = checks.iter().position(|check| check.name == *name).ok_or_else(|| missing(name))?;
            if !checks[at].validated {
                let expression = checks[at].expression.clone();
                check_rows(standing, def.id, *base, Some(&expression)).await?;
                checks[at].validated = true;
            }
        }
    }
    standing.transaction().define(Change::PutType(changed))?;
    done("ALTER DOMAIN")
}

/// Looks at all values that a domain has in tables: for NULL, or for a condition.
async fn check_rows(standing: &mut Standing, domain: Oid, base: PgType, condition: Option<&str>) -> Result<()> {
    let program = match condition {
        None => None,
        Some(text) => {
            let (col, scalar) = bind::bind_domain_check(text, base, &BindingNames::new(standing))?;
            let around = Around::new(standing);
            let session = around.clone();
            let values =
                Values { parameters: Vec::new(), session: Arc::new(move |value| session.value(value)), around };
            Some(write::program(&[scalar], &[col], &values)?)
        }
    };
    let mut tables: Vec<Arc<TableDef>> = standing.catalog().tables().cloned().collect();
    tables.sort_by_key(|table| table.id);
    for table in tables {
        let columns: Vec<ColumnId> =
            table.live_columns().filter(|column| column.domain == Some(domain)).map(|column| column.id).collect();
        if columns.is_empty() {
            continue;
        }
        // Nobody writes a row by the old conditions behind our back.
        let wait = LockWait::Block(None);
        standing.transaction().table_lock(table.id, TableLockMode::Share, wait).await?;
        standing.begin_statement()?;
        let namespace = table::namespace_name(&standing.catalog(), table.namespace);
        let placed = |error: SqlError, column: &str| {
            error.with_schema(namespace.as_str()).with_table(table.name.as_str()).with_column(column)
        };
        let view = standing.view();
        let relation = resolve::judged(&table, &standing.identity)?;
        let mut rows = relation.all_rows(&view, &columns, BATCH_ROWS)?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for (at, id) in columns.iter().enumerate() {
                let name = table.column(*id).map(|column| column.name.to_string()).unwrap_or_default();
                let array = batch.column(at);
                let Some(program) = &program else {
                    if array.null_count() > 0 {
                        let message = format!("column \"{name}\" of table \"{}\" contains null values", table.name);
                        return Err(placed(SqlError::new(SqlState::NOT_NULL_VIOLATION, message), &name));
                    }
                    continue;
                };
                let verdict = program.evaluate(&program.rows(vec![array.clone()], batch.num_rows())?)?;
                let verdict = verdict.first().and_then(|array| array.as_any().downcast_ref::<BooleanArray>());
                if verdict.is_some_and(|verdict| verdict.iter().any(|holds| holds == Some(false))) {
                    let message = format!(
                        "column \"{name}\" of table \"{}\" contains values that violate the new constraint",
                        table.name
                    );
                    return Err(placed(SqlError::new(SqlState::CHECK_VIOLATION, message), &name));
                }
            }
        }
    }
    Ok(())
}
