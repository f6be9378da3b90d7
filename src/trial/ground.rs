//! A commit with diffs applied, and a program that runs there: each time in a work tree of its own, which is thrown away,
//! so that nothing that ran before can have prepared it.

use tempfile::TempDir;
use tracerag_query::untrusted::line;

use super::process::Ran;
use super::sandbox::{Limits, Sandbox, SandboxError};
use crate::error::Error;
use crate::repository::{Commit, Repository, Worktree};

/// Where programs are tried on commits of one repository.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    repository: &'a Repository,
    sandbox: Sandbox,
    /// Work trees, and the home of what runs in them.
    folder: TempDir,
}

/// A run, or why there was none.
#[derive(Debug)]
pub(crate) enum Tried {
    Ran(Ran),
    /// What git says of the diff.
    DoesNotApply(String),
}

impl<'a> Ground<'a> {
    /// Makes the ground, and tries whether programs can run on it as asked. `variables` are what they get beside the few
    /// that they have.
    ///
    /// # Errors
    /// [`SandboxError::NotCut`] where there would be a network although none was asked for, and when git does not answer.
    pub(crate) fn new(
        repository: &'a Repository,
        network: bool,
        limits: Limits,
        variables: &[(String, String)],
    ) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("tracerag-try-").tempdir();
        let folder = folder.map_err(Error::io("make a folder for the trial"))?;
        let read_only = [repository.git_folder()?];
        let sandbox = Sandbox::new(folder.path(), network, limits, variables, &read_only)?;
        Ok(Self { repository, sandbox, folder })
    }

    /// The same without network where it can be cut, and with one where it cannot; then also why not.
    ///
    /// # Errors
    /// As [`Ground::new`], but for [`SandboxError::NotCut`].
    pub(crate) fn cut_where_possible(
        repository: &'a Repository,
        limits: Limits,
        variables: &[(String, String)],
    ) -> Result<(Self, Option<SandboxError>), Error> {
        match Self::new(repository, false, limits, variables) {
            Ok(this) => Ok((this, None)),
            Err(Error::Sandbox(why @ SandboxError::NotCut(_))) => {
                Ok((Self::new(repository, true, limits, variables)?, Some(why)))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a program at a commit with diffs, in a folder of it; empty is its root.
    ///
    /// # Errors
    /// When git or the program does not start.
    pub(crate) fn run(
        &self,
        commit: &Commit,
        diffs: &[&str],
        folder: &str,
        program: &[String],
    ) -> Result<Tried, Error> {
        // People see the name in their list of work trees.
        let worktree = Worktree::of(self.repository, commit, self.folder.path().join("tracerag-try"))?;
        for diff in diffs {
            let file = self.folder.path().join("applied.diff");
            std::fs::write(&file, diff).map_err(Error::io(format!("write {}", file.display())))?;
            if let Err(why) = worktree.apply(&file)? {
                return Ok(Tried::DoesNotApply(line(&why)));
            }
        }
        Ok(Tried::Ran(self.sandbox.run(&worktree.path().join(folder), program)?))
    }
}
