//! Memory of which each sort has a part of its own.
//!
//! A sort holds what it gathers for a consumer that can spill, and merges what it has spilled for one that cannot, of as many
//! runs at once as there is memory for. Where all share one pool, the first sort that merges takes what is free, and the
//! others have no room any more for a batch, or for two runs. So half of the memory is for sorts, in parts that are even and
//! known before any begins: half of a part to gather, and half to merge, for what was gathered is merged as it is written.
//! The rest is for everything else, and what can spill shares it evenly.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};

/// How consumers of a sort are named, with what follows: `ExternalSorter[0]` gathers, `ExternalSorterMerge[0]` merges.
const OF_SORTS: &str = "ExternalSorter";

/// Sorts of a plan that hold all their rows, each partition's counted as one.
pub(super) fn sorts(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = match is_whole(plan) {
        true => plan.output_partitioning().partition_count(),
        false => 0,
    };
    own + plan.children().into_iter().map(sorts).sum::<usize>()
}

/// Whether an operator sorts all its rows, and not only looks for the first ones.
pub(super) fn is_whole(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none())
}

/// A pool with a part for each sort.
#[derive(Debug)]
pub(super) struct Shares {
    memory_limit: usize,
    /// Bytes that a sort may hold to gather, and as many to merge.
    share: usize,
    /// Bytes that consumers of sorts hold, by their ids.
    held: Mutex<HashMap<usize, usize>>,
    rest: FairSpillPool,
}

impl Shares {
    /// A pool for a plan of so many sorts.
    pub(super) fn new(memory_limit: usize, sorts: usize) -> Self {
        let share = Self::share(memory_limit, sorts);
        let rest = FairSpillPool::new(memory_limit - share * 2 * sorts);
        Self { memory_limit, share, held: Mutex::default(), rest }
    }

    /// Bytes that each of so many sorts may hold to gather, and as many to merge.
    pub(super) fn share(memory_limit: usize, sorts: usize) -> usize {
        memory_limit / 4 / sorts.max(1)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<usize, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of_sort(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(OF_SORTS)
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}({} bytes, {} of them for each sort to gather and to merge)",
            self.name(),
            self.memory_limit,
            self.share
        )
    }
}

impl MemoryPool for Shares {
    fn name(&self) -> &str {
        "shares"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        match is_of_sort(consumer) {
            true => {
                self.held().insert(consumer.id(), 0);
            }
            false => self.rest.register(consumer),
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        match is_of_sort(consumer) {
            true => {
                self.held().remove(&consumer.id());
            }
            false => self.rest.unregister(consumer),
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        match is_of_sort(reservation.consumer()) {
            true => *self.held().entry(reservation.consumer().id()).or_default() += additional,
            false => self.rest.grow(reservation, additional),
        }
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        match is_of_sort(reservation.consumer()) {
            true => {
                if let Some(held) = self.held().get_mut(&reservation.consumer().id()) {
                    *held = held.saturating_sub(shrink);
                }
            }
            false => self.rest.shrink(reservation, shrink),
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        if !is_of_sort(consumer) {
            return self.rest.try_grow(reservation, additional);
        }
        let mut all = self.held();
        let held = all.entry(consumer.id()).or_default();
        let wanted = held.saturating_add(additional);
        if wanted > self.share {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} would hold {wanted} bytes, and {} are its part of the query's {}",
                consumer.name(),
                self.share,
                self.memory_limit
            )));
        }
        *held = wanted;
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.rest.reserved() + self.held().values().sum::<usize>()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.memory_limit)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One sort fills its part, to gather and to merge, and other operators fill theirs: another sort still has all of its
    /// own, and nobody gets more.
    #[test]
    fn no_sort_takes_what_is_for_others() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Shares::new(800, 2));
        let consumer = |name: &str, can_spill| MemoryConsumer::new(name).with_can_spill(can_spill).register(&pool);
        let (gathered, merged) = (consumer("ExternalSorter[0]", true), consumer("ExternalSorterMerge[0]", false));
        let (built, sent) = (consumer("HashJoinInput", false), consumer("RepartitionExec[0]", true));
        merged.try_grow(100).unwrap();
        // Parts of one consumer count together.
        let (part, other) = (merged.split(60), gathered.new_empty());
        assert!(part.try_grow(1).is_err() && merged.try_grow(1).is_err());
        gathered.try_grow(70).unwrap();
        other.try_grow(30).unwrap();
        assert!(gathered.try_grow(1).is_err() && other.try_grow(1).is_err());
        built.try_grow(300).unwrap();
        sent.try_grow(100).unwrap();
        assert!(built.try_grow(1).is_err() && sent.try_grow(1).is_err());
        for name in ["ExternalSorter[1]", "ExternalSorterMerge[1]"] {
            let later = consumer(name, false);
            later.try_grow(100).unwrap();
            assert!(later.try_grow(1).is_err());
        }
        assert_eq!(pool.reserved(), 600);
        drop((gathered, merged, part, other, built, sent));
        assert_eq!(pool.reserved(), 0);
    }
}
