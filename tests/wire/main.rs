//! The protocol byte by byte: what is sent, and what must come back.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod deferred;
mod extended;
mod limits;
mod login;
mod malformed;
mod rights;
mod types;
