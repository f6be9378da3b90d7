//! What a text speaks of at a place of it: the names in the same clause. By words, as everything here.

use super::visible::find_name;
use super::words::{trimmed, words_of};

/// Words that begin a clause of their own.
const BEGIN: &[&str] = &[
    "and", "but", "while", "whereas", "because", "which", "that", "who", "whose", "when", "so", "after", "before",
    "since", "although", "then",
];
/// Words that go back to the clause before once their own has ended: `payments, which checkout calls, took 2 s`.
const RELATIVE: &[&str] = &["which", "that", "who", "whose", "when", "while"];
/// Words that lead up to the main part of a clause.
const LEADING: &[&str] = &["with", "under", "following", "given", "in", "on", "during", "having", "by", "at"];
/// Words behind a value that say whose it is: `2 s in payments`.
const OF: &[&str] = &["of", "in", "by", "from", "at", "on", "for", "inside", "within"];
/// The same with others after which a name only says more of another one: `payments under checkout took 2 s`.
const MORE: &[&str] = &["under", "below", "above", "beneath", "with", "like", "via", "through", "behind"];

/// Whether a word begins a clause of its own.
pub(super) fn begins_clause(word: &str) -> bool {
    BEGIN.contains(&word)
}

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
        let comma = self.main(text, clause, begin);
        let own: Vec<&str> = before().filter(|(at, _, _)| *at >= comma).map(|(_, _, name)| *name).collect();
        if own.is_empty() { before().next_back().map(|(_, _, name)| *name).into_iter().collect() } else { own }
    }

    /// Where the main part of a clause begins: behind the comma after what only leads up to it (`with the flag on, payments
    /// failed`), if that part names something before `begin`.
    fn main(&self, text: &str, clause: usize, begin: usize) -> usize {
        let part = text.get(clause..begin).unwrap_or_default();
        let word = part.split_whitespace().next().map(trimmed).unwrap_or_default();
        let comma = part.find(", ").map(|at| clause + at).filter(|_| LEADING.contains(&word)).unwrap_or(clause);
        let is_named = self.found.iter().any(|(at, _, _)| (comma..begin).contains(at));
        if is_named { comma } else { clause }
    }

    /// What a value from `begin` to `end` is said of, which is one of these: like [`Self::at`], but without names that only
    /// say more of another one of the clause, behind a preposition, in parentheses or between commas.
    pub(super) fn of_value(&self, text: &str, begin: usize, end: usize) -> Vec<&'a str> {
        if let Some(behind) = self.behind(text, end) {
            return vec![behind];
        }
        let index = self.clauses.iter().rposition(|at| *at <= begin).unwrap_or_default();
        let clause = self.clauses.get(index).copied().unwrap_or_default();
        let within = |from: usize, to: usize| -> Vec<&(usize, usize, &'a str)> {
            self.found.iter().filter(|(at, _, _)| (from..to).contains(at)).collect()
        };
        let mut own = within(clause, begin);
        let word = text.get(clause..).and_then(|rest| rest.split_whitespace().next()).map(trimmed).unwrap_or_default();
        let is_over =
            |(_, end, _): &&(usize, usize, &str)| text.get(*end..begin).is_some_and(|rest| rest.contains(", "));
        if RELATIVE.contains(&word) && own.last().is_some_and(is_over) {
            let outer =
                within(index.checked_sub(1).and_then(|index| self.clauses.get(index)).copied().unwrap_or(0), clause);
            if !outer.is_empty() {
                own = outer;
            }
        }
        let place = enclosing(text, begin);
        let beside: Vec<_> =
            own.iter().filter(|(at, _, _)| place.is_some() && enclosing(text, *at) == place).copied().collect();
        if !beside.is_empty() {
            own = beside;
        }
        let first = own.first().map(|(_, end, _)| *end).unwrap_or_default();
        let says_more = |(at, end, _): &&&(usize, usize, &str)| {
            let before = text.get(clause.min(*at)..*at).unwrap_or_default();
            let mut words = before.split_whitespace().rev().map(trimmed);
            let word = words.find(|word| !matches!(*word, "" | "the" | "service")).unwrap_or_default();
            let has_comma = |from: usize, to: usize| text.get(from..to).is_some_and(|part| part.contains(", "));
            OF.contains(&word)
                || MORE.contains(&word)
                || (enclosing(text, *at).is_some() && enclosing(text, *at) != place)
                || (*at > first && has_comma(first, *at) && has_comma(*end, begin))
        };
        // Behind `to` stands what a call goes to, which may be what it is named by, too.
        let goes_to = |(at, _, _): &&&(usize, usize, &str)| {
            text.get(..*at).unwrap_or_default().split_whitespace().next_back().is_some_and(|word| word == "to")
        };
        let is_named = own.iter().any(|name| !says_more(&name) && !goes_to(&name));
        if is_named {
            own.retain(|name| !says_more(&name));
        }
        match own.is_empty() {
            true => {
                self.found.iter().rev().find(|(at, _, _)| *at < begin).map(|(_, _, name)| *name).into_iter().collect()
            }
            false => own.into_iter().map(|(_, _, name)| *name).collect(),
        }
    }

    /// The one name that stands nearest to a value: right behind it, else before it in its part of the clause, else
    /// behind it there, else the last before.
    pub(super) fn nearest(&self, text: &str, begin: usize, end: usize) -> Option<&'a str> {
        if let Some(behind) = self.behind(text, end) {
            return Some(behind);
        }
        let clause = self.clauses.iter().rev().find(|at| **at <= begin).copied().unwrap_or_default();
        let comma = text.get(..begin).and_then(|before| before.rfind(", ")).unwrap_or_default();
        let next = self.clauses.iter().find(|at| **at > begin).copied().unwrap_or(text.len());
        let stop = text.get(end..).and_then(|rest| rest.find(", ")).map_or(text.len(), |at| end + at);
        let before = |from: usize| self.found.iter().rev().find(|(at, _, _)| (from..begin).contains(at));
        let behind = || self.found.iter().find(|(at, _, _)| (end..next.min(stop)).contains(at));
        before(clause.max(comma)).or_else(behind).or_else(|| before(0)).map(|(_, _, name)| *name)
    }

    /// The first name behind a byte, in the same clause.
    pub(super) fn next(&self, end: usize) -> Option<&'a str> {
        let clause = self.clauses.iter().find(|at| **at >= end).copied().unwrap_or(usize::MAX);
        self.found.iter().find(|(at, _, _)| (end..clause).contains(at)).map(|(_, _, name)| *name)
    }

    /// Whether a name begins at a byte.
    pub(super) fn has_at(&self, at: usize) -> bool {
        self.found.iter().any(|(begin, _, _)| *begin == at)
    }

    /// Whether no name begins before a byte.
    pub(super) fn is_first(&self, at: usize) -> bool {
        self.found.first().is_none_or(|(begin, _, _)| *begin >= at)
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

/// The byte of the parenthesis that a place stands in.
fn enclosing(text: &str, at: usize) -> Option<usize> {
    let mut open = Vec::new();
    for (place, c) in text.get(..at).unwrap_or_default().char_indices() {
        match c {
            '(' => open.push(place),
            ')' => {
                open.pop();
            }
            _ => {}
        }
    }
    open.pop()
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
        for (text, wanted) in [
            ("payments, called by checkout, took 2 s", "payments"),
            ("payments (called by checkout) took 2 s", "payments"),
            ("payments, which checkout called, took 2 s", "payments"),
            ("payments, like checkout, took 2 s", "payments"),
            ("in checkout, payments took 2 s", "payments"),
            ("the call in payments took 2 s", "payments"),
            ("checkout called payments, which took 2 s", "payments"),
        ] {
            let at = text.find("2 s").unwrap_or_default();
            let subjects = Subjects::of(text, names.into_iter());
            assert_eq!(subjects.of_value(text, at, at + 3), [wanted], "{text}");
        }
        let subjects = Subjects::of("payments.mode and payments", names.into_iter());
        assert_eq!(subjects.masked("payments.mode and payments").trim(), "and");
    }
}
