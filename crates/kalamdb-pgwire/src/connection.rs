//! One client's loop: what it says, what its session answers, and what reaches it unasked.
//!
//! One task owns the socket and the session. While nothing runs it waits for the next message, an event, the server's
//! stop or a timer; while something runs the wire reads ahead, so that the client's end is noticed and its pipeline
//! waits ready. Replies gather and leave at Sync, Flush, the end of a Query, or when enough has gathered. After an
//! error in the extended protocol everything up to Sync is skipped (PostgreSQL manual 55.2.3).

use crate::encode::RowEncoder;
use crate::frame::{Frame, Message, session_gate};
use crate::inbox::{Inbox, Notification};
use crate::respond::{self, Severity};
use crate::wire::{AtEof, End, FLUSH_BYTES, UNSENT_BYTES_MAX, Wire};
use arrow_array::RecordBatch;
use futures::FutureExt;
use kalamdb_commons::{SqlError, SqlState};
use kalamdb_core::{Event, OutputColumn, Rows, Session, TransactionStatus};
use std::convert::Infallible;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A connection whose session stands.
pub(crate) struct Connection<'w, S> {
    pub(crate) wire: &'w mut Wire<S>,
    pub(crate) session: Session,
    /// The server stops: idle sessions end, others when their transaction does.
    pub(crate) stop: CancellationToken,
    inbox: Inbox,
    /// An error was sent in the extended protocol: skip to Sync.
    pub(crate) skipping: bool,
    /// ReadyForQuery was the last word: nothing is half said.
    at_rest: bool,
    /// When it was.
    rest_since: Instant,
    /// The session's LISTENs when the inbox was last asked.
    listens: u64,
}

/// Why a statement's answer stops.
pub(crate) enum Fault {
    /// The statement failed: the client is told, and the session goes on.
    Statement(SqlError),
    /// The connection ends.
    End(End),
}

impl From<SqlError> for Fault {
    fn from(error: SqlError) -> Self {
        Fault::Statement(error)
    }
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        Fault::End(end)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Fault::End(error.into())
    }
}

/// What a waiting connection wakes up for.
enum Wake {
    Frame(Frame),
    Event(Event),
    /// Held notifications may leave.
    Release,
}

/// How far a result was sent.
pub(crate) enum Sent {
    /// To its end; so many rows.
    All(u64),
    /// To the row limit, with the rest of the last batch.
    Suspended(Option<RecordBatch>),
}

/// The error that ends sessions when the server stops.
pub(crate) fn shutting_down() -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

impl<'w, S: AsyncRead + AsyncWrite + Unpin> Connection<'w, S> {
    /// A connection after its login, whose greeting waits in the output.
    pub(crate) fn new(wire: &'w mut Wire<S>, session: Session, stop: CancellationToken) -> Self {
        let listens = session.listen_count();
        let (inbox, rest_since) = (Inbox::default(), Instant::now());
        Connection { wire, session, stop, inbox, skipping: false, at_rest: false, rest_since, listens }
    }

    /// Serves until the connection ends, and says why it does.
    pub(crate) async fn serve(mut self) -> End {
        match self.converse().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn converse(&mut self) -> Result<Infallible, End> {
        self.ready().await?;
        loop {
            match self.wake().await? {
                Wake::Frame(frame) => self.hear(frame).await?,
                Wake::Event(event) => {
                    self.take(event)?;
                    self.gather()?;
                    self.deliver_idle().await?;
                }
                Wake::Release => self.deliver_idle().await?,
            }
        }
    }

    /// Nothing is half said and no transaction is open: notifications may leave, and the server may stop.
    fn is_idle(&self) -> bool {
        self.at_rest && self.session.status() == TransactionStatus::Idle
    }

    async fn wake(&mut self) -> Result<Wake, End> {
        let idle = self.is_idle();
        if idle && self.stop.is_cancelled() {
            return Err(End::Fatal(shutting_down()));
        }
        if let Some(frame) = self.wire.buffered_frame(session_gate)? {
            return Ok(Wake::Frame(frame));
        }
        self.wire.rest();
        let release_at = self.inbox.wake_at().filter(|_| idle);
        let timeout = if self.at_rest { self.session.idle_timeout() } else { None };
        let timeout_at = timeout.as_ref().map(|(limit, _)| self.rest_since + *limit);
        tokio::select! {
            biased;
            frame = self.wire.frame(session_gate) => frame.map(Wake::Frame),
            () = self.stop.cancelled(), if idle => Err(End::Fatal(shutting_down())),
            event = self.session.next_event(), if !self.inbox.is_full() => Ok(Wake::Event(event)),
            () = sleep_until(release_at) => Ok(Wake::Release),
            () = sleep_until(timeout_at) => Err(timeout.map_or(End::Gone, |(_, error)| End::Fatal(error))),
        }
    }

    fn take(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Notification { pid, channel, payload } => {
                self.inbox.push(Notification { pid, channel, payload });
                Ok(())
            }
            Event::Terminate(error) => Err(End::Fatal(error)),
        }
    }

