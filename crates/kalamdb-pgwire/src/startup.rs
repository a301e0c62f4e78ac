//! A connection until its session stands: encryption, the startup packet, the login, the greeting.
//!
//! One startup per connection, and each state expects very little: packets of at most 10,000 bytes before the startup
//! packet is read, then password messages of at most 16 KiB and nothing else. Whatever else comes ends the connection.
//! Nothing may be buffered behind a request for encryption: it was said in the clear and must not count as encrypted.

use crate::cancel::{CANCEL_CODE, CancelRequest};
use crate::frame::{Body, login_gate, violation};
use crate::respond::{self, Severity};
use crate::wire::{AtEof, End, Wire};
use bytes::{Buf, Bytes};
use kalamdb_auth::scram::Verifier;
use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_core::{Challenge, Database, Peer, Session, Startup};
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};
use pgwire::api::auth::sasl::{SCRAM_SHA_256_METHOD, SCRAM_SHA_256_PLUS_METHOD};
use pgwire::error::PgWireError;
use pgwire::messages::startup::Authentication;
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest packet before the startup packet is read, itself included; PostgreSQL's limit.
const PACKET_BYTES_MAX: usize = 10_000;
/// The shortest: a length and a code.
const PACKET_BYTES_MIN: usize = 8;
const SSL_CODE: i32 = 80_877_103;
const GSS_CODE: i32 = 80_877_104;
/// The newest protocol that is spoken here: 3.2.
const NEWEST_VERSION: i32 = 3 << 16 | 2;
/// A cancel key's length in protocol 3.0.
const SHORT_KEY_BYTES: usize = 4;

/// Whether this connection is, or may become, encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// No certificate is configured.
    Unavailable,
    /// The client may ask for it.
    Offered,
    /// It is on.
    On,
}

/// What a client opened the connection for.
#[derive(Debug, PartialEq)]
pub(crate) enum Opening {
    /// It was told that encryption begins now.
    Encrypt,
    /// To stop another session's query.
    Cancel(CancelRequest),
    /// To log in.
    Login(Packet),
}

/// A startup packet.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Packet {
    /// The minor protocol version asked for.
    minor: u16,
    user: String,
    database: String,
    /// `options` first, so that a setting of its own wins.
    settings: Vec<(String, String)>,
    /// Protocol options (`_pq_.…`) that are not known here.
    unknown: Vec<String>,
}

/// Reads packets until it is clear what the client wants.
///
/// # Errors
/// [`End::Fatal`] for what PostgreSQL answers, [`End::Gone`] for what it closes without a word (no PostgreSQL client
/// sends it, so nobody would understand the answer).
pub(crate) async fn open<S>(wire: &mut Wire<S>, encryption: Encryption) -> Result<Opening, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut ssl_asked, mut gss_asked) = (encryption == Encryption::On, false);
    loop {
        let (code, rest) = packet(wire).await?;
        match code {
            SSL_CODE if !ssl_asked => {
                ssl_asked = true;
                nothing_behind(wire, "SSL")?;
                let answer = if encryption == Encryption::Offered { b"S" } else { b"N" };
                wire.put(|out| out.extend_from_slice(answer));
                wire.drain().await?;
                if encryption == Encryption::Offered {
                    nothing_behind(wire, "SSL")?;
                    return Ok(Opening::Encrypt);
                }
            }
            GSS_CODE if !gss_asked => {
                gss_asked = true;
                nothing_behind(wire, "GSSAPI encryption")?;
                wire.put(|out| out.extend_from_slice(b"N"));
                wire.drain().await?;
            }
            CANCEL_CODE => {
                return CancelRequest::read(rest).map(Opening::Cancel).map_err(|_| End::Gone);
            }
            version => return Packet::read(version, rest).map(Opening::Login).map_err(End::Fatal),
        }
    }
}

/// One packet without a type byte: its code, and what follows it.
async fn packet<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<(i32, Bytes), End> {
    // The length alone tells a stray client (a browser, a scanner) from ours.
    wire.at_least(4).await?;
    let length = (&wire.input()[..4]).get_i32();
    let length = usize::try_from(length).ok().filter(|n| (PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(n));
    let Some(length) = length else {
        tracing::debug!("invalid length of startup packet");
        return Err(End::Gone);
    };
    wire.at_least(length).await?;
    let mut packet = wire.input().split_to(length).freeze();
    packet.advance(4);
    Ok((packet.get_i32(), packet))
}

fn nothing_behind<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, what: &str) -> Result<(), End> {
    if wire.input().is_empty() {
        return Ok(());
    }
    wire.input().clear();
    let refusal = violation(format!("received unencrypted data after {what} request"));
    Err(End::Fatal(refusal.with_detail(
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    )))
}

