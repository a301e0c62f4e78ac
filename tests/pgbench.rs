//! pgbench as it comes: initialisation, its three scripts in its three modes with eight clients, and TPC-B's sums.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::psql::{done, program, psql};
use kalamdb_tests::{ROOT_PASSWORD, Server, budget};
use std::process::Command;

fn pgbench(server: &Server) -> Command {
    program("pgbench", server, "root", ROOT_PASSWORD)
}

fn sums(server: &Server) -> Vec<String> {
    let sql = "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), \
               (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)";
    psql(server, "root", ROOT_PASSWORD, sql).trim().split('|').map(str::to_owned).collect()
}

#[test]
fn built_in_scripts() {
    let server = Server::start();
    done(pgbench(&server).args(["-i", "-s", "5", "-q"]));
    assert_eq!(psql(&server, "root", ROOT_PASSWORD, "SELECT count(*) FROM pgbench_accounts").trim(), "500000");
    let transactions = budget("KALAMDB_PGBENCH_TRANSACTIONS", 100).to_string();
    for script in ["tpcb-like", "simple-update", "select-only"] {
        for mode in ["simple", "extended", "prepared"] {
            let args = ["-n", "-b", script, "-M", mode, "-c", "8", "-j", "2", "-t", &transactions];
            let said = done(pgbench(&server).args(args));
            let expected = format!(
                "number of transactions actually processed: {0}/{0}",
                8 * transactions.parse::<u64>().expect("a number")
            );
            assert!(said.contains(&expected), "{script}, {mode}:\n{said}");
            assert!(said.contains("number of failed transactions: 0"), "{script}, {mode}:\n{said}");
            let tps = said.lines().find(|line| line.starts_with("tps")).unwrap_or_default();
            println!("{script:14} {mode:9} {tps}");
        }
        if script == "tpcb-like" {
            let sums = sums(&server);
            assert!(sums.iter().all(|sum| *sum == sums[0] && !sum.is_empty()), "the sums agree: {sums:?}");
        }
    }
    let history = psql(&server, "root", ROOT_PASSWORD, "SELECT count(*) FROM pgbench_history");
    assert_eq!(history.trim(), (2 * 3 * 8 * transactions.parse::<u64>().expect("a number")).to_string());
}

/// The same sums hold after a flush and after kill -9.
#[test]
fn sums_survive() {
    let mut server = Server::start();
    done(pgbench(&server).args(["-i", "-s", "1", "-q"]));
    psql(&server, "root", ROOT_PASSWORD, "STORAGE FLUSH TABLE pgbench_accounts");
    done(pgbench(&server).args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-t", "50"]));
    let before = sums(&server);
    assert!(before.iter().all(|sum| *sum == before[0]), "{before:?}");
    server.kill();
    server.run();
    assert_eq!(sums(&server), before);
}

/// With its foreign keys pgbench's tables hold together as before, and nothing is refused.
#[test]
fn foreign_keys() {
    let server = Server::start();
    done(pgbench(&server).args(["-i", "-s", "1", "-q", "--foreign-keys"]));
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(psql(&server, "root", ROOT_PASSWORD, keys).trim(), "5");
    let said = done(pgbench(&server).args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-t", "50"]));
    assert!(said.contains("number of failed transactions: 0"), "{said}");
    let sums = sums(&server);
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
}
