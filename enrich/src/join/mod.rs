//! Joins what closed: summarises each trace, and finds the flags and builds that were in effect.
//!
//! What the telemetry itself says wins over what change events suggest; `match` says which it was.

pub(crate) mod as_of;
pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod evaluations;
mod event_rows;
pub(crate) mod flags;
mod runtime;
pub(crate) mod summary;
pub(crate) mod trace_rows;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};

use crate::columns::{Ids, number};
use crate::error::Result;
use crate::window::close::with_column;
use crate::window::flushed::{CloseReason, Closed, Flushed};
use builds::BuildInEffect;
pub(crate) use changes::Changes;
use changes::{Known, Sighting};
use evaluations::Evaluation;
use flags::FlagInEffect;
use runtime::Runtimes;
use summary::{SpanColumns, SpanRef, summarise};
use trace_rows::{TraceFacts, TraceRows, build_lists, flag_lists};

/// A closed trace and where its rows are.
pub(crate) struct ClosedTrace {
    pub closed: Closed,
    pub spans: Range<usize>,
    pub logs: Range<usize>,
    pub sampled_by: Option<&'static str>,
}

/// Fills `traces`, `flags`, `builds` and the build columns of `spans`. Marks traces without a root as
/// fragments.
pub(crate) fn join(flushed: &mut Flushed, traces: &mut [ClosedTrace], changes: &mut Changes) -> Result<()> {
    let (spans, logs) = (flushed.spans.clone(), flushed.logs.clone());
    let (span_runtimes, log_runtimes) = (Runtimes::of(&spans)?, Runtimes::of(&logs)?);
    let (of_spans, of_logs) = (evaluations::of_spans(&spans)?, evaluations::of_logs(&logs)?);
    let columns = [SpanColumns::of(&spans)?];
    let mut resolver = Resolver::new(&span_runtimes.all, changes);
    let found = Found { spans: &spans, logs: &logs, columns: &columns, of_spans: &of_spans, of_logs: &of_logs };
    flushed.traces = found.traces(traces, &mut resolver, &span_runtimes, &log_runtimes, changes)?;
    let (git_sha, matched) = span_builds(&columns[0], &span_runtimes, &mut resolver);
    flushed.spans = with_column(&with_column(&spans, "build_git_sha", git_sha)?, "build_match", matched)?;
    flushed.flags = event_rows::evaluations(&[(&spans, &of_spans), (&logs, &of_logs)])?;
    flushed.builds =
        event_rows::sightings(&[(&spans, &span_runtimes, "start_time"), (&logs, &log_runtimes, "time")], |sighting| {
            changes.sight(sighting)
        })?;
    Ok(())
}

/// What was collected, and the evaluations in it, by row.
struct Found<'a> {
    spans: &'a RecordBatch,
    logs: &'a RecordBatch,
    columns: &'a [SpanColumns<'a>; 1],
    of_spans: &'a [Evaluation<'a>],
    of_logs: &'a [Evaluation<'a>],
}

