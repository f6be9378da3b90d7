//! Reads of a folder's files on the thread that asks, where the page cache has them.
//!
//! Lance hands every read of a local file to a thread of the blocking pool. A search makes some three hundred reads of
//! about a kilobyte each: from the page cache one takes microseconds, and waking a thread for it and another one for
//! its answer takes longer. So a read is tried at once, with `RWF_NOWAIT` (Linux 4.14), which gives what is cached
//! and never waits for a disk; only what is not there goes the usual way. Elsewhere than on Linux all reads do. The files
//! stay open between reads ([`crate::open_files`]). Whether a file is there is looked at on that thread, too.

use std::fs::Metadata;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use rustix::io::{ReadWriteFlags, preadv2};

use crate::folder_store::FolderProvider;
use crate::open_files::{OpenFiles, is_deleted};

/// Larger reads gain nothing: copying them takes longer than changing threads.
const LARGEST: u64 = 256 << 10;

/// Stores of folders whose files are read so.
pub(crate) fn provider() -> FolderProvider {
    FolderProvider::new("file$cached-reads", || Arc::new(CachedReads::new()))
}

/// The file system, with reads tried at once.
#[derive(Debug)]
struct CachedReads {
    files: LocalFileSystem,
    open: OpenFiles,
}

impl CachedReads {
    fn new() -> Self {
        Self { files: LocalFileSystem::new(), open: OpenFiles::default() }
    }

    /// The bytes of a range, or of a whole file, if all of them are cached.
    fn read(&self, location: &Path, range: Option<&Range<u64>>) -> Option<GetResult> {
        let file = self.open.open(location, || self.files.path_to_filesystem(location)).ok()?;
        let metadata = file.metadata().ok()?;
        if is_deleted(&metadata) {
            self.open.let_go(location);
            return None;
        }
        let mut meta = meta(location, &metadata)?;
        let range = match range {
            Some(range) => range.clone(),
            None => {
                meta.e_tag = e_tag(&metadata);
                0..metadata.len()
            }
        };
        let length = range.end.checked_sub(range.start).filter(|length| *length <= LARGEST)?;
        let length = usize::try_from(length).ok()?;
        let mut bytes = vec![0; length];
        let read = preadv2(&*file, &mut [IoSliceMut::new(&mut bytes)], range.start, ReadWriteFlags::NOWAIT);
        if read != Ok(length) {
            return None;
        }
        Some(answer(meta, range, Bytes::from(bytes)))
    }

    /// What is known of a file, or that there is none: whether a table has a newer version is asked at each question, by
    /// looking for its next one. `None` where the usual way has to tell.
    fn look(&self, location: &Path) -> Option<Result<GetResult>> {
        let path = self.files.path_to_filesystem(location).ok()?;
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let meta = ObjectMeta { e_tag: e_tag(&metadata), ..meta(location, &metadata)? };
                let range = 0..meta.size;
                Some(Ok(answer(meta, range, Bytes::new())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = path.to_string_lossy().into_owned();
                Some(Err(object_store::Error::NotFound { path, source: Box::new(error) }))
            }
            _ => None,
        }
    }
}

fn answer(meta: ObjectMeta, range: Range<u64>, bytes: Bytes) -> GetResult {
    let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
    let (attributes, extensions) = Default::default();
    GetResult { payload, meta, range, attributes, extensions }
}

/// What is known of a file, without its tag.
fn meta(location: &Path, metadata: &Metadata) -> Option<ObjectMeta> {
    Some(ObjectMeta {
        location: location.clone(),
        last_modified: metadata.modified().ok()?.into(),
        size: metadata.len(),
        e_tag: None,
        version: None,
    })
}

/// The tag of a file, as the file system's own store makes it: Lance takes a version with another tag for another one.
fn e_tag(metadata: &Metadata) -> Option<String> {
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_micros();
    Some(format!("\"{:x}-{changed:x}-{:x}\"", metadata.ino(), metadata.len()))
}

/// What a request asks for, if it is nothing but this.
#[derive(Debug)]
enum Asked<'a> {
    Range(&'a Range<u64>),
    Whole,
    Head,
}

