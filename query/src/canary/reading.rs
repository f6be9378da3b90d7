//! The figures of one version or variant, from one session.
//!
//! What can be counted is counted by the engine; only durations come out row by row, into a sample of bounded size. The
//! units are entries: spans in which the service was called or given a message, or began a trace of its own. A request
//! that fails has several failing spans, and tests that took each for itself would believe too much.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::Array;
use datafusion::common::{ParamValues, ScalarValue};
use futures::{FutureExt, TryStreamExt};
use serde_json::{Map, Value};
use tracerag_schemas::bundle::Bundle;

use super::request::{By, Request, wrong};
use super::sample::Sample;
use super::verdict::{Instances, LEAST_DURATIONS, Observed, Seen};
use crate::error::Result;
use crate::rows::{Columns, number, text};
use crate::session::Session;
use crate::statistics::Share;

/// Names of spans whose durations are compared.
const MOST_NAMES: usize = 20;
/// How long before a span its trace may have evaluated a flag: as long as a late part of a trace is taken, by default.
const EVALUATED_BEFORE: i64 = 3_600 * tracerag_schemas::time::SECOND;
/// Digits of a commit that can be told from a version.
const COMMIT_DIGITS: std::ops::RangeInclusive<usize> = 7..=40;

/// What a process or its container uses, as the semantic conventions (1.43) name it, and as SDKs named it before them.
/// The heap's limits, and what was allocated in all, are none of it.
const MEMORY: [&str; 15] = [
    "process.memory.usage",
    "container.memory.usage",
    "container.memory.working_set",
    "k8s.pod.memory.usage",
    "k8s.pod.memory.working_set",
    "jvm.memory.used",
    "jvm.memory.used_after_last_gc",
    "go.memory.used",
    "v8js.memory.heap.used",
    "dotnet.process.memory.working_set",
    "dotnet.gc.last_collection.heap.size",
    "process.runtime.jvm.memory.usage",
    "process.runtime.go.mem.heap_inuse",
    "process.runtime.dotnet.gc.objects.size",
    "process.runtime.cpython.memory",
];

/// Where failures are looked for: the way that a bundle's trace failed on.
pub(super) struct Way {
    /// Services and names of the spans that failed, and of those above them.
    spans: BTreeSet<(String, String)>,
    /// The incidents of the bundle.
    pub fingerprints: BTreeSet<String>,
}

impl Way {
    /// The way of a bundle; where no span failed, its critical path.
    pub(super) fn of(bundle: &Bundle, service: &str) -> Result<Self> {
        let spans = &bundle.evidence.spans;
        let by_id: BTreeMap<&str, _> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
        let failed: Vec<_> = spans.iter().filter(|span| span.status.as_deref() == Some("ERROR")).collect();
        let ends = match failed.is_empty() {
            true => spans.iter().filter(|span| span.on_critical_path).collect(),
            false => failed,
        };
        let mut taken = BTreeSet::new();
        let mut way = BTreeSet::new();
        for end in ends {
            let mut next = Some(end);
            while let Some(span) = next.filter(|span| taken.insert(span.span_id.as_str())) {
                way.extend(span.service.clone().zip(span.name.clone()));
                next = span.parent_span_id.as_deref().and_then(|parent| by_id.get(parent).copied());
            }
        }
        if !way.iter().any(|(of, _)| of == service) {
            let services: BTreeSet<&str> = way.iter().map(|(of, _)| of.as_str()).collect();
            let services: Vec<&str> = services.into_iter().collect();
            return Err(wrong(format!(
                "the failing path of bundle {} does not pass through {service}, but through {}",
                bundle.bundle_id,
                services.join(", ")
            )));
        }
        let fingerprints = bundle.evidence.failures.iter().filter_map(|failure| failure.fingerprint.clone()).collect();
        Ok(Self { spans: way, fingerprints })
    }

    fn services(&self) -> BTreeSet<&str> {
        self.spans.iter().map(|(service, _)| service.as_str()).collect()
    }

