//! What a transaction wants to change, ordered by key, before anybody else sees it.
//!
//! A key has one version for each time it was written, with the number of the statement that did; a reader sees the
//! versions of lower numbers only, so a statement never meets its own work. What goes back to a savepoint is undone
//! from a journal. Rows are kept whole, with room for `_seq` and `_updated` that the committer fills in.

use super::read_view::Place;
use crate::definition::{Partition, TableDef};
use crate::kv::{Family, Key};
use bytes::Bytes;
use kalamdb_commons::ids::UserId;
use kalamdb_commons::{Scope, Seq, TableId, TableType};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// What an entry costs besides its key and rows: tree node, journal, lock.
pub(super) const ENTRY_BYTES: usize = 256;
/// A STREAM row's expiry, behind the stored row.
pub(crate) const EXPIRY_LEN: usize = 8;

/// A transaction's changes of rows.
#[derive(Default)]
pub(crate) struct WriteSet {
    pub rows: BTreeMap<Key, Entry>,
    pub tables: FxHashMap<TableId, TableWrites>,
    /// Committed tombstones that go: by restore or purge. The statements that took them, ascending.
    pub tombstones: BTreeMap<Key, Vec<u32>>,
    /// Index entries by their full keys: see [`super::index`].
    pub entries: BTreeMap<Key, Vec<EntryVersion>>,
    /// Tables that were emptied, and by which statement.
    pub truncated: Vec<(TableId, u32)>,
    journal: Vec<Undo>,
}

/// What the committer has to know of a table that is written.
#[derive(Clone, Debug)]
pub(crate) struct TableWrites {
    /// The schema version that the rows were made for; `None` for a table of the transaction's own making.
    pub schema_version: Option<u32>,
    /// The least number by which a place of it was looked up; `None` when no place was.
    pub place_number: Option<u64>,
    pub family: Family,
    pub per_user: bool,
    /// STREAM: how long a row lives.
    pub ttl_us: Option<i64>,
    /// Whether a removed row leaves a tombstone.
    pub buries: bool,
    /// Whether the changes are nobody's business: a rewrite that changes no row's content.
    pub silent: bool,
}

/// The committed row that an entry replaces.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub row: Bytes,
    pub seq: Seq,
    pub place: Place,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Entry {
    pub table: TableId,
    pub base: Option<Base>,
    /// In the order of their statements; never empty outside this file.
    pub versions: Vec<Version>,
}

/// One writing of a key.
#[derive(Debug)]
pub(crate) struct Version {
    pub statement: u32,
    /// `None`: removed.
    pub row: Option<Vec<u8>>,
    /// Removed without a tombstone.
    pub purged: bool,
    /// Put back from the transaction's own tombstone.
    pub restores_own: bool,
}

/// One writing of an index entry.
#[derive(Debug)]
pub(crate) struct EntryVersion {
    pub statement: u32,
    /// `None`: removed.
    pub value: Option<Bytes>,
}

/// What a view that sees statements below `below` finds of an entry: `None` says nothing of it, `Some(None)` that it
/// is removed.
pub(crate) fn entry_seen(versions: &[EntryVersion], below: u32, emptied: u32) -> Option<Option<&Bytes>> {
    let version = versions.iter().rev().find(|version| version.statement < below)?;
    Some(version.value.as_ref().filter(|_| version.statement >= emptied))
}

enum Undo {
    Row(Key),
    Entry(Key),
    Tombstone(Key),
    Truncate,
}

/// What a reader sees of a key in a write set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen<'a> {
    /// Nothing: look at the committed rows.
    Nothing,
    /// It is removed.
    Gone,
    /// A row, and the statement that wrote it.
    Row(&'a [u8], u32),
}

impl TableWrites {
    pub fn of(def: &TableDef, schema_version: Option<u32>) -> Self {
        let stream = def.kind == TableType::Stream;
        Self {
            schema_version,
            place_number: None,
            family: family_of(def),
            per_user: def.is_per_user(),
            ttl_us: def.options.ttl_seconds.filter(|_| stream).map(|seconds| i64::from(seconds) * 1_000_000),
            buries: !stream && def.options.deleted_retention_hours > 0,
            silent: false,
        }
    }
}

/// Where a table's live rows are.
pub(crate) fn family_of(def: &TableDef) -> Family {
    if def.kind == TableType::Stream { Family::Streams } else { Family::Rows }
}

/// The full key of a row.
pub(crate) fn full_key(partition: &Partition, key: &[u8]) -> Key {
    let mut full = crate::codec::key::prefix(partition.table.id, partition.scope);
    full.extend_from_slice(key);
    full.into()
}

/// Scope and key of a full key.
pub(crate) fn split_key(full: &[u8], per_user: bool) -> (Scope, &[u8]) {
    let rest = full.get(4..).unwrap_or_default();
    match rest.split_first_chunk::<4>() {
        Some((user, key)) if per_user => (Scope::User(UserId(u32::from_be_bytes(*user))), key),
        _ => (Scope::Shared, rest),
    }
}

