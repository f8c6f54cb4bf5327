//! Requests by bucket, for statistics: counted in memory, and added to the catalogue's figures now and then.
//!
//! A request costs a look-up and five additions. Nothing waits for the catalogue.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use larder_assets::{Larder, statistics::RequestFigures};

use crate::delivery::Door;

/// How often figures are added to the catalogue's; as much is lost with a process that dies.
const EVERY: Duration = Duration::from_secs(10);

/// Upper bounds of times, in microseconds; what takes longer counts to the last.
const BOUNDS_US: [u64; 20] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
];

/// Buckets that are counted, at most: those that are there, of which most applications have a handful.
const BUCKETS_MAX: usize = 10_000;

/// What was counted since it was last taken.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    bytes_out: AtomicU64,
    times: [AtomicU64; BOUNDS_US.len()],
}

impl Counts {
    fn add(&self, status: u16, bytes: u64, took: Duration) {
        self.requests.fetch_add(1, Relaxed);
        let errors = match status {
            400..=499 => Some(&self.refused),
            500.. => Some(&self.failed),
            _ => None,
        };
        if let Some(errors) = errors {
            errors.fetch_add(1, Relaxed);
        }
        self.bytes_out.fetch_add(bytes, Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us).min(BOUNDS_US.len() - 1);
        self.times[at].fetch_add(1, Relaxed);
    }

    fn take(&self, bucket: &str) -> Option<RequestFigures> {
        let figures = RequestFigures {
            bucket: bucket.to_owned(),
            requests: self.requests.swap(0, Relaxed),
            refused: self.refused.swap(0, Relaxed),
            failed: self.failed.swap(0, Relaxed),
            bytes_out: self.bytes_out.swap(0, Relaxed),
            times: BOUNDS_US
                .iter()
                .zip(&self.times)
                .map(|(bound, count)| (*bound, count.swap(0, Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        };
        (figures.requests > 0).then_some(figures)
    }
}

/// What was answered for each bucket.
#[derive(Debug, Default)]
pub(crate) struct Figures(RwLock<HashMap<String, Arc<Counts>>>);

impl Figures {
    /// Counts an answer, if its path is about a bucket that is there.
    pub(crate) fn count(&self, larder: &Larder, path: &str, status: u16, bytes: u64, took: Duration) {
        let Some(bucket) = bucket_in(path) else { return };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned();
        let counts = match known {
            Some(counts) => counts,
            // Names that strangers invent take no memory.
            None if larder.has_seen_bucket(bucket) => {
                let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
                if all.len() >= BUCKETS_MAX {
                    return;
                }
                Arc::clone(all.entry(bucket.to_owned()).or_default())
            }
            None => return,
        };
        counts.add(status, bytes, took);
    }

    /// What was counted since this was last called.
    fn take(&self) -> Vec<RequestFigures> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|(bucket, counts)| counts.take(bucket)).collect()
    }

    /// Adds what was counted to the catalogue's figures. What can't be stored is lost.
    pub(crate) async fn store(&self, larder: &Larder) {
        let figures = self.take();
        if figures.is_empty() {
            return;
        }
        if let Err(fault) = larder.add_request_figures(figures).await {
            tracing::debug!(%fault, "figures of requests could not be stored");
        }
    }
}

/// Adds what was counted now and then; never ends.
pub(crate) async fn keep(app: crate::app::App) {
    loop {
        tokio::time::sleep(EVERY).await;
        app.figures().store(app.larder()).await;
    }
}

/// The bucket that a path is about: bytes of it, or its objects in the API.
fn bucket_in(path: &str) -> Option<&str> {
    let rest = match Door::of(path) {
        Some(Door::Original) => path.strip_prefix("/m/")?,
        Some(Door::Picture) => path.strip_prefix("/i/")?.splitn(3, '/').nth(2)?,
        None => path.strip_prefix("/api/v1/buckets/")?,
    };
    let (bucket, key) = rest.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_their_bucket() {
        for path in ["/m/media/a.jpg", "/i/_/p:x/media/a.jpg.webp", "/api/v1/buckets/media/objects/a.jpg"] {
            assert_eq!(bucket_in(path), Some("media"), "{path}");
        }
        for path in ["/", "/m/media", "/m//a", "/i/x", "/healthz", "/api/v1/buckets", "/api/v1/buckets/media"]
        {
            assert_eq!(bucket_in(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_counted_is_taken_once() {
        let counts = Counts::default();
        counts.add(200, 10, Duration::from_micros(100));
        counts.add(404, 5, Duration::from_micros(101));
        counts.add(503, 0, Duration::from_secs(7_200));
        let figures = counts.take("media").unwrap();
        assert_eq!((figures.requests, figures.refused, figures.failed, figures.bytes_out), (3, 1, 1, 15));
        assert_eq!(figures.times, [(100, 1), (250, 1), (3_600_000_000, 1)]);
        assert_eq!(counts.take("media"), None);
    }
}
