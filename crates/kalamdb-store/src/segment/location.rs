//! Where segments are, and what was read of them already.
//!
//! A file's name carries table, database and epoch, so that nobody who was fenced off can overwrite another's file,
//! and a restored database never takes an inherited file for its own. Footers, filters and pages of keys are kept in
//! memory, each within a bound.

use super::{SegmentError, SegmentRecord};
use arrow_array::{Array, BinaryArray};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use kalamdb_commons::{SegmentId, TableId};
use lru::LruCache;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// A footer with its page index is some 100 KiB for a full segment: 50 MiB at most.
const FOOTERS_MAX: NonZeroUsize = NonZeroUsize::new(512).unwrap();
/// A filter is 256 KiB for a full row group (16 bits for each of 131,072 keys): 64 MiB at most.
const FILTERS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Pages of keys, by bytes: what a look-up decodes, so that the next one near it does not.
const KEY_PAGE_BYTES_MAX: usize = 32 << 20;

/// The segments of one storage, and what is cached of them.
pub struct Segments {
    pub(super) files: Arc<LocalFileSystem>,
    root: PathBuf,
    database: Uuid,
    epoch: u64,
    footers: Mutex<LruCache<SegmentId, ArrowReaderMetadata>>,
    filters: Mutex<LruCache<(SegmentId, usize), Option<Arc<Sbbf>>>>,
    key_pages: Mutex<KeyPages>,
}

struct KeyPages {
    pages: LruCache<(SegmentId, u32), Arc<BinaryArray>>,
    bytes: usize,
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segments").field("files", &self.files).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Segments {
    /// The storage `local`: `<data_dir>/segments`. `database` and `epoch` name who writes.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn local(data_dir: &Path, database: Uuid, epoch: u64) -> Result<Self, SegmentError> {
        let root = data_dir.join("segments");
        std::fs::create_dir_all(&root)?;
        std::fs::File::open(data_dir)?.sync_all()?;
        let root = root.canonicalize()?;
        Ok(Self {
            files: Arc::new(LocalFileSystem::new_with_prefix(&root)?),
            root,
            database,
            epoch,
            footers: Mutex::new(LruCache::new(FOOTERS_MAX)),
            filters: Mutex::new(LruCache::new(FILTERS_MAX)),
            key_pages: Mutex::new(KeyPages { pages: LruCache::unbounded(), bytes: 0 }),
        })
    }

    /// The path of a new segment: `{namespace}/{tableName}/` and a name that is given once. Names are escaped, so no
    /// path leaves the storage.
    pub fn path(&self, namespace: &str, table_name: &str, table: TableId, segment: SegmentId) -> String {
        let file = format!("{table}-{}-{}-{segment}.parquet", self.database.simple(), self.epoch);
        ObjectPath::from_iter([namespace, table_name, &file]).to_string()
    }

    /// Makes a file and its name durable: what was acknowledged must survive power loss.
    ///
    /// # Errors
    /// The disk's.
    pub async fn sync(&self, path: &str) -> Result<(), SegmentError> {
        let file = self.files.path_to_filesystem(&object_path(path)?)?;
        let root = self.root.clone();
        blocking(move || {
            std::fs::File::open(&file)?.sync_all()?;
            // A folder made on the way is a name in its parent, which must be durable too.
            for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(&root)) {
                std::fs::File::open(folder)?.sync_all()?;
            }
            Ok(())
        })
        .await
    }

    /// Removes a file. One that is not there is removed already.
    ///
    /// # Errors
    /// The storage's.
    pub async fn remove(&self, path: &str) -> Result<(), SegmentError> {
        match self.files.delete(&object_path(path)?).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Forgets what is cached of a segment that is gone.
    pub fn forget(&self, segment: SegmentId) {
        self.footers.lock().pop(&segment);
        let mut filters = self.filters.lock();
        let groups: Vec<_> = filters.iter().map(|(place, _)| *place).filter(|(id, _)| *id == segment).collect();
        for place in groups {
            filters.pop(&place);
        }
        let mut keys = self.key_pages.lock();
        let pages: Vec<_> = keys.pages.iter().map(|(place, _)| *place).filter(|(id, _)| *id == segment).collect();
        for place in pages {
            if let Some(page) = keys.pages.pop(&place) {
                keys.bytes -= page.get_array_memory_size();
            }
        }
    }

    /// The footer with its page index: read once.
    pub(super) async fn footer(&self, record: &SegmentRecord) -> Result<ArrowReaderMetadata, SegmentError> {
        if let Some(footer) = self.footers.lock().get(&record.id) {
            return Ok(footer.clone());
        }
        let mut file = self.file(record)?;
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Required)
            .load_and_finish(&mut file, record.bytes)
            .await?;
        let footer = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())?;
        self.footers.lock().put(record.id, footer.clone());
        Ok(footer)
    }

    /// The filter of a row group, or what `load` makes of it; `None` inside: the file has none.
    pub(super) fn cached_filter(&self, segment: SegmentId, group: usize) -> Option<Option<Arc<Sbbf>>> {
        self.filters.lock().get(&(segment, group)).cloned()
    }

    pub(super) fn keep_filter(&self, segment: SegmentId, group: usize, filter: Option<Arc<Sbbf>>) {
        self.filters.lock().put((segment, group), filter);
    }

    /// The keys of a page, named by its first row.
    pub(super) fn cached_keys(&self, segment: SegmentId, first_row: u32) -> Option<Arc<BinaryArray>> {
        self.key_pages.lock().pages.get(&(segment, first_row)).cloned()
    }

    pub(super) fn keep_keys(&self, segment: SegmentId, first_row: u32, keys: Arc<BinaryArray>) {
        let mut cache = self.key_pages.lock();
        cache.bytes += keys.get_array_memory_size();
        if let Some(old) = cache.pages.put((segment, first_row), keys) {
            cache.bytes -= old.get_array_memory_size();
        }
        while cache.bytes > KEY_PAGE_BYTES_MAX {
            match cache.pages.pop_lru() {
                Some((_, old)) => cache.bytes -= old.get_array_memory_size(),
                None => break,
            }
        }
    }

    pub(super) fn file(&self, record: &SegmentRecord) -> Result<SegmentFile, SegmentError> {
        Ok(SegmentFile { files: self.files.clone(), path: object_path(&record.path)? })
    }
}

pub(super) fn object_path(path: &str) -> Result<ObjectPath, SegmentError> {
    ObjectPath::parse(path).map_err(|error| SegmentError::Storage(error.into()))
}

/// Runs blocking file work away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, SegmentError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(std::io::Error::other("the blocking task was cancelled").into()),
    }
}

/// One segment file, as the Parquet reader asks for its bytes.
#[derive(Clone)]
pub(super) struct SegmentFile {
    files: Arc<dyn ObjectStore>,
    path: ObjectPath,
}

fn outside(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for SegmentFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.files.get_range(&self.path, range).map_err(outside).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.files.get_ranges(&self.path, &ranges).await.map_err(outside) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let length = self.files.head(&self.path).await.map_err(outside)?.size;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, length).await?))
        }
        .boxed()
    }
}
