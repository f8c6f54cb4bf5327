//! Growth: how much there was on each day.

use std::{collections::BTreeMap, time::Duration};

use larder_catalog::{Class, UsageDay};
use larder_core::{Fault, Timestamp};
use serde::{Deserialize, Serialize};

use super::BucketStatistics;
use crate::larder::Larder;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How long days are kept: a year and a little, so that the same month of two years can be compared.
const KEPT_FOR: Duration = Duration::from_secs(400 * 86_400);

/// How long requests are kept: what statistics look back, and a day.
const REQUESTS_KEPT_FOR: Duration = Duration::from_secs(31 * 86_400);

/// How a bucket grew in one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowthStatistics {
    /// The bucket.
    pub bucket: String,
    /// The store.
    pub store: String,
    /// The first day that is known, at most 30 days ago.
    pub since: Timestamp,
    /// Objects more than then; fewer if negative.
    pub objects: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Variants more than then.
    pub variants: i64,
    /// Their bytes.
    pub variant_bytes: i64,
    /// The days, the earliest first.
    pub days: Vec<DayStatistics>,
}

/// What there was when a day was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayStatistics {
    /// When the day began, in UTC.
    pub day: Timestamp,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Variants.
    pub variants: u64,
    /// Their bytes.
    pub variant_bytes: u64,
}

impl Larder {
    /// Notes how much there is today, and forgets what is too old to be asked for.
    pub(crate) async fn note_usage(&self) -> Result<(), Fault> {
        let now = self.ambient().now();
        let days = today(now, &self.statistics(None).await?.buckets);
        let before = now.minus(KEPT_FOR);
        self.catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    for day in &days {
                        tx.note_usage_day(day).await?;
                    }
                    tx.forget_usage_days(before).await.map(drop)
                })
            })
            .await?;
        self.catalog().forget_request_figures(now.minus(REQUESTS_KEPT_FOR)).await?;
        Ok(())
    }

    pub(super) async fn growth_statistics(
        &self,
        since: Timestamp,
        buckets: &[BucketStatistics],
    ) -> Result<Vec<GrowthStatistics>, Fault> {
        let mut all: BTreeMap<(String, String), Vec<UsageDay>> = BTreeMap::new();
        let noted = self.catalog().usage_days(since).await?;
        for day in noted.into_iter().chain(today(self.ambient().now(), buckets)) {
            let days = all.entry((day.bucket.clone(), day.store.clone())).or_default();
            // What there is now stands for today.
            days.retain(|noted| noted.day_at != day.day_at);
            days.push(day);
        }
        Ok(all.into_iter().filter_map(|((bucket, store), days)| growth(bucket, store, &days)).collect())
    }
}

/// How much there is now, as of this day.
fn today(now: Timestamp, buckets: &[BucketStatistics]) -> Vec<UsageDay> {
    let now = now.as_millis();
    let day_at = Timestamp::from_millis(now - now.rem_euclid(DAY_MS));
    let day = |of: &BucketStatistics| UsageDay {
        day_at,
        bucket: of.bucket.clone(),
        store: of.store.clone(),
        objects: of.objects,
        bytes: of.bytes,
        variants: of.variants.iter().map(|variants| variants.variants).sum(),
        variant_bytes: of.variants.iter().map(|variants| variants.bytes).sum(),
    };
    buckets.iter().map(day).collect()
}

fn growth(bucket: String, store: String, days: &[UsageDay]) -> Option<GrowthStatistics> {
    let (first, last) = (days.first()?, days.last()?);
    let more = |of: fn(&UsageDay) -> u64| of(last).cast_signed() - of(first).cast_signed();
    Some(GrowthStatistics {
        bucket,
        store,
        since: first.day_at,
        objects: more(|day| day.objects),
        bytes: more(|day| day.bytes),
        variants: more(|day| day.variants),
        variant_bytes: more(|day| day.variant_bytes),
        days: days
            .iter()
            .map(|day| DayStatistics {
                day: day.day_at,
                objects: day.objects,
                bytes: day.bytes,
                variants: day.variants,
                variant_bytes: day.variant_bytes,
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Home, bucket, put};

    #[tokio::test]
    async fn what_was_noted_on_a_day_is_compared_with_what_there_is_now() {
        let home = Home::memory();
        let larder = home.larder().await;
        put(&larder, "files", "a", b"one").await;
        larder.note_usage().await.unwrap();
        let noted = larder.catalog().usage_days(Timestamp::from_millis(0)).await.unwrap();
        let [today] = noted.as_slice() else { panic!("{noted:?}") };
        assert_eq!((today.bucket.as_str(), today.objects, today.bytes), ("files", 1, 3));
        let yesterday = UsageDay { day_at: today.day_at.minus(Duration::from_secs(86_400)), ..today.clone() };
        let began = yesterday.day_at;
        larder
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.note_usage_day(&yesterday).await }))
            .await
            .unwrap();
        put(&larder, "files", "b", b"three").await;
        let statistics = larder.statistics(Some(&bucket("files"))).await.unwrap();
        let [grown] = statistics.growth.as_slice() else { panic!("{statistics:?}") };
        assert_eq!((grown.since, grown.objects, grown.bytes), (began, 1, 5));
        let days: Vec<u64> = grown.days.iter().map(|day| day.objects).collect();
        assert_eq!(days, [1, 2], "today as it is now");
    }
}
