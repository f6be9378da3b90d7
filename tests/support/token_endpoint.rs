//! The token endpoint of an identity provider, as far as a Kafka client with OIDC asks for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::kafka::{PASSWORD, USER};

/// How long a client may take for its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
const TOKEN_LASTS_SECONDS: u64 = 300;

/// Answers until it is dropped. [`USER`] with [`PASSWORD`] as its secret gets a token that is not signed, anybody else
/// is turned away.
pub struct TokenEndpoint {
    address: SocketAddr,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TokenEndpoint {
    /// Listens on a free port of the loopback address.
    pub fn start() -> TokenEndpoint {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback address has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let is_stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_stopping);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::Acquire) {
                    return;
                }
                // A client that hangs up misses its answer and says so itself.
                let _ = stream.and_then(|stream| answer(&stream));
            }
        });
        TokenEndpoint { address, is_stopping, thread: Some(thread) }
    }

    /// Where tokens are asked for.
    pub fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_WITHIN))?;
    let mut request = BufReader::new(stream);
    let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let (mut length, mut is_known) = (0, false);
    loop {
        let mut line = String::new();
        request.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.starts_with("POST ") {
                continue;
            }
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => is_known = value == expected,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    request.read_exact(&mut body)?;
    let (status, text) = if is_known && body.starts_with(b"grant_type=client_credentials") {
        let text = json!({"access_token": token(), "token_type": "Bearer", "expires_in": TOKEN_LASTS_SECONDS});
        ("200 OK", text.to_string())
    } else {
        ("401 Unauthorized", json!({"error": "invalid_client"}).to_string())
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// A JSON Web Token without a signature, with the claims that librdkafka and the broker look at.
fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": USER, "iat": now, "exp": now + TOKEN_LASTS_SECONDS});
    format!("{}.{}.", part(json!({"alg": "none"})), part(claims))
}
