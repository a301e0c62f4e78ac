//! Where sequences stand.
//!
//! A place is no part of any transaction: a number that was given is given, whatever becomes of who asked for it.
//! Numbers are reserved ahead: what is on the disk says how far they may have been given, and is written, and synced,
//! before the first number behind it leaves. So a crash skips numbers and repeats none, and one fsync is shared by
//! many: by more of them the faster they go.

use super::Engine;
use crate::catalog::stored;
use crate::definition::SequenceDef;
use crate::error::StoreError;
use crate::kv::{Family, Key, Op};
use kalamdb_commons::TableId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many numbers are reserved ahead at first: PostgreSQL's.
const AHEAD_MIN: i64 = 32;
/// How many at most: a crash skips no more.
const AHEAD_MAX: i64 = 4096;
/// Reservations that follow each other faster grow.
const GROWS_WITHIN: Duration = Duration::from_secs(1);

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencePlace {
    /// The number that was given last, or that comes first.
    pub last: i64,
    /// Whether `last` was given.
    pub is_called: bool,
    /// How many numbers behind it are reserved (`log_cnt`).
    pub ahead: i64,
}

/// Numbers that were taken: from `first` in steps of the sequence's increment to `last`. A sequence that cycles ends a
/// run where it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRun {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

/// The places of all sequences that were asked for since the store was opened, by id and generation.
#[derive(Default)]
pub(crate) struct Sequences {
    states: Mutex<FxHashMap<(TableId, u64), Arc<Mutex<State>>>>,
}

struct State {
    place: SequencePlace,
    /// The steps and bounds that `ahead` was counted with.
    counted: (i64, i64, i64),
    /// How many were reserved the last time, and when.
    reserved: i64,
    reserved_at: Option<Instant>,
}

fn bounds(def: &SequenceDef) -> (i64, i64, i64) {
    (def.increment, def.min, def.max)
}

/// The number behind another, within the bounds.
fn next(def: &SequenceDef, after: i64) -> Option<i64> {
    after.checked_add(def.increment).filter(|next| match def.increment > 0 {
        true => *next <= def.max,
        false => *next >= def.min,
    })
}

/// The number so many steps behind another, or the last that there is; and how many steps that were.
fn further(def: &SequenceDef, after: i64, steps: i64) -> (i64, i64) {
    let bound = if def.increment > 0 { def.max } else { def.min };
    let room = (i128::from(bound) - i128::from(after)) / i128::from(def.increment);
    let steps = i128::from(steps).min(room.max(0));
    // Both are within the bounds, which are of 64 bits.
    ((i128::from(after) + steps * i128::from(def.increment)) as i64, steps as i64)
}

impl State {
    /// The places that taking `count` numbers leads to, and the numbers; `None` when there is none.
    fn taken(&self, def: &SequenceDef, count: i64) -> Option<(SequenceRun, i64)> {
        let first = match self.place.is_called {
            false => self.place.last,
            true => match next(def, self.place.last) {
                Some(next) => next,
                None if def.cycle && def.increment > 0 => def.min,
                None if def.cycle => def.max,
                None => return None,
            },
        };
        let (last, steps) = further(def, first, count - 1);
        let wrapped = self.place.is_called && next(def, self.place.last) != Some(first);
        // How far it goes beyond the place: what a reservation has to cover. Beginning anew is covered by none.
        let covered = if wrapped || !self.place.is_called { i64::MAX } else { steps + 1 };
        Some((SequenceRun { first, last }, covered))
    }
}

impl Sequences {
    /// Writes where all of them stand, exactly, when nobody asks for numbers any more: nothing was reserved in vain.
    pub(crate) fn settle(&self) -> Vec<Op> {
        let states = self.states.lock();
        let settled = states.iter().filter_map(|((id, generation), state)| {
            // Who holds it waits for the committer.
            let mut state = state.try_lock()?;
            if state.place.ahead == 0 {
                return None;
            }
            state.place.ahead = 0;
            Some(put(*id, *generation, state.place))
        });
        settled.collect()
    }
}

