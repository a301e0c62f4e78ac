//! FOR UPDATE and its kin.

use super::Binder;
use super::bound::{Action, LockStrength, LockTarget, LockWait, Rel};
use super::scope::Item;
use crate::parse;
use kalamdb_commons::{Result, SqlError, SqlState};
use sqlparser::ast::{self, Query};
use std::rc::Rc;

impl Binder<'_> {
    pub(super) fn refuse_locks(
        &mut self,
        query: &Query,
        select: &ast::Select,
        grouped: bool,
        distinct: bool,
    ) -> Result<()> {
        if query.locks.is_empty() {
            return Ok(());
        }
        let level = self.level();
        if distinct {
            return Err(not_with("DISTINCT clause"));
        }
        if !matches!(&select.group_by, ast::GroupByExpr::Expressions(items, _) if items.is_empty()) {
            return Err(not_with("GROUP BY clause"));
        }
        if select.having.is_some() {
            return Err(not_with("HAVING clause"));
        }
        if grouped {
            return Err(not_with("aggregate functions"));
        }
        if !level.windows.is_empty() {
            return Err(not_with("window functions"));
        }
        if !level.sets.is_empty() {
            return Err(not_with("set-returning functions in the target list"));
        }
        Ok(())
    }

    /// FOR UPDATE and its kin.
    pub(super) fn lock_rows(&mut self, rel: Rel, query: &Query) -> Result<Rel> {
        let mut targets: Vec<LockTarget> = Vec::new();
        for lock in &query.locks {
            let (strength, of) = lock_clause(lock);
            let wait = match lock.nonblock {
                None => LockWait::Wait,
                Some(ast::NonBlock::Nowait) => LockWait::NoWait,
                Some(ast::NonBlock::SkipLocked) => LockWait::SkipLocked,
            };
            let items: Vec<Rc<Item>> = match &of {
                Some(name) => {
                    let (_, relation) = super::from::name_parts(name)?;
                    let position = self.position(name);
                    let found = self.level().visible.iter().find(|v| v.relation && v.item.name == relation).cloned();
                    let Some(found) = found else {
                        let message = format!("relation \"{relation}\" in FOR UPDATE clause not found in FROM clause");
                        return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message).at(position));
                    };
                    if found.item.need.is_none() {
                        return Err(SqlError::unsupported("FOR UPDATE of what is no table").at(position));
                    }
                    vec![found.item]
                }
                None => self.level().visible.iter().map(|v| v.item.clone()).collect(),
            };
            for item in items {
                self.lock_item(&item, strength, wait, &mut targets)?;
            }
        }
        if targets.is_empty() {
            return Ok(rel);
        }
        Ok(Rel::LockRows { input: Box::new(rel), targets })
    }

    fn lock_item(
        &mut self,
        item: &Item,
        strength: LockStrength,
        wait: LockWait,
        targets: &mut Vec<LockTarget>,
    ) -> Result<()> {
        let Some(need) = item.need else {
            if item.name.is_empty() || item.columns.iter().all(|column| column.origin.is_none()) {
                return Ok(());
            }
            return Err(SqlError::unsupported("FOR UPDATE of a subquery"));
        };
        let Some(key) = item.row_key else {
            return Err(SqlError::unsupported("FOR UPDATE of a system table"));
        };
        if item.padded {
            let message = "FOR UPDATE cannot be applied to the nullable side of an outer join";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        self.needs[need.0].action = Action::Lock;
        match targets.iter_mut().find(|target| target.need == need) {
            // The strongest of several clauses holds; NOWAIT wins over waiting.
            Some(target) => {
                target.strength = target.strength.max(strength);
                if target.wait == LockWait::Wait {
                    target.wait = wait;
                }
            }
            None => targets.push(LockTarget { need, key: key.id, strength, wait }),
        }
        Ok(())
    }
}

/// How strongly a clause locks, and which relation it names. The weaker strengths are marks before the name.
fn lock_clause(lock: &ast::LockClause) -> (LockStrength, Option<ast::ObjectName>) {
    let parts = lock.of.as_ref().map(|name| name.0.as_slice()).unwrap_or_default();
    let first = parts.first().and_then(|part| part.as_ident());
    let mark =
        first.filter(|ident| ident.quote_style == Some(parse::LOCK_MARK_QUOTE)).map(|ident| ident.value.as_str());
    let (strength, named) = match (lock.lock_type, mark) {
        (_, Some(parse::NO_KEY_UPDATE)) => (LockStrength::NoKeyUpdate, &parts[1..]),
        (_, Some(parse::KEY_SHARE)) => (LockStrength::KeyShare, &parts[1..]),
        (ast::LockType::Share, _) => (LockStrength::Share, parts),
        (ast::LockType::Update, _) => (LockStrength::Update, parts),
    };
    (strength, (!named.is_empty()).then(|| ast::ObjectName(named.to_vec())))
}

pub(super) fn not_with(what: &str) -> SqlError {
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("FOR UPDATE is not allowed with {what}"))
}
