//! From closed traces and their logs to failures.

use std::rc::Rc;

use arrow::record_batch::RecordBatch;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use super::before::{self, Before, StoredFailures};
use super::columns::{Logs, Spans, Traces, text, value};
use super::drafts::{self, Draft, Row};
use super::fingerprint::short_hex;
use super::identity::{Identities, Identity};
use super::stacks::Stacks;
use super::topology::{TraceKey, Tree, trees};
use super::{Extracted, FailureError, FailureRules, alone, candidates, counts, dedupe, origins, rows};

/// Resource attributes that name a commit.
const COMMITS: &[&str] = &["vcs.ref.head.revision", "vcs.repository.ref.revision", "git_sha"];

/// One failure, complete.
pub(super) struct Failure<'a> {
    pub id: String,
    pub draft: Draft<'a>,
    pub tenant: &'a str,
    pub trace_id: Option<&'a str>,
    pub revision: Option<i32>,
    pub service_version: Option<&'a str>,
    /// The instance of the service; not known of a stored failure.
    pub instance: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub git_sha: Option<&'a str>,
    pub span_name: Option<&'a str>,
    pub span_path: Option<String>,
    pub identity: Rc<Identity>,
    /// The failure of which this is an echo.
    pub origin_id: Option<String>,
    /// The span that owns it.
    pub origin_span_id: Option<&'a str>,
    /// The span whose patience ended.
    pub gave_up_span_id: Option<&'a str>,
    /// Keys and variants of the flags in effect.
    pub flags: Vec<(&'a str, &'a str)>,
}

impl Failure<'_> {
    pub(super) fn is_stored(&self) -> bool {
        self.draft.is_stored()
    }
}

/// What a failing trace consists of.
#[derive(Default)]
struct Parts<'a> {
    drafts: Vec<Draft<'a>>,
    /// Its row in `traces`.
    row: Option<usize>,
}

/// Finds the failures in `spans` and `logs` (lake schemas), and what they add to the incidents' counts.
///
/// `spans` holds the spans of closed traces, all of a trace in one batch; `logs` those traces' log records
/// and any without a trace; `traces` the rows of the same traces. Any of them may have no rows.
///
/// The result depends on nothing but the arguments, and not on the order of their rows but in the
/// order of its own.
///
/// # Errors
/// When a batch lacks a column that takes part, or has it with another type than the lake's schema.
pub fn extract(
    spans: &RecordBatch,
    logs: &RecordBatch,
    traces: &RecordBatch,
    rules: &FailureRules,
) -> Result<Extracted, FailureError> {
    extract_after(spans, logs, traces, &Before::nothing(), rules)
}

/// [`extract`] where the lake holds something of the same traces already: what tells again of a stored failure is none,
/// what belongs to one is its echo, and paths and origins are those of the whole trace. Records without a trace are
/// compared with the failures of both.
///
/// A stored failure stays the origin that it was stored as, also where what came later shows that it came of another
/// one: then that one is its echo, and `origin_span_id` of the new rows names the span that owns both.
///
/// # Errors
/// As [`extract`].
pub fn extract_after(
    spans: &RecordBatch,
    logs: &RecordBatch,
    traces: &RecordBatch,
    before: &Before,
    rules: &FailureRules,
) -> Result<Extracted, FailureError> {
    let whole = before::joined(spans, &before.spans)?;
    let batches = Batches {
        spans: Spans::new(&whole)?,
        new_spans: spans.num_rows(),
        logs: Logs::new(logs)?,
        traces: Traces::new(traces)?,
        stored: StoredFailures::new(&before.failures)?,
    };
    let (failures, version) = (batches.failures(rules), rules.grouping.version);
    Ok(Extracted {
        failures: rows::batch(&failures, &batches, version)?,
        counts: counts::batch(&failures, &batches, version)?,
    })
}

/// The batches.
pub(super) struct Batches<'a> {
    /// The new spans, and behind them the stored ones.
    pub spans: Spans<'a>,
    new_spans: usize,
    pub logs: Logs<'a>,
    traces: Traces<'a>,
    pub stored: StoredFailures<'a>,
}

