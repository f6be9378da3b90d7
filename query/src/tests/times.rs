//! How much of a lake is read for a time range.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampNanosecondArray, new_null_array};
use arrow::record_batch::RecordBatch;
use datafusion::common::{ParamValues, ScalarValue};
use lance_io::utils::tracking_store::IOTracker;
use tempfile::TempDir;
use tracerag_index::{Epoch, Lake, LakeOptions, MaintainOptions, SourceProgress, Writer, maintain};
use tracerag_schemas::time::{DAY, SECOND, rfc3339};
use tracerag_schemas::{SourcePartition, Table};

use super::counted::counted;
use crate::{Session, SessionOptions};

const HOUR: i64 = 3_600 * SECOND;
const DAYS: i64 = 30;
/// Rows that each table gets in an hour.
const ROWS: i64 = 24;
/// Hours of an epoch, and so of a fragment: a day has several, in the order of time, as a compacted one has.
const HOURS: i64 = 6;
/// Characters of one text of each row, so that files are larger than what is said about them.
const TEXT: usize = 1_000;
/// The most that an hour may take of what all takes.
const PERCENT: u64 = 3;

/// The tables with a time, the column, and a column that takes a text.
const TABLES: [(Table, &str, &str); 5] = [
    (Table::Spans, "start_time", "status_message"),
    (Table::Logs, "time", "body"),
    (Table::Metrics, "time", "description"),
    (Table::Traces, "start_time", "root_name"),
    (Table::Failures, "time", "stacktrace"),
];

/// Letters and digits that no encoding makes much smaller, always the same for a number.
fn noise(number: i64, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/";
    let mut state = number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state >> 32) as usize % LETTERS.len()])
    };
    (0..length).map(letter).collect()
}

