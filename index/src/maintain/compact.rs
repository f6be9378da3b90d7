//! Compaction: many small fragments become few, and their files small.
//!
//! Lance plans which fragments are merged and commits it, indices included; the files between are written here, because
//! its own writer has one encoding for all files of a dataset.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use futures::{FutureExt, StreamExt};
use lance::Dataset;
use lance::dataset::index::DatasetIndexRemapperOptions;
use lance::dataset::optimize::{
    CompactionMetrics, CompactionOptions, RewriteResult, commit_compaction, plan_compaction,
};
use lance_table::format::Fragment;
use roaring::RoaringTreemap;
use tracerag_schemas::staged;

use super::MaintainOptions;
use crate::error::{At, Result};
use crate::files::{self, Encoding, NewFile};
use crate::lake::Lake;

/// Bytes after which rows become a page of each column: what a compaction holds in memory, a few times over.
const PAGE_BYTES: usize = 32 << 20;
/// Column of a scan that says where a row was.
const ADDRESS: &str = "_rowaddr";

/// Merges a dataset's small fragments if there are many. Gives the fragments before and after.
pub(super) async fn data(lake: &Lake, name: &str, options: &MaintainOptions) -> Result<Option<(usize, usize)>> {
    let target = options.target_rows_per_fragment;
    let dataset = lake.newest(name).await?;
    if small_fragments(&dataset, target) <= options.small_fragments {
        return Ok(None);
    }
    let before = dataset.count_fragments();
    let plan = CompactionOptions { target_rows_per_fragment: target, ..CompactionOptions::default() };
    let mut compacted = (*dataset).clone();
    merge(&mut compacted, &plan).boxed().await.at(name, "compacting")?;
    let after = compacted.count_fragments();
    lake.remember(name, compacted);
    Ok(Some((before, after)))
}

fn small_fragments(dataset: &Dataset, target: usize) -> usize {
    dataset.iter_fragments().filter(|fragment| fragment.physical_rows.is_none_or(|rows| rows < target)).count()
}

/// Merges the fragments that a plan names. One task after the other: the pipeline has the other cores.
pub(crate) async fn merge(dataset: &mut Dataset, options: &CompactionOptions) -> lance::Result<()> {
    let plan = plan_compaction(dataset, options).await?;
    let mut merged = Vec::with_capacity(plan.num_tasks());
    for task in plan.compaction_tasks() {
        match rewrite(dataset, task.task.fragments).await {
            Ok(result) => merged.push(result),
            Err(error) => {
                for RewriteResult { new_fragments, .. } in &merged {
                    files::remove(dataset, new_fragments).await;
                }
                return Err(error);
            }
        }
    }
    commit_compaction(dataset, merged, Arc::new(DatasetIndexRemapperOptions::default()), options).await?;
    Ok(())
}

/// Writes the rows of fragments anew, in their order.
async fn rewrite(dataset: &Dataset, fragments: Vec<Fragment>) -> lance::Result<RewriteResult> {
    let mut output = Output::new(dataset);
    let written = async {
        let mut scan = dataset.scan();
        scan.with_fragments(fragments.clone()).scan_in_order(true).with_row_address();
        let mut batches = scan.try_into_stream().await?;
        let mut page = Page::default();
        while let Some(batch) = batches.next().await {
            page.push(batch?);
            if page.is_full() {
                output.write(page.take()?).await?;
            }
        }
        if !page.batches.is_empty() {
            output.write(page.take()?).await?;
        }
        output.finish().await
    };
    if let Err(error) = written.await {
        files::remove(dataset, &output.fragments).await;
        return Err(error);
    }
    let files = |fragments: &[Fragment]| fragments.iter().map(|fragment| fragment.files.len()).sum();
    let metrics = CompactionMetrics {
        fragments_removed: fragments.len(),
        fragments_added: output.fragments.len(),
        files_removed: files(&fragments) + fragments.iter().filter(|known| known.deletion_file.is_some()).count(),
        files_added: files(&output.fragments),
    };
    let mut row_addrs = Vec::with_capacity(output.addresses.serialized_size());
    output.addresses.serialize_into(&mut row_addrs)?;
    Ok(RewriteResult {
        metrics,
        new_fragments: output.fragments,
        read_version: dataset.version_id(),
        original_fragments: fragments,
        row_addrs: Some(row_addrs),
    })
}

/// Rows that are read and not written.
#[derive(Default)]
struct Page {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Page {
    fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
    }

    fn is_full(&self) -> bool {
        self.rows >= staged::STAGED_ROWS || self.bytes >= PAGE_BYTES
    }

    fn take(&mut self) -> lance::Result<RecordBatch> {
        let Page { batches, .. } = std::mem::take(self);
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        Ok(concat_batches(&schema, &batches)?)
    }
}

/// The files that are written, and where their rows were.
struct Output<'a> {
    dataset: &'a Dataset,
    file: Option<(SchemaRef, NewFile)>,
    fragments: Vec<Fragment>,
    addresses: RoaringTreemap,
}

impl<'a> Output<'a> {
    fn new(dataset: &'a Dataset) -> Self {
        Self { dataset, file: None, fragments: vec![], addresses: RoaringTreemap::new() }
    }

    /// All pages of a file have the form of its first, unless one of them cannot: then another file begins.
    async fn write(&mut self, page: RecordBatch) -> lance::Result<()> {
        let mut rows = page;
        let addresses = rows.remove_column(rows.schema_ref().index_of(ADDRESS)?);
        self.addresses.extend(addresses.as_primitive::<UInt64Type>().values().iter().copied());
        let form = match &self.file {
            Some((form, _)) if staged::takes(form, &rows) => Arc::clone(form),
            _ => staged::smallest(&rows),
        };
        let batch = staged::repack(&rows, &form)?;
        match &mut self.file {
            Some((known, file)) if *known == form => file.write(&batch).await,
            _ => {
                self.finish().await?;
                let mut file = NewFile::create(self.dataset, &form, Encoding::Small).await?;
                file.write(&batch).await?;
                self.file = Some((form, file));
                Ok(())
            }
        }
    }

    async fn finish(&mut self) -> lance::Result<()> {
        if let Some((_, file)) = self.file.take() {
            self.fragments.push(file.finish().await?);
        }
        Ok(())
    }
}
