//! Who asked what: a row in `audit` for every visit, written in batches and never changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracerag_index::Lake;
use tracerag_schemas::Table;
use tracerag_schemas::ids::parse_hex;

use super::caller::{Caller, Refusal};
use super::gate::Mask;

/// How long rows are gathered before they are written: each write is a version of the table.
const GATHER: Duration = Duration::from_secs(2);
/// Rows that are written at once.
const BATCH: usize = 1_000;
/// Rows that may wait to be written; beyond it nobody is answered, for nobody shall ask unseen.
const MOST_WAITING: usize = 20_000;
/// Pause before rows are tried again that could not be written.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Attempts at the end of the server.
const LAST_ATTEMPTS: usize = 10;
/// Characters of a statement that are kept.
const ARGUMENTS: usize = 4_096;
/// Bytes of a statement that are masked, from which the kept ones come: masks shorten, and to mask takes time that grows
/// with the text, which the client chooses.
const MASKED: usize = 16 << 10;

/// A row of `audit`; its time is when the visit began, in ns.
#[derive(Debug, Clone)]
struct Row {
    time: i64,
    tenant: Arc<str>,
    principal: Arc<str>,
    interface: &'static str,
    operation: &'static str,
    arguments: String,
    rows: i64,
    bytes: i64,
    bundle_id: Option<String>,
    outcome: String,
}

/// Writes rows of `audit` in the background.
#[derive(Debug)]
pub(super) struct Audit {
    rows: Mutex<Option<mpsc::UnboundedSender<Row>>>,
    waiting: Arc<AtomicUsize>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Begins to write into a lake.
    pub(super) fn start(lake: Lake) -> Arc<Self> {
        let (rows, inbox) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = tokio::spawn(write(lake, inbox, Arc::clone(&waiting)));
        Arc::new(Self { rows: Mutex::new(Some(rows)), waiting, writer: Mutex::new(Some(writer)) })
    }

    /// That what comes now can be written down.
    ///
    /// # Errors
    /// [`Refusal::NoAudit`] if too much waits already.
    pub(super) fn keeps_up(&self) -> Result<(), Refusal> {
        if self.waiting.load(Ordering::Relaxed) < MOST_WAITING { Ok(()) } else { Err(Refusal::NoAudit) }
    }

    /// Writes down that somebody was not let in, and where from. There is no principal, for nobody knows who it was.
    pub(super) fn refused(&self, tenant: &Arc<str>, interface: &'static str, from: String, outcome: &'static str) {
        let row = Row {
            time: now(),
            tenant: Arc::clone(tenant),
            principal: "".into(),
            interface,
            operation: "login",
            arguments: from,
            rows: 0,
            bytes: 0,
            bundle_id: None,
            outcome: outcome.to_owned(),
        };
        self.note(row);
    }

    fn note(&self, row: Row) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("tracerag_audit_waiting_rows").increment(1.0);
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let unsent = match rows.as_ref() {
            Some(rows) => rows.send(row).err().map(|unsent| unsent.0),
            None => Some(row),
        };
        if let Some(row) = unsent {
            tracing::error!(?row, "not written to audit, the server has stopped");
        }
    }

    /// Writes what waits, and ends. Rows that cannot be written then stand in the log.
    pub(super) async fn stop(&self) {
        drop(self.rows.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the writer of audit failed");
        }
    }
}

async fn write(lake: Lake, mut inbox: mpsc::UnboundedReceiver<Row>, waiting: Arc<AtomicUsize>) {
    let mut is_last = false;
    while !is_last {
        let Some(first) = inbox.recv().await else { return };
        let mut rows = vec![first];
        let until = Instant::now() + GATHER;
        while rows.len() < BATCH && !is_last {
            match timeout_at(until, inbox.recv()).await {
                Ok(Some(row)) => rows.push(row),
                // The server stops, and everything that it sent was received.
                Ok(None) => is_last = true,
                Err(_) => break,
            }
        }
        append(&lake, &rows, &inbox).await;
        waiting.fetch_sub(rows.len(), Ordering::Relaxed);
        // Up and down, so that it grows while the lake refuses rows, and is zero when none is left.
        metrics::gauge!("tracerag_audit_waiting_rows").decrement(rows.len() as f64);
    }
}

/// Tries until it is done; once the server stops, only some times.
async fn append(lake: &Lake, rows: &[Row], inbox: &mpsc::UnboundedReceiver<Row>) {
    let mut attempts = 0;
    loop {
        let error = match batch(rows) {
            Ok(batch) => match lake.append_side(Table::Audit, batch).boxed().await {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if inbox.is_closed() {
            attempts += 1;
        }
        if attempts >= LAST_ATTEMPTS {
            tracing::error!(error, ?rows, "not written to audit");
            return;
        }
        tracing::warn!(error, rows = rows.len(), "audit could not be written and will be tried again");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn batch(rows: &[Row]) -> Result<RecordBatch, arrow::error::ArrowError> {
    fn texts<'a>(rows: &'a [Row], text: impl Fn(&'a Row) -> Option<&'a str>) -> ArrayRef {
        Arc::new(rows.iter().map(text).collect::<StringArray>())
    }
    let numbers = |number: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(number(row))).collect::<Int64Array>())
    };
    let times = rows.iter().map(|row| Some(row.time)).collect::<TimestampNanosecondArray>().with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        texts(rows, |row| Some(&row.tenant)),
        Arc::new(times),
        texts(rows, |row| Some(&row.principal)),
        texts(rows, |row| Some(row.interface)),
        texts(rows, |row| Some(row.operation)),
        texts(rows, |row| Some(&row.arguments)),
        numbers(|row| row.rows),
        numbers(|row| row.bytes),
        texts(rows, |row| row.bundle_id.as_deref()),
        texts(rows, |row| Some(&row.outcome)),
    ];
    RecordBatch::try_new(Table::Audit.lake_schema(), columns)
}

