//! Programs that are given a time: with it they end, and so does what they have started.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Bytes of output that are kept, from its end.
const MOST_KEPT: usize = 16 << 10;
/// How often it is looked whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the rest of its output may take after that: something that it left behind may hold the pipe.
const REST: Duration = Duration::from_secs(1);

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whether with status 0 and in time.
    pub passed: bool,
    pub timed_out: bool,
    /// The end of what it printed.
    pub output: String,
}

/// Runs a program to its end.
///
/// # Errors
/// When it does not start.
pub(super) fn run(mut command: Command, limit: Duration) -> std::io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let printed = [child.stdout.take().map(collect), child.stderr.take().map(collect)];
    let until = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() >= until => break None,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    end(&mut child);
    let texts = printed.into_iter().flatten().filter_map(|text| text.recv_timeout(REST).ok());
    let output = texts.collect::<Vec<_>>().join("\n");
    Ok(Ended { passed: status.is_some_and(|status| status.success()), timed_out: status.is_none(), output })
}

fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept: Vec<u8> = Vec::new();
        let mut piece = [0; 8192];
        while let Ok(read @ 1..) = pipe.read(&mut piece) {
            kept.extend_from_slice(piece.get(..read).unwrap_or_default());
            let over = kept.len().saturating_sub(MOST_KEPT);
            kept.drain(..over);
        }
        // Nobody may wait for it any more.
        let _ = give.send(String::from_utf8_lossy(&kept).into_owned());
    });
    take
}

/// Ends a program, which leads a process group of its own, with all that is in the group.
pub(super) fn end(child: &mut Child) {
    let group = format!("-{}", child.id());
    let ended = Command::new("kill").args(["-KILL", "--", &group]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if ended.is_err() {
        // Without the command, at least the program itself.
        let _ = child.kill();
    }
    let _ = child.wait();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Status and output of a program are told; one that does not end is ended with what it has started.
    #[test]
    fn programs_end_in_time() {
        let ended = run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(60)).unwrap();
        assert_eq!((ended.passed, ended.timed_out), (false, false));
        assert!(ended.output.contains("out") && ended.output.contains("err"), "{}", ended.output);
        assert!(run(shell("true"), Duration::from_secs(60)).unwrap().passed);
        let ended = run(shell("echo begun; sleep 600 & sleep 600"), Duration::from_millis(300)).unwrap();
        assert_eq!((ended.passed, ended.timed_out), (false, true));
        assert!(run(Command::new("/nowhere/at-all"), Duration::from_secs(1)).is_err());
    }
}
