//! Which pages of other origins may read answers: per bucket, on every door (Fetch standard, "CORS
//! protocol").

use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use larder_assets::policy::Cors;
use larder_core::BucketName;

use crate::{
    app::App,
    auth::ByMachine,
    body::ResponseBody,
    path::{decode, query_value},
};

/// What pages may send.
const METHODS: &str = "GET, HEAD, PUT, POST, PATCH, DELETE";

/// Headers that pages may send beyond those that need no permission.
const REQUEST_HEADERS: &str = "authorization, content-type, content-digest, repr-digest, content-md5, \
     idempotency-key, if-match, if-none-match, if-modified-since, if-unmodified-since, if-range, range, \
     x-request-id";

/// Headers that pages may read.
const EXPOSED: &str = "ETag, Location, Content-Disposition, Content-Length, Content-Range, Accept-Ranges, \
     Last-Modified, Retry-After, X-Request-Id";

/// Seconds for which a browser may remember a preflight: ten minutes, so that a changed policy is soon
/// in force.
const PREFLIGHT_AGE: &str = "600";

/// A request of a page, with the origin that the browser says it has.
pub(crate) struct Cross {
    origin: HeaderValue,
}

/// What an origin is told.
struct Grant {
    origin: HeaderValue,
    credentials: bool,
}

impl Cross {
    /// The origin of a request, if it comes from a page.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        parts.headers.get(header::ORIGIN).map(|origin| Self { origin: origin.clone() })
    }

    /// Whether the browser only asks for permission.
    pub(crate) fn is_preflight(&self, parts: &Parts) -> bool {
        parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }
}

/// Answers a preflight. Without the permission it has none of the headers that a browser looks for;
/// the status says nothing.
pub(crate) async fn preflight(app: &App, cross: &Cross, parts: &Parts) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin, Access-Control-Request-Method"));
    if grant(app, cross, parts).await.is_some() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
    }
    response
}

/// Adds to an answer what its page's origin is permitted.
pub(crate) async fn allow(app: &App, cross: &Cross, parts: &Parts, response: &mut Response<ResponseBody>) {
    if response.extensions().get::<ByMachine>().is_some() {
        return;
    }
    let Some(grant) = grant(app, cross, parts).await else { return };
    let headers = response.headers_mut();
    if grant.origin != "*" {
        append_vary(headers, "Origin");
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, grant.origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if grant.credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Adds a header's name to `Vary` unless it is there.
pub(crate) fn append_vary(headers: &mut http::HeaderMap, name: &'static str) {
    let is_there = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(name)))
    };
    if !headers.get_all(header::VARY).iter().any(is_there) {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
}

/// Whether answers of a bucket with this policy differ by origin, so that caches must know.
pub(crate) fn varies(policy: &Cors) -> bool {
    !policy.origins.is_empty() && !any_origin(policy)
}

async fn grant(app: &App, cross: &Cross, parts: &Parts) -> Option<Grant> {
    let larder = app.larder();
    match bucket_of(parts) {
        Place::Bucket(name) => granted_by(&larder.bucket(&name).await.ok()?.policy.cors, &cross.origin),
        // The answer names what it is about only later; every bucket's pages may ask. A credential
        // decides what they are answered.
        Place::Api => {
            let buckets = larder.buckets().await.ok()?;
            buckets.iter().find_map(|bucket| granted_by(&bucket.policy.cors, &cross.origin))
        }
        Place::Elsewhere => None,
    }
}

fn granted_by(policy: &Cors, origin: &HeaderValue) -> Option<Grant> {
    if any_origin(policy) && !policy.credentials {
        return Some(Grant { origin: HeaderValue::from_static("*"), credentials: false });
    }
    let is_listed =
        policy.origins.iter().any(|listed| listed.trim_end_matches('/').as_bytes() == origin.as_bytes());
    is_listed.then(|| Grant { origin: origin.clone(), credentials: policy.credentials })
}

fn any_origin(policy: &Cors) -> bool {
    policy.origins.iter().any(|origin| origin == "*")
}

/// What a request is about, as far as its URL tells.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Bucket(BucketName),
    Api,
    Elsewhere,
}

fn bucket_of(parts: &Parts) -> Place {
    let path = parts.uri.path();
    let segment = if let Some(rest) = path.strip_prefix("/m/") {
        rest.split('/').next()
    } else if let Some(rest) = path.strip_prefix("/i/") {
        rest.split('/').nth(2)
    } else if let Some(rest) = path.strip_prefix("/api/v1/buckets/") {
        rest.split('/').next()
    } else if path.starts_with("/api/") {
        let named = query_value(parts.uri.query(), "bucket").and_then(|name| name.parse().ok());
        return named.map_or(Place::Api, Place::Bucket);
    } else {
        None
    };
    let name = segment.and_then(|segment| decode(segment).ok()).and_then(|name| name.parse().ok());
    name.map_or(Place::Elsewhere, Place::Bucket)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_bucket_is_found_on_every_door() {
        let place = |uri: &str| bucket_of(&Request::builder().uri(uri).body(()).unwrap().into_parts().0);
        let media = || Place::Bucket("media".parse().unwrap());
        assert_eq!(place("/m/media/a/b.jpg?v=1"), media());
        assert_eq!(place("/i/sig/p:x/media/a/b.jpg.webp"), media());
        assert_eq!(place("/api/v1/buckets/media/objects/a/b"), media());
        assert_eq!(place("/api/v1/uploads?bucket=media&key=x"), media());
        assert_eq!(place("/api/v1/uploads"), Place::Api);
        assert_eq!(place("/metrics"), Place::Elsewhere);
        assert_eq!(place("/m/..%2fetc/x"), Place::Elsewhere);
    }

    #[test]
    fn origins_are_granted_as_listed() {
        let policy = |origins: &[&str], credentials| Cors {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            credentials,
        };
        let granted = |policy: &Cors, origin: &'static str| {
            granted_by(policy, &HeaderValue::from_static(origin)).map(|grant| grant.origin)
        };
        let listed = policy(&["https://a.example", "https://b.example/"], true);
        assert_eq!(granted(&listed, "https://a.example").unwrap(), "https://a.example");
        assert_eq!(granted(&listed, "https://b.example").unwrap(), "https://b.example");
        assert_eq!(granted(&listed, "https://a.example.evil"), None);
        assert_eq!(granted(&listed, "null"), None);
        assert_eq!(granted(&policy(&["*"], false), "https://x.example").unwrap(), "*");
        assert_eq!(
            granted(&policy(&["*"], true), "https://x.example"),
            None,
            "refused by the policy's own check"
        );
        assert_eq!(granted(&policy(&[], false), "https://x.example"), None);
        assert!(varies(&listed) && !varies(&policy(&["*"], false)) && !varies(&policy(&[], false)));
    }

    #[test]
    fn vary_names_a_header_once() {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::VARY, HeaderValue::from_static("Accept, origin"));
        append_vary(&mut headers, "Origin");
        assert_eq!(headers.get_all(header::VARY).iter().count(), 1);
    }
}
