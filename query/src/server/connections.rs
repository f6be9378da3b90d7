//! Connections of HTTP, and of gRPC, which is HTTP/2: each answered on its own, and closed when the next request or its
//! body does not come, its answer is not read, or its client is gone. When there are too many, the one that was quiet for
//! longest goes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Extensions;
use axum::middleware::{Next, from_fn};
use axum::serve::Listener;
use futures::StreamExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::engine::Threads;
use super::patient::{Activity, Answering, Patient};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// HTTP/1.1: one request after the other.
    Http,
    /// HTTP/2 alone: many requests at once.
    Grpc,
}

/// What connections may take.
#[derive(Debug, Clone)]
struct Bounds {
    /// How long the head of a request may take, from when the connection is open or the answer before was sent.
    head: Duration,
    /// How long its body may take, from its head.
    body: Duration,
    /// How long a client may read nothing of what is sent to it.
    read: Duration,
    /// Connections at once.
    most: usize,
    /// Of HTTP/2: how often a quiet connection is asked whether its client is still there, and how long the client may take
    /// to answer. One that is gone without a word shall not keep its turn.
    asked: Duration,
    /// Of HTTP/2: requests of a connection at once.
    requests: u32,
    /// Of HTTP/2: the threads that requests are answered on, if not on those of the connections.
    threads: Option<Handle>,
}

/// Bodies are 2 MiB at most, which come within a minute over a slow line, too.
const BOUNDS: Bounds = Bounds {
    head: Duration::from_secs(60),
    body: Duration::from_secs(60),
    read: Duration::from_secs(60),
    most: 1_024,
    asked: Duration::from_secs(20),
    requests: 200,
    threads: None,
};
/// Requests at once of another server of the lake: several for each part of each of its queries, all of which go on until
/// these end.
const REQUESTS_OF_PEERS: u32 = 1 << 16;

/// The other end of the connection that a request came on: it is in the request's extensions.
#[derive(Debug, Clone, Copy)]
struct RemoteAddress(IpAddr);

/// The other end of the connection that a request with these extensions came on.
pub(super) fn remote_address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<RemoteAddress>().map(|RemoteAddress(address)| *address)
}

/// Answers on a listener until it is told to stop, and what is under way then. axum's own loop is the same without
/// bounds, so that whoever opens connections and says nothing would keep them for ever.
pub(super) async fn serve<L>(listener: L, router: Router, stopped: watch::Receiver<bool>)
where
    L: Listener<Addr = SocketAddr>,
{
    serve_within(Protocol::Http, BOUNDS, listener, router, stopped).await;
}

/// The same for the services of gRPC. tonic's own loop has no bound either.
pub(super) async fn serve_grpc<L>(listener: L, router: Router, stopped: watch::Receiver<bool>)
where
    L: Listener<Addr = SocketAddr>,
{
    serve_within(Protocol::Grpc, BOUNDS, listener, router, stopped).await;
}

/// The same for other servers of the lake. A request goes on as long as its query, and for as long an answer may be left
/// unread. It is answered on threads of its own: a connection whose thread computes would not say that it is there.
pub(super) async fn serve_peers<L>(
    listener: L,
    router: Router,
    longest: Duration,
    threads: Handle,
    stopped: watch::Receiver<bool>,
) where
    L: Listener<Addr = SocketAddr>,
{
    let bounds = Bounds {
        body: longest,
        read: longest.max(BOUNDS.read),
        requests: REQUESTS_OF_PEERS,
        threads: Some(threads),
        ..BOUNDS
    };
    serve_within(Protocol::Grpc, bounds, listener, router, stopped).await;
}

