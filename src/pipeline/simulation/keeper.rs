//! Upkeep beside the workers: rounds of another process, each of which runs to its end, fails, is killed, or stands still
//! at an operation on the store while the workers move.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use object_store::memory::InMemory;
use rand::Rng;
use rand::rngs::StdRng;
use tracerag_index::{MaintainOptions, MaintainReport, maintain};

use super::store::{Fault, Tap};

/// Within so many operations of a round something happens that was drawn: a round makes some hundred.
const OPERATIONS: u64 = 300;

/// A round, or the end of one that stands still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// Versions go as soon as a newer head was published, whoever still holds them.
    pub is_hasty: bool,
    /// The operation after which something happens.
    after: u64,
    stop: Stop,
}

#[derive(Debug, Clone, Copy)]
enum Stop {
    Never,
    Held,
    Failed(Fault),
    Killed(Fault),
}

type Round = LocalBoxFuture<'static, Result<MaintainReport, tracerag_index::Error>>;

/// The process that does the upkeep.
#[derive(Default)]
pub(super) struct Keeper {
    standing: Option<(Tap, Round)>,
}

impl Keep {
    pub fn random(rng: &mut StdRng) -> Self {
        let fault = if rng.random_bool(0.5) { Fault::Before } else { Fault::After };
        let stop = match rng.random_range(0..4) {
            0 => Stop::Never,
            1 => Stop::Held,
            2 => Stop::Failed(fault),
            _ => Stop::Killed(fault),
        };
        Self { is_hasty: rng.random_bool(0.5), after: rng.random_range(0..OPERATIONS), stop }
    }

    /// A round in peace.
    pub fn whole() -> Self {
        Self { is_hasty: true, after: 0, stop: Stop::Never }
    }

    fn begin(self, store: &Arc<InMemory>) -> (Tap, Round) {
        let tap = Tap::new(Arc::clone(store));
        match self.stop {
            Stop::Never => {}
            Stop::Held => tap.hold(self.after),
            Stop::Failed(fault) => tap.fail(self.after, fault),
            Stop::Killed(fault) => tap.kill(self.after, fault),
        }
        let patient = MaintainOptions { small_fragments: 2, ..MaintainOptions::default() };
        let options = match self.is_hasty {
            // Records stay: copies are known by them for as long as a run takes.
            true => MaintainOptions { longest_query: Duration::ZERO, stale_versions: 0, ..patient },
            false => patient,
        };
        let way = tap.clone();
        let round = async move { maintain(&way.lake().await?, &options).await };
        (tap, round.boxed_local())
    }
}

impl Keeper {
    /// Goes on with the round that stands still, or begins one. Says what became of it; `Err`: it has failed although
    /// nothing stood in its way.
    pub async fn keep(&mut self, keep: Keep, store: &Arc<InMemory>) -> Result<&'static str, String> {
        let (tap, mut round) = match self.standing.take() {
            Some((tap, round)) => {
                tap.release();
                (tap, round)
            }
            None => keep.begin(store),
        };
        let done = tokio::select! {
            biased;
            done = &mut round => Some(done),
            () = tap.stopped() => None,
        };
        match done {
            _ if tap.has_ended() => Ok("died"),
            None => {
                self.standing = Some((tap, round));
                Ok("stands still")
            }
            Some(Err(error)) if !tap.has_failed() => Err(format!("upkeep ended: {error}")),
            Some(Ok(report)) if report.failed.is_empty() => Ok("done"),
            Some(_) => Ok("done, but for what failed"),
        }
    }

    /// Ends the round that stands still, in peace.
    pub async fn finish(&mut self) {
        if let Some((tap, round)) = self.standing.take() {
            tap.heal();
            // What has failed in it because workers were quicker is for the next round.
            let _ = round.await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some((tap, _)) = &self.standing {
            tap.end();
        }
    }
}
