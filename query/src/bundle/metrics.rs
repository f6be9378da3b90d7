//! The metric slice: series of the trace's instances from a minute before to a minute after it.

use std::collections::{BTreeMap, HashSet};

use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use serde_json::{Map, Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Exemplar, Metric, canonical, json_double, json_integer};
use tracerag_schemas::time::{SECOND, rfc3339};

use super::footprint::Footprint;
use super::trace::TraceRow;
use super::{OmittedBy, days, in_time, omit};
use crate::error::Result;
use crate::rows::{Columns, instant, items, number, owned, text};
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// How far the slice reaches on both sides of the trace, in ns.
const AROUND: i64 = 60 * SECOND;
/// Points in one series.
const MAX_POINTS: usize = 60;
/// Series in one bundle.
const MAX_SERIES: usize = 40;

/// Parts of the names of metrics that tell how a service is doing.
const TELLING: [&str; 18] = [
    "memory",
    "mem",
    "rss",
    "heap",
    "cpu",
    "gc",
    "garbage",
    "pool",
    "queue",
    "request",
    "requests",
    "connection",
    "connections",
    "thread",
    "threads",
    "http",
    "rpc",
    "load",
];

const COLUMNS: [&str; 15] = [
    "time",
    "name",
    "unit",
    "kind",
    "value",
    "value_int",
    "count",
    "sum",
    "min",
    "max",
    "service_name",
    "service_instance_id",
    "attributes",
    "attributes_types",
    "exemplars",
];

/// What a series is known by; the last is the canonical text of its attributes.
type Key = (Option<String>, Option<String>, Option<String>, String, Option<String>, Option<String>);

#[derive(Default)]
struct Series {
    attributes: Map<String, Value>,
    points: BTreeMap<i64, Value>,
    exemplars: Vec<Exemplar>,
}

pub(super) async fn read(snapshot: &Snapshot, trace: &TraceRow) -> Result<Vec<RecordBatch>> {
    if trace.services().is_empty() {
        return Ok(vec![]);
    }
    let (from, to) = (trace.start.saturating_sub(AROUND), trace.end.saturating_add(AROUND));
    let mut ranges = days(trace);
    ranges.push(Range::new("time", from, to));
    let services: Vec<_> = trace.services().iter().map(|service| lit(service.as_str())).collect();
    let filter = col("time")
        .gt_eq(time_literal(from))
        .and(col("time").lt_eq(time_literal(to)))
        .and(col("service_name").in_list(services, false))
        .and(in_time(trace));
    snapshot.read(Table::Metrics, Read { columns: &COLUMNS, filter: Some(filter), ranges }).await
}

pub(super) fn assemble(
    batches: &[RecordBatch],
    trace: &TraceRow,
    footprint: &Footprint,
    omitted: &mut OmittedBy,
) -> Result<Vec<Metric>> {
    let exact = services_by_instance(batches, footprint)?;
    let mut series: BTreeMap<Key, Series> = BTreeMap::new();
    let named = names_with_exemplars(batches, &trace.id)?;
    for batch in batches {
        collect(batch, &trace.id, footprint, (&exact, &named), &mut series)?;
    }
    let mut chosen: Vec<(Key, Series)> = series.into_iter().collect();
    let cut = chosen.len().saturating_sub(MAX_SERIES);
    if cut > 0 {
        // Series that name the trace themselves stay first; the order by name is kept among equals.
        chosen.sort_by_key(|(_, series)| series.exemplars.is_empty());
        chosen.truncate(MAX_SERIES);
        chosen.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    omit(omitted, "metrics", cut, "the bundle holds 40 series, those with an exemplar of the trace first");
    let mut points_cut = 0;
    let metrics = (0..)
        .zip(chosen)
        .map(|(number, (key, series))| {
            let (name, service, instance, _, unit, kind) = key;
            let (points, cut) = nearest(series.points, trace);
            points_cut += cut;
            let mut exemplars = series.exemplars;
            exemplars.sort_by(|a, b| {
                (&a.time, &a.span_id, a.value.to_string()).cmp(&(&b.time, &b.span_id, b.value.to_string()))
            });
            exemplars.dedup();
            Metric {
                anchor: Anchor::first(Target::Metric(number)).to_string(),
                name,
                unit,
                kind,
                service,
                instance,
                attributes: series.attributes,
                points,
                exemplars,
            }
        })
        .collect();
    omit(omitted, "metrics.points", points_cut, "a series holds 60 points, the nearest in time");
    Ok(metrics)
}

/// Services of which points name an instance that the trace ran on: of these, only such points count.
fn services_by_instance(batches: &[RecordBatch], footprint: &Footprint) -> Result<HashSet<String>> {
    let mut exact = HashSet::new();
    for batch in batches {
        let columns = Columns::of("metrics", batch);
        let (services, instances) = (columns.text("service_name")?, columns.text("service_instance_id")?);
        for row in 0..batch.num_rows() {
            let (Some(service), Some(instance)) = (text(services, row), text(instances, row)) else { continue };
            if footprint.on_instance(service, instance) && !exact.contains(service) {
                exact.insert(service.to_owned());
            }
        }
    }
    Ok(exact)
}

/// Metrics of which some point names the trace itself.
fn names_with_exemplars(batches: &[RecordBatch], trace_id: &str) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for batch in batches {
        let columns = Columns::of("metrics", batch);
        let names = columns.text("name")?;
        for row in 0..batch.num_rows() {
            if let Some(name) = text(names, row)
                && !exemplars(columns, row, trace_id)?.is_empty()
            {
                found.insert(name.to_owned());
            }
        }
    }
    Ok(found)
}

