//! BEGIN, COMMIT, ROLLBACK, savepoints, and the transaction's modes.

use super::{Guard, Outcome, actions};
use crate::standing::Standing;
use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_sql::Statement;
use kalamdb_sql::statement::{IsolationLevel, TransactionModes};

/// Carries one of them out.
///
/// # Errors
/// PostgreSQL's: 25001, 25P01, 25P02, 3B001, and the commit's own.
pub(super) async fn run(standing: &mut Standing, statement: &Statement, guard: &Guard) -> Result<Outcome> {
    let tag = match statement {
        Statement::Begin(modes) => {
            standing.not_failed()?;
            standing.begin_block(*modes)?;
            "BEGIN"
        }
        Statement::Commit { chain } => end(standing, *chain, true, guard).await?,
        Statement::Rollback { chain } => end(standing, *chain, false, guard).await?,
        Statement::Savepoint(name) => {
            standing.not_failed()?;
            standing.inside_block("SAVEPOINT")?;
            standing.savepoint(name.clone());
            "SAVEPOINT"
        }
        Statement::Release(name) => {
            standing.not_failed()?;
            standing.inside_block("RELEASE SAVEPOINT")?;
            standing.release(name)?;
            "RELEASE"
        }
        Statement::RollbackTo(name) => {
            standing.inside_block("ROLLBACK TO SAVEPOINT")?;
            standing.rollback_to(name)?;
            "ROLLBACK"
        }
        Statement::SetTransaction(modes) => {
            if standing.in_block() {
                standing.set_modes(*modes)?;
            } else {
                let message = "SET TRANSACTION can only be used in transaction blocks";
                standing.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, message);
            }
            "SET"
        }
        Statement::SetCharacteristics(modes) => {
            set_characteristics(standing, *modes)?;
            "SET"
        }
        _ => return Err(SqlError::internal("not a transaction statement")),
    };
    Ok(Outcome::Command(tag.to_string()))
}

async fn end(standing: &mut Standing, chain: bool, keep: bool, guard: &Guard) -> Result<&'static str> {
    let in_block = standing.in_block() || standing.is_failed();
    if !in_block {
        if chain {
            let command = if keep { "COMMIT AND CHAIN" } else { "ROLLBACK AND CHAIN" };
            standing.inside_block(command)?;
        }
        standing.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
    }
    let modes = standing.modes();
    if keep
        && !standing.is_failed()
        && let Err(error) = guard.watch(actions::settle_deferred(standing)).await
    {
        standing.rollback();
        return Err(error);
    }
    let kept = if keep {
        standing.commit().await?
    } else {
        standing.rollback();
        false
    };
    if chain {
        standing.begin_block(modes)?;
    }
    // A failed block's COMMIT is a rollback, and says so.
    Ok(if keep && (kept || !in_block) { "COMMIT" } else { "ROLLBACK" })
}

fn set_characteristics(standing: &mut Standing, modes: TransactionModes) -> Result<()> {
    let mut settings = standing.settings.lock();
    if let Some(level) = modes.isolation {
        let word = match level {
            IsolationLevel::ReadUncommitted => "read uncommitted",
            IsolationLevel::ReadCommitted => "read committed",
            IsolationLevel::RepeatableRead => "repeatable read",
            IsolationLevel::Serializable => {
                return Err(SqlError::unsupported("isolation level SERIALIZABLE"));
            }
        };
        settings.set("default_transaction_isolation", word, false)?;
    }
    if let Some(read_only) = modes.read_only {
        settings.set("default_transaction_read_only", if read_only { "on" } else { "off" }, false)?;
    }
    Ok(())
}
