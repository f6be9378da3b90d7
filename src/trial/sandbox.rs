//! Where code that is tried runs: without network, without what the environment knows, without a file of its user that it
//! could write, and within limits.
//!
//! Linux gives a process namespaces of its own through `unshare`: no network but itself, no processes but its own, and a
//! view of the files in which everything is read-only but its own work tree and home (`isolate.sh`). It has no terminal,
//! into which it could type, and does not reach the sockets of others, such as an SSH agent's or a container engine's,
//! which would do things for it outside. It is no wall against reading: the code runs as its user, and reads their files.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use thiserror::Error;

use super::process::{self, Ran};

/// Bytes of output that are kept, of the beginning and of the end each.
const OUTPUT: usize = 2 << 20;
/// How long the trial of the isolation itself may take.
const PROBE: Duration = Duration::from_secs(20);

/// Variables that are handed on where they are set: they say where tools and modules lie.
const HANDED_ON: [&str; 6] = ["GOMODCACHE", "GOROOT", "JAVA_HOME", "NODE_PATH", "PYENV_ROOT", "VIRTUAL_ENV"];
/// What keeps package managers from asking for what they will not get.
const OFFLINE: [(&str, &str); 6] = [
    ("GOPROXY", "off"),
    ("GOTOOLCHAIN", "local"),
    ("PIP_NO_INDEX", "1"),
    ("npm_config_offline", "true"),
    ("MAVEN_ARGS", "--offline"),
    ("CARGO_NET_OFFLINE", "true"),
];
/// What `unshare` takes away in any case.
const NAMESPACES: [&str; 7] = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount"];
/// Closes what is not left open, and runs the program.
const SCRIPT: &str = include_str!("isolate.sh");
/// Folders that `isolate.sh` covers with empty ones.
const COVERED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// Sockets of engines that would run programs outside; in a container they may come from another namespace.
const ENGINES: [&str; 3] = ["/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"];
/// The sockets of this network namespace, with the paths of those that have one.
const SOCKETS: &str = "/proc/net/unix";

/// What is left open to the code although it could be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Open {
    /// The network.
    pub network: bool,
    /// Every file that the user can write, and the sockets of others.
    pub files: bool,
}

impl Open {
    /// Nothing is isolated: for machines that cannot.
    pub(crate) const ALL: Self = Self { network: true, files: true };
}

/// What runs may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of one run.
    pub time: Duration,
    /// Bytes of address space of one process.
    pub memory: u64,
}

/// The code would not run as it was asked for.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Network or files cannot be closed to the code.
    #[error(
        "the code cannot be isolated here ({0}): that takes Linux with `unshare` and user namespaces (see \
         kernel.unprivileged_userns_clone and the container's security profile); `--network --write-files` together try \
         it as a program of yours, with all that you may do"
    )]
    NotCut(String),
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// A place to run in.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// Where each run has its home and its temporary folder.
    place: PathBuf,
    open: Open,
    limits: Limits,
    variables: Vec<(String, String)>,
    /// Folders that are needed, and stay visible where everything beside them is covered.
    needed: Vec<PathBuf>,
    /// Folders that the code may change for itself: what it writes there is thrown away.
    layers: Vec<PathBuf>,
}

