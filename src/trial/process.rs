//! A program with a limit of time, and what it prints up to a limit of bytes.

use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long what a program has printed may take to arrive after its end.
const GRACE: Duration = Duration::from_secs(2);
/// Chunks that may wait to be taken.
const WAITING: usize = 64;

/// What a program printed: its beginning and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    head: Vec<u8>,
    tail: Vec<u8>,
    left_out: usize,
    room: usize,
}

impl Printed {
    /// Room for twice so many bytes.
    fn with_room(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    fn take(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.room - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        // Cut seldom, so that no byte is moved for each that comes.
        if self.tail.len() > 2 * self.room {
            let over = self.tail.len() - self.room;
            self.tail.drain(..over);
            self.left_out += over;
        }
    }

    /// All that was kept, with a line about what was not.
    pub(crate) fn text(&self) -> String {
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&self.tail));
        match self.left_out {
            0 => format!("{head}{tail}"),
            left_out => format!("{head}\n[{left_out} bytes are left out]\n{tail}"),
        }
    }
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None`: it was ended, for its time was over.
    pub status: Option<ExitStatus>,
    pub printed: Printed,
    pub took: Duration,
}

/// Runs a program with its children in a process group of their own, which ends with it. `input` is its standard input;
/// standard output is gathered, twice `room` bytes at most.
///
/// # Errors
/// When it does not start or cannot be waited for.
pub(super) fn run(command: &mut Command, input: &[u8], limit: Duration, room: usize) -> io::Result<Ran> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program that reads nothing must not hold this one up.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let (chunks, taken) = sync_channel(WAITING);
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || forward(stdout, &chunks));
    }
    let mut printed = Printed::with_room(room);
    let is_in_time = loop {
        take_for(&taken, LOOK, &mut printed);
        if has_ended(&mut child)? {
            break true;
        }
        if begun.elapsed() >= limit {
            break false;
        }
    };
    let took = begun.elapsed();
    // Also after a good end: what it has left behind holds its output open, and may go on for ever.
    let status = end(&mut child)?;
    take_for(&taken, GRACE, &mut printed);
    Ok(Ran { status: is_in_time.then_some(status), printed, took })
}

/// Whether a program has ended. It stays there to be waited for, and its id is nobody else's until then.
#[cfg(target_os = "linux")]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    Ok(waitid(Id::Pid(id(child)?), ended)? != WaitStatus::StillAlive)
}

/// Whether a program has ended. Elsewhere its id may be another's from then on.
#[cfg(not(target_os = "linux"))]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

fn id(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)
}

/// Ends a program that leads a process group of its own, with all that is in the group; how it ended. It must not have
/// been waited for: then its id may be that of another group.
///
/// # Errors
/// When it cannot be waited for.
pub(crate) fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // The group may be gone already.
    let _ = killpg(id(child)?, Signal::SIGKILL);
    child.wait()
}

fn forward(mut from: impl Read, to: &SyncSender<Vec<u8>>) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 || to.send(chunk[..read].to_vec()).is_err() {
            return;
        }
    }
}

/// Takes what comes within a time, or until there will be nothing more.
fn take_for(taken: &Receiver<Vec<u8>>, time: Duration, printed: &mut Printed) {
    let until = Instant::now() + time;
    loop {
        match taken.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(chunk) => printed.take(&chunk),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => {
                // Whoever closes its output need not have ended.
                return std::thread::sleep(until.saturating_duration_since(Instant::now()).min(LOOK));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &[u8], limit: Duration) -> Ran {
        run(Command::new("sh").args(["-c", script]), input, limit, 64).unwrap()
    }

    /// A program gets its input, and its status and output come back. One whose time is over is ended, with the children
    /// that it has started: what they hold open does not hold anything up.
    #[test]
    fn a_program_ends_by_itself_or_is_ended() {
        let ran = shell("cat; exit 3", b"hello", Duration::from_secs(60));
        assert_eq!((ran.status.unwrap().code(), ran.printed.text().as_str()), (Some(3), "hello"));
        // A slow machine may need longer until the shell has begun.
        let is_told = [300, 3_000, 30_000].into_iter().any(|limit| {
            let ran = shell("echo begun; sleep 600 & sleep 600", b"", Duration::from_millis(limit));
            assert!(ran.status.is_none(), "{ran:?}");
            ran.printed.text() == "begun\n"
        });
        assert!(is_told);
        let ran = shell("sleep 600 & echo done", b"", Duration::from_secs(60));
        assert!(ran.status.unwrap().success() && ran.took < Duration::from_secs(60));
    }

    /// Of a long output the beginning and the end are kept, and it is said how much is not.
    #[test]
    fn long_output_is_cut_in_the_middle() {
        let ran = shell("echo first; seq 1 10000; echo last", b"", Duration::from_secs(60));
        let text = ran.printed.text();
        assert!(text.starts_with("first\n1\n") && text.ends_with("last\n") && text.contains("bytes are left out"));
        assert!(text.len() < 1_000, "{}", text.len());
    }
}
