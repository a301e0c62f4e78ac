//! Simple and extended queries: the order of messages, errors up to Sync, portals, pipelines, COPY, notifications.

use kalamdb_tests::Server;
use kalamdb_tests::peer::{Peer, bind, close, cstring, describe, execute, message, parse, query, sync, transcript};

#[test]
fn simple_queries() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let cases = [
        ("", "I, Z I"),
        (" ; ", "I, Z I"),
        ("SELECT 1 AS a, NULL", "T, D 1|NULL, C SELECT 1, Z I"),
        ("SELECT 1; SELECT 2", "T, D 1, C SELECT 1, T, D 2, C SELECT 1, Z I"),
        ("CREATE TABLE t (id integer PRIMARY KEY, v text)", "C CREATE TABLE, Z I"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "C INSERT 0 2, Z I"),
        ("INSERT INTO t VALUES (3, 'c') RETURNING id", "T, D 3, C INSERT 0 1, Z I"),
        ("UPDATE t SET v = 'x' WHERE id > 1", "C UPDATE 2, Z I"),
        ("DELETE FROM t WHERE id = 3", "C DELETE 1, Z I"),
        ("BEGIN", "C BEGIN, Z T"),
        ("SELECT 1 / 0", "E 22012, Z E"),
        ("SELECT 1", "E 25P02, Z E"),
        ("COMMIT", "C ROLLBACK, Z I"),
        ("SELECT 1; SELEC 2", "E 42601, Z I"),
        ("SELECT 1; SELECT 1 / 0; SELECT 2", "T, D 1, C SELECT 1, T, E 22012, Z I"),
        // One implicit transaction: the INSERT goes with the error.
        ("INSERT INTO t VALUES (9, 'gone'); SELECT * FROM nothing", "C INSERT 0 1, E 42P01, Z I"),
        ("SELECT count(*) FROM t", "T, D 2, C SELECT 1, Z I"),
        ("INSERT INTO t VALUES (9, 'kept'); COMMIT; SELECT * FROM nothing", "C INSERT 0 1, C COMMIT, E 42P01, Z I"),
        ("SELECT count(*) FROM t", "T, D 3, C SELECT 1, Z I"),
        ("SET application_name = 'x'", "C SET, Z I"),
        ("SHOW application_name", "T, D x, C SHOW, Z I"),
        ("DROP TABLE t", "C DROP TABLE, Z I"),
    ];
    for (sql, expected) in cases {
        let found = peer.ask(&query(sql));
        // Whether a query that fails at its first row has told its columns is left open.
        assert_eq!(found.replace("T, E", "E"), expected.replace("T, E", "E"), "{sql}");
    }
}

#[test]
fn extended_queries() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let one =
        [parse("", "SELECT $1::int + 1", &[]), bind("", "", &[Some("41")]), describe('P', ""), execute("", 0), sync()];
    assert_eq!(peer.ask(&one.concat()), "1, 2, T, D 42, C SELECT 1, Z I");

    let described = [parse("s", "SELECT $1::text, $2 = 1", &[]), describe('S', "s"), sync()];
    assert_eq!(peer.ask(&described.concat()), "1, t, T, Z I");
    assert_eq!(peer.ask(&[parse("s", "SELECT 1", &[]), sync()].concat()), "E 42P05, Z I");
    assert_eq!(peer.ask(&[close('S', "s"), close('S', "never"), sync()].concat()), "3, 3, Z I");
    assert_eq!(peer.ask(&[bind("", "s", &[None, None]), sync()].concat()), "E 26000, Z I");
    assert_eq!(peer.ask(&[execute("nothing", 0), sync()].concat()), "E 34000, Z I");
    assert_eq!(peer.ask(&[describe('P', "nothing"), sync()].concat()), "E 34000, Z I");
    assert_eq!(
        peer.ask(&[parse("", "CREATE TABLE t (id integer PRIMARY KEY)", &[]), describe('S', ""), sync()].concat()),
        "1, t, n, Z I"
    );
    assert_eq!(peer.ask(&[parse("", "", &[]), bind("", "", &[]), execute("", 0), sync()].concat()), "1, 2, I, Z I");
    // Two statements cannot be one prepared statement.
    assert_eq!(peer.ask(&[parse("", "SELECT 1; SELECT 2", &[]), sync()].concat()), "E 42601, Z I");
    // The number of parameters is the statement's.
    assert_eq!(peer.ask(&[parse("", "SELECT $1::int", &[]), bind("", "", &[]), sync()].concat()), "1, E 08P01, Z I");
    assert_eq!(
        peer.ask(&[parse("", "SELECT $1::int", &[]), bind("", "", &[Some("x")]), sync()].concat()),
        "1, E 22P02, Z I"
    );
}

