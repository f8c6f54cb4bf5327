//! The stores that are configured, with everything around them.

use std::{path::Path, sync::Arc, time::Duration};

use larder_assets::Stores;
use larder_catalog::Catalog;
use larder_core::{Ambient, Code, Fault};
use larder_store::{
    BreakerLimits, BreakerStore, Circuit, Error, LocalStore, MemoryStore, MeteredStore, S3Options, S3Store,
    SplitStore, Store,
};

use super::{cache::cached, open::Opening};
use crate::{
    config::{Config, StoreBackend},
    failure::Failure,
};

/// Time within which a bucket beside the primary store must answer at start, or it is left out.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A store as the service uses it.
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Of a store behind a network; one of this machine answers, or the machine does not.
    pub circuit: Option<Circuit>,
    /// The bucket of the originals, without a cache or anything else before it.
    pub bucket: Option<Arc<dyn Store>>,
    /// The same store without a cache, and of a bucket the whole: where `larder db` keeps databases.
    pub plain: Arc<dyn Store>,
}

/// Name of a plain bucket in metrics: what backups and verifications ask for is told apart from what is served.
const PLAIN_BUCKET: &str = "databases";

/// Opens the primary store.
///
/// # Errors
/// The folder can't be used, or the bucket not reached or not worked with; the remedy says what to change.
pub async fn open_store(config: &Config, opening: Opening, ambient: &Ambient) -> Result<OpenStore, Failure> {
    Ok(match (config.store.backend, &config.store.s3_options) {
        (StoreBackend::Memory, _) => at_hand("memory", MemoryStore::with_ambient(ambient.clone())),
        (StoreBackend::S3, Some(options)) => open_bucket(config, opening, options, ambient).await?,
        (backend, _) => open_folder(backend.name(), &config.store_root(), ambient)?,
    })
}

/// The primary store, and every other that is configured: what lies in one of them is read there until it
/// is moved. One that can't be opened is left out with a notice, since most may not need it; what lies there
/// is unavailable.
///
/// A bucket is asked for only if records name it, or if it was configured for Larder and this process may be
/// the one that moves to it: a name that another application set must not make a process on the local disk
/// wait for a network.
///
/// # Errors
/// The catalogue's.
pub async fn with_others(
    config: &Config,
    opening: Opening,
    primary: Arc<dyn Store>,
    catalog: &Catalog,
    ambient: &Ambient,
) -> Result<Stores, Failure> {
    let backend = config.store.backend;
    let mut stores = Stores::new(backend.name(), primary);
    if backend == StoreBackend::Memory {
        return Ok(stores);
    }
    for other in StoreBackend::ALL.iter().copied().filter(|other| *other != backend) {
        let is_named = catalog.has_in_store(other.name()).await.map_err(Fault::from)?;
        let opened = match (other, config.root_of(other)) {
            (StoreBackend::S3, _) => {
                let may_move = config.store.s3.bucket.is_some() && opening != Opening::Reader;
                match &config.store.s3_options {
                    Some(options) if is_named || may_move => {
                        let opened = open_bucket(config, opening, options, ambient);
                        tokio::time::timeout(ANSWERS_WITHIN, opened).await.unwrap_or_else(|_| Err(silent()))
                    }
                    None if is_named => {
                        tracing::warn!(
                            store = other.name(),
                            "records name a store that is not configured; what lies there is not served"
                        );
                        continue;
                    }
                    _ => continue,
                }
            }
            (_, Some(root)) => {
                // A folder that records name is never made: its disk may not be there yet, and an empty
                // folder would say that the bytes are gone.
                let is_asked_for = other == StoreBackend::Local2 || config.origins.contains_key("store.root");
                if !root.exists() && !is_named {
                    let made = || make_folder(&root).and_then(|()| open_folder(other.name(), &root, ambient));
                    match (is_asked_for, opening) {
                        (true, _) => made(),
                        (false, Opening::Reader) => continue,
                        // Another process may move to it while this one serves what it moves.
                        (false, _) => match made() {
                            Ok(opened) => Ok(opened),
                            Err(_) => continue,
                        },
                    }
                } else {
                    find_folder(&root).and_then(|()| open_folder(other.name(), &root, ambient))
                }
            }
            _ => continue,
        };
        match opened {
            Ok(opened) => stores = stores.with(other.name(), opened.store),
            Err(failure) => {
                tracing::warn!(
                    store = other.name(),
                    cause = failure.cause,
                    "a store can't be opened; what lies there is not served before a restart that can"
                );
            }
        }
    }
    Ok(stores)
}

