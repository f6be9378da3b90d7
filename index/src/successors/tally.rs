//! Where the failures of one incident go, and whether the incident goes with them.
//!
//! An incident goes on under another fingerprint if all of its kept failures but one in [`LEFT_OUT`] at most go there.
//! Otherwise it stays on its own: to take two incidents for one hides the one, and to take one for two costs a person a
//! merge. Failures of which it is not known where they go count as if they went elsewhere.

use std::collections::BTreeMap;

/// Of so many failures one may go elsewhere.
const LEFT_OUT: u64 = 20;
/// Fingerprints that are counted of one incident. Beyond them counts are too low rather than too high (Misra and Gries).
const MOST_PARTS: usize = 64;
/// Fingerprints that are named.
const NAMED: usize = 5;

/// What is counted of one incident.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    is_stated: bool,
    failures: u64,
    unknown: u64,
    parts: BTreeMap<String, u64>,
}

/// What becomes of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its fingerprint is the same in every version, or it has no failures any more that say anything.
    Stays,
    /// It goes on as another fingerprint, for a reason.
    Goes(String, String),
    /// It stays on its own, for a reason.
    Splits(String),
}

impl Tally {
    /// A program states the fingerprint of a failure.
    pub(super) fn state(&mut self) {
        self.is_stated = true;
    }

    /// A failure goes to a fingerprint, or it is not known to which.
    pub(super) fn add(&mut self, fingerprint: Option<String>) {
        self.failures += 1;
        let Some(fingerprint) = fingerprint else {
            self.unknown += 1;
            return;
        };
        if self.parts.len() < MOST_PARTS || self.parts.contains_key(&fingerprint) {
            *self.parts.entry(fingerprint).or_default() += 1;
            return;
        }
        self.parts.retain(|_, count| {
            *count -= 1;
            *count > 0
        });
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.is_stated || self.failures == 0 {
            return Verdict::Stays;
        }
        let Self { failures, unknown, .. } = self;
        let mut parts: Vec<(&String, u64)> = self.parts.iter().map(|(part, count)| (part, *count)).collect();
        parts.sort_by(|(one, ones), (other, others)| others.cmp(ones).then_with(|| one.cmp(other)));
        let Some((largest, count)) = parts.first().copied() else {
            let reason = format!("its {failures} kept failures do not hold what the new rules group by");
            return Verdict::Splits(reason);
        };
        if (failures - count) * LEFT_OUT <= *failures {
            return Verdict::Goes(largest.clone(), format!("{count} of {failures} kept failures go there"));
        }
        let named = parts.iter().take(NAMED).map(|(part, count)| format!("{count} to {part}"));
        let mut named: Vec<String> = named.collect();
        if parts.len() > NAMED {
            named.push(format!("others to {} more", parts.len() - NAMED));
        }
        if *unknown > 0 {
            named.push(format!("of {unknown} it is not known"));
        }
        Verdict::Splits(format!("of {failures} kept failures go {}", named.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(parts: &[(Option<&str>, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (part, count) in parts {
            (0..*count).for_each(|_| tally.add(part.map(str::to_owned)));
        }
        tally
    }

    /// Incidents whose failures go to one fingerprint, almost all to one, to two, and nobody knows where. Guarantees the
    /// share of one in twenty, that what is not known counts against it, and that the reason names where they go.
    #[test]
    fn an_incident_goes_where_almost_all_of_it_goes() {
        let goes = |parts: &[(Option<&str>, u64)]| match tally(parts).verdict() {
            Verdict::Goes(target, _) => target,
            other => format!("{other:?}"),
        };
        assert_eq!(goes(&[(Some("a"), 1)]), "a");
        assert_eq!(goes(&[(Some("b"), 1), (Some("a"), 19)]), "a");
        let splits = |parts: &[(Option<&str>, u64)], reason: &str| {
            assert_eq!(tally(parts).verdict(), Verdict::Splits(reason.to_owned()));
        };
        splits(&[(Some("b"), 2), (Some("a"), 18)], "of 20 kept failures go 18 to a, 2 to b");
        splits(&[(None, 2), (Some("a"), 18)], "of 20 kept failures go 18 to a, of 2 it is not known");
        splits(&[(None, 3)], "its 3 kept failures do not hold what the new rules group by");
        assert_eq!(tally(&[]).verdict(), Verdict::Stays);
        let mut stated = tally(&[(Some("a"), 5)]);
        stated.state();
        assert_eq!(stated.verdict(), Verdict::Stays);
    }

    proptest! {
        /// More fingerprints than are counted, in any order. Guarantees that an incident never goes where less of it goes
        /// than is asked for, and does go where all but a few of its failures go.
        #[test]
        fn many_parts_never_make_a_wrong_one(parts in prop::collection::vec(0_u16..200, 1..400), more in 0_u64..5_000) {
            let mut counted: BTreeMap<String, u64> = BTreeMap::new();
            let mut tally = Tally::default();
            let most = std::iter::repeat_n(String::from("most"), usize::try_from(more).unwrap_or_default());
            for part in parts.iter().map(u16::to_string).chain(most) {
                *counted.entry(part.clone()).or_default() += 1;
                tally.add(Some(part));
            }
            let failures: u64 = counted.values().sum();
            match tally.verdict() {
                Verdict::Goes(target, _) => {
                    prop_assert!((failures - counted.get(&target).copied().unwrap_or_default()) * LEFT_OUT <= failures);
                }
                _ => prop_assert!((failures - more) * 40 > failures),
            }
        }
    }
}
