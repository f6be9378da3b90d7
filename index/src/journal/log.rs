//! The journal as one writer sees it: the records after the newest head, and the end to append to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use lance::Dataset;
use lance::dataset::{InsertBuilder, WriteMode};
use lance_table::format::Fragment;
use tracerag_schemas::SourcePartition;

use super::fence::{self, Fenced};
pub(crate) use super::record::schema;
use super::record::{CLOSED, Interval, Kind, Record, STAGED};
use super::{ClosedTrace, Head, SourceState, closed};
use crate::error::{At, Error, Result};
use crate::fail_point::FailPoint;
use crate::journal::record::Closed;
use crate::keys::OwnKey;
use crate::lake::Lake;
use crate::stage::appended;

/// Name of the dataset.
pub(crate) const JOURNAL: &str = "journal";

/// Fragments read at once on the way back through the journal; most hold one record.
const STEP: usize = 32;

/// Reads what is new in the journal, and appends to it.
#[derive(Debug)]
pub(crate) struct Log {
    lake: Lake,
    /// Records after some head, in order, without gaps.
    tail: Vec<Record>,
    /// Greatest fragment id that `tail` has taken in; ids only grow, through merges too.
    seen: Option<u64>,
    /// Position of the newest head that was asked about; what lies before it is gone from `tail`.
    cut: u64,
    /// The epoch that was last tried to be appended, and where the journal stood before the first attempt.
    tried: Option<(String, u64)>,
    /// Whether `tail` ends with a record that was appended here and not looked behind since.
    ends_with_own: bool,
    /// What tokens are made with; nothing is appended where the lake has another key.
    key: Option<OwnKey>,
}

/// Where all partitions stand after some record, and which records count for nothing.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub position: u64,
    pub schema_version: u32,
    pub sources: HashMap<SourcePartition, SourceState>,
    pub void: Vec<u64>,
}

impl State {
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            position: head.position,
            schema_version: head.schema_version,
            sources: head.sources.iter().map(|state| (state.source.clone(), state.clone())).collect(),
            void: head.void.clone(),
        }
    }

    /// Takes in the next record. A record is void, as a whole, if one of its partitions was claimed
    /// by another since or does not go on where its last record ended: [`fence::holds`].
    pub(crate) fn take(&mut self, record: &Record) {
        self.position = record.position;
        let holds = |interval: &Interval| fence::holds(record.kind, self.sources.get(&interval.source), interval);
        if !record.sources.iter().all(holds) {
            tracing::warn!(position = record.position, worker = record.worker, "a record of the journal is void");
            self.void.push(record.position);
            return;
        }
        if record.kind == Kind::Migration {
            self.schema_version = self.schema_version.max(record.schema_version);
        }
        for interval in &record.sources {
            let next = SourceState {
                source: interval.source.clone(),
                generation: interval.generation,
                next: interval.to,
                low_watermark: interval.low_watermark,
                stream_time: interval.stream_time,
            };
            self.sources.insert(interval.source.clone(), next);
        }
    }
}

impl Log {
    pub(crate) fn new(lake: Lake) -> Self {
        Self { lake, tail: vec![], seen: None, cut: 0, tried: None, ends_with_own: false, key: None }
    }

    /// Says what tokens are made with.
    pub(crate) fn set_key(&mut self, key: OwnKey) {
        self.key = Some(key);
    }

    /// Makes the key the lake's, if it may be.
    pub(crate) async fn adopt_key(&self) -> Result<()> {
        match &self.key {
            // Deep, and it would be a part of every future that claims.
            Some(key) => Box::pin(key.adopt(&self.lake)).await,
            None => Ok(()),
        }
    }

    /// Reads on. Afterwards `tail` holds every record after the head's position that stands in the
    /// version of the journal that is returned.
    pub(crate) async fn refresh(&mut self, head: &Head) -> Result<Arc<Dataset>> {
        self.ends_with_own = false;
        let journal = self.lake.newest(JOURNAL).await?;
        let fragments = journal.fragments();
        let records = match self.seen {
            Some(seen) => {
                let fresh: Vec<Fragment> = fragments.iter().filter(|fragment| fragment.id > seen).cloned().collect();
                read(&journal, fresh, Columns::All).await?
            }
            None => {
                let reached = |records: &[Record]| records.first().is_some_and(|first| first.position <= head.position);
                read_back(&journal, Columns::All, reached).await?
            }
        };
        self.take(head, records)?;
        self.seen = fragments.iter().map(|fragment| fragment.id).max().or(self.seen).max(self.seen);
        Ok(journal)
    }

