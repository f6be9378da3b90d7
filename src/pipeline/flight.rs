//! The epoch in flight: written beside the pipeline, however long the lake takes.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tracerag_enrich::Counts;
use tracerag_index::{Writer, Writing, Written};

use super::Pipeline;
use super::epoch::Draft;
use super::held::Held;
use super::late::{Stored, told_again};
use super::tally::show_recorded;
use crate::error::Error;
use crate::patience::{Backoff, Patience, Step};

/// An epoch that could not be written for so long is given up and read again: staged files that no record of the journal
/// names are removed after seven days.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How long the group and a signal to stop wait for an epoch of which nobody knows that it fails.
const SLOW: Duration = Duration::from_secs(20);

/// What became of an epoch, with the writer.
type Landed = (Writer, Result<(Written, Counts, Held), Error>);

/// An epoch that is being written.
pub(super) struct Flight {
    task: JoinHandle<Landed>,
    give_up: oneshot::Sender<()>,
    patience: Option<Patience>,
}

impl Flight {
    /// Begins to write. With `patience`, what may pass is tried again until it is done; without, it is an error.
    pub(super) fn start(mut writer: Writer, draft: Draft, late_horizon: i64, patience: Option<Patience>) -> Self {
        let (give_up, given_up) = oneshot::channel();
        let patient = patience.clone();
        let task = tokio::spawn(async move {
            let written = tokio::select! {
                written = write(&mut writer, draft, late_horizon, patient.as_ref()) => written,
                Ok(()) = given_up => Err(Error::GivenUp),
            };
            (writer, written)
        });
        Self { task, give_up, patience }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for it.
    async fn land(self) -> Result<Landed, JoinError> {
        self.task.await
    }

    /// Waits for it as long as the lake can be used, and gives it up otherwise.
    async fn land_or_give_up(mut self) -> Result<Landed, JoinError> {
        let Some(patience) = &self.patience else { return self.task.await };
        tokio::select! {
            // One that has landed is not given up.
            biased;
            landed = &mut self.task => return landed,
            () = patience.until_cannot_write(SLOW) => {}
        }
        // Nobody listens any more if it has landed just now.
        let _ = self.give_up.send(());
        self.task.await
    }
}

impl Pipeline {
    /// From now on a lake that cannot be used is waited for where that may help.
    pub(crate) fn wait_for_lake(&mut self, patience: Patience) {
        self.patience = Some(patience);
    }

    /// Waits for the epoch in flight.
    ///
    /// # Errors
    /// What its writing ended with.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        let Some(flight) = self.in_flight.take() else { return Ok(()) };
        self.landed(flight.land().await)
    }

    /// Waits for the epoch in flight as long as the lake takes it, for others wait, too.
    ///
    /// # Errors
    /// [`Error::GivenUp`] if it was given up: what the window remembers as written is not.
    pub(crate) async fn settle_or_give_up(&mut self) -> Result<(), Error> {
        let Some(flight) = self.in_flight.take() else { return Ok(()) };
        self.landed(flight.land_or_give_up().await)
    }

    fn landed(&mut self, landed: Result<Landed, JoinError>) -> Result<(), Error> {
        let (writer, written) =
            landed.map_err(|error| Error::Stopped { what: "writing an epoch", detail: error.to_string() })?;
        self.writer = Some(writer);
        let (written, counts, held) = written?;
        self.held = held;
        self.tally.flushed(&counts);
        self.tally.landed(&written);
        self.pace.landed(Duration::from_millis(written.commit_millis));
        Ok(())
    }
}

/// Puts a draft together and writes it. The draft is kept until it is written, so what the window remembers as
/// written holds, and no partition has to be claimed anew.
async fn write(
    writer: &mut Writer,
    mut draft: Draft,
    late_horizon: i64,
    patience: Option<&Patience>,
) -> Result<(Written, Counts, Held), Error> {
    let mut retries = Retries { patience, begun: Instant::now(), backoff: Backoff::default() };
    let stored = loop {
        match Stored::of(writer.lake(), &draft.flushed, late_horizon).await {
            Ok(stored) => break stored,
            Err(error) => retries.wait(error).await?,
        }
    };
    while let Err(error) = draft.held.read_on(writer.lake()).await {
        retries.wait(error).await?;
    }
    let looked = draft.look(stored).await?;
    let told = loop {
        match told_again(writer.lake(), looked.alone()).await {
            Ok(told) => break told,
            Err(error) => retries.wait(error).await?,
        }
    };
    let (epoch, counts, held) = looked.finish(told).await?;
    let mut writing = Writing::new(epoch);
    let written = loop {
        match writer.go_on(&mut writing).await {
            Ok(written) => break written,
            Err(error) => {
                writing.recorded().into_iter().for_each(show_recorded);
                retries.wait(error.into()).await?;
            }
        }
    };
    if let Some(patience) = patience {
        patience.works(Step::Write);
    }
    Ok((written, counts, held))
}

/// What is tried again, since when, and how long the next wait is.
struct Retries<'a> {
    patience: Option<&'a Patience>,
    begun: Instant,
    backoff: Backoff,
}

impl Retries<'_> {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The error, if another attempt would not help or must not be made.
    async fn wait(&mut self, error: Error) -> Result<(), Error> {
        match self.patience {
            Some(patience) if error.is_passing() && self.begun.elapsed() < LONGEST => {
                patience.failed(Step::Write, &error);
                tokio::time::sleep(self.backoff.wait()).await;
                Ok(())
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
