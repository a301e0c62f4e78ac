//! The socket and its two buffers: the one place that reads and writes.
//!
//! Replies gather in the output and leave when `drain` is called. The input is read ahead, up to a bound, while a
//! query runs or a slow client is being written to, so that the end of the connection and a pipeline are seen early
//! and neither side waits for the other to read first.

use crate::frame::{self, Frame, Gate};
use bytes::BytesMut;
use kalamdb_commons::SqlError;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// How much is read ahead of the statement that runs. Enough for a driver's pipeline, too little to hurt.
const READ_AHEAD_BYTES_MAX: usize = 256 * 1024;
/// How much room a read is given at first: most of an idle connection's buffers. It doubles while reads fill it.
const READ_BYTES: usize = 4 * 1024;
/// How much room a read is given at most, unless a large frame is coming: COPY comes in such pieces.
const READ_BYTES_MAX: usize = 64 * 1024;
/// How much room a read of a large frame is given at once: the length a client claims is no reason to allocate it.
const LARGE_READ_BYTES: usize = 256 * 1024;
/// Replies are sent when so much has gathered, even before Sync, Flush or the end of a Query.
pub(crate) const FLUSH_BYTES: usize = 16 * 1024;
/// Rows are encoded until so much is unsent; then the client must read first.
pub(crate) const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// An idle connection gives buffers larger than this back.
const IDLE_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// A whole Terminate message.
const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// Why the connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client is gone, or has said good-bye.
    Gone,
    /// The client is told with a FATAL error.
    Fatal(SqlError),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Gone
    }
}

/// What the end of the client's stream means to something that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtEof {
    /// It is given up, unless the client said good-bye after it: then it is finished as PostgreSQL would.
    Finish,
    /// It is given up: nobody reads what it produces.
    Abandon,
}

