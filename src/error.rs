//! What ends a command with status 1 or 2.

use thiserror::Error;
use tracerag_ingest::source::SourceError;

use crate::config::ConfigError;

/// An error of a command; its message says what to do next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Taking or decoding input failed.
    #[error(transparent)]
    Ingest(#[from] tracerag_ingest::IngestError),
    /// The trace window failed.
    #[error(transparent)]
    Enrich(#[from] tracerag_enrich::Error),
    /// The lake failed.
    #[error(transparent)]
    Index(#[from] tracerag_index::Error),
    /// A query failed.
    #[error(transparent)]
    Query(#[from] tracerag_query::QueryError),
    /// A batch could not be put together.
    #[error("cannot arrange rows for the lake: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A server did not start.
    #[error(transparent)]
    Serve(#[from] tracerag_query::server::ServeError),
    /// The tokens could not be read or written.
    #[error(transparent)]
    Tokens(#[from] tracerag_query::access::TokenFileError),
    /// A server refused what it was asked.
    #[error("{0}")]
    Refused(String),
    /// A server was not reached, or broke off.
    #[error(
        "the server at {url} does not answer as one: {detail}; see whether it runs and whether the address is right"
    )]
    NoServer {
        /// Its address.
        url: String,
        /// What happened.
        detail: String,
    },
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A plan that was printed, and of which nothing would come.
    #[error("a worker would not run: {0}")]
    WouldNotRun(String),
    /// There is no lake, and the group has read before: it was working on one.
    #[error(
        "there is no lake at {uri}, but group {group:?} has read {partition} up to offset {offset}, so there was one: \
         mount its volume, or correct lake.uri; if a new lake is wanted, or another program used this group, start \
         once with `tracerag run --new-lake`, which begins at kafka.initial_offset"
    )]
    NoLakeAnyMore {
        /// Address of the lake.
        uri: String,
        /// The consumer group.
        group: String,
        /// Topic and partition.
        partition: String,
        /// The offset that the group has committed of it.
        offset: i64,
    },
    /// What was sent and what the lake holds differ.
    #[error(
        "the lake differs from what was sent in {differences} records; first see whether this configuration is that of \
         the worker (redaction.key, encodings), then look at the examples"
    )]
    Differs {
        /// How many are missing, doubled, different or extra.
        differences: u64,
    },
    /// Claims that do not hold.
    #[error(
        "not all claims hold ({rejected} of {claims} are rejected): the report says why, docs/agents.md what to do about \
         each reason"
    )]
    ClaimsRejected {
        /// How many claims are rejected.
        rejected: usize,
        /// How many claims there are.
        claims: usize,
    },
    /// A candidate that may not go on.
    #[error(
        "the verdict on {candidate} is {verdict}: the report says why, docs/canary.md what to do about each reason"
    )]
    CanaryNotPassed {
        /// The version or variant.
        candidate: String,
        /// `fail` or `inconclusive`.
        verdict: &'static str,
    },
    /// A bundle that does not count.
    #[error("the bundle does not count: {0}")]
    BundleRefused(String),
    /// A file that is not what an option takes.
    #[error("{option} {file} is not read: {why}")]
    WrongFile {
        /// The option.
        option: &'static str,
        /// The file.
        file: String,
        /// What is wrong, and what makes one.
        why: String,
    },
    /// The repository of a service cannot be read.
    #[error(transparent)]
    Repository(#[from] crate::repository::RepositoryError),
    /// A patch that does not keep to the evidence.
    #[error(
        "the patch does not keep to the evidence: the report says why; `--allow PATH=REASON` lets it change a file by name"
    )]
    PatchRefused,
    /// A trial of a test and a patch that did not end green.
    #[error(
        "the trial ended {outcome}: {reason}; the record says what ran, docs/debugging.md what to do about each outcome"
    )]
    TrialNotGreen {
        /// As the record has it.
        outcome: &'static str,
        /// Why, in words.
        reason: String,
    },
    /// Code that is tried cannot run as it was asked for.
    #[error(transparent)]
    Sandbox(#[from] crate::trial::SandboxError),
    /// A trace of which no test can be made.
    #[error("{0}; `tracerag bundle --format markdown` shows what there is")]
    NotEnoughEvidence(#[from] crate::scaffold::Missing),
    /// The template of a test asks for something that there is not.
    #[error("the template of the test is wrong: {0}; this is a fault of tracerag, please report it")]
    Template(#[from] minijinja::Error),
    /// A file is not written over.
    #[error("{file} is there and is not what would be written: remove it, or name another folder")]
    FileIsThere {
        /// Its path.
        file: String,
    },
    /// A prompt without room.
    #[error("--max-tokens: {0}")]
    TooFewTokens(#[from] tracerag_query::prompt::TooFewTokens),
    /// The command was used wrongly.
    #[error("{0}")]
    Usage(String),
    /// The lake has no such dead letter, or another tenant's.
    #[error(
        "tenant {tenant} has no dead letter {letter}; `tracerag dead-letters list --all` shows those that there are, \
         --tenant names another tenant"
    )]
    NoLetter {
        /// Topic, partition and offset.
        letter: String,
        /// Whose it would be.
        tenant: String,
    },
    /// A dead letter of which only the circumstances are kept.
    #[error(
        "dead letter {letter} has no value, its reason is {reason}; `tracerag dead-letters show {letter}` says more"
    )]
    NoValue {
        /// Topic, partition and offset.
        letter: String,
        /// The kind of failure.
        reason: String,
    },
    /// An epoch was not written, for the lake cannot be written at present and this was not to wait for it.
    #[error("the epoch in flight was given up, because the lake does not take it now; what is in it is read again")]
    GivenUp,
    /// A background task died.
    #[error("{what} stopped: {detail}; run the command again, nothing that was committed is lost")]
    Stopped {
        /// Which part.
        what: &'static str,
        /// What it said.
        detail: String,
    },
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        Self::Ingest(error.into())
    }
}

impl Error {
    /// Wrong use ends with status 2, everything else with 1.
    pub fn is_wrong_use(&self) -> bool {
        use tracerag_ingest::IngestError::Redact;
        matches!(self, Error::Config(_) | Error::Usage(_) | Error::TooFewTokens(_) | Error::Ingest(Redact(_)))
    }

    /// Whether another worker has taken what this one was about to write; see [`tracerag_index::Error::is_lost_claim`].
    pub(crate) fn is_lost_claim(&self) -> bool {
        matches!(self, Error::Index(error) if error.is_lost_claim())
    }

    /// Whether what this worker holds is not in the lake although nobody else has its partitions: an epoch was given
    /// up, or the lake has failed in between ([`tracerag_index::Error::is_passing`]).
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Error::GivenUp => true,
            Error::Index(error) => error.is_passing(),
            _ => false,
        }
    }

    /// Whether brokers that are away are the reason; see [`SourceError::is_passing`].
    pub(crate) fn is_broker_away(&self) -> bool {
        matches!(self, Error::Ingest(tracerag_ingest::IngestError::Source(error)) if error.is_passing())
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
