//! Events and links: the lists that a span carries.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{Int64Type, Schema, TimestampNanosecondType};
use arrow::error::ArrowError;
use tracerag_schemas::ids::push_hex;

use super::attributes::{AttributeColumns, Renames, Walker};
use super::batch::{fields_of, item_of, times};
use super::column::{Lists, NumberColumn, TextColumn};
use super::derive::Side;
use super::logs::reference;
use super::wire::{Reader, Slice, WireError};

type Times = NumberColumn<TimestampNanosecondType>;
type Ints = NumberColumn<Int64Type>;

/// Events of spans, in the order of their spans.
#[derive(Default)]
pub(super) struct Events {
    pub(super) rows: usize,
    pub(super) lists: Lists,
    time: Times,
    name: TextColumn,
    attributes: AttributeColumns,
    dropped: Ints,
}

impl Events {
    pub(super) fn push(
        &mut self,
        walker: &mut Walker,
        data: &[u8],
        tenant: &str,
        event: Slice,
    ) -> Result<(), WireError> {
        let row = self.rows;
        let (mut time, mut name, mut dropped) = (0, Slice::default(), 0);
        walker.begin();
        let mut reader = Reader::within(data, event);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => time = field.fixed64()?,
                2 => name = field.bytes()?,
                3 => walker.add(data, field.bytes()?)?,
                4 => dropped = field.uint32()?,
                _ => {}
            }
        }
        walker.write(data, tenant, Renames::On(Side::Other), &mut self.attributes)?;
        walker.write_text(name.of(data), row, &mut self.name);
        if time != 0 {
            self.time.set(row, walker.signed(time));
        }
        self.dropped.set(row, i64::from(dropped));
        self.rows += 1;
        Ok(())
    }

    pub(super) fn truncate(&mut self, spans: usize) {
        self.rows = self.lists.truncate(spans);
        self.time.truncate(self.rows);
        self.name.truncate(self.rows);
        self.attributes.truncate(self.rows);
        self.dropped.truncate(self.rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.lists.bytes() + self.time.bytes() + self.name.bytes() + self.attributes.bytes() + self.dropped.bytes()
    }

    pub(super) fn finish(&mut self, spans: usize, schema: &Schema) -> Result<ArrayRef, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let item = item_of(schema, "events")?;
        let [attributes, types] = self.attributes.finish(rows)?;
        let columns: Vec<ArrayRef> = vec![
            times(&mut self.time, rows),
            self.name.finish(rows)?,
            attributes,
            types,
            Arc::new(self.dropped.finish(rows)),
        ];
        let events = StructArray::try_new(fields_of(&item)?, columns, None)?;
        self.lists.finish(spans, item, Arc::new(events))
    }
}

/// Links of spans, in the order of their spans.
#[derive(Default)]
pub(super) struct Links {
    pub(super) rows: usize,
    pub(super) lists: Lists,
    trace_id: TextColumn,
    span_id: TextColumn,
    trace_state: TextColumn,
    flags: Ints,
    attributes: AttributeColumns,
    dropped: Ints,
    hex: String,
}

impl Links {
    pub(super) fn push(
        &mut self,
        walker: &mut Walker,
        data: &[u8],
        tenant: &str,
        link: Slice,
    ) -> Result<(), WireError> {
        let row = self.rows;
        let (mut trace_id, mut span_id, mut trace_state) = (Slice::default(), Slice::default(), Slice::default());
        let (mut flags, mut dropped) = (0, 0);
        walker.begin();
        let mut reader = Reader::within(data, link);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => trace_id = field.bytes()?,
                2 => span_id = field.bytes()?,
                3 => trace_state = field.bytes()?,
                4 => walker.add(data, field.bytes()?)?,
                5 => dropped = field.uint32()?,
                6 => flags = field.fixed32()?,
                _ => {}
            }
        }
        walker.write(data, tenant, Renames::On(Side::Other), &mut self.attributes)?;
        walker.payloads.clear();
        walker.write_state(trace_state.of(data), row, &mut self.trace_state);
        write_hex::<16>(walker, trace_id.of(data), row, &mut self.trace_id, &mut self.hex);
        write_hex::<8>(walker, span_id.of(data), row, &mut self.span_id, &mut self.hex);
        self.flags.set(row, i64::from(flags));
        self.dropped.set(row, i64::from(dropped));
        self.rows += 1;
        Ok(())
    }

    pub(super) fn truncate(&mut self, spans: usize) {
        self.rows = self.lists.truncate(spans);
        for column in [&mut self.trace_id, &mut self.span_id, &mut self.trace_state] {
            column.truncate(self.rows);
        }
        self.flags.truncate(self.rows);
        self.attributes.truncate(self.rows);
        self.dropped.truncate(self.rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.lists.bytes()
            + self.trace_id.bytes()
            + self.span_id.bytes()
            + self.trace_state.bytes()
            + self.attributes.bytes()
            + self.rows * 16
    }

    pub(super) fn finish(&mut self, spans: usize, schema: &Schema) -> Result<ArrayRef, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let item = item_of(schema, "links")?;
        let [attributes, types] = self.attributes.finish(rows)?;
        let columns: Vec<ArrayRef> = vec![
            self.trace_id.finish(rows)?,
            self.span_id.finish(rows)?,
            self.trace_state.finish(rows)?,
            Arc::new(self.flags.finish(rows)),
            attributes,
            types,
            Arc::new(self.dropped.finish(rows)),
        ];
        let links = StructArray::try_new(fields_of(&item)?, columns, None)?;
        self.lists.finish(spans, item, Arc::new(links))
    }
}

/// An id as hex; one that is not valid is counted and left out.
pub(super) fn write_hex<const N: usize>(
    walker: &mut Walker,
    id: &[u8],
    row: usize,
    out: &mut TextColumn,
    scratch: &mut String,
) {
    if let Some(id) = reference::<N>(walker, id) {
        scratch.clear();
        push_hex(&id, scratch);
        out.set(row, scratch);
    }
}
