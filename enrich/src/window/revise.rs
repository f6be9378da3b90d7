//! Revisions: what is added to a trace that the lake holds already.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortColumn, SortOptions, interleave, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use rustc_hash::FxHashMap;
use tracerag_schemas::ids::TraceId;

use super::close::with_column;
use super::flushed::{CloseReason, Closed, Flushed};
use crate::columns::{Ids, Text, number, numbers};
use crate::error::{Error, Result};
use crate::gather::{Runs, gather_batch};
use crate::join::summary::{SpanColumns, SpanRef, summarise};
use crate::join::trace_rows::{TraceFacts, TraceRows};

type TraceKey<'a> = (&'a str, TraceId);

/// Rows of a batch by trace.
struct ByTrace<'a>(FxHashMap<TraceKey<'a>, Vec<usize>>);

impl<'a> ByTrace<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let mut rows: FxHashMap<TraceKey<'a>, Vec<usize>> = FxHashMap::default();
        if batch.num_rows() > 0 {
            let (tenants, ids) = (Text::of(batch, "tenant_id")?, Ids::<16>::of(batch, "trace_id")?);
            for row in 0..batch.num_rows() {
                if let Some(id) = ids.get(row) {
                    rows.entry((tenants.get(row).unwrap_or_default(), id)).or_default().push(row);
                }
            }
        }
        Ok(Self(rows))
    }

    fn rows(&self, trace: &'a Closed) -> &[usize] {
        self.0.get(&(&*trace.tenant, trace.trace_id)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What the lake holds of the traces of the fragments, in lake schema. Columns beyond the named ones may
/// be left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    spans: &'a RecordBatch,
    traces: &'a RecordBatch,
    logs: &'a RecordBatch,
}

/// Makes revisions of a flush's fragments ([`Closed::fragment`]), given what the lake holds of their traces:
///
/// - `stored_spans`: tenant_id, trace_id, span_id, parent_span_id, revision, name, service_name,
///   deployment_environment_name, start_time, end_time, status_code and the three dropped counts;
/// - `stored_traces`: all columns, of every revision or of the newest;
/// - `stored_logs`: tenant_id, trace_id, record_hash.
///
/// A batch without rows may have any schema. Spans that are stored already are dropped; if any remain they get
/// the greatest stored revision + 1 and the trace's row becomes cumulative, otherwise the row goes. Log records
/// that are stored already are dropped as well. What was in effect is united: the stored revision's entries
/// stay, and those of the fragment that it lacks are added.
///
/// # Errors
/// When a column is missing or of another type.
pub fn revise(
    flushed: &mut Flushed,
    stored_spans: &RecordBatch,
    stored_traces: &RecordBatch,
    stored_logs: &RecordBatch,
) -> Result<()> {
    if !flushed.has_fragments() {
        return Ok(());
    }
    let stored = Stored { spans: stored_spans, traces: stored_traces, logs: stored_logs };
    let before = flushed.clone();
    Revision::of(&before, stored)?.apply(flushed)
}

struct Revision<'a> {
    flushed: &'a Flushed,
    stored: Stored<'a>,
    spans: ByTrace<'a>,
    logs: ByTrace<'a>,
    traces: ByTrace<'a>,
    stored_spans: ByTrace<'a>,
    stored_traces: ByTrace<'a>,
    stored_logs: ByTrace<'a>,
}

/// What remains of one fragment.
struct Remains<'a> {
    closed: &'a Closed,
    /// Its row in `traces`.
    row: usize,
    spans: Vec<usize>,
    logs: i64,
    /// Revision of the rows that remain.
    revision: i32,
}

impl<'a> Revision<'a> {
    fn of(flushed: &'a Flushed, stored: Stored<'a>) -> Result<Self> {
        Ok(Self {
            flushed,
            stored,
            spans: ByTrace::of(&flushed.spans)?,
            logs: ByTrace::of(&flushed.logs)?,
            traces: ByTrace::of(&flushed.traces)?,
            stored_spans: ByTrace::of(stored.spans)?,
            stored_traces: ByTrace::of(stored.traces)?,
            stored_logs: ByTrace::of(stored.logs)?,
        })
    }

