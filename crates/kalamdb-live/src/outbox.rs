//! A session's outbox: messages in commit order, bounded in bytes.
//!
//! The dispatcher never waits for a reader. A live query whose events do not fit any more loses those that wait, is
//! told `overflow` with the last position that its reader took, and ends. Plain notifications may not be lost
//! silently: a session that leaves them unread past a larger bound is told so by [`Outbox::lost`], and must end.

use crate::dispatcher::Live;
use crate::event::Change;
use crate::query::{Follow, LiveId, Progress, Reader};
use bytes::Bytes;
use kalamdb_commons::{Result, Seq, UserId};
use kalamdb_store::ReadView;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// What a session may have waiting when a live query's event comes, in bytes.
pub(crate) const LIVE_BYTES_MAX: usize = 1 << 20;
/// What a session may have waiting when a plain notification comes, in bytes.
pub(crate) const NOTIFY_BYTES_MAX: usize = 64 << 20;

/// A notification for the client.
#[derive(Debug, Clone)]
pub struct Message {
    /// The sender's process id.
    pub pid: i32,
    /// The channel.
    pub channel: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The live query that it is from.
    pub(crate) origin: Option<Origin>,
}

/// Which event of which live query a message is.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub query: u64,
    pub seq: Seq,
    pub progress: Arc<Progress>,
}

impl Message {
    pub(crate) fn bytes(&self) -> usize {
        96 + self.channel.len() + self.payload.len()
    }
}

/// Items that wait for one reader.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Notify,
    /// Something was lost that the reader cannot be told of in the queue.
    lost: watch::Sender<bool>,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let waiting = Mutex::new(Waiting { items: VecDeque::new(), bytes: 0 });
        Self { waiting, arrived: Notify::new(), lost: watch::Sender::new(false) }
    }
}

impl<T> Queue<T> {
    /// Adds an item unless more than `bytes_max` would wait; an empty queue takes any.
    pub fn push(&self, item: T, bytes: usize, bytes_max: usize) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.items.is_empty() && waiting.bytes.saturating_add(bytes) > bytes_max {
            return false;
        }
        waiting.bytes += bytes;
        waiting.items.push_back((item, bytes));
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    fn pop(&self) -> Option<T> {
        let mut waiting = self.waiting.lock();
        let (item, bytes) = waiting.items.pop_front()?;
        waiting.bytes -= bytes;
        Some(item)
    }

    /// The next item. Safe to drop while pending.
    pub async fn next(&self) -> T {
        loop {
            if let Some(item) = self.pop() {
                return item;
            }
            self.arrived.notified().await;
        }
    }

    /// How many items wait that `counts` names.
    pub fn count(&self, counts: impl Fn(&T) -> bool) -> usize {
        self.waiting.lock().items.iter().filter(|(item, _)| counts(item)).count()
    }

    /// Takes out what `gone` names.
    pub fn remove(&self, gone: impl Fn(&T) -> bool) {
        let mut waiting = self.waiting.lock();
        waiting.items.retain(|(item, _)| !gone(item));
        waiting.bytes = waiting.items.iter().map(|(_, bytes)| bytes).sum();
    }

    pub fn lose(&self) {
        self.lost.send_replace(true);
    }

    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }
}

/// Where a query's events go.
#[derive(Clone)]
pub(crate) enum Sink {
    /// The session's outbox, as JSON.
    Channel(Arc<Queue<Message>>),
    /// A COPY's own queue.
    Stream(Arc<Queue<Change>>),
}

impl Sink {
    /// How many events of a query wait.
    pub fn waiting(&self, query: u64) -> usize {
        match self {
            Sink::Channel(queue) => queue.count(|message| is_from(message, query)),
            Sink::Stream(queue) => queue.count(|_| true),
        }
    }

    /// Drops the events of a query that wait.
    pub fn clear(&self, query: u64) {
        match self {
            Sink::Channel(queue) => queue.remove(|message| is_from(message, query)),
            Sink::Stream(queue) => queue.remove(|_| true),
        }
    }
}

