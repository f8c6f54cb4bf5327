//! Variants as they were.

use futures::{StreamExt, stream};
use larder_catalog::{Class, VariantRecord, VariantStatus};
use larder_core::Fault;

use super::{AT_A_TIME, Reindex, short};
use crate::larder::place;

impl Reindex<'_> {
    pub(super) async fn variants_of_file(&mut self, variants: Vec<VariantRecord>) -> Result<(), Fault> {
        let this = &*self;
        let outcomes: Vec<_> = stream::iter(variants)
            .map(|variant| this.variant(variant))
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        for outcome in outcomes {
            self.follow.check()?;
            match outcome? {
                Some(variant) => {
                    self.report.variants += 1;
                    if self.options.dry_run {
                        self.places.insert(variant.place);
                    }
                }
                None => self.report.variants_dropped += 1,
            }
        }
        Ok(())
    }

    /// `None` for one that is dropped: it is made again when it is asked for.
    async fn variant(&self, mut variant: VariantRecord) -> Result<Option<VariantRecord>, Fault> {
        let Some(source) = self.sources.get(&variant.asset_id).filter(|source| source.is_live) else {
            return Ok(None);
        };
        let is_current = source.sha256 == short(&variant.source_sha256);
        let mut is_new = false;
        if variant.status != VariantStatus::Failed {
            variant.status = if is_current { VariantStatus::Ready } else { VariantStatus::Stale };
            let at = place(&variant.place)?;
            let found = self.larder.found_in(&variant.store, &at).await?;
            let Some((store, stat)) = found.filter(|(_, stat)| stat.size_bytes == variant.size_bytes) else {
                return Ok(None);
            };
            is_new = variant.store != store;
            variant.store = store;
            if self.options.verify {
                let opened =
                    self.larder.opened((&variant.store, &at), stat.fingerprint.as_str(), None).await?;
                if self.larder.digest(opened.body).await? != variant.sha256 {
                    return Ok(None);
                }
            }
            is_new |= variant.fingerprint != stat.fingerprint.as_str();
            variant.fingerprint = stat.fingerprint.to_string();
        } else if !is_current {
            return Ok(None);
        }
        if !self.options.dry_run {
            let record = variant.clone();
            self.larder
                .catalog()
                .commit(Class::Durable, move |tx| {
                    Box::pin(async move { tx.rebuild_variant(&record, is_new).await })
                })
                .await?;
        }
        Ok(Some(variant))
    }
}
