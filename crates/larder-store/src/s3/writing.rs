//! Writing objects: in one request if they are small, in parts if they are not, and never held in memory whole.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use larder_core::Timestamp;
use reqwest::{Method, StatusCode, header::HeaderMap};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{
    attributes::{self, WRITTEN_BY},
    client::{Call, Client},
    failure::Failure,
    multipart::Upload,
    options::{S3Checksum, S3Options},
    reading,
};
use crate::{
    body::ByteStream,
    error::{Error, Result},
    place::Place,
    store::{Attributes, Condition, Fingerprint, PutOptions, Stat},
};

pub(super) const WRITE: &str = "s3:PutObject";

/// The header of a body's SHA-256 that the store keeps (S3, "Checking object integrity").
pub(super) const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Size of a part, and of the largest object that is written in one request. S3 takes parts of 5 MiB or more;
/// this many bytes of each upload are in memory while they are collected.
const PART_BYTES: usize = 8 << 20;

/// Parts after which they become larger, so that 10,000 of them, which is all that S3 takes, hold the 5 TiB
/// of the largest object.
const PARTS_OF_ONE_SIZE: usize = 1_000;

/// Then every so many parts they grow by the size of the first.
const PARTS_PER_GROWTH: usize = 62;

/// Parts of all uploads together that are on their way at a time.
const PARTS_IN_FLIGHT: usize = 8;

/// How objects are written, whatever they are.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) encryption: HeaderMap,
    pub(super) checksum: Option<S3Checksum>,
    /// Whether the store obeys `If-None-Match` at writing.
    pub(super) obeys_if_absent: bool,
    /// Whether the store obeys `If-Match` at writing.
    pub(super) obeys_if_match: bool,
    pub(super) part_bytes: usize,
    pub(super) in_flight: Arc<Semaphore>,
}

impl Manner {
    pub(super) fn of(options: &S3Options) -> Self {
        Self {
            encryption: attributes::encryption(options),
            checksum: options.checksum,
            obeys_if_absent: true,
            obeys_if_match: true,
            part_bytes: PART_BYTES,
            in_flight: Arc::new(Semaphore::new(PARTS_IN_FLIGHT)),
        }
    }

    /// The size of the part with this index. The last of 10,000 has 1.2 GiB.
    fn part_bytes(&self, index: usize) -> usize {
        let later = index.saturating_sub(PARTS_OF_ONE_SIZE);
        self.part_bytes + self.part_bytes * later / PARTS_PER_GROWTH
    }

    /// The headers of a condition that the store obeys.
    pub(super) fn condition(&self, call: Call, condition: &Condition) -> Call {
        match condition {
            Condition::IfAbsent if self.obeys_if_absent => call.header("if-none-match", "*"),
            Condition::IfMatch(fingerprint) if self.obeys_if_match => {
                call.header("if-match", fingerprint.as_str())
            }
            _ => call,
        }
    }

    /// The checksum of a body, in Base64, if the store is to keep one.
    pub(super) fn checksum_of(&self, body: &[u8]) -> Option<String> {
        self.checksum.map(|S3Checksum::Sha256| BASE64.encode(Sha256::digest(body)))
    }
}

/// Looks whether a condition holds now, for stores that don't look themselves when they write.
pub(super) async fn check(client: &Client, place: &Place, condition: &Condition) -> Result<()> {
    let present = match condition {
        Condition::None => return Ok(()),
        _ => match reading::stat(client, place).await {
            Ok(stat) => Some(stat.fingerprint),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        },
    };
    let holds = match condition {
        Condition::None => true,
        Condition::IfAbsent => present.is_none(),
        Condition::IfMatch(wanted) => present.as_ref() == Some(wanted),
    };
    if holds { Ok(()) } else { Err(Error::Precondition { place: place.clone() }) }
}

