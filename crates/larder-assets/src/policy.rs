//! What a bucket accepts, makes, shows and forgets.

use larder_core::{
    FileType,
    file_type::{self, Family},
    limits::{ImageLimits, UPLOAD_BYTES_MAX},
    text::{ByteSize, Span},
};
use serde::{Deserialize, Serialize};

/// Who may read an asset without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Only signed URLs and keys with the scope. The default: a bucket is opened by decision.
    #[default]
    Private,
    /// Anyone.
    Public,
}

/// Where the bytes of a bucket lie. Records name the place, so a change is about later writes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// At the key: `<prefix>/<key>`. The default: anybody who knows the key finds the file.
    #[default]
    Path,
    /// At their digest: `<prefix>/_hash/<2 hex>/<2 hex>/<SHA-256>.<extension>`. Equal bytes lie there once,
    /// under however many keys.
    Hash,
}

/// What happens when an original that carries a GPS position is read through Larder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum GpsPolicy {
    /// The bytes are served as they came in. The default: the bucket stays yours.
    #[default]
    Serve,
    /// A copy without metadata is served; the stored original keeps it.
    Strip,
    /// The original is not served to anyone but an administrator.
    Refuse,
}

/// Assets under a prefix are deleted when they reach an age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Keys that begin with this; empty for all.
    #[serde(default)]
    pub prefix: String,
    /// Age since the bytes were last written.
    pub older_than: Span,
}

/// Which web pages of other origins may call Larder for this bucket (Fetch standard, CORS
/// protocol).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Origins such as `https://app.example.com`, or `*` for any. Empty: no other origin.
    pub origins: Vec<String>,
    /// Whether credentials may be sent; not possible together with `*`.
    pub credentials: bool,
}

/// The rules of one bucket. Every field has a default, so that `{}` is a working private bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BucketPolicy {
    /// Where in the store the bucket's assets lie; the bucket's name unless set.
    pub prefix: Option<String>,
    /// Where below it.
    pub layout: Layout,
    /// Who may read without a credential.
    pub visibility: Visibility,
    /// Accepted types: media types (`application/pdf`), families (`image/*`) or `*/*`. Judged by
    /// the bytes.
    pub accept: Vec<String>,
    /// Largest file in bytes; exactly this size is still accepted.
    pub max_bytes: ByteSize,
    /// What an image may cost.
    pub image: ImageLimits,
    /// Presets, or named sets of presets, made right after an image came in.
    pub presets: Vec<String>,
    /// Presets that `/i/_/…` serves without a signature.
    pub public_presets: Vec<String>,
    /// How keys are made for uploads that name none: `{yyyy}`, `{mm}`, `{dd}`, `{id}`, `{name}`,
    /// `{sha256}` and `{ext}` are filled in; it must hold `{id}`, so that no two uploads collide.
    pub key_template: String,
    /// How long caches may keep an asset whose URL carries no version.
    pub cache: Span,
    /// Rules by which assets are deleted.
    pub retention: Vec<RetentionRule>,
    /// Variants that nobody fetched for this long are deleted (and made again when asked for).
    pub unused_variants_after: Option<Span>,
    /// Files in the bucket's folder that no record has named for this long are deleted by a scrub that
    /// repairs; never unless set.
    pub orphan_grace: Option<Span>,
    /// How long deleted assets can be brought back.
    pub trash: Span,
    /// What is served of originals that carry a GPS position.
    pub gps: GpsPolicy,
    /// Whether an upload whose bytes the bucket already holds becomes that asset again.
    pub deduplicate: bool,
    /// Uploads that may wait for processing; more are refused with 429.
    pub backlog_max: u64,
    /// Other origins that may call.
    pub cors: Cors,
}

