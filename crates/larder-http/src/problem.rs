//! Errors as they are answered: `application/problem+json` (RFC 9457), from the one table of status,
//! title and remedy by code.

use http::{HeaderValue, Response, StatusCode, header};
use larder_core::{Code, Fault, FaultKind};
use larder_store::CircuitOpen;
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::ResponseBody;

/// The media type of RFC 9457, section 3.
pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// How a code is answered.
struct Answer {
    status: StatusCode,
    title: &'static str,
    /// What to do where the fault itself names nothing better.
    remedy: &'static str,
}

/// The table. A new code does not compile before it has its line.
fn answer(code: Code) -> Answer {
    use StatusCode as S;
    let (status, title, remedy) = match code {
        Code::BucketNotFound => (S::NOT_FOUND, "No such bucket", "list the buckets, or create it first"),
        Code::AssetNotFound => (S::NOT_FOUND, "No such asset", "check bucket and key, or restore it"),
        Code::UploadNotFound => (S::NOT_FOUND, "No such upload", "check the id; old uploads are forgotten"),
        Code::VariantNotFound => (S::NOT_FOUND, "No such variant", "list the asset's variants"),
        Code::PresetNotFound => (S::NOT_FOUND, "No such preset", "list the presets, or create it first"),
        Code::JobNotFound => (S::NOT_FOUND, "No such job", "check the id; old jobs are forgotten"),
        Code::KeyNotFound => (S::NOT_FOUND, "No such key", "list the keys"),
        Code::RouteNotFound => (S::NOT_FOUND, "No such route", "see /openapi.json for what there is"),
        Code::MethodNotAllowed => {
            (S::METHOD_NOT_ALLOWED, "Method not allowed", "use a method of the header Allow")
        }
        Code::InvalidRequest => (S::BAD_REQUEST, "Malformed request", "see /openapi.json for the form"),
        Code::InvalidKey => (S::BAD_REQUEST, "Impossible object key", "choose another key"),
        Code::InvalidBucketName => (S::BAD_REQUEST, "Impossible bucket name", "choose another name"),
        Code::InvalidRecipe => (S::BAD_REQUEST, "Invalid recipe", "check the steps and their arguments"),
        Code::FileTooLarge => {
            (S::PAYLOAD_TOO_LARGE, "File too large", "send a smaller file, or raise the bucket's max_bytes")
        }
        Code::EmptyFile => (S::BAD_REQUEST, "Empty file", "send the bytes of the file"),
        Code::BodyIncomplete => (S::BAD_REQUEST, "Incomplete body", "send the whole body again"),
        Code::DigestMismatch => (S::BAD_REQUEST, "Digest mismatch", "send the file again"),
        Code::UnsupportedType => (
            S::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported type",
            "convert the file, or add its type to the bucket's accept list",
        ),
        Code::TypeMismatch => (
            S::UNSUPPORTED_MEDIA_TYPE,
            "Type mismatch",
            "declare the type that the bytes have, and name the file accordingly",
        ),
        Code::UndecodableImage => (S::UNPROCESSABLE_ENTITY, "Undecodable image", "export the image again"),
        Code::ImageLimitExceeded => (
            S::UNPROCESSABLE_ENTITY,
            "Image limit exceeded",
            "send a smaller image, or raise the bucket's image limits",
        ),
        Code::ProcessingTimeout => (
            S::UNPROCESSABLE_ENTITY,
            "Processing took too long",
            "send a smaller image, or raise decode_time_max_ms",
        ),
        Code::ProcessingCrashed => {
            (S::UNPROCESSABLE_ENTITY, "Processing failed", "export the image again, and report the file")
        }
        Code::BatchTooLarge => (S::PAYLOAD_TOO_LARGE, "Too many items", "send several smaller batches"),
        Code::IdempotencyKeyReused => (
            S::UNPROCESSABLE_ENTITY,
            "Idempotency key reused",
            "choose a new Idempotency-Key for a new request",
        ),
        Code::IdempotencyKeyInUse => {
            (S::CONFLICT, "Request still running", "wait for the first request to end")
        }
        Code::PreconditionFailed => {
            (S::PRECONDITION_FAILED, "Precondition failed", "read it again and repeat with its ETag")
        }
        Code::Conflict => (S::CONFLICT, "Conflict", "read it again and repeat the request"),
        Code::ManagedByFile => {
            (S::CONFLICT, "Managed by the configuration file", "change the file and restart")
        }
        Code::UploadExpired => (S::GONE, "Upload expired", "upload the file again"),
        Code::RangeNotSatisfiable => {
            (S::RANGE_NOT_SATISFIABLE, "Range not satisfiable", "ask for a range within Content-Range")
        }
        Code::Unauthenticated => {
            (S::UNAUTHORIZED, "No valid credential", "send Authorization: Bearer with a key of this server")
        }
        Code::Forbidden => (S::FORBIDDEN, "Not permitted", "use a key whose scope covers this"),
        Code::CrossOrigin => {
            (S::FORBIDDEN, "Cross-origin write", "send a key as Authorization: Bearer instead")
        }
        Code::SignatureInvalid => {
            (S::FORBIDDEN, "Invalid signature", "use the URL exactly as it was handed out")
        }
        Code::SignatureExpired => (S::FORBIDDEN, "Expired signature", "ask for a new URL"),
        Code::AddressRefused => (
            S::UNPROCESSABLE_ENTITY,
            "Address refused",
            "import from a public address, or name the network in import.allow_networks",
        ),
        Code::ImportFailed => {
            (S::UNPROCESSABLE_ENTITY, "Import failed", "check that the URL answers, and try again")
        }
        Code::PurgeRefused => (S::CONFLICT, "Purge refused", "check the settings cdn.*, and retry the job"),
        Code::RequestTimeout => (S::REQUEST_TIMEOUT, "Request too slow", "send the request again, faster"),
        Code::BacklogFull => (S::TOO_MANY_REQUESTS, "Too much work waits", "try again later"),
        Code::BackendDenied => (
            S::INTERNAL_SERVER_ERROR,
            "Backend denies access",
            "give larder the permission that it lacks in the store",
        ),
        Code::BackendUnavailable => (S::SERVICE_UNAVAILABLE, "Backend unavailable", "try again later"),
        Code::CatalogUnavailable => (S::SERVICE_UNAVAILABLE, "Catalogue unavailable", "try again later"),
        Code::StorageFull => (S::INSUFFICIENT_STORAGE, "Storage full", "free some room on the store"),
        Code::ShuttingDown => (S::SERVICE_UNAVAILABLE, "Shutting down", "try again"),
        Code::StoredBytesCorrupt => {
            (S::INTERNAL_SERVER_ERROR, "Stored bytes damaged", "restore the file from a backup")
        }
        Code::MigrationIncomplete => {
            (S::UNPROCESSABLE_ENTITY, "Not everything moved", "see to the causes and start it again")
        }
        Code::Cancelled => (S::CONFLICT, "Cancelled", "start it again if it is still wanted"),
        Code::Internal => {
            (S::INTERNAL_SERVER_ERROR, "Internal error", "try again; if it persists, report the request_id")
        }
    };
    Answer { status, title, remedy }
}

