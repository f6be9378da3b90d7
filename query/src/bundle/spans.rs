//! Spans in tree order, with the resources they share, the calls between services, and the links.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::record_batch::RecordBatch;
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchor, Anchors, Target};
use tracerag_schemas::bundle::{Build, Edge, Event, Link, Linked, Resource, Span};

use super::changes::build_of;
use super::footprint::Footprint;
use super::origin::{Origin, Origins};
use super::trace::TraceRow;
use super::{OmittedBy, days, of_trace, omit};
use crate::error::Result;
use crate::links::InboundLink;
use crate::rows::{Columns, instant, items, number, owned};
use crate::snapshot::{Range, Snapshot};
use crate::tree::{TreeSpan, places};

/// Spans in one bundle.
const MAX_SPANS: usize = 10_000;
/// Links in one bundle.
const MAX_LINKS: usize = 200;

const COLUMNS: [&str; 24] = [
    "span_id",
    "parent_span_id",
    "name",
    "kind",
    "service_name",
    "service_namespace",
    "service_version",
    "service_instance_id",
    "deployment_environment_name",
    "start_time",
    "end_time",
    "duration_ns",
    "status_code",
    "status_message",
    "attributes",
    "attributes_types",
    "resource_attributes",
    "resource_attributes_types",
    "events",
    "links",
    "build_git_sha",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
];

/// What comes of the spans.
pub(super) struct Assembled {
    pub spans: Vec<Span>,
    pub resources: Vec<Resource>,
    pub graph: Vec<Edge>,
    pub footprint: Footprint,
}

/// A span before it has its place; times in ns.
struct Draft {
    span: Span,
    resource: Resource,
    /// Canonical text of the resource, by which equal ones are found and all are sorted.
    resource_key: String,
    start: i64,
    end: i64,
    /// Tells spans apart that were written twice under one id.
    origin: Origin,
}

pub(super) async fn read(snapshot: &Snapshot, trace: &TraceRow) -> Result<Vec<RecordBatch>> {
    let mut ranges = days(trace);
    ranges.push(Range::new("start_time", trace.start, trace.end));
    snapshot.read_id(Table::Spans, &COLUMNS, of_trace(trace).within(ranges)).await
}

pub(super) fn assemble(
    batches: &[RecordBatch],
    trace: &TraceRow,
    builds: &[Build],
    anchors: &mut Anchors,
    omitted: &mut OmittedBy,
) -> Result<Assembled> {
    let mut drafts = Vec::new();
    for batch in batches {
        draft(batch, builds, &mut drafts)?;
    }
    drafts.sort_by(|a, b| {
        let key = |draft: &Draft| (draft.start, draft.end);
        key(a).cmp(&key(b)).then_with(|| (&a.span.span_id, &a.origin).cmp(&(&b.span.span_id, &b.origin)))
    });
    let mut footprint = Footprint::default();
    for Draft { span, resource, start, end, .. } in &drafts {
        footprint.add(&span.span_id, span.service.as_deref(), resource.instance.as_deref(), *start, *end);
    }
    let resources: BTreeMap<String, Resource> =
        drafts.iter().map(|draft| (draft.resource_key.clone(), draft.resource.clone())).collect();
    let index: HashMap<&String, usize> = resources.keys().enumerate().map(|(index, key)| (key, index)).collect();
    for draft in &mut drafts {
        draft.span.resource = index.get(&draft.resource_key).copied().unwrap_or_default();
    }
    let graph = graph(&drafts);
    let order = {
        let tree: Vec<TreeSpan<'_>> = drafts
            .iter()
            .map(|draft| TreeSpan {
                span_id: &draft.span.span_id,
                parent_span_id: draft.span.parent_span_id.as_deref(),
                start: draft.start,
                end: draft.end,
            })
            .collect();
        places(&tree, trace.document.root_span_id.as_deref())
    };
    let mut waiting: Vec<Option<Span>> = drafts.into_iter().map(|draft| Some(draft.span)).collect();
    let mut spans: Vec<Span> = order
        .iter()
        .filter_map(|place| {
            let mut span = waiting[place.span].take()?;
            span.on_critical_path = place.on_critical_path;
            Some(span)
        })
        .collect();
    cut(&mut spans, omitted);
    for span in &mut spans {
        span.anchor = anchors.next(Target::Span(span.span_id.clone())).to_string();
    }
    Ok(Assembled { spans, resources: resources.into_values().collect(), graph, footprint })
}

