//! Finds the rows in which something failed, by scanning columns; only these rows cost more.

use tracerag_schemas::values::{SEVERITY_ERROR, severity_of_text};

use super::codes;
use super::columns::{LogSigns, SpanSigns, text, value};

/// The name of the event that records an exception.
const EXCEPTION: &str = "exception";
/// What the names of an exception's attributes begin with.
const PREFIX: &str = "exception.";

/// A span in which something failed, and how it shows.
pub(super) struct FailedSpan {
    pub row: usize,
    /// Positions of its exception events.
    pub events: Vec<usize>,
    /// The exception stands in the span's own attributes.
    pub own_attributes: bool,
    /// Status ERROR, or an answer that counts as a failure: many frameworks answer so and set no status.
    pub by_status: bool,
}

/// Spans with status ERROR, with an exception event or exception attributes, and those whose answer is a failure
/// without a status, by row.
pub(super) fn spans(spans: &SpanSigns<'_>) -> Vec<FailedSpan> {
    let mut own_attributes = Vec::new();
    spans.attributes.rows_with_prefix(PREFIX, |row| own_attributes.push(row));
    let mut own_attributes = own_attributes.into_iter().peekable();
    let mut found = Vec::new();
    for row in 0..spans.rows {
        let own = own_attributes.next_if_eq(&row).is_some();
        let events: Vec<usize> =
            spans.events.of(row).filter(|&event| is_exception(text(spans.events.name, event))).collect();
        let status = text(spans.status_code, row);
        let by_status = status == Some("ERROR") || (status != Some("OK") && codes::failed(spans, row));
        if own || by_status || !events.is_empty() {
            found.push(FailedSpan { row, own_attributes: own && events.is_empty(), events, by_status });
        }
    }
    found
}

/// Whether an event or a record of this name tells of an exception.
pub(super) fn is_exception(name: Option<&str>) -> bool {
    name.is_some_and(|name| name == EXCEPTION || name.ends_with(".exception"))
}

/// Rows of log records of severity ERROR and above, by their number or, where that is unspecified, by their text, and of
/// those with an exception.
pub(super) fn logs(logs: &LogSigns<'_>) -> Vec<usize> {
    let mut with_exception = Vec::new();
    logs.attributes.rows_with_prefix(PREFIX, |row| with_exception.push(row));
    let mut with_exception = with_exception.into_iter().peekable();
    (0..logs.rows)
        .filter(|row| {
            let exception = with_exception.next_if_eq(row).is_some() || is_exception(text(logs.event_name, *row));
            exception || severity(logs, *row).is_some_and(|number| number >= SEVERITY_ERROR)
        })
        .collect()
}

/// How severe a record is. OTLP's 0 says that the number is unspecified; some senders give a text only.
fn severity(logs: &LogSigns<'_>, row: usize) -> Option<i32> {
    let number = value(logs.severity_number, row).filter(|number| *number != 0);
    number.or_else(|| text(logs.severity_text, row).and_then(severity_of_text))
}
