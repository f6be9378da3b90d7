//! `similar_incidents(text_or_trace_id, k [, options])`.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::Deserialize;
use tracerag_schemas::tables::timestamp;

use super::arguments::Arguments;
use crate::bundle::Bundler;
use crate::error::{QueryError, Result};
use crate::search::{Asked, SimilarIncident, SimilarRequest};

/// The function's name.
const FUNCTION: &str = "similar_incidents";
/// Incidents in an answer where the call names no number.
const DEFAULT_K: usize = 10;

pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("fingerprint", DataType::Utf8, false),
            Field::new("title", DataType::Utf8, true),
            Field::new("distance", DataType::Float64, true),
            Field::new("score", DataType::Float64, true),
            Field::new("reason", DataType::Utf8, true),
            Field::new("failure_count", DataType::Int64, true),
            Field::new("first_seen", timestamp(), true),
            Field::new("last_seen", timestamp(), true),
            Field::new("fix_summary", DataType::Utf8, true),
            Field::new("example_trace_id", DataType::Utf8, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

pub(super) async fn call(bundler: &Bundler, arguments: &Arguments) -> Result<RecordBatch> {
    let k = arguments.count(1)?.unwrap_or(DEFAULT_K);
    let mut request = SimilarRequest::about(arguments.text(0, "text_or_trace_id")?, k);
    if let Some(text) = arguments.optional_text(2)? {
        request = narrowed(request, text)?;
    }
    batch(&bundler.similar(&request).await?)
}

/// The request for fewer incidents, by options as JSON.
///
/// # Errors
/// [`QueryError::Argument`] for options that there are not.
pub(crate) fn narrowed(mut request: SimilarRequest, text: &str) -> Result<SimilarRequest> {
    options(text)?.apply(&mut request)?;
    Ok(request)
}

/// The third argument, as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    service: Option<String>,
    error_type: Option<String>,
    min_version: Option<String>,
    max_version: Option<String>,
    versions: Option<String>,
    asked: Option<Asked>,
    environment: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

fn options(text: &str) -> Result<Options> {
    serde_json::from_str(text).map_err(|error| {
        wrong(format!(
            "options are a JSON object with service, error_type, min_version, max_version, versions, environment, since, \
             until, asked (message, stacktrace, span_path, payload): {error}"
        ))
    })
}

impl Options {
    fn apply(self, request: &mut SimilarRequest) -> Result<()> {
        request.service = self.service;
        request.error_type = self.error_type;
        request.min_version = self.min_version;
        request.max_version = self.max_version;
        request.versions = self.versions;
        request.asked = self.asked;
        request.environment = self.environment;
        let time = |text: &str| time(FUNCTION, text);
        request.since = self.since.as_deref().map(time).transpose()?;
        request.until = self.until.as_deref().map(time).transpose()?;
        Ok(())
    }
}

/// A time among the options of a function, in ns.
pub(super) fn time(function: &'static str, text: &str) -> Result<i64> {
    let wrong = |_| QueryError::Argument { function, why: format!("{text:?} is not a time; write it as in RFC 3339") };
    string_to_timestamp_nanos(text).map_err(wrong)
}

fn wrong(why: String) -> QueryError {
    QueryError::Argument { function: FUNCTION, why }
}

fn batch(found: &[SimilarIncident]) -> Result<RecordBatch> {
    fn texts<'a>(found: &'a [SimilarIncident], text: impl Fn(&'a SimilarIncident) -> Option<&'a str>) -> ArrayRef {
        Arc::new(found.iter().map(text).collect::<StringArray>())
    }
    let times = |time: fn(&SimilarIncident) -> Option<i64>| -> ArrayRef {
        Arc::new(found.iter().map(time).collect::<TimestampNanosecondArray>().with_timezone("UTC"))
    };
    let columns = vec![
        texts(found, |incident| Some(&incident.fingerprint)),
        texts(found, |incident| Some(&incident.title)),
        Arc::new(found.iter().map(|incident| incident.distance).collect::<Float64Array>()),
        Arc::new(found.iter().map(|incident| Some(incident.score)).collect::<Float64Array>()),
        texts(found, |incident| Some(&incident.reason)),
        Arc::new(found.iter().map(|incident| Some(incident.failure_count)).collect::<Int64Array>()),
        times(|incident| incident.first_seen),
        times(|incident| incident.last_seen),
        texts(found, |incident| incident.fix_summary.as_deref()),
        texts(found, |incident| incident.example_trace_id.as_deref()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
