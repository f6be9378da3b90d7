//! TLS for listeners: handshakes go on beside the acceptance of others, and one that dawdles is given up.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::{ServeError, TlsFiles};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once; of more the oldest goes.
const HANDSHAKES: usize = 256;

/// What makes a connection a TLS connection.
#[derive(Clone)]
pub(super) struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// With the certificate and the key of these files, for a protocol by its name in TLS (ALPN).
    pub(super) fn new(files: &TlsFiles, protocol: &str) -> Result<Self, ServeError> {
        let refused = |file: &std::path::Path, reason: String| ServeError::Tls { file: file.to_owned(), reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| refused(&files.certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(refused(&files.certificate, String::from("it holds no certificate in PEM")));
        }
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refused(&files.key, error.to_string()))?;
        // The process may hold two providers of cryptography, so the one that is meant is named.
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| refused(&files.certificate, error.to_string()))?;
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// For a protocol that begins in clear and asks for TLS itself.
    pub(super) fn into_inner(self) -> TlsAcceptor {
        self.0
    }
}

/// A listener whose connections have shaken hands.
pub(super) struct TlsListener {
    address: io::Result<SocketAddr>,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    pub(super) fn new(listener: TcpListener, Acceptor(acceptor): Acceptor) -> Self {
        let address = listener.local_addr();
        let (connections, ready) = mpsc::channel(HANDSHAKES);
        let shake = move |stream: TcpStream| acceptor.accept(stream);
        Self { address, ready, accepting: tokio::spawn(accept(listener, shake, connections, HANDSHAKE)) }
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts connections and lets them shake hands within a time, each on its own. When too many do, the one that has for
/// longest is dropped: a client that means it is done within a round trip or two, so who holds connections open without
/// a word keeps out nobody but himself.
async fn accept<S, H>(
    mut listener: TcpListener,
    shake: impl Fn(TcpStream) -> H + Send + 'static,
    connections: mpsc::Sender<(S, SocketAddr)>,
    within: Duration,
) where
    S: Send + 'static,
    H: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut shaking = JoinSet::new();
    let mut in_order: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, address) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            Some(_) = shaking.join_next() => continue,
        };
        super::without_delay(&stream);
        in_order.retain(|task| !task.is_finished());
        if in_order.len() >= HANDSHAKES
            && let Some(oldest) = in_order.pop_front()
        {
            tracing::debug!("too many TLS handshakes at once, the oldest is given up");
            oldest.abort();
        }
        let (shaken, connections) = (shake(stream), connections.clone());
        in_order.push_back(shaking.spawn(async move {
            match tokio::time::timeout(within, shaken).await {
                // A listener that is gone takes no connection.
                Ok(Ok(stream)) => drop(connections.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS connection came of it"),
                Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
            }
        }));
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task that accepts ends with this listener only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// More connections than may shake hands at once are opened and say nothing. One that says what it should is ready
    /// all the same, long before any of the others is given up for its time; the oldest of these is closed.
    #[tokio::test]
    async fn idle_connections_keep_out_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, mut ready) = mpsc::channel(1);
        let shake = |mut stream: TcpStream| async move {
            let mut hello = [0];
            stream.read_exact(&mut hello).await.map(|_| hello)
        };
        let within = Duration::from_secs(600);
        let accepting = tokio::spawn(accept(listener, shake, connections, within));
        let begun = tokio::time::Instant::now();
        let mut idle = Vec::new();
        for _ in 0..=HANDSHAKES {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"x").await.unwrap();
        let (hello, _) = ready.recv().await.unwrap();
        assert_eq!(&hello, b"x");
        let mut end = [0];
        assert_eq!(idle[0].read(&mut end).await.unwrap_or_default(), 0, "the oldest is closed");
        assert!(begun.elapsed() < within, "the oldest went for its time only");
        accepting.abort();
    }
}
