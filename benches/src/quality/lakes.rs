//! Lakes of telemetry, made by the program as users make them, and what is asked of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tempfile::TempDir;
use tracerag_index::incidents::Embedding;
use tracerag_index::incidents::vectors::{self, Kind};
use tracerag_index::{Lake, LakeOptions};
use tracerag_query::{Session, SessionOptions, json};

use super::{Setup, repository};
use crate::Outcome;

/// The sentence model, where it is installed, and what stands in for it.
pub(super) const MODEL: &str = "all-MiniLM-L6-v2";
const STAND_IN: &str = "hashed-ngrams";
/// What a question may take, far beyond what it does.
const LIMIT: Duration = Duration::from_secs(3_600);
const MEMORY: usize = 4 << 30;

/// A row of an answer.
pub(super) type Row = Map<String, Value>;

/// Makes lakes in a folder that goes when they do.
pub(super) struct Lakes<'a> {
    setup: &'a Setup,
    folder: TempDir,
}

impl<'a> Lakes<'a> {
    pub(super) fn new(setup: &'a Setup) -> Outcome<Self> {
        Ok(Self { setup, folder: tempfile::tempdir()? })
    }

    /// A session on the recording of `examples/checkout`.
    pub(super) async fn recording(&self) -> Outcome<Session> {
        let lake = self.replayed("recording", &recording()?, STAND_IN)?;
        session(&lake, None).await
    }

    /// The lake of that name with the incidents of the recording, of the train-ticket system and others.
    pub(super) fn with_incidents(&self, name: &str, others: &str, model: &str) -> Outcome<PathBuf> {
        let written = self.folder.path().join(format!("{name}.jsonl"));
        fs::write(&written, others)?;
        let mut files = recording()?;
        let train_ticket = self.setup.train_ticket();
        files.extend(["traces", "logs"].map(|signal| train_ticket.join(format!("{signal}.jsonl.zst"))));
        files.push(written);
        self.replayed(name, &files, model)
    }

    /// The lake of that name; it is made once.
    fn replayed(&self, name: &str, files: &[PathBuf], model: &str) -> Outcome<PathBuf> {
        let lake = self.folder.path().join(name);
        if lake.exists() {
            return Ok(lake);
        }
        let program = &self.setup.program;
        if !program.exists() {
            let why =
                format!("there is no {}; run cargo build --release, or name it with --program", program.display());
            return Err(why.into());
        }
        let config = self.folder.path().join(format!("{name}.toml"));
        let key = "0123456789abcdef0123456789abcdef";
        fs::write(&config, format!("[embedding]\nmodel = \"{model}\"\n[redaction]\nkey = \"{key}\"\n"))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&config).arg("--lake").arg(&lake).arg("replay").args(files);
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("replaying {name} failed: {}: {said}", output.status).into());
        }
        Ok(lake)
    }
}

/// Takes away what a lake has embedded beside the masked texts. Who asks with sentences does not look there.
pub(super) fn leave_masked_texts(lake: &Path) -> Outcome<()> {
    for entry in fs::read_dir(lake.join(vectors::TABLE))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if [Kind::Context, Kind::Shape].iter().any(|kind| name.ends_with(&format!("-{}", kind.name()))) {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// The files of the recording.
fn recording() -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(repository("examples/checkout/recording"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".jsonl")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A session of the default tenant.
pub(super) async fn session(lake: &Path, embedding: Option<Arc<Embedding>>) -> Outcome<Session> {
    let lake = Lake::open_to_ask(LakeOptions::new(lake.display().to_string())).await?;
    let options =
        SessionOptions { memory_limit: MEMORY, time_limit: LIMIT, embedding, ..SessionOptions::new("default") };
    Ok(Session::open(&lake, options).await?)
}

/// The sentence model, or what stands in for it, and its name.
pub(super) async fn model() -> (Arc<Embedding>, &'static str) {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = cache.unwrap_or_else(home).join("tracerag");
    let installed = Embedding::new(MODEL, &cache);
    match installed.model().await {
        Ok(_) => (Arc::new(installed), MODEL),
        Err(_) => (Arc::new(Embedding::new(STAND_IN, &cache)), STAND_IN),
    }
}

/// All rows of an answer.
pub(super) async fn rows(session: &Session, query: &str) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for batch in session.collect(query, None).await? {
        rows.extend(json::rows(&batch)?);
    }
    Ok(rows)
}

/// A text of a row; empty where there is none.
pub(super) fn text<'r>(row: &'r Row, name: &str) -> &'r str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}
