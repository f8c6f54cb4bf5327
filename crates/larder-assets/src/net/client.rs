//! A client that goes only where it may.
//!
//! The guard looks at the address a name resolved to and the connection goes to that very address,
//! so a name that changes its mind between check and connect (DNS rebinding) gains nothing. Each
//! redirect is judged anew. Proxy variables of the environment are ignored: a proxy would resolve
//! names on its own.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::StreamExt;
use larder_core::{Code, Fault};
use larder_store::ByteStream;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::addresses::{Network, is_public, unmapped};

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Where imports may go and what they may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportSettings {
    /// Networks that are open although they are not public, on any port.
    pub allow_networks: Vec<Network>,
    /// Time for a whole import, in seconds.
    pub time_max_seconds: u64,
}

impl Default for ImportSettings {
    fn default() -> Self {
        // Two minutes carry 100 MiB at 1 MB/s.
        Self { allow_networks: Vec::new(), time_max_seconds: 120 }
    }
}

/// Longest text of an answer to something that was sent, in bytes: enough to say why it was refused.
const TEXT_BYTES_MAX: usize = 2_048;

/// Time for sending something and its answer.
const POST_WITHIN: Duration = Duration::from_secs(30);

/// The guarded client; cheap to clone. Its connections and certificates are set up at the first
/// request, so that a process that imports nothing starts without them.
#[derive(Debug, Clone)]
pub struct Guarded {
    client: Arc<OnceLock<reqwest::Client>>,
    /// Follows nowhere: what is sent is meant for the address that was named.
    sender: Arc<OnceLock<reqwest::Client>>,
    rule: Arc<Rule>,
    time_max: Duration,
}

/// An open answer of a remote server.
pub struct Remote {
    /// The media type that the server declares.
    pub content_type: Option<String>,
    /// The length that the server declares, in bytes.
    pub size_bytes: Option<u64>,
    /// The last segment of the final URL's path, decoded.
    pub file_name: Option<String>,
    /// The body.
    pub body: ByteStream,
}

/// What a remote server answered to something that was sent to it.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The status.
    pub status: reqwest::StatusCode,
    /// When it asks to be tried again.
    pub retry_after: Option<Duration>,
    /// The beginning of its body.
    pub text: String,
}

#[derive(Debug)]
struct Rule {
    allow: Vec<Network>,
}

/// Why the guard refused; found again at the bottom of reqwest's error chain.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

impl Rule {
    fn admits(&self, address: std::net::IpAddr) -> bool {
        is_public(address) || self.is_opened(address)
    }

    fn is_opened(&self, address: std::net::IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(unmapped(address)) || network.contains(address))
    }

    /// What can be judged before a name is resolved: scheme, credentials, port, literal addresses.
    fn check(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal(format!("the scheme \"{}\" is not http or https", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal("the address carries a user name or password".to_owned()));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(Refusal("the address names no host".to_owned())),
        };
        if let Some(address) = literal
            && !self.admits(address)
        {
            return Err(Refusal(format!("{address} is not a public address")));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let is_open = literal.is_some_and(|address| self.is_opened(address))
            || !self.allow.is_empty() && literal.is_none();
        if matches!(port, 80 | 443) || is_open {
            Ok(())
        } else {
            Err(Refusal(format!("port {port} is not 80 or 443")))
        }
    }
}

