//! Log records: by span, by trace, and, where a record has no ids, by service, instance and time.

use std::cmp::Reverse;

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{col, lit};
use serde_json::Value;
use tracerag_schemas::Table;
use tracerag_schemas::anchor::{Anchor, Target};
use tracerag_schemas::attributes::type_name;
use tracerag_schemas::bundle::Log;
use tracerag_schemas::time::rfc3339;
use tracerag_schemas::values::severity_name;

use super::footprint::Footprint;
use super::origin::{Origin, Origins};
use super::trace::TraceRow;
use super::{OmittedBy, days, in_time, of_trace, omit};
use crate::error::{QueryError, Result};
use crate::lookup::{Found, UpTo};
use crate::rows::{Columns, number, owned, text, typed};
use crate::snapshot::{Range, Read, Snapshot, time_literal};

/// Records with ids of the trace in one bundle.
const MAX_BY_IDS: usize = 5_000;
/// Records without ids in one bundle.
const MAX_BY_TIME: usize = 200;

const COLUMNS: [&str; 17] = [
    "time",
    "observed_time",
    "trace_id",
    "span_id",
    "severity_number",
    "severity_text",
    "body",
    "body_type",
    "record_hash",
    "event_name",
    "service_name",
    "service_instance_id",
    "attributes",
    "attributes_types",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
];

/// Columns that decide which records a bundle has room for.
const DECIDING: [&str; 7] =
    ["time", "observed_time", "severity_number", "record_hash", "kafka_topic", "kafka_partition", "kafka_offset"];

struct Draft {
    log: Log,
    severity: i32,
    order: Order,
}

/// Time, origin, time of observation, hash.
type Order = (i64, Origin, Option<i64>, Vec<u8>);

/// What log records of a batch are ordered by.
struct Orders<'a> {
    times: &'a TimestampNanosecondArray,
    observed: &'a TimestampNanosecondArray,
    origins: Origins<'a>,
    hashes: &'a FixedSizeBinaryArray,
}

impl<'a> Orders<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let columns = Columns::of("logs", batch);
        let hashes = batch
            .column_by_name("record_hash")
            .and_then(|column| column.as_fixed_size_binary_opt())
            .ok_or_else(|| QueryError::Column { dataset: "logs".to_owned(), column: "record_hash".to_owned() })?;
        Ok(Self {
            times: columns.time("time")?,
            observed: columns.time("observed_time")?,
            origins: Origins::of_columns(columns)?,
            hashes,
        })
    }

    fn of_row(&self, row: usize) -> Order {
        let observed = number(self.observed, row);
        let time = number(self.times, row).or(observed).unwrap_or_default();
        let hash = if self.hashes.is_valid(row) { self.hashes.value(row).to_vec() } else { vec![] };
        (time, self.origins.of(row), observed, hash)
    }
}

/// Log records that may be evidence.
pub(super) struct LogRows {
    batches: Vec<RecordBatch>,
    /// Records with ids of the trace for which there is no room; they were not read.
    cut: usize,
}

/// Records with ids of the trace, as many as a bundle holds: what decides is read first, so that a trace of
/// a million records takes the memory of some thousand.
async fn by_ids(snapshot: &Snapshot, trace: &TraceRow) -> Result<LogRows> {
    let found = match snapshot.read_up_to(Table::Logs, &COLUMNS, of_trace(trace), MAX_BY_IDS).await? {
        UpTo::All(batches) => return Ok(LogRows { batches, cut: 0 }),
        UpTo::More(found) => found,
    };
    let cut = found.iter().map(Found::len).sum::<usize>().saturating_sub(MAX_BY_IDS);
    let mut ranked = Vec::new();
    for (index, batch) in snapshot.take(Table::Logs, &DECIDING, &found).await?.iter().enumerate() {
        let columns = Columns::of("logs", batch);
        let (severities, orders) = (columns.code("severity_number")?, Orders::of(batch)?);
        ranked.extend((0..batch.num_rows()).map(|row| {
            let severity = number(severities, row).unwrap_or_default();
            ((Reverse(severity), orders.of_row(row)), index, row)
        }));
    }
    ranked.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut positions: Vec<Vec<usize>> = vec![vec![]; found.len()];
    for (_, index, row) in ranked.into_iter().take(MAX_BY_IDS) {
        positions[index].push(row);
    }
    let chosen: Vec<Found> = found.iter().zip(positions).map(|(found, positions)| found.only(positions)).collect();
    Ok(LogRows { batches: snapshot.take(Table::Logs, &COLUMNS, &chosen).await?, cut })
}

