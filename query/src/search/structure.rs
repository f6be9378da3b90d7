//! Questions about a structure and not about words: a path of spans, or the shape of a payload.
//!
//! Both are compared exactly with what is stored of failures, so no model is needed: two paths are alike by the heaviest
//! part that they have in common, two shapes by the share of fields that both have. What is near by its vector only
//! (`further`) comes behind.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array, AsArray};
use datafusion::logical_expr::col;
use datafusion::logical_expr::utils::conjunction;
use serde_json::Value;
use tracerag_index::failures::projections::fields;
use tracerag_schemas::Table;

use super::argument;
use super::filter::Filter;
use super::hybrid::Found;
use super::stack::heaviest_common;
use crate::error::Result;
use crate::lookup::ById;
use crate::rows::{Columns, text};
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// Less alike than that is not alike.
pub(super) const LEAST: f64 = 0.2;
/// Steps of a path that are compared, the last ones.
const MOST_STEPS: usize = 32;
/// Incidents whose example traces are looked at for payloads, the most recent ones.
const MOST_EXAMPLES: usize = 10_000;
/// Traces whose payloads are read at a time.
const TRACES_AT_A_TIME: usize = 500;

/// The best of many, in bounded memory: incidents by fingerprint, each with its best likeness and what that was with.
struct Best {
    most: usize,
    found: HashMap<String, (f64, String)>,
}

impl Best {
    fn new(most: usize) -> Self {
        Self { most, found: HashMap::new() }
    }

    fn add(&mut self, fingerprint: &str, likeness: f64, with: &str) {
        if likeness < LEAST {
            return;
        }
        match self.found.get_mut(fingerprint) {
            Some((known, was_with)) => {
                // Of equally alike ones the least is shown, so that an answer does not depend on the order of reading.
                if likeness > *known || (likeness == *known && with < was_with.as_str()) {
                    *known = likeness;
                    with.clone_into(was_with);
                }
            }
            None => {
                self.found.insert(fingerprint.to_owned(), (likeness, with.to_owned()));
            }
        }
        if self.found.len() > 4 * self.most + 1_000 {
            self.found = self.sorted().into_iter().map(|(name, likeness, with)| (name, (likeness, with))).collect();
        }
    }

    /// The most alike, best first.
    fn sorted(&mut self) -> Vec<(String, f64, String)> {
        let found = std::mem::take(&mut self.found).into_iter();
        let mut sorted: Vec<_> = found.map(|(name, (likeness, with))| (name, likeness, with)).collect();
        sorted.sort_by(|(a, one, _), (b, other, _)| other.total_cmp(one).then_with(|| a.cmp(b)));
        sorted.truncate(self.most);
        sorted
    }

    fn finish(mut self, what: &str) -> Vec<Found> {
        let found = self.sorted().into_iter();
        found
            .map(|(fingerprint, likeness, with)| Found {
                score: likeness.min(1.0),
                distance: Some((1.0 - likeness).max(0.0)),
                by_structure: Some(match likeness > 1.0 - 1e-9 {
                    true => format!("same {what}: {with}"),
                    false => format!("{what} is {:.0} % alike: {with}", likeness * 100.0),
                }),
                ..Found::of(fingerprint)
            })
            .collect()
    }
}

/// One step of a path of spans.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    service: String,
    name: String,
}

/// `checkout: POST /checkout > payments: Charge`, as failures have it, or `checkout > payments/Charge`, as people write:
/// a step is a service, a name, or both. A service holds for the steps behind it.
fn steps(path: &str) -> Vec<Step> {
    let mut service = String::new();
    let mut steps: Vec<Step> = path
        .split('>')
        .map(str::trim)
        .filter(|step| !step.is_empty() && *step != "...")
        .map(|step| {
            let step = step.to_lowercase();
            let of_service = step.split_once(": ").or_else(|| {
                // `payments/Charge`, but neither `GET /cart` nor `/cart`.
                step.split_once('/').filter(|(service, _)| !service.is_empty() && !service.contains(' '))
            });
            match of_service {
                Some((of, name)) => {
                    service = of.trim().to_owned();
                    Step { service: service.clone(), name: name.trim().to_owned() }
                }
                None => Step { service: service.clone(), name: step },
            }
        })
        .collect();
    steps.drain(..steps.len().saturating_sub(MOST_STEPS));
    steps
}