/// Longest wait in seconds that a client is told: a store that asks for more is tried again all the same.
const RETRY_AFTER_MAX: u64 = 300;

/// When a caller may try again, in seconds (RFC 9110, section 10.2.3): when the fault itself knows; else
/// soon where one request holds up another, later where a machine or a queue must recover first.
fn retry_after(fault: &Fault) -> Option<u64> {
    let usual = match (fault.code, fault.kind()) {
        (Code::IdempotencyKeyInUse, _) => 1,
        (Code::BacklogFull, _) => 10,
        // Neither room nor a permission comes by itself.
        (_, FaultKind::Unavailable) if fault.needs_an_operator() => return None,
        (_, FaultKind::Unavailable) => 5,
        _ => return None,
    };
    Some(fault.retry_after.map_or(usual, |wait| {
        let rounded_up = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        rounded_up.clamp(1, RETRY_AFTER_MAX)
    }))
}

/// One mistake in a JSON body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mistake {
    /// What is wrong.
    pub(crate) detail: String,
    /// Where: a JSON pointer (RFC 6901) as a URI fragment.
    pub(crate) pointer: String,
}

/// A refusal on its way to the client: the fault, and what only HTTP knows of it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) fault: Box<Fault>,
    /// Places in the body.
    pub(crate) mistakes: Box<[Mistake]>,
    /// What became of each item, where every one of several was refused: a list.
    pub(crate) items: Option<Box<Value>>,
    /// Headers that belong to the refusal, such as `Content-Range`.
    pub(crate) headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self { fault: Box::new(fault), mistakes: Box::default(), items: None, headers: Vec::new() }
    }
}

impl From<larder_core::KeyError> for Problem {
    fn from(error: larder_core::KeyError) -> Self {
        Fault::from(error).into()
    }
}

impl Problem {
    /// A refusal of a malformed request.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Fault::new(Code::InvalidRequest, detail).into()
    }

    /// A refusal of all of several items, for the reason of the first.
    pub(crate) fn of_all(fault: Fault, items: Vec<Value>) -> Self {
        Self { items: Some(Box::new(Value::Array(items))), ..Self::from(fault) }
    }

    /// Adds a header to the answer.
    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds what to do.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.fault.remedy = remedy.into();
        self
    }

    /// The answer. Logs what the client is not told, once, beside the request id that it is told.
    pub(crate) fn into_response(self, instance: &str, request_id: &str) -> Response<ResponseBody> {
        let Answer { status, .. } = answer(self.fault.code);
        log(&self.fault, status, request_id);
        let mut problem = describe(&self.fault);
        problem["instance"] = Value::from(instance);
        problem["request_id"] = Value::from(request_id);
        if !self.mistakes.is_empty() {
            problem["errors"] = json!(self.mistakes);
        }
        if let Some(items) = self.items {
            problem["items"] = *items;
        }
        let mut response = Response::new(ResponseBody::full(problem.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        // An error must never outlive its cause in somebody's cache.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(seconds) = retry_after(&self.fault) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        match self.fault.code {
            Code::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"larder\""));
            }
            // What is left of a body that comes too slowly is not waited for.
            Code::RequestTimeout => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

