//! A commit as files, in a folder that is thrown away.

use std::path::{Path, PathBuf};

use super::git::{Commit, Repository, RepositoryError};

/// Hooks that people have in their repository are none of these files' business.
const NO_HOOKS: [&str; 2] = ["-c", "core.hooksPath=/dev/null"];

/// A work tree of a repository at one commit. It goes when the value goes.
///
/// git is asked for nothing here once a program has run in it: that program may have written what git reads.
#[derive(Debug)]
pub(crate) struct Worktree<'a> {
    repository: &'a Repository,
    path: PathBuf,
}

impl<'a> Worktree<'a> {
    /// Checks a commit out into a folder that is not there yet. Its name should tell whose it is.
    ///
    /// # Errors
    /// When git cannot: the repository has to be writable, for git notes there which work trees it has.
    pub(crate) fn of(repository: &'a Repository, commit: &Commit, path: PathBuf) -> Result<Self, RepositoryError> {
        let place = path.to_string_lossy().into_owned();
        let add = ["worktree", "add", "--quiet", "--detach", place.as_str(), commit.sha.as_str()];
        let added = repository.git(&[&NO_HOOKS[..], &add[..]].concat())?;
        added.map_err(|detail| repository.failed("make a work tree", detail))?;
        Ok(Self { repository, path })
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Applies a diff that stands in a file; what git complains of where it does not apply.
    ///
    /// # Errors
    /// When git does not start.
    pub(crate) fn apply(&self, diff: &Path) -> Result<Result<(), String>, RepositoryError> {
        let here = Repository::at(self.path.clone());
        let diff = diff.to_string_lossy().into_owned();
        Ok(here.git(&["apply", "--whitespace=nowarn", diff.as_str()])?.map(drop))
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        // git forgets a work tree that is gone without reading anything of it.
        let removed = std::fs::remove_dir_all(&self.path);
        let path = self.path.to_string_lossy().into_owned();
        let forgotten = self.repository.git(&["worktree", "remove", "--force", path.as_str()]);
        if removed.is_err() || !matches!(forgotten, Ok(Ok(_))) {
            tracing::warn!(path = %self.path.display(), "a work tree is left behind; remove it with `git worktree remove --force`");
        }
    }
}

impl Repository {
    /// The folder in which git keeps everything of this repository, whichever work tree it was opened by.
    ///
    /// # Errors
    /// When git cannot say it.
    pub(crate) fn git_folder(&self) -> Result<PathBuf, RepositoryError> {
        let said = self.git(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
        let said = said.map_err(|detail| self.failed("name its folder", detail))?;
        Ok(PathBuf::from(String::from_utf8_lossy(&said).trim_end_matches('\n')))
    }
}
