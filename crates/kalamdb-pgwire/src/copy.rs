//! COPY's sub-protocol, both ways.
//!
//! In: the client's data is passed on in pieces of some size, however small its messages are. Out: one CopyData for
//! each row, as PostgreSQL sends them and drivers expect, though rows come from core many at a time. A failed COPY
//! ends with an error and nothing else; what the client still sends of it is ignored.

use crate::connection::{Connection, Fault, shutting_down, unless};
use crate::frame::{Body, Frame, session_gate, violation};
use crate::respond::{self, Bare};
use crate::wire::{AtEof, End, UNSENT_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use kalamdb_core::CopyOut;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Small CopyData messages are passed on together, up to so much.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
/// When the server stops, an endless COPY ends once it had nothing to say for so long.
const QUIET: Duration = Duration::from_millis(500);
/// The start of a binary COPY: signature, flags, and the length of the extension area.
const BINARY_HEADER_BYTES: usize = 19;

/// What comes next in a COPY … FROM STDIN.
enum Input {
    Data(Bytes),
    Done,
    Failed(String),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// COPY … FROM STDIN: the command tag.
    pub(crate) async fn copy_in(&mut self, binary: bool, columns: usize) -> Result<String, Fault> {
        self.wire.put(|out| respond::copy_in(out, binary, columns));
        self.wire.drain().await?;
        let interrupt = self.session.interrupt();
        loop {
            match unless(&interrupt, self.copy_input()).await?? {
                Input::Data(data) => self.wire.during(AtEof::Abandon, self.session.copy_data(data)).await??,
                Input::Done => {
                    return Ok(self.wire.during(AtEof::Finish, self.session.copy_done()).await??);
                }
                Input::Failed(why) => return Err(self.session.copy_fail(&why).into()),
            }
        }
    }

    async fn copy_input(&mut self) -> Result<Input, Fault> {
        loop {
            self.wire.at_least(1).await?;
            let kind = self.wire.input()[0];
            if !matches!(kind, b'd' | b'c' | b'f' | b'H' | b'S' | b'X') {
                return Err(self.lose_sync(kind).into());
            }
            let Frame { kind, body } = self.wire.frame(session_gate).await?;
            match kind {
                b'd' => return Ok(Input::Data(self.gather_data(body)?)),
                b'c' => return Ok(Input::Done),
                b'f' => return Ok(Input::Failed(Body(body).text()?)),
                // PostgreSQL manual 55.2.6: Flush and Sync are ignored here.
                b'H' | b'S' => {}
                _ => return Err(End::Gone.into()),
            }
        }
    }

    /// A message that has no place in COPY: its sender is elsewhere in the protocol, and is told so twice, as by
    /// PostgreSQL.
    fn lose_sync(&mut self, kind: u8) -> End {
        self.report(&violation(format!("unexpected message type 0x{kind:02X} during COPY from stdin")));
        End::Fatal(violation("terminating connection because protocol synchronization was lost"))
    }

    /// Adds the CopyData messages that have arrived already.
    fn gather_data(&mut self, first: Bytes) -> Result<Bytes, End> {
        if first.len() >= GATHERED_BYTES_MAX || self.wire.input().first() != Some(&b'd') {
            return Ok(first);
        }
        let mut gathered = BytesMut::from(first);
        while gathered.len() < GATHERED_BYTES_MAX && self.wire.input().first() == Some(&b'd') {
            match self.wire.buffered_frame(session_gate)? {
                Some(frame) => gathered.extend_from_slice(&frame.body),
                None => break,
            }
        }
        Ok(gathered.freeze())
    }

    /// COPY … TO STDOUT: the command tag.
    pub(crate) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<String, Fault> {
        let (binary, interrupt) = (copy.binary, self.session.interrupt());
        self.wire.put(|out| respond::copy_out(out, binary, copy.columns));
        let mut at_start = true;
        loop {
            let next = unless_stopped(&self.stop, copy.next_chunk());
            let Some(chunk) = self.wire.during(AtEof::Abandon, next).await?? else { break };
            let chunk = chunk?;
            let mut rest = &chunk.bytes[..];
            while !rest.is_empty() {
                let end = if binary { binary_row_end(rest, at_start) } else { text_row_end(rest) };
                let (row, after) = rest.split_at(end);
                self.wire.put(|out| respond::copy_data(out, row));
                (rest, at_start) = (after, false);
                if self.wire.unsent() >= UNSENT_BYTES_MAX {
                    self.drain_unless(&interrupt).await?;
                }
            }
            if chunk.flush {
                self.drain_unless(&interrupt).await?;
            }
            self.wire.drain_if_full().await?;
        }
        self.wire.put(|out| respond::bare(out, Bare::CopyDone));
        Ok(copy.tag())
    }
}

/// The next chunk, unless the server stops and none comes for a while.
async fn unless_stopped<T>(stop: &CancellationToken, next: impl Future<Output = T>) -> Result<T, End> {
    tokio::select! {
        biased;
        next = next => Ok(next),
        () = async { stop.cancelled().await; tokio::time::sleep(QUIET).await } => Err(End::Fatal(shutting_down())),
    }
}

/// Where the first row ends: behind its line feed. (A line feed inside a quoted CSV value splits a row over two
/// messages; text format has none inside a row.)
fn text_row_end(rows: &[u8]) -> usize {
    memchr::memchr(b'\n', rows).map_or(rows.len(), |at| at + 1)
}

/// Where the first tuple ends: behind its last field. The header belongs to the first tuple; the trailer, whose field
/// count is -1, is one of its own.
fn binary_row_end(rows: &[u8], at_start: bool) -> usize {
    let mut at = if at_start { BINARY_HEADER_BYTES } else { 0 };
    let Some(count) = rows.get(at..at + 2) else { return rows.len() };
    at += 2;
    for _ in 0..i16::from_be_bytes([count[0], count[1]]).max(0) {
        let Some(length) = rows.get(at..at + 4) else { return rows.len() };
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    at.min(rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart() {
        assert_eq!(text_row_end(b"1\ta\n2\tb\n"), 4);
        assert_eq!(text_row_end(b"no end"), 6);
        let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
        let row = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        let stream = [&header[..], row, row, b"\xff\xff"].concat();
        assert_eq!(binary_row_end(&stream, true), header.len() + row.len());
        assert_eq!(binary_row_end(&stream[header.len() + row.len()..], false), row.len());
        assert_eq!(binary_row_end(b"\xff\xff", false), 2);
        assert_eq!(binary_row_end(b"\0\x01\0\0\0\xff", false), 6, "cut off");
    }
}
