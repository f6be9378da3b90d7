//! Indices, compaction and clean-up of a table of vectors. The journal's upkeep does not know these tables.

use chrono::{DateTime, TimeDelta, Utc};
use lance::Dataset;
use lance::dataset::cleanup::CleanupPolicy;
use lance::dataset::optimize::{CompactionOptions, compact_files};
use lance::index::DatasetIndexExt;
use lance::index::vector::VectorIndexParams;
use lance_index::scalar::{BuiltinIndexType, InvertedIndexParams, ScalarIndexParams};
use lance_index::{IndexParams, IndexType};
use lance_linalg::distance::MetricType;
use serde_json::Value;

use super::vectors::{Kind, ROWS_PER_PARTITION, Stamp, VECTOR, WORDS, WORDS_INDEXED_ROWS};
use crate::deltas::{self, Lagging};
use crate::error::{At, Result};
use crate::lake::Lake;
use crate::pinned::hold;

/// Rows outside the indices that are put up with. Each search compares with all of them, however large the table is.
const UNINDEXED_ROWS: u64 = 5_000;
/// Deltas of an index at most.
const DELTAS: usize = 6;
/// How many times fewer partitions the index of the vectors may have than its rows want before it is built anew. A
/// table that grows keeps the partitions that it began with, and a search would read ever larger ones.
const OUTGROWN: usize = 4;
/// Bits a number in the vector index; five need a re-rank of only twice the asked-for rows.
const BITS: u8 = 5;
/// Characters of the longest token in the full-text index, so that no digest or qualified name is lost.
const MAX_TOKEN_LENGTH: usize = 256;
/// Rows of a full fragment.
const ROWS_PER_FRAGMENT: usize = 100_000;
/// Fragments below that before they are merged.
const SMALL_FRAGMENTS: usize = 8;
/// Versions before the oldest are removed.
const VERSIONS: usize = 64;
/// Age from which no reader uses a version any more.
const LONGEST_QUERY: TimeDelta = TimeDelta::minutes(10);

/// Columns that a search is filtered by; of few values each, so that a bitmap for each value is small.
const FILTERED: [&str; 3] = ["tenant_id", "service_name", "exception_type"];

/// Looks after a table. Indices come first: fragments inside and outside an index are never merged.
pub(super) async fn keep(lake: &Lake, name: &str, kind: Kind, indexed_rows: usize) -> Result<()> {
    index(lake, name, kind, indexed_rows).await?;
    compact(lake, name).await?;
    clean(lake, name).await
}

async fn index(lake: &Lake, name: &str, kind: Kind, indexed_rows: usize) -> Result<()> {
    let dataset = lake.newest(name).await?;
    let rows = rows(&dataset);
    let least = |column: &str| match column {
        VECTOR => indexed_rows,
        _ => indexed_rows.min(WORDS_INDEXED_ROWS),
    };
    let mut indexed = (*dataset).clone();
    let mut changed = false;
    let mut lagging = Vec::new();
    // Only masked texts are searched by words.
    let words = (kind == Kind::Masked).then_some(WORDS);
    let others = ["fingerprint", VECTOR].into_iter().chain(words);
    for column in FILTERED.into_iter().chain(others).filter(|column| rows >= least(column).max(1)) {
        let index = index_name(column);
        let deltas = indexed.load_indices_by_name(&index).await.at(name, "reading its indices")?;
        if deltas.is_empty() {
            create(name, &mut indexed, column, rows).await?;
            changed = true;
            continue;
        }
        let behind = Lagging::of(index, &dataset, &deltas);
        if behind.outside < UNINDEXED_ROWS {
            continue;
        }
        if column == VECTOR && is_outgrown(name, &indexed, rows).await? {
            create(name, &mut indexed, column, rows).await?;
            changed = true;
            continue;
        }
        lagging.push(behind);
    }
    if !lagging.is_empty() {
        deltas::extend(name, &mut indexed, lagging, DELTAS).await?;
        changed = true;
    }
    if changed {
        lake.remember(name, indexed);
    }
    Ok(())
}

/// Whether the index of the vectors has far fewer partitions than so many rows want.
async fn is_outgrown(name: &str, dataset: &Dataset, rows: usize) -> Result<bool> {
    let told = dataset.index_statistics(&index_name(VECTOR)).await.at(name, "reading its indices")?;
    let told: Value = serde_json::from_str(&told).unwrap_or_default();
    let partitions = told["indices"].as_array().into_iter().flatten().filter_map(|one| one["num_partitions"].as_u64());
    let most = partitions.max().and_then(|partitions| usize::try_from(partitions).ok());
    Ok(most.is_some_and(|partitions| rows / ROWS_PER_PARTITION > OUTGROWN * partitions))
}

