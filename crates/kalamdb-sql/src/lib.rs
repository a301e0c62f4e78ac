//! What SQL means: text to statements, names and types to bound trees, values in and out.
//!
//! This crate knows no table's rows, no session and no socket. It is asked with arguments (`bind::Names`,
//! `function::Surroundings`) and answers with values. The surprising thing: binding grants nothing. A bound tree
//! lists what it *needs*; `kalamdb-core` turns each need into a relation, or refuses, at every execution.

#![forbid(unsafe_code)]

pub mod bind;
pub mod dialect;
pub mod function;
pub mod lower;
pub mod parse;
pub mod predicate;
pub mod statement;
pub mod types;

pub use bind::bound::Bound;
pub use statement::Statement;

#[cfg(test)]
#[path = "../../../tests/fuzz/mutate.rs"]
mod fuzz;