    /// The journal as it is now, read on from a head that may be older: the records after it say the same.
    async fn look(&mut self) -> Result<(Arc<Head>, Arc<Dataset>)> {
        let (_, head) = self.lake.known_head().await?;
        match self.refresh(&head).await {
            Ok(journal) => Ok((head, journal)),
            // So old that records after it were removed.
            Err(Error::Damaged { .. }) => self.look_again().await,
            Err(error) => Err(error),
        }
    }

    /// The journal and the newest head as they are now.
    async fn look_again(&mut self) -> Result<(Arc<Head>, Arc<Dataset>)> {
        let (_, head) = self.lake.head().await?;
        let journal = self.refresh(&head).await?;
        Ok((head, journal))
    }

    fn take(&mut self, head: &Head, mut records: Vec<Record>) -> Result<()> {
        debug_assert!(head.position >= self.cut, "the newest head went back from {} to {}", self.cut, head.position);
        self.cut = head.position;
        self.tail.retain(|record| record.position > head.position);
        let mut last = self.tail.last().map_or(head.position, |record| record.position);
        records.sort_by_key(|record| record.position);
        for record in records {
            if record.position <= last {
                continue;
            }
            if record.position != last + 1 {
                return Err(Error::Damaged {
                    position: last + 1,
                    detail: format!("the record is missing, the next one is {}", record.position),
                });
            }
            self.lake.accept(record.schema_version)?;
            last = record.position;
            self.tail.push(record);
        }
        Ok(())
    }

    /// Whether everything up to a record of our own is known, so that it can be applied without another look at the
    /// journal. Says so once: who has to apply it again should look what else has come.
    pub(crate) fn takes_end(&mut self) -> bool {
        std::mem::take(&mut self.ends_with_own)
    }

    /// The records after the head, in order.
    pub(crate) fn after(&self, head: &Head) -> &[Record] {
        let from = self.tail.partition_point(|record| record.position <= head.position);
        &self.tail[from..]
    }

    /// Where everything stands after the last record that was read.
    pub(crate) fn state(&self, head: &Head) -> State {
        let mut state = State::of(head);
        for record in self.after(head) {
            state.take(record);
        }
        state
    }

    /// The record of an epoch, if it stands in the journal: the answer to an attempt may be lost although the record
    /// has landed.
    pub(crate) async fn find(&mut self, epoch: &str) -> Result<Option<Record>> {
        let (head, journal) = self.look_again().await?;
        self.landed(&journal, &head, epoch).await
    }

    async fn landed(&self, journal: &Dataset, head: &Head, epoch: &str) -> Result<Option<Record>> {
        if let Some(landed) = self.tail.iter().find(|record| record.epoch == epoch) {
            return Ok(Some(landed.clone()));
        }
        match &self.tried {
            // Others may have applied it by now, and then it stands before the head. An epoch that moves no offset
            // would not be told from a new one by its intervals.
            Some((tried, since)) if tried == epoch && *since < head.position => {
                let reached = |records: &[Record]| records.first().is_some_and(|first| first.position <= *since);
                let records = read_back(journal, Columns::WithoutStaged, reached).await?;
                Ok(records.into_iter().find(|record| record.epoch == epoch))
            }
            _ => Ok(None),
        }
    }

    /// Appends a record. `draft` makes it from the state before it, or refuses; it is asked again
    /// whenever another record came first. An epoch that stands in the journal already is not appended again, whatever
    /// an earlier call ended with.
    pub(crate) async fn append(
        &mut self,
        epoch: &str,
        mut draft: impl FnMut(&State) -> Result<Record>,
    ) -> Result<Record> {
        for attempt in 0..fence::ATTEMPTS {
            let (head, journal) = if attempt == 0 { self.look().await? } else { self.look_again().await? };
            if let Some(landed) = self.landed(&journal, &head, epoch).await? {
                return Ok(landed);
            }
            if let Some(key) = &self.key {
                key.check(&journal)?;
            }
            let state = self.state(&head);
            let mut record = draft(&state)?;
            record.position = state.position + 1;
            if self.tried.as_ref().is_none_or(|(tried, _)| tried != epoch) {
                self.tried = Some((epoch.to_owned(), state.position));
            }
            record.schema_version = record.schema_version.max(state.schema_version);
            record.able = self.lake.schemas().version();
            let params = self.lake.write_params(WriteMode::Append);
            let staged = InsertBuilder::new(Arc::clone(&journal))
                .with_params(&params)
                .execute_uncommitted(vec![record.encode()?])
                .await
                .at(JOURNAL, "staging a record")?;
            let fragments = appended(JOURNAL, staged.operation)?;
            FailPoint::Drafted.pass();
            let mut keys: HashSet<u64> =
                record.sources.iter().map(|interval| fence::partition_key(&interval.source)).collect();
            keys.insert(fence::position_key(record.position));
            match fence::append(&self.lake, &journal, fragments, keys, HashMap::new()).await.at(JOURNAL, "recording")? {
                Fenced::Landed(landed) => {
                    let landed = self.lake.remember(JOURNAL, landed);
                    self.note(&landed, &record);
                    return Ok(record);
                }
                Fenced::Lost => fence::back_off(attempt).await,
            }
        }
        Err(Error::Contention { dataset: JOURNAL.to_owned(), step: "recording", attempts: fence::ATTEMPTS })
    }

