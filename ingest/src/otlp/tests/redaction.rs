use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use super::*;
use crate::redact::Class;

const MAIL: &str = "jane.doe@example.com";
const CARD: i64 = 4_111_111_111_111_111;

pub(super) fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(super) fn list(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values })
}

/// Everything in a batch as text.
fn everything(batch: &RecordBatch) -> String {
    format!("{batch:?}")
}

/// Personal data planted in every place of a span where text can stand is in no column.
#[test]
fn nothing_personal_in_any_column_of_a_span() {
    let text = || string(MAIL);
    let attributes = vec![
        pair("note", text()),
        pair("db.statement", string("SELECT * FROM u WHERE m = 'jane.doe@example.com'")),
        pair("card", Value::IntValue(CARD)),
        pair("card.double", Value::DoubleValue(CARD as f64)),
        pair("raw", Value::BytesValue(MAIL.into())),
        pair("array", Value::ArrayValue(ArrayValue { values: vec![any(text()), any(Value::IntValue(CARD))] })),
        pair(
            "process.command_args",
            Value::ArrayValue(ArrayValue { values: vec![any(string("--db-password")), any(string("hunter2"))] }),
        ),
        pair(
            "list",
            list(vec![
                pair("inner", text()),
                pair("password", string("hunter2")),
                pair("deep", list(vec![pair("x", text())])),
            ]),
        ),
    ];
    let event = Event {
        name: MAIL.into(),
        attributes: vec![pair("exception.message", text()), pair("exception.stacktrace", text())],
        ..Default::default()
    };
    let link = Link { trace_id: vec![3; 16], attributes: vec![pair("note", text())], ..Default::default() };
    let planted = Span {
        name: format!("GET /users/{MAIL}"),
        status: Some(Status { message: format!("no such user {MAIL}"), code: 2 }),
        events: vec![event],
        links: vec![link],
        ..span(attributes)
    };
    let batches = decode(Signal::Spans, &request(vec![pair("owner", text())], vec![planted]).encode_to_vec());
    let batch = lake(Table::Spans, &batches.spans.unwrap());
    let all = everything(&batch);
    for secret in [MAIL, "4111111111111111", "hunter2", "amFuZS5kb2VAZXhhbXBsZS5jb20"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    assert_eq!(cell(&batch, "name", 0).as_deref(), Some("GET /users/<email>"));
    assert_eq!(entry(&batch, "attributes", "card").as_deref(), Some("<card>"));
    assert_eq!(entry(&batch, "attributes_types", "card"), None, "a masked number is a string");
    // The old name's value is masked under the new one too, and counted once.
    assert!(entry(&batch, "attributes", "db.query.text").unwrap().contains("<email>"));
    assert_eq!(batches.redactions.get(Class::Email), 13);
    assert_eq!(batches.redactions.get(Class::Card), 3);
}

/// Personal data in a log's body, plain or structured, is in no column.
#[test]
fn nothing_personal_in_any_column_of_a_log() {
    let record =
        |body| LogRecord { time_unix_nano: 1, body: Some(any(body)), event_name: MAIL.into(), ..Default::default() };
    let log_records = vec![
        record(string("mail to jane.doe@example.com failed")),
        record(list(vec![pair("user", list(vec![pair("mail", string(MAIL))])), pair("card", Value::IntValue(CARD))])),
    ];
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
    let batch = lake(Table::Logs, &decode(Signal::Logs, &request.encode_to_vec()).logs.unwrap());
    let all = everything(&batch);
    assert!(!all.contains(MAIL) && !all.contains("4111111111111111"), "{all}");
    assert_eq!(cell(&batch, "body", 0).as_deref(), Some("mail to <email> failed"));
    assert_eq!(cell(&batch, "body_type", 0), None);
    assert_eq!(cell(&batch, "body_type", 1).as_deref(), Some("kvlist"));
    let body: serde_json::Value = serde_json::from_str(&cell(&batch, "body", 1).unwrap()).unwrap();
    assert_eq!(body[1]["value"]["stringValue"], "<card>");
}

/// Names of attributes and of entries of maps, on spans and in bodies, are masked as values are, whatever else the name
/// says. Two that become equal keep both entries, with their types, in their order; a record that differs from another in
/// such a name alone is another record.
#[test]
fn names_are_masked() {
    let open = |person: &str| format!("orders of {person} (open)");
    let carts = || list(vec![pair(MAIL, string("3 items")), pair(&open("max@example.org"), Value::IntValue(2))]);
    let attributes = vec![
        pair(&open(MAIL), Value::IntValue(1)),
        pair("note", string("between")),
        pair(&open("max@example.org"), string("two")),
        pair("app.carts", carts()),
        pair("cache ghp_0123456789abcdefghij0123456789abcdef hit", Value::BoolValue(true)),
        pair("rpc.grpc.request.metadata.ghp_0123456789abcdefghij0123456789abcdef", string("renamed")),
    ];
    let batches =
        decode(Signal::Spans, &request(vec![pair(&open(MAIL), carts())], vec![span(attributes)]).encode_to_vec());
    let batch = lake(Table::Spans, &batches.spans.unwrap());
    let all = everything(&batch);
    for secret in [MAIL, "max@example.org", "ghp_"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    let masked = open("<email>");
    let of = |column: &str| -> Vec<Option<String>> {
        entries(&batch, column, 0).into_iter().filter(|(name, _)| *name == masked).map(|(_, value)| value).collect()
    };
    assert_eq!(of("attributes"), [Some("1".to_owned()), Some("two".to_owned())]);
    assert_eq!(of("attributes_types"), [Some("int".to_owned()), Some("string".to_owned())]);
    assert_eq!(entry(&batch, "attributes", "cache <key> hit").as_deref(), Some("true"));
    for name in ["rpc.grpc.request.metadata.<key>", "rpc.request.metadata.<key>"] {
        assert_eq!(entry(&batch, "attributes", name).as_deref(), Some("renamed"), "{name}");
    }
    let carts = entry(&batch, "attributes", "app.carts").unwrap();
    assert!(carts.contains(&masked) && carts.contains("\"intValue\":\"2\""), "{carts}");

    let record = |person: &str| LogRecord {
        time_unix_nano: 1,
        body: Some(any(list(vec![pair(MAIL, string("x"))]))),
        attributes: vec![pair(&open(person), string("x"))],
        ..Default::default()
    };
    let log_records = vec![record(MAIL), record("max@example.org"), record(MAIL)];
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
    let batch = lake(Table::Logs, &decode(Signal::Logs, &request.encode_to_vec()).logs.unwrap());
    assert!(!everything(&batch).contains("example"), "{}", everything(&batch));
    let hashes: Vec<_> = (0..3).map(|row| cell(&batch, "record_hash", row).unwrap()).collect();
    assert!(hashes[0] != hashes[1] && hashes[0] == hashes[2], "{hashes:?}");
}

/// A payload is never stored: its shape goes to `payloads`, with the ids of its span and the content type
/// that may stand behind it.
#[test]
fn payloads_leave_their_shape() {
    let body = r#"{"amount": 12.5, "customer_id": "c-77", "mail": "jane.doe@example.com"}"#;
    let content_type = Value::ArrayValue(ArrayValue { values: vec![any(string("application/json; charset=utf-8"))] });
    let attributes = vec![
        pair("http.request.body.content", string(body)),
        pair("http.request.header.content-type", content_type),
        pair("http.response.body.content", Value::BytesValue(b"gone".to_vec())),
    ];
    let batches = decode(Signal::Spans, &request(Vec::new(), vec![span(Vec::new()), span(attributes)]).encode_to_vec());
    let spans = lake(Table::Spans, batches.spans.as_ref().unwrap());
    assert_eq!(entries(&spans, "attributes", 1)[0].1.as_deref(), Some("<payload>"));
    let payloads = batches.payloads.unwrap();
    assert_eq!(payloads.schema(), Table::Payloads.lake_schema());
    assert_eq!(payloads.num_rows(), 2);
    let expected = [
        ("direction", "request"),
        ("content_type", "application/json"),
        ("span_id", "0202020202020202"),
        ("tenant_id", "acme"),
        ("kafka_offset", "7"),
    ];
    for (column, value) in expected {
        assert_eq!(cell(&payloads, column, 0).as_deref(), Some(value), "{column}");
    }
    assert_eq!(cell(&payloads, "size_bytes", 0), Some(body.len().to_string()));
    let shape: serde_json::Value = serde_json::from_str(&cell(&payloads, "shape", 0).unwrap()).unwrap();
    assert_eq!(shape["amount"], "number");
    assert_eq!(cell(&payloads, "direction", 1).as_deref(), Some("response"));
    for batch in [&spans, &payloads] {
        assert!(!everything(batch).contains("c-77") && !everything(batch).contains(MAIL));
    }
}

/// A payload that was sent as a map is summarised as the JSON that it stands for, with the names of its own fields.
#[test]
fn structured_payloads_have_their_own_shape() {
    let items = Value::ArrayValue(ArrayValue { values: vec![any(Value::IntValue(3)), any(Value::DoubleValue(2.5))] });
    let body = list(vec![
        pair("amount", Value::DoubleValue(12.5)),
        pair("customer", list(vec![pair("id", Value::IntValue(1077)), pair("tier", string("GOLD"))])),
        pair("items", items),
        pair("express", Value::BoolValue(true)),
        KeyValue { key: "note".to_owned(), value: None, key_strindex: 0 },
    ]);
    let attributes = vec![pair("http.request.body.content", body)];
    let batches = decode(Signal::Spans, &request(Vec::new(), vec![span(attributes)]).encode_to_vec());
    let payloads = batches.payloads.unwrap();
    assert_eq!(cell(&payloads, "content_type", 0).as_deref(), Some("application/json"));
    let json = |column| -> serde_json::Value { serde_json::from_str(&cell(&payloads, column, 0).unwrap()).unwrap() };
    let shape = serde_json::json!({
        "amount": "number", "customer": {"tier": "string"}, "items": ["number", "number"], "express": "boolean",
        "note": "null",
    });
    assert_eq!(json("shape"), shape);
    assert_eq!(json("sample")["items"], serde_json::json!([3, 2.5]));
    assert!(cell(&payloads, "redactions", 0).unwrap().contains("customer/id"));
    assert!(!everything(&payloads).contains("1077"));
}

/// A message that is refused leaves no payload either.
#[test]
fn refused_messages_leave_no_payload() {
    let mut bytes =
        request(Vec::new(), vec![span(vec![pair("http.request.body.content", string("{}"))])]).encode_to_vec();
    bytes.extend_from_slice(&[0x0a, 0x7f]);
    let mut decoder = decoder(Policy::Standard);
    assert!(decoder.decode(Signal::Spans, Encoding::Proto, message(&bytes)).is_err());
    let batches = decoder.finish().unwrap();
    assert!(batches.payloads.is_none() && batches.spans.is_none() && batches.redactions.is_empty());
}

/// Payloads of a refused message of another tenant leave nothing behind: the next message's payloads are its own.
#[test]
fn payloads_belong_to_their_message() {
    let payload = || vec![span(vec![pair("http.request.body.content", string("{}"))])];
    let good = request(Vec::new(), payload()).encode_to_vec();
    let mut refused = request(Vec::new(), [payload(), payload(), payload()].concat()).encode_to_vec();
    refused.extend_from_slice(&[0x0a, 0x7f]);
    let mut decoder = decoder(Policy::Standard);
    let of = |value, tenant, offset| Message { value, tenant, offset, ..message(&[]) };
    decoder.decode(Signal::Spans, Encoding::Proto, of(&good[..], "one", 1)).unwrap();
    assert!(decoder.decode(Signal::Spans, Encoding::Proto, of(&refused[..], "two", 2)).is_err());
    decoder.decode(Signal::Spans, Encoding::Proto, of(&good[..], "three", 3)).unwrap();
    let payloads = decoder.finish().unwrap().payloads.unwrap();
    assert_eq!(payloads.num_rows(), 2);
    for (row, tenant, offset) in [(0, "one", "1"), (1, "three", "3")] {
        assert_eq!(cell(&payloads, "tenant_id", row).as_deref(), Some(tenant));
        assert_eq!(cell(&payloads, "kafka_offset", row).as_deref(), Some(offset));
    }
}

/// A deny pattern on an old name masks what is derived from it as well, and the strict policy leaves out what
/// is not allowed by name but keeps the current name's column.
#[test]
fn policies_hold_for_derived_entries() {
    let config = RedactionConfig {
        key: "a key of the tests, long enough".into(),
        deny_patterns: vec!["^http\\.url$".into()],
        ..Default::default()
    };
    let redactor = Arc::new(Redactor::new(&config, &PayloadConfig::default()).unwrap());
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(redactor));
    let bytes = request(Vec::new(), vec![span(vec![pair("http.url", string("http://secret/"))])]).encode_to_vec();
    decoder.decode(Signal::Spans, Encoding::Proto, message(&bytes)).unwrap();
    let batch = lake(Table::Spans, &decoder.finish().unwrap().spans.unwrap());
    assert_eq!(entry(&batch, "attributes", "url.full").as_deref(), Some("<denied>"));

    let bytes = request(Vec::new(), vec![span(vec![pair("http.target", string("/a")), pair("custom", string("x"))])]);
    let batches = decode_with(Policy::Strict, Signal::Spans, Encoding::Proto, &bytes.encode_to_vec()).unwrap();
    let batch = lake(Table::Spans, &batches.spans.unwrap());
    assert_eq!(entries(&batch, "attributes", 0), [("url.path".to_owned(), Some("/a".to_owned()))]);
    assert_eq!(batches.redactions.get(Class::Dropped), 2);
}

/// The rules of a current name hold for the original under its old name: identifiers of the peer on the spans of
/// servers, patterns, payloads. Of an old value that holds two facts each new name has its own rule.
#[test]
fn rules_of_current_names_hold_for_old_ones() {
    let config = RedactionConfig {
        key: "a key of the tests, long enough".into(),
        deny_patterns: vec!["^url\\.(full|query)$".into()],
        ..Default::default()
    };
    let payload = PayloadConfig { attributes: vec!["db.query.text".into()], ..Default::default() };
    let redactor = Arc::new(Redactor::new(&config, &payload).unwrap());
    let attributes = || {
        vec![
            pair("net.peer.name", string("host-of-alice")),
            pair("http.url", string("http://shop/a?q=alice")),
            pair("http.target", string("/a?q=alice")),
            pair("db.statement", string("SELECT alice")),
            pair("db.connection_string", string("postgres://u:p@db:5432/x")),
        ]
    };
    let decoded = |kind| {
        let mut decoder = OtlpDecoder::new(DecoderConfig::new(Arc::clone(&redactor)));
        let bytes = request(Vec::new(), vec![Span { kind, ..span(attributes()) }]).encode_to_vec();
        decoder.decode(Signal::Spans, Encoding::Proto, message(&bytes)).unwrap();
        lake(Table::Spans, &decoder.finish().unwrap().spans.unwrap())
    };
    let server = decoded(2);
    let all = everything(&server);
    assert!(!all.contains("alice"), "{all}");
    for (key, value) in [
        ("http.url", "<denied>"),
        ("url.full", "<denied>"),
        ("http.target", "<denied>"),
        ("url.query", "<denied>"),
        ("url.path", "/a"),
        ("db.statement", "<payload>"),
        ("server.address", "db"),
    ] {
        assert_eq!(entry(&server, "attributes", key).as_deref(), Some(value), "{key}");
    }
    assert!(entry(&server, "attributes", "net.peer.name").unwrap().starts_with("hmac:"));
    assert_eq!(entry(&server, "attributes", "net.peer.name"), entry(&server, "attributes", "client.address"));
    for kind in [3, 5] {
        assert_eq!(entry(&decoded(kind), "attributes", "net.peer.name").as_deref(), Some("host-of-alice"));
        assert_eq!(entry(&decoded(kind), "attributes", "server.address").as_deref(), Some("host-of-alice"));
    }
}

/// Whose address a peer's is depends on the span: a client's becomes a token, also where another span had the same
/// value a moment ago; a machine's stays.
#[test]
fn addresses_of_peers_by_kind_of_span() {
    let of = |kind| Span { kind, ..span(vec![pair("network.peer.address", string("10.0.0.7"))]) };
    let spans = [3, 2, 5, 2].map(of).to_vec();
    let batch = lake(Table::Spans, &decode(Signal::Spans, &request(Vec::new(), spans).encode_to_vec()).spans.unwrap());
    let values: Vec<_> = (0..4).map(|row| entries(&batch, "attributes", row)[0].1.clone().unwrap()).collect();
    assert_eq!((&*values[0], &*values[2]), ("10.0.0.7", "10.0.0.7"));
    assert!(values[1].starts_with("hmac:") && values[1] == values[3], "{values:?}");
}

/// A pass of a renderer is no password; a password is one under the same word.
#[test]
fn pass_is_judged_by_its_value() {
    let batch = one_span(
        Vec::new(),
        span(vec![
            pair("render.pass", string("inline")),
            pair("pass", Value::IntValue(14)),
            pair("db.pass", string("hunter2")),
        ]),
    );
    assert_eq!(entry(&batch, "attributes", "render.pass").as_deref(), Some("inline"));
    assert_eq!(entry(&batch, "attributes_types", "pass").as_deref(), Some("int"));
    assert_eq!(entry(&batch, "attributes", "db.pass").as_deref(), Some("<password>"));
}

/// Identifiers are found by their names in JSON texts and in nested maps, in bodies and in attributes, also where the
/// name is split over two levels.
#[test]
fn identifiers_in_structured_values() {
    let json = r#"{"level":"info","user.id":"u-4711","client":{"address":"198.51.100.7"}}"#;
    let user = || list(vec![pair("id", string("u-4711")), pair("plan", string("gold"))]);
    let body = |value| LogRecord { time_unix_nano: 1, body: Some(any(value)), ..Default::default() };
    let with = LogRecord { attributes: vec![pair("user", user()), pair("raw", string(json))], ..body(string("x")) };
    let log_records = vec![body(string(json)), body(list(vec![pair("user", user())])), with];
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
    let batch = lake(Table::Logs, &decode(Signal::Logs, &request.encode_to_vec()).logs.unwrap());
    let all = everything(&batch);
    assert!(!all.contains("u-4711") && !all.contains("198.51.100.7"), "{all}");
    let body: serde_json::Value = serde_json::from_str(&cell(&batch, "body", 0).unwrap()).unwrap();
    assert_eq!(body["level"], "info");
    let token = body["user.id"].as_str().unwrap();
    assert!(token.starts_with("hmac:"));
    for row in 1..3 {
        assert!(everything(&batch.slice(row, 1)).contains(token), "the same identifier has the same token");
    }
    assert!(cell(&batch, "body", 1).unwrap().contains("gold"));
}

/// With the strict policy and an empty list nothing of one's own is kept of any attribute: not on a span, its events and
/// links, a resource, or a log. What columns are made of is kept, and so are an identifier, as its token, and a body,
/// masked. Guarantees that the policy fails closed.
#[test]
fn strict_keeps_nothing_that_is_not_allowed() {
    let own = || pair("note", string("kept-by-mistake"));
    let event = Event { name: "e".into(), attributes: vec![own()], ..Default::default() };
    let link = Link { trace_id: vec![3; 16], span_id: vec![3; 8], attributes: vec![own()], ..Default::default() };
    let attributes = vec![own(), pair("user.id", string("u-4711")), pair("http.route", string("/a"))];
    let span = Span { events: vec![event], links: vec![link], ..span(attributes) };
    let resource = vec![own(), pair("service.name", string("checkout"))];
    let batches =
        decode_with(Policy::Strict, Signal::Spans, Encoding::Proto, &request(resource, vec![span]).encode_to_vec());
    let batches = batches.unwrap();
    let batch = lake(Table::Spans, &batches.spans.unwrap());
    let all = everything(&batch);
    assert!(!all.contains("kept-by-mistake") && !all.contains("u-4711"), "{all}");
    assert_eq!(cell(&batch, "service_name", 0).as_deref(), Some("checkout"));
    assert_eq!(entry(&batch, "attributes", "http.route").as_deref(), Some("/a"));
    assert!(entry(&batch, "attributes", "user.id").unwrap().starts_with("hmac:"));
    assert_eq!(batches.redactions.get(Class::Dropped), 4);

    let body = Some(any(string("mail to jane.doe@example.com")));
    let log_records = vec![LogRecord { time_unix_nano: 1, body, attributes: vec![own()], ..Default::default() }];
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
    let batches = decode_with(Policy::Strict, Signal::Logs, Encoding::Proto, &request.encode_to_vec()).unwrap();
    let batch = lake(Table::Logs, &batches.logs.unwrap());
    assert!(!everything(&batch).contains("kept-by-mistake"));
    assert_eq!(cell(&batch, "body", 0).as_deref(), Some("mail to <email>"));
}

/// A deny pattern masks what it matches in texts, in nested values and in a number under a record's id, and the whole
/// value where it matches the name.
#[test]
fn deny_patterns_hold_everywhere() {
    let config = RedactionConfig {
        key: "a key of the tests, long enough".into(),
        deny_patterns: vec!["project-[a-z]+|^4111[0-9]{12}$".into(), "^app\\.secret_plan$".into()],
        ..Default::default()
    };
    let redactor = Arc::new(Redactor::new(&config, &PayloadConfig::default()).unwrap());
    let mut decoder = OtlpDecoder::new(DecoderConfig::new(redactor));
    let attributes = vec![
        pair("note", string("on project-apollo now")),
        pair("app.map", list(vec![pair("name", string("project-gemini"))])),
        pair("order_id", Value::IntValue(CARD)),
        pair("app.secret_plan", string("to the moon")),
    ];
    let bytes = request(Vec::new(), vec![span(attributes)]).encode_to_vec();
    decoder.decode(Signal::Spans, Encoding::Proto, message(&bytes)).unwrap();
    let batch = lake(Table::Spans, &decoder.finish().unwrap().spans.unwrap());
    let value = |key: &str| entry(&batch, "attributes", key);
    assert_eq!(value("note").as_deref(), Some("on <denied> now"));
    assert!(value("app.map").unwrap().contains("<denied>"));
    for key in ["order_id", "app.secret_plan"] {
        assert_eq!(value(key).as_deref(), Some("<denied>"), "{key}");
    }
}
