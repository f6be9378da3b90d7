//! The open traces.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxHashMap;
use tracerag_schemas::ids::TraceId;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::config::WindowConfig;
use super::flushed::CloseReason;

/// Bytes that an open trace takes beside its slot, at most: its places in the index, the timers and among those that
/// are going to be closed, and the room that these keep when they grow.
const BESIDE_SLOT: usize = 48;

/// One open trace. Its rows are found by their owner, see [`super::held`].
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub id: TraceId,
    pub tenant: u32,
    pub group: u32,
    /// Time of the first and of the newest row's arrival.
    pub first: i64,
    pub last: i64,
    /// Number of the push that touched it last.
    pub touched: u64,
    pub bytes: usize,
    /// Source and offset of its last row.
    pub origin: (u32, i64),
    pub spans: u32,
    pub logs: u32,
    /// Tick at which it is looked at next.
    timer: i64,
    pub has_root: bool,
    /// It was closed before, or may have been.
    pub late: bool,
    /// It is going to be closed by one of the next flushes.
    pub closing: bool,
    /// It has passed its greatest size: what comes in another message opens a further part of it.
    pub full: bool,
    /// A further part was opened: no row finds this one any more.
    pub detached: bool,
}

impl Trace {
    fn is_free(&self) -> bool {
        self.spans == 0 && self.logs == 0
    }

    /// Whether a row belongs here. A message is never cut: what of a trace is written is known by offset.
    pub(crate) fn takes(&self, origin: (u32, i64)) -> bool {
        !self.full || self.origin == origin
    }

    /// When it closes if nothing comes, and why.
    fn due(&self, config: &WindowConfig) -> (i64, CloseReason) {
        let (wait, reason) = if self.has_root {
            (config.root_grace.min(config.idle_gap), CloseReason::RootEnded)
        } else if self.late && self.spans == 0 {
            // Logs of a trace that is written already: nothing else is to be expected.
            (config.root_grace.min(config.idle_gap), CloseReason::Idle)
        } else {
            (config.idle_gap, CloseReason::Idle)
        };
        let (quiet, longest) = (self.last.saturating_add(wait), self.first.saturating_add(config.max_duration));
        if longest < quiet { (longest, CloseReason::MaxDuration) } else { (quiet, reason) }
    }
}

/// Tenants by number.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    /// Name, and the seed of its traces' hashes.
    names: Vec<(Arc<str>, u64)>,
    numbers: FxHashMap<Arc<str>, u32>,
}

impl Tenants {
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let (number, name) = (self.names.len() as u32, Arc::<str>::from(name));
        self.names.push((Arc::clone(&name), xxh3_64(name.as_bytes())));
        self.numbers.insert(name, number);
        number
    }

    pub(crate) fn name(&self, number: u32) -> &Arc<str> {
        &self.names[number as usize].0
    }

    /// A number of the tenant that is the same in every worker.
    pub(crate) fn seed(&self, number: u32) -> u64 {
        self.names[number as usize].1
    }

    /// Hash of a trace that is the same in every worker.
    pub(crate) fn hash(&self, tenant: u32, id: TraceId) -> u64 {
        xxh3_64_with_seed(&id, self.seed(tenant))
    }
}

/// All open traces, by (tenant, trace id), with the times at which each is looked at.
#[derive(Debug)]
pub(crate) struct Traces {
    pub slots: Vec<Trace>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// By group: slots by tick. An entry counts only if the trace still names its tick.
    timers: Vec<BTreeMap<i64, Vec<u32>>>,
    quantum: i64,
}

/// What arrived of a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touch {
    pub source: u32,
    pub group: u32,
    pub at: i64,
    pub push: u64,
}

impl Traces {
    pub(crate) fn new(config: &WindowConfig) -> Self {
        let quantum = (config.root_grace.min(config.idle_gap) / 8).clamp(1_000_000, 250_000_000);
        Self { slots: vec![], free: vec![], index: HashTable::new(), timers: vec![], quantum }
    }

    pub(crate) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Bytes of the traces that are open, with their place in the index and the timers. Room that closed
    /// ones have left is taken again, so it counts for nothing: else a burst would count for ever.
    pub(crate) fn bytes(&self) -> usize {
        self.open() * (size_of::<Trace>() + BESIDE_SLOT)
    }

