//! The floor of similarity: TF-IDF over n-grams of characters within words, as scikit-learn's `char_wb` with 3 to 5 makes
//! them, with smooth idf and cosine. A text that was masked beforehand has every run of digits as `0`, then runs of eight
//! and more hex digits as `<hex>`.

use std::collections::HashMap;

/// Characters of an n-gram.
const GRAMS: std::ops::RangeInclusive<usize> = 3..=5;
/// Hex digits from which a run is an id.
const HEX: usize = 8;

/// Texts as sparse vectors of length 1, and the postings to compare them by.
pub(super) struct TfIdf {
    texts: Vec<Vec<(usize, f32)>>,
    /// By term, the texts that have it, with its weight.
    postings: Vec<Vec<(usize, f32)>>,
}

impl TfIdf {
    pub(super) fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut terms: HashMap<String, usize> = HashMap::new();
        let mut counted: Vec<HashMap<usize, f32>> = Vec::new();
        for text in texts {
            let mut counts: HashMap<usize, f32> = HashMap::new();
            for gram in grams(text) {
                let next = terms.len();
                let term = *terms.entry(gram).or_insert(next);
                *counts.entry(term).or_default() += 1.0;
            }
            counted.push(counts);
        }
        let mut document_counts = vec![0_usize; terms.len()];
        for term in counted.iter().flat_map(HashMap::keys) {
            document_counts[*term] += 1;
        }
        let all = counted.len() as f32;
        let mut postings = vec![Vec::new(); terms.len()];
        let mut vectors = Vec::with_capacity(counted.len());
        for (number, counts) in counted.into_iter().enumerate() {
            let idf = |term: usize| ((1.0 + all) / (1.0 + document_counts[term] as f32)).ln() + 1.0;
            let mut vector: Vec<(usize, f32)> =
                counts.into_iter().map(|(term, count)| (term, count * idf(term))).collect();
            // Sums depend on the order, and a hash map has none.
            vector.sort_by_key(|(term, _)| *term);
            let length = vector.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
            for (term, weight) in &mut vector {
                *weight /= length;
                postings[*term].push((number, *weight));
            }
            vectors.push(vector);
        }
        Self { texts: vectors, postings }
    }

    /// Cosines of one of the texts with all of them.
    pub(super) fn cosines(&self, number: usize) -> Vec<f32> {
        let mut cosines = vec![0.0; self.texts.len()];
        for (term, weight) in &self.texts[number] {
            for (other, weight_of_other) in &self.postings[*term] {
                cosines[*other] += weight * weight_of_other;
            }
        }
        cosines
    }
}

/// N-grams of the words of a text, each with a space before and behind it. Of a word that is shorter than an n-gram there
/// is one.
fn grams(text: &str) -> Vec<String> {
    let mut grams = Vec::new();
    for word in text.to_lowercase().split_whitespace() {
        let word: Vec<char> = std::iter::once(' ').chain(word.chars()).chain(std::iter::once(' ')).collect();
        for length in GRAMS {
            if word.len() <= length {
                grams.push(word.iter().collect());
                break;
            }
            grams.extend(word.windows(length).map(|gram| gram.iter().collect::<String>()));
        }
    }
    grams
}

/// The mask of the floor.
pub(super) fn masked(text: &str) -> String {
    let mut digits = String::with_capacity(text.len());
    for letter in text.chars() {
        if !letter.is_ascii_digit() {
            digits.push(letter);
        } else if !digits.ends_with('0') {
            digits.push('0');
        }
    }
    let mut out = String::with_capacity(digits.len());
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let run = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (hex, behind) = rest.split_at(run);
        out.push_str(if run >= HEX { "<hex>" } else { hex });
        let other = behind.find(|letter: char| letter.is_ascii_hexdigit()).unwrap_or(behind.len());
        let (between, next) = behind.split_at(other);
        out.push_str(between);
        rest = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{TfIdf, grams, masked};

    /// Digits and long hex runs are masked and short words stay, and the n-grams are those that scikit-learn documents:
    /// so the floor is the published method, and a figure beside it says something.
    #[test]
    fn the_floor_is_the_published_one() {
        assert_eq!(masked("order 4711 of deadbeefcafe took 12ms"), "order 0 of <hex> took 0ms");
        assert_eq!(grams("ab"), [" ab", "ab ", " ab "]);
        let floor = TfIdf::new(["order paid", "order paid late", "warehouse burns"].into_iter());
        let cosines = floor.cosines(0);
        assert!((cosines[0] - 1.0).abs() < 1e-5, "{cosines:?}");
        assert!(cosines[1] > cosines[2], "{cosines:?}");
    }
}
