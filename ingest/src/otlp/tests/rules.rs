use arrow::datatypes::Int32Type;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::Status;

use super::*;

fn log_request(log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] }.encode_to_vec()
}

fn one_log(log: LogRecord) -> RecordBatch {
    lake(Table::Logs, &decode(Signal::Logs, &log_request(vec![log])).logs.unwrap())
}

/// Messages of a Collector's Kafka exporter, in both encodings, give the rows that their source had:
/// telemetrygen's spans with status Error of the service `checkout`, eight logs of one trace, three histograms.
#[test]
fn messages_of_a_collector() {
    let spans = decode(Signal::Spans, include_bytes!("../testdata/traces.binpb")).spans.unwrap();
    let spans = lake(Table::Spans, &spans);
    assert_eq!(spans.num_rows(), 20);
    let expected = [
        ("service_name", "checkout"),
        ("scope_name", "telemetrygen"),
        ("status_code", "ERROR"),
        ("http_request_method", "GET"),
        ("tenant_id", "acme"),
        ("kafka_topic", "t"),
        ("kafka_partition", "3"),
        ("kafka_offset", "7"),
        ("ingested_at", "1970-01-01T00:00:00.000000100"),
    ];
    for (column, value) in expected {
        assert_eq!(cell(&spans, column, 11).as_deref(), Some(value), "{column}");
    }
    let json = decode_with(Policy::Standard, Signal::Spans, Encoding::Json, include_bytes!("../testdata/traces.json"))
        .unwrap();
    assert_eq!(json.spans.unwrap().num_rows(), 4);
    assert!(json.counts.iter().next().is_none(), "a Collector's JSON has no deviations: {:?}", json.counts);

    for (encoding, bytes) in [
        (Encoding::Proto, &include_bytes!("../testdata/logs.binpb")[..]),
        (Encoding::Json, include_bytes!("../testdata/logs.json")),
    ] {
        let logs = decode_with(Policy::Standard, Signal::Logs, encoding, bytes).unwrap().logs.unwrap();
        let logs = lake(Table::Logs, &logs);
        assert_eq!(logs.num_rows(), 8);
        assert_eq!(cell(&logs, "body", 0).as_deref(), Some("the message"));
        assert_eq!(cell(&logs, "severity_number", 0).as_deref(), Some("9"));
        assert_eq!(cell(&logs, "dropped_attributes_count", 0).as_deref(), Some("1"));
    }
    for (encoding, bytes) in [
        (Encoding::Proto, &include_bytes!("../testdata/metrics.binpb")[..]),
        (Encoding::Json, include_bytes!("../testdata/metrics.json")),
    ] {
        let metrics = decode_with(Policy::Standard, Signal::Metrics, encoding, bytes).unwrap().metrics.unwrap();
        let metrics = lake(Table::Metrics, &metrics);
        assert_eq!(metrics.num_rows(), 3);
        assert_eq!(cell(&metrics, "kind", 2).as_deref(), Some("HISTOGRAM"));
        assert_eq!(cell(&metrics, "temporality", 2).as_deref(), Some("CUMULATIVE"));
        assert_eq!(cell(&metrics, "count", 2).as_deref(), Some("10"));
        assert_eq!(cell(&metrics, "schema_url", 2).as_deref(), Some("https://opentelemetry.io/schemas/1.40.0"));
    }
}

