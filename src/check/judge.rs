//! Compares what was sent with what is stored, key by key.

use std::collections::BTreeMap;

use super::ledger::{Entry, State};
use super::rows::{self, Rule, TABLES};

/// Examples that are kept of each kind of difference.
const EXAMPLES_OF_A_KIND: usize = 5;

/// How a record and the lake differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// It was sent and is not stored.
    Missing,
    /// It is stored more often than it may be.
    Doubled,
    /// It is stored with other content than it was sent with.
    Different,
    /// It is stored with an origin that was read again, and was not sent there.
    Extra,
}

impl Difference {
    pub(super) fn name(self) -> &'static str {
        match self {
            Difference::Missing => "missing",
            Difference::Doubled => "doubled",
            Difference::Different => "different",
            Difference::Extra => "extra",
        }
    }
}

/// Records of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Sent, copies of one record counted once.
    pub sent: u64,
    /// Stored of those, and extra ones.
    pub stored: u64,
    pub missing: u64,
    pub doubled: u64,
    pub different: u64,
    pub extra: u64,
    /// Sent and not stored, because their traces are open.
    pub pending: u64,
    /// Sent and not stored, because retention may have dropped them.
    pub expired: u64,
}

impl Counts {
    pub(super) fn differences(&self) -> u64 {
        self.missing + self.doubled + self.different + self.extra
    }

    fn of(&mut self, difference: Difference) -> &mut u64 {
        match difference {
            Difference::Missing => &mut self.missing,
            Difference::Doubled => &mut self.doubled,
            Difference::Different => &mut self.different,
            Difference::Extra => &mut self.extra,
        }
    }
}

/// How long copies of a record are recognised, in ns of stream time. One that comes later may be written again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizons {
    pub spans: i64,
    pub logs: i64,
}

/// What the comparison of all buckets has found.
pub(super) struct Verdict {
    horizons: Horizons,
    /// By number of the table.
    pub counts: [Counts; TABLES.len()],
    /// Some of each kind.
    pub examples: BTreeMap<Difference, Vec<Entry>>,
}

impl Verdict {
    pub(super) fn new(horizons: Horizons) -> Self {
        Self { horizons, counts: [Counts::default(); TABLES.len()], examples: BTreeMap::new() }
    }

    /// Compares the entries of one bucket, which has all of each of its keys.
    pub(super) fn judge(&mut self, mut entries: Vec<Entry>) {
        entries.sort_unstable_by_key(|entry| {
            (entry.table, entry.key, entry.state.is_stored(), entry.content, entry.source, entry.offset)
        });
        for group in entries.chunk_by(|one, other| (one.table, one.key) == (other.table, other.key)) {
            let (sent, stored) = group.split_at(group.partition_point(|entry| !entry.state.is_stored()));
            let Some((table, number)) = group.first().and_then(|entry| {
                let number = usize::from(entry.table);
                Some((*TABLES.get(number)?, number))
            }) else {
                continue;
            };
            match rows::rule(table) {
                _ if sent.is_empty() => self.judge_unsent(number, stored),
                Rule::Once => self.judge_copies(number, sent, stored, 1, self.horizons.spans),
                Rule::GreatestInAMessage => self.judge_copies(number, sent, stored, usize::MAX, self.horizons.logs),
                Rule::Each => self.judge_contents(number, sent, stored, usize::MAX),
                Rule::AtLeastOnce => self.judge_contents(number, sent, stored, 1),
            }
        }
    }

    fn found(&mut self, table: usize, difference: Difference, count: usize, example: Option<&Entry>) {
        if count == 0 {
            return;
        }
        *self.counts[table].of(difference) += count as u64;
        let examples = self.examples.entry(difference).or_default();
        if let Some(example) = example
            && examples.len() < EXAMPLES_OF_A_KIND
        {
            examples.push(*example);
        }
    }

    fn judge_unsent(&mut self, table: usize, stored: &[Entry]) {
        let extra: Vec<&Entry> = stored.iter().filter(|row| row.state == State::Stored).collect();
        self.counts[table].stored += extra.len() as u64;
        self.found(table, Difference::Extra, extra.len(), extra.first().copied());
    }

    /// Records that are dropped when they are sent again. Of one message `most` are kept, and what comes after the
    /// `horizon` may be kept again.
    fn judge_copies(&mut self, table: usize, sent: &[Entry], stored: &[Entry], most: usize, horizon: i64) {
        let messages = messages(sent, most);
        let wanted = messages.iter().map(|message| message.count).max().unwrap_or(0);
        let due = messages.iter().filter(|message| message.state == State::Due).map(|message| message.count).max();
        let expected = Expected { wanted, due: due.unwrap_or(0), most: most_kept(&messages, horizon) };
        let missing = self.settle(table, sent, stored, &expected);
        self.found(table, Difference::Missing, missing, sent.first());
        let is_sent = |row: &Entry| sent.binary_search_by_key(&row.content, |copy| copy.content).is_ok();
        // What a copy said that was not read again is not known.
        let others: Vec<&Entry> =
            stored.iter().filter(|row| row.state == State::Stored).filter(|row| !is_sent(row)).collect();
        self.found(table, Difference::Different, others.len(), others.first().copied());
    }

