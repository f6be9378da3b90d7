//! What can go wrong with a query.

use datafusion::error::DataFusionError;

/// Shorthand for results of this crate.
pub type Result<T, E = QueryError> = std::result::Result<T, E>;

/// An error of a query. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The statement would change something, or reach outside the lake.
    #[error("the lake is read only: {statement} is refused; ask with SELECT, SHOW, DESCRIBE or EXPLAIN")]
    ReadOnly {
        /// First words of the statement.
        statement: String,
    },
    /// The statement is wrong: syntax, a name that does not exist, a type that does not fit.
    #[error("{0}")]
    Sql(String),
    /// A parameter without a value, or a value without a parameter.
    #[error("{0}; pass one value for each $1, $2 .. or $name of the query")]
    Parameters(String),
    /// The query ran too long.
    #[error("the query was stopped after {seconds} s; narrow its time range or ask for fewer columns")]
    TimeLimit {
        /// The limit.
        seconds: u64,
    },
    /// The claims were not checked in time.
    #[error(
        "the claims were not checked within {seconds} s; split the document, and take out predicates over whole traces"
    )]
    ClaimsTimeLimit {
        /// The limit.
        seconds: u64,
    },
    /// The query wanted too much memory.
    #[error(
        "the query needs more than its {bytes} bytes of memory ({detail}); narrow its time range, or aggregate over fewer groups"
    )]
    MemoryLimit {
        /// The limit.
        bytes: usize,
        /// Who wanted how much.
        detail: String,
    },
    /// The statement is too large to be planned in sensible time and memory.
    #[error("the statement {why}")]
    TooLarge {
        /// What there is too much of, and what to do.
        why: String,
    },
    /// The answer has more rows than a server gives at once.
    #[error("the answer has more than {rows} rows; aggregate, add a limit, or read it in pages (page_size of HTTP)")]
    RowLimit {
        /// The limit.
        rows: u64,
    },
    /// The answer has more bytes than a server gives at once.
    #[error(
        "the answer has more than {bytes} bytes; ask for fewer columns, add a limit, or read it in pages (page_size of HTTP)"
    )]
    ByteLimit {
        /// The limit.
        bytes: u64,
    },
    /// Where the next page begins is not known any more.
    #[error("the lake has moved on since this cursor was given out; begin again without a cursor")]
    CursorExpired,
    /// The server stops, or the task that computed the answer failed.
    #[error("the answer was broken off, because the server stops or failed; ask again")]
    Stopped,
    /// Another server of the lake, which computed a part of the answer, failed when some of it was given out already.
    #[error("another server, which computed a part of the answer, failed; ask again, and the others answer without it")]
    PeerFailed,
    /// Text that is no trace id.
    #[error("{text:?} is not a trace id; write its 32 hex digits")]
    NotATraceId {
        /// The text.
        text: String,
    },
    /// A trace of which rows have come but which is not closed yet.
    #[error("trace-open: trace {trace_id} is not closed yet; ask again in {wait_seconds} s")]
    TraceOpen {
        /// The trace.
        trace_id: String,
        /// Seconds after which it is worth asking again.
        wait_seconds: u64,
    },
    /// No such trace, or another tenant's.
    #[error(
        "trace-unknown: the lake has no trace {trace_id}{}; look it up with: select trace_id, root_name, start_time from traces order by start_time desc limit 20",
        still_open(.wait_seconds)
    )]
    TraceUnknown {
        /// The trace.
        trace_id: String,
        /// Seconds after which it is worth asking again, while the lake is being written: a trace of the last
        /// minutes may not be closed yet.
        wait_seconds: Option<u64>,
    },
    /// Sampling left the trace out.
    #[error(
        "not-sampled: trace {trace_id} was left out by sampling; take a kept one: select trace_id from traces where status = 'ERROR' limit 20"
    )]
    NotSampled {
        /// The trace.
        trace_id: String,
    },
    /// Retention has removed the trace.
    #[error("expired: the rows of trace {trace_id} are past their retention; {}", what_is_left(.trace_id, .bundle_id))]
    Expired {
        /// The trace.
        trace_id: String,
        /// The newest bundle of it that is stored, if there is one.
        bundle_id: Option<String>,
    },
    /// The evidence of the trace was erased.
    #[error(
        "erased: the evidence of trace {trace_id} was erased on request; take another trace of the incident: select example_trace_ids from incidents"
    )]
    Erased {
        /// The trace.
        trace_id: String,
    },
    /// No such bundle, or another tenant's.
    #[error(
        "bundle-unknown: the lake has no bundle {bundle_id}; make one with `tracerag bundle TRACE_ID`, or list them with: select bundle_id, trace_id from bundles"
    )]
    BundleUnknown {
        /// The bundle.
        bundle_id: String,
    },
    /// No such incident, or another tenant's.
    #[error(
        "incident-unknown: the lake has no incident {fingerprint}; find it with: select fingerprint, title from incidents order by last_seen desc limit 20"
    )]
    IncidentUnknown {
        /// The incident.
        fingerprint: String,
    },
    /// Wrong arguments of a table function.
    #[error("{function}: {why}")]
    Argument {
        /// Name of the function.
        function: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A similarity search failed.
    #[error("the similarity search failed: {0}")]
    Search(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] tracerag_index::Error),
    /// Lance failed while reading.
    #[error("reading dataset {dataset} failed: {source}")]
    Lance {
        /// Dataset.
        dataset: String,
        /// The cause.
        source: Box<lance::Error>,
    },
    /// A column does not have the type that this release knows.
    #[error(
        "column {column} of dataset {dataset} is not as this release knows it; use the release that wrote the lake, or a newer one"
    )]
    Column {
        /// Dataset or table.
        dataset: String,
        /// Column.
        column: String,
    },
    /// The secret that the servers of a lake share is not as they make it.
    #[error(
        "the file in the lake's folder {folder} is not as servers make it; remove the folder and start the servers again"
    )]
    Secret {
        /// The folder.
        folder: &'static str,
    },
    /// Spans of the lake are not as OTLP has them.
    #[error("a stored span is damaged: {0}")]
    Otlp(#[from] tracerag_schemas::otlp::EncodeError),
    /// JSON failed.
    #[error("a stored document is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// The engine failed.
    #[error("the query failed: {0}")]
    Engine(Box<DataFusionError>),
}

