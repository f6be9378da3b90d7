//! Whether a fix held: what was seen of its incident after it.
//!
//! Where the fix names the version that has it, each failure with a version is judged by that: one of an instance that
//! still has the version before says nothing of the fix, however late it comes. Other failures are judged by their time.

use std::cmp::Ordering;

use tracerag_schemas::time::rfc3339;

use super::KnownFix;
use super::versions::order;

/// Failures of one incident that were counted together. Times are in ns since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub first_seen: i64,
    pub last_seen: i64,
    /// Versions of the service that failed; empty where it states none.
    pub versions: Vec<String>,
}

/// Where a fix is, as far as it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// When it took effect, in ns since the epoch.
    pub at: Option<i64>,
    /// The first version that has it.
    pub version: Option<&'a str>,
}

/// Whether an incident came back after a fix, and by what that is judged, in words.
pub(super) fn came_back(place: Place<'_>, seen: &[Counted]) -> (bool, String) {
    let is_later = |counted: &&Counted| place.at.is_some_and(|at| counted.last_seen > at);
    let newest = |counted: &&Counted| counted.last_seen;
    let Some(fixed) = place.version else {
        return match (place.at, seen.iter().filter(is_later).max_by_key(newest)) {
            (None, _) => (false, String::from("the fix says neither a version nor a time to judge it by")),
            (Some(_), Some(counted)) => (true, format!("by time: seen at {}", rfc3339(counted.last_seen))),
            (Some(_), None) => (false, String::from("by time: not seen since it took effect")),
        };
    };
    let (mut compared, mut others) = (Vec::new(), Vec::new());
    for counted in seen {
        let orders = counted.versions.iter().filter_map(|version| Some((version.as_str(), order(version, fixed)?)));
        let before = compared.len();
        compared.extend(orders);
        if compared.len() == before {
            others.push(counted);
        }
    }
    if let Some((version, _)) = compared.iter().find(|(_, order)| *order != Ordering::Less) {
        return (true, format!("by version: seen in {version}, and {fixed} has the fix"));
    }
    match others.iter().copied().filter(is_later).max_by_key(newest) {
        Some(counted) => {
            let at = rfc3339(counted.last_seen);
            (true, format!("by time: seen at {at}, in no version that compares with {fixed}"))
        }
        None if compared.is_empty() => (
            false,
            format!("by time: not seen since it took effect; failures name no version that compares with {fixed}"),
        ),
        None => (false, format!("by version: not seen in {fixed} or a later one")),
    }
}

/// The newest fix of which nobody says that it was wrong or half a fix, of fixes in their order.
pub(super) fn whole(fixes: &[KnownFix]) -> Option<&KnownFix> {
    let is_whole =
        |fix: &&KnownFix| fix.fixed_at.is_some() && fix.outcome.as_deref().is_none_or(|outcome| outcome == "fixed");
    fixes.iter().find(is_whole)
}

/// Since when an incident has been seen again after a time, and in which version, as the view `incidents` has it. What was
/// counted together and lies on both sides came back at its end at the latest. `seen` is in the order of `last_seen`.
pub(super) fn regressed<'a>(
    seen: impl Iterator<Item = &'a Counted> + Clone,
    fixed_at: i64,
) -> Option<(i64, Option<String>)> {
    let mut after = seen.filter(|counted| counted.last_seen > fixed_at);
    let back = |counted: &Counted| if counted.first_seen > fixed_at { counted.first_seen } else { counted.last_seen };
    let at = after.clone().map(back).min()?;
    Some((at, after.find_map(|counted| counted.versions.first()).cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(last_seen: i64, versions: &[&str]) -> Counted {
        let versions = versions.iter().map(|version| (*version).to_owned()).collect();
        Counted { first_seen: last_seen - 1, last_seen, versions }
    }

    fn judged(at: Option<i64>, version: Option<&str>, seen: &[Counted]) -> (bool, String) {
        came_back(Place { at, version }, seen)
    }

    /// With a version on both sides the version decides, whatever the time is: an old instance that fails later is no
    /// return, one that has the fix and fails is, even before the fix was recorded. Pre-releases lie before their release.
    #[test]
    fn versions_decide_where_there_are_some() {
        for (versions, expected) in [
            (&["1.8.2"][..], false),
            (&["1.9.0-rc.1"], false),
            (&["1.9.0"], true),
            (&["v1.10"], true),
            (&["1.8.2", "1.9.1"], true),
        ] {
            for seen_at in [1, 99] {
                let (came_back, reason) = judged(Some(50), Some("1.9.0"), &[counted(seen_at, versions)]);
                assert_eq!(came_back, expected, "{versions:?} at {seen_at}: {reason}");
                assert!(reason.starts_with("by version"), "{reason}");
            }
        }
    }

    /// Without a version of the fix, or of a failure, or with one that is a name and no number, time decides, and the reason
    /// says so. A failure at the very moment of the fix is none after it.
    #[test]
    fn time_decides_elsewhere() {
        for (version, versions) in
            [(None, &["1.9.0"][..]), (Some("1.9.0"), &[]), (Some("1.9.0"), &["nightly"]), (Some("nightly"), &["1.9.0"])]
        {
            for (seen_at, expected) in [(49, false), (50, false), (51, true)] {
                let (came_back, reason) = judged(Some(50), version, &[counted(seen_at, versions)]);
                assert_eq!(came_back, expected, "{version:?} {versions:?} at {seen_at}: {reason}");
                assert!(reason.starts_with("by time"), "{reason}");
            }
        }
        assert!(!judged(None, None, &[counted(51, &[])]).0);
        let mixed = [counted(51, &["1.8.2"]), counted(52, &[])];
        assert!(judged(Some(50), Some("1.9.0"), &mixed).0, "one without a version after an old one");
    }

    /// An incident came back with the first failure after the fix, in the first version that is known after it.
    #[test]
    fn a_regression_has_its_begin() {
        let seen = [counted(10, &["1"]), counted(20, &[]), counted(30, &["3"])];
        assert_eq!(regressed(seen.iter(), 10), Some((19, Some(String::from("3")))));
        assert_eq!(regressed(seen.iter(), 19), Some((20, Some(String::from("3")))));
        assert_eq!(regressed(seen.iter(), 30), None);
    }
}
