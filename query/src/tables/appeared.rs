//! `appeared_with`: what changed shortly before an incident was first seen, where it could have mattered: on its service
//! and on the services that this one called in the incident's first example.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StructArray, TimestampNanosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, col, lit};
use tracerag_schemas::Table;
use tracerag_schemas::tables::timestamp;
use tracerag_schemas::time::SECOND;

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
        let times = || chunk.iter().filter_map(|incident| incident.first_seen);
        let (Some(from), Some(to)) = (times().min(), times().max()) else {
            appeared.extend(chunk.iter().map(|_| vec![]));
            continue;
        };
        let (changes, calls) =
            tokio::try_join!(changes(snapshot, from.saturating_sub(WITHIN), to), calls(snapshot, chunk))?;
        appeared.extend(chunk.iter().map(|incident| of_incident(incident, &changes, &calls)));
    }
    list(&appeared)
}

/// The changes that an incident may have come with, the nearest first.
fn of_incident(incident: &Incident, changes: &[Change], calls: &HashMap<String, Calls>) -> Vec<(Change, i64)> {
    let Some(first_seen) = incident.first_seen else { return vec![] };
    let calls = incident.example.as_ref().and_then(|example| calls.get(example));
    let mut reached: HashSet<&str> = HashSet::new();
    if let Some(service) = &incident.service {
        reached.insert(service);
        if let Some(calls) = calls {
            reached.extend(calls.below(service));
        }
    }
    let mut found: Vec<(Change, i64)> = changes
        .iter()
        .filter(|change| change.service.as_deref().is_none_or(|service| reached.contains(service)))
        .map(|change| (change, first_seen.saturating_sub(change.at)))
        .filter(|(_, before)| (0..=WITHIN).contains(before))
        .map(|(change, before)| (change.clone(), before))
        .collect();
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

/// Everything that changed in an interval.
async fn changes(snapshot: &Snapshot, from: i64, to: i64) -> Result<Vec<Change>> {
    let within = col("valid_from").gt_eq(time_literal(from)).and(col("valid_from").lt_eq(time_literal(to)));
    // That a flag was looked at changes nothing, and flags are looked at far more often than they change.
    let is_change = col("source").is_null().or(col("source").not_eq(lit("evaluation")));
    let read = |columns: &'static [&'static str], filter: Expr| Read { columns, filter: Some(filter), ranges: vec![] };
    let (builds, flags) = tokio::try_join!(
        snapshot.read(Table::Builds, read(&BUILDS, within.clone())),
        snapshot.read(Table::Flags, read(&FLAGS, within.and(is_change))),
    )?;
    let mut changes = Vec::new();
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
    Ok(without_repeats(changes))
}

/// Leaves out deployments of a version that the same service has been given within the interval already: a new instance
/// is no change.
fn without_repeats(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by_key(|change| change.at);
    let mut builds: BTreeMap<(Option<String>, Option<String>), Option<String>> = BTreeMap::new();
    changes.retain(|change| {
        let place = (change.service.clone(), change.environment.clone());
        change.kind != "build" || builds.insert(place, change.value.clone()).as_ref() != Some(&change.value)
    });
    changes
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
            change("build", Some("db"), "2", now - 20),
            change("build", Some("web"), "2", now - 1),
            change("build", Some("cart"), "1", now - WITHIN - 1),
            change("build", Some("cart"), "3", now + 1),
            change("flag", None, "on", now - 5),
        ];
        let found = of_incident(&incident, &changes, &HashMap::from([("t".to_owned(), calls)]));
        let found: Vec<(&str, Option<&str>, i64)> =
            found.iter().map(|(change, before)| (change.kind.as_str(), change.key.as_deref(), *before)).collect();
        assert_eq!(found, [("flag", None, 5), ("build", Some("db"), 20)]);
    }

    /// Three instances get a version, then the one before comes back. Guarantees that only the changes are left.
    #[test]
    fn a_further_instance_is_no_change() {
        let versions = ["1", "1", "2", "1"];
        let changes: Vec<Change> =
            versions.iter().zip(1..).map(|(version, at)| change("build", Some("cart"), version, at)).collect();
        let left: Vec<i64> = without_repeats(changes).iter().map(|change| change.at).collect();
        assert_eq!(left, [1, 3, 4]);
    }
}
