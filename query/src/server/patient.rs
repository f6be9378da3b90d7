//! A connection that is patient for so long only: who takes nothing of what is sent to it is given up.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// When time began, for [`Activity`].
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a connection did, as others see it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Milliseconds from [`BEGAN`] to when bytes came or went.
    at: AtomicU64,
    /// How many answers are made.
    answering: AtomicUsize,
}

impl Activity {
    fn now(&self) {
        let at = u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at.store(at, Ordering::Relaxed);
    }

    /// When bytes came or went; `None` while an answer is made, and quiet is no sign of anything.
    pub(super) fn quiet_since(&self) -> Option<u64> {
        (self.answering.load(Ordering::Relaxed) == 0).then(|| self.at.load(Ordering::Relaxed))
    }

    /// An answer is made until what this returns is dropped.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }
}

/// An answer that is made.
pub(super) struct Answering(Arc<Activity>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.now();
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose writes fail when nothing could be written for some time.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    activity: Arc<Activity>,
    limit: Duration,
    /// There while nothing can be written.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Waits so long for a write.
    pub(super) fn new(stream: S, activity: Arc<Activity>, limit: Duration) -> Self {
        activity.now();
        Self { stream, activity, limit, stuck: None }
    }

    /// What came of a write, or that it has taken too long.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            self.activity.now();
            return written;
        }
        let limit = self.limit;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(limit)));
        stuck.as_mut().poll(context).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.activity.now();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // A plain socket has nothing to flush, which says nothing of a write that waits.
        if flushed.is_ready() { flushed } else { self.written(context, flushed) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, shut)
    }
}
