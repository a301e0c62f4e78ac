//! The hall where a statement is understood and carried out.
//!
//! One statement's way: `session` parses it, `statement` matches its kind, the binder says what the names mean and
//! what the statement needs, `resolve` turns each need into a relation (or refuses), `plan` runs it over one read
//! view. The doors see `Database` and `Session` and nothing behind them.

#![forbid(unsafe_code)]

pub mod error;
pub mod settings;
mod snowflake;
pub mod registry;
pub mod plan;
mod reply;
pub mod system;
mod relation;
mod resolve;
mod hall;
mod jobs;
mod standing;
mod statement;
pub mod login;
pub mod session;
pub mod database;

pub use database::{Database, Options};
pub use login::{Challenge, Peer, Pending};
pub use session::{CopyOut, Event, OutputColumn, Reply, Rows, ScriptStatement, Session, Startup, TransactionStatus};