/// What an old instrumentation sends fills the same columns as a new one, and the old entries stay.
#[test]
fn old_names_fill_the_columns() {
    let old = vec![
        pair("http.method", string("POST")),
        pair("http.status_code", Value::IntValue(502)),
        pair("http.target", string("/checkout?step=2")),
        pair("net.peer.name", string("payments")),
        pair("rpc.service", string("shop.Payments")),
        pair("rpc.method", string("Pay")),
        pair("rpc.grpc.status_code", Value::IntValue(13)),
        pair("db.name", string("orders")),
    ];
    let resource = vec![
        pair("service.name", string("checkout")),
        pair("deployment.environment", string("production")),
        pair("k8s.pod.name", string("checkout-1")),
    ];
    let batch = one_span(resource, span(old));
    let expected = [
        ("http_request_method", "POST"),
        ("http_response_status_code", "502"),
        ("url_path", "/checkout"),
        ("server_address", "payments"),
        ("rpc_method", "shop.Payments/Pay"),
        ("rpc_status_code", "INTERNAL"),
        ("db_namespace", "orders"),
        ("deployment_environment_name", "production"),
        ("service_instance_id", "checkout-1"),
        ("duration_ns", "15"),
    ];
    for (column, value) in expected {
        assert_eq!(cell(&batch, column, 0).as_deref(), Some(value), "{column}");
    }
    assert_eq!(entry(&batch, "attributes", "http.method").as_deref(), Some("POST"));
    assert_eq!(entry(&batch, "attributes", "http.request.method").as_deref(), Some("POST"));
    assert_eq!(entry(&batch, "attributes_types", "http.request.method").as_deref(), Some("string"));
    assert_eq!(entry(&batch, "attributes_types", "http.response.status_code").as_deref(), Some("int"));
    assert_eq!(entry(&batch, "attributes", "rpc.method").as_deref(), Some("Pay"));
    assert_eq!(entry(&batch, "resource_attributes", "deployment.environment").as_deref(), Some("production"));
}

/// A status code that came as a double fills its column as an integer; a fraction fills nothing.
#[test]
fn whole_doubles_are_codes() {
    let code = |number| one_span(Vec::new(), span(vec![pair("http.status_code", Value::DoubleValue(number))]));
    let batch = code(200.0);
    assert_eq!(cell(&batch, "http_response_status_code", 0).as_deref(), Some("200"));
    assert_eq!(entry(&batch, "attributes", "http.status_code").as_deref(), Some("200.0"));
    assert_eq!(cell(&code(200.5), "http_response_status_code", 0), None);
}

