//! Hubs: stored texts that are near to any plain sentence, whatever it is about.
//!
//! In many dimensions some vectors are among the nearest of far more questions than others are, and stand before what a
//! question is about. How much a text is one of them is measured against a bank of plain sentences about failures in general
//! (`plain.txt`): by how near it is to those of them that are nearest to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use tracerag_index::incidents::vectors::Kind;

use super::corpus::Corpus;
use super::small::dot;
use crate::error::{QueryError, Result};

const SENTENCES: &str = include_str!("plain.txt");
/// Sentences that a text is held against: those that are nearest to it.
const NEAREST: usize = 5;

/// The vectors of the bank's sentences by one model.
#[derive(Debug)]
pub(super) struct Bank {
    vectors: Vec<Vec<f32>>,
}

impl Bank {
    /// Of vectors of length 1, as models give them.
    pub(super) fn of(vectors: Vec<Vec<f32>>) -> Self {
        Self { vectors }
    }

    /// How much a text with a vector is a hub: the mean of its highest cosines with the sentences.
    pub(super) fn hub(&self, vector: &[f32]) -> f64 {
        let mut near: Vec<f32> = self.vectors.iter().map(|sentence| dot(sentence, vector)).collect();
        near.sort_by(|one, other| other.total_cmp(one));
        near.truncate(NEAREST);
        let norm = f64::from(dot(vector, vector)).sqrt() * near.len() as f64;
        if norm > 0.0 { near.into_iter().map(f64::from).sum::<f64>() / norm } else { 0.0 }
    }
}

/// A bank that is there, or is being embedded.
type Kept = Arc<OnceCell<Arc<Bank>>>;

/// The banks of the models that were asked so far; clones share them.
#[derive(Clone, Default)]
pub(super) struct Banks {
    kept: Arc<Mutex<HashMap<String, Kept>>>,
}

impl Banks {
    /// The bank by the model and in the form whose vectors are searched. It takes some tenths of a second the first time,
    /// for which whoever asks waits: an answer does not depend on who came first.
    pub(super) async fn of(&self, corpus: &Corpus) -> Result<Arc<Bank>> {
        let kept = self.kept(corpus.table_name());
        let embed = async {
            let vectors = corpus.embed(Kind::Masked, sentences().map(str::to_owned).collect()).await?;
            Ok::<_, QueryError>(Arc::new(Bank::of(vectors)))
        };
        kept.get_or_try_init(|| embed).await.map(Arc::clone)
    }

    fn kept(&self, table: &str) -> Kept {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(table.to_owned()).or_default())
    }
}

fn sentences() -> impl Iterator<Item = &'static str> {
    SENTENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use tracerag_index::failures::mask::mask;
    use tracerag_index::incidents::Embedding;

    use super::super::plain::is_plain;
    use super::*;

    /// The bank is fifty different questions in plain words, which every form of a model reads as they are.
    #[test]
    fn the_bank_is_plain_words() {
        let model = Embedding::new("all-MiniLM-L6-v2", Path::new("/nonexistent"));
        let bank: HashSet<&str> = sentences().collect();
        assert_eq!((bank.len(), sentences().count()), (50, 50));
        for sentence in bank {
            assert!(is_plain(sentence) && mask(sentence) == sentence && model.reads_as_is(sentence), "{sentence}");
        }
    }

    /// A text's measure is the mean of its five highest cosines: of a small bank that of all, and of what has no direction
    /// nothing. The length of its vector does not count.
    #[test]
    fn the_nearest_sentences_count() {
        let bank = Bank::of(vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![0.6, 0.8]]);
        for length in [1.0, 3.0] {
            let hub = bank.hub(&[length, 0.0]);
            assert!((hub - 1.6 / 3.0).abs() < 1e-6, "{hub}");
        }
        let mut sentences = vec![vec![1.0, 0.0]; 5];
        sentences.extend(vec![vec![-1.0, 0.0]; 45]);
        assert!((Bank::of(sentences).hub(&[1.0, 0.0]) - 1.0).abs() < 1e-6);
        assert!(bank.hub(&[0.0, 0.0]).abs() < 1e-9);
        assert!(Bank::of(vec![]).hub(&[1.0, 0.0]).abs() < 1e-9);
    }
}
