//! The dispatcher: one task that reads the feed in commit order and fills outboxes.
//!
//! A query is registered on the committer's thread, between two groups; all that happens there is a push onto a list
//! of arrivals. Whoever looks at the state next takes them in first, so the dispatcher finds a query before it sees
//! the first commit behind the query's initial rows. Rows are judged without the lock: sessions wait for no
//! expression.

use crate::channel::Channels;
use crate::event::Change;
use crate::outbox::{LIVE_BYTES_MAX, Message, NOTIFY_BYTES_MAX, Origin, Outbox, Queue, Sink};
use crate::query::{CHANGES_AT_ONCE, Follow, LiveId, LiveQueryFacts, Query, Reader, channel_taken, detached};
use bytes::Bytes;
use kalamdb_commons::{Result, Scope, Seq, SqlError, SqlState, TableId, UserId, clock};
use kalamdb_store::{Change as Definition, CommitRecord, Feed, Lagged, ReadView, RowChange, Store, TableDef};
use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Channels and live queries of all sessions.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    state: Mutex<State>,
    /// Queries that were registered and that nobody has taken in yet.
    arrivals: Mutex<Vec<Arc<Query>>>,
    next_number: AtomicU64,
}

/// Which rows a query follows.
type Place = (TableId, Scope);

#[derive(Default)]
struct State {
    sessions: FxHashMap<i32, Arc<Queue<Message>>>,
    channels: Channels,
    queries: BTreeMap<u64, Arc<Query>>,
    /// The queries on each table and partition: a change costs who follows it.
    places: FxHashMap<Place, Vec<Arc<Query>>>,
}

impl Inner {
    /// The state, with everybody in it who was registered before this moment.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        for query in std::mem::take(&mut *self.arrivals.lock()) {
            state.arrive(query);
        }
        state
    }
}

impl Live {
    /// Starts the dispatcher. Must be called inside a tokio runtime; it ends when the store is shut down.
    pub fn new(store: &Store) -> Self {
        let inner = Arc::new(Inner {
            store: store.clone(),
            state: Mutex::default(),
            arrivals: Mutex::default(),
            next_number: AtomicU64::new(1),
        });
        tokio::spawn(run(Arc::downgrade(&inner), store.feed()));
        Self { inner }
    }

    /// A session's outbox.
    pub fn outbox(&self, pid: i32, user: UserId) -> Outbox {
        let queue = Arc::new(Queue::default());
        self.inner.state().sessions.insert(pid, queue.clone());
        Outbox::new(self.clone(), pid, user, queue)
    }

    /// The running queries.
    pub fn queries(&self) -> Vec<LiveQueryFacts> {
        let queries: Vec<_> = self.inner.state().queries.values().cloned().collect();
        queries.iter().map(|query| facts(query)).collect()
    }

    /// Ends a query if its owner passes `allowed`: whether it did, `None` when there is none.
    pub fn kill(&self, id: &str, allowed: impl Fn(UserId) -> bool) -> Option<bool> {
        let mut state = self.inner.state();
        let query = state.queries.values().find(|query| query.id() == id)?.clone();
        if !allowed(query.reader.user) {
            return Some(false);
        }
        let word = Change::control("ended", query.progress.last_seq(), Some("killed"), true);
        state.end(&query, word);
        Some(true)
    }

    pub(crate) fn listen(&self, channel: &str, pid: i32) {
        self.inner.state().channels.listen(channel, pid);
    }

    pub(crate) fn unlisten(&self, channel: &str, pid: i32, but: &[LiveId]) {
        let mut state = self.inner.state();
        state.channels.unlisten(channel, pid);
        let is_kept = |query: &Query| but.contains(&LiveId(query.number));
        state.drop_queries(|query| is_channel_of(query, pid) && &*query.channel == channel && !is_kept(query));
    }

    pub(crate) fn unlisten_all(&self, pid: i32, but: &[LiveId]) {
        let mut state = self.inner.state();
        state.channels.unlisten_all(pid);
        state.drop_queries(|query| is_channel_of(query, pid) && !but.contains(&LiveId(query.number)));
    }