/// Old names become new ones wherever attributes of a convention stand: on metric points, on their exemplars and on
/// links too, whose peers are those of a client.
#[test]
fn old_names_on_points_exemplars_and_links() {
    use opentelemetry_proto::tonic::metrics::v1::Exemplar;
    use opentelemetry_proto::tonic::trace::v1::span::Link;
    let old = || vec![pair("http.method", string("POST")), pair("net.peer.name", string("payments"))];
    let exemplar = Exemplar { filtered_attributes: old(), ..Default::default() };
    let point = NumberDataPoint { attributes: old(), exemplars: vec![exemplar], ..Default::default() };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point] }));
    let scope_metrics =
        vec![ScopeMetrics { metrics: vec![Metric { data, ..Default::default() }], ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
    let batch = lake(Table::Metrics, &decode(Signal::Metrics, &bytes).metrics.unwrap());
    assert_eq!(entry(&batch, "attributes", "http.request.method").as_deref(), Some("POST"));
    assert_eq!(entry(&batch, "attributes", "server.address").as_deref(), Some("payments"));
    let exemplars = format!("{:?}", batch.column_by_name("exemplars").unwrap());
    assert!(exemplars.contains("http.request.method"), "{exemplars}");

    let link = Link { trace_id: vec![3; 16], attributes: old(), ..Default::default() };
    let batch = one_span(Vec::new(), Span { kind: 2, links: vec![link], ..span(Vec::new()) });
    let links = format!("{:?}", batch.column_by_name("links").unwrap());
    assert!(links.contains("server.address"), "{links}");
}

/// Where old and new name come together nothing is added, the new value counts, and a difference is counted.
#[test]
fn both_names_are_kept() {
    let attributes = vec![pair("http.method", string("_OTHER")), pair("http.request.method", string("PATCH"))];
    let batches = decode(Signal::Spans, &request(Vec::new(), vec![span(attributes)]).encode_to_vec());
    let batch = lake(Table::Spans, &batches.spans.unwrap());
    let kept = entries(&batch, "attributes", 0);
    assert_eq!(
        kept,
        [("http.request.method".into(), Some("PATCH".into())), ("http.method".into(), Some("_OTHER".into()))]
    );
    assert_eq!(cell(&batch, "http_request_method", 0).as_deref(), Some("PATCH"));
    assert_eq!(batches.counts.rename_conflicts, 1);
}

/// A span without valid ids is dropped alone and counted; an invalid parent is no parent.
#[test]
fn bad_ids_drop_one_span() {
    let bad = |trace_id: &[u8], span_id: &[u8]| Span {
        trace_id: trace_id.into(),
        span_id: span_id.into(),
        ..span(Vec::new())
    };
    let orphan = Span { parent_span_id: vec![0; 8], ..span(Vec::new()) };
    let spans = vec![bad(&[0; 16], &[1; 8]), bad(&[1; 3], &[1; 8]), bad(&[1; 16], &[0; 8]), orphan];
    let batches = decode(Signal::Spans, &request(Vec::new(), spans).encode_to_vec());
    let batch = lake(Table::Spans, &batches.spans.unwrap());
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(cell(&batch, "parent_span_id", 0), None);
    assert_eq!(cell(&batch, "trace_id", 0).as_deref(), Some("01010101010101010101010101010101"));
    let counts: Vec<_> = batches.counts.iter().collect();
    assert_eq!(counts, [("invalid_trace_id", 2), ("invalid_span_id", 1), ("invalid_parent_id", 1)]);
}

/// What OTLP cannot tell from absent is null, never empty or 0 - but for counts and flags, where 0 is a value.
#[test]
fn absent_is_null() {
    let empty = Span { start_time_unix_nano: 0, name: String::new(), ..span(Vec::new()) };
    let batch = one_span(Vec::new(), Span { status: Some(Status::default()), ..empty });
    for column in ["name", "start_time", "duration_ns", "status_message", "trace_state", "service_name", "scope_name"] {
        assert_eq!(cell(&batch, column, 0), None, "{column}");
    }
    assert_eq!(cell(&batch, "status_code", 0).as_deref(), Some("UNSET"));
    assert_eq!(cell(&batch, "kind", 0).as_deref(), Some("UNSPECIFIED"));
    assert_eq!(cell(&batch, "flags", 0).as_deref(), Some("0"));
}

/// A log's time is its own, else the observed one, else Kafka's; severity and ids that are absent are null.
#[test]
fn times_of_logs() {
    let times = |time, observed| LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: observed,
        flags: 1,
        ..Default::default()
    };
    let time = |log| cell(&one_log(log), "time", 0).unwrap();
    assert!(time(times(5, 6)).ends_with("00.000000005"));
    assert!(time(times(0, 6)).ends_with("00.000000006"));
    let batch = one_log(times(0, 0));
    assert!(cell(&batch, "time", 0).unwrap().ends_with("00.000000099"));
    for column in ["observed_time", "severity_number", "trace_id", "span_id", "body", "body_type"] {
        assert_eq!(cell(&batch, column, 0), None, "{column}");
    }
}

/// The name of an event comes from its field or, from older libraries, from the attribute.
#[test]
fn names_of_events() {
    let attributes = vec![pair("event.name", string("feature_flag.evaluation"))];
    let named = |event_name: &str| LogRecord {
        event_name: event_name.into(),
        attributes: attributes.clone(),
        ..Default::default()
    };
    assert_eq!(cell(&one_log(named("")), "event_name", 0).as_deref(), Some("feature_flag.evaluation"));
    assert_eq!(cell(&one_log(named("app.crash")), "event_name", 0).as_deref(), Some("app.crash"));
}

