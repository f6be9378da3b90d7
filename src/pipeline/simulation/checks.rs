//! What holds at the end of every run, read from the lake: all that was sent is there once, and the journal is one order
//! in which each partition is read without a gap and by one owner at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::ops::Range;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use tracerag_index::{Head, Lake, stored};
use tracerag_schemas::{SourcePartition, Table};

use super::broker::{DEPLOYMENTS, FLAGS, HEAPS, METRICS};
use super::evidence::{Counts, Failure};
use super::traffic::Traffic;

/// Tables that have a row for each message of a topic, copies included, and the `source` of these rows.
const EACH: [(Table, &str, Option<&str>); 4] = [
    (Table::Metrics, METRICS, None),
    (Table::Flags, FLAGS, Some("change")),
    (Table::Builds, DEPLOYMENTS, Some("cdevent")),
    (Table::Heaps, HEAPS, None),
];

/// What was sent.
pub(super) struct Sent<'a> {
    pub traffic: &'a Traffic,
    /// Topic, partition and offset of what nobody can read.
    pub bad: &'a [(String, i32, i64)],
    /// Every partition with the offset behind its newest record.
    pub ends: Vec<(SourcePartition, i64)>,
    /// Every trace closes once.
    pub is_calm: bool,
    /// Bursts that were sent before there was peace.
    pub before_peace: usize,
}

impl Sent<'_> {
    /// What records repeat, without their traces, that were sent in peace only: no time passes then before everything is
    /// read.
    fn repeated_in_peace(&self) -> BTreeSet<&str> {
        let repeated = |bursts: Range<usize>| {
            let messages = self.traffic.bursts[bursts].iter().flatten();
            messages.filter_map(|message| message.repeats.as_deref()).collect::<BTreeSet<&str>>()
        };
        let (before, all) = (self.before_peace, self.traffic.bursts.len());
        &repeated(before..all) - &repeated(0..before)
    }
}

/// Gives the first thing that is wrong.
pub(super) async fn check(lake: &Lake, sent: &Sent<'_>) -> Result<(), String> {
    let head = lake.newest_head().await.map_err(text)?;
    check_spans(lake, &head, sent).await?;
    check_logs(lake, &head, sent).await?;
    check_traces(lake, &head, sent).await?;
    check_letters(lake, &head, sent).await?;
    for (table, topic, source) in EACH {
        check_each(lake, &head, sent, (table, topic, source)).await?;
    }
    check_failures(lake, &head, sent).await?;
    check_payloads(lake, &head, sent).await?;
    check_evaluations(lake, &head, sent).await?;
    check_heads(lake, &head).await?;
    check_journal(lake, &head).await?;
    for (source, end) in &sent.ends {
        let next = head.source(source).and_then(|state| state.next).unwrap_or(0);
        same(&format!("next offset of {source}"), &next, end)?;
    }
    Ok(())
}

/// Every span once, and in one trace only.
async fn check_spans(lake: &Lake, head: &Head, sent: &Sent<'_>) -> Result<(), String> {
    let mut found = Vec::new();
    for batch in rows(lake, head, Table::Spans, &["trace_id", "span_id"]).await? {
        let (traces, spans) = (texts(&batch, "trace_id")?, texts(&batch, "span_id")?);
        found.extend(traces.into_iter().zip(spans));
    }
    found.sort();
    let expected: Vec<_> = sent.traffic.spans.iter().cloned().collect();
    same("spans", &found, &expected)
}

/// Every log record as often as one message brought it.
async fn check_logs(lake: &Lake, head: &Head, sent: &Sent<'_>) -> Result<(), String> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for batch in rows(lake, head, Table::Logs, &["body"]).await? {
        for body in texts(&batch, "body")? {
            *found.entry(body).or_default() += 1;
        }
    }
    same("log records", &found, &sent.traffic.logs)
}

