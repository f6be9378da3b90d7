//! What a record is, by its content.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::super::{Encoding, Signal};
use super::wire::{self, Wire};

/// Signal and encoding of the first record of a file; `None` if it is of no known kind.
pub(super) fn first(record: &[u8]) -> Option<(Signal, Encoding)> {
    match trimmed(record).first() {
        Some(b'{') => json(record).map(|signal| (signal, Encoding::Json)),
        _ => protobuf(record).map(|signal| (signal, Encoding::Proto)),
    }
}

/// Signal and encoding of a later record. One file of the Collector may hold all signals; what is not recognised
/// counts as what the file began with, and its decoder says what is wrong with it.
pub(super) fn record(record: &[u8], of_file: Signal, encoding: Encoding) -> (Signal, Encoding) {
    let signal = match encoding {
        Encoding::Proto => protobuf(record),
        Encoding::Json | Encoding::Auto => json(record),
    };
    (signal.unwrap_or(of_file), encoding)
}

/// Whether a text is the beginning of a JSON document that goes on.
pub(super) fn is_cut(text: &[u8]) -> bool {
    match serde_json::from_slice::<IgnoredAny>(trimmed(text)) {
        Ok(_) => false,
        Err(error) => error.is_eof(),
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start()
}

fn json(record: &[u8]) -> Option<Signal> {
    let text = trimmed(record);
    // The Collector writes nothing before it, so the first key nearly always tells.
    if let Some(signal) = first_key(text).and_then(otlp_key) {
        return Some(signal);
    }
    let object: BTreeMap<String, IgnoredAny> = serde_json::from_slice(text).ok()?;
    let has = |key: &str| object.contains_key(key);
    if let Some(signal) = object.keys().find_map(|key| otlp_key(key.as_bytes())) {
        return Some(signal);
    }
    if has("feature_flag.key")
        || has("config.key")
        || has("flags")
        || has("flag_configuration")
        || has("flagConfiguration")
    {
        return Some(Signal::Flags);
    }
    if (has("context") && has("subject")) || (has("specversion") && has("type")) {
        return Some(Signal::Deployments);
    }
    let is_heap = has("top_types") || has("top_sites") || has("retained_paths") || has("snapshot_uri");
    (has("format") && is_heap).then_some(Signal::Heaps)
}

fn first_key(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    rest.get(..memchr::memchr(b'"', rest)?)
}

fn otlp_key(key: &[u8]) -> Option<Signal> {
    match key {
        b"resourceSpans" => Some(Signal::Spans),
        b"resourceLogs" => Some(Signal::Logs),
        b"resourceMetrics" => Some(Signal::Metrics),
        _ => None,
    }
}

/// The three OTLP requests have the same outer shape (`1` resources, each `2` scopes, each `2` records); the
/// numbers and wire types of the first record's fields tell them apart.
fn protobuf(record: &[u8]) -> Option<Signal> {
    if !wire::is_message(record) || wire::fields(record).any(|(number, _)| number > 15) {
        return None;
    }
    let mut signal = None;
    wire::each(record, &[1, 2, 2], &mut |record| {
        if signal.is_none() {
            signal = record_signal(record);
        }
    });
    signal
}

fn record_signal(record: &[u8]) -> Option<Signal> {
    if !wire::is_message(record) {
        return None;
    }
    let mut is_metric = false;
    let mut trace_id = None;
    let mut has_span_id = false;
    for (number, value) in wire::fields(record) {
        match (number, value) {
            // Span: kind, start, end.
            (6, Wire::Varint) | (7 | 8, Wire::Fixed64(_)) => return Some(Signal::Spans),
            // LogRecord: time, severity, flags, observed time.
            (1 | 11, Wire::Fixed64(_)) | (2, Wire::Varint) | (8, Wire::Fixed32) => return Some(Signal::Logs),
            (1, Wire::Bytes(id)) if id.len() == 16 => trace_id = Some(id),
            (2, Wire::Bytes(id)) if id.len() == 8 => has_span_id = true,
            // Metric: gauge, sum, histogram, exponential histogram or summary, with points that have a time.
            (5 | 7 | 9 | 10 | 11, Wire::Bytes(data)) => is_metric |= has_points(data),
            _ => {}
        }
    }
    if is_metric {
        return Some(Signal::Metrics);
    }
    // A span without kind and times; where a metric has its name, the span has an id, which is no text.
    let has_ids = has_span_id && trace_id.is_some_and(|id| std::str::from_utf8(id).is_err());
    has_ids.then_some(Signal::Spans)
}

fn has_points(data: &[u8]) -> bool {
    let mut found = false;
    wire::each(data, &[1], &mut |point| {
        found |= wire::fields(point).any(|(number, value)| number == 3 && matches!(value, Wire::Fixed64(_)));
    });
    found
}
