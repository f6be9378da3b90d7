//! A git repository for one test. The unit tests of the program use this file, too.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A repository in a folder that goes with it.
pub struct TestRepository {
    folder: TempDir,
}

impl TestRepository {
    /// A repository with one commit of these files.
    pub fn of(files: &[(&str, &str)]) -> TestRepository {
        let this = TestRepository { folder: tempfile::tempdir().expect("a folder for the repository") };
        this.git(&["init", "--quiet"]);
        for (path, content) in files {
            this.write(path, content);
        }
        this.commit();
        this
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the work tree, with the folders above it.
    pub fn write(&self, path: &str, content: &str) -> PathBuf {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a file has a folder")).expect("the folder is made");
        std::fs::write(&file, content).expect("the file is written");
        file
    }

    /// Commits the work tree; the commit, with all its digits.
    pub fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "-m", "a commit"]);
        self.head()
    }

    /// The newest commit.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// What `git diff` says of the work tree, files that are not added included; the work tree is as before then.
    pub fn diff(&self) -> String {
        self.git(&["add", "--all"]);
        let diff = self.git(&["diff", "--cached", "--no-color", "--no-ext-diff"]);
        self.git(&["reset", "--quiet", "--hard"]);
        diff
    }

    /// Runs git, which has to succeed, without the configuration of whoever runs the test; what it prints.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(self.path()).args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(name);
        }
        let output = git.output().expect("git starts");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("git prints UTF-8")
    }
}
