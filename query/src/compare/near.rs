//! The time of which it is read what was told beside the traces: heaps that name none, and memory.

use tracerag_schemas::time::{SECOND, rfc3339};

use super::sides::Member;

/// The longest such time, in ns: six hours. Traces may be asked for over weeks, in which every process tells of its memory
/// all the time.
const LONGEST: i64 = 6 * 3_600 * SECOND;

/// When the traces began of which it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Near {
    /// The first of these times, ns.
    pub from: i64,
    /// The last one, ns.
    pub to: i64,
    /// Whether other traces began before or after.
    is_part: bool,
}

impl Near {
    /// The time of all traces, or that around the first failing one, which is the example; `None` without a trace.
    pub(super) fn of(failing: &[Member], good: &[Member]) -> Option<Self> {
        let starts = || failing.iter().chain(good).map(|member| member.start);
        let (first, last) = (starts().min()?, starts().max()?);
        if last.saturating_sub(first) <= LONGEST {
            return Some(Self { from: first, to: last, is_part: false });
        }
        let example = starts().next()?;
        let to = example.saturating_add(LONGEST / 2).clamp(first.saturating_add(LONGEST), last);
        Some(Self { from: to.saturating_sub(LONGEST), to, is_part: true })
    }

    /// Of which traces nothing is known by it, in words.
    pub(super) fn note(self) -> Option<String> {
        self.is_part.then(|| {
            format!(
                "memory, and heaps that name no trace: compared of the traces that began from {} to {} only, six hours around \
                 the failing one",
                rfc3339(self.from),
                rfc3339(self.to)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600 * SECOND;

    fn near(failing: &[i64], good: &[i64]) -> Option<(i64, i64, bool)> {
        let members = |hours: &[i64]| -> Vec<Member> {
            let member = |hour: &i64| Member { trace_id: hour.to_string(), start: hour * HOUR, failed_at: None };
            hours.iter().map(member).collect()
        };
        let near = Near::of(&members(failing), &members(good))?;
        assert_eq!(near.note().is_some(), near.is_part);
        Some((near.from / HOUR, near.to / HOUR, near.is_part))
    }

    /// Traces of up to six hours, and of two weeks with the example in the middle, at the begin and at the end. Guarantees
    /// that what is read is never of more than six hours, has the example in it and does not lie outside of the traces, and
    /// that a note says so where it is a part.
    #[test]
    fn six_hours_around_the_example() {
        assert_eq!(near(&[], &[]), None);
        assert_eq!(near(&[5, 3], &[2, 8]), Some((2, 8, false)));
        assert_eq!(near(&[100, 3], &[0, 336]), Some((97, 103, true)));
        assert_eq!(near(&[1, 300], &[0, 336]), Some((0, 6, true)));
        assert_eq!(near(&[336, 3], &[0, 200]), Some((330, 336, true)));
    }
}