impl Default for BucketPolicy {
    fn default() -> Self {
        Self {
            prefix: None,
            layout: Layout::default(),
            visibility: Visibility::default(),
            accept: [
                "image/jpeg",
                "image/png",
                "image/gif",
                "image/webp",
                "image/avif",
                "image/tiff",
                "image/bmp",
            ]
            .map(str::to_owned)
            .into(),
            max_bytes: ByteSize(UPLOAD_BYTES_MAX),
            image: ImageLimits::default(),
            presets: Vec::new(),
            public_presets: Vec::new(),
            key_template: "{yyyy}/{mm}/{id}.{ext}".to_owned(),
            // Five minutes: long enough for a page's repeated views, short enough for a replaced
            // picture to appear; versioned URLs are cached for a year.
            cache: Span::seconds(300),
            retention: Vec::new(),
            unused_variants_after: None,
            orphan_grace: None,
            trash: Span::days(7),
            gps: GpsPolicy::default(),
            deduplicate: false,
            backlog_max: 10_000,
            cors: Cors::default(),
        }
    }
}

impl BucketPolicy {
    /// Whether the bucket takes files of this type. A file of no known type needs `*/*` or
    /// `application/octet-stream`.
    pub fn accepts(&self, file_type: Option<&FileType>) -> bool {
        let content_type = file_type.map_or("application/octet-stream", |known| known.content_type);
        self.accept.iter().any(|pattern| {
            let pattern = file_type::essence(pattern);
            match pattern.strip_suffix("/*") {
                Some("*") => true,
                Some(family) => content_type.split('/').next() == Some(family),
                None => file_type.map_or(pattern == content_type, |known| known.is_declared_by(&pattern)),
            }
        })
    }

    /// Whether files of this type are decoded and get variants.
    pub fn is_picture(file_type: &FileType) -> bool {
        file_type.family == Family::Image && larder_image::Format::named(file_type.name).is_some()
    }

    /// Finds mistakes that would only show when a file comes in. Each text names the field.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.key_template.contains("{id}") {
            problems.push(format!(
                "key_template \"{}\" lacks {{id}}: two uploads could get one key",
                self.key_template
            ));
        }
        if let Err(unknown) = crate::intake::template::check(&self.key_template) {
            problems.push(unknown);
        }
        if self.cors.credentials && self.cors.origins.iter().any(|origin| origin == "*") {
            problems.push(
                "cors.credentials can't be combined with the origin \"*\"; name the origins".to_owned(),
            );
        }
        if self.max_bytes.0 == 0 {
            problems.push("max_bytes is 0: no file could come in".to_owned());
        }
        if let Some(pattern) = self.accept.iter().find(|pattern| !pattern.contains('/')) {
            problems.push(format!(
                "accept holds \"{pattern}\", which is no media type such as image/jpeg or image/*"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(accept: &[&str]) -> BucketPolicy {
        BucketPolicy {
            accept: accept.iter().map(|text| (*text).to_owned()).collect(),
            ..BucketPolicy::default()
        }
    }

    #[test]
    fn accept_knows_types_families_and_everything() {
        let jpeg = FileType::named("jpeg");
        let pdf = FileType::named("pdf");
        assert!(policy(&["image/*"]).accepts(jpeg));
        assert!(!policy(&["image/*"]).accepts(pdf));
        assert!(policy(&["image/jpg"]).accepts(jpeg), "an alias names the same type");
        assert!(policy(&["*/*"]).accepts(None));
        assert!(!policy(&["image/*"]).accepts(None));
        assert!(policy(&["application/octet-stream"]).accepts(None));
    }

    #[test]
    fn a_bucket_takes_raster_images_and_no_markup_by_default() {
        let policy = BucketPolicy::default();
        assert!(policy.accepts(FileType::named("png")));
        assert!(!policy.accepts(FileType::named("svg")));
        assert!(!policy.accepts(FileType::named("elf")));
        assert!(policy.problems().is_empty());
    }

    #[test]
    fn mistakes_are_named_before_a_file_comes_in() {
        let mut policy = BucketPolicy { key_template: "{nmae}.{ext}".to_owned(), ..BucketPolicy::default() };
        policy.cors = Cors { origins: vec!["*".to_owned()], credentials: true };
        let text = policy.problems().join("\n");
        assert!(
            text.contains("{id}") && text.contains("{nmae}") && text.contains("cors.credentials"),
            "{text}"
        );
    }
}