/// The revisions of a trace are 1, 2, 3 and so on, and the newest counts all its spans and what failed in them. Where all
/// parts came within the waits there is one.
async fn check_traces(lake: &Lake, head: &Head, sent: &Sent<'_>) -> Result<(), String> {
    let mut found: BTreeMap<String, Vec<(i64, i64, i64)>> = BTreeMap::new();
    for batch in rows(lake, head, Table::Traces, &["trace_id", "revision", "span_count", "failure_count"]).await? {
        let (revisions, spans) = (numbers(&batch, "revision")?, numbers(&batch, "span_count")?);
        let failures = numbers(&batch, "failure_count")?;
        for (row, trace) in texts(&batch, "trace_id")?.into_iter().enumerate() {
            found.entry(trace).or_default().push((revisions[row], spans[row], failures[row]));
        }
    }
    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    for (trace, _) in &sent.traffic.spans {
        *expected.entry(trace).or_default() += 1;
    }
    for (trace, rows) in &mut found {
        rows.sort_unstable();
        let revisions: Vec<i64> = rows.iter().map(|(revision, ..)| *revision).collect();
        let dense: Vec<i64> = (1..=rows.len() as i64).collect();
        same(&format!("revisions of trace {trace}"), &revisions, &dense)?;
        if sent.is_calm {
            same(&format!("revisions of trace {trace}, whose parts all came in time"), &rows.len(), &1)?;
        }
    }
    let newest: BTreeMap<&str, i64> =
        found.iter().filter_map(|(trace, rows)| rows.last().map(|(_, spans, _)| (trace.as_str(), *spans))).collect();
    same("spans of each trace by its newest revision", &newest, &expected)?;
    // A record may come after the last span of its trace: then there is no row that counts it.
    let by_trace = &sent.traffic.evidence.by_trace;
    let newest: BTreeMap<String, i64> = found
        .into_iter()
        .filter(|(trace, _)| by_trace.contains_key(trace))
        .filter_map(|(trace, rows)| rows.last().map(|(.., failures)| (trace, *failures)))
        .collect();
    same("failures of each trace by its newest revision", &newest, by_trace)
}

/// What nobody can read is a dead letter, once.
async fn check_letters(lake: &Lake, head: &Head, sent: &Sent<'_>) -> Result<(), String> {
    let mut found = Vec::new();
    let columns = ["kafka_topic", "kafka_partition", "kafka_offset"];
    for batch in rows(lake, head, Table::DeadLetters, &columns).await? {
        let (partitions, offsets) = (numbers(&batch, "kafka_partition")?, numbers(&batch, "kafka_offset")?);
        let places = partitions.into_iter().zip(offsets);
        for (topic, (partition, offset)) in texts(&batch, "kafka_topic")?.into_iter().zip(places) {
            found.push((topic, partition as i32, offset));
        }
    }
    found.sort();
    let mut expected = sent.bad.to_vec();
    expected.sort();
    same("dead letters", &found, &expected)
}

/// Every point, change and heap record is there once for each message that brought it, whatever offset that has.
async fn check_each(
    lake: &Lake,
    head: &Head,
    sent: &Sent<'_>,
    (table, topic, source): (Table, &str, Option<&str>),
) -> Result<(), String> {
    let mut origins = Vec::new();
    let columns = ["kafka_partition", "kafka_offset", "source"];
    let columns = if source.is_some() { &columns[..] } else { &columns[..2] };
    for batch in rows(lake, head, table, columns).await? {
        let places = numbers(&batch, "kafka_partition")?.into_iter().zip(numbers(&batch, "kafka_offset")?);
        match source {
            Some(source) => {
                let sources = texts(&batch, "source")?.into_iter();
                origins.extend(places.zip(sources).filter(|(_, found)| found == source).map(|(place, _)| place));
            }
            None => origins.extend(places),
        }
    }
    let found = origins.len();
    origins.sort_unstable();
    origins.dedup();
    let expected = sent.traffic.sent.get(topic).copied().unwrap_or(0);
    let what = format!("rows of {}, each from a message of its own", table.name());
    same(&what, &(found, origins.len()), &(expected, found))
}

