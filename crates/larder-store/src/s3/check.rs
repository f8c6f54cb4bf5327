//! Looking a bucket over, one question after the other, each with its remedy.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::{S3Store, admin::is_unknown, client::Call, options::S3Options, probe};
use crate::{
    error::{Error, Result},
    ext::StoreExt,
    listing::ListOptions,
    place::Place,
    store::{OpenOptions, PutOptions, SignedAction, Store},
};

/// Difference of clocks beyond which it is worth a word; S3 refuses requests at 15 minutes.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// What the probes put.
const BYTES: &str = "0123456789";

/// The answer to one question about a bucket.
#[derive(Debug)]
pub struct Finding {
    /// What was asked, such as `range`.
    pub name: &'static str,
    /// The answer.
    pub verdict: Verdict,
}

/// How well it is.
#[derive(Debug)]
pub enum Verdict {
    /// All right, with what was found.
    Good(String),
    /// It works without, with what that means.
    Lacking(String),
    /// It does not work: cause and remedy.
    Bad {
        /// What is wrong.
        cause: String,
        /// What to do.
        remedy: String,
    },
}

impl Verdict {
    fn of(error: Error) -> Self {
        let fault = larder_core::Fault::from(error);
        let cause = match &fault.source {
            Some(source) if !fault.detail.contains(&source.to_string()) => {
                format!("{}: {source}", fault.detail)
            }
            _ => fault.detail.clone(),
        };
        Self::Bad { cause, remedy: fault.remedy.to_string() }
    }

    fn bad(cause: impl Into<String>, remedy: &str) -> Self {
        Self::Bad { cause: cause.into(), remedy: remedy.to_owned() }
    }
}

impl S3Store {
    /// Asks a bucket everything that Larder needs to know of it. Writes a probe below `.larder/probe/` and removes
    /// it again. Stops early where nothing else could be asked.
    ///
    /// # Errors
    /// Options that can't be right.
    pub async fn check(options: &S3Options, ambient: larder_core::Ambient) -> Result<Vec<Finding>> {
        let store = Self::unprobed(options, ambient)?;
        let mut findings = Vec::new();
        let mut add = |name, verdict| findings.push(Finding { name, verdict });

        let root = store.client.endpoint().root();
        let list = Call::new("s3:ListBucket", Method::GET, root.clone())
            .query(&[("list-type", "2"), ("max-keys", "1")]);
        match store.client.send(&list).await {
            Ok(response) => {
                add("reach", Verdict::Good(root));
                let date = response.headers().get("date").and_then(|value| value.to_str().ok());
                add("clock", clock(&store, date));
            }
            Err(failure) => {
                add("reach", Verdict::of(failure.of(&options.bucket, store.client.about("s3:ListBucket"))));
                return Ok(findings);
            }
        }
        let name = hex::encode(store.client.ambient().random_bytes::<8>());
        let place: Place = format!(".larder/probe/{name}").parse()?;
        match store.put_bytes(&place, BYTES, PutOptions::default()).await {
            Ok(_) => add("write", Verdict::Good(format!("{place} was written"))),
            Err(error) => {
                add("write", Verdict::of(error));
                return Ok(findings);
            }
        }
        add("read", read(&store, &place, None).await);
        add("range", read(&store, &place, Some(2..5)).await);
        add("conditions", conditions(&store, options).await);
        add("copy", copy(&store, &place).await);
        add("signed URL", signed(&store, &place).await);
        add("privacy", privacy(&store, &place).await);
        add("encryption", encryption(&store, options, &place).await);
        add("CORS", cors(&store).await);
        add("delete", delete(&store, &place).await);
        add("strangers", strangers(&store, options).await);
        Ok(findings)
    }
}

