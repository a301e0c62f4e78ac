//! The program itself: first start, configuration, TLS, stop, and one readable error for everything that is wrong.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use kalamdb_tests::psql::{done, program, psql, said};
use kalamdb_tests::{ROOT_PASSWORD, Server, ServerOptions, place};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Runs the server where it must fail: its output.
fn refused(command: &mut Command) -> String {
    let output: Output = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .output()
        .expect("the server runs");
    assert!(!output.status.success(), "{command:?} must fail\n{}", said(&output));
    let text = said(&output);
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn help_and_version() {
    let help = done(Command::new(place::server_binary()).arg("--help"));
    for word in [
        "--config",
        "--data-dir",
        "--listen",
        "--tls-cert",
        "--tls-key",
        "--system-login-from",
        "KALAMDB_ROOT_PASSWORD",
    ] {
        assert!(help.contains(word), "--help tells of {word}");
    }
    assert!(done(Command::new(place::server_binary()).arg("--version")).contains("0."));
}

/// Without a password in the environment one is made, and the printed command works when it is pasted.
#[test]
fn first_start_without_a_password() {
    let mut server = Server::start_with(ServerOptions { root_password: None, ..ServerOptions::default() });
    let file = server.data_dir().join("root.pgpass");
    let mode = std::fs::metadata(&file).expect("root.pgpass").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).expect("root.pgpass");
    assert!(text.starts_with("*:*:*:root:") && text.trim_end().len() > "*:*:*:root:".len() + 12, "{text}");
    let log = server.log();
    let line =
        log.lines().find(|line| line.contains("PGPASSFILE=") && line.contains("psql")).expect("a command is printed");
    let pasted = &line[line.find("PGPASSFILE=").expect("it was found")..];
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{pasted} -X -A -t -c 'SELECT current_user'")]).current_dir(server.folder());
    assert_eq!(done(&mut shell), "root\n");
    // Later starts keep it, and say that they ignore the variable.
    server.stop();
    server.run();
    assert_eq!(done(&mut shell), "root\n");
}

#[test]
fn later_starts_ignore_the_password_variable() {
    let mut server = Server::start();
    assert!(!server.data_dir().join("root.pgpass").exists());
    server.stop();
    let port = server.port();
    let mut again = server.command();
    again.env("KALAMDB_ROOT_PASSWORD", "another");
    let mut child = again.spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let asked = |password: &str| program("psql", &server, "root", password).args(["-X", "-c", "SELECT 1"]).output();
    assert!(asked(ROOT_PASSWORD).is_ok_and(|output| output.status.success()));
    assert!(asked("another").is_ok_and(|output| !output.status.success()));
    assert!(server.log().contains("KALAMDB_ROOT_PASSWORD"), "{}", server.log());
    child.kill().ok();
    child.wait().ok();
}

#[test]
fn what_is_wrong_is_told_in_one_line() {
    let server = Server::start();
    // The port is used; the data folder is locked.
    let text = refused(&mut server.command());
    assert!(text.contains(&server.port().to_string()) || text.contains("data"), "{text}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = |args: &[&str]| {
        let mut command = Command::new(place::server_binary());
        command.args(args).current_dir(folder.path()).env("KALAMDB_ROOT_PASSWORD", "x");
        command
    };
    let listen = format!("127.0.0.1:{}", server.port());
    assert!(refused(&mut with(&["--listen", &listen])).contains(&server.port().to_string()));
    let data = server.data_dir();
    let free = format!("127.0.0.1:{}", place::free_port());
    let text = refused(&mut with(&["--listen", &free, "--data-dir", &data.to_string_lossy()]));
    assert!(text.contains(&*data.to_string_lossy()), "{text}");
    assert!(refused(&mut with(&["--config", "missing.toml"])).contains("missing.toml"));
    std::fs::write(folder.path().join("wrong.toml"), "no_such_option = 1\n").expect("a file");
    assert!(refused(&mut with(&["--config", "wrong.toml"])).contains("no_such_option"));
    refused(&mut with(&["--listen", "nonsense"]));
    refused(&mut with(&["--no-such-flag"]));
    refused(&mut with(&["--listen", &free, "--tls-cert", "missing.pem", "--tls-key", "missing.pem"]));
}

#[test]
fn a_newer_or_damaged_folder_is_refused() {
    let mut server = Server::start();
    psql(&server, "root", ROOT_PASSWORD, "CREATE TABLE t (id integer)");
    server.stop();
    // Every file that RocksDB calls CURRENT points to its manifest: without one nothing can be trusted.
    let current = find(&server.data_dir(), "CURRENT");
    std::fs::write(&current, "MANIFEST-999999\n").expect("a file to damage");
    let text = refused(&mut server.command());
    assert!(!text.is_empty());
}

