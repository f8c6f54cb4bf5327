//! JSON schemas (2020-12, as OpenAPI 3.1 has them) in a few words, and the shapes of answers.

use serde_json::{Map, Value, json};

/// Makes a schema; tables are constants and schemas are not.
pub(crate) type Shape = fn() -> Value;

/// Text.
pub(crate) fn text() -> Value {
    json!({ "type": "string" })
}

/// Text that a format describes.
pub(crate) fn formatted(format: &str) -> Value {
    json!({ "type": "string", "format": format })
}

/// An id: UUIDv7.
pub(crate) fn id() -> Value {
    formatted("uuid")
}

/// An instant: RFC 3339 in UTC.
pub(crate) fn instant() -> Value {
    formatted("date-time")
}

/// One of these texts.
pub(crate) fn one_of(values: &[&str]) -> Value {
    json!({ "type": "string", "enum": values })
}

/// A whole number.
pub(crate) fn integer() -> Value {
    json!({ "type": "integer" })
}

/// Yes or no.
pub(crate) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

/// Whatever the application put there.
pub(crate) fn anything() -> Value {
    json!({})
}

/// An object with members that the application chooses.
pub(crate) fn open_object() -> Value {
    json!({ "type": "object" })
}

/// An object from names to values of one shape.
pub(crate) fn map_of(value: Value) -> Value {
    json!({ "type": "object", "additionalProperties": value })
}

/// A list.
pub(crate) fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// The bytes of a file (JSON Schema: `contentMediaType` without an encoding).
pub(crate) fn bytes() -> Value {
    json!({ "type": "string", "contentMediaType": "application/octet-stream" })
}

/// A list with a cursor.
pub(crate) fn page(items: Value) -> Value {
    object(&[("items", list(items), Need::Always), ("next", or_null(text()), Need::Always)])
}

/// The shape, or null.
pub(crate) fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// One of the named shapes.
pub(crate) fn named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Whether a member must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// In every object of the shape.
    Always,
    /// May be left out.
    Maybe,
}

