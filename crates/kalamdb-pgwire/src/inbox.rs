//! Notifications that arrived and may not leave yet.
//!
//! They leave when the session is idle outside a transaction block, or just before ReadyForQuery(I), in the order in
//! which they came. After a LISTEN they are held until the client's next message or for a moment: a client that
//! registers its callback once LISTEN has been answered (asyncpg) would lose those that came with the answer.
//! The inbox is small: while it is full nothing is taken from the session, whose own queue has a bound and says
//! `overflow` when it is passed.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the first notifications after a LISTEN wait for the client's next message.
const HOLD: Duration = Duration::from_millis(50);
/// How many notifications wait here.
const NOTIFICATIONS_MAX: usize = 256;
/// How many bytes of payload wait here, less one payload.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// One notification.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Notification {
    /// The sender's process id.
    pub(crate) pid: i32,
    /// The channel.
    pub(crate) channel: Arc<str>,
    /// The payload.
    pub(crate) payload: Bytes,
}

/// Notifications on their way out.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: VecDeque<Notification>,
    payload_bytes: usize,
    held_until: Option<Instant>,
}

impl Inbox {
    /// Takes one in.
    pub(crate) fn push(&mut self, notification: Notification) {
        self.payload_bytes += notification.payload.len();
        self.waiting.push_back(notification);
    }

    /// Whether no more should be taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= NOTIFICATIONS_MAX || self.payload_bytes >= PAYLOAD_BYTES_MAX
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A LISTEN was answered: what waits, and what comes now, is held.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.held_until = Some(now + HOLD);
    }

    /// The client's next message came: it is ready for notifications.
    pub(crate) fn release(&mut self) {
        self.held_until = None;
    }

    /// When to look again, if something waits that is held.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.held_until.filter(|_| !self.waiting.is_empty())
    }

    /// The next one that may leave.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Notification> {
        if self.held_until.is_some_and(|until| now < until) {
            return None;
        }
        self.held_until = None;
        let notification = self.waiting.pop_front()?;
        self.payload_bytes -= notification.payload.len();
        Some(notification)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(channel: &str) -> Notification {
        Notification { pid: 1, channel: channel.into(), payload: Bytes::from_static(b"x") }
    }

    #[test]
    fn a_listen_holds_until_the_next_message_or_a_moment() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        inbox.hold(now);
        assert_eq!(inbox.wake_at(), None, "nothing to wake for");
        inbox.push(notification("a"));
        inbox.push(notification("b"));
        assert_eq!(inbox.pop(now), None);
        assert_eq!(inbox.wake_at(), Some(now + HOLD));
        assert_eq!(inbox.pop(now + HOLD), Some(notification("a")), "the moment has passed");
        inbox.hold(now);
        inbox.release();
        assert_eq!(inbox.pop(now), Some(notification("b")), "the next message came");
        assert_eq!(inbox.pop(now), None);
    }

    #[test]
    fn an_inbox_is_full_by_number_or_by_bytes() {
        let mut inbox = Inbox::default();
        inbox.push(Notification { payload: vec![0; PAYLOAD_BYTES_MAX].into(), ..notification("a") });
        assert!(inbox.is_full());
        inbox.pop(Instant::now());
        assert!(!inbox.is_full());
        for _ in 0..NOTIFICATIONS_MAX {
            inbox.push(notification("a"));
        }
        assert!(inbox.is_full());
    }
}