impl Sandbox {
    /// Tries whether programs can run as asked. Each has a home of its own in `place`. `more` are variables that were
    /// given by name; folders that they name can be changed for the time of a run. `needed` are folders to read.
    ///
    /// # Errors
    /// [`SandboxError::NotCut`] where something would be open although it was not asked for.
    pub(super) fn new(
        place: &Path,
        open: Open,
        limits: Limits,
        more: &[(String, String)],
        needed: &[PathBuf],
    ) -> Result<Self, SandboxError> {
        // Mounts are known by what the path is without links.
        let place = place.canonicalize().map_err(failed(format!("find {}", place.display())))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let handed_on: Vec<(String, String)> = HANDED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok().filter(|value| !value.is_empty())?)))
            .collect();
        let layers: Vec<PathBuf> =
            more.iter().filter_map(|(_, value)| folder(value)).filter(|folder| !place.starts_with(folder)).collect();
        let mut needed = needed.to_vec();
        needed.extend(std::env::split_paths(&path).filter_map(|part| folder(&part.to_string_lossy())).map(around));
        needed.extend(handed_on.iter().filter_map(|(_, value)| folder(value)));
        needed.extend(layers.iter().cloned());
        let mut variables = vec![(String::from("PATH"), path), (String::from("LANG"), String::from("C.UTF-8"))];
        variables.extend(handed_on);
        match open.network {
            false => variables.extend(OFFLINE.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            // Else the folder could not be thrown away.
            true => variables.push((String::from("GOFLAGS"), String::from("-modcacherw"))),
        }
        variables.extend(more.iter().cloned());
        let this = Self { place, open, limits, variables, needed, layers };
        this.probe()?;
        Ok(this)
    }

    /// What it leaves open.
    pub(super) fn open(&self) -> Open {
        self.open
    }

    fn probe(&self) -> Result<(), SandboxError> {
        let ran = tempfile::tempdir_in(&self.place)
            .and_then(|tree| self.run_for(tree.path(), tree.path(), &[String::from("true")], PROBE));
        let told = match ran {
            Ok(ran) if ran.status.is_some_and(|status| status.success()) => return Ok(()),
            Ok(ran) => ran.printed.text().trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(match self.open {
            Open::ALL => {
                SandboxError::Io { what: String::from("run a program within limits"), source: io::Error::other(told) }
            }
            _ => SandboxError::NotCut(told),
        })
    }

    /// Runs a program in a folder of a tree, which it may write, with both its outputs in one. Its home and its temporary
    /// folder are empty, so that no run finds what another one has left there.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn run(&self, tree: &Path, folder: &Path, program: &[String]) -> Result<Ran, SandboxError> {
        let ran = self.run_for(tree, folder, program, self.limits.time);
        ran.map_err(failed(format!("run {}", program.join(" "))))
    }

    fn run_for(&self, tree: &Path, folder: &Path, program: &[String], limit: Duration) -> io::Result<Ran> {
        let (tree, folder) = (tree.canonicalize()?, folder.canonicalize()?);
        let own = tempfile::tempdir_in(&self.place)?;
        let (home, temporary) = (own.path().join("home"), own.path().join("tmp"));
        for made in [&home, &temporary] {
            std::fs::create_dir(made)?;
        }
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" 2>&1"#, "sh"]);
        if self.open != Open::ALL {
            command.args(NAMESPACES).args((!self.open.network).then_some("--net")).arg("setsid");
        }
        let mode = |is_open: bool| if is_open { "open" } else { "cut" };
        command.args(["sh", "-c", SCRIPT, "sh"]).arg((self.limits.memory >> 10).to_string());
        command.args([mode(self.open.network), mode(self.open.files)]).arg(own.path()).arg(&tree);
        if !self.open.files {
            let named = program.iter().map(Path::new).filter(|word| word.is_absolute() && word.exists());
            let mut needed: Vec<PathBuf> = named.map(|word| around(word.to_owned())).collect();
            needed.extend(self.needed.iter().cloned().chain([own.path().to_owned(), tree.clone()]));
            // A folder comes before those below it.
            needed.sort_unstable();
            command.args(needed);
        }
        command.arg("--");
        if !self.open.files {
            command.args(&self.layers);
        }
        command.arg("--");
        if !self.open.files {
            command.args(sockets());
        }
        command.arg("--").args(program).current_dir(&folder);
        command.env_clear().env("HOME", home).env("TMPDIR", temporary);
        command.envs(self.variables.iter().cloned()).env("PWD", folder);
        process::run(&mut command, b"", limit, OUTPUT)
    }
}

/// The folder that a variable names, if it names one other than the root.
fn folder(value: &str) -> Option<PathBuf> {
    let path = Path::new(value);
    let path = path.is_absolute().then(|| path.canonicalize().ok())??;
    (path.is_dir() && path.parent().is_some()).then_some(path)
}

/// What a program needs beside itself where it lies in a folder that is covered: an environment of Python, say, is more
/// than its `bin`. Elsewhere the path itself.
fn around(path: PathBuf) -> PathBuf {
    let below =
        |covered: &str| path.strip_prefix(covered).ok()?.components().next().map(|name| Path::new(covered).join(name));
    COVERED.into_iter().find_map(below).unwrap_or_else(|| path.clone())
}

/// Sockets in the file system, by which programs of others could be asked to do something.
fn sockets() -> Vec<PathBuf> {
    let listed = std::fs::read_to_string(SOCKETS).unwrap_or_default();
    let mut found: Vec<PathBuf> = listed
        .lines()
        .filter_map(|line| line.find(" /").and_then(|at| line.get(at + 1..)))
        .chain(ENGINES)
        .map(PathBuf::from)
        .filter(|path| std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket()))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

pub(super) fn failed(what: String) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Io { what, source }
}
