//! A suite: incidents whose causes and fixes are known, with the recording that they are in and the source that failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;

/// The schema name that a suite carries.
const SCHEMA: &str = "tracerag.suite/1";
/// The file of a suite that is named by its folder.
const FILE: &str = "suite.toml";

/// A suite as its file has it. Paths are relative to the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    pub schema: String,
    pub name: String,
    /// What `replay` takes, changes first.
    pub recording: Vec<PathBuf>,
    /// The key of tokens, so that every lake of the suite has the same bundles.
    pub redaction_key: String,
    pub source: Source,
    pub runner: Vec<Runner>,
    /// Variables of whoever plays the suite that its tests get where they are set, beside those of every trial.
    #[serde(default)]
    pub variables: Vec<String>,
    /// Files and folders of the repository with which its tests run, beside those that are known by their names. No
    /// patch may change them.
    #[serde(default)]
    pub harness: Vec<String>,
    pub incident: Vec<Incident>,
    /// Words and what stands for them with `--renamed`, in recording, source and labels. The program does not rename in
    /// compiled descriptors, so give words of the same length where there are any.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// The folder of the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// From what the repository is made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub folder: PathBuf,
    /// Files and folders of it that are in the repository.
    pub paths: Vec<PathBuf>,
    /// Its commits, the oldest first.
    pub commit: Vec<SourceCommit>,
}

/// A commit of the repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceCommit {
    /// The commits in the recording that it stands for.
    pub recorded: Vec<String>,
    /// What it changes.
    pub diff: Option<PathBuf>,
}

/// How tests of one language run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runner {
    /// How the names of test files end.
    pub suffix: String,
    /// Runs the tests of a diff: `{names}` are its test functions joined by `|`, `{modules}` its files as modules,
    /// `{files}` its files; `{suite}` is the folder of the suite, `${env:NAME}` a variable.
    pub test: Vec<String>,
    /// Runs every test of the commit.
    pub others: Vec<String>,
}

/// An incident with its labels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Incident {
    pub name: String,
    /// What users see, in words: all that an agent gets without telemetry.
    pub symptom: String,
    pub trace: String,
    /// The commit in the recording whose code is to be fixed.
    pub commit: String,
    /// Anchors that name the cause; of `code:FILE:LINE` the commit may be left out.
    pub causes: Vec<String>,
    /// A diff that adds the test of the incident.
    pub test: PathBuf,
    /// A diff with which it passes.
    pub patch: PathBuf,
}

impl Suite {
    /// Reads a suite from its file, or from the folder with its `suite.toml`.
    ///
    /// # Errors
    /// [`Error::WrongFile`] with what is wrong.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let wrong = |why: String| Error::WrongFile { option: "the suite", file: file.display().to_string(), why };
        let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
        let mut suite: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        suite.folder = file.parent().map(Path::to_owned).unwrap_or_default();
        if suite.schema != SCHEMA {
            return Err(wrong(format!("its schema is {:?}, and this release reads {SCHEMA}", suite.schema)));
        }
        let known = |commit: &String| suite.source.commit.iter().any(|known| known.recorded.contains(commit));
        if let Some(incident) = suite.incident.iter().find(|incident| !known(&incident.commit)) {
            let name = &incident.name;
            return Err(wrong(format!("incident {name} is of a commit that source.commit does not name")));
        }
        Ok(suite)
    }

    /// The variables of the suite that are set here, with their values.
    pub(crate) fn set_variables(&self) -> Vec<(String, String)> {
        self.variables.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect()
    }

    /// A text file of the suite.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub(crate) fn text(&self, path: &Path) -> Result<String, Error> {
        let path = self.folder.join(path);
        std::fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))
    }
}
