//! Where a bucket and its objects are found.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::options::{Addressing, S3Options};
use crate::{
    error::{BoxError, Error, Result},
    place::Place,
};

/// All but the unreserved characters of RFC 3986, section 2.3, as signatures count them (AWS Signature
/// Version 4, `UriEncode`).
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The same, with slashes as they are.
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');

/// The addresses of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The address of the bucket, without a slash at its end.
    root: String,
    bucket: String,
    /// Empty, or a folder with its slash.
    prefix: String,
}

impl Endpoint {
    /// # Errors
    /// [`Error::Refused`] for an address that can't be one, or plain `http:` where TLS is required.
    pub(super) fn of(options: &S3Options) -> Result<Self> {
        let refuse = |cause: String, remedy: &str| {
            Err(Error::Refused {
                place: options.bucket.clone(),
                source: BoxError::from(cause.clone()),
                cause,
                remedy: remedy.to_owned(),
            })
        };
        // The certificates of AWS are for one label before the host: a bucket with dots is none.
        let addressing = match options.addressing {
            Addressing::VirtualHost if options.endpoint.is_none() && options.bucket.contains('.') => {
                Addressing::Path
            }
            other => other,
        };
        let server = match &options.endpoint {
            Some(url) => url.clone(),
            None => {
                let text = format!("https://s3.{}.{}", options.region, domain(&options.region));
                match Url::parse(&text) {
                    Ok(url) => url,
                    Err(error) => {
                        return refuse(
                            format!("\"{}\" is no region: {error}", options.region),
                            "set store.s3.region (AWS_REGION), such as eu-central-1",
                        );
                    }
                }
            }
        };
        let Some(host) = server.host_str() else {
            return refuse(
                format!("{server} names no server"),
                "set store.s3.endpoint (AWS_ENDPOINT_URL_S3), such as https://fly.storage.tigris.dev",
            );
        };
        if options.require_tls && server.scheme() != "https" && !is_this_machine(&server) {
            return refuse(
                format!("{server} is not encrypted, and store.s3.require_tls is set"),
                "write the address of the store with https:",
            );
        }
        let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = server.path().trim_end_matches('/');
        let plain = format!("{}://{host}{port}{path}", server.scheme());
        let root = match addressing {
            Addressing::Path => format!("{plain}/{}", options.bucket),
            Addressing::VirtualHost => format!("{}://{}.{host}{port}{path}", server.scheme(), options.bucket),
        };
        let prefix = options.prefix.trim_matches('/');
        Ok(Self {
            root,
            bucket: options.bucket.clone(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        })
    }

    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The address of the bucket without a slash at its end.
    pub(super) fn bucket_root(&self) -> &str {
        &self.root
    }

    /// The key of a text that is a place or the beginning of one.
    pub(super) fn key(&self, place: &str) -> String {
        format!("{}{place}", self.prefix)
    }

    /// The text that stands behind the prefix in a key.
    pub(super) fn place_in<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix)
    }

    /// The address of an object.
    pub(super) fn object(&self, place: &Place) -> String {
        format!("{}/{}", self.root, utf8_percent_encode(&self.key(place.as_str()), IN_PATH))
    }

    /// The address of an object below another one than the store's own: a CDN's.
    pub(super) fn object_at(&self, base: &Url, place: &Place) -> Option<Url> {
        let base = base.as_str().trim_end_matches('/');
        format!("{base}/{}", utf8_percent_encode(&self.key(place.as_str()), IN_PATH)).parse().ok()
    }

    /// The address of the bucket itself. AWS wants the slash of an empty path.
    pub(super) fn root(&self) -> String {
        format!("{}/", self.root)
    }

    /// The value of `x-amz-copy-source`.
    pub(super) fn copy_source(&self, place: &Place) -> String {
        format!("{}/{}", self.bucket, utf8_percent_encode(&self.key(place.as_str()), IN_PATH))
    }
}

/// A query of names and values, as it is signed.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, IN_QUERY)));
    pairs.collect::<Vec<_>>().join("&")
}

/// The top of the names of a partition of AWS.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// Whether what is sent there stays on this machine.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::options::{Profile, S3Credentials};

    fn options(profile: Profile, bucket: &str) -> S3Options {
        S3Options::new(profile, bucket, S3Credentials::Anonymous)
    }

    fn object(options: &S3Options, place: &str) -> String {
        Endpoint::of(options).unwrap().object(&place.parse().unwrap())
    }

    #[test]
    fn each_profile_has_its_addresses() {
        let mut aws = options(Profile::Aws, "media");
        aws.region = "eu-central-1".to_owned();
        assert_eq!(object(&aws, "a/b c.jpg"), "https://media.s3.eu-central-1.amazonaws.com/a/b%20c.jpg");
        let tigris = options(Profile::Tigris, "media");
        assert_eq!(object(&tigris, "a"), "https://media.fly.storage.tigris.dev/a");
        let mut minio = options(Profile::Minio, "media");
        minio.endpoint = Some("http://localhost:9000".parse().unwrap());
        assert_eq!(object(&minio, "a"), "http://localhost:9000/media/a");
        minio.prefix = "/site/one/".to_owned();
        assert_eq!(object(&minio, "日.png"), "http://localhost:9000/media/site/one/%E6%97%A5.png");
    }

    #[test]
    fn a_bucket_with_dots_is_no_host_of_aws() {
        let dotted = options(Profile::Aws, "my.media");
        assert_eq!(object(&dotted, "a"), "https://s3.us-east-1.amazonaws.com/my.media/a");
    }

    #[test]
    fn plain_http_is_refused_beyond_this_machine_if_tls_is_required() {
        let mut minio = options(Profile::Minio, "media");
        minio.require_tls = true;
        for (address, allowed) in [
            ("http://minio:9000", false),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("https://minio:9000", true),
        ] {
            minio.endpoint = Some(address.parse().unwrap());
            assert_eq!(Endpoint::of(&minio).is_ok(), allowed, "{address}");
        }
    }

    #[test]
    fn queries_are_encoded_as_they_are_signed() {
        assert_eq!(query(&[("prefix", "a/b c+~"), ("delete", "")]), "prefix=a%2Fb%20c%2B~&delete=");
    }
}
