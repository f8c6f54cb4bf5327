//! Delivery: originals under `/m`, variants under `/i`.
//!
//! Most of what a media server is asked for ends here, so this way is short: no router, no stack of
//! middleware, bytes from memory where they are.

mod access;
mod cache;
mod conditional;
mod disposition;
mod multipart;
mod negotiate;
mod original;
mod picture;
mod range;
mod recipes;
mod respond;
mod sendfile;
mod tags;

use http::{HeaderValue, Method, Response, header, request::Parts};
use larder_core::{Code, Fault};

use crate::{app::Context, body::ResponseBody, call::Outcome, problem::Problem};

pub(crate) use access::Right;
pub(crate) use conditional::{Validators, Verdict, evaluate, strong_tags};
pub(crate) use picture::is_extension;
pub(crate) use recipes::Recipes;
pub(crate) use respond::{Extra, respond};
pub use sendfile::Sendfile;
pub use tags::TagHeader;

/// Which of the two doors a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// `/m/{bucket}/{key}`.
    Original,
    /// `/i/{signature}/{recipe}/{bucket}/{key}.{extension}`.
    Picture,
}

impl Door {
    /// The door that a path leads to, if it is one of delivery's.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path.as_bytes() {
            [b'/', b'm', b'/', ..] => Some(Self::Original),
            [b'/', b'i', b'/', ..] => Some(Self::Picture),
            _ => None,
        }
    }

    /// Its pattern, for figures.
    pub(crate) fn route(self) -> &'static str {
        match self {
            Self::Original => "/m/{bucket}/{*key}",
            Self::Picture => "/i/{signature}/{recipe}/{bucket}/{*key}",
        }
    }
}

/// Answers a request for bytes.
pub(crate) async fn deliver(context: &Context, door: Door, parts: &Parts) -> Outcome {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let fault = Fault::new(Code::MethodNotAllowed, format!("{} only reads", door.route()))
            .remedy("write with PUT /api/v1/buckets/{bucket}/objects/{key}");
        return Err(Problem::from(fault).with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    match door {
        Door::Original => original::deliver(context, parts).await,
        Door::Picture => picture::deliver(context, parts).await,
    }
}

/// The answer to a request for bytes that is refused: as harmless in a browser as the bytes.
pub(crate) fn refuse(context: &Context, problem: Problem, path: &str) -> Response<ResponseBody> {
    let mut response = context.refuse(problem, path);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, respond::CONTENT_SECURITY_POLICY);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_told_by_their_first_segment() {
        assert_eq!(Door::of("/m/media/a"), Some(Door::Original));
        assert_eq!(Door::of("/i/_/p:x/media/a.webp"), Some(Door::Picture));
        for other in ["/", "/m", "/metrics", "/image/x", "/api/m/x", ""] {
            assert_eq!(Door::of(other), None, "{other}");
        }
    }
}
