//! Records to rows: picks the decoder by signal, keeps what cannot be taken, counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use tracerag_ingest::changes::{DeploymentDecoder, FlagDecoder, HeapDecoder, Origin};
use tracerag_ingest::dead_letter::{DeadLetter, DeadLetters, StoredLetter};
use tracerag_ingest::otlp::{self, DecoderConfig, Message, OtlpDecoder};
use tracerag_ingest::redact::{RedactionCounts, Redactor};
use tracerag_ingest::source::files::FileRecord;
use tracerag_ingest::source::{self, DeadLetterTopic, Encoding, Gap, Signal};
use tracerag_ingest::tenant::Tenants;
use tracerag_schemas::{SourcePartition, Table, letters};

use super::{Progress, Tally, count};
use crate::error::Error;

/// A batch is this many rows or bytes, or the end of what was fetched.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 4 << 20;

/// Most characters of the reason of a dead letter, which is logged, stored, and sent as a header.
const DETAIL_CHARACTERS: usize = 300;

pub(super) type Headers<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

/// One record, from wherever it comes.
pub(crate) struct Input<'a> {
    pub signal: Signal,
    pub encoding: Encoding,
    pub offset: i64,
    /// The record's own time in ns.
    pub timestamp: Option<i64>,
    pub key: Option<&'a [u8]>,
    /// `None`: a tombstone.
    pub value: Option<&'a [u8]>,
    headers: HeaderSource<'a>,
}

enum HeaderSource<'a> {
    None,
    Kafka(source::Record<'a>),
    /// A dead letter, and the names of the headers that become attributes.
    Letter(&'a StoredLetter, &'a [String]),
}

impl<'a> Input<'a> {
    /// A Kafka record.
    pub(crate) fn from_kafka(record: source::Record<'a>, signal: Signal, encoding: Encoding) -> Self {
        Self {
            signal,
            encoding,
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key(),
            value: record.value(),
            headers: HeaderSource::Kafka(record),
        }
    }

    /// A record of a replayed file.
    pub(crate) fn from_file(record: &'a FileRecord) -> Self {
        Self {
            signal: record.signal,
            encoding: record.encoding,
            offset: record.offset,
            timestamp: Some(record.record_time),
            key: None,
            value: Some(&record.value),
            headers: HeaderSource::None,
        }
    }

    /// A dead letter, to be decoded again; `named` are the headers that become attributes.
    pub(crate) fn from_letter(
        letter: &'a StoredLetter,
        signal: Signal,
        encoding: Encoding,
        named: &'a [String],
    ) -> Self {
        Self {
            signal,
            encoding,
            offset: letter.offset,
            timestamp: letter.timestamp,
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            headers: HeaderSource::Letter(letter, named),
        }
    }

    /// Those that become attributes.
    fn named_headers(&self) -> Headers<'a> {
        match &self.headers {
            HeaderSource::None => Vec::new(),
            HeaderSource::Kafka(record) => record.named_headers().collect(),
            HeaderSource::Letter(letter, named) => {
                headers_of(letter).filter(|(name, _)| named.iter().any(|other| other == name)).collect()
            }
        }
    }

    /// Collected only where they are asked for: nearly no record has any.
    pub(super) fn headers(&self) -> Headers<'a> {
        match &self.headers {
            HeaderSource::None => Vec::new(),
            HeaderSource::Kafka(record) => record.headers().collect(),
            HeaderSource::Letter(letter, _) => headers_of(letter).collect(),
        }
    }
}

fn headers_of(letter: &StoredLetter) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
    letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
}

/// What the decoders of one source had.
#[derive(Default)]
pub(super) struct Taken {
    pub spans: Option<RecordBatch>,
    pub logs: Option<RecordBatch>,
    /// Rows that wait for no trace.
    pub rows: Vec<(Table, RecordBatch)>,
}

/// All decoders of a worker.
pub(super) struct Intake {
    redactor: Arc<Redactor>,
    tenants: Tenants,
    telemetry: HashMap<SourcePartition, OtlpDecoder>,
    decoder: DecoderConfig,
    flags: FlagDecoder,
    deployments: DeploymentDecoder,
    heaps: HeapDecoder,
    letters: DeadLetters,
    letter_topic: Option<DeadLetterTopic>,
}

