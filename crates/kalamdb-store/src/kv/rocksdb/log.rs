//! RocksDB's write-ahead log, read before RocksDB opens it.
//!
//! RocksDB replays a log up to the first record that it cannot read and drops the rest without a word. That is right
//! for the end of the log, where a crash cuts the last write short, and wrong for a damaged sector with acknowledged
//! commits behind it. The two are told apart here: damage with a whole record behind it is a loss, damage without one
//! is a torn end. The format is `db/log_format.h`'s: blocks of 32 KiB, records in fragments with a checksum each.

#[cfg(test)]
mod tests;

use crc::{CRC_32_ISCSI, Crc, Table};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

const BLOCK_LEN: usize = 32 << 10;
/// Checksum, length, kind.
const HEADER_LEN: usize = 7;
/// The same and the number of the log, in files that are used again.
const RECYCLABLE_HEADER_LEN: usize = 11;
/// What the checksum does not cover: itself and the length.
const UNCHECKED_LEN: usize = 6;
/// A batch begins with the sequence number of its first write and the number of its writes.
const BATCH_HEADER_LEN: usize = 12;
/// RocksDB changes checksums that are stored, because those of data with checksums in them are weak.
const MASK_DELTA: u32 = 0xa282_ead8;
/// The file that names the manifest.
const ROOT_FILE: &str = "CURRENT";

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// A record that cannot be read, with whole ones behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damage {
    /// The log.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// How many whole records stand behind it, in this log and the later ones.
    pub behind: u64,
}

/// What was found in the logs that RocksDB is going to replay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Finding {
    /// Nothing unusual.
    Sound,
    /// The last write was cut short.
    TornEnd(Damage),
    /// More than that.
    Lost(Damage),
}

/// Looks through the logs of a database.
///
/// # Errors
/// A file that cannot be read, with its name.
pub(super) fn examine(folder: &Path) -> Result<Finding, (PathBuf, std::io::Error)> {
    let mut replay = Replay::default();
    let oldest = oldest_needed(folder)?;
    for (number, path) in logs(folder)?.into_iter().filter(|(number, _)| *number >= oldest) {
        replay.begin(path.clone());
        read(&path, number, |piece| replay.piece(piece)).map_err(|error| (path, error))?;
        replay.end();
    }
    Ok(match replay.damage {
        None => Finding::Sound,
        Some(damage) if damage.behind == 0 => Finding::TornEnd(damage),
        Some(damage) => Finding::Lost(damage),
    })
}

/// The logs in a folder, oldest first.
fn logs(folder: &Path) -> Result<Vec<(u64, PathBuf)>, (PathBuf, std::io::Error)> {
    let failed = |error| (folder.to_path_buf(), error);
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|ending| ending == "log")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The number of the oldest log that still counts: what stands in those before it is in tables already. They are
/// deleted soon after, but a crash may come first. 0 (every log counts) where the manifest does not say.
fn oldest_needed(folder: &Path) -> Result<u64, (PathBuf, std::io::Error)> {
    let root = folder.join(ROOT_FILE);
    let name = match std::fs::read_to_string(&root) {
        Ok(name) => name,
        // RocksDB says it better than this could.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => return Ok(0),
        Err(error) => return Err((root, error)),
    };
    let path = folder.join(name.trim_end());
    let mut records = Records::keeping(usize::MAX);
    let mut oldest = 0;
    let mut readable = true;
    let outcome = read(&path, 0, |piece| match piece {
        Piece::Fragment(offset, part, content) if readable => {
            if records.add(offset, part, content).whole.is_some() {
                oldest = min_log_number(&records.content).unwrap_or(0).max(oldest);
            }
        }
        Piece::Fragment(..) => {}
        Piece::Unreadable(_) => readable = false,
    });
    match outcome {
        Ok(()) => Ok(oldest),
        // An empty name is the folder's.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(0),
        Err(error) => Err((path, error)),
    }
}

