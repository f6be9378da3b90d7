//! Flag evaluations that the telemetry carries: span events and log records named
//! `feature_flag.evaluation`, in older releases of the conventions `feature_flag`.

use std::borrow::Cow;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;

use crate::columns::{Entries, Text, number, times};
use crate::error::{Error, Result};

const NAMES: [&str; 2] = ["feature_flag.evaluation", "feature_flag"];

/// One evaluation.
#[derive(Debug, Clone)]
pub(crate) struct Evaluation<'a> {
    /// Row of the span or log record.
    pub row: usize,
    pub time: Option<i64>,
    pub key: &'a str,
    pub variant: Option<&'a str>,
    pub value: Option<Cow<'a, str>>,
    pub reason: Option<&'a str>,
    pub provider: Option<&'a str>,
    pub set: Option<&'a str>,
    pub version: Option<&'a str>,
}

impl<'a> Evaluation<'a> {
    fn of(row: usize, time: Option<i64>, attributes: Entries<'a>, at: usize) -> Option<Self> {
        let mut key = None;
        let (mut variant, mut value, mut reason) = (None, None, None);
        let (mut provider, mut set, mut version) = (None, None, None);
        for (name, text) in attributes.row(at) {
            let place = match name {
                "feature_flag.key" => &mut key,
                "feature_flag.result.variant" => &mut variant,
                "feature_flag.result.value" => &mut value,
                "feature_flag.result.reason" => &mut reason,
                "feature_flag.provider.name" => &mut provider,
                "feature_flag.set.id" => &mut set,
                "feature_flag.version" => &mut version,
                _ => continue,
            };
            *place = text;
        }
        let value = value.map(unquoted);
        Some(Self { row, time, key: key?, variant, value, reason, provider, set, version })
    }
}

/// Some SDKs write the value as JSON text: a string then stands in quotes within the string.
fn unquoted(text: &str) -> Cow<'_, str> {
    let quoted = text.starts_with('"').then(|| serde_json::from_str::<String>(text).ok()).flatten();
    quoted.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Evaluations among the events of spans, by row.
pub(crate) fn of_spans(spans: &RecordBatch) -> Result<Vec<Evaluation<'_>>> {
    let wanted = || Error::Column { name: "events".to_owned(), wanted: "a list of events" };
    let events = spans.column_by_name("events").and_then(|column| column.as_list_opt::<i32>()).ok_or_else(wanted)?;
    let fields = events.values().as_struct_opt().ok_or_else(wanted)?;
    let names = fields.column_by_name("name").and_then(|names| names.as_string_opt::<i32>()).ok_or_else(wanted)?;
    let times = fields
        .column_by_name("time")
        .and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>())
        .ok_or_else(wanted)?;
    let attributes = Entries::of(fields.column_by_name("attributes").ok_or_else(wanted)?, "events.attributes")?;
    let mut found = vec![];
    let mut row = 0;
    for event in 0..names.len() {
        if names.is_null(event) || !NAMES.contains(&names.value(event)) {
            continue;
        }
        while row < events.len() && events.offsets()[row + 1] as usize <= event {
            row += 1;
        }
        let inside = row < events.len() && events.offsets()[row] as usize <= event && events.is_valid(row);
        if inside {
            found.extend(Evaluation::of(row, number(times, event), attributes, event));
        }
    }
    Ok(found)
}

/// Evaluations among log records, by row.
pub(crate) fn of_logs(logs: &RecordBatch) -> Result<Vec<Evaluation<'_>>> {
    let names = Text::of(logs, "event_name")?;
    let (time, observed) = (times(logs, "time")?, times(logs, "observed_time")?);
    let column = logs.column_by_name("attributes");
    let column = column.ok_or_else(|| Error::Column { name: "attributes".to_owned(), wanted: "a list of entries" })?;
    let attributes = Entries::of(column, "attributes")?;
    let named = (0..logs.num_rows()).filter(|row| names.get(*row).is_some_and(|name| NAMES.contains(&name)));
    let at = |row| number(time, row).or_else(|| number(observed, row));
    Ok(named.filter_map(|row| Evaluation::of(row, at(row), attributes, row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value in JSON quotes loses them; other JSON and broken quotes stay.
    #[test]
    fn json_texts_lose_their_quotes() {
        assert_eq!(unquoted(r#""strict""#), "strict");
        assert_eq!(unquoted(r#""a\"b""#), "a\"b");
        for text in ["strict", "true", "1.5", r#"{"a":"b"}"#, r#""open"#, ""] {
            assert_eq!(unquoted(text), text);
        }
    }
}
