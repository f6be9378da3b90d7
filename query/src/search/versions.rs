//! Versions as people read them.

use std::cmp::Ordering;

/// Whether a version is between two, both included. One that compares with neither end is outside: a branch or a commit
/// is not later than `1.8`, nor earlier.
pub(super) fn is_within(version: &str, least: Option<&str>, most: Option<&str>) -> bool {
    least.is_none_or(|least| order(version, least).is_some_and(Ordering::is_ge))
        && most.is_none_or(|most| order(version, most).is_some_and(Ordering::is_le))
}

/// Versions as a list of bounds that all hold: `>=1.8 <2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Requirement<'a> {
    /// Reads versions, each perhaps behind one of `>=`, `<=`, `=`, `>`, `<`, with blanks or commas between them. `None`
    /// of anything else. A pre-release is below its release: `<2` takes `2.0.0-rc.1`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let is_between = |letter: char| matches!(letter, ' ' | ',');
        if text.starts_with(is_between) || text.ends_with(is_between) {
            return None;
        }
        let bounds = text.split(is_between).filter(|bound| !bound.is_empty()).map(|bound| {
            let operator = [">=", "<=", "=", ">", "<"].into_iter().find(|operator| bound.starts_with(operator));
            let operator = operator.unwrap_or_default();
            let version = &bound[operator.len()..];
            (!version.is_empty() && !version.contains(['<', '>', '='])).then_some((operator, version))
        });
        bounds.collect::<Option<Vec<_>>>().filter(|bounds| !bounds.is_empty()).map(Self)
    }

    /// Whether a version meets all bounds. One that does not compare with a bound does not meet it.
    pub(super) fn takes(&self, version: &str) -> bool {
        self.0.iter().all(|(operator, bound)| {
            let Some(order) = order(version, bound) else { return false };
            match *operator {
                ">=" => order.is_ge(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                "<" => order.is_lt(),
                _ => order.is_eq(),
            }
        })
    }
}

/// How two versions compare; `None` where that cannot be said, for one of them is a name and begins with no number.
pub(super) fn order(one: &str, other: &str) -> Option<Ordering> {
    let is_numbered =
        |version: &str| plain(version).split(['.', '_', '-']).next().is_some_and(|part| part.parse::<u64>().is_ok());
    (one == other || (is_numbered(one) && is_numbered(other))).then(|| compare(one, other))
}

/// Compares versions as people read them: numbers as numbers, a leading `v` aside, `1.9.0-rc.1` before `1.9.0`.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// All bounds hold; a version alone is that version. What is no list of bounds is none.
    #[test]
    fn requirements_are_met_or_not() {
        let takes = |text: &str, version: &str| Requirement::parse(text).is_some_and(|wanted| wanted.takes(version));
        for (version, expected) in [("1.7.9", false), ("1.8", true), ("v1.10.3", true), ("2.0.0", false)] {
            assert_eq!(takes(">=1.8 <2", version), expected, "{version}");
            assert_eq!(takes(">=1.8, <2", version), expected, "{version}");
        }
        assert!(takes("1.8", "v1.8.0") && takes("=1.8", "1.8") && !takes("1.8", "1.8.1"));
        assert!(takes(">1.8", "1.8.1") && !takes(">1.8", "1.8") && takes("<=1.8", "1.8"));
        for wrong in ["", " ", ">=", "> 1", "<>1", "1>2", " 1", "1,"] {
            assert_eq!(Requirement::parse(wrong), None, "{wrong}");
        }
    }

    /// A branch or a commit is in no range of numbers, whichever end it has, and a name is in that of its own.
    #[test]
    fn names_are_outside_of_ranges() {
        for name in ["main", "a1b2c3d", "release-1.9", ""] {
            for (least, most) in [(Some("1.8"), None), (None, Some("1.8")), (Some("0"), Some("9"))] {
                assert!(!is_within(name, least, most), "{name} in {least:?} to {most:?}");
            }
            for text in [">=1.8", "<=1.8", ">0 <9", "<2"] {
                assert!(!Requirement::parse(text).unwrap().takes(name), "{name} in {text}");
            }
        }
        assert!(is_within("main", Some("main"), Some("main")) && Requirement::parse("main").unwrap().takes("main"));
        assert!(!is_within("1.9", Some("main"), None) && is_within("main", None, None));
        assert!(is_within("v1.9", Some("1.8"), Some("1.9.0")) && !is_within("1.10", Some("1.8"), Some("1.9")));
    }

    /// Versions compare by their numbers, not by their letters; a pre-release comes before its release.
    #[test]
    fn versions_compare_by_numbers() {
        let rising = ["1.8.2", "1.9.0-rc.1", "1.9.0-rc.2", "v1.9.0", "1.9.1", "1.10", "2.0.0+build.7"];
        for pair in rising.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("v1.9", "1.9.0"), Ordering::Equal);
        assert_eq!(order("v1.9", "1.10"), Some(Ordering::Less));
        assert_eq!(order("main", "main"), Some(Ordering::Equal));
        for name in ["main", "a1b2c3d", ""] {
            assert_eq!(order(name, "1.10"), None, "{name}");
        }
    }
}
