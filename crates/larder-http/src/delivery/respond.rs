//! From something readable to its answer: conditions, ranges, headers, body.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use larder_assets::Readable;
use larder_core::{Code, Fault};

use super::{
    access::Right,
    cache::{self, Version},
    conditional::{Validators, Verdict, evaluate},
    disposition,
    multipart::{self, content_range, slice},
    range::{Wanted, wanted},
    tags,
};
use crate::{
    app::Context, auth::ByMachine, body::ResponseBody, call::Outcome, cors, path::query_value,
    problem::Problem,
};

/// What strangers' files may do in a browser: nothing.
pub(super) const CONTENT_SECURITY_POLICY: HeaderValue =
    HeaderValue::from_static("sandbox; default-src 'none'");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const ANY_SITE: HeaderValue = HeaderValue::from_static("cross-origin");
const SAME_SITE: HeaderValue = HeaderValue::from_static("same-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What an answer has beyond the thing itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extra {
    pub(crate) right: Right,
    /// The format was chosen by `Accept`.
    pub(crate) negotiated: bool,
    /// It is shown only until a better one is made.
    pub(crate) meanwhile: bool,
}

impl Extra {
    /// Of what is read as it is.
    pub(crate) fn of(right: Right) -> Self {
        Self { right, negotiated: false, meanwhile: false }
    }
}

/// Answers a GET or HEAD for `readable`.
pub(crate) async fn respond(context: &Context, parts: &Parts, readable: Readable, extra: Extra) -> Outcome {
    let validators = Validators { etag: &readable.etag, last_modified: readable.last_modified };
    let now = context.app.larder().ambient().now();
    let tags = tags::of(&context.app.options().tags, extra.right, &readable);
    match evaluate(&parts.method, &parts.headers, Some(validators), now) {
        Verdict::PreconditionFailed => {
            let fault = Fault::new(Code::PreconditionFailed, "the condition of the request does not hold");
            Err(fault.into())
        }
        Verdict::NotModified => {
            let mut response = Response::new(ResponseBody::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            common_headers(response.headers_mut(), parts, &readable, extra)?;
            response.headers_mut().extend(tags);
            mark(&mut response, extra);
            Ok(response)
        }
        Verdict::Proceed { range_holds } => {
            let readable = readable.at_hand()?;
            let wanted = match parts.headers.get(header::RANGE) {
                // Ranges are defined for GET alone (RFC 9110, section 14.2).
                Some(value) if range_holds && parts.method == Method::GET => {
                    wanted(value.as_bytes(), readable.size_bytes)
                }
                _ => Wanted::Whole,
            };
            let mut response = send(context, parts, readable, wanted, extra).await?;
            response.headers_mut().extend(tags);
            mark(&mut response, extra);
            Ok(response)
        }
    }
}

async fn send(context: &Context, parts: &Parts, readable: Readable, wanted: Wanted, extra: Extra) -> Outcome {
    let mut response = Response::new(ResponseBody::Empty);
    let headers = response.headers_mut();
    headers.reserve(16);
    common_headers(headers, parts, &readable, extra)?;
    headers.insert(header::ACCEPT_RANGES, BYTES);
    headers.insert(header::CONTENT_TYPE, text(&readable.content_type)?);
    if let Some(disposition) = content_disposition(parts, &readable) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    if let Some((name, value)) = handed_over(context, &readable) {
        // The server in front evaluates the range and sets the length.
        headers.insert(name, value);
        return Ok(response);
    }
    match wanted {
        Wanted::Whole => {
            headers.insert(header::CONTENT_LENGTH, readable.size_bytes.into());
            if parts.method == Method::GET {
                *response.body_mut() = whole(readable).await?;
            }
        }
        Wanted::Parts(ranges) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let headers = response.headers_mut();
            if let [range] = ranges.as_slice() {
                headers.insert(header::CONTENT_RANGE, text(&content_range(range, readable.size_bytes))?);
                headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
                *response.body_mut() = one_range(&readable, range.clone()).await?;
            } else {
                let boundary = hex::encode(context.app.larder().ambient().random_bytes::<16>());
                let composed = multipart::compose(readable, ranges, &boundary);
                headers.insert(header::CONTENT_TYPE, composed.content_type);
                headers.insert(header::CONTENT_LENGTH, composed.length_bytes.into());
                *response.body_mut() = composed.body;
            }
        }
        Wanted::Nothing => {
            let detail = format!("the range lies outside the {} bytes", readable.size_bytes);
            let size = text(&format!("bytes */{}", readable.size_bytes))?;
            return Err(Problem::from(Fault::new(Code::RangeNotSatisfiable, detail))
                .with_header(header::CONTENT_RANGE, size));
        }
    }
    Ok(response)
}

