//! A connection that is not waited for without end: whoever sends a request's head byte by byte, or takes nothing of an
//! answer, is hung up on. Bodies have a limit of their own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::Limits;

/// Whether a request's head is what a connection is to bring next. Shared with whoever answers the requests. It is
/// counted on with each head that arrives and each that is awaited, so that neither goes unseen.
#[derive(Clone, Default)]
pub(crate) struct Head(Arc<AtomicU64>);

impl Head {
    /// The head is there.
    pub(crate) fn arrived(&self) {
        self.0.fetch_or(1, Ordering::Relaxed);
    }

    /// The request is answered, and the next may come.
    pub(crate) fn awaited(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream with an end to its patience.
pub(crate) struct Patient<S> {
    stream: S,
    head: Head,
    /// The head's count when the stream was last read.
    seen: u64,
    head_timeout: Duration,
    /// Since the first byte of a head. A new connection is to say something soon; one that was answered may be quiet.
    reading: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    /// Since nothing could be written.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, limits: &Limits) -> Self {
        let Limits { head_timeout, write_timeout, .. } = *limits;
        let reading = Some(Box::pin(sleep(head_timeout)));
        Self { stream, head: Head::default(), seen: 0, head_timeout, reading, write_timeout, writing: None }
    }

    pub(crate) fn head(&self) -> Head {
        self.head.clone()
    }

    /// Passes on how a write went, unless that it went nowhere has lasted too long.
    fn written(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let writing = self.writing.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        writing.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let count = this.head.count();
        if std::mem::replace(&mut this.seen, count) != count {
            this.reading = None;
        }
        let awaited = count.is_multiple_of(2);
        if !awaited {
            return read;
        }
        if read.is_ready() && buf.filled().len() > before && this.reading.is_none() {
            this.reading = Some(Box::pin(sleep(this.head_timeout)));
        }
        match &mut this.reading {
            Some(reading) if reading.deadline() <= Instant::now() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Some(reading) if read.is_pending() => {
                reading.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            _ => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
