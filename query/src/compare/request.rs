//! What is asked for.

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde::Deserialize;

use crate::error::{QueryError, Result};

/// Which traces are the failing ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Those that fail as this trace does.
    Trace(String),
    /// Those with this fingerprint.
    Fingerprint(String),
    /// Whichever of both the text is: both are 32 hex digits. A trace comes first.
    Either(String),
}

/// A failing trace or an incident, and where to look for its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which traces are the failing ones.
    pub subject: Subject,
    /// Only traces that began at or after this time, in ns since the epoch.
    pub since: Option<i64>,
    /// Only traces that began at or before this time, in ns since the epoch.
    pub until: Option<i64>,
    /// Only traces of this `deployment.environment.name`; without it, that of the failing trace.
    pub environment: Option<String>,
}

impl Request {
    /// A request with the times and the environment that follow from its subject.
    pub fn new(subject: Subject) -> Self {
        Self { subject, since: None, until: None, environment: None }
    }

    /// A request about a trace or a fingerprint, whichever the text is.
    pub fn about(reference: &str) -> Self {
        Self::new(Subject::Either(reference.trim().to_ascii_lowercase()))
    }

    /// The request for other times or another environment, by options as JSON.
    ///
    /// # Errors
    /// [`QueryError::Argument`] for options that there are not.
    pub fn narrowed(mut self, options: &str) -> Result<Self> {
        let options: Options = serde_json::from_str(options)
            .map_err(|error| wrong(format!("options are a JSON object with since, until, environment: {error}")))?;
        self.since = options.since.as_deref().map(time).transpose()?;
        self.until = options.until.as_deref().map(time).transpose()?;
        self.environment = options.environment;
        Ok(self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    since: Option<String>,
    until: Option<String>,
    environment: Option<String>,
}

fn time(text: &str) -> Result<i64> {
    string_to_timestamp_nanos(text).map_err(|_| wrong(format!("{text:?} is not a time; write it as in RFC 3339")))
}

pub(super) fn wrong(why: String) -> QueryError {
    QueryError::Argument { function: "compare_to_baseline", why }
}
