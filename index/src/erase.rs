//! Erasure of what side tables hold: the rows go, and with them the files and versions in which they still stand.

use std::sync::Arc;

use futures::FutureExt;
use lance::dataset::cleanup::CleanupPolicy;
use lance::dataset::optimize::CompactionOptions;

use crate::error::{At, Error, Result};
use crate::lake::Lake;
use crate::maintain::{merge_fragments, quoted};
use crate::pinned::hold;

const BUNDLES: &str = "bundles";

impl Lake {
    /// Deletes the content of a tenant's bundle from the table and from all of its older versions. Rows without content
    /// stay: they say that it was erased. A query that reads an older version of the table meanwhile fails, and succeeds
    /// when it is asked again.
    ///
    /// # Errors
    /// [`Error::SnapshotHolds`], and when the table cannot be read or written. Done again, it goes on.
    pub async fn erase_bundle(&self, tenant: &str, bundle_id: &str) -> Result<()> {
        let of_bundle =
            format!("tenant_id = {} and bundle_id = {} and bundle is not null", quoted(tenant), quoted(bundle_id));
        let mut dataset = (*self.newest(BUNDLES).await?).clone();
        let deleted = dataset.delete(&of_bundle).await.at(BUNDLES, "erasing a bundle")?;
        let mut compacted = Arc::unwrap_or_clone(deleted.new_dataset);
        // Whichever share of a fragment is deleted, it is written anew.
        let plan = CompactionOptions { materialize_deletions_threshold: 0.0, ..CompactionOptions::default() };
        merge_fragments(&mut compacted, &plan).boxed().await.at(BUNDLES, "writing it anew without a bundle")?;
        let dataset = self.remember(BUNDLES, compacted);
        let snapshots = self.snapshots().await?;
        for snapshot in &snapshots {
            let Some(version) = snapshot.beside.get(BUNDLES) else { continue };
            let held = self.dataset(BUNDLES, *version).await?;
            if held.count_rows(Some(of_bundle.clone())).await.at(BUNDLES, "looking into a snapshot")? > 0 {
                return Err(Error::SnapshotHolds { name: snapshot.name.clone() });
            }
        }
        // Versions of other snapshots stay; a tag that a dropped one has left would keep the content.
        hold(self, BUNDLES, &snapshots).await?;
        let barrier = self.barrier(BUNDLES, &dataset).await?;
        let policy = CleanupPolicy {
            before_version: Some(barrier.version_id()),
            delete_unverified: false,
            error_if_tagged_old_versions: false,
            ..CleanupPolicy::default()
        };
        barrier.cleanup_with_policy(policy).boxed().await.at(BUNDLES, "removing what it held")?;
        Ok(())
    }
}