fn clock(store: &S3Store, date: Option<&str>) -> Verdict {
    let Some(theirs) = date.and_then(larder_core::Timestamp::parse_http_date) else {
        return Verdict::Lacking("the store tells no time".to_owned());
    };
    let ours = store.client.ambient().now();
    let skew = ours.since(theirs).max(theirs.since(ours));
    match skew > SKEW_MAX {
        true => Verdict::bad(
            format!("this machine's clock and the store's differ by {} s", skew.as_secs()),
            "set the clock of this machine, for instance with `timedatectl set-ntp true`",
        ),
        false => Verdict::Good("as the store's".to_owned()),
    }
}

async fn read(store: &S3Store, place: &Place, range: Option<std::ops::Range<u64>>) -> Verdict {
    let wanted = match &range {
        Some(range) => &BYTES[range.start as usize..range.end as usize],
        None => BYTES,
    };
    let opened = match store.open(place, OpenOptions { range, ..OpenOptions::default() }).await {
        Ok(opened) => opened.body.read_all(BYTES.len() as u64).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(bytes) if bytes == wanted => Verdict::Good(format!("{} bytes came back", bytes.len())),
        Ok(_) => Verdict::bad("other bytes came back than were put", "use another store: this one is no S3"),
        Err(error) => Verdict::of(error),
    }
}

async fn conditions(store: &S3Store, options: &S3Options) -> Verdict {
    match probe::conditions(store, options).await {
        Ok(honoured) if honoured.if_absent && honoured.if_match => {
            Verdict::Good("If-None-Match and If-Match are obeyed".to_owned())
        }
        Ok(honoured) => {
            let ignored = match (honoured.if_absent, honoured.if_match) {
                (false, false) => "If-None-Match and If-Match are",
                (false, true) => "If-None-Match is",
                _ => "If-Match is",
            };
            Verdict::Lacking(format!(
                "{ignored} ignored: assets are safe without, `larder db` refuses such a store"
            ))
        }
        Err(error) => Verdict::of(error),
    }
}

async fn copy(store: &S3Store, place: &Place) -> Verdict {
    let target = match place.to_string().parse::<Place>().and_then(|place| place.join("copy")) {
        Ok(target) => target,
        Err(error) => return Verdict::of(error.into()),
    };
    // Beside it: a server that keeps objects as files can't have one below another.
    let target: Place = match target.as_str().replace("/copy", "-copy").parse() {
        Ok(target) => target,
        Err(_) => target,
    };
    let copied = store.copy(place, &target, Default::default()).await;
    let removed = store.remove(&target).await;
    match (copied, removed) {
        (Ok(_), Ok(_)) => Verdict::Good("within the bucket".to_owned()),
        (Err(error), _) | (_, Err(error)) => Verdict::of(error),
    }
}

async fn signed(store: &S3Store, place: &Place) -> Verdict {
    let action = SignedAction::Get { disposition: None };
    let url = match store.signed_url(place, &action, Duration::from_secs(60)).await {
        Ok(Some(url)) => url,
        Ok(None) => return Verdict::Lacking("without credentials nothing is signed".to_owned()),
        Err(error) => return Verdict::of(error),
    };
    match store.client.get_plain(url).await {
        Ok(StatusCode::OK) => Verdict::Good("opens the probe".to_owned()),
        Ok(status) => Verdict::bad(
            format!("the store answers {status} to a signed URL"),
            "check that no proxy before the store changes host, path or query",
        ),
        Err(detail) => Verdict::bad(detail, "check the way to the store"),
    }
}

/// Staging, trash and probes are below `.larder/`: nobody else may read them, however public the rest is.
async fn privacy(store: &S3Store, place: &Place) -> Verdict {
    let Ok(url) = store.client.endpoint().object(place).parse() else {
        return Verdict::bad("the address of an object is none", "correct store.s3.endpoint");
    };
    match store.client.get_plain(url).await {
        Ok(status) if status.is_success() => Verdict::bad(
            "everybody can read .larder/, where files lie that nobody has looked at yet, and deleted ones",
            "let `larder store setup --public` write the bucket's policy, which leaves .larder/ out",
        ),
        Ok(_) => Verdict::Good("strangers can't read .larder/".to_owned()),
        Err(detail) => Verdict::bad(detail, "check the way to the store"),
    }
}

