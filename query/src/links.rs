//! Links from other traces into one: which spans name it, found without reading every span each time.
//!
//! A link stands with the span that holds it, and no index leads from the linked trace to it. The links of
//! a fragment never change, so they are read once per fragment, and what is kept of each is the hash of the
//! trace that it points at and its row: 16 bytes. The rows that a hash leads to are read when they are asked
//! for, and only then it shows whose they are. Fragments that compaction writes are read again; those that
//! it replaced are forgotten.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use futures::future::try_join_all;
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance::table::format::Fragment;
use tracerag_schemas::Table;

use crate::error::{QueryError, Result};
use crate::lookup::{ROW_ID, take_rows};
use crate::reads;
use crate::rows::{Columns, items, number, text};
use crate::snapshot::{Range, Snapshot};

/// Links kept at once: 64 MiB of them.
const KEPT_LINKS: usize = 4_000_000;

/// What is read of the rows that hold a link.
const HOLDER: [&str; 5] = ["tenant_id", "trace_id", "span_id", "links", "ingested_at"];

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

/// Links of one fragment: the hash of the trace linked to, and the holder's row id; sorted.
type Links = Vec<(u64, u64)>;

/// Links of fragments that were read before; clones share them.
#[derive(Clone)]
pub struct LinkCache {
    kept: Arc<Mutex<Kept>>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    fragments: HashMap<Key, Entry>,
    links: usize,
    questions: u64,
}

struct Entry {
    links: Arc<Links>,
    /// Number of the question that it was last used for.
    used: u64,
}

/// Address of the dataset, and the fragment's first file: ids alone come again after a restore.
type Key = (String, u64, String);

impl Default for LinkCache {
    fn default() -> Self {
        Self::holding(KEPT_LINKS)
    }
}

impl std::fmt::Debug for LinkCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkCache")
    }
}

impl LinkCache {
    /// A cache of so many links at most.
    fn holding(most: usize) -> Self {
        Self { kept: Arc::default(), most }
    }

