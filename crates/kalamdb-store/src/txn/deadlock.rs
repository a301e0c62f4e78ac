//! Waiting for a lock, and what to do about waits that can never end.
//!
//! Nobody keeps a graph: it is read from the queues when somebody has waited for a moment. The last one to join a
//! cycle sees the whole of it, because the waits in it are all there by then and none of them ends by itself. The
//! youngest transaction of the cycle is given 40P01.

use super::TxnId;
use super::lock::{LockTable, Requested, Ticket, Woken};
use crate::error::{LockedThing, StoreError};
use rustc_hash::FxHashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Most waits end sooner; those need no search. PostgreSQL's `deadlock_timeout` is a second because its search stops
/// all lock traffic; this one takes one queue at a time.
const SEARCH_AFTER: Duration = Duration::from_millis(20);

/// Waits for a lock if it has to. `Ok(false)`: SKIP LOCKED, and it is not free.
pub(super) async fn settle(
    table: &Arc<LockTable>,
    requested: Requested,
    wait: super::lock::LockWait,
    thing: impl FnOnce() -> LockedThing,
) -> Result<bool, StoreError> {
    use super::lock::LockWait;
    match (requested, wait) {
        (Requested::Granted | Requested::Already, _) => Ok(true),
        (Requested::Refused, LockWait::Skip) => Ok(false),
        (Requested::Refused, _) => Err(StoreError::NotAvailable(thing())),
        (Requested::Queued(ticket), LockWait::Block(timeout)) => stand(table, ticket, timeout).await.map(|()| true),
        (Requested::Queued(ticket), _) => stand(table, ticket, None).await.map(|()| true),
    }
}

async fn stand(table: &Arc<LockTable>, mut ticket: Ticket, timeout: Option<Duration>) -> Result<(), StoreError> {
    let start = Instant::now();
    let first = timeout.map_or(SEARCH_AFTER, |timeout| timeout.min(SEARCH_AFTER));
    if let Ok(woken) = tokio::time::timeout(first, &mut ticket.woken).await {
        return ended(woken);
    }
    // One may wait in several cycles at once.
    while let Some(victim) = youngest_of_cycle(table, ticket.txn) {
        table.deadlocks.fetch_add(1, Ordering::Relaxed);
        if victim == ticket.txn {
            return Err(StoreError::Deadlock);
        }
        table.sacrifice(victim);
    }
    match timeout {
        None => ended((&mut ticket.woken).await),
        Some(timeout) => {
            let rest = timeout.saturating_sub(start.elapsed());
            match tokio::time::timeout(rest, &mut ticket.woken).await {
                Ok(woken) => ended(woken),
                Err(_) => Err(StoreError::LockTimeout),
            }
        }
    }
}

fn ended(woken: Result<Woken, tokio::sync::oneshot::error::RecvError>) -> Result<(), StoreError> {
    match woken {
        Ok(Woken::Granted) => Ok(()),
        Ok(Woken::Victim) => Err(StoreError::Deadlock),
        Err(_) => Err(StoreError::Closed),
    }
}

/// The youngest transaction of a cycle that `start` waits in.
fn youngest_of_cycle(table: &LockTable, start: TxnId) -> Option<TxnId> {
    let mut seen = FxHashSet::default();
    let mut path = vec![(start, table.blockers(start))];
    while let Some((_, blockers)) = path.last_mut() {
        match blockers.pop() {
            Some(next) if next == start => return path.iter().map(|(txn, _)| *txn).max(),
            Some(next) => {
                if seen.insert(next) {
                    path.push((next, table.blockers(next)));
                }
            }
            None => {
                path.pop();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::lock::{Held, LockStrength, LockWait};
    use super::*;
    use crate::kv::Key;

    async fn lock(table: &Arc<LockTable>, held: &mut Held, key: &'static [u8]) -> Result<bool, StoreError> {
        let wait = LockWait::Block(None);
        let requested = held.row(Key::from(key), LockStrength::Update, wait);
        settle(table, requested, wait, || LockedThing::Row(String::new())).await
    }

    /// Three in a circle: the youngest is given up, the others go on.
    #[tokio::test]
    async fn a_circle_costs_its_youngest() {
        let table = LockTable::new();
        let keys: [&'static [u8]; 3] = [b"a", b"b", b"c"];
        let mut tasks = Vec::new();
        let barrier = Arc::new(tokio::sync::Barrier::new(3));
        for txn in 0..3usize {
            let (table, barrier) = (table.clone(), barrier.clone());
            tasks.push(tokio::spawn(async move {
                let mut held = Held::new(table.clone(), TxnId(txn as u64 + 1));
                assert_eq!(lock(&table, &mut held, keys[txn]).await.ok(), Some(true));
                barrier.wait().await;
                lock(&table, &mut held, keys[(txn + 1) % 3]).await
            }));
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("no panic"));
        }
        assert!(matches!(outcomes[2], Err(StoreError::Deadlock)), "{outcomes:?}");
        assert!(outcomes[..2].iter().all(|outcome| matches!(outcome, Ok(true))), "{outcomes:?}");
        assert_eq!(table.len(), 0);
    }

    /// `lock_timeout`, and a wait that only looks long is no deadlock.
    #[tokio::test]
    async fn a_wait_ends_by_its_timeout() {
        let table = LockTable::new();
        let (mut a, mut b) = (Held::new(table.clone(), TxnId(1)), Held::new(table.clone(), TxnId(2)));
        assert!(lock(&table, &mut a, b"k").await.is_ok());
        let wait = LockWait::Block(Some(Duration::from_millis(40)));
        let requested = b.row(Key::from(&b"k"[..]), LockStrength::KeyShare, wait);
        let outcome = settle(&table, requested, wait, || LockedThing::Row(String::new())).await;
        assert!(matches!(outcome, Err(StoreError::LockTimeout)));
    }
}