/// A log whose last write was cut short is no reason to stop; one with commits behind the damage is, until somebody
/// says that they may go.
#[test]
fn a_damaged_log_is_refused() {
    let mut server = Server::start();
    psql(&server, "root", ROOT_PASSWORD, "CREATE TABLE t (id integer PRIMARY KEY)");
    let inserts: Vec<String> = (0..200).map(|id| format!("BEGIN; INSERT INTO t VALUES ({id}); COMMIT")).collect();
    let inserts = inserts.join(";");
    psql(&server, "root", ROOT_PASSWORD, &inserts);
    server.kill();
    let newest_log = |server: &Server| {
        let files = std::fs::read_dir(server.data_dir().join("rows")).expect("a folder").flatten();
        let logs = files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
        logs.filter(|path| path.metadata().is_ok_and(|file| file.len() > 0)).max().expect("a log")
    };
    let log = newest_log(&server);
    let mut bytes = std::fs::read(&log).expect("a log");
    // Half of a record that was being written.
    let torn = [&bytes[..], &[1, 2, 3, 4, 100, 0, 1, 5, 6]].concat();
    std::fs::write(&log, torn).expect("a log");
    server.run();
    assert_eq!(psql(&server, "root", ROOT_PASSWORD, "SELECT count(*) FROM t").trim(), "200");
    psql(&server, "root", ROOT_PASSWORD, &inserts.replace("VALUES (", "VALUES (1000 + "));
    server.kill();
    let log = newest_log(&server);
    bytes = std::fs::read(&log).expect("a log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&log, bytes).expect("a log");
    let text = refused(&mut server.command());
    let name = log.file_name().expect("a name").to_string_lossy().into_owned();
    for word in [name.as_str(), "damaged at offset", "--accept-log-damage"] {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
    let mut child = server.command().arg("--accept-log-damage").spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(server.address()).is_err() {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = psql(&server, "root", ROOT_PASSWORD, "SELECT count(*) FROM t");
    child.kill().ok();
    child.wait().ok();
    let left: u32 = left.trim().parse().expect("a number");
    assert!((200..400).contains(&left), "{left}");
    assert!(server.log().contains("the log is damaged"), "{}", server.log());
    server.run();
    assert_eq!(psql(&server, "root", ROOT_PASSWORD, "SELECT count(*) FROM t").trim(), left.to_string());
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.file_name() == name {
                return entry.path();
            }
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    panic!("{name} is nowhere");
}

/// SIGTERM lets a running transaction finish, and ends the server with 0.
#[tokio::test]
async fn stop_is_graceful() {
    let mut server = Server::start();
    let session = server.root().await;
    session.run("CREATE TABLE t (id integer PRIMARY KEY)").await;
    session.run("BEGIN; INSERT INTO t VALUES (1)").await;
    let pid = server.pid();
    Command::new("kill").arg(pid.to_string()).status().expect("kill");
    tokio::time::sleep(Duration::from_millis(300)).await;
    session.run("INSERT INTO t VALUES (2); COMMIT").await;
    let status = tokio::task::spawn_blocking(move || {
        let status = server.stop();
        (status, server)
    });
    let (status, mut server) = status.await.expect("it ends");
    assert!(status.success(), "{status:?}");
    server.run();
    assert_eq!(server.root().await.value("SELECT count(*) FROM t").await, "2");
}

/// TLS with a certificate of one's own, checked by the client; with it SCRAM binds to the channel.
#[test]
fn tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("a certificate");
    let (cert, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let server = Server::start_with(ServerOptions {
        args: vec!["--tls-cert".to_owned(), path(&cert), "--tls-key".to_owned(), path(&key)],
        ..ServerOptions::default()
    });
    let ask = |mode: &str, binding: &str| {
        let mut command = program("psql", &server, "root", ROOT_PASSWORD);
        command.env("PGSSLMODE", mode).env("PGSSLROOTCERT", &cert).env("PGCHANNELBINDING", binding);
        command.args(["-X", "-c", r"\conninfo", "-c", "SELECT 1"]).output().expect("psql runs")
    };
    for (mode, binding) in [("verify-full", "require"), ("require", "prefer"), ("prefer", "disable")] {
        let output = ask(mode, binding);
        assert!(output.status.success(), "{mode} {binding}: {}", said(&output));
        assert!(said(&output).contains("TLSv1"), "{mode}: {}", said(&output));
    }
    // Plain connections from the loopback are still served.
    assert!(ask("disable", "disable").status.success());
    // Nothing may stand behind an SSLRequest: it would be read as if TLS had protected it.
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address()).expect("the port is open");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let request = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes(), b"injected"].concat();
    stream.write_all(&request).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    assert_ne!(answer.first(), Some(&b'S'), "the connection is not taken up");
}

/// Users of the role system log in from where the configuration says.
#[test]
fn system_users_come_from_allowed_addresses() {
    let server = Server::start_with(ServerOptions {
        args: vec!["--system-login-from".to_owned(), "192.0.2.0/24".to_owned()],
        ..ServerOptions::default()
    });
    let output = program("psql", &server, "root", ROOT_PASSWORD).args(["-X", "-c", "SELECT 1"]).output().expect("psql");
    assert!(!output.status.success());
    assert!(said(&output).contains("password authentication failed"), "{}", said(&output));
}
