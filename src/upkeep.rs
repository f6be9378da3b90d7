//! What goes on behind the pipeline: texts are embedded, tables are kept in shape, incidents are mapped to the fingerprints
//! of this release, events about incidents are told. None of it slows the pipeline.
//!
//! Of several workers on a lake one keeps the tables, maps and tells the events, as long as it lives: see [`Lease`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracerag_index::incidents::{Embedding, Indexer};
use tracerag_index::{Lake, Lease, MaintainOptions, Retention, Successors, maintain};

use crate::config::Config;
use crate::events::IncidentEvents;

/// How often new texts are looked for.
const EMBED_EVERY: Duration = Duration::from_secs(5);
/// How often incidents of older fingerprints are looked for, when all are mapped.
const MAP_EVERY: Duration = Duration::from_secs(5);
/// How often tables are looked after.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);
/// In how many of these rounds files are looked for once that nothing names: every hour.
const STRAYS_EVERY: u64 = 60;

/// The background tasks of a worker.
pub(crate) struct Upkeep {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts the tasks, for a worker of this name.
    pub(crate) fn start(lake: Lake, config: &Config, worker: &str, events: Option<IncidentEvents>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let embedding = config.embedding.model();
        let retention = config.retention.retention();
        let embed = tokio::spawn(embed(lake.clone(), embedding, stopped.clone()));
        let lease = Lease::new(lake.clone(), worker);
        let (holds, is_held) = watch::channel(false);
        let (maps, is_mapped) = watch::channel(false);
        let successors = Successors::new(lake.clone(), config.failures.rules());
        let map = tokio::spawn(map(successors, is_held, stopped.clone(), maps));
        let mut tasks = vec![embed, map, tokio::spawn(keep(lake, lease, retention, stopped.clone(), holds))];
        // An incident that goes on under another number is not new, so nothing is told before all are mapped.
        tasks.extend(events.map(|events| tokio::spawn(events.run(is_mapped, stopped))));
        Self { stop, tasks }
    }

    /// Lets each task end its step and waits for it.
    pub(crate) async fn stop(self) {
        // Receivers that are gone already have stopped.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a background task had failed");
            }
        }
    }
}

async fn embed(lake: Lake, embedding: Arc<Embedding>, mut stopped: watch::Receiver<bool>) {
    let mut indexer = Indexer::new(lake.clone(), embedding);
    loop {
        // A worker that has nothing to write sees here what others apply.
        match lake.newest_head().await {
            Ok(head) => metrics::gauge!("tracerag_position_applied").set(head.position as f64),
            Err(error) => tracing::debug!(%error, "the newest position is not known"),
        }
        match indexer.catch_up().await {
            Ok(texts) if texts > 0 => tracing::info!(texts, "embedded"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "embedding failed and will be tried again"),
        }
        if pause(&mut stopped, EMBED_EVERY).await {
            return;
        }
    }
}

/// Looks after the tables while this worker has the lease, and tells through `holds` whether it has.
async fn keep(
    lake: Lake,
    mut lease: Lease,
    retention: Retention,
    mut stopped: watch::Receiver<bool>,
    holds: watch::Sender<bool>,
) {
    let mut round = 0_u64;
    // The tables can wait for the first round, what is told of cannot.
    match lease.take().await {
        Ok(is_held) => holds.send_replace(is_held),
        Err(error) => {
            tracing::debug!(%error, "the lease of upkeep is not known");
            false
        }
    };
    let mut due = Instant::now() + MAINTAIN_EVERY;
    while !pause(&mut stopped, Lease::RENEW_EVERY).await {
        if Instant::now() < due {
            match lease.take().await {
                Ok(is_held) => _ = holds.send_replace(is_held),
                // It may be this worker's still, and a wrong one is harmless.
                Err(error) => tracing::debug!(%error, "the lease of upkeep was not renewed"),
            }
            continue;
        }
        let begun = Instant::now();
        let looks_for_strays = round.is_multiple_of(STRAYS_EVERY);
        let options = MaintainOptions { looks_for_strays, retention: retention.clone(), ..MaintainOptions::default() };
        let kept = lease.during(maintain(&lake, &options)).await;
        holds.send_replace(matches!(kept, Ok(Some(_))));
        match kept {
            Ok(Some(Ok(report))) => {
                tracing::debug!(?report, "upkeep");
                round += 1;
            }
            // Who gets the lease begins at once.
            Ok(None) => {
                tracing::debug!("another worker does the upkeep");
                continue;
            }
            Ok(Some(Err(error))) | Err(error) => tracing::warn!(%error, "upkeep failed and will be tried again"),
        }
        due = begun + MAINTAIN_EVERY;
    }
    if let Err(error) = lease.give_back().await {
        tracing::debug!(%error, "the lease of upkeep ends with its term");
    }
}

/// Maps incidents of older fingerprints while this worker has the lease, and tells through `maps` whether all are mapped.
async fn map(
    mut successors: Successors,
    mut holds: watch::Receiver<bool>,
    mut stopped: watch::Receiver<bool>,
    maps: watch::Sender<bool>,
) {
    loop {
        let mut goes_on = false;
        let mut is_mapped = false;
        if *holds.borrow_and_update() {
            let stop = async {
                // Without a sender there is nobody left to wait for.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            // A step that is dropped where it stands is done again by whoever comes next.
            let step = tokio::select! {
                step = successors.step() => step,
                () = stop => return,
            };
            match step {
                Ok(more) => (goes_on, is_mapped) = (more, !more && !successors.waits()),
                Err(error) => {
                    tracing::warn!(%error, "mapping incidents to newer fingerprints failed and will be tried again");
                    successors.forget();
                }
            }
        } else {
            successors.forget();
        }
        maps.send_replace(is_mapped);
        if goes_on {
            continue;
        }
        tokio::select! {
            is_over = pause(&mut stopped, MAP_EVERY) => if is_over { return },
            changed = holds.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits; true: it is time to stop.
async fn pause(stopped: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::time::timeout(time, stopped.wait_for(|stopped| *stopped)).await.is_ok()
}
