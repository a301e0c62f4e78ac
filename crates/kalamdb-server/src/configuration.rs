//! What the server is told: by flags, by the environment, by a file, else by defaults, in this order of strength.
//!
//! Every option has the same name in all three: `--data-dir`, `KALAMDB_DATA_DIR`, `data_dir = "…"`. Secrets have no
//! flag, since command lines are seen by everybody on the machine; they are never printed either.

use clap::Parser;
use ipnet::IpNet;
use kalamdb_auth::token::{Issuer, WeakSecret};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "kalamdb.toml";
const DEFAULT_DATA_DIR: &str = "./data";
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5454);
const DEFAULT_LOG: &str = "info";
/// Ten times PostgreSQL's number: an idle connection is a task with small buffers, not a process.
const DEFAULT_CONNECTIONS_MAX: usize = 1000;
/// Memory for queries when the machine does not say how much it has.
const FALLBACK_MEMORY_BYTES: usize = 1 << 30;
/// How long a login may take: PostgreSQL's default, and its bound.
const DEFAULT_AUTHENTICATION_TIMEOUT_SECONDS: u64 = 60;
const AUTHENTICATION_TIMEOUT_SECONDS_MAX: u64 = 600;
/// Long enough for the statements of an application, short enough for a service manager.
const DEFAULT_GRACE_SECONDS: u64 = 30;
/// What CREATE USER calls the JWT issuer when nothing else was said.
const DEFAULT_PROVIDER: &str = "jwt";
/// The variable that holds the secret of the JWT issuer.
const JWT_SECRET_VARIABLE: &str = "KALAMDB_JWT_SECRET";
/// The file's keys, for the message about one that is not among them.
const FILE_KEYS: &str = "data_dir, listen, tls_cert, tls_key, system_login_from, log, max_connections, \
     memory_limit, authentication_timeout_seconds, shutdown_grace_seconds, accept_log_damage, [auth.jwt] provider, issuer, audience, secret, secret_file";

