//! Buckets and presets as they were.

use std::collections::HashMap;

use larder_catalog::{BucketRecord, Class, PresetRecord};
use larder_core::{Fault, Timestamp};

use super::Reindex;
use crate::meta::About;

/// The newest record of each bucket and preset; `None` for one that was removed.
#[derive(Debug, Default)]
pub(super) struct Named {
    newest: HashMap<(String, String), (i64, About)>,
}

impl Named {
    pub(super) fn take(&mut self, seq: i64, about: About) {
        let is_named = match &about {
            About::Bucket(_) | About::Preset(_) => true,
            About::Gone(gone) => matches!(gone.kind.as_str(), "bucket" | "preset"),
            About::Asset(_) | About::Variant(_) => false,
        };
        let identity = about.identity();
        if is_named && self.newest.get(&identity).is_none_or(|(known, _)| *known < seq) {
            self.newest.insert(identity, (seq, about));
        }
    }
}

impl Reindex<'_> {
    /// Puts buckets and presets back. One that the configuration file defines, or that somebody changed
    /// since this catalogue was begun, stays as it is.
    pub(super) async fn named(&mut self, named: Named) -> Result<(), Fault> {
        let (mut buckets, mut presets, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (_, about) in named.newest.into_values() {
            match about {
                About::Bucket(meta) => buckets.push(BucketRecord::from(meta)),
                About::Preset(meta) => presets.push(PresetRecord::from(meta)),
                About::Gone(removed) => gone.push(removed),
                About::Asset(_) | About::Variant(_) => {}
            }
        }
        let present = self.larder.catalog().presets().await?;
        presets.retain(|preset| {
            let now = present.iter().find(|now| now.name == preset.name);
            now.is_none_or(|now| yields(now.managed_by_file, now.created_at, now.updated_at))
        });
        let present = self.larder.catalog().buckets().await?;
        buckets.retain(|bucket| {
            let now = present.iter().find(|now| now.name == bucket.name);
            now.is_none_or(|now| yields(now.managed_by_file, now.created_at, now.updated_at))
        });
        self.report.buckets += buckets.len() as u64;
        self.report.presets += presets.len() as u64;
        if self.options.dry_run {
            return Ok(());
        }
        self.larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    for preset in presets {
                        tx.rebuild_preset(&preset).await?;
                    }
                    for bucket in buckets {
                        tx.rebuild_bucket(&bucket).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.larder.forget_buckets();
        for removed in gone.into_iter().filter(|removed| removed.kind == "bucket") {
            let Ok(name) = removed.id.parse() else { continue };
            let is_untouched = present
                .iter()
                .any(|now| now.name == name && yields(now.managed_by_file, now.created_at, now.updated_at));
            // One with assets stays.
            if is_untouched && let Err(fault) = self.larder.remove_bucket(&name).await {
                tracing::info!(bucket = %name, %fault, "a bucket that was removed is there again");
            }
        }
        Ok(())
    }
}

/// Whether what a new catalogue began with gives way.
fn yields(managed_by_file: bool, created_at: Timestamp, updated_at: Timestamp) -> bool {
    !managed_by_file && created_at == updated_at
}