fn silent() -> Failure {
    let seconds = ANSWERS_WITHIN.as_secs();
    Fault::new(Code::BackendUnavailable, format!("the bucket did not answer within {seconds} s"))
        .remedy("restart when it does")
        .into()
}

fn make_folder(root: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(root).map_err(|error| Failure::file(root, "created", error))
}

fn find_folder(root: &Path) -> Result<(), Failure> {
    std::fs::metadata(root).map(drop).map_err(|error| Failure::file(root, "opened", error))
}

fn open_folder(name: &'static str, root: &Path, ambient: &Ambient) -> Result<OpenStore, Failure> {
    let store = LocalStore::open(root, ambient.clone()).map_err(Fault::from)?;
    Ok(at_hand(name, store))
}

async fn open_bucket(
    config: &Config,
    opening: Opening,
    options: &S3Options,
    ambient: &Ambient,
) -> Result<OpenStore, Failure> {
    let options = with_addresses(config, options);
    let unreachable = |error| unreachable_store(config, error);
    let originals = S3Store::connect(&options, ambient.clone()).await.map_err(unreachable)?;
    let plain = originals.folder("", &options, ambient.clone()).map_err(unreachable)?;
    let plain = Arc::new(MeteredStore::new(PLAIN_BUCKET, plain));
    let bucket: Arc<dyn Store> = Arc::new(originals);
    let store = with_variants(Arc::clone(&bucket), &options, ambient).await.map_err(unreachable)?;
    let (store, circuit) = guarded("s3", store, ambient);
    let store = cached(config, opening, ("s3", &identity(&options)), store);
    Ok(OpenStore { store: Arc::new(store), circuit: Some(circuit), bucket: Some(bucket), plain })
}

fn at_hand(name: &'static str, store: impl Store) -> OpenStore {
    let store: Arc<dyn Store> = Arc::new(MeteredStore::new(name, store));
    OpenStore { plain: Arc::clone(&store), store, circuit: None, bucket: None }
}

/// A store that may be away is left alone then for a while.
fn guarded(name: &'static str, store: impl Store, ambient: &Ambient) -> (impl Store, Circuit) {
    let store = MeteredStore::new(name, store);
    let store = BreakerStore::new(name, store, BreakerLimits::default(), ambient.clone());
    let circuit = store.circuit();
    (store, circuit)
}

/// Which bucket it is, among all that a data directory may ever be used with.
fn identity(options: &S3Options) -> String {
    let server = options.endpoint.as_ref().map_or("aws", |url| url.as_str());
    let variants = options.variants_bucket.as_deref().unwrap_or_default();
    format!("{server} {} {} {variants} {}", options.region, options.bucket, options.prefix)
}

/// The options of the bucket with what is said elsewhere of its addresses.
pub fn with_addresses(config: &Config, options: &S3Options) -> S3Options {
    S3Options {
        public_url: config.store.public_url.clone(),
        is_public: config.store.s3.public_bucket.unwrap_or(false),
        ..options.clone()
    }
}

/// The bucket of the configuration as it is, without a cache or anything else before it.
///
/// # Errors
/// As [`open_store`].
pub async fn open_plain_bucket(
    config: &Config,
    options: &S3Options,
    ambient: &Ambient,
) -> Result<Arc<dyn Store>, Failure> {
    let connected = S3Store::connect(options, ambient.clone()).await;
    Ok(Arc::new(connected.map_err(|error| unreachable_store(config, error))?))
}

/// The bucket together with that of the variants, if they have their own.
async fn with_variants(
    originals: Arc<dyn Store>,
    options: &S3Options,
    ambient: &Ambient,
) -> Result<Arc<dyn Store>, Error> {
    let Some(bucket) = &options.variants_bucket else { return Ok(originals) };
    let options = S3Options { bucket: bucket.clone(), ..options.clone() };
    let variants = S3Store::connect(&options, ambient.clone()).await?;
    Ok(Arc::new(SplitStore::new(originals, variants)))
}

/// A server that does not answer may be another's, or not there at all: the message says which it is. What the
/// store refuses says itself what to change.
fn unreachable_store(config: &Config, error: Error) -> Failure {
    let is_silent = matches!(error, Error::Unavailable { .. });
    let mut failure = Failure::from(Fault::from(error));
    if is_silent {
        failure.cause = format!("the store {} does not answer", config.store_label());
        failure.remedy =
            "start it, or correct store.s3.endpoint (AWS_ENDPOINT_URL_S3); USE_LOCAL_STORAGE=true keeps \
                          bytes on the local disk, and `larder serve --dev-fallback` does for this once"
                .to_owned();
    }
    failure
}
