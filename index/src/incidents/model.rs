//! Where a model's files and ONNX Runtime lie. Nothing is ever downloaded from here.

use std::path::{Path, PathBuf};

use super::embedder::EmbeddingError;
use super::gloss::Form;
use super::hashed;

/// Files of a model's folder, as sentence models are published.
pub(super) const ONNX: &str = "model.onnx";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const CONFIG: &str = "config.json";
pub(super) const SPECIAL_TOKENS: &str = "special_tokens_map.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Only some models have it: how token vectors become one.
pub(super) const POOLING: &str = "1_Pooling/config.json";

/// Which model a configuration means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Hashed n-grams: no files.
    Hashed,
    /// An ONNX model in a folder.
    Folder {
        /// Name of the model, or of the folder.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// Whether the name says which model it is: one in the cache does, somebody's own folder may
        /// hold another model tomorrow.
        named: bool,
        /// ONNX Runtime's shared library.
        library: PathBuf,
    },
}

impl Source {
    /// `model`: a name, or a folder. Models by name lie in `CACHE/models/NAME`, ONNX Runtime where
    /// `ORT_DYLIB_PATH` says, else in `CACHE/onnxruntime`.
    pub(super) fn of(model: &str, cache: &Path) -> Self {
        if model == hashed::NAME {
            return Self::Hashed;
        }
        let is_folder = model.contains(['/', '\\']) || Path::new(model).is_dir();
        let folder = if is_folder { PathBuf::from(model) } else { cache.join("models").join(model) };
        let name = folder.file_name().map_or_else(|| model.to_owned(), |name| name.to_string_lossy().into_owned());
        Self::Folder { name, folder: absolute(folder), named: !is_folder, library: library(cache) }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Hashed => hashed::NAME,
            Self::Folder { name, .. } => name,
        }
    }

    /// The form in which the model reads messages. Hashed n-grams compare spellings, which no explanation brings nearer.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Hashed => Form::Plain,
            Self::Folder { .. } => Form::NEWEST,
        }
    }

    /// The first file that is missing, if any.
    pub(super) fn missing(&self) -> Option<EmbeddingError> {
        let Self::Folder { name, folder, library, .. } = self else { return None };
        [ONNX, TOKENIZER, CONFIG, SPECIAL_TOKENS, TOKENIZER_CONFIG]
            .iter()
            .map(|file| folder.join(file))
            .chain([library.clone()])
            .find(|path| !path.is_file())
            .map(|missing| EmbeddingError::Absent { model: name.clone(), missing })
    }
}

fn library(cache: &Path) -> PathBuf {
    match std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        Some(path) => absolute(PathBuf::from(path)),
        None => {
            let file = format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
            absolute(cache.join("onnxruntime").join(file))
        }
    }
}

/// The loader would look for a relative path beside the executable first.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