async fn serve_within<L>(
    protocol: Protocol,
    bounds: Bounds,
    mut listener: L,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) where
    L: Listener<Addr = SocketAddr>,
{
    let timed = from_fn(move |request: Request, next: Next| next.run(request.map(|body| within(bounds.body, body))));
    let router = router.layer(timed);
    let mut connections = JoinSet::new();
    let mut open: Vec<(Arc<Activity>, AbortHandle)> = Vec::new();
    loop {
        let (stream, remote) = tokio::select! {
            () = is_true(&mut stopped) => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        open.retain(|(_, task)| !task.is_finished());
        if open.len() >= bounds.most && !drop_quietest(&mut open) {
            tracing::warn!(?protocol, "a connection was dropped: all that there may be wait for answers");
            continue;
        }
        let activity = Arc::new(Activity::default());
        let stream = Patient::new(stream, Arc::clone(&activity), bounds.read);
        let remote = RemoteAddress(remote.ip().to_canonical());
        let answering =
            answer(protocol, bounds.clone(), stream, remote, Arc::clone(&activity), router.clone(), stopped.clone());
        open.push((activity, connections.spawn(answering)));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Ends the connection on which nothing came or went for longest, but none that waits for its answer. Whether there was
/// one.
fn drop_quietest(open: &mut Vec<(Arc<Activity>, AbortHandle)>) -> bool {
    let quiet = open.iter().enumerate().filter_map(|(at, (activity, _))| Some((activity.quiet_since()?, at)));
    let Some((_, at)) = quiet.min() else { return false };
    let (_, task) = open.remove(at);
    tracing::debug!("too many connections, the one that was quiet for longest is dropped");
    task.abort();
    true
}

/// A body that fails where not all of it has come in time.
fn within(limit: Duration, body: Body) -> Body {
    let until = Instant::now() + limit;
    Body::from_stream(futures::stream::try_unfold(body.into_data_stream(), move |mut data| async move {
        match timeout_at(until, data.next()).await {
            Ok(Some(bytes)) => Ok(Some((bytes?, data))),
            Ok(None) => Ok(None),
            Err(_) => Err(axum::Error::new(io::Error::new(io::ErrorKind::TimedOut, "the body takes too long"))),
        }
    }))
}

/// Answers the requests of one connection.
async fn answer<S>(
    protocol: Protocol,
    bounds: Bounds,
    stream: S,
    remote: RemoteAddress,
    activity: Arc<Activity>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(remote);
        let (answered, answering, activity) = (router.call(request), activity.answer(), Arc::clone(&activity));
        async move {
            let answer = answered.await;
            drop(answering);
            // Questions to a client and its answers go to and fro on HTTP/2, so that bytes tell nothing of whether it
            // still gets rows. On HTTP/1.1 they do, and who reads slowly there makes room for others.
            let activity = (protocol == Protocol::Grpc).then_some(activity);
            answer.map(|answer| answer.map(|body| Answered { body, activity, waiting: None }))
        }
    });
    let stream = TokioIo::new(stream);
    let ended = match protocol {
        Protocol::Http => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(bounds.head)
                .serve_connection(stream, service);
            ended(connection, |connection| connection.graceful_shutdown(), &mut stopped).await
        }
        Protocol::Grpc => {
            let connection = http2::Builder::new(Threads(bounds.threads))
                .timer(TokioTimer::new())
                .keep_alive_interval(bounds.asked)
                .keep_alive_timeout(bounds.asked)
                .max_concurrent_streams(bounds.requests)
                .serve_connection(stream, service);
            ended(connection, |connection| connection.graceful_shutdown(), &mut stopped).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection was broken off");
    }
}

/// How a connection ends, which takes no more requests once the server stops.
async fn ended<C>(
    connection: C,
    stop: impl FnOnce(Pin<&mut C>),
    stopped: &mut watch::Receiver<bool>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = is_true(stopped) => {
            stop(connection.as_mut());
            connection.await
        }
    }
}

