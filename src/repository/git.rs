//! A repository as git shows it: commits, their files, their bytes. git runs as a program, without network and without
//! what its user may have configured to run with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;

/// Variables by which git would look at another repository, as it sets them for hooks.
const OF_HOOKS: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
];
/// Digits of a commit that say which one is meant.
const LEAST_DIGITS: usize = 7;

/// What goes wrong with a repository.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// There is no git.
    #[error("git does not start ({0}); install it, or put it on the PATH")]
    NoGit(#[source] std::io::Error),
    /// No repository.
    #[error("{path} is not a git repository that can be read ({detail}); name the one that the service is built from")]
    NoRepository {
        /// The folder.
        path: String,
        /// What git says.
        detail: String,
    },
    /// The commit is not there.
    #[error(
        "the repository {path} has no commit {commit}, which the evidence cites; fetch it (`git fetch origin {commit}`, \
         in a shallow clone `git fetch --unshallow`), or name the repository that the service is built from"
    )]
    NoCommit {
        /// The folder.
        path: String,
        /// The commit.
        commit: String,
    },
    /// Anything else.
    #[error("git cannot {what} in {path}: {detail}; `git fsck` says whether the repository is whole")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// The folder.
        path: String,
        /// What git says.
        detail: String,
    },
}

/// A repository in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    path: PathBuf,
}

/// What an entry of a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file with content.
    File,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
}

/// An entry of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub kind: Kind,
    object: String,
    /// Bytes of its content.
    pub size: u64,
}

/// A commit with the files of its tree, by path. Paths that are no UTF-8 are left out.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    repository: Repository,
    /// All its digits.
    pub sha: String,
    pub files: BTreeMap<String, Entry>,
}

impl Repository {
    /// The repository that a folder lies in.
    ///
    /// # Errors
    /// [`RepositoryError::NoRepository`] with what git says, [`RepositoryError::NoGit`].
    pub(crate) fn open(path: &Path) -> Result<Self, RepositoryError> {
        let repository = Self { path: path.to_owned() };
        match repository.git(&["rev-parse", "--git-dir"])? {
            Ok(_) => Ok(repository),
            Err(detail) => Err(RepositoryError::NoRepository { path: repository.name(), detail }),
        }
    }

    /// A folder that is known to lie in a repository.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// A commit by 7 or more of its digits.
    ///
    /// # Errors
    /// [`RepositoryError::NoCommit`] for what is not there, or is the name of something else.
    pub(crate) fn commit(&self, digits: &str) -> Result<Commit, RepositoryError> {
        let absent = || RepositoryError::NoCommit { path: self.name(), commit: digits.to_owned() };
        // Digits only: nothing that git could take for an option or for an expression.
        let is_commit = digits.len() >= LEAST_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit {
            return Err(absent());
        }
        let found = self.git(&["rev-parse", "--verify", "--quiet", &format!("{digits}^{{commit}}")])?;
        let sha = found.ok().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).ok_or_else(absent)?;
        // A branch may have a name of hex digits.
        if !sha.starts_with(&digits.to_ascii_lowercase()) {
            return Err(absent());
        }
        let listed = self.git(&["ls-tree", "-r", "-l", "-z", "--full-tree", &sha])?;
        let listed = listed.map_err(|detail| self.failed("list the files of a commit", detail))?;
        let entries = listed.split(|byte| *byte == 0).filter_map(|line| entry(std::str::from_utf8(line).ok()?));
        Ok(Commit { repository: self.clone(), sha, files: entries.collect() })
    }

    /// The commit that is checked out.
    ///
    /// # Errors
    /// [`RepositoryError::Failed`] where there is none yet.
    pub(crate) fn head(&self) -> Result<Commit, RepositoryError> {
        let found = self.git(&["rev-parse", "--verify", "HEAD^{commit}"])?;
        let sha = found.map_err(|detail| self.failed("find the commit that is checked out", detail))?;
        self.commit(String::from_utf8_lossy(&sha).trim())
    }

    /// The tag that stands at a commit, if there is one; the newest of several.
    pub(crate) fn tag(&self, commit: &Commit) -> Result<Option<String>, RepositoryError> {
        let found = self.git(&["describe", "--tags", "--exact-match", &commit.sha])?;
        Ok(found.ok().map(|tag| String::from_utf8_lossy(&tag).trim().to_owned()).filter(|tag| !tag.is_empty()))
    }

    /// Where it was cloned from, without a password that may stand in the address.
    pub(crate) fn origin(&self) -> Result<Option<String>, RepositoryError> {
        let found = self.git(&["config", "--get", "remote.origin.url"])?;
        let address = found.ok().map(|address| String::from_utf8_lossy(&address).trim().to_owned());
        Ok(address.filter(|address| !address.is_empty()).map(|address| without_login(&address)))
    }

    pub(super) fn failed(&self, what: &'static str, detail: String) -> RepositoryError {
        RepositoryError::Failed { what, path: self.name(), detail }
    }

    /// What git prints, or what it complains of.
    pub(super) fn git(&self, arguments: &[&str]) -> Result<Result<Vec<u8>, String>, RepositoryError> {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.path).args(["--no-pager", "--no-replace-objects", "--literal-pathspecs"]);
        git.args(["-c", "core.fsmonitor=false"]).args(arguments).stdin(Stdio::null());
        for name in OF_HOOKS {
            git.env_remove(name);
        }
        // A partial clone would fetch what it lacks.
        git.env("GIT_ALLOW_PROTOCOL", "none").env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0");
        let output = git.env("LC_ALL", "C").output().map_err(RepositoryError::NoGit)?;
        Ok(match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        })
    }
}

impl Commit {
    /// The bytes of an entry.
    ///
    /// # Errors
    /// When git cannot read it.
    pub(crate) fn read(&self, entry: &Entry) -> Result<Vec<u8>, RepositoryError> {
        let read = self.repository.git(&["cat-file", "blob", &entry.object])?;
        read.map_err(|detail| self.repository.failed("read a file of a commit", detail))
    }

    /// The SHA-256 of an entry's bytes in hex, as builds state it of their lock files.
    ///
    /// # Errors
    /// When git cannot read it.
    pub(crate) fn sha256(&self, entry: &Entry) -> Result<String, RepositoryError> {
        Ok(hex::encode(Sha256::digest(self.read(entry)?)))
    }

    /// The first digits, as people write them.
    pub(crate) fn short(&self) -> &str {
        self.sha.get(..tracerag_schemas::anchor::COMMIT_LENGTH).unwrap_or(&self.sha)
    }
}

/// An address without user and password. `git@host:path` has no password.
fn without_login(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    if !url.has_host() || (url.set_password(None).and_then(|()| url.set_username(""))).is_err() {
        return address.to_owned();
    }
    url.into()
}

/// `100644 blob OBJECT    SIZE<tab>PATH`, as `ls-tree -l` prints an entry.
fn entry(line: &str) -> Option<(String, Entry)> {
    let (about, path) = line.split_once('\t')?;
    let mut words = about.split_ascii_whitespace();
    let (mode, _kind, object, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let kind = match mode {
        "120000" => Kind::Link,
        "160000" => Kind::Submodule,
        _ => Kind::File,
    };
    let entry = Entry { kind, object: object.to_owned(), size: size.parse().unwrap_or_default() };
    Some((path.to_owned(), entry))
}