/// The hash of a record does not depend on its place, any part of the record changes it, and so does the key.
#[test]
fn record_hashes_tell_records_apart() {
    let log = |body: &str, attributes| LogRecord {
        time_unix_nano: 5,
        body: Some(AnyValue { value: Some(string(body)) }),
        attributes,
        ..Default::default()
    };
    let plain = log("mail to a@example.com", Vec::new());
    let records = vec![
        plain.clone(),
        plain.clone(),
        log("mail to b@example.com", Vec::new()),
        log("mail to a@example.com", vec![pair("k", string("v"))]),
    ];
    let batch = lake(Table::Logs, &decode(Signal::Logs, &log_request(records)).logs.unwrap());
    let hash = |row| cell(&batch, "record_hash", row).unwrap();
    assert_eq!(hash(0), hash(1));
    assert_ne!(hash(0), hash(2), "the hash is of what was sent, not of what redaction left");
    assert_ne!(hash(0), hash(3));
    assert_eq!(cell(&batch, "body", 0), cell(&batch, "body", 2));
    assert_eq!(cell(&one_log(plain.clone()), "record_hash", 0), Some(hash(0)));

    let config = RedactionConfig { key: "another key, just as long as it has to be".into(), ..Default::default() };
    let other = Arc::new(Redactor::new(&config, &PayloadConfig::default()).unwrap());
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(other));
    decoder.decode(Signal::Logs, Encoding::Proto, message(&log_request(vec![plain]))).unwrap();
    let other = lake(Table::Logs, &decoder.finish().unwrap().logs.unwrap());
    assert_ne!(cell(&other, "record_hash", 0), Some(hash(0)), "without the key nobody can try what a record said");
}

/// An integer keeps all its digits beside the double; a point without a value has neither.
#[test]
fn integers_keep_their_digits() {
    let point = |value| NumberDataPoint { value, flags: 1, ..Default::default() };
    let int = number_data_point::Value::AsInt(9_007_199_254_740_993);
    let data = Data::Gauge(Gauge { data_points: vec![point(Some(int)), point(None)] });
    let metrics = vec![Metric { name: "m".into(), data: Some(data), ..Default::default() }, Metric::default()];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let request =
        ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..Default::default() }] };
    let batches = decode(Signal::Metrics, &request.encode_to_vec());
    assert_eq!(batches.counts.metrics_without_data, 1);
    let batch = lake(Table::Metrics, &batches.metrics.unwrap());
    assert_eq!(cell(&batch, "value_int", 0).as_deref(), Some("9007199254740993"));
    assert_eq!(cell(&batch, "value", 0).as_deref(), Some("9007199254740992.0"));
    assert_eq!((cell(&batch, "value", 1), cell(&batch, "value_int", 1)), (None, None));
    assert_eq!((cell(&batch, "temporality", 0), cell(&batch, "buckets", 0)), (None, None));
}

/// Many messages of few resources share their dictionary entries; tenants never do.
#[test]
fn resources_are_kept_once_a_tenant() {
    let bytes =
        request(vec![pair("service.name", string("checkout")), pair("user.id", string("u1"))], vec![span(Vec::new())])
            .encode_to_vec();
    let mut decoder = decoder(Policy::Standard);
    for tenant in ["a", "b", "a"] {
        decoder.decode(Signal::Spans, Encoding::Proto, Message { tenant, ..message(&bytes) }).unwrap();
    }
    assert_eq!(decoder.rows(), 3);
    let batch = decoder.finish().unwrap().spans.unwrap();
    let services = batch.column_by_name("service_name").unwrap().as_dictionary::<Int32Type>();
    assert_eq!(services.values().len(), 2);
    assert_eq!(services.keys().values(), &[0, 1, 0]);
    let batch = lake(Table::Spans, &batch);
    let users: Vec<_> = (0..3).map(|row| entries(&batch, "resource_attributes", row)[1].1.clone()).collect();
    assert_eq!(users[0], users[2]);
    assert_ne!(users[0], users[1], "an identifier has another token for every tenant");
    assert_eq!(cell(&batch, "tenant_id", 1).as_deref(), Some("b"));
    assert_eq!(decoder.finish().unwrap().spans, None);
}