    pub(crate) fn end_queries(&self, pid: i32) {
        self.inner.state().drop_queries(|query| is_channel_of(query, pid));
    }

    pub(crate) fn channels_of(&self, pid: i32) -> Vec<String> {
        let state = self.inner.state();
        let mut channels = state.channels.of(pid);
        let live = state.queries.values().filter(|query| is_channel_of(query, pid));
        channels.extend(live.map(|query| query.channel.to_string()));
        channels.sort();
        channels.dedup();
        channels
    }

    pub(crate) fn leave(&self, pid: i32) {
        let mut state = self.inner.state();
        state.sessions.remove(&pid);
        state.channels.unlisten_all(pid);
        state.drop_queries(|query| query.reader.pid == pid);
    }

    /// Ends a query without a word, and takes back its events that wait.
    pub(crate) fn take_back(&self, number: u64) {
        let mut state = self.inner.state();
        if let Some(query) = state.queries.get(&number) {
            query.reader.sink.clear(number);
        }
        state.drop_queries(|query| query.number == number);
    }

    pub(crate) fn forget(&self, number: u64) {
        self.inner.state().drop_queries(|query| query.number == number);
    }

    /// Registers a query between two commit groups. Compiling is the session's work and comes before.
    pub(crate) async fn follow(&self, reader: Reader, follow: Follow) -> Result<(ReadView, Arc<Query>)> {
        let number = self.inner.next_number.fetch_add(1, Ordering::Relaxed);
        let (table, version) = (follow.table.id, follow.table.schema_version);
        let query = Arc::new(Query::new(number, reader, follow, clock::now_us(), &self.inner.store)?);
        // One session has one statement at a time, so nothing of its own comes between this look and the arrival.
        let taken = |other: &Arc<Query>| is_channel_of(other, query.reader.pid) && other.channel == query.channel;
        if is_channel_of(&query, query.reader.pid) && self.inner.state().queries.values().any(taken) {
            return Err(channel_taken(&query.channel));
        }
        let (inner, arriving) = (self.inner.clone(), query.clone());
        let (view, current) = self
            .inner
            .store
            .fixed_view(move |published| {
                let fits = |def: &Arc<TableDef>| def.schema_version == version && arriving.is_allowed(def);
                let current = published.catalog.table(table).is_some_and(fits);
                if current {
                    arriving.begin(published.seq);
                    inner.arrivals.lock().push(arriving);
                }
                current
            })
            .await?;
        if !current {
            return Err(SqlError::new(
                SqlState::T_R_SERIALIZATION_FAILURE,
                "the relation changed while the live query was starting",
            ));
        }
        Ok((view, query))
    }
}

fn is_table(definition: &Definition, table: TableId) -> bool {
    matches!(definition, Definition::PutTable(def) if def.id == table)
}

fn is_channel_of(query: &Query, pid: i32) -> bool {
    query.reader.pid == pid && matches!(query.reader.sink, Sink::Channel(_))
}

fn facts(query: &Query) -> LiveQueryFacts {
    LiveQueryFacts {
        live_id: query.id(),
        pid: query.reader.pid,
        user: query.reader.user,
        channel: query.channel.to_string(),
        table: query.table().id,
        text: query.text.clone(),
        state: "active",
        queued: query.reader.sink.waiting(query.number) as u64,
        delivered: query.progress.delivered(),
        overflowed: 0,
        last_seq: query.progress.last_seq(),
        created_at: query.created_at,
    }
}

impl State {
    fn arrive(&mut self, query: Arc<Query>) {
        // A session that left meanwhile leaves nothing behind.
        if self.sessions.contains_key(&query.reader.pid) {
            self.places.entry((query.table().id, query.scope)).or_default().push(query.clone());
            self.queries.insert(query.number, query);
        }
    }