/// A realtime SQL database that speaks the PostgreSQL protocol.
///
/// Keeps its data in one directory and listens on one port. The first start creates the user "root"; every start
/// prints a psql command that connects as it.
#[derive(Parser, Debug, Default)]
#[command(name = "kalamdb-server", version, max_term_width = 100)]
#[command(after_help = "\
Every option can also be given in the environment (the name in brackets) or in the file:
a flag wins over the environment, the environment over the file.

  # kalamdb.toml
  data_dir = \"/var/lib/kalamdb\"
  listen = \"0.0.0.0:5454\"
  tls_cert = \"/etc/kalamdb/server.crt\"
  tls_key = \"/etc/kalamdb/server.key\"
  system_login_from = [\"127.0.0.0/8\", \"10.0.0.0/8\"]
  [auth.jwt]
  issuer = \"https://login.example.com\"
  audience = \"kalamdb\"
  secret_file = \"/etc/kalamdb/jwt.secret\"

Only in the environment:
  KALAMDB_ROOT_PASSWORD  the password of \"root\", read by the first start alone; without it one is
                         generated and written to <data-dir>/root.pgpass
  KALAMDB_JWT_SECRET     the secret of the JWT issuer (or auth.jwt.secret, or a file)

SIGTERM and SIGINT stop the server: idle connections are closed, running transactions may finish
within the grace time. A second signal stops it at once; committed data is safe either way.")]
pub(crate) struct Flags {
    /// The configuration file [default: kalamdb.toml, if it is there]
    #[arg(long, env = "KALAMDB_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the data is kept; created if it is missing [default: ./data]
    #[arg(long, env = "KALAMDB_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address and port to listen on [default: 127.0.0.1:5454]
    #[arg(long, env = "KALAMDB_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// A PEM file with the certificate chain; TLS is offered when it is given, with its key
    #[arg(long, env = "KALAMDB_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key
    #[arg(long, env = "KALAMDB_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Networks from which users of the role "system" may log in; may be repeated [default: the loopback]
    #[arg(long, env = "KALAMDB_SYSTEM_LOGIN_FROM", value_name = "CIDR", value_delimiter = ',')]
    system_login_from: Vec<String>,
    /// The name that CREATE USER … WITH OAUTH '{"provider": …}' gives this JWT issuer [default: jwt]
    #[arg(long, env = "KALAMDB_JWT_PROVIDER", value_name = "NAME")]
    jwt_provider: Option<String>,
    /// The "iss" of JWTs (HS256) that are accepted as passwords; without it none is
    #[arg(long, env = "KALAMDB_JWT_ISSUER", value_name = "URL")]
    jwt_issuer: Option<String>,
    /// The "aud" that JWTs must have; without it any is accepted
    #[arg(long, env = "KALAMDB_JWT_AUDIENCE", value_name = "NAME")]
    jwt_audience: Option<String>,
    /// A file with the secret that signs JWTs
    #[arg(long, env = "KALAMDB_JWT_SECRET_FILE", value_name = "FILE")]
    jwt_secret_file: Option<PathBuf>,
    /// What is logged to stderr: error, warn, info, debug, trace, or by module ("info,kalamdb_store=debug")
    /// [default: info]
    #[arg(long, env = "KALAMDB_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// The most sessions at once [default: 1000]
    #[arg(long, env = "KALAMDB_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,
    /// Memory for queries, "512MiB" or "4GiB"; beyond it they spill to disk or fail [default: half of the machine's]
    #[arg(long, env = "KALAMDB_MEMORY_LIMIT", value_name = "SIZE")]
    memory_limit: Option<String>,
    /// How long a connection may take to log in [default: 60]
    #[arg(long, env = "KALAMDB_AUTHENTICATION_TIMEOUT_SECONDS", value_name = "SECONDS")]
    authentication_timeout_seconds: Option<u64>,
    /// How long running transactions may take to finish when the server stops [default: 30]
    #[arg(long, env = "KALAMDB_SHUTDOWN_GRACE_SECONDS", value_name = "SECONDS")]
    shutdown_grace_seconds: Option<u64>,
    /// Start although the log is damaged in its middle: it is cut there, and the commits behind are lost. For one
    /// start, when there is no copy to restore
    #[arg(long, env = "KALAMDB_ACCEPT_LOG_DAMAGE", value_parser = clap::builder::FalseyValueParser::new())]
    accept_log_damage: bool,
}

/// The file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    listen: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    system_login_from: Option<Vec<String>>,
    log: Option<String>,
    max_connections: Option<usize>,
    memory_limit: Option<String>,
    authentication_timeout_seconds: Option<u64>,
    shutdown_grace_seconds: Option<u64>,
    accept_log_damage: Option<bool>,
    #[serde(default)]
    auth: Auth,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Auth {
    #[serde(default)]
    jwt: JwtFile,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct JwtFile {
    provider: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
}

/// The configuration in force.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// Where the data is kept.
    pub(crate) data_dir: PathBuf,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Certificate and key files.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// From where system users may log in.
    pub(crate) system_login_from: Vec<IpNet>,
    /// Whose JWTs are passwords.
    pub(crate) issuer: Option<Issuer>,
    /// The log filter.
    pub(crate) log: String,
    /// The most sessions at once.
    pub(crate) connections_max: usize,
    /// Memory for queries, in bytes.
    pub(crate) memory_limit_bytes: usize,
    /// How long a login may take.
    pub(crate) authentication_timeout: std::time::Duration,
    /// How long a stop waits.
    pub(crate) grace: std::time::Duration,
    /// Start although the log is damaged.
    pub(crate) accept_log_damage: bool,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum ConfigurationError {
    /// A file that cannot be read.
    #[error("cannot read {what} {}: {why}", path.display())]
    Unreadable { what: &'static str, path: PathBuf, why: String },
    /// The configuration file is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    File { path: PathBuf, line: usize, message: String },
    /// A value that an option cannot have.
    #[error("{option}: \"{value}\" is not {expected}")]
    Value { option: &'static str, value: String, expected: &'static str },
    /// A secret that could be guessed.
    #[error("auth.jwt.secret: {0}")]
    Secret(#[from] WeakSecret),
    /// Two options that belong together.
    #[error("{0} is given without {1}")]
    Half(&'static str, &'static str),
}

impl Configuration {
    /// Reads flags, environment and file. (clap ends the process itself for `--help` and for flags it does not know.)
    ///
    /// # Errors
    /// One that names the option, the file's line or the file.
    pub(crate) fn read() -> Result<Configuration, ConfigurationError> {
        let flags = Flags::parse();
        let file = read_file(flags.config.as_deref())?;
        merge(flags, file, std::env::var(JWT_SECRET_VARIABLE).ok())
    }
}

fn read_file(named: Option<&Path>) -> Result<File, ConfigurationError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => parse_file(path, &text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(unreadable("the configuration file", path, &error)),
    }
}

fn parse_file(path: &Path, text: &str) -> Result<File, ConfigurationError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        // The library's sentence names an unknown key and lists the known ones of its table only.
        let message = match error.message().split_once(", expected") {
            Some((problem, _)) if problem.starts_with("unknown field") => {
                format!("{}; there are {FILE_KEYS}", problem.replace("unknown field", "unknown key"))
            }
            _ => error.message().replace('\n', " "),
        };
        ConfigurationError::File { path: path.to_path_buf(), line, message }
    })
}