    fn apply(self, out: &mut Flushed) -> Result<()> {
        let flushed = self.flushed;
        let (mut keep_spans, mut keep_logs) =
            (vec![true; flushed.spans.num_rows()], vec![true; flushed.logs.num_rows()]);
        let mut span_revisions = vec![1i32; keep_spans.len()];
        let mut log_revisions = vec![1i32; keep_logs.len()];
        let mut remains = vec![];
        for closed in flushed.closed.iter().filter(|closed| closed.fragment) {
            let Some(row) = self.traces.rows(closed).first().copied() else { continue };
            let spans = self.new_spans(closed, &mut keep_spans)?;
            let logs = self.new_logs(closed, &mut keep_logs)?;
            let greatest = self.greatest_revision(closed)?;
            let revision = if spans.is_empty() { greatest.max(1) } else { greatest + 1 };
            spans.iter().for_each(|row| span_revisions[*row] = revision);
            self.logs.rows(closed).iter().for_each(|row| log_revisions[*row] = revision);
            remains.push(Remains { closed, row, spans, logs, revision });
        }
        out.traces = self.traces(&remains)?;
        let spans = with_column(&flushed.spans, "revision", Arc::new(Int32Array::from(span_revisions)))?;
        let logs = with_column(&flushed.logs, "revision", Arc::new(Int32Array::from(log_revisions)))?;
        let dropped = |kept: &[bool]| kept.iter().filter(|kept| !**kept).count() as u64;
        out.counts.duplicate_spans += dropped(&keep_spans);
        out.counts.duplicate_logs += dropped(&keep_logs);
        out.counts.spans -= dropped(&keep_spans).min(out.counts.spans);
        out.counts.logs -= dropped(&keep_logs).min(out.counts.logs);
        out.flags = self.new_flags(&keep_spans)?;
        out.spans = kept(&spans, &keep_spans)?;
        out.logs = kept(&logs, &keep_logs)?;
        Ok(())
    }

    /// The spans that are not stored; the others lose their mark.
    fn new_spans(&self, closed: &'a Closed, keep: &mut [bool]) -> Result<Vec<usize>> {
        let rows = self.spans.rows(closed);
        let stored = self.stored_spans.rows(closed);
        if stored.is_empty() {
            return Ok(rows.to_vec());
        }
        let stored_ids = Ids::<8>::of(self.stored.spans, "span_id")?;
        let known: rustc_hash::FxHashSet<[u8; 8]> = stored.iter().filter_map(|row| stored_ids.get(*row)).collect();
        let ids = Ids::<8>::of(&self.flushed.spans, "span_id")?;
        let is_new = |row: &usize| ids.get(*row).is_none_or(|id| !known.contains(&id));
        rows.iter().for_each(|row| keep[*row] = is_new(row));
        Ok(rows.iter().copied().filter(is_new).collect())
    }

    /// Drops logs that are stored as often as they occur here. Gives how many the trace then has in all.
    fn new_logs(&self, closed: &'a Closed, keep: &mut [bool]) -> Result<i64> {
        let (rows, stored) = (self.logs.rows(closed), self.stored_logs.rows(closed));
        if stored.is_empty() {
            return Ok(rows.len() as i64);
        }
        let stored_hashes = Ids::<16>::of(self.stored.logs, "record_hash")?;
        let mut known: FxHashMap<[u8; 16], usize> = FxHashMap::default();
        for hash in stored.iter().filter_map(|row| stored_hashes.get(*row)) {
            *known.entry(hash).or_default() += 1;
        }
        let hashes = Ids::<16>::of(&self.flushed.logs, "record_hash")?;
        let mut remaining = stored.len() as i64;
        for row in rows {
            match hashes.get(*row).and_then(|hash| known.get_mut(&hash)).filter(|times| **times > 0) {
                Some(times) => {
                    *times -= 1;
                    keep[*row] = false;
                }
                None => remaining += 1,
            }
        }
        Ok(remaining)
    }

    fn greatest_revision(&self, closed: &'a Closed) -> Result<i32> {
        let mut greatest = 0;
        for (batch, rows) in
            [(self.stored.spans, self.stored_spans.rows(closed)), (self.stored.traces, self.stored_traces.rows(closed))]
        {
            if !rows.is_empty() {
                let revisions = numbers::<Int32Type>(batch, "revision", "Int32")?;
                greatest = rows.iter().filter_map(|row| number(revisions, *row)).fold(greatest, i32::max);
            }
        }
        Ok(greatest)
    }

