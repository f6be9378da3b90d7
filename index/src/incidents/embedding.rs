//! A sentence model as the rest of the program holds it: cheap to make, loaded once, shared.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::embedder::{Embedder, EmbeddingError};
use super::fast::FastEmbedder;
use super::gloss::Form;
use super::hashed::HashedNgrams;
use super::model::Source;
use super::vectors::Kind;

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
    /// The form in which it reads masked texts. Texts of other kinds are read as they are.
    pub form: Form,
}

impl Model {
    /// What is stored with a vector of a text of a kind: the name, and behind it the form where that is not plain.
    #[must_use]
    pub fn stored_name(&self, kind: Kind) -> String {
        format!("{}{}", self.name, self.form_of(kind))
    }

    /// The form in which it reads texts of a kind.
    pub(super) fn form_of(&self, kind: Kind) -> Form {
        match kind {
            Kind::Masked => self.form,
            // Names of services, spans and fields are no messages, and have no codes to be explained.
            Kind::Context | Kind::Shape => Form::Plain,
        }
    }
}

/// A sentence model that is loaded when it is first used, and the form in which it reads messages. Clones share the model.
#[derive(Clone)]
pub struct Embedding {
    inner: Arc<Inner>,
    form: Form,
}

struct Inner {
    source: Source,
    cache: PathBuf,
    state: Mutex<State>,
    /// Name of the model since it was loaded for the first time.
    loaded: OnceLock<String>,
    /// The model that was configured before, while there is need of it, and when it was asked for last.
    other: Mutex<Option<(Embedding, Instant)>>,
}

#[derive(Default)]
enum State {
    #[default]
    New,
    /// With the name that vectors are stored under, and the numbers in a vector.
    Loaded(Box<dyn Embedder>, String, usize),
    Failed(Instant, EmbeddingError),
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedding")
            .field("source", &self.inner.source)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

impl Embedding {
    /// The model of a configuration: `all-MiniLM-L6-v2` or another name below `CACHE/models`,
    /// `hashed-ngrams`, or a folder with an ONNX model and its tokenizer. Nothing is read yet.
    pub fn new(model: &str, cache: &Path) -> Self {
        let source = Source::of(model, cache);
        let form = source.form();
        let (state, loaded, other) = (Mutex::default(), OnceLock::new(), Mutex::default());
        Self { inner: Arc::new(Inner { source, cache: cache.to_owned(), state, loaded, other }), form }
    }

    /// The same model with another form of messages.
    #[must_use]
    pub(super) fn with_form(&self, form: Form) -> Self {
        Self { inner: Arc::clone(&self.inner), form }
    }

    /// What has made the vectors that are stored under a name ([`Model::stored_name`]): another model of the same cache,
    /// or this one with a form before. Another model stays loaded until yet another one is asked for, or this one has not
    /// been for a while ([`Embedding::forget_other`]).
    #[must_use]
    pub fn other(&self, stored: &str) -> Self {
        let (model, form) = Form::of_stored(stored);
        if self.inner.loaded.get().is_some_and(|loaded| loaded == model) {
            return self.with_form(form);
        }
        let mut other = self.inner.other.lock().unwrap_or_else(PoisonError::into_inner);
        let known = other.take().map(|(known, _)| known).filter(|known| known.model_name() == model);
        let wanted = known.unwrap_or_else(|| Self::new(model, &self.inner.cache));
        *other = Some((wanted.clone(), Instant::now()));
        wanted.with_form(form)
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

    /// Whether it compares what texts mean, as sentence models do. Hashed n-grams compare spellings.
    pub fn compares_meanings(&self) -> bool {
        !matches!(self.inner.source, Source::Hashed)
    }

    /// Whether it reads a masked text as it is: there are neither codes to be explained nor names to be split.
    pub fn reads_as_is(&self, masked: &str) -> bool {
        self.form.of(masked) == masked
    }

    /// The model as vectors are stored under it. Loads it.
    ///
    /// # Errors
    /// One that [`EmbeddingError::is_unavailable`], if the model is not there.
    pub async fn model(&self) -> Result<Model, EmbeddingError> {
        self.blocking(|_, model| Ok(model.clone())).await
    }

    /// One vector a text of a kind.
    ///
    /// # Errors
    /// One that [`EmbeddingError::is_unavailable`], if the model is not there.
    pub async fn embed(&self, kind: Kind, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        if texts.is_empty() {
            return Ok(vec![]);
        }
        self.blocking(move |embedder, model| {
            let texts = match model.form_of(kind) {
                Form::Plain => texts,
                form @ Form::Glossed(_) => texts.iter().map(|text| form.of(text)).collect(),
            };
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
        let (inner, form) = (Arc::clone(&self.inner), self.form);
        let task = tokio::task::spawn_blocking(move || {
            let mut state = inner.loaded()?;
            match &mut *state {
                State::Loaded(embedder, name, dimension) => {
                    let model = Model { name: name.clone(), dimension: *dimension, form };
                    work(embedder.as_mut(), &model)
                }
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
                let (model, dimension) = (embedder.name().to_owned(), embedder.dimension());
                tracing::info!(model, dimension, "sentence model loaded");
                self.loaded.get_or_init(|| model.clone());
                State::Loaded(embedder, model, dimension)
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