    fn drop_queries(&mut self, gone: impl Fn(&Query) -> bool) {
        let before = self.queries.len();
        self.queries.retain(|_, query| !gone(query));
        if self.queries.len() == before {
            return;
        }
        self.places.retain(|_, queries| {
            queries.retain(|query| !gone(query));
            !queries.is_empty()
        });
    }

    /// Ends a query and tells its reader, whatever waits there already.
    fn end(&mut self, query: &Arc<Query>, word: Change) {
        send(query, word, usize::MAX);
        let number = query.number;
        self.drop_queries(|query| query.number == number);
    }

    /// One event for a query that still runs; past the bound it is told `overflow` and ends.
    fn deliver(&mut self, query: &Arc<Query>, change: Change) {
        if self.queries.contains_key(&query.number) && !send(query, change, LIVE_BYTES_MAX) {
            self.overflow(query);
        }
    }

    fn overflow(&mut self, query: &Arc<Query>) {
        query.reader.sink.clear(query.number);
        self.end(query, Change::control("overflow", query.progress.last_seq(), None, true));
    }

    /// What a commit's definitions mean for the queries that run.
    fn definitions(&mut self, record: &CommitRecord) {
        let seq = record.seq_last;
        for (at, definition) in record.definitions.iter().enumerate() {
            let later = &record.definitions[at + 1..];
            match definition {
                // What the table came to counts, not the steps: one commit is one event.
                Definition::PutTable(def) if later.iter().any(|later| is_table(later, def.id)) => {}
                Definition::PutTable(def) => {
                    for query in self.following(def.id, seq) {
                        if !query.is_allowed(def) {
                            self.end(&query, Change::control("ended", seq, Some("permission revoked"), true));
                            continue;
                        }
                        if query.table().schema_version == def.schema_version {
                            continue;
                        }
                        if query.adopt(def) {
                            self.deliver(&query, Change::control("schema", seq, None, false));
                        } else {
                            self.end(&query, Change::control("ended", seq, Some("schema changed"), true));
                        }
                    }
                }
                Definition::DropTable(id) => self.end_all(*id, seq, "ended", "table dropped"),
                // Its rows go without a change each: the reader has to start again.
                Definition::TruncateTable(id) => self.end_all(*id, seq, "ended", "table truncated"),
                Definition::PutUser(user) => {
                    // Rights were fixed at the start: a change of them ends what they allowed.
                    let theirs = self.queries.values().filter(|query| query.reader.user == user.id);
                    for query in theirs.filter(|query| query.is_news(seq)).cloned().collect::<Vec<_>>() {
                        self.end(&query, Change::control("ended", seq, Some("user changed"), true));
                    }
                }
                // No live query is over these.
                Definition::PutNamespace(_)
                | Definition::DropNamespace(_)
                | Definition::PutView(_)
                | Definition::DropView(_)
                | Definition::PutSequence(_)
                | Definition::DropSequence(_)
                | Definition::PutType(_)
                | Definition::DropType(_)
                | Definition::Comment(..) => {}
            }
        }
    }

    /// The queries on a table that a commit at this position is news to.
    fn following(&self, table: TableId, seq: Seq) -> Vec<Arc<Query>> {
        let queries = self.queries.values().filter(|query| query.table().id == table && query.is_news(seq));
        queries.cloned().collect()
    }

    fn end_all(&mut self, table: TableId, seq: Seq, op: &'static str, reason: &'static str) {
        for query in self.following(table, seq) {
            self.end(&query, Change::control(op, seq, Some(reason), true));
        }
    }

