//! Whole traces, as OTLP.

use std::collections::HashMap;

use arrow::array::UInt64Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tracerag_schemas::Table;
use tracerag_schemas::otlp::spans_to_otlp;

use crate::bundle::why_absent;
use crate::error::{QueryError, Result};
use crate::lookup::{ById, Found};
use crate::rows::{Columns, number, text};
use crate::session::Session;

/// Spans of an answer at most: these come with all that they have, and are held at once.
const MOST_SPANS: usize = 50_000;
/// Spans that are read before their bytes are counted.
const AT_ONCE: usize = 1_000;
/// An answer is held about so many times while it is made: as rows, in their order, as OTLP, as JSON and as text.
const HELD: usize = 4;

/// The spans of some traces, those of one after those of another in the order of the ids. Those of one resource and
/// scope stand together, by their start. A trace of which nothing is there is left out.
///
/// # Errors
/// [`QueryError::RowLimit`] for more spans than are held at once, [`QueryError::MemoryLimit`] for larger ones; when the
/// lake cannot be read.
pub(in crate::server) async fn read(session: &Session, ids: &[String]) -> Result<Vec<(String, Vec<ResourceSpans>)>> {
    let snapshot = session.snapshot();
    let by = ById::any("trace_id", ids.iter().map(String::as_str).collect());
    let found = snapshot.find(Table::Spans, by).await?;
    if found.iter().map(Found::len).sum::<usize>() > MOST_SPANS {
        return Err(QueryError::RowLimit { rows: MOST_SPANS as u64 });
    }
    let schema = Table::Spans.lake_schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let batches = whole(session, &columns, &found).await?;
    let Some(first) = batches.first() else { return Ok(vec![]) };
    traces(&concat_batches(&first.schema(), &batches)?, ids)
}

/// The same of the newest of some traces, which come first: of as many as an answer has room for. Of ever fewer is tried,
/// half of them each time.
///
/// # Errors
/// As [`read`], where the newest alone is too large.
pub(in crate::server) async fn read_newest(
    session: &Session,
    mut ids: Vec<String>,
) -> Result<Vec<(String, Vec<ResourceSpans>)>> {
    loop {
        match read(session, &ids).await {
            Err(QueryError::RowLimit { .. } | QueryError::MemoryLimit { .. }) if ids.len() > 1 => {
                ids.truncate(ids.len() / 2);
            }
            done => return done,
        }
    }
}

/// The rows, read in pieces: how large spans are nobody knows before.
async fn whole(session: &Session, columns: &[&str], found: &[Found]) -> Result<Vec<RecordBatch>> {
    let most = session.memory_limit() / HELD;
    let mut batches = Vec::new();
    let mut bytes = 0;
    for found in found {
        for begin in (0..found.len()).step_by(AT_ONCE) {
            let piece = found.only((begin..found.len().min(begin + AT_ONCE)).collect());
            let read = session.snapshot().take(Table::Spans, columns, &[piece]).await?;
            bytes += read.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
            if bytes > most {
                let detail = String::from("whole spans are larger than a quarter of it");
                return Err(QueryError::MemoryLimit { bytes: session.memory_limit(), detail });
            }
            batches.extend(read);
        }
    }
    Ok(batches)
}

/// The spans of one trace.
///
/// # Errors
/// As [`read`]; why there is no such trace.
pub(super) async fn read_one(session: &Session, id: String) -> Result<(String, Vec<ResourceSpans>)> {
    match read(session, std::slice::from_ref(&id)).await?.pop() {
        Some(trace) => Ok(trace),
        None => Err(why_absent(session.snapshot(), &id).await?),
    }
}

/// How many spans these are.
pub(in crate::server) fn count(spans: &[ResourceSpans]) -> usize {
    spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
}

fn traces(rows: &RecordBatch, ids: &[String]) -> Result<Vec<(String, Vec<ResourceSpans>)>> {
    let places: HashMap<&str, usize> = ids.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let columns = Columns::of("spans", rows);
    let (traces, spans) = (columns.text("trace_id")?, columns.text("span_id")?);
    let (services, instances) = (columns.text("service_name")?, columns.text("service_instance_id")?);
    let (scopes, starts) = (columns.text("scope_name")?, columns.time("start_time")?);
    let place = |row: usize| text(traces, row).and_then(|id| places.get(id).copied()).unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..rows.num_rows()).collect();
    order.sort_by_key(|row| {
        (
            place(*row),
            (text(services, *row), text(instances, *row), text(scopes, *row)),
            (number(starts, *row), text(spans, *row)),
        )
    });
    let indices = UInt64Array::from_iter_values(order.iter().map(|row| *row as u64));
    let ordered = take_record_batch(rows, &indices)?;
    let mut found = Vec::new();
    let mut begin = 0;
    for chunk in order.chunk_by(|one, next| place(*one) == place(*next)) {
        let id = chunk.first().and_then(|row| text(traces, *row)).unwrap_or_default();
        let request = spans_to_otlp(&ordered.slice(begin, chunk.len()))?;
        found.push((id.to_owned(), request.resource_spans));
        begin += chunk.len();
    }
    Ok(found)
}
