//! What Grafana's data sources and Jaeger's UI ask of Jaeger and of Tempo, asked of this server.

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::support::served::Served;
use crate::worked_example::{self, TRACE};

/// The requests, as the clients' public sources make them, and the fields of each answer, as the public definitions of
/// the two interfaces have them.
const RECORDED: &str = include_str!("clients/traces.json");

/// Parts of answers that come more than once.
fn part(name: &str) -> Value {
    let tag = json!({"key": "string", "type": "string", "value": "any"});
    let attribute = json!({"key": "string", "value": "object"});
    match name {
        "#trace" => json!({
            "traceID": "hex32", "processes": "object", "warnings": "null",
            "spans": [{
                "traceID": "hex32", "spanID": "hex16", "processID": "string", "operationName": "string",
                "startTime": "integer", "duration": "integer", "flags": "integer", "warnings": "null",
                "logs": "list", "references": "list", "tags": [tag],
            }],
        }),
        "#found" => json!({
            "traceID": "hex32", "rootServiceName": "string", "rootTraceName": "string", "startTimeUnixNano": "digits",
            "durationMs": "integer", "serviceStats": "object",
            "spanSets": [{
                "matched": "integer",
                "spans": [{
                    "spanID": "hex16", "name": "string", "startTimeUnixNano": "digits", "durationNanos": "digits",
                    "attributes": "list",
                }],
            }],
        }),
        "#otlp" => json!({
            "resource": {"attributes": [attribute]},
            "scopeSpans": [{
                "scope": "object",
                "spans": [{
                    "traceId": "string", "spanId": "string", "name": "string", "kind": "any",
                    "startTimeUnixNano": "digits", "endTimeUnixNano": "digits", "attributes": "list",
                }],
            }],
        }),
        other => panic!("{other} is no part"),
    }
}

/// That a value has at least the fields of a shape, each of its type. A list of one shape holds one or more of it.
fn fits(value: &Value, shape: &Value, place: &str) {
    let is_hex = |length: usize| {
        value.as_str().is_some_and(|text| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let fits_type = match shape {
        Value::Object(fields) => {
            for (name, shape) in fields {
                let Some(field) = value.get(name) else { panic!("{place} has no {name}: {value}") };
                fits(field, shape, &format!("{place}.{name}"));
            }
            value.is_object()
        }
        Value::Array(shapes) => {
            let items = value.as_array().unwrap_or_else(|| panic!("{place} is no list: {value}"));
            assert!(!items.is_empty(), "{place} is empty");
            items.iter().for_each(|item| fits(item, &shapes[0], place));
            true
        }
        Value::String(kind) => match kind.as_str() {
            "any" => true,
            "null" => value.is_null(),
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "object" => value.is_object(),
            "list" => value.is_array(),
            "digits" => value.as_str().is_some_and(|text| text.parse::<u64>().is_ok()),
            "hex16" => is_hex(16),
            "hex32" => is_hex(32),
            part_name => {
                fits(value, &part(part_name), place);
                true
            }
        },
        other => panic!("{other} is no shape"),
    };
    assert!(fits_type, "{place} is not {shape}: {value}");
}

/// A server on the worked example, and what requests are filled with: the names and times of the lake.
fn served() -> (Served, Vec<(&'static str, String)>) {
    let served = Served::start(worked_example::replayed(), "");
    let micros = |what: &str| {
        served.tracerag.number(&format!("select cast({what} as bigint) / 1000 from spans where trace_id = '{TRACE}'"))
    };
    let hour = 3_600 * 1_000_000;
    let (start, end) = (micros("min(start_time)") - hour, micros("max(end_time)") + hour);
    let root = served.tracerag.sql(&format!(
        "select service_name, replace(name, ' ', '%20') as name, \
         to_char(start_time - interval '1 hour', '%Y-%m-%dT%H:%M:%S.000Z') as since, \
         to_char(start_time + interval '1 hour', '%Y-%m-%dT%H:%M:%S.000Z') as until \
         from spans where trace_id = '{TRACE}' and parent_span_id is null"
    ));
    let text = |name: &str| root[0][name].as_str().unwrap().replace('/', "%2F");
    let places = vec![
        ("{trace}", TRACE.to_owned()),
        ("{service}", text("service_name")),
        ("{operation}", text("name")),
        ("{start_us}", start.to_string()),
        ("{end_us}", end.to_string()),
        ("{end_ms}", (end / 1_000).to_string()),
        ("{start_s}", (start / 1_000_000).to_string()),
        ("{end_s}", (end / 1_000_000).to_string()),
        ("{start_iso}", text("since")),
        ("{end_iso}", text("until")),
    ];
    (served, places)
}

/// Replays the recorded requests of every client. Guarantees that each is answered with the status and the fields that
/// the client reads, so that Grafana's data sources Jaeger and Tempo, and Jaeger's UI, open the lake's traces.
#[test]
fn recorded_requests_are_answered() {
    let (served, places) = served();
    let client = served.client(&served.token("default", "read"));
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    for recording in recorded.as_array().unwrap() {
        for request in recording["requests"].as_array().unwrap() {
            let base = request.get("base").unwrap_or(&recording["base"]).as_str().unwrap();
            let path = format!("{base}{}", request["get"].as_str().unwrap());
            let path = places.iter().fold(path, |path, (place, value)| path.replace(place, value));
            let accept = request["accept"].as_str().map(|accept| ("accept", accept));
            let answer = client.send(Method::GET, &path, accept.as_slice(), None).expect("the server answers");
            let status = request["status"].as_u64().unwrap_or(200);
            let place = format!("{}: {path}", recording["client"]);
            assert_eq!(u64::from(answer.status), status, "{place}: {}", answer.text);
            if let Some(text) = request["text"].as_str() {
                assert_eq!(answer.text, text, "{place}");
            }
            if let Some(shape) = request.get("answer") {
                fits(&answer.json(), shape, &place);
            }
        }
    }
}

/// `TraceByIDResponse` of Tempo's `tempo.proto`.
#[derive(Clone, PartialEq, Message)]
struct TraceById {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    #[prost(enumeration = "PartialStatus", tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum PartialStatus {
    Complete = 0,
    Partial = 1,
}

/// Grafana asks Tempo for a trace as protobuf, by the second version and, where that is missing, by the first. Guarantees
/// that both can be read, hold the same spans, and all of the trace's.
#[test]
fn traces_come_as_protobuf() {
    let (served, _) = served();
    let token = served.token("default", "read");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let bytes = |version: &str| {
        let url = format!("http://127.0.0.1:{}/tempo/api/{version}traces/{TRACE}", served.port);
        let request = http.get(url).bearer_auth(&token).header("accept", "application/protobuf");
        runtime.block_on(async {
            let response = request.send().await.unwrap().error_for_status().unwrap();
            assert_eq!(response.headers()["content-type"], "application/protobuf");
            response.bytes().await.unwrap()
        })
    };
    let second = TraceById::decode(bytes("v2/")).unwrap();
    assert_eq!((second.status(), second.message.as_str()), (PartialStatus::Complete, ""));
    let first = TracesData::decode(bytes("")).unwrap();
    assert_eq!(second.trace.as_ref(), Some(&first));
    let spans: Vec<_> =
        first.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).collect();
    let count = served.tracerag.number(&format!("select count(*) from spans where trace_id = '{TRACE}'"));
    assert_eq!(spans.len() as i64, count);
    assert!(spans.iter().all(|span| hex::encode(&span.trace_id) == TRACE && span.end_time_unix_nano > 0));
}
