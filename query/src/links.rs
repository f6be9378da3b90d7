//! Links from other traces into one: which spans name it, found without reading every span each time.
//!
//! A link stands with the span that holds it, and no index leads from the linked trace to it. The
//! links of a fragment never change, so they are read once per fragment and kept by what they point
//! at. Fragments that compaction writes are read again; a cache beyond its bound begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use futures::future::try_join_all;
use lance::Dataset;
use tracerag_schemas::Table;

use crate::error::{QueryError, Result};
use crate::rows::{Columns, items, number, text};
use crate::snapshot::{Range, Snapshot};

/// Links kept at once; each takes about 200 bytes.
const KEPT_LINKS: usize = 500_000;

/// A link as its holder gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InboundLink {
    /// Trace and span that hold the link.
    pub trace_id: String,
    pub span_id: String,
    /// The span that is linked to.
    pub target_span_id: Option<String>,
    /// When the holder was taken, in ns.
    pub ingested_at: i64,
}

/// Links by tenant and trace linked to.
type Links = HashMap<(String, String), Vec<InboundLink>>;

/// Links of fragments that were read before; clones share them.
#[derive(Clone, Default)]
pub struct LinkCache {
    fragments: Arc<Mutex<HashMap<Key, Arc<Links>>>>,
}

/// Address of the dataset, and the fragment's first file: ids alone come again after a restore.
type Key = (String, u64, String);

impl std::fmt::Debug for LinkCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkCache")
    }
}

impl LinkCache {
    /// Links from other traces into one, sorted. `since`: spans that start earlier do not link to it.
    pub(crate) async fn leading_to(&self, snapshot: &Snapshot, trace_id: &str, since: i64) -> Result<Vec<InboundLink>> {
        let ranges = [Range::new("start_time", since, i64::MAX)];
        let mut found = Vec::new();
        let key = (snapshot.tenant().to_owned(), trace_id.to_owned());
        for (name, dataset) in snapshot.datasets(Table::Spans, &ranges) {
            let opened = snapshot.lake().dataset(&name, dataset.version).await?;
            let address = snapshot.lake().dataset_uri(&name);
            for links in self.of_dataset(&address, &opened).await? {
                found.extend(links.get(&key).into_iter().flatten().filter(|link| link.trace_id != trace_id).cloned());
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    async fn of_dataset(&self, address: &str, dataset: &Arc<Dataset>) -> Result<Vec<Arc<Links>>> {
        let reads = dataset.fragments().iter().map(|fragment| async move {
            let file = fragment.files.first().map(|file| file.path.clone()).unwrap_or_default();
            let key = (address.to_owned(), fragment.id, file);
            if let Some(known) = self.lock().get(&key) {
                return Ok(Arc::clone(known));
            }
            let links = Arc::new(read(dataset, fragment.clone()).await?);
            self.keep(key, Arc::clone(&links));
            Ok::<_, QueryError>(links)
        });
        try_join_all(reads).await
    }

    fn keep(&self, key: Key, links: Arc<Links>) {
        let mut fragments = self.lock();
        let kept: usize = fragments.values().map(|links| links.len()).sum();
        if kept + links.len() > KEPT_LINKS {
            fragments.clear();
        }
        fragments.insert(key, links);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Links>>> {
        self.fragments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(dataset: &Dataset, fragment: lance::table::format::Fragment) -> Result<Links> {
    let failed = |source| QueryError::Lance { dataset: "spans".to_owned(), source: Box::new(source) };
    let mut scan = dataset.scan();
    scan.with_fragments(vec![fragment]);
    scan.project(&["tenant_id", "trace_id", "span_id", "links", "ingested_at"]).map_err(failed)?;
    let mut stream = scan.try_into_stream().await.map_err(failed)?;
    let mut links = Links::new();
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        collect(&batch, &mut links)?;
    }
    Ok(links)
}

fn collect(batch: &RecordBatch, links: &mut Links) -> Result<()> {
    let columns = Columns::of("spans", batch);
    let (tenants, ingested) = (columns.text("tenant_id")?, columns.time("ingested_at")?);
    let (traces, spans) = (columns.text("trace_id")?, columns.text("span_id")?);
    let list = columns.list("links")?;
    let fields = columns.items(list, "links")?;
    let (to_traces, to_spans) = (fields.text("trace_id")?, fields.text("span_id")?);
    for row in 0..batch.num_rows() {
        for item in items(list, row) {
            let (Some(tenant), Some(target)) = (text(tenants, row), text(to_traces, item)) else { continue };
            links.entry((tenant.to_owned(), target.to_owned())).or_default().push(InboundLink {
                trace_id: text(traces, row).unwrap_or_default().to_owned(),
                span_id: text(spans, row).unwrap_or_default().to_owned(),
                target_span_id: text(to_spans, item).map(str::to_owned),
                ingested_at: number(ingested, row).unwrap_or_default(),
            });
        }
    }
    Ok(())
}
