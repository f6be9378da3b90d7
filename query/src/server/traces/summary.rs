//! What is told of a trace in a list: its root, its time, and its services with their spans.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::record_batch::RecordBatch;
use tracerag_schemas::Table;

use crate::error::{QueryError, Result};
use crate::lookup::{ById, Found};
use crate::rows::{Columns, number, text};
use crate::session::Session;

/// Spans that are counted for one answer at most; few of their columns are read.
const MOST_COUNTED: usize = 1_000_000;

const COLUMNS: [&str; 8] =
    ["trace_id", "span_id", "parent_span_id", "name", "service_name", "status_code", "start_time", "end_time"];

/// A trace in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::server) struct Summary {
    /// Service and name of the earliest span without a parent, else of the earliest.
    pub root_service: String,
    pub root_name: String,
    /// In ns.
    pub start: i64,
    pub end: i64,
    pub spans: u32,
    pub errors: u32,
    /// Spans whose parent is not there.
    pub orphans: u32,
    /// Spans, and those that failed, by service.
    pub services: BTreeMap<String, (u32, u32)>,
}

/// Summaries of traces by their ids.
///
/// # Errors
/// [`QueryError::RowLimit`] for more spans than are counted; when the lake cannot be read.
pub(in crate::server) async fn summaries(session: &Session, ids: &[String]) -> Result<HashMap<String, Summary>> {
    let by = ById::any("trace_id", ids.iter().map(String::as_str).collect());
    let found = session.snapshot().find(Table::Spans, by).await?;
    if found.iter().map(Found::len).sum::<usize>() > MOST_COUNTED {
        return Err(QueryError::RowLimit { rows: MOST_COUNTED as u64 });
    }
    let batches = session.snapshot().take(Table::Spans, &COLUMNS, &found).await?;
    let mut traces: HashMap<String, Trace> = HashMap::new();
    for batch in &batches {
        add(batch, &mut traces)?;
    }
    Ok(traces.into_iter().map(|(id, trace)| (id, trace.summary())).collect())
}

/// A trace that is being counted.
#[derive(Default)]
struct Trace {
    told: Summary,
    /// Whether it has a parent, and when it started: of the span that is the root so far.
    root: Option<(bool, i64)>,
    ids: HashSet<String>,
    parents: Vec<String>,
}

impl Trace {
    fn summary(mut self) -> Summary {
        let absent = self.parents.iter().filter(|parent| !self.ids.contains(*parent)).count();
        self.told.orphans = u32::try_from(absent).unwrap_or(u32::MAX);
        self.told
    }
}

fn add(batch: &RecordBatch, traces: &mut HashMap<String, Trace>) -> Result<()> {
    let columns = Columns::of("spans", batch);
    let (ids, spans, parents) = (columns.text("trace_id")?, columns.text("span_id")?, columns.text("parent_span_id")?);
    let (names, services) = (columns.text("name")?, columns.text("service_name")?);
    let (statuses, starts, ends) =
        (columns.text("status_code")?, columns.time("start_time")?, columns.time("end_time")?);
    for row in 0..batch.num_rows() {
        let trace = traces.entry(text(ids, row).unwrap_or_default().to_owned()).or_default();
        let start = number(starts, row).unwrap_or_default();
        let end = number(ends, row).unwrap_or(start);
        let service = text(services, row).unwrap_or_default();
        let failed = u32::from(text(statuses, row) == Some("ERROR"));
        let told = &mut trace.told;
        told.start = if told.spans == 0 { start } else { told.start.min(start) };
        told.end = told.end.max(end);
        told.spans += 1;
        told.errors += failed;
        let (spans_of, failed_of) = told.services.entry(service.to_owned()).or_default();
        *spans_of += 1;
        *failed_of += failed;
        let parent = text(parents, row);
        let rank = (parent.is_some(), start);
        if trace.root.is_none_or(|known| rank < known) {
            trace.root = Some(rank);
            service.clone_into(&mut told.root_service);
            text(names, row).unwrap_or_default().clone_into(&mut told.root_name);
        }
        trace.ids.insert(text(spans, row).unwrap_or_default().to_owned());
        trace.parents.extend(parent.map(str::to_owned));
    }
    Ok(())
}
