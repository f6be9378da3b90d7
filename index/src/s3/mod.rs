//! S3 with a write less for each commit, and with errors that may be shown.
//!
//! Lance puts the transaction of a commit into the manifest, and into a file of its own besides, for readers that come
//! from before the manifest had it. No such reader knows a lake of ours. On S3 the file costs a third of a commit's
//! time and a quarter of its requests, so it is left out. Who reads a transaction looks into the manifest first; a
//! transaction that is too large for it is written as ever.

mod answer;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lance_io::object_store::providers::aws::AwsStoreProvider;
use lance_io::object_store::{ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreProvider};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use url::Url;

use self::answer::brief;

/// Bytes below which Lance has a transaction in the manifest for certain. Its bound is 20 MiB; no epoch comes near this
/// one.
const IN_THE_MANIFEST: usize = 4 << 20;

/// Makes stores of buckets.
#[derive(Debug, Default)]
pub(crate) struct S3Provider;

#[async_trait]
impl ObjectStoreProvider for S3Provider {
    async fn new_store(&self, base: Url, params: &ObjectStoreParams) -> lance::Result<LanceStore> {
        let mut store = AwsStoreProvider.new_store(base, params).await?;
        store.inner = Arc::new(Bucket { store: Arc::clone(&store.inner) });
        Ok(store)
    }
}

#[derive(Debug)]
struct Bucket {
    store: Arc<dyn ObjectStore>,
}

/// Whether an object is the file of a transaction that the manifest has as well.
fn is_in_the_manifest(location: &Path, bytes: usize) -> bool {
    let is_transaction = || {
        let mut parts = location.parts().rev();
        let file = parts.next().is_some_and(|file| file.as_ref().ends_with(".txn"));
        file && parts.next().is_some_and(|folder| folder.as_ref() == "_transactions")
    };
    bytes < IN_THE_MANIFEST && is_transaction()
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.store)
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if is_in_the_manifest(location, payload.content_length()) {
            let (e_tag, version, extensions) = Default::default();
            return Ok(PutResult { e_tag, version, extensions });
        }
        self.store.put_opts(location, payload, options).await.map_err(brief)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await.map_err(brief)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await.map_err(brief)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(location, ranges).await.map_err(brief)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations).map_err(brief).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix).map_err(brief).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset).map_err(brief).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await.map_err(brief)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await.map_err(brief)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store.rename_opts(from, to, options).await.map_err(brief)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    /// The file of a transaction is not written, a large one is, and so is everything else, in folders and under names
    /// that only resemble it. Guarantees that nothing is left out but what the manifest has.
    #[tokio::test]
    async fn only_transactions_of_the_manifest_are_left_out() {
        let bucket = Arc::new(InMemory::new());
        let store = Bucket { store: Arc::clone(&bucket) as Arc<dyn ObjectStore> };
        let left_out = [("flags.lance/_transactions/1-a.txn", 10)];
        let written = [
            ("flags.lance/_transactions/2-b.txn", IN_THE_MANIFEST),
            ("flags.lance/_versions/1.manifest", 10),
            ("flags.lance/data/c.txn", 10),
            ("flags.lance/_transactions/d.lance", 10),
        ];
        for (name, bytes) in left_out.into_iter().chain(written) {
            store.put(&Path::from(name), PutPayload::from(vec![0; bytes])).await.unwrap();
            let is_there = bucket.head(&Path::from(name)).await.is_ok();
            assert_eq!(is_there, !left_out.iter().any(|(other, _)| *other == name), "{name}");
        }
    }
}