/// How alike two steps are: a step of one word may be the service's name or the operation's.
fn alike(asked: &Step, stored: &Step) -> Option<f64> {
    if asked.name == stored.name {
        return Some(if asked.service.is_empty() || asked.service == stored.service { 1.0 } else { 0.5 });
    }
    let is_named = asked.name == stored.service
        || (asked.service.is_empty() || asked.service == stored.service)
            && stored.name.split([' ', '/', '.']).any(|part| part == asked.name);
    is_named.then_some(0.75)
}

/// The share of the asked path that a stored one has, in its order. The last step is where it failed, and counts as
/// much as all steps before it.
fn likeness_of_paths(asked: &[Step], stored: &[Step]) -> f64 {
    let (Some(last), Some(stored_last)) = (asked.last(), stored.last()) else { return 0.0 };
    let (common, _) = heaviest_common(asked, stored, alike);
    let share = common / asked.len() as f64;
    (share + alike(last, stored_last).unwrap_or(0.0)) / 2.0
}

/// Incidents whose failures lie on a path like this one, of those from `since` to `until`, in ns.
pub(super) async fn by_path(
    snapshot: &Snapshot,
    filter: &Filter,
    path: &str,
    (since, until): (Option<i64>, Option<i64>),
    most: usize,
) -> Result<Vec<Found>> {
    let asked = steps(path);
    if asked.is_empty() {
        return Err(argument("the span path is empty; write it as: checkout > payments/Charge"));
    }
    let mut best = Best::new(most);
    let columns = ["fingerprint", "span_path", "service_name", "exception_type"];
    let bounds = [
        since.map(|since| col("time").gt_eq(time_literal(since))),
        until.map(|until| col("time").lt_eq(time_literal(until))),
    ];
    let ranges = vec![Range::new("time", since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX))];
    let read = Read { columns: &columns, filter: conjunction(bounds.into_iter().flatten()), ranges };
    snapshot
        .each(Table::Failures, read, |batch| {
            let columns = Columns::of("failures", batch);
            let (fingerprints, paths) = (columns.text("fingerprint")?, columns.text("span_path")?);
            let (services, types) = (columns.text("service_name")?, columns.text("exception_type")?);
            let mut known: HashMap<&str, f64> = HashMap::new();
            for row in 0..batch.num_rows() {
                let (Some(fingerprint), Some(path)) = (text(fingerprints, row), text(paths, row)) else { continue };
                if filter.takes_row(fingerprint, text(services, row), text(types, row)) {
                    let likeness = *known.entry(path).or_insert_with(|| likeness_of_paths(&asked, &steps(path)));
                    best.add(fingerprint, likeness, path);
                }
            }
            Ok(())
        })
        .await?;
    Ok(best.finish("span path"))
}

fn likeness_of_shapes(one: &BTreeSet<String>, other: &BTreeSet<String>) -> f64 {
    let both = one.intersection(other).count();
    let either = one.len() + other.len() - both;
    if either == 0 { 0.0 } else { both as f64 / either as f64 }
}

/// Incidents with an example trace that has a payload of this shape. `payload` is a payload or a shape, as JSON.
pub(super) async fn by_payload(snapshot: &Snapshot, filter: &Filter, payload: &str, most: usize) -> Result<Vec<Found>> {
    let asked: Value = serde_json::from_str(payload)
        .map_err(|_| argument("the payload is no JSON; give a payload, or its shape as in payloads.shape"))?;
    let asked = fields(&asked);
    let examples = examples(snapshot, filter).await?;
    let mut traces: Vec<&str> = examples.keys().map(String::as_str).collect();
    traces.sort_unstable();
    let mut best = Best::new(most);
    for some in traces.chunks(TRACES_AT_A_TIME) {
        let by = ById::any("trace_id", some.to_vec());
        for batch in snapshot.read_id(Table::Payloads, &["trace_id", "shape"], by).await? {
            let columns = Columns::of("payloads", &batch);
            let (ids, shapes) = (columns.text("trace_id")?, columns.text("shape")?);
            let mut known: HashMap<&str, f64> = HashMap::new();
            for row in 0..batch.num_rows() {
                let (Some(id), Some(shape)) = (text(ids, row), text(shapes, row)) else { continue };
                let likeness = *known.entry(shape).or_insert_with(|| {
                    serde_json::from_str(shape).map_or(0.0, |shape| likeness_of_shapes(&asked, &fields(&shape)))
                });
                for fingerprint in examples.get(id).into_iter().flatten() {
                    best.add(fingerprint, likeness, shape);
                }
            }
        }
    }
    Ok(best.finish("payload shape"))
}

