//! Messages as no client should send them: cut off, too long, of wrong lengths, types, formats and encodings, or in the
//! wrong state. Each is answered as PostgreSQL 15 answers it, and the server and other sessions go on.
//!
//! `malformed.txt` has the answers; `UPDATE_EXPECT=1` writes it from PostgreSQL. Where PostgreSQL closes the connection
//! without a word (it only logs why), KalamDB says why before it closes.

use kalamdb_tests::peer::{Message, Peer, bind, close, describe, execute, message, parse, query, sync};
use kalamdb_tests::{Postgres, Server, updates_expectations};
use std::fmt::Write as _;

/// Where PostgreSQL meets an error of its own, or speaks of its own insides: KalamDB's answers.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "Parse with a type that there is not",
        "ERROR 42704 type with OID 9999 does not exist, Z I, T, D alive, C SELECT 1, Z I, closed",
    ),
    ("a length of zero in COPY", "G, FATAL 08P01 invalid message length, closed"),
];

/// What is sent in a session of its own, after a setup.
struct Case {
    name: String,
    bytes: Vec<u8>,
}

fn case(name: &str, parts: &[Vec<u8>]) -> Case {
    Case { name: name.to_owned(), bytes: parts.concat() }
}

fn raw(tag: char, length: u32, body: &[u8]) -> Vec<u8> {
    [&[tag as u8][..], &length.to_be_bytes(), body].concat()
}

/// Bind of the unnamed statement with everything said as numbers.
fn bound(formats: &[i16], values: &[(i32, &[u8])], results: &[i16]) -> Vec<u8> {
    let mut body = vec![0, 0];
    let count = |n: usize| u16::try_from(n).expect("few").to_be_bytes();
    body.extend(count(formats.len()));
    formats.iter().for_each(|code| body.extend(code.to_be_bytes()));
    body.extend(count(values.len()));
    for (length, value) in values {
        body.extend(length.to_be_bytes());
        body.extend_from_slice(value);
    }
    body.extend(count(results.len()));
    results.iter().for_each(|code| body.extend(code.to_be_bytes()));
    message('B', &body)
}

/// Frames: their types and lengths.
fn frames() -> Vec<Case> {
    let alive = || query("SELECT 'alive'");
    let mut cases = vec![
        case("a type that there is not", &[message('!', b"x"), alive()]),
        case("a zero byte for a type", &[message('\0', b"x"), alive()]),
        case("a server's message", &[message('Z', b"I"), alive()]),
    ];
    for length in [0, 1, 3, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        cases.push(case(&format!("Query of length {length:#x}"), &[raw('Q', length, b"SELECT 1\0")]));
        cases.push(case(&format!("Sync of length {length:#x}"), &[raw('S', length, &[])]));
    }
    cases.extend([
        case("Describe of 10 MB", &[raw('D', 10_000_000, b"S")]),
        case("Sync with a body", &[message('S', b"x"), alive()]),
        case("Flush with a body", &[message('H', b"x"), sync(), alive()]),
        case("Terminate with a body", &[message('X', b"x"), alive()]),
        case("Terminate", &[message('X', b""), alive()]),
    ]);
    cases
}

