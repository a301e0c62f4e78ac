//! Deferred constraints: where the error of a transaction's end stands among the messages.

use kalamdb_tests::Server;
use kalamdb_tests::peer::{Message, Peer, bind, execute, parse, query, sync, transcript};

const BAD: &str = "INSERT INTO c VALUES (7)";

#[test]
fn the_end_of_a_transaction() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let made = "CREATE TABLE p (id integer PRIMARY KEY); \
                CREATE TABLE c (p integer CONSTRAINT late REFERENCES p DEFERRABLE INITIALLY DEFERRED)";
    assert_eq!(peer.ask(&query(made)), "C CREATE TABLE, C CREATE TABLE, Z I");
    // The statement is not complete before its transaction is.
    assert_eq!(peer.ask(&query(BAD)), "E 23503, Z I");
    assert_eq!(peer.ask(&query(&format!("{BAD}; SELECT 1"))), "C INSERT 0 1, T, D 1, E 23503, Z I");
    assert_eq!(peer.ask(&query(&format!("BEGIN; {BAD}"))), "C BEGIN, C INSERT 0 1, Z T");
    assert_eq!(peer.ask(&query("COMMIT")), "E 23503, Z I");
    assert_eq!(
        peer.ask(&query(&format!("BEGIN; {BAD}; SET CONSTRAINTS late IMMEDIATE"))),
        "C BEGIN, C INSERT 0 1, E 23503, Z E"
    );
    assert_eq!(peer.ask(&query("ROLLBACK")), "C ROLLBACK, Z I");
    // A pipeline ends at Sync.
    let pipeline = [parse("", BAD, &[]), bind("", "", &[]), execute("", 0), sync()].concat();
    assert_eq!(peer.ask(&pipeline), "1, 2, C INSERT 0 1, E 23503, Z I");
    let good = "INSERT INTO p VALUES (7)";
    let pipeline = [
        [parse("", BAD, &[]), bind("", "", &[]), execute("", 0)].concat(),
        [parse("", good, &[]), bind("", "", &[]), execute("", 0), sync()].concat(),
    ];
    assert_eq!(peer.ask(&pipeline.concat()), "1, 2, C INSERT 0 1, 1, 2, C INSERT 0 1, Z I");
    assert_eq!(peer.ask(&query("SELECT count(*) FROM c")), "T, D 1, C SELECT 1, Z I");
}

/// What drivers make exceptions from.
#[test]
fn fields_of_errors() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let made = "CREATE SCHEMA app; CREATE TABLE app.p (id integer PRIMARY KEY); \
                CREATE TABLE app.c (p integer CONSTRAINT ref REFERENCES app.p, n integer CONSTRAINT positive CHECK (n > 0))";
    peer.ask(&query(made));
    let told = |messages: &[Message]| {
        let error = messages.iter().find(|message| message.tag == 'E').expect("an error");
        ['C', 's', 't', 'n', 'D'].map(|field| error.field(field).unwrap_or_default()).join("|")
    };
    let cases = [
        ("INSERT INTO app.c VALUES (1, 1)", "23503|app|c|ref|Key (p)=(1) is not present in table \"p\"."),
        ("INSERT INTO app.c VALUES (NULL, 0)", "23514|app|c|positive|Failing row contains (null, 0)."),
        (
            "INSERT INTO app.p VALUES (1); INSERT INTO app.c VALUES (1, 1); DELETE FROM app.p",
            "23503|app|c|ref|Key (id)=(1) is still referenced from table \"c\".",
        ),
    ];
    for (sql, expected) in cases {
        peer.send(&query(sql));
        assert_eq!(told(&peer.until('Z')), expected, "{sql}");
    }
}

/// An action that fails on another user's row tells nothing of the row.
#[test]
fn rows_of_others() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let made = "CREATE TABLE kinds (id integer PRIMARY KEY) WITH (ACCESS_LEVEL = 'public'); INSERT INTO kinds VALUES (1); \
                CREATE USER TABLE notes (kind integer NOT NULL REFERENCES kinds ON DELETE SET NULL, body text); \
                CREATE USER 'bob' WITH PASSWORD 'x' ROLE user";
    peer.ask(&query(made));
    kalamdb_tests::psql::psql(&server, "bob", "x", "INSERT INTO notes VALUES (1, 'secret')");
    peer.send(&query("DELETE FROM kinds"));
    let messages = peer.until('Z');
    let error = messages.iter().find(|message| message.tag == 'E').expect("an error");
    assert_eq!((error.field('C').as_deref(), error.field('D')), (Some("23502"), None));
    assert_eq!(error.field('c').as_deref(), Some("kind"));
}

/// COPY of what a statement changes is held to foreign keys like the statement itself.
#[test]
fn copied_changes() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let made = "CREATE TABLE p (id integer PRIMARY KEY); INSERT INTO p VALUES (1), (2), (3); \
                CREATE TABLE c (p integer REFERENCES p, q integer REFERENCES p ON DELETE CASCADE); \
                INSERT INTO c VALUES (1, NULL), (NULL, 2), (NULL, 2), (NULL, 3)";
    peer.ask(&query(made));
    for refused in [
        "COPY (INSERT INTO c VALUES (7) RETURNING p) TO STDOUT",
        "COPY (UPDATE c SET q = 7 RETURNING p) TO STDOUT",
        "COPY (DELETE FROM p WHERE id = 1 RETURNING id) TO STDOUT",
        "COPY (UPDATE p SET id = 8 WHERE id = 1 RETURNING id) TO STDOUT (FORMAT binary)",
        "COPY (WITH w AS (INSERT INTO c VALUES (7) RETURNING p) SELECT * FROM w) TO STDOUT",
    ] {
        let answer = peer.ask(&query(refused));
        assert!(answer.ends_with("E 23503, Z I"), "{refused}: {answer}");
    }
    assert_eq!(peer.ask(&query("SELECT count(*), max(p), max(q) FROM c")), "T, D 4|1|3, C SELECT 1, Z I");
    peer.send(&query("COPY (DELETE FROM p WHERE id = 2 RETURNING id) TO STDOUT"));
    assert!(transcript(&peer.until('Z')).ends_with("C COPY 1, Z I"));
    assert_eq!(peer.ask(&query("SELECT count(*) FROM c WHERE q = 2")), "T, D 0, C SELECT 1, Z I");
    peer.ask(&query("BEGIN; ALTER TABLE c ALTER CONSTRAINT c_p_fkey DEFERRABLE INITIALLY DEFERRED; COMMIT"));
    let late = "BEGIN; COPY (INSERT INTO c VALUES (7) RETURNING p) TO STDOUT; INSERT INTO p VALUES (7); COMMIT";
    assert!(peer.ask(&query(late)).ends_with("C COMMIT, Z I"));
}
