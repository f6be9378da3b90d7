//! An object store in memory, and each worker's way to it, on which operations fail, wait, or end for good.
//!
//! A process that dies leaves nothing behind but what its operations on the store have done. So it is killed at an
//! operation: that one is done or not, and none after it is, whichever task of the process still runs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use lance_io::object_store::providers::memory::MemoryStoreProvider;
use lance_io::object_store::{ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreProvider, ObjectStoreRegistry};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Notify;
use tracerag_index::{Lake, LakeOptions};
use url::Url;

/// How often it is looked whether operations wait or are done no more.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What becomes of the operation at which something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not done.
    Before,
    /// It is done, and the answer is lost.
    After,
}

/// One worker's way to the store; clones are the same way.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    store: Arc<InMemory>,
    way: Arc<Way>,
}

#[derive(Debug, Default)]
struct Way {
    state: Mutex<State>,
    opened: Notify,
}

/// Operations are counted from 1.
#[derive(Debug, Default)]
struct State {
    operations: u64,
    /// From this operation on all wait.
    hold: Option<u64>,
    is_stalled: bool,
    fail: Option<(u64, Fault)>,
    kill: Option<(u64, Fault)>,
    is_dead: bool,
    has_failed: bool,
}

impl Tap {
    pub fn new(store: Arc<InMemory>) -> Self {
        Self { store, way: Arc::default() }
    }

    /// The operation after the next `after` ones fails.
    pub fn fail(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        state.fail = Some((state.operations + after + 1, fault));
    }

    /// The process dies at the operation after the next `after` ones.
    pub fn kill(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        state.kill = Some((state.operations + after + 1, fault));
    }

    /// The process has died: nothing that is under way is done any more.
    pub fn end(&self) {
        self.state().is_dead = true;
        self.way.opened.notify_waiters();
    }

    /// All operations after the next `after` ones wait.
    pub fn hold(&self, after: u64) {
        let mut state = self.state();
        state.hold = Some(state.operations + after + 1);
    }

    /// What waits is done now.
    pub fn release(&self) {
        let mut state = self.state();
        state.hold = None;
        state.is_stalled = false;
        self.way.opened.notify_waiters();
    }

    /// Nothing fails any more that has not failed yet.
    pub fn heal(&self) {
        let mut state = self.state();
        state.fail = None;
        state.kill = None;
        drop(state);
        self.release();
    }

    /// Whether operations wait.
    pub fn is_stalled(&self) -> bool {
        self.state().is_stalled
    }

    /// Returns when operations wait, or the process has died: what it would try again is not waited for.
    pub async fn stopped(&self) {
        while !(self.is_stalled() || self.has_ended()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether anything has failed on this way, so that the worker may end with an error.
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// Whether the process has died.
    pub fn has_ended(&self) -> bool {
        self.state().is_dead
    }

    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The lake, as the process on this way opens it.
    pub async fn lake(&self) -> Result<Lake, tracerag_index::Error> {
        let registry = ObjectStoreRegistry::default();
        registry.insert("memory", Arc::new(self.clone()));
        // Upkeep may clean away what was written a moment ago.
        let options =
            LakeOptions { believes_commits_within: Some(Duration::ZERO), ..LakeOptions::new("memory://lake") };
        Lake::open_or_create_on(options, registry).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.way.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called before each operation. Waits where operations are held; gives the error with which the operation ends
    /// although it is done.
    async fn enter(&self) -> Result<Option<Error>> {
        let number = {
            let mut state = self.state();
            state.operations += 1;
            state.operations
        };
        loop {
            // Made before the look, so that what is opened between the two is not missed.
            let opened = self.way.opened.notified();
            {
                let mut state = self.state();
                if state.is_dead {
                    return Err(failure("the process has died"));
                }
                if state.hold.is_none_or(|from| number < from) {
                    return state.begin(number);
                }
                state.is_stalled = true;
            }
            opened.await;
        }
    }

    /// Does an operation, or not, or does it and says that it failed.
    async fn operate<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let lost = self.enter().await?;
        let done = operation.await;
        match lost {
            Some(error) => Err(error),
            None => done,
        }
    }
}

impl State {
    fn begin(&mut self, number: u64) -> Result<Option<Error>> {
        let killed = self.kill.take_if(|(at, _)| number >= *at);
        let failed = killed.or(self.fail.take_if(|(at, _)| number >= *at));
        self.is_dead |= killed.is_some();
        self.has_failed |= failed.is_some();
        match failed {
            Some((_, Fault::Before)) => Err(failure("the operation failed")),
            Some((_, Fault::After)) => Ok(Some(failure("the answer was lost"))),
            None => Ok(None),
        }
    }
}

fn failure(what: &'static str) -> Error {
    Error::Generic { store: "simulated", source: what.into() }
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated store")
    }
}

#[async_trait]
impl ObjectStoreProvider for Tap {
    async fn new_store(&self, base: Url, params: &ObjectStoreParams) -> lance::Result<LanceStore> {
        let mut store = MemoryStoreProvider.new_store(base, params).await?;
        store.inner = Arc::new(self.clone());
        Ok(store)
    }

