//! Addresses of servers as people write them.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether the text is a URL with its scheme, and not a domain or a path.
pub fn is_whole(text: &str) -> bool {
    text.contains("://")
}

/// The address of a web server; a bare domain means `https:`.
///
/// # Errors
/// A sentence that says what is wrong. It holds nothing of a text in which a password may stand.
pub fn web(text: &str) -> Result<Url, String> {
    let text = text.trim();
    let whole =
        if is_whole(text) { text.to_owned() } else { format!("https://{}", text.trim_start_matches('/')) };
    let shown = if text.contains('@') { "the address".to_owned() } else { format!("\"{text}\"") };
    let url = Url::parse(&whole).map_err(|error| format!("{shown} is no address of a server: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the address begins with {}: and not with http: or https:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address holds a name or password; credentials have settings of their own".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{shown} has more than scheme, host, port and path"));
    }
    Ok(url)
}

/// The address of a MinIO server. Its tools write host and port alone: then it is `http:`, but `https:` where
/// the port is 443 or missing.
///
/// # Errors
/// As [`web`].
pub fn minio(text: &str) -> Result<Url, String> {
    let bare = text.trim();
    let port = bare.rsplit_once(':').map(|(_, port)| port.trim_end_matches('/'));
    match port.map(str::parse::<u16>) {
        Some(Ok(port)) if !is_whole(bare) && port != 443 => web(&format!("http://{bare}")),
        _ => web(bare),
    }
}

/// One spelling for one address.
pub fn spelling(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Whether the address is one of this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
        Some(Host::Ipv6(address)) => {
            Ipv6Addr::is_loopback(&address)
                || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_domain_means_https() {
        let table = [
            ("d123abc.cloudfront.net", "https://d123abc.cloudfront.net"),
            ("cdn.example.com/media/", "https://cdn.example.com/media"),
            ("http://cdn.example.com", "http://cdn.example.com"),
            (" https://CDN.example.com:443/ ", "https://cdn.example.com"),
        ];
        for (given, expected) in table {
            assert_eq!(spelling(&web(given).unwrap()), expected, "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_printing_passwords() {
        for (given, part) in [
            ("ftp://x", "ftp:"),
            ("https://x/?a=b", "more than"),
            ("https://", "is no address"),
            ("a b", "is no address"),
            ("https://u:hunter2@x", "settings of their own"),
            ("https://u:hunter2@x:port", "is no address"),
        ] {
            let error = web(given).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{given}: {error}");
        }
    }

    #[test]
    fn an_endpoint_of_minio_may_be_host_and_port_alone() {
        let table = [
            ("minio:9000", "http://minio:9000"),
            ("http://minio:9000", "http://minio:9000"),
            ("play.min.io", "https://play.min.io"),
            ("play.min.io:443", "https://play.min.io"),
            ("https://minio.example:9000/", "https://minio.example:9000"),
            ("[::1]:9000", "http://[::1]:9000"),
        ];
        for (given, expected) in table {
            assert_eq!(spelling(&minio(given).unwrap()), expected, "{given}");
        }
    }

    #[test]
    fn this_machine_has_several_names() {
        for (url, is) in [
            ("http://localhost:9000", true),
            ("http://s3.localhost", true),
            ("http://127.9.9.9", true),
            ("http://[::1]", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://minio:9000", false),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), is, "{url}");
        }
    }
}
