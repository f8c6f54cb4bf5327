//! Bodies that do not come to their end.

use std::future::pending;

use futures::{StreamExt, TryStreamExt, stream};
use larder_store::{BoxError, ByteStream, Error};

/// What comes after the last byte that passes.
#[derive(Debug)]
pub(super) enum End {
    /// An error.
    Error(Error),
    /// Nothing, for ever.
    Silence,
    /// The end, as if that were all. The rest is taken and thrown away.
    Early,
}

/// A stream of which only so many bytes pass, if it is longer.
pub(super) fn cut(body: ByteStream, bytes: u64, end: End) -> ByteStream {
    stream::try_unfold((body, bytes, Some(end)), |(mut body, rest, end)| async move {
        let Some(chunk) = body.next().await.transpose()? else {
            return Ok(None);
        };
        if rest == 0 && !chunk.is_empty() {
            match end {
                Some(End::Error(error)) => return Err(BoxError::from(error)),
                Some(End::Silence) => pending::<()>().await,
                Some(End::Early) | None => while body.try_next().await?.is_some() {},
            }
            return Ok(None);
        }
        let part = chunk.slice(..chunk.len().min(usize::try_from(rest).unwrap_or(usize::MAX)));
        if part.len() == chunk.len() {
            let rest = rest - part.len() as u64;
            return Ok(Some((part, (body, rest, end))));
        }
        // What is left of the chunk makes the next step end.
        let left = stream::once(async move { Ok(chunk) }).chain(body).boxed();
        Ok(Some((part, (left, 0, end))))
    })
    .boxed()
}
