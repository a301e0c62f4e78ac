//! JSON Web Tokens, signed with a secret that the configuration shares with the issuer (HS256).
//!
//! A token proves who calls, and nothing else: its subject must be the stored user's, and the stored role is in force.
//! The algorithm is ours, never the token's.

use crate::identity::LoginFailed;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt;

/// RFC 7518, 3.2: a key of HS256 has at least as many bits as the hash.
pub const SECRET_BYTES_MIN: usize = 32;
/// How far the issuer's clock may differ from ours.
const LEEWAY_S: f64 = 5.0;

/// Somebody whose tokens are accepted. `Debug` shows no secret.
#[derive(Clone)]
pub struct Issuer {
    name: String,
    issuer: String,
    audience: Option<String>,
    key: DecodingKey,
}

/// The configured secret is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token secret has {0} bytes, and needs at least {SECRET_BYTES_MIN}")]
pub struct WeakSecret(pub usize);

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Issuer {
    /// `name` is what users' OAUTH provider says, `issuer` the tokens' `iss`.
    ///
    /// # Errors
    /// [`WeakSecret`]
    pub fn new(name: &str, issuer: &str, secret: &[u8], audience: Option<&str>) -> Result<Self, WeakSecret> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(WeakSecret(secret.len()));
        }
        Ok(Self {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            audience: audience.map(str::to_owned),
            key: DecodingKey::from_secret(secret),
        })
    }

    /// What users' OAUTH provider says.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    /// RFC 7519, 2: a NumericDate may have a fraction.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
}

/// Checks a token for a user with this provider and subject, at this moment (microseconds since 1970 UTC).
///
/// # Errors
/// [`LoginFailed`], whatever was wrong.
pub fn check(token: &str, issuers: &[Issuer], provider: &str, subject: &str, now_us: i64) -> Result<(), LoginFailed> {
    let issuer = issuers.iter().find(|issuer| issuer.name == provider).ok_or(LoginFailed)?;
    let claims =
        jsonwebtoken::decode::<Claims>(token, &issuer.key, &validation(issuer)).map_err(|_| LoginFailed)?.claims;
    if has_critical(token) {
        return Err(LoginFailed);
    }
    let now_s = now_us as f64 / 1e6;
    let holds = claims.iss == issuer.issuer
        && claims.sub == subject
        && !subject.is_empty()
        && now_s < claims.exp + LEEWAY_S
        && claims.nbf.is_none_or(|nbf| now_s >= nbf - LEEWAY_S);
    if holds { Ok(()) } else { Err(LoginFailed) }
}

/// RFC 7515, 4.1.11: a token whose header names extensions that must be understood is refused by whoever does not
/// understand them, and here none is. A header that cannot be read counts as such.
fn has_critical(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).ok();
    let header: Option<serde_json::Map<String, serde_json::Value>> =
        header.and_then(|header| serde_json::from_slice(&header).ok());
    header.is_none_or(|header| header.contains_key("crit"))
}

