//! The entries of a bundle by their anchors.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{
    Build, Bundle, Failure, Flag, Heap, Linked, Log, Metric, Payload, Resource, Similar, Span,
};

use super::beyond::Beyond;
use super::deadline::Deadline;
use super::names::is_common;
use super::visible::normal;

/// How a text speaks of an incident that is not the one of the bundle.
pub(super) const OTHER_INCIDENTS: &[&str] = &[
    "similar incident",
    "similar incidents",
    "related incident",
    "related incidents",
    "other incident",
    "other incidents",
    "another incident",
    "earlier incident",
    "earlier incidents",
    "previous incident",
    "past incident",
    "past incidents",
    "known incident",
    "known incidents",
    "older incident",
];

/// One entry of a bundle.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    Span(&'a Span, Option<&'a Resource>),
    Log(&'a Log),
    Failure(&'a Failure),
    Metric(&'a Metric),
    Payload(&'a Payload),
    /// What stands at a pointer of a payload.
    Field(&'a Payload, &'a Value),
    Heap(&'a Heap),
    Build(&'a Build),
    /// A flag or a configuration key.
    Flag(&'a Flag),
    Link(&'a Linked),
    /// A line in a frame or a heap site.
    Code(&'a str),
    Incident(&'a Similar),
}

/// The entries that an anchor stands for: one, or all that a short form matches.
pub(super) type Entries<'a> = Vec<Entry<'a>>;

/// A value of an entry.
pub(super) struct Named {
    /// Member of an object that it stands under.
    pub key: Option<String>,
    pub value: String,
}

/// Looks up what is in a bundle.
pub(super) struct Facts<'a> {
    pub bundle: &'a Bundle,
    /// What the lake knows beyond the bundle; none where no lake was asked.
    pub beyond: Option<&'a Beyond>,
    /// When to give up.
    pub deadline: Deadline,
    entries: HashMap<&'a str, Entry<'a>>,
    spans: HashMap<&'a str, &'a Span>,
    /// Where each line of code stands.
    lines: HashMap<&'a str, Vec<Entry<'a>>>,
}

impl<'a> Facts<'a> {
    /// `with_context` says whether what stands outside the hash is vouched for, too.
    pub(super) fn new(bundle: &'a Bundle, with_context: bool) -> Self {
        let evidence = &bundle.evidence;
        let mut entries: HashMap<&'a str, Entry<'a>> = HashMap::new();
        let mut spans = HashMap::new();
        let mut lines: HashMap<&'a str, Vec<Entry<'a>>> = HashMap::new();
        for span in &evidence.spans {
            entries.insert(&span.anchor, Entry::Span(span, evidence.resources.get(span.resource)));
            spans.entry(span.span_id.as_str()).or_insert(span);
        }
        entries.extend(evidence.logs.iter().map(|log| (log.anchor.as_str(), Entry::Log(log))));
        for failure in &evidence.failures {
            entries.insert(&failure.anchor, Entry::Failure(failure));
            for line in failure.frames.iter().filter_map(|frame| frame.anchor.as_deref()) {
                entries.insert(line, Entry::Code(line));
                lines.entry(line).or_default().push(Entry::Failure(failure));
            }
        }
        entries.extend(evidence.metrics.iter().map(|metric| (metric.anchor.as_str(), Entry::Metric(metric))));
        entries.extend(evidence.payloads.iter().map(|payload| (payload.anchor.as_str(), Entry::Payload(payload))));
        for heap in &evidence.heaps {
            entries.insert(&heap.anchor, Entry::Heap(heap));
            for line in heap.top_sites.iter().filter_map(|site| site.anchor.as_deref()) {
                entries.insert(line, Entry::Code(line));
                lines.entry(line).or_default().push(Entry::Heap(heap));
            }
        }
        entries.extend(evidence.builds.iter().map(|build| (build.anchor.as_str(), Entry::Build(build))));
        entries.extend(evidence.flags.iter().map(|flag| (flag.anchor.as_str(), Entry::Flag(flag))));
        entries.extend(evidence.linked.iter().map(|link| (link.anchor.as_str(), Entry::Link(link))));
        if with_context {
            let similar = &bundle.context.similar;
            entries.extend(similar.iter().map(|incident| (incident.anchor.as_str(), Entry::Incident(incident))));
        }
        Self { bundle, beyond: None, deadline: Deadline::default(), entries, spans, lines }
    }

    /// The same with what the lake knows beyond the bundle.
    pub(super) fn with(self, beyond: Option<&'a Beyond>) -> Self {
        Self { beyond, ..self }
    }

    /// The same until a deadline.
    pub(super) fn until(self, deadline: &Deadline) -> Self {
        Self { deadline: deadline.clone(), ..self }
    }

    /// The same for who may not see heap summaries: there are none, nor lines that stand in them alone.
    pub(super) fn without_heaps(mut self) -> Self {
        let frames = self.bundle.evidence.failures.iter().flat_map(|failure| &failure.frames);
        let framed: HashSet<&str> = frames.filter_map(|frame| frame.anchor.as_deref()).collect();
        self.entries.retain(|_, entry| match entry {
            Entry::Heap(_) => false,
            Entry::Code(line) => framed.contains(line),
            _ => true,
        });
        self
    }

    /// What an anchor stands for. The error says why that is nothing.
    pub(super) fn resolve(&self, anchor: &Anchor) -> Result<Entries<'a>, String> {
        let found: Entries<'a> = match &anchor.target {
            Target::Build { service, version: None } => self.builds_of(service).map(Entry::Build).collect(),
            Target::Flag { key, service: None } => self.flags_of("flag", key).map(Entry::Flag).collect(),
            Target::Payload { span_id, direction, pointer: Some(pointer) } => {
                let target = Target::Payload { span_id: span_id.clone(), direction: direction.clone(), pointer: None };
                let whole = Anchor { target, nth: anchor.nth };
                let Some(Entry::Payload(payload)) = self.entries.get(whole.to_string().as_str()).copied() else {
                    return Err(format!("the bundle has no {whole}"));
                };
                let Some(value) = field(payload, pointer) else {
                    return Err(format!("{whole} has nothing at {pointer}"));
                };
                vec![Entry::Field(payload, value)]
            }
            _ => self.entries.get(anchor.to_string().as_str()).copied().into_iter().collect(),
        };
        if !found.is_empty() {
            return Ok(found);
        }
        Err(match anchor.target {
            Target::Incident(_) => {
                format!("the bundle has no {anchor}, or what stands under context is not vouched for")
            }
            _ => format!("the bundle has no {anchor}"),
        })
    }

    /// The resource of a span.
    pub(super) fn resource_of(&self, span_id: &str) -> Option<&'a Resource> {
        self.bundle.evidence.resources.get(self.spans.get(span_id)?.resource)
    }

    /// Names of what happened in a span: its own, its service, its id.
    fn span_names(&self, span_id: Option<&str>) -> Vec<Option<&'a str>> {
        let Some(span) = span_id.and_then(|id| self.spans.get(id)) else { return vec![] };
        vec![span.name.as_deref(), span.service.as_deref(), Some(span.span_id.as_str())]
    }

    /// Failures with a fingerprint.
    pub(super) fn failures_of(&self, fingerprint: &str) -> impl Iterator<Item = &'a Failure> {
        let failures = self.bundle.evidence.failures.iter();
        failures.filter(move |failure| failure.fingerprint.as_deref() == Some(fingerprint))
    }

    /// Names by which a text speaks of a similar incident: those of its failures here, else that it is another one.
    fn names_of_incident(&self, incident: &Similar) -> Vec<String> {
        let mut names: Vec<String> =
            self.failures_of(&incident.fingerprint).flat_map(|failure| Entry::Failure(failure).about(self)).collect();
        if names.is_empty() {
            names.extend(OTHER_INCIDENTS.iter().map(|other| (*other).to_owned()));
        }
        names.push(incident.fingerprint.to_ascii_lowercase());
        names
    }

    /// Builds of a service.
    pub(super) fn builds_of(&self, service: &str) -> impl Iterator<Item = &'a Build> {
        self.bundle.evidence.builds.iter().filter(move |build| build.service.as_deref() == Some(service))
    }

    /// Entries of a flag, or with `config` as the kind, of a configuration key.
    pub(super) fn flags_of(&self, kind: &str, key: &str) -> impl Iterator<Item = &'a Flag> {
        let is_kind = move |flag: &&Flag| flag.kind.as_deref().unwrap_or("flag") == kind;
        self.bundle.evidence.flags.iter().filter(is_kind).filter(move |flag| flag.key.as_deref() == Some(key))
    }

    /// Whether `above` is an ancestor of `below`, by parents and by links within the trace.
    pub(super) fn is_above(&self, above: &str, below: &str) -> bool {
        let trace_id = self.bundle.evidence.trace.trace_id.as_str();
        let mut seen = HashSet::from([below]);
        let mut open = vec![below];
        while let Some(id) = open.pop() {
            if self.deadline.is_over() {
                return false;
            }
            let Some(span) = self.spans.get(id) else { continue };
            let links = span.links.iter().filter(|link| link.trace_id.as_deref() == Some(trace_id));
            let next =
                span.parent_span_id.as_deref().into_iter().chain(links.filter_map(|link| link.span_id.as_deref()));
            for id in next {
                if id == above {
                    return true;
                }
                if seen.insert(id) {
                    open.push(id);
                }
            }
        }
        false
    }
}

/// What stands at a pointer of a payload: the sample's value, else the shape's.
pub(super) fn field<'a>(payload: &'a Payload, pointer: &str) -> Option<&'a Value> {
    payload.sample.pointer(pointer).or_else(|| payload.shape.pointer(pointer))
}

