//! Whether the lock files of a commit are those that its builds were made with.

use tracerag_query::untrusted::line;
use tracerag_schemas::bundle::{Build, Bundle};

use super::Commits;
use super::report::LockRow;
use crate::repository::{Commit, Kind, RepositoryError};

/// Bytes of a lock file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// A row for each lock file of each build whose commit is there. Builds of other repositories have none.
///
/// # Errors
/// When git cannot read a file.
pub(super) fn compare(bundle: &Bundle, commits: &Commits) -> Result<Vec<LockRow>, RepositoryError> {
    let mut rows = Vec::new();
    for build in &bundle.evidence.builds {
        let Some(commit) = build.git_sha.as_ref().and_then(|sha| commits.get(sha)) else { continue };
        rows.extend(of_build(build, commit)?);
    }
    Ok(rows)
}

/// A row for each lock file that a build names, looked for in a commit.
///
/// # Errors
/// When git cannot read a file.
pub(crate) fn of_build(build: &Build, commit: &Commit) -> Result<Vec<LockRow>, RepositoryError> {
    let mut rows = Vec::new();
    for (file, digest) in &build.lockfile_digests {
        let found = found(commit, file, digest.as_str().unwrap_or_default())?;
        rows.push(row(build, file, found));
    }
    Ok(rows)
}

fn row(build: &Build, file: &str, found: Result<String, String>) -> LockRow {
    let holds = found.is_ok();
    let (Ok(why) | Err(why)) = found;
    LockRow { build: line(&build.anchor), file: line(file), holds, why }
}

/// The path of the file with this digest, or what is there instead. Builds name lock files by their names or paths.
fn found(commit: &Commit, file: &str, digest: &str) -> Result<Result<String, String>, RepositoryError> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest).to_ascii_lowercase();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Err(format!("{:?} is no SHA-256, which alone is compared", line(digest))));
    }
    let name = file.trim_start_matches("./").trim_start_matches('/');
    let is_named = |path: &str| path == name || path.strip_suffix(name).is_some_and(|above| above.ends_with('/'));
    let entries = commit.files.iter().filter(|(path, entry)| entry.kind == Kind::File && is_named(path));
    let mut others = 0;
    for (path, entry) in entries {
        if entry.size > MAX_BYTES {
            return Ok(Err(format!("{} has more than {MAX_BYTES} bytes", line(path))));
        }
        if commit.sha256(entry)? == hex {
            return Ok(Ok(line(path)));
        }
        others += 1;
    }
    Ok(Err(match others {
        0 => format!("commit {} has no such file", commit.short()),
        _ => format!("commit {} has {others} of this name, none with the digest of the build", commit.short()),
    }))
}