/// Every failure is one row, and the counts of incidents add up to them. A record that repeats what a trace says is an
/// echo, or counts where its own partition was read long before those of the trace.
async fn check_failures(lake: &Lake, head: &Head, sent: &Sent<'_>) -> Result<(), String> {
    let mut found: BTreeMap<Failure, i64> = BTreeMap::new();
    let mut expected = sent.traffic.evidence.counts.clone();
    let repeated_in_peace = sent.repeated_in_peace();
    let columns = ["trace_id", "span_id", "exception_type", "message", "origin_id"];
    for batch in rows(lake, head, Table::Failures, &columns).await? {
        let (traces, spans) = (texts(&batch, "trace_id")?, texts(&batch, "span_id")?);
        let (types, messages) = (texts(&batch, "exception_type")?, texts(&batch, "message")?);
        for (row, origin) in texts(&batch, "origin_id")?.into_iter().enumerate() {
            let repeats = traces[row].is_empty() && !types[row].is_empty();
            if repeats && origin.is_empty() {
                let message = messages[row].as_str();
                same("failures that count though their trace tells of them", &repeated_in_peace.get(message), &None)?;
                let counts = expected.entry(types[row].clone()).or_default();
                counts.origins += 1;
                counts.echoes -= 1;
            }
            let failure = Failure {
                trace: traces[row].clone(),
                span: spans[row].clone(),
                exception_type: types[row].clone(),
                message: messages[row].clone(),
                is_echo: repeats || !origin.is_empty(),
            };
            *found.entry(failure).or_default() += 1;
        }
    }
    same("failures", &found, &sent.traffic.evidence.failures)?;
    let mut found: BTreeMap<String, Counts> = BTreeMap::new();
    let columns = ["exception_type", "failure_count", "echo_count", "trace_count"];
    for batch in rows(lake, head, Table::IncidentCounts, &columns).await? {
        let (origins, echoes) = (numbers(&batch, "failure_count")?, numbers(&batch, "echo_count")?);
        let traces = numbers(&batch, "trace_count")?;
        for (row, exception_type) in texts(&batch, "exception_type")?.into_iter().enumerate() {
            let counts = found.entry(exception_type).or_default();
            counts.origins += origins[row];
            counts.echoes += echoes[row];
            counts.traces += traces[row];
        }
    }
    same("counts of incidents", &found, &expected)
}

/// Every payload is there, and not more often than it was sent: payloads do not pass the window.
async fn check_payloads(lake: &Lake, head: &Head, sent: &Sent<'_>) -> Result<(), String> {
    let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
    for batch in rows(lake, head, Table::Payloads, &["trace_id", "span_id"]).await? {
        for place in texts(&batch, "trace_id")?.into_iter().zip(texts(&batch, "span_id")?) {
            *found.entry(place).or_default() += 1;
        }
    }
    let too_often = found.iter().find(|(place, times)| sent.traffic.payloads.get(&place.0) < Some(*times));
    same("payload that is there too often", &too_often, &None)?;
    same("payloads", &found.into_keys().collect(), &sent.traffic.evidence.payloads)
}

/// Every evaluation of a flag is there once, with its span, and every version that a resource names at least once.
async fn check_evaluations(lake: &Lake, head: &Head, sent: &Sent<'_>) -> Result<(), String> {
    let mut found = Vec::new();
    for batch in rows(lake, head, Table::Flags, &["source", "trace_id", "span_id", "variant"]).await? {
        let (traces, spans) = (texts(&batch, "trace_id")?, texts(&batch, "span_id")?);
        let variants = texts(&batch, "variant")?;
        for (row, _) in texts(&batch, "source")?.iter().enumerate().filter(|(_, source)| *source == "evaluation") {
            found.push((traces[row].clone(), spans[row].clone(), variants[row].clone()));
        }
    }
    found.sort();
    let evidence = &sent.traffic.evidence;
    same("evaluations", &found, &evidence.evaluations.iter().cloned().collect())?;
    let mut versions = BTreeSet::new();
    for batch in rows(lake, head, Table::Builds, &["source", "version"]).await? {
        let sources = texts(&batch, "source")?.into_iter().zip(texts(&batch, "version")?);
        versions.extend(sources.filter(|(source, _)| source == "resource").map(|(_, version)| version));
    }
    same("versions", &versions, &evidence.versions)
}

