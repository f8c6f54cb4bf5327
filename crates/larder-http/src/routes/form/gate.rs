//! Bounds what the parser of forms gathers: it keeps whatever comes until it has found the end of a
//! part's head.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use larder_core::{Code, Fault};
use larder_store::{BoxError, ByteStream};

/// Most bytes between two parts: a boundary, and a head with a file's name and type.
const HEAD_BYTES_MAX: u64 = 64 * 1_024;

/// How much of the body may still be asked for. Shared by the stream and whoever reads the form.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    pulled: AtomicU64,
    allowed: AtomicU64,
}

impl Gate {
    /// From here on a part's head is looked for.
    pub(super) fn expect_head(&self) {
        let pulled = self.0.pulled.load(Ordering::Relaxed);
        self.0.allowed.store(pulled + HEAD_BYTES_MAX, Ordering::Relaxed);
    }

    /// A part was found: its bytes go where they are wanted, and their own limits hold.
    pub(super) fn open(&self) {
        self.0.allowed.store(u64::MAX, Ordering::Relaxed);
    }

    /// The body as the parser may have it.
    pub(super) fn guard(&self, body: ByteStream) -> Gated {
        Gated { body, gate: self.clone(), rests: false }
    }
}

/// A body that ends with a refusal when more of it is asked for than the gate allows.
pub(super) struct Gated {
    body: ByteStream,
    gate: Gate,
    /// The parser asks until nothing is ready, and would gather a whole body that is: after each chunk
    /// it is told to come again.
    rests: bool,
}

impl Stream for Gated {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if std::mem::take(&mut this.rests) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let counts = &this.gate.0;
        if counts.pulled.load(Ordering::Relaxed) > counts.allowed.load(Ordering::Relaxed) {
            let fault = Fault::new(Code::InvalidRequest, "a part's head is over 64 KiB")
                .remedy("let the client library build the form");
            return Poll::Ready(Some(Err(fault.into())));
        }
        let next = std::task::ready!(this.body.as_mut().poll_next(context));
        if let Some(Ok(chunk)) = &next {
            this.rests = true;
            counts.pulled.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(next)
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn a_head_is_limited_and_a_part_is_not() {
        let gate = Gate::default();
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 1_024])));
        let mut body = gate.guard(endless.boxed());
        gate.expect_head();
        let mut taken = 0;
        let refusal = loop {
            match body.next().await.unwrap() {
                Ok(chunk) => taken += chunk.len(),
                Err(error) => break error.downcast::<Fault>().unwrap(),
            }
        };
        assert_eq!((refusal.code, taken), (Code::InvalidRequest, 65 * 1_024));
        gate.open();
        for _ in 0..200 {
            assert!(body.next().await.unwrap().is_ok());
        }
    }
}
