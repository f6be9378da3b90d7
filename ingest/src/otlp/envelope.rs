//! What the three signals have in common: resources hold scopes, scopes hold records.

use super::attributes::Walker;
use super::counts::DecodeCounts;
use super::origin::{Names, Origin};
use super::payloads::PayloadRows;
use super::resource::{Group, Place, ResourceValues, Resources, Scopes};
use super::wire::{Reader, Slice, WireError};

/// What all records of a decoder share.
pub(super) struct Shared {
    pub(super) walker: Walker,
    pub(super) resources: Resources,
    pub(super) scopes: Scopes,
    pub(super) payloads: PayloadRows,
}

/// The dictionaries of a finished batch.
pub(super) struct Dictionaries {
    pub(super) tenants: Names,
    pub(super) topics: Names,
    pub(super) resources: ResourceValues,
    pub(super) scopes: ResourceValues,
}

/// Where a record stands.
pub(super) struct Record<'a> {
    pub(super) place: Place<'a>,
    pub(super) origin: Origin,
    /// Time of the Kafka record, in ns.
    pub(super) timestamp_ns: i64,
    pub(super) resource: Group,
    pub(super) scope: Group,
}

/// Rows of one signal.
pub(super) trait Rows {
    /// Complete rows.
    fn rows(&self) -> usize;
    /// The rows that follow come from another message.
    fn begin(&mut self, origin: Origin);
    /// Appends the rows of a record, or none if it has no valid ids. After an error rows may be half written.
    fn record(
        &mut self,
        shared: &mut Shared,
        record: &Record<'_>,
        slice: Slice,
        reading: &mut Reading,
    ) -> Result<(), Stop>;
    /// Cuts back to complete rows.
    fn truncate(&mut self, rows: usize);
    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// Why reading a message stopped.
pub(super) enum Stop {
    Wire(WireError),
    TooManyRecords,
    TooManyBytes {
        /// How many it had reached.
        bytes: usize,
        limit: usize,
    },
    /// The message is likely another one: what is missing.
    Foreign(&'static str),
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Stop::Wire(error)
    }
}

/// What a message may take, and what came of its records so far.
pub(super) struct Reading {
    max_rows: usize,
    max_bytes: usize,
    bytes: usize,
    max_held: usize,
    records: usize,
    first_error: Option<WireError>,
}

impl Reading {
    /// Records after which the builder is asked for its bytes, which is not free.
    const ASK_EVERY: usize = 1_024;

    /// For a message that may fill the builder up to `max_rows` rows of `max_held` bytes in all, and repeat up to
    /// `max_bytes` bytes of itself.
    pub(super) fn new(max_rows: usize, max_bytes: usize, max_held: usize) -> Self {
        Self { max_rows, max_bytes, bytes: 0, max_held, records: 0, first_error: None }
    }

    /// Takes down that `bytes` bytes of the message are written; stops a message that writes its bytes too often.
    #[inline]
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.max_bytes {
            return Err(Stop::TooManyBytes { bytes: self.bytes, limit: self.max_bytes });
        }
        Ok(())
    }

    /// Stops a message whose rows take too much memory.
    #[inline]
    fn check_held(&mut self, rows: &impl Rows) -> Result<(), Stop> {
        self.records += 1;
        if !self.records.is_multiple_of(Self::ASK_EVERY) {
            return Ok(());
        }
        let (bytes, limit) = (rows.bytes(), self.max_held);
        if bytes > limit { Err(Stop::TooManyBytes { bytes, limit }) } else { Ok(()) }
    }

    /// Stops a message with too many records.
    #[inline]
    pub(super) fn check_rows(&self, rows: usize) -> Result<(), Stop> {
        if rows > self.max_rows { Err(Stop::TooManyRecords) } else { Ok(()) }
    }

    /// Takes down that a record is no protobuf. Its length is known all the same, so the message goes on behind it.
    #[cold]
    pub(super) fn drop_record(&mut self, error: WireError, counts: &mut DecodeCounts) {
        counts.bad_records += 1;
        self.first_error.get_or_insert(error);
    }
}

/// Reads an `Export...ServiceRequest` (or `...Data`, which has the same form) into rows.
///
/// A record stands behind what it belongs to in the schema, but not always on the wire: so resource, scope
/// and schema URL are looked for first. A bad record is dropped alone; if the message has no good one, it is most
/// likely no such message at all, and the first error is that of the message. Messages of another kind may also be
/// read without an error: their fields are unknown or take the places of ids.
pub(super) fn read_message<R: Rows>(
    rows: &mut R,
    shared: &mut Shared,
    place: Place<'_>,
    origin: Origin,
    timestamp_ns: i64,
    mut reading: Reading,
) -> Result<(), Stop> {
    let data = place.data;
    let (first_row, invalid_ids) = (rows.rows(), shared.walker.counts.invalid_ids());
    let mut has_group = false;
    let (mut scopes, mut records) = (Vec::new(), Vec::new());
    rows.begin(origin);
    let mut message = Reader::new(data);
    while let Some(field) = message.next()? {
        if field.number != 1 {
            continue;
        }
        has_group = true;
        let (resource, url) = parts(data, field.bytes()?, &mut scopes, reading.max_rows)?;
        let resource = shared.resources.intern(&mut shared.walker, place, resource, url)?;
        for scope in &scopes {
            let (scope, url) = parts(data, *scope, &mut records, reading.max_rows)?;
            let scope = shared.scopes.intern(&mut shared.walker, place, scope, url)?;
            let record = Record { place, origin, timestamp_ns, resource, scope };
            for slice in &records {
                let (row, payload) = (rows.rows(), shared.payloads.rows());
                match rows.record(shared, &record, *slice, &mut reading) {
                    Ok(()) => {
                        reading.check_rows(rows.rows())?;
                        reading.check_held(rows)?;
                    }
                    Err(Stop::Wire(error)) => {
                        rows.truncate(row);
                        rows.begin(origin);
                        shared.payloads.truncate(payload);
                        reading.drop_record(error, &mut shared.walker.counts);
                    }
                    Err(stop) => return Err(stop),
                }
            }
        }
    }
    if rows.rows() > first_row {
        return Ok(());
    }
    match reading.first_error {
        Some(error) => Err(Stop::Wire(error)),
        None if shared.walker.counts.invalid_ids() > invalid_ids => {
            Err(Stop::Foreign("no record has a valid trace id and a valid span id"))
        }
        None if !has_group && !data.is_empty() => Err(Stop::Foreign("it has fields, but none that such a message has")),
        None => Ok(()),
    }
}

/// Field 1 (resource or scope) and field 3 (schema URL) of a group, and all its fields 2 (scopes or records).
fn parts(data: &[u8], group: Slice, items: &mut Vec<Slice>, most: usize) -> Result<(Slice, Slice), Stop> {
    let (mut first, mut url) = (Slice::default(), Slice::default());
    items.clear();
    let mut reader = Reader::within(data, group);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => first = field.bytes()?,
            2 if items.len() < most => items.push(field.bytes()?),
            2 => return Err(Stop::TooManyRecords),
            3 => url = field.bytes()?,
            _ => {}
        }
    }
    Ok((first, url))
}
