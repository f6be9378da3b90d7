//! Words that are replaced alike in everything that a suite consists of.

use aho_corasick::{AhoCorasick, MatchKind};

/// Replacements, the longest word first, in one pass: what was put in is not replaced again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pairs: Vec<(String, String)>,
}

impl Words {
    /// Names of a program: with each word goes the one that begins with a capital, and the one in capitals.
    pub(crate) fn names<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
        };
        let mut words = Self::default();
        for (from, to) in pairs {
            for (from, to) in
                [(from.clone(), to.clone()), (capital(from), capital(to)), (from.to_uppercase(), to.to_uppercase())]
            {
                words.add(from, to);
            }
        }
        words
    }

    /// Replaces one word more; a word that is there already stays as it is.
    pub(crate) fn add(&mut self, from: String, to: String) {
        if from.is_empty() || self.pairs.iter().any(|(known, _)| *known == from) {
            return;
        }
        self.pairs.push((from, to));
    }

    /// The text with every word replaced.
    pub(crate) fn replace(&self, text: &str) -> String {
        let (from, to): (Vec<&String>, Vec<&String>) = self.pairs.iter().map(|(from, to)| (from, to)).unzip();
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(from);
        // It fails for gigabytes of words only, and a suite's are a table that somebody wrote.
        built.map_or_else(|_| text.to_owned(), |found| found.replace_all(text, &to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words are replaced in every case of letters, the longest first, and what was put in stays.
    #[test]
    fn words_are_replaced_once() {
        let pairs = [("pay", "owe"), ("payments", "paychecks")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let words = Words::names(pairs.iter().map(|(from, to)| (from, to)));
        assert_eq!(words.replace("pay payments Payments PAYMENTS é"), "owe paychecks Paychecks PAYCHECKS é");
        assert_eq!(Words::default().replace("pay"), "pay");
    }
}