/// `kMinLogNumberToKeep` of an edit of the manifest (`db/version_edit.cc`). It stands before everything long.
fn min_log_number(edit: &[u8]) -> Option<u64> {
    const COMPARATOR: u64 = 1;
    const LOG_NUMBER: u64 = 2;
    const NEXT_FILE_NUMBER: u64 = 3;
    const PREV_LOG_NUMBER: u64 = 9;
    const MIN_LOG_NUMBER_TO_KEEP: u64 = 10;
    const MAX_COLUMN_FAMILY: u64 = 203;
    const DB_ID: u64 = (1 << 13) + 1;
    let mut rest = edit;
    loop {
        match varint(&mut rest)? {
            COMPARATOR | DB_ID => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(len..)?;
            }
            LOG_NUMBER | NEXT_FILE_NUMBER | PREV_LOG_NUMBER | MAX_COLUMN_FAMILY => {
                varint(&mut rest)?;
            }
            MIN_LOG_NUMBER_TO_KEEP => return varint(&mut rest),
            _ => return None,
        }
    }
}

/// Seven bits a byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Which part of a record a fragment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Whole,
    First,
    Middle,
    Last,
    /// No record: what the writer says about the file.
    Remark,
}

impl Part {
    fn of(kind: u8) -> Self {
        match kind {
            1 | 5 => Part::Whole,
            2 | 6 => Part::First,
            3 | 7 => Part::Middle,
            4 | 8 => Part::Last,
            _ => Part::Remark,
        }
    }
}

/// What stands in a file, each with its offset.
enum Piece<'a> {
    Fragment(u64, Part, &'a [u8]),
    Unreadable(u64),
}

