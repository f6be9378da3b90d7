//! The other servers of the lake: where they are, a connection to each, and which of them failed a moment ago.
//!
//! A server asks those of its configuration and no others, whatever address a plan names: a token goes nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use axum::http::{HeaderMap, Uri};
use datafusion::common::{Result, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    WorkerChannel, WorkerResolver, WorkerToCoordinatorMsg,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::Code;
use tonic::transport::Endpoint;
use tower::util::{MapRequest, service_fn};
use url::Url;

use super::token::{HEADER, Key};
use crate::error::QueryError;

/// How long it may take to reach a peer.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a peer that has work is asked whether it is there, and how long its answer may take.
const ASKED: Duration = Duration::from_secs(5);
/// Bytes that a peer may send ahead of what is read, for each stream and for all of a connection: the most that there is.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How long a peer that failed gets no more work; in tests longer than any of them takes.
const REST: Duration = Duration::from_secs(if cfg!(test) { 3_600 } else { 30 });

/// Why a server cannot have these peers.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// An address is none.
    #[error("serve.peers has {url:?}, which is no address; write e.g. https://serve-1.example.com:8082")]
    Address {
        /// As it is configured.
        url: String,
    },
    /// The certificates that peers are checked with cannot be used.
    #[error("cannot use {}: {reason}; see serve.peers_certificates", .file.display())]
    Certificates {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A peer's certificate could be checked by nothing.
    #[error("serve.peers has {url}, but nothing says whose certificate it may show; set serve.peers_certificates")]
    Unchecked {
        /// The peer.
        url: Url,
    },
}

/// All peers; clones share what is known of them.
#[derive(Clone)]
pub(super) struct Channels {
    peers: Arc<BTreeMap<Url, Peer>>,
}

struct Peer {
    channel: BoxCloneSyncChannel,
    /// When it failed last.
    failed: Mutex<Option<Instant>>,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.peers.keys().map(Url::as_str)).finish()
    }
}

impl Channels {
    /// Channels to peers, which are opened when they are needed. It has to be called within a runtime, which the
    /// connections live on.
    ///
    /// # Errors
    /// See [`PeersError`].
    pub(super) fn new(urls: &[String], certificates: Option<&Path>, key: &Key) -> Result<Self, PeersError> {
        let tls = certificates.map(connector).transpose()?;
        let mut peers = BTreeMap::new();
        for text in urls {
            let wrong = || PeersError::Address { url: text.clone() };
            let url = Url::parse(text).map_err(|_| wrong())?;
            let connector = match url.scheme() {
                "http" => None,
                "https" => Some(tls.clone().ok_or_else(|| PeersError::Unchecked { url: url.clone() })?),
                _ => return Err(wrong()),
            };
            let channel = channel(&url, connector, key.clone()).ok_or_else(wrong)?;
            peers.insert(url, Peer { channel, failed: Mutex::new(None) });
        }
        Ok(Self { peers: Arc::new(peers) })
    }

    /// Peers that may be asked now.
    pub(super) fn ready(&self) -> Vec<Url> {
        let is_ready = |peer: &Peer| {
            let failed = peer.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.is_none_or(|failed| failed.elapsed() > REST)
        };
        self.peers.iter().filter(|(_, peer)| is_ready(peer)).map(|(url, _)| url.clone()).collect()
    }

    /// What came of a request to a peer as it is told; where the peer cannot be asked, that is noted.
    fn failed(&self, url: &Url, error: DataFusionError) -> DataFusionError {
        let DataFusionError::External(source) = &error else { return error };
        let Some(status) = source.downcast_ref::<tonic::Status>() else { return error };
        let reason = match std::error::Error::source(status) {
            Some(source) => format!("{}: {source}", status.message()),
            None => status.message().to_owned(),
        };
        metrics::counter!("tracerag_query_peer_failures_total", "peer" => url.to_string()).increment(1);
        if is_gone(status) {
            if let Some(peer) = self.peers.get(url) {
                *peer.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            let rest_seconds = REST.as_secs();
            tracing::warn!(peer = %url, reason, rest_seconds, "a peer failed and gets no work for a while");
        } else {
            tracing::warn!(peer = %url, reason, "a peer did not take a request");
        }
        QueryError::PeerFailed.into()
    }
}

/// Whether a status says that a peer cannot be asked, and not that one request of it was wrong or is over.
fn is_gone(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unauthenticated | Code::DeadlineExceeded)
        || std::error::Error::source(status).is_some()
}

impl WorkerResolver for Channels {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.ready())
    }
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let Some(peer) = self.peers.get(url) else {
            return plan_err!("{url} is no peer of this server; let serve.peers be the same list everywhere");
        };
        let inner = create_worker_client(peer.channel.clone());
        Ok(Box::new(Watched { inner, url: url.clone(), channels: self.clone() }))
    }
}

/// A channel to a peer whose failures are noted.
struct Watched {
    inner: Box<dyn WorkerChannel>,
    url: Url,
    channels: Channels,
}

