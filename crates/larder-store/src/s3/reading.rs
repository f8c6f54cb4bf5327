//! Reading objects: what lies there, and its bytes, asked for again where they break off.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, Response, StatusCode, header::HeaderMap};

use super::{
    attributes::stat_of,
    client::{Call, Client},
    failure::{Failure, boxed},
};
use crate::{
    body::{Body, ByteStream},
    error::{BoxError, Error, Result},
    place::Place,
    store::{OpenOptions, Opened, Stat},
};

/// How often the bytes of one body are asked for again.
const RESUMES_MAX: u32 = 5;

/// Largest offset that is asked for.
const OFFSET_MAX: u64 = i64::MAX as u64;

const READ: &str = "s3:GetObject";

/// HeadObject.
pub(super) async fn stat(client: &Client, place: &Place) -> Result<Stat> {
    head(client, place).await.map(|headers| stat_of(&headers, length(&headers), client.ambient().now()))
}

/// The headers of HeadObject.
pub(super) async fn head(client: &Client, place: &Place) -> Result<HeaderMap> {
    let url = client.endpoint().object(place);
    match client.send(&Call::new(READ, Method::HEAD, url.clone())).await {
        Ok(response) => Ok(response.headers().clone()),
        // An answer to HEAD has no body that could say why: the same question as GET has one.
        Err(failure) if failure.status().is_some_and(|status| !is_plain(status)) => {
            let call = Call::new(READ, Method::GET, url).header("range", "bytes=0-0");
            match client.send(&call).await {
                Ok(_) => Err(failure.at(place, client.about(READ))),
                Err(explained) => Err(explained.at(place, client.about(READ))),
            }
        }
        Err(failure) => Err(failure.at(place, client.about(READ))),
    }
}

/// Whether a status says everything.
fn is_plain(status: StatusCode) -> bool {
    status == StatusCode::NOT_FOUND || status.is_server_error()
}

fn length(headers: &HeaderMap) -> u64 {
    headers
        .get(reqwest::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// GetObject.
pub(super) async fn open(client: &Arc<Client>, place: &Place, options: OpenOptions) -> Result<Opened> {
    let wanted = options.range.clone();
    if let Some(range) = &wanted
        && (range.start >= range.end || range.start > OFFSET_MAX)
    {
        let size_bytes = stat(client, place).await?.size_bytes;
        return Err(Error::Range { place: place.clone(), size_bytes });
    }
    let url = client.endpoint().object(place);
    let mut call = Call::new(READ, Method::GET, url.clone());
    if let Some(range) = &wanted {
        // Some servers take no number that is no signed one: what reaches so far has no end.
        let last = Some(range.end - 1).filter(|last| *last <= OFFSET_MAX);
        let last = last.map(|last| last.to_string()).unwrap_or_default();
        call = call.header("range", &format!("bytes={}-{last}", range.start));
    }
    let response = match client.send(&call).await {
        Ok(response) => response,
        Err(failure) if failure.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE) => {
            let size_bytes = stat(client, place).await?.size_bytes;
            return Err(Error::Range { place: place.clone(), size_bytes });
        }
        Err(failure) => return Err(failure.at(place, client.about(READ))),
    };
    let (sent, size_bytes) = sent_range(&response)
        .ok_or_else(|| Failure::Unreadable("it has no length".to_owned()).at(place, client.about(READ)))?;
    let stat = stat_of(response.headers(), size_bytes, client.ambient().now());
    // Some servers send all of it whatever is asked for; and an empty object has no range at all.
    let range = options.resolve(place, size_bytes)?;
    if range.is_empty() {
        return Ok(Opened { stat, range, body: Body::Bytes(Bytes::new()) });
    }
    if sent.start > range.start || sent.end < range.end {
        let detail = format!("asked for {range:?} it gives {sent:?}");
        return Err(Failure::Unreadable(detail).at(place, client.about(READ)));
    }
    let reading = Reading {
        client: Arc::clone(client),
        place: place.clone(),
        url,
        e_tag: stat.fingerprint.as_str().to_owned(),
        skip: range.start - sent.start,
        next: range.start,
        end: range.end,
        source: body_of(response),
        resumes: 0,
    };
    Ok(Opened { stat, range, body: Body::Stream(reading.into_stream()) })
}

/// Which bytes an answer holds, of how many (RFC 9110, section 14.4).
fn sent_range(response: &Response) -> Option<(Range<u64>, u64)> {
    let headers = response.headers();
    if response.status() != StatusCode::PARTIAL_CONTENT {
        let size_bytes = response.content_length()?;
        return Some((0..size_bytes, size_bytes));
    }
    let text = headers.get(reqwest::header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size_bytes) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first..last + 1, size_bytes.parse().ok()?))
}

