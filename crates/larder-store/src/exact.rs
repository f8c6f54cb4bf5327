//! Holding a body to the bytes that its store promised.

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::{
    body::{Body, ByteStream},
    error::{BoxError, Error},
    store::Opened,
};

impl Opened {
    /// The same, whose body gives exactly the bytes of [`range`](Self::range) or ends with
    /// [`Error::Unavailable`].
    ///
    /// A connection that is cut can look like the end of the bytes. Whoever keeps what it read, hashes it
    /// or passes it on must not take a part for the whole.
    #[must_use]
    pub fn exact(self) -> Self {
        let length_bytes = self.range.end - self.range.start;
        let body = match self.body {
            // Reads exactly its range, or fails.
            Body::File(file) => Body::File(file),
            Body::Bytes(bytes) if bytes.len() as u64 == length_bytes => Body::Bytes(bytes),
            body @ (Body::Bytes(_) | Body::Stream(_)) => {
                Body::Stream(held_to(body.into_stream(), length_bytes))
            }
        };
        Self { body, ..self }
    }
}

/// A stream that ends with an error unless it gives exactly so many bytes.
pub(crate) fn held_to(stream: ByteStream, length_bytes: u64) -> ByteStream {
    stream::try_unfold((stream, length_bytes), |(mut stream, left)| async move {
        match stream.next().await.transpose()? {
            Some(chunk) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Ok::<Option<(Bytes, _)>, BoxError>(Some((chunk, (stream, left)))),
                None => Err(broken("the store sent more bytes than it announced".to_owned())),
            },
            None if left > 0 => Err(broken(format!("the store's answer ended {left} bytes early"))),
            None => Ok(None),
        }
    })
    .boxed()
}

fn broken(what: String) -> BoxError {
    Error::unavailable("an open body", what).into()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use larder_core::Timestamp;

    use super::*;
    use crate::{body::stream_of, store::Fingerprint, store::Stat};

    fn opened(body: Body, size_bytes: u64) -> Opened {
        let stat = Stat {
            size_bytes,
            fingerprint: Fingerprint::new("1"),
            modified: Timestamp::from_millis(0),
            attributes: Default::default(),
        };
        Opened { stat, range: 0..size_bytes, body }
    }

    #[tokio::test]
    async fn a_body_of_another_length_than_announced_is_an_error_and_never_taken_for_the_whole() {
        for (announced, whole) in [(5, true), (6, false), (4, false)] {
            for body in [Body::Bytes("12345".into()), Body::Stream(stream_of("12345"))] {
                let read = opened(body, announced).exact().body.read_all(10).await;
                match whole {
                    true => assert_eq!(read.unwrap(), "12345"),
                    false => assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn what_came_before_the_break_is_passed_on() {
        let mut stream = opened(Body::Stream(stream_of("12345")), 9).exact().body.into_stream();
        assert_eq!(stream.try_next().await.unwrap().unwrap(), "12345");
        assert!(stream.try_next().await.unwrap_err().to_string().contains("an open body"));
    }
}
