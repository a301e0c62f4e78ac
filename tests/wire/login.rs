//! Logins: every message that a state does not expect closes the connection, and every failure reads alike.

use kalamdb_tests::peer::{Message, Peer, cstring, message, query, sasl_initial, startup, sync, transcript, untagged};
use kalamdb_tests::{ROOT_PASSWORD, Server, ServerOptions};

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Every message that a client may send after its login.
fn frontend_messages() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("Query", query("SELECT 1")),
        ("Parse", kalamdb_tests::peer::parse("", "SELECT 1", &[])),
        ("Bind", kalamdb_tests::peer::bind("", "", &[])),
        ("Describe", kalamdb_tests::peer::describe('S', "")),
        ("Execute", kalamdb_tests::peer::execute("", 0)),
        ("Close", kalamdb_tests::peer::close('S', "")),
        ("Flush", message('H', &[])),
        ("Sync", sync()),
        ("Terminate", message('X', &[])),
        ("CopyData", message('d', b"x")),
        ("CopyDone", message('c', &[])),
        ("CopyFail", message('f', &cstring("no"))),
        ("FunctionCall", message('F', &[0; 10])),
        ("unknown", message('!', b"x")),
        ("a second startup", startup("root", "kalamdb")),
    ]
}

/// What came before the end holds no session: neither AuthenticationOk nor ReadyForQuery, nor an answer.
fn is_refused(messages: &[Message]) -> bool {
    messages.iter().all(|message| match message.tag {
        'E' => message.field('S').as_deref() == Some("FATAL"),
        'R' => message.body != 0_i32.to_be_bytes(),
        _ => false,
    })
}

#[test]
fn before_the_startup_only_a_startup_is_heard() {
    let server = Server::start();
    for (name, bytes) in frontend_messages().iter().filter(|(name, _)| *name != "a second startup") {
        let mut peer = Peer::connect(&server);
        // A tagged message read as a startup packet has an absurd length; more bytes make it come at once.
        peer.send(&[&bytes[..], &[0; 64]].concat());
        assert!(is_refused(&peer.rest()), "{name}");
    }
}

#[test]
fn while_scram_goes_on_only_its_messages_are_heard() {
    let server = Server::start();
    for (name, bytes) in frontend_messages() {
        let mut peer = Peer::connect(&server);
        peer.send(&startup("root", "kalamdb"));
        peer.expect('R');
        peer.send(&bytes);
        assert!(is_refused(&peer.rest()), "{name} instead of the first SASL message");

        let mut peer = Peer::connect(&server);
        peer.send(&startup("root", "kalamdb"));
        peer.expect('R');
        peer.send(&sasl_initial("SCRAM-SHA-256", b"n,,n=,r=clientnonceclientnonce"));
        peer.expect('R');
        peer.send(&bytes);
        assert!(is_refused(&peer.rest()), "{name} instead of the second SASL message");
    }
}

#[test]
fn malformed_sasl_is_refused() {
    let server = Server::start();
    let firsts: [(&str, Vec<u8>); 5] = [
        ("another mechanism", sasl_initial("PLAIN", b"\0root\0x")),
        ("PLUS without TLS", sasl_initial("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abcdefgh")),
        (
            "channel binding on the plain mechanism",
            sasl_initial("SCRAM-SHA-256", b"p=tls-server-end-point,,n=,r=abcdefgh"),
        ),
        ("nonsense", sasl_initial("SCRAM-SHA-256", b"\xff\xfe")),
        ("a cleartext password", message('p', &cstring(ROOT_PASSWORD))),
    ];
    for (name, first) in firsts {
        let mut peer = Peer::connect(&server);
        peer.send(&startup("root", "kalamdb"));
        peer.expect('R');
        peer.send(&first);
        assert!(is_refused(&peer.rest()), "{name}");
    }
}

#[test]
fn one_startup_for_each_connection() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    peer.send(&startup("root", "kalamdb"));
    // Its first byte is no message's type.
    assert!(is_refused(&peer.rest()), "a startup after the login");
    let mut peer = Peer::root(&server);
    peer.send(&message('p', b"again"));
    assert!(is_refused(&peer.rest()), "a password after the login");
}