    /// The rows of `traces`: cumulative ones in place of those of the fragments, none where nothing remains.
    fn traces(&self, remains: &[Remains<'a>]) -> Result<RecordBatch> {
        let flushed = &self.flushed.traces;
        let mut tables = vec![SpanColumns::of(&self.flushed.spans)?];
        if self.stored.spans.num_rows() > 0 {
            tables.push(SpanColumns::of(self.stored.spans)?);
        }
        let sampled_by = Text::of(flushed, "sampled_by")?;
        let mut rows = TraceRows::default();
        let (mut flags, mut builds) = (Union::new("flags_in_effect"), Union::new("builds_in_effect"));
        let mut keep: Vec<bool> = vec![true; flushed.num_rows()];
        for remains in remains {
            keep[remains.row] = false;
            if remains.spans.is_empty() {
                continue;
            }
            let stored = self.stored_spans.rows(remains.closed).iter().map(|row| SpanRef { table: 1, row: *row });
            let mut spans: Vec<SpanRef> =
                remains.spans.iter().map(|row| SpanRef { table: 0, row: *row }).chain(stored).collect();
            spans.sort_by_key(|span| {
                let columns = &tables[span.table];
                (number(columns.starts, span.row), columns.ids.get(span.row))
            });
            let truncated = remains.closed.reason == CloseReason::MaxBytes;
            let newest = self.newest_stored(remains.closed)?;
            let facts = TraceFacts {
                closed: remains.closed,
                revision: remains.revision,
                logs: remains.logs,
                failures: newest.map(|row| self.stored_failures(row)).transpose()?.flatten(),
                sampled_by: sampled_by.get(remains.row),
            };
            rows.push(&summarise(&tables, &spans, truncated), &facts);
            flags.push(
                newest.map(|row| (self.stored.traces, row)),
                (flushed, remains.row),
                &["kind", "key", "service"],
            )?;
            let identity = ["service", "instance", "environment", "version", "git_sha"];
            builds.push(newest.map(|row| (self.stored.traces, row)), (flushed, remains.row), &identity)?;
        }
        let revised = rows.finish(flags.finish(flushed)?, builds.finish(flushed)?)?;
        let untouched = kept(flushed, &keep)?;
        sorted(&arrow::compute::concat_batches(&untouched.schema(), [&untouched, &revised])?)
    }

    /// How many failures a stored row counts: whoever extracts those of the new rows adds them.
    fn stored_failures(&self, row: usize) -> Result<Option<i64>> {
        Ok(number(numbers::<Int64Type>(self.stored.traces, "failure_count", "Int64")?, row))
    }

    /// The row of the newest stored revision.
    fn newest_stored(&self, closed: &'a Closed) -> Result<Option<usize>> {
        let rows = self.stored_traces.rows(closed);
        if rows.is_empty() {
            return Ok(None);
        }
        let revisions = numbers::<Int32Type>(self.stored.traces, "revision", "Int32")?;
        Ok(rows.iter().copied().max_by_key(|row| number(revisions, *row)))
    }

    /// Evaluations of spans that are stored already are so too. Those of logs name the log's origin.
    fn new_flags(&self, keep: &[bool]) -> Result<RecordBatch> {
        let flags = &self.flushed.flags;
        if flags.num_rows() == 0 || keep.iter().all(|keep| *keep) {
            return Ok(flags.clone());
        }
        type Place<'b> = (&'b str, Option<TraceId>, Option<[u8; 8]>, &'b str, i64);
        fn places(batch: &RecordBatch) -> Result<Vec<Place<'_>>> {
            let (tenants, topics) = (Text::of(batch, "tenant_id")?, Text::of(batch, "kafka_topic")?);
            let (traces, spans) = (Ids::<16>::of(batch, "trace_id")?, Ids::<8>::of(batch, "span_id")?);
            let offsets = numbers::<Int64Type>(batch, "kafka_offset", "Int64")?;
            let of = |row| {
                let (tenant, topic) = (tenants.get(row).unwrap_or_default(), topics.get(row).unwrap_or_default());
                (tenant, traces.get(row), spans.get(row), topic, number(offsets, row).unwrap_or(-1))
            };
            Ok((0..batch.num_rows()).map(of).collect())
        }
        let dropped: rustc_hash::FxHashSet<Place<'_>> = places(&self.flushed.spans)?
            .into_iter()
            .zip(keep)
            .filter(|(_, keep)| !**keep)
            .map(|(place, _)| place)
            .collect();
        let keep: Vec<bool> = places(flags)?.iter().map(|place| !dropped.contains(place)).collect();
        kept(flags, &keep)
    }
}

/// Lists of entries of two batches, united.
struct Union {
    column: &'static str,
    lengths: Vec<usize>,
    /// (0: stored, 1: flushed; entry).
    entries: Vec<(usize, usize)>,
    stored: Option<ArrayRef>,
}

impl Union {
    fn new(column: &'static str) -> Self {
        Self { column, lengths: vec![], entries: vec![], stored: None }
    }

