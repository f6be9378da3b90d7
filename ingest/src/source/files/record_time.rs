//! The time of a record: the greatest end of a span, time of a log record, of a point, of an event in it.
//!
//! Found by looking for the fields, without decoding: a line of a megabyte is read once more by its decoder.

use chrono::DateTime;
use memchr::memmem;
use serde_json::Value;

use super::super::{Encoding, Signal};
use super::wire::{self, Wire};

/// In nanoseconds since the epoch; `None` where the record says none.
pub(super) fn of(record: &[u8], signal: Signal, encoding: Encoding) -> Option<i64> {
    match (signal, encoding) {
        (Signal::Spans | Signal::Logs | Signal::Metrics, Encoding::Proto) => of_protobuf(record, signal),
        (Signal::Spans, _) => greatest_json(record, b"\"endTimeUnixNano\""),
        (Signal::Logs, _) => {
            greatest_json(record, b"\"timeUnixNano\"").or_else(|| greatest_json(record, b"\"observedTimeUnixNano\""))
        }
        (Signal::Metrics, _) => greatest_json(record, b"\"timeUnixNano\""),
        (Signal::Flags | Signal::Deployments | Signal::Heaps, _) => of_change(record),
    }
}

/// The greatest value behind a key, wherever it stands. A text that quotes such JSON has backslashes before its
/// quotes, so it is not mistaken.
fn greatest_json(record: &[u8], key: &[u8]) -> Option<i64> {
    memmem::find_iter(record, key).filter_map(|at| json_integer(&record[at + key.len()..])).max()
}

/// `: "123"` or `: 123`; zero means unknown.
fn json_integer(rest: &[u8]) -> Option<i64> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let mut value = 0i64;
    for digit in rest.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    (value > 0).then_some(value)
}

fn of_protobuf(record: &[u8], signal: Signal) -> Option<i64> {
    let mut greatest = None;
    let mut unknown = None;
    wire::each(record, &[1, 2, 2], &mut |item| match signal {
        Signal::Spans => greatest = greatest.max(fixed64(item, 8)),
        Signal::Logs => {
            greatest = greatest.max(fixed64(item, 1));
            unknown = unknown.max(fixed64(item, 11));
        }
        // All kinds of data have their points at 1, all points their time at 3.
        _ => {
            for (number, data) in wire::fields(item) {
                if let (5 | 7 | 9 | 10 | 11, Wire::Bytes(data)) = (number, data) {
                    wire::each(data, &[1], &mut |point| greatest = greatest.max(fixed64(point, 3)));
                }
            }
        }
    });
    greatest.or(unknown)
}

fn fixed64(message: &[u8], wanted: u64) -> Option<i64> {
    let value = wire::fields(message).find_map(|(number, value)| match value {
        Wire::Fixed64(value) if number == wanted => Some(value),
        _ => None,
    });
    i64::try_from(value?).ok().filter(|value| *value > 0)
}

/// These records are few and small. Whatever is wrong with them is said by their decoders.
fn of_change(record: &[u8]) -> Option<i64> {
    let record: Value = serde_json::from_slice(record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record)).ok()?;
    let time = record
        .get("time")
        .or_else(|| record.get("captured_at"))
        .or_else(|| record.get("context")?.get("timestamp"))
        .or_else(|| record.get("data")?.get("context")?.get("timestamp"))
        .or_else(|| record.get("metadata")?.get("time"))?;
    match time {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt(),
        other => other.as_i64(),
    }
}