    /// Records of one origin, or payloads of one span, that are told apart by their content. Of equal ones at least
    /// `least` must be there, or all where there are fewer, and none more often than it was sent.
    fn judge_contents(&mut self, table: usize, sent: &[Entry], stored: &[Entry], least: usize) {
        let (mut lacking, mut unknown): (Vec<&Entry>, Vec<&Entry>) = (Vec::new(), Vec::new());
        let (mut sent, mut stored) = (sent, stored);
        while let Some(content) = [sent.first(), stored.first()].into_iter().flatten().map(|entry| entry.content).min()
        {
            let (copies, rows) = (take_content(&mut sent, content), take_content(&mut stored, content));
            if copies.is_empty() {
                unknown.extend(rows.iter().filter(|row| row.state == State::Stored));
                continue;
            }
            let due = copies.iter().filter(|copy| copy.state == State::Due).count().min(least);
            let expected = Expected { wanted: copies.len().min(least), due, most: copies.len() };
            let missing = self.settle(table, copies, rows, &expected);
            lacking.extend(copies.iter().take(missing));
        }
        self.counts[table].stored += unknown.len() as u64;
        // Of each pair one is what was sent, the other what became of it.
        let different = lacking.len().min(unknown.len());
        self.found(table, Difference::Different, different, unknown.first().copied());
        self.found(table, Difference::Missing, lacking.len() - different, lacking.get(different).copied());
        self.found(table, Difference::Extra, unknown.len() - different, unknown.get(different).copied());
    }

    /// Counts what is there, what is there too often, and what need not be there. Gives how many are missing.
    fn settle(&mut self, table: usize, sent: &[Entry], stored: &[Entry], expected: &Expected) -> usize {
        let Expected { wanted, due, most } = *expected;
        let counts = &mut self.counts[table];
        counts.sent += wanted as u64;
        counts.stored += stored.len() as u64;
        let absent = wanted.saturating_sub(stored.len().max(due)) as u64;
        match sent.iter().any(|copy| copy.state == State::Waits) {
            true => counts.pending += absent,
            false => counts.expired += absent,
        }
        // Copies that were not read again may have rows of their own.
        let here: Vec<&Entry> = stored.iter().filter(|row| row.state == State::Stored).collect();
        self.found(table, Difference::Doubled, here.len().saturating_sub(most), here.last().copied());
        due.saturating_sub(stored.len())
    }
}

/// How often a record is expected in the lake.
struct Expected {
    /// When everything has been written, and nothing dropped by retention.
    wanted: usize,
    /// Now.
    due: usize,
    /// At most.
    most: usize,
}

/// The copies of a record in one message.
struct Copies {
    time: i64,
    count: usize,
    state: State,
}

/// The messages that hold a record, by time. `most` copies of one message count.
fn messages(sent: &[Entry], most: usize) -> Vec<Copies> {
    let mut by_origin: Vec<&Entry> = sent.iter().collect();
    by_origin.sort_unstable_by_key(|entry| (entry.source, entry.offset));
    let mut messages: Vec<Copies> = by_origin
        .chunk_by(|one, other| (one.source, one.offset) == (other.source, other.offset))
        .filter_map(|copies| {
            let first = copies.first()?;
            Some(Copies { time: first.time, count: copies.len().min(most), state: first.state })
        })
        .collect();
    messages.sort_by_key(|message| message.time);
    messages
}

/// The greatest number that may be kept: what comes within the horizon of the first copy is recognised.
fn most_kept(messages: &[Copies], horizon: i64) -> usize {
    let (mut kept, mut greatest, mut forgotten_at) = (0, 0, i64::MIN);
    for message in messages {
        if message.time >= forgotten_at {
            kept += std::mem::take(&mut greatest);
            forgotten_at = message.time.saturating_add(horizon);
        }
        greatest = message.count.max(greatest);
    }
    kept + greatest
}

/// Takes the first entries, if they have this content, the least of all.
fn take_content<'a>(rest: &mut &'a [Entry], content: u64) -> &'a [Entry] {
    let all = std::mem::take(rest);
    let (taken, left) = all.split_at(all.partition_point(|entry| entry.content <= content));
    *rest = left;
    taken
}

#[cfg(test)]
#[path = "judge_test.rs"]
mod tests;
