//! The bytes of a connection: over TLS where the client asks for it and there is a certificate, bounded until a message
//! is whole, and given up when the client does not take what it is sent. pgwire could do TLS, too, but brings crates for
//! it that are not needed here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A message of eight bytes, `SSLRequest`: is TLS spoken?
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// `GSSENCRequest`: is encryption by Kerberos spoken?
const ASKS_FOR_KERBEROS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// How long a client may take none of what it is sent. Its query has ended by then in any case, with the time of queries;
/// this ends what it still holds.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// A stream of which so many bytes are read until more is allowed: the protocol announces a message's size, and what is
/// announced is gathered in memory.
pub(super) struct Stream {
    inner: Inner,
    left: usize,
    /// Since when the client takes nothing, as the time when it is given up.
    stalled: Option<Pin<Box<Sleep>>>,
    taken_within: Duration,
}

enum Inner {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Agrees with the client upon TLS. What was read beyond that is given back.
    ///
    /// # Errors
    /// When the connection fails, or TLS does.
    pub(super) async fn begin(mut stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<(Self, BytesMut)> {
        let mut first = [0; 8];
        loop {
            stream.read_exact(&mut first).await?;
            match (first, &tls) {
                (ASKS_FOR_TLS, Some(tls)) => {
                    stream.write_all(b"S").await?;
                    // Whatever was sent before its turn is no handshake, so nothing in clear passes for encrypted.
                    let stream = tls.accept(stream).await?;
                    return Ok((Self::new(Inner::Tls(Box::new(stream))), BytesMut::new()));
                }
                (ASKS_FOR_TLS, None) | (ASKS_FOR_KERBEROS, _) => stream.write_all(b"N").await?,
                _ => return Ok((Self::new(Inner::Clear(stream)), BytesMut::from(&first[..]))),
            }
        }
    }

    fn new(inner: Inner) -> Self {
        Self { inner, left: 0, stalled: None, taken_within: TAKEN_WITHIN }
    }

    /// What became of writing; an error when it waits for too long.
    fn in_time<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let within = self.taken_within;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take what it is sent")))
    }

    /// Whether it is TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.inner, Inner::Tls(_))
    }

    /// Allows so many more bytes to be read, from here on.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.left = bytes;
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Err(io::Error::other("the message is too large; send less at once")));
        }
        let before = buffer.filled().len();
        let polled = match &mut this.inner {
            Inner::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        this.left = this.left.saturating_sub(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.inner {
            Inner::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        this.in_time(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match &mut this.inner {
            Inner::Clear(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        this.in_time(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match &mut this.inner {
            Inner::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            // It sends the end of TLS first.
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        };
        this.in_time(shut, context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A client that asks for Kerberos and TLS is told no where there is no certificate, and what it sends then is read
    /// whole. Beyond what was allowed nothing is read.
    #[tokio::test]
    async fn requests_are_answered_and_reading_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(&ASKS_FOR_KERBEROS).await.unwrap();
        client.write_all(&ASKS_FOR_TLS).await.unwrap();
        client.write_all(b"beginning and end").await.unwrap();
        let (mut stream, read) = Stream::begin(stream, None).await.unwrap();
        let mut answers = [0; 2];
        client.read_exact(&mut answers).await.unwrap();
        assert_eq!((&answers, &read[..], stream.is_tls()), (b"NN", &b"beginnin"[..], false));

        stream.allow(5);
        let mut rest = [0; 16];
        let mut count = 0;
        let error = loop {
            match stream.read(&mut rest[count..]).await {
                Ok(more) => count += more,
                Err(error) => break error,
            }
        };
        // What comes in one read is taken whole.
        assert_eq!(&rest[..count], b"g and end");
        assert!(error.to_string().contains("too large"), "{error}");
    }

    /// A client that takes nothing is given up; one that takes it, late, is not. Guarantees that nobody holds an answer
    /// for ever by not reading it.
    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(b"beginnin").await.unwrap();
        let (mut stream, _) = Stream::begin(stream, None).await.unwrap();
        let reader = tokio::spawn(async move {
            let mut bytes = vec![0; 1 << 16];
            // The first part is taken, and nothing after it.
            client.read_exact(&mut bytes).await.unwrap();
            client
        });
        let bytes = vec![1; 1 << 20];
        stream.write_all(&bytes[..1 << 16]).await.unwrap();
        let client = reader.await.unwrap();
        stream.taken_within = Duration::from_millis(20);
        let error = loop {
            if let Err(error) = stream.write_all(&bytes).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