#[test]
fn errors_skip_to_sync() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let batch = [
        parse("", "SELECT nothing", &[]),
        bind("", "", &[]),
        execute("", 0),
        query("SELECT 'a Query before Sync is skipped too'"),
        sync(),
        parse("", "SELECT 2", &[]),
        bind("", "", &[]),
        execute("", 0),
        sync(),
    ];
    peer.send(&batch.concat());
    assert_eq!(transcript(&peer.until('Z')), "E 42703, Z I");
    assert_eq!(transcript(&peer.until('Z')), "1, 2, D 2, C SELECT 1, Z I");
}

/// A pipeline up to Sync is one transaction: what failed takes the rest along.
#[test]
fn pipelines() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    peer.ask(&query("CREATE TABLE t (id integer PRIMARY KEY)"));
    let insert = |id: &str| [bind("", "i", &[Some(id)]), execute("", 0)].concat();
    peer.ask(&[parse("i", "INSERT INTO t VALUES ($1)", &[]), sync()].concat());
    assert_eq!(
        peer.ask(&[insert("1"), insert("2"), insert("1"), insert("3"), sync()].concat()),
        "2, C INSERT 0 1, 2, C INSERT 0 1, 2, E 23505, Z I"
    );
    assert_eq!(peer.ask(&query("SELECT count(*) FROM t")), "T, D 0, C SELECT 1, Z I");
    // Nothing is answered late: many at once, with no flush between, come back in order.
    let many: Vec<u8> = (10..1010).flat_map(|id| insert(&id.to_string())).chain(sync()).collect();
    peer.send(&many);
    let answers = peer.until('Z');
    assert_eq!(answers.iter().filter(|message| message.tag == 'C').count(), 1000);
    assert_eq!(peer.ask(&query("SELECT count(*) FROM t")), "T, D 1000, C SELECT 1, Z I");
    // Flush sends what there is, without ending anything.
    peer.send(&[parse("", "SELECT 1", &[]), message('H', &[])].concat());
    peer.expect('1');
    peer.send(&[bind("", "", &[]), execute("", 0), message('H', &[])].concat());
    assert_eq!(transcript(&peer.until('C')), "2, D 1, C SELECT 1");
    assert_eq!(peer.ask(&sync()), "Z I");
}

#[test]
fn portals_with_row_limits() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let open = [parse("", "SELECT n FROM generate_series(1, 5) AS n", &[]), bind("p", "", &[])].concat();
    let asked = [open.clone(), execute("p", 2), execute("p", 2), execute("p", 2), execute("p", 2), sync()].concat();
    assert_eq!(peer.ask(&asked), "1, 2, D 1, D 2, s, D 3, D 4, s, D 5, C SELECT 1, C SELECT 0, Z I");
    // Sync ends the transaction, and the portal with it.
    assert_eq!(peer.ask(&[execute("p", 2), sync()].concat()), "E 34000, Z I");
    // In a block it lives on.
    peer.ask(&query("BEGIN"));
    assert_eq!(peer.ask(&[open, execute("p", 1), sync()].concat()), "1, 2, D 1, s, Z T");
    assert_eq!(peer.ask(&[execute("p", 1), sync()].concat()), "D 2, s, Z T");
    assert_eq!(peer.ask(&[close('P', "p"), execute("p", 1), sync()].concat()), "3, E 34000, Z E");
    peer.ask(&query("ROLLBACK"));
}

/// A cursor is a portal: Execute goes on where FETCH stopped, and the other way round.
#[test]
fn cursors_are_executed() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    peer.ask(&query("BEGIN; DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 6) AS n"));
    assert_eq!(peer.ask(&[describe('P', "c"), execute("c", 2), sync()].concat()), "T, D 1, D 2, s, Z T");
    assert_eq!(peer.ask(&query("FETCH c")), "T, D 3, C FETCH 1, Z T");
    assert_eq!(peer.ask(&[execute("c", 1), sync()].concat()), "D 4, s, Z T");
    assert_eq!(peer.ask(&query("MOVE BACKWARD 2 FROM c")), "C MOVE 2, Z T");
    assert_eq!(peer.ask(&[execute("c", 0), sync()].concat()), "D 3, D 4, D 5, D 6, C SELECT 4, Z T");
    assert_eq!(peer.ask(&[execute("c", 2), sync()].concat()), "C SELECT 0, Z T");
    assert_eq!(peer.ask(&query("FETCH BACKWARD 1 FROM c")), "T, D 6, C FETCH 1, Z T");
    assert_eq!(peer.ask(&query("SELECT 1 / 0")).replace("T, E", "E"), "E 22012, Z E");
    assert_eq!(peer.ask(&[execute("c", 1), sync()].concat()), "E 25P02, Z E");
    peer.ask(&query("ROLLBACK"));
    assert_eq!(peer.ask(&[execute("c", 1), sync()].concat()), "E 34000, Z I");
}

