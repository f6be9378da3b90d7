//! A sentence model as the rest of the program holds it: cheap to make, loaded once, shared.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::embedder::{Embedder, EmbeddingError};
use super::fast::FastEmbedder;
use super::hashed::HashedNgrams;
use super::model::Source;

/// After this time a model that could not be loaded is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long another model stays loaded that nobody asks for.
const KEEPS_OTHER: Duration = Duration::from_secs(600);

/// What vectors are stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name of the model. That of a folder of one's own has a hash of the model file at its end.
    pub name: String,
    /// Numbers in a vector.
    pub dimension: usize,
}

/// A sentence model that is loaded when it is first used. Clones share it.
#[derive(Clone)]
pub struct Embedding {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    cache: PathBuf,
    state: Mutex<State>,
    /// The model that was configured before, while there is need of it, and when it was asked for last.
    other: Mutex<Option<(Embedding, Instant)>>,
}

#[derive(Default)]
enum State {
    #[default]
    New,
    Loaded(Box<dyn Embedder>, Model),
    Failed(Instant, EmbeddingError),
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedding").field("source", &self.inner.source).finish_non_exhaustive()
    }
}

impl Embedding {
    /// The model of a configuration: `all-MiniLM-L6-v2` or another name below `CACHE/models`,
    /// `hashed-ngrams`, or a folder with an ONNX model and its tokenizer. Nothing is read yet.
    pub fn new(model: &str, cache: &Path) -> Self {
        let source = Source::of(model, cache);
        let (state, other) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { source, cache: cache.to_owned(), state, other }) }
    }

    /// Another model of the same cache. It stays loaded until yet another one is asked for, or this one has not been for
    /// a while ([`Embedding::forget_other`]).
    #[must_use]
    pub fn other(&self, model: &str) -> Self {
        let mut other = self.inner.other.lock().unwrap_or_else(PoisonError::into_inner);
        let known = other.take().map(|(known, _)| known).filter(|known| known.model_name() == model);
        let wanted = known.unwrap_or_else(|| Self::new(model, &self.inner.cache));
        *other = Some((wanted.clone(), Instant::now()));
        wanted
    }

    /// Gives back the memory of another model that nobody has asked for lately. Some tenants may need it still while
    /// others do not, and to load it takes seconds.
    pub fn forget_other(&self) {
        let mut other = self.inner.other.lock().unwrap_or_else(PoisonError::into_inner);
        if other.as_ref().is_some_and(|(_, asked)| asked.elapsed() > KEEPS_OTHER) {
            *other = None;
        }
    }

    /// Name of the model as configured.
    pub fn model_name(&self) -> &str {
        self.inner.source.name()
    }

    /// The model as vectors are stored under it. Loads it.
    ///
    /// # Errors
    /// One that [`EmbeddingError::is_unavailable`], if the model is not there.
    pub async fn model(&self) -> Result<Model, EmbeddingError> {
        self.blocking(|_, model| Ok(model.clone())).await
    }

    /// One vector a text.
    ///
    /// # Errors
    /// One that [`EmbeddingError::is_unavailable`], if the model is not there.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        if texts.is_empty() {
            return Ok(vec![]);
        }
        self.blocking(move |embedder, model| {
            let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = embedder.embed(&borrowed)?;
            let fits = vectors.len() == texts.len() && vectors.iter().all(|vector| vector.len() == model.dimension);
            if !fits {
                let detail = format!("it gave {} vectors for {} texts", vectors.len(), texts.len());
                return Err(EmbeddingError::Failed { model: model.name.clone(), detail });
            }
            Ok(vectors)
        })
        .await
    }

    /// Runs on a thread that may be kept busy: a model takes milliseconds a text.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Embedder, &Model) -> Result<T, EmbeddingError> + Send + 'static,
    ) -> Result<T, EmbeddingError> {
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let mut state = inner.loaded()?;
            match &mut *state {
                State::Loaded(embedder, model) => work(embedder.as_mut(), model),
                State::Failed(_, error) => Err(error.clone()),
                State::New => Err(inner.unusable("it was not loaded".to_owned())),
            }
        });
        task.await.unwrap_or_else(|error| {
            Err(EmbeddingError::Failed { model: self.model_name().to_owned(), detail: error.to_string() })
        })
    }
}

impl Inner {
    /// The state after an attempt to load, where one is due.
    fn loaded(&self) -> Result<MutexGuard<'_, State>, EmbeddingError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Loaded(..) => return Ok(state),
            State::Failed(at, error) if at.elapsed() < RETRY_AFTER => return Err(error.clone()),
            State::New | State::Failed(..) => {}
        }
        // Files may come at any time, and looking for them costs nothing.
        if let Some(absent) = self.source.missing() {
            *state = State::New;
            return Err(absent);
        }
        *state = match self.load() {
            Ok(embedder) => {
                let model = Model { name: embedder.name().to_owned(), dimension: embedder.dimension() };
                tracing::info!(model = model.name, dimension = model.dimension, "sentence model loaded");
                State::Loaded(embedder, model)
            }
            Err(error) => State::Failed(Instant::now(), error),
        };
        Ok(state)
    }

    fn load(&self) -> Result<Box<dyn Embedder>, EmbeddingError> {
        match &self.source {
            Source::Hashed => Ok(Box::new(HashedNgrams)),
            Source::Folder { name, folder, named, library } => {
                Ok(Box::new(FastEmbedder::load(name, folder, *named, library)?))
            }
        }
    }

    fn unusable(&self, detail: String) -> EmbeddingError {
        EmbeddingError::Unusable { model: self.source.name().to_owned(), detail }
    }
}
