//! Spans: instances, pairs of versions, paths, attributes, and the time that each took itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, MapArray, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use tracerag_index::tree::{TreeSpan, places};
use tracerag_schemas::anchor::{Anchor, Target, version_or_commit};
use tracerag_schemas::attributes::type_name;

use super::Traces;
use super::place::Place;
use crate::bundle::Footprint;
use crate::compare::consequence::is_consequence;
use crate::compare::variables::{Kind, Several, Variables};
use crate::error::Result;
use crate::rows::{Columns, entries, number, text};

/// Bytes of an attribute's value: longer ones are texts, which are seldom equal.
const MOST_BYTES: usize = 200;
/// Spans above one that a path shows.
const MOST_STEPS: usize = 16;
/// Beginnings of attributes of resources that have variables of their own, or are alike for all of a service.
const RESOURCE_ELSEWHERE: [&str; 5] = ["service.", "vcs.", "telemetry.", "deployment.environment", "process.command"];

/// A span as far as others need it.
pub(super) struct Named {
    pub service: String,
    pub name: String,
}

/// What others need to know of the spans.
#[derive(Default)]
pub(super) struct Spans {
    /// By trace and id.
    named: HashMap<(u32, String), Named>,
    /// Services of a trace, each with the places that it ran on.
    pub ran_on: BTreeMap<u32, BTreeSet<(String, Place)>>,
    /// Where and when each trace ran.
    pub footprints: BTreeMap<u32, Footprint>,
    /// The services of all traces.
    pub services: BTreeSet<String>,
}

impl Spans {
    pub(super) fn named(&self, trace: u32, span_id: &str) -> Option<&Named> {
        self.named.get(&(trace, span_id.to_owned()))
    }
}

/// The columns of a batch of spans.
struct Batch<'a> {
    traces: &'a StringArray,
    ids: &'a StringArray,
    parents: &'a StringArray,
    names: &'a StringArray,
    services: &'a StringArray,
    versions: &'a StringArray,
    instances: &'a StringArray,
    commits: &'a StringArray,
    starts: &'a TimestampNanosecondArray,
    ends: &'a TimestampNanosecondArray,
    attributes: &'a MapArray,
    types: &'a MapArray,
    resources: &'a MapArray,
    resource_types: &'a MapArray,
}

impl<'a> Batch<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let columns = Columns::of("spans", batch);
        Ok(Self {
            traces: columns.text("trace_id")?,
            ids: columns.text("span_id")?,
            parents: columns.text("parent_span_id")?,
            names: columns.text("name")?,
            services: columns.text("service_name")?,
            versions: columns.text("service_version")?,
            instances: columns.text("service_instance_id")?,
            commits: columns.text("build_git_sha")?,
            starts: columns.time("start_time")?,
            ends: columns.time("end_time")?,
            attributes: columns.map("attributes")?,
            types: columns.map("attributes_types")?,
            resources: columns.map("resource_attributes")?,
            resource_types: columns.map("resource_attributes_types")?,
        })
    }
}

/// A span within its batch.
#[derive(Clone, Copy)]
struct Span<'a> {
    batch: &'a Batch<'a>,
    row: usize,
}

impl<'a> Span<'a> {
    fn id(self) -> &'a str {
        text(self.batch.ids, self.row).unwrap_or_default()
    }

    fn parent(self) -> Option<&'a str> {
        text(self.batch.parents, self.row)
    }

    fn service(self) -> &'a str {
        text(self.batch.services, self.row).unwrap_or("(no service)")
    }

    fn name(self) -> &'a str {
        text(self.batch.names, self.row).unwrap_or_default()
    }

    fn version(self) -> Option<&'a str> {
        let (version, commit) = (text(self.batch.versions, self.row), text(self.batch.commits, self.row));
        (version.is_some() || commit.is_some()).then(|| version_or_commit(version, commit))
    }

    fn start(self) -> i64 {
        number(self.batch.starts, self.row).unwrap_or_default()
    }

    fn anchor(self) -> Anchor {
        Anchor::first(Target::Span(self.id().to_owned()))
    }
}