/// Builds the index of the vectors of a table that has none, as upkeep does.
///
/// # Errors
/// When the table has no vectors, or cannot be written.
pub async fn index_vectors(dataset: &mut Dataset) -> Result<()> {
    let rows = rows(dataset);
    create(super::vectors::TABLE, dataset, VECTOR, rows).await
}

/// Builds an index, also in the place of one that there is.
async fn create(name: &str, dataset: &mut Dataset, column: &str, rows: usize) -> Result<()> {
    let tree = ScalarIndexParams::for_builtin(BuiltinIndexType::BTree);
    let bitmap = ScalarIndexParams::for_builtin(BuiltinIndexType::Bitmap);
    let words = InvertedIndexParams::default()
        .base_tokenizer("simple".to_owned())
        .stem(false)
        .remove_stop_words(false)
        .lower_case(true)
        .with_position(false)
        .max_token_length(Some(MAX_TOKEN_LENGTH));
    let partitions = (rows / ROWS_PER_PARTITION).max(1);
    let vectors = VectorIndexParams::ivf_rq(partitions, BITS, MetricType::Cosine);
    let (kind, params): (IndexType, &dyn IndexParams) = match column {
        VECTOR => (IndexType::Vector, &vectors),
        WORDS => (IndexType::Inverted, &words),
        _ if FILTERED.contains(&column) => (IndexType::Bitmap, &bitmap),
        _ => (IndexType::BTree, &tree),
    };
    dataset
        .create_index(&[column], kind, Some(index_name(column)), params, true)
        .await
        .at(name, "building an index")?;
    Ok(())
}

async fn compact(lake: &Lake, name: &str) -> Result<()> {
    let dataset = lake.newest(name).await?;
    let is_small = |rows: Option<usize>| rows.is_none_or(|rows| rows < ROWS_PER_FRAGMENT);
    if dataset.iter_fragments().filter(|fragment| is_small(fragment.physical_rows)).count() <= SMALL_FRAGMENTS {
        return Ok(());
    }
    let mut compacted = (*dataset).clone();
    let plan = CompactionOptions {
        target_rows_per_fragment: ROWS_PER_FRAGMENT,
        num_threads: Some(1),
        ..CompactionOptions::default()
    };
    compact_files(&mut compacted, plan, None).await.at(name, "compacting")?;
    lake.remember(name, compacted);
    Ok(())
}

/// Removes old versions. A barrier goes first: an append from before any clean-up then conflicts with
/// it, however long its writer slept.
async fn clean(lake: &Lake, name: &str) -> Result<()> {
    let dataset = lake.newest(name).await?;
    let mut versions: Vec<u64> =
        dataset.version_refs().await.at(name, "listing its versions")?.iter().map(|found| found.version).collect();
    versions.sort_unstable();
    let Some(version) = versions.get(VERSIONS) else { return Ok(()) };
    let before: DateTime<Utc> = Utc::now() - LONGEST_QUERY;
    let written = dataset.read_version_transaction(*version).await.at(name, "reading the age of a version")?;
    if written.timestamp >= before {
        return Ok(());
    }
    let mut stamped = (*dataset).clone();
    let stamp = Stamp::of(name, &dataset).await?.properties();
    let notes: Vec<(&str, &str)> = stamp.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    stamped.update_metadata(notes).await.at(name, "keeping how far it is")?;
    let dataset = lake.remember(name, stamped);
    hold(lake, name, &lake.snapshots().await?).await?;
    let barrier = lake.barrier(name, &dataset).await?;
    let policy = CleanupPolicy {
        before_version: Some(barrier.version_id()),
        before_timestamp: Some(before),
        delete_unverified: false,
        error_if_tagged_old_versions: false,
        ..CleanupPolicy::default()
    };
    barrier.cleanup_with_policy(policy).await.at(name, "cleaning")?;
    Ok(())
}

fn index_name(column: &str) -> String {
    format!("{column}_idx")
}

fn rows(dataset: &Dataset) -> usize {
    dataset.iter_fragments().map(|fragment| fragment.physical_rows.unwrap_or_default()).sum()
}