/// The bodies of simple and extended messages.
fn bodies() -> Vec<Case> {
    let alive = || query("SELECT 'alive'");
    let text = |tag, body: &[u8]| message(tag, body);
    let one = || parse("", "SELECT $1::integer", &[]);
    vec![
        case("Query without its zero byte", &[text('Q', b"SELECT 1"), alive()]),
        case("Query with more behind its zero byte", &[text('Q', b"SELECT 1\0x"), alive()]),
        case("Query of nothing", &[text('Q', b""), alive()]),
        case("Query in a failed transaction, cut off", &[query("BEGIN; SELECT x"), text('Q', b"ROLLBACK"), alive()]),
        case("Parse of nothing", &[text('P', b""), sync(), alive()]),
        case("Parse without a text", &[text('P', b"s\0"), sync(), alive()]),
        case("Parse without a count", &[text('P', b"s\0SELECT 1\0"), sync(), alive()]),
        case("Parse with half a count", &[text('P', b"s\0SELECT 1\0\0"), sync(), alive()]),
        case("Parse with fewer types than it says", &[text('P', b"s\0SELECT 1\0\0\x02\0\0\0\x17"), sync(), alive()]),
        case("Parse with 65535 types, none there", &[text('P', b"s\0SELECT 1\0\xff\xff"), sync(), alive()]),
        case("Parse with more behind its types", &[text('P', b"s\0SELECT 1\0\0\0x"), sync(), alive()]),
        case("Parse with a type that there is not", &[parse("", "SELECT $1", &[9_999]), sync(), alive()]),
        case("Parse with a pseudo-type", &[parse("", "SELECT $1", &[2276]), sync(), alive()]),
        case("Parse with a type that is not used", &[parse("", "SELECT 1", &[23]), sync(), alive()]),
        case("Bind of nothing", &[one(), text('B', b""), sync(), alive()]),
        case("Bind without a statement", &[one(), text('B', b"\0"), sync(), alive()]),
        case("Bind without counts", &[one(), text('B', b"\0\0"), sync(), alive()]),
        case("Bind without values", &[one(), text('B', b"\0\0\0\0"), sync(), alive()]),
        case("Bind without result formats", &[one(), text('B', b"\0\0\0\0\0\x01\0\0\0\x017"), sync(), alive()]),
        case(
            "Bind with more behind its formats",
            &[one(), text('B', b"\0\0\0\0\0\x01\0\0\0\x017\0\0x"), sync(), alive()],
        ),
        case("Bind with a value of length -2", &[one(), bound(&[], &[(-2, b"")], &[]), sync(), alive()]),
        case("Bind with a value of length -1000000", &[one(), bound(&[], &[(-1_000_000, b"")], &[]), sync(), alive()]),
        case("Bind with a value that is too long", &[one(), bound(&[], &[(i32::MAX, b"7")], &[]), sync(), alive()]),
        case("Bind with a value of no bytes", &[one(), bound(&[], &[(0, b"")], &[]), sync(), alive()]),
        case("Bind with no value", &[one(), bound(&[], &[], &[]), sync(), alive()]),
        case("Bind with two values", &[one(), bound(&[], &[(1, b"7"), (1, b"8")], &[]), sync(), alive()]),
        case("Bind with two formats for one value", &[one(), bound(&[0, 0], &[(1, b"7")], &[]), sync(), alive()]),
        case("Bind with a format for no value", &[one(), bound(&[0], &[], &[]), sync(), alive()]),
        case("Bind with parameter format 2", &[one(), bound(&[2], &[(1, b"7")], &[]), sync(), alive()]),
        case("Bind with parameter format -1", &[one(), bound(&[-1], &[(1, b"7")], &[]), sync(), alive()]),
        case("Bind with a NULL in format 2", &[one(), bound(&[2], &[(-1, b"")], &[]), sync(), alive()]),
        case("Bind with result format 2", &[one(), bound(&[], &[(1, b"7")], &[2]), execute("", 0), sync(), alive()]),
        case("Bind with result format -1", &[one(), bound(&[], &[(1, b"7")], &[-1]), execute("", 0), sync(), alive()]),
        case(
            "Bind with two result formats for one column",
            &[one(), bound(&[], &[(1, b"7")], &[0, 0]), execute("", 0), sync(), alive()],
        ),
        case("Bind of a statement that there is not", &[bind("", "nothing", &[]), sync(), alive()]),
        case("Bind without Parse", &[bind("", "", &[]), sync(), alive()]),
        case(
            "Bind of a portal that there is",
            &[query("BEGIN"), parse("", "SELECT 1", &[]), bind("p", "", &[]), bind("p", "", &[]), sync(), alive()],
        ),
        case("Describe of nothing", &[text('D', b""), sync(), alive()]),
        case("Describe without a name", &[text('D', b"S"), sync(), alive()]),
        case("Describe without its zero byte", &[text('D', b"Sname"), sync(), alive()]),
        case("Describe of another kind", &[text('D', b"Xname\0"), sync(), alive()]),
        case("Describe with more behind", &[one(), text('D', b"S\0x"), sync(), alive()]),
        case("Describe of a statement that there is not", &[describe('S', "nothing"), sync(), alive()]),
        case("Describe of a portal that there is not", &[describe('P', "nothing"), sync(), alive()]),
        case("Close of nothing", &[text('C', b""), sync(), alive()]),
        case("Close of another kind", &[text('C', b"Xname\0"), sync(), alive()]),
        case("Close of what there is not", &[close('S', "nothing"), close('P', "nothing"), sync(), alive()]),
        case("Execute of nothing", &[text('E', b""), sync(), alive()]),
        case("Execute without a limit", &[text('E', b"\0"), sync(), alive()]),
        case("Execute with half a limit", &[text('E', b"\0\0\0"), sync(), alive()]),
        case("Execute with more behind", &[text('E', b"\0\0\0\0\0x"), sync(), alive()]),
        case("Execute of a portal that there is not", &[execute("nothing", 0), sync(), alive()]),
        case(
            "Execute with a negative limit",
            &[parse("", "SELECT 1", &[]), bind("", "", &[]), execute("", u32::MAX), sync(), alive()],
        ),
        case(
            "Execute again of what is done",
            &[
                query("BEGIN"),
                parse("", "SET a.b = 'c'", &[]),
                bind("", "", &[]),
                execute("", 0),
                execute("", 0),
                sync(),
                alive(),
            ],
        ),
        case("two statements in one Parse", &[parse("", "SELECT 1; SELECT 2", &[]), sync(), alive()]),
    ]
}