/// Heads are one sequence, and their positions never go back.
async fn check_heads(lake: &Lake, head: &Head) -> Result<(), String> {
    let batch = whole(lake, "heads").await?;
    let mut all: Vec<(i64, i64)> = numbers(&batch, "sequence")?.into_iter().zip(numbers(&batch, "position")?).collect();
    all.sort_unstable();
    let first = all.first().map_or(0, |(sequence, _)| *sequence);
    let sequences: Vec<i64> = all.iter().map(|(sequence, _)| *sequence).collect();
    let dense: Vec<i64> = (first..).take(all.len()).collect();
    same("sequence of heads", &sequences, &dense)?;
    if !all.is_sorted_by_key(|(_, position)| *position) {
        return Err(format!("the positions of heads go back: {all:?}"));
    }
    same("position of the newest head", &all.last().map(|(_, position)| *position), &Some(head.position as i64))
}

/// Positions are dense. Of the records that count, each goes on where the last one of its partitions ended, under the
/// newest claim.
async fn check_journal(lake: &Lake, head: &Head) -> Result<(), String> {
    let batch = whole(lake, "journal").await?;
    let (positions, kinds) = (numbers(&batch, "position")?, texts(&batch, "kind")?);
    let sources = batch.column_by_name("sources").and_then(|column| column.as_list_opt::<i32>());
    let sources = sources.ok_or("the journal has no sources")?;
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by_key(|row| positions[*row]);
    let found: Vec<i64> = order.iter().map(|row| positions[*row]).collect();
    let dense: Vec<i64> = (1..=head.position as i64).collect();
    same("positions of the journal", &found, &dense)?;
    let mut stands: BTreeMap<(String, i64), (i64, Option<i64>)> = BTreeMap::new();
    for row in order.into_iter().filter(|row| !head.void.contains(&(positions[*row] as u64))) {
        for interval in intervals(&sources.value(row))? {
            let (generation, next) = stands.get(&interval.partition).copied().unwrap_or((0, None));
            let is_claim = kinds[row] == "claim";
            let follows = match is_claim {
                true => interval.generation > generation && interval.to == interval.from,
                false => interval.generation == generation && interval.to >= interval.from,
            };
            if !follows || interval.from != next {
                let position = positions[row];
                return Err(format!("position {position} does not follow ({generation}, {next:?}): {interval:?}"));
            }
            stands.insert(interval.partition, (interval.generation, interval.to));
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Interval {
    partition: (String, i64),
    generation: i64,
    from: Option<i64>,
    to: Option<i64>,
}

fn intervals(sources: &ArrayRef) -> Result<Vec<Interval>, String> {
    let batch = RecordBatch::from(sources.as_struct_opt().ok_or("the sources of a record are no structs")?);
    let (topics, partitions) = (texts(&batch, "topic")?, numbers(&batch, "partition")?);
    let generations = numbers(&batch, "generation")?;
    let (from, to) = (integers(&batch, "from")?, integers(&batch, "to")?);
    let mut all = Vec::new();
    for (row, partition) in topics.into_iter().zip(partitions).enumerate() {
        all.push(Interval { partition, generation: generations[row], from: from[row], to: to[row] });
    }
    Ok(all)
}

async fn whole(lake: &Lake, name: &str) -> Result<RecordBatch, String> {
    lake.newest(name).await.map_err(text)?.scan().try_into_batch().await.map_err(text)
}

async fn rows(lake: &Lake, head: &Head, table: Table, columns: &[&str]) -> Result<Vec<RecordBatch>, String> {
    let mut batches = Vec::new();
    let take = |batch| {
        batches.push(batch);
        Ok::<_, tracerag_index::Error>(())
    };
    stored::each_batch(lake, head, table, columns, take).await.map_err(text)?;
    Ok(batches)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    batch.column_by_name(name).ok_or_else(|| format!("there is no column {name}"))
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Vec<String>, String> {
    let column = cast(column(batch, name)?, &DataType::Utf8).map_err(text)?;
    Ok(column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

fn integers(batch: &RecordBatch, name: &str) -> Result<Vec<Option<i64>>, String> {
    let column = cast(column(batch, name)?, &DataType::Int64).map_err(text)?;
    Ok(column.as_primitive::<Int64Type>().iter().collect())
}

fn numbers(batch: &RecordBatch, name: &str) -> Result<Vec<i64>, String> {
    integers(batch, name)?.into_iter().map(|number| number.ok_or_else(|| format!("{name} is null"))).collect()
}

fn text(error: impl Display) -> String {
    error.to_string()
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}\n     found: {found:?}\n  expected: {expected:?}")),
    }
}
