//! What is remembered of events from one round to the next, in the lake: how far the counts were looked at, which
//! incidents are open, and what waits to be sent. It is written before anything is sent, so that a crash loses nothing,
//! and what it makes come twice has the same id. Open incidents lie in parts of their own ([`super::open`]), which count
//! once a state names them.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use tracerag_index::activity::Looked;

use super::budget::Budget;
use super::event::Event;
use super::open::{OpenIncidents, Part};

/// The state of one lake's events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub looked: Looked,
    /// The first time, in ns, of which nothing may have been told yet.
    pub told_until: i64,
    /// What is open; it lies in the parts.
    #[serde(skip)]
    pub open: OpenIncidents,
    /// The parts, in the order in which they are read.
    pub parts: Vec<Part>,
    pub budgets: BTreeMap<String, Budget>,
    /// What waits to be sent, by receiver.
    pub outboxes: BTreeMap<String, Outbox>,
}

/// What waits for one receiver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Outbox(VecDeque<Waiting>);

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub event: Event,
    /// Since when, in ns.
    pub since: i64,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Not before this time, in ns, is it tried again.
    #[serde(default)]
    pub not_before: i64,
}

impl Outbox {
    /// Events that one receiver may be behind; beyond them the oldest go.
    const MOST: usize = 10_000;
    /// How long an event is tried, in ns: a day.
    const PATIENCE: i64 = 86_400_000_000_000;
    /// The first pause after a failure, and the longest, in ns: 5 s, doubled each time, up to an hour.
    const PAUSE: (i64, i64) = (5_000_000_000, 3_600_000_000_000);

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes an event; false: the oldest one had to go for it.
    pub(crate) fn push(&mut self, event: Event, now: i64) -> bool {
        self.0.push_back(Waiting { event, since: now, attempts: 0, not_before: 0 });
        let has_room = self.0.len() <= Self::MOST;
        if !has_room {
            self.0.pop_front();
        }
        has_room
    }

    /// The first event that may be tried now.
    pub(crate) fn due(&self, now: i64) -> Option<&Event> {
        self.0.iter().find(|waiting| waiting.not_before <= now).map(|waiting| &waiting.event)
    }

    /// The event was sent.
    pub(crate) fn sent(&mut self, id: &str) {
        self.0.retain(|waiting| waiting.event.id != id);
    }

    /// The event was not sent; false: it has been tried for long enough, and goes.
    pub(crate) fn failed(&mut self, id: &str, now: i64) -> bool {
        let Some(place) = self.0.iter().position(|waiting| waiting.event.id == id) else { return true };
        let Some(waiting) = self.0.get_mut(place) else { return true };
        let pause = Self::PAUSE.0.saturating_mul(1 << waiting.attempts.min(20)).min(Self::PAUSE.1);
        waiting.attempts += 1;
        waiting.not_before = now.saturating_add(pause);
        let goes_on = now.saturating_sub(waiting.since) < Self::PATIENCE;
        if !goes_on {
            self.0.remove(place);
        }
        goes_on
    }
}