#[test]
fn requests_before_the_startup() {
    let server = Server::start();
    // Without a certificate SSL is refused with one byte, and the same connection goes on.
    let mut peer = Peer::connect(&server);
    peer.send(&untagged(SSL_REQUEST, &[]));
    assert_eq!(peer.byte(), Some(b'N'));
    peer.send(&untagged(GSS_REQUEST, &[]));
    assert_eq!(peer.byte(), Some(b'N'));
    peer.send(&startup("root", "kalamdb"));
    peer.expect('R');
    peer.scram(ROOT_PASSWORD);
    peer.until('Z');
    // A second one of the same kind is no client's.
    let mut peer = Peer::connect(&server);
    peer.send(&untagged(SSL_REQUEST, &[]));
    assert_eq!(peer.byte(), Some(b'N'));
    peer.send(&untagged(SSL_REQUEST, &[]));
    assert!(is_refused(&peer.rest()));
    // A cancel request for nobody is answered with silence.
    let mut peer = Peer::connect(&server);
    peer.send(&untagged(CANCEL_REQUEST, &[0; 8]));
    assert!(peer.rest().is_empty());
}

#[test]
fn frames_are_small_before_the_login() {
    let server = Server::start();
    for length in [17_u32 << 10, 1 << 20, 1 << 30, u32::MAX, 0, 3, 7] {
        let mut peer = Peer::connect(&server);
        peer.send(&[length.to_be_bytes(), 196_608_u32.to_be_bytes()].concat());
        assert!(is_refused(&peer.rest()), "a startup packet of {length} bytes");
    }
    for length in [17_u32 << 10, 1 << 30, u32::MAX, 0, 3] {
        let mut peer = Peer::connect(&server);
        peer.send(&startup("root", "kalamdb"));
        peer.expect('R');
        peer.send(&[&b"p"[..], &length.to_be_bytes(), b"SCRAM"].concat());
        assert!(is_refused(&peer.rest()), "a password message of {length} bytes");
    }
}

#[test]
fn startups_that_are_wrong() {
    let server = Server::start();
    let parameters = |list: &[&str]| {
        let mut body: Vec<u8> = list.iter().flat_map(|text| cstring(text)).collect();
        body.push(0);
        untagged(196_608, &body)
    };
    let cases: [(&str, Vec<u8>); 5] = [
        ("protocol 2", untagged(131_072, &[0; 64])),
        ("protocol 4", untagged(262_144, b"user\0root\0\0")),
        ("no user", parameters(&["database", "kalamdb"])),
        ("no zero byte at the end", untagged(196_608, b"user\0root")),
        ("a name without a value", parameters(&["user", "root", "database"])),
    ];
    for (name, bytes) in cases {
        let mut peer = Peer::connect(&server);
        peer.send(&bytes);
        let messages = peer.rest();
        assert!(is_refused(&messages) && !messages.is_empty(), "{name}: {}", transcript(&messages));
    }
    // Another database's name is refused behind the login, never before.
    let mut peer = Peer::connect(&server);
    peer.send(&startup("root", "nothing"));
    peer.expect('R');
    // A newer minor version and unknown protocol options are negotiated down.
    let mut peer = Peer::connect(&server);
    peer.send(&untagged(196_610, b"user\0root\0database\0kalamdb\0_pq_.nothing\0x\0\0"));
    peer.expect('v');
    peer.expect('R');
}

