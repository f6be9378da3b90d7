//! How many events of a tenant are told in a minute, and what becomes of the others: one event that names them all.

use serde::{Deserialize, Serialize};

use super::event::{Event, Held};

/// Nanoseconds of a minute.
const MINUTE: i64 = 60_000_000_000;
/// Events that are held by name; of more only the number is kept.
const MOST_HELD: usize = 1_000;

/// A tenant's minute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Budget {
    minute: i64,
    told: u32,
    held: Vec<Held>,
    /// Events beyond those that are held by name.
    more: u64,
}

impl Budget {
    /// Takes the events of one round, and gives those that are told now: those of the minute that fit into it, and of a
    /// minute that is over, the one that stands for those that did not.
    pub(crate) fn take(&mut self, tenant: &str, events: Vec<Event>, per_minute: u32, now: i64) -> Vec<Event> {
        let mut told = Vec::new();
        let minute = now.div_euclid(MINUTE);
        if minute != self.minute {
            self.minute = minute;
            self.told = 0;
            if !self.held.is_empty() {
                let held = std::mem::take(&mut self.held);
                told.push(Event::grouped(tenant, &held, std::mem::take(&mut self.more), now));
                self.told = 1;
            }
        }
        for event in events {
            if self.told < per_minute {
                self.told += 1;
                told.push(event);
            } else if self.held.len() < MOST_HELD {
                self.held.push(Held::from(&event));
            } else {
                self.more += 1;
            }
        }
        told
    }

    /// Whether it says no more than a new one would.
    pub(crate) fn is_over(&self, now: i64) -> bool {
        self.held.is_empty() && self.minute != now.div_euclid(MINUTE)
    }
}