    /// Which queries have to judge which of a commit's changes.
    fn work<'a>(&self, record: &'a CommitRecord) -> Vec<(Arc<Query>, Vec<&'a RowChange>)> {
        let mut by_place: BTreeMap<Place, Vec<&RowChange>> = BTreeMap::new();
        for change in &record.changes {
            let place = (change.table, change.scope);
            if self.places.contains_key(&place) {
                by_place.entry(place).or_default().push(change);
            }
        }
        let mut work = Vec::new();
        for (place, changes) in by_place {
            let queries = self.places.get(&place).into_iter().flatten();
            work.extend(
                queries.filter(|query| query.is_news(record.seq_last)).map(|query| (query.clone(), changes.clone())),
            );
        }
        work
    }

    fn notifications(&mut self, record: &CommitRecord) {
        for notification in &record.notifications {
            let Some((channel, pids)) = self.channels.listeners(&notification.channel) else { continue };
            let payload = Bytes::copy_from_slice(notification.payload.as_bytes());
            for pid in pids {
                let Some(queue) = self.sessions.get(&pid).filter(|queue| !queue.is_lost()) else { continue };
                let (channel, payload) = (channel.clone(), payload.clone());
                let message = Message { pid: notification.sender_pid, channel, payload, origin: None };
                let bytes = message.bytes();
                if !queue.push(message, bytes, NOTIFY_BYTES_MAX) {
                    tracing::warn!(pid, "a session left its notifications unread past the bound");
                    queue.lose();
                }
            }
        }
    }

    /// Commits were missed: no query is complete any more, and no channel.
    fn lagged(&mut self, lag: Lagged) {
        tracing::warn!(missed = lag.missed, "the dispatcher fell behind the feed");
        for query in self.queries.values().cloned().collect::<Vec<_>>() {
            self.overflow(&query);
        }
        for pid in self.channels.sessions() {
            if let Some(queue) = self.sessions.get(&pid) {
                queue.lose();
            }
        }
    }
}

/// Puts an event into its sink; `false` when it is full.
fn send(query: &Query, change: Change, bytes_max: usize) -> bool {
    match &query.reader.sink {
        Sink::Channel(queue) => {
            let origin = Origin { query: query.number, seq: change.seq, progress: query.progress.clone() };
            // What ends a query counts for nobody: it must not look like an event that waits.
            let origin = (!change.is_last).then_some(origin);
            let payload = Bytes::from(query.payload.lock().json(&change));
            let message = Message { pid: query.reader.pid, channel: query.channel.clone(), payload, origin };
            let bytes = message.bytes();
            queue.push(message, bytes, bytes_max)
        }
        Sink::Stream(queue) => match detached(change) {
            Ok(change) => {
                let bytes = change.bytes();
                queue.push(change, bytes, bytes_max)
            }
            Err(error) => {
                tracing::error!(query = query.id(), %error, "an event could not be copied");
                false
            }
        },
    }
}

/// Judges a commit's changes for one query and delivers the events.
fn follow_changes(inner: &Inner, query: &Arc<Query>, changes: &[&RowChange], seq: Seq) {
    let mut parts = changes.chunks(CHANGES_AT_ONCE).peekable();
    while let Some(part) = parts.next() {
        let judged = query.judge(part);
        let mut state = inner.state();
        match judged {
            Ok(mut events) => {
                if let Some(last) = events.last_mut() {
                    last.commit_ends = parts.peek().is_none();
                }
                for event in events {
                    state.deliver(query, event);
                }
            }
            Err(error) => {
                tracing::warn!(query = query.id(), %error, "a live query could not be evaluated");
                state.end(query, Change::control("ended", seq, Some("evaluation failed"), true));
            }
        }
        if !state.queries.contains_key(&query.number) {
            return;
        }
    }
}

async fn run(inner: Weak<Inner>, mut feed: Feed) {
    loop {
        let next = feed.next().await;
        let Some(inner) = inner.upgrade() else { return };
        match next {
            Ok(Some(record)) => {
                let work = {
                    let mut state = inner.state();
                    state.definitions(&record);
                    state.work(&record)
                };
                for (query, changes) in work {
                    follow_changes(&inner, &query, &changes, record.seq_last);
                }
                if !record.notifications.is_empty() {
                    inner.state().notifications(&record);
                }
            }
            Ok(None) => return,
            Err(lag) => inner.state().lagged(lag),
        }
        drop(inner);
        // A feed that always has more must not keep others off this thread.
        tokio::task::yield_now().await;
    }
}
