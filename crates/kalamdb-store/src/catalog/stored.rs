//! Definitions and marks as stored values, and the keys they stand under.
//!
//! A value is one byte of version and postcard behind it. Keys of a family begin with a letter that says what follows.
//!
//! ```text
//! catalog  n namespace · t table · h table, schema version → what the table was then · u user · w view
//!          q sequence · y type · k object, class, column → a comment
//! default  v what the data directory is · l the last commit · s reserved sequence numbers · o given OIDs and segments
//!          j job id → job · m table, segment → segment record · f table → flush mark · c table → how many rows
//!          d segment, row number → a positional delete · i segment → path that is being written
//!          x segment → path that is retired · b table, index → an index that is being filled
//! ```

use super::version_1;
use crate::definition::{Change, Described, NamespaceDef, SequenceDef, TableDef, TypeDef, UserDef, ViewDef};
use crate::error::StoreError;
use crate::kv::{Batch, Family, Key, Snapshot, pairs};
use bytes::Bytes;
use kalamdb_commons::{Oid, SegmentId, Seq, TableId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Catalog;

/// The version of the stored values. 2: types by OID; tables with indexes and constraints. Values of version 1 that
/// hold no type are the same in both.
const VALUE_VERSION: u8 = 2;

/// The key of the data directory's own facts.
pub const FORMAT_KEY: &[u8] = b"v";
/// The key of [`Last`].
pub const LAST_KEY: &[u8] = b"l";
/// The key of the reserved sequence numbers (a [`Seq`]).
pub const RESERVED_KEY: &[u8] = b"s";
/// The key of [`Given`].
pub const GIVEN_KEY: &[u8] = b"o";

/// What a data directory is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Format {
    /// The version of everything in it.
    pub version: u32,
    /// Which database it is; a restored copy gets another.
    pub database: u128,
    /// Raised at each opening, so that file names of two openings never meet.
    pub epoch: u64,
}

/// The last commit of a group.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Last {
    /// Its position.
    pub seq: Seq,
    /// Its stamp, microseconds since 1970 UTC.
    pub stamp_us: i64,
}

/// Numbers that were given, each kind from one counter.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Given {
    /// The next OID.
    pub oid: u32,
    /// The next segment.
    pub segment: u64,
}

/// A segment file that no new snapshot sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retired {
    /// Where it is.
    pub path: String,
    /// The first position whose snapshot does not see it.
    pub at: Seq,
}

/// A value as bytes.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = vec![VALUE_VERSION];
    match postcard::to_extend(value, bytes) {
        Ok(done) => bytes = done,
        // Our own values have no maps of unknown length and no custom serialisers: nothing in them can fail.
        Err(error) => panic!("a definition cannot be encoded: {error}"),
    }
    Bytes::from(bytes)
}

/// A value from its bytes; `what` is for the message.
///
/// # Errors
/// [`StoreError::Damaged`]; [`StoreError::NewerFormat`] for a later version's value.
pub fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((1..=VALUE_VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| StoreError::Damaged(format!("{what}: {error}")))
        }
        Some((&found, _)) if found > VALUE_VERSION => {
            Err(StoreError::NewerFormat { found: u32::from(found), supported: u32::from(VALUE_VERSION) })
        }
        _ => Err(StoreError::Damaged(format!("{what}: no value"))),
    }
}

/// A table's definition from its bytes, of whichever version.
///
/// # Errors
/// As [`decode`].
pub fn decode_table(bytes: &[u8]) -> Result<TableDef, StoreError> {
    match bytes.first() {
        Some(1) => decode::<version_1::TableDef>("a table", bytes)?.into_now(),
        _ => decode("a table", bytes),
    }
}

/// Reads one value.
///
/// # Errors
/// The engine's; as [`decode`].
pub fn get<T: DeserializeOwned>(snapshot: &dyn Snapshot, what: &str, key: &[u8]) -> Result<Option<T>, StoreError> {
    snapshot.get(Family::Meta, key)?.map(|bytes| decode(what, &bytes)).transpose()
}

/// A key of a letter and numbers.
fn key(letter: u8, parts: &[&[u8]]) -> Key {
    let mut out = vec![letter];
    for part in parts {
        out.extend_from_slice(part);
    }
    out.into()
}

/// The key of a job.
pub fn job_key(job_id: &str) -> Key {
    key(b'j', &[job_id.as_bytes()])
}
/// The key of a segment's record in its table's manifest.
pub fn segment_key(table: TableId, segment: SegmentId) -> Key {
    key(b'm', &[&table.0.to_be_bytes(), &segment.0.to_be_bytes()])
}
/// The key of a table's flush mark.
pub fn mark_key(table: TableId) -> Key {
    key(b'f', &[&table.0.to_be_bytes()])
}
/// The key of a table's row count.
pub fn count_key(table: TableId) -> Key {
    key(b'c', &[&table.0.to_be_bytes()])
}
/// The key of a positional delete.
pub fn delete_key(segment: SegmentId, row: u32) -> Key {
    key(b'd', &[&segment.0.to_be_bytes(), &row.to_be_bytes()])
}
/// What all positional deletes of a segment begin with.
pub fn deletes_prefix(segment: SegmentId) -> Key {
    key(b'd', &[&segment.0.to_be_bytes()])
}
/// The key of a path that is being written.
pub fn intent_key(segment: SegmentId) -> Key {
    key(b'i', &[&segment.0.to_be_bytes()])
}
/// The key of an index that is being filled.
pub fn build_key(table: TableId, index: Oid) -> Key {
    key(b'b', &[&table.0.to_be_bytes(), &index.to_be_bytes()])
}
/// The key of a retired segment.
pub fn retired_key(segment: SegmentId) -> Key {
    key(b'x', &[&segment.0.to_be_bytes()])
}

