//! Opening a data directory: whose it is, which format it has, where its history stands.
//!
//! The folder's format is in a file of its own, `VERSION`, because a newer engine may have written what this one
//! cannot even open; the same facts stand in the engine, where a copy of it keeps them.

use super::{KvKind, Options};
use crate::catalog::stored::{self, Format, Given, Last};
use crate::catalog::{Catalog, public};
use crate::definition::Change;
use crate::error::StoreError;
use crate::kv::memory::MemoryBackend;
use crate::kv::rocksdb::RocksDbBackend;
use crate::kv::{Batch, Family, StorageBackend, pairs};
use crate::segment::Segments;
use crate::txn::committer::Start;
use crate::txn::snapshot::Manifest;
use crate::txn::{Engine, Parts};
use kalamdb_commons::ids::FIRST_USER_OID;
use kalamdb_commons::{Seq, clock};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// The format of everything in a data directory. Raised by a change that an older server would read wrongly.
const FORMAT_VERSION: u32 = 1;
const VERSION_FILE: &str = "VERSION";
const VERSION_WORD: &str = "kalamdb data directory, format ";
const LOCK_FILE: &str = "LOCK";
const ROWS_FOLDER: &str = "rows";
const SEGMENTS_FOLDER: &str = "segments";
/// RocksDB's file that names the current index of its files; the last step of making a database writes it.
const ENGINE_ROOT: &str = "CURRENT";
/// What its other files end with: an opening that was cut short has none of them yet.
const ENGINE_FILES: [&str; 2] = ["sst", "log"];

/// Makes the folder, and those above it, if they are not there: for the server's own user alone. What is there keeps
/// its mode.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

pub(super) fn open(options: Options) -> Result<Arc<Engine>, StoreError> {
    let folder = options.data_dir.as_path();
    let (backend, lock): (Arc<dyn StorageBackend>, _) = match &options.kv {
        KvKind::RocksDb => {
            make_private(folder).map_err(|error| StoreError::io(folder, error))?;
            let lock = lock_folder(folder)?;
            check_version(folder)?;
            let rows = folder.join(ROWS_FOLDER);
            check_rows(folder, &rows)?;
            (Arc::new(RocksDbBackend::open(&rows, options.cache_bytes, options.accept_log_damage)?), Some(lock))
        }
        KvKind::Memory => (Arc::new(MemoryBackend::default()), None),
        KvKind::Faulty(disk) => (Arc::new(disk.open()), None),
    };
    let (format, start, given) = load(&*backend)?;
    let segments = Segments::local(folder, Uuid::from_u128(format.database), format.epoch)?;
    let parts = Parts {
        backend,
        segments,
        start,
        given,
        write_set_bytes_max: options.write_set_bytes_max,
        feed_bytes_max: options.feed_bytes_max,
        lock,
    };
    Engine::start(parts)
}

fn lock_folder(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| StoreError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(folder.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(StoreError::io(&path, error)),
    }
}

/// Refuses a newer format before anything else is looked at; writes the file in a new folder.
fn check_version(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(VERSION_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let number = text.strip_prefix(VERSION_WORD).and_then(|rest| rest.trim().parse().ok());
            let found: u32 =
                number.ok_or_else(|| StoreError::Damaged(format!("\"{}\" is unreadable", path.display())))?;
            if found > FORMAT_VERSION {
                return Err(StoreError::NewerFormat { found, supported: FORMAT_VERSION });
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if folder.join(ROWS_FOLDER).exists() {
                return Err(StoreError::Damaged(format!("\"{}\" is missing", path.display())));
            }
            write_version(&path, folder).map_err(|error| StoreError::io(&path, error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(StoreError::Damaged(format!("\"{}\" is unreadable", path.display())))
        }
        Err(error) => Err(StoreError::io(&path, error)),
    }
}

/// The engine makes a new database where it finds none of its own: it must not where one has been.
fn check_rows(folder: &Path, rows: &Path) -> Result<(), StoreError> {
    if rows.join(ENGINE_ROOT).exists() {
        return Ok(());
    }
    let has_files = match fs::read_dir(rows) {
        Ok(entries) => entries
            .flatten()
            .any(|entry| entry.path().extension().is_some_and(|end| ENGINE_FILES.iter().any(|known| end == *known))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => folder.join(SEGMENTS_FOLDER).exists(),
        Err(error) => return Err(StoreError::io(rows, error)),
    };
    if has_files {
        return Err(StoreError::Damaged(format!("\"{}\" is missing", rows.join(ENGINE_ROOT).display())));
    }
    Ok(())
}

fn write_version(path: &Path, folder: &Path) -> std::io::Result<()> {
    // Under another name first: a power loss must not leave half of it.
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{VERSION_WORD}{FORMAT_VERSION}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

/// What the engine holds, and what opening it changes: the epoch, and in a new one everything.
fn load(backend: &dyn StorageBackend) -> Result<(Format, Start, Given), StoreError> {
    let snapshot = backend.snapshot()?;
    let stored: Option<Format> = stored::get(&*snapshot, "the format", stored::FORMAT_KEY)?;
    let mut first = Batch::default();
    let mut catalog: Catalog = stored::load(&*snapshot)?;
    let format = match stored {
        Some(format) if format.version > FORMAT_VERSION => {
            return Err(StoreError::NewerFormat { found: format.version, supported: FORMAT_VERSION });
        }
        Some(format) => Format { epoch: format.epoch + 1, ..format },
        None => {
            let made = Change::PutNamespace(public(clock::now_us()));
            stored::write(&mut first, &made);
            catalog.apply(&made);
            Format { version: FORMAT_VERSION, database: Uuid::new_v4().as_u128(), epoch: 1 }
        }
    };
    first.epoch = format.epoch;
    // Places of generations that were never committed, or are gone.
    for (key, _) in pairs(&*snapshot, Family::Meta, b"q")? {
        if !stored::is_place_of(&key, &catalog) {
            first.delete(Family::Meta, key);
        }
    }
    first.put(Family::Meta, stored::FORMAT_KEY, stored::encode(&format));
    let mut last: Last = stored::get(&*snapshot, "the last commit", stored::LAST_KEY)?.unwrap_or_default();
    // A number above the last durable one may have been seen, by a client whose commit did not wait for the disk.
    let reserved: Seq = stored::get(&*snapshot, "the reserved positions", stored::RESERVED_KEY)?.unwrap_or_default();
    last.seq = last.seq.max(reserved);
    let given = stored::get(&*snapshot, "the given numbers", stored::GIVEN_KEY)?;
    let given = given.unwrap_or(Given { oid: FIRST_USER_OID, segment: 1 });
    let manifest = Manifest::load(&*snapshot)?;
    Ok((format, Start { epoch: format.epoch, last, catalog, manifest, first }, given))
}
