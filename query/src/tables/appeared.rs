//! `appeared_with`: what changed shortly before an incident was first seen, where it could have mattered: on its service
//! and on the services that this one called in the incident's first example.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StructArray, TimestampNanosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, col, lit};
use tracerag_schemas::Table;
use tracerag_schemas::tables::timestamp;
use tracerag_schemas::time::SECOND;

use super::evaluated::{self, Begin, EVALUATION};
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text, texts, truth};
use crate::snapshot::{Read, Snapshot, time_literal};

/// The column.
pub(super) const APPEARED_WITH: &str = "appeared_with";
/// What it is made of.
pub(super) const NEEDED: [&str; 3] = ["service_name", "first_seen", "example_trace_ids"];

/// What is read of builds and of flags.
const BUILDS: [&str; 7] =
    ["service_name", "deployment_environment_name", "version", "git_sha", "valid_from", "source", "removed"];
const FLAGS: [&str; 9] = [
    "kind",
    "key",
    "variant",
    "value",
    "digest",
    "service_name",
    "deployment_environment_name",
    "valid_from",
    "source",
];

/// How long before an incident a change may lie, in ns: an hour. What is rolled out step by step shows late.
const WITHIN: i64 = 3600 * SECOND;
/// How far before an incident builds are looked at, in ns: a day. One that its service had within this time already is no
/// change, nor is a variant of a flag that it had evaluated within this time before.
const LOOKS_BACK: i64 = 24 * WITHIN;
/// Incidents whose traces are read at a time.
const AT_ONCE: usize = 256;
/// Changes that are named of one incident, those nearest to it.
const MOST: usize = 20;

fn fields() -> Fields {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Fields::from(vec![
        text("kind"),
        text("key"),
        text("value"),
        text("service_name"),
        text("deployment_environment_name"),
        text("source"),
        Field::new("changed_at", timestamp(), true),
        Field::new("before_ns", DataType::Int64, true),
    ])
}

fn item() -> Field {
    Field::new("item", DataType::Struct(fields()), true)
}

/// A list of changes: `kind` is `build`, `flag` or `config`, `key` the service or the flag, `value` the version (else
/// the commit) or the variant (else the value; null: deleted), `before_ns` the time from the change to the incident.
pub(super) fn data_type() -> DataType {
    DataType::List(Arc::new(item()))
}

/// A change of a build, a flag or a configuration key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    kind: String,
    key: Option<String>,
    value: Option<String>,
    /// `None`: it holds for every service.
    service: Option<String>,
    environment: Option<String>,
    source: Option<String>,
    at: i64,
}

impl From<Begin> for Change {
    fn from(begin: Begin) -> Self {
        Self {
            kind: String::from("flag"),
            key: begin.key,
            value: begin.value,
            service: begin.service,
            environment: begin.environment,
            source: Some(EVALUATION.to_owned()),
            at: begin.at,
        }
    }
}

impl Change {
    fn is_evaluated(&self) -> bool {
        self.source.as_deref() == Some(EVALUATION)
    }

    /// Whether it is the change that an evaluation follows from: somebody has set what is evaluated since.
    fn explains(&self, evaluated: &Self) -> bool {
        let holds = |own: &Option<String>, theirs: &Option<String>| own.is_none() || own == theirs;
        !self.is_evaluated()
            && (&self.kind, &self.key, &self.value) == (&evaluated.kind, &evaluated.key, &evaluated.value)
            && holds(&self.service, &evaluated.service)
            && holds(&self.environment, &evaluated.environment)
            && self.at <= evaluated.at
    }
}

/// An incident of which it is asked.
struct Incident {
    service: Option<String>,
    first_seen: Option<i64>,
    example: Option<String>,
}

/// The column for a batch that has the columns [`NEEDED`].
///
/// # Errors
/// When the lake cannot be read.
pub(super) async fn column(snapshot: &Snapshot, incidents: &RecordBatch) -> Result<ArrayRef> {
    let columns = Columns::of("incidents", incidents);
    let (services, seen, examples) =
        (columns.text("service_name")?, columns.time("first_seen")?, columns.list("example_trace_ids")?);
    let asked: Vec<Incident> = (0..incidents.num_rows())
        .map(|row| Incident {
            service: owned(services, row),
            first_seen: number(seen, row),
            example: texts(examples, row).into_iter().next(),
        })
        .collect();
    let mut appeared: Vec<Vec<(Change, i64)>> = Vec::with_capacity(asked.len());
    for chunk in asked.chunks(AT_ONCE) {
        let times: Vec<i64> = chunk.iter().filter_map(|incident| incident.first_seen).collect();
        let (changes, calls) = tokio::try_join!(changes(snapshot, times), calls(snapshot, chunk))?;
        appeared.extend(chunk.iter().map(|incident| of_incident(incident, &changes, &calls)));
    }
    list(&appeared)
}

