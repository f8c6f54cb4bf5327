//! Requests of a bucket: how many, how they ended, how long they took.

use larder_catalog::RequestFigures;
use larder_core::{BucketName, Fault, Timestamp};
use serde::{Deserialize, Serialize};

use crate::larder::Larder;

/// What was asked of a bucket and answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestStatistics {
    /// The bucket.
    pub bucket: String,
    /// When counting begins: at most 30 days ago, to the hour.
    pub since: Timestamp,
    /// Requests that were answered.
    pub requests: u64,
    /// Of them, those answered with 4xx.
    pub client_errors: u64,
    /// Of them, those answered with 5xx.
    pub server_errors: u64,
    /// Share of 4xx, 0 to 1.
    pub client_error_rate: f64,
    /// Share of 5xx, 0 to 1.
    pub server_error_rate: f64,
    /// Bytes of the bodies of answers; not those that a web server in front sends (`delivery.sendfile`).
    pub bytes_out: u64,
    /// Time to an answer's head, in milliseconds, that half of the requests kept within.
    pub p50_ms: f64,
    /// The same for 95 of 100 requests.
    pub p95_ms: f64,
}

impl RequestStatistics {
    fn of(figures: RequestFigures, since: Timestamp) -> Self {
        let share = |part: u64| (part as f64 / figures.requests.max(1) as f64 * 1e6).round() / 1e6;
        Self {
            since,
            client_error_rate: share(figures.refused),
            server_error_rate: share(figures.failed),
            p50_ms: quantile_ms(&figures.times, 0.5),
            p95_ms: quantile_ms(&figures.times, 0.95),
            bucket: figures.bucket,
            requests: figures.requests,
            client_errors: figures.refused,
            server_errors: figures.failed,
            bytes_out: figures.bytes_out,
        }
    }
}

impl Larder {
    /// Adds what a server answered since it last did.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn add_request_figures(&self, figures: Vec<RequestFigures>) -> Result<(), Fault> {
        Ok(self.catalog().add_request_figures(figures).await?)
    }

    /// Whether a bucket of this name is there, as far as this process was told lately: those that requests are
    /// about are. Asks nothing.
    pub fn has_seen_bucket(&self, name: &str) -> bool {
        name.parse::<BucketName>().is_ok_and(|name| self.bucket_cache().has(&name))
    }

    pub(super) async fn request_statistics(&self, since: Timestamp) -> Result<Vec<RequestStatistics>, Fault> {
        let figures = self.catalog().request_figures(since).await?;
        Ok(figures.into_iter().map(|(figures, since)| RequestStatistics::of(figures, since)).collect())
    }
}

/// The time in milliseconds that a share of the requests kept within, by counts up to bounds in microseconds:
/// within a bound, times are taken to be spread evenly.
fn quantile_ms(times: &[(u64, u64)], share: f64) -> f64 {
    let total: u64 = times.iter().map(|(_, requests)| requests).sum();
    let wanted = total as f64 * share;
    let (mut passed, mut from_us) = (0.0, 0.0);
    for (up_to_us, requests) in times {
        let requests = *requests as f64;
        if requests > 0.0 && passed + requests >= wanted {
            let us = from_us + (*up_to_us as f64 - from_us) * ((wanted - passed) / requests);
            return (us / 10.0).round() / 100.0;
        }
        passed += requests;
        from_us = *up_to_us as f64;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_the_bound_that_holds_it() {
        let times = [(1_000, 50), (10_000, 40), (100_000, 10)];
        assert_eq!(quantile_ms(&times, 0.5), 1.0);
        assert_eq!(quantile_ms(&times, 0.25), 0.5);
        assert_eq!(quantile_ms(&times, 0.95), 55.0);
        assert_eq!(quantile_ms(&[], 0.5), 0.0);
    }

    #[test]
    fn rates_are_shares_of_all_requests() {
        let figures = RequestFigures { requests: 8, refused: 2, failed: 1, ..RequestFigures::default() };
        let statistics = RequestStatistics::of(figures, Timestamp::from_millis(0));
        assert_eq!((statistics.client_error_rate, statistics.server_error_rate), (0.25, 0.125));
        let none = RequestStatistics::of(RequestFigures::default(), Timestamp::from_millis(0));
        assert_eq!((none.client_error_rate, none.p95_ms), (0.0, 0.0));
    }
}
