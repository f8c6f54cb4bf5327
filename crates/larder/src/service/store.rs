//! The store that is configured, with everything around it.

use std::sync::Arc;

use larder_core::{Ambient, Fault};
use larder_store::{
    BreakerLimits, BreakerStore, Circuit, Error, LocalStore, MemoryStore, MeteredStore, S3Options, S3Store,
    SplitStore, Store,
};

use super::{cache::cached, open::Opening};
use crate::{
    config::{Config, StoreBackend},
    failure::Failure,
};

/// A store as the service uses it.
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Of a store behind a network; one of this machine answers, or the machine does not.
    pub circuit: Option<Circuit>,
}

/// Opens the store.
///
/// # Errors
/// The folder can't be used, or the bucket not reached or not worked with; the remedy says what to change.
pub async fn open_store(config: &Config, opening: Opening, ambient: &Ambient) -> Result<OpenStore, Failure> {
    Ok(match (config.store.backend, &config.store.s3_options) {
        (StoreBackend::Memory, _) => at_hand("memory", MemoryStore::with_ambient(ambient.clone())),
        (StoreBackend::S3, Some(options)) => {
            let options = with_addresses(config, options);
            let connected = connect(&options, ambient).await;
            let store = connected.map_err(|error| unreachable_store(config, error))?;
            let (store, circuit) = guarded("s3", store, ambient);
            let store = cached(config, opening, ("s3", &identity(&options)), store);
            OpenStore { store: Arc::new(store), circuit: Some(circuit) }
        }
        _ => {
            let store = LocalStore::open(config.store_root(), ambient.clone()).map_err(Fault::from)?;
            at_hand("local", store)
        }
    })
}

fn at_hand(name: &'static str, store: impl Store) -> OpenStore {
    OpenStore { store: Arc::new(MeteredStore::new(name, store)), circuit: None }
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

/// Connects to the bucket, and to that of the variants if they have their own.
async fn connect(options: &S3Options, ambient: &Ambient) -> Result<Arc<dyn Store>, Error> {
    let originals = S3Store::connect(options, ambient.clone()).await?;
    let Some(bucket) = &options.variants_bucket else { return Ok(Arc::new(originals)) };
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
