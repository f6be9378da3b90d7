//! Spans: from the bytes of a message to rows, without an object a span.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use tracerag_schemas::Table;
use tracerag_schemas::ids::valid;
use tracerag_schemas::values::{SPAN_KINDS, STATUS_CODES};

use super::attributes::{AttributeColumns, Renames, Walker};
use super::batch::{Columns, EnumColumn};
use super::column::{IdColumn, NumberColumn, TextColumn};
use super::derive::Side;
use super::envelope::{Dictionaries, Reading, Record, Rows, Shared, Stop};
use super::keys::{Promoted, RPC_METHOD, SPAN_TEXTS};
use super::origin::{Origin, Origins};
use super::span_lists::{Events, Links};
use super::wire::{Reader, Slice, WireError};

type Times = NumberColumn<TimestampNanosecondType>;
type Ints = NumberColumn<Int64Type>;

/// The columns of [`SPAN_TEXTS`] in the same order.
const TEXT_COLUMNS: [&str; SPAN_TEXTS.len()] = [
    "error_type",
    "http_request_method",
    "http_route",
    "url_path",
    "rpc_system_name",
    "rpc_method",
    "rpc_status_code",
    "db_system_name",
    "db_namespace",
    "db_collection_name",
    "db_operation_name",
    "db_query_summary",
    "messaging_system",
    "messaging_destination_name",
    "server_address",
];

/// The kind of the span of a server.
const SERVER: i32 = 2;

/// Rows of `spans`.
pub(super) struct SpanRows {
    rows: usize,
    origins: Origins,
    trace_id: IdColumn<16>,
    span_id: IdColumn<8>,
    parent_span_id: IdColumn<8>,
    name: TextColumn,
    kind: EnumColumn,
    start_time: Times,
    end_time: Times,
    duration_ns: Ints,
    status_code: EnumColumn,
    status_message: TextColumn,
    texts: [TextColumn; SPAN_TEXTS.len()],
    codes: [NumberColumn<Int32Type>; 2],
    trace_state: TextColumn,
    flags: Ints,
    attributes: AttributeColumns,
    events: Events,
    links: Links,
    dropped: [Ints; 3],
    resource: Vec<i32>,
    scope: Vec<i32>,
    event_slices: Vec<Slice>,
    link_slices: Vec<Slice>,
}

impl Default for SpanRows {
    fn default() -> Self {
        Self {
            rows: 0,
            origins: Origins::default(),
            trace_id: IdColumn::default(),
            span_id: IdColumn::default(),
            parent_span_id: IdColumn::default(),
            name: TextColumn::default(),
            kind: EnumColumn::new(&SPAN_KINDS),
            start_time: Times::default(),
            end_time: Times::default(),
            duration_ns: Ints::default(),
            status_code: EnumColumn::new(&STATUS_CODES),
            status_message: TextColumn::default(),
            texts: Default::default(),
            codes: Default::default(),
            trace_state: TextColumn::default(),
            flags: Ints::default(),
            attributes: AttributeColumns::default(),
            events: Events::default(),
            links: Links::default(),
            dropped: Default::default(),
            resource: Vec::new(),
            scope: Vec::new(),
            event_slices: Vec::new(),
            link_slices: Vec::new(),
        }
    }
}

/// The fields of a span that are no lists.
#[derive(Default)]
struct Scalars {
    trace_id: Slice,
    span_id: Slice,
    parent_span_id: Slice,
    trace_state: Slice,
    name: Slice,
    status_message: Slice,
    kind: i32,
    status_code: i32,
    flags: u32,
    start: u64,
    end: u64,
    dropped: [u32; 3],
}

