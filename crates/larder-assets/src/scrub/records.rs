//! From records to bytes.

use futures::{StreamExt, TryStreamExt, stream};
use larder_catalog::{AssetRecord, AssetStatus, VariantRecord, VariantStatus};
use larder_core::{Code, Fault};
use larder_store::{OpenOptions, Place, Stat, StoreExt};
use sha2::{Digest, Sha256};

use super::{AT_A_TIME, AssetRef, Finding, PORTION, Problem, Scrub};
use crate::larder::place;

/// What lies at a record's place.
enum Lies {
    /// The bytes, or nothing says otherwise.
    Well {
        hashed_bytes: Option<u64>,
    },
    /// The bytes under another fingerprint.
    Renamed {
        fingerprint: String,
        hashed_bytes: u64,
    },
    /// Other bytes.
    Other {
        detail: String,
        hashed_bytes: u64,
    },
    Nothing,
}

impl Scrub<'_> {
    pub(super) async fn assets(&mut self) -> Result<(), Fault> {
        loop {
            let page = self.larder.catalog().assets_by_id(self.progress.asset, PORTION).await?;
            let Some(last) = page.last().map(|asset| asset.id) else { return Ok(()) };
            // What lies in a store that this process does not have can't be looked at.
            let is_meant = |asset: &AssetRecord| {
                self.larder.store(&asset.store).is_ok()
                    && self.options.bucket.as_ref().is_none_or(|only| *only == asset.bucket)
            };
            let meant = page.into_iter().filter(is_meant);
            let this = &*self;
            let looked = stream::iter(meant)
                .map(|asset| async move {
                    let finding = this.asset(&asset).await;
                    this.follow.advance(1);
                    finding.map(|outcome| (asset, outcome))
                })
                .buffer_unordered(AT_A_TIME)
                .try_collect::<Vec<_>>()
                .await?;
            for (asset, (finding, hashed_bytes)) in looked {
                self.report.assets += 1;
                self.count_hashed(hashed_bytes);
                let Some(mut finding) = finding else { continue };
                if finding.problem == Problem::OriginalMissing {
                    let seen = AssetRef {
                        id: asset.id,
                        version: asset.version,
                        store: asset.store.clone(),
                        place: asset.place.clone(),
                    };
                    self.missing.entry(asset.fingerprint.clone()).or_default().push(seen);
                } else {
                    self.mend_asset(&asset, &mut finding).await?;
                }
                self.find(finding);
            }
            self.progress.asset = Some(last);
            self.keep().await?;
        }
    }

    fn count_hashed(&mut self, bytes: Option<u64>) {
        self.report.hashed += u64::from(bytes.is_some());
        self.report.hashed_bytes += bytes.unwrap_or(0);
    }

    /// What is wrong with an asset, and how many bytes were hashed to find out.
    async fn asset(&self, asset: &AssetRecord) -> Result<(Option<Finding>, Option<u64>), Fault> {
        if asset.deleted_at.is_some() {
            return Ok((self.deleted(asset).await?, None));
        }
        // Whether it is whole again can only be told by its bytes.
        let must_hash = asset.status == AssetStatus::Failed;
        let lies = self
            .lies(
                (&asset.store, &asset.place),
                (&asset.fingerprint, asset.size_bytes),
                &asset.sha256,
                must_hash,
            )
            .await?;
        let (finding, hashed_bytes) = match lies {
            Lies::Well { hashed_bytes } if !must_hash => return Ok((None, hashed_bytes)),
            Lies::Well { hashed_bytes } => {
                let finding = Finding::of_asset(
                    Problem::MarkedInVain,
                    asset,
                    "it is marked as damaged, and its bytes are whole",
                );
                (finding.advising("--repair takes the mark off"), hashed_bytes)
            }
            Lies::Renamed { fingerprint, hashed_bytes } => {
                let detail = format!("the same bytes are called {fingerprint} by the store now");
                let finding = Finding::of_asset(Problem::FingerprintChanged, asset, detail);
                (finding.advising("--repair notes the new fingerprint"), Some(hashed_bytes))
            }
            Lies::Other { detail, hashed_bytes } => {
                let finding = Finding::of_asset(Problem::OriginalDamaged, asset, detail);
                let advice = "restore the file from a backup, or put it again; --repair marks it, so that it is not \
                              served";
                (finding.advising(advice), Some(hashed_bytes))
            }
            Lies::Nothing => {
                let finding = Finding::of_asset(Problem::OriginalMissing, asset, "nothing lies there");
                (finding.advising("restore the file from a backup, or delete the asset"), None)
            }
        };
        // It may have been replaced or deleted since its record was read.
        let now = self.larder.catalog().asset(asset.id).await?;
        let as_seen = now.is_some_and(|now| {
            (now.version, now.deleted_at, &now.store, &now.place, &now.fingerprint)
                == (asset.version, asset.deleted_at, &asset.store, &asset.place, &asset.fingerprint)
        });
        Ok((as_seen.then_some(finding), hashed_bytes))
    }

    async fn deleted(&self, asset: &AssetRecord) -> Result<Option<Finding>, Fault> {
        let Some(trash) = &asset.trash_place else { return Ok(None) };
        if self.larder.store(&asset.store)?.exists(&place(trash)?).await? {
            return Ok(None);
        }
        let now = self.larder.catalog().asset(asset.id).await?;
        if now.is_none_or(|now| now.store != asset.store || now.trash_place.as_ref() != Some(trash)) {
            return Ok(None);
        }
        let mut finding = Finding::of_asset(
            Problem::TrashMissing,
            asset,
            "its bytes are not in the trash: it can't be restored",
        );
        finding.place.clone_from(trash);
        Ok(Some(finding.advising("purge it, or wait until its time in the trash is over")))
    }

    pub(super) async fn variants(&mut self) -> Result<(), Fault> {
        loop {
            let page = self.larder.catalog().variants_by_id(self.progress.variant, PORTION).await?;
            let Some(last) = page.last().map(|variant| variant.id) else { return Ok(()) };
            let made = page.into_iter().filter(|variant| {
                matches!(variant.status, VariantStatus::Ready | VariantStatus::Stale)
                    && !variant.place.is_empty()
                    && self.larder.store(&variant.store).is_ok()
            });
            let this = &*self;
            let looked = stream::iter(made)
                .map(|variant| async move {
                    let outcome = this.variant(&variant).await;
                    this.follow.advance(1);
                    outcome.map(|outcome| (variant, outcome))
                })
                .buffer_unordered(AT_A_TIME)
                .try_collect::<Vec<_>>()
                .await?;
            for (variant, outcome) in looked {
                let Some((asset, finding, hashed_bytes)) = outcome else { continue };
                self.report.variants += 1;
                self.count_hashed(hashed_bytes);
                if let Some(mut finding) = finding {
                    self.mend_variant(asset.as_ref(), &variant, &mut finding).await?;
                    self.find(finding);
                }
            }
            self.progress.variant = Some(last);
            self.keep().await?;
        }
    }

    /// Of which asset a variant is, what is wrong with it, and how many bytes were hashed; `None` for one
    /// of another bucket.
    async fn variant(
        &self,
        variant: &VariantRecord,
    ) -> Result<Option<(Option<AssetRecord>, Option<Finding>, Option<u64>)>, Fault> {
        let asset = self.larder.catalog().asset(variant.asset_id).await?;
        let bucket = asset.as_ref().map(|asset| &asset.bucket);
        if self.options.bucket.is_some() && bucket != self.options.bucket.as_ref() {
            return Ok(None);
        }
        let lies = self
            .lies(
                (&variant.store, &variant.place),
                (&variant.fingerprint, variant.size_bytes),
                &variant.sha256,
                false,
            )
            .await?;
        let is_wanted = variant.status == VariantStatus::Ready
            && asset
                .as_ref()
                .is_some_and(|asset| asset.deleted_at.is_none() && asset.sha256 == variant.source_sha256);
        let (problem, detail, hashed_bytes) = match lies {
            Lies::Well { hashed_bytes } => return Ok(Some((asset, None, hashed_bytes))),
            Lies::Renamed { fingerprint, hashed_bytes } => {
                let detail = format!("the same bytes are called {fingerprint} by the store now");
                (Problem::FingerprintChanged, detail, Some(hashed_bytes))
            }
            Lies::Other { detail, hashed_bytes } => (Problem::VariantDamaged, detail, Some(hashed_bytes)),
            Lies::Nothing if is_wanted => (Problem::VariantMissing, "nothing lies there".to_owned(), None),
            Lies::Nothing => {
                let detail = "nothing lies there, and its asset does not want it any more".to_owned();
                (Problem::VariantStale, detail, None)
            }
        };
        let now = self.larder.catalog().variant(variant.id).await?;
        let is_as_seen = |now: VariantRecord| {
            (&now.store, &now.place, &now.fingerprint)
                == (&variant.store, &variant.place, &variant.fingerprint)
        };
        if !now.is_some_and(is_as_seen) {
            return Ok(Some((asset, None, hashed_bytes)));
        }
        let mut finding = Finding::of_file(problem, bucket, &variant.place, &detail)
            .advising("--repair mends it, since variants can be made again");
        finding.key = asset.as_ref().map(|asset| asset.key.to_string());
        finding.asset = Some(variant.asset_id);
        Ok(Some((asset, Some(finding), hashed_bytes)))
    }

    async fn lies(
        &self,
        (store, at): (&str, &str),
        (fingerprint, size_bytes): (&str, u64),
        sha256: &str,
        must_hash: bool,
    ) -> Result<Lies, Fault> {
        let at = place(at)?;
        let Some(stat) = self.larder.store(store)?.find(&at).await? else { return Ok(Lies::Nothing) };
        // A server may lose bytes of an object and still call it what it was called.
        let is_same = stat.fingerprint.as_str() == fingerprint && stat.size_bytes == size_bytes;
        let is_chosen =
            || self.options.sample > 0.0 && self.larder.ambient().random_unit() < self.options.sample;
        if is_same && !must_hash && !is_chosen() {
            return Ok(Lies::Well { hashed_bytes: None });
        }
        let Some((stat, found)) = self.hash(store, &at).await? else { return Ok(Lies::Nothing) };
        let hashed_bytes = stat.size_bytes;
        let is_same = stat.fingerprint.as_str() == fingerprint;
        Ok(match (found == sha256, is_same) {
            (true, true) => Lies::Well { hashed_bytes: Some(hashed_bytes) },
            (true, false) => Lies::Renamed { fingerprint: stat.fingerprint.to_string(), hashed_bytes },
            (false, _) => {
                let detail = format!("its {hashed_bytes} bytes have the SHA-256 {found} instead of {sha256}");
                Lies::Other { detail, hashed_bytes }
            }
        })
    }

    /// What lies at a place of a store, and its SHA-256.
    pub(super) async fn hash(&self, store: &str, at: &Place) -> Result<Option<(Stat, String)>, Fault> {
        let opened = match self.larder.store(store)?.open(at, OpenOptions::default()).await {
            Err(larder_store::Error::NotFound { .. }) => return Ok(None),
            opened => opened?,
        };
        let stat = opened.stat.clone();
        let (mut body, mut hasher) = (opened.body.into_stream(), Sha256::new());
        while let Some(chunk) = body.try_next().await.map_err(|error| {
            Fault::new(Code::BackendUnavailable, format!("{at} could not be read")).caused_by(error)
        })? {
            self.pace.pass(chunk.len() as u64).await;
            hasher.update(&chunk);
        }
        Ok(Some((stat, hex::encode(hasher.finalize()))))
    }
}
