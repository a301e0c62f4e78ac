//! Power and processes go at any time; what was acknowledged is there whole, and nothing else.
//!
//! kill -9 keeps the page cache, so it shows that recovery is right; that commits are *durable* is shown by strace,
//! which sees an fsync between each commit's write and its answer. (Power loss itself is the store's own test, against
//! a backend that drops what was not synced.)

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod flushed;
mod fsync;
mod indexed;
mod killed;
mod numbered;
mod referring;
mod refused;
