//! What is remembered of events from one round to the next, in the lake: how far the counts were looked at, which
//! incidents are open, and what waits to be sent. It is written before anything is sent, so that a crash loses nothing,
//! and what it makes come twice has the same id.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use tracerag_index::activity::Looked;

use super::budget::Budget;
use super::decide::Open;
use super::event::Event;

/// The state of one lake's events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub looked: Looked,
    /// The first time, in ns, of which nothing may have been told yet.
    pub told_until: i64,
    /// Open incidents by tenant and fingerprint.
    pub open: BTreeMap<String, BTreeMap<String, Open>>,
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

impl State {
    /// Incidents of a tenant that are remembered at once.
    const MOST_OPEN: usize = 10_000;

    /// Forgets those that were seen longest ago where a tenant has too many; gives how many. Nobody is told that these are
    /// quiet, and when they are seen again, they may be told of as new once more, under the same id.
    pub(crate) fn forget_oldest(&mut self) -> usize {
        let mut forgotten = 0;
        for open in self.open.values_mut().filter(|open| open.len() > Self::MOST_OPEN) {
            let mut by_time: Vec<(i64, String)> =
                open.iter().map(|(fingerprint, open)| (open.last_seen, fingerprint.clone())).collect();
            let too_many = by_time.len() - Self::MOST_OPEN;
            by_time.select_nth_unstable(too_many);
            for (_, fingerprint) in by_time.into_iter().take(too_many) {
                open.remove(&fingerprint);
            }
            forgotten += too_many;
        }
        forgotten
    }
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
