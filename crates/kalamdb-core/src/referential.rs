//! What the running transaction still owes to foreign keys: events that wait for the end of the statement, or of the
//! transaction where their constraint is deferred.

use kalamdb_commons::{Datum, Oid, Scope, TableId};
use kalamdb_store::{ConstraintTiming, ForeignKeyDef};
use std::collections::{HashMap, VecDeque};

/// Something that a foreign key has to look at.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// The constraint.
    pub key: Oid,
    /// The referencing table.
    pub table: TableId,
    /// The table whose row it is.
    pub on: TableId,
    /// What happened.
    pub happened: Happened,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    /// A row refers to another since it was written.
    Refers {
        /// Whose row.
        scope: Scope,
        /// Its key.
        row: Vec<u8>,
    },
    /// A row that may be referred to went, or has another key.
    Left {
        /// Whose row.
        scope: Scope,
        /// What the referenced columns held.
        old: Vec<Datum>,
        /// What they hold now; `None`: the row went.
        new: Option<Vec<Datum>>,
    },
}

#[derive(Debug)]
struct Later {
    event: Event,
    fired: bool,
}

/// What SET CONSTRAINTS said.
#[derive(Debug, Clone, Default)]
struct Said {
    /// Of all.
    all: Option<bool>,
    /// Of single ones, since.
    keys: HashMap<Oid, bool>,
}

/// The events of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Referential {
    now: VecDeque<Event>,
    later: Vec<Later>,
    /// Which of `later` were taken up, in order: a rollback puts them back.
    fired: Vec<usize>,
    said: Said,
    statement: usize,
}

/// A place to go back to.
#[derive(Debug, Clone)]
pub(crate) struct ReferentialMark {
    later: usize,
    fired: usize,
    said: Said,
}

impl Referential {
    /// A statement begins.
    pub fn begin_statement(&mut self) {
        self.now.clear();
        self.statement = self.later.len();
    }

    /// The statement starts again: what it did is undone.
    pub fn restart_statement(&mut self) {
        self.now.clear();
        self.later.truncate(self.statement);
    }

    /// Whether a foreign key is checked at the end of the transaction.
    pub fn is_deferred(&self, key: &ForeignKeyDef) -> bool {
        match key.timing {
            ConstraintTiming::Immediate => false,
            timing => {
                let said = self.said.keys.get(&key.id).copied().or(self.said.all);
                said.unwrap_or(timing == ConstraintTiming::Deferred)
            }
        }
    }

    /// Adds an event of the running statement.
    pub fn push(&mut self, event: Event, deferred: bool) {
        match deferred {
            true => self.later.push(Later { event, fired: false }),
            false => self.now.push_back(event),
        }
    }

    /// The next event that is due.
    pub fn next(&mut self) -> Option<Event> {
        self.now.pop_front()
    }

    /// Makes deferred events due, those of some constraints or all.
    pub fn take_up(&mut self, is_due: impl Fn(&Event) -> bool) {
        for (at, later) in self.later.iter_mut().enumerate() {
            if !later.fired && is_due(&later.event) {
                later.fired = true;
                self.fired.push(at);
                self.now.push_back(later.event.clone());
            }
        }
    }

    /// Whether an event of a row of this table waits for the end of the transaction.
    pub fn waits_on(&self, table: TableId) -> bool {
        self.later.iter().any(|later| !later.fired && later.event.on == table)
    }

    /// Whether something waits for the end of the transaction.
    pub fn has_deferred(&self) -> bool {
        self.later.len() > self.fired.len()
    }

    /// SET CONSTRAINTS ALL
    pub fn set_all(&mut self, deferred: bool) {
        self.said = Said { all: Some(deferred), keys: HashMap::new() };
    }

    /// SET CONSTRAINTS of one.
    pub fn set(&mut self, key: Oid, deferred: bool) {
        self.said.keys.insert(key, deferred);
    }

    /// A place to go back to, between statements.
    pub fn mark(&self) -> ReferentialMark {
        ReferentialMark { later: self.later.len(), fired: self.fired.len(), said: self.said.clone() }
    }

    /// Goes back: what came since is forgotten, and what was taken up since waits again.
    pub fn back_to(&mut self, mark: &ReferentialMark) {
        self.now.clear();
        for at in self.fired.drain(mark.fired.min(self.fired.len())..) {
            if let Some(later) = self.later.get_mut(at) {
                later.fired = false;
            }
        }
        self.later.truncate(mark.later);
        self.said = mark.said.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: Oid) -> Event {
        let happened = Happened::Refers { scope: Scope::Shared, row: vec![1] };
        Event { key, table: TableId(1), on: TableId(1), happened }
    }

    fn due(state: &mut Referential) -> Vec<Oid> {
        std::iter::from_fn(|| state.next()).map(|event| event.key).collect()
    }

    /// What was taken up behind a savepoint waits again after a rollback to it, and what came behind it is gone.
    #[test]
    fn rollback_to_a_mark() {
        let mut state = Referential::default();
        state.push(event(1), true);
        state.push(event(2), true);
        state.take_up(|event| event.key == 1);
        assert_eq!(due(&mut state), [1]);
        let mark = state.mark();
        state.push(event(3), true);
        state.set_all(false);
        state.take_up(|_| true);
        assert_eq!(due(&mut state), [2, 3]);
        assert!(!state.has_deferred());
        state.back_to(&mark);
        assert!(state.has_deferred());
        state.take_up(|_| true);
        assert_eq!(due(&mut state), [2]);
    }

    /// A statement that starts again leaves nothing of its first run.
    #[test]
    fn restarted_statement() {
        let mut state = Referential::default();
        state.push(event(1), true);
        state.begin_statement();
        state.push(event(2), true);
        state.push(event(3), false);
        state.restart_statement();
        assert_eq!(due(&mut state), [0; 0]);
        state.take_up(|_| true);
        assert_eq!(due(&mut state), [1]);
    }
}
