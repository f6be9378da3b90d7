//! An embedder without a model: hashed character n-grams.
//!
//! It finds texts that share spellings, not meanings, which after masking is most of what makes two
//! failures the same. It needs no files and gives the same vectors everywhere.

use xxhash_rust::xxh3::xxh3_64;

use super::embedder::{Embedder, EmbeddingError};

/// Name in configuration and tables.
pub(super) const NAME: &str = "hashed-ngrams";
/// Numbers in a vector: those of the default sentence model, so that one index layout fits both.
pub(super) const DIMENSION: usize = 384;
/// Characters in a gram.
const SIZES: std::ops::RangeInclusive<usize> = 3..=5;

/// Character n-grams (3 to 5) within words, hashed into 384 signed buckets.
#[derive(Debug, Clone, Copy, Default)]
pub struct HashedNgrams;

impl HashedNgrams {
    /// The vector of one text. Never all zeros, so every text has a direction.
    pub fn vector(text: &str) -> Vec<f32> {
        let mut vector = vec![0_f32; DIMENSION];
        let lower = text.to_lowercase();
        let mut padded = String::new();
        let mut starts = Vec::new();
        for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            // The blanks make the beginning and the end of a word grams of their own.
            padded.clear();
            padded.push(' ');
            padded.push_str(word);
            padded.push(' ');
            starts.clear();
            starts.extend(padded.char_indices().map(|(start, _)| start));
            starts.push(padded.len());
            for size in SIZES {
                for window in starts.windows(size + 1) {
                    let hash = xxh3_64(&padded.as_bytes()[window[0]..window[size]]);
                    let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
                    vector[(hash % DIMENSION as u64) as usize] += sign;
                }
            }
        }
        // A word that is repeated says little more than the word itself.
        for value in &mut vector {
            *value = value.signum() * value.abs().ln_1p();
        }
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        if norm > 0.0 {
            vector.iter_mut().for_each(|value| *value /= norm);
        } else {
            vector[0] = 1.0;
        }
        vector
    }
}

impl Embedder for HashedNgrams {
    fn name(&self) -> &str {
        NAME
    }

    fn dimension(&self) -> usize {
        DIMENSION
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        Ok(texts.iter().map(|text| Self::vector(text)).collect())
    }
}