/// PutObject, or CreateMultipartUpload and what follows.
pub(super) async fn put(
    client: &Arc<Client>,
    manner: &Manner,
    place: &Place,
    body: ByteStream,
    options: PutOptions,
) -> Result<Stat> {
    let obeyed = match options.condition {
        Condition::None => true,
        Condition::IfAbsent => manner.obeys_if_absent,
        Condition::IfMatch(_) => manner.obeys_if_match,
    };
    if let Condition::IfMatch(fingerprint) = &options.condition
        && !is_tag(fingerprint)
    {
        return Err(Error::Precondition { place: place.clone() });
    }
    let headers = attributes::to_headers(&options.attributes)?;
    let mut incoming = Incoming { body, rest: Bytes::new(), ended: false };
    let first = incoming.part(manner.part_bytes(0)).await?;
    if !obeyed {
        check(client, place, &options.condition).await?;
    }
    let target = Target { client, manner, place, headers, condition: &options.condition };
    let (size_bytes, e_tag) = if incoming.ended {
        (first.len() as u64, target.put_whole(first).await?)
    } else {
        target.put_in_parts(first, &mut incoming).await?
    };
    Ok(written(size_bytes, e_tag, options.attributes, client.ambient().now()))
}

/// Whether a fingerprint can be one of S3 at all (RFC 9110, section 8.8.3): servers refuse the request where
/// others say that it does not match.
fn is_tag(fingerprint: &Fingerprint) -> bool {
    let text = fingerprint.as_str();
    text.len() >= 2 && text.starts_with('"') && text.ends_with('"')
}

/// The stat of an object that was just written.
pub(super) fn written(size_bytes: u64, e_tag: String, attributes: Attributes, now: Timestamp) -> Stat {
    Stat { size_bytes, fingerprint: Fingerprint::new(e_tag), modified: now, attributes }
}

struct Target<'a> {
    client: &'a Arc<Client>,
    manner: &'a Manner,
    place: &'a Place,
    headers: HeaderMap,
    condition: &'a Condition,
}

impl Target<'_> {
    async fn put_whole(&self, body: Bytes) -> Result<String> {
        let url = self.client.endpoint().object(self.place);
        let mut call = Call::new(WRITE, Method::PUT, url)
            .headers(self.headers.clone())
            .headers(self.manner.encryption.clone());
        if let Some(checksum) = self.manner.checksum_of(&body) {
            call = call.header(CHECKSUM, &checksum);
        }
        call = self.manner.condition(call, self.condition).body(body);
        let mark = self.mark();
        if let Some(mark) = &mark {
            call = call.header(WRITTEN_BY, mark);
        }
        let sent = self.client.send_told(&call).await;
        match sent.outcome {
            Ok(response) => tag_of(response.headers()).ok_or_else(|| self.untagged()),
            Err(failure) if sent.repeated => self.recognise(failure, mark.as_deref()).await,
            Err(failure) => Err(self.error(failure)),
        }
    }

    async fn put_in_parts(&self, first: Bytes, incoming: &mut Incoming) -> Result<(u64, String)> {
        // A multipart upload is always marked: its completion may be repeated after its answer got lost.
        let mark = self.draw_mark();
        let mut headers = self.headers.clone();
        headers.extend(self.manner.encryption.clone());
        let mut upload = Upload::begin(self.client, self.manner, self.place, headers, &mark).await?;
        let mut size_bytes = first.len() as u64;
        upload.add(first).await?;
        while !incoming.ended {
            let part = incoming.part(self.manner.part_bytes(upload.parts())).await?;
            if part.is_empty() {
                break;
            }
            size_bytes += part.len() as u64;
            upload.add(part).await?;
        }
        let sent = upload.complete(self.condition).await?;
        let e_tag = match sent.outcome {
            Ok(e_tag) => e_tag,
            Err(failure) if sent.repeated => {
                let e_tag = self.recognise(failure, Some(&mark)).await?;
                upload.is_done();
                e_tag
            }
            Err(failure) => return Err(self.error(failure)),
        };
        Ok((size_bytes, e_tag))
    }

    /// A mark for a put that is refused when it is repeated after its answer got lost.
    fn mark(&self) -> Option<String> {
        (*self.condition != Condition::None).then(|| self.draw_mark())
    }

    fn draw_mark(&self) -> String {
        hex::encode(self.client.ambient().random_bytes::<16>())
    }

    /// After a repeated request was refused: whether it is its own first attempt that stands in its way.
    async fn recognise(&self, failure: Failure, mark: Option<&str>) -> Result<String> {
        let refused =
            matches!(failure.status(), Some(StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND));
        if let (true, Some(mark)) = (refused, mark)
            && let Ok(headers) = reading::head(self.client, self.place).await
            && headers.get(WRITTEN_BY).is_some_and(|value| value == mark)
            && let Some(e_tag) = tag_of(&headers)
        {
            return Ok(e_tag);
        }
        Err(self.error(failure))
    }

    fn error(&self, failure: Failure) -> Error {
        match (self.condition, failure.status()) {
            // AWS says that there is nothing to replace in this way.
            (Condition::IfMatch(_), Some(StatusCode::NOT_FOUND)) if failure.code() != "NoSuchBucket" => {
                Error::Precondition { place: self.place.clone() }
            }
            (_, Some(StatusCode::NOT_FOUND)) => failure.of(self.place.as_str(), self.client.about(WRITE)),
            _ => failure.at(self.place, self.client.about(WRITE)),
        }
    }

    fn untagged(&self) -> Error {
        Failure::Unreadable("it has no ETag".to_owned()).at(self.place, self.client.about(WRITE))
    }
}

