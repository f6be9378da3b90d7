//! Stored bundles: what was handed out stays, under its id, for ever.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use tracerag_schemas::Table;
use tracerag_schemas::bundle::Bundle;

use super::now;
use crate::Session;
use crate::error::{QueryError, Result};
use crate::lookup::ById;
use crate::rows::{Columns, number, owned, text, truth};
use crate::snapshot::Snapshot;

/// A row of `bundles`.
struct Stored {
    created_at: i64,
    bundle_id: String,
    trace_id: String,
    revision: i32,
    pinned: bool,
    supersedes: Option<String>,
    /// `None`: it was erased.
    bundle: Option<String>,
}

/// Stores a bundle that is handed out; one that is stored already stays as it is. The answer says
/// under `context.supersedes` which earlier bundle of the trace it replaces.
///
/// # Errors
/// [`QueryError::Erased`] if it was erased, and when the side table cannot be read or written.
pub async fn store(session: &Session, mut bundle: Bundle) -> Result<Bundle> {
    let snapshot = session.snapshot();
    let trace_id = &bundle.evidence.trace.trace_id;
    let mut known = rows(snapshot, ById::one("trace_id", trace_id)).await?;
    refuse_erased(&known, &bundle)?;
    known.sort_by_key(|stored| stored.created_at);
    if let Some(stored) = known.iter().find(|stored| stored.bundle_id == bundle.bundle_id) {
        bundle.context.supersedes.clone_from(&stored.supersedes);
        return Ok(bundle);
    }
    // Pinning appends a row, which makes no bundle newer than it is.
    let mut first: HashMap<&str, i64> = HashMap::new();
    for stored in &known {
        let created_at = first.entry(&stored.bundle_id).or_insert(stored.created_at);
        *created_at = stored.created_at.min(*created_at);
    }
    let newest = first.into_iter().max_by_key(|(bundle_id, created_at)| (*created_at, *bundle_id));
    bundle.context.supersedes = newest.map(|(bundle_id, _)| bundle_id.to_owned());
    // In an older picture of the lake it may not be known that it was handed out since.
    if snapshot.is_pinned() {
        let since = since(snapshot, &bundle.bundle_id).await?;
        refuse_erased(&since, &bundle)?;
        if !since.is_empty() {
            return Ok(bundle);
        }
    }
    // What differs from good traces is told anew whenever the bundle is handed out: it may not have been ready.
    let baseline = bundle.context.baseline.take();
    let document = serde_json::to_string(&bundle)?;
    append(snapshot, &bundle, false, Some(document)).boxed().await?;
    bundle.context.baseline = baseline;
    // Who erases it at the same time may have looked before this row was there. One of both sees the other's.
    let since = since(snapshot, &bundle.bundle_id).await?;
    if let Err(erased) = refuse_erased(&since, &bundle) {
        snapshot.lake().erase_bundle(snapshot.tenant(), &bundle.bundle_id).boxed().await?;
        return Err(erased);
    }
    Ok(bundle)
}

/// A stored bundle.
///
/// # Errors
/// [`QueryError::BundleUnknown`] if the tenant has no such bundle, [`QueryError::Erased`] if it had.
pub async fn by_id(session: &Session, bundle_id: &str) -> Result<Bundle> {
    let stored = newest(session.snapshot(), bundle_id).await?;
    Ok(serde_json::from_str(&stored.document()?)?)
}

/// Refuses a bundle that was erased, although the rows that it is made of may still be there.
///
/// # Errors
/// [`QueryError::Erased`], and when the side table cannot be read.
pub(crate) async fn refuse(snapshot: &Snapshot, bundle: &Bundle) -> Result<()> {
    refuse_erased(&since(snapshot, &bundle.bundle_id).await?, bundle)
}

/// Erases a stored bundle: its content goes, from older states of the table too, and its id stays, which answers from
/// then on that it was erased. What it was made of is not touched: those rows go with their retention.
///
/// # Errors
/// [`QueryError::BundleUnknown`] if the tenant has no such bundle, [`QueryError::Argument`] if a snapshot holds its
/// content, and when the side table cannot be written.
pub async fn erase(session: &Session, bundle_id: &str) -> Result<()> {
    let snapshot = session.snapshot();
    let stored = since(snapshot, bundle_id).await?;
    let first = stored.iter().map(|stored| stored.created_at).min();
    let first = first.ok_or_else(|| QueryError::BundleUnknown { bundle_id: bundle_id.to_owned() })?;
    let holding = snapshot.lake().snapshots().await?.into_iter().find(|pinned| pinned.created_at >= first);
    if let Some(pinned) = holding {
        let why = format!(
            "snapshot {0} may hold the bundle; drop it with `tracerag snapshot drop {0}`, then erase again",
            pinned.name
        );
        return Err(QueryError::Argument { function: "bundle erase", why });
    }
    // First the sign that it was erased: whatever happens then, nobody is given it any more.
    let document = stored.iter().find_map(|stored| stored.bundle.as_deref());
    if let Some(document) = document.filter(|_| !stored.iter().any(|stored| stored.bundle.is_none())) {
        let bundle: Bundle = serde_json::from_str(document)?;
        // Pinned, for retention takes no sign away either.
        append(snapshot, &bundle, true, None).boxed().await?;
    }
    Ok(snapshot.lake().erase_bundle(snapshot.tenant(), bundle_id).boxed().await?)
}