impl Entry {
    /// What a view that sees statements below `below` finds; `emptied`: the statement that emptied the table last.
    pub fn seen(&self, below: u32, emptied: u32) -> Seen<'_> {
        match self.versions.iter().rev().find(|version| version.statement < below) {
            Some(version) if version.statement >= emptied => match &version.row {
                Some(row) => Seen::Row(row, version.statement),
                None => Seen::Gone,
            },
            Some(_) => Seen::Gone,
            None => Seen::Nothing,
        }
    }

    /// The tombstone that it has made for a view, if any: see [`Entry::outcome`].
    pub fn buried(&self, below: u32, emptied: u32) -> Option<&[u8]> {
        let base = self.base.as_ref().filter(|_| emptied == 0)?;
        let mut row: Option<&[u8]> = Some(&base.row);
        let mut buried = None;
        let mut committed = true;
        for version in self.versions.iter().filter(|version| version.statement < below) {
            match &version.row {
                Some(new) => {
                    if version.restores_own {
                        buried = None;
                        committed = true;
                    }
                    row = Some(new);
                }
                None => {
                    if committed && !version.purged {
                        buried = row;
                    }
                    committed = false;
                    row = None;
                }
            }
        }
        buried
    }
}

/// What an entry comes to at COMMIT.
pub(crate) struct Outcome {
    /// The committed row it replaces or removes.
    pub base: Option<Base>,
    /// Whether that row was removed, even if the key has a row again.
    pub removed: bool,
    /// The removed row as it is kept.
    pub buried: Option<Vec<u8>>,
    /// The row that the key has.
    pub row: Option<Vec<u8>>,
}

impl Entry {
    /// The net effect. A committed row that was deleted leaves one tombstone, with its last content; a row that came
    /// and went inside the transaction leaves nothing, since nobody ever saw it.
    pub fn outcome(mut self, emptied: u32) -> Outcome {
        if emptied > 0 {
            self.base = None;
            self.versions.retain(|version| version.statement >= emptied);
        }
        let (mut removed, mut buried) = (false, None);
        let mut committed = self.base.is_some();
        let mut row: Option<Vec<u8>> = None;
        for version in self.versions {
            match version.row {
                Some(new) => {
                    if version.restores_own {
                        (removed, buried, committed) = (false, None, true);
                    }
                    row = Some(new);
                }
                None => {
                    let old = row.take();
                    if committed {
                        removed = true;
                        if !version.purged {
                            buried = old.or_else(|| self.base.as_ref().map(|base| base.row.to_vec()));
                        }
                    }
                    committed = false;
                }
            }
        }
        Outcome { base: self.base, removed, buried, row }
    }
}