fn unreadable(what: &'static str, path: &Path, error: &std::io::Error) -> ConfigurationError {
    ConfigurationError::Unreadable { what, path: path.to_path_buf(), why: error.to_string() }
}

fn merge(flags: Flags, file: File, secret: Option<String>) -> Result<Configuration, ConfigurationError> {
    let networks = match (flags.system_login_from, file.system_login_from) {
        (given, _) if !given.is_empty() => given,
        (_, given) => given.unwrap_or_default(),
    };
    let networks = networks.iter().map(|text| network(text)).collect::<Result<Vec<IpNet>, _>>()?;
    let issuer = issuer(JwtFile {
        provider: flags.jwt_provider.or(file.auth.jwt.provider),
        issuer: flags.jwt_issuer.or(file.auth.jwt.issuer),
        audience: flags.jwt_audience.or(file.auth.jwt.audience),
        secret: secret.or_else(|| file.auth.jwt.secret.filter(|_| flags.jwt_secret_file.is_none())),
        secret_file: flags.jwt_secret_file.or(file.auth.jwt.secret_file),
    })?;
    let connections_max = flags.max_connections.or(file.max_connections).unwrap_or(DEFAULT_CONNECTIONS_MAX);
    if connections_max == 0 {
        return Err(ConfigurationError::Value {
            option: "max_connections",
            value: "0".to_string(),
            expected: "at least 1",
        });
    }
    let authentication_timeout_seconds = flags
        .authentication_timeout_seconds
        .or(file.authentication_timeout_seconds)
        .unwrap_or(DEFAULT_AUTHENTICATION_TIMEOUT_SECONDS);
    if !(1..=AUTHENTICATION_TIMEOUT_SECONDS_MAX).contains(&authentication_timeout_seconds) {
        return Err(ConfigurationError::Value {
            option: "authentication_timeout_seconds",
            value: authentication_timeout_seconds.to_string(),
            expected: "between 1 and 600",
        });
    }
    Ok(Configuration {
        data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| DEFAULT_DATA_DIR.into()),
        listen: flags.listen.or(file.listen).map_or(Ok(DEFAULT_LISTEN), |text| listen_address(&text))?,
        tls: both(flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key), ("tls_cert", "tls_key"))?,
        system_login_from: if networks.is_empty() { kalamdb_core::database::loopback() } else { networks },
        issuer,
        log: flags.log.or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_string()),
        connections_max,
        memory_limit_bytes: flags
            .memory_limit
            .or(file.memory_limit)
            .map_or_else(|| Ok(default_memory()), |text| size(&text))?,
        authentication_timeout: std::time::Duration::from_secs(authentication_timeout_seconds),
        grace: std::time::Duration::from_secs(
            flags.shutdown_grace_seconds.or(file.shutdown_grace_seconds).unwrap_or(DEFAULT_GRACE_SECONDS),
        ),
        accept_log_damage: flags.accept_log_damage || file.accept_log_damage.unwrap_or_default(),
    })
}