fn collect(
    batch: &RecordBatch,
    trace_id: &str,
    footprint: &Footprint,
    (exact, named): (&HashSet<String>, &HashSet<String>),
    series: &mut BTreeMap<Key, Series>,
) -> Result<()> {
    let columns = Columns::of("metrics", batch);
    let get = |name| columns.text(name);
    let (names, units, kinds) = (get("name")?, get("unit")?, get("kind")?);
    let (services, instances) = (get("service_name")?, get("service_instance_id")?);
    let times = columns.time("time")?;
    let attributes = columns.attributes("attributes")?;
    for row in 0..batch.num_rows() {
        let (Some(service), Some(time)) = (text(services, row), number(times, row)) else { continue };
        let here = match text(instances, row) {
            Some(instance) if exact.contains(service) => footprint.on_instance(service, instance),
            _ => !exact.contains(service),
        };
        let wanted = text(names, row).is_some_and(|name| is_telling(name) || named.contains(name));
        if !here || !wanted {
            continue;
        }
        let exemplars = exemplars(columns, row, trace_id)?;
        let attributes = attributes.json(row);
        let order = String::from_utf8_lossy(&canonical(&attributes)?).into_owned();
        let key = (
            owned(names, row),
            Some(service.to_owned()),
            owned(instances, row),
            order,
            owned(units, row),
            owned(kinds, row),
        );
        let series = series.entry(key).or_insert_with(|| Series { attributes, ..Series::default() });
        series.exemplars.extend(exemplars);
        let value = value(columns, row)?;
        series
            .points
            .entry(time)
            // Of two points at one time the choice must not depend on the order of reading.
            .and_modify(|known| {
                let (new, old) = (value.to_string(), known.to_string());
                if new < old {
                    *known = value.clone();
                }
            })
            .or_insert(value);
    }
    Ok(())
}

/// Whether a part of the name tells; parts end at punctuation or, in camel case, before a capital.
fn is_telling(name: &str) -> bool {
    let mut spaced = String::with_capacity(name.len() + 8);
    let mut after_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_small {
            spaced.push('.');
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        spaced.push(letter.to_ascii_lowercase());
    }
    spaced.split(['.', '_', '-', '/', ':']).any(|part| TELLING.contains(&part))
}

fn value(columns: Columns<'_>, row: usize) -> Result<Value> {
    let one = match (number(columns.int("value_int")?, row), number(columns.double("value")?, row)) {
        (Some(value), _) => Some(json_integer(value)),
        (None, Some(value)) => Some(json_double(value)),
        (None, None) => None,
    };
    let double = |name| Ok::<_, crate::QueryError>(number(columns.double(name)?, row).map(json_double));
    Ok(match one {
        Some(value) => value,
        None => json!({
            "count": number(columns.int("count")?, row).map(json_integer),
            "sum": double("sum")?,
            "min": double("min")?,
            "max": double("max")?,
        }),
    })
}

fn exemplars(columns: Columns<'_>, row: usize, trace_id: &str) -> Result<Vec<Exemplar>> {
    let list = columns.list("exemplars")?;
    let range = items(list, row);
    if range.is_empty() {
        return Ok(vec![]);
    }
    let fields = columns.items(list, "exemplars")?;
    let (traces, spans, times) = (fields.text("trace_id")?, fields.text("span_id")?, fields.time("time")?);
    let (values, integers) = (fields.double("value")?, fields.int("value_int")?);
    Ok(range
        .filter(|item| text(traces, *item) == Some(trace_id))
        .map(|item| Exemplar {
            time: instant(times, item),
            value: match (number(integers, item), number(values, item)) {
                (Some(value), _) => json_integer(value),
                (None, Some(value)) => json_double(value),
                (None, None) => Value::Null,
            },
            span_id: owned(spans, item),
        })
        .collect())
}

/// The points nearest to the trace, by time, and how many were left out.
fn nearest(points: BTreeMap<i64, Value>, trace: &TraceRow) -> (Vec<(String, Value)>, usize) {
    let distance = |time: i64| if time < trace.start { trace.start - time } else { (time - trace.end).max(0) };
    let mut points: Vec<(i64, Value)> = points.into_iter().collect();
    let cut = points.len().saturating_sub(MAX_POINTS);
    if cut > 0 {
        points.sort_by_key(|(time, _)| (distance(*time), *time));
        points.truncate(MAX_POINTS);
        points.sort_by_key(|(time, _)| *time);
    }
    (points.into_iter().map(|(time, value)| (rfc3339(time), value)).collect(), cut)
}