/// The key of an older version of a table's definition.
pub fn history_key(table: TableId, schema_version: u32) -> Key {
    key(b'h', &[&table.0.to_be_bytes(), &schema_version.to_be_bytes()])
}
/// What all older versions of a table begin with.
pub fn history_prefix(table: TableId) -> Key {
    key(b'h', &[&table.0.to_be_bytes()])
}

/// What the places of all of a sequence's generations begin with.
pub fn places_prefix(sequence: TableId) -> Key {
    key(b'q', &[&sequence.0.to_be_bytes()])
}
/// The key of the place of a sequence's generation.
pub fn place_key(sequence: TableId, generation: u64) -> Key {
    key(b'q', &[&sequence.0.to_be_bytes(), &generation.to_be_bytes()])
}
/// Whether a key is that of the place where one of the catalog's sequences stands.
pub fn is_place_of(key: &[u8], catalog: &Catalog) -> bool {
    let id = key.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let def = id.and_then(|id| catalog.sequence(TableId(id)));
    def.is_some_and(|def| *place_key(def.id, def.generation) == *key)
}

/// The key of a comment.
pub fn comment_key(about: Described) -> Key {
    key(b'k', &[&about.object.to_be_bytes(), &about.class.to_be_bytes(), &about.column.to_be_bytes()])
}

/// Writes a change's definitions. Rows, segments and counts of a table that goes are the committer's.
pub fn write(batch: &mut Batch, change: &Change) {
    match change {
        Change::PutNamespace(def) => {
            batch.put(Family::Catalog, key(b'n', &[&def.id.0.to_be_bytes()]), encode(def));
        }
        Change::DropNamespace(id) => batch.delete(Family::Catalog, key(b'n', &[&id.0.to_be_bytes()])),
        Change::PutTable(def) => batch.put(Family::Catalog, key(b't', &[&def.id.0.to_be_bytes()]), encode(def)),
        Change::DropTable(id) => batch.delete(Family::Catalog, key(b't', &[&id.0.to_be_bytes()])),
        Change::TruncateTable(_) => {}
        Change::PutUser(def) => batch.put(Family::Catalog, key(b'u', &[&def.id.0.to_be_bytes()]), encode(def)),
        Change::PutView(def) => batch.put(Family::Catalog, key(b'w', &[&def.id.0.to_be_bytes()]), encode(def)),
        Change::DropView(id) => batch.delete(Family::Catalog, key(b'w', &[&id.0.to_be_bytes()])),
        Change::PutSequence(def) => batch.put(Family::Catalog, key(b'q', &[&def.id.0.to_be_bytes()]), encode(def)),
        Change::DropSequence(id) => batch.delete(Family::Catalog, key(b'q', &[&id.0.to_be_bytes()])),
        Change::PutType(def) => batch.put(Family::Catalog, key(b'y', &[&def.id.to_be_bytes()]), encode(def)),
        Change::DropType(id) => batch.delete(Family::Catalog, key(b'y', &[&id.to_be_bytes()])),
        Change::Comment(about, Some(text)) => {
            batch.put(Family::Catalog, comment_key(*about), encode(&(*about, text)));
        }
        Change::Comment(about, None) => batch.delete(Family::Catalog, comment_key(*about)),
    }
}

/// The catalog as it is stored.
///
/// # Errors
/// The engine's; as [`decode`].
pub fn load(snapshot: &dyn Snapshot) -> Result<Catalog, StoreError> {
    let mut catalog = Catalog::built_in();
    for (_, value) in pairs(snapshot, Family::Catalog, b"n")? {
        catalog.apply(&Change::PutNamespace(decode::<NamespaceDef>("a namespace", &value)?));
    }
    for (_, value) in pairs(snapshot, Family::Catalog, b"t")? {
        catalog.apply(&Change::PutTable(decode_table(&value)?));
    }
    for (_, value) in pairs(snapshot, Family::Catalog, b"u")? {
        catalog.apply(&Change::PutUser(decode::<UserDef>("a user", &value)?));
    }
    for (_, value) in pairs(snapshot, Family::Catalog, b"w")? {
        catalog.apply(&Change::PutView(decode::<ViewDef>("a view", &value)?));
    }
    for (_, value) in pairs(snapshot, Family::Catalog, b"q")? {
        catalog.apply(&Change::PutSequence(decode::<SequenceDef>("a sequence", &value)?));
    }
    for (_, value) in pairs(snapshot, Family::Catalog, b"y")? {
        catalog.apply(&Change::PutType(decode::<TypeDef>("a type", &value)?));
    }
    for (_, value) in pairs(snapshot, Family::Catalog, b"k")? {
        let (about, text): (Described, String) = decode("a comment", &value)?;
        catalog.apply(&Change::Comment(about, Some(text)));
    }
    Ok(catalog)
}
