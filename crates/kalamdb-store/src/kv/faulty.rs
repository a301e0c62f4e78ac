//! An engine on a disk that can lose power, for tests.
//!
//! The [`FaultyDisk`] is what survives: only what was synced before [`FaultyDisk::crash`]. Each opening of it is a
//! new engine; the ones opened before a crash are gone, as a killed process is.

use super::memory::{Image, MemoryBackend};
use super::{Batch, Durability, Family, KvError, Snapshot, StorageBackend};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// The disk of a machine that fails on command.
#[derive(Default)]
pub struct FaultyDisk {
    state: Mutex<Disk>,
}

#[derive(Default)]
struct Disk {
    durable: Image,
    crashes: u64,
    writes: u64,
    syncs: u64,
    failing_writes: bool,
    failing_syncs: bool,
}

impl FaultyDisk {
    /// Power loss: everything not synced is gone, and so are the engines opened so far.
    pub fn crash(&self) {
        let mut disk = self.state.lock();
        disk.crashes += 1;
        disk.failing_writes = false;
        disk.failing_syncs = false;
    }
    /// From now on (or no longer) a write fails, before anything of it is stored.
    pub fn fail_writes(&self, failing: bool) {
        self.state.lock().failing_writes = failing;
    }
    /// From now on (or no longer) an fsync fails: the write is in memory and will be lost.
    pub fn fail_syncs(&self, failing: bool) {
        self.state.lock().failing_syncs = failing;
    }
    /// How many batches were applied.
    pub fn writes(&self) -> u64 {
        self.state.lock().writes
    }
    /// How many fsyncs completed.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }
    /// An engine over what is on the disk.
    pub fn open(self: &Arc<Self>) -> FaultyBackend {
        let disk = self.state.lock();
        let live = MemoryBackend::from_image(disk.durable.clone());
        FaultyBackend { disk: self.clone(), boot: disk.crashes, live }
    }
}

/// One opening of a [`FaultyDisk`].
pub struct FaultyBackend {
    disk: Arc<FaultyDisk>,
    boot: u64,
    live: MemoryBackend,
}

impl FaultyBackend {
    fn disk(&self) -> Result<parking_lot::MutexGuard<'_, Disk>, KvError> {
        let disk = self.disk.state.lock();
        if disk.crashes == self.boot { Ok(disk) } else { Err(KvError::Gone) }
    }
}

impl StorageBackend for FaultyBackend {
    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), KvError> {
        {
            let mut disk = self.disk()?;
            if disk.failing_writes {
                return Err(KvError::Io("the disk refused a write".to_string()));
            }
            disk.writes += 1;
            self.live.apply(batch, durability)?;
        }
        if durability == Durability::Synced { self.sync() } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), KvError> {
        let mut disk = self.disk()?;
        if disk.failing_syncs {
            return Err(KvError::Io("the disk refused an fsync".to_string()));
        }
        disk.syncs += 1;
        disk.durable = self.live.image();
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, KvError> {
        let _up = self.disk()?;
        self.live.snapshot()
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), KvError> {
        self.live.checkpoint(folder)
    }

    fn size(&self, family: Family, start: &[u8], end: &[u8]) -> u64 {
        self.live.size(family, start, end)
    }

    fn stats(&self) -> Vec<(&'static str, i64, &'static str)> {
        Vec::new()
    }
}