    fn list<'b>(&self, batch: &'b RecordBatch) -> Result<&'b ListArray> {
        let column = batch.column_by_name(self.column).and_then(|column| column.as_list_opt::<i32>());
        column.ok_or_else(|| Error::Column { name: self.column.to_owned(), wanted: "a list of structs" })
    }

    /// Adds a row: the stored entries, and those of the fragment that differ from all of them in `identity`.
    /// A fragment's evaluated entry takes the place of a stored one that is not.
    fn push(
        &mut self,
        stored: Option<(&RecordBatch, usize)>,
        flushed: (&RecordBatch, usize),
        identity: &[&str],
    ) -> Result<()> {
        let new = self.list(flushed.0)?;
        let new_entries = entries(new, flushed.1);
        let before = self.entries.len();
        let Some((batch, row)) = stored else {
            self.entries.extend(new_entries.map(|entry| (1, entry)));
            self.lengths.push(self.entries.len() - before);
            return Ok(());
        };
        let old = self.list(batch)?;
        self.stored.get_or_insert_with(|| Arc::clone(old.values()));
        let (old_structs, new_structs) = (old.values().as_struct(), new.values().as_struct());
        let text = |structs: &StructArray, name: &str, entry: usize| -> Option<String> {
            let column = structs.column_by_name(name)?.as_string_opt::<i32>()?;
            column.is_valid(entry).then(|| column.value(entry).to_owned())
        };
        let key = |structs: &StructArray, entry| -> Vec<Option<String>> {
            identity.iter().map(|name| text(structs, name, entry)).collect()
        };
        let told = |structs: &StructArray, entry| text(structs, "match", entry).as_deref() == Some("evaluated");
        let new_entries: Vec<(usize, Vec<Option<String>>)> =
            new_entries.map(|entry| (entry, key(new_structs, entry))).collect();
        let mut known = vec![];
        for entry in entries(old, row) {
            let key = key(old_structs, entry);
            let overtold = !told(old_structs, entry)
                && new_entries.iter().any(|(new, other)| *other == key && told(new_structs, *new));
            if !overtold {
                self.entries.push((0, entry));
                known.push((key, told(old_structs, entry)));
            }
        }
        for (entry, key) in new_entries {
            let of_new = told(new_structs, entry);
            let differs = |name: &str, old: usize| text(old_structs, name, old) != text(new_structs, name, entry);
            // Two evaluations of one flag are both facts if they differ.
            let repeated = known.iter().zip(entries(old, row)).any(|((known, was_told), old)| {
                *known == key && !(of_new && *was_told && (differs("variant", old) || differs("value", old)))
            });
            if !repeated {
                self.entries.push((1, entry));
            }
        }
        self.lengths.push(self.entries.len() - before);
        Ok(())
    }

    fn finish(self, flushed: &RecordBatch) -> Result<ArrayRef> {
        let new = self.list(flushed)?;
        let DataType::List(item) = new.data_type() else {
            return Err(Error::Column { name: self.column.to_owned(), wanted: "a list of structs" });
        };
        let stored = self.stored.unwrap_or_else(|| new.values().slice(0, 0));
        let values = if self.entries.is_empty() {
            new.values().slice(0, 0)
        } else if self.column == "flags_in_effect" {
            interleave(&[stored.as_ref(), new.values().as_ref()], &self.entries)?
        } else {
            by_concat(&stored, new.values(), &self.entries)?
        };
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None)?))
    }
}

/// Arrow's `interleave` has no kernel for the maps in builds.
fn by_concat(stored: &ArrayRef, new: &ArrayRef, entries: &[(usize, usize)]) -> Result<ArrayRef> {
    let both = arrow::compute::concat(&[stored.as_ref(), new.as_ref()])?;
    let place = |(table, entry): &(usize, usize)| (if *table == 0 { *entry } else { stored.len() + entry }) as u64;
    let places: arrow::array::UInt64Array = entries.iter().map(place).collect::<Vec<_>>().into();
    Ok(take(&both, &places, None)?)
}

fn entries(list: &ListArray, row: usize) -> Range<usize> {
    if list.is_null(row) {
        return 0..0;
    }
    list.offsets()[row] as usize..list.offsets()[row + 1] as usize
}

/// The rows that are kept.
fn kept(batch: &RecordBatch, keep: &[bool]) -> Result<RecordBatch> {
    if keep.iter().all(|keep| *keep) {
        return Ok(batch.clone());
    }
    let mut runs = Runs::with_capacity(keep.len());
    (0..keep.len()).filter(|row| keep[*row]).for_each(|row| runs.push(0, row as u32, 1));
    gather_batch(&[batch], &runs, &[])
}

/// Rows of `traces` by tenant and trace id.
fn sorted(traces: &RecordBatch) -> Result<RecordBatch> {
    let column = |name: &str| -> Result<SortColumn> {
        let values = Arc::clone(traces.column(traces.schema_ref().index_of(name)?));
        Ok(SortColumn { values, options: Some(SortOptions::default()) })
    };
    let order = lexsort_to_indices(&[column("tenant_id")?, column("trace_id")?], None)?;
    let columns = traces.columns().iter().map(|column| take(column, &order, None)).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(traces.schema(), columns)?)
}
