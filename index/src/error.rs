//! What can go wrong with the lake.

use tracerag_schemas::SourcePartition;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the lake. Every message names the dataset and the step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the lake's address.
    #[error(
        "there is no lake at {uri}; write one with `tracerag demo`, `tracerag replay FILE` or `tracerag run`, or name another with --lake"
    )]
    NoLake {
        /// Address of the lake.
        uri: String,
    },
    /// No lake can be at the address.
    #[error("there can be no lake at {uri}: {why}")]
    NoStore {
        /// The address, without a login.
        uri: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// The lake was migrated by a release that this one does not understand.
    #[error(
        "the lake has schema version {found}, this release knows up to {known}; use the release that migrated the lake, or a newer one"
    )]
    TooNew {
        /// Version of the lake.
        found: u32,
        /// Greatest version that this release reads.
        known: u32,
    },
    /// The lake missed the migration to the schema before this release's.
    #[error(
        "the lake has schema version {found}, this release reads versions from {oldest} on; migrate the lake with `tracerag migrate` of the releases in between, one after the other"
    )]
    TooOld {
        /// Version of the lake.
        found: u32,
        /// Least version that this release reads.
        oldest: u32,
    },
    /// A migration would stop workers that are at work.
    #[error(
        "worker {worker} wrote {seconds} s ago and knows no schema beyond version {able}, a migration would stop it; replace it by this release and migrate again, or stop it and wait {wait} s"
    )]
    OlderWorker {
        /// The worker's name: host and process id.
        worker: String,
        /// Greatest version that it writes.
        able: u32,
        /// Seconds since its last record.
        seconds: u64,
        /// Seconds after which a worker that has written nothing is not waited for.
        wait: u64,
    },
    /// No snapshot has the name.
    #[error("the lake has no snapshot {name:?}; `tracerag snapshot list` shows those that there are")]
    NoSnapshot {
        /// Its name.
        name: String,
    },
    /// A snapshot has the name already.
    #[error(
        "the lake has a snapshot {name:?} already; take another name, or drop it with `tracerag snapshot drop {name}`"
    )]
    SnapshotIsThere {
        /// Its name.
        name: String,
    },
    /// Clean-up removed what a snapshot was to hold while it was made.
    #[error("clean-up went on while snapshot {name:?} was made, and removed a part of it; make it again")]
    SnapshotOvertaken {
        /// Its name.
        name: String,
    },
    /// A snapshot holds what is to be erased.
    #[error(
        "snapshot {name:?} holds the bundle; drop it with `tracerag snapshot drop {name}`, then erase the bundle again"
    )]
    SnapshotHolds {
        /// The snapshot's name.
        name: String,
    },
    /// A name that no snapshot can have.
    #[error("{name:?} is no name of a snapshot; write 1 to 64 letters, digits, `-` and `_`, a letter or digit first")]
    SnapshotName {
        /// The text.
        name: String,
    },
    /// Lance failed.
    #[error("{step} of dataset {dataset} failed: {source}")]
    Lance {
        /// Dataset, as in `spans/2026-11-23`.
        dataset: String,
        /// What was being done.
        step: &'static str,
        /// The cause.
        source: Box<lance::Error>,
    },
    /// Arrow failed on rows that were being written or read.
    #[error("{step} of dataset {dataset} failed: {source}")]
    Arrow {
        /// Dataset, as in `spans/2026-11-23`.
        dataset: String,
        /// What was being done.
        step: &'static str,
        /// The cause.
        source: arrow::error::ArrowError,
    },
    /// A batch does not have its table's schema.
    #[error("rows for table {table} do not have its schema: {detail}")]
    Schema {
        /// Table.
        table: &'static str,
        /// The first difference.
        detail: String,
    },
    /// A row of a table that is kept by day has no `ingested_at`.
    #[error("a row for table {table} has no ingested_at; every row needs the stream time of its partition")]
    NoIngestedAt {
        /// Table.
        table: &'static str,
    },
    /// A table was written by the wrong way.
    #[error("table {table} is {what}")]
    WrongWay {
        /// Table.
        table: &'static str,
        /// What it is, and the way to write it.
        what: &'static str,
    },
    /// Another worker has claimed the partition since: stop working on it, drop what is open for it.
    #[error(
        "partition {partition} belongs to another worker now (generation {newest}, this worker has {own}); drop its open traces and claim it again"
    )]
    Fenced {
        /// The partition that was lost.
        partition: SourcePartition,
        /// Generation of this worker's claim.
        own: u64,
        /// Generation of the newest claim.
        newest: u64,
    },
    /// The tokens of the lake are made with another key than this worker's.
    #[error(
        "the tokens of this lake are made with the redaction key {current}, and this process has {own}; give it the key of the other workers, or, to change the key of the lake, name the old one in redaction.previous_keys and give all workers both"
    )]
    OtherKey {
        /// Id of the lake's key.
        current: String,
        /// Id of this worker's key.
        own: String,
    },
    /// An epoch names a partition that this worker never claimed.
    #[error("partition {partition} is not claimed by worker {worker}; claim it before writing")]
    NotClaimed {
        /// The partition.
        partition: SourcePartition,
        /// This worker.
        worker: String,
    },
    /// An epoch does not begin where the journal's last record of the partition ended.
    #[error(
        "partition {partition} stands at offset {expected:?} in the journal, but the epoch goes to {to}; claim it again"
    )]
    OutOfSequence {
        /// The partition.
        partition: SourcePartition,
        /// Next offset by the journal, if any.
        expected: Option<i64>,
        /// Next offset by the epoch.
        to: i64,
    },
    /// A file that the journal names is gone.
    #[error(
        "position {position} of the journal names {file} of dataset {dataset}, which does not exist; restore the file, nothing later can be applied without it"
    )]
    MissingFile {
        /// Position in the journal.
        position: u64,
        /// Dataset, as in `spans/2026-11-23`.
        dataset: String,
        /// Path of the file.
        file: String,
    },
    /// The journal contradicts itself.
    #[error("the journal is damaged at position {position}: {detail}")]
    Damaged {
        /// Position in the journal.
        position: u64,
        /// What is wrong.
        detail: String,
    },
    /// Too many other writers won the race.
    #[error(
        "{step} of dataset {dataset} lost against other writers {attempts} times; run fewer workers or a longer flush_interval"
    )]
    Contention {
        /// Dataset.
        dataset: String,
        /// What was being done.
        step: &'static str,
        /// How often it was tried.
        attempts: usize,
    },
    /// The sentence model gave no vectors.
    #[error(transparent)]
    Embedding(#[from] crate::incidents::EmbeddingError),
    /// A background task ended abnormally.
    #[error("{step} of dataset {dataset} was cut off: {detail}")]
    Cut {
        /// Dataset.
        dataset: String,
        /// What was being done.
        step: &'static str,
        /// Why.
        detail: String,
    },
}

