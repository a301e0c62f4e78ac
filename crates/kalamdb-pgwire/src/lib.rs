//! The door that PostgreSQL's clients come through.
//!
//! `listener` accepts, `startup` brings a connection to its session, `connection` is the loop that serves it, with
//! `simple`, `extended` and `copy` for the three ways of speaking. `wire` is the socket with its buffers, `frame` what
//! clients say, `respond` and `encode` what they are answered, `inbox` what reaches them unasked. What a statement
//! means, who may do what, and where rows come from are core's.

#![forbid(unsafe_code)]

mod cancel;
mod connection;
mod copy;
mod encode;
mod extended;
mod frame;
mod inbox;
mod listener;
mod respond;
mod simple;
mod startup;
mod tls;
mod wire;

pub use listener::{Listener, Port, Stop};
pub use tls::{Tls, TlsError};

#[cfg(test)]
#[path = "../../../tests/fuzz/mutate.rs"]
mod fuzz;
