//! What an instance of Larder is told once, at start.

use larder_core::limits::{ImageLimits, UPLOAD_BYTES_MAX};
use url::Url;

use crate::{net::ImportSettings, secrets::Secrets};

/// Settings of the whole process; a bucket's own rules are its
/// [`BucketPolicy`](crate::BucketPolicy).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the world reaches this instance; decides every URL that is handed out.
    pub public_url: Option<Url>,
    /// The master secret.
    pub secrets: Secrets,
    /// A bearer secret with all rights, given by the environment; the catalogue does not know it.
    pub admin_key: Option<String>,
    /// Name of the store in records.
    pub store_name: String,
    /// Largest upload in bytes, whatever a bucket says.
    pub upload_bytes_max: u64,
    /// Limits of the process: of these only the memory budget and the time count; buckets have
    /// their own limits on pixels and frames.
    pub image: ImageLimits,
    /// Where imports by URL may go.
    pub import: ImportSettings,
    /// Bytes of small files that are kept in memory for repeated reads. 64 MiB: three thousand
    /// variants of 20 KB.
    pub hot_cache_bytes: u64,
    /// Threads that decode and encode at a time; the machine's cores.
    pub cpu_slots: usize,
}

impl Settings {
    /// Settings with defaults for everything but the secret.
    pub fn new(secrets: Secrets) -> Self {
        Self {
            public_url: None,
            secrets,
            admin_key: None,
            store_name: "local".to_owned(),
            upload_bytes_max: UPLOAD_BYTES_MAX,
            image: ImageLimits::default(),
            import: ImportSettings::default(),
            hot_cache_bytes: 64 << 20,
            cpu_slots: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}
