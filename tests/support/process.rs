//! A child process that never outlives the test binary.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end when it is asked to. Long after what any takes on a busy machine: it tells one that
/// ends late from one that never does.
const STOP: Duration = Duration::from_secs(600);

/// How long the system may take to be rid of a process that is killed.
const KILL: Duration = Duration::from_secs(60);

/// A shell stands between the tests and the process: it ends the process as soon as its standard input closes,
/// which the system does for a test binary that is killed, too, and removes its folder then. Lines on that input are
/// signals to send, or `leave`, which leaves the folder to the test.
const KEEPER: &str = r#"
trap '' INT HUP
"$@" </dev/null >>"$KEEPER_LOG" 2>&1 &
pid=$!
echo "$pid"
while read -r word; do
  case $word in
  leave) KEEPER_REMOVE= ;;
  *) kill -s "$word" "$pid" 2>/dev/null ;;
  esac
done
kill -s KILL "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
[ -z "$KEEPER_REMOVE" ] || rm -rf "$KEEPER_REMOVE"
"#;

/// A running program whose output goes to a file.
pub struct Process {
    keeper: Child,
    words: Option<ChildStdin>,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with `folder` as its own; both its outputs are appended to `log` there. The folder is deleted
    /// if the test binary ends without dropping the value: when it is killed, and for values in statics.
    pub fn start(command: &[String], folder: &Path, log: &str) -> Process {
        let log = folder.join(log);
        let mut keeper = Command::new("sh")
            .arg("-c")
            .arg(KEEPER)
            .arg("keeper")
            .args(command)
            .env("KEEPER_LOG", &log)
            .env("KEEPER_REMOVE", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("standard output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("the shell says the process id");
        let pid = line.trim().parse().expect("the process id is a number");
        let words = keeper.stdin.take();
        Process { keeper, words, pid, log }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by name: `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&mut self, name: &str) {
        if let Some(words) = &mut self.words {
            let _ = writeln!(words, "{name}");
        }
    }

    /// False once the process has ended.
    pub fn alive(&self) -> bool {
        self.state().is_some_and(|state| state != 'Z' && state != 'X')
    }

    /// True while the process stands still, which `STOP` has it do a moment after it is sent.
    pub fn stands_still(&self) -> bool {
        self.state() == Some('T')
    }

    fn state(&self) -> Option<char> {
        // After the command's name, which may hold anything but ends with the last parenthesis, comes the state.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        stat.rsplit(')').next()?.trim_start().chars().next()
    }

    /// Asks the process to end and waits; if it does not, it is killed. True if it ended by itself.
    pub fn terminate(self) -> bool {
        self.terminate_within(STOP)
    }

    /// The same for one that may be killed after `limit`, whatever it is doing.
    pub fn terminate_within(mut self, limit: Duration) -> bool {
        self.signal("TERM");
        self.gone_within(limit)
    }

    /// Kills the process at once and waits until it is gone.
    pub fn kill(mut self) {
        self.signal("KILL");
        assert!(self.gone_within(KILL), "process {} survives SIGKILL", self.pid);
    }

    fn gone_within(&self, limit: Duration) -> bool {
        let start = Instant::now();
        while self.alive() {
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// The last lines that the process wrote.
    pub fn log_tail(&self) -> String {
        let lines: Vec<String> = File::open(&self.log)
            .map(|file| BufReader::new(file).lines().map_while(Result::ok).collect())
            .unwrap_or_default();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("leave");
        drop(self.words.take());
        let _ = self.keeper.wait();
    }
}