impl Stored {
    fn document(self) -> Result<String> {
        self.bundle.ok_or(QueryError::Erased { trace_id: self.trace_id })
    }
}

fn refuse_erased(stored: &[Stored], bundle: &Bundle) -> Result<()> {
    match stored.iter().any(|stored| stored.bundle_id == bundle.bundle_id && stored.bundle.is_none()) {
        true => Err(QueryError::Erased { trace_id: bundle.evidence.trace.trace_id.clone() }),
        false => Ok(()),
    }
}

/// Keeps a stored bundle beyond its retention, or no longer.
///
/// # Errors
/// [`QueryError::BundleUnknown`] if the tenant has no such bundle.
pub async fn pin(session: &Session, bundle_id: &str, pinned: bool) -> Result<()> {
    let snapshot = session.snapshot();
    let stored = newest(snapshot, bundle_id).await?;
    let is_pinned = stored.pinned;
    let document = stored.document()?;
    if is_pinned == pinned {
        return Ok(());
    }
    let bundle: Bundle = serde_json::from_str(&document)?;
    append(snapshot, &bundle, pinned, Some(document)).boxed().await
}

async fn newest(snapshot: &Snapshot, bundle_id: &str) -> Result<Stored> {
    let stored = since(snapshot, bundle_id).await?;
    stored
        .into_iter()
        // An erased bundle stays erased, whoever appends a row at the same time.
        .max_by_key(|stored| (stored.bundle.is_none(), stored.created_at, stored.revision))
        .ok_or_else(|| QueryError::BundleUnknown { bundle_id: bundle_id.to_owned() })
}

/// Rows of a bundle, also those that were stored since the snapshot was made.
async fn since(snapshot: &Snapshot, bundle_id: &str) -> Result<Vec<Stored>> {
    rows(&snapshot.with_newest_beside(), ById::one("bundle_id", bundle_id)).await
}

async fn rows(snapshot: &Snapshot, by: ById<'_>) -> Result<Vec<Stored>> {
    let columns = ["bundle_id", "trace_id", "revision", "created_at", "pinned", "supersedes", "bundle"];
    let mut stored = Vec::new();
    for batch in snapshot.read_id(Table::Bundles, &columns, by).boxed().await? {
        let columns = Columns::of("bundles", &batch);
        let (ids, revisions, created) =
            (columns.text("bundle_id")?, columns.code("revision")?, columns.time("created_at")?);
        let traces = columns.text("trace_id")?;
        let (pinned, supersedes, documents) =
            (columns.boolean("pinned")?, columns.text("supersedes")?, columns.text("bundle")?);
        stored.extend((0..batch.num_rows()).map(|row| Stored {
            created_at: number(created, row).unwrap_or_default(),
            bundle_id: text(ids, row).unwrap_or_default().to_owned(),
            trace_id: text(traces, row).unwrap_or_default().to_owned(),
            revision: number(revisions, row).unwrap_or_default(),
            pinned: truth(pinned, row).unwrap_or_default(),
            supersedes: owned(supersedes, row),
            bundle: owned(documents, row),
        }));
    }
    Ok(stored)
}

/// Without a document the row is the sign that the bundle was erased.
async fn append(snapshot: &Snapshot, bundle: &Bundle, pinned: bool, document: Option<String>) -> Result<()> {
    let trace = &bundle.evidence.trace;
    let position = i64::try_from(bundle.context.position).unwrap_or(i64::MAX);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![snapshot.tenant()])),
        Arc::new(StringArray::from(vec![bundle.bundle_id.as_str()])),
        Arc::new(StringArray::from(vec![trace.trace_id.as_str()])),
        Arc::new(Int32Array::from(vec![trace.revision])),
        Arc::new(Int64Array::from(vec![position])),
        Arc::new(TimestampNanosecondArray::from(vec![now()]).with_timezone("UTC")),
        Arc::new(BooleanArray::from(vec![bundle.evidence.sealed])),
        Arc::new(BooleanArray::from(vec![pinned])),
        Arc::new(StringArray::from(vec![bundle.context.supersedes.as_deref()])),
        Arc::new(StringArray::from(vec![document.as_deref()])),
    ];
    let row = RecordBatch::try_new(Table::Bundles.lake_schema(), columns)?;
    Ok(snapshot.lake().append_side(Table::Bundles, row).await?)
}
