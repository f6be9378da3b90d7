//! TLS for listeners: handshakes go on beside the acceptance of others, and one that dawdles is given up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::{ServeError, TlsFiles};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once.
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
    pub(super) fn new(listener: TcpListener, acceptor: Acceptor) -> Self {
        let address = listener.local_addr();
        let (connections, ready) = mpsc::channel(HANDSHAKES);
        Self { address, ready, accepting: tokio::spawn(accept(listener, acceptor, connections)) }
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    mut listener: TcpListener,
    Acceptor(acceptor): Acceptor,
    connections: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let shaking = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&shaking).acquire_owned().await else { return };
        let (stream, address) = Listener::accept(&mut listener).await;
        super::without_delay(&stream);
        let (acceptor, connections) = (acceptor.clone(), connections.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // A listener that is gone takes no connection.
                Ok(Ok(stream)) => drop(connections.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS connection came of it"),
                Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
            }
            drop(permit);
        });
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