#[test]
fn copy() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    peer.ask(&query("CREATE TABLE t (id integer PRIMARY KEY, v text)"));
    peer.send(&query("COPY t FROM STDIN"));
    peer.expect('G');
    peer.send(&[message('d', b"1\ta\n2\t\\N"), message('d', b"\n3\tb\\tc\n"), message('c', &[])].concat());
    assert_eq!(transcript(&peer.until('Z')), "C COPY 3, Z I");
    assert_eq!(peer.ask(&query("SELECT id, v FROM t ORDER BY id")), "T, D 1|a, D 2|NULL, D 3|b\tc, C SELECT 3, Z I");
    // A failed COPY leaves nothing, and the session goes on.
    peer.send(&query("COPY t FROM STDIN"));
    peer.expect('G');
    peer.send(&[message('d', b"4\td\n"), message('f', &cstring("changed my mind"))].concat());
    assert_eq!(transcript(&peer.until('Z')), "E 57014, Z I");
    peer.send(&query("COPY t FROM STDIN"));
    peer.expect('G');
    peer.send(&[message('d', b"5\te\nnot a number\tx\n"), message('d', b"6\tf\n"), message('c', &[])].concat());
    assert_eq!(transcript(&peer.until('Z')), "E 22P02, Z I");
    assert_eq!(peer.ask(&query("SELECT count(*) FROM t")), "T, D 3, C SELECT 1, Z I");
    peer.send(&query("COPY (SELECT id, v FROM t ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)"));
    let out = peer.until('Z');
    let lines: Vec<u8> =
        out.iter().filter(|message| message.tag == 'd').flat_map(|message| message.body.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&lines), "id,v\n1,a\n2,\n3,b\tc\n");
    assert_eq!(out[0].tag, 'H');
    assert!(transcript(&out).ends_with("c, C COPY 3, Z I"));
}