/// Text that is none in UTF-8.
fn encodings() -> Vec<Case> {
    let alive = || query("SELECT 'alive'");
    let wrong: [(&str, &[u8]); 9] = [
        ("0xff", b"\xff"),
        ("a lone continuation", b"\x80"),
        ("an overlong form", b"\xc0\x80"),
        ("an overlong slash", b"\xe0\x80\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("cut off", b"\xe2\x82"),
        ("cut off before a letter", b"\xe2\x82x"),
    ];
    let mut cases = Vec::new();
    for (name, bytes) in wrong {
        let sql = [b"SELECT '", bytes, b"'\0"].concat();
        let value = [(i32::try_from(bytes.len()).expect("short"), bytes)];
        let text = parse("", "SELECT $1::text", &[]);
        cases.extend([
            case(&format!("Query, {name}"), &[message('Q', &sql), alive()]),
            case(&format!("Parse, {name}"), &[message('P', &[b"\0", &sql[..], &[0, 0]].concat()), sync(), alive()]),
            case(&format!("a value as text, {name}"), &[text.clone(), bound(&[], &value, &[]), sync(), alive()]),
            case(&format!("a value in binary, {name}"), &[text, bound(&[1], &value, &[]), sync(), alive()]),
        ]);
    }
    let text = || parse("", "SELECT $1::text", &[]);
    cases.extend([
        case("a statement's name", &[message('P', b"\xff\0SELECT 1\0\0\0"), sync(), alive()]),
        case("a portal's name", &[parse("", "SELECT 1", &[]), message('B', b"\xff\0\0\0\0\0\0\0\0"), sync(), alive()]),
        case("a name to describe", &[message('D', b"S\xff\0"), sync(), alive()]),
        case("a name to close", &[message('C', b"P\xff\0"), sync(), alive()]),
        case("a name to execute", &[message('E', b"\xff\0\0\0\0\0"), sync(), alive()]),
        case("a zero byte in a text value", &[text(), bound(&[], &[(3, b"a\0b")], &[]), sync(), alive()]),
        case("a zero byte in a binary value", &[text(), bound(&[1], &[(3, b"a\0b")], &[]), sync(), alive()]),
        case("an identifier", &[message('Q', b"SELECT 1 AS \"\xff\"\0"), alive()]),
        case("a comment", &[message('Q', b"SELECT 1 -- \xff\0"), alive()]),
    ]);
    cases
}

/// Messages that come when others are due.
fn states() -> Vec<Case> {
    let alive = || query("SELECT 'alive'");
    let copy = || query("COPY t FROM STDIN");
    let data = || message('d', b"1\ta\n");
    let done = || message('c', b"");
    let call = |body: &[u8]| message('F', body);
    vec![
        case("CopyData without COPY", &[data(), alive()]),
        case("CopyDone without COPY", &[done(), alive()]),
        case("CopyFail without COPY", &[message('f', b"why\0"), alive()]),
        case("a password without a question", &[message('p', b"x\0"), alive()]),
        case("Query in COPY", &[copy(), query("SELECT 1"), done(), alive()]),
        case("Parse in COPY", &[copy(), data(), parse("", "SELECT 1", &[]), done(), sync(), alive()]),
        case("Sync in COPY", &[copy(), sync(), message('H', b""), data(), done(), alive()]),
        case("Sync with a body in COPY", &[copy(), message('S', b"x"), data(), done(), alive()]),
        case("CopyDone with a body", &[copy(), data(), message('c', b"x"), alive()]),
        case("CopyFail without its zero byte", &[copy(), data(), message('f', b"why"), alive()]),
        case("CopyFail with more behind", &[copy(), data(), message('f', b"why\0x"), alive()]),
        case("CopyFail that is not UTF-8", &[copy(), data(), message('f', b"\xff\0"), alive()]),
        case("CopyData of nothing", &[copy(), message('d', b""), data(), message('d', b""), done(), alive()]),
        case("CopyData that is not UTF-8", &[copy(), message('d', b"1\t\xff\n"), done(), alive()]),
        case("CopyData with a zero byte", &[copy(), message('d', b"1\ta\0b\n"), done(), alive()]),
        case("an unknown type in COPY", &[copy(), message('!', b"x"), alive()]),
        case("a length of zero in COPY", &[copy(), raw('d', 0, b"x"), alive()]),
        case("FunctionCall in COPY", &[copy(), call(&[0; 10]), done(), alive()]),
        case("COPY data after an error", &[copy(), message('d', b"x\n"), data(), data(), done(), alive()]),
        case(
            "COPY in the extended protocol, and Execute in it",
            &[
                parse("", "COPY t FROM STDIN", &[]),
                bind("", "", &[]),
                execute("", 0),
                data(),
                execute("", 0),
                done(),
                sync(),
                alive(),
            ],
        ),
        case(
            "COPY in the extended protocol, and its data behind Sync",
            &[
                parse("", "COPY t FROM STDIN", &[]),
                bind("", "", &[]),
                execute("", 0),
                sync(),
                data(),
                done(),
                sync(),
                alive(),
            ],
        ),
        case("Query before Sync", &[parse("", "SELECT x", &[]), query("SELECT 1"), sync(), alive()]),
        case(
            "Query amid extended messages",
            &[parse("", "SELECT 1", &[]), query("SELECT 2"), bind("", "", &[]), sync()],
        ),
        case("Sync again and again", &[sync(), sync(), sync(), alive()]),
    ]
}

/// Binary COPY data that is broken.
fn copies() -> Vec<Case> {
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let row = b"\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x01a";
    let end = b"\xff\xff";
    let copied = |name: &str, pieces: &[&[u8]]| {
        let data: Vec<Vec<u8>> = pieces.iter().map(|piece| message('d', piece)).collect();
        let start = query("COPY t FROM STDIN (FORMAT binary)");
        case(
            &format!("binary COPY: {name}"),
            &[start, data.concat(), message('c', b""), query("SELECT count(*) FROM t")],
        )
    };
    vec![
        copied("whole", &[header, row, end]),
        copied("no end", &[header, row]),
        copied("nothing", &[]),
        copied("no header", &[row, end]),
        copied("half a header", &[&header[..13]]),
        copied("a header without its flags", &[&header[..11]]),
        copied("a line feed that was changed", &[b"PGCOPY\r\n\xff\r\n\0\0\0\0\0\0\0\0\0", row, end]),
        copied("flags that are critical", &[b"PGCOPY\n\xff\r\n\0\0\x02\0\0\0\0\0\0", row, end]),
        copied("the flag of OIDs", &[b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0", row, end]),
        copied("flags that are not critical", &[b"PGCOPY\n\xff\r\n\0\0\0\x01\0\0\0\0\0", row, end]),
        copied("an extension", &[b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x03abc", row, end]),
        copied("an extension of negative length", &[b"PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xfe", row, end]),
        copied("an extension that does not end", &[b"PGCOPY\n\xff\r\n\0\0\0\0\0\x7f\xff\xff\xff", row, end]),
        copied("three columns", &[header, b"\0\x03\0\0\0\x04\0\0\0\x01\0\0\0\x01a\xff\xff\xff\xff", end]),
        copied("one column", &[header, b"\0\x01\0\0\0\x04\0\0\0\x01", end]),
        copied("no columns", &[header, b"\0\0", end]),
        copied("minus two columns", &[header, b"\xff\xfe", end]),
        copied("a value of negative length", &[header, b"\0\x02\0\0\0\x04\0\0\0\x01\xff\xff\xff\xfe", end]),
        copied("a value that does not end", &[header, b"\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x09a"]),
        copied("a value of two gigabytes", &[header, b"\0\x02\0\0\0\x04\0\0\0\x01\x7f\xff\xff\xffa"]),
        copied("an integer of three bytes", &[header, b"\0\x02\0\0\0\x03\0\0\x01\0\0\0\x01a", end]),
        copied("an integer of five bytes", &[header, b"\0\x02\0\0\0\x05\0\0\0\0\x01\0\0\0\x01a", end]),
        copied("text that is not UTF-8", &[header, b"\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x01\xff", end]),
        copied("half a row", &[header, row, &row[..7]]),
        copied("half a count", &[header, row, b"\0"]),
        copied("more behind the end", &[header, row, end, row]),
        copied("two ends", &[header, row, end, end]),
    ]
}

/// One line: every message until the connection is closed, errors with severity, SQLSTATE and text.
fn told(peer: &mut Peer) -> String {
    let mut line = Vec::new();
    loop {
        match peer.next() {
            None => {
                line.push("closed".to_owned());
                return line.join(", ");
            }
            Some(error) if error.tag == 'E' => {
                let field = |name| error.field(name).unwrap_or_default();
                line.push(format!("{} {} {}", field('S'), field('C'), field('M')));
            }
            Some(Message { tag: 'S' | 'N', .. }) => {}
            Some(message) => line.push(message.shown()),
        }
    }
}

/// A server to log in to.
trait Door {
    fn login(&self) -> Peer;
}

impl Door for Server {
    fn login(&self) -> Peer {
        Peer::root(self)
    }
}

impl Door for Postgres {
    fn login(&self) -> Peer {
        Peer::login_to(self.address(), "postgres", "", "postgres")
    }
}

/// What comes of a case, with Terminate behind it.
fn answer(door: &impl Door, case: &Case) -> String {
    let mut peer = door.login();
    peer.send(&[&case.bytes[..], &message('X', b"")].concat());
    told(&mut peer)
}

fn cases() -> Vec<Case> {
    [frames(), bodies(), encodings(), states(), copies()].into_iter().flatten().collect()
}

/// The table of each case: empty at its start.
fn prepare(door: &impl Door) {
    let sql = "DROP TABLE IF EXISTS t; CREATE TABLE t (id integer PRIMARY KEY, v text)";
    let answer = door.login().ask(&query(sql));
    assert!(answer.ends_with("C CREATE TABLE, Z I"), "{answer}");
}

fn all(door: &impl Door) -> String {
    let mut text = String::new();
    for case in cases() {
        prepare(door);
        writeln!(text, "{}\n    {}", case.name, answer(door, &case)).expect("text");
    }
    text
}

#[test]
fn answers_are_postgresqls() {
    let path = kalamdb_tests::place::repository().join("tests/wire/malformed.txt");
    if updates_expectations() {
        let postgres = Postgres::start().expect("PostgreSQL 15 is installed");
        std::fs::write(&path, all(&postgres)).expect("the file is written");
    }
    let server = Server::start();
    let mut bystander = Peer::root(&server);
    let expected = std::fs::read_to_string(&path).expect("malformed.txt");
    let found = all(&server);
    let mut wrong = String::new();
    for ((name, theirs), (_, ours)) in pairs(&expected).zip(pairs(&found)) {
        let reasoned = theirs.ends_with("closed") && ours.replace("FATAL 08P01 invalid message length, ", "") == theirs;
        let theirs = OTHERWISE.iter().find(|(of, _)| *of == name).map_or(theirs, |(_, otherwise)| otherwise);
        if ours != theirs && !reasoned {
            writeln!(wrong, "{name}\n    PostgreSQL: {theirs}\n    KalamDB:    {ours}").expect("text");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(pairs(&expected).count(), pairs(&found).count(), "malformed.txt is to be written anew");
    assert_eq!(bystander.ask(&query("SELECT 1")), "T, D 1, C SELECT 1, Z I", "another session goes on");
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut lines = text.lines();
    std::iter::from_fn(move || Some((lines.next()?, lines.next()?.trim_start())))
}
