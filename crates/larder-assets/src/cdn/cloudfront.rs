//! `cloudfront`: invalidations of paths, since CloudFront knows no tags.
//!
//! `POST /2020-05-31/distribution/<id>/invalidation` (CloudFront API, CreateInvalidation), signed with the
//! credentials of the store, which need `cloudfront:CreateInvalidation`.

use std::{fmt::Write, sync::Arc};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use larder_core::{Ambient, Code, Fault};
use larder_store::AwsSigner;
use url::Url;

use super::hook::{HookKind, HookOptions, Purge, PurgeHook, judge};
use crate::net::Guarded;

pub(super) const KIND: HookKind = HookKind {
    name: "cloudfront",
    doc: "by paths, of the distribution `cdn.purge_service` with the credentials of the store",
    build: |options| Ok(Arc::new(CloudFront::new(options)?)),
};

const API: &str = "https://cloudfront.amazonaws.com";

/// CloudFront is one service for the world, and signatures name the region of its API.
const SIGNED_FOR: (&str, &str) = ("cloudfront", "us-east-1");

/// Paths in one request. 3,000 may be on their way at a time.
const PATHS_MAX: usize = 1_000;

/// What CloudFront answers with 400 while too many invalidations are on their way.
const TOO_MANY: &str = "TooManyInvalidationsInProgress";

#[derive(Debug)]
struct CloudFront {
    url: Url,
    signer: AwsSigner,
}

impl CloudFront {
    fn new(options: &HookOptions) -> Result<Self, String> {
        let id = options
            .service
            .as_deref()
            .ok_or("cdn.purge is cloudfront and needs cdn.purge_service, the distribution's id")?;
        let signer = options.aws.clone().ok_or(
            "cdn.purge is cloudfront and needs credentials: store.s3.access_key_id and its secret, or a role",
        )?;
        let api = options.url.as_ref().map_or(API, |url| url.as_str()).trim_end_matches('/');
        let url = format!("{api}/2020-05-31/distribution/{id}/invalidation").parse();
        let url = url.map_err(|error| format!("cdn.purge_service \"{id}\" is no id: {error}"))?;
        Ok(Self { url, signer })
    }
}

#[async_trait]
impl PurgeHook for CloudFront {
    fn kind(&self) -> &'static HookKind {
        &KIND
    }

    fn target(&self) -> String {
        self.url.path().to_owned()
    }

    fn things_max(&self) -> u32 {
        50
    }

    async fn purge(&self, client: &Guarded, purge: &Purge) -> Result<(), Fault> {
        for paths in purge.paths.chunks(PATHS_MAX) {
            let reference = hex::encode(Ambient::system().random_bytes::<16>());
            let body = document(paths, &reference).into_bytes();
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            let headers = self.signer.post(SIGNED_FOR, &self.url, headers, &body).await.map_err(|error| {
                Fault::new(Code::BackendUnavailable, "no credentials for CloudFront can be had")
                    .remedy("check the credentials of the store")
                    .caused_by(error)
            })?;
            let answer = client.post(&self.url, headers, body).await?;
            if answer.text.contains(TOO_MANY) {
                return Err(Fault::new(
                    Code::BackendUnavailable,
                    "too many invalidations are on their way in CloudFront",
                ));
            }
            judge("CloudFront", &answer)?;
        }
        Ok(())
    }
}

/// An `InvalidationBatch`. The reference makes each a new one: a path may have to go twice.
fn document(paths: &[String], reference: &str) -> String {
    let mut text = String::from(concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        r#"<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">"#
    ));
    // Writing to a string can't fail.
    let _ = write!(text, "<CallerReference>{reference}</CallerReference><Paths><Items>");
    for path in paths {
        let escaped = path.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(text, "<Path>{escaped}</Path>");
    }
    let _ = write!(text, "</Items><Quantity>{}</Quantity></Paths></InvalidationBatch>", paths.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_counted_and_escaped() {
        let text = document(&["/m/a/b.jpg".to_owned(), "/i/x?a=1&v=2".to_owned()], "r");
        assert!(text.contains("<Path>/m/a/b.jpg</Path><Path>/i/x?a=1&amp;v=2</Path>"), "{text}");
        assert!(text.ends_with("<Quantity>2</Quantity></Paths></InvalidationBatch>"), "{text}");
    }
}
