use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use tracerag_schemas::otlp::{logs_to_otlp, metrics_to_otlp, spans_to_otlp};

use super::generate::{logs, metrics, traces};
use super::*;

/// The order of attributes means nothing, and new names are moved before old ones.
fn sort(attributes: &mut [KeyValue]) {
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
}

/// A text of each span with what it belongs to. Texts, because NaN is not equal to itself.
pub(crate) fn flat_spans(mut request: ExportTraceServiceRequest) -> Vec<String> {
    let mut flat = Vec::new();
    for group in &mut request.resource_spans {
        sort(&mut group.resource.get_or_insert_default().attributes);
        for scope in &mut group.scope_spans {
            sort(&mut scope.scope.get_or_insert_default().attributes);
            for span in &mut scope.spans {
                sort(&mut span.attributes);
                span.events.iter_mut().for_each(|event| sort(&mut event.attributes));
                span.links.iter_mut().for_each(|link| sort(&mut link.attributes));
                flat.push(format!(
                    "{:?} {} {:?} {} {span:?}",
                    group.resource, group.schema_url, scope.scope, scope.schema_url
                ));
            }
        }
    }
    flat
}

pub(crate) fn flat_logs(mut request: ExportLogsServiceRequest) -> Vec<String> {
    let mut flat = Vec::new();
    for group in &mut request.resource_logs {
        sort(&mut group.resource.get_or_insert_default().attributes);
        for scope in &mut group.scope_logs {
            sort(&mut scope.scope.get_or_insert_default().attributes);
            for log in &mut scope.log_records {
                sort(&mut log.attributes);
                flat.push(format!(
                    "{:?} {} {:?} {} {log:?}",
                    group.resource, group.schema_url, scope.scope, scope.schema_url
                ));
            }
        }
    }
    flat
}

/// Each point as a metric of its own.
fn points(metric: &Metric) -> Vec<Metric> {
    let with = |data| Metric { data: Some(data), ..metric.clone() };
    match metric.data.clone().unwrap() {
        Data::Gauge(mut all) => {
            let points = std::mem::take(&mut all.data_points);
            points
                .into_iter()
                .map(|point| {
                    with(Data::Gauge(opentelemetry_proto::tonic::metrics::v1::Gauge { data_points: vec![point] }))
                })
                .collect()
        }
        Data::Sum(mut all) => {
            let points = std::mem::take(&mut all.data_points);
            let one = |point| opentelemetry_proto::tonic::metrics::v1::Sum { data_points: vec![point], ..all.clone() };
            points.into_iter().map(|point| with(Data::Sum(one(point)))).collect()
        }
        Data::Histogram(mut all) => {
            let points = std::mem::take(&mut all.data_points);
            let one =
                |point| opentelemetry_proto::tonic::metrics::v1::Histogram { data_points: vec![point], ..all.clone() };
            points.into_iter().map(|point| with(Data::Histogram(one(point)))).collect()
        }
        Data::ExponentialHistogram(mut all) => {
            let points = std::mem::take(&mut all.data_points);
            let one = |point| opentelemetry_proto::tonic::metrics::v1::ExponentialHistogram {
                data_points: vec![point],
                ..all.clone()
            };
            points.into_iter().map(|point| with(Data::ExponentialHistogram(one(point)))).collect()
        }
        Data::Summary(mut all) => {
            let points = std::mem::take(&mut all.data_points);
            let one = |point| opentelemetry_proto::tonic::metrics::v1::Summary { data_points: vec![point] };
            points.into_iter().map(|point| with(Data::Summary(one(point)))).collect()
        }
    }
}

fn sort_points(data: &mut Data) {
    match data {
        Data::Gauge(all) => all.data_points.iter_mut().for_each(|point| sort(&mut point.attributes)),
        Data::Sum(all) => all.data_points.iter_mut().for_each(|point| sort(&mut point.attributes)),
        Data::Histogram(all) => all.data_points.iter_mut().for_each(|point| sort(&mut point.attributes)),
        Data::ExponentialHistogram(all) => all.data_points.iter_mut().for_each(|point| sort(&mut point.attributes)),
        Data::Summary(all) => all.data_points.iter_mut().for_each(|point| sort(&mut point.attributes)),
    }
    let exemplars: Vec<_> = match data {
        Data::Gauge(all) => all.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
        Data::Sum(all) => all.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
        Data::Histogram(all) => all.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
        Data::ExponentialHistogram(all) => all.data_points.iter_mut().flat_map(|point| &mut point.exemplars).collect(),
        Data::Summary(_) => Vec::new(),
    };
    exemplars.into_iter().for_each(|exemplar| sort(&mut exemplar.filtered_attributes));
}

fn flat_metrics(mut request: ExportMetricsServiceRequest) -> Vec<String> {
    let mut flat = Vec::new();
    for group in &mut request.resource_metrics {
        sort(&mut group.resource.get_or_insert_default().attributes);
        for scope in &mut group.scope_metrics {
            sort(&mut scope.scope.get_or_insert_default().attributes);
            for metric in &mut scope.metrics {
                sort(&mut metric.metadata);
                for mut point in points(metric) {
                    sort_points(point.data.as_mut().unwrap());
                    flat.push(format!(
                        "{:?} {} {:?} {} {point:?}",
                        group.resource, group.schema_url, scope.scope, scope.schema_url
                    ));
                }
            }
        }
    }
    flat
}

