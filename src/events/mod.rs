//! Events about incidents: a stage of its own behind the pipeline, which looks at what was counted, decides what is told
//! ([`mod@decide`]), and tells it to a topic and to webhooks.
//!
//! Of several workers one does it, with the lease of the upkeep. A wrong lease is harmless: a round counts only once its
//! state is in the lake, and of two that write it one is told that it was too late.

mod budget;
mod clock;
mod decide;
mod event;
mod open;
mod state;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::watch;
use tracerag_index::activity::touched;
use tracerag_index::{Document, Head, Lake};
use tracerag_ingest::source::{EventTopic, SourceError};
use tracerag_query::{Activity, Snapshot, activity, echoes};

use crate::config::{Config, ConfigError, EventKind};
use crate::worker::now;
use clock::StreamClock;
use decide::{Occurrence, Rules, decide};
use event::{CONTENT_TYPE, Event, GROUPED};
use open::{OpenIncidents, Part};
use state::{Outbox, State};
use webhook::Receiver;

/// The folder of the state below the lake.
const FOLDER: &str = "incident_events";
/// How often new failures are looked for.
const EVERY: Duration = Duration::from_secs(5);
/// How long before the first round an incident was first seen at most to be told of as new, in ns: an hour.
const BEGINS_WITHIN: i64 = 3_600_000_000_000;
/// Incidents that are read at a time.
const AT_ONCE: usize = 200;
/// How long a change of which nobody is told may wait to be written, in ns. A crash has it looked at again.
const WRITES_EVERY: i64 = 60_000_000_000;
/// Reads of the state before it is taken for damaged: another worker may replace it between two of its files.
const READS: usize = 5;
/// How long one receiver is sent events in one round, so that others do not wait for it.
const SENDS_FOR: Duration = Duration::from_secs(20);

/// What keeps a round from being done. It is done again.
#[derive(Debug, Error)]
enum RoundError {
    #[error(transparent)]
    Index(#[from] tracerag_index::Error),
    #[error(transparent)]
    Query(#[from] tracerag_query::QueryError),
    #[error("the state of events in LAKE/incident_events is not read: {0}; a newer release may have written it")]
    State(#[from] serde_json::Error),
    #[error(
        "a file that the state of events names is not in LAKE/incident_events; if something but tracerag removes files \
         there, stop it, and delete the folder to begin anew"
    )]
    NoPart,
}

/// Someone who is told.
struct Sink {
    /// What names its outbox.
    key: String,
    kinds: Vec<EventKind>,
    tenants: Vec<String>,
    to: To,
}

enum To {
    Topic(EventTopic),
    Webhook { receiver: Receiver, host: String },
}

impl To {
    fn name(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic",
            Self::Webhook { .. } => "webhook",
        }
    }

    async fn send(&self, event: &Event, now: i64) -> Result<(), String> {
        match self {
            Self::Topic(topic) => {
                let sent = topic.send(&event.subject, CONTENT_TYPE, &event.text()).await;
                sent.map_err(|error: SourceError| error.to_string())
            }
            Self::Webhook { receiver, .. } => receiver.send(event, now).await,
        }
    }
}

impl Sink {
    fn wants(&self, event: &Event) -> bool {
        let is_wanted = |kind: &EventKind| match event.kind.as_str() {
            GROUPED => event.data["kinds"].get(kind.name()).is_some(),
            name => name == kind.name(),
        };
        (self.tenants.is_empty() || self.tenants.contains(&event.tenant))
            && (self.kinds.is_empty() || self.kinds.iter().any(is_wanted))
    }