/// The changes that an incident may have come with, of some in the order of time, the nearest first. Which other changes
/// there are, farther from it than [`LOOKS_BACK`], makes no difference.
fn of_incident(incident: &Incident, changes: &[Change], calls: &HashMap<String, Calls>) -> Vec<(Change, i64)> {
    let Some(first_seen) = incident.first_seen else { return vec![] };
    let begin = changes.partition_point(|change| change.at < first_seen.saturating_sub(LOOKS_BACK));
    let end = changes.partition_point(|change| change.at <= first_seen);
    let before = changes.get(begin..end).unwrap_or_default();
    let calls = incident.example.as_ref().and_then(|example| calls.get(example));
    let mut reached: HashSet<&str> = HashSet::new();
    if let Some(service) = &incident.service {
        reached.insert(service);
        if let Some(calls) = calls {
            reached.extend(calls.below(service));
        }
    }
    let mut found: Vec<(Change, i64)> = without_repeats(before)
        .into_iter()
        .filter(|change| change.service.as_deref().is_none_or(|service| reached.contains(service)))
        .map(|change| (change, first_seen.saturating_sub(change.at)))
        .filter(|(_, before)| *before <= WITHIN)
        .map(|(change, before)| (change.clone(), before))
        .collect();
    let set: Vec<Change> = found.iter().map(|(change, _)| change).filter(|one| !one.is_evaluated()).cloned().collect();
    found.retain(|(change, _)| !change.is_evaluated() || !set.iter().any(|one| one.explains(change)));
    found.sort_by(|(a, before), (b, other)| {
        before.cmp(other).then_with(|| (&a.kind, &a.key, &a.value).cmp(&(&b.kind, &b.key, &b.value)))
    });
    // Instances of a service are deployed one by one: the nearest stands for all.
    let mut known = HashSet::new();
    found.retain(|(change, _)| {
        let name = (change.kind.clone(), change.key.clone(), change.value.clone());
        known.insert((name, change.service.clone(), change.environment.clone()))
    });
    found.truncate(MOST);
    found
}

/// The calls of one trace.
#[derive(Debug, Default)]
struct Calls {
    services: HashMap<String, String>,
    children: HashMap<String, Vec<String>>,
}

impl Calls {
    /// Services of spans below those of a service.
    fn below(&self, service: &str) -> HashSet<&str> {
        let own = self.services.iter().filter(|(_, of)| of.as_str() == service);
        let mut open: Vec<&str> = own.map(|(span, _)| span.as_str()).collect();
        let (mut seen, mut below) = (HashSet::new(), HashSet::new());
        while let Some(span) = open.pop() {
            if seen.insert(span) {
                below.extend(self.services.get(span).map(String::as_str));
                open.extend(self.children.get(span).into_iter().flatten().map(String::as_str));
            }
        }
        below
    }
}

/// The calls of the incidents' first examples; of a trace that is dropped already there are none.
async fn calls(snapshot: &Snapshot, incidents: &[Incident]) -> Result<HashMap<String, Calls>> {
    let examples: HashSet<&str> = incidents.iter().filter_map(|incident| incident.example.as_deref()).collect();
    let mut calls: HashMap<String, Calls> = HashMap::new();
    if examples.is_empty() {
        return Ok(calls);
    }
    let by = ById::any("trace_id", examples.into_iter().collect());
    for batch in snapshot.read_id(Table::Spans, &["trace_id", "span_id", "parent_span_id", "service_name"], by).await? {
        let columns = Columns::of("spans", &batch);
        let (traces, spans) = (columns.text("trace_id")?, columns.text("span_id")?);
        let (parents, services) = (columns.text("parent_span_id")?, columns.text("service_name")?);
        for row in 0..batch.num_rows() {
            let (Some(trace), Some(span)) = (text(traces, row), text(spans, row)) else { continue };
            let of_trace = calls.entry(trace.to_owned()).or_default();
            if let Some(service) = owned(services, row) {
                of_trace.services.insert(span.to_owned(), service);
            }
            if let Some(parent) = owned(parents, row) {
                of_trace.children.entry(parent).or_default().push(span.to_owned());
            }
        }
    }
    Ok(calls)
}