    fn extract_path(&self, url: &Url) -> lance::Result<Path> {
        MemoryStoreProvider.extract_path(url)
    }

    fn calculate_object_store_prefix(
        &self,
        url: &Url,
        options: Option<&HashMap<String, String>>,
    ) -> lance::Result<String> {
        MemoryStoreProvider.calculate_object_store_prefix(url, options)
    }
}

#[async_trait]
impl ObjectStore for Tap {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.operate(self.store.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.operate(self.store.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.operate(self.store.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let tap = self.clone();
        let deleted = async move { tap.operate(async { Ok(tap.store.delete_stream(locations)) }).await };
        stream::once(deleted).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (tap, prefix) = (self.clone(), prefix.cloned());
        let listed = async move { tap.operate(async { Ok(tap.store.list(prefix.as_ref())) }).await };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.operate(self.store.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.operate(self.store.copy_opts(from, to, options)).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    async fn put(tap: &Tap, name: &str) -> Result<PutResult> {
        tap.put_opts(&Path::from(name), "bytes".into(), PutOptions::default()).await
    }

    async fn is_there(tap: &Tap, name: &str) -> bool {
        tap.store.head(&Path::from(name)).await.is_ok()
    }

    /// An operation that fails is done or not, as was planned, and the next one goes well; after the one at which a
    /// process is killed none is done any more.
    #[tokio::test]
    async fn operations_fail_where_it_was_planned() {
        let tap = Tap::new(Arc::default());
        tap.fail(1, Fault::Before);
        put(&tap, "a").await.unwrap();
        put(&tap, "b").await.unwrap_err();
        tap.fail(0, Fault::After);
        put(&tap, "c").await.unwrap_err();
        put(&tap, "d").await.unwrap();
        tap.kill(0, Fault::After);
        put(&tap, "e").await.unwrap_err();
        put(&tap, "f").await.unwrap_err();
        let mut there = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f"] {
            there.push(is_there(&tap, name).await);
        }
        assert_eq!(there, [true, false, true, true, true, false]);
    }

    /// What is held is done when it is released, and not at all when the process has ended by then.
    #[tokio::test]
    async fn operations_wait_where_it_was_planned() {
        for is_released in [true, false] {
            let tap = Tap::new(Arc::default());
            tap.hold(0);
            let waits = tap.clone();
            let waiting = tokio::spawn(async move { put(&waits, "a").await });
            tap.stopped().await;
            assert!(!is_there(&tap, "a").await);
            if is_released {
                tap.release()
            } else {
                tap.end()
            }
            assert_eq!(waiting.await.unwrap().is_ok(), is_released);
            assert_eq!((is_there(&tap, "a").await, tap.is_stalled()), (is_released, !is_released));
        }
    }
}
