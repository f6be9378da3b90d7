//! What is sent: messages of spans and logs, keyed by trace, and of metrics, some of them more than once, and some that
//! nobody can read.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tracerag_schemas::time::SECOND;

use super::broker::{LOGS, METRICS, SPANS};

/// When the first record is sent: 2026-11-23, noon.
pub(super) const BEGIN: i64 = 1_795_435_200 * SECOND;

/// How the bodies of log records without a trace end.
const NO_TRACE: &str = "of no trace";

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub topic: &'static str,
    /// Number of its partition.
    pub number: usize,
    pub value: String,
    /// It goes to the dead letters.
    pub is_bad: bool,
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
}

impl Traffic {
    /// A few traces. Where it is calm, each trace is sent at once, and copies with it; otherwise parts of several traces
    /// mix, and copies come at any time.
    pub fn random(rng: &mut StdRng, numbers: usize, is_calm: bool) -> Self {
        let mut traffic = Self::default();
        let mut traces: Vec<Vec<Message>> = Vec::new();
        for trace in 1..=rng.random_range(3..9) {
            let mut parts = traffic.trace(rng, trace, trace % numbers);
            parts.shuffle(rng);
            traces.push(parts);
        }
        traces.push(traffic.others(rng, numbers));
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
        let id = format!("{trace:032x}");
        let mut parts = Vec::new();
        for span in 1..=rng.random_range(1..5) {
            let parent = if span == 1 { 0 } else { rng.random_range(1..span) };
            let (span, parent) = (format!("{span:016x}"), format!("{parent:016x}"));
            parts.push(Message { topic: SPANS, number, value: span_message(&id, &span, &parent), is_bad: false });
            self.spans.insert((id.clone(), span));
        }
        for log in 0..rng.random_range(0..3) {
            let body = format!("line {log} of {trace}");
            // Equal records of one message are several.
            let times = rng.random_range(1..3);
            let value = log_message(&id, &body, times);
            parts.push(Message { topic: LOGS, number, value, is_bad: false });
            self.logs.insert(body, times);
        }
        parts
    }

    /// Messages of metrics, each with one point: a copy brings another one.
    pub fn points(&self) -> usize {
        self.bursts.iter().flatten().filter(|message| message.topic == METRICS).count()
    }

    /// Bodies of the log records that are failures: each is one, and there are no others.
    pub fn failures(&self) -> impl Iterator<Item = &String> {
        self.logs.keys().filter(|body| body.ends_with(NO_TRACE))
    }

    /// Log records without a trace, points of metrics, and a message that cannot be read.
    fn others(&mut self, rng: &mut StdRng, numbers: usize) -> Vec<Message> {
        let mut others = Vec::new();
        for log in 0..rng.random_range(1..4) {
            let body = format!("line {log} {NO_TRACE}");
            let value = log_message("", &body, 1);
            others.push(Message { topic: LOGS, number: rng.random_range(0..numbers), value, is_bad: false });
            self.logs.insert(body, 1);
        }
        for point in 0..rng.random_range(0..3) {
            let value = metric_message(point);
            others.push(Message { topic: METRICS, number: rng.random_range(0..numbers), value, is_bad: false });
        }
        let number = rng.random_range(0..numbers);
        others.push(Message { topic: SPANS, number, value: String::from("not a message"), is_bad: true });
        others
    }
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

fn metric_message(point: usize) -> String {
    let point = format!(r#"{{"timeUnixNano": "{BEGIN}", "asDouble": {point}}}"#);
    format!(
        r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"name": "queue.length", "unit": "1",
        "gauge": {{"dataPoints": [{point}]}}}}]}}]}}]}}"#
    )
}