    fn has(&self, service: &str, span_name: &str) -> bool {
        self.spans.iter().any(|(of, name)| of == service && name == span_name)
    }
}

/// The values of a query's parameters, `$1` and so on.
#[derive(Default)]
struct Values(Vec<ScalarValue>);

impl Values {
    fn text(&mut self, text: &str) -> String {
        self.push(ScalarValue::from(text))
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> String {
        let places: Vec<String> = texts.into_iter().map(|text| self.text(text)).collect();
        places.join(", ")
    }

    fn time(&mut self, ns: i64) -> String {
        self.push(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())))
    }

    fn push(&mut self, value: ScalarValue) -> String {
        self.0.push(value);
        format!("${}", self.0.len())
    }
}

/// The spans of one version or variant.
pub(super) struct Group<'a> {
    session: &'a Session,
    request: &'a Request,
    variant: &'a str,
    /// Commits that were deployed as this version, for spans that state none.
    commits: Vec<String>,
}

impl<'a> Group<'a> {
    pub(super) async fn of(session: &'a Session, request: &'a Request, variant: &'a str) -> Result<Self> {
        let mut group = Self { session, request, variant, commits: vec![] };
        if request.by == By::Version {
            let mut values = Values::default();
            let query = format!(
                "select distinct git_sha from builds where service_name = {} and version = {} and git_sha is not null
                 order by 1",
                values.text(&request.service),
                values.text(variant)
            );
            let rows = group.rows(query, values).await?;
            group.commits = rows.iter().filter_map(|row| told(row, "git_sha")).collect();
        }
        Ok(group)
    }

    async fn rows(&self, query: String, values: Values) -> Result<Vec<Map<String, Value>>> {
        let mut rows = Vec::new();
        for batch in self.session.collect(&query, Some(ParamValues::from(values.0))).boxed().await? {
            rows.extend(crate::json::rows(&batch)?);
        }
        Ok(rows)
    }

