//! One message of many traces to one message a trace.
//!
//! Only the frame of a message is looked at, field by field as it stands on the wire (opentelemetry-proto 1.11.0,
//! `trace.proto` and `logs.proto`): resources hold scopes, scopes hold records. Records, resources and scopes are
//! copied as they are, with every field in them that this version does not know. So nothing is lost but what OTLP/JSON
//! loses on its way to protobuf, which the decoder would leave out as well.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tracerag_schemas::ids::TraceId;
use xxhash_rust::xxh3::xxh3_128;

use crate::otlp::{
    Converted, DecodeCounts, Encoding, MAX_MESSAGE_BYTES, MAX_RECORDS, Reader, Signal, Slice, WireError, to_proto,
    trace_of,
};

/// The field of a request that holds its resources.
const RESOURCES: u32 = 1;
/// The field of a resource's group that holds its scopes, and of a scope's that holds its records.
const ITEMS: u32 = 2;

/// What the records of a part have in common: they must meet in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Their trace.
    Trace(TraceId),
    /// Log records without a trace: the hash of the bytes of their resource.
    Resource(u128),
    /// Spans without a valid trace id. Nothing of them is ever joined.
    Nothing,
}

impl Key {
    /// The key of a Kafka record: what the Collector's `kafkaexporter` writes with `partition_traces_by_id` and
    /// `partition_logs_by_trace_id`, which is 32 lower-case hex digits; 16 bytes for a resource.
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Key::Trace(trace) => Some(hex::encode(trace).into_bytes()),
            Key::Resource(hash) => Some(hash.to_be_bytes().to_vec()),
            Key::Nothing => None,
        }
    }
}

/// A message, taken apart. It holds places in the message and not its bytes: a resource that is repeated in a thousand
/// parts takes memory in the one part that is written.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// The message in protobuf if it came as JSON.
    converted: Option<Vec<u8>>,
    /// What the conversion put up with.
    pub(super) counts: DecodeCounts,
    /// Fields of the request that are no resource.
    rest: Frame,
    resources: Vec<Frame>,
    scopes: Vec<Frame>,
    /// In the order in which their first records stand in the message.
    parts: Vec<(Key, Vec<Placed>)>,
}

impl Split {
    /// Takes a message apart. `None` if it is no message of that signal, or has more records than a decoder takes.
    pub(super) fn of(signal: Signal, encoding: Encoding, value: &[u8]) -> Option<Self> {
        if value.len() > MAX_MESSAGE_BYTES {
            return None;
        }
        let proto = || Self::of_proto(signal, value);
        let json = || Self::of_json(signal, value);
        match encoding {
            Encoding::Proto => proto(),
            Encoding::Json => json(),
            // As the decoder tells them apart.
            Encoding::Auto => match value.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'{') if value.first() == Some(&b'\n') => proto().or_else(json),
                Some(b'{') => json(),
                _ => proto(),
            },
        }
    }

    fn of_proto(signal: Signal, data: &[u8]) -> Option<Self> {
        let mut reading = Reading::new(signal, data);
        reading.read().ok()?;
        reading.is_of_its_signal().then_some(reading.split)
    }

    fn of_json(signal: Signal, value: &[u8]) -> Option<Self> {
        let mut counts = DecodeCounts::default();
        let Converted { proto, misfit } = to_proto(signal, value, &mut counts).ok()?;
        let split = Self::of_proto(signal, &proto)?;
        // Where nothing is left of a message it is most likely another one.
        if misfit.is_some() && split.parts.is_empty() {
            return None;
        }
        Some(Self { converted: Some(proto), counts, ..split })
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Writes a part of the message `value`, the one that was taken apart, in protobuf; gives its key, or `None` where
    /// there is no such part.
    pub(super) fn write(&self, index: usize, value: &[u8], out: &mut Vec<u8>) -> Option<Key> {
        let (key, records) = self.parts.get(index)?;
        let data = self.converted.as_deref().unwrap_or(value);
        out.clear();
        for of_resource in records.chunk_by(|a, b| a.resource == b.resource) {
            let scopes = || of_resource.chunk_by(|a, b| a.scope == b.scope);
            let resource = frame(&self.resources, of_resource, |record| record.resource);
            let length = resource.len() + scopes().map(|records| framed_len(self.scope_len(records))).sum::<usize>();
            begin(RESOURCES, length, out);
            resource.write(data, out);
            for of_scope in scopes() {
                begin(ITEMS, self.scope_len(of_scope), out);
                frame(&self.scopes, of_scope, |record| record.scope).write(data, out);
                for record in of_scope {
                    out.extend_from_slice(record.whole.of(data));
                }
            }
        }
        self.rest.write(data, out);
        Some(*key)
    }

    /// Bytes of a scope with these of its records.
    fn scope_len(&self, records: &[Placed]) -> usize {
        let frame = frame(&self.scopes, records, |record| record.scope);
        frame.len() + records.iter().map(|record| record.whole.len()).sum::<usize>()
    }
}

/// A record and where it stands.
#[derive(Debug, Clone, Copy)]
struct Placed {
    resource: u32,
    scope: u32,
    /// The record as a field of its scope.
    whole: Slice,
}

/// What a resource's group holds beside its scopes, or a scope's beside its records: whole fields, as few pieces as
/// possible.
#[derive(Debug, Default)]
struct Frame(Vec<Slice>);

