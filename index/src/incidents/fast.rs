//! The embedder behind fastembed: a sentence model in ONNX form, run by ONNX Runtime.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fastembed::{
    InitOptionsUserDefined, Pooling, QuantizationMode, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel,
};
use ort::environment::Environment;
use xxhash_rust::xxh3::xxh3_64;

use super::embedder::{Embedder, EmbeddingError};
use super::model;

/// Tokens that are read of a text: all-MiniLM-L6-v2 was trained on 256, and longer texts gain nothing.
const MAX_TOKENS: usize = 256;
/// Texts in one run. One by one is as fast on a CPU (nothing is padded), and a model that is quantised
/// at run time gives a text other vectors in other company.
const BATCH: usize = 1;
/// Texts whose token vectors are held at once.
const HELD: usize = 16;

/// A sentence model in ONNX form.
pub(super) struct FastEmbedder {
    name: String,
    dimension: usize,
    model: TextEmbedding,
}

impl FastEmbedder {
    /// Loads a model from a folder. `named`: the name says which model it is; otherwise the content of
    /// the file becomes part of the name.
    pub(super) fn load(name: &str, folder: &Path, named: bool, library: &Path) -> Result<Self, EmbeddingError> {
        let unusable = |detail: String| EmbeddingError::Unusable { model: name.to_owned(), detail };
        let read = |file: &str| {
            let path = folder.join(file);
            std::fs::read(&path).map_err(|error| unusable(format!("{}: {error}", path.display())))
        };
        let environment = environment(library).map_err(unusable)?;
        let onnx = read(model::ONNX)?;
        let own_name = if named { name.to_owned() } else { format!("{name}-{:016x}", xxh3_64(&onnx)) };
        let files = TokenizerFiles {
            tokenizer_file: read(model::TOKENIZER)?,
            config_file: read(model::CONFIG)?,
            special_tokens_map_file: read(model::SPECIAL_TOKENS)?,
            tokenizer_config_file: read(model::TOKENIZER_CONFIG)?,
        };
        let definition = UserDefinedEmbeddingModel::new(onnx, files)
            .with_pooling(pooling(folder))
            .with_quantization(QuantizationMode::None);
        let mut options = InitOptionsUserDefined::new().with_max_length(MAX_TOKENS).with_intra_threads(1);
        if let Some(environment) = environment {
            options = options.with_environment(environment);
        }
        let model = TextEmbedding::try_new_from_user_defined(definition, options)
            .map_err(|error| unusable(error.to_string()))?;
        let mut embedder = Self { name: own_name, dimension: 0, model };
        let probe = embedder.run(&["dimension"]).map_err(|error| unusable(error.to_string()))?;
        embedder.dimension = probe.first().map_or(0, Vec::len);
        if embedder.dimension == 0 {
            return Err(unusable("its vectors are empty".to_owned()));
        }
        Ok(embedder)
    }

    fn run(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for part in texts.chunks(HELD) {
            let part = self
                .model
                .embed(part, Some(BATCH))
                .map_err(|error| EmbeddingError::Failed { model: self.name.clone(), detail: error.to_string() })?;
            vectors.extend(part);
        }
        Ok(vectors)
    }
}

impl Embedder for FastEmbedder {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.run(texts)
    }
}

/// fastembed takes the first token's vector unless told otherwise, which is silently wrong for MiniLM.
fn pooling(folder: &Path) -> Pooling {
    let takes_first_token = std::fs::read(folder.join(model::POOLING))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|config| config.get("pooling_mode_cls_token")?.as_bool())
        .unwrap_or(false);
    if takes_first_token { Pooling::Cls } else { Pooling::Mean }
}

/// ONNX Runtime's environment, of which a process may have one only. It is made once and kept: loading
/// the library here gives an error where the lazy way of the binding would panic.
///
/// `None`: something else in this process made one already, and the binding finds that by itself.
fn environment(library: &Path) -> Result<Option<Environment>, String> {
    static KEPT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        match builder.with_name("tracerag").with_telemetry(false).build() {
            Ok(environment) => *kept = Some(environment),
            Err(error) => tracing::debug!(%error, "another environment of onnx runtime is used"),
        }
    }
    Ok(kept.clone())
}
