//! One worker's way into the lake.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tracerag_schemas::{SourcePartition, time};
use uuid::Uuid;

use super::log::{Log, State};
use super::record::{Closed, Interval, Kind, Record};
use super::{Epoch, Head, Resume, SourceProgress, Staged, apply, now, recover};
use crate::error::{Error, Result, is_absent};
use crate::fail_point::FailPoint;
use crate::keys::OwnKey;
use crate::lake::Lake;

/// Writes epochs for the partitions that it has claimed.
///
/// [`Writer::write`] does the three steps in a row; they are also there one by one. After an error that may pass a
/// worker goes on with the same epoch ([`Writer::go_on`]), after any other it claims its partitions again: what did land
/// is then in the [`Resume`].
#[derive(Debug)]
pub struct Writer {
    lake: Lake,
    worker: String,
    log: Log,
    owned: HashMap<SourcePartition, Owned>,
    late_horizon: i64,
    /// Epochs staged and recorded by this process and not applied yet: their files need no check.
    staged: HashSet<String>,
    /// The epoch recorded last, with its position.
    recorded: Option<(String, u64)>,
}

/// A claim as this worker knows it.
#[derive(Debug, Clone, Copy)]
struct Owned {
    generation: u64,
    next: Option<i64>,
}

impl Writer {
    /// A writer without claims. `worker` names this process in the journal.
    pub async fn new(lake: Lake, worker: String) -> Result<Writer> {
        let mut log = Log::new(lake.clone());
        let (_, head) = lake.head().await?;
        log.refresh(&head).await?;
        Ok(Writer {
            lake,
            worker,
            log,
            owned: HashMap::new(),
            late_horizon: 3_600 * time::SECOND,
            staged: HashSet::new(),
            recorded: None,
        })
    }

    /// How long before a partition's stream time a trace may have been closed to be in a [`Resume`]
    /// though none of its rows is read again (default: one hour).
    #[must_use]
    pub fn with_late_horizon(mut self, horizon: Duration) -> Self {
        self.late_horizon = i64::try_from(horizon.as_nanos()).unwrap_or(i64::MAX);
        self
    }

    /// Says by its id with which key the rows of this writer are redacted. The first claim makes it the lake's, where the
    /// lake has none, or one of `previous`; with another key nothing is written. Without this no key is compared.
    #[must_use]
    pub fn with_redaction_key(mut self, id: &str, previous: &[&str]) -> Self {
        let previous = previous.iter().map(|id| (*id).to_owned()).collect();
        self.log.set_key(OwnKey { id: id.to_owned(), previous });
        self
    }

    /// The lake written to.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Takes partitions: records the claim, which shuts out whoever had them, applies everything
    /// recorded, and reads back where each stands. The answer is in the order asked.
    ///
    /// # Errors
    /// [`Error::OtherKey`] if the lake's tokens are made with a key that is not this writer's; otherwise when the lake
    /// cannot be read or written.
    pub async fn claim(&mut self, sources: &[SourcePartition]) -> Result<Vec<Resume>> {
        if sources.is_empty() {
            return Ok(vec![]);
        }
        self.log.adopt_key().await?;
        let epoch = Uuid::new_v4().to_string();
        let worker = self.worker.clone();
        let record = self.log.append(&epoch, |state| Ok(claim_record(state, &epoch, &worker, sources))).await?;
        FailPoint::Claimed.pass();
        for interval in &record.sources {
            let owned = Owned { generation: interval.generation, next: interval.to };
            self.owned.insert(interval.source.clone(), owned);
        }
        let head = self.apply().await?;
        for source in sources {
            let newest = head.source(source).map_or(0, |state| state.generation);
            let own = self.owned.get(source).map_or(0, |owned| owned.generation);
            if newest != own {
                self.owned.remove(source);
                return Err(Error::Fenced { partition: source.clone(), own, newest });
            }
        }
        tracing::info!(worker = self.worker, partitions = sources.len(), position = record.position, "claimed");
        recover::resume(&self.lake, &self.log, &head, sources, self.late_horizon).await
    }

    /// Forgets partitions. Nothing is recorded: the next claim shuts this worker out.
    pub async fn release(&mut self, sources: &[SourcePartition]) {
        for source in sources {
            self.owned.remove(source);
        }
    }

    /// Writes an epoch's rows as fragments: [`Lake::stage`].
    pub async fn stage(&self, epoch: Epoch) -> Result<Staged> {
        self.lake.stage(epoch).await
    }

