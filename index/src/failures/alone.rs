//! Records without a trace that tell of a trace's failure once more.
//!
//! A server logs what its application has thrown, often with the whole stack, when the context of the request has ended:
//! the record names no trace. It is an echo of the failure that says the same at about the same time, of one instance of
//! one service. Each failure has one such record at most: where only some requests are traced, the records of the others
//! say the same, and they count.

use rustc_hash::FxHashMap;

use super::before::StoredFailures;
use super::columns::{text, value};
use super::extract::Failure;
use super::fingerprint::short_type;

/// How far the times of a failure and of its record may lie apart, in ns. They are of one clock.
const NEAR: i64 = 1_000_000_000;
/// Failures of one kind ([`Key`]) that a record is compared with.
const MAX_COMPARED: usize = 1_024;
/// Messages that are looked for in others in one epoch; what is left is compared by fingerprint and masked message alone.
const MAX_PAIRS: usize = 1 << 16;
/// A message of fewer bytes is found in too many texts to recognise it there.
const MIN_SAID: usize = 8;
/// The same where no type is equal.
const MIN_SAID_ALONE: usize = 24;

/// Whose a record without a trace is.
pub(super) struct Owner<'a> {
    pub origin_id: String,
    pub span_id: Option<&'a str>,
}

/// What a failure says.
#[derive(Clone, Copy)]
struct Said<'f, 'a> {
    tenant: &'f str,
    service: &'f str,
    instance: Option<&'f str>,
    time: i64,
    id: &'f str,
    exception_type: Option<&'f str>,
    message: &'f str,
    masked: &'f str,
    fingerprint: &'f str,
    origin_id: Option<&'f str>,
    origin_span_id: Option<&'a str>,
}

impl<'f, 'a> Said<'f, 'a> {
    fn of(failure: &'f Failure<'a>) -> Option<Self> {
        Some(Said {
            tenant: failure.tenant,
            service: failure.draft.service,
            instance: failure.instance,
            time: failure.draft.time?,
            id: &failure.id,
            exception_type: failure.draft.exception_type.as_deref(),
            message: &failure.draft.message,
            masked: &failure.identity.masked,
            fingerprint: &failure.identity.fingerprint.id,
            origin_id: failure.origin_id.as_deref(),
            origin_span_id: failure.origin_span_id,
        })
    }

    fn stored(stored: &StoredFailures<'a>, row: usize) -> Option<Self>
    where
        'a: 'f,
    {
        Some(Said {
            tenant: text(stored.tenant_id, row).unwrap_or_default(),
            service: text(stored.service_name, row).unwrap_or_default(),
            instance: None,
            time: value(stored.time, row)?,
            id: text(stored.failure_id, row)?,
            exception_type: text(stored.exception_type, row),
            message: text(stored.message, row).unwrap_or_default(),
            masked: text(stored.message_masked, row).unwrap_or_default(),
            fingerprint: text(stored.fingerprint, row).unwrap_or_default(),
            origin_id: text(stored.origin_id, row),
            origin_span_id: text(stored.origin_span_id, row),
        })
    }

    /// The failure that echoes of this one name.
    fn origin(&self) -> &'f str {
        self.origin_id.unwrap_or(self.id)
    }

    fn type_name(&self) -> &'f str {
        self.exception_type.map(short_type).unwrap_or_default()
    }

    /// Whether a record of the same service says what this failure says. Counts messages that are looked for in others in
    /// `pairs`.
    fn is_said_by(&self, record: &Said<'_, '_>, pairs: &mut usize) -> bool {
        if self.instance.zip(record.instance).is_some_and(|(one, other)| one != other) {
            return false;
        }
        let one_type = !self.type_name().is_empty() && self.type_name() == record.type_name();
        let one_message = !self.masked.is_empty() && self.masked == record.masked;
        if self.fingerprint == record.fingerprint || (one_type && one_message) {
            return true;
        }
        let least = if one_type { MIN_SAID } else { MIN_SAID_ALONE };
        let mut is_within = |part: &str, whole: &str| {
            let may_be = (least..=whole.len()).contains(&part.len());
            *pairs += usize::from(may_be);
            may_be && *pairs <= MAX_PAIRS && whole.contains(part)
        };
        is_within(self.message, record.message) || (one_type && is_within(record.message, self.message))
    }
}

/// The owners of failures without a trace, in the same order; `None` of one that nothing else tells of. `traced` are the
/// failures of traces that were found beside them.
pub(super) fn owners<'a>(
    alone: &[Failure<'a>],
    traced: &[Failure<'a>],
    stored: &StoredFailures<'a>,
) -> Vec<Option<Owner<'a>>> {
    let mut owners: Vec<Option<Owner<'a>>> = alone.iter().map(|_| None).collect();
    if alone.is_empty() {
        return owners;
    }
    let (of_traces, without): (Vec<usize>, Vec<usize>) =
        stored.rows.iter().copied().partition(|row| text(stored.trace_id, *row).is_some());
    let candidates = traced.iter().filter_map(Said::of);
    let candidates = candidates.chain(of_traces.iter().filter_map(|row| Said::stored(stored, *row)));
    let mut told = Told::of(candidates.collect());
    // Records that are echoes already have taken their failures.
    let mut echoes: Vec<Said<'_, 'a>> = without.iter().filter_map(|row| Said::stored(stored, *row)).collect();
    echoes.retain(|echo| echo.origin_id.is_some());
    echoes.sort_by_key(|echo| (echo.time, echo.id));
    for echo in &echoes {
        told.take(echo, [Key::Origin(echo.origin())]);
    }
    let mut records: Vec<(usize, Said<'_, 'a>)> =
        alone.iter().enumerate().filter_map(|(index, failure)| Some((index, Said::of(failure)?))).collect();
    records.sort_by_key(|(_, record)| (record.time, record.id));
    for (index, record) in &records {
        owners[*index] = told
            .take(record, Key::looked_for(record))
            .map(|failure| Owner { origin_id: failure.origin().to_owned(), span_id: failure.origin_span_id });
    }
    owners
}

