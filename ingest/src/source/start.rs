//! Where a partition is begun, and what of it is gone by then.

use std::fmt;

use tracerag_schemas::SourcePartition;

use super::SourceError;

/// Where a partition is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The partition.
    pub source: SourcePartition,
    /// The offset that is read first.
    pub at: i64,
    /// The offset up to which records were read before: those from `at` on are read again, because traces that are
    /// open need them.
    pub read_to: i64,
}

impl Start {
    /// Begins where nothing is read again.
    pub fn new(source: SourcePartition, at: i64) -> Self {
        Self { source, at, read_to: at }
    }

    /// What is gone of a partition that holds `low..high`.
    ///
    /// # Errors
    /// When more was read than the partition ever held: it is another one of the same name.
    pub(super) fn gap(&self, low: i64, high: i64) -> Result<Option<Gap>, SourceError> {
        let read_to = self.read_to.max(self.at);
        if read_to > high {
            return Err(SourceError::OutOfRange { source_partition: self.source.clone(), offset: read_to, low, high });
        }
        Ok((self.at < low).then(|| Gap { source: self.source.clone(), from: self.at, to: low, read_to }))
    }
}

/// Offsets that are wanted and were deleted from their topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The partition.
    pub source: SourcePartition,
    /// The first offset that is gone.
    pub from: i64,
    /// The oldest offset that is left.
    pub to: i64,
    /// The offset up to which records were read before. What is gone below it was read, but not all of it written:
    /// what belonged to traces that were open is lost all the same.
    pub read_to: i64,
}

impl Gap {
    /// How many offsets are gone: at most so many records, for compacted and aborted ones count too.
    pub fn offsets(&self) -> i64 {
        self.to - self.from
    }
}

impl fmt::Display for Gap {
    /// The interval and what its loss means, without the partition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to, read_to) = (self.from, self.to, self.read_to);
        let (last, offsets) = (to - 1, self.offsets());
        write!(f, "offsets {from} to {last} ({offsets}) are not in the topic any more, which begins at {to}: ")?;
        if read_to >= to {
            f.write_str("they were read, but traces that were open then need them again and lose their parts in them")
        } else if read_to <= from {
            f.write_str("they were never read")
        } else {
            write!(
                f,
                "those from {read_to} on were never read, and traces that were open then lose their parts in the others"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn start(at: i64, read_to: i64) -> Start {
        Start { read_to, ..Start::new(SourcePartition::new("c", "otlp_spans", 3), at) }
    }

    /// A start that the partition holds, also the one behind its last record, lacks nothing.
    #[test]
    fn what_is_there_is_no_gap() {
        for (at, read_to) in [(5, 5), (5, 9), (9, 9), (20, 20)] {
            assert_eq!(start(at, read_to).gap(5, 20).unwrap(), None, "{at} {read_to}");
        }
    }

    /// What lies before the oldest record is a gap, and it says which records were never read and which traces lose
    /// something.
    #[test]
    fn a_gap_says_what_is_lost() {
        let gap = |at, read_to| start(at, read_to).gap(8, 20).unwrap().unwrap();
        assert_eq!((gap(5, 6).from, gap(5, 6).to, gap(5, 6).read_to, gap(5, 6).offsets()), (5, 8, 6, 3));
        let shown = gap(5, 5).to_string();
        assert!(shown.starts_with("offsets 5 to 7 (3) ") && shown.ends_with("never read"), "{shown}");
        for read_to in [8, 15, 20] {
            let shown = gap(5, read_to).to_string();
            assert!(shown.contains("they were read") && shown.contains("open"), "{shown}");
        }
        let shown = gap(5, 6).to_string();
        assert!(shown.contains("from 6 on were never read") && shown.contains("open"), "{shown}");
    }

    /// A partition that ends before what was read of it is another one of the same name, and no gap, whether what is
    /// read again is there or not.
    #[test]
    fn a_partition_that_was_made_anew_is_refused() {
        for (at, read_to) in [(21, 21), (10, 21), (2, 21)] {
            let error = start(at, read_to).gap(5, 20).unwrap_err();
            assert!(matches!(error, SourceError::OutOfRange { offset: 21, low: 5, high: 20, .. }), "{error}");
        }
    }
}
