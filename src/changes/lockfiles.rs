//! The lock files of a commit, with the digests that `guard-patch` compares.

use crate::repository::{Commit, Kind, RepositoryError};

/// How lock files are called, by the tools that write them.
const NAMES: [&str; 20] = [
    "Cargo.lock",
    "Gemfile.lock",
    "Package.resolved",
    "Pipfile.lock",
    "buildscript-gradle.lockfile",
    "bun.lock",
    "composer.lock",
    "deno.lock",
    "go.sum",
    "gradle.lockfile",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "packages.lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pubspec.lock",
    "uv.lock",
    "yarn.lock",
];

/// Path and digest (`sha256:` and 64 hex digits) of each lock file below a folder of a commit; `""` is all of it.
///
/// # Errors
/// When git cannot read a file.
pub(crate) fn below(commit: &Commit, folder: &str) -> Result<Vec<(String, String)>, RepositoryError> {
    let folder = folder.trim_start_matches("./").trim_matches('/');
    let is_below =
        |path: &str| folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let is_lock_file = |path: &str| NAMES.contains(&path.rsplit('/').next().unwrap_or(path));
    let files =
        commit.files.iter().filter(|(path, entry)| entry.kind == Kind::File && is_lock_file(path) && is_below(path));
    files.map(|(path, entry)| Ok((path.clone(), format!("sha256:{}", commit.sha256(entry)?)))).collect()
}

/// The same for files that are named by their paths; the path of one that the commit does not have as an error.
///
/// # Errors
/// When git cannot read a file.
pub(crate) fn named(
    commit: &Commit,
    paths: &[String],
) -> Result<Result<Vec<(String, String)>, String>, RepositoryError> {
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        let path = path.trim_start_matches("./");
        let Some(entry) = commit.files.get(path).filter(|entry| entry.kind == Kind::File) else {
            return Ok(Err(path.to_owned()));
        };
        found.push((path.to_owned(), format!("sha256:{}", commit.sha256(entry)?)));
    }
    Ok(Ok(found))
}
