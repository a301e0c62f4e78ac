//! A server of our own: started, asked, killed, started again on the same data.

use crate::connect::Session;
use crate::{ROOT_PASSWORD, place};
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to open its port: the budget is 2 s after a crash, the rest is a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// How to start it.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// More arguments.
    pub args: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
    /// `KALAMDB_ROOT_PASSWORD`; `None` lets the server make one up.
    pub root_password: Option<String>,
    /// The program in front (`strace …`).
    pub before: Vec<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { args: Vec::new(), env: Vec::new(), root_password: Some(ROOT_PASSWORD.to_owned()), before: Vec::new() }
    }
}

/// A running server with its own data folder, which goes when this goes.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    options: ServerOptions,
    child: Option<Child>,
}

impl Server {
    /// Starts one with the defaults.
    pub fn start() -> Self {
        Self::start_with(ServerOptions::default())
    }

    /// Starts one.
    ///
    /// # Panics
    /// When it does not open its port in time; what it logged is part of the message.
    pub fn start_with(options: ServerOptions) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut server = Self { folder, port: place::free_port(), options, child: None };
        server.run();
        server
    }

    /// Starts it again on the same data and port. It must not be running.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it is running");
        self.child = Some(self.command().spawn().expect("the server starts"));
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect_timeout(&self.address(), Duration::from_secs(1)).is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "the server ended with {ended:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "the port did not open\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The command that starts it, for those who want to see it fail.
    pub fn command(&self) -> Command {
        let binary = place::server_binary();
        let mut words = self.options.before.iter().map(PathBuf::from).chain([binary]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]).arg("--data-dir").arg(self.data_dir());
        command.args(&self.options.args).current_dir(self.folder.path());
        command.env_remove("KALAMDB_ROOT_PASSWORD").envs(self.options.env.iter().cloned());
        if let Some(password) = &self.options.root_password {
            command.env("KALAMDB_ROOT_PASSWORD", password);
        }
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        command
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }
    /// The folder that it was started in; `data/` is in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
    /// What it printed and logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
    /// Its process.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Ends it as a power cut would end the process: SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().expect("the dead can be buried");
        }
    }

    /// Asks it to end (SIGTERM), and waits.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running server");
        let asked = Command::new("kill").arg(child.id().to_string()).status().expect("kill is there");
        assert!(asked.success(), "the signal was sent");
        child.wait().expect("it ends")
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process has a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident size");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number of kB");
        kib * 1024
    }

    /// A session as `root`.
    pub async fn root(&self) -> Session {
        self.login("root", self.options.root_password.as_deref().unwrap_or(ROOT_PASSWORD)).await
    }
    /// A session as somebody.
    pub async fn login(&self, user: &str, password: &str) -> Session {
        match self.try_login(user, password).await {
            Ok(session) => session,
            Err(error) => panic!("{user} cannot log in: {error:?}\n{}", self.log()),
        }
    }
    /// A session, or why there is none.
    pub async fn try_login(&self, user: &str, password: &str) -> Result<Session, tokio_postgres::Error> {
        Session::connect(self.address(), user, password, "kalamdb").await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}