fn is_from(message: &Message, query: u64) -> bool {
    message.origin.as_ref().is_some_and(|origin| origin.query == query)
}

/// A session's subscriptions: its channels and its live queries. Dropping it ends them all.
pub struct Outbox {
    live: Live,
    pid: i32,
    user: UserId,
    queue: Arc<Queue<Message>>,
}

impl Outbox {
    pub(crate) fn new(live: Live, pid: i32, user: UserId, queue: Arc<Queue<Message>>) -> Self {
        Self { live, pid, user, queue }
    }

    /// LISTEN took effect.
    pub fn listen(&mut self, channel: &str) {
        self.live.listen(channel, self.pid);
    }

    /// UNLISTEN took effect; a live query on that channel ends too, but for those that were begun after it was said.
    pub fn unlisten(&mut self, channel: &str, but: &[LiveId]) {
        self.live.unlisten(channel, self.pid, but);
    }

    /// UNLISTEN *, with the same exception.
    pub fn unlisten_all(&mut self, but: &[LiveId]) {
        self.live.unlisten_all(self.pid, but);
    }

    /// The transaction that began a live query is rolled back: it ends without a word, and its events that wait go.
    pub fn take_back(&mut self, query: LiveId) {
        self.live.take_back(query.0);
    }

    /// Ends all live queries on channels; plain channels stay.
    pub fn end_live_queries(&mut self) {
        self.live.end_queries(self.pid);
    }

    /// `pg_listening_channels()`
    pub fn channels(&self) -> Vec<String> {
        self.live.channels_of(self.pid)
    }

    /// The next message. Safe to drop while pending.
    pub async fn next(&self) -> Message {
        let message = self.queue.next().await;
        if let Some(origin) = &message.origin {
            origin.progress.took(origin.seq);
        }
        message
    }

    /// Whether plain notifications were lost: see [`Outbox::lost`].
    pub fn is_lost(&self) -> bool {
        self.queue.is_lost()
    }

    /// Returns when plain notifications were lost, because too many waited or the dispatcher fell behind: the session
    /// cannot be told which, so it must end. Safe to drop while pending.
    pub async fn lost(&self) {
        // The sender is in the queue, which is ours: waiting cannot fail.
        let _ = self.queue.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// Starts a live query: the view holds the initial rows, events are what comes after it.
    ///
    /// # Errors
    /// 42710 when the channel follows something else; 0A000 for what cannot be followed; the compiler's and the
    /// store's.
    pub async fn follow(&mut self, follow: Follow) -> Result<(ReadView, LiveId)> {
        let sink = Sink::Channel(self.queue.clone());
        let reader = Reader { pid: self.pid, user: self.user, sink };
        self.live.follow(reader, follow).await.map(|(view, query)| (view, LiveId(query.number)))
    }

    /// Starts a live query whose events are read by the caller.
    ///
    /// # Errors
    /// As [`Outbox::follow`].
    pub async fn stream(&mut self, follow: Follow) -> Result<(ReadView, LiveRows)> {
        let queue = Arc::new(Queue::default());
        let reader = Reader { pid: self.pid, user: self.user, sink: Sink::Stream(queue.clone()) };
        let (view, query) = self.live.follow(reader, follow).await?;
        let (live, progress) = (self.live.clone(), query.progress.clone());
        Ok((view, LiveRows { live, query: query.number, progress, queue, last: None }))
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.live.leave(self.pid);
    }
}

/// A live query's events, for one reader. Dropping it ends the query.
pub struct LiveRows {
    live: Live,
    query: u64,
    progress: Arc<Progress>,
    queue: Arc<Queue<Change>>,
    last: Option<Change>,
}

impl LiveRows {
    /// The next event; after the last one, that one again. Safe to drop while pending.
    pub async fn next(&mut self) -> Change {
        if let Some(last) = &self.last {
            return last.clone();
        }
        let change = self.queue.next().await;
        self.progress.took(change.seq);
        if change.is_last {
            self.last = Some(change.clone());
        }
        change
    }
}

impl Drop for LiveRows {
    fn drop(&mut self) {
        self.live.forget(self.query);
    }
}