/// Everything that changed before some times, in the order of time: builds as far back as they are looked at, flags as
/// far as they count.
async fn changes(snapshot: &Snapshot, times: Vec<i64>) -> Result<Vec<Change>> {
    let (Some(of_builds), Some(of_flags)) = (before(&times, LOOKS_BACK), before(&times, WITHIN)) else {
        return Ok(vec![]);
    };
    let Some(of_evaluations) = before(&times, WITHIN.saturating_add(LOOKS_BACK)) else { return Ok(vec![]) };
    // Flags are looked at far more often than they change: of that only what begins is one.
    let is_change = col("source").is_null().or(col("source").not_eq(lit(EVALUATION)));
    let read = |columns: &'static [&'static str], filter: Expr| Read { columns, filter: Some(filter), ranges: vec![] };
    let (builds, flags, begins) = tokio::try_join!(
        snapshot.read(Table::Builds, read(&BUILDS, of_builds)),
        snapshot.read(Table::Flags, read(&FLAGS, of_flags.and(is_change))),
        evaluated::begins(snapshot, of_evaluations, LOOKS_BACK),
    )?;
    let mut changes: Vec<Change> = begins.into_iter().map(Change::from).collect();
    for batch in &builds {
        let columns = Columns::of("builds", batch);
        let (services, environments) = (columns.text("service_name")?, columns.text("deployment_environment_name")?);
        let (versions, commits) = (columns.text("version")?, columns.text("git_sha")?);
        let (times, sources, removed) =
            (columns.time("valid_from")?, columns.text("source")?, columns.boolean("removed")?);
        for row in (0..batch.num_rows()).filter(|row| truth(removed, *row) != Some(true)) {
            let Some(at) = number(times, row) else { continue };
            changes.push(Change {
                kind: String::from("build"),
                key: owned(services, row),
                value: owned(versions, row).or_else(|| owned(commits, row)),
                service: owned(services, row),
                environment: owned(environments, row),
                source: owned(sources, row),
                at,
            });
        }
    }
    for batch in &flags {
        let columns = Columns::of("flags", batch);
        let (kinds, keys) = (columns.text("kind")?, columns.text("key")?);
        let (variants, values, digests) = (columns.text("variant")?, columns.text("value")?, columns.text("digest")?);
        let (services, environments) = (columns.text("service_name")?, columns.text("deployment_environment_name")?);
        let (times, sources) = (columns.time("valid_from")?, columns.text("source")?);
        for row in 0..batch.num_rows() {
            let Some(at) = number(times, row) else { continue };
            changes.push(Change {
                kind: owned(kinds, row).unwrap_or_else(|| String::from("flag")),
                key: owned(keys, row),
                value: owned(variants, row).or_else(|| owned(values, row)).or_else(|| owned(digests, row)),
                service: owned(services, row),
                environment: owned(environments, row),
                source: owned(sources, row),
                at,
            });
        }
    }
    changes.sort_by(|a, b| (a.at, &a.kind, &a.key, &a.value).cmp(&(b.at, &b.kind, &b.key, &b.value)));
    Ok(changes)
}

/// Rows that are valid from up to so many ns before one of some times on; `None` of no time.
fn before(times: &[i64], back: i64) -> Option<Expr> {
    let within = intervals(times, back)
        .into_iter()
        .map(|(from, to)| col("valid_from").gt_eq(time_literal(from)).and(col("valid_from").lt_eq(time_literal(to))));
    disjunction(within)
}