fn body_of(response: Response) -> ByteStream {
    response.bytes_stream().map_err(|error| BoxError::from(error.without_url())).boxed()
}

/// A body on its way. It ends after exactly the bytes that were promised, or with an error.
struct Reading {
    client: Arc<Client>,
    place: Place,
    url: String,
    e_tag: String,
    /// Bytes of the source that nobody asked for.
    skip: u64,
    next: u64,
    end: u64,
    source: ByteStream,
    resumes: u32,
}

impl Reading {
    fn into_stream(self) -> ByteStream {
        stream::try_unfold(self, |mut reading| async move {
            match reading.chunk().await {
                Ok(Some(chunk)) => Ok(Some((chunk, reading))),
                Ok(None) => Ok(None),
                Err(error) => Err(boxed(error)),
            }
        })
        .boxed()
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while self.next < self.end {
            let limit = self.client.answer_within();
            let broken = match tokio::time::timeout(limit, self.source.next()).await {
                Ok(Some(Ok(chunk))) => {
                    if let Some(chunk) = self.wanted(chunk) {
                        return Ok(Some(chunk));
                    }
                    continue;
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => BoxError::from(format!("the body ended at byte {} of {}", self.next, self.end)),
                Err(_) => BoxError::from(format!("no byte came within {} s", limit.as_secs())),
            };
            self.resume(broken).await?;
        }
        Ok(None)
    }

    /// What of a chunk was asked for.
    fn wanted(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        let chunk = chunk.split_off(skipped as usize);
        let rest = self.end - self.next;
        let chunk = if chunk.len() as u64 > rest { chunk.slice(..rest as usize) } else { chunk };
        self.next += chunk.len() as u64;
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Asks for the rest of the very same bytes.
    async fn resume(&mut self, broken: BoxError) -> Result<()> {
        let place = self.place.to_string();
        if self.resumes == RESUMES_MAX {
            return Err(Error::unavailable(place, broken));
        }
        self.resumes += 1;
        tracing::debug!(place, error = %broken, at = self.next, "a body broke off and is asked for again");
        metrics::counter!("larder_store_retries_total", "action" => READ).increment(1);
        tokio::time::sleep(Duration::from_millis(50) * self.resumes).await;
        let call = Call::new(READ, Method::GET, self.url.clone())
            .header("range", &format!("bytes={}-{}", self.next, self.end - 1))
            .header("if-match", &self.e_tag);
        let response = match self.client.send(&call).await {
            Ok(response) => response,
            Err(failure)
                if matches!(
                    failure.status(),
                    Some(StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND)
                ) =>
            {
                let source = BoxError::from("the bytes were replaced or removed while they were read");
                return Err(Error::unavailable(place, source));
            }
            Err(failure) => return Err(failure.at(&self.place, self.client.about(READ))),
        };
        let tag = response.headers().get("etag").and_then(|value| value.to_str().ok());
        let is_same = tag == Some(self.e_tag.as_str());
        match sent_range(&response) {
            Some((sent, _)) if is_same && sent.start <= self.next && sent.end >= self.end => {
                self.skip = self.next - sent.start;
                self.source = body_of(response);
                Ok(())
            }
            _ => Err(Error::unavailable(place, broken)),
        }
    }
}
