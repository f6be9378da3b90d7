//! Search by words where no index does it: BM25 over texts in memory.

use std::collections::HashMap;

/// Saturation of repeated words, and how much the length of a text counts: the usual values of BM25.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Different words of a question that count.
const MOST_WORDS: usize = 64;
/// A text whose score is below this part of the best is a chance hit on a common word.
const LEAST_SHARE: f64 = 0.1;

/// A text's words in lower case: runs of letters and digits, as Lance's `simple` tokenizer has them.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Words of a question that say nothing about a failure. Texts keep them; only questions lose them.
const FUNCTION_WORDS: [&str; 48] = [
    "a", "about", "after", "all", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "did", "do",
    "does", "for", "from", "had", "has", "have", "how", "i", "in", "is", "it", "its", "my", "of", "on", "or", "our",
    "that", "the", "there", "this", "to", "was", "we", "were", "what", "when", "where", "which", "why", "with",
];

/// Words of a question that a text has, by number, and how often.
type WordTimes = Vec<(usize, f64)>;

/// What a text has of a question's words.
#[derive(Debug, Default)]
pub(super) struct Counted {
    found: WordTimes,
    /// All of its words.
    words: usize,
}

impl Counted {
    /// Of a text whose words are given in their order, each as the number of the question's word that it is.
    pub(super) fn of(words: impl Iterator<Item = Option<usize>>) -> Self {
        let mut counted = Self::default();
        for word in words {
            counted.words += 1;
            let Some(word) = word else { continue };
            match counted.found.iter_mut().find(|(known, _)| *known == word) {
                Some((_, times)) => *times += 1.0,
                None => counted.found.push((word, 1.0)),
            }
        }
        counted
    }
}

/// The different words of a question.
#[derive(Debug, Default)]
pub(super) struct Query {
    words: HashMap<String, usize>,
}

impl Query {
    pub(super) fn new(text: &str) -> Self {
        let lower = text.to_lowercase();
        let telling = |word: &&str| FUNCTION_WORDS.binary_search(word).is_err();
        // A question of nothing else is taken as it is.
        let only_function_words = tokens(&lower).all(|word| !telling(&word));
        let mut words = HashMap::new();
        for word in tokens(&lower).filter(|word| only_function_words || telling(word)) {
            if words.len() == MOST_WORDS {
                break;
            }
            let next = words.len();
            words.entry(word.to_owned()).or_insert(next);
        }
        Self { words }
    }

    /// The words for an index that splits texts as [`tokens`] does.
    pub(super) fn text(&self) -> String {
        let mut words: Vec<&str> = self.words.keys().map(String::as_str).collect();
        words.sort_unstable();
        words.join(" ")
    }

    /// The words with their numbers, in no order.
    pub(super) fn words(&self) -> impl Iterator<Item = (&str, usize)> {
        self.words.iter().map(|(word, number)| (word.as_str(), *number))
    }

    /// What a text has of the words.
    pub(super) fn count(&self, text: &str) -> Counted {
        let lower = text.to_lowercase();
        Counted::of(tokens(&lower).map(|word| self.words.get(word).copied()))
    }

    /// Texts that share a word with the question, as index and score, best first. `total` is the number of
    /// texts that these are taken from.
    pub(super) fn rank(&self, texts: impl Iterator<Item = Counted>, total: usize) -> Vec<(usize, f64)> {
        let mut frequencies = vec![0_usize; self.words.len()];
        let mut hits: Vec<(usize, usize, WordTimes)> = Vec::new();
        let (mut count, mut length) = (0_usize, 0_usize);
        for (index, Counted { found, words }) in texts.enumerate() {
            count += 1;
            length += words;
            if !found.is_empty() {
                found.iter().for_each(|(word, _)| frequencies[*word] += 1);
                hits.push((index, words, found));
            }
        }
        let total = total.max(count) as f64;
        let average = (length as f64 / count.max(1) as f64).max(1.0);
        let weight = |word: usize| {
            let frequency = frequencies[word] as f64;
            (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln()
        };
        let score = |words: usize, found: &[(usize, f64)]| -> f64 {
            let norm = K1 * (1.0 - B + B * words as f64 / average);
            found.iter().map(|(word, times)| weight(*word) * times * (K1 + 1.0) / (times + norm)).sum()
        };
        let mut ranked: Vec<(usize, f64)> =
            hits.iter().map(|(index, words, found)| (*index, score(*words, found))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let least = ranked.first().map_or(0.0, |(_, best)| best * LEAST_SHARE);
        ranked.retain(|(_, score)| *score >= least);
        ranked
    }

    /// The part of the question's words that a text has, 0 to 1.
    pub(super) fn coverage(&self, text: &str) -> f64 {
        self.shared(text, usize::MAX).len() as f64 / self.words.len().max(1) as f64
    }

    /// Words that a text shares with the question, longest first: long words are seldom common ones.
    pub(super) fn shared(&self, text: &str, most: usize) -> Vec<String> {
        let lower = text.to_lowercase();
        let mut shared: Vec<&str> = tokens(&lower).filter(|word| self.words.contains_key(*word)).collect();
        shared.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        shared.dedup();
        shared.into_iter().take(most).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Function words do not count beside others, and alone they do.
    #[test]
    fn function_words_are_left_out_of_questions() {
        assert!(FUNCTION_WORDS.is_sorted());
        assert_eq!(Query::new("Why was the disk full?").text(), "disk full");
        assert_eq!(Query::new("what is it").text(), "is it what");
    }

    /// A rare word outweighs common ones, and a text without any of the words is no hit.
    #[test]
    fn rare_words_decide() {
        let texts = ["order failed", "order failed again", "order 4711 is late", "nothing of it", "order failed too"];
        let query = Query::new("order 4711 failed");
        let ranked = query.rank(texts.iter().map(|text| query.count(text)), texts.len());
        assert_eq!(ranked[0].0, 2);
        assert!(ranked.iter().all(|(index, _)| *index != 3));
        assert_eq!(Query::new("Order 4711").shared("the order 4711 order", 3), ["order", "4711"]);
    }
}
