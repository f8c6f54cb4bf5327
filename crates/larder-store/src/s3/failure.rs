//! What a store answers instead of doing what it was asked, and what that means for the operator.

use std::time::Duration;

use larder_core::Timestamp;
use reqwest::{StatusCode, header::HeaderMap};

use super::xml;
use crate::{
    error::{BoxError, Error},
    place::Place,
};

/// Why a request had no success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The store answered with an error.
    #[error("{0}")]
    Answer(Box<Answer>),
    /// The connection failed.
    #[error("the connection to the store failed")]
    Transport(#[source] reqwest::Error),
    /// Nothing came within the time.
    #[error("the store did not answer within {seconds} s")]
    Silent { seconds: u64 },
    /// There are no credentials to sign with.
    #[error("there are no credentials: {0}")]
    Credentials(String),
    /// The answer is none of S3.
    #[error("the answer is not understood: {0}")]
    Unreadable(String),
}

/// An error of the store, with its code (S3, "Error responses").
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Empty if the answer had no body, as for HEAD.
    pub(super) code: String,
    message: String,
    /// The region in which the bucket lies, if the store said so.
    region: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// The store's clock.
    date: Option<Timestamp>,
    /// How the store names the request in its own log.
    request_id: Option<String>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the store answered {}", self.status)?;
        for text in [&self.code, &self.message] {
            if !text.is_empty() {
                write!(f, ": {text}")?;
            }
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl Answer {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let said = xml::read::<xml::Error>(body).unwrap_or_default();
        Self {
            status,
            code: said.code,
            message: said.message,
            region: text("x-amz-bucket-region").or(said.region),
            retry_after: text("retry-after")
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
            date: text("date").and_then(|text| Timestamp::parse_http_date(&text)),
            request_id: text("x-amz-request-id"),
        }
    }

    /// Whether the same request may succeed a moment later (S3, "Error responses": `SlowDown`,
    /// `InternalError`, `ServiceUnavailable`, `RequestTimeout`, `OperationAborted`).
    fn is_passing(&self) -> bool {
        self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED
            || self.status == StatusCode::TOO_MANY_REQUESTS
            || matches!(
                self.code.as_str(),
                "RequestTimeout" | "SlowDown" | "OperationAborted" | "ConditionalRequestConflict"
            )
    }
}

/// What a request was about, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The permission that it takes, such as `s3:PutObject`.
    pub(super) action: &'static str,
    /// The bucket.
    pub(super) bucket: &'a str,
    /// The address of the bucket.
    pub(super) address: &'a str,
    /// The region that requests are signed for.
    pub(super) region: &'a str,
    /// The clock of this machine.
    pub(super) now: Timestamp,
}

