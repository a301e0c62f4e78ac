//! Logs in RocksDB's format, whole, cut short and damaged.

use super::super::RocksDbBackend;
use super::*;
use crate::kv::{Batch, Durability, Family, Key, KvError, ScanSize, StorageBackend};
use proptest::collection::vec;
use proptest::test_runner::TestRunner;

/// As RocksDB writes them: each record has one write more than the one before had writes in all.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Where each record begins and ends.
    records: Vec<Range<usize>>,
}

impl Writer {
    fn fragment(&mut self, kind: u8, content: &[u8]) {
        let checked: Vec<u8> = [kind].iter().chain(content).copied().collect();
        self.bytes.extend(masked(CRC32C.checksum(&checked)).to_le_bytes());
        self.bytes.extend((content.len() as u16).to_le_bytes());
        self.bytes.extend(checked);
    }

    fn record(&mut self, sequence: u64, count: u32, filler: usize) {
        let mut content = sequence.to_le_bytes().to_vec();
        content.extend(count.to_le_bytes());
        content.extend((0..filler).map(|at| (at % 251) as u8));
        let mut rest = content.as_slice();
        let mut first = true;
        let mut start = None;
        loop {
            let left = BLOCK_LEN - self.bytes.len() % BLOCK_LEN;
            if left < HEADER_LEN {
                self.bytes.extend(std::iter::repeat_n(0, left));
                continue;
            }
            start.get_or_insert(self.bytes.len());
            let (now, later) = rest.split_at(rest.len().min(left - HEADER_LEN));
            let kind = match (first, later.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            self.fragment(kind, now);
            if later.is_empty() {
                break;
            }
            (rest, first) = (later, false);
        }
        self.records.push(start.unwrap_or_default()..self.bytes.len());
    }
}

/// Logs of one write a record, numbered on from file to file.
fn logs_of(fillers: &[Vec<usize>]) -> Vec<Writer> {
    let mut sequence = 1;
    let write = |fillers: &Vec<usize>| {
        let mut log = Writer::default();
        for filler in fillers {
            log.record(sequence, 1, *filler);
            sequence += 1;
        }
        log
    };
    fillers.iter().map(write).collect()
}

fn folder_of(logs: &[Writer]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (at, log) in logs.iter().enumerate() {
        std::fs::write(path_of(folder.path(), at), &log.bytes).expect("a file");
    }
    folder
}

fn path_of(folder: &Path, at: usize) -> PathBuf {
    folder.join(format!("{:06}.log", at + 4))
}

fn found(logs: &[Writer]) -> Finding {
    examine(folder_of(logs).path()).expect("readable files")
}

#[test]
fn checksums_are_the_standards() {
    // RFC 3720, B.4.
    assert_eq!(CRC32C.checksum(&[0; 32]), 0x8A91_36AA);
    assert_eq!(CRC32C.checksum(&[0xFF; 32]), 0x62A8_AB43);
    assert_eq!(CRC32C.checksum(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
    assert_eq!(CRC32C.checksum(b"123456789"), 0xE306_9283);
}

#[test]
fn whole_logs_are_sound() {
    assert_eq!(examine(Path::new("/no/such/folder")).expect("nothing"), Finding::Sound);
    assert_eq!(found(&[]), Finding::Sound);
    assert_eq!(found(&logs_of(&[vec![]])), Finding::Sound);
    // Every length of what is left at a block's end.
    for left in 0..16 {
        let fillers = vec![BLOCK_LEN - HEADER_LEN - BATCH_HEADER_LEN - left, 5, 3 * BLOCK_LEN, 0, 40_000, 1];
        assert_eq!(found(&logs_of(&[fillers.clone(), vec![], fillers])), Finding::Sound, "{left}");
    }
}

/// Any bit, anywhere: it is a loss exactly when a record stands behind the one that it hits.
#[test]
fn a_flipped_bit() {
    let fillers = vec(vec(0..70_000_usize, 0..5), 1..4);
    let strategy = (fillers, 0..u64::MAX, 0..8_u32);
    TestRunner::default()
        .run(&strategy, |(fillers, place, bit)| {
            let mut logs = logs_of(&fillers);
            let total: usize = logs.iter().map(|log| log.bytes.len()).sum();
            if total == 0 {
                return Ok(());
            }
            let mut place = (place % total as u64) as usize;
            let mut file = 0;
            while place >= logs[file].bytes.len() {
                place -= logs[file].bytes.len();
                file += 1;
            }
            logs[file].bytes[place] ^= 1 << bit;
            let hit = logs[file].records.iter().position(|record| record.contains(&place));
            // What fills the end of a block means nothing, but inside a record it stands between fragments.
            let behind = hit.map(|hit| {
                let here = logs[file].records.len() - hit - 1;
                here + logs[file + 1..].iter().map(|log| log.records.len()).sum::<usize>()
            });
            match (found(&logs), behind) {
                (Finding::Sound, None) => {}
                (Finding::Sound, Some(_)) => {
                    let block_end = BLOCK_LEN - place % BLOCK_LEN;
                    assert!(block_end < HEADER_LEN, "{place} was not noticed");
                }
                (Finding::TornEnd(damage), Some(0)) => assert_eq!(damage.behind, 0),
                (Finding::Lost(damage), Some(behind)) => {
                    assert_eq!(damage.behind, behind as u64);
                    assert!(damage.offset <= place as u64);
                    assert_eq!(damage.file.file_name(), path_of(Path::new(""), file).file_name());
                }
                other => panic!("{other:?} in file {file} at {place}"),
            }
            Ok(())
        })
        .expect("every flip");
}

#[test]
fn a_torn_end() {
    let fillers = [vec![10, 40_000, 3], vec![100, 70_000]];
    let whole = logs_of(&fillers);
    let last = whole[1].records[1].clone();
    for cut in [last.start + 1, last.start + 6, last.start + 20, last.start + BLOCK_LEN, last.end - 1] {
        let mut logs = logs_of(&fillers);
        logs[1].bytes.truncate(cut);
        assert!(matches!(found(&logs), Finding::TornEnd(_)), "cut at {cut}");
        // Its later pages reached the disk, its first did not.
        let mut logs = logs_of(&fillers);
        logs[1].bytes[last.start..last.start + 4096].fill(0);
        assert!(matches!(found(&logs), Finding::TornEnd(_)));
        // The file was made longer before the data came.
        let mut logs = logs_of(&fillers);
        logs[1].bytes.truncate(cut);
        logs[1].bytes.resize(cut + 100_000, 0);
        assert!(matches!(found(&logs), Finding::TornEnd(_)));
        // A newer log without records, and one that was opened after the cut and goes on where it was.
        let mut logs = logs_of(&fillers);
        logs[1].bytes.truncate(cut);
        logs.push(Writer::default());
        assert!(matches!(found(&logs), Finding::TornEnd(_)));
        logs[2].record(5, 0, 0);
        assert!(matches!(found(&logs), Finding::TornEnd(_)));
        logs[2].record(5, 2, 10);
        assert_eq!(found(&logs), Finding::Sound);
        // One that needs what was cut.
        logs[2] = Writer::default();
        logs[2].record(6, 1, 10);
        let Finding::Lost(damage) = found(&logs) else { panic!("record 5 is lost") };
        assert_eq!((damage.file.file_name(), damage.behind), (path_of(Path::new(""), 1).file_name(), 1));
    }
    let mut logs = logs_of(&fillers);
    let end = logs[1].bytes.len();
    logs[1].bytes.resize(end + 100_000, 0);
    assert!(!matches!(found(&logs), Finding::Lost(_)), "zeros behind the end are no damage");
}

/// Nothing wrong with what remains, but a sector of zeros between.
#[test]
fn a_lost_sector() {
    let mut logs = logs_of(&[vec![600; 40]]);
    logs[0].bytes[1024..1536].fill(0);
    let Finding::Lost(damage) = found(&logs) else { panic!("a record is lost") };
    assert!(damage.behind >= 35, "{damage:?}");
}

/// What RocksDB does not replay does not matter.
#[test]
fn logs_that_are_not_needed() {
    let mut logs = logs_of(&[vec![10, 20, 30], vec![40]]);
    logs[0].bytes[20] ^= 1;
    let folder = folder_of(&logs);
    let mut manifest = Writer::default();
    // A comparator, a log number, the oldest log that is needed (5), and a table that is not read.
    manifest.fragment(1, &[1, 3, b'a', b'b', b'c', 2, 9, 10, 5, 103, 0xFF]);
    manifest.fragment(1, &[3, 0x80, 1]);
    std::fs::write(folder.path().join("MANIFEST-000003"), &manifest.bytes).expect("a file");
    assert!(matches!(examine(folder.path()), Ok(Finding::Lost(_))));
    std::fs::write(folder.path().join("CURRENT"), "MANIFEST-000003\n").expect("a file");
    assert_eq!(examine(folder.path()).expect("readable files"), Finding::Sound);
}

/// RocksDB's own.
#[test]
fn the_engine_is_asked_to_replay_whole_logs_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |accept| RocksDbBackend::open(folder.path(), 8 << 20, accept);
    let rows = |backend: &RocksDbBackend| {
        let snapshot = backend.snapshot().expect("a snapshot");
        let mut cursor = snapshot.scan(Family::Rows, b"", None, ScanSize::Short).expect("a scan");
        let mut count = 0;
        while cursor.current().is_some() {
            count += 1;
            cursor.advance().expect("the next one");
        }
        count
    };
    let write = |backend: &RocksDbBackend, from: u32, to: u32| {
        for row in from..to {
            let mut batch = Batch::default();
            batch.put(Family::Rows, Key::from(&row.to_be_bytes()[..]), vec![row as u8; 500]);
            batch.put(Family::Indexes, Key::from(&row.to_be_bytes()[..]), Vec::<u8>::new());
            backend.apply(&batch, Durability::Synced).expect("a write");
        }
    };
    let backend = open(false).expect("a new one");
    write(&backend, 0, 300);
    drop(backend);
    assert_eq!(examine(folder.path()).expect("readable files"), Finding::Sound);
    let newest = || {
        let logs = logs(folder.path()).expect("readable files");
        let filled = logs.into_iter().rev().find(|(_, path)| path.metadata().is_ok_and(|file| file.len() > 0));
        filled.expect("a log").1
    };
    // The last write was cut short: it is gone, and nothing else.
    let log = newest();
    let bytes = std::fs::read(&log).expect("a log");
    std::fs::write(&log, &bytes[..bytes.len() - 3]).expect("a log");
    let backend = open(false).expect("a torn end is forgiven");
    assert_eq!(rows(&backend), 299);
    write(&backend, 299, 600);
    drop(backend);
    assert_eq!(examine(folder.path()).expect("readable files"), Finding::Sound);
    // A bit in the middle.
    let log = newest();
    let mut bytes = std::fs::read(&log).expect("a log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&log, &bytes).expect("a log");
    let Err(KvError::LogDamaged { file, offset, behind }) = open(false) else { panic!("commits are lost") };
    assert_eq!(file, log);
    assert!(offset <= middle as u64 && behind > 100, "{offset} {behind}");
    let backend = open(true).expect("it was accepted");
    let left = rows(&backend);
    assert!((300..500).contains(&left), "{left}");
    write(&backend, 1000, 1010);
    drop(backend);
    assert_eq!(rows(&open(false).expect("it is whole again")), left + 10);
}
