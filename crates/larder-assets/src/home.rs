//! A Larder for tests of this crate: a store that stays, and a catalogue that can be lost.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use larder_catalog::{AssetRecord, Catalog, Claim, Class, Retry, Target, VariantRecord};
use larder_core::{Ambient, BucketName, ObjectKey, Timestamp};
use larder_image::{Deadline, ImageLimits, Recipe, Source};
use larder_store::{LocalStore, MemoryStore, Place, PutOptions, Store, StoreExt, stream_of};
use serde_json::{Map, Value};

use crate::{
    BucketPolicy, Door, Incoming, Larder, Secrets, Settings, Visibility, WriteCondition,
    jobs::{Ended, JobContext, JobKind, QUEUES},
};

pub(crate) struct Home {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    catalogue: std::cell::Cell<u32>,
}

/// Everything that a catalogue holds of assets, in a form that can be compared.
#[derive(Debug, PartialEq)]
pub(crate) struct Holdings {
    pub(crate) assets: Vec<AssetRecord>,
    pub(crate) variants: Vec<VariantRecord>,
    pub(crate) buckets: Vec<(String, Value, Timestamp)>,
    pub(crate) presets: Vec<(String, String, Timestamp)>,
}

impl Home {
    pub(crate) fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path().join("store"), Ambient::system()).unwrap();
        Self { folder, store: Arc::new(store), catalogue: 0.into() }
    }

    pub(crate) fn memory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, store: Arc::new(MemoryStore::new()), catalogue: 0.into() }
    }

    /// Opens it, with a bucket `media` that makes `keep-small` of pictures, and a bucket `files` that
    /// takes everything.
    pub(crate) async fn larder(&self) -> Larder {
        self.larder_with(|_| {}).await
    }

    /// As [`larder`](Self::larder), with other settings.
    pub(crate) async fn larder_with(&self, change: impl FnOnce(&mut Settings)) -> Larder {
        let ambient = Ambient::system();
        let number = self.catalogue.get();
        let at = |name: &str| self.folder.path().join(format!("{number}-{name}"));
        let target = Target::Sqlite { catalog: at("catalog.db"), state: at("state.db") };
        let catalog = Catalog::open(&target, ambient.clone()).await.unwrap();
        catalog.migrate().await.unwrap();
        let mut settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        settings.cpu_slots = 2;
        change(&mut settings);
        let larder = Larder::open(settings, catalog, Arc::clone(&self.store), ambient).await.unwrap();
        larder.declare(&[], &[]).await.unwrap();
        let media = BucketPolicy {
            visibility: Visibility::Public,
            presets: vec!["keep-small".to_owned()],
            ..BucketPolicy::default()
        };
        let files = BucketPolicy { accept: vec!["*/*".to_owned()], ..BucketPolicy::default() };
        let artwork = BucketPolicy { presets: vec!["artwork".to_owned()], ..BucketPolicy::default() };
        let buckets = [("media", media), ("files", files), ("artwork", artwork)];
        larder.ensure_buckets(&buckets.map(|(name, policy)| (bucket(name), policy))).await.unwrap();
        larder
    }

    /// From now on a new, empty catalogue is opened.
    pub(crate) fn lose_catalogue(&self) {
        self.catalogue.set(self.catalogue.get() + 1);
    }

    /// The files of the catalogue, as a copy of a machine that is switched off has them.
    pub(crate) fn catalogue_copy(&self) -> Vec<(&'static str, Vec<u8>)> {
        ["", "-wal"]
            .into_iter()
            .filter_map(|ending| Some((ending, std::fs::read(self.catalogue_file(ending)).ok()?)))
            .collect()
    }

    /// Puts a copy in the place of a lost catalogue.
    pub(crate) fn bring_catalogue_back(&self, copy: &[(&'static str, Vec<u8>)]) {
        for (ending, bytes) in copy {
            std::fs::write(self.catalogue_file(ending), bytes).unwrap();
        }
    }

    fn catalogue_file(&self, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{}-catalog.db{ending}", self.catalogue.get()))
    }

    /// The folder of a local store.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Writes behind Larder's back.
    pub(crate) async fn write(&self, at: &str, bytes: &[u8]) {
        self.store.put_bytes(&place(at), bytes.to_vec(), PutOptions::default()).await.unwrap();
    }

    pub(crate) async fn read(&self, at: &str) -> Vec<u8> {
        self.store.read_all(&place(at), 1 << 30).await.unwrap().to_vec()
    }

    pub(crate) async fn exists(&self, at: &str) -> bool {
        self.store.exists(&place(at)).await.unwrap()
    }

    pub(crate) async fn remove(&self, at: &str) {
        assert!(self.store.remove(&place(at)).await.unwrap(), "{at}");
    }

    /// All places, Larder's own under a prefix only if it asks for them.
    pub(crate) async fn places(&self, prefix: &str) -> Vec<String> {
        let (mut found, mut options) = (Vec::new(), larder_store::ListOptions::under(prefix));
        loop {
            let page = self.store.list(options.clone()).await.unwrap();
            found.extend(page.entries.into_iter().map(|entry| entry.place.to_string()));
            match page.next {
                Some(next) => options.after = Some(next),
                None => return found,
            }
        }
    }

    pub(crate) fn write_tree(&self, files: &[(String, Vec<u8>)]) {
        larder_testkit::fixtures::write_tree(Path::new(&self.root()), files);
    }
}

pub(crate) fn bucket(name: &str) -> BucketName {
    name.parse().unwrap()
}

pub(crate) fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

pub(crate) fn place(text: &str) -> Place {
    text.parse().unwrap()
}

/// Puts bytes under a key, and says something of them.
pub(crate) async fn put(larder: &Larder, bucket_name: &str, at: &str, bytes: &[u8]) -> crate::AssetView {
    let mut incoming = Incoming::new(bucket(bucket_name), Door::Put);
    incoming.key = Some(key(at));
    incoming.owner = Some(format!("owner of {at}"));
    incoming.tags = vec!["t".to_owned()];
    incoming.metadata = Map::from_iter([("length".to_owned(), Value::from(bytes.len()))]);
    let outcome = larder.put(incoming, WriteCondition::None, stream_of(bytes.to_vec())).await;
    outcome.unwrap().asset
}

/// The original's bytes as a reader gets them.
pub(crate) async fn read(larder: &Larder, bucket_name: &str, at: &str) -> Result<Vec<u8>, larder_core::Code> {
    let readable = larder.read_original(&bucket(bucket_name), &key(at)).await.map_err(|fault| fault.code)?;
    Ok(readable.open(None).await.unwrap().read_all(1 << 30).await.unwrap().to_vec())
}

/// A variant's bytes as a reader gets them.
pub(crate) async fn read_preset(larder: &Larder, bucket_name: &str, at: &str, preset: &str) -> Vec<u8> {
    let recipe = larder.recipe_of_preset(preset).await.unwrap();
    let readable = larder.read_variant(&bucket(bucket_name), &key(at), &recipe, Some(preset)).await.unwrap();
    readable.open(None).await.unwrap().read_all(1 << 30).await.unwrap().to_vec()
}

/// Runs every job that is due.
pub(crate) async fn work(larder: &Larder) {
    let queues: Vec<String> = QUEUES.iter().map(|queue| (*queue).to_owned()).collect();
    let catalog = larder.catalog();
    while let Some(Claim { job, lease }) = catalog.claim("t", &queues, Duration::from_secs(60)).await.unwrap()
    {
        let kind = JobKind::named(&job.kind).unwrap();
        let outcome = (kind.run)(job.args.clone(), JobContext::new(larder.clone(), job, lease)).await;
        let fault = match outcome {
            Ok(Ended::Recorded) => continue,
            Ok(Ended::Open) => None,
            Err(fault) => Some(fault),
        };
        catalog
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    match fault {
                        None => tx.finish_job(lease).await,
                        Some(fault) => tx.fail_job(lease, &fault, Retry::Dead).await.map(drop),
                    }
                })
            })
            .await
            .unwrap();
    }
}

