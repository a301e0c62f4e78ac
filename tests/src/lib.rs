//! What every layer of tests needs: a running server, a running PostgreSQL 15, connections to both.
//!
//! The server is the built binary, met through its port like by any client; none of our crates is linked. The
//! surprising thing: nothing here waits for a time to pass. It waits for a port, a line, an answer, with a bound.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

pub mod compare;
pub mod connect;
pub mod peer;
pub mod place;
pub mod postgres;
pub mod psql;
pub mod script;
pub mod server;

pub use connect::{Event, Session};
pub use postgres::Postgres;
pub use server::{Server, ServerOptions};

/// The password of `root` in every test server.
pub const ROOT_PASSWORD: &str = "correct horse battery staple";

/// Whether a test was asked to write what it found instead of comparing (`UPDATE_EXPECT=1`).
pub fn updates_expectations() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1")
}

/// A number from the environment: budgets, which are small in `make test` and large in `make soak`.
pub fn budget(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
