//! The metric slice: series of the trace's instances from a minute before to a minute after it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Float64Array, Int64Array, ListArray, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::col;
use serde_json::{Map, Value, json};
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::bundle::{Exemplar, Metric, canonical, json_double, json_integer};
use tracerag_schemas::time::{SECOND, rfc3339};

use super::footprint::Footprint;
use super::trace::TraceRow;
use super::{OmittedBy, days, in_time, omit};
use crate::error::Result;
use crate::rows::{Attributes, Columns, instant, items, number, owned, text};
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

/// What a point says of its series, as it is stored: name, service, instance, unit, kind, and attributes with their types.
type Told<'a> = ([Option<&'a str>; 5], Vec<(&'a str, Option<&'a str>)>);

/// Series as points tell them. Very many points tell the same, so that what they tell is read once: attributes as JSON take
/// longer than all the rest.
#[derive(Default)]
struct Collected<'a> {
    /// Places in `series`.
    told: HashMap<Told<'a>, usize>,
    /// The same. Attributes in another order tell the same series.
    known: BTreeMap<Key, usize>,
    series: Vec<Series>,
}

impl<'a> Collected<'a> {
    /// The series of a point.
    fn of(&mut self, points: &Points<'a>, row: usize) -> Result<&mut Series> {
        let texts = [points.names, points.services, points.instances, points.units, points.kinds];
        let told: Told<'a> = (texts.map(|texts| text(texts, row)), points.attributes.stored(row));
        let place = match self.told.entry(told) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(new) => {
                let attributes = points.attributes.json(row);
                let order = String::from_utf8_lossy(&canonical(&attributes)?).into_owned();
                let [name, service, instance, unit, kind] = texts.map(|texts| owned(texts, row));
                let place =
                    *self.known.entry((name, service, instance, order, unit, kind)).or_insert(self.series.len());
                if place == self.series.len() {
                    self.series.push(Series { attributes, ..Series::default() });
                }
                *new.insert(place)
            }
        };
        Ok(&mut self.series[place])
    }

    /// All of them, in the order of their keys.
    fn into_series(self) -> Vec<(Key, Series)> {
        let mut series: Vec<Option<Series>> = self.series.into_iter().map(Some).collect();
        self.known.into_iter().filter_map(|(key, place)| Some((key, series.get_mut(place)?.take()?))).collect()
    }
}

/// What tells whether a point is the trace's.
const TELLING_WHOSE: [&str; 2] = ["service_name", "exemplars"];

/// Points of the trace's services, and those of others that name it: a gateway, or a collector that makes metrics of spans,
/// speaks of it under a name of its own. One pass over what was measured around it tells both.
pub(super) async fn read(snapshot: &Snapshot, trace: &TraceRow) -> Result<Vec<RecordBatch>> {
    let (from, to) = (trace.start.saturating_sub(AROUND), trace.end.saturating_add(AROUND));
    let mut ranges = days(trace);
    ranges.push(Range::new("time", from, to));
    let around = col("time").gt_eq(time_literal(from)).and(col("time").lt_eq(time_literal(to))).and(in_time(trace));
    let read = Read { columns: &TELLING_WHOSE, filter: Some(around), ranges };
    let chosen = snapshot.choose(Table::Metrics, read, |batch| chosen(batch, trace)).await?;
    snapshot.take(Table::Metrics, &COLUMNS, &chosen).await
}

/// Which points of a batch with [`TELLING_WHOSE`] are the trace's.
fn chosen(batch: &RecordBatch, trace: &TraceRow) -> Result<Vec<bool>> {
    let columns = Columns::of("metrics", batch);
    let (services, list) = (columns.text("service_name")?, columns.list("exemplars")?);
    let traces = columns.items(list, "exemplars")?.text("trace_id")?;
    let is_own = |row| text(services, row).is_some_and(|service| trace.services().iter().any(|own| own == service));
    let names = |row| items(list, row).any(|item| text(traces, item) == Some(trace.id.as_str()));
    Ok((0..batch.num_rows()).map(|row| is_own(row) || names(row)).collect())
}

/// The series of a trace. `failing` are the services that have a failing span of it.
pub(super) fn assemble(
    batches: &[RecordBatch],
    trace: &TraceRow,
    footprint: &Footprint,
    failing: &HashSet<&str>,
    omitted: &mut OmittedBy,
) -> Result<Vec<Metric>> {
    let points = batches.iter().map(Points::of).collect::<Result<Vec<_>>>()?;
    let chosen = Chosen::of(&points, trace, footprint);
    let mut collected = Collected::default();
    for points in &points {
        collect(points, &trace.id, &chosen, &mut collected)?;
    }
    let mut chosen = collected.into_series();
    let cut = chosen.len().saturating_sub(MAX_SERIES);
    if cut > 0 {
        // The order by key is kept among equals.
        chosen.sort_by_key(|((_, service, ..), series)| {
            let fails = service.as_deref().is_some_and(|service| failing.contains(service));
            (series.exemplars.is_empty(), !fails)
        });
        chosen.truncate(MAX_SERIES);
        chosen.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    omit(
        omitted,
        "metrics",
        cut,
        "the bundle holds 40 series, those with an exemplar of the trace first, then those of failing services",
    );
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

/// The columns of a batch of points.
struct Points<'a> {
    rows: usize,
    names: &'a StringArray,
    units: &'a StringArray,
    kinds: &'a StringArray,
    services: &'a StringArray,
    instances: &'a StringArray,
    times: &'a TimestampNanosecondArray,
    attributes: Attributes<'a>,
    values: &'a Float64Array,
    integers: &'a Int64Array,
    counts: &'a Int64Array,
    sums: &'a Float64Array,
    least: &'a Float64Array,
    greatest: &'a Float64Array,
    exemplars: &'a ListArray,
    exemplar: ExemplarColumns<'a>,
}

/// The columns of the exemplars of a batch.
struct ExemplarColumns<'a> {
    traces: &'a StringArray,
    spans: &'a StringArray,
    times: &'a TimestampNanosecondArray,
    values: &'a Float64Array,
    integers: &'a Int64Array,
}

