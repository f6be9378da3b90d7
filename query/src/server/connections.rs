//! Connections of HTTP: each answered on its own, and closed when the next request or its body does not come, or its
//! answer is not read. When there are too many, the one that was quiet for longest goes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::serve::Listener;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::patient::{Activity, Patient};

/// What connections may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// How long the head of a request may take, from when the connection is open or the answer before was sent.
    head: Duration,
    /// How long its body may take, from its head.
    body: Duration,
    /// How long a client may read nothing of what is sent to it.
    read: Duration,
    /// Connections at once.
    most: usize,
}

/// Bodies are 2 MiB at most, which come within a minute over a slow line, too.
const BOUNDS: Bounds =
    Bounds { head: Duration::from_secs(60), body: Duration::from_secs(60), read: Duration::from_secs(60), most: 1_024 };

/// Answers on a listener until it is told to stop, and what is under way then. axum's own loop is the same without
/// bounds, so that whoever opens connections and says nothing would keep them for ever.
pub(super) async fn serve<L>(listener: L, router: Router, stopped: watch::Receiver<bool>)
where
    L: Listener,
{
    serve_within(BOUNDS, listener, router, stopped).await;
}

async fn serve_within<L>(bounds: Bounds, mut listener: L, router: Router, mut stopped: watch::Receiver<bool>)
where
    L: Listener,
{
    let router = router
        .layer(from_fn(move |request: Request, next: Next| next.run(request.map(|body| within(bounds.body, body)))));
    let mut connections = JoinSet::new();
    let mut open: Vec<(Arc<Activity>, AbortHandle)> = Vec::new();
    loop {
        let stream = tokio::select! {
            () = is_true(&mut stopped) => break,
            (stream, _) = listener.accept() => stream,
            Some(_) = connections.join_next() => continue,
        };
        open.retain(|(_, task)| !task.is_finished());
        if open.len() >= bounds.most && !drop_quietest(&mut open) {
            tracing::warn!("a connection of HTTP was dropped: all that there may be wait for answers");
            continue;
        }
        let activity = Arc::new(Activity::default());
        let stream = Patient::new(stream, Arc::clone(&activity), bounds.read);
        let answering = answer(bounds.head, stream, Arc::clone(&activity), router.clone(), stopped.clone());
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
    tracing::debug!("too many connections of HTTP, the one that was quiet for longest is dropped");
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
    head: Duration,
    stream: S,
    activity: Arc<Activity>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (answered, answering) = (router.call(request), activity.answer());
        async move {
            let answer = answered.await;
            drop(answering);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = is_true(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection was broken off");
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

    use axum::body::Bytes;
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

    /// A connection on which half a head comes and no more is closed, and so is one that says nothing; a whole request is
    /// answered. Told to stop, the server ends.
    #[tokio::test]
    async fn a_head_has_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", get(|| std::future::ready("ok")));
        let serving = tokio::spawn(serve_within(Bounds { head: SHORT, ..BOUNDS }, listener, router, stopped));
        for sent in ["", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // It ends with or without an answer; that it ends is what counts.
            let _ = client.read_to_end(&mut answer).await;
            assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
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
        let router = Router::new()
            .route(
                "/",
                post(|body: Result<Bytes, axum::extract::rejection::BytesRejection>| {
                    std::future::ready(if body.is_ok() { "whole" } else { "half" })
                }),
            )
            .route("/endless", get(endless));
        let bounds = Bounds { body: SHORT, read: SHORT, ..BOUNDS };
        let serving = tokio::spawn(serve_within(bounds, listener, router, stopped));
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
        let serving = tokio::spawn(serve_within(Bounds { most: 2, ..BOUNDS }, listener, router, stopped));
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
}
