//! The partitions and files that are read again, and how far the lake says that it has taken each.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tracerag_index::{Head, SourceState};
use tracerag_ingest::source::{Cluster, InitialOffset, Interval, PlanLine, Rekeying, SourceError, TopicKind};
use tracerag_schemas::{SourcePartition, Table, time};

use super::Range;
use super::ledger::State;
use super::rows::TABLES;
use crate::config::Config;
use crate::error::Error;

/// One partition, or one file.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub source: SourcePartition,
    /// What a topic carries; `None` for a file, whose records say it themselves.
    pub kind: Option<TopicKind>,
    /// Offsets that are checked: `from..to`.
    pub from: i64,
    pub to: i64,
    /// The lowest offset that an open trace needs: what belongs to a trace may still wait from here on.
    pub low_watermark: i64,
    /// Offsets of the range that the lake has not taken yet. They are not read.
    pub not_taken: i64,
}

/// All of them.
pub(super) struct Places {
    pub all: Vec<Place>,
    /// Partitions that the lake has taken records of, and that are gone from the cluster or from `[topics]`.
    pub gone: Vec<SourcePartition>,
    numbers: HashMap<String, HashMap<i32, u32>>,
    /// By number of the table: rows that were taken before this time (ns) may have been dropped.
    kept_since: [i64; TABLES.len()],
}

impl Places {
    /// Files, to their ends. A replay that was killed is no excuse: nobody goes on with it by himself.
    pub(super) fn of_files(head: &Head, sources: impl Iterator<Item = SourcePartition>) -> Self {
        let all = sources.map(|source| Place {
            source,
            kind: None,
            from: 0,
            to: i64::MAX,
            low_watermark: i64::MAX,
            not_taken: 0,
        });
        // A replay does not go by the configured retention, but a worker on the same lake may have dropped days.
        Self::new(all.collect(), Vec::new(), head, |_| None)
    }