/// Something that a caller does. It is written down when it ends, or as `cancelled` when it is dropped before.
///
/// What it asked for is masked when it ends: scope and turn are looked at before, and no text costs more than its bound.
pub struct Visit {
    audit: Arc<Audit>,
    /// With the arguments as they came.
    row: Option<Row>,
    /// Bytes of the arguments, where these are more than the row has.
    cut_from: Option<usize>,
    mask: Mask,
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What the client wrote is not masked yet.
        f.debug_struct("Visit").finish_non_exhaustive()
    }
}

impl Visit {
    pub(super) fn begin(
        audit: &Arc<Audit>,
        mask: &Mask,
        caller: &Caller,
        interface: &'static str,
        operation: &'static str,
        arguments: &str,
    ) -> Self {
        let row = Row {
            time: now(),
            tenant: Arc::clone(&caller.tenant),
            principal: Arc::clone(&caller.principal),
            interface,
            operation,
            arguments: beginning(arguments).to_owned(),
            rows: 0,
            bytes: 0,
            bundle_id: None,
            outcome: String::new(),
        };
        let cut_from = (row.arguments.len() < arguments.len()).then_some(arguments.len());
        Self { audit: Arc::clone(audit), row: Some(row), cut_from, mask: Arc::clone(mask) }
    }

    /// So much was given out.
    pub fn gave(&mut self, rows: usize, bytes: usize) {
        if let Some(row) = &mut self.row {
            row.rows = row.rows.saturating_add(i64::try_from(rows).unwrap_or(i64::MAX));
            row.bytes = row.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// This bundle was given out, or changed. What is no id of a bundle is not written down: it is a text of the client,
    /// of any length, and nobody has masked it.
    pub fn of_bundle(&mut self, bundle_id: &str) {
        let is_id = bundle_id.strip_prefix("sha256:").and_then(parse_hex::<32>).is_some();
        if let Some(row) = self.row.as_mut().filter(|_| is_id) {
            row.bundle_id = Some(bundle_id.to_owned());
        }
    }

    /// Writes down how it ended: `ok`, or the short name of the error. What comes after is not told.
    pub fn end(&mut self, outcome: &str) {
        if let Some(mut row) = self.row.take() {
            metrics::counter!("tracerag_visits_total", "interface" => row.interface, "outcome" => outcome.to_owned())
                .increment(1);
            outcome.clone_into(&mut row.outcome);
            row.arguments = kept(&(self.mask)(&row.arguments), self.cut_from);
            self.audit.note(row);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.end("cancelled");
    }
}

/// In ns.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// As much of a text as is masked. It ends at a white space where there is one, for half of an address or of a number is
/// not known for what it is.
fn beginning(text: &str) -> &str {
    if text.len() <= MASKED {
        return text;
    }
    let start = text.get(..text.floor_char_boundary(MASKED)).unwrap_or_default();
    start.rfind(char::is_whitespace).and_then(|end| start.get(..end)).unwrap_or(start)
}

/// As much of a masked text as is kept. One that was cut says so, with the bytes that it had.
fn kept(masked: &str, cut_from: Option<usize>) -> String {
    let end = masked.char_indices().nth(ARGUMENTS).map(|(end, _)| end);
    let kept = end.and_then(|end| masked.get(..end)).unwrap_or(masked);
    match cut_from.or(end.map(|_| masked.len())) {
        Some(bytes) => format!("{kept} [cut, of {bytes} bytes]"),
        None => kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short texts are kept whole. Of long ones the beginning is masked and kept, no word and no character is torn before
    /// it is masked, and the row says how long the text was.
    #[test]
    fn long_texts_are_cut_before_they_are_masked() {
        assert_eq!(kept(beginning("select 1"), None), "select 1");
        let words = "jane@example.org ".repeat(MASKED);
        let start = beginning(&words);
        assert!(start.len() <= MASKED && start.ends_with("jane@example.org"), "{}", start.len());
        assert!(beginning(&"\u{e4}".repeat(MASKED)).len() <= MASKED);
        let text = kept(start, Some(words.len()));
        assert!(text.chars().count() < ARGUMENTS + 64 && text.ends_with(&format!("[cut, of {} bytes]", words.len())));
        assert!(kept(&"x".repeat(ARGUMENTS + 1), None).ends_with("[cut, of 4097 bytes]"));
    }
}
