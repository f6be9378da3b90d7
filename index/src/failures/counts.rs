//! What the failures of one epoch add to the counts of their incidents: one row a tenant, fingerprint and
//! environment.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListBuilder, RecordBatch, StringBuilder};
use rustc_hash::{FxHashMap, FxHashSet};
use tracerag_schemas::Table;

use super::columns::text;
use super::extract::{Batches, Failure};
use super::rows::{assemble, ingested_at, texts, times};
use super::{FailureError, projections};

/// Traces named as examples.
const MAX_EXAMPLES: usize = 3;

/// Tenant, fingerprint and environment: environments are filtered by, so one must not count for another.
type Key<'k> = (&'k str, &'k str, Option<&'k str>);

/// The sum over the failures of one fingerprint in one environment.
struct Delta<'f, 'a> {
    /// The first one: title, text and message are its.
    first: &'f Failure<'a>,
    failure_count: i64,
    echo_count: i64,
    traces: FxHashSet<&'a str>,
    examples: Vec<&'a str>,
    versions: BTreeSet<&'a str>,
    first_seen: Option<i64>,
    last_seen: Option<i64>,
    ingested_at: Option<i64>,
}

impl<'f, 'a> Delta<'f, 'a> {
    fn new(first: &'f Failure<'a>) -> Self {
        Delta {
            first,
            failure_count: 0,
            echo_count: 0,
            traces: FxHashSet::default(),
            examples: Vec::new(),
            versions: BTreeSet::new(),
            first_seen: None,
            last_seen: None,
            ingested_at: None,
        }
    }

    /// `is_known` says that the trace was counted when an earlier part of it was written.
    fn add(&mut self, failure: &Failure<'a>, ingested_at: Option<i64>, is_known: bool) {
        match failure.origin_id {
            None => self.failure_count += 1,
            Some(_) => self.echo_count += 1,
        }
        if let Some(trace_id) = failure.trace_id.filter(|_| !is_known)
            && self.traces.insert(trace_id)
            && self.examples.len() < MAX_EXAMPLES
        {
            self.examples.push(trace_id);
        }
        self.versions.extend(failure.service_version);
        if let Some(time) = failure.draft.time {
            self.first_seen = Some(self.first_seen.map_or(time, |known| known.min(time)));
            self.last_seen = self.last_seen.max(Some(time));
        }
        self.ingested_at = self.ingested_at.max(ingested_at);
    }
}

/// The rows, whose fingerprints are of a version.
pub(super) fn batch(
    failures: &[Failure<'_>],
    batches: &Batches<'_>,
    version: i32,
) -> Result<RecordBatch, FailureError> {
    let stored = &batches.stored;
    let of_stored = |row: &usize| {
        let (tenant, trace_id) = (text(stored.tenant_id, *row).unwrap_or_default(), text(stored.trace_id, *row));
        let fingerprint = text(stored.fingerprint, *row).unwrap_or_default();
        ((tenant, fingerprint, text(stored.environment, *row)), trace_id)
    };
    let known: FxHashSet<(Key<'_>, Option<&str>)> = stored.rows.iter().map(of_stored).collect();
    let mut positions: FxHashMap<Key<'_>, usize> = FxHashMap::default();
    let mut deltas: Vec<Delta<'_, '_>> = Vec::new();
    for failure in failures {
        let key = (failure.tenant, failure.identity.fingerprint.id.as_str(), failure.environment);
        let position = *positions.entry(key).or_insert_with(|| {
            deltas.push(Delta::new(failure));
            deltas.len() - 1
        });
        let is_known = known.contains(&(key, failure.trace_id));
        deltas[position].add(failure, ingested_at(failure, batches), is_known);
    }
    let first = |get: &dyn for<'f> Fn(&'f Failure<'_>) -> &'f str| {
        texts(deltas.iter().map(|delta| Some(get(delta.first)).filter(|text| !text.is_empty())))
    };
    let made = |make: &dyn Fn(&Failure<'_>) -> String| {
        let made: Vec<String> = deltas.iter().map(|delta| make(delta.first)).collect();
        texts(made.iter().map(|text| Some(text).filter(|text| !text.is_empty())))
    };
    let counts = |get: &dyn Fn(&Delta<'_, '_>) -> i64| {
        Arc::new(deltas.iter().map(|delta| Some(get(delta))).collect::<Int64Array>()) as ArrayRef
    };
    let columns = vec![
        ("tenant_id", first(&|failure| failure.tenant)),
        ("fingerprint", first(&|failure| &failure.identity.fingerprint.id)),
        ("fingerprint_version", Arc::new(Int32Array::from(vec![version; deltas.len()])) as ArrayRef),
        ("title", first(&|failure| &failure.identity.title)),
        ("service_name", first(&|failure| failure.draft.service)),
        ("exception_type", first(&|failure| failure.draft.exception_type.as_deref().unwrap_or_default())),
        ("message", first(&|failure| &failure.draft.message)),
        ("text", first(&|failure| &failure.identity.text)),
        ("deployment_environment_name", first(&|failure| failure.environment.unwrap_or_default())),
        ("first_seen", times(deltas.iter().map(|delta| delta.first_seen))),
        ("last_seen", times(deltas.iter().map(|delta| delta.last_seen))),
        ("failure_count", counts(&|delta| delta.failure_count)),
        ("context", made(&context)),
        ("shape", made(&|failure| projections::span_names(failure.span_path.as_deref().unwrap_or_default()))),
        ("echo_count", counts(&|delta| delta.echo_count)),
        ("trace_count", counts(&|delta| i64::try_from(delta.traces.len()).unwrap_or(i64::MAX))),
        ("versions", lists(deltas.iter().map(|delta| delta.versions.iter().copied().collect()))),
        ("example_trace_ids", lists(deltas.iter().map(|delta| delta.examples.clone()))),
        ("ingested_at", times(deltas.iter().map(|delta| delta.ingested_at))),
    ];
    assemble(Table::IncidentCounts, deltas.len(), columns)
}

fn context(failure: &Failure<'_>) -> String {
    let Failure { draft, span_path, .. } = failure;
    projections::context(draft.service, span_path.as_deref().unwrap_or_default(), &draft.stack)
}

fn lists<'a>(values: impl Iterator<Item = Vec<&'a str>>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for texts in values {
        list.append_value(texts.into_iter().map(Some));
    }
    Arc::new(list.finish())
}
