//! The groups of settings, one struct a table of the file.

use std::path::PathBuf;

use larder_assets::{
    cdn::HookKind,
    databases::{Pattern, PatternError},
};
use larder_core::{
    BucketName, FileType,
    limits::ImageLimits,
    text::{ByteSize, Span},
};
use larder_http::{PathAlias, TagHeader};
use larder_image::OutputFormat;
use url::Url;

use super::raw::{FromRaw, Raw, Secret};

/// What is kept near of a store that is far away.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// Memory for pages.
    pub memory: ByteSize,
    /// Room on the disk for pages.
    pub disk: ByteSize,
    /// Folder of the pages on the disk; none means `cache` in the data directory.
    pub dir: Option<PathBuf>,
}

/// The databases in the store that are looked after.
#[derive(Debug, Clone)]
pub struct DatabasesConfig {
    /// Where they lie.
    pub prefixes: Vec<Pattern>,
    /// When they are backed up.
    pub backup: Cron,
    /// When they are verified.
    pub verify: Cron,
}

/// When something comes by itself, as cron in UTC; `None` for never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron(pub Option<String>);

impl FromRaw for Cron {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        match String::from_raw(raw)?.trim() {
            "off" => Ok(Self(None)),
            cron => match larder_worker::check_schedule(cron) {
                Ok(()) => Ok(Self(Some(cron.to_owned()))),
                Err(fault) => Err(fault.detail),
            },
        }
    }
}

impl FromRaw for Vec<Pattern> {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let texts = Vec::<String>::from_raw(raw)?;
        texts.iter().map(|text| text.parse().map_err(|error: PatternError| error.to_string())).collect()
    }
}

/// Named maxima. Those of one bucket stand in its policy.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Bytes of one upload, for every bucket.
    pub upload_bytes: ByteSize,
    /// Bytes of one picture in the shipped bucket `artwork`.
    pub artwork_bytes: ByteSize,
    /// Pixels of one frame.
    pub image_pixels: u64,
    /// Pixels a side.
    pub image_side_px: u32,
    /// Frames of an animation.
    pub image_frames: u32,
    /// Pixels over all frames.
    pub image_total_pixels: u64,
    /// Time for one decode.
    pub decode_time: Span,
    /// Memory of all decodes of the process together.
    pub decode_memory: ByteSize,
    /// Files of one request, items of one batch operation.
    pub batch_items: usize,
    /// Bytes of a JSON body.
    pub json_bytes: ByteSize,
    /// Time within which a request's head must be complete.
    pub headers_within: Span,
    /// Time within which the next bytes of a body must arrive.
    pub body_idle: Span,
    /// Life of a signed URL unless asked otherwise.
    pub signed_url_life: Span,
    /// Longest life of a signed URL.
    pub signed_url_life_max: Span,
    /// How long ended jobs and uploads stay listed.
    pub history: Span,
    /// Age at which an upload that never became an asset expires.
    pub upload_life: Span,
    /// How long an answer is replayed for its idempotency key.
    pub idempotency_life: Span,
}

impl LimitsConfig {
    /// Nothing is allowed: what the defaults of the table are laid over.
    pub(super) fn unset() -> Self {
        let (none, never) = (ByteSize(0), Span::seconds(0));
        Self {
            upload_bytes: none,
            artwork_bytes: none,
            image_pixels: 0,
            image_side_px: 0,
            image_frames: 0,
            image_total_pixels: 0,
            decode_time: never,
            decode_memory: none,
            batch_items: 0,
            json_bytes: none,
            headers_within: never,
            body_idle: never,
            signed_url_life: never,
            signed_url_life_max: never,
            history: never,
            upload_life: never,
            idempotency_life: never,
        }
    }

    /// What a picture may cost.
    pub fn image(&self) -> ImageLimits {
        ImageLimits {
            pixels_max: self.image_pixels,
            side_max_px: self.image_side_px,
            frames_max: self.image_frames,
            total_pixels_max: self.image_total_pixels,
            decode_time_max_ms: u64::try_from(self.decode_time.0.as_millis()).unwrap_or(u64::MAX),
            decode_memory_bytes: self.decode_memory.0,
        }
    }
}

