//! The lease of upkeep: of several workers on a lake one at a time looks after its tables.
//!
//! The lease is a file `LAKE/upkeep/NUMBER`, and the greatest number holds. Taking it creates the next number, which a
//! store does for one of several that try; so does renewing it. No clocks are compared: a holder is dead to who has seen
//! the same number for the whole term, by its own clock.
//!
//! | greatest number | a call of [`Lease::take`] |
//! | --- | --- |
//! | there is none | takes the lease |
//! | this one's own | renews it |
//! | one that was given back | takes the lease |
//! | another's, not seen before | waits, and begins to count |
//! | another's, seen for less than the term | waits |
//! | another's, seen for the term | takes the lease: its holder has died, or stood still |
//!
//! A wrong lease is harmless: two rounds of upkeep at once lose nothing, each only does work of the other again. So who
//! stood still for longer than the term need not be shut out, and a lost answer costs a term of waiting at most.

use std::pin::pin;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, is_absent};
use crate::lake::Lake;

/// The folder below the lake.
const FOLDER: &str = "upkeep";
/// What stands in the file of a number that nobody holds; in others stands who does.
const GIVEN_BACK: &str = "given back";
/// Renewals within a term: how long a holder may be silent.
const RENEWALS: u32 = 3;

/// One worker's hand on the lease of a lake.
#[derive(Debug)]
pub struct Lease {
    lake: Lake,
    worker: String,
    term: Duration,
    /// The number that this worker has created last.
    own: Option<u64>,
    /// The number of another that was seen last, and since when.
    seen: Option<(u64, Instant)>,
}

impl Lease {
    /// How often whoever has the lease renews it with [`Self::take`]; [`Self::during`] does so by itself.
    pub const RENEW_EVERY: Duration = Duration::from_secs(15);

    /// For a worker of this name, which is for people: nothing depends on it.
    pub fn new(lake: Lake, worker: impl Into<String>) -> Self {
        Self::with_term(lake, worker, Self::RENEW_EVERY * RENEWALS)
    }

    /// With a term of its own.
    pub(crate) fn with_term(lake: Lake, worker: impl Into<String>, term: Duration) -> Self {
        Self { lake, worker: worker.into(), term, own: None, seen: None }
    }

    /// Takes the lease or renews it. `false`: another worker has it.
    ///
    /// # Errors
    /// When the lake's folder cannot be listed or written. The lease may have been taken all the same.
    pub async fn take(&mut self) -> Result<bool> {
        let numbers = self.numbers().await?;
        let newest = numbers.last().copied();
        if let Some(number) = newest.filter(|number| self.own != Some(*number)) {
            self.own = None;
            let is_free = self.has_been_silent(number) || self.is_given_back(number).await?;
            if !is_free {
                return Ok(false);
            }
        }
        let next = newest.map_or(0, |number| number + 1);
        let holder = format!("held by {}", self.worker);
        if !self.lake.create_file(FOLDER, &file(next), holder.as_bytes()).await? {
            return Ok(false);
        }
        // Who slept between the list and the file may have filled a place that was cleared behind a greater number.
        if self.numbers().await?.last() != Some(&next) {
            return Ok(false);
        }
        if self.own.is_none() {
            tracing::debug!(number = next, "this worker does the upkeep");
        }
        self.own = Some(next);
        for number in numbers {
            self.lake.remove_file(FOLDER, &file(number)).await?;
        }
        Ok(true)
    }

    /// Does work with the lease, and renews it meanwhile. `None`: another worker has it, or has taken it; what was under
    /// way then is dropped where it stood.
    ///
    /// # Errors
    /// As [`Self::take`]. A renewal that fails is tried again and ends nothing.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>> {
        if !self.take().await? {
            return Ok(None);
        }
        let mut work = pin!(work);
        loop {
            let renewed = tokio::select! {
                done = &mut work => return Ok(Some(done)),
                () = tokio::time::sleep(self.term / RENEWALS) => self.take().await,
            };
            match renewed {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => tracing::debug!(%error, "the lease of upkeep was not renewed"),
            }
        }
    }

    /// Gives the lease back, if this worker has it, so that nobody has to wait for the end of its term.
    ///
    /// # Errors
    /// When the lake's folder cannot be listed or written. The others wait for the term then.
    pub async fn give_back(&mut self) -> Result<()> {
        let Some(own) = self.own.take() else { return Ok(()) };
        let (next, free) = (file(own + 1), GIVEN_BACK.as_bytes());
        if self.numbers().await?.last() == Some(&own) && self.lake.create_file(FOLDER, &next, free).await? {
            self.lake.remove_file(FOLDER, &file(own)).await?;
        }
        Ok(())
    }

    /// Whether another's number has been the greatest for the whole term.
    fn has_been_silent(&mut self, number: u64) -> bool {
        match self.seen {
            Some((seen, since)) if seen == number => since.elapsed() >= self.term,
            _ => {
                self.seen = Some((number, Instant::now()));
                false
            }
        }
    }

    async fn is_given_back(&self, number: u64) -> Result<bool> {
        match self.lake.read_file(FOLDER, &file(number)).await {
            Ok(holder) => Ok(holder.is_some_and(|holder| holder[..] == *GIVEN_BACK.as_bytes())),
            // Its holder has renewed the lease meanwhile.
            Err(Error::Lance { source, .. }) if is_absent(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The numbers that are there, in order. Usually one.
    async fn numbers(&self) -> Result<Vec<u64>> {
        let files = self.lake.list_files(FOLDER).await?;
        let mut numbers: Vec<u64> = files.iter().filter_map(|file| file.location.filename()?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn file(number: u64) -> String {
    format!("{number:020}")
}