fn draft(batch: &RecordBatch, builds: &[Build], drafts: &mut Vec<Draft>) -> Result<()> {
    let columns = Columns::of("spans", batch);
    let text = |name| columns.text(name);
    let (ids, parents, names, kinds) = (text("span_id")?, text("parent_span_id")?, text("name")?, text("kind")?);
    let (services, namespaces) = (text("service_name")?, text("service_namespace")?);
    let (versions, instances) = (text("service_version")?, text("service_instance_id")?);
    let environments = text("deployment_environment_name")?;
    let (starts, ends) = (columns.time("start_time")?, columns.time("end_time")?);
    let durations = columns.int("duration_ns")?;
    let (statuses, messages, commits) = (text("status_code")?, text("status_message")?, text("build_git_sha")?);
    let attributes = columns.attributes("attributes")?;
    let resource_attributes = columns.attributes("resource_attributes")?;
    let origins = Origins::of_columns(columns)?;
    for row in 0..batch.num_rows() {
        let start = number(starts, row).unwrap_or_default();
        let resource = Resource {
            service: owned(services, row),
            namespace: owned(namespaces, row),
            instance: owned(instances, row),
            version: owned(versions, row),
            environment: owned(environments, row),
            attributes: resource_attributes.json(row),
        };
        let build = build_of(
            builds,
            resource.service.as_deref(),
            resource.instance.as_deref(),
            resource.version.as_deref(),
            owned(commits, row).as_deref(),
        );
        let span = Span {
            anchor: String::new(),
            span_id: owned(ids, row).unwrap_or_default(),
            parent_span_id: owned(parents, row),
            name: owned(names, row),
            kind: owned(kinds, row),
            service: resource.service.clone(),
            resource: 0,
            build: build.map(|build| build.anchor.clone()),
            started_at: instant(starts, row),
            duration_ns: number(durations, row),
            status: owned(statuses, row),
            status_message: owned(messages, row),
            attributes: attributes.json(row),
            events: events(columns, row)?,
            links: links(columns, row)?,
            on_critical_path: false,
        };
        let key = (
            &resource.service,
            &resource.instance,
            &resource.version,
            &resource.environment,
            &resource.namespace,
            &resource.attributes,
        );
        let resource_key = String::from_utf8_lossy(&tracerag_schemas::bundle::canonical(&key)?).into_owned();
        let end = number(ends, row).unwrap_or(start);
        drafts.push(Draft { span, resource, resource_key, start, end, origin: origins.of(row) });
    }
    Ok(())
}

fn events(columns: Columns<'_>, row: usize) -> Result<Vec<Event>> {
    let list = columns.list("events")?;
    let fields = columns.items(list, "events")?;
    let (times, names, attributes) = (fields.time("time")?, fields.text("name")?, fields.attributes("attributes")?);
    Ok(items(list, row)
        .map(|item| Event { time: instant(times, item), name: owned(names, item), attributes: attributes.json(item) })
        .collect())
}

fn links(columns: Columns<'_>, row: usize) -> Result<Vec<Link>> {
    let list = columns.list("links")?;
    let fields = columns.items(list, "links")?;
    let (traces, spans) = (fields.text("trace_id")?, fields.text("span_id")?);
    let attributes = fields.attributes("attributes")?;
    Ok(items(list, row)
        .map(|item| Link {
            trace_id: owned(traces, item),
            span_id: owned(spans, item),
            attributes: attributes.json(item),
        })
        .collect())
}

