//! Passwords: what is kept of one, and how one is checked.
//!
//! Two things are made when a password is set: a SCRAM verifier for the PostgreSQL door and a bcrypt hash for HTTP
//! Basic. Neither is ever shown. A client may hand in the verifier instead of the password, as psql's `\password`
//! does; then there is no bcrypt hash, and Basic logins of that user fail.

use crate::identity::LoginFailed;
use crate::scram::{ITERATIONS_MIN, Verifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kalamdb_commons::{SqlError, SqlState};
use ring::digest;
use std::fmt;

/// How expensive hashes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// PBKDF2's rounds in SCRAM verifiers.
    pub scram_iterations: u32,
    /// bcrypt's exponent.
    pub bcrypt: u32,
}

impl Default for Cost {
    fn default() -> Self {
        // bcrypt at 10 takes about 50 ms of one core: a Basic login may be made for each HTTP request.
        Self { scram_iterations: ITERATIONS_MIN, bcrypt: 10 }
    }
}

/// What is kept of a password. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    /// For Basic logins; empty when only a verifier was given.
    pub bcrypt: String,
    /// For SCRAM logins.
    pub scram: String,
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed(…)")
    }
}

/// Hashes a password, or takes the SCRAM verifier that stands in its place. It takes tens of milliseconds: not for a
/// thread that serves others.
///
/// # Errors
/// 22023 for an empty password; XX000 when no random bytes are to be had.
pub fn hash(password: &str, cost: Cost) -> Result<Hashed, SqlError> {
    if password.is_empty() {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "a password must not be empty"));
    }
    if let Some(verifier) = Verifier::parse(password) {
        return Ok(Hashed { bcrypt: String::new(), scram: verifier.to_string() });
    }
    let scram = Verifier::new(password, cost.scram_iterations)?.to_string();
    let bcrypt = bcrypt::hash(digested(password), cost.bcrypt)
        .map_err(|_| SqlError::new(SqlState::INTERNAL_ERROR, "the password could not be hashed"))?;
    Ok(Hashed { bcrypt, scram })
}

/// Checks a password in clear against the bcrypt hash. Without a user, or without a hash, as much time passes.
///
/// # Errors
/// [`LoginFailed`]
pub fn check(password: &str, bcrypt_hash: Option<&str>) -> Result<(), LoginFailed> {
    let known = bcrypt_hash.filter(|hash| !hash.is_empty());
    let right = bcrypt::verify(digested(password), known.unwrap_or(OF_NOBODY)).unwrap_or(false);
    if right && known.is_some() { Ok(()) } else { Err(LoginFailed) }
}

/// A hash of default cost for which nobody knows a password.
const OF_NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuHhM3WJBwjwGFkCNjHUi0QvNJxaxRJ.W";

/// bcrypt reads 72 bytes and stops at a zero byte: it is given a digest, which is shorter and has none.
fn digested(password: &str) -> String {
    BASE64.encode(digest::digest(&digest::SHA256, password.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { scram_iterations: 4096, bcrypt: 4 };

    #[test]
    fn both_hashes_know_the_password() {
        let long = "x".repeat(100);
        for password in ["secret", "ä\0b", &long] {
            let hashed = hash(password, CHEAP).expect("a hash");
            assert_eq!(check(password, Some(&hashed.bcrypt)), Ok(()));
            assert_eq!(check(&password[..password.len() - 1], Some(&hashed.bcrypt)), Err(LoginFailed));
            assert_eq!(Verifier::parse(&hashed.scram).expect("a verifier").check(password), Ok(()));
        }
    }

    #[test]
    fn nobody_fails() {
        assert_eq!(check("x", None), Err(LoginFailed));
        assert_eq!(check("", Some("")), Err(LoginFailed));
        assert!(OF_NOBODY.parse::<bcrypt::HashParts>().is_ok(), "or no time would pass");
    }

    #[test]
    fn a_verifier_is_taken_as_it_is() {
        let verifier = Verifier::new("secret", 4096).expect("a verifier").to_string();
        let hashed = hash(&verifier, CHEAP).expect("a hash");
        assert_eq!((hashed.scram, hashed.bcrypt.as_str()), (verifier, ""));
        assert_eq!(hash("", CHEAP).expect_err("empty").state(), SqlState::INVALID_PARAMETER_VALUE);
    }
}
