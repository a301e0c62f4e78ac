//! The dispatcher: one task that reads the feed in commit order and fills outboxes.

use crate::channel::Channels;
use crate::event::Change;
use crate::outbox::{LIVE_BYTES_MAX, Message, NOTIFY_BYTES_MAX, Outbox, Queue, Sink, post};
use crate::query::{Follow, LiveQueryFacts, Query, channel_taken};
use bytes::Bytes;
use kalamdb_commons::{Result, Scope, Seq, SqlError, TableId, UserId, clock};
use kalamdb_store::{Change as Definition, CommitRecord, Feed, ReadView, RowChange, Store};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Channels and live queries of all sessions.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    state: Mutex<State>,
    next_id: AtomicU64,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<i32, Session>,
    channels: Channels,
    queries: BTreeMap<String, Arc<Query>>,
    /// The queries on each table and partition: a change costs who follows it.
    places: FxHashMap<(TableId, Scope), Vec<Arc<Query>>>,
    overflowed: u64,
}

struct Session {
    queue: Arc<Queue<Message>>,
    /// Set when the session's plain notifications did not fit: it must end.
    lost: bool,
}

impl Live {
    /// Starts the dispatcher. Must be called inside a tokio runtime; it ends when the store is shut down.
    pub fn new(store: &Store) -> Self {
        let inner = Arc::new(Inner { store: store.clone(), state: Mutex::default(), next_id: AtomicU64::new(1) });
        tokio::spawn(run(Arc::downgrade(&inner), store.feed()));
        Self { inner }
    }

    /// A session's outbox.
    pub fn outbox(&self, pid: i32, user: UserId) -> Outbox {
        let queue = Arc::new(Queue::default());
        self.inner.state.lock().sessions.insert(pid, Session { queue: queue.clone(), lost: false });
        Outbox::new(self.clone(), pid, user, queue)
    }

    /// The running queries.
    pub fn queries(&self) -> Vec<LiveQueryFacts> {
        let state = self.inner.state.lock();
        state.queries.values().map(|query| facts(query)).collect()
    }

    /// Ends a query if its owner passes `allowed`: whether it did, `None` when there is none.
    pub fn kill(&self, id: &str, allowed: impl Fn(UserId) -> bool) -> Option<bool> {
        let mut state = self.inner.state.lock();
        let query = state.queries.get(id)?.clone();
        if !allowed(query.user) {
            return Some(false);
        }
        state.end(&query, Change::control("ended", last(&query), Some("killed"), true));
        Some(true)
    }

    pub(crate) fn listen(&self, channel: &str, pid: i32) {
        self.inner.state.lock().channels.listen(channel, pid);
    }

    pub(crate) fn unlisten(&self, channel: &str, pid: i32) {
        let mut state = self.inner.state.lock();
        state.channels.unlisten(channel, pid);
        state.drop_queries(|query| query.pid == pid && &*query.channel == channel && is_channel(query));
    }

    pub(crate) fn unlisten_all(&self, pid: i32) {
        let mut state = self.inner.state.lock();
        state.channels.unlisten_all(pid);
        state.drop_queries(|query| query.pid == pid && is_channel(query));
    }

    pub(crate) fn end_queries(&self, pid: i32) {
        self.inner.state.lock().drop_queries(|query| query.pid == pid && is_channel(query));
    }

    pub(crate) fn channels_of(&self, pid: i32) -> Vec<String> {
        let state = self.inner.state.lock();
        let mut channels = state.channels.of(pid);
        let live = state.queries.values().filter(|query| query.pid == pid && is_channel(query));
        channels.extend(live.map(|query| query.channel.to_string()));
        channels.sort();
        channels.dedup();
        channels
    }

    pub(crate) fn leave(&self, pid: i32) {
        let mut state = self.inner.state.lock();
        state.sessions.remove(&pid);
        state.channels.unlisten_all(pid);
        state.drop_queries(|query| query.pid == pid);
    }

    pub(crate) fn forget(&self, id: &str) {
        self.inner.state.lock().drop_queries(|query| query.id == id);
    }

