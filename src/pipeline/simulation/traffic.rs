//! What is sent: messages of spans and logs, keyed by trace, and of metrics, some of them more than once, and some that
//! nobody can read. In some runs there are also errors, payloads, flags, builds and heaps.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tracerag_schemas::time::SECOND;

use super::broker::{DEPLOYMENTS, FLAGS, HEAPS, LOGS, METRICS, SPANS};
use super::evidence::{self, Evidence, Failure, SERVICE};

/// When the first record is sent: 2026-11-23, noon.
pub(super) const BEGIN: i64 = 1_795_435_200 * SECOND;

/// The part of the runs whose traffic has evidence: it touches three times as many tables.
const TELLING: f64 = 0.3;
/// The part of their traces that have any.
const TELLING_TRACES: f64 = 0.6;
/// How far the evidence of two traces lies apart, in ns: a record without a trace then tells of one of them only.
const APART: i64 = 10 * SECOND;
/// How long before the first record is sent the evidence happened, in ns: longer than a worker's clock may be behind. The
/// failure of which a record tells is looked for from a minute before its own time on, by the clocks that took it.
const BEFORE: i64 = 1_200 * SECOND;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub topic: &'static str,
    /// Number of its partition.
    pub number: usize,
    pub value: String,
    /// It goes to the dead letters.
    pub is_bad: bool,
    /// The trace whose payload it has.
    pub payload_of: Option<String>,
    /// What it says of the failure of a trace, without naming the trace.
    pub repeats: Option<String>,
}

impl Message {
    fn new(topic: &'static str, number: usize, value: String) -> Self {
        Self { topic, number, value, is_bad: false, payload_of: None, repeats: None }
    }
}

/// Messages in the order in which they are sent, and what the lake is to hold of them.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// What is sent at one time.
    pub bursts: Vec<Vec<Message>>,
    /// Trace and span id.
    pub spans: BTreeSet<(String, String)>,
    /// How often a log record is to be there, by its body.
    pub logs: BTreeMap<String, usize>,
    /// There is evidence beside spans, records and points.
    pub is_telling: bool,
    /// What of it is to be there.
    pub evidence: Evidence,
    /// Messages of each topic, copies included.
    pub sent: BTreeMap<&'static str, usize>,
    /// Messages, copies included, that have the payload of a trace.
    pub payloads: BTreeMap<String, usize>,
}

impl Traffic {
    /// A few traces. Where it is calm, each trace is sent at once, and copies with it; otherwise parts of several traces
    /// mix, and copies come at any time.
    pub fn random(rng: &mut StdRng, numbers: usize, is_calm: bool) -> Self {
        let is_telling = rng.random_bool(TELLING);
        let mut traffic = Self { is_telling, ..Self::default() };
        let mut traces: Vec<Vec<Message>> = Vec::new();
        let mut last = Vec::new();
        for trace in 1..=rng.random_range(3..9) {
            let mut parts = traffic.trace(rng, trace, trace % numbers);
            if is_telling && rng.random_bool(TELLING_TRACES) {
                parts.extend(traffic.tell(rng, trace, trace % numbers));
                let repeated = traffic.repeat(trace, trace % numbers);
                let beside = if rng.random_bool(0.5) { &mut parts } else { &mut last };
                beside.extend(repeated);
            }
            parts.shuffle(rng);
            traces.push(parts);
        }
        traces.push(traffic.others(rng, numbers));
        if is_telling {
            traces.push(traffic.changes(rng, numbers));
        }
        let mut late = Vec::new();
        while !traces.is_empty() {
            let at = rng.random_range(0..traces.len().min(3));
            if is_calm || traces[at].len() < 2 {
                let rest = traces.remove(at);
                traffic.send(rest, is_calm);
                continue;
            }
            let Some(part) = traces[at].pop() else { continue };
            if rng.random_bool(0.15) && !part.is_bad {
                late.push(part.clone());
            }
            traffic.bursts.push(vec![part]);
        }
        for copy in late {
            let at = rng.random_range(0..=traffic.bursts.len());
            traffic.bursts.insert(at, vec![copy]);
        }
        traffic.bursts.extend(last.into_iter().map(|message| vec![message]));
        for message in traffic.bursts.iter().flatten() {
            *traffic.sent.entry(message.topic).or_default() += 1;
            if let Some(trace) = &message.payload_of {
                *traffic.payloads.entry(trace.clone()).or_default() += 1;
            }
        }
        traffic
    }

    fn send(&mut self, parts: Vec<Message>, at_once: bool) {
        match at_once {
            true => {
                let again = parts.first().filter(|part| !part.is_bad).cloned();
                self.bursts.push(parts.into_iter().chain(again).collect());
            }
            false => self.bursts.extend(parts.into_iter().map(|part| vec![part])),
        }
    }

    /// A root with a few children, and log records of it.
    fn trace(&mut self, rng: &mut StdRng, trace: usize, number: usize) -> Vec<Message> {
        let id = trace_id(trace);
        let mut parts = Vec::new();
        for span in 1..=rng.random_range(1..5) {
            let parent = if span == 1 { 0 } else { rng.random_range(1..span) };
            let (span, parent) = (format!("{span:016x}"), format!("{parent:016x}"));
            parts.push(Message::new(SPANS, number, span_message(&id, &span, &parent)));
            self.spans.insert((id.clone(), span));
        }
        for log in 0..rng.random_range(0..3) {
            let body = format!("line {log} of {trace}");
            // Equal records of one message are several.
            let times = rng.random_range(1..3);
            parts.push(Message::new(LOGS, number, log_message(&id, &body, times)));
            self.logs.insert(body, times);
        }
        parts
    }