/// The intervals that end at some times and are so long, joined where they meet.
fn intervals(times: &[i64], length: i64) -> Vec<(i64, i64)> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for to in times {
        let from = to.saturating_sub(length);
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// Leaves out deployments of a version that the same service was given last, of changes in the order of time: a new
/// instance is no change.
fn without_repeats(changes: &[Change]) -> Vec<&Change> {
    let mut builds: BTreeMap<(&Option<String>, &Option<String>), &Option<String>> = BTreeMap::new();
    let mut left = Vec::new();
    for change in changes {
        let place = (&change.service, &change.environment);
        if change.kind != "build" || builds.insert(place, &change.value) != Some(&change.value) {
            left.push(change);
        }
    }
    left
}

fn list(appeared: &[Vec<(Change, i64)>]) -> Result<ArrayRef> {
    let all = || appeared.iter().flatten();
    let text = |get: &dyn Fn(&Change) -> Option<&str>| -> ArrayRef {
        Arc::new(all().map(|(change, _)| get(change)).collect::<StringArray>())
    };
    let times: TimestampNanosecondArray = all().map(|(change, _)| Some(change.at)).collect();
    let columns: Vec<ArrayRef> = vec![
        text(&|change| Some(change.kind.as_str())),
        text(&|change| change.key.as_deref()),
        text(&|change| change.value.as_deref()),
        text(&|change| change.service.as_deref()),
        text(&|change| change.environment.as_deref()),
        text(&|change| change.source.as_deref()),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(all().map(|(_, before)| Some(*before)).collect::<Int64Array>()),
    ];
    let changes = StructArray::try_new(fields(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(appeared.iter().map(Vec::len));
    Ok(Arc::new(ListArray::try_new(Arc::new(item()), offsets, Arc::new(changes), None)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: &str, service: Option<&str>, value: &str, at: i64) -> Change {
        let key = service.map(str::to_owned);
        Change {
            kind: kind.to_owned(),
            key: key.clone(),
            value: Some(value.to_owned()),
            service: key,
            environment: None,
            source: None,
            at,
        }
    }

    /// `web` calls `cart`, which calls `db`; `cart` fails. Guarantees that changes of `cart` and `db` count, of a flag
    /// for all services too, and that the caller's, those after the incident and those of long before do not.
    #[test]
    fn what_lies_below_and_shortly_before_counts() {
        let mut calls = Calls::default();
        for (span, parent, service) in [("1", None, "web"), ("2", Some("1"), "cart"), ("3", Some("2"), "db")] {
            calls.services.insert(span.to_owned(), service.to_owned());
            if let Some(parent) = parent {
                calls.children.entry(str::to_owned(parent)).or_default().push(span.to_owned());
            }
        }
        let now = 2 * WITHIN;
        let incident = Incident { service: Some("cart".into()), first_seen: Some(now), example: Some("t".into()) };
        let changes = [
            change("build", Some("cart"), "1", now - WITHIN - 1),
            change("build", Some("db"), "2", now - 20),
            change("flag", None, "on", now - 5),
            change("build", Some("web"), "2", now - 1),
            change("build", Some("cart"), "3", now + 1),
        ];
        let found = of_incident(&incident, &changes, &HashMap::from([("t".to_owned(), calls)]));
        let found: Vec<(&str, Option<&str>, i64)> =
            found.iter().map(|(change, before)| (change.kind.as_str(), change.key.as_deref(), *before)).collect();
        assert_eq!(found, [("flag", None, 5), ("build", Some("db"), 20)]);
    }

    /// A flag is known by evaluations only, another one was set before it was evaluated. Guarantees that the first
    /// evaluation of the former is a change, and that of the latter none beside the change itself.
    #[test]
    fn a_flag_that_is_only_evaluated_appears() {
        let now = 2 * WITHIN;
        let flag = |key: &str, source: &str, at: i64| Change {
            key: Some(key.to_owned()),
            source: Some(source.to_owned()),
            ..change("flag", Some("cart"), "on", at)
        };
        let changes = [
            flag("own", EVALUATION, now - 40),
            flag("set", "change", now - 30),
            flag("set", EVALUATION, now - 20),
            flag("earlier", EVALUATION, now - 15),
            flag("earlier", "change", now - 10),
        ];
        let incident = Incident { service: Some("cart".into()), first_seen: Some(now), example: None };
        let found = of_incident(&incident, &changes, &HashMap::new());
        let found: Vec<(Option<&str>, Option<&str>, i64)> =
            found.iter().map(|(one, before)| (one.key.as_deref(), one.source.as_deref(), *before)).collect();
        assert_eq!(
            found,
            [
                (Some("earlier"), Some("change"), 10),
                (Some("set"), Some("change"), 30),
                (Some("own"), Some(EVALUATION), 40)
            ]
        );
    }

    /// Three instances get a version, then the one before comes back. Guarantees that only the changes are left.
    #[test]
    fn a_further_instance_is_no_change() {
        let versions = ["1", "1", "2", "1"];
        let changes: Vec<Change> =
            versions.iter().zip(1..).map(|(version, at)| change("build", Some("cart"), version, at)).collect();
        let left: Vec<i64> = without_repeats(&changes).iter().map(|change| change.at).collect();
        assert_eq!(left, [1, 3, 4]);
    }

    /// A version that the service had for hours is deployed once more before an incident. Guarantees that it is no change,
    /// whether or not changes of long before are known because of another incident.
    #[test]
    fn other_incidents_make_no_difference() {
        let now = 100 * WITHIN;
        let of = |at: i64, version: &str| change("build", Some("cart"), version, at);
        let own = [of(now - 20 * WITHIN, "2"), of(now - 30, "2"), of(now - 20, "3")];
        let with_others =
            [[of(now - 80 * WITHIN, "3"), of(now - 60 * WITHIN, "1")].as_slice(), own.as_slice()].concat();
        let incident = Incident { service: Some("cart".into()), first_seen: Some(now), example: None };
        for changes in [own.as_slice(), &with_others] {
            let found = of_incident(&incident, changes, &HashMap::new());
            let found: Vec<(Option<&str>, i64)> =
                found.iter().map(|(change, before)| (change.value.as_deref(), *before)).collect();
            assert_eq!(found, [(Some("3"), 20)]);
        }
    }

    /// Intervals before times in any order. Guarantees that those that meet are one, and the others stay apart.
    #[test]
    fn intervals_are_joined() {
        assert_eq!(intervals(&[50, 10, 15, 30], 10), [(0, 15), (20, 30), (40, 50)]);
        assert_eq!(intervals(&[20, 10], 10), [(0, 20)]);
        assert!(intervals(&[], 10).is_empty());
    }
}
