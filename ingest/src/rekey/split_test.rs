#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::tests::generate::{logs, metrics, traces};
use crate::otlp::tests::properties::{flat_logs, flat_spans, mutate};

const A: TraceId = [0xaa; 16];
const B: TraceId = [0xbb; 16];

/// All parts of a message with their keys.
fn parts(signal: Signal, encoding: Encoding, value: &[u8]) -> Option<Vec<(Key, Vec<u8>)>> {
    let split = Split::of(signal, encoding, value)?;
    let part = |index| {
        let mut out = b"what was there before".to_vec();
        let key = split.write(index, value, &mut out).unwrap();
        (key, out)
    };
    Some((0..split.len()).map(part).collect())
}

/// One field that holds bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    begin(number, bytes.len(), &mut out);
    out.extend_from_slice(bytes);
    out
}

/// A span as bytes: its trace id, a span id, and a field that no version knows.
fn span(trace: &[u8], id: u8) -> Vec<u8> {
    [field(1, trace), field(2, &[id; 8]), field(500, b"of a span")].concat()
}

/// Few traces, so that many records share one; the first bytes of ids are drawn, so any number of them is.
fn few(trace: &mut Vec<u8>) {
    if let Some(first) = trace.first().copied() {
        *trace = vec![1 + first % 3; 16];
    }
}

fn with_few_traces(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let scopes = request.resource_spans.iter_mut().flat_map(|group| &mut group.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans).for_each(|span| few(&mut span.trace_id));
    request
}

fn with_few_traces_of_logs(mut request: ExportLogsServiceRequest) -> ExportLogsServiceRequest {
    let scopes = request.resource_logs.iter_mut().flat_map(|group| &mut group.scope_logs);
    scopes.flat_map(|scope| &mut scope.log_records).for_each(|record| few(&mut record.trace_id));
    request
}

fn spans_of(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    request.resource_spans.iter().flat_map(|group| &group.scope_spans).flat_map(|scope| &scope.spans)
}