pub(super) async fn read(snapshot: &Snapshot, trace: &TraceRow) -> Result<LogRows> {
    let by_ids = by_ids(snapshot, trace);
    let mut ranges = days(trace);
    ranges.push(Range::new("time", trace.start, trace.end));
    let services: Vec<_> = trace.services().iter().map(|service| lit(service.as_str())).collect();
    let by_time = col("time")
        .gt_eq(time_literal(trace.start))
        .and(col("time").lt_eq(time_literal(trace.end)))
        .and(col("trace_id").is_null())
        .and(col("service_name").in_list(services, false))
        .and(in_time(trace));
    let by_time = Read { columns: &COLUMNS, filter: Some(by_time), ranges };
    if trace.services().is_empty() {
        return by_ids.await;
    }
    let (mut rows, others) = futures::try_join!(by_ids, snapshot.read(Table::Logs, by_time))?;
    rows.batches.extend(others);
    Ok(rows)
}

pub(super) fn assemble(rows: &LogRows, footprint: &Footprint, omitted: &mut OmittedBy) -> Result<Vec<Log>> {
    let mut drafts = Vec::new();
    for batch in &rows.batches {
        draft(batch, footprint, &mut drafts)?;
    }
    let (by_time, by_ids): (Vec<_>, Vec<_>) = drafts.into_iter().partition(|draft| draft.log.joined_by == "time");
    let mut kept = by_ids;
    omit(omitted, "logs", rows.cut, "the bundle holds 5000 records with ids of the trace, the most severe first");
    let (others, cut) = cut(by_time, MAX_BY_TIME);
    omit(omitted, "logs.time", cut, "the bundle holds 200 records without ids, the most severe first");
    kept.extend(others);
    kept.sort_by(|a, b| a.order.cmp(&b.order));
    Ok((0..)
        .zip(kept)
        .map(|(number, Draft { mut log, .. })| {
            log.anchor = Anchor::first(Target::Log(number)).to_string();
            log
        })
        .collect())
}

/// The most severe records, of equal severity the earliest, and how many were left out.
fn cut(mut drafts: Vec<Draft>, most: usize) -> (Vec<Draft>, usize) {
    let count = drafts.len().saturating_sub(most);
    if count > 0 {
        drafts.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.order.cmp(&b.order)));
        drafts.truncate(most);
    }
    (drafts, count)
}

fn draft(batch: &RecordBatch, footprint: &Footprint, drafts: &mut Vec<Draft>) -> Result<()> {
    let columns = Columns::of("logs", batch);
    let (times, observed) = (columns.time("time")?, columns.time("observed_time")?);
    let (traces, spans) = (columns.text("trace_id")?, columns.text("span_id")?);
    let (severities, severity_texts) = (columns.code("severity_number")?, columns.text("severity_text")?);
    let (bodies, body_types) = (columns.text("body")?, columns.text("body_type")?);
    let (services, instances) = (columns.text("service_name")?, columns.text("service_instance_id")?);
    let event_names = columns.text("event_name")?;
    let attributes = columns.attributes("attributes")?;
    let orders = Orders::of(batch)?;
    for row in 0..batch.num_rows() {
        let time = number(times, row).or(number(observed, row));
        let (service, instance) = (text(services, row), text(instances, row));
        let span_id = text(spans, row);
        let joined_by = match text(traces, row) {
            Some(_) if span_id.is_some_and(|span_id| footprint.has_span(span_id)) => "ids",
            Some(_) => "trace",
            None if footprint.covers(service, instance, time.unwrap_or_default(), 0) => "time",
            None => continue,
        };
        let severity = number(severities, row).unwrap_or_default();
        let log = Log {
            anchor: String::new(),
            time: time.map(rfc3339),
            severity: severity_name(severity).map(str::to_owned).or_else(|| owned(severity_texts, row)),
            body: body(text(bodies, row), text(body_types, row)),
            event_name: owned(event_names, row),
            service: service.map(str::to_owned),
            instance: instance.map(str::to_owned),
            span_id: span_id.map(str::to_owned),
            joined_by: joined_by.to_owned(),
            attributes: attributes.json(row),
        };
        drafts.push(Draft { log, severity, order: orders.of_row(row) });
    }
    Ok(())
}

/// A body that is an array or an object stands in its OTLP/JSON form.
fn body(text: Option<&str>, kind: Option<&str>) -> Value {
    match (text, kind) {
        (Some(text), Some(type_name::ARRAY | type_name::KVLIST)) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
        }
        _ => typed(text, kind),
    }
}
