//! The program under test, as its user runs it.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;
use super::s3::S3;

/// A lake in a folder of its own or in S3, and the program that works on it.
pub struct Tracerag {
    folder: TempDir,
    lake: String,
    /// With which the program runs.
    environment: Vec<(String, String)>,
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

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Tracerag {
    /// A place without a lake yet.
    pub fn new() -> Tracerag {
        let folder = tempfile::tempdir().expect("a folder for the lake");
        let lake = folder.path().join("lake").display().to_string();
        Tracerag { folder, lake, environment: vec![] }
    }

    /// A place in S3 without a lake yet. The program has login and address from its environment.
    pub fn in_s3(s3: &S3, name: &str) -> Tracerag {
        Tracerag { lake: s3.lake(name), environment: s3.environment(), ..Tracerag::new() }
    }

    /// The same without a login in the environment: the configuration has to have it.
    pub fn in_s3_without_login(s3: &S3, name: &str) -> Tracerag {
        Tracerag { lake: s3.lake(name), ..Tracerag::new() }
    }

    /// The address of the lake.
    pub fn lake(&self) -> &str {
        &self.lake
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

    /// Where the lake's name leads from now on. The change is one step, so a worker never sees a place without a lake in
    /// which it could make folders.
    pub fn point_lake_at(&self, target: &Path) {
        let link = self.path("link");
        symlink(target, &link).expect("the folder takes a link");
        std::fs::rename(&link, &self.lake).expect("a link takes the lake's place");
    }

    fn binary() -> &'static str {
        env!("CARGO_BIN_EXE_tracerag")
    }

    /// A command in the folder of this test.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Self::binary());
        command.current_dir(self.folder.path()).env_remove("TRACERAG_CONFIG");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A test that names a lake itself means another.
        if !arguments.contains(&"--lake") {
            command.arg("--lake").arg(&self.lake);
        }
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("the program starts"))
    }

    /// Runs a command to its end with more variables in its environment.
    pub fn run_with(&self, variables: &[(String, String)], arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).envs(variables.iter().cloned()).output().expect("the program starts"))
    }

    /// Runs a command that names no lake, with more variables in its environment.
    pub fn run_elsewhere(&self, variables: &[(String, String)], arguments: &[&str]) -> Ran {
        let mut command = Command::new(Self::binary());
        command.current_dir(self.folder.path()).env_remove("TRACERAG_CONFIG").envs(variables.iter().cloned());
        Ran::from(command.args(arguments).output().expect("the program starts"))
    }

    /// Runs a command that reads its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("input is a pipe").write_all(input.as_bytes()).expect("the program reads");
        Ran::from(child.wait_with_output().expect("the program ends"))
    }

    /// Runs a command that must succeed; its data, whatever it is.
    pub fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(arguments).output().expect("the program starts");
        assert!(output.status.success(), "{arguments:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
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

    /// Whether the lake is there and has spans.
    pub fn has_spans(&self) -> bool {
        let ran = self.run(&["sql", "--format", "csv", "select count(*) from spans"]);
        ran.status == 0 && !ran.stdout.ends_with("\n0\n")
    }

    /// The bundle of a trace.
    pub fn bundle(&self, id: &str) -> Value {
        serde_json::from_str(&self.done(&["bundle", id])).expect("a bundle is JSON")
    }

    /// Starts a worker in the background.
    pub fn worker(&self, config: &Path) -> Process {
        self.worker_logging(config, "worker.log")
    }

    /// Starts a worker in the background, one of several that each have a log in the folder of this test.
    pub fn worker_logging(&self, config: &Path, log: &str) -> Process {
        self.background(config, &["run"], log)
    }

    /// Starts a worker in the background, with more variables (`NAME=value`) in its environment.
    pub fn worker_knowing(&self, variables: &[&str], config: &Path, log: &str) -> Process {
        self.start(variables, config, &["run"], log)
    }

    /// Starts a worker that aborts at a step of its way into the lake: `staged:3` is the third time that it passes there.
    pub fn worker_failing_at(&self, step: &str, config: &Path, log: &str) -> Process {
        self.start(&[&format!("TRACERAG_FAIL_AT={step}")], config, &["run"], log)
    }

    /// Starts a command in the background; what it prints goes to a file in the folder of this test.
    pub fn background(&self, config: &Path, arguments: &[&str], log: &str) -> Process {
        self.start(&[], config, arguments, log)
    }

    /// Starts a command in the background that has its configuration in the environment, and no file.
    pub fn background_with(&self, variables: &[(String, String)], arguments: &[&str], log: &str) -> Process {
        let empty = self.write("empty.toml", "");
        let variables: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let before: Vec<&str> = variables.iter().map(String::as_str).collect();
        self.start(&before, &empty, arguments, log)
    }

    /// `before` are variables of the environment, as `env` takes them.
    fn start(&self, before: &[&str], config: &Path, arguments: &[&str], log: &str) -> Process {
        let mut command = vec!["env".to_owned()];
        command.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.extend(before.iter().map(|word| (*word).to_owned()));
        command.extend([
            Self::binary().to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
            "--lake".to_owned(),
            self.lake.clone(),
        ]);
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Process::start(&command, self.folder.path(), log)
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
