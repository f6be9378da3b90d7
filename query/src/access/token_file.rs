//! The file of tokens: written by `tracerag token`, read by every server that has it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::caller::{Caller, Refusal};
use super::token::{self, Token};

/// How long what was read holds: a token is revoked within this time.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Why a file of tokens could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The operating system refused it.
    #[error("cannot {step} {}: {source}; see serve.tokens_file", .path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what `tracerag token` writes.
    #[error("{} is no file of tokens ({reason}); write it with `tracerag token create`", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    tokens: Vec<Token>,
}

/// A file of tokens, with what was last read of it.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    known: Mutex<Option<(Instant, Arc<Vec<Token>>)>>,
}

impl TokenFile {
    /// The file at a path, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), known: Mutex::default() }
    }

    /// All tokens in the order in which they were made; none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or is no file of tokens.
    pub fn tokens(&self) -> Result<Vec<Token>, TokenFileError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(source) => return Err(self.io("read")(source)),
        };
        let content: Content = serde_json::from_str(&text)
            .map_err(|error| TokenFileError::Form { path: self.path.clone(), reason: error.to_string() })?;
        Ok(content.tokens)
    }

    /// Changes the tokens. Whoever else does so at the same time waits, and a reader sees all of it or nothing.
    ///
    /// # Errors
    /// As [`TokenFile::tokens`], and when the file cannot be written.
    pub fn change<T>(&self, change: impl FnOnce(&mut Vec<Token>) -> T) -> Result<T, TokenFileError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(self.io("make the folder of"))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.lock_path());
        let lock: File = lock.map_err(self.io("lock"))?;
        lock.lock().map_err(self.io("lock"))?;
        let mut tokens = self.tokens()?;
        let changed = change(&mut tokens);
        self.write(folder, &Content { tokens }).map_err(self.io("write"))?;
        Ok(changed)
    }

    /// A new file, which only its owner reads, takes the place of the old one.
    fn write(&self, folder: &Path, content: &Content) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, content)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn lock_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        path.into()
    }

    fn io(&self, step: &'static str) -> impl FnOnce(io::Error) -> TokenFileError {
        let path = self.path.clone();
        move |source| TokenFileError::Io { step, path, source }
    }

    /// The caller that a secret belongs to.
    ///
    /// # Errors
    /// [`Refusal::UnknownToken`]; [`Refusal::NoTokens`] if the file cannot be read: then nobody comes in.
    pub(super) fn caller(&self, secret: &str) -> Result<Caller, Refusal> {
        let tokens = self.known().map_err(|error| {
            tracing::error!(%error, "nobody is let in");
            Refusal::NoTokens
        })?;
        token::caller(&tokens, secret).ok_or(Refusal::UnknownToken)
    }

    fn known(&self) -> Result<Arc<Vec<Token>>, TokenFileError> {
        // What a panic elsewhere left is a whole value, so a poisoned lock is taken.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read_at, tokens)) = &*known
            && read_at.elapsed() < READ_EVERY
        {
            return Ok(Arc::clone(tokens));
        }
        let tokens = Arc::new(self.tokens()?);
        *known = Some((Instant::now(), Arc::clone(&tokens)));
        Ok(tokens)
    }
}
