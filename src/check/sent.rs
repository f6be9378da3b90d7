//! What was sent: messages are decoded again, and every record becomes an entry.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use tracerag_ingest::IngestError;
use tracerag_ingest::changes::{DeploymentDecoder, FlagDecoder, HeapDecoder, Origin};
use tracerag_ingest::dead_letter::{DeadLetter, DeadLetters};
use tracerag_ingest::otlp::{self, Message, OtlpDecoder};
use tracerag_ingest::redact::Redactor;
use tracerag_ingest::source::files::FileRecord;
use tracerag_ingest::source::{self, Encoding, Signal};
use tracerag_ingest::tenant::Tenants;
use tracerag_schemas::{Table, in_flight};

use super::ledger::{Entry, Ledger};
use super::places::Places;
use super::rows;
use crate::config::Config;
use crate::error::Error;
use crate::worker::now;

/// Rows and bytes of decoded telemetry after which they become entries.
const ROWS: usize = 8_192;
const BYTES: usize = 4 << 20;

/// Letters by number of the partition and offset, and whether each was replayed.
pub(super) type Letters = HashMap<(u32, i64), bool>;

/// Whole flag configurations, by number of the partition and offset.
pub(super) type Configurations = HashSet<(u32, i64)>;

/// One message.
pub(super) struct Sent<'a> {
    signal: Signal,
    encoding: Encoding,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<(&'a str, Option<&'a [u8]>)>,
    /// Those that become attributes.
    named: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl<'a> Sent<'a> {
    pub(super) fn from_kafka(record: source::Record<'a>, signal: Signal, encoding: Encoding) -> Self {
        Self {
            signal,
            encoding,
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key(),
            value: record.value(),
            headers: record.headers().collect(),
            named: record.named_headers().collect(),
        }
    }

    pub(super) fn from_file(record: &'a FileRecord) -> Self {
        Self {
            signal: record.signal,
            encoding: record.encoding,
            offset: record.offset,
            timestamp: Some(record.record_time),
            key: None,
            value: Some(&record.value),
            headers: Vec::new(),
            named: Vec::new(),
        }
    }
}

/// Decodes messages of all partitions into a ledger.
pub(super) struct Reader<'a> {
    places: &'a Places,
    letters: Letters,
    ledger: &'a mut Ledger,
    redactor: Arc<Redactor>,
    tenants: Tenants,
    telemetry: OtlpDecoder,
    deployments: DeploymentDecoder,
    heaps: HeapDecoder,
    dead_letters: DeadLetters,
    /// The stream time of each partition, in ns.
    times: Vec<i64>,
    /// No record is younger, in ns.
    clock: i64,
    configurations: Configurations,
    messages: u64,
}