fn span_ids(request: &ExportTraceServiceRequest) -> Vec<Vec<u8>> {
    spans_of(request).map(|span| span.span_id.clone()).collect()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// A message with fields at every level that this version does not know: all of them are in each part, byte for byte,
/// and so are resource and scope, wherever they stand.
#[test]
fn unknown_fields_stay() {
    let scope = [
        field(500, b"of the scope"),
        field(2, &span(&A, 1)),
        field(1, &field(1, b"scope")),
        field(2, &span(&B, 2)),
        field(2, &span(&A, 3)),
    ]
    .concat();
    let resource = [field(2, &scope), field(1, b"\x18\x05"), field(501, b"of the group"), field(3, b"url")].concat();
    let message = [field(1, &resource), field(502, b"of the request")].concat();

    let parts = parts(Signal::Spans, Encoding::Proto, &message).unwrap();
    let expected = |spans: &[Vec<u8>]| {
        let frame = [field(500, b"of the scope"), field(1, &field(1, b"scope"))].concat();
        let scope = [frame, spans.iter().flat_map(|span| field(2, span)).collect()].concat();
        let frame = [field(1, b"\x18\x05"), field(501, b"of the group"), field(3, b"url")].concat();
        [field(1, &[frame, field(2, &scope)].concat()), field(502, b"of the request")].concat()
    };
    assert_eq!(
        parts,
        [(Key::Trace(A), expected(&[span(&A, 1), span(&A, 3)])), (Key::Trace(B), expected(&[span(&B, 2)])),]
    );
}

/// The keys are those of the Collector's exporter: 32 lower-case hex digits for a trace, 16 bytes for a resource. Spans
/// without a valid trace id have none.
#[test]
fn keys_are_those_of_the_collector() {
    assert_eq!(Key::Trace(A).bytes().unwrap(), "aa".repeat(16).into_bytes());
    assert_eq!(Key::Resource(1).bytes().unwrap(), [&[0u8; 15][..], &[1]].concat());
    assert_eq!(Key::Nothing.bytes(), None);
}

/// A span with an invalid trace id, or one that is broken, goes into a part of its own and holds nothing else up.
#[test]
fn spans_without_a_trace_are_kept() {
    let broken = b"\x0a\x7f".as_slice();
    let spans = [field(2, &span(&A, 1)), field(2, &span(&[0; 16], 2)), field(2, broken)].concat();
    let message = field(1, &field(2, &spans));
    let parts = parts(Signal::Spans, Encoding::Proto, &message).unwrap();
    let rest = [field(2, &span(&[0; 16], 2)), field(2, broken)].concat();
    assert_eq!(parts[0], (Key::Trace(A), field(1, &field(2, &field(2, &span(&A, 1))))));
    assert_eq!(parts[1..], [(Key::Nothing, field(1, &field(2, &rest)))]);
}

/// Log records without a trace keep together by resource: two groups of one resource are one part, another resource is
/// another one.
#[test]
fn logs_without_a_trace_go_by_resource() {
    let record = field(2, &[0x09, 7, 0, 0, 0, 0, 0, 0, 0]);
    let group = |resource: &[u8]| field(1, &[field(1, resource), field(2, &record)].concat());
    let message = [group(b"\x18\x05"), group(b"\x18\x06"), group(b"\x18\x05")].concat();
    let parts = parts(Signal::Logs, Encoding::Proto, &message).unwrap();
    let keys: BTreeSet<Vec<u8>> = parts.iter().map(|(key, _)| key.bytes().unwrap()).collect();
    assert_eq!((parts.len(), keys.len()), (2, 2));
    assert_eq!(parts[0].1, [group(b"\x18\x05"), group(b"\x18\x05")].concat());
}

/// What is no message of the signal is not taken apart: other text, other JSON, broken bytes, the other signals. A
/// message without records has no parts.
#[test]
fn other_messages_are_refused() {
    let one_log = field(1, &field(2, &field(2, &[0x09, 7, 0, 0, 0, 0, 0, 0, 0])));
    let one_span = field(1, &field(2, &field(2, &span(&A, 1))));
    let one_metric = field(1, &field(2, &field(2, &field(1, b"http.server.duration"))));
    for other in [
        &b"hello"[..],
        b"{\"user\": 1}",
        b"{",
        b"\x0a\x05\x01",
        b"\x12\x01\x00",
        one_log.as_slice(),
        one_metric.as_slice(),
    ] {
        for encoding in [Encoding::Proto, Encoding::Json, Encoding::Auto] {
            assert_eq!(parts(Signal::Spans, encoding, other), None, "{other:?} as {encoding:?}");
        }
    }
    for other in [&one_span, &one_metric] {
        assert_eq!(parts(Signal::Logs, Encoding::Proto, other), None, "{other:?}");
    }
    assert_eq!(parts(Signal::Spans, Encoding::Proto, b""), Some(vec![]));
    assert_eq!(parts(Signal::Spans, Encoding::Json, b"{}"), Some(vec![]));
}

/// More empty records than a decoder takes are refused before they take memory.
#[test]
fn too_many_records_are_refused() {
    let records = [0x12u8, 0x00].repeat(MAX_RECORDS + 1);
    assert!(Split::of(Signal::Logs, Encoding::Proto, &field(1, &field(2, &records))).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    /// The parts of a request hold its spans with their resources and scopes, each once; each part those of one trace,
    /// and each trace in one part. JSON gives parts of the same spans as protobuf.
    #[test]
    fn parts_hold_every_span_once(request in traces(true)) {
        let request = with_few_traces(request);
        let (mut all, mut keys) = (Vec::new(), BTreeSet::new());
        let (mut ids, mut ids_of_json) = (Vec::new(), Vec::new());
        for (key, part) in parts(Signal::Spans, Encoding::Proto, &request.encode_to_vec()).unwrap() {
            let part = ExportTraceServiceRequest::decode(part.as_slice()).unwrap();
            for span in spans_of(&part) {
                prop_assert_eq!(Key::Trace(span.trace_id.as_slice().try_into().unwrap()), key);
            }
            prop_assert!(keys.insert(key.bytes()), "two parts of {:?}", key);
            ids.push((key, span_ids(&part)));
            all.extend(flat_spans(part));
        }
        for (key, part) in parts(Signal::Spans, Encoding::Json, &serde_json::to_vec(&request).unwrap()).unwrap() {
            ids_of_json.push((key, span_ids(&ExportTraceServiceRequest::decode(part.as_slice()).unwrap())));
        }
        prop_assert_eq!(ids_of_json, ids);
        prop_assert_eq!(sorted(all), sorted(flat_spans(request)));
    }

    /// The same for log records, of which some have no trace: those are together by resource.
    #[test]
    fn parts_hold_every_log_record_once(request in logs(false)) {
        let request = with_few_traces_of_logs(request);
        let (mut all, mut keys) = (Vec::new(), BTreeSet::new());
        for (key, part) in parts(Signal::Logs, Encoding::Proto, &request.encode_to_vec()).unwrap() {
            let part = ExportLogsServiceRequest::decode(part.as_slice()).unwrap();
            let scopes = part.resource_logs.iter().flat_map(|group| &group.scope_logs);
            for record in scopes.flat_map(|scope| &scope.log_records) {
                let trace: Option<TraceId> = record.trace_id.as_slice().try_into().ok();
                prop_assert_eq!(matches!(key, Key::Trace(_)), trace.is_some());
                prop_assert!(trace.is_none_or(|trace| key == Key::Trace(trace)));
            }
            prop_assert!(keys.insert(key.bytes()), "two parts of {:?}", key);
            all.extend(flat_logs(part));
        }
        prop_assert_eq!(sorted(all), sorted(flat_logs(request)));
    }

    /// Broken bytes never panic, and what is taken apart all the same loses nothing of its records: the parts together
    /// hold as many as the message.
    #[test]
    fn broken_messages_are_refused_or_kept(
        broken in prop_oneof![
            traces(false).prop_map(|request| with_few_traces(request).encode_to_vec()),
            logs(false).prop_map(|request| with_few_traces_of_logs(request).encode_to_vec()),
            metrics(false).prop_map(|request| request.encode_to_vec()),
            traces(true).prop_map(|request| serde_json::to_vec(&request).unwrap()),
        ],
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in any::<usize>(),
    ) {
        let broken = mutate(broken, &changes, cut);
        for signal in [Signal::Spans, Signal::Logs] {
            for encoding in [Encoding::Proto, Encoding::Json, Encoding::Auto] {
                let Some(split) = Split::of(signal, encoding, &broken) else { continue };
                let whole: usize = split.parts.iter().map(|(_, records)| records.len()).sum();
                let mut in_parts = 0;
                for index in 0..split.len() {
                    let mut out = Vec::new();
                    split.write(index, &broken, &mut out).unwrap();
                    let mut again = Reading::new(signal, &out);
                    prop_assert!(again.read().is_ok());
                    in_parts += again.split.parts.iter().map(|(_, records)| records.len()).sum::<usize>();
                }
                prop_assert_eq!(in_parts, whole);
            }
        }
    }
}