impl Error {
    /// Whether the journal does not stand where this writer believes, so that what it holds counts for nothing: another
    /// worker has claimed a partition, or an answer was lost. It is to claim its partitions anew.
    pub fn is_lost_claim(&self) -> bool {
        matches!(self, Error::Fenced { .. } | Error::NotClaimed { .. } | Error::OutOfSequence { .. })
    }

    /// Whether the lake may take later what it has refused now, so that it is worth trying again.
    ///
    /// | error | again | why |
    /// | --- | --- | --- |
    /// | I/O: a full or read-only disk, a store that answers 5xx, refuses a login or is out of reach | yes | people or time repair it |
    /// | a time-out | yes | the store is slow |
    /// | an unknown outcome of a commit, a conflict, contention | yes | the next attempt looks into the journal first |
    /// | a dataset that is not there | yes | a lake that is open has it: its volume is not mounted |
    /// | a lost claim | no | others have the partition: [`Self::is_lost_claim`] |
    /// | [`Error::MissingFile`], [`Error::Damaged`], a corrupt file | no | it stays so until somebody restores it |
    /// | [`Error::TooNew`], [`Error::Schema`], whatever a program does wrongly | no | it stays so until the program is another |
    ///
    /// Lance calls a manifest that it cannot decode I/O as well. So that is tried again, and said each time.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Contention { .. } => true,
            Error::Lance { source, .. } => is_of_the_store(source),
            Error::Arrow { source, .. } => has_io(source),
            _ => false,
        }
    }
}

fn is_of_the_store(error: &lance::Error) -> bool {
    match error {
        lance::Error::IO { .. }
        | lance::Error::Timeout { .. }
        | lance::Error::DatasetNotFound { .. }
        | lance::Error::NotFound { .. }
        | lance::Error::CommitConflict { .. }
        | lance::Error::RetryableCommitConflict { .. }
        | lance::Error::TooMuchWriteContention { .. } => true,
        lance::Error::CorruptFile { .. } => false,
        lance::Error::Shared { source } => is_of_the_store(source),
        lance::Error::External { source } => has_io(&**source),
        _ => error.is_commit_status_unknown() || has_io(error),
    }
}

/// Whether an error comes from the operating system or the store, however often it was wrapped.
fn has_io(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source())
        .any(|error| error.is::<std::io::Error>() || error.is::<object_store::Error>())
}

/// Adds the dataset and the step to a foreign error.
pub(crate) trait At<T> {
    fn at(self, dataset: &str, step: &'static str) -> Result<T>;
}

impl<T> At<T> for lance::Result<T> {
    fn at(self, dataset: &str, step: &'static str) -> Result<T> {
        self.map_err(|source| Error::Lance { dataset: dataset.to_owned(), step, source: Box::new(source) })
    }
}

impl<T> At<T> for std::result::Result<T, arrow::error::ArrowError> {
    fn at(self, dataset: &str, step: &'static str) -> Result<T> {
        self.map_err(|source| Error::Arrow { dataset: dataset.to_owned(), step, source })
    }
}

/// Whether Lance says that there is no such dataset or version.
pub(crate) fn is_absent(error: &lance::Error) -> bool {
    matches!(error, lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_lance(source: lance::Error) -> Error {
        Error::Lance { dataset: "flags".to_owned(), step: "staging", source: Box::new(source) }
    }

    /// What the disk or the store refuses may pass, however Lance wraps it; what is wrong with the content does not.
    /// Guarantees that a worker waits for the one and ends with the other.
    #[test]
    fn faults_of_the_store_may_pass() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for passing in [
            of_lance(lance::Error::from(full())),
            of_lance(lance::Error::External { source: Box::new(full()) }),
            of_lance(lance::Error::not_found("lake/heads.lance")),
            Error::Contention { dataset: "journal".to_owned(), step: "recording", attempts: 64 },
        ] {
            assert!(passing.is_passing(), "{passing}");
            assert!(!passing.is_lost_claim(), "{passing}");
        }
        for lasting in [
            of_lance(lance::Error::invalid_input("a column too many")),
            Error::Damaged { position: 1, detail: "it is missing".to_owned() },
            Error::MissingFile { position: 1, dataset: "flags".to_owned(), file: "a.lance".to_owned() },
            Error::TooNew { found: 2, known: 1 },
        ] {
            assert!(!lasting.is_passing(), "{lasting}");
        }
    }
}