/// Calls between different services, by the spans' parents.
fn graph(drafts: &[Draft]) -> Vec<Edge> {
    let services: HashMap<&str, Option<&str>> =
        drafts.iter().map(|draft| (draft.span.span_id.as_str(), draft.span.service.as_deref())).collect();
    let mut edges: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for Draft { span, .. } in drafts {
        let caller = span.parent_span_id.as_deref().and_then(|parent| services.get(parent).copied().flatten());
        let (Some(from), Some(to)) = (caller, span.service.as_deref()) else { continue };
        if from != to {
            let (calls, errors) = edges.entry((from, to)).or_default();
            *calls += 1;
            *errors += u64::from(span.status.as_deref() == Some("ERROR"));
        }
    }
    edges
        .into_iter()
        .map(|((from, to), (calls, errors))| Edge { from: from.to_owned(), to: to.to_owned(), calls, errors })
        .collect()
}

/// Cuts a very large trace: failing spans, what leads to them and the critical path stay first.
fn cut(spans: &mut Vec<Span>, omitted: &mut OmittedBy) {
    if spans.len() <= MAX_SPANS {
        return;
    }
    let parents: HashMap<&str, Option<&str>> =
        spans.iter().map(|span| (span.span_id.as_str(), span.parent_span_id.as_deref())).collect();
    let mut leading: HashSet<String> = HashSet::new();
    for span in spans.iter().filter(|span| span.status.as_deref() == Some("ERROR")) {
        let mut above = Some(span.span_id.as_str());
        while let Some(id) = above {
            if !leading.insert(id.to_owned()) {
                break;
            }
            above = parents.get(id).copied().flatten();
        }
    }
    let count = spans.len() - MAX_SPANS;
    let first = |span: &Span| span.on_critical_path || leading.contains(&span.span_id);
    let mut room = MAX_SPANS.saturating_sub(spans.iter().filter(|span| first(span)).count());
    spans.retain(|span| {
        if first(span) {
            return true;
        }
        let fits = room > 0;
        room = room.saturating_sub(1);
        fits
    });
    spans.truncate(MAX_SPANS);
    omit(
        omitted,
        "spans",
        count,
        "the bundle holds 10000 spans: failing ones, what leads to them and the critical path first",
    );
}

/// Links out of the trace, and those into it that came in time; the others are handed back.
pub(super) fn linked(
    spans: &[Span],
    inbound: Vec<InboundLink>,
    trace: &TraceRow,
    omitted: &mut OmittedBy,
) -> (Vec<Linked>, Vec<Linked>) {
    let (early, late): (Vec<_>, Vec<_>) = inbound.into_iter().partition(|link| link.ingested_at <= trace.limit);
    let into = |link: InboundLink| Linked {
        anchor: String::new(),
        trace_id: Some(link.trace_id),
        span_id: Some(link.span_id),
        from_span_id: link.target_span_id,
        direction: "in".to_owned(),
    };
    let mut linked: Vec<Linked> = early.into_iter().map(into).collect();
    for span in spans {
        linked.extend(span.links.iter().map(|link| Linked {
            anchor: String::new(),
            trace_id: link.trace_id.clone(),
            span_id: link.span_id.clone(),
            from_span_id: Some(span.span_id.clone()),
            direction: "out".to_owned(),
        }));
    }
    linked.sort_by(|a, b| {
        let key = |link: &Linked| {
            (link.direction.clone(), link.trace_id.clone(), link.span_id.clone(), link.from_span_id.clone())
        };
        key(a).cmp(&key(b))
    });
    linked.dedup();
    omit(omitted, "linked", linked.len().saturating_sub(MAX_LINKS), "the bundle holds 200 links");
    linked.truncate(MAX_LINKS);
    for (number, link) in (0..).zip(&mut linked) {
        link.anchor = Anchor::first(Target::Link(number)).to_string();
    }
    (linked, late.into_iter().map(into).collect())
}