impl Found<'_> {
    fn traces(
        &self,
        traces: &mut [ClosedTrace],
        resolver: &mut Resolver<'_>,
        span_runtimes: &Runtimes<'_>,
        log_runtimes: &Runtimes<'_>,
        changes: &Changes,
    ) -> Result<RecordBatch> {
        let (span_ids, log_span_ids) = (Ids::<8>::of(self.spans, "span_id")?, Ids::<8>::of(self.logs, "span_id")?);
        let columns = &self.columns[0];
        let mut rows = TraceRows::default();
        let (mut flag_entries, mut flag_lengths) = (vec![], vec![]);
        let (mut build_entries, mut build_lengths) = (vec![], vec![]);
        let mut uses = Uses::new(span_runtimes.all.len());
        let mut refs = vec![];
        for trace in traces.iter_mut().filter(|trace| !trace.spans.is_empty()) {
            refs.clear();
            refs.extend(trace.spans.clone().map(|row| SpanRef { table: 0, row }));
            let summary = summarise(self.columns, &refs, trace.closed.reason == CloseReason::MaxBytes);
            trace.closed.fragment |= summary.root.is_none();
            uses.clear();
            for row in trace.spans.clone() {
                let start = number(columns.starts, row).unwrap_or(0);
                let end = number(columns.ends, row).unwrap_or(start);
                uses.add(span_runtimes.of_row[row], start, end.max(start));
            }
            let known = changes.of(&trace.closed.tenant);
            let mut evaluated: Vec<Arc<FlagInEffect>> = vec![];
            let mut note = |evaluation: &Evaluation<'_>, span_id, runtime: &Sighting<'_>| {
                let entry = flags::evaluated(evaluation, span_id, runtime, known);
                let same = |known: &Arc<FlagInEffect>| {
                    (&known.key, &known.service, &known.instance, &known.variant, &known.value)
                        == (&entry.key, &entry.service, &entry.instance, &entry.variant, &entry.value)
                };
                if !evaluated.iter().any(same) {
                    evaluated.push(Arc::new(entry));
                }
            };
            for evaluation in within(self.of_spans, &trace.spans) {
                let runtime = &span_runtimes.all[span_runtimes.of_row[evaluation.row] as usize];
                note(evaluation, span_ids.get(evaluation.row), runtime);
            }
            for evaluation in within(self.of_logs, &trace.logs) {
                let runtime = &log_runtimes.all[log_runtimes.of_row[evaluation.row] as usize];
                note(evaluation, log_span_ids.get(evaluation.row), runtime);
            }
            let before = flag_entries.len();
            flag_entries.extend(resolver.flags(&uses, evaluated));
            flag_lengths.push(flag_entries.len() - before);
            let before = build_entries.len();
            build_entries.extend(resolver.builds(&uses));
            build_lengths.push(build_entries.len() - before);
            let logs = trace.logs.len() as i64;
            let sampled_by = trace.sampled_by;
            let facts = TraceFacts { closed: &trace.closed, revision: 1, logs, failures: None, sampled_by };
            rows.push(&summary, &facts);
        }
        rows.finish(flag_lists(&flag_lengths, &flag_entries)?, build_lists(&build_lengths, &build_entries)?)
    }
}

/// The evaluations of a range of rows.
fn within<'a, 'b>(all: &'b [Evaluation<'a>], rows: &Range<usize>) -> &'b [Evaluation<'a>] {
    let from = all.partition_point(|evaluation| evaluation.row < rows.start);
    let to = all.partition_point(|evaluation| evaluation.row < rows.end);
    &all[from..to]
}

/// The runtimes that one trace ran in, and from when to when.
struct Uses {
    all: Vec<(u32, i64, i64)>,
    /// Place in `all`, by runtime.
    place: Vec<Option<usize>>,
}

impl Uses {
    fn new(runtimes: usize) -> Self {
        Self { all: vec![], place: vec![None; runtimes] }
    }

    fn clear(&mut self) {
        for (runtime, ..) in self.all.drain(..) {
            self.place[runtime as usize] = None;
        }
    }

    fn add(&mut self, runtime: u32, from: i64, to: i64) {
        match self.place[runtime as usize] {
            Some(place) => {
                let (_, first, last) = &mut self.all[place];
                *first = from.min(*first);
                *last = to.max(*last);
            }
            None => {
                self.place[runtime as usize] = Some(self.all.len());
                self.all.push((runtime, from, to));
            }
        }
    }
}

/// An answer and the interval between changes for which it holds.
type Cached<T> = Option<(usize, T)>;

/// Answers for runtimes. Between two changes an answer is the same for all traces.
struct Resolver<'a> {
    runtimes: &'a [Sighting<'a>],
    known: Vec<Option<&'a Known>>,
    builds: Vec<Cached<Option<Arc<BuildInEffect>>>>,
    flags: Vec<Cached<Vec<Arc<FlagInEffect>>>>,
}

