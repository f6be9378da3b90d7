//! The program under test, as its user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;

/// A lake in a folder of its own, and the program that works on it.
pub struct Tracerag {
    folder: TempDir,
}

/// What a command printed.
pub struct Ran {
    /// Exit status.
    pub status: i32,
    /// Data.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Tracerag {
    /// A place without a lake yet.
    pub fn new() -> Tracerag {
        Tracerag { folder: tempfile::tempdir().expect("a folder for the lake") }
    }

    /// A file in the folder of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder of this test.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the folder takes a file");
        path
    }

    fn binary() -> &'static str {
        env!("CARGO_BIN_EXE_tracerag")
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = Command::new(Self::binary())
            .current_dir(self.folder.path())
            .arg("--lake")
            .arg(self.path("lake"))
            .args(arguments)
            .env_remove("TRACERAG_CONFIG")
            .output()
            .expect("the program starts");
        Ran {
            status: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).expect("output is UTF-8"),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; its data.
    pub fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status, 0, "{arguments:?} failed:\n{}", ran.stderr);
        ran.stdout
    }

    /// Replays files.
    pub fn replay(&self, files: &[&Path]) -> Ran {
        let mut arguments = vec!["replay"];
        arguments.extend(files.iter().map(|file| file.to_str().expect("a path in UTF-8")));
        let ran = self.run(&arguments);
        assert_eq!(ran.status, 0, "replay failed:\n{}", ran.stderr);
        ran
    }

    /// The rows of a query.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let text = self.done(&["sql", "--format", "json", query]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{query} gave no JSON: {error}\n{text}"))
    }

    /// The one number of a query.
    pub fn number(&self, query: &str) -> i64 {
        let rows = self.sql(query);
        let row = rows.first().and_then(Value::as_object).unwrap_or_else(|| panic!("{query} gave no row"));
        let value = row.values().next().unwrap_or_else(|| panic!("{query} gave no column"));
        value.as_i64().unwrap_or_else(|| panic!("{query} gave {value}"))
    }

    /// The bundle of a trace.
    pub fn bundle(&self, id: &str) -> Value {
        serde_json::from_str(&self.done(&["bundle", id])).expect("a bundle is JSON")
    }

    /// Starts a worker in the background.
    pub fn worker(&self, config: &Path) -> Process {
        let command = [
            Self::binary().to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
            "--lake".to_owned(),
            self.path("lake").display().to_string(),
            "run".to_owned(),
        ];
        Process::start(&command, self.folder.path(), "worker.log")
    }

    /// All bytes of the lake's folder that hold `needle`, by file: personal data must be nowhere.
    pub fn files_with(&self, needle: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("lake")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder of the lake") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if memchr(&std::fs::read(&path).expect("a file of the lake"), needle.as_bytes()) {
                    found.push(path);
                }
            }
        }
        found
    }
}

fn memchr(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
