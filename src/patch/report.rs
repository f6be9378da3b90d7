//! What `guard-patch` finds.

use serde::{Deserialize, Serialize};

/// Whether a patch keeps to the evidence. `pr-body` reads it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub bundle_id: String,
    /// Whether all of it holds.
    pub holds: bool,
    pub files: Vec<FileRow>,
    pub lock_files: Vec<LockRow>,
    pub limits: Vec<LimitRow>,
    /// Files that were allowed by name, used or not.
    pub allowed: Vec<Allowed>,
    /// What of the evidence points to no file of the repository for sure; nothing is allowed by it.
    pub unclear: Vec<String>,
    /// What is wrong with the whole.
    pub reasons: Vec<String>,
}

/// What comes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It stands on a stack or a heap path.
    OnThePath,
    /// It is a test of such a file.
    Test,
    /// It was allowed by name.
    AllowedByName,
    /// It may not be changed so.
    Refused,
}

impl Verdict {
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::OnThePath => "on the path",
            Self::Test => "a test",
            Self::AllowedByName => "allowed by name",
            Self::Refused => "refused",
        }
    }
}

/// A file of the diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRow {
    pub path: String,
    /// `modified`, `added` or `deleted`.
    pub change: String,
    pub added: usize,
    pub deleted: usize,
    pub verdict: Verdict,
    /// The anchor that points to it, the reason that was given, or why it is refused.
    pub why: String,
}

/// A lock file of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockRow {
    /// Anchor of the build.
    pub build: String,
    /// The file as the build names it.
    pub file: String,
    pub holds: bool,
    /// The file with the same digest, or what is wrong.
    pub why: String,
}

/// A limit of size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitRow {
    pub name: String,
    pub value: usize,
    pub most: usize,
    pub holds: bool,
}

impl LimitRow {
    pub(super) fn new(name: &str, value: usize, most: usize) -> Self {
        Self { name: name.to_owned(), value, most, holds: value <= most }
    }
}

/// A file that may be changed by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Allowed {
    pub path: String,
    pub reason: String,
    /// Whether the diff changes it.
    pub used: bool,
}

impl Report {
    /// Whether its parts are right: there is a change, and none of it is refused.
    pub(crate) fn is_right(&self) -> bool {
        self.reasons.is_empty()
            && !self.files.is_empty()
            && self.files.iter().all(|file| file.verdict != Verdict::Refused)
            && self.lock_files.iter().all(|lock| lock.holds)
            && self.limits.iter().all(|limit| limit.holds)
    }
}