impl Rows for SpanRows {
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
        let span = self.read(&mut shared.walker, data, slice)?;
        let Some(trace_id) = valid::<16>(span.trace_id.of(data)) else {
            shared.walker.counts.invalid_trace_id += 1;
            return Ok(());
        };
        let Some(span_id) = valid::<8>(span.span_id.of(data)) else {
            shared.walker.counts.invalid_span_id += 1;
            return Ok(());
        };
        let row = self.rows;
        let tenant = record.place.tenant;
        let side = if span.kind == SERVER { Side::Server } else { Side::Other };
        self.trace_id.set(row, &trace_id);
        self.span_id.set(row, &span_id);
        shared.walker.write(data, tenant, Renames::On(side), &mut self.attributes)?;
        self.promote(&shared.walker, row);
        if !shared.walker.payloads.is_empty() {
            shared.payloads.take(&mut shared.walker, Some(&trace_id), Some(&span_id), record.origin);
        }
        for index in 0..self.event_slices.len() {
            self.events.push(&mut shared.walker, data, tenant, self.event_slices[index])?;
            if !shared.walker.payloads.is_empty() {
                shared.payloads.take(&mut shared.walker, Some(&trace_id), Some(&span_id), record.origin);
            }
        }
        self.events.lists.end_row(self.events.rows);
        for index in 0..self.link_slices.len() {
            self.links.push(&mut shared.walker, data, tenant, self.link_slices[index])?;
        }
        self.links.lists.end_row(self.links.rows);
        self.write_scalars(&mut shared.walker, data, &span);
        self.resource.push(record.resource.key);
        self.scope.push(record.scope.key);
        self.rows += 1;
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.origins.truncate(rows);
        self.trace_id.truncate(rows);
        self.span_id.truncate(rows);
        self.parent_span_id.truncate(rows);
        for column in
            [&mut self.name, &mut self.status_message, &mut self.trace_state].into_iter().chain(&mut self.texts)
        {
            column.truncate(rows);
        }
        self.kind.truncate(rows);
        self.status_code.truncate(rows);
        self.start_time.truncate(rows);
        self.end_time.truncate(rows);
        self.duration_ns.truncate(rows);
        self.flags.truncate(rows);
        self.codes.iter_mut().for_each(|column| column.truncate(rows));
        self.dropped.iter_mut().for_each(|column| column.truncate(rows));
        self.attributes.truncate(rows);
        self.events.truncate(rows);
        self.links.truncate(rows);
        self.resource.truncate(rows);
        self.scope.truncate(rows);
        self.event_slices.clear();
        self.link_slices.clear();
    }

    fn bytes(&self) -> usize {
        let texts = [&self.name, &self.status_message, &self.trace_state];
        texts.into_iter().chain(&self.texts).map(TextColumn::bytes).sum::<usize>()
            + self.trace_id.bytes()
            + self.span_id.bytes()
            + self.parent_span_id.bytes()
            + self.kind.bytes()
            + self.status_code.bytes()
            + self.rows * (6 * 8 + 2 * 4)
            + self.attributes.bytes()
            + self.events.bytes()
            + self.links.bytes()
            + self.origins.bytes(self.rows)
    }
}

