//! A real S3 server with conditional puts: versitygw on a folder. The tests of the lake's crate have this file, too.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::process::Process;
use super::{free_port, part, wait_for};

/// The one bucket.
const BUCKET: &str = "tracerag";
/// Who may log in, and the password, which must never be seen in what tracerag writes.
const USER: &str = "writer";
pub const SECRET: &str = "versitygw-opensesame";

/// How long the server may take until it listens.
const START: Duration = Duration::from_secs(900);

/// A server on a free port of the loopback address. Dropping it ends it and removes its objects.
pub struct S3 {
    binary: PathBuf,
    // The server goes before its folder does.
    process: Option<Process>,
    folder: tempfile::TempDir,
    port: u16,
}

impl S3 {
    /// A server of the test's own, for tests that stop it. `None` if there is none, see [`part`].
    pub fn start() -> Option<S3> {
        let binary = part("TRACERAG_TEST_VERSITYGW", "the S3 server versitygw")?;
        let folder = tempfile::tempdir().expect("a folder for the server");
        // A folder below that of the objects is a bucket.
        std::fs::create_dir_all(folder.path().join("objects").join(BUCKET)).expect("the folder takes folders");
        std::fs::create_dir(folder.path().join("attributes")).expect("the folder takes folders");
        let mut server = S3 { binary, process: None, folder, port: free_port() };
        server.restart();
        Some(server)
    }

    /// The server that all tests share which leave it alone; each has a prefix of its own.
    pub fn shared() -> Option<&'static S3> {
        static SHARED: OnceLock<Option<S3>> = OnceLock::new();
        SHARED.get_or_init(S3::start).as_ref()
    }

    /// Starts the server, on the port that it had; again where it ends at once.
    pub fn restart(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = vec![self.binary.display().to_string()];
        command.extend(["--access", USER, "--secret", SECRET, "--quiet", "--port"].map(str::to_owned));
        command.push(format!("127.0.0.1:{}", self.port));
        command.extend([String::from("--access-log"), path("access.log")]);
        command.extend([String::from("posix"), String::from("--sidecar"), path("attributes"), path("objects")]);
        let start = || Process::start(&command, self.folder.path(), "server.log");
        let (begun, mut process) = (Instant::now(), start());
        wait_for("the S3 server listens", START, || {
            if !process.alive() {
                // Somebody's connection may have the port for a while.
                assert!(begun.elapsed() < START / 2, "the S3 server ended:\n{}", process.log_tail());
                process = start();
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        self.process = Some(process);
    }

    /// Kills the server: whoever has a request under way gets no answer. What it has stored stays.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// An address of a lake that no other test has.
    pub fn lake(&self, name: &str) -> String {
        static LAKES: AtomicUsize = AtomicUsize::new(0);
        format!("s3://{BUCKET}/{name}-{}.lake", LAKES.fetch_add(1, Ordering::Relaxed))
    }

    /// The settings with which a lake is reached.
    pub fn options(&self) -> BTreeMap<String, String> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        [
            ("aws_access_key_id", USER),
            ("aws_secret_access_key", SECRET),
            ("aws_endpoint", endpoint.as_str()),
            ("aws_region", "us-east-1"),
            ("allow_http", "true"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    /// The same as variables of the environment, by the names that AWS has for them.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variable = |(name, value): (String, String)| {
            let name = name.to_ascii_uppercase();
            (if name.starts_with("AWS_") { name } else { format!("AWS_{name}") }, value)
        };
        self.options().into_iter().map(variable).collect()
    }

    /// Where the objects of a lake lie as files.
    pub fn files(&self, lake: &str) -> PathBuf {
        let prefix = lake.strip_prefix("s3://").unwrap_or(lake);
        self.folder.path().join("objects").join(prefix)
    }

    /// The requests so far that named a lake, by kind, as the server's log has them.
    pub fn requests(&self, lake: &str) -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        let prefix = lake.strip_prefix(&format!("s3://{BUCKET}/")).unwrap_or(lake);
        let mut requests = BTreeMap::new();
        for line in text.lines().filter(|line| line.contains(prefix)) {
            if let Some(kind) = line.split(' ').find_map(|word| word.strip_prefix("s3_")) {
                *requests.entry(kind.to_owned()).or_default() += 1;
            }
        }
        requests
    }
}
