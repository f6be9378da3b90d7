//! The window's rules, one by one, and all of them together in simulation.
#![allow(clippy::unwrap_used)]

mod bounds;
mod closing;
mod joins;
mod recovery;
mod simulation;

use tracerag_schemas::SourcePartition;
use tracerag_schemas::time::SECOND;

use super::Window;
use super::config::WindowConfig;
use super::flushed::Flushed;
use super::resume::ResumeState;
use crate::testing::{Log, Span, cells, logs, spans};

/// A window with one partition of spans and one of logs, and a clock that the test moves.
struct Bench {
    window: Window,
    spans: SourcePartition,
    logs: SourcePartition,
    next: [i64; 2],
}

impl Bench {
    fn new(config: WindowConfig) -> Self {
        let (spans, logs) = (SourcePartition::new("c", "otlp_spans", 0), SourcePartition::new("c", "otlp_logs", 0));
        let mut window = Window::new(config);
        window.assign(&[ResumeState::fresh(spans.clone()), ResumeState::fresh(logs.clone())]);
        Self { window, spans, logs, next: [0, 0] }
    }

    /// Both partitions have come to a time, in seconds.
    fn at(&mut self, seconds: i64) -> &mut Self {
        let time = seconds * SECOND;
        self.window.advance(&self.spans, time, self.next[0]).unwrap();
        self.window.advance(&self.logs, time, self.next[1]).unwrap();
        self
    }

    /// Spans arrive, each in a message of its own.
    fn spans(&mut self, rows: &[Span]) -> &mut Self {
        let mut rows = rows.to_vec();
        for row in &mut rows {
            row.offset = self.next[0];
            self.next[0] += 1;
        }
        let time = self.window.stream_time(&self.spans).unwrap();
        self.window.advance(&self.spans, time, self.next[0]).unwrap();
        self.window.push_spans(&self.spans, spans(&self.spans, &rows)).unwrap();
        self
    }

    /// Log records arrive in one message.
    fn logs(&mut self, rows: &[Log]) -> &mut Self {
        let mut rows = rows.to_vec();
        rows.iter_mut().for_each(|row| row.offset = self.next[1]);
        self.next[1] += 1;
        let time = self.window.stream_time(&self.logs).unwrap();
        self.window.advance(&self.logs, time, self.next[1]).unwrap();
        self.window.push_logs(&self.logs, logs(&self.logs, &rows)).unwrap();
        self
    }

    fn flush(&mut self) -> Flushed {
        self.window.flush().unwrap()
    }
}

fn root(trace: u64, span: u64) -> Span {
    Span { trace, span, service: "checkout", start: 10, end: 90, ..Span::default() }
}

fn child(trace: u64, span: u64, parent: u64) -> Span {
    Span { trace, span, parent, service: "payments", start: 20, end: 80, ..Span::default() }
}

fn log(trace: u64, hash: u64) -> Log {
    Log { trace, hash, time: 30, service: "payments", ..Log::default() }
}

/// Close reasons and numbers of spans of the traces of a flush.
fn closed(flushed: &Flushed) -> Vec<(String, String)> {
    cells(&flushed.traces, "close_reason").into_iter().zip(cells(&flushed.traces, "span_count")).collect()
}

fn pair(reason: &str, spans: &str) -> (String, String) {
    (reason.to_owned(), spans.to_owned())
}
