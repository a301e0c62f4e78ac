//! The feed: what was committed, in commit order, handed over in memory.
//!
//! A ring bounded in bytes. The committer never waits for a reader: one that falls behind is told so, once, and goes
//! on with what is still there. Only durable commits come here.

use crate::definition::Change;
use bytes::Bytes;
use kalamdb_commons::{Scope, Seq, TableId};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// One commit. It is complete in itself: nothing else is needed to follow the history.
#[derive(Debug, Clone)]
pub struct CommitRecord {
    /// The writer's epoch.
    pub epoch: u64,
    /// Its first position; above `seq_last` when it changed no rows.
    pub seq_first: Seq,
    /// Its last position.
    pub seq_last: Seq,
    /// Its stamp, microseconds since 1970 UTC.
    pub stamp_us: i64,
    /// The rows, in the order of their positions.
    pub changes: Vec<RowChange>,
    /// The definitions, in the order they were made.
    pub definitions: Vec<Change>,
    /// NOTIFY.
    pub notifications: Vec<Notification>,
}

/// One changed row.
#[derive(Debug, Clone)]
pub struct RowChange {
    /// Its table.
    pub table: TableId,
    /// Its partition.
    pub scope: Scope,
    /// Its key (the part behind the partition's prefix).
    pub key: Bytes,
    /// The stored row before; `None`: inserted.
    pub old: Option<Bytes>,
    /// The stored row after; `None`: deleted.
    pub new: Option<Bytes>,
    /// Its position.
    pub seq: Seq,
}

/// What NOTIFY sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// The channel.
    pub channel: String,
    /// The payload.
    pub payload: String,
    /// The backend that sent it.
    pub sender_pid: i32,
}

impl CommitRecord {
    /// About how much memory it holds.
    fn bytes(&self) -> usize {
        let rows = |change: &RowChange| {
            128 + change.key.len()
                + change.old.as_ref().map_or(0, Bytes::len)
                + change.new.as_ref().map_or(0, Bytes::len)
        };
        let texts = |note: &Notification| 64 + note.channel.len() + note.payload.len();
        256 + self.changes.iter().map(rows).sum::<usize>()
            + self.definitions.len() * 1024
            + self.notifications.iter().map(texts).sum::<usize>()
    }
}

/// A reader fell behind the ring: what it missed is not in memory any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{missed} commits were missed")]
pub struct Lagged {
    /// How many commits.
    pub missed: u64,
}

/// The commits that readers may still ask for.
pub(super) struct Ring {
    state: Mutex<State>,
    /// The number of the next commit: wakes readers.
    head: watch::Sender<u64>,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    records: VecDeque<(Arc<CommitRecord>, usize)>,
    /// The number of the first one here.
    first: u64,
    bytes: usize,
    closed: bool,
}

impl Ring {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), head: watch::Sender::new(0), bytes_max })
    }

    /// Whether anybody reads.
    pub fn is_followed(&self) -> bool {
        self.head.receiver_count() > 0
    }

    /// Adds commits. Those that were put together when nobody read are not `whole`: they are passed over, and a reader
    /// that came in the meantime is told that it missed them.
    pub fn push(&self, records: impl IntoIterator<Item = Arc<CommitRecord>>, whole: bool) {
        let mut state = self.state.lock();
        for record in records {
            if !whole {
                state.first += state.records.len() as u64 + 1;
                state.records.clear();
                state.bytes = 0;
                continue;
            }
            let bytes = record.bytes();
            state.records.push_back((record, bytes));
            state.bytes += bytes;
            // The newest stays, however large: somebody is about to read it.
            while state.bytes > self.bytes_max && state.records.len() > 1 {
                if let Some((_, bytes)) = state.records.pop_front() {
                    state.bytes -= bytes;
                    state.first += 1;
                }
            }
        }
        let head = state.first + state.records.len() as u64;
        drop(state);
        self.head.send_replace(head);
    }

    pub fn close(&self) {
        self.state.lock().closed = true;
        self.head.send_modify(|_| {});
    }

    pub fn subscribe(self: &Arc<Self>) -> Feed {
        let state = self.state.lock();
        let next = state.first + state.records.len() as u64;
        // Under the lock: the next commit finds a reader.
        let head = self.head.subscribe();
        drop(state);
        Feed { ring: self.clone(), head, next }
    }
}

/// A reader of the feed, from the moment it was made. Taken inside [`super::Engine::fixed_point`] it begins exactly
/// behind the published state that the closure is given.
pub struct Feed {
    ring: Arc<Ring>,
    head: watch::Receiver<u64>,
    next: u64,
}

impl Feed {
    /// The next commit; `None` when the store was closed. Cancel-safe.
    ///
    /// # Errors
    /// [`Lagged`], once: the call after it gives the oldest commit that is there.
    pub async fn next(&mut self) -> Result<Option<Arc<CommitRecord>>, Lagged> {
        loop {
            self.head.borrow_and_update();
            if let Some(found) = self.try_next()? {
                return Ok(Some(found));
            }
            if self.ring.state.lock().closed || self.head.changed().await.is_err() {
                return self.try_next();
            }
        }
    }

    /// The next commit if there is one already.
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<CommitRecord>>, Lagged> {
        let state = self.ring.state.lock();
        if self.next < state.first {
            let missed = state.first - self.next;
            self.next = state.first;
            return Err(Lagged { missed });
        }
        let place = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
        let found = state.records.get(place).map(|(record, _)| record.clone());
        self.next += u64::from(found.is_some());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, payload: usize) -> Arc<CommitRecord> {
        let note = Notification { channel: "c".into(), payload: "x".repeat(payload), sender_pid: 1 };
        Arc::new(CommitRecord {
            epoch: 1,
            seq_first: Seq(seq),
            seq_last: Seq(seq),
            stamp_us: 0,
            changes: vec![],
            definitions: vec![],
            notifications: vec![note],
        })
    }

    /// A slow reader is told how much it missed, and goes on; the ring stays within its bound.
    #[tokio::test]
    async fn a_slow_reader_is_told() {
        let ring = Ring::new(4000);
        ring.push([record(1, 10)], false);
        let mut feed = ring.subscribe();
        ring.push((2..=10).map(|seq| record(seq, 600)), true);
        assert_eq!(feed.next().await.err(), Some(Lagged { missed: 5 }));
        for seq in 7..=10 {
            let got = feed.next().await.expect("no lag").expect("open");
            assert_eq!(got.seq_last, Seq(seq));
        }
        ring.push([record(11, 100_000)], true);
        assert_eq!(feed.next().await.expect("no lag").expect("open").seq_last, Seq(11));
        ring.close();
        assert!(feed.next().await.expect("no lag").is_none());
    }
}
