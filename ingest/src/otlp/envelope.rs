//! What the three signals have in common: resources hold scopes, scopes hold records.

use super::attributes::Walker;
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
    /// Appends the rows of a record, or none if it is bad.
    fn record(&mut self, shared: &mut Shared, record: &Record<'_>, slice: Slice) -> Result<(), WireError>;
    /// Cuts back to complete rows.
    fn truncate(&mut self, rows: usize);
    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// Why reading a message stopped.
pub(super) enum Stop {
    Wire(WireError),
    TooManyRecords,
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Stop::Wire(error)
    }
}

/// Reads an `Export...ServiceRequest` (or `...Data`, which has the same form) into rows.
///
/// A record stands behind what it belongs to in the schema, but not always on the wire: so resource, scope
/// and schema URL are looked for first.
pub(super) fn read_message<R: Rows>(
    rows: &mut R,
    shared: &mut Shared,
    place: Place<'_>,
    origin: Origin,
    timestamp_ns: i64,
    max_rows: usize,
) -> Result<(), Stop> {
    let data = place.data;
    rows.begin(origin);
    let mut message = Reader::new(data);
    while let Some(field) = message.next()? {
        if field.number != 1 {
            continue;
        }
        let group = field.bytes()?;
        let (resource, url) = head(data, group)?;
        let resource = shared.resources.intern(&mut shared.walker, place, resource, url)?;
        let mut scopes = Reader::within(data, group);
        while let Some(field) = scopes.next()? {
            if field.number != 2 {
                continue;
            }
            let group = field.bytes()?;
            let (scope, url) = head(data, group)?;
            let scope = shared.scopes.intern(&mut shared.walker, place, scope, url)?;
            let record = Record { place, origin, timestamp_ns, resource, scope };
            let mut records = Reader::within(data, group);
            while let Some(field) = records.next()? {
                if field.number == 2 {
                    rows.record(shared, &record, field.bytes()?)?;
                    if rows.rows() > max_rows {
                        return Err(Stop::TooManyRecords);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Field 1 (resource or scope) and field 3 (schema URL) of a group.
fn head(data: &[u8], group: Slice) -> Result<(Slice, Slice), WireError> {
    let (mut first, mut url) = (Slice::default(), Slice::default());
    let mut reader = Reader::within(data, group);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => first = field.bytes()?,
            3 => url = field.bytes()?,
            _ => {}
        }
    }
    Ok((first, url))
}