    /// Sends what is due, one after the other, until something fails or its time is over. `round` is when the round began.
    /// Says whether anything was tried.
    async fn deliver(&self, outbox: &mut Outbox, round: i64) -> bool {
        let mut has_tried = false;
        let begun = Instant::now();
        while begun.elapsed() < SENDS_FOR {
            let Some(event) = outbox.due(round).cloned() else { return has_tried };
            has_tried = true;
            let to = self.to.name();
            match self.to.send(&event, now()).await {
                Ok(()) => {
                    metrics::counter!("tracerag_incident_events_sent_total", "to" => to).increment(1);
                    outbox.sent(&event.id);
                }
                Err(reason) => {
                    metrics::counter!("tracerag_incident_events_failed_total", "to" => to).increment(1);
                    let goes_on = outbox.failed(&event.id, round);
                    let host = if let To::Webhook { host, .. } = &self.to { host.as_str() } else { "" };
                    tracing::warn!(
                        to,
                        host,
                        id = event.id,
                        reason,
                        goes_on,
                        "an event about an incident was not taken"
                    );
                    if !goes_on {
                        metrics::counter!("tracerag_incident_events_dropped_total", "reason" => "refused").increment(1);
                    }
                    return has_tried;
                }
            }
        }
        has_tried
    }
}

/// The stage.
pub(crate) struct IncidentEvents {
    lake: Lake,
    document: Document,
    sinks: Vec<Sink>,
    rules: Rules,
    per_minute: u32,
    /// That of the server, for links.
    address: String,
    /// The time by which is decided.
    clock: StreamClock,
    /// What this worker has read or written last and gone on with; `None`: it has to be read.
    known: Option<Kept>,
}

/// The state, and how it stands in the lake.
struct Kept {
    state: State,
    /// The number under which it was written last; `None`: never.
    number: Option<u64>,
    /// When it was read or written last, in ns.
    written_at: i64,
    /// Whether more has changed since than the time.
    is_changed: bool,
}

impl IncidentEvents {
    /// The stage of a configuration; `None`: nobody is to be told.
    ///
    /// # Errors
    /// When a receiver's secret is missing, or the client of Kafka refuses its settings.
    pub(crate) fn open(lake: &Lake, config: &Config) -> Result<Option<Self>, crate::Error> {
        let section = &config.incident_events;
        if !section.is_on() {
            return Ok(None);
        }
        let mut sinks = Vec::new();
        if !section.topic.is_empty() {
            let topic = EventTopic::open(&config.kafka, &section.topic)?;
            let key = format!("topic {}", section.topic);
            sinks.push(Sink { key, kinds: vec![], tenants: vec![], to: To::Topic(topic) });
        }
        for webhook in &section.webhooks {
            // The address may hold a secret, and the state is no place for one.
            let key = hex::encode(Sha256::digest(webhook.url.as_bytes()));
            let to = To::Webhook { receiver: Receiver::new(webhook)?, host: webhook.host() };
            sinks.push(Sink { key, kinds: webhook.kinds.clone(), tenants: webhook.tenants.clone(), to });
        }
        Ok(Some(Self {
            lake: lake.clone(),
            document: Document::new(lake.clone(), FOLDER),
            sinks,
            rules: Rules { spike: section.spike, quiet_after: section.quiet_after.nanos() },
            per_minute: section.per_minute,
            address: config.serve.public_url.clone(),
            clock: StreamClock::new(config.lake.flush_interval.0),
            known: None,
        }))
    }

