//! The bodies of answers and requests.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use http_body::{Body, Frame, SizeHint};
use larder_store::BoxError;

/// The body of a request, whichever way it came.
pub type RequestBody = axum::body::Body;

/// The body of an answer. Delivery answers most requests from memory, so that form costs no
/// allocation.
pub enum ResponseBody {
    /// Nothing, or nothing more.
    Empty,
    /// All of it, in memory.
    Full(Bytes),
    /// As it comes; of a known length unless it is `None`.
    Stream {
        /// The bytes.
        stream: BoxStream<'static, Result<Bytes, BoxError>>,
        /// How many bytes are still to come.
        length_bytes: Option<u64>,
    },
    /// Made by the router.
    Routed(axum::body::Body),
}

impl ResponseBody {
    /// A body that is in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(bytes.into())
    }

    /// A body of `length_bytes` that comes from a stream. A stream that yields fewer bytes ends the
    /// connection, so that the client sees that it is not whole.
    pub fn stream(
        stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
        length_bytes: u64,
    ) -> Self {
        Self::Stream { stream: stream.boxed(), length_bytes: Some(length_bytes) }
    }

    /// A body without a known end.
    pub fn endless(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self::Stream { stream: stream.boxed(), length_bytes: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream { stream, length_bytes } => {
                let next = std::task::ready!(stream.poll_next_unpin(context));
                Poll::Ready(counted(next, length_bytes).map(|chunk| chunk.map(Frame::data)))
            }
            Self::Routed(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream { length_bytes, .. } => *length_bytes == Some(0),
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream { length_bytes: Some(length), .. } => SizeHint::with_exact(*length),
            Self::Stream { .. } => SizeHint::default(),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

/// Holds a stream to the length that was promised.
fn counted(
    next: Option<Result<Bytes, BoxError>>,
    length_bytes: &mut Option<u64>,
) -> Option<Result<Bytes, BoxError>> {
    let Some(left) = length_bytes else { return next };
    match next {
        Some(Ok(bytes)) => match left.checked_sub(bytes.len() as u64) {
            Some(rest) => {
                *left = rest;
                Some(Ok(bytes))
            }
            None => Some(Err(format!("the body is longer than promised: {left} bytes were left").into())),
        },
        None if *left > 0 => Some(Err(format!("the body ended {left} bytes early").into())),
        other => other,
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => f.debug_tuple("Full").field(&bytes.len()).finish(),
            Self::Stream { length_bytes, .. } => f.debug_tuple("Stream").field(length_bytes).finish(),
            Self::Routed(_) => f.write_str("Routed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::BodyExt;

    use super::*;

    async fn collected(chunks: &[&'static str], promised: u64) -> Result<Bytes, BoxError> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        Ok(ResponseBody::stream(stream::iter(chunks), promised).collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn a_stream_keeps_its_promised_length() {
        assert_eq!(collected(&["ab", "c"], 3).await.unwrap(), "abc");
        assert!(collected(&["ab", "c"], 4).await.unwrap_err().to_string().contains("1 bytes early"));
        assert!(collected(&["ab", "c"], 2).await.unwrap_err().to_string().contains("longer"));
    }

    #[tokio::test]
    async fn memory_is_one_frame_of_exact_size() {
        let mut body = ResponseBody::full("abc");
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }
}
