//! A folder of which every byte that is read is counted.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use lance_io::object_store::providers::local::FileStoreProvider;
use lance_io::object_store::{
    ObjectStore, ObjectStoreParams, ObjectStoreProvider, ObjectStoreRegistry, WrappingObjectStore,
};
use lance_io::utils::tracking_store::IOTracker;
use object_store::path::Path;
use url::Url;

/// A registry whose folders count; the counts stand in the tracker.
pub(super) fn counted(reads: &IOTracker) -> ObjectStoreRegistry {
    let registry = ObjectStoreRegistry::default();
    registry.insert("file", Arc::new(CountingProvider { reads: reads.clone() }));
    registry
}

#[derive(Debug)]
struct CountingProvider {
    reads: IOTracker,
}

#[async_trait]
impl ObjectStoreProvider for CountingProvider {
    async fn new_store(&self, base: Url, params: &ObjectStoreParams) -> lance::Result<ObjectStore> {
        let prefix = self.calculate_object_store_prefix(&base, params.storage_options())?;
        let mut store = FileStoreProvider.new_store(base, params).await?;
        store.inner = self.reads.wrap(&prefix, Arc::clone(&store.inner));
        // Lance goes past the store to the files unless the prefix says that the store is one of its own.
        store.store_prefix = prefix;
        Ok(store)
    }

    fn extract_path(&self, url: &Url) -> lance::Result<Path> {
        FileStoreProvider.extract_path(url)
    }

    fn calculate_object_store_prefix(&self, _: &Url, _: Option<&HashMap<String, String>>) -> lance::Result<String> {
        Ok(String::from("file$counted"))
    }
}