impl Packet {
    /// Reads what follows the version of a startup packet.
    fn read(version: i32, rest: Bytes) -> Result<Packet> {
        let (major, minor) = ((version >> 16) as u16, version as u16);
        if major != 3 {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2"),
            ));
        }
        let mut packet = Packet { minor, ..Packet::default() };
        let (mut body, mut given) = (Body(rest), Vec::new());
        loop {
            let name = body.text().map_err(layout)?;
            if name.is_empty() {
                break;
            }
            let value = body.text().map_err(layout)?;
            packet.take(name, value, &mut given)?;
        }
        body.end().map_err(layout)?;
        packet.settings.append(&mut given);
        if packet.user.is_empty() {
            return Err(SqlError::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "no PostgreSQL user name specified in startup packet",
            ));
        }
        Ok(packet)
    }

    fn take(&mut self, name: String, value: String, given: &mut Vec<(String, String)>) -> Result<()> {
        match name.as_str() {
            "user" => self.user = value,
            "database" => self.database = value,
            "options" => self.settings.extend(options(&value)?),
            "replication" if matches!(value.as_str(), "off" | "false" | "no" | "0") => {}
            "replication" => return Err(SqlError::unsupported("replication")),
            option if option.starts_with("_pq_.") => self.unknown.push(name),
            _ => given.push((name, value)),
        }
        Ok(())
    }
}

/// A string that ends nowhere is a matter of layout here; text that is not UTF-8 stays what it is.
fn layout(error: SqlError) -> SqlError {
    if error.state() == SqlState::PROTOCOL_VIOLATION {
        violation("invalid startup packet layout: expected terminator as last byte")
    } else {
        error
    }
}

/// The settings in a startup packet's `options`: `-c name=value` and `--name=value`, with backslash as the escape.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut words = split_options(text).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(rest) => Some(rest.to_string()),
            None => word.strip_prefix("--").map(str::to_string),
        };
        let pair = assignment.as_deref().and_then(|assignment| assignment.split_once('='));
        let Some((name, value)) = pair else {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("invalid command-line argument for server process: {word}"),
            ));
        };
        // PostgreSQL lets a dash stand for an underscore here.
        settings.push((name.replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

fn split_options(text: &str) -> Vec<String> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() {
            if std::mem::take(&mut begun) {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        begun = true;
        word.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    if begun {
        words.push(word);
    }
    words
}

/// Logs in and greets.
///
/// # Errors
/// [`End::Fatal`] with the one generic failure, or with what stands against a session (53300, 3D000 …).
pub(crate) async fn login<S>(
    wire: &mut Wire<S>,
    database: &Database,
    packet: Packet,
    peer: Peer,
    scram: &ScramServerAuth,
) -> Result<Session, End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let long_key = packet.minor >= 2;
    negotiate(wire, &packet);
    let start = Startup { database: packet.database, settings: packet.settings };
    let session = match database.challenge(&packet.user, &peer).map_err(End::Fatal)? {
        Challenge::Scram(pending) => {
            let proved = sasl(wire, scram, secret(pending.verifier())).await?;
            let session = wire.during(AtEof::Abandon, pending.scram(proved.is_some(), start)).await?;
            // The server's own proof goes to those who are let in: with it a locked user would learn that a guessed
            // password is right.
            if let (Ok(_), Some(proof)) = (&session, proved) {
                wire.put(|out| respond::authentication(out, Authentication::SASLFinal(proof)));
            }
            session
        }
        Challenge::Token(pending) => {
            wire.put(|out| respond::authentication(out, Authentication::CleartextPassword));
            let token = password(wire).await?;
            wire.during(AtEof::Abandon, pending.token(&token, start)).await?
        }
    };
    let session = session.map_err(End::Fatal)?;
    greet(wire, &session, long_key);
    Ok(session)
}

/// A newer minor version or an unknown protocol option is answered with what is spoken here.
fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, packet: &Packet) {
    if packet.minor > 2 || !packet.unknown.is_empty() {
        wire.put(|out| respond::negotiate_version(out, NEWEST_VERSION, packet.unknown.clone()));
    }
}

fn greet<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, session: &Session, long_key: bool) {
    let (pid, key) = session.backend_key();
    let key = if long_key { key } else { key.slice(..key.len().min(SHORT_KEY_BYTES)) };
    wire.put(|out| {
        respond::authentication(out, Authentication::Ok);
        for (name, value) in session.parameters() {
            respond::parameter_status(out, name, &value);
        }
        respond::backend_key(out, pid, key);
    });
}

