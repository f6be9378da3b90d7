//! A batch that is taken apart and sent, as far as the queue takes it at a time.

use std::sync::Arc;

use rdkafka::message::{Header, OwnedHeaders};

use super::flights::Flights;
use super::outbox::{Outbox, Outgoing};
use super::split::Split;
use super::{ORIGIN_HEADER, RekeyError, Tally};
use crate::otlp;
use crate::source::{MessageBatch, Record};

/// Where the records of a batch go.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) signal: otlp::Signal,
    /// The topic that they are written to.
    pub(super) output: String,
    /// The header that names their tenant, and the tenant: it would be known by the old topic's name only.
    pub(super) tenant: Option<(String, Arc<str>)>,
}

/// A batch, and how far it has been sent.
pub(super) struct Underway {
    batch: MessageBatch,
    route: Route,
    record: usize,
    form: Option<Form>,
    part: usize,
    /// The part that is sent.
    buffer: Vec<u8>,
}

/// What becomes of a record.
enum Form {
    Parts(Box<Split>),
    /// It is no message of its signal, or has no value: the worker says what it is.
    Unchanged,
}

impl Form {
    fn of(record: &Record<'_>, signal: otlp::Signal, encoding: otlp::Encoding) -> Self {
        let split = record.value().and_then(|value| Split::of(signal, encoding, value));
        split.map_or(Self::Unchanged, |split| Self::Parts(Box::new(split)))
    }

    fn len(&self) -> usize {
        match self {
            Self::Parts(split) => split.len(),
            Self::Unchanged => 1,
        }
    }
}

impl Underway {
    pub(super) fn new(batch: MessageBatch, route: Route) -> Self {
        Self { batch, route, record: 0, form: None, part: 0, buffer: Vec::new() }
    }

    /// The batch.
    pub(super) fn batch(&self) -> &MessageBatch {
        &self.batch
    }

    /// Goes on sending. Gives whether the batch is done; if not, the queue is full.
    ///
    /// # Errors
    /// When a message will never be taken.
    pub(super) fn advance(
        &mut self,
        outbox: &Outbox,
        flights: &mut Flights,
        tally: &mut Tally,
    ) -> Result<bool, RekeyError> {
        while let Some(record) = self.batch.get(self.record) {
            let encoding = otlp::Encoding::from(self.batch.encoding());
            let signal = self.route.signal;
            let form = self.form.get_or_insert_with(|| Form::of(&record, signal, encoding));
            let origin = format!("{}/{}", self.batch.source(), record.offset());
            while self.part < form.len() {
                let (key, value) = match form {
                    Form::Parts(split) => {
                        let whole = record.value().unwrap_or_default();
                        let key = split.write(self.part, whole, &mut self.buffer);
                        (key.and_then(|key| key.bytes()), Some(self.buffer.as_slice()))
                    }
                    Form::Unchanged => (None, record.value()),
                };
                let message = Outgoing {
                    origin: &origin,
                    topic: &self.route.output,
                    key: key.as_deref(),
                    value,
                    timestamp: record.timestamp().map(|ns| ns.div_euclid(1_000_000)),
                    headers: headers(&record, &self.route, &origin),
                };
                if !outbox.send(message, flights.open())? {
                    return Ok(false);
                }
                self.part += 1;
            }
            count(form, tally);
            flights.reached(self.batch.source(), record.offset() + 1);
            self.form = None;
            self.part = 0;
            self.record += 1;
        }
        Ok(true)
    }
}

/// Adds up what has become of a record.
fn count(form: &Form, tally: &mut Tally) {
    tally.records += 1;
    tally.messages += form.len() as u64;
    match form {
        Form::Parts(split) => {
            for (kind, number) in split.counts.iter() {
                metrics::counter!("tracerag_decode_deviations_total", "kind" => kind).increment(number);
            }
        }
        Form::Unchanged => tally.unchanged += 1,
    }
}

/// The headers that the record had, and where it came from. Of a header that comes more than once the last one names
/// the tenant, so that of the topic goes behind.
fn headers(record: &Record<'_>, route: &Route, origin: &str) -> OwnedHeaders {
    let headers = record
        .headers()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value }))
        .insert(Header { key: ORIGIN_HEADER, value: Some(origin) });
    match &route.tenant {
        Some((key, tenant)) => headers.insert(Header { key, value: Some(&**tenant) }),
        None => headers,
    }
}