/// A stream with its buffers.
pub(crate) struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
    /// So much of the output is whole messages.
    whole: usize,
    /// The room for the next read.
    room: usize,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Takes a stream.
    pub(crate) fn new(stream: S) -> Self {
        Wire { stream, input: BytesMut::new(), output: BytesMut::new(), whole: 0, room: READ_BYTES, ended: false }
    }

    /// Gives the stream back, for TLS on top of it. Whatever was buffered is gone: the caller has looked.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// What was read and not consumed.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Appends whole messages to the output.
    pub(crate) fn put<R>(&mut self, write: impl FnOnce(&mut BytesMut) -> R) -> R {
        let result = write(&mut self.output);
        self.whole = self.output.len();
        result
    }

    /// Drops a message that was begun and not finished, after a panic inside `put`.
    pub(crate) fn drop_partial(&mut self) {
        self.output.truncate(self.whole);
    }

    /// How much is unsent.
    pub(crate) fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Sends everything, reading ahead meanwhile. Safe to drop: what was not sent stays.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_drain(cx)).await
    }

    /// Sends everything if it is enough to be worth a packet.
    pub(crate) async fn drain_if_full(&mut self) -> io::Result<()> {
        if self.output.len() >= FLUSH_BYTES { self.drain().await } else { Ok(()) }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => {
                    // `clear` keeps the whole allocation, `advance` would let it shrink from the front.
                    if sent == self.output.len() {
                        self.output.clear();
                    } else {
                        bytes::Buf::advance(&mut self.output, sent);
                    }
                    self.whole = self.output.len();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // The end of input is no reason to stop writing: the client may have closed one half.
                    let _ = self.poll_read_ahead(cx);
                    return Poll::Pending;
                }
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads what is there, up to the bound. `Ready` at the end of input or on an error.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended {
            if self.input.len() >= READ_AHEAD_BYTES_MAX {
                return Poll::Pending;
            }
            ready!(self.poll_read(cx, 0))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; `missing` is what is known to be coming.
    fn poll_read(&mut self, cx: &mut Context<'_>, missing: usize) -> Poll<io::Result<()>> {
        let room = self.room.max(missing.min(LARGE_READ_BYTES));
        if self.input.capacity() - self.input.len() < room / 2 {
            self.input.reserve(room);
        }
        let spare = self.input.capacity() - self.input.len();
        match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input)) {
            Ok(0) => {
                self.ended = true;
                Poll::Ready(Ok(()))
            }
            Ok(read) => {
                if read == spare {
                    self.room = (self.room * 2).min(READ_BYTES_MAX);
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.ended = true;
                Poll::Ready(Err(error))
            }
        }
    }

    /// Runs something of the session's while reading ahead.
    ///
    /// # Errors
    /// [`End::Gone`] when the client is gone first; the future is dropped with what it did.
    pub(crate) async fn during<T>(&mut self, at_eof: AtEof, future: impl Future<Output = T>) -> Result<T, End> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            match self.poll_read_ahead(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) if at_eof == AtEof::Finish && self.input.ends_with(TERMINATE) => Poll::Pending,
                Poll::Ready(_) => Poll::Ready(Err(End::Gone)),
            }
        })
        .await
    }

    /// The next frame. Safe to drop while pending.
    ///
    /// # Errors
    /// [`End::Gone`] at the end of input, [`End::Fatal`] when the gate refuses.
    pub(crate) async fn frame(&mut self, gate: Gate) -> Result<Frame, End> {
        std::future::poll_fn(|cx| self.poll_frame(cx, gate)).await
    }

    /// The next frame, if it is whole in the buffer.
    pub(crate) fn buffered_frame(&mut self, gate: Gate) -> Result<Option<Frame>, End> {
        frame::take(&mut self.input, gate).map_err(End::Fatal)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>, gate: Gate) -> Poll<Result<Frame, End>> {
        loop {
            if let Some(frame) = self.buffered_frame(gate)? {
                return Poll::Ready(Ok(frame));
            }
            if self.ended {
                return Poll::Ready(Err(End::Gone));
            }
            let missing = match frame::bytes_needed(&self.input, gate).map_err(End::Fatal)? {
                Some(need) => need - self.input.len(),
                None => 0,
            };
            ready!(self.poll_read(cx, missing))?;
        }
    }

    /// Reads until so many bytes are there; for the packets before login, which have no type byte.
    ///
    /// # Errors
    /// [`End::Gone`] when they do not come.
    pub(crate) async fn at_least(&mut self, bytes: usize) -> Result<(), End> {
        std::future::poll_fn(|cx| {
            while self.input.len() < bytes {
                if self.ended {
                    return Poll::Ready(Err(End::Gone));
                }
                ready!(self.poll_read(cx, 0))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Gives large buffers back: called when nothing is going on.
    pub(crate) fn rest(&mut self) {
        self.room = READ_BYTES;
        for buffer in [&mut self.input, &mut self.output] {
            if buffer.is_empty() && buffer.capacity() > IDLE_BUFFER_BYTES_MAX {
                *buffer = BytesMut::new();
            }
        }
    }

    /// Says why, if there is a reason, and closes.
    pub(crate) async fn close(&mut self) {
        let _ = self.drain().await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::session_gate;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn frames_come_whole_however_they_were_cut() {
        let (mut client, server) = tokio::io::duplex(7);
        let mut wire = Wire::new(server);
        let sender = tokio::spawn(async move {
            for _ in 0..3 {
                client.write_all(b"Q\0\0\0\x0dSELECT 1\0").await.ok();
            }
        });
        for _ in 0..3 {
            let frame = wire.frame(session_gate).await.ok();
            assert_eq!(frame.map(|frame| frame.body), Some(bytes::Bytes::from_static(b"SELECT 1\0")));
        }
        sender.await.ok();
        assert!(matches!(wire.frame(session_gate).await, Err(End::Gone)));
    }

    #[tokio::test]
    async fn the_end_of_input_ends_what_runs() {
        let (client, server) = tokio::io::duplex(64);
        let mut wire = Wire::new(server);
        drop(client);
        assert!(matches!(wire.during(AtEof::Finish, std::future::pending::<()>()).await, Err(End::Gone)));
    }

    #[tokio::test]
    async fn after_good_bye_what_runs_is_finished() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut wire = Wire::new(server);
        client.write_all(TERMINATE).await.ok();
        drop(client);
        let work = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            42
        };
        assert!(matches!(wire.during(AtEof::Finish, work).await, Ok(42)));
        assert!(matches!(wire.during(AtEof::Abandon, std::future::pending::<()>()).await, Err(End::Gone)));
    }

    #[tokio::test]
    async fn writing_to_a_client_that_writes_first_does_not_wedge() {
        let (client, server) = tokio::io::duplex(1024);
        let mut wire = Wire::new(server);
        let (mut from, mut to) = tokio::io::split(client);
        wire.put(|out| out.extend_from_slice(&[1; 20_000]));
        // The client writes all of its pipeline before it reads anything.
        let client = tokio::spawn(async move {
            to.write_all(&[2; 20_000]).await.ok();
            let mut read = vec![0; 20_000];
            from.read_exact(&mut read).await.ok();
            read
        });
        assert!(wire.drain().await.is_ok());
        assert_eq!(client.await.ok(), Some(vec![1; 20_000]));
        assert_eq!(wire.input().len(), 20_000);
    }

    #[tokio::test]
    async fn reading_ahead_is_bounded() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let mut wire = Wire::new(server);
        let sender = tokio::spawn(async move { client.write_all(&vec![b'd'; 4 << 20]).await });
        let work = async {
            for _ in 0..2_000 {
                tokio::task::yield_now().await;
            }
        };
        assert!(wire.during(AtEof::Finish, work).await.is_ok());
        assert!(wire.input().len() <= READ_AHEAD_BYTES_MAX + 64 * 1024, "{}", wire.input().len());
        sender.abort();
    }
}
