//! What a running worker says: how many traces are open is in its memory only.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long the worker may take to connect, and to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// More than any worker's metrics take.
const ANSWER_BYTES: u64 = 4 << 20;

/// Open traces of the worker that answers at an address; `None` if none does, or has not counted yet.
pub(super) async fn open_traces(listen: &str) -> Option<u64> {
    let listen = listen.to_owned();
    tokio::task::spawn_blocking(move || gauge(&metrics(&listen, ANSWER_WITHIN)?, "tracerag_open_traces")).await.ok()?
}

fn metrics(listen: &str, within: Duration) -> Option<String> {
    let address = listen.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, within).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

/// The value of a gauge without labels in Prometheus's text format.
fn gauge(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse::<f64>().ok().map(|value| value as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A gauge is found by its whole name, among comments and names that begin alike.
    #[test]
    fn a_gauge_is_found() {
        let text = "# TYPE tracerag_open_traces gauge\ntracerag_open_traces_total 7\ntracerag_open_traces 12\n";
        assert_eq!(gauge(text, "tracerag_open_traces"), Some(12));
        assert_eq!(gauge(text, "tracerag_window_bytes"), None);
    }

    /// What answers with anything but status 200 is no worker, and neither is an address where nobody listens.
    #[test]
    fn only_a_worker_counts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let metrics = |listen: &str| metrics(listen, Duration::from_secs(60));
        let server = std::thread::spawn(move || {
            for status in ["404 Not Found", "200 OK"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\ntracerag_open_traces 3\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(metrics(&address), None);
        assert_eq!(metrics(&address).as_deref(), Some("tracerag_open_traces 3\n"));
        server.join().unwrap();
        assert_eq!(metrics(&address), None);
        assert_eq!(metrics(""), None);
    }
}