    /// The partitions of the configured topics, in a range of time.
    ///
    /// # Errors
    /// When the broker does not answer, when a topic is not the one that the lake knows, when the lake has taken re-keyed
    /// topics instead, or when it cannot be known where the lake began.
    pub(super) fn of_topics(cluster: &Cluster, config: &Config, head: &Head, range: Range) -> Result<Self, Error> {
        if config.kafka.initial_offset != InitialOffset::Earliest && range.since.is_none() {
            return Err(Error::Usage(String::from(
                "kafka.initial_offset is not \"earliest\", so the lake begins somewhere within its topics; give a time \
                 after the first start with --since",
            )));
        }
        let of_cluster = |state: &&SourceState| state.source.cluster == *cluster.id();
        let known: BTreeMap<&SourcePartition, &SourceState> =
            head.sources.iter().filter(of_cluster).map(|state| (&state.source, state)).collect();
        let taken = known.iter().map(|(source, state)| ((*source).clone(), state.next.unwrap_or(0))).collect();
        let lines = cluster.plan(&taken)?;
        let sources: Vec<SourcePartition> = lines.iter().map(|line| line.source.clone()).collect();
        let offsets = |time: Option<i64>| match time {
            Some(time) => cluster.offsets_at(&sources, time).map(Some),
            None => Ok(None),
        };
        let (since, until) = (offsets(range.since)?, offsets(range.until)?);
        let at = |offsets: &Option<Vec<(SourcePartition, i64)>>, index: usize| {
            offsets.as_ref().and_then(|offsets| offsets.get(index)).map(|(_, offset)| *offset)
        };
        let all = lines
            .iter()
            .enumerate()
            .map(|(index, line)| {
                let from = at(&since, index).unwrap_or(line.low).max(line.low);
                let to = at(&until, index).unwrap_or(line.end).min(line.end);
                Place::of_partition(line, known.get(&line.source).copied(), from, to)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let gone: Vec<SourcePartition> =
            known.keys().filter(|source| !sources.contains(source)).map(|source| (*source).clone()).collect();
        refuse_rekeyed(config, &gone)?;
        let retention = config.retention.retention();
        Ok(Self::new(all, gone, head, |table| retention.of(table)))
    }

    fn new(all: Vec<Place>, gone: Vec<SourcePartition>, head: &Head, keep: impl Fn(Table) -> Option<Duration>) -> Self {
        let mut numbers: HashMap<String, HashMap<i32, u32>> = HashMap::new();
        for (place, number) in all.iter().zip(0u32..) {
            numbers.entry(place.source.topic.to_string()).or_default().insert(place.source.partition, number);
        }
        let kept_since = TABLES.map(|table| kept_since(head, table, keep(table), crate::worker::now()));
        Self { all, gone, numbers, kept_since }
    }

    /// The number of a partition that is read again.
    pub(super) fn number(&self, topic: &str, partition: i32) -> Option<u32> {
        self.numbers.get(topic)?.get(&partition).copied()
    }

    /// By its number.
    pub(super) fn get(&self, number: u32) -> Option<&Place> {
        self.all.get(usize::try_from(number).ok()?)
    }

    /// Intervals of the topics.
    pub(super) fn intervals(&self) -> impl Iterator<Item = (u32, Interval)> {
        self.all.iter().zip(0u32..).filter_map(|(place, number)| {
            let interval = Interval { source: place.source.clone(), kind: place.kind?, from: place.from, to: place.to };
            Some((number, interval))
        })
    }

    /// What follows of a record that was sent. `table` is the number of its table, `time` the stream time in ns.
    pub(super) fn state(&self, place: &Place, table: u8, offset: i64, has_trace: bool, time: i64) -> State {
        if self.kept_since.get(usize::from(table)).is_some_and(|since| time < *since) {
            State::Expired
        } else if has_trace && offset >= place.low_watermark {
            State::Waits
        } else {
            State::Due
        }
    }
}

impl Place {
    fn of_partition(line: &PlanLine, state: Option<&SourceState>, from: i64, to: i64) -> Result<Self, SourceError> {
        let next = state.and_then(|state| state.next).unwrap_or(from);
        if next > line.end {
            return Err(SourceError::OutOfRange {
                source_partition: line.source.clone(),
                offset: next,
                low: line.low,
                high: line.end,
            });
        }
        let checked_to = to.min(next).max(from);
        Ok(Self {
            source: line.source.clone(),
            kind: Some(TopicKind { signal: line.signal, encoding: line.encoding }),
            from,
            to: checked_to,
            low_watermark: state.and_then(|state| state.low_watermark).unwrap_or(next),
            not_taken: to.saturating_sub(checked_to).max(0),
        })
    }

    /// Whether an offset is checked.
    pub(super) fn has(&self, offset: i64) -> bool {
        (self.from..self.to).contains(&offset)
    }
}

/// That the lake is not that of a worker that re-keyed for itself: it took the topics that were written in place of those
/// of `[topics]`, so none of its spans would be compared with anything.
fn refuse_rekeyed(config: &Config, gone: &[SourcePartition]) -> Result<(), Error> {
    if config.topics.rekeying != Rekeying::None {
        return Ok(());
    }
    let outputs = config.rekey.outputs(&config.topics);
    match gone.iter().find(|source| outputs.iter().any(|(_, topic)| topic.as_str() == &*source.topic)) {
        Some(source) => Err(Error::Usage(format!(
            "the lake has taken {source}, which re-keying writes; give --rekey to compare it with what was re-keyed"
        ))),
        None => Ok(()),
    }
}

/// The time from which on nothing of a table was dropped, in ns: neither days, by age or for want of room, nor rows by
/// age. A row is stamped with the stream time at least that its record had.
fn kept_since(head: &Head, table: Table, keep: Option<Duration>, now: i64) -> i64 {
    let by_age = keep.map(|keep| {
        let oldest = now.saturating_sub(i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX));
        time::day(oldest).saturating_mul(time::DAY)
    });
    // Days are dropped as a whole, so time is looked at by day: the last one that may be gone is one after the other.
    let by_day = head.dropped.get(table.name()).map(|dropped| {
        let mut day = time::day(now).saturating_add(1);
        while day > 0 && time::day_name(day.saturating_sub(1)).as_str() > dropped.as_str() {
            day -= 1;
        }
        day.saturating_mul(time::DAY)
    });
    by_age.max(by_day).unwrap_or(i64::MIN)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracerag_ingest::source::{Encoding, Signal};

    use super::*;

    fn line(low: i64, end: i64) -> PlanLine {
        PlanLine {
            source: SourcePartition::new("c", "otlp_spans", 0),
            signal: Signal::Spans,
            encoding: Encoding::Proto,
            start: low,
            low,
            end,
            messages: end - low,
            is_continued: true,
        }
    }

    fn state(next: Option<i64>, low_watermark: Option<i64>) -> SourceState {
        SourceState {
            source: SourcePartition::new("c", "otlp_spans", 0),
            generation: 1,
            next,
            low_watermark,
            stream_time: None,
        }
    }

    /// A partition is checked up to where the lake has taken it; one that the lake does not know is not taken at all;
    /// one that ends before that was made anew, which is an error.
    #[test]
    fn partitions_are_checked_as_far_as_they_were_taken() {
        let place = |state: Option<&SourceState>| Place::of_partition(&line(5, 100), state, 5, 100);
        let known = place(Some(&state(Some(80), Some(60)))).unwrap();
        assert_eq!((known.from, known.to, known.low_watermark, known.not_taken), (5, 80, 60, 20));
        assert!(known.has(79) && !known.has(80) && !known.has(4));
        let unknown = place(None).unwrap();
        assert_eq!((unknown.from, unknown.to, unknown.not_taken), (5, 5, 95));
        assert!(place(Some(&state(Some(101), None))).unwrap_err().to_string().contains("out of range"));
    }

    /// A lake of re-keyed topics is compared with these or not at all: held against the topics before the re-keying it
    /// would pass, whatever it lacks. Topics that are gone for another reason stop nothing.
    #[test]
    fn a_lake_of_rekeyed_topics_is_not_passed_unseen() {
        let of = |topic: &str| [SourcePartition::new("c", topic, 3)];
        let mut config = Config::default();
        let error = refuse_rekeyed(&config, &of("otlp_spans_by_trace")).unwrap_err();
        assert!(error.is_wrong_use() && error.to_string().contains("--rekey"), "{error}");
        refuse_rekeyed(&config, &of("otlp_spans")).unwrap();
        config.topics = config.rekey.behind(&config.topics);
        refuse_rekeyed(&config, &of("otlp_spans_by_trace")).unwrap();
    }

    /// What retention may have dropped, by age or for want of room, need not be there; what is younger must be, unless
    /// it belongs to a trace that is still open.
    #[test]
    fn what_may_be_gone_need_not_be_there() {
        let now = 20_000 * time::DAY + 5;
        assert_eq!(kept_since(&Head::default(), Table::Spans, None, now), i64::MIN);
        let keep = Some(Duration::from_secs(3 * 86_400));
        assert_eq!(kept_since(&Head::default(), Table::Spans, keep, now), 19_997 * time::DAY);
        let dropped = BTreeMap::from([(String::from("spans"), time::day_name(19_998))]);
        let head = Head { dropped, ..Head::default() };
        assert_eq!(kept_since(&head, Table::Spans, keep, now), 19_999 * time::DAY);
        assert_eq!(kept_since(&head, Table::Logs, None, now), i64::MIN);

        let place = Place::of_partition(&line(0, 100), Some(&state(Some(80), Some(60))), 0, 100).unwrap();
        let places = Places::new(vec![place.clone()], vec![], &head, |_| None);
        let young = 19_999 * time::DAY;
        assert_eq!(places.state(&place, 0, 10, true, young - 1), State::Expired);
        assert_eq!(places.state(&place, 0, 10, true, young), State::Due);
        assert_eq!(places.state(&place, 0, 60, true, young), State::Waits);
        assert_eq!(places.state(&place, 1, 60, false, 0), State::Due);
    }
}
