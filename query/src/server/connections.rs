//! Connections of HTTP: each answered on its own, and closed when the next request does not come.

use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the head of a request may take, from when the connection is open or the answer before was sent.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// Answers on a listener until it is told to stop, and what is under way then. axum's own loop is the same without a
/// timer, so that whoever opens connections and says nothing would keep them for ever.
pub(super) async fn serve<L>(listener: L, router: Router, stopped: watch::Receiver<bool>)
where
    L: Listener,
{
    serve_within(HEAD_WITHIN, listener, router, stopped).await;
}

async fn serve_within<L>(head: Duration, mut listener: L, router: Router, mut stopped: watch::Receiver<bool>)
where
    L: Listener,
{
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = is_true(&mut stopped) => break,
            (stream, _) = listener.accept() => stream,
            Some(_) = connections.join_next() => continue,
        };
        connections.spawn(answer(head, stream, router.clone(), stopped.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of one connection.
async fn answer<S>(head: Duration, stream: S, router: Router, mut stopped: watch::Receiver<bool>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection on which half a head comes and no more is closed, and so is one that says nothing; a whole request is
    /// answered. Told to stop, the server ends.
    #[tokio::test]
    async fn a_head_has_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", get(|| std::future::ready("ok")));
        let serving = tokio::spawn(serve_within(Duration::from_secs(1), listener, router, stopped));
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
}