/// Whether redaction has taken out what stands at a pointer, or something above or below it.
pub(super) fn is_taken_out(payload: &Payload, pointer: &str) -> bool {
    let covers = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    payload.redactions.iter().any(|taken| {
        let taken = format!("/{taken}");
        covers(&taken, pointer) || covers(pointer, &taken)
    })
}

impl<'a> Entry<'a> {
    /// The anchor that names this entry alone. A field of a payload has that of the payload.
    pub(super) fn anchor(&self) -> &'a str {
        match self {
            Self::Span(span, _) => &span.anchor,
            Self::Log(log) => &log.anchor,
            Self::Failure(failure) => &failure.anchor,
            Self::Metric(metric) => &metric.anchor,
            Self::Payload(payload) | Self::Field(payload, _) => &payload.anchor,
            Self::Heap(heap) => &heap.anchor,
            Self::Build(build) => &build.anchor,
            Self::Flag(flag) => &flag.anchor,
            Self::Link(link) => &link.anchor,
            Self::Code(anchor) => anchor,
            Self::Incident(incident) => &incident.anchor,
        }
    }

    /// The word before the colon of its anchor.
    pub(super) fn kind(&self) -> &'a str {
        self.anchor().split(':').next().unwrap_or_default()
    }

    /// Names by which a text speaks of the entry, in lower case: of spans, services, instances, metrics, flags.
    pub(super) fn about(&self, facts: &Facts<'a>) -> Vec<String> {
        let names: Vec<Option<&str>> = match self {
            Self::Span(span, resource) => {
                let instance = resource.and_then(|resource| resource.instance.as_deref());
                vec![span.name.as_deref(), span.service.as_deref(), Some(span.span_id.as_str()), instance]
            }
            Self::Log(log) => with(facts.span_names(log.span_id.as_deref()), &[&log.service, &log.instance]),
            Self::Failure(failure) => with(facts.span_names(failure.span_id.as_deref()), &[&failure.service]),
            Self::Metric(metric) => with(vec![], &[&metric.name, &metric.service, &metric.instance]),
            Self::Payload(payload) | Self::Field(payload, _) => facts.span_names(payload.span_id.as_deref()),
            Self::Heap(heap) => with(facts.span_names(heap.span_id.as_deref()), &[&heap.service, &heap.instance]),
            Self::Build(build) => with(vec![], &[&build.service, &build.instance]),
            Self::Flag(flag) => with(vec![], &[&flag.key, &flag.service]),
            Self::Link(link) => facts.span_names(link.from_span_id.as_deref()),
            // A line is of what has it in a frame or a site.
            Self::Code(line) => {
                let holders = facts.lines.get(line).into_iter().flatten();
                let mut about: Vec<String> = holders.flat_map(|holder| holder.about(facts)).collect();
                about.sort_unstable();
                about.dedup();
                return about;
            }
            Self::Incident(incident) => return facts.names_of_incident(incident),
        };
        let names = names.into_iter().flatten().map(|name| normal(name).to_ascii_lowercase());
        names.filter(|name| name.len() > 1).collect()
    }

    /// Whether the entry holds for whatever a text speaks of, such as a flag of no one service.
    pub(super) fn is_general(&self) -> bool {
        matches!(self, Self::Flag(flag) if flag.service.is_none())
    }

    /// Whether the entry is of something that did not happen here: an incident of which the bundle has no failure.
    pub(super) fn is_foreign(&self, facts: &Facts<'_>) -> bool {
        matches!(self, Self::Incident(incident) if facts.failures_of(&incident.fingerprint).next().is_none())
    }

    /// Every scalar value that may be quoted, as text.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        each_scalar(&self.document(), &mut |_, value| texts.push(value));
        texts
    }

    /// What the entry names: its values with the keys that they stand under, and for a span those of its resource. What a
    /// heap's types and sites and a payload's fields have is theirs alone: see [`Self::parts`].
    pub(super) fn named(&self) -> Vec<Named> {
        let mut named = Vec::new();
        // A span's index of its resource says nothing of the incident.
        let mut take = |key: Option<&str>, value: String| {
            if key != Some("resource") {
                named.push(Named { key: key.map(str::to_owned), value });
            }
        };
        let mut whole = self.document();
        if let Value::Object(members) = &mut whole {
            let parts: &[&str] = match self {
                Self::Heap(_) => &["top_types", "top_sites"],
                Self::Payload(_) => &["sample"],
                _ => &[],
            };
            members.retain(|name, _| !parts.contains(&name.as_str()));
        }
        each_scalar(&whole, &mut take);
        match self {
            Self::Span(_, Some(resource)) => each_scalar(&document(resource), &mut take),
            // The payload that a field belongs to says which span, direction and content type it is.
            Self::Field(payload, _) => {
                take(None, payload.anchor.clone());
                take(None, payload.content_type.clone().unwrap_or_default());
            }
            _ => {}
        }
        named
    }

    /// The values of the entry's parts, the types and sites of a heap and the fields of a payload, each with the part's name.
    pub(super) fn parts(&self) -> Vec<(Option<String>, Vec<Named>)> {
        match self {
            Self::Heap(heap) => {
                let types = heap.top_types.iter().map(|held| (held.r#type.clone(), document(held)));
                let sites = heap.top_sites.iter().map(|site| (site.function.clone(), document(site)));
                types.chain(sites).map(|(name, part)| (name.as_deref().and_then(part_name), values(&part))).collect()
            }
            Self::Payload(payload) => {
                let fields = values(&payload.sample).into_iter();
                fields.map(|field| (field.key.as_deref().and_then(part_name), vec![field])).collect()
            }
            _ => vec![],
        }
    }

    /// The name of the field that an anchor points to.
    pub(super) fn field(&self) -> Option<String> {
        let Self::Field(payload, value) = self else { return None };
        [&payload.sample, &payload.shape].into_iter().find_map(|root| key_of(root, value, None)).and_then(part_name)
    }

    /// The unit of a metric.
    pub(super) fn unit(&self) -> Option<&'a str> {
        let Self::Metric(metric) = self else { return None };
        metric.unit.as_deref()
    }

    /// Whether the entry is one of something that failed.
    pub(super) fn is_failing(&self) -> bool {
        match self {
            Self::Span(span, _) => span.status.as_deref() == Some("ERROR"),
            Self::Log(log) => matches!(log.severity.as_deref(), Some("ERROR" | "FATAL")),
            Self::Failure(_) | Self::Incident(_) => true,
            _ => false,
        }
    }

    fn document(&self) -> Value {
        match self {
            Self::Span(span, _) => document(span),
            Self::Log(log) => document(log),
            Self::Failure(failure) => document(failure),
            Self::Metric(metric) => document(metric),
            Self::Payload(payload) => document(payload),
            Self::Field(_, value) => (*value).clone(),
            Self::Heap(heap) => document(heap),
            Self::Build(build) => document(build),
            Self::Flag(flag) => document(flag),
            Self::Link(link) => document(link),
            Self::Code(anchor) => Value::from(*anchor),
            Self::Incident(incident) => document(incident),
        }
    }
}