fn both<T>(
    first: Option<T>,
    second: Option<T>,
    (first_name, second_name): (&'static str, &'static str),
) -> Result<Option<(T, T)>, ConfigurationError> {
    match (first, second) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigurationError::Half(first_name, second_name)),
        (None, Some(_)) => Err(ConfigurationError::Half(second_name, first_name)),
    }
}

/// A network in CIDR notation; a bare address is a network of one.
fn network(text: &str) -> Result<IpNet, ConfigurationError> {
    let text = text.trim();
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| ConfigurationError::Value {
        option: "system_login_from",
        value: text.to_string(),
        expected: "a network such as 10.0.0.0/8 or ::1/128",
    })
}

/// An address and a port, the address possibly "localhost".
fn listen_address(text: &str) -> Result<SocketAddr, ConfigurationError> {
    let literal = text.strip_prefix("localhost:").map_or_else(|| text.to_string(), |port| format!("127.0.0.1:{port}"));
    literal.parse().map_err(|_| ConfigurationError::Value {
        option: "listen",
        value: text.to_string(),
        expected: "an address and a port, such as 127.0.0.1:5454 or [::1]:5454",
    })
}

/// A number of bytes with an optional unit, binary as in PostgreSQL: kB, MB and GB are KiB, MiB and GiB.
fn size(text: &str) -> Result<usize, ConfigurationError> {
    let invalid = || ConfigurationError::Value {
        option: "memory_limit",
        value: text.to_string(),
        expected: "a size such as 512MiB or 4GiB",
    };
    let digits = text.trim().len() - text.trim().trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.trim().split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    let number: usize = number.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(invalid)
}

/// Half of the machine's memory, or of the container's if that is less.
fn default_memory() -> usize {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
    });
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let total = [machine, container].into_iter().flatten().min();
    total.map_or(FALLBACK_MEMORY_BYTES, |bytes: usize| bytes / 2)
}

