//! From bytes to records.

use std::sync::Arc;

use larder_catalog::Class;
use larder_core::{AssetId, Fault};
use larder_store::{Entry, ListOptions, Listing, Place};

use super::{Finding, PORTION, Problem, Scrub};
use crate::{
    adopt::{Adopted, Depth, How, is_own, key_of},
    buckets::Bucket,
    larder::OWN_FOLDER,
    sweep::LEFTOVER_AGE,
    variants::FOLDER,
};

impl Scrub<'_> {
    pub(super) async fn files(&mut self) -> Result<(), Fault> {
        for bucket in self.larder.buckets().await? {
            let is_meant = self.options.bucket.as_ref().is_none_or(|only| *only == bucket.name);
            // Those before it were looked at when the scrub was cut off.
            let is_done = self.progress.bucket.as_ref().is_some_and(|at| bucket.name < *at);
            if !is_meant || is_done {
                continue;
            }
            if self.progress.bucket.as_ref() != Some(&bucket.name) {
                self.progress.bucket = Some(bucket.name.clone());
                self.progress.file = None;
            }
            self.files_of(&bucket).await?;
        }
        Ok(())
    }

    async fn files_of(&mut self, bucket: &Arc<Bucket>) -> Result<(), Fault> {
        loop {
            let page = self.page(&format!("{}/", bucket.prefix())).await?;
            self.follow.expect(page.entries.len() as u64);
            for entry in &page.entries {
                self.report.files += 1;
                if let Some(finding) = self.file(bucket, entry).await? {
                    self.find(finding);
                }
                self.follow.advance(1);
            }
            for name in &page.unnameable {
                let detail = "the name holds control characters, is no UTF-8 or is too long";
                self.find(
                    Finding::of_file(Problem::Unnameable, Some(&bucket.name), name, detail)
                        .advising("rename it, or take it away"),
                );
            }
            self.progress.file.clone_from(&page.next);
            self.keep().await?;
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(&self, prefix: &str) -> Result<Listing, Fault> {
        let after = self.progress.file.clone();
        let options = ListOptions { after, limit: PORTION as usize, ..ListOptions::under(prefix) };
        Ok(self.larder.stores().primary().list(options).await?)
    }

    async fn file(&mut self, bucket: &Bucket, entry: &Entry) -> Result<Option<Finding>, Fault> {
        let store = self.larder.stores().primary_name();
        if self.larder.known_at(store, &entry.place).await?.is_some() {
            return Ok(None);
        }
        // What a move between stores put here or left here has a note of its own.
        if self.larder.catalog().spare_copy(store, entry.place.as_str()).await?.is_some() {
            return Ok(None);
        }
        if is_variant(bucket, &entry.place) {
            return self.orphan_variant(bucket, entry).await;
        }
        if self.is_being_written(bucket, &entry.place).await? {
            return Ok(None);
        }
        if let Some(moved) = self.moved(entry).await? {
            return Ok(Some(moved));
        }
        let mut finding =
            Finding::of_file(Problem::Orphan, Some(&bucket.name), entry.place.as_str(), "no record names it")
                .advising("--adopt makes an asset of it");
        if self.options.adopt && !is_own(bucket, &entry.place) {
            self.adopt(bucket, entry, &mut finding).await?;
        }
        if !finding.repaired {
            self.collect_orphan(bucket, entry, &mut finding).await?;
        }
        Ok(Some(finding))
    }

    /// Whether a writer has the key in its hands: its bytes come before their record.
    async fn is_being_written(&self, bucket: &Bucket, at: &Place) -> Result<bool, Fault> {
        let is_held = match (at.content(), key_of(bucket, at, None)) {
            (Some(sha256), _) => self.larder.is_content_in_hand(&bucket.name, sha256).await?,
            (None, Ok(key)) => {
                let row = self.larder.catalog().place_write(&bucket.name, &key).await?;
                row.is_some_and(|row| row.holder.is_some() || row.intent.is_some())
            }
            (None, Err(_)) => return Ok(false),
        };
        // Between the two looks it may have been recorded.
        Ok(is_held || self.larder.known_at(self.larder.stores().primary_name(), at).await?.is_some())
    }

    async fn orphan_variant(&self, bucket: &Bucket, entry: &Entry) -> Result<Option<Finding>, Fault> {
        // Bytes come before their record, and those of a collected variant go after it.
        if self.larder.ambient().now().since(entry.modified) < LEFTOVER_AGE {
            return Ok(None);
        }
        let mut finding = Finding::of_file(
            Problem::OrphanVariant,
            Some(&bucket.name),
            entry.place.as_str(),
            "no record names this variant",
        )
        .advising("--repair removes it, since it can be made again");
        if self.options.repair {
            self.larder.remove_unrecorded(&[entry.place.to_string()]).await?;
            finding.mend("removed");
        }
        Ok(Some(finding))
    }

    async fn adopt(&self, bucket: &Bucket, entry: &Entry, finding: &mut Finding) -> Result<(), Fault> {
        let key = match key_of(bucket, &entry.place, None) {
            Ok(key) => key,
            Err(fault) => {
                finding.action = format!("not adopted: {}", fault.detail);
                return Ok(());
            }
        };
        let how = How { depth: Depth::Hash, ignore_extensions: false };
        match self.larder.adopt_file(bucket, &key, entry, how).await {
            Ok(Adopted::Asset | Adopted::Variant | Adopted::Present) => {
                finding.key = Some(key.to_string());
                finding.mend("adopted");
                self.forget_orphan(&entry.place).await
            }
            Err(fault) if fault.kind() == larder_core::FaultKind::Unavailable => Err(fault),
            Err(fault) => {
                finding.action = format!("not adopted: {}", fault.detail);
                Ok(())
            }
        }
    }

    /// Removes a file without a record if its bucket says so, and if it has been known as one for as long
    /// as the bucket says: the age of the file itself says nothing, since copies keep it.
    async fn collect_orphan(
        &self,
        bucket: &Bucket,
        entry: &Entry,
        finding: &mut Finding,
    ) -> Result<(), Fault> {
        let Some(grace) = bucket.policy.orphan_grace else { return Ok(()) };
        let (store, at) = (self.larder.stores().primary_name().to_owned(), entry.place.to_string());
        let fingerprint = entry.fingerprint.to_string();
        let since = self
            .larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move { tx.note_orphan(&store, &at, &fingerprint).await })
            })
            .await?;
        if !self.options.repair || self.larder.ambient().now().since(since) < grace.0 {
            finding.detail = format!("no record has named it since {since}");
            return Ok(());
        }
        finding.mend(match self.larder.remove_orphan(&bucket.name, &entry.place).await? {
            true => format!("removed, by orphan_grace = {grace} of the bucket"),
            false => "a record names it by now".to_owned(),
        });
        self.forget_orphan(&entry.place).await
    }

    async fn forget_orphan(&self, at: &Place) -> Result<(), Fault> {
        let (store, at) = (self.larder.stores().primary_name().to_owned(), at.to_string());
        self.larder
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.forget_orphan(&store, &at).await }))
            .await?;
        Ok(())
    }

    pub(super) async fn trash(&mut self) -> Result<(), Fault> {
        loop {
            let page = self.page(&format!("{OWN_FOLDER}/trash/")).await?;
            for entry in &page.entries {
                self.report.files += 1;
                if !self.is_recorded_trash(&entry.place).await? {
                    self.find(
                        Finding::of_file(
                            Problem::OrphanTrash,
                            None,
                            entry.place.as_str(),
                            "no deleted asset names it; it was set aside, or its record is lost",
                        )
                        .advising("look at it, and take it away"),
                    );
                }
            }
            self.progress.file.clone_from(&page.next);
            self.keep().await?;
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether a deletion, done or under way, names a file in the trash.
    async fn is_recorded_trash(&self, at: &Place) -> Result<bool, Fault> {
        let Ok(id) = at.name().parse::<AssetId>() else { return Ok(false) };
        let Some(asset) = self.larder.catalog().asset(id).await? else { return Ok(false) };
        let store = self.larder.stores().primary_name();
        if asset.store == store && asset.trash_place.as_deref() == Some(at.as_str()) {
            return Ok(true);
        }
        if self.larder.catalog().spare_copy(store, at.as_str()).await?.is_some() {
            return Ok(true);
        }
        let row = self.larder.catalog().place_write(&asset.bucket, &asset.key).await?;
        Ok(row.is_some_and(|row| row.intent.is_some()))
    }
}

fn is_variant(bucket: &Bucket, at: &Place) -> bool {
    at.lies_below(&format!("{}/{FOLDER}", bucket.prefix()))
}
