//! Advisory locks (PostgreSQL manual 13.3.5): numbers that sessions lock, which mean what the clients agree on.
//!
//! A lock belongs to a session until it is given back or the session ends, or to the session's transaction. Waiting is
//! a place in a queue, and nobody overtakes a waiter whom he would hold up. Who waits for whom is told to
//! `statement::deadlock`, which looks for cycles: they may go through the locks of rows and tables too.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use tokio::sync::oneshot;

/// What is locked: the number, and whether it is made of two.
pub(crate) type Key = (i64, bool);

/// How a lock is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hold {
    /// Beside other shared ones.
    pub shared: bool,
    /// Until the transaction's end.
    pub transaction: bool,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Requested {
    /// The lock is held.
    Granted,
    /// It was not to be waited for, and is not free.
    Refused,
    /// It is to be waited for.
    Queued(Ticket),
}

/// A place in a queue. Who no longer waits gives it to [`Advisory::leave`].
#[derive(Debug)]
pub(crate) struct Ticket {
    pid: i32,
    key: Key,
    hold: Hold,
    number: u64,
    /// Resolves when the lock is held; an error when the session waits elsewhere by now, or is gone.
    pub woken: oneshot::Receiver<()>,
}

/// A row of `pg_locks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub pid: i32,
    pub key: Key,
    pub shared: bool,
    pub granted: bool,
}

/// All advisory locks.
#[derive(Default)]
pub(crate) struct Advisory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    locks: HashMap<Key, Lock>,
    /// What each transaction's requests were granted, in order, so that savepoints can take them back.
    taken: HashMap<i32, Vec<Taken>>,
    /// What each session waits for.
    waits: HashMap<i32, Key>,
    /// The newest request.
    number: u64,
}

/// A transaction's granted request.
struct Taken {
    key: Key,
    shared: bool,
    number: u64,
}

#[derive(Default)]
struct Lock {
    holders: BTreeMap<i32, Counts>,
    queue: VecDeque<Waiter>,
}

/// How often a session holds a lock, by [`Hold`].
#[derive(Default, Clone, Copy)]
struct Counts([[u32; 2]; 2]);

struct Waiter {
    pid: i32,
    hold: Hold,
    number: u64,
    wake: oneshot::Sender<()>,
}

impl Counts {
    fn of(&mut self, hold: Hold) -> &mut u32 {
        &mut self.0[usize::from(hold.shared)][usize::from(hold.transaction)]
    }
    fn has(self, shared: bool) -> bool {
        self.0[usize::from(shared)].iter().any(|count| *count > 0)
    }
    fn is_empty(self) -> bool {
        !self.has(false) && !self.has(true)
    }
}

impl Lock {
    /// The other sessions whose holding keeps this one out.
    fn holders_against(&self, pid: i32, shared: bool) -> impl Iterator<Item = i32> + '_ {
        let against = move |(holder, counts): (&i32, &Counts)| {
            (*holder != pid && (!shared || counts.has(false))).then_some(*holder)
        };
        self.holders.iter().filter_map(against)
    }

    /// The waiters before this one that it may not overtake.
    fn waiters_against(&self, pid: i32, shared: bool) -> impl Iterator<Item = i32> + '_ {
        let before = self.queue.iter().take_while(move |waiter| waiter.pid != pid);
        before.filter(move |waiter| !(shared && waiter.hold.shared)).map(|waiter| waiter.pid)
    }
}

impl State {
    fn grant(&mut self, pid: i32, key: Key, hold: Hold, number: u64) {
        *self.locks.entry(key).or_default().holders.entry(pid).or_default().of(hold) += 1;
        if hold.transaction {
            self.taken.entry(pid).or_default().push(Taken { key, shared: hold.shared, number });
        }
    }

    /// Takes one hold away; whether there was one.
    fn drop_one(&mut self, pid: i32, key: Key, hold: Hold) -> bool {
        let Some(counts) = self.locks.get_mut(&key).and_then(|lock| lock.holders.get_mut(&pid)) else { return false };
        let count = counts.of(hold);
        if *count == 0 {
            return false;
        }
        *count -= 1;
        self.settle(key);
        true
    }

    /// Gives a lock to those who wait at the front of its queue, as far as they go together.
    fn settle(&mut self, key: Key) {
        let Some(lock) = self.locks.get_mut(&key) else { return };
        lock.holders.retain(|_, counts| !counts.is_empty());
        while let Some(lock) = self.locks.get_mut(&key) {
            let is_free = |waiter: &Waiter| lock.holders_against(waiter.pid, waiter.hold.shared).next().is_none();
            if !lock.queue.front().is_some_and(is_free) {
                break;
            }
            let Some(waiter) = lock.queue.pop_front() else { break };
            self.waits.remove(&waiter.pid);
            self.grant(waiter.pid, key, waiter.hold, waiter.number);
            // Who left without a word yet is about to call `leave`, which gives the lock back.
            let _ = waiter.wake.send(());
        }
        if self.locks.get(&key).is_some_and(|lock| lock.holders.is_empty() && lock.queue.is_empty()) {
            self.locks.remove(&key);
        }
    }

