//! `generic`: a POST with everything that is known, for whoever speaks to Varnish, nginx, Cloudflare or any
//! other cache.

use std::sync::Arc;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use larder_core::Fault;
use sha2::Sha256;
use url::Url;

use super::hook::{Hidden, HookKind, Purge, PurgeHook, judge};
use crate::net::Guarded;

pub(super) const KIND: HookKind = HookKind {
    name: "generic",
    doc: "a POST of JSON (`urls`, `paths`, `tags`, `reason`) to `cdn.purge_url`",
    build: |options| {
        let url = options.url.clone().ok_or("cdn.purge is generic and needs cdn.purge_url")?;
        Ok(Arc::new(Generic { url, token: options.token.clone(), secret: options.secret.clone() }))
    },
};

/// `sha256=` and the HMAC-SHA256 of the body in hex, if there is a secret.
const SIGNATURE: HeaderName = HeaderName::from_static("x-larder-signature");

#[derive(Debug)]
struct Generic {
    url: Url,
    token: Option<Hidden>,
    secret: Option<Hidden>,
}

impl Generic {
    fn headers(&self, body: &[u8]) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, hidden(&format!("Bearer {}", token.expose()))?);
        }
        if let Some(secret) = &self.secret {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
                .map_err(|error| Fault::internal("a key of any length is one").caused_by(error))?;
            mac.update(body);
            let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
            headers.insert(SIGNATURE, hidden(&signature)?);
        }
        Ok(headers)
    }
}

/// A header's value that is not logged.
pub(super) fn hidden(text: &str) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Fault::new(larder_core::Code::PurgeRefused, "cdn.purge_token can't stand in a header")
            .remedy("use a token of visible ASCII characters")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[async_trait]
impl PurgeHook for Generic {
    fn kind(&self) -> &'static HookKind {
        &KIND
    }

    fn target(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }

    fn things_max(&self) -> u32 {
        // With a dozen variants each, a body of some hundred kilobytes.
        100
    }

    async fn purge(&self, client: &Guarded, purge: &Purge) -> Result<(), Fault> {
        let body = serde_json::to_vec(purge)
            .map_err(|error| Fault::internal("a purge does not print").caused_by(error))?;
        let headers = self.headers(&body)?;
        judge("the purge hook", &client.post(&self.url, headers, body).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::HookOptions;

    #[test]
    fn a_body_is_signed_and_nothing_secret_is_printed() {
        let options = HookOptions {
            url: Some("https://hook.example/purge?x=1".parse().unwrap()),
            token: Some(Hidden::new("t0ken")),
            secret: Some(Hidden::new("Jefe")),
            ..HookOptions::default()
        };
        let hook = Generic {
            url: options.url.clone().unwrap(),
            token: options.token.clone(),
            secret: options.secret.clone(),
        };
        let headers = hook.headers(b"what do ya want for nothing?").unwrap();
        assert_eq!(headers[header::AUTHORIZATION], "Bearer t0ken");
        // RFC 4231, section 4.3.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(headers[&SIGNATURE], expected);
        let printed = format!("{hook:?} {headers:?} {options:?}");
        assert!(!printed.contains("t0ken") && !printed.contains("Jefe"), "{printed}");
    }
}
