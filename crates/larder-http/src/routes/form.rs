//! Multipart forms (RFC 7578): files and fields in any order.
//!
//! A file's bytes go straight into staging as they come. What the fields say is applied when the form
//! has ended, so a form may name its bucket after its file, as `curl -F file=@a.jpg -F bucket=keeps`
//! does. Nothing of a form that is refused remains.

mod gate;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode, header};
use larder_assets::{Accepted, Action, Door, Idempotency, Incoming, Staged};
use larder_core::{Code, Fault, FaultKind};
use larder_store::{BoxError, ByteStream};
use multer::{Field, Multipart};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::gate::Gate;
use super::uploads::{Said, answer, byte_stream, failure, item, waited};
use crate::{
    call::{Call, Outcome, fault_of, json as json_answer},
    problem::Problem,
    schema::{self, Need},
};

/// Longest value of a field. Metadata is the longest, at 16 KiB.
const FIELD_BYTES_MAX: usize = 64 * 1_024;

/// Most fields beside the files.
const FIELDS_MAX: usize = 64;

/// The form in the document.
pub(super) fn schema() -> Value {
    schema::object(&[
        ("file", schema::bytes(), Need::Always),
        ("bucket", schema::text(), Need::Maybe),
        ("key", schema::text(), Need::Maybe),
        ("owner", schema::text(), Need::Maybe),
        ("tags", schema::text(), Need::Maybe),
        ("metadata", schema::text(), Need::Maybe),
        ("expires_at", schema::instant(), Need::Maybe),
        ("filename", schema::text(), Need::Maybe),
    ])
}

/// The boundary, if the body is a form.
pub(super) fn boundary(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if larder_core::file_type::essence(declared) != "multipart/form-data" {
        return Ok(None);
    }
    let boundary = multer::parse_boundary(declared).map_err(|_| {
        Problem::invalid("the form's Content-Type has no boundary").remedy("let the client library set it")
    })?;
    Ok(Some(boundary))
}

/// A file of the form, durable in staging, or refused on its own account.
struct Part {
    file_name: Option<String>,
    declared_type: Option<String>,
    bytes: Result<Staged, Fault>,
}

/// Takes a form in. One file answers as a raw body does; several answer `{items}`.
pub(super) async fn take(
    call: Call,
    mut said: Said,
    boundary: &str,
    idempotency: Option<Idempotency>,
    wait: Option<Duration>,
) -> Outcome {
    permit(&call, &said)?;
    call.larder().check_store()?;
    let files_max = call.larder().settings().batch_items_max;
    let gate = Gate::default();
    let mut form = Multipart::new(gate.guard(byte_stream(call.take_body())), boundary);
    let mut files: Vec<Part> = Vec::new();
    let mut fields = 0;
    loop {
        gate.expect_head();
        let Some(field) = form.next_field().await.map_err(fault_of_form)? else { break };
        gate.open();
        match field.name().map(str::to_owned).as_deref() {
            Some("file") if files.len() == files_max => {
                let detail = format!("the form has more than {files_max} files");
                return Err(Fault::new(Code::BatchTooLarge, detail).into());
            }
            Some("file") => files.push(stage(&call, &said, field).await?),
            Some(_) if fields == FIELDS_MAX => return Err(Problem::invalid("the form has too many fields")),
            Some(name) => {
                fields += 1;
                set(&mut said, name, value(field).await?)?;
            }
            None => return Err(Problem::invalid("a part of the form has no name")),
        }
    }
    match files.len() {
        0 => Err(Problem::invalid("the form has no part named \"file\"")
            .remedy("send the file as the part \"file\"")),
        1 => {
            let accepted = accept(&call, &said, files.remove(0), Door::Form, idempotency.as_ref()).await?;
            answer(&call, accepted, wait).await
        }
        _ => accept_batch(&call, said, files, idempotency, wait).await,
    }
}

