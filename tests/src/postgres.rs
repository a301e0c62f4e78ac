//! PostgreSQL 15 as the distribution has it, started on data of its own: what we compare with.

use crate::connect::Session;
use crate::place;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(60);

/// A running PostgreSQL 15. `postgres` logs in without a password.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Postgres {
    /// Starts one; `None` where the distribution has no PostgreSQL 15. `KALAMDB_TEST_POSTGRES=required` makes that a
    /// failure.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let required = std::env::var("KALAMDB_TEST_POSTGRES").is_ok_and(|value| value == "required");
            assert!(!required, "PostgreSQL 15 is not installed");
            return None;
        };
        let folder = TempDir::new().expect("a temporary folder");
        let data = folder.path().join("data");
        // PostgreSQL refuses to run as root: root runs it as the package's user.
        let user = is_root().then(package_user);
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may give files away");
        }
        let as_user = |program: &str| {
            let mut command = Command::new(programs.join(program));
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
            command
        };
        let made = as_user("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"])
            .arg(&data)
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb made a data folder");
        let port = place::free_port();
        let child = as_user("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "timezone=UTC"])
            .arg("-k")
            .arg(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres runs");
        let postgres = Self { folder, port, child };
        postgres.wait();
        Some(postgres)
    }

    fn wait(&self) {
        let deadline = Instant::now() + START_MAX;
        let answers = || {
            let asked = Command::new("psql").args(self.psql_args()).args(["-c", "SELECT 1"]).output();
            TcpStream::connect(self.address()).is_ok() && asked.is_ok_and(|output| output.status.success())
        };
        while !answers() {
            assert!(Instant::now() < deadline, "PostgreSQL did not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Arguments for psql and pgbench.
    pub fn psql_args(&self) -> [String; 8] {
        ["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-d", "postgres"].map(str::to_owned)
    }
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    /// A session.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn session(&self) -> Session {
        Session::connect(self.address(), "postgres", "", "postgres").await.expect("PostgreSQL answers")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown, which takes the children along.
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().ok();
        self.child.wait().ok();
    }
}

/// Where the programs of version 15 are.
fn programs() -> Option<PathBuf> {
    let debian = PathBuf::from("/usr/lib/postgresql/15/bin");
    debian.join("postgres").exists().then_some(debian)
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

/// The user and group ids of `postgres`, which the package makes.
fn package_user() -> (u32, u32) {
    let passwd = std::fs::read_to_string("/etc/passwd").expect("a list of users");
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("the package's user postgres");
    let ids: Vec<u32> = line.split(':').skip(2).take(2).filter_map(|id| id.parse().ok()).collect();
    match ids.as_slice() {
        [uid, gid] => (*uid, *gid),
        _ => panic!("the user postgres has no numbers"),
    }
}