impl<'a> Reader<'a> {
    /// A reader with the policy, the key and the tenants of the configuration.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub(super) fn new(
        config: &Config,
        places: &'a Places,
        letters: Letters,
        ledger: &'a mut Ledger,
    ) -> Result<Self, Error> {
        let redactor = Redactor::new(&config.redaction, &config.payload).map_err(IngestError::from)?;
        let redactor = Arc::new(redactor);
        Ok(Self {
            letters,
            ledger,
            tenants: Tenants::new(&config.tenant).map_err(|error| Error::Usage(error.to_string()))?,
            telemetry: OtlpDecoder::new(config.decoder(Arc::clone(&redactor))),
            deployments: DeploymentDecoder::new(Arc::clone(&redactor)),
            heaps: HeapDecoder::new(Arc::clone(&redactor)),
            dead_letters: DeadLetters::new(),
            redactor,
            times: vec![0; places.all.len()],
            clock: now(),
            configurations: Configurations::new(),
            messages: 0,
            places,
        })
    }

    /// Takes a message of a partition, in offset order.
    ///
    /// # Errors
    /// When the ledger cannot be written; never for what a message holds.
    pub(super) fn take(&mut self, number: u32, message: &Sent<'_>) -> Result<(), Error> {
        self.messages += 1;
        let Some(value) = message.value.filter(|value| !value.is_empty()) else { return Ok(()) };
        let places = self.places;
        let Some(place) = places.get(number) else { return Ok(()) };
        let Some(time) = self.times.get_mut(number as usize) else { return Ok(()) };
        // As for a worker: a sender's clock that is ahead moves no time, and time never goes back.
        *time = (*time).max(message.timestamp.unwrap_or(0).min(self.clock));
        let time = *time;
        let tenant = self.tenants.of(&place.source.topic, message.headers.iter().copied());
        let origin = Origin {
            tenant: &tenant,
            source: &place.source,
            offset: message.offset,
            timestamp: message.timestamp,
            ingested_at: time,
        };
        let letter = self.letters.get(&(number, message.offset)).copied();
        // A letter that waits stays one, also where the configuration was corrected since.
        let is_good = letter != Some(false) && self.decode(value, number, message, &origin)?;
        if !is_good || letter.is_some() {
            self.dead_letters.push(&DeadLetter {
                tenant: &tenant,
                reason: "decode",
                detail: "",
                source: &place.source,
                offset: message.offset,
                timestamp: message.timestamp,
                key: message.key,
                value: message.value,
                size_bytes: i64::try_from(value.len()).unwrap_or(i64::MAX),
                headers: &message.headers,
                ingested_at: time,
            });
        }
        let is_full = self.telemetry.rows() >= ROWS || self.telemetry.bytes() >= BYTES;
        if is_full || self.dead_letters.bytes() >= BYTES { self.finish() } else { Ok(()) }
    }

    /// How many messages were taken.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Ends reading: gives the whole flag configurations among what was read.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub(super) fn end(mut self) -> Result<Configurations, Error> {
        self.finish()?;
        Ok(self.configurations)
    }

    /// Whether a message is good. After one that is not, nothing of it is kept.
    fn decode(&mut self, value: &[u8], number: u32, message: &Sent<'_>, origin: &Origin<'_>) -> Result<bool, Error> {
        let Some(signal) = message.signal.otlp() else {
            return match message.signal {
                Signal::Flags => self.decode_flags(value, number, origin),
                Signal::Deployments => {
                    Ok(self.deployments.decode(value, message.headers.iter().copied(), origin).is_ok())
                }
                _ => Ok(self.heaps.decode(value, origin).is_ok()),
            };
        };
        Ok(self.decode_telemetry(signal, value, message, origin))
    }

    fn decode_telemetry(
        &mut self,
        signal: otlp::Signal,
        value: &[u8],
        message: &Sent<'_>,
        origin: &Origin<'_>,
    ) -> bool {
        let message_of = Message {
            value,
            topic: &origin.source.topic,
            partition: origin.source.partition,
            offset: origin.offset,
            tenant: origin.tenant,
            timestamp_ns: origin.timestamp.unwrap_or(origin.ingested_at),
            ingested_at: origin.ingested_at,
            headers: &message.named,
        };
        self.telemetry.decode(signal, message.encoding.into(), message_of).is_ok()
    }

    /// A change has one row. What becomes of a whole flag configuration depends on the one before it, which may be gone.
    fn decode_flags(&mut self, value: &[u8], number: u32, origin: &Origin<'_>) -> Result<bool, Error> {
        let mut flags = FlagDecoder::new(Arc::clone(&self.redactor));
        let Ok(outcome) = flags.decode(value, origin) else { return Ok(false) };
        if outcome.is_configuration {
            self.configurations.insert((number, origin.offset));
        } else {
            self.enter(Table::Flags, &flags.finish()?)?;
        }
        Ok(true)
    }

    /// Turns everything decoded into entries.
    fn finish(&mut self) -> Result<(), Error> {
        let decoded = self.telemetry.finish().map_err(IngestError::from)?;
        let telemetry = [(Table::Spans, decoded.spans), (Table::Logs, decoded.logs), (Table::Metrics, decoded.metrics)];
        for (table, batch) in telemetry {
            if let Some(batch) = batch {
                self.enter(table, &in_flight::materialize(&batch, &table.lake_schema())?)?;
            }
        }
        if let Some(payloads) = decoded.payloads {
            self.enter(Table::Payloads, &payloads)?;
        }
        let (builds, heaps) = (self.deployments.finish()?, self.heaps.finish()?);
        self.enter(Table::Builds, &builds)?;
        self.enter(Table::Heaps, &heaps)?;
        let dead_letters = self.dead_letters.finish()?;
        self.enter(Table::DeadLetters, &dead_letters)
    }

    fn enter(&mut self, table: Table, batch: &RecordBatch) -> Result<(), Error> {
        let Some(number) = rows::number(table) else { return Ok(()) };
        let (places, ledger) = (self.places, &mut *self.ledger);
        rows::each(table, batch, |row| {
            let source = places.number(row.topic, row.partition);
            let Some((source, place)) = source.and_then(|source| Some((source, places.get(source)?))) else {
                return Ok(());
            };
            let waits = matches!(table, Table::Spans | Table::Logs) && row.trace_id.is_some();
            let state = places.state(place, number, row.offset, waits, row.time);
            ledger.push(&Entry::new(row, source, number, state))
        })
    }
}
