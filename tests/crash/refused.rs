//! A write that the disk refuses: whoever was caught in it is told that nobody knows, later writes are refused at once
//! with the reason, reads go on, and a restart puts it right.

use kalamdb_tests::{Server, ServerOptions};

/// Files may not become longer (in blocks of 512 bytes, or of 1024 in some shells): a write fails as on a full disk.
const LIMITED: &str = "trap '' XFSZ; ulimit -f 4096; exec \"$@\"";
/// Of one row: a few dozen of them fill a log of that length.
const ROW_BYTES: usize = 100_000;

fn state(error: &tokio_postgres::Error) -> String {
    error.code().map(|state| state.code().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_refused_write_ends_writing() {
    let before = ["sh", "-c", LIMITED, "sh"].map(str::to_owned).to_vec();
    let mut server = Server::start_with(ServerOptions { before, ..ServerOptions::default() });
    let session = server.root().await;
    session.run("CREATE TABLE t (id integer PRIMARY KEY, filler text)").await;
    let mut written = 0_u32;
    let caught = loop {
        assert!(written < 1000, "nothing was refused");
        let insert = format!("INSERT INTO t VALUES ({written}, repeat('x', {ROW_BYTES}))");
        match session.client.batch_execute(&insert).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(state(&caught), "08007", "{caught:?}");
    let writes = [
        "INSERT INTO t VALUES (-1, '')",
        "UPDATE t SET filler = '' WHERE id = 0",
        "DELETE FROM t WHERE id = 0",
        "CREATE TABLE u (id integer)",
        "BEGIN; INSERT INTO t VALUES (-1, '')",
    ];
    for sql in writes {
        let Err(error) = session.client.batch_execute(sql).await else { panic!("{sql} succeeded") };
        assert_eq!(state(&error), "58030", "{sql}: {error:?}");
        session.client.batch_execute("ROLLBACK").await.expect("there is nothing to write");
    }
    assert_eq!(session.value("SELECT count(*) FROM t").await, written.to_string());
    assert_eq!(server.root().await.value("SELECT count(*) FROM t WHERE id = 0").await, "1");
    server.kill();
    server.run();
    let session = server.root().await;
    let count: u32 = session.value("SELECT count(*) FROM t").await.parse().expect("a number");
    assert!(count == written || count == written + 1, "{count} rows of {written}");
    session.run("INSERT INTO t VALUES (-1, 'again')").await;
}
