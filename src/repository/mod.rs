//! The source that evidence points to: frames and heap sites, the files of a repository that they stand for, and the
//! functions round their lines.
//!
//! Everything is read at a commit from git's objects, never from a work tree, and without network. What is to be run is
//! checked out into a work tree of its own, see [`Worktree`].

mod cited;
mod git;
mod locate;
mod slice;
mod worktree;

pub(crate) use cited::{Cited, cited};
pub(crate) use git::{Commit, Kind, Repository, RepositoryError};
pub(crate) use locate::{How, Locator, Place, Prefix};
pub(crate) use slice::{enclosing, language};
pub(crate) use worktree::Worktree;

#[cfg(test)]
pub(crate) mod tests;