    /// Whom a session waits for.
    fn blockers(&self, pid: i32) -> Vec<i32> {
        let Some(lock) = self.waits.get(&pid).and_then(|key| self.locks.get(key)) else { return Vec::new() };
        let Some(waiter) = lock.queue.iter().find(|waiter| waiter.pid == pid) else { return Vec::new() };
        let shared = waiter.hold.shared;
        let mut blockers: Vec<i32> = lock.holders_against(pid, shared).collect();
        for ahead in lock.waiters_against(pid, shared) {
            if !blockers.contains(&ahead) {
                blockers.push(ahead);
            }
        }
        blockers
    }

    fn unqueue(&mut self, pid: i32) -> bool {
        let Some(key) = self.waits.remove(&pid) else { return false };
        if let Some(lock) = self.locks.get_mut(&key) {
            lock.queue.retain(|waiter| waiter.pid != pid);
        }
        self.settle(key);
        true
    }
}

impl Advisory {
    /// Asks for a lock.
    pub fn request(&self, pid: i32, key: Key, hold: Hold, wait: bool) -> Requested {
        let mut state = self.state.lock();
        let is_free = state.locks.get(&key).is_none_or(|lock| {
            let has_same = lock.holders.get(&pid).is_some_and(|counts| counts.has(hold.shared));
            has_same
                || (lock.holders_against(pid, hold.shared).next().is_none()
                    && lock.waiters_against(pid, hold.shared).next().is_none())
        });
        state.number += 1;
        let number = state.number;
        if is_free {
            state.grant(pid, key, hold, number);
            return Requested::Granted;
        }
        if !wait {
            return Requested::Refused;
        }
        // A session runs one statement: an older wait is one whose statement was ended.
        state.unqueue(pid);
        let (wake, woken) = oneshot::channel();
        state.locks.entry(key).or_default().queue.push_back(Waiter { pid, hold, number, wake });
        state.waits.insert(pid, key);
        Requested::Queued(Ticket { pid, key, hold, number, woken })
    }

    /// A session no longer waits for a lock. If that came to it at the last moment, it gives it back.
    pub fn leave(&self, ticket: Ticket) {
        let Ticket { pid, key, hold, number, woken } = ticket;
        drop(woken);
        let mut state = self.state.lock();
        if let Some(lock) = state.locks.get_mut(&key)
            && let Some(place) = lock.queue.iter().position(|waiter| waiter.number == number)
        {
            lock.queue.remove(place);
            state.waits.remove(&pid);
            state.settle(key);
            return;
        }
        if hold.transaction {
            let Some(taken) = state.taken.get_mut(&pid) else { return };
            let Some(place) = taken.iter().position(|taken| taken.number == number) else { return };
            taken.remove(place);
        }
        state.drop_one(pid, key, hold);
    }

    /// Gives a session's lock back once; whether the session held it.
    pub fn unlock(&self, pid: i32, key: Key, shared: bool) -> bool {
        self.state.lock().drop_one(pid, key, Hold { shared, transaction: false })
    }

