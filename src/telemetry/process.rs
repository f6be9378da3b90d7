//! CPU time, memory and start of this process, under the names that Prometheus' own clients give them.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Says when the process began, in seconds of Unix time, to within its first moments.
pub(super) fn began() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!("process_start_time_seconds").set(since.as_secs_f64());
}

/// Says what the process has used so far, where there is a `/proc` to ask (Linux). Counters hold whole numbers, so CPU
/// time is whole seconds.
pub(super) fn measure() {
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        metrics::counter!("process_cpu_seconds_total").absolute(seconds);
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
}

/// User and system time of `/proc/PID/stat`, which counts a hundred ticks a second.
fn cpu_seconds(stat: &str) -> Option<u64> {
    // Fields are counted after the command's name, which may hold anything but ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) / 100)
}

/// Resident memory of `/proc/PID/status`, which counts KiB and calls them kB.
fn resident_bytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose name has spaces and a parenthesis, and what the kernel writes for it. Guarantees that fields are
    /// counted from the right place, and that units are those of the names.
    #[test]
    fn fields_are_found() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 900 0 0 0 1234 566 9 9 20 0 4 0 5210 90 80";
        assert_eq!(cpu_seconds(stat), Some(18));
        assert_eq!(resident_bytes("Name:\ta b) c\nVmHWM:\t     900 kB\nVmRSS:\t     812 kB\n"), Some(812 * 1024));
    }

    /// Text without the fields. Guarantees that nothing is told then, rather than a zero.
    #[test]
    fn what_is_not_there_is_not_told() {
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        assert_eq!(resident_bytes("Name:\ta\n"), None);
    }

    /// This very process. Guarantees that the system writes what is read here.
    #[test]
    fn the_system_tells_of_this_process() {
        assert!(cpu_seconds(&fs::read_to_string("/proc/self/stat").unwrap_or_default()).is_some());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        assert!(resident_bytes(&status).is_some_and(|bytes| bytes > 1 << 20));
    }
}
