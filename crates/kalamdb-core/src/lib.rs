//! The hall where a statement is understood and carried out.
//!
//! One statement's way: `session` parses it, `statement` matches its kind, the binder says what the names mean and
//! what the statement needs, `resolve` turns each need into a relation (or refuses), `plan` runs it over one read
//! view. The doors see `Database` and `Session` and nothing behind them.

#![forbid(unsafe_code)]

mod advisory;
mod check;
pub mod database;
pub mod depend;
pub mod error;
mod generated;
mod hall;
mod index;
mod jobs;
pub mod login;
pub mod plan;
mod point;
mod referential;
pub mod registry;
mod relation;
mod reply;
mod resolve;
mod sequence;
pub mod session;
pub mod settings;
mod snowflake;
mod standing;
mod statement;
pub mod system;

pub use database::{Database, Options};
pub use login::{Challenge, Peer, Pending};
pub use session::{CopyOut, Event, OutputColumn, Reply, Rows, ScriptStatement, Session, Startup, TransactionStatus};
