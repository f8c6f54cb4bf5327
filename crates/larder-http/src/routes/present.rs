//! Records of `larder-assets` as answers: the same shapes, with every fault as a problem.

use larder_assets::{JobView, UploadView, VariantView};
use larder_core::Fault;
use serde::Serialize;
use serde_json::{Value, json};

use crate::problem;

/// An upload. Its error, and those of its variants, are problems as a synchronous request would have
/// got them.
pub(crate) fn upload(view: &UploadView) -> Value {
    let mut value = value(view);
    value["error"] = error(view.error.as_ref());
    for (name, variant) in &view.variants {
        value["variants"][name] = self::variant(variant);
    }
    value
}

/// A variant.
pub(crate) fn variant(view: &VariantView) -> Value {
    let mut value = value(view);
    if view.error.is_some() {
        value["error"] = error(view.error.as_ref());
    }
    value
}

/// A job, with its attempts where they are there.
pub(crate) fn job(view: &JobView) -> Value {
    let mut value = value(view);
    value["error"] = error(view.error.as_ref());
    for (at, attempt) in view.history.iter().enumerate() {
        value["history"][at]["error"] = error(attempt.error.as_ref());
    }
    value
}

/// A page of a list, each item by `present`.
pub(crate) fn page<T>(page: &larder_assets::Page<T>, present: impl Fn(&T) -> Value) -> Value {
    let items: Vec<Value> = page.items.iter().map(present).collect();
    json!({ "items": items, "next": page.next })
}

/// A whole list in the form of a page.
pub(crate) fn list<T>(items: &[T], present: impl Fn(&T) -> Value) -> Value {
    let items: Vec<Value> = items.iter().map(present).collect();
    json!({ "items": items, "next": null })
}

/// Anything that has no fault in it.
pub(crate) fn value(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_else(|error| {
        tracing::error!(%error, "a record does not print");
        Value::Null
    })
}

fn error(fault: Option<&Fault>) -> Value {
    fault.map_or(Value::Null, problem::describe)
}