impl Failure {
    /// The status of the answer, if there was one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer(answer) => Some(answer.status),
            _ => None,
        }
    }

    /// The code of the answer, empty if there is none.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Answer(answer) => &answer.code,
            _ => "",
        }
    }

    /// Whether it is worth asking again.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.is_passing(),
            Self::Transport(error) => !is_of_tls(error),
            Self::Silent { .. } => true,
            Self::Credentials(_) | Self::Unreadable(_) => false,
        }
    }

    /// When the store wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(answer) => answer.retry_after,
            _ => None,
        }
    }

    /// The error of an operation at a place.
    pub(super) fn at(self, place: &Place, about: About<'_>) -> Error {
        match self.status() {
            Some(StatusCode::NOT_FOUND) if self.code() != "NoSuchBucket" => {
                Error::NotFound { place: place.clone() }
            }
            Some(StatusCode::PRECONDITION_FAILED) => Error::Precondition { place: place.clone() },
            _ => self.of(place.as_str(), about),
        }
    }

    /// The error of an operation that is about no single place.
    pub(super) fn of(self, place: &str, about: About<'_>) -> Error {
        if let Some((cause, remedy)) = self.diagnosis(about) {
            return Error::Refused { place: place.to_owned(), cause, remedy, source: Box::new(self) };
        }
        let place = place.to_owned();
        match &self {
            Self::Answer(answer) if matches!(answer.code.as_str(), "QuotaExceeded" | "XMinioStorageFull") => {
                Error::Full { place, source: Box::new(self) }
            }
            Self::Answer(answer) if answer.status == StatusCode::INSUFFICIENT_STORAGE => {
                Error::Full { place, source: Box::new(self) }
            }
            Self::Answer(answer) if answer.code == "KeyTooLongError" => {
                Error::Invalid { detail: format!("the store takes no key as long as {place}") }
            }
            Self::Answer(answer) if answer.status.is_client_error() && !answer.is_passing() => {
                Error::Internal { place, source: Box::new(self) }
            }
            Self::Unreadable(_) => Error::Internal { place, source: Box::new(self) },
            _ => {
                let retry_after = self.retry_after();
                Error::unavailable(place, self).retry_after(retry_after)
            }
        }
    }

    /// Cause and remedy, where it is the configuration that must change.
    fn diagnosis(&self, about: About<'_>) -> Option<(String, String)> {
        let About { action, bucket, address, region, .. } = about;
        let told = |cause: String, remedy: &str| Some((cause, remedy.to_owned()));
        let answer = match self {
            Self::Answer(answer) => answer,
            Self::Credentials(detail) => {
                return told(
                    format!("no credentials for the bucket {bucket}: {detail}"),
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (store.s3.access_key_id, store.s3.secret_access_key)",
                );
            }
            Self::Transport(error) if is_of_tls(error) => {
                return told(
                    format!("no encrypted connection to {address}: {}", innermost(error)),
                    "name the authority's certificate in store.s3.ca_file, or correct the scheme in store.s3.endpoint (AWS_ENDPOINT_URL_S3)",
                );
            }
            Self::Transport(error) if error.is_connect() && is_unknown_host(error) => {
                return told(
                    format!("the server of {address} is not known: {}", innermost(error)),
                    "correct the address in store.s3.endpoint (AWS_ENDPOINT_URL_S3), or store.s3.addressing if the bucket is no part of the host",
                );
            }
            _ => return None,
        };
        match answer.code.as_str() {
            "InvalidAccessKeyId" | "NotSignedUp" => told(
                format!("the store at {address} does not know the access key"),
                "correct AWS_ACCESS_KEY_ID (store.s3.access_key_id), or the endpoint if the key belongs to another store",
            ),
            "SignatureDoesNotMatch" => told(
                format!("the secret key does not belong to the access key, says the store at {address}"),
                "correct AWS_SECRET_ACCESS_KEY (store.s3.secret_access_key)",
            ),
            "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" => told(
                "the session token is not valid any more".to_owned(),
                "get new temporary credentials, and set AWS_SESSION_TOKEN (store.s3.session_token) with them",
            ),
            "RequestTimeTooSkewed" | "RequestExpired" => told(
                match answer.date {
                    Some(date) => {
                        format!("the clocks differ: the store's shows {date}, this machine's {}", about.now)
                    }
                    None => "the clock of this machine is not the store's".to_owned(),
                },
                "set the clock of this machine, for instance with `timedatectl set-ntp true`",
            ),
            "NoSuchBucket" => told(
                format!("there is no bucket {bucket} at {address}"),
                "create it with `larder store setup`, or correct its name (store.s3.bucket, AWS_STORAGE_BUCKET_NAME)",
            ),
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "AuthorizationQueryParametersError" => {
                let theirs = answer.region.clone();
                let remedy = match &theirs {
                    Some(theirs) => format!("set AWS_REGION={theirs} (store.s3.region)"),
                    None => "correct AWS_REGION (store.s3.region) or the endpoint".to_owned(),
                };
                Some((format!("the bucket {bucket} does not lie in the region {region}"), remedy))
            }
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => told(
                format!("the credentials may not do {action} on the bucket {bucket}"),
                "allow it in their policy; `larder store policy` prints the least that Larder needs",
            ),
            "InvalidBucketName" => told(
                format!("\"{bucket}\" is no name of a bucket"),
                "correct store.s3.bucket (AWS_STORAGE_BUCKET_NAME)",
            ),
            _ if answer.status == StatusCode::MOVED_PERMANENTLY => {
                let theirs = answer.region.clone().unwrap_or_default();
                Some((
                    format!("the bucket {bucket} does not lie in the region {region}"),
                    format!("set AWS_REGION={theirs} (store.s3.region)"),
                ))
            }
            _ if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => told(
                format!("the store at {address} refuses {action} on the bucket {bucket}"),
                "check credentials and policy with `larder store check`",
            ),
            // What a server says that speaks TLS and is asked without.
            _ if answer.code.is_empty()
                && answer.status == StatusCode::BAD_REQUEST
                && address.starts_with("http:") =>
            {
                told(
                    format!("the server at {address} does not understand plain http"),
                    "write the address in store.s3.endpoint (AWS_ENDPOINT_URL_S3) with https:",
                )
            }
            _ => None,
        }
    }
}

