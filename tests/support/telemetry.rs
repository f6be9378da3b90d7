//! Real telemetry to test with: what lies in this repository, and more of it where a folder is named.

use std::path::{Path, PathBuf};

/// Nine minutes of a train-ticket system: spans, logs and metrics of somebody else's instrumentation.
pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trainticket")
}

/// The recording of the checkout example that `tracerag demo` carries: everything that a replay takes, changes first.
pub fn recording() -> [PathBuf; 6] {
    ["flags.jsonl", "deployments.jsonl", "heaps.jsonl", "metrics.jsonl.zst", "logs.jsonl.zst", "traces.jsonl.zst"]
        .map(|name| checkout("recording").join(name))
}

/// A file or folder of the checkout example.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/checkout").join(path)
}

/// A file or folder below the one that `TRACERAG_TEST_DATA` names. `None`, after one line, if it is not there; with
/// `CI=true` too, because the telemetry is no part of the repository.
pub fn data(path: &str) -> Option<PathBuf> {
    let found =
        std::env::var_os("TRACERAG_TEST_DATA").map(|folder| Path::new(&folder).join(path)).filter(|p| p.exists());
    if found.is_none() {
        super::note(&format!(
            "left out, the telemetry {path} is not there (TRACERAG_TEST_DATA names no folder with it)"
        ));
    }
    found
}

/// The text of a file, unpacked if its name ends in `.zst`.
pub fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    let bytes = match path.extension() {
        Some(extension) if extension == "zst" => zstd::decode_all(bytes.as_slice()).expect("a whole zstd file"),
        _ => bytes,
    };
    String::from_utf8(bytes).expect("telemetry is UTF-8")
}
