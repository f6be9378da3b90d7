//! How far each source partition was taken, and its time.

use std::collections::HashSet;

use tracerag_enrich::{ResumeState, ResumedTrace};
use tracerag_index::letters::Record;
use tracerag_index::{Head, Resume};

/// The greatest stream time that the lake knows, of files and of Kafka; 0 for a new lake. Rows of a replayed file
/// are stamped with it at least: whatever is sealed was sealed at an earlier time, whoever brought it.
pub(crate) fn floor(head: &Head) -> i64 {
    head.stream_times.iter().map(|(_, time)| *time).max().unwrap_or(0)
}

/// One source partition.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Offset that is read next.
    pub next: i64,
    /// Offset at which this worker began to read: nothing below it can be open.
    first: i64,
    /// Rows that never wait are in the lake up to this offset (exclusive): read again, they are skipped.
    pub written_to: i64,
    /// Stream time in ns; never goes back.
    pub stream_time: i64,
    /// Next offset and stream time of the last recorded epoch.
    pub recorded: (i64, i64),
    /// Records below `written_to` that are dead letters: read again they stay so, whether or not they are good by now.
    pub buried: HashSet<Record>,
}

impl Progress {
    /// Where the journal says to go on. `floor` is the earliest stream time that the partition may have: files have
    /// no clock of their own, so that of the lake ([`floor`]) counts, lest what they bring slips under the seal of a
    /// trace.
    pub fn resume(resume: &Resume, floor: i64) -> Self {
        let next = resume.seek.or(resume.next).unwrap_or(0);
        let stream_time = resume.stream_time.unwrap_or(0).max(floor);
        Self {
            next,
            first: next,
            written_to: resume.next.unwrap_or(0),
            stream_time,
            recorded: (resume.next.unwrap_or(-1), stream_time),
            buried: HashSet::new(),
        }
    }

    /// Of records that are taken out of order, each once and none for the journal: dead letters. `next` is the offset
    /// behind the last one.
    pub fn of_letters(stream_time: i64, next: i64) -> Self {
        Self { next, first: 0, written_to: 0, stream_time, recorded: (-1, stream_time), buried: HashSet::new() }
    }

    /// Reading begins here: the partition was never read, or nothing older is left of it.
    pub fn begin_at(&mut self, offset: i64) {
        self.next = offset;
        self.first = offset;
    }

    /// Where the partition stands, and the lowest offset that an open trace still needs, given what the window
    /// says of it. While what was open is read again, it stands where the journal says, not behind.
    pub fn interval(&self, low_watermark: Option<i64>) -> (i64, i64) {
        let to = self.next.max(self.written_to);
        (to, low_watermark.unwrap_or(to).max(self.first).min(to))
    }

    /// Record time = min(Kafka's timestamp, the clock when it was read): a sender's clock that is ahead
    /// cannot close windows.
    pub fn advance(&mut self, record_time: i64, clock: i64) {
        self.stream_time = self.stream_time.max(record_time.min(clock));
    }

    /// Whether something happened that an epoch should record.
    pub fn is_dirty(&self) -> bool {
        self.next > self.recorded.0
    }
}

/// What the window has to know of a partition. An hour's closed traces may be many millions: they are moved, not copied.
pub(super) fn resume_state(resume: Resume, feeds_traces: bool) -> ResumeState {
    let closed = resume.closed.into_iter().map(|trace| ResumedTrace {
        tenant: trace.tenant,
        trace_id: trace.trace_id,
        closed_at: trace.closed_at,
        last_offset: trace.last_offset,
    });
    ResumeState {
        closed: closed.collect(),
        source: resume.source,
        feeds_traces,
        next: resume.next,
        seek: resume.seek,
        stream_time: resume.stream_time.filter(|time| *time > 0),
    }
}

#[cfg(test)]
mod tests {
    use tracerag_schemas::SourcePartition;

    use super::*;

    fn fresh(floor: i64) -> Progress {
        let resume = Resume {
            source: SourcePartition::new("c", "t", 0),
            generation: 1,
            next: None,
            seek: None,
            stream_time: None,
            closed: vec![],
        };
        Progress::resume(&resume, floor)
    }

    /// Time never goes back, and a sender's clock that is ahead cannot push it past the reader's.
    #[test]
    fn time_is_bounded_by_the_clock() {
        let mut progress = fresh(0);
        progress.advance(50, 100);
        progress.advance(40, 100);
        assert_eq!(progress.stream_time, 50);
        progress.advance(5_000, 100);
        assert_eq!(progress.stream_time, 100);
    }

    /// A partition that begins late in its topic never asks for what was deleted before; one that reads again
    /// what was open does not go back.
    #[test]
    fn intervals_stay_within_what_was_read() {
        let mut progress = fresh(0);
        progress.begin_at(500);
        assert_eq!(progress.interval(Some(0)), (500, 500));
        progress.next = 600;
        assert_eq!(progress.interval(Some(550)), (600, 550));
        progress.written_to = 700;
        assert_eq!(progress.interval(Some(550)), (700, 550));
        assert_eq!(progress.interval(None), (700, 700));
    }

    /// A replayed file begins where the lake stands, be it by another file or by a topic.
    #[test]
    fn every_source_of_the_lake_raises_the_floor() {
        assert_eq!(floor(&Head::default()), 0);
        let times = [("file", "file:a", 70), ("cluster", "otlp_spans", 90), ("file", "file:b", 80)];
        let stream_times = times.map(|(cluster, topic, time)| (SourcePartition::new(cluster, topic, 0), time)).to_vec();
        assert_eq!(floor(&Head { stream_times, ..Head::default() }), 90);
    }

    /// Rows of a file that is older than what the lake has sealed are stamped after the seal.
    #[test]
    fn rows_do_not_slip_under_a_seal() {
        let mut progress = fresh(70);
        progress.advance(50, 100);
        assert_eq!(progress.stream_time, 70);
    }
}
