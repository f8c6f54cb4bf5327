//! Holds answers against the OpenAPI document: what is answered must be documented, member by member.

use std::sync::OnceLock;

use http::Method;
use serde_json::Value;

use super::Answer;

static DOCUMENT: OnceLock<Value> = OnceLock::new();

/// Remembers the document, which depends on the build alone.
pub fn learn(document: Value) {
    let _ = DOCUMENT.set(document);
}

/// Checks a JSON answer if the document is known.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let Some(document) = DOCUMENT.get() else { return };
    let content_type = answer.header("content-type").to_owned();
    if !content_type.ends_with("json") || answer.body.is_empty() {
        return;
    }
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    if content_type == "application/problem+json" {
        conforms(document, &document["components"]["schemas"]["Problem"], &value, "problem");
        return;
    }
    let method = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let Some(operation) = operation(document, path, &method) else {
        panic!("{method} {path} is not documented")
    };
    let status = answer.status.as_u16().to_string();
    let Some(reply) = operation["responses"].get(&status) else {
        panic!("{method} {path} does not document {status}")
    };
    conforms(document, &reply["content"]["application/json"]["schema"], &value, path);
}

fn operation<'a>(document: &'a Value, path: &str, method: &str) -> Option<&'a Value> {
    let paths = document["paths"].as_object()?;
    let matching = paths.iter().filter(|(template, _)| fits(template, path));
    // The more literal template wins, as in the router.
    let (_, operations) = matching.min_by_key(|(template, _)| template.matches('{').count())?;
    operations.get(method)
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/').peekable(), path.split('/'));
    while let Some(segment) = wanted.next() {
        // The key takes all that is left.
        if segment == "{key}" && wanted.peek().is_none() {
            return given.next().is_some();
        }
        match given.next() {
            Some(text) if segment.starts_with('{') || segment == text => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

/// A validator for the part of JSON Schema that the document uses.
fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Err(mistake) = judge(document, schema, value, at) {
        panic!("the answer is not as documented: {mistake}\n{value:#}");
    }
}

fn judge(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(&reference[1..]).ok_or_else(|| format!("{reference} leads nowhere"))?;
        return judge(document, target, value, at);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let mut mistakes = choices.iter().filter_map(|choice| judge(document, choice, value, at).err());
        let all: Vec<_> = mistakes.by_ref().collect();
        return if all.len() < choices.len() { Ok(()) } else { Err(all.join(" / ")) };
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    let fits = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    if !fits {
        return Err(format!("{at}: {value} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    for item in value.as_array().into_iter().flatten() {
        judge(document, &schema["items"], item, &format!("{at}[]"))?;
    }
    let Some(members) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !members.contains_key(name.as_str().unwrap()) {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in members {
        let at = format!("{at}/{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => judge(document, schema, member, &at)?,
            (None, Value::Bool(false)) => return Err(format!("{at} is not documented")),
            (None, schema @ Value::Object(_)) => judge(document, schema, member, &at)?,
            (None, _) => {}
        }
    }
    Ok(())
}
