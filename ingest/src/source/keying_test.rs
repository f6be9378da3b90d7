#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn id(number: u64) -> TraceId {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

fn message(partition: i32, key: Option<&[u8]>, traces: &[TraceId]) -> Sampled {
    Sampled { partition, offset: 5, key: key.map(<[u8]>::to_vec), traces: traces.to_vec() }
}

/// Traces as a producer with a hash writes them.
fn keyed(traces: impl IntoIterator<Item = u64>, partitions: u32, partitioner: Partitioner) -> Vec<Sampled> {
    let written = |number| {
        let key = hex::encode(id(number));
        let partition = partitioner.partition(key.as_bytes(), partitions);
        message(i32::try_from(partition).unwrap(), Some(key.as_bytes()), &[id(number)])
    };
    traces.into_iter().map(written).collect()
}

fn assert_is(verdict: &Verdict, keying: Keying, part: &str) {
    assert!(verdict.keying == keying && verdict.why.contains(part), "{verdict:?}");
}

/// One partition needs no keys, with messages or without.
#[test]
fn one_partition_is_always_fine() {
    assert_is(&judge(1, &[]), Keying::Keyed, "one partition");
    assert_is(&judge(1, &[message(0, None, &[id(1), id(2)])]), Keying::Keyed, "one partition");
}

/// One case of each kind shows that a topic is not keyed, and the verdict names it.
#[test]
fn one_case_shows_that_traces_are_torn() {
    let key = hex::encode(id(1));
    let key = Some(key.as_bytes());
    let torn = [message(0, key, &[id(1)]), message(2, key, &[id(1)])];
    assert_is(&judge(3, &torn), Keying::NotKeyed, &format!("trace {} lie in partitions 0 and 2", hex::encode(id(1))));
    assert_is(&judge(3, &[message(1, None, &[id(1), id(2)])]), Keying::NotKeyed, "parts of 2 traces (partition 1, off");
    assert_is(&judge(3, &[message(1, key, &[id(1), id(2)])]), Keying::NotKeyed, "parts of 2 traces");
    let keyless = [message(1, None, &[id(2)]), message(1, key, &[id(1)])];
    assert_is(&judge(3, &keyless), Keying::NotKeyed, "1 of 2 messages with a trace have no key");
    let services = [message(1, Some(b"checkout"), &[id(1)]), message(1, Some(b"payments"), &[id(1)])];
    assert_is(&judge(3, &services), Keying::NotKeyed, "different keys");
}

/// A topic without traces, one with other keys and one with too few messages are not judged.
#[test]
fn what_is_not_shown_is_unknown() {
    assert_is(&judge(3, &[]), Keying::Unknown, "no message");
    let services = [message(1, Some(b"checkout"), &[id(1)]), message(1, Some(b"checkout"), &[id(2)])];
    assert_is(&judge(3, &services), Keying::Unknown, "not the trace ids");
    assert_is(&judge(2, &keyed(0..3, 2, Partitioner::Fnv1a)), Keying::Unknown, "3 messages do not show");
}

/// Keys in raw bytes, and in hex of either case, are trace ids; sixteen other bytes are not.
#[test]
fn keys_are_compared_as_ids() {
    let (hex, id) = (hex::encode(id(1)), id(1));
    for key in [hex.as_bytes(), hex.to_uppercase().as_bytes(), &id] {
        assert!(message(0, Some(key), &[id]).has_its_id_as_key(), "{key:?}");
    }
    for key in [&[9; 16][..], b"", b"checkout", &hex.as_bytes()[1..]] {
        assert!(!message(0, Some(key), &[id]).has_its_id_as_key(), "{key:?}");
    }
}

/// A hash that nobody knows is accepted once traces that came more than once have kept to their partition often
/// enough.
#[test]
fn an_unknown_hash_is_accepted_by_repetition() {
    let own = |number: u64| {
        let key = hex::encode(id(number));
        message(i32::try_from((number / 3) % 4).unwrap(), Some(key.as_bytes()), &[id(number)])
    };
    let twice = |traces: u64| (0..traces).chain(0..traces).map(own).collect::<Vec<_>>();
    assert_is(&judge(4, &twice(30)), Keying::Keyed, "30 traces in 60 messages");
    assert_is(&judge(4, &twice(2)), Keying::Unknown, "do not show");
}

/// Topics of spans and logs with unequal numbers of partitions, or whose producers hash differently, do not fit; those
/// that are not keyed say nothing about that.
#[test]
fn topics_that_do_not_fit_are_found() {
    let (spans, logs) = (keyed(0..20, 3, Partitioner::Fnv1a), keyed(0..20, 3, Partitioner::Murmur2));
    fn beside<'a>(topic: &'a str, partitions: usize, is_keyed: bool, messages: &'a [Sampled]) -> Beside<'a> {
        Beside { topic, partitions, is_keyed, messages }
    }
    assert_eq!(apart(&[]), None);
    assert_eq!(apart(&[beside("s", 3, true, &spans), beside("l", 3, true, &spans)]), None);
    let told = apart(&[beside("s", 3, true, &spans), beside("l", 2, true, &[])]).unwrap();
    assert!(told.contains("s has 3, l has 2"), "{told}");
    let told = apart(&[beside("s", 3, true, &spans), beside("l", 3, true, &logs)]).unwrap();
    assert!(told.contains("of s and in partition") && told.contains("hash alike"), "{told}");
    assert_eq!(apart(&[beside("s", 3, true, &spans), beside("l", 3, false, &logs)]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    /// Whatever a producer with a known hash writes, keyed by trace id, is never called not keyed; with twenty traces it
    /// is called keyed.
    #[test]
    fn keyed_topics_are_never_refused(traces in vec(any::<u64>(), 0..60), partitions in 2u32..40, which in 0usize..3) {
        let messages = keyed(traces.iter().copied(), partitions, Partitioner::ALL[which]);
        let verdict = judge(partitions as usize, &messages);
        prop_assert!(verdict.keying != Keying::NotKeyed, "{verdict:?}");
        let distinct: std::collections::BTreeSet<u64> = traces.into_iter().collect();
        if distinct.len() >= 20 {
            prop_assert!(verdict.keying == Keying::Keyed, "{verdict:?}");
        }
    }

    /// A trace with parts in two partitions is always found, whatever else lies around it.
    #[test]
    fn a_torn_trace_is_always_found(traces in vec(0u64..50, 0..60), partitions in 2u32..40, torn in 100u64..200) {
        let mut messages = keyed(traces, partitions, Partitioner::Fnv1a);
        let key = hex::encode(id(torn));
        for partition in [0, 1] {
            messages.insert(messages.len() / 2, message(partition, Some(key.as_bytes()), &[id(torn)]));
        }
        prop_assert!(judge(partitions as usize, &messages).keying == Keying::NotKeyed);
    }

    /// Any messages are judged without a panic.
    #[test]
    fn anything_is_judged(
        messages in vec((0i32..5, proptest::option::of(vec(any::<u8>(), 0..40)), vec(0u64..9, 1..4)), 0..20),
        partitions in 0usize..6,
    ) {
        let sampled: Vec<Sampled> = messages
            .into_iter()
            .map(|(partition, key, traces)| {
                let traces: std::collections::BTreeSet<TraceId> = traces.into_iter().map(id).collect();
                message(partition, key.as_deref(), &traces.into_iter().collect::<Vec<_>>())
            })
            .collect();
        prop_assert!(!judge(partitions, &sampled).why.is_empty());
    }
}
