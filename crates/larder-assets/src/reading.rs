//! Handing bytes out.
//!
//! A reader's size and entity tag describe the bytes that it opened, never a record that may be
//! older or newer: the record's fingerprint is compared with that of the opened bytes. Records are
//! remembered for at most a second, small files stay in memory by their fingerprint.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use larder_catalog::{AssetRecord, AssetStatus, Touched, VariantIdentity, VariantRecord};
use larder_core::{AssetId, BucketName, Code, Fault, FaultKind, FileType, ObjectKey, Timestamp};
use larder_image::Recipe;
use larder_store::{Attributes, Body, FileBody, Fingerprint, OpenOptions, Opened, Place, Stat, Store};
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest, Sha256};

use crate::{
    buckets::Bucket,
    larder::{Larder, place},
    links::{variant_version, version},
    pixels::MemoryShare,
    policy::GpsPolicy,
    remembered::Remembered,
    variants::{AtHand, ENSURE_EVERY, recipe_digest},
    view::etag,
};

/// Records that are remembered.
const RECORDS_MAX: usize = 20_000;

/// Largest file that is kept in memory: larger ones are few and gain little.
const HOT_FILE_BYTES: u64 = 256 * 1_024;

/// How often a variant's use is noted: the rule that removes unused ones counts in days.
const TOUCH_EVERY: Duration = Duration::from_secs(3_600);

type AssetAt = (BucketName, ObjectKey);

/// Records that were looked up lately.
#[derive(Debug)]
pub(crate) struct RecordCache {
    assets: Remembered<AssetAt, Arc<AssetRecord>>,
    variants: Remembered<(AssetId, String), Arc<VariantRecord>>,
    touched: Cache<larder_core::VariantId, Instant>,
    /// How far variants are that nobody waits for.
    pub(crate) awaited: Remembered<VariantIdentity, AtHand>,
    /// When their jobs were last made sure of.
    ensured: Cache<VariantIdentity, Instant>,
}

impl Default for RecordCache {
    fn default() -> Self {
        Self {
            assets: Remembered::new(RECORDS_MAX),
            variants: Remembered::new(RECORDS_MAX),
            touched: Cache::new(RECORDS_MAX),
            awaited: Remembered::new(RECORDS_MAX),
            ensured: Cache::new(RECORDS_MAX),
        }
    }
}

impl RecordCache {
    pub(crate) fn forget(&self, bucket: &BucketName, key: &ObjectKey) {
        self.assets.forget(&(bucket.clone(), key.clone()));
    }

    pub(crate) fn forget_variants(&self, asset: AssetId) {
        self.variants.keep_only(|(of, _)| *of != asset);
        self.awaited.keep_only(|identity| identity.asset_id != asset);
    }

    pub(crate) fn was_ensured(&self, identity: &VariantIdentity) -> bool {
        self.ensured.get(identity).is_some_and(|at| at.elapsed() < ENSURE_EVERY)
    }

    pub(crate) fn note_ensured(&self, identity: VariantIdentity) {
        self.ensured.insert(identity, Instant::now());
    }
}

/// Small files by the identity of their bytes.
#[derive(Debug)]
pub(crate) struct HotBytes(Cache<String, Bytes, ByLength>);

#[derive(Debug, Clone)]
struct ByLength;

impl Weighter<String, Bytes> for ByLength {
    fn weight(&self, key: &String, bytes: &Bytes) -> u64 {
        // An entry of the cache itself takes about 100 bytes.
        (key.len() + bytes.len() + 100) as u64
    }
}

impl HotBytes {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        Self(Cache::with_weighter((capacity_bytes / 20_000).max(1) as usize, capacity_bytes, ByLength))
    }

    fn key(store: &str, place: &str, fingerprint: &str) -> String {
        format!("{store}\0{place}\0{fingerprint}")
    }
}