impl WriteSet {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.entries.is_empty() && self.tombstones.is_empty() && self.truncated.is_empty()
    }

    /// The statement that emptied a table last, as a view sees it; 0 when none did.
    pub fn emptied(&self, table: TableId, below: u32) -> u32 {
        let of = |(id, statement): &&(TableId, u32)| *id == table && *statement < below;
        self.truncated.iter().rev().find(of).map_or(0, |(_, statement)| *statement)
    }

    /// What a view finds at a key.
    pub fn seen(&self, table: TableId, key: &[u8], below: u32) -> Seen<'_> {
        let emptied = self.emptied(table, below);
        match self.rows.get(key).map(|entry| entry.seen(below, emptied)) {
            Some(Seen::Nothing) | None if emptied > 0 => Seen::Gone,
            Some(seen) => seen,
            None => Seen::Nothing,
        }
    }

    /// Writes a key.
    pub fn write(&mut self, key: Key, table: TableId, base: Option<Base>, version: Version) {
        self.journal.push(Undo::Row(key.clone()));
        let entry = self.rows.entry(key).or_insert_with(|| Entry { table, base, versions: Vec::with_capacity(1) });
        entry.versions.push(version);
    }

    /// Writes an index entry.
    pub fn write_entry(&mut self, key: Key, statement: u32, value: Option<Bytes>) {
        self.journal.push(Undo::Entry(key.clone()));
        self.entries.entry(key).or_default().push(EntryVersion { statement, value });
    }

    /// Takes a committed tombstone away.
    pub fn unbury(&mut self, key: Key, statement: u32) {
        self.journal.push(Undo::Tombstone(key.clone()));
        self.tombstones.entry(key).or_default().push(statement);
    }

    /// Empties a table.
    pub fn truncate(&mut self, table: TableId, statement: u32) {
        self.journal.push(Undo::Truncate);
        self.truncated.push((table, statement));
    }

    /// How far it is.
    pub fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Goes back to a mark.
    pub fn undo(&mut self, mark: usize) {
        while self.journal.len() > mark {
            match self.journal.pop() {
                Some(Undo::Row(key)) => {
                    if let Some(entry) = self.rows.get_mut(&key) {
                        entry.versions.pop();
                        if entry.versions.is_empty() {
                            self.rows.remove(&key);
                        }
                    }
                }
                Some(Undo::Entry(key)) => {
                    if let Some(versions) = self.entries.get_mut(&key) {
                        versions.pop();
                        if versions.is_empty() {
                            self.entries.remove(&key);
                        }
                    }
                }
                Some(Undo::Tombstone(key)) => {
                    if let Some(statements) = self.tombstones.get_mut(&key) {
                        statements.pop();
                        if statements.is_empty() {
                            self.tombstones.remove(&key);
                        }
                    }
                }
                Some(Undo::Truncate) => {
                    self.truncated.pop();
                }
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TableId = TableId(20_000);

    fn version(statement: u32, row: Option<&str>) -> Version {
        let row = row.map(|row| row.as_bytes().to_vec());
        Version { statement, row, purged: false, restores_own: false }
    }

    fn base(row: &'static str) -> Option<Base> {
        Some(Base { row: Bytes::from_static(row.as_bytes()), seq: Seq(5), place: Place::Hot })
    }

    fn key(text: &str) -> Key {
        Key::from(text.as_bytes())
    }

    /// A statement sees what came before it, not what it does; a portal keeps what it saw.
    #[test]
    fn versions_are_seen_by_later_statements_only() {
        let mut set = WriteSet::default();
        set.write(key("a"), T, None, version(1, Some("one")));
        set.write(key("a"), T, None, version(3, Some("three")));
        set.write(key("a"), T, None, version(4, None));
        let cases = [
            (1, Seen::Nothing),
            (2, Seen::Row(b"one", 1)),
            (3, Seen::Row(b"one", 1)),
            (4, Seen::Row(b"three", 3)),
            (5, Seen::Gone),
        ];
        for (below, seen) in cases {
            assert_eq!(set.seen(T, b"a", below), seen, "statement {below}");
        }
    }

    /// ROLLBACK TO undoes exactly what came after the mark, TRUNCATE included.
    #[test]
    fn marks_are_gone_back_to() {
        let mut set = WriteSet::default();
        set.write(key("a"), T, base("old"), version(1, Some("a1")));
        let mark = set.mark();
        set.write(key("a"), T, None, version(2, Some("a2")));
        set.write(key("b"), T, None, version(2, Some("b2")));
        set.truncate(T, 3);
        set.write(key("b"), T, None, version(4, Some("b4")));
        assert_eq!(set.seen(T, b"a", 5), Seen::Gone);
        assert_eq!(set.seen(T, b"z", 5), Seen::Gone, "committed rows are gone too");
        assert_eq!(set.seen(T, b"z", 3), Seen::Nothing);
        assert_eq!(set.seen(T, b"b", 5), Seen::Row(b"b4", 4));
        set.undo(mark);
        assert_eq!(set.seen(T, b"a", 9), Seen::Row(b"a1", 1));
        assert_eq!(set.seen(T, b"b", 9), Seen::Nothing);
        assert_eq!(set.rows.len(), 1);
    }

    /// The net effect of every short history of a key: (base, versions) → (removed, tombstone, row).
    #[test]
    fn outcomes() {
        type Case =
            (Option<&'static str>, &'static [Option<&'static str>], bool, Option<&'static str>, Option<&'static str>);
        let cases: &[Case] = &[
            (None, &[Some("n")], false, None, Some("n")),
            (None, &[Some("n"), None], false, None, None),
            (None, &[Some("n"), None, Some("m")], false, None, Some("m")),
            (Some("b"), &[Some("n")], false, None, Some("n")),
            (Some("b"), &[None], true, Some("b"), None),
            (Some("b"), &[Some("n"), None], true, Some("n"), None),
            (Some("b"), &[None, Some("n")], true, Some("b"), Some("n")),
            (Some("b"), &[None, Some("n"), None], true, Some("b"), None),
        ];
        for (old, rows, removed, buried, row) in cases {
            let base = old.and_then(base);
            let versions = rows.iter().zip(1..).map(|(row, statement)| version(statement, *row)).collect();
            let entry = Entry { table: T, base, versions };
            assert_eq!(entry.buried(9, 0), buried.map(str::as_bytes), "{old:?} {rows:?}");
            let outcome = entry.outcome(0);
            assert_eq!(outcome.removed, *removed, "{old:?} {rows:?}");
            assert_eq!(outcome.buried.as_deref(), buried.map(str::as_bytes), "{old:?} {rows:?}");
            assert_eq!(outcome.row.as_deref(), row.map(str::as_bytes), "{old:?} {rows:?}");
        }
    }
}
