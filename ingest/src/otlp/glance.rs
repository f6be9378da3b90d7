//! A look into a message: how it is written, and of which traces it holds parts. Nothing is decoded.

use std::collections::BTreeSet;

use tracerag_schemas::ids::{TraceId, valid};

use super::counts::DecodeCounts;
use super::json::to_proto;
use super::wire::{Reader, Slice, WireError};
use super::{Encoding, Signal};

/// What a look into a message shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Glance {
    /// How it is written; `None` if it is no message of that signal.
    pub(crate) encoding: Option<Encoding>,
    /// The traces of which it holds spans or log records; those without a valid trace id belong to none.
    pub(crate) traces: BTreeSet<TraceId>,
}

/// Looks into a message, whatever its topic's encoding should be. The two are told apart as [`Encoding::Auto`] does.
pub(crate) fn glance(signal: Signal, value: &[u8]) -> Glance {
    let is_text = value.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if !is_text || value.first() == Some(&b'\n') {
        match traces(signal, value) {
            Some(traces) => return Glance { encoding: Some(Encoding::Proto), traces },
            None if !is_text => return Glance::default(),
            None => {}
        }
    }
    let converted = to_proto(signal, value, &mut DecodeCounts::default()).ok();
    match converted.and_then(|converted| traces(signal, &converted.proto)) {
        Some(traces) => Glance { encoding: Some(Encoding::Json), traces },
        None => Glance::default(),
    }
}

/// The traces in a message in protobuf; `None` if it is another one. What makes it another one is the same as for the
/// decoder: broken bytes, no field that such a message has, or records of which none can be read.
fn traces(signal: Signal, data: &[u8]) -> Option<BTreeSet<TraceId>> {
    let mut found = Found::default();
    walk(signal, data, &mut found).ok()?;
    let is_empty = data.is_empty();
    ((is_empty || found.has_group) && (found.good > 0 || found.bad == 0)).then_some(found.traces)
}

#[derive(Default)]
struct Found {
    has_group: bool,
    good: usize,
    bad: usize,
    traces: BTreeSet<TraceId>,
}

/// Resources hold scopes, scopes hold records, for all signals in the same fields.
fn walk(signal: Signal, data: &[u8], found: &mut Found) -> Result<(), WireError> {
    let mut message = Reader::new(data);
    while let Some(resource) = message.next()? {
        if resource.number != 1 {
            continue;
        }
        found.has_group = true;
        let mut scopes = Reader::within(data, resource.bytes()?);
        while let Some(scope) = scopes.next()? {
            if scope.number != 2 {
                continue;
            }
            let mut records = Reader::within(data, scope.bytes()?);
            while let Some(record) = records.next()? {
                if record.number != 2 {
                    continue;
                }
                match trace_of(signal, data, record.bytes()?) {
                    Ok(trace) => {
                        found.good += 1;
                        found.traces.extend(trace);
                    }
                    Err(_) => found.bad += 1,
                }
            }
        }
    }
    Ok(())
}

/// The trace of a span or log record. A metric has none.
///
/// # Errors
/// When the record is no protobuf, or one of another signal.
pub(crate) fn trace_of(signal: Signal, data: &[u8], record: Slice) -> Result<Option<TraceId>, WireError> {
    let mut trace = None;
    let mut fields = Reader::within(data, record);
    while let Some(field) = fields.next()? {
        match (signal, field.number) {
            (Signal::Spans, 1) | (Signal::Logs, 9) => trace = valid::<16>(field.bytes()?.of(data)),
            // A span has its trace id here, and an attribute where a log record has its trace id.
            (Signal::Logs, 1) => {
                field.fixed64()?;
            }
            _ => {}
        }
    }
    Ok(trace)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message as _;

    use super::*;

    const A: TraceId = [0xaa; 16];
    const B: TraceId = [0xbb; 16];

    fn spans(traces: &[&[u8]]) -> Vec<u8> {
        let span = |trace: &&[u8]| Span {
            trace_id: trace.to_vec(),
            span_id: vec![1; 8],
            attributes: vec![KeyValue { key: "0123456789abcd".to_owned(), ..KeyValue::default() }],
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: traces.iter().map(span).collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn logs(traces: &[&[u8]]) -> Vec<u8> {
        let record = |trace: &&[u8]| LogRecord { time_unix_nano: 7, trace_id: trace.to_vec(), ..LogRecord::default() };
        let log_records = traces.iter().map(record).collect();
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        ExportLogsServiceRequest { resource_logs }.encode_to_vec()
    }

    fn seen(encoding: Encoding, traces: impl IntoIterator<Item = TraceId>) -> Glance {
        Glance { encoding: Some(encoding), traces: traces.into_iter().collect() }
    }

    /// The traces of spans and of log records are found, each once; ids of another length or of zeros are none.
    #[test]
    fn traces_are_found() {
        let (zeros, short) = ([0; 16], [7; 3]);
        assert_eq!(glance(Signal::Spans, &spans(&[&A, &B, &A, &zeros, &short])), seen(Encoding::Proto, [A, B]));
        assert_eq!(glance(Signal::Logs, &logs(&[&A, &[]])), seen(Encoding::Proto, [A]));
        assert_eq!(glance(Signal::Logs, &logs(&[&[]])), seen(Encoding::Proto, []));
    }

    /// OTLP/JSON is told by its first character, also behind a newline, which protobuf begins with as well.
    #[test]
    fn json_is_told_apart() {
        let text = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "spanId": "0101010101010101"}]}]}]}"#;
        assert_eq!(glance(Signal::Spans, text.as_bytes()), seen(Encoding::Json, [A]));
        assert_eq!(glance(Signal::Spans, format!("\n {text}").as_bytes()), seen(Encoding::Json, [A]));
    }

    /// What is no such message has no encoding: other text, other JSON, broken bytes, and the other signal.
    #[test]
    fn other_messages_are_neither() {
        for other in [&b"hello"[..], b"{\"user\": 1}", b"{", b"\x0a\x05\x01", b"\x12\x01\x00"] {
            assert_eq!(glance(Signal::Spans, other), Glance::default(), "{other:?}");
        }
        assert_eq!(glance(Signal::Spans, &logs(&[&A])), Glance::default());
        assert_eq!(glance(Signal::Logs, &spans(&[&A])), Glance::default());
    }
}
