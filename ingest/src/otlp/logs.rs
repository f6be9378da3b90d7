//! Log records: from the bytes of a message to rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use tracerag_schemas::Table;
use tracerag_schemas::ids::valid;

use super::any_value::AnyValue;
use super::attributes::{AttributeColumns, Renames, Walker, push_part};
use super::batch::Columns;
use super::column::{IdColumn, NumberColumn, TextColumn};
use super::derive::Side;
use super::envelope::{Dictionaries, Reading, Record, Rows, Shared, Stop};
use super::keys::Promoted;
use super::origin::{Origin, Origins};
use super::wire::{Reader, Slice, WireError};

type Times = NumberColumn<TimestampNanosecondType>;
type Ints = NumberColumn<Int64Type>;

/// Rows of `logs`.
#[derive(Default)]
pub(super) struct LogRows {
    rows: usize,
    origins: Origins,
    time: Times,
    observed_time: Times,
    trace_id: IdColumn<16>,
    span_id: IdColumn<8>,
    severity_number: NumberColumn<Int32Type>,
    severity_text: TextColumn,
    body: TextColumn,
    body_type: TextColumn,
    record_hash: IdColumn<16>,
    event_name: TextColumn,
    flags: Ints,
    attributes: AttributeColumns,
    dropped: Ints,
    resource: Vec<i32>,
    scope: Vec<i32>,
    identity: Vec<u8>,
}

#[derive(Default)]
struct Scalars {
    time: u64,
    observed: u64,
    severity_number: i32,
    severity_text: Slice,
    body: Option<Slice>,
    dropped: u32,
    flags: u32,
    trace_id: Slice,
    span_id: Slice,
    event_name: Slice,
}

impl Rows for LogRows {
    fn rows(&self) -> usize {
        self.rows
    }

    fn begin(&mut self, origin: Origin) {
        self.origins.begin(self.rows, origin);
    }

    fn record(
        &mut self,
        shared: &mut Shared,
        record: &Record<'_>,
        slice: Slice,
        _reading: &mut Reading,
    ) -> Result<(), Stop> {
        let data = record.place.data;
        let walker = &mut shared.walker;
        if slice.of(data).is_empty() {
            walker.counts.empty_records += 1;
            return Ok(());
        }
        let row = self.rows;
        let tenant = record.place.tenant;
        let log = read(walker, data, slice)?;
        let hash = self.hash(walker, record, &log);
        self.record_hash.set(row, &hash.to_be_bytes());
        let body = log.body.map_or(Ok(AnyValue::Absent), |body| AnyValue::read(data, body))?;
        if let Some(kind) = walker.write_value(data, tenant, body, &mut self.body)? {
            self.body_type.set(row, kind);
        }
        walker.write(data, tenant, Renames::On(Side::Other), &mut self.attributes)?;
        let trace_id = reference::<16>(walker, log.trace_id.of(data));
        let span_id = reference::<8>(walker, log.span_id.of(data));
        self.write_event_name(walker, data, &log);
        let payload_ids = (trace_id.as_ref().map(|id| &id[..]), span_id.as_ref().map(|id| &id[..]));
        if !shared.walker.payloads.is_empty() {
            shared.payloads.take(&mut shared.walker, payload_ids.0, payload_ids.1, record.origin);
        }
        self.write_scalars(&mut shared.walker, record, &log);
        if let Some(id) = trace_id {
            self.trace_id.set(row, &id);
        }
        if let Some(id) = span_id {
            self.span_id.set(row, &id);
        }
        self.resource.push(record.resource.key);
        self.scope.push(record.scope.key);
        self.rows += 1;
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.origins.truncate(rows);
        for column in [&mut self.time, &mut self.observed_time] {
            column.truncate(rows);
        }
        for column in [&mut self.severity_text, &mut self.body, &mut self.body_type, &mut self.event_name] {
            column.truncate(rows);
        }
        self.trace_id.truncate(rows);
        self.span_id.truncate(rows);
        self.severity_number.truncate(rows);
        self.record_hash.truncate(rows);
        self.flags.truncate(rows);
        self.dropped.truncate(rows);
        self.attributes.truncate(rows);
        self.resource.truncate(rows);
        self.scope.truncate(rows);
    }

    fn bytes(&self) -> usize {
        [&self.severity_text, &self.body, &self.body_type, &self.event_name]
            .map(TextColumn::bytes)
            .iter()
            .sum::<usize>()
            + self.trace_id.bytes()
            + self.span_id.bytes()
            + self.attributes.bytes()
            + self.rows * (16 + 4 * 8 + 3 * 4)
            + self.origins.bytes(self.rows)
    }
}

