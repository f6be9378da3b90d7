//! The sample telemetry that the binary carries.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Name and content, changes first.
const FILES: &[(&str, &[u8])] = &[
    ("flags.jsonl", include_bytes!("../../../examples/sample/flags.jsonl")),
    ("deployments.jsonl", include_bytes!("../../../examples/sample/deployments.jsonl")),
    ("heaps.jsonl", include_bytes!("../../../examples/sample/heaps.jsonl")),
    ("metrics.jsonl.zst", include_bytes!("../../../examples/sample/metrics.jsonl.zst")),
    ("logs.jsonl.zst", include_bytes!("../../../examples/sample/logs.jsonl.zst")),
    ("traces.jsonl.zst", include_bytes!("../../../examples/sample/traces.jsonl.zst")),
];

/// Writes the sample below `folder`.
pub(super) fn unpack(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = folder.join("sample");
    std::fs::create_dir_all(&folder).map_err(Error::io(format!("make the folder {}", folder.display())))?;
    FILES
        .iter()
        .map(|(name, content)| {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(Error::io(format!("write {}", path.display())))?;
            Ok(path)
        })
        .collect()
}
