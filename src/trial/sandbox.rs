//! Where code that is tried runs: without network, without what the environment knows, and within limits.
//!
//! Linux gives a process namespaces of its own through `unshare`: no network but itself, no processes but its own, and
//! folders that it can only read. It has no terminal, into which it could type, and does not reach the user's session bus
//! and the engines of containers, which would run programs for it outside. It is no wall against what the user may do
//! with files: the code runs as that user, reads their files, and writes those that are not in such folders.

use std::io;
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
const WITHOUT_NETWORK: [&str; 9] =
    ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount", "setsid"];
/// Takes a limit in KiB, `cut` or `open`, folders that can only be read, `--`, and the program.
/// Sockets in the file system are reached without network, so those that lead out of here are covered.
/// The program is a child of its namespace's first process, which would not get signals as others do.
const SCRIPT: &str = r#"
ulimit -c 0
ulimit -v "$1" || exit 125
if [ "$2" = cut ]; then
  ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || :
  for folder in /run/user /run/dbus; do
    if [ -d "$folder" ]; then mount -t tmpfs -o ro tmpfs "$folder" || exit 125; fi
  done
  for socket in /run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock; do
    if [ -S "$socket" ]; then mount --bind /dev/null "$socket" || exit 125; fi
  done
fi
shift 2
while [ "$1" != -- ]; do mount --bind -o ro "$1" "$1" || exit 125; shift; done
shift
"$@"
exit $?
"#;

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
    /// The network cannot be taken away.
    #[error(
        "the network cannot be cut here ({0}): that takes Linux with `unshare` and user namespaces (see \
         kernel.unprivileged_userns_clone and the container's security profile); `--network` tries the code with network"
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
    network: bool,
    limits: Limits,
    variables: Vec<(String, String)>,
    read_only: Vec<PathBuf>,
}

impl Sandbox {
    /// Tries whether programs can run as asked. Each has a home of its own in `place`. `more` are variables that were
    /// given by name; `read_only` folders are, where there is no network.
    ///
    /// # Errors
    /// [`SandboxError::NotCut`] where there would be a network although none was asked for.
    pub(super) fn new(
        place: &Path,
        network: bool,
        limits: Limits,
        more: &[(String, String)],
        read_only: &[PathBuf],
    ) -> Result<Self, SandboxError> {
        let mut variables = vec![
            (String::from("PATH"), std::env::var("PATH").unwrap_or_default()),
            (String::from("LANG"), String::from("C.UTF-8")),
        ];
        let handed_on: Vec<(String, String)> = HANDED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok().filter(|value| !value.is_empty())?)))
            .collect();
        let mut read_only = read_only.to_vec();
        read_only.extend(handed_on.iter().map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_dir()));
        variables.extend(handed_on);
        match network {
            false => variables.extend(OFFLINE.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            // Else the folder could not be thrown away.
            true => variables.push((String::from("GOFLAGS"), String::from("-modcacherw"))),
        }
        variables.extend(more.iter().cloned());
        let this = Self { place: place.to_owned(), network, limits, variables, read_only };
        this.probe()?;
        Ok(this)
    }

    fn probe(&self) -> Result<(), SandboxError> {
        let ran = self.run_for(Path::new("/"), &[String::from("true")], PROBE);
        let told = match ran {
            Ok(ran) if ran.status.is_some_and(|status| status.success()) => return Ok(()),
            Ok(ran) => ran.printed.text().trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(match self.network {
            false => SandboxError::NotCut(told),
            true => {
                SandboxError::Io { what: String::from("run a program within limits"), source: io::Error::other(told) }
            }
        })
    }

    /// Runs a program in a folder, with both its outputs in one. Its home and its temporary folder are empty, so that no
    /// run finds what another one has left there.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn run(&self, folder: &Path, program: &[String]) -> Result<Ran, SandboxError> {
        self.run_for(folder, program, self.limits.time).map_err(failed(format!("run {}", program.join(" "))))
    }

    fn run_for(&self, folder: &Path, program: &[String], limit: Duration) -> io::Result<Ran> {
        let before: &[&str] = if self.network { &[] } else { &WITHOUT_NETWORK };
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" 2>&1"#, "sh"]).args(before).args(["sh", "-c", SCRIPT, "sh"]);
        command.arg((self.limits.memory >> 10).to_string()).arg(if self.network { "open" } else { "cut" });
        if !self.network {
            command.args(&self.read_only);
        }
        command.arg("--").args(program).current_dir(folder);
        let own = tempfile::tempdir_in(&self.place)?;
        let (home, temporary) = (own.path().join("home"), own.path().join("tmp"));
        for made in [&home, &temporary] {
            std::fs::create_dir(made)?;
        }
        command.env_clear().env("HOME", home).env("TMPDIR", temporary);
        command.envs(self.variables.iter().cloned()).env("PWD", folder);
        process::run(&mut command, b"", limit, OUTPUT)
    }
}

pub(super) fn failed(what: String) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Io { what, source }
}
