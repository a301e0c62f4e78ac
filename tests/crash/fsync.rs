//! strace sees what the disk was told: between a commit's write and its answer an fsync or fdatasync has ended.

use kalamdb_tests::{Server, ServerOptions, place};
use std::time::{Duration, Instant};

const COMMITS: usize = 100;

/// System calls in the order in which they ended, each with its name and a little of its arguments.
fn calls(trace: &str) -> Vec<String> {
    let mut calls = Vec::new();
    for line in trace.lines() {
        // "<pid> <time> name(…) = n", or "<pid> <time> <... name resumed>…": both are ends; "<unfinished ...>" is none.
        // An answer counts where it begins: its text stands there.
        if line.ends_with("<unfinished ...>") && !is_answer(line) {
            continue;
        }
        let mut words = line.split_whitespace().skip(1);
        let rest: String = words.by_ref().collect::<Vec<_>>().join(" ");
        calls.push(rest);
    }
    calls
}

fn is_sync(call: &str) -> bool {
    ["fsync(", "fdatasync(", "<... fsync resumed", "<... fdatasync resumed"].iter().any(|name| call.contains(name))
}

/// The answer to a COMMIT or an INSERT: it goes to a socket, and says its tag.
fn is_answer(call: &str) -> bool {
    call.contains("INSERT 0 1")
}

/// How many answers had a sync ended since the answer before.
fn synced_answers(trace: &str) -> (usize, usize) {
    let (mut answers, mut synced, mut seen) = (0, 0, false);
    for call in calls(trace) {
        if is_sync(&call) {
            seen = true;
        } else if is_answer(&call) {
            answers += 1;
            synced += usize::from(seen);
            seen = false;
        }
    }
    (answers, synced)
}

async fn traced(synchronous: &str) -> (usize, usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("trace");
    let calls = "trace=fsync,fdatasync,write,sendto,sendmsg,writev";
    // -D: the server stays our child, and gets our signals.
    let before =
        ["strace", "-D", "-f", "-s", "256", "-e", calls, "-o", &file.to_string_lossy()].map(str::to_owned).to_vec();
    let mut server = Server::start_with(ServerOptions { before, ..ServerOptions::default() });
    let session = server.root().await;
    session.run("CREATE TABLE t (id integer PRIMARY KEY)").await;
    session.run(&format!("SET synchronous_commit = {synchronous}")).await;
    for id in 0..COMMITS {
        session.run(&format!("INSERT INTO t VALUES ({id})")).await;
    }
    drop(session);
    let pid = server.pid();
    server.stop();
    // However it ended: this test is about what came before. strace pads the process id.
    let pid = pid.to_string();
    let ended = |line: &str| line.contains("+++") && line.split_whitespace().next() == Some(&pid);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let trace = String::from_utf8_lossy(&std::fs::read(&file).expect("a trace")).into_owned();
        if trace.lines().any(ended) {
            return synced_answers(&trace);
        }
        assert!(Instant::now() < deadline, "strace did not come to its end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_is_synced_before_its_answer() {
    if !place::has_program("strace") {
        assert!(std::env::var_os("KALAMDB_TEST_STRACE").is_none(), "strace is not installed");
        println!("SKIPPED: strace is not installed");
        return;
    }
    assert_eq!(traced("on").await, (COMMITS, COMMITS), "answers, and those with a sync before them");
    // The counter-test: the trace would show it if commits were not synced. On a busy machine the next answer may come
    // only after the periodic sync, many times over, but not every time.
    let (answers, synced) = traced("off").await;
    assert_eq!(answers, COMMITS);
    assert!(synced < COMMITS, "with synchronous_commit = off {synced} of {COMMITS} answers waited");
}

#[test]
fn a_trace_is_read_in_order() {
    let trace = "\
10 write(5, \"row\", 3) = 3
11 fdatasync(7 <unfinished ...>
10 sendto(9, \"INSERT 0 1\", 10) = 10
11 <... fdatasync resumed>) = 0
10 sendto(9, \"INSERT 0 1\", 10) = 10
";
    assert_eq!(synced_answers(trace), (2, 1));
}
