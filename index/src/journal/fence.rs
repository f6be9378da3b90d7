//! The fence: an append that conflicts with every other one that shares a key with it.
//!
//! Lance rebases a plain append over anything, so two writers that read the same version would both
//! land. An `Update` that only adds, with a filter of the keys it inserts, is checked against every
//! other such commit since the version it read: a shared key is a conflict, and so is any commit
//! without a filter (which is what a barrier is).
//!
//! One case escapes the check: a writer that sleeps between it and the put of its manifest. Clean-up may remove the very
//! version that it is about to put, among all up to a barrier, and then the put finds the place free. Its commit landed
//! in the past, and no later version has its rows. Versions stay for the longest query at least, so only a commit that
//! took long can have met that: such a one counts if it is the newest version, and otherwise it is looked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lance::Dataset;
use lance::dataset::CommitBuilder;
use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance_table::format::Fragment;
use lance_table::format::key_existence::{FilterType, KeyExistenceFilter};
use tracerag_schemas::SourcePartition;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::is_absent;
use crate::lake::Lake;

/// How often a step is tried again after it lost against another writer.
pub(crate) const ATTEMPTS: usize = 64;

/// How long a commit may take to be believed without a look: far less than [`crate::MaintainOptions::longest_query`], for
/// the clocks of a writer and of who cleans may differ by minutes.
pub(crate) const BELIEVED: Duration = Duration::from_secs(60);

/// What became of a fenced commit.
#[allow(clippy::large_enum_variant, reason = "it lives for one match, and boxing would only move the copy")]
pub(crate) enum Fenced {
    /// It landed; the dataset is at the new version.
    Landed(Dataset),
    /// Another commit shares a key, or the outcome is unknown: load again and look what holds.
    Lost,
}

/// Adds fragments to a dataset, unless a commit since its version shares a key.
pub(crate) async fn append(
    lake: &Lake,
    dataset: &Arc<Dataset>,
    fragments: Vec<Fragment>,
    keys: HashSet<u64>,
    properties: HashMap<String, String>,
) -> lance::Result<Fenced> {
    replace(lake, dataset, vec![], fragments, keys, properties).await
}

/// Puts fragments in the place of others, unless a commit since its version shares a key or touches
/// what is replaced.
pub(crate) async fn replace(
    lake: &Lake,
    dataset: &Arc<Dataset>,
    replaced: Vec<u64>,
    fragments: Vec<Fragment>,
    keys: HashSet<u64>,
    properties: HashMap<String, String>,
) -> lance::Result<Fenced> {
    let operation = Operation::Update {
        removed_fragment_ids: replaced,
        updated_fragments: vec![],
        new_fragments: fragments,
        fields_modified: vec![],
        compacted_sstables: vec![],
        fields_for_preserving_frag_bitmap: vec![],
        update_mode: None,
        inserted_rows_filter: Some(KeyExistenceFilter { field_ids: vec![], filter: FilterType::ExactSet(keys) }),
        updated_fragment_offsets: None,
    };
    let transaction = TransactionBuilder::new(dataset.version_id(), operation)
        .transaction_properties(Some(Arc::new(properties)))
        .build();
    let begun = Instant::now();
    let committed = CommitBuilder::new(Arc::clone(dataset)).with_skip_auto_cleanup(true).execute(transaction).await;
    match committed {
        Ok(landed) if begun.elapsed() < lake.believes_commits_within() => Ok(Fenced::Landed(landed)),
        Ok(landed) => match landed.latest_version_id().await {
            Ok(newest) if newest == landed.version_id() => Ok(Fenced::Landed(landed)),
            // Others have committed behind it, or it stands where versions were cleaned away.
            _ => Ok(Fenced::Lost),
        },
        Err(error) if is_lost(&error) => Ok(Fenced::Lost),
        Err(error) => Err(error),
    }
}

/// Whether a commit did not land because of another one, or nobody knows whether it did.
pub(crate) fn is_lost(error: &lance::Error) -> bool {
    matches!(
        error,
        lance::Error::RetryableCommitConflict { .. }
            | lance::Error::CommitConflict { .. }
            | lance::Error::TooMuchWriteContention { .. }
    )
        // The version that was read may have been cleaned away meanwhile, with its indices.
        || error.is_commit_status_unknown()
        || is_absent(error)
}

/// Waits before the next attempt: a little longer each time, and not in step with the others.
pub(crate) async fn back_off(attempt: usize) {
    let jitter = u64::from(uuid::Uuid::new_v4().as_bytes()[0] % 16);
    let millis = (5 << attempt.min(6)) + jitter;
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Key of a position.
pub(crate) fn position_key(position: u64) -> u64 {
    let mut bytes = *b"position\0\0\0\0\0\0\0\0";
    bytes[8..].copy_from_slice(&position.to_le_bytes());
    xxh3_64(&bytes)
}

/// Key of a partition.
pub(crate) fn partition_key(source: &SourcePartition) -> u64 {
    xxh3_64(format!("partition\0{}\0{}\0{}", source.cluster, source.topic, source.partition).as_bytes())
}

/// Key that all heads share, so that they are one sequence.
pub(crate) fn head_key() -> u64 {
    xxh3_64(b"head")
}
