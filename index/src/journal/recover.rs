//! Recovery: what a worker has to know of a partition that it takes over.
//!
//! There is no state but the journal. The partition is read again from the lowest offset that an open
//! trace needed; what was written already is told apart by the traces that the records list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tracerag_schemas::SourcePartition;

use super::log::{Columns, JOURNAL, Log, read_back};
use super::record::{Kind, Record};
use super::{ClosedTrace, Head, Resume, ResumedTrace, SourceState};
use crate::error::Result;
use crate::lake::Lake;

/// Reads back where the claimed partitions stand. The head must include the claims.
pub(crate) async fn resume(
    lake: &Lake,
    log: &Log,
    head: &Head,
    sources: &[SourcePartition],
    late_horizon: i64,
) -> Result<Vec<Resume>> {
    let states: HashMap<&SourcePartition, &SourceState> =
        sources.iter().filter_map(|source| Some((source, head.source(source)?))).collect();
    let journal = lake.newest(JOURNAL).await?;
    let mut open: HashSet<&SourcePartition> =
        states.iter().filter(|(_, state)| state.next.is_some()).map(|(source, _)| *source).collect();
    let void: HashSet<u64> = head.void.iter().copied().collect();
    let counts = |record: &Record| {
        record.kind == Kind::Epoch && record.position <= head.position && !void.contains(&record.position)
    };
    let records = if open.is_empty() {
        vec![]
    } else {
        read_back(&journal, Columns::WithoutStaged, |records| {
            // Going back, a partition is done with at the first record that lies before both limits.
            for interval in records.iter().filter(|record| counts(record)).flat_map(|record| &record.sources) {
                if let Some(state) = states.get(&interval.source)
                    && !needed(state, interval.to, interval.stream_time, late_horizon)
                {
                    open.remove(&interval.source);
                }
            }
            open.is_empty()
        })
        .await?
    };
    let mut resumed: Vec<Resume> = sources
        .iter()
        .map(|source| {
            let state = states.get(source);
            Resume {
                source: source.clone(),
                generation: state.map_or(0, |state| state.generation),
                next: state.and_then(|state| state.next),
                seek: state.and_then(|state| state.low_watermark.or(state.next)),
                stream_time: state.and_then(|state| state.stream_time),
                closed: vec![],
            }
        })
        .collect();
    let index: HashMap<&SourcePartition, usize> = sources.iter().enumerate().map(|(i, source)| (source, i)).collect();
    for record in records.iter().filter(|record| counts(record)) {
        take_closed(log, record, &states, &index, late_horizon, &mut resumed).await?;
    }
    Ok(resumed)
}

/// Whether traces closed in a record are still asked about: their rows are read again, or late spans
/// of them may come.
fn needed(state: &SourceState, to: Option<i64>, stream_time: Option<i64>, late_horizon: i64) -> bool {
    let read_again = state.low_watermark.or(state.next).is_none_or(|low| to.is_none_or(|to| to > low));
    let may_be_late = match (state.stream_time, stream_time) {
        (Some(newest), Some(then)) => then >= newest.saturating_sub(late_horizon),
        _ => true,
    };
    read_again || may_be_late
}

async fn take_closed(
    log: &Log,
    record: &Record,
    states: &HashMap<&SourcePartition, &SourceState>,
    index: &HashMap<&SourcePartition, usize>,
    late_horizon: i64,
    resumed: &mut [Resume],
) -> Result<()> {
    let targets: Vec<Option<usize>> = record
        .sources
        .iter()
        .map(|interval| {
            let state = states.get(&interval.source)?;
            let wanted = needed(state, interval.to, interval.stream_time, late_horizon);
            wanted.then(|| index.get(&interval.source).copied()).flatten()
        })
        .collect();
    if targets.iter().all(Option::is_none) {
        return Ok(());
    }
    for trace in log.load_closed(record).await? {
        take_trace(trace, &targets, resumed);
    }
    Ok(())
}

/// Hands a closed trace to each partition that reads rows of it again, and if none does to one of them, for late rows
/// alone ask about it then, and they ask by id. An hour's traces would otherwise be listed once a partition.
fn take_trace(trace: ClosedTrace, targets: &[Option<usize>], resumed: &mut [Resume]) {
    let ClosedTrace { tenant, trace_id, closed_at, last_offsets } = trace;
    let of_trace = |last_offset| ResumedTrace { tenant: Arc::clone(&tenant), trace_id, closed_at, last_offset };
    let mut other = None;
    let mut is_read_again = false;
    for (source, last_offset) in last_offsets {
        let Some(Some(target)) = targets.get(source as usize).copied() else { continue };
        let resume = &mut resumed[target];
        if resume.seek.is_none_or(|seek| last_offset >= seek) {
            resume.closed.push(of_trace(last_offset));
            is_read_again = true;
        } else {
            other = other.or(Some((target, last_offset)));
        }
    }
    if let Some((target, last_offset)) = other.filter(|_| !is_read_again) {
        resumed[target].closed.push(of_trace(last_offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(seek: i64) -> Resume {
        Resume {
            source: SourcePartition::new("c", "t", 0),
            generation: 1,
            next: Some(100),
            seek: Some(seek),
            stream_time: Some(0),
            closed: vec![],
        }
    }

    fn closed(last_offsets: Vec<(u32, i64)>) -> ClosedTrace {
        ClosedTrace { tenant: "default".into(), trace_id: [7; 16], closed_at: 5, last_offsets }
    }

    /// A trace is listed where its rows are read again, else once; partitions that were not asked for count nothing.
    #[test]
    fn traces_are_listed_where_they_are_asked_about() {
        let targets = [Some(0), None, Some(1)];
        let listed = |last_offsets: Vec<(u32, i64)>| -> [Vec<i64>; 2] {
            let mut resumed = [resume(50), resume(80)];
            take_trace(closed(last_offsets), &targets, &mut resumed);
            resumed.map(|resume| resume.closed.iter().map(|trace| trace.last_offset).collect())
        };
        assert_eq!(listed(vec![(0, 50), (1, 90), (2, 80)]), [vec![50], vec![80]]);
        assert_eq!(listed(vec![(0, 50), (2, 79)]), [vec![50], vec![]]);
        assert_eq!(listed(vec![(0, 49), (1, 90), (2, 80)]), [vec![], vec![80]]);
        assert_eq!(listed(vec![(1, 90), (0, 49), (2, 79)]), [vec![49], vec![]]);
        let none: [Vec<i64>; 2] = [vec![], vec![]];
        assert_eq!(listed(vec![(1, 90)]), none);
    }
}