/// Shape of the shipped named sets.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// Output format of the shipped presets; none keeps each set's own.
    pub format: Option<ImageFormat>,
    /// Quality of the shipped presets; none keeps each set's own.
    pub quality: Option<u8>,
    /// Whether variants are made when a picture comes in.
    pub optimize: bool,
}

/// One format for all pictures, whatever their source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFormat(pub OutputFormat);

impl ImageFormat {
    /// Every format that can be chosen.
    pub fn all() -> impl Iterator<Item = OutputFormat> {
        OutputFormat::all().filter(|format| matches!(format, OutputFormat::In(_)))
    }
}

impl FromRaw for ImageFormat {
    /// By its name in recipes, or by an extension (`jpg`), in letters of either case.
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let text = String::from_raw(raw)?;
        let name = text.to_ascii_lowercase();
        let name = FileType::of_extension(&name).map_or(name.as_str(), |known| known.name);
        Self::all().find(|format| format.name() == name).map(Self).ok_or_else(|| {
            let known: Vec<_> = Self::all().map(OutputFormat::name).collect();
            format!("\"{text}\" is no output format; use {}", known.join(", "))
        })
    }
}

/// How jobs are run.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Jobs at a time; none means one more than processors.
    pub concurrency: Option<usize>,
    /// Queues that are served; empty means all.
    pub queues: Vec<String>,
}

/// How bytes are served.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Who sends the bytes of a local file.
    pub sendfile: Sendfile,
    /// A second path for the originals of `media_bucket`.
    pub media_path: Option<String>,
    /// The bucket that `media_path` serves.
    pub media_bucket: BucketName,
    /// Memory for small, often fetched bodies.
    pub hot_cache: ByteSize,
}

impl DeliveryConfig {
    /// The second path for originals. It was checked when it was set.
    pub fn alias(&self) -> Option<PathAlias> {
        PathAlias::new(self.media_path.as_deref()?, self.media_bucket.clone()).ok()
    }
}

/// Who sends the bytes of a local file.
#[expect(clippy::enum_variant_names, reason = "X-Sendfile is what the header is called")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sendfile {
    /// Larder itself.
    Off,
    /// nginx, told by `X-Accel-Redirect`.
    XAccelRedirect,
    /// Apache and alike, told by `X-Sendfile`.
    XSendfile,
}

impl FromRaw for Sendfile {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        let text = String::from_raw(raw)?;
        match text.to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "x-accel-redirect" => Ok(Self::XAccelRedirect),
            "x-sendfile" => Ok(Self::XSendfile),
            _ => Err(format!("\"{text}\" is none of off, x-accel-redirect and x-sendfile")),
        }
    }
}

/// The caches in front.
#[derive(Debug, Clone)]
pub struct CdnConfig {
    /// Who is told what to forget.
    pub purge: Option<&'static HookKind>,
    /// Where the hook sends its requests.
    pub purge_url: Option<Url>,
    /// Which service or distribution of the provider.
    pub purge_service: Option<String>,
    /// What authorises its requests.
    pub purge_token: Option<Secret>,
    /// What signs the body of its requests.
    pub purge_secret: Option<Secret>,
    /// Headers of tags.
    pub tag_headers: Vec<TagHeader>,
}

impl CdnConfig {
    /// Nothing is told to anybody: what the defaults of the table are laid over.
    pub(super) fn unset() -> Self {
        Self {
            purge: None,
            purge_url: None,
            purge_service: None,
            purge_token: None,
            purge_secret: None,
            tag_headers: Vec::new(),
        }
    }
}

/// What imports by URL may reach.
#[derive(Debug, Clone)]
pub struct ImportConfig {
    /// Networks such as `10.0.0.0/8` that are allowed although they are not public.
    pub allow_networks: Vec<String>,
}

/// What is logged and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A level, or directives such as `info,larder_http=debug`.
    pub level: String,
    /// Text for people or one JSON object a line.
    pub format: LogFormat,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromRaw for LogFormat {
    fn from_raw(raw: &Raw) -> Result<Self, String> {
        match String::from_raw(raw)?.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("\"{other}\" is neither text nor json")),
        }
    }
}