/// An object with exactly these members.
pub(crate) fn object(members: &[(&str, Value, Need)]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema, _)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> =
        members.iter().filter(|(_, _, need)| *need == Need::Always).map(|(name, _, _)| *name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The shapes that answers share, by name.
pub(crate) const COMPONENTS: &[(&str, Shape)] = &[
    ("Asset", asset),
    ("Attempt", attempt),
    ("Bucket", bucket),
    ("Job", job),
    ("Key", key),
    ("NewKey", new_key),
    ("Policy", policy),
    ("Preset", preset),
    ("Problem", problem),
    ("Scope", scope),
    ("Upload", upload),
    ("Variant", variant),
];

use Need::{Always, Maybe};

fn upload() -> Value {
    object(&[
        ("id", id(), Always),
        ("status", one_of(&["pending", "processing", "completed", "failed", "expired"]), Always),
        ("stage", text(), Always),
        ("progress_percentage", integer(), Always),
        ("bytes_received", integer(), Always),
        ("bytes_total", or_null(integer()), Always),
        ("error", or_null(named("Problem")), Always),
        ("bucket", text(), Always),
        ("key", or_null(text()), Always),
        ("original_filename", or_null(text()), Always),
        ("owner", or_null(text()), Always),
        ("asset", or_null(named("Asset")), Always),
        ("variants", map_of(named("Variant")), Always),
        ("created_at", instant(), Always),
        ("updated_at", instant(), Always),
        ("finished_at", or_null(instant()), Always),
    ])
}

fn asset() -> Value {
    let placeholder = object(&[
        ("blurhash", text(), Always),
        ("thumbhash", text(), Always),
        ("dominant_color", text(), Always),
    ]);
    object(&[
        ("id", id(), Always),
        ("bucket", text(), Always),
        ("key", text(), Always),
        ("url", text(), Always),
        ("content_type", text(), Always),
        ("size_bytes", integer(), Always),
        ("sha256", text(), Always),
        ("etag", text(), Always),
        ("version", integer(), Always),
        ("status", one_of(&["processing", "ready", "failed"]), Always),
        ("width", or_null(integer()), Always),
        ("height", or_null(integer()), Always),
        ("frames", or_null(integer()), Always),
        ("has_gps", boolean(), Always),
        ("original_filename", or_null(text()), Always),
        ("owner", or_null(text()), Always),
        ("metadata", anything(), Always),
        ("tags", list(text()), Always),
        ("placeholder", or_null(placeholder), Always),
        ("perceptual_hash", or_null(text()), Always),
        ("created_at", instant(), Always),
        ("updated_at", instant(), Always),
        ("expires_at", or_null(instant()), Always),
        ("deleted_at", or_null(instant()), Maybe),
    ])
}

fn variant() -> Value {
    object(&[
        ("id", id(), Always),
        ("preset", or_null(text()), Always),
        ("recipe", text(), Always),
        ("status", one_of(&["pending", "ready", "failed", "stale"]), Always),
        ("url", text(), Always),
        ("content_type", or_null(text()), Always),
        ("width", or_null(integer()), Always),
        ("height", or_null(integer()), Always),
        ("size_bytes", or_null(integer()), Always),
        ("error", named("Problem"), Maybe),
        ("created_at", instant(), Always),
    ])
}

fn bucket() -> Value {
    object(&[
        ("name", text(), Always),
        ("policy", named("Policy"), Always),
        ("managed_by_file", boolean(), Always),
        ("created_at", instant(), Always),
        ("updated_at", instant(), Always),
    ])
}

fn policy() -> Value {
    let size =
        || json!({ "type": ["integer", "string"], "description": "bytes, or text such as \"10 MiB\"" });
    let span = || json!({ "type": ["integer", "string"], "description": "seconds, or text such as \"7d\"" });
    let image = object(&[
        ("pixels_max", integer(), Always),
        ("side_max_px", integer(), Always),
        ("frames_max", integer(), Always),
        ("total_pixels_max", integer(), Always),
        ("decode_time_max_ms", integer(), Always),
        ("decode_memory_bytes", integer(), Always),
    ]);
    let retention = object(&[("prefix", text(), Maybe), ("older_than", span(), Always)]);
    let cors = object(&[("origins", list(text()), Maybe), ("credentials", boolean(), Maybe)]);
    object(&[
        ("prefix", or_null(text()), Maybe),
        ("layout", one_of(&["path", "hash"]), Maybe),
        ("visibility", one_of(&["private", "public"]), Maybe),
        ("accept", list(text()), Maybe),
        ("max_bytes", size(), Maybe),
        ("image", image, Maybe),
        ("presets", list(text()), Maybe),
        ("public_presets", list(text()), Maybe),
        ("key_template", text(), Maybe),
        ("cache", span(), Maybe),
        ("retention", list(retention), Maybe),
        ("unused_variants_after", or_null(span()), Maybe),
        ("orphan_grace", or_null(span()), Maybe),
        ("trash", span(), Maybe),
        ("gps", one_of(&["serve", "strip", "refuse"]), Maybe),
        ("deduplicate", boolean(), Maybe),
        ("backlog_max", integer(), Maybe),
        ("cors", cors, Maybe),
    ])
}

fn preset() -> Value {
    object(&[
        ("name", text(), Always),
        ("recipe", text(), Always),
        ("version", text(), Always),
        ("managed_by_file", boolean(), Always),
        ("created_at", instant(), Always),
        ("updated_at", instant(), Always),
    ])
}

fn job() -> Value {
    object(&[
        ("id", id(), Always),
        ("kind", text(), Always),
        ("queue", text(), Always),
        ("state", one_of(&["queued", "running", "done", "dead", "cancelled"]), Always),
        ("args", anything(), Always),
        ("priority", integer(), Always),
        ("attempts", integer(), Always),
        ("max_attempts", integer(), Always),
        ("run_at", instant(), Always),
        ("progress_percentage", integer(), Always),
        ("stage", or_null(text()), Always),
        ("worker", or_null(text()), Always),
        ("error", or_null(named("Problem")), Always),
        ("bucket", or_null(text()), Always),
        ("subject", or_null(text()), Always),
        ("created_at", instant(), Always),
        ("started_at", or_null(instant()), Always),
        ("finished_at", or_null(instant()), Always),
        ("history", list(named("Attempt")), Maybe),
    ])
}

fn attempt() -> Value {
    object(&[
        ("attempt", integer(), Always),
        ("worker", or_null(text()), Always),
        ("started_at", instant(), Always),
        ("finished_at", or_null(instant()), Always),
        ("outcome", or_null(text()), Always),
        ("error", or_null(named("Problem")), Always),
    ])
}

fn scope() -> Value {
    let actions: Vec<&str> = larder_assets::Action::ALL.iter().map(|action| action.as_str()).collect();
    object(&[
        ("buckets", list(text()), Maybe),
        ("prefixes", list(text()), Maybe),
        ("actions", list(one_of(&actions)), Always),
    ])
}

fn key() -> Value {
    object(&[
        ("id", id(), Always),
        ("name", text(), Always),
        ("scope", named("Scope"), Always),
        ("created_at", instant(), Always),
        ("expires_at", or_null(instant()), Always),
        ("revoked_at", or_null(instant()), Always),
        ("rotated_to", or_null(id()), Always),
    ])
}

fn new_key() -> Value {
    object(&[("key", named("Key"), Always), ("secret", text(), Always), ("signing_secret", text(), Always)])
}

fn problem() -> Value {
    let mistake = object(&[("detail", text(), Always), ("pointer", text(), Always)]);
    let codes: Vec<&str> = larder_core::Code::ALL.iter().map(|code| code.as_str()).collect();
    object(&[
        ("type", formatted("uri"), Always),
        ("title", text(), Always),
        ("status", integer(), Always),
        ("detail", text(), Always),
        ("code", one_of(&codes), Always),
        ("remedy", text(), Always),
        ("instance", text(), Maybe),
        ("request_id", text(), Maybe),
        ("errors", list(mistake), Maybe),
        ("items", list(open_object()), Maybe),
    ])
}
