//! Which incidents have got failures since somebody looked last: the tail of `incident_counts`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{col, lit};
use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance::dataset::transaction::Operation;
use lance_table::format::Fragment;
use serde::{Deserialize, Serialize};
use tracerag_schemas::Table;

use crate::error::{At, Error, Result, is_absent};
use crate::journal::Head;
use crate::lake::Lake;

/// Versions whose changes are read to see which rows a compaction has moved. Whoever has not looked for longer looks at
/// all rows of recent failures, which costs less than so many requests.
const MOST_VERSIONS: u64 = 200;
/// Versions that are read at the same time.
const AT_ONCE: usize = 16;

/// How far somebody has looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The journal's position when the table had changed last.
    pub position: u64,
    /// The version of `incident_counts`.
    version: u64,
    /// Fragments of it with an id below this were looked at.
    fragments: u64,
}

/// Incidents that have got failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// How far was looked now.
    pub looked: Looked,
    /// Fingerprints by tenant.
    pub fingerprints: BTreeMap<String, BTreeSet<String>>,
}

/// The incidents that have rows at a head which were not there when it was looked last. Rows that a compaction has moved
/// are known; where it is not known any more what it moved, or it is long ago that somebody looked, its incidents are named
/// again. Only rows count of failures that were seen since a time, in ns; a row of nothing but echoes tells of the incidents
/// of others.
///
/// # Errors
/// When the table cannot be read.
pub async fn touched(lake: &Lake, head: &Head, before: Looked, since: i64) -> Result<Touched> {
    let mut touched = Touched { looked: before, ..Touched::default() };
    let Some(tail) = tail(lake, head, before).await? else { return Ok(touched) };
    touched.looked = tail.looked;
    if tail.fragments.is_empty() {
        return Ok(touched);
    }
    let name = Table::IncidentCounts.name();
    let mut scan = tail.dataset.scan();
    scan.project(&["tenant_id", "fingerprint"]).at(name, "reading new failures")?;
    scan.with_fragments(tail.fragments);
    let since = ScalarValue::TimestampNanosecond(Some(since), Some(Arc::from("UTC")));
    let has_failures = col("failure_count").is_null().or(col("failure_count").not_eq(lit(0_i64)));
    scan.filter_expr(col("last_seen").gt_eq(lit(since)).and(has_failures));
    let mut rows = scan.try_into_stream().await.at(name, "reading new failures")?;
    while let Some(batch) = rows.try_next().await.at(name, "reading new failures")? {
        let (tenants, fingerprints) = (text(&batch, "tenant_id")?, text(&batch, "fingerprint")?);
        for (tenant, fingerprint) in tenants.iter().zip(fingerprints.iter()) {
            let (Some(tenant), Some(fingerprint)) = (tenant, fingerprint) else { continue };
            touched.fingerprints.entry(tenant.to_owned()).or_default().insert(fingerprint.to_owned());
        }
    }
    Ok(touched)
}

/// The end of the table that was not looked at.
pub(crate) struct Tail {
    /// How far it goes.
    pub looked: Looked,
    pub dataset: Arc<Dataset>,
    /// Where its rows are. Some may have been looked at, where it is not known any more what a compaction moved.
    pub fragments: Vec<Fragment>,
}

/// What a head has beyond what was looked at; `None`: the table has not changed.
pub(crate) async fn tail(lake: &Lake, head: &Head, before: Looked) -> Result<Option<Tail>> {
    let counts = head.of(Table::IncidentCounts).next().filter(|(_, counts)| counts.rows > 0);
    let Some((name, counts)) = counts.filter(|(_, counts)| counts.version > before.version) else {
        return Ok(None);
    };
    let dataset = lake.dataset(name, counts.version).await?;
    let is_behind = counts.version - before.version > MOST_VERSIONS;
    let moved = if is_behind { HashSet::new() } else { moved(name, &dataset, before).await? };
    let is_new = |fragment: &&Fragment| fragment.id >= before.fragments && !moved.contains(&fragment.id);
    let fragments: Vec<Fragment> = dataset.fragments().iter().filter(is_new).cloned().collect();
    let end = dataset.fragments().iter().map(|fragment| fragment.id + 1).max().unwrap_or_default();
    let fragments_end = end.max(before.fragments);
    let looked = Looked { position: head.position, version: counts.version, fragments: fragments_end };
    Ok(Some(Tail { looked, dataset, fragments }))
}

/// Fragments that hold only rows which were looked at before, under other ids.
async fn moved(name: &str, dataset: &Arc<Dataset>, before: Looked) -> Result<HashSet<u64>> {
    let mut moved = HashSet::new();
    if before.version == 0 {
        return Ok(moved);
    }
    let versions = stream::iter(before.version + 1..=dataset.version_id());
    let transactions = versions.map(|version| async move {
        match dataset.read_transaction_by_version(version).await {
            Ok(transaction) => Ok(transaction),
            // Cleaned away.
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error).at(name, "reading what was compacted"),
        }
    });
    // In their order, for what was moved may be moved again.
    let transactions: Vec<_> = transactions.buffered(AT_ONCE).try_collect().await?;
    for transaction in transactions {
        let Some(Operation::Rewrite { groups, .. }) = transaction.map(|transaction| transaction.operation) else {
            continue;
        };
        for group in groups {
            let is_known = |fragment: &Fragment| fragment.id < before.fragments || moved.contains(&fragment.id);
            if group.old_fragments.iter().all(is_known) {
                moved.extend(group.new_fragments.iter().map(|fragment| fragment.id));
            }
        }
    }
    Ok(moved)
}

/// A column of texts of the table.
pub(crate) fn text<'a>(batch: &'a RecordBatch, column: &'static str) -> Result<&'a StringArray> {
    batch.column_by_name(column).and_then(|values| values.as_string_opt::<i32>()).ok_or_else(|| Error::Schema {
        table: Table::IncidentCounts.name(),
        detail: format!("column {column} is not as this release knows it"),
    })
}
