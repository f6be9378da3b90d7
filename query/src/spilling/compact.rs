//! Batches of a sort that hold nothing but their own rows.
//!
//! Rows that were taken from elsewhere keep whole what they are in: texts that are seen through views, the buffers of all
//! batches that they came from, a part of a batch, the whole of it, and what was read back from the disk, the message that it
//! came in. Each batch counts all of that once more, so that a sort of them has no memory for what a copy would fit into many
//! times. So what goes into a sort is copied, and so is what comes out.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt as _;

use super::shares::is_whole;
use crate::multiplied::{Widest, widths};

/// How many times a batch's values a sort has to have room for: it merges two runs at least, counts a batch of each twice, and
/// with the values what belongs to them, which is a half more for short ones.
const MERGED: u64 = 6;

/// What batches of a sort are made to be.
#[derive(Debug, Clone)]
pub(super) struct Compact {
    /// Rows of a batch, at most.
    pub(super) rows: usize,
    pub(super) memory_limit: usize,
    /// Bytes that each sort may hold to merge.
    pub(super) share: usize,
    pub(super) widest: Widest,
}

impl Compact {
    /// The same plan, where what goes into each sort and what comes out of it is compact.
    ///
    /// # Errors
    /// When an operator does not take it, which would be an error of this program.
    pub(super) fn around_sorts(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let compacted = |input| -> Arc<dyn ExecutionPlan> { Arc::new(CompactExec { input, compact: self.clone() }) };
        plan.transform_up(|node| {
            if !is_whole(&node) {
                return Ok(Transformed::no(node));
            }
            let children = node.children().into_iter().cloned().map(compacted).collect();
            Ok(Transformed::yes(compacted(node.with_new_children(children)?)))
        })
        .data()
    }

    /// The same rows in batches that a sort has room for.
    ///
    /// # Errors
    /// When rows are so wide that it has not, unless they come in smaller batches; that is noted.
    fn pass(&self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let widths = widths(batch, &[]);
        let mut parts = Vec::with_capacity(widths.len().div_ceil(self.rows.max(1)));
        for (part, widths) in widths.chunks(self.rows.max(1)).enumerate() {
            self.check(widths)?;
            parts.push(copied(batch, part * self.rows.max(1), widths.len())?);
        }
        Ok(parts)
    }

    fn check(&self, widths: &[u64]) -> Result<()> {
        let average =
            widths.iter().fold(0, |sum: u64, width| sum.saturating_add(*width)).div_ceil(widths.len().max(1) as u64);
        let batch = average.saturating_mul(self.rows as u64);
        if self.rows <= 1 || batch.saturating_mul(MERGED) <= self.share as u64 {
            return Ok(());
        }
        let rows = self.share as u64 / MERGED / average.max(1);
        self.widest.note_rows(usize::try_from(rows).unwrap_or(usize::MAX), self.memory_limit);
        Err(DataFusionError::ResourcesExhausted(format!(
            "a sort would hold batches of {batch} bytes; shorten their rows before it, as with left(body, 1000)"
        )))
    }
}

/// Rows of a batch in buffers of their own.
fn copied(batch: &RecordBatch, begin: usize, rows: usize) -> Result<RecordBatch> {
    if batch.num_columns() == 0 {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        return Ok(RecordBatch::try_new_with_options(batch.schema(), vec![], &options)?);
    }
    let indices: UInt32Array = (begin as u32..(begin + rows) as u32).collect::<Vec<_>>().into();
    let taken = take_record_batch(batch, &indices)?;
    let columns = taken.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

/// Gives on what comes, in batches that are compact.
#[derive(Debug)]
struct CompactExec {
    input: Arc<dyn ExecutionPlan>,
    compact: Compact,
}

impl DisplayAs for CompactExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompactExec")
    }
}

impl ExecutionPlan for CompactExec {
    fn name(&self) -> &str {
        "CompactExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.len()) {
            (Some(input), 0) => Ok(Arc::new(Self { input, compact: self.compact.clone() })),
            _ => internal_err!("what makes batches compact has one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (schema, compact) = (input.schema(), self.compact.clone());
        let batches = input.flat_map(move |batch| {
            let parts: Vec<Result<RecordBatch>> = match batch.and_then(|batch| compact.pass(&batch)) {
                Ok(parts) => parts.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures::stream::iter(parts)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        self.input.partition_statistics(partition)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int64Array, StringArray, StringViewArray};
    use datafusion::common::utils::memory::get_record_batch_memory_size;

    use super::*;

    fn batch(rows: usize, width: usize) -> RecordBatch {
        let texts = || (0..rows).map(|row| Some(format!("{row:0width$}")));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("view", Arc::new(texts().collect::<StringViewArray>())),
            ("text", Arc::new(texts().collect::<StringArray>())),
            ("number", Arc::new((0..rows as i64).collect::<Int64Array>())),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// A part of a large batch is cut into batches of few rows. Each has its rows, and counts as much memory as they take.
    #[test]
    fn batches_hold_their_own_rows() {
        let compact = Compact { rows: 16, memory_limit: 1 << 20, share: 1 << 18, widest: Widest::default() };
        let all = batch(8_192, 100);
        let parts = compact.pass(&all.slice(1_000, 40)).unwrap();
        assert_eq!(parts.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [16, 16, 8]);
        for (number, part) in parts.iter().enumerate() {
            assert_eq!(part, &all.slice(1_000 + number * 16, part.num_rows()));
            assert!(get_record_batch_memory_size(part) < 16 * 300, "{}", get_record_batch_memory_size(part));
        }
    }

    /// Rows that are too wide for a batch of them to be merged are refused, with how few of them are not; one alone is tried.
    #[test]
    fn wide_rows_come_in_smaller_batches() {
        let memory_limit = 1 << 20;
        let compact = Compact { rows: 256, memory_limit, share: 1 << 16, widest: Widest::default() };
        let wide = batch(300, 1_000);
        assert!(compact.pass(&wide).is_err());
        let rows = compact.widest.rows(256, memory_limit);
        assert!((4..16).contains(&rows), "{rows}");
        assert_eq!(Compact { rows, ..compact.clone() }.pass(&wide).unwrap().len(), 300_usize.div_ceil(rows));
        let single = Compact { rows: 1, share: 1, ..compact };
        assert_eq!(single.pass(&wide).unwrap().len(), 300);
    }
}