impl Frame {
    fn push(&mut self, field: Slice) {
        if let Some(last) = self.0.last_mut()
            && let Some(joined) = last.joined(field)
        {
            *last = joined;
            return;
        }
        self.0.push(field);
    }

    fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }

    fn write(&self, data: &[u8], out: &mut Vec<u8>) {
        for piece in &self.0 {
            out.extend_from_slice(piece.of(data));
        }
    }
}

/// The frame that records of one group share.
fn frame<'f>(frames: &'f [Frame], records: &[Placed], which: impl Fn(&Placed) -> u32) -> &'f Frame {
    static NONE: Frame = Frame(Vec::new());
    records.first().and_then(|record| frames.get(which(record) as usize)).unwrap_or(&NONE)
}

fn newest(frames: &[Frame]) -> u32 {
    frames.len().saturating_sub(1) as u32
}

/// Tag and length of a field that holds a message.
fn begin(number: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// Bytes of a field that holds a message of so many; the tags here take one byte.
fn framed_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// The message is none, or too large to be one.
struct Refused;

impl From<WireError> for Refused {
    fn from(_: WireError) -> Self {
        Refused
    }
}

/// Resources, scopes or records, as fields of what holds them and as messages.
struct Item {
    whole: Slice,
    inside: Slice,
}

/// A message while it is taken apart.
struct Reading<'a> {
    signal: Signal,
    data: &'a [u8],
    split: Split,
    by_key: HashMap<Key, usize>,
    /// Resources, scopes and records so far: each takes memory, however short it is.
    items: usize,
    good: usize,
    bad: usize,
    traced: usize,
}

impl<'a> Reading<'a> {
    fn new(signal: Signal, data: &'a [u8]) -> Self {
        let split = Split::default();
        Self { signal, data, split, by_key: HashMap::new(), items: 0, good: 0, bad: 0, traced: 0 }
    }

    fn read(&mut self) -> Result<(), Refused> {
        let mut request = Reader::new(self.data);
        while let Some((field, whole)) = request.next_whole()? {
            match field.number {
                RESOURCES => self.read_resource(field.bytes()?)?,
                _ => self.split.rest.push(whole),
            }
        }
        Ok(())
    }

    fn read_resource(&mut self, group: Slice) -> Result<(), Refused> {
        let (frame, resource, scopes) = self.group(group)?;
        let hash = xxh3_128(resource.of(self.data));
        self.split.resources.push(frame);
        for scope in scopes {
            let (frame, _, records) = self.group(scope.inside)?;
            self.split.scopes.push(frame);
            for record in records {
                self.place(record, hash);
            }
        }
        Ok(())
    }

    /// The frame of a group, its field 1, and what it holds. The resource may stand behind its scopes.
    fn group(&mut self, group: Slice) -> Result<(Frame, Slice, Vec<Item>), Refused> {
        let (mut frame, mut first, mut items) = (Frame::default(), Slice::default(), Vec::new());
        self.count()?;
        let mut fields = Reader::within(self.data, group);
        while let Some((field, whole)) = fields.next_whole()? {
            match field.number {
                ITEMS => {
                    self.count()?;
                    items.push(Item { whole, inside: field.bytes()? });
                    continue;
                }
                1 => first = field.bytes()?,
                // The schema URL; of another type it says that this is another message.
                3 => {
                    field.bytes()?;
                }
                _ => {}
            }
            frame.push(whole);
        }
        Ok((frame, first, items))
    }

    fn count(&mut self) -> Result<(), Refused> {
        self.items += 1;
        if self.items > MAX_RECORDS { Err(Refused) } else { Ok(()) }
    }

    /// Puts a record of the newest scope into its part. One that is broken goes with those that have no trace: the
    /// decoder judges it.
    fn place(&mut self, record: Item, resource_hash: u128) {
        let trace = trace_of(self.signal, self.data, record.inside);
        match trace {
            Ok(_) => self.good += 1,
            Err(_) => self.bad += 1,
        }
        let key = match (trace, self.signal) {
            (Ok(Some(trace)), _) => {
                self.traced += 1;
                Key::Trace(trace)
            }
            (_, Signal::Logs) => Key::Resource(resource_hash),
            _ => Key::Nothing,
        };
        let parts = &mut self.split.parts;
        let part = match self.by_key.entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                parts.push((key, Vec::new()));
                *entry.insert(parts.len() - 1)
            }
        };
        let placed =
            Placed { resource: newest(&self.split.resources), scope: newest(&self.split.scopes), whole: record.whole };
        if let Some((_, records)) = self.split.parts.get_mut(part) {
            records.push(placed);
        }
    }

    /// What the decoder takes for another message must stay whole, so that its dead letter has it as it came: one
    /// without any field that such a message has, without a record that can be read, or with spans of which none has a
    /// valid trace id.
    fn is_of_its_signal(&self) -> bool {
        let has_group = !self.split.resources.is_empty();
        let is_read = self.good > 0 || self.bad == 0;
        let has_traces = self.signal != Signal::Spans || self.good == 0 || self.traced > 0;
        (has_group || self.data.is_empty()) && is_read && has_traces
    }
}

#[cfg(test)]
#[path = "split_test.rs"]
mod tests;