impl<'a> Batches<'a> {
    fn failures(&self, rules: &'a FailureRules) -> Vec<Failure<'a>> {
        let mut failed_spans = candidates::spans(&self.spans.signs);
        failed_spans.retain(|found| found.row < self.new_spans);
        let failed_logs = candidates::logs(&self.logs.signs);
        let mut wanted: FxHashMap<TraceKey<'a>, usize> = FxHashMap::default();
        let mut keys: Vec<TraceKey<'a>> = Vec::new();
        let span_keys = failed_spans.iter().map(|found| self.span_key(found.row));
        let log_keys = failed_logs.iter().map(|&row| self.log_key(row));
        for key in span_keys.chain(log_keys).flatten() {
            wanted.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            });
        }
        let trees = trees(&self.spans, &wanted);
        let mut parts: Vec<Parts<'a>> = keys.iter().map(|_| Parts::default()).collect();
        let of = |key: Option<TraceKey<'a>>| key.and_then(|key| wanted.get(&key).copied());

        let mut stacks = Stacks::by(rules);
        for found in &failed_spans {
            if let Some(trace) = of(self.span_key(found.row)) {
                let span = text(self.spans.span_id, found.row).and_then(|id| trees[trace].index(id));
                parts[trace].drafts.extend(drafts::of_span(&self.spans, found, span, rules, &mut stacks));
            }
        }
        let mut alone = Vec::new();
        for &row in &failed_logs {
            match of(self.log_key(row)) {
                Some(trace) => {
                    let span = text(self.logs.span_id, row).and_then(|id| trees[trace].index(id));
                    parts[trace].drafts.push(drafts::of_log(&self.logs, row, span, rules, &mut stacks));
                }
                None => alone.push(drafts::of_log(&self.logs, row, None, rules, &mut stacks)),
            }
        }
        for &row in &self.stored.rows {
            if let Some(trace) = of(self.stored_key(row)) {
                let span = text(self.stored.span_id, row).and_then(|id| trees[trace].index(id));
                parts[trace].drafts.extend(drafts::of_stored(&self.stored, row, span));
            }
        }
        for row in 0..self.traces.rows {
            let key =
                text(self.traces.trace_id, row).map(|id| (text(self.traces.tenant_id, row).unwrap_or_default(), id));
            if let Some(trace) = of(key) {
                let newest = parts[trace]
                    .row
                    .is_none_or(|known| value(self.traces.revision, row) > value(self.traces.revision, known));
                if newest {
                    parts[trace].row = Some(row);
                }
            }
        }