/// Named headers of a record become attributes of all its resources, as a text or, repeated, as an array, redacted by
/// the rule of their name; the same resource under other headers is another one.
#[test]
fn headers_become_attributes() {
    let bytes = request(vec![pair("service.name", string("checkout"))], vec![span(Vec::new())]).encode_to_vec();
    let lab: &[(&str, Option<&[u8]>)] = &[
        ("env", Some(b"lab")),
        ("zone", Some(b"a")),
        ("zone", None),
        ("authorization", Some(b"hunter2")),
        ("note", Some(b"to jane@example.com")),
    ];
    let shop: &[(&str, Option<&[u8]>)] = &[("env", Some(b"shop"))];
    let mut decoder = decoder(Policy::Standard);
    for headers in [lab, shop, &[], lab] {
        decoder.decode(Signal::Spans, Encoding::Proto, Message { headers, ..message(&bytes) }).unwrap();
    }
    let batch = lake(Table::Spans, &decoder.finish().unwrap().spans.unwrap());
    let value = |row, key: &str| {
        let entries = entries(&batch, "resource_attributes", row);
        entries.into_iter().find(|(name, _)| name == key).and_then(|(_, value)| value)
    };
    for row in [0, 3] {
        assert_eq!(value(row, "kafka.header.env").as_deref(), Some("lab"));
        let zone = r#"[{"stringValue":"a"},{"stringValue":""}]"#;
        assert_eq!(value(row, "kafka.header.zone").as_deref(), Some(zone));
        assert_eq!(value(row, "kafka.header.authorization").as_deref(), Some("<credentials>"));
        assert_eq!(value(row, "kafka.header.note").as_deref(), Some("to <email>"));
    }
    assert_eq!(value(1, "kafka.header.env").as_deref(), Some("shop"));
    assert_eq!(value(2, "kafka.header.env"), None);
    for row in 0..4 {
        assert_eq!(cell(&batch, "service_name", row).as_deref(), Some("checkout"));
    }
}

/// Errors name what was expected, where it went wrong, and what else the topic may hold.
#[test]
fn errors_say_what_to_look_at() {
    let proto = decode_with(Policy::Standard, Signal::Spans, Encoding::Proto, b"{\"resourceSpans\":[]}").unwrap_err();
    assert_eq!(
        proto.to_string(),
        "not an ExportTraceServiceRequest in otlp_proto: illegal wire type 3 at byte 0; does the topic hold otlp_json?"
    );
    assert_eq!(proto.reason(), "decode");
    let json = decode_with(Policy::Standard, Signal::Logs, Encoding::Json, &[0x0a, 0x00]).unwrap_err();
    assert!(json.to_string().starts_with("not an ExportLogsServiceRequest in otlp_json: "), "{json}");
    assert!(json.to_string().ends_with("does the topic hold otlp_proto?"), "{json}");
}

/// Messages of another kind that can be read all the same are refused and say so: metrics and unknown fields on a
/// topic of spans, spans none of which has valid ids. An empty message, and one without records, is none of these.
#[test]
fn messages_of_another_kind_are_refused() {
    let spans = |value: &[u8]| decode_with(Policy::Standard, Signal::Spans, Encoding::Proto, value);
    let metrics = spans(include_bytes!("../testdata/metrics.binpb")).unwrap_err();
    assert_eq!(metrics.reason(), "decode");
    assert!(spans(&[0x12, 0x01, b'x']).unwrap_err().to_string().contains("another signal"));
    let no_ids = request(Vec::new(), vec![Span { trace_id: Vec::new(), ..span(Vec::new()) }]).encode_to_vec();
    let error = spans(&no_ids).unwrap_err();
    assert!(error.to_string().contains("valid trace id"), "{error}");
    for empty in [Vec::new(), request(Vec::new(), Vec::new()).encode_to_vec()] {
        assert!(spans(&empty).unwrap().spans.is_none());
    }
}

/// Values nested beyond what any reader takes are refused, not followed.
#[test]
fn deep_nesting_is_refused() {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    let nest = |levels: usize| {
        (0..levels).fold(string("x"), |inner, _| {
            Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] })
        })
    };
    let bytes = |levels| request(Vec::new(), vec![span(vec![pair("k", nest(levels))])]).encode_to_vec();
    assert!(decode_with(Policy::Standard, Signal::Spans, Encoding::Proto, &bytes(30)).is_ok());
    let error = decode_with(Policy::Standard, Signal::Spans, Encoding::Proto, &bytes(31)).unwrap_err();
    assert!(error.to_string().contains("nested deeper than 30 levels"), "{error}");
}

