//! Who counts as sitting at this machine: the rule that makes a laptop work without a key, and
//! keeps web pages and proxies from borrowing it.

use http::{HeaderMap, Method, Version, header, request::Parts};
use larder_core::{Code, Fault};

use crate::app::Peer;

/// Host names that only this machine answers to. Anything else may be a stranger's domain that
/// resolves to 127.0.0.1 (DNS rebinding).
const LOCAL_HOSTS: &[&str] = &["localhost", "127.0.0.1", "[::1]"];

/// Whether the peer is a process of this machine rather than a proxy in front of strangers.
///
/// HTTP/1.0 counts as a proxy: nginx speaks it unless told otherwise, and adds no header by itself.
pub(crate) fn is_direct(peer: Peer, parts: &Parts) -> bool {
    peer.address.ip().to_canonical().is_loopback()
        && parts.version >= Version::HTTP_11
        && !is_forwarded(&parts.headers)
}

/// Whether the request addresses this machine by a name that is its own.
pub(crate) fn names_this_machine(parts: &Parts) -> bool {
    host(parts)
        .is_some_and(|host| LOCAL_HOSTS.iter().any(|name| name.eq_ignore_ascii_case(without_port(host))))
}

/// Refuses a write that a browser sends on behalf of another origin's page.
///
/// # Errors
/// [`Code::CrossOrigin`].
pub(crate) fn refuse_foreign_write(parts: &Parts) -> Result<(), Fault> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) || !is_foreign(parts) {
        return Ok(());
    }
    Err(Fault::new(
        Code::CrossOrigin,
        "a page of another origin may not write with the rights of this machine",
    )
    .remedy("create a key with `larder key create` and send it as Authorization: Bearer"))
}

/// Whether a browser sends this for a page of another origin.
pub(crate) fn is_foreign(parts: &Parts) -> bool {
    let text = |name| parts.headers.get(name).map(|value: &http::HeaderValue| value.as_bytes());
    if text(header::HeaderName::from_static("sec-fetch-site")) == Some(b"cross-site") {
        return true;
    }
    match text(header::ORIGIN) {
        None => false,
        // "null" included: a sandboxed page is nobody's.
        Some(origin) => host(parts).is_none_or(|host| origin != format!("http://{host}").as_bytes()),
    }
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        [header::FORWARDED, header::VIA].contains(name)
            || name == "x-real-ip"
            || name.as_str().starts_with("x-forwarded-")
    })
}

fn host(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => {
            let mut values = parts.headers.get_all(header::HOST).iter();
            // Two Host fields are an attempt to be two hosts.
            match (values.next(), values.next()) {
                (Some(host), None) => host.to_str().ok(),
                _ => None,
            }
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/api/v1/buckets");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_names_of_this_machine_count() {
        let table = [
            ("localhost", true),
            ("localhost:8000", true),
            ("127.0.0.1:8000", true),
            ("[::1]", true),
            ("[::1]:8000", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:8000", false),
            ("127.0.0.1@evil.example", false),
            ("", false),
        ];
        for (host, expected) in table {
            assert_eq!(names_this_machine(&parts(Method::GET, &[("host", host)])), expected, "{host}");
        }
        assert!(!names_this_machine(&parts(Method::GET, &[])));
        assert!(!names_this_machine(&parts(Method::GET, &[("host", "localhost"), ("host", "evil.example")])));
    }

    #[test]
    fn a_proxy_in_front_is_no_process_of_this_machine() {
        let peer = |address: &str| Peer { address: address.parse().unwrap() };
        let none = parts(Method::GET, &[]);
        assert!(is_direct(peer("127.0.0.1:5"), &none));
        assert!(is_direct(peer("[::1]:5"), &none));
        assert!(is_direct(peer("[::ffff:127.0.0.1]:5"), &none));
        assert!(!is_direct(peer("10.0.0.1:5"), &none));
        for name in
            ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-anything"]
        {
            assert!(!is_direct(peer("127.0.0.1:5"), &parts(Method::GET, &[(name, "x")])), "{name}");
        }
        let mut old = parts(Method::GET, &[]);
        old.version = Version::HTTP_10;
        assert!(!is_direct(peer("127.0.0.1:5"), &old));
    }

    #[test]
    fn foreign_pages_may_read_but_not_write() {
        let own = [("host", "localhost:8000"), ("origin", "http://localhost:8000")];
        let foreign = [("host", "localhost:8000"), ("origin", "http://localhost:3000")];
        let null = [("host", "localhost:8000"), ("origin", "null")];
        let fetched = [("host", "localhost:8000"), ("sec-fetch-site", "cross-site")];
        for method in [Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
            assert!(refuse_foreign_write(&parts(method.clone(), &own)).is_ok());
            for headers in [&foreign[..], &null, &fetched] {
                let refused = refuse_foreign_write(&parts(method.clone(), headers)).unwrap_err();
                assert_eq!(refused.code, Code::CrossOrigin, "{method} {headers:?}");
            }
        }
        assert!(refuse_foreign_write(&parts(Method::GET, &foreign)).is_ok());
    }
}