/// Headers that 200, 206 and 304 have alike (RFC 9110, section 15.4.5).
fn common_headers(
    headers: &mut HeaderMap,
    parts: &Parts,
    readable: &Readable,
    extra: Extra,
) -> Result<(), Problem> {
    let policy = &readable.bucket.policy;
    let version = match extra.meanwhile {
        true => Version::Meanwhile,
        false => Version::of(parts.uri.query(), &readable.version),
    };
    headers.insert(header::ETAG, text(&readable.etag)?);
    headers.insert(header::LAST_MODIFIED, text(&readable.last_modified.http_date())?);
    headers.insert(header::CACHE_CONTROL, cache::control(extra.right, version, policy.cache.0.as_secs()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    let by_credential = matches!(extra.right, Right::Credential { .. });
    headers.insert(RESOURCE_POLICY, if by_credential { SAME_SITE } else { ANY_SITE });
    if extra.negotiated {
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    }
    if cors::varies(&policy.cors) {
        cors::append_vary(headers, "Origin");
    }
    Ok(())
}

/// Keeps answers given by the rights of this machine from pages of other origins.
fn mark(response: &mut Response<ResponseBody>, extra: Extra) {
    if matches!(extra.right, Right::Credential { by_machine: true, .. }) {
        response.extensions_mut().insert(ByMachine);
    }
}

/// `?download` saves, `?download=name` under another name. Without either, what browsers may show is
/// shown, and its name is only told where it is known.
fn content_disposition(parts: &Parts, readable: &Readable) -> Option<HeaderValue> {
    let download = parts.uri.query().and_then(|query| query_value(Some(query), "download"));
    let own_name = readable.file_name.as_deref();
    match download.as_deref() {
        Some("" | "1" | "true") => Some(disposition::header(false, own_name)),
        Some(name) => Some(disposition::header(false, Some(name))),
        None if readable.inline => own_name.map(|name| disposition::header(true, Some(name))),
        None => Some(disposition::header(false, own_name)),
    }
}

fn handed_over(context: &Context, readable: &Readable) -> Option<(HeaderName, HeaderValue)> {
    let sendfile = context.app.options().sendfile.as_ref()?;
    sendfile.header(&readable.local_path()?)
}

async fn whole(readable: Readable) -> Result<ResponseBody, Fault> {
    let length_bytes = readable.size_bytes;
    Ok(streamed(readable.into_body().await?, length_bytes))
}

async fn one_range(readable: &Readable, range: Range<u64>) -> Result<ResponseBody, Fault> {
    match readable.hot() {
        Some(bytes) => Ok(ResponseBody::Full(slice(bytes, &range))),
        None => {
            let length = range.end - range.start;
            Ok(streamed(readable.open(Some(range)).await?, length))
        }
    }
}

fn streamed(body: larder_store::Body, length_bytes: u64) -> ResponseBody {
    match body {
        larder_store::Body::Bytes(bytes) => ResponseBody::Full(bytes),
        body => ResponseBody::stream(body.into_stream(), length_bytes),
    }
}

fn text(value: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(value)
        .map_err(|error| Fault::internal(format!("\"{value}\" is no header's value")).caused_by(error))
}
