//! What a change of a user does to a connection that is open, and what a `user` is told of others' tables.

use kalamdb_tests::Server;
use kalamdb_tests::peer::{Message, Peer, bind, execute, parse, query, sync, transcript};

#[test]
fn a_dropped_user_is_shown_out() {
    let server = Server::start();
    let mut root = Peer::root(&server);
    root.ask(&query("CREATE USER 'gone' WITH PASSWORD 'x' ROLE user"));
    let (mut idle, mut busy) = (Peer::login(&server, "gone", "x"), Peer::login(&server, "gone", "x"));
    assert_eq!(busy.ask(&query("BEGIN")), "C BEGIN, Z T");
    assert_eq!(root.ask(&query("DROP USER 'gone'")), "C DROP ROLE, Z I");
    for peer in [&mut idle, &mut busy] {
        let last = peer.rest();
        assert_eq!(transcript(&last), "E 57P01");
        assert_eq!(last[0].field('S').as_deref(), Some("FATAL"));
    }
}

#[test]
fn a_role_is_that_of_the_moment() {
    let server = Server::start();
    let mut root = Peer::root(&server);
    root.ask(&query("CREATE TABLE priv (id integer PRIMARY KEY); INSERT INTO priv VALUES (1)"));
    root.ask(&query("CREATE USER 'low' WITH PASSWORD 'x' ROLE service"));
    let mut low = Peer::login(&server, "low", "x");
    assert_eq!(low.ask(&[parse("s", "SELECT id FROM priv", &[]), sync()].concat()), "1, Z I");
    let run = [bind("", "s", &[]), execute("", 0), sync()].concat();
    assert_eq!(low.ask(&run), "2, D 1, C SELECT 1, Z I");
    root.ask(&query("ALTER USER 'low' ROLE user"));
    assert_eq!(low.ask(&run), "2, E 42501, Z I");
    root.ask(&query("ALTER USER 'low' ROLE system"));
    low.send(&run);
    let answers = low.until('Z');
    assert_eq!(transcript(&answers), "2, D 1, C SELECT 1, Z I");
    let told = answers.iter().find(|message| message.tag == 'S').map(Message::text);
    assert_eq!(told.as_deref(), Some("is_superuser\0on"));
}

#[test]
fn upkeep_of_anothers_table_is_skipped() {
    let server = Server::start();
    let mut root = Peer::root(&server);
    root.ask(&query("CREATE TABLE priv (id integer PRIMARY KEY) WITH (ACCESS_LEVEL = 'restricted')"));
    root.ask(&query("CREATE USER 'low' WITH PASSWORD 'x' ROLE user"));
    let mut low = Peer::login(&server, "low", "x");
    for verb in ["VACUUM", "ANALYZE"] {
        low.send(&query(&format!("{verb} priv")));
        let answers = low.until('Z');
        assert_eq!(transcript(&answers), format!("C {verb}, Z I"));
        let warning = answers.iter().find(|message| message.tag == 'N').expect("a warning");
        let expected = format!("permission denied to {} \"priv\", skipping it", verb.to_lowercase());
        assert_eq!((warning.field('S').as_deref(), warning.field('M')), (Some("WARNING"), Some(expected)));
        root.send(&query(&format!("{verb} priv")));
        assert!(root.until('Z').iter().all(|message| message.tag != 'N'), "{verb} by who may");
    }
    assert_eq!(low.ask(&query("DESCRIBE priv")), "E 42501, Z I");
}
