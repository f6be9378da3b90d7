//! What loads send beside plain spans: exceptions and the errors that pass them on, error records within traces and
//! outside, payloads, evaluations of flags, builds, and changes; and what a lake must hold of it. The simulation of whole
//! workers has this file, too.
//!
//! Every failure is told by one message, in words of its own, so that it is counted alike however the parts of its trace
//! come together.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tracerag_schemas::time::{SECOND, rfc3339};

pub const SERVICE: &str = "orders";
/// The span that takes an order, whose parent is the span 1 of its trace; the one below it that checks the stock.
const ORDER: &str = "00000000000000e1";
const STOCK: &str = "00000000000000e2";
const ROOT: &str = "0000000000000001";

const THROWN: [&str; 3] = ["shop.StockError", "shop.PriceError", "java.lang.IllegalStateException"];
/// What an order fails with where its stock has failed.
const PASSED_ON: &str = "shop.OrderError";
const VARIANTS: [&str; 2] = ["by-name", "by-price"];

/// How long before the time of the load the first change was made, in ns.
const CHANGES_BEFORE: i64 = 86_400 * SECOND;

/// A row of `failures`; what it has not is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    pub trace: String,
    pub span: String,
    pub exception_type: String,
    pub message: String,
    pub is_echo: bool,
}

/// What failures of one exception type add to the counts of their incidents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub origins: i64,
    pub echoes: i64,
    pub traces: i64,
}

/// What a lake must hold of all that was drawn.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// How often each failure stands in `failures`.
    pub failures: BTreeMap<Failure, i64>,
    /// Sums of `incident_counts` by exception type; records without one have none.
    pub counts: BTreeMap<String, Counts>,
    /// Failures that spans tell of, by trace: its newest revision counts them.
    pub by_trace: BTreeMap<String, i64>,
    /// Trace and span of each payload.
    pub payloads: BTreeSet<(String, String)>,
    /// Trace, span and variant of each evaluation.
    pub evaluations: BTreeSet<(String, String, String)>,
    /// Versions that resources name.
    pub versions: BTreeSet<String>,
}

/// What one trace has beside its other spans.
pub struct Told {
    /// A message of spans, all of which came together.
    pub message: Value,
    /// The ids of its spans.
    pub spans: Vec<&'static str>,
    /// A message with one log record of severity ERROR, and its body.
    pub record: Option<(Value, String)>,
}