/// Reads a file of fragments. Behind one that is damaged its length cannot be trusted: the next one is looked for at
/// each byte, which RocksDB does not do.
fn read(path: &Path, number: u64, mut seen: impl FnMut(Piece<'_>)) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK_LEN];
    let mut base = 0;
    loop {
        let len = fill(&mut file, &mut block)?;
        let mut at = 0;
        while at < len {
            let rest = &block[at..len];
            let offset = base + at as u64;
            if let Some((part, content)) = fragment(rest, number) {
                let next = at + content.end;
                seen(Piece::Fragment(offset, part, &rest[content]));
                at = next;
            } else if len == BLOCK_LEN && is_padding(rest) {
                break;
            } else {
                seen(Piece::Unreadable(offset));
                let begins = |at: &usize| {
                    // The kind first: it is cheaper than a checksum.
                    let kind = block.get(*at + UNCHECKED_LEN).map(|kind| Part::of(*kind));
                    matches!(kind, Some(Part::Whole | Part::First)) && fragment(&block[*at..len], number).is_some()
                };
                at = (at + 1..len).find(begins).unwrap_or(len);
            }
        }
        if len < BLOCK_LEN {
            return Ok(());
        }
        base += BLOCK_LEN as u64;
    }
}

fn fill(file: &mut File, block: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match file.read(&mut block[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The end of a block that is too short for a header.
fn is_padding(rest: &[u8]) -> bool {
    rest.len() < HEADER_LEN || (rest.len() < RECYCLABLE_HEADER_LEN && rest.iter().all(|byte| *byte == 0))
}

/// The fragment that begins here, if its checksum is right, and where its content is.
fn fragment(bytes: &[u8], number: u64) -> Option<(Part, Range<usize>)> {
    let (stored, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let kind = *rest.first()?;
    let header_len = match kind {
        // A file that was made longer in advance.
        0 => return None,
        5..=8 | 11 | 131 => RECYCLABLE_HEADER_LEN,
        _ => HEADER_LEN,
    };
    let end = header_len + usize::from(u16::from_le_bytes(*length));
    let checked = bytes.get(UNCHECKED_LEN..end)?;
    if header_len == RECYCLABLE_HEADER_LEN && checked.get(1..5)? != (number as u32).to_le_bytes() {
        return None;
    }
    (masked(CRC32C.checksum(checked)) == u32::from_le_bytes(*stored)).then_some((Part::of(kind), header_len..end))
}

fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// Puts fragments together.
struct Records {
    /// Of a record no more bytes than these are kept.
    keep: usize,
    content: Vec<u8>,
    /// Where the record began that has not ended yet.
    begun: Option<u64>,
}

#[derive(Default)]
struct Added {
    /// A record that began here does not go on.
    broken: Option<u64>,
    /// The record that began here is whole, and is the content now.
    whole: Option<u64>,
}

impl Records {
    fn keeping(keep: usize) -> Self {
        Self { keep, content: Vec::new(), begun: None }
    }

    fn add(&mut self, offset: u64, part: Part, content: &[u8]) -> Added {
        match part {
            Part::Remark => Added::default(),
            Part::Whole | Part::First => {
                // Old writers began a record with nothing at the end of a block, and began it again in the next.
                let broken = self.begun.take().filter(|_| !self.content.is_empty());
                self.content.clear();
                self.extend(content);
                if part == Part::First {
                    self.begun = Some(offset);
                    return Added { broken, whole: None };
                }
                Added { broken, whole: Some(offset) }
            }
            Part::Middle | Part::Last => {
                let Some(begun) = self.begun else { return Added { broken: Some(offset), whole: None } };
                self.extend(content);
                if part == Part::Middle {
                    return Added::default();
                }
                self.begun = None;
                Added { broken: None, whole: Some(begun) }
            }
        }
    }

    fn extend(&mut self, content: &[u8]) {
        let room = self.keep - self.content.len();
        self.content.extend_from_slice(&content[..room.min(content.len())]);
    }
}

/// What a replay of the logs would meet.
struct Replay {
    records: Records,
    file: PathBuf,
    /// The sequence number that the next record has to have.
    next: Option<u64>,
    /// The first one.
    damage: Option<Damage>,
}

impl Default for Replay {
    fn default() -> Self {
        Self { records: Records::keeping(BATCH_HEADER_LEN), file: PathBuf::new(), next: None, damage: None }
    }
}

impl Replay {
    fn begin(&mut self, file: PathBuf) {
        self.file = file;
    }

    fn end(&mut self) {
        if let Some(begun) = self.records.begun.take() {
            self.damaged(begun);
        }
    }

    fn piece(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Unreadable(offset) => {
                self.records.begun = None;
                self.damaged(offset);
            }
            Piece::Fragment(offset, part, content) => {
                let added = self.records.add(offset, part, content);
                if let Some(broken) = added.broken {
                    self.damaged(broken);
                }
                if let Some(whole) = added.whole {
                    self.record(whole);
                }
            }
        }
    }

    fn damaged(&mut self, offset: u64) {
        let file = &self.file;
        self.damage.get_or_insert_with(|| Damage { file: file.clone(), offset, behind: 0 });
    }

    fn record(&mut self, offset: u64) {
        let Some((sequence, count)) = batch_header(&self.records.content) else {
            return self.damaged(offset);
        };
        let after = sequence.saturating_add(u64::from(count));
        match &mut self.damage {
            None => self.next = Some(after),
            // One without writes is how RocksDB begins a log after it has cut the one before.
            Some(_) if count == 0 => {}
            // The log before was cut here already, or lost nothing: RocksDB goes on too.
            Some(damage) if damage.behind == 0 && damage.file != self.file && self.next == Some(sequence) => {
                self.damage = None;
                self.next = Some(after);
            }
            // An older one is what was in the file's blocks before.
            Some(_) if self.next.is_some_and(|next| sequence < next) => {}
            Some(damage) => damage.behind += 1,
        }
    }
}

fn batch_header(content: &[u8]) -> Option<(u64, u32)> {
    let (sequence, rest) = content.split_first_chunk::<8>()?;
    let (count, _) = rest.split_first_chunk::<4>()?;
    Some((u64::from_le_bytes(*sequence), u32::from_le_bytes(*count)))
}