fn still_open(wait_seconds: &Option<u64>) -> String {
    wait_seconds.map_or_else(String::new, |seconds| {
        format!("; if it is of the last minutes, it may still be open: ask again in {seconds} s")
    })
}

fn what_is_left(trace_id: &str, bundle_id: &Option<String>) -> String {
    match bundle_id {
        Some(bundle_id) => format!("its stored bundle is {bundle_id}"),
        None => format!(
            "no bundle of it was stored; its incident is left: select fingerprint, title from incidents where array_has(example_trace_ids, '{trace_id}')"
        ),
    }
}

impl QueryError {
    /// The short name that commands, HTTP and MCP answer with, where the error has one.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::TraceOpen { .. } => Some("trace-open"),
            Self::TraceUnknown { .. } => Some("trace-unknown"),
            Self::NotSampled { .. } => Some("not-sampled"),
            Self::Expired { .. } => Some("expired"),
            Self::Erased { .. } => Some("erased"),
            Self::BundleUnknown { .. } => Some("bundle-unknown"),
            Self::IncidentUnknown { .. } => Some("incident-unknown"),
            Self::ReadOnly { .. } => Some("read-only"),
            Self::Sql(_) => Some("wrong-query"),
            Self::Parameters(_) => Some("wrong-parameters"),
            Self::Argument { .. } => Some("wrong-argument"),
            Self::NotATraceId { .. } => Some("not-a-trace-id"),
            Self::TooLarge { .. } => Some("too-large"),
            Self::TimeLimit { .. } | Self::ClaimsTimeLimit { .. } => Some("time-limit"),
            Self::MemoryLimit { .. } => Some("memory-limit"),
            Self::RowLimit { .. } => Some("row-limit"),
            Self::ByteLimit { .. } => Some("byte-limit"),
            Self::CursorExpired => Some("cursor-expired"),
            Self::Stopped => Some("stopped"),
            Self::PeerFailed => Some("peer-failed"),
            _ => None,
        }
    }

    /// The same error again, if it is one that names a trace, a bundle, an argument or a limit, or is a peer's.
    fn copy(&self) -> Option<Self> {
        let copy = match self {
            Self::NotATraceId { text } => Self::NotATraceId { text: text.clone() },
            Self::TraceOpen { trace_id, wait_seconds } => {
                Self::TraceOpen { trace_id: trace_id.clone(), wait_seconds: *wait_seconds }
            }
            Self::TraceUnknown { trace_id, wait_seconds } => {
                Self::TraceUnknown { trace_id: trace_id.clone(), wait_seconds: *wait_seconds }
            }
            Self::NotSampled { trace_id } => Self::NotSampled { trace_id: trace_id.clone() },
            Self::Expired { trace_id, bundle_id } => {
                Self::Expired { trace_id: trace_id.clone(), bundle_id: bundle_id.clone() }
            }
            Self::Erased { trace_id } => Self::Erased { trace_id: trace_id.clone() },
            Self::BundleUnknown { bundle_id } => Self::BundleUnknown { bundle_id: bundle_id.clone() },
            Self::Argument { function, why } => Self::Argument { function, why: why.clone() },
            Self::PeerFailed => Self::PeerFailed,
            Self::TooLarge { why } => Self::TooLarge { why: why.clone() },
            Self::TimeLimit { seconds } => Self::TimeLimit { seconds: *seconds },
            Self::MemoryLimit { bytes, detail } => Self::MemoryLimit { bytes: *bytes, detail: detail.clone() },
            _ => return None,
        };
        Some(copy)
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        match own(error) {
            Ok(error) => error,
            Err(error) => match error.find_root() {
                DataFusionError::SQL(..)
                | DataFusionError::Plan(_)
                | DataFusionError::SchemaError(..)
                | DataFusionError::NotImplemented(_)
                | DataFusionError::Configuration(_) => Self::Sql(error.strip_backtrace()),
                // Of the parser of regular expressions, which is a crate of DataFusion's.
                DataFusionError::External(cause) if cause.to_string().starts_with("regex parse error") => {
                    Self::Sql(error.strip_backtrace())
                }
                _ => Self::Engine(Box::new(error)),
            },
        }
    }
}

