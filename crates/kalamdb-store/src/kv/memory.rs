//! An engine in memory: persistent maps, so that a snapshot is a handful of pointers. It serves tests.

use super::{Batch, Cursor, Durability, Family, Key, KvError, Op, ScanSize, Snapshot, StorageBackend};
use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::RwLock;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// The content of all families.
pub(super) type Image = [OrdMap<Key, Bytes>; Family::ALL.len()];

/// Families in memory.
#[derive(Default)]
pub struct MemoryBackend {
    image: RwLock<Image>,
}

impl MemoryBackend {
    pub(super) fn from_image(image: Image) -> Self {
        Self { image: RwLock::new(image) }
    }
    pub(super) fn image(&self) -> Image {
        self.image.read().clone()
    }
}

impl StorageBackend for MemoryBackend {
    fn apply(&self, batch: &Batch, _durability: Durability) -> Result<(), KvError> {
        let mut image = self.image.write();
        for op in &batch.ops {
            match op {
                Op::Put(family, key, value) => {
                    image[*family as usize].insert(key.clone(), value.clone());
                }
                Op::Delete(family, key) => {
                    image[*family as usize].remove(key);
                }
                Op::DeleteRange(family, start, end) => {
                    let map = &mut image[*family as usize];
                    let bounds = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
                    let keys: Vec<Key> = map.range::<_, [u8]>(bounds).map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        map.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, KvError> {
        Ok(Arc::new(MemorySnapshot { image: self.image() }))
    }

    fn checkpoint(&self, _folder: &Path) -> Result<(), KvError> {
        Err(KvError::Io("an engine in memory has no files".to_string()))
    }

    fn size(&self, family: Family, start: &[u8], end: &[u8]) -> u64 {
        let image = self.image.read();
        let range = image[family as usize].range::<_, [u8]>((Bound::Included(start), Bound::Excluded(end)));
        range.map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    fn stats(&self) -> Vec<(&'static str, i64, &'static str)> {
        Vec::new()
    }
}

struct MemorySnapshot {
    image: Image,
}

impl Snapshot for MemorySnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.image[family as usize].get(key).cloned())
    }

    fn scan(
        &self,
        family: Family,
        start: &[u8],
        end: Option<&[u8]>,
        _size: ScanSize,
    ) -> Result<Box<dyn Cursor>, KvError> {
        let map = self.image[family as usize].clone();
        let mut cursor = MemoryCursor { map, end: end.map(<[u8]>::to_vec), here: None };
        cursor.move_to(Bound::Included(start));
        Ok(Box::new(cursor))
    }

    fn scan_back(&self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor>, KvError> {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.image[family as usize].range::<_, [u8]>((Bound::Included(start), end));
        Ok(Box::new(MemoryPairs { pairs: range.map(|(key, value)| (key.clone(), value.clone())).collect() }))
    }
}

/// Keys that are read from the last to the first.
struct MemoryPairs {
    pairs: Vec<(Key, Bytes)>,
}

impl Cursor for MemoryPairs {
    fn current(&self) -> Option<(&[u8], &[u8])> {
        self.pairs.last().map(|(key, value)| (&key[..], &value[..]))
    }

    fn advance(&mut self) -> Result<(), KvError> {
        self.pairs.pop();
        Ok(())
    }
}

struct MemoryCursor {
    map: OrdMap<Key, Bytes>,
    end: Option<Vec<u8>>,
    here: Option<(Key, Bytes)>,
}

impl MemoryCursor {
    fn move_to(&mut self, start: Bound<&[u8]>) {
        let mut range = self.map.range::<_, [u8]>((start, Bound::Unbounded));
        let next = range.next().filter(|(key, _)| self.end.as_deref().is_none_or(|end| key[..] < *end));
        self.here = next.map(|(key, value)| (key.clone(), value.clone()));
    }
}

impl Cursor for MemoryCursor {
    fn current(&self) -> Option<(&[u8], &[u8])> {
        self.here.as_ref().map(|(key, value)| (&key[..], &value[..]))
    }

    fn advance(&mut self) -> Result<(), KvError> {
        if let Some((key, _)) = self.here.take() {
            self.move_to(Bound::Excluded(&key));
        }
        Ok(())
    }
}
