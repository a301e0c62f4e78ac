//! A slow reader of a large result costs the server no memory, and a cancel request stops it at once.
//!
//! Rows of 100 bytes, half of them flushed, read at 1 MB/s by the simple and the extended protocol.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use futures::SinkExt;
use kalamdb_tests::peer::{Peer, bind, execute, parse, query, sync, untagged};
use kalamdb_tests::{Server, Session, budget};
use std::io::Read;
use std::time::{Duration, Instant};

/// The bounds.
const GROWTH_MAX: u64 = 64 << 20;
const CANCEL_MAX: Duration = Duration::from_secs(1);
const CANCEL_REQUEST: u32 = 80_877_102;
/// Rows of one COPY: a transaction's write set is bounded.
const CHUNK: u64 = 50_000;

async fn load(session: &Session, from: u64, to: u64) {
    for start in (from..to).step_by(CHUNK as usize) {
        let sink = session.client.copy_in("COPY big FROM STDIN").await.expect("COPY begins");
        futures::pin_mut!(sink);
        let rows: String = (start..(start + CHUNK).min(to)).map(|id| format!("{id}\t{id:086}\n")).collect();
        sink.send(bytes::Bytes::from(rows)).await.expect("rows are taken");
        sink.close().await.expect("COPY ends");
    }
}

/// Reads at 1 MB/s for a while: the most memory that the server had meanwhile.
fn read_slowly(server: &Server, peer: &mut Peer, seconds: u64) -> u64 {
    const STEP: usize = 100_000;
    let start = Instant::now();
    let mut buffer = vec![0; STEP];
    let mut most = 0;
    for step in 1..=seconds * 10 {
        peer.stream.read_exact(&mut buffer).expect("rows go on");
        most = most.max(server.memory());
        let due = Duration::from_millis(100 * step);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    most
}

/// Sends a cancel request, and reads to the end of the answer.
fn cancel(server: &Server, peer: &mut Peer) -> (Duration, bool) {
    let start = Instant::now();
    Peer::connect(server).send(&untagged(CANCEL_REQUEST, &peer.key));
    // The reading stopped in the middle of a message: look for the error's SQLSTATE and the end of the answer.
    let mut tail = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    let mut cancelled = false;
    while !cancelled || !tail.ends_with(b"Z\0\0\0\x05I") {
        let count = peer.stream.read(&mut buffer).expect("the answer ends");
        assert!(count > 0, "the connection stays");
        tail.extend_from_slice(&buffer[..count]);
        cancelled |= tail.windows(7).any(|window| window == b"C57014\0");
        let keep = tail.len().saturating_sub(512);
        tail.drain(..keep);
    }
    (start.elapsed(), cancelled)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers() {
    let rows = budget("KALAMDB_MEMORY_ROWS", 5_000_000);
    let seconds = budget("KALAMDB_MEMORY_SECONDS", 30);
    let server = Server::start();
    let session = server.root().await;
    session.run("CREATE TABLE big (id bigint PRIMARY KEY, v text)").await;
    let start = Instant::now();
    load(&session, 0, rows / 2).await;
    session.run("STORAGE FLUSH TABLE big").await;
    let flushed = "SELECT count(*) FROM system.jobs WHERE table_name = 'big' AND status = 'completed'";
    while session.value(flushed).await == "0" {
        assert!(start.elapsed() < Duration::from_secs(600), "the flush ends");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    load(&session, rows / 2, rows).await;
    println!("{rows} rows loaded in {:?}", start.elapsed());
    assert_eq!(session.value("SELECT count(*) FROM big").await, rows.to_string());

    let sql = "SELECT * FROM big";
    let extended = [parse("", sql, &[]), bind("", "", &[]), execute("", 0), sync()].concat();
    for (name, asked) in [("simple", query(sql)), ("extended", extended)] {
        let mut peer = Peer::root(&server);
        let before = server.memory();
        peer.send(&asked);
        let most = read_slowly(&server, &mut peer, seconds);
        let (took, cancelled) = cancel(&server, &mut peer);
        let growth = most.saturating_sub(before);
        println!("{name}: memory grew by {} KiB, the cancel took {took:?}", growth >> 10);
        assert!(cancelled && took < CANCEL_MAX, "{name}: cancelled {cancelled} after {took:?}");
        assert!(growth < GROWTH_MAX, "{name}: memory grew by {} MiB", growth >> 20);
        assert_eq!(peer.ask(&query("SELECT 1")), "T, D 1, C SELECT 1, Z I", "{name}: the session goes on");
    }
}

/// A query that computes and sends nothing is stopped too, as is one that waits.
#[tokio::test(flavor = "multi_thread")]
async fn cancel_stops_work() {
    let server = Server::start();
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
        "SELECT count(*) FROM generate_series(1, 100000000000) a WHERE a < 0",
    ] {
        let session = server.root().await;
        let token = session.client.cancel_token();
        let client = session.client.clone();
        let running = tokio::spawn(async move { client.simple_query(sql).await });
        let watch = server.root().await;
        let is_running =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series%'";
        let deadline = Instant::now() + Duration::from_secs(10);
        while watch.client.simple_query(is_running).await.is_ok() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if !running.is_finished() {
                break;
            }
        }
        let start = Instant::now();
        token.cancel_query(tokio_postgres::NoTls).await.expect("a cancel request is taken");
        let error = running.await.expect("it ends").expect_err("it was cancelled");
        assert_eq!(error.code().map(|state| state.code()), Some("57014"), "{sql}");
        assert!(start.elapsed() < CANCEL_MAX, "{sql}: {:?}", start.elapsed());
        assert_eq!(session.value("SELECT 1").await, "1");
    }
}
