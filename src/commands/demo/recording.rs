//! The recording that the binary carries: two minutes of the checkout example.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The file of a name, and its content.
macro_rules! recorded {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../examples/checkout/recording/", $name)) as &[u8])
    };
}

/// Name and content, changes first. Beside them lies the truth of the recording, which nobody is to read into a lake.
const FILES: &[(&str, &[u8])] = &[
    recorded!("flags.jsonl"),
    recorded!("deployments.jsonl"),
    recorded!("heaps.jsonl"),
    recorded!("metrics.jsonl.zst"),
    recorded!("logs.jsonl.zst"),
    recorded!("traces.jsonl.zst"),
];

/// Writes the recording below `folder`.
pub(super) fn unpack(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = folder.join("recording");
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
