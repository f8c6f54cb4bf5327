//! A connection's bytes: gives up on peers that take nothing, and closes so that the last answer
//! arrives.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How long a closed connection is still read. A client that is refused in the middle of its body
/// must be able to read why: closing with unread bytes resets the connection, and the answer with it.
/// Many clients read only after they have sent everything, 100 MiB in 30 s if they have 30 Mbit/s.
const LINGER: Duration = Duration::from_secs(30);

/// How long nothing may come meanwhile.
const LINGER_IDLE: Duration = Duration::from_secs(5);

/// A stream with a time-out for writes that make no progress and a lingering close.
pub(super) struct GuardedIo<S> {
    inner: S,
    stalled_max: Duration,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
    closing: Option<Closing>,
}

struct Closing {
    deadline: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> GuardedIo<S> {
    pub(super) fn new(inner: S, stalled_max: Duration) -> Self {
        Self { inner, stalled_max, stalled: None, closing: None }
    }

    /// Passes a write's outcome on, or a time-out if the peer has taken nothing for too long.
    fn guard<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let longest = self.stalled_max;
        let alarm = self.stalled.get_or_insert_with(|| Box::pin(sleep(longest)));
        ready!(alarm.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")))
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let closing = self.closing.get_or_insert_with(|| Closing {
            deadline: Box::pin(sleep(LINGER)),
            idle: Box::pin(sleep(LINGER_IDLE)),
        });
        let mut scratch = [0; 8 * 1_024];
        while closing.deadline.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    closing.idle.as_mut().reset(Instant::now() + LINGER_IDLE);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return closing.idle.as_mut().poll(context),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.guard(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.guard(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.guard(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
        }
        ready!(this.poll_linger(context));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (near, _far) = duplex(16);
        let mut io = GuardedIo::new(near, Duration::from_secs(60));
        let error = io.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for() {
        let (near, mut far) = duplex(16);
        let mut io = GuardedIo::new(near, Duration::from_secs(60));
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            let mut chunk = [0; 16];
            while all.len() < 64 {
                sleep(Duration::from_secs(40)).await;
                let read = far.read(&mut chunk).await.unwrap();
                all.extend_from_slice(&chunk[..read]);
            }
            all.len()
        });
        io.write_all(&[0; 64]).await.unwrap();
        assert_eq!(reader.await.unwrap(), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_reads_what_the_peer_still_sends_for_a_while() {
        let (near, mut far) = duplex(16);
        let mut io = GuardedIo::new(near, Duration::from_secs(60));
        let sender = tokio::spawn(async move {
            let sent = far.write_all(&[0; 1_000]).await;
            (sent.is_ok(), far)
        });
        io.shutdown().await.unwrap();
        let (was_read, _far) = sender.await.unwrap();
        assert!(was_read);
    }
}
