//! Fail points: steps at which a process can be told to end at once, so that tests with real processes reach what a kill
//! from outside hits only by chance.
//!
//! `TRACERAG_FAIL_AT=staged:3` aborts the process when it passes the point `staged` for the third time: no destructor
//! runs, nothing is flushed, as with `kill -9`. Only builds with debug assertions look at the variable; in others
//! [`FailPoint::pass`] does nothing.

/// A step of the way of an epoch into the lake, and of the group's offsets after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPoint {
    /// A claim is recorded, and nothing of its partitions was read.
    Claimed,
    /// The rows of an epoch are written as files that no record names.
    Staged,
    /// A record of the journal is written as a file, and not committed.
    Drafted,
    /// The record of an epoch is committed: it happened. No table has it.
    Recorded,
    /// The next commit lets a table take in what is recorded.
    Applying,
    /// One table has taken it in; others may not have.
    TableApplied,
    /// All tables but `traces` have taken it in.
    DataApplied,
    /// All tables have taken it in, and no head shows it.
    TracesApplied,
    /// A head shows it, and the worker has not heard of that.
    Published,
    /// The client was told to commit the group's offsets.
    Committed,
}

impl FailPoint {
    /// Every point, in the order of an epoch's way.
    pub const ALL: [FailPoint; 10] = [
        FailPoint::Claimed,
        FailPoint::Staged,
        FailPoint::Drafted,
        FailPoint::Recorded,
        FailPoint::Applying,
        FailPoint::TableApplied,
        FailPoint::DataApplied,
        FailPoint::TracesApplied,
        FailPoint::Published,
        FailPoint::Committed,
    ];

    /// Its name in `TRACERAG_FAIL_AT`.
    pub fn name(self) -> &'static str {
        match self {
            FailPoint::Claimed => "claimed",
            FailPoint::Staged => "staged",
            FailPoint::Drafted => "drafted",
            FailPoint::Recorded => "recorded",
            FailPoint::Applying => "applying",
            FailPoint::TableApplied => "table_applied",
            FailPoint::DataApplied => "data_applied",
            FailPoint::TracesApplied => "traces_applied",
            FailPoint::Published => "published",
            FailPoint::Committed => "committed",
        }
    }

    /// Marks the step in the code. The process ends here if `TRACERAG_FAIL_AT` says so.
    #[inline]
    pub fn pass(self) {
        #[cfg(debug_assertions)]
        order::obey(self);
    }
}

#[cfg(debug_assertions)]
mod order {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::FailPoint;

    static ORDER: LazyLock<Option<(FailPoint, u32)>> = LazyLock::new(|| {
        let text = std::env::var("TRACERAG_FAIL_AT").ok()?;
        let order = parse(&text);
        if order.is_none() {
            tracing::error!(%text, "TRACERAG_FAIL_AT names no fail point and pass, such as staged:3; it is ignored");
        }
        order
    });

    /// Passes of the point that the order names.
    static PASSES: AtomicU32 = AtomicU32::new(0);

    /// Ends the process if this is the pass that the order names.
    pub(super) fn obey(point: FailPoint) {
        let Some((at, pass)) = *ORDER else { return };
        if point == at && PASSES.fetch_add(1, Ordering::Relaxed) + 1 == pass {
            tracing::error!(fail_point = point.name(), pass, "aborting, as TRACERAG_FAIL_AT says");
            std::process::abort();
        }
    }

    /// `staged:3`: the point and the pass, counted from 1.
    fn parse(text: &str) -> Option<(FailPoint, u32)> {
        let (name, pass) = text.split_once(':')?;
        let point = FailPoint::ALL.into_iter().find(|point| point.name() == name)?;
        let pass = pass.parse::<u32>().ok().filter(|pass| *pass > 0)?;
        Some((point, pass))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Every point is found by its name, so no two share one; what names none, or no pass, is no order.
        #[test]
        fn orders_are_read() {
            for point in FailPoint::ALL {
                assert_eq!(parse(&format!("{}:3", point.name())), Some((point, 3)));
            }
            for wrong in ["", "staged", "staged:", "staged:0", "staged:-1", "nowhere:1", "staged:1:2"] {
                assert_eq!(parse(wrong), None, "{wrong}");
            }
        }
    }
}
