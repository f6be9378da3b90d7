//! Lance's store of a folder with an object store of our own below it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use lance_io::object_store::providers::local::FileStoreProvider;
use lance_io::object_store::{ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreProvider};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

/// Makes stores of folders.
#[derive(Debug)]
pub(crate) struct FolderProvider {
    prefix: &'static str,
    below: fn() -> Arc<dyn ObjectStore>,
}

impl FolderProvider {
    /// `prefix` names the stores; `below` makes what they read and write through.
    pub(crate) fn new(prefix: &'static str, below: fn() -> Arc<dyn ObjectStore>) -> Self {
        Self { prefix, below }
    }
}

/// Stores of which nothing counts as written before it is on the disk, the entry in its folder included: files of rows
/// before the record that names them, and each commit before the next one.
pub(crate) fn synced() -> FolderProvider {
    // Lance removes empty folders of a plain store only.
    FolderProvider::new("file$synced", || {
        Arc::new(LocalFileSystem::new().with_fsync(true).with_automatic_cleanup(true))
    })
}

#[async_trait]
impl ObjectStoreProvider for FolderProvider {
    async fn new_store(&self, base: Url, params: &ObjectStoreParams) -> lance::Result<LanceStore> {
        let prefix = self.calculate_object_store_prefix(&base, params.storage_options())?;
        let mut store = FileStoreProvider.new_store(base, params).await?;
        store.inner = (self.below)();
        // Lance goes past the store to the files unless the prefix says that the store is one of its own.
        store.store_prefix = prefix;
        Ok(store)
    }

    fn extract_path(&self, url: &Url) -> lance::Result<Path> {
        FileStoreProvider.extract_path(url)
    }

    fn calculate_object_store_prefix(&self, _: &Url, _: Option<&HashMap<String, String>>) -> lance::Result<String> {
        Ok(self.prefix.to_owned())
    }
}
