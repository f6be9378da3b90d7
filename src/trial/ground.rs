//! A commit with diffs applied, and a program that runs there: each time in a work tree of its own, which is thrown away,
//! so that nothing that ran before can have prepared it.

use tempfile::TempDir;
use tracerag_query::untrusted::line;

use super::process::Ran;
use super::sandbox::{Limits, Open, Sandbox, SandboxError};
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
    /// [`SandboxError::NotCut`] where something would be open although it was not asked for, and when git does not answer.
    pub(crate) fn new(
        repository: &'a Repository,
        open: Open,
        limits: Limits,
        variables: &[(String, String)],
    ) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("tracerag-try-").tempdir();
        let folder = folder.map_err(Error::io("make a folder for the trial"))?;
        // Work trees point to it. It is canonical, as mounts are.
        let git = repository.git_folder()?;
        let git = git.canonicalize().map_err(Error::io(format!("find {}", git.display())))?;
        let sandbox = Sandbox::new(folder.path(), open, limits, variables, &[git])?;
        Ok(Self { repository, sandbox, folder })
    }

    /// The same where it can be had, and with everything open where it cannot; then also why not.
    ///
    /// # Errors
    /// As [`Ground::new`], but for [`SandboxError::NotCut`].
    pub(crate) fn cut_where_possible(
        repository: &'a Repository,
        open: Open,
        limits: Limits,
        variables: &[(String, String)],
    ) -> Result<(Self, Option<SandboxError>), Error> {
        match Self::new(repository, open, limits, variables) {
            Ok(this) => Ok((this, None)),
            Err(Error::Sandbox(why @ SandboxError::NotCut(_))) => {
                Ok((Self::new(repository, Open::ALL, limits, variables)?, Some(why)))
            }
            Err(error) => Err(error),
        }
    }

    /// What is open to the programs.
    pub(crate) fn open(&self) -> Open {
        self.sandbox.open()
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
        Ok(Tried::Ran(self.sandbox.run(worktree.path(), &worktree.path().join(folder), program)?))
    }
}
