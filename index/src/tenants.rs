//! Whose rows parts of a table hold.
//!
//! Most lakes have one tenant, and of most others a file has rows of one. A scan that carries the tenant's filter reads the
//! column of all rows for it and compares each. Rows of a fragment never change, so each is looked at once, all of it: what
//! is said here is known of every row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance_table::format::Fragment;

use crate::fragment_key::ByFragment;

const TENANT: &str = "tenant_id";

/// Whose the rows of a dataset are, for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All are this tenant's.
    Own,
    /// None is.
    Others,
    /// Some are and some are not, or it is not known.
    Mixed,
}

/// The tenant of all rows of a fragment; `None` where there are several, or a row has none.
type Only = Option<Arc<str>>;

/// What is known of fragments, of all tables.
#[derive(Debug, Default)]
pub struct Tenants(ByFragment<Only>);

impl Tenants {
    /// Whose the rows of a dataset are. What is not known yet is read where a scan would read it all in any case (`learn`),
    /// and is not known otherwise.
    ///
    /// # Errors
    /// When the column of tenants cannot be read.
    pub async fn whose(&self, dataset: &Dataset, tenant: &str, learn: bool) -> lance::Result<Whose> {
        let (mut own, mut others, mut unread) = (0, 0, Vec::new());
        let fragments = dataset.fragments();
        for fragment in fragments.iter() {
            match self.0.get(dataset, fragment) {
                Some(Some(only)) if *only == *tenant => own += 1,
                Some(Some(_)) => others += 1,
                Some(None) => return Ok(Whose::Mixed),
                // Rows that were deleted are not read, and stand in versions of before.
                None if fragment.deletion_file.is_some() => return Ok(Whose::Mixed),
                None => unread.push(fragment.clone()),
            }
        }
        if !unread.is_empty() {
            if !learn || (own > 0 && others > 0) {
                return Ok(Whose::Mixed);
            }
            let mut read = read(dataset, unread.clone()).boxed().await?;
            for fragment in &unread {
                let only = read.remove(&fragment.id).flatten();
                match only.as_deref() {
                    Some(only) if only == tenant => own += 1,
                    Some(_) => others += 1,
                    None => {}
                }
                self.0.keep(dataset, fragment, only);
            }
        }
        Ok(match (own == fragments.len(), others == fragments.len()) {
            (true, _) => Whose::Own,
            (_, true) => Whose::Others,
            _ => Whose::Mixed,
        })
    }
}

/// The tenants of some fragments. One without a row is left out.
async fn read(dataset: &Dataset, fragments: Vec<Fragment>) -> lance::Result<HashMap<u64, Only>> {
    let mut scan = dataset.scan();
    scan.with_fragments(fragments);
    scan.project(&[TENANT])?;
    scan.with_row_address();
    let mut batches = scan.try_into_stream().await?;
    let mut read = HashMap::new();
    while let Some(batch) = batches.try_next().await? {
        let (tenants, rows) = columns(&batch)?;
        for row in 0..batch.num_rows() {
            let tenant = tenants.is_valid(row).then(|| tenants.value(row));
            // The upper half of an address is its fragment.
            match read.entry(rows.value(row) >> 32) {
                Entry::Vacant(new) => {
                    new.insert(tenant.map(Arc::from));
                }
                Entry::Occupied(mut known) if known.get().as_deref() != tenant => *known.get_mut() = None,
                Entry::Occupied(_) => {}
            }
        }
    }
    Ok(read)
}

fn columns(batch: &RecordBatch) -> lance::Result<(&StringArray, &UInt64Array)> {
    let tenants = batch.column_by_name(TENANT).and_then(|column| column.as_string_opt::<i32>());
    let rows = batch.column_by_name("_rowaddr").and_then(|column| column.as_primitive_opt::<UInt64Type>());
    tenants
        .zip(rows)
        .ok_or_else(|| lance::Error::invalid_input("tenant_id is no column of texts; ask a table of the lake"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::record_batch::RecordBatchIterator;

    use super::*;

    /// A row of another tenant that was deleted is still there in the version before. Guarantees that nothing is learnt of a
    /// fragment from rows of which some are gone, so that no reader of an older version sees what is not its own.
    #[tokio::test]
    async fn nothing_is_learnt_from_fragments_with_deleted_rows() {
        let folder = tempfile::tempdir().unwrap();
        let uri = folder.path().join("spans.lance");
        let batch = RecordBatch::try_from_iter([(TENANT, Arc::new(StringArray::from(vec!["a", "b"])) as _)]).unwrap();
        let schema = batch.schema();
        let rows = RecordBatchIterator::new([Ok(batch)], schema);
        let before = Dataset::write(rows, uri.to_str().unwrap(), None).await.unwrap();
        let mut after = before.clone();
        after.delete("tenant_id = 'b'").await.unwrap();
        assert_eq!(after.count_rows(None).await.unwrap(), 1);
        let tenants = Tenants::default();
        for dataset in [&after, &before, &after] {
            for tenant in ["a", "b"] {
                assert_eq!(tenants.whose(dataset, tenant, true).await.unwrap(), Whose::Mixed, "{tenant}");
            }
        }
    }
}
