//! What a figure was measured on, and CPU time and memory of processes.

use std::fs;
use std::time::Duration;

/// CPU time that this process has used; see [`cpu_time_of`].
pub fn cpu_time() -> Duration {
    cpu_time_of(std::process::id())
}

/// CPU time that a process has used, user and system, from `/proc/PID/stat` (Linux, 100 ticks a second).
pub fn cpu_time_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields are counted after the command's name, which may hold spaces: utime and stime are 14 and 15.
    let ticks: u64 = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
        .unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

/// Greatest resident memory of this process so far, in bytes.
pub fn peak_memory() -> u64 {
    peak_memory_of(std::process::id())
}

/// Greatest resident memory of a process so far, in bytes.
pub fn peak_memory_of(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

/// Resident memory of a process at present, in bytes.
pub fn memory_of(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// A line of `/proc/PID/status`; 0 if there is none.
fn status_bytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// One line: cores and load, which decide what a figure is worth.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!("{cores} cores, load average {load} before the start")
}