pub(super) fn observe(variables: &mut Variables, traces: &Traces<'_>, batches: &[RecordBatch]) -> Result<Spans> {
    let batches = batches.iter().map(Batch::of).collect::<Result<Vec<_>>>()?;
    let mut by_trace: BTreeMap<u32, Vec<Span<'_>>> = BTreeMap::new();
    for batch in &batches {
        for row in 0..batch.traces.len() {
            let Some(trace) = traces.number(text(batch.traces, row)) else { continue };
            by_trace.entry(trace).or_default().push(Span { batch, row });
        }
    }
    let mut spans = Spans::default();
    let mut paths = BTreeSet::new();
    for (trace, of_trace) in &by_trace {
        let (trace, failed_at) = (*trace, traces.member(*trace).and_then(|member| member.failed_at));
        let by_id: HashMap<&str, Span<'_>> = of_trace.iter().map(|span| (span.id(), *span)).collect();
        for span in of_trace {
            let named = Named { service: span.service().to_owned(), name: span.name().to_owned() };
            spans.named.insert((trace, span.id().to_owned()), named);
            let (service, instance) = (text(span.batch.services, span.row), text(span.batch.instances, span.row));
            if let Some(service) = service.filter(|service| !spans.services.contains(*service)) {
                spans.services.insert(service.to_owned());
            }
            if let Some(instance) = instance {
                variables.say(Kind::Instance, span.service(), trace, instance, || Some(span.anchor()));
            }
            let end = number(span.batch.ends, span.row).unwrap_or_else(|| span.start());
            let footprint = spans.footprints.entry(trace).or_default();
            footprint.add(span.id(), service, instance, span.start(), end);
            let places = Place::all(service, instance, entries(span.batch.resources, span.row));
            let ran_on = spans.ran_on.entry(trace).or_default();
            ran_on.extend(places.into_iter().map(|place| (span.service().to_owned(), place)));
            attributes(variables, trace, *span);
            resource(variables, trace, *span);
            let parent = span.parent().and_then(|parent| by_id.get(parent)).copied();
            if let Some(parent) = parent {
                versions(variables, trace, parent, *span);
            }
            // What begins after the failure may be what was done about it.
            if failed_at.is_none_or(|failed_at| span.start() < failed_at)
                && let Some(path) = path(*span, &by_id)
            {
                let last = format!("{}: {}", span.service(), span.name());
                variables.say(Kind::SpanPath, &last, trace, &path, || Some(span.anchor()));
                paths.insert(last);
            }
        }
        self_times(variables, trace, of_trace);
    }
    // A trace without a path is known to be without it.
    for last in paths {
        for trace in by_trace.keys() {
            variables.know(Kind::SpanPath, &last, *trace);
        }
    }
    Ok(spans)
}

fn attributes(variables: &mut Variables, trace: u32, span: Span<'_>) {
    let types: HashMap<&str, Option<&str>> = entries(span.batch.types, span.row).collect();
    for (key, value) in entries(span.batch.attributes, span.row) {
        if is_consequence(key) {
            leave_out(variables, span, key);
        } else {
            attribute(variables, trace, span, key, value, types.get(key).copied().flatten());
        }
    }
}

fn resource(variables: &mut Variables, trace: u32, span: Span<'_>) {
    let types: HashMap<&str, Option<&str>> = entries(span.batch.resource_types, span.row).collect();
    for (key, value) in entries(span.batch.resources, span.row) {
        if RESOURCE_ELSEWHERE.iter().any(|elsewhere| key.starts_with(elsewhere)) {
            continue;
        }
        if is_consequence(key) {
            leave_out(variables, span, key);
        } else {
            attribute(variables, trace, span, key, value, types.get(key).copied().flatten());
        }
    }
}

/// Notes an attribute that may follow from the failure, for the answer to say that nothing was made of it.
fn leave_out(variables: &mut Variables, span: Span<'_>, key: &str) {
    let name = format!("{} {key}", span.service());
    variables.consequences.insert(name);
}

/// An attribute counts among the traces that have it: that a failing span has one which no good span has may follow
/// from the failure.
fn attribute(
    variables: &mut Variables,
    trace: u32,
    span: Span<'_>,
    key: &str,
    value: Option<&str>,
    kind: Option<&str>,
) {
    let Some(value) = value.filter(|value| value.len() <= MOST_BYTES) else { return };
    let name = format!("{} {key}", span.service());
    variables.say(Kind::Attribute, &name, trace, value, || Some(span.anchor()));
    if matches!(kind, Some(type_name::INT | type_name::DOUBLE))
        && let Ok(number) = value.parse::<f64>()
    {
        variables.measure(Kind::Attribute, &name, trace, number, Several::Ends, || Some(span.anchor()));
    }
}

/// The versions of a caller and of who is called, where these are two services.
fn versions(variables: &mut Variables, trace: u32, caller: Span<'_>, callee: Span<'_>) {
    if caller.service() == callee.service() {
        return;
    }
    if let (Some(of_caller), Some(of_callee)) = (caller.version(), callee.version()) {
        let name = format!("{} -> {}", caller.service(), callee.service());
        let value = format!("{of_caller} -> {of_callee}");
        variables.say(Kind::Versions, &name, trace, &value, || Some(callee.anchor()));
    }
}

/// The services and names from the top to a span; `None` of one that lies too deep.
fn path(span: Span<'_>, by_id: &HashMap<&str, Span<'_>>) -> Option<String> {
    let mut steps = vec![format!("{}: {}", span.service(), span.name())];
    let mut above = span.parent().and_then(|parent| by_id.get(parent));
    while let Some(parent) = above {
        if steps.len() == MOST_STEPS {
            return None;
        }
        steps.push(format!("{}: {}", parent.service(), parent.name()));
        above = parent.parent().and_then(|parent| by_id.get(parent));
    }
    steps.reverse();
    Some(steps.join(" > "))
}

fn self_times(variables: &mut Variables, trace: u32, spans: &[Span<'_>]) {
    let tree: Vec<TreeSpan<'_>> = spans
        .iter()
        .map(|span| {
            let start = span.start();
            let end = number(span.batch.ends, span.row).unwrap_or(start);
            TreeSpan { span_id: span.id(), parent_span_id: span.parent(), start, end }
        })
        .collect();
    for place in places(&tree, None) {
        let Some(span) = spans.get(place.span) else { continue };
        let name = format!("{} {}", span.service(), span.name());
        let time = place.self_time_ns as f64;
        variables.measure(Kind::SelfTime, &name, trace, time, Several::Sum, || Some(span.anchor()));
    }
}
