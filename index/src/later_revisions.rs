//! Which parts of `traces` have later revisions of traces.
//!
//! Few traces have a second revision, and most fragments have none. Who asks for the newest ones then needs no comparison.
//! Rows of a fragment never change, so each is looked at once.

use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, UInt64Type};
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance_table::format::Fragment;

use crate::fragment_key::ByFragment;

/// What is known of fragments of `traces`: whether they have a revision after the first.
#[derive(Debug, Default)]
pub struct LaterRevisions(ByFragment<bool>);

impl LaterRevisions {
    /// Whether a dataset of `traces` may have a row with a revision after the first.
    ///
    /// # Errors
    /// When the column `revision` cannot be read.
    pub async fn any(&self, dataset: &Dataset) -> lance::Result<bool> {
        let mut unread = Vec::new();
        for fragment in dataset.fragments().iter() {
            match self.0.get(dataset, fragment) {
                Some(true) => return Ok(true),
                Some(false) => {}
                // Rows that were deleted are not read, and stand in versions of before.
                None if fragment.deletion_file.is_some() => return Ok(true),
                None => unread.push(fragment.clone()),
            }
        }
        if unread.is_empty() {
            return Ok(false);
        }
        let with_later = read(dataset, unread.clone()).boxed().await?;
        for fragment in &unread {
            self.0.keep(dataset, fragment, with_later.contains(&fragment.id));
        }
        Ok(!with_later.is_empty())
    }
}

/// Those of some fragments that have a later revision.
async fn read(dataset: &Dataset, fragments: Vec<Fragment>) -> lance::Result<HashSet<u64>> {
    let mut scan = dataset.scan();
    scan.with_fragments(fragments);
    scan.project(&["revision"])?;
    scan.with_row_address();
    let mut batches = scan.try_into_stream().await?;
    let mut with_later = HashSet::new();
    while let Some(batch) = batches.try_next().await? {
        let revisions = batch.column_by_name("revision").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let rows = batch.column_by_name("_rowaddr").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let (Some(revisions), Some(rows)) = (revisions, rows) else {
            return Err(lance::Error::invalid_input("revision is no column of numbers; ask traces"));
        };
        let later = (0..batch.num_rows()).filter(|row| revisions.is_valid(*row) && revisions.value(*row) > 1);
        // The upper half of an address is its fragment.
        with_later.extend(later.map(|row| rows.value(row) >> 32));
    }
    Ok(with_later)
}