/// Unknown, deleted, locked users and wrong passwords get one answer, message by message.
#[test]
fn failures_read_alike() {
    let server = Server::start();
    let sql =
        "CREATE USER 'gone' WITH PASSWORD 'x' ROLE user; DROP USER 'gone'; CREATE USER 'inner' INTERNAL ROLE user";
    let answer = Peer::root(&server).ask(&query(sql));
    assert!(!answer.split_whitespace().any(|word| word == "E"), "{answer}");
    let fails = |user: &str| {
        let mut peer = Peer::connect(&server);
        peer.send(&startup(user, "kalamdb"));
        let asked = peer.expect('R');
        let mut scram = postgres_protocol::authentication::sasl::ScramSha256::new(
            b"wrong",
            postgres_protocol::authentication::sasl::ChannelBinding::unsupported(),
        );
        peer.send(&sasl_initial("SCRAM-SHA-256", scram.message()));
        let challenge = peer.expect('R');
        let shape = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
        let parts: Vec<usize> = shape.split(',').map(str::len).collect();
        scram.update(&challenge.body[4..]).expect("a challenge");
        peer.send(&message('p', scram.message()));
        let last = peer.rest();
        let error = last.first().expect("an error is told");
        let text = error.field('M').unwrap_or_default().replace(user, "USER");
        (asked.body, parts, transcript(&last), text)
    };
    let known = fails("root");
    assert_eq!(known.2, "E 28P01");
    for user in ["nobody", "gone", "inner"] {
        assert_eq!(fails(user), known, "{user}");
    }
    // The salt of a name that does not exist is the same each time.
    let salt = |user: &str| {
        let mut peer = Peer::connect(&server);
        peer.send(&startup(user, "kalamdb"));
        peer.expect('R');
        peer.send(&sasl_initial("SCRAM-SHA-256", b"n,,n=,r=clientnonceclientnonce"));
        let challenge = String::from_utf8_lossy(&peer.expect('R').body[4..]).into_owned();
        challenge.split(',').find(|part| part.starts_with("s=")).map(str::to_owned)
    };
    assert_eq!(salt("nobody"), salt("nobody"));
    assert_ne!(salt("nobody"), salt("somebody"));
}

/// A token is asked for in clear, over the loopback; everything that is wrong with one reads alike.
#[test]
fn tokens_are_passwords() {
    const SECRET: &[u8] = b"a secret that is shared with the issuer";
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let server = Server::start_with(ServerOptions {
        env: vec![
            set("KALAMDB_JWT_ISSUER", "https://issuer.example"),
            set("KALAMDB_JWT_PROVIDER", "corp"),
            set("KALAMDB_JWT_SECRET", std::str::from_utf8(SECRET).expect("text")),
        ],
        ..ServerOptions::default()
    });
    let sql = r#"CREATE USER 'tom' WITH OAUTH '{"provider": "corp", "subject": "tom-1"}' ROLE user"#;
    assert_eq!(Peer::root(&server).ask(&query(sql)), "C CREATE ROLE, Z I");
    let token = |claims: serde_json::Value, secret: &[u8]| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("a token")
    };
    let claims = |subject: &str, seconds: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let expiry = i64::try_from(now.as_secs()).expect("not yet") + seconds;
        serde_json::json!({"iss": "https://issuer.example", "sub": subject, "exp": expiry, "role": "system"})
    };
    let login = |user: &str, password: &str| {
        let mut peer = Peer::connect(&server);
        peer.send(&startup(user, "kalamdb"));
        let asked = peer.expect('R');
        assert_eq!(asked.body, 3_i32.to_be_bytes(), "a cleartext password is asked for");
        peer.send(&message('p', &cstring(password)));
        peer
    };
    let mut peer = login("tom", &token(claims("tom-1", 600), SECRET));
    peer.until('Z');
    // The stored role is in force, whatever the token says.
    assert_eq!(peer.ask(&query("SELECT role FROM system.users")), "T, D user, C SELECT 1, Z I");
    for (name, password) in [
        ("another subject", token(claims("tom-2", 600), SECRET)),
        ("expired", token(claims("tom-1", -600), SECRET)),
        ("another secret", token(claims("tom-1", 600), b"another secret of at least 32 bytes")),
        ("no token", "password".to_owned()),
        ("nothing", String::new()),
    ] {
        assert_eq!(transcript(&login("tom", &password).rest()), "E 28P01", "{name}");
    }
}
