//! A request's body whose bytes must keep coming.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use larder_core::{Code, Fault};
use larder_store::BoxError;
use tokio::time::{Instant, Sleep, sleep};

/// Wraps a body; fails with [`Code::RequestTimeout`] when nothing came for `idle_max`. What the
/// server itself takes to ask for more does not count.
pub(super) struct IdleBody<B> {
    inner: B,
    idle_max: Duration,
    /// The alarm, and whether it runs: it is set when a read finds nothing.
    alarm: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<B> IdleBody<B> {
    pub(super) fn new(inner: B, idle_max: Duration) -> Self {
        Self { inner, idle_max, alarm: Box::pin(sleep(idle_max)), waiting: false }
    }
}

impl<B> Body for IdleBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(broken_off)));
        }
        if !this.waiting {
            this.waiting = true;
            this.alarm.as_mut().reset(Instant::now() + this.idle_max);
        }
        std::task::ready!(this.alarm.as_mut().poll(context));
        let seconds = this.idle_max.as_secs_f32();
        let fault = Fault::new(Code::RequestTimeout, format!("no bytes of the body came for {seconds} s"));
        Poll::Ready(Some(Err(fault.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn broken_off(error: impl Into<BoxError>) -> BoxError {
    Fault::new(Code::BodyIncomplete, "the connection ended before the body did").caused_by(error).into()
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_a_time_out() {
        let chunks = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"a")))]);
        let mut body =
            IdleBody::new(StreamBody::new(chunks.chain(stream::pending())), Duration::from_secs(30));
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.downcast::<Fault>().unwrap().code, Code::RequestTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_its_time_is_no_time_out() {
        let chunks = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"a")))]);
        let mut body = IdleBody::new(StreamBody::new(chunks), Duration::from_secs(30));
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.is_none());
    }
}
