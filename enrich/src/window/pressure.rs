//! Under memory pressure: which traces close before their time.

use crate::columns::Ids;
use crate::error::Result;

use super::Window;
use super::flushed::CloseReason;
use super::held::GONE;

/// Bytes per open trace beside its rows, roughly.
pub(super) const TRACE_BYTES: usize = 200;
/// The older half of the traces is looked at in so many parts, oldest first.
const PARTS: usize = 4;

impl Window {
    /// Marks traces for closing until the window would be at seven eighths of its memory: those first whose
    /// root has ended and that lack no parent, then the others, each by when they were touched last.
    pub(super) fn relieve(&mut self) -> Result<()> {
        let (held, memory) = (self.bytes(), self.config.open_memory());
        if held <= memory {
            return Ok(());
        }
        let pending: usize = self.pending.iter().map(|(slot, _)| self.traces.slots[*slot as usize].bytes).sum();
        let excess = held.saturating_sub(pending).saturating_sub(memory / 8 * 7);
        if excess == 0 {
            return Ok(());
        }
        let mut open: Vec<(u64, u32)> = self.traces.iter().map(|(slot, trace)| (trace.touched, slot)).collect();
        let half = open.len().div_ceil(2);
        if half < open.len() {
            open.select_nth_unstable(half);
        }
        // Whole traces are looked for among the older half only: what was just touched is still coming.
        let (older, newer) = open.split_at_mut(half);
        let mut freed = 0usize;
        // Mostly the oldest part is enough, and the others need no order.
        let part = half.div_ceil(PARTS).max(1);
        let mut rest = &mut *older;
        while !rest.is_empty() {
            let next = part.min(rest.len());
            if next < rest.len() {
                rest.select_nth_unstable(next);
            }
            let (oldest, others) = rest.split_at_mut(next);
            oldest.sort_unstable();
            let slots: Vec<u32> = oldest.iter().map(|(_, slot)| *slot).collect();
            for slot in self.without_missing_parent(&slots)? {
                self.close_early(slot, excess, &mut freed);
            }
            if freed >= excess {
                return Ok(());
            }
            rest = others;
        }
        newer.sort_unstable();
        for (_, slot) in older.iter().chain(newer.iter()) {
            self.close_early(*slot, excess, &mut freed);
        }
        Ok(())
    }

    /// Marks a trace for closing, unless enough is freed.
    fn close_early(&mut self, slot: u32, excess: usize, freed: &mut usize) {
        let trace = &mut self.traces.slots[slot as usize];
        if *freed < excess && !std::mem::replace(&mut trace.closing, true) {
            *freed += trace.bytes + TRACE_BYTES;
            self.pending.push((slot, CloseReason::Memory));
        }
    }

    /// Those of the traces that have a root and every parent, in the given order.
    fn without_missing_parent(&self, slots: &[u32]) -> Result<Vec<u32>> {
        let rooted: Vec<u32> =
            slots.iter().copied().filter(|slot| self.traces.slots[*slot as usize].has_root).collect();
        let mut ordinals = vec![GONE; self.traces.slots.len()];
        for (ordinal, slot) in rooted.iter().enumerate() {
            ordinals[*slot as usize] = ordinal as u32;
        }
        let mut spans: Vec<(u32, [u8; 8])> = vec![];
        let mut parents: Vec<(u32, [u8; 8])> = vec![];
        for held in &self.spans.held {
            let (ids, parent_ids) =
                (Ids::<8>::of(&held.batch, "span_id")?, Ids::<8>::of(&held.batch, "parent_span_id")?);
            for (row, owner) in held.owner.iter().enumerate() {
                let Some(ordinal) = ordinals.get(*owner as usize).copied().filter(|ordinal| *ordinal != GONE) else {
                    continue;
                };
                spans.extend(ids.get(row).map(|id| (ordinal, id)));
                parents.extend(parent_ids.get(row).map(|id| (ordinal, id)));
            }
        }
        spans.sort_unstable();
        let mut whole = vec![true; rooted.len()];
        for (ordinal, parent) in parents {
            whole[ordinal as usize] &= spans.binary_search(&(ordinal, parent)).is_ok();
        }
        Ok(rooted.into_iter().zip(whole).filter(|(_, whole)| *whole).map(|(slot, _)| slot).collect())
    }
}
