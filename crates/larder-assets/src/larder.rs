//! The handle that every door holds.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use larder_catalog::Catalog;
use larder_core::{Ambient, Code, Fault, FaultKind};
use larder_store::{Circuit, Place, Store};
use tokio::time::timeout;

use crate::{
    buckets::BucketCache,
    credentials::KeyCache,
    intake::{Backlogs, InFlight, StagingLock},
    links::Links,
    net::Guarded,
    pixels::PixelPool,
    reading::{HotBytes, RecordCache},
    settings::Settings,
    stores::Stores,
    variants::Flights,
};

/// Time within which catalogue and store answer, or count as away: health checks give up soon after.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Folder of Larder's own at the root of a store.
pub(crate) const OWN_FOLDER: &str = ".larder";

/// An open Larder: catalogue, store and everything between. Cheap to clone.
#[derive(Clone)]
pub struct Larder {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    catalog: Catalog,
    stores: Stores,
    ambient: Ambient,
    links: Links,
    guarded: Guarded,
    pixels: PixelPool,
    buckets: BucketCache,
    keys: KeyCache,
    records: RecordCache,
    hot: HotBytes,
    flights: Flights,
    in_flight: InFlight,
    backlogs: Backlogs,
    staging_locks: Vec<(String, StagingLock)>,
}

/// Whether the parts answer.
#[derive(Debug)]
pub struct Readiness {
    /// The catalogue; without it nothing works.
    pub catalog: Result<(), Fault>,
    /// The stores, or the first of them that does not answer; without it what is cached is still served.
    pub store: Result<(), Fault>,
    /// Why the primary store was last found away, in its own words, if its circuit is open: for operators.
    pub store_error: Option<String>,
}

impl Larder {
    /// Opens Larder over a catalogue, which must be migrated, and its stores: one, or several of which the
    /// primary takes what is new, while what lies in the others is read where it is.
    ///
    /// Mends what earlier processes left that died: see [`Larder::recover`]. On stores of local files
    /// this also takes part in the lock by which processes tell whether leftovers in staging belong to
    /// anyone.
    ///
    /// # Errors
    /// The store's folder can't be locked.
    pub async fn open(
        settings: Settings,
        catalog: Catalog,
        stores: impl Into<Stores>,
        ambient: Ambient,
    ) -> Result<Self, Fault> {
        let larder = Self::open_to_read(settings, catalog, stores, ambient).await?;
        larder.recover().await?;
        Ok(larder)
    }

    /// As [`Larder::open`], but mends nothing: another process writes the catalogue.
    ///
    /// # Errors
    /// As [`Larder::open`].
    pub async fn open_to_read(
        settings: Settings,
        catalog: Catalog,
        stores: impl Into<Stores>,
        ambient: Ambient,
    ) -> Result<Self, Fault> {
        let stores = stores.into();
        let links = Links::new(settings.public_url.clone(), settings.secrets.clone(), ambient.clone())
            .with_lives(settings.signed_url_life, settings.signed_url_life_max);
        let mut staging_locks = Vec::new();
        for (name, store) in stores.iter() {
            if let Some(path) = store.local_path(&own_place("staging.lock")?) {
                staging_locks.push((name.to_owned(), StagingLock::take(path).await?));
            }
        }
        let larder = Self {
            inner: Arc::new(Inner {
                guarded: Guarded::new(&settings.import),
                pixels: PixelPool::new(settings.cpu_slots, settings.image.decode_memory_bytes),
                hot: HotBytes::new(settings.hot_cache_bytes),
                buckets: BucketCache::default(),
                keys: KeyCache::default(),
                records: RecordCache::default(),
                flights: Flights::default(),
                in_flight: InFlight::default(),
                backlogs: Backlogs::default(),
                staging_locks,
                settings,
                catalog,
                stores,
                ambient,
                links,
            }),
        };
        Ok(larder)
    }

    /// What this instance was told at start.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The records.
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The stores.
    pub fn stores(&self) -> &Stores {
        &self.inner.stores
    }

    /// The store that a record names.
    ///
    /// # Errors
    /// [`Code::BackendUnavailable`] if this process does not have it.
    pub fn store(&self, name: &str) -> Result<&Arc<dyn Store>, Fault> {
        self.inner.stores.named(name)
    }

