//! A sequence that a statement may use, and what a session remembers of the numbers it got.
//!
//! Made by `resolve` alone, as a relation is. Numbers belong to no transaction: they come from the store's places at
//! once. What the session remembers is PostgreSQL's: for `currval` and `lastval`, and the rest of a CACHE.

use kalamdb_auth::authorize::Granted;
use kalamdb_commons::{Result, SqlError, SqlState, TableId};
use kalamdb_store::{SequenceDef, SequencePlace, Store};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::runtime::{Handle, RuntimeFlavor};

/// A sequence with its grant.
#[derive(Debug)]
pub(crate) struct Sequence {
    def: Arc<SequenceDef>,
    _granted: Granted,
}

/// What a session remembers of sequences.
#[derive(Debug, Default)]
pub(crate) struct SessionSequences {
    /// The one that `nextval` was asked for last.
    last: Option<TableId>,
    known: HashMap<TableId, Known>,
}

/// What a session remembers of one sequence.
#[derive(Debug, Clone, Copy)]
struct Known {
    generation: u64,
    increment: i64,
    /// What it got last.
    last: i64,
    /// Up to where it has taken numbers.
    cached: i64,
}

/// Runs what may wait for the disk, away from other sessions' work.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread) {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

impl SessionSequences {
    /// The sequence that `lastval` is about.
    ///
    /// # Errors
    /// 55000
    pub fn last(&self) -> Result<TableId> {
        self.last.ok_or_else(|| {
            let message = "lastval is not yet defined in this session";
            SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        })
    }

    /// DISCARD SEQUENCES
    pub fn discard(&mut self) {
        *self = Self::default();
    }
}

impl Sequence {
    /// A sequence, for whoever was granted what it asked.
    pub fn new(def: Arc<SequenceDef>, granted: Granted) -> Self {
        Self { def, _granted: granted }
    }

    /// `nextval`
    ///
    /// # Errors
    /// 2200H at its end, and the store's.
    pub fn next(&self, store: &Store, session: &Mutex<SessionSequences>) -> Result<i64> {
        let def = &*self.def;
        let mut session = session.lock();
        session.last = Some(def.id);
        if let Some(known) = session.known.get_mut(&def.id)
            && (known.generation, known.increment) == (def.generation, def.increment)
            && known.last != known.cached
        {
            known.last += known.increment;
            return Ok(known.last);
        }
        let taken = store.engine().sequence_try_next(def, def.cache);
        let taken = match taken {
            Some(taken) => taken,
            None => blocking(|| store.engine().sequence_next(def, def.cache)),
        };
        let Some(run) = taken? else { return Err(self.exhausted()) };
        let known = Known { generation: def.generation, increment: def.increment, last: run.first, cached: run.last };
        session.known.insert(def.id, known);
        Ok(run.first)
    }

    fn exhausted(&self) -> SqlError {
        let (word, bound) = match self.def.increment > 0 {
            true => ("maximum", self.def.max),
            false => ("minimum", self.def.min),
        };
        let message = format!("nextval: reached {word} value of sequence \"{}\" ({bound})", self.def.name);
        SqlError::new(SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED, message)
    }

    /// `currval`
    ///
    /// # Errors
    /// 55000
    pub fn current(&self, session: &Mutex<SessionSequences>) -> Result<i64> {
        let known = session.lock().known.get(&self.def.id).map(|known| known.last);
        known.ok_or_else(|| {
            let message = format!("currval of sequence \"{}\" is not yet defined in this session", self.def.name);
            SqlError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        })
    }

    /// `setval`
    ///
    /// # Errors
    /// 22003, and the store's.
    pub fn set(&self, store: &Store, session: &Mutex<SessionSequences>, value: i64, is_called: bool) -> Result<()> {
        let def = &*self.def;
        if !(def.min..=def.max).contains(&value) {
            let message = format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                def.name, def.min, def.max
            );
            return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
        }
        blocking(|| store.engine().sequence_set(def, value, is_called))?;
        let mut session = session.lock();
        if is_called {
            let known = Known { generation: def.generation, increment: def.increment, last: value, cached: value };
            session.known.insert(def.id, known);
        } else if let Some(known) = session.known.get_mut(&def.id) {
            // What is left of a CACHE is from before.
            known.cached = known.last;
        }
        Ok(())
    }

    /// Where it stands.
    ///
    /// # Errors
    /// The store's.
    pub fn place(&self, store: &Store) -> Result<SequencePlace> {
        Ok(store.engine().sequence_place(&self.def)?)
    }
}
