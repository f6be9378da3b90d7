//! The source that evidence points to: frames and heap sites, the files of a repository that they stand for, and the
//! functions round their lines.
//!
//! Everything is read at a commit from git's objects, never from a work tree, and without network.

mod cited;
mod git;
mod locate;
mod slice;

pub(crate) use cited::{Cited, cited};
pub(crate) use git::{Commit, Kind, Repository, RepositoryError};
pub(crate) use locate::{How, Locator, Place, Prefix};
pub(crate) use slice::{enclosing, language};

#[cfg(test)]
pub(crate) mod tests;
