//! Objects that are written in parts (S3, "Uploading and copying objects using multipart upload").

use std::sync::Arc;

use reqwest::{Method, header::HeaderMap};
use tokio::task::JoinSet;

use super::{
    attributes::WRITTEN_BY,
    client::{Call, Client, Sent},
    failure::Failure,
    options::S3Checksum,
    writing::{CHECKSUM, Manner, WRITE, tag_of},
    xml,
};
use crate::{
    error::{Error, Result},
    place::Place,
    store::Condition,
};

/// Parts of one upload that are on their way at a time.
const PARTS_AT_A_TIME: usize = 2;

/// An upload that has begun. Dropped before its end, it is aborted, so that the store keeps no parts of it.
pub(super) struct Upload<'a> {
    client: &'a Arc<Client>,
    manner: &'a Manner,
    place: &'a Place,
    begun: Begun,
    parts: usize,
    flying: JoinSet<Result<(usize, xml::Part), Failure>>,
    landed: Vec<Option<xml::Part>>,
}

impl<'a> Upload<'a> {
    /// CreateMultipartUpload.
    pub(super) async fn begin(
        client: &'a Arc<Client>,
        manner: &'a Manner,
        place: &'a Place,
        headers: HeaderMap,
        mark: &str,
    ) -> Result<Self> {
        let url = client.endpoint().object(place);
        let mut call = Call::new(WRITE, Method::POST, url.clone())
            .query(&[("uploads", "")])
            .headers(headers)
            .header(WRITTEN_BY, mark);
        if manner.checksum == Some(S3Checksum::Sha256) {
            call = call.header("x-amz-checksum-algorithm", "SHA256");
        }
        let document = client.ask(&call).await.outcome;
        let begun = document
            .and_then(|document| xml::read::<xml::Begun>(&document).map_err(Failure::Unreadable))
            .map_err(|failure| failure.of(place.as_str(), client.about(WRITE)))?;
        Ok(Self {
            client,
            manner,
            place,
            begun: Begun { client: Arc::clone(client), url, id: begun.upload_id, open: true },
            parts: 0,
            flying: JoinSet::new(),
            landed: Vec::new(),
        })
    }

    /// How many parts there are so far.
    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    /// UploadPart, while the next one is collected.
    pub(super) async fn add(&mut self, body: bytes::Bytes) -> Result<()> {
        let sha256 = self.manner.checksum_of(&body);
        let part = self.call(|call| match &sha256 {
            Some(sha256) => call.header(CHECKSUM, sha256).body(body),
            None => call.body(body),
        });
        self.fly(part, sha256, |headers, _| tag_of(headers)).await
    }

    /// UploadPartCopy of a range of another object, which must still be the one of this tag.
    pub(super) async fn add_copy(
        &mut self,
        source: &Place,
        e_tag: &str,
        first: u64,
        last: u64,
    ) -> Result<()> {
        let source = self.client.endpoint().copy_source(source);
        let part = self.call(|call| {
            call.header("x-amz-copy-source", &source)
                .header("x-amz-copy-source-if-match", e_tag)
                .header("x-amz-copy-source-range", &format!("bytes={first}-{last}"))
        });
        self.fly(part, None, |_, document| Some(xml::read::<xml::Written>(document).ok()?.e_tag)).await
    }

    fn call(&self, fill: impl FnOnce(Call) -> Call) -> Call {
        let number = (self.parts + 1).to_string();
        let call = Call::new(WRITE, Method::PUT, self.begun.url.clone());
        fill(call.query(&[("partNumber", &number), ("uploadId", &self.begun.id)]))
    }

    async fn fly(
        &mut self,
        part: Call,
        sha256: Option<String>,
        tag: fn(&HeaderMap, &[u8]) -> Option<String>,
    ) -> Result<()> {
        while self.flying.len() >= PARTS_AT_A_TIME {
            self.land().await?;
        }
        let permit = Arc::clone(&self.manner.in_flight).acquire_owned().await;
        let (client, index) = (Arc::clone(self.client), self.parts);
        self.flying.spawn(async move {
            let _permit = permit;
            let response = client.send(&part).await?;
            let headers = response.headers().clone();
            let document = response.bytes().await.map_err(|error| Failure::Transport(error.without_url()))?;
            let e_tag = tag(&headers, &document)
                .ok_or_else(|| Failure::Unreadable("a part has no ETag".to_owned()))?;
            Ok((index, xml::Part { e_tag, sha256 }))
        });
        self.parts += 1;
        self.landed.push(None);
        Ok(())
    }

    /// Waits for one part.
    async fn land(&mut self) -> Result<()> {
        let place = self.place.as_str();
        match self.flying.join_next().await {
            None => Ok(()),
            Some(Ok(Ok((index, part)))) => {
                self.landed[index] = Some(part);
                Ok(())
            }
            Some(Ok(Err(failure))) => Err(failure.of(place, self.client.about(WRITE))),
            Some(Err(panicked)) => Err(Error::Internal { place: place.to_owned(), source: panicked.into() }),
        }
    }

    /// CompleteMultipartUpload.
    pub(super) async fn complete(&mut self, condition: &Condition) -> Result<Sent<String>> {
        while !self.flying.is_empty() {
            self.land().await?;
        }
        let parts: Vec<xml::Part> = self.landed.drain(..).flatten().collect();
        let call = Call::new(WRITE, Method::POST, self.begun.url.clone())
            .query(&[("uploadId", &self.begun.id)])
            .header("content-type", "application/xml")
            .body(xml::complete(&parts));
        let Sent { outcome, repeated } = self.client.ask(&self.manner.condition(call, condition)).await;
        let outcome = outcome.and_then(|document| {
            Ok(xml::read::<xml::Written>(&document).map_err(Failure::Unreadable)?.e_tag)
        });
        if outcome.is_ok() {
            self.is_done();
        }
        Ok(Sent { outcome, repeated })
    }

    /// There is nothing left to abort.
    pub(super) fn is_done(&mut self) {
        self.begun.open = false;
    }
}

/// What has to be aborted.
struct Begun {
    client: Arc<Client>,
    url: String,
    id: String,
    open: bool,
}

impl Drop for Begun {
    /// In the background, since nobody waits for it any more; what a process that dies leaves is found by
    /// [`remove_unfinished`](crate::Store::remove_unfinished).
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, call) = (Arc::clone(&self.client), abort(&self.url, &self.id));
        runtime.spawn(async move {
            if let Err(failure) = client.send(&call).await {
                tracing::debug!(%failure, "an upload in parts could not be aborted");
            }
        });
    }
}

/// AbortMultipartUpload.
pub(super) fn abort(url: &str, id: &str) -> Call {
    Call::new("s3:AbortMultipartUpload", Method::DELETE, url.to_owned()).query(&[("uploadId", id)])
}
