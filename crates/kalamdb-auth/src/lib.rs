//! Who somebody is, and what they may do.
//!
//! Passwords, SCRAM verifiers and tokens end in an [`Identity`]; an identity and the facts about an object end in
//! [`authorize::Granted`] or a refusal. This crate knows no catalog and no socket: it is asked with arguments. The
//! surprising thing: it says *that* a login failed and never why. Unknown, deleted and locked users, wrong passwords
//! and bad tokens are one answer, and take one time.

#![forbid(unsafe_code)]

pub mod authorize;
pub mod identity;
pub mod password;
pub mod scram;
pub mod throttle;
pub mod token;

pub use identity::{Identity, LoginFailed};
