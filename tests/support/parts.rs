//! Parts that may be missing, and waiting for others. The tests of the lake's crate have this file, too.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

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

/// A TCP port of the loopback address that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the loopback address has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