    /// Clock and randomness.
    pub fn ambient(&self) -> &Ambient {
        &self.inner.ambient
    }

    /// URLs and their signatures.
    pub fn links(&self) -> &Links {
        &self.inner.links
    }

    /// Whether catalogue and store answer, asked now.
    pub async fn readiness(&self) -> Readiness {
        let silent = |code, what: &str| {
            let seconds = ANSWERS_WITHIN.as_secs();
            Err(Fault::new(code, format!("the {what} did not answer within {seconds} s"))
                .remedy("try again later"))
        };
        let (catalog, stores) = tokio::join!(
            timeout(ANSWERS_WITHIN, async { self.catalog().buckets().await.map(drop).map_err(Fault::from) }),
            join_all(self.stores().iter().map(|(name, store)| async move {
                let answer = timeout(ANSWERS_WITHIN, answers(store)).await;
                let silent = || silent(Code::BackendUnavailable, &format!("store {name}"));
                (name, answer.unwrap_or_else(|_| silent()))
            })),
        );
        let outage = self.settings().store_circuit.as_ref().and_then(|circuit| circuit.health().outage);
        let in_words = |(name, mut answer): (&str, Result<(), Fault>)| {
            if let (Err(fault), Some(outage)) = (&mut answer, &outage)
                && name == self.stores().primary_name()
            {
                fault.detail = format!("the store has not answered since {}", outage.since);
                fault.remedy =
                    "it is asked again by itself; uploads that were taken are finished then".to_owned();
            }
            answer
        };
        let store = stores.into_iter().try_for_each(in_words);
        Readiness {
            catalog: catalog.unwrap_or_else(|_| silent(Code::CatalogUnavailable, "catalogue")),
            store,
            store_error: outage.map(|outage| outage.last_error),
        }
    }

    /// Refuses what needs the primary store, while that is known not to answer: before a body is taken
    /// for it.
    ///
    /// # Errors
    /// [`Code::BackendUnavailable`] with the time until it is asked again.
    pub fn check_store(&self) -> Result<(), Fault> {
        let refusal = self.settings().store_circuit.as_ref().and_then(Circuit::refusal);
        refusal.map_or(Ok(()), |error| Err(error.into()))
    }

    pub(crate) fn guarded(&self) -> &Guarded {
        &self.inner.guarded
    }

    pub(crate) fn pixels(&self) -> &PixelPool {
        &self.inner.pixels
    }

    pub(crate) fn bucket_cache(&self) -> &BucketCache {
        &self.inner.buckets
    }

    pub(crate) fn key_cache(&self) -> &KeyCache {
        &self.inner.keys
    }

    pub(crate) fn record_cache(&self) -> &RecordCache {
        &self.inner.records
    }

    pub(crate) fn hot_bytes(&self) -> &HotBytes {
        &self.inner.hot
    }

    pub(crate) fn flights(&self) -> &Flights {
        &self.inner.flights
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.inner.in_flight
    }

    pub(crate) fn backlogs(&self) -> &Backlogs {
        &self.inner.backlogs
    }

    /// The locks of the stores that have one, by name.
    pub(crate) fn staging_locks(&self) -> &[(String, StagingLock)] {
        &self.inner.staging_locks
    }
}

impl std::fmt::Debug for Larder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Larder").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

/// Nothing lies at the place that is asked for: "not found" is the answer of a store that works.
async fn answers(store: &Arc<dyn Store>) -> Result<(), Fault> {
    match store.stat(&own_place("ready")?).await.map_err(Fault::from) {
        Err(fault) if fault.kind() != FaultKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}

/// A place below Larder's own folder.
pub(crate) fn own_place(rest: &str) -> Result<Place, Fault> {
    place(&format!("{OWN_FOLDER}/{rest}"))
}

/// A place that a record names.
pub(crate) fn place(text: &str) -> Result<Place, Fault> {
    text.parse().map_err(|error: larder_store::PlaceError| {
        Fault::new(Code::StoredBytesCorrupt, format!("\"{text}\" is no place in a store")).caused_by(error)
    })
}