pub(super) fn tag_of(headers: &HeaderMap) -> Option<String> {
    headers.get("etag").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Bytes on their way in, cut into parts.
struct Incoming {
    body: ByteStream,
    rest: Bytes,
    ended: bool,
}

impl Incoming {
    /// The next part, of `limit` bytes unless it is the last one.
    async fn part(&mut self, limit: usize) -> Result<Bytes> {
        let mut part = BytesMut::new();
        loop {
            let room = limit - part.len();
            if self.rest.len() > room {
                part.extend_from_slice(&self.rest.split_to(room));
                return Ok(part.freeze());
            }
            // Copied even if it is the whole: what the chunks hold on to may be larger than they are.
            part.extend_from_slice(&std::mem::take(&mut self.rest));
            match self.body.next().await {
                Some(chunk) => self.rest = chunk.map_err(Error::Body)?,
                None => {
                    self.ended = true;
                    return Ok(part.freeze());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::s3::options::{Profile, S3Credentials};

    async fn parts(chunks: &[&'static str], limit: usize) -> Vec<String> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        let mut incoming = Incoming { body: stream::iter(chunks).boxed(), rest: Bytes::new(), ended: false };
        let mut parts = Vec::new();
        while !incoming.ended {
            parts.push(String::from_utf8(incoming.part(limit).await.unwrap().to_vec()).unwrap());
        }
        parts
    }

    #[tokio::test]
    async fn a_body_is_cut_into_parts_of_one_size() {
        assert_eq!(parts(&[], 4).await, [""]);
        assert_eq!(parts(&["ab", "cd"], 4).await, ["abcd"]);
        assert_eq!(parts(&["abcde", "", "fgh", "i"], 4).await, ["abcd", "efgh", "i"]);
        assert_eq!(parts(&["abcdefghi"], 3).await, ["abc", "def", "ghi"]);
    }

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        let manner = Manner::of(&S3Options::new(Profile::Aws, "b", S3Credentials::Anonymous));
        let total: u64 = (0..10_000).map(|index| manner.part_bytes(index) as u64).sum();
        assert!(total > 5 << 40, "{total}");
        assert!(manner.part_bytes(9_999) < 5 << 30, "the largest part of S3");
    }
}
