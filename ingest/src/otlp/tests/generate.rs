//! Requests of every shape, for properties.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z]{1,6}", "\\PC{0,6}", Just("a\"\\\n\u{1}\u{e9}".to_owned())]
}

/// Names with and without renames, so that old and new ones often meet in one list.
fn key() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "http.method",
        "http.request.method",
        "http.status_code",
        "http.response.status_code",
        "http.target",
        "url.path",
        "url.query",
        "http.host",
        "net.peer.name",
        "net.peer.port",
        "server.address",
        "server.port",
        "client.address",
        "http.flavor",
        "network.protocol.name",
        "rpc.service",
        "rpc.method",
        "rpc.grpc.status_code",
        "rpc.status_code",
        "db.system",
        "db.name",
        "db.namespace",
        "db.redis.database_index",
        "code.function",
        "code.namespace",
        "code.function.name",
        "k8s.pod.labels.app",
        "k8s.pod.label.app",
        "service.name",
        "service.instance.id",
        "k8s.pod.name",
        "deployment.environment",
        "db.connection_string",
    ];
    prop_oneof![3 => prop::sample::select(NAMES).prop_map(str::to_owned), 1 => text()]
}

fn double(finite: bool) -> BoxedStrategy<f64> {
    let finite_ones = prop_oneof![Just(0.5), Just(-1e300), Just(5e-324), Just(1e16), Just(123_456_789.0), -1e6..1e6f64];
    if finite {
        return finite_ones.boxed();
    }
    prop_oneof![3 => finite_ones, 1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY])].boxed()
}

fn int() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), any::<i64>(), -5..500i64]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(i64::MAX as u64), 1..=i64::MAX as u64]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(u32::MAX), any::<u32>()]
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., length)
}

fn maybe_id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), id(length)]
}

pub(super) fn any_value(finite: bool) -> BoxedStrategy<AnyValue> {
    let leaf = prop_oneof![
        Just(AnyValue { value: None }),
        prop_oneof![
            4 => text().prop_map(Value::StringValue),
            1 => any::<bool>().prop_map(Value::BoolValue),
            2 => int().prop_map(Value::IntValue),
            2 => double(finite).prop_map(Value::DoubleValue),
            1 => vec(any::<u8>(), 0..6).prop_map(Value::BytesValue),
        ]
        .prop_map(|value| AnyValue { value: Some(value) }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let pair =
            (text(), option::of(inner.clone())).prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 });
        prop_oneof![
            vec(inner, 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(pair, 0..3).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
    .boxed()
}

fn attributes(finite: bool) -> BoxedStrategy<Vec<KeyValue>> {
    let pair = (key(), option::weighted(0.9, any_value(finite)));
    vec(pair.prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 }), 0..6).boxed()
}

fn resource(finite: bool) -> impl Strategy<Value = Option<Resource>> {
    let entity = (text(), text(), vec(text(), 0..3), vec(text(), 0..2)).prop_map(
        |(schema_url, kind, id_keys, description_keys)| EntityRef {
            schema_url,
            r#type: kind,
            id_keys,
            description_keys,
        },
    );
    (attributes(finite), count(), vec(entity, 0..2)).prop_map(|(attributes, dropped_attributes_count, entity_refs)| {
        Some(Resource { attributes, dropped_attributes_count, entity_refs })
    })
}

fn scope(finite: bool) -> impl Strategy<Value = Option<InstrumentationScope>> {
    (text(), text(), attributes(finite), count()).prop_map(|(name, version, attributes, dropped_attributes_count)| {
        Some(InstrumentationScope { name, version, attributes, dropped_attributes_count })
    })
}