    /// That the secrets are there, before anything is connected to.
    ///
    /// # Errors
    /// When one is missing.
    pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
        config.incident_events.webhooks.iter().try_for_each(|webhook| Receiver::new(webhook).map(|_| ()))
    }

    /// Works as long as this worker has the lease, until it is told to stop.
    pub(crate) async fn run(mut self, holds: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
        loop {
            if *holds.borrow() {
                let stop = async {
                    // Without a sender there is nobody left to wait for.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                };
                let done = tokio::select! {
                    done = self.round(now()) => done,
                    () = stop => return,
                };
                if let Err(error) = done {
                    tracing::warn!(%error, "events about incidents wait and will be tried again");
                    self.known = None;
                }
            } else {
                self.known = None;
                self.clock.forget();
            }
            if tokio::time::timeout(EVERY, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
                return;
            }
        }
    }

    /// One round: decide, write down, send.
    async fn round(&mut self, now: i64) -> Result<(), RoundError> {
        let mut kept = match self.known.take() {
            Some(kept) => kept,
            None => self.read(now).await?,
        };
        let head = Arc::new(self.lake.newest_head().await?);
        let looked = kept.state.looked;
        let reached = head.stream_times.iter().map(|(_, time)| *time).max();
        let time = self.clock.time(reached, now);
        let events = self.decide(&head, &mut kept.state, time).await?;
        let is_told = self.queue(&mut kept.state, events, now);
        kept.is_changed |= looked != kept.state.looked;
        let is_due = kept.is_changed && now.saturating_sub(kept.written_at) >= WRITES_EVERY;
        if (is_told || is_due || kept.number.is_none()) && !self.write(&mut kept, now).await? {
            return Ok(());
        }
        let sinks = &self.sinks;
        let outboxes = std::mem::take(&mut kept.state.outboxes).into_iter().map(|(key, mut outbox)| async move {
            let has_tried = match sinks.iter().find(|sink| sink.key == key) {
                Some(sink) => sink.deliver(&mut outbox, now).await,
                None => false,
            };
            (has_tried, key, outbox)
        });
        let mut has_tried = false;
        for (tried, key, outbox) in join_all(outboxes).await {
            has_tried |= tried;
            if outbox.len() > 0 {
                kept.state.outboxes.insert(key, outbox);
            }
        }
        let waiting: usize = kept.state.outboxes.values().map(Outbox::len).sum();
        metrics::gauge!("tracerag_incident_events_waiting").set(waiting as f64);
        if !has_tried || self.write(&mut kept, now).await? {
            self.known = Some(kept);
        }
        Ok(())
    }

    /// The state as the lake has it, or that of a first round.
    async fn read(&self, now: i64) -> Result<Kept, RoundError> {
        for _ in 0..READS {
            let Some((number, text)) = self.document.read().await? else {
                let state = State { told_until: now.saturating_sub(BEGINS_WITHIN), ..State::default() };
                return Ok(Kept { state, number: None, written_at: now, is_changed: false });
            };
            let state: State = serde_json::from_slice(&text)?;
            if let Some(open) = self.open_incidents(&state.parts).await? {
                let state = State { open, ..state };
                return Ok(Kept { state, number: Some(number), written_at: now, is_changed: false });
            }
        }
        Err(RoundError::NoPart)
    }

    /// What the parts of a state have; `None`: one of them is not there any more.
    async fn open_incidents(&self, parts: &[Part]) -> Result<Option<OpenIncidents>, RoundError> {
        let mut open = OpenIncidents::default();
        for part in parts {
            let Some(text) = self.document.part(&part.name).await? else { return Ok(None) };
            open.take(&text)?;
        }
        Ok(Some(open))
    }

    /// What happened since the last round. The state is brought to the head's position.
    async fn decide(
        &self,
        head: &Arc<Head>,
        state: &mut State,
        now: i64,
    ) -> Result<BTreeMap<String, Vec<Event>>, RoundError> {
        let found = touched(&self.lake, head, state.looked, state.told_until).boxed().await?;
        state.looked = found.looked;
        let mut asked = found.fingerprints;
        for (tenant, open) in state.open.by_tenant() {
            // A spike ends, and an incident gets quiet, without a failure that says so.
            let due = open.iter().filter(|(_, open)| {
                open.spiking.is_some() || open.last_seen.saturating_add(self.rules.quiet_after) <= now
            });
            let due: BTreeSet<String> = due.map(|(fingerprint, _)| fingerprint.clone()).collect();
            if !due.is_empty() {
                asked.entry(tenant.clone()).or_default().extend(due);
            }
        }
        let since = now.saturating_sub(self.rules.spike.history.nanos());
        let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for (tenant, fingerprints) in asked {
            let snapshot = Snapshot::new(self.lake.clone(), Arc::clone(head), &tenant);
            let fingerprints: Vec<&str> = fingerprints.iter().map(String::as_str).collect();
            // Fingerprints of one incident may lie in two chunks.
            let mut decided: BTreeSet<String> = BTreeSet::new();
            for chunk in fingerprints.chunks(AT_ONCE) {
                let open = &state.open;
                let known = |fingerprint: &str| open.get(&tenant, fingerprint).and_then(|open| open.known.as_ref());
                let activities = activity(&snapshot, chunk, known, since).boxed().await?;
                let counted: BTreeSet<&str> = activities.iter().map(|seen| seen.fingerprint.as_str()).collect();
                let mut happened: Vec<(&Activity, Vec<Occurrence>)> = Vec::new();
                for seen in &activities {
                    if !decided.insert(seen.fingerprint.clone()) {
                        continue;
                    }
                    state.open.go_on(&tenant, seen);
                    let open = state.open.get(&tenant, &seen.fingerprint);
                    let (next, occurrences) = decide(&self.rules, open, state.told_until, now, seen);
                    state.open.set(&tenant, &seen.fingerprint, next);
                    if !occurrences.is_empty() {
                        happened.push((seen, occurrences));
                    }
                }
                let incidents: Vec<&Activity> = happened.iter().map(|(seen, _)| *seen).collect();
                let echoes = echoes(&snapshot, &incidents).boxed().await?;
                for (seen, occurrences) in &happened {
                    let echoes = echoes.get(&seen.fingerprint).map(Vec::as_slice).unwrap_or_default();
                    let told = occurrences.iter().map(|occurrence| {
                        metrics::counter!("tracerag_incident_events_total", "kind" => occurrence.kind.name())
                            .increment(1);
                        Event::of(&tenant, seen, echoes, occurrence, &self.address)
                    });
                    events.entry(tenant.clone()).or_default().extend(told);
                }
                // What was merged into another, or dropped by retention, is an incident of its own no more.
                for gone in chunk.iter().filter(|fingerprint| !counted.contains(*fingerprint)) {
                    state.open.set(&tenant, gone, None);
                }
            }
        }
        let forgotten = state.open.forget_oldest();
        if forgotten > 0 {
            metrics::counter!("tracerag_incident_events_forgotten_total").increment(forgotten as u64);
            tracing::warn!(forgotten, "a tenant has too many open incidents; of those seen longest ago nobody is told");
        }
        // Whatever is not open any more was last seen before this.
        state.told_until = state.told_until.max(now.saturating_sub(self.rules.quiet_after));
        Ok(events)
    }

    /// Puts what is told now into the outboxes of those who want it. Says whether there was anything to be told, now or
    /// later.
    fn queue(&self, state: &mut State, mut events: BTreeMap<String, Vec<Event>>, now: i64) -> bool {
        let mut is_told = events.values().any(|events| !events.is_empty());
        for tenant in events.keys() {
            state.budgets.entry(tenant.clone()).or_default();
        }
        for (tenant, budget) in &mut state.budgets {
            let told = budget.take(tenant, events.remove(tenant).unwrap_or_default(), self.per_minute, now);
            is_told |= !told.is_empty();
            for event in told {
                for sink in self.sinks.iter().filter(|sink| sink.wants(&event)) {
                    let outbox = state.outboxes.entry(sink.key.clone()).or_default();
                    if !outbox.push(event.clone(), now) {
                        metrics::counter!("tracerag_incident_events_dropped_total", "reason" => "full").increment(1);
                    }
                }
            }
        }
        state.budgets.retain(|_, budget| !budget.is_over(now));
        // Of receivers that are not configured any more nothing is kept.
        state.outboxes.retain(|key, _| self.sinks.iter().any(|sink| sink.key == *key));
        is_told
    }

    /// Writes the state down: what has changed of open incidents as a part, which counts once the state names it. False:
    /// another worker was quicker, and this round has not been.
    async fn write(&self, kept: &mut Kept, now: i64) -> Result<bool, RoundError> {
        let state = &mut kept.state;
        if let Some(unwritten) = state.open.unwritten(&state.parts)? {
            let name = self.document.add_part(kept.number, &unwritten.text).await?;
            if unwritten.is_whole {
                state.parts.clear();
            }
            state.parts.push(Part { name, incidents: unwritten.incidents });
        }
        let text = serde_json::to_vec(&kept.state)?;
        let parts: Vec<&str> = kept.state.parts.iter().map(|part| part.name.as_str()).collect();
        let written = self.document.replace(kept.number, &text, &parts).await?;
        if written.is_none() {
            tracing::debug!("another worker tells of incidents");
            return Ok(false);
        }
        kept.state.open.is_written();
        *kept = Kept { number: written, written_at: now, is_changed: false, state: std::mem::take(&mut kept.state) };
        Ok(true)
    }
}