    /// Registers a query between two commit groups.
    pub(crate) async fn follow(
        &self,
        pid: i32,
        user: UserId,
        sink: Sink,
        follow: Follow,
    ) -> Result<(ReadView, String)> {
        let id = format!("LQ{}", self.inner.next_id.fetch_add(1, Ordering::Relaxed));
        if let Sink::Channel(_) = sink {
            let state = self.inner.state.lock();
            let mut own = state.queries.values().filter(|query| query.pid == pid && is_channel(query));
            if own.any(|query| *query.channel == *follow.channel) {
                return Err(channel_taken(&follow.channel));
            }
        }
        let (inner, key, query_id) = (self.inner.clone(), (follow.table.id, follow.scope), id.clone());
        let version = follow.table.schema_version;
        // Compiling is the session's work; only the registration happens on the committer's thread.
        let query = Query::new(id.clone(), pid, user, sink, Seq(0), follow, clock::now_us())?;
        let view = self
            .inner
            .store
            .fixed_view(move |published| {
                let current = published.catalog.table(key.0).is_some_and(|table| table.schema_version == version);
                let query = Arc::new(Query { from: published.seq, last_seq: AtomicU64::new(published.seq.0), ..query });
                let mut state = inner.state.lock();
                // A session that left meanwhile must leave nothing behind.
                if current && state.sessions.contains_key(&pid) {
                    state.queries.insert(query_id, query.clone());
                    state.places.entry(key).or_default().push(query);
                }
                current
            })
            .await?;
        match view {
            (view, true) => Ok((view, id)),
            (_, false) => Err(SqlError::new(
                kalamdb_commons::SqlState::T_R_SERIALIZATION_FAILURE,
                "the relation changed while the live query was starting",
            )),
        }
    }
}

fn is_channel(query: &Query) -> bool {
    matches!(query.sink, Sink::Channel(_))
}

fn last(query: &Query) -> Seq {
    Seq(query.last_seq.load(Ordering::Relaxed))
}

fn facts(query: &Arc<Query>) -> LiveQueryFacts {
    LiveQueryFacts {
        live_id: query.id.clone(),
        pid: query.pid,
        user: query.user,
        channel: query.channel.to_string(),
        table: query.table().id,
        text: query.text.clone(),
        state: "active",
        queued: query.sink.len() as u64,
        delivered: query.delivered.load(Ordering::Relaxed),
        overflowed: 0,
        last_seq: last(query),
        created_at: query.created_at,
    }
}

impl State {
    fn drop_queries(&mut self, gone: impl Fn(&Query) -> bool) {
        self.queries.retain(|_, query| !gone(query));
        self.places.retain(|_, queries| {
            queries.retain(|query| !gone(query));
            !queries.is_empty()
        });
    }

    /// Ends a query and tells its reader, whatever waits there already.
    fn end(&mut self, query: &Arc<Query>, word: Change) {
        send(query, word, usize::MAX);
        let id = query.id.clone();
        self.drop_queries(|query| query.id == id);
    }

    /// One event for a query; past the bound it is told `overflow` and ends.
    fn deliver(&mut self, query: &Arc<Query>, change: Change) {
        let seq = change.seq;
        if send(query, change, LIVE_BYTES_MAX) {
            query.sent(seq);
            return;
        }
        self.overflowed += 1;
        self.end(query, Change::control("overflow", last(query), None, true));
    }

    fn definitions(&mut self, record: &CommitRecord) -> Vec<TableId> {
        let mut redefined = Vec::new();
        for definition in &record.definitions {
            match definition {
                Definition::PutTable(table) => {
                    for query in self.following(table.id) {
                        if query.table().schema_version == table.schema_version {
                            continue;
                        }
                        redefined.push(table.id);
                        if query.adopt(table) {
                            self.deliver(&query, Change::control("schema", record.seq_last, None, false));
                        } else {
                            let word = Change::control("ended", record.seq_last, Some("schema changed"), true);
                            self.end(&query, word);
                        }
                    }
                }
                Definition::DropTable(id) => self.end_all(*id, record.seq_last, "ended", "table dropped"),
                // Its rows go without a change each: the reader has to start again.
                Definition::TruncateTable(id) => self.end_all(*id, record.seq_last, "overflow", "table truncated"),
                Definition::PutUser(user) => {
                    let queries: Vec<_> = self.queries.values().filter(|query| query.user == user.id).cloned().collect();
                    // Rights were fixed at the start: a change of them ends what they allowed.
                    for query in queries {
                        let word = Change::control("ended", record.seq_last, Some("user changed"), true);
                        self.end(&query, word);
                    }
                }
                Definition::PutNamespace(_) | Definition::DropNamespace(_) => {}
            }
        }
        redefined
    }