/// The password message's text.
async fn password<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<String, End> {
    let mut body = password_body(wire).await?;
    let text = body.text().and_then(|text| body.end().map(|()| text)).map_err(End::Fatal)?;
    if text.is_empty() {
        return Err(End::Fatal(SqlError::new(SqlState::INVALID_PASSWORD, "empty password returned by client")));
    }
    Ok(text)
}

/// Sends what was asked and waits for the one message that may answer it.
async fn password_body<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<Body, End> {
    wire.drain().await?;
    wire.at_least(1).await?;
    let kind = wire.input()[0];
    if login_gate(kind).is_none() {
        return Err(End::Fatal(violation(format!("expected password response, got message type {kind}"))));
    }
    Ok(Body(wire.frame(login_gate).await?.body))
}

fn secret(verifier: &Verifier) -> ScramSecret {
    ScramSecret::Verifier {
        salt: verifier.salt.to_vec(),
        iterations: verifier.iterations as usize,
        stored_key: verifier.stored_key.to_vec(),
        server_key: verifier.server_key.to_vec(),
    }
}

/// The SASL exchange: the server's proof in return, if the client has proved that it knows the password.
///
/// # Errors
/// [`End::Fatal`] 08P01 for messages that no client that means it sends.
async fn sasl<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    scram: &ScramServerAuth,
    secret: ScramSecret,
) -> Result<Option<Bytes>, End> {
    let mut mechanisms = vec![SCRAM_SHA_256_METHOD.to_string()];
    if scram.supports_channel_binding() {
        mechanisms.insert(0, SCRAM_SHA_256_PLUS_METHOD.to_string());
    }
    wire.put(|out| respond::authentication(out, Authentication::SASL(mechanisms.clone())));
    let body = password_body(wire).await?;
    let first = client_first(body, &mechanisms).map_err(End::Fatal)?;
    let (answer, exchange) = scram.on_client_first_message_with_secret(&first, secret).map_err(malformed)?;
    wire.put(|out| respond::authentication(out, Authentication::SASLContinue(answer.into())));
    let last = password_body(wire).await?.0;
    match exchange.on_client_final_message(&last) {
        Ok(proof) => Ok(Some(proof.into())),
        Err(PgWireError::InvalidPassword(_)) => Ok(None),
        Err(error) => Err(malformed(error)),
    }
}

/// The client-first-message, when its mechanism was offered and its binding flag fits the mechanism.
fn client_first(mut body: Body, mechanisms: &[String]) -> Result<Bytes> {
    let mechanism = body.text()?;
    if !mechanisms.contains(&mechanism) {
        return Err(violation("client selected an invalid SASL authentication mechanism"));
    }
    let length = usize::try_from(body.i32()?).map_err(|_| violation("malformed SCRAM message"))?;
    let first = body.bytes(length)?;
    body.end()?;
    // "p" says that the channel is bound, and only -PLUS may and must.
    if first.starts_with(b"p") != (mechanism == SCRAM_SHA_256_PLUS_METHOD) {
        return Err(violation("malformed SCRAM message").with_detail(
            "The channel binding flag does not fit the authentication mechanism that the client selected.",
        ));
    }
    Ok(first)
}

fn malformed(error: PgWireError) -> End {
    tracing::debug!(%error, "malformed SCRAM message");
    End::Fatal(violation("malformed SCRAM message"))
}

