//! What lies in a lake beside its datasets, and the folders that hold them.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use lance_io::object_store::ObjectStore;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, PutMode, PutPayload};
use tracerag_schemas::Table;

use super::Lake;
use crate::error::{At, Result, is_absent};
use crate::place;

impl Lake {
    /// Tries a store that is to take a new lake. A folder needs no trial.
    ///
    /// # Errors
    /// When it cannot be written, or does not keep apart two writers of one object.
    pub(super) async fn try_store(&self) -> Result<()> {
        if place::is_folder(self.uri()) {
            return Ok(());
        }
        let (store, folder) = self.store(self.uri(), "lake").await?;
        place::refuses_second_put(self.uri(), &store, folder).await
    }

    /// Writes a file below the lake that is not part of a dataset.
    pub(crate) async fn put_file(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let (store, path) = self.store(&format!("{}/{folder}/{name}", self.inner.uri), folder).await?;
        store.put(&path, bytes).await.at(folder, "writing a file")?;
        Ok(())
    }

    /// Creates a file below the lake; `false` if there is one of its name, which then stays as it is.
    pub(crate) async fn create_file(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<bool> {
        let (store, path) = self.store(&format!("{}/{folder}/{name}", self.inner.uri), folder).await?;
        let bytes = PutPayload::from(Bytes::copy_from_slice(bytes));
        match store.inner.put_opts(&path, bytes, PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(lance::Error::from(error)).at(folder, "creating a file"),
        }
    }

    /// Reads a file below the lake; `None` if there is none.
    pub(crate) async fn read_file(&self, folder: &str, name: &str) -> Result<Option<Bytes>> {
        let (store, path) = self.store(&format!("{}/{folder}/{name}", self.inner.uri), folder).await?;
        if !store.exists(&path).await.at(folder, "looking for a file")? {
            return Ok(None);
        }
        store.read_one_all(&path).await.at(folder, "reading a file").map(Some)
    }

    /// Deletes a file below the lake; one that is not there is fine.
    pub(crate) async fn remove_file(&self, folder: &str, name: &str) -> Result<()> {
        let (store, path) = self.store(&format!("{}/{folder}/{name}", self.inner.uri), folder).await?;
        match store.delete(&path).await {
            Err(error) if is_absent(&error) => Ok(()),
            other => other.at(folder, "deleting a file"),
        }
    }

    /// The files of a folder below the lake, with their age and size.
    pub(crate) async fn list_files(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        let (store, path) = self.store(&format!("{}/{folder}", self.inner.uri), folder).await?;
        store.list(Some(path)).try_collect::<Vec<_>>().await.at(folder, "listing its files")
    }

    /// Names of the days that have a folder for a table, whether a head names them or not.
    pub(crate) async fn day_folders(&self, table: Table) -> Result<Vec<String>> {
        self.datasets_in(table.name()).await
    }

    /// Names of the datasets in a folder of the lake; none if there is no such folder.
    pub(crate) async fn datasets_in(&self, folder: &str) -> Result<Vec<String>> {
        let (store, path) = self.store(&format!("{}/{folder}", self.inner.uri), folder).await?;
        let entries = match store.read_dir(path).await {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(vec![]),
            Err(error) => return Err(error).at(folder, "listing its datasets"),
        };
        Ok(entries.iter().filter_map(|entry| entry.strip_suffix(".lance")).map(str::to_owned).collect())
    }

    /// Deletes a dataset with all its files.
    pub(crate) async fn remove_dataset(&self, name: &str) -> Result<()> {
        self.forget(name);
        let (store, path) = self.store(&self.dataset_uri(name), name).await?;
        store.remove_dir_all(path).await.at(name, "deleting")
    }

    /// The store and the path of an address; `name` is for the error.
    async fn store(&self, uri: &str, name: &str) -> Result<(Arc<ObjectStore>, Path)> {
        let (registry, params) = (self.inner.session.store_registry(), self.store_params().unwrap_or_default());
        ObjectStore::from_uri_and_params(registry, uri, &params).await.at(name, "opening the store")
    }
}