/// The JWT issuer, if one is configured.
fn issuer(given: JwtFile) -> Result<Option<Issuer>, ConfigurationError> {
    let secret = match (given.secret, given.secret_file) {
        (Some(secret), _) => Some(secret.into_bytes()),
        (None, Some(path)) => {
            let bytes = std::fs::read(&path).map_err(|error| unreadable("the JWT secret file", &path, &error))?;
            // Editors end files with a line feed; no secret does.
            Some(bytes.trim_ascii_end().to_vec())
        }
        (None, None) => None,
    };
    let provider = given.provider.as_deref().unwrap_or(DEFAULT_PROVIDER);
    match (given.issuer, secret) {
        (Some(issuer), Some(secret)) => Ok(Some(Issuer::new(provider, &issuer, &secret, given.audience.as_deref())?)),
        (Some(_), None) => Err(ConfigurationError::Half("auth.jwt.issuer", "auth.jwt.secret or a secret file")),
        (None, Some(_)) => Err(ConfigurationError::Half("auth.jwt.secret", "auth.jwt.issuer")),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<File, ConfigurationError> {
        parse_file(Path::new("kalamdb.toml"), text)
    }

    fn flags(arguments: &[&str]) -> Flags {
        let words = ["kalamdb-server"].iter().chain(arguments);
        Flags::try_parse_from(words).unwrap_or_default()
    }

    #[test]
    fn defaults() {
        let Ok(configuration) = merge(Flags::default(), File::default(), None) else { panic!("no defaults") };
        assert_eq!(configuration.listen.to_string(), "127.0.0.1:5454");
        assert_eq!(configuration.data_dir, Path::new("./data"));
        assert!(configuration.system_login_from.iter().any(|network| network.contains(&IpAddr::from([127, 0, 0, 9]))));
        assert_eq!(configuration.connections_max, 1000);
        assert!(configuration.tls.is_none() && configuration.issuer.is_none());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let text = "listen = \"0.0.0.0:1\"\nmax_connections = 7\nmemory_limit = \"2GiB\"\n";
        let configuration = file(text).and_then(|file| merge(flags(&["--listen", "localhost:2"]), file, None));
        let Ok(configuration) = configuration else { panic!("{configuration:?}") };
        assert_eq!(configuration.listen.to_string(), "127.0.0.1:2");
        assert_eq!(configuration.connections_max, 7);
        assert_eq!(configuration.memory_limit_bytes, 2 << 30);
        assert!(!configuration.accept_log_damage);
        let accepts = |arguments: &[&str], text: &str| {
            let configuration = file(text).and_then(|file| merge(flags(arguments), file, None));
            configuration.is_ok_and(|configuration| configuration.accept_log_damage)
        };
        assert!(accepts(&["--accept-log-damage", "--listen", "localhost:2"], ""));
        assert!(accepts(&[], "accept_log_damage = true\n") && !accepts(&[], ""));
    }

    #[test]
    fn mistakes_are_named() {
        let message = |text: &str| {
            file(text)
                .and_then(|file| merge(Flags::default(), file, None))
                .map_or_else(|e| e.to_string(), |_| "fine".into())
        };
        let unknown = message("\nlisten = \"127.0.0.1:1\"\nport = 5\n");
        assert!(unknown.starts_with("kalamdb.toml:3: unknown key `port`"), "{unknown}");
        let unknown = message("[auth.jwt]\nsecrt = \"x\"\n");
        assert!(unknown.starts_with("kalamdb.toml:2: unknown key `secrt`"), "{unknown}");
        assert!(message("max_connections = \"many\"").starts_with("kalamdb.toml:1: invalid type"));
        assert_eq!(message("max_connections = 0"), "max_connections: \"0\" is not at least 1");
        assert!(message("listen = \"5454\"").starts_with("listen: \"5454\" is not an address and a port"));
        assert!(message("memory_limit = \"lots\"").starts_with("memory_limit: \"lots\" is not a size"));
        assert!(message("system_login_from = [\"10.0.0.0/33\"]").starts_with("system_login_from: \"10.0.0.0/33\""));
        assert_eq!(message("tls_cert = \"c\""), "tls_cert is given without tls_key");
        assert!(
            message("[auth.jwt]\nissuer = \"i\"\n").starts_with("auth.jwt.issuer is given without auth.jwt.secret")
        );
        assert!(message("[auth.jwt]\nsecret_file = \"/no/such\"\n").starts_with("cannot read the JWT secret file"));
    }

    #[test]
    fn a_secret_is_long_and_never_printed() {
        let secret = "hush".repeat(8);
        let text = format!("[auth.jwt]\nissuer = \"i\"\nsecret = \"{secret}\"\n");
        let merged = |secret: Option<&str>| {
            file(&text).and_then(|file| merge(Flags::default(), file, secret.map(str::to_string)))
        };
        let configuration = merged(None);
        assert!(configuration.as_ref().is_ok_and(|configuration| configuration.issuer.is_some()));
        assert!(!format!("{configuration:?}").contains("hush"));
        let short = merged(Some("short"));
        assert!(matches!(short, Err(ConfigurationError::Secret(_))), "the environment wins over the file");
    }

    #[test]
    fn sizes_and_networks() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("1 gb"), Ok(1 << 30));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("0").is_err() && size("-1").is_err() && size("99999999TB").is_err());
        assert_eq!(network("::1").map(|network| network.to_string()), Ok("::1/128".into()));
        assert!(network("10.1.0.0/16").is_ok_and(|network| network.contains(&IpAddr::from([10, 1, 2, 3]))));
    }

    #[test]
    fn the_flags_are_well_formed() {
        <Flags as clap::CommandFactory>::command().debug_assert();
    }
}