/// Whether everybody reads what lies in the bucket at its own address, as settings say or not: what Larder
/// keeps private there is as open as the bucket.
async fn strangers(store: &S3Store, options: &S3Options) -> Verdict {
    let first = ListOptions { limit: 1, ..ListOptions::under("") };
    let place = match store.list(first).await {
        Ok(listing) => match listing.entries.into_iter().next() {
            Some(entry) => entry.place,
            None => return Verdict::Lacking("nothing lies there yet that could be asked for".to_owned()),
        },
        Err(error) => return Verdict::of(error),
    };
    let Ok(url) = store.client.endpoint().object(&place).parse() else {
        return Verdict::bad("the address of an object is none", "correct store.s3.endpoint");
    };
    match (store.client.get_plain(url).await, options.is_public) {
        (Ok(status), true) if status.is_success() => {
            Verdict::Good("everybody reads the bucket, as store.s3.public_bucket says".to_owned())
        }
        (Ok(status), false) if status.is_success() => Verdict::bad(
            "everybody can read the bucket at its own address, and with it what is private in Larder",
            "take away the policy and the ACLs by which everybody may do s3:GetObject, or set store.s3.public_bucket if that is meant",
        ),
        (Ok(_), true) => Verdict::Lacking(
            "strangers can't read, though store.s3.public_bucket says so; `larder store setup --public` lets them"
                .to_owned(),
        ),
        (Ok(_), false) => Verdict::Good("strangers can't read what lies there".to_owned()),
        (Err(detail), _) => Verdict::bad(detail, "check the way to the store"),
    }
}

async fn encryption(store: &S3Store, options: &S3Options, place: &Place) -> Verdict {
    match super::reading::head(&store.client, place).await {
        Ok(headers) => {
            let found = headers.get("x-amz-server-side-encryption").and_then(|value| value.to_str().ok());
            match (found, &options.encryption) {
                (Some(found), _) => Verdict::Good(found.to_owned()),
                (None, Some(_)) => Verdict::bad(
                    "the store does not say that it encrypts, though store.s3.encryption asks for it",
                    "choose a store that does, or unset store.s3.encryption",
                ),
                (None, None) => Verdict::Lacking("the store does not say that it encrypts".to_owned()),
            }
        }
        Err(error) => Verdict::of(error),
    }
}

/// GetBucketCors.
async fn cors(store: &S3Store) -> Verdict {
    const ASK: &str = "s3:GetBucketCORS";
    let call = Call::new(ASK, Method::GET, store.client.endpoint().root()).query(&[("cors", "")]);
    match store.client.ask(&call).await.outcome {
        Ok(document) => {
            let text = String::from_utf8_lossy(&document).into_owned();
            let has = |part: &str| text.contains(part);
            match has("<AllowedMethod>PUT</AllowedMethod>") && has("ETag") {
                true => Verdict::Good("pages may read and upload".to_owned()),
                false => Verdict::Lacking(
                    "pages may not upload directly: PUT and the exposed ETag are missing; `larder store setup --cors`"
                        .to_owned(),
                ),
            }
        }
        Err(failure) if failure.status() == Some(StatusCode::NOT_FOUND) => Verdict::Lacking(
            "none is set: pages of other origins can't read; `larder store setup --cors`".to_owned(),
        ),
        Err(failure) if is_unknown(&failure) => {
            Verdict::Lacking("the provider has no such setting".to_owned())
        }
        Err(failure) if failure.status() == Some(StatusCode::FORBIDDEN) => {
            Verdict::Lacking("the credentials may not look at it".to_owned())
        }
        Err(failure) => Verdict::of(failure.of("", store.client.about(ASK))),
    }
}

async fn delete(store: &S3Store, place: &Place) -> Verdict {
    match store.remove(place).await {
        Ok(_) => Verdict::Good("the probe is gone".to_owned()),
        Err(error) => Verdict::of(error),
    }
}
