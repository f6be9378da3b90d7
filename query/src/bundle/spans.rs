//! Spans in tree order, with the resources they share, the calls between services, and the links.

use std::collections::{BTreeMap, HashMap};

use arrow::record_batch::RecordBatch;
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchor, Anchors, Target};
use tracerag_schemas::bundle::{Build, Edge, Event, Link, Linked, Resource, Span};

use super::changes::build_of;
use super::footprint::Footprint;
use super::skeleton::{self, Keys, MAX_SPANS, Skeleton, SpanKey};
use super::trace::TraceRow;
use super::{OmittedBy, days, of_trace, omit};
use crate::error::Result;
use crate::links::InboundLink;
use crate::lookup::{Found, UpTo};
use crate::rows::{Columns, instant, items, number, owned};
use crate::snapshot::{Range, Snapshot};

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

/// Spans that may be evidence.
pub(super) struct SpanRows {
    /// As many as a bundle has room for.
    batches: Vec<RecordBatch>,
    /// The skeleton of all, where these are more.
    all: Option<Vec<RecordBatch>>,
}

/// The distinct resources of a trace. Spans share few, so that each is written in its canonical form once.
#[derive(Default)]
struct Resources {
    /// With the canonical text by which they are sorted.
    known: Vec<(String, Resource)>,
    /// Their numbers, by service, instance and version.
    by_place: HashMap<Place, Vec<usize>>,
}

type Place = (Option<String>, Option<String>, Option<String>);

impl Resources {
    /// The number of a resource, as they came.
    fn number(&mut self, resource: Resource) -> Result<usize> {
        let place = (resource.service.clone(), resource.instance.clone(), resource.version.clone());
        let numbers = self.by_place.entry(place).or_default();
        if let Some(number) = numbers.iter().find(|number| self.known[**number].1 == resource) {
            return Ok(*number);
        }
        let key = (
            &resource.service,
            &resource.instance,
            &resource.version,
            &resource.environment,
            &resource.namespace,
            &resource.attributes,
        );
        let key = String::from_utf8_lossy(&tracerag_schemas::bundle::canonical(&key)?).into_owned();
        let number = self.known.len();
        self.known.push((key, resource));
        numbers.push(number);
        Ok(number)
    }

    /// Those of some spans, in order. The spans have numbers, and get places.
    fn of(self, spans: &mut [Span]) -> Vec<Resource> {
        let known = |span: &Span| self.known.get(span.resource).map(|(key, resource)| (key.as_str(), resource));
        let used: BTreeMap<&str, &Resource> = spans.iter().filter_map(known).collect();
        let places: HashMap<&str, usize> = used.keys().enumerate().map(|(place, key)| (*key, place)).collect();
        let listed = used.values().map(|resource| (*resource).clone()).collect();
        for span in spans {
            let key = self.known.get(span.resource).map(|(key, _)| key.as_str());
            span.resource = key.and_then(|key| places.get(key)).copied().unwrap_or_default();
        }
        listed
    }
}

/// Spans of a trace, as many as a bundle holds: of more the skeleton is read first, so that a trace of a
/// million spans takes the memory of some thousand.
pub(super) async fn read(snapshot: &Snapshot, trace: &TraceRow) -> Result<SpanRows> {
    let mut ranges = days(trace);
    ranges.push(Range::new("start_time", trace.start, trace.end));
    let by = of_trace(trace).within(ranges);
    let found = match snapshot.read_up_to(Table::Spans, &COLUMNS, by, MAX_SPANS).await? {
        UpTo::All(batches) => return Ok(SpanRows { batches, all: None }),
        UpTo::More(found) => found,
    };
    let all = snapshot.take(Table::Spans, &skeleton::COLUMNS, &found).await?;
    let mut positions: Vec<Vec<usize>> = vec![vec![]; found.len()];
    for (bone, _) in Skeleton::of(&all)?.chosen(trace.document.root_span_id.as_deref()) {
        let (batch, row) = bone.at;
        positions[batch].push(row);
    }
    let chosen: Vec<Found> = found.iter().zip(positions).map(|(found, positions)| found.only(positions)).collect();
    Ok(SpanRows { batches: snapshot.take(Table::Spans, &COLUMNS, &chosen).await?, all: Some(all) })
}

pub(super) fn assemble(
    rows: &SpanRows,
    trace: &TraceRow,
    builds: &[Build],
    anchors: &mut Anchors,
    omitted: &mut OmittedBy,
) -> Result<Assembled> {
    let skeleton = Skeleton::of(rows.all.as_deref().unwrap_or(&rows.batches))?;
    let chosen = skeleton.chosen(trace.document.root_span_id.as_deref());
    omit(
        omitted,
        "spans",
        skeleton.len().saturating_sub(chosen.len()),
        "the bundle holds 10000 spans: failing ones, what leads to them and the critical path first",
    );
    let (mut drafts, mut resources) = (HashMap::new(), Resources::default());
    for batch in &rows.batches {
        draft(batch, builds, &mut resources, &mut drafts)?;
    }
    let mut spans = Vec::with_capacity(chosen.len());
    for (bone, on_critical_path) in chosen {
        let Some(mut span) = drafts.get_mut(&bone.key).and_then(Vec::pop) else { continue };
        span.on_critical_path = on_critical_path;
        span.anchor = anchors.next(Target::Span(span.span_id.clone())).to_string();
        spans.push(span);
    }
    let resources = resources.of(&mut spans);
    let (graph, footprint) = (skeleton.graph(), skeleton.footprint());
    Ok(Assembled { spans, resources, graph, footprint })
}

/// The spans of a batch, without their places; their resources stand as numbers.
fn draft(
    batch: &RecordBatch,
    builds: &[Build],
    resources: &mut Resources,
    drafts: &mut HashMap<SpanKey, Vec<Span>>,
) -> Result<()> {
    let columns = Columns::of("spans", batch);
    let text = |name| columns.text(name);
    let (ids, parents, names, kinds) = (text("span_id")?, text("parent_span_id")?, text("name")?, text("kind")?);
    let (services, namespaces) = (text("service_name")?, text("service_namespace")?);
    let (versions, instances) = (text("service_version")?, text("service_instance_id")?);
    let environments = text("deployment_environment_name")?;
    let (starts, keys) = (columns.time("start_time")?, Keys::of(columns)?);
    let durations = columns.int("duration_ns")?;
    let (statuses, messages, commits) = (text("status_code")?, text("status_message")?, text("build_git_sha")?);
    let attributes = columns.attributes("attributes")?;
    let resource_attributes = columns.attributes("resource_attributes")?;
    for row in 0..batch.num_rows() {
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
        let mut span = Span {
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
        span.resource = resources.number(resource)?;
        drafts.entry(keys.of_row(row)).or_default().push(span);
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
