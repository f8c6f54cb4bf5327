//! The public address, asked as a client would: through every proxy on the way.

use std::time::Duration;

use larder_assets::{AssetQuery, Larder, Visibility};
use larder_catalog::AssetFilter;
use larder_core::Fault;
use larder_store::{Place, Verdict};
use reqwest::{StatusCode, header};
use url::Url;

use super::{Section, bad_fault};
use crate::config::Config;

/// Time for each question.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Asks the address of `public_url`, if there is one.
pub async fn look_at(config: &Config, larder: &Larder) -> Section {
    let mut section = Section::new("public address");
    let Some(url) = &config.public_url else {
        let none = "public_url is not set: URLs in answers are paths".to_owned();
        section.add("address", Verdict::Lacking(none));
        return section;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = match reqwest::Client::builder().timeout(ANSWER_WITHIN).build() {
        Ok(client) => client,
        Err(error) => {
            section.add("address", Verdict::Bad { cause: error.to_string(), remedy: String::new() });
            return section;
        }
    };
    let base = url.as_str().trim_end_matches('/').to_owned();
    match client.get(format!("{base}/healthz")).send().await {
        Ok(response) if response.status() == StatusCode::OK => {
            section.add("address", Verdict::Good(base.clone()));
        }
        Ok(response) => {
            section.add("address", Verdict::Bad {
                cause: format!("{base}/healthz answers {}", response.status()),
                remedy: "let the proxy pass every path below public_url to Larder, and cut off its prefix nowhere else"
                    .to_owned(),
            });
            return section;
        }
        Err(error) => {
            section.add(
                "address",
                Verdict::Bad {
                    cause: format!("{base} is not reached: {}", error.without_url()),
                    remedy:
                        "start the server, or correct public_url (LARDER_PUBLIC_URL) and the proxy's address"
                            .to_owned(),
                },
            );
            return section;
        }
    }
    section.add("body limit", body_limit(config, &client, &base).await);
    let query = AssetQuery { limit: 1, ..AssetQuery::default() };
    match larder.assets(&query).await {
        Err(fault) => section.add("signed URL", bad_fault(fault)),
        Ok(page) => match page.items.first() {
            None => {
                section.add("signed URL", Verdict::Lacking("there is no asset yet to ask for".to_owned()))
            }
            Some(asset) => {
                // What is handed out: signed where the bucket is private.
                section.add("signed URL", fetch(&client, &asset.url, false).await);
                section.add("range", fetch(&client, &asset.url, true).await);
            }
        },
    }
    section
}

/// Whether the store or the CDN before it serves what is private in Larder: nobody looks at a request there.
pub async fn look_past(larder: &Larder) -> Section {
    let mut section = Section::new("ways past Larder");
    let buckets = match larder.buckets().await {
        Ok(buckets) => buckets,
        Err(fault) => {
            section.add("buckets", bad_fault(fault));
            return section;
        }
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().unwrap_or_default();
    for bucket in buckets.iter().filter(|bucket| bucket.policy.visibility == Visibility::Private) {
        let first = AssetFilter { bucket: Some(bucket.name.clone()), limit: 1, ..AssetFilter::default() };
        let asset = match larder.catalog().assets(&first).await {
            Ok(page) => page.items.into_iter().next(),
            Err(error) => {
                section.add(bucket.name.as_str(), bad_fault(Fault::from(error)));
                continue;
            }
        };
        let url = asset.and_then(|asset| {
            let place = asset.place.parse::<Place>().ok()?;
            larder.store(&asset.store).ok()?.public_url(&place)
        });
        if let Some(url) = url {
            section.add(bucket.name.as_str(), closed(&client, url).await);
        }
    }
    section
}

async fn closed(client: &reqwest::Client, url: Url) -> Verdict {
    match client.get(url.clone()).header(header::RANGE, "bytes=0-0").send().await {
        Ok(response) if response.status().is_success() => Verdict::Bad {
            cause: format!("the bucket is private, and everybody can read {url}"),
            remedy: "let the policy of the store's bucket, and the CDN, refuse the folder of this bucket; what they keep is told to go by cdn.purge".to_owned(),
        },
        Ok(response) => Verdict::Good(format!("strangers get {} for what lies there", response.status())),
        Err(error) => Verdict::Lacking(format!("could not be asked: {}", error.without_url())),
    }
}

async fn fetch(client: &reqwest::Client, url: &str, range: bool) -> Verdict {
    let mut request = client.get(url);
    if range {
        request = request.header(header::RANGE, "bytes=0-0");
    }
    let wanted = if range { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    match request.send().await {
        Ok(response) if response.status() == wanted => Verdict::Good(format!("answers {wanted}")),
        Ok(response) => Verdict::Bad {
            cause: format!(
                "{} instead of {wanted} for {}",
                response.status(),
                url.split('?').next().unwrap_or(url)
            ),
            remedy: match range {
                true => "let the proxy pass the header Range, and not keep answers whole".to_owned(),
                false => "let the proxy pass path and query unchanged: they are signed".to_owned(),
            },
        },
        Err(error) => Verdict::Bad {
            cause: error.without_url().to_string(),
            remedy: "check the way from here to the public address".to_owned(),
        },
    }
}

/// Whether a proxy refuses what Larder would take: the head of the largest upload is sent, without a key and
/// without its body, so that only the proxy can find it too large.
async fn body_limit(config: &Config, client: &reqwest::Client, base: &str) -> Verdict {
    let bytes = config.limits.upload_bytes.0;
    let never = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let request = client
        .post(format!("{base}/api/v1/uploads?bucket=media"))
        .header(header::CONTENT_TYPE, "image/jpeg")
        .header(header::CONTENT_LENGTH, bytes)
        .header(header::AUTHORIZATION, "Bearer larder-doctor-asks-only")
        .body(reqwest::Body::wrap_stream(never));
    match request.send().await {
        Ok(response) if response.status() == StatusCode::PAYLOAD_TOO_LARGE => Verdict::Bad {
            cause: format!("something on the way refuses bodies of {bytes} bytes, which limits.upload_bytes allows"),
            remedy: "raise the proxy's limit, for instance client_max_body_size of nginx, or lower limits.upload_bytes"
                .to_owned(),
        },
        Ok(response) => Verdict::Good(format!("{bytes} bytes would pass ({} without a key)", response.status())),
        Err(error) if error.is_timeout() => {
            Verdict::Lacking("the proxy waits for the whole body before it asks Larder".to_owned())
        }
        Err(error) => Verdict::Lacking(format!("could not be asked: {}", error.without_url())),
    }
}