/// The body of an answer, which is made as long as the body is asked for more and has none yet. What is not asked for
/// waits for its client, who may leave it unread for ever: that shall not look like work.
struct Answered {
    body: Body,
    /// Of the connection, where it shall know.
    activity: Option<Arc<Activity>>,
    /// There while the next part is made.
    waiting: Option<Answering>,
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.waiting = None;
        } else if self.waiting.is_none() {
            self.waiting = self.activity.as_ref().map(Activity::answer);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Waits until the server stops.
async fn is_true(stopped: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    /// Part of an answer; says when that is dropped.
    struct Computing(Arc<AtomicBool>);

    impl Drop for Computing {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    async fn told_whether_whole(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> &'static str {
        if body.is_ok() { "whole" } else { "half" }
    }

    /// A connection on which half a head comes and no more is closed, and so is one that says nothing; a whole request is
    /// answered. Told to stop, the server ends.
    #[tokio::test]
    async fn a_head_has_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", get(|| std::future::ready("ok")));
        let serving =
            tokio::spawn(serve_within(Protocol::Http, Bounds { head: SHORT, ..BOUNDS }, listener, router, stopped));
        for sent in ["", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // It ends with or without an answer; that it ends is what counts.
            let _ = client.read_to_end(&mut answer).await;
            assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
        }
        // On a slow machine a whole head may come too late, too.
        let mut answer = String::new();
        for _ in 0..10 {
            answer.clear();
            let mut client = TcpStream::connect(address).await.unwrap();
            let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            let _ = client.read_to_string(&mut answer).await;
            if answer.contains("200 OK") {
                break;
            }
        }
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
        stop.send(true).unwrap();
        serving.await.unwrap();
    }

    /// A body of which half comes and no more ends its request, and an answer that nobody reads ends its connection: the
    /// stream of it is dropped, and with it whatever computes it.
    #[tokio::test]
    async fn bodies_and_readers_have_their_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let is_dropped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_dropped);
        let endless = move || {
            let computing = Computing(Arc::clone(&told));
            let chunks = futures::stream::repeat_with(move || {
                let _ = &computing;
                Ok::<_, io::Error>(Bytes::from(vec![0_u8; 1 << 16]))
            });
            std::future::ready(Body::from_stream(chunks))
        };
        let router = Router::new().route("/", post(told_whether_whole)).route("/endless", get(endless));
        let bounds = Bounds { body: SHORT, read: SHORT, ..BOUNDS };
        let serving = tokio::spawn(serve_within(Protocol::Http, bounds, listener, router, stopped));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345").await.unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(String::from_utf8_lossy(&answer).ends_with("half"), "{}", String::from_utf8_lossy(&answer));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        for _ in 0..600 {
            if is_dropped.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(is_dropped.load(Ordering::Relaxed), "the answer is still computed");
        serving.abort();
    }

    /// As many connections as there may be are open and quiet. One more is answered, and the one that was quiet for longest
    /// is closed. Guarantees that who opens connections and says nothing keeps out nobody.
    #[tokio::test]
    async fn the_quietest_connection_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", get(|| std::future::ready("ok")));
        let serving =
            tokio::spawn(serve_within(Protocol::Http, Bounds { most: 2, ..BOUNDS }, listener, router, stopped));
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        for client in [&mut second, &mut first] {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = vec![0; 15];
            client.read_exact(&mut answer).await.unwrap();
            // The clock of connections counts milliseconds.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        third.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        let mut rest = Vec::new();
        let _ = second.read_to_end(&mut rest).await;
        first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        first.read_to_end(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).ends_with("ok"), "the one that was not quiet is still open");
        serving.abort();
    }

    /// The head of a frame of HTTP/2 on a stream, and what is in it.
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    /// A connection of HTTP/2 that has said so.
    async fn http2(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        client
    }

    /// Reads until some bytes have come.
    async fn read_until(client: &mut TcpStream, wanted: &[u8]) {
        let mut read = Vec::new();
        while !read.windows(wanted.len()).any(|part| part == wanted) {
            assert!(client.read_buf(&mut read).await.unwrap() > 0, "closed before {wanted:?}");
        }
    }

    /// On HTTP/2 an answer is sent whose next rows let wait for themselves, and beside it a connection is quiet that was
    /// opened later. For one more the quiet one goes: guarantees that who waits for rows is not taken for idle, and that
    /// idle connections keep out nobody.
    #[tokio::test]
    async fn who_waits_for_rows_is_not_quiet() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let slow = || {
            let first = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"rows"))]);
            std::future::ready(Body::from_stream(first.chain(futures::stream::pending())))
        };
        let router = Router::new().route("/", get(slow));
        let bounds = Bounds { most: 2, ..BOUNDS };
        let serving = tokio::spawn(serve_within(Protocol::Grpc, bounds, listener, router, stopped));
        let mut reader = http2(address).await;
        // GET, http, / and a host called a, in the static table of RFC 7541; the request ends with its head.
        reader.write_all(&frame(1, 5, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'a'])).await.unwrap();
        read_until(&mut reader, b"rows").await;
        // The clock of connections counts milliseconds.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut quiet = http2(address).await;
        read_until(&mut quiet, &frame(4, 1, 0, &[])).await;
        let mut third = http2(address).await;
        read_until(&mut third, &frame(4, 1, 0, &[])).await;
        let mut rest = Vec::new();
        let _ = quiet.read_to_end(&mut rest).await;
        reader.write_all(&frame(6, 0, 0, b"anybody?")).await.unwrap();
        read_until(&mut reader, &frame(6, 1, 0, b"anybody?")).await;
        serving.abort();
    }

    /// On HTTP/2 a request comes whose body does not end. Guarantees that it is answered all the same, so that who begins
    /// requests and says no more, for which no token is needed, does not look busy for ever.
    #[tokio::test]
    async fn bodies_of_http2_have_their_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", post(told_whether_whole));
        let bounds = Bounds { body: SHORT, ..BOUNDS };
        let serving = tokio::spawn(serve_within(Protocol::Grpc, bounds, listener, router, stopped));
        let mut client = http2(address).await;
        // As below, but for POST, and the head does not end the request.
        client.write_all(&frame(1, 4, 1, &[0x83, 0x86, 0x84, 0x41, 1, b'a'])).await.unwrap();
        read_until(&mut client, b"half").await;
        serving.abort();
    }

    /// On HTTP/2 a client takes nothing of its answer, for which there are more rows than its window has room for, and
    /// beside it another one waits for rows. For one more the first goes: guarantees that answers that nobody reads keep
    /// out nobody.
    #[tokio::test]
    async fn who_does_not_read_is_quiet() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let unread = || {
            let chunks = futures::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![0_u8; 1 << 16])));
            std::future::ready(Body::from_stream(chunks))
        };
        let waited_for = || {
            let first = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"rows"))]);
            std::future::ready(Body::from_stream(first.chain(futures::stream::pending())))
        };
        let router = Router::new().route("/", get(unread).post(waited_for));
        let bounds = Bounds { most: 2, ..BOUNDS };
        let serving = tokio::spawn(serve_within(Protocol::Grpc, bounds, listener, router, stopped));
        let mut idle = http2(address).await;
        idle.write_all(&frame(1, 5, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'a'])).await.unwrap();
        // The first of the rows.
        read_until(&mut idle, &[0; 1 << 10]).await;
        let mut reader = http2(address).await;
        reader.write_all(&frame(1, 5, 1, &[0x83, 0x86, 0x84, 0x41, 1, b'a'])).await.unwrap();
        read_until(&mut reader, b"rows").await;
        let mut third = http2(address).await;
        read_until(&mut third, &frame(4, 1, 0, &[])).await;
        reader.write_all(&frame(6, 0, 0, b"anybody?")).await.unwrap();
        read_until(&mut reader, &frame(6, 1, 0, b"anybody?")).await;
        serving.abort();
    }
}
