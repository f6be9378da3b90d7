//! Whether a topic is keyed by trace id: judged from a sample of its messages, never taken for granted.
//!
//! Only what was seen counts. That traces are torn apart needs one case; that they are not needs keys which are the
//! trace ids, and partitions that follow these keys by a hash that is known, or so often that chance is ruled out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use tracerag_schemas::ids::TraceId;

use super::Signal;
use super::partitioner::Partitioner;

/// One in so many topics that are not keyed may look as if it were: a thousand for each hash that is tried.
const ONE_IN: f64 = 1_000.0 * Partitioner::ALL.len() as f64;

/// Whether the parts of a trace meet in one partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keying {
    /// They do.
    Keyed,
    /// They do not.
    NotKeyed,
    /// The sample does not say.
    Unknown,
}

impl Keying {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Keying::Keyed => "keyed",
            Keying::NotKeyed => "not keyed",
            Keying::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Keying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was found of a topic, and by which evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was found.
    pub keying: Keying,
    /// The evidence, in words.
    pub why: String,
}

impl Verdict {
    fn keyed(why: impl Into<String>) -> Self {
        Self { keying: Keying::Keyed, why: why.into() }
    }

    fn not_keyed(why: impl Into<String>) -> Self {
        Self { keying: Keying::NotKeyed, why: why.into() }
    }

    fn unknown(why: impl Into<String>) -> Self {
        Self { keying: Keying::Unknown, why: why.into() }
    }
}

/// What to set in the Collector's `kafkaexporter` to have a signal keyed by trace id.
pub(super) fn remedy(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "partition_logs_by_trace_id: true in the Collector's kafkaexporter",
        _ => "partition_traces_by_id: true in the Collector's kafkaexporter",
    }
}

/// A sampled message that holds parts of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sampled {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    /// Never empty, each once.
    pub(super) traces: Vec<TraceId>,
}

impl Sampled {
    /// Whether the key is the id of the one trace in the message, as its bytes or in hex.
    fn has_its_id_as_key(&self) -> bool {
        let ([trace], Some(key)) = (self.traces.as_slice(), &self.key) else { return false };
        let mut id = [0; 16];
        key.as_slice() == trace || (hex::decode_to_slice(key, &mut id).is_ok() && id == *trace)
    }
}

/// Judges a topic of so many partitions by the sampled messages that hold parts of traces.
pub(super) fn judge(partitions: usize, messages: &[Sampled]) -> Verdict {
    if partitions <= 1 {
        return Verdict::keyed("it has one partition, where every trace meets itself");
    }
    let mut firsts: BTreeMap<TraceId, &Sampled> = BTreeMap::new();
    let mut has_two_keys = None;
    for message in messages {
        for trace in &message.traces {
            match firsts.entry(*trace) {
                Entry::Vacant(entry) => {
                    entry.insert(message);
                }
                Entry::Occupied(first) if first.get().partition != message.partition => {
                    let (one, other) = (first.get().partition, message.partition);
                    return Verdict::not_keyed(format!(
                        "parts of trace {} lie in partitions {one} and {other}",
                        hex::encode(trace)
                    ));
                }
                Entry::Occupied(first) if first.get().key != message.key => has_two_keys = Some(*trace),
                Entry::Occupied(_) => {}
            }
        }
    }
    if let Some(mixed) = messages.iter().find(|message| message.traces.len() > 1) {
        return Verdict::not_keyed(format!(
            "one message holds parts of {} traces (partition {}, offset {})",
            mixed.traces.len(),
            mixed.partition,
            mixed.offset
        ));
    }
    let without_key = messages.iter().filter(|message| message.key.is_none()).count();
    if without_key > 0 {
        return Verdict::not_keyed(format!(
            "{without_key} of {} messages with a trace have no key, so they go to any partition",
            messages.len()
        ));
    }
    if let Some(trace) = has_two_keys {
        return Verdict::not_keyed(format!("parts of trace {} have different keys", hex::encode(trace)));
    }
    if messages.is_empty() {
        return Verdict::unknown("no message with a trace id was found");
    }
    if !messages.iter().all(Sampled::has_its_id_as_key) {
        return Verdict::unknown("there are keys, but not the trace ids, so nothing says what they keep together");
    }
    by_keys(partitions, messages, firsts.len())
}

/// Judges a topic whose keys are all trace ids. A producer may ignore keys when it chooses a partition.
fn by_keys(partitions: usize, messages: &[Sampled], traces: usize) -> Verdict {
    let follows = |partitioner: &Partitioner| {
        let count = u32::try_from(partitions).unwrap_or(u32::MAX);
        messages.iter().all(|message| {
            let key = message.key.as_deref().unwrap_or_default();
            u32::try_from(message.partition).is_ok_and(|partition| partitioner.partition(key, count) == partition)
        })
    };
    let partitioner = Partitioner::ALL.into_iter().find(|partitioner| follows(partitioner));
    let repeats = messages.len() - traces;
    match partitioner {
        Some(partitioner) if is_no_chance(partitions, traces) => Verdict::keyed(format!(
            "the keys are the trace ids, and the partitions their {} hash ({} messages)",
            partitioner.name(),
            messages.len()
        )),
        _ if is_no_chance(partitions, repeats) => Verdict::keyed(format!(
            "the keys are the trace ids, and every trace keeps to one partition ({traces} traces in {} messages)",
            messages.len()
        )),
        _ => Verdict::unknown(format!(
            "the keys are the trace ids, but {} messages do not show whether the partitions follow them",
            messages.len()
        )),
    }
}

/// Whether partitions that are drawn by lot would hardly agree so many times with what was expected.
fn is_no_chance(partitions: usize, times: usize) -> bool {
    (partitions as f64).powi(i32::try_from(times).unwrap_or(i32::MAX)) >= ONE_IN
}

/// One topic of spans or logs, for [`apart`].
pub(super) struct Beside<'a> {
    pub(super) topic: &'a str,
    pub(super) partitions: usize,
    pub(super) is_keyed: bool,
    pub(super) messages: &'a [Sampled],
}

/// Why a trace does not lie under one partition number in all topics of spans and logs, if it does not.
pub(super) fn apart(topics: &[Beside<'_>]) -> Option<String> {
    let first = topics.first()?;
    if topics.iter().any(|topic| topic.partitions != first.partitions) {
        let counts: Vec<String> =
            topics.iter().map(|topic| format!("{} has {}", topic.topic, topic.partitions)).collect();
        return Some(format!(
            "the numbers of partitions differ ({}), so a trace and its logs lie under different ones; make them equal",
            counts.join(", ")
        ));
    }
    let mut places: BTreeMap<TraceId, (&str, i32)> = BTreeMap::new();
    for topic in topics.iter().filter(|topic| topic.is_keyed) {
        for message in topic.messages {
            for trace in &message.traces {
                let (other, partition) = *places.entry(*trace).or_insert((topic.topic, message.partition));
                if partition != message.partition {
                    return Some(format!(
                        "trace {} lies in partition {partition} of {other} and in partition {} of {}; write both with \
                         producers that hash alike",
                        hex::encode(trace),
                        message.partition,
                        topic.topic
                    ));
                }
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "keying_test.rs"]
mod tests;
