//! Where a suite is played: a repository with the commits of its builds, and the recording that names these commits.
//!
//! Both are made anew in a folder that goes with the value, the same each time: commits have fixed names and times, so
//! their ids, and with them the bundles, are the same on every machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::suite::Suite;
use super::words::Words;
use crate::error::Error;

/// The time of the first commit; each has a second more.
const FIRST_COMMIT: u64 = 1_700_000_000;

/// A suite that can be played.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    /// What is replaced in texts of the suite.
    words: Words,
    /// Recorded commits, and those that stand for them.
    commits: BTreeMap<String, String>,
    /// The recording, ready for a replay.
    pub files: Vec<PathBuf>,
}

impl Place {
    /// Makes repository and recording. With `renamed` the suite's words are replaced in both.
    ///
    /// # Errors
    /// When a file is not there, or git refuses something.
    pub(crate) fn make(suite: &Suite, renamed: bool) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("tracerag-eval-").tempdir();
        let folder = folder.map_err(Error::io("make a folder for the suite"))?;
        let words = if renamed { Words::names(&suite.rename) } else { Words::default() };
        let mut this = Self { folder, words, commits: BTreeMap::new(), files: vec![] };
        this.make_repository(suite)?;
        this.make_recording(suite)?;
        Ok(this)
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The repository.
    pub(crate) fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// A text of the suite as it holds here.
    pub(crate) fn text(&self, text: &str) -> String {
        self.words.replace(text)
    }

    /// The commit that stands for a recorded one.
    pub(crate) fn commit<'a>(&'a self, recorded: &'a str) -> &'a str {
        self.commits.get(recorded).map_or(recorded, String::as_str)
    }

    /// The tree of a commit with its history, and nothing that came later, in a new folder.
    ///
    /// # Errors
    /// When git refuses.
    pub(crate) fn checkout(&self, commit: &str) -> Result<TempDir, Error> {
        let folder = tempfile::Builder::new().prefix("tree-").tempdir_in(self.folder.path());
        let folder = folder.map_err(Error::io("make a folder for a commit"))?;
        git(folder.path(), &["init", "--quiet"], 0)?;
        let from = self.repository().display().to_string();
        git(folder.path(), &["fetch", "--quiet", "--no-tags", &from, &format!("refs/tags/build-{commit}")], 0)?;
        git(folder.path(), &["checkout", "--quiet", "--detach", "FETCH_HEAD"], 0)?;
        Ok(folder)
    }

    fn make_repository(&mut self, suite: &Suite) -> Result<(), Error> {
        let repository = self.repository();
        std::fs::create_dir_all(&repository).map_err(Error::io("make the repository"))?;
        git(&repository, &["init", "--quiet"], 0)?;
        let source = suite.folder.join(&suite.source.folder);
        for path in &suite.source.paths {
            self.copy(&source, path, &repository)?;
        }
        for (number, commit) in (0..).zip(&suite.source.commit) {
            if let Some(diff) = &commit.diff {
                let text = self.text(&suite.text(diff)?);
                apply(&repository, &self.path("commit.diff"), &text)?
                    .map_err(|why| Error::Usage(format!("{} does not apply: {why}", diff.display())))?;
            }
            // Whoever plays a suite may have the source among what git is told to ignore.
            git(&repository, &["add", "--all", "--force"], number)?;
            git(&repository, &["commit", "--quiet", "--allow-empty", "-m", &format!("build {}", number + 1)], number)?;
            let sha = git(&repository, &["rev-parse", "HEAD"], number)?.trim().to_owned();
            git(&repository, &["tag", &format!("build-{sha}")], number)?;
            self.commits.extend(commit.recorded.iter().map(|recorded| (recorded.clone(), sha.clone())));
        }
        Ok(())
    }

    /// Copies text files, with their names and contents renamed; caches that lie about stay behind.
    fn copy(&self, source: &Path, path: &Path, target: &Path) -> Result<(), Error> {
        let from = source.join(path);
        let failed = |error| Error::io(format!("copy {}", from.display()))(error);
        if path.file_name().is_some_and(|name| name == "__pycache__" || name == ".git") {
            return Ok(());
        }
        if from.is_dir() {
            let mut names: Vec<_> = std::fs::read_dir(&from)
                .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>())
                .map_err(failed)?;
            names.sort();
            return names.iter().try_for_each(|name| self.copy(source, &path.join(name), target));
        }
        let to = target.join(self.text(&path.to_string_lossy()));
        let bytes = std::fs::read(&from).map_err(failed)?;
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => self.text(&text).into_bytes(),
            Err(error) => error.into_bytes(),
        };
        let write = || {
            std::fs::create_dir_all(to.parent().unwrap_or(target))?;
            std::fs::write(&to, &bytes)
        };
        write().map_err(failed)
    }

    /// Writes the recording with the commits that stand for the recorded ones.
    fn make_recording(&mut self, suite: &Suite) -> Result<(), Error> {
        let mut words = self.words.clone();
        self.commits.iter().for_each(|(recorded, commit)| words.add(recorded.clone(), commit.clone()));
        let folder = self.path("recording");
        std::fs::create_dir_all(&folder).map_err(Error::io("make the folder of the recording"))?;
        for path in &suite.recording {
            let from = suite.folder.join(path);
            let failed = |error| Error::io(format!("read {}", from.display()))(error);
            let bytes = std::fs::read(&from).map_err(failed)?;
            let is_packed = from.extension().is_some_and(|extension| extension == "zst");
            let bytes = if is_packed { zstd::decode_all(bytes.as_slice()).map_err(failed)? } else { bytes };
            let text = String::from_utf8(bytes)
                .map_err(|error| failed(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
            let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let to = folder.join(name.trim_end_matches(".zst"));
            std::fs::write(&to, words.replace(&text)).map_err(Error::io(format!("write {}", to.display())))?;
            self.files.push(to);
        }
        Ok(())
    }
}

/// Applies a diff as the whole repository is made, without the user's configuration; why git does not.
fn apply(tree: &Path, file: &Path, diff: &str) -> Result<Result<(), String>, Error> {
    std::fs::write(file, diff).map_err(Error::io(format!("write {}", file.display())))?;
    let ran = run_git(tree, &["apply", "--whitespace=nowarn", &file.display().to_string()], 0)?;
    Ok(ran.map(drop))
}

fn git(folder: &Path, arguments: &[&str], number: u64) -> Result<String, Error> {
    run_git(folder, arguments, number)?.map_err(|detail| {
        Error::io(format!("run git {}", arguments.first().unwrap_or(&"")))(std::io::Error::other(detail))
    })
}

/// Runs git in a repository of ours, without what its user has configured.
fn run_git(folder: &Path, arguments: &[&str], number: u64) -> Result<Result<String, String>, Error> {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(arguments).stdin(Stdio::null());
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    let time = format!("{} +0000", FIRST_COMMIT + number);
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "suite").env(format!("GIT_{role}_EMAIL"), "suite@example.com");
        git.env(format!("GIT_{role}_DATE"), &time);
    }
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
        git.env_remove(name);
    }
    let output = git.output().map_err(Error::io("start git; install it, or put it on the PATH"))?;
    Ok(match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    })
}
