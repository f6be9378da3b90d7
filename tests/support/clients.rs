//! Clients that others wrote: they drive a running server, each by a small program below `tests/clients`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::part;
use super::program::Ran;

/// Seconds that one client's program may take, some of which ask hundreds of questions of a slow machine. It is killed then
/// (status 124 or 137), so that a server that never answers fails its test.
const LIMIT: &str = "3600";

/// The clients that `scripts/clients/build.sh` installed.
pub struct Clients {
    folder: PathBuf,
}

impl Clients {
    /// `None` if they are not there, see [`part`].
    pub fn find() -> Option<Clients> {
        Some(Clients { folder: part("TRACERAG_TEST_CLIENTS", "the folder of clients")? })
    }

    /// Runs a Python program of `tests/clients` with `arguments`.
    pub fn python(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = limited(self.folder.join("python/bin/python"));
        // The sources may be read-only, and stay as they are.
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(source(program)).args(arguments);
        run(command)
    }

    /// Starts a Python program of `tests/clients` that answers each line of its input with one of its output.
    pub fn python_to_ask(&self, program: &str, arguments: &[&str]) -> Asked {
        let mut command = limited(self.folder.join("python/bin/python"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(source(program)).args(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("timeout, of every Linux, starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("output is a pipe"));
        Asked { child, input, output: BufReader::new(output) }
    }

    /// Runs a Java program of one file of `tests/clients` with `arguments`; it sees the JDBC drivers.
    pub fn java(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = limited("java");
        // Arrow reaches into Java's own buffers.
        command.arg("--add-opens=java.base/java.nio=ALL-UNNAMED");
        command.arg("-cp").arg(self.folder.join("jars/*")).arg(source(program)).args(arguments);
        run(command)
    }

    /// Runs a JavaScript program (`.mjs`) of `tests/clients` with `arguments`. `NODE_MODULES` tells it where the packages
    /// are, for modules are looked for beside the program only.
    pub fn node(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = limited("node");
        command.env("NODE_MODULES", self.folder.join("node_modules")).arg(source(program)).args(arguments);
        run(command)
    }

    /// Runs `psql`, which is the system's own, without a file of settings, and never asking for a password.
    pub fn psql(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = limited("psql");
        command.args(["--no-psqlrc", "--no-password"]).envs(variables.iter().copied()).args(arguments);
        run(command)
    }
}

/// A program that is running and answers. It ends when this is dropped.
pub struct Asked {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Asked {
    /// The line that a line is answered with.
    pub fn ask(&mut self, line: &str) -> String {
        let input = self.input.as_mut().expect("input is a pipe");
        writeln!(input, "{line}").expect("the program reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the program answers in UTF-8");
        assert!(answer.ends_with('\n'), "the program ended: {answer}");
        answer
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn source(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program)
}

/// A command that runs `program` for no longer than [`LIMIT`]. Servers of tests are on this machine, so that a proxy of the
/// environment is not for them.
fn limited(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", LIMIT]).arg(program.as_ref()).stdin(Stdio::null());
    command.envs([("NO_PROXY", "*"), ("no_proxy", "*")]);
    command
}

fn run(mut command: Command) -> Ran {
    Ran::from(command.output().expect("timeout, of every Linux, starts"))
}
