//! A load balancer in front of several servers, which gives each request to the next of them, as a proxy in front of
//! replicas does that looks into HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use futures::future::poll_fn;
use reqwest::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::codegen::Service as _;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};

/// Bytes of a message of HTTP.
const MOST: usize = 64 << 20;

/// Balances until it is dropped.
pub struct Balancer {
    pub port: u16,
    given: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Balancer {
    /// Requests of HTTP/1.1, whole, to these ports of this machine.
    pub fn http(ports: &[u16]) -> Balancer {
        let clients: Vec<_> = ports.iter().map(|port| (format!("http://127.0.0.1:{port}"), http_client())).collect();
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        let router = Router::new().fallback(move |request: Request| {
            let (url, client) = clients[count.fetch_add(1, Ordering::Relaxed) % clients.len()].clone();
            async move { forwarded(&client, &url, request).await }
        });
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Balancer { port, given, _runtime: runtime }
    }

    /// Calls of gRPC, as streams, to these ports of this machine.
    pub fn grpc(ports: &[u16]) -> Balancer {
        let runtime = runtime();
        let channels: Vec<Channel> = runtime.block_on(async {
            let endpoint = |port: &u16| Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
            ports.iter().map(|port| endpoint(port).connect_lazy()).collect()
        });
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        let router = Router::new().fallback(move |request: Request| {
            let mut channel = channels[count.fetch_add(1, Ordering::Relaxed) % channels.len()].clone();
            async move {
                poll_fn(|context| channel.poll_ready(context)).await.expect("a server is there");
                let request = request.map(tonic::body::Body::new);
                channel.call(request).await.expect("a server answers").map(Body::new)
            }
        });
        let port = super::free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        runtime.spawn(async move { Server::builder().add_routes(Routes::from(router)).serve(address).await });
        super::wait_for("the balancer listens", super::served::LIMIT, || std::net::TcpStream::connect(address).ok());
        Balancer { port, given, _runtime: runtime }
    }

    /// How many requests were given on.
    pub fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn http_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// The answer of a server to a request.
async fn forwarded(client: &reqwest::Client, url: &str, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = to_bytes(body, MOST).await.expect("the client sends all of its request");
    for own in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
        parts.headers.remove(own);
    }
    let asked = client.request(parts.method, format!("{url}{path}")).headers(parts.headers).body(body);
    let answer = asked.send().await.expect("a server answers");
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(TRANSFER_ENCODING);
    let mut response = Response::new(Body::from(answer.bytes().await.expect("a server answers to the end")));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