/// Refuses, before a byte of the form is read, whoever may write nothing of what the form can come to.
/// Bucket and key may still be named by its fields, and are judged when they are.
fn permit(call: &Call, said: &Said) -> Result<(), Problem> {
    let bucket = said.bucket.as_ref().map(|_| said.bucket()).transpose()?;
    match (&bucket, &said.key) {
        (Some(bucket), Some(key)) => call.may(Action::Write, Some(bucket), Some(key)),
        _ => Ok(call.caller.principal.may_somewhere(Action::Write, bucket.as_ref())?),
    }
}

/// Streams one file into staging. A file that is refused for what it is becomes an item of its batch;
/// a body that breaks off, or a file over the limit, ends the request, since the rest of the form could
/// only be reached by reading on.
async fn stage(call: &Call, said: &Said, field: Field<'static>) -> Result<Part, Problem> {
    let file_name = field.file_name().map(str::to_owned);
    let declared_type = field.content_type().map(ToString::to_string);
    let incoming = provisional(call, said).await?;
    let bytes: ByteStream =
        field.map_err(|error| -> BoxError { (*fault_of_form(error).fault).into() }).boxed();
    let bytes = match call.larder().stage(&incoming, bytes).await {
        Err(fault) if fault.kind() != FaultKind::Invalid || ends_the_request(fault.code) => {
            return Err(fault.into());
        }
        outcome => outcome,
    };
    Ok(Part { file_name, declared_type, bytes })
}

fn ends_the_request(code: Code) -> bool {
    matches!(code, Code::FileTooLarge | Code::BodyIncomplete | Code::RequestTimeout | Code::InvalidRequest)
}

/// Where a file is staged for whose bucket may still be named by a later field: the named one, else
/// the one with the highest limit among those that the caller may write. The limit of the real bucket
/// is checked when the form has ended.
async fn provisional(call: &Call, said: &Said) -> Result<Incoming, Problem> {
    let key = Some(said.key.as_deref().unwrap_or_default());
    let bucket = match &said.bucket {
        Some(_) => said.bucket()?,
        None => {
            let buckets = call.larder().buckets().await?;
            let writable =
                buckets.iter().filter(|bucket| call.may(Action::Write, Some(&bucket.name), key).is_ok());
            let widest = writable.max_by_key(|bucket| bucket.policy.max_bytes);
            widest.map_or_else(|| said.bucket(), |bucket| Ok(bucket.name.clone()))?
        }
    };
    call.may(Action::Write, Some(&bucket), key).map_err(|refusal| match refusal.fault.code {
        Code::Forbidden => refusal.remedy(
            "use a key that may write there; a key limited to prefixes needs the fields bucket and key before the file",
        ),
        _ => refusal,
    })?;
    Ok(Incoming::new(bucket, Door::Form))
}

async fn accept(
    call: &Call,
    said: &Said,
    part: Part,
    door: Door,
    idempotency: Option<&Idempotency>,
) -> Result<Accepted, Problem> {
    let mut incoming = said.incoming(call, door)?;
    incoming.file_name = part.file_name.or(incoming.file_name);
    incoming.declared_type = part.declared_type;
    Ok(call.larder().accept_staged(incoming, part.bytes?, idempotency).await?)
}

async fn accept_batch(
    call: &Call,
    said: Said,
    files: Vec<Part>,
    idempotency: Option<Idempotency>,
    wait: Option<Duration>,
) -> Outcome {
    if said.key.is_some() {
        return Err(Problem::invalid("one key can't serve several files")
            .remedy("leave the key out, or send one file"));
    }
    let mut outcomes = Vec::with_capacity(files.len());
    for (position, file) in files.into_iter().enumerate() {
        let file_name = file.file_name.clone();
        // Each file of a repeated batch finds its own first answer.
        let own = idempotency.as_ref().map(|whole| Idempotency {
            scope: whole.scope.clone(),
            key: format!("{} {position}", whole.key),
        });
        let outcome =
            accept(call, &said, file, Door::Batch, own.as_ref()).await.map_err(|problem| *problem.fault);
        outcomes.push((file_name, outcome));
    }
    if let Some(wait) = wait {
        await_all(call, &mut outcomes, wait).await?;
    }
    let items: Vec<Value> = outcomes.iter().map(|(name, outcome)| item(name.as_deref(), outcome)).collect();
    let taken: Vec<&Accepted> = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).collect();
    // A batch of which nothing was taken is no success.
    if let (true, Some((_, Err(first)))) = (taken.is_empty(), outcomes.first()) {
        return Err(Problem::of_all(first.clone(), items));
    }
    let is_finished = taken.iter().all(|accepted| accepted.upload.is_finished());
    let status = if is_finished { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok(json_answer(status, &json!({ "items": items })))
}