/// Bytes that are ready to be read, with everything that an answer's head says of them.
#[derive(Debug)]
pub struct Readable {
    /// Strong entity tag, in quotes.
    pub etag: String,
    /// When the bytes were stored.
    pub last_modified: Timestamp,
    /// How many there are.
    pub size_bytes: u64,
    /// The sniffed media type, or that of the variant.
    pub content_type: String,
    /// Whether browsers may show them in place.
    pub inline: bool,
    /// A name for saving them.
    pub file_name: Option<String>,
    /// What `?v=` must say to mean these bytes.
    pub version: String,
    /// Their bucket.
    pub bucket: Arc<Bucket>,
    /// The asset that they are, or were made of.
    pub asset: AssetId,
    source: Source,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    Memory(Bytes),
    /// The lock lets a `Readable` be shared between threads, as a stream alone could not be.
    Opened {
        store: Arc<dyn Store>,
        place: Place,
        opened: Mutex<Opened>,
    },
    /// The store does not answer. What its record says of the bytes is known all the same.
    Away(Fault),
}

impl Readable {
    /// All bytes, if they are in memory.
    pub fn hot(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Memory(bytes) => Some(bytes),
            Source::Opened { .. } | Source::Away(_) => None,
        }
    }

    /// The same, if its bytes can be read. Whoever only compares validators needs none: while the store
    /// does not answer, they are those of the record.
    ///
    /// # Errors
    /// [`Code::BackendUnavailable`].
    pub fn at_hand(self) -> Result<Self, Fault> {
        match self.source {
            Source::Away(fault) => Err(fault),
            source => Ok(Self { source, ..self }),
        }
    }

    /// The file that holds the bytes, for a server in front that sends files by itself.
    pub fn local_path(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Memory(_) | Source::Away(_) => None,
            Source::Opened { store, place, .. } => store.local_path(place),
        }
    }

    /// The bytes, or a range of them that lies within [`size_bytes`](Self::size_bytes). All ranges
    /// of one `Readable` are of the same bytes.
    ///
    /// # Errors
    /// The store's; [`Code::Conflict`] if a store without open files replaced the bytes meanwhile.
    pub async fn open(&self, range: Option<Range<u64>>) -> Result<Body, Fault> {
        let range = range.unwrap_or(0..self.size_bytes);
        match &self.source {
            Source::Memory(bytes) => Ok(Body::Bytes(bytes.slice(range.start as usize..range.end as usize))),
            Source::Away(fault) => Err(fault.clone()),
            Source::Opened { store, place, opened } => {
                let known = {
                    let opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                    match &opened.body {
                        Body::File(file) => {
                            let file = file.file.try_clone().map_err(|error| {
                                Fault::new(Code::BackendUnavailable, "too many files are open")
                                    .caused_by(error)
                            })?;
                            return Ok(Body::File(FileBody { file, range }));
                        }
                        Body::Bytes(bytes) => {
                            return Ok(Body::Bytes(bytes.slice(range.start as usize..range.end as usize)));
                        }
                        Body::Stream(_) => opened.stat.clone(),
                    }
                };
                let fingerprint = known.fingerprint.clone();
                let options = OpenOptions { range: Some(range), known: Some(known) };
                let again = store.open(place, options).await?;
                if again.stat.fingerprint == fingerprint {
                    Ok(again.exact().body)
                } else {
                    Err(Fault::new(Code::Conflict, "the asset was replaced while it was read")
                        .remedy("read it again"))
                }
            }
        }
    }

    /// All bytes; consumes the open file without opening another.
    ///
    /// # Errors
    /// As [`Readable::open`].
    pub async fn into_body(self) -> Result<Body, Fault> {
        match self.source {
            Source::Memory(bytes) => Ok(Body::Bytes(bytes)),
            Source::Away(fault) => Err(fault),
            Source::Opened { opened, .. } => {
                Ok(opened.into_inner().unwrap_or_else(PoisonError::into_inner).body)
            }
        }
    }
}