fn put(id: TableId, generation: u64, place: SequencePlace) -> Op {
    let key: Key = stored::place_key(id, generation);
    Op::Put(Family::Meta, key, stored::encode(&SequencePlace { ahead: 0, ..place }))
}

impl Engine {
    fn sequence_state(&self, def: &SequenceDef) -> Result<Arc<Mutex<State>>, StoreError> {
        let key = (def.id, def.generation);
        if let Some(state) = self.sequences.states.lock().get(&key) {
            return Ok(state.clone());
        }
        let snapshot = &self.published().snapshot;
        let place = stored::get(&**snapshot, "a sequence's place", &stored::place_key(def.id, def.generation))?;
        let (last, is_called) = def.begins;
        let place = place.unwrap_or(SequencePlace { last, is_called, ahead: 0 });
        let state = State { place, counted: bounds(def), reserved: 0, reserved_at: None };
        // Whoever was first has made it: nothing is written before it is in the map.
        Ok(self.sequences.states.lock().entry(key).or_insert_with(|| Arc::new(Mutex::new(state))).clone())
    }

    /// Takes up to `count` numbers, at least one; `None` when the sequence is at its end. It may block for one fsync.
    ///
    /// # Errors
    /// The committer's.
    pub fn sequence_next(&self, def: &SequenceDef, count: i64) -> Result<Option<SequenceRun>, StoreError> {
        let state = self.sequence_state(def)?;
        self.take(&mut state.lock(), def, count)
    }

    /// As [`Engine::sequence_next`], where nobody has to be waited for; `None` where it would block.
    pub fn sequence_try_next(&self, def: &SequenceDef, count: i64) -> Option<Result<Option<SequenceRun>, StoreError>> {
        let state = self.sequences.states.lock().get(&(def.id, def.generation))?.clone();
        let mut state = state.try_lock()?;
        let covered = state.taken(def, count.max(1)).map_or(0, |(_, covered)| covered);
        if state.counted != bounds(def) || covered > state.place.ahead {
            return None;
        }
        Some(self.take(&mut state, def, count))
    }

    fn take(&self, state: &mut State, def: &SequenceDef, count: i64) -> Result<Option<SequenceRun>, StoreError> {
        if state.counted != bounds(def) {
            state.counted = bounds(def);
            state.place.ahead = 0;
        }
        let Some((run, covered)) = state.taken(def, count.max(1)) else { return Ok(None) };
        if covered > state.place.ahead {
            let quick = state.reserved_at.is_some_and(|at| at.elapsed() < GROWS_WITHIN);
            let ahead = if quick { (state.reserved * 2).clamp(AHEAD_MIN, AHEAD_MAX) } else { AHEAD_MIN };
            let (upto, reserved_now) = further(def, run.last, ahead);
            let reserved = SequencePlace { last: upto, is_called: true, ahead: 0 };
            self.apply_blocking(vec![put(def.id, def.generation, reserved)])?;
            (state.reserved, state.reserved_at) = (ahead, Some(Instant::now()));
            state.place = SequencePlace { last: run.last, is_called: true, ahead: reserved_now };
        } else {
            let ahead = state.place.ahead - covered;
            state.place = SequencePlace { last: run.last, is_called: true, ahead };
        }
        Ok(Some(run))
    }

    /// Gives a sequence another place, at once and for all. It blocks for one fsync.
    ///
    /// # Errors
    /// The committer's.
    pub fn sequence_set(&self, def: &SequenceDef, last: i64, is_called: bool) -> Result<(), StoreError> {
        let state = self.sequence_state(def)?;
        let mut state = state.lock();
        let place = SequencePlace { last, is_called, ahead: 0 };
        self.apply_blocking(vec![put(def.id, def.generation, place)])?;
        state.place = place;
        Ok(())
    }

    /// Where a sequence stands.
    ///
    /// # Errors
    /// The engine's.
    pub fn sequence_place(&self, def: &SequenceDef) -> Result<SequencePlace, StoreError> {
        Ok(self.sequence_state(def)?.lock().place)
    }
}
