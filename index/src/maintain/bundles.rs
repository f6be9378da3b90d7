//! Retention of bundles that were handed out.
//!
//! A bundle is stored whole, so it outlives its trace: its time counts from when it was handed out, or pinned or unpinned
//! last. Pinning appends a row, and the newest row of a bundle holds. So rows that are over go unless they pin, and a row
//! that pins goes only with a bundle that was unpinned later: what is left of it would pin it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;
use lance::Dataset;
use tracerag_schemas::Table;

use super::MaintainOptions;
use super::retain::first_kept;
use crate::error::{At, Result};
use crate::lake::Lake;

const NAME: &str = "bundles";

/// Deletes the rows of bundles that are past their retention. Gives their number.
pub(super) async fn expire(lake: &Lake, options: &MaintainOptions) -> Result<u64> {
    let Some(first) = first_kept(Table::Bundles, options) else { return Ok(0) };
    let dataset = lake.newest(NAME).await?;
    let unpinned: Vec<String> = unpinned(&dataset).await?.iter().map(|id| quoted(id)).collect();
    let may_go = match unpinned.is_empty() {
        true => "pinned = false".to_owned(),
        false => format!("(pinned = false or bundle_id in ({}))", unpinned.join(", ")),
    };
    // A row without content says that the bundle was erased, which holds for ever, whoever pinned or unpinned it since.
    let over = format!("created_at < timestamp '{first} 00:00:00' and bundle is not null and {may_go}");
    let rows = dataset.count_rows(Some(over.clone())).await.at(NAME, "counting bundles past retention")?;
    if rows == 0 {
        return Ok(0);
    }
    let mut kept = (*dataset).clone();
    // A row that is appended meanwhile, for somebody pins a bundle, stays: it holds the whole bundle.
    let deleted = kept.delete(&over).await.at(NAME, "deleting bundles past retention")?;
    lake.remember(NAME, Arc::unwrap_or_clone(deleted.new_dataset));
    Ok(rows as u64)
}

/// Bundles that were pinned once and are not any more. People pin few.
async fn unpinned(dataset: &Arc<Dataset>) -> Result<BTreeSet<String>> {
    let pins = read(dataset, "pinned = true").await?;
    let ids: BTreeSet<String> = rows(&pins).map(|row| row.id).collect();
    if ids.is_empty() {
        return Ok(ids);
    }
    let list: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
    let of_pinned = read(dataset, &format!("bundle_id in ({})", list.join(", "))).await?;
    let mut newest: BTreeMap<String, (i64, bool)> = BTreeMap::new();
    for Row { id, created_at, is_pinned } in rows(&of_pinned) {
        let known = newest.entry(id).or_insert((created_at, is_pinned));
        *known = (*known).max((created_at, is_pinned));
    }
    Ok(newest.into_iter().filter(|(_, (_, is_pinned))| !is_pinned).map(|(id, _)| id).collect())
}

struct Row {
    id: String,
    created_at: i64,
    is_pinned: bool,
}

async fn read(dataset: &Arc<Dataset>, filter: &str) -> Result<RecordBatch> {
    let mut scan = dataset.scan();
    scan.project(&["bundle_id", "created_at", "pinned"]).at(NAME, "looking for pinned bundles")?;
    scan.filter(filter).at(NAME, "looking for pinned bundles")?;
    scan.try_into_batch().await.at(NAME, "looking for pinned bundles")
}

fn rows(batch: &RecordBatch) -> impl Iterator<Item = Row> {
    let ids = batch.column(0).as_string::<i32>();
    let created = batch.column(1).as_primitive::<TimestampNanosecondType>();
    let pinned = batch.column(2).as_boolean();
    (0..batch.num_rows()).filter(move |row| ids.is_valid(*row)).map(move |row| Row {
        id: ids.value(row).to_owned(),
        created_at: created.value(row),
        is_pinned: pinned.is_valid(row) && pinned.value(row),
    })
}

/// A text as SQL.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
