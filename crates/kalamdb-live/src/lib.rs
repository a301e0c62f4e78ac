//! Live queries and channels: what one session commits reaches those who follow it.
//!
//! One dispatcher reads the store's feed in commit order, judges each changed row once for each query that follows its
//! table and partition, and puts messages into the outboxes of sessions. No SQL is run here, and no event asks for
//! permission: grant and scope were fixed when the query was registered, between two commit groups, and a change of
//! the user or of the table's definition that takes the right away ends the query. A slow session delays nobody: its outbox is bounded, and past the bound its query is told `overflow` and ends.

#![forbid(unsafe_code)]

mod channel;
pub mod dispatcher;
pub mod event;
pub mod outbox;
pub mod query;
#[cfg(test)]
mod tests;

pub use dispatcher::Live;
pub use event::Change;
pub use outbox::{LiveRows, Message, Outbox};
pub use query::{Follow, LiveId, LiveQueryFacts, MayRead};

/// What a session holds of this crate: its channels and live queries.
pub type Subscription = Outbox;