impl Intake {
    pub(super) fn new(decoder: DecoderConfig, redactor: Arc<Redactor>, tenants: Tenants) -> Self {
        Self {
            flags: FlagDecoder::new(Arc::clone(&redactor)),
            deployments: DeploymentDecoder::new(Arc::clone(&redactor)),
            heaps: HeapDecoder::new(Arc::clone(&redactor)),
            letters: DeadLetters::new(),
            letter_topic: None,
            telemetry: HashMap::new(),
            decoder,
            redactor,
            tenants,
        }
    }

    /// Dead letters go to a topic as well.
    pub(super) fn send_letters_to(&mut self, topic: Option<DeadLetterTopic>) {
        self.letter_topic = topic;
    }

    /// The flag configurations that are stored, or that wait to be: only they are the base of the next difference.
    /// What was decoded but given up is forgotten, or it would make no difference when it is read again.
    pub(super) fn seed_flags<'a>(&mut self, rows: impl IntoIterator<Item = &'a RecordBatch>) -> Result<(), Error> {
        self.flags = FlagDecoder::new(Arc::clone(&self.redactor));
        for rows in rows {
            self.flags.restore(rows)?;
        }
        Ok(())
    }

    /// Drops what was decoded but not handed on of a source.
    pub(super) fn forget(&mut self, source: &SourcePartition) {
        self.telemetry.remove(source);
    }

    /// Drops everything that was decoded, of whatever source.
    pub(super) fn forget_all(&mut self) {
        self.telemetry.clear();
        self.letters = DeadLetters::new();
    }

    /// Takes one record.
    pub(super) fn take(
        &mut self,
        source: &SourcePartition,
        record: &Input<'_>,
        clock: i64,
        progress: &mut Progress,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        progress.advance(record.timestamp.unwrap_or(clock), clock);
        progress.next = record.offset + 1;
        tally.records += 1;
        let Some(value) = record.value.filter(|value| !value.is_empty()) else {
            tally.tombstones += 1;
            metrics::counter!("tracerag_tombstones_total", "topic" => source.topic.to_string()).increment(1);
            return Ok(());
        };
        tally.bytes += value.len() as u64;
        let is_written = record.offset < progress.written_to;
        // Spans and logs may belong to traces that are still open; everything else that was written is skipped. So is a
        // letter, though it may be good by now: whoever replays it takes it up.
        let may_be_open = matches!(record.signal, Signal::Spans | Signal::Logs)
            && !progress.buried.contains(&(record.offset, record.timestamp));
        if is_written && !may_be_open {
            return Ok(());
        }
        let tenant = match self.tenants.of_topic(&source.topic) {
            Some(tenant) => tenant,
            None => self.tenants.of(&source.topic, record.headers()),
        };
        let ingested_at = progress.stream_time;
        if let Err((reason, detail)) = self.decode(source, record, value, &tenant, ingested_at)
            && !is_written
        {
            self.bury(source, record, &tenant, ingested_at, reason, &detail, tally)?;
        }
        Ok(())
    }

    /// Takes the record of a dead letter. If it is bad still, nothing of it is kept, and what is wrong is said as it
    /// may be shown.
    pub(super) fn take_letter(
        &mut self,
        origin: &SourcePartition,
        record: &Input<'_>,
        tenant: &Arc<str>,
        ingested_at: i64,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let Some(value) = record.value.filter(|value| !value.is_empty()) else {
            return Err(String::from("the letter has no value"));
        };
        let decoded = self.decode(origin, record, value, tenant, ingested_at);
        decoded.map_err(|(_, detail)| shown(&self.redactor, &detail))?;
        tally.records += 1;
        tally.bytes += value.len() as u64;
        Ok(())
    }

    fn decode(
        &mut self,
        source: &SourcePartition,
        record: &Input<'_>,
        value: &[u8],
        tenant: &Arc<str>,
        ingested_at: i64,
    ) -> Result<(), (&'static str, String)> {
        match record.signal {
            Signal::Spans | Signal::Logs | Signal::Metrics => {
                self.take_telemetry(source, record, value, tenant, ingested_at)
            }
            _ => {
                let origin = Origin { tenant, source, offset: record.offset, timestamp: record.timestamp, ingested_at };
                self.take_change(record, value, &origin)
            }
        }
    }

    fn take_telemetry(
        &mut self,
        source: &SourcePartition,
        record: &Input<'_>,
        value: &[u8],
        tenant: &Arc<str>,
        ingested_at: i64,
    ) -> Result<(), (&'static str, String)> {
        let config = &self.decoder;
        let decoder = self.telemetry.entry(source.clone()).or_insert_with(|| OtlpDecoder::new(config.clone()));
        // The caller has looked: only these three signals come here.
        let signal = record.signal.otlp().unwrap_or(otlp::Signal::Spans);
        let headers = record.named_headers();
        let message = Message {
            value,
            topic: &source.topic,
            partition: source.partition,
            offset: record.offset,
            tenant,
            timestamp_ns: record.timestamp.unwrap_or(ingested_at),
            ingested_at,
            headers: &headers,
        };
        decoder.decode(signal, record.encoding.into(), message).map_err(|error| (error.reason(), error.to_string()))
    }

    fn take_change(
        &mut self,
        record: &Input<'_>,
        value: &[u8],
        origin: &Origin<'_>,
    ) -> Result<(), (&'static str, String)> {
        let taken = match record.signal {
            Signal::Flags => self.flags.decode(value, origin).map(|_| ()),
            Signal::Deployments => self.deployments.decode(value, record.headers(), origin).map(|_| ()),
            _ => self.heaps.decode(value, origin).map(|_| ()),
        };
        taken.map_err(|error| ("change", error.to_string()))
    }

    #[allow(clippy::too_many_arguments)]
    fn bury(
        &mut self,
        source: &SourcePartition,
        record: &Input<'_>,
        tenant: &str,
        ingested_at: i64,
        reason: &'static str,
        detail: &str,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let detail = &shown(&self.redactor, detail);
        tracing::warn!(topic = %source.topic, partition = source.partition, offset = record.offset, reason, detail, "dead letter");
        let headers = record.headers();
        let letter = DeadLetter {
            tenant,
            reason,
            detail,
            source,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            size_bytes: record.value.map_or(0, |value| i64::try_from(value.len()).unwrap_or(i64::MAX)),
            headers: &headers,
            ingested_at,
        };
        self.keep(&letter, tally)
    }

    /// Takes down that offsets of a partition are gone, and gives the row. It is stamped with the worker's `clock`: the
    /// partition's own time may be older than dead letters are kept.
    pub(super) fn bury_gap(&mut self, gap: &Gap, clock: i64, tally: &mut Tally) -> Result<RecordBatch, Error> {
        let (source, detail) = (&gap.source, gap.to_string());
        tracing::warn!(
            topic = %source.topic,
            partition = source.partition,
            seek = gap.from,
            low = gap.to,
            next = gap.read_to,
            offsets = gap.offsets(),
            reason = letters::GAP,
            %detail,
            "dead letter; going on at the oldest record that is left: traces that were open then may miss their oldest \
             spans"
        );
        count(source, "tracerag_gap_offsets_total", u64::try_from(gap.offsets()).unwrap_or(0));
        // Headers that named a tenant are gone with their records.
        let tenant = self.tenants.of(&source.topic, std::iter::empty());
        let letter = DeadLetter {
            tenant: &tenant,
            reason: letters::GAP,
            detail: &detail,
            source,
            offset: gap.from,
            timestamp: None,
            key: None,
            value: None,
            size_bytes: 0,
            headers: &[],
            ingested_at: clock,
        };
        self.keep(&letter, tally)?;
        self.take_letters()
    }

    /// Counts a letter, sends it to its topic, and keeps it for the table.
    fn keep(&mut self, letter: &DeadLetter<'_>, tally: &mut Tally) -> Result<(), Error> {
        metrics::counter!("tracerag_dead_letters_total", "reason" => letter.reason.to_owned()).increment(1);
        tally.dead_letters += 1;
        if let Some(topic) = &self.letter_topic {
            topic.send(letter).map_err(tracerag_ingest::IngestError::from)?;
        }
        self.letters.push(letter);
        Ok(())
    }

    /// The letters that are kept, as rows.
    fn take_letters(&mut self) -> Result<RecordBatch, Error> {
        // After the epoch nobody reads the bad records again, so they have to be in their topic before.
        if let Some(topic) = &self.letter_topic {
            topic.flush(Duration::from_secs(10)).map_err(tracerag_ingest::IngestError::from)?;
        }
        Ok(self.letters.finish()?)
    }

    /// Whether the source's decoder holds a batch.
    pub(super) fn is_full(&self, source: &SourcePartition) -> bool {
        self.telemetry.get(source).is_some_and(|decoder| decoder.rows() >= BATCH_ROWS || decoder.bytes() >= BATCH_BYTES)
    }

    /// Hands on what was decoded of a source.
    pub(super) fn finish(
        &mut self,
        source: &SourcePartition,
        progress: &Progress,
        tally: &mut Tally,
    ) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        if let Some(decoder) = self.telemetry.get_mut(source) {
            let batches = decoder.finish().map_err(tracerag_ingest::IngestError::from)?;
            for (kind, number) in batches.counts.iter() {
                tally.count(kind, number);
                metrics::counter!("tracerag_decode_deviations_total", "kind" => kind).increment(number);
            }
            let rows = |batch: &Option<RecordBatch>| batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            tally.spans += rows(&batches.spans);
            tally.logs += rows(&batches.logs);
            tally.points += rows(&batches.metrics);
            count(source, "tracerag_spans_total", rows(&batches.spans));
            count(source, "tracerag_logs_total", rows(&batches.logs));
            count(source, "tracerag_points_total", rows(&batches.metrics));
            taken.spans = batches.spans;
            taken.logs = batches.logs;
            if let Some(metrics) = batches.metrics {
                taken.rows.push((
                    Table::Metrics,
                    tracerag_schemas::in_flight::materialize(&metrics, &Table::Metrics.lake_schema())?,
                ));
            }
            if let Some(payloads) = batches.payloads {
                taken.rows.push((Table::Payloads, unwritten(&payloads, progress.written_to)?));
            }
        }
        if !self.flags.is_empty() {
            taken.rows.push((Table::Flags, self.flags.finish()?));
        }
        if !self.deployments.is_empty() {
            taken.rows.push((Table::Builds, self.deployments.finish()?));
        }
        if !self.heaps.is_empty() {
            taken.rows.push((Table::Heaps, self.heaps.finish()?));
        }
        if !self.letters.is_empty() {
            taken.rows.push((Table::DeadLetters, self.take_letters()?));
        }
        Ok(taken)
    }
}