/// Takes an error of ours out of the layers that DataFusion puts around it.
fn own(error: DataFusionError) -> Result<QueryError, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
            Ok(error) => Ok(*error),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => own(*inner),
                Err(inner) => Err(DataFusionError::External(inner)),
            },
        },
        DataFusionError::ArrowError(inner, trace) => match *inner {
            arrow::error::ArrowError::ExternalError(inner) => own(DataFusionError::External(inner)),
            inner => Err(DataFusionError::ArrowError(Box::new(inner), trace)),
        },
        // Several consumers share one error, so it can only be copied out.
        DataFusionError::Shared(inner) => match inner.find_root() {
            DataFusionError::External(root) => match root.downcast_ref::<QueryError>().and_then(QueryError::copy) {
                Some(error) => Ok(error),
                None => Err(DataFusionError::Shared(inner)),
            },
            _ => Err(DataFusionError::Shared(inner)),
        },
        DataFusionError::Context(text, inner) => {
            own(*inner).map_err(|inner| DataFusionError::Context(text, Box::new(inner)))
        }
        DataFusionError::Diagnostic(diagnostic, inner) => {
            own(*inner).map_err(|inner| DataFusionError::Diagnostic(diagnostic, Box::new(inner)))
        }
        other => Err(other),
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Engine(error) => *error,
            error => DataFusionError::External(Box::new(error)),
        }
    }
}

impl From<arrow::error::ArrowError> for QueryError {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}