    /// Takes in a record of our own without reading it back, if nothing else came with it.
    fn note(&mut self, landed: &Dataset, record: &Record) {
        let seen = self.seen;
        let mut fresh = landed.fragments().iter().map(|fragment| fragment.id).filter(|id| Some(*id) > seen);
        if let (Some(id), None) = (fresh.next(), fresh.next()) {
            self.tail.push(record.clone());
            self.seen = Some(id);
            self.ends_with_own = true;
        }
    }

    /// Writes the list of closed traces, beside the journal where it is long.
    pub(crate) async fn store_closed(&self, epoch: &str, traces: &[ClosedTrace]) -> Result<Closed> {
        if traces.is_empty() {
            return Ok(Closed::None);
        }
        let bytes = closed::encode(traces)
            .map_err(|error| Error::Damaged { position: 0, detail: format!("closed traces: {error}") })?;
        if bytes.len() <= closed::INLINE_BYTES {
            return Ok(Closed::Inline(bytes));
        }
        let name = format!("{epoch}.zst");
        self.lake.put_file(JOURNAL, &name, &bytes).await?;
        Ok(Closed::File(name))
    }

    /// The traces closed in a record.
    pub(crate) async fn load_closed(&self, record: &Record) -> Result<Vec<ClosedTrace>> {
        let filed;
        let bytes = match &record.closed {
            Closed::None => return Ok(vec![]),
            Closed::Inline(bytes) => bytes.as_slice(),
            Closed::File(name) => {
                filed = self.lake.read_file(JOURNAL, name).await?.ok_or_else(|| Error::MissingFile {
                    position: record.position,
                    dataset: JOURNAL.to_owned(),
                    file: name.clone(),
                })?;
                &filed[..]
            }
        };
        closed::decode(bytes).ok_or_else(|| Error::Damaged {
            position: record.position,
            detail: "its list of closed traces cannot be decoded".to_owned(),
        })
    }
}

/// What is read of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    All,
    /// Without the staged fragments, which are by far the largest part.
    WithoutStaged,
    /// Without the lists of closed traces, too, but for the names of those that lie beside the journal.
    Offsets,
}

impl Columns {
    /// Whether a column of the journal is read.
    fn has(self, name: &str) -> bool {
        match self {
            Columns::All => true,
            Columns::WithoutStaged => name != STAGED,
            Columns::Offsets => name != STAGED && name != CLOSED,
        }
    }
}

/// The records from the end of the journal backwards, in order, until `enough` says so of what was
/// read or there are no more.
pub(crate) async fn read_back(
    journal: &Dataset,
    columns: Columns,
    mut enough: impl FnMut(&[Record]) -> bool,
) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    // Fragments stand in the order of positions, through merges too (see `maintain::merge`).
    for fragments in journal.fragments().rchunks(STEP) {
        let mut earlier = read(journal, fragments.to_vec(), columns).await?;
        earlier.append(&mut records);
        records = earlier;
        records.sort_by_key(|record| record.position);
        if enough(&records) {
            break;
        }
    }
    Ok(records)
}

/// The greatest position among rows of the journal; 0 if there are none.
pub(crate) fn last_position(rows: &RecordBatch) -> Result<u64> {
    Ok(Record::decode(rows)?.iter().map(|record| record.position).max().unwrap_or_default())
}

/// The records of some fragments, in no order.
pub(crate) async fn read(journal: &Dataset, fragments: Vec<Fragment>, columns: Columns) -> Result<Vec<Record>> {
    if fragments.is_empty() {
        return Ok(vec![]);
    }
    let mut scan = journal.scan();
    scan.with_fragments(fragments);
    if columns != Columns::All {
        let schema = schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        scan.project(&names.filter(|name| columns.has(name)).collect::<Vec<_>>()).at(JOURNAL, "reading")?;
    }
    Record::decode(&scan.try_into_batch().await.at(JOURNAL, "reading")?)
}