/// Rows of a table with the given numbers, a long text in the named column, each of them as much later than `begin` as its number says.
pub(super) fn rows(table: Table, text: &str, begin: i64, numbers: std::ops::Range<i64>) -> RecordBatch {
    let schema = table.lake_schema();
    let numbers: Vec<i64> = numbers.collect();
    let n = numbers.len();
    let texts = |of: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(numbers.iter().map(|number| of(*number))))
    };
    let times = |delay: i64| -> ArrayRef {
        let times = numbers.iter().map(|number| begin + number * HOUR / ROWS + delay);
        Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let column = |name: &str| -> Option<ArrayRef> {
        Some(match name {
            "tenant_id" => texts(&|_| "default".to_owned()),
            "trace_id" => texts(&|number| format!("{number:032x}")),
            "span_id" => texts(&|number| format!("{number:016x}")),
            "revision" => Arc::new(Int32Array::from(vec![1; n])),
            "kafka_topic" => texts(&|_| "otlp_spans".to_owned()),
            "kafka_partition" => Arc::new(Int32Array::from(vec![0; n])),
            "kafka_offset" => Arc::new(Int64Array::from(numbers.clone())),
            "start_time" | "time" => times(0),
            "end_time" => times(SECOND),
            "ingested_at" => times(2 * SECOND),
            name if name == text => texts(&|number| noise(number, TEXT)),
            _ => return None,
        })
    };
    let columns = schema.fields().iter().map(|field| {
        let column = column(field.name());
        column.unwrap_or_else(|| new_null_array(field.data_type(), n))
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

/// Thirty days from a time on, indexed as upkeep does it.
async fn thirty_days(begin: i64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open_or_create(LakeOptions::new(folder.path().to_str().unwrap())).await.unwrap();
    let source = SourcePartition::new("cluster", "otlp_spans", 0);
    let mut writer = Writer::new(lake.clone(), "test".to_owned()).await.unwrap();
    writer.claim(std::slice::from_ref(&source)).await.unwrap();
    for epoch in 0..DAYS * 24 / HOURS {
        let (from, to) = (epoch * HOURS * ROWS, (epoch + 1) * HOURS * ROWS);
        let stream_time = begin + (epoch + 1) * HOURS * HOUR;
        let rows = TABLES.map(|(table, _, text)| (table, rows(table, text, begin, from..to))).to_vec();
        let sources = vec![SourceProgress { source: source.clone(), to, low_watermark: to, stream_time }];
        writer.write(Epoch { rows, sources, closed: vec![] }).await.unwrap();
    }
    let report = maintain(&lake, &MaintainOptions::default()).await.unwrap();
    assert_eq!(report.failed, vec![]);
    folder
}

/// Bytes that a question takes on a lake that was just opened, and the rows that it counts or gives.
pub(super) async fn asked(folder: &TempDir, question: &str, parameters: Option<ParamValues>) -> (u64, usize) {
    let reads = IOTracker::default();
    let options = LakeOptions::new(folder.path().to_str().unwrap());
    let lake = Lake::open_or_create_on(options, counted(&reads)).await.unwrap();
    let session = Session::open(&lake, SessionOptions::new("default")).await.unwrap();
    // What opening takes is the same for every question.
    reads.incremental_stats();
    let batches = session.collect(question, parameters).await.unwrap();
    (reads.stats().read_bytes, batches.iter().map(RecordBatch::num_rows).sum())
}

/// All stored columns; those that are computed from other tables are another question.
fn columns(table: Table) -> String {
    let schema = table.lake_schema();
    schema.fields().iter().map(|field| format!("\"{}\"", field.name())).collect::<Vec<_>>().join(", ")
}

/// An hour of logs is asked for with all columns of the view, `joined_by` included, which says what spans and traces there
/// are beside: in the middle of a day, and at the very begin of one. Guarantees that the stored columns take no more than
/// 3 % of the bytes that those of all days take; that what is read beside them, of the day and the one before, takes no
/// more than three of thirty days do; and that each record of the hour finds its span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_logs_looks_for_spans_around_it() {
    let begin = MaintainOptions::default().now.div_euclid(DAY) * DAY - DAYS * DAY;
    let folder = thirty_days(begin).await;
    let columns = columns(Table::Logs);
    // Bytes of the stored columns, and what all columns take beside, of the records that meet a condition.
    let taken = async |which: &str, expected: i64| {
        let (stored, _) = asked(&folder, &format!("select {columns} from logs where {which}"), None).await;
        let (whole, rows) = asked(&folder, &format!("select * from logs where {which}"), None).await;
        assert_eq!(rows as i64, expected, "{which}");
        (stored, whole.saturating_sub(stored))
    };
    let (all, beside_all) = taken("true", DAYS * 24 * ROWS).await;
    for from in [begin + 14 * DAY + 8 * HOUR, begin + 14 * DAY] {
        let hour = format!("time >= '{}' and time < '{}'", rfc3339(from), rfc3339(from + HOUR));
        let (stored, beside) = taken(&hour, ROWS).await;
        assert!(stored * 100 <= all * PERCENT, "{stored} of {all} bytes");
        assert!(beside * DAYS as u64 <= beside_all * 3, "{beside} of {beside_all} bytes");
        let joined = format!("select time from logs where joined_by = 'ids' and {hour}");
        assert_eq!(asked(&folder, &joined, None).await.1 as i64, ROWS);
    }
}

/// One hour of a lake of thirty days is asked for in each way in which people and programs do it: with times as text or
/// as timestamps, as parameters of two precisions, grouped by `date_bin` and `date_trunc`, and counted back from now.
/// Guarantees that no such question reads more than 3 % of the bytes of its table, indices and manifests included; twice as
/// much where the last hour lies in two days.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_reads_a_fraction_of_thirty_days() {
    let now = MaintainOptions::default().now;
    // The present is in the middle of the last epoch.
    let begin = now.div_euclid(HOUR) * HOUR - DAYS * DAY + HOURS / 2 * HOUR;
    let folder = thirty_days(begin).await;
    // An hour in the middle of a fragment in the middle of a day.
    let from = begin + 14 * DAY + 2 * HOUR;
    let to = from + HOUR;
    let (since, until) = (rfc3339(from), rfc3339(to));
    let utc = || Some(Arc::from("UTC"));
    let micros = |ns: i64| ScalarValue::TimestampMicrosecond(Some(ns / 1_000), utc());
    let nanos = |ns: i64| ScalarValue::TimestampNanosecond(Some(ns), utc());
    for (table, time, _) in TABLES {
        let (name, columns) = (table.name(), columns(table));
        let (all, rows) = asked(&folder, &format!("select {columns} from {name}"), None).await;
        assert_eq!(rows as i64, DAYS * 24 * ROWS, "{name}");
        let rows_of = format!("select {columns} from {name} where {time}");
        let groups = |by: &str| {
            format!(
                "select {by} as t, count(*) as n from {name}
                 where {time} >= '{since}' and {time} < '{until}' group by t order by t"
            )
        };
        let hour = ROWS as usize;
        let questions = [
            (format!("{rows_of} >= '{since}' and {time} < '{until}'"), None, hour),
            (
                format!("{rows_of} >= timestamp '{since}' and {time} < timestamp '{since}' + interval '1 hour'"),
                None,
                hour,
            ),
            (format!("{rows_of} between '{since}' and '{}'", rfc3339(to - 1)), None, hour),
            (format!("{rows_of} >= $1 and {time} < $2"), Some(ParamValues::from(vec![nanos(from), nanos(to)])), hour),
            (
                format!("{rows_of} >= $since and {time} < $until"),
                Some(ParamValues::from(vec![("since", micros(from)), ("until", micros(to))])),
                hour,
            ),
            (groups(&format!("date_bin(interval '5 minutes', {time})")), None, 12),
            (groups(&format!("date_trunc('minute', {time})")), None, hour),
            (format!("select count(*) from {name} where {time} >= '{since}' and {time} < '{until}'"), None, 1),
        ];
        for (question, parameters, expected) in questions {
            let (bytes, rows) = asked(&folder, &question, parameters).await;
            assert_eq!(rows, expected, "{question}");
            assert!(bytes * 100 <= all * PERCENT, "{bytes} of {all} bytes: {question}");
        }
        let question = format!("{rows_of} between now() - interval '1 hour' and now()");
        let before = MaintainOptions::default().now;
        let (bytes, rows) = asked(&folder, &question, None).await;
        assert!((hour - 1..=hour + 1).contains(&rows), "{rows} rows: {question}");
        // Each day is a dataset of its own, of which as much may be read.
        let days = MaintainOptions::default().now.div_euclid(DAY) - (before - HOUR).div_euclid(DAY) + 1;
        assert!(bytes * 100 <= all * PERCENT * days as u64, "{bytes} of {all} bytes, {days} days: {question}");
    }
}
