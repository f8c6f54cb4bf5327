//! `fastly`: purges by surrogate keys, which are the tags of answers.
//!
//! `POST /service/<id>/purge` with the header `Surrogate-Key` (Fastly API, "Purge multiple surrogate key
//! tags": at most 256 of them).

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use larder_core::Fault;
use url::Url;

use super::{
    generic::hidden,
    hook::{Hidden, HookKind, HookOptions, Purge, PurgeHook, judge},
};
use crate::net::Guarded;

pub(super) const KIND: HookKind = HookKind {
    name: "fastly",
    doc: "by surrogate keys, of the service `cdn.purge_service` with the API token `cdn.purge_token`",
    build: |options| Ok(Arc::new(Fastly::new(options)?)),
};

const API: &str = "https://api.fastly.com";
const KEY: HeaderName = HeaderName::from_static("fastly-key");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

#[derive(Debug)]
struct Fastly {
    url: Url,
    token: Hidden,
}

impl Fastly {
    fn new(options: &HookOptions) -> Result<Self, String> {
        let service = options
            .service
            .as_deref()
            .ok_or("cdn.purge is fastly and needs cdn.purge_service, the service's id")?;
        let token = options
            .token
            .clone()
            .ok_or("cdn.purge is fastly and needs cdn.purge_token, a token of its API")?;
        let api = options.url.as_ref().map_or(API, |url| url.as_str()).trim_end_matches('/');
        let url = format!("{api}/service/{service}/purge").parse();
        let url = url.map_err(|error| format!("cdn.purge_service \"{service}\" is no id: {error}"))?;
        Ok(Self { url, token })
    }
}

#[async_trait]
impl PurgeHook for Fastly {
    fn kind(&self) -> &'static HookKind {
        &KIND
    }

    fn target(&self) -> String {
        self.url.path().to_owned()
    }

    fn things_max(&self) -> u32 {
        // One tag each, in a header of 8 KB.
        200
    }

    async fn purge(&self, client: &Guarded, purge: &Purge) -> Result<(), Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(KEY, hidden(self.token.expose())?);
        let keys = HeaderValue::from_str(&purge.tags.join(" "));
        headers.insert(
            SURROGATE_KEY,
            keys.map_err(|error| Fault::internal("a tag is no header's value").caused_by(error))?,
        );
        judge("Fastly", &client.post(&self.url, headers, Vec::new()).await?)
    }
}