/// The library checks signature, algorithm and audience; times are ours, since the clock has one reader.
fn validation(issuer: &Issuer) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    // `exp` is required by its type: the library would not take one with a fraction.
    validation.required_spec_claims = ["iss", "sub"].map(str::to_owned).into_iter().collect();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = issuer.audience.is_some();
    if let Some(audience) = &issuer.audience {
        validation.required_spec_claims.insert("aud".to_owned());
        validation.aud = Some(HashSet::from([audience.clone()]));
    }
    validation
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW_US: i64 = 1_700_000_000_000_000;

    fn signed(claims: &Value, secret: &[u8], algorithm: Algorithm) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).expect("a token")
    }

    fn issuers(audience: Option<&str>) -> Vec<Issuer> {
        vec![Issuer::new("corp", "https://corp", SECRET, audience).expect("an issuer")]
    }

    fn claims(change: &[(&str, Value)]) -> Value {
        let mut claims = json!({"iss": "https://corp", "sub": "u1", "exp": 1_700_000_100});
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        claims
    }

    #[test]
    fn claims_decide() {
        let cases: &[(&str, &[(&str, Value)], bool)] = &[
            ("as it should be", &[], true),
            ("another issuer", &[("iss", json!("https://other"))], false),
            ("no issuer", &[("iss", Value::Null)], false),
            ("another subject", &[("sub", json!("u2"))], false),
            ("no subject", &[("sub", Value::Null)], false),
            ("expired", &[("exp", json!(1_699_999_990))], false),
            ("no expiry", &[("exp", Value::Null)], false),
            ("an expiry that is no number", &[("exp", json!("tomorrow"))], false),
            ("an expiry without end", &[("exp", json!(i64::MAX))], true),
            ("not yet", &[("nbf", json!(1_700_000_050))], false),
            ("already", &[("nbf", json!(1_699_999_000))], true),
            ("a fraction of a second", &[("exp", json!(1_700_000_100.5)), ("nbf", json!(1_699_999_000.25))], true),
            ("issued at a fraction", &[("iat", json!(1_699_999_999.75))], true),
            ("expired at a fraction", &[("exp", json!(1_699_999_990.5))], false),
            ("not yet, by a fraction", &[("nbf", json!(1_700_000_005.5))], false),
            ("a role of its own counts for nothing", &[("role", json!("system"))], true),
        ];
        for (what, change, accepted) in cases {
            let token = signed(&claims(change), SECRET, Algorithm::HS256);
            assert_eq!(check(&token, &issuers(None), "corp", "u1", NOW_US).is_ok(), *accepted, "{what}");
        }
    }

    #[test]
    fn signatures_decide() {
        let good = signed(&claims(&[]), SECRET, Algorithm::HS256);
        let (head, body) = (good.split('.').next().expect("three parts"), good.split('.').nth(1).expect("three parts"));
        // {"alg":"none"}
        let unsigned = format!("eyJhbGciOiJub25lIn0.{body}.");
        let others = [
            signed(&claims(&[]), b"another secret of thirty-two byte", Algorithm::HS256),
            signed(&claims(&[]), SECRET, Algorithm::HS512),
            unsigned,
            format!("{head}.{body}.AAAA"),
            format!("{head}.{body}"),
            String::new(),
        ];
        for token in others {
            assert_eq!(check(&token, &issuers(None), "corp", "u1", NOW_US), Err(LoginFailed), "{token}");
        }
        assert_eq!(check(&good, &issuers(None), "other", "u1", NOW_US), Err(LoginFailed));
    }

    /// HMAC is over the header too, so it is signed here by hand.
    #[test]
    fn critical_extensions_are_refused() {
        let token = |header: &Value| {
            let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(&claims(&[])));
            let key = EncodingKey::from_secret(SECRET);
            let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("a signature");
            format!("{signed}.{signature}")
        };
        let check = |header: &Value| check(&token(header), &issuers(None), "corp", "u1", NOW_US);
        assert_eq!(check(&json!({"alg": "HS256"})), Ok(()));
        assert_eq!(check(&json!({"alg": "HS256", "typ": "JWT", "other": 1})), Ok(()));
        assert_eq!(check(&json!({"alg": "HS256", "crit": ["exp"]})), Err(LoginFailed));
        assert_eq!(check(&json!({"alg": "HS256", "crit": ["b64"], "b64": true})), Err(LoginFailed));
        assert_eq!(check(&json!({"alg": "HS256", "crit": []})), Err(LoginFailed));
    }

    #[test]
    fn audience_decides_when_configured() {
        let token = |aud: Value| signed(&claims(&[("aud", aud)]), SECRET, Algorithm::HS256);
        let check = |token: &str, audience| check(token, &issuers(audience), "corp", "u1", NOW_US).is_ok();
        assert!(check(&token(json!("db")), Some("db")));
        assert!(check(&token(json!(["x", "db"])), Some("db")));
        assert!(!check(&token(json!("x")), Some("db")));
        assert!(!check(&signed(&claims(&[]), SECRET, Algorithm::HS256), Some("db")));
        assert!(check(&token(json!("x")), None));
    }

    #[test]
    fn short_secrets_are_refused() {
        assert_eq!(Issuer::new("a", "b", b"secret", None).map(|_| ()), Err(WeakSecret(6)));
    }
}
