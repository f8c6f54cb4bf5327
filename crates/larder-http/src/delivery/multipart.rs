//! Several ranges in one answer: `multipart/byteranges` (RFC 9110, section 14.6).

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::HeaderValue;
use larder_assets::Readable;
use larder_store::BoxError;

use crate::body::ResponseBody;

/// The body of an answer with several ranges, and the type that names its boundary.
pub(super) struct Multipart {
    pub(super) content_type: HeaderValue,
    pub(super) length_bytes: u64,
    pub(super) body: ResponseBody,
}

/// Each range as a part, read when the one before has been sent. `boundary` must be a text that
/// nobody can put into a file on purpose: random.
pub(super) fn compose(readable: Readable, ranges: Vec<Range<u64>>, boundary: &str) -> Multipart {
    let heads: Vec<Bytes> = ranges
        .iter()
        .enumerate()
        .map(|(at, range)| {
            let break_before = if at == 0 { "" } else { "\r\n" };
            Bytes::from(format!(
                "{break_before}--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                readable.content_type,
                content_range(range, readable.size_bytes),
            ))
        })
        .collect();
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let heads_bytes: usize = heads.iter().map(Bytes::len).sum();
    let parts_bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let length_bytes = (heads_bytes + tail.len()) as u64 + parts_bytes;
    let readable = Arc::new(readable);
    let parts = stream::iter(heads.into_iter().zip(ranges)).then(move |(head, range)| {
        let readable = Arc::clone(&readable);
        async move {
            let bytes = part(&readable, range).await?;
            Ok::<_, BoxError>(stream::once(async move { Ok(head) }).chain(bytes))
        }
    });
    let stream = parts.try_flatten().chain(stream::once(async move { Ok(tail) }));
    let content_type = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"))
        .unwrap_or_else(|_| HeaderValue::from_static("multipart/byteranges"));
    Multipart { content_type, length_bytes, body: ResponseBody::stream(stream, length_bytes) }
}

async fn part(readable: &Readable, range: Range<u64>) -> Result<larder_store::ByteStream, BoxError> {
    match readable.hot() {
        Some(bytes) => Ok(larder_store::stream_of(slice(bytes, &range))),
        None => Ok(readable.open(Some(range)).await.map_err(Box::new)?.into_stream()),
    }
}

/// A range of bytes in memory. The caller has checked that the range lies inside.
pub(super) fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    // Bytes in memory are fewer than `usize` can count.
    bytes.slice(range.start as usize..range.end as usize)
}

/// `Content-Range` of a range (RFC 9110, section 14.4).
pub(super) fn content_range(range: &Range<u64>, size_bytes: u64) -> String {
    format!("bytes {}-{}/{size_bytes}", range.start, range.end - 1)
}
