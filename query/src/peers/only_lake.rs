//! What the part of a plan may hold that another server sends. A plan can be written down that reads or writes any file,
//! and who can make a token may be no server; so nothing but the lake is read here, and nothing is written.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::object_store::ObjectStoreRegistry;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::object_store::ObjectStore;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion_distributed::NetworkBoundaryExt as _;
use url::Url;

use super::scan::LakeScanExec;

/// Refuses a plan that reads anything but the lake and what other parts of its query give, or that writes.
///
/// # Errors
/// When it does.
pub(super) fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    plan.apply(|node| {
        let is_known = match node.children().is_empty() {
            true => reads_nothing_else(node) || node.is_network_boundary(),
            false => !node.is::<DataSinkExec>(),
        };
        match is_known {
            true => Ok(TreeNodeRecursion::Continue),
            false => plan_err!("{} is nothing that servers of a lake compute for each other", node.name()),
        }
    })?;
    Ok(())
}

/// Whether a leaf reads the lake or nothing.
pub(super) fn reads_nothing_else(leaf: &Arc<dyn ExecutionPlan>) -> bool {
    leaf.is::<LakeScanExec>() || leaf.is::<EmptyExec>() || leaf.is::<PlaceholderRowExec>()
}

/// No file and no bucket: what reads the lake brings its own.
#[derive(Debug)]
pub(super) struct NoStores;

impl ObjectStoreRegistry for NoStores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        plan_err!("{url} is not read for other servers")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::execution::object_store::ObjectStoreUrl;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::union::UnionExec;

    use super::*;

    /// A plan of which one leaf among others reads something else is refused, and the same without that leaf is not.
    #[test]
    fn one_leaf_that_reads_something_else_is_enough() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let empty = || Arc::new(EmptyExec::new(Arc::clone(&schema))) as Arc<dyn ExecutionPlan>;
        let other = MemorySourceConfig::try_new_exec(&[vec![]], Arc::clone(&schema), None).unwrap();
        let plan = |leaf: Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
            let both = UnionExec::try_new(vec![empty(), leaf]).unwrap();
            Arc::new(CoalescePartitionsExec::new(both))
        };
        check(&plan(empty())).unwrap();
        assert!(check(&plan(other)).is_err());
    }

    /// Files of this machine are found under no address.
    #[test]
    fn there_are_no_files() {
        assert!(NoStores.get_store(ObjectStoreUrl::local_filesystem().as_ref()).is_err());
    }
}