/// Binary COPY: what comes out goes in again, whatever pieces it comes in; WHERE; a change's RETURNING.
#[test]
fn copy_binary() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    peer.ask(&query("CREATE TABLE t (id integer PRIMARY KEY, v text, n numeric, a integer[])"));
    peer.ask(&query("INSERT INTO t VALUES (1, 'a', 1.50, '{1,NULL}'), (2, NULL, -7, NULL)"));
    peer.send(&query("COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT binary)"));
    let out = peer.until('Z');
    assert_eq!(out[0].tag, 'H');
    assert_eq!(out[0].body[0], 1, "binary as a whole");
    assert!(transcript(&out).ends_with("c, C COPY 2, Z I"));
    let bytes: Vec<u8> =
        out.iter().filter(|message| message.tag == 'd').flat_map(|message| message.body.clone()).collect();
    assert!(bytes.starts_with(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\x04\0\0\0\x01"));
    assert!(bytes.ends_with(b"\xff\xff"));
    peer.ask(&query("CREATE TABLE u (id integer PRIMARY KEY, v text, n numeric, a integer[])"));
    peer.send(&query("COPY u FROM STDIN (FORMAT binary)"));
    peer.expect('G');
    let pieces: Vec<Vec<u8>> = bytes.chunks(5).map(|piece| message('d', piece)).collect();
    peer.send(&[pieces.concat(), message('c', &[])].concat());
    assert_eq!(transcript(&peer.until('Z')), "C COPY 2, Z I");
    let rows = "T, D 1|a|1.50|{1,NULL}, D 2|NULL|-7|NULL, C SELECT 2, Z I";
    assert_eq!(peer.ask(&query("SELECT * FROM u ORDER BY id")), rows);
    for wrong in [&b"1\ta\n"[..], &bytes[..12], &bytes[..30], &[&bytes[..], b"x"].concat()] {
        peer.send(&query("COPY u FROM STDIN (FORMAT binary)"));
        peer.expect('G');
        peer.send(&[message('d', wrong), message('c', &[])].concat());
        let answer = transcript(&peer.until('Z'));
        assert!(answer == "E 22P04, Z I" || answer == "E 23505, Z I", "{answer}");
    }
    peer.send(&query("COPY u (id, v) FROM STDIN WHERE id > 3 AND v IS NOT NULL"));
    peer.expect('G');
    peer.send(&[message('d', b"3\tx\n4\ty\n5\t\\N\n"), message('c', &[])].concat());
    assert_eq!(transcript(&peer.until('Z')), "C COPY 1, Z I");
    peer.send(&query("COPY (DELETE FROM u WHERE id = 4 RETURNING id, v) TO STDOUT"));
    let out = peer.until('Z');
    assert_eq!(out[1].body, b"4\ty\n");
    assert!(transcript(&out).ends_with("c, C COPY 1, Z I"));
    assert_eq!(peer.ask(&query("SELECT count(*) FROM u")), "T, D 2, C SELECT 1, Z I");
}

/// Notifications reach an idle client, and wait while a transaction block is open.
#[test]
fn notifications() {
    let server = Server::start();
    let (mut listener, mut sender) = (Peer::root(&server), Peer::root(&server));
    assert_eq!(listener.ask(&query("LISTEN news")), "C LISTEN, Z I");
    assert_eq!(sender.ask(&query("NOTIFY news, 'a'")), "C NOTIFY, Z I");
    let note = listener.expect('A');
    assert!(note.body[4..].starts_with(b"news\0a\0"));
    listener.ask(&query("BEGIN"));
    sender.ask(&query("NOTIFY news, 'b'"));
    assert_eq!(listener.ask(&query("SELECT 1")), "T, D 1, C SELECT 1, Z T");
    // It comes with the answer if it was on its way by then, and behind it otherwise.
    let answer = listener.ask(&query("COMMIT"));
    if answer != "C COMMIT, A, Z I" {
        assert_eq!(answer, "C COMMIT, Z I");
        listener.expect('A');
    }
}

#[test]
fn nonsense_after_the_login_closes() {
    let server = Server::start();
    for bytes in [message('!', b"x"), vec![b'Q', 0, 0, 0, 3], [&b"Q"[..], &u32::MAX.to_be_bytes()].concat()] {
        let mut peer = Peer::root(&server);
        peer.send(&bytes);
        let messages = peer.rest();
        assert!(messages.iter().all(|message| message.tag == 'E'), "{}", transcript(&messages));
    }
    // Text that is not UTF-8 is the statement's error, not the connection's.
    let mut peer = Peer::root(&server);
    assert_eq!(peer.ask(&message('Q', b"SELECT '\xff'\0")), "E 22021, Z I");
    assert_eq!(peer.ask(&query("SELECT 1")), "T, D 1, C SELECT 1, Z I");
    // Fewer format codes than columns (and more than one) fit nothing.
    let mut body = [cstring(""), cstring(""), vec![0, 0, 0, 0]].concat();
    body.extend([0, 2, 0, 0, 0, 0]);
    let batch = [parse("", "SELECT 1, 2, 3", &[]), message('B', &body), sync()];
    assert_eq!(peer.ask(&batch.concat()), "1, E 08P01, Z I");
}

/// Bind without parameters, all results in binary.
fn bind_binary(portal: &str, statement: &str) -> Vec<u8> {
    message('B', &[cstring(portal), cstring(statement), vec![0, 0, 0, 0, 0, 1, 0, 1]].concat())
}

#[test]
fn row_values_in_both_formats() {
    let server = Server::start();
    let mut peer = Peer::root(&server);
    let sql = "SELECT ROW(7, 'x'::text, NULL::date), ARRAY[ROW(1::smallint)]";
    assert_eq!(peer.ask(&query(sql)), "T, D (7,x,)|{(1)}, C SELECT 1, Z I");

    peer.send(&[parse("", sql, &[]), bind_binary("", ""), describe('P', ""), execute("", 0), sync()].concat());
    let answer = peer.until('Z');
    let row = answer.iter().find(|message| message.tag == 'D').expect("a row");
    let int = |value: i32| value.to_be_bytes().to_vec();
    let record = [int(3), int(23), int(4), int(7), int(25), int(1), b"x".to_vec(), int(1082), int(-1)].concat();
    let item = [int(1), int(21), int(2), vec![0, 1]].concat();
    let array = [int(1), int(0), int(2249), int(1), int(1), int(item.len() as i32), item].concat();
    let expected = [vec![0, 2], int(record.len() as i32), record, int(array.len() as i32), array].concat();
    assert_eq!(row.body, expected);
}
