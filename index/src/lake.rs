//! The lake: where datasets lie, how they are opened, and which are held open.

mod beside;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
// Futures of scans and writes are deep; boxed, those that wait for them are not.
use futures::FutureExt;
use futures::future::try_join_all;
use lance::Dataset;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode, WriteParams};
use lance::session::Session;
use lance_file::version::LanceFileVersion;
use lance_file::writer::FileWriterOptions;
use lance_io::object_store::{ObjectStoreParams, ObjectStoreRegistry, StorageOptionsAccessor};
use tracerag_schemas::{Schemas, Table};

#[cfg(target_os = "linux")]
use crate::cached_reads;
use crate::columns;
use crate::error::{At, Error, Result, is_absent};
use crate::folder_store;
use crate::incidents::WaitingTexts;
use crate::journal::heads::{self, HEADS};
use crate::journal::log::{self, JOURNAL};
use crate::journal::{DatasetHead, Head, fence};
use crate::later_revisions::LaterRevisions;
use crate::place;
use crate::tenants::Tenants;
use crate::unindexed::UnindexedIds;

/// Bytes of index pages that Lance may keep for this lake. Its own default is 6 GiB a session.
const INDEX_CACHE_BYTES: usize = 256 << 20;
/// Bytes of manifests and file footers that Lance may keep for this lake (its own default: 1 GiB).
const METADATA_CACHE_BYTES: usize = 128 << 20;
/// Opened dataset versions held at once: two weeks of days. A manifest can take a megabyte.
const OPENED_DATASETS: usize = 128;
/// The file format of all tables: the first that knows maps.
const FILE_FORMAT: LanceFileVersion = LanceFileVersion::V2_2;
/// Versions of one dataset held at once: that of the newest head, and that of the one before.
const OPENED_VERSIONS: usize = 2;

/// Where a lake is and how to reach it. Its `Debug` form never shows the storage options: they may hold passwords.
#[derive(Clone, Default)]
pub struct LakeOptions {
    /// A folder, its `file://` address, or `s3://BUCKET/PREFIX`.
    pub uri: String,
    /// Settings of the store, in Lance's names; a folder has none. What is not set here comes from the environment, as
    /// the command line of AWS has it.
    pub storage_options: HashMap<String, String>,
    /// Whether everything that is written is brought to the disk before it counts as written: the lake outlives a power
    /// cut then, as it does a kill in any case.
    pub fsync: bool,
    /// How long a commit may take to be believed without a look; `None`: a minute. Less where versions are cleaned away
    /// sooner than [`crate::MaintainOptions::longest_query`] has it by default.
    pub believes_commits_within: Option<Duration>,
    /// The schemas that are read and written: this release's.
    pub schemas: Arc<Schemas>,
}

impl std::fmt::Debug for LakeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeOptions").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl LakeOptions {
    /// A lake in a folder, or in a bucket with the settings of the environment.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), ..Self::default() }
    }

    /// How its files are reached.
    fn registry(&self) -> ObjectStoreRegistry {
        place::registry(self.fsync.then(folder_store::synced))
    }
}

/// A handle on a lake; cloning it is cheap, and clones share what is open.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    uri: String,
    storage_options: HashMap<String, String>,
    believes_commits_within: Duration,
    schemas: Arc<Schemas>,
    session: Arc<Session>,
    opened: Mutex<Opened>,
    newest: Mutex<HashMap<String, Arc<Dataset>>>,
    head: Mutex<Option<(u64, Arc<Head>)>>,
    tags: Mutex<SnapshotTags>,
    waiting: WaitingTexts,
    unindexed: UnindexedIds,
    later_revisions: LaterRevisions,
    tenants: Tenants,
}

/// Tags of snapshots with their versions, by dataset.
pub(crate) type SnapshotTags = HashMap<String, BTreeMap<String, u64>>;

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Storage options hold credentials, so they stay out.
        f.debug_struct("Lake").field("uri", &self.inner.uri).finish_non_exhaustive()
    }
}

/// Dataset versions by name, the least recently used leaving first.
#[derive(Default)]
struct Opened {
    datasets: HashMap<(String, u64), (Arc<Dataset>, u64)>,
    uses: u64,
}

impl Opened {
    fn get(&mut self, key: &(String, u64)) -> Option<Arc<Dataset>> {
        self.uses += 1;
        let (dataset, used) = self.datasets.get_mut(key)?;
        *used = self.uses;
        Some(Arc::clone(dataset))
    }