/// The reason of a dead letter as it may be shown. Decoders put no content into it; should one do so all the same,
/// nothing personal gets on.
fn shown(redactor: &Redactor, detail: &str) -> String {
    let detail = redactor.redact_text(detail, &mut RedactionCounts::default());
    match detail.char_indices().nth(DETAIL_CHARACTERS) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.into_owned(),
    }
}

/// Payload rows wait for no trace, so those of records that were written before are dropped.
fn unwritten(payloads: &RecordBatch, written_to: i64) -> Result<RecordBatch, Error> {
    let offsets = payloads.column(payloads.schema().index_of("kafka_offset")?).as_primitive::<Int64Type>();
    let keep: BooleanArray =
        offsets.iter().map(|offset| Some(offset.is_none_or(|offset| offset >= written_to))).collect();
    match keep.true_count() == keep.len() {
        true => Ok(payloads.clone()),
        false => Ok(filter_record_batch(payloads, &keep)?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tracerag_ingest::redact::{PayloadConfig, RedactionConfig};

    use super::*;

    /// What is personal in a reason is masked before it is logged, stored or sent, and no reason is long.
    #[test]
    fn reasons_are_masked_and_cut() {
        let config =
            RedactionConfig { key: "a key of the tests, long enough".to_owned(), ..RedactionConfig::default() };
        let redactor = Redactor::new(&config, &PayloadConfig::default()).unwrap();
        assert_eq!(shown(&redactor, "unexpected \"alice@example.com\""), "unexpected \"<email>\"");
        let long = shown(&redactor, &"ä ".repeat(1_000));
        assert_eq!(long.chars().count(), DETAIL_CHARACTERS + 1);
    }
}
