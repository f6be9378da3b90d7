//! What every sentence model offers, and what can go wrong with one.

use std::path::PathBuf;

/// Gives texts their vectors. Vectors are L2-normalised, so that cosine is what compares them.
pub trait Embedder: Send {
    /// The model's name, which is stored with each vector; vectors of two names never meet.
    fn name(&self) -> &str;

    /// Numbers in a vector.
    fn dimension(&self) -> usize;

    /// One vector a text, in the order of the texts. The vector of a text does not depend on the
    /// texts beside it.
    ///
    /// # Errors
    /// [`EmbeddingError::Failed`] if the model gives none.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbeddingError>;
}

/// Why there are no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// A file of the model, or ONNX Runtime, is not on this machine.
    #[error(
        "the sentence model {model} is not installed ({} is missing); fetch it with scripts/fetch-model.sh, or set [embedding] model = \"hashed-ngrams\"",
        missing.display()
    )]
    Absent {
        /// Name of the model.
        model: String,
        /// The first file that is missing.
        missing: PathBuf,
    },
    /// The files are there but cannot be used.
    #[error(
        "the sentence model {model} cannot be loaded: {detail}; fetch it again with scripts/fetch-model.sh, or set [embedding] model = \"hashed-ngrams\""
    )]
    Unusable {
        /// Name of the model.
        model: String,
        /// What the loader said.
        detail: String,
    },
    /// A loaded model gave no vectors.
    #[error("the sentence model {model} failed on a text: {detail}; use another with [embedding] model")]
    Failed {
        /// Name of the model.
        model: String,
        /// What it said.
        detail: String,
    },
}

impl EmbeddingError {
    /// Whether the model is not there: texts wait, and everything else goes on.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Unusable { .. })
    }
}