impl Evidence {
    /// Draws what happens in a trace that has a span 1: an order with a payload and an evaluation of a flag. It goes
    /// well, or its stock fails, or it passes that on, or a record tells of an error that no span shows. `number` names
    /// the trace in words, `time` is in ns since the epoch.
    pub fn draw(&mut self, random: &mut StdRng, number: usize, trace: &str, time: i64) -> Told {
        let variant = VARIANTS[random.random_range(0..VARIANTS.len())];
        let version = format!("1.{}.0", random.random_range(0..3));
        let thrown = THROWN[random.random_range(0..THROWN.len())];
        let outcome = random.random_range(0..4);
        let (fails, passes_on, is_recorded) = (outcome == 1 || outcome == 2, outcome == 2, outcome == 3);

        let said = format!("shelf {number} holds none of item {number}");
        let mut events = vec![event(
            time,
            "feature_flag.evaluation",
            &[("feature_flag.key", "shop.sorting"), ("feature_flag.result.variant", variant)],
        )];
        if passes_on {
            let message = format!("order {number} cannot be taken: {said}");
            events.push(exception(time, PASSED_ON, &message));
            self.fail(trace, ORDER, PASSED_ON, message, true);
        }
        let body = format!("{{\"item\": {number}, \"amount\": 2}}");
        let status = if passes_on { 2 } else { 0 };
        let mut spans = vec![json!({
            "traceId": trace, "spanId": ORDER, "parentSpanId": ROOT, "name": "POST /orders", "kind": 2,
            "startTimeUnixNano": time.to_string(), "endTimeUnixNano": (time + 1_000).to_string(),
            "attributes": attributes(&[("http.request.body.content", body.as_str())]),
            "events": events, "status": {"code": status},
        })];
        if fails {
            spans.push(json!({
                "traceId": trace, "spanId": STOCK, "parentSpanId": ORDER, "name": "check stock", "kind": 1,
                "startTimeUnixNano": time.to_string(), "endTimeUnixNano": (time + 500).to_string(),
                "events": [exception(time, thrown, &said)], "status": {"code": 2},
            }));
            self.fail(trace, STOCK, thrown, said, false);
        }
        let record = is_recorded.then(|| {
            let body = format!("label {number} came out of its printer without a word");
            let message = self.record(&body, trace, time);
            (message, body)
        });
        self.payloads.insert((trace.to_owned(), ORDER.to_owned()));
        self.evaluations.insert((trace.to_owned(), ORDER.to_owned(), variant.to_owned()));
        let resource = resource(&version);
        self.versions.insert(version);
        let ids = if fails { vec![ORDER, STOCK] } else { vec![ORDER] };
        let message = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]});
        Told { message, spans: ids, record }
    }

    /// A message with a log record of severity ERROR that belongs to no trace, and its body.
    pub fn alone(&mut self, number: usize, time: i64) -> (Value, String) {
        let body = format!("printer {number} gives no answer to anybody");
        (self.record(&body, "", time), body)
    }

    /// A failed record that belongs to no trace is sent otherwise: it says what nothing else says.
    pub fn expect_alone(&mut self, body: &str) {
        self.tell("", "", body);
    }

    /// A record of severity ERROR that says what nothing else says.
    fn record(&mut self, body: &str, trace: &str, time: i64) -> Value {
        let span = if trace.is_empty() { "" } else { ROOT };
        let record = json!({
            "timeUnixNano": time.to_string(), "severityNumber": 17, "traceId": trace, "spanId": span,
            "body": {"stringValue": body},
        });
        self.tell(trace, span, body);
        let resource = json!({"attributes": attributes(&[("service.name", SERVICE)])});
        json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]})
    }

    /// A record tells of a failure.
    fn tell(&mut self, trace: &str, span: &str, body: &str) {
        let (trace, span, message) = (trace.to_owned(), span.to_owned(), body.to_owned());
        self.count(Failure { trace, span, exception_type: String::new(), message, is_echo: false });
    }

    fn fail(&mut self, trace: &str, span: &str, exception_type: &str, message: String, is_echo: bool) {
        *self.by_trace.entry(trace.to_owned()).or_default() += 1;
        let (trace, span) = (trace.to_owned(), span.to_owned());
        self.count(Failure { trace, span, exception_type: exception_type.to_owned(), message, is_echo });
    }

    /// A failure more. No trace has two of one type, so each is a trace of its incident.
    fn count(&mut self, failure: Failure) {
        let counts = self.counts.entry(failure.exception_type.clone()).or_default();
        counts.origins += i64::from(!failure.is_echo);
        counts.echoes += i64::from(failure.is_echo);
        counts.traces += i64::from(!failure.trace.is_empty());
        *self.failures.entry(failure).or_default() += 1;
    }
}

/// A change of a flag, the `number`th; each is a row of `flags`. `time` is that of the load, in ns.
pub fn flag_change(number: usize, time: i64) -> Value {
    json!({
        "time": moment(number, time), "feature_flag.key": "shop.sorting",
        "feature_flag.result.variant": VARIANTS[number % VARIANTS.len()], "service.name": SERVICE,
    })
}

/// A deployment, the `number`th; each is a row of `builds`.
pub fn deployment(number: usize, time: i64) -> Value {
    json!({
        "context": {
            "specversion": "0.6.0", "id": format!("deployment-{number}"), "source": "/ci",
            "type": "dev.cdevents.service.deployed.0.3.0", "timestamp": moment(number, time),
        },
        "subject": {"id": SERVICE, "source": "/ci", "content": {
            "environment": {"id": "production"}, "artifactId": format!("pkg:oci/{SERVICE}?tag=1.{number}.0"),
        }},
    })
}

/// A heap record, the `number`th; each is a row of `heaps`.
pub fn heap(number: usize, time: i64) -> Value {
    json!({
        "format": "summary", "captured_at": moment(number, time), "service.name": SERVICE,
        "top_types": [{"type": "shop.Item", "bytes": 1_000 + number, "count": 10}], "total_bytes": 100_000,
    })
}

/// When a change was made: one a second, from the day before the load on.
fn moment(number: usize, time: i64) -> String {
    rfc3339(time - CHANGES_BEFORE + number as i64 * SECOND)
}

fn exception(time: i64, exception_type: &str, message: &str) -> Value {
    event(time, "exception", &[("exception.type", exception_type), ("exception.message", message)])
}

fn event(time: i64, name: &str, of: &[(&str, &str)]) -> Value {
    json!({"timeUnixNano": time.to_string(), "name": name, "attributes": attributes(of)})
}

fn resource(version: &str) -> Value {
    json!({"attributes": attributes(&[("service.name", SERVICE), ("service.version", version)])})
}

fn attributes(of: &[(&str, &str)]) -> Vec<Value> {
    of.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}
