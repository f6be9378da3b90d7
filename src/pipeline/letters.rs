//! Dead letters that are decoded again.
//!
//! One replay at a time has the partition of the journal under which all of them stand, by claiming it. An epoch
//! brings the rows of the letters that are good now together with a row for each that says so, so a kill at any moment
//! loses none and doubles none: whoever comes next claims, and leaves out the letters that have such a row. Traces are
//! not left open from one epoch to the next, because nobody reads a letter again for what is open.
//!
//! Rows keep the origin of their letter. A trace of which the lake has a part already gets a new revision.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tracerag_enrich::{Counts, Flushed, ResumeState};
use tracerag_index::failures::BEFORE_FAILURES;
use tracerag_index::letters::{self, Record};
use tracerag_index::{Epoch, Head, Lake, Resume, SourceProgress};
use tracerag_ingest::dead_letter::{DeadLetters, StoredLetter};
use tracerag_ingest::source::{Encoding, Signal};
use tracerag_schemas::letters::replays;
use tracerag_schemas::{SourcePartition, Table};

use super::epoch::Draft;
use super::held::Held;
use super::late::{Stored, told_again};
use super::{Input, Pipeline, Progress, emit, is_replayed, late, progress};
use crate::error::Error;

/// A letter, and what it is decoded as.
pub(crate) struct Replayable<'a> {
    pub letter: &'a StoredLetter,
    pub signal: Signal,
    pub encoding: Encoding,
    /// Names of headers that become attributes.
    pub named: &'a [String],
}

/// Letters that were taken up and are not written yet.
#[derive(Default)]
pub(super) struct Replayed {
    /// The rows that say so.
    marks: DeadLetters,
    /// When the oldest of them was stored, in ns.
    oldest: Option<i64>,
    /// Their partitions, which the window has.
    origins: Vec<SourcePartition>,
}

impl Replayed {
    fn add(&mut self, letter: &StoredLetter, time: i64) {
        self.marks.push_replayed(letter, time);
        let oldest = self.oldest.unwrap_or(letter.ingested_at);
        self.oldest = Some(oldest.min(letter.ingested_at));
    }
}

/// The records that partitions read again and that are dead letters.
pub(super) async fn read_again(
    lake: &Lake,
    head: &Head,
    resumes: &[Resume],
) -> Result<HashMap<SourcePartition, HashSet<Record>>, Error> {
    let intervals: Vec<_> = resumes
        .iter()
        .filter_map(|resume| Some((resume.source.clone(), resume.seek?, resume.next?)))
        .filter(|(_, from, to)| from < to)
        .collect();
    Ok(letters::buried(lake, head, &intervals).await?)
}

impl Pipeline {
    /// Shuts out every other replay of dead letters. Which letters wait is to be asked afterwards: what others had
    /// recorded is applied then.
    ///
    /// # Errors
    /// When the claim cannot be recorded, or the lake not be read.
    pub(crate) async fn claim_letters(&mut self) -> Result<(), Error> {
        self.assign(&[replays()], |_| true).await.map(|_| ())
    }

