//! SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), in the form that PostgreSQL stores them.
//!
//! A verifier proves a password and does not reveal it: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
//! An unknown name gets a false one that is the same each time and for which no password exists, so that a caller
//! cannot tell which names exist.

use crate::identity::LoginFailed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kalamdb_commons::{SqlError, SqlState};
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};
use std::fmt;
use std::num::NonZeroU32;

/// RFC 7677's least number of iterations, and PostgreSQL's default.
pub const ITERATIONS_MIN: u32 = 4096;
/// More would let one login attempt burn a second of the client's and our time.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// PostgreSQL's salt length.
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const MECHANISM: &str = "SCRAM-SHA-256";

/// What a server needs to check a SCRAM login. `Debug` shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// The rounds of PBKDF2.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`
    pub stored_key: [u8; KEY_BYTES],
    /// `HMAC(SaltedPassword, "Server Key")`
    pub server_key: [u8; KEY_BYTES],
}

impl Verifier {
    /// Makes a verifier with a fresh salt.
    ///
    /// # Errors
    /// XX000 when the system gives no random bytes.
    pub fn new(password: &str, iterations: u32) -> Result<Self, SqlError> {
        let mut salt = vec![0; SALT_BYTES];
        let random = ring::rand::SystemRandom::new();
        random.fill(&mut salt).map_err(|_| SqlError::new(SqlState::INTERNAL_ERROR, "no random bytes for a salt"))?;
        Ok(Self::with_salt(password, iterations, salt))
    }

    fn with_salt(password: &str, iterations: u32, salt: Vec<u8>) -> Self {
        let iterations = iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX);
        let mut salted = [0; KEY_BYTES];
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, prepared(password).as_bytes(), &mut salted);
        let client_key = hmac_sha256(&salted, &[b"Client Key"]);
        let stored_key = sha256(&client_key);
        let server_key = hmac_sha256(&salted, &[b"Server Key"]);
        Self { iterations, salt, stored_key, server_key }
    }

    /// The verifier of a name that does not exist: always the same for one server and name.
    pub fn of_nobody(server_secret: &[u8], name: &str, iterations: u32) -> Self {
        let derive = |what: &[u8]| hmac_sha256(server_secret, &[what, b"\0", name.as_bytes()]);
        Self {
            iterations: iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX),
            salt: derive(b"salt")[..SALT_BYTES].to_vec(),
            stored_key: derive(b"stored key"),
            server_key: derive(b"server key"),
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        let (mechanism, rest) = text.split_once('$')?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let verifier = Self {
            iterations: iterations.parse().ok()?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored_key).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server_key).ok()?.try_into().ok()?,
        };
        (mechanism == MECHANISM && (1..=ITERATIONS_MAX).contains(&verifier.iterations)).then_some(verifier)
    }

    /// Checks a password that came in clear.
    ///
    /// # Errors
    /// [`LoginFailed`] when it is another password.
    pub fn check(&self, password: &str) -> Result<(), LoginFailed> {
        let mut salted = [0; KEY_BYTES];
        let rounds = NonZeroU32::new(self.iterations).ok_or(LoginFailed)?;
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &self.salt, prepared(password).as_bytes(), &mut salted);
        let stored_key = sha256(&hmac_sha256(&salted, &[b"Client Key"]));
        // How many bytes of two digests agree tells nothing about the password: a plain comparison will do.
        if stored_key == self.stored_key { Ok(()) } else { Err(LoginFailed) }
    }
}

impl fmt::Display for Verifier {
    /// The stored form: to be kept, and shown to nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        let (salt, stored, server) = (encode(&self.salt), encode(&self.stored_key), encode(&self.server_key));
        write!(f, "{MECHANISM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// SASLprep; a password that it forbids is used as it is, as PostgreSQL and libpq do.
fn prepared(password: &str) -> std::borrow::Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(std::borrow::Cow::Borrowed(password))
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    bytes_of(context.sign().as_ref())
}

fn sha256(bytes: &[u8]) -> [u8; KEY_BYTES] {
    bytes_of(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn bytes_of(output: &[u8]) -> [u8; KEY_BYTES] {
    assert_eq!(output.len(), KEY_BYTES, "SHA-256 gives 32 bytes");
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(output);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that PostgreSQL 15 stored for the password "pencil" with this salt.
    #[test]
    fn is_postgresqls() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = Verifier::with_salt("pencil", 4096, salt);
        assert_eq!(
            verifier.to_string(),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn round_trip() {
        let verifier = Verifier::new("pa$$:wörd", 5000).expect("a verifier");
        let read = Verifier::parse(&verifier.to_string()).expect("its own form");
        assert_eq!(read, verifier);
        assert_eq!(read.check("pa$$:wörd"), Ok(()));
        assert_eq!(read.check("pa$$:word"), Err(LoginFailed));
        assert!(!format!("{verifier:?}").contains(&BASE64.encode(verifier.stored_key)));
    }

    #[test]
    fn nobody_is_the_same_every_time() {
        let secret = [7; 32];
        let first = Verifier::of_nobody(&secret, "alice", 4096);
        assert_eq!(first, Verifier::of_nobody(&secret, "alice", 4096));
        assert_ne!(first.salt, Verifier::of_nobody(&secret, "bob", 4096).salt);
        assert_eq!(first.salt.len(), Verifier::new("x", 4096).expect("a verifier").salt.len());
        assert_eq!(first.check(""), Err(LoginFailed));
    }

    #[test]
    fn malformed_forms_are_none() {
        for text in
            ["", "x", "md5abc", "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA", "SCRAM-SHA-256$0:AAAA$AAAA", "SCRAM-SHA-1$1:$:"]
        {
            assert_eq!(Verifier::parse(text), None, "{text}");
        }
    }

    /// RFC 4013: a soft hyphen maps to nothing, a full-width digit to its plain form.
    #[test]
    fn saslprep_applies() {
        let verifier = Verifier::new("I\u{AD}X\u{FF11}", 4096).expect("a verifier");
        assert_eq!(verifier.check("IX1"), Ok(()));
    }
}
