//! What all this costs a month, by a table of prices.

use std::time::Duration;

use larder_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BucketStatistics, GrowthStatistics, RequestStatistics};

/// A month as prices mean it.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// The shortest time from which a month is estimated: of an hour, one busy visitor would be a bill.
const BASIS_MIN: Duration = Duration::from_secs(86_400);

/// Bytes that are counted as one GB (AWS bills 2^30).
const GB: f64 = 1_073_741_824.0;

/// Prices in one currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// What the numbers are, such as `USD`.
    pub currency: String,
    /// A GB for a month.
    pub gb_month: f64,
    /// 1,000 objects written.
    pub writes_1000: f64,
    /// 10,000 objects read.
    pub reads_10000: f64,
    /// A GB sent out.
    pub gb_out: f64,
}

impl Default for Prices {
    /// Amazon S3 Standard in us-east-1, first tiers, as listed in 2025.
    fn default() -> Self {
        Self {
            currency: "USD".to_owned(),
            gb_month: 0.023,
            writes_1000: 0.005,
            reads_10000: 0.004,
            gb_out: 0.09,
        }
    }
}

/// What a month costs, estimated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CostEstimate {
    /// What the numbers are.
    pub currency: String,
    /// All together.
    pub total: f64,
    /// By bucket and store.
    pub buckets: Vec<BucketCost>,
}

/// What a bucket costs a month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BucketCost {
    /// The bucket.
    pub bucket: String,
    /// For what lies there: originals, variants, and the trash.
    pub storage: f64,
    /// For what comes, by the growth in objects and variants.
    pub writes: f64,
    /// For what is asked for, as if no cache spared a read.
    pub reads: f64,
    /// For what is sent out by Larder, as if nothing stood in front of it.
    pub out: f64,
    /// All together.
    pub total: f64,
}

/// How often the time since an instant goes into a month.
fn months(since: Timestamp, now: Timestamp) -> f64 {
    MONTH.as_secs_f64() / now.since(since).max(BASIS_MIN).as_secs_f64()
}

fn cents(amount: f64) -> f64 {
    (amount * 10_000.0).round() / 10_000.0
}

/// Estimates a month from what lies there now, and from what was asked for and came lately.
pub(super) fn estimate(
    prices: &Prices,
    now: Timestamp,
    buckets: &[BucketStatistics],
    growth: &[GrowthStatistics],
    requests: &[RequestStatistics],
) -> CostEstimate {
    let mut names: Vec<&str> = buckets.iter().map(|of| of.bucket.as_str()).collect();
    names.dedup();
    let costs: Vec<BucketCost> = names
        .into_iter()
        .map(|name| {
            let bytes: u64 = buckets
                .iter()
                .filter(|of| of.bucket == name)
                .map(|of| {
                    of.bytes
                        + of.deleted_bytes
                        + of.variants.iter().map(|variants| variants.bytes).sum::<u64>()
                })
                .sum();
            let written: f64 = growth
                .iter()
                .filter(|of| of.bucket == name)
                .map(|of| (of.objects.max(0) + of.variants.max(0)) as f64 * months(of.since, now))
                .sum();
            let asked = requests.iter().find(|of| of.bucket == name);
            let scale = asked.map_or(0.0, |of| months(of.since, now));
            let storage = bytes as f64 / GB * prices.gb_month;
            let writes = written / 1_000.0 * prices.writes_1000;
            let reads = asked.map_or(0.0, |of| of.requests as f64) * scale / 10_000.0 * prices.reads_10000;
            let out = asked.map_or(0.0, |of| of.bytes_out as f64) * scale / GB * prices.gb_out;
            BucketCost {
                bucket: name.to_owned(),
                storage: cents(storage),
                writes: cents(writes),
                reads: cents(reads),
                out: cents(out),
                total: cents(storage + writes + reads + out),
            }
        })
        .collect();
    CostEstimate {
        currency: prices.currency.clone(),
        total: cents(costs.iter().map(|of| of.total).sum()),
        buckets: costs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_estimated_from_what_lies_there_and_what_came_and_went_lately() {
        let now = Timestamp::from_millis(1_772_366_400_000);
        let since = now.minus(Duration::from_secs(15 * 86_400));
        let lies = BucketStatistics {
            bucket: "media".to_owned(),
            store: "s3".to_owned(),
            objects: 1,
            bytes: 80 << 30,
            deleted_objects: 1,
            deleted_bytes: 20 << 30,
            types: Vec::new(),
            variants: Vec::new(),
        };
        let grew = GrowthStatistics {
            bucket: "media".to_owned(),
            store: "s3".to_owned(),
            since,
            objects: 1_000,
            bytes: 1,
            variants: 4_000,
            variant_bytes: 1,
            days: Vec::new(),
        };
        let asked = RequestStatistics {
            bucket: "media".to_owned(),
            since,
            requests: 500_000,
            client_errors: 0,
            server_errors: 0,
            client_error_rate: 0.0,
            server_error_rate: 0.0,
            bytes_out: 50 << 30,
            p50_ms: 1.0,
            p95_ms: 2.0,
        };
        let cost = estimate(&Prices::default(), now, &[lies], &[grew], &[asked]);
        let [media] = cost.buckets.as_slice() else { panic!("{cost:?}") };
        assert_eq!((media.storage, media.writes, media.reads, media.out), (2.3, 0.05, 0.4, 9.0));
        assert_eq!((cost.total, media.total, cost.currency.as_str()), (11.75, 11.75, "USD"));
        // A server that has run for a minute says nothing of a month.
        assert_eq!(months(now, now), 30.0);
    }
}