impl Watched {
    fn noted<T: Send + 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let (channels, url) = (self.channels.clone(), self.url.clone());
        stream.map_err(move |error| channels.failed(&url, error)).boxed()
    }
}

#[async_trait]
impl WorkerChannel for Watched {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        c2w_stream: BoxStream<'static, CoordinatorToWorkerMsg>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        match self.inner.coordinator_channel(headers, c2w_stream).await {
            Ok(stream) => Ok(self.noted(stream)),
            Err(error) => Err(self.channels.failed(&self.url, error)),
        }
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        task_ctx: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        match self.inner.execute_task(headers, request, metrics, task_ctx).await {
            Ok(streams) => Ok(streams.into_iter().map(|stream| self.noted(stream)).collect()),
            Err(error) => Err(self.channels.failed(&self.url, error)),
        }
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

/// A channel to an address whose every request shows a token of its own. `None`: the address has no host, or is none.
fn channel(url: &Url, tls: Option<TlsConnector>, key: Key) -> Option<BoxCloneSyncChannel> {
    let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
    // Whether TLS is spoken is decided by what connects; the library would refuse the scheme otherwise.
    let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"))
        .ok()?
        .connect_timeout(CONNECT)
        // One stream that is not read, as the larger side of a join is until the other one is there, shall not hold up the
        // others of its connection.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(ASKED)
        .keep_alive_timeout(ASKED);
    let channel = match tls {
        None => endpoint.connect_lazy(),
        Some(tls) => endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (tls, host) = (tls.clone(), host.clone());
            async move {
                let host = host.trim_matches(['[', ']']).to_owned();
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
            }
        })),
    };
    let signed = MapRequest::new(channel, move |mut request: axum::http::Request<tonic::body::Body>| {
        if let Some(token) = key.token() {
            request.headers_mut().insert(HEADER, token);
        }
        request
    });
    Some(BoxCloneSyncChannel::new(signed))
}

/// What speaks TLS with peers whose certificates are signed by one of a file.
fn connector(file: &Path) -> Result<TlsConnector, PeersError> {
    let refused = |reason: String| PeersError::Certificates { file: file.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| refused(error.to_string()))? {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused(String::from("it holds no certificate in PEM")));
    }
    // The process may hold two providers of cryptography, so the one that is meant is named.
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tests::lake::TestLake;

    /// A peer that nobody answers for is told as failed and gets no work for a while; the other one still does.
    /// An address that is no peer's is asked nothing, whoever names it.
    #[tokio::test]
    async fn a_peer_that_fails_rests() {
        let lake = TestLake::empty().await;
        let key = Key::of(&lake.lake).await.unwrap();
        // A port on which nobody listens, and which is kept, so that nobody else gets it meanwhile.
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = held.local_addr().unwrap().port();
        let (gone, other) = (format!("http://127.0.0.1:{port}"), String::from("http://127.0.0.1:1"));
        let channels = Channels::new(&[gone.clone(), other.clone()], None, &key).unwrap();
        let (gone, other) = (Url::parse(&gone).unwrap(), Url::parse(&other).unwrap());
        assert_eq!(channels.ready().len(), 2);
        let mut client = channels.get_worker_client_for_url(&gone).await.unwrap();
        let asked = client.coordinator_channel(HeaderMap::new(), futures::stream::empty().boxed()).await;
        let error = QueryError::from(asked.map(drop).unwrap_err());
        assert!(matches!(error, QueryError::PeerFailed), "{error}");
        assert_eq!(channels.ready(), vec![other]);
        let stranger = Url::parse("http://127.0.0.1:2").unwrap();
        assert!(channels.get_worker_client_for_url(&stranger).await.is_err());
    }

    /// A peer rests that cannot be asked, or that does not know this server; one that refuses a request, or that ends it, is
    /// asked again.
    #[test]
    fn a_peer_rests_only_when_it_is_gone() {
        for code in [Code::Unavailable, Code::Unauthenticated, Code::DeadlineExceeded] {
            assert!(is_gone(&tonic::Status::new(code, "")), "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::Cancelled, Code::Internal, Code::ResourceExhausted] {
            assert!(!is_gone(&tonic::Status::new(code, "")), "{code:?}");
        }
        let broken: Box<dyn std::error::Error + Send + Sync> = Box::new(std::io::Error::other("broken"));
        assert!(is_gone(&tonic::Status::from_error(broken)));
    }

    /// What is no address of HTTP, and an https address whose certificate nothing could check, are refused at the start.
    #[tokio::test]
    async fn wrong_addresses_are_refused() {
        let lake = TestLake::empty().await;
        let key = Key::of(&lake.lake).await.unwrap();
        let refused = |url: &str| Channels::new(&[url.to_owned()], None, &key).unwrap_err();
        for wrong in ["serve-1:8082", "ftp://serve-1", "no address"] {
            assert!(matches!(refused(wrong), PeersError::Address { .. }), "{wrong}");
        }
        assert!(matches!(refused("https://serve-1:8082"), PeersError::Unchecked { .. }));
    }
}