/// Tells a client why it may not stay.
pub(crate) fn refuse<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, error: &SqlError) {
    wire.put(|out| respond::error(out, Severity::Fatal, error));
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use pgwire::api::auth::sasl::scram::gen_salted_password;
    use ring::{digest, hmac};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    fn packet_of(code: i32, rest: &[u8]) -> Vec<u8> {
        let mut packet = (rest.len() as u32 + 8).to_be_bytes().to_vec();
        packet.extend(code.to_be_bytes());
        packet.extend(rest);
        packet
    }

    const V3_0: i32 = 3 << 16;
    const STARTUP: &[u8] = b"user\0ann\0database\0kalamdb\0application_name\0psql\0\0";

    /// What the server makes of these bytes, and what it answers.
    async fn opened(sent: &[u8], encryption: Encryption) -> (Result<Opening, End>, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let mut wire = Wire::new(server);
        client.write_all(sent).await.ok();
        client.shutdown().await.ok();
        let opening = open(&mut wire, encryption).await;
        drop(wire);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.ok();
        (opening, answer)
    }

    fn state(end: &Result<Opening, End>) -> &str {
        match end {
            Ok(_) => "opened",
            Err(End::Gone) => "closed",
            Err(End::Fatal(error)) => match error.state() {
                SqlState::PROTOCOL_VIOLATION => "08P01",
                SqlState::FEATURE_NOT_SUPPORTED => "0A000",
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION => "28000",
                SqlState::CHARACTER_NOT_IN_REPERTOIRE => "22021",
                SqlState::SYNTAX_ERROR => "42601",
                _ => "other",
            },
        }
    }

    #[tokio::test]
    async fn what_may_open_a_connection() {
        use Encryption::{Offered, On, Unavailable};
        let startup = packet_of(V3_0, STARTUP);
        let ssl = packet_of(SSL_CODE, b"");
        let gss = packet_of(GSS_CODE, b"");
        let cancel = packet_of(CANCEL_CODE, b"\0\0\0\x07abcd");
        let table: &[(&str, Vec<u8>, Encryption, &str, &[u8])] = &[
            ("a startup packet", startup.clone(), Unavailable, "opened", b""),
            ("SSLRequest, TLS configured", ssl.clone(), Offered, "opened", b"S"),
            ("SSLRequest, no TLS, then nothing", ssl.clone(), Unavailable, "closed", b"N"),
            ("GSSENCRequest, then nothing", gss.clone(), Offered, "closed", b"N"),
            ("a cancel request", cancel.clone(), On, "opened", b""),
            ("bytes behind an SSLRequest", [ssl.clone(), startup.clone()].concat(), Offered, "08P01", b""),
            ("the same without TLS", [ssl.clone(), startup.clone()].concat(), Unavailable, "08P01", b""),
            ("bytes behind a GSSENCRequest", [gss.clone(), startup.clone()].concat(), Offered, "08P01", b""),
            ("SSLRequest inside TLS", ssl.clone(), On, "0A000", b""),
            ("protocol 2", packet_of(2 << 16, STARTUP), Unavailable, "0A000", b""),
            ("too short", vec![0, 0, 0, 7, 0, 3, 0, 0], Unavailable, "closed", b""),
            ("too long", vec![0, 0, 0x27, 0x11, 0, 3, 0, 0], Unavailable, "closed", b""),
            ("a browser", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Unavailable, "closed", b""),
            ("a query", b"Q\0\0\0\x0dSELECT 1\0".to_vec(), Unavailable, "closed", b""),
            ("half a packet", startup[..20].to_vec(), Unavailable, "closed", b""),
            ("no user", packet_of(V3_0, b"database\0x\0\0"), Unavailable, "28000", b""),
            ("no terminator", packet_of(V3_0, b"user\0ann\0"), Unavailable, "08P01", b""),
            ("something after the terminator", packet_of(V3_0, b"user\0ann\0\0x"), Unavailable, "08P01", b""),
            ("a name that is not text", packet_of(V3_0, b"user\0\xff\0\0"), Unavailable, "22021", b""),
            ("replication", packet_of(V3_0, b"user\0a\0replication\0true\0\0"), Unavailable, "0A000", b""),
            ("odd options", packet_of(V3_0, b"user\0a\0options\0-x\0\0"), Unavailable, "42601", b""),
            ("a cancel request with a short key", packet_of(CANCEL_CODE, b"\0\0\0\x07abc"), Unavailable, "closed", b""),
        ];
        for (what, sent, encryption, expected, answer) in table {
            let (opening, answered) = opened(sent, *encryption).await;
            assert_eq!(state(&opening), *expected, "{what}: {opening:?}");
            assert_eq!(answered, *answer, "{what}");
        }
    }

    /// libpq asks for GSSAPI, then for TLS, then starts in the clear; each answer is awaited.
    #[tokio::test]
    async fn refused_twice_then_started() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut wire = Wire::new(server);
        let script = async {
            let mut answer = [0];
            for code in [GSS_CODE, SSL_CODE] {
                client.write_all(&packet_of(code, b"")).await.ok();
                client.read_exact(&mut answer).await.ok();
                assert_eq!(&answer, b"N");
            }
            client.write_all(&packet_of(V3_0, STARTUP)).await.ok();
        };
        let (opening, ()) = tokio::join!(open(&mut wire, Encryption::Unavailable), script);
        assert_eq!(state(&opening), "opened");
        // A second request for the same is no longer one.
        let twice = [packet_of(SSL_CODE, b""), packet_of(SSL_CODE, b"")];
        let (mut client, server) = tokio::io::duplex(1024);
        let mut wire = Wire::new(server);
        let script = async {
            client.write_all(&twice[0]).await.ok();
            client.read_exact(&mut [0]).await.ok();
            client.write_all(&twice[1]).await.ok();
        };
        let (opening, ()) = tokio::join!(open(&mut wire, Encryption::Unavailable), script);
        assert_eq!(state(&opening), "0A000");
    }

    #[test]
    fn a_startup_packet_says_who_where_and_how() {
        let rest: &[u8] =
            b"user\0ann\0application_name\0psql\0options\0-c work_mem=1MB --search-path=a\\ b\0_pq_.x\x001\0\0";
        let packet = Packet::read(V3_0 | 9, Bytes::from_static(rest));
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(
            packet,
            Ok(Packet {
                minor: 9,
                user: "ann".into(),
                database: String::new(),
                settings: vec![pair("work_mem", "1MB"), pair("search_path", "a b"), pair("application_name", "psql")],
                unknown: vec!["_pq_.x".into()],
            })
        );
    }

    /// Few, for the tests' sake.
    const ROUNDS: usize = 16;

    struct Secrets {
        stored_key: Vec<u8>,
        server_key: Vec<u8>,
        client_key: Vec<u8>,
    }

    fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
    }

    fn secrets(password: &str) -> Secrets {
        let salted = gen_salted_password(password, b"salt", ROUNDS);
        let client_key = mac(&salted, b"Client Key");
        Secrets {
            stored_key: digest::digest(&digest::SHA256, &client_key).as_ref().to_vec(),
            server_key: mac(&salted, b"Server Key"),
            client_key,
        }
    }

    async fn answer(client: &mut DuplexStream, kind: u8, body: &[u8]) {
        client.write_all(&[kind]).await.ok();
        client.write_all(&(body.len() as u32 + 4).to_be_bytes()).await.ok();
        client.write_all(body).await.ok();
    }

    async fn request(client: &mut DuplexStream) -> (i32, Vec<u8>) {
        let mut header = [0; 9];
        client.read_exact(&mut header).await.ok();
        let length = (&header[1..5]).get_i32() as usize;
        let mut body = vec![0; length.saturating_sub(8)];
        client.read_exact(&mut body).await.ok();
        ((&header[5..9]).get_i32(), body)
    }

    /// A SCRAM client, as RFC 5802 says.
    async fn prove(client: &mut DuplexStream, password: &str) -> Option<()> {
        assert_eq!(request(client).await, (10, b"SCRAM-SHA-256\0\0".to_vec()));
        let mut first = b"SCRAM-SHA-256\0\0\0\0\x0c".to_vec();
        first.extend(b"n,,n=,r=abcd");
        answer(client, b'p', &first).await;
        let (code, server_first) = request(client).await;
        assert_eq!(code, 11);
        let server_first = String::from_utf8(server_first).ok()?;
        let nonce = server_first.strip_prefix("r=")?.split(',').next()?.to_string();
        let unproved = format!("c=biws,r={nonce}");
        let message = format!("n=,r=abcd,{server_first},{unproved}");
        let secrets = secrets(password);
        let signature = mac(&secrets.stored_key, message.as_bytes());
        let proof: Vec<u8> = secrets.client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        answer(client, b'p', format!("{unproved},p={}", STANDARD.encode(proof)).as_bytes()).await;
        Some(())
    }

    fn server_secret() -> ScramSecret {
        let Secrets { stored_key, server_key, .. } = secrets("right");
        ScramSecret::Verifier { salt: b"salt".to_vec(), iterations: ROUNDS, stored_key, server_key }
    }

    #[tokio::test]
    async fn scram_lets_in_who_knows_the_password() {
        for (password, expected) in [("right", true), ("wrong", false)] {
            let (mut client, server) = tokio::io::duplex(4096);
            let (mut wire, scram) = (Wire::new(server), ScramServerAuth::new());
            let (passed, proved) = tokio::join!(sasl(&mut wire, &scram, server_secret()), prove(&mut client, password));
            assert!(proved.is_some());
            assert_eq!(passed.ok().map(|proof| proof.is_some()), Some(expected), "{password}");
        }
    }

    /// Every message by state: only a password message may answer, in the first step and in the second.
    #[tokio::test]
    async fn any_other_message_ends_a_login() {
        for kind in 0..=255u8 {
            if kind == b'p' {
                continue;
            }
            let (mut client, server) = tokio::io::duplex(4096);
            let (mut wire, scram) = (Wire::new(server), ScramServerAuth::new());
            answer(&mut client, kind, b"").await;
            let end = sasl(&mut wire, &scram, server_secret()).await;
            assert!(matches!(end, Err(End::Fatal(error)) if error.state() == SqlState::PROTOCOL_VIOLATION), "{kind}");

            let (mut client, server) = tokio::io::duplex(4096);
            let mut wire = Wire::new(server);
            answer(&mut client, b'p', b"SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcd").await;
            answer(&mut client, kind, b"").await;
            let end = sasl(&mut wire, &scram, server_secret()).await;
            assert!(matches!(end, Err(End::Fatal(error)) if error.state() == SqlState::PROTOCOL_VIOLATION), "{kind}");
        }
    }

    #[tokio::test]
    async fn malformed_logins_end_the_connection() {
        let table: &[(&str, &[u8])] = &[
            ("an unknown mechanism", b"SCRAM-SHA-1\0\0\0\0\x0cn,,n=,r=abcd"),
            ("-PLUS without TLS", b"SCRAM-SHA-256-PLUS\0\0\0\0\x0cn,,n=,r=abcd"),
            ("binding without -PLUS", b"SCRAM-SHA-256\0\0\0\0\x23p=tls-server-end-point,,n=,r=abcdefg"),
            ("no first message", b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
            ("a length beyond the message", b"SCRAM-SHA-256\0\0\0\0\xffn,,"),
            ("bytes behind the first message", b"SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=abcdX"),
            ("a plain password", b"secret\0"),
            ("nothing", b""),
        ];
        for (what, body) in table {
            let (mut client, server) = tokio::io::duplex(4096);
            let (mut wire, scram) = (Wire::new(server), ScramServerAuth::new());
            answer(&mut client, b'p', body).await;
            let end = sasl(&mut wire, &scram, server_secret()).await;
            assert!(matches!(end, Err(End::Fatal(error)) if error.state() == SqlState::PROTOCOL_VIOLATION), "{what}");
        }
        // A frame that is too long is refused by its header.
        let (mut client, server) = tokio::io::duplex(4096);
        let (mut wire, scram) = (Wire::new(server), ScramServerAuth::new());
        client.write_all(b"p\0\x01\0\0").await.ok();
        assert!(matches!(sasl(&mut wire, &scram, server_secret()).await, Err(End::Fatal(_))));
    }

    /// Whatever a startup packet, a cancel request or a first SASL message holds is read or refused.
    #[test]
    fn fuzz_startups() {
        let inputs = crate::fuzz::corpus(include_str!("../../../tests/fuzz/startups.txt"));
        crate::fuzz::run("startups", inputs, |input| {
            let rest = Bytes::copy_from_slice(input);
            let first = client_first(Body(rest.clone()), &[SCRAM_SHA_256_METHOD.to_string()]);
            let cancel = CancelRequest::read(rest.clone());
            let mut answers = format!("{} {}", first.is_ok(), cancel.is_ok());
            if rest.len() >= 4 {
                let version = (&rest[..4]).get_i32();
                match Packet::read(version, rest.slice(4..)) {
                    Ok(packet) => answers += &format!("{} {}", packet.settings.len(), packet.unknown.len()),
                    Err(error) => answers += &crate::fuzz::unquoted(error.message()),
                }
            }
            answers
        });
    }
}
