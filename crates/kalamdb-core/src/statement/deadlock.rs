//! Who waits for whom, through advisory locks and through the locks of rows and tables alike.
//!
//! The store looks for cycles among its own locks when a wait for one of them lasts. A cycle that an advisory lock is
//! part of is found here, by the session that waits for the advisory lock: it looks when it begins to wait and again
//! while it waits, for the last one to join the cycle may be one that waits for a row.

use crate::hall::Hall;
use crate::settings::DATABASE_OID;
use kalamdb_commons::{SqlError, SqlState};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The sessions that keep this one waiting.
pub(super) fn blockers(hall: &Hall, pid: i32) -> Vec<i32> {
    let registry = &hall.registry;
    let mut pids = registry.advisory.blockers(pid);
    if let Some(transaction) = registry.transaction_of(pid) {
        for blocker in hall.store.lock_blockers(transaction) {
            pids.extend(registry.pid_of(blocker).filter(|blocker| !pids.contains(blocker)));
        }
    }
    pids
}

/// A cycle that a waiting session is part of, beginning with it; each waits for the next, and the last for the first.
fn cycle(hall: &Hall, pid: i32) -> Option<Vec<i32>> {
    let mut reached_from: HashMap<i32, i32> = HashMap::new();
    let mut open = vec![pid];
    while let Some(waiter) = open.pop() {
        for blocker in blockers(hall, waiter) {
            if blocker == pid {
                let mut way = vec![waiter];
                while let Some(before) = way.last().and_then(|last| reached_from.get(last)) {
                    way.push(*before);
                }
                way.reverse();
                return Some(way);
            }
            if let Entry::Vacant(new) = reached_from.entry(blocker) {
                new.insert(waiter);
                open.push(blocker);
            }
        }
    }
    None
}

/// 40P01 for a session whose wait would never end.
pub(super) fn found(hall: &Hall, pid: i32) -> Option<SqlError> {
    let way = cycle(hall, pid)?;
    let lines: Vec<String> = way
        .iter()
        .zip(way.iter().cycle().skip(1))
        .map(|(waiter, blocker)| {
            format!("Process {waiter} waits for {}; blocked by process {blocker}.", waited_for(hall, *waiter))
        })
        .collect();
    let error = SqlError::new(SqlState::T_R_DEADLOCK_DETECTED, "deadlock detected");
    Some(error.with_detail(lines.join("\n")).with_hint("See server log for query details."))
}

/// What a session waits for, as PostgreSQL writes it where it is an advisory lock.
fn waited_for(hall: &Hall, pid: i32) -> String {
    let Some(((key, is_two), shared)) = hall.registry.advisory.waited_for(pid) else {
        return "a lock of a row or table".to_owned();
    };
    let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
    let (high, low, part) = ((key >> 32) as u32, key as u32, if is_two { 2 } else { 1 });
    format!("{mode} on advisory lock [{DATABASE_OID},{high},{low},{part}]")
}
