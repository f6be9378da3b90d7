//! Whether a fix held: what was seen of its incident after it. There is one rule, [`back`], for fixes as they are listed
//! and found, for the columns `regressed_at` and `regressed_version`, and for events.
//!
//! Where the fix names the version that has it, each failure with a version is judged by that: one of an instance that
//! still has the version before says nothing of the fix, however late it comes. Other failures are judged by their time.
//! Echoes say nothing: what failed is the incident of their origin.

use std::cmp::Ordering;

use tracerag_schemas::time::rfc3339;

use super::KnownFix;
use super::versions::{compare, order};

/// Failures of one incident that were counted together. Times are in ns since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub first_seen: i64,
    pub last_seen: i64,
    /// Versions of the service that failed; empty where it states none.
    pub versions: Vec<String>,
    /// Whether all of them are echoes of failures of other incidents.
    pub is_echo: bool,
}

/// Where a fix is, as far as it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// When it took effect, in ns since the epoch.
    pub at: Option<i64>,
    /// The first version that has it.
    pub version: Option<&'a str>,
}

/// That an incident came back with some failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Back<'a> {
    /// When at the latest, in ns since the epoch.
    at: i64,
    /// The least version of them that is not older than the fix; of those that do not compare with it the least.
    version: Option<&'a str>,
    /// Whether the version says so, and not the time.
    is_by_version: bool,
}

/// Whether failures are such that come after a fix. If one of their versions compares with the fix's, they are if one is not
/// older than that, even before the fix was recorded; if none does, they are if they were seen after it. What was counted
/// together and lies on both sides came back at its end at the latest.
fn back<'a>(place: Place<'_>, counted: &'a Counted) -> Option<Back<'a>> {
    if counted.is_echo {
        return None;
    }
    let Counted { first_seen, last_seen, .. } = *counted;
    let compared = compared(place, counted);
    if compared.is_empty() {
        let fixed_at = place.at.filter(|at| last_seen > *at)?;
        let at = if first_seen > fixed_at { first_seen } else { last_seen };
        return Some(Back { at, version: least(counted.versions.iter().map(String::as_str)), is_by_version: false });
    }
    let is_newer = |order: &Ordering| *order != Ordering::Less;
    let newer = compared.iter().filter(|(_, order)| is_newer(order)).map(|(version, _)| *version);
    let version = least(newer)?;
    let is_on_one_side = place.at.is_none_or(|at| first_seen > at || last_seen <= at);
    let begins_so = is_on_one_side && compared.iter().all(|(_, order)| is_newer(order));
    Some(Back { at: if begins_so { first_seen } else { last_seen }, version: Some(version), is_by_version: true })
}

fn least<'a>(versions: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    versions.min_by(|one, other| compare(one, other))
}

/// The versions of failures that compare with the one that has a fix, and how.
fn compared<'a>(place: Place<'_>, counted: &'a Counted) -> Vec<(&'a str, Ordering)> {
    let Some(fixed) = place.version else { return vec![] };
    counted.versions.iter().filter_map(|version| Some((version.as_str(), order(version, fixed)?))).collect()
}

