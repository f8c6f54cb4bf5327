//! How much there is, how it grew, what was asked for, and what that costs.

mod cost;
mod growth;
mod requests;

use std::{collections::BTreeMap, time::Duration};

use larder_core::{BucketName, Fault};
use serde::{Deserialize, Serialize};

pub use self::{
    cost::{BucketCost, CostEstimate, Prices},
    growth::{DayStatistics, GrowthStatistics},
    requests::RequestStatistics,
};
use crate::larder::Larder;

pub use larder_catalog::RequestFigures;

/// How far statistics look back.
const LOOKED_BACK: Duration = Duration::from_secs(30 * 86_400);

/// How much there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Per bucket and store.
    pub buckets: Vec<BucketStatistics>,
    /// Assets over all buckets.
    pub total_objects: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// The same in megabytes of 1,048,576 bytes, to two places.
    pub total_size_mb: f64,
    /// Bytes of variants over all buckets.
    pub variant_bytes: u64,
    /// Requests per bucket, over the last 30 days at most.
    #[serde(default)]
    pub requests: Vec<RequestStatistics>,
    /// Growth per bucket and store, over the last 30 days at most.
    #[serde(default)]
    pub growth: Vec<GrowthStatistics>,
    /// What a month costs, estimated.
    #[serde(default)]
    pub cost: CostEstimate,
}

/// How much there is in a bucket in one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatistics {
    /// The bucket.
    pub bucket: String,
    /// The store.
    pub store: String,
    /// Assets.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Assets in the trash.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Assets by media type.
    pub types: Vec<TypeStatistics>,
    /// Variants by preset and status.
    pub variants: Vec<VariantStatistics>,
}

/// Assets of one media type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeStatistics {
    /// The media type.
    pub content_type: String,
    /// Assets.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Variants of one preset in one status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantStatistics {
    /// The preset; absent for free recipes.
    pub preset: Option<String>,
    /// The status.
    pub status: String,
    /// Variants.
    pub variants: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Larder {
    /// How much there is, in one bucket or in all.
    ///
    /// # Errors
    /// [`Code::BucketNotFound`](larder_core::Code::BucketNotFound).
    pub async fn statistics(&self, bucket: Option<&BucketName>) -> Result<Statistics, Fault> {
        if let Some(name) = bucket {
            self.bucket(name).await?;
        }
        let wanted = |of: &str| bucket.is_none_or(|name| name.as_str() == of);
        let mut buckets = BTreeMap::new();
        for usage in self.catalog().bucket_usage().await?.into_iter().filter(|usage| wanted(&usage.bucket)) {
            let types = self.catalog().type_usage(&usage.bucket.parse()?, &usage.store).await?;
            let of = of_store(&mut buckets, &usage.bucket, &usage.store);
            of.objects = usage.assets;
            of.bytes = usage.bytes;
            of.deleted_objects = usage.deleted_assets;
            of.deleted_bytes = usage.deleted_bytes;
            of.types = types
                .into_iter()
                .map(|usage| TypeStatistics {
                    content_type: usage.content_type,
                    objects: usage.assets,
                    bytes: usage.bytes,
                })
                .collect();
        }
        for usage in self.catalog().variant_usage().await?.into_iter().filter(|usage| wanted(&usage.bucket)) {
            // While assets move, their variants may still be elsewhere.
            of_store(&mut buckets, &usage.bucket, &usage.store).variants.push(VariantStatistics {
                preset: usage.preset,
                status: usage.status,
                variants: usage.variants,
                bytes: usage.bytes,
            });
        }
        let buckets: Vec<BucketStatistics> = buckets.into_values().collect();
        let now = self.ambient().now();
        let since = now.minus(LOOKED_BACK);
        let mut requests = self.request_statistics(since).await?;
        requests.retain(|of| wanted(&of.bucket));
        let mut growth = self.growth_statistics(since, &buckets).await?;
        growth.retain(|of| wanted(&of.bucket));
        let cost = cost::estimate(&self.settings().prices, now, &buckets, &growth, &requests);
        let total_bytes = buckets.iter().map(|bucket| bucket.bytes).sum();
        Ok(Statistics {
            total_objects: buckets.iter().map(|bucket| bucket.objects).sum(),
            total_bytes,
            total_size_mb: megabytes(total_bytes),
            variant_bytes: buckets.iter().flat_map(|bucket| &bucket.variants).map(|usage| usage.bytes).sum(),
            buckets,
            requests,
            growth,
            cost,
        })
    }
}

type OfStores = BTreeMap<(String, String), BucketStatistics>;

fn of_store<'a>(all: &'a mut OfStores, bucket: &str, store: &str) -> &'a mut BucketStatistics {
    all.entry((bucket.to_owned(), store.to_owned())).or_insert_with(|| BucketStatistics {
        bucket: bucket.to_owned(),
        store: store.to_owned(),
        objects: 0,
        bytes: 0,
        deleted_objects: 0,
        deleted_bytes: 0,
        types: Vec::new(),
        variants: Vec::new(),
    })
}

/// Megabytes of 1,048,576 bytes, to two places.
fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1_048_576.0 * 100.0).round() / 100.0
}
