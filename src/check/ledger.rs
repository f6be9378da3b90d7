//! What was sent and what is stored, a few bytes a record, sorted into buckets that are compared one by one.
//!
//! A record and its row fall into the same bucket by the first byte of their key. Beyond a bound in memory the buckets
//! lie in temporary files, so a comparison holds the bound and one bucket, whatever the topics hold.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use super::rows::Row;
use crate::error::Error;

/// Bytes of an entry: this is what each record and each row takes, in memory or in a temporary file.
pub(super) const ENTRY_BYTES: usize = 16 + 8 + 16 + 8 + 8 + 8 + 4 + 1 + 1;
/// One for each value of a byte.
pub(super) const BUCKETS: usize = 256;

/// What an entry is, and what follows for the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Sent: its row must be there.
    Due,
    /// Sent: its row may come when its trace closes.
    Waits,
    /// Sent: its row may have been dropped by retention.
    Expired,
    /// A row whose origin was read again.
    Stored,
    /// A row whose origin was not.
    Elsewhere,
}

const STATES: [State; 5] = [State::Due, State::Waits, State::Expired, State::Stored, State::Elsewhere];

impl State {
    /// Whether it is a row of the lake.
    pub(super) fn is_stored(self) -> bool {
        matches!(self, State::Stored | State::Elsewhere)
    }
}

/// A record that was sent, or a row that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// What identifies the record within its table.
    pub key: [u8; 16],
    /// A hash of everything else that it says.
    pub content: u64,
    /// Its trace and span, zeros without one: for people.
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub offset: i64,
    /// Stream time when it was sent, in ns.
    pub time: i64,
    /// Number of the partition.
    pub source: u32,
    /// Number of the table.
    pub table: u8,
    pub state: State,
}

impl Entry {
    /// Of a row, whether it was decoded or read from the lake.
    pub(super) fn new(row: &Row<'_>, source: u32, table: u8, state: State) -> Self {
        Self {
            key: row.key,
            content: row.content,
            trace_id: row.trace_id.unwrap_or_default(),
            span_id: row.span_id.unwrap_or_default(),
            offset: row.offset,
            time: row.time,
            source,
            table,
            state,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.key);
        out.extend(self.content.to_le_bytes());
        out.extend(self.trace_id);
        out.extend(self.span_id);
        out.extend(self.offset.to_le_bytes());
        out.extend(self.time.to_le_bytes());
        out.extend(self.source.to_le_bytes());
        out.push(self.table);
        out.push(self.state as u8);
    }

    /// `None` at the end, or where the bytes are no entry.
    fn read(bytes: &mut &[u8]) -> Option<Entry> {
        Some(Entry {
            key: array(bytes)?,
            content: u64::from_le_bytes(array(bytes)?),
            trace_id: array(bytes)?,
            span_id: array(bytes)?,
            offset: i64::from_le_bytes(array(bytes)?),
            time: i64::from_le_bytes(array(bytes)?),
            source: u32::from_le_bytes(array(bytes)?),
            table: array::<1>(bytes)?[0],
            state: *STATES.get(usize::from(array::<1>(bytes)?[0]))?,
        })
    }
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

#[derive(Default)]
struct Bucket {
    held: Vec<u8>,
    /// What did not fit into memory.
    file: Option<File>,
}

/// All entries.
pub(super) struct Ledger {
    buckets: Vec<Bucket>,
    held: usize,
    most: usize,
}

impl Ledger {
    /// An empty one that holds at most so many bytes in memory.
    pub(super) fn new(most: usize) -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(), held: 0, most }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), Error> {
        let [first, ..] = entry.key;
        entry.write(&mut self.buckets[usize::from(first)].held);
        self.held += ENTRY_BYTES;
        if self.held > self.most { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<(), Error> {
        let failed = || {
            let folder = std::env::temp_dir();
            Error::io(format!(
                "keep digests in {}; free space there, or name another folder in TMPDIR",
                folder.display()
            ))
        };
        for bucket in self.buckets.iter_mut().filter(|bucket| !bucket.held.is_empty()) {
            let file = match &mut bucket.file {
                Some(file) => file,
                empty => empty.insert(tempfile::tempfile().map_err(failed())?),
            };
            file.write_all(&bucket.held).map_err(failed())?;
            bucket.held = Vec::new();
        }
        self.held = 0;
        Ok(())
    }

    /// The entries of a bucket; nothing of it remains here.
    ///
    /// # Errors
    /// When its temporary file cannot be read.
    pub(super) fn take(&mut self, bucket: usize) -> Result<Vec<Entry>, Error> {
        let Bucket { held, file } = self.buckets.get_mut(bucket).map(std::mem::take).unwrap_or_default();
        let mut bytes = Vec::new();
        if let Some(mut file) = file {
            file.seek(SeekFrom::Start(0))
                .and_then(|_| file.read_to_end(&mut bytes))
                .map_err(Error::io("read digests back from a temporary file; run the check again"))?;
        }
        let mut entries = Vec::with_capacity((bytes.len() + held.len()) / ENTRY_BYTES);
        for mut part in [bytes.as_slice(), held.as_slice()] {
            while let Some(entry) = Entry::read(&mut part) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(number: u8) -> Entry {
        Entry {
            key: [number; 16],
            content: u64::MAX - u64::from(number),
            trace_id: [number.wrapping_add(1); 16],
            span_id: [7; 8],
            offset: -i64::from(number),
            time: i64::from(number) << 40,
            source: 3,
            table: number % 8,
            state: STATES[usize::from(number) % STATES.len()],
        }
    }

    /// Entries come back as they were, in the order in which they came, from memory and from temporary files, and each
    /// once. Guarantees that no record is lost between reading and comparing.
    #[test]
    fn entries_come_back() {
        for most in [usize::MAX, 10 * ENTRY_BYTES, 0] {
            let mut ledger = Ledger::new(most);
            for number in (0..=255).chain(0..=99) {
                ledger.push(&entry(number)).unwrap();
            }
            for bucket in 0..BUCKETS {
                let number = u8::try_from(bucket).unwrap();
                let copies = if number < 100 { 2 } else { 1 };
                assert_eq!(ledger.take(bucket).unwrap(), vec![entry(number); copies]);
                assert_eq!(ledger.take(bucket).unwrap(), vec![]);
            }
        }
    }
}