/// Each error and what caused it, from the outside in.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Whether certificates or the protocol of TLS are at fault, which no repetition mends.
fn is_of_tls(error: &reqwest::Error) -> bool {
    causes(error).any(holds_tls)
}

/// An error of input and output hides the one that it was made from: its source is that one's source.
fn holds_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inner.is_some_and(|inner| holds_tls(inner))
}

/// Whether the name of the server has no address.
fn is_unknown_host(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.to_string().contains("failed to lookup address"))
}

/// A failure as the error of a stream.
pub(super) fn boxed(error: Error) -> BoxError {
    Box::new(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About<'static> {
        About {
            action: "s3:PutObject",
            bucket: "media",
            address: "http://localhost:9000/media",
            region: "us-east-1",
            now: Timestamp::from_millis(0),
        }
    }

    fn answer(status: u16, code: &str) -> Failure {
        let body = format!("<Error><Code>{code}</Code><Message>so</Message></Error>");
        let status = StatusCode::from_u16(status).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        headers.insert("retry-after", "7".parse().unwrap());
        Failure::Answer(Box::new(Answer::of(status, &headers, body.as_bytes())))
    }

    #[test]
    fn what_the_operator_must_change_is_named() {
        for (status, code, cause, remedy) in [
            (403, "InvalidAccessKeyId", "does not know the access key", "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "secret key", "AWS_SECRET_ACCESS_KEY"),
            (403, "RequestTimeTooSkewed", "clock", "timedatectl"),
            (404, "NoSuchBucket", "no bucket media", "larder store setup"),
            (400, "AuthorizationHeaderMalformed", "region us-east-1", "AWS_REGION=eu-west-1"),
            (301, "PermanentRedirect", "region us-east-1", "AWS_REGION=eu-west-1"),
            (403, "AccessDenied", "s3:PutObject", "larder store policy"),
            (400, "ExpiredToken", "token", "AWS_SESSION_TOKEN"),
        ] {
            let error = answer(status, code).at(&"a".parse().unwrap(), about());
            let Error::Refused { cause: said, remedy: told, .. } = error else { panic!("{code}: {error:?}") };
            assert!(said.contains(cause) && told.contains(remedy), "{code}: {said}; {told}");
        }
    }

    #[test]
    fn what_may_pass_is_unavailable_and_asked_again() {
        for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (429, ""), (400, "RequestTimeout")]
        {
            let failure = answer(status, code);
            assert!(failure.is_passing(), "{code}");
            assert_eq!(failure.retry_after(), Some(Duration::from_secs(7)));
            assert!(matches!(failure.of("a", about()), Error::Unavailable { .. }), "{code}");
        }
        assert!(!answer(501, "NotImplemented").is_passing());
    }
}