    /// The slot of the trace that takes a row at `offset`; a new one is opened where there is none, and as a further
    /// part of a trace that is full. `late` is asked for a new trace; a further part always is.
    pub(crate) fn slot(
        &mut self,
        (tenant, id, hash): (u32, TraceId, u64),
        offset: i64,
        touch: Touch,
        tenants: &Tenants,
        late: impl FnOnce() -> bool,
    ) -> u32 {
        let slots = &self.slots;
        let same = |slot: &u32| {
            let trace = &slots[*slot as usize];
            trace.id == id && trace.tenant == tenant
        };
        let mut is_part = false;
        if let Ok(entry) = self.index.find_entry(hash, same) {
            let slot = *entry.get();
            if slots[slot as usize].takes((touch.source, offset)) {
                return slot;
            }
            entry.remove();
            self.slots[slot as usize].detached = true;
            is_part = true;
        }
        let trace = Trace {
            id,
            tenant,
            group: touch.group,
            first: touch.at,
            last: touch.at,
            touched: touch.push,
            bytes: 0,
            origin: (touch.source, offset),
            spans: 0,
            logs: 0,
            timer: i64::MAX,
            has_root: false,
            late: is_part || late(),
            closing: false,
            full: false,
            detached: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = trace;
                slot
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    // By an eighth: what a vector doubles would not be counted.
                    self.slots.reserve_exact((self.slots.len() / 8).max(1_024));
                }
                self.slots.push(trace);
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(hash, slot, |slot| {
            let trace = &slots[*slot as usize];
            tenants.hash(trace.tenant, trace.id)
        });
        slot
    }

    /// Sets the timer of a trace that is new, or whose end has come nearer.
    pub(crate) fn schedule(&mut self, slot: u32, config: &WindowConfig) {
        let trace = &mut self.slots[slot as usize];
        let tick = trace.due(config).0.div_euclid(self.quantum);
        if tick >= trace.timer {
            return;
        }
        trace.timer = tick;
        let group = trace.group as usize;
        if self.timers.len() <= group {
            self.timers.resize_with(group + 1, BTreeMap::new);
        }
        self.timers[group].entry(tick).or_default().push(slot);
    }

    /// The traces of a group that are due.
    pub(crate) fn due(&mut self, group: u32, now: i64, config: &WindowConfig, due: &mut Vec<(u32, CloseReason)>) {
        let Some(timers) = self.timers.get_mut(group as usize) else { return };
        let tick = now.div_euclid(self.quantum);
        let later = timers.split_off(&(tick + 1));
        let looked_at = std::mem::replace(timers, later);
        for (tick, slots) in looked_at {
            for slot in slots {
                let trace = &mut self.slots[slot as usize];
                if trace.timer != tick || trace.is_free() || trace.group != group {
                    continue;
                }
                trace.timer = i64::MAX;
                if trace.closing {
                    continue;
                }
                let (at, reason) = trace.due(config);
                if at <= now {
                    trace.closing = true;
                    due.push((slot, reason));
                } else {
                    self.schedule(slot, config);
                }
            }
        }
    }

    /// Every open trace that is not closing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Trace)> {
        let open = self.slots.iter().enumerate().filter(|(_, trace)| !trace.is_free() && !trace.closing);
        open.map(|(slot, trace)| (slot as u32, trace))
    }

    /// Forgets a trace.
    pub(crate) fn remove(&mut self, slot: u32, tenants: &Tenants) {
        let trace = &mut self.slots[slot as usize];
        trace.spans = 0;
        trace.logs = 0;
        trace.timer = i64::MAX;
        if std::mem::take(&mut trace.detached) {
            self.free.push(slot);
            return;
        }
        let hash = tenants.hash(trace.tenant, trace.id);
        if let Ok(entry) = self.index.find_entry(hash, |known| *known == slot) {
            entry.remove();
            self.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hundreds of thousands of traces are open at once: what they take beside their rows, with all room that tables
    /// and lists keep, is not more than is counted for them.
    #[test]
    fn open_traces_are_counted_in_full() {
        let config = WindowConfig::default();
        let (mut tenants, mut traces) = (Tenants::default(), Traces::new(&config));
        let tenant = tenants.number("default");
        for number in 0..300_000u32 {
            let mut id = TraceId::default();
            id[..4].copy_from_slice(&number.to_be_bytes());
            let touch = Touch { source: 0, group: 0, at: i64::from(number), push: 1 };
            let slot = traces.slot((tenant, id, tenants.hash(tenant, id)), 0, touch, &tenants, || false);
            traces.slots[slot as usize].spans = 1;
            traces.schedule(slot, &config);
        }
        let timers = traces.timers.iter().flat_map(BTreeMap::values).map(Vec::capacity).sum::<usize>();
        let kept = traces.slots.capacity() * size_of::<Trace>()
            + traces.index.allocation_size()
            + (timers + traces.free.capacity()) * size_of::<u32>();
        assert_eq!(traces.open(), 300_000);
        assert!(kept <= traces.bytes(), "{kept} bytes are kept, {} are counted", traces.bytes());
    }
}