fn off(signal: Signal, value: &[u8]) -> DecodedBatches {
    decode_with(Policy::Off, signal, Encoding::Proto, value).unwrap()
}

pub(crate) fn mutate(mut bytes: Vec<u8>, changes: &[(usize, u8)], cut: usize) -> Vec<u8> {
    for (position, value) in changes {
        if !bytes.is_empty() {
            let position = position % bytes.len();
            bytes[position] = *value;
        }
    }
    bytes.truncate(bytes.len().saturating_sub(cut % 5));
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    /// Every field of every span comes back: nothing is lost or changed between bytes and rows.
    #[test]
    fn spans_come_back(request in traces(false)) {
        let batches = off(Signal::Spans, &request.encode_to_vec());
        let back = batches.spans.map(|batch| spans_to_otlp(&lake(Table::Spans, &batch)).unwrap()).unwrap_or_default();
        prop_assert_eq!(flat_spans(back), flat_spans(request));
    }

    /// Every field of every log record comes back.
    #[test]
    fn logs_come_back(request in logs(false)) {
        let batches = off(Signal::Logs, &request.encode_to_vec());
        let back = batches.logs.map(|batch| logs_to_otlp(&lake(Table::Logs, &batch)).unwrap()).unwrap_or_default();
        prop_assert_eq!(flat_logs(back), flat_logs(request));
    }

    /// Every field of every metric point comes back, for all five kinds.
    #[test]
    fn metrics_come_back(request in metrics(false)) {
        let batches = off(Signal::Metrics, &request.encode_to_vec());
        let back = batches.metrics.map(|batch| metrics_to_otlp(&lake(Table::Metrics, &batch)).unwrap()).unwrap_or_default();
        prop_assert_eq!(flat_metrics(back), flat_metrics(request));
    }

    /// The JSON of a request, as opentelemetry-proto writes it, gives the rows that its protobuf gives.
    #[test]
    fn json_gives_the_same_rows(spans in traces(true), logs in logs(true), metrics in metrics(true)) {
        let requests = [
            (Signal::Spans, spans.encode_to_vec(), serde_json::to_vec(&spans).unwrap()),
            (Signal::Logs, logs.encode_to_vec(), serde_json::to_vec(&logs).unwrap()),
            (Signal::Metrics, metrics.encode_to_vec(), serde_json::to_vec(&metrics).unwrap()),
        ];
        for (signal, proto, json) in requests {
            let proto = decode_with(Policy::Standard, signal, Encoding::Proto, &proto).unwrap();
            let json = decode_with(Policy::Standard, signal, Encoding::Json, &json).unwrap();
            prop_assert_eq!(proto.spans, json.spans);
            prop_assert_eq!(proto.logs, json.logs);
            prop_assert_eq!(proto.metrics, json.metrics);
            prop_assert_eq!(proto.redactions, json.redactions);
        }
    }

    /// Broken bytes never panic, never take memory out of proportion, and a message that is refused leaves no
    /// trace: what comes before and after gives the same rows as without it.
    #[test]
    fn broken_messages_leave_no_trace(
        good in traces(false),
        broken in prop_oneof![
            traces(false).prop_map(|request| request.encode_to_vec()),
            logs(false).prop_map(|request| request.encode_to_vec()),
            metrics(false).prop_map(|request| request.encode_to_vec()),
            traces(true).prop_map(|request| serde_json::to_vec(&request).unwrap()),
        ],
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in any::<usize>(),
    ) {
        let good = good.encode_to_vec();
        let broken = mutate(broken, &changes, cut);
        for signal in [Signal::Spans, Signal::Logs, Signal::Metrics] {
            for encoding in [Encoding::Proto, Encoding::Json, Encoding::Auto] {
                let mut with = decoder(Policy::Standard);
                with.decode(Signal::Spans, Encoding::Proto, message(&good)).unwrap();
                let before = with.bytes();
                let result = with.decode(signal, encoding, message(&broken));
                prop_assert!(with.bytes() - before <= 4096 + 64 * broken.len(), "{} bytes", with.bytes() - before);
                with.decode(Signal::Spans, Encoding::Proto, message(&good)).unwrap();
                let with = with.finish().unwrap();
                if result.is_err() {
                    let mut without = decoder(Policy::Standard);
                    without.decode(Signal::Spans, Encoding::Proto, message(&good)).unwrap();
                    without.decode(Signal::Spans, Encoding::Proto, message(&good)).unwrap();
                    let without = without.finish().unwrap();
                    // A refused message may leave entries in dictionaries that no row points to.
                    let lake_of = |batches: &DecodedBatches| batches.spans.as_ref().map(|batch| lake(Table::Spans, batch));
                    prop_assert_eq!(lake_of(&with), lake_of(&without));
                    prop_assert!(with.logs.is_none() && with.metrics.is_none());
                    prop_assert_eq!(with.counts, without.counts);
                    prop_assert_eq!(with.redactions, without.redactions);
                }
            }
        }
    }
}