/// Everything of the catalogue. When something was last used is nobody's promise.
pub(crate) async fn holdings(larder: &Larder) -> Holdings {
    let catalog = larder.catalog();
    let mut variants = catalog.variants_by_id(None, 1_000).await.unwrap();
    variants.iter_mut().for_each(|variant| variant.last_used_at = Timestamp::from_millis(0));
    Holdings {
        assets: catalog.assets_by_id(None, 1_000).await.unwrap(),
        variants,
        buckets: catalog
            .buckets()
            .await
            .unwrap()
            .into_iter()
            .map(|bucket| (bucket.name.to_string(), bucket.policy, bucket.created_at))
            .collect(),
        presets: catalog
            .presets()
            .await
            .unwrap()
            .into_iter()
            .map(|preset| (preset.name, preset.recipe, preset.created_at))
            .collect(),
    }
}

/// What a recipe makes of a picture.
pub(crate) fn rendered(bytes: &[u8], recipe: &str) -> Vec<u8> {
    let recipes: Vec<Recipe> = vec![recipe.parse().unwrap()];
    let deadline = || Deadline::after(Duration::from_secs(60));
    let limits = ImageLimits::default();
    let decoded = Source::open(bytes, &limits).unwrap().decode(&recipes, deadline()).unwrap();
    decoded.render(&recipes, deadline()).remove(0).unwrap().bytes
}
