//! The user that the first start creates, and the command that logs in as it.
//!
//! The password file is written before the user exists: a crash between the two leaves a file that the next start,
//! still the first, replaces, and never a user whose password nobody knows.

use kalamdb_commons::SqlError;
use kalamdb_core::Database;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The variable that gives root's password, read by the first start only.
const PASSWORD_VARIABLE: &str = "KALAMDB_ROOT_PASSWORD";
/// The file in the data directory that holds a generated password, as libpq reads it.
const PASSWORD_FILE: &str = "root.pgpass";
/// A generated password's length: 24 of 62 characters are 142 bits.
const PASSWORD_CHARACTERS: usize = 24;

/// Why root could not be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstStartError {
    /// The password file.
    #[error("cannot write {}: {why}", path.display())]
    PasswordFile { path: PathBuf, why: io::Error },
    /// The user.
    #[error("cannot create the user \"root\": {}", .0.message())]
    Root(SqlError),
    /// The variable is set to nothing.
    #[error("{PASSWORD_VARIABLE} is empty")]
    EmptyPassword,
}

/// Creates root at the first start, with the password of the environment or a generated one.
///
/// # Errors
/// When the password file or the user cannot be written.
pub(crate) async fn bootstrap(database: &Database, data_dir: &Path) -> Result<(), FirstStartError> {
    let given = std::env::var(PASSWORD_VARIABLE).ok();
    if !database.needs_bootstrap() {
        if given.is_some() {
            tracing::info!("{PASSWORD_VARIABLE} is ignored: the user \"root\" exists");
        }
        return Ok(());
    }
    let password = match given {
        Some(given) if given.is_empty() => return Err(FirstStartError::EmptyPassword),
        Some(given) => given,
        None => {
            let password = generate();
            let path = data_dir.join(PASSWORD_FILE);
            write_password_file(&path, &password)
                .map_err(|why| FirstStartError::PasswordFile { path: path.clone(), why })?;
            tracing::info!(path = %path.display(), "a password for \"root\" was generated");
            password
        }
    };
    database.bootstrap(&password).await.map_err(FirstStartError::Root)?;
    tracing::info!("the user \"root\" was created");
    Ok(())
}

fn generate() -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..PASSWORD_CHARACTERS).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())])).collect()
}

fn write_password_file(path: &Path, password: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // An older file keeps the mode it had; libpq ignores one that others can read.
    file.set_permissions(Permissions::from_mode(0o600))?;
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    writeln!(file, "*:*:*:root:{escaped}")?;
    file.sync_all()
}

/// A psql command that logs in as root when pasted into a shell on this machine.
pub(crate) fn psql_command(address: SocketAddr, data_dir: &Path) -> String {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        IpAddr::V4(_) => "127.0.0.1".to_string(),
        IpAddr::V6(_) => "::1".to_string(),
    };
    let file = data_dir.join(PASSWORD_FILE);
    let file = std::path::absolute(&file).unwrap_or(file);
    let secret = if file.exists() { format!("PGPASSFILE={} ", quoted(&file.to_string_lossy())) } else { String::new() };
    format!("{secret}psql -h {host} -p {} -U root -d kalamdb", address.port())
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_survives_a_shell() {
        let nowhere = Path::new("/no/such/place");
        let address: SocketAddr = ([0, 0, 0, 0], 5454).into();
        assert_eq!(psql_command(address, nowhere), "psql -h 127.0.0.1 -p 5454 -U root -d kalamdb");
        assert_eq!(quoted("/var/lib/kalamdb/root.pgpass"), "/var/lib/kalamdb/root.pgpass");
        assert_eq!(quoted("/home/it's me/x"), "'/home/it'\\''s me/x'");
    }

    #[test]
    fn generated_passwords_differ_and_need_no_quoting() {
        let (one, other) = (generate(), generate());
        assert_eq!(one.len(), PASSWORD_CHARACTERS);
        assert_ne!(one, other);
        assert_eq!(quoted(&one), one);
    }

    #[test]
    fn the_password_file_is_the_owners_alone() {
        let path = std::env::temp_dir().join(format!("kalamdb-{}.pgpass", std::process::id()));
        assert!(std::fs::write(&path, "old").is_ok());
        assert!(write_password_file(&path, "a:b\\c").is_ok());
        let mode = std::fs::metadata(&path).map(|facts| facts.permissions().mode() & 0o777);
        assert_eq!(mode.ok(), Some(0o600));
        assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some("*:*:*:root:a\\:b\\\\c\n"));
        assert!(std::fs::remove_file(&path).is_ok());
    }
}