/// The name of a part by which a text may speak of it, in lower case; none for a word that says too little.
pub(super) fn part_name(name: &str) -> Option<String> {
    let name = normal(name).to_ascii_lowercase();
    (name.len() > 1 && !is_common(&name)).then_some(name)
}

/// The name of the part that the last name in a JSON pointer is.
pub(super) fn part_at(pointer: &str) -> Option<String> {
    let is_index = |name: &&str| name.bytes().all(|byte| byte.is_ascii_digit());
    let name = pointer.rsplit('/').find(|name| !is_index(name))?;
    part_name(&name.replace("~1", "/").replace("~0", "~"))
}

/// The key under which a value stands, by where it lies in memory.
fn key_of<'a>(root: &'a Value, wanted: &Value, key: Option<&'a str>) -> Option<&'a str> {
    if std::ptr::eq(root, wanted) {
        return key;
    }
    match root {
        Value::Array(items) => items.iter().find_map(|item| key_of(item, wanted, key)),
        Value::Object(members) => members.iter().find_map(|(key, member)| key_of(member, wanted, Some(key))),
        _ => None,
    }
}

/// Every scalar with the key that it stands under.
fn values(value: &Value) -> Vec<Named> {
    let mut values = Vec::new();
    each_scalar(value, &mut |key, value| values.push(Named { key: key.map(str::to_owned), value }));
    values
}

fn with<'a>(mut names: Vec<Option<&'a str>>, more: &[&'a Option<String>]) -> Vec<Option<&'a str>> {
    names.extend(more.iter().map(|name| name.as_deref()));
    names
}

/// A type of the bundle as JSON; they all can be written.
fn document(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// Calls `each` with every scalar and the key that it stands under.
fn each_scalar(value: &Value, each: &mut impl FnMut(Option<&str>, String)) {
    walk(value, None, each);
}

fn walk(value: &Value, key: Option<&str>, each: &mut impl FnMut(Option<&str>, String)) {
    match value {
        Value::Null => {}
        Value::String(text) => each(key, text.clone()),
        Value::Bool(_) | Value::Number(_) => each(key, value.to_string()),
        Value::Array(items) => items.iter().for_each(|item| walk(item, key, each)),
        Value::Object(members) => members.iter().for_each(|(key, member)| walk(member, Some(key), each)),
    }
}
