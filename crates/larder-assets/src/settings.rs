//! What an instance of Larder is told once, at start.

use std::{path::PathBuf, time::Duration};

use larder_core::limits::{
    BATCH_ITEMS_MAX, HISTORY_LIFE, IDEMPOTENCY_LIFE, ImageLimits, SIGNED_URL_LIFE, SIGNED_URL_LIFE_MAX,
    UPLOAD_BYTES_MAX, UPLOAD_LIFE,
};
use larder_store::Circuit;
use url::Url;

use crate::{
    cdn::CdnSettings, databases::DatabaseSettings, net::ImportSettings, secrets::Secrets, statistics::Prices,
};

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
    /// A bearer secret with all rights for who may read the data directory, and so is the owner. That it exists does
    /// not mean that keys are asked for.
    pub owner_key: Option<String>,
    /// The circuit of a primary store that has one ([`BreakerStore`](larder_store::BreakerStore)): while it is
    /// open, uploads are refused before their bytes are taken.
    pub store_circuit: Option<Circuit>,
    /// Largest upload in bytes, whatever a bucket says.
    pub upload_bytes_max: u64,
    /// Limits of the process. A bucket's own limits hold as well, whichever is lower.
    pub image: ImageLimits,
    /// Whether buckets' presets are made at upload at all; if not, they are made on demand.
    pub variants_at_upload: bool,
    /// Life of signed URLs in answers.
    pub signed_url_life: Duration,
    /// Longest life of a signed URL.
    pub signed_url_life_max: Duration,
    /// How long ended jobs and uploads stay listed.
    pub history: Duration,
    /// Time after which an upload that never became an asset expires.
    pub upload_life: Duration,
    /// How long an answer is replayed for its idempotency key.
    pub idempotency_life: Duration,
    /// Files or operations in one request.
    pub batch_items_max: usize,
    /// Where imports by URL may go.
    pub import: ImportSettings,
    /// The caches in front.
    pub cdn: CdnSettings,
    /// What storage costs, for estimates.
    pub prices: Prices,
    /// The databases in the store that are looked after; `None` for none.
    pub databases: Option<DatabaseSettings>,
    /// Bytes of small files that are kept in memory for repeated reads. 64 MiB: three thousand
    /// variants of 20 KB.
    pub hot_cache_bytes: u64,
    /// The program that tries a suspicious file in a process of its own: one that passes its standard
    /// input to [`isolation::run_trial`](crate::isolation::run_trial) when called with
    /// [`isolation::ARGUMENT`](crate::isolation::ARGUMENT). Without it, suspicious files are decoded
    /// like any other.
    pub isolator: Option<PathBuf>,
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
            owner_key: None,
            store_circuit: None,
            upload_bytes_max: UPLOAD_BYTES_MAX,
            image: ImageLimits::default(),
            variants_at_upload: true,
            signed_url_life: SIGNED_URL_LIFE,
            signed_url_life_max: SIGNED_URL_LIFE_MAX,
            history: HISTORY_LIFE,
            upload_life: UPLOAD_LIFE,
            idempotency_life: IDEMPOTENCY_LIFE,
            batch_items_max: BATCH_ITEMS_MAX,
            import: ImportSettings::default(),
            cdn: CdnSettings::default(),
            prices: Prices::default(),
            databases: None,
            hot_cache_bytes: 64 << 20,
            isolator: None,
            cpu_slots: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}