    fn following(&self, table: TableId) -> Vec<Arc<Query>> {
        self.queries.values().filter(|query| query.table().id == table).cloned().collect()
    }

    fn end_all(&mut self, table: TableId, seq: Seq, op: &'static str, reason: &'static str) {
        for query in self.following(table) {
            self.end(&query, Change::control(op, seq, Some(reason), true));
        }
    }

    fn rows(&mut self, record: &CommitRecord, redefined: &[TableId]) {
        let mut by_place: BTreeMap<(TableId, Scope), Vec<&RowChange>> = BTreeMap::new();
        for change in &record.changes {
            let key = (change.table, change.scope);
            if self.places.contains_key(&key) && !redefined.contains(&change.table) {
                by_place.entry(key).or_default().push(change);
            }
        }
        for (key, changes) in by_place {
            for query in self.places.get(&key).cloned().unwrap_or_default() {
                if record.seq_last <= query.from {
                    continue;
                }
                match query.judge(&changes) {
                    Ok(mut events) => {
                        if let Some(end) = events.last_mut() {
                            end.commit_ends = true;
                        }
                        for event in events {
                            // An overflow among them ends the query: the rest has no reader.
                            if self.queries.contains_key(&query.id) {
                                self.deliver(&query, event);
                            }
                        }
                    }
                    Err(error) => {
                        tracing::warn!(query = query.id, %error, "a live query could not be evaluated");
                        let word = Change::control("ended", record.seq_last, Some("evaluation failed"), true);
                        self.end(&query, word);
                    }
                }
            }
        }
    }

    fn notifications(&mut self, record: &CommitRecord) {
        for notification in &record.notifications {
            let Some((channel, pids)) = self.channels.listeners(&notification.channel) else { continue };
            let payload = Bytes::copy_from_slice(notification.payload.as_bytes());
            for pid in pids {
                let Some(session) = self.sessions.get_mut(pid) else { continue };
                let message =
                    Message { pid: notification.sender_pid, channel: channel.clone(), payload: payload.clone() };
                if !session.lost && !post(&session.queue, message, NOTIFY_BYTES_MAX) {
                    session.lost = true;
                    tracing::warn!(pid, "a session left its notifications unread past the bound");
                }
            }
        }
    }

    fn lagged(&mut self) {
        let queries: Vec<_> = self.queries.values().cloned().collect();
        for query in queries {
            self.overflowed += 1;
            self.end(&query, Change::control("overflow", last(&query), None, true));
        }
    }
}

/// Puts an event into its sink; `false` when it is full.
fn send(query: &Query, change: Change, bytes_max: usize) -> bool {
    match &query.sink {
        Sink::Channel(queue) => {
            let payload = Bytes::from(change.json(&query.names, &query.types));
            post(queue, Message { pid: query.pid, channel: query.channel.clone(), payload }, bytes_max)
        }
        Sink::Stream(queue) => {
            let bytes = change.bytes();
            queue.push(change, bytes, bytes_max)
        }
    }
}

async fn run(inner: std::sync::Weak<Inner>, mut feed: Feed) {
    loop {
        let next = feed.next().await;
        let Some(inner) = inner.upgrade() else { return };
        let mut state = inner.state.lock();
        match next {
            Ok(Some(record)) => {
                let redefined = state.definitions(&record);
                state.rows(&record, &redefined);
                state.notifications(&record);
            }
            Ok(None) => return,
            Err(_) => state.lagged(),
        }
    }
}