/// Waits until every upload has ended, or the time is over. One that failed is a refusal from then on.
async fn await_all(
    call: &Call,
    outcomes: &mut [(Option<String>, Result<Accepted, Fault>)],
    wait: Duration,
) -> Result<(), Problem> {
    let deadline = Instant::now() + wait;
    for (_, outcome) in outcomes {
        let Ok(accepted) = outcome else { continue };
        accepted.upload = waited(call, accepted.upload.id, deadline - Instant::now()).await?;
        if let Some(fault) = failure(&accepted.upload) {
            *outcome = Err(fault);
        }
    }
    Ok(())
}

async fn value(mut field: Field<'static>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(fault_of_form)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FIELD_BYTES_MAX {
            let name = field.name().unwrap_or_default();
            return Err(Problem::invalid(format!(
                "the field \"{name}\" has more than {FIELD_BYTES_MAX} bytes"
            )));
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::invalid("a field of the form is no UTF-8"))
}

/// Applies a field. It may not contradict the query.
fn set(said: &mut Said, name: &str, value: String) -> Result<(), Problem> {
    let place = match name {
        "bucket" => &mut said.bucket,
        "key" => &mut said.key,
        "owner" => &mut said.owner,
        "metadata" => &mut said.metadata,
        "expires_at" => &mut said.expires_at,
        "filename" => &mut said.filename,
        "tags" => {
            let tags = said.tags.get_or_insert_default();
            tags.push(',');
            tags.push_str(&value);
            return Ok(());
        }
        unknown => {
            return Err(Problem::invalid(format!("the form has an unknown field \"{unknown}\""))
                .remedy("fields are file, bucket, key, owner, tags, metadata, expires_at and filename"));
        }
    };
    match place {
        Some(earlier) if *earlier != value => {
            Err(Problem::invalid(format!("the field \"{name}\" is given twice")))
        }
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn fault_of_form(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(source) => fault_of(source).into(),
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders => {
            Fault::new(Code::BodyIncomplete, "the form ends before its closing boundary")
                .remedy("send the whole form again")
                .into()
        }
        other => Problem::invalid(format!("the form can't be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_once_and_tags_are_gathered() {
        let mut said = Said::default();
        set(&mut said, "bucket", "keeps".to_owned()).unwrap();
        set(&mut said, "bucket", "keeps".to_owned()).unwrap();
        assert!(set(&mut said, "bucket", "media".to_owned()).is_err());
        set(&mut said, "tags", "a".to_owned()).unwrap();
        set(&mut said, "tags", "b, c".to_owned()).unwrap();
        assert_eq!(said.tags.as_deref(), Some(",a,b, c"));
        assert!(set(&mut said, "bukket", String::new()).unwrap_err().fault.detail.contains("bukket"));
    }

    #[test]
    fn only_forms_have_a_boundary() {
        let of = |declared: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, http::HeaderValue::from_static(declared))]);
            boundary(&headers).map_err(|problem| problem.fault.code)
        };
        assert_eq!(of("multipart/form-data; boundary=x"), Ok(Some("x".to_owned())));
        assert_eq!(of("Multipart/Form-Data; boundary=\"a b\""), Ok(Some("a b".to_owned())));
        assert_eq!(of("image/jpeg"), Ok(None));
        assert_eq!(of("multipart/form-data"), Err(Code::InvalidRequest));
    }
}