fn read(walker: &mut Walker, data: &[u8], slice: Slice) -> Result<Scalars, WireError> {
    let mut log = Scalars::default();
    walker.begin();
    let mut reader = Reader::within(data, slice);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => log.time = field.fixed64()?,
            2 => log.severity_number = field.int32()?,
            3 => log.severity_text = field.bytes()?,
            5 => log.body = Some(field.bytes()?),
            6 => walker.add(data, field.bytes()?)?,
            7 => log.dropped = field.uint32()?,
            8 => log.flags = field.fixed32()?,
            9 => log.trace_id = field.bytes()?,
            10 => log.span_id = field.bytes()?,
            11 => log.observed = field.fixed64()?,
            12 => log.event_name = field.bytes()?,
            _ => {}
        }
    }
    Ok(log)
}

/// The id of what a record refers to; one that is not valid is counted and counts as absent.
pub(super) fn reference<const N: usize>(walker: &mut Walker, id: &[u8]) -> Option<[u8; N]> {
    let valid = valid::<N>(id);
    walker.counts.invalid_reference_id += u64::from(valid.is_none() && !id.is_empty());
    valid
}

impl LogRows {
    /// What tells a record from another one, as it was sent. Of the same record in two messages the bytes of
    /// its parts are the same, while its place and what was made of it may differ.
    fn hash(&mut self, walker: &Walker, record: &Record<'_>, log: &Scalars) -> u128 {
        let data = record.place.data;
        let out = &mut self.identity;
        out.clear();
        push_part(record.place.tenant.as_bytes(), out);
        out.extend_from_slice(&record.resource.identity.to_le_bytes());
        out.extend_from_slice(&record.scope.identity.to_le_bytes());
        out.extend_from_slice(&log.time.to_le_bytes());
        out.extend_from_slice(&log.observed.to_le_bytes());
        out.extend_from_slice(&log.severity_number.to_le_bytes());
        for part in [log.trace_id, log.span_id, log.severity_text, log.event_name, log.body.unwrap_or_default()] {
            push_part(part.of(data), out);
        }
        walker.push_identity(data, out);
        walker.record_hash(out)
    }

    /// Older libraries send the name of an event as an attribute.
    fn write_event_name(&mut self, walker: &mut Walker, data: &[u8], log: &Scalars) {
        let row = self.rows;
        walker.write_text(log.event_name.of(data), row, &mut self.event_name);
        let attribute = walker.found.iter().find(|found| found.promoted == Promoted::EventName);
        if let Some(name) = attribute.and_then(|found| self.attributes.text(found.entry)) {
            self.event_name.set_present(row, name);
        }
    }

    fn write_scalars(&mut self, walker: &mut Walker, record: &Record<'_>, log: &Scalars) {
        let row = self.rows;
        let data = record.place.data;
        let (time, observed) = (walker.signed(log.time), walker.signed(log.observed));
        let known = [time, observed, record.timestamp_ns].into_iter().find(|time| *time != 0);
        if let Some(known) = known {
            self.time.set(row, known);
        }
        if observed != 0 {
            self.observed_time.set(row, observed);
        }
        if log.severity_number != 0 {
            self.severity_number.set(row, log.severity_number);
        }
        walker.write_text(log.severity_text.of(data), row, &mut self.severity_text);
        self.flags.set(row, i64::from(log.flags));
        self.dropped.set(row, i64::from(log.dropped));
    }

    /// The rows in flight, if there are any; the builder is empty again.
    pub(super) fn finish(&mut self, dictionaries: &Dictionaries) -> Result<Option<RecordBatch>, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(None);
        }
        let schema = Table::Logs.in_flight_schema();
        let mut columns = Columns::default();
        self.origins.finish(rows, &dictionaries.tenants, &dictionaries.topics, &mut columns)?;
        columns.put_time("time", &mut self.time, rows);
        columns.put_time("observed_time", &mut self.observed_time, rows);
        columns.put("trace_id", self.trace_id.finish(rows)?);
        columns.put("span_id", self.span_id.finish(rows)?);
        columns.put("severity_number", Arc::new(self.severity_number.finish(rows)));
        columns.put("severity_text", self.severity_text.finish(rows)?);
        columns.put("body", self.body.finish(rows)?);
        columns.put("body_type", self.body_type.finish(rows)?);
        columns.put("record_hash", self.record_hash.finish(rows)?);
        columns.put("event_name", self.event_name.finish(rows)?);
        columns.put("flags", Arc::new(self.flags.finish(rows)));
        columns.put("dropped_attributes_count", Arc::new(self.dropped.finish(rows)));
        let [attributes, types] = self.attributes.finish(rows)?;
        columns.put("attributes", attributes);
        columns.put("attributes_types", types);
        let (resource, scope) = (std::mem::take(&mut self.resource), std::mem::take(&mut self.scope));
        columns.put_group("resource_dropped_attributes_count", resource, &dictionaries.resources)?;
        columns.put_group("scope_dropped_attributes_count", scope, &dictionaries.scopes)?;
        columns.finish(&schema, rows).map(Some)
    }
}