    /// Takes the events that are there already.
    fn gather(&mut self) -> Result<(), End> {
        while !self.inbox.is_full() {
            match self.session.next_event().now_or_never() {
                Some(event) => self.take(event)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Moves what may leave into the output.
    fn deliver(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(notification) = self.inbox.pop(now) {
            self.wire.put(|out| {
                respond::notification(out, notification.pid, &notification.channel, &notification.payload);
            });
        }
    }

    async fn deliver_idle(&mut self) -> Result<(), End> {
        if self.is_idle() {
            self.deliver();
            self.wire.drain().await?;
        }
        Ok(())
    }

    async fn hear(&mut self, frame: Frame) -> Result<(), End> {
        if self.is_idle() {
            // The client's next message: it is past whatever it did after the last answer.
            self.inbox.release();
            self.deliver();
        }
        self.at_rest = false;
        if self.skipping && !matches!(frame.kind, b'S' | b'X') {
            return Ok(());
        }
        let kind = frame.kind;
        match Message::read(frame) {
            Ok(message) => self.answer(message).await,
            Err(error) => self.refuse(kind, &error).await,
        }
    }

    async fn answer(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Query(sql) => self.query(&sql).await,
            Message::Sync => self.sync().await,
            Message::Flush => Ok(self.wire.drain().await?),
            Message::Terminate => Err(End::Gone),
            // Left over from a COPY that failed: PostgreSQL ignores them too.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::FunctionCall => self.refuse(b'F', &SqlError::unsupported("the function call protocol")).await,
            extended => self.extended(extended).await,
        }
    }

    /// A message that could not be read: an error, and then as the protocol goes on after that message.
    async fn refuse(&mut self, kind: u8, error: &SqlError) -> Result<(), End> {
        self.report(error);
        match kind {
            b'Q' | b'F' => self.ready().await,
            b'S' => self.sync().await,
            b'X' => Err(End::Gone),
            _ => {
                self.skipping = true;
                Ok(self.wire.drain().await?)
            }
        }
    }

    async fn sync(&mut self) -> Result<(), End> {
        self.skipping = false;
        let settled = self.wire.during(AtEof::Finish, self.session.settle()).await?;
        if let Err(error) = settled {
            self.report(&error);
        }
        self.ready().await
    }

    /// Tells the client of an error, and the session that it was told.
    pub(crate) fn report(&mut self, error: &SqlError) {
        self.notices();
        self.wire.put(|out| respond::error(out, Severity::Error, error));
        self.session.fail();
    }

    /// Sends the notices that wait.
    pub(crate) fn notices(&mut self) {
        for notice in self.session.take_notices() {
            self.wire.put(|out| respond::notice(out, &notice));
        }
    }

    /// ReadyForQuery, with what must come before it, and everything is sent.
    pub(crate) async fn ready(&mut self) -> Result<(), End> {
        self.notices();
        for (name, value) in self.session.take_parameter_changes() {
            self.wire.put(|out| respond::parameter_status(out, name, &value));
        }
        let status = self.session.status();
        if status == TransactionStatus::Idle {
            self.gather()?;
            self.hold_after_listen();
            self.deliver();
        }
        self.wire.put(|out| respond::ready(out, status));
        self.wire.drain().await?;
        self.at_rest = true;
        self.rest_since = Instant::now();
        Ok(())
    }

    /// If this cycle's statements began to listen, nothing may leave with their answer.
    fn hold_after_listen(&mut self) {
        let listens = self.session.listen_count();
        if listens != self.listens {
            self.listens = listens;
            self.inbox.hold(Instant::now());
        }
    }

    /// Encoders for a result, in the formats given.
    pub(crate) fn encoder(&self, columns: &[OutputColumn], formats: &[i16]) -> Result<RowEncoder, SqlError> {
        RowEncoder::new(columns, formats, &self.session.style(), &self.session.names())
    }

    /// Sends rows, at most `rows_max` of them (0: all). Rows are pulled and encoded only while little is unsent, so
    /// that a slow client slows its own query; a cancel request is noticed while it is written to.
    pub(crate) async fn send_rows(
        &mut self,
        rows: &mut Rows,
        encoder: RowEncoder,
        rows_max: u64,
    ) -> Result<Sent, Fault> {
        let interrupt = self.session.interrupt();
        let mut sent = 0;
        while let Some(batch) = self.wire.during(AtEof::Finish, unless(&interrupt, rows.next_batch())).await?? {
            let batch = batch?;
            let wanted = match rows_max {
                0 => batch.num_rows(),
                limit => batch.num_rows().min(usize::try_from(limit - sent).unwrap_or(usize::MAX)),
            };
            let mut row = 0;
            while row < wanted {
                row = self.wire.put(|out| encoder.encode(&batch, row, wanted, out, UNSENT_BYTES_MAX))?;
                if row < wanted || self.wire.unsent() >= FLUSH_BYTES {
                    self.drain_unless(&interrupt).await?;
                }
            }
            sent += wanted as u64;
            if rows_max > 0 && sent == rows_max {
                let rest = (wanted < batch.num_rows()).then(|| batch.slice(wanted, batch.num_rows() - wanted));
                return Ok(Sent::Suspended(rest));
            }
        }
        Ok(Sent::All(sent))
    }

    /// Sends everything, unless the statement is cancelled first.
    pub(crate) async fn drain_unless(&mut self, interrupt: &CancellationToken) -> Result<(), Fault> {
        Ok(unless(interrupt, self.wire.drain()).await??)
    }
}

/// Waits for something, unless the statement is cancelled first.
pub(crate) async fn unless<T>(interrupt: &CancellationToken, work: impl Future<Output = T>) -> Result<T, SqlError> {
    tokio::select! {
        biased;
        () = interrupt.cancelled() => {
            Err(SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"))
        }
        result = work => Ok(result),
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
