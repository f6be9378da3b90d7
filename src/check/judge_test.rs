//! What the comparison finds, on entries that are made by hand.

use super::*;

const SECOND: i64 = 1_000_000_000;
const HORIZONS: Horizons = Horizons { spans: 3_600 * SECOND, logs: 600 * SECOND };

const SPANS: usize = 0;
const LOGS: usize = 1;
const METRICS: usize = 2;
const PAYLOADS: usize = 3;

/// An entry of one key, by table, content, offset and state; a second passes with each offset.
fn entry(table: usize, content: u64, offset: i64, state: State) -> Entry {
    Entry {
        key: [7; 16],
        content,
        trace_id: [1; 16],
        span_id: [2; 8],
        offset,
        time: offset * SECOND,
        source: 0,
        table: u8::try_from(table).unwrap_or(u8::MAX),
        state,
    }
}

fn judge(table: usize, entries: &[(u64, i64, State)]) -> (Counts, Verdict) {
    let mut verdict = Verdict::new(HORIZONS);
    verdict.judge(entries.iter().map(|(content, offset, state)| entry(table, *content, *offset, *state)).collect());
    (verdict.counts[table], verdict)
}

fn counts(table: usize, entries: &[(u64, i64, State)]) -> Counts {
    judge(table, entries).0
}

use State::{Due, Elsewhere, Expired, Stored, Waits};

/// A span that was sent twice is expected once; one that is not there is missing, one that is there twice doubled, one
/// with other content different. A copy may say something else, and its row may have the origin of either.
#[test]
fn spans_are_expected_once() {
    let sent = [(1, 0, Due), (2, 5, Due)];
    let with = |stored: &[(u64, i64, State)]| counts(SPANS, &[&sent[..], stored].concat());
    let whole = Counts { sent: 1, stored: 1, ..Counts::default() };
    assert_eq!(with(&[(1, 0, Stored)]), whole);
    assert_eq!(with(&[(2, 5, Stored)]), whole);
    assert_eq!(with(&[(3, -9, Elsewhere)]), whole);
    assert_eq!(with(&[]), Counts { sent: 1, missing: 1, ..Counts::default() });
    assert_eq!(with(&[(1, 0, Stored), (1, 0, Stored)]), Counts { stored: 2, doubled: 1, ..whole });
    assert_eq!(with(&[(3, 0, Stored)]), Counts { different: 1, ..whole });
    assert_eq!(with(&[(1, 0, Stored), (1, -9, Elsewhere)]), Counts { stored: 2, ..whole });
}

/// A trace that is sent again after the horizon may be written again, and need not be; a third row is one too many.
#[test]
fn what_comes_after_the_horizon_may_be_there_twice() {
    let sent = [(1, 0, Due), (1, 10, Due), (1, 3_600, Due)];
    let with = |rows: usize| counts(SPANS, &[sent.to_vec(), vec![(1, 0, Stored); rows]].concat());
    assert_eq!((with(1).differences(), with(2).differences()), (0, 0));
    assert_eq!(with(3).doubled, 1);
    assert_eq!(with(0).missing, 1);
}

/// Of a log record as many are expected as the message has that holds it most often.
#[test]
fn logs_are_expected_as_often_as_one_message_has_them() {
    let sent = [(1, 0, Due), (1, 0, Due), (1, 1, Due), (1, 2, Due), (1, 2, Due)];
    let with = |rows: usize| counts(LOGS, &[sent.to_vec(), vec![(1, 0, Stored); rows]].concat());
    assert_eq!(with(2), Counts { sent: 2, stored: 2, ..Counts::default() });
    assert_eq!(with(1).missing, 1);
    assert_eq!(with(3).doubled, 1);
}

/// Points of one message are compared one by one: where one is lost and another doubled their number is right, and both
/// are found; one with another value is one difference, not two.
#[test]
fn points_are_compared_one_by_one() {
    let sent = [(1, 0, Due), (2, 0, Due), (2, 0, Due)];
    let with = |stored: &[u64]| {
        let stored: Vec<_> = stored.iter().map(|content| (*content, 0, Stored)).collect();
        counts(METRICS, &[sent.to_vec(), stored].concat())
    };
    let whole = Counts { sent: 3, stored: 3, ..Counts::default() };
    assert_eq!(with(&[1, 2, 2]), whole);
    assert_eq!(with(&[2, 2, 2]), Counts { missing: 1, doubled: 1, ..whole });
    assert_eq!(with(&[2, 2, 9]), Counts { different: 1, ..whole });
    assert_eq!(with(&[1, 2, 2, 9]), Counts { stored: 4, extra: 1, ..whole });
    assert_eq!(with(&[]), Counts { stored: 0, missing: 3, ..whole });
}

/// A payload of a span that was sent twice may be there once or twice.
#[test]
fn payloads_are_there_at_least_once() {
    let with = |rows: usize| counts(PAYLOADS, &[vec![(1, 0, Due), (1, 1, Due)], vec![(1, 0, Stored); rows]].concat());
    assert_eq!([0, 1, 2, 3].map(|rows| (with(rows).missing, with(rows).doubled)), [(1, 0), (0, 0), (0, 0), (0, 1)]);
}

/// A record of an open trace is pending, one that retention may have dropped expired, until a copy of it is due; a row
/// that nothing explains is extra only where its origin was read again.
#[test]
fn what_need_not_be_there_is_told_apart() {
    for table in [SPANS, LOGS, METRICS, PAYLOADS] {
        assert_eq!(counts(table, &[(1, 0, Waits)]), Counts { sent: 1, pending: 1, ..Counts::default() });
        assert_eq!(counts(table, &[(1, 0, Expired)]), Counts { sent: 1, expired: 1, ..Counts::default() });
        assert_eq!(counts(table, &[(1, 0, Stored)]), Counts { stored: 1, extra: 1, ..Counts::default() });
        assert_eq!(counts(table, &[(1, 0, Elsewhere)]), Counts::default());
    }
    assert_eq!(counts(SPANS, &[(1, 9, Waits), (1, 0, Due)]), Counts { sent: 1, missing: 1, ..Counts::default() });
}

/// Every kind of difference has examples, few of them, with the origin of what is shown.
#[test]
fn examples_are_few_and_have_an_origin() {
    let (_, verdict) = judge(METRICS, &[(1, 3, Due)]);
    assert_eq!(verdict.examples.get(&Difference::Missing).map(|found| found[0].offset), Some(3));
    let mut many = Verdict::new(HORIZONS);
    for key in 0..100 {
        many.judge(vec![Entry { key: [key; 16], ..entry(SPANS, 1, 0, Stored) }]);
    }
    assert_eq!(many.counts[SPANS].extra, 100);
    assert_eq!(many.examples.get(&Difference::Extra).map(Vec::len), Some(EXAMPLES_OF_A_KIND));
}