    /// Appends the record that makes the epoch happen. Recording the epoch again that was recorded
    /// last changes nothing.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another worker has claimed one of the partitions since, and [`Error::OtherKey`] if one has
    /// changed the lake's key; the epoch then never happened. [`Error::OutOfSequence`] if the journal does not stand where this worker
    /// believes, which a lost answer can cause: claim again.
    pub async fn record(&mut self, staged: &Staged) -> Result<u64> {
        if let Some((epoch, position)) = &self.recorded
            && *epoch == staged.epoch
        {
            return Ok(*position);
        }
        let closed = self.log.store_closed(&staged.epoch, &staged.closed).await?;
        let (owned, worker) = (&self.owned, &self.worker);
        let record =
            self.log.append(&staged.epoch, |state| epoch_record(state, owned, worker, staged, closed.clone())).await?;
        FailPoint::Recorded.pass();
        for interval in &record.sources {
            if let Some(owned) = self.owned.get_mut(&interval.source) {
                owned.next = interval.to;
            }
        }
        // Whoever holds a staged epoch has staged it in this process, and looks for its files after a fault.
        self.staged.insert(record.epoch.clone());
        self.recorded = Some((record.epoch, record.position));
        Ok(record.position)
    }

    /// Whether a staged epoch can still be recorded, or is: its files are where they were written. A store that was
    /// gone for a while may have been an empty folder in the place of a volume.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(super) async fn can_record(&mut self, staged: &Staged) -> Result<bool> {
        // Files of an epoch that has landed may be merged and gone by now.
        if self.log.find(&staged.epoch).await?.is_some() {
            return Ok(true);
        }
        for part in &staged.datasets {
            let dataset = match self.lake.newest(&part.name).await {
                // Retention has dropped the day.
                Err(Error::Lance { source, .. }) if is_absent(&source) => return Ok(false),
                other => other?,
            };
            if apply::missing_file(&part.name, &dataset, &part.fragments).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings all tables to the end of the journal, whoever recorded it, and publishes a head.
    pub async fn apply(&mut self) -> Result<Arc<Head>> {
        let head = apply::apply(&self.lake, &mut self.log, &self.staged).await?;
        let waiting: HashSet<&String> = self.log.after(&head).iter().map(|record| &record.epoch).collect();
        self.staged.retain(|epoch| waiting.contains(epoch));
        Ok(head)
    }
}

fn claim_record(state: &State, epoch: &str, worker: &str, sources: &[SourcePartition]) -> Record {
    let intervals = sources
        .iter()
        .map(|source| {
            let known = state.sources.get(source);
            let next = known.and_then(|known| known.next);
            Interval {
                source: source.clone(),
                generation: known.map_or(0, |known| known.generation) + 1,
                from: next,
                to: next,
                low_watermark: known.and_then(|known| known.low_watermark),
                stream_time: known.and_then(|known| known.stream_time),
            }
        })
        .collect();
    blank(Kind::Claim, epoch, worker, intervals)
}

fn epoch_record(
    state: &State,
    owned: &HashMap<SourcePartition, Owned>,
    worker: &str,
    staged: &Staged,
    closed: Closed,
) -> Result<Record> {
    let intervals =
        staged.sources.iter().map(|progress| interval(state, owned, worker, progress)).collect::<Result<Vec<_>>>()?;
    Ok(Record { closed, staged: staged.datasets.clone(), ..blank(Kind::Epoch, &staged.epoch, worker, intervals) })
}

fn interval(
    state: &State,
    owned: &HashMap<SourcePartition, Owned>,
    worker: &str,
    progress: &SourceProgress,
) -> Result<Interval> {
    let partition = &progress.source;
    let Some(own) = owned.get(partition) else {
        return Err(Error::NotClaimed { partition: partition.clone(), worker: worker.to_owned() });
    };
    let known = state.sources.get(partition);
    let newest = known.map_or(0, |known| known.generation);
    if newest != own.generation {
        return Err(Error::Fenced { partition: partition.clone(), own: own.generation, newest });
    }
    let expected = known.and_then(|known| known.next);
    if expected != own.next || expected.is_some_and(|expected| progress.to < expected) {
        return Err(Error::OutOfSequence { partition: partition.clone(), expected, to: progress.to });
    }
    Ok(Interval {
        source: partition.clone(),
        generation: own.generation,
        from: expected,
        to: Some(progress.to),
        low_watermark: Some(progress.low_watermark.min(progress.to)),
        stream_time: Some(progress.stream_time),
    })
}

/// A record without content; its position and the schemas are set when it is appended.
pub(crate) fn blank(kind: Kind, epoch: &str, worker: &str, sources: Vec<Interval>) -> Record {
    Record {
        position: 0,
        kind,
        epoch: epoch.to_owned(),
        worker: worker.to_owned(),
        schema_version: 0,
        able: 0,
        recorded_at: now(),
        sources,
        closed: Closed::None,
        staged: vec![],
    }
}