/// Whether an incident came back after a fix, and by what that is judged, in words.
pub(super) fn came_back(place: Place<'_>, seen: &[Counted]) -> (bool, String) {
    if place == (Place { at: None, version: None }) {
        return (false, String::from("the fix says neither a version nor a time to judge it by"));
    }
    if !seen.is_empty() && seen.iter().all(|counted| counted.is_echo) {
        return (
            false,
            String::from("it has only echoes, and whether their origin came back stands at its own incident"),
        );
    }
    let backs: Vec<(&Counted, Back<'_>)> =
        seen.iter().filter_map(|counted| Some((counted, back(place, counted)?))).collect();
    if let Some(version) = backs.iter().find(|(_, back)| back.is_by_version).and_then(|(_, back)| back.version) {
        let fixed = place.version.unwrap_or_default();
        return (true, format!("by version: seen in {version}, and {fixed} has the fix"));
    }
    let newest = backs.iter().map(|(counted, _)| counted.last_seen).max().map(rfc3339);
    let compares = seen.iter().any(|counted| !counted.is_echo && !compared(place, counted).is_empty());
    match (newest, place.version) {
        (Some(at), None) => (true, format!("by time: seen at {at}")),
        (Some(at), Some(fixed)) => (true, format!("by time: seen at {at}, in no version that compares with {fixed}")),
        (None, None) => (false, String::from("by time: not seen since it took effect")),
        (None, Some(fixed)) if compares => (false, format!("by version: not seen in {fixed} or a later one")),
        (None, Some(fixed)) => (
            false,
            format!("by time: not seen since it took effect; failures name no version that compares with {fixed}"),
        ),
    }
}

/// The newest fix of which nobody says that it was wrong or half a fix, of fixes in their order.
pub(super) fn whole(fixes: &[KnownFix]) -> Option<&KnownFix> {
    let is_whole =
        |fix: &&KnownFix| fix.fixed_at.is_some() && fix.outcome.as_deref().is_none_or(|outcome| outcome == "fixed");
    fixes.iter().find(is_whole)
}

/// Since when an incident has been seen again after a fix, and in which version: that of the first failures that came back
/// and state one. `seen` is in the order of `last_seen`.
pub(super) fn regressed<'a>(
    seen: impl Iterator<Item = &'a Counted>,
    place: Place<'_>,
) -> Option<(i64, Option<String>)> {
    let (mut at, mut version) = (None, None);
    for back in seen.filter_map(|counted| back(place, counted)) {
        at = Some(at.map_or(back.at, |known: i64| known.min(back.at)));
        version = version.or(back.version);
    }
    Some((at?, version.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(last_seen: i64, versions: &[&str]) -> Counted {
        let versions = versions.iter().map(|version| (*version).to_owned()).collect();
        Counted { first_seen: last_seen - 1, last_seen, versions, is_echo: false }
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
        let since = |at: i64| regressed(seen.iter(), Place { at: Some(at), version: None });
        assert_eq!(since(10), Some((19, Some(String::from("3")))));
        assert_eq!(since(19), Some((20, Some(String::from("3")))));
        assert_eq!(since(30), None);
    }

    /// Instances of 1.9.0 go on failing after a fix in 1.9.1, then 1.10.0 and 1.9.2 fail, and one without a number. Guarantees
    /// that the old ones are no regression, that it begins with the first failure of a version that has the fix, and that
    /// the version is the least of those by numbers, not by letters; what does not compare counts by its time.
    #[test]
    fn a_regression_is_one_of_versions_that_have_the_fix() {
        let place = Place { at: Some(50), version: Some("1.9.1") };
        let old = [counted(60, &["1.9.0"]), counted(61, &["1.8.2", "1.9.0"])];
        assert_eq!(regressed(old.iter(), place), None);
        let mixed = [old[0].clone(), counted(70, &["1.10.0", "1.9.0", "1.9.2"]), counted(80, &["1.9.1"])];
        assert_eq!(regressed(mixed.iter(), place), Some((70, Some(String::from("1.9.2")))));
        let newer = [old[0].clone(), counted(70, &["1.10.0"])];
        assert_eq!(regressed(newer.iter(), place), Some((69, Some(String::from("1.10.0")))));
        let named = [counted(49, &["nightly"]), old[0].clone(), counted(75, &["nightly"])];
        assert_eq!(regressed(named.iter(), place), Some((74, Some(String::from("nightly")))));
        let by_time = [counted(70, &["1.10.0", "1.9.0"])];
        let since = regressed(by_time.iter(), Place { at: Some(50), version: None });
        assert_eq!(since, Some((69, Some(String::from("1.9.0")))));
    }

    /// Failures of other incidents pass through this one's service after its fix. Guarantees that neither the fix nor the
    /// incident's columns take them for a return, and that the reason says so where there is nothing else.
    #[test]
    fn echoes_are_no_return() {
        let echo = Counted { is_echo: true, ..counted(99, &["1.9.1"]) };
        for version in [None, Some("1.9.0")] {
            let place = Place { at: Some(50), version };
            assert_eq!(regressed([&echo].into_iter(), place), None);
            assert!(!came_back(place, &[counted(49, &["1.8.2"]), echo.clone()]).0);
            let (came_back, reason) = came_back(place, std::slice::from_ref(&echo));
            assert!(!came_back && reason.contains("echoes"), "{reason}");
        }
    }

    proptest! {
        /// Any failures and any fix. Guarantees that the list of fixes and the columns of the incident never differ in
        /// whether it came back.
        #[test]
        fn one_rule_for_all(
            rows in prop::collection::vec((0_i64..100, prop::collection::vec(0_usize..5, 0..3), any::<bool>()), 0..6),
            at in 0_i64..100, version in prop::option::of(0_usize..5),
        ) {
            let names = ["1.8.2", "1.9.0-rc.1", "1.9.0", "1.10.0", "nightly"];
            let mut seen: Vec<Counted> = rows.into_iter().map(|(last_seen, versions, is_echo)| {
                let versions: Vec<&str> = versions.into_iter().map(|version| names[version]).collect();
                Counted { is_echo, ..counted(last_seen, &versions) }
            }).collect();
            seen.sort_by_key(|counted| counted.last_seen);
            let place = Place { at: Some(at), version: version.map(|version| names[version]) };
            prop_assert_eq!(came_back(place, &seen).0, regressed(seen.iter(), place).is_some());
        }
    }
}
