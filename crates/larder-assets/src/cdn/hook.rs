//! What every hook is, and the table of them.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use larder_core::{Code, Fault};
use larder_store::AwsSigner;
use serde::Serialize;
use url::Url;

use super::{cloudfront, fastly, generic};
use crate::net::{Guarded, Posted};

/// Every kind of hook. To add one: write its file and add its line.
pub const HOOKS: &[HookKind] = &[generic::KIND, fastly::KIND, cloudfront::KIND];

/// A kind of hook, as settings name it.
#[derive(Debug, Clone, Copy)]
pub struct HookKind {
    /// Its name in settings.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    pub(super) build: fn(&HookOptions) -> Result<Arc<dyn PurgeHook>, String>,
}

impl HookKind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        HOOKS.iter().find(|kind| kind.name == name)
    }

    /// A hook of this kind.
    ///
    /// # Errors
    /// A sentence that names the setting that is missing.
    pub fn build(&self, options: &HookOptions) -> Result<Arc<dyn PurgeHook>, String> {
        (self.build)(options)
    }
}

/// What settings say of a hook. Each kind takes what it needs.
#[derive(Debug, Clone, Default)]
pub struct HookOptions {
    /// Where requests go; for a provider's API, another address than its own.
    pub url: Option<Url>,
    /// Which service or distribution of the provider.
    pub service: Option<String>,
    /// What authorises requests.
    pub token: Option<Hidden>,
    /// What signs the body of requests.
    pub secret: Option<Hidden>,
    /// Whose requests to AWS these are.
    pub aws: Option<AwsSigner>,
}

/// A text that is never printed.
#[derive(Clone)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// What caches are to forget, in all the ways in which they know it: a hook takes one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Purge {
    /// Why: `replaced`, `deleted`, `purged`, `restored` or `visibility`.
    pub reason: &'static str,
    /// Tags as answers carry them.
    pub tags: Vec<String>,
    /// Whole addresses; one that ends in `*` stands for all that begin with it.
    pub urls: Vec<String>,
    /// The same without scheme and host, beginning with a slash, and those of which no host is known.
    pub paths: Vec<String>,
}

/// Somebody who tells caches.
#[async_trait]
pub trait PurgeHook: fmt::Debug + Send + Sync + 'static {
    /// The kind it is of.
    fn kind(&self) -> &'static HookKind;

    /// Where it sends requests, for people.
    fn target(&self) -> String;

    /// Assets and buckets that go into one request at most.
    fn things_max(&self) -> u32;

    /// Tells; when it returns, the purge is under way. May be told twice.
    ///
    /// # Errors
    /// [`Code::BackendUnavailable`] if telling again later may help, [`Code::PurgeRefused`] if it was
    /// refused, [`Code::AddressRefused`] by the guard.
    async fn purge(&self, client: &Guarded, purge: &Purge) -> Result<(), Fault>;
}

/// The outcome of an answer: a success, a passing failure, or a refusal with what was said.
pub(super) fn judge(who: &str, answer: &Posted) -> Result<(), Fault> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let detail = match answer.text.trim() {
        "" => format!("{who} answered {status}"),
        text => format!("{who} answered {status}: {text}"),
    };
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        return Err(Fault::new(Code::BackendUnavailable, detail).retry_after(answer.retry_after));
    }
    Err(Fault::new(Code::PurgeRefused, detail)
        .remedy("check the settings cdn.*; what was noted is told when it is accepted"))
}
