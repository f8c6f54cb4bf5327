//! One call of a route: what its handler is given, and what it answers with.

use std::{
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use axum::extract::Query;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use larder_assets::{Action, Larder};
use larder_core::{BucketName, Code, Fault, ObjectKey};
use larder_store::BoxError;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    app::Context,
    auth::Caller,
    body::{RequestBody, ResponseBody},
    problem::{Mistake, Problem},
};

/// What a handler comes to.
pub(crate) type Outcome = Result<Response<ResponseBody>, Problem>;

/// A handler in the table of routes.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Outcome>;

/// A permitted request, its body unread.
pub(crate) struct Call {
    pub(crate) context: Context,
    pub(crate) caller: Caller,
    /// Names and decoded values of the path's parameters.
    pub(crate) params: Vec<(String, String)>,
    pub(crate) parts: Parts,
    /// Bodies can't be shared between threads, and handlers hold references to their call while they
    /// wait; the lock is never contended.
    body: Mutex<RequestBody>,
}

impl Call {
    pub(crate) fn new(
        context: Context,
        caller: Caller,
        params: Vec<(String, String)>,
        parts: Parts,
        body: RequestBody,
    ) -> Self {
        Self { context, caller, params, parts, body: Mutex::new(body) }
    }

    /// The body, which can be read once.
    pub(crate) fn take_body(&self) -> RequestBody {
        std::mem::take(&mut *self.body.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn larder(&self) -> &Larder {
        self.context.app.larder()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// A parameter of the path, decoded once.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A parameter that is an id.
    pub(crate) fn id<T: FromStr>(&self) -> Result<T, Problem>
    where
        Fault: From<T::Err>,
    {
        self.param("id").parse().map_err(|error| Fault::from(error).into())
    }

    /// The parameter `bucket`.
    pub(crate) fn bucket(&self) -> Result<BucketName, Problem> {
        Ok(self.param("bucket").parse::<BucketName>()?)
    }

    /// The parameter `key`, slashes and all.
    pub(crate) fn key(&self) -> Result<ObjectKey, Problem> {
        Ok(self.param("key").parse::<ObjectKey>()?)
    }

    /// Refuses what the caller's credential does not cover.
    pub(crate) fn may(
        &self,
        action: Action,
        bucket: Option<&BucketName>,
        key: Option<&str>,
    ) -> Result<(), Problem> {
        Ok(self.caller.principal.may(action, bucket, key)?)
    }

    /// The query. A parameter that the route does not know is refused: a misspelt `dry_run` must not
    /// run for real.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match Query::<T>::try_from_uri(&self.parts.uri) {
            Ok(Query(query)) => Ok(query),
            Err(rejection) => {
                let text = rejection.body_text();
                let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Problem::invalid(format!("the query is wrong: {detail}")))
            }
        }
    }

    /// The JSON body, of at most [`json_bytes_max`](crate::ServerLimits::json_bytes_max). A field that the route does not know is refused,
    /// with a pointer to it.
    pub(crate) async fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if let Some(declared) = self.parts.headers.get(header::CONTENT_TYPE) {
            let essence = declared.to_str().map(larder_core::file_type::essence).unwrap_or_default();
            if essence != "application/json" && !essence.ends_with("+json") {
                let fault =
                    Fault::new(Code::UnsupportedType, format!("the body is declared as \"{essence}\""));
                return Err(Problem::from(fault).remedy("send Content-Type: application/json"));
            }
        }
        let bytes_max = self.context.app.options().limits.json_bytes_max;
        parse_json(&read_whole(self.take_body(), bytes_max).await?)
    }

    /// As [`Call::json`], where no body means all defaults.
    pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        match self.parts.headers.contains_key(header::CONTENT_TYPE) {
            false => Ok(T::default()),
            true => self.json().await,
        }
    }
}

async fn read_whole(body: RequestBody, limit_bytes: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, limit_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("the body has more than {limit_bytes} bytes");
            Err(Problem::from(Fault::new(Code::FileTooLarge, detail)).remedy("send a smaller body"))
        }
        Err(error) => Err(fault_of(error).into()),
    }
}

/// Reads a JSON text strictly.
pub(crate) fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let mut pointer = pointer_to(error.path());
        let detail = error.inner().to_string();
        if let Some(field) = detail.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
            let escaped = escape(field);
            if !pointer.ends_with(&format!("/{escaped}")) {
                pointer = format!("{pointer}/{escaped}");
            }
        }
        let mut problem = Problem::invalid(format!("the JSON body is wrong: {detail}"));
        problem.mistakes = Box::new([Mistake { detail, pointer }]);
        problem
    })?;
    reader.end().map_err(|error| Problem::invalid(format!("the JSON body is wrong: {error}")))?;
    Ok(value)
}

/// The JSON pointer of a path, as a URI fragment (RFC 6901, section 6).
fn pointer_to(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = "#".to_owned();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a failed body means: its own fault if it carries one, else an incomplete body.
pub(crate) fn fault_of(error: BoxError) -> Fault {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(cause) = next {
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return fault.clone();
        }
        next = cause.source();
    }
    Fault::new(Code::BodyIncomplete, "the body broke off").caused_by(error)
}

/// An answer with a JSON body. API answers are the caller's alone and of this moment.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<ResponseBody> {
    let bytes = serde_json::to_vec(value).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer does not print");
        b"{}".to_vec()
    });
    let mut response = Response::new(ResponseBody::full(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 200 with a JSON body.
pub(crate) fn ok(value: &impl Serialize) -> Outcome {
    Ok(json(StatusCode::OK, value))
}

/// 204.
pub(crate) fn no_content() -> Outcome {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Adds `Location`: a URL below `public_url`, or a path.
pub(crate) fn at(
    mut response: Response<ResponseBody>,
    larder: &Larder,
    path: &str,
) -> Response<ResponseBody> {
    if let Ok(url) = HeaderValue::try_from(larder.links().absolute(path)) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read from JSON")]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read from JSON")]
    struct Inner {
        count: u32,
    }

    fn pointer(text: &str) -> String {
        parse_json::<Outer>(text.as_bytes()).unwrap_err().mistakes[0].pointer.clone()
    }

    #[test]
    fn mistakes_in_json_are_pointed_at() {
        assert_eq!(pointer(r#"{"inner":[{"count":1},{"count":"x"}]}"#), "#/inner/1/count");
        assert_eq!(pointer(r#"{"inner":[{"count":1,"a/b":2}]}"#), "#/inner/0/a~1b");
        assert_eq!(pointer(r#"{"inner":[],"extra":1}"#), "#/extra");
        assert_eq!(pointer(r#"{"inner":[{}]}"#), "#/inner/0");
        assert!(parse_json::<Outer>(br#"{"inner":[]} x"#).is_err());
    }

    #[test]
    fn a_fault_is_found_under_what_wraps_it() {
        let fault = Fault::new(Code::RequestTimeout, "slow");
        let wrapped = axum::Error::new(fault.clone());
        assert_eq!(fault_of(Box::new(wrapped)), fault);
        assert_eq!(fault_of("reset".into()).code, Code::BodyIncomplete);
    }
}
