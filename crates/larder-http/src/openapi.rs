//! The OpenAPI 3.1 document, made from the table of routes that the router is made from.

use serde_json::{Map, Value, json};

use crate::{
    problem,
    routes::{Access, Payload, Place, Reply, Route},
    schema,
};

/// The document. `server` is the address it is served under.
pub(crate) fn document(server: &str) -> Value {
    let mut paths = Map::new();
    for route in crate::routes::all() {
        let path = paths.entry(template(route.path)).or_insert_with(|| json!({}));
        let operation = operation(route);
        // The router answers HEAD wherever it answers GET.
        if route.method == "GET" {
            path["head"] = head_of(&operation, route);
        }
        path[route.method.to_lowercase()] = operation;
    }
    let schemas: Map<String, Value> =
        schema::COMPONENTS.iter().map(|(name, schema)| ((*name).to_owned(), schema())).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Larder",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Media storage: uploads in, pictures out.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": if server.is_empty() { "/" } else { server } }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "the secret of an API key" },
            },
        },
    })
}

/// A path of the router as OpenAPI writes it: it knows no parameters that span segments.
pub(crate) fn template(path: &str) -> String {
    path.replace("{*", "{")
}

fn operation(route: &Route) -> Value {
    let mut replies: Map<String, Value> = route.replies.iter().map(reply).collect();
    replies.insert(
        "default".to_owned(),
        json!({
            "description": "a refusal or failure; `code` says which",
            "headers": headers(&["Retry-After", "Allow", "WWW-Authenticate", "Content-Range"]),
            "content": { problem::CONTENT_TYPE: { "schema": schema::named("Problem") } },
        }),
    );
    let mut operation = json!({
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": replies,
        "security": security(route.access),
    });
    if !route.detail.is_empty() {
        operation["description"] = Value::from(route.detail);
    }
    if !route.payloads.is_empty() {
        let content: Map<String, Value> = route.payloads.iter().map(payload).collect();
        let required = !route.payloads.iter().any(|payload| payload.optional);
        operation["requestBody"] = json!({ "required": required, "content": content });
    }
    operation
}

/// The same without bodies.
fn head_of(get: &Value, route: &Route) -> Value {
    let mut operation = get.clone();
    operation["operationId"] = Value::from(format!("{}_head", route.name));
    for reply in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        reply.as_object_mut().map(|reply| reply.remove("content"));
    }
    operation
}

fn headers(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), json!({ "schema": schema::text() }))).collect()
}

fn payload(payload: &Payload) -> (String, Value) {
    (payload.content_type.to_owned(), json!({ "schema": (payload.schema)() }))
}

fn reply(reply: &Reply) -> (String, Value) {
    let mut value = json!({ "description": reply.description });
    if let Some((content_type, schema)) = reply.content {
        value["content"] = json!({ content_type: { "schema": schema() } });
    }
    if !reply.headers.is_empty() {
        value["headers"] = headers(reply.headers);
    }
    (reply.status.to_string(), value)
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.split('}').next()?;
        let (name, description) = match name.strip_prefix('*') {
            Some(name) => (name, "may hold slashes, which stay as they are"),
            None => (name, ""),
        };
        let mut parameter =
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
        if !description.is_empty() {
            parameter["description"] = Value::from(description);
        }
        Some(parameter)
    });
    let others = route.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": match parameter.place { Place::Query => "query", Place::Header => "header" },
            "description": parameter.description,
            "schema": (parameter.schema)(),
        })
    });
    in_path.chain(others).collect()
}

fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::Scoped(action) => json!([{ "key": [action.as_str()] }]),
        Access::Optional(action) => json!([{}, { "key": [action.as_str()] }]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document = document("");
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let methods = operations.as_object().unwrap();
            assert_eq!(methods.contains_key("head"), methods.contains_key("get"), "{path}");
            for method in methods.keys().filter(|method| *method != "head") {
                documented.insert((path.clone(), method.to_uppercase()));
            }
        }
        let routed: BTreeSet<_> =
            crate::routes::all().map(|route| (template(route.path), route.method.to_owned())).collect();
        assert_eq!(documented, routed);
        assert_eq!(crate::routes::all().count(), routed.len(), "no route twice");
    }

    #[test]
    fn operation_ids_are_unique_and_described() {
        let names: BTreeSet<_> = crate::routes::all().map(|route| route.name).collect();
        assert_eq!(names.len(), crate::routes::all().count());
        for route in crate::routes::all() {
            assert!(!route.summary.is_empty() && !route.replies.is_empty(), "{}", route.name);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document("https://x.example/media");
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn answers_name_their_headers_and_the_type_of_their_bytes() {
        let document = document("");
        let of = |path: &str, method: &str, status: &str| {
            document["paths"][path][method]["responses"][status].clone()
        };
        let original = of("/m/{bucket}/{key}", "get", "200");
        assert!(original["headers"]["ETag"].is_object() && original["content"]["*/*"].is_object());
        let head = of("/m/{bucket}/{key}", "head", "200");
        assert!(head["headers"]["ETag"].is_object() && head["content"].is_null());
        assert!(of("/api/v1/uploads", "post", "202")["headers"]["Location"].is_object());
        assert!(of("/api/v1/uploads/{id}/events", "get", "200")["content"]["text/event-stream"].is_object());
        assert!(of("/metrics", "get", "200")["content"]["text/plain"].is_object());
        assert!(of("/", "get", "200")["content"]["text/html"].is_object());
        assert!(of("/api/v1/buckets", "get", "default")["headers"]["Retry-After"].is_object());
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| collect(member, references));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            _ => {}
        }
    }
}