/// What failures of one tenant and service have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'f> {
    Fingerprint(&'f str),
    /// The type and the masked message.
    Words(&'f str, &'f str),
    Type(&'f str),
    /// The failure that echoes of them name.
    Origin(&'f str),
    /// Nothing else.
    Service,
}

impl<'f> Key<'f> {
    /// By what a failure is found.
    fn of(failure: &Said<'f, '_>) -> impl Iterator<Item = Self> {
        Self::looked_for(failure).chain([Key::Origin(failure.origin())])
    }

    /// Among which failures a record's is looked for, the surest first.
    fn looked_for(record: &Said<'f, '_>) -> impl Iterator<Item = Self> + use<'f> {
        let (name, masked) = (record.type_name(), record.masked);
        let keys = [
            (!record.fingerprint.is_empty()).then_some(Key::Fingerprint(record.fingerprint)),
            (!name.is_empty() && !masked.is_empty()).then_some(Key::Words(name, masked)),
            (!name.is_empty()).then_some(Key::Type(name)),
            Some(Key::Service),
        ];
        keys.into_iter().flatten()
    }
}

/// Failures that records may tell of.
struct Told<'f, 'a> {
    failures: Vec<Said<'f, 'a>>,
    /// Positions by tenant, service and what they have in common, in the order of time.
    by_key: FxHashMap<(&'f str, &'f str, Key<'f>), Row>,
    is_taken: Vec<bool>,
    /// Messages that were looked for in others.
    pairs: usize,
}

/// Positions in the order of time, of which those that are taken are stepped over.
#[derive(Default)]
struct Row {
    positions: Vec<usize>,
    /// By place the next one that is not known to be taken.
    next: Vec<usize>,
}

impl Row {
    /// The first place at or behind this one that is not taken.
    fn free(&mut self, from: usize, is_taken: &[bool]) -> usize {
        let mut end = from;
        while end < self.positions.len() && (self.next[end] != end || is_taken[self.positions[end]]) {
            end = self.next[end].max(end + 1);
        }
        let mut at = from;
        while at < end {
            at = std::mem::replace(&mut self.next[at], end).max(at + 1);
        }
        end
    }
}

impl<'f, 'a> Told<'f, 'a> {
    fn of(mut failures: Vec<Said<'f, 'a>>) -> Self {
        failures.sort_by_key(|failure| (failure.time, failure.id));
        // One that was found now may be among the stored ones after a fault.
        failures.dedup_by_key(|failure| failure.id);
        let mut by_key: FxHashMap<(&'f str, &'f str, Key<'f>), Row> = FxHashMap::default();
        for (position, failure) in failures.iter().enumerate() {
            for key in Key::of(failure) {
                let row = by_key.entry((failure.tenant, failure.service, key)).or_default();
                row.next.push(row.positions.len());
                row.positions.push(position);
            }
        }
        let is_taken = vec![false; failures.len()];
        Told { failures, by_key, is_taken, pairs: 0 }
    }

    /// Takes the failure that a record tells of: the nearest in time that says the same, and is none that another record
    /// has taken. It is looked for among those that have a key in common, one key after the other.
    fn take(&mut self, record: &Said<'f, 'a>, keys: impl IntoIterator<Item = Key<'f>>) -> Option<Said<'f, 'a>> {
        let position = keys.into_iter().find_map(|key| self.find(record, key))?;
        self.is_taken[position] = true;
        self.failures.get(position).copied()
    }

    fn find(&mut self, record: &Said<'f, 'a>, key: Key<'f>) -> Option<usize> {
        let Told { failures, by_key, is_taken, pairs } = self;
        let row = by_key.get_mut(&(record.tenant, record.service, key))?;
        let (first, last) = (record.time.saturating_sub(NEAR), record.time.saturating_add(NEAR));
        let mut at = row.positions.partition_point(|position| failures[*position].time < first);
        let mut nearest: Option<(u64, usize)> = None;
        for _ in 0..MAX_COMPARED {
            at = row.free(at, is_taken);
            let Some(&position) = row.positions.get(at) else { break };
            let failure = &failures[position];
            if failure.time > last {
                break;
            }
            let apart = failure.time.abs_diff(record.time);
            let is_nearer = nearest.is_none_or(|(least, _)| apart < least);
            // Those of its own type were looked at before all others.
            let is_new =
                key != Key::Service || record.type_name().is_empty() || failure.type_name() != record.type_name();
            if is_nearer && is_new && failure.is_said_by(record, pairs) {
                nearest = Some((apart, position));
            }
            at += 1;
        }
        nearest.map(|(_, position)| position)
    }
}