    /// Gives back all that the session, not its transaction, holds.
    pub fn unlock_all(&self, pid: i32) {
        let mut state = self.state.lock();
        let keys: Vec<Key> =
            state.locks.iter().filter(|(_, lock)| lock.holders.contains_key(&pid)).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(counts) = state.locks.get_mut(&key).and_then(|lock| lock.holders.get_mut(&pid)) {
                *counts.of(Hold { shared: false, transaction: false }) = 0;
                *counts.of(Hold { shared: true, transaction: false }) = 0;
            }
            state.settle(key);
        }
    }

    /// A place in the transaction's history, for savepoints.
    pub fn mark(&self, pid: i32) -> usize {
        self.state.lock().taken.get(&pid).map_or(0, Vec::len)
    }

    /// Gives back what the transaction took since the mark; 0 is its end.
    pub fn back_to(&self, pid: i32, mark: usize) {
        let mut state = self.state.lock();
        let Some(taken) = state.taken.get_mut(&pid) else { return };
        let gone = taken.split_off(mark.min(taken.len()));
        if taken.is_empty() {
            state.taken.remove(&pid);
        }
        for Taken { key, shared, .. } in gone.into_iter().rev() {
            state.drop_one(pid, key, Hold { shared, transaction: true });
        }
    }

    /// The session ends.
    pub fn forget(&self, pid: i32) {
        self.state.lock().unqueue(pid);
        self.back_to(pid, 0);
        self.unlock_all(pid);
    }

    /// Whom a session waits for: who holds the lock, and who waits before it.
    pub fn blockers(&self, pid: i32) -> Vec<i32> {
        self.state.lock().blockers(pid)
    }

    /// The lock that a session waits for, and whether it would share it.
    pub fn waited_for(&self, pid: i32) -> Option<(Key, bool)> {
        let state = self.state.lock();
        let key = *state.waits.get(&pid)?;
        let waiter = state.locks.get(&key)?.queue.iter().find(|waiter| waiter.pid == pid)?;
        Some((key, waiter.hold.shared))
    }

    /// Every lock that is held or waited for.
    pub fn shown(&self) -> Vec<Shown> {
        let state = self.state.lock();
        let mut shown = Vec::new();
        for (key, lock) in &state.locks {
            for (pid, counts) in &lock.holders {
                for shared in [false, true].into_iter().filter(|shared| counts.has(*shared)) {
                    shown.push(Shown { pid: *pid, key: *key, shared, granted: true });
                }
            }
            let waits =
                |waiter: &Waiter| Shown { pid: waiter.pid, key: *key, shared: waiter.hold.shared, granted: false };
            shown.extend(lock.queue.iter().map(waits));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (7, false);
    const EXCLUSIVE: Hold = Hold { shared: false, transaction: false };
    const SHARED: Hold = Hold { shared: true, transaction: false };

    /// A shared request does not overtake an exclusive one that waits.
    #[test]
    fn nobody_overtakes_a_waiter() {
        let locks = Advisory::default();
        assert!(matches!(locks.request(1, KEY, SHARED, true), Requested::Granted));
        let Requested::Queued(mut second) = locks.request(2, KEY, EXCLUSIVE, true) else { panic!("2 waits") };
        assert!(matches!(locks.request(3, KEY, SHARED, false), Requested::Refused));
        assert!(matches!(locks.request(1, KEY, SHARED, false), Requested::Granted));
        assert_eq!(locks.blockers(2), [1]);
        assert!(locks.unlock(1, KEY, true));
        assert!(second.woken.try_recv().is_err());
        assert!(locks.unlock(1, KEY, true));
        assert!(second.woken.try_recv().is_ok());
        assert!(!locks.unlock(1, KEY, true));
    }

    /// Who leaves makes room for those behind; who leaves too late gives back what came.
    #[test]
    fn who_leaves_keeps_nothing() {
        let locks = Advisory::default();
        let held = Hold { shared: false, transaction: true };
        assert!(matches!(locks.request(1, KEY, EXCLUSIVE, true), Requested::Granted));
        let Requested::Queued(second) = locks.request(2, KEY, held, true) else { panic!("2 waits") };
        let Requested::Queued(mut third) = locks.request(3, KEY, EXCLUSIVE, true) else { panic!("3 waits") };
        assert_eq!(locks.blockers(3), [1, 2]);
        assert!(locks.unlock(1, KEY, false));
        assert_eq!(locks.mark(2), 1);
        locks.leave(second);
        assert_eq!(locks.mark(2), 0);
        assert!(third.woken.try_recv().is_ok());
        locks.forget(3);
        assert!(locks.state.lock().locks.is_empty());
    }

    /// A late departure does not touch what the session's next transaction holds.
    #[test]
    fn a_late_departure_is_its_own() {
        let locks = Advisory::default();
        let held = Hold { shared: false, transaction: true };
        assert!(matches!(locks.request(1, KEY, EXCLUSIVE, true), Requested::Granted));
        let Requested::Queued(old) = locks.request(2, KEY, held, true) else { panic!("2 waits") };
        assert!(locks.unlock(1, KEY, false));
        locks.back_to(2, 0);
        assert!(matches!(locks.request(2, KEY, held, true), Requested::Granted));
        locks.leave(old);
        assert!(matches!(locks.request(3, KEY, EXCLUSIVE, false), Requested::Refused));
    }

    /// What a transaction took goes with it, or with the savepoint before it.
    #[test]
    fn a_transaction_gives_back_what_it_took() {
        let locks = Advisory::default();
        let held = Hold { shared: false, transaction: true };
        assert!(matches!(locks.request(1, KEY, held, true), Requested::Granted));
        let mark = locks.mark(1);
        assert!(matches!(locks.request(1, (8, false), held, true), Requested::Granted));
        assert!(!locks.unlock(1, KEY, false));
        locks.back_to(1, mark);
        assert!(matches!(locks.request(2, (8, false), EXCLUSIVE, false), Requested::Granted));
        assert!(matches!(locks.request(2, KEY, EXCLUSIVE, false), Requested::Refused));
        locks.back_to(1, 0);
        assert!(matches!(locks.request(2, KEY, EXCLUSIVE, false), Requested::Granted));
    }
}
