//! Copies within a bucket, and renames, which are copies and removals.

use std::sync::Arc;

use reqwest::{Method, StatusCode};

use super::{
    attributes,
    client::{Call, Client},
    failure::Failure,
    multipart::Upload,
    reading,
    writing::{Manner, WRITE, check, written},
    xml,
};
use crate::{
    error::{BoxError, Error, Result},
    place::Place,
    store::{Attributes, Condition, Stat},
};

/// Largest object that is copied in one request (S3, "CopyObject").
const COPY_BYTES_MAX: u64 = 5 << 30;

/// Bytes that one request copies of a larger one.
const COPY_PART_BYTES: u64 = 1 << 30;

/// How often a copy begins anew because its source was replaced meanwhile.
const ATTEMPTS_MAX: u32 = 4;

/// CopyObject, or UploadPartCopy for the largest.
///
/// The condition is looked at just before: not every store obeys one at CopyObject.
pub(super) async fn copy(
    client: &Arc<Client>,
    manner: &Manner,
    from: &Place,
    to: &Place,
    condition: &Condition,
    attributes: Option<Attributes>,
) -> Result<Stat> {
    let mut attempt = 1;
    loop {
        let source = reading::stat(client, from).await?;
        check(client, to, condition).await?;
        // A copy onto itself is refused unless it says what is to change.
        let attributes = attributes.clone().or_else(|| (from == to).then(|| source.attributes.clone()));
        let copying = Copying { client, manner, from, to, source: &source };
        match copying.run(attributes).await? {
            Some(stat) => return Ok(stat),
            None if attempt < ATTEMPTS_MAX => attempt += 1,
            None => {
                let source = BoxError::from("what is to be copied is replaced all the time");
                return Err(Error::unavailable(from.to_string(), source));
            }
        }
    }
}

struct Copying<'a> {
    client: &'a Arc<Client>,
    manner: &'a Manner,
    from: &'a Place,
    to: &'a Place,
    source: &'a Stat,
}

impl Copying<'_> {
    /// `None` if the source is another one by now.
    async fn run(&self, attributes: Option<Attributes>) -> Result<Option<Stat>> {
        let kept = attributes.clone().unwrap_or_else(|| self.source.attributes.clone());
        let copied = match self.source.size_bytes {
            size_bytes if size_bytes > COPY_BYTES_MAX => self.in_parts(&kept).await,
            _ => self.whole(attributes.as_ref()).await,
        };
        match copied {
            Ok(e_tag) => {
                let now = self.client.ambient().now();
                Ok(Some(written(self.source.size_bytes, e_tag, kept, now)))
            }
            Err(Error::Precondition { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn whole(&self, attributes: Option<&Attributes>) -> Result<String> {
        let endpoint = self.client.endpoint();
        let mut call = Call::new(WRITE, Method::PUT, endpoint.object(self.to))
            .header("x-amz-copy-source", &endpoint.copy_source(self.from))
            .header("x-amz-copy-source-if-match", self.source.fingerprint.as_str())
            .headers(self.manner.encryption.clone());
        if let Some(attributes) = attributes {
            call = call
                .header("x-amz-metadata-directive", "REPLACE")
                .headers(attributes::to_headers(attributes)?);
        }
        let document = self.client.ask(&call).await.outcome.map_err(|failure| self.error(failure))?;
        let written: xml::Written =
            xml::read(&document).map_err(|detail| self.error(Failure::Unreadable(detail)))?;
        Ok(quoted(written.e_tag))
    }

    async fn in_parts(&self, attributes: &Attributes) -> Result<String> {
        let mut headers = attributes::to_headers(attributes)?;
        headers.extend(self.manner.encryption.clone());
        let mark = hex::encode(self.client.ambient().random_bytes::<16>());
        let mut upload = Upload::begin(self.client, self.manner, self.to, headers, &mark).await?;
        let mut first = 0;
        while first < self.source.size_bytes {
            let last = (first + COPY_PART_BYTES).min(self.source.size_bytes) - 1;
            upload.add_copy(self.from, self.source.fingerprint.as_str(), first, last).await?;
            first = last + 1;
        }
        let sent = upload.complete(&Condition::None).await?;
        sent.outcome.map(quoted).map_err(|failure| self.error(failure))
    }

    fn error(&self, failure: Failure) -> Error {
        match failure.status() {
            Some(StatusCode::NOT_FOUND) => failure.at(self.from, self.client.about(WRITE)),
            _ => failure.at(self.to, self.client.about(WRITE)),
        }
    }
}

/// A tag as headers have it; in some stores' documents it has no quotes.
fn quoted(e_tag: String) -> String {
    if e_tag.starts_with('"') { e_tag } else { format!("\"{e_tag}\"") }
}

/// DeleteObject, which does not say whether there was anything: that is asked before.
pub(super) async fn remove(client: &Client, place: &Place) -> Result<bool> {
    match reading::stat(client, place).await {
        Ok(_) => {}
        Err(Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    }
    delete(client, place).await?;
    Ok(true)
}

/// DeleteObject.
pub(super) async fn delete(client: &Client, place: &Place) -> Result<()> {
    let call = Call::new("s3:DeleteObject", Method::DELETE, client.endpoint().object(place));
    match client.send_at(&call, place).await {
        Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
