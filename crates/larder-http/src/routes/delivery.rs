//! Delivery in the document. These routes are answered before the router; see
//! [`crate::delivery`].

use larder_assets::Action;

use super::{Access, Route, answers, header, query, sends};
use crate::schema;

/// Headers of bytes that are delivered.
pub(super) const DELIVERED: &[&str] =
    &["ETag", "Last-Modified", "Cache-Control", "Accept-Ranges", "Content-Length", "Content-Disposition"];

/// Headers of a part of them.
pub(super) const PART: &[&str] =
    &["ETag", "Last-Modified", "Cache-Control", "Content-Range", "Content-Length"];

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/m/{bucket}/{*key}",
        name: "original_read",
        tag: "delivery",
        access: Access::Optional(Action::Read),
        summary: "An asset's bytes",
        detail: "Public buckets are open to anyone; private ones need a signed URL or a key. HEAD, conditions and \
                 ranges work as in RFC 9110. `v` that matches makes the answer immutable.",
        parameters: &[
            query("v", "the version, the first 16 hex digits of the SHA-256", schema::text),
            query("exp", "when the signature ends, in Unix seconds", schema::integer),
            query("sig", "the signature", schema::text),
            query("download", "save instead of show; its value is the name", schema::text),
            header("Range", "only a part of the bytes", schema::text),
            header("If-None-Match", "answer 304 if the client has these bytes", schema::text),
            header("If-Modified-Since", "answer 304 if the bytes are not newer", schema::text),
            header("If-Match", "only if the bytes have this ETag", schema::text),
            header("If-Unmodified-Since", "only if the bytes are not newer", schema::text),
            header("If-Range", "ranges only of the bytes with this ETag or date", schema::text),
        ],
        payloads: &[],
        replies: &[
            sends(200, "the bytes", "*/*", schema::bytes).with(DELIVERED),
            sends(206, "the ranges asked for", "*/*", schema::bytes).with(PART),
            answers(304, "the client has them").with(&["ETag", "Last-Modified", "Cache-Control"]),
        ],
        handler: None,
    },
    Route {
        method: "GET",
        path: "/i/{signature}/{recipe}/{bucket}/{*key}",
        name: "picture_read",
        tag: "delivery",
        access: Access::Optional(Action::Read),
        summary: "What a recipe makes of an asset",
        detail: "`key` is followed by the extension of the output's format (`.webp`), or by `.auto`, which goes by \
                 `Accept`: AVIF once it is made, until then, for 60 s, the next format (in a build with libaom at once). `recipe` is a recipe or `p:<preset>`. `signature` is `<key id>.<HMAC>` over \
                 the path after it and `exp`, or `_` for a preset that the bucket serves to anyone.",
        parameters: &[
            query("exp", "when the signature ends, in Unix seconds", schema::integer),
            query("v", "the version, made of source and recipe", schema::text),
            query("download", "save instead of show; its value is the name", schema::text),
            header("Accept", "what the client shows; for `.auto`", schema::text),
            header("Range", "only a part of the bytes", schema::text),
            header("If-None-Match", "answer 304 if the client has these bytes", schema::text),
            header("If-Modified-Since", "answer 304 if the bytes are not newer", schema::text),
            header("If-Match", "only if the bytes have this ETag", schema::text),
            header("If-Unmodified-Since", "only if the bytes are not newer", schema::text),
            header("If-Range", "ranges only of the bytes with this ETag or date", schema::text),
        ],
        payloads: &[],
        replies: &[
            sends(200, "the picture", "*/*", schema::bytes).with(DELIVERED),
            sends(206, "the ranges asked for", "*/*", schema::bytes).with(PART),
            answers(304, "the client has it").with(&["ETag", "Last-Modified", "Cache-Control"]),
        ],
        handler: None,
    },
];
