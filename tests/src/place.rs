//! Where things are: the repository, the built server, a free port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_path_buf()
}

/// The built `kalamdb-server`: beside the test binaries, or where `KALAMDB_SERVER` says.
///
/// # Panics
/// When it was not built: `make test` does so first.
pub fn server_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KALAMDB_SERVER") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a program has a path");
    // <target>/<profile>/deps/<test>, or <target>/<profile>/<program>
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("kalamdb-server")).find(|path| path.exists());
    beside.unwrap_or_else(|| panic!("kalamdb-server is not built: cargo build --workspace"))
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Whether a program can be run.
pub fn has_program(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
}
