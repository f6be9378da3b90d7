//! The fence: an append that conflicts with every other one that shares a key with it.
//!
//! Lance rebases a plain append over anything, so two writers that read the same version would both
//! land. An `Update` that only adds, with a filter of the keys it inserts, is checked against every
//! other such commit since the version it read: a shared key is a conflict, and so is any commit
//! without a filter (which is what a barrier is).
//!
//! # What becomes of a commit
//!
//! By what others have committed since the version that was read; of several rows the strongest applies, an error before
//! lost, and lost before landed:
//!
//! | since then | outcome |
//! | --- | --- |
//! | nothing | landed |
//! | fenced commits that share no key with it | landed, behind them |
//! | an index, new ids or other metadata | landed, behind it |
//! | a compaction, a deletion or a replacement of other fragments than it replaces | landed, behind it |
//! | a fenced commit that shares a key | lost |
//! | an append, which has no filter: a barrier | lost |
//! | a compaction, a deletion or a replacement of a fragment that it replaces | lost |
//! | further columns | lost |
//! | the version that was read was cleaned away, or a file of it | lost |
//! | so many commits that Lance gives up | lost |
//! | commits whose versions were cleaned away | not looked at; so clean-up leaves a barrier behind them |
//! | the whole dataset was overwritten or set back, which nobody does | an error |
//!
//! and by what became of the put of its manifest:
//!
//! | the put | outcome |
//! | --- | --- |
//! | is answered within [`BELIEVED`] | as above |
//! | is answered later, and its version is the newest | landed |
//! | is answered later, and its version is not the newest, or nobody can say | lost, though it may have landed |
//! | is not answered, and Lance cannot say whether it is there | lost, though it may have landed |
//! | is refused, as by a disk that is full | an error |
//!
//! Lost says no more than: load again and look what holds. Whoever lost has to find out whether its commit is there
//! (`Log::append` by the epoch, `apply` by the position, heads by the sequence) before it tries again.
//!
//! The keys of each dataset's commits:
//!
//! | dataset | keys of a commit | so of two that conflict |
//! | --- | --- | --- |
//! | journal | the record's position, and each of its partitions | one is recorded at this position, and the other sees it before it is |
//! | tables | every position of the run that it applies | no position is applied twice |
//! | heads | one that all share | heads are one sequence |
//! | vectors of incidents | one that all share | what is new is judged by everything that is there |
//! | journal and heads, when fragments are merged | that of the next append | rows stay in order |
//!
//! # Which records count
//!
//! A record that landed may still come from a writer that has lost its partitions: it slept, and the versions that would
//! have conflicted with it are gone. So every reader asks each record anew, in the order of positions, against where the
//! records before it have left its partitions ([`holds`]). `generation` and `next` are those of the partition by then, 0
//! and null as long as nobody has claimed it:
//!
//! | record | generation of an interval | `from` | `to` | it |
//! | --- | --- | --- | --- | --- |
//! | claim | greater | equals `next` | equals `from` | holds: the partition is the claimer's |
//! | claim | greater | equals `next` | another | is void |
//! | claim | greater | another | – | is void: it was made before the last epoch |
//! | claim | equal or less | – | – | is void: another claim came first |
//! | epoch | equal, above 0 | equals `next` | – | holds: `next` is its `to` |
//! | epoch | equal, above 0 | another | – | is void: it leaves a gap, or takes something twice |
//! | epoch | less, or 0 | – | – | is void: another has claimed the partition since, or nobody ever has |
//! | epoch | greater | – | – | is void: the claim that it rests on is void, or is not there |
//! | migration | – | – | – | is void: a migration takes nothing from a partition |
//!
//! A record is void as a whole if one of its intervals is: none of its rows is applied, none of its partitions moves. One
//! without any interval holds, as every migration does. All readers see the same records in the same order, so they agree
//! on which are void, and heads list them.
//!
//! # A commit that landed in the past
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

use super::SourceState;
use super::record::{Interval, Kind};
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

/// Whether an interval of a record of this kind holds, by where the records before it have left its partition; `None`:
/// nobody has claimed it. The table is in the documentation of this module.
pub(crate) fn holds(kind: Kind, before: Option<&SourceState>, interval: &Interval) -> bool {
    let generation = before.map_or(0, |state| state.generation);
    let next = before.and_then(|state| state.next);
    match kind {
        Kind::Claim => interval.generation > generation && interval.from == next && interval.to == next,
        Kind::Epoch => interval.generation == generation && generation > 0 && interval.from == next,
        Kind::Migration => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(generation: u64, from: Option<i64>, to: Option<i64>) -> Interval {
        let source = SourcePartition::new("c", "otlp_spans", 0);
        Interval { source, generation, from, to, low_watermark: None, stream_time: None }
    }

    /// Each row of the table of records, for a partition that was claimed twice and read up to 10, and for one that
    /// nobody has claimed. Guarantees that the table says what is done.
    #[test]
    fn a_record_holds_as_the_table_says() {
        let source = SourcePartition::new("c", "otlp_spans", 0);
        let claimed = SourceState { source, generation: 2, next: Some(10), low_watermark: None, stream_time: None };
        let ten = Some(10);
        for (kind, generation, from, to, expected) in [
            (Kind::Claim, 3, ten, ten, true),
            (Kind::Claim, 4, ten, ten, true),
            (Kind::Claim, 3, ten, Some(11), false),
            (Kind::Claim, 3, Some(9), Some(9), false),
            (Kind::Claim, 3, None, None, false),
            (Kind::Claim, 2, ten, ten, false),
            (Kind::Claim, 1, ten, ten, false),
            (Kind::Epoch, 2, ten, Some(15), true),
            (Kind::Epoch, 2, ten, ten, true),
            (Kind::Epoch, 2, Some(11), Some(15), false),
            (Kind::Epoch, 2, Some(9), Some(15), false),
            (Kind::Epoch, 2, None, Some(15), false),
            (Kind::Epoch, 1, ten, Some(15), false),
            (Kind::Epoch, 3, ten, Some(15), false),
            (Kind::Migration, 2, ten, ten, false),
        ] {
            let found = holds(kind, Some(&claimed), &interval(generation, from, to));
            assert_eq!(found, expected, "{kind:?} of generation {generation}, {from:?} to {to:?}");
        }
        for (kind, generation, expected) in
            [(Kind::Claim, 1, true), (Kind::Claim, 0, false), (Kind::Epoch, 0, false), (Kind::Epoch, 1, false)]
        {
            let found = holds(kind, None, &interval(generation, None, None));
            assert_eq!(found, expected, "{kind:?} of generation {generation} of a partition that nobody has claimed");
        }
    }
}
