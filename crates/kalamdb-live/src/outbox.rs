//! A session's outbox: messages in commit order, bounded in bytes.
//!
//! The dispatcher never waits for a reader. A live query whose session's box is full is told `overflow` and ended; a
//! session that leaves plain notifications unread past a larger bound is ended, since none may be lost silently.

use crate::dispatcher::Live;
use crate::event::Change;
use crate::query::Follow;
use bytes::Bytes;
use kalamdb_commons::{Result, UserId};
use kalamdb_store::ReadView;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// What a session's live queries may have waiting, in bytes.
pub(crate) const LIVE_BYTES_MAX: usize = 1 << 20;
/// What a session's plain notifications may have waiting, in bytes.
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
}

impl Message {
    fn bytes(&self) -> usize {
        64 + self.channel.len() + self.payload.len()
    }
}

/// Messages that wait for one reader.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { items: VecDeque::new(), bytes: 0 }), arrived: Notify::new() }
    }
}

impl<T> Queue<T> {
    /// Adds an item unless more than `bytes_max` would wait; an empty queue takes any.
    pub fn push(&self, item: T, bytes: usize, bytes_max: usize) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.items.is_empty() && waiting.bytes + bytes > bytes_max {
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

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().items.len()
    }

    /// Takes out what `gone` names.
    pub fn remove(&self, gone: impl Fn(&T) -> bool) {
        let mut waiting = self.waiting.lock();
        waiting.items.retain(|(item, _)| !gone(item));
        waiting.bytes = waiting.items.iter().map(|(_, bytes)| bytes).sum();
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
    /// How many events wait.
    pub fn len(&self) -> usize {
        match self {
            Sink::Channel(queue) => queue.len(),
            Sink::Stream(queue) => queue.len(),
        }
    }
}

/// Puts a message in; `false` when the box is full.
pub(crate) fn post(queue: &Queue<Message>, message: Message, bytes_max: usize) -> bool {
    let bytes = message.bytes();
    queue.push(message, bytes, bytes_max)
}

/// A session's subscriptions. Dropping it ends them all.
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

    /// UNLISTEN took effect; a live query on that channel ends too.
    pub fn unlisten(&mut self, channel: &str) {
        self.live.unlisten(channel, self.pid);
    }

    /// UNLISTEN *
    pub fn unlisten_all(&mut self) {
        self.live.unlisten_all(self.pid);
    }

    /// Ends all live queries; plain channels stay.
    pub fn end_live_queries(&mut self) {
        self.live.end_queries(self.pid);
    }

    /// `pg_listening_channels()`
    pub fn channels(&self) -> Vec<String> {
        self.live.channels_of(self.pid)
    }

    /// The next message. Safe to drop while pending.
    pub async fn next(&mut self) -> Message {
        self.queue.next().await
    }

    /// Starts a live query: the view holds the initial rows, events are what comes after it.
    ///
    /// # Errors
    /// 42710 when the channel follows something else; the compiler's and the store's.
    pub async fn follow(&mut self, follow: Follow) -> Result<ReadView> {
        let sink = Sink::Channel(self.queue.clone());
        self.live.follow(self.pid, self.user, sink, follow).await.map(|(view, _)| view)
    }

    /// Starts a live query whose events are read by the caller.
    ///
    /// # Errors
    /// As [`Outbox::follow`].
    pub async fn stream(&mut self, follow: Follow) -> Result<(ReadView, LiveRows)> {
        let queue = Arc::new(Queue::default());
        let (view, id) = self.live.follow(self.pid, self.user, Sink::Stream(queue.clone()), follow).await?;
        Ok((view, LiveRows { live: self.live.clone(), id, queue, last: None }))
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
    id: String,
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
        if change.is_last {
            self.last = Some(change.clone());
        }
        change
    }
}

impl Drop for LiveRows {
    fn drop(&mut self) {
        self.live.forget(&self.id);
    }
}