    /// The condition for entries.
    fn entries(&self, values: &mut Values) -> String {
        let request = self.request;
        let mut condition = format!(
            "service_name = {} and start_time >= {} and start_time < {}
             and (kind in ('SERVER', 'CONSUMER') or parent_span_id is null)",
            values.text(&request.service),
            values.time(request.since),
            values.time(request.until)
        );
        if let Some(environment) = &request.environment {
            condition.push_str(&format!(" and deployment_environment_name = {}", values.text(environment)));
        }
        let variant = values.text(self.variant);
        condition.push_str(&match &request.by {
            By::Version => self.stated(&variant, "service_version", "build_git_sha", values),
            // A trace that saw both variants is of neither.
            By::Flag(key) => format!(
                " and trace_id in (select trace_id from flag_events where kind = 'flag' and key = {}
                    and source = 'evaluation' and trace_id is not null and valid_from >= {} and valid_from < {}
                    group by trace_id having min(variant) = {variant} and max(variant) = {variant})",
                values.text(key),
                values.time(request.since.saturating_sub(EVALUATED_BEFORE)),
                values.time(request.until.saturating_add(EVALUATED_BEFORE))
            ),
        });
        condition
    }

    /// The condition for what states this version, or a commit of it.
    fn stated(&self, variant: &str, version: &str, commit: &str, values: &mut Values) -> String {
        let mut ways = vec![format!("{version} = {variant}")];
        if COMMIT_DIGITS.contains(&self.variant.len()) && self.variant.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            ways.push(format!("starts_with({commit}, {variant})"));
        }
        if !self.commits.is_empty() {
            let commits = values.texts(self.commits.iter().map(String::as_str));
            ways.push(format!("({version} is null and {commit} in ({commits}))"));
        }
        format!(" and ({})", ways.join(" or "))
    }

    /// How many entries there are by name, and how many of them were not good.
    pub(super) async fn counts(&self) -> Result<BTreeMap<String, Share>> {
        let mut values = Values::default();
        let slow = match self.request.slower_than {
            Some(slower_than) => format!(" or duration_ns > {}", values.push(ScalarValue::from(slower_than))),
            None => String::new(),
        };
        let query = format!(
            "select coalesce(name, '') as name, count(*) as spans,
               count(*) filter (where status_code = 'ERROR'{slow}) as errors
             from spans where {} group by 1",
            self.entries(&mut values)
        );
        let rows = self.rows(query, values).await?;
        Ok(rows
            .iter()
            .filter_map(|row| Some((told(row, "name")?, Share::new(count(row, "errors"), count(row, "spans")))))
            .collect())
    }

    /// Durations of the entries with these names.
    async fn durations(&self, names: &[&str]) -> Result<BTreeMap<String, Vec<f64>>> {
        let mut samples: BTreeMap<String, Sample> = BTreeMap::new();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut values = Values::default();
        let query = format!(
            "select name, trace_id, span_id, duration_ns from spans where name in ({}) and {}",
            values.texts(names.iter().copied()),
            self.entries(&mut values)
        );
        let mut batches = self.session.sql(&query, Some(ParamValues::from(values.0))).boxed().await?;
        while let Some(batch) = batches.try_next().await? {
            let columns = Columns::of("spans", &batch);
            let (names, durations) = (columns.text("name")?, columns.int("duration_ns")?);
            let (traces, spans) = (columns.text("trace_id")?, columns.text("span_id")?);
            for row in 0..names.len() {
                let (Some(name), Some(duration)) = (text(names, row), number(durations, row)) else { continue };
                let key = [text(traces, row).unwrap_or_default(), text(spans, row).unwrap_or_default()];
                let sample = match samples.get_mut(name) {
                    Some(sample) => sample,
                    None => samples.entry(name.to_owned()).or_default(),
                };
                sample.add(&key.map(str::as_bytes), duration);
            }
        }
        Ok(samples.into_iter().map(|(name, sample)| (name, sample.sorted())).collect())
    }

    /// Memory of the instances. A metric of a process is of no variant of a flag, so there is none then.
    async fn memory(&self) -> Result<BTreeMap<String, Instances>> {
        if self.request.by != By::Version {
            return Ok(BTreeMap::new());
        }
        let request = self.request;
        let mut values = Values::default();
        let names = values.texts(MEMORY);
        let mut condition = format!(
            "service_name = {} and time >= {} and time < {} and name in ({names}) and kind in ('GAUGE', 'SUM')",
            values.text(&request.service),
            values.time(request.since),
            values.time(request.until)
        );
        if let Some(environment) = &request.environment {
            condition.push_str(&format!(" and deployment_environment_name = {}", values.text(environment)));
        }
        let variant = values.text(self.variant);
        condition.push_str(&self.stated(
            &variant,
            "resource_attributes['service.version']",
            "resource_attributes['vcs.ref.head.revision']",
            &mut values,
        ));
        // The points of one time are parts of a whole: types, pools, states.
        let query = format!(
            "select name, min(unit) as unit, avg(used) as mean, max(used) as greatest from (
               select name, min(unit) as unit, service_instance_id, time,
                 sum(coalesce(value, arrow_cast(value_int, 'Float64'))) as used
               from metrics where {condition} group by name, service_instance_id, time)
             group by name, service_instance_id order by name, mean"
        );
        let mut memory: BTreeMap<String, Instances> = BTreeMap::new();
        for row in self.rows(query, values).await? {
            let figure = |name: &str| row.get(name).and_then(Value::as_f64);
            let (Some(name), Some(mean), Some(max)) = (told(&row, "name"), figure("mean"), figure("greatest")) else {
                continue;
            };
            let instances = memory.entry(name).or_default();
            instances.unit = told(&row, "unit");
            instances.means.push(mean);
            instances.max = instances.max.max(max);
        }
        Ok(memory)
    }

    /// Incidents in the traces of the entries: of the service, or on the way of a bundle.
    async fn failures(&self, way: Option<&Way>) -> Result<BTreeMap<String, Seen>> {
        let mut values = Values::default();
        let services = match way {
            Some(way) => values.texts(way.services()),
            None => values.text(&self.request.service),
        };
        let since = values.time(self.request.since);
        // An echo is counted where it comes from.
        let query = format!(
            "select fingerprint, service_name as service, span_name, count(distinct trace_id) as traces from failures
             where time >= {since} and service_name in ({services}) and fingerprint is not null and origin_id is null
               and trace_id in (select trace_id from spans where {}) group by 1, 2, 3 order by 1, 2, 3",
            self.entries(&mut values)
        );
        let mut failures: BTreeMap<String, Seen> = BTreeMap::new();
        for row in self.rows(query, values).await? {
            let (service, span_name) = (told(&row, "service"), told(&row, "span_name"));
            let is_there = way.is_none_or(|way| {
                let (service, name) = (service.as_deref(), span_name.as_deref());
                service.zip(name).is_some_and(|(service, name)| way.has(service, name))
            });
            let Some(fingerprint) = told(&row, "fingerprint").filter(|_| is_there) else { continue };
            let seen = failures.entry(fingerprint).or_default();
            seen.traces += count(&row, "traces");
            seen.service = service;
            seen.span_names.extend(span_name);
        }
        Ok(failures)
    }

    /// Everything that is compared. `names` are those of the spans whose durations are.
    pub(super) async fn observe(
        &self,
        counts: &BTreeMap<String, Share>,
        names: &[&str],
        way: Option<&Way>,
    ) -> Result<Observed> {
        let total = counts
            .values()
            .fold(Share::default(), |sum, share| Share::new(sum.events + share.events, sum.of + share.of));
        Ok(Observed {
            spans: total,
            durations: self.durations(names).await?,
            memory: self.memory().await?,
            failures: self.failures(way).await?,
        })
    }
}