impl<'a> Points<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let columns = Columns::of("metrics", batch);
        let exemplars = columns.list("exemplars")?;
        let fields = columns.items(exemplars, "exemplars")?;
        Ok(Self {
            rows: batch.num_rows(),
            names: columns.text("name")?,
            units: columns.text("unit")?,
            kinds: columns.text("kind")?,
            services: columns.text("service_name")?,
            instances: columns.text("service_instance_id")?,
            times: columns.time("time")?,
            attributes: columns.attributes("attributes")?,
            values: columns.double("value")?,
            integers: columns.int("value_int")?,
            counts: columns.int("count")?,
            sums: columns.double("sum")?,
            least: columns.double("min")?,
            greatest: columns.double("max")?,
            exemplars,
            exemplar: ExemplarColumns {
                traces: fields.text("trace_id")?,
                spans: fields.text("span_id")?,
                times: fields.time("time")?,
                values: fields.double("value")?,
                integers: fields.int("value_int")?,
            },
        })
    }

    /// Positions of a row's exemplars that name the trace.
    fn naming(&self, row: usize, trace_id: &str) -> impl Iterator<Item = usize> {
        items(self.exemplars, row).filter(move |item| text(self.exemplar.traces, *item) == Some(trace_id))
    }

    fn exemplar(&self, item: usize) -> Exemplar {
        let columns = &self.exemplar;
        Exemplar {
            time: instant(columns.times, item),
            value: match (number(columns.integers, item), number(columns.values, item)) {
                (Some(value), _) => json_integer(value),
                (None, Some(value)) => json_double(value),
                (None, None) => Value::Null,
            },
            span_id: owned(columns.spans, item),
        }
    }

    fn value(&self, row: usize) -> Value {
        match (number(self.integers, row), number(self.values, row)) {
            (Some(value), _) => json_integer(value),
            (None, Some(value)) => json_double(value),
            (None, None) => json!({
                "count": number(self.counts, row).map(json_integer),
                "sum": number(self.sums, row).map(json_double),
                "min": number(self.least, row).map(json_double),
                "max": number(self.greatest, row).map(json_double),
            }),
        }
    }
}

/// Which points belong to the slice.
struct Chosen<'a> {
    footprint: &'a Footprint,
    /// Services of which points name an instance that the trace ran on: of these, only such points count.
    exact: HashSet<&'a str>,
    /// Names of which some point names the trace itself: these tell, whatever they are called.
    named: HashSet<&'a str>,
    /// Name, service and instance of such points: these stay, wherever they come from.
    own: HashSet<(&'a str, Option<&'a str>, Option<&'a str>)>,
    /// Names that tell how a service is doing.
    telling: HashSet<&'a str>,
    services: &'a [String],
}

impl<'a> Chosen<'a> {
    fn of(batches: &[Points<'a>], trace: &'a TraceRow, footprint: &'a Footprint) -> Self {
        let mut chosen = Self {
            footprint,
            exact: HashSet::new(),
            named: HashSet::new(),
            own: HashSet::new(),
            telling: HashSet::new(),
            services: trace.services(),
        };
        let mut seen: HashSet<&str> = HashSet::new();
        for points in batches {
            for row in 0..points.rows {
                let (service, instance) = (text(points.services, row), text(points.instances, row));
                if let (Some(service), Some(instance)) = (service, instance)
                    && footprint.on_instance(service, instance)
                {
                    chosen.exact.insert(service);
                }
                let Some(name) = text(points.names, row) else { continue };
                if seen.insert(name) && is_telling(name) {
                    chosen.telling.insert(name);
                }
                if points.naming(row, &trace.id).next().is_some() {
                    chosen.named.insert(name);
                    chosen.own.insert((name, service, instance));
                }
            }
        }
        chosen
    }

    fn has(&self, points: &Points<'_>, row: usize) -> bool {
        let Some(name) = text(points.names, row) else { return false };
        let (service, instance) = (text(points.services, row), text(points.instances, row));
        if self.own.contains(&(name, service, instance)) {
            return true;
        }
        let Some(service) = service.filter(|service| self.services.iter().any(|known| known == service)) else {
            return false;
        };
        let is_here = match instance {
            Some(instance) if self.exact.contains(service) => self.footprint.on_instance(service, instance),
            _ => !self.exact.contains(service),
        };
        is_here && (self.telling.contains(name) || self.named.contains(name))
    }
}

fn collect<'a>(points: &Points<'a>, trace_id: &str, chosen: &Chosen<'_>, collected: &mut Collected<'a>) -> Result<()> {
    for row in (0..points.rows).filter(|row| chosen.has(points, *row)) {
        let Some(time) = number(points.times, row) else { continue };
        let series = collected.of(points, row)?;
        series.exemplars.extend(points.naming(row, trace_id).map(|item| points.exemplar(item)));
        let value = points.value(row);
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
