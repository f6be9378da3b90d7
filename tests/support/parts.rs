//! Parts that may be missing, and waiting for others. The tests of the lake's crate have this file, too.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Ports that tests listen on: below those that Linux gives to whoever connects, and above those that programs are known by.
/// Each process of tests has a part of them, as several may run at once.
const FIRST_PORT: u16 = 10_000;
const PORTS_OF_A_PROCESS: u16 = 2_000;
const PROCESSES: u32 = 11;

/// The path that `variable` names, or `None` after one line that says what does not run.
///
/// # Panics
/// With `CI=true`, where nothing may be left out.
pub fn part(variable: &str, what: &str) -> Option<PathBuf> {
    if std::env::var_os("TRACERAG_TEST_SKIP_KAFKA").is_some() {
        return None;
    }
    find(variable, what)
}

fn find(variable: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    if path.is_none() {
        let text = format!("{what} is not there ({variable} names none): run ./check");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true, and {text}");
        note(&format!("left out, {text}"));
    }
    path
}

/// One line on standard error that the test harness does not swallow.
pub fn note(text: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "{test}: {text}");
}

/// Waits until `done` gives a value, looking every 50 ms.
///
/// # Panics
/// After `limit`, with `what` in the message.
pub fn wait_for<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Tries again what took longer than is promised, five times at most, and gives what the first try gave that did not: a machine
/// that has other work makes one or the other late, and what breaks its promise is late each time. A try gives its own time,
/// for not all that it does is promised.
///
/// # Panics
/// When each took longer, with `what` in the message.
pub fn in_time<T>(what: &str, promised: Duration, mut one: impl FnMut() -> (T, Duration)) -> T {
    let mut late = Vec::new();
    while late.len() < 5 {
        let (value, took) = one();
        if took < promised {
            return value;
        }
        late.push(took);
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("{what} took longer than {promised:?} each time: {late:?}");
}

/// A TCP port of the loopback address that nobody listened on a moment ago. Until its owner does, which may take long, no
/// connection gets it for its own end, and this process gives it to nobody else before it has given all that it has.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = FIRST_PORT + (std::process::id() % PROCESSES) as u16 * PORTS_OF_A_PROCESS;
    (0..PORTS_OF_A_PROCESS)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS_OF_A_PROCESS)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of so many ports is free")
}
