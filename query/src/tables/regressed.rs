//! `regressed_at` and `regressed_version`: since when an incident has been seen again after its fix, by the rule that also
//! judges fixes where they are listed and found.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::rows::{Columns, text};
use crate::search::{SharedMerges, regressions};
use crate::snapshot::Snapshot;

/// The columns.
pub(super) const REGRESSED: [&str; 2] = ["regressed_at", "regressed_version"];
/// What they are made of.
pub(super) const NEEDED: [&str; 2] = ["fingerprint", "fixed_at"];

/// Incidents whose counts are read at a time.
const AT_ONCE: usize = 1_000;

/// The columns for a batch that has the columns [`NEEDED`]. Only of incidents with a fix anything is read, and the merges once
/// for all batches that come with the same `merges`.
///
/// # Errors
/// When the lake cannot be read.
pub(super) async fn columns(
    snapshot: &Snapshot,
    merges: &SharedMerges,
    incidents: &RecordBatch,
) -> Result<[ArrayRef; 2]> {
    let columns = Columns::of("incidents", incidents);
    let (fingerprints, fixed) = (columns.text("fingerprint")?, columns.time("fixed_at")?);
    let asked: Vec<&str> = (0..incidents.num_rows())
        .filter(|row| fixed.is_valid(*row))
        .filter_map(|row| text(fingerprints, row))
        .collect();
    let mut known: HashMap<String, (i64, Option<String>)> = HashMap::new();
    for chunk in asked.chunks(AT_ONCE) {
        known.extend(regressions(snapshot, merges.of(snapshot).await?, chunk).await?);
    }
    let of_row = |row: usize| known.get(text(fingerprints, row)?);
    let rows = || (0..incidents.num_rows()).map(of_row);
    let times: TimestampNanosecondArray = rows().map(|back| back.map(|(at, _)| *at)).collect();
    let versions: StringArray = rows().map(|back| back.and_then(|(_, version)| version.as_deref())).collect();
    Ok([Arc::new(times.with_timezone("UTC")), Arc::new(versions)])
}