        let drafted = parts.iter().map(|parts| parts.drafts.len()).sum::<usize>() + alone.len();
        let mut identities = Identities::by(&rules.grouping, drafted);
        let mut failures = Vec::with_capacity(drafted);
        for ((key, tree), parts) in keys.iter().zip(&trees).zip(parts) {
            let mut seen = dedupe::Seen::new();
            let mut found = Vec::new();
            let is_ok = |span: usize| text(self.spans.signs.status_code, tree.rows[span]) == Some("OK");
            let mut drafts = dedupe::distinct(parts.drafts, tree, is_ok);
            drafts.sort_by_key(|draft| !draft.is_stored());
            let is_single = drafts.len() == 1;
            for draft in drafts {
                let failure = match draft.row {
                    Row::Stored(row) => self.as_stored(draft, row, *key),
                    _ => self.complete(&mut identities, draft, Some((*key, tree)), parts.row),
                };
                let is_kept = is_single || seen.first(&failure.identity.fingerprint.id, &failure.draft);
                if is_kept || failure.is_stored() {
                    found.push(failure);
                }
            }
            self.own(&mut found, key.1, tree);
            failures.extend(found.into_iter().filter(|failure| !failure.is_stored()));
        }
        let mut alone: Vec<Failure<'a>> =
            alone.into_iter().map(|draft| self.complete(&mut identities, draft, None, None)).collect();
        let owners = alone::owners(&alone, &failures, &self.stored);
        for (failure, owner) in alone.iter_mut().zip(owners) {
            if let Some(owner) = owner {
                failure.origin_id = Some(owner.origin_id);
                failure.origin_span_id = owner.span_id;
            }
        }
        failures.append(&mut alone);
        failures
    }

    /// A stored failure of a trace, to compare others with.
    fn as_stored(&self, draft: Draft<'a>, row: usize, (tenant, trace_id): TraceKey<'a>) -> Failure<'a> {
        Failure {
            id: text(self.stored.failure_id, row).unwrap_or_default().to_owned(),
            tenant,
            trace_id: Some(trace_id),
            revision: None,
            service_version: None,
            instance: None,
            environment: None,
            git_sha: None,
            span_name: None,
            span_path: None,
            identity: Rc::new(Identity::stored(&self.stored, row)),
            origin_id: text(self.stored.origin_id, row).map(str::to_owned),
            origin_span_id: text(self.stored.origin_span_id, row),
            gave_up_span_id: None,
            flags: Vec::new(),
            draft,
        }
    }

    /// Says of the failures of one trace whose they are.
    fn own(&self, failures: &mut [Failure<'a>], trace_id: &str, tree: &Tree<'a>) {
        let owners = origins::owners(failures, trace_id, tree, &self.spans);
        // A stored echo stands for the origin that it names.
        let id_of = |failure: &Failure<'a>| failure.origin_id.clone().unwrap_or_else(|| failure.id.clone());
        let ids: Vec<String> = failures.iter().map(id_of).collect();
        for (failure, owner) in failures.iter_mut().zip(owners).filter(|(failure, _)| !failure.is_stored()) {
            failure.origin_id = owner.origin.and_then(|origin| ids.get(origin).cloned());
            failure.origin_span_id = owner.span_id;
            failure.gave_up_span_id = owner.gave_up;
        }
    }

    fn span_key(&self, row: usize) -> Option<TraceKey<'a>> {
        Some((text(self.spans.tenant_id, row).unwrap_or_default(), text(self.spans.trace_id, row)?))
    }

    fn stored_key(&self, row: usize) -> Option<TraceKey<'a>> {
        Some((text(self.stored.tenant_id, row).unwrap_or_default(), text(self.stored.trace_id, row)?))
    }

    fn log_key(&self, row: usize) -> Option<TraceKey<'a>> {
        Some((text(self.logs.tenant_id, row).unwrap_or_default(), text(self.logs.trace_id, row)?))
    }

    fn complete(
        &self,
        identities: &mut Identities<'a>,
        draft: Draft<'a>,
        trace: Option<(TraceKey<'a>, &Tree<'a>)>,
        trace_row: Option<usize>,
    ) -> Failure<'a> {
        let (spans, logs) = (&self.spans, &self.logs);
        let span_row = draft.span.and_then(|span| trace.map(|(_, tree)| tree.rows[span]));
        let (build_version, build_sha) = trace_row.map_or((None, None), |row| self.traces.build(row, draft.service));
        let span_version = span_row.and_then(|row| text(spans.service_version, row));
        let span_sha = span_row.and_then(|row| text(spans.build_git_sha, row));
        let (tenant, revision, environment, version, instance, sha) = match draft.row {
            Row::Span(row) => (
                text(spans.tenant_id, row),
                value(spans.revision, row),
                text(spans.environment, row),
                text(spans.service_version, row),
                text(spans.service_instance, row),
                text(spans.build_git_sha, row),
            ),
            Row::Log(row) => (
                text(logs.tenant_id, row),
                value(logs.revision, row),
                text(logs.environment, row),
                text(logs.service_version, row),
                text(logs.service_instance, row),
                COMMITS.iter().find_map(|name| logs.resource_attributes.get(row, name)),
            ),
            // It has its row; what others need of it is in `as_stored`.
            Row::Stored(row) => (text(self.stored.tenant_id, row), None, None, None, None, None),
        };
        let tenant = tenant.unwrap_or_default();
        let local_path = draft
            .span
            .and_then(|span| trace.map(|(_, tree)| tree.local_path(spans, span, &mut identities.names)))
            .unwrap_or_default();
        let identity = identities.of(&draft, local_path);
        let trace_id = trace.map(|((_, id), _)| id);
        let span_name = span_row.and_then(|row| text(spans.name, row));
        Failure {
            id: failure_id(tenant, trace_id, &draft, &identity.fingerprint.id),
            tenant,
            trace_id,
            revision,
            service_version: version.or(span_version).or(build_version),
            instance,
            environment: environment.or_else(|| span_row.and_then(|row| text(spans.environment, row))),
            git_sha: sha.or(span_sha).or(build_sha),
            span_name,
            span_path: draft.span.and_then(|span| trace.map(|(_, tree)| tree.path(spans, span))),
            origin_id: None,
            origin_span_id: None,
            gave_up_span_id: None,
            flags: trace_row.map(|row| self.traces.flags(row, draft.service)).unwrap_or_default(),
            identity,
            draft,
        }
    }
}

/// The first 16 bytes of a SHA-256 over what makes this failure this one.
fn failure_id(tenant: &str, trace_id: Option<&str>, draft: &Draft<'_>, fingerprint: &str) -> String {
    let time = draft.time.map(|time| time.to_string()).unwrap_or_default();
    let parts: [&str; 8] = [
        tenant,
        trace_id.unwrap_or_default(),
        draft.span_id.unwrap_or_default(),
        draft.kind.name(),
        fingerprint,
        &time,
        // A span may log two errors of one fingerprint within one tick of its clock.
        draft.exception_type.as_deref().unwrap_or_default(),
        &draft.message,
    ];
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    short_hex(&hasher.finalize().into())
}