impl<'a> Asked<'a> {
    fn of(options: &'a GetOptions) -> Option<Self> {
        let GetOptions {
            if_match, if_none_match, if_modified_since, if_unmodified_since, range, version, head, ..
        } = options;
        let has_conditions = if_match.is_some()
            || if_none_match.is_some()
            || if_modified_since.is_some()
            || if_unmodified_since.is_some()
            || version.is_some();
        match range {
            _ if has_conditions => None,
            None if *head => Some(Self::Head),
            None => Some(Self::Whole),
            Some(GetRange::Bounded(range)) if !head => Some(Self::Range(range)),
            Some(_) => None,
        }
    }
}

impl std::fmt::Display for CachedReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CachedReads({})", self.files)
    }
}

#[async_trait]
impl ObjectStore for CachedReads {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let known = match Asked::of(&options) {
            Some(Asked::Range(range)) => self.read(location, Some(range)).map(Ok),
            Some(Asked::Whole) => {
                let read = self.read(location, None).map(Ok);
                read.or_else(|| self.look(location).filter(Result::is_err))
            }
            Some(Asked::Head) => self.look(location),
            None => None,
        };
        match known {
            Some(known) => known,
            None => self.files.get_opts(location, options).await,
        }
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.files.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    /// A range is the file's bytes, whichever way it was read. One that reaches behind the end, one that ends before it
    /// begins, and one of a file that is not there are answered as the file system answers them.
    #[tokio::test]
    async fn ranges_are_the_files_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..u32::try_from(LARGEST).unwrap() / 2).flat_map(u32::to_le_bytes).collect();
        std::fs::write(folder.path().join("file"), &bytes).unwrap();
        let store = CachedReads::new();
        let path = Path::from_absolute_path(folder.path().join("file")).unwrap();
        for range in [0..0, 0..1, 7..4_103, 0..LARGEST, 5..LARGEST + 6, 0..bytes.len() as u64] {
            let expected = &bytes[range.start as usize..range.end as usize];
            if let Some(read) = store.read(&path, Some(&range)) {
                assert_eq!(read.meta.size, bytes.len() as u64);
                assert_eq!(read.bytes().await.unwrap(), expected);
            }
            if !range.is_empty() {
                assert_eq!(store.get_range(&path, range).await.unwrap(), expected);
            }
        }
        let end = bytes.len() as u64;
        let short = store.get_range(&path, end - 1..end + 10).await;
        assert_eq!(short.unwrap(), LocalFileSystem::new().get_range(&path, end - 1..end + 10).await.unwrap());
        assert!(store.get_range(&path, Range { start: 5, end: 3 }).await.is_err());
        let absent = Path::from_absolute_path(folder.path().join("absent")).unwrap();
        assert!(matches!(store.get_range(&absent, 0..1).await, Err(object_store::Error::NotFound { .. })));
    }

    /// A whole file, and what is known of it, are as the file system's own store gives them, the tag included; so is that
    /// there is none.
    #[tokio::test]
    async fn files_are_known_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hint.json"), "{}").unwrap();
        let (store, own) = (CachedReads::new(), LocalFileSystem::new());
        let path = Path::from_absolute_path(folder.path().join("hint.json")).unwrap();
        let known = own.head(&path).await.unwrap();
        assert_eq!(store.head(&path).await.unwrap(), known);
        assert!(store.look(&path).is_some_and(|answer| answer.is_ok_and(|answer| answer.meta == known)));
        let whole = store.get(&path).await.unwrap();
        assert_eq!((&whole.meta, &whole.range), (&known, &(0..2)));
        assert_eq!(whole.bytes().await.unwrap(), "{}");
        let absent = Path::from_absolute_path(folder.path().join("absent")).unwrap();
        assert!(matches!(store.head(&absent).await, Err(object_store::Error::NotFound { .. })));
        assert!(matches!(store.get(&absent).await, Err(object_store::Error::NotFound { .. })));
    }

    /// A file of rows is deleted between two reads, as clean-up and erasure do. Guarantees that nothing more is read of it.
    #[tokio::test]
    async fn nothing_is_read_of_a_deleted_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.lance");
        std::fs::write(&file, "rows").unwrap();
        let store = CachedReads::new();
        let path = Path::from_absolute_path(&file).unwrap();
        assert_eq!(store.get_range(&path, 0..4).await.unwrap(), "rows");
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(store.get_range(&path, 0..4).await, Err(object_store::Error::NotFound { .. })));
    }
}