fn event(finite: bool) -> impl Strategy<Value = Event> {
    (time(), text(), attributes(finite), count()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link(finite: bool) -> impl Strategy<Value = Link> {
    (maybe_id(16), maybe_id(8), text(), attributes(finite), count(), count()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn status() -> impl Strategy<Value = Option<Status>> {
    (text(), 0..5i32).prop_map(|(message, code)| (code != 0 || !message.is_empty()).then_some(Status { message, code }))
}

fn span(finite: bool) -> impl Strategy<Value = Span> {
    (
        (id(16), id(8), maybe_id(8), text(), text(), -2..9i32, count()),
        (time(), time(), status(), count(), count(), count()),
        (attributes(finite), vec(event(finite), 0..3), vec(link(finite), 0..2)),
    )
        .prop_map(|(head, scalars, lists)| Span {
            trace_id: head.0,
            span_id: head.1,
            parent_span_id: head.2,
            trace_state: head.3,
            name: head.4,
            kind: head.5,
            flags: head.6,
            start_time_unix_nano: scalars.0,
            end_time_unix_nano: scalars.1,
            status: scalars.2,
            dropped_attributes_count: scalars.3,
            dropped_events_count: scalars.4,
            dropped_links_count: scalars.5,
            attributes: lists.0,
            events: lists.1,
            links: lists.2,
        })
}

pub(crate) fn traces(finite: bool) -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (scope(finite), vec(span(finite), 0..3), text())
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (resource(finite), vec(scope_spans, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn log(finite: bool) -> impl Strategy<Value = LogRecord> {
    (
        (1..=i64::MAX as u64, time(), 0..30i32, text(), text(), count(), count()),
        (option::of(any_value(finite)), attributes(finite), maybe_id(16), maybe_id(8)),
    )
        .prop_map(|(head, rest)| LogRecord {
            time_unix_nano: head.0,
            observed_time_unix_nano: head.1,
            severity_number: head.2,
            severity_text: head.3,
            event_name: head.4,
            flags: head.5,
            dropped_attributes_count: head.6,
            body: rest.0,
            attributes: rest.1,
            trace_id: rest.2,
            span_id: rest.3,
        })
}

pub(crate) fn logs(finite: bool) -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (scope(finite), vec(log(finite), 0..4), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (resource(finite), vec(scope_logs, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn exemplar(finite: bool) -> impl Strategy<Value = Exemplar> {
    let value =
        prop_oneof![double(finite).prop_map(exemplar::Value::AsDouble), int().prop_map(exemplar::Value::AsInt),];
    (attributes(finite), time(), option::of(value), maybe_id(8), maybe_id(16)).prop_map(
        |(filtered_attributes, time_unix_nano, value, span_id, trace_id)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            value,
            span_id,
            trace_id,
        },
    )
}

fn number(finite: bool) -> impl Strategy<Value = NumberDataPoint> {
    let value = prop_oneof![
        double(finite).prop_map(number_data_point::Value::AsDouble),
        int().prop_map(number_data_point::Value::AsInt),
    ];
    (attributes(finite), time(), time(), option::of(value), vec(exemplar(finite), 0..2), count()).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, value, exemplars, flags)| NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            value,
            exemplars,
            flags,
        },
    )
}

fn histogram(finite: bool) -> impl Strategy<Value = HistogramDataPoint> {
    (
        (attributes(finite), time(), time(), time(), count()),
        (vec(time(), 0..4), vec(double(finite), 0..4), vec(exemplar(finite), 0..2)),
        (option::of(double(finite)), option::of(double(finite)), option::of(double(finite))),
    )
        .prop_map(|(head, lists, doubles)| HistogramDataPoint {
            attributes: head.0,
            start_time_unix_nano: head.1,
            time_unix_nano: head.2,
            count: head.3,
            flags: head.4,
            bucket_counts: lists.0,
            explicit_bounds: lists.1,
            exemplars: lists.2,
            sum: doubles.0,
            min: doubles.1,
            max: doubles.2,
        })
}

fn exponential(finite: bool) -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let buckets = || {
        option::of(
            (any::<i32>(), vec(time(), 0..3)).prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts }),
        )
    };
    (
        (attributes(finite), time(), time(), time(), count(), any::<i32>(), time()),
        (buckets(), buckets(), vec(exemplar(finite), 0..2)),
        (option::of(double(finite)), option::of(double(finite)), option::of(double(finite)), double(finite)),
    )
        .prop_map(|(head, lists, doubles)| ExponentialHistogramDataPoint {
            attributes: head.0,
            start_time_unix_nano: head.1,
            time_unix_nano: head.2,
            count: head.3,
            flags: head.4,
            scale: head.5,
            zero_count: head.6,
            positive: lists.0,
            negative: lists.1,
            exemplars: lists.2,
            sum: doubles.0,
            min: doubles.1,
            max: doubles.2,
            zero_threshold: doubles.3,
        })
}

fn summary(finite: bool) -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (double(finite), double(finite)).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (attributes(finite), time(), time(), time(), double(finite), vec(quantile, 0..3), count()).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, count, sum, quantile_values, flags)| SummaryDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            count,
            sum,
            quantile_values,
            flags,
        },
    )
}

fn data(finite: bool) -> impl Strategy<Value = Data> {
    prop_oneof![
        vec(number(finite), 0..3).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number(finite), 0..3), 0..4i32, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram(finite), 0..3), 0..3i32).prop_map(|(data_points, aggregation_temporality)| {
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential(finite), 0..3), 0..3i32).prop_map(|(data_points, aggregation_temporality)| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary(finite), 0..3).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ]
}

pub(crate) fn metrics(finite: bool) -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = (text(), text(), text(), attributes(finite), data(finite)).prop_map(
        |(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data: Some(data) },
    );
    let scope_metrics = (scope(finite), vec(metric, 0..3), text())
        .prop_map(|(scope, metrics, schema_url)| ScopeMetrics { scope, metrics, schema_url });
    let resource_metrics = (resource(finite), vec(scope_metrics, 0..2), text())
        .prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url });
    vec(resource_metrics, 0..2).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}