/// Resolves names and keeps only the addresses that the rule admits.
struct GuardedResolver(Arc<Rule>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let admitted: Vec<SocketAddr> =
                found.iter().copied().filter(|address| rule.admits(address.ip())).collect();
            if admitted.is_empty() && !found.is_empty() {
                let refusal = Refusal(format!("{} resolves to no public address", name.as_str()));
                return Err(Box::new(refusal) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

impl Guarded {
    /// A client under these settings.
    pub fn new(settings: &ImportSettings) -> Self {
        Self {
            client: Arc::default(),
            sender: Arc::default(),
            rule: Arc::new(Rule { allow: settings.allow_networks.clone() }),
            time_max: Duration::from_secs(settings.time_max_seconds),
        }
    }

    fn client(&self) -> Result<&reqwest::Client, Fault> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.set_up(self.redirects(), self.time_max)?;
        Ok(self.client.get_or_init(|| client))
    }

    fn sender(&self) -> Result<&reqwest::Client, Fault> {
        if let Some(sender) = self.sender.get() {
            return Ok(sender);
        }
        let sender = self.set_up(redirect::Policy::none(), POST_WITHIN)?;
        Ok(self.sender.get_or_init(|| sender))
    }

    fn redirects(&self) -> redirect::Policy {
        let rule = self.rule.clone();
        redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                return attempt.error(Refusal(format!("more than {REDIRECTS_MAX} redirects")));
            }
            match rule.check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(refusal) => attempt.error(refusal),
            }
        })
    }

    fn set_up(&self, redirects: redirect::Policy, within: Duration) -> Result<reqwest::Client, Fault> {
        // Fails only if one is installed already, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirects)
            .dns_resolver(Arc::new(GuardedResolver(self.rule.clone())))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(30))
            .timeout(within)
            .build()
            .map_err(|error| Fault::internal("the HTTP client could not be set up").caused_by(error))
    }

    /// Checks what can be known without asking the network, for an early answer.
    ///
    /// # Errors
    /// [`Code::AddressRefused`].
    pub fn check(&self, url: &Url) -> Result<(), Fault> {
        self.rule.check(url).map_err(|refusal| refused(url, &refusal))
    }

    /// Opens `url` for reading.
    ///
    /// # Errors
    /// [`Code::AddressRefused`] where the guard forbids an address on the way, [`Code::ImportFailed`]
    /// for an answer that is no success, [`Code::BackendUnavailable`] where trying later may help.
    pub async fn get(&self, url: &Url) -> Result<Remote, Fault> {
        self.check(url)?;
        let response = self.client()?.get(url.clone()).send().await.map_err(|error| failed(url, error))?;
        let status = response.status();
        if status.is_server_error() || status == reqwest::StatusCode::TOO_MANY_REQUESTS {
            return Err(Fault::new(Code::BackendUnavailable, format!("{} answered {status}", shown(url))));
        }
        if !status.is_success() {
            return Err(Fault::new(Code::ImportFailed, format!("{} answered {status}", shown(url)))
                .remedy("check that the address is right and open to everyone"));
        }
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Remote {
            content_type: header(reqwest::header::CONTENT_TYPE),
            size_bytes: response.content_length(),
            file_name: file_name(response.url()),
            body: response.bytes_stream().map(|chunk| chunk.map_err(Into::into)).boxed(),
        })
    }
}

impl Guarded {
    /// Sends `body` to `url` and answers what came back, whatever its status. Redirects are not followed.
    ///
    /// # Errors
    /// [`Code::AddressRefused`] where the guard forbids the address, [`Code::BackendUnavailable`] if there
    /// is no answer.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Vec<u8>) -> Result<Posted, Fault> {
        self.check(url)?;
        let request = self.sender()?.post(url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| failed(url, error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let status = response.status();
        let mut bytes = Vec::new();
        // What breaks off has said enough with its status.
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= TEXT_BYTES_MAX {
                bytes.truncate(TEXT_BYTES_MAX);
                break;
            }
        }
        Ok(Posted { status, retry_after, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

fn file_name(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    let decoded = percent_encoding::percent_decode_str(last).decode_utf8().ok()?;
    (!decoded.is_empty()).then(|| decoded.into_owned())
}

/// The address without its query, which may carry credentials.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

fn refused(url: &Url, refusal: &Refusal) -> Fault {
    Fault::new(Code::AddressRefused, format!("{} is refused: {refusal}", shown(url)))
        .remedy("use a public http or https address, or open the network in import.allow_networks")
}

fn failed(url: &Url, error: reqwest::Error) -> Fault {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            return refused(url, refusal);
        }
        cause = current.source();
    }
    let what = if error.is_timeout() { "did not answer in time" } else { "could not be reached" };
    Fault::new(Code::BackendUnavailable, format!("{} {what}", shown(url))).caused_by(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, allow: &[&str]) -> Result<(), String> {
        let rule = Rule { allow: allow.iter().map(|text| text.parse().unwrap()).collect() };
        rule.check(&url.parse().unwrap()).map_err(|refusal| refusal.0)
    }

    #[test]
    fn literal_addresses_ports_and_schemes_are_judged_before_resolving() {
        assert!(check("https://example.com/a.jpg", &[]).is_ok());
        for url in [
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://[::ffff:10.0.0.1]/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "http://example.com:22/",
            "http://user:pw@example.com/",
        ] {
            assert!(check(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn an_opened_network_is_open_on_any_port() {
        assert!(check("http://127.0.0.1:8123/", &["127.0.0.0/8"]).is_ok());
        assert!(check("http://10.0.0.1:8123/", &["127.0.0.0/8"]).is_err());
    }

    #[test]
    fn file_names_come_from_the_path_alone() {
        assert_eq!(file_name(&"https://e.com/a/b%20c.jpg?x=y".parse().unwrap()).as_deref(), Some("b c.jpg"));
        assert_eq!(file_name(&"https://e.com/a/".parse().unwrap()), None);
    }
}
