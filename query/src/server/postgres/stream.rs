//! The bytes of a connection: over TLS where the client asks for it and there is a certificate, and bounded until a
//! message is whole. pgwire could do TLS, too, but brings crates for it that are not needed here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A message of eight bytes, `SSLRequest`: is TLS spoken?
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// `GSSENCRequest`: is encryption by Kerberos spoken?
const ASKS_FOR_KERBEROS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// A stream of which so many bytes are read until more is allowed: the protocol announces a message's size, and what is
/// announced is gathered in memory.
pub(super) struct Stream {
    inner: Inner,
    left: usize,
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
                    return Ok((Self { inner: Inner::Tls(Box::new(stream)), left: 0 }, BytesMut::new()));
                }
                (ASKS_FOR_TLS, None) | (ASKS_FOR_KERBEROS, _) => stream.write_all(b"N").await?,
                _ => return Ok((Self { inner: Inner::Clear(stream), left: 0 }, BytesMut::from(&first[..]))),
            }
        }
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
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().inner {
            Inner::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
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
}
