//! A folder whose store fails when a test says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use lance_io::object_store::providers::local::FileStoreProvider;
use lance_io::object_store::{ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreProvider, ObjectStoreRegistry};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use url::Url;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is written.
    Refused,
    /// All is written, and the answer is an error.
    AnswerLost,
}

/// What fails next; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Writes that succeed before the first fault.
    spared: usize,
    /// Writes that fail then.
    failing: usize,
    fault: Option<Fault>,
}

impl Faults {
    /// After `spared` writes, `failing` ones fail.
    pub fn plan(&self, spared: usize, failing: usize, fault: Fault) {
        *self.lock() = Plan { spared, failing, fault: Some(fault) };
    }

    /// Nothing fails any more. Gives whether everything planned has failed.
    pub fn end(&self) -> bool {
        let plan = std::mem::take(&mut *self.lock());
        plan.failing == 0
    }

    /// A registry whose folders fail so.
    pub fn registry(&self) -> ObjectStoreRegistry {
        let registry = ObjectStoreRegistry::default();
        registry.insert("file", Arc::new(FailingProvider { faults: self.clone() }));
        registry
    }

    fn next(&self) -> Option<Fault> {
        let mut plan = self.lock();
        let fault = plan.fault?;
        if plan.spared > 0 {
            plan.spared -= 1;
            return None;
        }
        plan.failing = plan.failing.checked_sub(1)?;
        Some(fault)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a write, or lets it fail.
    async fn write<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        match self.next() {
            None => write.await,
            Some(Fault::Refused) => Err(Error::Generic { store: "failing", source: Box::new(full()) }),
            Some(Fault::AnswerLost) => {
                write.await?;
                Err(Error::Generic { store: "failing", source: "the answer was lost".into() })
            }
        }
    }
}

#[derive(Debug)]
struct FailingProvider {
    faults: Faults,
}

#[async_trait]
impl ObjectStoreProvider for FailingProvider {
    async fn new_store(&self, base: Url, params: &ObjectStoreParams) -> lance::Result<LanceStore> {
        let prefix = self.calculate_object_store_prefix(&base, params.storage_options())?;
        let mut store = FileStoreProvider.new_store(base, params).await?;
        store.inner = Arc::new(FailingStore { files: LocalFileSystem::new(), faults: self.faults.clone() });
        // Lance goes past the store to the files unless the prefix says that the store is one of its own.
        store.store_prefix = prefix;
        Ok(store)
    }

    fn extract_path(&self, url: &Url) -> lance::Result<Path> {
        FileStoreProvider.extract_path(url)
    }

    fn calculate_object_store_prefix(&self, _: &Url, _: Option<&HashMap<String, String>>) -> lance::Result<String> {
        Ok(String::from("file$failing"))
    }
}

#[derive(Debug)]
struct FailingStore {
    files: LocalFileSystem,
    faults: Faults,
}

impl std::fmt::Display for FailingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FailingStore({})", self.files)
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.faults.write(self.files.put_opts(location, payload, options)).await
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
        self.faults.write(self.files.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.faults.write(self.files.rename_opts(from, to, options)).await
    }
}
