//! What a text speaks of at a place of it: the names in the same clause. By words, as everything here.

use super::visible::find_name;
use super::words::{trimmed, words_of};

/// Words that begin a clause of their own.
const BEGIN: &[&str] = &[
    "and", "but", "while", "whereas", "because", "which", "that", "who", "whose", "when", "so", "after", "before",
    "since", "although",
];
/// Words behind a value that say whose it is: `2 s in payments`.
const OF: &[&str] = &["of", "in", "by", "from", "at", "on", "for"];

/// The names in a text.
pub(super) struct Subjects<'a> {
    /// First byte, the byte behind the last, and the name, in the order of the text.
    found: Vec<(usize, usize, &'a str)>,
    /// Where clauses begin, rising.
    clauses: Vec<usize>,
}

impl<'a> Subjects<'a> {
    /// Finds names in a text; both are in lower case of ASCII. Longer names go first, because the key of a flag may
    /// begin with the name of a service.
    pub(super) fn of(text: &str, names: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = names.filter(|name| !name.trim().is_empty()).collect();
        names.sort_unstable_by_key(|name| (std::cmp::Reverse(name.len()), *name));
        names.dedup();
        let mut rest = text.to_owned();
        let mut found = Vec::new();
        for name in names {
            while let Some(at) = find_name(&rest, name) {
                rest.replace_range(at..at + name.len(), &" ".repeat(name.len()));
                found.push((at, at + name.len(), name));
            }
        }
        found.sort_unstable();
        let begins = |(at, word): (usize, &str)| match BEGIN.contains(&trimmed(word)) {
            true => Some(at),
            false => word.ends_with(';').then(|| at + word.len()),
        };
        // A word within a name begins nothing.
        let clauses = std::iter::once(0).chain(words_of(&rest).into_iter().filter_map(begins)).collect();
        Self { found, clauses }
    }

    /// The text without its names, each as many bytes of space.
    pub(super) fn masked(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for (begin, end, name) in &self.found {
            if masked.is_char_boundary(*begin) && masked.is_char_boundary(*end) {
                masked.replace_range(*begin..*end, &" ".repeat(name.len()));
            }
        }
        masked
    }

    /// What the words from `begin` to `end` are said of: the name right behind them (`2 s in payments`), else the names
    /// before them in their clause, else the last name of an earlier clause.
    pub(super) fn at(&self, text: &str, begin: usize, end: usize) -> Vec<&'a str> {
        if let Some(behind) = self.behind(text, end) {
            return vec![behind];
        }
        let clause = self.clauses.iter().rev().find(|at| **at <= begin).copied().unwrap_or_default();
        let before = || self.found.iter().filter(move |(at, _, _)| *at < begin);
        let own: Vec<&str> = before().filter(|(at, _, _)| *at >= clause).map(|(_, _, name)| *name).collect();
        if own.is_empty() { before().next_back().map(|(_, _, name)| *name).into_iter().collect() } else { own }
    }

    fn behind(&self, text: &str, end: usize) -> Option<&'a str> {
        let (at, _, name) = self.found.iter().find(|(at, _, _)| *at >= end)?;
        let between: Vec<&str> = text.get(end..*at)?.split_whitespace().map(trimmed).collect();
        let between: Vec<&str> = between.into_iter().filter(|word| !matches!(*word, "" | "the" | "service")).collect();
        matches!(between.as_slice(), [word] if OF.contains(word)).then_some(*name)
    }

    /// Each name with the byte behind it.
    pub(super) fn ends(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.found.iter().map(|(_, end, name)| (*end, *name))
    }

    /// The names that begin before a byte, and those from it on.
    pub(super) fn around(&self, at: usize) -> (Vec<&'a str>, Vec<&'a str>) {
        let (before, behind): (Vec<_>, Vec<_>) = self.found.iter().partition(|(begin, _, _)| *begin < at);
        let names = |part: Vec<&(usize, usize, &'a str)>| part.into_iter().map(|(_, _, name)| *name).collect();
        (names(before), names(behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value belongs to the names of its clause, or to the one behind it; without one, to the last that was named.
    #[test]
    fn values_have_subjects() {
        let names = ["checkout", "payments", "payments.mode", "get /stock"];
        for (text, value, wanted) in [
            ("checkout took 4 s", "4 s", &["checkout"][..]),
            ("checkout took 4 s and payments took 2 s", "2 s", &["payments"]),
            ("checkout waited 2 s in payments", "2 s", &["payments"]),
            ("payments, called by checkout, took 2 s", "2 s", &["payments", "checkout"]),
            ("checkout called payments, which took 2 s", "2 s", &["payments"]),
            ("payments.mode was strict", "strict", &["payments.mode"]),
            ("get /stock took 2 s", "2 s", &["get /stock"]),
            ("after 2 s", "2 s", &[]),
        ] {
            let at = text.find(value).unwrap_or_default();
            let subjects = Subjects::of(text, names.into_iter());
            assert_eq!(subjects.at(text, at, at + value.len()), wanted, "{text}");
        }
        let subjects = Subjects::of("payments.mode and payments", names.into_iter());
        assert_eq!(subjects.masked("payments.mode and payments").trim(), "and");
    }
}
