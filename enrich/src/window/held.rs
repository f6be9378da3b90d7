//! The batches that the window holds, and who owns each of their rows.

use arrow::array::{Array, Int64Array};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use crate::columns::numbers;
use crate::error::Result;
use crate::gather::{Runs, gather_batch};

/// Owner of a row that is gone.
pub(crate) const GONE: u32 = u32::MAX;
/// Owner of a row that waits for nothing: it leaves with the next flush.
pub(crate) const AT_ONCE: u32 = u32::MAX - 1;

/// One batch of one source partition, rows in offset order.
#[derive(Debug)]
pub(crate) struct Held {
    pub batch: RecordBatch,
    pub source: u32,
    /// Slot of the trace that each row belongs to, [`GONE`] or [`AT_ONCE`].
    pub owner: Vec<u32>,
    pub alive: usize,
    pub offsets: Int64Array,
    bytes: usize,
}

impl Held {
    pub(crate) fn new(batch: RecordBatch, source: u32, owner: Vec<u32>) -> Result<Self> {
        let alive = owner.iter().filter(|owner| **owner != GONE).count();
        let offsets = numbers::<Int64Type>(&batch, "kafka_offset", "Int64")?.clone();
        let bytes = batch.get_array_memory_size() + owner.len() * size_of::<u32>();
        Ok(Self { batch, source, owner, alive, offsets, bytes })
    }

    /// Bytes of an average row.
    pub(crate) fn row_bytes(batch: &RecordBatch) -> usize {
        batch.get_array_memory_size() / batch.num_rows().max(1)
    }

    pub(crate) fn offset(&self, row: usize) -> i64 {
        if self.offsets.is_valid(row) { self.offsets.value(row) } else { 0 }
    }

    fn lowest_offset(&self) -> Option<i64> {
        self.owner.iter().position(|owner| *owner != GONE).map(|row| self.offset(row))
    }
}

/// All batches of one table.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    pub held: Vec<Held>,
    bytes: usize,
}

impl Batches {
    pub(crate) fn push(&mut self, held: Held) {
        if held.alive > 0 {
            self.bytes += held.bytes;
            self.held.push(held);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lowest offset of a row of a source that is still here.
    pub(crate) fn lowest_offset(&self, source: u32) -> Option<i64> {
        self.held.iter().filter(|held| held.source == source).filter_map(Held::lowest_offset).min()
    }

    /// Drops dead batches.
    pub(crate) fn forget_dead(&mut self) {
        self.held.retain(|held| held.alive > 0);
        self.bytes = self.held.iter().map(|held| held.bytes).sum();
    }

    /// Drops dead batches and rewrites those whose living rows are less than `share` eighths of all:
    /// one slow trace would otherwise pin a thousand quick ones. Rewritten batches of a source become one.
    pub(crate) fn compact(&mut self, share: usize) -> Result<()> {
        self.held.retain(|held| held.alive > 0);
        let sparse = |held: &Held| held.alive * 8 < held.owner.len() * share;
        if self.held.iter().any(sparse) {
            let (mut sparse, dense): (Vec<Held>, Vec<Held>) = self.held.drain(..).partition(sparse);
            self.held = dense;
            sparse.sort_by_key(|held| held.source);
            let mut rest = sparse.as_slice();
            while let Some(first) = rest.first() {
                let (same, others) = rest.split_at(rest.partition_point(|held| held.source == first.source));
                self.held.push(rewrite(same)?);
                rest = others;
            }
        }
        self.bytes = self.held.iter().map(|held| held.bytes).sum();
        Ok(())
    }
}

/// The living rows of batches of one source, in offset order.
fn rewrite(batches: &[Held]) -> Result<Held> {
    let mut rows: Vec<(i64, u32, u32)> = vec![];
    for (number, held) in batches.iter().enumerate() {
        let living = held.owner.iter().enumerate().filter(|(_, owner)| **owner != GONE);
        rows.extend(living.map(|(row, _)| (held.offset(row), number as u32, row as u32)));
    }
    rows.sort_unstable();
    let mut runs = Runs::with_capacity(rows.len());
    let mut owner = Vec::with_capacity(rows.len());
    for (_, number, row) in rows {
        runs.push(number, row, 1);
        owner.push(batches[number as usize].owner[row as usize]);
    }
    let all: Vec<&RecordBatch> = batches.iter().map(|held| &held.batch).collect();
    Held::new(gather_batch(&all, &runs, &[])?, batches[0].source, owner)
}
