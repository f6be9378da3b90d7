//! The batches that the window holds, and who owns each of their rows.

use std::ptr::NonNull;

use arrow::array::{Array, ArrayData, Int64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::columns::numbers;
use crate::error::Result;
use crate::gather::{Runs, gather_batch};

/// Owner of a row that is gone.
pub(crate) const GONE: u32 = u32::MAX;
/// Owner of a row that waits for nothing: it leaves with the next flush.
pub(crate) const AT_ONCE: u32 = u32::MAX - 1;

/// Batches with fewer rows are put together: as many columns are the most of them.
const SMALL_ROWS: usize = 512;
/// What is put together becomes batches of at most so many rows, of about so many bytes.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 16 << 20;

/// Bytes of a batch, each buffer counted once: the columns of a resource share their keys.
pub(crate) fn memory(batch: &RecordBatch) -> usize {
    fn add(data: &ArrayData, seen: &mut FxHashSet<NonNull<u8>>) -> usize {
        let mut fresh = |buffer: &Buffer| {
            let is_new = seen.insert(buffer.data_ptr());
            if is_new { buffer.capacity() } else { 0 }
        };
        let own: usize = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer())).map(&mut fresh).sum();
        let children: usize = data.child_data().iter().map(|child| add(child, seen)).sum();
        size_of::<ArrayData>() + own + children
    }
    let mut seen = FxHashSet::default();
    batch.columns().iter().map(|column| add(&column.to_data(), &mut seen)).sum()
}

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
    /// `memory` is that of the batch, see [`memory`].
    pub(crate) fn new(batch: RecordBatch, memory: usize, source: u32, owner: Vec<u32>) -> Result<Self> {
        let alive = owner.iter().filter(|owner| **owner != GONE).count();
        let offsets = numbers::<Int64Type>(&batch, "kafka_offset", "Int64")?.clone();
        let bytes = memory + owner.len() * size_of::<u32>();
        Ok(Self { batch, source, owner, alive, offsets, bytes })
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
    /// Whether rows may be held that wait for nothing.
    at_once: bool,
}

impl Batches {
    pub(crate) fn push(&mut self, held: Held) {
        if held.alive > 0 {
            self.bytes += held.bytes;
            self.at_once |= held.owner.contains(&AT_ONCE);
            self.held.push(held);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether rows may have come since the last call that wait for nothing: they are taken now.
    pub(crate) fn take_at_once(&mut self) -> bool {
        std::mem::take(&mut self.at_once)
    }

    /// Lowers the offset of each source, by its number, to that of the first row that is still here.
    pub(crate) fn lower(&self, lowest: &mut [i64]) {
        for held in &self.held {
            if let (Some(known), Some(offset)) = (lowest.get_mut(held.source as usize), held.lowest_offset()) {
                *known = offset.min(*known);
            }
        }
    }

    /// Drops dead batches.
    pub(crate) fn forget_dead(&mut self) {
        self.held.retain(|held| held.alive > 0);
        self.bytes = self.held.iter().map(|held| held.bytes).sum();
    }

    /// Drops dead batches and rewrites those whose living rows are less than `share` eighths of all:
    /// one slow trace would otherwise pin a thousand quick ones. Rewritten batches of a source are put together, and
    /// so are small ones.
    pub(crate) fn compact(&mut self, share: usize) -> Result<()> {
        self.held.retain(|held| held.alive > 0);
        let sparse = |held: &Held| held.alive * 8 < held.owner.len() * share;
        let mut partners: FxHashMap<u32, usize> = FxHashMap::default();
        for held in self.held.iter().filter(|held| sparse(held) || held.owner.len() < SMALL_ROWS) {
            *partners.entry(held.source).or_default() += 1;
        }
        let has_partner = |held: &Held| partners.get(&held.source).is_some_and(|partners| *partners > 1);
        let rewritten = |held: &Held| sparse(held) || (held.owner.len() < SMALL_ROWS && has_partner(held));
        if self.held.iter().any(rewritten) {
            let (mut old, kept): (Vec<Held>, Vec<Held>) = self.held.drain(..).partition(rewritten);
            self.held = kept;
            old.sort_by_key(|held| held.source);
            let mut rest = old.as_slice();
            while let Some(first) = rest.first() {
                let (same, others) = rest.split_at(rest.partition_point(|held| held.source == first.source));
                rewrite(same, &mut self.held)?;
                rest = others;
            }
        }
        self.bytes = self.held.iter().map(|held| held.bytes).sum();
        Ok(())
    }
}

/// Adds the living rows of batches of one source, in offset order.
fn rewrite(batches: &[Held], to: &mut Vec<Held>) -> Result<()> {
    let mut rows: Vec<(i64, u32, u32)> = vec![];
    for (number, held) in batches.iter().enumerate() {
        let living = held.owner.iter().enumerate().filter(|(_, owner)| **owner != GONE);
        rows.extend(living.map(|(row, _)| (held.offset(row), number as u32, row as u32)));
    }
    rows.sort_unstable();
    let (bytes, of_rows) =
        batches.iter().fold((0, 0), |(bytes, rows), held| (bytes + held.bytes, rows + held.owner.len()));
    let of_row = (bytes / of_rows.max(1)).max(1);
    for rows in rows.chunks((BATCH_BYTES / of_row).clamp(1, BATCH_ROWS)) {
        let mut runs = Runs::with_capacity(rows.len());
        let mut owner = Vec::with_capacity(rows.len());
        for (_, number, row) in rows {
            runs.push(*number, *row, 1);
            owner.push(batches[*number as usize].owner[*row as usize]);
        }
        let used = runs.renumber(batches.len());
        let used: Vec<&RecordBatch> = used.into_iter().map(|number| &batches[number].batch).collect();
        let batch = gather_batch(&used, &runs, &[])?;
        let memory = memory(&batch);
        to.push(Held::new(batch, memory, batches[0].source, owner)?);
    }
    Ok(())
}
