//! Under memory pressure: which traces close before their time.

use crate::columns::Ids;
use crate::error::Result;

use super::Window;
use super::flushed::CloseReason;
use super::held::GONE;

/// Bytes per open trace beside its rows, roughly.
const TRACE_BYTES: usize = 200;

impl Window {
    /// Marks traces for closing until the window would be at seven eighths of its memory: those first whose
    /// root has ended and that lack no parent, then the others, each by when they were touched last.
    pub(super) fn relieve(&mut self) -> Result<()> {
        let held = self.bytes();
        if held <= self.config.memory {
            return Ok(());
        }
        let pending: usize = self.pending.iter().map(|(slot, _)| self.traces.slots[*slot as usize].bytes).sum();
        let excess = held.saturating_sub(pending).saturating_sub(self.config.memory / 8 * 7);
        let mut open: Vec<(u64, u32)> = self.traces.iter().map(|(slot, trace)| (trace.touched, slot)).collect();
        open.sort_unstable();
        // Whole traces are looked for among the older half only: what was just touched is still coming.
        let older: Vec<u32> = open[..open.len().div_ceil(2)].iter().map(|(_, slot)| *slot).collect();
        let whole = self.without_missing_parent(&older)?;
        let mut freed = 0usize;
        for slot in whole.into_iter().chain(open.into_iter().map(|(_, slot)| slot)) {
            if freed >= excess {
                break;
            }
            let trace = &mut self.traces.slots[slot as usize];
            if std::mem::replace(&mut trace.closing, true) {
                continue;
            }
            freed += trace.bytes + TRACE_BYTES;
            self.pending.push((slot, CloseReason::Memory));
        }
        Ok(())
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