/// The names of which both sides have enough spans, those with the most first.
pub(super) fn shared_names<'a>(
    baseline: &BTreeMap<String, Share>,
    candidate: &'a BTreeMap<String, Share>,
) -> Vec<&'a str> {
    let mut names: Vec<(u64, &str)> = candidate
        .iter()
        .filter_map(|(name, share)| Some((share.of.min(baseline.get(name)?.of), name.as_str())))
        .filter(|(spans, _)| *spans >= LEAST_DURATIONS as u64)
        .collect();
    names.sort_by(|(a, name_a), (b, name_b)| (b, name_a).cmp(&(a, name_b)));
    names.into_iter().take(MOST_NAMES).map(|(_, name)| name).collect()
}

/// Adds titles, and when an incident was first seen.
pub(super) async fn describe(session: &Session, observed: [&mut Observed; 2]) -> Result<()> {
    let fingerprints: BTreeSet<String> =
        observed.iter().flat_map(|observed| observed.failures.keys().cloned()).collect();
    if fingerprints.is_empty() {
        return Ok(());
    }
    let mut values = Values::default();
    let query = format!(
        "select fingerprint, title, first_seen from incidents where fingerprint in ({})",
        values.texts(fingerprints.iter().map(String::as_str))
    );
    let mut known = BTreeMap::new();
    for batch in session.collect(&query, Some(ParamValues::from(values.0))).boxed().await? {
        for row in crate::json::rows(&batch)? {
            known
                .insert(told(&row, "fingerprint").unwrap_or_default(), (told(&row, "title"), told(&row, "first_seen")));
        }
    }
    for (fingerprint, seen) in observed.into_iter().flat_map(|observed| observed.failures.iter_mut()) {
        if let Some((title, first_seen)) = known.get(fingerprint) {
            seen.title.clone_from(title);
            seen.first_seen.clone_from(first_seen);
        }
    }
    Ok(())
}

fn told(row: &Map<String, Value>, name: &str) -> Option<String> {
    row.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn count(row: &Map<String, Value>, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or_default()
}