    /// Decodes letters; of each, whether it was taken, or why not. With `keep` they are written by the next
    /// [`Self::write_letters`], else nothing becomes of them.
    ///
    /// # Errors
    /// Never for what a letter holds.
    pub(crate) fn take_letters(
        &mut self,
        letters: &[Replayable<'_>],
        keep: bool,
    ) -> Result<Vec<Result<(), String>>, Error> {
        let time = self.progress.get(&replays()).map_or(0, |progress| progress.stream_time);
        let mut verdicts = Vec::with_capacity(letters.len());
        let mut touched: BTreeMap<&SourcePartition, i64> = BTreeMap::new();
        for Replayable { letter, signal, encoding, named } in letters {
            let record = Input::from_letter(letter, *signal, *encoding, named);
            let origin = &letter.origin;
            let verdict = self.intake.take_letter(origin, &record, &letter.tenant, time, &mut self.tally);
            if verdict.is_ok() {
                if keep {
                    self.replayed.add(letter, time);
                }
                let next = touched.entry(origin).or_default();
                *next = (letter.offset + 1).max(*next);
                if self.intake.is_full(origin) {
                    let next = *next;
                    self.hand_on(origin, time, next, keep)?;
                }
            }
            verdicts.push(verdict);
        }
        for (origin, next) in touched {
            self.hand_on(origin, time, next, keep)?;
        }
        Ok(verdicts)
    }

    /// Hands what was decoded of a letter's partition to the window, or drops it.
    fn hand_on(&mut self, origin: &SourcePartition, time: i64, next: i64, keep: bool) -> Result<(), Error> {
        let progress = Progress::of_letters(time, next);
        if !keep {
            return self.intake.finish(origin, &progress, &mut self.tally).map(|_| ());
        }
        if self.window.low_watermark(origin).is_none() {
            // For the window each letter's partition is one of its own, or equal logs of two of them would pass for
            // records of one message.
            self.window.assign(&[ResumeState::fresh(origin.clone())]);
            self.replayed.origins.push(origin.clone());
        }
        self.pushed_bytes +=
            emit(&mut self.intake, &mut self.window, &mut self.waiting, origin, &progress, &mut self.tally)?;
        Ok(())
    }

    /// Whether what was taken up of letters should be written before more is.
    pub(crate) fn are_letters_due(&self) -> bool {
        self.pushed_bytes.saturating_add(self.waiting.bytes) >= self.flush_bytes || self.window.is_over_memory()
    }

    /// Writes what was taken up since the last time, in one epoch.
    ///
    /// # Errors
    /// When another replay has begun meanwhile, or the lake cannot be written. Nothing of the epoch is there then.
    pub(crate) async fn write_letters(&mut self) -> Result<(), Error> {
        if self.replayed.marks.is_empty() {
            return Ok(());
        }
        let (epoch, counts) = self.letters_epoch().await?;
        let recorded = epoch.sources.first().map(|progress| (progress.to, progress.stream_time));
        let writer = self.writer.as_mut().ok_or_else(Self::no_writer)?;
        let written = writer.write(epoch).await?;
        counts.iter().for_each(|counts| self.tally.flushed(counts));
        self.tally.landed(&written);
        // The worker beside this goes on, and its changes count for the next letters.
        let floor = progress::floor(&self.lake.newest_head().await?);
        if let Some(progress) = self.progress.get_mut(&replays()) {
            progress.recorded = recorded.unwrap_or(progress.recorded);
            progress.stream_time = progress.stream_time.max(floor);
        }
        self.load_changes().await
    }

    /// Closes every trace, and puts all that was taken up into one epoch, with the rows that say so.
    async fn letters_epoch(&mut self) -> Result<(Epoch, Vec<Counts>), Error> {
        let Replayed { mut marks, oldest, origins } = std::mem::take(&mut self.replayed);
        let mut parts = Vec::new();
        loop {
            let mut flushed = self.window.drain()?;
            late::is_of_stored(&mut flushed);
            let more = flushed.more;
            parts.push(flushed);
            if !more {
                break;
            }
        }
        self.window.revoke(&origins);
        self.pushed_bytes = 0;
        let mut time = 0;
        if let Some(progress) = self.progress.get_mut(&replays()) {
            progress.next += i64::try_from(marks.len()).unwrap_or(0);
            time = progress.stream_time;
        }
        let sources = self.source_progress(&Flushed::empty());
        let last = sources.first().map_or(0, |progress| progress.to - 1);
        // Logs of a trace may have come alone when its spans became letters.
        let age = time.saturating_sub(oldest.unwrap_or(time)).max(0);
        let horizon = self.late_horizon.saturating_add(age);
        let mut waiting = self.waiting.take();
        waiting.push((Table::DeadLetters, marks.finish()?));
        let mut whole = Epoch { sources, ..Epoch::default() };
        let mut counts = Vec::with_capacity(parts.len());
        // Records without a trace wait for the last part: any of them may hold the failure of which they tell.
        let wait = |source: &SourcePartition| SourceProgress {
            source: source.clone(),
            to: 0,
            low_watermark: 0,
            stream_time: i64::MIN,
        };
        let waits: Vec<SourceProgress> = origins.iter().map(wait).collect();
        let mut held = Held::default();
        let mut found: Vec<RecordBatch> = Vec::new();
        let last_part = parts.len().saturating_sub(1);
        for (number, flushed) in parts.into_iter().enumerate() {
            let draft = Draft {
                flushed,
                waiting: std::mem::take(&mut waiting),
                sources: waits.clone(),
                stamp: self.stamp.clone(),
                failures: Arc::clone(&self.failure_rules),
                held: std::mem::take(&mut held),
                hold: 0,
                ends: number == last_part,
            };
            let stored = Stored::of(&self.lake, &draft.flushed, horizon).await?;
            let looked = draft.look(stored).await?;
            let mut told = told_again(&self.lake, looked.alone()).await?;
            if looked.alone().num_rows() > 0 && !found.is_empty() {
                let all: Vec<RecordBatch> = told.into_iter().chain(found.iter().cloned()).collect();
                told = Some(concat_batches(&all[0].schema(), &all)?);
            }
            let (mut part, seen, waiting_still) = looked.finish(told).await?;
            held = waiting_still;
            for (_, rows) in part.rows.iter().filter(|(table, _)| *table == Table::Failures) {
                let schema = rows.schema();
                let indices =
                    BEFORE_FAILURES.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
                found.push(rows.project(&indices)?);
            }
            // The journal knows one partition here; offsets of letters mean nothing in it.
            part.closed.iter_mut().for_each(|closed| closed.last_offsets = vec![(0, last)]);
            whole.rows.append(&mut part.rows);
            whole.closed.append(&mut part.closed);
            counts.push(seen);
        }
        Ok((whole, counts))
    }

    /// Seals what letters brought to a lake in which nothing else moves time. Partitions of Kafka do by themselves.
    ///
    /// # Errors
    /// When the lake cannot be written.
    pub(crate) async fn seal_letters(&mut self) -> Result<(), Error> {
        let head = self.lake.newest_head().await?;
        match head.sources.iter().all(|state| is_replayed(&state.source)) {
            true => self.seal().await,
            false => Ok(()),
        }
    }
}
