//! Versions as people read them.

use std::cmp::Ordering;

/// Whether a version is between two, both included.
pub(super) fn is_within(version: &str, least: Option<&str>, most: Option<&str>) -> bool {
    least.is_none_or(|least| compare(version, least) != Ordering::Less)
        && most.is_none_or(|most| compare(version, most) != Ordering::Greater)
}

/// Compares versions as people read them: numbers as numbers, a leading `v` aside, `1.9.0-rc.1` before `1.9.0`.
fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (plain(one), plain(other));
    let ((one, one_pre), (other, other_pre)) = (halves(one), halves(other));
    by_parts(one, other).then_with(|| match (one_pre, other_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => by_parts(one, other),
    })
}

/// Without a leading `v` and without build metadata.
fn plain(version: &str) -> &str {
    let version = version.trim().trim_start_matches(['v', 'V']);
    version.split('+').next().unwrap_or(version)
}

fn halves(version: &str) -> (&str, Option<&str>) {
    match version.split_once('-') {
        Some((release, pre)) => (release, Some(pre)),
        None => (version, None),
    }
}

fn by_parts(one: &str, other: &str) -> Ordering {
    let mut ones = one.split(['.', '_', '-']);
    let mut others = other.split(['.', '_', '-']);
    loop {
        let order = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            // `1.9` is `1.9.0`.
            (None, Some(part)) => by_part("0", part),
            (Some(part), None) => by_part(part, "0"),
            (Some(one), Some(other)) => by_part(one, other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn by_part(one: &str, other: &str) -> Ordering {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions compare by their numbers, not by their letters; a pre-release comes before its release.
    #[test]
    fn versions_compare_by_numbers() {
        let rising = ["1.8.2", "1.9.0-rc.1", "1.9.0-rc.2", "v1.9.0", "1.9.1", "1.10", "2.0.0+build.7"];
        for pair in rising.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("v1.9", "1.9.0"), Ordering::Equal);
    }
}