    /// Links from other traces into one, sorted. `since`: spans that start earlier do not link to it.
    pub(crate) async fn leading_to(&self, snapshot: &Snapshot, trace_id: &str, since: i64) -> Result<Vec<InboundLink>> {
        let ranges = [Range::new("start_time", since, i64::MAX)];
        let question = {
            let mut kept = self.lock();
            kept.questions += 1;
            kept.questions
        };
        let days = snapshot.datasets(Table::Spans, &ranges).into_iter().map(|(name, dataset)| async move {
            let opened = snapshot.lake().dataset(&name, dataset.version).await?;
            let address = snapshot.lake().dataset_uri(&name);
            let rows = self.rows_in(&address, &opened, hash(trace_id), question).await?;
            let batch = take_rows(Table::Spans, &opened, &rows, &HOLDER).await?;
            batch.map_or_else(|| Ok(vec![]), |batch| holders(&batch, snapshot.tenant(), trace_id))
        });
        let mut found: Vec<InboundLink> = try_join_all(days).await?.into_iter().flatten().collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Rows of a dataset that may hold a link to a trace, by its hash; rising.
    async fn rows_in(&self, address: &str, dataset: &Dataset, target: u64, question: u64) -> Result<Vec<u64>> {
        let key = |fragment: &Fragment| {
            let file = fragment.files.first().map(|file| file.path.clone()).unwrap_or_default();
            (address.to_owned(), fragment.id, file)
        };
        self.forget_others(address, &dataset.fragments().iter().map(key).collect());
        let reads = dataset.fragments().iter().map(|fragment| async move {
            let key = key(fragment);
            if let Some(known) = self.known(&key, question) {
                return Ok(known);
            }
            let links = Arc::new(read(dataset, fragment.clone()).await?);
            self.keep(key, Arc::clone(&links), question);
            Ok::<_, QueryError>(links)
        });
        let mut rows = Vec::new();
        for links in try_join_all(reads).await? {
            let first = links.partition_point(|(hash, _)| *hash < target);
            rows.extend(links[first..].iter().take_while(|(hash, _)| *hash == target).map(|(_, row)| *row));
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    fn known(&self, key: &Key, question: u64) -> Option<Arc<Links>> {
        let mut kept = self.lock();
        let entry = kept.fragments.get_mut(key)?;
        entry.used = question;
        Some(Arc::clone(&entry.links))
    }

    /// Forgets fragments of a dataset that are none of its own any more.
    fn forget_others(&self, address: &str, present: &HashSet<Key>) {
        let mut kept = self.lock();
        kept.fragments.retain(|key, _| key.0 != address || present.contains(key));
        kept.links = kept.fragments.values().map(|entry| entry.links.len()).sum();
    }

    /// Keeps a fragment's links, in place of those that were not used for the longest time. What the question
    /// itself has used stays: a cache that is too small for one question would else begin anew each time.
    fn keep(&self, key: Key, links: Arc<Links>, question: u64) {
        if links.len() > self.most {
            return;
        }
        let mut kept = self.lock();
        while kept.links + links.len() > self.most {
            let oldest = kept.fragments.iter().filter(|(_, entry)| entry.used < question && !entry.links.is_empty());
            let Some(oldest) = oldest.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone()) else { return };
            if let Some(entry) = kept.fragments.remove(&oldest) {
                kept.links -= entry.links.len();
            }
        }
        kept.links += links.len();
        if let Some(replaced) = kept.fragments.insert(key, Entry { links, used: question }) {
            kept.links -= replaced.links.len();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(trace_id: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(trace_id)
}

/// The links of a fragment. Most spans have none, so nothing but the links is read.
async fn read(dataset: &Dataset, fragment: Fragment) -> Result<Links> {
    let failed = |source| QueryError::Lance { dataset: "spans".to_owned(), source: Box::new(source) };
    reads::planned("spans");
    let mut scan = dataset.scan();
    scan.with_fragments(vec![fragment]);
    scan.project(&["links"]).map_err(failed)?;
    scan.with_row_id();
    let mut stream = scan.try_into_stream().boxed().await.map_err(failed)?;
    let mut links = Links::new();
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        let columns = Columns::of("spans", &batch);
        let list = columns.list("links")?;
        if list.values().is_empty() {
            continue;
        }
        let targets = columns.items(list, "links")?.text("trace_id")?;
        let rows = batch.column_by_name(ROW_ID).and_then(|rows| rows.as_primitive_opt::<UInt64Type>());
        let rows = rows.ok_or_else(|| QueryError::Column { dataset: "spans".to_owned(), column: ROW_ID.to_owned() })?;
        for row in 0..batch.num_rows() {
            let targets = items(list, row).filter_map(|item| text(targets, item));
            links.extend(targets.map(|target| (hash(target), rows.value(row))));
        }
    }
    links.sort_unstable();
    Ok(links)
}

/// The links to a trace that rows of the tenant hold, from other traces.
fn holders(batch: &RecordBatch, tenant: &str, trace_id: &str) -> Result<Vec<InboundLink>> {
    let columns = Columns::of("spans", batch);
    let (tenants, ingested) = (columns.text("tenant_id")?, columns.time("ingested_at")?);
    let (traces, spans) = (columns.text("trace_id")?, columns.text("span_id")?);
    let list = columns.list("links")?;
    let fields = columns.items(list, "links")?;
    let (to_traces, to_spans) = (fields.text("trace_id")?, fields.text("span_id")?);
    let mut links = Vec::new();
    let is_other = |row: &usize| text(tenants, *row) == Some(tenant) && text(traces, *row) != Some(trace_id);
    for row in (0..batch.num_rows()).filter(is_other) {
        for item in items(list, row).filter(|item| text(to_traces, *item) == Some(trace_id)) {
            links.push(InboundLink {
                trace_id: text(traces, row).unwrap_or_default().to_owned(),
                span_id: text(spans, row).unwrap_or_default().to_owned(),
                target_span_id: text(to_spans, item).map(str::to_owned),
                ingested_at: number(ingested, row).unwrap_or_default(),
            });
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(dataset: &str, fragment: u64) -> Key {
        (dataset.to_owned(), fragment, format!("{fragment}.lance"))
    }

    fn links(count: u64) -> Arc<Links> {
        Arc::new((0..count).map(|n| (n, n)).collect())
    }

    /// A full cache gives up what was not used for the longest time, but nothing that the question at hand
    /// needs: what has no room is not kept, and what is kept stays.
    #[test]
    fn a_full_cache_keeps_what_is_in_use() {
        let cache = LinkCache::holding(10);
        cache.keep(key("a", 1), links(4), 1);
        cache.keep(key("a", 2), links(4), 2);
        assert!(cache.known(&key("a", 1), 3).is_some());
        cache.keep(key("a", 3), links(4), 3);
        assert!(cache.known(&key("a", 2), 3).is_none(), "the one unused for longest has left");
        cache.keep(key("a", 4), links(4), 3);
        assert!(cache.known(&key("a", 4), 3).is_none(), "there is no room in this question");
        assert!(cache.known(&key("a", 1), 3).is_some() && cache.known(&key("a", 3), 3).is_some());
        assert_eq!(cache.lock().links, 8);
    }

    /// Fragments that a compaction replaced are forgotten, those of other datasets are not.
    #[test]
    fn replaced_fragments_are_forgotten() {
        let cache = LinkCache::holding(100);
        cache.keep(key("a", 1), links(3), 1);
        cache.keep(key("b", 1), links(5), 1);
        cache.forget_others("a", &HashSet::from([key("a", 7)]));
        assert!(cache.known(&key("a", 1), 2).is_none());
        assert!(cache.known(&key("b", 1), 2).is_some());
        assert_eq!(cache.lock().links, 5);
    }
}