    /// What else happens in a trace.
    fn tell(&mut self, rng: &mut StdRng, trace: usize, number: usize) -> Vec<Message> {
        let id = trace_id(trace);
        let told = self.evidence.draw(rng, trace, &id, told_at(trace));
        self.spans.extend(told.spans.iter().map(|span| (id.clone(), (*span).to_owned())));
        let spans = Message::new(SPANS, number, told.message.to_string());
        let mut parts = vec![Message { payload_of: Some(id), ..spans }];
        if let Some((message, body)) = told.record {
            parts.push(Message::new(LOGS, number, message.to_string()));
            self.logs.insert(body, 1);
        }
        parts
    }

    /// A record of the server, which names no trace, of what a span of a trace has thrown.
    fn repeat(&mut self, trace: usize, number: usize) -> Option<Message> {
        let id = trace_id(trace);
        let is_thrown =
            |failure: &&Failure| failure.trace == id && !failure.exception_type.is_empty() && !failure.is_echo;
        let Failure { exception_type, message, .. } = self.evidence.failures.keys().find(is_thrown)?.clone();
        let body = format!("Exception in application {trace}");
        let value = repeating_message(&body, &exception_type, &message, told_at(trace) + SECOND / 1_000);
        self.logs.insert(body, 1);
        self.evidence.counts.entry(exception_type.clone()).or_default().echoes += 1;
        let (trace, span, repeats) = (String::new(), String::new(), Some(message.clone()));
        let echo = Failure { trace, span, exception_type, message, is_echo: true };
        *self.evidence.failures.entry(echo).or_default() += 1;
        Some(Message { repeats, ..Message::new(LOGS, number, value) })
    }

    /// Log records without a trace, points of metrics, and a message that cannot be read.
    fn others(&mut self, rng: &mut StdRng, numbers: usize) -> Vec<Message> {
        let mut others = Vec::new();
        for log in 0..rng.random_range(1..4) {
            let body = format!("line {log} of no trace");
            others.push(Message::new(LOGS, rng.random_range(0..numbers), log_message("", &body, 1)));
            // Each of them is a failure, though it waits.
            self.evidence.expect_alone(&body);
            self.logs.insert(body, 1);
        }
        for point in 0..rng.random_range(0..3) {
            others.push(Message::new(METRICS, rng.random_range(0..numbers), metric_message(point)));
        }
        let bad = Message::new(SPANS, rng.random_range(0..numbers), String::from("not a message"));
        others.push(Message { is_bad: true, ..bad });
        others
    }

    /// Changes of each kind, heap records, and errors that belong to no trace.
    fn changes(&mut self, rng: &mut StdRng, numbers: usize) -> Vec<Message> {
        let mut changes = Vec::new();
        for change in 0..rng.random_range(1..3) {
            let (record, body) = self.evidence.alone(change, BEGIN - SECOND);
            self.logs.insert(body, 1);
            for (topic, message) in [
                (FLAGS, evidence::flag_change(change, BEGIN)),
                (DEPLOYMENTS, evidence::deployment(change, BEGIN)),
                (HEAPS, evidence::heap(change, BEGIN)),
                (LOGS, record),
            ] {
                changes.push(Message::new(topic, rng.random_range(0..numbers), message.to_string()));
            }
        }
        changes
    }
}

/// When the evidence of a trace happened.
fn told_at(trace: usize) -> i64 {
    BEGIN - BEFORE - APART * trace as i64
}

fn trace_id(trace: usize) -> String {
    format!("{trace:032x}")
}

fn span_message(trace: &str, span: &str, parent: &str) -> String {
    let parent = if parent.bytes().all(|digit| digit == b'0') { "" } else { parent };
    let (start, end) = (BEGIN - SECOND, BEGIN);
    format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"traceId": "{trace}", "spanId": "{span}",
        "parentSpanId": "{parent}", "name": "GET /", "startTimeUnixNano": "{start}",
        "endTimeUnixNano": "{end}"}}]}}]}}]}}"#
    )
}

fn log_message(trace: &str, body: &str, times: usize) -> String {
    let severity = if trace.is_empty() { "ERROR" } else { "INFO" };
    let record = format!(
        r#"{{"timeUnixNano": "{BEGIN}", "traceId": "{trace}", "severityText": "{severity}",
        "body": {{"stringValue": "{body}"}}}}"#
    );
    let records = vec![record; times].join(", ");
    format!(r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{records}]}}]}}]}}"#)
}

/// A record of the service of the evidence.
fn repeating_message(body: &str, exception_type: &str, message: &str, time: i64) -> String {
    format!(
        r#"{{"resourceLogs": [{{"resource": {{"attributes": [
        {{"key": "service.name", "value": {{"stringValue": "{SERVICE}"}}}}]}}, "scopeLogs": [{{"logRecords": [
        {{"timeUnixNano": "{time}", "severityText": "ERROR", "body": {{"stringValue": "{body}"}}, "attributes": [
        {{"key": "exception.type", "value": {{"stringValue": "{exception_type}"}}}},
        {{"key": "exception.message", "value": {{"stringValue": "{message}"}}}}]}}]}}]}}]}}"#
    )
}

fn metric_message(point: usize) -> String {
    let point = format!(r#"{{"timeUnixNano": "{BEGIN}", "asDouble": {point}}}"#);
    format!(
        r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"name": "queue.length", "unit": "1",
        "gauge": {{"dataPoints": [{point}]}}}}]}}]}}]}}"#
    )
}