    fn put(&mut self, key: (String, u64), dataset: Arc<Dataset>) {
        self.uses += 1;
        let mut versions: Vec<u64> =
            self.datasets.keys().filter(|(name, _)| *name == key.0).map(|(_, version)| *version).collect();
        if versions.len() >= OPENED_VERSIONS && !versions.contains(&key.1) {
            versions.sort_unstable();
            self.datasets.remove(&(key.0.clone(), versions[0]));
        }
        if self.datasets.len() >= OPENED_DATASETS {
            let oldest = self.datasets.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.datasets.remove(&oldest);
            }
        }
        self.datasets.insert(key, (dataset, self.uses));
    }
}

impl Lake {
    /// Opens a lake that exists.
    ///
    /// # Errors
    /// [`Error::NoLake`] if there is none at the address, [`Error::NoStore`] if there can be none,
    /// [`Error::TooNew`] and [`Error::TooOld`] if this release does not know its schema.
    pub async fn open(options: LakeOptions) -> Result<Lake> {
        let registry = options.registry();
        Self::open_on(options, registry).await
    }

    /// [`Lake::open`] for who asks much and writes little: what is cached of the lake's files is read at once.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub async fn open_to_ask(options: LakeOptions) -> Result<Lake> {
        #[cfg(target_os = "linux")]
        let folders = Some(cached_reads::provider());
        #[cfg(not(target_os = "linux"))]
        let folders = None;
        Self::open_on(options, place::registry(folders)).await
    }

    async fn open_on(options: LakeOptions, registry: ObjectStoreRegistry) -> Result<Lake> {
        place::accept(&options.uri)?;
        let lake = Self::handle(options, registry);
        match lake.load(HEADS, None).await {
            Ok(heads) => lake.remember(HEADS, heads),
            Err(error) if is_absent(&error) => return Err(Error::NoLake { uri: lake.inner.uri.clone() }),
            Err(error) => return Err(error).at(HEADS, "opening"),
        };
        lake.head().await?;
        Ok(lake)
    }

    /// Opens a lake, and creates what is missing of it: the small tables, the journal, and `heads`
    /// as the last, so that a lake that can be opened is whole.
    ///
    /// # Errors
    /// [`Error::NoStore`] if no lake can be at the address, [`Error::TooNew`] and [`Error::TooOld`] if this release
    /// does not know the lake's schema; otherwise when a table cannot be written.
    pub async fn open_or_create(options: LakeOptions) -> Result<Lake> {
        place::accept(&options.uri)?;
        let registry = options.registry();
        Self::open_or_create_on(options, registry).await
    }

    /// [`Lake::open_or_create`] on stores of any making, such as those of a simulation.
    #[doc(hidden)]
    pub async fn open_or_create_on(options: LakeOptions, registry: ObjectStoreRegistry) -> Result<Lake> {
        let lake = Self::handle(options, registry);
        let version = match lake.load(HEADS, None).await {
            Ok(heads) => {
                lake.remember(HEADS, heads);
                lake.head().await?.1.schema_version
            }
            Err(error) if is_absent(&error) => {
                lake.try_store().await?;
                lake.schemas().version()
            }
            Err(error) => return Err(error).at(HEADS, "opening"),
        };
        let small: Vec<Table> = Table::ALL.iter().copied().filter(|table| !table.by_day()).collect();
        let datasets =
            try_join_all(small.iter().map(|table| lake.ensure(table.name(), lake.schemas().at(version, *table))))
                .await?;
        lake.ensure(JOURNAL, log::schema()).await?;
        let in_head: Vec<(String, DatasetHead)> = small
            .iter()
            .zip(&datasets)
            .filter(|(table, _)| !table.is_side())
            .map(|(table, dataset)| (table.name().to_owned(), DatasetHead::empty(dataset.version_id())))
            .collect();
        heads::create(&lake, in_head).await?;
        let newest = lake.schemas().version();
        if version < newest {
            tracing::info!(version, newest, "the lake keeps its schema until `tracerag migrate` moves it");
        }
        Ok(lake)
    }

    fn handle(options: LakeOptions, registry: ObjectStoreRegistry) -> Lake {
        let trimmed = options.uri.trim_end_matches('/');
        let uri = if trimmed.is_empty() { options.uri.clone() } else { trimmed.to_owned() };
        Lake {
            inner: Arc::new(Inner {
                uri,
                storage_options: options.storage_options,
                believes_commits_within: options.believes_commits_within.unwrap_or(fence::BELIEVED),
                schemas: options.schemas,
                session: Arc::new(Session::new(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES, Arc::new(registry))),
                opened: Mutex::default(),
                newest: Mutex::default(),
                head: Mutex::default(),
                tags: Mutex::default(),
                waiting: WaitingTexts::default(),
                unindexed: UnindexedIds::default(),
                later_revisions: LaterRevisions::default(),
                tenants: Tenants::default(),
            }),
        }
    }

    /// Address of the lake.
    pub fn uri(&self) -> &str {
        &self.inner.uri
    }

    /// The schemas that this handle reads and writes.
    pub fn schemas(&self) -> &Schemas {
        &self.inner.schemas
    }

    /// How long a commit may take to be believed without a look.
    pub(crate) fn believes_commits_within(&self) -> Duration {
        self.inner.believes_commits_within
    }

    /// Refuses what this release does not know.
    pub(crate) fn accept(&self, version: u32) -> Result<()> {
        let schemas = self.schemas();
        if version > schemas.version() {
            return Err(Error::TooNew { found: version, known: schemas.version() });
        }
        if version < schemas.oldest() {
            return Err(Error::TooOld { found: version, oldest: schemas.oldest() });
        }
        Ok(())
    }

    /// Address of a dataset: `LAKE/flags.lance`, `LAKE/spans/2026-11-23.lance`.
    pub fn dataset_uri(&self, name: &str) -> String {
        format!("{}/{name}.lance", self.inner.uri)
    }

    /// The newest head. Reads `heads` only, and of that only what is new.
    ///
    /// # Errors
    /// When it cannot be read; [`Error::TooNew`] if the lake was migrated beyond this release.
    pub async fn newest_head(&self) -> Result<Head> {
        Ok((*self.head().await?.1).clone())
    }

    /// The newest head with the version of `heads` in which it stands.
    pub(crate) async fn head(&self) -> Result<(Arc<Dataset>, Arc<Head>)> {
        let heads = self.newest(HEADS).await?;
        let version = heads.version_id();
        if let Some((read, head)) = &*lock(&self.inner.head)
            && *read == version
        {
            return Ok((heads, Arc::clone(head)));
        }
        let head = Arc::new(heads::read_newest(&heads).await?);
        self.accept(head.schema_version)?;
        let mut known = lock(&self.inner.head);
        if known.as_ref().is_none_or(|(read, _)| *read < version) {
            *known = Some((version, Arc::clone(&head)));
        }
        drop(known);
        Ok((heads, head))
    }

    /// A head to begin from: in a store the newest that this handle knows, without a look whether there is a newer one.
    /// For who finds out by a fenced commit, or need not know. See [`Self::base`].
    pub(crate) async fn known_head(&self) -> Result<(Arc<Dataset>, Arc<Head>)> {
        if !place::is_folder(&self.inner.uri)
            && let Some(heads) = lock(&self.inner.newest).get(HEADS).cloned()
            && let Some((read, head)) = &*lock(&self.inner.head)
            && *read == heads.version_id()
        {
            return Ok((heads, Arc::clone(head)));
        }
        self.head().await
    }

    /// Takes in a head that was published here, so that nobody reads it back.
    pub(crate) fn know_head(&self, heads: &Dataset, head: &Arc<Head>) {
        let version = heads.version_id();
        let mut known = lock(&self.inner.head);
        if known.as_ref().is_none_or(|(read, _)| *read < version) {
            *known = Some((version, Arc::clone(head)));
        }
    }

    /// A version of a dataset to commit to through the fence. In a store that is the newest one that this handle knows:
    /// what others have committed since conflicts, and who loses looks again with [`Self::newest`]. A folder may be a
    /// volume that is not mounted any more, where such a commit would make a dataset of its own; there it is always
    /// looked first.
    pub(crate) async fn base(&self, name: &str) -> Result<Arc<Dataset>> {
        if !place::is_folder(&self.inner.uri)
            && let Some(known) = lock(&self.inner.newest).get(name).cloned()
        {
            return Ok(known);
        }
        self.newest(name).await
    }

    /// A dataset at a version, as a head names them.
    pub async fn dataset(&self, name: &str, version: u64) -> Result<Arc<Dataset>> {
        let key = (name.to_owned(), version);
        if let Some(dataset) = lock(&self.inner.opened).get(&key) {
            return Ok(dataset);
        }
        let dataset = Arc::new(self.load(name, Some(version)).await.at(name, "opening a version")?);
        lock(&self.inner.opened).put(key, Arc::clone(&dataset));
        Ok(dataset)
    }

    /// What tells a version of a dataset from the version of the same number in another lake: when it was committed, and
    /// its transaction, whose name has a random part.
    ///
    /// # Errors
    /// When the version cannot be opened.
    pub async fn commit_id(&self, name: &str, version: u64) -> Result<String> {
        let dataset = self.dataset(name, version).await?;
        let manifest = dataset.manifest();
        let transaction = manifest.transaction_file.as_deref().unwrap_or_default();
        Ok(format!("{} {transaction}", manifest.timestamp_nanos))
    }

    /// The newest version of a dataset that is not read through a head: side tables, derived tables.
    pub async fn newest(&self, name: &str) -> Result<Arc<Dataset>> {
        let known = lock(&self.inner.newest).get(name).cloned();
        let Some(known) = known else {
            let dataset = self.load(name, None).await.at(name, "opening")?;
            return Ok(self.remember(name, dataset));
        };
        let mut latest = (*known).clone();
        latest.checkout_latest().await.at(name, "looking for a newer version")?;
        // A listing that races a clean-up may miss the newest; what is known is newer then.
        if latest.version_id() <= known.version_id() {
            return Ok(known);
        }
        Ok(self.remember(name, latest))
    }

    /// The tags of snapshots as this process has made them last.
    pub(crate) fn snapshot_tags(&self) -> MutexGuard<'_, SnapshotTags> {
        lock(&self.inner.tags)
    }

    /// The newest version of a dataset, which is created empty if it does not exist.
    ///
    /// For tables that are derived from the lake's own; everything else exists from the start or is
    /// created when a day's first rows are staged.
    pub async fn ensure(&self, name: &str, schema: SchemaRef) -> Result<Arc<Dataset>> {
        if let Some(known) = lock(&self.inner.newest).get(name).cloned() {
            return Ok(known);
        }
        match self.load(name, None).await {
            Ok(dataset) => return Ok(self.remember(name, dataset)),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error).at(name, "opening"),
        }
        self.create(name, RecordBatch::new_empty(schema)).await
    }

    /// Creates a dataset with its first rows; if another was quicker, opens the other's.
    ///
    /// Lance's own creation looks once more whether there is a dataset before it commits, and would then overwrite what
    /// another has created since its first look, rows included. A commit that is not tried again is version 1 or nothing.
    pub(crate) async fn create(&self, name: &str, rows: RecordBatch) -> Result<Arc<Dataset>> {
        let uri = self.dataset_uri(name);
        let params = self.write_params(WriteMode::Create);
        let create = async {
            let first = InsertBuilder::new(uri.as_str()).with_params(&params).execute_uncommitted(vec![rows]).await?;
            let mut commit = CommitBuilder::new(uri.as_str())
                .with_max_retries(0)
                .with_skip_auto_cleanup(true)
                .with_storage_format(FILE_FORMAT)
                .with_session(Arc::clone(&self.inner.session));
            if let Some(params) = self.store_params() {
                commit = commit.with_store_params(params);
            }
            commit.execute(first).await
        };
        match create.boxed().await {
            Ok(dataset) => Ok(self.remember(name, dataset)),
            Err(error) => match self.load(name, None).await {
                Ok(dataset) => Ok(self.remember(name, dataset)),
                Err(_) => Err(error).at(name, "creating"),
            },
        }
    }

    /// Appends to a side table (bundles, fixes, audit, grouping rules), outside the journal.
    ///
    /// # Errors
    /// [`Error::WrongWay`] for a data table: those are written by a [`crate::Writer`] only.
    pub async fn append_side(&self, table: Table, batch: RecordBatch) -> Result<()> {
        if !table.is_side() {
            return Err(Error::WrongWay {
                table: table.name(),
                what: "a data table; write it through a Writer, as part of an epoch",
            });
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (_, head) = self.head().await?;
        let dataset = columns::ensure(self, table.name(), table, head.schema_version).await?;
        let batch = columns::fit(&dataset, &batch).at(table.name(), "appending")?;
        let params = self.write_params(WriteMode::Append);
        let written = InsertBuilder::new(dataset)
            .with_params(&params)
            .execute(vec![batch])
            .boxed()
            .await
            .at(table.name(), "appending")?;
        self.remember(table.name(), written);
        Ok(())
    }

    /// Commits an append without rows: every fenced writer that started before it conflicts with it.
    pub(crate) async fn barrier(&self, name: &str, dataset: &Arc<Dataset>) -> Result<Arc<Dataset>> {
        let empty = TransactionBuilder::new(dataset.version_id(), Operation::Append { fragments: vec![] }).build();
        let committed = CommitBuilder::new(Arc::clone(dataset))
            .with_skip_auto_cleanup(true)
            .execute(empty)
            .await
            .at(name, "committing a barrier")?;
        Ok(self.remember(name, committed))
    }

    /// Settings of every write: the file format that knows maps, and no clean-up of Lance's own.
    pub fn write_params(&self, mode: WriteMode) -> WriteParams {
        WriteParams {
            mode,
            data_storage_version: Some(FILE_FORMAT),
            store_params: self.store_params(),
            session: Some(Arc::clone(&self.inner.session)),
            auto_cleanup: None,
            skip_auto_cleanup: true,
            // What is written is nobody else's, so the encoders need not copy it to let go of the rest.
            file_writer_options: Some(FileWriterOptions { keep_original_array: Some(true), ..Default::default() }),
            ..WriteParams::default()
        }
    }

    fn store_params(&self) -> Option<ObjectStoreParams> {
        if self.inner.storage_options.is_empty() {
            return None;
        }
        Some(ObjectStoreParams {
            storage_options_accessor: Some(Arc::new(StorageOptionsAccessor::with_static_options(
                self.inner.storage_options.clone(),
            ))),
            ..ObjectStoreParams::default()
        })
    }

    pub(crate) async fn load(&self, name: &str, version: Option<u64>) -> lance::Result<Dataset> {
        let mut builder =
            DatasetBuilder::from_uri(self.dataset_uri(name)).with_session(Arc::clone(&self.inner.session));
        if !self.inner.storage_options.is_empty() {
            builder = builder.with_storage_options(self.inner.storage_options.clone());
        }
        if let Some(version) = version {
            builder = builder.with_version(version);
        }
        builder.load().await
    }

    /// Keeps a handle on a version that is known to exist, so that nobody here has to open it again.
    pub(crate) fn remember(&self, name: &str, dataset: Dataset) -> Arc<Dataset> {
        let dataset = Arc::new(dataset);
        lock(&self.inner.opened).put((name.to_owned(), dataset.version_id()), Arc::clone(&dataset));
        let mut newest = lock(&self.inner.newest);
        match newest.get(name) {
            Some(known) if known.version_id() > dataset.version_id() => {}
            _ => {
                newest.insert(name.to_owned(), Arc::clone(&dataset));
            }
        }
        dataset
    }

    pub(crate) fn waiting(&self) -> &WaitingTexts {
        &self.inner.waiting
    }

    /// Which parts of `traces` have later revisions, as far as they were read.
    pub fn later_revisions(&self) -> &LaterRevisions {
        &self.inner.later_revisions
    }

    /// Whose rows the parts of tables hold, as far as they were read.
    pub fn tenants(&self) -> &Tenants {
        &self.inner.tenants
    }

    /// Ids of rows that no index knows, as far as they were read.
    pub fn unindexed(&self) -> &UnindexedIds {
        &self.inner.unindexed
    }

    /// Lets go of a dataset that is about to be deleted.
    pub(crate) fn forget(&self, name: &str) {
        lock(&self.inner.newest).remove(name);
        lock(&self.inner.opened).datasets.retain(|(opened, _), _| opened != name);
    }
}

/// The caches hold no invariant that a panic elsewhere could break, so a poisoned lock is taken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Name of a table's dataset for a day, in days since 1970-01-01.
pub(crate) fn day_dataset(table: Table, day: i64) -> String {
    format!("{}/{}", table.name(), tracerag_schemas::time::day_name(day))
}

/// The table of a dataset's name, and its day where the table is kept by day.
pub(crate) fn table_of(name: &str) -> Option<(Table, Option<&str>)> {
    match name.split_once('/') {
        Some((table, day)) => Table::by_name(table).filter(|table| table.by_day()).map(|table| (table, Some(day))),
        None => Table::by_name(name).map(|table| (table, None)),
    }
}