impl<'a> Resolver<'a> {
    fn new(runtimes: &'a [Sighting<'a>], changes: &'a Changes) -> Self {
        Self {
            runtimes,
            known: runtimes.iter().map(|runtime| changes.of(runtime.tenant)).collect(),
            builds: vec![None; runtimes.len()],
            flags: vec![None; runtimes.len()],
        }
    }

    /// The interval in which both times lie, if it is one.
    fn interval(&self, runtime: usize, from: i64, to: i64) -> Option<usize> {
        let Some(known) = self.known[runtime] else { return Some(0) };
        let interval = known.interval(from);
        (known.interval(to) == interval).then_some(interval)
    }

    /// Whether deployments of a runtime's service are known: without any its build is the same at all times.
    fn has_builds(&self, runtime: u32) -> bool {
        let (known, service) = (self.known[runtime as usize], self.runtimes[runtime as usize].service);
        known.zip(service).is_some_and(|(known, service)| known.builds.contains_key(service))
    }

    fn build(&mut self, runtime: u32, from: i64, to: i64) -> Option<Arc<BuildInEffect>> {
        let runtime = runtime as usize;
        let interval = self.interval(runtime, from, to);
        if let (Some(interval), Some((cached, build))) = (interval, &self.builds[runtime])
            && interval == *cached
        {
            return build.clone();
        }
        let build = builds::in_effect(&self.runtimes[runtime], self.known[runtime], from, to).map(Arc::new);
        if let Some(interval) = interval {
            self.builds[runtime] = Some((interval, build.clone()));
        }
        build
    }

    /// The builds of a trace, each once.
    fn builds(&mut self, uses: &Uses) -> Vec<Arc<BuildInEffect>> {
        let mut found: Vec<Arc<BuildInEffect>> = vec![];
        for (runtime, from, to) in &uses.all {
            if let Some(build) = self.build(*runtime, *from, *to)
                && !found.contains(&build)
            {
                found.push(build);
            }
        }
        found.sort_by(|a, b| {
            let key = |build: &BuildInEffect| {
                (build.service.clone(), build.version.clone(), build.git_sha.clone(), build.instance.clone())
            };
            key(a).cmp(&key(b))
        });
        found
    }

    /// The flags of a trace, each once: evaluated ones, and of the others those that its services did
    /// not evaluate.
    fn flags(&mut self, uses: &Uses, evaluated: Vec<Arc<FlagInEffect>>) -> BTreeSet<Arc<FlagInEffect>> {
        let mut found: BTreeSet<Arc<FlagInEffect>> = BTreeSet::new();
        for (runtime, from, to) in &uses.all {
            let runtime = *runtime as usize;
            let Some(known) = self.known[runtime].filter(|known| !known.settings.is_empty()) else { continue };
            let interval = self.interval(runtime, *from, *to);
            let cached = matches!((interval, &self.flags[runtime]), (Some(a), Some((b, _))) if a == *b);
            let mut fresh = vec![];
            if !cached {
                let entries = flags::in_effect(&self.runtimes[runtime], Some(known), *from, *to);
                fresh = entries.into_iter().map(Arc::new).collect();
                if let Some(interval) = interval {
                    self.flags[runtime] = Some((interval, std::mem::take(&mut fresh)));
                }
            }
            let entries = match (interval, &self.flags[runtime]) {
                (Some(_), Some((_, entries))) => entries,
                _ => &fresh,
            };
            let service = self.runtimes[runtime].service;
            let was_evaluated = |entry: &FlagInEffect| {
                &*entry.kind == flags::FLAG
                    && evaluated.iter().any(|known| known.key == entry.key && known.service.as_deref() == service)
            };
            found.extend(entries.iter().filter(|entry| !was_evaluated(entry)).map(Arc::clone));
        }
        found.extend(evaluated);
        found
    }
}

/// The columns `build_git_sha` and `build_match`: the build at each span's start.
fn span_builds(
    columns: &SpanColumns<'_>,
    runtimes: &Runtimes<'_>,
    resolver: &mut Resolver<'_>,
) -> (ArrayRef, ArrayRef) {
    let (mut git_sha, mut matched) = (StringBuilder::new(), StringBuilder::new());
    // Most services have no deployments: when their spans start is of no account.
    let timeless: Vec<Option<Option<Arc<BuildInEffect>>>> = (0..runtimes.all.len() as u32)
        .map(|runtime| (!resolver.has_builds(runtime)).then(|| resolver.build(runtime, 0, 0)))
        .collect();
    for (row, runtime) in runtimes.of_row.iter().enumerate() {
        let resolved;
        let build = match &timeless[*runtime as usize] {
            Some(build) => build,
            None => {
                let start = number(columns.starts, row).unwrap_or(0);
                resolved = resolver.build(*runtime, start, start);
                &resolved
            }
        };
        git_sha.append_option(build.as_ref().and_then(|build| build.git_sha.as_deref()));
        matched.append_option(build.as_ref().map(|build| build.matched.text()));
    }
    (Arc::new(git_sha.finish()), Arc::new(matched.finish()))
}