impl SpanRows {
    fn read(&mut self, walker: &mut Walker, data: &[u8], slice: Slice) -> Result<Scalars, WireError> {
        let mut span = Scalars::default();
        walker.begin();
        self.event_slices.clear();
        self.link_slices.clear();
        let mut reader = Reader::within(data, slice);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => span.trace_id = field.bytes()?,
                2 => span.span_id = field.bytes()?,
                3 => span.trace_state = field.bytes()?,
                4 => span.parent_span_id = field.bytes()?,
                5 => span.name = field.bytes()?,
                6 => span.kind = field.int32()?,
                7 => span.start = field.fixed64()?,
                8 => span.end = field.fixed64()?,
                9 => walker.add(data, field.bytes()?)?,
                10 => span.dropped[0] = field.uint32()?,
                11 => self.event_slices.push(field.bytes()?),
                12 => span.dropped[1] = field.uint32()?,
                13 => self.link_slices.push(field.bytes()?),
                14 => span.dropped[2] = field.uint32()?,
                15 => read_status(data, field.bytes()?, &mut span)?,
                16 => span.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn write_scalars(&mut self, walker: &mut Walker, data: &[u8], span: &Scalars) {
        let row = self.rows;
        match valid::<8>(span.parent_span_id.of(data)) {
            Some(parent) => self.parent_span_id.set(row, &parent),
            None => walker.counts.invalid_parent_id += u64::from(!span.parent_span_id.of(data).is_empty()),
        }
        walker.write_text(span.name.of(data), row, &mut self.name);
        walker.write_text(span.status_message.of(data), row, &mut self.status_message);
        walker.write_state(span.trace_state.of(data), row, &mut self.trace_state);
        self.kind.push(span.kind);
        self.status_code.push(span.status_code);
        // 0 is "unknown" for a time.
        let (start, end) = (walker.signed(span.start), walker.signed(span.end));
        if start != 0 {
            self.start_time.set(row, start);
        }
        if end != 0 {
            self.end_time.set(row, end);
        }
        if start != 0 && end != 0 {
            self.duration_ns.set(row, end - start);
        }
        self.flags.set(row, i64::from(span.flags));
        for (column, count) in self.dropped.iter_mut().zip(span.dropped) {
            column.set(row, i64::from(count));
        }
    }

    /// Columns that attributes fill.
    fn promote(&mut self, walker: &Walker, row: usize) {
        let mut service = None;
        for found in &walker.found {
            match (found.promoted, self.attributes.known_text(found.entry)) {
                // Proto3 does not tell an empty text from none.
                (Promoted::SpanText(index), Some(text)) if !text.is_empty() => {
                    self.texts[usize::from(index)].set_known(row, text);
                }
                (Promoted::SpanCode(index), Some(text)) => {
                    let number = found.int.or_else(|| std::str::from_utf8(text).ok()?.parse().ok());
                    if let Some(code) = number.and_then(|number| i32::try_from(number).ok()) {
                        self.codes[usize::from(index)].set(row, code);
                    }
                }
                (Promoted::RpcService, Some(text)) if !text.is_empty() => service = Some(text),
                _ => {}
            }
        }
        if let Some(service) = service {
            let method = &mut self.texts[RPC_METHOD];
            // The old convention has the service apart; the current one has `service/method`.
            if method.len() == row + 1 && !method.last().contains(&b'/') {
                let service = String::from_utf8_lossy(service);
                let qualified = format!("{service}/{}", method.get(row).unwrap_or_default());
                method.replace_last(&qualified);
            }
        }
    }

    /// The rows in flight, if there are any; the builder is empty again.
    pub(super) fn finish(&mut self, dictionaries: &Dictionaries) -> Result<Option<RecordBatch>, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(None);
        }
        let schema = Table::Spans.in_flight_schema();
        let mut columns = Columns::default();
        self.origins.finish(rows, &dictionaries.tenants, &dictionaries.topics, &mut columns)?;
        columns.put("trace_id", self.trace_id.finish(rows)?);
        columns.put("span_id", self.span_id.finish(rows)?);
        columns.put("parent_span_id", self.parent_span_id.finish(rows)?);
        columns.put("name", self.name.finish(rows)?);
        columns.put("status_message", self.status_message.finish(rows)?);
        columns.put("trace_state", self.trace_state.finish(rows)?);
        for (name, column) in [("kind", &mut self.kind), ("status_code", &mut self.status_code)] {
            let (keys, values) = column.finish();
            columns.put_dictionary(name, &keys, values)?;
        }
        columns.put_time("start_time", &mut self.start_time, rows);
        columns.put_time("end_time", &mut self.end_time, rows);
        columns.put("duration_ns", Arc::new(self.duration_ns.finish(rows)));
        columns.put("flags", Arc::new(self.flags.finish(rows)));
        for (name, column) in TEXT_COLUMNS.into_iter().zip(&mut self.texts) {
            columns.put(name, column.finish(rows)?);
        }
        for (name, column) in ["http_response_status_code", "server_port"].into_iter().zip(&mut self.codes) {
            columns.put(name, Arc::new(column.finish(rows)));
        }
        let counts = ["dropped_attributes_count", "dropped_events_count", "dropped_links_count"];
        for (name, column) in counts.into_iter().zip(&mut self.dropped) {
            columns.put(name, Arc::new(column.finish(rows)));
        }
        let [attributes, types] = self.attributes.finish(rows)?;
        columns.put("attributes", attributes);
        columns.put("attributes_types", types);
        columns.put("events", self.events.finish(rows, &schema)?);
        columns.put("links", self.links.finish(rows, &schema)?);
        let (resource, scope) = (std::mem::take(&mut self.resource), std::mem::take(&mut self.scope));
        columns.put_group("resource_dropped_attributes_count", resource, &dictionaries.resources)?;
        columns.put_group("scope_dropped_attributes_count", scope, &dictionaries.scopes)?;
        columns.finish(&schema, rows).map(Some)
    }
}

fn read_status(data: &[u8], status: Slice, span: &mut Scalars) -> Result<(), WireError> {
    let mut reader = Reader::within(data, status);
    while let Some(field) = reader.next()? {
        match field.number {
            2 => span.status_message = field.bytes()?,
            3 => span.status_code = field.int32()?,
            _ => {}
        }
    }
    Ok(())
}