/// Arrays in arrays, deeper than any that are read.
fn too_deep() -> KeyValue {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    let nest = |inner, _| Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] });
    pair("deep", (0..31).fold(string("x"), nest))
}

/// A bad record in a good message is dropped alone, with everything that was written of it: its attributes, events
/// and payloads. The records around it are those of a message without it, with their own origin.
#[test]
fn a_bad_span_is_dropped_alone() {
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    let good = |name: &str| Span {
        name: name.into(),
        events: vec![Event { name: name.into(), ..Default::default() }],
        ..span(vec![pair("k", string(name)), pair("http.request.body.content", string("{}"))])
    };
    let bad_attribute = Span { attributes: [good("x").attributes, vec![too_deep()]].concat(), ..good("bad") };
    let bad_event = Span {
        events: vec![
            Event { name: "half".into(), ..Default::default() },
            Event { attributes: vec![pair("half", string("x")), too_deep()], ..Default::default() },
        ],
        ..good("bad")
    };
    let before = request(Vec::new(), vec![good("before")]).encode_to_vec();
    let with = request(Vec::new(), vec![bad_attribute, good("one"), bad_event, good("two")]).encode_to_vec();
    let without = request(Vec::new(), vec![good("one"), good("two")]).encode_to_vec();
    let decoded = |second: &[u8]| {
        let mut decoder = decoder(Policy::Standard);
        decoder.decode(Signal::Spans, Encoding::Proto, Message { tenant: "other", ..message(&before) }).unwrap();
        decoder.decode(Signal::Spans, Encoding::Proto, message(second)).unwrap();
        decoder.finish().unwrap()
    };
    let (with, without) = (decoded(&with), decoded(&without));
    assert_eq!((with.counts.bad_records, without.counts.bad_records), (2, 0));
    assert_eq!(with.payloads, without.payloads);
    let [with, without] = [with, without].map(|batches| lake(Table::Spans, &batches.spans.unwrap()));
    assert_eq!(with, without);
    let tenants: Vec<_> = (0..3).map(|row| cell(&with, "tenant_id", row).unwrap()).collect();
    assert_eq!(tenants, ["other", "acme", "acme"]);
}

/// The same for log records and for the points of a metric; a message of bad records only is refused with the first
/// one's error.
#[test]
fn bad_logs_and_points_are_dropped_alone() {
    let log = |attributes| LogRecord { time_unix_nano: 5, attributes, ..Default::default() };
    let logs = decode(Signal::Logs, &log_request(vec![log(vec![too_deep()]), log(Vec::new())]));
    assert_eq!((logs.logs.unwrap().num_rows(), logs.counts.bad_records), (1, 1));

    let point = |value, attributes| NumberDataPoint {
        attributes,
        value: Some(number_data_point::Value::AsInt(value)),
        ..Default::default()
    };
    let points = vec![point(1, Vec::new()), point(2, vec![too_deep()]), point(3, Vec::new())];
    let metric =
        |data_points| Metric { name: "m".into(), data: Some(Data::Gauge(Gauge { data_points })), ..Default::default() };
    let request = |metrics| ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics { metrics, ..Default::default() }],
            ..Default::default()
        }],
    };
    let metrics = decode(Signal::Metrics, &request(vec![metric(points)]).encode_to_vec());
    let rows = lake(Table::Metrics, &metrics.metrics.unwrap());
    let values: Vec<_> = (0..rows.num_rows()).map(|row| cell(&rows, "value_int", row).unwrap()).collect();
    assert_eq!((values, metrics.counts.bad_records), (vec!["1".to_owned(), "3".to_owned()], 1));

    let all_bad = request(vec![metric(vec![point(2, vec![too_deep()])])]).encode_to_vec();
    let error = decode_with(Policy::Standard, Signal::Metrics, Encoding::Proto, &all_bad).unwrap_err();
    assert!(error.to_string().contains("nested deeper"), "{error}");
}