/// The members of a problem that depend on the fault alone; also the form of an error within an
/// upload, a job or a batch.
pub(crate) fn describe(fault: &Fault) -> Value {
    let Answer { status, title, remedy } = answer(fault.code);
    let detail = match fault.kind() {
        // Our own defects may speak of paths, queries and addresses.
        FaultKind::Internal => "an unexpected error; its details are in the server's log",
        _ => fault.detail.as_str(),
    };
    let remedy = match fault.kind() {
        FaultKind::Internal => remedy,
        _ if fault.remedy.is_empty() => remedy,
        _ => fault.remedy.as_str(),
    };
    json!({
        "type": format!("urn:larder:problem:{}", fault.code),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "code": fault.code,
        "remedy": remedy,
    })
}

fn log(fault: &Fault, status: StatusCode, request_id: &str) {
    let source = causes(fault);
    if CircuitOpen::is_cause_of(fault) {
        // The log was told when the circuit opened.
        tracing::debug!(request_id, code = %fault.code, detail = fault.detail, source, "request refused");
        return;
    }
    match status.is_server_error() {
        true => {
            tracing::error!(request_id, code = %fault.code, detail = fault.detail, source, "request failed")
        }
        false if source.is_empty() => {}
        false => {
            tracing::info!(request_id, code = %fault.code, detail = fault.detail, source, "request refused")
        }
    }
}

/// The technical causes, outermost first.
fn causes(fault: &Fault) -> String {
    let mut text = String::new();
    let mut next = std::error::Error::source(fault);
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_a_title_and_a_remedy() {
        for code in Code::ALL {
            let Answer { status, title, remedy } = answer(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            assert!(!title.is_empty() && !remedy.is_empty(), "{code}");
            assert_eq!(status.is_server_error(), server_is_at_fault(*code), "{code}");
        }
    }

    fn server_is_at_fault(code: Code) -> bool {
        let kind = code.kind();
        let busy = code == Code::BacklogFull;
        matches!(kind, FaultKind::Unavailable | FaultKind::Corrupt | FaultKind::Internal) && !busy
    }

    #[test]
    fn what_may_be_repeated_says_when() {
        for code in Code::ALL {
            let seconds = retry_after(&Fault::new(*code, "x"));
            let repeatable = matches!(answer(*code).status.as_u16(), 429 | 503);
            assert_eq!(seconds.is_some(), repeatable || *code == Code::IdempotencyKeyInUse, "{code}");
        }
    }

    #[test]
    fn what_the_store_said_of_its_return_is_handed_on_within_bounds() {
        let away = |wait| Fault::new(Code::BackendUnavailable, "away").retry_after(Some(wait));
        let told = |millis| retry_after(&away(std::time::Duration::from_millis(millis)));
        assert_eq!(told(0), Some(1));
        assert_eq!(told(7_000), Some(7));
        assert_eq!(told(7_001), Some(8));
        assert_eq!(told(86_400_000), Some(300));
        let answer = Problem::from(away(std::time::Duration::from_secs(9))).into_response("/x", "1");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "9");
    }

    #[test]
    fn a_problem_has_the_members_of_the_rfc_and_ours() {
        let fault = Fault::new(Code::FileTooLarge, "11 bytes are more than the 10 of bucket \"media\"");
        insta::assert_json_snapshot!(describe(&fault), @r#"
        {
          "code": "file_too_large",
          "detail": "11 bytes are more than the 10 of bucket \"media\"",
          "remedy": "send a smaller file, or raise the bucket's max_bytes",
          "status": 413,
          "title": "File too large",
          "type": "urn:larder:problem:file_too_large"
        }
        "#);
    }

    #[test]
    fn the_detail_of_our_own_defects_stays_in_the_log() {
        let fault = Fault::internal("SELECT secret FROM keys").remedy("look at /etc/passwd");
        let text = describe(&fault).to_string();
        assert!(!text.contains("secret") && !text.contains("passwd"), "{text}");
    }

    #[test]
    fn causes_are_joined_for_the_log() {
        let inner = Fault::new(Code::Internal, "inner").caused_by("root");
        assert_eq!(causes(&Fault::new(Code::Internal, "outer").caused_by(inner)), "inner: root");
    }
}