/// Example traces of the incidents that may be in the answer, with the incidents of each.
async fn examples(snapshot: &Snapshot, filter: &Filter) -> Result<HashMap<String, Vec<String>>> {
    let columns = ["fingerprint", "service_name", "exception_type", "last_seen", "example_trace_ids"];
    let read = Read { columns: &columns, filter: None, ranges: vec![] };
    // The newest example of each.
    let mut newest: HashMap<String, (Option<i64>, String)> = HashMap::new();
    snapshot
        .each(Table::IncidentCounts, read, |batch| {
            let columns = Columns::of("incident_counts", batch);
            let fingerprints = columns.text("fingerprint")?;
            let (services, types) = (columns.text("service_name")?, columns.text("exception_type")?);
            let (seen, named) = (columns.time("last_seen")?, columns.list("example_trace_ids")?);
            for row in 0..batch.num_rows() {
                let Some(fingerprint) = text(fingerprints, row) else { continue };
                if !filter.takes_row(fingerprint, text(services, row), text(types, row)) || named.is_null(row) {
                    continue;
                }
                let examples = named.value(row);
                let Some(examples) = examples.as_string_opt::<i32>() else { continue };
                let at = seen.is_valid(row).then(|| seen.value(row));
                for example in examples.iter().flatten() {
                    let found = (at, example.to_owned());
                    match newest.get_mut(fingerprint) {
                        Some(known) if *known < found => *known = found,
                        Some(_) => {}
                        None => {
                            newest.insert(fingerprint.to_owned(), found);
                        }
                    }
                }
            }
            Ok(())
        })
        .await?;
    let mut newest: Vec<(String, (Option<i64>, String))> = newest.into_iter().collect();
    newest.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
    newest.truncate(MOST_EXAMPLES);
    let mut examples: HashMap<String, Vec<String>> = HashMap::new();
    for (fingerprint, (_, trace)) in newest {
        examples.entry(trace).or_default().push(fingerprint);
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(asked: &str, stored: &str) -> f64 {
        likeness_of_paths(&steps(asked), &steps(stored))
    }

    /// A path as people write it finds the one that is stored; one that ends elsewhere, or goes through other services,
    /// is less alike, and one that shares nothing is not.
    #[test]
    fn paths_are_compared_from_their_ends() {
        let stored = "checkout: POST /checkout > payments: Charge";
        assert!((path(stored, stored) - 1.0).abs() < 1e-9);
        let asked = "checkout > payments/Charge";
        assert!(path(asked, stored) > 0.8, "{}", path(asked, stored));
        assert!(path(asked, "checkout: POST /checkout > payments: Refund") < path(asked, stored));
        assert!(path(asked, "cart: GET /cart > payments: Charge") < path(asked, stored));
        assert!(path(asked, "stock: reserve") < LEAST);
        assert!(path("", stored) < LEAST);
    }

    /// A payload and its shape have the same fields; a field more, or of another type, makes a difference.
    #[test]
    fn payloads_are_compared_by_their_fields() {
        let shape = json!({"order": {"items": [{"price": "number", "name": "string"}]}, "paid": "boolean"});
        let payload =
            json!({"order": {"items": [{"price": 3, "name": "tea"}, {"price": 4, "name": "pot"}]}, "paid": true});
        assert_eq!(fields(&payload), fields(&shape));
        let likeness = |other: Value| likeness_of_shapes(&fields(&shape), &fields(&other));
        assert!((likeness(payload) - 1.0).abs() < 1e-9);
        let other = likeness(json!({"order": {"items": [{"price": "4.5", "name": "pot"}]}, "paid": true}));
        assert!((0.4..0.6).contains(&other), "{other}");
        assert!(likeness(json!({"x": 1})) < LEAST);
    }

    /// Of more incidents than there is room for the most alike are kept, whatever their order.
    #[test]
    fn the_best_are_kept() {
        let found = |backwards: bool| {
            let mut best = Best::new(3);
            for n in 0..20_000u32 {
                let n = if backwards { 19_999 - n } else { n };
                best.add(&format!("f{n:05}"), 0.3 + f64::from(n % 700) / 1_000.0, "x");
            }
            best.finish("path").into_iter().map(|found| found.fingerprint).collect::<Vec<_>>()
        };
        assert_eq!(found(false), ["f00699", "f01399", "f02099"]);
        assert_eq!(found(true), found(false));
    }
}