/// A message with more records than are taken is refused as a whole.
#[test]
fn too_many_records_are_refused() {
    let mut decoder = OtlpDecoder::new(DecoderConfig { max_records: 1, ..DecoderConfig::new(redactor(Policy::Off)) });
    let bytes = request(Vec::new(), vec![span(Vec::new()), span(Vec::new())]).encode_to_vec();
    let error = decoder.decode(Signal::Spans, Encoding::Proto, message(&bytes)).unwrap_err();
    assert!(matches!(error, DecodeError::TooManyRecords { limit: 1 }), "{error}");
    assert_eq!((decoder.rows(), error.reason()), (0, "too_large"));
}

/// Many small records take many times their size: a message is stopped soon after its rows have passed their bound, is
/// refused as a whole and leaves nothing; what came before it stays, and the next one is taken.
#[test]
fn rows_of_one_message_are_bounded() {
    let few = request(Vec::new(), vec![span(Vec::new()); 1_000]).encode_to_vec();
    let many = request(Vec::new(), vec![span(Vec::new()); 100_000]).encode_to_vec();
    let mut decoder =
        OtlpDecoder::new(DecoderConfig { max_row_bytes: 1 << 20, ..DecoderConfig::new(redactor(Policy::Off)) });
    decoder.decode(Signal::Spans, Encoding::Proto, message(&few)).unwrap();
    let error = decoder.decode(Signal::Spans, Encoding::Proto, message(&many)).unwrap_err();
    let DecodeError::TooLarge { bytes, limit } = error else { panic!("{error}") };
    assert!(limit == 1 << 20 && bytes > limit && bytes < 2 * limit, "{bytes} of {limit}");
    assert_eq!((decoder.rows(), error.reason()), (1_000, "too_large"));
    decoder.decode(Signal::Spans, Encoding::Proto, message(&few)).unwrap();
    assert_eq!(decoder.rows(), 2_000);
}

/// The points of one metric are bounded while they are read, in number and in what they repeat of it; the message
/// is refused as a whole and leaves nothing.
#[test]
fn points_of_one_metric_are_bounded() {
    let data_points = vec![NumberDataPoint { time_unix_nano: 1, ..Default::default() }; 100];
    let data = Some(Data::Gauge(Gauge { data_points }));
    let metrics = vec![Metric { name: "n".repeat(1_000), data, ..Default::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
    let refused = |config: DecoderConfig| {
        let mut decoder = OtlpDecoder::new(config);
        let error = decoder.decode(Signal::Metrics, Encoding::Proto, message(&bytes)).unwrap_err();
        assert_eq!((decoder.rows(), error.reason()), (0, "too_large"));
        assert!(decoder.bytes() < 4_096, "{}", decoder.bytes());
        error
    };
    let config = || DecoderConfig::new(redactor(Policy::Standard));
    assert!(matches!(
        refused(DecoderConfig { max_records: 10, ..config() }),
        DecodeError::TooManyRecords { limit: 10 }
    ));
    let error = refused(DecoderConfig { max_point_bytes: 20_000, ..config() });
    assert!(matches!(error, DecodeError::TooLarge { bytes: 20_001..=22_000, limit: 20_000 }), "{error}");
    assert_eq!(decode(Signal::Metrics, &bytes).metrics.unwrap().num_rows(), 100);
}

/// Bytes that are no UTF-8 become U+FFFD and are counted; the message is taken.
#[test]
fn invalid_utf8_is_taken() {
    let mut bytes = request(Vec::new(), vec![span(vec![pair("k", string("abcde"))])]).encode_to_vec();
    let position = bytes.windows(5).position(|window| window == b"abcde").unwrap();
    bytes[position] = 0xff;
    let batches = decode(Signal::Spans, &bytes);
    let batch = lake(Table::Spans, &batches.spans.unwrap());
    assert_eq!(entry(&batch, "attributes", "k").as_deref(), Some("\u{fffd}bcde"));
    assert_eq!(batches.counts.invalid_utf8, 1);
}