impl Larder {
    /// The original bytes of an asset, subject to the bucket's rule on GPS positions.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`], [`Code::AssetNotFound`], [`Code::Forbidden`] by the GPS rule,
    /// [`Code::BackendUnavailable`], [`Code::StoredBytesCorrupt`] if the bytes are gone.
    pub async fn read_original(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Readable, Fault> {
        let bucket = self.bucket(bucket).await?;
        let asset = self.remembered_asset(&bucket.name, key).await?;
        let readable = self.read_asset(&bucket, &asset).await?;
        match bucket.policy.gps {
            GpsPolicy::Strip if asset.has_gps => self.stripped(&asset, readable).await,
            GpsPolicy::Refuse if asset.has_gps => Err(Fault::new(
                Code::Forbidden,
                "originals of this bucket that tell where they were taken are not served",
            )
            .remedy("ask for a variant, or set gps of the bucket to serve or strip")),
            _ => Ok(readable),
        }
    }

    /// The original bytes whatever the bucket's rule on GPS positions says: for the administrator
    /// and for work on the asset.
    ///
    /// # Errors
    /// As [`Larder::read_original`].
    pub async fn read_untouched(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Readable, Fault> {
        let bucket = self.bucket(bucket).await?;
        let asset = self.remembered_asset(&bucket.name, key).await?;
        self.read_asset(&bucket, &asset).await
    }

    /// A variant of an asset, made now if it is not there yet. `preset` is the name under which it
    /// was asked for.
    ///
    /// # Errors
    /// As [`Larder::read_original`], and those of making it: [`Code::InvalidRecipe`],
    /// [`Code::UndecodableImage`], [`Code::ImageLimitExceeded`], [`Code::ProcessingTimeout`].
    pub async fn read_variant(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        recipe: &Recipe,
        preset: Option<&str>,
    ) -> Result<Readable, Fault> {
        match self.read_variant_once(bucket, key, recipe, preset).await {
            // The remembered record was older than the bytes, or the bytes of the variant are gone: with
            // the newest records it is made of what lies there now.
            Err(fault) if matches!(fault.code, Code::Conflict | Code::StoredBytesCorrupt) => {
                self.record_cache().forget(bucket, key);
                self.read_variant_once(bucket, key, recipe, preset).await
            }
            outcome => outcome,
        }
    }

    async fn read_variant_once(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        recipe: &Recipe,
        preset: Option<&str>,
    ) -> Result<Readable, Fault> {
        let bucket = self.bucket(bucket).await?;
        let asset = self.remembered_asset(&bucket.name, key).await?;
        let digest = recipe_digest(&recipe.to_string());
        let variant = match self.remembered_variant(&asset, &digest) {
            Some(variant) => variant,
            None => {
                let variants = &self.record_cache().variants;
                let lookup = variants.look_up();
                let found = Arc::new(self.variant_on_demand(&bucket, &asset, recipe, preset).await?);
                variants.remember(lookup, (asset.id, digest.clone()), found.clone());
                found
            }
        };
        self.note_use(&variant);
        let extension = FileType::of_content_type(&variant.content_type).map_or("bin", FileType::extension);
        let head = Head {
            etag: etag(&variant.sha256),
            last_modified: variant.updated_at,
            content_type: variant.content_type.clone(),
            file_name: Some(format!("{}.{extension}", stem(key.file_name()))),
            version: variant_version(&asset.sha256, &digest),
            asset: asset.id,
        };
        let lies = Lies {
            store: &variant.store,
            at: &variant.place,
            fingerprint: &variant.fingerprint,
            size_bytes: variant.size_bytes,
            since: variant.updated_at,
        };
        let read = self.read_bytes(&bucket, lies, head).await;
        if let Err(fault) = &read
            && fault.code == Code::StoredBytesCorrupt
        {
            // Variants can be made again: forget the record of the lost bytes, unless it was only moved to
            // another store since it was remembered.
            let lies = |of: &VariantRecord| (of.store.clone(), of.place.clone(), of.fingerprint.clone());
            let now = self.catalog().variant(variant.id).await?;
            if now.is_some_and(|now| lies(&now) == lies(&variant)) {
                tracing::warn!(%fault, place = variant.place, "a variant's bytes are gone; it is made again");
                self.remove_lost_variant(&variant).await?;
            }
            self.record_cache().forget_variants(variant.asset_id);
        }
        read
    }

    /// What is known of the asset under a key, at most a second old.
    ///
    /// # Errors
    /// [`Code::AssetNotFound`].
    pub(crate) async fn remembered_asset(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Arc<AssetRecord>, Fault> {
        let at = (bucket.clone(), key.clone());
        let assets = &self.record_cache().assets;
        if let Some(asset) = assets.get(&at) {
            return Ok(asset);
        }
        let lookup = assets.look_up();
        let found = self.catalog().asset_at(bucket, key).await?;
        let asset = Arc::new(found.ok_or_else(|| no_asset_at(bucket, key))?);
        assets.remember(lookup, at, asset.clone());
        Ok(asset)
    }

    pub(crate) fn remembered_variant(&self, asset: &AssetRecord, digest: &str) -> Option<Arc<VariantRecord>> {
        let variant = self.record_cache().variants.get(&(asset.id, digest.to_owned()))?;
        (variant.source_sha256 == asset.sha256).then_some(variant)
    }

    async fn read_asset(&self, bucket: &Arc<Bucket>, asset: &AssetRecord) -> Result<Readable, Fault> {
        refuse_damaged(asset)?;
        match self.read_bytes(bucket, Lies::of(asset), head_of(asset)).await {
            Ok(readable) => Ok(readable),
            Err(fault) if fault.code == Code::StoredBytesCorrupt => {
                // Replaced or deleted since the record was read: once more with the newest record.
                self.record_cache().forget(&asset.bucket, &asset.key);
                let newest = self.remembered_asset(&asset.bucket, &asset.key).await?;
                match self.read_bytes(bucket, Lies::of(&newest), head_of(&newest)).await {
                    Err(fault) if fault.code == Code::StoredBytesCorrupt => {
                        self.read_changed(bucket, &newest).await
                    }
                    outcome => outcome,
                }
            }
            Err(fault) => Err(fault),
        }
    }

    /// Reads bytes whose fingerprint is the record's. Where the store does not answer, what the record says
    /// of them is all there is.
    async fn read_bytes(&self, bucket: &Arc<Bucket>, lies: Lies<'_>, head: Head) -> Result<Readable, Fault> {
        let hot = HotBytes::key(lies.store, lies.at, lies.fingerprint);
        if let Some(bytes) = self.hot_bytes().0.get(&hot) {
            return Ok(head.readable(bucket, bytes.len() as u64, Source::Memory(bytes)));
        }
        match self.open_recorded(lies, hot).await {
            Ok((size_bytes, source)) => Ok(head.readable(bucket, size_bytes, source)),
            Err(fault) if fault.kind() == FaultKind::Unavailable => {
                Ok(head.readable(bucket, lies.size_bytes, Source::Away(fault)))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn open_recorded(&self, lies: Lies<'_>, hot: String) -> Result<(u64, Source), Fault> {
        let (store, at) = (self.store(lies.store)?.clone(), place(lies.at)?);
        let options = OpenOptions { range: None, known: Some(lies.stat()) };
        let opened = match store.open(&at, options).await {
            Err(larder_store::Error::NotFound { .. }) => return Err(missing(&at)),
            opened => opened?.exact(),
        };
        if opened.stat.fingerprint.as_str() != lies.fingerprint {
            return Err(changed(&at));
        }
        let size_bytes = opened.stat.size_bytes;
        if size_bytes > HOT_FILE_BYTES {
            return Ok((size_bytes, Source::Opened { store, place: at, opened: Mutex::new(opened) }));
        }
        let bytes = opened.body.read_all(HOT_FILE_BYTES).await?;
        self.hot_bytes().0.insert(hot, bytes.clone());
        Ok((size_bytes, Source::Memory(bytes)))
    }

    /// The bytes at an asset's place are not those of its newest record: somebody wrote there
    /// behind Larder's back, or a replacement is between its bytes and its record. They are served
    /// under their own entity tag.
    async fn read_changed(&self, bucket: &Arc<Bucket>, asset: &AssetRecord) -> Result<Readable, Fault> {
        let (store, at) = (self.store(&asset.store)?.clone(), place(&asset.place)?);
        let opened = match store.open(&at, OpenOptions::default()).await {
            Err(larder_store::Error::NotFound { .. }) => return Err(missing(&at)),
            opened => opened?,
        };
        let sha256 = self.digest(opened.exact().body).await?;
        tracing::warn!(bucket = %asset.bucket, key = %asset.key, "the stored bytes are not those of the record");
        let opened = store.open(&at, OpenOptions::default()).await?.exact();
        let Stat { size_bytes, modified, .. } = opened.stat.clone();
        let head = Head {
            etag: etag(&sha256),
            last_modified: modified,
            version: version(&sha256).to_owned(),
            // Bytes that nobody checked are not shown in place.
            content_type: "application/octet-stream".to_owned(),
            ..head_of(asset)
        };
        let head =
            if sha256 == asset.sha256 { Head { last_modified: modified, ..head_of(asset) } } else { head };
        Ok(head.readable(bucket, size_bytes, Source::Opened { store, place: at, opened: Mutex::new(opened) }))
    }

    /// The SHA-256 of a body, in hex.
    pub(crate) async fn digest(&self, body: Body) -> Result<String, Fault> {
        let mut stream = body.into_stream();
        let mut hasher = Sha256::new();
        while let Some(chunk) = futures::TryStreamExt::try_next(&mut stream).await.map_err(|error| {
            Fault::new(Code::BackendUnavailable, "the stored bytes could not be read").caused_by(error)
        })? {
            hasher.update(&chunk);
        }
        Ok(hex::encode(hasher.finalize()))
    }

    /// A copy of an original without its metadata; small ones are kept in memory by their bytes'
    /// identity.
    async fn stripped(&self, asset: &AssetRecord, original: Readable) -> Result<Readable, Fault> {
        let etag = format!("\"{}-stripped\"", original.etag.trim_matches('"'));
        let hot = HotBytes::key(&asset.store, &format!("stripped:{}", asset.place), &asset.fingerprint);
        let bytes = match self.hot_bytes().0.get(&hot) {
            Some(bytes) => bytes,
            None => {
                if matches!(original.source, Source::Away(_)) {
                    return Ok(Readable { etag, ..original });
                }
                // Room for the copy first, since it is held for as long as the client takes; then a
                // slot, then memory for original and copy, and only then the original.
                let size_bytes = original.size_bytes;
                let room = self.pixels().room_for_copy(size_bytes).await?;
                let slot = self.pixels().slot().await?;
                let share = self.pixels().memory(2 * size_bytes).await?;
                let whole = original.open(None).await?.read_all(size_bytes).await?;
                let stripped = self
                    .pixels()
                    .run(move || {
                        let _held = (slot, share);
                        match larder_image::strip_metadata(&whole) {
                            // Refused below as what has nothing to strip is: the place stays private.
                            Err(larder_image::Error::Unsupported { .. }) => Ok(None),
                            stripped => stripped,
                        }
                    })
                    .await??;
                let Some(bytes) = stripped.map(|bytes| Bytes::from_owner(Copy { bytes, _room: room })) else {
                    return Err(Fault::new(
                        Code::Forbidden,
                        format!("metadata can't be stripped from {}", asset.content_type),
                    )
                    .remedy("ask for a variant instead of the original"));
                };
                if bytes.len() as u64 <= HOT_FILE_BYTES {
                    // The cache has a budget of its own, and must not keep the room.
                    self.hot_bytes().0.insert(hot, Bytes::copy_from_slice(&bytes));
                }
                bytes
            }
        };
        Ok(Readable { etag, size_bytes: bytes.len() as u64, source: Source::Memory(bytes), ..original })
    }

    /// Notes that a variant was served, now and then.
    fn note_use(&self, variant: &VariantRecord) {
        let noted = self.record_cache().touched.get(&variant.id);
        if noted.is_some_and(|at| at.elapsed() < TOUCH_EVERY) {
            return;
        }
        self.record_cache().touched.insert(variant.id, Instant::now());
        let (catalog, id) = (self.catalog().clone(), variant.id);
        tokio::spawn(async move {
            if let Err(error) = catalog.touch(vec![Touched::Variant(id)]).await {
                tracing::debug!(%error, "a variant's use could not be noted");
            }
        });
    }
}

/// A copy that was made for one reader, and the memory that it takes until it was sent.
struct Copy {
    bytes: Vec<u8>,
    _room: MemoryShare,
}

impl AsRef<[u8]> for Copy {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a record says of the bytes at a place.
#[derive(Clone, Copy)]
struct Lies<'a> {
    store: &'a str,
    at: &'a str,
    fingerprint: &'a str,
    size_bytes: u64,
    since: Timestamp,
}

impl<'a> Lies<'a> {
    fn of(asset: &'a AssetRecord) -> Self {
        Self {
            store: &asset.store,
            at: &asset.place,
            fingerprint: &asset.fingerprint,
            size_bytes: asset.size_bytes,
            since: asset.updated_at,
        }
    }

    /// For a store with a cache. Attributes stay out: nobody reads them here.
    fn stat(self) -> Stat {
        Stat {
            size_bytes: self.size_bytes,
            fingerprint: Fingerprint::new(self.fingerprint),
            modified: self.since,
            attributes: Attributes::default(),
        }
    }
}

/// What an answer's head says of bytes.
struct Head {
    etag: String,
    last_modified: Timestamp,
    content_type: String,
    file_name: Option<String>,
    version: String,
    asset: AssetId,
}

impl Head {
    fn readable(self, bucket: &Arc<Bucket>, size_bytes: u64, source: Source) -> Readable {
        Readable {
            inline: FileType::of_content_type(&self.content_type).is_some_and(FileType::is_inline),
            etag: self.etag,
            last_modified: self.last_modified,
            size_bytes,
            content_type: self.content_type,
            file_name: self.file_name,
            version: self.version,
            bucket: bucket.clone(),
            asset: self.asset,
            source,
        }
    }
}

fn head_of(asset: &AssetRecord) -> Head {
    Head {
        etag: etag(&asset.sha256),
        last_modified: asset.updated_at,
        content_type: asset.content_type.clone(),
        file_name: Some(asset.original_filename.clone().unwrap_or_else(|| asset.key.file_name().to_owned())),
        version: version(&asset.sha256).to_owned(),
        asset: asset.id,
    }
}

fn stem(file_name: &str) -> &str {
    match file_name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file_name,
    }
}

pub(crate) fn no_asset_at(bucket: &BucketName, key: &ObjectKey) -> Fault {
    Fault::new(Code::AssetNotFound, format!("no asset lies under {bucket}/{key}"))
        .remedy("check bucket and key")
}

/// Refuses an original whose bytes were found to be lost or damaged: they are never served as good.
pub(crate) fn refuse_damaged(asset: &AssetRecord) -> Result<(), Fault> {
    match asset.status {
        AssetStatus::Failed => Err(Fault::new(
            Code::StoredBytesCorrupt,
            format!("the bytes of {}/{} were found to be damaged or gone", asset.bucket, asset.key),
        )
        .remedy("restore the file from a backup and run `larder scrub --repair`, or put it again")),
        _ => Ok(()),
    }
}

fn missing(at: &Place) -> Fault {
    Fault::new(Code::StoredBytesCorrupt, format!("the bytes at {at} are gone"))
        .remedy("restore the file from a backup, or delete the asset")
}

fn changed(at: &Place) -> Fault {
    Fault::new(Code::StoredBytesCorrupt, format!("the bytes at {at} are not those that were stored"))
        .remedy("restore the file from a backup, or put it again")
}
