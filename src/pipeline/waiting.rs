//! Rows that go into the lake without a window.

use arrow::array::RecordBatch;
use tracerag_schemas::{SourcePartition, Table};

/// Rows that wait for the next epoch and need no window.
#[derive(Default)]
pub(super) struct Waiting {
    /// Rows of a table, with the partition that they came from.
    pub rows: Vec<(SourcePartition, Table, RecordBatch)>,
    /// Their size in memory.
    pub bytes: usize,
}

impl Waiting {
    /// Adds rows of a partition.
    pub fn push(&mut self, source: &SourcePartition, table: Table, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.bytes += batch.get_array_memory_size();
            self.rows.push((source.clone(), table, batch));
        }
    }

    /// Drops what came from partitions; gives whether flags were among it.
    pub fn forget(&mut self, sources: &[SourcePartition]) -> bool {
        let dropped = |source: &SourcePartition| sources.contains(source);
        let has_flags = self.rows.iter().any(|(source, table, _)| *table == Table::Flags && dropped(source));
        self.rows.retain(|(source, ..)| !dropped(source));
        self.bytes = self.rows.iter().map(|(.., batch)| batch.get_array_memory_size()).sum();
        has_flags
    }

    /// Everything; nothing remains here.
    pub fn take(&mut self) -> Vec<(Table, RecordBatch)> {
        self.bytes = 0;
        std::mem::take(&mut self.rows).into_iter().map(|(_, table, batch)| (table, batch)).collect()
    }
}
